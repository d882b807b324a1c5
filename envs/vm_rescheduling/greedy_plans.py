"""Compiled planners that make one migration after the other: HA, alpha-VBPP and tree search.

They work on the arrays of `iterated_greedy`: `Cluster` is the problem, `Scratch` the state after
the migrations of its trial. Gains are in chunks: 1 is one slot of the first fragment rate.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.vm_rescheduling.plan_space import (
    BOTH,
    TOLERANCE,
    Cluster,
    Scratch,
    allowed,
    gain_of,
    machine_worth,
    record,
    separate,
    take,
    undo,
    worth_with,
)

__all__ = ["Tree", "extend_by_ha", "extend_by_vbpp", "search_tree", "tree_of"]

Array = npt.NDArray[Any]

VMS_TRIED = 8
"""Children of a node of the tree: so many VMs ..."""
PLACES_TRIED = 4
"""... each to so many places."""
EXPLORATION = 1.0
"""Constant of the upper confidence bound."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


class Tree(NamedTuple):
    """A search tree of at most N nodes; node 0 is the root.

    Attributes:
        action: int64 (N, 3) VM, machine and node of the migration that leads to a node.
        children: int64 (N, 2) first child and number of children; -1 before they are made.
        visits: int64 (N,).
        value: float64 (N,) most that a simulation through the node won.
        path: int64 (L + 1,) nodes of the simulation under way.
        plan: int64 (L, 3) best plan found.
        best: float64 (3,) number of migrations in it, what they win, and the least that a
            simulation won.
    """

    action: Array
    children: Array
    visits: Array
    value: Array
    path: Array
    plan: Array
    best: Array


def tree_of(limit: int, simulations: int) -> Tree:
    """Return an empty tree for plans of at most `limit` migrations."""
    nodes = 1 + simulations * VMS_TRIED * PLACES_TRIED
    return Tree(
        np.empty((nodes, 3), np.int64),
        np.empty((nodes, 2), np.int64),
        np.empty(nodes, np.int64),
        np.empty(nodes),
        np.empty(limit + 1, np.int64),
        np.empty((limit, 3), np.int64),
        np.array([0.0, 0.0, np.inf]),
    )


@compiled
def _leaving(cluster: Cluster, scratch: Scratch, v: int) -> float:
    """Return by how much the fragments of its nodes shrink when VM v leaves."""
    p, k = scratch.machine[v], scratch.node[v]
    gain = worth_with(cluster, scratch, v, p, k, -1, 0.0)
    gain -= machine_worth(cluster, scratch, p, 0.0)
    nodes = 2.0 if cluster.double[v] else 1.0
    for t in range(len(cluster.worth)):
        share = cluster.share[v, cluster.resource[t]]
        gain -= cluster.worth[t] * nodes * share / cluster.chunk[t]
    return gain


@compiled
def _best_place(cluster: Cluster, scratch: Scratch, v: int) -> tuple[int, int, float]:
    """Return the place that wins most (ties: the first), machine -1 if there is none, the gain."""
    place, node, best = -1, -1, -np.inf
    for p in range(len(cluster.free)):
        for k in range(BOTH, BOTH + 1) if cluster.double[v] else range(2):
            if allowed(cluster, scratch, v, p, k):
                gain = gain_of(cluster, scratch, v, p, k)
                if gain > best:
                    place, node, best = p, k, gain
    return place, node, best


@compiled
def extend_by_ha(
    cluster: Cluster, scratch: Scratch, count: int, limit: int, largest: int
) -> tuple[int, float]:
    """Add migrations of the filter-and-score heuristic to the trial.

    Of the VMs of at most `largest` cores the one that gains most by leaving goes where it gains
    most; it ends when that is nothing.

    Args:
        cluster: The problem.
        scratch: The state; its trial has `count` migrations.
        count: Migrations so far.
        limit: Most migrations in all.
        largest: Cores of the largest VM considered.

    Returns:
        The new count and what the new migrations win.
    """
    won = 0.0
    while count < limit:
        vm, best = -1, -np.inf
        for v in range(len(cluster.share)):
            cores = cluster.share[v, 0] * (2 if cluster.double[v] else 1)
            if cluster.movable[v] and cores <= largest:
                gain = _leaving(cluster, scratch, v)
                if gain > best:
                    vm, best = v, gain
        if vm < 0:
            break
        p, k, gain = _best_place(cluster, scratch, vm)
        if p < 0 or gain <= TOLERANCE:
            break
        won += record(cluster, scratch, count, vm, p, k)
        count += 1
    return count, won


@compiled
def _best_leaving(cluster: Cluster, scratch: Scratch, vms: Array) -> int:
    """Write the movable VMs that gain most by leaving into vms, best first; return how many."""
    found = 0
    gains = np.empty(len(vms))
    for v in range(len(cluster.share)):
        if not cluster.movable[v]:
            continue
        gain = _leaving(cluster, scratch, v)
        if found == len(vms) and gain <= gains[found - 1]:
            continue
        found = min(found + 1, len(vms))
        i = found - 1
        while i > 0 and gains[i - 1] < gain:
            vms[i], gains[i] = vms[i - 1], gains[i - 1]
            i -= 1
        vms[i], gains[i] = v, gain
    return found


@compiled
def _reinsert(cluster: Cluster, scratch: Scratch, vms: Array, targets: Array) -> None:
    """Release the VMs, then find a place for each where it wins most, the largest first.

    The places are written into targets (n, 2); the state is as before in the end.
    """
    homes = np.empty((len(vms), 2), np.int64)
    for i in range(len(vms)):
        homes[i, 0], homes[i, 1] = scratch.machine[vms[i]], scratch.node[vms[i]]
        take(cluster, scratch, vms[i], 1)
    sizes = np.empty(len(vms))
    for i in range(len(vms)):
        sizes[i] = -cluster.share[vms[i], 0] * (2 if cluster.double[vms[i]] else 1)
    for i in np.argsort(sizes, kind="mergesort"):
        v = vms[i]
        cores, memory = cluster.share[v]
        best, place, node = -np.inf, homes[i, 0], homes[i, 1]
        for p in range(len(cluster.free)):
            if cluster.region[p] != cluster.region[homes[i, 0]]:
                continue
            if p != homes[i, 0] and not separate(cluster, scratch, v, p):
                continue
            free = scratch.free[p]
            for k in range(BOTH, BOTH + 1) if cluster.double[v] else range(2):
                first, last = (0, 1) if k == BOTH else (k, k)
                if min(free[first, 0], free[last, 0]) < cores:
                    continue
                if min(free[first, 1], free[last, 1]) < memory:
                    continue
                gain = worth_with(cluster, scratch, v, p, k, 1, 0.0)
                gain -= machine_worth(cluster, scratch, p, 0.0)
                if gain > best:
                    best, place, node = gain, p, k
        scratch.machine[v], scratch.node[v] = place, node
        take(cluster, scratch, v, -1)
    for i in range(len(vms)):
        targets[i, 0], targets[i, 1] = scratch.machine[vms[i]], scratch.node[vms[i]]
        take(cluster, scratch, vms[i], 1)
        scratch.machine[vms[i]], scratch.node[vms[i]] = homes[i, 0], homes[i, 1]
    for i in range(len(vms)):
        take(cluster, scratch, vms[i], -1)


@compiled
def _carry_out(
    cluster: Cluster, scratch: Scratch, count: int, limit: int, vms: Array, targets: Array
) -> tuple[int, float]:
    """Migrate the VMs to their targets in any order that works; those that cannot stay."""
    won, waiting = 0.0, True
    done = np.zeros(len(vms), np.bool_)
    while waiting:
        waiting = False
        for i in range(len(vms)):
            v, p, k = vms[i], targets[i, 0], targets[i, 1]
            if not done[i] and count < limit and allowed(cluster, scratch, v, p, k):
                won += record(cluster, scratch, count, v, p, k)
                count += 1
                done[i] = waiting = True
    return count, won


@compiled
def extend_by_vbpp(
    cluster: Cluster, scratch: Scratch, count: int, limit: int, alpha: int
) -> tuple[int, float]:
    """Add migrations by vector bin packing: repack `alpha` VMs at a time while that wins.

    The VMs that gain most by leaving are released together and put back where they win most,
    the largest first. Arguments and result are those of `extend_by_ha`.
    """
    won = 0.0
    vms, targets = np.empty(alpha, np.int64), np.empty((alpha, 2), np.int64)
    while count < limit:
        chosen = vms[: _best_leaving(cluster, scratch, vms)]
        _reinsert(cluster, scratch, chosen, targets)
        reached, gain = _carry_out(cluster, scratch, count, limit, chosen, targets)
        if gain <= TOLERANCE:
            _undo_to(cluster, scratch, reached, count)
            break
        count, won = reached, won + gain
    return count, won


@compiled
def _undo_to(cluster: Cluster, scratch: Scratch, count: int, kept: int) -> None:
    """Take the last migrations of the trial back, until `kept` of `count` are left."""
    part = Scratch(
        scratch.free, scratch.machine, scratch.node, scratch.out, scratch.head, scratch.after,
        scratch.before, scratch.hosted, scratch.stuck, scratch.plan, scratch.trial[kept:],
        scratch.origin[kept:], scratch.keep,
    )  # fmt: skip
    undo(cluster, part, count - kept)


@compiled
def _expand(cluster: Cluster, scratch: Scratch, tree: Tree, node: int, size: int) -> int:
    """Make the children of a node of the tree, whose state the scratch has; return its size."""
    vms, gains = np.empty(VMS_TRIED, np.int64), np.empty(PLACES_TRIED)
    tree.children[node, 0] = size
    for i in range(_best_leaving(cluster, scratch, vms)):
        v, begin, found = vms[i], size, 0
        for p in range(len(cluster.free)):
            for k in range(BOTH, BOTH + 1) if cluster.double[v] else range(2):
                if not allowed(cluster, scratch, v, p, k):
                    continue
                gain = gain_of(cluster, scratch, v, p, k)
                if found == PLACES_TRIED and gain <= gains[found - 1]:
                    continue
                found = min(found + 1, PLACES_TRIED)
                j = found - 1
                while j > 0 and gains[j - 1] < gain:
                    gains[j] = gains[j - 1]
                    tree.action[begin + j] = tree.action[begin + j - 1]
                    j -= 1
                gains[j] = gain
                tree.action[begin + j, 0], tree.action[begin + j, 1] = v, p
                tree.action[begin + j, 2] = k
        size = begin + found
    for child in range(tree.children[node, 0], size):
        tree.children[child] = -1
        tree.visits[child], tree.value[child] = 0, -np.inf
    tree.children[node, 1] = size - tree.children[node, 0]
    return size


@compiled
def _select(tree: Tree, node: int) -> int:
    """Return the child with the largest upper confidence bound, one not yet visited first."""
    best, chosen = -np.inf, -1
    first = tree.children[node, 0]
    span = max(tree.best[1] - tree.best[2], 1.0)
    for child in range(first, first + tree.children[node, 1]):
        if tree.visits[child] == 0:
            return child
        bonus = EXPLORATION * math.sqrt(math.log(tree.visits[node]) / tree.visits[child])
        value = tree.value[child] / span + bonus
        if value > best:
            best, chosen = value, child
    return chosen


@compiled
def search_tree(
    cluster: Cluster, scratch: Scratch, tree: Tree, count: int, limit: int, largest: int,
    before: float, simulations: int, size: int,
) -> tuple[int, int]:  # fmt: skip
    """Simulate from the state of the scratch, each time to the end with HA.

    Args:
        cluster: The problem.
        scratch: The state; its trial has `count` migrations.
        tree: The tree; its best plan is kept up to date.
        count: Migrations so far.
        limit: Most migrations in all.
        largest: Cores of the largest VM that HA considers.
        before: What the migrations so far win.
        simulations: Number of simulations.
        size: Nodes of the tree; 0: a new tree.

    Returns:
        The root's child of the best simulation, -1 if it has none, and the number of nodes.
    """
    if size == 0:
        tree.children[0], tree.visits[0], tree.value[0] = -1, 0, -np.inf
        size = 1
    for _ in range(simulations):
        node, depth, made, won = 0, 0, count, before
        tree.path[0] = 0
        while made < limit and tree.visits[node] > 0:
            if tree.children[node, 0] < 0:
                size = _expand(cluster, scratch, tree, node, size)
            if tree.children[node, 1] == 0:
                break
            node = _select(tree, node)
            v, p, k = tree.action[node]
            won += record(cluster, scratch, made, v, p, k)
            made, depth = made + 1, depth + 1
            tree.path[depth] = node
        made, gain = extend_by_ha(cluster, scratch, made, limit, largest)
        won += gain
        tree.best[2] = min(tree.best[2], won)
        if won > tree.best[1] + TOLERANCE:
            tree.plan[:made] = scratch.trial[:made]
            tree.best[0], tree.best[1] = made, won
        for i in range(depth + 1):
            tree.visits[tree.path[i]] += 1
            tree.value[tree.path[i]] = max(tree.value[tree.path[i]], won)
        _undo_to(cluster, scratch, made, count)
    best, chosen = -np.inf, -1
    for child in range(tree.children[0, 0], tree.children[0, 0] + tree.children[0, 1]):
        if tree.value[child] > best:
            best, chosen = tree.value[child], child
    return chosen, size


@compiled
def commit(cluster: Cluster, scratch: Scratch, tree: Tree, node: int, count: int) -> float:
    """Carry out the migration that leads to a child of the root; return what it wins."""
    v, p, k = tree.action[node]
    return record(cluster, scratch, count, v, p, k)
