"""Pictures of an evaluation: gaps with intervals, and the schedule of the best agent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatchgym.agents.front_pictures import front_figure
from dispatchgym.agents.problems.base import VectorMeasure
from dispatchgym.agents.statistics import mean_interval
from dispatchgym.agents.summary import ALL_INSTANCES
from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult

__all__ = ["comparison_figure", "draw"]

RULE_COLOUR, AGENT_COLOUR = "#9aa5b1", "#1f6fb4"


def draw(result: EvaluationResult, folder: Path) -> list[Path]:
    """Draw a comparison of all agents, one schedule, and how schedules progress into a folder.

    Of several objectives the comparison shows the fronts of the agents.

    Args:
        result: an evaluation with at least one row.
        folder: where the pictures go; made when missing.

    Returns:
        The files written: ``agents.png``; where an episode was finished ``schedule.png``; and of
        problems that draw it ``progress.png``.

    Raises:
        DispatchGymError: a file cannot be written.
    """
    from matplotlib import pyplot

    several = isinstance(result.measure, VectorMeasure)
    figure = front_figure(result) if several else comparison_figure(result)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    pyplot.close(figure)
    written = [folder / "agents.png"]
    write_whole(written[0], picture.getvalue())
    if result.sample is not None:
        written.append(folder / "schedule.png")
        _draw_schedule(result, written[1])
    if result.plans:
        written.append(folder / "progress.png")
        _draw_progress(result, written[-1])
    return written


def comparison_figure(result: EvaluationResult) -> Any:
    """Return a figure that compares the agents, with 95 % bootstrap intervals.

    One level: bars of the mean gap, best agent on top. Several: lines of the paired difference to
    the best rule at each level.
    """
    from matplotlib import pyplot

    agents = _agents_by_gap(result)
    several = len(result.levels) > 1
    height = 4.2 if several else 0.9 + 0.27 * len(agents)
    figure, axes = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    if several:
        _draw_lines(axes, result, agents)
    else:
        _draw_bars(axes, result, agents)
    axes.spines[["top", "right"]].set_visible(False)
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in result.rows))
    axes.set_title(f"{result.problem.name}, {result.label}, {scenarios}", fontsize=10, loc="left")
    return figure


def _agents_by_gap(result: EvaluationResult) -> list[str]:
    """Return the agents with a gap to show, the smallest mean first."""
    gaps: dict[str, list[float]] = {}
    for row in result.rows:
        if np.isfinite(row.gap):
            gaps.setdefault(row.agent, []).append(row.gap)
    return sorted(gaps, key=lambda agent: float(np.mean(gaps[agent])))


def _gaps(result: EvaluationResult, agent: str) -> list[float]:
    """Return the gap of each instance in percent, the mean over its seeds."""
    units: dict[tuple[str, str], list[float]] = {}
    for row in result.rows:
        if row.agent == agent and np.isfinite(row.gap):
            units.setdefault((row.scenario, row.instance), []).append(100.0 * row.gap)
    return [float(np.mean(found)) for found in units.values()]


def _draw_bars(axes: Any, result: EvaluationResult, agents: list[str]) -> None:
    for place, agent in enumerate(agents):
        gaps = _gaps(result, agent)
        mean, (low, high) = float(np.mean(gaps)), mean_interval(gaps)
        colour = RULE_COLOUR if agent in result.rules else AGENT_COLOUR
        axes.barh(place, mean, color=colour, height=0.7)
        edge = mean
        if np.isfinite(low):
            axes.plot([low, high], [place, place], color="black", linewidth=1)
            edge = max(high, mean)
        style = {"textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(f"{mean:.1f}", (edge, place), (4, 0), **style)
    axes.set_yticks(range(len(agents)), agents, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    kinds = {row.reference_kind for row in result.rows}
    known = f"best known {result.measure.words}"
    words = known if kinds <= {"optimum", "best_known"} else "reference"
    axes.set_xlabel(f"mean gap to the {words}, %")


def _draw_lines(axes: Any, result: EvaluationResult, agents: list[str]) -> None:
    levels = [level for level in result.levels if level is not None]
    summary = result.summary()
    for agent in agents:
        lines = [summary.line(agent, ALL_INSTANCES, level) for level in levels]
        # The best rule itself has no difference: it is the zero line.
        values = 100 * np.array(
            [(0.0, 0.0, 0.0) if x.versus is None else (x.difference, x.low, x.high) for x in lines]
        )
        if agent in result.rules:
            axes.plot(levels, values[:, 0], color=RULE_COLOUR, linewidth=0.8)
            continue
        (drawn,) = axes.plot(levels, values[:, 0], marker="o", markersize=4, label=agent)
        band = {"color": drawn.get_color(), "alpha": 0.2, "linewidth": 0}
        axes.fill_between(levels, values[:, 1], values[:, 2], **band)
    if result.rules:
        axes.plot([], [], color=RULE_COLOUR, linewidth=0.8, label="rules")
    axes.set_ylabel(f"{result.measure.words} against {summary.rival}, %")
    if result.problem.level is not None:
        axes.set_xlabel(result.problem.level.words)
    axes.set_xticks(levels)
    axes.legend(fontsize=8, frameon=False)


def _draw_schedule(result: EvaluationResult, path: Path) -> None:
    from matplotlib import pyplot

    sample = result.sample
    assert sample is not None
    title = f"{sample.instance.name}, {result.label}, seed {sample.seed}: {sample.agent}"
    figure = result.problem.draw(sample.instance, sample.episode.schedule, path, title)
    pyplot.close(figure)


def _draw_progress(result: EvaluationResult, path: Path) -> None:
    from matplotlib import pyplot

    instances = [instance for instance, _ in next(iter(result.plans.values()))]
    schedules = {name: [plan for _, plan in plans] for name, plans in result.plans.items()}
    pyplot.close(result.problem.draw_progress(instances, schedules, path))
