"""Independent check of a job-shop schedule; shares no code with the compiled kernel.

A schedule is judged from the instance and from what it says about itself: the mode, whether
swaps are allowed, and the settings and seed of the shutdowns, which are drawn again here. All
arithmetic on times is in integers, and every fault found is reported, not the first only.

Times are those of an operation's start, of the end of its processing, and of its departure
(`end`) from the machine. In blocking mode a job keeps its machine until it enters the next one
(Mascis, Pacciarelli: "Job-shop scheduling with blocking and no-wait constraints", European
Journal of Operational Research 143, 2002).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.job_shop.instance import Instance

__all__ = ["VIOLATION_CODES", "ValidationReport", "Violation", "validate"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Operation = tuple[int, int]

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "incomplete": "an operation was never started or never left its machine",
    "unknown_operation": "a time is given for an operation that does not exist",
    "release": "a job started before its release",
    "duration": "processing took more or less time than duration and pauses make",
    "departure": "a job left its machine before the end of processing, or needlessly late",
    "job_order": "an operation started before its job had left the previous one, or, without "
    "buffers, at another time",
    "capacity": "two operations were on one machine at the same time",
    "swap": "jobs exchanged machines although swaps are not allowed",
    "interruption_log": "the shutdowns reported are not those of the seed",
    "start_when_down": "an operation started on a machine that was down",
    "unload_when_down": "a job left a machine that was down and could not be unloaded",
    "makespan": "the makespan reported is not the latest departure",
    "below_bound": "the makespan is below a proven lower bound of the instance",
    "not_semi_active": "an operation could have started earlier in the same orders (a warning)",
}
"""What each code means."""

_TIME_LIMIT = 1 << 52
_LENGTH_LIMIT = 1e6
_CALENDAR_LIMIT = 1_000_000
_PAIRS_AT_ONCE = 1 << 20
_ORDERS_TRIED = 1000
_TIME_ARRAYS = ("start", "processing_end", "end")
_KINDS = ("none", "per_operation", "calendar")
_POLICIES = ("resume", "restart", "finish_first")


@dataclass(frozen=True)
class Violation:
    """One fault of a schedule.

    Attributes:
        code: One of `VIOLATION_CODES`.
        message: What was found and what is expected, in words.
        job: Job concerned, or None.
        operation: Operation of the job, or None.
        machine: Machine concerned, or None.
        times: The times concerned, in time units; their meaning is in the message.
    """

    code: str
    message: str
    job: int | None = None
    operation: int | None = None
    machine: int | None = None
    times: tuple[int, ...] = ()


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation; warnings do not count.
        objective: Makespan computed from the departures, in time units; nan if malformed.
        violations: All faults.
        warnings: Operations that could start earlier, if that was asked for.
    """

    valid: bool
    objective: float
    violations: list[Violation] = field(default_factory=list)
    warnings: list[Violation] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """A well-formed schedule: arrays of the instance's shape and plain settings."""

    start: IntArray
    processing_end: IntArray
    end: IntArray
    exists: BoolArray
    done: BoolArray
    log: IntArray
    makespan: int
    blocking: bool
    swap: bool
    kind: str
    probability: float
    policy: str
    length: tuple[float, float]
    unload_when_down: bool
    seed: int

    @property
    def complete(self) -> bool:
        """Whether every operation has all its times."""
        return bool((self.done == self.exists).all())


@dataclass(frozen=True)
class _Shutdowns:
    """Shutdowns that follow from the seed and the start times.

    Attributes:
        processing_end: (n, K) time at which each operation ends, given its start.
        log: rows (machine, begin, end, job, operation), as in the schedule.
    """

    processing_end: IntArray
    log: IntArray


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate(
    instance: Instance, schedule: Mapping[str, Any], *, semi_active: bool = False
) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: The problem.
        schedule: Arrays and settings as in the environment's ``info["schedule"]``: ``start``,
            ``processing_end`` and ``end`` (n, K) in time units, -1 where there is nothing;
            ``interruptions`` (L, 5): machine, begin, end, job, operation; ``mode``, ``swap``,
            ``interrupt_kind``, ``interrupt_probability``, ``interrupt_policy``,
            ``interrupt_length``, ``unload_when_down``, ``interrupt_seed`` and ``makespan``.
            Arrays may be padded with -1 beyond the instance's size.
        semi_active: Also list, as warnings, operations that could have started earlier
            without a change of any order. Not for shutdowns that do not move with an operation
            (kind ``calendar``, policy ``finish_first``).

    Returns:
        The report with all violations found. Of a malformed schedule only that is reported, and
        swaps, shutdowns and makespan are checked in complete schedules only.

    Raises:
        ParameterError: `schedule` is not a mapping or `instance` is no Instance.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(schedule, Mapping):
        raise ParameterError(f"schedule: found {type(schedule).__name__}, expected a mapping")
    found: list[Violation] = []
    try:
        plan = _read(instance, schedule, found)
    except _Malformed as error:
        found.append(Violation("malformed", str(error)))
        return ValidationReport(False, math.nan, found)
    found += _check_release(instance, plan)
    found += _check_durations(instance, plan)
    found += _check_job_order(instance, plan)
    found += _check_capacity(instance, plan)
    if plan.blocking and not plan.swap and plan.complete:
        found += _check_no_swap(instance, plan)
    objective = max(int(plan.end.max()), 0)  # -1 where nothing has departed
    found += _check_makespan(instance, plan, objective)
    warnings = _semi_active(instance, plan) if semi_active and not found else []
    return ValidationReport(not found, float(objective), found, warnings)


# ------------------------------------------------------------------------------- reading


def _read(instance: Instance, schedule: Mapping[str, Any], found: list[Violation]) -> _Plan:
    """Return the schedule in checked types, and add what is missing or too much to `found`."""
    exists = np.arange(instance.max_operations) < instance.operations[:, None]
    times = {name: _read_times(instance, schedule, name, exists, found) for name in _TIME_ARRAYS}
    done = exists & (np.minimum.reduce(list(times.values())) >= 0)
    message = f"{', '.join(_TIME_ARRAYS)} expected >= 0"
    found += _at(instance, exists & ~done, "incomplete", message, *times.values())
    length = _read_length(schedule)
    return _Plan(
        **times,
        exists=exists,
        done=done,
        log=_read_log(schedule),
        makespan=_read_integer(schedule, "makespan"),
        blocking=_read_choice(schedule, "mode", ("classic", "blocking")) == "blocking",
        swap=_read_flag(schedule, "swap"),
        kind=_read_choice(schedule, "interrupt_kind", _KINDS),
        probability=_read_probability(schedule),
        policy=_read_choice(schedule, "interrupt_policy", _POLICIES),
        length=length,
        unload_when_down=_read_flag(schedule, "unload_when_down"),
        seed=_read_integer(schedule, "interrupt_seed", low=0, high=2**64 - 1),
    )


def _array(schedule: Mapping[str, Any], name: str) -> npt.NDArray[Any]:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        return np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None


def _scalar(schedule: Mapping[str, Any], name: str) -> Any:
    array = _array(schedule, name)
    if array.size != 1:
        raise _Malformed(f"{name}: found shape {array.shape}, expected a single value")
    return array.item()


def _whole(array: npt.NDArray[Any], name: str) -> IntArray:
    """Return an array of whole numbers as int64; floats are taken if nothing is lost."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.floor(array)).any():
            raise _Malformed(f"{name}: found fractions or NaN, expected whole numbers")
    elif array.dtype.kind not in "iu":
        raise _Malformed(f"{name}: found type {array.dtype}, expected whole numbers")
    if array.size and (array.max() > _TIME_LIMIT or array.min() < -_TIME_LIMIT):
        raise _Malformed(f"{name}: found values beyond 2^52, expected times below")
    return array.astype(np.int64, copy=False)


def _read_times(
    instance: Instance,
    schedule: Mapping[str, Any],
    name: str,
    exists: BoolArray,
    found: list[Violation],
) -> IntArray:
    """Return one (n, K) array of times with -1 at operations that do not exist."""
    array = _whole(_array(schedule, name), name)
    jobs, longest = exists.shape
    if array.ndim != 2 or array.shape[0] < jobs or array.shape[1] < longest:
        raise _Malformed(f"{name}: found shape {array.shape}, expected {exists.shape}")
    if array.shape == exists.shape and exists.all():
        return array
    extra = array != -1
    extra[:jobs, :longest] &= ~exists
    for job, operation in np.argwhere(extra).tolist():
        time = int(array[job, operation])
        message = f"{name}: found {time} for an operation that does not exist, expected -1"
        found.append(Violation("unknown_operation", message, job, operation, None, (time,)))
    return np.where(exists, array[:jobs, :longest], -1)


def _read_log(schedule: Mapping[str, Any]) -> IntArray:
    """Return the (L, 5) shutdowns without rows of padding."""
    log = _whole(_array(schedule, "interruptions"), "interruptions")
    if log.size and (log.ndim != 2 or log.shape[1] != 5):
        raise _Malformed(f"interruptions: found shape {log.shape}, expected (L, 5)")
    log = log.reshape(-1, 5)
    return log[(log != -1).any(axis=1)]


def _read_choice(schedule: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = _scalar(schedule, name)
    if value not in choices:
        raise _Malformed(f"{name}: found {value!r}, expected one of {', '.join(choices)}")
    return str(value)


def _read_flag(schedule: Mapping[str, Any], name: str) -> bool:
    value = _scalar(schedule, name)
    if value not in (False, True):
        raise _Malformed(f"{name}: found {value!r}, expected true or false")
    return bool(value)


def _read_integer(
    schedule: Mapping[str, Any], name: str, low: int = -_TIME_LIMIT, high: int = _TIME_LIMIT
) -> int:
    value = _scalar(schedule, name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or not low <= value <= high:
        raise _Malformed(f"{name}: found {value!r}, expected a whole number in {low}..{high}")
    return value


def _read_number(value: Any, name: str) -> float:
    if isinstance(value, str | bytes) or not isinstance(value, int | float):
        raise _Malformed(f"{name}: found {value!r}, expected a number")
    return float(value)


def _read_probability(schedule: Mapping[str, Any]) -> float:
    value = _read_number(_scalar(schedule, "interrupt_probability"), "interrupt_probability")
    if not 0 <= value < 1:
        raise _Malformed(f"interrupt_probability: found {value}, expected a number in [0, 1)")
    return value


def _read_length(schedule: Mapping[str, Any]) -> tuple[float, float]:
    array = _array(schedule, "interrupt_length")
    if array.size != 2:
        raise _Malformed(f"interrupt_length: found shape {array.shape}, expected two numbers")
    low, high = (_read_number(value, "interrupt_length") for value in array.ravel().tolist())
    if not 0 <= low <= high <= _LENGTH_LIMIT:
        raise _Malformed(
            f"interrupt_length: found {low}, {high}, expected 0 <= low <= high <= {_LENGTH_LIMIT}"
        )
    return low, high


# ------------------------------------------------------------------------- the nine checks


def _at(
    instance: Instance, where: BoolArray, code: str, message: str, *times: IntArray
) -> Iterator[Violation]:
    """Yield a violation for every operation marked in `where`."""
    if not where.any():
        return
    for job, operation in np.argwhere(where).tolist():
        values = tuple(int(array[job, operation]) for array in times)
        machine = int(instance.machine[job, operation])
        text = f"job {job}, operation {operation}, machine {machine}: {message}"
        yield Violation(code, f"{text} (times {values})", job, operation, machine, values)


def _check_release(instance: Instance, plan: _Plan) -> Iterator[Violation]:
    early = plan.done & (plan.start < instance.release[:, None])
    release = np.broadcast_to(instance.release[:, None], plan.start.shape)
    yield from _at(instance, early, "release", "start before release", plan.start, release)


def _check_durations(instance: Instance, plan: _Plan) -> Iterator[Violation]:
    """Durations, departures and everything that shutdowns have to do with."""
    try:
        shutdowns = _shutdowns(instance, plan)
    except _Malformed as error:
        yield Violation("interruption_log", str(error))
        return
    wrong = plan.done & (plan.processing_end != shutdowns.processing_end)
    yield from _at(
        instance,
        wrong,
        "duration",
        "processing_end after this start is not the one expected",
        plan.start,
        plan.processing_end,
        shutdowns.processing_end,
    )
    last = np.arange(instance.max_operations) == instance.operations[:, None] - 1
    exact = last if plan.blocking else plan.exists
    late = exact & (plan.end > plan.processing_end)
    wrong = plan.done & ((plan.end < plan.processing_end) | late)
    message = "departure does not follow the end of processing"
    yield from _at(instance, wrong, "departure", message, plan.processing_end, plan.end)
    # Which shutdowns happen depends on all operations: with some missing there is no telling.
    if plan.complete and (plan.kind != "none" or len(plan.log)):
        yield from _check_log(plan, shutdowns.log)
        yield from _check_down(instance, plan, shutdowns.log)


def _check_job_order(instance: Instance, plan: _Plan) -> Iterator[Violation]:
    before, after = plan.end[:, :-1], plan.start[:, 1:]
    wrong = (after != before) if plan.blocking else (after < before)
    where = np.zeros_like(plan.done)
    where[:, 1:] = wrong & plan.done[:, 1:] & plan.done[:, :-1]
    if where.any():
        left = np.zeros_like(plan.end)
        left[:, 1:] = before
        message = "start does not follow the departure from the operation before"
        yield from _at(instance, where, "job_order", message, left, plan.start)


def _by_machine(instance: Instance, plan: _Plan) -> tuple[IntArray, ...]:
    """Return machine, start, end, job and operation in the order of start on each machine."""
    job, operation = np.nonzero(plan.done)
    machine = instance.machine[job, operation]
    start, end = plan.start[job, operation], plan.end[job, operation]
    order = np.lexsort((end, start, machine))
    return machine[order], start[order], end[order], job[order], operation[order]


def _check_capacity(instance: Instance, plan: _Plan) -> Iterator[Violation]:
    machine, start, end, job, operation = _by_machine(instance, plan)
    same = machine[1:] == machine[:-1]
    if not (same & (start[1:] < end[:-1])).any() and (end >= start).all():
        return
    holder = 0
    for row in range(1, len(machine)):
        if machine[row] != machine[holder]:
            holder = row
            continue
        if start[row] < end[holder]:
            yield _overlap(machine, start, end, job, operation, holder, row)
        if end[row] > end[holder]:
            holder = row


def _overlap(
    machine: IntArray,
    start: IntArray,
    end: IntArray,
    job: IntArray,
    operation: IntArray,
    first: int,
    second: int,
) -> Violation:
    times = tuple(int(x[row]) for row in (first, second) for x in (start, end))
    j, k, m = int(job[second]), int(operation[second]), int(machine[second])
    message = (
        f"job {j}, operation {k}, machine {m}: on the machine in [{times[2]}, {times[3]}) while "
        f"job {job[first]}, operation {operation[first]} is there in [{times[0]}, {times[1]})"
    )
    return Violation("capacity", message, j, k, m, times)


def _check_makespan(instance: Instance, plan: _Plan, objective: int) -> Iterator[Violation]:
    if not plan.complete:
        return
    if plan.makespan != objective:
        message = f"makespan: found {plan.makespan}, expected {objective}, the latest departure"
        yield Violation("makespan", message, times=(plan.makespan, objective))
    # Without buffers, without swaps and with shutdowns the optimum can only be later.
    for kind in ("classic", "blocking") if plan.blocking else ("classic",):
        bound = instance.bounds.get(kind)
        if bound is not None and objective < bound.lower:
            message = (
                f"makespan {objective} is below {bound.lower}, the proven {kind} lower bound "
                f"of {instance.name} ({bound.source} {bound.date})"
            )
            yield Violation("below_bound", message, times=(objective, bound.lower))


# ------------------------------------------------------------------------------- shutdowns


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit numbers by the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _uniform(seed: int, stream: int, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Any:
    """Return the keyed uniform numbers in [0, 1) of seed, stream and arrays a, b."""
    key = (seed + 0x9E3779B97F4A7C15 * (stream + 1)) % 2**64
    x = _mix(np.array([key], dtype=np.uint64))
    x = _mix(x ^ (a.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)))
    x = _mix(x ^ (b.astype(np.uint64) * np.uint64(0xABC98388FB8FAC03)))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _lengths(instance: Instance, plan: _Plan) -> tuple[int, int]:
    """Return the shortest and longest shutdown in time units."""
    mean = int(instance.duration.sum()) / int(instance.operations.sum())
    return math.ceil(plan.length[0] * mean), math.ceil(plan.length[1] * mean)


def _shutdowns(instance: Instance, plan: _Plan) -> _Shutdowns:
    if plan.kind == "none" or plan.probability == 0:
        return _Shutdowns(plan.start + instance.duration, np.empty((0, 5), np.int64))
    if plan.kind == "per_operation":
        return _operation_shutdowns(instance, plan)
    return _calendar_shutdowns(instance, plan)


def _operation_shutdowns(instance: Instance, plan: _Plan) -> _Shutdowns:
    job, operation = np.nonzero(plan.done & (instance.duration > 0))
    hit = _uniform(plan.seed, 0, job, operation) < plan.probability
    job, operation = job[hit], operation[hit]
    duration, start = instance.duration[job, operation], plan.start[job, operation]
    low, high = _lengths(instance, plan)
    offset = np.floor(_uniform(plan.seed, 1, job, operation) * duration).astype(np.int64)
    draw = _uniform(plan.seed, 2, job, operation) * (high - low + 1)
    down = low + np.floor(draw).astype(np.int64)
    begin = start + (duration if plan.policy == "finish_first" else offset)
    pause = {"resume": down, "restart": offset + down, "finish_first": 0 * down}[plan.policy]
    processing_end = plan.start + instance.duration
    processing_end[job, operation] += pause
    machine = instance.machine[job, operation]
    log = np.stack((machine, begin, begin + down, job, operation), axis=1)
    return _Shutdowns(processing_end, log)


def _calendar_shutdowns(instance: Instance, plan: _Plan) -> _Shutdowns:
    begins, ends = _calendar(instance, plan)
    processing_end = plan.start + instance.duration
    rows: list[tuple[int, int, int, int, int]] = []
    for machine in range(instance.num_machines):
        begin, end = begins[machine].tolist(), ends[machine].tolist()
        job, operation = np.nonzero(plan.done & (instance.machine == machine))
        for j, k in zip(job.tolist(), operation.tolist(), strict=True):
            start, duration = int(plan.start[j, k]), int(instance.duration[j, k])
            first = bisect_left(begin, start)
            processing_end[j, k] = _run_through(plan.policy, start, duration, begin, end, first)
        rows += ((machine, a, b, -1, -1) for a, b in zip(begin, end, strict=True))
    log = np.array(rows, dtype=np.int64).reshape(-1, 5)
    if plan.policy == "finish_first":
        log = _held_back(instance, plan, processing_end, log)
    return _Shutdowns(processing_end, log)


def _run_through(
    policy: str, start: int, duration: int, begin: list[int], end: list[int], index: int
) -> int:
    """Return when an operation ends that meets a machine's shutdowns from `index` on."""
    finish = start + duration
    if policy == "finish_first":
        return finish
    while index < len(begin) and begin[index] < finish:
        left = finish - begin[index] if policy == "resume" else duration
        finish = end[index] + left
        index += 1
    return finish


def _held_back(
    instance: Instance, plan: _Plan, processing_end: IntArray, log: IntArray
) -> IntArray:
    """Return the log in which shutdowns wait for the operation that is being processed."""
    log = log.copy()
    happens = np.ones(len(log), dtype=bool)
    for machine in range(instance.num_machines):
        on_machine = plan.done & (instance.machine == machine)
        start, finish = plan.start[on_machine], processing_end[on_machine]
        for row in np.flatnonzero(log[:, 0] == machine):
            running = (start < log[row, 1]) & (log[row, 1] < finish)
            if running.any():
                log[row, 1] = finish[running].max()
                happens[row] = log[row, 1] < log[row, 2]
    return log[happens]


def _calendar(instance: Instance, plan: _Plan) -> tuple[list[IntArray], list[IntArray]]:
    """Return begins and ends of each machine's shutdowns up to the end of the schedule."""
    horizon = int(max(plan.end.max(), plan.processing_end.max(), plan.makespan)) + 1
    low, high = _lengths(instance, plan)
    machine = np.arange(instance.num_machines)[:, None]
    log_up = math.log(1.0 - plan.probability)
    mean_cycle = 1 / plan.probability + (low + high) / 2
    count = 8 + int(1.2 * horizon / mean_cycle)
    while True:
        if count * instance.num_machines > _CALENDAR_LIMIT:
            raise _Malformed(
                f"interruptions: a schedule of length {horizon} meets too many shutdowns to check"
            )
        index = np.arange(count)[None, :]
        draw = np.log(1.0 - _uniform(plan.seed, 3, machine, index)) / log_up
        up = 1 + np.minimum(np.floor(draw), _TIME_LIMIT).astype(np.int64)
        draw = _uniform(plan.seed, 4, machine, index) * (high - low + 1)
        down = low + np.floor(draw).astype(np.int64)
        ends = np.cumsum(up + down, axis=1)
        begins = ends - down
        if (begins[:, -1] >= horizon).all():
            seen = begins < horizon
            return (
                [row[mask] for row, mask in zip(begins, seen, strict=True)],
                [row[mask] for row, mask in zip(ends, seen, strict=True)],
            )
        count *= 2


def _check_log(plan: _Plan, expected: IntArray) -> Iterator[Violation]:
    """Compare the shutdowns reported with those that begin before the end of the schedule."""
    end = int(plan.end.max())
    want = {tuple(row) for row in expected[expected[:, 1] < end].tolist()}
    rows = [tuple(row) for row in plan.log.tolist()]
    have = set(rows)
    for row in sorted(want - have):
        yield _log_violation("missing, but follows from the seed", row)
    for row in sorted(have - want):
        yield _log_violation("reported, but does not follow from the seed", row)
    if len(rows) > len(have):
        yield Violation("interruption_log", "interruptions: a row is there more than once")


def _log_violation(problem: str, row: tuple[int, ...]) -> Violation:
    machine, begin, end, job, operation = row
    message = f"machine {machine}: shutdown in [{begin}, {end}) is {problem}"
    if job < 0:
        return Violation("interruption_log", message, machine=machine, times=(begin, end))
    return Violation("interruption_log", message, job, operation, machine, (begin, end))


def _check_down(instance: Instance, plan: _Plan, log: IntArray) -> Iterator[Violation]:
    """No start on a machine that is down, and no departure from it unless it can be unloaded."""
    rows = max(1, _PAIRS_AT_ONCE // plan.start.size)
    for first in range(0, len(log), rows):
        yield from _check_down_part(instance, plan, log[first : first + rows])


def _check_down_part(instance: Instance, plan: _Plan, log: IntArray) -> Iterator[Violation]:
    job, operation = np.nonzero(plan.done)
    start, end = plan.start[job, operation][:, None], plan.end[job, operation][:, None]
    machine, down, repair, cause_job, cause_operation = log.T
    here = instance.machine[job, operation][:, None] == machine
    # A shutdown at the very start of an operation comes after all else at that instant.
    own = (cause_job >= 0) & (down == plan.start[cause_job, cause_operation])
    cause = own & (job[:, None] == cause_job) & (operation[:, None] == cause_operation)
    passed = cause | (own & (start == down) & (end == down))
    wrong = here & (start >= down) & (start < repair) & ~passed
    yield from _down(plan.start, "start_when_down", "start", job, operation, log, wrong)
    if plan.blocking and not plan.unload_when_down:
        stays = (operation < instance.operations[job] - 1)[:, None]
        wrong = here & stays & (end >= down + own) & (end < repair)
        yield from _down(plan.end, "unload_when_down", "departure", job, operation, log, wrong)


def _down(
    times: IntArray,
    code: str,
    event: str,
    job: IntArray,
    operation: IntArray,
    log: IntArray,
    wrong: BoolArray,
) -> Iterator[Violation]:
    for row, shutdown in np.argwhere(wrong).tolist():
        j, k = int(job[row]), int(operation[row])
        machine, begin, end = (int(value) for value in log[shutdown, :3])
        time = int(times[j, k])
        message = (
            f"job {j}, operation {k}, machine {machine}: {event} at {time} "
            f"while the machine is down in [{begin}, {end})"
        )
        yield Violation(code, message, j, k, machine, (time, begin, end))


# ------------------------------------------------------------------ swaps where forbidden


@dataclass(frozen=True)
class _Moves:
    """The moves of one instant, job by job.

    Attributes:
        origins: Machine that each job holds before the instant, -1 if it is outside.
        paths: Machines that each job enters, in order.
        exits: Whether each job leaves the shop at the end of its path.
        operations: The operations entered, as the paths.
    """

    origins: list[int]
    paths: list[list[int]]
    exits: list[bool]
    operations: list[list[Operation]]

    def place(self, job: int, steps: int) -> int:
        """Machine that a job holds after some steps of its path, or -1."""
        if steps == 0:
            return self.origins[job]
        gone = steps == len(self.paths[job]) and self.exits[job]
        return -1 if gone else self.paths[job][steps - 1]

    def left(self, state: tuple[int, ...]) -> list[int]:
        """Machines still to be entered, as often as they are."""
        return [m for path, done in zip(self.paths, state, strict=True) for m in path[done:]]

    def taken(self, state: tuple[int, ...], job: int) -> set[int]:
        """Machines held by other jobs than this one."""
        places = (self.place(other, done) for other, done in enumerate(state) if other != job)
        return {machine for machine in places if machine >= 0}


def _check_no_swap(instance: Instance, plan: _Plan) -> Iterator[Violation]:
    """Find instants whose moves cannot be made one after the other."""
    for time, jobs in _instants(plan).items():
        if len(jobs) == 1:
            continue
        moves = _moves(instance, plan, time, jobs)
        stuck = _stuck(moves)
        if stuck:
            job, operation = stuck[0]
            machine = int(instance.machine[job, operation])
            members = ", ".join(f"({j}, {k})" for j, k in stuck)
            message = f"operations {members} were entered at {time} by an exchange of machines"
            yield Violation("swap", message, job, operation, machine, (time,))


def _instants(plan: _Plan) -> dict[int, dict[int, list[int]]]:
    """Return time -> job -> operations entered then."""
    instants: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for job, operation in np.argwhere(plan.done).tolist():
        instants[int(plan.start[job, operation])][job].append(operation)
    return instants


def _moves(instance: Instance, plan: _Plan, time: int, jobs: dict[int, list[int]]) -> _Moves:
    origins, exits = [], []
    for job, operations in jobs.items():
        before, last = operations[0] - 1, operations[-1]
        held = before >= 0 and int(plan.end[job, before]) == time
        origins.append(int(instance.machine[job, before]) if held else -1)
        exits.append(last == int(instance.operations[job]) - 1 and int(plan.end[job, last]) == time)
    return _Moves(
        origins,
        [[int(instance.machine[job, k]) for k in ks] for job, ks in jobs.items()],
        exits,
        [[(job, k) for k in ks] for job, ks in jobs.items()],
    )


def _stuck(moves: _Moves) -> list[Operation]:
    """Return the operations that nobody can enter without an exchange, if there are any.

    Moves that cannot harm others are made at once. What remains to be tried are orders among
    several operations that use a machine for no time; beyond `_ORDERS_TRIED` states of them
    the schedule gets the benefit of the doubt.
    """
    first = _make_safe_moves(moves, (0,) * len(moves.paths))
    states, seen = [first], {first}
    while states and len(seen) <= _ORDERS_TRIED:
        state = states.pop()
        if not moves.left(state):
            return []
        for following in _risky_moves(moves, state):
            reached = _make_safe_moves(moves, following)
            if reached not in seen:
                seen.add(reached)
                states.append(reached)
    if states:
        return []
    return [o for row, done in zip(moves.operations, first, strict=True) for o in row[done:]]


def _make_safe_moves(moves: _Moves, state: tuple[int, ...]) -> tuple[int, ...]:
    moved = True
    while moved:
        moved = False
        for job in range(len(state)):
            steps = _safe_steps(moves, state, job)
            if steps:
                state = (*state[:job], state[job] + steps, *state[job + 1 :])
                moved = True
    return state


def _safe_steps(moves: _Moves, state: tuple[int, ...], job: int) -> int:
    """Return how far a job can go to where it is in nobody's way, or 0."""
    taken, left = moves.taken(state, job), moves.left(state)
    path = moves.paths[job]
    for step in range(state[job], len(path)):
        if path[step] in taken:
            return 0
        gone = step + 1 == len(path) and moves.exits[job]
        if gone or left.count(path[step]) == 1:
            return step + 1 - state[job]
    return 0


def _risky_moves(moves: _Moves, state: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield the states after one job has entered a machine that others have yet to pass."""
    for job, done in enumerate(state):
        path = moves.paths[job]
        passes = done + 1 < len(path)
        if passes and path[done] not in moves.taken(state, job):
            yield (*state[:job], done + 1, *state[job + 1 :])


# ------------------------------------------------------------------------------ semi-active


def _semi_active(instance: Instance, plan: _Plan) -> list[Violation]:
    """Return the operations that could start earlier while every order stays."""
    if plan.kind == "calendar" or (plan.kind == "per_operation" and plan.policy == "finish_first"):
        return []
    earliest = _earliest(instance, plan, plan.processing_end - plan.start)
    early = plan.exists & (earliest < plan.start)
    message = "could start earlier in the same orders"
    return list(_at(instance, early, "not_semi_active", message, plan.start, earliest))


def _earliest(instance: Instance, plan: _Plan, length: IntArray) -> IntArray:
    """Return the least start times that keep all orders: raise them until nothing moves."""
    machine, _, _, job, operation = _by_machine(instance, plan)
    same = machine[1:] == machine[:-1]
    before = (job[:-1][same], operation[:-1][same])
    after = (job[1:][same], operation[1:][same])
    last = before[1] == instance.operations[before[0]] - 1
    following = (before[0], np.where(last, before[1], before[1] + 1))
    earliest = np.zeros_like(plan.start)
    earliest[:, 0] = instance.release
    while True:
        raised = earliest.copy()
        raised[:, 1:] = np.maximum(raised[:, 1:], (raised + length)[:, :-1])
        left = raised[before] + length[before]
        if plan.blocking:
            left = np.where(last, left, raised[following])
        np.maximum.at(raised, after, left)
        if np.array_equal(raised, earliest):
            return earliest
        earliest = raised
