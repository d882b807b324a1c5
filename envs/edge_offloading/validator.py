"""Independent check of a schedule; shares no code with the compiled kernel.

A schedule of independent tasks is judged from the instance alone: servers are played again with
residual sizes that are updated at every event (`replay`), and every fault that is found is
reported, not the first only. Schedules of other families are passed on to their validators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import replay
from dispatchgym.envs.edge_offloading.families import part_of
from dispatchgym.envs.edge_offloading.instance import Instance, OffloadInstance
from dispatchgym.envs.edge_offloading.report import ValidationReport, Violation

__all__ = ["VIOLATION_CODES", "check_observation", "validate"]

FloatArray = npt.NDArray[np.float64]

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V1": "a task that can be sent is not, or a task is sent that cannot be",
    "V2": "a task is sent to a server that does not exist",
    "V3": "an upload does not take the time of its radio, backhaul and latency",
    "V4": "tasks are not sent one a slot, in the order of the queue, as early as they can be",
    "V5": "a server that is shared does not compute its tasks at equal shares of its speed",
    "V6": "a server does not take its tasks one by one in the order of their coming",
    "V9": "energies of transmission or computation are not those of the formulas",
    "V10": "a reward is not what the decision caused, or rewards do not sum to the objective",
    "V13": "an observation does not show the servers as they are",
}
"""What each code means; V7, V8, V11 and V12 concern other families, V14 is a test."""

_TIMES = ("sent", "uploaded", "began", "ended")
_COLUMNS = (*_TIMES, "transmission", "computation", "delay_reward", "energy_reward")
_TOLERANCE = 1e-9
_TOTAL_TOLERANCE = 1e-6


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate(instance: Instance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: The instance.
        schedule: As in the environment's ``info["schedule"]``. For independent tasks: arrays
            (n,), one entry for each task that was sent, in the order of the queue: ``server``,
            ``sent``, ``uploaded``, ``began``, ``ended`` in seconds, ``transmission`` and
            ``computation`` in joules, ``delay_reward`` and ``energy_reward``, unscaled; and
            ``objective`` (2,).

    Returns:
        The report with all violations found; of a malformed schedule only that is reported.

    Raises:
        ParameterError: `schedule` is not a mapping or `instance` is no Instance.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(schedule, Mapping):
        raise ParameterError(f"schedule: found {type(schedule).__name__}, expected a mapping")
    return part_of(instance.family, "validate")(instance, schedule)


def validate_slots(instance: OffloadInstance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Return `validate` of independent tasks."""
    try:
        check = _Check(instance, schedule)
    except _Malformed as error:
        nothing = np.full(2, math.nan)
        return ValidationReport(False, nothing, [Violation("malformed", str(error))])
    check.run()
    return ValidationReport(not check.found, check.objective, check.found)


# ------------------------------------------------------------------------------- reading


def _read(schedule: Mapping[str, Any], name: str, kinds: str) -> npt.NDArray[Any]:
    """Return a one-dimensional array of numbers."""
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        array = np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None
    if array.ndim != 1 or (array.size and array.dtype.kind not in kinds):
        raise _Malformed(
            f"{name}: found type {array.dtype} and shape {array.shape}, expected numbers (n,)"
        )
    if not np.isfinite(array.astype(np.float64)).all():
        raise _Malformed(f"{name}: found {array[~np.isfinite(array)][0]}, expected a number")
    return array


class _Check:
    """One schedule, and the faults met on the way."""

    def __init__(self, instance: OffloadInstance, schedule: Mapping[str, Any]) -> None:
        """Read the schedule."""
        self.instance = instance
        self.found: list[Violation] = []
        self.server: list[int] = _read(schedule, "server", "iu").tolist()
        columns = {name: _read(schedule, name, "iuf") for name in _COLUMNS}
        for name, column in columns.items():
            if len(column) != len(self.server):
                raise _Malformed(
                    f"{name}: found {len(column)} entries, expected {len(self.server)} as of server"
                )
        self.column: dict[str, list[float]] = {
            name: column.astype(float).tolist() for name, column in columns.items()
        }
        claimed = _read(schedule, "objective", "iuf")
        if claimed.shape != (2,):
            raise _Malformed(f"objective: found {len(claimed)} numbers, expected 2")
        self.claimed: list[float] = claimed.astype(float).tolist()
        self.arrival = np.array(self.column["uploaded"])
        self.bits = instance.bits[: len(self.server)]
        self.speed = instance.frequency / instance.cycles_per_bit
        self.objective = np.array(
            [
                sum(self.column["ended"]) - sum(self.column["sent"]),
                sum(self.column["transmission"]) + sum(self.column["computation"]),
            ]
        )

    def run(self) -> None:
        """Check everything."""
        if not self._check_servers():
            return
        self._check_queue()
        self._check_uploads()
        self._check_energy()
        self._check_computation()
        self._check_rewards()

    def _note(self, code: str, message: str, task: int | None = None) -> None:
        server = None if task is None else self.server[task]
        self.found.append(Violation(code, message, task, server))

    def _expect(self, code: str, name: str, task: int, expected: float) -> None:
        found = self.column[name][task]
        if not math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            self._note(code, f"task {task}, {name}: found {found!r}, expected {expected!r}", task)

    # -------------------------------------------------------------------- rules

    def _check_servers(self) -> bool:
        """Tell whether all tasks and servers exist."""
        instance = self.instance
        if len(self.server) > instance.num_tasks:
            message = f"found {len(self.server)} tasks sent, expected at most {instance.num_tasks}"
            self._note("V1", message)
        for task, server in enumerate(self.server):
            if not 0 <= server < instance.num_servers:
                message = f"task {task}: found server {server}, expected 0 to "
                self.found.append(
                    Violation("V2", f"{message}{instance.num_servers - 1}", task, server)
                )
        return not self.found

    def _check_queue(self) -> None:
        """One task a slot: each is sent in the first slot after its release and its forerunner."""
        instance, slot, due = self.instance, -1, []
        for release in instance.release.tolist():
            slot += 1
            while slot * instance.slot < release:
                slot += 1
            if slot >= instance.horizon:
                break
            due.append(slot * instance.slot)
        if len(due) != len(self.server):
            self._note("V1", f"found {len(self.server)} tasks sent, expected {len(due)}")
        for task in range(min(len(due), len(self.server))):
            self._expect("V4", "sent", task, due[task])

    def _check_uploads(self) -> None:
        instance = self.instance
        for task, server in enumerate(self.server):
            bits = float(instance.bits[task])
            seconds = bits / float(instance.uplink[task, server]) + float(instance.latency[server])
            if instance.backhaul[server] > 0:
                seconds += bits / float(instance.backhaul[server])
            self._expect("V3", "uploaded", task, self.column["sent"][task] + seconds)

    def _check_energy(self) -> None:
        instance = self.instance
        for task, server in enumerate(self.server):
            bits, rate = float(instance.bits[task]), float(instance.uplink[task, server])
            self._expect("V9", "transmission", task, instance.power * bits / rate)
            cycles = instance.cycles_per_bit * bits
            joules = instance.capacitance * cycles * float(instance.frequency[server]) ** 2
            self._expect("V9", "computation", task, joules)

    def _check_computation(self) -> None:
        for server in range(self.instance.num_servers):
            tasks = [task for task, at in enumerate(self.server) if at == server]
            fifo = bool(self.instance.fifo[server])
            spans = replay.spans(self.arrival[tasks], self.bits[tasks], self.speed[server], fifo)
            code = "V6" if fifo else "V5"
            for task, began, ended in zip(tasks, *(found.tolist() for found in spans), strict=True):
                self._expect(code, "began", task, began)
                self._expect(code, "ended", task, ended)

    def _check_rewards(self) -> None:
        """Each reward is the delay of all tasks of the server with it, less that without it."""
        servers = np.array(self.server, np.int64)
        sums = replay.ends_of_prefixes(
            servers, self.arrival, self.bits, self.speed, self.instance.fifo
        )
        before = [0.0] * self.instance.num_servers
        for task, (server, ends) in enumerate(zip(self.server, sums.tolist(), strict=True)):
            caused = ends - before[server] - self.column["sent"][task]
            before[server] = ends
            self._expect_total("V10", "delay_reward", task, -caused)
            joules = self.column["transmission"][task] + self.column["computation"][task]
            self._expect_total("V10", "energy_reward", task, -joules)
        for k, name in enumerate(("delay_reward", "energy_reward")):
            for words, value in (
                ("objective", self.claimed[k]),
                ("-sum of rewards", -sum(self.column[name])),
            ):
                if not math.isclose(
                    value, self.objective[k], rel_tol=_TOTAL_TOLERANCE, abs_tol=_TOLERANCE
                ):
                    self._note(
                        "V10", f"{words}[{k}]: found {value!r}, expected {self.objective[k]!r}"
                    )

    def _expect_total(self, code: str, name: str, task: int, expected: float) -> None:
        found = self.column[name][task]
        if not math.isclose(found, expected, rel_tol=_TOTAL_TOLERANCE, abs_tol=_TOTAL_TOLERANCE):
            self._note(code, f"task {task}, {name}: found {found!r}, expected {expected!r}", task)


# -------------------------------------------------------------------------- observations


def check_observation(
    instance: OffloadInstance,
    schedule: Mapping[str, Any],
    observation: Mapping[str, npt.NDArray[Any]],
) -> list[Violation]:
    """Check that an observation shows the servers as the schedule so far leaves them.

    Args:
        instance: The instance.
        schedule: What has been sent so far, as `EdgeOffloadingSimulation.schedule` gives it.
        observation: At the decision that follows.

    Returns:
        A violation ``V13`` for each fault: masks and padding that disagree, a preference that does
        not sum to one, numbers of tasks or residual sizes of a server that are not its own.
    """
    rows, found = observation["servers"], []
    servers = instance.num_servers
    mask = observation["action_mask"]
    if mask[:servers].min() != mask[:servers].max() or mask[servers:].any() or rows[servers:].any():
        found.append(Violation("V13", "action_mask: does not agree with the servers that exist"))
    if abs(float(np.sum(observation["preference"])) - 1.0) > 1e-6:
        found.append(Violation("V13", "preference: does not sum to one"))
    if not mask.any():
        return found
    now = _time_of(instance, len(schedule["server"]))
    for server in range(servers):
        left, coming = _residuals(instance, schedule, server, now)
        histogram = np.zeros(60)
        for bits in left:
            histogram[min(int(bits / 1e6 + 1e-9), 59)] += 1
        shown = rows[server]
        if shown[6] != len(left) or shown[67] != coming or (shown[7:67] != histogram).any():
            found.append(
                Violation(
                    "V13",
                    f"servers[{server}]: found {shown[6]:g} tasks, {shown[67]:g} uploads and the "
                    f"bins {np.flatnonzero(shown[7:67])}, expected {len(left)}, {coming} and "
                    f"{np.flatnonzero(histogram)}",
                    server=server,
                )
            )
    return found


def _time_of(instance: OffloadInstance, task: int) -> float:
    """Return when a task is sent."""
    slot = -1
    for release in instance.release[: task + 1].tolist():
        slot += 1
        while slot * instance.slot < release:
            slot += 1
    return slot * instance.slot


def _residuals(
    instance: OffloadInstance, schedule: Mapping[str, Any], server: int, now: float
) -> tuple[list[float], int]:
    """Return what is left of the tasks that a server has at a time, and how many are uploaded."""
    tasks = np.flatnonzero(schedule["server"] == server).tolist()
    uploaded = np.asarray(schedule["uploaded"])
    here = sorted((float(uploaded[task]), task) for task in tasks if uploaded[task] <= now)
    speed = float(instance.frequency[server]) / instance.cycles_per_bit
    left: dict[int, float] = {}
    clock = 0.0
    for arrival, task in [*here, (now, -1)]:
        while left:
            active = list(left)[:1] if instance.fifo[server] else list(left)
            share = speed / len(active)
            first = min(active, key=lambda entry: left[entry])
            step = min(left[first] / share, arrival - clock)
            ended = left[first] / share <= arrival - clock
            for entry in active:
                left[entry] -= share * step
            clock += step
            if not ended:
                break
            del left[first]
        clock = arrival
        if task >= 0:
            left[task] = float(instance.bits[task])
    return list(left.values()), len(tasks) - len(here)
