"""Preferences between objectives, and the wrapper that makes a vector reward a number."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError

__all__ = ["GRID_POINTS", "PREFERENCE_DRAWS", "PreferenceWrapper", "check_preference"]

PREFERENCE_DRAWS = ("grid", "dirichlet")
"""What an episode's preference can be drawn from, besides one that is given."""
GRID_POINTS = 64
"""Preferences of two objectives on the grid: (i, 63 - i) / 63, the training set of GMORL
(arXiv 2509.10474, equation 46)."""

_TOLERANCE = 1e-6
"""Weights are often float32, whose sums are this wrong."""


def check_preference(preference: Any, objectives: int) -> str | npt.NDArray[np.float64]:
    """Return a preference as the name of a draw or as weights, float64 (objectives,).

    Raises:
        ParameterError: it is neither one of `PREFERENCE_DRAWS` nor a sequence of so many
            weights >= 0 that sum to one, or ``"grid"`` for other than two objectives.
    """
    expected = f"{objectives} numbers >= 0 that sum to one"
    if isinstance(preference, str):
        if preference in PREFERENCE_DRAWS and (preference != "grid" or objectives == 2):
            return preference
        known = PREFERENCE_DRAWS if objectives == 2 else PREFERENCE_DRAWS[1:]
        raise ParameterError(
            f"preference: found {preference!r}, expected {' or '.join(known)}, or {expected}"
        )
    try:
        weights = np.asarray(preference, np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != (objectives,) or not (weights >= 0).all():
        raise ParameterError(f"preference: found {preference!r}, expected {expected}")
    if abs(weights.sum() - 1.0) > _TOLERANCE:
        raise ParameterError(
            f"preference: found {preference!r}, which sums to {weights.sum():g}, "
            f"expected {expected}"
        )
    return weights


class PreferenceWrapper(gym.Wrapper[Any, Any, Any, Any]):
    """Turns the vector reward of a single environment of this suite into one number.

    The number is the dot product with the preference of the episode, which is also in
    ``observation["preference"]``. ``info["vector_reward"]`` of every step holds the vector.
    ``reset(options={"preference": weights})`` sets the preference of one episode.

    Args:
        env: environment with a vector reward, such as
            ``gym.make("dispatchgym:dispatchgym/EdgeOffloading-v0")``, wrapped or not.
        sampler: where the preferences of the episodes come from: ``"grid"`` (64 equally spaced
            ones of two objectives), ``"dirichlet"`` (all alike), both drawn by the seed of the
            episode, or weights >= 0 that sum to one, for every episode the same.

    Raises:
        ParameterError: the environment has no vector reward, or the sampler is none of these.
    """

    def __init__(self, env: gym.Env[Any, Any], sampler: Any = "grid") -> None:
        super().__init__(env)
        simulation = getattr(env.unwrapped, "simulation", None)
        if simulation is None or not simulation.gives_vector:
            raise ParameterError(
                f"PreferenceWrapper: found {env}, whose reward is a number, "
                'expected an environment made with reward="vector"'
            )
        self._simulation = simulation
        simulation.choose_preference(sampler)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step, with the reward weighed."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        vector: npt.NDArray[np.float32] = np.asarray(reward)
        weighed = float(self._simulation.preferences[0] @ vector)
        return observation, weighed, terminated, truncated, {**info, "vector_reward": vector}
