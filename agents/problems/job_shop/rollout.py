"""Rollouts of the job shop: every action completed by rules inside the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.players import Player

__all__ = ["ROLLOUT_BASES", "Base", "GuidedRollout", "RolloutPlayer"]

Base = tuple[str, int]
"""A base rule of a rollout: rule name and limit on jobs in the shop, 0 for none."""

ROLLOUT_BASES: tuple[Base, ...] = (("blkrel", 0), ("lrm", 0), ("mwkr", 0), ("spt_twk", 0))
"""Default bases of a rollout: four rules of different kinds."""


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

    def act(self, vec: Any, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """The action per row whose best continuation is shortest; lowest index on ties."""
        values = vec.rollout_values(self.bases)
        return np.where(np.isnan(values), np.inf, values).argmin(axis=1)


@dataclass(frozen=True)
class GuidedRollout:
    """Rollout whose ties are broken by a policy.

    Attributes:
        name: what tables call it.
        guide: the policy's greedy player.
        rollout: the player that completes episodes by rules.
    """

    name: str
    guide: Player
    rollout: RolloutPlayer

    @property
    def environment(self) -> Mapping[str, Any]:
        """Options of the environment: those of the policy."""
        return self.guide.environment

    def act(self, vec: Any, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the guide's action where its rollout is as good as any, else the best one."""
        values = vec.rollout_values(self.rollout.bases)
        values = np.where(np.isnan(values), np.inf, values)
        best = values.argmin(axis=1)
        chosen = np.asarray(self.guide.act(vec, observation))
        rows = np.arange(len(best))
        return np.where(values[rows, chosen] <= values[rows, best], chosen, best)
