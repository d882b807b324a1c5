"""Optimal plans of migrations, or plans with a proven bound.

Column generation (`column_generation`) finds the best placement within the migration limit and
`order_moves` turns it into migrations that can be carried out one after the other. It leaves
anti-affinity out of account, which is then a matter of choosing among interchangeable VMs; if no
choice will do, or a gap is left, an integer program (`aggregated_mip`) is tried. The bounds leave
the order of the migrations out of account, so that they hold for every plan; a plan counts as
proven only if it attains the bound.

Needs HiGHS, which comes with the extra ``exact``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.aggregated_mip import aggregated_mip
from dispatchgym.envs.vm_rescheduling.aggregation import Measure
from dispatchgym.envs.vm_rescheduling.column_generation import (
    Optimum,
    column_generation,
    import_highspy,
)
from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.ordering import order_moves

__all__ = ["ExactResult", "objectives_along", "solve"]

IntArray = npt.NDArray[np.int64]
Model = Callable[..., Optimum]

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
        method: What the plan came from: ``"column generation"``, ``"aggregated MIP"`` or
            ``"none"``, if doing nothing is the best plan found.
    """

    objective: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float
    method: str


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
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(time_limit, int | float) or not 0 < time_limit < math.inf:
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    import_highspy()
    search = _Search(instance, time.perf_counter() + time_limit)
    improve = search.fewest if instance.objective.kind == "goal" else search.best
    for name, model in (
        ("column generation", column_generation),
        ("aggregated MIP", aggregated_mip),
    ):
        if not search.proved and search.left > 0:
            try:
                improve(name, model)
            except ParameterError:  # too large for this model
                continue
    return search.result(time_limit)


class _Search:
    """The best plan and bound so far."""

    def __init__(self, instance: Instance, deadline: float) -> None:
        self.instance = instance
        self.deadline = deadline
        self.moves: IntArray = np.zeros((0, 3), np.int64)
        self.objective = instance.initial_objective
        self.bound = 0.0
        self.method = "none"

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.perf_counter()

    @property
    def proved(self) -> bool:
        """Whether the plan attains the bound."""
        return self.objective <= self.bound + _TOLERANCE

    def best(self, name: str, model: Model) -> None:
        """Look for the best objective within the migration limit."""
        optimum = model(self.instance, time_limit=self.left)
        measure = optimum.measure
        self.bound = max(self.bound, measure.constant - measure.unit * optimum.bound)
        self._try(name, optimum, self.instance.migration_limit)

    def fewest(self, name: str, model: Model) -> None:
        """Look for the fewest migrations that reach the goal, by bisection."""
        goal = _goal_value(self.instance)
        least, most = int(self.bound), int(self.objective)
        while least < most and self.left > 0:
            limit = min((least + most) // 2, self.instance.migration_limit)
            optimum = model(self.instance, limit, target=goal, time_limit=self.left)
            if optimum.bound < goal - _TOLERANCE:
                least = limit + 1
                self.bound = max(self.bound, float(least))
                continue
            self._try(name, optimum, self.instance.migration_limit)
            if self.objective > limit:
                break
            most = int(self.objective)

    def _try(self, name: str, optimum: Optimum, limit: int) -> None:
        """Keep the plan to a placement if it is better than the one so far."""
        moves, _ = order_moves(optimum.aggregation, optimum.counts, limit)
        for count, objective in objectives_along(self.instance, moves):
            if objective < self.objective - _TOLERANCE:
                self.moves, self.objective, self.method = moves[:count], objective, name

    def result(self, time_limit: float) -> ExactResult:
        """Return what was found."""
        seconds = time_limit - self.left
        objective = float(self.objective)
        bound = objective if self.proved else float(self.bound)
        schedule = {"moves": self.moves}
        return ExactResult(objective, bound, self.proved, schedule, seconds, self.method)


def _goal_value(instance: Instance) -> float:
    """Return the least value that reaches the goal."""
    measure = Measure.of(instance)
    value = (measure.constant - instance.objective.goal) / measure.unit
    return float(math.ceil(value - _TOLERANCE)) if measure.integral else value


def objectives_along(instance: Instance, moves: IntArray) -> Iterator[tuple[int, float]]:
    """Yield the objective after each number of migrations."""
    vm_pm, vm_node = instance.vm_pm.copy(), instance.vm_node.copy()
    for count, (vm, pm, node) in enumerate(moves.tolist(), 1):
        vm_pm[vm], vm_node[vm] = pm, node
        yield count, instance.evaluate(vm_pm, vm_node, count)
