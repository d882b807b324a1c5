"""Reading and writing instances: JSON, one file an instance.

The key ``format`` names the family: ``edge-offloading/1`` for independent tasks,
``edge-deadlines/1`` for tasks with deadlines, ``edge-graphs/1`` for dependent tasks. The other keys
are the fields of the instance; those that have a default may be missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.edge_offloading.families import part_of
from dispatchgym.envs.edge_offloading.instance import Instance

__all__ = ["dumps", "load", "loads", "write"]

MAX_BYTES = 256 * 2**20
"""Largest file that is read."""


FORMATS = {"edge-offloading/1": "slots", "edge-deadlines/1": "deadlines", "edge-graphs/1": "graphs"}
"""Format -> family."""


def load(path: str | os.PathLike[str]) -> Instance:
    """Read the instance in a file.

    Args:
        path: JSON file.

    Raises:
        InstanceFormatError: the file cannot be read or is no instance; the message names file
            and line, or field.
    """
    source = os.fspath(path)
    try:
        if os.path.getsize(source) > MAX_BYTES:
            raise InstanceFormatError(f"{source}: larger than {MAX_BYTES} bytes")
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{source}: cannot be read: {error}") from None
    return loads(text, source)


def loads(text: str, source: str = "<string>") -> Instance:
    """Read the instance in a text.

    Args:
        text: JSON object.
        source: name of the text in error messages, e.g. its path.

    Raises:
        InstanceFormatError: the text is no instance; the message names line and column, or field.
    """
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    try:
        return _instance(_document(text))
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def dumps(instance: Instance) -> str:
    """Return an instance as text; `loads` gives the same instance."""
    document = {"format": next(key for key in FORMATS if FORMATS[key] == instance.family)}
    document |= {entry.name: _plain(getattr(instance, entry.name)) for entry in fields(instance)}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def write(instance: Instance, path: str | os.PathLike[str]) -> None:
    """Write an instance to a file, completely or not at all.

    Raises:
        DispatchGymError: the path cannot be written.
    """
    write_whole(path, dumps(instance))


def _plain(value: Any) -> Any:
    """Return arrays as lists."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _document(text: str) -> dict[str, Any]:
    """Return the top-level JSON object of a text."""
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON"
        ) from None
    except (RecursionError, ValueError):
        raise InstanceError("found brackets nested too deeply or numbers too long") from None
    if not isinstance(document, dict):
        raise InstanceError(f"text: found a {type(document).__name__}, expected an object")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InstanceError(f"{_short(key)}: found twice, expected once")
        found[key] = value
    return found


def _instance(document: Mapping[str, Any]) -> Instance:
    name = document.get("format")
    if not isinstance(name, str) or name not in FORMATS:
        raise InstanceError(f"format: found {_short(name)}, expected one of {', '.join(FORMATS)}")
    kind: type[Instance] = part_of(FORMATS[name], "instance")
    entries = {entry.name: entry for entry in fields(kind)}
    for key in document:
        if key not in entries and key != "format":
            raise InstanceError(
                f"{_short(key)}: unknown field, expected one of {', '.join(entries)}"
            )
    for key, entry in entries.items():
        if key not in document and entry.default is MISSING and entry.default_factory is MISSING:
            raise InstanceError(f"{key}: missing field")
    return kind(**{key: value for key, value in document.items() if key != "format"})


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
