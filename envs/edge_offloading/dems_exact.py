"""Upper bounds on what a run of tasks with deadlines can bring, and good schedules.

`fluid_bound` lets the edge share its time among tasks in any fractions. For few tasks, constraint
programming finds the best utility of any schedule of edge and cloud that knows what comes and
queues as it likes, which is a bound on every policy too. It needs the extra ``exact``.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError
from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance
from dispatchgym.envs.edge_offloading.report import ExactResult

__all__ = [
    "bonus_bound",
    "fluid_bound",
    "ideal",
    "lower_bounds",
    "program_bound",
    "solve_deadlines",
    "surge",
    "units",
]

FloatArray = npt.NDArray[np.float64]

MOST_TASKS = 60
"""So many tasks are bounded by constraint programming."""
_SCALE = 1000
"""The program counts in thousandths."""
_RULES = ("shadow_price", "rollout", "dems", "gems", "cld", "demsa")


def units(instance: DeadlineInstance) -> FloatArray:
    """Return float64 (2,) what counts 1 in rewards of the context's scale."""
    return np.array([instance.utility_unit, instance.bonus_unit])


def fluid_bound(instance: DeadlineInstance, edge_ms: int | None = None) -> float:
    """Return a utility that no policy exceeds.

    Every task brings at least what the cloud brings, or nothing; the edge's time goes to the tasks
    that win most in it, the last one in part.

    Args:
        instance: the run.
        edge_ms: time of the edge; None: from the first release until the last task is late.
    """
    late = instance.release + instance.deadline[instance.model]
    left = float(late.max() - instance.release[0] if edge_ms is None else edge_ms)
    elsewhere = np.maximum(0.0, instance.benefit - instance.cloud_cost)
    won = np.maximum(0.0, instance.benefit - instance.edge_cost - elsewhere)
    counts = np.bincount(instance.model, minlength=len(instance.models))
    total = float(counts @ elsewhere)
    for m in np.argsort(-won / instance.edge_time, kind="stable"):
        used = min(left, float(counts[m] * instance.edge_time[m]))
        total += used / instance.edge_time[m] * won[m]
        left -= used
    return total


def bonus_bound(instance: DeadlineInstance) -> float:
    """Return the bonuses of all models in all windows."""
    return float(instance.horizon // instance.window * instance.bonus.sum())


def ideal(instance: DeadlineInstance) -> FloatArray:
    """Return float64 (2,) what no policy exceeds: utility and bonus."""
    return np.array([fluid_bound(instance), bonus_bound(instance)])


def lower_bounds(instance: DeadlineInstance) -> FloatArray:
    """Return float64 (2,) the bounds that need no solver; of what is to be most, upper ones."""
    return ideal(instance)


def solve_deadlines(
    instance: DeadlineInstance, *, preference: FloatArray, time_limit: float, seed: int
) -> ExactResult:
    """Return the best schedule of the rules, and a bound; proven optimal where they meet.

    Args:
        instance: the run.
        preference: float64 (2,) weights of utility and bonus, in units of `units`.
        time_limit: seconds, > 0, of the program that bounds runs of up to 60 tasks.
        seed: noted in the schedule; nothing is drawn.

    Raises:
        MissingDependencyError: there are few tasks and OR-tools is not installed.
        EvaluationError: what was found contradicts the bound.
    """
    began = time.perf_counter()
    per_unit = preference / units(instance)
    schedules = _schedules(instance, preference, seed)
    schedule = max(schedules, key=lambda each: float(per_unit @ each["objective"]))
    most = float(per_unit @ ideal(instance))
    if instance.num_tasks <= MOST_TASKS:
        most = min(most, program_bound(instance, per_unit, time_limit))
    value = float(per_unit @ schedule["objective"])
    if value > most * (1.0 + 1e-9) + 1e-9:
        raise EvaluationError(f"{instance.name}: found {value} above the bound {most}")
    proved = value >= most * (1.0 - 1e-9) - 1e-9
    seconds = time.perf_counter() - began
    return ExactResult(schedule["objective"], -value, -most, proved, schedule, seconds)


def _schedules(
    instance: DeadlineInstance, preference: FloatArray, seed: int
) -> list[dict[str, Any]]:
    """Return what the rules make of a run."""
    from dispatchgym.envs.edge_offloading.env import EdgeOffloadingSimulation

    simulation = EdgeOffloadingSimulation(num_lanes=1, scenario=instance, preference=preference)
    found = []
    for rule in _RULES:
        simulation.restart(np.ones(1, np.bool_), np.full(1, seed, np.int64))
        simulation.run_rule(rule)
        found.append(simulation.final_info(0)["schedule"])
    return found


# --- The program -----------------------------------------------------------------------------


def program_bound(
    instance: DeadlineInstance, per_unit: npt.ArrayLike, time_limit: float = 60.0
) -> float:
    """Return a bound on the weighted sum of utility and bonus, its optimum if time suffices.

    Each task runs at the edge within its time, or on the cloud if it can be in time there, or not
    at all. A task that may end in either of two windows ends in the better one.

    Args:
        instance: the run.
        per_unit: (2,) value of a unit of utility, and of bonus.
        time_limit: seconds, > 0.

    Raises:
        MissingDependencyError: OR-tools is not installed.
    """
    cp_model = _import_cp_model()
    program = _Program(instance, cp_model.CpModel(), np.asarray(per_unit, np.float64))
    program.model.Maximize(program.gains())
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit
    solver.parameters.num_workers = 1
    solver.Solve(program.model)
    return float(solver.BestObjectiveBound()) / program.scale


class _Program:
    """The variables of the program."""

    def __init__(self, instance: DeadlineInstance, model: Any, per_unit: FloatArray) -> None:
        """Lay the tasks on edge and cloud."""
        self.instance, self.model = instance, model
        self.per_unit = per_unit
        self.scale = _SCALE / max(float(per_unit.max()), 1e-12)
        self.edge = [model.NewBoolVar(f"edge{i}") for i in range(instance.num_tasks)]
        self.cloud = [model.NewBoolVar(f"cloud{i}") for i in range(instance.num_tasks)]
        runs, calls = [], []
        for i, m in enumerate(instance.model.tolist()):
            model.AddAtMostOne(self.edge[i], self.cloud[i])
            release = int(instance.release[i])
            late = release + int(instance.deadline[m])
            runs.append(self._run(self.edge[i], release, late, int(instance.edge_time[m])))
            calls.append(self._run(self.cloud[i], release, late, self._cloud_time(i, late)))
        model.AddNoOverlap([run for run in runs if run is not None])
        found = [call for call in calls if call is not None]
        model.AddCumulative(found, [1] * len(found), instance.slots)

    def _run(self, chosen: Any, release: int, late: int, length: int) -> Any:
        """Return the interval of a run that ends in time, None where there is none."""
        if release + length > late:
            self.model.Add(chosen == 0)
            return None
        start = self.model.NewIntVar(release, late - length, "")
        return self.model.NewOptionalFixedSizeIntervalVar(start, length, chosen, "")

    def _cloud_time(self, task: int, late: int) -> int:
        """Return the least time on the cloud: a trapezium is least at the ends."""
        inst, alone = self.instance, int(self.instance.cloud_time[task])
        release = int(inst.release[task])
        return alone + min(surge(inst, release), surge(inst, max(late - alone, release)))

    def gains(self) -> Any:
        """Return what is to be most, a linear expression in whole numbers."""
        inst, total = self.instance, []
        for i, m in enumerate(inst.model.tolist()):
            edge = float(inst.benefit[m] - inst.edge_cost[m])
            cloud = float(inst.benefit[m] - inst.cloud_cost[m])
            total.append(self._whole(edge, 0) * self.edge[i])
            total.append(self._whole(cloud, 0) * self.cloud[i])
        for window in range(inst.horizon // inst.window):
            for m in range(len(inst.models)):
                total.append(self._whole(float(inst.bonus[m]), 1) * self._earned(window, m))
        return sum(total)

    def _whole(self, gain: float, objective: int) -> int:
        """Return a gain in whole numbers, rounded up: the bound stays one."""
        return int(np.ceil(gain * self.per_unit[objective] * self.scale - 1e-9))

    def _earned(self, window: int, m: int) -> Any:
        """Return whether enough results of a model are in time in a window."""
        inst, model = self.instance, self.model
        begin, end = window * inst.window, (window + 1) * inst.window
        earned = model.NewBoolVar(f"bonus{window}_{m}")
        late = inst.release + inst.deadline[inst.model]
        inside = (inst.release < end) & (late >= begin) & (inst.model == m)
        in_time, must = [], []
        for i in np.flatnonzero(inside).tolist():
            in_time.append(self.edge[i] + self.cloud[i])
            if inst.release[i] >= begin and late[i] < end:
                must.append(i)
        required = int(np.floor(inst.required[m] * _SCALE * max(len(must), 1)))
        model.Add(_SCALE * sum(in_time) >= required).OnlyEnforceIf(earned)
        return earned


def surge(instance: DeadlineInstance, at: int) -> int:
    """Return the milliseconds that the network adds to a run that starts at an instant."""
    start, ramp, length, height = instance.surge
    inside = min(at - start, start + length - at)
    return height * min(inside, ramp) // ramp if height and inside > 0 else 0


def _import_cp_model() -> Any:
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingDependencyError(
            f"OR-tools cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return cp_model
