"""Self-labelling: a policy learns from its own best plays of each instance.

A batch of instances is played many times at random, all plays of one under the same
disturbances, so that luck is not imitated. What a play teaches is its weight in the
log-likelihood that then grows:

| loss | weight of a play |
| --- | --- |
| `best` | 1 for the best, else 0: self-labelling, Corsini et al., NeurIPS 2024, arXiv 2401.11849 |
| `rank` | falls with the logarithm of its rank among the plays of the instance, negative for the |
| | worse half: every play counts (weights of Hansen's CMA-ES, arXiv 1604.00772, less 1 / S) |
| `bopo` | of preferences for the best over others by Liao et al., ICML 2025, arXiv 2503.07580 |

Each is divided by the number of its decisions, so that sizes count alike.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dispatchgym.agents.learner import Learner, new_network
from dispatchgym.agents.schedules import rate_of
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["LOSSES", "SampledInstances", "SelfLabellingLearner", "weights_of"]

FloatArray = NDArray[np.float64]

LOSSES = ("rank", "best", "bopo")
"""Names of what plays teach."""


class Sampled(Protocol):
    """S plays of each of B instances.

    Attributes:
        makespans: float64 (B, S), the cost of each, infinite where it did not end.
        likelihoods: float64 (B, S), log-probability of all decisions together.
        lengths: int64 (B, S), number of decisions.
    """

    @property
    def makespans(self) -> FloatArray: ...
    @property
    def likelihoods(self) -> FloatArray: ...
    @property
    def lengths(self) -> NDArray[np.int64]: ...


class SampledInstances(Protocol):
    """Instances that a network plays many times."""

    def draw(self, rng: np.random.Generator) -> None:
        """Take other instances, never those of evaluations."""
        ...

    def sample(self, network: Any, samples: int, temperature: float) -> Sampled:
        """Play every instance several times with a network."""
        ...

    def ascend(self, network: Any, weights: FloatArray) -> float:
        """Add the gradient of minus the weighted log-likelihood of the plays sampled last.

        Returns:
            The weighted log-likelihood.
        """
        ...


def weights_of(loss: str, plays: Sampled) -> FloatArray:
    """Return (B, S) the weights of plays by one of `LOSSES`; those that did not end have none."""
    weights = {"best": _best, "rank": _ranks, "bopo": _preferences}[loss](plays)
    ended = np.isfinite(plays.makespans)
    # Of instances whose plays are all alike there is nothing to learn.
    useful = ended.any(axis=1) & (plays.makespans.max(axis=1) > plays.makespans.min(axis=1))
    return np.where(ended & useful[:, None], weights, 0.0)


def _best(plays: Sampled) -> FloatArray:
    rows = np.arange(len(plays.makespans))
    best = plays.makespans.argmin(axis=1)
    weights = np.zeros(plays.makespans.shape)
    weights[rows, best] = 1.0 / plays.lengths[rows, best]
    return weights


def _ranks(plays: Sampled) -> FloatArray:
    samples = plays.makespans.shape[1]
    # Plays of equal makespan share the mean of their ranks' weights.
    order = plays.makespans.argsort(axis=1, kind="stable")
    table = np.maximum(np.log(samples / 2 + 0.5) - np.log(np.arange(samples) + 1.0), 0.0)
    table = table / table.sum() - 1.0 / samples
    weights = np.empty(plays.makespans.shape)
    for row, makespans in enumerate(plays.makespans):
        _, group = np.unique(makespans[order[row]], return_inverse=True)
        shared = np.bincount(group, table) / np.bincount(group)
        weights[row, order[row]] = shared[group]
    return weights / plays.lengths.mean(axis=1, keepdims=True)


def _preferences(plays: Sampled) -> FloatArray:
    """Minus the slopes of BOPO's loss: the best against each other play, scaled by the gap."""
    rows = np.arange(len(plays.makespans))
    best = plays.makespans.argmin(axis=1)
    ended = np.isfinite(plays.makespans)
    least = np.where(ended, plays.makespans, 0.0)[rows, best][:, None]
    scale = np.divide(plays.makespans, least, out=np.ones(ended.shape), where=ended & (least > 0))
    mean = plays.likelihoods / plays.lengths
    margin = scale * (mean[rows, best][:, None] - mean)
    # The slope of -log(sigmoid(margin)), for each pair; equal plays are no preference.
    slope = np.where(scale > 1.0, scale / (1.0 + np.exp(margin)), 0.0)
    slope /= max(plays.makespans.shape[1] - 1, 1)
    weights = -slope / plays.lengths
    weights[rows, best] = slope.sum(axis=1) / plays.lengths[rows, best]
    return weights


class SelfLabellingLearner(Learner):
    """A network that learns from its own best plays; see the module."""

    phase = "self_labelling"

    def __init__(self, trainer: Trainer) -> None:
        """Build the network, and a student whose weights it averages."""
        network = new_network(trainer)
        super().__init__(trainer, network, copy.deepcopy(network))
        self.resumed = False
        check_loss(trainer.config)

    def state(self) -> dict[str, Tensor]:
        """Return what is needed to go on: the optimiser and the student."""
        student = {f"student.{key}": value for key, value in self.student.state_dict().items()}
        return super().state() | student

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        super().restore(state)
        keys = self.student.state_dict()
        self.student.load_state_dict({key: state[f"student.{key}"] for key in keys})
        self.resumed = True

    def prepare(self) -> None:
        """Find the instances and compile what plays them."""
        trainer = self.trainer
        if not self.resumed:  # the run may begin with another's network
            self.student.load_state_dict(self.network.state_dict())
        self.rng = np.random.default_rng([trainer.config.seed, trainer.progress.updates])
        self.instances = trainer.problem.make_sampled_instances(trainer.config)
        for instances in self.instances:
            instances.draw(self.rng)
            instances.sample(self.student, 2, 1.0)

    def learn(self) -> None:
        """Learn from one scenario after the other until the budget is spent."""
        trainer, agent = self.trainer, self.trainer.config.agent
        rate, progress = rate_of(agent.learning_rate), trainer.progress
        while (share := trainer.share) < 1.0:
            for group in self.optimizer.param_groups:
                group["lr"] = rate(share)
            instances = self.instances[progress.updates % len(self.instances)]
            progress.decisions += self._update(instances)
            progress.updates += 1
            trainer.tick(self.phase)

    def _update(self, instances: SampledInstances) -> int:
        """Play a batch of instances and take a step; return the decisions played."""
        agent, logger = self.trainer.config.agent, self.trainer.logger
        instances.draw(self.rng)
        plays = instances.sample(self.student, agent.samples, agent.temperature)
        self.optimizer.zero_grad()
        likelihood = instances.ascend(self.student, weights_of(agent.loss, plays))
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), agent.max_grad_norm)
        self.optimizer.step()
        self._average(agent.average)
        least = plays.makespans.min(axis=1)
        logger.record_mean("self_labelling/loss", -likelihood / len(least))
        # Sample 0 is the greedy play.
        logger.record_mean("self_labelling/greedy", float(np.mean(plays.makespans[:, 0] / least)))
        return int(plays.lengths.sum())

    def _average(self, kept: float) -> None:
        """Let the network follow the student: its average moves less than single steps do."""
        with torch.no_grad():
            for mean, last in zip(
                self.network.parameters(), self.student.parameters(), strict=True
            ):
                mean.lerp_(last, 1.0 - kept)


def check_loss(config: TrainConfig) -> None:
    """Refuse settings without meaning.

    Raises:
        ParameterError: the message names the setting.
    """
    agent = config.agent
    if agent.loss not in LOSSES:
        raise ParameterError(
            f"agent.loss: found {agent.loss!r}, expected one of {', '.join(LOSSES)}"
        )
    for name, value, least in (
        ("instances", agent.instances, 1),
        ("samples", agent.samples, 2),
    ):
        if value < least:
            raise ParameterError(f"agent.{name}: found {value}, expected at least {least}")
    if not 0 <= agent.average <= 1:
        raise ParameterError(f"agent.average: found {agent.average}, expected a share, 0 to 1")
    if not agent.temperature > 0:
        raise ParameterError(
            f"agent.temperature: found {agent.temperature}, expected a number above 0"
        )
