"""The learning curve as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    picture = io.BytesIO()
    learning_curve(history, words).savefig(picture, format="png", dpi=150)
    write_whole(path, picture.getvalue())
    return path
