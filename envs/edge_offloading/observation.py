"""Writing the observation of independent tasks, one lane at a time."""

import numpy as np

from dispatchgym.envs.edge_offloading import layout
from dispatchgym.envs.edge_offloading.draw import (
    ARRIVALS,
    EXPECTED,
    FIFO,
    FREQUENCY,
    HORIZON,
    MEAN_BITS,
    RELEASE,
    SCENARIO,
    SERVERS,
    SLOT,
    SPEED,
    TYPE,
)
from dispatchgym.envs.edge_offloading.kernel import (
    ARRIVED,
    COMING,
    COMPUTE_J,
    EXTRA,
    FINISHED,
    HEAD,
    NOBODY,
    OWN,
    PLACED,
    SERVED,
    SHOW_MARGINALS,
    SLOT_NOW,
    STATUS,
    THERE,
    TRANSMIT_J,
    appraise,
    backlog,
    inlined,
    merged,
    until_free,
)
from dispatchgym.envs.edge_offloading.layout import GIGAHERTZ, MEGABIT


@merged
def observe(state, weights, observation, lane, fresh):
    """Write the observation of a lane.

    Args:
        state: the episodes.
        weights: float64 (B, 2), preferences.
        observation: written.
        lane: the lane.
        fresh: whether the episode, its instance or the preference may be another than before.
    """
    if fresh:
        observe_context(state, weights, observation, lane)
    task = observation.task[lane]
    running = state.scalar[lane, STATUS] != FINISHED
    for e in range(state.number[lane, SERVERS]):
        observation.action_mask[lane, e] = running
        observe_server(state, observation.servers[lane, e], lane, e)
    for column in range(layout.TASK_COLUMNS):
        task[column] = 0.0
    if running:
        observe_task(state, task, lane)


@inlined
def observe_context(state, weights, observation, lane):
    """Write what stays the same in an episode, and zeros for servers that do not exist."""
    number, real, server = state.number[lane], state.real[lane], state.server[lane]
    context, edges = observation.context[lane], number[SERVERS] - 1
    for e in range(number[SERVERS], observation.servers.shape[1]):
        for column in range(layout.SERVER_COLUMNS):
            observation.servers[lane, e, column] = 0.0
    for action in range(observation.action_mask.shape[1]):
        observation.action_mask[lane, action] = 0
    for k in range(layout.OBJECTIVES):
        observation.preference[lane, k] = weights[lane, k]
    frequency = 0.0
    for e in range(1, edges + 1):
        frequency += server[e, FREQUENCY] / edges
    context[layout.NUM_EDGES] = edges
    context[layout.MEAN_EDGE_GHZ] = frequency / GIGAHERTZ
    context[layout.CLOUD_GHZ] = server[0, FREQUENCY] / GIGAHERTZ
    context[layout.ARRIVAL_RATE] = real[ARRIVALS]
    context[layout.MEAN_SIZE] = real[MEAN_BITS] / MEGABIT
    context[layout.SLOT_SECONDS] = real[SLOT]
    context[layout.EVENT_MODE] = 0.0
    context[layout.SCENARIO] = number[SCENARIO]


@inlined
def observe_task(state, row, lane):
    """Write what is known of the task to be sent and of the queue behind it."""
    scalar, number, length = state.scalar[lane], state.number[lane], state.real[lane, SLOT]
    behind, bits = 0, 0.0
    for m in range(max(scalar[HEAD], scalar[PLACED] - 1) + 1, scalar[ARRIVED]):
        behind += 1
        bits += state.task[lane, m, EXPECTED]
    if scalar[HEAD] != NOBODY:
        task = state.task[lane, scalar[HEAD]]
        row[layout.BITS] = row[layout.WORK] = task[EXPECTED] / MEGABIT
        row[layout.TYPE] = task[TYPE] / 10.0
        row[layout.TIME_IN_QUEUE] = scalar[SLOT_NOW] * length - task[RELEASE]
    row[layout.WAITING] = behind
    row[layout.WAITING_BITS] = bits / MEGABIT
    row[layout.EPISODE_LEFT] = 1.0 - scalar[SLOT_NOW] / number[HORIZON]
    row[layout.PREFERRED] = -1.0
    row[layout.PRESENT] = scalar[HEAD] != NOBODY


@inlined
def observe_server(state, row, lane, e):
    """Write the row of a server."""
    scalar, count, server = state.scalar[lane], state.load[lane, e], state.server[lane, e]
    head = scalar[HEAD] if scalar[STATUS] != FINISHED else NOBODY
    for column in range(layout.SERVER_COLUMNS):
        row[column] = 0.0
    row[layout.EXISTS] = 1.0
    row[layout.FREQUENCY] = server[FREQUENCY] / GIGAHERTZ
    row[layout.EDGES] = state.number[lane, SERVERS] - 1
    row[layout.OPEN] = scalar[STATUS] != FINISHED
    row[layout.COMPUTING] = count[THERE]
    row[layout.UPLOADING] = count[COMING]
    observe_residuals(state, row, lane, e)
    row[layout.BACKLOG] = row[layout.UNTIL_FREE] = backlog(state, lane, e) / server[SPEED]
    if count[COMING] > 0:
        row[layout.UNTIL_FREE] = until_free(state, lane, e)
    if head == NOBODY:
        return
    row[layout.TASK_BITS] = state.task[lane, head, EXPECTED] / MEGABIT
    row[layout.RATE] = state.uplink[lane, head, e] / (100.0 * MEGABIT)
    if state.setting[SHOW_MARGINALS]:
        appraise(state, lane, head, e, EXPECTED)
        effect = state.effect[lane, e]
        row[layout.OWN_DELAY] = effect[OWN]
        row[layout.EXTRA_DELAY] = effect[EXTRA]
        row[layout.ENERGY] = effect[TRANSMIT_J] + effect[COMPUTE_J]


@inlined
def observe_residuals(state, row, lane, e):
    """Count the tasks of a server by megabits left; the last bin is open."""
    there, served = state.load[lane, e, THERE], state.clock[lane, e, SERVED]
    for i in range(there):
        left = state.tag[lane, e, i]
        if state.server[lane, e, FIFO] == 0.0 or i == there - 1:
            left -= served
        row[layout.HISTOGRAM + min(np.int64(max(left, 0.0) / MEGABIT), layout.BINS - 1)] += 1.0
