"""The arrays of an instance of independent tasks, and how a random one is drawn.

Everything is compiled and drawn from keyed random numbers, so that an instance can be made inside
the kernel as well as by `make_instance`, always the same.

Source: the system model of GMORL, arXiv 2509.10474, and the public code of its predecessor,
arXiv 2307.14346.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.rng import mix, uniform
from dispatchgym.envs.edge_offloading import channel
from dispatchgym.envs.edge_offloading.layout import compiled

__all__ = ["Limits", "Rows", "draw_instance", "empty_rows", "first_row"]

# Columns of Rows.number.
SERVERS, TASKS, HORIZON, SCENARIO, HIDDEN, LAW = range(6)
NUM_NUMBERS = 6
EXPONENTIAL, PARETO = range(2)

# Columns of Rows.real.
SLOT, POWER, ARRIVALS, MEAN_BITS, CYCLES, CAPACITANCE = range(6)
NUM_REALS = 6

# Columns of Rows.server.
FREQUENCY, SPEED, JOULES, BACKHAUL, LATENCY, FIFO = range(6)
NUM_SERVER_COLUMNS = 6

# Columns of Rows.task.
RELEASE, BITS, EXPECTED, SOURCE, TYPE = range(5)
NUM_TASK_COLUMNS = 5

# What a generator draws from: whole numbers ...
(EDGES_LOW, EDGES_HIGH, SLOTS, USERS, CHANNEL, BURSTY, SIZE_LAW, FADING_PER_TASK, QUEUES, HIDES,
 NUMBER_OF_SCENARIO, WANTED_TASKS) = range(12)  # fmt: skip
NUM_LIMITS = 12
PUBLISHED_CODE, SHANNON = range(2)
# ... and real ones.
CLOUD_LOW, CLOUD_HIGH, EDGE_LOW, EDGE_HIGH, USER_RATE, SLOT_LENGTH, TRANSMIT_POWER = range(7)
NUM_SCALES = 7

CYCLES_PER_BIT = 1000.0
EFFECTIVE_CAPACITANCE = 5e-31
SMALLEST, LARGEST = 1e5, 1e8
"""Bits to which sizes are clipped."""
BACKHAUL_RATE, BACKHAUL_LATENCY = 1e8, 0.02
"""Way from an edge to the cloud where radio reaches only edges."""
PARETO_SHAPE = 2.2
TYPE_MEANS = (0.25, 0.5, 1.0, 2.25)
"""Mean sizes of the types of tasks where sizes are hidden, over the mean of all."""
BURST_RATES = (0.5, 2.0)
"""Arrival rates of the two states of bursty arrivals, over the mean rate."""
BURST_BEGINS, BURST_ENDS = 0.05, 0.1
"""Chances to change the state before a slot: a third of all slots is busy, the mean is 1."""

# Streams of the keyed random numbers (below 16 are those of the kernel).
(_NUMBER, _FREQUENCY, _DISTANCE, _FADING, _COUNT, _BURST, _SIZE, _USER, _KIND,
 _TASK_FADING) = range(16, 26)  # fmt: skip


class Limits(NamedTuple):
    """Largest sizes of the instances that a generator makes."""

    servers: int
    tasks: int
    slots: int
    users: int


class Rows(NamedTuple):
    """The arrays of an instance, padded to S servers and N tasks; U users.

    The kernel has the same with an axis more in front, the lane.

    Attributes:
        number: int64 (NUM_NUMBERS,). real: float64 (NUM_REALS,).
        server: float64 (S, NUM_SERVER_COLUMNS), server 0 is the cloud.
        task: float64 (N, NUM_TASK_COLUMNS), in the order of the waiting queue.
        uplink: float64 (N, S), bit/s of the radio when the task is sent to a server.
        link: float64 (U, S), work space of `draw_instance`.
    """

    number: npt.NDArray[np.int64]
    real: npt.NDArray[np.float64]
    server: npt.NDArray[np.float64]
    task: npt.NDArray[np.float64]
    uplink: npt.NDArray[np.float64]
    link: npt.NDArray[np.float64]


def empty_rows(limits: Limits, lanes: int) -> Rows:
    """Return zeros for so many instances."""
    return Rows(
        np.zeros((lanes, NUM_NUMBERS), np.int64),
        np.zeros((lanes, NUM_REALS)),
        np.zeros((lanes, limits.servers, NUM_SERVER_COLUMNS)),
        np.zeros((lanes, limits.tasks, NUM_TASK_COLUMNS)),
        np.zeros((lanes, limits.tasks, limits.servers)),
        np.zeros((lanes, limits.users, limits.servers)),
    )


def first_row(rows: Rows) -> Rows:
    """Return views of the first instance."""
    return Rows(*(array[0] for array in rows))


@compiled
def draw_instance(seed, limits, scales, rows):
    """Write the instance of a seed.

    Args:
        seed: uint64.
        limits: int64 (M, NUM_LIMITS), M kinds of instances to draw from, alike in likelihood.
        scales: float64 (M, NUM_SCALES).
        rows: written.
    """
    member = np.int64(mix(seed) % np.uint64(limits.shape[0]))
    limit, scale = limits[member], scales[member]
    draw_servers(seed, limit, scale, rows)
    draw_arrivals(seed, limit, rows)
    draw_links(seed, limit, rows)


@compiled
def draw_servers(seed, limit, scale, rows):
    """Draw the number of edge servers and the frequencies; sizes of tasks follow from them."""
    number, real, server = rows.number, rows.real, rows.server
    choices = limit[EDGES_HIGH] - limit[EDGES_LOW] + 1
    edges = limit[EDGES_LOW] + np.int64(uniform(seed, _NUMBER, 0, 0) * choices)
    number[SERVERS] = edges + 1
    number[HORIZON] = limit[SLOTS]
    number[SCENARIO] = limit[NUMBER_OF_SCENARIO]
    number[HIDDEN] = limit[HIDES]
    number[LAW] = limit[SIZE_LAW]
    real[SLOT] = scale[SLOT_LENGTH]
    real[POWER] = scale[TRANSMIT_POWER]
    real[CYCLES], real[CAPACITANCE] = CYCLES_PER_BIT, EFFECTIVE_CAPACITANCE
    real[ARRIVALS] = scale[USER_RATE] * limit[USERS]
    total = 0.0
    for e in range(edges + 1):
        low = scale[CLOUD_LOW] if e == 0 else scale[EDGE_LOW]
        high = scale[CLOUD_HIGH] if e == 0 else scale[EDGE_HIGH]
        frequency = low + (high - low) * uniform(seed, _FREQUENCY, e, 0)
        server[e, FREQUENCY] = frequency
        rate_server(real, server[e])
        server[e, BACKHAUL] = server[e, LATENCY] = 0.0
        server[e, FIFO] = limit[QUEUES]
        total += server[e, SPEED]
    if limit[CHANNEL] == SHANNON:
        server[0, BACKHAUL], server[0, LATENCY] = BACKHAUL_RATE, BACKHAUL_LATENCY
    real[MEAN_BITS] = total / real[ARRIVALS]  # load and speed are in balance: equation (1)


@compiled
def rate_server(real, server):
    """Work out the speed of a server and what it uses a bit: equation (10)."""
    server[SPEED] = server[FREQUENCY] / real[CYCLES]
    server[JOULES] = real[CAPACITANCE] * real[CYCLES] * server[FREQUENCY] * server[FREQUENCY]


@compiled
def draw_arrivals(seed, limit, rows):
    """Draw when tasks come, whose they are and how large they are."""
    count, slot, busy = 0, 0, uniform(seed, _BURST, 0, 1) * 3.0 < 1.0
    wanted, last = limit[WANTED_TASKS], 0
    most = wanted if wanted > 0 else rows.task.shape[0]
    while count < most and (wanted > 0 or slot < limit[SLOTS]):
        mean = rows.real[ARRIVALS] * rows.real[SLOT]
        if limit[BURSTY]:
            busy = uniform(seed, _BURST, slot, 0) < (1.0 - BURST_ENDS if busy else BURST_BEGINS)
            mean *= BURST_RATES[1] if busy else BURST_RATES[0]
        coming = poisson(mean, uniform(seed, _COUNT, slot, 0))
        if count == 0 and wanted == 0 and slot == limit[SLOTS] - 1:
            coming = max(coming, 1)  # an episode without a decision would be none
        for _ in range(min(coming, most - count)):
            task = rows.task[count]
            task[RELEASE] = slot * rows.real[SLOT]
            task[SOURCE] = np.int64(uniform(seed, _USER, count, 0) * limit[USERS])
            draw_size(seed, count, rows.number, rows.real, task)
            last = max(last + 1, slot + 1)
            count += 1
        slot += 1
    rows.number[TASKS] = count
    if wanted > 0:
        rows.number[HORIZON] = last  # the slot behind the one in which the last task is sent


@compiled
def draw_size(seed, number, numbers, real, task):
    """Draw the type and the size of a task, and what is known of the size beforehand."""
    u = uniform(seed, _SIZE, number, 0)
    mean, kind = real[MEAN_BITS], 0
    if numbers[HIDDEN]:
        kind = np.int64(uniform(seed, _KIND, number, 0) * len(TYPE_MEANS))
        mean *= TYPE_MEANS[kind]
    if numbers[LAW] == PARETO:
        scale = mean * (PARETO_SHAPE - 1.0) / PARETO_SHAPE
        bits = scale * (1.0 - u) ** (-1.0 / PARETO_SHAPE)
    else:
        bits = -mean * math.log(1.0 - u)
    task[TYPE] = kind
    task[BITS] = min(max(bits, SMALLEST), LARGEST)
    task[EXPECTED] = mean if numbers[HIDDEN] else task[BITS]


@compiled
def poisson(mean, u):
    """Return the Poisson number that a uniform number stands for, by inversion."""
    chance = math.exp(-mean)
    below, count = chance, 0
    while u > below and count < 1000:
        count += 1
        chance *= mean / count
        below += chance
    return count


@compiled
def draw_links(seed, limit, rows):
    """Draw where users are, and the radio rates at which their tasks are sent.

    Fading is drawn once for a link, or again for each task.
    """
    servers, shannon = rows.number[SERVERS], limit[CHANNEL] == SHANNON
    varies, power = limit[FADING_PER_TASK], rows.real[POWER]
    for user in range(limit[USERS]):
        for e in range(servers):
            gain = channel.mean_gain(channel.distance(e == 0, uniform(seed, _DISTANCE, e, user)))
            if not varies:
                gain *= channel.rayleigh_power(uniform(seed, _FADING, e, user))
                gain = channel.rate(shannon, power, gain)
            rows.link[user, e] = gain
    for m in range(rows.number[TASKS]):
        user = np.int64(rows.task[m, SOURCE])
        for e in range(servers):
            found = rows.link[user, e]
            if varies:
                fading = channel.rayleigh_power(uniform(seed, _TASK_FADING, m, e))
                found = channel.rate(shannon, power, found * fading)
            rows.uplink[m, e] = found
        if shannon:
            reach_cloud_by_edge(rows.uplink[m], servers)


@compiled
def reach_cloud_by_edge(rates, servers):
    """Give the cloud the rate of the fastest edge server, which passes tasks on."""
    rates[0] = 0.0
    for e in range(1, servers):
        rates[0] = max(rates[0], rates[e])
