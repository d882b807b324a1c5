"""Evaluation: agents on common episodes, every schedule checked, every score beside a bound."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatchgym.agents.arena import MAX_LANES, Arena, Episode, Problem, find_problem
from dispatchgym.agents.entrants import Entrant, ExactEntrant, Search, find_entrants
from dispatchgym.agents.provenance import provenance, write_json
from dispatchgym.agents.scenarios import Scenario, find_scenarios
from dispatchgym.agents.settings import Reference, Setting, find_reference, find_settings
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from rich.progress import Progress

    from dispatchgym.agents.summary import Summary

__all__ = ["Evaluation", "EvaluationResult", "Row", "evaluate"]

MAX_VIOLATIONS = 3
"""Findings of the validator that an error message repeats."""


@dataclass(frozen=True)
class Row:
    """One agent in one episode.

    Attributes:
        agent: name of the agent.
        scenario: the scenario as the user named it.
        instance: name of the instance.
        group: instances of one family and size, ``la 10x5``.
        seed: episode seed.
        mode: ``classic``, ``blocking`` or ``interrupting``.
        probability: shutdown probability of the episode; None where machines never shut down.
        objective: makespan in time units; nan where the schedule is not complete.
        reference: what the objective is measured against.
        reference_kind: ``optimum``, ``best_known`` or ``bound``.
        gap: objective / reference - 1; nan where the schedule is not complete.
        valid: the schedule is complete and passed the validator.
        status: ``finished``, ``deadlock`` or ``truncated``.
        seconds: wall time of the episode, its share where a batch was played side by side.
        decision_ms_p50: median time of a single decision in milliseconds.
        decision_ms_p99: 99th percentile of the same.
    """

    agent: str
    scenario: str
    instance: str
    group: str
    seed: int
    mode: str
    probability: float | None
    objective: float
    reference: float
    reference_kind: str
    gap: float
    valid: bool
    status: str
    seconds: float
    decision_ms_p50: float
    decision_ms_p99: float


@dataclass(frozen=True)
class Sample:
    """A schedule kept for a picture."""

    agent: str
    instance: Any
    seed: int
    episode: Episode


@dataclass
class EvaluationResult:
    """Rows of an evaluation and what is derived from them.

    Attributes:
        problem: the problem that was solved.
        rules: names of the agents that are dispatching rules.
        mode: ``classic``, ``blocking`` or ``interrupting``.
        probabilities: shutdown probabilities that were asked for; (None,) for at most one.
        groups: name of a scenario -> group of its instances.
        rows: one for each agent and episode.
        times: agent and scenario -> milliseconds of single decisions.
        sample: the best schedule of the first episode at the last shutdown probability, for a
            picture.
        complete: False while the evaluation runs, and after it was stopped.
    """

    problem: Problem
    rules: tuple[str, ...] = ()
    mode: str = "classic"
    probabilities: tuple[float | None, ...] = (None,)
    groups: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    sample: Sample | None = None
    complete: bool = False

    def summary(self) -> Summary:
        """Return means, gaps and paired differences by agent, group and probability."""
        from dispatchgym.agents.summary import summarise

        return summarise(self)

    def table(self, width: int = 80) -> str:
        """Return the tables as plain text of at most `width` columns."""
        from dispatchgym.agents.tables import as_text, tables

        return as_text(tables(self), width)

    def write(self, path: str | Path, command: str | None = None) -> None:
        """Write the rows, as CSV where the name ends in .csv, else as JSON; whole or not at all.

        Args:
            path: file to write.
            command: the command that repeats this result; this process's when not given.

        Raises:
            EvaluationError: the file cannot be written.
        """
        if Path(path).suffix.lower() == ".csv":
            write_whole(path, self._csv())
            return
        meta = {**provenance(command), "complete": self.complete, "rules": list(self.rules)}
        summary = [asdict(line) for line in self.summary().lines]
        write_json(
            path, {"meta": meta, "rows": [asdict(row) for row in self.rows], "summary": summary}
        )

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(Row.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            cells = asdict(row)
            writer.writerow({name: "" if _is_nan(cell) else cell for name, cell in cells.items()})
        return text.getvalue()


def _is_nan(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and not np.isfinite(cell))


def evaluate(
    agents: str | Any | Sequence[str | Any],
    scenario: str | Any | Sequence[str | Any],
    seeds: int | Sequence[int] = 5,
    *,
    problem: str = "job_shop",
    options: Mapping[str, Any] | None = None,
    probabilities: Sequence[float] | None = None,
    search: Search | None = None,
    time_limit: float = 60.0,
    workers: int = 2,
    progress: bool = True,
) -> EvaluationResult:
    """Let agents play the same episodes; check every schedule.

    Args:
        agents: names or objects: ``rules`` (all of them), a rule, ``rollout``, ``exact``, a
            shipped agent (``ppo``), a checkpoint folder, or an object with ``name`` and ``act``.
        scenario: names, instances, generators or files.
        seeds: N for seeds 0..N-1, or the seeds themselves, all >= 0.
        problem: Hydra name of the problem.
        options: keyword arguments of the environment.
        probabilities: shutdown probabilities, each of which is evaluated.
        search: test-time search of all agents but those that ``rules`` stands for.
        time_limit: seconds for one instance of the exact solver.
        workers: threads of the exact solver.
        progress: show a progress bar when it takes a while.

    Returns:
        The result, with rows in the order scenario, probability, seed, agent.

    Raises:
        ParameterError: an argument has no meaning; names are answered with close ones.
        ScenarioError: a scenario is unknown.
        EvaluationError: a schedule is invalid or better than a proven bound.
    """
    evaluation = Evaluation(
        agents,
        scenario,
        seeds,
        problem=problem,
        options=options,
        probabilities=probabilities,
        search=search,
        time_limit=time_limit,
        workers=workers,
    )
    evaluation.run(progress=progress)
    return evaluation.result


class Evaluation:
    """An evaluation that can be stopped: `result` holds the rows finished so far.

    The arguments are those of `evaluate`.
    """

    def __init__(
        self,
        agents: str | Any | Sequence[str | Any],
        scenario: str | Any | Sequence[str | Any],
        seeds: int | Sequence[int] = 5,
        *,
        problem: str = "job_shop",
        options: Mapping[str, Any] | None = None,
        probabilities: Sequence[float] | None = None,
        search: Search | None = None,
        time_limit: float = 60.0,
        workers: int = 2,
    ) -> None:
        """Check all arguments and find every agent and instance before anything is played."""
        self.problem = find_problem(problem)
        self.seeds = _seeds(seeds)
        self.settings = find_settings(options, probabilities)
        self.scenarios = find_scenarios(scenario)
        self.entrants: list[Entrant] = find_entrants(
            agents, self.problem, search or Search(), time_limit=time_limit, workers=workers
        )
        rules = tuple(entrant.name for entrant in self.entrants if entrant.is_rule)
        probabilities_asked = tuple(s.probability for s in self.settings)
        self.result = EvaluationResult(
            self.problem,
            rules,
            mode=self.settings[0].mode,
            probabilities=probabilities_asked if len(self.settings) > 1 else (None,),
            groups={scenario.name: scenario.group for scenario in self.scenarios},
        )

    def run(self, *, progress: bool = True) -> None:
        """Play everything; rows of an episode appear when all agents have played it."""
        steps = list(product(self.scenarios, self.settings, _blocks(self.seeds)))
        total = sum(scenario.work for scenario, _, _ in steps) * len(self.entrants)
        with _progress_bar(progress) as bar:
            task = bar.add_task("loading", total=total)
            self._warm_up()
            for scenario, setting, seeds in steps:
                arena = Arena(self.problem, scenario.content, seeds, setting.environment())
                played = {}
                for entrant in self.entrants:
                    bar.update(task, description=f"{scenario.name} {entrant.name}")
                    played[entrant.name] = entrant.play(arena)
                    self._time(entrant, arena, scenario)
                    bar.advance(task, scenario.work)
                self.result.rows += self._rows(scenario, setting, arena, played)
        self.result.complete = True

    def _warm_up(self) -> None:
        """Load or compile everything, so that no agent's time contains it."""
        for seeds in ((0,), (0, 1)):  # one lane and several are compiled apart
            options = self.settings[0].environment()
            arena = Arena(self.problem, self.problem.smallest, seeds, options)
            for entrant in self.entrants:
                if not isinstance(entrant, ExactEntrant):
                    entrant.play(arena)

    def _time(self, entrant: Entrant, arena: Arena, scenario: Scenario) -> None:
        """Time an agent's decisions, once for each scenario."""
        key = entrant.name, scenario.name
        if key not in self.result.times:
            self.result.times[key] = [float(ms) for ms in entrant.decision_times(arena)]

    def _rows(
        self,
        scenario: Scenario,
        setting: Setting,
        arena: Arena,
        played: Mapping[str, Sequence[Episode]],
    ) -> Iterator[Row]:
        exact = next((e.name for e in self.entrants if isinstance(e, ExactEntrant)), None)
        for index, (instance, seed) in enumerate(zip(arena.instances, arena.seeds, strict=True)):
            episodes = {name: found[index] for name, found in played.items()}
            drawn = setting.drawn(next(iter(episodes.values())).schedule)
            reference = find_reference(
                drawn, instance, seed, episodes[exact] if exact is not None else None
            )
            for name, episode in episodes.items():
                valid = self._check(name, instance, seed, episode, reference)
                yield self._row(name, scenario, drawn, instance, seed, episode, reference, valid)
            if scenario is self.scenarios[0] and seed == self.seeds[0]:
                self.result.sample = _best_sample(instance, seed, episodes)

    def _check(
        self, name: str, instance: Any, seed: int, episode: Episode, reference: Reference
    ) -> bool:
        """Return whether a schedule counts; raise where the result cannot be true."""
        if episode.status != "finished":
            return False
        where = f"{name} on {instance.name}, seed {seed}"
        report = self.problem.module.validate(instance, episode.schedule)
        if not report.valid:
            found = "; ".join(str(item) for item in report.violations[:MAX_VIOLATIONS])
            raise EvaluationError(
                f"{where}: the schedule has {len(report.violations)} violations: {found}"
            )
        if report.objective != episode.objective:
            raise EvaluationError(
                f"{where}: makespan {episode.objective:g} was reported, "
                f"the schedule has {report.objective:g}"
            )
        if episode.objective < reference.lower - 1e-9:
            raise EvaluationError(
                f"{where}: makespan {episode.objective:g} is below "
                f"the proven lower bound {reference.lower:g}"
            )
        return True

    def _row(
        self,
        name: str,
        scenario: Scenario,
        setting: Setting,
        instance: Any,
        seed: int,
        episode: Episode,
        reference: Reference,
        valid: bool,
    ) -> Row:
        # A plan is a single decision: agents without decision times are timed by the episode.
        times = self.result.times[name, scenario.name] or [1000.0 * episode.seconds]
        p50, p99 = np.percentile(times, [50, 99])
        return Row(
            agent=name,
            scenario=scenario.asked,
            instance=instance.name,
            group=scenario.group,
            seed=seed,
            mode=setting.mode,
            probability=setting.probability,
            objective=episode.objective,
            reference=reference.value,
            reference_kind=reference.kind,
            gap=episode.objective / reference.value - 1.0,
            valid=valid,
            status=episode.status,
            seconds=episode.seconds,
            decision_ms_p50=float(p50),
            decision_ms_p99=float(p99),
        )


def _progress_bar(shown: bool) -> Progress:
    """Return a bar on standard error that vanishes when it is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<22.22}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        transient=True,
        disable=not shown,
    )


def _blocks(seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """Cut the seeds into pieces: one is in memory at a time, and what precedes it is safe."""
    return [tuple(seeds[i : i + MAX_LANES]) for i in range(0, len(seeds), MAX_LANES)]


def _best_sample(instance: Any, seed: int, episodes: Mapping[str, Episode]) -> Sample | None:
    finished = {name: e for name, e in episodes.items() if e.status == "finished"}
    if not finished:
        return None
    name = min(finished, key=lambda key: finished[key].objective)
    return Sample(name, instance, seed, finished[name])


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the episode seeds that a number or a list stands for.

    Raises:
        ParameterError: there is none, or one is negative or no integer.
    """
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        found: Iterable[Any] = range(seeds)
    elif isinstance(seeds, Sequence) and not isinstance(seeds, str):
        found = seeds
    else:
        raise ParameterError(f"seeds: found {seeds!r}, expected a number or a list of integers")
    listed = tuple(found)
    wrong = [s for s in listed if not isinstance(s, int) or isinstance(s, bool) or s < 0]
    if not listed or wrong:
        raise ParameterError(
            f"seeds: found {seeds!r}, expected a number above 0 or a list of integers >= 0"
        )
    if len(set(listed)) < len(listed):
        raise ParameterError(f"seeds: found {seeds!r}, expected no seed twice")
    return listed
