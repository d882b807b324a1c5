"""Optimal job-shop schedules and lower bounds by constraint programming (OR-tools CP-SAT).

Classic: one interval per operation, no two of a machine overlap. Blocking with swap: a job
departs when it enters its next machine, and one Boolean per pair of operations of a machine
says which comes first; simultaneous exchanges close a cycle of zero length, which is allowed.
Blocking without swap, and operations without duration: each move gets a rank, and ranks rise
along every chain of waiting, so that the moves of one instant can be put in an order. The
alternative graph behind these models is that of Mascis, Pacciarelli: "Job-shop scheduling with
blocking and no-wait constraints", European Journal of Operational Research 143, 2002.

With shutdowns the optimum is clairvoyant: all shutdowns are known from the start, and no policy
that learns of them as they happen can do better.

Needs the extra ``exact``; `lower_bound` does not.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError, ParameterError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.interrupts import Interrupts
from dispatchgym.envs.job_shop.validator import validate

__all__ = ["MODES", "ExactResult", "lower_bound", "solve"]

MODES = ("classic", "blocking", "interrupting")
"""The problems that can be solved; interrupting is blocking with shutdowns."""

IntArray = npt.NDArray[np.int64]
Operation = tuple[int, int]
Pair = tuple[Operation, Operation]

_SOLVER_SEED = 0
_SETTINGS = (
    "mode",
    "swap",
    "interrupt_kind",
    "interrupt_probability",
    "interrupt_policy",
    "interrupt_length",
    "unload_when_down",
    "interrupt_seed",
)


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: Makespan of the best schedule found, in time units.
        bound: Proven lower bound on the optimal makespan, in time units.
        proved: Whether the schedule is proven optimal.
        schedule: The schedule in the form of the environment's ``info["schedule"]``.
        seconds: Wall time of building, solving and checking.
        status: ``"optimal"``, ``"feasible"`` (time ran out), or ``"unknown"`` (time ran out
            before any schedule was found: it is then the hint's, or one job after the other).
    """

    objective: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float
    status: str


@dataclass(frozen=True)
class _Problem:
    """An instance with its shutdowns turned into longer durations.

    Attributes:
        instance: The instance itself.
        blocking: Whether there are no buffers.
        swap: Whether jobs may exchange machines.
        interrupts: Settings of the shutdowns.
        seed: Seed of the shutdowns.
        processing: (n, K) time from the start of an operation to its end, pauses included.
        closed: (n, K) time that the machine stays down after the operation's end.
        shutdowns: rows (job, operation, begin after the start, length).
    """

    instance: Instance
    blocking: bool
    swap: bool
    interrupts: Interrupts
    seed: int
    processing: IntArray
    closed: IntArray
    shutdowns: tuple[tuple[int, int, int, int], ...]

    @property
    def operations(self) -> Iterator[Operation]:
        """All operations, job by job."""
        for job, count in enumerate(self.instance.operations.tolist()):
            yield from ((job, operation) for operation in range(count))

    def on_machine(self) -> list[list[Operation]]:
        """Return the operations of each machine."""
        groups: list[list[Operation]] = [[] for _ in range(self.instance.num_machines)]
        for operation in self.operations:
            groups[int(self.instance.machine[operation])].append(operation)
        return groups

    def is_last(self, operation: Operation) -> bool:
        """Whether the job leaves the shop after this operation."""
        return operation[1] == int(self.instance.operations[operation[0]]) - 1

    def heads(self) -> IntArray:
        """Return (n, K) the least time before the start of each operation."""
        before = np.cumsum(self.processing, axis=1) - self.processing
        return before + self.instance.release[:, None]

    def tails(self) -> IntArray:
        """Return (n, K) the least time from the end of each operation to that of its job."""
        total = self.processing.sum(axis=1, keepdims=True)
        return total - np.cumsum(self.processing, axis=1)


def solve(
    instance: Instance,
    *,
    mode: str = "classic",
    swap: bool = True,
    interrupts: Interrupts | Mapping[str, Any] | None = None,
    seed: int = 0,
    time_limit: float = 60.0,
    workers: int = 2,
    hint: Mapping[str, Any] | None = None,
) -> ExactResult:
    """Minimise the makespan with CP-SAT.

    Args:
        instance: The problem.
        mode: ``"classic"``, ``"blocking"`` or ``"interrupting"`` (blocking with shutdowns).
        swap: Whether blocked jobs may exchange machines; no matter in classic mode.
        interrupts: Shutdowns, all known beforehand; `Interrupts()` if the mode is interrupting
            and none are given. Kind ``"per_operation"`` only, with one probability.
        seed: Seed of the shutdowns, as in the environment, >= 0.
        time_limit: Seconds for the solver, > 0.
        workers: Threads of the solver, >= 1.
        hint: A schedule to start from, valid for the instance. If it solves this very problem
            (same mode, swap and shutdowns), the result is never worse.

    Returns:
        The best schedule, which has passed the validator, and a proven bound.

    Raises:
        ParameterError: An argument is out of range, or the shutdowns follow a calendar: how
            long an operation takes then depends on when it starts, which is not modelled.
        MissingDependencyError: OR-tools is not installed.
        EvaluationError: The result fails the validator or contradicts a proven bound.
    """
    began = time.perf_counter()
    problem = _problem(instance, mode, swap, interrupts, seed)
    if problem.interrupts.kind == "calendar":
        raise ParameterError(
            "interrupts.kind: found 'calendar', expected 'per_operation' or 'none': with shutdowns "
            "in clock time the length of an operation depends on its start, which is not modelled"
        )
    _check_budget(time_limit, workers)
    cp_model = _import_cp_model()
    floor = lower_bound(instance, mode, interrupts, seed)
    known = _one_after_the_other(problem)
    if hint is None:
        model = _Model(cp_model, problem, _last_end(problem, known), floor)
    else:
        suggested = _hint_starts(problem, hint)
        if _solves(problem, hint):
            known = suggested
        model = _Model(cp_model, problem, _last_end(problem, known), floor)
        model.add_hint(suggested)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = _SOLVER_SEED
    solver.parameters.max_time_in_seconds = time_limit
    status = solver.status_name(solver.solve(model.model)).lower()
    if status in ("optimal", "feasible"):
        known = model.starts(solver)
    elif status != "unknown":
        raise EvaluationError(f"{instance.name}: the solver answered {status}; a schedule exists")
    return _result(problem, known, status, max(floor, solver.best_objective_bound), began)


def _result(
    problem: _Problem, starts: dict[Operation, int], status: str, bound: float, began: float
) -> ExactResult:
    """Check what was found and put it together."""
    schedule = _schedule(problem, starts)
    objective = _checked_makespan(problem, schedule)
    if bound > objective:
        raise EvaluationError(
            f"{problem.instance.name}: makespan {objective:.0f} is below the proven bound {bound}"
        )
    proved = status == "optimal" or bound == objective
    seconds = time.perf_counter() - began
    return ExactResult(objective, float(bound), proved, schedule, seconds, status)


def lower_bound(
    instance: Instance,
    mode: str = "classic",
    interrupts: Interrupts | Mapping[str, Any] | None = None,
    seed: int = 0,
) -> int:
    """Return a lower bound on the makespan by heads and tails, in milliseconds.

    The larger of the longest job and, for each machine, the optimum of its operations alone
    when each has a head (release and work of the job before it) and a tail (work after it) and
    may be preempted (Jackson's preemptive schedule; Carlier: "The one-machine sequencing
    problem", European Journal of Operational Research 11, 1982).

    Args:
        instance: The problem.
        mode: ``"classic"``, ``"blocking"`` or ``"interrupting"``.
        interrupts: Shutdowns; those per operation lengthen it, a calendar's are left out.
        seed: Seed of the shutdowns.

    Raises:
        ParameterError: An argument is out of range.
    """
    problem = _problem(instance, mode, True, interrupts, seed)
    heads, tails = problem.heads(), problem.tails()
    longest = int((problem.processing.sum(axis=1) + instance.release).max())
    machines = (
        _preemptive_makespan(
            [(int(heads[o]), int(problem.processing[o]), int(tails[o])) for o in operations]
        )
        for operations in problem.on_machine()
    )
    return max(longest, *machines)


def _preemptive_makespan(tasks: list[tuple[int, int, int]]) -> int:
    """Return the optimum of one machine with (head, duration, tail) tasks and preemption."""
    waiting: list[tuple[int, int]] = []
    now, latest = 0, 0
    tasks = sorted(tasks)
    for index, (head, duration, tail) in enumerate(tasks):
        now = max(now, head)
        heapq.heappush(waiting, (-tail, duration))
        arrival = tasks[index + 1][0] if index + 1 < len(tasks) else None
        while waiting and (arrival is None or now < arrival):
            longest_tail, left = heapq.heappop(waiting)
            run = left if arrival is None else min(left, arrival - now)
            now += run
            if run < left:
                heapq.heappush(waiting, (longest_tail, left - run))
            else:
                latest = max(latest, now - longest_tail)
    return latest


# ------------------------------------------------------------------------ from arguments


def _problem(
    instance: Instance,
    mode: str,
    swap: bool,
    interrupts: Interrupts | Mapping[str, Any] | None,
    seed: int,
) -> _Problem:
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if mode not in MODES:
        raise ParameterError(f"mode: found {mode!r}, expected one of {', '.join(MODES)}")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1")
    if interrupts is None and mode == "interrupting":
        interrupts = Interrupts()
    settings = Interrupts.make(interrupts)
    if len(settings.probabilities) != 1:
        raise ParameterError(
            f"interrupts.probability: found {settings.probability}, expected a single number"
        )
    processing = np.array(instance.duration)
    closed = np.zeros_like(processing)
    shutdowns = tuple(_draw_shutdowns(instance, settings, int(seed)))
    late = settings.policy == "finish_first"
    for job, operation, begin, length in shutdowns:
        if late:
            closed[job, operation] = length
        else:
            again = begin if settings.policy == "restart" else 0
            processing[job, operation] += length + again
    return _Problem(
        instance, mode != "classic", swap, settings, int(seed), processing, closed, shutdowns
    )


def _draw_shutdowns(
    instance: Instance, interrupts: Interrupts, seed: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (job, operation, begin after the start, length) of the shutdowns per operation."""
    if interrupts.kind != "per_operation":
        return
    (probability,) = interrupts.probabilities
    shortest, longest = (int(np.ceil(x * instance.mean_duration)) for x in interrupts.length)
    key = np.uint64(seed)
    for job, operation in np.argwhere(instance.duration > 0).tolist():
        if uniform(key, 0, job, operation) >= probability:
            continue
        duration = int(instance.duration[job, operation])
        begin = int(uniform(key, 1, job, operation) * duration)
        draw = uniform(key, 2, job, operation) * (longest - shortest + 1)
        if interrupts.policy == "finish_first":
            begin = duration
        yield job, operation, begin, shortest + int(draw)


def _check_budget(time_limit: float, workers: int) -> None:
    if not isinstance(time_limit, int | float) or not 0 < time_limit < float("inf"):
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    if not isinstance(workers, int) or workers < 1:
        raise ParameterError(f"workers: found {workers!r}, expected an integer >= 1")


def _import_cp_model() -> Any:
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingDependencyError(
            f"OR-tools cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return cp_model


def _hint_starts(problem: _Problem, hint: Mapping[str, Any]) -> dict[Operation, int]:
    """Return the start times of a schedule that is valid for the instance in some mode."""
    if not isinstance(hint, Mapping):
        raise ParameterError(f"hint: found {type(hint).__name__}, expected a schedule")
    report = validate(problem.instance, hint)
    if not report.valid:
        raise ParameterError(f"hint: not a valid schedule: {report.violations[0].message}")
    starts = np.asarray(hint["start"])
    return {operation: int(starts[operation]) for operation in problem.operations}


def _solves(problem: _Problem, hint: Mapping[str, Any]) -> bool:
    """Whether a schedule is one of this problem and not only of the same instance."""
    return all(
        np.array_equal(np.asarray(hint[name]), value) for name, value in _settings(problem).items()
    )


def _last_end(problem: _Problem, starts: dict[Operation, int]) -> int:
    return max(start + int(problem.processing[place]) for place, start in starts.items())


# ------------------------------------------------------------------------------ the model


class _Model:
    """The constraint model of one problem."""

    def __init__(self, cp_model: Any, problem: _Problem, horizon: int, floor: int) -> None:
        """Build the model for makespans in floor..horizon."""
        self.problem = problem
        self.model = cp_model.CpModel()
        self.makespan = self.model.new_int_var(floor, horizon, "makespan")
        heads, tails = problem.heads(), problem.tails()
        self.start: dict[Operation, Any] = {}
        for operation in problem.operations:
            latest = horizon - int(problem.processing[operation] + tails[operation])
            self.start[operation] = self.model.new_int_var(int(heads[operation]), latest, "")
        self._add_jobs()
        if problem.blocking:
            order = {pair: self._ordered(pair) for pair in self._pairs()}
            zero = any(problem.processing[operation] == 0 for operation in self.start)
            if zero or not problem.swap:
                self._rank_moves(order)
        else:
            self._add_intervals()
        self.model.minimize(self.makespan)

    def add_hint(self, starts: dict[Operation, int]) -> None:
        """Suggest start times."""
        for operation, value in starts.items():
            self.model.add_hint(self.start[operation], value)

    def starts(self, solver: Any) -> dict[Operation, int]:
        """Return the start times found."""
        return {operation: solver.value(var) for operation, var in self.start.items()}

    def _processed(self, operation: Operation) -> Any:
        """When processing ends."""
        return self.start[operation] + int(self.problem.processing[operation])

    def _departure(self, operation: Operation) -> Any:
        """When the job leaves the machine."""
        if self.problem.blocking and not self.problem.is_last(operation):
            return self.start[operation[0], operation[1] + 1]
        return self._processed(operation)

    def _add_jobs(self) -> None:
        stuck = self.problem.blocking and not self.problem.interrupts.unload_when_down
        for operation in self.start:
            if self.problem.is_last(operation):
                self.model.add(self.makespan >= self._processed(operation))
                continue
            wait = int(self.problem.closed[operation]) if stuck else 0
            following = self.start[operation[0], operation[1] + 1]
            self.model.add(following >= self._processed(operation) + wait)

    def _add_intervals(self) -> None:
        """No two operations of a machine overlap, nor the time it stays down after them."""
        size = self.problem.processing + self.problem.closed
        for operations in self.problem.on_machine():
            self.model.add_no_overlap(
                self.model.new_fixed_size_interval_var(self.start[o], int(size[o]), "")
                for o in operations
            )

    def _pairs(self) -> Iterator[Pair]:
        """Yield all pairs of operations of one machine; those of one job in their order."""
        for operations in self.problem.on_machine():
            yield from combinations(operations, 2)

    def _ordered(self, pair: Pair) -> Any:
        """Return the Boolean that says that the first comes before the second."""
        first, second = pair
        if first[0] == second[0]:
            self._precede(first, second, ())
            return None
        before = self.model.new_bool_var("")
        self._precede(first, second, (before,))
        self._precede(second, first, (before.negated(),))
        return before

    def _precede(self, first: Operation, second: Operation, conditions: tuple[Any, ...]) -> None:
        later = self.start[second]
        rules = [self.model.add(later >= self._departure(first))]
        closed = int(self.problem.closed[first])
        if closed:
            rules.append(self.model.add(later >= self._processed(first) + closed))
        for rule in rules:
            rule.only_enforce_if(*conditions)

    def _rank_moves(self, order: dict[Pair, Any]) -> None:
        """Rank the moves into the operations so that each follows those it has to wait for.

        Moves of one instant may share a rank if swaps are allowed. Entering an operation and
        leaving it never do, even if it has no duration: a job cannot slip between two others
        that exchange their machines.
        """
        count = len(self.start)
        rank = {operation: self.model.new_int_var(0, count, "") for operation in self.start}
        for job, operation in self.start:
            if not self.problem.is_last((job, operation)):
                self.model.add(rank[job, operation + 1] >= rank[job, operation] + 1)
        step = 0 if self.problem.swap else 1
        for (first, second), before in order.items():
            if before is None:
                continue
            for a, b, condition in ((first, second, before), (second, first, before.negated())):
                if not self.problem.is_last(a):
                    rule = self.model.add(rank[b] >= rank[a[0], a[1] + 1] + step)
                else:
                    rule = self.model.add(rank[b] >= rank[a] + 1)
                rule.only_enforce_if(condition)


# --------------------------------------------------------------------------- the schedule


def _one_after_the_other(problem: _Problem) -> dict[Operation, int]:
    """Return the starts of the schedule that has one job in the shop at a time."""
    starts: dict[Operation, int] = {}
    now = 0
    for job, count in enumerate(problem.instance.operations.tolist()):
        now = max(now, int(problem.instance.release[job]))
        for operation in range(count):
            starts[job, operation] = now
            now += int(problem.processing[job, operation] + problem.closed[job, operation])
    return starts


def _settings(problem: _Problem) -> dict[str, npt.NDArray[Any]]:
    """Return the fields of a schedule that say which problem it solves."""
    interrupts = problem.interrupts
    values = (
        np.array("blocking" if problem.blocking else "classic"),
        np.array(problem.swap),
        np.array(interrupts.kind),
        np.array(interrupts.probabilities[0]),
        np.array(interrupts.policy),
        np.array(interrupts.length, dtype=np.float64),
        np.array(interrupts.unload_when_down),
        np.array(problem.seed, dtype=np.uint64),
    )
    return dict(zip(_SETTINGS, values, strict=True))


def _schedule(problem: _Problem, starts: dict[Operation, int]) -> dict[str, npt.NDArray[Any]]:
    """Return start times as a schedule with departures and shutdowns."""
    exists = problem.instance.machine >= 0
    start = np.full(exists.shape, -1, dtype=np.int64)
    for place, value in starts.items():
        start[place] = value
    processing_end = np.where(exists, start + problem.processing, -1)
    end = processing_end.copy()
    if problem.blocking:
        end[:, :-1] = np.where(exists[:, 1:], start[:, 1:], end[:, :-1])
    makespan = int(end.max())
    rows = []
    for job, operation, offset, length in problem.shutdowns:
        begin = int(start[job, operation]) + offset
        if begin < makespan:
            machine = int(problem.instance.machine[job, operation])
            rows.append((machine, begin, begin + length, job, operation))
    return {
        "start": start,
        "processing_end": processing_end,
        "end": end,
        "interruptions": np.array(sorted(rows), dtype=np.int64).reshape(-1, 5),
        **_settings(problem),
        "makespan": np.array(makespan, dtype=np.int64),
    }


def _checked_makespan(problem: _Problem, schedule: Mapping[str, Any]) -> float:
    report = validate(problem.instance, schedule)
    if not report.valid:
        raise EvaluationError(
            f"{problem.instance.name}: the solver's schedule is not valid: "
            f"{report.violations[0].message}"
        )
    return report.objective
