"""What an environment does with a lane of tasks with deadlines, and the loops over lanes."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.core.vector_reward import begin_preference, scalarise
from dispatchgym.envs.edge_offloading.dems_draw import DeadlineRows, draw_run
from dispatchgym.envs.edge_offloading.dems_kernel import (
    BASE_SEED,
    BONUS_UNIT,
    CREDIT_AT_DECISION,
    DROP,
    ELAPSED,
    EPISODE,
    HOLD,
    NEXT,
    NUM_LOG_COLUMNS,
    PLAYING,
    PROMISED,
    QOE,
    QOS,
    SEED,
    STATUS,
    STEP_LIMIT,
    TRUNCATED,
    UTILITY_UNIT,
    apply_action,
    begin_lane,
    compiled,
    is_legal,
    rule_action,
    run_rule,
)
from dispatchgym.envs.edge_offloading.dems_observation import observe
from dispatchgym.envs.edge_offloading.layout import copy_observation, copy_row

INVALID_ACTION_REWARD = -1.0
LANES_PER_BLOCK = 16


class Source(NamedTuple):
    """Where the instance of the next episode comes from.

    Attributes:
        kind: int64 (1,): GENERATED, BANK or PREPARED.
        choices: what `draw_run` draws from (GENERATED). Otherwise instances lie ready in rows
            (BANK: one for all; PREPARED: one a lane).
    """

    kind: np.ndarray
    choices: np.ndarray


GENERATED, BANK, PREPARED = range(3)


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the log of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar, real, preference, log: as in the state, written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    preference: np.ndarray
    log: np.ndarray


@compiled
def rows_of_lane(state, lane):
    """Return views of the instance of a lane."""
    return DeadlineRows(
        state.numbers[lane],
        state.times[lane],
        state.moneys[lane],
        state.release[lane],
        state.model[lane],
        state.drone[lane],
        state.cloud_time[lane],
        state.phase[lane],
    )


@compiled
def copy_instance(source, row, target, lane):
    """Copy an instance."""
    copy_row(source.numbers, row, target.numbers, lane)
    copy_row(source.times, row, target.times, lane)
    copy_row(source.moneys, row, target.moneys, lane)
    copy_row(source.release, row, target.release, lane)
    copy_row(source.model, row, target.model, lane)
    copy_row(source.drone, row, target.drone, lane)
    copy_row(source.cloud_time, row, target.cloud_time, lane)


@compiled
def restart_lane(state, source, rows, vector, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative."""
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    if source.kind[0] == GENERATED:
        draw_run(np.uint64(scalar[SEED]), source.choices, rows_of_lane(state, lane))
    else:
        copy_instance(rows, 0 if source.kind[0] == BANK else lane, state, lane)
    begin_preference(vector, lane, np.uint64(scalar[SEED]))
    begin_lane(state, lane)
    observe(state, vector.preference, observation, lane, True)


@compiled
def kernel_action(action, servers):
    """Return the kernel's number of an action of the environment; -1 if there is none."""
    if action == servers:
        return DROP
    if action == servers + 1:
        return HOLD
    return action if 0 <= action < 2 else -1


@compiled
def earned(state, lane):
    """Return the utility so far; with credit at decisions, what is promised besides."""
    real = state.real[lane]
    return real[QOS] + real[PROMISED] if state.setting[CREDIT_AT_DECISION] else real[QOS]


@compiled
def play_action(state, vector, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar, real, reward = state.scalar[lane], state.real[lane], vector.reward[lane]
    scalar[ELAPSED] += 1
    legal = action >= 0 and is_legal(state, lane, action)
    outcome.invalid[lane] = not legal
    reward[0] = reward[1] = INVALID_ACTION_REWARD
    if legal:
        utility, bonus = earned(state, lane), real[QOE]
        apply_action(state, lane, action)
        reward[0] = (earned(state, lane) - utility) / real[UTILITY_UNIT]
        reward[1] = (real[QOE] - bonus) / real[BONUS_UNIT]
    outcome.reward[lane] = scalarise(vector, lane)
    limit, status = state.setting[STEP_LIMIT], scalar[STATUS]
    if status == PLAYING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status != PLAYING and status != TRUNCATED
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_result(state, vector, outcome, lane):
    """Copy the result of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.real, lane, outcome.real, lane)
    copy_row(vector.preference, lane, outcome.preference, lane)
    for task in range(state.scalar[lane, NEXT]):
        for column in range(NUM_LOG_COLUMNS):
            outcome.log[lane, task, column] = state.log[lane, task, column]


@compiled
def step_lane(state, source, rows, vector, observation, final, outcome, action, autoreset, lane):
    """Step a lane; at the end of its episode write the result and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    number = kernel_action(action, observation.servers.shape[1])
    status = play_action(state, vector, outcome, number, lane)
    if status != PLAYING:
        write_result(state, vector, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, vector.preference, observation, lane, False)
    if status != PLAYING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, source, rows, vector, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some forty arrays for every call they make;
# a call that does a block of lanes makes that cheap.


@compiled
def block_end(state, block):
    """Return the lane behind a block of `LANES_PER_BLOCK` lanes."""
    return min((block + 1) * LANES_PER_BLOCK, state.scalar.shape[0])


@compiled
def num_blocks(state):
    """Return the number of blocks."""
    return (state.scalar.shape[0] + LANES_PER_BLOCK - 1) // LANES_PER_BLOCK


@compiled
def reset_block(state, source, rows, vector, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, source, rows, vector, observation, seeds[lane], lane)


@compiled
def step_block(
    state, source, rows, vector, observation, final, outcome, actions, autoreset, chosen, block
):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            action = actions[lane]
            step_lane(
                state, source, rows, vector, observation, final, outcome, action, autoreset, lane
            )


@compiled
def observe_block(state, vector, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, vector.preference, observation, lane, True)


@compiled
def rule_action_block(state, servers, rule, actions, block):
    """Write the actions of a rule for a block; -1 where an episode is over."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        number = rule_action(state, lane, rule)
        actions[lane] = number if number < DROP else servers + number - DROP


@compiled
def run_rule_block(state, vector, outcome, rule, block):
    """Play the lanes of a block to their end under a rule and its discipline."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, lane, rule)
        write_result(state, vector, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, source, rows, vector, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(
            state, source, rows, vector, observation, seeds, chosen, np.int64(block)
        )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def step_batch(
    state, source, rows, vector, observation, final, outcome, actions, autoreset, chosen
):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, source, rows, vector, observation, final, outcome, actions, autoreset, chosen,
            np.int64(block),
        )  # fmt: skip


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, vector, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, vector, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, servers, rule, actions):
    """Write the action of a rule for each lane; -1 where an episode is over."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, servers, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, vector, outcome, rule):
    """Play every lane to its end under a rule and its discipline."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, vector, outcome, rule, np.int64(block))
