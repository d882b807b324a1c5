"""Scenarios: a name, an instance, a generator or a file, all lead to instances."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from dispatchgym.envs.core.errors import ScenarioError

__all__ = ["Generator", "resolve", "unknown_name"]

InstanceT = TypeVar("InstanceT")
InstanceT_co = TypeVar("InstanceT_co", covariant=True)


@runtime_checkable
class Generator(Protocol[InstanceT_co]):
    """Makes instances from seeds: the same instance for the same seed, always."""

    def generate(self, seed: int) -> InstanceT_co:
        """Return the instance of a seed (an integer in [0, 2**63))."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return words for a name that is not known, with the names it may have meant."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "no known name is close"
    return f"{kind}: found {name!r}, which is not known; {hint}"


def resolve(
    scenario: Any,
    instance_type: type[InstanceT],
    lookup: Callable[[str], Generator[InstanceT]],
    load: Callable[[Path], InstanceT],
) -> InstanceT | Generator[InstanceT]:
    """Return the instance of a scenario, or the generator that makes its instances.

    Args:
        scenario: an instance, a generator, a path to a file, or a registered name. A text is a
            path if it names an existing file, has a file ending or a path separator.
        instance_type: class of the problem's instances.
        lookup: finds a registered name.
        load: reads a file.

    Raises:
        ScenarioError: `scenario` is none of these.
    """
    if isinstance(scenario, instance_type):
        return scenario
    if isinstance(scenario, Generator):
        return scenario
    if isinstance(scenario, os.PathLike):
        return load(Path(scenario))
    if not isinstance(scenario, str):
        raise ScenarioError(
            f"scenario: found {type(scenario).__name__}, "
            "expected a name, an instance, a generator or a path"
        )
    looks_like_path = os.sep in scenario or "/" in scenario or Path(scenario).suffix != ""
    if looks_like_path or Path(scenario).is_file():
        return load(Path(scenario))
    return lookup(scenario)
