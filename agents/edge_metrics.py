"""What a finished episode of edge offloading is described by besides its objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance
from dispatchgym.envs.edge_offloading.dems_validator import COLUMNS
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance

__all__ = ["deadline_metrics", "graph_metrics", "metrics_of", "slot_metrics"]

PERCENTILES = (50, 95, 99)
MEGABIT = 1e6
OUTCOMES = ("completion", "late", "dropped", "expired")
"""Shares of the tasks by outcome, in the order of the outcomes' numbers."""


def metrics_of(instance: Instance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what describes a valid schedule of any family of tasks."""
    if isinstance(instance, OffloadInstance):
        return slot_metrics(instance, schedule)
    if isinstance(instance, DeadlineInstance):
        return deadline_metrics(instance, schedule)
    assert isinstance(instance, GraphInstance)
    return graph_metrics(instance, schedule)


def slot_metrics(instance: OffloadInstance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be read from a schedule of independent tasks.

    Args:
        instance: the episode.
        schedule: a valid schedule of it, as the environment's ``info["schedule"]``.

    Returns:
        ``tasks`` that were sent; ``delay_p50``, ``delay_p95`` and ``delay_p99``, percentiles of a
        task's seconds from sending to the end of its computation; ``delay_per_task`` in seconds
        and ``energy_per_task`` in joules; ``delay_per_mbit`` and ``energy_per_mbit``;
        ``waiting``, mean seconds in the queue before, which no decision changes; ``cloud``, the
        share of tasks that went there.
    """
    sent = np.asarray(schedule["sent"])
    tasks = len(sent)
    delay, energy = np.asarray(schedule["objective"])
    delays = np.asarray(schedule["ended"]) - sent
    megabits = instance.bits[:tasks].sum() / MEGABIT
    return {
        "tasks": float(tasks),
        **{f"delay_p{percent}": _percentile(delays, percent) for percent in PERCENTILES},
        "delay_per_task": float(delay / tasks),
        "energy_per_task": float(energy / tasks),
        "delay_per_mbit": float(delay / megabits),
        "energy_per_mbit": float(energy / megabits),
        "waiting": float((sent - instance.release[:tasks]).mean()),
        "cloud": float((np.asarray(schedule["server"]) == 0).mean()),
    }


def deadline_metrics(instance: DeadlineInstance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be read from a schedule of tasks with deadlines.

    Args:
        instance: the episode.
        schedule: a valid schedule of it.

    Returns:
        ``tasks``; the shares of them that ended in time (``completion``), ``late``, were
        ``dropped``, or ``expired`` before they began; and ``edge``, the share that the edge ran.
    """
    rows = np.asarray(schedule["tasks"])
    outcomes = rows[:, COLUMNS.index("outcome")]
    shares = {name: float((outcomes == k).mean()) for k, name in enumerate(OUTCOMES)}
    edge = float((rows[:, COLUMNS.index("place")] == 1).mean())
    return {"tasks": float(len(rows)), **shares, "edge": edge}


def graph_metrics(instance: GraphInstance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be read from a schedule of jobs of dependent tasks.

    Args:
        instance: the episode.
        schedule: a valid schedule of it.

    Returns:
        ``tasks`` and ``jobs``; ``delay_p50``, ``delay_p95`` and ``delay_p99``, percentiles of the
        seconds from a job's coming until its last result is on the device; and the shares of the
        tasks that the ``cloud`` and the ``device`` computed.
    """
    done = np.zeros(instance.num_jobs)
    np.maximum.at(done, instance.job, np.asarray(schedule["back"]))
    delays, place = done - instance.arrival, np.asarray(schedule["place"])
    return {
        "tasks": float(len(place)),
        "jobs": float(instance.num_jobs),
        **{f"delay_p{percent}": _percentile(delays, percent) for percent in PERCENTILES},
        "cloud": float((place == 0).mean()),
        "device": float((place == instance.num_servers).mean()),
    }


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    """Return what `numpy.percentile` does, which takes far longer for so few numbers."""
    place = percent / 100.0 * (len(values) - 1)
    return float(np.interp(place, np.arange(len(values)), np.sort(values)))
