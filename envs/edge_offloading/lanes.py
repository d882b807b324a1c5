"""What an environment does with a lane of independent tasks, and the compiled loops over lanes."""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.core.vector_reward import begin_preference, scalarise
from dispatchgym.envs.edge_offloading.draw import draw_instance
from dispatchgym.envs.edge_offloading.kernel import (
    BASE_SEED,
    DELAY_REWARD,
    DELAY_UNIT,
    ELAPSED,
    ENERGY_REWARD,
    ENERGY_UNIT,
    EPISODE,
    FINISHED,
    HEAD,
    NOBODY,
    NUM_SENT_COLUMNS,
    PLACED,
    RUNNING,
    SEED,
    STATUS,
    STEP_LIMIT,
    TRUNCATED,
    apply_action,
    begin_lane,
    compiled,
    copy_instance,
    inlined,
    is_legal,
    rows_of_lane,
    rule_action,
    run_rule,
)
from dispatchgym.envs.edge_offloading.layout import copy_observation, copy_row
from dispatchgym.envs.edge_offloading.observation import observe

parallel = njit(cache=True, nogil=True, parallel=True)

INVALID_ACTION_REWARD = -1.0
LANES_PER_BLOCK = 16


class Source(NamedTuple):
    """Where the instance of the next episode comes from.

    Attributes:
        kind: int64 (1,): GENERATED, BANK or PREPARED.
        limits, scales: what `draw_instance` draws from (GENERATED). Otherwise instances lie ready
            in rows (BANK: one for all; PREPARED: one a lane).
    """

    kind: np.ndarray
    limits: np.ndarray
    scales: np.ndarray


GENERATED, BANK, PREPARED = range(3)


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the tasks of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar, total, number, preference, sent: as in the state, written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    total: np.ndarray
    number: np.ndarray
    preference: np.ndarray
    sent: np.ndarray


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
        key = np.uint64(scalar[SEED])
        draw_instance(key, source.limits, source.scales, rows_of_lane(state, lane))
    else:
        copy_instance(rows, 0 if source.kind[0] == BANK else lane, state, lane)
    begin_preference(vector, lane, np.uint64(scalar[SEED]))
    begin_lane(state, lane)
    observe(state, vector.preference, observation, lane, True)


@inlined
def play_action(state, vector, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar, reward = state.scalar[lane], vector.reward[lane]
    scalar[ELAPSED] += 1
    legal = is_legal(state, lane, action)
    outcome.invalid[lane] = not legal
    reward[0] = reward[1] = 0.0 if legal else INVALID_ACTION_REWARD
    if legal:
        m = scalar[HEAD]
        apply_action(state, lane, action)
        if m != NOBODY:
            reward[0] = state.sent[lane, m, DELAY_REWARD] / state.total[lane, DELAY_UNIT]
            reward[1] = state.sent[lane, m, ENERGY_REWARD] / state.total[lane, ENERGY_UNIT]
    outcome.reward[lane] = scalarise(vector, lane)
    limit, status = state.setting[STEP_LIMIT], scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_result(state, vector, outcome, lane):
    """Copy the result of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.total, lane, outcome.total, lane)
    copy_row(state.number, lane, outcome.number, lane)
    copy_row(vector.preference, lane, outcome.preference, lane)
    for m in range(state.scalar[lane, PLACED]):
        for column in range(NUM_SENT_COLUMNS):
            outcome.sent[lane, m, column] = state.sent[lane, m, column]


@inlined
def step_lane(state, source, rows, vector, observation, final, outcome, action, autoreset, lane):
    """Step a lane; at the end of its episode write the result and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, vector, outcome, action, lane)
    if status != RUNNING:
        write_result(state, vector, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, vector.preference, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, source, rows, vector, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some forty arrays for every call they make;
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
def rule_action_block(state, vector, rule, parameter, actions, block):
    """Write the actions of a rule for a block; -1 where an episode is over."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, vector.preference, lane, rule, parameter)


@compiled
def run_rule_block(state, vector, outcome, rule, parameter, block):
    """Play the lanes of a block to their end under a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, vector.preference, lane, rule, parameter)
        write_result(state, vector, outcome, lane)


@parallel
def reset_batch(state, source, rows, vector, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(
            state, source, rows, vector, observation, seeds, chosen, np.int64(block)
        )  # fmt: skip


@parallel
def step_batch(
    state, source, rows, vector, observation, final, outcome, actions, autoreset, chosen
):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, source, rows, vector, observation, final, outcome, actions, autoreset, chosen,
            np.int64(block),
        )  # fmt: skip


@parallel
def observe_batch(state, vector, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, vector, observation, np.int64(block))


@parallel
def rule_action_batch(state, vector, rule, parameter, actions):
    """Write the action of a rule for each lane; -1 where an episode is over."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, vector, rule, parameter, actions, np.int64(block))


@parallel
def run_rule_batch(state, vector, outcome, rule, parameter):
    """Play every lane to its end under a rule."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, vector, outcome, rule, parameter, np.int64(block))
