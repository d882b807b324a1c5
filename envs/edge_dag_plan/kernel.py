"""The transition kernel of plans: arrays in, arrays out, compiled by Numba.

The state of a batch of plans is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the entry points at the end loop over lanes, in parallel. There is no clock:
each step commits the next task of the order to the device or to a server, and the resources are
max-plus recurrences. Nothing is allocated and no Python object is touched inside a step.

Source: the model of https://github.com/linkpark/RLTaskOffloading (DRLTO) and
https://github.com/linkpark/metarl-offloading (arXiv 2008.02033), with several servers.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.core.vector_reward import begin_preference, scalarise
from dispatchgym.envs.edge_dag_plan.plans import (
    COMPUTE_POWER,
    LOCAL_LATENCY,
    RECEIVE_POWER,
    SERVERS,
    TASKS,
    TRANSMIT_POWER,
    Plan,
    draw_plan,
)

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""
merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""The same for longer functions: they are put in place by LLVM, which compiles faster."""

# Columns of State.setting, shared by all lanes.
PUBLISHED, BY_INDEX, STEP_LIMIT = range(3)
NUM_SETTINGS = 3

# Columns of State.scalar, integers of one lane.
POSITION, STATUS, ELAPSED, BASE_SEED, EPISODE, SEED, LOOKED = range(7)
NUM_SCALARS = 7
RUNNING, FINISHED, TRUNCATED = range(3)
NEVER = -2
"""LOOKED before the first outlook."""

# Columns of State.real, floats of one lane.
MAKESPAN, ENERGY, FREE_DEVICE, FREE_UPLINK = range(4)
NUM_REALS = 4

# Columns of State.times, seconds; 0 where a task does not do this.
LOCAL_START, LOCAL_END, UP_START, UP_END, RUN_START, RUN_END, DOWN_END = range(7)
NUM_TIMES = 7

# Columns of State.seen, what later tasks see of a task: when its result is on the device, from
# when it does not hold up their uploads, and when its run on a server ended (0 on the device).
BACK, SENT, RAN = range(3)
NUM_SEEN = 3

# Streams of the keyed random numbers (16 and above belong to the generators).
RANDOM_RULE = 0

(RANDOM, ALL_LOCAL, ALL_REMOTE, ROUND_ROBIN, GREEDY, HEFT, GREEDY_WEIGHTED) = range(7)
ROLLOUT_WEIGHTED = 7

NUM_PLANS_AHEAD = 2
WAYS = (GREEDY_WEIGHTED, ALL_REMOTE, HEFT)
"""Rules that complete a plan to see where it leads."""
NUM_OUTLOOKS = len(WAYS)

NODE_COLUMNS, SERVER_COLUMNS, TASK_COLUMNS, CONTEXT_COLUMNS = 12, 15, 8, 8
FIRST_OUTLOOK = 12
"""First column of `servers` that tells of them."""
LATENCY, ENERGY_REWARD = range(2)

INVALID_ACTION_REWARD = -1.0
USUAL_TASKS = 20.0
LANES_PER_BLOCK = 16


class State(NamedTuple):
    """A batch of B plans of at most N tasks, M edges and S servers.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        size to ranked: the instances as in `Plan`.
        scalar: int64 (B, NUM_SCALARS); LOOKED is the position for which `outlook` was written last
            in this episode, or less.
        real: float64 (B, NUM_REALS).
        order: int64 (B, N), tasks in the order in which they are decided.
        place: int64 (B, N), 0 for the device, k for the k-th server, -1 while undecided.
        times: float64 (B, N, NUM_TIMES).
        free_server: float64 (B, S), second from which each server is free.
        trial: float64 (B, NUM_TIMES), scratch.
        seen: float64 (B, N, NUM_SEEN), of tasks that are decided; scratch for those that are not.
        spot: int64 (B, N), the place that `seen` is of.
        real_ahead, free_ahead: as `real` and `free_server`, scratch of plans that are tried.
        legal: int8 (B, S + 1), the action mask.
        advice: int64 (B, 2, N), place of each task in the plans of GREEDY and HEFT.
        saved: float64 (B, N + 1, NUM_REALS + 1), what the decision at each position has changed.
        outlook: float64 (B, S + 1, NUM_OUTLOOKS), what the plan costs if the next task goes to each
            place and each of `WAYS` completes it.
    """

    setting: np.ndarray
    size: np.ndarray
    device: np.ndarray
    server: np.ndarray
    link: np.ndarray
    work: np.ndarray
    upload: np.ndarray
    output: np.ndarray
    first: np.ndarray
    parent: np.ndarray
    level: np.ndarray
    local: np.ndarray
    up: np.ndarray
    run: np.ndarray
    down: np.ndarray
    rank: np.ndarray
    ranked: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    order: np.ndarray
    place: np.ndarray
    times: np.ndarray
    free_server: np.ndarray
    trial: np.ndarray
    seen: np.ndarray
    spot: np.ndarray
    real_ahead: np.ndarray
    free_ahead: np.ndarray
    legal: np.ndarray
    advice: np.ndarray
    saved: np.ndarray
    outlook: np.ndarray


class Source(NamedTuple):
    """Where the instance of the next episode comes from.

    Attributes:
        kind: int64 (1,): GENERATED, BANK or PREPARED.
        counts, ranges: what `draw_plan` draws from (GENERATED).
        device: float64 (1, NUM_DEVICE_COLUMNS), server: float64 (1, S, NUM_SERVER_COLUMNS), of
            generated instances, where they are not drawn.
    """

    kind: np.ndarray
    counts: np.ndarray
    ranges: np.ndarray
    device: np.ndarray
    server: np.ndarray


GENERATED, BANK, PREPARED = range(3)


class Observation(NamedTuple):
    """Observation buffers, lane first; the columns are described in `EdgeDagPlanEnv`."""

    servers: np.ndarray
    task: np.ndarray
    preference: np.ndarray
    context: np.ndarray
    node_feat: np.ndarray
    node_mask: np.ndarray
    edge_index: np.ndarray
    current: np.ndarray
    action_mask: np.ndarray


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the plans of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        preference: float64 (B, 2), scalar, real, order, place, times: as in `State`, written when
            an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    preference: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    order: np.ndarray
    place: np.ndarray
    times: np.ndarray


# --- Decisions -------------------------------------------------------------------------------


@inlined
def current_task(state, lane):
    """Return the task that is decided next."""
    return state.order[lane, state.scalar[lane, POSITION]]


@inlined
def start_locally(state, lane, i, free):
    """Return when task i would run on a device that is free from `free`: with all inputs there."""
    start = free
    for edge in range(state.first[lane, i], state.first[lane, i + 1]):
        start = max(start, state.seen[lane, state.parent[lane, edge], BACK])
    return start


@inlined
def start_upload(state, lane, i, free):
    """Return when task i would be uploaded, over an uplink that is free from `free`.

    What parents made on the device comes with the task's own upload, which waits for it. The
    upload does not wait for the results of parents on servers, but begins after their uploads.
    """
    start = free
    for edge in range(state.first[lane, i], state.first[lane, i + 1]):
        start = max(start, state.seen[lane, state.parent[lane, edge], SENT])
    return start


@inlined
def start_remotely(state, lane, i, k, free):
    """Return when the results of parents on servers are on server k, free from `free`."""
    start = free
    for edge in range(state.first[lane, i], state.first[lane, i + 1]):
        j = state.parent[lane, edge]
        place, ran = state.spot[lane, j], state.seen[lane, j, RAN]
        if place > 0 and place != k + 1:
            ran += state.output[lane, j] / state.link[lane, place - 1, k]
        start = max(start, ran)
    return start


@inlined
def time_task(state, lane, i, place, times):
    """Write when task i would be done at a place; return when its result is on the device."""
    real, k = state.real[lane], place - 1
    for column in range(NUM_TIMES):
        times[column] = 0.0
    if place == 0:
        times[LOCAL_START] = start_locally(state, lane, i, real[FREE_DEVICE])
        times[LOCAL_END] = times[LOCAL_START] + state.local[lane, i]
        return times[LOCAL_END]
    times[UP_START] = start_upload(state, lane, i, real[FREE_UPLINK])
    times[UP_END] = times[UP_START] + state.up[lane, i, k]
    start = start_remotely(state, lane, i, k, state.free_server[lane, k])
    times[RUN_START] = max(start, times[UP_END])
    times[RUN_END] = times[RUN_START] + state.run[lane, i, k]
    times[DOWN_END] = times[RUN_END] + state.down[lane, i, k]
    return times[DOWN_END]


@inlined
def finish_at(state, lane, i, place, real, free):
    """Return when the result of task i would be on the device if it went to a place.

    Args:
        state: the plans.
        lane: the lane.
        i: task, whose parents are decided.
        place: where it would go.
        real: float64 (NUM_REALS,), of the plan so far.
        free: float64 (S,), second from which each server is free.
    """
    if place == 0:
        return start_locally(state, lane, i, real[FREE_DEVICE]) + state.local[lane, i]
    k = place - 1
    sent = start_upload(state, lane, i, real[FREE_UPLINK]) + state.up[lane, i, k]
    start = max(start_remotely(state, lane, i, k, free[k]), sent)
    return start + state.run[lane, i, k] + state.down[lane, i, k]


@inlined
def put(state, lane, i, place, published, real, free):
    """Put task i to a place, as far as costs and later tasks see of it; see `finish_at`.

    With the published uplink, that of a task without parents does not keep others waiting.
    """
    seen, k = state.seen[lane, i], place - 1
    if place == 0:
        finish = start_locally(state, lane, i, real[FREE_DEVICE]) + state.local[lane, i]
        real[FREE_DEVICE] = seen[BACK] = seen[SENT] = finish
        seen[RAN] = 0.0
    else:
        sent = start_upload(state, lane, i, real[FREE_UPLINK]) + state.up[lane, i, k]
        start = max(start_remotely(state, lane, i, k, free[k]), sent)
        ran = start + state.run[lane, i, k]
        finish = ran + state.down[lane, i, k]
        seen[BACK], seen[SENT], seen[RAN], free[k] = finish, sent, ran, ran
        parentless = state.first[lane, i] == state.first[lane, i + 1]
        if not (published and parentless):
            real[FREE_UPLINK] = sent
    state.spot[lane, i] = place
    real[MAKESPAN] = max(real[MAKESPAN], finish)
    real[ENERGY] += energy_of(state, lane, i, place)


@inlined
def energy_of(state, lane, i, place):
    """Return the joules that the device spends on task i at a place."""
    if place == 0:
        return state.local[lane, i] * state.device[lane, COMPUTE_POWER]
    sent = state.up[lane, i, place - 1] * state.device[lane, TRANSMIT_POWER]
    return sent + state.down[lane, i, place - 1] * state.device[lane, RECEIVE_POWER]


@inlined
def commit(state, lane, place, published):
    """Put the current task to a place and go on to the next one."""
    i = current_task(state, lane)
    time_task(state, lane, i, place, state.times[lane, i])
    put(state, lane, i, place, published, state.real[lane], state.free_server[lane])
    state.place[lane, i] = place
    state.scalar[lane, POSITION] += 1


@inlined
def local_energy(state, lane):
    """Return the joules of the device alone."""
    return state.device[lane, LOCAL_LATENCY] * state.device[lane, COMPUTE_POWER]


@inlined
def apply_action(state, lane, place, vector):
    """Commit a legal action and write the reward of both objectives."""
    real, tasks = state.real[lane], state.size[lane, TASKS]
    latency, energy = real[MAKESPAN], real[ENERGY]
    commit(state, lane, place, state.setting[PUBLISHED])
    alone = state.device[lane, LOCAL_LATENCY]
    vector[lane, LATENCY] = 1.0 / tasks - (real[MAKESPAN] - latency) / alone
    vector[lane, ENERGY_REWARD] = 1.0 / tasks - (real[ENERGY] - energy) / local_energy(state, lane)
    if state.scalar[lane, POSITION] == tasks:
        state.scalar[lane, STATUS] = FINISHED
        for a in range(state.legal.shape[1]):
            state.legal[lane, a] = 0


@inlined
def first_finish(state, lane, i, lowest, real, free):
    """Return the place from `lowest` on where task i finishes first (ties: the lowest).

    See `finish_at`.
    """
    best, earliest, servers = lowest, math.inf, state.size[lane, SERVERS]
    if lowest == servers:
        return lowest
    for place in range(lowest, servers + 1):
        finish = finish_at(state, lane, i, place, real, free)
        if finish < earliest:
            best, earliest = place, finish
    return best


# --- Trying decisions, and taking them back --------------------------------------------------


@inlined
def latency_weight(state, preference, lane):
    """Return what a second of makespan costs."""
    return preference[lane, LATENCY] / state.device[lane, LOCAL_LATENCY]


@inlined
def energy_weight(state, preference, lane):
    """Return what a joule costs."""
    return preference[lane, ENERGY_REWARD] / local_energy(state, lane)


@inlined
def cost_of(state, preference, lane, real):
    """Return the cost of the makespan and energy of a plan; the device alone costs 1."""
    cost = real[MAKESPAN] * latency_weight(state, preference, lane)
    return cost + real[ENERGY] * energy_weight(state, preference, lane)


@inlined
def cost_so_far(state, preference, lane):
    """Return the cost of makespan and energy so far."""
    return cost_of(state, preference, lane, state.real[lane])


@inlined
def decide(state, lane, place):
    """Put the next task to a place, so that it can be undone."""
    position = state.scalar[lane, POSITION]
    for column in range(NUM_REALS):
        state.saved[lane, position, column] = state.real[lane, column]
    if place > 0:
        state.saved[lane, position, NUM_REALS] = state.free_server[lane, place - 1]
    commit(state, lane, place, state.setting[PUBLISHED])


@inlined
def undo(state, lane):
    """Take the last decision back."""
    position = state.scalar[lane, POSITION] - 1
    state.scalar[lane, POSITION] = position
    i = state.order[lane, position]
    place = state.place[lane, i]
    if place > 0:
        state.free_server[lane, place - 1] = state.saved[lane, position, NUM_REALS]
    for column in range(NUM_REALS):
        state.real[lane, column] = state.saved[lane, position, column]
    state.place[lane, i] = -1
    for column in range(NUM_TIMES):
        state.times[lane, i, column] = 0.0


@inlined
def return_to(state, lane, position):
    """Take decisions back to a position."""
    while state.scalar[lane, POSITION] > position:
        undo(state, lane)


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def copy_row(source, source_lane, target, target_lane):
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_plan(source, row, target, lane):
    """Copy all arrays of one instance."""
    copy_row(source.size, row, target.size, lane)
    copy_row(source.device, row, target.device, lane)
    copy_row(source.server, row, target.server, lane)
    copy_row(source.link, row, target.link, lane)
    copy_row(source.work, row, target.work, lane)
    copy_row(source.upload, row, target.upload, lane)
    copy_row(source.output, row, target.output, lane)
    copy_row(source.first, row, target.first, lane)
    copy_row(source.parent, row, target.parent, lane)
    copy_row(source.local, row, target.local, lane)
    copy_row(source.up, row, target.up, lane)
    copy_row(source.run, row, target.run, lane)
    copy_row(source.down, row, target.down, lane)
    copy_row(source.rank, row, target.rank, lane)
    copy_row(source.ranked, row, target.ranked, lane)


@compiled
def plan_of_lane(plans, lane):
    """Return views of one lane's instance."""
    return Plan(
        plans.size[lane],
        plans.device[lane],
        plans.server[lane],
        plans.link[lane],
        plans.work[lane],
        plans.upload[lane],
        plans.output[lane],
        plans.first[lane],
        plans.parent[lane],
        plans.level[lane],
        plans.local[lane],
        plans.up[lane],
        plans.run[lane],
        plans.down[lane],
        plans.rank[lane],
        plans.ranked[lane],
    )


@compiled
def order_by_index(state, lane):
    """Write the order by number, every task behind its parents."""
    place = state.place[lane]
    tasks = state.size[lane, TASKS]
    for position in range(tasks):
        for i in range(tasks):
            ready = place[i] == -1
            for edge in range(state.first[lane, i], state.first[lane, i + 1]):
                ready &= place[state.parent[lane, edge]] == 0
            if ready:
                state.order[lane, position] = i
                place[i] = 0
                break
    for i in range(tasks):
        place[i] = -1


@compiled
def order_tasks(state, by_index, lane):
    """Write the order of decisions."""
    if by_index:
        order_by_index(state, lane)
        return
    for i in range(state.size[lane, TASKS]):
        state.order[lane, i] = state.ranked[lane, i]


@compiled
def reset_lane(state, source, plans, lane):
    """Begin the episode whose seed stands in the lane."""
    scalar = state.scalar[lane]
    seed = scalar[SEED]
    if source.kind[0] == GENERATED:
        copy_row(source.device, 0, state.device, lane)
        copy_row(source.server, 0, state.server, lane)
        plan = plan_of_lane(state, lane)
        draw_plan(np.uint64(seed), source.counts, source.ranges, plan)
    else:
        row = seed % plans.size.shape[0] if source.kind[0] == BANK else lane
        copy_plan(plans, row, state, lane)
    clear_lane(state, lane)
    plan_ahead(state, GREEDY, True, lane)
    plan_ahead(state, HEFT, False, lane)
    order_tasks(state, state.setting[BY_INDEX], lane)


@compiled
def plan_ahead(state, rule, by_index, lane):
    """Note the plan that puts each task where it finishes first.

    All uploads keep the uplink busy here: so do the authors of the published uplink plan.
    """
    order_tasks(state, by_index, lane)
    real, free = state.real_ahead[lane], state.free_ahead[lane]
    real[:] = 0.0
    free[:] = 0.0
    for position in range(state.size[lane, TASKS]):
        i = state.order[lane, position]
        place = first_finish(state, lane, i, 0, real, free)
        state.advice[lane, rule - GREEDY, i] = place
        put(state, lane, i, place, False, real, free)


@compiled
def clear_lane(state, lane):
    """Take all decisions back."""
    servers = state.size[lane, SERVERS]
    state.scalar[lane, POSITION] = state.scalar[lane, ELAPSED] = 0
    state.scalar[lane, STATUS] = RUNNING
    state.scalar[lane, LOOKED] = NEVER
    for column in range(NUM_REALS):
        state.real[lane, column] = 0.0
    for i in range(state.place.shape[1]):
        state.place[lane, i] = state.order[lane, i] = -1
        for column in range(NUM_TIMES):
            state.times[lane, i, column] = 0.0
    for k in range(state.free_server.shape[1]):
        state.free_server[lane, k] = 0.0
    for place in range(state.legal.shape[1]):
        state.legal[lane, place] = place <= servers


# --- Rules -----------------------------------------------------------------------------------


@inlined
def least_cost(state, preference, lane, i, real, free):
    """Return the place where task i has the least weighted sum of finish and energy.

    Ties: the lowest. See `finish_at`.
    """
    best, least = 0, math.inf
    latency_unit, energy_unit = state.device[lane, LOCAL_LATENCY], local_energy(state, lane)
    for place in range(state.size[lane, SERVERS] + 1):
        finish = finish_at(state, lane, i, place, real, free)
        cost = preference[lane, LATENCY] * finish / latency_unit
        cost += preference[lane, ENERGY_REWARD] * energy_of(state, lane, i, place) / energy_unit
        if cost < least:
            best, least = place, cost
    return best


@inlined
def base_action(state, preference, rule, lane, position, real, free):
    """Return where a rule that does not look ahead puts the task at a position of the order.

    The tasks before it are decided. See `finish_at`.
    """
    places, i = state.size[lane, SERVERS] + 1, state.order[lane, position]
    if rule == RANDOM:
        seed = np.uint64(state.scalar[lane, SEED])
        return np.int64(uniform(seed, RANDOM_RULE, position, 0) * places)
    if rule == ROUND_ROBIN:
        return position % places
    if rule == ALL_LOCAL:
        return 0
    if rule == ALL_REMOTE:
        return first_finish(state, lane, i, 1, real, free)
    if rule == GREEDY_WEIGHTED:
        return least_cost(state, preference, lane, i, real, free)
    return state.advice[lane, rule - GREEDY, i]


@merged
def completed_cost(state, preference, rule, place, lane):
    """Return what the plan costs if the next task goes to a place and a rule completes it."""
    real, free = state.real_ahead[lane], state.free_ahead[lane]
    for column in range(NUM_REALS):
        real[column] = state.real[lane, column]
    for k in range(state.size[lane, SERVERS]):
        free[k] = state.free_server[lane, k]
    begin, published = state.scalar[lane, POSITION], state.setting[PUBLISHED]
    for position in range(begin, state.size[lane, TASKS]):
        if position > begin:
            place = base_action(state, preference, rule, lane, position, real, free)
        put(state, lane, state.order[lane, position], place, published, real, free)
    return cost_of(state, preference, lane, real)


@merged
def look_ahead(state, preference, lane, fresh):
    """Write what the plan costs if the next task goes to each place and a rule completes it.

    Where a rule itself would put the task, this is what it was before the last decision, which is
    known unless `fresh`.
    """
    position = state.scalar[lane, POSITION]
    known = not fresh and state.scalar[lane, LOOKED] == position - 1
    for way in range(NUM_OUTLOOKS):
        own, cost = -1, 0.0
        if known:
            real, free = state.real[lane], state.free_server[lane]
            own = base_action(state, preference, WAYS[way], lane, position, real, free)
            last = state.place[lane, state.order[lane, position - 1]]
            cost = state.outlook[lane, last, way]
        for place in range(state.size[lane, SERVERS] + 1):
            if place == own:
                state.outlook[lane, place, way] = cost
                continue
            found = completed_cost(state, preference, WAYS[way], place, lane)
            state.outlook[lane, place, way] = found
    state.scalar[lane, LOOKED] = position


@compiled
def best_outlook(state, preference, lane):
    """Return the place from which one of the rules completes the plan at the least cost."""
    look_ahead(state, preference, lane, True)
    best, least = 0, math.inf
    for place in range(state.size[lane, SERVERS] + 1):
        for way in range(NUM_OUTLOOKS):
            if state.outlook[lane, place, way] < least:
                best, least = place, state.outlook[lane, place, way]
    return best


@compiled
def rule_action(state, preference, rule, lane):
    """Return the action of a rule; -1 when the plan is complete."""
    if state.scalar[lane, STATUS] == FINISHED:
        return -1
    if rule == ROLLOUT_WEIGHTED:
        return best_outlook(state, preference, lane)
    position, real, free = state.scalar[lane, POSITION], state.real[lane], state.free_server[lane]
    return base_action(state, preference, rule, lane, position, real, free)


@compiled
def run_rule(state, preference, rule, lane):
    """Complete the plan of a lane by a rule."""
    tasks = state.size[lane, TASKS]
    while state.scalar[lane, POSITION] < tasks:
        place = rule_action(state, preference, rule, lane)
        commit(state, lane, place, state.setting[PUBLISHED])
    state.scalar[lane, STATUS] = FINISHED


# --- Observations ----------------------------------------------------------------------------


@inlined
def time_unit(state, lane):
    """Return the mean seconds of a task on the device."""
    return state.device[lane, LOCAL_LATENCY] / state.size[lane, TASKS]


@inlined
def mean_of(row, count):
    """Return the mean of the first entries of a row."""
    total = 0.0
    for k in range(count):
        total += row[k]
    return total / count


@compiled
def show_instance(state, observation, lane):
    """Write what does not change in an episode: sizes of tasks, the graph, the context."""
    tasks, servers = state.size[lane, TASKS], state.size[lane, SERVERS]
    unit = time_unit(state, lane)
    node, edges = observation.node_feat[lane], observation.edge_index[lane]
    context = observation.context[lane]
    node[:, :] = 0.0
    edges[:, :] = -1
    up, run, down = 0.0, 0.0, 0.0
    for position in range(tasks):
        node[state.order[lane, position], 5] = position / tasks
    for i in range(node.shape[0]):
        observation.node_mask[lane, i] = i < tasks
    for i in range(tasks):
        node[i, 0] = state.local[lane, i] / unit
        node[i, 1] = mean_of(state.up[lane, i], servers) / unit
        node[i, 2] = mean_of(state.run[lane, i], servers) / unit
        node[i, 3] = mean_of(state.down[lane, i], servers) / unit
        node[i, 4] = state.rank[lane, i] / state.device[lane, LOCAL_LATENCY]
        up, run, down = up + node[i, 1], run + node[i, 2], down + node[i, 3]
        for edge in range(state.first[lane, i], state.first[lane, i + 1]):
            edges[0, edge] = state.parent[lane, edge]
            edges[1, edge] = i
    context[0] = tasks / USUAL_TASKS
    context[1] = servers
    context[2] = up / tasks
    context[3] = run / tasks
    context[4] = down / tasks
    context[5] = state.device[lane, TRANSMIT_POWER] / state.device[lane, COMPUTE_POWER]
    context[6] = state.device[lane, RECEIVE_POWER] / state.device[lane, COMPUTE_POWER]
    context[7] = state.setting[PUBLISHED]


@inlined
def show_nodes(state, observation, lane):
    """Write where tasks are and when their results are there, before the makespan so far."""
    tasks, unit, now = state.size[lane, TASKS], time_unit(state, lane), state.real[lane, MAKESPAN]
    node, i = observation.node_feat[lane], observation.current[lane, 0]
    for position in range(tasks):
        node[state.order[lane, position], 11] = position == state.scalar[lane, POSITION]
    for position in range(state.scalar[lane, POSITION]):
        i = state.order[lane, position]
        times = state.times[lane, i]
        node[i, 6] = 1.0
        node[i, 7] = state.place[lane, i] == 0
        node[i, 8] = (times[LOCAL_END] + times[DOWN_END] - now) / unit
        node[i, 9] = (times[LOCAL_END] + times[UP_END] - now) / unit
        node[i, 10] = (times[RUN_END] - now) / unit if state.place[lane, i] > 0 else 0.0


@inlined
def show_outlooks(state, preference, observation, lane, fresh):
    """Write where each place leads: costs beyond the least, in even shares of a task."""
    look_ahead(state, preference, lane, fresh)
    tasks, places, least = state.size[lane, TASKS], state.size[lane, SERVERS] + 1, math.inf
    for place in range(places):
        for way in range(NUM_OUTLOOKS):
            least = min(least, state.outlook[lane, place, way])
    for place in range(places):
        for way in range(NUM_OUTLOOKS):
            beyond = state.outlook[lane, place, way] - least
            observation.servers[lane, place, FIRST_OUTLOOK + way] = beyond * tasks


@inlined
def show_places(state, observation, lane):
    """Write what the current task would do at each place."""
    real = state.real[lane]
    servers, unit, now = state.size[lane, SERVERS], time_unit(state, lane), real[MAKESPAN]
    joules = local_energy(state, lane) / state.size[lane, TASKS]
    i, preference = current_task(state, lane), observation.preference[lane]
    for place in range(servers + 1):
        row, k = observation.servers[lane, place], place - 1
        finish = time_task(state, lane, i, place, state.trial[lane])
        row[0] = 1.0
        row[1] = place == 0
        row[2] = ((real[FREE_DEVICE] if place == 0 else state.free_server[lane, k]) - now) / unit
        row[3] = 0.0 if place == 0 else (real[FREE_UPLINK] - now) / unit
        row[4] = (state.local[lane, i] if place == 0 else state.run[lane, i, k]) / unit
        row[5] = 0.0 if place == 0 else state.up[lane, i, k] / unit
        row[6] = 0.0 if place == 0 else state.down[lane, i, k] / unit
        row[7] = (max(state.trial[lane, LOCAL_START], state.trial[lane, UP_START]) - now) / unit
        row[8] = (finish - now) / unit
        row[9] = max(finish - now, 0.0) / unit
        row[10] = energy_of(state, lane, i, place) / joules
        row[11] = preference[LATENCY] * row[9] + preference[ENERGY_REWARD] * row[10]


@inlined
def show_task(state, observation, lane):
    """Write what is to be decided, and how much is left."""
    tasks = state.size[lane, TASKS]
    i, row, position = (
        current_task(state, lane),
        observation.task[lane],
        state.scalar[lane, POSITION],
    )
    node = observation.node_feat[lane]
    left, children = 0.0, 0
    for later in range(position, tasks):
        j = state.order[lane, later]
        left += state.local[lane, j]
        for edge in range(state.first[lane, j], state.first[lane, j + 1]):
            children += state.parent[lane, edge] == i
    for column in range(5):
        row[column] = node[i, column]
    row[5] = state.first[lane, i + 1] - state.first[lane, i]
    row[6] = children
    row[7] = left / state.device[lane, LOCAL_LATENCY]


@merged
def observe(state, preference, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    for k in range(preference.shape[1]):
        observation.preference[lane, k] = preference[lane, k]
    if fresh:
        show_instance(state, observation, lane)
        observation.servers[lane] = 0.0
    done = state.scalar[lane, POSITION] == state.size[lane, TASKS]
    observation.current[lane, 0] = 0 if done else current_task(state, lane)
    show_nodes(state, observation, lane)
    if done:
        observation.servers[lane] = 0.0
        observation.task[lane] = 0.0
    else:
        show_places(state, observation, lane)
        show_outlooks(state, preference, observation, lane, fresh)
        show_task(state, observation, lane)
    copy_row(state.legal, lane, observation.action_mask, lane)


@compiled
def copy_observation(source, target, lane):
    """Copy the observation of a lane."""
    copy_row(source.servers, lane, target.servers, lane)
    copy_row(source.task, lane, target.task, lane)
    copy_row(source.preference, lane, target.preference, lane)
    copy_row(source.context, lane, target.context, lane)
    copy_row(source.node_feat, lane, target.node_feat, lane)
    copy_row(source.node_mask, lane, target.node_mask, lane)
    copy_row(source.edge_index, lane, target.edge_index, lane)
    copy_row(source.current, lane, target.current, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)


# --- One lane: what an environment does ------------------------------------------------------


@compiled
def restart_lane(state, vector, source, plans, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative."""
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    begin_preference(vector, lane, np.uint64(scalar[SEED]))
    reset_lane(state, source, plans, lane)
    observe(state, vector.preference, observation, lane, True)


@inlined
def play_action(state, vector, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar = state.scalar[lane]
    scalar[ELAPSED] += 1
    legal = 0 <= action < state.legal.shape[1] and state.legal[lane, action] == 1
    outcome.invalid[lane] = not legal
    if legal:
        apply_action(state, lane, action, vector.reward)
    else:
        for k in range(vector.reward.shape[1]):
            vector.reward[lane, k] = INVALID_ACTION_REWARD
    outcome.reward[lane] = scalarise(vector, lane)
    limit = state.setting[STEP_LIMIT]
    status = scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_plan(state, preference, outcome, lane):
    """Copy the result of a lane, as far as it has come."""
    copy_row(preference, lane, outcome.preference, lane)
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.real, lane, outcome.real, lane)
    copy_row(state.order, lane, outcome.order, lane)
    copy_row(state.place, lane, outcome.place, lane)
    copy_row(state.times, lane, outcome.times, lane)


@inlined
def step_lane(state, vector, source, plans, observation, final, outcome, action, autoreset, lane):
    """Step a lane; at the end of its episode write the plan and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, vector, outcome, action, lane)
    if status != RUNNING:
        write_plan(state, vector.preference, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, vector.preference, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, vector, source, plans, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some fifty arrays for every call they make;
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
def reset_block(state, vector, source, plans, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, vector, source, plans, observation, seeds[lane], lane)


@compiled
def step_block(
    state, vector, source, plans, observation, final, outcome, actions, autoreset, chosen, block
):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            step_lane(
                state, vector, source, plans, observation, final, outcome, actions[lane],
                autoreset, lane,
            )  # fmt: skip


@compiled
def observe_block(state, vector, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, vector.preference, observation, lane, True)


@compiled
def rule_action_block(state, vector, rule, actions, block):
    """Write the actions of a rule for a block; -1 where the plan is complete."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, vector.preference, rule, lane)


@compiled
def run_rule_block(state, vector, outcome, rule, block):
    """Complete the plans of a block by a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, vector.preference, rule, lane)
        write_plan(state, vector.preference, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, vector, source, plans, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(state, vector, source, plans, observation, seeds, chosen, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def step_batch(
    state, vector, source, plans, observation, final, outcome, actions, autoreset, chosen
):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, vector, source, plans, observation, final, outcome, actions, autoreset, chosen,
            np.int64(block),
        )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, vector, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, vector, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, vector, rule, actions):
    """Write the action of a rule for each lane; -1 where the plan is complete."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, vector, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, vector, outcome, rule):
    """Complete every plan by a rule."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, vector, outcome, rule, np.int64(block))
