"""Instances as the arrays that the kernel reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.soc import kernel, static
from dispatchgym.envs.soc.instance import (
    PROTOCOLS,
    UNSUPPORTED,
    Instance,
    JobProfile,
    Limits,
    Platform,
)

__all__ = ["empty_state", "empty_tables", "lay"]


def empty_tables(limits: Limits, rows: int, given: tuple[int, int] = (0, 0)) -> kernel.Tables:
    """Return arrays for several instances.

    Args:
        limits: most of everything.
        rows: number of instances R.
        given: jobs whose arrival is given, and jobs whose durations are given.
    """
    profiles, tasks, edges, pes = limits.profiles, limits.tasks, limits.edges, limits.pes
    return kernel.Tables(
        number=np.zeros((rows, kernel.NUM_NUMBERS), np.int64),
        real=np.zeros((rows, kernel.NUM_REALS)),
        chance=np.ones((rows, profiles)),
        size=np.zeros((rows, profiles), np.int64),
        duration=np.full((rows, profiles, tasks, pes), UNSUPPORTED, np.int64),
        predecessor_start=np.zeros((rows, profiles, tasks + 1), np.int64),
        predecessor=np.zeros((rows, profiles, edges), np.int64),
        volume=np.zeros((rows, profiles, edges)),
        successor_start=np.zeros((rows, profiles, tasks + 1), np.int64),
        successor=np.zeros((rows, profiles, edges), np.int64),
        bandwidth=np.ones((rows, pes, pes)),
        memory_bandwidth=np.ones((rows, pes)),
        fact=np.zeros((rows, profiles, tasks, kernel.NUM_FACTS)),
        optimistic=np.zeros((rows, profiles, tasks, pes)),
        arrival=np.zeros((rows, given[0], 2), np.int64),
        realised=np.full((rows, given[1], tasks), -1, np.int64),
    )


def empty_state(limits: Limits, lanes: int, mode: int, log: bool) -> kernel.State:
    """Return the state of lanes in which no episode has begun.

    Args:
        limits: most of everything.
        lanes: number of lanes B.
        mode: number of the mode of deciding.
        log: whether tasks and jobs are logged.
    """
    jobs, pes = limits.capacity, limits.pes
    places, logged = jobs * limits.tasks, limits.jobs if log else 0
    setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
    setting[kernel.MODE] = mode
    setting[kernel.LOGGING] = log
    return kernel.State(
        setting=setting,
        scalar=np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
        pe=np.zeros((lanes, kernel.NUM_PE_COLUMNS, pes), np.int64),
        job=np.zeros((lanes, jobs, kernel.NUM_JOB_COLUMNS), np.int64),
        task=np.zeros((lanes, places, kernel.NUM_TASK_COLUMNS), np.int64),
        reach=np.zeros((lanes, places, pes), np.int64),
        ready=np.zeros((lanes, places), np.int64),
        executable=np.zeros((lanes, places), np.int64),
        pending=np.zeros((lanes, places), np.int64),
        event=np.zeros((lanes, places, kernel.NUM_EVENT_COLUMNS), np.int64),
        task_log=np.full((lanes, logged * limits.tasks, kernel.NUM_TASK_LOG_COLUMNS), -1, np.int64),
        job_log=np.full((lanes, logged, kernel.NUM_JOB_LOG_COLUMNS), -1, np.int64),
    )


def lay(instance: Instance, tables: kernel.Tables, row: int) -> None:
    """Write an instance into a row of the arrays, which must be large enough."""
    _lay_numbers(instance, tables, row)
    platform, workload, pes = instance.platform, instance.workload, instance.num_pes
    tables.bandwidth[row, :pes, :pes] = platform.bandwidth
    tables.memory_bandwidth[row, :pes] = platform.memory_bandwidth
    tables.chance[row, : instance.num_profiles] = np.cumsum(workload.probabilities)
    if workload.arrivals is not None:
        tables.arrival[row, : len(workload.arrivals)] = workload.arrivals
    if workload.durations is not None:
        tables.realised[row, : len(workload.durations), : instance.max_tasks] = workload.durations
    for k, profile in enumerate(instance.profiles):
        _lay_profile(profile, platform, tables, (row, k))


def _lay_numbers(instance: Instance, tables: kernel.Tables, row: int) -> None:
    number, workload = tables.number[row], instance.workload
    given = 0 if workload.arrivals is None else len(workload.arrivals)
    number[kernel.PES] = instance.num_pes
    number[kernel.PROFILES] = instance.num_profiles
    number[kernel.CAPACITY] = workload.capacity
    number[kernel.PROTOCOL] = PROTOCOLS.index(workload.protocol)
    number[kernel.HORIZON] = workload.horizon
    number[kernel.WARM_UP] = workload.warm_up
    number[kernel.WARM_UP_JOBS] = workload.warm_up_jobs
    number[kernel.TOTAL_JOBS] = given or instance.limits.jobs
    number[kernel.GYM_ARRIVALS] = workload.arrival_rule == "gym"
    number[kernel.PSEUDO_STEADY] = workload.pseudo_steady
    number[kernel.SHARED_MEMORY] = workload.comm_mode == "shared_memory"
    number[kernel.BY_JOB] = workload.executable_order == "job"
    number[kernel.STRICT] = workload.strict_ds3
    number[kernel.SAMPLING_PERIOD] = workload.sampling_period
    number[kernel.GIVEN_JOBS] = given
    number[kernel.GIVEN_DURATIONS] = workload.durations is not None
    real = tables.real[row]
    real[kernel.SCALE] = workload.scale
    real[kernel.NOISE] = workload.noise
    real[kernel.TIME_SCALE] = instance.time_scale


def _lay_profile(
    profile: JobProfile, platform: Platform, tables: kernel.Tables, place: tuple[int, int]
) -> None:
    tasks, edges, pes = profile.num_tasks, profile.num_edges, profile.num_pes
    tables.size[place] = tasks
    tables.duration[place][:tasks, :pes] = profile.duration
    tables.predecessor_start[place][: tasks + 1] = profile.predecessor_start
    tables.predecessor[place][:edges] = profile.predecessors
    tables.volume[place][:edges] = profile.predecessor_volume
    tables.successor_start[place][: tasks + 1] = profile.successor_start
    tables.successor[place][:edges] = profile.successors
    cost = static.optimistic_cost(profile, platform)
    tables.optimistic[place][:tasks, :pes] = cost
    tables.fact[place][:tasks] = _facts(profile, platform, cost)


def _facts(
    profile: JobProfile, platform: Platform, cost: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return what the rules and the observation know of each task, (T, NUM_FACTS)."""
    facts = np.zeros((profile.num_tasks, kernel.NUM_FACTS))
    facts[:, kernel.LEAST] = profile.min_duration
    facts[:, kernel.MEAN] = profile.mean_duration
    facts[:, kernel.UPWARD] = static.upward_rank(profile, platform)
    facts[:, kernel.OPTIMISTIC] = cost.mean(axis=1, where=profile.supported)
    facts[:, kernel.PATH] = profile.min_duration + profile.tail
    return facts
