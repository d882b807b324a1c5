"""Pictures of jobs of dependent tasks: a Gantt chart of cores and devices, and plain text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.pictures import check_path, new_figure, pixels, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ansi", "frame", "timelines"]

Schedule = Mapping[str, Any]

WIDTH = 80
"""Columns of text."""


def ansi(instance: GraphInstance, schedule: Schedule) -> str:
    """Return an episode as text of at most 80 columns: a row for each server.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    place, _, ended, _ = _read(instance, schedule)
    latency, energy = (float(part) for part in schedule["objective"])
    done = ended > 0
    lines = [
        instance.name[:WIDTH],
        f"{int(done.sum())} of {instance.num_tasks} tasks placed, {instance.num_jobs} jobs  "
        f"latency {latency:.1f} s a job  energy {energy:.0f} J"[:WIDTH],
        "server    GHz  cores  tasks  busy until",
    ]
    for server in range(instance.num_servers + 1):
        own = done & (place == server)
        name, ghz, cores = _describe(instance, server)
        until = float(ended[own].max()) if own.any() else 0.0
        lines.append(f"{name:8} {ghz:4.2f}  {cores:5}  {int(own.sum()):5}  {until:10.1f} s")
    return "\n".join(lines) + "\n"


def frame(instance: GraphInstance, schedule: Schedule) -> npt.NDArray[np.uint8]:
    """Return `timelines` as pixels, uint8 (H, W, 3).

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.

    Raises:
        ParameterError: the schedule is not one of this instance.
        MissingDependencyError: matplotlib is not installed.
    """
    return pixels(_draw(instance, schedule, None))


def timelines(
    instance: GraphInstance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw when each server and device computes which job: a colour for each job.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.

    Raises:
        ParameterError: the schedule is not one of this instance, or the path has another ending.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    check_path(path)
    return save(_draw(instance, schedule, title), path)


def _describe(instance: GraphInstance, server: int) -> tuple[str, float, int]:
    """Return name, clock frequency in GHz and number of cores."""
    if server == instance.num_servers:
        return "devices", instance.device_hz / 1e9, len(instance.link)
    name = "cloud" if server == 0 else f"edge {server}"
    return name, float(instance.frequency[server]) / 1e9, int(instance.cores[server])


def _read(instance: GraphInstance, schedule: Schedule) -> tuple[npt.NDArray[Any], ...]:
    """Return place, begin, end and user of each task; begin and end are 0 of those not placed."""
    for name in ("place", "began", "ended", "objective"):
        if name not in schedule:
            raise ParameterError(f"schedule: found no {name!r}, expected a schedule of jobs")
    place, began, ended = (np.asarray(schedule[name]) for name in ("place", "began", "ended"))
    shape = (instance.num_tasks,)
    if not place.shape == began.shape == ended.shape == shape:
        raise ParameterError(
            f"schedule: found {len(place)} tasks, expected the {instance.num_tasks} of {instance!r}"
        )
    return place, began, ended, instance.source[instance.job]


def _rows(instance: GraphInstance, schedule: Schedule) -> list[tuple[int, float, float, int]]:
    """Return row, begin, end and job of each task; every core and device has a row."""
    place, began, ended, user = _read(instance, schedule)
    first = np.append(0, np.cumsum(instance.cores))
    free = np.zeros(int(first[-1]))
    rows = []
    for task in np.argsort(began, kind="stable").tolist():
        if ended[task] <= 0:
            continue
        at = int(place[task])
        row = int(first[-1] + user[task])
        if at < instance.num_servers:
            cores = range(int(first[at]), int(first[at + 1]))
            row = min(cores, key=lambda core: (free[core] > began[task] + 1e-9, -free[core]))
            free[row] = ended[task]
        rows.append((row, float(began[task]), float(ended[task]), int(instance.job[task])))
    return rows


def _draw(instance: GraphInstance, schedule: Schedule, title: str | None) -> Figure:
    rows = _rows(instance, schedule)
    count = int(instance.cores.sum()) + len(instance.link)
    figure = new_figure(9.0, 1.5 + 0.14 * count)
    axes = figure.subplots()
    for row, begin, end, job in rows:
        axes.barh(row, end - begin, left=begin, height=0.8, color=f"C{job % 10}", linewidth=0)
    first = np.append(0, np.cumsum(instance.cores))
    axes.set_yticks(
        [*(first[:-1] - 0.5), first[-1] - 0.5],
        [_describe(instance, server)[0] for server in range(instance.num_servers + 1)],
        va="top",
        fontsize=8,
    )
    for edge in first[1:]:
        axes.axhline(edge - 0.5, color="#d9d9d9", linewidth=0.8)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("seconds")
    axes.set_title(title or instance.name)
    return figure
