"""MaskablePPO around a network that reads padded graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

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
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from dispatchgym.agents.learner import Learner, Watch, new_network
from dispatchgym.agents.mixture import as_sb3
from dispatchgym.agents.policy import as_tensors, mask_logits
from dispatchgym.agents.schedules import rate_of
from dispatchgym.envs.core.simulation import Simulation

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer

Masks = NDArray[np.bool_] | Tensor | None
TensorDict = dict[str, Tensor]


class Batch(NamedTuple):
    """Steps of a rollout: observations, and (batch,) the rest."""

    observations: TensorDict
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


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


class SteadyRolloutBuffer(MaskableDictRolloutBuffer):
    """Keeps its memory from rollout to rollout, copies observations once and gathers in torch."""

    def reset(self) -> None:
        """Forget everything; the memory stays."""
        if not hasattr(self, "observations"):
            super().reset()
        self.pos, self.full = 0, False

    def observe(self, observations: dict[str, NDArray[Any]]) -> TensorDict:
        """Keep the observations of the step that is added next; return them as tensors."""
        kept = {key: rows[self.pos] for key, rows in self.observations.items()}
        for key, row in kept.items():
            np.copyto(row, observations[key])
        return {key: torch.as_tensor(row, device=self.device) for key, row in kept.items()}

    def fill(
        self,
        actions: NDArray[Any],
        rewards: NDArray[Any],
        episode_starts: NDArray[Any],
        values: Tensor,
        log_probs: Tensor,
    ) -> None:
        """Add a step (envs,) whose observations are kept."""
        self.actions[self.pos, :, 0] = actions
        self.rewards[self.pos] = rewards
        self.episode_starts[self.pos] = episode_starts
        self.values[self.pos] = values.cpu().numpy()
        self.log_probs[self.pos] = log_probs.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def batches(self, batch_size: int | None) -> Iterator[Batch]:
        """Give all steps in random order, which is that of the parent."""
        size = self.buffer_size * self.n_envs
        env, step = np.divmod(np.random.permutation(size), self.buffer_size)  # noqa: NPY002
        order = torch.as_tensor(step * self.n_envs + env)
        for rows in order.split(batch_size or size):
            yield Batch(
                {key: self._gather(array, rows) for key, array in self.observations.items()},
                self._gather(self.actions, rows).long().flatten(),
                self._gather(self.log_probs, rows),
                self._gather(self.advantages, rows),
                self._gather(self.returns, rows),
            )

    def _gather(self, array: NDArray[Any], rows: Tensor) -> Tensor:
        flat = torch.as_tensor(array).flatten(0, 1)
        return flat.index_select(0, rows).to(self.device)


class TimedRolloutBuffer(SteadyRolloutBuffer):
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


class NetworkPPO(MaskablePPO):
    """MaskablePPO for a network with two outputs and a native batch of environments.

    Same updates as the parent's, tested against it, with less around them: masks are read from
    the observations, which are copied once and not from kernel to batch to buffer; distributions
    are not checked; infos are looked at where episodes end.
    """

    rollout_buffer: SteadyRolloutBuffer  # type: ignore[assignment]
    policy: NetworkActorCriticPolicy

    def collect_rollouts(  # type: ignore[override]
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: SteadyRolloutBuffer,
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """Play `n_rollout_steps` steps in all environments; tell whether to go on."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        observations: Any = self._last_obs
        for _ in range(n_rollout_steps):
            shown = rollout_buffer.observe(observations)
            actions, values, log_probs = self._choose(shown)
            chosen = actions.cpu().numpy()
            observations, rewards, dones, infos = env.step(chosen)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            ended = [infos[row] for row in np.flatnonzero(dones)]
            self._update_info_buffer(ended)
            rewards = rewards + self._cut_off(dones, ended)
            starts: Any = self._last_episode_starts
            rollout_buffer.fill(chosen, rewards, starts, values, log_probs)
            self._last_obs, self._last_episode_starts = observations, dones
        with torch.no_grad():
            last = self.policy.predict_values(as_tensors(observations, self.device)).float()
        rollout_buffer.compute_returns_and_advantage(last_values=last, dones=dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @torch.no_grad()
    def _choose(self, observations: TensorDict) -> tuple[Tensor, Tensor, Tensor]:
        """Return random actions, values and log-probabilities, all (envs,)."""
        log_probs, values = self._judge(observations)
        actions = torch.multinomial(log_probs.exp(), 1)
        return actions.squeeze(1), values, log_probs.gather(1, actions).squeeze(1)

    def _judge(self, observations: TensorDict) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (batch, actions) and values (batch,)."""
        logits, values = self.policy.network(observations)
        masked = mask_logits(logits.float(), observations["action_mask"])
        return torch.log_softmax(masked, dim=1), values.float()

    def _cut_off(self, dones: NDArray[np.bool_], ended: list[dict[str, Any]]) -> NDArray[Any]:
        """Return (envs,) the discounted values of where episodes were cut off, else 0."""
        added = np.zeros(len(dones))
        for row, info in zip(np.flatnonzero(dones), ended, strict=True):
            if info.get("TimeLimit.truncated", False):
                last, _ = self.policy.obs_to_tensor(info["terminal_observation"])
                with torch.no_grad():
                    added[row] = self.gamma * self.policy.predict_values(last).item()  # type: ignore[arg-type]
        return added

    def train(self) -> None:
        """Update the network by the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        told: list[dict[str, Tensor]] = []
        for _ in range(self.n_epochs):
            going = self._epoch(clip_range, told)
            self._n_updates += 1
            if not going:
                break
        for name in told[0]:
            mean = torch.stack([numbers[name] for numbers in told]).mean().item()
            self.logger.record(f"train/{name}", mean)
        buffer = self.rollout_buffer
        explained = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)

    def _epoch(self, clip_range: float, told: list[dict[str, Tensor]]) -> bool:
        """Go through the rollout once; tell whether the policy is still near the one that played.

        What there is to log of each batch is appended to `told`.
        """
        for batch in self.rollout_buffer.batches(self.batch_size):
            loss, numbers = self._loss(batch, clip_range)
            told.append(numbers)
            if self.target_kl is not None and numbers["approx_kl"] > 1.5 * self.target_kl:
                return False
            self.policy.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        return True

    def _loss(self, batch: Batch, clip_range: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch and what is logged of it."""
        log_probs, values = self._judge(batch.observations)
        chosen = log_probs.gather(1, batch.actions.unsqueeze(1)).squeeze(1)
        advantages = batch.advantages
        if self.normalize_advantage:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        log_ratio = chosen - batch.log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
        value_loss = nn.functional.mse_loss(values, batch.returns)
        entropy_loss = (log_probs.exp() * log_probs).sum(dim=1).mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        numbers = {
            "entropy_loss": entropy_loss,
            "policy_gradient_loss": policy_loss,
            "value_loss": value_loss,
            "approx_kl": (ratio - 1 - log_ratio).mean(),
            "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
            "loss": loss,
        }
        return loss, {name: number.detach() for name, number in numbers.items()}


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
) -> NetworkPPO:
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
    settings["rollout_buffer_class"] = SteadyRolloutBuffer
    if time_constant is not None:
        settings["rollout_buffer_class"] = TimedRolloutBuffer
        settings["rollout_buffer_kwargs"] = {"time_constant": time_constant}
    return NetworkPPO(
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
            as_sb3(vec, copy=False),
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
