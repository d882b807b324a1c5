"""Test-time search of VM rescheduling: plans of a policy or a rule, refined by iterated greedy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.entrants import NO_TIMES, Search, best_episode
from dispatchgym.agents.players import NetworkPlayer
from dispatchgym.agents.policy import Policy
from dispatchgym.envs.vm_rescheduling.iterated_greedy import iterated_greedy

SECONDS = 5.0
"""Budget of a plan where the search names none: the limit of the literature."""
SAMPLING_SHARE = 0.5
"""Part of the budget in which the policy plays; the rest refines its best plan."""


@dataclass(frozen=True)
class RefinedRule:
    """Refines the plan of a rule until the time is over.

    Attributes:
        name: what tables call it.
        rule: name of the rule.
        search: its `seconds` are the budget of a plan; 0: `SECONDS`.
        is_rule: never a plain dispatching rule.
    """

    name: str
    rule: str
    search: Search
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Plan for every seed."""
        plans = arena.run_rule(self.rule, **arena.problem.rule_options)
        return [
            refine(arena, index, plan, self.search.seconds or SECONDS)
            for index, plan in enumerate(plans)
        ]

    def decision_times(self, arena: Arena) -> NDArray[Any]:
        """Return nothing: a plan is one decision, whose time is that of the episode."""
        return NO_TIMES


@dataclass(frozen=True)
class RefinedPolicy:
    """Lets a policy plan greedily and at random, and refines its best plan.

    Attributes:
        name: what tables call it.
        policy: the policy.
        search: `samples` plans, the greedy one included, in at most half of `seconds` (0:
            `SECONDS`), and the temperature and quantile of the random ones.
        is_rule: never a plain dispatching rule.
    """

    name: str
    policy: Policy
    search: Search
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Plan for every seed, one after the other: each has a budget of its own."""
        import torch

        torch.manual_seed(arena.seeds[0])
        return [self._plan(arena.alone(seed)) for seed in arena.seeds]

    def _plan(self, alone: Arena) -> Episode:
        changes, search = self.policy.environment, self.search
        budget = search.seconds or SECONDS
        first = alone.play(NetworkPlayer(self.policy).act, **changes)[0][0]
        sampler = NetworkPlayer(self.policy, False, search.temperature, search.quantile)
        left = SAMPLING_SHARE * budget - first.seconds
        others, spent = alone.play_within(sampler.act, search.samples - 1, left, **changes)
        plan = best_episode(alone, [first, *others])._replace(seconds=first.seconds + spent)
        return refine(alone, 0, plan, budget)

    def decision_times(self, arena: Arena) -> NDArray[Any]:
        """Return nothing: a plan is one decision, whose time is that of the episode."""
        return NO_TIMES


def refine(arena: Arena, index: int, plan: Episode, seconds: float) -> Episode:
    """Return a plan improved by iterated greedy, within what `seconds` leave of its own time.

    Args:
        arena: where it was made.
        index: place of its seed among those of the arena.
        plan: the plan to begin with.
        seconds: budget for both, above 0.
    """
    begin = time.perf_counter()
    instance = arena.instances[index]
    left = seconds - plan.seconds
    if left <= 0:
        return plan
    moves = plan.schedule["moves"]
    better = iterated_greedy(
        instance, time_limit=left, seed=arena.seeds[index], start=moves[moves[:, 0] >= 0]
    )
    schedule: Mapping[str, Any] = {"moves": better}
    objective = float(arena.problem.validate(instance, schedule).objective)
    spent = plan.seconds + time.perf_counter() - begin
    if arena.measure.cost(objective) > arena.measure.cost(plan.objective):
        return plan._replace(seconds=spent)
    return Episode(objective, schedule, "finished", spent)
