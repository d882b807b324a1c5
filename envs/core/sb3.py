"""The native vector environment as a `VecEnv` of stable-baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.vector_env import KernelVectorEnv

__all__ = ["SB3VectorEnv"]


class SB3VectorEnv(VecEnv):
    """Steps a `KernelVectorEnv` in one call for stable-baselines3 and sb3-contrib.

    Each observation is copied once, out of the buffers of the kernel; with ``copy=False`` it is
    these buffers themselves, which the next step overwrites.

    Args:
        vec: made with ``autoreset_mode="SameStep"``, the only mode stable-baselines3 knows, and
            where rewards have several objectives with ``reward="scalar"``: then
            ``infos[i]["vector_reward"]`` of every step holds the vector, float32 (K,).
        copy: whether observations are copied.

    Raises:
        ParameterError: `vec` has another autoreset mode, or its rewards are vectors.
    """

    def __init__(self, vec: KernelVectorEnv, copy: bool = True) -> None:
        if vec.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ParameterError(
                f"to_sb3: found autoreset_mode={vec.autoreset_mode.value!r}, expected 'SameStep'"
            )
        if vec.simulation.gives_vector:
            raise ParameterError(
                "to_sb3: found reward='vector', expected 'scalar': stable-baselines3 keeps one "
                "number a step; the vector is in infos[i]['vector_reward']"
            )
        self.vec = vec
        vec.copy = copy
        self._pending: npt.NDArray[np.int64] = np.zeros(vec.num_envs, np.int64)
        self._restart: int | None = None
        self._episode_return = np.zeros(vec.num_envs)
        self._episode_length = np.zeros(vec.num_envs, np.int64)
        super().__init__(vec.num_envs, vec.single_observation_space, vec.single_action_space)

    def reset(self) -> dict[str, npt.NDArray[Any]]:
        """Begin episodes in all rows, with the seeds of the last call of `seed` if any."""
        given = [seed for seed in self._seeds if seed is not None]
        observations, _ = self.vec.reset(seed=list(self._seeds) if given else None)
        self._reset_seeds()
        self._episode_return[:] = 0.0
        self._episode_length[:] = 0
        return observations

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._pending = np.asarray(actions)

    def step_wait(self) -> tuple[Any, npt.NDArray[np.float64], npt.NDArray[np.bool_], list[Any]]:
        """Step all rows."""
        observations, rewards, terminated, truncated, found = self.vec.step(self._pending)
        dones = terminated | truncated
        self._episode_return += rewards
        self._episode_length += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane in np.flatnonzero(dones):
            infos[lane] = self._final_info(found, int(lane), bool(truncated[lane]))
        if "vector_reward" in found:
            for info, vector in zip(infos, found["vector_reward"], strict=True):
                info["vector_reward"] = vector
        self._episode_return[dones] = 0.0
        self._episode_length[dones] = 0
        return observations, rewards, dones, infos

    def _final_info(self, found: dict[str, Any], lane: int, truncated: bool) -> dict[str, Any]:
        final = found["final_info"]
        scalars = {
            key: value[lane]
            for key, value in final.items()
            if not key.startswith("_") and key != "schedule"
        }
        episode = {
            "r": float(self._episode_return[lane]),
            "l": int(self._episode_length[lane]),
        }
        return {
            **scalars,
            "episode": episode,
            "terminal_observation": found["final_obs"][lane],
            "TimeLimit.truncated": truncated,
        }

    def close(self) -> None:
        """Close the vector environment."""
        self.vec.close()

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the vector environment; return one result a row.

        ``action_masks`` gives the rows of the batch's mask; so does any other method that
        returns one entry a row. Anything else is an error.
        """
        results = getattr(self.vec, method_name)(*method_args, **method_kwargs)
        if not isinstance(results, np.ndarray | Sequence) or len(results) != self.num_envs:
            raise ParameterError(
                f"env_method: {method_name!r} does not return one result for each of "
                f"{self.num_envs} rows"
            )
        if indices is None:
            return list(results)
        return [results[row] for row in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the vector environment, once for each row."""
        if attr_name == "render_mode":
            value: Any = self.vec.render_mode
        else:
            value = getattr(self.vec, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the rows are lanes of one environment and share its attributes."""
        raise ParameterError(f"set_attr: {attr_name!r} cannot be set for single rows")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Tell that no row is wrapped; episode statistics are given like a Monitor's."""
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
