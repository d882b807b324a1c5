"""Edge offloading: tasks of mobile users are sent to edge servers or to the cloud.

The environment is ``dispatchgym/EdgeOffloading-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.edge_offloading.exact import ideal, lower_bounds, solve, units
from dispatchgym.envs.edge_offloading.generators import (
    MixedGenerator,
    SlotGenerator,
    make_instance,
    scenarios,
)
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance
from dispatchgym.envs.edge_offloading.parsers import load
from dispatchgym.envs.edge_offloading.report import ExactResult, ValidationReport, Violation
from dispatchgym.envs.edge_offloading.rules import RULES
from dispatchgym.envs.edge_offloading.validator import check_observation, validate

__all__ = [
    "RULES",
    "ExactResult",
    "Instance",
    "MixedGenerator",
    "OffloadInstance",
    "SlotGenerator",
    "ValidationReport",
    "Violation",
    "check_observation",
    "ideal",
    "load",
    "lower_bounds",
    "make_instance",
    "scenarios",
    "solve",
    "units",
    "validate",
]
