"""Urban air mobility: profits, upper bounds, planners that decide one aircraft after the other."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym.agents.arena import Episode
from dispatchgym.agents.entrants import Effort, Entrant
from dispatchgym.agents.episode_planner import EpisodePlanner
from dispatchgym.agents.problems.base import (
    Column,
    Measure,
    Problem,
    Reference,
    Scenario,
    Setting,
)
from dispatchgym.agents.problems.uam.metrics import day_metrics
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.uam.exact import default_grid, is_exact, solve, upper_bound
from dispatchgym.envs.uam.generators import generator
from dispatchgym.envs.uam.instance import Instance
from dispatchgym.envs.uam.parsers import load
from dispatchgym.envs.uam.planners import PLANNERS, plan_day

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.evolution import Playground
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["UAMSetting", "problem"]

REFERENCE_SECONDS = 20.0
"""The bound of an evaluated day is on the finest grid that should take no longer."""
HELD_OUT_SECONDS = 1.0
"""The same for a held-out day of a training, where it is a yardstick only."""
PATIENCE = 3600.0
"""Seconds after which a bound would fall back on a coarser grid; far more than it needs, so that
what a score is measured against does not depend on how busy the machine is."""
BOUNDS_KEPT = 256


@dataclass(frozen=True)
class UAMSetting(Setting):
    """An environment's settings."""

    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What agents know of later slots."""
        return "demand known" if self.options.get("oracle_demand") else "demand forecast"

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return dict(self.options)

    def columns(self, instance: Instance) -> dict[str, Any]:
        """Return what agents know of the demand, and whether the day has disturbances."""
        return {
            "oracle_demand": bool(self.options.get("oracle_demand", False)),
            "stochastic": instance.stochastic,
        }


@dataclass(frozen=True)
class Judgement:
    """The validator's report on a day, and what describes the day besides.

    Attributes:
        valid: whether there is no violation.
        objective: profit in dollars.
        violations: all faults.
        metrics: see `dispatchgym.agents.problems.uam.metrics`; empty where the schedule is
            not valid.
    """

    valid: bool
    objective: float
    violations: Sequence[Any]
    metrics: Mapping[str, float]


class UAM(Problem):
    """``dispatchgym/UAMFleet-v0``."""

    name = "uam"
    env_id = "dispatchgym:dispatchgym/UAMFleet-v0"
    smallest = "uam-3x4"
    columns = (Column("pax", "passengers", 0), Column("s", "seconds", 3))
    instance_type = Instance
    file_suffixes = (".json",)
    kernel_rule = "random"
    policy_options = ()

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return a random scenario."""
        return [Scenario(name, name, name, name, self.size(generator(name)))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the day of a file."""
        return [load(path)]

    def group(self, instance: Instance) -> str:
        """Return family and size: "uam-8x40-s001" and "uam-8x40-s002" are of one family."""
        family = re.sub(r"[-_ ]?s?\d+$", "", instance.name) or instance.name
        size = f"{instance.num_ports}x{instance.num_aircraft}"
        return family if size in family else f"{family} {size}"

    def size(self, content: Any) -> int:
        """Return the number of vertiports and aircraft."""
        if isinstance(content, Instance):
            return content.num_ports + content.num_aircraft
        return int(content.limits.ports + content.limits.aircraft)

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Yes: the seed fixes disturbances, and the choices of the rule `random`."""
        return True

    # --- settings and scores ---

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[UAMSetting]:
        """Return the one setting."""
        if levels is not None:
            raise ParameterError(f"levels: found {levels}, but env=uam has none")
        return [UAMSetting(options)]

    def measure(self, instance: Instance) -> Measure:
        """Return what a profit is."""
        return Measure("profit in $", more_is_better=True)

    def reference(
        self, setting: UAMSetting, instance: Instance, seed: int, exact: Episode | None = None
    ) -> Reference:
        """Return what no policy can earn more than, one that knows the whole day included.

        It is the optimum where the exact solver has proven one: of a small day on which only
        whole flights matter it is asked though it is not among the agents.
        """
        if exact is None and is_exact(instance):
            exact = self.solve(instance, seed, {}, Effort(time_limit=REFERENCE_SECONDS))
        known = instance.known.get("lp_bound_cents")
        bound = (_bound_cents(instance, seed) if known is None else known) / 100.0
        if exact is None:
            return Reference(bound, "bound", bound)
        bound, measure = min(bound, exact.bound), self.measure(instance)
        if measure.beyond(exact.objective, bound):
            raise EvaluationError(
                f"{instance.name}, seed {seed}: {measure.words} {exact.objective:.2f} was reached, "
                f"yet {bound:.2f} is a proven upper bound"
            )
        kind = "optimum" if measure.same(exact.objective, bound) else "bound"
        return Reference(bound, kind, bound)

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Solve by integer programming where that is exact, else by the best planner."""
        found = solve(instance, seed=seed, time_limit=effort.time_limit)
        return Episode(found.objective, found.schedule, "finished", found.seconds, found.bound)

    def validate(self, instance: Instance, schedule: Mapping[str, Any]) -> Judgement:
        """Return the validator's report, with a description of the day if it is valid."""
        report = self.module.validate(instance, schedule)
        metrics = day_metrics(instance, schedule) if report.valid else {}
        return Judgement(report.valid, report.objective, report.violations, metrics)

    def details(self, report: Judgement) -> dict[str, float]:
        """Return what describes the day besides its profit."""
        return dict(report.metrics)

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return the planners."""
        return {name: partial(_planner, name) for name in PLANNERS}

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw what each aircraft does over the day."""
        from dispatchgym.envs.uam.render import timelines

        # The legend has the line between title and chart.
        return timelines(instance, schedule, path, title=f"{title}\n")

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return the fleet at the end of the day, a line for each vertiport."""
        from dispatchgym.envs.uam.render import ansi

        return ansi(instance, schedule)

    def film(
        self,
        instance: Instance,
        schedule: Mapping[str, Any],
        path: Path,
        frames: int,
        title: str,
    ) -> None:
        """Film the day on a map."""
        from dispatchgym.envs.uam.render import animate

        animate(instance, schedule, path, frames=frames, title=title)

    # --- training ---

    def check_training(self, config: TrainConfig) -> None:
        """Refuse rewards of another scale."""
        if config.env.reward != "dense":
            raise ParameterError(
                f"env.reward: found {config.env.reward!r}; values are learned for 'dense'"
            )

    def held_out_reference(self, instance: Instance) -> float:
        """Return an upper bound that is quick to compute."""
        grid = default_grid(instance, HELD_OUT_SECONDS)
        return upper_bound(instance, grid=grid, time_limit=PATIENCE) / 100.0

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return a rule, a planner whose days are replayed, or none."""
        from dispatchgym.agents.imitation import RuleTeacher
        from dispatchgym.agents.policy import Policy
        from dispatchgym.agents.problems.uam.teacher import DayTeacher, IndexTeacher

        settings = config.agent.imitation
        if settings.teacher == "none":
            return None, {}
        if settings.teacher == "index":
            return IndexTeacher(Policy.load(settings.checkpoint)), {}
        if settings.teacher not in PLANNERS:
            return RuleTeacher(settings.teacher), {}
        if settings.student_from < math.inf:
            raise ParameterError(
                f"agent.imitation.student_from: found {settings.student_from}, expected inf: "
                f"{settings.teacher} knows what to do only where nobody else has acted"
            )
        scenario = config.env.scenario
        return DayTeacher(settings.teacher, scenario, settings.instances, config.seed), {}

    def make_playgrounds(self, config: TrainConfig) -> list[Playground]:
        """Return days of every scenario of the training."""
        from dispatchgym.agents.evolution import playgrounds_of
        from dispatchgym.envs.uam.index import IndexDays

        return playgrounds_of(config, IndexDays)

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the decisions that the kernel has counted."""
        return int(final["decisions"].sum())


def _planner(name: str, effort: Effort) -> EpisodePlanner:
    """Return a planner; how long it thinks is part of what it is."""
    return EpisodePlanner(name, partial(plan_day, name))


@lru_cache(maxsize=BOUNDS_KEPT)
def _bound_cents(instance: Instance, seed: int) -> int:
    """Return cents that nobody can earn in an episode, by linear programming.

    The grid follows from the size: a minute for 8 vertiports, 6 or 10 for 20, 15 for 50.
    """
    grid = default_grid(instance, REFERENCE_SECONDS)
    return upper_bound(instance, seed, grid=grid, time_limit=PATIENCE)


problem = UAM()
