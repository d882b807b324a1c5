"""The learning curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PHASES = {"imitation": "#4477aa", "ppo": "#ee6677", "sac": "#228833", "evolution": "#ccbb44"}
WORDS = {"ppo": "PPO", "sac": "SAC"}


def learning_curve(history: Sequence[Mapping[str, Any]], words: str) -> Figure:
    """Mean objective on held-out instances against training time, with the best rule as a line.

    Args:
        history: records with `phase`, `seconds`, `objective` and `best_rule`, oldest first.
        words: what the objective is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    minutes = [record["seconds"] / 60.0 for record in history]
    scores = [record["objective"] for record in history]
    axes.plot(minutes, scores, color="0.6", linewidth=1, zorder=1)
    for phase, colour in PHASES.items():
        # The closing evaluation is of the last phase's policy.
        chosen = [index for index, record in enumerate(history) if record["phase"] == phase]
        if chosen:
            axes.scatter(
                [minutes[index] for index in chosen],
                [scores[index] for index in chosen],
                color=colour,
                s=22,
                zorder=2,
                label=WORDS.get(phase, phase),
            )
    axes.axhline(history[-1]["best_rule"], color="black", linestyle="--", label="best rule")
    axes.set_xlabel("training time (minutes)")
    axes.set_ylabel(f"mean {words}, held-out instances")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.legend(frameon=False)
    return figure


def draw_learning_curve(history: Sequence[Mapping[str, Any]], words: str, path: Path) -> Path:
    """Write the learning curve as PNG, whole or not at all; return the path."""
    return _write(learning_curve(history, words), path)


def _write(figure: Figure, path: Path) -> Path:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150)
    write_whole(path, picture.getvalue())
    return path


def comparison(
    runs: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], words: str
) -> Figure:
    """Mean objective on held-out instances against decisions: a line for each agent.

    A line is the median of the agent's runs, which differ by their seeds; its band goes from the
    best to the worst of them. What they begin with, untrained, may lie far outside the picture.

    Args:
        runs: configuration and history of each run.
        words: what the objective is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    learned = [runs[0][1][-1]["best_rule"]]
    for agent in sorted({config["agent"]["name"] for config, _ in runs}):
        chosen = [history for config, history in runs if config["agent"]["name"] == agent]
        steps, scores = common_grid(chosen)
        label = f"{WORDS.get(agent, agent)}, {len(chosen)} seeds"
        learned.extend(scores[:, 1:].ravel())
        axes.plot(steps, np.median(scores, axis=0), color=PHASES.get(agent), label=label)
        axes.fill_between(
            steps, scores.min(axis=0), scores.max(axis=0), color=PHASES.get(agent), alpha=0.2
        )
    axes.axhline(learned[0], color="black", linestyle="--", label="best rule")
    margin = 0.05 * (max(learned) - min(learned))
    axes.set_ylim(min(learned) - margin, max(learned) + margin)
    axes.set_xlabel("decisions of all environments together")
    axes.set_ylabel(f"mean {words}, held-out instances")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.legend(frameon=False)
    return figure


def common_grid(
    histories: Sequence[Sequence[Mapping[str, Any]]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return decisions (N,) and scores (runs, N), between evaluations by a straight line."""
    steps = np.array([record["decisions"] for record in histories[0]], np.float64)
    scores = [
        np.interp(
            steps,
            [record["decisions"] for record in history],
            [record["objective"] for record in history],
        )
        for history in histories
    ]
    return steps, np.array(scores)


def draw_comparison(
    runs: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], words: str, path: Path
) -> Path:
    """Write the curves of several runs as PNG, whole or not at all; return the path."""
    return _write(comparison(runs, words), path)
