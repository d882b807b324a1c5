"""An instance of plans: one application's tasks, a device and servers, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.edge_dag_plan import plans

__all__ = ["MAX_SERVERS", "MAX_TASKS", "Instance"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_TASKS = 1000
MAX_SERVERS = 100
_LARGEST = 1e15
"""Largest amount of work or bytes, rate or power: beyond it a file is taken to be damaged."""
_SMALLEST_RATE = 1e-9
_MAX_TEXT = 200
_REALS = (
    # field, whether it may be zero
    ("device_speed", False),
    ("device_power", False),
    ("transmit_power", True),
    ("receive_power", True),
)


@dataclass(frozen=True, eq=False)
class Instance:
    """n dependent tasks of one device that has S edge servers within reach.

    Amounts of work are in any unit, speeds in that unit a second. Two instances are equal when
    they are the same problem; the name is a label. All arrays are C-contiguous and read-only.

    Attributes:
        name: printable, 1 to 200 characters.
        work: (n,) amount of work of each task, > 0.
        upload: (n,) bytes that go up when a task is done remotely, >= 0.
        output: (n,) bytes of the result, >= 0; they come down when it is needed on the device,
            and travel between servers.
        edges: (m, 2) int64, parent and child, sorted by child and parent, each once, no cycle.
        device_speed: work a second of the device, > 0.
        server_speed: (S,) of the servers, > 0.
        uplink: (S,) bytes a second from the device to each server, > 0.
        downlink: (S,) back, > 0.
        link: (S, S) bytes a second between servers, > 0; the diagonal does not matter. Only
            servers of their own need it: with one server it is 1 by default.
        device_power: watts of the computing device, > 0.
        transmit_power: watts while it sends, >= 0.
        receive_power: watts while it receives, >= 0.

    Raises:
        InstanceError: a field is not as described; the message names field and index.
    """

    name: str
    work: FloatArray
    upload: FloatArray
    output: FloatArray
    edges: IntArray
    device_speed: float
    server_speed: FloatArray
    uplink: FloatArray
    downlink: FloatArray
    device_power: float
    transmit_power: float
    receive_power: float
    link: FloatArray = None  # type: ignore[assignment]  # ones unless given

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        _check_text(self.name, "name")
        for name, zero in _REALS:
            self._set(name, _real(getattr(self, name), name, zero))
        self._set("work", _reals(self.work, "work", (None,), _SMALLEST_RATE))
        tasks = len(self.work)
        if not 1 <= tasks <= MAX_TASKS:
            raise InstanceError(f"work: found {tasks} tasks, expected 1 to {MAX_TASKS}")
        for name in ("upload", "output"):
            self._set(name, _reals(getattr(self, name), name, (tasks,), 0.0))
        self._check_servers()
        self._set("edges", _checked_edges(self.edges, tasks))
        self._check_times()

    def _check_servers(self) -> None:
        name = "server_speed"
        self._set(name, _reals(self.server_speed, name, (None,), _SMALLEST_RATE))
        servers = len(self.server_speed)
        if not 1 <= servers <= MAX_SERVERS:
            raise InstanceError(f"{name}: found {servers} servers, expected 1 to {MAX_SERVERS}")
        for name in ("uplink", "downlink"):
            self._set(name, _reals(getattr(self, name), name, (servers,), _SMALLEST_RATE))
        link = np.ones((servers, servers)) if self.link is None else self.link
        self._set("link", _reals(link, "link", (servers, servers), _SMALLEST_RATE))

    def _check_times(self) -> None:
        """Refuse tasks so short beside others that double precision cannot add their times."""
        place = np.argsort(self.rank_order)
        wrong = np.flatnonzero(place[self.edges[:, 0]] > place[self.edges[:, 1]])
        if wrong.size:
            task = self.edges[wrong[0], 0]
            raise InstanceError(
                f"work[{task}]: found {self.work[task]}, expected times of tasks that differ "
                "less than double precision can tell"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def num_tasks(self) -> int:
        """Number of tasks n."""
        return len(self.work)

    @property
    def num_servers(self) -> int:
        """Number of servers S."""
        return len(self.server_speed)

    @property
    def num_edges(self) -> int:
        """Number of edges m."""
        return len(self.edges)

    @cached_property
    def _plan(self) -> plans.Plan:
        limits = plans.Limits(self.num_tasks, max(self.num_edges, 1), self.num_servers)
        rows = plans.empty_plans(limits, 1)
        plans.lay(self, rows, 0)
        for array in rows:
            array.setflags(write=False)
        return rows

    @property
    def local_time(self) -> FloatArray:
        """(n,) seconds of each task on the device."""
        return self._plan.local[0]

    @property
    def upload_time(self) -> FloatArray:
        """(n, S) seconds of the upload to each server."""
        return self._plan.up[0]

    @property
    def remote_time(self) -> FloatArray:
        """(n, S) seconds on each server."""
        return self._plan.run[0]

    @property
    def download_time(self) -> FloatArray:
        """(n, S) seconds of the download from each server."""
        return self._plan.down[0]

    @property
    def upward_rank(self) -> FloatArray:
        """(n,) seconds from the start of a task to the end of all, at least at its best place."""
        return self._plan.rank[0]

    @property
    def rank_order(self) -> IntArray:
        """(n,) tasks by descending upward rank; ties by number. No child comes before a parent."""
        return self._plan.ranked[0]

    @cached_property
    def index_order(self) -> IntArray:
        """(n,) tasks by number, each behind its parents."""
        order = _topological(self.edges, self.num_tasks)
        order.setflags(write=False)
        return order

    @cached_property
    def local_latency(self) -> float:
        """Seconds that the device needs alone."""
        return float(self.local_time.sum())

    @cached_property
    def local_energy(self) -> float:
        """Joules that the device needs alone."""
        return self.local_latency * self.device_power

    def parents(self, task: int) -> IntArray:
        """Return the parents of a task, ascending."""
        return self.edges[self.edges[:, 1] == task, 0]

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names."""
        if not isinstance(other, Instance):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _PROBLEM_FIELDS
        )

    def __hash__(self) -> int:
        """Hash of the problem."""
        return hash((self.work.tobytes(), self.edges.tobytes(), self.server_speed.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, ({entry.name: getattr(self, entry.name) for entry in fields(self)},)

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"Instance(name={self.name!r}, num_tasks={self.num_tasks}, "
            f"num_edges={self.num_edges}, num_servers={self.num_servers})"
        )


_PROBLEM_FIELDS = tuple(entry.name for entry in fields(Instance) if entry.name != "name")


def _rebuild(values: dict[str, Any]) -> Instance:
    return Instance(**values)


# ---------------------------------------------------------------- checks


def _shown(value: object) -> str:
    """Return a short form of a value for a message; a huge one is cut."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= _MAX_TEXT:
        raise InstanceError(
            f"{where}: found {_shown(value)}, "
            f"expected a printable text of 1 to {_MAX_TEXT} characters"
        )


def _real(value: Any, where: str, zero: bool) -> float:
    expected = f"a number {'>=' if zero else '>'} 0, at most {_LARGEST:g}"
    number = float("nan")
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value) if 0 <= value <= _LARGEST else float("nan")
    if not (number >= _SMALLEST_RATE or (zero and number == 0)):
        raise InstanceError(f"{where}: found {_shown(value)}, expected {expected}")
    return number


def _array(values: object, where: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InstanceError(f"{where}: found shape {array.shape}, expected {wanted}")
    return array


def _reals(values: object, where: str, shape: tuple[int | None, ...], low: float) -> FloatArray:
    """Return a private read-only float64 copy of an array with values from `low`."""
    array = _array(values, where, shape)
    if array.dtype.kind not in "iuf":
        raise InstanceError(f"{where}: found {array.dtype}, expected numbers")
    wrong = ~((array >= low) & (array <= _LARGEST))
    if wrong.any():
        place = tuple(int(part) for part in np.argwhere(wrong)[0])
        text = "".join(f"[{part}]" for part in place)
        sign = ">" if low else ">="
        raise InstanceError(f"{where}{text}: found {array[place]}, expected a number {sign} 0")
    return _locked(np.array(array, np.float64, order="C"))


def _locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _checked_edges(values: object, tasks: int) -> IntArray:
    """Return the edges sorted by child and parent, or say which one is wrong."""
    empty = isinstance(values, (list, tuple)) and not values
    array = np.zeros((0, 2), np.int64) if empty else _array(values, "edges", (None, 2))
    if array.dtype.kind not in "iu":
        raise InstanceError(f"edges: found {array.dtype}, expected integers")
    for index, (parent, child) in enumerate(array.tolist()):
        if not (0 <= parent < tasks and 0 <= child < tasks):
            raise InstanceError(
                f"edges[{index}]: found {parent} -> {child}, expected tasks 0 to {tasks - 1}"
            )
    ordered = array[np.lexsort((array[:, 0], array[:, 1]))].astype(np.int64)
    twice = np.flatnonzero((ordered[1:] == ordered[:-1]).all(axis=1))
    if twice.size:
        parent, child = ordered[twice[0]]
        raise InstanceError(f"edges: found {parent} -> {child} twice, expected once")
    _topological(ordered, tasks)
    return _locked(np.ascontiguousarray(ordered))


def _topological(edges: IntArray, tasks: int) -> IntArray:
    """Return the tasks, parents first and otherwise by number, or name one on a cycle."""
    waits_for = np.bincount(edges[:, 1], minlength=tasks)
    children: list[list[int]] = [[] for _ in range(tasks)]
    for parent, child in edges.tolist():
        children[parent].append(child)
    order: list[int] = []
    ready = np.flatnonzero(waits_for == 0).tolist()
    while ready:
        task = min(ready)
        ready.remove(task)
        order.append(task)
        for child in children[task]:
            waits_for[child] -= 1
            if waits_for[child] == 0:
                ready.append(child)
    if len(order) < tasks:
        left = int(np.flatnonzero(waits_for > 0)[0])
        raise InstanceError(f"edges: found a cycle that task {left} waits for, expected none")
    return np.array(order, np.int64)
