"""VM rescheduling: migrate VMs between machines so that free cores can be used again.

The environment is ``dispatchgym/VMRescheduling-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.vm_rescheduling.dynamics import Churn, LateResult, apply_late, churn
from dispatchgym.envs.vm_rescheduling.exact import ExactResult, solve
from dispatchgym.envs.vm_rescheduling.explain import Explanation, explain
from dispatchgym.envs.vm_rescheduling.generators import ClusterGenerator, make_instance, scenarios
from dispatchgym.envs.vm_rescheduling.instance import Instance, Known, Objective, Term
from dispatchgym.envs.vm_rescheduling.parsers import load, load_plan, save_plan, write
from dispatchgym.envs.vm_rescheduling.rules import RULES
from dispatchgym.envs.vm_rescheduling.topology import load_topology
from dispatchgym.envs.vm_rescheduling.validator import ValidationReport, Violation, validate

__all__ = [
    "RULES",
    "Churn",
    "ClusterGenerator",
    "ExactResult",
    "Explanation",
    "Instance",
    "Known",
    "LateResult",
    "Objective",
    "Term",
    "ValidationReport",
    "Violation",
    "apply_late",
    "churn",
    "explain",
    "load",
    "load_plan",
    "load_topology",
    "make_instance",
    "save_plan",
    "scenarios",
    "solve",
    "validate",
    "write",
]
