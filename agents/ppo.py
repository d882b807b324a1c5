"""MaskablePPO around a network that reads padded graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer
from sb3_contrib.common.maskable.distributions import (
    MaskableDistribution,
    make_masked_proba_distribution,
)
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from dispatchgym.agents.learner import Learner, Watch, new_network
from dispatchgym.agents.mixture import as_sb3
from dispatchgym.agents.schedules import rate_of
from dispatchgym.envs.core.simulation import Simulation

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer

Masks = NDArray[np.bool_] | Tensor | None
TensorDict = dict[str, Tensor]


class NetworkActorCriticPolicy(MaskableActorCriticPolicy):
    """The policy class that MaskablePPO expects, around one network with two outputs."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Callable[[float], float],
        network: nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        **unused: Any,
    ) -> None:
        """Wrap `network`; `optimizer` continues one that already holds its weights."""
        # The parent's own constructor would build layers of a fixed size for this space.
        super(MaskableActorCriticPolicy, self).__init__(observation_space, action_space)
        self.network = network
        self.action_dist = make_masked_proba_distribution(action_space)
        self.optimizer = optimizer or torch.optim.Adam(network.parameters(), lr=lr_schedule(1.0))

    def _distribution(self, logits: Tensor, action_masks: Masks) -> MaskableDistribution:
        distribution = self.action_dist.proba_distribution(action_logits=logits)
        if action_masks is not None:
            distribution.apply_masking(action_masks)
        return distribution

    def forward(  # type: ignore[override]
        self, obs: TensorDict, deterministic: bool = False, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (batch,), values (batch, 1) and log-probabilities (batch,)."""
        logits, values = self.network(obs)
        distribution = self._distribution(logits, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values.unsqueeze(1), distribution.log_prob(actions)

    def evaluate_actions(  # type: ignore[override]
        self, obs: TensorDict, actions: Tensor, action_masks: Masks = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (batch, 1), log-probabilities (batch,) and entropies (batch,)."""
        logits, values = self.network(obs)
        distribution = self._distribution(logits, action_masks)
        return values.unsqueeze(1), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(  # type: ignore[override]
        self, obs: TensorDict, action_masks: Masks = None
    ) -> MaskableDistribution:
        """Distribution over actions."""
        return self._distribution(self.network(obs)[0], action_masks)

    def predict_values(self, obs: TensorDict) -> Tensor:  # type: ignore[override]
        """Values (batch, 1)."""
        return self.network(obs)[1].unsqueeze(1)


class TimedRolloutBuffer(MaskableDictRolloutBuffer):
    """Discounts by the time that passes in a step, not by the step.

    Decisions of an event-driven simulation lie apart by nothing or by much: a semi-Markov
    process, in which a reward that comes t later counts exp(-t / time_constant) (Bradtke and
    Duff, "Reinforcement learning methods for continuous-time Markov decision problems", 1994).
    """

    def __init__(self, *args: Any, time_constant: float, **kwargs: Any) -> None:
        """Like the parent, which has no use for its `gamma` here."""
        self.time_constant = time_constant
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self.elapsed = np.zeros((self.buffer_size, self.n_envs), np.float32)

    def note(self, elapsed: NDArray[Any]) -> None:
        """Note the time (envs,) that the step which is added next has taken."""
        self.elapsed[self.pos] = elapsed

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Generalised advantages, each step with its own discount."""
        following = last_values.clone().cpu().numpy().flatten()
        goes_on, advantage = 1.0 - dones.astype(np.float32), np.zeros(self.n_envs, np.float32)
        discounts = np.exp(-self.elapsed / self.time_constant)
        for step in reversed(range(self.buffer_size)):
            discount = discounts[step] * goes_on
            error = self.rewards[step] + discount * following - self.values[step]
            advantage = error + discount * self.gae_lambda * advantage
            self.advantages[step] = advantage
            following, goes_on = self.values[step], 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values


def make_ppo(
    env: VecEnv,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[], float],
    *,
    seed: int,
    device: torch.device,
    time_constant: float | None,
    **settings: Any,
) -> MaskablePPO:
    """MaskablePPO on an environment that `to_sb3` adapted.

    Args:
        env: the training environments.
        network: maps observations to logits and values; trained in place.
        optimizer: holds the network's weights; an imitation phase may have used it before.
        learning_rate: asked before each update, so that budgets in seconds work too.
        seed: of action sampling and minibatch order.
        device: where the network is.
        time_constant: of `TimedRolloutBuffer`, which has to be told the time of each step; None:
            discount by the step.
        **settings: keyword arguments of MaskablePPO, such as `n_steps` and `clip_range`.
    """
    if time_constant is not None:
        settings["rollout_buffer_class"] = TimedRolloutBuffer
        settings["rollout_buffer_kwargs"] = {"time_constant": time_constant}
    return MaskablePPO(
        NetworkActorCriticPolicy,
        env,
        learning_rate=lambda _: learning_rate(),
        policy_kwargs={"network": network, "optimizer": optimizer},
        seed=seed,
        device=device,
        **settings,
    )


class PPOLearner(Learner):
    """MaskablePPO with the network that imitated; the two share their weights and optimiser."""

    phase = "ppo"

    def __init__(self, trainer: Trainer) -> None:
        """Build the network."""
        network = new_network(trainer)
        super().__init__(trainer, network, network)

    def learn(self) -> None:
        """Play and update until the budget is spent."""
        trainer, agent = self.trainer, self.trainer.config.agent
        vec = trainer.make_vector(agent.num_envs)
        rate = rate_of(agent.learning_rate)
        model = make_ppo(
            as_sb3(vec),
            self.network,
            self.optimizer,
            lambda: rate(trainer.reinforced),
            seed=trainer.config.seed + trainer.progress.decisions,
            device=trainer.device,
            n_steps=agent.n_steps,
            batch_size=agent.batch_size,
            n_epochs=agent.n_epochs,
            gamma=agent.gamma,
            gae_lambda=agent.gae_lambda,
            clip_range=agent.clip_range,
            ent_coef=agent.ent_coef,
            vf_coef=agent.vf_coef,
            max_grad_norm=agent.max_grad_norm,
            target_kl=agent.target_kl,
            time_constant=agent.time_constant,
        )
        model.set_logger(trainer.logger)
        model.num_timesteps = trainer.progress.decisions
        with trainer.precision(trainer.bfloat16):
            model.learn(2**62, _TimedWatch(self, vec.simulation), reset_num_timesteps=False)


class _TimedWatch(Watch):
    """Notes the time of each step for a buffer that discounts by it."""

    def __init__(self, learner: Learner, simulation: Simulation) -> None:
        super().__init__(learner)
        self.simulation = simulation

    def _on_step(self) -> bool:
        buffer = getattr(self.model, "rollout_buffer", None)
        if isinstance(buffer, TimedRolloutBuffer):
            buffer.note(self.simulation.step_infos()["elapsed"])
        return super()._on_step()
