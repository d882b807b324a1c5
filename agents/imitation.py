"""Imitation: learn a teacher's decisions on the states the student itself visits.

The scheme is DAgger (Ross, Gordon & Bagnell 2011, arXiv 1011.0686): at first a rule leads through
the episodes, then more and more the student; the teacher only labels. A teacher may say of every
legal action what it costs, so near-ties share the label (cost-sensitive imitation as in AggreVaTe,
arXiv 1406.5979).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dispatchgym.agents.policy import Observation, as_tensors, mask_logits
from dispatchgym.envs.core.errors import ParameterError

LOSSES = ("labels", "regret")
"""Cross-entropy against soft labels, or the mean cost of what the policy draws."""

UNKNOWN = np.nan
"""Value of a teacher that says what to do but not what comes of it."""

Labels = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Costs of actions (B, actions) and values (B,); see `Teacher.label`."""


class Teacher(Protocol):
    """Gives costs of actions; the cheapest is what it would do."""

    def act(self, vec: Any) -> NDArray[np.int64]:
        """Quick actions (B,) that lead through the episodes until the student can."""
        ...

    def label(self, vec: Any) -> Labels:
        """Judge the current decision of each row.

        Returns:
            costs (B, actions), 0 for the best legal actions, the relative loss of the others,
            infinity for illegal ones; and the sum of rewards to come (B,) after the best action,
            in the environment's own scale, nan when unknown.
        """
        ...


class RuleTeacher:
    """A rule of the environment: its action is right, all others are wrong."""

    def __init__(self, rule: str) -> None:
        """`rule` is one of the environment's `rules`."""
        self.rule = rule

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The rule's action."""
        return vec.rule_action(self.rule)

    def label(self, vec: Any) -> Labels:
        """Cost 0 for the rule's action and 1 for the other legal ones; returns unknown."""
        return sure_labels(vec, self.act(vec))


def sure_labels(vec: Any, actions: NDArray[np.int64]) -> Labels:
    """Labels of a teacher that knows what to do but not what comes of it.

    Args:
        vec: vector environment with B rows.
        actions: (B,) what is right; every other legal action costs 1.
    """
    costs = np.where(vec.action_masks(), 1.0, np.inf).astype(np.float32)
    costs[np.arange(vec.num_envs), actions] = 0.0
    return costs, np.full(vec.num_envs, UNKNOWN)


class LabelBuffer:
    """The most recent labelled observations, drawn from uniformly."""

    def __init__(self, capacity: int) -> None:
        """`capacity` decisions are kept; older ones are overwritten."""
        self.capacity = capacity
        self.size = 0
        self._next = 0
        self._arrays: dict[str, NDArray[Any]] = {}

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Append a batch of rows; every call brings the same keys and shapes."""
        rows = len(next(iter(arrays.values())))
        places = (self._next + np.arange(rows)) % self.capacity
        for key, values in arrays.items():
            if key not in self._arrays:
                self._arrays[key] = np.zeros((self.capacity, *values.shape[1:]), values.dtype)
            self._arrays[key][places] = values
        self._next = (self._next + rows) % self.capacity
        self.size = min(self.size + rows, self.capacity)

    def draw(self, rows: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Rows drawn with replacement."""
        chosen = rng.integers(0, self.size, rows)
        return {key: values[chosen] for key, values in self._arrays.items()}


class Imitation:
    """Collects labels from a teacher and fits a network to them.

    Attributes:
        decisions: environment steps taken in all rows together.
        updates: gradient steps taken.
    """

    def __init__(
        self,
        vec: Any,
        teacher: Teacher,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        label_every: int,
        loss: str,
        temperature: float,
        batch_size: int,
        reuse: float,
        capacity: int,
        value_coefficient: float,
        max_grad_norm: float,
        device: torch.device,
        rng: np.random.Generator,
    ) -> None:
        """Set up; see `dispatchgym.configs.schemas.ImitationConfig` for the numbers.

        Args:
            vec: vector environment with autoreset mode SameStep, already reset.
            teacher: labels decisions.
            network: the student, trained in place.
            optimizer: over the network's weights.
            label_every: decisions between labels of a row.
            loss: what is minimised, one of `LOSSES`.
            temperature: cost at which a label's weight falls by a factor e.
            batch_size: labels per update.
            reuse: average number of times a label is used.
            capacity: labels kept.
            value_coefficient: weight of the value loss.
            max_grad_norm: gradients are clipped to this norm.
            device: where the network is.
            rng: for mixing teacher and student and for drawing minibatches.

        Raises:
            ParameterError: there is no such loss.
        """
        if loss not in LOSSES:
            raise ParameterError(
                f"agent.imitation.loss: found {loss!r}, expected one of {', '.join(LOSSES)}"
            )
        self.loss = loss
        self.vec, self.teacher, self.network, self.optimizer = vec, teacher, network, optimizer
        self.label_every = label_every
        self.temperature = temperature
        self.batch_size = batch_size
        self.reuse = reuse
        self.value_coefficient = value_coefficient
        self.max_grad_norm = max_grad_norm
        self.device = device
        self.rng = rng
        self.buffer = LabelBuffer(max(capacity, vec.num_envs))
        self.decisions = 0
        self.updates = 0
        self._owed = 0.0
        self._observation: Observation = vec.simulation.observations

    def collect(self, student_share: float) -> None:
        """Label one decision of each row and move on to the next one to label.

        Args:
            student_share: probability that the student acts instead of its guide.
        """
        costs, value = self.teacher.label(self.vec)
        self.buffer.add({**self._observation, "costs": costs, "value": value.astype(np.float32)})
        self._owed += self.reuse * self.vec.num_envs / self.batch_size
        self._move(costs.argmin(axis=1), student_share)
        for _ in range(self.label_every - 1):
            self._move(self.teacher.act(self.vec), student_share)

    def _move(self, guide: NDArray[np.int64], student_share: float) -> None:
        actions = guide
        if student_share > 0:
            by_student = self.rng.random(self.vec.num_envs) < student_share
            actions = np.where(by_student, self._student(), guide)
        self._observation, *_ = self.vec.step(actions)
        self.decisions += self.vec.num_envs

    def _student(self) -> NDArray[np.int64]:
        """Even rows greedy, as the policy will be used; odd rows sampled, for variety."""
        with torch.no_grad():
            tensors = as_tensors(self._observation, self.device)
            logits = mask_logits(self.network(tensors)[0], tensors["action_mask"])
            actions = torch.multinomial(torch.softmax(logits, dim=1), 1).squeeze(1)
            actions[::2] = logits[::2].argmax(dim=1)
        return actions.cpu().numpy()

    def update(self) -> dict[str, float]:
        """Take the gradient steps that the collected labels allow.

        Returns:
            means over these steps: `policy_loss`, `value_loss`, `agreement` (share of
            decisions where the greedy student does what the teacher would), `regret` (mean
            cost of the greedy student's actions); empty when no step was due.
        """
        records = []
        while self._owed >= 1.0:
            self._owed -= 1.0
            records.append(self._gradient_step())
        if not records:
            return {}
        return {key: float(np.mean([record[key] for record in records])) for key in records[0]}

    def _gradient_step(self) -> dict[str, float]:
        batch = as_tensors(self.buffer.draw(self.batch_size, self.rng), self.device)
        logits, value = self.network(batch)
        logits = mask_logits(logits, batch["action_mask"])
        if self.loss == "regret":
            policy_loss = regret_loss(logits, batch["costs"])
        else:
            policy_loss = label_loss(logits, batch["costs"], self.temperature)
        value_loss = _known_square_error(value, batch["value"])
        self.optimizer.zero_grad()
        (policy_loss + self.value_coefficient * value_loss).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.updates += 1
        chosen = batch["costs"].gather(1, logits.argmax(dim=1, keepdim=True))
        return {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "agreement": (chosen == 0).float().mean().item(),
            "regret": chosen.mean().item(),
        }


def label_loss(logits: Tensor, costs: Tensor, temperature: float) -> Tensor:
    """Cross-entropy against softmax(-costs / temperature); equal costs share the weight.

    Args:
        logits: (batch, actions) masked.
        costs: (batch, actions), infinity where illegal.
        temperature: positive.
    """
    weights = torch.softmax(-costs / temperature, dim=1)
    return -(weights * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()


def regret_loss(logits: Tensor, costs: Tensor) -> Tensor:
    """Mean cost of actions drawn from the policy: where all cost the same, nothing is learned.

    Args:
        logits: (batch, actions) masked.
        costs: (batch, actions), infinity where illegal.
    """
    finite = torch.where(torch.isfinite(costs), costs, torch.zeros_like(costs))
    return (torch.softmax(logits, dim=1) * finite).sum(dim=1).mean()


def _known_square_error(value: Tensor, target: Tensor) -> Tensor:
    known = torch.isfinite(target)
    error = torch.where(known, value - target, torch.zeros_like(value))
    return error.square().sum() / known.sum().clamp(min=1)
