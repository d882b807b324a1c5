"""Optimal plans of migrations, or plans with a proven bound.

Column generation (`column_generation`) finds the best placement within the migration limit;
`order_moves` turns it into migrations that can be carried out one after the other. The bound
leaves the order of the migrations and anti-affinity out of account, so that it holds for every
plan; a plan counts as proven only if it attains the bound.

Needs HiGHS, which comes with the extra ``exact``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.column_generation import Optimum, column_generation
from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.ordering import order_moves

__all__ = ["ExactResult", "solve"]

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: Objective of the plan found.
        bound: Proven lower bound on the objective of every plan.
        proved: Whether the plan is proven optimal.
        schedule: The plan in the form of the environment's ``info["schedule"]``.
        seconds: Wall time of building, solving and ordering.
    """

    objective: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float


def solve(instance: Instance, *, time_limit: float = 60.0) -> ExactResult:
    """Minimise an instance's objective within its migration limit.

    Args:
        instance: The problem.
        time_limit: Seconds after which the best plan so far is returned, with a valid bound.

    Returns:
        An executable plan and a bound.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: HiGHS is not installed.
    """
    began = time.perf_counter()
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(time_limit, int | float) or not 0 < time_limit < float("inf"):
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    optimum = column_generation(instance, time_limit=time_limit)
    moves, _ = order_moves(optimum.aggregation, optimum.counts, instance.migration_limit)
    return _result(instance, optimum, moves, began)


def _result(
    instance: Instance, optimum: Optimum, moves: npt.NDArray[np.int64], began: float
) -> ExactResult:
    measure = optimum.measure
    vm_pm, vm_node = instance.vm_pm.copy(), instance.vm_node.copy()
    for vm, pm, node in moves.tolist():
        vm_pm[vm], vm_node[vm] = pm, node
    objective = instance.evaluate(vm_pm, vm_node, len(moves))
    bound = min(measure.constant - measure.unit * optimum.bound, objective)
    proved = objective <= bound + _TOLERANCE
    seconds = time.perf_counter() - began
    return ExactResult(objective, bound, proved, {"moves": moves}, seconds)
