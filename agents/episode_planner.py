"""Planners that play whole episodes by themselves, decision by decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode

__all__ = ["EpisodePlanner", "Played"]


class Played(Protocol):
    """What a planner gives back of an episode."""

    @property
    def objective(self) -> float:
        """In natural units; nan without a complete schedule."""

    @property
    def schedule(self) -> Mapping[str, Any]:
        """What the validator reads."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Thinking time of each decision."""


@dataclass(frozen=True)
class EpisodePlanner:
    """A planner that takes its time for each decision, outside the environment.

    Attributes:
        name: what tables call it.
        plan: plays the episode of an instance and a seed.
        is_rule: not a dispatching rule.
    """

    name: str
    plan: Callable[[Any, int], Played]
    is_rule: bool = False
    _times: dict[tuple[Any, int], NDArray[np.float64]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed, one after the other."""
        return [
            self._episode(instance, seed)
            for instance, seed in zip(arena.instances, arena.seeds, strict=True)
        ]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return milliseconds of all decisions of the first episode.

        A planner plans every now and then: the first decisions alone would not tell how often.
        """
        first = arena.instances[0], arena.seeds[0]
        if first not in self._times:
            self._episode(*first)
        return self._times[first]

    def _episode(self, instance: Any, seed: int) -> Episode:
        played = self.plan(instance, seed)
        self._times[instance, seed] = 1000.0 * played.seconds
        status = "finished" if np.isfinite(played.objective) else "truncated"
        return Episode(played.objective, played.schedule, status, float(played.seconds.sum()))
