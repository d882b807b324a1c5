"""Evolution strategies: train a small policy by playing whole episodes with changed weights.

Pairs of opposite changes of all weights play the same episodes; the gradient of the expected
score is estimated from the ranks of what they earn (Salimans et al. 2017, arXiv 1703.03864), and
the optimiser takes a step along it. Nothing is differentiated, so that episodes can be played
inside a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parameters_to_vector

from dispatchgym.agents.learner import Learner, new_network
from dispatchgym.agents.schedules import rate_of
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer
    from dispatchgym.configs.schemas import TrainConfig

FloatArray = NDArray[np.float64]


class Playground(Protocol):
    """Episodes on which weights are compared.

    Attributes:
        decisions: decisions taken by candidates so far.
    """

    decisions: int

    def draw(self, rng: np.random.Generator) -> None:
        """Take other episodes, never those of evaluations."""
        ...

    def scores(self, candidates: FloatArray) -> FloatArray:
        """Return (C,) what each of the candidates (C, W) makes of them; more is better."""
        ...


def playgrounds_of(config: TrainConfig, make: Callable[[str, int], Playground]) -> list[Playground]:
    """Return the playgrounds that a configuration names.

    Args:
        config: of a training; its agent has scenarios and numbers of episodes.
        make: makes one from a scenario and a number of episodes.

    Raises:
        ParameterError: there are more scenarios than numbers or the other way round, or the
            network is none whose weights a kernel plays with.
    """
    wanted = f"{config.env.name}_index"
    if config.model.name != wanted:
        raise ParameterError(f"model: found {config.model.name!r}, agent=index trains {wanted!r}")
    scenarios = config.agent.scenarios or [config.env.scenario]
    episodes = config.agent.episodes
    if len(scenarios) != len(episodes):
        raise ParameterError(
            f"agent.episodes: found {episodes}, expected one number for each of {scenarios}"
        )
    return [make(*pair) for pair in zip(scenarios, episodes, strict=True)]


class Evolution:
    """Takes steps of an evolution strategy.

    Attributes:
        updates: steps taken.
    """

    def __init__(
        self,
        playgrounds: Sequence[Playground],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        pairs: int,
        deviation: float,
        keep: int,
        rng: np.random.Generator,
    ) -> None:
        """Set up; see `dispatchgym.configs.schemas.EvolutionConfig` for the numbers.

        Args:
            playgrounds: the score of weights is the mean of theirs.
            network: holds the weights, trained in place.
            optimizer: over the network's weights.
            pairs: opposite changes that are tried in a step.
            deviation: standard deviation of a change of each weight.
            keep: steps after which other episodes are drawn.
            rng: for changes and seeds.
        """
        self.playgrounds, self.network, self.optimizer = playgrounds, network, optimizer
        self.pairs, self.deviation, self.keep = pairs, deviation, keep
        self.rng = rng
        self.updates = 0

    @property
    def decisions(self) -> int:
        """Decisions taken by candidates so far."""
        return sum(playground.decisions for playground in self.playgrounds)

    def warm_up(self) -> None:
        """Compile what the steps need."""
        weights = parameters_to_vector(self.network.parameters()).detach().double().numpy()
        for playground in self.playgrounds:
            playground.draw(self.rng)
            playground.scores(weights[None])

    def step(self) -> float:
        """Try changes and take a step; return the mean score of the changed weights."""
        if self.updates % self.keep == 0:
            for playground in self.playgrounds:
                playground.draw(self.rng)
        weights = parameters_to_vector(self.network.parameters()).detach().double().numpy()
        changes = self.rng.standard_normal((self.pairs, len(weights)))
        candidates = weights + self.deviation * np.concatenate([changes, -changes])
        scores = np.mean([p.scores(candidates) for p in self.playgrounds], axis=0)
        self._follow(slope(scores, changes, self.deviation))
        self.updates += 1
        return float(scores.mean())

    def _follow(self, gradient: FloatArray) -> None:
        self.optimizer.zero_grad()
        vector = torch.as_tensor(-gradient, dtype=torch.float32)
        begin = 0
        for weight in self.network.parameters():
            weight.grad = vector[begin : begin + weight.numel()].view_as(weight).clone()
            begin += weight.numel()
        self.optimizer.step()


def slope(scores: FloatArray, changes: FloatArray, deviation: float) -> FloatArray:
    """Estimate the gradient of the rank-shaped score from pairs of opposite changes.

    Args:
        scores: (2P,), first those of the changes, then those of their opposites.
        changes: (P, W), standard normal.
        deviation: by which they were scaled.
    """
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - 0.5 * (count + 1))[place]  # equal scores share their ranks
    shaped = ranks / (len(scores) - 1) - 0.5
    difference = shaped[: len(changes)] - shaped[len(changes) :]
    return difference @ changes / (len(changes) * deviation)


class IndexLearner(Learner):
    """An index policy that plays inside the kernel, bred by evolution strategies."""

    phase = "evolution"

    def __init__(self, trainer: Trainer) -> None:
        """Build the network."""
        network = new_network(trainer)
        super().__init__(trainer, network, network)

    def prepare(self) -> None:
        """Make the playgrounds and compile them."""
        trainer, agent = self.trainer, self.trainer.config.agent
        self.evolution = Evolution(
            trainer.problem.make_playgrounds(trainer.config),
            self.network,
            self.optimizer,
            pairs=agent.pairs,
            deviation=agent.deviation,
            keep=agent.keep,
            rng=np.random.default_rng([trainer.config.seed, trainer.progress.updates]),
        )
        self.evolution.warm_up()

    def learn(self) -> None:
        """Take steps until the budget is spent."""
        trainer, evolution = self.trainer, self.evolution
        rate, progress = rate_of(trainer.config.agent.learning_rate), trainer.progress
        decisions, updates = progress.decisions, progress.updates
        while (share := trainer.share) < 1.0:
            for group in self.optimizer.param_groups:
                group["lr"] = rate(share)
            trainer.logger.record_mean("evolution/score", evolution.step())
            progress.updates = updates + evolution.updates
            progress.decisions = decisions + evolution.decisions
            trainer.tick(self.phase)
