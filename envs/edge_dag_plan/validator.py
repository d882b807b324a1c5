"""Independent check of a plan; shares no code with the compiled kernel.

A schedule is judged from the instance alone, in plain Python: the decisions are replayed in their
order, and every fault found is reported, not the first only. After a fault the replay goes on with
the times that the schedule says, so that one fault does not drag others behind it without need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan.instance import Instance

__all__ = ["COLUMNS", "VIOLATION_CODES", "ValidationReport", "Violation", "validate"]

COLUMNS = (
    "local_start",
    "local_end",
    "upload_start",
    "upload_end",
    "run_start",
    "run_end",
    "download_end",
)
"""Columns of a schedule's ``times``, in seconds; 0 where a task does not do this."""

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V1": "a task is decided twice or not at all",
    "V2": "a task is neither on the device nor on a server that exists",
    "V3": "an upload, computation or download does not take as long as it takes",
    "V4": "a task is decided before one of higher rank (or of lower number)",
    "V6": "a task is computed before the processor is free, or not as soon as it can be",
    "V7": "an upload begins before the uplink is free, or not as soon as it can",
    "V8": "a task is decided or begins before what it needs of its parents is there",
    "V9": "the energy is not the sum over the tasks",
    "V10": "the makespan is not when the last result is on the device",
}
"""What each code means; the numbers are those of the suite's rules for edge computing."""

TOLERANCE = 1e-9
_QUEUES = ("corrected", "published_code")
_ORDERS = ("rank", "index")


@dataclass(frozen=True)
class Violation:
    """One fault of a schedule.

    Attributes:
        code: One of `VIOLATION_CODES`.
        message: What was found and what is expected, in words.
        task: Task concerned, or None.
    """

    code: str
    message: str
    task: int | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation.
        objective: float64 (2,), makespan in seconds and energy in joules, computed from the
            decisions; nan if malformed.
        violations: All faults.
        preference: float64 (2,), the weights that the plan was made for; nan if malformed.
    """

    valid: bool
    objective: npt.NDArray[np.float64]
    violations: list[Violation] = field(default_factory=list)
    preference: npt.NDArray[np.float64] = field(default_factory=lambda: np.full(2, math.nan))


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate(instance: Instance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: The problem.
        schedule: As in the environment's ``info["schedule"]``: ``order`` (N,) of decisions and
            ``place`` (N,) of each task (0: device, k: server k - 1), -1 in padding; ``times``
            (N, 7), see `COLUMNS`; ``makespan``, ``energy``, ``preference`` (2,), ``uplink_queue``
            and ``decided_by`` (``rank`` or ``index``).

    Returns:
        The report with all violations found; of a malformed schedule only that is reported.

    Raises:
        ParameterError: `schedule` is not a mapping or `instance` is no Instance.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(schedule, Mapping):
        raise ParameterError(f"schedule: found {type(schedule).__name__}, expected a mapping")
    try:
        replay = _Replay(instance, schedule)
    except _Malformed as error:
        nothing = np.full(2, math.nan)
        return ValidationReport(False, nothing, [Violation("malformed", str(error))])
    if replay.is_complete():
        replay.check_order()
        for task in replay.order:
            replay.decide(task)
        replay.check_totals()
    objective = np.array([replay.makespan, replay.energy])
    return ValidationReport(not replay.found, objective, replay.found, replay.preference)


# ------------------------------------------------------------------------------- reading


def _array(schedule: Mapping[str, Any], name: str, kinds: str) -> npt.NDArray[Any]:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        array = np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None
    if array.dtype.kind not in kinds:
        raise _Malformed(f"{name}: found type {array.dtype}, expected another")
    return array


def _numbers(schedule: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Any:
    """Return real numbers of this shape, or of a longer first axis that is cut."""
    array = _array(schedule, name, "iuf")
    fits = array.ndim == len(shape) and array.shape[1:] == shape[1:]
    if not fits or (shape and array.shape[0] < shape[0]):
        raise _Malformed(f"{name}: found shape {array.shape}, expected {shape}")
    kept = array[: shape[0]] if shape else array
    if not np.isfinite(kept).all():
        raise _Malformed(f"{name}: found nan or infinity, expected numbers")
    return kept.astype(np.float64)


def _whole(schedule: Mapping[str, Any], name: str, tasks: int) -> list[int]:
    """Return whole numbers without what pads them."""
    array = _array(schedule, name, "iu")
    if array.ndim != 1 or len(array) < tasks or (array[tasks:] != -1).any():
        raise _Malformed(f"{name}: found shape {array.shape}, expected ({tasks},), padded with -1")
    found: list[int] = array[:tasks].tolist()
    return found


def _word(schedule: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    array = _array(schedule, name, "U")
    if array.size != 1 or str(array.item()) not in known:
        raise _Malformed(f"{name}: found {array}, expected one of {', '.join(known)}")
    return str(array.item())


# ------------------------------------------------------------------------------ the replay


class _Replay:
    """The plan as its decisions make it, and the faults met on the way."""

    def __init__(self, instance: Instance, schedule: Mapping[str, Any]) -> None:
        """Read the schedule."""
        tasks = instance.num_tasks
        self.instance = instance
        self.order = _whole(schedule, "order", tasks)
        self.place = _whole(schedule, "place", tasks)
        self.times: list[list[float]] = _numbers(schedule, "times", (tasks, len(COLUMNS))).tolist()
        self.told_makespan = float(_numbers(schedule, "makespan", ()))
        self.told_energy = float(_numbers(schedule, "energy", ()))
        self.preference = _numbers(schedule, "preference", (2,))
        self.published = _word(schedule, "uplink_queue", _QUEUES) == "published_code"
        self.by_index = _word(schedule, "decided_by", _ORDERS) == "index"
        self.found: list[Violation] = []
        self.parents: list[list[int]] = [[] for _ in range(tasks)]
        for parent, child in instance.edges.tolist():
            self.parents[child].append(parent)
        self.work, self.upload, self.output = (
            array.tolist() for array in (instance.work, instance.upload, instance.output)
        )
        self.speed, self.up_rate, self.down_rate = (
            array.tolist() for array in (instance.server_speed, instance.uplink, instance.downlink)
        )
        self.unit = sum(self.work) / instance.device_speed
        self.free_device = self.free_uplink = 0.0
        self.free_server = [0.0] * instance.num_servers
        self.makespan = self.energy = math.nan

    def fault(self, code: str, message: str, task: int | None = None) -> None:
        """Note a fault."""
        self.found.append(Violation(code, message, task))

    def is_complete(self) -> bool:
        """Check that every task is decided once, and goes to a place that there is."""
        tasks, servers = self.instance.num_tasks, self.instance.num_servers
        if sorted(self.order) != list(range(tasks)):
            self.fault("V1", f"order: found {self.order}, expected each of {tasks} tasks once")
        for task, place in enumerate(self.place):
            if not 0 <= place <= servers:
                self.fault("V2", f"place[{task}]: found {place}, expected 0 to {servers}", task)
        return not self.found

    def check_order(self) -> None:
        """Check that no task is decided before a parent, or before one that has precedence."""
        position = {task: number for number, task in enumerate(self.order)}
        for task, parents in enumerate(self.parents):
            for parent in parents:
                if position[parent] > position[task]:
                    self.fault("V8", f"task {task} is decided before its parent {parent}", task)
        if self.by_index:
            self._check_numbers(position)
            return
        rank = self._ranks()
        for one, other in zip(self.order, self.order[1:], strict=False):
            if rank[one] < rank[other] - TOLERANCE * self.unit:
                self.fault("V4", f"task {one} is decided before {other} of higher rank", one)

    def _check_numbers(self, position: Mapping[int, int]) -> None:
        for number, task in enumerate(self.order):
            for other in range(task):
                ready = all(position[parent] < number for parent in self.parents[other])
                if position[other] > number and ready:
                    self.fault("V4", f"task {task} is decided before {other}, which could be", task)

    def _ranks(self) -> list[float]:
        """Return seconds from the start of each task to the end, at the best places."""
        instance = self.instance
        rank = []
        for i, work in enumerate(self.work):
            remote = min(
                self.upload[i] / up + work / speed + self.output[i] / down
                for up, speed, down in zip(self.up_rate, self.speed, self.down_rate, strict=True)
            )
            rank.append(min(work / instance.device_speed, remote))
        own = rank.copy()
        # Children are decided behind their parents, or a fault has been noted.
        for child in reversed(self.order):
            for parent in self.parents[child]:
                rank[parent] = max(rank[parent], own[parent] + rank[child])
        return rank

    def decide(self, task: int) -> None:
        """Check the times of a task, given those of the tasks before."""
        if self.place[task] == 0:
            self._decide_locally(task)
        else:
            self._decide_remotely(task, self.place[task] - 1)

    def _decide_locally(self, task: int) -> None:
        start, end, *rest = self.times[task]
        inputs = max((self._on_device(parent) for parent in self.parents[task]), default=0.0)
        self._lasts(task, "computing", start, end, self.work[task] / self.instance.device_speed)
        self._begins("V6", task, "computing", start, inputs, self.free_device)
        if any(rest):
            self.fault("V3", f"task {task} is on the device, yet has times of a server", task)
        self.free_device = end

    def _decide_remotely(self, task: int, server: int) -> None:
        local_start, local_end, up, sent, start, end, back = self.times[task]
        parents = self.parents[task]
        ready = max((self._sendable(parent) for parent in parents), default=0.0)
        inputs = max((self._at_server(parent, server) for parent in parents), default=0.0)
        self._lasts(task, "upload", up, sent, self.upload[task] / self.up_rate[server])
        self._lasts(task, "computing", start, end, self.work[task] / self.speed[server])
        self._lasts(task, "download", end, back, self.output[task] / self.down_rate[server])
        self._begins("V7", task, "upload", up, ready, self.free_uplink)
        self._begins("V6", task, "computing", start, max(inputs, sent), self.free_server[server])
        if local_start or local_end:
            self.fault("V3", f"task {task} is on a server, yet has times of the device", task)
        self.free_server[server] = end
        if parents or not self.published:
            self.free_uplink = sent

    def _on_device(self, task: int) -> float:
        """Return when the result of a task is on the device."""
        return self.times[task][1] if self.place[task] == 0 else self.times[task][6]

    def _sendable(self, task: int) -> float:
        """Return when uploads of the children of a task can begin."""
        return self.times[task][1] if self.place[task] == 0 else self.times[task][3]

    def _at_server(self, task: int, server: int) -> float:
        """Return when the result of a task is at a server; from the device it comes by upload."""
        if self.place[task] == 0:
            return 0.0
        origin = self.place[task] - 1
        moved = 0.0 if origin == server else self.output[task] / self.instance.link[origin, server]
        return float(self.times[task][5] + moved)

    def _lasts(self, task: int, what: str, start: float, end: float, length: float) -> None:
        if abs(end - start - length) > TOLERANCE * self.unit:
            self.fault("V3", f"task {task}: {what} takes {end - start:g} s, not {length:g}", task)

    def _begins(
        self, code: str, task: int, what: str, start: float, inputs: float, free: float
    ) -> None:
        """Check that something begins as soon as its inputs are there and the resource is free."""
        slack = TOLERANCE * self.unit
        if start < inputs - slack:
            self.fault("V8", f"task {task}: {what} begins at {start:g} s, before {inputs:g}", task)
        elif abs(start - max(inputs, free)) > slack:
            expected = max(inputs, free)
            self.fault(code, f"task {task}: {what} begins at {start:g} s, not {expected:g}", task)

    def check_totals(self) -> None:
        """Compute makespan and energy, and compare them with what the schedule says."""
        self.makespan = max(self._on_device(task) for task in self.order)
        self.energy = math.fsum(self._joules(task) for task in self.order)
        for code, what, told, computed in (
            ("V10", "makespan", self.told_makespan, self.makespan),
            ("V9", "energy", self.told_energy, self.energy),
        ):
            if not math.isclose(told, computed, rel_tol=TOLERANCE):
                self.fault(code, f"{what}: found {told:g}, expected {computed:g}")

    def _joules(self, task: int) -> float:
        instance, place = self.instance, self.place[task]
        if place == 0:
            return self.work[task] / instance.device_speed * instance.device_power
        sent = self.upload[task] / self.up_rate[place - 1] * instance.transmit_power
        received = self.output[task] / self.down_rate[place - 1] * instance.receive_power
        return float(sent + received)
