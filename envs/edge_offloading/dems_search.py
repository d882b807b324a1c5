"""Looking ahead in the deadline family: each legal action is tried, then a rule goes on.

What is tried runs in lanes of its own. Arrivals are foreseen as they come (drones send a segment
every second), times on the cloud as the profiles say: what the network does is not known.
"""

import numpy as np
from numba import njit, prange

from dispatchgym.envs.edge_offloading.dems_kernel import (
    DISCIPLINE,
    DROP,
    HELD,
    NEXT,
    NOW,
    NUM_LOG_COLUMNS,
    PLAYING,
    PRICE,
    PROMISED,
    QOS,
    QUEUED,
    ROLLOUT_RULE,
    RUNNING,
    SENT,
    STARTED,
    STATUS,
    apply_action,
    compiled,
    is_legal,
    shadow_action,
    wait_before,
)
from dispatchgym.envs.edge_offloading.dems_rules import DISCIPLINE_OF
from dispatchgym.envs.edge_offloading.dems_tables import CLOUD_TIME, SURGE_HEIGHT, TASKS
from dispatchgym.envs.edge_offloading.layout import copy_row

__all__ = ["judge_batch", "rollout_batch", "run_rollout_batch"]

ACTIONS = 4
"""Cloud, edge, drop, hold."""
LOOKAHEAD = 1000
"""Milliseconds that are looked ahead: every drone sends a segment."""
TIE = 1e-6
"""Another action than the rule's must be better by this."""


@compiled
def copy_task(state, lane, trial, task):
    """Copy what is known of a task; the cloud takes its usual time."""
    model = state.model[lane, task]
    trial.release[lane, task] = state.release[lane, task]
    trial.model[lane, task] = model
    trial.cloud_time[lane, task] = state.times[lane, model, CLOUD_TIME]
    trial.expected[lane, task] = state.expected[lane, task]
    trial.trigger[lane, task] = state.trigger[lane, task]
    trial.restored[lane, task] = state.restored[lane, task]
    trial.worth[lane, task] = state.worth[lane, task]
    for column in range(NUM_LOG_COLUMNS):
        trial.log[lane, task, column] = state.log[lane, task, column]


@compiled
def copy_waiting(state, lane, trial):
    """Copy the tasks that have been placed and have not ended."""
    scalar = state.scalar[lane]
    for i in range(scalar[QUEUED]):
        trial.queue[lane, i] = state.queue[lane, i]
        copy_task(state, lane, trial, np.int64(state.queue[lane, i]))
    for i in range(scalar[HELD]):
        trial.held[lane, i] = state.held[lane, i]
        copy_task(state, lane, trial, np.int64(state.held[lane, i]))
    for i in range(scalar[STARTED], scalar[SENT]):
        trial.sent[lane, i] = state.sent[lane, i]
        copy_task(state, lane, trial, np.int64(state.sent[lane, i]))
    for i in range(scalar[RUNNING]):
        for column in range(2):
            trial.cloud[lane, i, column] = state.cloud[lane, i, column]
        copy_task(state, lane, trial, state.cloud[lane, i, 1])


@compiled
def copy_coming(state, lane, trial):
    """Copy the tasks that arrive while we look ahead, and one more."""
    last = state.scalar[lane, NOW] + LOOKAHEAD
    for task in range(state.scalar[lane, NEXT], state.numbers[lane, TASKS]):
        copy_task(state, lane, trial, task)
        if state.release[lane, task] > last:
            break


@compiled
def copy_lane(state, lane, trial):
    """Make the lane of the trial like that of the state."""
    copy_row(state.scalar, lane, trial.scalar, lane)
    copy_row(state.real, lane, trial.real, lane)
    copy_row(state.numbers, lane, trial.numbers, lane)
    trial.numbers[lane, SURGE_HEIGHT] = 0
    copy_row(state.times, lane, trial.times, lane)
    copy_row(state.moneys, lane, trial.moneys, lane)
    copy_row(state.standing, lane, trial.standing, lane)
    copy_row(state.sample, lane, trial.sample, lane)
    if state.scalar[lane, STATUS] == PLAYING:
        copy_waiting(state, lane, trial)
        copy_coming(state, lane, trial)


@compiled
def outlook(state, lane, until):
    """Play on until an instant; return the utility booked and promised, less the time it takes."""
    while state.scalar[lane, STATUS] == PLAYING and state.scalar[lane, NOW] < until:
        apply_action(state, lane, shadow_action(state, lane))
    real, busy = state.real[lane], wait_before(state, lane, state.scalar[lane, QUEUED])
    return real[QOS] + real[PROMISED] - real[PRICE] * busy


@compiled
def judge(state, trial, lane, values):
    """Write the outlook of each of the kernel's actions; minus infinity where one is illegal."""
    until = state.scalar[lane, NOW] + LOOKAHEAD
    for action in range(ACTIONS):
        values[action] = -np.inf
        if is_legal(state, lane, action):
            copy_lane(state, lane, trial)
            apply_action(trial, lane, action)
            values[action] = outlook(trial, lane, until)


@compiled
def rollout_action(state, trial, lane, values):
    """Return the action with the best outlook; -1 when the run is over."""
    if state.scalar[lane, STATUS] != PLAYING:
        return -1
    judge(state, trial, lane, values)
    best = shadow_action(state, lane)
    least = values[best] + TIE
    for action in range(ACTIONS):
        if values[action] > least:
            best, least = action, values[action]
    return best


@compiled
def rollout_lane(state, trial, values, servers, actions, lane):
    """Write the action of a lane as the environment numbers it."""
    number = rollout_action(state, trial, lane, values[lane])
    actions[lane] = number if number < DROP else servers + number - DROP


@compiled
def run_rollout_lane(state, trial, values, lane):
    """Play a lane to its end."""
    state.scalar[lane, DISCIPLINE] = DISCIPLINE_OF[ROLLOUT_RULE]
    while state.scalar[lane, STATUS] == PLAYING:
        apply_action(state, lane, rollout_action(state, trial, lane, values[lane]))


@njit(cache=True, nogil=True, parallel=True)
def rollout_batch(state, trial, values, servers, actions):
    """Write the action of each lane; -1 where an episode is over."""
    for lane in prange(state.scalar.shape[0]):
        rollout_lane(state, trial, values, servers, actions, np.int64(lane))


@njit(cache=True, nogil=True, parallel=True)
def judge_batch(state, trial, values):
    """Write the outlook of each action in each lane."""
    for lane in prange(state.scalar.shape[0]):
        judge(state, trial, np.int64(lane), values[lane])


@njit(cache=True, nogil=True, parallel=True)
def run_rollout_batch(state, trial, values):
    """Play every lane to its end."""
    for lane in prange(state.scalar.shape[0]):
        run_rollout_lane(state, trial, values, np.int64(lane))
