"""An index policy inside the kernel: every job that may start gets a number, the highest is taken.

The number is a linear function of the 16 features of a job as a candidate, plus that of a small
layer of rectified units. Where waiting is legal its number is 0: a job whose number is lower is
not worth starting now. The same weights play shops of every size. An episode takes well under a
millisecond, which is what makes it possible to improve the weights by playing
(`dispatchgym.agents.evolution`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import split
from dispatchgym.envs.job_shop.env import CANDIDATE_COLUMNS, JobShopSimulation
from dispatchgym.envs.job_shop.kernel import (
    DECISIONS,
    FINISHED,
    JOBS,
    LOWER_BOUND,
    MAKESPAN,
    MEAN_DURATION,
    RUNNING,
    STATUS,
    State,
    apply_action,
    compiled,
    copy_between,
    describe_machines,
    inlined,
    show_candidate,
)

__all__ = ["FEATURES", "IndexShops", "index_actions"]

FloatArray = npt.NDArray[np.float64]

FEATURES = CANDIDATE_COLUMNS
"""What is known of a candidate: the columns of the observation's `candidates`."""


@inlined
def index_of(row, weights, c):  # type: ignore[no-untyped-def]
    """Return the index of a candidate with the features `row` (FEATURES,)."""
    total = 0.0
    for f in range(FEATURES):
        total += weights.direct[c, f] * row[f]
    for h in range(weights.bias.shape[1]):
        unit = weights.bias[c, h]
        for f in range(FEATURES):
            unit += weights.hidden[c, h, f] * row[f]
        total += max(unit, 0.0) * weights.out[c, h]
    return total


@compiled
def index_choice(state, lane, weights, c, row):  # type: ignore[no-untyped-def]
    """Return the job of highest index, or to wait (ties: the lowest number; waiting last)."""
    describe_machines(state, lane)
    per_mean = 1.0 / max(state.real[lane, MEAN_DURATION], 1e-9)
    legal = state.legal[lane]
    wait = legal.size - 1
    best, highest = -1, -np.inf
    for j in range(state.scalar[lane, JOBS]):
        if legal[j]:
            show_candidate(state, row, lane, j, per_mean)
            index = index_of(row, weights, c)
            if index > highest:
                best, highest = j, index
    if legal[wait] and highest < 0.0:
        return wait
    return best


@compiled
def play_index(state, lane, weights, c, row):  # type: ignore[no-untyped-def]
    """Play an episode to its end with the weights of a candidate."""
    while state.scalar[lane, STATUS] == RUNNING:
        apply_action(state, lane, index_choice(state, lane, weights, c, row))


@compiled
def play_shop(begun, trial, lane, weights, row, scores):  # type: ignore[no-untyped-def]
    """Play the episode of a lane with each candidate.

    Args:
        begun: episodes at their first decision.
        trial: as many lanes to play in.
        lane: which episode.
        weights: of C candidates.
        row: work space (FEATURES,).
        scores: float64 (C,), written: the lower bound over the makespan; 0 where a shop locked up.

    Returns:
        number of decisions, all candidates together.
    """
    decisions = 0
    for c in range(scores.size):
        copy_between(begun, lane, trial, lane)
        play_index(trial, lane, weights, c, row)
        scalar = trial.scalar[lane]
        decisions += scalar[DECISIONS]
        finished = scalar[STATUS] == FINISHED
        scores[c] = scalar[LOWER_BOUND] / scalar[MAKESPAN] if finished else 0.0
    return decisions


@njit(cache=True, nogil=True, parallel=True)
def play_shops(begun, trial, weights, rows, scores):  # type: ignore[no-untyped-def]
    """Play every episode with every candidate; return the decisions."""
    decisions = 0
    for lane in prange(begun.scalar.shape[0]):
        decisions += play_shop(begun, trial, np.int64(lane), weights, rows[lane], scores[lane])
    return decisions


@njit(cache=True, nogil=True)
def choose(state, weights, row, actions):  # type: ignore[no-untyped-def]
    """Write the action of each lane; -1 where the episode is over."""
    for lane in range(state.scalar.shape[0]):
        actions[lane] = -1
        if state.scalar[lane, STATUS] == RUNNING:
            actions[lane] = index_choice(state, lane, weights, 0, row)


def index_actions(simulation: JobShopSimulation, weights: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B,) the actions of highest index; -1 where the episode is over.

    Args:
        simulation: the episodes, by the scheme "event".
        weights: float64 (W,), in the order of `envs.core.index_weights`.
    """
    actions = np.empty(simulation.num_lanes, np.int64)
    row = np.zeros(FEATURES, np.float32)
    choose(simulation.state, split(np.asarray(weights, np.float64)[None], FEATURES), row, actions)
    return actions


class IndexShops:
    """Episodes on which weights are compared: all play the same ones.

    Attributes:
        decisions: decisions that candidates have taken so far.

    Args:
        count: number of episodes, at least 1.
        **options: of the environment, scenario and mode among them.

    Raises:
        ParameterError: no episode is asked for, or an option is wrong.
    """

    def __init__(self, count: int, **options: Any) -> None:
        if count < 1:
            raise ParameterError(f"count: found {count}, expected at least 1")
        self._simulation, trial = (
            JobShopSimulation(num_lanes=count, **options | {"observation": "jobs"})
            for _ in range(2)
        )
        self._trial: State = trial.state
        self._rows = np.zeros((count, FEATURES), np.float32)
        self.decisions = 0

    def draw(self, rng: np.random.Generator) -> None:
        """Take other episodes, never those of evaluations: their seeds are 2^62 or more."""
        self.take(rng.integers(1 << 62, (1 << 63) - 1, len(self._rows)))

    def take(self, seeds: npt.NDArray[np.int64]) -> None:
        """Take the episodes of these seeds, one a lane."""
        self._simulation.restart(np.ones(len(seeds), np.bool_), seeds)

    def scores(self, candidates: FloatArray) -> FloatArray:
        """Return (C,) the mean over the shops of the trivial lower bound over the makespan.

        A shop that locks up scores nothing.
        """
        scores = np.empty((len(self._rows), len(candidates)))
        self.decisions += play_shops(
            self._simulation.state, self._trial, split(candidates, FEATURES), self._rows, scores
        )
        mean: FloatArray = scores.mean(axis=0)
        return mean
