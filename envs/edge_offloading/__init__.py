"""Edge offloading: tasks of mobile users are sent to edge servers or to the cloud.

The environment is ``dispatchgym/EdgeOffloading-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.edge_offloading.generators import (
    MixedGenerator,
    SlotGenerator,
    make_instance,
    scenarios,
)
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance
from dispatchgym.envs.edge_offloading.parsers import load
from dispatchgym.envs.edge_offloading.report import ValidationReport, Violation
from dispatchgym.envs.edge_offloading.rules import RULES

__all__ = [
    "RULES",
    "Instance",
    "MixedGenerator",
    "OffloadInstance",
    "SlotGenerator",
    "ValidationReport",
    "Violation",
    "load",
    "make_instance",
    "scenarios",
]
