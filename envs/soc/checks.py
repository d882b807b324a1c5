"""Checks of the fields of records: each names the field, what was found and what is expected."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError

__all__ = [
    "as_array",
    "check_choice",
    "check_text",
    "first_place",
    "flag",
    "integer",
    "integers",
    "locked",
    "rates",
    "real",
    "sequence",
    "shown",
    "texts",
    "unique_texts",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MAX_TEXT = 200
"""Characters of a text."""
MAX_REAL = 1e15


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


def sequence(value: Any, where: str) -> Sequence[Any]:
    """Return a sequence that is no text."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise InstanceError(f"{where}: found {shown(value)}, expected a sequence")
    return value  # type: ignore[return-value]


def texts(values: object, where: str, low: int, high: int) -> tuple[str, ...]:
    """Return low to high printable texts."""
    found = tuple(sequence(values, where))
    if not low <= len(found) <= high:
        raise InstanceError(f"{where}: found {len(found)}, expected {low} to {high}")
    for index, text in enumerate(found):
        check_text(text, f"{where}[{index}]")
    return found


def unique_texts(values: object, where: str, low: int, high: int) -> tuple[str, ...]:
    """Return low to high printable texts, no two the same."""
    found = texts(values, where, low, high)
    seen: set[str] = set()
    for index, text in enumerate(found):
        if text in seen:
            raise InstanceError(f"{where}[{index}]: found {shown(text)} a second time")
        seen.add(text)
    return found


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


def first_place(wrong: BoolArray) -> tuple[tuple[int, ...], str]:
    """Return the first place where something is wrong, as an index and in brackets."""
    place = tuple(int(part) for part in np.argwhere(wrong)[0])
    return place, "".join(f"[{part}]" for part in place)


def rates(values: object, where: str, shape: tuple[int, ...]) -> FloatArray:
    """Return a private read-only float64 copy of an array of bandwidths."""
    array = as_array(values, where, shape)
    if array.dtype.kind not in "iuf":
        raise InstanceError(f"{where}: found {array.dtype}, expected numbers")
    wrong = ~(((array >= 1e-9) & (array <= MAX_REAL)) | (array == np.inf))
    if wrong.any():
        place, text = first_place(wrong)
        raise InstanceError(
            f"{where}{text}: found {array[place]}, expected a number in 1e-9..{MAX_REAL:g} or inf"
        )
    return locked(np.array(array, np.float64, order="C"))


def integers(
    values: object, where: str, shape: tuple[int | None, ...], low: int, high: int
) -> IntArray:
    """Return a private read-only int64 copy of an array with values in low..high."""
    array = as_array(values, where, shape)
    if array.dtype.kind not in "iu":
        raise InstanceError(f"{where}: found {array.dtype}, expected integers")
    wrong = (array < low) | (array > high)
    if wrong.any():
        place, text = first_place(wrong)
        raise InstanceError(
            f"{where}{text}: found {array[place]}, expected an integer in {low}..{high}"
        )
    return locked(np.array(array, np.int64, order="C"))


def locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array after making it read-only."""
    array.setflags(write=False)
    return array
