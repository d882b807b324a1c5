"""The wheel holds the tree: every module, type marker, configuration, data file, checkpoint."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUB_PACKAGES = ("agents", "configs", "envs", "models")
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "scripts", *SUB_PACKAGES)


def tracked_files() -> set[str]:
    """Files of the working tree that git tracks or would add, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return {name for name in listing.stdout.splitlines() if (ROOT / name).is_file()}


def expected_members() -> set[str]:
    members = set()
    for name in tracked_files():
        top, _, rest = name.partition("/")
        if (top in SUB_PACKAGES and not name.endswith(".md")) or "checkpoints/" in name:
            members.add(f"dispatchgym/{name}")
        elif top == "scripts" and "/" not in rest:
            members.add(f"dispatchgym/{rest}")
    return members


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", "runs")
    for name in SOURCES:
        source, copy = ROOT / name, folder / "tree" / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=skip)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    left_over = folder / "tree" / "build" / "lib" / "dispatchgym" / "removed.py"
    left_over.parent.mkdir(parents=True)
    left_over.touch()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, folder / "tree"], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_tree_and_nothing_else(wheel: Path) -> None:
    members = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert members == expected_members()


def test_wheel_knows_every_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    text = archive.read(entry_points).decode()
    for command in ("train", "evaluate", "benchmark", "render"):
        assert f"dispatchgym-{command} = dispatchgym.{command}:main" in text
        assert f"dispatchgym/{command}.py" in archive.namelist()


def test_installed_wheel_imports_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = (
        "import sys; sys.path.insert(0, 'site'); import dispatchgym, dispatchgym.envs.job_shop;"
        "print(dispatchgym.__file__)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path) or done.stdout.startswith("site")
