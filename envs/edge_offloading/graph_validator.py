"""Independent check of a schedule of dependent tasks; shares no code with the compiled kernel.

The decisions are replayed in their order, in plain Python, from the instance and from where tasks
were placed; every fault found is reported, not the first only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.report import ValidationReport, Violation

__all__ = ["GRAPH_VIOLATION_CODES", "validate_graphs"]

GRAPH_VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V2": "a task is placed where nothing is",
    "V3": "a task's times are not upload and transfers, then computation",
    "V4": "a task is placed at another moment than when its last parent ends, or its job comes",
    "V6": "cores do not take tasks in the order of the decisions, or more tasks than they are",
    "V7": "uploads of a device overlap",
    "V8": "a task begins before the results of its parents are there",
    "V9": "an energy is not that of the formulas",
    "V10": "a reward is not the growth of the predicted end, or the objective not the sum",
}
"""What each code means."""

_COLUMNS = ("decided", "uploaded", "data", "began", "ended", "back", "energy", "delay_reward")
_TOLERANCE = 1e-9


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate_graphs(instance: GraphInstance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule of dependent tasks against its instance.

    Args:
        instance: The instance.
        schedule: As in the environment's ``info["schedule"]``: arrays (N,), one entry a task:
            ``place`` (S: the device), ``decided``, ``uploaded`` (-1: nothing is), ``data``,
            ``began``, ``ended``, ``back`` in seconds, ``energy`` in joules, ``delay_reward`` in
            seconds; and ``objective`` (2,).

    Returns:
        The report with all violations found; of a malformed schedule only that is reported.
    """
    try:
        replay = _Replay(instance, schedule)
    except _Malformed as error:
        nothing = np.full(2, math.nan)
        return ValidationReport(False, nothing, [Violation("malformed", str(error))])
    replay.run()
    return ValidationReport(not replay.found, replay.objective, replay.found)


def _read(schedule: Mapping[str, Any], name: str, size: int, kinds: str) -> list[Any]:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        array = np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None
    if array.shape != (size,) or array.dtype.kind not in kinds:
        raise _Malformed(
            f"{name}: found type {array.dtype} and shape {array.shape}, expected numbers ({size},)"
        )
    if not np.isfinite(array).all():
        raise _Malformed(f"{name}: found {array[~np.isfinite(array)][0]}, expected a number")
    return array.tolist()


class _Replay:
    """The episode as the places make it, and the faults met on the way."""

    def __init__(self, instance: GraphInstance, schedule: Mapping[str, Any]) -> None:
        """Read the schedule and free all cores."""
        self.instance, self.found = instance, []  # type: ignore[var-annotated]
        tasks, servers, users = instance.num_tasks, instance.num_servers, len(instance.link)
        self.place: list[int] = _read(schedule, "place", tasks, "iu")
        self.column: dict[str, list[float]] = {
            name: _read(schedule, name, tasks, "iuf") for name in _COLUMNS
        }
        self.claimed: list[float] = _read(schedule, "objective", 2, "iuf")
        self.device = servers
        self.cores = [[0.0] * int(cores) for cores in instance.cores]
        self.devices, self.radio = [[0.0] for _ in range(users)], [0.0] * users
        self.least, self.tail = self._least_times()
        self.children = [0] * tasks
        for parent in instance.edges[:, 0].tolist():
            self.children[parent] += 1
        self.ended = [0.0] * tasks
        self.job_end = [0.0] * instance.num_jobs
        self.predicted: dict[int, float] = {}
        self.energy = 0.0

    @property
    def objective(self) -> Any:
        """Mean latency and energy."""
        waits = np.array(self.job_end) - self.instance.arrival
        return np.array([waits.mean(), self.energy])

    def run(self) -> None:
        """Check everything."""
        for task, place in enumerate(self.place):
            if not 0 <= place <= self.device:
                message = f"task {task}: found place {place}, expected 0 to {self.device}"
                self.found.append(Violation("V2", message, task, place))
        if self.found:
            return
        ready = self._ready_times
        for task in sorted(range(len(self.place)), key=lambda i: (self.column["decided"][i], i)):
            self._expect("V4", "decided", task, ready(task))
            self._place(task)
        for k, words in enumerate(("mean latency", "energy")):
            expected = float(self.objective[k])
            if not math.isclose(self.claimed[k], expected, rel_tol=1e-9, abs_tol=1e-9):
                message = f"objective, {words}: found {self.claimed[k]!r}, expected {expected!r}"
                self.found.append(Violation("V10", message))

    def _expect(self, code: str, name: str, task: int, expected: float) -> None:
        found = self.column[name][task]
        if not math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=1e-7):
            message = f"task {task}, {name}: found {found!r}, expected {expected!r}"
            self.found.append(Violation(code, message, task, self.place[task]))

    def _least_times(self) -> tuple[list[float], list[float]]:
        """Return the least time of each task, and of what has to follow it."""
        instance = self.instance
        fastest = max(float(instance.frequency.max()), instance.device_hz)
        least = (instance.cycles / fastest).tolist()
        tail = [0.0] * len(least)
        for task in reversed(range(len(least))):
            for parent in instance.parents[task]:
                tail[parent] = max(tail[parent], least[task] + tail[task])
        return least, tail

    def _ready_times(self, task: int) -> float:
        """Return when a task can be placed."""
        parents = self.instance.parents[task]
        if parents:
            return max(self.ended[parent] for parent in parents)
        return float(self.instance.arrival[self.instance.job[task]])

    def _place(self, task: int) -> None:
        """Let one decision happen."""
        instance, place = self.instance, self.place[task]
        job = int(instance.job[task])
        user = int(instance.source[job])
        joules = self._bring_data(task, user)
        seconds = float(instance.cycles[task])
        if place == self.device:
            cores, seconds = self.devices[user], seconds / instance.device_hz
            joules += instance.device_watt * seconds
        else:
            cores, seconds = self.cores[place], seconds / float(instance.frequency[place])
        core = min(range(len(cores)), key=lambda c: (cores[c], c))
        begin = max(self.column["data"][task], cores[core])
        self._expect("V6", "began", task, begin)
        end = begin + seconds
        cores[core] = self.ended[task] = end
        self._expect("V3", "ended", task, end)
        if self.children[task] == 0 and place != self.device:
            back = float(instance.output[task]) / float(instance.link[user, place])
            joules += instance.receive_watt * back
            end += back
        self._expect("V3", "back", task, end)
        self.job_end[job] = max(self.job_end[job], end)
        self._expect("V9", "energy", task, joules)
        self.energy += joules
        self._check_reward(task, job, end)

    def _bring_data(self, task: int, user: int) -> float:
        """Check when the data of a task are there; return what that costs the device."""
        instance, place, now = self.instance, self.place[task], self.column["decided"][task]
        upload, arrives, joules = 0.0, now, 0.0
        if place != self.device:
            upload = float(instance.input[task])
        for parent in instance.parents[task]:
            at, bits = self.place[parent], float(instance.output[parent])
            if at == place:
                continue
            if at == self.device:
                upload += bits
            elif place == self.device:
                seconds = bits / float(instance.link[user, at])
                joules += instance.receive_watt * seconds
                arrives = max(arrives, now + seconds)
            else:
                arrives = max(arrives, now + bits / float(instance.wire[at, place]))
        uploaded = -1.0
        if upload > 0.0:
            seconds = upload / float(instance.link[user, place])
            uploaded = max(now, self.radio[user]) + seconds
            self.radio[user] = uploaded
            joules += instance.send_watt * seconds
            arrives = max(arrives, uploaded)
        self._expect("V7", "uploaded", task, uploaded)
        self._expect("V8", "data", task, arrives)
        return joules

    def _check_reward(self, task: int, job: int, end: float) -> None:
        """The reward is minus the growth of the predicted latency of the job."""
        arrival, before = float(self.instance.arrival[job]), self.predicted.get(job)
        growth = 0.0
        if before is None:
            tasks = [i for i in range(len(self.place)) if self.instance.job[i] == job]
            before = arrival + max(self.least[i] + self.tail[i] for i in tasks)
            growth = before - arrival
        self.predicted[job] = max(before, end + self.tail[task])
        growth += self.predicted[job] - before
        found = self.column["delay_reward"][task]
        if not math.isclose(found, -growth, rel_tol=1e-9, abs_tol=1e-6):
            message = f"task {task}, delay_reward: found {found!r}, expected {-growth!r}"
            self.found.append(Violation("V10", message, task, self.place[task]))
