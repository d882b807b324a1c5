"""The job shop: makespans, shutdown probabilities, and what the literature knows of instances."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym.agents.arena import Episode
from dispatchgym.agents.entrants import Effort, Entrant, PlayerEntrant, Search
from dispatchgym.agents.problems.base import (
    Level,
    Measure,
    Problem,
    Reference,
    Scenario,
    Setting,
)
from dispatchgym.agents.problems.job_shop.rollout import GuidedRollout, RolloutPlayer
from dispatchgym.agents.scenarios import fixed
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.job_shop.env import MODES
from dispatchgym.envs.job_shop.exact import lower_bound
from dispatchgym.envs.job_shop.generators import FixedGenerator, LiteratureGenerator, generator
from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.interrupts import Interrupts
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.parsers import load_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dispatchgym.agents.evolution import Playground
    from dispatchgym.agents.imitation import Teacher
    from dispatchgym.agents.policy import Policy
    from dispatchgym.agents.self_labelling import SampledInstances
    from dispatchgym.configs.schemas import TrainConfig

__all__ = ["JobShopSetting", "find_settings", "problem"]


@dataclass(frozen=True)
class JobShopSetting(Setting):
    """A job-shop environment's settings.

    Attributes:
        mode: as the user named it: ``classic``, ``blocking`` or ``interrupting``.
        interrupts: machine shutdowns; None where machines never shut down.
        probability: shutdown probability of all episodes; None where machines never shut down
            or each episode draws a probability of its own.
        options: the other keyword arguments of the environment.
    """

    mode: str
    interrupts: Interrupts | None
    probability: float | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The mode."""
        return self.mode

    @property
    def level(self) -> float | None:
        """The shutdown probability."""
        return self.probability

    @property
    def blocking(self) -> bool:
        """Whether jobs hold their machine until the next one is free."""
        return self.mode != "classic"

    @property
    def swap(self) -> bool:
        """Whether jobs may change places."""
        return bool(self.options.get("swap", True))

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return {
            **self.options,
            "mode": "blocking" if self.blocking else "classic",
            "interrupts": self.interrupts,
        }

    def columns(self, instance: Instance) -> dict[str, Any]:
        """Return mode and probability."""
        return {"mode": self.mode, "probability": self.probability}

    def drawn(self, schedule: Mapping[str, Any]) -> JobShopSetting:
        """Return the setting of one episode, with the probability that was drawn for it."""
        if self.interrupts is None or self.probability is not None:
            return self
        probability = float(schedule["interrupt_probability"])
        interrupts = replace(self.interrupts, probability=probability)
        return replace(self, interrupts=interrupts, probability=probability)


class JobShop(Problem):
    """``dispatchgym/JobShop-v0``."""

    name = "job_shop"
    env_id = "dispatchgym:dispatchgym/JobShop-v0"
    smallest = "random_3x2"
    level = Level("probability", "probabilities", "q", "shutdown probability")
    instance_type = Instance
    file_suffixes = (".txt", ".jsp", ".json", ".npy", ".npz")
    # Rules read the kernel's state and never wait: the smaller observation is quicker to write.
    # Where operations are appended out of order they are much worse: that would flatter others.
    rule_options = {"observation": "jobs", "allow_wait": "never", "scheme": "event"}  # noqa: RUF012
    rules_vary = True
    kernel_rule = "spt"
    policy_options = ("allow_wait", "auto_trivial", "observation", "scheme")

    # --- scenarios ---

    def named(self, name: str) -> list[Scenario]:
        """Return the instances of a family, an instance, or a random scenario."""
        source = generator(name)
        if isinstance(source, LiteratureGenerator):
            return [fixed(self, literature(member), name) for member in source.members]
        if isinstance(source, FixedGenerator):
            return [fixed(self, source.instance, name)]
        return [Scenario(name, name, name, name, self.size(source))]

    def load_all(self, path: Path) -> list[Instance]:
        """Return the instances of a file."""
        return load_all(path)

    def group(self, instance: Instance) -> str:
        """Return family and size: "la01" and "la02" are of one family."""
        # A name without a number is a family of its own.
        family = re.sub(r"[\d_.-]+$", "", instance.name) or instance.name
        return f"{family} {instance.num_jobs}x{instance.num_machines}"

    def size(self, content: Any) -> int:
        """Return the number of operations."""
        if isinstance(content, Instance):
            return content.num_operations
        return int(content.max_jobs * content.max_operations)

    def varies(self, options: Mapping[str, Any]) -> bool:
        """Whether machines shut down."""
        return options.get("interrupts") is not None

    # --- settings and scores ---

    def environment_options(
        self, env: Mapping[str, Any], mode: str | None = None, *, levels: bool = False
    ) -> dict[str, Any]:
        """Return the keyword arguments of the environment; shutdowns where they are asked for."""
        options = {key: value for key, value in env.items() if key not in ("name", "scenario")}
        options["mode"] = mode or options["mode"]
        if options["mode"] != "interrupting" and not levels:
            options["interrupts"] = None
        return options

    def settings(
        self, options: Mapping[str, Any], levels: Sequence[float] | None
    ) -> list[JobShopSetting]:
        """Return one setting for each shutdown probability."""
        return find_settings(options, levels)

    def measure(self, instance: Instance) -> Measure:
        """Return what a makespan is."""
        return Measure("makespan")

    def reference(
        self, setting: JobShopSetting, instance: Instance, seed: int, exact: Episode | None = None
    ) -> Reference:
        """Return what the makespan of an episode is measured against.

        Undisturbed: the proven or best known makespan of the literature or of the solver, else
        the best lower bound. With shutdowns: the best lower bound of the episode in hindsight.
        """
        return find_reference(setting, instance, seed, exact)

    def solve(
        self, instance: Instance, seed: int, options: Mapping[str, Any], effort: Effort
    ) -> Episode:
        """Solve with CP-SAT, in full knowledge of the shutdowns."""
        interrupts = options["interrupts"]
        if interrupts is not None and len(interrupts.probabilities) > 1:
            raise ParameterError(
                "agents: exact needs one shutdown probability, found several to draw from "
                f"({', '.join(map(str, interrupts.probabilities))}); use probabilities=[...]"
            )
        if interrupts is not None and options["mode"] == "classic":
            raise ParameterError("agents: exact solves shutdowns only in mode=interrupting")
        begin = time.perf_counter()
        result = self.module.solve(
            instance,
            mode="interrupting" if interrupts is not None else options["mode"],
            swap=options.get("swap", True),
            interrupts=interrupts,
            seed=seed,
            time_limit=effort.time_limit,
            workers=effort.workers,
        )
        seconds = time.perf_counter() - begin
        bound = float(result.bound)
        if result.schedule is None:
            return Episode(float("nan"), {}, "truncated", seconds, bound)
        return Episode(float(result.objective), result.schedule, "finished", seconds, bound)

    # --- agents ---

    def agents(self) -> Mapping[str, Callable[[Effort], Entrant]]:
        """Return the rollout of four rules."""
        return {"rollout": lambda _: PlayerEntrant("rollout", RolloutPlayer(), self.rule_options)}

    def searching_rule(self, rule: str, search: Search) -> Entrant | None:
        """Return a rule's rollout."""
        if search.name != "rollout":
            return None
        return PlayerEntrant(f"{rule}+rollout", RolloutPlayer(((rule, 0),)), self.rule_options)

    def searching_policy(self, policy: Policy, search: Search) -> Entrant | None:
        """Return a rollout of rules whose ties a policy breaks."""
        if search.name != "rollout":
            return None
        from dispatchgym.agents.players import NetworkPlayer

        name = f"{policy.name}+rollout"
        guided = GuidedRollout(name, NetworkPlayer(policy), RolloutPlayer())
        return PlayerEntrant(name, guided, policy.environment)

    def policy_entrant(self, policy: Policy, search: Search) -> Entrant | None:
        """Return the entrant of a network whose decisions the kernel can make."""
        from dispatchgym.agents.problems.job_shop.decoding import find_entrant

        return find_entrant(policy, search)

    # --- pictures ---

    def draw(
        self, instance: Instance, schedule: Mapping[str, Any], path: Path | None, title: str
    ) -> Figure:
        """Draw a Gantt chart."""
        from dispatchgym.envs.job_shop.render import gantt

        return gantt(instance, _cut(instance, schedule), path, title=title)

    def text(self, instance: Instance, schedule: Mapping[str, Any]) -> str:
        """Return a Gantt chart of text, without its heading."""
        from dispatchgym.envs.job_shop.render import ansi

        return ansi(instance, _cut(instance, schedule)).partition("\n")[2]

    def film(
        self,
        instance: Instance,
        schedule: Mapping[str, Any],
        path: Path,
        frames: int,
        title: str,
    ) -> None:
        """Film a Gantt chart as it grows."""
        from dispatchgym.envs.job_shop.render import animate

        animate(instance, _cut(instance, schedule), path, frames=frames, title=title)

    # --- training ---

    def training_options(self, env: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keyword arguments of the environment; shutdowns where the mode has them."""
        options = super().training_options(env)
        interrupts = options.pop("interrupts")
        if options["mode"] == "interrupting":
            options["interrupts"] = interrupts
        return options

    def check_training(self, config: TrainConfig) -> None:
        """Refuse observations that the network cannot read, and rewards no teacher foretells."""
        wanted = {"job_shop_index": "jobs", "job_shop_encoder": "instance"}.get(
            config.model.name, "graph"
        )
        if config.env.observation != wanted:
            raise ParameterError(
                f"env.observation: found {config.env.observation!r}; "
                f"model={config.model.name} reads {wanted!r}"
            )
        imitation = getattr(config.agent, "imitation", None)
        taught = imitation is not None and imitation.teacher != "none"
        if taught and config.env.reward != "lb_delta":
            raise ParameterError(
                f"env.reward: found {config.env.reward!r}; teachers foretell 'lb_delta' alone, "
                "others need agent.imitation.teacher=none"
            )

    def at_level(self, options: Mapping[str, Any], level: float) -> dict[str, Any]:
        """Return the options with another shutdown probability, where machines shut down."""
        if "interrupts" not in options:
            return dict(options)
        return {**options, "interrupts": {**options["interrupts"], "probability": level}}

    def held_out_reference(self, instance: Instance) -> float:
        """Return the trivial lower bound."""
        return float(instance.lower_bound)

    def make_teacher(self, config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
        """Return `rollout`, `exact`, a rule, or none."""
        from dispatchgym.agents.problems.job_shop.teachers import make_teacher

        return make_teacher(config)

    def make_playgrounds(self, config: TrainConfig) -> list[Playground]:
        """Return shops of every scenario of the training, in its mode."""
        from dispatchgym.agents.evolution import playgrounds_of
        from dispatchgym.envs.job_shop.index import IndexShops

        options = self.training_options(asdict(config.env))
        return playgrounds_of(
            config,
            lambda scenario, count: IndexShops(count, **{**options, "scenario": scenario}),
        )

    def make_sampled_instances(self, config: TrainConfig) -> Sequence[SampledInstances]:
        """Return shops of every scenario of the training, in its mode."""
        from dispatchgym.agents.problems.job_shop.samples import SampledShops

        if config.model.name != "job_shop_encoder":
            raise ParameterError(
                f"model: found {config.model.name!r}, agent={config.agent.name} trains "
                "'job_shop_encoder'"
            )
        options = self.training_options(asdict(config.env))
        scenarios = config.agent.scenarios or [config.env.scenario]
        return [
            SampledShops(config.agent.instances, **{**options, "scenario": scenario})
            for scenario in scenarios
        ]

    # --- speed ---

    def decisions(self, vector: Any, final: Mapping[str, Any]) -> int:
        """Return the decisions that the kernel has counted."""
        from dispatchgym.envs.job_shop.kernel import DECISIONS

        return int(vector.simulation.state.scalar[:, DECISIONS].sum())

    def peer_jobs(self, scenario: str) -> list[list[tuple[int, int]]]:
        """Return the jobs of the first instance: pairs of machine and duration."""
        jobs: list[list[tuple[int, int]]] = self.module.make_instance(scenario, 0).jobs()
        return jobs


def _cut(instance: Instance, schedule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule without the padding of a batch with larger instances."""
    jobs, width = instance.machine.shape
    return {
        key: value[:jobs, :width] if key in ("start", "processing_end", "end") else value
        for key, value in schedule.items()
    }


def find_settings(
    options: Mapping[str, Any] | None = None, probabilities: Sequence[float] | None = None
) -> list[JobShopSetting]:
    """Return the settings to compare agents under: one for each shutdown probability.

    Args:
        options: keyword arguments of the environment.
        probabilities: shutdown probabilities, each in [0, 1); not given: those of `options`.

    Raises:
        ParameterError: probabilities are given and machines never shut down, or one is out of
            range.
    """
    rest = dict(options or {})
    mode = rest.pop("mode", "classic")
    check_choice("mode", mode, MODES)
    given = rest.pop("interrupts", None)
    interrupts = (
        Interrupts() if given is None and mode == "interrupting" else Interrupts.make(given)
    )
    if mode == "blocking" and interrupts.kind != "none":
        mode = "interrupting"
    if interrupts.kind == "none":
        if probabilities is not None:
            raise ParameterError(
                f"probabilities: machines never shut down in mode={mode}; "
                "expected mode=interrupting, or env.interrupts to be set"
            )
        return [JobShopSetting(mode, None, None, rest)]
    if probabilities is None:
        several = len(interrupts.probabilities) > 1
        probability = None if several else interrupts.probabilities[0]
        return [_setting(mode, interrupts, probability, rest)]
    if not probabilities:
        raise ParameterError("probabilities: found an empty list, expected at least one number")
    return [
        _setting(mode, replace(interrupts, probability=q), float(q), rest) for q in probabilities
    ]


def _setting(
    mode: str, interrupts: Interrupts, probability: float | None, rest: dict[str, Any]
) -> JobShopSetting:
    # Without shutdowns the problem is the undisturbed one, whose best values are known.
    return JobShopSetting(mode, None if probability == 0 else interrupts, probability, rest)


def find_reference(
    setting: JobShopSetting, instance: Any, seed: int, exact: Episode | None = None
) -> Reference:
    """Do what `JobShop.reference` says."""
    kinds = ("classic", "blocking") if setting.blocking else ("classic",)
    known = [instance.bounds[kind] for kind in kinds if kind in instance.bounds]
    lower = float(
        lower_bound(
            instance,
            mode="blocking" if setting.blocking else "classic",
            interrupts=setting.interrupts,
            seed=seed,
        )
    )
    lower = max([lower, *(float(bounds.lower) for bounds in known)])
    if exact is not None and exact.bound > lower:
        lower = exact.bound
    best = _best_makespan(setting, instance, kinds[-1], exact, lower)
    if best is None:
        return Reference(lower, "bound", lower)
    if best < lower:
        raise EvaluationError(
            f"{instance.name}, {setting.mode}: makespan {best:g} was reached, "
            f"yet {lower:g} is a proven lower bound"
        )
    return Reference(best, "optimum" if best <= lower else "best_known", lower)


def _best_makespan(
    setting: JobShopSetting, instance: Any, kind: str, exact: Episode | None, lower: float
) -> float | None:
    """Return the best makespan known for an undisturbed instance, None where there is none."""
    if setting.interrupts is not None:
        return None
    found = []
    if kind in instance.bounds and setting.swap:
        found.append(float(instance.bounds[kind].upper))
    if exact is not None and exact.status == "finished" and (found or exact.objective <= lower):
        found.append(exact.objective)
    return min(found, default=None)


problem = JobShop()
