"""The transition kernel of the job shop: arrays in, arrays out, compiled by Numba.

The state of a batch of shops is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the entry points at the end loop over lanes, in parallel where it pays. Time,
durations and counters are integers. Nothing is allocated and no Python object is touched
inside a step.

What happens at one instant, in this order: completions, repairs, shutdowns, rotation of closed
wait cycles (a swap), decisions; operations of zero length and shutdowns at the instant of a
start send the instant back to its beginning. Then the clock jumps to the next event.

Sources: blocking with swap after Mascis and Pacciarelli, "Job-shop scheduling with blocking and
no-wait constraints", EJOR 143 (2002); shutdowns after Wong et al., arXiv 2302.02506.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.job_shop.generators import uniform_jobs

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts, whose atomic operations would take most of the time of a step.

The arrays belong to the caller, and nothing in this file allocates or keeps one.
"""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""
merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""The same for longer functions: they are put in place by LLVM, which compiles faster."""

NEVER = np.int64(2**62)
"""A time that does not come."""

# Columns of State.setting, shared by all lanes.
BLOCKING, SWAP, SEQUENCE, POLICY, UNLOAD, REVEAL, WAIT, AVOID, TRIVIAL, REWARD, VIEW = range(11)
STEP_LIMIT = 11
NUM_SETTINGS = 12
EVENT_SCHEME, SEQUENCE_SCHEME, ACTIVE_SCHEME = range(3)
NO_INTERRUPTS, PER_OPERATION, CALENDAR = range(3)
RESUME, RESTART, FINISH_FIRST = range(3)
GRAPH_VIEW, JOBS_VIEW, INSTANCE_VIEW = range(3)
LB_DELTA, TIME_PASSED, WAITING, AREA, TERMINAL = range(5)

# Columns of State.scalar, integers of one lane.
TIME, DONE_JOBS, IN_SHOP, WAITS, DECISIONS, STATUS, SWAPS, LONGEST_CYCLE = range(8)
JOBS, MACHINES, OPERATIONS, TOTAL_WORK, LOWER_BOUND, MAKESPAN, KIND, WIP_CAP = range(8, 16)
DOWN_LOW, DOWN_HIGH, BASE_SEED, EPISODE, SEED, LONGEST_DURATION, WAITED, IDLED = range(16, 24)
POTENTIAL, ELAPSED, UNCHECKED, LAST_RELEASE = range(24, 28)
NUM_SCALARS = 28
RUNNING, FINISHED, DEADLOCK, TRUNCATED = range(4)

# Columns of State.real, floats of one lane.
MEAN_DURATION, PROBABILITY, REWARD_SCALE, MEAN_JOB = range(4)
NUM_REALS = 4

# Columns of State.job.
COUNT, RELEASE, NEXT, TARGET, HELD, PHASE, FINISH, ARRIVE, MARK, SHOWN, BEHIND = range(11)
NUM_JOB_COLUMNS = 11
OUTSIDE, QUEUED, BLOCKED, PROCESSING, PAUSED, DONE = range(6)  # the first three wait

# Columns of State.machine.
OCCUPANT, DOWN, DOWN_SINCE, DOWN_UNTIL, SHUT_AT, SHUT_LENGTH, REMAINING, DEFERRED = range(8)
INTERVAL, LOAD_LEFT, LOAD, FREE_AT, QUEUE, QUEUE_WORK, BUSY_FOR, HOLDS_FINISHED = range(8, 16)
MOST_WORK, MORE_WORK, SHORTEST, SHORTER, ARRIVAL, ARRIVAL_WORK = range(16, 22)
NUM_MACHINE_COLUMNS = 22

# Columns of State.operation: the instance, then the log of the schedule.
MACHINE, DURATION, WORK, START, PROCESSING_END, END, DOWN_BEGIN, DOWN_END = range(8)
NUM_OPERATION_COLUMNS = 8

# Streams of the keyed random numbers (16 and above belong to the generators).
STRIKES, STRIKE_OFFSET, DOWN_LENGTH, UP_TIME, CALENDAR_LENGTH, RANDOM_RULE, NOISE, CHOICE = range(8)

(SPT, LPT, MWKR, LWKR, MOPNR, LOPNR, FIFO, LIFO, FDD_MWKR, SPT_TWK) = range(10)
(LPT_TWK, SPT_RWK, STPT, LTPT, LRM, LSO, SSO, WINQ, BLKREL, RANDOM) = range(10, 20)

WAITS_PER_OPERATION = 4
"""An episode is truncated after this many waits per operation."""
HORIZON_FACTOR = 1000
"""An episode is truncated when the clock passes this many times the total work."""
INVALID_ACTION_REWARD = -1.0
LANES_PER_BLOCK = 4


class State(NamedTuple):
    """A batch of B shops with at most n jobs, K operations a job and m machines.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS).
        real: float64 (B, NUM_REALS).
        job: int64 (B, NUM_JOB_COLUMNS, n).
        machine: int64 (B, NUM_MACHINE_COLUMNS, m).
        operation: int64 (B, n, K + 1, NUM_OPERATION_COLUMNS); the row after a job's last
            operation has no work left.
        legal: int8 (B, n + 1), the action mask; the last entry is the wait.
    """

    setting: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    job: np.ndarray
    machine: np.ndarray
    operation: np.ndarray
    legal: np.ndarray


class Source(NamedTuple):
    """Where the instance of the next episode comes from.

    Attributes:
        kind: int64 (1,): GENERATED, BANK or PREPARED.
        limits: int64 (6,): jobs, machines and durations, lowest and highest (GENERATED).
        machine, duration: int64 (I, n, K). operations, release: int64 (I, n).
        machines: int64 (I,).
        probability: float64 (P,), one of which is drawn for each episode.
        length: float64 (2,), shutdowns in mean durations.
        interrupts: int64 (2,): kind of interruptions, limit on jobs in the shop (0: none).
        scale: float64 (1,), the reward scale; 0 for the trivial lower bound of the instance.
    """

    kind: np.ndarray
    limits: np.ndarray
    machine: np.ndarray
    duration: np.ndarray
    operations: np.ndarray
    release: np.ndarray
    machines: np.ndarray
    probability: np.ndarray
    length: np.ndarray
    interrupts: np.ndarray
    scale: np.ndarray


GENERATED, BANK, PREPARED = range(3)


class Observation(NamedTuple):
    """Observation buffers, lane first; those of other observations have no rows.

    The columns are described in the manual page of `JobShopEnv`.
    """

    operations: np.ndarray
    operation_mask: np.ndarray
    operation_machine: np.ndarray
    operation_next: np.ndarray
    jobs: np.ndarray
    job_mask: np.ndarray
    job_operation: np.ndarray
    wait_for: np.ndarray
    machines: np.ndarray
    machine_mask: np.ndarray
    operation_duration: np.ndarray
    candidates: np.ndarray
    action_mask: np.ndarray


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the log of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar: int64 (B, NUM_SCALARS). real: float64 (B, NUM_REALS).
        start, processing_end, end, down_begin, down_end, machine: int64 (B, n, K). These and the
            two before are written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    start: np.ndarray
    processing_end: np.ndarray
    end: np.ndarray
    down_begin: np.ndarray
    down_end: np.ndarray
    machine: np.ndarray


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def calendar_up_time(seed, machine, interval, probability):
    """Return the up-time before shutdown `interval`: geometric, at least one time unit."""
    if probability <= 0.0:
        return NEVER
    u = uniform(seed, UP_TIME, machine, interval)
    return np.int64(1 + math.floor(math.log(1.0 - u) / math.log(1.0 - probability)))


@compiled
def down_length(seed, stream, a, b, low, high):
    """Return the length of a shutdown, uniform on low..high."""
    return np.int64(low + math.floor(uniform(seed, stream, a, b) * (high - low + 1)))


@compiled
def load_instance(state, source, row, lane):
    """Lay instance `row` of the source into the lane and compute what depends on it alone."""
    scalar, real = state.scalar[lane], state.real[lane]
    job, machine, operation = state.job[lane], state.machine[lane], state.operation[lane]
    machine[:, :] = 0
    jobs, total, count, longest, bound, last_release = 0, 0, 0, 0, 0, 0
    for j in range(job.shape[1]):
        operations = source.operations[row, j]
        job[COUNT, j] = operations
        job[RELEASE, j] = source.release[row, j]
        work = 0
        for k in range(operation.shape[1] - 1, -1, -1):
            used = k < operations
            duration = source.duration[row, j, k] if used else 0
            visited = source.machine[row, j, k] if used else -1
            work += duration
            operation[j, k, MACHINE] = visited
            operation[j, k, DURATION] = duration
            operation[j, k, WORK] = work
            if used:
                machine[LOAD, visited] += duration
                longest = max(longest, duration)
        if operations > 0:
            jobs += 1
            count += operations
            total += work
            bound = max(bound, work + job[RELEASE, j])
            last_release = max(last_release, job[RELEASE, j])
    for m in range(machine.shape[1]):
        bound = max(bound, machine[LOAD, m])
    scalar[JOBS] = jobs
    scalar[MACHINES] = source.machines[row]
    scalar[OPERATIONS] = count
    scalar[TOTAL_WORK] = total
    scalar[LOWER_BOUND] = bound
    scalar[LAST_RELEASE] = last_release
    scalar[LONGEST_DURATION] = longest
    real[MEAN_DURATION] = total / count
    real[MEAN_JOB] = total / jobs
    real[REWARD_SCALE] = source.scale[0] if source.scale[0] > 0.0 else max(bound, 1)


@compiled
def draw_interrupts(state, source, lane):
    """Set the disturbances of the episode: all follow from its seed."""
    scalar, real, machine = state.scalar[lane], state.real[lane], state.machine[lane]
    seed = np.uint64(scalar[SEED])
    choices = source.probability.shape[0]
    chosen = np.int64(uniform(seed, CHOICE, 0, 0) * choices) if choices > 1 else 0
    real[PROBABILITY] = source.probability[chosen]
    scalar[KIND] = source.interrupts[0]
    scalar[WIP_CAP] = source.interrupts[1]
    scalar[DOWN_LOW] = math.ceil(source.length[0] * real[MEAN_DURATION])
    scalar[DOWN_HIGH] = math.ceil(source.length[1] * real[MEAN_DURATION])
    for m in range(scalar[MACHINES]):
        machine[SHUT_AT, m] = NEVER
        if scalar[KIND] == CALENDAR:
            plan_shutdown(state, lane, m, 0, 0)


@compiled
def plan_shutdown(state, lane, m, interval, since):
    """Look up when machine m, up since `since`, shuts down for the given time of its calendar."""
    scalar, machine = state.scalar[lane], state.machine[lane]
    seed = np.uint64(scalar[SEED])
    up_time = calendar_up_time(seed, m, interval, state.real[lane, PROBABILITY])
    machine[INTERVAL, m] = interval
    machine[SHUT_AT, m] = min(NEVER, since + up_time)
    machine[SHUT_LENGTH, m] = down_length(
        seed, CALENDAR_LENGTH, m, interval, scalar[DOWN_LOW], scalar[DOWN_HIGH]
    )


@compiled
def reset_lane(state, source, lane):
    """Begin the episode whose seed stands in the lane and go to its first decision."""
    scalar = state.scalar[lane]
    row = lane
    if source.kind[0] == BANK:
        row = scalar[SEED] % source.machines.shape[0]
    elif source.kind[0] == GENERATED:
        limits = source.limits
        jobs, machines = uniform_jobs(
            np.uint64(scalar[SEED]),
            limits[0],
            limits[1],
            limits[2],
            limits[3],
            limits[4],
            limits[5],
            source.machine[row],
            source.duration[row],
        )
        for j in range(source.operations.shape[1]):
            source.operations[row, j] = machines if j < jobs else 0
        source.machines[row] = machines
    load_instance(state, source, row, lane)
    clear_lane(state, lane)
    draw_interrupts(state, source, lane)
    if state.setting[SEQUENCE]:
        tell_sequence_time(state, lane)
        append_forced(state, lane)
    else:
        run_to_decision(state, lane, True)
    state.scalar[lane, POTENTIAL] = potential(state, lane)


@compiled
def clear_lane(state, lane):
    """Empty the shop: no job has started, no machine holds anything."""
    scalar, job = state.scalar[lane], state.job[lane]
    machine, operation = state.machine[lane], state.operation[lane]
    scalar[TIME] = scalar[DONE_JOBS] = scalar[IN_SHOP] = scalar[WAITS] = scalar[DECISIONS] = 0
    scalar[STATUS] = RUNNING
    scalar[SWAPS] = scalar[LONGEST_CYCLE] = scalar[MAKESPAN] = scalar[WAITED] = scalar[IDLED] = 0
    scalar[ELAPSED] = scalar[UNCHECKED] = 0
    state.legal[lane, :] = 0
    for j in range(job.shape[1]):
        job[NEXT, j] = 0
        job[TARGET, j] = operation[j, 0, MACHINE]
        job[HELD, j] = -1
        job[PHASE, j] = OUTSIDE if job[COUNT, j] > 0 else DONE
        job[FINISH, j] = NEVER
        job[ARRIVE, j] = job[RELEASE, j]
        job[MARK, j] = 0
        for k in range(operation.shape[1]):
            for column in range(START, NUM_OPERATION_COLUMNS):
                operation[j, k, column] = -1
    for m in range(machine.shape[1]):
        machine[OCCUPANT, m] = -1
        machine[LOAD_LEFT, m] = machine[LOAD, m]


# --- The events of one instant ---------------------------------------------------------------


@inlined
def strike(state, lane, j, k, m):
    """Set the shutdown, if any, that hits operation (j, k) starting now; true if it is now."""
    scalar, machine = state.scalar[lane], state.machine[lane]
    seed, duration = np.uint64(scalar[SEED]), state.operation[lane, j, k, DURATION]
    probability = state.real[lane, PROBABILITY]
    if probability == 0.0 or duration == 0 or uniform(seed, STRIKES, j, k) >= probability:
        return False
    length = down_length(seed, DOWN_LENGTH, j, k, scalar[DOWN_LOW], scalar[DOWN_HIGH])
    if state.setting[POLICY] == FINISH_FIRST:
        machine[DEFERRED, m] = length  # nothing happens before the operation ends
        return False
    offset = np.int64(math.floor(uniform(seed, STRIKE_OFFSET, j, k) * duration))
    machine[SHUT_AT, m] = scalar[TIME] + offset
    machine[SHUT_LENGTH, m] = length
    return offset == 0


@inlined
def enter(state, lane, j):
    """Put job j on the machine of its next operation, now; true if the instant must be redone.

    The machine it leaves is not freed here: in a rotation another job takes it.
    """
    scalar, job, operation = state.scalar[lane], state.job[lane], state.operation[lane]
    time, k, m = scalar[TIME], job[NEXT, j], job[TARGET, j]
    if job[PHASE, j] == OUTSIDE:
        scalar[IN_SHOP] += 1
    if job[PHASE, j] == BLOCKED:
        operation[j, k - 1, END] = time
    duration = operation[j, k, DURATION]
    operation[j, k, START] = time
    job[PHASE, j] = PROCESSING
    job[HELD, j] = m
    job[FINISH, j] = time + duration
    state.machine[lane, OCCUPANT, m] = j
    state.machine[lane, LOAD_LEFT, m] -= duration
    now = duration == 0
    if scalar[KIND] == PER_OPERATION:
        now |= strike(state, lane, j, k, m)
    return now


@inlined
def start_next(state, lane, j):
    """Move job j from where it is to its free next machine; true if the instant must be redone."""
    held = state.job[lane, HELD, j]
    if held >= 0:
        state.machine[lane, OCCUPANT, held] = -1
    return enter(state, lane, j)


@inlined
def go_to_next(state, lane, j):
    """Let the next operation of job j be the one that follows; true if there is none."""
    job = state.job[lane]
    k = job[NEXT, j] + 1
    job[NEXT, j] = k
    if k == job[COUNT, j]:
        return True
    job[TARGET, j] = state.operation[lane, j, k, MACHINE]
    return False


@inlined
def complete(state, lane, j):
    """End the processing of job j's operation at this instant."""
    scalar, job, operation = state.scalar[lane], state.job[lane], state.operation[lane]
    time, k, m = scalar[TIME], job[NEXT, j], job[HELD, j]
    operation[j, k, PROCESSING_END] = time
    job[FINISH, j] = NEVER
    job[ARRIVE, j] = time
    last = go_to_next(state, lane, j)
    if state.setting[BLOCKING] and not last:
        job[PHASE, j] = BLOCKED
        scalar[UNCHECKED] = 1
    else:
        operation[j, k, END] = time
        job[HELD, j] = -1
        job[PHASE, j] = DONE if last else QUEUED
        state.machine[lane, OCCUPANT, m] = -1
    if last:
        scalar[IN_SHOP] -= 1
        scalar[DONE_JOBS] += 1
        scalar[MAKESPAN] = time
    if state.machine[lane, DEFERRED, m] > 0:
        begin_deferred_shutdown(state, lane, m, j, k)


@compiled
def begin_deferred_shutdown(state, lane, m, j, k):
    """Shut machine m down now, after the operation (j, k) that was allowed to finish."""
    scalar, machine = state.scalar[lane], state.machine[lane]
    time, until = scalar[TIME], machine[DEFERRED, m]
    machine[DEFERRED, m] = 0
    if scalar[KIND] == PER_OPERATION:
        until += time
        state.operation[lane, j, k, DOWN_BEGIN] = time
        state.operation[lane, j, k, DOWN_END] = until
    if until > time:
        machine[DOWN, m] = 1
        machine[DOWN_SINCE, m] = time
        machine[DOWN_UNTIL, m] = until


@compiled
def repair(state, lane, m):
    """Bring machine m up again; a paused operation goes on."""
    job, machine = state.job[lane], state.machine[lane]
    machine[DOWN, m] = 0
    state.scalar[lane, UNCHECKED] = 1
    j = machine[OCCUPANT, m]
    if j >= 0 and job[PHASE, j] == PAUSED:
        job[PHASE, j] = PROCESSING
        job[FINISH, j] = state.scalar[lane, TIME] + machine[REMAINING, m]


@compiled
def shut_down(state, lane, m):
    """Begin the shutdown of machine m that is due now, or defer it behind its operation."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    time, length, j = scalar[TIME], machine[SHUT_LENGTH, m], machine[OCCUPANT, m]
    calendar = scalar[KIND] == CALENDAR
    machine[SHUT_AT, m] = NEVER
    if calendar:
        plan_shutdown(state, lane, m, machine[INTERVAL, m] + 1, time + length)
    busy = j >= 0 and job[PHASE, j] == PROCESSING
    if busy and state.setting[POLICY] == FINISH_FIRST:
        machine[DEFERRED, m] = time + length
        return
    machine[DOWN, m] = 1
    machine[DOWN_SINCE, m] = time
    machine[DOWN_UNTIL, m] = time + length
    if busy:
        k = job[NEXT, j]
        if state.setting[POLICY] == RESTART:
            machine[REMAINING, m] = state.operation[lane, j, k, DURATION]
        else:
            machine[REMAINING, m] = job[FINISH, j] - time
        job[PHASE, j] = PAUSED
        job[FINISH, j] = NEVER
        if not calendar:
            state.operation[lane, j, k, DOWN_BEGIN] = time
            state.operation[lane, j, k, DOWN_END] = time + length


@inlined
def process_events(state, lane):
    """Handle completions, then repairs, then shutdowns that are due now."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    time = scalar[TIME]
    for j in range(scalar[JOBS]):
        if job[FINISH, j] == time:
            complete(state, lane, j)
    if scalar[KIND] == NO_INTERRUPTS:
        return
    for m in range(scalar[MACHINES]):
        if machine[DOWN, m] and machine[DOWN_UNTIL, m] == time:
            repair(state, lane, m)
    for m in range(scalar[MACHINES]):
        if machine[SHUT_AT, m] == time:
            shut_down(state, lane, m)


@inlined
def awaited_job(state, lane, j):
    """Return the job that holds the machine which blocked job j needs, or -1."""
    return state.machine[lane, OCCUPANT, state.job[lane, TARGET, j]]


@compiled
def rotate(state, lane, first):
    """Rotate the wait cycle through blocked job `first`; true if the instant must be redone.

    Every job of the cycle leaves and enters at the same time. The rotation is forced: no other
    job can ever enter any of these machines first. It waits until all the machines are up.
    Without swap a cycle of two or more jobs is a deadlock.
    """
    scalar, job = state.scalar[lane], state.job[lane]
    length, all_up, j = 0, True, first
    while True:
        length += 1
        all_up &= state.machine[lane, DOWN, job[HELD, j]] == 0
        j = awaited_job(state, lane, j)
        if j == first:
            break
    if length > 1 and not state.setting[SWAP]:
        scalar[STATUS] = DEADLOCK
        return False
    if not all_up:
        return False
    if length > 1:
        scalar[SWAPS] += 1
        scalar[LONGEST_CYCLE] = max(scalar[LONGEST_CYCLE], length)
    redo = False
    j = first
    for _ in range(length):
        following = awaited_job(state, lane, j)
        redo |= enter(state, lane, j)
        j = following
    return redo


@compiled
def close_cycles(state, lane):
    """Find all cycles of blocked jobs by a colour walk and rotate them; true: redo the instant."""
    scalar, job = state.scalar[lane], state.job[lane]
    jobs = scalar[JOBS]
    for j in range(jobs):
        job[MARK, j] = -1
    redo = False
    for walk in range(jobs):
        j = walk if job[PHASE, walk] == BLOCKED else -1
        while j >= 0 and job[PHASE, j] == BLOCKED and job[MARK, j] < 0:
            job[MARK, j] = walk
            j = awaited_job(state, lane, j)
        if j >= 0 and job[PHASE, j] == BLOCKED and job[MARK, j] == walk:
            redo |= rotate(state, lane, j)
    return redo


@inlined
def settle(state, lane):
    """Let everything happen that happens at this instant without a decision."""
    scalar = state.scalar[lane]
    while True:
        process_events(state, lane)
        if scalar[DONE_JOBS] == scalar[JOBS]:
            scalar[STATUS] = FINISHED
            return
        if not scalar[UNCHECKED]:
            return
        scalar[UNCHECKED] = 0  # only a completion or a repair can have closed a cycle
        if not state.setting[BLOCKING] or not close_cycles(state, lane):
            return


@inlined
def next_event(state, lane):
    """Return the time of the next completion, repair, shutdown or release after now."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    event, time = NEVER, scalar[TIME]
    for j in range(scalar[JOBS]):
        event = min(event, job[FINISH, j])
    if time < scalar[LAST_RELEASE]:
        for j in range(scalar[JOBS]):
            if job[PHASE, j] == OUTSIDE and job[RELEASE, j] > time:
                event = min(event, job[RELEASE, j])
    if scalar[KIND] != NO_INTERRUPTS:
        for m in range(scalar[MACHINES]):
            event = min(event, machine[SHUT_AT, m])
            if machine[DOWN, m]:
                event = min(event, machine[DOWN_UNTIL, m])
    return event


@inlined
def advance(state, lane):
    """Jump to the next event; a shop without one is deadlocked (only possible without swap)."""
    scalar = state.scalar[lane]
    event = next_event(state, lane)
    stuck = state.setting[AVOID] and not may_wait(state, lane)  # shutdowns to come help nobody
    if stuck or event >= NEVER:
        scalar[STATUS] = DEADLOCK
    elif event > HORIZON_FACTOR * (scalar[TOTAL_WORK] + scalar[LOWER_BOUND]):
        scalar[STATUS] = TRUNCATED
    else:
        if state.setting[REWARD] == WAITING or state.setting[REWARD] == AREA:
            account(state, lane, event - scalar[TIME])
        scalar[TIME] = event


@compiled
def account(state, lane, passed):
    """Add up waiting jobs and idle machines with work left over the time that passes."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    for j in range(scalar[JOBS]):
        if is_waiting(job, j, scalar[TIME]):
            scalar[WAITED] += passed
    for m in range(scalar[MACHINES]):
        if machine[OCCUPANT, m] < 0 and machine[LOAD_LEFT, m] > 0:
            scalar[IDLED] += passed


# --- Decisions -------------------------------------------------------------------------------


@inlined
def is_waiting(job, j, time):
    """Tell whether a job is ready for its next operation and not on its machine."""
    return job[PHASE, j] <= BLOCKED and job[ARRIVE, j] <= time


@compiled
def closes_cycle(state, lane, j):
    """Tell whether moving job j now closes a cycle that no simultaneous exchange may solve.

    From j on its new machine, follow the holders of the machines needed next; all of them,
    processing or blocked, will want to move on.
    """
    job, operation, machine = state.job[lane], state.operation[lane], state.machine[lane]
    k = job[NEXT, j]
    entered = operation[j, k, MACHINE]
    left = job[HELD, j]
    holder, wanted = j, k + 1
    for _ in range(state.scalar[lane, JOBS]):
        if wanted >= job[COUNT, holder]:
            return False
        needed = operation[holder, wanted, MACHINE]
        if needed == entered:
            return holder != j
        if needed == left or machine[OCCUPANT, needed] < 0:
            return False
        holder = machine[OCCUPANT, needed]
        wanted = job[NEXT, holder] + (0 if job[PHASE, holder] == BLOCKED else 1)
    return False


@inlined
def may_wait(state, lane):
    """Tell whether something will complete, be repaired or be released later."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    for j in range(scalar[JOBS]):
        if job[PHASE, j] == PROCESSING:
            return True
        if job[PHASE, j] == OUTSIDE and job[RELEASE, j] > scalar[TIME]:
            return True
    if scalar[KIND] != NO_INTERRUPTS:
        for m in range(scalar[MACHINES]):
            if machine[DOWN, m]:
                return True
    return False


@inlined
def mark_legal(state, lane):
    """Write the action mask; return the number of jobs that may start now."""
    scalar, job, legal = state.scalar[lane], state.job[lane], state.legal[lane]
    machine = state.machine[lane]
    time, cap = scalar[TIME], scalar[WIP_CAP]
    admits = cap == 0 or scalar[IN_SHOP] < cap
    count = 0
    for j in range(scalar[JOBS]):
        phase, m = job[PHASE, j], job[TARGET, j]
        ready = (phase <= BLOCKED) & ((phase != OUTSIDE) | (admits & (job[RELEASE, j] <= time)))
        allowed = ready & (machine[OCCUPANT, m] < 0) & (machine[DOWN, m] == 0)
        legal[j] = allowed
        count += allowed
    if count > 0 and (state.setting[AVOID] or not state.setting[UNLOAD]):
        count = forbid_moves(state, lane)
    if state.setting[WAIT]:
        legal[-1] = count > 0 and may_wait(state, lane)
    return count


@compiled
def forbid_moves(state, lane):
    """Clear moves off a machine that is down, or into a deadlock; return what is left."""
    scalar, job, legal = state.scalar[lane], state.job[lane], state.legal[lane]
    count = 0
    for j in range(scalar[JOBS]):
        if legal[j] and job[PHASE, j] == BLOCKED and not state.setting[UNLOAD]:
            legal[j] = state.machine[lane, DOWN, job[HELD, j]] == 0
        if legal[j] and state.setting[AVOID]:
            legal[j] = not closes_cycle(state, lane, j)
        count += legal[j]
    return count


@compiled
def mark_unfinished(state, lane):
    """Write the action mask of the sequence scheme; return the number of legal jobs.

    Every job with an operation left; in the active scheme only those of the conflict set.
    """
    if state.setting[SEQUENCE] == ACTIVE_SCHEME:
        return mark_conflict(state, lane)
    count = 0
    for j in range(state.scalar[lane, JOBS]):
        unfinished = state.job[lane, PHASE, j] != DONE
        state.legal[lane, j] = unfinished
        count += unfinished
    return count


@inlined
def earliest_start(state, lane, j):
    """Return when the next operation of job j can begin, in the sequence scheme."""
    return max(state.job[lane, ARRIVE, j], state.machine[lane, FREE_AT, state.job[lane, TARGET, j]])


@compiled
def mark_conflict(state, lane):
    """Write the action mask of the active scheme; return the number of legal jobs.

    Of all next operations, take the one that can end first. Legal are the jobs whose next
    operation is on its machine and can begin before that end: whichever of them is taken, the
    schedule stays active (Giffler and Thompson, Operations Research 8 (1960)).
    """
    job, operation, legal = state.job[lane], state.operation[lane], state.legal[lane]
    end, start, where = NEVER, NEVER, -1
    for j in range(state.scalar[lane, JOBS]):
        if job[PHASE, j] != DONE:
            begin = earliest_start(state, lane, j)
            until = begin + operation[j, job[NEXT, j], DURATION]
            if until < end or (until == end and begin < start):
                end, start, where = until, begin, job[TARGET, j]
    count = 0
    for j in range(state.scalar[lane, JOBS]):
        legal[j] = 0
        if job[PHASE, j] != DONE and job[TARGET, j] == where:
            begin = earliest_start(state, lane, j)
            # An operation of no length conflicts with nothing that begins at the same time.
            legal[j] = begin < end or begin == start
            count += legal[j]
    return count


@merged
def run_to_decision(state, lane, unsettled):
    """Let time pass until there is something to decide or the episode ends.

    `unsettled` tells whether something may happen at this instant without a decision; a start
    alone leaves nothing to settle, because a move never closes a cycle by itself.
    """
    scalar, legal = state.scalar[lane], state.legal[lane]
    while True:
        if unsettled:
            settle(state, lane)
        if scalar[STATUS] != RUNNING:
            legal[:] = 0
            return
        count = mark_legal(state, lane)
        if count == 0:
            advance(state, lane)
            unsettled = True
        elif count == 1 and state.setting[TRIVIAL] and legal[-1] == 0:
            j = 0
            while legal[j] == 0:
                j += 1
            unsettled = start_next(state, lane, j)
        else:
            return


@compiled
def place_operation(state, lane, j):
    """Place the next operation of job j behind those on its machine (sequence scheme)."""
    scalar, job, operation = state.scalar[lane], state.job[lane], state.operation[lane]
    k = job[NEXT, j]
    m, duration = operation[j, k, MACHINE], operation[j, k, DURATION]
    start = max(job[ARRIVE, j], state.machine[lane, FREE_AT, m])
    end = start + duration
    operation[j, k, START] = start
    operation[j, k, PROCESSING_END] = operation[j, k, END] = end
    job[ARRIVE, j] = state.machine[lane, FREE_AT, m] = end
    state.machine[lane, LOAD_LEFT, m] -= duration
    scalar[MAKESPAN] = max(scalar[MAKESPAN], end)
    job[PHASE, j] = QUEUED
    if go_to_next(state, lane, j):
        job[PHASE, j] = DONE
        scalar[DONE_JOBS] += 1
        if scalar[DONE_JOBS] == scalar[JOBS]:
            scalar[STATUS] = FINISHED
    tell_sequence_time(state, lane)


@compiled
def tell_sequence_time(state, lane):
    """Set the clock of the sequence scheme: the earliest start that is still possible."""
    scalar, job = state.scalar[lane], state.job[lane]
    earliest = NEVER
    for j in range(scalar[JOBS]):
        if job[PHASE, j] != DONE:
            earliest = min(earliest, earliest_start(state, lane, j))
    scalar[TIME] = scalar[MAKESPAN] if earliest == NEVER else earliest


@compiled
def append_forced(state, lane):
    """Write the action mask, placing operations where there is no choice, if so configured."""
    count = mark_unfinished(state, lane)
    forced = state.setting[TRIVIAL] and state.setting[SEQUENCE] == ACTIVE_SCHEME
    while forced and count == 1:
        j = 0
        while state.legal[lane, j] == 0:
            j += 1
        place_operation(state, lane, j)
        count = mark_unfinished(state, lane)


@merged
def apply_action(state, lane, action):
    """Apply a legal action and go to the next decision."""
    scalar = state.scalar[lane]
    scalar[DECISIONS] += 1
    if state.setting[SEQUENCE]:
        place_operation(state, lane, action)
        append_forced(state, lane)
        return
    if action == state.legal.shape[1] - 1:
        scalar[WAITS] += 1
        if scalar[WAITS] >= WAITS_PER_OPERATION * scalar[OPERATIONS]:
            scalar[STATUS] = TRUNCATED
            state.legal[lane, :] = 0
            return
        advance(state, lane)
        unsettled = True
    else:
        unsettled = start_next(state, lane, action)
    run_to_decision(state, lane, unsettled)


# --- Rewards ---------------------------------------------------------------------------------


@inlined
def makespan_bound(state, lane):
    """Return a lower bound on the makespan as things stand; at the end the makespan itself.

    The largest of the trivial bound of the instance and, over jobs, the earliest time at which
    the job can go on plus the work it has left.
    """
    scalar, job, operation = state.scalar[lane], state.job[lane], state.operation[lane]
    bound = max(scalar[LOWER_BOUND], scalar[MAKESPAN])
    time = scalar[TIME]
    sequence = state.setting[SEQUENCE]
    for j in range(scalar[JOBS]):
        phase = job[PHASE, j]
        if phase == DONE:
            continue
        k = job[NEXT, j]
        if phase == PROCESSING:
            planned = job[FINISH, j] + operation[j, k + 1, WORK]
        elif phase == PAUSED:
            machine, held = state.machine[lane], job[HELD, j]
            resumed = machine[DOWN_UNTIL, held] + machine[REMAINING, held]
            planned = resumed + operation[j, k + 1, WORK]
        else:
            ready = job[ARRIVE, j] if sequence else max(job[ARRIVE, j], time)
            planned = ready + operation[j, k, WORK]
        bound = max(bound, planned)
    return bound


@inlined
def potential(state, lane):
    """Return the quantity whose growth is the cost of the chosen reward, in time units."""
    scalar, reward = state.scalar[lane], state.setting[REWARD]
    if reward == LB_DELTA:
        return makespan_bound(state, lane)
    if reward == TIME_PASSED:
        return scalar[MAKESPAN] if state.setting[SEQUENCE] else scalar[TIME]
    if reward == WAITING:
        return scalar[WAITED]
    if reward == AREA:
        return scalar[IDLED] - (scalar[TOTAL_WORK] - unstarted_work(state, lane))
    return scalar[MAKESPAN] if scalar[STATUS] == FINISHED else 0


@compiled
def unstarted_work(state, lane):
    """Return the total duration of operations that have not started."""
    work = 0
    for m in range(state.scalar[lane, MACHINES]):
        work += state.machine[lane, LOAD_LEFT, m]
    return work


@inlined
def reward_divisor(state, lane):
    """Return what a reward in time units is divided by."""
    if state.setting[REWARD] == AREA:
        return max(1.0, np.float64(state.scalar[lane, LONGEST_DURATION]))
    return state.real[lane, REWARD_SCALE]


# --- Dispatching rules -----------------------------------------------------------------------


@inlined
def count_queues(state, lane):
    """Count, for each machine, the waiting jobs and the work they bring."""
    scalar, job, machine = state.scalar[lane], state.job[lane], state.machine[lane]
    for m in range(scalar[MACHINES]):
        machine[QUEUE, m] = 0
        machine[QUEUE_WORK, m] = 0
    for j in range(scalar[JOBS]):
        if is_waiting(job, j, scalar[TIME]):
            m = job[TARGET, j]
            machine[QUEUE, m] += 1
            machine[QUEUE_WORK, m] += state.operation[lane, j, job[NEXT, j], DURATION]


@compiled
def blocking_relief(state, lane, j):
    """Return the BLKREL priority: free the machine that most jobs wait for, outsiders last."""
    job = state.job[lane]
    work = state.operation[lane, j, job[NEXT, j], WORK]
    if job[PHASE, j] == BLOCKED:
        waiting = state.machine[lane, QUEUE, job[HELD, j]]
        return -np.float64(waiting + 1) * 2.0**36 - work
    return np.float64(-work)


@compiled
def ratio(part, whole):
    """Return part / whole; of nothing, all is infinite and nothing is zero."""
    if whole > 0:
        return part / whole
    return np.inf if part > 0 else 0.0


@compiled
def rule_value(state, lane, j, rule):
    """Return the priority of job j under a rule; the smallest wins."""
    job, operation = state.job[lane], state.operation[lane, j]
    k = job[NEXT, j]
    p, remaining, total = operation[k, DURATION], operation[k, WORK], operation[0, WORK]
    left = job[COUNT, j] - k
    value = 0.0
    if rule == SPT:
        value = p
    elif rule == LPT:
        value = -p
    elif rule == MWKR:
        value = -remaining
    elif rule == LWKR:
        value = remaining
    elif rule == MOPNR:
        value = -left
    elif rule == LOPNR:
        value = left
    elif rule == FIFO:
        value = job[ARRIVE, j]
    elif rule == LIFO:
        value = -job[ARRIVE, j]
    elif rule == FDD_MWKR:
        value = ratio(total - remaining + p, remaining)
    elif rule == SPT_TWK:
        value = ratio(p, total)
    elif rule == LPT_TWK:
        value = -ratio(p, total)
    elif rule == SPT_RWK:
        value = p * remaining
    elif rule == STPT:
        value = total
    elif rule == LTPT:
        value = -total
    elif rule == LRM:
        value = p - remaining
    elif rule == LSO:
        value = -operation[k + 1, DURATION] if left > 1 else 0
    elif rule == SSO:
        value = operation[k + 1, DURATION] if left > 1 else 0
    elif rule == WINQ:
        value = state.machine[lane, QUEUE_WORK, operation[k + 1, MACHINE]] if left > 1 else 0
    elif rule == BLKREL:
        value = blocking_relief(state, lane, j)
    else:
        scalar = state.scalar[lane]
        value = uniform(np.uint64(scalar[SEED]), RANDOM_RULE, scalar[DECISIONS], j)
    return np.float64(value)


@compiled
def rule_action(state, lane, rule):
    """Return the job that a rule starts (ties: lowest index); -1 where no job is legal."""
    if rule == WINQ or rule == BLKREL:
        count_queues(state, lane)
    best, best_value = -1, np.inf
    for j in range(state.scalar[lane, JOBS]):
        if state.legal[lane, j]:
            value = rule_value(state, lane, j, rule)
            if best < 0 or value < best_value:
                best, best_value = j, value
    return best


@compiled
def noisy_rule_action(state, lane, rule, temperature, sample):
    """Draw a job by Gumbel noise on the priorities, scaled to the range of the candidates."""
    if rule == WINQ or rule == BLKREL:
        count_queues(state, lane)
    low, high = np.inf, -np.inf
    for j in range(state.scalar[lane, JOBS]):
        if state.legal[lane, j]:
            value = rule_value(state, lane, j, rule)
            low, high = min(low, value), max(high, value)
    width = high - low if 0.0 < high - low < np.inf else 1.0
    scalar = state.scalar[lane]
    best, best_value = -1, np.inf
    for j in range(scalar[JOBS]):
        if state.legal[lane, j]:
            u = uniform(np.uint64(scalar[SEED]), NOISE + 8 * sample, scalar[DECISIONS], j)
            noise = math.log(-math.log(u + 1e-300) + 1e-300)
            value = min((rule_value(state, lane, j, rule) - low) / width, 1.0)
            value += temperature * noise
            if best < 0 or value < best_value:
                best, best_value = j, value
    return best


@compiled
def run_rule(state, lane, rule):
    """Play the episode to its end under a rule."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, rule_action(state, lane, rule))


# --- Rollouts --------------------------------------------------------------------------------


@compiled
def copy_row(source, source_lane, target, target_lane):
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_between(source, source_lane, target, target_lane):
    """Copy a lane of one state into a lane of another of the same shape."""
    copy_row(source.scalar, source_lane, target.scalar, target_lane)
    copy_row(source.real, source_lane, target.real, target_lane)
    copy_row(source.job, source_lane, target.job, target_lane)
    copy_row(source.machine, source_lane, target.machine, target_lane)
    copy_row(source.operation, source_lane, target.operation, target_lane)
    copy_row(source.legal, source_lane, target.legal, target_lane)


@compiled
def expected_duration(state, lane, duration):
    """Return the duration of an operation that has not started, shutdowns included on average."""
    scalar, real = state.scalar[lane], state.real[lane]
    if duration == 0:
        return duration
    down = 0.5 * (scalar[DOWN_LOW] + scalar[DOWN_HIGH])
    if scalar[KIND] == CALENDAR:
        return np.int64(round(duration * (1.0 + real[PROBABILITY] * down)))
    lost = 0.5 * duration if state.setting[POLICY] == RESTART else 0.0
    return np.int64(round(duration + real[PROBABILITY] * (down + lost)))


@compiled
def forget_future(state, lane):
    """Turn a lane into its expectation: no shutdown to come, repairs and durations as expected.

    A search that looked at the drawn shutdowns would see the future.
    """
    scalar, job = state.scalar[lane], state.job[lane]
    machine, operation = state.machine[lane], state.operation[lane]
    for m in range(scalar[MACHINES]):
        machine[SHUT_AT, m] = NEVER
        machine[DEFERRED, m] = 0
        if machine[DOWN, m] and not state.setting[REVEAL]:
            mean = (scalar[DOWN_LOW] + scalar[DOWN_HIGH]) // 2
            elapsed = scalar[TIME] - machine[DOWN_SINCE, m]
            machine[DOWN_UNTIL, m] = scalar[TIME] + max(1, mean - elapsed)
    for j in range(scalar[JOBS]):
        unstarted = job[NEXT, j]
        if job[PHASE, j] == PROCESSING or job[PHASE, j] == PAUSED:
            unstarted += 1
        for k in range(job[COUNT, j] - 1, -1, -1):
            if k >= unstarted:
                expected = expected_duration(state, lane, operation[j, k, DURATION])
                operation[j, k, DURATION] = expected
            operation[j, k, WORK] = operation[j, k + 1, WORK] + operation[j, k, DURATION]
    scalar[KIND] = PER_OPERATION
    state.real[lane, PROBABILITY] = 0.0


@compiled
def rollout_lane(state, scratch, rules, caps, values, lane):
    """Write the makespan of each legal action followed by the best of the base policies.

    `scratch` is a state with two lanes for each lane of `state`; base policy i plays
    `rules[i]` with at most `caps[i]` jobs in the shop (0: no limit). Illegal actions get nan,
    actions from which no base policy finishes get inf. `values` has shape (B, n + 1).
    """
    origin, trial = 2 * lane, 2 * lane + 1
    copy_between(state, lane, scratch, origin)
    forget_future(scratch, origin)
    limit = state.scalar[lane, WIP_CAP]
    for action in range(values.shape[1]):
        values[lane, action] = np.inf if state.legal[lane, action] else np.nan
        if state.legal[lane, action] == 0:
            continue
        for base in range(rules.shape[0]):
            copy_between(scratch, origin, scratch, trial)
            if caps[base] > 0:
                cap = min(limit, caps[base]) if limit > 0 else caps[base]
                scratch.scalar[trial, WIP_CAP] = cap
            apply_action(scratch, trial, action)
            run_rule(scratch, trial, rules[base])
            if scratch.scalar[trial, STATUS] == FINISHED:
                makespan = np.float64(scratch.scalar[trial, MAKESPAN])
                values[lane, action] = min(values[lane, action], makespan)


# --- Observations ----------------------------------------------------------------------------


@inlined
def describe_machines(state, lane):
    """Work out, for each machine, its queue and when its operation ends."""
    count_queues(state, lane)
    job, machine = state.job[lane], state.machine[lane]
    time = state.scalar[lane, TIME]
    for m in range(state.scalar[lane, MACHINES]):
        j = machine[OCCUPANT, m]
        busy_for, holds_finished = 0, 0
        if state.setting[SEQUENCE]:
            busy_for = max(0, machine[FREE_AT, m] - time)
        elif j >= 0:
            phase = job[PHASE, j]
            if phase == PROCESSING:
                busy_for = job[FINISH, j] - time
            elif phase == PAUSED:
                down = machine[DOWN_UNTIL, m] - time if state.setting[REVEAL] else 0
                busy_for = machine[REMAINING, m] + down
            else:
                holds_finished = 1
        machine[BUSY_FOR, m] = busy_for
        machine[HOLDS_FINISHED, m] = holds_finished


@inlined
def ready_offset(state, lane, j):
    """Return the time from now until job j is ready for its next operation; negative: waiting."""
    phase = state.job[lane, PHASE, j]
    if phase == PROCESSING or phase == PAUSED:
        return state.machine[lane, BUSY_FOR, state.job[lane, HELD, j]]
    return state.job[lane, ARRIVE, j] - state.scalar[lane, TIME]


@compiled
def show_instance(state, observation, lane):
    """Write what stays the same during the episode and clear the rest."""
    job, operation = state.job[lane], state.operation[lane]
    rows, links = observation.operations[lane], observation.operation_next[lane]
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    per_job = 1.0 / max(state.real[lane, MEAN_JOB], 1e-9)
    width = operation.shape[1] - 1
    rows[:, :] = 0.0
    for j in range(job.shape[1]):
        job[SHOWN, j] = 0
        count = job[COUNT, j]
        per_total = 1.0 / max(operation[j, 0, WORK], 1)
        per_count = 1.0 / max(count, 1)
        for k in range(width):
            i, used = j * width + k, k < count
            links[i] = i + 1 if k + 1 < count else -1
            observation.operation_mask[lane, i] = used
            observation.operation_machine[lane, i] = operation[j, k, MACHINE] if used else -1
            if used:
                work = operation[j, k, WORK]
                rows[i, 0] = operation[j, k, DURATION] * per_mean
                rows[i, 2] = 1.0
                rows[i, 7] = (operation[j, 0, WORK] - work) * per_total
                rows[i, 8] = work * per_job
                rows[i, 9] = (count - k) * per_count
                rows[i, 12] = -1.0  # no start has been written yet
    for m in range(state.machine.shape[2]):
        observation.machine_mask[lane, m] = m < state.scalar[lane, MACHINES]
        observation.machines[lane, m, :] = 0.0


@inlined
def show_done(state, observation, lane, j):
    """Mark the operations of job j that are over since the last look; return the first left."""
    first = state.job[lane, NEXT, j] - (1 if state.job[lane, PHASE, j] == BLOCKED else 0)
    width = state.operation.shape[2] - 1
    for k in range(state.job[lane, SHOWN, j], first):
        i = j * width + k
        observation.operation_mask[lane, i] = 0
        observation.operation_machine[lane, i] = -1
        for column in range(1, 6):
            observation.operations[lane, i, column] = 0.0
        observation.operations[lane, i, 6] = 1.0
        for column in range(10, 14):
            observation.operations[lane, i, column] = 0.0
    state.job[lane, SHOWN, j] = first
    return first


@inlined
def show_current(state, observation, lane, j, per_mean):
    """Write the row of the operation job j is at; return the earliest end, in mean durations."""
    phase, k = state.job[lane, PHASE, j], state.job[lane, NEXT, j]
    i = j * (state.operation.shape[2] - 1) + k
    busy_for = state.machine[lane, BUSY_FOR, state.job[lane, TARGET, j]] * per_mean
    running = phase == PROCESSING or phase == PAUSED
    offset = max(0, ready_offset(state, lane, j))
    ready = not running and offset == 0
    waited = (state.scalar[lane, TIME] - state.job[lane, ARRIVE, j]) * per_mean
    earliest = 0.0 if running else max(offset * per_mean, busy_for)
    observation.operations[lane, i, 1] = busy_for if running else 0.0
    observation.operations[lane, i, 2] = 0.0 if running or ready else 1.0
    observation.operations[lane, i, 3] = 1.0 if ready else 0.0
    observation.operations[lane, i, 4] = 1.0 if running else 0.0
    observation.operations[lane, i, 10] = min(5.0, waited) if ready else 0.0
    observation.operations[lane, i, 12] = earliest
    observation.operations[lane, i, 13] = state.legal[lane, j]
    if running:
        return np.float32(busy_for)
    return np.float32(earliest + observation.operations[lane, i, 0])


@inlined
def show_operations(state, observation, lane, j, per_mean):
    """Write what changes about the operations of job j that are not over."""
    first = show_done(state, observation, lane, j)
    count, current = state.job[lane, COUNT, j], state.job[lane, NEXT, j]
    width = state.operation.shape[2] - 1
    if current == count:
        return
    if first < current:  # the operation that is finished and still holds its machine
        i = j * width + first
        for column in range(1, 5):
            observation.operations[lane, i, column] = 0.0
        observation.operations[lane, i, 5] = 1.0
        for column in range(10, 14):
            observation.operations[lane, i, column] = 0.0
    earliest = show_current(state, observation, lane, j, per_mean)
    following, end = j * width + current + 1, j * width + count
    # Each start follows from the one before: where the first has not changed, none has.
    if following < end and observation.operations[lane, following, 12] != earliest:
        for i in range(following, end):
            observation.operations[lane, i, 12] = earliest
            earliest += observation.operations[lane, i, 0]
    if state.scalar[lane, KIND] != NO_INTERRUPTS:
        for k in range(first, count):
            m = state.operation[lane, j, k, MACHINE]
            down = state.machine[lane, DOWN, m]
            observation.operations[lane, j * width + k, 11] = down
            observation.operation_machine[lane, j * width + k] = -1 if down else m


@inlined
def show_job(state, observation, lane, j, per_mean, per_job):
    """Write the row of job j."""
    phase, k = state.job[lane, PHASE, j], state.job[lane, NEXT, j]
    present = phase != DONE
    blocked = phase == BLOCKED
    held = state.job[lane, HELD, j] >= 0 or phase == QUEUED
    offset = max(-5.0, ready_offset(state, lane, j) * per_mean)
    observation.jobs[lane, j, 0] = 1.0 if held else 0.0
    observation.jobs[lane, j, 1] = 1.0 if blocked else 0.0
    observation.jobs[lane, j, 2] = offset if present else 0.0
    observation.jobs[lane, j, 3] = state.operation[lane, j, k, WORK] * per_job
    observation.jobs[lane, j, 4] = state.legal[lane, j]
    observation.job_mask[lane, j] = present
    width = state.operation.shape[2] - 1
    observation.job_operation[lane, j] = j * width + k if present else -1
    observation.wait_for[lane, j] = awaited_job(state, lane, j) if blocked else -1


@inlined
def show_machine(state, observation, lane, m, per_mean, per_jobs):
    """Write the row of machine m."""
    down = state.machine[lane, DOWN, m]
    time = state.scalar[lane, TIME]
    elapsed = 0
    if down:
        if state.setting[REVEAL]:
            elapsed = state.machine[lane, DOWN_UNTIL, m] - time
        else:
            elapsed = time - state.machine[lane, DOWN_SINCE, m]
    load = max(state.machine[lane, LOAD, m], 1)
    observation.machines[lane, m, 0] = 1.0 if state.machine[lane, OCCUPANT, m] < 0 else 0.0
    observation.machines[lane, m, 1] = state.machine[lane, HOLDS_FINISHED, m]
    observation.machines[lane, m, 2] = down
    observation.machines[lane, m, 3] = elapsed * per_mean
    observation.machines[lane, m, 4] = state.machine[lane, BUSY_FOR, m] * per_mean
    observation.machines[lane, m, 5] = state.machine[lane, QUEUE, m] * per_jobs
    observation.machines[lane, m, 6] = state.machine[lane, QUEUE_WORK, m] * per_mean
    observation.machines[lane, m, 7] = state.machine[lane, LOAD_LEFT, m] / load


@inlined
def observe_graph(state, observation, lane):
    """Write the graph observation."""
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    per_job = 1.0 / max(state.real[lane, MEAN_JOB], 1e-9)
    describe_machines(state, lane)
    for j in range(state.job.shape[2]):
        show_operations(state, observation, lane, j, per_mean)
        show_job(state, observation, lane, j, per_mean, per_job)
    per_jobs = 1.0 / state.scalar[lane, JOBS]
    for m in range(state.scalar[lane, MACHINES]):
        show_machine(state, observation, lane, m, per_mean, per_jobs)


@inlined
def show_candidate(state, row, lane, j, per_mean):
    """Write the 16 features of a job as a candidate for its next machine."""
    scalar, job = state.scalar[lane], state.job[lane]
    machine, operation = state.machine[lane], state.operation[lane, j]
    machines, total = scalar[MACHINES], max(scalar[TOTAL_WORK], 1)
    k, phase = job[NEXT, j], job[PHASE, j]
    mine = machine[:, operation[k, MACHINE]]
    waiting = is_waiting(job, j, scalar[TIME])
    row[0] = operation[k, DURATION] * per_mean
    row[1] = operation[k, WORK] / max(state.real[lane, MEAN_JOB], 1e-9)
    row[2] = (job[COUNT, j] - k) / job[COUNT, j]
    row[3] = min(max(scalar[TIME] - job[ARRIVE, j], 0) * per_mean, 5.0) / 5.0 if waiting else 0.0
    row[4] = phase == BLOCKED
    row[5] = machine[QUEUE, job[HELD, j]] / machines if phase == BLOCKED else 0.0
    row[6] = phase == OUTSIDE
    row[7] = scalar[IN_SHOP] / machines if phase == OUTSIDE else 0.0
    row[8] = mine[QUEUE] / machines
    row[9] = mine[LOAD_LEFT] * machines / total
    row[10] = row[11] = row[12] = row[13] = row[14] = 0.0
    row[15] = k + 1 == job[COUNT, j]
    if k + 1 < job[COUNT, j]:
        after = machine[:, operation[k + 1, MACHINE]]
        row[10] = after[OCCUPANT] < 0
        row[11] = after[QUEUE] / machines
        row[12] = operation[k + 1, DURATION] * per_mean
        row[13] = min(after[BUSY_FOR] * per_mean, 3.0)
        row[14] = after[HOLDS_FINISHED]


@inlined
def describe_rivals(state, lane):
    """Work out, for each machine, who may start on it now, and who comes next.

    The two largest amounts of remaining work and the two shortest durations among jobs that may
    start, and the time until the next job arrives, with its remaining work.
    """
    job, machine = state.job[lane], state.machine[lane]
    for m in range(state.scalar[lane, MACHINES]):
        machine[MOST_WORK, m] = machine[MORE_WORK, m] = -1
        machine[SHORTEST, m] = machine[SHORTER, m] = machine[ARRIVAL, m] = NEVER
        machine[ARRIVAL_WORK, m] = 0
    for j in range(state.scalar[lane, JOBS]):
        k, phase = job[NEXT, j], job[PHASE, j]
        if state.legal[lane, j]:
            at = machine[:, job[TARGET, j]]
            work, duration = (
                state.operation[lane, j, k, WORK],
                state.operation[lane, j, k, DURATION],
            )
            at[MORE_WORK] = max(at[MORE_WORK], min(at[MOST_WORK], work))
            at[MOST_WORK] = max(at[MOST_WORK], work)
            at[SHORTER] = min(at[SHORTER], max(at[SHORTEST], duration))
            at[SHORTEST] = min(at[SHORTEST], duration)
        elif state.setting[SEQUENCE] and phase != DONE:
            at = machine[:, job[TARGET, j]]
            arrival = max(job[ARRIVE, j] - state.scalar[lane, TIME], 0)
            if arrival < at[ARRIVAL]:
                at[ARRIVAL] = arrival
                at[ARRIVAL_WORK] = state.operation[lane, j, k, WORK]
        elif (phase == PROCESSING or phase == PAUSED) and k + 1 < job[COUNT, j]:
            at = machine[:, state.operation[lane, j, k + 1, MACHINE]]
            arrival = machine[BUSY_FOR, job[HELD, j]]
            if arrival < at[ARRIVAL]:
                at[ARRIVAL] = arrival
                at[ARRIVAL_WORK] = state.operation[lane, j, k + 1, WORK]


@inlined
def count_followers(state, lane):
    """Count, for each job, the blocked jobs that stand behind it in chains of waiting."""
    job = state.job[lane]
    for j in range(state.scalar[lane, JOBS]):
        job[BEHIND, j] = 0
    for j in range(state.scalar[lane, JOBS]):
        if job[PHASE, j] != BLOCKED:
            continue
        first = j
        for _ in range(state.scalar[lane, JOBS]):
            ahead = awaited_job(state, lane, first)
            if ahead < 0:
                break
            first = ahead
            if job[PHASE, first] != BLOCKED:
                break
        if first != j:
            job[BEHIND, first] += 1


@inlined
def time_left(state, lane):
    """Return a lower bound on the time until everything is done: the largest load ahead."""
    job, machine, operation = state.job[lane], state.machine[lane], state.operation[lane]
    left = 1
    for j in range(state.scalar[lane, JOBS]):
        phase, k = job[PHASE, j], job[NEXT, j]
        if phase == PROCESSING or phase == PAUSED:
            left = max(left, machine[BUSY_FOR, job[HELD, j]] + operation[j, k + 1, WORK])
        elif phase != DONE:
            ready = max(job[ARRIVE, j] - state.scalar[lane, TIME], 0)
            left = max(left, ready + operation[j, k, WORK])
    for m in range(state.scalar[lane, MACHINES]):
        left = max(left, machine[BUSY_FOR, m] + machine[LOAD_LEFT, m])
    return left


@compiled
def show_way(state, row, lane, j, per_mean):
    """Write how far the way of a job is blocked behind the machine that it would enter."""
    job, machine = state.job[lane], state.machine[lane]
    row[27] = job[BEHIND, j] / state.scalar[lane, MACHINES]
    holder = machine[OCCUPANT, state.operation[lane, j, job[NEXT, j] + 1, MACHINE]]
    length, wait = 0, 0
    while holder >= 0 and holder != j and length < state.scalar[lane, JOBS]:
        length += 1
        wait = machine[BUSY_FOR, job[HELD, holder]]
        if job[PHASE, holder] != BLOCKED:
            break
        holder = awaited_job(state, lane, holder)
    row[28] = length / state.scalar[lane, MACHINES]
    row[29] = min(wait * per_mean, 5.0)
    row[30] = closes_cycle(state, lane, j)


@inlined
def show_rivalry(state, row, lane, j, left, per_mean, per_job):
    """Write 18 more features of a job that may start: its rivals, bottlenecks, its way ahead.

    `left` is `time_left` of the shop. The columns are described in `JobShopEnv`.
    """
    scalar, job, operation = state.scalar[lane], state.job[lane], state.operation[lane, j]
    k = job[NEXT, j]
    work, duration = operation[k, WORK], operation[k, DURATION]
    mine = state.machine[lane, :, job[TARGET, j]]
    rival = mine[MORE_WORK] if work == mine[MOST_WORK] else mine[MOST_WORK]
    shorter = mine[SHORTER] if duration == mine[SHORTEST] else mine[SHORTEST]
    row[16] = (left - work) * per_job
    row[17] = (left - mine[LOAD_LEFT]) * per_job
    row[19] = (work - rival) * per_job if rival >= 0 else 0.0
    row[20] = (duration - shorter) * per_mean if shorter < NEVER else 0.0
    row[21] = min(mine[ARRIVAL] * per_mean, 3.0)
    row[22] = (mine[ARRIVAL_WORK] - work) * per_job if mine[ARRIVAL] < NEVER else 0.0
    row[25] = left * per_job
    row[26] = (scalar[TIME] + left - scalar[LOWER_BOUND]) * per_job
    start = max(max(job[ARRIVE, j] - scalar[TIME], 0), mine[BUSY_FOR])
    row[32] = min(start * per_mean, 5.0)
    row[18] = row[23] = row[24] = row[31] = row[33] = 0.0
    row[27] = row[28] = row[29] = row[30] = 0.0
    if k + 1 < job[COUNT, j]:
        after = state.machine[lane, :, operation[k + 1, MACHINE]]
        row[18] = (left - after[BUSY_FOR] - after[LOAD_LEFT]) * per_job
        row[23] = min((after[BUSY_FOR] + after[QUEUE_WORK]) * per_mean, 9.0) / 3.0
        row[24] = min(after[ARRIVAL] * per_mean, 3.0)
        row[31] = after[DOWN]
        row[33] = max(min((after[BUSY_FOR] - start - duration) * per_mean, 3.0), -3.0)
        if state.setting[BLOCKING]:
            show_way(state, row, lane, j, per_mean)


@compiled
def show_rivals(state, rows, lane):
    """Write all 34 features of the jobs that may start; other rows of `rows` (n, 34) stay."""
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    per_job = 1.0 / max(state.real[lane, MEAN_JOB], 1e-9)
    describe_machines(state, lane)
    describe_rivals(state, lane)
    if state.setting[BLOCKING]:
        count_followers(state, lane)
    left = time_left(state, lane)
    for j in range(state.scalar[lane, JOBS]):
        if state.legal[lane, j]:
            show_candidate(state, rows[j], lane, j, per_mean)
            show_rivalry(state, rows[j], lane, j, left, per_mean, per_job)


@compiled
def observe_jobs(state, observation, lane):
    """Write the candidate observation."""
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    describe_machines(state, lane)
    for j in range(state.job.shape[2]):
        present = state.job[lane, PHASE, j] != DONE
        observation.job_mask[lane, j] = present
        if present:
            show_candidate(state, observation.candidates[lane, j], lane, j, per_mean)
        else:
            observation.candidates[lane, j, :] = 0.0


@compiled
def show_operations_once(state, observation, lane):
    """Write durations and machines of all operations, which stay the same."""
    operation = state.operation[lane]
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    width = operation.shape[1] - 1
    for j in range(operation.shape[0]):
        for k in range(width):
            i = j * width + k
            observation.operation_duration[lane, i] = operation[j, k, DURATION] * per_mean
            observation.operation_machine[lane, i] = operation[j, k, MACHINE]


@compiled
def observe_instance(state, observation, lane):
    """Write what changes of the observation of the instance and its candidates."""
    observation.candidates[lane, :, :] = 0.0
    show_rivals(state, observation.candidates[lane], lane)
    width = state.operation.shape[2] - 1
    for j in range(state.job.shape[2]):
        present = state.job[lane, PHASE, j] != DONE
        observation.job_mask[lane, j] = present
        observation.job_operation[lane, j] = j * width + state.job[lane, NEXT, j] if present else -1


@merged
def observe(state, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    if state.setting[VIEW] == GRAPH_VIEW:
        if fresh:
            show_instance(state, observation, lane)
        observe_graph(state, observation, lane)
    elif state.setting[VIEW] == INSTANCE_VIEW:
        if fresh:
            show_operations_once(state, observation, lane)
        observe_instance(state, observation, lane)
    else:
        observe_jobs(state, observation, lane)
    copy_row(state.legal, lane, observation.action_mask, lane)


@compiled
def copy_observation(source, target, lane):
    """Copy the observation of a lane."""
    if source.operations.shape[0] > 0:
        copy_row(source.operations, lane, target.operations, lane)
        copy_row(source.operation_mask, lane, target.operation_mask, lane)
        copy_row(source.operation_machine, lane, target.operation_machine, lane)
        copy_row(source.operation_next, lane, target.operation_next, lane)
        copy_row(source.jobs, lane, target.jobs, lane)
        copy_row(source.job_operation, lane, target.job_operation, lane)
        copy_row(source.wait_for, lane, target.wait_for, lane)
        copy_row(source.machines, lane, target.machines, lane)
        copy_row(source.machine_mask, lane, target.machine_mask, lane)
    elif source.operation_duration.shape[0] > 0:
        copy_row(source.operation_duration, lane, target.operation_duration, lane)
        copy_row(source.operation_machine, lane, target.operation_machine, lane)
        copy_row(source.job_operation, lane, target.job_operation, lane)
        copy_row(source.candidates, lane, target.candidates, lane)
    else:
        copy_row(source.candidates, lane, target.candidates, lane)
    copy_row(source.job_mask, lane, target.job_mask, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)


# --- One lane: what an environment does ------------------------------------------------------


@compiled
def restart_lane(state, source, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative."""
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    reset_lane(state, source, lane)
    observe(state, observation, lane, True)


@inlined
def play_action(state, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar = state.scalar[lane]
    scalar[ELAPSED] += 1
    legal = 0 <= action < state.legal.shape[1] and state.legal[lane, action] == 1
    outcome.invalid[lane] = not legal
    if legal:
        before = scalar[POTENTIAL]
        apply_action(state, lane, action)
        scalar[POTENTIAL] = potential(state, lane)
        cost = np.float64(scalar[POTENTIAL] - before)
        if scalar[STATUS] == DEADLOCK:
            cost += scalar[TOTAL_WORK]
        outcome.reward[lane] = -cost / reward_divisor(state, lane)
    else:
        outcome.reward[lane] = INVALID_ACTION_REWARD
    limit = state.setting[STEP_LIMIT]
    status = scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED or status == DEADLOCK
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_log(state, outcome, lane):
    """Copy the schedule of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.real, lane, outcome.real, lane)
    for j in range(state.operation.shape[1]):
        for k in range(state.operation.shape[2] - 1):
            row = state.operation[lane, j, k]
            outcome.start[lane, j, k] = row[START]
            outcome.processing_end[lane, j, k] = row[PROCESSING_END]
            outcome.end[lane, j, k] = row[END]
            outcome.down_begin[lane, j, k] = row[DOWN_BEGIN]
            outcome.down_end[lane, j, k] = row[DOWN_END]
            outcome.machine[lane, j, k] = row[MACHINE]


@inlined
def step_lane(state, source, observation, final, outcome, actions, autoreset, lane):
    """Step a lane; at the end of its episode write the log and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, outcome, actions[lane], lane)
    if status != RUNNING:
        write_log(state, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, source, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some forty arrays for every call they make;
# a call that does a block of lanes makes that cheap.


@inlined
def block_end(state, block):
    """Return the lane behind a block of `LANES_PER_BLOCK` lanes."""
    return min((block + 1) * LANES_PER_BLOCK, state.scalar.shape[0])


@inlined
def num_blocks(state):
    """Return the number of blocks."""
    return (state.scalar.shape[0] + LANES_PER_BLOCK - 1) // LANES_PER_BLOCK


@compiled
def reset_block(state, source, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, source, observation, seeds[lane], lane)


@compiled
def step_block(state, source, observation, final, outcome, actions, autoreset, chosen, block):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            step_lane(state, source, observation, final, outcome, actions, autoreset, lane)


@compiled
def observe_block(state, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, observation, lane, True)


@compiled
def rule_action_block(state, rule, actions, block):
    """Write the actions of a rule for a block; -1 where nothing is legal."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, lane, rule)


@compiled
def run_rule_block(state, outcome, rule, temperature, samples, block):
    """Play the lanes of a block to their end under a rule, with noise if there is a temperature."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if temperature > 0.0:
            while state.scalar[lane, STATUS] == RUNNING:
                action = noisy_rule_action(state, lane, rule, temperature, samples[lane])
                apply_action(state, lane, action)
        else:
            run_rule(state, lane, rule)
        write_log(state, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, source, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(state, source, observation, seeds, chosen, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def step_batch(state, source, observation, final, outcome, actions, autoreset, chosen):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, source, observation, final, outcome, actions, autoreset, chosen, np.int64(block)
        )


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, rule, actions):
    """Write the action of a rule for each lane; -1 where nothing is legal."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, outcome, rule, temperature, samples):
    """Play every lane to its end under a rule, with noise where the temperature is positive."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, outcome, rule, temperature, samples, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rollout_batch(state, scratch, rules, caps, values):
    """Write the rollout values of all lanes."""
    for index in prange(state.scalar.shape[0]):
        lane = np.int64(index)  # the unsigned index would turn sums into floats
        rollout_lane(state, scratch, rules, caps, values, lane)
