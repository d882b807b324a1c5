"""Replay of past steps: vector rewards under other preferences, in a quarter of the memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from dispatchgym.envs.core.errors import ParameterError

__all__ = ["CompactReplayBuffer", "Transitions"]

Arrays = dict[str, NDArray[Any]]

LARGEST_HALF = float(np.finfo(np.float16).max)


class Transitions(NamedTuple):
    """A minibatch of B steps.

    Attributes:
        observations: tensors (B, ...) by key.
        actions: int64 (B, 1).
        next_observations: what followed; of an episode that was cut off, its last observation.
        dones: float32 (B, 1), 1 where an episode came to its own end.
        rewards: float32 (B, 1).
        vector_rewards: float32 (B, K), K = 0 where rewards are no vectors.
        entropies: float32 (B, 1), in nats, of the policy that took the action.
    """

    observations: dict[str, Tensor]
    actions: Tensor
    next_observations: dict[str, Tensor]
    dones: Tensor
    rewards: Tensor
    vector_rewards: Tensor
    entropies: Tensor


class CompactReplayBuffer(DictReplayBuffer):
    """A ring of the latest steps.

    Each observation is stored once: what followed a step is what the next step began with. Where
    an episode is cut off by a time limit, its last observation is kept apart. Steps of
    environments with a preference keep the vector reward, so that they can be replayed under
    preferences that they were not made for: the dynamics do not depend on it.

    Args:
        buffer_size: steps kept, all environments together.
        observation_space: flat and with an ``action_mask``.
        action_space: of discrete actions.
        device: of the minibatches.
        n_envs: environments that step together.
        optimize_memory_usage: has no meaning here, memory is always saved.
        half: store float32 arrays in half precision (three digits, at most 65,504).
        relabel: share of each minibatch that gets preferences drawn uniformly from the simplex.
        seed: of the drawing.

    Raises:
        ParameterError: `relabel` is no share, or there is no preference in the observation.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        half: bool = False,
        relabel: float = 0.0,
        seed: int | None = None,
    ) -> None:
        # The parent's own constructor would allocate every observation twice.
        super(ReplayBuffer, self).__init__(
            buffer_size, observation_space, action_space, device, n_envs
        )
        preference = observation_space.spaces.get("preference")
        _check_share(relabel, preference is not None)
        self.relabel = relabel
        self.random = np.random.default_rng(seed)
        self.optimize_memory_usage = False
        self.handle_timeout_termination = True
        # One row more than steps: the latest step is followed by an observation of its own.
        self.buffer_size = max(buffer_size // n_envs, 1) + 1
        shape = (self.buffer_size, n_envs)
        self.observations = {
            key: np.zeros((*shape, *(space.shape or ())), _storage(space.dtype, half))
            for key, space in observation_space.spaces.items()
        }
        self.objectives = preference.shape[0] if preference is not None and preference.shape else 0
        self.actions = np.zeros(shape, np.int64)
        self.rewards = np.zeros(shape, np.float32)
        self.vector_rewards = np.zeros((*shape, self.objectives), np.float32)
        self.entropies = np.zeros(shape, np.float32)
        self.dones = np.zeros(shape, np.float32)
        self.timeouts = np.zeros(shape, np.bool_)
        self._last: dict[int, dict[int, Arrays]] = {}

    def size(self) -> int:
        """Return how many rows of steps are kept."""
        return self.buffer_size - 1 if self.full else self.pos

    def add(  # type: ignore[override]
        self,
        obs: Mapping[str, NDArray[Any]],
        next_obs: Mapping[str, NDArray[Any]],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep one step of every environment; see the parent.

        Raises:
            ParameterError: there is a preference, but ``infos`` hold no ``"vector_reward"``.
        """
        row = self.pos
        following = (row + 1) % self.buffer_size
        for key, stored in self.observations.items():
            stored[row] = _narrow(obs[key], stored.dtype)
            stored[following] = _narrow(next_obs[key], stored.dtype)
        self.actions[row] = np.reshape(action, self.n_envs)
        self.rewards[row], self.dones[row] = reward, done
        self.entropies[row] = [info.get("entropy", 0.0) for info in infos]
        self.timeouts[row] = [info.get("TimeLimit.truncated", False) for info in infos]
        if self.objectives:
            self.vector_rewards[row] = _vector_rewards(infos)
        cut_off = np.flatnonzero(self.timeouts[row]).tolist()
        self._last[row] = {
            lane: {key: np.array(value[lane]) for key, value in next_obs.items()}
            for lane in cut_off
        }
        self.full |= following == 0
        self.pos = following

    def sample(  # type: ignore[override]
        self, batch_size: int, env: VecNormalize | None = None
    ) -> Transitions:
        """Draw steps, each as likely as any other.

        Raises:
            ParameterError: none has been kept yet.
        """
        if not self.size():
            raise ParameterError("replay buffer: found no steps to draw from")
        steps = self.random.integers(0, self.size(), batch_size)
        oldest = self.pos + 1 if self.full else 0
        return self._get_samples((oldest + steps) % self.buffer_size, env)

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None
    ) -> Transitions:
        rows, lanes = batch_inds, self.random.integers(0, self.n_envs, len(batch_inds))
        before = self._gather(rows, lanes)
        after = self._gather((rows + 1) % self.buffer_size, lanes)
        cut_off = self.timeouts[rows, lanes]
        for index in np.flatnonzero(cut_off).tolist():
            for key, value in self._last[int(rows[index])][int(lanes[index])].items():
                after[key][index] = value
        rewards, vectors = self.rewards[rows, lanes], self.vector_rewards[rows, lanes]
        changed = round(self.relabel * len(rows))
        if changed:
            preferences = self.random.dirichlet(np.ones(self.objectives), changed)
            before["preference"][:changed] = after["preference"][:changed] = preferences
            rewards[:changed] = (preferences * vectors[:changed]).sum(axis=1)
        dones = self.dones[rows, lanes] * ~cut_off
        return Transitions(
            observations=self._tensors(before, env),
            actions=torch.as_tensor(self.actions[rows, lanes], device=self.device).unsqueeze(1),
            next_observations=self._tensors(after, env),
            dones=torch.as_tensor(dones, device=self.device).unsqueeze(1),
            rewards=torch.as_tensor(
                self._normalize_reward(rewards, env), device=self.device
            ).unsqueeze(1),
            vector_rewards=torch.as_tensor(vectors, device=self.device),
            entropies=torch.as_tensor(self.entropies[rows, lanes], device=self.device).unsqueeze(1),
        )

    def _gather(self, rows: NDArray[np.int64], lanes: NDArray[np.int64]) -> Arrays:
        """Return observations as they were before they were stored."""
        return {
            key: stored[rows, lanes].astype(self.observation_space[key].dtype, copy=False)
            for key, stored in self.observations.items()
        }

    def _tensors(self, arrays: Arrays, env: VecNormalize | None) -> dict[str, Tensor]:
        normal = self._normalize_obs(arrays, env)
        assert isinstance(normal, dict)
        return {key: torch.as_tensor(value, device=self.device) for key, value in normal.items()}


def _check_share(relabel: float, has_preference: bool) -> None:
    if not 0 <= relabel <= 1:
        raise ParameterError(f"relabel: found {relabel}, expected a share, 0 to 1")
    if relabel and not has_preference:
        raise ParameterError(
            f"relabel: found {relabel}, but the observation has no 'preference' to change"
        )


def _storage(dtype: np.dtype[Any] | None, half: bool) -> np.dtype[Any]:
    assert dtype is not None
    return np.dtype(np.float16) if half and dtype == np.float32 else np.dtype(dtype)


def _narrow(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values that can be stored: what half precision cannot hold becomes its largest."""
    if dtype == np.float16:
        return np.clip(values, -LARGEST_HALF, LARGEST_HALF)
    return values


def _vector_rewards(infos: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
    try:
        return np.array([info["vector_reward"] for info in infos], np.float32)
    except KeyError:
        raise ParameterError(
            "vector_reward: missing in the info of a step, though the observation has a "
            "'preference'; make the environment with reward='scalar'"
        ) from None
