"""The arrays of an instance of jobs of dependent tasks, and how a random one is drawn.

Jobs are like those of Alibaba's cluster trace of 2018 (`dispatchgym.envs.core.task_graphs`); what
the trace does not tell, data, links and devices, is assumed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.core.task_graphs import draw_job_graph, draw_job_task
from dispatchgym.envs.edge_offloading.layout import compiled

__all__ = ["GraphLimits", "GraphRows", "draw_graphs", "empty_graph_rows"]

# Columns of GraphRows.number.
SERVERS, JOBS, TASKS, USERS = range(4)
NUM_NUMBERS = 4

# Columns of GraphRows.real.
ARRIVALS, MEAN_CYCLES, DEVICE_HZ, DEVICE_WATT, SEND_WATT, RECEIVE_WATT = range(6)
NUM_REALS = 6

# Columns of GraphRows.server.
FREQUENCY, CORES = range(2)
NUM_SERVER_COLUMNS = 2

# Columns of GraphRows.job.
ARRIVAL, SOURCE, FIRST, END = range(4)
NUM_JOB_COLUMNS = 4

# Columns of GraphRows.task.
CYCLES, INPUT, OUTPUT, JOB, FIRST_PARENT, END_PARENT = range(6)
NUM_TASK_COLUMNS = 6

# What a generator draws from: whole numbers ...
EDGES_LOW, EDGES_HIGH, NUM_JOBS, NUM_USERS, MOST_TASKS = range(5)
NUM_LIMITS = 5
# ... and real ones.
LOAD, RATIO_LOW, RATIO_HIGH = range(3)
NUM_SCALES = 3

REFERENCE_HZ = 2.5e9
"""A core-second of the trace is so many cycles."""
MEAN_JOB_SECONDS = 98.0
"""Core-seconds of a job with at most 20 tasks, on average."""
MEAN_LINK = 1e8
"""bit/s by which the size of data is measured."""
CLOUD_CORES, EDGE_CORES = 8, 2
CLOUD_RANGE, EDGE_RANGE = (3.5e9, 4.5e9), (1.75e9, 2.25e9)
DEVICE_FREQUENCY = 1e9
DEVICE_POWER = 1.25e-26 * DEVICE_FREQUENCY**3
"""W while computing: rho f^3 of the plan model (RLTaskOffloading)."""
SENDING, RECEIVING = 1.258, 1.181
"""W of the radio, likewise."""
EDGE_LINK, CLOUD_LINK = (5e7, 2e8), (2e7, 5e7)
"""Lowest and highest rate of a device's radio to servers, bit/s."""
EDGE_WIRE, CLOUD_WIRE = 1e9, 3e8
"""Rates between edge servers and between them and the cloud."""

# Streams of the keyed random numbers (below 16 are those of the kernel).
_NUMBER, _FREQUENCY, _LINK, _GAP, _USER, _RATIO = range(16, 22)


class GraphLimits(NamedTuple):
    """Largest sizes of the instances that a generator makes; the device is no server."""

    servers: int
    jobs: int
    tasks: int
    parents: int
    users: int
    cores: int


class GraphRows(NamedTuple):
    """The arrays of an instance, padded to S servers, J jobs, N tasks, M parents and U users.

    The kernel has the same with an axis more in front, the lane.

    Attributes:
        number: int64 (NUM_NUMBERS,). real: float64 (NUM_REALS,).
        server: float64 (S, NUM_SERVER_COLUMNS), server 0 is the cloud.
        link: float64 (U, S), bit/s between devices and servers. wire: float64 (S, S), likewise.
        job: float64 (J, NUM_JOB_COLUMNS): arrival, user, its tasks from FIRST to END.
        task: float64 (N, NUM_TASK_COLUMNS): cycles, bits from the device, bits for each child or
            for the device, job, its parents from FIRST_PARENT to END_PARENT.
        parent: int64 (M,), numbers of tasks.
        level, first: int64, work space of `draw_graphs`.
    """

    number: npt.NDArray[np.int64]
    real: npt.NDArray[np.float64]
    server: npt.NDArray[np.float64]
    link: npt.NDArray[np.float64]
    wire: npt.NDArray[np.float64]
    job: npt.NDArray[np.float64]
    task: npt.NDArray[np.float64]
    parent: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]


def empty_graph_rows(limits: GraphLimits, lanes: int) -> GraphRows:
    """Return zeros for so many instances."""
    servers, jobs, tasks, parents, users, _ = limits
    return GraphRows(
        np.zeros((lanes, NUM_NUMBERS), np.int64),
        np.zeros((lanes, NUM_REALS)),
        np.zeros((lanes, servers, NUM_SERVER_COLUMNS)),
        np.zeros((lanes, users, servers)),
        np.zeros((lanes, servers, servers)),
        np.zeros((lanes, jobs, NUM_JOB_COLUMNS)),
        np.zeros((lanes, tasks, NUM_TASK_COLUMNS)),
        np.zeros((lanes, parents), np.int64),
        np.zeros((lanes, tasks), np.int64),
        np.zeros((lanes, tasks + 1), np.int64),
    )


@compiled
def between(bounds, u):
    """Return the number that a uniform one stands for."""
    return bounds[0] + (bounds[1] - bounds[0]) * u


@compiled
def draw_graphs(seed, limits, scales, rows):
    """Write the instance of a seed.

    Args:
        seed: uint64.
        limits: int64 (NUM_LIMITS,).
        scales: float64 (NUM_SCALES,).
        rows: written.
    """
    capacity = draw_platform(seed, limits, rows)
    rows.real[ARRIVALS] = scales[LOAD] * capacity / (MEAN_JOB_SECONDS * REFERENCE_HZ)
    ratio = between(scales[RATIO_LOW:], uniform(seed, _RATIO, 0, 0))
    draw_jobs(seed, limits, ratio, rows)


@compiled
def draw_platform(seed, limits, rows):
    """Draw servers and links; return how many cycles a second servers have."""
    number, real = rows.number, rows.real
    choices = limits[EDGES_HIGH] - limits[EDGES_LOW] + 1
    edges = limits[EDGES_LOW] + np.int64(uniform(seed, _NUMBER, 0, 0) * choices)
    number[SERVERS], number[USERS] = edges + 1, limits[NUM_USERS]
    real[DEVICE_HZ], real[DEVICE_WATT] = DEVICE_FREQUENCY, DEVICE_POWER
    real[SEND_WATT], real[RECEIVE_WATT] = SENDING, RECEIVING
    capacity = 0.0
    for e in range(edges + 1):
        u = uniform(seed, _FREQUENCY, e, 0)
        rows.server[e, FREQUENCY] = between(CLOUD_RANGE if e == 0 else EDGE_RANGE, u)
        rows.server[e, CORES] = CLOUD_CORES if e == 0 else EDGE_CORES
        capacity += rows.server[e, FREQUENCY] * rows.server[e, CORES]
        for other in range(edges + 1):
            rows.wire[e, other] = EDGE_WIRE if e > 0 and other > 0 else CLOUD_WIRE
        for user in range(number[USERS]):
            u = uniform(seed, _LINK, e, user)
            rows.link[user, e] = between(CLOUD_LINK if e == 0 else EDGE_LINK, u)
    return capacity


@compiled
def draw_jobs(seed, limits, ratio, rows):
    """Draw arrivals, graphs and sizes of the jobs."""
    tasks, parents, time, total = 0, 0, 0.0, 0.0
    for j in range(limits[NUM_JOBS]):
        job, key = rows.job[j], np.uint64(derive(seed, j + 1))
        time -= math.log(1.0 - uniform(seed, _GAP, j, 0)) / rows.real[ARRIVALS]
        job[ARRIVAL] = time
        job[SOURCE] = np.int64(uniform(seed, _USER, j, 0) * limits[NUM_USERS])
        free = rows.parent[parents:]
        count = draw_job_graph(key, 1, limits[MOST_TASKS], rows.level, rows.first, free)
        job[FIRST], job[END] = tasks, tasks + count
        for i in range(count):
            task = rows.task[tasks + i]
            seconds, cores = draw_job_task(key, i)
            bits = ratio * seconds * cores * MEAN_LINK
            task[CYCLES], task[JOB] = seconds * cores * REFERENCE_HZ, j
            task[OUTPUT] = bits
            task[INPUT] = bits if rows.first[i] == rows.first[i + 1] else 0.0
            task[FIRST_PARENT] = parents + rows.first[i]
            task[END_PARENT] = parents + rows.first[i + 1]
            total += task[CYCLES]
        for k in range(rows.first[count]):
            free[k] += tasks
        parents += rows.first[count]
        tasks += count
    rows.number[JOBS], rows.number[TASKS] = limits[NUM_JOBS], tasks
    rows.real[MEAN_CYCLES] = total / tasks
