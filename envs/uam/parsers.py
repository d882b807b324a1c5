"""Reading and writing instances: JSON, one file a day, format ``uam-fleet/1``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.uam.instance import Instance

__all__ = ["JSON_FORMAT", "MAX_BYTES", "dumps", "load", "loads", "write"]

JSON_FORMAT = "uam-fleet/1"
"""Name and version that a file carries in its ``format`` field."""

MAX_BYTES = 256 * 2**20
"""Largest file that is read."""

CURVES = ("linear",)

# Section -> (its field -> field of `Instance`, or "" where it only informs).
_SECTIONS = {
    "time": {"start": "start", "end": "end", "slot": "slot", "wait": "wait"},
    "fleet": {
        "count": "",
        "seats": "seats",
        "speed_mph": "speed_mph",
        "range_mi": "range_mi",
        "battery_wh": "battery_wh",
        "wh_per_mi": "wh_per_mi",
        "reserve_wh": "reserve_wh",
        "takeoff": "takeoff",
        "landing": "landing",
        "start": "start_port",
        "p_fail": "failure_probability",
        "repair": "repair",
    },
    "charge": {"power_w": "charge_power_w", "curve": ""},
    "airspace": {
        "corridors": "corridors",
        "headway": "headway",
        "pad_headway": "pad_headway",
        "p_closure": "closure_probability",
        "distance": "distance",
    },
    "money": {
        "fare": "",
        "base_cents": "",
        "op_cents_per_mi": "op_cents_per_mi",
        "op_basis": "op_basis",
        "elec_cents_per_kwh": "elec_cents_per_kwh",
    },
    "demand": {"lambda": "rate", "Q": "passengers", "fare_cents": "fare_cents"},
}
_PORT_FIELDS = {
    "x": "x",
    "y": "y",
    "parking": "parking",
    "chargers": "chargers",
    "high_demand": "high_demand",
    "tod_mean": "delay_mean",
}
_ARRAYS = {
    *_PORT_FIELDS.values(),
    "start_port",
    "failure_probability",
    "closure_probability",
    "distance",
    "rate",
    "passengers",
    "fare_cents",
}
_OPTIONAL = {
    "fleet": ("count", "reserve_wh"),
    "charge": ("curve",),
    "airspace": ("pad_headway", "distance"),
    "money": ("fare", "base_cents"),
}
_TOP = ("format", "name", "vertiports", "stochastic", *_SECTIONS)
_TOP_OPTIONAL = ("seed", "generator", "must_land_by_end", "reference")
_INFORMATION: dict[str, Any] = {
    "seed": int,
    "generator": str,
    "fare": str,
    "base_cents": (int, float),
}


def load(path: str | os.PathLike[str]) -> Instance:
    """Read the instance in a file.

    Args:
        path: JSON file of the format ``uam-fleet/1``.

    Raises:
        InstanceFormatError: the file cannot be read or is no such instance; the message names
            file and line, or field.
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
        text: JSON object of the format ``uam-fleet/1``.
        source: name of the text in error messages, e.g. its path.

    Raises:
        InstanceFormatError: the text is no such instance; the message names line and column, or
            the field as in ``vertiports[3].chargers``.
    """
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    try:
        return _instance(_document(text))
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def dumps(instance: Instance) -> str:
    """Return an instance as text; `loads` gives the same instance."""
    document: dict[str, Any] = {"format": JSON_FORMAT, "name": instance.name}
    document["vertiports"] = [
        {"id": port} | {key: _plain(getattr(instance, name)[port]) for key, name in
                        _PORT_FIELDS.items()}
        for port in range(instance.num_ports)
    ]  # fmt: skip
    for section, names in _SECTIONS.items():
        document[section] = {
            key: _plain(getattr(instance, name)) for key, name in names.items() if name
        }
    document["fleet"]["count"] = instance.num_aircraft
    document["charge"]["curve"] = CURVES[0]
    document["stochastic"] = instance.stochastic
    document["must_land_by_end"] = instance.must_land_by_end
    if instance.known:
        document["reference"] = dict(instance.known)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def write(instance: Instance, path: str | os.PathLike[str]) -> None:
    """Write an instance to a file, completely or not at all.

    Raises:
        DispatchGymError: the path cannot be written.
    """
    write_whole(path, dumps(instance))


def _plain(value: Any) -> Any:
    """Return arrays as lists and numpy's numbers as Python's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _document(text: str) -> dict[str, Any]:
    """Return the top-level JSON object of a text."""
    try:
        document = json.loads(
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
    return _object(document, "")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise InstanceError(f"{_short(key)}: found twice, expected once")
        fields[key] = value
    return fields


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InstanceError(f"{where or 'text'}: found {_short(value)}, expected an object")
    return value


def _check_keys(
    fields: Mapping[str, Any], where: str, known: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    for key in fields:
        if key not in known and key not in optional:
            raise InstanceError(
                f"{where}{_short(key)}: unknown field, expected one of {', '.join(known)}"
            )
    for key in known:
        if key not in fields and key not in optional:
            raise InstanceError(f"{where}{key}: missing field")


def _instance(document: dict[str, Any]) -> Instance:
    if document.get("format") != JSON_FORMAT:
        raise InstanceError(
            f"format: found {_short(document.get('format'))}, expected {JSON_FORMAT!r}"
        )
    _check_keys(document, "", _TOP, _TOP_OPTIONAL)
    values: dict[str, Any] = {"name": document["name"], **_ports(document["vertiports"])}
    for section, names in _SECTIONS.items():
        fields = _object(document[section], section)
        _check_keys(fields, f"{section}.", tuple(names), _OPTIONAL.get(section, ()))
        for key, value in fields.items():
            if names[key]:
                values[names[key]] = value
    _check_information(document)
    for flag in ("stochastic", "must_land_by_end"):
        values[flag] = document.get(flag, False)
    values["known"] = document.get("reference", {})
    return Instance(**_arrays(values))


def _check_information(document: dict[str, Any]) -> None:
    """Check what is not part of the instance but must not contradict it."""
    for key, kind in _INFORMATION.items():
        value = document.get(key, document["money"].get(key))
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise InstanceError(f"{key}: found {_short(value)}, expected a label")
    start, count = document["fleet"]["start"], document["fleet"].get("count")
    if count is not None and (not isinstance(start, list) or count != len(start)):
        raise InstanceError(
            f"fleet.count: found {_short(count)}, expected the number of aircraft in fleet.start"
        )
    curve = document["charge"].get("curve", CURVES[0])
    if curve not in CURVES:
        raise InstanceError(f"charge.curve: found {_short(curve)}, expected 'linear'")


def _ports(rows: object) -> dict[str, list[Any]]:
    """Return the columns of the list of vertiports."""
    if not isinstance(rows, list):
        raise InstanceError(f"vertiports: found {_short(rows)}, expected a list")
    columns: dict[str, list[Any]] = {name: [] for name in _PORT_FIELDS.values()}
    for index, row in enumerate(rows):
        where = f"vertiports[{index}]"
        fields = _object(row, where)
        _check_keys(fields, f"{where}.", ("id", *_PORT_FIELDS), ("id",))
        if fields.get("id", index) != index or isinstance(fields.get("id"), bool):
            raise InstanceError(f"{where}.id: found {_short(fields['id'])}, expected {index}")
        for key, name in _PORT_FIELDS.items():
            columns[name].append(_scalar(fields[key], f"{where}.{key}"))
    return columns


def _scalar(value: object, where: str) -> object:
    if not isinstance(value, (bool, int, float)):
        raise InstanceError(f"{where}: found {_short(value)}, expected a number")
    return value


def _arrays(values: dict[str, Any]) -> dict[str, Any]:
    """Turn lists into arrays; numbers must not hide in texts, nor true stand for 1."""
    return {
        name: _array(value, name) if name in _ARRAYS else value for name, value in values.items()
    }


def _array(value: Any, name: str) -> Any:
    if not isinstance(value, list):
        raise InstanceError(f"{name}: found {_short(value)}, expected a list")
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise InstanceError(f"{name}: found rows of unequal length, expected an array") from None
    if array.size == 0:
        raise InstanceError(f"{name}: found nothing, expected at least one entry")
    kinds = "b" if name == "high_demand" else "iuf"
    if array.dtype.kind not in kinds or (kinds != "b" and _holds_flag(value)):
        expected = "true or false" if kinds == "b" else "numbers"
        raise InstanceError(f"{name}: found {array.dtype}, expected {expected} only")
    return array


def _holds_flag(value: Any) -> bool:
    """Tell whether there is a true or false anywhere in nested lists."""
    if isinstance(value, list):
        return any(_holds_flag(part) for part in value)
    return isinstance(value, bool)
