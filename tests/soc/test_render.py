"""Pictures show what the schedule says, and files are written whole or not at all."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from dispatchgym.envs.core.errors import (
    DispatchGymError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.soc import render, tables
from dispatchgym.envs.soc.instance import Instance, JobProfile, Workload

pytest.importorskip("matplotlib")

# Two jobs of three tasks, 0 and 1 before 2, on top3: data cross from P1 to P2 in 5 us, from P3 in
# 7. Job 1 still runs its task 1 when the run ends at 40.
JOB = JobProfile("fork", ("a", "b", "c"), [[10, 9, 8]] * 3, [[0, 2, 5], [1, 2, 7]])
TASKS = np.array([
    # job, task, pe, ready, assigned, data, start, finish
    [0, 0, 0, 0, 0, 0, 0, 10],
    [0, 1, 2, 0, 0, 0, 0, 8],
    [0, 2, 1, 10, 10, 15, 15, 24],
    [1, 0, 0, 12, 12, 12, 12, 22],
    [1, 1, 0, 12, 14, 14, 35, -1],
    [-1] * 8,
])  # fmt: skip
JOBS = np.array([[0, 0, 0, 0, 24], [1, 0, 12, 12, -1], [-1] * 5])
SCHEDULE = {"tasks": TASKS, "jobs": JOBS, "end_time": 40}


def small(**changes):
    workload = Workload("batch", [1.0], arrivals=[[0, 0], [0, 12]], **changes)
    return Instance("small", tables.platform("top3"), (JOB,), workload)


DRAWINGS = {
    "gantt": lambda *args, **more: render.gantt(small(), SCHEDULE, *args, **more),
    "task_graph": lambda *args, **more: render.task_graph(small(), "fork", *args, **more),
    "trade_off": lambda *args, **more: render.trade_off(
        {"met": [("2000", 1.0, 2.0)]}, *args, **more
    ),
}


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw few dots: what is tested does not depend on them."""
    monkeypatch.setattr(render, "DOTS_PER_INCH", 40)
    monkeypatch.setattr(render, "FILM_DOTS_PER_INCH", 40)


def bars(axes):
    return sorted(
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width())
        for bar in axes.patches
    )


def transfers(axes):
    found = next(one for one in axes.collections if hasattr(one, "get_segments"))
    return sorted(tuple(map(tuple, line)) for line in found.get_segments())


def test_bars_are_tasks_until_the_end():
    figure = render.gantt(small(), SCHEDULE)
    axes = figure.axes[0]
    assert bars(axes) == [(0, 0, 10), (0, 12, 22), (0, 35, 40), (1, 15, 24), (2, 0, 8)]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "0", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["P1", "P2", "P3"]
    heading = axes.get_title(loc="left")
    assert heading == "small: 1 of 2 jobs done at 40 us, mean latency 24.0 us"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["0 fork: 24 us", "1 fork"]


def test_transfers_go_from_finish_to_arrival():
    axes = render.gantt(small(), SCHEDULE).axes[0]
    assert transfers(axes) == [((8, 2), (15, 1)), ((10, 0), (15, 1))]


def test_transfers_through_memory_arrive_after_the_assignment():
    """Bandwidth to memory is 2: the second leg takes 2 and 3 us from time 10."""
    axes = render.gantt(small(comm_mode="shared_memory"), SCHEDULE).axes[0]
    assert transfers(axes) == [((8, 2), (13, 1)), ((10, 0), (12, 1))]


def test_the_present_cuts_the_chart():
    axes = render.gantt(small(), SCHEDULE, time=14).axes[0]
    assert bars(axes) == [(0, 0, 10), (0, 12, 14), (2, 0, 8)]
    assert axes.get_title(loc="left") == "small: 0 of 2 jobs done at 14 us"


def test_a_stretch_of_time():
    axes = render.gantt(small(), SCHEDULE, span=(11, 24)).axes[0]
    assert bars(axes) == [(0, 12, 22), (1, 15, 24)]
    assert "shown from 11 us" in axes.get_title(loc="left")
    with pytest.raises(ParameterError, match=r"span: found \(9, 9\)"):
        render.gantt(small(), SCHEDULE, span=(9, 9))


def test_long_schedules_are_shown_at_their_end(monkeypatch):
    monkeypatch.setattr(render, "MOST_TASKS", 2)
    axes = render.gantt(small(), SCHEDULE).axes[0]
    assert bars(axes) == [(0, 12, 22), (0, 35, 40), (1, 15, 24)]
    assert axes.get_xlim()[0] == 15


def test_text():
    lines = render.ansi(small(), SCHEDULE, width=48).splitlines()
    assert lines == [
        "small: 1 of 2 jobs done at 40 us, mean latency 2",
        "P1 |0000000000..1111111111.............11111|",
        "P2 |...............000000000................|",
        "P3 |00000000................................|",
        "   0                                       40",
        "symbols are jobs, . idle; 1 jobs in the system",
    ]
    with pytest.raises(ParameterError, match="width: found 10"):
        render.ansi(small(), SCHEDULE, width=10)


def test_an_episode_that_has_not_begun_can_be_drawn():
    empty = {"tasks": np.full((3, 8), -1), "jobs": np.full((2, 5), -1)}
    assert render.frame(small(), empty).std() > 0
    assert "no job" in render.ansi(small(), empty)


def test_the_critical_path():
    """Topcuoglu's graph: 0-1-8-9 with 9 + 13 + 12 + 7 us."""
    profile = tables.profile("top1", "top3")
    assert render._critical_path(profile) == [0, 1, 8, 9]
    for name in tables.PROFILES:
        where = "top3" if name.startswith("top") else "bal16"
        profile = tables.profile(name, where)
        way = render._critical_path(profile)
        assert profile.min_duration[way].sum() == profile.critical_path
        pairs = {tuple(edge) for edge in profile.edges[:, :2].tolist()}
        assert set(itertools.pairwise(way)) <= pairs


def test_a_graph_shows_times_volumes_and_the_critical_path():
    axes = render.task_graph(small(), 0).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert {"0\n8", "1\n8", "2\n8", "5", "7"} <= set(texts)
    colours = [
        text.arrow_patch.get_edgecolor() for text in axes.texts if hasattr(text, "arrow_patch")
    ]
    red = [colour for colour in colours if colour[0] > 0.7 and colour[1] < 0.2]
    assert len(red) == 1
    for wrong, words in (("spoon", "expected one of fork"), (3, r"expected 0\.\.0")):
        with pytest.raises(ParameterError, match=words):
            render.task_graph(small(), wrong)


def test_tasks_stand_by_depth_and_apart():
    for name in tables.PROFILES:
        profile = tables.profile(name, "top3" if name.startswith("top") else "bal16")
        place = render._positions(profile)
        np.testing.assert_array_equal(place[:, 0], profile.depth)
        assert len(np.unique(place, axis=0)) == profile.num_tasks


def test_a_trade_off_joins_what_no_other_beats():
    points = {
        "etf": [("2000", 100.0, 3.0), ("600", 300.0, 1.0)],
        "met": [("2000", 150.0, 2.0), ("600", 320.0, 1.5)],
    }
    axes = render.trade_off(points).axes[0]
    assert list(map(tuple, np.transpose(axes.lines[0].get_data()))) == [
        (100, 3),
        (150, 2),
        (300, 1),
    ]
    assert [text.get_text() for text in axes.texts] == ["2000", "600", "2000"]
    with pytest.raises(ParameterError, match="points: found none"):
        render.trade_off({"met": []})


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_pictures_are_written(draw, tmp_path):
    path = tmp_path / "sub" / "picture.png"
    draw(path, title="a title")
    assert path.stat().st_size > 2000
    with pytest.raises(ParameterError, match="expected a name that ends in"):
        draw(tmp_path / "picture.bmp")
    with pytest.raises(DispatchGymError, match="cannot be written"):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        draw(tmp_path / "folder.png")


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_formats(suffix, tmp_path):
    path = tmp_path / f"picture{suffix}"
    render.gantt(small(), SCHEDULE, path)
    assert path.read_bytes()[:4] in (b"<?xm", b"%PDF")


def test_a_film_moves(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "chip.gif"
    render.animate(small(), SCHEDULE, path, frames=3)
    film = image.open(path)
    assert film.n_frames == 3
    pictures = []
    for number in range(3):
        film.seek(number)
        pictures.append(np.asarray(film.convert("RGB")).astype(int))
    for one, other in itertools.pairwise(pictures):
        assert np.abs(one - other).sum() > 0
    for frames in (1, 2001):
        with pytest.raises(ParameterError, match=f"frames: found {frames}"):
            render.animate(small(), SCHEDULE, path, frames=frames)
    with pytest.raises(ParameterError, match=r"ends in \.gif"):
        render.animate(small(), SCHEDULE, tmp_path / "chip.mp4")


def test_states_of_tasks_in_a_film():
    film = render._Film(small(), SCHEDULE, None)
    states = {now: [film._state(0, task, now) for task in range(3)] for now in (0, 9, 12, 16, 30)}
    running, done = render.RUNNING, render.DONE
    assert states == {
        0: [running, running, render.OUTSTANDING],
        9: [running, done, render.OUTSTANDING],
        12: [done, done, render.ASSIGNED],
        16: [done, done, running],
        30: [done, done, done],
    }
    assert film._state(1, 1, 13) == render.READY
    assert film._state(1, 2, 39) == render.OUTSTANDING


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({}, "tasks"),
        ({**SCHEDULE, "tasks": TASKS[:, :7]}, r"expected whole numbers \(rows, 8\)"),
        ({**SCHEDULE, "tasks": TASKS.astype(float)}, "found float64"),
        ({**SCHEDULE, "jobs": JOBS[:1]}, "found job 1, which 'jobs' does not hold"),
        (
            {**SCHEDULE, "jobs": JOBS + np.array([0, 1, 0, 0, 0])},
            "job profiles are not the instance's",
        ),
        (
            {**SCHEDULE, "tasks": TASKS + np.array([0, 3, 0, 0, 0, 0, 0, 0])},
            "found task 3 of job 0",
        ),
        ({**SCHEDULE, "tasks": TASKS + np.array([0, 0, 3, 0, 0, 0, 0, 0])}, "processing element 3"),
    ],
)
def test_schedules_that_do_not_fit(schedule, words):
    for draw in (render.gantt, render.ansi, render.frame):
        with pytest.raises(ParameterError, match=words):
            draw(small(), schedule)


def test_pictures_without_matplotlib(monkeypatch):
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"dispatchgym\[agents\]"):
        render.gantt(small(), SCHEDULE)


def test_nothing_of_matplotlib_is_loaded_early():
    code = "import dispatchgym.envs.soc.render, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
