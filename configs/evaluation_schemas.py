"""Schemas of `evaluate` and `benchmark`: Hydra refuses unknown keys and wrong types with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from dispatchgym.configs.schemas import register_schemas

__all__ = ["LEVELS", "register_evaluation_schemas"]

LEVELS = ("probabilities", "migration_limits", "preferences")
"""Settings of `evaluate` that list what it is repeated at; each is of one problem."""


@dataclass
class SearchConfig:
    """`search=none`, `best_of`, `rollout` or `refine`; `seconds` is a budget, 0 for none."""

    name: str = "none"
    samples: int = 128
    temperature: float = 1.0
    quantile: float = 0.0
    seconds: float = 0.0


@dataclass
class ExactConfig:
    """The exact solver: seconds for one instance, and threads."""

    time_limit: float = 60.0
    workers: int = 2


@dataclass
class PlannerConfig:
    """Heuristics that make a whole plan: seconds for one instance."""

    time_limit: float = 5.0


@dataclass
class WorkersConfig:
    """`workers=local` or `ray`; see `dispatchgym.agents.workers.Workers`."""

    name: str = "local"
    count: int = 0
    address: str | None = None
    threads: int = 1
    block: int = 128


@dataclass
class EvaluateConfig:
    """Root of `evaluate.yaml`; the defaults of a problem are in the group `evaluate`.

    Attributes:
        agents: `rules`, a rule, `exact`, another agent of the problem, a shipped agent, a
            checkpoint folder; or a list of these.
        scenario: a name, a file, a folder or pattern of files, or a list of these.
        seeds: N for seeds 0..N-1, or a list.
        mode: job shop: short for `env.mode`: `classic`, `blocking` or `interrupting`.
        probabilities: job shop: shutdown probabilities, each of which is evaluated; null: that
            of `env`.
        migration_limits: VM rescheduling: the same for migration limits.
        preferences: edge offloading: each seed is played with each preference: N for N equally
            spaced ones, or a list of weights of the first objective, or of pairs of weights;
            null: that of `env`.
        against: the agent that all others are compared with; null: the best rule.
        search: test-time search of named agents.
        exact: the exact solver.
        planner: heuristics that make a whole plan.
        workers: who plays: this process, or worker processes of Ray.
        out: results go to this file, .json or .csv.
        pictures: pictures go to this folder.
        progress: show a progress bar.
        threads: torch threads of policies; 0 leaves torch's choice. The graphs are small, and
            threads that wait for each other on a busy machine take many times longer.
    """

    env: Any = MISSING
    agents: Any = "rules"
    scenario: Any = MISSING
    seeds: Any = 5
    mode: str | None = None
    probabilities: list[float] | None = None
    migration_limits: list[int] | None = None
    preferences: Any = None
    against: str | None = None
    search: SearchConfig = field(default_factory=SearchConfig)
    exact: ExactConfig = field(default_factory=ExactConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)
    out: str | None = None
    pictures: str | None = None
    progress: bool = True
    threads: int = 1


@dataclass
class BenchmarkConfig:
    """Root of `benchmark.yaml`; the defaults of a problem are in the group `benchmark`.

    Attributes:
        scenario: what is played.
        num_envs: lanes stepped together.
        mode: job shop: short for `env.mode`.
        rule: the rule of the kernel measurement; null: one that the problem chooses.
        seconds: length of one measurement, above 0.
        repeats: measurements of each kind; the median counts.
        threads: threads of the stepping measurement; 0 for all.
        out: results go to this JSON file.
        peers: job shop: also measure other environments.
        peers_python: Python that has them; this one when null.
        growth: for `speed_book`: what grows -> its size -> a scenario.
        small: for `throughput`: options of the environment that suit a small network.
    """

    env: Any = MISSING
    scenario: str = MISSING
    num_envs: int = 256
    mode: str | None = None
    rule: str | None = None
    seconds: float = 2.0
    repeats: int = 5
    threads: int = 0
    out: str | None = None
    peers: bool = False
    peers_python: str | None = None
    growth: dict[str, dict[int, str]] = field(default_factory=dict)
    small: dict[str, Any] = field(default_factory=dict)


@dataclass
class SpeedBookConfig:
    """Root of `speed_book.yaml`.

    Attributes:
        problems: names of `env`; all of them when null.
        batches: numbers of lanes.
        threads: numbers of threads.
        seconds: length of one measurement, above 0.
        repeats: measurements of each kind; the median counts.
        compile: measure the first start too, which compiles everything: minutes a problem.
        peers: folder for the Python environments of other libraries, made where they are
            missing; null: no comparison.
        out: all numbers, as JSON.
        renew: keep the numbers in `out` and measure only `problems`, and `peers` if given, anew.
        page: Markdown whose part between the marks "measured" is written anew; null: none.
        pictures: folder of the pictures.
    """

    problems: list[str] | None = None
    batches: list[int] = field(default_factory=lambda: [1, 4, 16, 64, 256, 1024, 4096])
    threads: list[int] = field(default_factory=lambda: [1, 2])
    seconds: float = 0.5
    repeats: int = 3
    compile: bool = True
    peers: str | None = None
    out: str = "speed.json"
    renew: bool = False
    page: str | None = None
    pictures: str = "."


@dataclass
class ThroughputConfig:
    """Root of `throughput.yaml`.

    Attributes:
        problems: names of `env`; all of them when null.
        agents: names of `agent` whose training is measured.
        seconds: wall time of each training.
        threads: of torch; 0 leaves torch's choice.
        lanes: of our batch, beside the 64 that both sides play.
        samples: of each side of the comparison with DummyVecEnv, at least 16384.
        n_epochs: of PPO in that comparison, which is made for each of them.
        out: all numbers, as JSON.
        renew, page: as in `SpeedBookConfig`.
    """

    problems: list[str] | None = None
    agents: list[str] = field(default_factory=lambda: ["ppo", "sac"])
    seconds: float = 30.0
    threads: int = 2
    lanes: int = 1024
    samples: int = 65536
    n_epochs: list[int] = field(default_factory=lambda: [1, 3])
    out: str = "throughput.json"
    renew: bool = False
    page: str | None = None


def register_evaluation_schemas() -> None:
    """Put the schemas into Hydra's ConfigStore; calling it again changes nothing."""
    from hydra.core.config_store import ConfigStore

    register_schemas()
    store = ConfigStore.instance()
    store.store(name="evaluate_schema", node=EvaluateConfig)
    store.store(name="benchmark_schema", node=BenchmarkConfig)
    store.store(name="speed_book_schema", node=SpeedBookConfig)
    store.store(name="throughput_schema", node=ThroughputConfig)
    store.store(group="search", name="search_schema", node=SearchConfig)
    store.store(group="workers", name="workers_schema", node=WorkersConfig)
