"""The teacher of plans: it finds the best plan that begins with each action."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import Labels
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan import kernel, plans, search


class OptimalTeacher:
    """Judges every action by the optimal completion of the plan, wherever the student has gone."""

    def __init__(self, nodes: int) -> None:
        """Set up.

        Args:
            nodes: of branch and bound for each action, at least 1. A search that they do not
                suffice for gives the best plan it has found.

        Raises:
            ParameterError: there are no nodes.
        """
        if nodes < 1:
            raise ParameterError(f"agent.imitation.iterations: found {nodes}, expected at least 1")
        self.nodes = nodes
        self._tree: search.Tree | None = None

    def act(self, vec: Any) -> NDArray[np.int64]:
        """What the rule `rollout_weighted` does: quick, and not far off."""
        return vec.rule_action("rollout_weighted")

    def label(self, vec: Any) -> Labels:
        """Cost beyond the best action, in even shares of a task; rewards to come after that one."""
        simulation = vec.simulation
        state, lanes = simulation.state, vec.num_envs
        if self._tree is None or len(self._tree.cost) != lanes:
            self._tree = search.empty_tree(lanes, simulation.limits.tasks)
        costs = np.empty(simulation.observations["action_mask"].shape)
        search.label_batch(state, simulation.preferences, self._tree, self.nodes, costs)
        best = costs.min(axis=1)
        tasks, decided = state.size[:, plans.TASKS], state.scalar[:, kernel.POSITION]
        spent = _cost_so_far(state, simulation.preferences)
        to_come = (tasks - decided) / tasks - (best - spent)
        return ((costs - best[:, None]) * tasks[:, None]).astype(np.float32), to_come


def _cost_so_far(state: kernel.State, preferences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cost of makespan and energy so far, (B,)."""
    alone = state.device[:, plans.LOCAL_LATENCY]
    energy_alone = alone * state.device[:, plans.COMPUTE_POWER]
    latency = state.real[:, kernel.MAKESPAN] / alone
    energy = state.real[:, kernel.ENERGY] / energy_alone
    return (preferences * np.stack([latency, energy], axis=1)).sum(axis=1)
