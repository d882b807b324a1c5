"""Tables of an evaluation with several objectives: fronts, hypervolumes, means by preference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from dispatchgym.agents.fronts import ALL_GROUPS, FrontLine, FrontSummary, MeanLine, Preference
from dispatchgym.agents.tables import (
    Column,
    cost_columns,
    cut,
    detail_text,
    heading_of,
    shortened,
)

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult

__all__ = ["front_tables"]

SHOWN_PREFERENCES = 11
"""Of more preferences the means are in the file of results only."""


def front_tables(result: EvaluationResult) -> list[RenderableType]:
    """Return the tables of an evaluation with several objectives.

    Args:
        result: an evaluation, which may be incomplete.

    Returns:
        Renderables of at most 80 columns. Several preferences: hypervolumes of the agents' fronts,
        by group where there are several, and means by preference. One: means by group.
    """
    if not result.rows:
        return [Text("No episode was finished.")]
    summary = result.fronts()
    if summary.fronts:
        shown = [*_fronts(result, summary), *_by_preference(result, summary)]
    else:
        shown = _means(result, summary)
    return [*shown, Text(_footnote(result, summary))]


# --- Several preferences ---------------------------------------------------------------------


def _fronts(result: EvaluationResult, summary: FrontSummary) -> list[RenderableType]:
    groups = [*summary.groups, *([ALL_GROUPS] if len(summary.groups) > 1 else [])]
    if len(groups) == 1:
        return _one_group(result, summary, groups[0])
    order = _by_hypervolume(summary, ALL_GROUPS)
    title = f"Hypervolume, {_title(result)}"
    shown = _pivot(summary, title, groups, order, lambda line: _number(line.hypervolume))
    rival = summary.rival
    words = f"that of {rival}" if rival else "that of the best rule of each group"
    title = f"Hypervolume over {words}; * the 95 % interval excludes 1"
    shown += _pivot(summary, title, groups, order, _starred)
    lines = [summary.front(agent, ALL_GROUPS) for agent in order]
    columns = [
        Column("hypervolume", [_number(line.hypervolume) for line in lines]),
        Column(f"x {shortened(rival or 'best rule', 20)} [95 %]", [_ratio(x) for x in lines]),
        *cost_columns([_of_all(summary, agent, summary.groups) for agent in order]),
    ]
    title = "Mean over groups"
    return shown + cut(title, "agent", [shortened(name) for name in order], columns)


def _one_group(result: EvaluationResult, summary: FrontSummary, group: str) -> list[RenderableType]:
    order = _by_hypervolume(summary, group)
    lines = [summary.front(agent, group) for agent in order]
    rival = next((line.versus for line in lines if line.versus), None)
    columns = [Column("HV", [_number(line.hypervolume) for line in lines])]
    if rival is not None:
        heading = f"x {shortened(rival, 14)} [95 %]"
        columns.append(Column(heading, [_ratio(line) for line in lines]))
    columns += [
        Column("points", [f"{line.points:.0f}" for line in lines]),
        Column("util.", [_number(line.utility) for line in lines]),
        *cost_columns([_of_all(summary, agent, [group]) for agent in order]),
    ]
    title = f"Hypervolume, {_title(result)}"
    return cut(title, "agent", [shortened(name) for name in order], columns)


def _pivot(
    summary: FrontSummary,
    title: str,
    groups: Sequence[str],
    order: Sequence[str],
    cell: Callable[[FrontLine], str],
) -> list[RenderableType]:
    columns = [
        Column(
            heading_of(group) if group != ALL_GROUPS else "mean\ngroups",
            [cell(summary.front(agent, group)) for agent in order],
        )
        for group in groups
    ]
    return cut(title, "agent", [shortened(name) for name in order], columns)


def _by_hypervolume(summary: FrontSummary, group: str) -> list[str]:
    """Return the agents with a front in a group, the largest hypervolume first."""
    lines = [line for line in summary.fronts if line.group == group]
    return [line.agent for line in sorted(lines, key=lambda line: -line.hypervolume)]


def _of_all(summary: FrontSummary, agent: str, groups: Sequence[str]) -> MeanLine:
    """Return an agent's first line with the number of episodes of all preferences and groups."""
    lines = [line for line in summary.lines if line.agent == agent and line.group in groups]
    counts = {"rows": sum(x.rows for x in lines), "valid": sum(x.valid for x in lines)}
    return MeanLine(**{**lines[0].__dict__, **counts})


def _by_preference(result: EvaluationResult, summary: FrontSummary) -> list[RenderableType]:
    """Return the mean objectives of each agent by preference, where there is room for them."""
    if len(summary.groups) > 1 or len(summary.preferences) > SHOWN_PREFERENCES:
        return []
    group = summary.groups[0]
    order = _by_hypervolume(summary, group)
    columns = [
        Column(
            _weights(preference),
            [result.measure.text(summary.line(a, group, preference).objective) for a in order],
        )
        for preference in summary.preferences
    ]
    names = [shortened(name) for name in order]
    title = f"Mean {result.measure.words} by weight of the first"
    return cut(title, "agent", names, columns)


# --- One preference --------------------------------------------------------------------------


def _means(result: EvaluationResult, summary: FrontSummary) -> list[RenderableType]:
    if len(summary.groups) == 1:
        return _overall(result, summary, summary.groups[0])
    shown: list[RenderableType] = []
    for k, part in enumerate(result.measure.parts):
        order = [line.agent for line in _sorted(result, summary, summary.groups[0])]
        columns = [
            Column(heading_of(group), [_part(result, summary, a, group, k) for a in order])
            for group in summary.groups
        ]
        title = f"Mean {part.words}, {result.label}"
        shown += cut(title, "agent", [shortened(name) for name in order], columns)
    return shown


def _part(result: EvaluationResult, summary: FrontSummary, agent: str, group: str, k: int) -> str:
    line = summary.line(agent, group, summary.preferences[0])
    return str(result.measure.parts[k].text(line.objective[k]))


def _overall(result: EvaluationResult, summary: FrontSummary, group: str) -> list[RenderableType]:
    lines, parts = _sorted(result, summary, group), result.measure.parts
    columns = [
        Column(part.words, [part.text(line.objective[k]) for line in lines])
        for k, part in enumerate(parts)
    ]
    rival = next((line.versus for line in lines if line.versus), None)
    if rival is not None:
        heading = f"% vs {shortened(rival, 14)} [95 %]"
        columns.append(Column(heading, [_difference(line) for line in lines]))
    columns += [
        Column(extra.heading, [detail_text(line, extra) for line in lines])
        for extra in result.problem.columns
        if any(extra.key in line.details for line in lines)
    ]
    columns += cost_columns(lines)
    title = f"Mean {_title(result)}"
    return cut(title, "agent", [shortened(line.agent) for line in lines], columns)


def _sorted(result: EvaluationResult, summary: FrontSummary, group: str) -> list[MeanLine]:
    """Return lines by the first mean objective, the best first, those without one last."""
    lines = [line for line in summary.lines if line.group == group]

    def key(line: MeanLine) -> tuple[bool, float]:
        return math.isnan(line.objective[0]), float(result.measure.costs(line.objective)[0])

    return sorted(lines, key=key)


# --- Texts -----------------------------------------------------------------------------------


def _title(result: EvaluationResult) -> str:
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in result.rows))
    seeds = len({row.seed for row in result.rows})
    return f"{result.measure.words}, {result.label}, {scenarios}: {seeds} seeds"


def _footnote(result: EvaluationResult, summary: FrontSummary) -> str:
    text = ""
    if summary.fronts:
        text = (
            "Hypervolume: share of the box between an ideal and a reference point that the mean "
            f"{result.measure.words} of all preferences dominate. "
        )
        text += " ".join(_box(result, summary, group) for group in summary.groups[:1])
        if len(summary.groups) > 1:
            text += " The boxes of the other groups are in the file of results."
    elif summary.lines and any(line.versus for line in summary.lines):
        text = f"%: {result.measure.parts[0].words} over that of the other agent, minus 1."
    unfinished = sum(not row.valid for row in result.rows)
    if unfinished:
        text += f" Without a complete schedule, and left out of the means: {unfinished} rows."
    if not result.complete:
        text += " Stopped early: these are the episodes finished so far."
    return text.strip()


def _box(result: EvaluationResult, summary: FrontSummary, group: str) -> str:
    box, text = summary.boxes[group], result.measure.plain
    return f"{group}: ideal {text(box.ideal)}, reference {text(box.reference)}."


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _ratio(line: FrontLine) -> str:
    if line.versus is None:
        return ""
    interval = "" if math.isnan(line.low) else f" [{line.low:.3f}, {line.high:.3f}]"
    return f"{_number(line.ratio)}{interval}"


def _starred(line: FrontLine) -> str:
    if line.versus is None:
        return "1 "
    return _number(line.ratio) + ("*" if line.significant else " ")


def _difference(line: MeanLine) -> str:
    """Return the difference of the first objective, in percent, with its interval."""
    if line.versus is None:
        return ""
    value, low, high = 100.0 * np.array(line.differences[0])
    if math.isnan(value):
        return "-"
    return f"{value:+.1f}" if math.isnan(low) else f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _weights(preference: Preference) -> str:
    return "drawn" if preference is None else f"w={preference[0]:g}"
