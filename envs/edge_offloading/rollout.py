"""Looking ahead: each server is judged by playing on with greedy_omega in drawn futures.

What has not happened yet is drawn anew, from the law of arrivals and sizes and with links like
those that have been seen, so that the rule knows no more than a dispatcher does. All servers are
judged by the same futures.
"""

import numpy as np
from numba import prange

from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.edge_offloading.draw import (
    ARRIVALS,
    BITS,
    EXPECTED,
    HIDDEN,
    HORIZON,
    RELEASE,
    SERVERS,
    SLOT,
    SOURCE,
    TASKS,
    draw_size,
    poisson,
)
from dispatchgym.envs.edge_offloading.kernel import (
    ARRIVED,
    COMING,
    DELAY_REWARD,
    DELAY_UNIT,
    ENERGY_REWARD,
    ENERGY_UNIT,
    FUTURE,
    HEAD,
    LOOKS_UPLOADED,
    NOBODY,
    NUM_SENT_COLUMNS,
    PLACED,
    RUNNING,
    SEED,
    SLOT_NOW,
    STATUS,
    THERE,
    UPLOADED,
    apply_action,
    greedy_omega,
)
from dispatchgym.envs.edge_offloading.lanes import (
    LANES_PER_BLOCK,
    block_end,
    num_blocks,
    parallel,
    write_result,
)
from dispatchgym.envs.edge_offloading.layout import compiled, copy_row

SAMPLES = 8
"""Futures that are drawn for a decision."""
DECISIONS = 20
"""Decisions that are played in each."""


@compiled
def copy_lane(source, target, lane):
    """Copy all that the course of an episode depends on."""
    copy_row(source.scalar, lane, target.scalar, lane)
    copy_row(source.total, lane, target.total, lane)
    copy_row(source.number, lane, target.number, lane)
    copy_row(source.real, lane, target.real, lane)
    copy_row(source.server, lane, target.server, lane)
    copy_row(source.load, lane, target.load, lane)
    copy_row(source.clock, lane, target.clock, lane)
    for m in range(source.scalar[lane, ARRIVED]):
        for column in range(source.task.shape[2]):
            target.task[lane, m, column] = source.task[lane, m, column]
        for e in range(source.number[lane, SERVERS]):
            target.uplink[lane, m, e] = source.uplink[lane, m, e]
    for m in range(source.scalar[lane, PLACED]):
        for column in range(NUM_SENT_COLUMNS):
            target.sent[lane, m, column] = source.sent[lane, m, column]
    for e in range(source.number[lane, SERVERS]):
        for i in range(source.load[lane, e, THERE]):
            target.tag[lane, e, i] = source.tag[lane, e, i]
            target.here[lane, e, i] = source.here[lane, e, i]
        for i in range(source.load[lane, e, COMING]):
            target.coming[lane, e, i] = source.coming[lane, e, i]


@compiled
def draw_future(state, lane, seed):
    """Replace what a dispatcher cannot know: arrivals to come, and sizes that are hidden."""
    scalar, number, real = state.scalar[lane], state.number[lane], state.real[lane]
    if number[HIDDEN]:
        for e in range(number[SERVERS]):
            guess_uploads(state, lane, e)
        for m in range(scalar[PLACED], scalar[ARRIVED]):
            state.task[lane, m, BITS] = state.task[lane, m, EXPECTED]
    count, seen = scalar[ARRIVED], scalar[ARRIVED]
    last = min(scalar[SLOT_NOW] + DECISIONS, number[HORIZON] - 1)
    for slot in range(scalar[SLOT_NOW] + 1, last + 1):
        coming = poisson(real[ARRIVALS] * real[SLOT], uniform(seed, FUTURE, slot, 0))
        for _ in range(min(coming, state.task.shape[1] - count)):
            like = np.int64(uniform(seed, FUTURE, count, 1) * seen)
            task = state.task[lane, count]
            task[RELEASE], task[SOURCE] = slot * real[SLOT], state.task[lane, like, SOURCE]
            draw_size(seed, count, number, real, task)
            for e in range(number[SERVERS]):
                state.uplink[lane, count, e] = state.uplink[lane, like, e]
            count += 1
    number[TASKS] = count


@compiled
def guess_uploads(state, lane, e):
    """Let uploads under way be of the expected sizes, in the order in which they end then."""
    coming = state.coming[lane, e]
    for i in range(state.load[lane, e, COMING]):
        m, place = coming[i], i
        now = state.scalar[lane, SLOT_NOW] * state.real[lane, SLOT]
        state.task[lane, m, BITS] = state.task[lane, m, EXPECTED]
        state.sent[lane, m, UPLOADED] = max(state.sent[lane, m, LOOKS_UPLOADED], now)
        while place > 0 and (
            state.sent[lane, coming[place - 1], UPLOADED] < state.sent[lane, m, UPLOADED]
        ):
            coming[place] = coming[place - 1]
            place -= 1
        coming[place] = m


@compiled
def play_on(trial, weights, lane, action):
    """Return the weighted reward of an action and of the greedy decisions that follow."""
    scalar, total = trial.scalar[lane], trial.total[lane]
    first = scalar[PLACED]
    apply_action(trial, lane, action)
    while scalar[STATUS] == RUNNING and scalar[PLACED] < first + DECISIONS:
        apply_action(trial, lane, greedy_omega(trial, weights, lane))
    value = 0.0
    for m in range(first, scalar[PLACED]):
        value += weights[lane, 0] * trial.sent[lane, m, DELAY_REWARD] / total[DELAY_UNIT]
        value += weights[lane, 1] * trial.sent[lane, m, ENERGY_REWARD] / total[ENERGY_UNIT]
    return value


@compiled
def judge(state, trial, weights, lane, samples, values):
    """Write the mean weighted reward of each server and what follows, minus infinity for none.

    Args:
        state: the episodes.
        trial: as many lanes to play in.
        weights: float64 (B, 2), preferences.
        lane: the lane.
        samples: futures that are drawn.
        values: float64 (S,), written.
    """
    scalar = state.scalar[lane]
    values[:] = -np.inf
    if scalar[STATUS] != RUNNING:
        return
    for e in range(state.number[lane, SERVERS]):
        values[e] = 0.0
        for sample in range(samples):
            seed = derive(np.uint64(scalar[SEED]), scalar[PLACED] * samples + sample + 1)
            copy_lane(state, trial, lane)
            draw_future(trial, lane, seed)
            values[e] += play_on(trial, weights, lane, e) / samples


@compiled
def rollout_omega(state, trial, weights, lane, values):
    """Return the server that does best; -1 where the episode is over. See `judge`."""
    scalar = state.scalar[lane]
    if scalar[STATUS] != RUNNING or scalar[HEAD] == NOBODY:
        return 0 if scalar[STATUS] == RUNNING else -1
    judge(state, trial, weights, lane, SAMPLES, values)
    best = 0
    for e in range(state.number[lane, SERVERS]):
        if values[e] > values[best]:
            best = e
    return best


@compiled
def judge_block(state, trial, vector, samples, values, block):
    """Judge the servers of the lanes of a block."""
    for lane in range(LANES_PER_BLOCK * block, block_end(state, block)):
        judge(state, trial, vector.preference, lane, samples, values[lane])


@compiled
def rollout_block(state, trial, vector, values, actions, block):
    """Write the actions for a block; -1 where an episode is over."""
    for lane in range(LANES_PER_BLOCK * block, block_end(state, block)):
        actions[lane] = rollout_omega(state, trial, vector.preference, lane, values[lane])


@compiled
def run_rollout_block(state, trial, vector, values, outcome, block):
    """Play the lanes of a block to their end."""
    for lane in range(LANES_PER_BLOCK * block, block_end(state, block)):
        while state.scalar[lane, STATUS] == RUNNING:
            action = rollout_omega(state, trial, vector.preference, lane, values[lane])
            apply_action(state, lane, action)
        write_result(state, vector, outcome, lane)


@parallel
def judge_batch(state, trial, vector, samples, values):
    """Judge the servers of all lanes; `values` float64 (B, S) is written."""
    for block in prange(num_blocks(state)):
        judge_block(state, trial, vector, samples, values, np.int64(block))


@parallel
def rollout_batch(state, trial, vector, values, actions):
    """Write the actions of all lanes."""
    for block in prange(num_blocks(state)):
        rollout_block(state, trial, vector, values, actions, np.int64(block))


@parallel
def run_rollout_batch(state, trial, vector, values, outcome):
    """Play every lane to its end."""
    for block in prange(num_blocks(state)):
        run_rollout_block(state, trial, vector, values, outcome, np.int64(block))
