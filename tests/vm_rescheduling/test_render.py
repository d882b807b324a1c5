"""Pictures show what the plan does, and files are written whole or not at all."""

import subprocess
import sys

import numpy as np
import pytest
from vm_rescheduling.plans import random_plan, small

from dispatchgym.envs.core.errors import (
    DispatchGymError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.vm_rescheduling import render
from dispatchgym.envs.vm_rescheduling.generators import make_instance, toy, toy_order

pytest.importorskip("matplotlib")

# Machine 0: 28 and 36 cores free; machine 1: 44 and 4.
ROWS = [(16, 2, 0, 2), (8, 1, 0, 0), (40, 1, 1, 1)]
MOVE = {"moves": [[1, 1, 0]]}


def boxes(axes):
    """Return colour, left edge rounded to the machine, lower edge and height of every box."""
    found = []
    for collection in axes.collections:
        colour = to_hex(collection.get_facecolor()[0]) if len(collection.get_paths()) else ""
        for path in collection.get_paths():
            (left, low), (_, high) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            node = int(left > round(left + 0.2) - 0.2)
            found.append((round(left + 0.2), node, colour, round(low), round(high - low)))
    return sorted(found)


def to_hex(colour):
    from matplotlib.colors import to_hex

    return to_hex(colour)


def test_bars_stack_vms_slots_and_fragments():
    before, after = render.plot_cluster(small(ROWS), MOVE).axes
    vm, moved, slot, fragment = (
        render.VM_COLOUR,
        render.MOVED_COLOUR,
        render.SLOT_COLOUR,
        render.FRAGMENT_COLOUR,
    )
    # Machine 0 has 12 + 4 fragments and machine 1 12 + 4: the first one comes first.
    assert boxes(before) == sorted(
        [
            (0, 0, vm, 0, 8), (0, 0, moved, 8, 8), (0, 0, slot, 16, 16), (0, 0, fragment, 32, 12),
            (0, 1, vm, 0, 8), (0, 1, slot, 8, 16), (0, 1, slot, 24, 16), (0, 1, fragment, 40, 4),
            (1, 0, slot, 0, 16), (1, 0, slot, 16, 16), (1, 0, fragment, 32, 12),
            (1, 1, vm, 0, 40), (1, 1, fragment, 40, 4),
        ]
    )  # fmt: skip
    assert (0, 0, slot, 8, 16) in boxes(after) and (0, 0, slot, 24, 16) in boxes(after)
    assert (1, 0, moved, 0, 8) in boxes(after)
    for axes in (before, after):
        assert sum(height for *_, height in boxes(axes)) == 4 * 44


def test_titles_give_rate_slots_and_migrations():
    before, after = render.plot_cluster(small(ROWS), MOVE).axes
    assert before.get_title(loc="left") == "before: fragment rate 0.286, 5 slots of 16 cores"
    expected = "after 1 migration: fragment rate 0.143, 6 slots of 16 cores"
    assert after.get_title(loc="left") == expected


def test_large_clusters_show_the_machines_concerned():
    instance = make_instance("random_100", 0)
    plan = {"moves": random_plan(instance, np.random.default_rng(0), 12)}
    figure = render.plot_cluster(instance, plan)
    shown = [int(label.get_text()) for label in figure.axes[1].get_xticklabels()]
    touched = {int(instance.vm_pm[vm]) for vm, _, _ in plan["moves"]}
    touched |= {pm for _, pm, _ in plan["moves"]}
    assert len(shown) == len(set(shown)) == render.MACHINES_SHOWN
    assert touched <= set(shown)
    fragments = (instance.free_cpu % 16).sum(axis=1)
    left_out = sorted(set(range(100)) - set(shown))
    assert fragments[left_out].max() <= min(fragments[pm] for pm in set(shown) - touched)


def test_frames_have_one_size():
    instance = make_instance("S", 0)
    plan = random_plan(instance, np.random.default_rng(0), 3)
    shapes = {render.frame(instance, {"moves": plan[:count]}).shape for count in (0, 3)}
    assert len(shapes) == 1 and next(iter(shapes))[2] == 3
    one, other = (render.frame(instance, {"moves": plan[:count]}) for count in (0, 3))
    assert one.dtype == np.uint8 and (one != other).any()


def test_text_of_a_small_cluster():
    text = render.ansi(small(ROWS), MOVE, width=72)
    assert text.splitlines() == [
        "small: 2 machines, 3 VMs, 1 of 50 migrations",
        "fragment rate 0.2857 -> 0.1429, slots of 16 cores 5 -> 6, free cores 112",
        "",
        "fragment cores on a node       0     1-3     4-7    8-11   12-15",
        "  nodes before                 0       0       2       0       2",
        "  nodes after                  0       0       4       0       0",
        "",
        "    PM node 0                   node 1                   fragments",
        "     0 [####ooooooooooooooooxx] [####ooooooooooooooooxx]         8",
        "     1 [####ooooooooooooooooxx] [####################xx]         8",
        "# VMs, o free in whole slots, x fragments",
    ]


@pytest.mark.parametrize("scenario", ["toy", "S", "M", "M-MR", "random_2"])
def test_text_keeps_to_its_width(scenario):
    instance = make_instance(scenario, 1)
    for width in (60, 80, 120):
        lines = render.ansi(instance, {"moves": []}, width=width).splitlines()
        assert all(len(line) <= width and line.isascii() for line in lines)
        assert len(lines) < 24
    with pytest.raises(ParameterError, match="width: found 59"):
        render.ansi(instance, {"moves": []}, width=59)


def test_text_counts_every_node():
    lines = render.ansi(make_instance("M", 0), {"moves": []}).splitlines()
    counts = [int(word) for word in lines[4].split()[2:]]
    assert sum(counts) == 558


def test_curves_are_means_that_keep_their_last_value():
    plans = {"none": [{"moves": []}] * 2, "best": [{"moves": [[0, 0, 1]]}, TWO_STEPS]}
    instances = [toy(), toy_order()]
    axes = render.plot_migrations(instances, plans, best={2: 0.0}).axes[0]
    none, best, optimum = axes.get_lines()
    assert none.get_ydata().tolist() == [1.0, 1.0, 1.0]
    assert best.get_ydata().tolist() == [1.0, 0.75, 0.25]
    assert best.get_label() == "best 0.250"
    assert optimum.get_xydata().tolist() == [[2.0, 0.0]]
    assert axes.get_title(loc="left") == "2 clusters, mean"


TWO_STEPS = {"moves": [[3, 0, 0], [0, 1, 0]]}


def test_curves_of_one_cluster():
    axes = render.plot_migrations(toy_order(), {"best": TWO_STEPS}).axes[0]
    assert axes.get_lines()[0].get_ydata().tolist() == [1.0, 1.0, 0.0]
    assert axes.get_ylabel() == "fragment rate (16 cores)"
    mixed = toy_order().replace(objective="mixed_memory")
    axes = render.plot_migrations(mixed, {"best": TWO_STEPS}).axes[0]
    assert axes.get_ylabel() == "weighted fragment rate"


def test_curves_that_do_not_fit():
    with pytest.raises(ParameterError, match=r"plans\['ha'\]: found 1, expected 2"):
        render.plot_migrations([toy(), toy()], {"ha": [{"moves": []}]})
    with pytest.raises(ParameterError, match="found none"):
        render.plot_migrations([], {})


def test_files(tmp_path):
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")):
        render.plot_cluster(toy(), {"moves": []}, tmp_path / f"new/cluster{suffix}")
        assert (tmp_path / f"new/cluster{suffix}").read_bytes().startswith(start)
    render.plot_migrations(toy(), {"none": {"moves": []}}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    with pytest.raises(ParameterError, match=r"ends in \.png or \.pdf or \.svg"):
        render.plot_cluster(toy(), {"moves": []}, tmp_path / "cluster.gif")
    with pytest.raises(DispatchGymError, match="cannot be written"):
        render.plot_cluster(toy(), {"moves": []}, tmp_path / "curves.png" / "x.png")


def test_plans_of_other_clusters():
    for draw in (render.ansi, render.frame, render.plot_cluster):
        with pytest.raises(ParameterError, match=r"moves'\]\[0\]: found \[0, 5, 0\]"):
            draw(toy(), {"moves": [[0, 5, 0]]})


def test_without_matplotlib_text_works_and_pictures_say_what_is_missing():
    code = """
import sys
sys.modules["matplotlib"] = None
from dispatchgym.envs.core.errors import MissingDependencyError
from dispatchgym.envs.vm_rescheduling import render
from dispatchgym.envs.vm_rescheduling.generators import toy
assert "toy" in render.ansi(toy(), {"moves": []})
for draw in (render.frame, render.plot_cluster):
    try:
        draw(toy(), {"moves": []})
    except MissingDependencyError as error:
        print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.count("pip install") == 2
    assert issubclass(MissingDependencyError, DispatchGymError)


def test_importing_loads_no_matplotlib():
    code = (
        "import sys, dispatchgym.envs.vm_rescheduling.render as render;"
        "assert 'matplotlib' not in sys.modules and render"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
