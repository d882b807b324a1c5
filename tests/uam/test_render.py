"""Pictures show what the schedule says, and files are written whole or not at all."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from uam.cases import small, varied

from dispatchgym.envs.core.errors import (
    DispatchGymError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.uam import render
from dispatchgym.envs.uam.env import UAMFleetEnv

pytest.importorskip("matplotlib")

# Aircraft 0 flies from 0 to 1 with 4 passengers, waits 5 minutes for take-off, charges, is then
# cancelled; aircraft 1 stays, then flies from 1 to 2 empty in the second slot.
DECISIONS = np.array([
    [360, 0, 0, 1, 4, 0, 365, 386, 395, 0],
    [360, 1, 1, 1, 0, -1, -1, -1, 375, 0],
    [395, 0, 1, 2, 0, -1, -1, -1, 455, 1],
    [430, 1, 1, 2, 0, 0, 430, 451, 460, 0],
])  # fmt: skip
SCHEDULE = {"decisions": DECISIONS}
DRAWINGS = (render.fleet_map, render.timelines, render.demand, render.profit)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw few dots: what is tested does not depend on them."""
    monkeypatch.setattr(render, "DOTS_PER_INCH", 40)
    monkeypatch.setattr(render, "FILM_DOTS_PER_INCH", 40)


def finished_day(instance, rule="random"):
    env = UAMFleetEnv(scenario=instance)
    env.reset(seed=0)
    ended = False
    while not ended:
        *_, ended, _, info = env.step(env.rule_action(rule))
    return info["schedule"]


def bars(axes):
    return sorted(
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width())
        for bar in axes.patches
    )


def test_timelines_show_every_activity():
    figure = render.timelines(small(), SCHEDULE)
    assert bars(figure.axes[0]) == [
        (0, 360, 365),  # waits for take-off
        (0, 365, 386),  # flies
        (0, 386, 395),  # charges
        (0, 395, 455),  # in repair
        (1, 360, 375),
        (1, 430, 451),
        (1, 451, 460),
    ]
    colours = {bar.get_facecolor() for bar in figure.axes[0].patches}
    assert len(colours) == 5
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "0"]


def test_demand_against_served():
    by_slot, by_port = render.demand(small(), SCHEDULE).axes
    heights = [bar.get_height() for bar in by_slot.patches]
    assert heights == [24, 24, 4, 0]
    assert [bar.get_height() for bar in by_port.patches] == [16, 16, 16, 4, 0, 0]


def test_profit_adds_up():
    """4 x 20 $ of fares; 4 x 6.40 and 2 x 4.40 $ of cost."""
    axes = render.profit(small(), SCHEDULE).axes[0]
    last = {line.get_label().split()[0]: line.get_ydata()[-1] for line in axes.lines}
    assert last == {"fares": 80.0, "cost": 34.4, "profit": pytest.approx(45.6)}


def test_the_profit_is_the_schedule_s():
    for seed in range(3):
        instance = varied(seed)
        schedule = finished_day(instance)
        axes = render.profit(instance, schedule).axes[0]
        assert axes.lines[2].get_ydata()[-1] == pytest.approx(schedule["profit"] / 100)


def test_map_shows_aircraft_in_the_air_between_their_vertiports():
    figure = render.fleet_map(small(), SCHEDULE, time=375)
    aircraft = figure.axes[0].collections
    offsets = [np.asarray(one.get_offsets()) for one in aircraft]
    flying = [points for points in offsets if points.shape == (1, 2) and points[0, 0] not in
              (0, 10, 20)]  # fmt: skip
    # 10 of the 21 minutes of the flight are over at 6:15.
    np.testing.assert_allclose(flying[0], [[10 * 10 / 21, 0]])


def test_replay_counts_places_as_the_kernel_does():
    from dispatchgym.envs.uam import kernel

    for seed in range(20):
        env = UAMFleetEnv(scenario=varied(seed))
        env.reset(seed=seed)
        ended = False
        while not ended:
            *_, ended, _, _ = env.step(env.rule_action("random"))
        replay = render._Replay(env.instance, env.simulation.schedule(0))
        replay.advance(env.instance.end)
        port = env.simulation.state.port[0]
        np.testing.assert_array_equal(replay.parked, port[kernel.PARKED])
        np.testing.assert_array_equal(replay.charging, port[kernel.CHARGING])


def test_text():
    lines = render.ansi(small(), SCHEDULE, time=375).splitlines()
    assert lines[0] == "small  06:15  profit 50.00 $"
    assert lines[1] == "1 flights, 4 passengers"
    words = [line.split() for line in lines[3:6]]
    assert [word[0] for word in words] == ["0*", "1", "2"]
    assert "0/2" in lines[3] and "1/2" in lines[4] and "1/1" in lines[4]
    assert [word[-2:] for word in words] == [["0", "4"], ["1", "8"], ["0", "8"]]
    for name in ("uam-8x40", "uam-50x500"):
        env = UAMFleetEnv(scenario=name, render_mode="ansi")
        env.reset(seed=1)
        for _ in range(100):
            env.step(env.rule_action("greedy"))
        text = env.render()
        assert max(map(len, text.splitlines())) <= 80
        assert text.isascii()
    with pytest.raises(ParameterError, match="width: found 10"):
        render.ansi(small(), SCHEDULE, width=10)


def test_a_day_that_has_not_begun_can_be_drawn():
    env = UAMFleetEnv(render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.std() > 0
    empty = {"decisions": np.zeros((0, 10), np.int64)}
    for draw in DRAWINGS:
        draw(small(), empty)


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_pictures_are_written(draw, tmp_path):
    path = tmp_path / "sub" / "picture.png"
    draw(small(), SCHEDULE, path, title="a title")
    assert path.stat().st_size > 2000
    with pytest.raises(ParameterError, match="expected a name that ends in"):
        draw(small(), SCHEDULE, tmp_path / "picture.bmp")
    with pytest.raises(DispatchGymError, match="cannot be written"):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        draw(small(), SCHEDULE, tmp_path / "folder.png")


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_other_formats(suffix, tmp_path):
    path = tmp_path / f"picture{suffix}"
    render.profit(small(), SCHEDULE, path)
    assert path.read_bytes()[:4] in (b"<?xm", b"%PDF")


def test_a_film_moves(tmp_path):
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "day.gif"
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
        render.animate(small(), SCHEDULE, tmp_path / "day.mp4")


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"decisions": None},
        {"decisions": DECISIONS[:, :9]},
        {"decisions": DECISIONS.astype(float)},
        {"decisions": DECISIONS + np.array([0, 7, 0, 0, 0, 0, 0, 0, 0, 0])},
        {"decisions": DECISIONS + np.array([0, 0, 0, 3, 0, 0, 0, 0, 0, 0])},
    ],
    ids=["nothing", "none", "narrow", "float", "aircraft", "vertiport"],
)
def test_schedules_that_do_not_fit(schedule):
    for draw in (*DRAWINGS, render.ansi, render.frame):
        with pytest.raises(ParameterError, match="schedule"):
            draw(small(), schedule, time=400) if draw in (
                render.fleet_map, render.ansi, render.frame
            ) else draw(small(), schedule)  # fmt: skip


def test_pictures_without_matplotlib(monkeypatch):
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"dispatchgym\[agents\]"):
        render.profit(small(), SCHEDULE)


def test_nothing_of_matplotlib_is_loaded_early():
    code = "import dispatchgym.envs.uam.render, sys; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
