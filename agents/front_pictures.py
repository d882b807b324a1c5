"""Pictures of an evaluation with several objectives: the fronts of the agents, and bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.fronts import Box, FrontSummary
from dispatchgym.agents.pareto import non_dominated

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult

__all__ = ["front_figure"]

COLUMNS = 3
"""Groups beside each other."""
COLOURS = ("#1f6fb4", "#d1495b", "#3a9d5d", "#edae49", "#7a5195", "#00798c", "#8d6a4f", "#555b6e")
BOUND_COLOUR = "#9aa5b1"
MARGIN = 0.04


def front_figure(result: EvaluationResult) -> Any:
    """Return a figure of the mean objectives of every agent, one chart for each group.

    Points are the preferences, lines join those that no other point of the agent dominates. The
    shaded sides hold what no agent can reach: less than the ideal of one objective. The chart ends
    at the reference point of the hypervolume.
    """
    from matplotlib import pyplot

    summary = result.fronts()
    columns = min(len(summary.groups), COLUMNS)
    rows = -(-len(summary.groups) // columns)
    size = (6.4 if columns == 1 else 4.2 * columns, 4.4 if rows == 1 else 3.6 * rows)
    figure, charts = pyplot.subplots(rows, columns, figsize=size, squeeze=False)
    figure.set_layout_engine("constrained")
    for chart in charts.flat[len(summary.groups) :]:
        chart.set_visible(False)
    for chart, group in zip(charts.flat, summary.groups, strict=False):
        _draw_group(chart, result, summary, group)
    charts[0, 0].legend(fontsize=7, frameon=False)
    return figure


def _draw_group(chart: Any, result: EvaluationResult, summary: FrontSummary, group: str) -> None:
    box = summary.boxes.get(group)
    if box is not None:
        _draw_box(chart, box)
    for number, agent in enumerate(summary.agents):
        points = np.unique(summary.points(agent, group), axis=0)
        points = points[np.isfinite(points).all(axis=1)]
        _draw_front(chart, result, agent, points, COLOURS[number % len(COLOURS)])
    first, second = result.measure.parts
    chart.set_xlabel(first.words)
    chart.set_ylabel(second.words)
    chart.set_title(f"{group}, {result.label}", fontsize=9, loc="left")
    chart.spines[["top", "right"]].set_visible(False)


def _draw_box(chart: Any, box: Box) -> None:
    """Shade what nobody can reach; end the chart at the reference point."""
    ideal, reference = np.array(box.ideal), np.array(box.reference)
    edges = ideal - MARGIN * (reference - ideal)
    for draw, k in ((chart.axvspan, 0), (chart.axhspan, 1)):
        draw(*sorted((edges[k], ideal[k])), color=BOUND_COLOUR, alpha=0.35, linewidth=0)
    chart.set_xlim(*sorted((edges[0], reference[0])))
    chart.set_ylim(*sorted((edges[1], reference[1])))


def _draw_front(
    chart: Any, result: EvaluationResult, agent: str, points: NDArray[np.float64], colour: str
) -> None:
    kept = non_dominated(result.measure.costs(points)) if len(points) else np.zeros(0, np.bool_)
    front, others = points[kept], points[~kept]
    chart.plot(*front.T, color=colour, marker="o", markersize=3.5, linewidth=1, label=agent)
    chart.plot(*others.T, color=colour, marker="o", markersize=2, linewidth=0, alpha=0.4)
