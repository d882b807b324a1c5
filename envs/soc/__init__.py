"""System on chip: jobs of dependent tasks stream onto heterogeneous processing elements.

The environment is ``dispatchgym/SoC-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.soc.exact import ExactResult, solve
from dispatchgym.envs.soc.generators import LayeredGenerator, batch, make_instance, scenarios
from dispatchgym.envs.soc.graphs import to_hetero_data
from dispatchgym.envs.soc.instance import Cluster, Instance, JobProfile, Platform, Workload
from dispatchgym.envs.soc.literature import static_benchmark
from dispatchgym.envs.soc.parsers import load, write
from dispatchgym.envs.soc.planners import PLANNERS, plan_episode
from dispatchgym.envs.soc.power import EnergyReport, at_frequency, energy
from dispatchgym.envs.soc.replay import replay
from dispatchgym.envs.soc.rules import RULES
from dispatchgym.envs.soc.validator import ValidationReport, Violation, validate

__all__ = [
    "PLANNERS",
    "RULES",
    "Cluster",
    "EnergyReport",
    "ExactResult",
    "Instance",
    "JobProfile",
    "LayeredGenerator",
    "Platform",
    "ValidationReport",
    "Violation",
    "Workload",
    "at_frequency",
    "batch",
    "energy",
    "load",
    "make_instance",
    "plan_episode",
    "replay",
    "scenarios",
    "solve",
    "static_benchmark",
    "to_hetero_data",
    "validate",
    "write",
]
