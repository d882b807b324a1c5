"""Independent check of a run on a system on chip; shares no code with the compiled kernel.

A schedule is judged from the instance and the seed of its arrivals and durations, which are drawn
again here, in plain Python and whole microseconds. Every fault found is reported, not the first
only. After a fault the check goes on with what the schedule says, so that one fault does not drag
others behind it without need.

A task that finishes is noticed at once, but for instances with `strict_ds3`, where the public
simulators are up to a microsecond late; until then it holds its processing element (PE).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.soc.instance import Instance, JobProfile

__all__ = [
    "FREQUENCY_COLUMNS",
    "JOB_COLUMNS",
    "TASK_COLUMNS",
    "VIOLATION_CODES",
    "ValidationReport",
    "Violation",
    "validate",
]

TASK_COLUMNS = ("job", "task", "pe", "ready", "assigned", "data_time", "start", "finish")
"""Columns of a schedule's ``tasks``."""
JOB_COLUMNS = ("job", "profile", "generated", "head_start", "finish")
"""Columns of a schedule's ``jobs``."""
FREQUENCY_COLUMNS = ("time", "cluster", "mhz")
"""Columns of a schedule's ``frequencies``."""

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V1": "a task of a finished job is missing, a row is out of order, or a job is left undone",
    "V2": "a task is on a processing element that cannot run it",
    "V3": "a task takes another time than its nominal, given or drawn duration, at the frequencies "
    "that the schedule says",
    "V4": "a task starts or gets ready before its job has arrived",
    "V5": "a task is ready before its predecessors have finished, or starts before their data come",
    "V6": "two tasks overlap on a processing element",
    "V7": "a task was started more than once",
    "V8": "more jobs in the system than its capacity, or an arrival that the seed does not make",
    "V9": "a task waits although it could start, or one behind it in the order starts before it",
    "V10": "a number of the result is not what the rows add up to",
    "V11": "a job is quicker than its optimum alone, or the elements are busier than time allows",
    "V12": "the governor would not have changed a frequency so, or would have changed another",
}
"""What each code means."""

_VALUE_LIMIT = 1 << 52
_MODES = ("commit_ready", "order_only", "map_only", "late_binding")
_NUMBERS = ("latency_sum", "completed", "injected", "end_time")
_ARRIVAL, _PROFILE, _NOISE_1, _NOISE_2 = range(4)
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Violation:
    """One fault of a schedule.

    Attributes:
        code: One of `VIOLATION_CODES`.
        message: What was found and what is expected, in words.
        job: Job concerned, or None.
        task: Task concerned, or None.
    """

    code: str
    message: str
    job: int | None = None
    task: int | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation.
        objective: Mean latency in microseconds of the jobs that count, from their tasks; nan if
            none does or the schedule is malformed.
        violations: All faults.
    """

    valid: bool
    objective: float
    violations: list[Violation] = field(default_factory=list)


class _Task(NamedTuple):
    """One row of ``tasks``; see `TASK_COLUMNS`."""

    job: int
    task: int
    pe: int
    ready: int
    assigned: int
    data_time: int
    start: int
    finish: int


class _Job(NamedTuple):
    """One row of ``jobs``; see `JOB_COLUMNS`."""

    job: int
    profile: int
    generated: int
    head_start: int
    finish: int


class _Change(NamedTuple):
    """One row of ``frequencies``; see `FREQUENCY_COLUMNS`."""

    time: int
    cluster: int
    mhz: int


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate(instance: Instance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: Platform, job profiles and workload.
        schedule: As in the environment's ``info["schedule"]``: ``tasks`` (n, 8), see
            `TASK_COLUMNS`, the started tasks in order of their start, finish -1 if not noticed
            before the end; ``jobs`` (m, 5), see `JOB_COLUMNS`, the arrived jobs in their order,
            head_start and finish -1 if it did not come to that; ``seed`` of arrivals and
            durations; ``mode`` of deciding; ``latency_sum``, ``completed`` and ``injected`` of
            the jobs that count; ``end_time``; ``busy`` (P,) microseconds of each processing
            element. Rows of -1 are padding. Where ``planned`` is given and true, tasks were held
            back for others by a plan, and the order of starts is free. With the governor
            ``ondemand`` also ``frequencies`` (k, 3), see `FREQUENCY_COLUMNS`: the changes by time,
            then cluster; clusters begin at their highest frequency.

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
        run = _Run(instance, schedule)
    except _Malformed as error:
        return ValidationReport(False, math.nan, [Violation("malformed", str(error))])
    run.check()
    return ValidationReport(not run.found, run.objective, run.found)


# ------------------------------------------------------------------------------- reading


def _array(schedule: Mapping[str, Any], name: str) -> Any:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        return np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None


def _read_integer(schedule: Mapping[str, Any], name: str, high: int = _VALUE_LIMIT) -> int:
    array = _array(schedule, name)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise _Malformed(
            f"{name}: found type {array.dtype} and shape {array.shape}, expected one whole number"
        )
    value = int(array.item())
    if not 0 <= value <= high:
        raise _Malformed(f"{name}: found {value}, expected a whole number in 0..{high}")
    return value


def _read_rows(schedule: Mapping[str, Any], name: str, columns: tuple[str, ...]) -> list[list[int]]:
    """Return the rows without padding; times may be -1, but nothing else may be negative."""
    array = _array(schedule, name)
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != len(columns):
        raise _Malformed(
            f"{name}: found type {array.dtype} and shape {array.shape}, "
            f"expected whole numbers (n, {len(columns)})"
        )
    rows = [row for row in array.tolist() if any(value != -1 for value in row)]
    for number, row in enumerate(rows):
        for column, value in zip(columns, row, strict=True):
            low = -1 if column in ("finish", "head_start") else 0
            if not low <= value <= _VALUE_LIMIT:
                raise _Malformed(
                    f"{name}[{number}].{column}: found {value}, expected at least {low}"
                )
    return rows


def _below(value: int, limit: int, where: str) -> None:
    if value >= limit:
        raise _Malformed(f"{where}: found {value}, expected 0 to {limit - 1}")


# ---------------------------------------------------------------------- random numbers


def _mix(x: int) -> int:
    """Scramble a 64-bit number by the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    z = (x + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _uniform(seed: int, stream: int, a: int, b: int) -> float:
    """Return the keyed uniform number in [0, 1)."""
    x = _mix((seed + 0x9E3779B97F4A7C15 * (stream + 1)) & _MASK)
    x = _mix(x ^ (a * 0xD1B54A32D192ED03 & _MASK))
    x = _mix(x ^ (b * 0xABC98388FB8FAC03 & _MASK))
    return (x >> 11) * 2.0**-53


def _noisy(seed: int, noise: float, job: int, task: int, nominal: int) -> int:
    """Return a duration: normal by Box and Muller (1958), rounded, at least 1."""
    radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(seed, _NOISE_1, job, task)))
    normal = radius * math.cos(2.0 * math.pi * _uniform(seed, _NOISE_2, job, task))
    return max(round(nominal * (1.0 + noise * normal)), 1)


# --------------------------------------------------------------------------------- the run


class _Run:
    """A schedule that can be read, and the faults found in it."""

    def __init__(self, instance: Instance, schedule: Mapping[str, Any]) -> None:
        """Read the schedule."""
        self.instance = instance
        self.workload = instance.workload
        self.found: list[Violation] = []
        self.tasks = [_Task(*row) for row in _read_rows(schedule, "tasks", TASK_COLUMNS)]
        self.jobs = [_Job(*row) for row in _read_rows(schedule, "jobs", JOB_COLUMNS)]
        self.seed = _read_integer(schedule, "seed", 2**63 - 1)
        self.claimed = {name: _read_integer(schedule, name) for name in _NUMBERS}
        self.busy = self._read_busy(schedule)
        self.mode = str(_array(schedule, "mode"))
        if self.mode not in _MODES:
            raise _Malformed(f"mode: found {self.mode!r}, expected one of {', '.join(_MODES)}")
        self.planned = bool(np.any(schedule.get("planned", False)))
        self.governed = self.workload.governor == "ondemand"
        self.changes = self._read_changes(schedule)
        self._check_indices()
        self.cut = self.workload.protocol == "legacy"
        self.end = self.workload.horizon if self.cut else self.claimed["end_time"]

    def _read_busy(self, schedule: Mapping[str, Any]) -> list[int]:
        array = _array(schedule, "busy")
        if array.dtype.kind not in "iu" or array.shape != (self.instance.num_pes,):
            raise _Malformed(
                f"busy: found type {array.dtype} and shape {array.shape}, "
                f"expected {self.instance.num_pes} whole numbers"
            )
        return [int(value) for value in array]

    def _read_changes(self, schedule: Mapping[str, Any]) -> list[_Change]:
        """Return the changes of frequencies; there are none without a governor."""
        if not self.governed and "frequencies" not in schedule:
            return []
        if _array(schedule, "frequencies").size == 0:
            return []
        changes = [_Change(*row) for row in _read_rows(schedule, "frequencies", FREQUENCY_COLUMNS)]
        if changes and not self.governed:
            raise _Malformed(f"frequencies: found {len(changes)}, expected none without a governor")
        for number, change in enumerate(changes):
            where = f"frequencies[{number}]"
            _below(change.cluster, self.instance.platform.num_clusters, f"{where}.cluster")
            points = [mhz for mhz, _ in self.instance.platform.clusters[change.cluster].opp]
            if change.mhz not in points:
                raise _Malformed(f"{where}.mhz: found {change.mhz}, expected one of {points}")
            before = changes[number - 1] if number else change
            if change[:2] <= before[:2] and number:
                raise _Malformed(f"{where}: found after time {before.time}, expected order")
        return changes

    def _check_indices(self) -> None:
        """Refuse jobs, profiles, tasks and processing elements that do not exist."""
        for number, job in enumerate(self.jobs):
            if job.job != number:
                raise _Malformed(f"jobs[{number}].job: found {job.job}, expected {number}")
            _below(job.profile, len(self.instance.profiles), f"jobs[{number}].profile")
        for number, row in enumerate(self.tasks):
            where = f"tasks[{number}]"
            _below(row.job, len(self.jobs), f"{where}.job")
            _below(row.task, self.profile(row.job).num_tasks, f"{where}.task")
            _below(row.pe, self.instance.num_pes, f"{where}.pe")

    def check(self) -> None:
        """Apply every rule."""
        self._check_rows()
        for row in self.record.values():
            self._check_task(row)
        self._check_completeness()
        self._check_elements()
        if self.governed:
            self._check_governor()
        self._check_arrivals()
        if not self.planned and self.mode != "late_binding":
            self._check_conservation()
        self._check_numbers()
        self._check_bounds()

    # -------------------------------------------------------------------- what is derived

    def profile(self, job: int) -> JobProfile:
        """Return the profile of a job."""
        return self.instance.profiles[self.jobs[job].profile]

    @cached_property
    def record(self) -> dict[tuple[int, int], _Task]:
        """(job, task) -> its first row."""
        first: dict[tuple[int, int], _Task] = {}
        for row in self.tasks:
            first.setdefault((row.job, row.task), row)
        return first

    @cached_property
    def departure(self) -> dict[int, int]:
        """Job -> when it leaves the system, for those that do before the end."""
        last: dict[int, list[int]] = defaultdict(list)
        for row in self.record.values():
            last[row.job].append(self._notice(row))
        return {
            job: max(times)
            for job, times in last.items()
            if len(times) == self.profile(job).num_tasks and self._happens(max(times))
        }

    @cached_property
    def finish(self) -> dict[int, int]:
        """Job -> its finish, for those that leave the system."""
        latest: dict[int, int] = defaultdict(int)
        for row in self.record.values():
            latest[row.job] = max(latest[row.job], self._finish(row))
        return {job: latest[job] for job in self.departure}

    @cached_property
    def counted(self) -> list[int]:
        """Jobs whose latency counts."""
        first, begin = self.workload.warm_up_jobs, self.workload.warm_up
        return [job for job, end in self.finish.items() if job >= first and end >= begin]

    @cached_property
    def latency_sum(self) -> int:
        """Latencies of the jobs that count."""
        return sum(self.finish[job] - self.jobs[job].generated for job in self.counted)

    @property
    def objective(self) -> float:
        """Mean latency."""
        return self.latency_sum / len(self.counted) if self.counted else math.nan

    def _happens(self, time: int) -> bool:
        """Whether something due at a time happens before a run is cut."""
        return time < self.end or not self.cut

    def _duration(self, row: _Task) -> int:
        """Return how long a task has to take; 0 where its element cannot run it."""
        nominal = max(int(self.profile(row.job).duration[row.task, row.pe]), 0)
        given = self.workload.durations
        if given is not None:
            realised = int(given[row.job, row.task]) if row.job < len(given) else -1
            return realised if realised >= 0 else nominal
        noise = self.workload.noise
        if noise == 0.0 or nominal == 0:
            return nominal
        return _noisy(self.seed, noise, row.job, row.task, nominal)

    def _due(self, row: _Task) -> int:
        """Return when a task has to finish."""
        if not self.governed:
            return row.start + self._duration(row)
        return self._worked_off(row)

    def _worked_off(self, row: _Task) -> int:
        """Return the first whole microsecond at which frequency over time makes up the work.

        The work is the duration at the highest frequency times that frequency.
        """
        cluster = int(self.instance.platform.pe_cluster[row.pe])
        times, rates = self.speeds[cluster]
        left = self._duration(row) * rates[0]
        now, place = row.start, bisect_right(times, row.start) - 1
        while place + 1 < len(times) and left > (times[place + 1] - now) * rates[place]:
            left -= (times[place + 1] - now) * rates[place]
            place += 1
            now = times[place]
        return now + -(-left // rates[place])

    @cached_property
    def speeds(self) -> list[tuple[list[int], list[int]]]:
        """For each cluster since when which frequency holds; the highest at the beginning."""
        found = [([0], [cluster.mhz]) for cluster in self.instance.platform.clusters]
        for change in self.changes:
            times, rates = found[change.cluster]
            times.append(change.time)
            rates.append(change.mhz)
        return found

    def _finish(self, row: _Task) -> int:
        """Return the finish of a task; the schedule does not say that of one that was cut."""
        return row.finish if row.finish >= 0 else self._due(row)

    def _notice(self, row: _Task) -> int:
        """Return when the finish of a task is noticed."""
        finish, period = self._finish(row), self.workload.sampling_period
        took = finish - row.start
        late = took <= 1 or (took == 2 and row.start % period == period - 1)
        return finish + (self.workload.strict_ds3 and late)

    def _sources(self, row: _Task) -> Iterator[tuple[_Task, int]]:
        """Yield the rows of a task's predecessors that have one, and the volumes."""
        profile = self.profile(row.job)
        begin, end = profile.predecessor_start[row.task : row.task + 2]
        for edge in range(begin, end):
            source = self.record.get((row.job, int(profile.predecessors[edge])))
            if source is not None:
                yield source, int(profile.predecessor_volume[edge])

    # -------------------------------------------------------------------- rules on tasks

    def _check_rows(self) -> None:
        """Rows come in the order of their starts, one for each task."""
        latest, seen = 0, set()
        for number, row in enumerate(self.tasks):
            if row.start < latest:
                self._note("V1", f"start: found {row.start} after {latest}, expected order", row)
            latest = max(latest, row.start)
            if (row.job, row.task) in seen:
                self._note("V7", f"found again in row {number}, expected one row", row)
            seen.add((row.job, row.task))

    def _check_task(self, row: _Task) -> None:
        if self.profile(row.job).duration[row.task, row.pe] < 0:
            self._note("V2", f"pe: found {row.pe}, expected one that can run the task", row)
        self._check_duration(row)
        generated = self.jobs[row.job].generated
        for name in ("ready", "start"):
            if getattr(row, name) < generated:
                found = getattr(row, name)
                self._note("V4", f"{name}: found {found}, expected not before {generated}", row)
        self._check_readiness(row)
        self._check_data(row)

    def _check_duration(self, row: _Task) -> None:
        expected = self._due(row)
        cut = not self._happens(self._notice(row._replace(finish=expected)))
        if cut:
            expected = -1
        if row.finish != expected:
            self._note("V3", f"finish: found {row.finish}, expected {expected}", row)
        if not self._happens(row.start):
            self._note("V3", f"start: found {row.start}, expected before {self.end}", row)

    def _check_readiness(self, row: _Task) -> None:
        """A task is ready when the finish of its last predecessor is noticed."""
        sources = list(self._sources(row))
        begin, end = self.profile(row.job).predecessor_start[row.task : row.task + 2]
        if len(sources) < end - begin:
            self._note("V5", f"found {len(sources)} of {end - begin} predecessors started", row)
        expected = max((self._notice(source) for source, _ in sources), default=-1)
        if self.workload.comm_mode == "shared_memory":
            for source, volume in sources:
                arrival = self._finish(source) + self._to_memory(source.pe, volume)
                expected = max(expected, arrival)
        if sources and row.ready != expected:
            self._note("V5", f"ready: found {row.ready}, expected {expected}", row)
        if not sources:
            self._check_head(row)
        late = self.mode == "late_binding" and row.assigned > row.ready
        if row.assigned != row.ready and not late:
            self._note("V5", f"assigned: found {row.assigned}, expected {row.ready}", row)

    def _check_head(self, row: _Task) -> None:
        """A first task is ready when its job is seen."""
        seen = self.seen_at.get(row.job, row.ready)
        if row.ready != seen:
            self._note("V4", f"ready: found {row.ready}, expected {seen}", row)

    def _check_data(self, row: _Task) -> None:
        """A task starts when its data are there, at the earliest."""
        expected = row.assigned
        for source, volume in self._sources(row):
            if self.workload.comm_mode == "shared_memory":
                arrival = row.assigned + self._to_memory(row.pe, volume)
            else:
                rate = float(self.instance.platform.bandwidth[source.pe, row.pe])
                late = self.mode == "late_binding"
                begin = row.assigned if late else self._finish(source)
                arrival = begin + int(volume / rate)
            expected = max(expected, arrival)
        if row.data_time != expected:
            self._note("V5", f"data_time: found {row.data_time}, expected {expected}", row)
        if row.start < expected:
            self._note("V5", f"start: found {row.start}, expected not before {expected}", row)

    def _to_memory(self, pe: int, volume: int) -> int:
        return int(volume / float(self.instance.platform.memory_bandwidth[pe]))

    # ------------------------------------------------- rules on jobs and processing elements

    def _check_completeness(self) -> None:
        """A finished job has all its tasks, and every job is finished unless the run is cut."""
        started: dict[int, int] = defaultdict(int)
        for number, _ in self.record:
            started[number] += 1
        for job in self.jobs:
            size = self.profile(job.job).num_tasks
            if (job.finish >= 0 or not self.cut) and started[job.job] < size:
                self._note_job("V1", f"found {started[job.job]} of {size} tasks", job)
        if not self.cut and len(self.jobs) != self._expected_jobs:
            message = f"jobs: found {len(self.jobs)}, expected {self._expected_jobs}"
            self.found.append(Violation("V1", message))

    @property
    def _expected_jobs(self) -> int:
        given = self.workload.arrivals
        if given is not None:
            return len(given)
        return self.workload.warm_up_jobs + self.workload.num_jobs

    @cached_property
    def on_element(self) -> list[list[_Task]]:
        """Rows of each processing element, by start, then in the order of the schedule."""
        groups: list[list[_Task]] = [[] for _ in range(self.instance.num_pes)]
        for row in self.tasks:
            groups[row.pe].append(row)
        return [sorted(group, key=lambda row: row.start) for group in groups]

    def _check_elements(self) -> None:
        for group in self.on_element:
            busy, holder = -1, None
            for row in group:
                finish = self._finish(row)
                if finish == row.start:
                    continue
                if row.start < busy and holder is not None:
                    other = f"task {holder.task} of job {holder.job} until {busy}"
                    message = f"start: found {row.start} on PE {row.pe}, which runs {other}"
                    self._note("V6", message, row)
                if finish > busy:
                    busy, holder = finish, row

    # -------------------------------------------------------------------- frequencies

    def _check_governor(self) -> None:
        """At each look a cluster goes to its highest frequency, one point down, or stays."""
        period = self.workload.sampling_period
        found = {change[:2]: change.mhz for change in self.changes}
        last = (self.end - 1 if self.cut else self.claimed["end_time"]) // period
        for cluster, record in enumerate(self.instance.platform.clusters):
            points = [mhz for mhz, _ in record.opp]
            level = len(points) - 1
            for number, worked in self._looks(cluster, last, len(points)):
                time, expected = number * period, level
                if 10 * worked > 8 * period:
                    expected = len(points) - 1
                elif 10 * worked < 3 * period:
                    expected = max(level - 1, 0)
                mhz = found.pop((time, cluster), points[level])
                if mhz != points[expected]:
                    self._note_frequency(time, record.name, f"{mhz}, expected {points[expected]}")
                level = points.index(mhz)
        for (time, cluster), mhz in found.items():
            name = self.instance.platform.clusters[cluster].name
            self._note_frequency(time, name, f"{mhz}, expected no change")

    def _looks(self, cluster: int, last: int, most: int) -> Iterator[tuple[int, int]]:
        """Yield the numbers of looks and the core-microseconds of work in the period before each.

        After as many looks at the same work as there are operating points nothing changes until
        the work does, and these looks are left out.
        """
        change: dict[int, int] = defaultdict(int, {1: 0})
        for row in self.record.values():
            if self.instance.platform.pe_cluster[row.pe] == cluster:
                for begin, end, work in self._periods(row.start, self._finish(row)):
                    change[begin] += work
                    change[end] -= work
        worked, begins = 0, sorted(number for number in change if number <= last)
        for begin, end in zip(begins, [*begins[1:], last + 1], strict=True):
            worked += change[begin]
            for number in range(begin, min(end, begin + most)):
                yield number, worked

    def _periods(self, start: int, finish: int) -> list[tuple[int, int, int]]:
        """Return begin, end and work of looks that see the same work of a task."""
        period = self.workload.sampling_period
        first, final = start // period + 1, (finish - 1) // period + 1
        if finish <= first * period:
            return [(first, first + 1, finish - start)]
        head, tail = first * period - start, finish - (final - 1) * period
        return [(first, first + 1, head), (first + 1, final, period), (final, final + 1, tail)]

    def _note_frequency(self, time: int, cluster: str, message: str) -> None:
        text = f"frequencies: found at {time} for cluster {cluster!r} {message}"
        self.found.append(Violation("V12", text))

    # -------------------------------------------------------------------- arrivals

    @cached_property
    def _arrivals(self) -> list[tuple[int, int]]:
        """When each job has to arrive and is seen, given when those before it leave.

        A look at a full system fails. The next one is when a job has left, or after another gap
        where the instance follows the gym's rule. Moments are two a microsecond: jobs arrive in
        the first one, those that end with a task of no length leave in the second one.
        """
        workload, given = self.workload, self.workload.arrivals
        leaving, moment = self._leaving(), 0
        looks, stamp, seen = 0, 0, 0
        result: list[tuple[int, int]] = []
        if given is not None:
            stamp = seen = int(given[0, 1])
        total = self._expected_jobs if not self.cut or given is not None else _VALUE_LIMIT
        while len(result) < total and self._happens(seen):
            moment = max(moment, 2 * seen)
            gone = bisect_right(leaving, moment)
            if len(result) - gone >= workload.capacity:
                if workload.arrival_rule == "gym" and given is None:
                    stamp = seen = seen + 1 + self._gap(looks)
                    looks += 1
                    continue
                if gone == len(leaving):
                    break
                moment = leaving[gone]
                stamp = seen = moment // 2
            result.append((stamp, seen))
            filling = workload.pseudo_steady and stamp == 0 and len(result) < workload.capacity
            following = stamp
            if given is not None:
                if len(result) < len(given):
                    following = max(stamp, int(given[len(result), 1]))
            elif not filling:
                following = stamp + self._gap(looks)
                looks += 1
            late = workload.strict_ds3 and following == stamp
            stamp, seen = following, max(seen, following + (late and not filling))
        return result

    def _leaving(self) -> list[int]:
        """Return the moments at which jobs leave the system, sorted."""
        second = {
            row.job
            for row in self.record.values()
            if row.start == self._notice(row) == self.departure.get(row.job)
        }
        return sorted(2 * time + (job in second) for job, time in self.departure.items())

    def _gap(self, look: int) -> int:
        draw = _uniform(self.seed, _ARRIVAL, look, 0)
        return int(-math.log(1.0 - draw) * self.workload.scale)

    def _drawn_profile(self, job: int) -> int:
        given = self.workload.arrivals
        if given is not None:
            return int(given[job, 0])
        draw, cumulated = _uniform(self.seed, _PROFILE, job, 0), 0.0
        for profile, chance in enumerate(self.workload.probabilities):
            cumulated += float(chance)
            if draw < cumulated:
                return profile
        return len(self.workload.probabilities) - 1

    @cached_property
    def seen_at(self) -> dict[int, int]:
        """Job -> when the scheduler sees it."""
        return {job: seen for job, (_, seen) in enumerate(self._arrivals)}

    def _check_arrivals(self) -> None:
        if len(self.jobs) != len(self._arrivals):
            found, expected = len(self.jobs), len(self._arrivals)
            self.found.append(Violation("V8", f"jobs: found {found} arrived, expected {expected}"))
        for job, (stamp, _) in zip(self.jobs, self._arrivals, strict=False):
            if job.generated != stamp:
                message = f"generated: found {job.generated}, expected {stamp}"
                self._note_job("V8", message, job)
            profile = self._drawn_profile(job.job)
            if job.profile != profile:
                message = f"profile: found {job.profile}, expected {profile}"
                self._note_job("V8", message, job)
        self._check_capacity()

    def _check_capacity(self) -> None:
        """Jobs in the system; one that leaves makes room for one that arrives at that moment."""
        changes = [(self.departure[job], 0, job) for job in self.departure]
        changes += [(self.seen_at.get(job.job, job.generated), 1, job.job) for job in self.jobs]
        inside = 0
        for time, arrives, job in sorted(changes):
            inside += 1 if arrives else -1
            if arrives and inside > self.workload.capacity:
                message = f"found {inside} jobs in the system at {time}, expected at most "
                self._note_job("V8", f"{message}{self.workload.capacity}", self.jobs[job])

    # -------------------------------------------------------------------- work conservation

    def _check_conservation(self) -> None:
        """A task starts as soon as it can; of several, one that is first in the order."""
        for group in self.on_element:
            starts = [row.start for row in group]
            for index, row in enumerate(group):
                since = max(row.assigned, row.data_time)
                first = max(bisect_left(starts, since) - 1, 0)
                self._check_wait(row, since, group[first:index])

    def _check_wait(self, row: _Task, since: int, before: list[_Task]) -> None:
        """Check that a task finds its element busy, by tasks before it, while it could start."""
        free = since
        for other in before:
            if other.start > free:
                break
            free = max(free, self._notice(other))
            overtakes = other.start >= since and other.start > row.assigned
            if overtakes and self._order(other) > self._order(row):
                found = f"task {other.task} of job {other.job}, behind it, starts at {other.start}"
                self._note("V9", f"waits since {since}, {found}, expected it to be first", row)
        if row.start > free:
            found = f"found {row.start} on PE {row.pe}, which is free"
            self._note("V9", f"start: {found}, data there, since {free}, expected {free}", row)

    def _order(self, row: _Task) -> tuple[int, ...]:
        """Return what decides who is first; tasks assigned in one call are in any order."""
        by_job = self.workload.executable_order == "job"
        return (row.job, row.assigned) if by_job else (row.assigned,)

    # -------------------------------------------------------------------- numbers and bounds

    def _check_numbers(self) -> None:
        first, begin = self.workload.warm_up_jobs, self.workload.warm_up
        heads: dict[int, int] = {}
        for row in self.record.values():
            heads[row.job] = min(heads.get(row.job, row.start), row.start)
        for job in self.jobs:
            for name, values in (("head_start", heads), ("finish", self.finish)):
                expected = values.get(job.job, -1)
                if getattr(job, name) != expected:
                    message = f"{name}: found {getattr(job, name)}, expected {expected}"
                    self._note_job("V10", message, job)
        injected = sum(job >= first and time >= begin for job, time in heads.items())
        notices = (self._notice(row) for row in self.record.values())
        end = self.end if self.cut else max(notices, default=0)
        totals = {
            "latency_sum": self.latency_sum,
            "completed": len(self.counted),
            "injected": injected,
            "end_time": end,
        }
        for name, value in totals.items():
            self._expect_number(name, self.claimed[name], value)
        for pe, group in enumerate(self.on_element):
            ended = (row for row in group if self._happens(self._notice(row)))
            busy = sum(self._finish(row) - row.start for row in ended)
            self._expect_number(f"busy[{pe}]", self.busy[pe], busy)

    def _expect_number(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            self.found.append(Violation("V10", f"{name}: found {found}, expected {expected}"))

    def _check_bounds(self) -> None:
        """With random or given durations nothing is proven of them."""
        if self.workload.noise == 0.0 and self.workload.durations is None:
            for number, finish in self.finish.items():
                job, optimum = self.jobs[number], self.profile(number).optimum
                latency = finish - job.generated
                if latency < optimum:
                    message = f"latency: found {latency}, expected at least the optimum {optimum}"
                    self._note_job("V11", message, job)
        busy, most = sum(self.busy), self.instance.num_pes * self.claimed["end_time"]
        if busy > most:
            message = f"busy: found {busy} in all, expected at most {most}"
            self.found.append(Violation("V11", message))

    # -------------------------------------------------------------------- faults

    def _note(self, code: str, message: str, row: _Task) -> None:
        where = f"task {row.task} of job {row.job}"
        self.found.append(Violation(code, f"{where}: {message}", row.job, row.task))

    def _note_job(self, code: str, message: str, job: _Job) -> None:
        self.found.append(Violation(code, f"job {job.job}: {message}", job.job))
