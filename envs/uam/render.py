"""Pictures of a fleet's day: map, timelines, demand, profit, films, and plain text.

Every function takes the schedule of a finished or of a running episode, the dictionary of arrays
that ``info["schedule"]`` holds at the end of an episode. Only the key ``decisions`` is needed.
Nothing of matplotlib is loaded before a picture is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.uam.instance import Instance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

__all__ = ["animate", "ansi", "demand", "fleet_map", "frame", "profit", "timelines"]

Schedule = Mapping[str, Any]
Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 120
FILM_DOTS_PER_INCH = 85
FRAMES_PER_SECOND = 10
LAST_FRAME_SECONDS = 3.0
NUM_COLUMNS = 10
MOST_ROWS = 60
"""Aircraft that a picture of timelines shows at most."""

WAITING, FLYING, CHARGING, IDLE, REPAIR = range(5)
STATES = ("waiting for take-off", "flying", "charging", "staying", "in repair")
STATE_COLOURS = ("#f4a259", "#2f6db3", "#5fa777", "#d9d9d9", "#3b3b3b")
BUSY_COLOUR, PORT_COLOUR, STOP_COLOUR = "#c1121f", "#33415c", "#8d99ae"
EMPTY_COLOUR = "#9e9e9e"
PROFIT_COLOUR, FARES_COLOUR, COST_COLOUR = "#1b4332", "#2f6db3", "#c1121f"


@dataclass(frozen=True)
class _Decision:
    """One row of a schedule, with what it earned, in cents."""

    time: int
    craft: int
    origin: int
    action: int
    passengers: int
    entry: int
    arrival: int
    next: int
    cancelled: bool
    fares: int
    cost: int

    @property
    def flies(self) -> bool:
        return self.action != self.origin and not self.cancelled


def _decisions(instance: Instance, schedule: Schedule) -> list[_Decision]:
    """Return the decisions of a schedule.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    rows = np.asarray(schedule.get("decisions"))
    if rows.ndim != 2 or rows.shape[1] != NUM_COLUMNS or rows.dtype.kind not in "iu":
        raise ParameterError(
            f"schedule['decisions']: found {rows.dtype} {rows.shape}, "
            f"expected whole numbers (decisions, {NUM_COLUMNS})"
        )
    most = (instance.num_aircraft, instance.num_ports, instance.num_ports)
    if (rows[:, 1:4] < 0).any() or (rows[:, 1:4] >= most).any():
        raise ParameterError("schedule['decisions']: aircraft or vertiports are not the instance's")
    return [_decision(instance, row) for row in rows.tolist()]


def _decision(instance: Instance, row: list[int]) -> _Decision:
    time, craft, origin, action, passengers, _, entry, arrival, following, cancelled = row
    fares = cost = 0
    if action != origin and not cancelled:
        slot = (time - instance.start) // instance.slot
        fares = passengers * int(instance.fare_cents[slot, origin, action])
        heads = passengers if instance.op_basis == "passenger" else 1
        cost = heads * int(instance.operating_cents[origin, action])
        cost += int(instance.electricity_cents[origin, action])
    return _Decision(
        time, craft, origin, action, passengers, entry, arrival, following, bool(cancelled),
        fares, cost,
    )  # fmt: skip


class _Replay:
    """The fleet as it is at a moment: decisions up to it, and what follows from them."""

    def __init__(self, instance: Instance, schedule: Schedule) -> None:
        self.instance = instance
        self.decisions = _decisions(instance, schedule)
        self.done = 0
        self.last: list[_Decision | None] = [None] * instance.num_aircraft
        self.on_charger = [False] * instance.num_aircraft
        self.parked = np.bincount(instance.start_port, minlength=instance.num_ports)
        self.charging = np.zeros(instance.num_ports, np.int64)
        self.fares = self.cost = self.passengers = self.flights = 0
        self.curve = [(instance.start, 0)]

    @property
    def profit(self) -> int:
        return self.fares - self.cost

    def advance(self, time: int) -> None:
        """Apply the decisions up to a minute, included."""
        while self.done < len(self.decisions) and self.decisions[self.done].time <= time:
            self._apply(self.decisions[self.done])
            self.done += 1

    def _apply(self, decision: _Decision) -> None:
        self.last[decision.craft] = decision
        if decision.flies:
            self._move(decision.craft, decision.origin, decision.action)
            self.fares += decision.fares
            self.cost += decision.cost
            self.passengers += decision.passengers
            self.flights += 1
            self.curve.append((decision.time, self.profit))
        elif not decision.cancelled:
            self._clear_charger(decision.craft, decision.origin)

    def _move(self, craft: int, origin: int, target: int) -> None:
        (self.charging if self.on_charger[craft] else self.parked)[origin] -= 1
        self.on_charger[craft] = bool(self.instance.chargers[target] > 0)
        (self.charging if self.on_charger[craft] else self.parked)[target] += 1

    def _clear_charger(self, craft: int, port: int) -> None:
        if self.on_charger[craft] and self.parked[port] < self.instance.parking[port]:
            self.charging[port] -= 1
            self.parked[port] += 1
            self.on_charger[craft] = False

    def state(self, craft: int, time: int) -> int:
        """Return what an aircraft does at a minute."""
        last = self.last[craft]
        return IDLE if last is None else _state(self.instance, last, time)

    def place(self, craft: int, time: int) -> tuple[float, float]:
        """Return where an aircraft is at a minute."""
        last, one = self.last[craft], self.instance
        if last is None:
            port = one.start_port[craft]
            return float(one.x[port]), float(one.y[port])
        share = _progress(last, time)
        x = (1 - share) * one.x[last.origin] + share * one.x[last.action]
        y = (1 - share) * one.y[last.origin] + share * one.y[last.action]
        return float(x), float(y)


def _state(instance: Instance, decision: _Decision, time: int) -> int:
    if decision.cancelled:
        return REPAIR if time < decision.next else IDLE
    if not decision.flies:
        return IDLE
    if time < decision.entry:
        return WAITING
    if time < decision.arrival:
        return FLYING
    return CHARGING if time < decision.next else IDLE


def _progress(decision: _Decision, time: int) -> float:
    """Return the part of the flight that is over, take-off and landing included."""
    if not decision.flies:
        return 0.0
    length = max(decision.arrival - decision.entry, 1)
    return min(max((time - decision.entry) / length, 0.0), 1.0)


def _clock(minute: float) -> str:
    return f"{int(minute) // 60:02d}:{int(minute) % 60:02d}"


def _dollars(cents: int) -> str:
    return f"{cents / 100:,.2f} $"


def _moment(instance: Instance, schedule: Schedule, time: int | None) -> int:
    """Return the present: the last decision's time unless given."""
    if time is not None:
        return int(time)
    rows = np.asarray(schedule.get("decisions")).reshape(-1, NUM_COLUMNS)
    return int(rows[-1, 0]) if len(rows) else instance.start


# ---------------------------------------------------------------- text


def ansi(
    instance: Instance, schedule: Schedule, *, time: int | None = None, width: int = 80
) -> str:
    """Draw the fleet as text: a line for each vertiport, with its places and demand.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the present; that of the last decision unless given.
        width: characters to a line, at least 60.

    Returns:
        Lines of at most `width` ASCII characters.

    Raises:
        ParameterError: schedule and instance do not fit, or `width` is too small.
    """
    if width < 60:
        raise ParameterError(f"width: found {width}, expected at least 60 characters")
    now = _moment(instance, schedule, time)
    replay = _Replay(instance, schedule)
    replay.advance(now)
    coming = _coming(replay, now)
    left = _left(replay, now)
    gauge = (width - 44) // 2
    rows = [
        f"{instance.name[: width - 40]}  {_clock(now)}  profit {_dollars(replay.profit)}",
        f"{replay.flights} flights, {replay.passengers} passengers",
        f"{'port':>4}  {'parked':<{gauge + 8}}{'on chargers':<{gauge + 8}}{'coming':>6}"
        f"{'demand left':>13}",
    ]
    for port in range(instance.num_ports):
        kind = "*" if instance.high_demand[port] else " "
        parked = _gauge(int(replay.parked[port]), int(instance.parking[port]), gauge)
        charging = _gauge(int(replay.charging[port]), int(instance.chargers[port]), gauge)
        rows.append(f"{port:>3}{kind}  {parked}{charging}{coming[port]:>6}{left[port]:>13}")
    rows.append("# taken or reserved, * high demand")
    return "\n".join(row[:width].rstrip() for row in rows)


def _gauge(used: int, places: int, width: int) -> str:
    filled = round(width * used / places) if places else 0
    return (
        f"{'#' * filled + '.' * (width - filled if places else 0):<{width}} {used:>3}/{places:<3}"
    )


def _coming(replay: _Replay, now: int) -> list[int]:
    """Return the aircraft on their way to each vertiport."""
    counts = [0] * replay.instance.num_ports
    for craft, last in enumerate(replay.last):
        if last is not None and replay.state(craft, now) in (WAITING, FLYING):
            counts[last.action] += 1
    return counts


def _left(replay: _Replay, now: int) -> list[int]:
    """Return the passengers left at each vertiport in the current slot."""
    one = replay.instance
    slot = min((now - one.start) // one.slot, one.num_slots - 1)
    left = one.passengers[slot].sum(axis=1)
    for decision in replay.decisions[: replay.done]:
        if (decision.time - one.start) // one.slot == slot:
            left[decision.origin] -= decision.passengers
    return [int(count) for count in left]


# ---------------------------------------------------------------- pictures


def fleet_map(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    time: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a map of the vertiports with the flights of a moment, and the profit so far.

    The bars below a vertiport show its parking lots and chargers, taken or reserved. Aircraft
    in the air are coloured by their passengers.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture; its suffix (.png, .pdf or .svg) is the format.
        time: the moment, in minutes since midnight; that of the last decision unless given.
        title: text above the map; name and time unless given.

    Returns:
        The figure; it belongs to no window and needs no closing.

    Raises:
        ParameterError: schedule and instance do not fit, or the suffix is not one of the three.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    return _written(path, lambda: _Map(instance, schedule, title).at(
        _moment(instance, schedule, time)
    ))  # fmt: skip


def frame(instance: Instance, schedule: Schedule, *, time: int | None = None) -> Pixels:
    """Draw the same picture as `fleet_map` as an array of pixels.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        time: the moment; that of the last decision unless given.

    Returns:
        uint8 (height, width, 3), red, green, blue.

    Raises:
        ParameterError: schedule and instance do not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    return _pixels(fleet_map(instance, schedule, time=time))


def animate(
    instance: Instance,
    schedule: Schedule,
    path: str | Path,
    *,
    frames: int = 121,
    title: str | None = None,
) -> None:
    """Film a day: the map of `fleet_map` from the start to the last landing.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule of a finished episode.
        path: the .gif file to write.
        frames: number of pictures, 2 to 2000.
        title: text above the map; name and time unless given.

    Raises:
        ParameterError: schedule and instance do not fit, or `frames` or the suffix is wrong.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    _check_suffix(path, (".gif",))
    if not 2 <= frames <= 2000:
        raise ParameterError(f"frames: found {frames}, expected 2 to 2000")
    board = _Map(instance, schedule, title)
    latest = max([instance.end, *(one.arrival for one in board.replay.decisions)])
    board.figure.set_dpi(FILM_DOTS_PER_INCH)
    pictures = []
    for moment in np.linspace(instance.start, latest, frames):
        pictures.append(_image(board.at(int(moment))))
    duration = [round(1000 / FRAMES_PER_SECOND)] * frames
    duration[-1] = round(1000 * LAST_FRAME_SECONDS)
    film = io.BytesIO()
    pictures[0].save(
        film, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )
    write_whole(path, film.getvalue())


def timelines(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw what each aircraft does over the day: a row each, a colour for each activity.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not; at most its first 60 aircraft are drawn.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.

    Returns:
        The figure; numbers on flights are their passengers.

    Raises:
        ParameterError, DispatchGymError, MissingDependencyError: as in `fleet_map`.
    """
    return _written(path, lambda: _timelines(instance, schedule, title))


def demand(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw demand against served passengers: by slot, and by vertiport of departure.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the charts; the name unless given.

    Returns:
        The figure.

    Raises:
        ParameterError, DispatchGymError, MissingDependencyError: as in `fleet_map`.
    """
    return _written(path, lambda: _demand(instance, schedule, title))


def profit(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw fares, cost and profit, summed up over the day.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.

    Returns:
        The figure.

    Raises:
        ParameterError, DispatchGymError, MissingDependencyError: as in `fleet_map`.
    """
    return _written(path, lambda: _profit(instance, schedule, title))


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


def _new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'pictures need matplotlib: pip install "dispatchgym[agents]"'
        ) from None
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Figure) -> Pixels:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _image(figure: Figure) -> Image.Image:
    from PIL import Image

    return Image.fromarray(_pixels(figure)).quantize(128, dither=Image.Dither.NONE)


def _mark_hours(axes: Axes, start: int, end: int) -> None:
    step = 60 if end - start <= 16 * 60 else 180
    hours = np.arange(-(-start // step) * step, end + 1, step)
    axes.set_xticks(hours, [_clock(float(hour)) for hour in hours])


class _Map:
    """The map, drawn once; `at` moves what moves."""

    def __init__(self, instance: Instance, schedule: Schedule, title: str | None) -> None:
        self.instance = instance
        self.title = instance.name if title is None else title
        self.replay = _Replay(instance, schedule)
        self.figure = _new_figure(11.0, 6.6, layout=None)  # to lay it out anew takes seconds
        self.board = self.figure.add_axes((0.045, 0.175, 0.465, 0.775))
        self.scale = self.figure.add_axes((0.105, 0.085, 0.345, 0.022))
        self.report = self.figure.add_axes((0.575, 0.56, 0.4, 0.39))
        self.money = self.figure.add_axes((0.59, 0.075, 0.385, 0.4))
        self.reach = max(np.ptp(instance.x), np.ptp(instance.y), 1.0)
        self._draw_ports()
        self._prepare(schedule)

    def _draw_ports(self) -> None:
        one, board = self.instance, self.board
        size = 240 if one.num_ports <= 25 else 90
        for port in range(one.num_ports):
            colour = BUSY_COLOUR if one.high_demand[port] else PORT_COLOUR
            stop = one.chargers[port] == 0
            board.scatter(
                one.x[port], one.y[port], s=size, marker="s" if stop else "o",
                color=STOP_COLOUR if stop else colour, zorder=5,
            )  # fmt: skip
            board.text(
                one.x[port], one.y[port], str(port), color="white", ha="center", va="center",
                fontsize=8 if one.num_ports <= 25 else 5, weight="bold", zorder=6,
            )  # fmt: skip
        half = 0.6 * self.reach
        for set_limits, axis in ((board.set_xlim, one.x), (board.set_ylim, one.y)):
            middle = (axis.min() + axis.max()) / 2
            set_limits(middle - half, middle + half)
        board.set_aspect("equal")
        board.set_xlabel("miles")
        board.tick_params(labelsize=8)

    def _prepare(self, schedule: Schedule) -> None:
        """Make what `at` fills: routes, aircraft, gauges, report and curve."""
        from matplotlib import colormaps
        from matplotlib.collections import LineCollection
        from matplotlib.colors import BoundaryNorm, ListedColormap
        from matplotlib.lines import Line2D

        seats = self.instance.seats
        shades = [colormaps["viridis"](part) for part in np.linspace(0.9, 0.1, seats)]
        self.colours = [EMPTY_COLOUR, *shades]
        scale = ListedColormap(self.colours)
        norm = BoundaryNorm(np.arange(seats + 2) - 0.5, seats + 1)
        self.routes: Any = LineCollection([], linewidths=0.8, zorder=1)
        self.gauges: Any = LineCollection([], linewidths=3, zorder=2)
        for lines in (self.routes, self.gauges):
            self.board.add_collection(lines)
        self.aircraft = self.board.scatter(
            [], [], s=26, c=[], cmap=scale, norm=norm, marker="o", edgecolors="white",
            linewidths=0.5, zorder=4,
        )  # fmt: skip
        bar = self.figure.colorbar(
            self.aircraft, cax=self.scale, orientation="horizontal", ticks=range(seats + 1)
        )
        bar.set_label("passengers on board", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        self.report.axis("off")
        kinds = [("high demand", "o", BUSY_COLOUR), ("vertiport", "o", PORT_COLOUR),
                 ("vertistop", "s", STOP_COLOUR)]  # fmt: skip
        marks = [Line2D([], [], linestyle="", marker=mark, color=colour, label=label)
                 for label, mark, colour in kinds]  # fmt: skip
        marks += [Line2D([], [], linewidth=3, color=colour, label=label)
                  for label, colour in (("lots taken", STATE_COLOURS[WAITING]),
                                        ("chargers taken", STATE_COLOURS[CHARGING]))]  # fmt: skip
        self.report.legend(
            handles=marks, loc="lower left", bbox_to_anchor=(-0.02, -0.06), fontsize=8, ncol=2,
            frameon=False,
        )  # fmt: skip
        self.text = self.report.text(
            0.0, 1.0, "", va="top", fontsize=11, family="monospace",
            transform=self.report.transAxes, linespacing=1.5,
        )  # fmt: skip
        self._prepare_money(schedule)

    def _prepare_money(self, schedule: Schedule) -> None:
        one = self.instance
        finished = _Replay(one, schedule)
        finished.advance(one.end)
        values = [value / 100 for _, value in finished.curve]
        self.money.set_xlim(one.start, one.end)
        self.money.set_ylim(min(values) - 0.03 * np.ptp(values) - 1, max(values) * 1.05 + 1)
        _mark_hours(self.money, one.start, one.end)
        self.money.set_xticks(self.money.get_xticks()[::2])
        self.money.set_title("profit so far, $", fontsize=9, loc="left")
        self.money.tick_params(labelsize=8)
        self.money.grid(axis="y", alpha=0.3)
        (self.line,) = self.money.plot([], [], color=PROFIT_COLOUR, drawstyle="steps-post")

    def at(self, time: int) -> Figure:
        """Return the figure as it is at a minute; minutes must not go back."""
        replay = self.replay
        replay.advance(time)
        self._move_aircraft(time)
        self._fill_gauges()
        self.board.set_title(f"{self.title}, {_clock(time)}", loc="left")
        curve = [*replay.curve, (min(time, self.instance.end), replay.profit)]
        self.line.set_data([minute for minute, _ in curve], [cents / 100 for _, cents in curve])
        states = [replay.state(craft, time) for craft in range(self.instance.num_aircraft)]
        counted = "\n".join(f"{states.count(state):>5} {name}" for state, name in enumerate(STATES))
        self.text.set_text(
            f"profit {_dollars(replay.profit)}\n"
            f"{replay.passengers} passengers, {replay.flights} flights\n{counted}"
        )
        return self.figure

    def _move_aircraft(self, time: int) -> None:
        one, replay = self.instance, self.replay
        places, heads, ways, shades = [], [], [], []
        for craft, last in enumerate(replay.last):
            if last is None or replay.state(craft, time) != FLYING:
                continue
            places.append(replay.place(craft, time))
            heads.append(last.passengers)
            ends = (last.origin, last.action)
            ways.append([(one.x[port], one.y[port]) for port in ends])
            shades.append(self.colours[last.passengers])
        self.aircraft.set_offsets(np.array(places).reshape(-1, 2))
        self.aircraft.set_array(np.array(heads))
        self.routes.set_segments(ways)
        self.routes.set_color([(*_rgb(shade), 0.35) for shade in shades])

    def _fill_gauges(self) -> None:
        """Draw, below each vertiport, how full its lots and chargers are."""
        one = self.instance
        length, below, step = 0.05 * self.reach, 0.033 * self.reach, 0.012 * self.reach
        lines, colours = [], []
        for port in range(one.num_ports):
            gauges = (
                (self.replay.parked[port], one.parking[port], STATE_COLOURS[WAITING]),
                (self.replay.charging[port], one.chargers[port], STATE_COLOURS[CHARGING]),
            )
            for row, (used, places, colour) in enumerate(gauges):
                if places == 0:
                    continue
                left, y = one.x[port] - length / 2, one.y[port] - below - row * step
                lines.append([(left, y), (left + length, y)])
                colours.append("#e6e6e6")
                lines.append([(left, y), (left + length * used / places, y)])
                colours.append(colour)
        self.gauges.set_segments(lines)
        self.gauges.set_color(colours)


def _rgb(colour: Any) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _timelines(instance: Instance, schedule: Schedule, title: str | None) -> Figure:
    from matplotlib.patches import Patch

    decisions = _decisions(instance, schedule)
    rows = min(instance.num_aircraft, MOST_ROWS)
    figure = _new_figure(13.0, 1.6 + 0.2 * rows)
    axes = figure.add_subplot()
    for state in range(len(STATES)):
        bars = [bar for bar in _bars(instance, decisions) if bar[1] == state and bar[0] < rows]
        axes.barh(
            [bar[0] for bar in bars], [bar[3] - bar[2] for bar in bars],
            left=[bar[2] for bar in bars], height=0.82, color=STATE_COLOURS[state],
            edgecolor="white", linewidth=0.3,
        )  # fmt: skip
    for decision in decisions:
        if decision.flies and decision.craft < rows:
            axes.text(
                (decision.entry + decision.arrival) / 2, decision.craft,
                f"{decision.passengers}", color="white", fontsize=6, ha="center", va="center",
            )  # fmt: skip
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_ylabel("aircraft")
    latest = max([instance.end, *(decision.next for decision in decisions)])
    axes.set_xlim(instance.start, latest)
    axes.axvline(instance.end, color=BUSY_COLOUR, linewidth=1, linestyle="--")
    _mark_hours(axes, instance.start, latest)
    axes.set_title(title or f"{instance.name}: what the aircraft do", loc="left")
    axes.legend(
        handles=[Patch(color=colour, label=name)
                 for name, colour in zip(STATES, STATE_COLOURS, strict=True)],
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=5, fontsize=8, frameon=False,
    )  # fmt: skip
    return figure


def _bars(instance: Instance, decisions: list[_Decision]) -> list[tuple[int, int, int, int]]:
    """Return stretches of one activity: aircraft, state, begin, end."""
    bars = []
    for one in decisions:
        if one.flies:
            bars += [
                (one.craft, WAITING, one.time, one.entry),
                (one.craft, FLYING, one.entry, one.arrival),
                (one.craft, CHARGING, one.arrival, one.next),
            ]
        else:
            bars.append((one.craft, REPAIR if one.cancelled else IDLE, one.time, one.next))
    return [bar for bar in bars if bar[2] < bar[3]]


def _demand(instance: Instance, schedule: Schedule, title: str | None) -> Figure:
    served = np.zeros_like(instance.passengers)
    for one in _decisions(instance, schedule):
        served[(one.time - instance.start) // instance.slot, one.origin, one.action] += (
            one.passengers
        )
    figure = _new_figure(12.0, 4.2)
    by_slot, by_port = figure.subplots(1, 2)
    width = 0.8 * instance.slot
    middle = instance.start + instance.slot * (np.arange(instance.num_slots) + 0.5)
    _pair_bars(by_slot, middle, width, instance.passengers.sum((1, 2)), served.sum((1, 2)))
    _mark_hours(by_slot, instance.start, instance.end)
    by_slot.tick_params(axis="x", labelsize=7)
    by_slot.set_title("by time", fontsize=10)
    ports = np.arange(instance.num_ports)
    _pair_bars(by_port, ports, 0.8, instance.passengers.sum((0, 2)), served.sum((0, 2)))
    if instance.num_ports <= 25:
        by_port.set_xticks(ports)
    by_port.set_title("by vertiport of departure", fontsize=10)
    by_slot.set_ylabel("passengers")
    by_slot.legend(frameon=False)
    share = served.sum() / max(instance.passengers.sum(), 1)
    figure.suptitle(
        title
        or f"{instance.name}: {served.sum()} of {instance.passengers.sum()} passengers "
        f"served ({share:.0%})"
    )
    return figure


def _pair_bars(axes: Axes, place: Any, width: float, whole: Any, part: Any) -> None:
    axes.bar(place, whole, width, color="#d0d5dd", label="demand")
    axes.bar(place, part, width, color=FARES_COLOUR, label="served")


def _profit(instance: Instance, schedule: Schedule, title: str | None) -> Figure:
    decisions = [one for one in _decisions(instance, schedule) if one.flies]
    time = [instance.start, *(one.time for one in decisions), instance.end]
    fares, cost = (
        np.cumsum([0, *(getattr(one, name) for one in decisions), 0]) / 100
        for name in ("fares", "cost")
    )
    figure = _new_figure(8.0, 4.2)
    axes = figure.add_subplot()
    for values, label, colour in (
        (fares, "fares", FARES_COLOUR),
        (cost, "cost", COST_COLOUR),
        (fares - cost, "profit", PROFIT_COLOUR),
    ):
        axes.step(time, values, where="post", label=f"{label} {values[-1]:,.0f} $", color=colour)
    axes.set_xlim(instance.start, instance.end)
    _mark_hours(axes, instance.start, instance.end)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.set_ylabel("$")
    axes.legend(frameon=False)
    axes.set_title(title or f"{instance.name}: profit over the day", loc="left")
    return figure
