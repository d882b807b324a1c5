"""Instances as the arrays that the kernel reads."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.soc import kernel, meter, outlook, static
from dispatchgym.envs.soc.instance import (
    PROTOCOLS,
    UNSUPPORTED,
    Instance,
    JobProfile,
    Limits,
    Platform,
)
from dispatchgym.envs.soc.power import PowerModel

__all__ = ["clear_row", "empty_state", "empty_tables", "fits", "given_jobs", "lay"]


def empty_tables(limits: Limits, rows: int, given: tuple[int, int] = (0, 0)) -> kernel.Tables:
    """Return arrays for several instances.

    Args:
        limits: most of everything.
        rows: number of instances R.
        given: jobs whose arrival is given, and jobs whose durations are given.
    """
    profiles, tasks, edges, pes = limits.profiles, limits.tasks, limits.edges, limits.pes
    clusters, levels = limits.clusters, limits.levels
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
        pe_fact=np.zeros((rows, pes, kernel.NUM_PE_FACTS)),
        transfer=np.zeros((rows, pes, pes)),
        delay=np.zeros((rows, profiles, edges)),
        optimistic=np.zeros((rows, profiles, tasks, pes)),
        arrival=np.zeros((rows, given[0], 2), np.int64),
        realised=np.full((rows, given[1], tasks), -1, np.int64),
        frequency=np.zeros((rows, clusters, kernel.FIRST_MHZ + levels), np.int64),
        power=np.zeros((rows, clusters, levels, meter.FIRST_WATTS + pes)),
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
    places, logged, changes = jobs * limits.tasks, limits.jobs, limits.changes
    if not log:
        logged = changes = 0
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
        changed=np.zeros((lanes, places), np.int64),
        event=np.zeros((lanes, places, kernel.NUM_EVENT_COLUMNS), np.int64),
        task_forecast=np.zeros((lanes, places, outlook.NUM_TASK_FORECASTS)),
        pe_forecast=np.zeros((lanes, outlook.NUM_PE_FORECASTS, pes)),
        job_forecast=np.zeros((lanes, jobs)),
        cluster=np.zeros((lanes, limits.clusters, meter.NUM_CLUSTER_COLUMNS), np.int64),
        meter=np.zeros((lanes, meter.num_meter_columns(limits.clusters))),
        task_log=np.full((lanes, logged * limits.tasks, kernel.NUM_TASK_LOG_COLUMNS), -1, np.int64),
        job_log=np.full((lanes, logged, kernel.NUM_JOB_LOG_COLUMNS), -1, np.int64),
        frequency_log=np.full((lanes, changes, kernel.NUM_FREQUENCY_LOG_COLUMNS), -1, np.int64),
    )


def given_jobs(instance: Instance) -> tuple[int, int]:
    """Return how many jobs' arrivals are given, and how many jobs' durations."""
    workload = instance.workload
    return (
        0 if workload.arrivals is None else len(workload.arrivals),
        0 if workload.durations is None else len(workload.durations),
    )


def fits(instance: Instance, limits: Limits, given: tuple[int, int]) -> bool:
    """Tell whether arrays of these sizes can hold an instance."""
    found = (*astuple(instance.limits), *given_jobs(instance))
    return all(size <= most for size, most in zip(found, (*astuple(limits), *given), strict=True))


def clear_row(tables: kernel.Tables, row: int) -> None:
    """Make a row as if no instance had been in it."""
    for array in tables:
        array[row] = 0
    tables.duration[row] = UNSUPPORTED
    tables.realised[row] = -1


def lay(instance: Instance, tables: kernel.Tables, row: int, *, metered: bool = False) -> None:
    """Write an instance into a row of the arrays, which must be large enough.

    Args:
        instance: what is written.
        tables: the arrays.
        row: of the arrays.
        metered: whether energy is metered, which needs a platform whose power is known.

    Raises:
        InstanceError: energy is to be metered, and a cluster has no fitting power.
    """
    _lay_numbers(instance, tables, row)
    _lay_frequencies(instance.platform, tables.frequency[row])
    if metered:
        table = PowerModel(instance.platform).table
        clusters, levels, columns = table.shape
        tables.power[row, :clusters, :levels, :columns] = table
    platform, workload, pes = instance.platform, instance.workload, instance.num_pes
    tables.bandwidth[row, :pes, :pes] = platform.bandwidth
    tables.memory_bandwidth[row, :pes] = platform.memory_bandwidth
    tables.chance[row, : instance.num_profiles] = np.cumsum(workload.probabilities)
    if workload.arrivals is not None:
        tables.arrival[row, : len(workload.arrivals)] = workload.arrivals
    if workload.durations is not None:
        tables.realised[row, : len(workload.durations), : instance.max_tasks] = workload.durations
    tables.pe_fact[row, :pes] = _pe_facts(instance)
    tables.transfer[row, :pes, :pes] = _mean_volume(instance) / platform.bandwidth
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
    number[kernel.CLUSTERS] = instance.platform.num_clusters
    if workload.governor == "ondemand":
        number[kernel.CONTROL_PERIOD] = workload.sampling_period
    real = tables.real[row]
    real[kernel.SCALE] = workload.scale
    real[kernel.NOISE] = workload.noise
    real[kernel.TIME_SCALE] = instance.time_scale


def _lay_frequencies(platform: Platform, frequency: npt.NDArray[np.int64]) -> None:
    for row, cluster in zip(frequency, platform.clusters, strict=False):
        points = [mhz for mhz, _ in cluster.opp]
        row[kernel.FIRST_LEVEL] = points.index(cluster.mhz) if points else 0
        row[kernel.FIRST_MHZ : kernel.FIRST_MHZ + len(points)] = points


def _lay_profile(
    profile: JobProfile, platform: Platform, tables: kernel.Tables, place: tuple[int, int]
) -> None:
    tasks, edges, pes = profile.num_tasks, profile.num_edges, profile.num_pes
    tables.size[place] = tasks
    tables.duration[place][:tasks, :pes] = profile.duration
    tables.predecessor_start[place][: tasks + 1] = profile.predecessor_start
    tables.predecessor[place][:edges] = profile.predecessors
    tables.volume[place][:edges] = profile.predecessor_volume
    tables.delay[place][:edges] = profile.predecessor_volume * platform.slowness
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
    facts[:, kernel.MOST] = profile.duration.max(axis=1)
    facts[:, kernel.SPREAD] = profile.duration.std(axis=1, where=profile.supported)
    facts[:, kernel.UPWARD] = static.upward_rank(profile, platform)
    facts[:, kernel.DOWNWARD] = static.downward_rank(profile, platform)
    facts[:, kernel.PATH] = profile.min_duration + profile.tail
    facts[:, kernel.OPTIMISTIC] = cost.mean(axis=1, where=profile.supported)
    facts[:, kernel.DESCENDANTS] = _work_after(
        profile.successor_start, profile.successors, profile.mean_duration
    )
    facts[:, kernel.SHARE] = profile.supported.mean(axis=1)
    facts[:, kernel.PREDECESSORS] = np.diff(profile.predecessor_start)
    facts[:, kernel.SUCCESSORS] = np.diff(profile.successor_start)
    facts[:, kernel.DEPTH] = profile.depth
    return facts


@njit(cache=True)
def _work_after(
    successor_start: npt.NDArray[np.int64],
    successors: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the summed weight of all descendants of each task."""
    tasks = len(weight)
    total, met, found = np.zeros(tasks), np.full(tasks, -1), np.zeros(tasks, np.int64)
    for root in range(tasks):
        found[0], count, i = root, 1, 0
        while i < count:
            task = found[i]
            for e in range(successor_start[task], successor_start[task + 1]):
                other = successors[e]
                if met[other] != root:
                    met[other] = root
                    found[count] = other
                    count += 1
                    total[root] += weight[other]
            i += 1
    return total


def _mean_volume(instance: Instance) -> float:
    """Return the mean volume of an edge over the jobs that arrive, 0 if there are no edges."""
    chances = instance.workload.probabilities
    pairs = list(zip(chances, instance.profiles, strict=True))
    edges = sum(chance * profile.num_edges for chance, profile in pairs)
    volume = sum(chance * profile.predecessor_volume.sum() for chance, profile in pairs)
    return float(volume / edges) if edges > 0 else 0.0


def _pe_facts(instance: Instance) -> npt.NDArray[np.float64]:
    """Return what is known of each PE, (P, NUM_PE_FACTS); means over arriving tasks."""
    facts = np.zeros((instance.num_pes, kernel.NUM_PE_FACTS))
    total = 0.0
    for chance, profile in zip(instance.workload.probabilities, instance.profiles, strict=True):
        least = np.maximum(profile.min_duration, 1)[:, None]
        slowness = np.maximum(profile.duration, 1) / least
        facts[:, kernel.SLOWNESS] += chance * (slowness * profile.supported).sum(axis=0)
        facts[:, kernel.SUPPORT] += chance * profile.supported.sum(axis=0)
        fastest = profile.duration == profile.min_duration[:, None]
        facts[:, kernel.FASTEST] += chance * fastest.sum(axis=0)
        total += chance * profile.num_tasks
    facts[:, kernel.SLOWNESS] /= np.maximum(facts[:, kernel.SUPPORT], 1e-12)
    facts[:, kernel.SUPPORT : kernel.CLUSTER] /= total
    facts[:, kernel.CLUSTER] = instance.platform.pe_cluster
    return facts
