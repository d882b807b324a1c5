"""Pictures of an episode of independent tasks: timelines of queue and servers, and plain text.

Every function takes the schedule of a finished or of a running episode, the dictionary of arrays
that ``info["schedule"]`` holds at the end of an episode. Nothing of matplotlib is loaded before a
picture is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.instance import OffloadInstance
from dispatchgym.envs.edge_offloading.pictures import check_path, new_figure, pixels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ansi", "frame", "timelines"]

Schedule = Mapping[str, Any]
FloatArray = npt.NDArray[np.float64]

WIDTH = 80
"""Columns of text."""
QUEUE_COLOUR, EDGE_COLOUR, CLOUD_COLOUR, UPLOAD_COLOUR = "#8d99ae", "#2f6db3", "#5fa777", "#f4a259"
_COLUMNS = ("server", "sent", "uploaded", "began", "ended")


def ansi(instance: OffloadInstance, schedule: Schedule, now: float = math.inf) -> str:
    """Return an episode at a time as text of at most 80 columns: a row for each server.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        now: seconds; infinity: the end.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    tasks = _read(instance, schedule)
    end = _end(tasks, now)
    waiting = int(_waiting(instance, tasks, np.array([end]))[0])
    delay, energy = (float(part) for part in schedule["objective"])
    lines = [
        f"{instance.name}"[:WIDTH],
        f"{end:.1f} s  {len(tasks['sent'])} tasks sent, {waiting} waiting  "
        f"delay {delay:.1f} s  energy {energy:.3f} J"[:WIDTH],
        "server    GHz  tasks  uploads  sent  load",
    ]
    for server in range(instance.num_servers):
        own = tasks["server"] == server
        there = int(_present(tasks["uploaded"][own], tasks["ended"][own], end))
        coming = int(_present(tasks["sent"][own], tasks["uploaded"][own], end))
        name = "cloud" if server == 0 else f"edge {server}"
        bar = "#" * min(there, 38) + "." * min(coming, 4)
        ghz = instance.frequency[server] / 1e9
        lines.append(f"{name:8} {ghz:4.2f}  {there:5}  {coming:7}  {int(own.sum()):4}  {bar}")
    return "\n".join(lines) + "\n"


def frame(
    instance: OffloadInstance, schedule: Schedule, now: float = math.inf
) -> npt.NDArray[np.uint8]:
    """Return `timelines` as pixels, uint8 (H, W, 3), up to a time.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        now: seconds; infinity: the end.

    Raises:
        ParameterError: the schedule is not one of this instance.
        MissingDependencyError: matplotlib is not installed.
    """
    return pixels(_draw(instance, schedule, now, None))


def timelines(
    instance: OffloadInstance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw the waiting queue and how many tasks each server has over time.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.

    Returns:
        The figure: the queue on top, below it the cloud and the edge servers, tasks that are
        computed, and above them those that are uploaded.

    Raises:
        ParameterError: the schedule is not one of this instance, or the path has another ending.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    check_path(path)
    return save(_draw(instance, schedule, math.inf, title), path)


# ---------------------------------------------------------------- what is drawn


def _read(instance: OffloadInstance, schedule: Schedule) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a schedule; what has not happened ends at infinity."""
    missing = [name for name in (*_COLUMNS, "objective") if name not in schedule]
    if missing:
        raise ParameterError(f"schedule: found no {missing[0]!r}, expected a schedule of tasks")
    columns = {name: np.asarray(schedule[name]) for name in _COLUMNS}
    count = len(columns["sent"])
    wrong = any(column.shape != (count,) for column in columns.values())
    if wrong or count > instance.num_tasks or (columns["server"] >= instance.num_servers).any():
        raise ParameterError(
            f"schedule: found {count} tasks or servers that do not fit, expected those of "
            f"{instance!r}"
        )
    for name in ("began", "ended"):
        columns[name] = np.where(columns[name] < 0, np.inf, columns[name])
    return columns


def _end(tasks: Mapping[str, FloatArray], now: float) -> float:
    """Return the time, or the last event if it is infinite."""
    if now < math.inf:
        return now
    known = np.concatenate([tasks[name] for name in ("sent", "uploaded", "ended")])
    known = known[np.isfinite(known)]
    return float(known.max()) if known.size else 0.0


def _present(come: FloatArray, leave: FloatArray, times: Any) -> Any:
    """Return how many have come and not left at each time."""
    come, leave = np.sort(come), np.sort(leave)
    return np.searchsorted(come, times, "right") - np.searchsorted(leave, times, "right")


def _waiting(
    instance: OffloadInstance, tasks: Mapping[str, FloatArray], times: FloatArray
) -> FloatArray:
    """Return how many tasks wait at each time."""
    sent = np.full(instance.num_tasks, np.inf)
    sent[: len(tasks["sent"])] = tasks["sent"]
    return _present(instance.release, sent, times)


def _draw(instance: OffloadInstance, schedule: Schedule, now: float, title: str | None) -> Figure:
    tasks = _read(instance, schedule)
    end = _end(tasks, now)
    times = np.linspace(0.0, max(end, instance.slot), 600)
    rows = instance.num_servers + 1
    figure = new_figure(9.0, 1.2 + 0.75 * rows)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle(title or instance.name)
    _fill(axes[0], times, _waiting(instance, tasks, times), QUEUE_COLOUR, "queue")
    for server in range(instance.num_servers):
        own = {name: column[tasks["server"] == server] for name, column in tasks.items()}
        computing = _present(own["uploaded"], own["ended"], times)
        uploading = _present(own["sent"], own["uploaded"], times)
        name, colour = ("cloud", CLOUD_COLOUR) if server == 0 else (f"edge {server}", EDGE_COLOUR)
        row = axes[server + 1]
        _fill(row, times, computing, colour, f"{name}\n{instance.frequency[server] / 1e9:.2f} GHz")
        row.fill_between(
            times, computing, computing + uploading, step="post", color=UPLOAD_COLOUR, linewidth=0
        )
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0.0, times[-1])
    return figure


def _fill(axes: Axes, times: FloatArray, counts: FloatArray, colour: str, label: str) -> None:
    axes.fill_between(times, 0, counts, step="post", color=colour, linewidth=0)
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    axes.set_ylim(0, max(float(np.max(counts)), 1.0) * 1.2)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=2)  # type: ignore[call-arg]
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
