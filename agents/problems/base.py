"""What evaluation, training and the other commands need to know of a problem.

Each problem has one module beside this one, with an object `problem` of a class derived from
`Problem`. Everything else in `dispatchgym.agents` is the same for all of them.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.arena import Arena, Episode
    from dispatchgym.agents.entrants import Effort, Entrant, Search
    from dispatchgym.agents.evolution import Playground
    from dispatchgym.agents.fronts import Box
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.agents.policy import Policy
    from dispatchgym.agents.self_labelling import SampledInstances
    from dispatchgym.configs.schemas import TrainConfig

__all__ = [
    "Column",
    "Level",
    "Measure",
    "Problem",
    "Reference",
    "Scenario",
    "Setting",
    "VectorMeasure",
]

TOLERANCE = 1e-9
"""Relative difference below which two objectives are the same number, rounded differently."""


@dataclass(frozen=True)
class Measure:
    """What a score means.

    Attributes:
        words: what is measured, for titles.
        decimals: digits after the point; None: one below 100, none above.
        more_is_better: False where the objective is a cost.
    """

    words: str
    decimals: int | None = None
    more_is_better: bool = False

    def text(self, value: float) -> str:
        """Return a mean score as tables show it; a dash for none."""
        if math.isnan(value):
            return "-"
        digits = (0 if abs(value) >= 100 else 1) if self.decimals is None else self.decimals
        return f"{value:.{digits}f}"

    def score_text(self, value: float) -> str:
        """Return the score of a single episode; a whole number as such."""
        return f"{value:.0f}" if value == round(value) else self.text(value)

    def cost(self, value: float) -> float:
        """Return a number that is smaller for a better score."""
        return -value if self.more_is_better else value

    def gap(self, objective: float, reference: float) -> float:
        """Return how far a score is from a reference, as a fraction of it; 0 is equal.

        Where the reference is 0 no fraction exists: the gap is 0 for an equal score, else nan.
        """
        if reference == 0:
            return 0.0 if objective == 0 else math.nan
        ratio = objective / reference
        return 1.0 - ratio if self.more_is_better else ratio - 1.0

    def same(self, one: float, other: float) -> bool:
        """Whether two scores are the same number, up to rounding."""
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)

    def beyond(self, objective: float, bound: float) -> bool:
        """Whether a score is better than a bound says any can be; False without one (nan)."""
        better = self.cost(objective) < self.cost(bound)
        return better and not self.same(objective, bound)

    def plain(self, value: float) -> str:
        """Return a score with six digits, for messages."""
        return f"{value:g}"

    @property
    def bound_words(self) -> str:
        """What a score beyond a bound is, in words."""
        side = "above the proven upper" if self.more_is_better else "below the proven lower"
        return f"{side} bound"


@dataclass(frozen=True)
class VectorMeasure:
    """What a score of several objectives means; scores are arrays (K,).

    Attributes:
        parts: what each objective means.
    """

    parts: tuple[Measure, ...]

    @property
    def words(self) -> str:
        """What is measured, for titles."""
        return " and ".join(part.words for part in self.parts)

    def text(self, values: Sequence[float]) -> str:
        """Return mean scores as tables show them."""
        return " / ".join(m.text(x) for m, x in zip(self.parts, values, strict=True))

    def score_text(self, values: Sequence[float]) -> str:
        """Return the scores of a single episode."""
        return " / ".join(m.score_text(x) for m, x in zip(self.parts, values, strict=True))

    def plain(self, values: Sequence[float]) -> str:
        """Return scores with six digits, for messages."""
        return " / ".join(m.plain(x) for m, x in zip(self.parts, values, strict=True))

    def costs(self, values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return numbers (..., K) that are smaller for better scores."""
        signs = [-1.0 if part.more_is_better else 1.0 for part in self.parts]
        return np.asarray(values, np.float64) * signs

    def gap(self, objective: Any, reference: Any) -> float:
        """Return nan: several objectives have no common gap."""
        return math.nan

    def same(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether two scores are the same numbers, up to rounding."""
        return all(m.same(x, y) for m, x, y in zip(self.parts, one, other, strict=True))

    def beyond(self, objective: Sequence[float], bound: Sequence[float]) -> bool:
        """Whether an objective is better than its bound says any can be."""
        return any(m.beyond(x, y) for m, x, y in zip(self.parts, objective, bound, strict=True))

    @property
    def bound_words(self) -> str:
        """What a score beyond a bound is, in words."""
        return "beyond a proven bound of"


class Reference(NamedTuple):
    """What a score is compared with; of several objectives its numbers are arrays (K,).

    Attributes:
        value: the number that the gap is a fraction of.
        kind: ``optimum`` (proven), ``best_known``, or ``bound`` (no schedule is better).
        bound: the best proven bound: a result beyond it cannot be true.
    """

    value: Any
    kind: str
    bound: Any


@dataclass(frozen=True)
class Level:
    """A number of the environment that an evaluation can be repeated at.

    Attributes:
        key: its name in the rows of a result.
        option: the setting of the command that lists the values.
        symbol: what tables call it in a heading.
        words: what it is.
    """

    key: str
    option: str
    symbol: str
    words: str


@dataclass(frozen=True)
class Column:
    """A further column of the overall table: the mean over episodes of a number of the rows.

    Attributes:
        heading: its heading.
        key: ``seconds``, or a key of `Problem.details`.
        decimals: digits after the point.
    """

    heading: str
    key: str
    decimals: int


@dataclass(frozen=True)
class Scenario:
    """Episodes that differ by their seed only.

    Attributes:
        name: name of the instance, or of the random scenario.
        asked: the scenario as the user named it.
        group: family and size of the instance, or the name of the random scenario.
        content: an instance, a generator, or the name of a random scenario.
        work: size of an episode, to share out a progress bar.
    """

    name: str
    asked: str
    group: str
    content: Any
    work: int


class Setting(ABC):
    """An environment's settings that agents are compared under."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The setting in a word, for titles."""

    @property
    def level(self) -> float | None:
        """Its value of the problem's `Level`, None where there is none."""
        return None

    @property
    def preferences(self) -> tuple[tuple[float, ...], ...]:
        """Weights of the objectives with each of which every seed is played; () for one's own."""
        return ()

    @abstractmethod
    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""

    @abstractmethod
    def columns(self, instance: Any) -> dict[str, Any]:
        """Return what the rows of a prepared instance say of the setting: name -> value."""

    def drawn(self, schedule: Mapping[str, Any]) -> Setting:
        """Return the setting of one episode, with what was drawn for it."""
        return self


class Problem(ABC):
    """A problem of the suite as evaluation and training see it.

    Attributes:
        name: the Hydra name.
        env_id: canonical id for ``gymnasium.make_vec``.
        smallest: a random scenario that is played in no time, to load compiled code before
            anything is timed.
        level: what an evaluation can be repeated at, None for nothing.
        columns: further columns of the overall table.
        instance_type: class of the instances.
        file_suffixes: endings of instance files; of a folder, such files are read.
        rule_options: keyword arguments of the environment that suit its rules.
        rules_vary: rules can be randomised, to search with them.
        kernel_rule: the rule that `benchmark` runs inside the kernel.
        policy_options: keyword arguments of the environment that a policy may ask for; all
            others are the evaluator's choice.
        solver_is_reference: the exact solver is quick enough to measure every evaluation by.
        draws_progress: it can draw the objective along schedules.
    """

    name: ClassVar[str]
    env_id: ClassVar[str]
    smallest: ClassVar[str]
    level: ClassVar[Level | None] = None
    columns: ClassVar[tuple[Column, ...]] = ()
    instance_type: ClassVar[type]
    file_suffixes: ClassVar[tuple[str, ...]]
    rule_options: ClassVar[Mapping[str, Any]] = {}
    rules_vary: ClassVar[bool] = False
    kernel_rule: ClassVar[str]
    policy_options: ClassVar[tuple[str, ...]]
    solver_is_reference: ClassVar[bool] = False
    draws_progress: ClassVar[bool] = False

    @property
    def module(self) -> ModuleType:
        """The sub-package with ``validate``, ``make_instance``, ``scenarios`` and ``solve``."""
        return importlib.import_module(f"dispatchgym.envs.{self.name}")

    def rules(self, scenario: Any = None) -> tuple[str, ...]:
        """Return the names of the dispatching rules.

        Args:
            scenario: what will be played, where the rules depend on it; None: the default one.
        """
        vector: Any = gym.make_vec(self.env_id, num_envs=1).unwrapped
        return tuple(vector.rules)

    def small_scenario(self, scenario: Any) -> str:
        """Return what loads the compiled code of a scenario in no time."""
        return self.smallest

    def options_of_rule(self, rule: str) -> Mapping[str, Any]:
        """Return keyword arguments of the environment that suit a rule."""
        return self.rule_options

    # --- scenarios ---

    @abstractmethod
    def named(self, name: str) -> list[Scenario]:
        """Return the scenarios that a name stands for.

        Raises:
            ScenarioError: there is none of this name.
        """

    @abstractmethod
    def load_all(self, path: Path) -> list[Any]:
        """Return the instances of a file.

        Raises:
            InstanceFormatError: it cannot be read.
        """

    @abstractmethod
    def group(self, instance: Any) -> str:
        """Return family and size of an instance, ``la 10x5``."""

    @abstractmethod
    def size(self, content: Any) -> int:
        """Return the size of an instance, or of the largest one of a generator.

        It grows with the memory that a network needs for it and with the time of an episode.
        """

    def prepare(self, instance: Any, options: Mapping[str, Any]) -> Any:
        """Return an instance as it is played with these keyword arguments of the environment."""
        return instance

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Whether episodes of one instance differ by their seed."""
        return False

    # --- settings and scores ---

    def environment_options(
        self, env: Mapping[str, Any], mode: str | None = None, *, levels: bool = False
    ) -> dict[str, Any]:
        """Return the keyword arguments of the environment from its composed configuration.

        Args:
            env: the ``env`` group: ``name``, ``scenario`` and keyword arguments.
            mode: replaces the mode of the group.
            levels: values of the problem's level will be given.

        Raises:
            ParameterError: the environment has no modes.
        """
        if mode is not None:
            raise ParameterError(f"mode: found {mode!r}, but env={self.name} has no modes")
        return {key: value for key, value in env.items() if key not in ("name", "scenario")}

    @abstractmethod
    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> Sequence[Setting]:
        """Return the settings to compare agents under: one for each level.

        Args:
            options: keyword arguments of the environment.
            levels: values of the problem's level; None: that of `options`.

        Raises:
            ParameterError: a level is out of range, or an option has no meaning.
        """

    @abstractmethod
    def measure(self, instance: Any) -> Any:
        """Return what the objective of a prepared instance means: `Measure` or `VectorMeasure`."""

    def cost(self, instance: Any, episode: Episode) -> float:
        """Return one number for an episode of a prepared instance, smaller where it is better.

        Problems of several objectives weigh them by the preference of the episode.
        """
        return float(self.measure(instance).cost(episode.objective))

    @abstractmethod
    def reference(
        self, setting: Any, instance: Any, seed: int, exact: Episode | None = None
    ) -> Reference:
        """Return what the score of an episode is measured against.

        Args:
            setting: the setting of the episode.
            instance: the prepared instance.
            seed: episode seed.
            exact: result of the exact solver for the same episode.

        Raises:
            EvaluationError: a proven bound contradicts a score that was reached.
        """

    def box(self, arena: Arena) -> Box:
        """Return what hypervolumes of fronts on these episodes are measured in.

        Raises:
            ParameterError: the problem has one objective, or one that matters.
        """
        raise ParameterError(f"preferences: env={self.name} has no fronts to measure")

    @abstractmethod
    def solve(
        self, instance: Any, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Solve the prepared instance of an episode exactly.

        Raises:
            ParameterError: the solver cannot take these options.
        """

    def validate(self, instance: Any, schedule: Mapping[str, Any]) -> Any:
        """Return the validator's report on a schedule of a prepared instance."""
        return self.module.validate(instance, schedule)

    def details(self, report: Any) -> dict[str, float]:
        """Return what a validator's report says besides the objective, for the rows."""
        return {}

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return agents of this problem alone that are neither rules nor policies, by name."""
        return {}

    def searching_rule(self, rule: str, search: Search) -> Entrant | None:
        """Return a rule with a test-time search of this problem alone; None: no such search."""
        return None

    def searching_policy(self, policy: Policy, search: Search) -> Entrant | None:
        """Return a policy with a test-time search of this problem alone; None: no such search."""
        return None

    def policy_entrant(self, policy: Policy, search: Search) -> Entrant | None:
        """Return how a policy plays whole episodes in the kernel; None: decision by decision."""
        return None

    # --- pictures ---

    @abstractmethod
    def draw(
        self, instance: Any, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw a schedule of a prepared instance, into a file if one is given."""

    @abstractmethod
    def text(self, instance: Any, schedule: Mapping[str, Any]) -> str:
        """Return a schedule as lines of text."""

    def draw_progress(
        self, instances: Sequence[Any], schedules: Mapping[str, Sequence[Any]], path: Path
    ) -> Figure:
        """Draw the objective along the schedules of several agents, where `draws_progress`.

        Args:
            instances: prepared instances.
            schedules: by agent, one for each instance.
            path: picture to write.

        Raises:
            ParameterError: the problem has no such picture.
        """
        raise ParameterError(f"pictures: env={self.name} draws no progress of schedules")

    def film(
        self, instance: Any, schedule: Mapping[str, Any], path: Path, frames: int, title: str
    ) -> None:
        """Film a schedule.

        Raises:
            ParameterError: the problem has no films.
        """
        raise ParameterError(f"out: found {path}, but env={self.name} has no films")

    # --- training ---

    def training_options(self, env: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the training environment, ``scenario`` included.

        Args:
            env: the ``env`` group as plain values.
        """
        return {key: value for key, value in env.items() if key != "name"}

    @abstractmethod
    def check_training(self, config: TrainConfig) -> None:
        """Raise ParameterError where the network cannot learn in the environment of a run."""

    def at_level(self, options: Mapping[str, Any], level: float) -> dict[str, Any]:
        """Return keyword arguments of the environment at another level.

        Raises:
            ParameterError: the problem has none.
        """
        raise ParameterError(f"held_out.level: found {level}, but env={self.name} has no levels")

    @abstractmethod
    def held_out_reference(self, instance: Any) -> float:
        """Return what a held-out score of a prepared instance is measured against."""

    @abstractmethod
    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return the teacher a configuration names, and options of the environment it needs.

        Raises:
            ParameterError: there is no such teacher.
        """

    def make_playgrounds(self, config: TrainConfig) -> Sequence[Playground]:
        """Return episodes to breed the weights of an index policy on.

        Raises:
            ParameterError: the problem has no index policy.
        """
        raise ParameterError(f"agent: found {config.agent.name!r}, but env={self.name} has none")

    def make_sampled_instances(self, config: TrainConfig) -> Sequence[SampledInstances]:
        """Return instances on which a network labels its own plays.

        Raises:
            ParameterError: the problem has no network for it.
        """
        raise ParameterError(f"agent: found {config.agent.name!r}, but env={self.name} has none")

    # --- speed ---

    @abstractmethod
    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return how many decisions a rule took in the episodes it has just played.

        Args:
            vector: the vector environment.
            final: what its `run_rule` returned.
        """

    def peer_jobs(self, scenario: str) -> list[list[tuple[int, int]]]:
        """Return the first instance of a scenario for other environments of the job shop.

        Raises:
            ParameterError: there are none of this problem.
        """
        raise ParameterError(f"peers: there is no other environment for env={self.name}")
