"""What an environment does with a lane, and the compiled loops over lanes."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.soc.kernel import (
    BASE_SEED,
    CHANGES,
    COMPBONUS_REWARD,
    ELAPSED,
    EPISODE,
    FINISHED,
    FINISHED_JOBS,
    INJECTED,
    JOB_TIME,
    LOGGING,
    METERED,
    NOW,
    NUM_FREQUENCY_LOG_COLUMNS,
    NUM_JOB_LOG_COLUMNS,
    NUM_TASK_LOG_COLUMNS,
    REWARD,
    ROW,
    RUNNING,
    SEED,
    STARTED,
    STATUS,
    STEP_LIMIT,
    STUCK,
    TIME_SCALE,
    TRUNCATED,
    apply_action,
    compiled,
    copy_row,
    cost_so_far,
    inlined,
    is_legal,
    merged,
    reset_lane,
    rule_action,
    run_rule,
)
from dispatchgym.envs.soc.meter import TOLD
from dispatchgym.envs.soc.observation import copy_observation, observe

INVALID_ACTION_REWARD = -1.0
COMPLETION_BONUS = 50.0
TIME_PENALTY = 0.5
LANES_PER_BLOCK = 16


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the logs of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        elapsed: int64 (B,), microseconds that passed in the step.
        scalar, pe, task_log, job_log, frequency_log: as in `State`, written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    elapsed: np.ndarray
    scalar: np.ndarray
    pe: np.ndarray
    task_log: np.ndarray
    job_log: np.ndarray
    frequency_log: np.ndarray


@compiled
def restart_lane(state, tables, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative.

    Where there are two rows of instances a lane, those of its episodes alternate.
    """
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    if tables.number.shape[0] > 1:
        scalar[ROW] = 2 * lane + 1 - scalar[ROW] % 2
    reset_lane(state, tables, lane)
    observe(state, tables, observation, lane, True)


@inlined
def play_action(state, tables, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar = state.scalar[lane]
    scalar[ELAPSED] += 1
    legal = is_legal(state, tables, lane, action)
    outcome.invalid[lane] = not legal
    outcome.reward[lane] = INVALID_ACTION_REWARD
    outcome.elapsed[lane] = 0
    if legal:
        now, jobs, finished = scalar[NOW], scalar[JOB_TIME], scalar[FINISHED_JOBS]
        apply_action(state, tables, lane, action)
        outcome.elapsed[lane] = scalar[NOW] - now
        if state.setting[METERED]:
            outcome.reward[lane] = -new_cost(
                scalar, tables.number[scalar[ROW]], state.meter[lane], state.setting[REWARD]
            )
        elif state.setting[REWARD] == COMPBONUS_REWARD:
            bonus = COMPLETION_BONUS * (scalar[FINISHED_JOBS] - finished)
            outcome.reward[lane] = bonus - TIME_PENALTY * (scalar[NOW] - now)
        else:
            unit = tables.real[scalar[ROW], TIME_SCALE]
            outcome.reward[lane] = -(scalar[JOB_TIME] - jobs) / unit
    limit, status = state.setting[STEP_LIMIT], scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED or status == STUCK
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def new_cost(scalar, number, meter, reward):
    """Return what has been drawn since this was asked last, or since the beginning."""
    cost = cost_so_far(scalar, number, meter, reward)
    new = cost - meter[TOLD]
    meter[TOLD] = cost
    return new


@compiled
def write_log(state, outcome, lane):
    """Copy the result of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.pe, lane, outcome.pe, lane)
    if state.setting[LOGGING]:
        for i in range(state.scalar[lane, STARTED]):
            for column in range(NUM_TASK_LOG_COLUMNS):
                outcome.task_log[lane, i, column] = state.task_log[lane, i, column]
        for i in range(state.scalar[lane, INJECTED]):
            for column in range(NUM_JOB_LOG_COLUMNS):
                outcome.job_log[lane, i, column] = state.job_log[lane, i, column]
        for i in range(state.scalar[lane, CHANGES]):
            for column in range(NUM_FREQUENCY_LOG_COLUMNS):
                outcome.frequency_log[lane, i, column] = state.frequency_log[lane, i, column]


@merged
def step_lane(state, tables, observation, final, outcome, action, autoreset, lane):
    """Step a lane; at the end of its episode write the log and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, tables, outcome, action, lane)
    if status != RUNNING:
        write_log(state, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, tables, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, tables, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some sixty arrays for every call they make;
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
def reset_block(state, tables, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, tables, observation, seeds[lane], lane)


@compiled
def step_block(state, tables, observation, final, outcome, actions, autoreset, chosen, block):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            action = actions[lane]
            step_lane(state, tables, observation, final, outcome, action, autoreset, lane)


@compiled
def observe_block(state, tables, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, tables, observation, lane, True)


@compiled
def rule_action_block(state, tables, rule, actions, block):
    """Write the actions of a rule for a block; -1 where an episode is over."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, tables, lane, rule)


@compiled
def run_rule_block(state, tables, outcome, rule, block):
    """Play the lanes of a block to their end under a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, tables, lane, rule)
        write_log(state, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, tables, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(state, tables, observation, seeds, chosen, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def step_batch(state, tables, observation, final, outcome, actions, autoreset, chosen):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, tables, observation, final, outcome, actions, autoreset, chosen,
            np.int64(block),
        )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, tables, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, tables, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, tables, rule, actions):
    """Write the action of a rule for each lane; -1 where an episode is over."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, tables, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, tables, outcome, rule):
    """Play every lane to its end under a rule."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, tables, outcome, rule, np.int64(block))
