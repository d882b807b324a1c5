"""Solvers and bounds of all families; optimal placements of few independent tasks, good of many."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.preference import check_preference
from dispatchgym.envs.edge_offloading import bounds, search
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.families import part_of
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance
from dispatchgym.envs.edge_offloading.report import ExactResult

__all__ = ["ideal", "lower_bounds", "solve", "units"]

FloatArray = npt.NDArray[np.float64]

MOST_TASKS = 16
"""So many tasks can be placed optimally."""
MOST_SUBSET_STEPS = 5e8
"""Servers times 3^tasks, likewise: about ten seconds."""


def units(instance: Instance) -> FloatArray:
    """Return float64 (2,) what counts 1 in rewards of the context's scale.

    Seconds and joules of independent tasks; benefit and bonus of tasks with deadlines.
    """
    return part_of(_family(instance), "units")(instance)


def ideal(instance: Instance) -> FloatArray:
    """Return float64 (2,) what no policy reaches, the ideal point of hypervolumes.

    The delay of the pooled server and the least energy of independent tasks; upper bounds of
    utility and bonus of tasks with deadlines.
    """
    return part_of(_family(instance), "ideal")(instance)


def lower_bounds(instance: Instance) -> FloatArray:
    """Return float64 (2,) the best of the bounds on both objectives that need no solver."""
    return part_of(_family(instance), "lower_bounds")(instance)


def solve(
    instance: Instance,
    *,
    preference: Any = (0.5, 0.5),
    time_limit: float = 60.0,
    seed: int = 0,
) -> ExactResult:
    """Return a good schedule if everything is known beforehand, and a bound; proven where few.

    Up to 16 independent tasks are placed by dynamic programming over sets of tasks. More are
    placed by an iterated local search that begins with what greedy_omega does, beside the bound of
    a linear program.

    Args:
        instance: what to solve.
        preference: weights of both objectives, in units of `units`.
        time_limit: seconds, > 0; what has begun is finished.
        seed: of what is random in the search.

    Raises:
        ParameterError: an argument is out of range.
        MissingDependencyError: a solver is needed that is not installed.
        EvaluationError: what was found contradicts the bound.
    """
    family = _family(instance)
    weights = check_preference(preference, 2)
    if isinstance(weights, str):
        raise ParameterError(f"preference: found {preference!r}, expected two weights")
    if not time_limit > 0:
        raise ParameterError(f"time_limit: found {time_limit}, expected seconds > 0")
    solver = part_of(family, "solve")
    return solver(instance, preference=weights, time_limit=time_limit, seed=seed)


def _family(instance: object) -> str:
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    return instance.family


# ---------------------------------------------------------------- independent tasks


def units_of_slots(instance: OffloadInstance) -> FloatArray:
    """Return `units` of independent tasks."""
    return np.array([instance.delay_unit, instance.energy_unit])


def ideal_of_slots(instance: OffloadInstance) -> FloatArray:
    """Return `ideal` of independent tasks."""
    return np.array([bounds.pooled_bound(instance), bounds.energy_bound(instance)])


def lower_bounds_of_slots(instance: OffloadInstance) -> FloatArray:
    """Return `lower_bounds` of independent tasks."""
    delay = max(bounds.pooled_bound(instance), bounds.lone_bound(instance))
    return np.array([delay, bounds.energy_bound(instance)])


def solve_slots(
    instance: OffloadInstance, *, preference: FloatArray, time_limit: float, seed: int
) -> ExactResult:
    """Return `solve` of independent tasks."""
    began = time.perf_counter()
    problem, per_unit = bounds.placement(instance), preference / units(instance)
    proved = _is_small(problem)
    if proved:
        servers = search.best_subsets(problem, per_unit)
    else:
        servers = _search(instance, problem, preference, per_unit, began + time_limit, seed)
    schedule = play(instance, servers, preference)
    value = float(per_unit @ schedule["objective"])
    bound = value
    if not proved:
        program = bounds.time_indexed_bound(instance, (float(per_unit[0]), float(per_unit[1])))
        bound = max(program, float(per_unit @ lower_bounds(instance)))
    if value < bound * (1.0 - 1e-9):
        raise EvaluationError(f"{instance.name}: found value {value} below the bound {bound}")
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
    """Return the best placement of a search that begins with what greedy_omega does."""
    vec = EdgeOffloadingVectorEnv(1, scenario=instance, max_servers=instance.num_servers)
    vec.reset(seed=0, options={"preference": weights})
    begin = vec.run_rule("greedy_omega")["schedule"]["server"][0]
    return search.local_search(problem, per_unit, begin, seed=seed, until=until)
