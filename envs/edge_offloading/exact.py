"""Optimal placements of few independent tasks, good ones of many, and bounds of both.

Instances of other families are passed on to their own solvers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.preference import check_preference
from dispatchgym.envs.edge_offloading import bounds, search
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance

__all__ = ["ExactResult", "ideal", "lower_bounds", "solve", "units"]

FloatArray = npt.NDArray[np.float64]

MOST_TASKS = 16
"""So many tasks can be placed optimally."""
MOST_SUBSET_STEPS = 5e8
"""Servers times 3^tasks, likewise: about ten seconds."""


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: float64 (2,), total delay in seconds and energy in joules of the schedule.
        value: weighted sum of both, each divided by its unit: what was to be least.
        bound: what no policy's value is below.
        proved: whether the value is proven least.
        schedule: in the form of the environment's ``info["schedule"]``.
        seconds: wall time of everything.
    """

    objective: FloatArray
    value: float
    bound: float
    proved: bool
    schedule: dict[str, Any]
    seconds: float


def units(instance: Instance) -> FloatArray:
    """Return float64 (2,) what counts 1 in rewards of the context's scale: seconds and joules."""
    slots = _slots(instance)
    return np.array([slots.delay_unit, slots.energy_unit])


def ideal(instance: Instance) -> FloatArray:
    """Return float64 (2,) what no policy reaches: delay of the pooled server, least energy."""
    slots = _slots(instance)
    return np.array([bounds.pooled_bound(slots), bounds.energy_bound(slots)])


def lower_bounds(instance: Instance) -> FloatArray:
    """Return float64 (2,) the best of the bounds that need no solver: delay, energy."""
    slots = _slots(instance)
    delay = max(bounds.pooled_bound(slots), bounds.lone_bound(slots))
    return np.array([delay, bounds.energy_bound(slots)])


def solve(
    instance: Instance,
    *,
    preference: tuple[float, float] = (0.5, 0.5),
    time_limit: float = 60.0,
    seed: int = 0,
) -> ExactResult:
    """Return the best placement if everything is known beforehand, proven where tasks are few.

    Up to 16 tasks are placed by dynamic programming over sets of tasks. More are placed by a
    local search from the rule greedy_omega and from random placements, beside the bound of a
    linear program.

    Args:
        instance: independent tasks.
        preference: weights of delay and energy, in units of `units`.
        time_limit: seconds, > 0, that further random beginnings may take.
        seed: of the random placements.

    Raises:
        ParameterError: an argument is out of range.
        MissingDependencyError: there are many tasks and highspy is not installed.
        EvaluationError: what was found contradicts the bound.
    """
    began = time.perf_counter()
    slots = _slots(instance)
    weights = check_preference(preference, 2)
    if isinstance(weights, str):
        raise ParameterError(f"preference: found {preference!r}, expected two weights")
    if not time_limit > 0:
        raise ParameterError(f"time_limit: found {time_limit}, expected seconds > 0")
    problem, per_unit = bounds.placement(slots), weights / units(slots)
    proved = _is_small(problem)
    if proved:
        servers = search.best_subsets(problem, per_unit)
    else:
        servers = _search(slots, problem, weights, per_unit, began + time_limit, seed)
    schedule = play(slots, servers, weights)
    value = float(per_unit @ schedule["objective"])
    bound = value
    if not proved:
        pair = (float(per_unit[0]), float(per_unit[1]))
        bound = max(bounds.time_indexed_bound(slots, pair), float(per_unit @ lower_bounds(slots)))
    if value < bound * (1.0 - 1e-9):
        raise EvaluationError(f"{slots.name}: found value {value} below the bound {bound}")
    seconds = time.perf_counter() - began
    return ExactResult(schedule["objective"], value, bound, proved, schedule, seconds)


def play(
    instance: OffloadInstance, servers: npt.NDArray[np.int64], weights: FloatArray
) -> dict[str, Any]:
    """Return the schedule of a placement, played by the environment."""
    vec = EdgeOffloadingVectorEnv(
        1, scenario=instance, max_servers=instance.num_servers, autoreset_mode="Disabled"
    )
    vec.reset(seed=0, options={"preference": weights})
    for server in servers:
        vec.step(np.array([server]))
    return vec.simulation.final_info(0)["schedule"]


def _slots(instance: Instance) -> OffloadInstance:
    if not isinstance(instance, OffloadInstance):
        raise ParameterError(
            f"instance: found {type(instance).__name__}, expected an OffloadInstance"
        )
    return instance


def _is_small(problem: bounds.Placement) -> bool:
    tasks = len(problem.bits)
    return tasks <= MOST_TASKS and len(problem.speed) * 3.0**tasks <= MOST_SUBSET_STEPS


def _search(
    instance: OffloadInstance,
    problem: bounds.Placement,
    weights: FloatArray,
    per_unit: FloatArray,
    until: float,
    seed: int,
) -> npt.NDArray[np.int64]:
    """Return the best placement of a search from the rule and from random placements."""
    vec = EdgeOffloadingVectorEnv(1, scenario=instance, max_servers=instance.num_servers)
    vec.reset(seed=0, options={"preference": weights})
    begin = vec.run_rule("greedy_omega")["schedule"]["server"][0]
    best = search.local_search(problem, per_unit, begin, 0)
    for number in range(3):
        if time.perf_counter() > until:
            break
        best = search.local_search(problem, per_unit, best, 1, seed + number)
    return best
