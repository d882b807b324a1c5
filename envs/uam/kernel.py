"""The transition kernel of fleet dispatch: arrays in, arrays out, compiled by Numba.

The state of a batch of days is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the entry points at the end loop over lanes, in parallel. Minutes, watt-hours
and cents are integers. Nothing is allocated and no Python object is touched inside a step.

The aircraft with the earliest next decision decides (ties: lowest index): it stays, or it flies
to another vertiport, which needs a place there from now on. A flight is cancelled by a failure,
or boards passengers, waits for a corridor and its take-off delay, flies, and charges to full
where there are chargers.

Source: the fleet-dispatch problem of Paul, Witter and Chowdhury, arXiv 2401.04851.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.uam.days import Day, draw_day
from dispatchgym.envs.uam.tables import (
    AIRCRAFT,
    BATTERY,
    BLOCK,
    CORRIDORS,
    CRUISE,
    ELECTRICITY,
    END,
    ENERGY,
    HEADWAY,
    LANDING,
    MUST_LAND,
    NEED,
    OPERATING,
    PAD_HEADWAY,
    PER_VEHICLE,
    PORTS,
    POWER,
    RANGE,
    REACHABLE,
    REPAIR_HIGH,
    REPAIR_LOW,
    SEATS,
    SLOT,
    SLOTS,
    START,
    STOCHASTIC,
    TAKEOFF,
    WAIT,
    charge_minutes,
    half_up,
    leg_index,
)

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""

# Columns of State.setting, shared by all lanes.
TERMINAL_REWARD, ORACLE, LOGGING, STEP_LIMIT = range(4)
NUM_SETTINGS = 4

# Columns of State.scalar, integers of one lane.
TIME, CRAFT, PORT, SLOT_NOW, DECISIONS, STATUS, ELAPSED = range(7)
REVENUE, OPERATING_COST, ENERGY_COST, SERVED, VALUE = range(7, 12)
BASE_SEED, EPISODE, SEED, LAST_PORT, LAST_TARGET, SHOWN_SLOT = range(12, 18)
NUM_SCALARS = 18
RUNNING, FINISHED, TRUNCATED = range(3)

# Columns of State.real, floats of one lane.
MONEY_UNIT, SPAN, WEST, SOUTH = range(4)
NUM_REALS = 4

# Columns of State.port.
PARKED, CHARGING, PAD_FREE, BOUND = range(4)
NUM_PORT_COLUMNS = 4

# Columns of State.craft.
KEY, LOCATION, ON_CHARGER, LEVEL, DISPATCHES, ARRIVAL, IN_REPAIR = range(7)
NUM_CRAFT_COLUMNS = 7
KEY_BITS = 20
"""A key is the next decision's minute, followed by the aircraft's number in so many bits."""

# Columns of State.log.
(LOG_TIME, LOG_CRAFT, LOG_ORIGIN, LOG_ACTION, LOG_PASSENGERS, LOG_CORRIDOR, LOG_ENTRY,
 LOG_ARRIVAL, LOG_NEXT, LOG_CANCELLED) = range(10)  # fmt: skip
NUM_LOG_COLUMNS = 10

# Streams of the keyed random numbers (16 and above belong to the generators).
CLOSURE, FAILURE, REPAIR, DELAY_1, DELAY_2, RANDOM_RULE = range(6)
DELAY_DEVIATION = 6.0
LONGEST_DELAY = 30.0

RANDOM, GREEDY, GREEDY_RATE = range(3)

LEG_COLUMNS, DECISION_COLUMNS = 17, 8
"""Numbers that are shown of an action, and of the decision."""

INVALID_ACTION_REWARD = -1.0
FARE_UNIT = 1.0 / 5000.0
"""Fares are shown in units of 50 $."""
NEVER = np.int64(2**40)
LANES_PER_BLOCK = 16


class State(NamedTuple):
    """A batch of B days of at most N vertiports, K aircraft, S slots, C corridors, M decisions.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS).
        real: float64 (B, NUM_REALS).
        numbers to near: the instances as in `Day`; `passengers` are those left.
        closed: int8 (B, S, N, N), routes that are closed for a slot.
        port: int64 (B, NUM_PORT_COLUMNS, N).
        craft: int64 (B, NUM_CRAFT_COLUMNS, K).
        corridor: int64 (B, N, N, C), minute from which each corridor can be entered.
        legal: int8 (B, N), the action mask.
        log: int32 (B, M, NUM_LOG_COLUMNS), the decisions so far.
        onward: float32 (B, S, N), best profit rate of a leg from a port by the forecast.
        offers: float32 (B, S, N, N, 2), the legs from a port that earn something by the forecast,
            best first: profit of a flight in units of money, and how many flights it fills.
        route: float32 (B, N, N, S, 2), what is shown of each route's demand.
    """

    setting: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    numbers: np.ndarray
    reals: np.ndarray
    x: np.ndarray
    y: np.ndarray
    parking: np.ndarray
    chargers: np.ndarray
    high_demand: np.ndarray
    delay_mean: np.ndarray
    distance: np.ndarray
    closure_probability: np.ndarray
    start_port: np.ndarray
    failure_probability: np.ndarray
    rate: np.ndarray
    passengers: np.ndarray
    fare_cents: np.ndarray
    legs: np.ndarray
    near: np.ndarray
    closed: np.ndarray
    port: np.ndarray
    craft: np.ndarray
    corridor: np.ndarray
    legal: np.ndarray
    log: np.ndarray
    onward: np.ndarray
    offers: np.ndarray
    route: np.ndarray


class Source(NamedTuple):
    """Where the instance of the next episode comes from.

    Attributes:
        kind: int64 (1,): GENERATED, BANK or PREPARED.
        limits, scales, numbers, reals: what `draw_day` draws from (GENERATED). Otherwise
            instances lie ready in rows of days (BANK: any number; PREPARED: one a lane).
    """

    kind: np.ndarray
    limits: np.ndarray
    scales: np.ndarray
    numbers: np.ndarray
    reals: np.ndarray


GENERATED, BANK, PREPARED = range(3)


class Observation(NamedTuple):
    """Observation buffers, lane first; the columns are described in `UAMFleetEnv`."""

    port_x: np.ndarray
    port_mask: np.ndarray
    port_adj: np.ndarray
    craft_x: np.ndarray
    craft_mask: np.ndarray
    demand: np.ndarray
    slot_mask: np.ndarray
    pair_demand: np.ndarray
    corridor: np.ndarray
    legs: np.ndarray
    decision: np.ndarray
    k: np.ndarray
    i: np.ndarray
    action_mask: np.ndarray


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the log of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar: int64 (B, NUM_SCALARS). log: int32 (B, M, NUM_LOG_COLUMNS). Both are written when
            an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    log: np.ndarray


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def copy_row(source, source_lane, target, target_lane):
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_day(source, row, target, lane):
    """Copy all arrays of one day."""
    copy_row(source.numbers, row, target.numbers, lane)
    copy_row(source.reals, row, target.reals, lane)
    copy_row(source.x, row, target.x, lane)
    copy_row(source.y, row, target.y, lane)
    copy_row(source.parking, row, target.parking, lane)
    copy_row(source.chargers, row, target.chargers, lane)
    copy_row(source.high_demand, row, target.high_demand, lane)
    copy_row(source.delay_mean, row, target.delay_mean, lane)
    copy_row(source.distance, row, target.distance, lane)
    copy_row(source.closure_probability, row, target.closure_probability, lane)
    copy_row(source.start_port, row, target.start_port, lane)
    copy_row(source.failure_probability, row, target.failure_probability, lane)
    copy_row(source.rate, row, target.rate, lane)
    copy_row(source.passengers, row, target.passengers, lane)
    copy_row(source.fare_cents, row, target.fare_cents, lane)
    copy_row(source.legs, row, target.legs, lane)
    copy_row(source.near, row, target.near, lane)


@compiled
def copy_changing(source, source_lane, target, target_lane):
    """Copy what decisions change of a lane, and the passengers; the log is left out."""
    copy_row(source.scalar, source_lane, target.scalar, target_lane)
    copy_row(source.craft, source_lane, target.craft, target_lane)
    copy_row(source.port, source_lane, target.port, target_lane)
    copy_row(source.corridor, source_lane, target.corridor, target_lane)
    copy_row(source.legal, source_lane, target.legal, target_lane)
    copy_row(source.passengers, source_lane, target.passengers, target_lane)


@compiled
def copy_lane(source, source_lane, target, target_lane):
    """Copy all that a day's course depends on, and what is shown of its legs; no log."""
    copy_day(source, source_lane, target, target_lane)
    copy_row(source.closed, source_lane, target.closed, target_lane)
    copy_row(source.real, source_lane, target.real, target_lane)
    copy_row(source.onward, source_lane, target.onward, target_lane)
    copy_row(source.offers, source_lane, target.offers, target_lane)
    copy_changing(source, source_lane, target, target_lane)


@compiled
def day_of_lane(days, lane):
    """Return views of one lane's day."""
    return Day(
        days.numbers[lane],
        days.reals[lane],
        days.x[lane],
        days.y[lane],
        days.parking[lane],
        days.chargers[lane],
        days.high_demand[lane],
        days.delay_mean[lane],
        days.distance[lane],
        days.closure_probability[lane],
        days.start_port[lane],
        days.failure_probability[lane],
        days.rate[lane],
        days.passengers[lane],
        days.fare_cents[lane],
        days.legs[lane],
        days.near[lane],
    )


@compiled
def draw_closures(state, lane):
    """Look up which routes are closed in which slot: all follow from the episode's seed."""
    numbers = state.numbers[lane]
    ports, seed = numbers[PORTS], np.uint64(state.scalar[lane, SEED])
    for s in range(numbers[SLOTS]):
        for i in range(ports):
            for j in range(i, ports):
                closed = 0
                probability = state.closure_probability[lane, i, j]
                if numbers[STOCHASTIC] and probability > 0.0 and i != j:
                    closed = uniform(seed, CLOSURE, s, leg_index(i, j, ports)) < probability
                state.closed[lane, s, i, j] = closed
                state.closed[lane, s, j, i] = closed


@compiled
def clear_lane(state, lane):
    """Park the full aircraft at their first vertiports; nothing has flown."""
    scalar, port, craft = state.scalar[lane], state.port[lane], state.craft[lane]
    numbers = state.numbers[lane]
    scalar[DECISIONS] = scalar[ELAPSED] = scalar[REVENUE] = scalar[OPERATING_COST] = 0
    scalar[ENERGY_COST] = scalar[SERVED] = scalar[VALUE] = 0
    scalar[STATUS] = RUNNING
    for column in range(NUM_PORT_COLUMNS):
        for i in range(port.shape[1]):
            port[column, i] = 0
    for k in range(numbers[AIRCRAFT]):
        start = state.start_port[lane, k]
        craft[KEY, k] = (numbers[START] << KEY_BITS) | k
        craft[LOCATION, k] = start
        craft[LEVEL, k] = numbers[BATTERY]
        craft[ON_CHARGER, k] = craft[DISPATCHES, k] = craft[ARRIVAL, k] = craft[IN_REPAIR, k] = 0
        port[PARKED, start] += 1
        port[BOUND, start] += 1
    for i in range(state.corridor.shape[1]):
        for j in range(state.corridor.shape[2]):
            for c in range(state.corridor.shape[3]):
                state.corridor[lane, i, j, c] = 0
    for i in range(state.legal.shape[1]):
        state.legal[lane, i] = 0


@compiled
def appraise(state, lane):
    """Work out the value of all demand, the unit of money, and the forecast of what legs earn."""
    numbers = state.numbers[lane]
    value, margin, weight = 0, 0.0, 0.0
    for s in range(numbers[SLOTS]):
        for i in range(numbers[PORTS]):
            for j in range(numbers[PORTS]):
                fare, rate = state.fare_cents[lane, s, i, j], state.rate[lane, s, i, j]
                value += state.passengers[lane, s, i, j] * fare
                per_head = 0 if numbers[PER_VEHICLE] else state.legs[lane, i, j, OPERATING]
                margin += rate * (fare - per_head)
                weight += rate
    state.scalar[lane, VALUE] = value
    mean = abs(margin) / weight if weight > 0.0 else 0.0
    state.real[lane, MONEY_UNIT] = max(mean * numbers[SEATS], 1.0)
    for s in range(numbers[SLOTS]):
        for i in range(numbers[PORTS]):
            state.onward[lane, s, i] = 0.0
            offers = 0
            for j in range(numbers[PORTS]):
                earned = forecast_profit(state, lane, s, i, j) / state.real[lane, MONEY_UNIT]
                if earned > 0.0:
                    rate = 60.0 * earned / state.legs[lane, i, j, BLOCK]
                    state.onward[lane, s, i] = max(state.onward[lane, s, i], np.float32(rate))
                    flights = max(state.rate[lane, s, i, j] / numbers[SEATS], 1.0)
                    add_offer(state.offers[lane, s, i], offers, earned, flights)
                    offers += 1
            for rank in range(offers, numbers[PORTS]):
                state.offers[lane, s, i, rank, 0] = 0.0
                state.offers[lane, s, i, rank, 1] = 0.0


@compiled
def forecast_profit(state, lane, s, i, j):
    """Return what a flight from i to j is expected to earn in slot s, in cents; 0 if none may."""
    numbers, leg = state.numbers[lane], state.legs[lane, i, j]
    if not leg[REACHABLE]:
        return 0.0
    boarding = min(np.float64(numbers[SEATS]), state.rate[lane, s, i, j])
    heads = 1.0 if numbers[PER_VEHICLE] else boarding
    costs = heads * leg[OPERATING] + leg[ELECTRICITY]
    return boarding * state.fare_cents[lane, s, i, j] - costs


@compiled
def add_offer(offers, count, earned, flights):
    """Insert an offer behind those of `count` that earn as much or more."""
    rank = count
    while rank > 0 and offers[rank - 1, 0] < np.float32(earned):
        offers[rank, 0], offers[rank, 1] = offers[rank - 1, 0], offers[rank - 1, 1]
        rank -= 1
    offers[rank, 0], offers[rank, 1] = earned, flights


@compiled
def survey(state, lane):
    """Note where the map begins and how wide it is."""
    x, y, ports = state.x[lane], state.y[lane], state.numbers[lane, PORTS]
    west, east, south, north = x[0], x[0], y[0], y[0]
    for i in range(1, ports):
        west, east = min(west, x[i]), max(east, x[i])
        south, north = min(south, y[i]), max(north, y[i])
    state.real[lane, WEST] = west
    state.real[lane, SOUTH] = south
    state.real[lane, SPAN] = max(east - west, north - south, 1e-3)


@compiled
def reset_lane(state, source, days, lane):
    """Begin the episode whose seed stands in the lane and go to its first decision."""
    seed = state.scalar[lane, SEED]
    if source.kind[0] == GENERATED:
        day = day_of_lane(state, lane)
        draw_day(np.uint64(seed), source.limits, source.scales, source.numbers, source.reals, day)
    else:
        row = seed % days.numbers.shape[0] if source.kind[0] == BANK else lane
        copy_day(days, row, state, lane)
    clear_lane(state, lane)
    draw_closures(state, lane)
    appraise(state, lane)
    survey(state, lane)
    go_to_next_decision(state, lane)


# --- Decisions -------------------------------------------------------------------------------


@inlined
def has_place(state, lane, j):
    """Tell whether an aircraft bound for port j finds a charger, or a lot at a vertistop."""
    chargers = state.chargers[lane, j]
    if chargers > 0:
        return state.port[lane, CHARGING, j] < chargers
    return state.port[lane, PARKED, j] < state.parking[lane, j]


@inlined
def mark_legal(state, lane):
    """Write the action mask of the aircraft that decides."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    i, s = scalar[PORT], scalar[SLOT_NOW]
    level = state.craft[lane, LEVEL, scalar[CRAFT]]
    latest = numbers[END] - scalar[TIME] if numbers[MUST_LAND] else NEVER
    for j in range(numbers[PORTS]):
        leg = state.legs[lane, i, j]
        flies = (leg[REACHABLE] == 1) & (state.closed[lane, s, i, j] == 0)
        flies &= (leg[NEED] <= level) & (leg[BLOCK] <= latest) & has_place(state, lane, j)
        state.legal[lane, j] = flies | (j == i)


@inlined
def earliest_key(keys, count):
    """Return the smallest key."""
    best = keys[0]
    for k in range(1, count):
        best = min(best, keys[k])
    return best


@inlined
def go_to_next_decision(state, lane):
    """Let time pass until an aircraft decides, or the day ends."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    key = earliest_key(state.craft[lane, KEY], numbers[AIRCRAFT])
    time, k = key >> KEY_BITS, key & ((1 << KEY_BITS) - 1)
    scalar[TIME] = time
    scalar[CRAFT] = k
    scalar[PORT] = state.craft[lane, LOCATION, k]
    scalar[SLOT_NOW] = min((time - numbers[START]) // numbers[SLOT], numbers[SLOTS] - 1)
    if time >= numbers[END]:
        scalar[STATUS] = FINISHED
        for j in range(state.legal.shape[1]):
            state.legal[lane, j] = 0
    else:
        mark_legal(state, lane)


@inlined
def take_off_delay(state, lane, i, k, dispatch):
    """Return the minutes that the take-off of an aircraft's n-th dispatch is late."""
    seed = np.uint64(state.scalar[lane, SEED])
    u = uniform(seed, DELAY_1, k, dispatch)
    v = uniform(seed, DELAY_2, k, dispatch)
    normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
    delay = state.delay_mean[lane, i] + DELAY_DEVIATION * normal
    return half_up(min(max(delay, 0.0), LONGEST_DELAY))


@inlined
def fails(state, lane, k, dispatch):
    """Tell whether the n-th dispatch of an aircraft is cancelled by a failure."""
    seed = np.uint64(state.scalar[lane, SEED])
    return uniform(seed, FAILURE, k, dispatch) < state.failure_probability[lane, k]


@inlined
def repair_minutes(state, lane, k, dispatch):
    """Return the length of the repair after a failure."""
    low = state.numbers[lane, REPAIR_LOW]
    count = state.numbers[lane, REPAIR_HIGH] - low + 1
    u = uniform(np.uint64(state.scalar[lane, SEED]), REPAIR, k, dispatch)
    return low + np.int64(math.floor(u * count))


@inlined
def open_corridor(state, lane, i, j):
    """Return the corridor from i to j that can be entered first (ties: the lowest)."""
    best = 0
    for c in range(1, state.numbers[lane, CORRIDORS]):
        if state.corridor[lane, i, j, c] < state.corridor[lane, i, j, best]:
            best = c
    return best


@inlined
def stay(state, lane):
    """Wait at the vertiport, off the charger if there is a parking lot; return the next time."""
    scalar, port = state.scalar[lane], state.port[lane]
    i, k = scalar[PORT], scalar[CRAFT]
    if state.craft[lane, ON_CHARGER, k] and port[PARKED, i] < state.parking[lane, i]:
        port[CHARGING, i] -= 1
        port[PARKED, i] += 1
        state.craft[lane, ON_CHARGER, k] = 0
    return scalar[TIME] + state.numbers[lane, WAIT]


@inlined
def leave_place(state, lane):
    """Free the place of the aircraft that decides."""
    i, k = state.scalar[lane, PORT], state.scalar[lane, CRAFT]
    if state.craft[lane, ON_CHARGER, k]:
        state.port[lane, CHARGING, i] -= 1
    else:
        state.port[lane, PARKED, i] -= 1
    state.port[lane, BOUND, i] -= 1


@inlined
def board(state, lane, target):
    """Sell the seats and pay for the flight; return the number of passengers."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    i, s = scalar[PORT], scalar[SLOT_NOW]
    leg = state.legs[lane, i, target]
    left = state.passengers[lane, s, i, target]
    passengers = min(numbers[SEATS], left)
    state.passengers[lane, s, i, target] = left - passengers
    scalar[REVENUE] += passengers * state.fare_cents[lane, s, i, target]
    scalar[OPERATING_COST] += leg[OPERATING] * (1 if numbers[PER_VEHICLE] else passengers)
    scalar[ENERGY_COST] += leg[ELECTRICITY]
    scalar[SERVED] += passengers
    return passengers


@inlined
def enter_corridor(state, lane, target, dispatch, c):
    """Take the next slot of corridor c after the take-off delay; return the minute of entry."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    i = scalar[PORT]
    start = max(scalar[TIME], state.corridor[lane, i, target, c], state.port[lane, PAD_FREE, i])
    entry = start
    if numbers[STOCHASTIC]:
        entry += take_off_delay(state, lane, i, scalar[CRAFT], dispatch)
    state.corridor[lane, i, target, c] = entry + numbers[HEADWAY]
    if numbers[PAD_HEADWAY] > 0:
        state.port[lane, PAD_FREE, i] = entry + numbers[PAD_HEADWAY]
    return entry


@inlined
def arrive(state, lane, target, arrival):
    """Reserve the place at the target, where the aircraft charges; return the next time."""
    numbers, craft, k = state.numbers[lane], state.craft[lane], state.scalar[lane, CRAFT]
    left = craft[LEVEL, k] - state.legs[lane, state.scalar[lane, PORT], target, ENERGY]
    craft[LOCATION, k] = target
    craft[ARRIVAL, k] = arrival
    state.port[lane, BOUND, target] += 1
    if state.chargers[lane, target] == 0:
        state.port[lane, PARKED, target] += 1
        craft[ON_CHARGER, k] = 0
        craft[LEVEL, k] = left
        return arrival
    state.port[lane, CHARGING, target] += 1
    craft[ON_CHARGER, k] = 1
    craft[LEVEL, k] = numbers[BATTERY]
    return arrival + charge_minutes(numbers[BATTERY] - left, numbers[POWER])


@inlined
def apply_action(state, lane, action):
    """Apply a legal action and go to the next decision."""
    scalar, craft, numbers = state.scalar[lane], state.craft[lane], state.numbers[lane]
    i, k = scalar[PORT], scalar[CRAFT]
    passengers, corridor, entry, arrival, cancelled = 0, -1, -1, -1, 0
    scalar[LAST_TARGET] = -1
    craft[IN_REPAIR, k] = 0
    if action == i:
        following = stay(state, lane)
    else:
        dispatch = craft[DISPATCHES, k]
        craft[DISPATCHES, k] = dispatch + 1
        if numbers[STOCHASTIC] and fails(state, lane, k, dispatch):
            cancelled = 1
            craft[IN_REPAIR, k] = 1
            following = scalar[TIME] + repair_minutes(state, lane, k, dispatch)
        else:
            scalar[LAST_PORT], scalar[LAST_TARGET] = i, action
            leave_place(state, lane)
            passengers = board(state, lane, action)
            corridor = open_corridor(state, lane, i, action)
            entry = enter_corridor(state, lane, action, dispatch, corridor)
            cruise = state.legs[lane, i, action, CRUISE]
            arrival = entry + numbers[TAKEOFF] + cruise + numbers[LANDING]
            following = arrive(state, lane, action, arrival)
    craft[KEY, k] = (following << KEY_BITS) | k
    if state.setting[LOGGING]:
        row = state.log[lane, scalar[DECISIONS]]
        row[LOG_TIME], row[LOG_CRAFT] = scalar[TIME], k
        row[LOG_ORIGIN], row[LOG_ACTION] = i, action
        row[LOG_PASSENGERS], row[LOG_CORRIDOR] = passengers, corridor
        row[LOG_ENTRY], row[LOG_ARRIVAL] = entry, arrival
        row[LOG_NEXT], row[LOG_CANCELLED] = following, cancelled
    scalar[DECISIONS] += 1
    go_to_next_decision(state, lane)


@inlined
def profit(state, lane):
    """Return the profit so far in cents."""
    scalar = state.scalar[lane]
    return scalar[REVENUE] - scalar[OPERATING_COST] - scalar[ENERGY_COST]


# --- Dispatching rules -----------------------------------------------------------------------


@inlined
def leg_profit(state, lane, i, j, s):
    """Return what a flight from i to j in slot s would earn now, in cents."""
    numbers = state.numbers[lane]
    leg = state.legs[lane, i, j]
    passengers = min(numbers[SEATS], state.passengers[lane, s, i, j])
    heads = 1 if numbers[PER_VEHICLE] else passengers
    fares = passengers * state.fare_cents[lane, s, i, j]
    return fares - heads * leg[OPERATING] - leg[ELECTRICITY]


@inlined
def random_action(state, lane):
    """Return a random legal action, keyed by the seed of the episode."""
    scalar, count = state.scalar[lane], 0
    for j in range(state.numbers[lane, PORTS]):
        count += state.legal[lane, j]
    drawn = np.int64(uniform(np.uint64(scalar[SEED]), RANDOM_RULE, scalar[DECISIONS], 0) * count)
    chosen = -1
    for j in range(state.numbers[lane, PORTS]):
        if state.legal[lane, j]:
            if drawn == 0:
                chosen = j
            drawn -= 1
    return chosen


@inlined
def greedy_action(state, lane, per_minute):
    """Return the leg that earns most, in all or a minute; stay if none earns anything."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    i, s = scalar[PORT], scalar[SLOT_NOW]
    best, best_profit, best_minutes = i, 0, 1
    for j in range(numbers[PORTS]):
        if state.legal[lane, j] and j != i:
            earned = leg_profit(state, lane, i, j, s)
            minutes = state.legs[lane, i, j, BLOCK] if per_minute else 1
            if earned * best_minutes > best_profit * minutes:
                best, best_profit, best_minutes = j, earned, minutes
    return best


@inlined
def rule_action(state, lane, rule):
    """Return the action of a rule; -1 when the day is over."""
    if state.scalar[lane, STATUS] != RUNNING:
        return -1
    if rule == RANDOM:
        return random_action(state, lane)
    return greedy_action(state, lane, rule == GREEDY_RATE)


@compiled
def run_rule(state, lane, rule):
    """Play the day to its end under a rule."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, rule_action(state, lane, rule))


# --- Observations ----------------------------------------------------------------------------


@compiled
def show_instance(state, observation, lane):
    """Write what stays the same during the day and clear the rest."""
    real, numbers = state.real[lane], state.numbers[lane]
    ports, reach = numbers[PORTS], state.reals[lane, RANGE]
    observation.port_x[lane, :, :] = 0.0
    observation.port_adj[lane, :, :] = 0.0
    observation.craft_x[lane, :, :] = 0.0
    observation.demand[lane, :, :, :] = 0.0
    state.route[lane, :, :, :, :] = 0.0  # where there is neither a route nor a slot
    observation.corridor[lane, :] = 0.0
    observation.legs[lane, :, :] = 0.0
    for i in range(observation.port_mask.shape[1]):
        observation.port_mask[lane, i] = i < ports
    for k in range(observation.craft_mask.shape[1]):
        observation.craft_mask[lane, k] = k < numbers[AIRCRAFT]
    for s in range(observation.slot_mask.shape[1]):
        observation.slot_mask[lane, s] = 0
    for i in range(ports):
        row = observation.port_x[lane, i]
        row[0] = (state.x[lane, i] - real[WEST]) / real[SPAN]
        row[1] = (state.y[lane, i] - real[SOUTH]) / real[SPAN]
        row[5] = state.chargers[lane, i] == 0
        row[6] = state.high_demand[lane, i]
        row[7] = state.delay_mean[lane, i] / LONGEST_DELAY
        for j in range(ports):
            if i != j and state.distance[lane, i, j] <= reach:
                observation.port_adj[lane, i, j] = 1.0 - state.closure_probability[lane, i, j]
    for k in range(numbers[AIRCRAFT]):
        observation.craft_x[lane, k, 5] = state.failure_probability[lane, k] * 200.0
    for s in range(numbers[SLOTS]):
        show_slot(state, observation, lane, s)


@compiled
def show_slot(state, observation, lane, s):
    """Write what is known of the demand of slot s, nothing if it is over."""
    now, ports = state.scalar[lane, SLOT_NOW], state.numbers[lane, PORTS]
    exact, coming = s == now or state.setting[ORACLE] == 1, s >= now
    observation.slot_mask[lane, s] = coming
    for i in range(ports):
        outgoing, incoming, fares_out, fares_in = 0.0, 0.0, 0, 0
        for j in range(ports):
            known = (
                np.float64(state.passengers[lane, s, i, j]) if exact else state.rate[lane, s, i, j]
            )
            outgoing += known
            incoming += state.passengers[lane, s, j, i] if exact else state.rate[lane, s, j, i]
            fares_out += state.fare_cents[lane, s, i, j]
            fares_in += state.fare_cents[lane, s, j, i]
            fare = state.fare_cents[lane, s, i, j] * FARE_UNIT
            state.route[lane, i, j, s, 0] = math.log1p(known) if coming else 0.0
            state.route[lane, i, j, s, 1] = fare if coming else 0.0
        shown = observation.demand[lane, i, s]
        shown[0] = math.log1p(outgoing) if coming else 0.0
        shown[1] = math.log1p(incoming) if coming else 0.0
        shown[2] = fares_out * FARE_UNIT / (ports - 1) if coming else 0.0
        shown[3] = fares_in * FARE_UNIT / (ports - 1) if coming else 0.0


@inlined
def show_boarding(state, observation, lane):
    """Write what the last flight left of the demand of the slot."""
    scalar, s = state.scalar[lane], state.scalar[lane, SLOT_NOW]
    i, j = scalar[LAST_PORT], scalar[LAST_TARGET]
    outgoing, incoming = 0, 0
    for other in range(state.numbers[lane, PORTS]):
        outgoing += state.passengers[lane, s, i, other]
        incoming += state.passengers[lane, s, other, j]
    left = state.passengers[lane, s, i, j]
    state.route[lane, i, j, s, 0] = math.log1p(np.float64(left))
    observation.demand[lane, i, s, 0] = math.log1p(np.float64(outgoing))
    observation.demand[lane, j, s, 1] = math.log1p(np.float64(incoming))


@inlined
def show_demand(state, observation, lane):
    """Bring the demand up to date: a slot may have ended, or passengers have boarded."""
    scalar = state.scalar[lane]
    if scalar[SHOWN_SLOT] != scalar[SLOT_NOW]:
        for s in range(scalar[SHOWN_SLOT], scalar[SLOT_NOW] + 1):
            show_slot(state, observation, lane, s)
    elif scalar[LAST_TARGET] >= 0:
        show_boarding(state, observation, lane)
    scalar[SHOWN_SLOT] = scalar[SLOT_NOW]
    copy_row(state.route[lane], scalar[PORT], observation.pair_demand, lane)


@inlined
def show_one_aircraft(state, observation, lane, k):
    """Write what only the aircraft's own decisions change."""
    craft, row = state.craft[lane], observation.craft_x[lane, k]
    at, charges = craft[LOCATION, k], craft[ON_CHARGER, k]
    row[0] = observation.port_x[lane, at, 0]
    row[1] = observation.port_x[lane, at, 1]
    row[2] = craft[LEVEL, k] * (1.0 / state.numbers[lane, BATTERY])
    row[6] = 1 - charges
    row[7] = charges
    row[8] = 0.0
    row[9] = craft[IN_REPAIR, k]


@inlined
def show_aircraft(state, observation, lane, fresh):
    """Write the rows of the aircraft."""
    scalar, craft, numbers = state.scalar[lane], state.craft[lane], state.numbers[lane]
    if fresh:
        for k in range(numbers[AIRCRAFT]):
            show_one_aircraft(state, observation, lane, k)
    else:  # it is still shown who decided last
        show_one_aircraft(state, observation, lane, np.int64(observation.k[lane, 0]))
    for k in range(numbers[AIRCRAFT]):
        row = observation.craft_x[lane, k]
        row[3] = max(0, craft[ARRIVAL, k] - scalar[TIME]) * (1.0 / 60.0)
        row[4] = ((craft[KEY, k] >> KEY_BITS) - scalar[TIME]) * (1.0 / 60.0)
    observation.craft_x[lane, scalar[CRAFT], 8] = 1.0


@inlined
def first_free(state, lane, j):
    """Return when the first aircraft on a charger of port j decides next."""
    craft, first = state.craft[lane], NEVER
    for k in range(state.numbers[lane, AIRCRAFT]):
        following = craft[KEY, k] >> KEY_BITS
        charges = (craft[LOCATION, k] == j) & (craft[ON_CHARGER, k] == 1)
        first = min(first, following if charges else NEVER)
    return first


@inlined
def show_ports(state, observation, lane):
    """Write what changes of the vertiports, and how they lie to the aircraft that decides."""
    scalar, port = state.scalar[lane], state.port[lane]
    i, s, time = scalar[PORT], scalar[SLOT_NOW], scalar[TIME]
    per_range = 1.0 / state.reals[lane, RANGE]
    for j in range(state.numbers[lane, PORTS]):
        lots, chargers = state.parking[lane, j], state.chargers[lane, j]
        wait = 0
        if port[CHARGING, j] >= chargers > 0:
            wait = min(max(0, first_free(state, lane, j) - time), 120)
        row = observation.port_x[lane, j]
        row[2] = port[PARKED, j] / lots if lots > 0 else 1.0
        row[3] = port[CHARGING, j] / chargers if chargers > 0 else 1.0
        row[4] = wait * (1.0 / 60.0)
        row[8] = state.distance[lane, i, j] * per_range
        row[9] = state.legs[lane, i, j, BLOCK] * (1.0 / 60.0) if j != i else 0.0
        row[10] = state.closed[lane, s, i, j]
        row[11] = j == i


@inlined
def offer_for(state, lane, s, i, ahead):
    """Return what is expected to be left at port i in slot s for one aircraft more."""
    taken, found = np.float32(0.0), np.float32(0.0)
    for rank in range(state.numbers[lane, PORTS]):
        taken += state.offers[lane, s, i, rank, 1]
        if taken > ahead:
            found = state.offers[lane, s, i, rank, 0]
            break
    return found


@inlined
def shown_demand(state, lane, j):
    """Return the demand for flights to port j now, as it is shown."""
    s, i = state.scalar[lane, SLOT_NOW], state.scalar[lane, PORT]
    return math.log1p(np.float64(state.passengers[lane, s, i, j]))


@inlined
def describe_leg(state, lane, j, demand, row):
    """Write what the aircraft that decides would do and earn on its way to port j.

    Args:
        state: the days.
        lane: the lane.
        j: the port.
        demand: `shown_demand`, which an observation already holds.
        row: float32 (LEG_COLUMNS,), written.
    """
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    i, s, time = scalar[PORT], scalar[SLOT_NOW], scalar[TIME]
    bound = state.port[lane, BOUND, j]
    minutes = numbers[WAIT]
    row[11] = bound * (numbers[PORTS] / numbers[AIRCRAFT])
    row[13] = state.legal[lane, j]
    if j == i:
        for column in range(11):
            row[column] = 0.0
        row[0] = 1.0
        row[12] = state.onward[lane, s, i]
        bound -= 1
    else:
        leg = state.legs[lane, i, j]
        minutes = leg[BLOCK]
        left = state.passengers[lane, s, i, j]
        earned = leg_profit(state, lane, i, j, s) / state.real[lane, MONEY_UNIT]
        charges = state.chargers[lane, j] > 0
        places = state.chargers[lane, j] if charges else state.parking[lane, j]
        used = state.port[lane, CHARGING, j] if charges else state.port[lane, PARKED, j]
        corridor = state.corridor[lane, i, j, 0]
        for c in range(1, numbers[CORRIDORS]):
            corridor = min(corridor, state.corridor[lane, i, j, c])
        row[0] = 0.0
        row[1] = state.fare_cents[lane, s, i, j] * FARE_UNIT
        row[2] = demand
        row[3] = min(numbers[SEATS], left) / numbers[SEATS]
        row[4] = minutes * (1.0 / 60.0)
        row[5] = leg[ENERGY] / numbers[BATTERY]
        row[6] = max(0, corridor - time, state.port[lane, PAD_FREE, i] - time) * (1.0 / 30.0)
        row[7] = earned
        row[8] = earned * 60.0 / minutes
        row[9] = (places - used) / max(places, 1)
        row[10] = state.closed[lane, s, i, j]
        row[12] = 0.0
    arrival = (time + minutes - numbers[START]) // numbers[SLOT]
    row[14], row[15], row[16] = 0.0, 0.0, 1.0
    if time + minutes < numbers[END]:
        if j != i:
            row[12] = state.onward[lane, arrival, j]
        row[14] = offer_for(state, lane, arrival, j, bound)
        row[15] = offer_for(state, lane, min(arrival + 1, numbers[SLOTS] - 1), j, bound)
        row[16] = 0.0


@inlined
def describe_decision(state, lane, row):
    """Write who decides, where and when."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    k, i, time = scalar[CRAFT], scalar[PORT], scalar[TIME]
    angle = time * (2.0 * math.pi / 1440.0)
    bound = state.port[lane, BOUND, i]
    row[0] = math.sin(angle)
    row[1] = math.cos(angle)
    row[2] = max(0, numbers[END] - time) / (numbers[END] - numbers[START])
    row[3] = state.craft[lane, LEVEL, k] / numbers[BATTERY]
    row[4] = state.craft[lane, ON_CHARGER, k]
    row[5] = ((time - numbers[START]) % numbers[SLOT]) / numbers[SLOT]
    row[6] = bound * (numbers[PORTS] / numbers[AIRCRAFT])
    row[7] = offer_for(state, lane, scalar[SLOT_NOW], i, bound / 2)


@inlined
def show_legs(state, observation, lane):
    """Write what each action would do and earn."""
    i, s = state.scalar[lane, PORT], state.scalar[lane, SLOT_NOW]
    for j in range(state.numbers[lane, PORTS]):
        row = observation.legs[lane, j]
        describe_leg(state, lane, j, state.route[lane, i, j, s, 0], row)
        observation.corridor[lane, j] = row[6]


@inlined
def show_decision(state, observation, lane):
    """Write who decides, where and when."""
    describe_decision(state, lane, observation.decision[lane])
    observation.k[lane, 0] = state.scalar[lane, CRAFT]
    observation.i[lane, 0] = state.scalar[lane, PORT]


@compiled
def observe(state, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    if fresh:
        state.scalar[lane, SHOWN_SLOT] = state.scalar[lane, SLOT_NOW]
        state.scalar[lane, LAST_TARGET] = -1
        show_instance(state, observation, lane)
    show_demand(state, observation, lane)
    show_aircraft(state, observation, lane, fresh)
    show_ports(state, observation, lane)
    show_legs(state, observation, lane)
    show_decision(state, observation, lane)
    copy_row(state.legal, lane, observation.action_mask, lane)


@compiled
def copy_observation(source, target, lane):
    """Copy the observation of a lane."""
    copy_row(source.port_x, lane, target.port_x, lane)
    copy_row(source.port_mask, lane, target.port_mask, lane)
    copy_row(source.port_adj, lane, target.port_adj, lane)
    copy_row(source.craft_x, lane, target.craft_x, lane)
    copy_row(source.craft_mask, lane, target.craft_mask, lane)
    copy_row(source.demand, lane, target.demand, lane)
    copy_row(source.slot_mask, lane, target.slot_mask, lane)
    copy_row(source.pair_demand, lane, target.pair_demand, lane)
    copy_row(source.corridor, lane, target.corridor, lane)
    copy_row(source.legs, lane, target.legs, lane)
    copy_row(source.decision, lane, target.decision, lane)
    copy_row(source.k, lane, target.k, lane)
    copy_row(source.i, lane, target.i, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)


# --- One lane: what an environment does ------------------------------------------------------


@compiled
def restart_lane(state, source, days, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative."""
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    reset_lane(state, source, days, lane)
    observe(state, observation, lane, True)


@inlined
def play_action(state, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar = state.scalar[lane]
    scalar[ELAPSED] += 1
    legal = 0 <= action < state.legal.shape[1] and state.legal[lane, action] == 1
    outcome.invalid[lane] = not legal
    outcome.reward[lane] = INVALID_ACTION_REWARD
    if legal:
        before = profit(state, lane)
        apply_action(state, lane, action)
        earned = profit(state, lane) - before
        if state.setting[TERMINAL_REWARD]:
            earned = profit(state, lane) if scalar[STATUS] == FINISHED else 0
        outcome.reward[lane] = np.float64(earned) / max(scalar[VALUE], 1)
    limit = state.setting[STEP_LIMIT]
    status = scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_log(state, outcome, lane):
    """Copy the result of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    for decision in range(state.scalar[lane, DECISIONS]):
        for column in range(NUM_LOG_COLUMNS):
            outcome.log[lane, decision, column] = state.log[lane, decision, column]


@inlined
def step_lane(state, source, days, observation, final, outcome, action, autoreset, lane):
    """Step a lane; at the end of its episode write the log and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, outcome, action, lane)
    if status != RUNNING:
        write_log(state, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, source, days, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some eighty arrays for every call they make;
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
def reset_block(state, source, days, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, source, days, observation, seeds[lane], lane)


@compiled
def step_block(state, source, days, observation, final, outcome, actions, autoreset, chosen, block):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            action = actions[lane]
            step_lane(state, source, days, observation, final, outcome, action, autoreset, lane)


@compiled
def observe_block(state, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, observation, lane, True)


@compiled
def rule_action_block(state, rule, actions, block):
    """Write the actions of a rule for a block; -1 where the day is over."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, lane, rule)


@compiled
def run_rule_block(state, outcome, rule, block):
    """Play the lanes of a block to their end under a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, lane, rule)
        write_log(state, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, source, days, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(state, source, days, observation, seeds, chosen, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def step_batch(state, source, days, observation, final, outcome, actions, autoreset, chosen):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, source, days, observation, final, outcome, actions, autoreset, chosen,
            np.int64(block),
        )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, rule, actions):
    """Write the action of a rule for each lane; -1 where the day is over."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, outcome, rule):
    """Play every lane to its end under a rule."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, outcome, rule, np.int64(block))
