"""The list of commands, and how mistakes in using them are told."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from dispatchgym import __main__ as commands
from dispatchgym import __version__
from dispatchgym.envs.core.errors import ScenarioError

pytest.importorskip("hydra")

from dispatchgym import _cli


class Done(NamedTuple):
    """How a command ended."""

    status: object
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Run a command inside this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["dispatchgym", *arguments])
        status: object = 0
        try:
            commands.main()
        except SystemExit as stop:
            status = stop.code
        return Done(status, *capsys.readouterr())

    return run


def first_setting(name: str) -> str:
    """Return how the settings of a command begin."""
    others = {"speed_book": "problems: null", "throughput": "problems: null", "curves": "runs: ???"}
    return others.get(name, "env:\n  name: job_shop")


def test_list_of_commands(call: Call) -> None:
    done = call()
    assert done.status == 0
    assert all(name in done.out for name in commands.COMMANDS)
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_version(call: Call) -> None:
    assert call("--version").out.strip() == __version__


def test_unknown_command_suggests_a_near_one(call: Call) -> None:
    done = call("rendr")
    assert done.status == 2
    assert done.err == "error: unknown command 'rendr': did you mean render?\n"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_command_runs_as_a_module_from_any_folder(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"dispatchgym.{name}", "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"\n{first_setting(name)}\n" in f"\n{done.stdout}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_shows_the_settings(name: str, call: Call) -> None:
    done = call(name, "--help")
    assert f"usage: python -m dispatchgym.{name} " in done.out
    assert first_setting(name) in done.out


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_command_refuses_an_unknown_setting(name: str, call: Call) -> None:
    done = call(name, "no_such_setting=1")
    assert done.status == 2
    assert done.err.startswith("error: no_such_setting: there is no such setting")
    assert len(done.err.splitlines()) == 1


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
        ("mode=blokking", "mode: found 'blokking', expected one of classic, blocking"),
    ],
)
def test_render_tells_a_mistake_in_a_line(
    setting: str, told: str, call: Call, tmp_path: Path
) -> None:
    done = call("render", *setting.split())
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert told in done.err
    assert "_schema" not in done.err
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".gif", b"GIF8")])
def test_render_writes_a_picture(suffix: str, magic: bytes, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "pictures" / f"ft06{suffix}"
    done = call("render", "scenario=ft06", "mode=interrupting", "frames=3", f"out={out}")
    assert done.status == 0, done.err
    assert done.out.endswith(f"picture {out}\n")
    assert out.read_bytes()[:4] == magic
    assert list(tmp_path.iterdir()) == [out.parent]


@pytest.mark.parametrize(
    ("command", "settings", "told"),
    [
        ("evaluate", "probabilities=[0.1]", "probabilities: found [0.1], but env=vm_rescheduling"),
        ("evaluate", "mode=classic", "env=vm_rescheduling has no modes"),
        ("evaluate", "env.mode=classic", "env.mode: there is no such setting"),
        ("render", "out=plan.gif", "env=vm_rescheduling has no films"),
        ("benchmark", "peers=true", "no other environment for env=vm_rescheduling"),
    ],
)
def test_what_another_problem_does_not_have(
    command: str, settings: str, told: str, call: Call, tmp_path: Path
) -> None:
    done = call(command, "env=vm_rescheduling", *settings.split())
    assert done.status == 2
    assert done.err.startswith("error: ") and told in done.err
    assert list(tmp_path.iterdir()) == []


def test_migration_limits_are_not_of_the_job_shop(call: Call) -> None:
    done = call("evaluate", "migration_limits=[5]")
    assert done.status == 2
    assert "migration_limits: found [5], but env=job_shop has no such setting" in done.err
    assert "its own is probabilities" in done.err


def test_render_shows_a_plan(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "plan.png"
    done = call("render", "env=vm_rescheduling", "scenario=random_8", f"out={out}")
    assert done.status == 0, done.err
    assert "ha, fragment rate 0." in done.out
    assert out.read_bytes()[:4] == b"\x89PNG"
    done = call("render", "env=vm_rescheduling", "scenario=random_8")
    assert "fragment" in done.out and len(done.out.splitlines()) > 5


def test_render_prints_text_without_a_file(call: Call, tmp_path: Path) -> None:
    """SPT reaches 88 on ft06, the usual value of the non-delay rule."""
    done = call("render", "scenario=ft06", "mode=classic", "agents=spt")
    assert done.status == 0, done.err
    assert done.out.startswith("ft06, classic: spt, makespan 88\nM0 |")
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


def test_without_hydra_the_extra_is_named(tmp_path: Path) -> None:
    program = "import sys; sys.modules['hydra'] = None; import dispatchgym.render"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        'dispatchgym: the commands need hydra: pip install "dispatchgym[agents]"\n'
    )
