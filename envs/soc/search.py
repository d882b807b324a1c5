"""Search for plans: where every task of the jobs in the system runs, and in which order.

A plan is an order of all tasks that have not started, and a processing element (PE) for each. It
is judged by what the jobs in the system are expected to need, no arrivals to come known and every
duration as expected, in one of two ways:

* ordered: each PE runs its tasks in the plan's order, and stays idle for one that has to come;
* committed: ready tasks are given their PEs at once, those of one moment in the plan's order, and
  a PE never waits while a task could start on it; this is what the actions of mode
  ``commit_ready`` can do.

Plans are improved by simulated annealing (Kirkpatrick, Gelatt, Vecchi: "Optimization by simulated
annealing", Science 220, 1983): a random task changes its PE, its place in the order, or both.
Nothing is allocated here; the arrays belong to the caller.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.soc.instance import Limits
from dispatchgym.envs.soc.kernel import (
    ASSIGNED,
    BEGUN,
    BY_JOB,
    DATA_AT,
    DECISIONS,
    DONE,
    EXECUTABLE,
    EXPECTED,
    FINISH_AT,
    JOB,
    NEVER,
    NOW,
    NUMBER,
    PE,
    PROFILE,
    READY,
    ROW,
    SHARED_MEMORY,
    STAGE,
    TASK,
    TIME_SCALE,
    State,
    Tables,
    compiled,
    inlined,
    set_plan,
)

__all__ = [
    "Problem",
    "empty_problem",
    "first_ready",
    "improve",
    "judge",
    "label",
    "label_batch",
    "lay_down",
    "plan",
    "plan_greedily",
    "read",
    "remember",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

PRESSURE = 0.3
"""What a microsecond that all PEs are busy longer is worth, in microseconds of a job's latency:
jobs to come need the PEs too. Measured on the synthetic jobs with random arrivals."""
HOT, COLD = 0.5, 0.05
"""First and last temperature, in mean least durations of a task."""
CHANGE_PE, KEEP_PLACE = 0.6, 0.3
"""Probabilities that a move changes the PE, and that it leaves the task's place."""

# Columns of Problem.size.
OPEN, PINNED = range(2)
NUM_SIZES = 2


class Problem(NamedTuple):
    """What is left to plan in each of L lanes, and a plan for it; S places for tasks, P PEs.

    Open tasks, those that have not started, are numbered from 0; behind these numbers follow
    those of the P running tasks. The edges are those between such tasks.

    Attributes:
        size: int64 (L, NUM_SIZES), number of open tasks, and of tasks at the beginning of the
            order that must stay there.
        rate: float64 (L, P, P), volume a microsecond from one PE to another, or to the memory.
        free: int64 (L, P), when each PE should be free. runs: int64 (L, P), whether it is busy.
        place: int64 (L, S), place of each open task. number: int64 (L, S), its number, by place.
        owner: int64 (L, S + P), place of the job of each open or running task.
        group: int64 (L, S), executable tasks of a lower group start first.
        fixed: int64 (L, S), PE of a task that has been assigned, -1 for others.
        duration: int64 (L, S, P), nominal, -1 where a task cannot run.
        reach: int64 (L, S, P), when the data of finished predecessors are there.
        haul: int64 (L, S, P), how long the way from the shared memory takes after that.
        first_source: int64 (L, S + 1), source: int64 (L, E), amount: float64 (L, E), unfinished
            predecessors of each open task and their volumes.
        first_target: int64 (L, S + P + 1), target: int64 (L, E), target_amount: float64 (L, E),
            successors of each open or running task.
        assigned: int64 (L, S), open tasks with a PE, in the order of the executable list.
        pressure: float64 (L, 1), what a microsecond that all PEs are busy longer is worth, in
            microseconds of a job's latency.
        order: int64 (L, S), pe: int64 (L, S + P), the plan. best_order, best_pe: the best met.
        position: int64 (L, S), where each task is in the order.
        end, data, left: int64 (L, S + P), queue: int64 (L, P, S), queued, active, until:
            int64 (L, P), fresh: int64 (L, S), completion: int64 (L, J): where plans are tried.
        known_rank, known_pe, known_job, after: int64 (L, S), the last plan, by place: position,
            PE, number of the job, and place of the task before it on its PE.
        random: uint64 (L, 1).
    """

    size: IntArray
    rate: FloatArray
    free: IntArray
    runs: IntArray
    place: IntArray
    number: IntArray
    owner: IntArray
    group: IntArray
    fixed: IntArray
    duration: IntArray
    reach: IntArray
    haul: IntArray
    first_source: IntArray
    source: IntArray
    amount: FloatArray
    first_target: IntArray
    target: IntArray
    target_amount: FloatArray
    assigned: IntArray
    pressure: FloatArray
    order: IntArray
    pe: IntArray
    best_order: IntArray
    best_pe: IntArray
    position: IntArray
    end: IntArray
    data: IntArray
    left: IntArray
    queue: IntArray
    queued: IntArray
    active: IntArray
    until: IntArray
    fresh: IntArray
    completion: IntArray
    known_rank: IntArray
    known_pe: IntArray
    known_job: IntArray
    after: IntArray
    random: npt.NDArray[np.uint64]


def empty_problem(limits: Limits, lanes: int) -> Problem:
    """Return the arrays of a problem.

    Args:
        limits: most of everything.
        lanes: number of lanes L.
    """
    jobs, pes = limits.capacity, limits.pes
    tasks, edges = jobs * limits.tasks, jobs * limits.edges
    shapes: dict[str, tuple[int, ...]] = {
        "size": (NUM_SIZES,),
        "rate": (pes, pes),
        "first_source": (tasks + 1,),
        "first_target": (tasks + pes + 1,),
        "queue": (pes, tasks),
        "completion": (jobs,),
        "random": (1,),
        "pressure": (1,),
    }
    shapes |= dict.fromkeys(("source", "amount", "target", "target_amount"), (edges,))
    shapes |= dict.fromkeys(("free", "runs", "queued", "active", "until"), (pes,))
    shapes |= dict.fromkeys(("duration", "reach", "haul"), (tasks, pes))
    shapes |= dict.fromkeys(("owner", "pe", "best_pe", "end", "data", "left"), (tasks + pes,))
    kinds: dict[str, type] = {"random": np.uint64}
    kinds |= dict.fromkeys(("rate", "amount", "target_amount", "pressure"), np.float64)
    problem = Problem(
        **{
            name: np.zeros((lanes, *shapes.get(name, (tasks,))), kinds.get(name, np.int64))
            for name in Problem._fields
        }
    )
    problem.known_job[:] = -1
    return problem


# --- Reading the state -----------------------------------------------------------------------


@compiled
def read(state: State, tables: Tables, lane: int, problem: Problem, own: int) -> None:
    """Write what is left to plan in a lane of the state into a lane of the problem."""
    _read_pes(state, tables, lane, problem, own)
    _read_tasks(state, tables, lane, problem, own)
    _read_running(state, lane, problem, own)
    _read_sources(state, tables, lane, problem, own)
    _turn_edges(problem, own)
    problem.pressure[own, 0] = PRESSURE


@compiled
def _read_pes(state: State, tables: Tables, lane: int, problem: Problem, own: int) -> None:
    row, now = state.scalar[lane, ROW], state.scalar[lane, NOW]
    shared = tables.number[row, SHARED_MEMORY] == 1
    for p in range(problem.free.shape[1]):
        busy = state.pe[lane, TASK, p] >= 0
        problem.runs[own, p] = busy
        problem.free[own, p] = max(now, state.pe[lane, EXPECTED, p]) if busy else now
        for q in range(problem.free.shape[1]):
            rate = tables.memory_bandwidth[row, p] if shared else tables.bandwidth[row, p, q]
            problem.rate[own, p, q] = rate


@compiled
def _read_tasks(state: State, tables: Tables, lane: int, problem: Problem, own: int) -> None:
    """Number the open tasks."""
    row, now, tasks = state.scalar[lane, ROW], state.scalar[lane, NOW], tables.duration.shape[2]
    count = 0
    for j in range(state.job.shape[1]):
        k = state.job[lane, j, PROFILE]
        if k < 0:
            continue
        for t in range(tables.size[row, k]):
            place = j * tasks + t
            task = state.task[lane, place]
            problem.number[own, place] = -1
            if task[STAGE] >= BEGUN:
                continue
            problem.number[own, place], problem.place[own, count] = count, place
            problem.owner[own, count] = j
            problem.group[own, count] = 0
            if tables.number[row, BY_JOB]:
                problem.group[own, count] = state.job[lane, j, NUMBER]
            is_assigned = task[STAGE] == ASSIGNED
            problem.fixed[own, count] = task[PE] if is_assigned else -1
            for p in range(problem.free.shape[1]):
                problem.duration[own, count, p] = tables.duration[row, k, t, p]
                problem.reach[own, count, p] = task[DATA_AT] if is_assigned else now
                problem.haul[own, count, p] = 0
            count += 1
    problem.size[own, OPEN], problem.size[own, PINNED] = count, 0


@compiled
def _read_running(state: State, lane: int, problem: Problem, own: int) -> None:
    """Number the running tasks, and list the assigned ones."""
    count = problem.size[own, OPEN]
    for p in range(problem.free.shape[1]):
        problem.pe[own, count + p] = p
        problem.end[own, count + p] = problem.free[own, p]
        place = state.pe[lane, TASK, p]
        if problem.runs[own, p]:
            problem.owner[own, count + p] = state.task[lane, place, JOB]
    for i in range(state.scalar[lane, EXECUTABLE]):
        problem.assigned[own, i] = problem.number[own, state.executable[lane, i]]


@compiled
def _read_sources(state: State, tables: Tables, lane: int, problem: Problem, own: int) -> None:
    """Read the predecessors of the open tasks; of finished ones, when their data arrive."""
    row, tasks = state.scalar[lane, ROW], tables.duration.shape[2]
    pes, shared = problem.free.shape[1], tables.number[row, SHARED_MEMORY] == 1
    count, edges = problem.size[own, OPEN], 0
    for i in range(count):
        problem.first_source[own, i] = edges
        if problem.fixed[own, i] >= 0:
            continue
        j = problem.owner[own, i]
        k, t = state.job[lane, j, PROFILE], problem.place[own, i] - j * tasks
        begin, stop = tables.predecessor_start[row, k, t], tables.predecessor_start[row, k, t + 1]
        for e in range(begin, stop):
            place, volume = j * tasks + tables.predecessor[row, k, e], tables.volume[row, k, e]
            other = state.task[lane, place]
            for p in range(pes):
                if other[STAGE] == DONE:
                    took = np.int64(volume / problem.rate[own, other[PE], p])
                    reached = max(problem.reach[own, i, p], other[FINISH_AT] + took)
                    problem.reach[own, i, p] = reached
                if shared:
                    took = np.int64(volume / tables.memory_bandwidth[row, p])
                    problem.haul[own, i, p] = max(problem.haul[own, i, p], took)
            if other[STAGE] != DONE:
                runs = other[STAGE] == BEGUN
                number = count + other[PE] if runs else problem.number[own, place]
                problem.source[own, edges], problem.amount[own, edges] = number, volume
                edges += 1
    problem.first_source[own, count] = edges


@compiled
def _turn_edges(problem: Problem, own: int) -> None:
    """List the successors of open and running tasks."""
    count = problem.size[own, OPEN]
    first, nodes = problem.first_target[own], count + problem.free.shape[1]
    edges = problem.first_source[own, count]
    for node in range(nodes + 1):
        first[node] = 0
    for e in range(edges):
        first[problem.source[own, e] + 1] += 1
    for node in range(nodes):
        first[node + 1] += first[node]
    for i in range(count):
        for e in range(problem.first_source[own, i], problem.first_source[own, i + 1]):
            node = problem.source[own, e]
            problem.target[own, first[node]] = i
            problem.target_amount[own, first[node]] = problem.amount[own, e]
            first[node] += 1
    for node in range(nodes, 0, -1):
        first[node] = first[node - 1]
    first[0] = 0


# --- Judging plans ---------------------------------------------------------------------------


@inlined
def _begin(problem: Problem, own: int) -> None:
    """Set PEs and jobs to what is running."""
    count = problem.size[own, OPEN]
    completion = problem.completion[own]
    for j in range(completion.size):
        completion[j] = 0
    for p in range(problem.free.shape[1]):
        problem.until[own, p] = problem.free[own, p]
        if problem.runs[own, p]:
            j = problem.owner[own, count + p]
            completion[j] = max(completion[j], problem.free[own, p])


@inlined
def _cost(problem: Problem, own: int) -> float:
    """Sum up when the jobs are completed, and how long the PEs are busy."""
    total, busy = 0.0, 0.0
    for j in range(problem.completion.shape[1]):
        total += problem.completion[own, j]
    for p in range(problem.until.shape[1]):
        busy += problem.until[own, p]
    return total + problem.pressure[own, 0] * busy / problem.until.shape[1]


@inlined
def _judge_ordered(problem: Problem, own: int) -> float:
    """Return the cost of the plan if each PE keeps to the order."""
    order, pe, end, until = (
        problem.order[own],
        problem.pe[own],
        problem.end[own],
        problem.until[own],
    )
    first, source, amount = problem.first_source[own], problem.source[own], problem.amount[own]
    rate, completion = problem.rate[own], problem.completion[own]
    _begin(problem, own)
    for a in range(problem.size[own, OPEN]):
        i = order[a]
        p = pe[i]
        ready = problem.reach[own, i, p]
        for e in range(first[i], first[i + 1]):
            node = source[e]
            ready = max(ready, end[node] + np.int64(amount[e] / rate[pe[node], p]))
        start = max(until[p], ready + problem.haul[own, i, p])
        end[i] = until[p] = start + problem.duration[own, i, p]
        j = problem.owner[own, i]
        completion[j] = max(completion[j], end[i])
    return _cost(problem, own)


@inlined
def _enqueue(problem: Problem, own: int, i: int) -> None:
    """Put a task into the queue of its PE."""
    p = problem.pe[own, i]
    queue, k = problem.queue[own, p], problem.queued[own, p]
    while k > 0 and problem.group[own, queue[k - 1]] > problem.group[own, i]:
        queue[k] = queue[k - 1]
        k -= 1
    queue[k] = i
    problem.queued[own, p] += 1


@inlined
def _enqueue_ready(problem: Problem, own: int, ready: int) -> None:
    """Give tasks that have become ready to their PEs, in the order of the plan."""
    fresh, position = problem.fresh[own], problem.position[own]
    for a in range(1, ready):
        i, b = fresh[a], a
        while b > 0 and position[fresh[b - 1]] > position[i]:
            fresh[b] = fresh[b - 1]
            b -= 1
        fresh[b] = i
    for a in range(ready):
        _enqueue(problem, own, fresh[a])


@inlined
def _start_first(problem: Problem, own: int, p: int, now: int) -> np.int64:
    """Start the first task of a queue whose data are there; return when there may be more."""
    queue, soonest = problem.queue[own, p], NEVER
    for k in range(problem.queued[own, p]):
        i = queue[k]
        if problem.data[own, i] > now:
            soonest = min(soonest, problem.data[own, i])
            continue
        problem.queued[own, p] -= 1
        for x in range(k, problem.queued[own, p]):
            queue[x] = queue[x + 1]
        end = now + problem.duration[own, i, p]
        problem.end[own, i] = problem.until[own, p] = end
        problem.active[own, p] = i
        j = problem.owner[own, i]
        problem.completion[own, j] = max(problem.completion[own, j], end)
        return end
    return soonest


@inlined
def _release(problem: Problem, own: int, node: int, ready: int) -> int:
    """Tell the successors of a task that it has finished; return how many are ready by now."""
    first, pe = problem.first_target[own], problem.pe[own]
    for e in range(first[node], first[node + 1]):
        i = problem.target[own, e]
        took = np.int64(problem.target_amount[own, e] / problem.rate[own, pe[node], pe[i]])
        arrival = problem.end[own, node] + took + problem.haul[own, i, pe[i]]
        problem.data[own, i] = max(problem.data[own, i], arrival)
        problem.left[own, i] -= 1
        if problem.left[own, i] == 0:
            problem.fresh[own, ready] = i
            ready += 1
    return ready


@inlined
def _judge_committed(problem: Problem, own: int, now: np.int64) -> float:
    """Return the cost of the plan if ready tasks are given to their PEs at once."""
    count, pes = problem.size[own, OPEN], problem.free.shape[1]
    active, until = problem.active[own], problem.until[own]
    _begin(problem, own)
    ready, assigned = 0, 0
    for p in range(pes):
        problem.queued[own, p] = 0
        active[p] = count + p if problem.runs[own, p] else -1
    for i in range(count):
        p = problem.pe[own, i]
        problem.data[own, i] = problem.reach[own, i, p] + problem.haul[own, i, p]
        problem.left[own, i] = problem.first_source[own, i + 1] - problem.first_source[own, i]
        if problem.fixed[own, i] >= 0:
            assigned += 1
        elif problem.left[own, i] == 0:
            problem.fresh[own, ready] = i
            ready += 1
    for a in range(assigned):
        _enqueue(problem, own, problem.assigned[own, a])
    while now < NEVER:
        _enqueue_ready(problem, own, ready)
        following = NEVER
        for p in range(pes):
            happens = until[p] if active[p] >= 0 else _start_first(problem, own, p, now)
            following = min(following, happens)
        now, ready = following, 0
        for p in range(pes):
            if active[p] >= 0 and until[p] <= now:
                ready = _release(problem, own, active[p], ready)
                active[p] = -1
    return _cost(problem, own)


@compiled
def judge(problem: Problem, own: int, committed: bool, now: int) -> float:
    """Return the cost of the plan: the sum of completion times, and what the PEs' time is worth."""
    if committed:
        return _judge_committed(problem, own, now)
    return _judge_ordered(problem, own)


# --- Making plans ----------------------------------------------------------------------------


@inlined
def _draw(problem: Problem, own: int) -> float:
    """Return the next number in [0, 1) of a xorshift generator (Marsaglia 2003)."""
    x = problem.random[own, 0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    problem.random[own, 0] = x
    return np.float64(x >> np.uint64(11)) * 2.0**-53


@compiled
def plan_greedily(problem: Problem, own: int) -> None:
    """Plan the task next that can finish first, of those whose predecessors are planned (ETF)."""
    count, pes = problem.size[own, OPEN], problem.free.shape[1]
    fresh, left, end, until = (
        problem.fresh[own],
        problem.left[own],
        problem.end[own],
        problem.until[own],
    )
    first, source, pe = problem.first_source[own], problem.source[own], problem.pe[own]
    _begin(problem, own)
    ready = 0
    for i in range(count):
        left[i] = 0
        for e in range(first[i], first[i + 1]):
            left[i] += source[e] < count
        if left[i] == 0:
            fresh[ready] = i
            ready += 1
    for a in range(count):
        best, best_pe, best_end = -1, -1, NEVER
        for x in range(ready):
            i = fresh[x]
            for p in range(pes):
                allowed = problem.fixed[own, i] < 0 or problem.fixed[own, i] == p
                if problem.duration[own, i, p] < 0 or not allowed:
                    continue
                begin = problem.reach[own, i, p]
                for e in range(first[i], first[i + 1]):
                    q, amount = pe[source[e]], problem.amount[own, e]
                    begin = max(begin, end[source[e]] + np.int64(amount / problem.rate[own, q, p]))
                begin = max(until[p], begin + problem.haul[own, i, p])
                if begin + problem.duration[own, i, p] < best_end:
                    best, best_pe, best_end = x, p, begin + problem.duration[own, i, p]
        i = fresh[best]
        problem.order[own, a], pe[i] = i, best_pe
        end[i] = until[best_pe] = best_end
        ready -= 1
        fresh[best] = fresh[ready]
        for e in range(problem.first_target[own, i], problem.first_target[own, i + 1]):
            j = problem.target[own, e]
            left[j] -= 1
            if left[j] == 0:
                fresh[ready] = j
                ready += 1


@inlined
def _is_known(problem: Problem, own: int, state: State, lane: int) -> bool:
    """Tell whether the last plan says something of every open task."""
    for i in range(problem.size[own, OPEN]):
        number = state.job[lane, problem.owner[own, i], NUMBER]
        if problem.known_job[own, problem.place[own, i]] != number:
            return False
    return True


@inlined
def _recall(problem: Problem, own: int) -> None:
    """Take up the last plan."""
    order, place, rank = problem.order[own], problem.place[own], problem.known_rank[own]
    for i in range(problem.size[own, OPEN]):
        fixed, b = problem.fixed[own, i], i
        problem.pe[own, i] = problem.known_pe[own, place[i]] if fixed < 0 else fixed
        while b > 0 and rank[place[order[b - 1]]] > rank[place[i]]:
            order[b] = order[b - 1]
            b -= 1
        order[b] = i


@compiled
def remember(problem: Problem, own: int, state: State, lane: int) -> None:
    """Keep the plan for the next time."""
    for a in range(problem.size[own, OPEN]):
        i = problem.order[own, a]
        place = problem.place[own, i]
        problem.known_rank[own, place], problem.known_pe[own, place] = a, problem.pe[own, i]
        problem.known_job[own, place] = state.job[lane, problem.owner[own, i], NUMBER]


@inlined
def _save(problem: Problem, own: int) -> None:
    for a in range(problem.size[own, OPEN]):
        problem.best_order[own, a], problem.best_pe[own, a] = (
            problem.order[own, a],
            problem.pe[own, a],
        )


@inlined
def _restore(problem: Problem, own: int) -> None:
    for a in range(problem.size[own, OPEN]):
        problem.order[own, a], problem.pe[own, a] = (
            problem.best_order[own, a],
            problem.best_pe[own, a],
        )


@inlined
def _find_positions(problem: Problem, own: int) -> None:
    for a in range(problem.size[own, OPEN]):
        problem.position[own, problem.order[own, a]] = a


@inlined
def _shift(problem: Problem, own: int, a: int, b: int) -> None:
    """Move a task from position a to position b."""
    order, position = problem.order[own], problem.position[own]
    i, step = order[a], 1 if b > a else -1
    while a != b:
        order[a] = order[a + step]
        position[order[a]] = a
        a += step
    order[b] = i
    position[i] = b


@inlined
def _other_pe(problem: Problem, own: int, i: int) -> np.int64:
    """Return another PE that can run a task, the same one if the first guesses cannot."""
    old, pes = problem.pe[own, i], problem.free.shape[1]
    if problem.fixed[own, i] >= 0:
        return old
    for _ in range(8):
        p = np.int64(_draw(problem, own) * pes)
        if p != old and problem.duration[own, i, p] >= 0:
            return p
    return old


@inlined
def _other_position(problem: Problem, own: int, a: int) -> np.int64:
    """Return a position between the predecessors and the successors of the task at position a."""
    count, i = problem.size[own, OPEN], problem.order[own, a]
    low, high = problem.size[own, PINNED], count - 1
    for e in range(problem.first_source[own, i], problem.first_source[own, i + 1]):
        node = problem.source[own, e]
        if node < count:
            low = max(low, problem.position[own, node] + 1)
    for e in range(problem.first_target[own, i], problem.first_target[own, i + 1]):
        high = min(high, problem.position[own, problem.target[own, e]] - 1)
    return low + np.int64(_draw(problem, own) * (high - low + 1))


@compiled
def improve(
    problem: Problem, own: int, committed: bool, now: int, iterations: int, hot: float, cold: float
) -> float:
    """Improve the plan by simulated annealing and return the cost of the best one met.

    Args:
        problem: with a plan.
        own: lane of the problem.
        committed: how plans are judged.
        now: microsecond.
        iterations: number of moves, >= 0.
        hot: first temperature in microseconds, > 0.
        cold: last one, > 0.
    """
    count, pinned = problem.size[own, OPEN], problem.size[own, PINNED]
    order, pe = problem.order[own], problem.pe[own]
    _find_positions(problem, own)
    cost = judge(problem, own, committed, now)
    best = cost
    _save(problem, own)
    temperature, cooling = hot, (cold / hot) ** (1.0 / max(iterations, 1))
    for _ in range(iterations if count > pinned else 0):
        temperature *= cooling
        a = pinned + np.int64(_draw(problem, own) * (count - pinned))
        i, kind = order[a], _draw(problem, own)
        old, b = pe[i], a
        if kind < CHANGE_PE:
            pe[i] = _other_pe(problem, own, i)
        if kind > KEEP_PLACE:
            b = _other_position(problem, own, a)
        if pe[i] == old and a == b:
            continue
        _shift(problem, own, a, b)
        tried = judge(problem, own, committed, now)
        if tried <= cost or _draw(problem, own) < math.exp((cost - tried) / temperature):
            cost = tried
            if cost < best:
                best = cost
                _save(problem, own)
        else:
            _shift(problem, own, b, a)
            pe[i] = old
    _restore(problem, own)
    _find_positions(problem, own)
    return best


@compiled
def plan(
    state: State,
    tables: Tables,
    lane: int,
    problem: Problem,
    own: int,
    committed: bool,
    iterations: int,
    seed: int,
) -> float:
    """Plan anew and return the cost; the search begins with the last plan if it still holds."""
    scalar = state.scalar[lane]
    read(state, tables, lane, problem, own)
    if _is_known(problem, own, state, lane):
        _recall(problem, own)
    else:
        plan_greedily(problem, own)
    problem.random[own, 0] = derive(np.uint64(seed), scalar[DECISIONS]) | np.uint64(1)
    unit = tables.real[scalar[ROW], TIME_SCALE]
    now, hot, cold = scalar[NOW], HOT * unit, COLD * unit
    cost = improve(problem, own, committed, now, iterations, hot, cold)
    remember(problem, own, state, lane)
    return cost


@compiled
def first_ready(state: State, lane: int, problem: Problem, own: int) -> int:
    """Return the place of the ready task that comes first in the plan."""
    best = state.ready[lane, 0]
    for k in range(1, state.scalar[lane, READY]):
        place = state.ready[lane, k]
        if problem.known_rank[own, place] < problem.known_rank[own, best]:
            best = place
    return best


@compiled
def lay_down(state: State, lane: int, problem: Problem, own: int) -> None:
    """Hand the plan to the kernel: the rule that follows plans then keeps to its order."""
    latest, after = problem.queued[own], problem.after[own]
    for p in range(latest.size):
        latest[p] = -1
    for a in range(problem.size[own, OPEN]):
        i = problem.order[own, a]
        p, place = problem.pe[own, i], problem.place[own, i]
        after[place] = latest[p]
        latest[p] = place
    set_plan(state, lane, problem.known_pe[own], after)


# --- Judging actions -------------------------------------------------------------------------


@inlined
def _leads(state: State, lane: int, problem: Problem, own: int, place: int) -> bool:
    """Tell whether the last plan puts no other ready task before this one on its PE."""
    rank, pe = problem.known_rank[own], problem.known_pe[own]
    for k in range(state.scalar[lane, READY]):
        other = state.ready[lane, k]
        if pe[other] == pe[place] and rank[other] < rank[place]:
            return False
    return True


@compiled
def _cost_of_action(
    problem: Problem, own: int, i: int, p: int, now: int, moves: int, hot: float, cold: float
) -> float:
    """Return the cost of the best plan met that gives task i to PE p first."""
    _recall(problem, own)
    _find_positions(problem, own)
    problem.pe[own, i] = p
    _shift(problem, own, problem.position[own, i], 0)
    problem.size[own, PINNED] = 1
    cost = improve(problem, own, True, now, moves, hot, cold)
    problem.size[own, PINNED] = 0
    return cost


@compiled
def label(
    state: State,
    tables: Tables,
    lane: int,
    problem: Problem,
    own: int,
    moves: int,
    moves_each: int,
    seed: int,
    costs: npt.NDArray[np.float32],
) -> None:
    """Judge every action of mode ``commit_ready`` by the best plan that begins with it.

    Args:
        state: of the lane.
        tables: of the instance.
        lane: lane of the state.
        problem: keeps the lane's plan from one decision to the next.
        own: lane of the problem.
        moves: number of moves to find the best plan.
        moves_each: number of moves for each action that this plan does not begin with.
        seed: of the moves.
        costs: float32 (S P,), filled with what each action costs more than the best one, in
            microseconds of latency of all jobs in the system together; infinity if not legal.
    """
    scalar, pes = state.scalar[lane], state.pe.shape[2]
    best = plan(state, tables, lane, problem, own, True, moves, seed)
    unit = tables.real[scalar[ROW], TIME_SCALE]
    now, hot, cold = scalar[NOW], 0.5 * HOT * unit, COLD * unit
    for action in range(costs.size):
        costs[action] = np.inf
    least = np.float32(0.0)
    for k in range(scalar[READY]):
        place = state.ready[lane, k]
        i = problem.number[own, place]
        for p in range(pes):
            if problem.duration[own, i, p] < 0:
                continue
            more = 0.0
            if problem.known_pe[own, place] != p or not _leads(state, lane, problem, own, place):
                cost = _cost_of_action(problem, own, i, p, now, moves_each, hot, cold)
                more = cost - best
            costs[place * pes + p] = more
            least = min(least, costs[place * pes + p])
    for action in range(costs.size):
        costs[action] -= least


@njit(cache=True, nogil=True, parallel=True)
def label_batch(
    state: State,
    tables: Tables,
    problem: Problem,
    moves: int,
    moves_each: int,
    seed: int,
    costs: npt.NDArray[np.float32],
) -> None:
    """Judge the actions of every lane, in parallel; costs: float32 (B, S P). See `label`."""
    for lane in prange(costs.shape[0]):
        label(state, tables, lane, problem, lane, moves, moves_each, seed, costs[lane])
