"""What an environment does with a lane of dependent tasks, and the compiled loops over lanes."""

from typing import NamedTuple

import numpy as np
from numba import prange

from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.core.vector_reward import begin_preference, scalarise
from dispatchgym.envs.edge_offloading.graph_draw import draw_graphs
from dispatchgym.envs.edge_offloading.graph_kernel import (
    BASE_SEED,
    DELAY_REWARD,
    DELAY_UNIT,
    ELAPSED,
    ENERGY_UNIT,
    EPISODE,
    FINISHED,
    JOULES,
    RUNNING,
    SEED,
    STATUS,
    STEP_LIMIT,
    TASK,
    TRUNCATED,
    apply_action,
    begin_lane,
    copy_instance,
    is_legal,
    rows_of_lane,
    rule_action,
    run_rule,
)
from dispatchgym.envs.edge_offloading.graph_observation import observe
from dispatchgym.envs.edge_offloading.lanes import (
    BANK,
    GENERATED,
    INVALID_ACTION_REWARD,
    LANES_PER_BLOCK,
    block_end,
    num_blocks,
    parallel,
)
from dispatchgym.envs.edge_offloading.layout import compiled, copy_observation, copy_row


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the tasks of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar, total, number, preference, placed: as in the state, written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    total: np.ndarray
    number: np.ndarray
    preference: np.ndarray
    placed: np.ndarray


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
        draw_graphs(key, source.limits, source.scales, rows_of_lane(state, lane))
    else:
        copy_instance(rows, 0 if source.kind[0] == BANK else lane, state, lane)
    begin_preference(vector, lane, np.uint64(scalar[SEED]))
    begin_lane(state, lane)
    observe(state, vector.preference, observation, lane, True)


@compiled
def play_action(state, vector, outcome, action, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar, reward = state.scalar[lane], vector.reward[lane]
    scalar[ELAPSED] += 1
    legal = is_legal(state, lane, action)
    outcome.invalid[lane] = not legal
    reward[0] = reward[1] = 0.0 if legal else INVALID_ACTION_REWARD
    if legal:
        i = scalar[TASK]
        apply_action(state, lane, action)
        reward[0] = state.placed[lane, i, DELAY_REWARD] / state.total[lane, DELAY_UNIT]
        reward[1] = -state.placed[lane, i, JOULES] / state.total[lane, ENERGY_UNIT]
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
    copy_row(state.placed, lane, outcome.placed, lane)


@compiled
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
def rule_action_block(state, vector, rule, actions, block):
    """Write the actions of a rule for a block; -1 where an episode is over."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        actions[lane] = rule_action(state, vector.preference, lane, rule)


@compiled
def run_rule_block(state, vector, outcome, rule, block):
    """Play the lanes of a block to their end under a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, vector.preference, lane, rule)
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
def rule_action_batch(state, vector, rule, actions):
    """Write the action of a rule for each lane; -1 where an episode is over."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, vector, rule, actions, np.int64(block))


@parallel
def run_rule_batch(state, vector, outcome, rule):
    """Play every lane to its end under a rule."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, vector, outcome, rule, np.int64(block))
