"""Instances of jobs of dependent tasks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.edge_offloading import checks, graph_draw
from dispatchgym.envs.edge_offloading.graph_draw import GraphLimits, GraphRows
from dispatchgym.envs.edge_offloading.instance import Instance

__all__ = ["GraphInstance"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_SERVERS = 100
MAX_JOBS = 10_000
MAX_TASKS = 100_000
MAX_USERS = 10_000
MAX_CORES = 1000


@dataclass(frozen=True, eq=False, repr=False)
class GraphInstance(Instance):
    """Jobs of dependent tasks that users' devices, edge servers and the cloud compute.

    A task begins after its parents have ended and their results have come to where it is placed.
    Results go to a child by the device's radio, or between servers by wire.

    Attributes:
        frequency: (S,) clock frequency of a core of each server in Hz; server 0 is the cloud.
        cores: (S,) cores, >= 1; a task takes one.
        link: (U, S) bit/s, > 0, of the radio between each user's device and each server.
        wire: (S, S) bit/s, > 0, between servers.
        arrival: (J,) seconds at which the jobs come.
        source: (J,) their users.
        job: (N,) job of each task, not falling; every job has one.
        cycles: (N,) sizes, > 0.
        input: (N,) bits that a task reads from the device, >= 0.
        output: (N,) bits that each child reads of it, or the device if there is none, >= 0.
        edges: (M, 2) parent and child, of one job; parents have lower numbers.
        device_hz: clock frequency of the devices' one core.
        device_watt, send_watt, receive_watt: power of a device that computes, sends, receives.
        arrivals: expected jobs a second, what observations tell.

    Raises:
        InstanceError: a field is not as described, or tasks wait for each other in a circle; the
            message names field and index.
    """

    frequency: FloatArray
    cores: IntArray
    link: FloatArray
    wire: FloatArray
    arrival: FloatArray
    source: IntArray
    job: IntArray
    cycles: FloatArray
    input: FloatArray
    output: FloatArray
    edges: IntArray
    device_hz: float = graph_draw.DEVICE_FREQUENCY
    device_watt: float = graph_draw.DEVICE_POWER
    send_watt: float = graph_draw.SENDING
    receive_watt: float = graph_draw.RECEIVING
    arrivals: float = 1.0

    family: ClassVar[str] = "graphs"

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        checks.check_text(self.name, "name")
        for name, low in (
            ("device_hz", 1.0),
            ("device_watt", 1e-9),
            ("send_watt", 0.0),
            ("receive_watt", 0.0),
            ("arrivals", 0.0),
        ):
            self._set(name, checks.real(getattr(self, name), name, low, 1e15))
        self._check_servers()
        self._check_jobs()
        self._check_edges()

    def _check_servers(self) -> None:
        self._set("frequency", checks.reals(self.frequency, "frequency", (None,), 1.0, 1e15))
        servers = len(self.frequency)
        if not 1 <= servers <= MAX_SERVERS:
            raise InstanceError(f"frequency: found {servers} servers, expected 1 to {MAX_SERVERS}")
        self._set("cores", checks.integers(self.cores, "cores", (servers,), 1, MAX_CORES))
        self._set("link", checks.reals(self.link, "link", (None, servers), 1e-3, 1e15))
        if not 1 <= len(self.link) <= MAX_USERS:
            raise InstanceError(f"link: found {len(self.link)} users, expected 1 to {MAX_USERS}")
        self._set("wire", checks.reals(self.wire, "wire", (servers, servers), 1e-3, 1e15))

    def _check_jobs(self) -> None:
        self._set("arrival", checks.reals(self.arrival, "arrival", (None,), 0.0, 1e9))
        jobs = len(self.arrival)
        if not 1 <= jobs <= MAX_JOBS:
            raise InstanceError(f"arrival: found {jobs} jobs, expected 1 to {MAX_JOBS}")
        users = len(self.link) - 1
        self._set("source", checks.integers(self.source, "source", (jobs,), 0, users))
        self._set("job", checks.integers(self.job, "job", (None,), 0, jobs - 1))
        tasks = len(self.job)
        if tasks > MAX_TASKS:
            raise InstanceError(f"job: found {tasks} tasks, expected at most {MAX_TASKS}")
        steps = np.diff(self.job, prepend=-1, append=jobs)
        if ((steps < 0) | (steps > 1)).any():
            i = int(np.flatnonzero((steps < 0) | (steps > 1))[0])
            raise InstanceError(
                f"job[{i}]: expected the tasks of job 0, of job 1, ... of job {jobs - 1} in turn"
            )
        for name, low in (("cycles", 1.0), ("input", 0.0), ("output", 0.0)):
            self._set(name, checks.reals(getattr(self, name), name, (tasks,), low, 1e18))

    def _check_edges(self) -> None:
        given = np.asarray(self.edges)
        edges = given.reshape(0, 2).astype(np.int64) if given.size == 0 else given
        edges = checks.integers(edges, "edges", (None, 2), 0, self.num_tasks - 1)
        parent, child = edges.T
        between = np.flatnonzero(self.job[parent] != self.job[child])
        if between.size:
            k = int(between[0])
            raise InstanceError(
                f"edges[{k}]: found {parent[k]} and {child[k]}, expected tasks of one job"
            )
        _check_circles(self.num_tasks, edges)
        backwards = np.flatnonzero(parent >= child)
        if backwards.size:
            k = int(backwards[0])
            raise InstanceError(
                f"edges[{k}]: found {parent[k]} before {child[k]}, expected parents to have lower "
                "numbers"
            )
        ordered = np.array(sorted(set(map(tuple, edges.tolist())), key=lambda pair: pair[::-1]))
        self._set("edges", checks.locked(ordered.reshape(-1, 2).astype(np.int64)))

    @property
    def num_servers(self) -> int:
        """Number of servers S, the cloud included; the devices are none."""
        return len(self.frequency)

    @property
    def num_jobs(self) -> int:
        """Number of jobs J."""
        return len(self.arrival)

    @property
    def num_tasks(self) -> int:
        """Number of tasks N."""
        return len(self.job)

    @property
    def limits(self) -> GraphLimits:
        """Sizes, as of a generator that makes only this instance."""
        return GraphLimits(
            self.num_servers,
            self.num_jobs,
            self.num_tasks,
            max(len(self.edges), 1),
            len(self.link),
            int(self.cores.max()),
        )

    @cached_property
    def parents(self) -> list[list[int]]:
        """The parents of each task."""
        found: list[list[int]] = [[] for _ in range(self.num_tasks)]
        for parent, child in self.edges.tolist():
            found[child].append(parent)
        return found

    @cached_property
    def rows(self) -> GraphRows:
        """The arrays as the kernel takes them."""
        rows = GraphRows(*(a[0] for a in graph_draw.empty_graph_rows(self.limits, 1)))
        number, real = rows.number, rows.real
        number[graph_draw.SERVERS], number[graph_draw.JOBS] = self.num_servers, self.num_jobs
        number[graph_draw.TASKS], number[graph_draw.USERS] = self.num_tasks, len(self.link)
        real[graph_draw.ARRIVALS] = self.arrivals
        real[graph_draw.MEAN_CYCLES] = self.cycles.mean()
        real[graph_draw.DEVICE_HZ], real[graph_draw.DEVICE_WATT] = self.device_hz, self.device_watt
        real[graph_draw.SEND_WATT] = self.send_watt
        real[graph_draw.RECEIVE_WATT] = self.receive_watt
        rows.server[:, graph_draw.FREQUENCY] = self.frequency
        rows.server[:, graph_draw.CORES] = self.cores
        rows.link[:], rows.wire[:] = self.link, self.wire
        jobs, tasks = np.arange(self.num_jobs), np.arange(self.num_tasks)
        rows.job[:, graph_draw.ARRIVAL], rows.job[:, graph_draw.SOURCE] = self.arrival, self.source
        rows.job[:, graph_draw.FIRST] = np.searchsorted(self.job, jobs)
        rows.job[:, graph_draw.END] = np.searchsorted(self.job, jobs, "right")
        task, child = rows.task, self.edges[:, 1]
        task[:, graph_draw.CYCLES], task[:, graph_draw.JOB] = self.cycles, self.job
        task[:, graph_draw.INPUT], task[:, graph_draw.OUTPUT] = self.input, self.output
        task[:, graph_draw.FIRST_PARENT] = np.searchsorted(child, tasks)
        task[:, graph_draw.END_PARENT] = np.searchsorted(child, tasks, "right")
        rows.parent[: len(self.edges)] = self.edges[:, 0]
        return rows

    @classmethod
    def from_rows(cls, name: str, rows: GraphRows) -> GraphInstance:
        """Return the instance whose arrays the kernel has."""
        number, real = rows.number, rows.real
        servers, jobs = int(number[graph_draw.SERVERS]), int(number[graph_draw.JOBS])
        tasks, users = int(number[graph_draw.TASKS]), int(number[graph_draw.USERS])
        job, task = rows.job[:jobs], rows.task[:tasks]
        first, end = (
            task[:, column].astype(np.int64)
            for column in (graph_draw.FIRST_PARENT, graph_draw.END_PARENT)
        )
        child = np.repeat(np.arange(tasks), end - first)
        return cls(
            name=name,
            frequency=rows.server[:servers, graph_draw.FREQUENCY],
            cores=rows.server[:servers, graph_draw.CORES].astype(np.int64),
            link=rows.link[:users, :servers],
            wire=rows.wire[:servers, :servers],
            arrival=job[:, graph_draw.ARRIVAL],
            source=job[:, graph_draw.SOURCE].astype(np.int64),
            job=task[:, graph_draw.JOB].astype(np.int64),
            cycles=task[:, graph_draw.CYCLES],
            input=task[:, graph_draw.INPUT],
            output=task[:, graph_draw.OUTPUT],
            edges=np.stack((rows.parent[: len(child)], child), axis=1),
            device_hz=float(real[graph_draw.DEVICE_HZ]),
            device_watt=float(real[graph_draw.DEVICE_WATT]),
            send_watt=float(real[graph_draw.SEND_WATT]),
            receive_watt=float(real[graph_draw.RECEIVE_WATT]),
            arrivals=float(real[graph_draw.ARRIVALS]),
        )

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"GraphInstance(name={self.name!r}, num_servers={self.num_servers}, "
            f"num_jobs={self.num_jobs}, num_tasks={self.num_tasks})"
        )


def _check_circles(tasks: int, edges: IntArray) -> None:
    """Refuse tasks that wait for each other."""
    children: list[list[int]] = [[] for _ in range(tasks)]
    missing = [0] * tasks
    for parent, child in edges.tolist():
        children[parent].append(child)
        missing[child] += 1
    free: list[Any] = [task for task in range(tasks) if missing[task] == 0]
    for task in free:
        for child in children[task]:
            missing[child] -= 1
            if missing[child] == 0:
                free.append(child)
    if len(free) < tasks:
        task = next(task for task in range(tasks) if missing[task] > 0)
        raise InstanceError(
            f"edges: found a circle that task {task} waits for, expected a graph without circles"
        )
