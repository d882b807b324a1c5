"""Pictures of job-shop schedules: Gantt charts, films of an episode, and plain text.

Every function takes the schedule of a finished or of a running episode, the dictionary of arrays
that ``info["schedule"]`` holds at the end of an episode. Only the keys ``start``,
``processing_end``, ``end``, ``interruptions`` and ``mode`` are needed; -1 stands for times that
are not known yet. Nothing of matplotlib is loaded before a picture is drawn.
"""

from __future__ import annotations

import io
import itertools
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.job_shop.instance import Instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image, ImageFont

__all__ = ["animate", "ansi", "frame", "gantt"]

Schedule = Mapping[str, Any]
Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 150
DOWN_COLOUR = "#3b3b3b"
CLOCK_COLOUR = "#c1121f"
BAR_HEIGHT = 0.78
DOWN_HEIGHT = 0.9

FRAMES_PER_SECOND = 12
LAST_FRAME_SECONDS = 3.0
STATE_WIDTH = 150
"""Pixels beside a film's chart that tell what each machine does at the moment."""

JOB_SYMBOLS = string.digits + string.ascii_uppercase + string.ascii_lowercase
IDLE, BLOCKED, DOWN, UNNAMED = " ", "-", "#", "?"


@dataclass(frozen=True)
class _Bar:
    """One operation on its machine: processing in [start, finish), then blocked in [finish, end).

    All times are cut at the present.
    """

    machine: int
    job: int
    operation: int
    start: int
    finish: int
    end: int


@dataclass(frozen=True)
class _Chart:
    """What a picture shows: bars, down times (machine, begin, end), and the time it ends at."""

    instance: Instance
    bars: list[_Bar]
    down: list[tuple[int, int, int]]
    mode: str
    time: int
    finished: bool


def gantt(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    time: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a schedule: a row for each machine, a colour for each job.

    Processing is solid, a job that blocks its machine pale and hatched, a machine that is down
    dark and hatched.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture; its suffix (.png, .pdf or .svg) is the format.
        time: the present, which a running episode is drawn up to; its latest known time
            unless given.
        title: text above the chart; name, size, mode and makespan unless given.

    Returns:
        The figure; it belongs to no window and needs no closing.

    Raises:
        ParameterError: schedule and instance do not fit, or the suffix is not one of the three.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    if path is not None:
        _check_suffix(path, PICTURE_SUFFIXES)
    figure = _figure(_chart(instance, schedule, time), title)
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format=Path(path).suffix[1:].lower())
        write_whole(path, picture.getvalue())
    return figure


def frame(instance: Instance, schedule: Schedule, *, time: int | None = None) -> Pixels:
    """Draw the same chart as `gantt` as an array of pixels.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the present; the latest known time unless given.

    Returns:
        uint8 (height, width, 3), red, green, blue.

    Raises:
        ParameterError: schedule and instance do not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    return _pixels(_figure(_chart(instance, schedule, time), None))


def ansi(
    instance: Instance, schedule: Schedule, *, time: int | None = None, width: int = 80
) -> str:
    """Draw a schedule as text: a line for each machine, a symbol for each job.

    A column stands for a stretch of time and shows what the machine does in its middle.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the present; the latest known time unless given.
        width: characters to a line, at least 40.

    Returns:
        Lines of at most `width` ASCII characters.

    Raises:
        ParameterError: schedule and instance do not fit, or `width` is too small.
    """
    if width < 40:
        raise ParameterError(f"width: found {width}, expected at least 40 characters")
    chart = _chart(instance, schedule, time)
    labels = [f"M{machine}" for machine in range(instance.num_machines)]
    margin = max(map(len, labels)) + 1
    cells = _cells(chart, width - margin - 2)
    rows = [f"{label:<{margin}}|{''.join(row)}|" for label, row in zip(labels, cells, strict=True)]
    return "\n".join([_heading(chart)[:width], *rows, *_scale(chart, margin, width)])


def animate(
    instance: Instance,
    schedule: Schedule,
    path: str | Path,
    *,
    frames: int = 120,
    title: str | None = None,
) -> None:
    """Film a schedule: the chart grows with a moving clock, beside it the state of each machine.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule of a finished episode.
        path: the .gif file to write.
        frames: number of pictures, 2 to 2000.
        title: text above the chart; name, size, mode and makespan unless given.

    Raises:
        ParameterError: schedule and instance do not fit, or `frames` or the suffix is wrong.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    _check_suffix(path, (".gif",))
    if not 2 <= frames <= 2000:
        raise ParameterError(f"frames: found {frames}, expected 2 to 2000")
    chart = _chart(instance, schedule, None)
    pictures = _Film(chart, title).pictures(frames)
    duration = [round(1000 / FRAMES_PER_SECOND)] * frames
    duration[-1] = round(1000 * LAST_FRAME_SECONDS)
    film = io.BytesIO()
    pictures[0].save(
        film, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    write_whole(path, film.getvalue())


# ---------------------------------------------------------------- from schedule to bars


def _chart(instance: Instance, schedule: Schedule, time: int | None) -> _Chart:
    """Cut the schedule at the present, which is its latest known time unless given."""
    start, finish, end = (
        _times(instance, schedule, key) for key in ("start", "processing_end", "end")
    )
    if time is None:
        time = int(max(start.max(), finish.max(), end.max(), 0))
    mode = str(schedule["mode"])
    bars = []
    for job, operation in np.argwhere((start >= 0) & (start <= time)):
        begin, stop, leave = (int(array[job, operation]) for array in (start, finish, end))
        stop = min(stop, time) if stop >= 0 else time
        if mode == "classic":
            leave = stop
        leave = min(leave, time) if leave >= 0 else time
        machine = int(instance.machine[job, operation])
        bars.append(_Bar(machine, int(job), int(operation), begin, stop, max(stop, leave)))
    real = instance.machine >= 0
    done = bool((finish[real] >= 0).all() and finish.max() <= time)
    return _Chart(instance, bars, _down_times(schedule, time), mode, time, done)


def _times(instance: Instance, schedule: Schedule, key: str) -> npt.NDArray[np.int64]:
    found = np.asarray(schedule[key]) if key in schedule else None
    if found is None or found.shape != instance.machine.shape or found.dtype.kind not in "iu":
        what = "nothing" if found is None else f"{found.dtype} {found.shape}"
        raise ParameterError(
            f"schedule[{key!r}]: found {what}, expected whole numbers "
            f"{instance.machine.shape} as the instance has"
        )
    return found.astype(np.int64)


def _down_times(schedule: Schedule, time: int) -> list[tuple[int, int, int]]:
    rows = np.asarray(schedule.get("interruptions", ())).reshape(-1, 5).tolist()
    cut = [(machine, begin, min(end, time)) for machine, begin, end, _, _ in rows]
    return [(machine, begin, end) for machine, begin, end in cut if begin < end]


def _heading(chart: _Chart) -> str:
    instance = chart.instance
    mode = "interrupting" if chart.down and chart.mode == "blocking" else chart.mode
    what = "makespan" if chart.finished else "time"
    size = f"{instance.num_jobs} jobs, {instance.num_machines} machines"
    return f"{instance.name} ({size}), {mode}, {what} {chart.time}"


# ---------------------------------------------------------------- text


def _cells(chart: _Chart, columns: int) -> list[list[str]]:
    """Return the symbol of each machine at the middle of each column."""
    span = max(chart.time, 1)
    columns = max(min(columns, span), 1)
    middle = (np.arange(columns) + 0.5) * span / columns
    cells = np.full((chart.instance.num_machines, columns), IDLE)
    for bar in chart.bars:
        symbol = JOB_SYMBOLS[bar.job] if bar.job < len(JOB_SYMBOLS) else UNNAMED
        cells[bar.machine, (bar.start <= middle) & (middle < bar.finish)] = symbol
        cells[bar.machine, (bar.finish <= middle) & (middle < bar.end)] = BLOCKED
    for machine, begin, end in chart.down:
        cells[machine, (begin <= middle) & (middle < end)] = DOWN
    return cells.tolist()


def _scale(chart: _Chart, margin: int, width: int) -> list[str]:
    """Return the line of times below the rows, and the legend."""
    columns = max(min(width - margin - 2, max(chart.time, 1)), 1)
    latest = str(chart.time)
    ruler = " " * margin + "0" + latest.rjust(max(columns + 1, len(latest) + 1))
    jobs = min(chart.instance.num_jobs, len(JOB_SYMBOLS))
    legend = f"jobs {JOB_SYMBOLS[0]}..{JOB_SYMBOLS[jobs - 1]} by symbol"
    if chart.instance.num_jobs > jobs:
        legend += f", further jobs {UNNAMED}"
    if chart.mode != "classic":
        legend += f", {BLOCKED} blocked"
    if chart.down:
        legend += f", {DOWN} down"
    return [ruler[:width], legend]


# ---------------------------------------------------------------- charts


def _check_suffix(path: str | Path, expected: tuple[str, ...]) -> None:
    if Path(path).suffix.lower() not in expected:
        raise ParameterError(f"{path}: expected a name that ends in {' or '.join(expected)}")


def _matplotlib() -> None:
    """Load matplotlib, or say what brings it."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'pictures need matplotlib: pip install "dispatchgym[agents]"'
        ) from None


def _colours(jobs: int) -> list[tuple[float, float, float]]:
    """Return a light, distinct colour for each job; neighbours differ most in lightness."""
    from matplotlib import colormaps

    if jobs <= 10:  # the colours of Tableau without their grey, which stands for down times
        palette = [colormaps["tab10"](index)[:3] for index in (0, 1, 2, 3, 4, 5, 6, 8, 9)]
        palette.append((0.55, 0.75, 0.95))
        return [_mix(colour, 0.25) for colour in palette[:jobs]]
    spread = [colormaps["turbo"](x)[:3] for x in np.linspace(0.06, 0.94, jobs)]
    return [_mix(colour, 0.25 + 0.25 * (job % 2)) for job, colour in enumerate(spread)]


def _mix(colour: Any, white: float) -> tuple[float, float, float]:
    red, green, blue = (float(x) * (1 - white) + white for x in colour)
    return red, green, blue


def _figure(chart: _Chart, title: str | None) -> Figure:
    """Lay out a figure whose height follows the number of machines."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 1.7 + 0.36 * min(chart.instance.num_machines, 60)
    figure = Figure(figsize=(10, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _lay_out(axes, chart, _heading(chart) if title is None else title)
    _draw(axes, chart)
    _add_legend(figure, chart)
    return figure


def _lay_out(axes: Axes, chart: _Chart, title: str) -> None:
    machines = chart.instance.num_machines
    axes.set_xlim(0, max(chart.time, 1) * 1.01)
    axes.set_ylim(machines - 0.4, -0.6)
    step = max(1, machines // 40)
    axes.set_yticks(range(0, machines, step))
    axes.set_yticklabels([f"M{machine}" for machine in range(0, machines, step)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("time")
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw(axes: Axes, chart: _Chart) -> None:
    colours = _colours(chart.instance.num_jobs)
    for bar in chart.bars:
        colour = colours[bar.job]
        axes.barh(
            bar.machine,
            bar.finish - bar.start,
            left=bar.start,
            height=BAR_HEIGHT,
            color=colour,
            edgecolor="0.25",
            linewidth=0.5,
        )
        if bar.end > bar.finish:
            axes.barh(
                bar.machine,
                bar.end - bar.finish,
                left=bar.finish,
                height=BAR_HEIGHT,
                color=_mix(colour, 0.75),
                edgecolor=colour,
                linewidth=0.5,
                hatch="////",
            )
    for machine, begin, end in chart.down:
        axes.barh(
            machine,
            end - begin,
            left=begin,
            height=DOWN_HEIGHT,
            color=DOWN_COLOUR,
            edgecolor="0.75",
            linewidth=0.5,
            hatch="xxxx",
        )
    _label_jobs(axes, chart)
    if chart.finished:
        axes.axvline(chart.time, color="0.2", linestyle="--", linewidth=1.2)


def _label_jobs(axes: Axes, chart: _Chart) -> None:
    """Write the job's number where its bar is wide enough, smaller where it is narrow."""
    for bar in chart.bars:
        processing = max(_undisturbed(bar, chart.down), key=lambda piece: piece[1] - piece[0])
        text = str(bar.job)
        for (begin, end), size in itertools.product([processing, (bar.finish, bar.end)], (8, 6)):
            if end - begin >= (0.0005 + 0.0008 * len(text)) * size * max(chart.time, 1):
                _write(axes, text, (begin + end) / 2, bar.machine, size, begin >= bar.finish)
                break


def _write(axes: Axes, text: str, time: float, machine: int, size: int, hatched: bool) -> None:
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0}
    axes.text(
        time,
        machine,
        text,
        ha="center",
        va="center",
        fontsize=size,
        bbox=paper if hatched else None,
    )


def _undisturbed(bar: _Bar, down: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return the stretches of processing that no down time covers."""
    pieces, begin = [], bar.start
    for machine, down_begin, down_end in sorted(down):
        if machine == bar.machine and down_begin < bar.finish and down_end > bar.start:
            pieces.append((begin, max(down_begin, begin)))
            begin = max(down_end, begin)
    return [*pieces, (begin, max(bar.finish, begin))]


def _add_legend(figure: Figure, chart: _Chart) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Any] = [Patch(facecolor="0.75", edgecolor="0.25", label="job in process")]
    if chart.mode != "classic":
        entries.append(
            Patch(facecolor="0.95", edgecolor="0.6", hatch="////", label="blocks its machine")
        )
    if chart.down:
        entries.append(
            Patch(facecolor=DOWN_COLOUR, edgecolor="0.75", hatch="xxxx", label="machine down")
        )
    if chart.finished:
        entries.append(Line2D([], [], color="0.2", linestyle="--", label="makespan"))
    figure.legend(
        handles=entries, loc="outside lower center", ncols=len(entries), frameon=False, fontsize=9
    )


def _pixels(figure: Figure) -> Pixels:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


# ---------------------------------------------------------------- films


class _Film:
    """The pictures of an episode, cut from two charts: a full one and an empty one.

    Left of the clock a picture shows the full chart, right of it the empty one, so a film costs
    two drawings whatever its length.
    """

    def __init__(self, chart: _Chart, title: str | None) -> None:
        """Draw both charts."""
        _matplotlib()
        from matplotlib.font_manager import findfont
        from PIL import ImageFont

        figure = _figure(chart, title)
        self.chart = chart
        self.full = _pixels(figure)
        axes = figure.axes[0]
        height = self.full.shape[0]
        to_pixels = axes.transData.transform
        self.origin, self.end = (to_pixels((time, 0))[0] for time in (0, max(chart.time, 1)))
        machines = range(chart.instance.num_machines)
        self.rows = [height - to_pixels((0, machine))[1] for machine in machines]
        self.row_height = abs(to_pixels((0, 1))[1] - to_pixels((0, 0))[1]) * BAR_HEIGHT
        self.top = height - to_pixels((0, -0.6))[1]
        self.bottom = height - to_pixels((0, chart.instance.num_machines - 0.4))[1]
        for artist in [*axes.patches, *axes.texts, *axes.lines]:
            artist.set_visible(False)
        self.empty = _pixels(figure)
        self.font: ImageFont.FreeTypeFont = ImageFont.truetype(findfont("DejaVu Sans"), 18)

    def pictures(self, frames: int) -> list[Image.Image]:
        """Return pictures at equal distances of time, all with one palette of 256 colours."""
        from PIL import Image

        times = np.linspace(0, self.chart.time, frames)
        shown = [np.asarray(self._picture(x * self.chart.time)) for x in (0.3, 0.6, 1.0)]
        palette = Image.fromarray(np.vstack(shown)).quantize(256, kmeans=1)
        colours = np.array(palette.getpalette()).reshape(-1, 3)
        colours[colours.min(axis=1) > 245] = 255  # the paper, which averaging makes grey
        palette.putpalette(colours.ravel().tolist())
        return [
            self._picture(time).quantize(palette=palette, dither=Image.Dither.NONE)
            for time in times
        ]

    def _picture(self, time: float) -> Image.Image:
        from PIL import Image, ImageDraw

        clock = self.origin + (self.end - self.origin) * time / max(self.chart.time, 1)
        pixels = self.empty.copy()
        column = round(clock)
        top, bottom = round(self.top), round(self.bottom)
        pixels[top:bottom, :column] = self.full[top:bottom, :column]
        height, width, _ = pixels.shape
        picture = Image.new("RGB", (width + STATE_WIDTH, height), "white")
        picture.paste(Image.fromarray(pixels), (0, 0))
        pen = ImageDraw.Draw(picture)
        pen.line([(clock, top), (clock, bottom)], CLOCK_COLOUR, 3)
        pen.text(
            (width + STATE_WIDTH / 2, self.top - 4),
            f"t = {int(time)}",
            CLOCK_COLOUR,
            font=self.font,
            anchor="mb",
        )
        for machine, row in enumerate(self.rows):
            self._draw_state(pen, machine, row, width, time)
        return picture

    def _draw_state(self, pen: Any, machine: int, row: float, left: int, time: float) -> None:
        """Draw what a machine does at a time: the job's colour and a word."""
        text, colour, ink = self._state(machine, time)
        box = (
            left + 4,
            row - self.row_height / 2,
            left + STATE_WIDTH - 8,
            row + self.row_height / 2,
        )
        pen.rectangle(box, fill=colour, outline="#bbbbbb")
        pen.text((left + STATE_WIDTH / 2, row), text, ink, font=self.font, anchor="mm")

    def _state(self, machine: int, time: float) -> tuple[str, str, str]:
        """Return words, background and ink for a machine at a time."""
        from matplotlib.colors import to_hex

        if any(m == machine and begin <= time < end for m, begin, end in self.chart.down):
            return "down", DOWN_COLOUR, "white"
        for bar in self.chart.bars:
            if bar.machine == machine and bar.start <= time < bar.end:
                colour = _colours(self.chart.instance.num_jobs)[bar.job]
                if time < bar.finish:
                    return f"job {bar.job}", to_hex(colour), "black"
                return f"{bar.job} blocks", to_hex(_mix(colour, 0.75)), "black"
        return "idle", "#ffffff", "#999999"
