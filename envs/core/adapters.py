"""Thin views of the environments in the shapes that other libraries expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import MissingDependencyError
from dispatchgym.envs.core.vector_env import KernelVectorEnv

if TYPE_CHECKING:
    from dispatchgym.envs.core.sb3 import SB3VectorEnv

__all__ = ["RLlibMaskView", "TianshouMaskView", "to_sb3"]


def to_sb3(vec: gym.vector.VectorEnv[Any, Any, Any]) -> SB3VectorEnv:
    """Return a native vector environment as a `VecEnv` of stable-baselines3.

    Args:
        vec: from ``gym.make_vec(id, num_envs=N, autoreset_mode="SameStep")``; where rewards have
            several objectives, made with ``reward="scalar"``.

    Raises:
        MissingDependencyError: stable-baselines3 is not installed.
        ParameterError: `vec` has another autoreset mode, or its rewards are vectors.
    """
    try:
        from dispatchgym.envs.core.sb3 import SB3VectorEnv
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'to_sb3 needs stable-baselines3: pip install "dispatchgym[agents]"'
        ) from error
    native = vec.unwrapped
    assert isinstance(native, KernelVectorEnv)
    return SB3VectorEnv(native)


class RLlibMaskView(gym.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """The observation as RLlib's action-masking modules read it.

    ``{"action_mask": float32 (A,), "observations": float32 (D,)}`` with all other entries
    flattened, in the order of the space's keys, into one vector.
    """

    def __init__(self, env: gym.Env[dict[str, Any], Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        mask = env.observation_space["action_mask"]
        self._rest = _without_mask(env.observation_space)
        size = spaces.flatdim(self._rest)
        limit = float(np.finfo(np.float32).max)
        self.observation_space = spaces.Dict(
            {
                "action_mask": spaces.Box(0.0, 1.0, mask.shape, np.float32),
                "observations": spaces.Box(-limit, limit, (size,), np.float32),
            }
        )

    def observation(self, observation: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the observation in RLlib's shape."""
        rest = {key: observation[key] for key in self._rest}
        return {
            "action_mask": observation["action_mask"].astype(np.float32),
            "observations": np.asarray(spaces.flatten(self._rest, rest), np.float32),
        }


class TianshouMaskView(gym.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """The observation as Tianshou reads masks: ``{"obs": other entries, "mask": bool (A,)}``."""

    def __init__(self, env: gym.Env[dict[str, Any], Any]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        self._rest = _without_mask(env.observation_space)
        shape = env.observation_space["action_mask"].shape
        self.observation_space = spaces.Dict(
            {"obs": self._rest, "mask": spaces.Box(0, 1, shape, np.bool_)}  # type: ignore[arg-type]
        )

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """Return the observation in Tianshou's shape."""
        return {
            "obs": {key: observation[key] for key in self._rest},
            "mask": observation["action_mask"].astype(np.bool_),
        }


def _without_mask(space: spaces.Dict) -> spaces.Dict:
    return spaces.Dict({key: box for key, box in space.items() if key != "action_mask"})
