"""Players: whatever can choose an action for each row of a vector environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch stays unloaded where no network plays
    from dispatchgym.agents.policy import Observation, Policy

Base = tuple[str, int]
"""A base rule of a rollout: rule name and limit on jobs in the shop, 0 for none."""

ROLLOUT_BASES: tuple[Base, ...] = (("blkrel", 0), ("lrm", 0), ("mwkr", 0), ("spt_twk", 0))
"""Default bases of a rollout: four rules of different kinds."""


class Player(Protocol):
    """What evaluation and search need of an agent."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Options the environment must be made with; empty when any will do."""

    def act(self, vec: Any, observation: Observation) -> NDArray[np.int64]:
        """One legal action per row of `vec`, whose current observation is given."""
        ...


class RulePlayer:
    """A dispatching rule that runs inside the environment."""

    def __init__(self, rule: str) -> None:
        """`rule` is one of the environment's `rules`."""
        self.name = rule
        self.environment: dict[str, Any] = {}

    def act(self, vec: Any, observation: Observation) -> NDArray[np.int64]:
        """The rule's action per row."""
        return vec.rule_action(self.name)


class NetworkPlayer:
    """A trained policy, greedy or sampling."""

    def __init__(
        self, policy: Policy, deterministic: bool = True, temperature: float = 1.0
    ) -> None:
        """`temperature` flattens (above 1) or sharpens (below 1) the sampling."""
        self.name = policy.name
        self.environment = policy.environment
        self.policy = policy
        self.deterministic = deterministic
        self.temperature = temperature

    def act(self, vec: Any, observation: Observation) -> NDArray[np.int64]:
        """The policy's action per row."""
        return self.policy.act(observation, self.deterministic, self.temperature)


class RolloutPlayer:
    """Try every legal action, complete the episode with base rules, keep the best action.

    The pilot method of the scheduling literature (Duin & Voss 1999). The continuation uses
    expected durations, so it knows nothing of shutdowns to come.
    """

    def __init__(self, bases: Sequence[Base] = ROLLOUT_BASES, allow_wait: str = "never") -> None:
        """The best of `bases` counts for each action; `allow_wait` as in the environment."""
        self.name = "rollout"
        self.environment: dict[str, Any] = {"allow_wait": allow_wait}
        self.bases = tuple(bases)

    def act(self, vec: Any, observation: Observation) -> NDArray[np.int64]:
        """The action per row whose best continuation is shortest; lowest index on ties."""
        values = vec.rollout_values(self.bases)
        return np.where(np.isnan(values), np.inf, values).argmin(axis=1)
