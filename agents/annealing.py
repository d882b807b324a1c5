"""Simulated annealing of open-loop plans: one fixed server for each slot, whatever comes.

A plan cannot see the size of a task, so it shows what blind search gives; it is a baseline of
GMORL (arXiv 2509.10474), which says that it searches 10,000 episodes. Temperatures are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Choose, Episode
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.bounds import placement
from dispatchgym.envs.edge_offloading.exact import units
from dispatchgym.envs.edge_offloading.instance import OffloadInstance
from dispatchgym.envs.edge_offloading.search import delay_of

__all__ = ["AnnealingEntrant", "anneal", "plan_costs"]

EPISODES = 10_000
"""Episodes of search for each preference, two a proposal: the plan so far and the changed one."""
HOT, COLD = 30.0, 0.3
"""First and last temperature; an episode costs about 300 (tasks times what an average one costs
alone), and one changed slot a few."""
SEARCH_SEED = 1 << 61
"""First seed of the episodes of the search; evaluation seeds are small."""
EPISODE_LEFT = 8
"""Column of ``task``: which part of the slots is left."""
MANY = 1 << 30
"""Plans are numbers below this, so that they fit any number of servers: the remainder counts."""

Observation = Mapping[str, NDArray[Any]]


def anneal(
    draw: Callable[[int], OffloadInstance],
    preferences: NDArray[np.float64],
    episodes: int,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return the plan that the search ends with for each preference, int64 (P, slots).

    Both plans of a proposal are judged by one new episode, the same for all preferences.

    Args:
        draw: makes the instance of a seed.
        preferences: (P, 2) weights.
        episodes: of search for each preference.
        seed: of the proposals.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(preferences))
    slots = draw(SEARCH_SEED).horizon
    plans = rng.integers(MANY, size=(len(rows), slots))
    proposals = episodes // 2
    for number in range(proposals):
        temperature = HOT * (COLD / HOT) ** (number / proposals)
        changed = plans.copy()
        changed[rows, rng.integers(slots, size=len(rows))] = rng.integers(MANY, size=len(rows))
        instance = draw(SEARCH_SEED + number)
        worse = plan_costs(instance, changed, preferences)
        worse -= plan_costs(instance, plans, preferences)
        accepted = rng.random(len(rows)) < np.exp(np.minimum(-worse / temperature, 0.0))
        plans[accepted] = changed[accepted]
    return plans


def plan_costs(
    instance: OffloadInstance, plans: NDArray[np.int64], preferences: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what an episode costs with each plan (P, slots): (P,) sums weighted by preference."""
    problem = placement(instance)
    slot = np.rint(problem.sent / instance.slot).astype(np.int64)
    servers = plans[:, slot] % instance.num_servers
    delay = [delay_of(problem, row) for row in servers]
    joules = problem.joules[np.arange(len(slot)), servers].sum(axis=1)
    return (np.stack([delay, joules], axis=1) / units(instance) * preferences).sum(axis=1)


def _actions(
    plans: NDArray[np.int64], rows: NDArray[np.intp], observation: Observation
) -> NDArray[np.int64]:
    """Return what the plan of each row says for its slot."""
    slots = plans.shape[1]
    slot = np.rint((1.0 - observation["task"][:, EPISODE_LEFT]) * slots).astype(np.int64)
    servers = np.maximum(observation["action_mask"].sum(axis=1, dtype=np.int64), 1)
    return plans[rows, np.clip(slot, 0, slots - 1)] % servers


@dataclass(frozen=True)
class AnnealingEntrant:
    """Open-loop plans, searched for on a scenario before they are played there.

    Attributes:
        name: what tables call it.
        episodes: of search for each preference.
        is_rule: never a plain dispatching rule.
        learns: on what it plays, before it plays.
    """

    name: str = "sa"
    episodes: int = EPISODES
    is_rule: bool = False
    learns: bool = True
    _plans: dict[str, NDArray[np.int64]] = field(default_factory=dict, repr=False, compare=False)

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed."""
        return arena.play(self._choose(arena))[0]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone."""
        return arena.decision_times(self._choose(arena))

    def _choose(self, arena: Arena) -> Choose:
        known = np.array(arena.preferences or ((0.5, 0.5),))
        plans = self._searched(arena, known)

        def choose(vector: Any, observation: Observation) -> NDArray[np.int64]:
            distance = np.abs(observation["preference"][:, None] - known[None]).sum(axis=2)
            return _actions(plans, distance.argmin(axis=1), observation)

        return choose

    def _searched(self, arena: Arena, preferences: NDArray[np.float64]) -> NDArray[np.int64]:
        first = arena.instances[0]
        if not isinstance(first, OffloadInstance):
            raise ParameterError(f"agents: {self.name} plans slots, which {first.name} has none of")
        key = repr((arena.scenario, sorted(arena.options.items()), preferences.tolist()))
        if key not in self._plans:
            self._plans[key] = anneal(arena.draw, preferences, self.episodes)
        return self._plans[key]
