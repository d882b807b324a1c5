"""Players: whatever can choose an action for each row of a vector environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch stays unloaded where no network plays
    from dispatchgym.agents.policy import Observation, Policy


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
        self,
        policy: Policy,
        deterministic: bool = True,
        temperature: float = 1.0,
        quantile: float = 0.0,
    ) -> None:
        """See `Policy.act` for the arguments."""
        self.name = policy.name
        self.environment = policy.environment
        self.policy = policy
        self.deterministic = deterministic
        self.temperature = temperature
        self.quantile = quantile

    def act(self, vec: Any, observation: Observation) -> NDArray[np.int64]:
        """The policy's action per row."""
        return self.policy.act(observation, self.deterministic, self.temperature, self.quantile)
