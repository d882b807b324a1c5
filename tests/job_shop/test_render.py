"""Pictures show what the schedule says, and files are written whole or not at all."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dispatchgym.envs.core.errors import (
    DispatchGymError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.job_shop import render
from dispatchgym.envs.job_shop.instance import Instance

pytest.importorskip("matplotlib")

# Two jobs that exchange their machines at time 3; machine 0 is down in [4, 6).
EXCHANGE = Instance.from_jobs([[(0, 3), (1, 2)], [(1, 2), (0, 4)]], name="exchange")


def exchange_schedule(mode: str = "blocking", down: bool = True) -> dict[str, Any]:
    return {
        "start": np.array([[0, 3], [0, 3]]),
        "processing_end": np.array([[3, 5], [2, 9]]),
        "end": np.array([[3, 5], [3, 9]]),
        "interruptions": np.array([[0, 4, 6, 1, 1]] if down else []).reshape(-1, 5).astype(int),
        "mode": np.array(mode),
        "makespan": np.array(9),
    }


def drawn_bars(figure: Any) -> list[tuple[int, float, float, str]]:
    """Machine, begin, end and hatch of every bar in the chart."""
    return [
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_x() + bar.get_width(), h)
        for bar in figure.axes[0].patches
        for h in [bar.get_hatch() or ""]
    ]


def test_chart_shows_processing_blocking_and_down_times() -> None:
    bars = drawn_bars(render.gantt(EXCHANGE, exchange_schedule()))
    assert sorted(bars) == [
        (0, 0, 3, ""),
        (0, 3, 9, ""),
        (0, 4, 6, "xxxx"),
        (1, 0, 2, ""),
        (1, 2, 3, "////"),
        (1, 3, 5, ""),
    ]


def test_classic_chart_has_no_blocking() -> None:
    bars = drawn_bars(render.gantt(EXCHANGE, exchange_schedule("classic", down=False)))
    assert {hatch for *_, hatch in bars} == {""}


def test_chart_of_a_running_episode_ends_at_the_present() -> None:
    schedule = exchange_schedule()
    schedule["start"][:, 1] = -1
    schedule["processing_end"][:, 1] = -1
    schedule["end"][1] = [-1, -1]  # job 1 still blocks machine 1
    schedule["processing_end"][0, 0] = schedule["end"][0, 0] = -1  # job 0 is still in process
    schedule["interruptions"] = np.zeros((0, 5), int)
    bars = drawn_bars(render.gantt(EXCHANGE, schedule, time=2))
    assert sorted(bars) == [(0, 0, 2, ""), (1, 0, 2, "")]
    bars = drawn_bars(render.gantt(EXCHANGE, exchange_schedule(), time=5))
    assert max(end for _, _, end, _ in bars) == 5


def test_jobs_keep_their_colour_and_differ() -> None:
    figure = render.gantt(EXCHANGE, exchange_schedule(down=False))
    solid = [bar for bar in figure.axes[0].patches if not bar.get_hatch()]
    colours = {(bar.get_x(), round(bar.get_y())): bar.get_facecolor() for bar in solid}
    assert colours[0, 0] == colours[3, 1]  # job 0 on machine 0, then on machine 1
    assert colours[0, 0] != colours[0, 1]


@pytest.mark.parametrize("jobs", [1, 10, 11, 20, 100])
def test_every_job_has_a_colour_of_its_own(jobs: int) -> None:
    assert len(set(render._colours(jobs))) == jobs


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_picture_files(tmp_path: Path, suffix: str) -> None:
    magic = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    path = tmp_path / "new folder" / f"chart{suffix}"
    render.gantt(EXCHANGE, exchange_schedule(), path)
    assert path.read_bytes().startswith(magic[suffix])
    assert list(path.parent.iterdir()) == [path]


def test_frame_is_an_image_that_follows_the_clock() -> None:
    early = render.frame(EXCHANGE, exchange_schedule(), time=1)
    late = render.frame(EXCHANGE, exchange_schedule())
    assert late.dtype == np.uint8
    assert late.ndim == 3
    assert late.shape[2] == 3
    assert early.shape == late.shape
    assert (early != late).any()


def test_text_picture() -> None:
    assert render.ansi(EXCHANGE, exchange_schedule()) == (
        "exchange (2 jobs, 2 machines), interrupting, makespan 9\n"
        "M0 |0001##111|\n"
        "M1 |11-00    |\n"
        "   0         9\n"
        "jobs 0..1 by symbol, - blocked, # down"
    )


def test_text_picture_before_the_first_step() -> None:
    schedule = exchange_schedule(down=False)
    for key in ("start", "processing_end", "end"):
        schedule[key] = np.full((2, 2), -1)
    assert "M1 | |" in render.ansi(EXCHANGE, schedule, time=0)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_text_picture_keeps_to_its_width(width: int) -> None:
    jobs = [[(m, 10 + j + m) for m in range(12)] for j in range(70)]
    instance = Instance.from_jobs(jobs, name="long " * 20)
    finish = np.cumsum(instance.duration.ravel()).reshape(instance.duration.shape)
    schedule = {
        "start": finish - instance.duration,
        "processing_end": finish,
        "end": finish,
        "interruptions": np.array([[0, 0, 500, -1, -1]]),
        "mode": np.array("blocking"),
    }
    picture = render.ansi(instance, schedule, width=width)
    assert picture.isascii()
    assert max(map(len, picture.splitlines()[:-1])) <= width
    assert len(picture.splitlines()[-1]) <= 80


def clock_column(picture: Any) -> float:
    """Mean column of the pixels that have the clock's red."""
    pixels = np.asarray(picture.convert("RGB")).astype(int)[:, : -render.STATE_WIDTH]
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 60) & (pixels[..., 2] < 80)
    return float(np.nonzero(red)[1].mean())


def test_film_has_a_clock_that_moves_evenly(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "episode.gif"
    render.animate(EXCHANGE, exchange_schedule(), path, frames=7)
    film = image.open(path)
    assert film.n_frames == 7
    columns = []
    for number in range(film.n_frames):
        film.seek(number)
        columns.append(clock_column(film))
        assert film.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    steps = np.diff(columns)
    assert steps.min() > 0
    assert np.ptp(steps) < 0.05 * steps.mean() + 2
    assert film.info["duration"] == 3000


def test_film_tells_the_state_of_each_machine() -> None:
    film = render._Film(render._chart(EXCHANGE, exchange_schedule(), None), None)
    assert [film._state(0, time)[0] for time in (0, 3, 5, 8.5)] == [
        "job 0",
        "job 1",
        "down",
        "job 1",
    ]
    assert [film._state(1, time)[0] for time in (1, 2.5, 4, 7)] == [
        "job 1",
        "1 blocks",
        "job 0",
        "idle",
    ]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "chart.png"
    path.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(DispatchGymError, match=r"chart\.png.*No space left"):
        render.gantt(EXCHANGE, exchange_schedule(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DispatchGymError, match="cannot be written"):
        render.gantt(EXCHANGE, exchange_schedule(), tmp_path / "file" / "chart.png")


@pytest.mark.parametrize("name", ["chart", "chart.gif", "chart.jpg"])
def test_unknown_picture_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParameterError, match=r"expected a name that ends in \.png"):
        render.gantt(EXCHANGE, exchange_schedule(), tmp_path / name)


@pytest.mark.parametrize("frames", [0, 1, 5000])
def test_number_of_frames_is_checked(tmp_path: Path, frames: int) -> None:
    with pytest.raises(ParameterError, match="frames"):
        render.animate(EXCHANGE, exchange_schedule(), tmp_path / "a.gif", frames=frames)


@pytest.mark.parametrize(
    "damage",
    [
        {"start": np.zeros((3, 2), int)},
        {"end": np.zeros((2, 2))},
        {"processing_end": None},
    ],
)
def test_schedule_of_another_shape_is_refused(damage: dict[str, Any]) -> None:
    schedule = exchange_schedule() | damage
    (key,) = damage
    with pytest.raises(ParameterError, match=key):
        render.ansi(EXCHANGE, schedule)


def test_without_matplotlib_the_extra_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"dispatchgym\[agents\]"):
        render.frame(EXCHANGE, exchange_schedule())


def test_matplotlib_is_loaded_only_to_draw() -> None:
    program = (
        "import sys, dispatchgym.envs.job_shop.render;"
        "sys.exit('matplotlib' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
