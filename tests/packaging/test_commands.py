"""The list of commands, and how mistakes in using them are told."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatchgym import __main__ as commands
from dispatchgym import __version__
from dispatchgym.envs.core.errors import ScenarioError

_cli = pytest.importorskip("dispatchgym._cli", exc_type=SystemExit)


def dispatchgym(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dispatchgym", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_list_of_commands(tmp_path: Path) -> None:
    done = dispatchgym(folder=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in commands.COMMANDS)
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_version(tmp_path: Path) -> None:
    assert dispatchgym("--version", folder=tmp_path).stdout.strip() == __version__


def test_unknown_command_suggests_a_near_one(tmp_path: Path) -> None:
    done = dispatchgym("rendr", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: unknown command 'rendr': did you mean render?\n"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_command_shows_its_settings(name: str, tmp_path: Path) -> None:
    done = dispatchgym(name, "--cfg", "job", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "env:" in done.stdout or "scenario:" in done.stdout


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_command_refuses_an_unknown_setting(name: str, tmp_path: Path) -> None:
    done = dispatchgym(name, "no_such_setting=1", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no_such_setting: there is no such setting")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("scenarios=la01", "scenarios: there is no such setting; did you mean scenario?"),
        ("env.mod=classic", "env.mod: there is no such setting; did you mean mode?"),
        ("seed=first", "seed: Value 'first' of type 'str' could not be converted to Integer"),
        ("agent=spt", "agent: there is no such setting"),
        ("env=job_shp", "Could not find 'env/job_shp'"),
        ("out=chart.bmp", "out: found chart.bmp, expected a name that ends in .png"),
        ("scenario=la", "'la' stands for 40 instances, expected one: la01, la02"),
        ("scenario=la99", "la99"),
        ("agents=blkrle", "did you mean blkrel"),
        ("agents=rules", "stands for 20 agents, expected one: spt, lpt"),
        ("frames=0 out=film.gif", "frames: found 0"),
        ("mode=blokking", "blokking"),
    ],
)
def test_render_tells_a_mistake_without_a_traceback(
    setting: str, told: str, tmp_path: Path
) -> None:
    done = dispatchgym("render", *setting.split(), folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "_schema" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_render_writes_a_picture(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / "pictures" / f"ft06{suffix}"
    done = dispatchgym(
        "render",
        *("scenario=ft06", "mode=interrupting", "agents=blkrel", "frames=3", f"out={out}"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"picture {out}\n")
    assert out.read_bytes()[:3] in (b"\x89PN", b"GIF")
    assert list(tmp_path.iterdir()) == [out.parent]


def test_render_prints_text_without_a_file(tmp_path: Path) -> None:
    done = dispatchgym("render", "scenario=ft06", "mode=classic", "agents=spt", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ft06, classic: spt, makespan 88\nM0 |")
    assert list(tmp_path.iterdir()) == []


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_a_user_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _cli.run(raising(ScenarioError("unknown scenario 'la99'")))
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: unknown scenario 'la99'\n"


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        _cli.run(raising(ZeroDivisionError()))


def test_interrupting_a_command_has_a_status_of_its_own() -> None:
    with pytest.raises(SystemExit) as stop:
        _cli.run(raising(KeyboardInterrupt()))
    assert stop.value.code == 130
