"""Actor and twin critics of discrete soft actor-critic, of any network of the suite.

A network gives logits and a value. The actor takes the logits for what they are; a critic reads
the two as a dueling network does (Wang et al. 2016, arXiv 1511.06581): what an action is worth is
the value plus its logit's lead over the mean of the legal ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from dispatchgym.agents.policy import mask_logits
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models.blocks import Perceptron
from dispatchgym.models.registry import PolicyNetwork, build_network

__all__ = ["Choice", "DiscreteSACPolicy", "FlatNetwork", "choose", "legal_mean"]

TensorDict = Mapping[str, Tensor]
NUM_CRITICS = 2


class Choice(NamedTuple):
    """What a policy does in B states.

    Attributes:
        probabilities: (B, A), 0 for illegal actions.
        log_probabilities: (B, A), 0 for illegal actions, so that products with them vanish.
        entropy: (B,), nats.
    """

    probabilities: Tensor
    log_probabilities: Tensor
    entropy: Tensor


def choose(logits: Tensor, mask: Tensor) -> Choice:
    """Return the distribution over legal actions that logits (B, A) stand for."""
    legal = mask > 0
    log_probabilities = torch.log_softmax(mask_logits(logits, mask), dim=1)
    log_probabilities = torch.where(legal, log_probabilities, 0.0)
    probabilities = torch.where(legal, log_probabilities.exp(), 0.0)
    entropy = -(probabilities * log_probabilities).sum(dim=1)
    return Choice(probabilities, log_probabilities, entropy)


def legal_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values (B, A, H) over the legal actions of each state, (B, 1, H)."""
    legal = (mask > 0).to(values.dtype).unsqueeze(2)
    return (values * legal).sum(dim=1, keepdim=True) / legal.sum(dim=1, keepdim=True).clamp(min=1)


class FlatNetwork(PolicyNetwork):
    """All numbers of an observation, one after the other, through layers of fixed widths."""

    def __init__(
        self, space: spaces.Dict, actions: int, *, hidden: int = 128, outputs: int = 1
    ) -> None:
        """Build the network for one observation space.

        Args:
            space: of the observations.
            actions: number of actions.
            hidden: width of the two hidden layers.
            outputs: numbers for each action, and values.
        """
        super().__init__()
        self.keys = tuple(key for key in space.spaces if key != "action_mask")
        self.outputs = outputs
        inputs = sum(spaces.flatdim(space[key]) for key in self.keys)
        self.body = nn.Sequential(Perceptron(inputs, hidden, hidden), nn.ReLU())
        self.logits = nn.Linear(hidden, actions * outputs)
        self.value = nn.Linear(hidden, outputs)

    def forward(self, observation: TensorDict) -> tuple[Tensor, Tensor]:
        """Return logits (B, A) and values (B,); with more outputs (B, A, H) and (B, H)."""
        flat = torch.cat([observation[key].flatten(1).float() for key in self.keys], dim=1)
        state = self.body(flat)
        logits, value = self.logits(state), self.value(state)
        if self.outputs == 1:
            return logits, value.squeeze(1)
        return logits.unflatten(1, (-1, self.outputs)), value


class DiscreteSACPolicy(BasePolicy):
    """Actor, two critics and their slow copies.

    A critic has one head, which learns the scalar return with its entropy, or K + 1: one for each
    component of a vector reward and the last for the entropy. Heads are weighed by the
    observation's preference; that of the entropy counts in full.

    Args:
        observation_space: flat, with an ``action_mask``.
        action_space: of discrete actions.
        lr_schedule: learning rate by the share of training that is left.
        network: registered name of a network (see `dispatchgym.models.network_names`); None for
            two hidden layers over the flattened observation.
        settings: its numbers.
        vector: learn the components of the reward apart; the network needs a setting ``outputs``.
        optimizer_class: of actor and critics.
        optimizer_kwargs: its further arguments.

    Raises:
        ParameterError: the observation has no mask, or for vectors no preference.
        CheckpointError: there is no such network, or it has no such setting.
    """

    observation_space: spaces.Dict
    action_space: spaces.Discrete

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        network: str | None = None,
        settings: Mapping[str, Any] | None = None,
        vector: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        _check_observation(observation_space, vector)
        self.network, self.settings, self.vector = network, dict(settings or {}), vector
        self.actor = self._make({})
        changes: dict[str, Any] = dict(self.actor.critic_settings)
        if vector:
            changes["outputs"] = observation_space["preference"].shape[0] + 1  # type: ignore[index]
        self.critics = nn.ModuleList(self._make(changes) for _ in range(NUM_CRITICS))
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        rate = lr_schedule(1.0)
        make = self.optimizer_class
        self.actor_optimizer = make(self.actor.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]
        self.critic_optimizer = make(self.critics.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _make(self, changes: Mapping[str, Any]) -> PolicyNetwork:
        settings = {**self.settings, **changes}
        if self.network is None:
            return FlatNetwork(self.observation_space, int(self.action_space.n), **settings)
        return build_network(self.network, settings, "policy_kwargs")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "network": self.network,
            "settings": self.settings,
            "vector": self.vector,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def choice(self, observation: TensorDict) -> Choice:
        """Return what the actor does in a batch of states."""
        return choose(self.actor(observation)[0], observation["action_mask"])

    def action_values(self, critics: nn.ModuleList, observation: TensorDict) -> Tensor:
        """Return what critics expect of each action, (2, B, A, heads)."""
        mask, found = observation["action_mask"], []
        for critic in critics:
            logits, value = critic(observation)
            if not self.vector:
                logits, value = logits.unsqueeze(2), value.unsqueeze(1)
            found.append(value.unsqueeze(1) + logits - legal_mean(logits, mask))
        return torch.stack(found)

    def weights(self, observation: TensorDict) -> Tensor:
        """Return what each head counts, (B, 1, heads)."""
        mask = observation["action_mask"]
        entropy = torch.ones(len(mask), 1, device=mask.device)
        if not self.vector:
            return entropy.unsqueeze(1)
        return torch.cat([observation["preference"], entropy], dim=1).unsqueeze(1)

    def forward(self, observation: TensorDict) -> tuple[Tensor, Tensor]:
        """Return logits (B, A) and values (B,), as the networks do.

        The value is what the critics expect of the actor, which it does not change: so actor and
        critics can be fitted to a teacher's labels together.
        """
        logits, _ = self.actor(observation)
        probabilities = choose(logits.detach(), observation["action_mask"]).probabilities
        found = self.action_values(self.critics, observation).mean(dim=0)
        scalar = (found * self.weights(observation)).sum(dim=2)
        return logits, (probabilities * scalar).sum(dim=1)

    def _predict(self, observation: TensorDict, deterministic: bool = False) -> Tensor:  # type: ignore[override]
        probabilities = self.choice(observation).probabilities
        if deterministic:
            return probabilities.argmax(dim=1)
        return torch.multinomial(probabilities, 1).squeeze(1)


def _check_observation(space: spaces.Space[Any], vector: bool) -> None:
    keys = space.spaces if isinstance(space, spaces.Dict) else {}
    if "action_mask" not in keys:
        raise ParameterError(
            f"observation_space: found {', '.join(keys) or space}, expected a Dict with "
            "'action_mask', 1 for legal actions"
        )
    if vector and "preference" not in keys:
        raise ParameterError(
            "vector: the observation has no 'preference' that could weigh the rewards"
        )
