"""What training asks of an agent of any kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

from dispatchgym.agents.runs import optimizer_tensors, restore_optimizer
from dispatchgym.models.registry import PolicyNetwork, build_network

if TYPE_CHECKING:
    from dispatchgym.agents.training import Trainer

__all__ = ["Learner", "Watch", "new_network"]


class Learner(ABC):
    """How one kind of agent learns.

    The trainer keeps clock, budget, run folder and evaluation, and lets the student imitate a
    teacher first where there is one.

    Attributes:
        phase: what its own learning is called.
        trainer: whose run it is.
        network: what acts and is kept.
        student: what imitates: observations in, logits and values out.
        optimizer: of the student.
    """

    phase: ClassVar[str]
    optimizer: torch.optim.Optimizer

    def __init__(self, trainer: Trainer, network: PolicyNetwork, student: nn.Module) -> None:
        """Keep what learns; `trainer` knows configuration, device and budget."""
        self.trainer, self.network, self.student = trainer, network, student
        self.forget_gradients()

    def networks(self) -> list[PolicyNetwork]:
        """Return all networks that compute while learning."""
        return [self.network]

    def state(self) -> dict[str, Tensor]:
        """Return what is needed to go on, besides the network's weights."""
        return optimizer_tensors(self.optimizer)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave.

        Raises:
            KeyError, ValueError, RuntimeError, TypeError: it is not of this learner.
        """
        restore_optimizer(self.optimizer, state)

    def forget_gradients(self) -> None:
        """Begin with a new optimiser.

        The last gradients of imitation are small: with their scale the first steps for another
        loss would be far too long.
        """
        self.optimizer = torch.optim.Adam(self.student.parameters())

    def prepare(self) -> None:
        """Compile what learning needs, before the clock runs."""
        vec = self.trainer.make_vector(2)
        vec.step(vec.action_masks().argmax(axis=1))

    @abstractmethod
    def learn(self) -> None:
        """Learn until the trainer's budget is spent."""


def new_network(trainer: Trainer) -> PolicyNetwork:
    """Return the network that a configuration names, with random weights."""
    network = build_network(trainer.file.network, trainer.file.settings, "model")
    return network.to(trainer.device)


class Watch(BaseCallback):
    """Lets the trainer look in on an algorithm of stable-baselines3, and end it in time."""

    def __init__(self, learner: Learner) -> None:
        """Of the learner that runs the algorithm."""
        super().__init__()
        self.trainer, self.phase = learner.trainer, learner.phase
        self.updates = self.trainer.progress.updates

    def _on_rollout_start(self) -> None:
        trainer = self.trainer
        trainer.progress.decisions = self.num_timesteps
        trainer.progress.updates = self.updates + self.model._n_updates
        with trainer.precision(reduced=False):
            trainer.tick(self.phase)

    def _on_step(self) -> bool:
        self.trainer.progress.decisions = self.num_timesteps
        return self.trainer.tell(self.phase) < 1.0
