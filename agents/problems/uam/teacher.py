"""Teachers of the fleet: the index policy, and days of a planner that are replayed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parameters_to_vector

from dispatchgym.agents.imitation import Labels, sure_labels
from dispatchgym.agents.policy import Policy
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.uam import kernel, make_instance, plan_day
from dispatchgym.envs.uam.index import index_actions, index_judgements
from dispatchgym.models.uam import UAMIndexNetwork

POOL_SEED = 1 << 62
"""Seed of the first day that is planned: beyond those of evaluations."""


class IndexTeacher:
    """Says what an index policy would do, wherever the student has gone."""

    def __init__(self, policy: Policy) -> None:
        """Take the weights of a policy with the network `uam_index`.

        Raises:
            ParameterError: it has another network.
        """
        if not isinstance(policy.network, UAMIndexNetwork):
            raise ParameterError(
                f"agent.imitation.checkpoint: {policy.name} has the network "
                f"{policy.file.network!r}, expected 'uam_index'"
            )
        with torch.no_grad():
            vector = parameters_to_vector(policy.network.parameters())
        self.weights = vector.double().cpu().numpy()

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The actions of highest index."""
        return index_actions(vec.simulation.state, self.weights)

    def label(self, vec: Any) -> Labels:
        """Cost is what the index falls short of the highest one; value what the policy earns."""
        indices, to_come = index_judgements(vec.simulation, self.weights)
        return (indices.max(axis=1, keepdims=True) - indices).astype(np.float32), to_come


@dataclass(frozen=True)
class Day:
    """A day as a planner has played it.

    Attributes:
        seed: of instance and disturbances.
        actions: (n,) int64, the vertiport chosen at each decision.
        to_come: (n,) float64, sum of the rewards of this decision and all that follow.
    """

    seed: int
    actions: NDArray[np.int64]
    to_come: NDArray[np.float64]

    @classmethod
    def plan(cls, planner: str, scenario: str, seed: int) -> Day:
        """Let a planner play the day of a seed."""
        instance = make_instance(scenario, seed)
        decisions = plan_day(planner, instance, seed).schedule["decisions"]
        time, _, origin, action, passengers, corridor = decisions[:, :6].T
        slot = (time - instance.start) // instance.slot
        charged = 1 if instance.op_basis == "vehicle" else passengers
        earned = (
            passengers * instance.fare_cents[slot, origin, action]
            - charged * instance.operating_cents[origin, action]
            - instance.electricity_cents[origin, action]
        )
        earned = np.where(corridor >= 0, earned, 0)  # nobody flies who stays or is cancelled
        to_come = earned[::-1].cumsum()[::-1] / max(instance.demand_value_cents, 1)
        return cls(seed, action.copy(), to_come)


class DayTeacher:
    """Says what a planner did, on the very days that it has planned.

    A row that is not on such a day, as it has begun a new one or the student has acted in it, is
    put at the beginning of one. So the student has to follow: with ``student_from=inf`` it
    never acts during imitation.
    """

    def __init__(self, planner: str, scenario: str, count: int, seed: int = 0) -> None:
        """Plan all days.

        Args:
            planner: one of `dispatchgym.envs.uam.PLANNERS`.
            scenario: name of a random scenario, that of the environment.
            count: number of days, at least 1.
            seed: chooses the days and the order in which they are replayed.

        Raises:
            ParameterError: no day is asked for.
            ScenarioError: there is no such scenario.
            MissingDependencyError: the planner's solver is not installed.
        """
        if count < 1:
            raise ParameterError(f"agent.imitation.instances: found {count}, expected at least 1")
        first = POOL_SEED + (seed % (1 << 30)) * (1 << 20)
        self.days = {s: Day.plan(planner, scenario, s) for s in range(first, first + count)}
        self._random = np.random.default_rng(seed)

    def act(self, vec: Any) -> NDArray[np.int64]:
        """What the planner did, in each row."""
        return np.array([day.actions[number] for day, number in self._follow(vec)], np.int64)

    def label(self, vec: Any) -> Labels:
        """Cost 0 for the planner's action and 1 for the other legal ones; what it earned then."""
        found = self._follow(vec)
        costs, _ = sure_labels(vec, np.array([day.actions[n] for day, n in found], np.int64))
        return costs, np.array([day.to_come[n] for day, n in found])

    def _follow(self, vec: Any) -> list[tuple[Day, int]]:
        """Return the day of each row and the number of its next decision."""
        state = vec.simulation.state
        strayed = np.array([not self._is_on_day(state, row) for row in range(vec.num_envs)])
        if strayed.any():
            seeds = self._random.choice(list(self.days), vec.num_envs)
            vec.simulation.restart(strayed, np.where(strayed, seeds, -1))
        return [
            (self.days[int(scalar[kernel.SEED])], int(scalar[kernel.DECISIONS]))
            for scalar in state.scalar
        ]

    def _is_on_day(self, state: kernel.State, row: int) -> bool:
        """Whether the day of a row was planned, and all was done as planned so far."""
        day, taken = self.days.get(int(state.scalar[row, kernel.SEED])), _taken(state, row)
        return day is not None and np.array_equal(day.actions[: len(taken)], taken)


def _taken(state: kernel.State, row: int) -> NDArray[np.int32]:
    """Return the actions of a row so far."""
    return state.log[row, : state.scalar[row, kernel.DECISIONS], kernel.LOG_ACTION]
