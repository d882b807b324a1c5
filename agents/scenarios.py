"""Which instances a scenario stands for, and how they are grouped in tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.job_shop.generators import (
    FixedGenerator,
    Generator,
    LiteratureGenerator,
    generator,
)
from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.parsers import load_all

__all__ = ["Scenario", "find_scenarios"]


@dataclass(frozen=True)
class Scenario:
    """Episodes that differ by their seed only.

    Attributes:
        name: name of the instance, or of the random scenario.
        asked: the scenario as the user named it.
        group: family and size of the instance, or the name of the random scenario.
        content: an instance, a generator, or the name of a random scenario.
        work: operations of an episode, to share out a progress bar.
    """

    name: str
    asked: str
    group: str
    content: Any
    work: int


def find_scenarios(scenario: str | Any | Sequence[str | Any]) -> list[Scenario]:
    """Return the scenarios that names, instances, generators and files stand for, each once.

    Args:
        scenario: a name (``la``, ``ta_15x15``, ``la01``, ``random_10x10``), an instance, a
            generator or a path to a file, which may hold several instances; or a list of these.

    Raises:
        ScenarioError: a name is unknown, or the list is empty.
        InstanceFormatError: a file cannot be read.
    """
    several = isinstance(scenario, Iterable) and not isinstance(scenario, str | os.PathLike)
    entries = list(scenario) if several else [scenario]
    if not entries:
        raise ScenarioError("scenario: found an empty list, expected at least one")
    found = [item for entry in entries for item in _scenarios(entry)]
    by_name: dict[str, Scenario] = {}
    for item in found:
        if item.content is not by_name.setdefault(item.name, item).content and not _same(
            item, by_name[item.name]
        ):
            raise ScenarioError(f"scenario: two different instances have the name {item.name!r}")
    return list(by_name.values())


def _same(one: Scenario, other: Scenario) -> bool:
    return bool(one.content == other.content)


def _scenarios(entry: Any) -> list[Scenario]:
    if isinstance(entry, Instance):
        return [_fixed(entry, entry.name)]
    if isinstance(entry, os.PathLike) or (isinstance(entry, str) and _is_path(entry)):
        return [_fixed(instance, Path(entry).name) for instance in load_all(entry)]
    if isinstance(entry, str):
        source = generator(entry)
        if isinstance(source, LiteratureGenerator):
            return [_fixed(literature(name), entry) for name in source.members]
        if isinstance(source, FixedGenerator):
            return [_fixed(source.instance, entry)]
        return [Scenario(entry, entry, entry, entry, _work(source))]
    if hasattr(entry, "generate"):
        name = type(entry).__name__
        return [Scenario(name, name, name, entry, _work(entry))]
    raise ParameterError(
        f"scenario: found {type(entry).__name__}, expected a name, an instance, a generator "
        "or a path"
    )


def _is_path(text: str) -> bool:
    return os.sep in text or "/" in text or Path(text).suffix != "" or Path(text).is_file()


def _fixed(instance: Instance, asked: str) -> Scenario:
    # "la01" and "la02" are of one family; a name without a number is a family of its own.
    family = re.sub(r"[\d_.-]+$", "", instance.name) or instance.name
    size = f"{instance.num_jobs}x{instance.num_machines}"
    return Scenario(instance.name, asked, f"{family} {size}", instance, instance.num_operations)


def _work(source: Generator) -> int:
    return source.max_jobs * source.max_operations
