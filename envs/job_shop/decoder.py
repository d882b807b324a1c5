"""A neural policy inside the kernel: operations are encoded once, jobs are scored at each step.

A network outside (`dispatchgym.models.job_shop_encoder`) looks at the whole instance once and
leaves a vector for each operation. At a decision, the score of a job is a small network of its
34 features as a candidate, of their mean over all candidates, and of the vector of its next
operation. Where waiting is legal its score is 0. The same weights play shops of every size.

`dispatchgym.envs.job_shop.decoding` is what the rest of the package uses of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.job_shop.env import RIVAL_COLUMNS
from dispatchgym.envs.job_shop.kernel import (
    DECISIONS,
    FINISHED,
    JOBS,
    MAKESPAN,
    NEXT,
    NOISE,
    RUNNING,
    SEED,
    STATUS,
    apply_action,
    compiled,
    copy_between,
    forget_future,
    inlined,
    show_rivals,
    write_log,
)

FloatArray = npt.NDArray[np.float32]

FEATURES = RIVAL_COLUMNS
"""Features of a candidate."""


class Decoder(NamedTuple):
    """Weights of the scores, with H rectified units, for B shops of n jobs and K operations.

    Attributes:
        direct: float32 (FEATURES,), from a candidate's features to its score.
        inner: float32 (FEATURES, H), from its features to the units.
        context: float32 (FEATURES, H), from the mean of all candidates' features to the units.
        bias, out: float32 (H,), of the units, and from the units to the score.
        vectors: float32 (B, n, K, H), what the encoder adds to the units for each operation.
    """

    direct: FloatArray
    inner: FloatArray
    context: FloatArray
    bias: FloatArray
    out: FloatArray
    vectors: FloatArray


class Work(NamedTuple):
    """Work space: a row for each of B lanes.

    Attributes:
        rows: float32 (B, n, FEATURES), features of the candidates. mean: (B, FEATURES), theirs.
        common: float32 (B, H), what the candidates' units share. units: (B, n, H).
        scores: float32 (B, n + 1).
    """

    rows: FloatArray
    mean: FloatArray
    common: FloatArray
    units: FloatArray
    scores: FloatArray


def work_space(lanes: int, jobs: int, units: int) -> Work:
    """Return work space for so many lanes."""
    return Work(
        np.zeros((lanes, jobs, FEATURES), np.float32),
        np.zeros((lanes, FEATURES), np.float32),
        np.zeros((lanes, units), np.float32),
        np.zeros((lanes, jobs, units), np.float32),
        np.zeros((lanes, jobs + 1), np.float32),
    )


# --- Scores ----------------------------------------------------------------------------------


@inlined
def find_common(state, lane, decoder, work, slot):
    """Work out what all candidates' units share: bias, and the mean of the features."""
    mean, common = work.mean[slot], work.common[slot]
    mean[:] = 0.0
    count = 0
    for j in range(state.scalar[lane, JOBS]):
        if state.legal[lane, j]:
            count += 1
            for f in range(FEATURES):
                mean[f] += work.rows[slot, j, f]
    share = np.float32(1.0 / max(count, 1))
    for h in range(common.size):
        common[h] = decoder.bias[h]
    for f in range(FEATURES):
        mean[f] *= share
        value = mean[f]
        if value != 0.0:  # many features are of one mode or scheme alone
            for h in range(common.size):
                common[h] += value * decoder.context[f, h]


@inlined
def score_job(state, lane, shop, decoder, work, slot, j):
    """Return the score of a job whose features are known."""
    row, units, common = work.rows[slot, j], work.units[slot, j], work.common[slot]
    vector = decoder.vectors[shop, j, state.job[lane, NEXT, j]]
    for h in range(units.size):
        units[h] = common[h] + vector[h]
    score = np.float32(0.0)
    for f in range(FEATURES):
        value = row[f]
        if value != 0.0:
            score += value * decoder.direct[f]
            for h in range(units.size):
                units[h] += value * decoder.inner[f, h]
    for h in range(units.size):
        score += max(units[h], np.float32(0.0)) * decoder.out[h]
    return score


@compiled
def score_actions(state, lane, shop, decoder, work, slot):
    """Write the score of every legal action of a lane to row `slot` of the work space.

    `shop` is the row of the decoder's vectors. Illegal actions get minus infinity.
    """
    scores = work.scores[slot]
    scores[:] = -np.inf
    show_rivals(state, work.rows[slot], lane)
    find_common(state, lane, decoder, work, slot)
    for j in range(state.scalar[lane, JOBS]):
        if state.legal[lane, j]:
            scores[j] = score_job(state, lane, shop, decoder, work, slot, j)
    if state.legal[lane, scores.size - 1]:
        scores[scores.size - 1] = 0.0


@compiled
def choose_action(state, lane, shop, decoder, work, slot, temperature, sample):
    """Return the action of highest score, or one drawn by Gumbel noise on the scores.

    With temperature 0 there is no noise; ties go to the lowest number.
    """
    score_actions(state, lane, shop, decoder, work, slot)
    scores = work.scores[slot]
    best, highest = -1, -np.inf
    for action in range(scores.size):
        if state.legal[lane, action]:
            score = np.float64(scores[action])
            if temperature > 0.0:
                scalar = state.scalar[lane]
                stream = NOISE + 8 * sample
                u = uniform(np.uint64(scalar[SEED]), stream, scalar[DECISIONS], action)
                score -= temperature * math.log(-math.log(u + 1e-300) + 1e-300)
            if best < 0 or score > highest:
                best, highest = action, score
    return best


@njit(cache=True, nogil=True, parallel=True)
def score_lanes(state, decoder, work):
    """Write the scores of all lanes that are not over."""
    for index in prange(state.scalar.shape[0]):
        lane = np.int64(index)
        if state.scalar[lane, STATUS] == RUNNING:
            score_actions(state, lane, lane, decoder, work, lane)


# --- Whole episodes --------------------------------------------------------------------------


@inlined
def play_on(state, lane, shop, decoder, work):
    """Play an episode to its end without noise."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, choose_action(state, lane, shop, decoder, work, shop, 0.0, 0))


@inlined
def log_probability(state, lane, scores, action):
    """Return the log-probability of an action without changing its scores."""
    highest = np.float32(-np.inf)
    for other in range(scores.size):
        if state.legal[lane, other]:
            highest = max(highest, scores[other])
    total = 0.0
    for other in range(scores.size):
        if state.legal[lane, other]:
            total += math.exp(scores[other] - highest)
    return scores[action] - highest - math.log(total)


@compiled
def sample_once(state, shop, decoder, work, temperature, sample, actions):
    """Play an episode to its end, writing its actions; return their number and likelihood."""
    count, likelihood = 0, 0.0
    while state.scalar[shop, STATUS] == RUNNING:
        action = choose_action(state, shop, shop, decoder, work, shop, temperature, sample)
        likelihood += log_probability(state, shop, work.scores[shop], action)
        actions[count] = action
        count += 1
        apply_action(state, shop, action)
    return count, likelihood


@compiled
def sample_shop(begun, trial, shop, decoder, work, temperature, first, plays):
    """Play a shop several times, as samples number `first` and following."""
    for i in range(plays.lengths.shape[1]):
        copy_between(begun, shop, trial, shop)
        noise = temperature if first + i > 0 else 0.0
        length, likelihood = sample_once(
            trial, shop, decoder, work, noise, first + i, plays.actions[shop, i]
        )
        plays.lengths[shop, i] = length
        plays.likelihoods[shop, i] = likelihood
        finished = trial.scalar[shop, STATUS] == FINISHED
        plays.makespans[shop, i] = trial.scalar[shop, MAKESPAN] if finished else np.inf


@njit(cache=True, nogil=True, parallel=True)
def sample_shops(begun, trial, decoder, work, temperature, first, plays):
    """Play all shops several times; sample 0 of each is the one without noise."""
    for index in prange(begun.scalar.shape[0]):
        shop = np.int64(index)  # the unsigned index would turn sums into floats
        sample_shop(begun, trial, shop, decoder, work, temperature, first, plays)


@njit(cache=True, nogil=True, parallel=True)
def apply_lanes(state, actions):
    """Apply an action to every lane that is not over."""
    for index in prange(actions.size):
        lane = np.int64(index)
        if state.scalar[lane, STATUS] == RUNNING:
            apply_action(state, lane, np.int64(actions[lane]))


@njit(cache=True, nogil=True, parallel=True)
def finish_lanes(state, outcome, decoder, work, actions, lengths):
    """Play given actions, then the decoder's to the end, and write the logs."""
    for index in prange(lengths.size):
        lane = np.int64(index)
        for t in range(lengths[lane]):
            apply_action(state, lane, np.int64(actions[lane, t]))
        play_on(state, lane, lane, decoder, work)
        write_log(state, outcome, lane)


# --- The gradient ----------------------------------------------------------------------------


@inlined
def normalise(state, lane, scores):
    """Turn the scores of the legal actions into probabilities; return log of what divided them."""
    highest = np.float32(-np.inf)
    for action in range(scores.size):
        if state.legal[lane, action]:
            highest = max(highest, scores[action])
    total = np.float32(0.0)
    for action in range(scores.size):
        if state.legal[lane, action]:
            scores[action] = math.exp(scores[action] - highest)
            total += scores[action]
    for action in range(scores.size):
        scores[action] = scores[action] / total if state.legal[lane, action] else 0.0
    return highest + math.log(total)


@compiled
def add_gradient(state, lane, shop, decoder, work, slope, action, weight):
    """Add weight times the gradient of the log-probability of an action; return the latter.

    The scores of the lane are in row `shop` of the work space and turn into probabilities;
    `slope` is a `Decoder` of sums, a row a shop.
    """
    scores, mean, common = work.scores[shop], work.mean[shop], work.common[shop]
    likelihood = np.float64(scores[action])
    likelihood -= normalise(state, lane, scores)
    common[:] = 0.0
    for j in range(state.scalar[lane, JOBS]):
        if not state.legal[lane, j]:
            continue
        row, units = work.rows[shop, j], work.units[shop, j]
        vector = slope.vectors[shop, j, state.job[lane, NEXT, j]]
        part = np.float32(weight * ((1.0 if j == action else 0.0) - scores[j]))
        for h in range(units.size):
            slope.out[shop, h] += part * max(units[h], np.float32(0.0))
            units[h] = part * decoder.out[h] if units[h] > 0.0 else np.float32(0.0)
            common[h] += units[h]
            vector[h] += units[h]
        for f in range(FEATURES):
            value = row[f]
            if value != 0.0:
                slope.direct[shop, f] += part * value
                for h in range(units.size):
                    slope.inner[shop, f, h] += value * units[h]
    for h in range(common.size):
        slope.bias[shop, h] += common[h]
    for f in range(FEATURES):
        value = mean[f]
        if value != 0.0:
            for h in range(common.size):
                slope.context[shop, f, h] += value * common[h]
    return likelihood


@compiled
def follow_shop(begun, trial, shop, decoder, work, slope, weights, actions, lengths):
    """Play the samples of a shop again, adding up the gradient; see `follow_shops`."""
    total = 0.0
    for sample in range(weights.size):
        if weights[sample] == 0.0:
            continue
        copy_between(begun, shop, trial, shop)
        for t in range(lengths[sample]):
            action = np.int64(actions[sample, t])
            score_actions(trial, shop, shop, decoder, work, shop)
            likelihood = add_gradient(
                trial, shop, shop, decoder, work, slope, action, weights[sample]
            )
            total += weights[sample] * likelihood
            apply_action(trial, shop, action)
    return total


@njit(cache=True, nogil=True, parallel=True)
def follow_shops(begun, trial, decoder, work, slope, weights, actions, lengths, totals):
    """Add up the gradient of the weighted log-likelihood of samples.

    Args:
        begun: shops at their first decision.
        trial: as many lanes to play in.
        decoder: what played.
        work: work space.
        slope: a `Decoder` whose arrays have one more axis in front, a row a shop; added to.
        weights: float64 (B, S), of the samples; those of weight 0 are passed over.
        actions: int16 (B, S, T), what they did.
        lengths: int64 (B, S), how much of that there is.
        totals: float64 (B,), written: weighted log-likelihoods.
    """
    for index in prange(totals.size):
        shop = np.int64(index)
        totals[shop] = follow_shop(
            begun,
            trial,
            shop,
            decoder,
            work,
            slope,
            weights[shop],
            actions[shop],
            lengths[shop],
        )


# --- Rollouts --------------------------------------------------------------------------------


@compiled
def rollout_shop(state, scratch, shop, decoder, work, values):
    """Write the makespan of each legal action followed by the decoder's play; see `rollout_lane`.

    `scratch` has two lanes for each lane of `state`.
    """
    origin, trial = 2 * shop, 2 * shop + 1
    copy_between(state, shop, scratch, origin)
    forget_future(scratch, origin)
    for action in range(values.shape[1]):
        values[shop, action] = np.inf if state.legal[shop, action] else np.nan
        if state.legal[shop, action] == 0:
            continue
        copy_between(scratch, origin, scratch, trial)
        apply_action(scratch, trial, action)
        play_on(scratch, trial, shop, decoder, work)
        if scratch.scalar[trial, STATUS] == FINISHED:
            values[shop, action] = scratch.scalar[trial, MAKESPAN]


@njit(cache=True, nogil=True, parallel=True)
def rollout_shops(state, scratch, decoder, work, values):
    """Write the rollout values of all lanes; nothing is legal where an episode is over."""
    for index in prange(values.shape[0]):
        rollout_shop(state, scratch, np.int64(index), decoder, work, values)
