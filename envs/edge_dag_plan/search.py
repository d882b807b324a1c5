"""Branch and bound over plans, inside the kernel: optimal completions of what is decided so far.

The places of the tasks are tried in their order, depth first. A partial plan is given up when a
bound on its best completion is not below the best plan known: each task left adds either to the
load of the device or to that of the uplink, whose weighted sum is a bound on the makespan for
every weight.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.edge_dag_plan import kernel
from dispatchgym.envs.edge_dag_plan.kernel import (
    ENERGY,
    FREE_DEVICE,
    FREE_UPLINK,
    GREEDY_WEIGHTED,
    MAKESPAN,
    POSITION,
    PUBLISHED,
    cost_so_far,
    decide,
    energy_of,
    energy_weight,
    latency_weight,
    return_to,
    rule_action,
    undo,
)
from dispatchgym.envs.edge_dag_plan.plans import SERVERS, TASKS

__all__ = ["Tree", "complete_batch", "complete_lane", "empty_tree", "label_batch"]

compiled = kernel.compiled
inlined = kernel.inlined

SPLITS = 6
"""Weights of device and uplink that bounds are computed with: 0, 0.2, ..., 1."""
TOLERANCE = 1e-12
"""A plan has to be better by so much to replace another."""


class Tree(NamedTuple):
    """Memory of a search in B lanes of N tasks and S servers.

    Attributes:
        chosen: int64 (B, N + 1), next place to try at each depth.
        left: float64 (B, SPLITS + 1, N + 1), bound on what the tasks from each depth on cost; the
            last row is for energy alone.
        best: int64 (B, N), places of the tasks in the best plan.
        cost: float64 (B,), of the best plan.
        nodes: int64 (B,), partial plans looked at.
    """

    chosen: np.ndarray
    left: np.ndarray
    best: np.ndarray
    cost: np.ndarray
    nodes: np.ndarray


def empty_tree(lanes: int, tasks: int) -> Tree:
    """Return memory for searches in so many lanes."""
    return Tree(
        np.zeros((lanes, tasks + 1), np.int64),
        np.zeros((lanes, SPLITS + 1, tasks + 1)),
        np.zeros((lanes, tasks), np.int64),
        np.zeros(lanes),
        np.zeros(lanes, np.int64),
    )


@compiled
def bound_rest(state, preference, tree, lane):
    """Write what the tasks from each position on cost at least, for every split of the weight."""
    tasks, servers = state.size[lane, TASKS], state.size[lane, SERVERS]
    second = latency_weight(state, preference, lane)
    joule = energy_weight(state, preference, lane)
    for split in range(SPLITS + 1):
        tree.left[lane, split, tasks] = 0.0
    for position in range(tasks - 1, state.scalar[lane, POSITION] - 1, -1):
        i = state.order[lane, position]
        waits = state.first[lane, i] < state.first[lane, i + 1] or not state.setting[PUBLISHED]
        for split in range(SPLITS + 1):
            device = second * split / (SPLITS - 1) if split < SPLITS else 0.0
            uplink = second - device if split < SPLITS and waits else 0.0
            least = device * state.local[lane, i] + joule * energy_of(state, lane, i, 0)
            for k in range(servers):
                remote = uplink * state.up[lane, i, k] + joule * energy_of(state, lane, i, k + 1)
                least = min(least, remote)
            tree.left[lane, split, position] = tree.left[lane, split, position + 1] + least


@inlined
def bound(state, preference, tree, lane):
    """Return what any completion of the plan costs at least."""
    position, real = state.scalar[lane, POSITION], state.real[lane]
    second = latency_weight(state, preference, lane)
    spent = real[ENERGY] * energy_weight(state, preference, lane)
    least = spent + second * real[MAKESPAN] + tree.left[lane, SPLITS, position]
    for split in range(SPLITS):
        share = split / (SPLITS - 1)
        loads = second * (share * real[FREE_DEVICE] + (1.0 - share) * real[FREE_UPLINK])
        least = max(least, spent + loads + tree.left[lane, split, position])
    return least


@inlined
def note(state, preference, tree, lane):
    """Keep the complete plan of a lane if it is the best."""
    cost = cost_so_far(state, preference, lane)
    if cost < tree.cost[lane] - TOLERANCE:
        tree.cost[lane] = cost
        for i in range(state.size[lane, TASKS]):
            tree.best[lane, i] = state.place[lane, i]


@compiled
def try_rule(state, preference, tree, rule, lane):
    """Complete the plan by a rule, keep it if it is the best, and take it back."""
    position, tasks = state.scalar[lane, POSITION], state.size[lane, TASKS]
    while state.scalar[lane, POSITION] < tasks:
        decide(state, lane, rule_action(state, preference, rule, lane))
    note(state, preference, tree, lane)
    return_to(state, lane, position)


@compiled
def complete_lane(state, preference, tree, most_nodes, lane):
    """Find a completion of the plan that is better than the best one known.

    Args:
        state: as it was afterwards.
        preference: float64 (B, 2).
        tree: its cost and best plan are those known before, and replaced by better ones;
            `left` has been written by `bound_rest`.
        most_nodes: so many partial plans are looked at, at most.
        lane: the lane.

    Returns:
        Whether no better one exists.
    """
    begin, tasks = state.scalar[lane, POSITION], state.size[lane, TASKS]
    servers = state.size[lane, SERVERS]
    tree.chosen[lane, begin] = 0
    nodes = 0
    while nodes < most_nodes:
        position = state.scalar[lane, POSITION]
        ended = position == tasks
        if ended:
            note(state, preference, tree, lane)
        elif tree.chosen[lane, position] == 0:
            nodes += 1
            ended = bound(state, preference, tree, lane) >= tree.cost[lane] - TOLERANCE
        if ended or tree.chosen[lane, position] > servers:
            if position == begin:
                break
            undo(state, lane)
            continue
        place = tree.chosen[lane, position]
        tree.chosen[lane, position] += 1
        tree.chosen[lane, position + 1] = 0
        decide(state, lane, place)
    tree.nodes[lane] += nodes
    return_to(state, lane, begin)
    return nodes < most_nodes


@njit(cache=True, nogil=True, parallel=True)
def complete_batch(state, preference, tree, most_nodes, proved):
    """Search in every lane; write whether its best plan is proven optimal."""
    for lane in prange(state.scalar.shape[0]):
        bound_rest(state, preference, tree, lane)
        proved[lane] = complete_lane(state, preference, tree, most_nodes, np.int64(lane))


@compiled
def label_lane(state, preference, tree, most_nodes, costs, lane):
    """Write the cost of the best plan that begins with each action; infinity where illegal."""
    for place in range(costs.shape[1]):
        costs[lane, place] = math.inf
    if state.scalar[lane, POSITION] == state.size[lane, TASKS]:
        return
    bound_rest(state, preference, tree, lane)
    for place in range(state.size[lane, SERVERS] + 1):
        tree.cost[lane] = math.inf
        begin = state.scalar[lane, POSITION]
        decide(state, lane, place)
        try_rule(state, preference, tree, GREEDY_WEIGHTED, lane)
        complete_lane(state, preference, tree, most_nodes, lane)
        return_to(state, lane, begin)
        costs[lane, place] = tree.cost[lane]


@njit(cache=True, nogil=True, parallel=True)
def label_batch(state, preference, tree, most_nodes, costs):
    """Write the cost of the best plan that begins with each action, (B, S + 1), for every lane."""
    for lane in prange(state.scalar.shape[0]):
        label_lane(state, preference, tree, most_nodes, costs, np.int64(lane))
