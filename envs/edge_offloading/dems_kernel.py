"""The transition kernel of the deadline family: arrays in, arrays out, compiled by Numba.

Time is whole milliseconds. The state of a batch of runs is a tuple of arrays whose first axis is
the lane; each function works on one lane. At each arrival a task goes to the edge's queue, to the
cloud, on hold, or is dropped. Events at one instant happen in the order: end of a window, ends of
runs (edge, then cloud by task), starts on the cloud, releases from hold, decisions about what has
arrived one after the other, start at the edge.

Source: arXiv 2412.20860 and GitHub ``dream-lab/ocularone-scheduler``.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.edge_offloading.dems_rules import (
    ADAPTS,
    ALWAYS,
    BY_ARRIVAL,
    BY_BENEFIT,
    BY_DEADLINE,
    BY_TIME,
    CHECKS,
    DISCIPLINE_OF,
    DISCIPLINE_TABLE,
    KEEPS,
    LOSERS_WAIT,
    MIGRATES,
    MOVED_WAIT,
    NEVER,
    ORDER,
    RULES,
    STEALS,
)
from dispatchgym.envs.edge_offloading.dems_tables import (
    BENEFIT,
    BONUS,
    CLOUD_COST,
    CLOUD_TIME,
    DEADLINE,
    EDGE_COST,
    EDGE_TIME,
    HORIZON,
    MODELS,
    REQUIRED,
    SLOTS,
    SURGE_HEIGHT,
    SURGE_LENGTH,
    SURGE_RAMP,
    SURGE_START,
    TASKS,
    WINDOW,
)

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""

# Columns of State.setting, shared by all lanes.
SKIPS_NEXT, CREDIT_AT_DECISION, STEP_LIMIT, PAPER_SCALE, SHOW_MARGINALS, OWN_DISCIPLINE = range(6)
NUM_SETTINGS = 6

# Columns of State.scalar, integers of one lane.
NOW, NEXT, STATUS, ELAPSED, EDGE_TASK, EDGE_END, QUEUED, HELD, SENT, STARTED, RUNNING = range(11)
WINDOW_END, KEEP_DUE, DISCIPLINE, BASE_SEED, EPISODE, SEED = range(11, 17)
NUM_SCALARS = 17
PLAYING, FINISHED, TRUNCATED = range(3)

# Columns of State.real, floats of one lane.
QOS, QOE, PROMISED, UTILITY_UNIT, BONUS_UNIT, PRICE = range(6)
NUM_REALS = 6

# Columns of State.standing, integers of each model.
ENDED, IN_TIME, EXPECTED, SAMPLES, SAMPLE_SUM, SAMPLE_AT, COOLING_SINCE = range(7)
NUM_STANDINGS = 7
SAMPLES_KEPT = 10

# Columns of State.log.
(DECIDED, ACTION, MOVED, HELD_FROM, HELD_UNTIL, SENT_AT, PLACE, START, END,
 OUTCOME, FORESEEN) = range(11)  # fmt: skip
NUM_LOG_COLUMNS = 11
DONE, LATE, DROPPED, EXPIRED = range(4)

CLOUD, EDGE, DROP, HOLD = range(4)
"""What can become of a task; the environment numbers dropping and holding after all servers."""

BUFFER = 10
"""Tasks on hold leave so long before it would be too late ..."""
EARLIEST, LATEST = 50, -10
"""... or between so much before and after that, when they are looked at, ..."""
POLL = 10
"""... which happens so often."""
LONGEST_STOLEN, SHORTEST_STOLEN = 742, 132
"""Allowance for stealing when nothing is queued; less than this is no allowance."""
COOLING = 10_000
CHANGE = 10
"""What is expected of the cloud changes by more than this or not at all."""
INFINITE = np.int64(2**40)

RANDOM_RULE, CLD_RULE, DEMS_RULE = RULES.index("random"), RULES.index("cld"), RULES.index("dems")
SHADOW_RULE, ROLLOUT_RULE = RULES.index("shadow_price"), RULES.index("rollout")
PAPER_UNIT = 100.0
PRICE_FACTOR = 0.9
"""What the edge's time is worth, over its price in the fluid bound: ties go to the edge."""


class State(NamedTuple):
    """A batch of B runs of at most N tasks of at most M models, on at most C cloud slots.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS). real: float64 (B, NUM_REALS).
        numbers to phase: the instances, as in `DeadlineRows`.
        standing: int64 (B, M, NUM_STANDINGS). sample: int64 (B, M, SAMPLES_KEPT).
        queue, held: int32 (B, N), tasks at the edge in their order, tasks on hold by last moment.
        sent: int32 (B, N), tasks sent to the cloud, first STARTED of them have started.
        cloud: int64 (B, C, 2), end and task of the runs on the cloud.
        moving: int32 (B, N), tasks that are being moved.
        expected: int32 (B, N), time that the cloud was expected to take.
        trigger: int32 (B, N), last moment of tasks on hold.
        restored: int8 (B, N), whether the expectation was put back to the profile's.
        worth: float64 (B, N), utility that is promised by where a task is.
        log: int32 (B, N, NUM_LOG_COLUMNS).
    """

    setting: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    numbers: np.ndarray
    times: np.ndarray
    moneys: np.ndarray
    release: np.ndarray
    model: np.ndarray
    drone: np.ndarray
    cloud_time: np.ndarray
    phase: np.ndarray
    standing: np.ndarray
    sample: np.ndarray
    queue: np.ndarray
    held: np.ndarray
    sent: np.ndarray
    cloud: np.ndarray
    moving: np.ndarray
    expected: np.ndarray
    trigger: np.ndarray
    restored: np.ndarray
    worth: np.ndarray
    log: np.ndarray


# --- What a task is worth, and how long it has -----------------------------------------------


@compiled
def rule_of(state, lane, column):
    """Return a column of the lane's discipline."""
    return DISCIPLINE_TABLE[state.scalar[lane, DISCIPLINE], column]


@compiled
def edge_time(state, lane, task):
    """Return the time of a run at the edge."""
    return state.times[lane, state.model[lane, task], EDGE_TIME]


@compiled
def latest_end(state, lane, task):
    """Return the instant at which a task is late."""
    return state.release[lane, task] + state.times[lane, state.model[lane, task], DEADLINE]


@compiled
def time_left(state, lane, task):
    """Return the milliseconds until a task is late."""
    return latest_end(state, lane, task) - state.scalar[lane, NOW]


@compiled
def pays_on_cloud(state, lane, task):
    """Tell whether a run on the cloud that is in time earns more than it costs."""
    money = state.moneys[lane, state.model[lane, task]]
    return money[BENEFIT] > money[CLOUD_COST]


@compiled
def edge_utility(state, lane, task):
    """Return what a run at the edge in time is worth."""
    money = state.moneys[lane, state.model[lane, task]]
    return money[BENEFIT] - money[EDGE_COST]


@compiled
def cloud_utility(state, lane, task):
    """Return what a run on the cloud in time is worth."""
    money = state.moneys[lane, state.model[lane, task]]
    return money[BENEFIT] - money[CLOUD_COST]


@compiled
def promise(state, lane, task, worth):
    """Note what utility a task is now expected to bring."""
    state.real[lane, PROMISED] += worth - state.worth[lane, task]
    state.worth[lane, task] = worth


@compiled
def end_task(state, lane, task, outcome, utility):
    """Book what has become of a task."""
    model = state.model[lane, task]
    promise(state, lane, task, 0.0)
    state.log[lane, task, OUTCOME] = outcome
    state.log[lane, task, END] = state.scalar[lane, NOW]
    state.real[lane, QOS] += utility
    state.standing[lane, model, ENDED] += 1
    if outcome == DONE:
        state.standing[lane, model, IN_TIME] += 1
    state.scalar[lane, KEEP_DUE] = 1


@compiled
def finish_run(state, lane, task, cost_column):
    """Book the end of a run; tell whether it was in time."""
    money = state.moneys[lane, state.model[lane, task]]
    in_time = time_left(state, lane, task) >= 0
    earned = money[BENEFIT] if in_time else 0.0
    end_task(state, lane, task, DONE if in_time else LATE, earned - money[cost_column])
    return in_time


# --- The cloud -------------------------------------------------------------------------------


@compiled
def surge(state, lane):
    """Return the extra latency of the network now: a trapezium in time."""
    numbers = state.numbers[lane]
    if numbers[SURGE_HEIGHT] == 0:
        return 0
    into = state.scalar[lane, NOW] - numbers[SURGE_START]
    edge = min(into, numbers[SURGE_LENGTH] - into)
    if edge <= 0:
        return 0
    return numbers[SURGE_HEIGHT] * min(edge, numbers[SURGE_RAMP]) // numbers[SURGE_RAMP]


@compiled
def start_on_cloud(state, lane):
    """Start what has been sent to the cloud while slots are free; drop what cannot be in time."""
    scalar = state.scalar[lane]
    while scalar[STARTED] < scalar[SENT] and scalar[RUNNING] < state.numbers[lane, SLOTS]:
        task = state.sent[lane, scalar[STARTED]]
        scalar[STARTED] += 1
        if state.expected[lane, task] < time_left(state, lane, task):
            end = scalar[NOW] + state.cloud_time[lane, task] + surge(state, lane)
            state.cloud[lane, scalar[RUNNING], 0] = end
            state.cloud[lane, scalar[RUNNING], 1] = task
            scalar[RUNNING] += 1
            state.log[lane, task, PLACE] = CLOUD
            state.log[lane, task, START] = scalar[NOW]
        else:
            end_task(state, lane, task, EXPIRED, 0.0)


@compiled
def send(state, lane, task):
    """Send a task to the cloud."""
    scalar = state.scalar[lane]
    state.sent[lane, scalar[SENT]] = task
    scalar[SENT] += 1
    state.log[lane, task, SENT_AT] = scalar[NOW]
    promise(state, lane, task, cloud_utility(state, lane, task))
    start_on_cloud(state, lane)


@compiled
def learn_cloud_time(state, lane, task, in_time):
    """Let the expected time follow the last runs; a run in time ends cooling."""
    model = state.model[lane, task]
    standing, sample = state.standing[lane, model], state.sample[lane, model]
    taken = state.log[lane, task, END] - state.log[lane, task, START]
    if in_time and standing[COOLING_SINCE] >= 0:
        standing[COOLING_SINCE] = -1
    elif in_time and state.restored[lane, task]:
        for i in range(SAMPLES_KEPT):
            sample[i] = taken
        standing[SAMPLES], standing[SAMPLE_SUM] = SAMPLES_KEPT, SAMPLES_KEPT * taken
    if standing[SAMPLES] == SAMPLES_KEPT:
        standing[SAMPLE_SUM] -= sample[standing[SAMPLE_AT]]
    else:
        standing[SAMPLES] += 1
    sample[standing[SAMPLE_AT]] = taken
    standing[SAMPLE_SUM] += taken
    standing[SAMPLE_AT] = (standing[SAMPLE_AT] + 1) % SAMPLES_KEPT
    mean = standing[SAMPLE_SUM] // SAMPLES_KEPT
    if standing[SAMPLES] == SAMPLES_KEPT and abs(standing[EXPECTED] - mean) > CHANGE:
        standing[EXPECTED] = mean


@compiled
def end_cloud_runs(state, lane):
    """Book the runs on the cloud that end now, the lowest task first."""
    scalar, cloud = state.scalar[lane], state.cloud[lane]
    while True:
        first = -1
        for i in range(scalar[RUNNING]):
            if cloud[i, 0] == scalar[NOW] and (first < 0 or cloud[i, 1] < cloud[first, 1]):
                first = i
        if first < 0:
            break
        task = cloud[first, 1]
        scalar[RUNNING] -= 1
        cloud[first, 0], cloud[first, 1] = cloud[scalar[RUNNING], 0], cloud[scalar[RUNNING], 1]
        in_time = finish_run(state, lane, task, CLOUD_COST)
        if rule_of(state, lane, ADAPTS):
            learn_cloud_time(state, lane, task, in_time)


# --- Holding ---------------------------------------------------------------------------------


@compiled
def last_moment(state, lane, task):
    """Return when a task must leave its hold: for the cloud, or the edge if the cloud loses."""
    if pays_on_cloud(state, lane, task):
        needed = np.int64(state.expected[lane, task])
    else:
        needed = edge_time(state, lane, task)
    return latest_end(state, lane, task) - needed - BUFFER


@compiled
def hold(state, lane, task):
    """Let a task wait for the edge to steal it, sorted by its last moment."""
    scalar, held, trigger = state.scalar[lane], state.held[lane], state.trigger[lane]
    trigger[task] = last_moment(state, lane, task)
    i = scalar[HELD]
    while i > 0 and trigger[held[i - 1]] > trigger[task]:
        held[i] = held[i - 1]
        i -= 1
    held[i] = task
    scalar[HELD] += 1
    state.log[lane, task, HELD_FROM] = scalar[NOW]
    promise(state, lane, task, max(0.0, cloud_utility(state, lane, task)))


@compiled
def take_held(state, lane, i):
    """Take the i-th task out of hold."""
    scalar, held = state.scalar[lane], state.held[lane]
    task = held[i]
    scalar[HELD] -= 1
    for j in range(i, scalar[HELD]):
        held[j] = held[j + 1]
    state.log[lane, task, HELD_UNTIL] = scalar[NOW]
    return task


@compiled
def next_release(state, lane):
    """Return when the first task on hold leaves: it is looked at every `POLL` milliseconds."""
    if state.scalar[lane, HELD] == 0:
        return INFINITE
    task = state.held[lane, 0]
    due = max(state.log[lane, task, HELD_FROM], state.trigger[lane, task] - EARLIEST)
    return np.int64((due + POLL - 1) // POLL * POLL)


@compiled
def release_held(state, lane):
    """Send the first task on hold to the cloud, or drop it where that is too late or loses."""
    task = take_held(state, lane, 0)
    late = state.trigger[lane, task] - state.scalar[lane, NOW] < LATEST
    if late or not pays_on_cloud(state, lane, task):
        end_task(state, lane, task, DROPPED, 0.0)
    else:
        send(state, lane, task)


# --- Going to the cloud later ----------------------------------------------------------------


@compiled
def cloud_in_time(state, lane, task):
    """Tell whether the cloud is expected to take no longer than a task has."""
    return state.expected[lane, task] <= time_left(state, lane, task)


@compiled
def has_cooled(state, lane, task):
    """Tell whether a model was refused the cloud long enough ago to try it again."""
    since = state.standing[lane, state.model[lane, task], COOLING_SINCE]
    return since >= 0 and state.scalar[lane, NOW] - since > COOLING


@compiled
def would_be_in_time(state, lane, task):
    """Tell whether the cloud would be in time as the profile says."""
    usual = state.times[lane, state.model[lane, task], CLOUD_TIME]
    return usual <= time_left(state, lane, task)


@compiled
def refuse(state, lane, task):
    """Note that the cloud is too slow for a task: begin to cool, or if cooled, try the usual time.

    Returns:
        Whether the task may go to the cloud after all.
    """
    if not rule_of(state, lane, ADAPTS):
        return False
    model = state.model[lane, task]
    if has_cooled(state, lane, task):
        state.standing[lane, model, COOLING_SINCE] = -1
        state.expected[lane, task] = state.times[lane, model, CLOUD_TIME]
        state.restored[lane, task] = 1
        state.log[lane, task, FORESEEN] = state.expected[lane, task]
        return would_be_in_time(state, lane, task)
    if state.standing[lane, model, COOLING_SINCE] < 0:
        state.standing[lane, model, COOLING_SINCE] = state.scalar[lane, NOW]
    return False


@compiled
def move(state, lane, task):
    """Find another place for a task that was taken out of the edge's queue."""
    state.log[lane, task, MOVED] = state.scalar[lane, NOW]
    if not pays_on_cloud(state, lane, task):
        if rule_of(state, lane, LOSERS_WAIT):
            hold(state, lane, task)
        else:
            end_task(state, lane, task, DROPPED, 0.0)
    elif cloud_in_time(state, lane, task) or refuse(state, lane, task):
        if rule_of(state, lane, MOVED_WAIT):
            hold(state, lane, task)
        else:
            send(state, lane, task)
    else:
        end_task(state, lane, task, DROPPED, 0.0)


# --- The edge --------------------------------------------------------------------------------


@compiled
def priority(state, lane, task, order):
    """Return a task's place in an order of the queue; smaller is earlier."""
    model = state.model[lane, task]
    if order == BY_ARRIVAL:
        return np.float64(task)
    if order == BY_DEADLINE:
        return np.float64(state.times[lane, model, DEADLINE])
    if order == BY_TIME:
        return np.float64(state.times[lane, model, EDGE_TIME])
    if order == BY_BENEFIT:
        return -state.moneys[lane, model, BENEFIT]
    return -edge_utility(state, lane, task)


@compiled
def queue_place(state, lane, task, order):
    """Return how many queued tasks stand before a new one."""
    own, place = priority(state, lane, task, order), 0
    while (
        place < state.scalar[lane, QUEUED]
        and priority(state, lane, np.int64(state.queue[lane, place]), order) <= own
    ):
        place += 1
    return place


@compiled
def priority_order(state, lane):
    """Return the order of the lane's queue."""
    return rule_of(state, lane, ORDER)


@compiled
def wait_before(state, lane, place):
    """Return the time until the edge has done the first `place` queued tasks."""
    scalar = state.scalar[lane]
    total = max(scalar[EDGE_END] - scalar[NOW], 0) if scalar[EDGE_TASK] >= 0 else 0
    for i in range(place):
        total += edge_time(state, lane, state.queue[lane, i])
    return total


@compiled
def score(state, lane, task):
    """Return what is lost if a task does not run at the edge."""
    money = state.moneys[lane, state.model[lane, task]]
    in_time = state.expected[lane, task] < time_left(state, lane, task)
    if in_time and money[BENEFIT] >= money[CLOUD_COST]:
        return abs(money[CLOUD_COST] - money[EDGE_COST])
    return money[BENEFIT] - money[EDGE_COST]


@compiled
def made_late(state, lane, place, busy, removing):
    """Go through the queue from a place on and sum the scores of tasks that would be late.

    Args:
        state: the lanes.
        lane: the lane.
        place: where the new task would stand.
        busy: time until the new task would be done.
        removing: take these tasks out of the queue, into `moving`.

    Returns:
        Their number, the sum of their scores, and their time.
    """
    scalar, queue = state.scalar[lane], state.queue[lane]
    first = place + state.setting[SKIPS_NEXT]
    count, total, freed, kept = 0, 0.0, 0, first
    for i in range(first, scalar[QUEUED]):
        task = queue[i]
        needed = edge_time(state, lane, task)
        if time_left(state, lane, task) < busy + needed:
            total += score(state, lane, task)
            freed += needed
            state.moving[lane, count] = task
            count += 1
        else:
            busy += needed
            if removing:
                queue[kept] = task
                kept += 1
    if removing and count > 0:
        scalar[QUEUED] = kept
    return count, total, freed


@compiled
def enqueue(state, lane, task):
    """Put a task into the edge's queue; move those that it makes late if the discipline does."""
    scalar, queue = state.scalar[lane], state.queue[lane]
    place = queue_place(state, lane, task, priority_order(state, lane))
    count = 0
    if rule_of(state, lane, MIGRATES):
        busy = wait_before(state, lane, place) + edge_time(state, lane, task)
        count, _, _ = made_late(state, lane, place, busy, True)
    for i in range(scalar[QUEUED], place, -1):
        queue[i] = queue[i - 1]
    queue[place] = task
    scalar[QUEUED] += 1
    promise(state, lane, task, edge_utility(state, lane, task))
    for i in range(count):
        move(state, lane, np.int64(state.moving[lane, i]))


@compiled
def start_at_edge(state, lane, task):
    """Start a run at the edge."""
    scalar = state.scalar[lane]
    scalar[EDGE_TASK] = task
    scalar[EDGE_END] = scalar[NOW] + edge_time(state, lane, task)
    state.log[lane, task, PLACE] = EDGE
    state.log[lane, task, START] = scalar[NOW]
    promise(state, lane, task, edge_utility(state, lane, task))


@compiled
def delays_queue(state, lane, busy):
    """Tell whether a queued task would be late if the edge were busy so long first."""
    for i in range(state.scalar[lane, QUEUED]):
        task = state.queue[lane, i]
        busy += edge_time(state, lane, task)
        if busy > time_left(state, lane, task):
            return True
    return False


@compiled
def stealing_key(state, lane, task):
    """Return how much is won by running a held task at the edge: utility a second."""
    money = state.moneys[lane, state.model[lane, task]]
    won = (money[CLOUD_COST] - money[EDGE_COST]) * 1000.0 / edge_time(state, lane, task)
    return won + 1000.0 if money[BENEFIT] < money[CLOUD_COST] else won


@compiled
def best_to_steal(state, lane):
    """Return the position of the held task that the free edge runs next, or -1."""
    scalar = state.scalar[lane]
    allowance = np.int64(LONGEST_STOLEN)
    if scalar[QUEUED] > 0:
        head = np.int64(state.queue[lane, 0])
        allowance = time_left(state, lane, head) - edge_time(state, lane, head) - BUFFER
        if allowance <= SHORTEST_STOLEN:
            return -1
    elif rule_of(state, lane, STEALS) != ALWAYS:
        return -1
    best, best_key = -1, 0.0
    for i in range(scalar[HELD]):
        task = np.int64(state.held[lane, i])
        needed, key = edge_time(state, lane, task), stealing_key(state, lane, task)
        fits = needed < allowance and needed < time_left(state, lane, task)
        if fits and (best < 0 or key > best_key) and not delays_queue(state, lane, needed):
            best, best_key = i, key
    return best


@compiled
def serve(state, lane):
    """Give the edge work while it is free: a stolen task, or the first of the queue in time."""
    scalar, queue = state.scalar[lane], state.queue[lane]
    while scalar[EDGE_TASK] < 0:
        if scalar[HELD] > 0 and rule_of(state, lane, STEALS) != NEVER:
            stolen = best_to_steal(state, lane)
            if stolen >= 0:
                start_at_edge(state, lane, np.int64(take_held(state, lane, stolen)))
                break
        if scalar[QUEUED] == 0:
            break
        task = np.int64(queue[0])
        scalar[QUEUED] -= 1
        for i in range(scalar[QUEUED]):
            queue[i] = queue[i + 1]
        if edge_time(state, lane, task) < time_left(state, lane, task):
            start_at_edge(state, lane, task)
        else:
            end_task(state, lane, task, EXPIRED, 0.0)


@compiled
def keep_up(state, lane):
    """Move queued tasks of models that are behind in their window to the cloud."""
    scalar, queue = state.scalar[lane], state.queue[lane]
    while scalar[KEEP_DUE]:
        scalar[KEEP_DUE] = 0
        if not rule_of(state, lane, KEEPS):
            break
        count, kept = 0, 0
        for i in range(scalar[QUEUED]):
            task = np.int64(queue[i])
            model = state.model[lane, task]
            standing = state.standing[lane, model]
            behind = standing[IN_TIME] < state.moneys[lane, model, REQUIRED] * standing[ENDED]
            in_time = state.expected[lane, task] < time_left(state, lane, task)
            if behind and in_time and pays_on_cloud(state, lane, task):
                state.moving[lane, count] = task
                count += 1
            else:
                queue[kept] = task
                kept += 1
        scalar[QUEUED] = kept
        for i in range(count):
            task = np.int64(state.moving[lane, i])
            state.log[lane, task, MOVED] = scalar[NOW]
            send(state, lane, task)


# --- Time ------------------------------------------------------------------------------------


@compiled
def close_window(state, lane):
    """Pay the bonuses of the window that ends, and begin the next."""
    for m in range(state.numbers[lane, MODELS]):
        standing, money = state.standing[lane, m], state.moneys[lane, m]
        if 0 < standing[ENDED] and money[REQUIRED] * standing[ENDED] <= standing[IN_TIME]:
            state.real[lane, QOE] += money[BONUS]
        standing[ENDED] = standing[IN_TIME] = 0
    state.scalar[lane, WINDOW_END] += state.numbers[lane, WINDOW]


@compiled
def next_event(state, lane):
    """Return the instant of the next event, arrivals included."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    time = next_release(state, lane)
    if scalar[NEXT] < numbers[TASKS]:
        time = min(time, state.release[lane, scalar[NEXT]])
    if scalar[EDGE_TASK] >= 0:
        time = min(time, scalar[EDGE_END])
    if scalar[WINDOW_END] <= numbers[HORIZON]:
        time = min(time, scalar[WINDOW_END])
    for i in range(scalar[RUNNING]):
        time = min(time, state.cloud[lane, i, 0])
    return time


@compiled
def has_arrived(state, lane):
    """Tell whether the next task is there."""
    task = state.scalar[lane, NEXT]
    if task >= state.numbers[lane, TASKS]:
        return False
    return state.release[lane, task] == state.scalar[lane, NOW]


@compiled
def end_runs(state, lane):
    """Book the runs that end now."""
    scalar = state.scalar[lane]
    if scalar[EDGE_TASK] >= 0 and scalar[EDGE_END] == scalar[NOW]:
        task = scalar[EDGE_TASK]
        scalar[EDGE_TASK] = -1
        finish_run(state, lane, task, EDGE_COST)
    end_cloud_runs(state, lane)


@compiled
def pass_instant(state, lane):
    """Let everything happen that happens now before decisions, and after them."""
    scalar = state.scalar[lane]
    if scalar[WINDOW_END] == scalar[NOW] and scalar[NOW] <= state.numbers[lane, HORIZON]:
        close_window(state, lane)
    end_runs(state, lane)
    start_on_cloud(state, lane)
    while next_release(state, lane) <= scalar[NOW]:
        release_held(state, lane)
    keep_up(state, lane)
    if not has_arrived(state, lane):
        serve(state, lane)
        keep_up(state, lane)


@compiled
def go_to_next_decision(state, lane):
    """Let time pass until a task arrives, or after the last one, until all has ended."""
    scalar = state.scalar[lane]
    while True:
        pass_instant(state, lane)
        if has_arrived(state, lane):
            task = scalar[NEXT]
            state.expected[lane, task] = state.standing[lane, state.model[lane, task], EXPECTED]
            state.restored[lane, task] = 0
            state.worth[lane, task] = 0.0
            break
        time = next_event(state, lane)
        if time == INFINITE:
            scalar[STATUS] = FINISHED
            break
        scalar[NOW] = time


# --- Decisions -------------------------------------------------------------------------------


@compiled
def is_legal(state, lane, action):
    """Tell whether the task that has arrived can go somewhere."""
    scalar = state.scalar[lane]
    task = scalar[NEXT]
    if scalar[STATUS] != PLAYING:
        return False
    if action == CLOUD:
        return state.expected[lane, task] < time_left(state, lane, task)
    if action == EDGE:
        order = priority_order(state, lane)
        return rule_of(state, lane, CHECKS) == 0 or fits_at_edge(state, lane, task, order)
    if action == HOLD:
        if not pays_on_cloud(state, lane, task):
            return edge_time(state, lane, task) <= time_left(state, lane, task)
        return cloud_in_time(state, lane, task) or may_try_again(state, lane, task)
    return True


@compiled
def may_try_again(state, lane, task):
    """Tell whether a task that the cloud is too slow for may go there as after a pause."""
    adapts = rule_of(state, lane, ADAPTS)
    return adapts and has_cooled(state, lane, task) and would_be_in_time(state, lane, task)


@compiled
def fits_at_edge(state, lane, task, order):
    """Tell whether a new task would be in time in the edge's queue."""
    place = queue_place(state, lane, task, order)
    busy = wait_before(state, lane, place) + edge_time(state, lane, task)
    return busy < time_left(state, lane, task)


@compiled
def worth_its_place(state, lane, task, order):
    """Tell whether a new task is worth more at the edge than those that it makes late."""
    place = queue_place(state, lane, task, order)
    busy = wait_before(state, lane, place) + edge_time(state, lane, task)
    _, lost, _ = made_late(state, lane, place, busy, False)
    return place == state.scalar[lane, QUEUED] or lost < score(state, lane, task)


@compiled
def edge_gain(state, lane, task):
    """Return what is won by running a new task at the edge, less what its time there is worth."""
    place = queue_place(state, lane, task, priority_order(state, lane))
    needed = edge_time(state, lane, task)
    busy = wait_before(state, lane, place) + needed
    _, lost, freed = made_late(state, lane, place, busy, False)
    return score(state, lane, task) - lost - state.real[lane, PRICE] * (needed - freed)


@compiled
def apply_action(state, lane, action):
    """Place the task that has arrived and go to the next decision."""
    scalar = state.scalar[lane]
    task = scalar[NEXT]
    state.log[lane, task, DECIDED] = scalar[NOW]
    state.log[lane, task, ACTION] = action
    state.log[lane, task, FORESEEN] = state.expected[lane, task]
    scalar[NEXT] += 1
    if action == CLOUD:
        send(state, lane, task)
    elif action == EDGE:
        enqueue(state, lane, task)
    else:
        if pays_on_cloud(state, lane, task) and not cloud_in_time(state, lane, task):
            refuse(state, lane, task)
        if action == HOLD:
            hold(state, lane, task)
        else:
            end_task(state, lane, task, DROPPED, 0.0)
    go_to_next_decision(state, lane)


@compiled
def away_from_edge(state, lane, task, rule):
    """Return what a rule does with a task that does not go to the edge.

    Where the edge steals, tasks for the cloud wait for it; those that lose money on the cloud do
    where it also steals when nothing is queued.
    """
    steals = DISCIPLINE_TABLE[rule, STEALS]
    if not pays_on_cloud(state, lane, task):
        return HOLD if steals == ALWAYS and is_legal(state, lane, HOLD) else DROP
    action = CLOUD if steals == NEVER else HOLD
    return action if is_legal(state, lane, action) else DROP


@compiled
def random_action(state, lane):
    """Return a random legal action, keyed by seed and task."""
    legal = 0
    for action in range(4):
        legal += is_legal(state, lane, action)
    seed = np.uint64(state.scalar[lane, SEED])
    chosen = np.int64(uniform(seed, RANDOM_RULE, state.scalar[lane, NEXT], 0) * legal)
    for action in range(4):
        if is_legal(state, lane, action):
            if chosen == 0:
                return action
            chosen -= 1
    return DROP


@compiled
def shadow_action(state, lane):
    """Return what the rule does that charges for the edge's time."""
    task = state.scalar[lane, NEXT]
    if is_legal(state, lane, EDGE) and edge_gain(state, lane, task) > 0.0:
        return EDGE
    return HOLD if is_legal(state, lane, HOLD) else DROP


@compiled
def rule_action(state, lane, rule):
    """Return what a rule does with the task that has arrived; -1 when the run is over."""
    task = state.scalar[lane, NEXT]
    if state.scalar[lane, STATUS] != PLAYING:
        return -1
    if rule == RANDOM_RULE:
        return random_action(state, lane)
    if rule >= SHADOW_RULE:
        return shadow_action(state, lane)
    if rule == CLD_RULE:
        return CLOUD if pays_on_cloud(state, lane, task) and is_legal(state, lane, CLOUD) else DROP
    order = DISCIPLINE_TABLE[rule, ORDER]
    if not DISCIPLINE_TABLE[rule, CHECKS]:
        return EDGE
    goes = fits_at_edge(state, lane, task, order)
    if goes and DISCIPLINE_TABLE[rule, MIGRATES]:
        goes = worth_its_place(state, lane, task, order)
    return EDGE if goes else away_from_edge(state, lane, task, rule)


@compiled
def run_rule(state, lane, rule):
    """Play a lane to its end under a rule and its discipline."""
    state.scalar[lane, DISCIPLINE] = DISCIPLINE_OF[rule]
    while state.scalar[lane, STATUS] == PLAYING:
        apply_action(state, lane, rule_action(state, lane, rule))


@compiled
def set_units(state, lane):
    """Work out what a utility and a bonus of 1 are."""
    real, numbers = state.real[lane], state.numbers[lane]
    real[UTILITY_UNIT] = real[BONUS_UNIT] = PAPER_UNIT
    if not state.setting[PAPER_SCALE]:
        utility, bonus = 0.0, 0.0
        for task in range(numbers[TASKS]):
            utility += state.moneys[lane, state.model[lane, task], BENEFIT]
        for m in range(numbers[MODELS]):
            bonus += state.moneys[lane, m, BONUS]
        real[UTILITY_UNIT] = max(utility / numbers[TASKS], 1.0)
        real[BONUS_UNIT] = max(bonus / numbers[MODELS], 1.0)


@compiled
def won_at_edge(state, lane, model):
    """Return what a run at the edge wins over the cloud or nothing, a millisecond."""
    money = state.moneys[lane, model]
    elsewhere = max(0.0, money[BENEFIT] - money[CLOUD_COST])
    won = money[BENEFIT] - money[EDGE_COST] - elsewhere
    return won / state.times[lane, model, EDGE_TIME]


@compiled
def set_price(state, lane):
    """Work out what a millisecond of the edge is worth: the price of time in the fluid bound.

    The bound gives the edge's time to models in order of what they win in it, until none is left.
    """
    numbers = state.numbers[lane]
    left, above, price = numbers[HORIZON], np.inf, 0.0
    while True:
        price = 0.0
        for m in range(numbers[MODELS]):
            won = won_at_edge(state, lane, m)
            if price < won < above:
                price = won
        if price == 0.0:
            break
        for task in range(numbers[TASKS]):
            if won_at_edge(state, lane, state.model[lane, task]) == price:
                left -= edge_time(state, lane, task)
        if left < 0:
            break
        above = price
    state.real[lane, PRICE] = PRICE_FACTOR * price


@compiled
def begin_lane(state, lane):
    """Begin the run whose instance stands in the lane, and go to its first decision."""
    scalar, real, numbers = state.scalar[lane], state.real[lane], state.numbers[lane]
    for column in (NOW, NEXT, STATUS, ELAPSED, EDGE_END, QUEUED, HELD, SENT, STARTED, RUNNING):
        scalar[column] = 0
    scalar[KEEP_DUE] = 0
    scalar[EDGE_TASK] = -1
    scalar[WINDOW_END] = numbers[WINDOW]
    scalar[DISCIPLINE] = state.setting[OWN_DISCIPLINE]
    real[QOS] = real[QOE] = real[PROMISED] = 0.0
    set_units(state, lane)
    set_price(state, lane)
    for m in range(numbers[MODELS]):
        for column in range(NUM_STANDINGS):
            state.standing[lane, m, column] = 0
        state.standing[lane, m, EXPECTED] = state.times[lane, m, CLOUD_TIME]
        state.standing[lane, m, COOLING_SINCE] = -1
    for task in range(numbers[TASKS]):
        for column in range(NUM_LOG_COLUMNS):
            state.log[lane, task, column] = -1
    go_to_next_decision(state, lane)
