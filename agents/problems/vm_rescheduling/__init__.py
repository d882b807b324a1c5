"""VM rescheduling: fragment rates, migration limits, and a solver quick enough to measure by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym.agents.arena import Episode
from dispatchgym.agents.entrants import Effort, Entrant, PlannerEntrant
from dispatchgym.agents.problems.base import (
    Column,
    Level,
    Measure,
    Problem,
    Reference,
    Scenario,
    Setting,
)
from dispatchgym.agents.scenarios import fixed
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.vm_rescheduling.exact import solve
from dispatchgym.envs.vm_rescheduling.generators import FixedGenerator, generator
from dispatchgym.envs.vm_rescheduling.instance import Instance, Term
from dispatchgym.envs.vm_rescheduling.parsers import load
from dispatchgym.envs.vm_rescheduling.planners import PLANNERS, plan

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.entrants import Search
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.agents.policy import Policy
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["VMSetting", "problem"]

MEASURES = {
    "fragment": Measure("fragment rate", 4),
    "mixed": Measure("mixed fragment rate", 4),
    "goal": Measure("migrations to the goal", 2),
    "empty_pms": Measure("machines in use", 3),
}
"""Kind of objective -> what it is; `machines in use` have the fragment rate as a fraction."""
REFERENCE_SECONDS = 10.0
"""Time limit of the solver for each held-out instance of a training."""


@dataclass(frozen=True)
class VMSetting(Setting):
    """An environment's settings, among them a migration limit that replaces the instance's."""

    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The migration limit."""
        return "MNL as given" if self.level is None else f"MNL {self.level}"

    @property
    def level(self) -> int | None:
        """The migration limit, None for that of each instance."""
        return self.options.get("migration_limit")

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return dict(self.options)

    def columns(self, instance: Instance) -> dict[str, Any]:
        """Return migration limit and kind of objective."""
        return {
            "migration_limit": instance.migration_limit,
            "objective_kind": instance.objective.kind,
        }


class VMRescheduling(Problem):
    """``dispatchgym/VMRescheduling-v0``."""

    name = "vm_rescheduling"
    env_id = "dispatchgym:dispatchgym/VMRescheduling-v0"
    smallest = "random_4"
    level = Level("migration_limit", "migration_limits", "MNL", "migration limit")
    columns = (Column("moves", "migrations", 1), Column("s", "seconds", 3))
    instance_type = Instance
    file_suffixes = (".json", ".npz")
    rule_options = {"action_mode": "two_step", "allow_stop": True}  # noqa: RUF012
    rules_vary = True
    kernel_rule = "random"
    policy_options = ("action_mode", "allow_stay", "allow_stop", "numa_rule", "observation")
    solver_is_reference = True
    draws_progress = True

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return an instance, or a random scenario."""
        source = generator(name)
        if isinstance(source, FixedGenerator):
            return [fixed(self, source.generate(0), name)]
        return [Scenario(name, name, name, name, self.size(source))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the snapshot of a file."""
        return [load(path)]

    def group(self, instance: Instance) -> str:
        """Return family and number of machines: "high_00" and "high_01" are of one family."""
        family = re.split(r"\d", instance.name)[0].rstrip("_- ") or instance.name
        return f"{family} {instance.num_pms}pm"

    def size(self, content: Any) -> int:
        """Return the number of machines and VMs."""
        if isinstance(content, Instance):
            return content.num_pms + content.num_vms
        return int(content.max_pms + content.max_vms)

    def prepare(self, instance: Instance, options: Mapping[str, Any]) -> Instance:
        """Return the instance with the migration limit and the objective of the options."""
        changes = {
            key: options[key]
            for key in ("migration_limit", "objective")
            if options.get(key) is not None
        }
        return instance.replace(**changes) if changes else instance

    # --- settings and scores ---

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[VMSetting]:
        """Return one setting for each migration limit."""
        if levels is None:
            return [VMSetting(options)]
        if not levels:
            raise ParameterError("migration_limits: found an empty list, expected at least one")
        return [VMSetting({**options, "migration_limit": _limit(level)}) for level in levels]

    def measure(self, instance: Instance) -> Measure:
        """Return what the instance's kind of objective is."""
        return MEASURES[instance.objective.kind]

    def reference(
        self, setting: VMSetting, instance: Instance, seed: int, exact: Episode | None = None
    ) -> Reference:
        """Return the proven optimum, or the best lower bound where none is proven.

        Both come from the solver, and from the file of an instance that tells them.
        """
        measure = self.measure(instance)
        reached, bounds = _known(instance)
        if exact is not None:
            bounds.append(exact.bound)
            if exact.status == "finished":
                reached.append(exact.objective)
        best, bound = min(reached, default=float("nan")), max(bounds, default=0.0)
        if measure.beyond(best, bound):
            raise EvaluationError(
                f"{instance.name}: {measure.words} {best:g} was reached, "
                f"yet {bound:g} is a proven lower bound"
            )
        kind = "optimum" if measure.same(best, bound) else "bound"
        return Reference(best if kind == "optimum" else bound, kind, bound)

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Solve by column generation or integer programming."""
        found = solve(instance, time_limit=effort.time_limit)
        bound = float(found.bound)
        return Episode(float(found.objective), found.schedule, "finished", found.seconds, bound)

    def details(self, report: Any) -> dict[str, float]:
        """Return fragment rate, slots and migrations."""
        return {
            "fragment_rate": report.fragment_rate,
            "slots": report.slots,
            "migrations": report.migrations,
        }

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return the planners."""
        return {name: partial(_planner, name) for name in PLANNERS}

    def searching_rule(self, rule: str, search: Search) -> Entrant | None:
        """Return a rule whose plan is refined by iterated greedy."""
        if search.name != "refine":
            return None
        from dispatchgym.agents.problems.vm_rescheduling.search import RefinedRule

        return RefinedRule(f"{rule}+refine", rule, search)

    def searching_policy(self, policy: Policy, search: Search) -> Entrant | None:
        """Return a policy whose best plan is refined by iterated greedy."""
        if search.name != "refine":
            return None
        from dispatchgym.agents.problems.vm_rescheduling.search import RefinedPolicy

        return RefinedPolicy(f"{policy.name}+refine", policy, search)

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw the machines before and after."""
        from dispatchgym.envs.vm_rescheduling.render import plot_cluster

        return plot_cluster(instance, schedule, path, title=title)

    def draw_progress(
        self, instances: Sequence[Instance], schedules: Mapping[str, Sequence[Any]], path: Path
    ) -> Figure:
        """Draw fragment rates against the number of migrations."""
        from dispatchgym.envs.vm_rescheduling.render import plot_migrations

        return plot_migrations(instances, schedules, path)

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return the plan move by move."""
        from dispatchgym.envs.vm_rescheduling.render import ansi

        return ansi(instance, schedule)

    # --- training ---

    def check_training(self, config: TrainConfig) -> None:
        """Refuse what the network or the learner cannot read."""
        for key, expected in (
            ("observation", "graph"),
            ("action_mode", "two_step"),
            ("numa_rule", "explicit"),
        ):
            found = getattr(config.env, key)
            if found != expected:
                raise ParameterError(
                    f"env.{key}: found {found!r}; training is done with {expected!r}"
                )

    def at_level(self, options: Mapping[str, Any], level: float) -> dict[str, Any]:
        """Return the options with another migration limit."""
        return {**options, "migration_limit": _limit(level)}

    def held_out_reference(self, instance: Instance) -> float:
        """Return the solver's bound, which is the optimum wherever it is proven."""
        return float(solve(instance, time_limit=REFERENCE_SECONDS).bound)

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return a rule, the teacher that plans, or none."""
        from dispatchgym.agents.imitation import RuleTeacher

        settings = config.agent.imitation
        if settings.teacher == "none":
            return None, {}
        if settings.teacher == "plan":
            from dispatchgym.agents.problems.vm_rescheduling.teacher import PlanTeacher

            return PlanTeacher(settings.iterations, settings.temperature, config.seed), {}
        return RuleTeacher(settings.teacher), {}

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the migrations."""
        return int(final["migrations"].sum())


def _planner(name: str, effort: Effort) -> PlannerEntrant:
    def make(instance: Instance, seed: int) -> Mapping[str, Any]:
        return plan(name, instance, time_limit=effort.plan_seconds, seed=seed)

    return PlannerEntrant(name, make)


def _limit(level: float) -> int:
    """Return a migration limit as a whole number."""
    if level != int(level) or level < 0:
        raise ParameterError(f"migration_limits: found {level}, expected whole numbers >= 0")
    return int(level)


def _known(instance: Instance) -> tuple[list[float], list[float]]:
    """Return what the file of an instance tells: objectives reached and lower bounds."""
    objective = instance.objective
    known = instance.known.get(instance.migration_limit)
    if known is None or objective.kind != "fragment" or objective.terms != (Term(),):
        return [], []
    free = instance.total_free_cpu

    def rate(slots: int) -> float:
        return (free - Term().chunk * slots) / free if free else 0.0

    return [rate(known.best_slots)], [rate(known.upper_bound)]


problem = VMRescheduling()
