"""Tables of an evaluation for the terminal, at most 80 columns wide."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatchgym.agents.summary import ALL_GROUPS, ALL_INSTANCES, Line, Summary, reference_counts

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult

__all__ = ["WIDTH", "as_text", "tables"]

WIDTH = 80
AGENT_WIDTH = 18
REFERENCE_NAMES = {
    "optimum": "a proven optimum",
    "best_known": "the best known value",
    "bound": "a lower bound",
}


def tables(result: EvaluationResult) -> list[RenderableType]:
    """Return the tables of an evaluation, the overall one first.

    Args:
        result: an evaluation, which may be incomplete.

    Returns:
        Renderables of at most 80 columns. One shutdown probability: an overall table, then
        objective, gap and paired difference by group. Several: means by probability, the best
        rule by group and probability, and what is not a rule against the best rule.
    """
    summary = result.summary()
    if not summary.lines:
        return [Text("No episode was finished.")]
    if len(summary.probabilities) > 1:
        shown = [*_by_probability(result, summary)]
    else:
        shown = [_overall(result, summary), *_by_group(result, summary)]
    return [*shown, Text(_footnote(result))]


def as_text(renderables: Iterable[RenderableType], width: int = WIDTH) -> str:
    """Return renderables as plain text of at most `width` columns, without trailing blanks."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
    for index, renderable in enumerate(renderables):
        console.print(*[""] * (index > 0), renderable, sep="\n")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


# --- One shutdown probability ----------------------------------------------------------------


def _overall(result: EvaluationResult, summary: Summary) -> RenderableType:
    lines = _sorted([line for line in summary.lines if line.group == ALL_INSTANCES])
    groups = {line.agent: line for line in summary.lines if line.group == ALL_GROUPS}
    several = len(summary.groups) > 1
    rival = next((line.versus for line in lines if line.versus), None)
    table = _table()
    _add(table, "mean", *(["groups"] if several else []), "gap %")
    if rival is not None:
        _add(table, f"% vs {_agent(rival, 10)} [95 %]")
    _add(table, "ms p50", "ms p99", "valid")
    for line in lines:
        cells = [_agent(line.agent), _number(line.objective)]
        if several:
            cells.append(_number(groups[line.agent].objective))
        cells.append(_percent(line.gap))
        if rival is not None:
            cells.append(_difference(line))
        cells += [_milliseconds(line.decision_ms_p50), _milliseconds(line.decision_ms_p99)]
        table.add_row(*cells, _count(line), style=_style(line, result))
    title = f"Mean {_title(result)}"
    if several:
        title += " (groups: mean over groups)"
    return _titled(title, table)


def _by_group(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    if len(summary.groups) < 2:
        return []
    means = [ALL_INSTANCES, ALL_GROUPS]
    shown = _pivot(result, summary, f"Mean {result.problem.objective} by group", _objective, means)
    shown += _pivot(result, summary, "Gap by group, %", lambda line: _percent(line.gap), means)
    if any(line.versus for line in summary.lines):
        title = "Against the best rule of each group, %; * the 95 % interval excludes 0"
        if not result.rules:
            title = title.replace("the best rule of each group", f"{summary.agents[0]} by group")
        shown += _pivot(result, summary, title, _starred, [ALL_INSTANCES])
    return shown


def _pivot(
    result: EvaluationResult,
    summary: Summary,
    title: str,
    cell: Callable[[Line], str],
    means: Sequence[str],
) -> list[RenderableType]:
    """Return a table of agents by groups, cut into several where it is too wide."""
    order = [line.agent for line in _sorted([x for x in summary.lines if x.group == ALL_INSTANCES])]
    columns = []
    for group in [*summary.groups, *means]:
        texts = [cell(summary.line(agent, group)) for agent in order]
        columns.append(Column(_heading(group), texts))
    return _cut(title, "agent", [_agent(name) for name in order], columns)


# --- Several shutdown probabilities ----------------------------------------------------------


def _by_probability(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    order = [
        line.agent
        for line in _sorted(
            [
                line
                for line in summary.lines
                if line.group == ALL_GROUPS and line.probability == summary.probabilities[-1]
            ]
        )
    ]
    by_mean = {
        group: [
            Column(f"q={q:g}", [_number(summary.line(name, group, q).objective) for name in order])
            for q in _asked(summary)
        ]
        for group in (ALL_GROUPS, ALL_INSTANCES)
    }
    shown: list[RenderableType] = [Text(f"Mean {_title(result)}", style="bold")]
    words = f"{ALL_GROUPS}, by shutdown probability q"
    if by_mean[ALL_GROUPS] == by_mean[ALL_INSTANCES]:
        words = f"{ALL_INSTANCES} and {words}" if len(summary.groups) > 1 else words
        del by_mean[ALL_INSTANCES]
    names = [_agent(name) for name in order]
    shown += _cut(words.capitalize(), "agent", names, by_mean[ALL_GROUPS])
    if ALL_INSTANCES in by_mean:
        shown += _cut(ALL_INSTANCES.capitalize(), "agent", names, by_mean[ALL_INSTANCES])
    if result.rules and len(summary.groups) > 1:
        shown += _best_rules(result, summary)
    return shown + _against_rules(result, summary)


def _best_rules(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    columns = []
    for q in _asked(summary):
        best = [summary.best_rule(result.rules, group, q) for group in summary.groups]
        texts = ["-" if x is None else f"{_number(x.objective)} {x.agent}" for x in best]
        columns.append(Column(f"q={q:g}", texts))
    title = f"Mean {result.problem.objective} of the best rule by group"
    return _cut(title, "group", list(summary.groups), columns)


def _against_rules(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    """Return one table with a line for each agent that is no rule and each probability."""
    others = [name for name in summary.agents if name not in result.rules]
    if not others:
        return []
    table = _table()
    _add(table, "q", "mean", "gap %", "% vs best rule [95 %]", "rule", "ms p50", "ms p99", "valid")
    for agent in others:
        for q in _asked(summary):
            line = summary.line(agent, ALL_INSTANCES, q)
            table.add_row(
                _agent(agent, 14),
                f"{q:g}",
                _number(line.objective),
                _percent(line.gap),
                _difference(line),
                line.versus or "",
                _milliseconds(line.decision_ms_p50),
                _milliseconds(line.decision_ms_p99),
                _count(line),
            )
    return [_titled("Against the best rule at each q, mean over instances", table)]


def _asked(summary: Summary) -> list[float]:
    return [q for q in summary.probabilities if q is not None]


# --- Pieces ----------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of texts below a heading."""

    heading: str
    texts: list[str]

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, [*self.heading.split("\n"), *self.texts]))


def _cut(
    title: str, label: str, names: Sequence[str], columns: Sequence[Column]
) -> list[RenderableType]:
    """Return tables of at most 80 columns of text that together hold all columns."""
    left = max(map(len, [label, *names])) + 1
    parts: list[list[Column]] = [[]]
    used = left
    for column in columns:
        if parts[-1] and used + column.width + 1 > WIDTH + 1:
            parts.append([])
            used = left
        parts[-1].append(column)
        used += column.width + 1
    found = []
    for part in parts:
        table = _table(label)
        _add(table, *[column.heading for column in part])
        for index, name in enumerate(names):
            table.add_row(name, *[column.texts[index] for column in part])
        found.append(_titled(title, table))
    return found


def _table(label: str = "agent") -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(label, no_wrap=True)
    return table


def _add(table: Table, *headings: str) -> None:
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)


def _titled(title: str, table: Table) -> RenderableType:
    return Group(Text(title, style="bold"), table)


def _title(result: EvaluationResult) -> str:
    seeds = len({row.seed for row in result.rows})
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in result.rows))
    instances = len({(row.scenario, row.instance) for row in result.rows})
    episodes = f"{instances} instances"
    if instances < len({(row.scenario, row.instance, row.seed) for row in result.rows}):
        episodes = f"{instances} instance{'s' * (instances > 1)} x {seeds} seeds"
    return f"{result.problem.objective}, {result.mode}, {scenarios}: {episodes}"


def _footnote(result: EvaluationResult) -> str:
    counts = reference_counts(result.rows)
    kinds = [f"{REFERENCE_NAMES[kind]} ({count} rows)" for kind, count in counts.items()]
    text = f"gap = {result.problem.objective} / reference - 1; reference: {', '.join(kinds)}."
    unfinished = sum(not row.valid for row in result.rows)
    if unfinished:
        text += f" {unfinished} episodes ended without a complete schedule: means leave them out."
    if not result.complete:
        text += " Stopped early: these are the instances finished so far."
    return text


def _heading(group: str) -> str:
    """Break a heading into two lines: family and size, or words of an overall mean."""
    if group == ALL_INSTANCES:
        return "mean\ninst."
    if group == ALL_GROUPS:
        return "mean\ngroups"
    return "\n".join(group.rsplit(" ", 1))


def _sorted(lines: Iterable[Line]) -> list[Line]:
    """Return lines by mean objective, those without one last."""
    return sorted(lines, key=lambda line: (math.isnan(line.objective), line.objective))


def _style(line: Line, result: EvaluationResult) -> str:
    return "" if line.agent in result.rules else "bold"


def _agent(name: str, width: int = AGENT_WIDTH) -> str:
    return name if len(name) <= width else f"..{name[-(width - 2) :]}"


def _objective(line: Line) -> str:
    return _number(line.objective)


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _percent(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _signed(fraction: float) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:+.1f}"


def _difference(line: Line) -> str:
    if line.versus is None:
        return ""
    if math.isnan(line.low):
        return _signed(line.difference)
    return f"{_signed(line.difference)} [{_signed(line.low)}, {_signed(line.high)}]"


def _starred(line: Line) -> str:
    if line.versus is None:
        return "best"
    return _signed(line.difference) + ("*" if line.significant else " ")


def _milliseconds(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _count(line: Line) -> str:
    return str(line.valid) if line.valid == line.rows else f"{line.valid}/{line.rows}"
