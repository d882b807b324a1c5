"""What no policy's mean latency can be below, in an episode whose arrivals and noise are known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.problems.soc.metrics import isolated_latency
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.soc import kernel
from dispatchgym.envs.soc.instance import Instance, JobProfile

__all__ = ["lower_bound"]

IntArray = NDArray[np.int64]


def lower_bound(instance: Instance, seed: int) -> float:
    """Return microseconds: no job is quicker than alone, by the durations drawn for it.

    Under ``legacy`` it is up to the policy which jobs are completed: there the quickest one
    counts; else the mean of those that count, all of which are completed.

    Args:
        instance: what is played.
        seed: of the episode.
    """
    workload = instance.workload
    if workload.protocol == "legacy":
        if _exact(instance):
            alone = [isolated_latency(one, workload.comm_mode) for one in instance.profiles]
            return min(np.array(alone)[workload.probabilities > 0].tolist())
        return float(_alone(instance, seed, range(instance.limits.jobs)).min())
    first = workload.warm_up_jobs
    jobs = workload.num_jobs if workload.arrivals is None else len(workload.arrivals) - first
    return float(_alone(instance, seed, range(first, first + jobs)).mean())


def _exact(instance: Instance) -> bool:
    """Whether tasks take their nominal time."""
    return instance.workload.noise == 0 and instance.workload.durations is None


def _alone(instance: Instance, seed: int, jobs: range) -> NDArray[np.float64]:
    """Return what each job would take alone at least."""
    found = []
    for job in jobs:
        profile = instance.profiles[_profile(instance, seed, job)]
        if _exact(instance):
            found.append(isolated_latency(profile, instance.workload.comm_mode))
        else:
            found.append(_critical_path(profile, _least_times(instance, seed, job, profile)))
    return np.array(found)


def _profile(instance: Instance, seed: int, job: int) -> int:
    """Return the profile of a job: given, or drawn as the kernel does."""
    workload = instance.workload
    if workload.arrivals is not None:
        return int(workload.arrivals[min(job, len(workload.arrivals) - 1), 0])
    chances = np.cumsum(workload.probabilities)[:-1]
    draw = uniform(np.uint64(seed), kernel.JOB_TYPE, job, 0)
    return int(np.searchsorted(chances, draw, side="right"))


def _least_times(instance: Instance, seed: int, job: int, profile: JobProfile) -> IntArray:
    """Return the shortest time of each task of a job, noise included."""
    workload, nominal = instance.workload, profile.min_duration
    if workload.durations is not None:
        given = workload.durations[min(job, len(workload.durations) - 1), : profile.num_tasks]
        return np.where(given >= 0, given, nominal)
    least = nominal.copy()
    for task in np.flatnonzero(nominal > 0):
        one, other = (
            uniform(np.uint64(seed), stream, job, task)
            for stream in (kernel.NOISE_1, kernel.NOISE_2)
        )
        normal = math.sqrt(-2.0 * math.log(1.0 - one)) * math.cos(2.0 * math.pi * other)
        least[task] = max(round(float(nominal[task]) * (1.0 + workload.noise * normal)), 1)
    return least


def _critical_path(profile: JobProfile, times: IntArray) -> float:
    """Return the longest way through a job, communication left out."""
    finish = times.copy()
    for task in profile.order.tolist():
        span = slice(*profile.predecessor_start[task : task + 2])
        before = profile.predecessors[span]
        finish[task] = times[task] + (finish[before].max() if len(before) else 0)
    return float(finish.max())
