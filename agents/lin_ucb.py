"""LinUCB: servers as arms of a linear bandit that predicts both rewards of a task.

Each server is an arm whose context x is its column of the published observation (67 numbers). One
ridge regression that all arms share predicts the vector reward of sending the task there, so that
the preference weighs the prediction: a preference among the features of a plain linear model adds
the same to every arm. Upper confidence bounds choose while it learns (Li et al., "A
contextual-bandit approach to personalized news article recommendation", WWW 2010); afterwards the
prediction alone. A bandit sees only what a decision earns at once; here that is all it causes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.preferences import equally_spaced

__all__ = ["LinUCB", "LinUCBEntrant"]

FEATURES = 67
"""The columns of `servers` that the published observation has."""
PREFERENCES = 101
"""It learns with so many equally spaced preferences at a time (arXiv 2509.10474, appendix C)."""
EPISODES = 5
"""Episodes with each preference; twice as many change nothing."""
TRAINING_SEED = 1 << 61
"""First seed of the episodes to learn from; evaluation seeds are small."""

Observation = Mapping[str, NDArray[Any]]


@dataclass
class LinUCB:
    """A shared ridge model of the vector reward.

    Attributes:
        exploration: weight of the confidence bound.
        ridge: weight of the penalty on the coefficients, above 0.
    """

    exploration: float = 1.0
    ridge: float = 1.0
    _moments: NDArray[np.float64] = field(init=False, repr=False)
    _responses: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin without data."""
        self._moments = self.ridge * np.eye(FEATURES)
        self._responses = np.zeros((FEATURES, 2))
        self._solve()

    def _solve(self) -> None:
        self._inverse = np.linalg.inv(self._moments)
        self._coefficients = self._inverse @ self._responses

    def learn(self, contexts: NDArray[np.float64], rewards: NDArray[np.float64]) -> None:
        """Add decisions: contexts (n, FEATURES) of the chosen arms, vector rewards (n, 2)."""
        self._moments += contexts.T @ contexts
        self._responses += contexts.T @ rewards
        self._solve()

    def choose(self, observation: Observation, exploration: float) -> NDArray[np.int64]:
        """Return the arm with the highest bound in each row."""
        arms = contexts_of(observation)
        values = np.einsum("bsk,bk->bs", arms @ self._coefficients, observation["preference"])
        if exploration:
            spread = np.einsum("bsf,fg,bsg->bs", arms, self._inverse, arms, optimize=True)
            values += exploration * np.sqrt(np.maximum(spread, 0.0))
        legal = observation["action_mask"][:, : arms.shape[1]] == 1
        return np.where(legal, values, -np.inf).argmax(axis=1)

    def train(self, vector: Any, episodes: int) -> None:
        """Learn from episodes in all rows of a vector environment, one preference a row."""
        weights = np.array(equally_spaced(vector.num_envs))
        rows = np.arange(vector.num_envs)
        for episode in range(episodes):
            first = TRAINING_SEED + episode * vector.num_envs
            observation, _ = vector.reset(seed=first, options={"preference": weights})
            running = np.ones(vector.num_envs, np.bool_)
            while running.any():
                actions = self.choose(observation, self.exploration)
                chosen = contexts_of(observation)[rows, actions]
                observation, _, terminated, truncated, _ = vector.step(actions)
                # Rows that begin anew go on with a preference of the environment: not learned.
                self.learn(chosen[running], vector.simulation.vector_reward[running])
                running &= ~(terminated | truncated)


@dataclass(frozen=True)
class LinUCBEntrant:
    """LinUCB, which learns on a scenario before it plays there.

    Attributes:
        name: what tables call it.
        is_rule: never a plain dispatching rule.
        learns: on what it plays, before it plays.
    """

    name: str = "lin_ucb"
    is_rule: bool = False
    learns: bool = True
    _models: dict[str, LinUCB] = field(default_factory=dict, repr=False, compare=False)

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed."""
        return arena.play(self._choose(arena))[0]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone."""
        return arena.decision_times(self._choose(arena))

    def _choose(self, arena: Arena) -> Any:
        model = self._model(arena)
        return lambda vector, observation: model.choose(observation, 0.0)

    def _model(self, arena: Arena) -> LinUCB:
        key = repr((arena.scenario, sorted(arena.options.items())))
        if key not in self._models:
            model = LinUCB()
            model.train(arena.vector(PREFERENCES), EPISODES)
            self._models[key] = model
        return self._models[key]


def contexts_of(observation: Observation) -> NDArray[np.float64]:
    """Return the contexts of all arms, (B, S, FEATURES)."""
    return observation["servers"][:, :, :FEATURES].astype(np.float64)
