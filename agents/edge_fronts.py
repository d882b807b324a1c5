"""Episodes of edge offloading on which index policies are bred for the hypervolume of fronts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.pareto import hypervolume_slopes, normalise
from dispatchgym.agents.preferences import equally_spaced
from dispatchgym.envs.edge_offloading import ideal
from dispatchgym.envs.edge_offloading.index import IndexEpisodes, Plan

__all__ = ["FrontGround"]

FloatArray = NDArray[np.float64]

POINTS = 21
"""Preferences of a front, as in the tables."""


class Front(NamedTuple):
    """Episodes whose mean objectives make a front, and the box that it is measured in.

    Attributes:
        rows: which of the episodes.
        share: of the score.
        ideal, reference: (2,) ends of the box, as in the tables.
    """

    rows: NDArray[np.int64]
    share: float
    ideal: FloatArray
    reference: FloatArray


class FrontGround:
    """A playground: what changes of the weights do to the hypervolume of fronts.

    Half of the score is of the front of all episodes, half the mean over numbers of edge servers.
    Every pair of opposite changes plays one episode with one preference. What it does there to the
    mean objectives changes the hypervolume, to first order, by what the slopes at the unchanged
    weights say; so thousands of changes can be tried in the time of a few fronts.

    Attributes:
        episodes: what is played.
        decisions: taken by candidates so far.
    """

    def __init__(self, scenario: str, count: int) -> None:
        """`count` episodes of a scenario of independent tasks."""
        self.episodes = IndexEpisodes(scenario, count)
        weights = np.array(equally_spaced(POINTS))[:, 0]
        self._lane = np.tile(np.arange(count), POINTS)
        self._preference = np.repeat(weights, count)
        self._fronts: list[Front] = []
        self.decisions = 0

    def draw(self, rng: np.random.Generator) -> None:
        """Take other episodes, never those of evaluations: their seeds are 2^62 or more."""
        count = len(self._lane) // POINTS
        self.take(rng.integers(1 << 62, (1 << 63) - 1, count))

    def take(self, seeds: NDArray[np.int64]) -> None:
        """Take the episodes of these seeds, one a lane, and find the boxes of their fronts."""
        self.episodes.take(seeds)
        vec = self.episodes.vec
        instances = self.episodes.instances
        ideals = np.array([ideal(instance) for instance in instances])
        edges = np.array([instance.num_servers - 1 for instance in instances])
        worst = np.empty((len(seeds), 2))
        for objective in (0, 1):  # nothing to the cloud, everything to it
            vec.reset(seed=seeds.tolist())
            played = vec.run_rule("random_p", parameter=float(objective))
            worst[:, objective] = played["objective"][:, objective]
        numbers = np.unique(edges)
        shares = [(np.arange(len(seeds)), 0.5)]
        shares += [(np.flatnonzero(edges == n), 0.5 / len(numbers)) for n in numbers]
        self._fronts = [
            Front(rows, share, ideals[rows].mean(axis=0), worst[rows].mean(axis=0))
            for rows, share in shares
        ]

    def scores(self, candidates: FloatArray) -> FloatArray:
        """Return (C,) what each candidate adds to the score, in its own episode.

        Args:
            candidates: (C, W), the changed weights, then those with the opposite changes, so
                that their mean is without any.
        """
        pairs = max(len(candidates) // 2, 1)
        own = np.arange(len(candidates)) % pairs % len(self._lane)
        nobody = np.zeros(len(self._lane), np.int64)
        unchanged = self.episodes.play(
            candidates.mean(axis=0)[None], Plan(self._lane, self._preference, nobody)
        )
        number = np.arange(len(candidates))
        changed = self.episodes.play(
            candidates, Plan(self._lane[own], self._preference[own], number)
        )
        self.decisions = self.episodes.decisions
        slopes = self._slopes(unchanged.reshape(POINTS, -1, 2)).reshape(-1, 2)
        added: FloatArray = ((changed - unchanged[own]) * slopes[own]).sum(axis=1)
        return added

    def _slopes(self, objectives: FloatArray) -> FloatArray:
        """Return what the score gains for each second and joule of (P, n, 2) episodes."""
        slopes = np.zeros_like(objectives)
        for front in self._fronts:
            means = objectives[:, front.rows].mean(axis=1)
            steep = hypervolume_slopes(normalise(means, front.ideal, front.reference), (1.0, 1.0))
            steep *= front.share / (front.reference - front.ideal) / len(front.rows)
            slopes[:, front.rows] += steep[:, None]
        return slopes
