"""The files around the code agree with each other and with the package."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import dispatchgym

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def required_names(*extras: str) -> set[str]:
    project = PYPROJECT["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in lines + project["dependencies"]}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def test_base_install_is_three_packages() -> None:
    assert required_names() == {"gymnasium", "numba", "numpy"}


def test_constraints_pin_every_requirement_of_the_extras() -> None:
    assert required_names("agents", "exact", "dev") <= set(pins())
    assert pins()["torch"] == "2.13.0"


def test_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {dispatchgym.__version__}\n" in citation


def test_changelog_has_this_version_under_the_fixed_headings() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = changelog.split("\n## ")[1]
    assert newest.startswith(dispatchgym.__version__)
    assert re.findall(r"^### (.*)$", newest, flags=re.MULTILINE) == [
        "Breaking changes",
        "New features",
        "Bug fixes",
        "Deprecations",
        "Documentation",
        "Others",
    ]


@pytest.mark.parametrize(
    "target",
    "train evaluate test test-all format lint type bench doc help clean install".split(),
)
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "install", f"PYTHON={old}", f"VENV={tmp_path}/venv"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "3.11, 3.12 or 3.13" in done.stderr


@pytest.mark.parametrize("name", ["CITATION.cff", ".pre-commit-config.yaml"])
def test_yaml_files_can_be_read(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), continued lines joined, comments dropped."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def final_stage() -> list[tuple[str, str]]:
    steps = instructions()
    last = max(index for index, (name, _) in enumerate(steps) if name == "FROM")
    return steps[last:]


def test_image_is_built_in_stages_and_runs_without_root() -> None:
    assert [name for name, _ in instructions()].count("FROM") == 2
    names = [name for name, _ in final_stage()]
    assert ("USER", "dispatchgym") in final_stage()
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER") :]
    assert not any("pip" in text or "apt" in text for name, text in final_stage() if name == "RUN")


def test_image_starts_the_commands() -> None:
    assert ("ENTRYPOINT", '["dispatchgym"]') in final_stage()
    assert PYPROJECT["project"]["scripts"]["dispatchgym"] == "dispatchgym.__main__:main"
    (environment,) = [text for name, text in final_stage() if name == "ENV"]
    assert "NUMBA_CACHE_DIR=" in environment


def test_image_context_holds_all_that_the_wheel_is_built_from() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert {"agents", "configs", "envs", "models", "scripts", "pyproject.toml"} <= kept
    assert {"constraints.txt", "README.md", "LICENSE"} <= kept
