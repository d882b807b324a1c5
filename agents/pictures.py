"""Pictures of an evaluation: gaps with intervals, and the schedule of the best agent."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dispatchgym.agents.statistics import mean_interval
from dispatchgym.agents.summary import ALL_INSTANCES
from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult

__all__ = ["draw", "gap_figure"]

RULE_COLOUR, AGENT_COLOUR = "#9aa5b1", "#1f6fb4"


def draw(result: EvaluationResult, folder: Path) -> list[Path]:
    """Draw the gaps of all agents and one Gantt chart into a folder.

    Args:
        result: an evaluation with at least one row.
        folder: where the pictures go; made when missing.

    Returns:
        The files written: ``gaps.png`` and, where an episode was finished, ``schedule.png``.

    Raises:
        DispatchGymError: a file cannot be written.
    """
    from matplotlib import pyplot

    figure = gap_figure(result)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    pyplot.close(figure)
    written = [folder / "gaps.png"]
    write_whole(written[0], picture.getvalue())
    if result.sample is not None:
        written.append(folder / "schedule.png")
        _draw_schedule(result, written[1])
    return written


def gap_figure(result: EvaluationResult) -> Any:
    """Return a figure of the mean gap of each agent with its 95 % bootstrap interval.

    One shutdown probability: bars, best agent on top. Several: lines over the probability.
    """
    from matplotlib import pyplot

    agents = _agents_by_gap(result)
    several = len(result.probabilities) > 1
    height = 4.2 if several else 0.9 + 0.27 * len(agents)
    figure, axes = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    if several:
        _draw_lines(axes, result, agents)
    else:
        _draw_bars(axes, result, agents)
    kinds = {row.reference_kind for row in result.rows}
    words = "best known makespan" if kinds <= {"optimum", "best_known"} else "reference"
    label = f"mean gap to the {words}, %"
    (axes.set_ylabel if several else axes.set_xlabel)(label)
    axes.spines[["top", "right"]].set_visible(False)
    scenarios = ", ".join(dict.fromkeys(row.scenario for row in result.rows))
    axes.set_title(f"{result.problem.name}, {result.mode}, {scenarios}", fontsize=10, loc="left")
    return figure


def _agents_by_gap(result: EvaluationResult) -> list[str]:
    """Return the agents with a valid schedule, the smallest mean gap first."""
    gaps: dict[str, list[float]] = {}
    for row in result.rows:
        if row.valid:
            gaps.setdefault(row.agent, []).append(row.gap)
    return sorted(gaps, key=lambda agent: float(np.mean(gaps[agent])))


def _gaps(result: EvaluationResult, agent: str, probability: float | None) -> list[float]:
    """Return the gap of each instance in percent, the mean over its seeds."""
    units: dict[tuple[str, str], list[float]] = {}
    for row in result.rows:
        asked = probability is None or row.probability == probability
        if row.agent == agent and row.valid and asked:
            units.setdefault((row.scenario, row.instance), []).append(100.0 * row.gap)
    return [float(np.mean(found)) for found in units.values()]


def _draw_bars(axes: Any, result: EvaluationResult, agents: list[str]) -> None:
    for place, agent in enumerate(agents):
        gaps = _gaps(result, agent, None)
        mean, (low, high) = float(np.mean(gaps)), mean_interval(gaps)
        colour = RULE_COLOUR if agent in result.rules else AGENT_COLOUR
        axes.barh(place, mean, color=colour, height=0.7)
        edge = mean
        if np.isfinite(low):
            axes.plot([low, high], [place, place], color="black", linewidth=1)
            edge = max(high, mean)
        axes.annotate(
            f"{mean:.1f}",
            (edge, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(agents)), agents, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)


def _draw_lines(axes: Any, result: EvaluationResult, agents: list[str]) -> None:
    probabilities = [q for q in result.probabilities if q is not None]
    summary = result.summary()
    best = summary.best_rule(result.rules, ALL_INSTANCES, probabilities[-1])
    for agent in agents:
        rows = [_gaps(result, agent, q) for q in probabilities]
        means = [float(np.mean(gaps)) if gaps else float("nan") for gaps in rows]
        if agent in result.rules and (best is None or agent != best.agent):
            axes.plot(probabilities, means, color=RULE_COLOUR, linewidth=0.8)
            continue
        ends = np.array([mean_interval(gaps) for gaps in rows if gaps])
        colour = "black" if agent in result.rules else None
        (line,) = axes.plot(probabilities, means, marker="o", label=agent, color=colour)
        if len(ends) == len(means):
            axes.fill_between(
                probabilities, ends[:, 0], ends[:, 1], color=line.get_color(), alpha=0.15
            )
    axes.plot([], [], color=RULE_COLOUR, linewidth=0.8, label="other rules")
    axes.set_xlabel("shutdown probability")
    axes.legend(fontsize=8, frameon=False)


def _draw_schedule(result: EvaluationResult, path: Path) -> None:
    from matplotlib import pyplot

    from dispatchgym.envs.job_shop.render import gantt

    sample = result.sample
    if sample is None:
        return
    title = f"{sample.instance.name}, {result.mode}, seed {sample.seed}: {sample.agent}"
    figure = gantt(sample.instance, sample.episode.schedule, path, title=title)
    pyplot.close(figure)
