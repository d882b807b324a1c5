"""Learning curves: of one run, and of several beside each other, as a picture and a table."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.tables import Column, as_text, cut
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


Run = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""Configuration and history of a run."""


def alike(runs: Sequence[Run]) -> dict[str, list[Sequence[Mapping[str, Any]]]]:
    """Return the histories of runs that differ by their seed alone, by what sets them apart.

    That is the agent, and settings of other values; other agents' settings mean other things.
    """
    settings = [dict(_flat(config)) for config, _ in runs]
    shared = set.intersection(*map(set, settings)) - {"seed", "experiment_name", "begin_with"}
    several = len({setting["agent.name"] for setting in settings}) > 1
    differ = [
        key
        for key in sorted(shared)
        if len({str(setting[key]) for setting in settings}) > 1
        and not (several and key.startswith("agent."))
    ]
    pairs = list(zip(settings, runs, strict=True))
    for key in reversed(["agent.name", *differ]):  # numbers in the order of their size
        pairs.sort(key=lambda pair: _place(pair[0][key]))
    found: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    for setting, (_, history) in pairs:
        name = setting["agent.name"]
        parts = [f"{key.rpartition('.')[2]} {setting[key]}" for key in differ]
        if several or not parts:
            parts.insert(0, WORDS.get(name, name))
        found.setdefault(", ".join(parts), []).append(history)
    return found


def _place(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return not number, value if number else 0.0, str(value)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def comparison(runs: Sequence[Run], words: str) -> Figure:
    """Mean objective on held-out instances against decisions: a line for each kind of run.

    A line is the median of runs that differ by their seeds; its band goes from the best to the
    worst of them. What they begin with, untrained, may lie far outside the picture.

    Args:
        runs: configuration and history of each run.
        words: what the objective is.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    learned = [runs[0][1][-1]["best_rule"]]
    for label, chosen in alike(runs).items():
        steps, scores = common_grid(chosen)
        learned.extend(scores[:, 1:].ravel())
        label = f"{label}, {len(chosen)} seed{'s' * (len(chosen) != 1)}"
        axes.plot(steps, np.median(scores, axis=0), label=label)
        axes.fill_between(steps, scores.min(axis=0), scores.max(axis=0), alpha=0.2)
    axes.axhline(learned[0], color="black", linestyle="--", label="best rule")
    margin = 0.05 * (max(learned) - min(learned))
    axes.set_ylim(min(learned) - margin, max(learned) + margin)
    axes.set_xlabel("decisions of all environments together")
    axes.set_ylabel(f"mean {words}, held-out instances")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    figure.legend(frameon=False, loc="outside lower center", ncols=2, fontsize="small")
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


def comparison_table(runs: Sequence[Run], words: str) -> str:
    """Return a table of what the runs ended with, a line for each kind of run.

    Args:
        runs: configuration and history of each run.
        words: what the objective is.
    """
    columns: dict[str, list[str]] = {"seeds": [], "decisions": [], "last": [], "range": []}
    columns["vs rule %"] = []
    kinds = list(alike(runs).items())
    for _, chosen in kinds:
        last = [history[-1] for history in chosen]
        scores = [record["objective"] for record in last]
        columns["seeds"].append(str(len(chosen)))
        columns["decisions"].append(f"{np.mean([record['decisions'] for record in last]):,.0f}")
        columns["last"].append(f"{np.mean(scores):.5g}")
        columns["range"].append(f"{min(scores):.5g}-{max(scores):.5g}")
        columns["vs rule %"].append(f"{100 * np.mean([r['vs_best_rule'] for r in last]):+.1f}")
    title = f"Mean {words} on held-out instances at the end of training"
    shown = [Column(heading, texts) for heading, texts in columns.items()]
    return as_text(cut(title, "run", [label for label, _ in kinds], shown))


def draw_comparison(runs: Sequence[Run], words: str, path: Path) -> Path:
    """Write the curves of several runs as PNG, whole or not at all; return the path."""
    return _write(comparison(runs, words), path)
