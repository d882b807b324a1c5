"""The teacher of edge offloading: what rollouts in the kernel expect of each server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import UNKNOWN, Labels

__all__ = ["RolloutTeacher"]

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
