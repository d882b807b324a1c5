"""The transition kernel of dependent tasks: arrays in, arrays out, compiled by Numba.

Jobs come one by one; a task can be placed when its last parent has ended, and is placed at that
moment: in the cloud, on an edge server or on the device of the job's user. What it reads is sent
to where it is placed, from the device over its one uplink, which takes one thing after the other,
between servers and to the device at once. Cores take tasks in the order of the decisions, so that
a decision settles when a task ends and nothing changes that later. The results of tasks without
children go to the device; then the job ends.

The state of a batch of episodes is a tuple of arrays whose first axis is the lane; each function
works on one lane. Nothing is allocated and no Python object is touched inside a step.
"""

from typing import NamedTuple

import numpy as np

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.edge_offloading.graph_draw import (
    ARRIVAL,
    CORES,
    CYCLES,
    DEVICE_HZ,
    DEVICE_WATT,
    END,
    END_PARENT,
    FIRST,
    FIRST_PARENT,
    FREQUENCY,
    INPUT,
    JOB,
    JOBS,
    OUTPUT,
    RECEIVE_WATT,
    SEND_WATT,
    SERVERS,
    SOURCE,
    TASKS,
    USERS,
    GraphRows,
)
from dispatchgym.envs.edge_offloading.layout import compiled, copy_row

# Columns of GraphState.setting, shared by all lanes.
SHOW_MARGINALS, STEP_LIMIT = range(2)
NUM_SETTINGS = 2

# Columns of GraphState.scalar, integers of one lane.
STATUS, TASK, READY, PLACED, ELAPSED, BASE_SEED, EPISODE, SEED = range(8)
NUM_SCALARS = 8
RUNNING, FINISHED, TRUNCATED = range(3)

# Columns of GraphState.total, floats of one lane.
NOW, LATENCY, ENERGY, DELAY_UNIT, ENERGY_UNIT = range(5)
NUM_TOTALS = 5

# Columns of GraphState.placed, one row a task.
(READY_AT, MISSING, PLACE, DECIDED, SENT, DATA, STARTED, ENDED, BACK, JOULES, DELAY_REWARD,
 LEAST, TAIL, CHILDREN) = range(14)  # fmt: skip
NUM_PLACED_COLUMNS = 14

# Columns of GraphState.progress, one row a job.
PREDICTED, OPEN = range(2)
NUM_PROGRESS_COLUMNS = 2

# Columns of GraphState.effect, what placing the task somewhere would bring.
(EFFECT_SENT, EFFECT_DATA, EFFECT_CORE, EFFECT_START, EFFECT_END, EFFECT_BACK, EFFECT_JOULES,
 EFFECT_GROWTH) = range(8)  # fmt: skip
NUM_EFFECTS = 8

# Streams of the keyed random numbers (16 and above belong to `graph_draw`).
RANDOM_RULE = 0

RANDOM, ALL_LOCAL, ALL_CLOUD, LEAST_WORK, EARLIEST_FINISH, GREEDY_OMEGA = range(6)


class GraphState(NamedTuple):
    """A batch of B episodes of at most J jobs and N tasks on S servers with C cores at most.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS). total: float64 (B, NUM_TOTALS).
        number to first: the instances, as in `GraphRows`.
        core: float64 (B, S, C), when each core of a server is free.
        device: float64 (B, U), when each device is. radio: float64 (B, U), when its uplink is.
        placed: float64 (B, N, NUM_PLACED_COLUMNS).
        progress: float64 (B, J, NUM_PROGRESS_COLUMNS).
        ready: int64 (B, N), a heap of tasks that can be placed, by time and number.
        effect: float64 (B, S + 1, NUM_EFFECTS), the device last.
    """

    setting: np.ndarray
    scalar: np.ndarray
    total: np.ndarray
    number: np.ndarray
    real: np.ndarray
    server: np.ndarray
    link: np.ndarray
    wire: np.ndarray
    job: np.ndarray
    task: np.ndarray
    parent: np.ndarray
    level: np.ndarray
    first: np.ndarray
    core: np.ndarray
    device: np.ndarray
    radio: np.ndarray
    placed: np.ndarray
    progress: np.ndarray
    ready: np.ndarray
    effect: np.ndarray


@compiled
def rows_of_lane(rows, lane):
    """Return views of one lane's instance."""
    return GraphRows(
        rows.number[lane],
        rows.real[lane],
        rows.server[lane],
        rows.link[lane],
        rows.wire[lane],
        rows.job[lane],
        rows.task[lane],
        rows.parent[lane],
        rows.level[lane],
        rows.first[lane],
    )


@compiled
def copy_instance(source, row, target, lane):
    """Copy all arrays of an instance."""
    copy_row(source.number, row, target.number, lane)
    copy_row(source.real, row, target.real, lane)
    copy_row(source.server, row, target.server, lane)
    copy_row(source.link, row, target.link, lane)
    copy_row(source.wire, row, target.wire, lane)
    copy_row(source.job, row, target.job, lane)
    copy_row(source.task, row, target.task, lane)
    copy_row(source.parent, row, target.parent, lane)


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def begin_lane(state, lane):
    """Begin the episode of a lane that has its instance, and go to the first decision.

    Rewards are measured by what the jobs take if all tasks stay on the devices.
    """
    total = state.total[lane]
    total[DELAY_UNIT] = total[ENERGY_UNIT] = 1.0
    look_ahead(state, lane)
    clear_lane(state, lane)
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, state.number[lane, SERVERS])
    jobs = state.number[lane, JOBS]
    total[DELAY_UNIT], total[ENERGY_UNIT] = total[LATENCY] / jobs, total[ENERGY] / jobs
    clear_lane(state, lane)


@compiled
def look_ahead(state, lane):
    """Work out the least time of each task, and of what has to follow it."""
    number, real = state.number[lane], state.real[lane]
    fastest = real[DEVICE_HZ]
    for e in range(number[SERVERS]):
        fastest = max(fastest, state.server[lane, e, FREQUENCY])
    for i in range(number[TASKS]):
        placed = state.placed[lane, i]
        placed[LEAST] = state.task[lane, i, CYCLES] / fastest
        placed[TAIL], placed[CHILDREN] = 0.0, 0.0
    for i in range(number[TASKS] - 1, -1, -1):
        placed, task = state.placed[lane, i], state.task[lane, i]
        for k in range(np.int64(task[FIRST_PARENT]), np.int64(task[END_PARENT])):
            above = state.placed[lane, state.parent[lane, k]]
            above[TAIL] = max(above[TAIL], placed[LEAST] + placed[TAIL])
            above[CHILDREN] += 1.0


@compiled
def clear_lane(state, lane):
    """Free all cores; tasks without parents can be placed when their jobs come."""
    scalar, total, number = state.scalar[lane], state.total[lane], state.number[lane]
    scalar[STATUS] = RUNNING
    scalar[READY] = scalar[PLACED] = scalar[ELAPSED] = 0
    total[LATENCY] = total[ENERGY] = 0.0
    for e in range(number[SERVERS]):
        for c in range(state.core.shape[2]):
            state.core[lane, e, c] = 0.0
    for user in range(number[USERS]):
        state.device[lane, user] = state.radio[lane, user] = 0.0
    for j in range(number[JOBS]):
        job, progress = state.job[lane, j], state.progress[lane, j]
        progress[PREDICTED], progress[OPEN] = 0.0, job[END] - job[FIRST]
        for i in range(np.int64(job[FIRST]), np.int64(job[END])):
            task, placed = state.task[lane, i], state.placed[lane, i]
            placed[READY_AT] = job[ARRIVAL]
            placed[MISSING] = task[END_PARENT] - task[FIRST_PARENT]
            if placed[MISSING] == 0.0:
                progress[PREDICTED] = max(
                    progress[PREDICTED], job[ARRIVAL] + placed[LEAST] + placed[TAIL]
                )
                push(state, lane, i)
    next_task(state, lane)


@compiled
def comes_before(state, lane, i, k):
    """Tell whether task i can be placed before task k."""
    first, second = state.placed[lane, i, READY_AT], state.placed[lane, k, READY_AT]
    return first < second or (first == second and i < k)


@compiled
def push(state, lane, i):
    """Put a task into the heap."""
    heap, place = state.ready[lane], state.scalar[lane, READY]
    state.scalar[lane, READY] += 1
    while place > 0 and comes_before(state, lane, i, heap[(place - 1) // 2]):
        heap[place] = heap[(place - 1) // 2]
        place = (place - 1) // 2
    heap[place] = i


@compiled
def next_task(state, lane):
    """Take the first task from the heap, and go to its time."""
    scalar, heap = state.scalar[lane], state.ready[lane]
    if scalar[READY] == 0:
        scalar[STATUS] = FINISHED
        return
    scalar[TASK] = heap[0]
    state.total[lane, NOW] = state.placed[lane, heap[0], READY_AT]
    scalar[READY] -= 1
    count, place, last = scalar[READY], 0, heap[scalar[READY]]
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and comes_before(state, lane, heap[child + 1], heap[child]):
            child += 1
        if not comes_before(state, lane, heap[child], last):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = last


# --- What a decision would bring -------------------------------------------------------------


@compiled
def user_of_task(state, lane):
    """Return whose task is to be placed."""
    task = state.task[lane, state.scalar[lane, TASK]]
    return np.int64(state.job[lane, np.int64(task[JOB]), SOURCE])


@compiled
def appraise(state, lane, s):
    """Write the effects of placing the task of the decision on server s, or on the device."""
    effect, i = state.effect[lane, s], state.scalar[lane, TASK]
    task, placed, real = state.task[lane, i], state.placed[lane, i], state.real[lane]
    device, user = state.number[lane, SERVERS], user_of_task(state, lane)
    effect[EFFECT_JOULES] = 0.0
    gather_data(state, lane, s, user)
    if s == device:
        effect[EFFECT_CORE] = 0.0
        free, speed = state.device[lane, user], real[DEVICE_HZ]
        effect[EFFECT_JOULES] += real[DEVICE_WATT] * task[CYCLES] / speed
    else:
        core, speed = first_core(state, lane, s), state.server[lane, s, FREQUENCY]
        effect[EFFECT_CORE], free = core, state.core[lane, s, core]
    effect[EFFECT_START] = max(free, effect[EFFECT_DATA])
    effect[EFFECT_END] = effect[EFFECT_START] + task[CYCLES] / speed
    effect[EFFECT_BACK] = effect[EFFECT_END]
    if placed[CHILDREN] == 0.0 and s != device:
        seconds = task[OUTPUT] / state.link[lane, user, s]
        effect[EFFECT_BACK] += seconds
        effect[EFFECT_JOULES] += real[RECEIVE_WATT] * seconds
    known = state.progress[lane, np.int64(task[JOB]), PREDICTED]
    effect[EFFECT_GROWTH] = max(effect[EFFECT_BACK] + placed[TAIL] - known, 0.0)


@compiled
def gather_data(state, lane, s, user):
    """Write when the data of the task would be at s, and when its upload would end."""
    effect, task = state.effect[lane, s], state.task[lane, state.scalar[lane, TASK]]
    device, now, real = state.number[lane, SERVERS], state.total[lane, NOW], state.real[lane]
    upload, arrives = 0.0 if s == device else task[INPUT], now
    for k in range(np.int64(task[FIRST_PARENT]), np.int64(task[END_PARENT])):
        above = state.parent[lane, k]
        bits, at = state.task[lane, above, OUTPUT], np.int64(state.placed[lane, above, PLACE])
        if at == s:
            continue
        if at == device:
            upload += bits
        elif s == device:
            seconds = bits / state.link[lane, user, at]
            effect[EFFECT_JOULES] += real[RECEIVE_WATT] * seconds
            arrives = max(arrives, now + seconds)
        else:
            arrives = max(arrives, now + bits / state.wire[lane, at, s])
    effect[EFFECT_SENT] = -1.0
    if upload > 0.0:
        seconds = upload / state.link[lane, user, s]
        effect[EFFECT_SENT] = max(now, state.radio[lane, user]) + seconds
        effect[EFFECT_JOULES] += real[SEND_WATT] * seconds
        arrives = max(arrives, effect[EFFECT_SENT])
    effect[EFFECT_DATA] = arrives


@compiled
def first_core(state, lane, s):
    """Return the core of a server that is free first (ties: the lowest)."""
    best = 0
    for c in range(1, np.int64(state.server[lane, s, CORES])):
        if state.core[lane, s, c] < state.core[lane, s, best]:
            best = c
    return best


@compiled
def backlog(state, lane, s):
    """Return the seconds that the cores of a server, or the device, are still busy on average."""
    now, cores, seconds = state.total[lane, NOW], 1, 0.0
    if s == state.number[lane, SERVERS]:
        return max(state.device[lane, user_of_task(state, lane)] - now, 0.0)
    cores = np.int64(state.server[lane, s, CORES])
    for c in range(cores):
        seconds += max(state.core[lane, s, c] - now, 0.0)
    return seconds / cores


# --- Decisions -------------------------------------------------------------------------------


@compiled
def is_legal(state, lane, action):
    """Tell whether a task can be placed there: a server, or the device behind the last."""
    return 0 <= action <= state.number[lane, SERVERS] and state.scalar[lane, STATUS] == RUNNING


@compiled
def apply_action(state, lane, s):
    """Place the task and go to the next decision."""
    scalar, total, i = state.scalar[lane], state.total[lane], state.scalar[lane, TASK]
    appraise(state, lane, s)
    effect, placed, task = state.effect[lane, s], state.placed[lane, i], state.task[lane, i]
    j, user = np.int64(task[JOB]), user_of_task(state, lane)
    job, progress = state.job[lane, j], state.progress[lane, j]
    placed[PLACE], placed[DECIDED] = s, total[NOW]
    placed[SENT], placed[DATA] = effect[EFFECT_SENT], effect[EFFECT_DATA]
    placed[STARTED], placed[ENDED] = effect[EFFECT_START], effect[EFFECT_END]
    placed[BACK], placed[JOULES] = effect[EFFECT_BACK], effect[EFFECT_JOULES]
    placed[DELAY_REWARD] = -effect[EFFECT_GROWTH]
    if progress[OPEN] == job[END] - job[FIRST]:
        placed[DELAY_REWARD] -= progress[PREDICTED] - job[ARRIVAL]
    progress[PREDICTED] = max(progress[PREDICTED], effect[EFFECT_BACK] + placed[TAIL])
    progress[OPEN] -= 1.0
    total[LATENCY] -= placed[DELAY_REWARD]
    total[ENERGY] += placed[JOULES]
    if effect[EFFECT_SENT] >= 0.0:
        state.radio[lane, user] = effect[EFFECT_SENT]
    if s == state.number[lane, SERVERS]:
        state.device[lane, user] = effect[EFFECT_END]
    else:
        state.core[lane, s, np.int64(effect[EFFECT_CORE])] = effect[EFFECT_END]
    scalar[PLACED] += 1
    release_children(state, lane, i, np.int64(job[END]))
    next_task(state, lane)


@compiled
def release_children(state, lane, i, end):
    """Let children know that a parent is placed; the last one settles when they can be."""
    if state.placed[lane, i, CHILDREN] == 0.0:
        return
    for child in range(i + 1, end):
        task, placed = state.task[lane, child], state.placed[lane, child]
        for k in range(np.int64(task[FIRST_PARENT]), np.int64(task[END_PARENT])):
            if state.parent[lane, k] == i:
                placed[READY_AT] = max(placed[READY_AT], state.placed[lane, i, ENDED])
                placed[MISSING] -= 1.0
                if placed[MISSING] == 0.0:
                    push(state, lane, child)


# --- Rules -----------------------------------------------------------------------------------


@compiled
def rule_action(state, weights, lane, rule):
    """Return where a rule places the task; -1 where the episode is over."""
    scalar, servers = state.scalar[lane], state.number[lane, SERVERS]
    if scalar[STATUS] != RUNNING:
        return -1
    if rule == RANDOM:
        u = uniform(np.uint64(scalar[SEED]), RANDOM_RULE, scalar[TASK], 0)
        return np.int64(u * (servers + 1))
    if rule == ALL_LOCAL or rule == ALL_CLOUD:
        return servers if rule == ALL_LOCAL else 0
    best, least, soonest = 0, np.inf, np.inf
    for s in range(servers + 1):
        cost, ends = judge(state, weights, lane, s, rule)
        if cost < least or (cost == least and ends < soonest):
            best, least, soonest = s, cost, ends
    return best


@compiled
def judge(state, weights, lane, s, rule):
    """Return what a rule wants to be small if the task is placed on s, and when it would end."""
    appraise(state, lane, s)
    effect, total = state.effect[lane, s], state.total[lane]
    ends = effect[EFFECT_BACK]
    if rule == LEAST_WORK:
        return backlog(state, lane, s) + effect[EFFECT_END] - effect[EFFECT_START], ends
    if rule == EARLIEST_FINISH:
        return ends, ends
    cost = weights[lane, 0] * effect[EFFECT_GROWTH] / total[DELAY_UNIT]
    return cost + weights[lane, 1] * effect[EFFECT_JOULES] / total[ENERGY_UNIT], ends


@compiled
def run_rule(state, weights, lane, rule):
    """Play a lane to its end under a rule."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, rule_action(state, weights, lane, rule))
