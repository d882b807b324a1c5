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
    assert done.stderr.startswith("error: ")
    assert "no_such_setting" in done.stderr
    assert "Traceback" not in done.stderr


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
