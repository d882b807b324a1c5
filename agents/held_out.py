"""Evaluations on the way of a training, on episodes that it never sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.entrants import Search
from dispatchgym.agents.mixture import parts_of
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.problems.base import Measure, Problem, VectorMeasure
from dispatchgym.configs.schemas import TrainConfig
from dispatchgym.envs.core.errors import ParameterError

HELD_OUT_SEED = 500_000
"""First seed of these evaluations: they choose the checkpoint `best`, so that no table may use
their episodes."""


def measure_of_scores(found: Measure | VectorMeasure) -> Measure:
    """Return what a score is: of several objectives their weighted cost, in units of rewards."""
    return found if isinstance(found, Measure) else Measure("weighted cost", 3)


class HeldOut:
    """The same held-out episodes each time, and what the rules make of them.

    Attributes:
        scenario: what is played.
        arena: the episodes.
        measure: what their objective is.
    """

    def __init__(self, config: TrainConfig, problem: Problem, options: Mapping[str, Any]) -> None:
        """Find the instances; rules play when the first score is asked for."""
        held_out = config.held_out
        chosen = dict(options)
        trained_on = chosen.pop("scenario")
        self.scenario = held_out.scenario or trained_on
        if len(parts_of(self.scenario)) > 1:
            raise ParameterError(
                f"held_out.scenario: found {self.scenario!r}, expected a part of the mixture"
            )
        if held_out.level is not None:
            chosen = problem.at_level(chosen, held_out.level)
        seeds = tuple(range(HELD_OUT_SEED, HELD_OUT_SEED + held_out.seeds))
        self.arena = Arena(problem, self.scenario, seeds, chosen)
        self.measure = measure_of_scores(self.arena.measure)
        self._rules: dict[str, float] = {}
        self._references: list[float] = []

    def prepare(self) -> None:
        """Do what takes time and is needed once: play the rules, find the references."""
        problem = self.arena.problem
        if not self._rules:
            for rule in problem.rules(self.scenario):
                played = self.arena.run_rule(rule, **problem.options_of_rule(rule))
                self._rules[rule] = float(np.mean(self._numbers(played)))
            self._references = [problem.held_out_reference(i) for i in self.arena.instances]

    def _play(self, policy: Policy) -> list[Episode]:
        entrant = self.arena.problem.policy_entrant(policy, Search())
        if entrant is not None:
            return entrant.play(self.arena)
        return self.arena.play(lambda _, observation: policy.act(observation))[0]

    def _numbers(self, episodes: list[Episode]) -> list[float]:
        """Return the objective of each episode; of several, its cost under its preference."""
        if isinstance(self.arena.measure, Measure):
            return [episode.objective for episode in episodes]
        pairs = zip(self.arena.instances, episodes, strict=True)
        return [self.arena.problem.cost(instance, episode) for instance, episode in pairs]

    def score(self, policy: Policy) -> dict[str, float]:
        """Let the policy play greedily.

        Returns:
            `objective` (mean; of several objectives the cost under the episode's preference),
            `gap` (mean over the episodes that have one), `best_rule` (mean objective of the best
            rule) and `vs_best_rule` (the difference to it as a fraction: negative is better,
            whether more or less is).
        """
        self.prepare()
        found = self._numbers(self._play(policy))
        gaps = [
            self.measure.gap(number, reference)
            for number, reference in zip(found, self._references, strict=True)
        ]
        objective = float(np.mean(found))
        best_rule = min(self._rules.values(), key=self.measure.cost)
        return {
            "objective": objective,
            "gap": float(np.nanmean(gaps)),
            "best_rule": best_rule,
            "vs_best_rule": self.measure.gap(objective, best_rule),
        }

    def first_episode(self, policy: Policy) -> tuple[Any, Episode]:
        """Instance and greedy episode of the first held-out seed."""
        return self.arena.instances[0], self._play(policy)[0]
