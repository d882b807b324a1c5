"""Edge offloading: delay against energy, utility against service; fronts and their hypervolume."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.annealing import AnnealingEntrant
from dispatchgym.agents.arena import Arena, Episode, run_rule_batch
from dispatchgym.agents.edge_metrics import metrics_of
from dispatchgym.agents.entrants import Effort, Entrant
from dispatchgym.agents.fronts import Box
from dispatchgym.agents.lin_ucb import LinUCBEntrant
from dispatchgym.agents.parameter_sweep import SweepEntrant
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
from dispatchgym.envs.edge_offloading.dems_rules import DISCIPLINES
from dispatchgym.envs.edge_offloading.generators import generator
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.instance import Instance
from dispatchgym.envs.edge_offloading.parsers import load

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.evolution import Playground
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["problem"]

SWEEPS = ("random_p", "round_robin_p")
"""Rules whose share of the cloud is swept in place of the preference."""
BOUNDS_KEPT = 4096


@dataclass(frozen=True)
class Judgement:
    """The validator's report on an episode, and what describes the episode besides.

    Attributes:
        valid: whether there is no violation.
        objective: float64 (2,).
        violations: all faults.
        metrics: see `dispatchgym.agents.edge_metrics`; empty where the schedule is not valid.
    """

    valid: bool
    objective: NDArray[np.float64]
    violations: Sequence[Any]
    metrics: Mapping[str, float]


class EdgeOffloading(Problem):
    """``dispatchgym/EdgeOffloading-v0``."""

    name = "edge_offloading"
    env_id = "dispatchgym:dispatchgym/EdgeOffloading-v0"
    smallest = "gmorl-e1"
    level = PREFERENCES
    columns = (
        Column("done", "completion", 3),
        Column("p95 s", "delay_p95", 1),
        Column("s/task", "delay_per_task", 1),
        Column("J/task", "energy_per_task", 3),
    )
    instance_type = Instance
    file_suffixes = (".json",)
    kernel_rule = "greedy_omega"
    policy_options = ()

    def rules(self, scenario: Any = None) -> tuple[str, ...]:
        """Return the rules of the scenario's family of tasks."""
        content = self.smallest if scenario is None else scenario
        vector: Any = gym.make_vec(self.env_id, num_envs=1, scenario=content).unwrapped
        return tuple(vector.rules)

    def small_scenario(self, scenario: Any) -> str:
        """Return a scenario of the same family of tasks."""
        source = generator(scenario) if isinstance(scenario, str) else scenario
        return _SMALLEST[source.family]

    def options_of_rule(self, rule: str) -> Mapping[str, Any]:
        """Return the discipline of the edge that a rule of tasks with deadlines goes with."""
        return {"discipline": rule} if rule in DISCIPLINES else {}

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return a random scenario."""
        return [Scenario(name, name, name, name, self.size(generator(name)))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the instance of a file."""
        return [load(path)]

    def group(self, instance: Instance) -> str:
        """Return the family of an instance: "gmorl-e6-s001" is of the family "gmorl-e6"."""
        return re.sub(r"[-_ ]?s?\d+$", "", instance.name) or instance.name

    def size(self, content: Any) -> int:
        """Return the number of servers."""
        return int(content.limits.servers)

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Yes: the seed fixes the choices of the random rules."""
        return True

    # --- settings and scores ---

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[PreferenceSetting]:
        """Return the one setting, which holds all preferences."""
        return preference_settings(options, levels, ("reward_scale",))

    def measure(self, instance: Instance) -> VectorMeasure:
        """Return what the two objectives are."""
        return _MEASURES[instance.family]

    def reference(
        self,
        setting: PreferenceSetting,
        instance: Instance,
        seed: int,
        exact: Episode | None = None,
    ) -> Reference:
        """Return what neither objective can be better than, even if it were the only one."""
        bounds = _bounds(instance)
        return Reference(bounds, "bound", bounds)

    def box(self, arena: Arena) -> Box:
        """Return the box between ideal and reference point over the arena's own episodes.

        The ideal is the mean of lower bounds, of delays that of one server with the speed of all.
        The reference point of independent tasks has the delay where nothing is sent to the cloud
        and the energy where everything is, both by `random_p`; that of dependent tasks is what the
        devices do alone. Utilities: from nothing to their upper bounds.
        """
        ideal = np.mean([self.module.ideal(instance) for instance in arena.instances], axis=0)
        corners = _CORNERS.get(arena.instances[0].family, ())
        reference = [_mean(arena, *corner)[k] for k, corner in enumerate(corners)] or [0.0, 0.0]
        return Box(tuple(ideal.tolist()), tuple(reference))

    def cost(self, instance: Instance, episode: Episode) -> float:
        """Return minus the sum of an episode's rewards in units of the context."""
        costs = self.measure(instance).costs(episode.objective) / self.module.units(instance)
        if isinstance(instance, GraphInstance):
            costs = costs * (instance.num_jobs, 1.0)  # the first is a mean over the jobs
        return float(np.dot(episode.schedule["preference"], costs))

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Search a plan that knows all tasks in advance; small instances are solved exactly."""
        found = self.module.solve(
            instance, preference=options["preference"], time_limit=effort.time_limit
        )
        return Episode(found.objective, found.schedule, "finished", found.seconds, found.bound)

    def validate(self, instance: Instance, schedule: Mapping[str, Any]) -> Judgement:
        """Return the validator's report, with a description of the episode if it is valid."""
        report = self.module.validate(instance, schedule)
        metrics = metrics_of(instance, schedule) if report.valid else {}
        return Judgement(report.valid, report.objective, report.violations, metrics)

    def details(self, report: Judgement) -> dict[str, float]:
        """Return what describes the episode besides its objectives."""
        return dict(report.metrics)

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return sweeps of the rules with a parameter, and the baselines that learn or search."""
        sweeps = {f"{rule}_sweep": partial(_sweep, rule) for rule in SWEEPS}
        return {
            **sweeps,
            "lin_ucb": lambda effort: LinUCBEntrant(),
            "sa": lambda effort: AnnealingEntrant(),
        }

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw what each server does over the episode."""
        from dispatchgym.envs.edge_offloading.render import timelines

        return timelines(instance, schedule, path, title=title)

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return the episode as lines of text."""
        from dispatchgym.envs.edge_offloading.render import ansi

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
        """Return the sum of both bounds in units of the context."""
        return float(np.sum(_bounds(instance) / self.module.units(instance)))

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return rollouts, an index policy, a rule, or none."""
        from dispatchgym.agents.edge_teacher import IndexTeacher, RolloutTeacher
        from dispatchgym.agents.imitation import RuleTeacher
        from dispatchgym.agents.policy import Policy

        settings = config.agent.imitation
        if settings.teacher == "none":
            return None, {}
        if settings.teacher == "rollout":
            return RolloutTeacher(settings.iterations), {}
        if settings.teacher == "index":
            return IndexTeacher(Policy.load(settings.checkpoint)), {}
        return RuleTeacher(settings.teacher), {}

    def make_playgrounds(self, config: TrainConfig) -> list[Playground]:
        """Return episodes of every scenario of the training, whose fronts are measured."""
        from dispatchgym.agents.edge_fronts import FrontGround
        from dispatchgym.agents.evolution import playgrounds_of

        return playgrounds_of(config, FrontGround)

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the tasks that were decided on."""
        if "tasks" in final:
            return int(final["tasks"].sum())
        return sum(map(len, final["schedule"]["tasks"]))


_MEASURES = {
    "slots": VectorMeasure((Measure("delay in s"), Measure("energy in J", 3))),
    "graphs": VectorMeasure((Measure("latency in s"), Measure("energy in J"))),
    "deadlines": VectorMeasure(
        (Measure("QoS utility", more_is_better=True), Measure("QoE bonus", more_is_better=True))
    ),
}
"""Family of instances -> what their two objectives are."""


_CORNERS: Mapping[str, tuple[tuple[str, float | None], ...]] = {
    "slots": (("random_p", 0.0), ("random_p", 1.0)),
    "graphs": (("all_local", None), ("all_local", None)),
}
"""Family of instances -> for each objective the rule, with its parameter, that has it worst."""
_SMALLEST = {"slots": "gmorl-e1", "graphs": "dag_online", "deadlines": "dems-light-2"}
"""Family of instances -> a scenario that is played in no time."""


def _sweep(rule: str, effort: Effort) -> SweepEntrant:
    return SweepEntrant(f"{rule}_sweep", rule)


def _mean(arena: Arena, rule: str, parameter: float | None) -> list[float]:
    """Return the mean objectives of a rule with a parameter."""

    def play(vector: Any, seeds: list[int], **more: Any) -> list[Episode]:
        return run_rule_batch(vector, seeds, rule, parameter, **more)

    episodes = arena.in_batches(play, 1, {})[0]
    mean: list[float] = np.mean([episode.objective for episode in episodes], axis=0).tolist()
    return mean


@lru_cache(maxsize=BOUNDS_KEPT)
def _bounds(instance: Instance) -> NDArray[np.float64]:
    bounds: NDArray[np.float64] = problem.module.lower_bounds(instance)
    return bounds


problem = EdgeOffloading()
