"""Rewards of several objectives: their arrays, and how a kernel draws and applies preferences.

A preference holds a weight >= 0 for each objective; the weights sum to one. An episode keeps the
one it began with, a pure function of the episode's seed.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.preference import GRID_POINTS, PREFERENCE_DRAWS, check_preference
from dispatchgym.envs.core.rng import uniform

__all__ = ["VectorReward", "begin_preference", "choose_draw", "make_vector_reward", "scalarise"]

PREFERENCE_STREAM = 2**20
"""Stream of the random numbers; those of the problems are small."""
GIVEN, GRID, DIRICHLET = range(3)

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""As the kernels that call these functions."""


class VectorReward(NamedTuple):
    """Rewards of K objectives in B lanes and what weighs them, as arrays for a kernel."""

    reward: npt.NDArray[np.float64]
    """(B, K): what the last step gave."""
    preference: npt.NDArray[np.float64]
    """(B, K): of the running episode; state of the lane."""
    given: npt.NDArray[np.float64]
    """(K,): the preference of every episode where none is drawn."""
    draw: npt.NDArray[np.int64]
    """(1,): GIVEN, GRID or DIRICHLET."""


def make_vector_reward(num_lanes: int, objectives: int) -> VectorReward:
    """Return the arrays for rewards of `objectives` numbers; all weigh the same."""
    equal = np.full(objectives, 1.0 / objectives)
    return VectorReward(
        np.zeros((num_lanes, objectives)),
        np.tile(equal, (num_lanes, 1)),
        equal,
        np.array([GIVEN], np.int64),
    )


def choose_draw(vector: VectorReward, preference: Any) -> None:
    """Settle which preferences the episodes to come have.

    Args:
        vector: changed in place.
        preference: one of `PREFERENCE_DRAWS`, or a weight for each objective.

    Raises:
        ParameterError: `preference` is neither.
    """
    objectives = len(vector.given)
    weights = check_preference(preference, objectives)
    if isinstance(weights, str):
        vector.draw[0] = 1 + PREFERENCE_DRAWS.index(weights)
    else:
        vector.draw[0] = GIVEN
        vector.given[:] = weights


@compiled
def begin_preference(vector, lane, seed):
    """Give a lane the preference of the episode with this seed."""
    weights, objectives = vector.preference, len(vector.given)
    if vector.draw[0] == GRID:
        point = int(uniform(seed, PREFERENCE_STREAM, 0, 0) * GRID_POINTS)
        weights[lane, 0] = point / (GRID_POINTS - 1)
        weights[lane, 1] = 1.0 - weights[lane, 0]
    elif vector.draw[0] == DIRICHLET:
        total = 0.0
        for k in range(objectives):
            weights[lane, k] = -math.log(1.0 - uniform(seed, PREFERENCE_STREAM, 1, k))
            total += weights[lane, k]
        for k in range(objectives):
            weights[lane, k] /= total
    else:
        for k in range(objectives):
            weights[lane, k] = vector.given[k]


@compiled
def scalarise(vector, lane):
    """Return the reward of a lane's last step, weighed by its preference."""
    total = 0.0
    for k in range(len(vector.given)):
        total += vector.preference[lane, k] * vector.reward[lane, k]
    return total
