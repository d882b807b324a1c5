"""Job-shop dispatch: classic, blocking with swap, and with machine shutdowns.

The environment is ``dispatchgym/JobShop-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.job_shop.exact import ExactResult, lower_bound, solve
from dispatchgym.envs.job_shop.generators import UniformGenerator, group, make_instance, scenarios
from dispatchgym.envs.job_shop.instance import Bounds, Instance
from dispatchgym.envs.job_shop.interrupts import Interrupts
from dispatchgym.envs.job_shop.parsers import load, load_all
from dispatchgym.envs.job_shop.rules import RULES
from dispatchgym.envs.job_shop.validator import ValidationReport, Violation, validate

__all__ = [
    "RULES",
    "Bounds",
    "ExactResult",
    "Instance",
    "Interrupts",
    "UniformGenerator",
    "ValidationReport",
    "Violation",
    "group",
    "load",
    "load_all",
    "lower_bound",
    "make_instance",
    "scenarios",
    "solve",
    "validate",
]
