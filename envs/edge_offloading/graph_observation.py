"""Writing the observation of dependent tasks, one lane at a time."""

import numpy as np

from dispatchgym.envs.edge_offloading import layout
from dispatchgym.envs.edge_offloading.graph_draw import (
    ARRIVAL,
    ARRIVALS,
    CORES,
    CYCLES,
    DEVICE_HZ,
    END_PARENT,
    FIRST_PARENT,
    FREQUENCY,
    INPUT,
    JOB,
    MEAN_CYCLES,
    OUTPUT,
    SERVERS,
    TASKS,
)
from dispatchgym.envs.edge_offloading.graph_kernel import (
    CHILDREN,
    EFFECT_BACK,
    EFFECT_DATA,
    EFFECT_GROWTH,
    EFFECT_JOULES,
    FINISHED,
    LEAST,
    NOW,
    OPEN,
    PLACE,
    PLACED,
    PREDICTED,
    READY,
    READY_AT,
    SHOW_MARGINALS,
    STATUS,
    TAIL,
    TASK,
    appraise,
    backlog,
    user_of_task,
)
from dispatchgym.envs.edge_offloading.layout import GIGAHERTZ, MEGABIT, compiled

BIN_SECONDS = 10.0
"""Width of the bins in which cores are counted by the time until they are free."""


@compiled
def observe(state, weights, observation, lane, fresh):
    """Write the observation of a lane.

    Args:
        state: the episodes.
        weights: float64 (B, 2), preferences.
        observation: written.
        lane: the lane.
        fresh: whether the episode, its instance or the preference may be another than before.
    """
    device, task = state.number[lane, SERVERS], observation.task[lane]
    running = state.scalar[lane, STATUS] != FINISHED
    if fresh:
        observe_context(state, weights, observation, lane)
    for s in range(device + 1):
        row = observation.servers[lane, s]
        for column in range(layout.SERVER_COLUMNS):
            row[column] = 0.0
        observation.action_mask[lane, s] = running
        observe_server(state, row, lane, s, running)
    for column in range(layout.TASK_COLUMNS):
        task[column] = 0.0
    if running:
        observe_task(state, task, lane)


@compiled
def observe_context(state, weights, observation, lane):
    """Write what stays the same in an episode, and zeros for servers that do not exist."""
    context, device = observation.context[lane], state.number[lane, SERVERS]
    for s in range(device + 1, observation.servers.shape[1]):
        for column in range(layout.SERVER_COLUMNS):
            observation.servers[lane, s, column] = 0.0
    for action in range(observation.action_mask.shape[1]):
        observation.action_mask[lane, action] = 0
    for k in range(layout.OBJECTIVES):
        observation.preference[lane, k] = weights[lane, k]
    edges, frequency = device - 1, 0.0
    for e in range(1, device):
        frequency += state.server[lane, e, FREQUENCY] / edges
    context[layout.NUM_EDGES] = edges
    context[layout.MEAN_EDGE_GHZ] = frequency / GIGAHERTZ
    context[layout.CLOUD_GHZ] = state.server[lane, 0, FREQUENCY] / GIGAHERTZ
    context[layout.ARRIVAL_RATE] = state.real[lane, ARRIVALS]
    context[layout.MEAN_SIZE] = state.real[lane, MEAN_CYCLES] / GIGAHERTZ
    context[layout.SLOT_SECONDS] = 0.0
    context[layout.EVENT_MODE] = 1.0
    context[layout.SCENARIO] = layout.DAG_ONLINE


@compiled
def observe_task(state, row, lane):
    """Write what is known of the task to be placed and of its job."""
    scalar, now, i = state.scalar[lane], state.total[lane, NOW], state.scalar[lane, TASK]
    task, placed = state.task[lane, i], state.placed[lane, i]
    job = state.job[lane, np.int64(task[JOB])]
    bits, waiting = task[INPUT], 0
    for k in range(np.int64(task[FIRST_PARENT]), np.int64(task[END_PARENT])):
        bits += state.task[lane, state.parent[lane, k], OUTPUT]
    for k in range(scalar[READY]):
        waiting += state.placed[lane, state.ready[lane, k], READY_AT] <= now
    row[layout.BITS] = bits / MEGABIT
    row[layout.WORK] = task[CYCLES] / GIGAHERTZ
    row[layout.WAITING] = waiting
    row[layout.EPISODE_LEFT] = 1.0 - scalar[PLACED] / state.number[lane, TASKS]
    row[layout.IN_DEGREE] = task[END_PARENT] - task[FIRST_PARENT]
    row[layout.OUT_DEGREE] = placed[CHILDREN]
    row[layout.UPWARD_RANK] = placed[LEAST] + placed[TAIL]
    row[layout.APP_TASKS_LEFT] = state.progress[lane, np.int64(task[JOB]), OPEN]
    row[layout.APP_AGE] = now - job[ARRIVAL]
    row[layout.PREFERRED] = -1.0
    row[layout.PRESENT] = 1.0


@compiled
def observe_server(state, row, lane, s, running):
    """Write the row of a server, or of the device of the task's user."""
    device, now = state.number[lane, SERVERS], state.total[lane, NOW]
    user, i = user_of_task(state, lane), state.scalar[lane, TASK]
    task = state.task[lane, i]
    cores, frequency = 1, state.real[lane, DEVICE_HZ]
    if s < device:
        cores = np.int64(state.server[lane, s, CORES])
        frequency = state.server[lane, s, FREQUENCY]
        row[layout.RATE] = state.link[lane, user, s] / (100.0 * MEGABIT)
    row[layout.EXISTS] = 1.0
    row[layout.FREQUENCY] = frequency / GIGAHERTZ
    row[layout.EDGES] = device - 1
    row[layout.OPEN] = running
    soonest = np.inf
    for c in range(cores):
        free = state.core[lane, s, c] if s < device else state.device[lane, user]
        seconds = max(free - now, 0.0)
        soonest = min(soonest, seconds)
        if seconds > 0.0:
            place = min(np.int64(seconds / BIN_SECONDS), layout.BINS - 1)
            row[layout.HISTOGRAM + place] += 1.0
            row[layout.COMPUTING] += 1.0
    row[layout.BACKLOG] = backlog(state, lane, s)
    row[layout.UNTIL_FREE] = soonest
    if s == device:
        row[layout.UPLOADING] = state.radio[lane, user] > now
    if not running:
        return
    row[layout.TASK_BITS] = task[INPUT] / MEGABIT
    total, here = task[INPUT], task[INPUT] if s == device else 0.0
    for k in range(np.int64(task[FIRST_PARENT]), np.int64(task[END_PARENT])):
        above = state.parent[lane, k]
        bits = state.task[lane, above, OUTPUT]
        total += bits
        here += bits if state.placed[lane, above, PLACE] == s else 0.0
    row[layout.DATA_SHARE] = here / total if total > 0.0 else 1.0
    if state.setting[SHOW_MARGINALS]:
        appraise(state, lane, s)
        effect = state.effect[lane, s]
        known = state.progress[lane, np.int64(task[JOB]), PREDICTED]
        row[layout.OWN_DELAY] = effect[EFFECT_BACK] - now
        row[layout.EXTRA_DELAY] = effect[EFFECT_GROWTH]
        row[layout.ENERGY] = effect[EFFECT_JOULES]
        row[layout.COST] = effect[EFFECT_DATA] - now
        row[layout.SLACK] = known - effect[EFFECT_BACK] - state.placed[lane, i, TAIL]
