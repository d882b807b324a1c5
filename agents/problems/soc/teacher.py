"""The teacher of the system on chip: it searches for plans, and for plans that begin otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import UNKNOWN, Labels
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.soc import search

SHARE_OF_ALTERNATIVES = 4
"""The best plan is searched for so many times longer than one that begins with another action."""


class PlanTeacher:
    """Judges every action by the best plan for the jobs in the system that begins with it.

    A plan is kept for every row, and mended whatever the student did.
    """

    def __init__(self, moves: int, seed: int = 0) -> None:
        """Set up.

        Args:
            moves: of the search at each decision, at least 1.
            seed: of the moves.

        Raises:
            ParameterError: there are no moves.
        """
        if moves < 1:
            raise ParameterError(f"agent.imitation.iterations: found {moves}, expected at least 1")
        self.moves = moves
        self._calls = seed << 32
        self._problem: search.Problem | None = None

    def act(self, vec: Any) -> NDArray[np.int64]:
        """What the rule ETF does: quick, and not far off."""
        return vec.rule_action("etf")

    def label(self, vec: Any) -> Labels:
        """Microseconds of latency of all jobs together that each action costs; values unknown."""
        simulation = vec.simulation
        if self._problem is None or len(self._problem.size) != vec.num_envs:
            self._problem = search.empty_problem(simulation.limits, vec.num_envs)
        self._calls += 1
        costs = np.empty(simulation.observations["action_mask"].shape, np.float32)
        search.label_batch(
            simulation.state,
            simulation.tables,
            self._problem,
            self.moves,
            max(self.moves // SHARE_OF_ALTERNATIVES, 1),
            self._calls,
            costs,
        )
        return costs, np.full(vec.num_envs, UNKNOWN)
