"""Plans for dependent tasks: which to offload to edge servers, for latency and energy.

The environment is ``dispatchgym/EdgeDagPlan-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.edge_dag_plan.exact import (
    ExactResult,
    cost_of,
    lower_bound,
    lower_bounds,
    solve,
)
from dispatchgym.envs.edge_dag_plan.generators import (
    Device,
    JobGenerator,
    LayeredGenerator,
    make_instance,
    scenarios,
)
from dispatchgym.envs.edge_dag_plan.instance import Instance
from dispatchgym.envs.edge_dag_plan.parsers import load, load_all
from dispatchgym.envs.edge_dag_plan.rules import RULES
from dispatchgym.envs.edge_dag_plan.validator import ValidationReport, Violation, validate

__all__ = [
    "RULES",
    "Device",
    "ExactResult",
    "Instance",
    "JobGenerator",
    "LayeredGenerator",
    "ValidationReport",
    "Violation",
    "cost_of",
    "load",
    "load_all",
    "lower_bound",
    "lower_bounds",
    "make_instance",
    "scenarios",
    "solve",
    "validate",
]
