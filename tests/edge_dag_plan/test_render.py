"""Pictures show what the schedule says, and files are written whole or not at all."""

import numpy as np
import pytest
from edge_dag_plan.cases import diamond, simulate

from dispatchgym.envs.core.errors import DispatchGymError, ParameterError
from dispatchgym.envs.edge_dag_plan import make_instance, render

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw few dots: what is tested does not depend on them."""
    monkeypatch.setattr(render, "DOTS_PER_INCH", 40)


def plan(instance, actions):
    simulation = simulate([instance])
    for action in actions:
        simulation.step(np.array([action]), np.ones(1, np.bool_), False)
    return simulation.schedule(0)


def bars(axes):
    return sorted(
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width())
        for bar in axes.patches
        if hasattr(bar, "get_x")
    )


def test_the_chart_has_a_bar_for_everything_that_happens():
    figure = render.picture(diamond(), plan(diamond(), (0, 1, 0, 0)), title="by hand")
    _, chart = figure.axes
    assert bars(chart) == [(0, 0, 4), (0, 4, 8), (0, 10, 14), (1, 4, 7), (2, 7, 9), (3, 9, 10)]
    labels = [label.get_text() for label in chart.get_yticklabels()]
    assert labels == ["device", "uplink", "server 0", "downlink"]
    assert figure.get_suptitle() == "by hand"


def test_the_graph_has_every_task_and_edge():
    figure = render.picture(diamond(), plan(diamond(), (0, 1)))
    graph, _ = figure.axes
    names = [text.get_text() for text in graph.texts]
    assert sorted(name for name in names if name) == ["0", "1", "2", "3"]
    assert names.count("") == 4  # arrows
    colours = {tuple(colour) for colour in graph.collections[0].get_facecolors()}
    assert len(colours) == 3  # device, server, undecided


def test_text_lists_the_tasks_in_their_order():
    lines = render.ansi(diamond(), plan(diamond(), (0, 1, 0, 0))).splitlines()
    assert lines[0] == "diamond: 4 of 4 tasks, 1 server"
    assert lines[3].split() == ["1", "server", "0", "7.0", "9.0", "10.0", "0"]
    assert lines[-1] == "makespan 14.0 s, the device alone 20.0 s"
    assert max(len(line) for line in lines) <= 80


def test_long_plans_are_cut():
    instance = make_instance("drlto-n50", 0)
    lines = render.ansi(instance, plan(instance, [0] * 50)).splitlines()
    assert "... and 10 more" in lines
    assert max(len(line) for line in lines) <= 80


def test_an_empty_plan_can_be_drawn():
    pixels = render.frame(diamond(), plan(diamond(), ()))
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert "0 of 4 tasks" in render.ansi(diamond(), plan(diamond(), ()))


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"plan{suffix}"
    render.picture(diamond(), plan(diamond(), (0, 1, 0, 0)), path)
    assert path.stat().st_size > 500


def test_what_cannot_be_drawn_is_refused(tmp_path):
    good = plan(diamond(), (0, 1, 0, 0))
    with pytest.raises(ParameterError, match="path: found"):
        render.picture(diamond(), good, tmp_path / "plan.txt")
    with pytest.raises(ParameterError, match="schedule: found order"):
        render.ansi(diamond(), {})
    with pytest.raises(ParameterError, match="schedule: tasks or servers"):
        render.ansi(diamond(), {**good, "place": np.array([0, 3, 0, 0])})
    with pytest.raises(DispatchGymError, match="cannot be written"):
        (tmp_path / "file").write_text("")
        render.picture(diamond(), good, tmp_path / "file" / "plan.png")
