"""Who is compared: rules, policies, searches and the exact solver, behind one small interface."""

from __future__ import annotations

import difflib
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents import shipped
from dispatchgym.agents.arena import Arena, Episode, score_of
from dispatchgym.agents.players import RulePlayer
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.players import Player
    from dispatchgym.agents.policy import Policy
    from dispatchgym.agents.problems.base import Problem

__all__ = [
    "BestOfPolicyEntrant",
    "BestOfRuleEntrant",
    "Effort",
    "Entrant",
    "ExactEntrant",
    "PlannerEntrant",
    "PlayerEntrant",
    "RuleEntrant",
    "Search",
    "best_episode",
    "find_entrants",
]

SEARCHES = ("none", "best_of", "rollout", "sampled_rollout", "beam", "refine")
"""Names of test-time searches; some are of one problem alone."""
ALL_RULES, EXACT = "rules", "exact"
NO_TIMES: NDArray[np.float64] = np.empty(0)
"""Decision times of an agent whose first action is known only after its whole plan."""


@dataclass(frozen=True)
class Effort:
    """What solvers and planners may spend on one instance.

    Attributes:
        time_limit: seconds of the exact solver, above 0.
        workers: threads of the exact solver, at least 1.
        plan_seconds: seconds of a planner, above 0.

    Raises:
        ParameterError: a field is out of range.
    """

    time_limit: float = 60.0
    workers: int = 2
    plan_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Check the fields."""
        for name, value in (
            ("exact.time_limit", self.time_limit),
            ("planner.time_limit", self.plan_seconds),
        ):
            if not value > 0:
                raise ParameterError(f"{name}: found {value}, expected seconds above 0")
        if self.workers < 1:
            raise ParameterError(f"exact.workers: found {self.workers}, expected at least 1")


@dataclass(frozen=True)
class Search:
    """Test-time search.

    Attributes:
        name: ``none``; ``best_of``: play several times at random, keep the best schedule;
            ``rollout``: try each action, complete the episode by rules, take the best;
            ``sampled_rollout``: complete the episode at random at every decision and follow
            the best plan so far; ``beam``: keep the likeliest plays, step by step; ``refine``:
            improve the best of several plays by a local search.
        samples: number of plays of ``best_of`` and ``refine``, the greedy one included, of each
            decision of ``sampled_rollout``, and width of ``beam``, at least 1.
        temperature: spread of the random choices of these plays, above 0.
        quantile: in these plays a policy leaves out actions whose probability is below this
            quantile of the legal ones, in [0, 1).
        seconds: budget for all plays of an episode: when it is used up, plays that have not
            ended do not count, the greedy one apart; 0 for none.

    Raises:
        ParameterError: a field is out of range.
    """

    name: str = "none"
    samples: int = 128
    temperature: float = 1.0
    quantile: float = 0.0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.name not in SEARCHES:
            raise ParameterError(
                f"search: found {self.name!r}, expected one of {', '.join(SEARCHES)}"
            )
        if self.samples < 1:
            raise ParameterError(f"search.samples: found {self.samples}, expected at least 1")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ParameterError(
                f"search.temperature: found {self.temperature}, expected a number above 0"
            )
        if not 0 <= self.quantile < 1:
            raise ParameterError(
                f"search.quantile: found {self.quantile}, expected a number in [0, 1)"
            )
        if not (self.seconds >= 0 and math.isfinite(self.seconds)):
            raise ParameterError(
                f"search.seconds: found {self.seconds}, expected seconds, or 0 for no budget"
            )


class Entrant(Protocol):
    """Anything that can play the episodes of an arena."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def is_rule(self) -> bool:
        """Whether it is a plain dispatching rule, and so one of those to beat."""

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed of the arena once."""

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return milliseconds of single decisions; none where the plan is a single decision."""


@dataclass(frozen=True)
class RuleEntrant:
    """A dispatching rule, played inside the kernel.

    Attributes:
        name: name of the rule.
        is_rule: always.
    """

    name: str
    is_rule: bool = True

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed."""
        return arena.run_rule(self.name, **arena.problem.options_of_rule(self.name))

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone."""
        changes = arena.problem.options_of_rule(self.name)
        return arena.decision_times(RulePlayer(self.name).act, **changes)


@dataclass(frozen=True)
class PlayerEntrant:
    """An agent that decides for a batch of episodes, one step after the other.

    Attributes:
        name: what tables call it.
        player: chooses the actions.
        changes: keyword arguments of the environment that this agent needs.
        deterministic: the same situation always gets the same decision.
        is_rule: never a plain dispatching rule.
    """

    name: str
    player: Player
    changes: Mapping[str, Any] = field(default_factory=dict)
    deterministic: bool = True
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed; seeds that are the same episode are played once."""
        if self.deterministic:
            return arena.play_once(self.player.act, **self.changes)
        return arena.play(self.player.act, **self.changes)[0]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone."""
        return arena.decision_times(self.player.act, **self.changes)


@dataclass(frozen=True)
class BestOfRuleEntrant:
    """Plays each episode under a rule and under randomised copies of it; keeps the best.

    Attributes:
        name: what tables call it.
        rule: name of the rule.
        search: number of plays, the plain one included, and size of the noise.
        is_rule: never a plain dispatching rule.
    """

    name: str
    rule: str
    search: Search
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed; the time of an episode is that of all its plays."""
        changes, search = arena.problem.options_of_rule(self.rule), self.search
        plays = [arena.run_rule(self.rule, **changes)]
        if search.samples > 1:
            plays += arena.sample_rule(self.rule, search.temperature, search.samples - 1, **changes)
        return [best_episode(arena, copies, i) for i, copies in enumerate(zip(*plays, strict=True))]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: no action is final before all plays have ended."""
        return NO_TIMES


@dataclass(frozen=True)
class BestOfPolicyEntrant:
    """Plays each episode once greedily and several times at random; keeps the best.

    Attributes:
        name: what tables call it.
        policy: the policy.
        search: number of plays, the greedy one included, temperature of the others, and budget.
        is_rule: never a plain dispatching rule.
    """

    name: str
    policy: Policy
    search: Search
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed; the time of an episode is that of all its plays."""
        import torch

        from dispatchgym.agents.players import NetworkPlayer

        torch.manual_seed(arena.seeds[0])
        changes, search = self.policy.environment, self.search
        greedy = NetworkPlayer(self.policy)
        sampler = NetworkPlayer(self.policy, False, search.temperature, search.quantile)
        if search.seconds:
            # One after the other, as they would be asked for: each has a budget of its own.
            alone = [arena.alone(seed) for seed in arena.seeds]
            return [self._within_budget(one, greedy, sampler) for one in alone]
        plays = arena.play(greedy.act, **changes)
        if search.samples > 1:
            plays += arena.play(sampler.act, times=search.samples - 1, **changes)
        return [best_episode(arena, copies, i) for i, copies in enumerate(zip(*plays, strict=True))]

    def _within_budget(self, alone: Arena, greedy: Player, sampler: Player) -> Episode:
        """Play one seed greedily, then at random while time is left."""
        changes, search = self.policy.environment, self.search
        first = alone.play(greedy.act, **changes)[0][0]
        others, spent = alone.play_within(
            sampler.act, search.samples - 1, search.seconds - first.seconds, **changes
        )
        best = best_episode(alone, [first, *others])
        return best._replace(seconds=first.seconds + spent)

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: no action is final before all plays have ended."""
        return NO_TIMES


def best_episode(arena: Arena, copies: Sequence[Episode], index: int = 0) -> Episode:
    """Return the best of several plays of the arena's episode `index`, with the time of all."""
    finished = [episode for episode in copies if episode.status == "finished"]
    cost = partial(arena.problem.cost, arena.instances[index])
    best = min(finished or copies, key=cost)
    return best._replace(seconds=sum(episode.seconds for episode in copies))


@dataclass(frozen=True)
class ExactEntrant:
    """The exact solver; it knows all disturbances in advance, so others cannot be better.

    Attributes:
        effort: seconds for one instance, and threads.
        name: what tables call it.
        is_rule: not a dispatching rule.
    """

    effort: Effort = field(default_factory=Effort)
    name: str = EXACT
    is_rule: bool = False
    _solved: dict[Any, tuple[Any, Episode]] = field(default_factory=dict, repr=False, compare=False)

    def play(self, arena: Arena) -> list[Episode]:
        """Solve the instance of every seed; where the seed changes nothing, only once."""
        return [self._episode(arena, index) for index in range(len(arena.seeds))]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: a plan is one decision, whose time is that of the episode."""
        return NO_TIMES

    def _episode(self, arena: Arena, index: int) -> Episode:
        instance, seed = arena.instances[index], arena.seeds[index]
        options = {**arena.options, **arena.preference(index)}
        varies = arena.problem.varies(options)
        key = (id(instance), repr(sorted(options.items())), seed if varies else None)
        if key not in self._solved:
            found = arena.problem.solve(instance, seed, options, self.effort)
            # The instance is kept too: else its id could become that of another one.
            self._solved[key] = instance, found
        return self._solved[key][1]


@dataclass(frozen=True)
class PlannerEntrant:
    """A heuristic that makes the whole plan at once, outside the environment.

    Attributes:
        name: what tables call it.
        make: makes the schedule of an instance, given the seed of the episode, and `preference`
            where the problem has several objectives.
        is_rule: not a dispatching rule.
    """

    name: str
    make: Callable[..., Mapping[str, Any]]
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Plan for every seed; the validator says what the plan is worth."""
        return [self._episode(arena, index) for index in range(len(arena.seeds))]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: a plan is one decision, whose time is that of the episode."""
        return NO_TIMES

    def _episode(self, arena: Arena, index: int) -> Episode:
        instance = arena.instances[index]
        begin = time.perf_counter()
        schedule = self.make(instance, arena.seeds[index], **arena.preference(index))
        seconds = time.perf_counter() - begin
        objective = score_of(arena.problem.validate(instance, schedule).objective)
        return Episode(objective, schedule, "finished", seconds)


SUFFIX = re.compile(r"(?P<agent>.+)\+(?P<search>[a-z_]+?)(_(?P<samples>\d+))?")
"""A name as tables show it: an agent, its search, and how many plays."""


def with_search(entry: str, search: Search) -> tuple[str, Search]:
    """Return the agent that a name of tables stands for, and its search.

    ``lrm+best_of_128`` is the rule ``lrm`` with 128 plays; a name without "+" has `search`.
    """
    found = SUFFIX.fullmatch(entry)
    if found is None or found["search"] not in SEARCHES or Path(entry).exists():
        return entry, search
    samples = int(found["samples"] or search.samples)
    return found["agent"], replace(search, name=found["search"], samples=samples)


def find_entrants(
    agents: str | Any | Sequence[str | Any],
    problem: Problem,
    search: Search,
    effort: Effort | None = None,
    scenario: Any = None,
) -> list[Entrant]:
    """Return the agents that names and objects stand for, each once.

    Args:
        agents: ``rules``, a rule, ``exact``, another agent of the problem, a shipped agent
            (``job_shop/ppo`` or, within its problem, ``ppo``), a checkpoint folder, an object
            with ``name``, ``environment`` and ``act``, or an `Entrant`; or a list of these. Rules
            and policies may have a search of their own behind a "+", as tables show it:
            ``ppo+best_of_16``.
        problem: the problem to be solved.
        search: test-time search of rules and policies that are named one by one.
        effort: what solvers and planners may spend.
        scenario: what is played, where the rules depend on it.

    Raises:
        ParameterError: a name is unknown, with close ones in the message, or an object has the
            name of another agent.
        CheckpointError: a checkpoint is incomplete, unsafe or of another kind.
    """
    several = isinstance(agents, Sequence) and not isinstance(agents, str)
    entries = list(agents) if several else [agents]
    if not entries:
        raise ParameterError("agents: found an empty list, expected at least one agent")
    finder = _Finder(problem, search, effort or Effort(), problem.rules(scenario))
    found: dict[str, Entrant] = {}
    for entry in entries:
        for entrant in finder.find(entry):
            if entrant.name in found and not isinstance(entry, str):
                raise ParameterError(f"agents: found two with the name {entrant.name!r}")
            found.setdefault(entrant.name, entrant)
    return list(found.values())


class _Finder:
    """Knows what the names of agents stand for."""

    def __init__(
        self, problem: Problem, search: Search, effort: Effort, rules: tuple[str, ...]
    ) -> None:
        self.problem, self.search, self.effort, self.rules = problem, search, effort, rules
        self.makers: dict[str, Callable[[Effort], Entrant]] = {
            **problem.agents(),
            EXACT: ExactEntrant,
        }

    def find(self, entry: str | Any) -> Iterable[Entrant]:
        """Return what an entry of the list of agents stands for."""
        if not isinstance(entry, str):
            return [entry if hasattr(entry, "play") else _player(entry)]
        if entry == ALL_RULES:
            return [RuleEntrant(name) for name in self.rules]
        if entry in self.makers:
            return [self.makers[entry](self.effort)]
        name, search = with_search(entry, self.search)
        if name in self.rules:
            return [self._searching_rule(name, search)]
        return [self._searching_policy(self._load(name), search)]

    def _searching_rule(self, rule: str, search: Search) -> Entrant:
        if search.name == "none":
            return RuleEntrant(rule)
        if search.name == "best_of" and self.problem.rules_vary:
            if search.seconds:
                raise ParameterError(
                    f"search.seconds: found {search.seconds:g}, but all samples of a rule are "
                    "one call of the kernel, which no budget stops; use search.samples"
                )
            return BestOfRuleEntrant(f"{rule}+best_of_{search.samples}", rule, search)
        return self.problem.searching_rule(rule, search) or self._no_search(search, "rules")

    def _searching_policy(self, policy: Policy, search: Search) -> Entrant:
        from dispatchgym.agents.players import NetworkPlayer

        inside = self.problem.policy_entrant(policy, search)
        if inside is not None:
            return inside
        if search.name == "none":
            return PlayerEntrant(policy.name, NetworkPlayer(policy), policy.environment)
        if search.name == "best_of":
            name = f"{policy.name}+best_of_{search.samples}"
            return BestOfPolicyEntrant(name, policy, search)
        found = self.problem.searching_policy(policy, search)
        return found or self._no_search(search, "policies")

    def _no_search(self, search: Search, whose: str) -> Entrant:
        raise ParameterError(
            f"search: found {search.name!r}, which env={self.problem.name} does not have for "
            f"{whose}"
        )

    def _load(self, entry: str) -> Policy:
        """Load the policy that a name or a folder stands for.

        Raises:
            ParameterError: there is neither a shipped agent nor a folder of this name.
        """
        from dispatchgym.agents import load

        problem, names = self.problem, shipped()
        for name in (entry, f"{problem.name}/{entry}"):
            if name in names:
                policy = load(name)
                policy.name = entry
                return self._fitting(policy)
        if Path(entry).expanduser().is_dir():
            policy = load(Path(entry).expanduser())
            # Tables show the end of a long name: that of every run would be "checkpoints/best".
            parts = [part for part in Path(entry).parts if part != "checkpoints"]
            policy.name = str(Path(*parts))
            return self._fitting(policy)
        short = [name.removeprefix(f"{problem.name}/") for name in names]
        known = [ALL_RULES, *self.makers, *self.rules, *short]
        close = difflib.get_close_matches(entry, known, n=3)
        expected = f"expected one of {', '.join(known)}"
        hint = f"did you mean {' or '.join(close)}" if close else expected
        raise ParameterError(
            f"agents: {entry!r} is no rule, no shipped agent and no checkpoint folder; {hint}"
        )

    def _fitting(self, policy: Policy) -> Policy:
        """Return the policy if it was trained for this problem."""
        wanted = self.problem.env_id.partition(":")[2]
        if policy.file.environment != wanted:
            raise ParameterError(
                f"agents: {policy.name} acts in {policy.file.environment}, expected {wanted}"
            )
        return policy


def _player(entry: Any) -> Entrant:
    if not all(hasattr(entry, name) for name in ("name", "environment", "act")):
        raise ParameterError(
            f"agents: found {entry!r}, expected a name, or an object with name, environment and act"
        )
    return PlayerEntrant(entry.name, entry, dict(entry.environment), deterministic=False)
