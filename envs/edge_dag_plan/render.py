"""Pictures of a plan: what device, uplink and servers do when, the graph, and plain text.

Every function takes the schedule of a finished or of a running episode, the dictionary of arrays
that ``info["schedule"]`` holds at the end of an episode. Only ``order``, ``place`` and ``times``
are needed. Nothing of matplotlib is loaded before a picture is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.edge_dag_plan.instance import Instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ansi", "frame", "picture"]

Schedule = Mapping[str, Any]
Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 120
NUM_TIMES = 7
MOST_LINES = 40
"""Tasks that the text lists at most."""
DEVICE_COLOUR, LINK_COLOUR, UNDECIDED_COLOUR = "#f4a259", "#8d99ae", "#ffffff"
SERVER_COLOURS = ("#2f6db3", "#5fa777", "#8e5ea2", "#c1666b", "#48a9a6", "#4a4e69")


@dataclass(frozen=True)
class _Bar:
    """What a task does on a resource."""

    resource: str
    task: int
    start: float
    end: float
    colour: str


def _read(
    instance: Instance, schedule: Schedule
) -> tuple[list[int], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the decided tasks in their order, places (n,) and times (n, 7).

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    tasks = instance.num_tasks
    order, place = (np.asarray(schedule.get(name)) for name in ("order", "place"))
    times = np.asarray(schedule.get("times"))
    fits = order.ndim == place.ndim == 1 and min(len(order), len(place)) >= tasks
    if not fits or times.ndim != 2 or times.shape[1] != NUM_TIMES or len(times) < tasks:
        raise ParameterError(
            f"schedule: found order {order.shape}, place {place.shape} and times {times.shape}, "
            f"expected ({tasks},), ({tasks},) and ({tasks}, {NUM_TIMES}) or longer"
        )
    place = place[:tasks].astype(np.int64)
    if place.max() > instance.num_servers or not np.isin(order[:tasks], np.arange(tasks)).all():
        raise ParameterError("schedule: tasks or servers are not the instance's")
    return [task for task in order[:tasks].tolist() if place[task] >= 0], place, times[:tasks]


def _server_colour(place: int) -> str:
    return SERVER_COLOURS[(place - 1) % len(SERVER_COLOURS)]


def _place_colour(place: int) -> str:
    if place < 0:
        return UNDECIDED_COLOUR
    return DEVICE_COLOUR if place == 0 else _server_colour(place)


def _bars(instance: Instance, schedule: Schedule) -> list[_Bar]:
    """Return what every resource does, downloads included."""
    order, places, times = _read(instance, schedule)
    bars = []
    for task in order:
        local_start, local_end, up, sent, start, end, back = times[task].tolist()
        place = int(places[task])
        if place == 0:
            bars.append(_Bar("device", task, local_start, local_end, DEVICE_COLOUR))
            continue
        colour = _server_colour(place)
        bars.append(_Bar("uplink", task, up, sent, LINK_COLOUR))
        bars.append(_Bar(f"server {place - 1}", task, start, end, colour))
        bars.append(_Bar("downlink", task, end, back, LINK_COLOUR))
    return bars


def _rows(instance: Instance) -> list[str]:
    servers = [f"server {k}" for k in range(instance.num_servers)]
    return ["device", "uplink", *servers, "downlink"]


def _levels(instance: Instance) -> npt.NDArray[np.int64]:
    """Return the longest way from a task without parents to each task, (n,)."""
    level = np.zeros(instance.num_tasks, np.int64)
    for task in instance.index_order.tolist():
        parents = instance.parents(task)
        if parents.size:
            level[task] = level[parents].max() + 1
    return level


# ---------------------------------------------------------------- text


def ansi(instance: Instance, schedule: Schedule) -> str:
    """Return the plan as text: a line for each decided task, 80 columns at most.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    order, places, times = _read(instance, schedule)
    lines = [
        f"{instance.name[:40]}: {len(order)} of {instance.num_tasks} tasks, "
        f"{instance.num_servers} server{'s' if instance.num_servers > 1 else ''}"
    ]
    heading = " ".join(f"{name:>10}" for name in ("start s", "end s", "back s"))
    lines.append(f"{'task':>4}  {'place':<10} {heading}  parents")
    for task in order[:MOST_LINES]:
        local_start, local_end, _, _, start, end, back = times[task].tolist()
        here = places[task] == 0
        where = "device" if here else f"server {places[task] - 1}"
        row = (local_start, local_end, local_end) if here else (start, end, back)
        numbers = " ".join(f"{value:>10.1f}" for value in row)
        parents = " ".join(str(parent) for parent in instance.parents(task))
        lines.append(f"{task:>4}  {where:<10} {numbers}  {parents}"[:80].rstrip())
    if len(order) > MOST_LINES:
        lines.append(f"... and {len(order) - MOST_LINES} more")
    makespan = max((max(times[task][1], times[task][6]) for task in order), default=0.0)
    lines.append(f"makespan {makespan:.1f} s, the device alone {instance.local_latency:.1f} s")
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError(
            f"matplotlib cannot be imported ({error}); it comes with the extra `agents`: "
            'pip install "dispatchgym[agents]"'
        ) from None
    return matplotlib


def frame(instance: Instance, schedule: Schedule) -> Pixels:
    """Return the picture of a plan as pixels, uint8 (H, W, 3).

    Raises:
        ParameterError: the schedule is not one of this instance.
        MissingDependencyError: matplotlib is not installed.
    """
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(_draw(instance, schedule, None))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw the graph, and below what device, links and servers do over time.

    Args:
        instance: the problem.
        schedule: of a finished or running episode.
        path: file to write (.png, .pdf, .svg), or None.
        title: above everything.

    Raises:
        ParameterError: the schedule is not one of this instance, or the file's ending is unknown.
        MissingDependencyError: matplotlib is not installed.
        DispatchGymError: the file cannot be written.
    """
    if path is not None and Path(path).suffix.lower() not in PICTURE_SUFFIXES:
        raise ParameterError(f"path: found {str(path)!r}, expected {', '.join(PICTURE_SUFFIXES)}")
    _matplotlib()
    figure = _draw(instance, schedule, title)
    if path is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=Path(path).suffix[1:].lower(), dpi=DOTS_PER_INCH)
        write_whole(path, buffer.getvalue())
    return figure


def _draw(instance: Instance, schedule: Schedule, title: str | None) -> Figure:
    from matplotlib.figure import Figure

    rows = len(_rows(instance))
    figure = Figure((10, 3.6 + 0.42 * rows), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.1, top=0.93, hspace=0.04)
    graph, chart = figure.subplots(2, 1, height_ratios=[2.4, 0.42 * rows + 0.6])
    _draw_graph(graph, instance, schedule)
    _draw_chart(chart, instance, schedule)
    if title is not None:
        figure.suptitle(title, fontsize=11)
    return figure


def _positions(instance: Instance) -> npt.NDArray[np.float64]:
    """Return where the tasks stand in the picture, (n, 2): levels side by side."""
    level = _levels(instance)
    place = np.zeros((instance.num_tasks, 2))
    for depth in range(level.max() + 1):
        members = np.flatnonzero(level == depth)
        place[members, 0] = depth
        place[members, 1] = np.arange(len(members)) - (len(members) - 1) / 2
    return place


def _draw_graph(axes: Axes, instance: Instance, schedule: Schedule) -> None:
    """Draw the tasks, large as they are and coloured by place, and their dependencies."""
    _, places, _ = _read(instance, schedule)
    where = _positions(instance)
    for parent, child in instance.edges.tolist():
        axes.annotate(
            "",
            where[child],
            where[parent],
            arrowprops={"arrowstyle": "->", "color": "0.6", "shrinkA": 9, "shrinkB": 9},
        )
    share = instance.local_time / instance.local_time.max()
    axes.scatter(
        where[:, 0],
        where[:, 1],
        s=90 + 260 * share,
        c=[_place_colour(place) for place in places.tolist()],
        edgecolors="0.2",
        zorder=3,
    )
    for task, (x, y) in enumerate(where.tolist()):
        ink = "white" if places[task] > 0 else "black"
        axes.text(x, y, str(task), ha="center", va="center", fontsize=7, color=ink, zorder=4)
    axes.margins(0.06, 0.2)
    axes.set_axis_off()


def _draw_chart(axes: Axes, instance: Instance, schedule: Schedule) -> None:
    """Draw a bar for everything that a resource does; downloads do not wait for each other."""
    rows = _rows(instance)
    bars = _bars(instance, schedule)
    span = max((bar.end for bar in bars), default=1.0)
    for bar in bars:
        row, length = rows.index(bar.resource), bar.end - bar.start
        light = bar.resource == "downlink"
        axes.barh(
            row,
            length,
            left=bar.start,
            height=0.7,
            color=bar.colour,
            edgecolor="white",
            linewidth=0.6,
            alpha=0.45 if light else 1.0,
        )
        if length > span / 60:
            axes.text(
                bar.start + length / 2, row, str(bar.task), ha="center", va="center", fontsize=7
            )
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.02 * span)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
