"""Planners: baselines of the literature and searches around the exact solver.

All of them honour every constraint, work for every objective and return the part of their plan,
from its begin, that has the best objective. Sources: Ding et al., "Towards VM rescheduling
optimization through deep reinforcement learning", EuroSys 2025, with HA and POP as in the
repository bytedance/DRL-based-VM-Rescheduling (Apache-2.0). What they say of the other baselines
is short; the definitions of these are ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.vm_rescheduling.exact import objectives_along, solve
from dispatchgym.envs.vm_rescheduling.greedy_plans import (
    commit,
    extend_by_ha,
    extend_by_vbpp,
    search_tree,
    tree_of,
)
from dispatchgym.envs.vm_rescheduling.instance import Instance, Objective, Term
from dispatchgym.envs.vm_rescheduling.iterated_greedy import iterated_greedy
from dispatchgym.envs.vm_rescheduling.placement import Placement
from dispatchgym.envs.vm_rescheduling.plan_space import cluster_of, prepare, scratch_of, start

__all__ = ["PLANNERS", "plan"]

IntArray = npt.NDArray[np.int64]

PLANNERS = {
    "alpha_vbpp": "release the 10 VMs that gain most by leaving, repack them, repeat",
    "pop16": "16 blocks of machines (fewer on small clusters), each solved exactly with its share "
    "of the migration limit",
    "mcts": "tree search over good migrations with HA to the end, migration by migration",
    "lns": "take back migrations around some machines, solve these exactly, keep what is better",
    "neuplan": "HA up to the last 20 migrations, the exact solver for these",
    "iterated_greedy": "take some migrations back, plan them anew with noise, keep what is better",
}
"""Planner name -> what it is."""

_ALPHA = 10
_BLOCKS = 16
_LEAST_BLOCK = 4
_EXACT_MOVES = 20
_SIMULATIONS = 400
_SIMULATIONS_AT_ONCE = 2
_NEIGHBOURHOOD = (10, 20)
_LEAST_SECONDS = 0.001


def plan(
    name: str, instance: Instance, *, time_limit: float = 5.0, seed: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """Plan migrations.

    Args:
        name: One of `PLANNERS`.
        instance: The problem.
        time_limit: Seconds that the planner may take, > 0.
        seed: Of the planners that draw at random; the others ignore it. The same seed gives the
            same plan, unless time runs out at another moment.

    Returns:
        An executable schedule, ``{"moves": (n, 3)}``.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: The planner solves parts exactly and HiGHS is not installed.
    """
    if name not in _PLANNERS:
        raise ParameterError(unknown_name("planner", str(name)[:60], list(PLANNERS)))
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(time_limit, int | float) or not 0 < time_limit < math.inf:
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ParameterError(f"seed: found {seed!r}, expected an integer >= 0")
    deadline = time.perf_counter() + time_limit
    moves = _PLANNERS[name](instance, deadline, int(seed))
    return {"moves": _best_part(instance, moves)}


def _best_part(instance: Instance, moves: IntArray) -> IntArray:
    """Return the first moves, as many as give the best objective."""
    best, kept = instance.initial_objective, 0
    for count, objective in objectives_along(instance, moves):
        if objective < best:
            best, kept = objective, count
    return moves[:kept]


def _vbpp(instance: Instance, deadline: float, seed: int) -> IntArray:
    cluster, limit = cluster_of(instance), instance.migration_limit
    scratch = scratch_of(cluster, limit)
    start(cluster, scratch)
    count, _ = extend_by_vbpp(cluster, scratch, 0, limit, _ALPHA)
    return scratch.trial[:count]


def _ha(instance: Instance, limit: int) -> IntArray:
    """Return the plan of the heuristic HA."""
    cluster = cluster_of(instance)
    scratch = scratch_of(cluster, limit)
    start(cluster, scratch)
    count, _ = extend_by_ha(cluster, scratch, 0, limit, _largest(instance))
    return scratch.trial[:count]


def _largest(instance: Instance) -> int:
    """Return the cores of the largest VM that HA moves: one chunk."""
    chunks = [term.chunk for term in instance.objective.terms if term.resource == "cpu"]
    return chunks[0] if chunks else Term().chunk


def _mcts(instance: Instance, deadline: float, seed: int) -> IntArray:
    cluster, limit = cluster_of(instance), instance.migration_limit
    scratch, tree = scratch_of(cluster, limit), tree_of(limit, _SIMULATIONS)
    largest = _largest(instance)
    start(cluster, scratch)
    won = 0.0
    for count in range(limit):
        now = time.perf_counter()
        until = now + (deadline - now) / (limit - count)
        chosen, size, simulations = -1, 0, 0
        while simulations < _SIMULATIONS and (simulations == 0 or time.perf_counter() < until):
            chosen, size = search_tree(
                cluster, scratch, tree, count, limit, largest, won, _SIMULATIONS_AT_ONCE, size
            )
            simulations += _SIMULATIONS_AT_ONCE
        if chosen < 0 or time.perf_counter() > deadline:
            break
        won += commit(cluster, scratch, tree, chosen, count)
    return tree.plan[: int(tree.best[0])]


def _pop(instance: Instance, deadline: float, seed: int) -> IntArray:
    blocks = max(1, min(_BLOCKS, instance.num_pms // _LEAST_BLOCK))
    size, limit = instance.num_pms // blocks, instance.migration_limit // blocks
    placement = Placement(instance)
    moves = [np.zeros((0, 3), np.int64)]
    for block in range(blocks):
        left = max((deadline - time.perf_counter()) / (blocks - block), _LEAST_SECONDS)
        pms = np.arange(block * size, (block + 1) * size)
        moves.append(_solve_part(instance, placement, pms, limit, left))
    return _executable(instance, np.concatenate(moves))


def _neuplan(instance: Instance, deadline: float, seed: int) -> IntArray:
    first = _ha(instance, max(0, instance.migration_limit - _EXACT_MOVES))
    limit = min(_EXACT_MOVES, instance.migration_limit)
    placement = Placement(instance, {"moves": first})
    left = max(deadline - time.perf_counter(), _LEAST_SECONDS)
    last = _solve_part(instance, placement, np.arange(instance.num_pms), limit, left)
    return np.concatenate([first, last])


def _lns(instance: Instance, deadline: float, seed: int) -> IntArray:
    rng = np.random.default_rng(seed)
    best = _best_part(instance, _ha(instance, instance.migration_limit))
    value = _rate(instance, best)
    while time.perf_counter() < deadline:
        pms = _neighbourhood(instance, best, rng)
        ends = np.column_stack([_sources(instance, best), best[:, 1]])
        kept = _executable(instance, best[~np.isin(ends, pms).all(axis=1)])
        left = max(deadline - time.perf_counter(), _LEAST_SECONDS)
        placement = Placement(instance, {"moves": kept})
        limit = instance.migration_limit - len(kept)
        trial = np.concatenate([kept, _solve_part(instance, placement, pms, limit, left)])
        trial = _executable(instance, trial)
        rate = _rate(instance, trial)
        if rate <= value:
            best, value = trial, rate
    return best


def _neighbourhood(instance: Instance, moves: IntArray, rng: np.random.Generator) -> IntArray:
    """Return PMs of some migrations and others with fragments."""
    size = min(int(rng.integers(_NEIGHBOURHOOD[0], _NEIGHBOURHOOD[1] + 1)), instance.num_pms)
    chosen = np.zeros(0, np.int64)
    if len(moves):
        some = rng.integers(len(moves), size=size // 4)
        chosen = np.unique(np.concatenate([_sources(instance, moves)[some], moves[some, 1]]))
    weight = (instance.free_cpu % _largest(instance)).sum(axis=1) + 0.5
    weight[chosen] = 0
    more = min(size - len(chosen), int((weight > 0).sum()))
    others = rng.choice(instance.num_pms, more, replace=False, p=weight / weight.sum())
    return np.sort(np.concatenate([chosen, others]))


def _sources(instance: Instance, moves: IntArray) -> IntArray:
    """Return the PM that each migration leaves."""
    pm = instance.vm_pm.copy()
    left = np.empty(len(moves), np.int64)
    for i, (vm, destination) in enumerate(moves[:, :2].tolist()):
        left[i], pm[vm] = pm[vm], destination
    return left


def _rate(instance: Instance, moves: IntArray) -> float:
    """Return the objective after the moves; the fragment rate where a goal is to be reached."""
    placement = Placement(instance, {"moves": moves})
    if instance.objective.kind == "goal":
        return placement.rate()
    return instance.evaluate(placement.pm, placement.node, len(moves))


def _executable(instance: Instance, moves: IntArray) -> IntArray:
    """Return the moves without those that are not legal in their turn."""
    cluster = cluster_of(instance)
    scratch = scratch_of(cluster, len(moves))
    scratch.plan[:] = moves
    state = np.zeros(2)
    prepare(cluster, scratch, state, len(moves))
    return scratch.plan[: int(state[0])].copy()


def _solve_part(
    instance: Instance, placement: Placement, pms: IntArray, limit: int, time_limit: float
) -> IntArray:
    """Return the best migrations among some PMs only, from a placement on."""
    number = np.full(instance.num_pms, -1)
    number[pms] = np.arange(len(pms))
    vms = np.flatnonzero(number[placement.pm] >= 0)
    if limit == 0 or len(vms) == 0:
        return np.zeros((0, 3), np.int64)
    part = Instance(
        instance.name,
        instance.pm_cpu[pms],
        instance.pm_memory[pms],
        instance.vm_cpu[vms],
        instance.vm_memory[vms],
        instance.vm_numa[vms],
        number[placement.pm[vms]],
        placement.node[vms],
        movable=instance.movable[vms],
        affinity=instance.affinity[vms],
        affinity_rack=instance.affinity_rack,
        rack=instance.rack[pms],
        cluster=instance.cluster[pms],
        migration_limit=limit,
        objective=_part_objective(instance, placement, pms),
        within_cluster=instance.within_cluster,
    )
    moves = solve(part, time_limit=time_limit).schedule["moves"]
    return np.column_stack([vms[moves[:, 0]], pms[moves[:, 1]], moves[:, 2]])


def _part_objective(instance: Instance, placement: Placement, pms: IntArray) -> Objective:
    """Return the objective of some PMs in which a slot is worth as much as in all of them.

    A goal is for all of them; until then fewer fragments are better.
    """
    free = {"cpu": placement.free_cpu, "memory": placement.free_memory}
    terms = instance.objective.terms
    shares = [free[t.resource][pms].sum() / max(free[t.resource].sum(), 1) for t in terms]
    weights = np.array([max(t.weight * s, 1e-9) for t, s in zip(terms, shares, strict=True)])
    weights /= weights.sum()
    kind = instance.objective.kind if instance.objective.kind == "empty_pms" else "mixed"
    scaled = (Term(float(w), *t[1:]) for w, t in zip(weights, terms, strict=True))
    return Objective(kind, tuple(scaled))


def _iterated_greedy(instance: Instance, deadline: float, seed: int) -> IntArray:
    left = max(deadline - time.perf_counter(), _LEAST_SECONDS)
    return iterated_greedy(instance, time_limit=left, seed=seed)


_PLANNERS: dict[str, Callable[[Instance, float, int], IntArray]] = {
    "alpha_vbpp": _vbpp,
    "pop16": _pop,
    "mcts": _mcts,
    "lns": _lns,
    "neuplan": _neuplan,
    "iterated_greedy": _iterated_greedy,
}
