"""Replay of the schedules that the public simulators DS3 and DS3Gym / SoCRATES have recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceFormatError
from dispatchgym.envs.soc import tables
from dispatchgym.envs.soc.env import SoCSimulation
from dispatchgym.envs.soc.instance import Instance, Workload

__all__ = ["replay", "trace_instance"]

_PLATFORMS = {
    "SoC.Top.txt": "ds3_top3",
    "SoC.MULTIPLE_BAL.txt": "bal16",
    "SoC.BAL_only.txt": "bal8",
}
_PROFILES = {
    "Top": "top1",
    **{f"Top_{number}": f"top{number}" for number in range(1, 11)},
    "WiFi_Transmitter": "wifi_tx",
    "WiFi_Receiver": "wifi_rx",
    "lag_detection": "range_detection",
    "SC-T": "sc_tx",
    "SC-R": "sc_rx",
    "Temporal_Mitigation": "temporal_mitigation",
}
_RULES = {
    "random": "random",
    "met": "met",
    "eft": "eft",
    "etf": "etf",
    "stf": "stf",
    "heftrt": "heft_rt",
    "heft_rt": "heft_rt",
}
_CAPACITY = 12


def replay(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Play a recorded trace again and return the tasks that come out otherwise.

    The arrivals are the recorded ones, with noise the durations too; everything else follows
    from the rule and the strict order of events.

    Args:
        trace: ``meta`` (source, scheduler, scale and more), ``arrivals`` rows [job, type, time]
            and ``tasks`` rows [job, task, pe, start, finish].

    Returns:
        For each task that differs: job, task, and `expected` and `found`, each (pe, start,
        finish) or None where there is no such task. Empty when all agree.

    Raises:
        InstanceFormatError: the trace misses a field, or names an unknown simulator, platform,
            job type or scheduler.
    """
    instance, recorded = trace_instance(trace), _rows(trace, "tasks", 5)
    scheduler = str(_field(trace["meta"], "scheduler", "meta")).lower()
    rule = _known(_RULES, scheduler, "meta.scheduler")
    simulation = SoCSimulation(num_lanes=1, scenario=instance)
    simulation.restart(np.ones(1, np.bool_), np.zeros(1, np.int64))
    rows = simulation.run_rule(rule)["schedule"]["tasks"][0]
    found = {(job, task): (pe, start, end) for job, task, pe, *_, start, end in rows.tolist()}
    expected = {(job, task): (pe, start, end) for job, task, pe, start, end in recorded}
    finished = {key for key, (_, _, end) in found.items() if end >= 0}
    return [
        {
            "job": key[0],
            "task": key[1],
            "expected": expected.get(key),
            "found": found.get(key),
        }
        for key in sorted(finished | set(expected))
        if found.get(key) != expected.get(key)
    ]


def trace_instance(trace: Mapping[str, Any]) -> Instance:
    """Return the instance of a recorded trace: its platform, and its arrivals as given ones."""
    meta = _field(trace, "meta", "trace")
    source = str(_field(meta, "source", "meta"))
    gym = "gym" in source.lower()
    platform = "top3" if gym else _known(_PLATFORMS, _field(meta, "soc", "meta"), "meta.soc")
    arrivals = _rows(trace, "arrivals", 3)
    names = [
        _known(_PROFILES, kind, f"arrivals[{row}]") for row, (_, kind, _) in enumerate(arrivals)
    ]
    kinds = sorted(set(names))
    profiles = tuple(tables.profile(name, platform) for name in kinds)
    given = np.array(
        [(kinds.index(name), time) for name, (_, _, time) in zip(names, arrivals, strict=True)]
    )
    most = max(profile.num_tasks for profile in profiles)
    workload = Workload(
        "legacy" if gym else "batch",
        np.full(len(kinds), 1.0 / len(kinds)),
        scale=float(_field(meta, "scale", "meta")),
        capacity=int(meta.get("max_jobs", _CAPACITY)),
        horizon=int(_field(meta, "length", "meta")) if gym else 0,
        arrival_rule="gym" if gym else "ds3",
        pseudo_steady=bool(meta.get("pss", False)),
        executable_order="insertion" if gym else "job",
        strict_ds3=True,
        sampling_period=5 if gym else 10,
        arrivals=given,
        durations=_realised(trace, len(given), most) if meta.get("std") else None,
    )
    return Instance("trace", tables.platform(platform), profiles, workload)


def _realised(trace: Mapping[str, Any], jobs: int, tasks: int) -> npt.NDArray[np.int64]:
    """Return the recorded durations; a task that did not finish lasts beyond the horizon."""
    durations = np.full((jobs, tasks), int(trace["meta"]["length"]), np.int64)
    for job, task, _, start, finish in _rows(trace, "tasks", 5):
        durations[job, task] = finish - start
    return durations


def _rows(trace: Mapping[str, Any], name: str, columns: int) -> list[Any]:
    rows = _field(trace, name, "trace")
    if not isinstance(rows, list):
        raise InstanceFormatError(f"{name}: found {type(rows).__name__}, expected a list")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != columns:
            found = f"{len(row)} entries" if isinstance(row, list) else type(row).__name__
            raise InstanceFormatError(f"{name}[{index}]: found {found}, expected {columns}")
    return rows


def _field(values: Mapping[str, Any], name: str, where: str) -> Any:
    if not isinstance(values, Mapping) or name not in values:
        raise InstanceFormatError(f"{where}: {name}: missing")
    return values[name]


def _known(names: Mapping[str, str], name: Any, where: str) -> str:
    if name not in names:
        raise InstanceFormatError(f"{where}: found {name!r}, expected one of {', '.join(names)}")
    return names[name]
