"""Discrete soft actor-critic with action masks, as an algorithm of stable-baselines3.

Haarnoja et al. 2018 (arXiv 1812.05905) in the discrete form of Christodoulou (arXiv 1910.07207):
expectations over actions are exact. From SD-SAC (Zhou et al., arXiv 2209.10081) come the mean of
both critics in place of the smaller one, the clipped critic loss, taken sample by sample, and the
penalty on entropies that leave that of the policy which collected a sample. The entropy aimed at
is a share of the largest one that a state's legal actions allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import (
    FloatSchedule,
    LinearSchedule,
    polyak_update,
    update_learning_rate,
)
from torch import Tensor, nn

from dispatchgym.agents.learner import Learner, Watch
from dispatchgym.agents.mixture import as_sb3
from dispatchgym.agents.replay import CompactReplayBuffer, Transitions
from dispatchgym.agents.runs import optimizer_tensors, restore_optimizer
from dispatchgym.agents.sac_policy import Choice, DiscreteSACPolicy, choose
from dispatchgym.agents.schedules import rate_of
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models.registry import PolicyNetwork

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer

__all__ = ["DiscreteSAC", "SACLearner"]

Schedule = Callable[[float], float]


class DiscreteSAC(OffPolicyAlgorithm):
    """Soft actor-critic for discrete actions, of which the observation says which are legal.

    Used like any algorithm of stable-baselines3::

        vec = gym.make_vec("dispatchgym:dispatchgym/JobShop-v0", num_envs=16,
                           autoreset_mode="SameStep")
        model = DiscreteSAC("MultiInputPolicy", to_sb3(vec),
                            policy_kwargs={"network": "job_shop"})
        model.learn(100_000)

    Arguments that are not listed are those of `OffPolicyAlgorithm`.

    Args:
        policy: ``"MultiInputPolicy"`` or a subclass of `DiscreteSACPolicy`, whose arguments
            `policy_kwargs` are.
        env: with Dict observations that hold an ``action_mask``, and discrete actions.
        learning_rate: of the actor and the temperature; a number or a function of the share of
            training that is left, like the following ones.
        critic_learning_rate: None: the same.
        learning_starts: steps before the first update.
        random_steps: steps at the beginning in which legal actions are drawn evenly; None: as
            many as `learning_starts`.
        actor_starts: updates before the actor changes; until then only critics learn.
        ent_coef: temperature, the weight of the entropy; ``"auto"`` finds it, beginning with 1,
            ``"auto_0.1"`` beginning with 0.1.
        target_entropy: what ``"auto"`` aims at, as a share of the logarithm of the number of
            legal actions; None: from 0.5 at first to 0.05 at the end.
        average_critics: take the mean of both critics, not the smaller one.
        clip_range: critics may move so far from the slow ones before the loss grows with their
            distance from the target in any case; None: no limit.
        entropy_penalty: weight of the squared change of entropy since a sample was collected.
        max_grad_norm: gradients are clipped to this norm; None: no limit.
        vector_critic: fit the components of a vector reward one by one; see `DiscreteSACPolicy`.
        relabel: share of a minibatch that is replayed under other preferences.
        half_precision: of stored observations.

    Raises:
        ParameterError: an argument or the environment does not fit.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MultiInputPolicy": DiscreteSACPolicy}
    policy: DiscreteSACPolicy
    replay_buffer: CompactReplayBuffer | None
    action_space: spaces.Discrete

    def __init__(
        self,
        policy: str | type[DiscreteSACPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 3e-4,
        critic_learning_rate: float | Schedule | None = None,
        buffer_size: int = 200_000,
        learning_starts: int = 5_000,
        random_steps: int | None = None,
        actor_starts: int = 0,
        batch_size: int = 512,
        tau: float = 0.005,
        gamma: float = 0.98,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        ent_coef: str | float = "auto",
        target_entropy: float | Schedule | None = None,
        average_critics: bool = True,
        clip_range: float | None = 0.5,
        entropy_penalty: float = 0.0,
        max_grad_norm: float | None = None,
        vector_critic: bool = False,
        relabel: float = 0.0,
        half_precision: bool = False,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            replay_buffer_class=CompactReplayBuffer,
            policy_kwargs=dict(policy_kwargs or {}),
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            seed=seed,
            sde_support=False,
            support_multi_env=True,
            supported_action_spaces=(spaces.Discrete,),
        )
        self.critic_learning_rate = critic_learning_rate
        self.random_steps = random_steps
        self.actor_starts = actor_starts
        self.ent_coef = ent_coef
        self.target_entropy = target_entropy
        self.average_critics = average_critics
        self.clip_range = clip_range
        self.entropy_penalty = entropy_penalty
        self.max_grad_norm = max_grad_norm
        self.vector_critic = vector_critic
        self.relabel = relabel
        self.half_precision = half_precision
        self._entropies: NDArray[np.float32] = np.zeros(0, np.float32)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self.replay_buffer_kwargs = {
            "half": self.half_precision,
            "relabel": self.relabel,
            "seed": self.seed,
        }
        if self.vector_critic:
            self.policy_kwargs["vector"] = True
        super()._setup_model()
        rate, aim = self.critic_learning_rate, self.target_entropy
        self.critic_schedule = FloatSchedule(self.learning_rate if rate is None else rate)
        self.entropy_share = FloatSchedule(LinearSchedule(0.5, 0.05, 1.0) if aim is None else aim)
        learned, coefficient = _entropy_coefficient(self.ent_coef)
        self.learns_temperature = learned
        self.log_alpha = torch.tensor([math.log(coefficient)], device=self.device)
        self.log_alpha.requires_grad_(learned)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=self.lr_schedule(1.0))

    # --- acting ---

    def _sample_action(
        self, learning_starts: int, action_noise: Any = None, n_envs: int = 1
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw legal actions, evenly at first; noise has no meaning for discrete actions."""
        even = learning_starts if self.random_steps is None else self.random_steps
        assert isinstance(self._last_obs, dict)
        observation, _ = self.policy.obs_to_tensor(self._last_obs)
        with torch.no_grad():
            found = self._behaviour(observation, self.num_timesteps < even)
            actions = torch.multinomial(found.probabilities, 1).squeeze(1).cpu().numpy()
        self._entropies = found.entropy.cpu().numpy()
        return actions, actions

    def _behaviour(self, observation: Any, even: bool) -> Choice:
        if not even:
            return self.policy.choice(observation)
        mask = observation["action_mask"]
        return choose(torch.zeros(mask.shape, device=mask.device), mask)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: NDArray[Any],
        new_obs: Any,
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        for info, entropy in zip(infos, self._entropies, strict=True):
            info["entropy"] = entropy
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    # --- learning ---

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Draw minibatches and take one step of critics, actor and temperature for each."""
        assert self.replay_buffer is not None
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.policy.actor_optimizer, self.alpha_optimizer])
        rate = self.critic_schedule(self._current_progress_remaining)
        update_learning_rate(self.policy.critic_optimizer, rate)
        records = []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, self._vec_normalize_env)
            records.append(self._gradient_step(batch))
            self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for key in records[0]:
            self.logger.record(f"train/{key}", float(np.mean([one[key] for one in records])))

    def _gradient_step(self, batch: Transitions) -> dict[str, float]:
        policy = self.policy
        alpha = float(self.log_alpha.detach().exp())
        found = policy.action_values(policy.critics, batch.observations)
        critic_loss = self._critic_loss(batch, found, self._target(batch, alpha))
        self._step(policy.critic_optimizer, policy.critics, critic_loss)
        record = {"critic_loss": critic_loss.item(), "ent_coef": alpha}
        if self._n_updates >= self.actor_starts:
            choice = policy.choice(batch.observations)
            # The critics' opinion is that from before their step: one step old, one pass less.
            worth = self._scalar(found.detach(), policy.weights(batch.observations))
            actor_loss = self._actor_loss(choice, worth, alpha, batch.entropies)
            self._step(policy.actor_optimizer, policy.actor, actor_loss)
            record |= {"actor_loss": actor_loss.item(), "entropy": choice.entropy.mean().item()}
            if self.learns_temperature:
                record |= self._adapt(choice.entropy.detach(), batch.observations["action_mask"])
        polyak_update(policy.critics.parameters(), policy.targets.parameters(), self.tau)
        polyak_update(policy.critics.buffers(), policy.targets.buffers(), 1.0)
        return record

    def _step(self, optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), self.max_grad_norm)
        optimizer.step()

    def _target(self, batch: Transitions, alpha: float) -> Tensor:
        """Return what taken actions are worth by the slow critics' outlook, (B, heads)."""
        policy, rewards = self.policy, batch.rewards
        with torch.no_grad():
            choice = policy.choice(batch.next_observations)
            slow = policy.action_values(policy.targets, batch.next_observations)
            merged = self._merge(slow, policy.weights(batch.next_observations))
            outlook = (choice.probabilities.unsqueeze(2) * merged).sum(dim=1)
            outlook[:, -1] += alpha * choice.entropy
            if policy.vector:
                rewards = torch.cat([batch.vector_rewards, torch.zeros_like(rewards)], dim=1)
            return rewards + self.gamma * (1.0 - batch.dones) * outlook

    def _merge(self, found: Tensor, weights: Tensor) -> Tensor:
        """Return the opinion (B, A, heads) of two critics (2, B, A, heads)."""
        if self.average_critics:
            return found.mean(dim=0)
        first_is_smaller = (found * weights).sum(dim=3).diff(dim=0).squeeze(0) >= 0
        return torch.where(first_is_smaller.unsqueeze(2), found[0], found[1])

    def _scalar(self, found: Tensor, weights: Tensor) -> Tensor:
        """Return what actions are worth, (B, A)."""
        return (self._merge(found, weights) * weights).sum(dim=2)

    def _critic_loss(self, batch: Transitions, found: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of both critics and all heads, clipped sample by sample."""
        taken = _of_action(found, batch.actions)
        error = (taken - target).square()
        if self.clip_range is not None:
            with torch.no_grad():
                slow = self.policy.action_values(self.policy.targets, batch.observations)
                slow = _of_action(slow, batch.actions)
            near = slow + (taken - slow).clamp(-self.clip_range, self.clip_range)
            error = torch.maximum(error, (near - target).square())
        return error.sum(dim=(0, 2)).mean()

    def _actor_loss(self, choice: Choice, worth: Tensor, alpha: float, entropies: Tensor) -> Tensor:
        """Sum over actions, then the mean over states."""
        regret = choice.probabilities * (alpha * choice.log_probabilities - worth)
        loss = regret.sum(dim=1).mean()
        if self.entropy_penalty:
            change = choice.entropy - entropies.squeeze(1)
            loss = loss + self.entropy_penalty * change.square().mean()
        return loss

    def _adapt(self, entropy: Tensor, mask: Tensor) -> dict[str, float]:
        """Move the temperature to where states with a choice have the entropy aimed at."""
        legal = (mask > 0).sum(dim=1)
        open_states = legal > 1
        share = self.entropy_share(self._current_progress_remaining)
        excess = entropy - share * legal.clamp(min=1).log()
        mean = (excess * open_states).sum() / open_states.sum().clamp(min=1)
        self.alpha_optimizer.zero_grad()
        (self.log_alpha * mean).sum().backward()
        self.alpha_optimizer.step()
        return {"entropy_excess": mean.item()}

    # --- keeping ---

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_entropies"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        optimizers = ["policy.actor_optimizer", "policy.critic_optimizer", "alpha_optimizer"]
        return ["policy", *optimizers], ["log_alpha"]

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "DiscreteSAC",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn for so many steps of all environments together; see the parent."""
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )


def _of_action(found: Tensor, actions: Tensor) -> Tensor:
    """Return the entries (2, B, heads) of the taken actions (B, 1)."""
    index = actions.view(1, -1, 1, 1).expand(len(found), -1, 1, found.shape[3])
    return found.gather(2, index).squeeze(2)


def _entropy_coefficient(setting: str | float) -> tuple[bool, float]:
    """Return whether the temperature is learned, and with what it begins.

    Raises:
        ParameterError: the setting is neither.
    """
    learned = isinstance(setting, str)
    try:
        text = str(setting).removeprefix("auto").removeprefix("_") if learned else setting
        coefficient = float(text) if text != "" else 1.0
    except ValueError:
        coefficient = math.nan
    if not coefficient > 0 or (learned and not str(setting).startswith("auto")):
        raise ParameterError(
            f"ent_coef: found {setting!r}, expected a positive number, auto, or as in auto_0.1"
        )
    return learned, coefficient


class SACLearner(Learner):
    """Discrete soft actor-critic; critics imitate with the actor where returns are told.

    The replay buffer is not kept in checkpoints: a run that is resumed first plays until it holds
    `learning_starts` steps again.
    """

    phase = "sac"

    def __init__(self, trainer: Trainer) -> None:
        """Build algorithm and training environment."""
        agent = trainer.config.agent
        rate, (first, last) = rate_of(agent.learning_rate), agent.entropy
        self.model = DiscreteSAC(
            DiscreteSACPolicy,
            as_sb3(trainer.make_vector(agent.num_envs)),
            learning_rate=lambda _: rate(trainer.reinforced),
            critic_learning_rate=lambda _: agent.critic_rate * rate(trainer.reinforced),
            target_entropy=lambda _: first + (last - first) * trainer.reinforced,
            buffer_size=agent.buffer_size,
            batch_size=agent.batch_size,
            tau=agent.tau,
            gamma=agent.gamma,
            train_freq=agent.train_freq,
            gradient_steps=agent.gradient_steps,
            ent_coef=agent.ent_coef,
            average_critics=agent.average_critics,
            clip_range=agent.clip_range,
            entropy_penalty=agent.entropy_penalty,
            max_grad_norm=agent.max_grad_norm,
            vector_critic=agent.vector_critic,
            relabel=agent.relabel,
            half_precision=agent.half_precision,
            policy_kwargs={"network": trainer.file.network, "settings": trainer.file.settings},
            seed=_seed(trainer),
            device=trainer.device,
        )
        self.model.set_logger(trainer.logger)
        self._updates = 0
        policy = self.model.policy
        critics_too = agent.imitation.value_coefficient > 0
        super().__init__(trainer, policy.actor, policy if critics_too else policy.actor)

    def networks(self) -> list[PolicyNetwork]:
        """Return actor, critics and their slow copies."""
        modules = self.model.policy.modules()
        return [module for module in modules if isinstance(module, PolicyNetwork)]

    @property
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        model = self.model
        return {
            "optimizer": self.optimizer,
            "actor": model.policy.actor_optimizer,
            "critics": model.policy.critic_optimizer,
            "temperature": model.alpha_optimizer,
        }

    def state(self) -> dict[str, Tensor]:
        """Return actor, critics and their slow copies, the temperature and all optimisers."""
        weights = self.model.policy.state_dict()
        found = {f"policy.{key}": value for key, value in weights.items()}
        found["log_alpha"] = self.model.log_alpha.detach()
        found["updates"] = torch.tensor(self._updates + self.model._n_updates)
        for name, optimizer in self._optimizers.items():
            found |= optimizer_tensors(optimizer, name)
        return found

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        policy = self.model.policy
        policy.load_state_dict({key: state[f"policy.{key}"] for key in policy.state_dict()})
        self.model.log_alpha.data.copy_(state["log_alpha"])
        self._updates = int(state["updates"])
        for name, optimizer in self._optimizers.items():
            restore_optimizer(optimizer, state, name)

    def learn(self) -> None:
        """Play and update until the budget is spent."""
        model, trainer, agent = self.model, self.trainer, self.trainer.config.agent
        begun = trainer.progress.decisions
        if not self._updates:
            model.policy.targets.load_state_dict(model.policy.critics.state_dict())
        model.set_random_seed(_seed(trainer))
        model.num_timesteps = begun
        model.learning_starts = begun + agent.learning_starts
        model.random_steps = 0 if begun else agent.learning_starts
        model.actor_starts = max(agent.actor_starts - self._updates, 0)
        with trainer.precision(trainer.bfloat16):
            model.learn(2**62, Watch(self), 10 * agent.num_envs, reset_num_timesteps=False)


def _seed(trainer: Trainer) -> int:
    """Return another seed after each resume; those of evaluations are small."""
    entropy = [trainer.config.seed, trainer.progress.decisions]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0]) | 1 << 31
