"""Iterated greedy search for plans: take some migrations back, plan them anew, keep what is better.

The scheme is that of Ruiz and Stuetzle, "A simple and effective iterated greedy algorithm for the
permutation flowshop scheduling problem", EJOR 177 (2007). Here a solution is a sequence of
migrations, all executable in their order. A migration is chosen by its score (see `plan_space`)
with noise, so that every construction differs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.plan_space import (
    BOTH,
    POTENTIAL,
    TOLERANCE,
    adopt,
    cluster_of,
    compiled,
    fits,
    flip_gain,
    inlined,
    machine_worth,
    prepare,
    record,
    replay,
    score_leaving,
    scratch_of,
    separate,
    undo,
    worth_with,
)

__all__ = ["best_place", "iterated_greedy", "search"]

NOISE = 1.0
"""Largest noise of a construction, in chunks."""
MOST_REMOVED = 8
"""Most migrations that are taken back at once."""
ITERATIONS_AT_ONCE = 200
"""Constructions between two looks at the clock."""


@inlined
def _random(state):
    """Next number in [0, 1) of a xorshift generator (Marsaglia 2003); state: uint64 (1,)."""
    x = state[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    state[0] = x
    return np.float64(x >> np.uint64(11)) * 2.0**-53


@compiled
def _best_leaving(scratch, noise, random):
    """Return the VM whose leaving wins most, with noise; -1 where none may move."""
    best, chosen = -np.inf, -1
    for v in range(scratch.out.size):
        score = scratch.out[v]
        if score + noise <= best:
            continue
        score += noise * _random(random)
        if score > best:
            best, chosen = score, v
    return chosen


@compiled
def best_place(cluster, scratch, v, noise, random):
    """Return machine and node where VM v costs least, with noise; (-1, -1) without room."""
    best, machine, node = -np.inf, -1, -1
    first, last = (BOTH, BOTH) if cluster.double[v] else (0, 1)
    for p in range(scratch.free.shape[0]):
        for k in range(first, last + 1):
            if not fits(cluster, scratch, v, p, k):
                continue
            if p == scratch.machine[v]:
                gain = flip_gain(cluster, scratch, v, k)
            else:
                gain = worth_with(cluster, scratch, v, p, k, 1, POTENTIAL)
                gain -= machine_worth(cluster, scratch, p, POTENTIAL)
            gain += noise * _random(random)
            if gain > best and (p == scratch.machine[v] or separate(cluster, scratch, v, p)):
                best, machine, node = gain, p, k
    return machine, node


@compiled
def _extend(cluster, scratch, count, gain, noise, random):
    """Add migrations until the limit; return how many win most and all there are."""
    best, best_count, stuck = gain, count, 0
    while count < len(scratch.plan):
        v = _best_leaving(scratch, noise, random)
        if v < 0:
            break
        p, k = best_place(cluster, scratch, v, noise, random)
        if p < 0:
            scratch.out[v] = -np.inf  # no room anywhere: not asked again in this construction
            scratch.stuck[stuck] = v
            stuck += 1
            continue
        gain += record(cluster, scratch, count, v, p, k)
        count += 1
        if gain > best + TOLERANCE:
            best, best_count = gain, count
    return best, best_count, count, stuck


@compiled
def search(cluster, scratch, state, forced, iterations, random):
    """Improve the plan in `scratch.plan`.

    Args:
        cluster: `Cluster`.
        scratch: `Scratch`, set up by `prepare`.
        state: float64 (2,), number of migrations in the plan and what they win, in chunks.
        forced: VM that the first migration moves, which must have room somewhere; -1: any.
        iterations: number of constructions.
        random: uint64 (1,), not 0.
    """
    limit = len(scratch.plan)
    for _ in range(iterations):
        held = int(state[0])
        for i in range(held):
            scratch.keep[i] = True
        if held > 0:
            together = _random(random) < 0.5
            begin = int(_random(random) * held)
            for i in range(1 + int(_random(random) * MOST_REMOVED)):
                scratch.keep[(begin + i) % held if together else int(_random(random) * held)] = (
                    False
                )
        noise = NOISE * _random(random)
        count, gain = 0, 0.0
        if forced >= 0 and limit > 0 and (held == 0 or not scratch.keep[0]):
            p, k = best_place(cluster, scratch, forced, noise, random)
            gain = record(cluster, scratch, 0, forced, p, k)
            count = 1
        count, won = replay(cluster, scratch, held, count)
        best, best_count, count, stuck = _extend(cluster, scratch, count, gain + won, noise, random)
        if best >= state[1] - TOLERANCE:
            state[0], state[1] = best_count, best
            adopt(scratch, best_count)
        undo(cluster, scratch, count)
        for i in range(stuck):
            score_leaving(cluster, scratch, scratch.stuck[i])


def iterated_greedy(
    instance: Instance,
    *,
    time_limit: float = 5.0,
    iterations: int | None = None,
    seed: int = 0,
    start: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Search for a good plan.

    Args:
        instance: what to plan for. For objective ``goal`` plans lower the fragment rate until
            the goal is reached, with fewer and fewer migrations.
        time_limit: seconds, above 0.
        iterations: number of constructions instead, for results that repeat; None: as many as
            the time allows.
        seed: of the noise.
        start: plan to begin with, (n, 3) rows [VM, machine, node]; illegal rows are dropped.

    Returns:
        Migrations in their order, int64 (n, 3) with n at most the migration limit. The best of
        all constructions, and never worse than `start`.
    """
    cluster = cluster_of(instance)
    scratch = scratch_of(cluster, instance.migration_limit)
    held = 0 if start is None else min(len(start), instance.migration_limit)
    if start is not None:
        scratch.plan[:held] = start[:held]
    state = np.zeros(2)
    prepare(cluster, scratch, state, held)
    random = np.array([2 * seed + 1], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    reached = None
    for some in _portions(time_limit, iterations):
        search(cluster, scratch, state, -1, some, random)
        if instance.objective.kind == "goal":
            short = _until_goal(instance, scratch.plan[: int(state[0])])
            if short is not None:  # next time with one migration less
                reached = short
                scratch = scratch._replace(plan=scratch.plan[: max(len(short) - 1, 0)])
                prepare(cluster, scratch, state, len(scratch.plan))
    return scratch.plan[: int(state[0])].copy() if reached is None else reached


def _portions(time_limit: float, iterations: int | None) -> Iterator[int]:
    """Yield numbers of iterations until they or the seconds are used up."""
    if iterations is not None:
        for begin in range(0, iterations, ITERATIONS_AT_ONCE):
            yield min(ITERATIONS_AT_ONCE, iterations - begin)
        return
    end = time.perf_counter() + time_limit
    while time.perf_counter() < end:
        yield ITERATIONS_AT_ONCE


def _until_goal(instance: Instance, moves: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return the beginning of a plan that reaches the instance's goal, None if it never does."""
    machine, node = instance.vm_pm.copy(), instance.vm_node.copy()
    for count in range(len(moves) + 1):
        if instance.objective.rate(*instance.free(machine, node)) <= instance.objective.goal:
            return moves[:count].copy()
        if count < len(moves):
            v, machine_after, node_after = moves[count]
            machine[v], node[v] = machine_after, node_after
    return None
