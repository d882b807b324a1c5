"""Readers of the text files of DS3: a platform, and the tasks of a job, in two dialects.

DS3 itself names every field of a resource; DS3Gym and SoCRATES put the values one after the other
and give a task two numbers, a time and a power, of which the second is not used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.soc import tables
from dispatchgym.envs.soc.generators import batch
from dispatchgym.envs.soc.instance import (
    MAX_PES,
    MAX_TASKS,
    MAX_TIME,
    MAX_VOLUME,
    UNSUPPORTED,
    Cluster,
    Instance,
    JobProfile,
    Platform,
    Workload,
)
from dispatchgym.envs.soc.reading import integer, named, read, real, short

__all__ = ["job_instance", "platform_instance", "read_job", "read_platform"]

_PASSIVE = ("MEM", "CAC")
"""Types of resources that run nothing."""


@dataclass
class _Resource:
    """A cluster as the lines of a file describe it."""

    where: str
    kind: str
    name: str
    capacity: int
    functions: int
    opp: list[tuple[int, int]] = field(default_factory=list)
    trips: dict[str, tuple[int, ...]] = field(default_factory=dict)
    power: dict[str, dict[int, tuple[float, ...]]] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    listed: int = 0


def _lines(text: str) -> list[tuple[str, list[str]]]:
    """Return place and words of every line that is not a comment."""
    return [
        (f"line {number}", line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


# ---------------------------------------------------------------- platforms


def platform_instance(
    text: str, name: str, jobs: Sequence[str | os.PathLike[str]] = ()
) -> Instance:
    """Return a platform with jobs of equal chance, arriving as in DS3's own runs.

    Args:
        text: of the platform.
        name: of the instance.
        jobs: files of the jobs; all built-in profiles that the platform can run, if there is none.

    Raises:
        InstanceError: a text is wrong, or no profile can run.
    """
    platform = read_platform(text, name)
    profiles = tuple(_read_job_file(path, platform) for path in jobs) or _built_in(platform)
    if not profiles:
        raise InstanceError(
            "found a platform whose tasks belong to no built-in job profile, "
            "expected the files of its jobs"
        )
    chances = np.full(len(profiles), 1.0 / len(profiles))
    workload = Workload(
        "legacy", chances, scale=100.0, capacity=12, horizon=60_000, warm_up=10_000,
        executable_order="job",
    )  # fmt: skip
    return Instance(name, platform, profiles, workload)


def _read_job_file(path: str | os.PathLike[str], platform: Platform) -> JobProfile:
    source = os.fspath(path)
    with named(source):
        return read_job(read(source), Path(source).stem, platform)


def _built_in(platform: Platform) -> tuple[JobProfile, ...]:
    """Return the profiles of the literature all of whose tasks the platform knows."""
    found = []
    for name in tables.PROFILES:
        where = "top3" if name.startswith("top") else "bal16"
        job = tables.profile(name, where)
        if set(job.task_names) <= set(platform.task_names):
            found.append(platform.profile(name, job.task_names, job.edges))
    return tuple(found)


def read_platform(text: str, name: str) -> Platform:
    """Return the platform of a text; resources of capacity c become c processing elements.

    Tasks that a resource lists twice take the first time; memory and caches run nothing. What a
    file does not say about bandwidths is 1, as DS3 has it.

    Raises:
        InstanceError: the text is wrong; the message names the line.
    """
    resources, bandwidths, own = _platform_lines(text)
    active = [index for index, found in enumerate(resources) if found.kind not in _PASSIVE]
    memory = [index for index, found in enumerate(resources) if found.kind == "MEM"]
    if not active:
        raise InstanceError("found no add_new_resource that runs tasks, expected at least one")
    capacities = [resources[index].capacity for index in active]
    if sum(capacities) > MAX_PES:
        raise InstanceError(
            f"found {sum(capacities)} processing elements, expected at most {MAX_PES}"
        )
    cluster = np.repeat(np.arange(len(active)), capacities)
    resource = np.array(active)[cluster]
    between = _cluster_bandwidth(bandwidths, len(resources))
    bandwidth = between[np.ix_(resource, resource)]
    if own is not None:
        np.fill_diagonal(bandwidth, own)
    task_names = list(dict.fromkeys(task for index in active for task in resources[index].times))
    duration = [
        [resources[index].times.get(task, UNSUPPORTED) for index in resource] for task in task_names
    ]
    many = max(capacities) > 1
    return Platform(
        name=name,
        pe_names=tuple(
            f"{resources[index].name}_{pe}" if many or own is not None else resources[index].name
            for pe, index in enumerate(resource)
        ),
        clusters=tuple(_cluster(resources[index]) for index in active),
        pe_cluster=cluster,
        bandwidth=bandwidth,
        memory_bandwidth=between[resource, memory[0]] if memory else np.ones(len(resource)),
        task_names=tuple(task_names),
        duration=np.array(duration, np.int64).reshape(-1, len(resource)),
    )


def _cluster(found: _Resource) -> Cluster:
    try:
        return Cluster(
            found.name,
            found.kind,
            opp=tuple(found.opp),
            trip_mhz=found.trips.get("trip_freq", ()),
            dtpm_trip_mhz=found.trips.get("DTPM_trip_freq", ()),
            power_w=found.power.get("power_profile", {}),
            gated_power_w=found.power.get("PG_profile", {}),
        )
    except InstanceError as error:
        raise InstanceError(f"{found.where}: {error}") from None


_Band = tuple[str, int, int, float]


def _platform_lines(text: str) -> tuple[list[_Resource], list[_Band], float | None]:
    """Return resources, bandwidths between them and, if stated, that of each to itself."""
    resources: list[_Resource] = []
    bandwidths: list[_Band] = []
    own = None
    for where, words in _lines(text):
        keyword = words[0]
        if keyword == "add_new_resource":
            resources.append(_resource(words, where, len(resources)))
        elif keyword == "comm_band":
            if len(words) != 4:
                raise InstanceError(
                    f"{where}: found {len(words)} words, expected comm_band source target bandwidth"
                )
            ends = [integer(word, f"{where}: resource", 0, MAX_PES) for word in words[1:3]]
            value = real(words[3], f"{where}: bandwidth", 0.0, 1e15)
            bandwidths.append((where, ends[0], ends[1], value))
        elif keyword == "comm_band_self":
            if len(words) != 2:
                raise InstanceError(f"{where}: expected comm_band_self bandwidth")
            own = real(words[1], f"{where}: comm_band_self", 1e-9, 1e15)
        elif not resources:
            raise InstanceError(f"{where}: found {short(keyword)}, expected add_new_resource first")
        else:
            _resource_line(words, where, resources[-1])
    for found in resources:
        if found.kind not in _PASSIVE and found.listed != found.functions:
            raise InstanceError(
                f"{found.where}: found {found.listed} tasks of resource {short(found.name)}, "
                f"expected {found.functions} as it says"
            )
    return resources, bandwidths, own


def _resource(words: list[str], where: str, number: int) -> _Resource:
    """Return the resource that a line adds, in the dialect with names of fields or without."""
    named = len(words) == 13
    values = words[2::2] if named else words[1:]
    if not named and len(values) not in (5, 6):
        raise InstanceError(
            f"{where}: found {len(words)} words, expected add_new_resource and six fields, "
            "each with its name or without"
        )
    integer(values[2], f"{where}: resource_ID", number, number)
    return _Resource(
        where=where,
        kind=values[0],
        name=values[1],
        capacity=integer(values[3], f"{where}: capacity", 1, MAX_PES),
        functions=integer(values[4], f"{where}: num_supported_functionalities", 0, MAX_TASKS),
    )


def _resource_line(words: list[str], where: str, found: _Resource) -> None:
    """Read a line that describes the last resource."""
    keyword = words[0]
    if keyword == "opp":
        if len(words) != 3:
            raise InstanceError(f"{where}: expected opp MHz mV")
        mhz, mv = (integer(word, f"{where}: opp", 1, 10**6) for word in words[1:])
        found.opp.append((mhz, mv))
    elif keyword in ("trip_freq", "DTPM_trip_freq"):
        found.trips[keyword] = tuple(
            integer(word, f"{where}: {keyword}", -1, 10**6) for word in words[1:]
        )
    elif keyword in ("power_profile", "PG_profile"):
        if len(words) < 3:
            raise InstanceError(f"{where}: expected {keyword} MHz and at least one power")
        mhz = integer(words[1], f"{where}: {keyword}", 1, 10**6)
        row = tuple(real(word, f"{where}: {keyword}", 0.0, 1e6) for word in words[2:])
        found.power.setdefault(keyword, {})[mhz] = row
    elif keyword != "mesh_information" and found.kind not in _PASSIVE:
        if len(words) not in (2, 3):
            raise InstanceError(
                f"{where}: found {len(words)} words, expected a task, its time and perhaps a power"
            )
        time = real(words[1], f"{where}: time of {short(keyword)}", 0.0, MAX_TIME)
        if time != int(time):
            raise InstanceError(f"{where}: time of {short(keyword)}: found {time:g}, expected "
                                "whole microseconds")  # fmt: skip
        found.times.setdefault(keyword, int(time))
        found.listed += 1


def _cluster_bandwidth(bandwidths: list[_Band], resources: int) -> np.ndarray:
    between = np.ones((resources, resources))
    for where, source, target, value in bandwidths:
        for end in (source, target):
            if end >= resources:
                raise InstanceError(f"{where}: found resource {end}, expected 0..{resources - 1}")
        if value == 0 and source != target:
            raise InstanceError(f"{where}: found a bandwidth of 0, expected more")
        if value:  # memory to itself has none
            between[source, target] = between[target, source] = value
    return between


# ---------------------------------------------------------------- jobs


def job_instance(text: str, name: str, platform: str | os.PathLike[str] | None = None) -> Instance:
    """Return one job at time 0.

    Args:
        text: of the job.
        name: of the job.
        platform: name of a built-in platform, or file of one; if none, the first of top3, bal16
            that knows all of its tasks.

    Raises:
        InstanceError: a text is wrong, or the platform does not know a task.
    """
    if platform is not None:
        where = os.fspath(platform)
        known = where in tables.PLATFORMS
        found = tables.platform(where) if known else _read_platform_file(where)
        return batch(name, found, (read_job(text, name, found),))
    names = {words[0] for _, words in _lines(text)}
    for where in ("top3", "bal16"):
        found = tables.platform(where)
        if names & set(found.task_names):
            return batch(name, found, (read_job(text, name, found),))
    raise InstanceError("found tasks of no built-in platform, expected an argument platform")


def _read_platform_file(source: str) -> Platform:
    with named(source):
        return read_platform(read(source), Path(source).stem)


def read_job(text: str, name: str, platform: Platform) -> JobProfile:
    """Return the job profile of a text, with its times on a platform.

    Raises:
        InstanceError: the text is wrong; the message names the line.
    """
    announced = None
    task_names: list[str] = []
    predecessors: dict[tuple[int, int], str] = {}
    volumes: dict[tuple[int, int], int] = {}
    marks: set[str] = set()
    for where, words in _lines(text):
        if words[0] == "job_name":
            continue
        if words[0] == "add_new_tasks":
            if len(words) != 2:
                raise InstanceError(f"{where}: expected add_new_tasks and their number")
            announced = integer(words[1], f"{where}: add_new_tasks", 1, MAX_TASKS)
        elif words[0] == "comm_vol":
            if len(words) != 4:
                raise InstanceError(
                    f"{where}: found {len(words)} words, expected comm_vol source target volume"
                )
            source, target = (integer(word, f"{where}: task", 0, MAX_TASKS) for word in words[1:3])
            volumes[source, target] = _volume(words[3], where)
        elif words[1:] in (["HEAD"], ["TAIL"]):
            marks.add(words[1])
        elif words[1:2] == ["earliest_start"]:
            continue
        else:
            task = integer(words[1] if len(words) > 1 else "", f"{where}: task",
                           len(task_names), len(task_names))  # fmt: skip
            for word in words[2:]:
                source = integer(word, f"{where}: predecessor", 0, MAX_TASKS)
                predecessors[source, task] = where
            task_names.append(words[0])
    if announced is None:
        raise InstanceError("found no add_new_tasks, expected it and the number of tasks")
    if announced != len(task_names):
        raise InstanceError(
            f"found {len(task_names)} tasks, expected {announced} as add_new_tasks says"
        )
    for mark in ("HEAD", "TAIL"):
        if mark not in marks:
            raise InstanceError(f"found no task marked {mark}, expected one")
    edges = _edges(predecessors, volumes)
    return platform.profile(name, task_names, edges)


def _volume(word: str, where: str) -> int:
    volume = real(word, f"{where}: volume", 0.0, MAX_VOLUME)
    if volume != int(volume):
        raise InstanceError(f"{where}: volume: found {word}, expected a whole number")
    return int(volume)


def _edges(
    predecessors: dict[tuple[int, int], str], volumes: dict[tuple[int, int], int]
) -> list[tuple[int, int, int]]:
    """Return the edges with their volumes; each must be there both as such and as a volume."""
    for source, target in volumes.keys() - predecessors.keys():
        raise InstanceError(
            f"comm_vol {source} {target}: found a volume, expected {source} among the "
            f"predecessors of {target}"
        )
    for (source, target), where in predecessors.items():
        if (source, target) not in volumes:
            raise InstanceError(f"{where}: found no comm_vol {source} {target}, expected one")
    return [(source, target, volume) for (source, target), volume in volumes.items()]
