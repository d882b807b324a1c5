"""Pictures of clusters before and after a plan, and of fragment rates against migrations.

Every function takes the plan of a finished or of a running episode, the dictionary that
``info["schedule"]`` holds at the end of an episode; only ``moves`` is needed. Nothing of
matplotlib is loaded before a picture is drawn.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.vm_rescheduling.instance import BOTH_NODES, Instance
from dispatchgym.envs.vm_rescheduling.placement import Placement, moves_of, rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ansi", "frame", "plot_cluster", "plot_migrations"]

Schedule = Mapping[str, Any]
Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 150
MACHINES_SHOWN = 36
"""Most machines in a picture; of larger clusters those that the plan and fragments concern most."""

VM_COLOUR, MOVED_COLOUR = "#c9d3df", "#4c78a8"
SLOT_COLOUR, FRAGMENT_COLOUR = "#d9ead3", "#e4572e"
BAR_WIDTH = 0.42

VM_SYMBOL, SLOT_SYMBOL, FRAGMENT_SYMBOL = "#", "o", "x"


@dataclass(frozen=True)
class _View:
    """A cluster before and after a plan, and which machines to show.

    Attributes:
        chunk: Cores of the request that makes a slot.
        before: The placement at the start.
        after: The placement after the plan.
        moved: VMs that stand elsewhere than at the start.
        machines: Machines to show, the most fragmented ones first.
        migrations: Number of moves.
    """

    chunk: int
    before: Placement
    after: Placement
    moved: set[int]
    machines: list[int]
    migrations: int


def ansi(instance: Instance, schedule: Schedule, *, width: int = 80, machines: int = 12) -> str:
    """Draw a cluster after a plan as text: a summary and the most fragmented machines.

    Args:
        instance: The cluster.
        schedule: The plan, finished or not.
        width: Characters to a line, at least 60.
        machines: Most machines to show.

    Returns:
        Lines of at most `width` ASCII characters. A bar stands for a node: VMs ``#``, free cores
        in whole slots ``o``, fragments ``x``.

    Raises:
        ParameterError: Plan and instance do not fit, or `width` is too small.
    """
    if width < 60:
        raise ParameterError(f"width: found {width}, expected at least 60 characters")
    view = _view(instance, schedule, machines)
    lines = [*_summary(view), "", *_node_counts(view), "", *_machine_lines(view, width)]
    return "\n".join(line[:width].rstrip() for line in lines)


def frame(instance: Instance, schedule: Schedule) -> Pixels:
    """Draw the same picture as `plot_cluster` as an array of pixels.

    Args:
        instance: The cluster.
        schedule: The plan, finished or not.

    Returns:
        uint8 (height, width, 3), red, green, blue; the size does not depend on the plan.

    Raises:
        ParameterError: Plan and instance do not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    figure = plot_cluster(instance, schedule)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plot_cluster(
    instance: Instance,
    schedule: Schedule,
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw machines as stacked bars, one for each NUMA node, before and after a plan.

    VMs are grey, those that the plan moves blue, free cores in whole slots pale green and
    fragments red. Of large clusters the machines are shown that were or are most fragmented,
    and those that the plan touches.

    Args:
        instance: The cluster.
        schedule: The plan, finished or not.
        path: Where to write the picture; its suffix (.png, .pdf or .svg) is the format.
        title: Text above; name and size unless given.

    Returns:
        The figure; it belongs to no window and needs no closing.

    Raises:
        ParameterError: Plan and instance do not fit, or the suffix is not one of the three.
        DispatchGymError: The path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    view = _view(instance, schedule, MACHINES_SHOWN)
    figure = _figure((11, 7))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, placement, word in ((upper, view.before, "before"), (lower, view.after, "after")):
        _draw_machines(axes, view, placement, word)
    shown, total = len(view.machines), instance.num_pms
    if shown < total:
        lower.set_xlabel(f"{shown} of {total} machines: moved to or from, or most fragmented")
    else:
        lower.set_xlabel("machine")
    figure.suptitle(title or _heading(view), x=0.01, ha="left", fontsize=12)
    _add_legend(figure, view)
    return _saved(figure, path)


def plot_migrations(
    instances: Instance | Sequence[Instance],
    plans: Mapping[str, Schedule | Sequence[Schedule]],
    path: str | Path | None = None,
    *,
    best: Mapping[int, float] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the fragment rate against the number of migrations, a line for each agent.

    Of several clusters the mean is drawn; a plan that has ended keeps its last rate.

    Args:
        instances: The clusters.
        plans: By agent, one plan for each cluster, in the same order.
        path: Where to write the picture; its suffix (.png, .pdf or .svg) is the format.
        best: Mean of proven optima by migration limit, drawn as points.
        title: Text above; number of clusters and machines unless given.

    Returns:
        The figure; it belongs to no window and needs no closing.

    Raises:
        ParameterError: Plans and clusters do not fit, or the suffix is not one of the three.
        DispatchGymError: The path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    clusters = [instances] if isinstance(instances, Instance) else list(instances)
    if not clusters or not plans:
        raise ParameterError("instances, plans: found none, expected at least one of each")
    limit = max(instance.migration_limit for instance in clusters)
    curves = {name: _mean_curve(clusters, plan, limit, name) for name, plan in plans.items()}
    figure = _figure((8, 5))
    axes = figure.add_subplot()
    _draw_curves(axes, curves, best or {})
    axes.set_xlim(0, limit)
    axes.set_xlabel("migrations")
    axes.set_ylabel(_rate_label(clusters[0]))
    text = f"{len(clusters)} clusters, mean" if len(clusters) > 1 else clusters[0].name
    axes.set_title(text if title is None else title, loc="left", fontsize=11)
    return _saved(figure, path)


# ---------------------------------------------------------------- from plan to view


def _view(instance: Instance, schedule: Schedule, most: int) -> _View:
    before, after = Placement(instance), Placement(instance, schedule)
    chunk = next((term.chunk for term in instance.objective.terms if term.resource == "cpu"), 16)
    moved = np.flatnonzero((before.pm != after.pm) | (before.node != after.node))
    touched = np.zeros(instance.num_pms, np.bool_)
    touched[before.pm[moved]] = touched[after.pm[moved]] = True
    fragments = (before.free_cpu % chunk).sum(axis=1)
    order = np.lexsort([np.arange(instance.num_pms), -fragments, ~touched])[:most]
    order = order[np.lexsort([order, -fragments[order]])]
    return _View(
        chunk=chunk,
        before=before,
        after=after,
        moved=set(moved.tolist()),
        machines=order.tolist(),
        migrations=len(moves_of(instance, schedule)),
    )


def _heading(view: _View) -> str:
    instance = view.after.instance
    return f"{instance.name}: {instance.num_pms} machines, {instance.num_vms} VMs"


def _slots(view: _View, placement: Placement) -> int:
    return int((placement.free_cpu // view.chunk).sum())


# ---------------------------------------------------------------- text


def _summary(view: _View) -> list[str]:
    instance = view.after.instance
    before, after = view.before.rate(), view.after.rate()
    slots = f"{_slots(view, view.before)} -> {_slots(view, view.after)}"
    return [
        f"{_heading(view)}, {view.migrations} of {instance.migration_limit} migrations",
        f"fragment rate {before:.4f} -> {after:.4f}, slots of {view.chunk} cores {slots}, "
        f"free cores {instance.total_free_cpu}",
    ]


def _node_counts(view: _View) -> list[str]:
    """Return a table: how many nodes have fragments of which size, before and after."""
    quarter = max(view.chunk // 4, 1)
    edges = sorted({0, 1, *(quarter * step for step in range(1, 4)), view.chunk})
    names = [
        str(low) if high == low + 1 else f"{low}-{high - 1}"
        for low, high in itertools.pairwise(edges)
    ]
    lines = ["fragment cores on a node" + "".join(f"{name:>8}" for name in names)]
    for word, placement in (("before", view.before), ("after", view.after)):
        counts, _ = np.histogram(placement.free_cpu % view.chunk, edges)
        lines.append(f"  nodes {word:<16}" + "".join(f"{count:>8}" for count in counts))
    return lines


def _machine_lines(view: _View, width: int) -> list[str]:
    """Return a line for each of the machines that are most fragmented after the plan."""
    free = view.after.free_cpu
    fragments = (free % view.chunk).sum(axis=1)
    worst = np.lexsort([np.arange(len(fragments)), -fragments])[: len(view.machines)]
    cells = (width - 28) // 2
    lines = [
        f"{'PM':>6} {'node 0':<{cells + 2}} {'node 1':<{cells + 2}} fragments",
        *(_machine_line(view, int(pm), cells, int(fragments[pm])) for pm in worst),
        f"{VM_SYMBOL} VMs, {SLOT_SYMBOL} free in whole slots, {FRAGMENT_SYMBOL} fragments",
    ]
    return lines


def _machine_line(view: _View, pm: int, cells: int, fragments: int) -> str:
    bars = " ".join(f"[{_bar(view, pm, node, cells)}]" for node in (0, 1))
    return f"{pm:>6} {bars} {fragments:>9}"


def _bar(view: _View, pm: int, node: int, cells: int) -> str:
    """Return the symbol at the middle of each cell of a node's bar."""
    total = int(view.after.instance.pm_cpu[pm, node])
    free = int(view.after.free_cpu[pm, node])
    used, whole = total - free, total - free % view.chunk
    symbols = []
    for cell in range(cells):
        core = (cell + 0.5) * total / cells
        symbols.append(
            VM_SYMBOL if core < used else SLOT_SYMBOL if core < whole else FRAGMENT_SYMBOL
        )
    return "".join(symbols)


# ---------------------------------------------------------------- machines


def _figure(size: tuple[float, float]) -> Figure:
    """Return an empty figure, or say what brings matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'pictures need matplotlib: pip install "dispatchgym[agents]"'
        ) from None
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_machines(axes: Axes, view: _View, placement: Placement, word: str) -> None:
    """Draw a bar for each node of each machine shown."""
    boxes: dict[str, list[tuple[float, float, float]]] = {
        colour: [] for colour in (VM_COLOUR, MOVED_COLOUR, SLOT_COLOUR, FRAGMENT_COLOUR)
    }
    for column, pm in enumerate(view.machines):
        for node in (0, 1):
            left = column + (0.01 if node else -0.01 - BAR_WIDTH)
            for colour, bottom, height in _pieces(view, placement, pm, node):
                boxes[colour].append((left, bottom, height))
    for colour, corners in boxes.items():
        _draw_boxes(axes, corners, colour)
    tallest = int(view.before.instance.pm_cpu[view.machines].max())
    axes.set_xlim(-0.7, len(view.machines) - 0.3)
    axes.set_ylim(0, tallest * 1.02)
    axes.set_xticks(range(len(view.machines)), [str(pm) for pm in view.machines])
    axes.tick_params(axis="x", length=0, labelsize=8, rotation=90 if len(view.machines) > 24 else 0)
    axes.set_ylabel("cores of a node")
    slots = _slots(view, placement)
    weighted = "weighted " if len(placement.instance.objective.terms) > 1 else ""
    rate = f"{weighted}fragment rate {placement.rate():.3f}, {slots} slots of {view.chunk} cores"
    plural = "" if view.migrations == 1 else "s"
    moves = f" {view.migrations} migration{plural}" if word == "after" else ""
    axes.set_title(f"{word}{moves}: {rate}", loc="left", fontsize=10)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _pieces(
    view: _View, placement: Placement, pm: int, node: int
) -> list[tuple[str, float, float]]:
    """Return colour, lower edge and height of what stands on a node, from the bottom up."""
    instance = placement.instance
    on = (placement.pm == pm) & ((placement.node == node) | (placement.node == BOTH_NODES))
    vms = np.flatnonzero(on)
    sizes = instance.vm_share_cpu[vms]
    both = placement.node[vms] == BOTH_NODES
    pieces: list[tuple[str, float, float]] = []
    height = 0
    for position in np.lexsort([vms, -sizes, ~both]):
        vm, size = int(vms[position]), int(sizes[position])
        pieces.append((MOVED_COLOUR if vm in view.moved else VM_COLOUR, height, size))
        height += size
    free = int(placement.free_cpu[pm, node])
    for _ in range(free // view.chunk):
        pieces.append((SLOT_COLOUR, height, view.chunk))
        height += view.chunk
    if free % view.chunk > 0:
        pieces.append((FRAGMENT_COLOUR, height, free % view.chunk))
    return pieces


def _draw_boxes(axes: Axes, corners: list[tuple[float, float, float]], colour: str) -> None:
    from matplotlib.collections import PolyCollection

    shapes = [
        [
            (left, low),
            (left + BAR_WIDTH, low),
            (left + BAR_WIDTH, low + height),
            (left, low + height),
        ]
        for left, low, height in corners
    ]
    axes.add_collection(PolyCollection(shapes, facecolor=colour, edgecolor="white", linewidth=0.6))


def _add_legend(figure: Figure, view: _View) -> None:
    from matplotlib.patches import Patch

    entries = [
        (VM_COLOUR, "VM"),
        (MOVED_COLOUR, "VM that is moved"),
        (SLOT_COLOUR, f"free: slot of {view.chunk} cores"),
        (FRAGMENT_COLOUR, "free: fragment"),
    ]
    figure.legend(
        handles=[Patch(facecolor=colour, label=label) for colour, label in entries],
        loc="outside lower center",
        ncols=len(entries),
        frameon=False,
        fontsize=9,
    )


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is None:
        return figure
    suffix = Path(path).suffix.lower()
    if suffix not in PICTURE_SUFFIXES:
        raise ParameterError(
            f"{path}: expected a name that ends in {' or '.join(PICTURE_SUFFIXES)}"
        )
    picture = io.BytesIO()
    figure.savefig(picture, format=suffix[1:])
    write_whole(path, picture.getvalue())
    return figure


# ---------------------------------------------------------------- curves


def _mean_curve(
    clusters: list[Instance], plan: Schedule | Sequence[Schedule], limit: int, name: str
) -> npt.NDArray[np.float64]:
    """Return the mean rate after 0, 1, ..., limit migrations."""
    plans = [plan] if isinstance(plan, Mapping) else list(plan)
    if len(plans) != len(clusters):
        raise ParameterError(
            f"plans[{name!r}]: found {len(plans)}, expected {len(clusters)}, one for each cluster"
        )
    total = np.zeros(limit + 1)
    for instance, schedule in zip(clusters, plans, strict=True):
        curve = rates(instance, schedule)[: limit + 1]
        total += np.append(curve, np.full(limit + 1 - len(curve), curve[-1]))
    return total / len(clusters)


def _draw_curves(
    axes: Axes, curves: Mapping[str, npt.NDArray[np.float64]], best: Mapping[int, float]
) -> None:
    from matplotlib import colormaps

    palette = colormaps["tab10"]
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(curve, color=palette(index % 10), linewidth=1.8, label=f"{name} {curve[-1]:.3f}")
    if best:
        axes.plot(
            list(best), list(best.values()), "k*", markersize=9, linestyle="none", label="optimum",
            zorder=3, clip_on=False,
        )  # fmt: skip
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=9)


def _rate_label(instance: Instance) -> str:
    terms = instance.objective.terms
    if len(terms) > 1:
        return "weighted fragment rate"
    unit = "cores" if terms[0].resource == "cpu" else "MB"
    return f"fragment rate ({terms[0].chunk} {unit})"
