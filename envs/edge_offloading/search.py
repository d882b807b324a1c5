"""Placing tasks if all is known: costs of servers, a local search, and the best of all subsets.

The cost of a placement is a sum over servers, so that a change concerns two of them only.
"""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.edge_offloading.bounds import Placement
from dispatchgym.envs.edge_offloading.kernel import (
    NUM_WORK_ROWS,
    WORK_BITS,
    WORK_NEW,
    WORK_START,
    play_fifo,
    play_shared,
)
from dispatchgym.envs.edge_offloading.layout import compiled

__all__ = ["best_subsets", "delay_of", "local_search", "server_costs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

KICKS = 100
KICKED = 0.15
"""Share of the tasks that a kick moves."""


def server_order(problem: Placement) -> IntArray:
    """Return (S, n) the tasks in the order in which their uploads to each server would end."""
    return np.argsort(problem.start.T, axis=1, kind="stable")


def delay_of(problem: Placement, servers: IntArray) -> float:
    """Return the total delay of a placement (n,), in seconds."""
    order, work = server_order(problem), np.zeros((NUM_WORK_ROWS, len(servers) + 1))
    ends = sum(
        server_ends(
            order[e], problem.start[:, e], problem.bits, servers, e, problem.speed[e],
            problem.fifo[e], work,
        )
        for e in range(len(problem.speed))
    )  # fmt: skip
    return float(ends - problem.sent.sum())


@compiled
def server_ends(order, start, bits, servers, e, speed, fifo, work):
    """Return the sum of the times at which the tasks of a server end.

    Args:
        order: int64 (n,), tasks by the end of their upload to it.
        start: float64 (n,), these ends.
        bits: float64 (n,), sizes.
        servers: int64 (n,), where tasks are placed.
        e: the server.
        speed: bit/s.
        fifo: whether it takes tasks one by one.
        work: float64 (NUM_WORK_ROWS, n + 1), work space.
    """
    uploads = 0
    for i in range(order.size - 1, -1, -1):
        m = order[i]
        if servers[m] == e:
            work[WORK_START, uploads], work[WORK_BITS, uploads] = start[m], bits[m]
            work[WORK_NEW, uploads] = 0.0
            uploads += 1
    if fifo:
        return play_fifo(work, uploads, 0.0, speed)[0]
    return play_shared(work, 0, 0.0, uploads, 0.0, speed)[0]


@compiled
def server_cost(problem, servers, e, weight, work):
    """Return the weighted cost of a server; `problem` as in `climb`."""
    order, start, bits, joules, speed, fifo = problem
    ends = server_ends(order[e], start[e], bits, servers, e, speed[e], fifo[e], work)
    energy = 0.0
    for m in range(servers.size):
        if servers[m] == e:
            energy += joules[e, m]
    return weight[0] * ends + weight[1] * energy


@compiled
def improve(problem, servers, costs, m, to, other, weight, work):
    """Move task m to a server, and the other task, unless it is -1, to where m was, if better."""
    come_from = servers[m]
    servers[m] = to
    if other >= 0:
        servers[other] = come_from
    first = server_cost(problem, servers, come_from, weight, work)
    second = server_cost(problem, servers, to, weight, work)
    gain = costs[come_from] + costs[to] - first - second
    if gain > 1e-9 * (costs[come_from] + costs[to]):
        costs[come_from], costs[to] = first, second
        return True
    servers[m] = come_from
    if other >= 0:
        servers[other] = to
    return False


@compiled
def climb(problem, servers, costs, weight, work):
    """Move single tasks and swap pairs of tasks until nothing is better; return the cost.

    Args:
        problem: (order, start, bits, joules, speed, fifo) with the server first.
        servers: int64 (n,), where to begin; changed.
        costs: float64 (S,), work space.
        weight: float64 (2,), of a second and of a joule.
        work: float64 (NUM_WORK_ROWS, n + 1), work space.
    """
    tasks = servers.size
    total = 0.0
    for e in range(costs.size):
        costs[e] = server_cost(problem, servers, e, weight, work)
    better = True
    while better:
        better = False
        for m in range(tasks):
            for e in range(costs.size):
                if e != servers[m]:
                    better |= improve(problem, servers, costs, m, e, -1, weight, work)
            for other in range(m):
                if servers[other] != servers[m]:
                    e = servers[other]
                    better |= improve(problem, servers, costs, m, e, other, weight, work)
    for e in range(costs.size):
        total += costs[e]
    return total


def local_search(
    problem: Placement,
    weight: FloatArray,
    begin: IntArray,
    kicks: int = KICKS,
    seed: int = 0,
    until: float = math.inf,
) -> IntArray:
    """Return a placement that no move of a task and no swap of two improves.

    It is the best of an iterated local search (Lourenco, Martin and Stuetzle, 2003): some tasks of
    the best placement so far go to random servers, and the climb begins again.

    Args:
        problem: the tasks.
        weight: float64 (2,), of a second and of a joule.
        begin: int64 (n,), a placement to begin with.
        kicks: how often to begin again, at most.
        seed: of the random servers.
        until: time of `time.perf_counter` behind which no further climb begins.
    """
    servers, tasks = len(problem.speed), len(problem.bits)
    arrays = (
        server_order(problem),
        np.ascontiguousarray(problem.start.T),
        problem.bits,
        np.ascontiguousarray(problem.joules.T),
        problem.speed,
        problem.fifo,
    )
    work, costs = np.zeros((NUM_WORK_ROWS, tasks + 1)), np.zeros(servers)
    best = begin.copy()
    least = climb(arrays, best, costs, weight, work)
    rng = np.random.default_rng(seed)
    for _ in range(kicks):
        if time.perf_counter() > until:
            break
        found = best.copy()
        moved = rng.random(tasks) < KICKED
        found[moved] = rng.integers(servers, size=moved.sum())
        cost = climb(arrays, found, costs, weight, work)
        if cost < least:
            best, least = found, cost
    return best


# --- All subsets -----------------------------------------------------------------------------


def best_subsets(problem: Placement, weight: FloatArray) -> IntArray:
    """Return the placement (n,) of the least cost, by dynamic programming over sets of tasks.

    The cost of a server depends on its tasks only: that of servers 0 to e for a set is the least,
    over what e takes of it, of its cost and that of the others for the rest. This takes
    S 3^n steps.
    """
    tasks, count = len(problem.bits), len(problem.speed)
    costs = server_costs(problem, weight)
    taken = np.zeros(costs.shape, np.int32)
    best = costs[0].copy()
    for e in range(1, count):
        best = add_server(best, costs[e], np.empty_like(best), taken[e])
    placed = np.zeros(tasks, np.int64)
    left = (1 << tasks) - 1
    for e in range(count - 1, 0, -1):
        placed[[m for m in range(tasks) if taken[e, left] >> m & 1]] = e
        left &= ~int(taken[e, left])
    return placed


def server_costs(problem: Placement, weight: FloatArray) -> FloatArray:
    """Return (S, 2^n) the weighted cost of each server for each set of tasks."""
    tasks = len(problem.bits)
    order, work = server_order(problem), np.zeros((NUM_WORK_ROWS, tasks + 1))
    costs, chosen = np.zeros((len(problem.speed), 1 << tasks)), np.zeros(tasks, np.int64)
    for e, speed in enumerate(problem.speed):
        start, joules = problem.start[:, e].copy(), problem.joules[:, e].copy()
        fifo = problem.fifo[e]
        fill_costs(
            order[e], start, problem.bits, joules, speed, fifo, weight, chosen, work, costs[e]
        )
    return costs


@compiled
def fill_costs(order, start, bits, joules, speed, fifo, weight, chosen, work, costs):
    """Write the cost of a server for each set of tasks; arguments as in `server_ends`."""
    for members in range(costs.size):
        energy = 0.0
        for m in range(bits.size):
            chosen[m] = (members >> m) & 1
            energy += joules[m] * chosen[m]
        ends = server_ends(order, start, bits, chosen, 1, speed, fifo, work)
        costs[members] = weight[0] * ends + weight[1] * energy


@compiled
def add_server(best, costs, joined, taken):
    """Write the least cost of each set with one more server, and what that takes of it."""
    for members in range(best.size):
        joined[members], taken[members] = best[members], 0
        part = members
        while part > 0:
            cost = best[members ^ part] + costs[part]
            if cost < joined[members]:
                joined[members], taken[members] = cost, part
            part = (part - 1) & members
    return joined
