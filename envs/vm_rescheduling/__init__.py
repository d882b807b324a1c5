"""VM rescheduling: migrate VMs between machines so that free cores can be used again.

The environment is ``dispatchgym/VMRescheduling-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.vm_rescheduling.generators import ClusterGenerator, make_instance, scenarios
from dispatchgym.envs.vm_rescheduling.instance import Instance, Known, Objective, Term
from dispatchgym.envs.vm_rescheduling.parsers import load, load_plan, save_plan, write
from dispatchgym.envs.vm_rescheduling.validator import ValidationReport, Violation, validate

__all__ = [
    "ClusterGenerator",
    "Instance",
    "Known",
    "Objective",
    "Term",
    "ValidationReport",
    "Violation",
    "load",
    "load_plan",
    "make_instance",
    "save_plan",
    "scenarios",
    "validate",
    "write",
]
