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

from dispatchgym.agents.problems.base import VectorMeasure
from dispatchgym.agents.summary import ALL_GROUPS, ALL_INSTANCES, Line, Summary, reference_counts

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult
    from dispatchgym.agents.fronts import MeanLine
    from dispatchgym.agents.problems.base import Column as ExtraColumn
    from dispatchgym.agents.problems.base import Level

__all__ = [
    "WIDTH",
    "Column",
    "as_text",
    "cost_columns",
    "cut",
    "detail_text",
    "heading_of",
    "milliseconds",
    "shortened",
    "tables",
]

WIDTH = 80
AGENT_WIDTH = 19
REFERENCE_NAMES = {
    "optimum": "a proven optimum",
    "best_known": "the best known value",
    "bound": "{} bound",
}


def tables(result: EvaluationResult) -> list[RenderableType]:
    """Return the tables of an evaluation, the overall one first.

    Args:
        result: an evaluation, which may be incomplete.

    Returns:
        Renderables of at most 80 columns. One level (such as a shutdown probability): an overall
        table, then objective, gap, paired difference and seconds by group. Several: means by
        level, the best rule by group and level, and what is not a rule against the best rule.
        Several objectives: see `front_tables`.
    """
    if isinstance(result.measure, VectorMeasure):
        from dispatchgym.agents.front_tables import front_tables

        return front_tables(result)
    summary = result.summary()
    if not summary.lines:
        return [Text("No episode was finished.")]
    if len(summary.levels) > 1:
        shown = [*_by_level(result, summary)]
    else:
        shown = [*_overall(result, summary), *_by_group(result, summary)]
    return [*shown, Text(_footnote(result))]


def as_text(renderables: Iterable[RenderableType], width: int = WIDTH) -> str:
    """Return renderables as plain text of at most `width` columns, without trailing blanks."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
    for index, renderable in enumerate(renderables):
        console.print(*[""] * (index > 0), renderable, sep="\n")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


# --- One level -------------------------------------------------------------------------------


def _overall(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    number = result.measure.text
    lines = _sorted(result, [line for line in summary.lines if line.group == ALL_INSTANCES])
    by_group = {line.agent: line for line in summary.lines if line.group == ALL_GROUPS}
    columns = [Column("mean", [number(line.objective) for line in lines])]
    title = f"Mean {_title(result)}"
    if len(summary.groups) > 1:
        means = [number(by_group[line.agent].objective) for line in lines]
        columns.append(Column("groups", means))
        title += " (groups: mean over groups)"
    columns.append(Column("gap %", [_percent(line.gap) for line in lines]))
    rival = next((line.versus for line in lines if line.versus), None)
    if rival is not None:
        heading = f"% vs {shortened(rival, 10)} [95 %]"
        columns.append(Column(heading, [_difference(line) for line in lines]))
    columns += [
        Column(extra.heading, [detail_text(line, extra) for line in lines])
        for extra in result.problem.columns
    ]
    columns += cost_columns(lines)
    return cut(title, "agent", [shortened(line.agent) for line in lines], columns)


def _by_group(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    if len(summary.groups) < 2:
        return []
    means = [ALL_INSTANCES, ALL_GROUPS]
    title = f"Mean {result.measure.words} by group"
    shown = _pivot(result, summary, title, lambda line: result.measure.text(line.objective), means)
    shown += _pivot(result, summary, "Gap by group, %", lambda line: _percent(line.gap), means)
    if any(line.versus for line in summary.lines):
        best = result.rules and result.against is None
        rival = "the best rule of each group" if best else shortened(summary.rival, 30)
        title = f"Against {rival}, %; * the 95 % interval excludes 0"
        shown += _pivot(result, summary, title, _starred, [ALL_INSTANCES])
    title = "Seconds of an episode by group"
    return shown + _pivot(result, summary, title, _seconds, [ALL_INSTANCES])


def _pivot(
    result: EvaluationResult,
    summary: Summary,
    title: str,
    cell: Callable[[Line], str],
    means: Sequence[str],
) -> list[RenderableType]:
    """Return a table of agents by groups, cut into several where it is too wide."""
    lines = [line for line in summary.lines if line.group == ALL_INSTANCES]
    order = [line.agent for line in _sorted(result, lines)]
    columns = []
    for group in [*summary.groups, *means]:
        texts = [cell(summary.line(agent, group)) for agent in order]
        columns.append(Column(heading_of(group), texts))
    return cut(title, "agent", [shortened(name) for name in order], columns)


# --- Several levels --------------------------------------------------------------------------


def _by_level(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    last = [
        line
        for line in summary.lines
        if line.group == ALL_GROUPS and line.level == summary.levels[-1]
    ]
    order = [line.agent for line in _sorted(result, last)]
    by_mean = {
        group: [
            Column(
                _at(result, level),
                [result.measure.text(summary.line(name, group, level).objective) for name in order],
            )
            for level in _asked(summary)
        ]
        for group in (ALL_GROUPS, ALL_INSTANCES)
    }
    shown: list[RenderableType] = [Text(f"Mean {_title(result)}", style="bold")]
    words = f"{ALL_GROUPS}, by {_level(result).words} {_level(result).symbol}"
    if by_mean[ALL_GROUPS] == by_mean[ALL_INSTANCES]:
        words = f"{ALL_INSTANCES} and {words}" if len(summary.groups) > 1 else words
        del by_mean[ALL_INSTANCES]
    names = [shortened(name) for name in order]
    shown += cut(_capitalised(words), "agent", names, by_mean[ALL_GROUPS])
    if ALL_INSTANCES in by_mean:
        shown += cut(_capitalised(ALL_INSTANCES), "agent", names, by_mean[ALL_INSTANCES])
    if result.rules and len(summary.groups) > 1:
        shown += _best_rules(result, summary)
    return shown + _against_rules(result, summary)


def _best_rules(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    columns = []
    number = result.measure.text
    for level in _asked(summary):
        best = [summary.best_rule(result.rules, group, level) for group in summary.groups]
        texts = ["-" if x is None else f"{number(x.objective)} {x.agent}" for x in best]
        columns.append(Column(_at(result, level), texts))
    title = f"Mean {result.measure.words} of the best rule by group"
    return cut(title, "group", list(summary.groups), columns)


def _against_rules(result: EvaluationResult, summary: Summary) -> list[RenderableType]:
    """Return one table with a line for each agent that is no rule and each level."""
    others = [name for name in summary.agents if name not in result.rules]
    asked = _asked(summary)
    lines = [summary.line(agent, ALL_INSTANCES, level) for agent in others for level in asked]
    if not lines:
        return []
    columns = [
        Column(_level(result).symbol, [f"{line.level:g}" for line in lines]),
        Column("mean", [result.measure.text(line.objective) for line in lines]),
        Column("gap %", [_percent(line.gap) for line in lines]),
        Column("% vs best [95 %]", [_difference(line) for line in lines]),
        Column("rule", [shortened(line.versus or "", 8) for line in lines]),
        *cost_columns(lines),
    ]
    title = f"Against the best rule at each {_level(result).symbol}, mean over instances"
    return cut(title, "agent", [shortened(line.agent, 16) for line in lines], columns)


def _asked(summary: Summary) -> list[float]:
    return [level for level in summary.levels if level is not None]


def _level(result: EvaluationResult) -> Level:
    """Return what the levels of an evaluation at several levels are."""
    assert result.problem.level is not None
    return result.problem.level


def _at(result: EvaluationResult, level: float) -> str:
    return f"{_level(result).symbol}={level:g}"


# --- Pieces ----------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of texts below a heading."""

    heading: str
    texts: list[str]

    @property
    def width(self) -> int:
        """Characters of the widest line."""
        return max(map(len, [*self.heading.split("\n"), *self.texts]))


def cost_columns(lines: Sequence[Line | MeanLine]) -> list[Column]:
    """Return what agents cost, decision times and schedules, one text a line."""
    return [
        Column("ms p50", [milliseconds(line.decision_ms_p50) for line in lines]),
        Column("p99", [milliseconds(line.decision_ms_p99) for line in lines]),
        Column("valid", [_count(line) for line in lines]),
    ]


def cut(
    title: str, label: str, names: Sequence[str], columns: Sequence[Column]
) -> list[RenderableType]:
    """Return tables of at most 80 columns of text that together hold all columns."""
    left = max(map(len, [label, *names]))
    whole = left + sum(column.width + 2 for column in columns) <= WIDTH
    gap = 2 if whole else 1
    parts: list[list[Column]] = [[]]
    used = left
    for column in columns:
        if parts[-1] and used + gap + column.width > WIDTH:
            parts.append([])
            used = left
        parts[-1].append(column)
        used += gap + column.width
    return [_table(title, label, names, part, gap) for part in parts]


def _table(
    title: str, label: str, names: Sequence[str], columns: Sequence[Column], gap: int
) -> RenderableType:
    # The box puts one blank between columns.
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(label, no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for index, name in enumerate(names):
        table.add_row(name, *[column.texts[index] for column in columns])
    return Group(Text(title, style="bold"), table)


def _title(result: EvaluationResult) -> str:
    seeds = len({row.seed for row in result.rows})
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in result.rows))
    instances = len({(row.scenario, row.instance) for row in result.rows})
    episodes = f"{instances} instance{'s' * (instances != 1)}"
    if instances < len({(row.scenario, row.instance, row.seed) for row in result.rows}):
        episodes = f"{instances} instance{'s' * (instances != 1)} x {seeds} seeds"
    return f"{result.measure.words}, {result.label}, {scenarios}: {episodes}"


def _footnote(result: EvaluationResult) -> str:
    counts = reference_counts(result.rows)
    more, words = result.measure.more_is_better, result.measure.words
    side = "an upper" if more else "a lower"
    kinds = [f"{REFERENCE_NAMES[k].format(side)} ({count} rows)" for k, count in counts.items()]
    gap = f"1 - {words} / reference" if more else f"{words} / reference - 1"
    text = f"gap = {gap}; reference: {', '.join(kinds)}."
    unfinished = sum(not row.valid for row in result.rows)
    if unfinished:
        text += f" Without a complete schedule, and left out of the means: {unfinished} rows."
    if not result.complete:
        text += " Stopped early: these are the instances finished so far."
    return text


def heading_of(group: str) -> str:
    """Break a heading into two lines: family and size, or words of an overall mean."""
    if group == ALL_INSTANCES:
        return "mean\ninst."
    if group == ALL_GROUPS:
        return "mean\ngroups"
    return "\n".join(group.rsplit(" ", 1))


def _sorted(result: EvaluationResult, lines: Iterable[Line]) -> list[Line]:
    """Return lines by mean objective, the best first, those without one last."""
    cost = result.measure.cost
    return sorted(lines, key=lambda line: (math.isnan(line.objective), cost(line.objective)))


def shortened(name: str, width: int = AGENT_WIDTH) -> str:
    """Return the name of an agent, or its end where it is long."""
    return name if len(name) <= width else f"..{name[-(width - 2) :]}"


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]


def detail_text(line: Line | MeanLine, column: ExtraColumn) -> str:
    """Return a further number of a line."""
    value = line.details.get(column.key, math.nan)
    return "-" if math.isnan(value) else f"{value:.{column.decimals}f}"


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


def _seconds(line: Line) -> str:
    value = line.details["seconds"]
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def milliseconds(value: float) -> str:
    """Return a time; a dash for none."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _count(line: Line | MeanLine) -> str:
    return str(line.valid) if line.valid == line.rows else f"{line.valid}/{line.rows}"
