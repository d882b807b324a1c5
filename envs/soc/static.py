"""Scheduling one job on an empty platform: ranks, list schedules, lower bounds and their ratios.

HEFT and CPOP are those of Topcuoglu, Hariri and Wu, "Performance-effective and low-complexity
task scheduling for heterogeneous computing", IEEE TPDS 13 (2002); PEFT is that of Arabnejad and
Barbosa, "List scheduling algorithm for heterogeneous systems by an optimistic cost table", IEEE
TPDS 25 (2014). All put a task into the first gap of a processing element that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.soc.instance import UNSUPPORTED, Instance, JobProfile, Platform

__all__ = [
    "METHODS",
    "Ratios",
    "StaticSchedule",
    "cpop",
    "downward_rank",
    "heft",
    "job_interval",
    "lower_bound",
    "optimistic_cost",
    "peft",
    "ratio_table",
    "ratios",
    "upward_rank",
    "work_bound",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

compiled: Any = njit(cache=True, nogil=True, error_model="numpy")


class StaticSchedule(NamedTuple):
    """Where and when each of the T tasks of a job runs, in microseconds.

    Attributes:
        pe, start, finish: int64 (T,).
    """

    pe: IntArray
    start: IntArray
    finish: IntArray

    @property
    def makespan(self) -> int:
        """Latency of the job."""
        return int(self.finish.max())


# ---------------------------------------------------------------- ranks


def upward_rank(profile: JobProfile, platform: Platform) -> FloatArray:
    """Return (T,) the longest mean way from each task's start to the end of the job.

    Tasks take their mean time, transfers the mean over pairs of different processing elements.
    """
    rank = np.zeros(profile.num_tasks)
    _upward(
        profile.order,
        profile.successor_start,
        profile.successors,
        _delays(profile, platform),
        profile.mean_duration,
        rank,
    )
    return rank


def downward_rank(profile: JobProfile, platform: Platform) -> FloatArray:
    """Return (T,) the longest mean way from the beginning of the job to each task's start."""
    rank = np.zeros(profile.num_tasks)
    _downward(
        profile.order,
        profile.successor_start,
        profile.successors,
        _delays(profile, platform),
        profile.mean_duration,
        rank,
    )
    return rank


def optimistic_cost(profile: JobProfile, platform: Platform) -> FloatArray:
    """Return (T, P) PEFT's table: least mean time after each task, if it runs there.

    The entry of a processing element that cannot run the task says what it would be if it could.
    """
    cost = np.zeros(profile.duration.shape)
    _optimistic(
        profile.order,
        profile.successor_start,
        profile.successors,
        _delays(profile, platform),
        profile.duration,
        cost,
    )
    return cost


def _delays(profile: JobProfile, platform: Platform) -> FloatArray:
    """Return (E,) mean times of the transfers in the order of `JobProfile.successors`."""
    return profile.successor_volume.astype(np.float64) * platform.slowness


@compiled
def _upward(
    order: IntArray,
    start: IntArray,
    successors: IntArray,
    delay: FloatArray,
    weight: FloatArray,
    rank: FloatArray,
) -> None:
    for task in order[::-1]:
        longest = 0.0
        for edge in range(start[task], start[task + 1]):
            longest = max(longest, delay[edge] + rank[successors[edge]])
        rank[task] = weight[task] + longest


@compiled
def _downward(
    order: IntArray,
    start: IntArray,
    successors: IntArray,
    delay: FloatArray,
    weight: FloatArray,
    rank: FloatArray,
) -> None:
    for task in order:
        for edge in range(start[task], start[task + 1]):
            after = rank[task] + weight[task] + delay[edge]
            rank[successors[edge]] = max(rank[successors[edge]], after)


@compiled
def _optimistic(
    order: IntArray,
    start: IntArray,
    successors: IntArray,
    delay: FloatArray,
    duration: IntArray,
    cost: FloatArray,
) -> None:
    pes = duration.shape[1]
    for task in order[::-1]:
        for edge in range(start[task], start[task + 1]):
            after = successors[edge]
            elsewhere = np.inf
            for pe in range(pes):
                if duration[after, pe] != UNSUPPORTED:
                    elsewhere = min(elsewhere, cost[after, pe] + duration[after, pe])
            elsewhere += delay[edge]
            for pe in range(pes):
                least = elsewhere
                if duration[after, pe] != UNSUPPORTED:
                    least = min(least, cost[after, pe] + duration[after, pe])
                cost[task, pe] = max(cost[task, pe], least)


# ---------------------------------------------------------------- list schedules


def heft(profile: JobProfile, platform: Platform) -> StaticSchedule:
    """Return HEFT's schedule: tasks by upward rank, each where it finishes first."""
    rank = upward_rank(profile, platform)
    return _schedule(profile, platform, rank, np.zeros(profile.duration.shape), _anywhere(profile))


def peft(profile: JobProfile, platform: Platform) -> StaticSchedule:
    """Return PEFT's schedule: by mean optimistic cost, where finish plus that cost is least."""
    cost = optimistic_cost(profile, platform)
    rank = (cost * profile.supported).sum(axis=1) / profile.supported.sum(axis=1)
    return _schedule(profile, platform, rank, cost, _anywhere(profile))


def cpop(profile: JobProfile, platform: Platform) -> StaticSchedule:
    """Return CPOP's schedule: the critical path on one processing element, the rest by finish.

    The processing element is the one that runs the whole path fastest; where none can, its tasks
    are treated as the others.
    """
    rank = upward_rank(profile, platform) + downward_rank(profile, platform)
    path = _critical_tasks(profile, rank)
    pinned = _anywhere(profile)
    able = profile.supported[path].all(axis=0)
    if able.any():
        total = np.where(able, profile.duration[path].sum(axis=0), np.iinfo(np.int64).max)
        pinned[path] = int(total.argmin())
    return _schedule(profile, platform, rank, np.zeros(profile.duration.shape), pinned)


METHODS = {"heft": heft, "peft": peft, "cpop": cpop}
"""Name -> function (profile, platform) that gives a `StaticSchedule`."""


def _anywhere(profile: JobProfile) -> IntArray:
    return np.full(profile.num_tasks, -1)


def _critical_tasks(profile: JobProfile, rank: FloatArray) -> list[int]:
    """Return the tasks of a longest way, whose ranks up and down are the highest."""
    heads = np.flatnonzero(profile.depth == 0)
    path = [int(heads[rank[heads].argmax()])]
    while True:
        span = slice(*profile.successor_start[path[-1] : path[-1] + 2])
        successors = profile.successors[span]
        if not len(successors):
            return path
        path.append(int(successors[rank[successors].argmax()]))


def _schedule(
    profile: JobProfile,
    platform: Platform,
    rank: FloatArray,
    penalty: FloatArray,
    pinned: IntArray,
) -> StaticSchedule:
    """Schedule ready tasks by decreasing rank, each by least finish plus penalty (T, P).

    Args:
        profile: the job.
        platform: where it runs.
        rank: (T,) the higher the earlier, lowest id on ties.
        penalty: (T, P) added to a finish before finishes are compared.
        pinned: (T,) processing element that a task must take, -1 for any.
    """
    pe, start, finish = (np.zeros(profile.num_tasks, np.int64) for _ in range(3))
    _insert_all(
        profile.duration,
        profile.predecessor_start,
        profile.predecessors,
        profile.predecessor_volume,
        profile.successor_start,
        profile.successors,
        platform.bandwidth,
        rank,
        penalty,
        pinned,
        pe,
        start,
        finish,
    )
    return StaticSchedule(pe, start, finish)


@compiled
def _insert_all(
    duration: IntArray,
    predecessor_start: IntArray,
    predecessors: IntArray,
    volume: IntArray,
    successor_start: IntArray,
    successors: IntArray,
    bandwidth: FloatArray,
    rank: FloatArray,
    penalty: FloatArray,
    pinned: IntArray,
    pe: IntArray,
    start: IntArray,
    finish: IntArray,
) -> None:
    tasks, pes = duration.shape
    missing = predecessor_start[1:] - predecessor_start[:-1]
    ready = [task for task in range(tasks) if missing[task] == 0]
    queue = np.empty((pes, tasks), np.int64)  # tasks of each processing element by start
    length = np.zeros(pes, np.int64)
    for _ in range(tasks):
        at = 0
        for place in range(1, len(ready)):
            one, best = ready[place], ready[at]
            if rank[one] > rank[best] or (rank[one] == rank[best] and one < best):
                at = place
        task = ready.pop(at)
        least = np.inf
        for choice in range(pes):
            if duration[task, choice] == UNSUPPORTED or pinned[task] not in (-1, choice):
                continue
            arrived = np.int64(0)
            for edge in range(predecessor_start[task], predecessor_start[task + 1]):
                source = predecessors[edge]
                delay = np.int64(volume[edge] / bandwidth[pe[source], choice])
                arrived = max(arrived, finish[source] + delay)
            begin = _first_gap(
                queue[choice, : length[choice]], start, finish, arrived, duration[task, choice]
            )
            end = begin + duration[task, choice]
            if end + penalty[task, choice] < least:
                least = end + penalty[task, choice]
                pe[task], start[task], finish[task] = choice, begin, end
        _enqueue(queue, length, start, finish, task, pe[task])
        for edge in range(successor_start[task], successor_start[task + 1]):
            missing[successors[edge]] -= 1
            if missing[successors[edge]] == 0:
                ready.append(successors[edge])


@compiled
def _first_gap(
    queue: IntArray, start: IntArray, finish: IntArray, arrived: int, length: int
) -> int:
    """Return the first time from `arrived` on at which a processing element is free so long."""
    begin = arrived
    for task in queue:
        if begin + length <= start[task]:
            return begin
        begin = max(begin, finish[task])
    return begin


@compiled
def _enqueue(
    queue: IntArray, length: IntArray, start: IntArray, finish: IntArray, task: int, pe: int
) -> None:
    """Put a task into its processing element's queue, which is by start, then finish."""
    place = length[pe]
    while place > 0:
        before = queue[pe, place - 1]
        if (start[before], finish[before]) <= (start[task], finish[task]):
            break
        queue[pe, place] = before
        place -= 1
    queue[pe, place] = task
    length[pe] += 1


# ---------------------------------------------------------------- bounds


def lower_bound(profile: JobProfile, platform: Platform) -> int:
    """Return a latency in microseconds that no schedule of one job can beat.

    It is the larger of the critical path with shortest times and the `work_bound`; transfers are
    taken as free.

    Raises:
        MissingDependencyError: the processing elements differ and highspy is not installed.
    """
    work = work_bound(profile.duration, np.ones(profile.num_tasks))
    return max(profile.critical_path, math.ceil(work - 1e-6))


def job_interval(instance: Instance) -> float:
    """Return the shortest mean time between jobs, in microseconds, that a platform can sustain.

    Raises:
        MissingDependencyError: the processing elements differ and highspy is not installed.
    """
    chances = instance.workload.probabilities
    duration = np.concatenate([profile.duration for profile in instance.profiles])
    weight = [
        np.full(profile.num_tasks, chance)
        for profile, chance in zip(instance.profiles, chances, strict=True)
    ]
    return work_bound(duration, np.concatenate(weight))


def work_bound(duration: IntArray, weight: FloatArray) -> float:
    """Return how long the busiest processing element works at least, if tasks could be split.

    A linear program says which share of each task runs where; the bound is computed anew from its
    dual values, so that it holds whatever the solver's tolerances.

    Args:
        duration: (T, P) microseconds, `UNSUPPORTED` where a task cannot run.
        weight: (T,) how often each task runs, >= 0.

    Raises:
        MissingDependencyError: the processing elements differ and highspy is not installed.
    """
    columns, count = np.unique(duration, axis=1, return_counts=True)
    rows, where = np.unique(columns, axis=0, return_inverse=True)
    times: FloatArray = rows.astype(np.float64)
    times[rows == UNSUPPORTED] = np.inf
    amount = np.bincount(where.ravel(), weight, len(rows)).astype(np.float64)
    price = np.ones(1) if len(count) == 1 else _prices(times, amount, count)
    price = np.maximum(price, 0.0)
    if not price.any():  # everything can be done in no time
        return 0.0
    price /= count @ price
    with np.errstate(invalid="ignore"):  # a free processing element that cannot run a task
        cost = np.where(np.isinf(times), np.inf, price * times)
    return float(amount @ cost.min(axis=1))


def _prices(times: FloatArray, amount: FloatArray, count: IntArray) -> FloatArray:
    """Return what a microsecond of each kind of processing element is worth.

    Args:
        times: (rows, kinds) time of each kind of task, inf where it cannot run.
        amount: (rows,) how many there are.
        count: (kinds,) how many processing elements there are.
    """
    highspy = _import_highspy()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    row, kind = np.nonzero(np.isfinite(times))
    shares, rows = len(row), len(amount)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = shares + 1, rows + len(count)
    model.col_cost_ = np.append(np.zeros(shares), 1.0)
    model.col_lower_, model.col_upper_ = np.zeros(shares + 1), np.full(shares + 1, np.inf)
    # Every task runs somewhere; no kind works longer than the last variable says.
    model.row_lower_ = np.append(amount, np.full(len(count), -np.inf))
    model.row_upper_ = np.append(amount, np.zeros(len(count)))
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.start_ = np.append(2 * np.arange(shares + 1), 2 * shares + len(count))
    matrix.index_ = np.append(
        np.stack((row, rows + kind), axis=1).ravel(), rows + np.arange(len(count))
    )
    matrix.value_ = np.append(np.stack((np.ones(shares), times[row, kind]), axis=1).ravel(), -count)
    highs.passModel(model)
    highs.run()
    return -np.array(highs.getSolution().row_dual)[rows:]


def _import_highspy() -> Any:
    """Return the module highspy, or say how to get it."""
    try:
        import highspy
    except ImportError as error:
        raise MissingDependencyError(
            f"highspy cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return highspy


# ---------------------------------------------------------------- comparison


class Ratios(NamedTuple):
    """Makespans of one job and what they are compared with, in microseconds.

    Attributes:
        name: of the instance.
        bound: `lower_bound`.
        optimum: -1 where none is known.
        makespans: method -> makespan.
    """

    name: str
    bound: int
    optimum: int
    makespans: dict[str, int]


def ratios(instances: Iterable[Instance], methods: Iterable[str] = tuple(METHODS)) -> list[Ratios]:
    """Return the makespans of the first job profile of every instance.

    Args:
        instances: what to schedule, e.g. files that were loaded.
        methods: names of `METHODS`.

    Raises:
        ParameterError: there is no such method.
        MissingDependencyError: processing elements differ and highspy is not installed.
    """
    names = list(methods)
    for name in names:
        if name not in METHODS:
            raise ParameterError(f"methods: found {name!r}, expected some of {', '.join(METHODS)}")
    return [
        Ratios(
            instance.name,
            lower_bound(instance.profiles[0], instance.platform),
            instance.profiles[0].optimum,
            {
                name: METHODS[name](instance.profiles[0], instance.platform).makespan
                for name in names
            },
        )
        for instance in instances
    ]


def ratio_table(rows: Iterable[Ratios]) -> str:
    """Return makespans as a table in Markdown, one line a method.

    Columns: mean and largest ratio to the bound, the same to the optimum where it is known, the
    share of optimal schedules among these, mean ratio to HEFT where that is among the methods.
    """
    found = list(rows)
    lines = [
        "| method | jobs | to bound, mean | max | to optimum, mean | max | optimal | to HEFT |",
        "|---|---|---|---|---|---|---|---|",
    ]
    known = np.array([row.optimum >= 0 for row in found], bool)
    optimum = np.array([max(row.optimum, 1) for row in found], np.float64)
    bound = np.array([max(row.bound, 1) for row in found], np.float64)
    for name in found[0].makespans if found else ():
        makespan = np.array([row.makespans[name] for row in found], np.float64)
        above, best = makespan / bound, (makespan / optimum)[known]
        optimal = ["-"] * 3
        if known.any():
            share = (best <= 1.0).mean()
            optimal = [f"{best.mean():.4f}", f"{best.max():.3f}", f"{100 * share:.1f} %"]
        to_heft = "-"
        if "heft" in found[0].makespans:
            heft_makespan = np.array([max(row.makespans["heft"], 1) for row in found])
            to_heft = f"{(makespan / heft_makespan).mean():.4f}"
        cells = [name, len(found), f"{above.mean():.4f}", f"{above.max():.3f}", *optimal, to_heft]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
