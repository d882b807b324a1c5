"""Rules with a parameter as agents: the parameter takes the place of the preference."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode, episode_of

__all__ = ["SweepEntrant"]


@dataclass(frozen=True)
class SweepEntrant:
    """A rule whose parameter in [0, 1] is the weight of the first objective.

    So its front holds a point for each value of the parameter, as other fronts do for each
    preference. The rule itself knows nothing of preferences.

    Attributes:
        name: what tables call it.
        rule: name of the rule.
        is_rule: never a plain dispatching rule.
    """

    name: str
    rule: str
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed, whole episodes inside the kernel."""
        return arena.in_batches(self._play_batch, 1, {})[0]

    def _play_batch(
        self, vector: Any, seeds: list[int], preferences: NDArray[np.float64] | None = None
    ) -> list[Episode]:
        begin = time.perf_counter()
        options = None if preferences is None else {"preference": preferences}
        vector.reset(seed=list(seeds), options=options)
        final = vector.run_rule(self.rule, _parameter(vector))
        share = (time.perf_counter() - begin) / len(seeds)
        return [episode_of(final, lane)._replace(seconds=share) for lane in range(len(seeds))]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone."""
        return arena.decision_times(self._act)

    def _act(self, vector: Any, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        return np.asarray(vector.simulation.rule_actions(self.rule, _parameter(vector)))


def _parameter(vector: Any) -> NDArray[np.float64]:
    """Return the parameter of each lane (B,)."""
    return np.array(vector.simulation.preferences[:, 0])
