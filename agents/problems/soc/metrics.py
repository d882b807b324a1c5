"""What a finished run on a chip is described by besides its mean latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.envs.soc.instance import Instance, JobProfile
from dispatchgym.envs.soc.power import energy, has_power

__all__ = ["cluster_utilisation", "isolated_latency", "run_metrics"]

FINISH = 4
"""Column of the finish in the rows of ``schedule["jobs"]``."""
US_IN_MS = 1000.0


def run_metrics(instance: Instance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be counted in a schedule.

    Args:
        instance: what was played.
        schedule: a valid schedule of it, as the environment's ``info["schedule"]``.

    Returns:
        ``completed``: jobs that count, which are those completed after the warm-up under the
        protocol ``legacy`` and all after the warm-up jobs under ``steady``; ``p50``, ``p95`` and
        ``p99`` of their latencies in microseconds; ``slowdown``, their mean latency over that of
        such a job alone (see `isolated_latency`); ``throughput``, completed jobs in a millisecond
        after the warm-up; ``utilisation``, the share of the run that the processing elements have
        worked for finished tasks, warm-up included. Where the platform's power is known,
        ``energy_mj``, millijoules for each completed job; ``edp``, millijoules in all times
        milliseconds; and ``hottest``, the highest temperature in degrees Celsius; else these
        three are nan. All are nan that have nothing to
        be computed from.
    """
    jobs = _counted(instance, schedule)
    latency = (jobs[:, FINISH] - jobs[:, 2]).astype(np.float64)
    mode = instance.workload.comm_mode
    alone = np.array([isolated_latency(profile, mode) for profile in instance.profiles])
    p50, p95, p99 = np.percentile(latency, [50, 95, 99]) if len(jobs) else [math.nan] * 3
    return {
        "completed": len(jobs),
        "p50": float(p50),
        "p95": float(p95),
        "p99": float(p99),
        "slowdown": _mean(latency / alone[jobs[:, 1]]),
        "throughput": US_IN_MS * len(jobs) / _measured(instance, schedule, jobs),
        "utilisation": float(_busy_shares(instance, schedule).mean()),
        **_energy(instance, schedule, len(jobs)),
    }


def isolated_latency(profile: JobProfile, comm_mode: str = "pe_to_pe") -> float:
    """Return what no job of a profile is quicker than, without noise, in microseconds.

    It is the proven latency of such a job alone, which is known for transfers between processing
    elements; else the critical path by shortest times. At least 1, as it is divided by.
    """
    proven = profile.optimum if comm_mode == "pe_to_pe" else -1
    return float(max(proven, profile.critical_path, 1))


def cluster_utilisation(instance: Instance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return the busy share of each cluster's processing elements: name of the cluster -> share."""
    platform, shares = instance.platform, _busy_shares(instance, schedule)
    return {
        cluster.name: float(shares[platform.pe_cluster == index].mean())
        for index, cluster in enumerate(platform.clusters)
    }


def _counted(instance: Instance, schedule: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the rows of the jobs that count, all of which are finished."""
    rows = np.asarray(schedule["jobs"], np.int64)
    rows = rows[(rows[:, 0] >= 0) & (rows[:, FINISH] >= 0)]
    workload = instance.workload
    return rows[(rows[:, FINISH] >= workload.warm_up) & (rows[:, 0] >= workload.warm_up_jobs)]


def _measured(instance: Instance, schedule: Mapping[str, Any], jobs: NDArray[np.int64]) -> float:
    """Return the microseconds in which jobs count; nan where there are none."""
    begin = instance.workload.warm_up
    if instance.workload.warm_up_jobs and len(jobs):
        begin = int(jobs[:, 2].min())
    length = int(schedule["end_time"]) - begin
    return float(length) if length > 0 else math.nan


def _busy_shares(instance: Instance, schedule: Mapping[str, Any]) -> NDArray[np.float64]:
    end = int(schedule["end_time"])
    busy = np.asarray(schedule["busy"], np.float64)[: instance.num_pes]
    return busy / end if end > 0 else np.full(instance.num_pes, math.nan)


def _energy(instance: Instance, schedule: Mapping[str, Any], completed: int) -> dict[str, float]:
    if not has_power(instance.platform):
        return dict.fromkeys(("energy_mj", "edp", "hottest"), math.nan)
    report = energy(instance, schedule)
    return {
        "energy_mj": 1e3 * report.joules / completed if completed else math.nan,
        "edp": 1e6 * report.edp,
        "hottest": report.hottest,
    }


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
