"""The small network that stable-baselines3 makes for Dict observations."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

__all__ = ["FlatView", "MultiInputNetwork"]

_LIMIT = float(np.finfo(np.float32).max)


class FlatView(VecEnvWrapper):
    """Observations as one vector besides the mask, written once and not by every network.

    ``features``, float32 (B, D), are all arrays, the mask too, in the order of the space, as
    `MultiInputPolicy` joins them; the next step overwrites them.

    Args:
        venv: with Dict observations that have an ``action_mask``.
    """

    def __init__(self, venv: VecEnv) -> None:
        space = venv.observation_space
        assert isinstance(space, spaces.Dict)
        self.sizes = {key: int(np.prod(box.shape or ())) for key, box in space.items()}
        width = sum(self.sizes.values())
        features = spaces.Box(-_LIMIT, _LIMIT, (width,), np.float32)
        flat = spaces.Dict({"features": features, "action_mask": space["action_mask"]})
        super().__init__(venv, flat)
        self._features = torch.zeros(venv.num_envs, width)

    def reset(self) -> dict[str, NDArray[Any]]:
        """Begin episodes in all rows."""
        return self._flat(self.venv.reset())  # type: ignore[arg-type]

    def step_wait(self) -> tuple[Any, NDArray[Any], NDArray[Any], list[Any]]:
        """Step all rows."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for row in np.flatnonzero(dones):
            last = infos[row]["terminal_observation"]
            vector = np.concatenate([np.ravel(last[key]) for key in self.sizes], dtype=np.float32)
            infos[row]["terminal_observation"] = {
                "features": vector,
                "action_mask": last["action_mask"],
            }
        return self._flat(observations), rewards, dones, infos  # type: ignore[arg-type]

    def _flat(self, observations: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        columns = self._features.split(list(self.sizes.values()), dim=1)
        for key, part in zip(self.sizes, columns, strict=True):
            part.copy_(torch.as_tensor(observations[key]).flatten(1))
        return {"features": self._features.numpy(), "action_mask": observations["action_mask"]}


class MultiInputNetwork(nn.Module):
    """What `MultiInputPolicy` computes, from the observations of `FlatView`.

    The first layers of actor and critic, which read the same input, are one matrix.

    Args:
        policy: with hidden layers of tanh, the same for both; its weights are copied.
    """

    def __init__(self, policy: MaskableMultiInputActorCriticPolicy) -> None:
        super().__init__()
        layers = policy.mlp_extractor
        acting = nn.Sequential(*layers.policy_net, policy.action_net)
        judging = nn.Sequential(*layers.value_net, policy.value_net)
        begins = [cast(nn.Linear, tower[0]) for tower in (acting, judging)]
        self.begin = nn.Linear(begins[0].in_features, sum(layer.out_features for layer in begins))
        with torch.no_grad():
            self.begin.weight.copy_(torch.cat([layer.weight for layer in begins]))
            self.begin.bias.copy_(torch.cat([layer.bias for layer in begins]))
        self.actor, self.critic = copy.deepcopy(acting[1:]), copy.deepcopy(judging[1:])

    def forward(self, observations: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (batch, actions) and values (batch,)."""
        acting, judging = self.begin(observations["features"]).chunk(2, dim=1)
        return self.actor(acting), self.critic(judging).squeeze(1)
