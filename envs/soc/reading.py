"""What the readers of all formats share: whole files, checked numbers, checked JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError

__all__ = ["document", "integer", "member", "named", "read", "real", "short"]

MAX_BYTES = 256 * 2**20
"""Largest file that is read."""

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_REAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read(path: str | os.PathLike[str]) -> str:
    """Return the text of a file.

    Raises:
        InstanceFormatError: it cannot be read.
    """
    source = os.fspath(path)
    try:
        if os.path.getsize(source) > MAX_BYTES:
            raise InstanceFormatError(f"{source}: larger than {MAX_BYTES} bytes")
        return Path(source).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{source}: cannot be read: {error}") from None


@contextmanager
def named(source: str) -> Iterator[None]:
    """Put the name of what is read in front of the errors inside, unless they name a file.

    Raises:
        InstanceFormatError: what is read is wrong.
    """
    try:
        yield
    except InstanceFormatError:
        raise
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def short(value: object) -> str:
    """Return a value as JSON, cut if it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- words of a text


def integer(word: str, where: str, low: int, high: int) -> int:
    """Return the integer that a word of a text is.

    Raises:
        InstanceError: it is none in low..high; the message says where.
    """
    number = int(word) if _INTEGER.fullmatch(word) else None
    if number is None or not low <= number <= high:
        raise InstanceError(f"{where}: found {short(word)}, expected an integer in {low}..{high}")
    return number


def real(word: str, where: str, low: float, high: float) -> float:
    """Return the number that a word of a text is.

    Raises:
        InstanceError: it is none in low..high; the message says where.
    """
    number = float(word) if _REAL.fullmatch(word) else float("nan")
    if not low <= number <= high:
        raise InstanceError(f"{where}: found {short(word)}, expected a number in {low:g}..{high:g}")
    return number


# ---------------------------------------------------------------- JSON


def document(text: str) -> dict[str, Any]:
    """Return the top-level object of a JSON text; a key that comes twice is refused.

    Raises:
        InstanceError: it is none; the message names line and column.
        ParameterError: `text` is no text.
    """
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    try:
        found = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            # A float for an integer of 19 digits or more: it is refused later, at its place.
            parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits),
        )
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON"
        ) from None
    except RecursionError:
        raise InstanceError("found brackets nested too deeply, expected an instance") from None
    if not isinstance(found, dict):
        raise InstanceError(f"text: found {short(found)}, expected an object")
    return found


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise InstanceError(f"{short(key)}: found twice, expected once")
        fields[key] = value
    return fields


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    dict: ((dict,), "an object"),
    list: ((list,), "a list"),
    str: ((str,), "a text"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
}


def checked(value: object, where: str, kind: type) -> Any:
    """Return a value of a JSON document that must be of a kind: dict, list, str, int or float.

    Raises:
        InstanceError: it is of another; the message says where.
    """
    types, words = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, types):
        raise InstanceError(f"{where}: found {short(value)}, expected {words}")
    return value


def member(fields: dict[str, Any], key: str, where: str, kind: type) -> Any:
    """Return a member of a JSON object, which must be of a kind.

    Args:
        fields: the object.
        key: of the member.
        where: place of the object in the document, "" for the top.
        kind: dict, list, str, int or float.

    Raises:
        InstanceError: it is missing or of another kind.
    """
    place = f"{where}.{key}" if where else key
    if key not in fields:
        raise InstanceError(f"{place}: missing field")
    return checked(fields[key], place, kind)


def quantity(value: object, where: str, low: float, high: float) -> float:
    """Return a number of a JSON document in low..high.

    Raises:
        InstanceError: it is none.
    """
    number = checked(value, where, float)
    if not low <= number <= high:
        raise InstanceError(f"{where}: found {short(number)}, expected {low:g}..{high:g}")
    return float(number)
