"""Thin views of the environments in the shapes that other libraries expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from dispatchgym.envs.core.errors import MissingDependencyError
from dispatchgym.envs.core.vector_env import KernelVectorEnv

if TYPE_CHECKING:
    from dispatchgym.envs.core.sb3 import SB3VectorEnv

__all__ = ["RLlibMaskVectorView", "RLlibMaskView", "TianshouMaskView", "to_sb3"]


def to_sb3(vec: gym.vector.VectorEnv[Any, Any, Any], copy: bool = True) -> SB3VectorEnv:
    """Return a native vector environment as a `VecEnv` of stable-baselines3.

    Args:
        vec: from ``gym.make_vec(id, num_envs=N, autoreset_mode="SameStep")``; where rewards have
            several objectives, made with ``reward="scalar"``.
        copy: False gives the buffers of the kernel, which the next step overwrites, for a
            learner that has copied an observation before it steps again. The algorithms of
            stable-baselines3 have not.

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
    return SB3VectorEnv(native, copy)


class RLlibMaskView(gym.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """The observation as RLlib's action-masking modules read it.

    ``{"action_mask": float32 (A,), "observations": float32 (D,)}`` with all other entries
    flattened, in the alphabetical order of their keys, into one vector.
    """

    def __init__(self, env: gym.Env[dict[str, Any], Any]) -> None:
        super().__init__(env)
        self.observation_space = _rllib_space(env.observation_space)

    def observation(self, observation: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the observation in RLlib's shape."""
        return _rllib_observation(observation)


class RLlibMaskVectorView(gym.vector.VectorObservationWrapper):
    """The same view of a native batch, rows first.

    RLlib steps it in one call with ``gym_env_vectorize_mode="vector_entry_point"``.

    Args:
        env: from ``gym.make_vec(id, num_envs=N)``; RLlib knows its autoreset mode NextStep only.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self.single_observation_space = _rllib_space(env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def observations(self, observations: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the rows' observations in RLlib's shape."""
        return _rllib_observation(observations)


class TianshouMaskView(gym.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """The observation as Tianshou reads masks: ``{"obs": other entries, "mask": bool (A,)}``.

    Infos are empty: Tianshou's replay buffer stores them with each transition and refuses those
    that lack an entry which another has, as the last one of an episode does.
    """

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

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        observation, _ = super().reset(seed=seed, options=options)
        return observation, {}

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Apply an action."""
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, {}


def _without_mask(space: spaces.Dict) -> spaces.Dict:
    return spaces.Dict({key: box for key, box in space.items() if key != "action_mask"})


def _rllib_space(space: gym.Space[Any]) -> spaces.Dict:
    assert isinstance(space, spaces.Dict)
    limit = float(np.finfo(np.float32).max)
    size = spaces.flatdim(_without_mask(space))
    return spaces.Dict(
        {
            "action_mask": spaces.Box(0.0, 1.0, space["action_mask"].shape, np.float32),
            "observations": spaces.Box(-limit, limit, (size,), np.float32),
        }
    )


def _rllib_observation(observation: dict[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """Return one observation, or a batch of them, as mask and flat vector."""
    mask = observation["action_mask"].astype(np.float32)
    rows = mask.shape[:-1]
    entries = [
        np.asarray(entry, np.float32).reshape(*rows, -1)
        for key, entry in sorted(observation.items())
        if key != "action_mask"
    ]
    return {"action_mask": mask, "observations": np.concatenate(entries, axis=-1)}
