"""Urban air mobility: a fleet of electric aircraft flies passengers between vertiports.

The environment is ``dispatchgym/UAMFleet-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.uam.exact import ExactResult, solve, upper_bound
from dispatchgym.envs.uam.generators import FleetGenerator, make_instance, scenarios
from dispatchgym.envs.uam.instance import Instance
from dispatchgym.envs.uam.parsers import load, write
from dispatchgym.envs.uam.planners import PLANNERS, plan_day
from dispatchgym.envs.uam.rules import RULES
from dispatchgym.envs.uam.validator import ValidationReport, Violation, validate

__all__ = [
    "PLANNERS",
    "RULES",
    "ExactResult",
    "FleetGenerator",
    "Instance",
    "ValidationReport",
    "Violation",
    "load",
    "make_instance",
    "plan_day",
    "scenarios",
    "solve",
    "upper_bound",
    "validate",
    "write",
]
