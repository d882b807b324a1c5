"""Jobs on a system on chip: immutable records, checked once when they are made.

A `Platform` is a set of processing elements (PEs), a `JobProfile` a graph of tasks with their
times on them, a `Workload` how jobs arrive, and an `Instance` the three together. All times are
whole microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.soc.checks import (
    MAX_REAL,
    as_array,
    check_choice,
    check_text,
    first_place,
    flag,
    integer,
    integers,
    locked,
    rates,
    real,
    sequence,
    shown,
    texts,
    unique_texts,
)

__all__ = [
    "ARRIVAL_RULES",
    "COMM_MODES",
    "EXECUTABLE_ORDERS",
    "GOVERNORS",
    "MAX_PES",
    "MAX_TASKS",
    "MAX_TIME",
    "MAX_VOLUME",
    "PROTOCOLS",
    "UNSUPPORTED",
    "Cluster",
    "Instance",
    "JobProfile",
    "Limits",
    "Platform",
    "Workload",
]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

UNSUPPORTED = -1
"""Duration of a task on a processing element that cannot run it."""

PROTOCOLS = ("legacy", "steady", "batch")
"""Fixed horizon and completed jobs only; measured jobs, drained; given jobs, drained."""
ARRIVAL_RULES = ("ds3", "gym")
COMM_MODES = ("pe_to_pe", "shared_memory")
EXECUTABLE_ORDERS = ("insertion", "job")
GOVERNORS = ("constant", "ondemand")
"""Clusters keep their frequency; or it is set at each look by the work since the last one."""

MAX_TIME = 10**12
"""Largest time, in microseconds."""
MAX_VOLUME = 2**53
"""Largest volume: larger ones are not exact as floating-point numbers."""
MAX_PES = 1024
MAX_TASKS = 100_000
"""Most tasks of a profile."""
MAX_EDGES = 2_000_000
MAX_PROFILES = 10_000
MAX_JOBS = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Largest sizes that the instances of a source have.

    Attributes:
        pes, clusters: of the platform.
        profiles: job profiles.
        tasks, edges: of one profile.
        predecessors, successors: of one task.
        capacity: jobs in the system.
        jobs: jobs of an episode; of random arrivals, ten standard deviations more than expected.
    """

    pes: int
    clusters: int
    profiles: int
    tasks: int
    edges: int
    predecessors: int
    successors: int
    capacity: int
    jobs: int
    levels: int
    changes: int


@dataclass(frozen=True)
class Cluster:
    """Processing elements that share one voltage and frequency.

    Attributes:
        name: e.g. ``A15``.
        type: kind of core, e.g. ``BIG``; what a network may learn about.
        opp: operating points (MHz, mV) by rising frequency.
        trip_mhz: cap of the frequency at each thermal trip point, -1 for none.
        dtpm_trip_mhz: the same for dynamic thermal and power management.
        power_w: frequency in MHz -> power in watts with 1, 2, .. busy cores.
        gated_power_w: the same while idle cores are switched off.
        mhz: frequency at which durations hold, one of `opp`; 0 stands for the last one.
    """

    name: str
    type: str
    opp: tuple[tuple[int, int], ...] = ()
    trip_mhz: tuple[int, ...] = ()
    dtpm_trip_mhz: tuple[int, ...] = ()
    power_w: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    gated_power_w: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    mhz: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check_text(self.name, "cluster name")
        where = f"cluster {self.name!r}"
        check_text(self.type, f"{where}: type")
        object.__setattr__(self, "opp", _checked_opp(self.opp, where))
        for name in ("trip_mhz", "dtpm_trip_mhz"):
            trips = sequence(getattr(self, name), f"{where}: {name}")
            values = tuple(integer(trip, f"{where}: {name}", -1, 10**6) for trip in trips)
            object.__setattr__(self, name, values)
        for name in ("power_w", "gated_power_w"):
            table = _checked_power(getattr(self, name), f"{where}: {name}")
            object.__setattr__(self, name, MappingProxyType(table))
        object.__setattr__(self, "mhz", _checked_frequency(self.mhz, self.opp, where))

    def __hash__(self) -> int:
        """Hash of the labels and operating points."""
        return hash((self.name, self.type, self.opp))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields: read-only mappings cannot be pickled."""
        return _rebuild, (Cluster, _plain_fields(self))


@dataclass(frozen=True, eq=False)
class Platform:
    """P processing elements, each of one cluster, and the times of N tasks on them.

    Attributes:
        name: printable, 1 to 200 characters.
        pe_names: (P,) names, no two the same.
        clusters: clusters, each with at least one processing element.
        pe_cluster: (P,) index of each processing element's cluster.
        bandwidth: (P, P) volume a microsecond, > 0, not symmetric unless the platform is; ``inf``
            where data are free. The diagonal counts too.
        memory_bandwidth: (P,) between each processing element and memory, both ways.
        task_names: (N,) names of tasks, no two the same.
        duration: (N, P) microseconds, `UNSUPPORTED` where a task cannot run; no rows unless given.

    Raises:
        InstanceError: a field is not as described; the message names it.
    """

    name: str
    pe_names: tuple[str, ...]
    clusters: tuple[Cluster, ...]
    pe_cluster: IntArray
    bandwidth: FloatArray
    memory_bandwidth: FloatArray
    task_names: tuple[str, ...] = ()
    duration: IntArray = None  # type: ignore[assignment]  # no tasks unless given

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        check_text(self.name, "platform name")
        where = f"platform {self.name!r}"
        set_field = _setter(self)
        set_field("pe_names", unique_texts(self.pe_names, f"{where}: pe_names", 1, MAX_PES))
        clusters = tuple(sequence(self.clusters, f"{where}: clusters"))
        if not clusters or not all(isinstance(cluster, Cluster) for cluster in clusters):
            raise InstanceError(f"{where}: clusters: expected at least one Cluster")
        set_field("clusters", clusters)
        count = len(self.pe_names)
        wanted = f"{where}: pe_cluster"
        set_field("pe_cluster", integers(self.pe_cluster, wanted, (count,), 0, len(clusters) - 1))
        empty = np.flatnonzero(np.bincount(self.pe_cluster, minlength=len(clusters)) == 0)
        if empty.size:
            raise InstanceError(
                f"{where}: clusters[{empty[0]}]: found no processing element, expected at least one"
            )
        for name, shape in (("bandwidth", (count, count)), ("memory_bandwidth", (count,))):
            set_field(name, rates(getattr(self, name), f"{where}: {name}", shape))
        set_field("task_names", unique_texts(self.task_names, f"{where}: tasks", 0, MAX_TASKS))
        given = np.empty((0, count), np.int64) if self.duration is None else self.duration
        shape = (len(self.task_names), count)
        set_field("duration", _durations(given, f"{where}: duration", shape))

    @property
    def num_pes(self) -> int:
        """Number of processing elements P."""
        return len(self.pe_names)

    @property
    def num_clusters(self) -> int:
        """Number of clusters."""
        return len(self.clusters)

    @property
    def most_levels(self) -> int:
        """Most operating points of a cluster."""
        return max(len(cluster.opp) for cluster in self.clusters)

    @property
    def adjustable(self) -> int:
        """Number of clusters with several operating points."""
        return sum(len(cluster.opp) > 1 for cluster in self.clusters)

    @cached_property
    def task_row(self) -> Mapping[str, int]:
        """Task name -> row of `duration`."""
        return {name: row for row, name in enumerate(self.task_names)}

    @cached_property
    def slowness(self) -> float:
        """Mean over pairs of different processing elements of 1 / bandwidth; 0 for one alone."""
        others = ~np.eye(self.num_pes, dtype=bool)
        return float((1.0 / self.bandwidth[others]).mean()) if others.any() else 0.0

    def profile(
        self,
        name: str,
        task_names: Sequence[str],
        edges: Iterable[Sequence[int]],
        optimum: int = -1,
    ) -> JobProfile:
        """Return a job profile whose times are those of this platform's tasks.

        Args:
            name: of the profile.
            task_names: (T,) name of each task.
            edges: (E, 3) source, target and volume.
            optimum: proven latency of one job alone in microseconds, -1 if unknown.

        Raises:
            InstanceError: a task is not in the table, or the graph is wrong.
        """
        for task, wanted in enumerate(task_names):
            if wanted not in self.task_row:
                raise InstanceError(
                    f"profile {name!r}: task {task}: found {shown(wanted)}, expected one of the "
                    f"{len(self.task_names)} tasks of platform {self.name!r}"
                )
        rows = [self.task_row[wanted] for wanted in task_names]
        duration = self.duration[np.array(rows, np.int64)]
        return JobProfile(
            name,
            tuple(task_names),
            duration,
            _edge_array(edges, f"profile {name!r}: edges"),
            optimum,
        )

    def __eq__(self, other: object) -> bool:
        """Whether both are the same, names included."""
        return _same(self, other, ())

    def __hash__(self) -> int:
        """Hash of the tables."""
        return hash((self.name, self.duration.tobytes(), self.bandwidth.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, (Platform, _plain_fields(self))

    def __repr__(self) -> str:
        """Name and size."""
        return f"Platform(name={self.name!r}, num_pes={self.num_pes})"


@dataclass(frozen=True, eq=False)
class JobProfile:
    """An acyclic graph of T tasks and E edges, and the tasks' times on P processing elements.

    A job is finished when all of its tasks are. Edges are kept by rising target, then source.

    Attributes:
        name: printable, 1 to 200 characters.
        task_names: (T,) names of the tasks; several tasks may have one.
        duration: (T, P) nominal microseconds, `UNSUPPORTED` where a task cannot run; every task
            runs somewhere.
        edges: (E, 3) source, target and volume of the data from one to the other, >= 0.
        optimum: proven latency of one job alone on its platform, -1 if unknown.

    Raises:
        InstanceError: a field is not as described; the message names profile and task or edge.
    """

    name: str
    task_names: tuple[str, ...]
    duration: IntArray
    edges: IntArray
    optimum: int = -1

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        check_text(self.name, "profile name")
        where = f"profile {self.name!r}"
        set_field = _setter(self)
        names = texts(self.task_names, f"{where}: task_names", 1, MAX_TASKS)
        set_field("task_names", names)
        duration = _durations(self.duration, f"{where}: duration", (len(names), None))
        if not 1 <= duration.shape[1] <= MAX_PES:
            raise InstanceError(
                f"{where}: duration: found {duration.shape[1]} processing elements, "
                f"expected 1 to {MAX_PES}"
            )
        unsupported = np.flatnonzero((duration == UNSUPPORTED).all(axis=1))
        if unsupported.size:
            task = int(unsupported[0])
            raise InstanceError(
                f"{where}: task {task} ({shown(names[task])}): unsupported, found no processing "
                "element that can run it, expected at least one"
            )
        set_field("duration", duration)
        set_field("edges", _checked_edges(self.edges, where, len(names)))
        if len(self.order) < len(names):
            raise InstanceError(f"{where}: edges: found a cycle {self._cycle()}, expected none")
        set_field("optimum", integer(self.optimum, f"{where}: optimum", -1, MAX_TIME))

    def _cycle(self) -> str:
        """Return the tasks of one cycle as a text; there must be one."""
        task = int(np.setdiff1d(np.arange(self.num_tasks), self.order)[0])
        place: dict[int, int] = {}
        way: list[int] = []
        open_tasks = np.isin(self.predecessors, self.order, invert=True)
        while task not in place:
            place[task] = len(way)
            way.append(task)
            span = slice(self.predecessor_start[task], self.predecessor_start[task + 1])
            task = int(self.predecessors[span][open_tasks[span]][0])
        cycle = [*way[place[task] :], task][::-1]
        shown = cycle if len(cycle) <= 8 else [*cycle[:7], "..", cycle[-1]]
        return " -> ".join(map(str, shown))

    @property
    def num_tasks(self) -> int:
        """Number of tasks T."""
        return len(self.task_names)

    @property
    def num_edges(self) -> int:
        """Number of edges E."""
        return len(self.edges)

    @property
    def num_pes(self) -> int:
        """Number of processing elements P."""
        return self.duration.shape[1]

    @cached_property
    def supported(self) -> BoolArray:
        """(T, P) whether a processing element can run a task."""
        return locked(self.duration != UNSUPPORTED)

    @cached_property
    def predecessor_start(self) -> IntArray:
        """(T + 1,) where each task's predecessors begin in `predecessors`."""
        return _starts(self.edges[:, 1], self.num_tasks)

    @cached_property
    def predecessors(self) -> IntArray:
        """(E,) sources of the edges, by target, rising."""
        return locked(np.ascontiguousarray(self.edges[:, 0]))

    @cached_property
    def predecessor_volume(self) -> IntArray:
        """(E,) volumes of the edges in the order of `predecessors`."""
        return locked(np.ascontiguousarray(self.edges[:, 2]))

    @cached_property
    def successor_edge(self) -> IntArray:
        """(E,) indices of the edges by rising source, then target."""
        return locked(np.lexsort((self.edges[:, 1], self.edges[:, 0])).astype(np.int64))

    @cached_property
    def successor_start(self) -> IntArray:
        """(T + 1,) where each task's successors begin in `successors`."""
        return _starts(self.edges[:, 0], self.num_tasks)

    @cached_property
    def successors(self) -> IntArray:
        """(E,) targets of the edges, by source, rising."""
        return locked(self.edges[self.successor_edge, 1])

    @cached_property
    def successor_volume(self) -> IntArray:
        """(E,) volumes of the edges in the order of `successors`."""
        return locked(self.edges[self.successor_edge, 2])

    @cached_property
    def order(self) -> IntArray:
        """(T,) tasks so that every one comes after its predecessors; level by level."""
        order = np.empty(self.num_tasks, np.int64)
        missing = np.diff(self.predecessor_start)
        found = _topological(self.successor_start, self.successors, missing, order)
        return locked(order[:found])

    @cached_property
    def depth(self) -> IntArray:
        """(T,) most edges on a way from a task without predecessors."""
        return locked(self._longest(np.ones(self.num_tasks, np.int64))[0])

    @cached_property
    def height(self) -> IntArray:
        """(T,) most edges on a way to a task without successors."""
        return locked(self._longest(np.ones(self.num_tasks, np.int64))[1])

    @cached_property
    def min_duration(self) -> IntArray:
        """(T,) shortest time of each task, in microseconds."""
        return locked(np.where(self.supported, self.duration, MAX_TIME).min(axis=1))

    @cached_property
    def mean_duration(self) -> FloatArray:
        """(T,) mean time of each task over the processing elements that can run it."""
        return locked((self.duration * self.supported).sum(axis=1) / self.supported.sum(axis=1))

    @cached_property
    def head(self) -> IntArray:
        """(T,) least time from a job's arrival to each task's start; free communication."""
        return locked(self._longest(self.min_duration)[0])

    @cached_property
    def tail(self) -> IntArray:
        """(T,) least time from each task's finish to the job's; free communication."""
        return locked(self._longest(self.min_duration)[1])

    @cached_property
    def critical_path(self) -> int:
        """Least latency of a job, in microseconds; free communication."""
        return int((self.head + self.min_duration + self.tail).max())

    def _longest(self, weight: IntArray) -> tuple[IntArray, IntArray]:
        """Return the heaviest ways to and from each task, the task itself left out."""
        before, after = np.zeros_like(weight), np.zeros_like(weight)
        _longest_ways(self.order, self.successor_start, self.successors, weight, before, after)
        return before, after

    def __eq__(self, other: object) -> bool:
        """Whether both are the same, names included; the known optimum is a label."""
        return _same(self, other, ("optimum",))

    def __hash__(self) -> int:
        """Hash of the tables."""
        return hash((self.name, self.duration.tobytes(), self.edges.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, (JobProfile, _plain_fields(self))

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"JobProfile(name={self.name!r}, num_tasks={self.num_tasks}, "
            f"num_edges={self.num_edges})"
        )


@dataclass(frozen=True, eq=False)
class Workload:
    """How jobs arrive, and what counts.

    Attributes:
        protocol: ``"legacy"`` runs until `horizon` and counts the jobs completed after `warm_up`;
            ``"steady"`` injects `warm_up_jobs` + `num_jobs` jobs, drains, and counts the last
            `num_jobs`; ``"batch"`` runs the jobs of `arrivals`, drains, and counts all.
        probabilities: (profiles,) chance of each job profile, adding up to 1.
        scale: mean time between arrivals in microseconds, before it is truncated.
        capacity: most jobs in the system at once.
        horizon: end of a legacy run, in microseconds; 0 otherwise.
        warm_up: beginning of a legacy run that does not count, in microseconds.
        num_jobs, warm_up_jobs: jobs of a steady run that count, and jobs before them.
        arrival_rule: when the system is full, ``"ds3"`` looks again every microsecond, ``"gym"``
            draws the next look.
        pseudo_steady: whether the system is filled at time 0.
        noise: standard deviation of a duration, as a share of it; >= 0.
        comm_mode: ``"pe_to_pe"`` or ``"shared_memory"``.
        executable_order: tasks that wait for their data or processing element start in the order
            in which they were assigned (``"insertion"``), or by job before that (``"job"``).
        strict_ds3: whether a finish is noticed late where the public simulators do.
        sampling_period: microseconds between two looks of their power management, which decides
            where that is; also of the governor.
        governor: ``"constant"``: clusters keep their frequency. ``"ondemand"``: they begin at the
            highest one, and at each look one that has worked for more than 0.8 core periods since
            the last look goes to the highest, one below 0.3 a point down.
        arrivals: (M, 2) profile and time of each job in order, instead of random ones.
        durations: (M, most tasks) realised durations of these jobs' tasks in microseconds,
            instead of random ones; -1 where the profile has no such task, or the nominal one is
            meant.

    Raises:
        InstanceError: a field is not as described, or is needed by the protocol and missing.
    """

    protocol: str
    probabilities: FloatArray
    scale: float = 25.0
    capacity: int = 3
    horizon: int = 0
    warm_up: int = 0
    num_jobs: int = 0
    warm_up_jobs: int = 0
    arrival_rule: str = "ds3"
    pseudo_steady: bool = False
    noise: float = 0.0
    comm_mode: str = "pe_to_pe"
    executable_order: str = "insertion"
    strict_ds3: bool = False
    sampling_period: int = 10
    arrivals: IntArray | None = None
    durations: IntArray | None = None
    governor: str = "constant"

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        set_field = _setter(self)
        for name, choices in (
            ("protocol", PROTOCOLS),
            ("arrival_rule", ARRIVAL_RULES),
            ("comm_mode", COMM_MODES),
            ("executable_order", EXECUTABLE_ORDERS),
            ("governor", GOVERNORS),
        ):
            check_choice(getattr(self, name), name, choices)
        for name, low, high in (
            ("capacity", 1, MAX_JOBS),
            ("horizon", 0, MAX_TIME),
            ("warm_up", 0, MAX_TIME),
            ("num_jobs", 0, MAX_JOBS),
            ("warm_up_jobs", 0, MAX_JOBS),
            ("sampling_period", 1, 10**6),
        ):
            set_field(name, integer(getattr(self, name), name, low, high))
        for name in ("pseudo_steady", "strict_ds3"):
            set_field(name, flag(getattr(self, name), name))
        set_field("scale", real(self.scale, "scale", 1e-3, 1e9))
        set_field("noise", real(self.noise, "noise", 0.0, 10.0))
        set_field("probabilities", _checked_probabilities(self.probabilities))
        if self.strict_ds3 and self.governor != "constant":
            raise InstanceError(
                f"governor: found {self.governor!r} with strict_ds3, expected 'constant': no "
                "recorded run of the public simulators tells when a finish is noticed otherwise"
            )
        self._check_given()
        self._check_protocol()

    def _check_given(self) -> None:
        set_field = _setter(self)
        if self.arrivals is not None:
            set_field("arrivals", self._checked_arrivals())
        if self.durations is None:
            return
        if self.arrivals is None:
            raise InstanceError("durations: found without arrivals, expected both")
        shape = (len(self.arrivals), None)
        set_field("durations", _durations(self.durations, "durations", shape))

    def _checked_arrivals(self) -> IntArray:
        arrivals = integers(self.arrivals, "arrivals", (None, 2), 0, MAX_TIME)
        if not 1 <= len(arrivals) <= MAX_JOBS:
            raise InstanceError(f"arrivals: found {len(arrivals)} jobs, expected 1 to {MAX_JOBS}")
        profiles = len(self.probabilities)
        missing = np.flatnonzero(arrivals[:, 0] >= profiles)
        if missing.size:
            job = int(missing[0])
            raise InstanceError(
                f"arrivals[{job}]: found profile {arrivals[job, 0]}, which is missing, "
                f"expected 0..{profiles - 1}"
            )
        early = np.flatnonzero(np.diff(arrivals[:, 1]) < 0)
        if early.size:
            job = int(early[0]) + 1
            raise InstanceError(
                f"arrivals[{job}]: found time {arrivals[job, 1]}, expected at least that of the "
                f"job before it, {arrivals[job - 1, 1]}"
            )
        return arrivals

    def _check_protocol(self) -> None:
        """Refuse a protocol whose end is not given, and an end that another protocol has."""
        if self.protocol == "batch" and self.arrivals is None:
            raise InstanceError("arrivals: found none, expected the jobs of the batch")
        if self.protocol == "legacy" and self.horizon <= self.warm_up:
            raise InstanceError(
                f"horizon: found {self.horizon}, expected more than the warm-up of {self.warm_up}"
            )
        if self.protocol == "steady" and self.num_jobs < 1:
            raise InstanceError("num_jobs: found 0, expected at least 1")
        own = {"legacy": ("horizon", "warm_up"), "steady": ("num_jobs", "warm_up_jobs")}
        for protocol, names in own.items():
            for name in names:
                if protocol != self.protocol and getattr(self, name):
                    raise InstanceError(
                        f"{name}: found {getattr(self, name)}, expected 0 under protocol "
                        f"{self.protocol!r}"
                    )
        total = self.num_jobs + self.warm_up_jobs
        if self.protocol == "steady" and self.arrivals is not None and len(self.arrivals) != total:
            raise InstanceError(
                f"arrivals: found {len(self.arrivals)} jobs, expected num_jobs + warm_up_jobs, "
                f"{total}"
            )

    def max_jobs(self, least_latency: int) -> int:
        """Return the most jobs of an episode.

        Args:
            least_latency: time in microseconds that every job needs, >= 0.
        """
        if self.arrivals is not None:
            return len(self.arrivals)
        if self.protocol == "steady":
            return self.warm_up_jobs + self.num_jobs
        expected = self.horizon * math.expm1(1.0 / self.scale) if self.scale > 0.01 else math.inf
        drawn = min(expected, self.horizon)  # at most one a microsecond
        served = self.capacity * (self.horizon // max(least_latency, 1) + 1)
        return self.capacity + min(int(drawn + 10.0 * math.sqrt(drawn)) + 20, served)

    def max_changes(self, starts: int, clusters: int, levels: int) -> int:
        """Return the most changes of frequencies in an episode.

        A cluster goes up only after it has been nearly idle, so that a task has started on it in
        between; then it goes down by at most all points.

        Args:
            starts: most tasks of an episode.
            clusters: clusters with several operating points.
            levels: most operating points of one.
        """
        if self.governor == "constant":
            return 0
        most = (starts + clusters) * levels
        if self.protocol == "legacy":
            most = min(most, clusters * (self.horizon // self.sampling_period))
        return most

    def __eq__(self, other: object) -> bool:
        """Whether both are the same."""
        return _same(self, other, ())

    def __hash__(self) -> int:
        """Hash of the numbers."""
        return hash((self.protocol, self.probabilities.tobytes(), self.scale, self.capacity))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, (Workload, _plain_fields(self))


@dataclass(frozen=True, eq=False)
class Instance:
    """Job profiles that arrive at a platform.

    Two instances are equal when they are the same problem; name and known values are labels and
    do not take part.

    Attributes:
        name: printable, 1 to 200 characters.
        platform: the processing elements.
        profiles: the job profiles, no two of one name, with times for every processing element.
        workload: their arrivals.
        known: values that are known of the instance, e.g. ``optimum_us``.

    Raises:
        InstanceError: the parts do not fit; the message names the one that is wrong.
    """

    name: str
    platform: Platform
    profiles: tuple[JobProfile, ...]
    workload: Workload
    known: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit."""
        set_field = _setter(self)
        check_text(self.name, "name")
        for name, kind in (("platform", Platform), ("workload", Workload)):
            if not isinstance(getattr(self, name), kind):
                found = type(getattr(self, name)).__name__
                raise InstanceError(f"{name}: found {found}, expected a {kind.__name__}")
        set_field("profiles", tuple(sequence(self.profiles, "profiles")))
        self._check_profiles()
        self._check_workload()
        set_field("known", MappingProxyType(_checked_known(self.known)))

    def _check_profiles(self) -> None:
        if not 1 <= len(self.profiles) <= MAX_PROFILES:
            raise InstanceError(
                f"profiles: missing, found {len(self.profiles)}, expected 1 to {MAX_PROFILES}"
            )
        names = set()
        for index, profile in enumerate(self.profiles):
            if not isinstance(profile, JobProfile):
                found = type(profile).__name__
                raise InstanceError(f"profiles[{index}]: found {found}, expected a JobProfile")
            if profile.name in names:
                raise InstanceError(f"profiles[{index}]: found {profile.name!r} a second time")
            names.add(profile.name)
            if profile.num_pes != self.num_pes:
                raise InstanceError(
                    f"profile {profile.name!r}: duration: found {profile.num_pes} processing "
                    f"elements, expected the {self.num_pes} of the platform"
                )
            self._check_delays(profile)

    def _check_delays(self, profile: JobProfile) -> None:
        """Refuse transfers that take longer than any time may."""
        slowest = min(self.platform.bandwidth.min(), self.platform.memory_bandwidth.min())
        largest = int(profile.edges[:, 2].max(initial=0))
        if largest > slowest * MAX_TIME:
            raise InstanceError(
                f"profile {profile.name!r}: edges: found a volume of {largest}, which takes more "
                f"than {MAX_TIME} us at the platform's lowest bandwidth"
            )

    def _check_workload(self) -> None:
        expected = len(self.profiles)
        if len(self.workload.probabilities) != expected:
            raise InstanceError(
                f"probabilities: found {len(self.workload.probabilities)} entries, "
                f"expected one for each of the {expected} profiles"
            )
        realised = self.workload.durations
        if realised is not None and realised.shape[1] != self.max_tasks:
            raise InstanceError(
                f"durations: found {realised.shape[1]} columns, expected {self.max_tasks}, "
                "the most tasks of a profile"
            )
        if self.workload.governor == "ondemand":
            self._check_frequencies()

    def _check_frequencies(self) -> None:
        """Refuse clusters whose frequency cannot be changed, or has been."""
        for cluster in self.platform.clusters:
            where = f"governor: found 'ondemand', cluster {cluster.name!r}"
            if not cluster.opp:
                raise InstanceError(f"{where} has no operating points")
            highest = cluster.opp[-1][0]
            if cluster.mhz != highest:
                raise InstanceError(
                    f"{where} runs at {cluster.mhz} MHz, expected its highest, {highest}"
                )

    @property
    def num_pes(self) -> int:
        """Number of processing elements P."""
        return self.platform.num_pes

    @property
    def num_profiles(self) -> int:
        """Number of job profiles."""
        return len(self.profiles)

    @property
    def max_tasks(self) -> int:
        """Most tasks of a profile."""
        return max(profile.num_tasks for profile in self.profiles)

    @cached_property
    def limits(self) -> Limits:
        """Sizes of the instance."""
        jobs = self.workload.max_jobs(self._least_latency())
        levels, several = self.platform.most_levels, self.platform.adjustable
        return Limits(
            pes=self.num_pes,
            clusters=self.platform.num_clusters,
            profiles=self.num_profiles,
            tasks=self.max_tasks,
            edges=max(profile.num_edges for profile in self.profiles),
            predecessors=max(
                int(np.diff(profile.predecessor_start).max()) for profile in self.profiles
            ),
            successors=max(
                int(np.diff(profile.successor_start).max()) for profile in self.profiles
            ),
            capacity=self.workload.capacity,
            jobs=jobs,
            levels=levels,
            changes=self.workload.max_changes(jobs * self.max_tasks, several, levels),
        )

    def _least_latency(self) -> int:
        """Return a time in microseconds that every job needs; 0 if durations are random."""
        if self.workload.noise or self.workload.durations is not None:
            return 0
        return min(profile.critical_path for profile in self.profiles)

    @cached_property
    def time_scale(self) -> float:
        """Mean shortest time of a task in microseconds, at least 1: what times are divided by."""
        weights = self.workload.probabilities
        total = sum(
            weight * profile.min_duration.sum()
            for weight, profile in zip(weights, self.profiles, strict=True)
        )
        count = sum(
            weight * profile.num_tasks
            for weight, profile in zip(weights, self.profiles, strict=True)
        )
        return max(float(total / count), 1.0)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names and known values."""
        return _same(self, other, ("name", "known"))

    def __hash__(self) -> int:
        """Hash of the problem."""
        return hash((self.platform, self.profiles, self.workload))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, (Instance, _plain_fields(self))

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"Instance(name={self.name!r}, num_pes={self.num_pes}, "
            f"num_profiles={self.num_profiles}, protocol={self.workload.protocol!r})"
        )


# ---------------------------------------------------------------- records


def _setter(record: object) -> Any:
    """Return a function that sets a field of a frozen record while it is made."""

    def set_field(name: str, value: object) -> None:
        object.__setattr__(record, name, value)

    return set_field


def _plain_fields(record: Any) -> dict[str, Any]:
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {
        name: dict(value) if isinstance(value, MappingProxyType) else value
        for name, value in values.items()
    }


def _rebuild(kind: type, values: dict[str, Any]) -> Any:
    return kind(**values)


def _same(one: Any, other: Any, labels: tuple[str, ...]) -> bool:
    """Compare two records field by field, labels left out."""
    if type(one) is not type(other):
        return NotImplemented
    for entry in fields(one):
        mine, theirs = getattr(one, entry.name), getattr(other, entry.name)
        if entry.name in labels:
            continue
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
            if not np.array_equal(mine, theirs):
                return False
        elif isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray) or mine != theirs:
            return False
    return True


# ---------------------------------------------------------------- graphs


def _starts(keys: IntArray, count: int) -> IntArray:
    """Return where each of 0..count-1 begins among sorted keys, and the end."""
    return locked(np.concatenate(([0], np.cumsum(np.bincount(keys, minlength=count)))))


@njit(cache=True)
def _topological(
    successor_start: IntArray, successors: IntArray, missing: IntArray, order: IntArray
) -> int:
    """Fill order with tasks whose predecessors come before; return how many there are."""
    count = 0
    for task in range(len(missing)):
        if missing[task] == 0:
            order[count] = task
            count += 1
    done = 0
    while done < count:
        task = order[done]
        done += 1
        for edge in range(successor_start[task], successor_start[task + 1]):
            successor = successors[edge]
            missing[successor] -= 1
            if missing[successor] == 0:
                order[count] = successor
                count += 1
    return count


@njit(cache=True)
def _longest_ways(
    order: IntArray,
    successor_start: IntArray,
    successors: IntArray,
    weight: IntArray,
    before: IntArray,
    after: IntArray,
) -> None:
    """Fill the heaviest ways to and from each task, the task itself left out."""
    for task in order:
        for edge in range(successor_start[task], successor_start[task + 1]):
            successor = successors[edge]
            before[successor] = max(before[successor], before[task] + weight[task])
    for task in order[::-1]:
        for edge in range(successor_start[task], successor_start[task + 1]):
            successor = successors[edge]
            after[task] = max(after[task], after[successor] + weight[successor])


def _edge_array(edges: Any, where: str) -> npt.NDArray[Any]:
    """Return edges as an array; no edge at all is one of three columns."""
    array = edges if isinstance(edges, np.ndarray) else list(edges)
    return np.empty((0, 3), np.int64) if len(array) == 0 else as_array(array, where, (None, 3))


def _checked_edges(edges: Any, where: str, tasks: int) -> IntArray:
    """Return edges by rising target, then source; refuse wrong tasks, volumes and doubles."""
    place = f"{where}: edges"
    checked = integers(_edge_array(edges, place), place, (None, 3), -MAX_VOLUME, MAX_VOLUME)
    if len(checked) > MAX_EDGES:
        raise InstanceError(f"{where}: edges: found {len(checked)}, expected at most {MAX_EDGES}")
    sources, targets, volumes = checked.T
    for column in (sources, targets):
        wrong = np.flatnonzero((column < 0) | (column >= tasks))
        if wrong.size:
            raise InstanceError(
                f"{where}: edges[{wrong[0]}]: found task {column[wrong[0]]}, "
                f"expected 0..{tasks - 1}"
            )
    wrong = np.flatnonzero(volumes < 0)
    if wrong.size:
        source, target, volume = checked[wrong[0]]
        raise InstanceError(
            f"{where}: edge {source}-{target}: found a volume of {volume}, expected at least 0"
        )
    order = np.lexsort((sources, targets))
    ordered = checked[order]
    double = np.flatnonzero((np.diff(ordered[:, :2], axis=0) == 0).all(axis=1))
    if double.size:
        source, target, _ = ordered[double[0]]
        raise InstanceError(f"{where}: edge {source}-{target}: found twice, expected once")
    return locked(np.ascontiguousarray(ordered))


# ---------------------------------------------------------------- fields


def _checked_opp(points: object, where: str) -> tuple[tuple[int, int], ...]:
    checked: list[tuple[int, int]] = []
    for index, point in enumerate(sequence(points, f"{where}: opp")):
        place = f"{where}: opp[{index}]"
        if len(pair := sequence(point, place)) != 2:
            raise InstanceError(f"{place}: found {shown(pair)}, expected (MHz, mV)")
        mhz, mv = (integer(part, place, 1, 10**6) for part in pair)
        if checked and mhz <= checked[-1][0]:
            raise InstanceError(f"{place}: found {mhz} MHz, expected more than {checked[-1][0]}")
        checked.append((mhz, mv))
    return tuple(checked)


def _checked_frequency(mhz: object, opp: tuple[tuple[int, int], ...], where: str) -> int:
    """Return the frequency, the highest one for 0."""
    number = integer(mhz, f"{where}: mhz", 0, 10**6)
    choices = [point[0] for point in opp]
    if number and number not in choices:
        raise InstanceError(f"{where}: mhz: found {number}, expected 0 or one of opp, {choices}")
    return number or max(choices, default=0)


def _checked_power(table: object, where: str) -> dict[int, tuple[float, ...]]:
    if not isinstance(table, Mapping):
        raise InstanceError(f"{where}: found {shown(table)}, expected a mapping")
    checked = {}
    for mhz, row in table.items():
        key = integer(mhz, where, 1, 10**6)
        values = sequence(row, f"{where}[{key}]")
        checked[key] = tuple(real(watts, f"{where}[{key}]", 0.0, 1e6) for watts in values)
        if not checked[key]:
            raise InstanceError(f"{where}[{key}]: found nothing, expected at least one power")
    return dict(sorted(checked.items()))


def _checked_probabilities(values: object) -> FloatArray:
    chances = as_array(values, "probabilities", (None,))
    if chances.dtype.kind not in "iuf":
        raise InstanceError(f"probabilities: found {chances.dtype}, expected numbers")
    chances = np.array(chances, np.float64)
    wrong = ~((chances >= 0) & (chances <= 1))
    if wrong.any():
        place, text = first_place(wrong)
        raise InstanceError(f"probabilities{text}: found {chances[place]}, expected 0..1")
    if len(chances) == 0 or abs(chances.sum() - 1.0) > 1e-9:
        raise InstanceError(f"probabilities: found a sum of {chances.sum():g}, expected 1")
    return locked(chances)


def _checked_known(known: object) -> dict[str, float]:
    if not isinstance(known, Mapping):
        raise InstanceError(f"known: found {shown(known)}, expected a mapping")
    for key, value in known.items():
        check_text(key, "known")
        real(value, f"known.{key}", -MAX_REAL, MAX_REAL)
    return {key: value if isinstance(value, int) else float(value) for key, value in known.items()}


def _durations(values: object, where: str, shape: tuple[int | None, ...]) -> IntArray:
    """Return a private read-only copy of a table of durations."""
    return integers(values, where, shape, UNSUPPORTED, MAX_TIME)
