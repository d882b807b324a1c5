"""Random layered job graphs and random platforms: compiled, from keyed random numbers.

Everything drawn is a pure function of the seed and of what it is for. The graphs have the five
parameters of Suter's generator daggen (width, density, regularity, jump, and communication to
computation ratio); times spread around a task's own as in the HEFT and PEFT papers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.soc.instance import UNSUPPORTED, Cluster, Platform

__all__ = ["FAMILIES", "draw_graph", "draw_platform", "draw_times", "pick", "spread"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

compiled: Any = njit(cache=True, nogil=True, error_model="numpy")

FAMILIES = 8
"""Kinds of work that accelerators are built for."""
NOMINAL = 100
"""Microseconds that a unit of work takes on the slowest core of a random platform."""
LINK_BANDWIDTH = 100.0
"""Volume a microsecond between neighbours on the mesh."""
SELF_BANDWIDTH = 10_000.0

_GENERAL_SHARE = 0.6
_FAMILY_CHANCE = 0.3
_ACCELERATORS_A_CLUSTER = 4

# Streams of the keyed random numbers; the kernel's are below 16.
(SIZE, SHAPE, LEVEL, PARENTS, PARENT, REACH, VOLUME, WORK, FAMILY, SPREAD, CLASSES, SPEED, ABLE,
 SPEED_UP, PART) = range(16, 31)  # fmt: skip


def spread(seed: int, stream: int, index: int, low: float, high: float, place: int = 0) -> float:
    """Return a number that is uniform in low..high."""
    return low + (high - low) * float(uniform(np.uint64(seed), stream, index, place))


def pick(seed: int, stream: int, index: int, count: int, place: int = 0) -> int:
    """Return an integer that is uniform in 0..count - 1."""
    return int(uniform(np.uint64(seed), stream, index, place) * count)


# ---------------------------------------------------------------- graphs


def draw_graph(
    seed: int, index: int, tasks: int, width: float, density: float, regularity: float, jump: int
) -> IntArray:
    """Return the edges (E, 2) of a random layered graph with one first and one last task.

    Args:
        seed: in 0..2^64-1.
        index: number of the graph, >= 0: each has random numbers of its own.
        tasks: T >= 1; task 0 is the first and T - 1 the last one.
        width: exponent of the mean number of tasks a level, T^width; 0..1.
        density: share of the level before that a task depends on at most; 0..1.
        regularity: 1 for levels of equal size, 0 for sizes between nothing and twice the mean.
        jump: most levels that an edge spans, >= 1.
    """
    if tasks < 3:
        return np.array([(0, 1)] if tasks == 2 else [], np.int64).reshape(-1, 2)
    edges = np.empty((most_edges(tasks), 2), np.int64)
    count = _fill_graph(np.uint64(seed), index, tasks, width, density, regularity, jump, edges)
    return edges[:count]


def most_edges(tasks: int) -> int:
    """Return how many edges a graph may have at most: 4 a task."""
    return 4 * tasks


@compiled
def _fill_graph(
    seed: np.uint64,
    index: int,
    tasks: int,
    width: float,
    density: float,
    regularity: float,
    jump: int,
    edges: IntArray,
) -> int:
    first = _draw_levels(seed, index, tasks, width, regularity)
    levels = len(first) - 1
    has_successor = np.zeros(tasks, np.bool_)
    spare = len(edges) - 2 * tasks  # every task has a way in and a way out
    count = 0
    for level in range(levels):
        for task in range(first[level], first[level + 1]):
            if level == 0:
                edges[count] = 0, task
                count += 1
                continue
            span = density * (first[level] - first[level - 1])
            parents = min(1 + int(uniform(seed, PARENTS, index, task) * span), 1 + spare)
            begin = count
            for parent in range(parents):
                key = task * tasks + parent
                back = 1 + int(uniform(seed, REACH, index, key) * jump) if parent else 1
                above = max(level - back, 0)
                size = first[above + 1] - first[above]
                source = first[above] + int(uniform(seed, PARENT, index, key) * size)
                if not _contains(edges, begin, count, source):
                    edges[count] = source, task
                    has_successor[source] = True
                    count += 1
            spare -= count - begin - 1
    for task in range(1, tasks - 1):
        if not has_successor[task]:
            edges[count] = task, tasks - 1
            count += 1
    return count


@compiled
def _draw_levels(
    seed: np.uint64, index: int, tasks: int, width: float, regularity: float
) -> IntArray:
    """Return the first task of each level between the first and the last task, and the end."""
    mean = tasks**width
    first = np.ones(tasks, np.int64)
    levels = 0
    while first[levels] < tasks - 1:
        swing = (1.0 - regularity) * (2.0 * uniform(seed, LEVEL, index, levels) - 1.0)
        size = max(int(mean * (1.0 + swing) + 0.5), 1)
        first[levels + 1] = min(first[levels] + size, tasks - 1)
        levels += 1
    return first[: levels + 1]


@compiled
def _contains(edges: IntArray, begin: int, end: int, source: int) -> bool:
    for edge in range(begin, end):
        if edges[edge, 0] == source:
            return True
    return False


def draw_volumes(seed: int, index: int, edges: int, mean: float) -> IntArray:
    """Return (E,) volumes that are uniform within a half of a mean, rounded."""
    volume = np.empty(edges, np.int64)
    _fill_volumes(np.uint64(seed), index, mean, volume)
    return volume


@compiled
def _fill_volumes(seed: np.uint64, index: int, mean: float, volume: IntArray) -> None:
    for edge in range(len(volume)):
        volume[edge] = int(mean * (0.5 + uniform(seed, VOLUME, index, edge)) + 0.5)


def draw_times(
    seed: int,
    index: int,
    speed: FloatArray,
    pe_cluster: IntArray,
    tasks: int,
    work: tuple[float, float],
    beta: float,
) -> tuple[IntArray, IntArray]:
    """Return families (T,) and times (T, P) of the tasks of a random job.

    A task's work is uniform in `work`, its time on each cluster the work over the cluster's speed,
    spread by up to beta / 2 of it, at least one microsecond.

    Args:
        seed: in 0..2^64-1.
        index: number of the job.
        speed: (clusters, families) speed of each cluster at each kind of work, 0 if unsupported.
        pe_cluster: (P,) cluster of each processing element.
        tasks: T.
        work: lowest and highest work, in microseconds at speed 1.
        beta: heterogeneity, in 0..2.
    """
    family = np.empty(tasks, np.int64)
    duration = np.empty((tasks, len(pe_cluster)), np.int64)
    _fill_times(np.uint64(seed), index, speed, pe_cluster, *work, beta, family, duration)
    return family, duration


@compiled
def _fill_times(
    seed: np.uint64,
    index: int,
    speed: FloatArray,
    pe_cluster: IntArray,
    low: float,
    high: float,
    beta: float,
    family: IntArray,
    duration: IntArray,
) -> None:
    clusters, families = speed.shape
    for task in range(len(family)):
        kind = int(uniform(seed, FAMILY, index, task) * families)
        work = low + (high - low) * uniform(seed, WORK, index, task)
        family[task] = kind
        for pe in range(len(pe_cluster)):
            cluster = pe_cluster[pe]
            duration[task, pe] = UNSUPPORTED
            if speed[cluster, kind] > 0.0:
                draw = uniform(seed, SPREAD, index, task * clusters + cluster)
                factor = 1.0 + beta * (draw - 0.5)
                duration[task, pe] = max(int(work * factor / speed[cluster, kind] + 0.5), 1)


def spread_times(seed: int, duration: IntArray, beta: float) -> IntArray:
    """Return times (T, P), each longer or shorter by up to beta / 2 of it.

    Times above zero stay above, zero and `UNSUPPORTED` stay as they are.
    """
    changed = duration.copy()
    if beta:
        _spread_all(np.uint64(seed), beta, changed)
    return changed


@compiled
def _spread_all(seed: np.uint64, beta: float, duration: IntArray) -> None:
    tasks, pes = duration.shape
    for task in range(tasks):
        for pe in range(pes):
            if duration[task, pe] > 0:
                factor = 1.0 + beta * (uniform(seed, SPREAD, 0, task * pes + pe) - 0.5)
                duration[task, pe] = max(int(duration[task, pe] * factor + 0.5), 1)


# ---------------------------------------------------------------- platforms


def draw_platform(seed: int, pes: int) -> tuple[Platform, FloatArray]:
    """Return a random platform and the speed (clusters, families) of its clusters.

    Six tenths of the processing elements are cores in 2 to 4 speed classes, 1 to 4 times as fast
    as the slowest, which run every family of tasks; the others are accelerators, each cluster for
    a random few families, 3 to 30 times as fast. They stand on a square mesh in the order of
    their numbers; the bandwidth of two falls with the hops between them.

    Args:
        seed: in 0..2^64-1.
        pes: number of processing elements, >= 4.
    """
    cores = min(max(round(_GENERAL_SHARE * pes), 2), pes - 1)
    classes = min(2 + pick(seed, CLASSES, 0, 3), cores)
    kinds = max(1, round((pes - cores) / _ACCELERATORS_A_CLUSTER))
    pe_cluster = np.concatenate(
        (
            np.arange(cores) * classes // cores,
            classes + np.arange(pes - cores) * kinds // (pes - cores),
        )
    )
    speed = np.zeros((classes + kinds, FAMILIES))
    for cluster in range(classes):
        speed[cluster] = 1.0 if cluster == 0 else spread(seed, SPEED, cluster, 1.0, 4.0)
    for cluster in range(classes, classes + kinds):
        speed[cluster] = _accelerator_speed(seed, cluster)
    clusters = [Cluster(f"core{number}", "CPU") for number in range(classes)]
    clusters += [Cluster(f"accelerator{number}", "ACC") for number in range(kinds)]
    times = np.where(speed > 0, np.rint(NOMINAL / np.maximum(speed, 1.0)), UNSUPPORTED)
    platform = Platform(
        name=f"random-p{pes}",
        pe_names=tuple(f"{clusters[at].name}_{pe}" for pe, at in enumerate(pe_cluster)),
        clusters=tuple(clusters),
        pe_cluster=pe_cluster,
        bandwidth=_mesh_bandwidth(pes),
        memory_bandwidth=np.full(pes, LINK_BANDWIDTH),
        task_names=tuple(f"family_{number}" for number in range(FAMILIES)),
        duration=times.T[:, pe_cluster].astype(np.int64),
    )
    return platform, speed


def most_clusters(pes: int) -> int:
    """Return how many clusters a random platform may have at most."""
    return 4 + max(1, round(pes / _ACCELERATORS_A_CLUSTER))


def _accelerator_speed(seed: int, cluster: int) -> FloatArray:
    """Return (families,) speeds, 0 where it can do nothing; it can do at least one thing."""
    able = [
        pick(seed, ABLE, cluster, 1000, family) < 1000 * _FAMILY_CHANCE
        for family in range(FAMILIES)
    ]
    able[pick(seed, ABLE, cluster, FAMILIES, FAMILIES)] = True
    speed_up = [
        math.exp(spread(seed, SPEED_UP, cluster, math.log(3.0), math.log(30.0), family))
        for family in range(FAMILIES)
    ]
    return np.where(able, speed_up, 0.0)


def _mesh_bandwidth(pes: int) -> FloatArray:
    side = math.isqrt(pes - 1) + 1
    row, column = np.divmod(np.arange(pes), side)
    hops = np.abs(row[:, None] - row) + np.abs(column[:, None] - column)
    bandwidth = LINK_BANDWIDTH / np.maximum(hops, 1)
    np.fill_diagonal(bandwidth, SELF_BANDWIDTH)
    return bandwidth
