"""Pictures of schedules on a chip: Gantt charts, task graphs, trade-offs, films, and plain text.

Functions that take a schedule take that of a finished or of a running episode, the dictionary of
arrays that ``info["schedule"]`` holds at the end of an episode. Only the keys ``tasks`` and
``jobs`` are needed. Nothing of matplotlib is loaded before a picture is drawn.
"""

from __future__ import annotations

import io
import itertools
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.soc.instance import Instance, JobProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["animate", "ansi", "frame", "gantt", "task_graph", "trade_off"]

Schedule = Mapping[str, Any]
Span = tuple[int, int]
Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 130
FILM_DOTS_PER_INCH = 80
FRAMES_PER_SECOND = 10
LAST_FRAME_SECONDS = 3.0
MOST_TASKS = 150
"""Tasks in a chart whose stretch of time is not given."""
MOST_FILMED = 60
"""Tasks in a film."""
MOST_LEGENDS = 12
"""Jobs up to which a chart says what each colour is."""
MOST_LABELS = 60
"""Tasks up to which a graph tells times and volumes."""
MOST_ROWS = 64
"""Processing elements up to which each row of a chart has its name."""
MOST_GRAPHS = 4
"""Jobs whose graphs a film shows at a time."""

TASK_COLUMNS, JOB_COLUMNS = 8, 5
JOB_COLOURS = (
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1",
    "#edc948", "#76b7b2", "#9c755f", "#ff9da7", "#86bcb6",
)  # fmt: skip
CRITICAL_COLOUR, EDGE_COLOUR, CLOCK_COLOUR = "#c1121f", "#9aa0a6", "#c1121f"
OUTSTANDING, READY, ASSIGNED, RUNNING, DONE = range(5)
STATES = ("waits for others", "ready", "assigned", "running", "done")
STATE_COLOURS = ("#f1f3f5", "#ffd166", "#e76f51", "#2f6db3", "#8d99ae")
JOB_SYMBOLS = string.digits + string.ascii_uppercase + string.ascii_lowercase
IDLE = "."


@dataclass(frozen=True)
class _Task:
    """A task that has started, cut at the present; times in microseconds."""

    job: int
    task: int
    pe: int
    ready: int
    assigned: int
    start: int
    finish: int


@dataclass(frozen=True)
class _Job:
    """A job that has been generated; `finish` is -1 while it is in the system."""

    job: int
    profile: int
    generated: int
    finish: int

    @property
    def latency(self) -> int:
        """Microseconds in the system of a finished job."""
        return self.finish - self.generated


@dataclass(frozen=True)
class _Chart:
    """What a picture shows: everything up to the present, and the stretch of time to draw."""

    instance: Instance
    tasks: list[_Task]
    jobs: dict[int, _Job]
    span: Span
    time: int

    @property
    def shown(self) -> list[_Task]:
        """Tasks that run within the stretch."""
        begin, end = self.span
        return [one for one in self.tasks if one.start < end and one.finish > begin]

    def profile(self, job: int) -> JobProfile:
        """Return the graph of a job."""
        return self.instance.profiles[self.jobs[job].profile]


# ---------------------------------------------------------------- from schedule to chart


def _rows(schedule: Schedule, key: str, columns: int) -> npt.NDArray[np.int64]:
    """Return the rows of a table without its padding.

    Raises:
        ParameterError: it is no such table.
    """
    rows = np.asarray(schedule.get(key))
    if rows.ndim != 2 or rows.shape[1] != columns or rows.dtype.kind not in "iu":
        raise ParameterError(
            f"schedule[{key!r}]: found {rows.dtype} {rows.shape}, "
            f"expected whole numbers (rows, {columns})"
        )
    return rows[rows[:, 0] >= 0].astype(np.int64)


def _chart(
    instance: Instance,
    schedule: Schedule,
    span: Span | None = None,
    time: int | None = None,
    most: int | None = None,
) -> _Chart:
    """Cut a schedule at the present; draw the last stretch of `most` tasks unless a span is given.

    Raises:
        ParameterError: schedule and instance do not fit, or the stretch is empty.
    """
    tasks = _rows(schedule, "tasks", TASK_COLUMNS)
    jobs = _rows(schedule, "jobs", JOB_COLUMNS)
    _check_fit(instance, tasks, jobs)
    now = _present(schedule, tasks, jobs) if time is None else int(time)
    cut = []
    for job, task, pe, ready, assigned, _, start, finish in tasks.tolist():
        if 0 <= start <= now:
            ends = finish if 0 <= finish <= now else now
            cut.append(_Task(job, task, pe, ready, assigned, start, ends))
    known = {
        job: _Job(job, profile, generated, finish if 0 <= finish <= now else -1)
        for job, profile, generated, _, finish in jobs.tolist()
        if generated <= now
    }
    stretch = _stretch(cut, now, most or MOST_TASKS) if span is None else _checked(span)
    return _Chart(instance, cut, known, stretch, now)


def _check_fit(
    instance: Instance, tasks: npt.NDArray[np.int64], jobs: npt.NDArray[np.int64]
) -> None:
    profiles = dict(zip(jobs[:, 0].tolist(), jobs[:, 1].tolist(), strict=True))
    if any(not 0 <= profile < instance.num_profiles for profile in profiles.values()):
        raise ParameterError("schedule['jobs']: job profiles are not the instance's")
    for job, task, pe in tasks[:, :3].tolist():
        if job not in profiles:
            raise ParameterError(f"schedule['tasks']: found job {job}, which 'jobs' does not hold")
        size = instance.profiles[profiles[job]].num_tasks
        if not (0 <= task < size and 0 <= pe < instance.num_pes):
            raise ParameterError(
                f"schedule['tasks']: found task {task} of job {job} on processing element {pe}, "
                f"expected one of {size} tasks and {instance.num_pes} processing elements"
            )


def _present(schedule: Schedule, tasks: npt.NDArray[np.int64], jobs: npt.NDArray[np.int64]) -> int:
    """Return the end of the run, or the latest time that a running episode knows."""
    if "end_time" in schedule:
        return int(schedule["end_time"])
    return int(max(tasks[:, 3:].max(initial=0), jobs[:, 2:].max(initial=0)))


def _stretch(tasks: Sequence[_Task], now: int, most: int) -> Span:
    """Return the last stretch of time in which `most` tasks start."""
    starts = sorted(one.start for one in tasks)
    return (starts[-most] if len(starts) > most else 0), max(now, 1)


def _checked(span: Span) -> Span:
    begin, end = (int(edge) for edge in span)
    if not 0 <= begin < end:
        raise ParameterError(f"span: found {span}, expected 0 <= begin < end in microseconds")
    return begin, end


def _heading(chart: _Chart) -> str:
    done = [job.latency for job in chart.jobs.values() if job.finish >= 0]
    latency = f", mean latency {np.mean(done):.1f} us" if done else ""
    number = f"{len(done)} of {len(chart.jobs)} jobs" if chart.jobs else "no job"
    stretch = f", shown from {chart.span[0]} us" if chart.span[0] else ""
    return f"{chart.instance.name}: {number} done at {chart.time} us{latency}{stretch}"


# ---------------------------------------------------------------- text


def ansi(
    instance: Instance, schedule: Schedule, *, time: int | None = None, width: int = 80
) -> str:
    """Draw the last stretch of a schedule as text: a line for each processing element.

    A column stands for a stretch of time and shows the job that runs in its middle.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the present; the end of the schedule unless given.
        width: characters to a line, at least 40.

    Returns:
        Lines of at most `width` ASCII characters.

    Raises:
        ParameterError: schedule and instance do not fit, or `width` is too small.
    """
    if width < 40:
        raise ParameterError(f"width: found {width}, expected at least 40 characters")
    chart = _chart(instance, schedule, time=time)
    names = [name[: width // 4] for name in instance.platform.pe_names]
    margin = max(map(len, names)) + 1
    begin, end = chart.span
    columns = min(width - margin - 2, end - begin)
    middle = begin + (np.arange(columns) + 0.5) * (end - begin) / columns
    cells = np.full((instance.num_pes, columns), IDLE)
    for one in chart.shown:
        symbol = JOB_SYMBOLS[one.job % len(JOB_SYMBOLS)]
        cells[one.pe, (one.start <= middle) & (middle < one.finish)] = symbol
    rows = [
        f"{name:<{margin}}|{''.join(row)}|" for name, row in zip(names, cells.tolist(), strict=True)
    ]
    ruler = " " * margin + str(begin) + str(end).rjust(columns + 2 - len(str(begin)))
    waiting = sum(job.finish < 0 for job in chart.jobs.values())
    legend = f"symbols are jobs, {IDLE} idle; {waiting} jobs in the system"
    return "\n".join(line[:width] for line in [_heading(chart), *rows, ruler, legend])


# ---------------------------------------------------------------- pictures


def gantt(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    span: Span | None = None,
    time: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a schedule: a row for each processing element, a colour for each job.

    Bars are tasks with their number; thin lines are transfers of data, from the finish of a task
    to the arrival where a successor runs.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture; its suffix (.png, .pdf or .svg) is the format.
        span: begin and end of the stretch of time to draw; the last one of at most 150 tasks
            unless given.
        time: the present; the end of the schedule unless given.
        title: text above the chart; name, jobs and mean latency unless given.

    Returns:
        The figure; it belongs to no window and needs no closing.

    Raises:
        ParameterError: schedule and instance do not fit, or the suffix is not one of the three.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    return _written(path, lambda: _gantt(_chart(instance, schedule, span, time), title))


def frame(instance: Instance, schedule: Schedule, *, time: int | None = None) -> Pixels:
    """Draw the same chart as `gantt` as an array of pixels.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the present; the end of the schedule unless given.

    Returns:
        uint8 (height, width, 3), red, green, blue.

    Raises:
        ParameterError: schedule and instance do not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    return _pixels(gantt(instance, schedule, time=time))


def task_graph(
    instance: Instance,
    profile: int | str,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw the task graph of a job with its critical path.

    Tasks stand by depth, coloured by the cluster that is fastest for them; below the number is
    the shortest time in microseconds, beside an edge its volume. The critical path, red, is the
    longest way by shortest times, communication left out.

    Args:
        instance: an instance with the job.
        profile: number or name of the job profile.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the graph; name and sizes unless given.

    Returns:
        The figure.

    Raises:
        ParameterError: there is no such profile.
        DispatchGymError, MissingDependencyError: as in `gantt`.
    """
    return _written(path, lambda: _task_graph(instance, _find_profile(instance, profile), title))


def trade_off(
    points: Mapping[str, Sequence[tuple[str, float, float]]],
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw energy against latency; points that no other beats in both are joined by a line.

    Args:
        points: agent -> its settings: name, mean latency in us, mean energy of a job in mJ.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart.

    Returns:
        The figure.

    Raises:
        ParameterError: there is no point.
        DispatchGymError, MissingDependencyError: as in `gantt`.
    """
    if not any(points.values()):
        raise ParameterError("points: found none, expected at least one")
    return _written(path, lambda: _trade_off(points, title))


def animate(
    instance: Instance,
    schedule: Schedule,
    path: str | Path,
    *,
    frames: int = 120,
    title: str | None = None,
) -> None:
    """Film the last stretch of a schedule: the chart grows, beside it the jobs in the system.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule of a finished episode.
        path: the .gif file to write.
        frames: number of pictures, 2 to 2000.
        title: text above the chart; the name unless given.

    Raises:
        ParameterError: schedule and instance do not fit, or `frames` or the suffix is wrong.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    _check_suffix(path, (".gif",))
    if not 2 <= frames <= 2000:
        raise ParameterError(f"frames: found {frames}, expected 2 to 2000")
    film = _Film(instance, schedule, title)
    pictures = [_image(film.at(int(now))) for now in np.linspace(*film.span, frames)]
    duration = [round(1000 / FRAMES_PER_SECOND)] * frames
    duration[-1] = round(1000 * LAST_FRAME_SECONDS)
    file = io.BytesIO()
    pictures[0].save(
        file, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    write_whole(path, file.getvalue())


# ---------------------------------------------------------------- how they are drawn


def _check_suffix(path: str | Path, expected: tuple[str, ...]) -> None:
    if Path(path).suffix.lower() not in expected:
        raise ParameterError(f"{path}: expected a name that ends in {' or '.join(expected)}")


def _written(path: str | Path | None, draw: Callable[[], Figure]) -> Figure:
    """Draw a figure and write it, if it has a path."""
    if path is not None:
        _check_suffix(path, PICTURE_SUFFIXES)
    figure = draw()
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format=Path(path).suffix[1:].lower())
        write_whole(path, picture.getvalue())
    return figure


def _new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'pictures need matplotlib: pip install "dispatchgym[agents]"'
        ) from None
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> Pixels:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _image(figure: Figure) -> Image.Image:
    from PIL import Image

    return Image.fromarray(_pixels(figure)).quantize(128, dither=Image.Dither.NONE)


def _colour(number: int) -> str:
    return JOB_COLOURS[number % len(JOB_COLOURS)]


def _row_height(pes: int) -> float:
    """Return inches of a row of the chart."""
    return 0.42 if pes <= 8 else 0.27 if pes <= 32 else max(0.1, 9.0 / pes)


def _gantt(chart: _Chart, title: str | None) -> Figure:
    rows = chart.instance.num_pes
    figure = _new_figure(13.0, 1.5 + _row_height(rows) * rows)
    axes = figure.add_subplot()
    _lay_out(axes, chart)
    _draw_transfers(axes, chart)
    for one in chart.shown:
        _draw_task(axes, chart, one)
    _draw_legend(figure, chart)
    axes.set_title(_heading(chart) if title is None else title, loc="left", fontsize=11)
    return figure


def _lay_out(axes: Axes, chart: _Chart) -> None:
    """Set the rows and the axis of time; lines part the clusters."""
    platform = chart.instance.platform
    rows = platform.num_pes
    axes.set_xlim(chart.span[0], chart.span[1] + 0.005 * (chart.span[1] - chart.span[0]))
    axes.set_ylim(rows - 0.45, -0.55)
    step = -(-rows // MOST_ROWS)
    axes.set_yticks(range(0, rows, step), platform.pe_names[::step])
    axes.tick_params(axis="y", length=0, labelsize=9 if rows <= 8 else 7 if rows <= 32 else 5)
    for row in np.flatnonzero(np.diff(platform.pe_cluster)) + 0.5:
        axes.axhline(row, color="0.75", linewidth=0.8, zorder=1)
    axes.set_xlabel("us")
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_task(axes: Axes, chart: _Chart, one: _Task, inches: float = 12.0) -> None:
    """Draw a bar, with the task's number where the axis is wide enough for it."""
    axes.barh(
        one.pe, one.finish - one.start, left=one.start, height=0.8, color=_colour(one.job),
        edgecolor="white", linewidth=0.5, zorder=3,
    )  # fmt: skip
    begin, end = chart.span
    width = (min(one.finish, end) - max(one.start, begin)) / (end - begin)
    text = str(one.task)
    size = 8 if chart.instance.num_pes <= 8 else 6 if chart.instance.num_pes <= 32 else 4
    if inches * width > 0.011 * size * len(text):
        middle = (max(one.start, begin) + min(one.finish, end)) / 2
        axes.text(
            middle, one.pe, text, ha="center", va="center", color="white", fontsize=size,
            clip_on=True, zorder=4,
        )  # fmt: skip


def _draw_transfers(axes: Axes, chart: _Chart) -> None:
    """Draw a line for each transfer that takes time, in the colour of its job."""
    from matplotlib.collections import LineCollection

    lines, colours = [], []
    for _, source, target, arrival in _transfers(chart):
        if source.finish < chart.span[1] and arrival > chart.span[0]:
            lines.append([(source.finish, source.pe), (arrival, target.pe)])
            colours.append(_colour(source.job))
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.8, alpha=0.55, zorder=2))


def _transfers(chart: _Chart) -> list[tuple[int, _Task, _Task, int]]:
    """Return transfers that take time: edge, sender, receiver, time of arrival."""
    by_task = {(one.job, one.task): one for one in chart.tasks}
    platform, shared = chart.instance.platform, chart.instance.workload.comm_mode != "pe_to_pe"
    found = []
    for target in chart.shown:
        profile = chart.profile(target.job)
        for edge in range(*profile.predecessor_start[target.task : target.task + 2]):
            source = by_task[target.job, int(profile.predecessors[edge])]
            volume = int(profile.predecessor_volume[edge])
            if shared:
                arrival = target.assigned + int(volume / platform.memory_bandwidth[target.pe])
            else:
                delay = int(volume / platform.bandwidth[source.pe, target.pe])
                arrival = source.finish + delay
            if source.pe != target.pe and arrival > source.finish:
                found.append((edge, source, target, arrival))
    return found


def _draw_legend(figure: Figure, chart: _Chart) -> None:
    """Name the jobs and their latencies, if they are few."""
    from matplotlib.patches import Patch

    jobs = sorted({one.job for one in chart.shown})
    if not 0 < len(jobs) <= MOST_LEGENDS:
        return
    handles = []
    for number in jobs:
        job = chart.jobs[number]
        latency = f": {job.latency} us" if job.finish >= 0 else ""
        label = f"{number} {chart.profile(number).name}{latency}"
        handles.append(Patch(color=_colour(number), label=label))
    figure.legend(
        handles=handles, loc="outside lower center", ncol=6, fontsize=8, frameon=False,
        handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip


# ---------------------------------------------------------------- task graphs


def _find_profile(instance: Instance, profile: int | str) -> JobProfile:
    names = [one.name for one in instance.profiles]
    if isinstance(profile, str):
        if profile not in names:
            raise ParameterError(f"profile: found {profile!r}, expected one of {', '.join(names)}")
        return instance.profiles[names.index(profile)]
    if not 0 <= profile < len(names):
        raise ParameterError(f"profile: found {profile}, expected 0..{len(names) - 1}")
    return instance.profiles[profile]


def _positions(profile: JobProfile) -> npt.NDArray[np.float64]:
    """Return (T, 2) places: depth to the right; tasks of a depth near what they are joined to."""
    depth = profile.depth
    place = np.zeros((profile.num_tasks, 2))
    place[:, 0] = depth
    layers = [np.flatnonzero(depth == level) for level in range(int(depth.max()) + 1)]
    for layer in layers:
        place[layer, 1] = _spread(len(layer))
    for sweep in range(8):
        back = sweep % 2
        for layer in layers[::-1] if back else layers:
            wanted = [_pull(profile, place, int(task), bool(back)) for task in layer]
            place[layer[np.argsort(wanted, kind="stable")], 1] = _spread(len(layer))
    return place


def _spread(count: int) -> npt.NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) - (count - 1) / 2


def _pull(
    profile: JobProfile, place: npt.NDArray[np.float64], task: int, by_successors: bool
) -> float:
    """Return the mean height of the neighbours on one side."""
    if by_successors:
        near = profile.successors[slice(*profile.successor_start[task : task + 2])]
    else:
        near = profile.predecessors[slice(*profile.predecessor_start[task : task + 2])]
    return float(place[near, 1].mean()) if len(near) else float(place[task, 1])


def _critical_path(profile: JobProfile) -> list[int]:
    """Return the tasks of one longest way by shortest times, first to last."""
    through = profile.head + profile.min_duration + profile.tail
    way = [int(np.argmax((through == profile.critical_path) & (profile.depth == 0)))]
    while (
        profile.tail[way[-1]] > 0
        or profile.successor_start[way[-1]] < (profile.successor_start[way[-1] + 1])
    ):
        span = slice(*profile.successor_start[way[-1] : way[-1] + 2])
        after = profile.successors[span]
        rest = profile.min_duration[after] + profile.tail[after]
        way.append(int(after[np.argmax(rest)]))
    return way


def _task_graph(instance: Instance, profile: JobProfile, title: str | None) -> Figure:
    from matplotlib.patches import Patch

    place = _positions(profile)
    width = 2.0 + 1.15 * (place[:, 0].max() + 1)
    height = 1.4 + 0.62 * (np.ptp(place[:, 1]) + 1)
    figure = _new_figure(float(np.clip(width, 6, 16)), float(np.clip(height, 2.6, 9)))
    axes = figure.add_subplot()
    axes.axis("off")
    axes.set_ylim(place[:, 1].min() - 0.5, place[:, 1].max() + 0.5)
    axes.set_xlim(-0.3, place[:, 0].max() + 0.3)
    many = profile.num_tasks > MOST_LABELS
    _draw_edges(axes, profile, place, labels=not many)
    fastest = instance.platform.pe_cluster[
        np.where(profile.supported, profile.duration, np.iinfo(np.int64).max).argmin(axis=1)
    ]
    axes.scatter(
        place[:, 0], place[:, 1], s=18 if many else 560, c=[_colour(index) for index in fastest],
        edgecolors="white", zorder=3, clip_on=False,
    )  # fmt: skip
    if not many:
        for task, (x, y) in enumerate(place.tolist()):
            text = f"{task}\n{profile.min_duration[task]}"
            axes.text(
                x, y, text, ha="center", va="center", color="white", fontsize=7.5, zorder=4,
                linespacing=0.95,
            )  # fmt: skip
    clusters = [
        Patch(color=_colour(index), label=f"fastest on {instance.platform.clusters[index].name}")
        for index in sorted(set(fastest.tolist()))
    ]
    axes.legend(
        handles=clusters, loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=6, fontsize=8,
        frameon=False,
    )  # fmt: skip
    axes.set_title(
        f"{profile.name}: {profile.num_tasks} tasks, {profile.num_edges} edges, critical path "
        f"{profile.critical_path} us" if title is None else title,
        loc="left", fontsize=11,
    )  # fmt: skip
    return figure


def _draw_edges(
    axes: Axes, profile: JobProfile, place: npt.NDArray[np.float64], *, labels: bool
) -> None:
    way = _critical_path(profile)
    critical = set(itertools.pairwise(way))
    for source, target, volume in profile.edges.tolist():
        red = (source, target) in critical
        colour = CRITICAL_COLOUR if red else EDGE_COLOUR
        axes.annotate(
            "", place[target], place[source],
            arrowprops={
                "arrowstyle": "-|>" if labels else "-", "color": colour,
                "linewidth": 2.0 if red else 0.9 if labels else 0.4,
                "shrinkA": 13 if labels else 0, "shrinkB": 13 if labels else 0,
            }, zorder=2 if red else 1,
        )  # fmt: skip
        if labels:
            # Nearer to the source: lines cross in the middle.
            x, y = 0.62 * place[source] + 0.38 * place[target]
            axes.text(
                x, y, str(volume), fontsize=6.5, color=colour, ha="center", va="center", zorder=2,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip


# ---------------------------------------------------------------- trade-offs


def _trade_off(
    points: Mapping[str, Sequence[tuple[str, float, float]]], title: str | None
) -> Figure:
    figure = _new_figure(8.0, 5.2)
    axes = figure.add_subplot()
    every = [(latency, joules) for found in points.values() for _, latency, joules in found]
    front = sorted(point for point in every if not any(_beats(other, point) for other in every))
    axes.step(*zip(*front, strict=True), where="post", color="0.6", linewidth=1.2, zorder=1)
    for number, (agent, found) in enumerate(points.items()):
        latency = [point[1] for point in found]
        joules = [point[2] for point in found]
        axes.scatter(latency, joules, s=34, color=_colour(number), label=agent, zorder=3)
        for name, x, y in found:
            if (x, y) in front:
                axes.annotate(
                    name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7
                )  # fmt: skip
    axes.set_xlabel("mean latency, us")
    axes.set_ylabel("energy of a job, mJ")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(title or "Energy against latency", loc="left", fontsize=11)
    return figure


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


# ---------------------------------------------------------------- films


class _Film:
    """The chart and the graphs of the jobs in the system, drawn anew for each moment."""

    def __init__(self, instance: Instance, schedule: Schedule, title: str | None) -> None:
        whole = _chart(instance, schedule, most=MOST_FILMED)
        self.instance, self.schedule, self.span = instance, schedule, whole.span
        self.title = instance.name if title is None else title
        self.places = [_positions(profile) for profile in instance.profiles]
        self.tasks = {(one.job, one.task): one for one in whole.tasks}
        rows = instance.num_pes
        self.figure = _new_figure(13.0, max(4.6, 1.7 + _row_height(rows) * rows))
        self.figure.set_dpi(FILM_DOTS_PER_INCH)
        grid = self.figure.add_gridspec(MOST_GRAPHS // 2, 4)
        self.board = self.figure.add_subplot(grid[:, :2])
        self.graphs = [
            self.figure.add_subplot(grid[row, 2 + column])
            for row in range(MOST_GRAPHS // 2)
            for column in range(2)
        ]
        self._label_states()
        _pixels(self.at(whole.time))
        self.figure.set_layout_engine("none")  # to lay it out anew each time takes long

    def _label_states(self) -> None:
        from matplotlib.patches import Patch

        states = [
            Patch(facecolor=colour, edgecolor="0.6", label=name)
            for name, colour in zip(STATES, STATE_COLOURS, strict=True)
        ]
        self.figure.legend(
            handles=states, loc="outside lower center", ncol=5, fontsize=8, frameon=False
        )

    def at(self, now: int) -> Figure:
        """Return the figure as it is at a moment."""
        chart = _chart(self.instance, self.schedule, self.span, now)
        self.board.clear()
        _lay_out(self.board, chart)
        _draw_transfers(self.board, chart)
        for one in chart.shown:
            _draw_task(self.board, chart, one, inches=6.0)
        self.board.axvline(now, color=CLOCK_COLOUR, linewidth=1.2)
        self.board.set_title(f"{self.title}, {now} us", loc="left", fontsize=10)
        waiting = [job for job in chart.jobs.values() if job.finish < 0]
        for axes, job in zip(self.graphs, [*waiting, *[None] * MOST_GRAPHS], strict=False):
            axes.clear()
            axes.axis("off")
            if job is not None:
                self._draw_job(axes, job, now)
        return self.figure

    def _draw_job(self, axes: Axes, job: _Job, now: int) -> None:
        profile, place = self.instance.profiles[job.profile], self.places[job.profile]
        for source, target, _ in profile.edges.tolist():
            axes.plot(*place[[source, target]].T, color=EDGE_COLOUR, linewidth=0.6, zorder=1)
        states = [self._state(job.job, task, now) for task in range(profile.num_tasks)]
        axes.scatter(
            place[:, 0], place[:, 1], s=110 if profile.num_tasks <= MOST_LABELS else 12, zorder=2,
            c=[STATE_COLOURS[state] for state in states], edgecolors=_colour(job.job),
            linewidths=1.3,
        )  # fmt: skip
        if profile.num_tasks <= MOST_LABELS:
            for task, (x, y) in enumerate(place.tolist()):
                colour = "white" if states[task] in (RUNNING, DONE) else "0.25"
                axes.text(x, y, str(task), ha="center", va="center", fontsize=5.5, color=colour)
        axes.margins(0.12)
        axes.set_title(
            f"{job.job} {profile.name}, {now - job.generated} us", fontsize=8, loc="left",
            color=_colour(job.job),
        )  # fmt: skip

    def _state(self, job: int, task: int, now: int) -> int:
        """Return what a task of the schedule does at a moment."""
        one = self.tasks.get((job, task))
        if one is None or now < one.ready:
            return OUTSTANDING
        for state, begin in ((DONE, one.finish), (RUNNING, one.start), (ASSIGNED, one.assigned)):
            if now >= begin:
                return state
        return READY
