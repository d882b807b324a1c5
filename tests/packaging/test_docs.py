"""The documentation is true: its links lead somewhere and its Python runs."""

import importlib.util
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if page.is_file()
)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def snippets(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def foreign_modules(code: str) -> set[str]:
    """Top-level modules that a snippet imports."""
    return set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE))


SNIPPETS = [(page, code) for page in PAGES for code in snippets(page)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", sorted({page for page, _ in SNIPPETS}), ids=name)
def test_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippets of a page run one after the other, those of missing libraries left out."""
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "snippet"}
    run = 0
    for code in snippets(page):
        if all(importlib.util.find_spec(module) for module in foreign_modules(code)):
            exec(compile(code, name(page), "exec"), scope)
            run += 1
    assert run > 0


def test_environment_pages_are_those_of_the_docstrings() -> None:
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    for page, text in build["pages"]().items():
        assert page.read_text() == text, f"{name(page)} is out of date: run `make doc`"
