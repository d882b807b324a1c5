"""The transition kernel of independent tasks: arrays in, arrays out, compiled by Numba.

The state of a batch of episodes is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the loops over lanes are in `lanes`. Nothing is allocated and no Python object
is touched inside a step.

In each slot the head of the waiting queue is sent to a server: it is uploaded, then computed.
Servers share their speed among the tasks that are there (processor sharing), or take them one by
one in the order of their coming (FIFO). No residual is ever updated: a server counts the service
A that each of its tasks has got since it was last empty; a task of L bits that joins gets the tag
A + L and leaves when A has come there. Servers do not know of each other, so each is advanced on
its own, from decision to decision. What happens at one time: computations end, then uploads, by
number of the task; then the decision.

Source: GMORL, arXiv 2509.10474, equations (1) to (12), whose estimate of the delay that a decision
causes, (24) to (29), is replaced by the exact value.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.edge_offloading.draw import (
    BACKHAUL,
    BITS,
    CAPACITANCE,
    CYCLES,
    EXPECTED,
    FIFO,
    FREQUENCY,
    HORIZON,
    JOULES,
    LATENCY,
    MEAN_BITS,
    POWER,
    RELEASE,
    SERVERS,
    SLOT,
    SPEED,
    TASKS,
    Rows,
)
from dispatchgym.envs.edge_offloading.layout import compiled, copy_row

inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""
merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""The same for longer functions: they are put in place by LLVM, which compiles faster."""

# Columns of State.setting, shared by all lanes.
SCALING, SHOW_MARGINALS, DUMMIES, STEP_LIMIT = range(4)
NUM_SETTINGS = 4
CONTEXT_SCALE, PAPER_SCALE = range(2)
PAPER_DELAY_UNIT, PAPER_ENERGY_UNIT = 1.0 / 0.01, 1.0 / 5.0
"""Seconds and joules that count 1 by the weights 0.01 and 5 of the published code."""

# Columns of State.scalar, integers of one lane.
STATUS, SLOT_NOW, HEAD, ARRIVED, PLACED, ON_EDGES, ELAPSED, BASE_SEED, EPISODE, SEED = range(10)
NUM_SCALARS = 10
RUNNING, FINISHED, TRUNCATED = range(3)
NOBODY = -1
"""HEAD where a slot begins with nobody waiting; it is met only with `DUMMIES`."""

# Columns of State.total, floats of one lane.
DELAY_UNIT, ENERGY_UNIT, DELAY, ENERGY, WAITED = range(5)
NUM_TOTALS = 5

# Columns of State.load, integers of a server.
THERE, COMING = range(2)
NUM_COUNTS = 2
# Columns of State.clock, floats of a server.
SERVED, CLOCK = range(2)
NUM_CLOCKS = 2

# Columns of State.sent, one row a task, in the order of the queue.
(SERVER, SENT, UPLOADED, BEGAN, ENDED, TRANSMIT, COMPUTE, DELAY_REWARD, ENERGY_REWARD,
 LOOKS_UPLOADED) = range(10)  # fmt: skip
NUM_SENT_COLUMNS = 10

# Columns of State.effect, what sending the head of the queue to a server would bring.
OFFLOAD, OWN, EXTRA, TRANSMIT_J, COMPUTE_J = range(5)
NUM_EFFECTS = 5

# Rows of State.work, work space of a lane.
WORK_TAG, WORK_OWN, WORK_START, WORK_BITS, WORK_NEW = range(5)
NUM_WORK_ROWS = 5

# Streams of the keyed random numbers (16 and above belong to `draw`).
RANDOM_RULE, EDGE_RULE, FUTURE = range(3)

RANDOM, RANDOM_P, ROUND_ROBIN_P, LEAST_WORK, GREEDY_OMEGA, ROLLOUT_OMEGA = range(6)

NEVER = np.inf
UNKNOWN = -1.0
"""BEGAN and ENDED of what has not happened yet."""


class State(NamedTuple):
    """A batch of B episodes of at most N tasks on S servers, M of which can be sent.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS). total: float64 (B, NUM_TOTALS).
        number to link: the instances, as in `Rows`.
        load: int64 (B, S, NUM_COUNTS), tasks that are computed and that are uploaded.
        clock: float64 (B, S, NUM_CLOCKS): service that each task there has got, or the head of
            a FIFO server; until when the server has been played.
        tag: float64 (B, S, M), who leaves first stands last. With processor sharing: the service
            at which tasks leave; at FIFO servers: their bits.
        here: int64 (B, S, M), the tasks with these tags.
        coming: int64 (B, S, M), tasks that are uploaded; whose upload ends first stands last.
        sent: float64 (B, M, NUM_SENT_COLUMNS).
        effect: float64 (B, S, NUM_EFFECTS).
        work: float64 (B, NUM_WORK_ROWS, M + 1), work space.
    """

    setting: np.ndarray
    scalar: np.ndarray
    total: np.ndarray
    number: np.ndarray
    real: np.ndarray
    server: np.ndarray
    task: np.ndarray
    uplink: np.ndarray
    link: np.ndarray
    load: np.ndarray
    clock: np.ndarray
    tag: np.ndarray
    here: np.ndarray
    coming: np.ndarray
    sent: np.ndarray
    effect: np.ndarray
    work: np.ndarray


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def rows_of_lane(rows, lane):
    """Return views of one lane's instance."""
    return Rows(
        rows.number[lane],
        rows.real[lane],
        rows.server[lane],
        rows.task[lane],
        rows.uplink[lane],
        rows.link[lane],
    )


@compiled
def copy_instance(source, row, target, lane):
    """Copy all arrays of an instance."""
    copy_row(source.number, row, target.number, lane)
    copy_row(source.real, row, target.real, lane)
    copy_row(source.server, row, target.server, lane)
    for m in range(source.number[row, TASKS]):
        for column in range(source.task.shape[2]):
            target.task[lane, m, column] = source.task[row, m, column]
        for e in range(source.number[row, SERVERS]):
            target.uplink[lane, m, e] = source.uplink[row, m, e]


@compiled
def begin_lane(state, lane):
    """Empty the servers of a lane that has its instance, and go to the first decision."""
    scalar, total, servers = state.scalar[lane], state.total[lane], state.number[lane, SERVERS]
    scalar[SLOT_NOW] = -1
    scalar[ARRIVED] = scalar[PLACED] = scalar[ON_EDGES] = scalar[ELAPSED] = 0
    scalar[STATUS] = RUNNING
    total[DELAY] = total[ENERGY] = total[WAITED] = 0.0
    for e in range(servers):
        state.load[lane, e, THERE] = state.load[lane, e, COMING] = 0
        state.clock[lane, e, SERVED] = state.clock[lane, e, CLOCK] = 0.0
    set_units(state, lane)
    go_to_next_decision(state, lane)


@compiled
def set_units(state, lane):
    """Settle how many seconds and joules count 1 in the rewards.

    In the scale of the context that is a mean task alone on a mean server.
    """
    total, real, servers = state.total[lane], state.real[lane], state.number[lane, SERVERS]
    total[DELAY_UNIT], total[ENERGY_UNIT] = PAPER_DELAY_UNIT, PAPER_ENERGY_UNIT
    if state.setting[SCALING] == CONTEXT_SCALE:
        frequency = 0.0
        for e in range(servers):
            frequency += state.server[lane, e, FREQUENCY] / servers
        total[DELAY_UNIT] = real[MEAN_BITS] * real[CYCLES] / frequency
        joules = real[CAPACITANCE] * real[CYCLES] * frequency * frequency
        total[ENERGY_UNIT] = joules * real[MEAN_BITS]


# --- Servers ---------------------------------------------------------------------------------


@inlined
def shares(state, lane, e):
    """Return into how many parts a busy server divides its speed."""
    return 1 if state.server[lane, e, FIFO] > 0.0 else state.load[lane, e, THERE]


@inlined
def next_end(state, lane, e):
    """Return when the next computation of a server ends if nothing comes."""
    there = state.load[lane, e, THERE]
    if there == 0:
        return NEVER
    left = max(state.tag[lane, e, there - 1] - state.clock[lane, e, SERVED], 0.0)
    return (
        state.clock[lane, e, CLOCK] + left * shares(state, lane, e) / state.server[lane, e, SPEED]
    )


@inlined
def next_upload(state, lane, e):
    """Return when the next upload to a server ends."""
    coming = state.load[lane, e, COMING]
    if coming == 0:
        return NEVER
    return state.sent[lane, state.coming[lane, e, coming - 1], UPLOADED]


@inlined
def serve(state, lane, e, until):
    """Let a server work for a time in which nobody comes or leaves."""
    clock = state.clock[lane, e]
    if state.load[lane, e, THERE] > 0:
        work = (until - clock[CLOCK]) * state.server[lane, e, SPEED]
        clock[SERVED] += work / shares(state, lane, e)
    clock[CLOCK] = until


@inlined
def end_computation(state, lane, e, now):
    """Let the task that stands last leave."""
    count, clock = state.load[lane, e], state.clock[lane, e]
    fifo = state.server[lane, e, FIFO] > 0.0
    last = count[THERE] - 1
    task = state.sent[lane, state.here[lane, e, last]]
    task[ENDED] = now
    state.total[lane, DELAY] += now - task[SENT]
    clock[SERVED] = 0.0 if fifo or last == 0 else state.tag[lane, e, last]
    clock[CLOCK] = now
    count[THERE] = last
    if fifo and last > 0:
        state.sent[lane, state.here[lane, e, last - 1], BEGAN] = now


@inlined
def end_upload(state, lane, e, now):
    """Let the task whose upload ends join those that are computed."""
    count, tag, here = state.load[lane, e], state.tag[lane, e], state.here[lane, e]
    serve(state, lane, e, now)
    count[COMING] -= 1
    m = state.coming[lane, e, count[COMING]]
    place, mark = count[THERE], state.task[lane, m, BITS]
    if state.server[lane, e, FIFO] > 0.0:
        while place > 0:
            tag[place], here[place] = tag[place - 1], here[place - 1]
            place -= 1
    else:
        mark += state.clock[lane, e, SERVED]
        while place > 0 and (
            tag[place - 1] < mark or (tag[place - 1] == mark and here[place - 1] < m)
        ):
            tag[place], here[place] = tag[place - 1], here[place - 1]
            place -= 1
    tag[place], here[place] = mark, m
    count[THERE] += 1
    if state.server[lane, e, FIFO] == 0.0 or count[THERE] == 1:
        state.sent[lane, m, BEGAN] = now


@merged
def advance(state, lane, e, until):
    """Play a server until a time, all that happens at this time included."""
    while True:
        ends, comes = next_end(state, lane, e), next_upload(state, lane, e)
        if min(ends, comes) > until or min(ends, comes) == NEVER:
            break
        if ends <= comes:
            end_computation(state, lane, e, ends)
        else:
            end_upload(state, lane, e, comes)
    serve(state, lane, e, until)


# --- What a decision would bring -------------------------------------------------------------


@inlined
def upload_time(state, lane, m, e, bits):
    """Return the seconds until task m is at server e: radio, and backhaul where there is one."""
    server = state.server[lane, e]
    seconds = bits / state.uplink[lane, m, e] + server[LATENCY]
    return seconds + bits / server[BACKHAUL] if server[BACKHAUL] > 0.0 else seconds


@merged
def appraise(state, lane, m, e, known):
    """Write the effects of sending task m to server e now.

    Args:
        state: servers played until now.
        lane: the lane.
        m: task.
        e: server.
        known: BITS for the truth, EXPECTED for what a dispatcher knows.
    """
    effect, server = state.effect[lane, e], state.server[lane, e]
    bits = state.task[lane, m, known]
    now = state.scalar[lane, SLOT_NOW] * state.real[lane, SLOT]
    effect[OFFLOAD] = upload_time(state, lane, m, e, bits)
    effect[TRANSMIT_J] = state.real[lane, POWER] * bits / state.uplink[lane, m, e]
    effect[COMPUTE_J] = server[JOULES] * bits
    if server[FIFO] == 0.0 and state.load[lane, e, COMING] == 0:
        extra = delay_of_others(state, lane, e, now + effect[OFFLOAD], bits) / server[SPEED]
        effect[OWN] = effect[OFFLOAD] + bits / server[SPEED] + extra
        effect[EXTRA] = extra
    else:
        before, _ = play_out(state, lane, e, NEVER, 0.0, now, known)
        after, own = play_out(state, lane, e, now + effect[OFFLOAD], bits, now, known)
        effect[OWN] = own - now
        effect[EXTRA] = after - own - before


@inlined
def delay_of_others(state, lane, e, start, bits):
    """Return sum of min(r, bits) over the residuals r at `start`, if nothing comes before.

    Divided by the speed of a server that is shared, this is what the tasks there are delayed by
    one of so many bits, and also what they delay it.
    """
    tag, speed = state.tag[lane, e], state.server[lane, e, SPEED]
    there, clock = state.load[lane, e, THERE], state.clock[lane, e, CLOCK]
    served = state.clock[lane, e, SERVED]
    while there > 0 and (tag[there - 1] - served) * there <= (start - clock) * speed:
        clock += (tag[there - 1] - served) * there / speed
        served = tag[there - 1]
        there -= 1
    total = 0.0
    if there > 0:
        served += (start - clock) * speed / there
        while there > 0 and tag[there - 1] - served < bits:
            there -= 1
            total += tag[there] - served
    return total + there * bits


@compiled
def play_out(state, lane, e, start, bits, now, known):
    """Play a server to its end, if nothing else is sent to it, besides one task.

    Args:
        state: the server has been played until now.
        lane: the lane.
        e: server.
        start: when the upload of the one task ends; NEVER: without it.
        bits: its size.
        now: time.
        known: as in `appraise`.

    Returns:
        sum of the times at which computations end, and when that of the one task does.
    """
    uploads = line_up_uploads(state, lane, e, start, bits, now, known)
    work, clock = state.work[lane], state.clock[lane, e]
    speed, there = state.server[lane, e, SPEED], state.load[lane, e, THERE]
    if state.server[lane, e, FIFO] > 0.0:
        total, free = 0.0, clock[CLOCK] - clock[SERVED] / speed if there > 0 else now
        for i in range(there - 1, -1, -1):
            free += state.tag[lane, e, i] / speed
            total += free
        after, own = play_fifo(work, uploads, free, speed)
        return total + after, own
    for i in range(there):
        work[WORK_TAG, i], work[WORK_OWN, i] = state.tag[lane, e, i], 0.0
    return play_shared(work, there, clock[SERVED], uploads, clock[CLOCK], speed)


@inlined
def line_up_uploads(state, lane, e, start, bits, now, known):
    """Write starts of computation and sizes into the work space, the first last; count them."""
    work, uploads = state.work[lane], 0
    if start < NEVER:
        work[WORK_START, 0], work[WORK_BITS, 0], work[WORK_NEW, 0] = start, bits, 1.0
        uploads = 1
    column = UPLOADED if known == BITS else LOOKS_UPLOADED
    for i in range(state.load[lane, e, COMING]):
        m = state.coming[lane, e, i]
        begin, place = max(state.sent[lane, m, column], now), uploads
        while place > 0 and work[WORK_START, place - 1] < begin:
            for row in range(WORK_START, WORK_NEW + 1):
                work[row, place] = work[row, place - 1]
            place -= 1
        work[WORK_START, place], work[WORK_NEW, place] = begin, 0.0
        work[WORK_BITS, place] = state.task[lane, m, known]
        uploads += 1
    return uploads


@compiled
def play_shared(work, there, served, uploads, clock, speed):
    """Play a shared server to its end.

    Args:
        work: float64 (NUM_WORK_ROWS, M): tags of who is there and starts and sizes of who comes,
            with whether it is the one task; the first last. Overwritten.
        there: tasks computing.
        served: service that each has got.
        uploads: tasks that come.
        clock: time.
        speed: bit/s.

    Returns:
        sum of the times at which computations end, and when that of the one task does.
    """
    tag, own_tag, total, own = work[WORK_TAG], work[WORK_OWN], 0.0, 0.0
    while there + uploads > 0:
        ends, begins = NEVER, NEVER
        if there > 0:
            ends = clock + max(tag[there - 1] - served, 0.0) * there / speed
        if uploads > 0:
            begins = work[WORK_START, uploads - 1]
        if ends <= begins:
            there -= 1
            total += ends
            own += ends * own_tag[there]
            clock, served = ends, tag[there]
        else:
            uploads -= 1
            served = served + (begins - clock) * speed / there if there > 0 else 0.0
            clock, mark, place = begins, served + work[WORK_BITS, uploads], there
            while place > 0 and tag[place - 1] < mark:
                tag[place], own_tag[place] = tag[place - 1], own_tag[place - 1]
                place -= 1
            tag[place], own_tag[place] = mark, work[WORK_NEW, uploads]
            there += 1
    return total, own


@compiled
def play_fifo(work, uploads, free, speed):
    """Return what `play_shared` does, of a server that takes tasks one by one from `free` on."""
    total, own = 0.0, 0.0
    for i in range(uploads - 1, -1, -1):
        free = max(free, work[WORK_START, i]) + work[WORK_BITS, i] / speed
        total += free
        own += free * work[WORK_NEW, i]
    return total, own


@inlined
def backlog(state, lane, e):
    """Return the bits that a server still has to compute, as far as they are known."""
    there, served = state.load[lane, e, THERE], state.clock[lane, e, SERVED]
    total = -served * shares(state, lane, e) if there > 0 else 0.0
    for i in range(there):
        total += state.tag[lane, e, i]
    for i in range(state.load[lane, e, COMING]):
        total += state.task[lane, state.coming[lane, e, i], EXPECTED]
    return total


@inlined
def until_free(state, lane, e):
    """Return the seconds until a server has nothing left, as far as it is known."""
    clock, speed = state.clock[lane, e], state.server[lane, e, SPEED]
    there, work = state.load[lane, e, THERE], state.work[lane]
    free = -clock[SERVED] * shares(state, lane, e) / speed if there > 0 else 0.0
    for i in range(there):
        free += state.tag[lane, e, i] / speed
    uploads = line_up_uploads(state, lane, e, NEVER, 0.0, clock[CLOCK], EXPECTED)
    for i in range(uploads - 1, -1, -1):
        free = max(free, work[WORK_START, i] - clock[CLOCK]) + work[WORK_BITS, i] / speed
    return free


# --- Decisions -------------------------------------------------------------------------------


@inlined
def slot_of_release(state, lane, m):
    """Return the first slot in which a task can be sent."""
    release, length = state.task[lane, m, RELEASE], state.real[lane, SLOT]
    slot = np.int64(release / length)
    while slot * length < release:
        slot += 1
    return slot


@inlined
def go_to_next_decision(state, lane):
    """Let time pass until the next task is sent, or the episode ends."""
    scalar, number = state.scalar[lane], state.number[lane]
    scalar[HEAD] = scalar[PLACED]
    begins = number[HORIZON]
    if scalar[PLACED] < number[TASKS]:
        begins = max(slot_of_release(state, lane, scalar[PLACED]), scalar[SLOT_NOW] + 1)
    if state.setting[DUMMIES] and begins > scalar[SLOT_NOW] + 1:
        begins, scalar[HEAD] = scalar[SLOT_NOW] + 1, NOBODY
    until = begins * state.real[lane, SLOT]
    if begins >= number[HORIZON]:
        scalar[STATUS] = FINISHED
        until = NEVER
    else:
        scalar[SLOT_NOW] = begins
        while (
            scalar[ARRIVED] < number[TASKS] and state.task[lane, scalar[ARRIVED], RELEASE] <= until
        ):
            scalar[ARRIVED] += 1
    for e in range(number[SERVERS]):
        advance(state, lane, e, until)


@inlined
def is_legal(state, lane, action):
    """Tell whether a task can be sent there."""
    return 0 <= action < state.number[lane, SERVERS] and state.scalar[lane, STATUS] == RUNNING


@merged
def apply_action(state, lane, e):
    """Send the head of the queue to server e and go to the next decision."""
    if state.scalar[lane, HEAD] != NOBODY:
        send(state, lane, state.scalar[lane, HEAD], e)
    go_to_next_decision(state, lane)


@inlined
def send(state, lane, m, e):
    """Send task m to server e."""
    scalar, total = state.scalar[lane], state.total[lane]
    task, effect = state.sent[lane, m], state.effect[lane, e]
    now = scalar[SLOT_NOW] * state.real[lane, SLOT]
    appraise(state, lane, m, e, BITS)
    task[SERVER], task[SENT], task[BEGAN], task[ENDED] = e, now, UNKNOWN, UNKNOWN
    task[UPLOADED] = now + effect[OFFLOAD]
    task[LOOKS_UPLOADED] = now + upload_time(state, lane, m, e, state.task[lane, m, EXPECTED])
    task[TRANSMIT], task[COMPUTE] = effect[TRANSMIT_J], effect[COMPUTE_J]
    task[DELAY_REWARD] = -(effect[OWN] + effect[EXTRA])
    task[ENERGY_REWARD] = -(effect[TRANSMIT_J] + effect[COMPUTE_J])
    total[ENERGY] -= task[ENERGY_REWARD]
    total[WAITED] += now - state.task[lane, m, RELEASE]
    scalar[PLACED] += 1
    scalar[ON_EDGES] += e > 0
    coming, place = state.coming[lane, e], state.load[lane, e, COMING]
    while place > 0 and state.sent[lane, coming[place - 1], UPLOADED] <= task[UPLOADED]:
        coming[place] = coming[place - 1]
        place -= 1
    coming[place] = m
    state.load[lane, e, COMING] += 1


# --- Rules -----------------------------------------------------------------------------------


@inlined
def random_server(state, lane, parameter, rotate):
    """Return the cloud with probability `parameter`, else an edge: a random one or the next."""
    scalar, edges = state.scalar[lane], state.number[lane, SERVERS] - 1
    seed = np.uint64(scalar[SEED])
    if edges == 0 or uniform(seed, RANDOM_RULE, scalar[SLOT_NOW], 1) < parameter:
        return 0
    if rotate:
        return 1 + scalar[ON_EDGES] % edges
    return 1 + np.int64(uniform(seed, EDGE_RULE, scalar[SLOT_NOW], 0) * edges)


@inlined
def least_work(state, lane):
    """Return the server that would have computed its backlog and the task first."""
    bits = state.task[lane, state.scalar[lane, HEAD], EXPECTED]
    best, least = 0, NEVER
    for e in range(state.number[lane, SERVERS]):
        seconds = (backlog(state, lane, e) + bits) / state.server[lane, e, SPEED]
        if seconds < least:
            best, least = e, seconds
    return best


@inlined
def greedy_omega(state, weights, lane):
    """Return the server of the least weighted delay and energy caused (ties: less delay)."""
    total = state.total[lane]
    best, least, shortest = 0, NEVER, NEVER
    for e in range(state.number[lane, SERVERS]):
        appraise(state, lane, state.scalar[lane, HEAD], e, EXPECTED)
        effect = state.effect[lane, e]
        delay, joules = effect[OWN] + effect[EXTRA], effect[TRANSMIT_J] + effect[COMPUTE_J]
        cost = weights[lane, 0] * delay / total[DELAY_UNIT]
        cost += weights[lane, 1] * joules / total[ENERGY_UNIT]
        if cost < least or (cost == least and delay < shortest):
            best, least, shortest = e, cost, delay
    return best


@compiled
def rule_action(state, weights, lane, rule, parameter):
    """Return the server that a rule chooses; -1 where the episode is over.

    Args:
        state: the episodes.
        weights: float64 (B, 2), preferences.
        lane: the lane.
        rule: its number, not ROLLOUT_OMEGA.
        parameter: float64 (B,), chance of the cloud; nan: the usual one, 2 / (edges + 2).
    """
    scalar, servers = state.scalar[lane], state.number[lane, SERVERS]
    if scalar[STATUS] != RUNNING:
        return -1
    if scalar[HEAD] == NOBODY:
        return 0
    if rule == RANDOM:
        u = uniform(np.uint64(scalar[SEED]), RANDOM_RULE, scalar[SLOT_NOW], 0)
        return np.int64(u * servers)
    if rule == RANDOM_P or rule == ROUND_ROBIN_P:
        chance = parameter[lane]
        if np.isnan(chance):
            chance = 2.0 / (servers + 1)
        return random_server(state, lane, chance, rule == ROUND_ROBIN_P)
    if rule == LEAST_WORK:
        return least_work(state, lane)
    return greedy_omega(state, weights, lane)


@compiled
def run_rule(state, weights, lane, rule, parameter):
    """Play a lane to its end under a rule."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, rule_action(state, weights, lane, rule, parameter))
