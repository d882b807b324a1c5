"""Random graphs of dependent tasks: layered ones like daggen's, and jobs like Alibaba's.

All numbers are keyed by a seed (see `dispatchgym.envs.core.rng`), so a graph is a function of it.
The `draw_` functions are compiled and fill arrays of the caller; the others return a `TaskGraph`.

A graph is stored by its tasks' parents: those of task i are ``parent[first[i]:first[i + 1]]``,
ascending. Parents have lower numbers than their children, and every edge goes from one level to
the next.

Sources: the parameters fat, regularity and density are those of the generator daggen of F. Suter
and S. Hunold (https://github.com/frs69wq/daggen; the code here is our own). Jobs follow laws that
were fitted on the Alibaba cluster trace v2018: H. Tian, Y. Zheng and W. Wang, "Characterizing and
synthesizing task dependencies of data-parallel jobs in Alibaba cloud", SoCC 2019; the laws are from
https://github.com/All-less/trace-generator (MIT License).
"""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import uniform

__all__ = [
    "LONGEST_SECONDS",
    "MOST_JOB_TASKS",
    "JobGraph",
    "TaskGraph",
    "daggen_graph",
    "draw_daggen",
    "draw_job_graph",
    "draw_job_task",
    "job_graph",
    "most_edges",
]

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller."""

# Streams of the keyed random numbers.
(WIDTH, NUM_PARENTS, PICK, NUM_TASKS, PATH, LEVEL, SECONDS, CORES) = range(32, 40)

SHARE_OF_NEXT_LEVEL = 0.75
"""A task of a job has about so many children for each task of its own level and the next."""
SHORTEST_SECONDS = 0.5
"""Durations that the trace rounds to 0 are taken to be so long."""


def _read_laws() -> dict[str, Any]:
    text = files("dispatchgym.envs.core").joinpath("alibaba_jobs.json").read_text("utf-8")
    laws: dict[str, Any] = json.loads(text)
    return laws


def _cumulative(rows: list[list[int]]) -> npt.NDArray[np.float64]:
    """Return the distribution functions of rows of weights, padded with ones."""
    table = np.ones((len(rows), max(len(row) for row in rows)))
    for filled, row in zip(table, rows, strict=True):
        filled[: len(row)] = np.cumsum(row) / sum(row)
    return table


_LAWS = _read_laws()
_TASKS = _cumulative([_LAWS["tasks_per_100000"]])[0]
_PATHS = _cumulative([[1], *_LAWS["path_length_per_1000"].values()])
_LEVELS = _cumulative(list(_LAWS["level_per_1000"].values()))
_HALF_CORE = _LAWS["half_core_per_1000"] / 1000.0
_SECONDS = np.array([[0.0, 0.0], *_LAWS["duration_quantiles"]])

MOST_JOB_TASKS = len(_TASKS)
"""Largest number of tasks of a job: the 3 in 10,000 that have more are left out."""
LONGEST_SECONDS = float(_SECONDS[-1, 1])
"""Durations are cut off at the quantile of 99 %."""


def most_edges(tasks: int) -> int:
    """Return a number of edges that no graph of so many tasks exceeds."""
    return max(tasks * tasks // 4, 1)


@compiled
def _is_picked(seed, key, place, wanted, count):
    """Whether item `place` is among `wanted` of `count` items drawn at random (all by `key`)."""
    left = wanted
    for j in range(place + 1):
        picked = uniform(seed, PICK, key, j) * (count - j) < left
        if j == place:
            return picked
        left -= picked
    return False


@compiled
def draw_daggen(seed, tasks, fat, regularity, density, level, first, parent):
    """Draw a layered graph; return the number of its edges.

    About tasks^fat tasks stand in a level, up to a share of 1 - regularity more or less. A task
    has 1 + floor(U) parents of the level before, at most all, with U uniform below density times
    their number.

    Args:
        seed: uint64.
        tasks: number of tasks.
        fat: from 0, a chain, to 1, a single level.
        regularity: in [0, 1]; 1: all levels are equally wide.
        density: in [0, 1], of the edges between two levels.
        level: int64 (tasks,), written.
        first: int64 (tasks + 1,), written.
        parent: int64 (`most_edges`,), written.
    """
    usual = max(1, math.floor(tasks**fat + 1e-9))
    above, begin, edges, depth = 0, 0, 0, 0
    first[0] = 0
    while begin < tasks:
        swing = (1.0 - regularity) * (2.0 * uniform(seed, WIDTH, depth, 0) - 1.0)
        width = min(max(1, math.floor(usual * (1.0 + swing))), tasks - begin)
        for task in range(begin, begin + width):
            level[task] = depth
            wanted = 0
            if above > 0:
                more = uniform(seed, NUM_PARENTS, task, 0) * density * above
                wanted = min(1 + math.floor(more), above)
            for j in range(above):
                if _is_picked(seed, task, j, wanted, above):
                    parent[edges] = begin - above + j
                    edges += 1
            first[task + 1] = edges
        begin += width
        above = width
        depth += 1
    return edges


@compiled
def _from_law(law, u, low, high):
    """Return the value in low..high (from 1) of a distribution function, at the point u."""
    below = law[low - 2] if low > 1 else 0.0
    point = below + u * (law[high - 1] - below)
    value = low
    while value < high and law[value - 1] <= point:
        value += 1
    return value


@compiled
def draw_job_graph(seed, fewest, most, level, first, parent):
    """Draw the graph of a job with `fewest` to `most` tasks; return how many it has.

    One task stands on each level of the longest path, the others at random levels. Each task of a
    level is a parent of a quarter less than so many tasks of the next as there are for each of its
    own level, rounded up.

    Args:
        seed: uint64.
        fewest: least number of tasks, at least 1.
        most: largest, at most `MOST_JOB_TASKS`.
        level: int64 (most,), written.
        first: int64 (most + 1,), written.
        parent: int64 (`most_edges(most)`,), written.
    """
    tasks = _from_law(_TASKS, uniform(seed, NUM_TASKS, 0, 0), fewest, most)
    row = min(tasks, _PATHS.shape[0])
    length = _from_law(_PATHS[row - 1], uniform(seed, PATH, 0, 0), 1, row)
    law = _LEVELS[min(length, _LEVELS.shape[0]) - 1]
    highest = min(length, law.shape[0])
    above, begin, edges = 0, 0, 0
    first[0] = 0
    for depth in range(length):
        width = 1
        for other in range(length, tasks):
            width += _from_law(law, uniform(seed, LEVEL, other, 0), 1, highest) == depth + 1
        wanted = 0
        if above > 0:
            wanted = math.ceil(SHARE_OF_NEXT_LEVEL * width / above)
        for j in range(width):
            level[begin + j] = depth
            for i in range(begin - above, begin):
                if _is_picked(seed, i, j, wanted, width):
                    parent[edges] = i
                    edges += 1
            first[begin + j + 1] = edges
        begin += width
        above = width
    return tasks


@compiled
def draw_job_task(seed, task):
    """Return how long a task of a job takes (seconds on its cores), and its number of cores."""
    u = min(uniform(seed, SECONDS, task, 0), _SECONDS[_SECONDS.shape[0] - 1, 0])
    i = 1
    while i < _SECONDS.shape[0] - 1 and _SECONDS[i, 0] < u:
        i += 1
    part = (u - _SECONDS[i - 1, 0]) / (_SECONDS[i, 0] - _SECONDS[i - 1, 0])
    seconds = _SECONDS[i - 1, 1] + part * (_SECONDS[i, 1] - _SECONDS[i - 1, 1])
    cores = 0.5 if uniform(seed, CORES, task, 0) < _HALF_CORE else 1.0
    return max(seconds, SHORTEST_SECONDS), cores


class TaskGraph(NamedTuple):
    """A graph of n tasks and m edges.

    Attributes:
        level: int64 (n,), from 0; every edge goes from one level to the next.
        first: int64 (n + 1,), where the parents of each task begin.
        parent: int64 (m,), parents of task 0, of task 1, ...
    """

    level: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]

    @property
    def edges(self) -> npt.NDArray[np.int64]:
        """(m, 2) parent and child of each edge."""
        child = np.repeat(np.arange(len(self.level)), np.diff(self.first))
        return np.stack([self.parent, child], axis=1)


class JobGraph(NamedTuple):
    """A job: its graph, and what its n tasks take.

    Attributes:
        graph: the tasks' order.
        seconds: float64 (n,), `SHORTEST_SECONDS` to `LONGEST_SECONDS`, on the task's cores.
        cores: float64 (n,), 0.5 or 1.
    """

    graph: TaskGraph
    seconds: npt.NDArray[np.float64]
    cores: npt.NDArray[np.float64]


def daggen_graph(
    seed: int, tasks: int, *, fat: float, regularity: float, density: float
) -> TaskGraph:
    """Return the layered graph of a seed; see `draw_daggen`.

    Args:
        seed: in 0..2^64-1.
        tasks: number of tasks, at least 1.
        fat: in [0, 1].
        regularity: in [0, 1].
        density: in [0, 1].

    Raises:
        ParameterError: an argument is out of range.
    """
    if tasks < 1:
        raise ParameterError(f"tasks: found {tasks}, expected at least 1")
    for name, value in (("fat", fat), ("regularity", regularity), ("density", density)):
        if not 0.0 <= value <= 1.0:
            raise ParameterError(f"{name}: found {value}, expected a number in 0..1")
    level, first, parent = _empty(tasks)
    edges = draw_daggen(np.uint64(seed), tasks, fat, regularity, density, level, first, parent)
    return TaskGraph(level, first, parent[:edges].copy())


def job_graph(seed: int, fewest: int = 1, most: int = MOST_JOB_TASKS) -> JobGraph:
    """Return the job of a seed, with a number of tasks by the law of those in fewest..most.

    Args:
        seed: in 0..2^64-1.
        fewest: least number of tasks, at least 1.
        most: largest, at most `MOST_JOB_TASKS`.

    Raises:
        ParameterError: an argument is out of range.
    """
    if not 1 <= fewest <= most <= MOST_JOB_TASKS:
        raise ParameterError(
            f"fewest, most: found {fewest} and {most}, "
            f"expected 1 <= fewest <= most <= {MOST_JOB_TASKS}"
        )
    level, first, parent = _empty(most)
    key = np.uint64(seed)
    tasks = draw_job_graph(key, fewest, most, level, first, parent)
    drawn = np.array([draw_job_task(key, task) for task in range(tasks)])
    graph = TaskGraph(
        level[:tasks].copy(), first[: tasks + 1].copy(), parent[: first[tasks]].copy()
    )
    return JobGraph(graph, drawn[:, 0].copy(), drawn[:, 1].copy())


def _empty(tasks: int) -> tuple[npt.NDArray[np.int64], ...]:
    return tuple(np.zeros(size, np.int64) for size in (tasks, tasks + 1, most_edges(tasks)))
