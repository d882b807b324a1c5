"""Reading and writing instances: our JSON, and the table of DRLTO's published graphs.

The table is a CSV file with a row for each task and the columns ``set_n``, ``graph``, ``task``,
``size_bytes``, ``alpha``, ``out_bytes`` and ``children`` (numbers apart by spaces). It may hold
many graphs; device, link and server are those of the publication.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.edge_dag_plan.generators import DRLTO
from dispatchgym.envs.edge_dag_plan.instance import Instance

__all__ = ["JSON_FORMAT", "MAX_BYTES", "dumps", "load", "load_all", "loads", "write"]

JSON_FORMAT = "edge-dag-plan/1"
"""Name and version that a file carries in its ``format`` field."""

MAX_BYTES = 64 * 2**20
"""Largest file that is read."""

_TASK_FIELDS = {"work": "work", "upload_bytes": "upload", "output_bytes": "output"}
_DEVICE_FIELDS = {
    "speed": "device_speed",
    "power_w": "device_power",
    "transmit_power_w": "transmit_power",
    "receive_power_w": "receive_power",
}
_SERVER_FIELDS = {
    "speed": "server_speed",
    "uplink_bytes_per_s": "uplink",
    "downlink_bytes_per_s": "downlink",
}
_TOP = ("format", "name", "device", "servers", "tasks", "edges")
_CHOICE = re.compile(r"(?P<file>.+\.csv):(?P<tasks>\d+)(?:-(?P<graph>\d+))?", re.IGNORECASE)
_COLUMNS = ("set_n", "graph", "task", "size_bytes", "out_bytes", "children")


def load(path: str | os.PathLike[str]) -> Instance:
    """Read the instance in a file.

    Args:
        path: JSON file of the format ``edge-dag-plan/1``, or a table of DRLTO's graphs (.csv). Of a
            table with several graphs, ``graphs.csv:15-3`` is graph 3 of those with 15 tasks.

    Raises:
        InstanceFormatError: the file cannot be read or is no such instance; the message names
            file and line, or field.
    """
    found = load_all(path)
    if len(found) > 1:
        raise InstanceFormatError(
            f"{os.fspath(path)}: found {len(found)} graphs, expected one, as {found[0].name!r} is "
            f"named by graphs.csv:{found[0].num_tasks}-0; load_all reads all"
        )
    return found[0]


def load_all(path: str | os.PathLike[str]) -> list[Instance]:
    """Read all instances of a file: one of a JSON file, one for each graph of a table.

    Args:
        path: as of `load`; ``graphs.csv:15`` are the graphs of a table with 15 tasks.

    Raises:
        InstanceFormatError: see `load`.
    """
    source = os.fspath(path)
    chosen = None if os.path.exists(source) else _CHOICE.fullmatch(source)
    file = chosen["file"] if chosen else source
    try:
        if os.path.getsize(file) > MAX_BYTES:
            raise InstanceFormatError(f"{file}: larger than {MAX_BYTES} bytes")
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{file}: cannot be read: {error}") from None
    if Path(file).suffix.lower() != ".csv":
        return [loads(text, file)]
    found = _table(text, file, chosen["tasks"] if chosen else None, chosen and chosen["graph"])
    if not found:
        raise InstanceFormatError(f"{source}: found no such graph, expected at least one")
    return found


def loads(text: str, source: str = "<string>") -> Instance:
    """Read the instance in a text.

    Args:
        text: JSON object of the format ``edge-dag-plan/1``.
        source: name of the text in error messages, e.g. its path.

    Raises:
        InstanceFormatError: the text is no such instance; the message names line and column, or
            the field as in ``tasks[3].work``.
    """
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    try:
        return _instance(_document(text))
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def dumps(instance: Instance) -> str:
    """Return an instance as text; `loads` gives the same instance."""
    device = {key: getattr(instance, name) for key, name in _DEVICE_FIELDS.items()}
    servers = [
        {key: float(getattr(instance, name)[k]) for key, name in _SERVER_FIELDS.items()}
        | {"link_bytes_per_s": instance.link[k].tolist()}
        for k in range(instance.num_servers)
    ]
    tasks = [
        {key: float(getattr(instance, name)[i]) for key, name in _TASK_FIELDS.items()}
        for i in range(instance.num_tasks)
    ]
    lines = [
        f'"format": {json.dumps(JSON_FORMAT)}',
        f'"name": {json.dumps(instance.name)}',
        f'"device": {json.dumps(device)}',
        *(
            f'"{name}": [\n    ' + ",\n    ".join(json.dumps(row) for row in rows) + "\n  ]"
            for name, rows in (("servers", servers), ("tasks", tasks))
        ),
        f'"edges": {json.dumps(instance.edges.tolist())}',
    ]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def write(instance: Instance, path: str | os.PathLike[str]) -> None:
    """Write an instance to a file, completely or not at all.

    Raises:
        DispatchGymError: the path cannot be written.
    """
    write_whole(path, dumps(instance))


# ---------------------------------------------------------------- JSON


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
    return _object(document, "text")


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
        raise InstanceError(f"{where}: found {_short(value)}, expected an object")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InstanceError(f"{where}: found {_short(value)}, expected a list")
    return value


def _fields(value: object, where: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return an object that has just these fields."""
    fields = _object(value, where)
    prefix = "" if where == "text" else f"{where}."
    for key in fields:
        if key not in known:
            raise InstanceError(
                f"{prefix}{_short(key)}: unknown field, expected one of {', '.join(known)}"
            )
    for key in known:
        if key not in fields:
            raise InstanceError(f"{prefix}{key}: missing field")
    return fields


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InstanceError(f"{where}: found {_short(value)}, expected a number")
    return float(value)


def _instance(document: Mapping[str, Any]) -> Instance:
    if document.get("format") != JSON_FORMAT:
        raise InstanceError(
            f"format: found {_short(document.get('format'))}, expected {JSON_FORMAT!r}"
        )
    top = _fields(document, "text", _TOP)
    values: dict[str, Any] = {"name": top["name"]}
    device = _fields(top["device"], "device", tuple(_DEVICE_FIELDS))
    for key, name in _DEVICE_FIELDS.items():
        values[name] = _number(device[key], f"device.{key}")
    values |= _columns(top["tasks"], "tasks", _TASK_FIELDS, ())
    values |= _columns(top["servers"], "servers", _SERVER_FIELDS, ("link_bytes_per_s",))
    values["link"] = [
        [
            _number(rate, f"servers[{k}].link_bytes_per_s[{other}]")
            for other, rate in enumerate(
                _list(row["link_bytes_per_s"], f"servers[{k}].link_bytes_per_s")
            )
        ]
        for k, row in enumerate(top["servers"])
    ]
    values["edges"] = [_edge(edge, i) for i, edge in enumerate(_list(top["edges"], "edges"))]
    return Instance(**values)


def _columns(
    rows: object, where: str, names: Mapping[str, str], more: tuple[str, ...]
) -> dict[str, Any]:
    """Return the columns of a list of objects."""
    columns: dict[str, list[float]] = {name: [] for name in names.values()}
    for index, row in enumerate(_list(rows, where)):
        fields = _fields(row, f"{where}[{index}]", (*names, *more))
        for key, name in names.items():
            columns[name].append(_number(fields[key], f"{where}[{index}].{key}"))
    return {name: np.array(column, np.float64) for name, column in columns.items()}


def _edge(value: object, index: int) -> list[int]:
    edge = _list(value, f"edges[{index}]")
    if len(edge) != 2 or any(isinstance(end, bool) or not isinstance(end, int) for end in edge):
        raise InstanceError(f"edges[{index}]: found {_short(value)}, expected [parent, child]")
    return edge


# ---------------------------------------------------------------- the table


def _table(text: str, source: str, tasks: str | None, graph: str | None) -> list[Instance]:
    """Return the graphs of a table in the order of the file, or only those that were chosen."""
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise InstanceFormatError(f"{source}: line 1: found no column {missing[0]!r}")
    graphs: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    for row in reader:
        if tasks in (None, row["set_n"]) and graph in (None, row["graph"]):
            graphs.setdefault((row["set_n"], row["graph"]), []).append((reader.line_num, row))
    try:
        return [_graph(*name, rows) for name, rows in graphs.items()]
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def _graph(group: str, graph: str, rows: list[tuple[int, dict[str, Any]]]) -> Instance:
    name = f"drlto-test-n{group}-g{graph}"
    sizes, outputs, edges = [], [], []
    for number, (line, row) in enumerate(rows):
        if _whole(row["task"], line, "task") != number:
            raise InstanceError(f"line {line}, task: found {row['task']!r}, expected {number}")
        sizes.append(_whole(row["size_bytes"], line, "size_bytes"))
        outputs.append(_whole(row["out_bytes"], line, "out_bytes"))
        children = {_whole(child, line, "children") for child in (row["children"] or "").split()}
        edges += [(number, child) for child in sorted(children)]  # some are there twice
    try:
        return DRLTO.instance(
            name, np.array(sizes), np.array(outputs), np.array(edges, np.int64).reshape(-1, 2)
        )
    except InstanceError as error:
        raise InstanceError(f"line {rows[0][0]}, graph {name}: {error}") from None


def _whole(text: str | None, line: int, column: str) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InstanceError(f"line {line}, {column}: found {text!r}, expected a whole number")
    return int(text)
