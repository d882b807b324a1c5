"""Pictures of a run of tasks with deadlines: timelines of edge, hold and cloud, and plain text.

Every function takes the schedule of a finished or of a running episode. Nothing of matplotlib is
loaded before a picture is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ansi", "frame", "timelines"]

Schedule = Mapping[str, Any]

SHOWN_MS = 6000
"""A picture shows so much of the run, the last of it."""
DOTS_PER_INCH = 100
COLOURS = ("#2f6db3", "#5fa777", "#f4a259", "#8d6cab", "#8d99ae", "#c1121f")
LATE_COLOUR = "#3b3b3b"
HELD_FROM, HELD_UNTIL, PLACE, START, END, OUTCOME = 3, 4, 6, 7, 8, 9
TIMES = [0, 2, 3, 4, 5, 7, 8]
"""Columns of a schedule's rows."""
PICTURE_SUFFIXES = (".png", ".pdf", ".svg")


def _rows(instance: DeadlineInstance, schedule: Schedule) -> npt.NDArray[np.int64]:
    """Return the rows of a schedule.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    rows = np.asarray(schedule.get("tasks"))
    if rows.ndim != 2 or rows.shape[1] != 11 or len(rows) > instance.num_tasks:
        raise ParameterError(
            f"schedule['tasks']: found shape {rows.shape}, "
            f"expected (n, 11) with n <= {instance.num_tasks}"
        )
    return rows


def ansi(instance: DeadlineInstance, schedule: Schedule) -> str:
    """Return a run as text of at most 80 columns: what became of the tasks of each model.

    Args:
        instance: the run.
        schedule: its schedule, finished or not.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    rows = _rows(instance, schedule)
    now = _latest(rows)
    model = instance.model[: len(rows)]
    state = f"{now / 1000:.1f} s, {len(rows)} of {instance.num_tasks} tasks"
    lines = [f"{instance.name[:40]}: {state}"]
    lines.append("model               edge  cloud   late  dropped  expired  open")
    for m, name in enumerate(instance.models):
        mine = rows[model == m]
        done = mine[:, OUTCOME] == 0
        counts = [int((done & (mine[:, PLACE] == place)).sum()) for place in (1, 0)]
        counts += [int((mine[:, OUTCOME] == outcome).sum()) for outcome in (1, 2, 3, -1)]
        edge, cloud, late, dropped, expired, open_ = counts
        lines.append(
            f"{name[:18]:18s}{edge:6d} {cloud:6d} {late:6d} {dropped:8d} {expired:8d} {open_:5d}"
        )
    utility, bonus = (float(value) for value in schedule["objective"])
    lines.append(f"utility {utility:g}, bonus {bonus:g}")
    return "\n".join(lines)


def timelines(
    instance: DeadlineInstance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
    shown_ms: int = SHOWN_MS,
) -> Figure:
    """Draw what edge and cloud did and which tasks were on hold, in the last seconds.

    Args:
        instance: the run.
        schedule: its schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.
        shown_ms: how much is shown, > 0.

    Raises:
        ParameterError: the schedule is not one of this instance, or the path has another ending.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    if path is not None:
        _check_path(path)
    figure = _draw(instance, schedule, title, shown_ms)
    if path is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=Path(path).suffix[1:])
        write_whole(path, buffer.getvalue())
    return figure


def frame(instance: DeadlineInstance, schedule: Schedule) -> npt.NDArray[np.uint8]:
    """Return the timelines as pixels, uint8 (H, W, 3)."""
    canvas: Any = _draw(instance, schedule, None, SHOWN_MS).canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _check_path(path: str | Path) -> None:
    if Path(path).suffix not in PICTURE_SUFFIXES:
        raise ParameterError(
            f"path: found {str(path)!r}, expected an ending of {', '.join(PICTURE_SUFFIXES)}"
        )


def _latest(rows: npt.NDArray[np.int64]) -> int:
    """Return the last instant that a schedule tells of."""
    return max(int(rows[:, TIMES].max(initial=0)), 1)


def _draw(
    instance: DeadlineInstance, schedule: Schedule, title: str | None, shown_ms: int
) -> Figure:
    """Draw the timelines."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"matplotlib cannot be imported ({error}); it comes with the extra `agents`: "
            'pip install "dispatchgym[agents]"'
        ) from None
    rows = _rows(instance, schedule)
    now = _latest(rows)
    figure = Figure(figsize=(9.0, 5.0), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    edge, held, cloud = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 3))
    begin = max(0, now - shown_ms)
    where = (rows[:, PLACE] == 1, rows[:, HELD_FROM] >= 0, rows[:, PLACE] == 0)
    spans = ((START, END), (HELD_FROM, HELD_UNTIL), (START, END))
    for axes, chosen, (first, last) in zip((edge, held, cloud), where, spans, strict=True):
        numbers = np.flatnonzero(chosen & ((rows[:, last] < 0) | (rows[:, last] > begin)))
        _bars(axes, instance, rows, numbers, first, last, now)
    for axes, name in zip((edge, held, cloud), ("edge", "on hold", "cloud"), strict=True):
        axes.set_ylabel(name)
        axes.set_yticks([])
    cloud.set_xlim(begin / 1000, max(now, begin + 1) / 1000)
    cloud.set_xlabel("seconds")
    _legend(figure, instance)
    utility, bonus = (float(value) for value in schedule["objective"])
    words = instance.name if title is None else title
    edge.set_title(f"{words}   utility {utility:g}   bonus {bonus:g}", fontsize=10)
    return figure


def _bars(
    axes: Axes,
    instance: DeadlineInstance,
    rows: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.intp],
    first: int,
    last: int,
    now: int,
) -> None:
    """Draw one bar a task, in as few lines as they need."""
    free: list[int] = []
    for number in numbers[np.argsort(rows[numbers, first], kind="stable")].tolist():
        begin = int(rows[number, first])
        end = int(rows[number, last]) if rows[number, last] >= 0 else now
        line = next((i for i, until in enumerate(free) if until <= begin), len(free))
        free[line : line + 1] = [end]
        colour = COLOURS[instance.kind[instance.model[number]]]
        edge = LATE_COLOUR if rows[number, OUTCOME] > 0 else "white"
        axes.broken_barh(
            [(begin / 1000, (end - begin) / 1000)],
            (line, 0.9),
            facecolor=colour,
            edgecolor=edge,
            linewidth=0.8,
        )


def _legend(figure: Figure, instance: DeadlineInstance) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(color=COLOURS[kind], label=name)
        for name, kind in zip(instance.models, instance.kind.tolist(), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8)
