"""Each example of docs/plugins trains in a fresh environment made by its documented line."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "docs" / "plugins"
# One thread each: on a busy machine those of numba and torch wait for each other.
QUIET = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
EVERY_PROBLEM = """
import runpy, sys
from dispatchgym.envs.core.registry import ENVIRONMENTS
train = runpy.run_path(sys.argv[1])["train"]
for name in ENVIRONMENTS:
    scalar = {"reward": "scalar"} if "Edge" in name else {}
    train(600, *sys.argv[2:], id="dispatchgym:" + name, **scalar)
    print("trained", name)
"""


def documented() -> dict[str, list[str]]:
    """The lines of the page that install something, each with the commands that need it."""
    text = (PLUGINS / "README.md").read_text()
    sets: dict[str, list[str]] = {}
    for block in re.findall(r"^ {4}pip install .*\n(?: {4}python .*\n)+", text, re.MULTILINE):
        install, *commands = (line.strip() for line in block.splitlines())
        sets.setdefault(install, []).extend(commands)
    return sets


SETS = documented()
EXAMPLES = [
    command for commands in SETS.values() for command in commands if "pytest" not in command
]


class FreshEnvironment:
    """A copy of the repository beside a virtual environment that one line was installed into."""

    def __init__(self, folder: Path, line: str) -> None:
        self.repository = folder / "repository"
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        for name in tracked_files():
            target = self.repository / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.run(line)

    def run(self, line: str, *more: str) -> str:
        """Run a command line in the repository; return what it printed."""
        program, *arguments = shlex.split(line, comments=True)
        paths = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [self.bin / program, *arguments, *more],
            cwd=self.repository,
            env={**inherited, **QUIET, "PATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


def tracked_files() -> list[str]:
    """Files of the working tree that git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture
def fresh(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FreshEnvironment]:
    folder = tmp_path_factory.mktemp("fresh")
    yield FreshEnvironment(folder, request.param)
    shutil.rmtree(folder)  # a set takes one to two GB


def test_page_names_every_example() -> None:
    named = {Path(shlex.split(command)[1]).name for command in EXAMPLES}
    assert named == {path.name for path in PLUGINS.glob("*.py")}


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*.py")), ids=lambda path: path.stem)
def test_example_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 60


@pytest.mark.plugins
@pytest.mark.parametrize(
    ("fresh", "commands"),
    SETS.items(),
    ids=[line.split('"')[1] for line in SETS],
    indirect=["fresh"],
)
def test_documented_commands_work(fresh: FreshEnvironment, commands: list[str]) -> None:
    for command in commands:
        if "pytest" in command:
            assert " passed" in fresh.run(command)
        else:
            check_training(fresh, command)


def check_training(fresh: FreshEnvironment, command: str) -> None:
    """Train for 2,000 steps as documented; then, if it is for scalar rewards, on every problem."""
    printed = fresh.run(command.replace("20000", "2000"))
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", printed.splitlines()[-1])]
    assert len(numbers) == 2 and np.isfinite(numbers).all(), printed[-500:]
    _, example, _, *rest = shlex.split(command, comments=True)
    if "mo_gymnasium" not in example:
        trained = fresh.run(f"python -c {shlex.quote(EVERY_PROBLEM)}", example, *rest)
        assert trained.count("trained dispatchgym/") >= 6
