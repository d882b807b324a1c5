"""Evaluation: agents on common episodes, every schedule checked, every score beside a bound."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.entrants import (
    Effort,
    ExactEntrant,
    PlannerEntrant,
    Search,
    find_entrants,
)
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.base import (
    Measure,
    Problem,
    Reference,
    Scenario,
    Setting,
    VectorMeasure,
)
from dispatchgym.agents.provenance import provenance, write_json
from dispatchgym.agents.scenarios import find_scenarios
from dispatchgym.agents.workers import Workers, play_on_ray
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from rich.progress import Progress

    from dispatchgym.agents.fronts import Box, FrontSummary
    from dispatchgym.agents.summary import Summary

__all__ = ["Block", "Evaluation", "EvaluationResult", "Row", "Workers", "evaluate"]

Tell = Callable[[str, int], None]
"""Told what is being done, and how much work has been done since the last call."""

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
        setting: what the environment was set to, by name, such as ``mode``; see
            `Setting.columns` of the problem.
        objective: in natural units; nan where the schedule is not complete. A list where there
            are several objectives.
        reference: what the objective is measured against; likewise.
        reference_kind: ``optimum``, ``best_known`` or ``bound``.
        gap: objective / reference - 1, or 1 - objective / reference where more is better; nan
            where the schedule is not complete, the reference is 0 and the objective is not, or
            there are several objectives.
        valid: the schedule is complete and passed the validator.
        status: ``finished``, ``deadlock`` or ``truncated``.
        seconds: wall time of the episode, its share where a batch was played side by side.
        decision_ms_p50: median time of a single decision in milliseconds.
        decision_ms_p99: 99th percentile of the same.
        details: what else the validator found out, by name; see `Problem.details`.
    """

    agent: str
    scenario: str
    instance: str
    group: str
    seed: int
    setting: Mapping[str, Any]
    objective: Any
    reference: Any
    reference_kind: str
    gap: float
    valid: bool
    status: str
    seconds: float
    decision_ms_p50: float
    decision_ms_p99: float
    details: Mapping[str, float] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Return the row as one record, with setting and details among the other fields."""
        found: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            found.update(value if item.name in ("setting", "details") else {item.name: value})
        return found


@dataclass(frozen=True)
class Sample:
    """A schedule kept for a picture."""

    agent: str
    instance: Any
    seed: int
    episode: Episode


@dataclass
class Block:
    """What one block of episodes gave, wherever it was played.

    Attributes:
        rows: one for each agent and episode, still without decision times.
        times: agent -> milliseconds of single decisions, where the block has measured them.
        sample: see `EvaluationResult`.
        plans: likewise.
    """

    rows: list[Row] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)
    sample: Sample | None = None
    plans: dict[str, list[tuple[Any, Mapping[str, Any]]]] = field(default_factory=dict)


@dataclass
class EvaluationResult:
    """Rows of an evaluation and what is derived from them.

    Attributes:
        problem: the problem that was solved.
        measure: what the objective is: `Measure`, or `VectorMeasure` of several.
        rules: names of the agents that are dispatching rules.
        against: name of the agent that all others are compared with; None: the best rule.
        label: the setting in a word, for titles.
        levels: values of the problem's level that were asked for; (None,) for at most one.
        groups: name of a scenario -> group of its instances.
        preferences: weights of several objectives, with each of which every seed is played.
        boxes: group -> what hypervolumes are measured in, where there are several objectives.
        rows: one for each agent and episode.
        times: agent and scenario -> milliseconds of single decisions.
        sample: the best schedule of the first episode at the last level, for a picture.
        plans: agent -> its (instance, schedule) of every episode of the first scenario at the last
            level, where the problem draws how its schedules progress.
        complete: False while the evaluation runs, and after it was stopped.
    """

    problem: Problem
    measure: Any
    rules: tuple[str, ...] = ()
    against: str | None = None
    label: str = ""
    levels: tuple[float | None, ...] = (None,)
    groups: dict[str, str] = field(default_factory=dict)
    preferences: tuple[tuple[float, ...], ...] = ()
    boxes: dict[str, Box] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    sample: Sample | None = None
    plans: dict[str, list[tuple[Any, Mapping[str, Any]]]] = field(default_factory=dict)
    complete: bool = False

    def level_of(self, row: Row) -> float | None:
        """Return the level a row was played at, None where the problem has none."""
        level = self.problem.level
        return None if level is None else row.setting[level.key]

    def summary(self) -> Summary:
        """Return means, gaps and paired differences by agent, group and level.

        Raises:
            ParameterError: there are several objectives; see `fronts`.
        """
        from dispatchgym.agents.summary import summarise

        if isinstance(self.measure, VectorMeasure):
            raise ParameterError("summary: found several objectives, expected one: use fronts()")
        return summarise(self)

    def fronts(self) -> FrontSummary:
        """Return what each agent reaches with all preferences, where there are several objectives.

        Raises:
            ParameterError: there is only one.
        """
        from dispatchgym.agents.fronts import summarise_fronts

        return summarise_fronts(self)

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
        document = {"meta": meta, "rows": [row.flat() for row in self.rows]}
        write_json(path, {**document, **self._condensed()})

    def _condensed(self) -> dict[str, Any]:
        """Return the summary as records."""
        if not isinstance(self.measure, VectorMeasure):
            return {"summary": [asdict(line) for line in self.summary().lines]}
        found = self.fronts()
        return {
            "summary": [asdict(line) for line in found.lines],
            "fronts": [asdict(line) for line in found.fronts],
            "boxes": {group: box._asdict() for group, box in found.boxes.items()},
        }

    def _csv(self) -> str:
        text = io.StringIO()
        records = [row.flat() for row in self.rows]
        # An episode that was not finished has no details: such rows have fewer names.
        names = dict.fromkeys(name for record in records for name in record)
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        writer.writeheader()
        for record in records:
            cells = {name: record.get(name) for name in names}
            writer.writerow({name: "" if _is_nan(cell) else cell for name, cell in cells.items()})
        return text.getvalue()


def _is_nan(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and not np.isfinite(cell))


def evaluate(
    agents: str | Any | Sequence[str | Any],
    scenario: str | Any | Sequence[str | Any],
    seeds: int | Sequence[int] = 5,
    *,
    progress: bool = True,
    workers: Workers | None = None,
    **settings: Any,
) -> EvaluationResult:
    """Let agents play the same episodes; check every schedule.

    Args:
        agents: who is compared.
        scenario: on what.
        seeds: N for seeds 0..N-1, or the seeds themselves, all >= 0.
        progress: show a progress bar when it takes a while.
        workers: who plays; None: this process.
        **settings: further arguments of `Evaluation`, which describes all of them.

    Returns:
        The result, with rows in the order scenario, level, seed, agent.

    Raises:
        ParameterError: an argument has no meaning; names are answered with close ones.
        ScenarioError: a scenario is unknown.
        EvaluationError: a schedule is invalid or better than a proven bound.
    """
    evaluation = Evaluation(agents, scenario, seeds, **settings)
    evaluation.run(progress=progress, workers=workers)
    return evaluation.result


class Evaluation:
    """An evaluation that can be stopped: `result` holds the rows finished so far.

    Args:
        agents: names or objects: ``rules`` (all of them), a rule, ``exact``, another agent of
            the problem (``rollout``), a shipped agent (``ppo``), a checkpoint folder, or an
            object with ``name`` and ``act``.
        scenario: names, instances, generators, files, folders or patterns.
        seeds: N for seeds 0..N-1, or the seeds themselves, all >= 0.
        problem: Hydra name of the problem.
        options: keyword arguments of the environment.
        levels: values of the problem's level, each of which is evaluated: shutdown
            probabilities of the job shop, migration limits of VM rescheduling, preferences
            between objectives.
        search: test-time search of all agents but those that ``rules`` stands for.
        effort: what solvers and planners may spend.
        against: name of the agent that all others are compared with; None: the best rule.

    Raises:
        ParameterError: an argument has no meaning; names are answered with close ones.
        ScenarioError: a scenario is unknown.
    """

    def __init__(
        self,
        agents: str | Any | Sequence[str | Any],
        scenario: str | Any | Sequence[str | Any],
        seeds: int | Sequence[int] = 5,
        *,
        problem: str = "job_shop",
        options: Mapping[str, Any] | None = None,
        levels: Sequence[float] | None = None,
        search: Search | None = None,
        effort: Effort | None = None,
        against: str | None = None,
    ) -> None:
        """Check all arguments and find every agent and instance before anything is played."""
        self.problem = find_problem(problem)
        self.seeds = _seeds(seeds)
        self.settings = self.problem.settings(options or {}, levels)
        self.scenarios = find_scenarios(self.problem, scenario)
        played = self.scenarios[0].content
        self.entrants = find_entrants(agents, self.problem, search or Search(), effort, played)
        self.solver = next((e for e in self.entrants if isinstance(e, ExactEntrant)), None)
        if self.solver is None and self.problem.solver_is_reference:
            self.solver = ExactEntrant(effort or Effort())
        self.result = EvaluationResult(
            self.problem,
            self._measure(),
            rules=tuple(entrant.name for entrant in self.entrants if entrant.is_rule),
            against=self._rival(against),
            label=" / ".join(dict.fromkeys(setting.label for setting in self.settings)),
            levels=tuple(s.level for s in self.settings) if len(self.settings) > 1 else (None,),
            groups={scenario.name: scenario.group for scenario in self.scenarios},
            preferences=self.settings[0].preferences,
        )

    def _rival(self, name: str | None) -> str | None:
        names = [entrant.name for entrant in self.entrants]
        if name is not None and name not in names:
            raise ParameterError(
                f"against: found {name!r}, expected one of the agents {', '.join(names)}"
            )
        return name

    def _measure(self) -> Measure | VectorMeasure:
        """Return what the objective is.

        Raises:
            ParameterError: it is not the same in all scenarios, so that means have no meaning.
        """
        found = {
            scenario.name: self._arena(scenario, self.settings[0], self.seeds[:1]).measure
            for scenario in self.scenarios
        }
        first, measure = next(iter(found.items()))
        for name, other in found.items():
            if other != measure:
                raise ParameterError(
                    f"scenario: {first} is about the {measure.words}, {name} about the "
                    f"{other.words}; expected one objective"
                )
        return measure

    def _arena(self, scenario: Scenario, setting: Setting, seeds: tuple[int, ...]) -> Arena:
        options, preferences = setting.environment(), setting.preferences
        return Arena(self.problem, scenario.content, seeds, options, preferences)

    def run(self, *, progress: bool = True, workers: Workers | None = None) -> None:
        """Play everything; what is finished when it is stopped is in `result`.

        Args:
            progress: show a progress bar.
            workers: who plays; None: this process.

        Raises:
            ParameterError: the workers cannot be had.
            EvaluationError: a schedule is invalid or better than a proven bound, or a worker was
                lost too often.
        """
        chosen = workers or Workers()
        self.result.boxes = self._boxes()
        self.steps = self._steps(chosen.block)
        total = sum(self.work(number) for number in range(len(self.steps)))
        found: dict[int, Block] = {}
        with _progress_bar(progress) as bar:
            task = bar.add_task("loading", total=total)

            def tell(description: str, advance: int) -> None:
                bar.update(task, description=description, advance=advance)

            remote = chosen.name == "ray"
            played = play_on_ray(self, chosen, tell) if remote else self._play_here(tell)
            try:
                for number, block in played:
                    found[number] = block
            finally:
                self._collect(found)
        self.result.complete = True

    def _boxes(self) -> dict[str, Box]:
        """Return what hypervolumes are measured in; of a single preference there are none."""
        if len(self.result.preferences) < 2:
            return {}
        options = self.settings[0].environment()
        return {
            scenario.group: self.problem.box(
                Arena(self.problem, scenario.content, self.seeds, options)
            )
            for scenario in self.scenarios
        }

    def _steps(self, size: int) -> list[tuple[Scenario, Setting, tuple[int, ...]]]:
        return list(product(self.scenarios, self.settings, _blocks(self.seeds, size)))

    def work(self, number: int) -> int:
        """Return the work of a block, to share out a progress bar."""
        return self.steps[number][0].work * len(self.entrants)

    def _play_here(self, tell: Tell) -> Iterator[tuple[int, Block]]:
        self.warm_up()
        for number in range(len(self.steps)):
            yield number, self.play(number, tell)

    def play(self, number: int, tell: Tell) -> Block:
        """Let every agent play a block of `steps`, and check all schedules."""
        scenario, setting, seeds = self.steps[number]
        arena, block = self._arena(scenario, setting, seeds), Block()
        # Decisions are timed once for each scenario.
        timed = setting is self.settings[0] and seeds[0] == self.seeds[0]
        played = {}
        for entrant in self.entrants:
            tell(f"{scenario.name} {entrant.name}", 0)
            played[entrant.name] = entrant.play(arena)
            if timed:
                block.times[entrant.name] = [float(ms) for ms in entrant.decision_times(arena)]
            tell(f"{scenario.name} reference", scenario.work)
        self._fill(block, scenario, setting, arena, played)
        return block

    def _collect(self, found: Mapping[int, Block]) -> None:
        """Put the blocks into the result, in the order in which they were to be played."""
        result = self.result
        for number in sorted(found):
            scenario, block = self.steps[number][0], found[number]
            for name, times in block.times.items():
                result.times[name, scenario.name] = times
            quantiles = {
                name: np.percentile(times, [50, 99])
                for (name, played), times in result.times.items()
                if played == scenario.name and times
            }
            result.rows += [_timed(row, quantiles.get(row.agent)) for row in block.rows]
            result.sample = block.sample or result.sample
            for name, plans in block.plans.items():
                result.plans.setdefault(name, []).extend(plans)

    def warm_up(self) -> None:
        """Load or compile everything, so that no agent's time contains it."""
        options = self.settings[0].environment()
        small = self.problem.small_scenario(self.scenarios[0].content)
        for seeds in ((0,), (0, 1)):  # one lane and several are compiled apart
            arena = Arena(self.problem, small, seeds, options)
            for entrant in self.entrants:
                if getattr(entrant, "learns", False):
                    continue  # it would learn on what it will not play
                if len(seeds) == 1 or not isinstance(entrant, ExactEntrant | PlannerEntrant):
                    entrant.play(arena)

    def _fill(
        self,
        block: Block,
        scenario: Scenario,
        setting: Setting,
        arena: Arena,
        played: Mapping[str, Sequence[Episode]],
    ) -> None:
        solved = None if self.solver is None else self.solver.play(arena)  # from memory, or now
        for index, (instance, seed) in enumerate(zip(arena.instances, arena.seeds, strict=True)):
            episodes = {name: found[index] for name, found in played.items()}
            drawn = setting.drawn(next(iter(episodes.values())).schedule)
            exact = None if solved is None else solved[index]
            reference = self.problem.reference(drawn, instance, seed, exact)
            for name, episode in episodes.items():
                where = f"{name} on {instance.name}, seed {seed}"
                details = self._check(where, instance, episode, reference)
                block.rows.append(
                    self._row(name, scenario, drawn, instance, seed, episode, reference, details)
                )
            if scenario is self.scenarios[0]:
                self._keep_for_pictures(block, setting, instance, seed, episodes)

    def _check(
        self, where: str, instance: Any, episode: Episode, reference: Reference
    ) -> dict[str, float] | None:
        """Return what the validator says of a schedule, None where none was finished.

        Raises:
            EvaluationError: the result cannot be true.
        """
        if episode.status != "finished":
            return None
        report, measure = self.problem.validate(instance, episode.schedule), self.result.measure
        if not report.valid:
            found = "; ".join(str(item) for item in report.violations[:MAX_VIOLATIONS])
            raise EvaluationError(
                f"{where}: the schedule has {len(report.violations)} violations: {found}"
            )
        if not measure.same(report.objective, episode.objective):
            raise EvaluationError(
                f"{where}: {measure.words} {measure.plain(episode.objective)} was reported, "
                f"the schedule has {measure.plain(report.objective)}"
            )
        if measure.beyond(episode.objective, reference.bound):
            raise EvaluationError(
                f"{where}: {measure.words} {measure.plain(episode.objective)} is "
                f"{measure.bound_words} {measure.plain(reference.bound)}"
            )
        return self.problem.details(report)

    def _row(
        self,
        name: str,
        scenario: Scenario,
        setting: Setting,
        instance: Any,
        seed: int,
        episode: Episode,
        reference: Reference,
        details: Mapping[str, float] | None,
    ) -> Row:
        return Row(
            agent=name,
            scenario=scenario.asked,
            instance=instance.name,
            group=scenario.group,
            seed=seed,
            setting=setting.columns(instance),
            objective=episode.objective,
            reference=reference.value,
            reference_kind=reference.kind,
            gap=self.result.measure.gap(episode.objective, reference.value),
            valid=details is not None,
            status=episode.status,
            seconds=episode.seconds,
            decision_ms_p50=math.nan,
            decision_ms_p99=math.nan,
            details=details or {},
        )

    def _keep_for_pictures(
        self,
        block: Block,
        setting: Setting,
        instance: Any,
        seed: int,
        episodes: Mapping[str, Episode],
    ) -> None:
        if seed == self.seeds[0]:
            block.sample = self._best_sample(instance, seed, episodes)
        if setting is self.settings[-1] and self.problem.draws_progress:
            for name, episode in episodes.items():
                block.plans.setdefault(name, []).append((instance, episode.schedule))

    def _best_sample(
        self, instance: Any, seed: int, episodes: Mapping[str, Episode]
    ) -> Sample | None:
        finished = {name: e for name, e in episodes.items() if e.status == "finished"}
        if not finished:
            return None
        name = min(finished, key=lambda key: self.problem.cost(instance, finished[key]))
        return Sample(name, instance, seed, finished[name])


def _timed(row: Row, quantiles: NDArray[np.float64] | None) -> Row:
    """Return the row with the times of its agent's decisions.

    A plan is a single decision: agents without decision times are timed by the episode. So are
    those of a scenario whose first block is missing after a stop.
    """
    p50, p99 = (1000.0 * row.seconds,) * 2 if quantiles is None else quantiles.tolist()
    return replace(row, decision_ms_p50=float(p50), decision_ms_p99=float(p99))


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


def _blocks(seeds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Cut the seeds into pieces: one is in memory at a time, and what precedes it is safe."""
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]


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
