"""The transition kernel of the system on chip: arrays in, arrays out, compiled by Numba.

The state of a batch of episodes is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the loops over lanes are in `lanes`. Times are whole microseconds. Nothing is
allocated and no Python object is touched inside a step.

A task waits for its predecessors, is ready when the last of them finishes, and is then given a
processing element (PE). There it starts, in the order of the list of executable tasks, as soon
as its data have come and the PE is idle. The scheduler is called when tasks have become ready;
time passes when all of them have a PE. What happens at one time, in this order:

1. Tasks finish, by time of finish, then of start. Successors without open predecessors get
   ready. A job that ends frees its place.
2. Jobs arrive; their first tasks go before those that finishes of this very moment made ready.
3. The scheduler gives the ready tasks PEs.
4. One pass over the executable tasks starts those that can start.

Source: DS3 (Arda et al., IEEE TC 2020, arXiv 2003.09016) and its gym version (Sung and Ryu,
arXiv 2104.13187), whose public simulators this kernel repeats task by task.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.soc import meter

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""
merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""The same for longer functions: they are put in place by LLVM, which compiles faster."""

# Columns of State.setting, shared by all lanes.
MODE, REWARD, LOGGING, STEP_LIMIT, METERED = range(5)
NUM_SETTINGS = 5
COMMIT_READY, ORDER_ONLY, MAP_ONLY, LATE_BINDING = range(4)
LATENCY_REWARD, COMPBONUS_REWARD, ENERGY_REWARD, EDP_REWARD = range(4)

# Columns of Tables.number, integers of an instance.
PES, PROFILES, CAPACITY, PROTOCOL, HORIZON, WARM_UP, WARM_UP_JOBS, TOTAL_JOBS = range(8)
GYM_ARRIVALS, PSEUDO_STEADY, SHARED_MEMORY, BY_JOB, STRICT, SAMPLING_PERIOD = range(8, 14)
GIVEN_JOBS, GIVEN_DURATIONS, CLUSTERS, CONTROL_PERIOD = range(14, 18)
NUM_NUMBERS = 18
LEGACY, STEADY, BATCH = range(3)

# Columns of Tables.real, floats of an instance.
SCALE, NOISE, TIME_SCALE = range(3)
NUM_REALS = 3

# Columns of Tables.fact, what is known of each task of a profile; times in microseconds.
LEAST, MEAN, MOST, SPREAD, UPWARD, DOWNWARD, PATH, OPTIMISTIC, DESCENDANTS = range(9)
SHARE, PREDECESSORS, SUCCESSORS, DEPTH = range(9, 13)
NUM_FACTS = 13
NUM_TIME_FACTS = SHARE
"""So many columns from the first on are times."""

# Columns of Tables.pe_fact, what is known of each PE.
SLOWNESS, SUPPORT, FASTEST, CLUSTER = range(4)
NUM_PE_FACTS = 4

# Columns of Tables.frequency, for each cluster: operating point at the beginning, then MHz of each.
FIRST_LEVEL, FIRST_MHZ = range(2)

# Columns of State.scalar, integers of one lane.
NOW, STATUS, READY, EXECUTABLE, PENDING, JOBS, INJECTED, STARTED = range(8)
COMPLETED, LATENCY_SUM, HEADS, FINISHED_JOBS, JOB_TIME, NEXT_DATA = range(8, 14)
NEXT_STAMP, NEXT_SEEN, BLOCKED, LOOKS, CALL, DECISIONS = range(14, 20)
LAST_GAP, LAST_STAMP, CHANGED, LAST_PE, SHOWN_CALL = range(20, 25)
ELAPSED, FIRST_FREE_ID, PLANNED, RELATIVE = range(25, 29)
NEXT_LOOK, CHANGES = range(29, 31)
BASE_SEED, EPISODE, SEED, ROW = range(31, 35)
NUM_SCALARS = 35
RUNNING, FINISHED, TRUNCATED, STUCK = range(4)

# Columns of State.pe.
TASK, NOTICE, FINISH, ORDER, AVAILABLE, GIVEN, BUSY, EXPECTED, QUEUED = range(9)
WORK, WORK_AT, SURPLUS = range(9, 12)
"""Under a governor: megacycles left at a time, and how many of them nobody expects."""
NUM_PE_COLUMNS = 12

# Columns of State.job.
PROFILE, NUMBER, ARRIVED, OPEN, FIRST_ID, HEAD_START, SHOWN = range(7)
NUM_JOB_COLUMNS = 7

# Columns of State.task.
STAGE, JOB, MISSING, PE, READY_AT, ASSIGNED_AT, DATA_AT = range(7)
STARTED_AT, FINISH_AT, ROW_OF_LOG, MARKED = range(7, 11)
AFTER, AFTER_JOB, PLAN_CALL, PLAN_PE, PLAN_AFTER, PLAN_AFTER_JOB = range(11, 17)
NUM_TASK_COLUMNS = 17
ABSENT, OUTSTANDING, WAITING, READIED, ASSIGNED, BEGUN, DONE = range(7)
"""Stages of a task. `WAITING`: its data are on the way to the shared memory."""
STANDING = -2
"""PLAN_CALL of a plan that holds in every call of the scheduler."""

# Columns of State.event, a plan in the making.
EVENT_TASK, EVENT_PE, EVENT_START, EVENT_END = range(4)
NUM_EVENT_COLUMNS = 4

# Columns of State.task_log and State.job_log.
(LOG_JOB, LOG_TASK, LOG_PE, LOG_READY, LOG_ASSIGNED, LOG_DATA, LOG_START, LOG_FINISH) = range(8)
NUM_TASK_LOG_COLUMNS = 8
JOB_LOG_NUMBER, JOB_LOG_PROFILE, JOB_LOG_ARRIVED, JOB_LOG_HEAD, JOB_LOG_FINISH = range(5)
NUM_JOB_LOG_COLUMNS = 5
CHANGE_TIME, CHANGE_CLUSTER, CHANGE_MHZ = range(3)
NUM_FREQUENCY_LOG_COLUMNS = 3

# Streams of the keyed random numbers (16 and above belong to the generators).
ARRIVAL, JOB_TYPE, NOISE_1, NOISE_2, RANDOM_RULE = range(5)

RANDOM, MET, EFT, ETF, STF, HEFT_RT, RANKU, PEFT_RT, CPATH, FOLLOW = range(10)
"""Rules; `FOLLOW` does what the plan in the state says."""

NEVER = np.int64(2**60)

HIGH_LOAD, LOW_LOAD = 8, 3
"""Tenths of a core: above the first the governor goes to the highest frequency, below the second
one operating point down."""
MILLIJOULES, MICROSECONDS_IN_MS = 1e3, 1e3


class Tables(NamedTuple):
    """R instances of at most K profiles with T tasks and E edges on P processing elements.

    Attributes:
        number: int64 (R, NUM_NUMBERS).
        real: float64 (R, NUM_REALS).
        chance: float64 (R, K), cumulated probabilities of the profiles.
        size: int64 (R, K), tasks of each profile.
        duration: int64 (R, K, T, P), -1 where a task cannot run.
        predecessor_start: int64 (R, K, T + 1). predecessor: int64 (R, K, E).
        volume: float64 (R, K, E), in the order of `predecessor`.
        successor_start: int64 (R, K, T + 1). successor: int64 (R, K, E).
        bandwidth: float64 (R, P, P). memory_bandwidth: float64 (R, P).
        fact: float64 (R, K, T, NUM_FACTS). pe_fact: float64 (R, P, NUM_PE_FACTS).
        transfer: float64 (R, P, P), mean time of a transfer between two PEs.
        delay: float64 (R, K, E), mean time of each transfer over the pairs of PEs.
        optimistic: float64 (R, K, T, P), PEFT's table of optimistic costs.
        arrival: int64 (R, M, 2), profile and time of given jobs.
        realised: int64 (R, M', T), durations of given jobs; -1 where the nominal one holds.
        frequency: int64 (R, C, FIRST_MHZ + L), frequencies of C clusters at L operating points.
        power: float64 (R, C, L, columns), what they draw; see `meter`. Zeros if not metered.
    """

    number: np.ndarray
    real: np.ndarray
    chance: np.ndarray
    size: np.ndarray
    duration: np.ndarray
    predecessor_start: np.ndarray
    predecessor: np.ndarray
    volume: np.ndarray
    successor_start: np.ndarray
    successor: np.ndarray
    bandwidth: np.ndarray
    memory_bandwidth: np.ndarray
    fact: np.ndarray
    pe_fact: np.ndarray
    transfer: np.ndarray
    delay: np.ndarray
    optimistic: np.ndarray
    arrival: np.ndarray
    realised: np.ndarray
    frequency: np.ndarray
    power: np.ndarray


class State(NamedTuple):
    """A batch of B episodes with at most J jobs in the system, S = J T places for tasks.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS).
        pe: int64 (B, NUM_PE_COLUMNS, P).
        job: int64 (B, J, NUM_JOB_COLUMNS).
        task: int64 (B, S, NUM_TASK_COLUMNS); the tasks of job place j begin at j T.
        reach: int64 (B, S, P), when the data of a ready task are on each PE; with shared memory
            or late binding: how long they take from now.
        ready, executable, pending: int64 (B, S), lists of places, in order.
        changed: int64 (B, S), tasks that the observation shows otherwise than they are.
        event: int64 (B, S, NUM_EVENT_COLUMNS), scratch of HEFT_RT.
        task_forecast: float64 (B, S, NUM_TASK_FORECASTS), pe_forecast: float64
            (B, NUM_PE_FORECASTS, P), job_forecast: float64 (B, J), scratch of the outlook.
        cluster: int64 (B, C, columns), and meter: float64 (B, columns), see `meter`.
        task_log: int64 (B, N, NUM_TASK_LOG_COLUMNS), started tasks. job_log: int64
            (B, N', NUM_JOB_LOG_COLUMNS), arrived jobs. frequency_log: int64
            (B, N'', NUM_FREQUENCY_LOG_COLUMNS), changes of frequencies.
    """

    setting: np.ndarray
    scalar: np.ndarray
    pe: np.ndarray
    job: np.ndarray
    task: np.ndarray
    reach: np.ndarray
    ready: np.ndarray
    executable: np.ndarray
    pending: np.ndarray
    changed: np.ndarray
    event: np.ndarray
    task_forecast: np.ndarray
    pe_forecast: np.ndarray
    job_forecast: np.ndarray
    cluster: np.ndarray
    meter: np.ndarray
    task_log: np.ndarray
    job_log: np.ndarray
    frequency_log: np.ndarray


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def copy_row(source, source_lane, target, target_lane):
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_lane(source, source_lane, target, target_lane):
    """Copy an episode, logs left out, into a lane of the same or another state."""
    copy_row(source.scalar, source_lane, target.scalar, target_lane)
    copy_row(source.pe, source_lane, target.pe, target_lane)
    copy_row(source.job, source_lane, target.job, target_lane)
    copy_row(source.task, source_lane, target.task, target_lane)
    copy_row(source.reach, source_lane, target.reach, target_lane)
    copy_row(source.ready, source_lane, target.ready, target_lane)
    copy_row(source.executable, source_lane, target.executable, target_lane)
    copy_row(source.pending, source_lane, target.pending, target_lane)
    copy_row(source.changed, source_lane, target.changed, target_lane)
    copy_row(source.cluster, source_lane, target.cluster, target_lane)
    copy_row(source.meter, source_lane, target.meter, target_lane)


@compiled
def clear_lane(state, tables, lane):
    """Empty the system at time 0."""
    scalar, pe = state.scalar[lane], state.pe[lane]
    for column in range(BASE_SEED):
        scalar[column] = 0
    shared = tables.number[scalar[ROW], SHARED_MEMORY]
    scalar[RELATIVE] = shared == 1 or state.setting[MODE] == LATE_BINDING
    scalar[NEXT_DATA] = NEVER
    for p in range(pe.shape[1]):
        for column in range(NUM_PE_COLUMNS):
            pe[column, p] = 0
        pe[TASK, p] = -1
        pe[NOTICE, p] = NEVER
    tasks = state.task.shape[1] // state.job.shape[1]
    for j in range(state.job.shape[1]):
        state.job[lane, j, PROFILE], state.job[lane, j, SHOWN] = -1, 0
        for slot in range(j * tasks, (j + 1) * tasks):
            state.task[lane, slot, STAGE] = ABSENT
            state.task[lane, slot, JOB] = j
            state.task[lane, slot, MARKED] = 0
    scalar[NEXT_LOOK] = tables.number[scalar[ROW], CONTROL_PERIOD]
    clear_clusters(tables.frequency[scalar[ROW]], state.cluster[lane])
    meter.clear_meter(state.meter[lane])


@compiled
def clear_clusters(frequency, cluster):
    """Let the clusters begin at their frequencies."""
    for c in range(cluster.shape[0]):
        for column in range(meter.NUM_CLUSTER_COLUMNS):
            cluster[c, column] = 0
        cluster[c, meter.LEVEL] = frequency[c, FIRST_LEVEL]


@compiled
def reset_lane(state, tables, lane):
    """Begin the episode whose seed and row stand in the lane and go to its first decision."""
    clear_lane(state, tables, lane)
    row = state.scalar[lane, ROW]
    if tables.number[row, GIVEN_JOBS] > 0:
        state.scalar[lane, NEXT_STAMP] = state.scalar[lane, NEXT_SEEN] = tables.arrival[row, 0, 1]
    pass_time(state, tables, lane)


# --- Jobs ------------------------------------------------------------------------------------


@inlined
def draw_gap(state, tables, lane):
    """Return the time to the next look for an arrival: exponential, truncated."""
    scalar = state.scalar[lane]
    u = uniform(np.uint64(scalar[SEED]), ARRIVAL, scalar[LOOKS], 0)
    scalar[LOOKS] += 1
    return np.int64(-math.log(1.0 - u) * tables.real[scalar[ROW], SCALE])


@inlined
def draw_profile(state, tables, lane, number):
    """Return the profile of a job."""
    row = state.scalar[lane, ROW]
    if tables.number[row, GIVEN_JOBS] > 0:
        return tables.arrival[row, number, 0]
    u = uniform(np.uint64(state.scalar[lane, SEED]), JOB_TYPE, number, 0)
    k = 0
    while k < tables.number[row, PROFILES] - 1 and u >= tables.chance[row, k]:
        k += 1
    return k


@inlined
def plan_arrival(state, tables, lane, stamp):
    """Find the time of the next job after one that arrived at `stamp`."""
    scalar = state.scalar[lane]
    number, injected = tables.number[scalar[ROW]], scalar[INJECTED]
    filling = number[PSEUDO_STEADY] == 1 and injected < number[CAPACITY] and stamp == 0
    if injected >= number[TOTAL_JOBS]:
        following = NEVER
    elif number[GIVEN_JOBS] > 0:
        following = max(stamp, tables.arrival[scalar[ROW], injected, 1])
    elif filling:
        following = stamp
    else:
        following = stamp + draw_gap(state, tables, lane)
    scalar[NEXT_STAMP] = scalar[NEXT_SEEN] = following
    if number[STRICT] and following == stamp and not filling:
        scalar[NEXT_SEEN] += 1


@inlined
def free_place(state, lane):
    """Return the first job place that is free."""
    j = 0
    while state.job[lane, j, PROFILE] >= 0:
        j += 1
    return j


@inlined
def insert_ready(state, lane, slot, position):
    """Put a task into the ready list before the given position."""
    scalar, ready = state.scalar[lane], state.ready[lane]
    for i in range(scalar[READY], position, -1):
        ready[i] = ready[i - 1]
    ready[position] = slot
    scalar[READY] += 1
    state.task[lane, slot, STAGE] = READIED
    mark(state, lane, slot)


@compiled
def gather_data(state, tables, lane, slot):
    """Work out when the data of a ready task are on each PE, or how long they take from now."""
    row = state.scalar[lane, ROW]
    task, reach = state.task[lane], state.reach[lane, slot]
    tasks = tables.duration.shape[2]
    j = task[slot, JOB]
    k, t = state.job[lane, j, PROFILE], slot - j * tasks
    pes, shared = tables.number[row, PES], tables.number[row, SHARED_MEMORY] == 1
    absolute = state.scalar[lane, RELATIVE] == 0
    for p in range(pes):
        reach[p] = 0
    for e in range(tables.predecessor_start[row, k, t], tables.predecessor_start[row, k, t + 1]):
        other = j * tasks + tables.predecessor[row, k, e]
        volume, q = tables.volume[row, k, e], task[other, PE]
        begin = task[other, FINISH_AT] if absolute else 0
        for p in range(pes):
            rate = tables.memory_bandwidth[row, p] if shared else tables.bandwidth[row, q, p]
            reach[p] = max(reach[p], begin + np.int64(volume / rate))


@compiled
def enter_job(state, tables, lane, stamp, front):
    """Put the next job into a free place; return where later ready tasks go in the list."""
    scalar = state.scalar[lane]
    number = scalar[INJECTED]
    row, j, k = scalar[ROW], free_place(state, lane), draw_profile(state, tables, lane, number)
    tasks, size = tables.duration.shape[2], tables.size[row, k]
    job = state.job[lane, j]
    job[PROFILE], job[NUMBER], job[ARRIVED], job[OPEN] = k, number, stamp, size
    job[FIRST_ID], job[HEAD_START] = scalar[FIRST_FREE_ID], -1
    scalar[FIRST_FREE_ID] += size
    scalar[INJECTED] += 1
    scalar[JOBS] += 1
    scalar[JOB_TIME] += scalar[NOW] - stamp
    scalar[LAST_GAP] = stamp - scalar[LAST_STAMP]
    scalar[LAST_STAMP] = stamp
    if state.setting[LOGGING]:
        line = state.job_log[lane, number]
        line[JOB_LOG_NUMBER], line[JOB_LOG_PROFILE], line[JOB_LOG_ARRIVED] = number, k, stamp
        line[JOB_LOG_HEAD], line[JOB_LOG_FINISH] = -1, -1
    for t in range(size):
        task = state.task[lane, j * tasks + t]
        missing = tables.predecessor_start[row, k, t + 1] - tables.predecessor_start[row, k, t]
        task[STAGE], task[MISSING], task[PE] = OUTSTANDING, missing, -1
        task[AFTER], task[PLAN_CALL] = -1, -1
        mark(state, lane, j * tasks + t)
        if missing == 0:
            task[READY_AT] = scalar[NOW]
            gather_data(state, tables, lane, j * tasks + t)
            insert_ready(state, lane, j * tasks + t, front)
            front += 1
    return front


@inlined
def admit_jobs(state, tables, lane, front):
    """Let jobs arrive that are due, as far as there is a place for them."""
    scalar = state.scalar[lane]
    number = tables.number[scalar[ROW]]
    if scalar[BLOCKED] and scalar[JOBS] < number[CAPACITY]:
        scalar[BLOCKED] = 0
        scalar[NEXT_STAMP] = scalar[NOW]
    while scalar[NEXT_SEEN] <= scalar[NOW] and not scalar[BLOCKED]:
        stamp = scalar[NEXT_STAMP]
        if scalar[JOBS] < number[CAPACITY]:
            front = enter_job(state, tables, lane, stamp, front)
            plan_arrival(state, tables, lane, stamp)
        elif number[GYM_ARRIVALS] and number[GIVEN_JOBS] == 0:
            scalar[NEXT_STAMP] = scalar[NOW] + 1 + draw_gap(state, tables, lane)
            scalar[NEXT_SEEN] = scalar[NEXT_STAMP]
        else:
            scalar[BLOCKED] = 1


@inlined
def leave_job(state, tables, lane, j):
    """Count a job whose last task has finished and free its place."""
    scalar, job = state.scalar[lane], state.job[lane, j]
    number, now = tables.number[scalar[ROW]], scalar[NOW]
    finish = 0
    tasks = tables.duration.shape[2]
    for slot in range(j * tasks, j * tasks + tables.size[scalar[ROW], job[PROFILE]]):
        finish = max(finish, state.task[lane, slot, FINISH_AT])
        state.task[lane, slot, STAGE] = ABSENT
    if finish >= number[WARM_UP] and job[NUMBER] >= number[WARM_UP_JOBS]:
        scalar[COMPLETED] += 1
        scalar[LATENCY_SUM] += finish - job[ARRIVED]
    if state.setting[LOGGING]:
        state.job_log[lane, job[NUMBER], JOB_LOG_FINISH] = finish
    scalar[FINISHED_JOBS] += 1
    scalar[JOB_TIME] -= now - finish
    scalar[JOBS] -= 1
    job[PROFILE] = -1


# --- Tasks -----------------------------------------------------------------------------------


@inlined
def mark(state, lane, slot):
    """Note that a task is no longer what the observation shows."""
    if state.task[lane, slot, MARKED] == 0:
        state.task[lane, slot, MARKED] = 1
        state.changed[lane, state.scalar[lane, CHANGED]] = slot
        state.scalar[lane, CHANGED] += 1


@inlined
def release_task(state, tables, lane, slot):
    """Make a task ready whose predecessors have finished."""
    scalar, task = state.scalar[lane], state.task[lane, slot]
    row, now = scalar[ROW], scalar[NOW]
    task[READY_AT] = now
    if tables.number[row, SHARED_MEMORY]:
        task[READY_AT] = memory_time(state, tables, lane, slot)
    if task[READY_AT] <= now:
        gather_data(state, tables, lane, slot)
        insert_ready(state, lane, slot, scalar[READY])
    else:
        task[STAGE] = WAITING
        state.pending[lane, scalar[PENDING]] = slot
        scalar[PENDING] += 1


@compiled
def memory_time(state, tables, lane, slot):
    """Return when all data for a task are in the shared memory."""
    row, task = state.scalar[lane, ROW], state.task[lane]
    tasks, j = tables.duration.shape[2], task[slot, JOB]
    k, t = state.job[lane, j, PROFILE], slot - j * tasks
    latest = state.scalar[lane, NOW]
    for e in range(tables.predecessor_start[row, k, t], tables.predecessor_start[row, k, t + 1]):
        other = j * tasks + tables.predecessor[row, k, e]
        rate = tables.memory_bandwidth[row, task[other, PE]]
        took = np.int64(tables.volume[row, k, e] / rate)
        latest = max(latest, task[other, FINISH_AT] + took)
    return latest


@compiled
def release_pending(state, tables, lane):
    """Make those tasks ready whose data have come to the shared memory."""
    scalar, pending = state.scalar[lane], state.pending[lane]
    kept = 0
    for i in range(scalar[PENDING]):
        slot = pending[i]
        if state.task[lane, slot, READY_AT] <= scalar[NOW]:
            gather_data(state, tables, lane, slot)
            insert_ready(state, lane, slot, scalar[READY])
        else:
            pending[kept] = slot
            kept += 1
    scalar[PENDING] = kept


@inlined
def finish_task(state, tables, lane, p):
    """Free a PE, release the successors of its task, and end the job after its last task."""
    scalar, pe = state.scalar[lane], state.pe[lane]
    slot, row = pe[TASK, p], scalar[ROW]
    task = state.task[lane, slot]
    j, tasks = task[JOB], tables.duration.shape[2]
    k, t = state.job[lane, j, PROFILE], slot - task[JOB] * tasks
    pe[TASK, p] = -1
    pe[NOTICE, p] = NEVER
    pe[BUSY, p] += task[FINISH_AT] - task[STARTED_AT]
    task[STAGE] = DONE
    mark(state, lane, slot)
    if state.setting[LOGGING]:
        state.task_log[lane, task[ROW_OF_LOG], LOG_FINISH] = task[FINISH_AT]
    for e in range(tables.successor_start[row, k, t], tables.successor_start[row, k, t + 1]):
        other = j * tasks + tables.successor[row, k, e]
        state.task[lane, other, MISSING] -= 1
        mark(state, lane, other)
        if state.task[lane, other, MISSING] == 0:
            release_task(state, tables, lane, other)
    state.job[lane, j, OPEN] -= 1
    if state.job[lane, j, OPEN] == 0:
        leave_job(state, tables, lane, j)


@inlined
def first_finished(state, tables, lane):
    """Return the PE whose task has finished first, by time, then by start; -1 if none has."""
    pe, now, best = state.pe[lane], state.scalar[lane, NOW], -1
    for p in range(tables.number[state.scalar[lane, ROW], PES]):
        if pe[NOTICE, p] <= now:
            if best < 0 or pe[FINISH, p] < pe[FINISH, best]:
                best = p
            elif pe[FINISH, p] == pe[FINISH, best] and pe[ORDER, p] < pe[ORDER, best]:
                best = p
    return best


@inlined
def settle(state, tables, lane):
    """Let everything happen that is due now; tell whether anything did."""
    scalar, pe = state.scalar[lane], state.pe[lane]
    front, finished, injected, pending = -1, 0, scalar[INJECTED], scalar[PENDING]
    p = first_finished(state, tables, lane)
    while p >= 0:
        if front < 0 and pe[FINISH, p] == scalar[NOW]:
            front = scalar[READY]
        finish_task(state, tables, lane, p)
        finished += 1
        p = first_finished(state, tables, lane)
    if front < 0:
        front = scalar[READY]
    if pending > 0:
        release_pending(state, tables, lane)
    admit_jobs(state, tables, lane, front)
    return finished > 0 or scalar[INJECTED] > injected or scalar[PENDING] < pending


@inlined
def draw_duration(state, tables, lane, j, t, nominal):
    """Return how long a task takes: given, or nominal with noise; a task of 0 keeps it."""
    row, number = state.scalar[lane, ROW], state.job[lane, j, NUMBER]
    if tables.number[row, GIVEN_DURATIONS]:
        given = tables.realised[row, number, t]
        return given if given >= 0 else nominal
    noise = tables.real[row, NOISE]
    if noise == 0.0 or nominal == 0:
        return nominal
    seed = np.uint64(state.scalar[lane, SEED])
    u, v = uniform(seed, NOISE_1, number, t), uniform(seed, NOISE_2, number, t)
    normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
    return max(np.int64(np.rint(nominal * (1.0 + noise * normal))), np.int64(1))


@inlined
def is_free(state, lane, slot):
    """Tell whether the task that a plan puts before this one has finished."""
    task = state.task[lane, slot]
    if task[AFTER] < 0:
        return True
    before = state.task[lane, task[AFTER]]
    job = state.job[lane, before[JOB]]
    same = job[PROFILE] >= 0 and job[NUMBER] == task[AFTER_JOB]
    return not same or before[STAGE] == DONE


@inlined
def start_task(state, tables, lane, slot):
    """Start a task on its PE."""
    scalar, task = state.scalar[lane], state.task[lane, slot]
    row, now, j, p = scalar[ROW], scalar[NOW], task[JOB], task[PE]
    number, pe, job = tables.number[row], state.pe[lane], state.job[lane, j]
    t = slot - j * tables.duration.shape[2]
    nominal = tables.duration[row, job[PROFILE], t, p]
    took = draw_duration(state, tables, lane, j, t, nominal)
    late = 0
    if number[STRICT]:
        period = number[SAMPLING_PERIOD]
        late = took <= 1 or (took == 2 and now % period == period - 1)
    task[STAGE], task[STARTED_AT], task[FINISH_AT] = BEGUN, now, now + took
    pe[TASK, p], pe[FINISH, p], pe[NOTICE, p] = slot, now + took, now + took + late
    pe[ORDER, p], pe[EXPECTED, p] = scalar[STARTED], now + nominal
    pe[QUEUED, p] -= nominal
    mark(state, lane, slot)
    if job[HEAD_START] < 0:
        job[HEAD_START] = now
        scalar[HEADS] += now >= number[WARM_UP] and job[NUMBER] >= number[WARM_UP_JOBS]
        if state.setting[LOGGING]:
            state.job_log[lane, job[NUMBER], JOB_LOG_HEAD] = now
    if number[CONTROL_PERIOD] > 0:
        begin_work(
            scalar, pe, state.task[lane], tables.pe_fact[row], tables.frequency[row],
            state.cluster[lane], p, nominal, took,
        )  # fmt: skip
    if state.setting[LOGGING]:
        task[ROW_OF_LOG] = scalar[STARTED]
        line = state.task_log[lane, scalar[STARTED]]
        line[LOG_JOB], line[LOG_TASK], line[LOG_PE] = job[NUMBER], t, p
        line[LOG_READY], line[LOG_ASSIGNED] = task[READY_AT], task[ASSIGNED_AT]
        line[LOG_DATA], line[LOG_START], line[LOG_FINISH] = task[DATA_AT], now, -1
    scalar[STARTED] += 1


@inlined
def start_tasks(state, tables, lane):
    """Start every executable task that can start, in their order; note when data come next."""
    scalar, executable, pe = state.scalar[lane], state.executable[lane], state.pe[lane]
    now, kept, soonest = scalar[NOW], 0, NEVER
    for i in range(scalar[EXECUTABLE]):
        slot = executable[i]
        task = state.task[lane, slot]
        if task[DATA_AT] > now:
            soonest = min(soonest, task[DATA_AT])
        elif pe[TASK, task[PE]] < 0 and is_free(state, lane, slot):
            start_task(state, tables, lane, slot)
            continue
        executable[kept] = slot
        kept += 1
    scalar[EXECUTABLE] = kept
    scalar[NEXT_DATA] = soonest


# --- Frequency -------------------------------------------------------------------------------

# A task of so many microseconds at the highest frequency has that many times MHz cycles of work,
# a million cycles being one unit; each microsecond at some MHz takes so many off. It ends with the
# first whole microsecond in which nothing is left. So times stay whole, and nothing is rounded
# twice: what is left is exact whenever the frequency changes.


# The functions take the rows that they need: a call with the whole state costs every step.


@inlined
def cluster_of(pe_fact, p):
    """Return the cluster of a PE."""
    return np.int64(pe_fact[p, CLUSTER])


@inlined
def frequency_of(frequency, cluster, c):
    """Return the frequency of a cluster in MHz."""
    return frequency[c, FIRST_MHZ + cluster[c, meter.LEVEL]]


@compiled
def begin_work(scalar, pe, task, pe_fact, frequency, cluster, p, nominal, took):
    """Give a PE the work of the task that starts on it.

    Args:
        scalar: row of the state, as `pe`, `task` and `cluster`.
        pe: PEs.
        task: places of tasks.
        pe_fact: row of the tables, as `frequency`.
        frequency: of the clusters.
        cluster: state of the clusters.
        p: PE.
        nominal: time of the task at the highest frequency, as everybody expects.
        took: the same with noise.
    """
    c = cluster_of(pe_fact, p)
    highest = frequency[c, FIRST_MHZ + frequency[c, FIRST_LEVEL]]
    pe[WORK, p], pe[WORK_AT, p] = took * highest, scalar[NOW]
    pe[SURPLUS, p] = (took - nominal) * highest
    set_finish(scalar, pe, task, p, frequency_of(frequency, cluster, c))


@compiled
def set_finish(scalar, pe, task, p, mhz):
    """Work out when the task of a PE ends, and should end, if the frequency stays."""
    finish = scalar[NOW] + (pe[WORK, p] + mhz - 1) // mhz
    expected = max(pe[WORK, p] - pe[SURPLUS, p], 0)
    pe[FINISH, p] = pe[NOTICE, p] = finish
    pe[EXPECTED, p] = scalar[NOW] + (expected + mhz - 1) // mhz
    task[pe[TASK, p], FINISH_AT] = finish


@compiled
def set_level(scalar, number, pe, task, pe_fact, frequency, cluster, log, c, level):
    """Change the frequency of a cluster; what runs on it ends sooner or later."""
    now, before = scalar[NOW], frequency_of(frequency, cluster, c)
    cluster[c, meter.LEVEL] = level
    mhz = frequency_of(frequency, cluster, c)
    for p in range(number[PES]):
        if cluster_of(pe_fact, p) == c and pe[TASK, p] >= 0 and pe[FINISH, p] > now:
            pe[WORK, p] -= (now - pe[WORK_AT, p]) * before
            pe[WORK_AT, p] = now
            set_finish(scalar, pe, task, p, mhz)
    if log.shape[0] > 0:
        line = log[scalar[CHANGES]]
        line[CHANGE_TIME], line[CHANGE_CLUSTER], line[CHANGE_MHZ] = now, c, mhz
    scalar[CHANGES] += 1


@compiled
def count_active(number, pe, pe_fact, cluster):
    """Count how many cores of each cluster run a task."""
    for c in range(cluster.shape[0]):
        cluster[c, meter.ACTIVE] = 0
    for p in range(number[PES]):
        cluster[cluster_of(pe_fact, p), meter.ACTIVE] += pe[TASK, p] >= 0


@compiled
def work_done(scalar, number, pe, task, pe_fact, c):
    """Return the core-microseconds of work of a cluster so far."""
    total = 0
    for p in range(number[PES]):
        if cluster_of(pe_fact, p) == c:
            total += pe[BUSY, p]
            if pe[TASK, p] >= 0:
                total += scalar[NOW] - task[pe[TASK, p], STARTED_AT]
    return total


@compiled
def look(scalar, number, pe, task, pe_fact, frequency, cluster, log):
    """Let the governor set the frequencies by the work of the last period.

    Returns:
        whether every look until the next event will find the same and change nothing.
    """
    period, steady = number[CONTROL_PERIOD], True
    count_active(number, pe, pe_fact, cluster)
    for c in range(number[CLUSTERS]):
        done = work_done(scalar, number, pe, task, pe_fact, c)
        recent, level = done - cluster[c, meter.WORKED], cluster[c, meter.LEVEL]
        cluster[c, meter.WORKED] = done
        if 10 * recent > HIGH_LOAD * period:
            level = frequency[c, FIRST_LEVEL]
        elif 10 * recent < LOW_LOAD * period:
            level = max(level - 1, 0)
        steady &= level == cluster[c, meter.LEVEL] and recent == cluster[c, meter.ACTIVE] * period
        if level != cluster[c, meter.LEVEL]:
            set_level(scalar, number, pe, task, pe_fact, frequency, cluster, log, c, level)
    scalar[NEXT_LOOK] += period
    return steady


@compiled
def skip_looks(scalar, number, cluster, time):
    """Leave out looks before a time that would change nothing."""
    period = number[CONTROL_PERIOD]
    skipped = (time - scalar[NEXT_LOOK] + period - 1) // period * period
    if skipped > 0:
        scalar[NEXT_LOOK] += skipped
        for c in range(cluster.shape[0]):
            cluster[c, meter.WORKED] += cluster[c, meter.ACTIVE] * skipped


# --- Time ------------------------------------------------------------------------------------


@inlined
def meter_time(state, tables, lane, time):
    """Count what is drawn until a time to which nothing happens."""
    scalar, row = state.scalar[lane], state.scalar[lane, ROW]
    number, cluster = tables.number[row], state.cluster[lane]
    count_active(number, state.pe[lane], tables.pe_fact[row], cluster)
    meter.run_meter(
        state.meter[lane], tables.power[row], cluster, scalar[NOW], time, number[WARM_UP]
    )


@compiled
def cost_so_far(scalar, number, drawn, reward):
    """Return what a meter has counted, in mJ, or the product with the time, in mJ ms."""
    cost = MILLIJOULES * (drawn[meter.DYNAMIC] + drawn[meter.LEAKED] + drawn[meter.BASE])
    if reward == EDP_REWARD:
        cost *= max(scalar[NOW] - number[WARM_UP], 0) / MICROSECONDS_IN_MS
    return cost


@inlined
def next_time(state, tables, lane):
    """Return when something happens next."""
    scalar, notice = state.scalar[lane], state.pe[lane, NOTICE]
    time = scalar[NEXT_DATA]
    if not scalar[BLOCKED]:
        time = min(time, scalar[NEXT_SEEN])
    for p in range(tables.number[scalar[ROW], PES]):
        time = min(time, notice[p])
    for i in range(scalar[PENDING]):
        time = min(time, state.task[lane, state.pending[lane, i], READY_AT])
    return time


@inlined
def move_clock(state, tables, lane, time):
    """Let time pass; the jobs in the system grow older."""
    scalar = state.scalar[lane]
    if state.setting[METERED]:
        meter_time(state, tables, lane, time)
    scalar[JOB_TIME] += scalar[JOBS] * (time - scalar[NOW])
    scalar[NOW] = time


@inlined
def last_look(number, time):
    """Return how late the governor may look before an event: not behind the horizon."""
    return min(time, number[HORIZON] - 1) if number[PROTOCOL] == LEGACY else time


@inlined
def govern(state, tables, lane, time):
    """Let the governor look until the next event; return when that is, as it sets finishes."""
    scalar, row = state.scalar[lane], state.scalar[lane, ROW]
    number = tables.number[row]
    last = last_look(number, time)
    while scalar[NEXT_LOOK] <= last and last < NEVER:
        move_clock(state, tables, lane, scalar[NEXT_LOOK])
        steady = look(
            scalar, number, state.pe[lane], state.task[lane], tables.pe_fact[row],
            tables.frequency[row], state.cluster[lane], state.frequency_log[lane],
        )  # fmt: skip
        time = next_time(state, tables, lane)
        last = last_look(number, time)
        if steady and last < NEVER:
            skip_looks(scalar, number, state.cluster[lane], last)
    return time


@compiled
def pass_time(state, tables, lane):
    """Start tasks and let time pass until the scheduler is called, or the episode ends."""
    scalar = state.scalar[lane]
    number = tables.number[scalar[ROW]]
    while True:
        start_tasks(state, tables, lane)
        time = next_time(state, tables, lane)
        if number[CONTROL_PERIOD] > 0:
            time = govern(state, tables, lane, time)
        if number[PROTOCOL] == LEGACY and time >= number[HORIZON]:
            move_clock(state, tables, lane, number[HORIZON])
            scalar[STATUS] = FINISHED
            return
        if time == NEVER:
            drained = scalar[JOBS] == 0 and scalar[INJECTED] == number[TOTAL_JOBS]
            scalar[STATUS] = FINISHED if drained else STUCK
            return
        move_clock(state, tables, lane, time)
        happened = settle(state, tables, lane)
        if happened and scalar[READY] > 0:
            break
    scalar[CALL] += 1
    for p in range(number[PES]):
        state.pe[lane, GIVEN, p] = 0


# --- Decisions -------------------------------------------------------------------------------


@inlined
def data_wait(state, lane, slot, p):
    """Return how long a ready task would wait for its data on a PE."""
    scalar = state.scalar[lane]
    reach = state.reach[lane, slot, p]
    return reach if scalar[RELATIVE] else max(reach - scalar[NOW], 0)


@inlined
def nominal_duration(state, tables, lane, slot, p):
    """Return the nominal time of a task on a PE, -1 if it cannot run there."""
    j = state.task[lane, slot, JOB]
    t = slot - j * tables.duration.shape[2]
    return tables.duration[state.scalar[lane, ROW], state.job[lane, j, PROFILE], t, p]


@inlined
def estimated_finish(state, lane, slot, p, nominal):
    """Return the estimated time from now to the finish of a ready task on a PE."""
    idle = state.pe[lane, AVAILABLE, p] - state.scalar[lane, NOW]
    return nominal + max(data_wait(state, lane, slot, p), idle)


@inlined
def queue_task(state, tables, lane, slot):
    """Put an assigned task into the executable list: at the end, or behind those of its job."""
    scalar, executable = state.scalar[lane], state.executable[lane]
    i = scalar[EXECUTABLE]
    if tables.number[scalar[ROW], BY_JOB]:
        own = state.job[lane, state.task[lane, slot, JOB], NUMBER]
        while i > 0:
            other = state.task[lane, executable[i - 1], JOB]
            if state.job[lane, other, NUMBER] <= own:
                break
            executable[i] = executable[i - 1]
            i -= 1
    executable[i] = slot
    scalar[EXECUTABLE] += 1


@inlined
def remove_ready(state, lane, slot):
    """Take a task out of the ready list."""
    scalar, ready = state.scalar[lane], state.ready[lane]
    i = 0
    while ready[i] != slot:
        i += 1
    for k in range(i, scalar[READY] - 1):
        ready[k] = ready[k + 1]
    scalar[READY] -= 1


@inlined
def assign_task(state, tables, lane, slot, p):
    """Give a ready task a PE; what a plan says of their order there holds from now on."""
    scalar, task, pe = state.scalar[lane], state.task[lane, slot], state.pe[lane]
    nominal = nominal_duration(state, tables, lane, slot, p)
    now = scalar[NOW]
    pe[AVAILABLE, p] = now + estimated_finish(state, lane, slot, p, nominal)
    pe[GIVEN, p] += 1
    pe[QUEUED, p] += nominal
    task[STAGE], task[PE], task[ASSIGNED_AT] = ASSIGNED, p, now
    task[DATA_AT] = now + data_wait(state, lane, slot, p)
    mark(state, lane, slot)
    scalar[LAST_PE] = p
    planned = task[PLAN_CALL] == STANDING or task[PLAN_CALL] == scalar[CALL]
    if planned and task[PLAN_PE] == p:
        task[AFTER], task[AFTER_JOB] = task[PLAN_AFTER], task[PLAN_AFTER_JOB]
        scalar[PLANNED] |= task[AFTER] >= 0
    remove_ready(state, lane, slot)
    queue_task(state, tables, lane, slot)
    scalar[DECISIONS] += 1
    if scalar[READY] == 0:
        pass_time(state, tables, lane)


# --- Dispatching rules -----------------------------------------------------------------------


@inlined
def earliest_pe(state, tables, lane, slot):
    """Return the PE with the earliest estimated finish (ties: the lowest)."""
    best, best_finish = -1, NEVER
    for p in range(tables.number[state.scalar[lane, ROW], PES]):
        nominal = nominal_duration(state, tables, lane, slot, p)
        if nominal >= 0:
            finish = estimated_finish(state, lane, slot, p, nominal)
            if finish < best_finish:
                best, best_finish = p, finish
    return best, best_finish


@inlined
def fastest_pe(state, tables, lane, slot):
    """Return the PE with the least nominal time (ties: the lowest) and that time."""
    best, least = -1, NEVER
    for p in range(tables.number[state.scalar[lane, ROW], PES]):
        nominal = nominal_duration(state, tables, lane, slot, p)
        if 0 <= nominal < least:
            best, least = p, nominal
    return best, least


@inlined
def met_pe(state, tables, lane, slot):
    """Return a fastest PE: idle ones first, then those given least in this call.

    The published filter of busy PEs cuts as many out of the list as are busy, from the first
    busy one on; it is repeated in strict mode.
    """
    scalar, pe = state.scalar[lane], state.pe[lane]
    number = tables.number[scalar[ROW]]
    _, least = fastest_pe(state, tables, lane, slot)
    count, busy, first_busy = 0, 0, 0
    for p in range(number[PES]):
        if nominal_duration(state, tables, lane, slot, p) == least:
            if pe[TASK, p] >= 0:
                if busy == 0:
                    first_busy = count
                busy += 1
            count += 1
    filtered = 0 < busy < count
    best, place = -1, 0
    for p in range(number[PES]):
        if nominal_duration(state, tables, lane, slot, p) == least:
            kept = pe[TASK, p] < 0
            if number[STRICT]:
                kept = place < first_busy or place >= first_busy + busy
            if (kept or not filtered) and (best < 0 or pe[GIVEN, p] < pe[GIVEN, best]):
                best = p
            place += 1
    return best


@inlined
def random_pe(state, tables, lane, slot):
    """Return a random PE that can run the task, keyed by the seed of the episode."""
    scalar, count = state.scalar[lane], 0
    pes = tables.number[scalar[ROW], PES]
    for p in range(pes):
        count += nominal_duration(state, tables, lane, slot, p) >= 0
    u = uniform(np.uint64(scalar[SEED]), RANDOM_RULE, scalar[DECISIONS], 0)
    drawn, chosen = np.int64(u * count), -1
    for p in range(pes):
        if nominal_duration(state, tables, lane, slot, p) >= 0:
            if drawn == 0:
                chosen = p
            drawn -= 1
    return chosen


@inlined
def optimistic_pe(state, tables, lane, slot):
    """Return PEFT's PE: the earliest finish plus the optimistic cost of what follows."""
    row, j = state.scalar[lane, ROW], state.task[lane, slot, JOB]
    k, t = state.job[lane, j, PROFILE], slot - j * tables.duration.shape[2]
    best, best_cost = -1, np.inf
    for p in range(tables.number[row, PES]):
        nominal = tables.duration[row, k, t, p]
        if nominal >= 0:
            finish = estimated_finish(state, lane, slot, p, nominal)
            cost = finish + tables.optimistic[row, k, t, p]
            if cost < best_cost:
                best, best_cost = p, cost
    return best


@inlined
def task_fact(state, tables, lane, slot, column):
    """Return a fact of a task."""
    j = state.task[lane, slot, JOB]
    t = slot - j * tables.duration.shape[2]
    return tables.fact[state.scalar[lane, ROW], state.job[lane, j, PROFILE], t, column]


@inlined
def highest_task(state, tables, lane, column, sign):
    """Return the ready task with the highest fact times sign (ties: the first in the list)."""
    best, best_value = -1, -np.inf
    for i in range(state.scalar[lane, READY]):
        slot = state.ready[lane, i]
        value = sign * task_fact(state, tables, lane, slot, column)
        if value > best_value:
            best, best_value = slot, value
    return best


@inlined
def earliest_task(state, tables, lane):
    """Return the ready task that can finish first (ties: the first in the list) and its PE."""
    best, best_pe, best_finish = -1, -1, NEVER
    for i in range(state.scalar[lane, READY]):
        slot = state.ready[lane, i]
        p, finish = earliest_pe(state, tables, lane, slot)
        if finish < best_finish:
            best, best_pe, best_finish = slot, p, finish
    return best, best_pe


# HEFT_RT: each call plans all ready tasks behind what runs and waits; `event` holds the plan.


@compiled
def lay_event(state, lane, count, slot, p, start, end):
    """Add an event to the plan, by end within its PE, behind those with the same end."""
    event, i = state.event[lane], 0
    while i < count and not (event[i, EVENT_PE] == p and event[i, EVENT_END] > end):
        i += 1
    for k in range(count, i, -1):
        for column in range(NUM_EVENT_COLUMNS):
            event[k, column] = event[k - 1, column]
    event[i, EVENT_TASK], event[i, EVENT_PE] = slot, p
    event[i, EVENT_START], event[i, EVENT_END] = start, end


@compiled
def first_gap(state, lane, count, p, early, length):
    """Return the start of the first gap of a PE's plan, not before `early`."""
    event, end, met = state.event[lane], early, 0
    for i in range(count):
        if event[i, EVENT_PE] == p:
            gap = event[i, EVENT_START] - length - end
            if gap > 0 or (gap == 0 and met > 0):
                return end
            end = max(end, event[i, EVENT_END])
            met += 1
    return end


@compiled
def lay_present(state, tables, lane):
    """Begin a plan with what runs, and what waits back to back behind it."""
    scalar, pe, event = state.scalar[lane], state.pe[lane], state.event[lane]
    count = 0
    for p in range(tables.number[scalar[ROW], PES]):
        if pe[TASK, p] >= 0:
            started = state.task[lane, pe[TASK, p], STARTED_AT]
            lay_event(state, lane, count, pe[TASK, p], p, started, pe[EXPECTED, p])
            count += 1
    for i in range(scalar[EXECUTABLE]):
        slot = state.executable[lane, i]
        p, start = state.task[lane, slot, PE], scalar[NOW]
        for k in range(count):
            if event[k, EVENT_PE] == p:
                start = event[k, EVENT_END]
        end = start + nominal_duration(state, tables, lane, slot, p)
        lay_event(state, lane, count, slot, p, start, end)
        count += 1
    return count


@inlined
def task_number(state, tables, lane, slot):
    """Return the number of a task among all tasks of the episode."""
    j = state.task[lane, slot, JOB]
    return state.job[lane, j, FIRST_ID] + slot - j * tables.duration.shape[2]


@compiled
def earliest_start(state, tables, lane, count):
    """Return when a call's tasks may start: now, or where the published rule errs, later.

    Its artificial first task has the number behind the last ready task. If a task of this number
    runs or waits, its planned end is taken for the end of the artificial one.
    """
    last = 0
    for i in range(state.scalar[lane, READY]):
        last = max(last, task_number(state, tables, lane, state.ready[lane, i]))
    early = state.scalar[lane, NOW]
    for k in range(count):
        slot = state.event[lane, k, EVENT_TASK]
        if task_number(state, tables, lane, slot) == last + 1:
            early = max(early, state.event[lane, k, EVENT_END])
    return early


@inlined
def longest_unplanned(state, tables, lane, held):
    """Return the ready task without a plan of this call with the longest mean time; not `held`."""
    best, longest = -1, -1.0
    for i in range(state.scalar[lane, READY]):
        slot = state.ready[lane, i]
        planned = state.task[lane, slot, PLAN_CALL] == state.scalar[lane, CALL]
        if not planned and slot != held:
            mean = task_fact(state, tables, lane, slot, MEAN)
            if mean > longest:
                best, longest = slot, mean
    return best


@compiled
def plan_task(state, tables, lane, count, slot, early):
    """Put a ready task into the first gap of the PE where it ends first."""
    best, best_start, best_end = -1, NEVER, NEVER
    for p in range(tables.number[state.scalar[lane, ROW], PES]):
        nominal = nominal_duration(state, tables, lane, slot, p)
        if nominal >= 0:
            start = first_gap(state, lane, count, p, early, nominal)
            if start + nominal < best_end:
                best, best_start, best_end = p, start, start + nominal
    lay_event(state, lane, count, slot, best, best_start, best_end)
    state.task[lane, slot, PLAN_CALL] = state.scalar[lane, CALL]
    state.task[lane, slot, PLAN_PE] = best


@compiled
def plan_call(state, tables, lane):
    """Plan the ready tasks by HEFT_RT: by falling mean time, into gaps, no communication.

    In strict mode the first of several tasks with the longest mean goes behind the others.
    """
    scalar = state.scalar[lane]
    strict = tables.number[scalar[ROW], STRICT] == 1
    count = lay_present(state, tables, lane)
    early = earliest_start(state, tables, lane, count) if strict else scalar[NOW]
    held, others = -1, 0
    if strict:
        held = longest_unplanned(state, tables, lane, -1)
        longest = task_fact(state, tables, lane, held, MEAN)
        for i in range(scalar[READY]):
            mean = task_fact(state, tables, lane, state.ready[lane, i], MEAN)
            others += mean == longest
        others -= 1
    for i in range(scalar[READY]):
        slot = longest_unplanned(state, tables, lane, held if i < others else -1)
        plan_task(state, tables, lane, count, slot, early)
        count += 1
    link_events(state, lane, count)


@compiled
def link_events(state, lane, count):
    """Let each ready task of the plan wait for what comes before it on its PE."""
    event, call = state.event[lane], state.scalar[lane, CALL]
    for i in range(count):
        task = state.task[lane, event[i, EVENT_TASK]]
        if task[STAGE] != READIED or task[PLAN_CALL] != call:
            continue
        before = -1
        for k in range(i):
            if event[k, EVENT_PE] == event[i, EVENT_PE]:
                before = k
        if before >= 0 and event[before, EVENT_END] > event[before, EVENT_START]:
            put_behind(state, lane, event[i, EVENT_TASK], event[before, EVENT_TASK])
        else:
            task[PLAN_AFTER] = -1


@inlined
def put_behind(state, lane, slot, before):
    """Note in the plan that a task waits for the end of another."""
    task, other = state.task[lane, slot], state.task[lane, before]
    task[PLAN_AFTER] = before
    task[PLAN_AFTER_JOB] = state.job[lane, other[JOB], NUMBER]


@inlined
def heft_rt_pe(state, tables, lane, slot):
    """Return the PE of the plan of this call; plan if there is none."""
    task = state.task[lane, slot]
    if task[PLAN_CALL] != state.scalar[lane, CALL]:
        plan_call(state, tables, lane)
    return task[PLAN_PE]


@compiled
def set_plan(state, lane, pe, after):
    """Lay down where and in which order tasks run from now on; the rule `FOLLOW` obeys.

    Args:
        state: of the lane.
        lane: in which the plan is laid down.
        pe: int64 (S,), PE of each task that is not assigned yet; -1: the rule EFT chooses.
        after: int64 (S,), place of the task that has to finish before each one may start; -1 for
            none. This holds for assigned tasks that have not started as well.
    """
    for slot in range(state.task.shape[1]):
        task = state.task[lane, slot]
        if task[STAGE] == ABSENT or task[STAGE] >= BEGUN:
            continue
        task[PLAN_CALL] = STANDING
        task[PLAN_PE] = pe[slot]
        task[PLAN_AFTER] = -1
        if after[slot] >= 0:
            put_behind(state, lane, slot, after[slot])
        if task[STAGE] == ASSIGNED:
            task[AFTER], task[AFTER_JOB] = task[PLAN_AFTER], task[PLAN_AFTER_JOB]
            state.scalar[lane, PLANNED] |= task[AFTER] >= 0


@inlined
def follow_pe(state, tables, lane, slot):
    """Return the PE of the plan, or the earliest one where the plan says nothing."""
    task = state.task[lane, slot]
    if task[PLAN_CALL] == STANDING and task[PLAN_PE] >= 0:
        return task[PLAN_PE]
    return earliest_pe(state, tables, lane, slot)[0]


@compiled
def rule_pe(state, tables, lane, rule, slot):
    """Return the PE that a rule gives a ready task."""
    if rule == RANDOM:
        return random_pe(state, tables, lane, slot)
    if rule == MET:
        return met_pe(state, tables, lane, slot)
    if rule == STF:
        return fastest_pe(state, tables, lane, slot)[0]
    if rule == HEFT_RT:
        return heft_rt_pe(state, tables, lane, slot)
    if rule == PEFT_RT:
        return optimistic_pe(state, tables, lane, slot)
    if rule == FOLLOW:
        return follow_pe(state, tables, lane, slot)
    return earliest_pe(state, tables, lane, slot)[0]


@compiled
def rule_choice(state, tables, lane, rule):
    """Return the ready task and the PE that a rule chooses."""
    strict = tables.number[state.scalar[lane, ROW], STRICT] == 1
    slot = state.ready[lane, 0]
    if rule == ETF:
        return earliest_task(state, tables, lane)
    if rule == RANKU:
        slot = highest_task(state, tables, lane, UPWARD, 1.0)
    elif rule == PEFT_RT:
        slot = highest_task(state, tables, lane, OPTIMISTIC, 1.0)
    elif rule == CPATH:
        slot = highest_task(state, tables, lane, PATH, 1.0)
    elif rule == STF and not strict:
        slot = highest_task(state, tables, lane, LEAST, -1.0)
    return slot, rule_pe(state, tables, lane, rule, slot)


@compiled
def run_rule(state, tables, lane, rule):
    """Play an episode to its end under a rule."""
    while state.scalar[lane, STATUS] == RUNNING:
        slot, p = rule_choice(state, tables, lane, rule)
        assign_task(state, tables, lane, slot, p)


# --- Actions -----------------------------------------------------------------------------------


@compiled
def may_wait(scalar, number, pe):
    """Tell whether something will happen if the ready tasks are left waiting."""
    arrives = scalar[NEXT_SEEN] < NEVER and scalar[JOBS] < number[CAPACITY]
    happens = arrives or scalar[EXECUTABLE] > 0 or scalar[PENDING] > 0
    for p in range(number[PES]):
        happens |= pe[TASK, p] >= 0
    return happens


@merged
def is_legal(state, tables, lane, action):
    """Tell whether an action is legal."""
    mode, places, pes = state.setting[MODE], state.task.shape[1], state.pe.shape[2]
    scalar = state.scalar[lane]
    if scalar[STATUS] != RUNNING or action < 0:
        return False
    if mode == MAP_ONLY:
        slot, p = state.ready[lane, 0], action
    elif mode == ORDER_ONLY:
        slot, p = action, 0
    else:
        slot, p = action // pes, action % pes
        if mode == LATE_BINDING and slot == places and p == 0:
            return may_wait(scalar, tables.number[scalar[ROW]], state.pe[lane])
    if slot >= places or p >= tables.number[scalar[ROW], PES]:
        return False
    if state.task[lane, slot, STAGE] != READIED:
        return False
    return mode == ORDER_ONLY or nominal_duration(state, tables, lane, slot, p) >= 0


@merged
def apply_action(state, tables, lane, action):
    """Apply a legal action and go to the next decision."""
    mode, places, pes = state.setting[MODE], state.task.shape[1], state.pe.shape[2]
    slot, p = action // pes, action % pes
    if mode == MAP_ONLY:
        slot, p = state.ready[lane, 0], action
    elif mode == ORDER_ONLY:
        slot = action
        p = earliest_pe(state, tables, lane, slot)[0]
    if slot == places:
        state.scalar[lane, DECISIONS] += 1
        pass_time(state, tables, lane)
    else:
        assign_task(state, tables, lane, slot, p)


@compiled
def rule_action(state, tables, lane, rule):
    """Return the action of a rule, as far as the mode lets it choose; -1 at the end.

    If tasks come in the order of the list, the rule gives the first one a PE; if the PE is that
    of the earliest finish, the rule chooses the task.
    """
    if state.scalar[lane, STATUS] != RUNNING:
        return np.int64(-1)
    mode = state.setting[MODE]
    if mode == MAP_ONLY:
        return np.int64(rule_pe(state, tables, lane, rule, state.ready[lane, 0]))
    slot, p = rule_choice(state, tables, lane, rule)
    return np.int64(slot) if mode == ORDER_ONLY else np.int64(slot * state.pe.shape[2] + p)
