"""Plans of dependent tasks: makespan against energy, savings against the device alone, optima."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.entrants import Effort
from dispatchgym.agents.fronts import Box
from dispatchgym.agents.preferences import PREFERENCES, PreferenceSetting, preference_settings
from dispatchgym.agents.problems.base import (
    Column,
    Measure,
    Problem,
    Reference,
    Scenario,
    VectorMeasure,
)
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan.exact import cost_of, lower_bounds, solve
from dispatchgym.envs.edge_dag_plan.generators import generator
from dispatchgym.envs.edge_dag_plan.instance import Instance
from dispatchgym.envs.edge_dag_plan.parsers import load_all
from dispatchgym.envs.edge_dag_plan.rules import RULE_ORDERS, RULES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["problem"]

OPTIMAL = "optimal"
"""Name of the teacher that searches for optimal plans."""


@dataclass(frozen=True)
class Judgement:
    """The validator's report on a plan, and what it saves.

    Attributes:
        valid: whether there is no violation.
        objective: float64 (2,), makespan in seconds and energy in joules.
        violations: all faults.
        metrics: ``qoe``, the saving against the device alone, weighted by preference;
            ``latency_saving`` and ``energy_saving`` by themselves; ``offloaded``, the share of
            tasks on servers. Empty where the schedule is not valid.
    """

    valid: bool
    objective: NDArray[np.float64]
    violations: Sequence[Any]
    metrics: Mapping[str, float] = field(default_factory=dict)


class EdgeDagPlan(Problem):
    """``dispatchgym/EdgeDagPlan-v0``."""

    name = "edge_dag_plan"
    env_id = "dispatchgym:dispatchgym/EdgeDagPlan-v0"
    smallest = "drlto-n3"
    level = PREFERENCES
    columns = (Column("QoE", "qoe", 4), Column("off", "offloaded", 2))
    instance_type = Instance
    file_suffixes = (".json", ".csv")
    kernel_rule = "greedy_weighted"
    policy_options = ()

    def options_of_rule(self, rule: str) -> Mapping[str, Any]:
        """Return the order that a rule's authors decide in, where it is another one."""
        return {"order": RULE_ORDERS[rule]} if rule in RULE_ORDERS else {}

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return a random scenario."""
        return [Scenario(name, name, name, name, self.size(generator(name)))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the instances of a file."""
        return load_all(path)

    def group(self, instance: Instance) -> str:
        """Return the family: "drlto-n15-s001" and "drlto-n15-s002" are of "drlto-n15"."""
        family = re.sub(r"[-_ ]?[sg]?\d+$", "", instance.name) or instance.name
        size = f"n{instance.num_tasks}"
        return family if size in family else f"{family} {size}"

    def size(self, content: Any) -> int:
        """Return the number of tasks."""
        return int(content.num_tasks if isinstance(content, Instance) else content.limits.tasks)

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Yes: the seed fixes the choices of the rule `random`, and preferences that are drawn."""
        return True

    # --- settings and scores ---

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[PreferenceSetting]:
        """Return the one setting, which holds all preferences."""
        return preference_settings(options, levels, ("uplink_queue",))

    def measure(self, instance: Instance) -> VectorMeasure:
        """Return what the two objectives are."""
        return VectorMeasure((Measure("makespan in s", 1), Measure("energy in J")))

    def cost(self, instance: Instance, episode: Episode) -> float:
        """Return makespan and energy over those of the device alone, weighted by preference."""
        return float(cost_of(instance, episode.objective, episode.schedule["preference"]))

    def reference(
        self,
        setting: PreferenceSetting,
        instance: Instance,
        seed: int,
        exact: Episode | None = None,
    ) -> Reference:
        """Return what neither objective can be better than, even if it were the only one."""
        bounds = lower_bounds(instance, setting.options.get("uplink_queue", "corrected"))
        return Reference(bounds, "bound", bounds)

    def box(self, arena: Arena) -> Box:
        """Return the box between the bounds and the device alone, means over the episodes."""
        queue = arena.options.get("uplink_queue", "corrected")
        ideal = np.mean([lower_bounds(instance, queue) for instance in arena.instances], axis=0)
        alone = [(instance.local_latency, instance.local_energy) for instance in arena.instances]
        return Box(tuple(ideal.tolist()), tuple(np.mean(alone, axis=0).tolist()))

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Find the optimal plan for the preference of the episode."""
        found = solve(
            instance,
            preference=options["preference"],
            uplink_queue=options.get("uplink_queue", "corrected"),
            order=options.get("order", "rank"),
            time_limit=effort.time_limit,
            workers=effort.workers,
        )
        return Episode(found.objective, found.schedule, "finished", found.seconds, found.bound)

    def validate(self, instance: Instance, schedule: Mapping[str, Any]) -> Judgement:
        """Return the validator's report, and what the plan saves if it is valid."""
        report = self.module.validate(instance, schedule)
        if not report.valid:
            return Judgement(False, report.objective, report.violations)
        alone = np.array([instance.local_latency, instance.local_energy])
        latency, energy = 1.0 - report.objective / alone
        place = np.asarray(schedule["place"])[: instance.num_tasks]
        metrics = {
            "qoe": float(np.dot(report.preference, (latency, energy))),
            "latency_saving": float(latency),
            "energy_saving": float(energy),
            "offloaded": float((place > 0).mean()),
        }
        return Judgement(True, report.objective, report.violations, metrics)

    def details(self, report: Judgement) -> dict[str, float]:
        """Return what the plan saves."""
        return dict(report.metrics)

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw the graph, and what device, links and servers do over time."""
        from dispatchgym.envs.edge_dag_plan.render import picture

        return picture(instance, schedule, path, title=title)

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return the plan, a line for each task."""
        from dispatchgym.envs.edge_dag_plan.render import ansi

        return ansi(instance, schedule)

    # --- training ---

    def check_training(self, config: TrainConfig) -> None:
        """Refuse rewards that no scalar learner can store."""
        if config.env.reward != "scalar":
            raise ParameterError(
                f"env.reward: found {config.env.reward!r}, expected 'scalar': the vector is kept "
                "beside it"
            )

    def held_out_reference(self, instance: Instance) -> float:
        """Return the cost of the device alone: the gap is minus what is saved."""
        return 1.0

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return the search for optimal plans, a rule, or none."""
        from dispatchgym.agents.edge_dag_plan_teacher import OptimalTeacher
        from dispatchgym.agents.imitation import RuleTeacher

        settings = config.agent.imitation
        if settings.teacher == "none":
            return None, {}
        if settings.teacher == OPTIMAL:
            return OptimalTeacher(settings.iterations), {}
        if settings.teacher not in RULES:
            raise ParameterError(
                f"agent.imitation.teacher: found {settings.teacher!r}, "
                f"expected none, {OPTIMAL} or one of {', '.join(RULES)}"
            )
        return RuleTeacher(settings.teacher), {}

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the tasks that were decided."""
        return int((final["schedule"]["place"] >= 0).sum())


problem = EdgeDagPlan()
