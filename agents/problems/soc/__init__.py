"""System on chip: latencies, what a job takes alone, planners that play whole episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
from dispatchgym.agents.problems.soc.bounds import lower_bound
from dispatchgym.agents.problems.soc.metrics import isolated_latency, run_metrics
from dispatchgym.agents.scenarios import fixed
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.soc.exact import solve
from dispatchgym.envs.soc.generators import FixedGenerator, generator
from dispatchgym.envs.soc.instance import Instance
from dispatchgym.envs.soc.parsers import load
from dispatchgym.envs.soc.planners import PLANNERS, plan_episode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.evolution import Playground
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["SoCSetting", "problem"]


@dataclass(frozen=True)
class SoCSetting(Setting):
    """An environment's settings."""

    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What a decision is."""
        return str(self.options.get("mode", "commit_ready"))

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return dict(self.options)

    def columns(self, instance: Instance) -> dict[str, Any]:
        """Return what a decision is, and how jobs arrive."""
        workload = instance.workload
        return {
            "mode": self.label,
            "protocol": workload.protocol,
            "scale": workload.scale,
            "capacity": workload.capacity,
            "noise": workload.noise,
        }


@dataclass(frozen=True)
class Judgement:
    """The validator's report on a run, and what describes the run besides.

    Attributes:
        valid: whether there is no violation.
        objective: mean latency in microseconds.
        violations: all faults.
        metrics: see `dispatchgym.agents.problems.soc.metrics`; empty where the schedule is
            not valid.
    """

    valid: bool
    objective: float
    violations: Sequence[Any]
    metrics: Mapping[str, float]


class SoC(Problem):
    """``dispatchgym/SoC-v0``."""

    name = "soc"
    env_id = "dispatchgym:dispatchgym/SoC-v0"
    smallest = "single-top1-top3"
    columns = (Column("done", "completed", 1), Column("tail", "p99", 0))
    instance_type = Instance
    file_suffixes = (".json", ".stg", ".tgff", ".txt")
    kernel_rule = "etf"
    policy_options = ("mode",)

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return an instance, whose arrivals the seed decides, or a random scenario."""
        source = generator(name)
        if isinstance(source, FixedGenerator):
            return [fixed(self, source.instance, name)]
        return [Scenario(name, name, name, name, self.size(source))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the instance of a file."""
        return [load(path)]

    def group(self, instance: Instance) -> str:
        """Return the name: instances differ too much to be taken together."""
        return instance.name

    def size(self, content: Any) -> int:
        """Return the number of tasks that can be in the system, and of processing elements."""
        limits = content.limits
        return int(limits.capacity * limits.tasks + limits.pes)

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Yes: the seed fixes arrivals and noise."""
        return True

    # --- settings and scores ---

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[SoCSetting]:
        """Return the one setting."""
        if levels is not None:
            raise ParameterError(
                f"levels: found {levels}, but env=soc has none; the scenario's name tells noise, "
                "scale and capacity"
            )
        return [SoCSetting(options)]

    def measure(self, instance: Instance) -> Measure:
        """Return what a latency is."""
        return Measure("latency in us", 1)

    def reference(
        self, setting: SoCSetting, instance: Instance, seed: int, exact: Episode | None = None
    ) -> Reference:
        """Return the optimum of a batch, else a bound: no job is quicker than alone."""
        known, measure = instance.known, self.measure(instance)
        reached = [known[key] for key in ("optimum_us", "best_known_us") if key in known]
        bounds = [known[key] for key in ("optimum_us", "bound_us") if key in known]
        bounds.append(lower_bound(instance, seed))
        if exact is not None and math.isfinite(exact.objective):
            reached.append(exact.objective)
            bounds.append(exact.bound)
        bound = max(bounds)
        best = min(reached, default=math.nan)
        if measure.beyond(best, bound):
            raise EvaluationError(
                f"{instance.name}: {measure.words} {best:.2f} was reached, "
                f"yet {bound:.2f} is a proven lower bound"
            )
        if measure.same(best, bound):
            return Reference(best, "optimum", bound)
        return Reference(bound, "bound", bound)

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Solve a batch by constraint programming.

        Raises:
            ParameterError: jobs arrive one after the other.
        """
        if instance.workload.protocol != "batch":
            raise ParameterError(
                f"agents: exact solves batches, found protocol {instance.workload.protocol!r} in "
                f"{instance.name}; the planner resolve solves at each arrival"
            )
        found = solve(instance, time_limit=effort.time_limit, workers=effort.workers)
        objective, bound = float(found.objective), float(found.bound)
        status = "finished" if math.isfinite(objective) else "truncated"
        return Episode(objective, found.schedule or {}, status, found.seconds, bound)

    def validate(self, instance: Instance, schedule: Mapping[str, Any]) -> Judgement:
        """Return the validator's report, with a description of the run if it is valid."""
        report = self.module.validate(instance, schedule)
        metrics = run_metrics(instance, schedule) if report.valid else {}
        return Judgement(report.valid, report.objective, report.violations, metrics)

    def details(self, report: Judgement) -> dict[str, float]:
        """Return what describes the run besides its mean latency."""
        return dict(report.metrics)

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return the planners."""
        return {name: partial(_planner, name) for name in PLANNERS}

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw a Gantt chart with transfers."""
        from dispatchgym.envs.soc.render import gantt

        return gantt(instance, schedule, path, title=title)

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return a Gantt chart of text, without its heading."""
        from dispatchgym.envs.soc.render import ansi

        return ansi(instance, schedule).partition("\n")[2]

    def film(
        self,
        instance: Instance,
        schedule: Mapping[str, Any],
        path: Path,
        frames: int,
        title: str,
    ) -> None:
        """Film a Gantt chart beside the jobs in the system."""
        from dispatchgym.envs.soc.render import animate

        animate(instance, schedule, path, frames=frames, title=title)

    # --- training ---

    def check_training(self, config: TrainConfig) -> None:
        """Refuse other actions than pairs, and rewards of another scale."""
        if config.env.mode != "commit_ready":
            raise ParameterError(
                f"env.mode: found {config.env.mode!r}; the network chooses pairs, as in "
                "'commit_ready'"
            )
        if config.env.reward != "latency":
            raise ParameterError(
                f"env.reward: found {config.env.reward!r}; values are learned for 'latency'"
            )

    def held_out_reference(self, instance: Instance) -> float:
        """Return what a job takes alone on average: a yardstick, as no stream comes near it."""
        alone = [isolated_latency(one, instance.workload.comm_mode) for one in instance.profiles]
        return float(instance.workload.probabilities @ alone)

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return the search for plans, a rule, or none."""
        from dispatchgym.agents.imitation import RuleTeacher
        from dispatchgym.agents.problems.soc.teacher import PlanTeacher

        teacher = config.agent.imitation.teacher
        if teacher == "none":
            return None, {}
        if teacher == "plan":
            return PlanTeacher(config.agent.imitation.iterations, config.seed), {}
        if teacher not in self.rules():
            raise ParameterError(
                f"agent.imitation.teacher: found {teacher!r}, expected none, plan or one of "
                f"{', '.join(self.rules())}"
            )
        return RuleTeacher(teacher), {}

    def make_playgrounds(self, config: TrainConfig) -> list[Playground]:
        """Return episodes of every scenario of the training."""
        from dispatchgym.agents.evolution import playgrounds_of
        from dispatchgym.envs.soc.index import IndexRuns

        return playgrounds_of(config, IndexRuns)

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the assignments that the kernel has counted."""
        return int(final["decisions"].sum())


def _planner(name: str, effort: Effort) -> EpisodePlanner:
    """Return a planner; how long it thinks is part of what it is."""
    return EpisodePlanner(name, partial(plan_episode, name))


problem = SoC()
