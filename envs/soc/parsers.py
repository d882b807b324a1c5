"""Reading and writing instances: the own format ``soc/1`` and those of the literature."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.soc import ds3_files, workflows
from dispatchgym.envs.soc.instance import Cluster, Instance, JobProfile, Platform, Workload
from dispatchgym.envs.soc.reading import checked, document, member, named, read, short
from dispatchgym.envs.soc.workflows import Attached

__all__ = ["JSON_FORMAT", "dumps", "load", "loads", "write"]

JSON_FORMAT = "soc/1"
"""Name and version that a file carries in its ``format`` field."""


def load(
    path: str | os.PathLike[str],
    *,
    processors: int | None = None,
    beta: float = 0.0,
    ccr: float | None = None,
    seed: int = 0,
    optimum: int = -1,
    jobs: Sequence[str | os.PathLike[str]] = (),
    platform: str | os.PathLike[str] | None = None,
) -> Instance:
    """Read an instance.

    The content decides about the format. A file that holds one or a few jobs gives a batch of
    them at time 0.

    | format | what it gives |
    |---|---|
    | JSON ``soc/1`` | the whole instance |
    | WfFormat 1.4, 1.5 (JSON) | one job; seconds as microseconds, bytes as volume |
    | DAGBench (JSON) | one job and its network; a unit of time is a millisecond |
    | STG (``.stg``) | one job on identical processing elements, free communication |
    | TGFF (``.tgff``) | a job a graph, a processing element a table with ``exec_time`` |
    | DS3 platform (text) | the platform, with `jobs`, or all built-in ones that it can run |
    | DS3 job (text) | one job, on `platform` or the built-in one that knows its tasks |
    | ``.._task_connectivity.csv`` | one job, with the two tables beside it |

    Args:
        path: the file; for three tables also the folder that holds just them.
        processors: number of processing elements, for STG (4 unless given) and WfFormat (the
            recorded machines' cores unless given).
        beta: heterogeneity of STG and WfFormat jobs: times are spread by up to beta / 2 of
            them, in 0..2.
        ccr: gives the edges of STG and WfFormat jobs random volumes, so that a mean transfer
            takes so many mean tasks.
        seed: of these spreads and volumes, in 0..2^64-1.
        optimum: latency of the job that is proven, in microseconds, if known.
        jobs: files of the jobs of a DS3 platform.
        platform: name of a built-in platform, or file of a DS3 platform, for a DS3 job.

    Raises:
        InstanceFormatError: the file cannot be read or is no such instance; the message names
            file and line, or field.
        ParameterError: an argument is out of range, or does not apply to the format.
    """
    attached = Attached(processors, beta, ccr, seed)
    source = os.fspath(path)
    given = {
        name
        for name, used in (
            ("processors, beta, ccr or seed", attached != Attached()),
            ("jobs", bool(jobs)),
            ("platform", platform is not None),
        )
        if used
    }
    with named(source):
        found = _load(source, attached, jobs, platform, given)
        return found if optimum == -1 else _with_optimum(found, optimum)


def _load(
    source: str,
    attached: Attached,
    jobs: Sequence[str | os.PathLike[str]],
    platform: str | os.PathLike[str] | None,
    given: set[str],
) -> Instance:
    if Path(source).is_dir() or source.endswith("_task_connectivity.csv"):
        _check_arguments(given, set())
        return workflows.tables(source)
    text, name = read(source), Path(source).stem[:100]
    if source.endswith(".json") or text.lstrip()[:1] == "{":
        return _from_json(text, source, attached, given)
    if "add_new_resource" in text:
        _check_arguments(given, {"jobs"})
        return ds3_files.platform_instance(text, name, jobs)
    if "add_new_tasks" in text or "earliest_start" in text:
        _check_arguments(given, {"platform"})
        return ds3_files.job_instance(text, name, platform)
    if "@TASK_GRAPH" in text:
        _check_arguments(given, set())
        return workflows.tgff(text, name)
    _check_arguments(given, {"processors, beta, ccr or seed"})
    return workflows.stg(text, name, attached)


def _from_json(text: str, source: str, attached: Attached, given: set[str]) -> Instance:
    found = document(text)
    if "workflow" in found:
        _check_arguments(given, {"processors, beta, ccr or seed"})
        return workflows.wfformat(found, attached)
    _check_arguments(given, set())
    if "task_graph" in found:
        return workflows.dagbench(found)
    return _instance(found)


def _check_arguments(given: set[str], allowed: set[str]) -> None:
    for name in given - allowed:
        raise ParameterError(f"{name}: found, but the format of the file has no use for it")


def _with_optimum(instance: Instance, optimum: int) -> Instance:
    """Return an instance of one job whose optimum is known."""
    if len(instance.profiles) > 1:
        raise ParameterError(f"optimum: found with {len(instance.profiles)} jobs, expected one")
    known = {**instance.known, "optimum_us": optimum}
    job = replace(instance.profiles[0], optimum=optimum)
    return replace(instance, profiles=(job,), known=known)


def loads(text: str, source: str = "<string>") -> Instance:
    """Read the instance in a text of the own format.

    Args:
        text: JSON object of the format ``soc/1``.
        source: name of the text in error messages, e.g. its path.

    Raises:
        InstanceFormatError: the text is no such instance; the message names line and column, or
            the field as in ``profiles[3].edges``.
    """
    with named(source):
        return _instance(document(text))


def write(instance: Instance, path: str | os.PathLike[str]) -> None:
    """Write an instance to a file, completely or not at all.

    Raises:
        DispatchGymError: the path cannot be written.
    """
    write_whole(path, dumps(instance))


# ---------------------------------------------------------------- soc/1

_CLUSTER = ("opp", "trip_mhz", "dtpm_trip_mhz", "power_w", "gated_power_w", "mhz")
_WORKLOAD = (
    "protocol", "probabilities", "scale", "capacity", "horizon", "warm_up", "num_jobs",
    "warm_up_jobs", "arrival_rule", "pseudo_steady", "noise", "comm_mode", "executable_order",
    "strict_ds3", "sampling_period", "arrivals", "durations", "governor",
)  # fmt: skip


def dumps(instance: Instance) -> str:
    """Return an instance as text; `loads` gives the same instance."""
    platform, workload = instance.platform, instance.workload
    found: dict[str, Any] = {
        "format": JSON_FORMAT,
        "name": instance.name,
        "platform": {
            "name": platform.name,
            "clusters": [
                {"name": cluster.name, "type": cluster.type}
                | {key: _plain(getattr(cluster, key)) for key in _CLUSTER if getattr(cluster, key)}
                for cluster in platform.clusters
            ],
            "pes": [
                {"name": name, "cluster": int(cluster)}
                for name, cluster in zip(platform.pe_names, platform.pe_cluster, strict=True)
            ],
            "bandwidth": _rates(platform.bandwidth),
            "memory_bandwidth": _rates(platform.memory_bandwidth),
            "tasks": {
                name: row.tolist()
                for name, row in zip(platform.task_names, platform.duration, strict=True)
            },
        },
        "profiles": [
            {
                "name": job.name,
                "tasks": list(job.task_names),
                "duration": job.duration.tolist(),
                "edges": job.edges.tolist(),
            }
            | ({"optimum": job.optimum} if job.optimum >= 0 else {})
            for job in instance.profiles
        ],
        "workload": {
            key: _plain(getattr(workload, key))
            for key in _WORKLOAD
            if getattr(workload, key) is not None
        },
    }
    if instance.known:
        found["reference"] = dict(instance.known)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def _plain(value: Any) -> Any:
    """Return arrays as lists, and mappings with texts for keys."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "items"):
        return {str(key): list(row) for key, row in value.items()}
    return value


def _rates(bandwidth: np.ndarray) -> Any:
    """Return bandwidths as lists, None where data are free."""
    return np.where(np.isinf(bandwidth), None, bandwidth).tolist()  # type: ignore[call-overload]


def _instance(found: dict[str, Any]) -> Instance:
    if found.get("format") != JSON_FORMAT:
        raise InstanceError(
            f"format: found {short(found.get('format'))}, expected {JSON_FORMAT!r}, or a workflow "
            "in WfFormat or DAGBench's format"
        )
    _check_keys(found, "", ("format", "name", "platform", "profiles", "workload"), ("reference",))
    platform = _platform(member(found, "platform", "", dict))
    profiles = [
        _profile(checked(entry, f"profiles[{index}]", dict), f"profiles[{index}]")
        for index, entry in enumerate(member(found, "profiles", "", list))
    ]
    workload = _workload(member(found, "workload", "", dict))
    known = checked(found.get("reference", {}), "reference", dict)
    return Instance(found["name"], platform, tuple(profiles), workload, known)


def _check_keys(
    fields: dict[str, Any], where: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    prefix = f"{where}." if where else ""
    for key in fields:
        if key not in needed and key not in optional:
            raise InstanceError(
                f"{prefix}{short(key)}: unknown field, "
                f"expected one of {', '.join((*needed, *optional))}"
            )
    for key in needed:
        if key not in fields:
            raise InstanceError(f"{prefix}{key}: missing field")


def _platform(fields: dict[str, Any]) -> Platform:
    where = "platform"
    needed = ("name", "clusters", "pes", "bandwidth", "memory_bandwidth")
    _check_keys(fields, where, needed, ("tasks",))
    clusters = [
        _cluster(checked(entry, f"{where}.clusters[{index}]", dict), f"{where}.clusters[{index}]")
        for index, entry in enumerate(member(fields, "clusters", where, list))
    ]
    names, members = [], []
    for index, entry in enumerate(member(fields, "pes", where, list)):
        place = f"{where}.pes[{index}]"
        _check_keys(checked(entry, place, dict), place, ("name", "cluster"))
        names.append(entry["name"])
        members.append(member(entry, "cluster", place, int))
    tasks = checked(fields.get("tasks", {}), f"{where}.tasks", dict)
    times = np.empty((0, len(names)), np.int64)
    if tasks:
        times = _array(list(tasks.values()), f"{where}.tasks", "iu")
    return Platform(
        name=fields["name"],
        pe_names=tuple(names),
        clusters=tuple(clusters),
        pe_cluster=_array(members, f"{where}.pes", "iu"),
        bandwidth=_bandwidth(fields["bandwidth"], f"{where}.bandwidth"),
        memory_bandwidth=_bandwidth(fields["memory_bandwidth"], f"{where}.memory_bandwidth"),
        task_names=tuple(tasks),
        duration=times,
    )


def _cluster(fields: dict[str, Any], where: str) -> Cluster:
    _check_keys(fields, where, ("name", "type"), _CLUSTER)
    values = dict(fields)
    for key in ("power_w", "gated_power_w"):
        if key in values:
            values[key] = {
                _megahertz(mhz, f"{where}.{key}"): checked(row, f"{where}.{key}", list)
                for mhz, row in member(fields, key, where, dict).items()
            }
    return Cluster(**values)


def _megahertz(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise InstanceError(f"{where}: found {short(text)}, expected a frequency in MHz")
    return int(text)


def _profile(fields: dict[str, Any], where: str) -> JobProfile:
    _check_keys(fields, where, ("name", "tasks", "duration", "edges"), ("optimum",))
    edges = member(fields, "edges", where, list)
    return JobProfile(
        name=fields["name"],
        task_names=tuple(member(fields, "tasks", where, list)),
        duration=_array(fields["duration"], f"{where}.duration", "iu"),
        edges=_array(edges, f"{where}.edges", "iu") if edges else np.empty((0, 3), np.int64),
        optimum=fields.get("optimum", -1),
    )


def _workload(fields: dict[str, Any]) -> Workload:
    where = "workload"
    _check_keys(fields, where, ("protocol", "probabilities"), _WORKLOAD[2:])
    values = dict(fields)
    values["probabilities"] = _array(fields["probabilities"], f"{where}.probabilities", "iuf")
    for key in ("arrivals", "durations"):
        if key in values:
            values[key] = _array(fields[key], f"{where}.{key}", "iu")
    return Workload(**values)


def _bandwidth(value: Any, where: str) -> np.ndarray:
    """Return bandwidths, where null stands for free data."""

    def finite(part: Any) -> Any:
        if isinstance(part, list):
            return [finite(entry) for entry in part]
        return np.inf if part is None else part

    return _array(finite(checked(value, where, list)), where, "iuf")


def _array(value: Any, where: str, kinds: str) -> np.ndarray:
    """Return lists of numbers as an array; texts and truth values are no numbers."""
    checked(value, where, list)
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    if array.size == 0:
        raise InstanceError(f"{where}: found nothing, expected at least one entry")
    if array.dtype.kind not in kinds or _holds_flag(value):
        expected = "integers" if kinds == "iu" else "numbers"
        raise InstanceError(f"{where}: found {array.dtype}, expected {expected} only")
    return array


def _holds_flag(value: Any) -> bool:
    """Tell whether there is a true or false anywhere in nested lists."""
    if isinstance(value, list):
        return any(_holds_flag(part) for part in value)
    return isinstance(value, bool)
