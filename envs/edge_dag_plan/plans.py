"""The arrays of an instance as the kernel takes them, and how a random one is drawn.

Everything drawn is a pure function of the seed and of what it is for, so that an instance can be
made inside the kernel as well as by `make_instance`, always the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.core.task_graphs import draw_daggen, draw_job_graph, draw_job_task

if TYPE_CHECKING:
    from dispatchgym.envs.edge_dag_plan.instance import Instance

__all__ = [
    "Limits",
    "Plan",
    "derive_times",
    "draw_plan",
    "empty_plans",
    "first_row",
    "lay",
]

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller."""

# Columns of Plan.size.
TASKS, EDGES, SERVERS = range(3)
# Columns of Plan.device.
SPEED, COMPUTE_POWER, TRANSMIT_POWER, RECEIVE_POWER, LOCAL_LATENCY = range(5)
NUM_DEVICE_COLUMNS = 5
# Columns of Plan.server.
SERVER_SPEED, UPLINK, DOWNLINK = range(3)
NUM_SERVER_COLUMNS = 3

# What a generator draws from: whole numbers ...
KIND, TASKS_LOW, TASKS_HIGH, TASKS_STEP, NUM_SERVERS = range(5)
NUM_COUNTS = 5
DAGGEN, JOBS = range(2)
# ... and real ones: lowest, highest, and the distance of the values between (0: any value).
FAT, REGULARITY, DENSITY, CCR, UPLINK_RATE, LINK_RATE, SPEEDUP = range(7)
NUM_RANGES = 7

# Streams of the keyed random numbers.
_COUNT, _SHAPE, _DATA = range(16, 19)

MEBI = 2.0**20
LEAST_DATA, MOST_DATA = 5.0 * MEBI, 50.0 * MEBI
"""daggen's bytes on an edge, uniform, in whole KiB."""
REFERENCE_HERTZ = 2.5e9
"""Speed of the cores of the Alibaba trace: our assumption, as the trace does not say."""


class Plan(NamedTuple):
    """The arrays of instances, a row each, of at most N tasks, M edges and S servers.

    The first are given, the others follow from them (`derive_times`).

    Attributes:
        size: int64 (rows, 3).
        device: float64 (rows, NUM_DEVICE_COLUMNS). server: float64 (rows, S, NUM_SERVER_COLUMNS).
        link: float64 (rows, S, S). work, upload, output: float64 (rows, N).
        first: int64 (rows, N + 1), parent: int64 (rows, M): parents of task i are
            ``parent[first[i]:first[i + 1]]``.
        level: int64 (rows, N), scratch of the generators.
        local: float64 (rows, N), seconds on the device.
        up, run, down: float64 (rows, N, S), seconds of upload, on a server, and of download.
        rank: float64 (rows, N), upward ranks. ranked: int64 (rows, N), tasks by descending rank.
    """

    size: npt.NDArray[np.int64]
    device: npt.NDArray[np.float64]
    server: npt.NDArray[np.float64]
    link: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    upload: npt.NDArray[np.float64]
    output: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    local: npt.NDArray[np.float64]
    up: npt.NDArray[np.float64]
    run: npt.NDArray[np.float64]
    down: npt.NDArray[np.float64]
    rank: npt.NDArray[np.float64]
    ranked: npt.NDArray[np.int64]


class Limits(NamedTuple):
    """Most tasks, edges and servers of a generator's instances."""

    tasks: int
    edges: int
    servers: int


def empty_plans(limits: Limits, rows: int) -> Plan:
    """Return the arrays of `rows` instances of at most this size."""
    tasks, edges, servers = limits
    return Plan(
        size=np.zeros((rows, 3), np.int64),
        device=np.zeros((rows, NUM_DEVICE_COLUMNS)),
        server=np.zeros((rows, servers, NUM_SERVER_COLUMNS)),
        link=np.ones((rows, servers, servers)),
        work=np.zeros((rows, tasks)),
        upload=np.zeros((rows, tasks)),
        output=np.zeros((rows, tasks)),
        first=np.zeros((rows, tasks + 1), np.int64),
        parent=np.zeros((rows, edges), np.int64),
        level=np.zeros((rows, tasks), np.int64),
        local=np.zeros((rows, tasks)),
        up=np.zeros((rows, tasks, servers)),
        run=np.zeros((rows, tasks, servers)),
        down=np.zeros((rows, tasks, servers)),
        rank=np.zeros((rows, tasks)),
        ranked=np.zeros((rows, tasks), np.int64),
    )


def first_row(plans: Plan) -> Plan:
    """Return views of the first of many instances."""
    return Plan(*(rows[0] for rows in plans))


def lay(instance: Instance, plans: Plan, row: int) -> None:
    """Write an instance into row `row` of arrays that are large enough."""
    tasks, edges, servers = instance.num_tasks, instance.num_edges, instance.num_servers
    plan = Plan(*(rows[row] for rows in plans))
    plan.size[:] = tasks, edges, servers
    plan.device[:LOCAL_LATENCY] = (
        instance.device_speed,
        instance.device_power,
        instance.transmit_power,
        instance.receive_power,
    )
    plan.server[:servers, SERVER_SPEED] = instance.server_speed
    plan.server[:servers, UPLINK] = instance.uplink
    plan.server[:servers, DOWNLINK] = instance.downlink
    plan.link[:servers, :servers] = instance.link
    for name in ("work", "upload", "output"):
        getattr(plan, name)[:tasks] = getattr(instance, name)
    parent, child = instance.edges.T
    plan.first[: tasks + 1] = np.searchsorted(child, np.arange(tasks + 1))
    plan.parent[:edges] = parent
    derive_times(plan)


@compiled
def derive_times(plan):
    """Fill in times, upward ranks and the order of one instance."""
    tasks, servers = plan.size[TASKS], plan.size[SERVERS]
    total = 0.0
    for i in range(tasks):
        plan.local[i] = plan.work[i] / plan.device[SPEED]
        total += plan.local[i]
        for k in range(servers):
            plan.up[i, k] = plan.upload[i] / plan.server[k, UPLINK]
            plan.run[i, k] = plan.work[i] / plan.server[k, SERVER_SPEED]
            plan.down[i, k] = plan.output[i] / plan.server[k, DOWNLINK]
    plan.device[LOCAL_LATENCY] = total
    rank_tasks(plan)
    sort_by_rank(plan)


@compiled
def least_time(plan, i):
    """Return the seconds of a task where it takes the least, transfers included."""
    least = plan.local[i]
    for k in range(plan.size[SERVERS]):
        least = min(least, plan.up[i, k] + plan.run[i, k] + plan.down[i, k])
    return least


@compiled
def rank_tasks(plan):
    """Write the upward ranks: each round settles the tasks whose children's ranks have settled.

    Children mostly have higher numbers, so that one round from the last task on does it.
    """
    tasks = plan.size[TASKS]
    changed = True
    for i in range(tasks):
        plan.rank[i] = least_time(plan, i)
    while changed:
        changed = False
        for child in range(tasks - 1, -1, -1):
            for edge in range(plan.first[child], plan.first[child + 1]):
                i = plan.parent[edge]
                rank = least_time(plan, i) + plan.rank[child]
                if rank > plan.rank[i]:
                    plan.rank[i] = rank
                    changed = True


@compiled
def sort_by_rank(plan):
    """Write the tasks by descending rank, those of equal rank by number."""
    for i in range(plan.size[TASKS]):
        place = i
        while place > 0 and plan.rank[plan.ranked[place - 1]] < plan.rank[i]:
            plan.ranked[place] = plan.ranked[place - 1]
            place -= 1
        plan.ranked[place] = i


@compiled
def draw_between(seed, what, place, ranges):
    """Return a number of the range of a quantity."""
    low, high, step = ranges[what]
    u = uniform(seed, _SHAPE, what, place)
    if step == 0.0:
        return low + u * (high - low)
    choices = math.floor((high - low) / step + 0.5) + 1
    return low + step * math.floor(u * choices)


@compiled
def draw_plan(seed, counts, ranges, plan):
    """Draw one instance into arrays of its own, whose device and servers are already there.

    Args:
        seed: uint64.
        counts: int64 (NUM_COUNTS,).
        ranges: float64 (NUM_RANGES, 3): lowest, highest, and distance of the values between.
        plan: written.
    """
    if counts[KIND] == DAGGEN:
        draw_layered(seed, counts, ranges, plan)
    else:
        draw_job(seed, counts, ranges, plan)
    derive_times(plan)


@compiled
def draw_layered(seed, counts, ranges, plan):
    """Draw a graph like daggen's: bytes up and work are data / ccr, the result is half of it."""
    choices = (counts[TASKS_HIGH] - counts[TASKS_LOW]) // counts[TASKS_STEP] + 1
    chosen = math.floor(uniform(seed, _COUNT, 0, 0) * choices)
    tasks = counts[TASKS_LOW] + counts[TASKS_STEP] * chosen
    fat = draw_between(seed, FAT, 0, ranges)
    regularity = draw_between(seed, REGULARITY, 0, ranges)
    density = draw_between(seed, DENSITY, 0, ranges)
    ccr = draw_between(seed, CCR, 0, ranges)
    graph = derive(seed, 0)
    edges = draw_daggen(graph, tasks, fat, regularity, density, plan.level, plan.first, plan.parent)
    plan.size[TASKS], plan.size[EDGES], plan.size[SERVERS] = tasks, edges, counts[NUM_SERVERS]
    for i in range(tasks):
        data = LEAST_DATA + uniform(seed, _DATA, i, 0) * (MOST_DATA - LEAST_DATA)
        size = math.floor(data / 1024.0) * 1024.0 / ccr
        plan.work[i] = plan.upload[i] = size
        plan.output[i] = size / 2.0


@compiled
def draw_job(seed, counts, ranges, plan):
    """Draw a job like Alibaba's, in cycles, with servers that are not alike.

    The trace has no volumes of data: those of a task are what the mean uplink carries in
    ccr times as long as the mean server computes.
    """
    job, servers = derive(seed, 0), counts[NUM_SERVERS]
    draw_servers(seed, ranges, servers, plan)
    tasks = draw_job_graph(
        job, counts[TASKS_LOW], counts[TASKS_HIGH], plan.level, plan.first, plan.parent
    )
    plan.size[TASKS], plan.size[EDGES], plan.size[SERVERS] = tasks, plan.first[tasks], servers
    speed, rate = 0.0, 0.0
    for k in range(servers):
        speed += plan.server[k, SERVER_SPEED] / servers
        rate += plan.server[k, UPLINK] / servers
    ccr = draw_between(seed, CCR, 0, ranges)
    for i in range(tasks):
        seconds, cores = draw_job_task(job, i)
        plan.work[i] = seconds * cores * REFERENCE_HERTZ
        usual = ccr * rate * plan.work[i] / speed
        plan.upload[i] = usual * 2.0 * uniform(seed, _DATA, i, 0)
        plan.output[i] = usual * 2.0 * uniform(seed, _DATA, i, 1)


@compiled
def draw_servers(seed, ranges, servers, plan):
    """Draw speeds (times that of the device) and links of the servers."""
    for k in range(servers):
        plan.server[k, SERVER_SPEED] = plan.device[SPEED] * draw_between(seed, SPEEDUP, k, ranges)
        rate = draw_between(seed, UPLINK_RATE, k, ranges)
        plan.server[k, UPLINK] = plan.server[k, DOWNLINK] = rate
        for other in range(k):
            between = draw_between(seed, LINK_RATE, k * servers + other, ranges)
            plan.link[k, other] = plan.link[other, k] = between
        plan.link[k, k] = 1.0
