"""Checks of the fields of records: each names the field, what was found and what is expected."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError

__all__ = [
    "as_array",
    "check_choice",
    "check_text",
    "flag",
    "flags",
    "integer",
    "integers",
    "locked",
    "real",
    "reals",
    "shown",
]

MAX_TEXT = 200
"""Characters of a text."""


def shown(value: object) -> str:
    """Return a short form of a value for a message; a huge one is cut."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check_text(value: object, where: str) -> None:
    """Refuse what is no printable text of 1 to 200 characters."""
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MAX_TEXT:
        raise InstanceError(
            f"{where}: found {shown(value)}, "
            f"expected a printable text of 1 to {MAX_TEXT} characters"
        )


def check_choice(value: object, where: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise InstanceError(f"{where}: found {shown(value)}, expected one of {', '.join(choices)}")


def integer(value: object, where: str, low: int, high: int) -> int:
    """Return an integer in low..high."""
    expected = f"an integer in {low}..{high}"
    if isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {bool(value)}, expected {expected}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InstanceError(f"{where}: found {shown(value)}, expected {expected}") from None
    if not low <= number <= high:
        raise InstanceError(f"{where}: found {shown(number)}, expected {expected}")
    return number


def real(value: Any, where: str, low: float, high: float) -> float:
    """Return a number in low..high."""
    number = float("nan")
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value) if low <= value <= high else float("nan")
    if not low <= number <= high:
        raise InstanceError(
            f"{where}: found {shown(value)}, expected a number in {low:g}..{high:g}"
        )
    return number


def flag(value: object, where: str) -> bool:
    """Return a truth value."""
    if not isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {shown(value)}, expected True or False")
    return bool(value)


def as_array(values: object, where: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Return an array of a shape, in which None stands for any size."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InstanceError(f"{where}: found shape {array.shape}, expected {wanted}")
    return array


def reals(
    values: object, where: str, shape: tuple[int | None, ...], low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return a private read-only float64 copy of an array with values in low..high."""
    array = as_array(values, where, shape)
    if array.size and array.dtype.kind not in "iuf":
        raise InstanceError(f"{where}: found {array.dtype}, expected numbers")
    _check_range(array, where, low, high, "a number")
    return locked(np.array(array, np.float64, order="C"))


def integers(
    values: object, where: str, shape: tuple[int | None, ...], low: int, high: int
) -> npt.NDArray[np.int64]:
    """Return a private read-only int64 copy of an array with values in low..high."""
    array = as_array(values, where, shape)
    if array.size and array.dtype.kind not in "iu":
        raise InstanceError(f"{where}: found {array.dtype}, expected integers")
    _check_range(array, where, low, high, "an integer")
    return locked(np.array(array, np.int64, order="C"))


def flags(values: object, where: str, shape: tuple[int | None, ...]) -> npt.NDArray[np.bool_]:
    """Return a private read-only copy of an array of truth values."""
    array = as_array(values, where, shape)
    if array.dtype != np.bool_:
        raise InstanceError(f"{where}: found {array.dtype}, expected True or False")
    return locked(np.array(array, order="C"))


def locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array after making it read-only."""
    array.setflags(write=False)
    return array


def _check_range(array: npt.NDArray[Any], where: str, low: float, high: float, kind: str) -> None:
    wrong = ~((array >= low) & (array <= high))
    if wrong.any():
        place = tuple(int(part) for part in np.argwhere(wrong)[0])
        index = "".join(f"[{part}]" for part in place)
        raise InstanceError(
            f"{where}{index}: found {array[place]}, expected {kind} in {low:g}..{high:g}"
        )
