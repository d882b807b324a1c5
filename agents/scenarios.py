"""Which instances a scenario stands for: names, instances, generators, files and folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dispatchgym.agents.problems.base import Problem, Scenario
from dispatchgym.envs.core.errors import ParameterError, ScenarioError

__all__ = ["find_scenarios"]


def find_scenarios(problem: Problem, scenario: str | Any | Sequence[str | Any]) -> list[Scenario]:
    """Return the scenarios that names, instances, generators and files stand for, each once.

    Args:
        problem: the problem, which knows its names and file formats.
        scenario: a name, an instance, a generator, or a path: to a file, which may hold several
            instances, to a folder of such files, or a pattern (``gold/high_*.json``); or a list
            of these.

    Raises:
        ScenarioError: a name is unknown, nothing matches a pattern, or the list is empty.
        InstanceFormatError: a file cannot be read.
    """
    several = isinstance(scenario, Iterable) and not isinstance(scenario, str | os.PathLike)
    entries = list(scenario) if several else [scenario]
    if not entries:
        raise ScenarioError("scenario: found an empty list, expected at least one")
    found = [item for entry in entries for item in _scenarios(problem, entry)]
    by_name: dict[str, Scenario] = {}
    for item in found:
        if item.content is not by_name.setdefault(item.name, item).content and not _same(
            item, by_name[item.name]
        ):
            raise ScenarioError(f"scenario: two different instances have the name {item.name!r}")
    return list(by_name.values())


def fixed(problem: Problem, instance: Any, asked: str) -> Scenario:
    """Return the scenario of a single instance."""
    return Scenario(instance.name, asked, problem.group(instance), instance, problem.size(instance))


def _same(one: Scenario, other: Scenario) -> bool:
    return bool(one.content == other.content)


def _scenarios(problem: Problem, entry: Any) -> list[Scenario]:
    instance: Any = entry
    if isinstance(entry, problem.instance_type):
        return [fixed(problem, instance, instance.name)]
    if isinstance(entry, os.PathLike) or (isinstance(entry, str) and _is_path(entry)):
        return [
            fixed(problem, instance, Path(entry).name)
            for path in _files(problem, os.fspath(entry))
            for instance in problem.load_all(path)
        ]
    if isinstance(entry, str):
        return problem.named(entry)
    if hasattr(entry, "generate"):
        name = type(entry).__name__
        return [Scenario(name, name, name, entry, problem.size(entry))]
    raise ParameterError(
        f"scenario: found {type(entry).__name__}, expected a name, an instance, a generator "
        "or a path"
    )


def _is_path(text: str) -> bool:
    return os.sep in text or "/" in text or Path(text).suffix != "" or Path(text).is_file()


def _files(problem: Problem, text: str) -> list[Path]:
    """Return the files that a path or a pattern stands for, in the order of their names."""
    path = Path(text)
    if path.is_dir():
        found = [item for item in path.iterdir() if item.suffix.lower() in problem.file_suffixes]
        if not found:
            endings = ", ".join(problem.file_suffixes)
            raise ScenarioError(f"scenario: {text} holds no file that ends in {endings}")
        return sorted(found)
    if not path.exists() and glob.has_magic(text):
        matching = sorted(Path(name) for name in glob.glob(text))
        if not matching:
            raise ScenarioError(f"scenario: no file matches {text}")
        return matching
    return [path]
