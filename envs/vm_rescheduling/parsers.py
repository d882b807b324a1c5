"""Readers and writers of cluster snapshots and of migration plans.

============  ================================================================================
format        layout
============  ================================================================================
``json``      our own, see `Instance.to_json`: everything an instance has
``compact``   ``vm-snapshot-compact/1``: equal machines, a row [pm, cpu, mem_mb, numa] per VM with
              numa 0, 1 or 2 for both nodes; results known by migration limit
``snapshot``  the public JSON of bytedance/DRL-based-VM-Rescheduling: ``cluster_list`` with hosts,
              VMs and deployment sets
``npz``       arrays ``pm``, ``cpu``, ``mem``, ``numa`` (V,) and ``pm_cpu``, ``pm_mem`` (P, 2),
              optionally ``rack``, ``cluster``, ``set_id``, ``set_rack``, ``movable``, ``settings``;
              instead of ``pm`` also ``edges`` as in the graph observation of Ding et al.: the own
              index of each machine (may be left out), then the machine of each VM, then -1 in
              rows of padding
============  ================================================================================

Whatever the bytes, the only errors are `DispatchGymError` subclasses that name the place.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import (
    EvaluationError,
    InstanceError,
    InstanceFormatError,
    ParameterError,
)
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.vm_rescheduling.instance import (
    BOTH_NODES,
    JSON_FORMAT,
    MAX_MIGRATIONS,
    MAX_PMS,
    MAX_SIZE,
    Instance,
    IntArray,
    Known,
    Objective,
    Term,
    integer_rows,
    json_document,
)
from dispatchgym.envs.vm_rescheduling.validator import validate

__all__ = [
    "COMPACT_FORMAT",
    "DEFAULT_LIMIT",
    "FORMATS",
    "MAX_BYTES",
    "PLAN_FORMAT",
    "dumps",
    "load",
    "load_plan",
    "loads",
    "save_plan",
    "write",
]

FORMATS = ("json", "compact", "snapshot", "npz")
"""The formats that are read; they are told apart by their content."""

COMPACT_FORMAT = "vm-snapshot-compact/1"
"""Name that the compact form carries in its ``format`` field."""

PLAN_FORMAT = "dispatchgym/vm_rescheduling/plan/1"
"""Name that a plan carries in its ``format`` field."""

MAX_BYTES = 64 * 2**20
"""Largest file that is read, in bytes; the unpacked size of a compressed one as well."""

DEFAULT_LIMIT = 50
"""Migration limit of files that have none."""

_COMPACT_COLUMNS = ["pm", "cpu", "mem_mb", "numa"]


def load(path: str | os.PathLike[str], mnl: int | None = None) -> Instance:
    """Read the cluster in a file.

    Args:
        path: File of at most 64 MiB in one of `FORMATS`.
        mnl: Migration limit; by default the file's own, or 50 if it has none.

    Raises:
        InstanceFormatError: The file cannot be read or is no cluster: cut off, over-committed, or
            with VMs on machines that it does not have; the message names file and field.
        ParameterError: `mnl` is no such number.

    Warns:
        UserWarning: Machines of a public snapshot are out of service; they and their VMs are
            left out.
    """
    source = _file_name(path)
    data = _read_bytes(source)
    stem = Path(source).stem[:100]
    name = stem if stem and stem.isprintable() else "custom"
    if data.startswith(b"PK\x03\x04"):
        return _limited(_checked(_from_npz, data, name, source), mnl)
    return loads(_decoded(data, source), mnl, name=name, source=source)


def loads(
    text: str, mnl: int | None = None, *, name: str = "custom", source: str = "<string>"
) -> Instance:
    """Read the cluster in a text of one of the JSON formats.

    Args:
        text: The JSON.
        mnl: Migration limit; by default the text's own, or 50 if it has none.
        name: Name of the instance if the text has none.
        source: Name of the text in error messages.

    Raises:
        InstanceFormatError: The text is no cluster; the message names source and field.
        ParameterError: `mnl` is no such number.
    """
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    return _limited(_checked(_from_text, text, name, source), mnl)


def dumps(instance: Instance, format: str = "json") -> str:
    """Return a cluster as text, ``"json"`` or ``"compact"``.

    Raises:
        ParameterError: The format is neither, or is compact and cannot hold this instance:
            machines must be equal and nothing but the fragment rate of one size may matter.
    """
    if format == "json":
        return instance.to_json()
    if format == "compact":
        return _compact_text(instance)
    raise ParameterError(f"format: found {format!r}, expected 'json' or 'compact'")


def write(instance: Instance, path: str | os.PathLike[str], format: str = "auto") -> None:
    """Write a cluster to a file, whole or not at all: a crash leaves the old file as it was.

    Args:
        instance: What to write.
        path: Target; an existing file is replaced.
        format: ``"json"``, ``"compact"`` or ``"npz"``; ``"auto"`` goes by the ending: ``.npz``,
            otherwise json.

    Raises:
        ParameterError: The format is none of these or cannot hold the instance.
        DispatchGymError: The file cannot be written.
    """
    target = Path(_file_name(path))
    if format == "auto":
        format = "npz" if target.suffix.lower() == ".npz" else "json"
    write_whole(target, _npz_bytes(instance) if format == "npz" else dumps(instance, format))


def save_plan(
    path: str | os.PathLike[str], instance: Instance, schedule: Mapping[str, Any]
) -> None:
    """Write a plan as JSON: snapshot, migration limit, moves [vm, pm, node] and their names.

    Args:
        path: Target; an existing file is replaced.
        instance: The cluster.
        schedule: A plan for it, see `validate`.

    Raises:
        EvaluationError: The plan is not valid; the message names the move.
        DispatchGymError: The file cannot be written.
    """
    _check_plan(instance, schedule, "plan")
    rows = np.asarray(schedule["moves"], np.int64).reshape(-1, 3)
    moves = rows[rows[:, 0] >= 0].tolist()
    fields: dict[str, Any] = {
        "format": PLAN_FORMAT,
        "snapshot": instance.name,
        "mnl": instance.migration_limit,
        "moves": moves,
    }
    if instance.vm_names and instance.pm_names:
        fields["named_moves"] = [
            [instance.vm_names[vm], instance.pm_names[pm], node] for vm, pm, node in moves
        ]
    write_whole(path, json.dumps(fields) + "\n")


def load_plan(
    path: str | os.PathLike[str], instance: Instance | None = None
) -> dict[str, IntArray]:
    """Read a plan.

    Args:
        path: JSON file with ``moves``, rows [vm, pm, node], and if wanted ``format``,
            ``snapshot``, ``mnl`` and ``named_moves``, of which only the first is used.
        instance: The cluster; if given, the plan is checked against it.

    Returns:
        The schedule: ``moves`` (n, 3).

    Raises:
        InstanceFormatError: The file cannot be read or is no plan; the message names the field.
        EvaluationError: The plan is not valid for the cluster; the message names the move.
    """
    source = _file_name(path)
    text = _decoded(_read_bytes(source), source)
    schedule = {"moves": _checked(_plan_moves, text, "", source)}
    if instance is not None:
        _check_plan(instance, schedule, source)
    return schedule


def _plan_moves(text: str, _: str) -> IntArray:
    document = json_document(text)
    if document.get("format", PLAN_FORMAT) != PLAN_FORMAT:
        raise InstanceError(f"format: found {_cut(document['format'])}, expected {PLAN_FORMAT!r}")
    return integer_rows(_field(document, "moves", ""), "moves", 3)


def _check_plan(instance: Instance, schedule: Mapping[str, Any], source: str) -> None:
    report = validate(instance, schedule)
    if not report.valid:
        first = report.violations[0]
        raise EvaluationError(f"{source}: {first.code}: {first.message}")


# ---------------------------------------------------------------- files and texts


def _file_name(path: str | os.PathLike[str]) -> str:
    try:
        return os.fsdecode(os.fspath(path))
    except TypeError:
        raise ParameterError(f"path: found {type(path).__name__}, expected a path") from None


def _read_bytes(source: str) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`."""
    try:
        info = os.stat(source)
        if not stat.S_ISREG(info.st_mode):
            raise InstanceFormatError(f"{source}: found a folder or device, expected a file")
        if info.st_size > MAX_BYTES:
            raise InstanceFormatError(
                f"{source}: found {info.st_size} bytes, expected at most {MAX_BYTES}"
            )
        with open(source, "rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        raise InstanceFormatError(f"{source}: found no such file{_close_names(source)}") from None
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{source!r}: cannot be read: {error}") from None


def _close_names(source: str) -> str:
    """Return a hint at files beside a missing one that have a similar name."""
    folder, name = os.path.split(source)
    present = os.listdir(folder or ".") if os.path.isdir(folder or ".") else []
    close = difflib.get_close_matches(name, present, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ", expected a file"


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InstanceFormatError(
            f"{source}, line {line}: found byte 0x{data[error.start]:02x}, "
            "expected UTF-8 text or an npz archive"
        ) from None


def _checked(reader: Any, content: Any, name: str, source: str) -> Any:
    """Call a reader and put the source before what it complains about."""
    try:
        return reader(content, name)
    except (InstanceError, ParameterError) as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def _limited(instance: Instance, mnl: int | None) -> Instance:
    if mnl is None:
        return instance
    if type(mnl) is not int or not 0 <= mnl <= MAX_MIGRATIONS:
        raise ParameterError(f"mnl: found {mnl!r}, expected an integer in 0..{MAX_MIGRATIONS}")
    return instance.replace(migration_limit=mnl)


def _from_text(text: str, name: str) -> Instance:
    """Return the cluster of a JSON text, whichever of the three formats it is in."""
    document = json_document(text)
    form = document.get("format")
    if form == JSON_FORMAT:
        return Instance.from_document(document)
    if form == COMPACT_FORMAT:
        return _from_compact(document, name)
    if form is None and "cluster_list" in document:
        return _Snapshot(document).instance(name)
    raise InstanceError(
        f"format: found {_cut(form)}, expected {JSON_FORMAT!r}, {COMPACT_FORMAT!r} or "
        "a public snapshot with cluster_list"
    )


# ---------------------------------------------------------------- values in JSON


def _cut(value: object) -> str:
    if isinstance(value, (list, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _field(fields: Any, key: str, where: str) -> Any:
    """Return a field that must be there of what must be an object."""
    if not isinstance(fields, dict):
        raise InstanceError(f"{where.rstrip('.')}: found {_cut(fields)}, expected an object")
    if key not in fields:
        raise InstanceError(f"{where}{key}: missing field")
    return fields[key]


def _list_field(fields: Any, key: str, where: str) -> list[Any]:
    value = _field(fields, key, where)
    if not isinstance(value, list):
        raise InstanceError(f"{where}{key}: found {_cut(value)}, expected a list")
    return value


def _whole(fields: Any, key: str, where: str, high: int = MAX_SIZE) -> int:
    """Return a field that is a whole number >= 0; 8.0 counts as one."""
    value = _field(fields, key, where)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= high or value != int(value):
        raise InstanceError(
            f"{where}{key}: found {_cut(value)}, expected a whole number in 0..{high}"
        )
    return int(value)


def _text(fields: Any, key: str, where: str) -> str:
    value = _field(fields, key, where)
    if not isinstance(value, str):
        raise InstanceError(f"{where}{key}: found {_cut(value)}, expected a text")
    return value


# ---------------------------------------------------------------- compact


def _from_compact(document: dict[str, Any], name: str) -> Instance:
    pms = _whole(document, "n_pm", "", MAX_PMS)
    if _whole(document, "numa_per_pm", "") != 2:
        raise InstanceError(f"numa_per_pm: found {_cut(document['numa_per_pm'])}, expected 2")
    if document.get("vm_columns", _COMPACT_COLUMNS) != _COMPACT_COLUMNS:
        raise InstanceError(f"vm_columns: found others, expected {', '.join(_COMPACT_COLUMNS)}")
    rows = integer_rows(_field(document, "vm", ""), "vm", 4)
    if len(rows) != _whole(document, "n_vm", ""):
        raise InstanceError(
            f"vm: found {len(rows)} rows, expected n_vm = {document['n_vm']}: the file is cut off"
        )
    chunk = _whole(document, "fragment_cores", "") if "fragment_cores" in document else 16
    pm, cpu, memory, node = rows.T
    instance = Instance(
        name=document.get("name", name),
        pm_cpu=np.full((pms, 2), _whole(document, "numa_cpu", "")),
        pm_memory=np.full((pms, 2), _whole(document, "numa_mem_mb", "")),
        vm_cpu=cpu,
        vm_memory=memory,
        vm_numa=np.where(node == BOTH_NODES, 2, 1),
        vm_pm=pm,
        vm_node=node,
        migration_limit=DEFAULT_LIMIT,
        objective=Objective(terms=(Term(chunk=chunk),)),
    )
    results = document.get("results", {})
    _check_results(instance, results)
    known = _compact_known(results) if chunk == 16 else {}
    return instance.replace(known=known)


def _check_results(instance: Instance, results: Any) -> None:
    """Compare the sums that a file gives of itself with those of its VMs."""
    found = {"free_cpu": instance.total_free_cpu, "initial_slots": instance.slots}
    for key, value in found.items():
        if isinstance(results, dict) and key in results:
            claimed = _whole(results, key, "results.")
            if claimed != value:
                raise InstanceError(
                    f"results.{key}: found {claimed}, expected {value} from the VMs: "
                    "one of them is not the file's own"
                )


def _compact_known(results: Any) -> dict[int, Known]:
    """Return the results by migration limit."""
    if not isinstance(results, dict) or not isinstance(results.get("mnl", {}), dict):
        raise InstanceError("results: found no object, expected one with mnl")
    known = {}
    for limit, value in results.get("mnl", {}).items():
        where = f"results.mnl.{limit[:20]}."
        if not limit.isascii() or not limit.isdigit():
            raise InstanceError(f"{where}: found {_cut(limit)}, expected a migration limit")
        best = _whole(value, "best_slots", where)
        known[int(limit[:20])] = Known(best, _whole(value, "upper_bound", where))
    return known


def _compact_text(instance: Instance) -> str:
    """Return the compact form of an instance that has one."""
    term = instance.objective.terms[0]
    plain = instance.replace(
        movable=None, affinity=None, affinity_rack=None, within_cluster=False, rack=None,
        cluster=None, objective=Objective(terms=(Term(chunk=term.chunk),)),
    )  # fmt: skip
    settings = instance.replace(rack=None, cluster=None)
    equal = (instance.pm_cpu == instance.pm_cpu[0, 0]).all() and (
        instance.pm_memory == instance.pm_memory[0, 0]
    ).all()
    if not equal or settings != plain:
        raise ParameterError(
            "format: found 'compact', expected 'json' for machines that differ, immovable VMs, "
            "anti-affinity sets, VMs bound to clusters or other objectives"
        )
    rows = np.column_stack(
        [instance.vm_pm, instance.vm_cpu, instance.vm_memory, instance.vm_node]
    ).tolist()
    results: dict[str, Any] = {
        "free_cpu": instance.total_free_cpu,
        "initial_slots": instance.slots,
        "mnl": {
            str(limit): {"best_slots": known.best_slots, "upper_bound": known.upper_bound}
            for limit, known in instance.known.items()
        },
    }
    fields = {
        "format": COMPACT_FORMAT,
        "name": instance.name,
        "n_pm": instance.num_pms,
        "n_vm": instance.num_vms,
        "numa_per_pm": 2,
        "numa_cpu": int(instance.pm_cpu[0, 0]),
        "numa_mem_mb": int(instance.pm_memory[0, 0]),
        "fragment_cores": term.chunk,
        "vm_columns": _COMPACT_COLUMNS,
        "vm": rows,
        "results": results,
    }
    return json.dumps(fields) + "\n"


# ---------------------------------------------------------------- public snapshots


class _Snapshot:
    """A public snapshot while it is read.

    Its stored free memory of node 1 is a copy of node 0's, so nothing stored as free is used; and
    the NUMA count of its flavour table is only the usual one, so each VM's own list counts.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.pms: dict[str, int] = {}
        self.out_of_service: set[str] = set()
        self.pm_rows: list[tuple[int, ...]] = []
        self.vms: dict[str, int] = {}
        self.left_out: set[str] = set()
        self.vm_rows: list[tuple[int, ...]] = []
        self.set_of: dict[int, int] = {}
        self.set_rack: list[bool] = []
        for index, cluster in enumerate(_list_field(document, "cluster_list", "")):
            where = f"cluster_list[{index}]."
            for position, host in enumerate(_list_field(cluster, "host_info", where)):
                self._read_host(host, f"{where}host_info[{position}].", index)
            for position, vm in enumerate(_list_field(cluster, "vm_instance", where)):
                self._read_vm(vm, f"{where}vm_instance[{position}].")
            self._read_sets(cluster, where)

    def instance(self, name: str) -> Instance:
        """Return what has been read."""
        if self.out_of_service:
            warnings.warn(
                f"{len(self.out_of_service)} machines out of service and their "
                f"{len(self.left_out)} VMs are left out",
                UserWarning,
                stacklevel=5,
            )
        pms = np.array(self.pm_rows, np.int64).reshape(-1, 6)
        vms = np.array(self.vm_rows, np.int64).reshape(-1, 6)
        affinity = np.full(len(vms), -1)
        for vm, number in self.set_of.items():
            affinity[vm] = number
        return Instance(
            name=name,
            pm_cpu=pms[:, 0:2],
            pm_memory=pms[:, 2:4],
            rack=pms[:, 4],
            cluster=pms[:, 5],
            vm_cpu=vms[:, 0],
            vm_memory=vms[:, 1],
            vm_numa=vms[:, 2],
            vm_pm=vms[:, 3],
            vm_node=vms[:, 4],
            movable=vms[:, 5] == 1,
            affinity=affinity,
            affinity_rack=np.array(self.set_rack, np.bool_),
            migration_limit=DEFAULT_LIMIT,
            pm_names=tuple(self.pms),
            vm_names=tuple(self.vms),
        )

    def _read_host(self, host: Any, where: str, cluster: int) -> None:
        name = _text(host, "node_id", where)
        if name in self.pms or name in self.out_of_service:
            raise InstanceError(f"{where}node_id: found {_cut(name)} twice, expected each once")
        if _text(host, "status", where) != "ACTIVE":
            self.out_of_service.add(name)
            return
        nodes = _by_node(_list_field(host, "numa", where), f"{where}numa")
        if sorted(nodes) != [0, 1]:
            raise InstanceError(f"{where}numa: found nodes {sorted(nodes)}, expected 0 and 1")
        cpu = [_whole(nodes[k], "total_cpu", f"{where}numa[{k}].") for k in (0, 1)]
        memory = [_whole(nodes[k], "memory_huge_total_mb", f"{where}numa[{k}].") for k in (0, 1)]
        self.pms[name] = len(self.pm_rows)
        rack = _whole(host, "rack_id", where, MAX_PMS)
        self.pm_rows.append((*cpu, *memory, rack, cluster))

    def _read_vm(self, vm: Any, where: str) -> None:
        name, host = _text(vm, "instance_id", where), _text(vm, "host_id", where)
        if name in self.vms or name in self.left_out:
            raise InstanceError(f"{where}instance_id: found {_cut(name)} twice, expected once")
        if host in self.out_of_service:
            self.left_out.add(name)
            return
        if host not in self.pms:
            raise InstanceError(
                f"{where}host_id: found {_cut(host)}, expected the node_id of a host read before"
            )
        nodes = _by_node(_list_field(vm, "numa", where), f"{where}numa")
        shares = {
            (_whole(nodes[k], "cpu", f"{where}numa."), _whole(nodes[k], "mem_mb", f"{where}numa."))
            for k in nodes
        }
        if len(shares) != 1:
            raise InstanceError(
                f"{where}numa: found {len(nodes)} nodes with {len(shares)} different needs, "
                "expected one node or two with the same"
            )
        cpu, memory = shares.pop()
        numa = len(nodes)
        node = BOTH_NODES if numa == 2 else next(iter(nodes))
        movable = vm.get("allow_migration", True)
        if movable not in (True, False):
            raise InstanceError(
                f"{where}allow_migration: found {_cut(movable)}, expected true or false"
            )
        self.vms[name] = len(self.vm_rows)
        self.vm_rows.append((numa * cpu, numa * memory, numa, self.pms[host], node, int(movable)))

    def _read_sets(self, cluster: Any, where: str) -> None:
        """Read deployment sets: no two of their VMs may share a host, or a rack."""
        other = cluster.get("other_requirement", {})
        if not isinstance(other, dict) or "deployment_set" not in other:
            return
        where = f"{where}other_requirement."
        for index, group in enumerate(_list_field(other, "deployment_set", where)):
            place = f"{where}deployment_set[{index}]."
            level = _text(group, "granularity", place)
            if level not in ("host", "rack"):
                raise InstanceError(
                    f"{place}granularity: found {_cut(level)}, expected 'host' or 'rack'"
                )
            for name in _list_field(group, "data", place):
                self._join(name, len(self.set_rack), f"{place}data")
            self.set_rack.append(level == "rack")

    def _join(self, name: object, number: int, where: str) -> None:
        if name in self.left_out:
            return
        if not isinstance(name, str) or name not in self.vms:
            raise InstanceError(f"{where}: found {_cut(name)}, expected an instance_id")
        vm = self.vms[name]
        if vm in self.set_of:
            raise InstanceError(f"{where}: found {_cut(name)} a second time, expected one set each")
        self.set_of[vm] = number


def _by_node(entries: list[Any], where: str) -> dict[int, Any]:
    """Return the entries of a ``numa`` list by their node."""
    nodes: dict[int, Any] = {}
    for index, entry in enumerate(entries):
        node = _whole(entry, "node", f"{where}[{index}].", 1)
        if node in nodes:
            raise InstanceError(f"{where}: found node {node} twice, expected each once")
        nodes[node] = entry
    if not nodes:
        raise InstanceError(f"{where}: found no node, expected one or two")
    return nodes


# ---------------------------------------------------------------- numpy


def _npz_bytes(instance: Instance) -> bytes:
    """Return the archive of an instance; names are left out."""
    known = {
        str(limit): [value.best_slots, value.upper_bound] for limit, value in instance.known.items()
    }
    settings = {
        "name": instance.name,
        "mnl": instance.migration_limit,
        "objective": instance.objective.to_dict(),
        "within_cluster": instance.within_cluster,
        "known": known,
    }
    arrays = {
        "pm": instance.vm_pm,
        "cpu": instance.vm_cpu,
        "mem": instance.vm_memory,
        "numa": instance.vm_node,
        "pm_cpu": instance.pm_cpu,
        "pm_mem": instance.pm_memory,
        "rack": instance.rack,
        "cluster": instance.cluster,
        "set_id": instance.affinity,
    }
    narrow = {key: _narrow(array) for key, array in arrays.items()}
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        **narrow,  # type: ignore[arg-type]
        set_rack=instance.affinity_rack,
        movable=instance.movable,
        settings=np.array(json.dumps(settings)),
    )
    return stream.getvalue()


def _narrow(array: IntArray) -> npt.NDArray[np.integer[Any]]:
    return array.astype(np.int32) if int(array.max()) < 2**31 else array


def _from_npz(data: bytes, name: str) -> Instance:
    arrays = _archive(data)
    for key in ("cpu", "mem", "numa", "pm_cpu", "pm_mem"):
        if key not in arrays:
            raise InstanceError(f"{key}: missing array")
    settings = _npz_settings(arrays.pop("settings", None))
    rows, pm = _hosts(arrays)
    node = _column(arrays, "numa", rows)
    optional = {
        ours: _column(arrays, theirs, rows if theirs in ("set_id", "movable") else None)
        for theirs, ours in (("rack", "rack"), ("cluster", "cluster"), ("set_id", "affinity"),
                             ("set_rack", "affinity_rack"), ("movable", "movable"))
        if theirs in arrays
    }  # fmt: skip
    if "movable" in optional and optional["movable"].dtype.kind in "iu":
        optional["movable"] = optional["movable"] != 0
    return Instance(
        pm_cpu=_column(arrays, "pm_cpu"),
        pm_memory=_column(arrays, "pm_mem"),
        vm_cpu=_column(arrays, "cpu", rows),
        vm_memory=_column(arrays, "mem", rows),
        vm_numa=np.where(node == BOTH_NODES, 2, 1),
        vm_pm=pm,
        vm_node=node,
        **optional,  # type: ignore[arg-type]
        **{"name": name, **settings},
    )


def _column(
    arrays: Mapping[str, npt.NDArray[Any]], key: str, rows: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Return an array, or those of its rows that are VMs."""
    array = arrays[key]
    if rows is None:
        return array
    if array.shape != rows.shape:
        raise InstanceError(f"{key}: found shape {array.shape}, expected {rows.shape}")
    return array[rows]


def _hosts(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return which rows are VMs, and the machine of each VM, from ``pm`` or ``edges``."""
    if ("pm" in arrays) == ("edges" in arrays):
        raise InstanceError("pm, edges: found both or none, expected one of them")
    rows = arrays["cpu"].size
    if "pm" in arrays:
        return np.ones(rows, np.bool_), arrays["pm"]
    edges, pms = arrays["edges"], len(arrays["pm_cpu"]) if arrays["pm_cpu"].ndim else 0
    if edges.dtype.kind not in "iu":
        raise InstanceError(f"edges: found type {edges.dtype}, expected integers")
    if edges.shape == (pms + rows,):
        if (edges[:pms] != np.arange(pms)).any():
            raise InstanceError(f"edges: found others, expected 0..{pms - 1} for the machines")
        edges = edges[pms:]
    if edges.shape != (rows,):
        raise InstanceError(
            f"edges: found shape {edges.shape}, expected ({rows},) or ({pms + rows},)"
        )
    real = edges != -1
    lost = np.flatnonzero(~real & (arrays["cpu"].reshape(-1) > 0))
    if lost.size:
        raise InstanceError(f"edges: found -1 for VM {lost[0]} that has cores, expected a machine")
    return real, edges[real]


def _npz_settings(array: npt.NDArray[Any] | None) -> dict[str, Any]:
    """Return the fields of an instance that are no arrays."""
    if array is None:
        return {"migration_limit": DEFAULT_LIMIT}
    if array.dtype.kind != "U" or array.ndim:
        raise InstanceError(f"settings: found type {array.dtype}, expected a JSON text")
    fields = json_document(str(array))
    known = {
        limit: {"best_slots": best, "upper_bound": bound}
        for limit, (best, bound) in _pairs(fields.get("known", {}))
    }
    return {
        "name": _text(fields, "name", "settings."),
        "migration_limit": _whole(fields, "mnl", "settings.", MAX_MIGRATIONS),
        "objective": Objective.make(fields.get("objective", "fragment")),
        "within_cluster": fields.get("within_cluster", False),
        "known": _compact_known({"mnl": known}),
    }


def _pairs(fields: Any) -> list[tuple[str, list[Any]]]:
    if not isinstance(fields, dict):
        raise InstanceError(f"settings.known: found {_cut(fields)}, expected an object")
    for limit, pair in fields.items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise InstanceError(f"settings.known.{limit[:20]}: found {_cut(pair)}, expected two")
    return list(fields.items())


def _archive(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an npz archive after their sizes have been looked at."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_BYTES:
                raise InstanceError(f"found more than {MAX_BYTES} bytes unpacked, expected less")
            content = {
                member.filename.removesuffix(".npy"): archive.read(member) for member in members
            }
    except InstanceError:
        raise
    except Exception as error:  # damaged archives fail in a dozen ways, all mean the same
        raise InstanceError(f"found a damaged archive: {str(error)[:100]}") from None
    return {key[:60]: _array(part, key[:60]) for key, part in content.items()}


def _array(data: bytes, key: str) -> npt.NDArray[Any]:
    """Return the array of a .npy file after its header has been compared with its length."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(
            stream
        )
        needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.kind in "iubU" and needed == len(data) - stream.tell():
            stream.seek(0)
            return np.load(stream, allow_pickle=False)
    except Exception as error:  # the header is a Python literal and can fail in many ways
        raise InstanceError(f"{key}: found a damaged array: {str(error)[:100]}") from None
    raise InstanceError(
        f"{key}: found type {str(dtype)[:30]}, shape {str(shape)[:60]} and "
        f"{len(data)} bytes, expected integers or truth values of that size"
    )
