"""Teachers of edge offloading: rollouts in the kernel, and an index policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import UNKNOWN, Labels
from dispatchgym.agents.policy import Policy
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models.edge_offloading_index import EdgeOffloadingIndexNetwork

__all__ = ["IndexTeacher", "RolloutTeacher"]

GUIDE = "greedy_omega"


class RolloutTeacher:
    """Judges every server by futures that are drawn and played by greedy_omega.

    So it is a step of policy improvement on that rule (Bertsekas and Tsitsiklis, 1996); what its
    few futures differ by evens out over the states that a student learns from.
    """

    def __init__(self, samples: int) -> None:
        """`samples` futures are drawn for each decision."""
        self.samples = samples

    def act(self, vec: Any) -> NDArray[np.int64]:
        """Return what greedy_omega does."""
        return vec.rule_action(GUIDE)

    def label(self, vec: Any) -> Labels:
        """Return what is lost with each action, in units of the reward; returns unknown."""
        values = vec.simulation.rollout_values(self.samples)
        legal = vec.action_masks()
        costs = np.full(legal.shape, np.inf, np.float32)
        costs[:, : values.shape[1]] = values.max(axis=1, keepdims=True) - values
        costs[~legal] = np.inf
        return costs, np.full(vec.num_envs, UNKNOWN)


class IndexTeacher:
    """Judges every server by an index policy, wherever the student has gone."""

    def __init__(self, policy: Policy) -> None:
        """Take a policy with the network `edge_offloading_index`.

        Raises:
            ParameterError: it has another network.
        """
        if not isinstance(policy.network, EdgeOffloadingIndexNetwork):
            raise ParameterError(
                f"agent.imitation.checkpoint: {policy.name} has the network "
                f"{policy.file.network!r}, expected 'edge_offloading_index'"
            )
        self.policy = policy

    def act(self, vec: Any) -> NDArray[np.int64]:
        """Return the servers of the least index."""
        return self.policy.act(vec.simulation.observations)

    def label(self, vec: Any) -> Labels:
        """Return by how much the logarithm of an index is above the least; returns unknown."""
        logits = self.policy.logits(vec.simulation.observations).cpu().numpy()
        costs = logits.max(axis=1, keepdims=True) - logits
        costs[~vec.action_masks()] = np.inf
        return costs.astype(np.float32), np.full(vec.num_envs, UNKNOWN)
