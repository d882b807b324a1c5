"""What the rows of an evaluation say: means, gaps, and paired differences to the best rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dispatchgym.agents.statistics import paired_difference

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult, Row
    from dispatchgym.agents.problems.base import Measure

__all__ = ["ALL_GROUPS", "ALL_INSTANCES", "Line", "Summary", "summarise"]

ALL_INSTANCES = "mean over instances"
ALL_GROUPS = "mean over groups"
NAN = float("nan")


@dataclass(frozen=True)
class Line:
    """An agent's results on one group of instances.

    Attributes:
        agent: name of the agent.
        group: name of the group, or one of the two overall means.
        level: value of the problem's level where several were asked for, else None.
        rows: number of episodes.
        valid: number of those with a complete, valid schedule; the means are over these.
        objective: mean objective.
        gap: mean gap to the reference.
        versus: the agent it is compared with: that which was asked for, else the rule with the
            best mean objective here, or the first agent where no rule took part. None for that
            agent itself.
        difference: mean objective over that of `versus`, minus 1, on common episodes; nan where
            that of `versus` is not above 0.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        decision_ms_p50: median time of a decision in milliseconds.
        decision_ms_p99: 99th percentile of the same.
        details: mean wall time of an episode (``seconds``) and means of the rows' details.
    """

    agent: str
    group: str
    level: float | None
    rows: int
    valid: int
    objective: float
    gap: float
    versus: str | None = None
    difference: float = NAN
    low: float = NAN
    high: float = NAN
    decision_ms_p50: float = NAN
    decision_ms_p99: float = NAN
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Summary:
    """All lines of an evaluation.

    Attributes:
        measure: what the objective is.
        lines: by level, then group, then agent in the order they were asked for.
        agents: their names.
        groups: names of the groups, without the overall means.
        levels: those that were asked for; (None,) where there is at most one.
    """

    measure: Measure
    lines: tuple[Line, ...]
    agents: tuple[str, ...]
    groups: tuple[str, ...]
    levels: tuple[float | None, ...]

    def line(self, agent: str, group: str, level: float | None = None) -> Line:
        """Return a line.

        Raises:
            KeyError: there is none.
        """
        for line in self.lines:
            if (line.agent, line.group, line.level) == (agent, group, level):
                return line
        raise KeyError((agent, group, level))

    @property
    def rival(self) -> str:
        """Whom the lines are compared with, in words."""
        found = {line.versus for line in self.lines if line.versus}
        return found.pop() if len(found) == 1 else "the best rule"

    def best_rule(
        self, rules: Sequence[str], group: str, level: float | None = None
    ) -> Line | None:
        """Return the line of the rule with the best mean objective, None without rules."""
        lines = [self.line(rule, group, level) for rule in rules if rule in self.agents]
        return _best(self.measure, lines)


def summarise(result: EvaluationResult) -> Summary:
    """Condense the rows of an evaluation."""
    agents = tuple(dict.fromkeys(row.agent for row in result.rows))
    groups = tuple(dict.fromkeys(row.group for row in result.rows))
    lines: list[Line] = []
    for level in result.levels:
        rows = [row for row in result.rows if level is None or result.level_of(row) == level]
        parts = [
            _group_lines(result, [row for row in rows if row.group == group], group, level)
            for group in groups
        ]
        lines += [line for part in parts for line in part]
        lines += _group_lines(result, rows, ALL_INSTANCES, level)
        lines += [_mean_of_groups(agent, parts, level) for agent in agents]
    return Summary(result.measure, tuple(lines), agents, groups, result.levels)


def _group_lines(
    result: EvaluationResult, rows: Sequence[Row], group: str, level: float | None
) -> list[Line]:
    by_agent: dict[str, list[Row]] = {}
    for row in rows:
        by_agent.setdefault(row.agent, []).append(row)
    lines = [_line(result, agent, found, group, level) for agent, found in by_agent.items()]
    rival = _rival(result, lines)
    if rival is None:
        return lines
    return [
        line
        if line.agent == rival
        else _compared(result, line, by_agent[line.agent], rival, by_agent[rival])
        for line in lines
    ]


def _line(
    result: EvaluationResult,
    agent: str,
    rows: Sequence[Row],
    group: str,
    level: float | None,
) -> Line:
    valid = [row for row in rows if row.valid]
    times = [
        ms
        for (name, scenario), found in result.times.items()
        if name == agent and group in (result.groups[scenario], ALL_INSTANCES)
        for ms in found
    ] or [1000.0 * row.seconds for row in rows]
    p50, p99 = np.percentile(times, [50, 99])
    return Line(
        agent,
        group,
        level,
        rows=len(rows),
        valid=len(valid),
        objective=_mean([row.objective for row in valid]),
        gap=_mean([row.gap for row in valid]),
        decision_ms_p50=float(p50),
        decision_ms_p99=float(p99),
        details=_details(rows, valid),
    )


def _details(rows: Sequence[Row], valid: Sequence[Row]) -> dict[str, float]:
    means = {"seconds": _mean([row.seconds for row in rows])}
    names = dict.fromkeys(name for row in valid for name in row.details)
    return means | {name: _mean([row.details[name] for row in valid]) for name in names}


def _rival(result: EvaluationResult, lines: Sequence[Line]) -> str | None:
    """Return whom all others are compared with."""
    if len(lines) < 2:
        return None
    if result.against is not None:
        return result.against if any(line.agent == result.against for line in lines) else None
    best = _best(result.measure, [line for line in lines if line.agent in result.rules])
    return lines[0].agent if best is None else best.agent


def _best(measure: Measure, lines: Sequence[Line]) -> Line | None:
    """Return the line with the best mean among those with most valid schedules."""
    most = max((line.valid for line in lines), default=0)
    return min(
        (line for line in lines if line.valid == most and most > 0),
        key=lambda line: measure.cost(line.objective),
        default=None,
    )


def _compared(
    result: EvaluationResult,
    line: Line,
    rows: Sequence[Row],
    rival: str,
    rival_rows: Sequence[Row],
) -> Line:
    """Return the line with its paired difference to a rival."""
    mine, theirs = _by_episode(result, rows), _by_episode(result, rival_rows)
    common = [episode for episode in mine if episode in theirs]
    if not sum(theirs[episode] for episode in common) > 0:
        return replace(line, versus=rival)  # nothing that a difference could be a share of
    # Seeds of one instance are no independent draws of instances: an instance is one unit,
    # unless there is only one.
    several = len({episode[:2] for episode in common}) > 1
    units: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    for episode in common:
        unit = episode[:2] if several else episode
        units.setdefault(unit, []).append((mine[episode], theirs[episode]))
    means = np.array([np.mean(pairs, axis=0) for pairs in units.values()])
    if not several and (means == means[0]).all():
        means = means[:1]  # the same episode again, where nothing depends on the seed
    found = paired_difference(means[:, 0], means[:, 1])
    return replace(line, versus=rival, difference=found.value, low=found.low, high=found.high)


def _by_episode(result: EvaluationResult, rows: Sequence[Row]) -> dict[tuple[object, ...], float]:
    return {
        (row.scenario, row.instance, row.seed, result.level_of(row)): row.objective
        for row in rows
        if row.valid
    }


def _mean_of_groups(agent: str, parts: Sequence[Sequence[Line]], level: float | None) -> Line:
    lines = [line for part in parts for line in part if line.agent == agent]
    return Line(
        agent,
        ALL_GROUPS,
        level,
        rows=sum(line.rows for line in lines),
        valid=sum(line.valid for line in lines),
        objective=_mean([line.objective for line in lines]),
        gap=_mean([line.gap for line in lines]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else NAN


def reference_counts(rows: Sequence[Row]) -> Mapping[str, int]:
    """Return how many rows are measured against each kind of reference."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.reference_kind] = counts.get(row.reference_kind, 0) + 1
    return counts
