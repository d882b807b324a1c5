"""Who is compared: rules, policies, searches and the exact solver, behind one small interface."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents import shipped
from dispatchgym.agents.arena import Arena, Episode, Problem
from dispatchgym.agents.players import RolloutPlayer, RulePlayer
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.players import Player
    from dispatchgym.agents.policy import Policy

__all__ = [
    "BestOfPolicyEntrant",
    "BestOfRuleEntrant",
    "Entrant",
    "ExactEntrant",
    "PlayerEntrant",
    "RuleEntrant",
    "Search",
    "find_entrants",
]

SEARCHES = ("none", "best_of", "rollout")
ALL_RULES, ROLLOUT, EXACT = "rules", "rollout", "exact"


@dataclass(frozen=True)
class Search:
    """Test-time search.

    Attributes:
        name: ``none``; ``best_of``: play several times at random, keep the best schedule;
            ``rollout``: try each action, complete the episode by rules, take the best.
        samples: number of plays of ``best_of``, the greedy one included, at least 1.
        temperature: spread of the random choices of ``best_of``, above 0.

    Raises:
        ParameterError: a field is out of range.
    """

    name: str = "none"
    samples: int = 128
    temperature: float = 1.0

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


# Rules read the kernel's state and never wait: the smaller observation is quicker to write.
RULE_CHANGES: dict[str, Any] = {"observation": "jobs", "allow_wait": "never"}


@dataclass(frozen=True)
class RuleEntrant:
    """A dispatching rule, played inside the kernel; ties go to the lowest job index.

    Attributes:
        name: name of the rule.
        is_rule: always.
    """

    name: str
    is_rule: bool = True

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed."""
        return arena.run_rule(self.name, **RULE_CHANGES)

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions for a single shop."""
        return arena.decision_times(RulePlayer(self.name).act, **RULE_CHANGES)


@dataclass(frozen=True)
class PlayerEntrant:
    """An agent that decides for a batch of shops, one step after the other.

    Attributes:
        name: what tables call it.
        player: chooses the actions.
        changes: keyword arguments of the environment that this agent needs.
        deterministic: the same shop always gets the same decision.
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
        """Time decisions for a single shop."""
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
        plays = [arena.run_rule(self.rule, **RULE_CHANGES)]
        if self.search.samples > 1:
            plays += arena.sample_rule(
                self.rule, self.search.temperature, self.search.samples - 1, **RULE_CHANGES
            )
        return [_best(copies) for copies in zip(*plays, strict=True)]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: no action is final before all plays have ended."""
        return np.empty(0)


@dataclass(frozen=True)
class BestOfPolicyEntrant:
    """Plays each episode once greedily and several times at random; keeps the best.

    Attributes:
        name: what tables call it.
        policy: the policy.
        search: number of plays, the greedy one included, and temperature of the others.
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
        changes = self.policy.environment
        plays = arena.play(NetworkPlayer(self.policy).act, **changes)
        if self.search.samples > 1:
            sampler = NetworkPlayer(self.policy, False, self.search.temperature)
            plays += arena.play(sampler.act, times=self.search.samples - 1, **changes)
        return [_best(copies) for copies in zip(*plays, strict=True)]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: no action is final before all plays have ended."""
        return np.empty(0)


def _best(copies: Sequence[Episode]) -> Episode:
    finished = [episode for episode in copies if episode.status == "finished"]
    best = min(finished or copies, key=lambda episode: episode.objective)
    return best._replace(seconds=sum(episode.seconds for episode in copies))


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


@dataclass(frozen=True)
class ExactEntrant:
    """The exact solver; it knows all breakdowns in advance, so others cannot be below it.

    Attributes:
        time_limit: seconds for one instance, above 0.
        workers: threads of the solver.
        name: what tables call it.
        is_rule: not a dispatching rule.
    """

    time_limit: float = 60.0
    workers: int = 2
    name: str = EXACT
    is_rule: bool = False
    _solved: dict[Any, tuple[Any, Episode]] = field(default_factory=dict, repr=False, compare=False)

    def play(self, arena: Arena) -> list[Episode]:
        """Solve the instance of every seed; without breakdowns each instance only once."""
        return [
            self._episode(arena, instance, seed)
            for instance, seed in zip(arena.instances, arena.seeds, strict=True)
        ]

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Return nothing: a plan is one decision, whose time is that of the episode."""
        return np.empty(0)

    def _episode(self, arena: Arena, instance: Any, seed: int) -> Episode:
        options = arena.options
        interrupts = options["interrupts"]
        if interrupts is not None and len(interrupts.probabilities) > 1:
            raise ParameterError(
                "agents: exact needs one shutdown probability, found several to draw from "
                f"({', '.join(map(str, interrupts.probabilities))}); use probabilities=[...]"
            )
        mode = "interrupting" if interrupts is not None else options["mode"]
        if interrupts is not None and options["mode"] == "classic":
            raise ParameterError("agents: exact solves shutdowns only in mode=interrupting")
        key = (id(instance), mode, interrupts, seed if interrupts is not None else None)
        if key not in self._solved:
            # The instance is kept too: else its id could become that of another one.
            self._solved[key] = instance, self._solve(arena, instance, seed, mode)
        return self._solved[key][1]

    def _solve(self, arena: Arena, instance: Any, seed: int, mode: str) -> Episode:
        begin = time.perf_counter()
        result = arena.problem.module.solve(
            instance,
            mode=mode,
            swap=arena.options.get("swap", True),
            interrupts=arena.options["interrupts"],
            seed=seed,
            time_limit=self.time_limit,
            workers=self.workers,
        )
        seconds = time.perf_counter() - begin
        bound = float(result.bound)
        if result.schedule is None:
            return Episode(float("nan"), {}, "truncated", seconds, bound)
        return Episode(float(result.objective), result.schedule, "finished", seconds, bound)


def find_entrants(
    agents: str | Any | Sequence[str | Any],
    problem: Problem,
    search: Search,
    *,
    time_limit: float = 60.0,
    workers: int = 2,
) -> list[Entrant]:
    """Return the agents that names and objects stand for, each once.

    Args:
        agents: ``rules``, a rule, ``rollout``, ``exact``, a shipped agent (``job_shop/ppo`` or,
            within its problem, ``ppo``), a checkpoint folder, or an object with ``name``,
            ``environment`` and ``act``; or a list of these.
        problem: the problem to be solved.
        search: test-time search of all but ``rules``, ``rollout`` and ``exact``.
        time_limit: seconds for one instance of the exact solver.
        workers: threads of the exact solver.

    Raises:
        ParameterError: a name is unknown, with close ones in the message, or an object has the
            name of another agent.
        CheckpointError: a checkpoint is incomplete, unsafe or of another kind.
    """
    several = isinstance(agents, Sequence) and not isinstance(agents, str)
    entries = list(agents) if several else [agents]
    if not entries:
        raise ParameterError("agents: found an empty list, expected at least one agent")
    if not time_limit > 0:
        raise ParameterError(f"exact.time_limit: found {time_limit}, expected seconds above 0")
    if workers < 1:
        raise ParameterError(f"exact.workers: found {workers}, expected at least 1")
    rules = problem.rules()
    found: dict[str, Entrant] = {}
    for entry in entries:
        for entrant in _entrants(entry, problem, rules, search, time_limit, workers):
            if entrant.name in found and not isinstance(entry, str):
                raise ParameterError(f"agents: found two with the name {entrant.name!r}")
            found.setdefault(entrant.name, entrant)
    return list(found.values())


def _entrants(
    entry: str | Any,
    problem: Problem,
    rules: tuple[str, ...],
    search: Search,
    time_limit: float,
    workers: int,
) -> Iterable[Entrant]:
    if not isinstance(entry, str):
        if not all(hasattr(entry, name) for name in ("name", "environment", "act")):
            raise ParameterError(
                f"agents: found {entry!r}, expected a name, or an object with name, environment "
                "and act"
            )
        return [PlayerEntrant(entry.name, entry, dict(entry.environment), deterministic=False)]
    if entry == ALL_RULES:
        return [RuleEntrant(name) for name in rules]
    if entry == ROLLOUT:
        return [PlayerEntrant(ROLLOUT, RolloutPlayer(), RULE_CHANGES)]
    if entry == EXACT:
        return [ExactEntrant(time_limit, workers)]
    if entry in rules:
        return [_searching_rule(entry, search)]
    return [_searching_policy(_load(entry, problem, rules), search)]


def _searching_rule(name: str, search: Search) -> Entrant:
    if search.name == "rollout":
        return PlayerEntrant(f"{name}+rollout", RolloutPlayer(((name, 0),)), RULE_CHANGES)
    if search.name == "best_of":
        return BestOfRuleEntrant(f"{name}+best_of_{search.samples}", name, search)
    return RuleEntrant(name)


def _searching_policy(policy: Policy, search: Search) -> Entrant:
    from dispatchgym.agents.players import NetworkPlayer

    player = NetworkPlayer(policy)
    if search.name == "rollout":
        guided = GuidedRollout(f"{policy.name}+rollout", player, RolloutPlayer())
        return PlayerEntrant(guided.name, guided, policy.environment)
    if search.name == "best_of":
        return BestOfPolicyEntrant(f"{policy.name}+best_of_{search.samples}", policy, search)
    return PlayerEntrant(policy.name, player, policy.environment)


def _load(entry: str, problem: Problem, rules: tuple[str, ...]) -> Policy:
    """Load the policy that a name or a folder stands for.

    Raises:
        ParameterError: there is neither a shipped agent nor a folder of this name.
    """
    from dispatchgym.agents import load

    names = shipped()
    for name in (entry, f"{problem.name}/{entry}"):
        if name in names:
            policy = load(name)
            policy.name = entry
            return policy
    if Path(entry).expanduser().is_dir():
        policy = load(Path(entry).expanduser())
        # Tables show the end of a long name: that of every run would be "checkpoints/best".
        parts = [part for part in Path(entry).parts if part != "checkpoints"]
        policy.name = str(Path(*parts))
        return policy
    short = [name.removeprefix(f"{problem.name}/") for name in names]
    known = [ALL_RULES, ROLLOUT, EXACT, *rules, *short]
    close = difflib.get_close_matches(entry, known, n=3)
    hint = f"did you mean {' or '.join(close)}" if close else f"expected one of {', '.join(known)}"
    raise ParameterError(
        f"agents: {entry!r} is no rule, no shipped agent and no checkpoint folder; {hint}"
    )
