"""Optimal schedules by constraint programming (OR-tools CP-SAT): single jobs and batches.

Every task has a start, an end and one processing element (PE) that is chosen by Booleans; the
intervals on a PE do not overlap, and a task starts after the data of its predecessors have come,
which depends on both PEs. The sum of the jobs' completion times is minimised. Heads and tails
bound starts and completions from below, and of PEs that are alike, a later one is only used by a
task if an earlier task uses the one before it. The search of `dispatchgym.envs.soc.search` makes
the first schedule. The plan of what is left of a running system is the same problem: tasks that
run hold their PEs, and finished ones count by when their data come.

Needs the extra ``exact``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import (
    EvaluationError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.soc import kernel, layout, search
from dispatchgym.envs.soc.instance import Instance
from dispatchgym.envs.soc.validator import validate

__all__ = ["Answer", "ExactResult", "solve", "solve_problem"]

IntArray = npt.NDArray[np.int64]

_SOLVER_SEED = 0
_SEARCH_SEED = 0x9E3779B97F4A7C15
_FIRST_MOVES = 200_000
"""Moves of the search that makes the first schedule."""
_TEMPERATURES = (10.0, 0.5)
"""First and last one of that search, in microseconds."""


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: Mean latency of the best schedule found, in microseconds.
        bound: Proven lower bound on the optimal mean latency, in microseconds.
        proved: Whether the schedule is proven optimal.
        schedule: The schedule in the form of the environment's ``info["schedule"]``.
        seconds: Wall time of everything.
        status: ``"optimal"`` or ``"feasible"`` (time ran out).
    """

    objective: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float
    status: str


@dataclass(frozen=True)
class Answer:
    """What the solver says of one lane of a `search.Problem`, which then holds the plan.

    Attributes:
        total: sum of the completion times of the plan, in microseconds.
        bound: proven lower bound on it.
        proved: whether they are equal.
    """

    total: int
    bound: int
    proved: bool


def solve(instance: Instance, *, time_limit: float = 60.0, workers: int = 1) -> ExactResult:
    """Minimise the mean latency of a batch; arrivals are known beforehand.

    Args:
        instance: A batch without noise, with a capacity for all its jobs at once.
        time_limit: Seconds for the solver, > 0.
        workers: Threads of the solver, >= 1; with one, results repeat unless time runs out.

    Returns:
        The best schedule, which has passed the validator, and a proven bound.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: OR-tools is not installed.
        EvaluationError: The result fails the validator or contradicts a proven bound.
    """
    began = time.perf_counter()
    arrivals = _checked_arrivals(instance)
    if not isinstance(time_limit, int | float) or not 0 < time_limit < math.inf:
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    if not isinstance(workers, int) or workers < 1:
        raise ParameterError(f"workers: found {workers!r}, expected an integer >= 1")
    problem = _whole_problem(instance, arrivals)
    search.plan_greedily(problem, 0)
    search.improve(problem, 0, False, 0, _FIRST_MOVES, *_TEMPERATURES)
    answer = solve_problem(problem, time_limit=time_limit, workers=workers)
    schedule = _schedule(instance, problem)
    report = validate(instance, schedule)
    if not report.valid:
        raise EvaluationError(
            f"{instance.name}: the solver's schedule is not valid: {report.violations[0].message}"
        )
    count, released = len(arrivals), int(arrivals[:, 1].sum())
    if round(report.objective * count) != answer.total - released:
        raise EvaluationError(
            f"{instance.name}: mean latency {report.objective}, expected "
            f"{(answer.total - released) / count} as in the model"
        )
    seconds = time.perf_counter() - began
    bound = (answer.bound - released) / count
    status = "optimal" if answer.proved else "feasible"
    return ExactResult(report.objective, bound, answer.proved, schedule, seconds, status)


def solve_problem(
    problem: search.Problem,
    lane: int = 0,
    *,
    time_limit: float = math.inf,
    work_limit: float = math.inf,
    workers: int = 1,
) -> Answer:
    """Improve the plan in a lane of a problem until it is proven optimal or a limit is met.

    Args:
        problem: with a plan, which the solver begins with.
        lane: of the problem.
        time_limit: Seconds.
        work_limit: Work of the solver, in its own units of about a second, which do not depend
            on the speed of the machine.
        workers: Threads of the solver, >= 1.

    Raises:
        MissingDependencyError: OR-tools is not installed.
        EvaluationError: The solver contradicts the plan it began with.
    """
    cp_model = _import_cp_model()
    problem.pressure[lane] = 0.0
    known = search.judge(problem, lane, False, 0)
    relaxed = _Relaxation(problem, lane)
    floor = sum(relaxed.completion.values())
    if known == floor or not relaxed.count:
        return Answer(int(known), int(floor), known == floor)
    model = _Model(cp_model, relaxed, int(known))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = _SOLVER_SEED
    if time_limit < math.inf:
        solver.parameters.max_time_in_seconds = time_limit
    if work_limit < math.inf:
        solver.parameters.max_deterministic_time = work_limit
    status = solver.status_name(solver.solve(model.model)).lower()
    if status in ("optimal", "feasible"):
        model.write_plan(solver)
    elif status != "unknown":
        raise EvaluationError(f"the solver answered {status}; a plan exists")
    total = int(search.judge(problem, lane, False, 0))
    bound = max(floor, math.ceil(solver.best_objective_bound - 1e-6))
    if bound > total:
        raise EvaluationError(f"sum of completion times {total} is below the proven bound {bound}")
    return Answer(total, bound, bound == total)


def _import_cp_model() -> Any:
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingDependencyError(
            f"OR-tools cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return cp_model


# ------------------------------------------------------------------------ batches as problems


def _checked_arrivals(instance: Instance) -> IntArray:
    """Return profile and time of the jobs of an instance that can be solved."""
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    workload = instance.workload
    if workload.protocol != "batch" or workload.arrivals is None:
        raise ParameterError(f"protocol: found {workload.protocol!r}, expected 'batch'")
    if workload.noise > 0 or workload.durations is not None or workload.strict_ds3:
        raise ParameterError(
            "workload: found noise, given durations or strict_ds3, expected none of them"
        )
    if workload.governor != "constant":
        raise ParameterError(f"governor: found {workload.governor!r}, expected 'constant'")
    if workload.capacity < len(workload.arrivals):
        raise ParameterError(
            f"capacity: found {workload.capacity}, expected room for all of the "
            f"{len(workload.arrivals)} jobs"
        )
    return workload.arrivals


def _whole_problem(instance: Instance, arrivals: IntArray) -> search.Problem:
    """Return the problem of all jobs; job k is in place k of the system."""
    at_once = np.column_stack((arrivals[:, 0], np.zeros(len(arrivals), np.int64)))
    present = replace(instance, workload=replace(instance.workload, arrivals=at_once))
    limits = present.limits
    tables = layout.empty_tables(limits, 1, layout.given_jobs(present))
    layout.lay(present, tables, 0)
    state = layout.empty_state(limits, 1, kernel.COMMIT_READY, False)
    kernel.reset_lane(state, tables, 0)
    problem = search.empty_problem(limits, 1)
    search.read(state, tables, 0, problem, 0)
    problem.pressure[:], problem.random[:] = 0.0, _SEARCH_SEED
    tasks = slice(0, problem.size[0, search.OPEN])
    released = arrivals[problem.owner[0, tasks], 1]
    problem.reach[0, tasks] = np.maximum(problem.reach[0, tasks], released[:, None])
    return problem


def _schedule(instance: Instance, problem: search.Problem) -> dict[str, npt.NDArray[Any]]:
    """Return the plan as a schedule."""
    arrivals = instance.workload.arrivals
    assert arrivals is not None
    shared = instance.workload.comm_mode == "shared_memory"
    count, end, pe = problem.size[0, search.OPEN], problem.end[0], problem.pe[0]
    rows = []
    for i in problem.order[0, :count]:
        job, p = int(problem.owner[0, i]), pe[i]
        ready, data = int(arrivals[job, 1]), 0
        for e in range(problem.first_source[0, i], problem.first_source[0, i + 1]):
            j = problem.source[0, e]
            arrival = end[j] + int(problem.amount[0, e] / problem.rate[0, pe[j], p])
            ready, data = max(ready, arrival if shared else end[j]), max(data, arrival)
        data = max(ready, data) + problem.haul[0, i, p]
        task = problem.place[0, i] - job * instance.limits.tasks
        start = end[i] - problem.duration[0, i, p]
        rows.append((job, task, p, ready, ready, data, start, end[i]))
    tasks = np.array(sorted(rows, key=lambda row: row[6]), np.int64)
    first = np.full(len(arrivals), np.iinfo(np.int64).max)
    np.minimum.at(first, tasks[:, 0], tasks[:, 6])
    last = np.zeros(len(arrivals), np.int64)
    np.maximum.at(last, tasks[:, 0], tasks[:, 7])
    jobs = np.column_stack((np.arange(len(arrivals)), arrivals, first, last))
    busy = np.bincount(tasks[:, 2], tasks[:, 7] - tasks[:, 6], minlength=instance.num_pes)
    numbers = {
        "seed": 0,
        "latency_sum": (last - arrivals[:, 1]).sum(),
        "completed": len(arrivals),
        "injected": len(arrivals),
        "end_time": last.max(),
    }
    return {
        "tasks": tasks,
        "jobs": jobs,
        "mode": np.array("commit_ready"),
        "planned": np.array(True),
        "busy": busy.astype(np.int64),
        **{name: np.array(value, np.int64) for name, value in numbers.items()},
    }


# ------------------------------------------------------------------------------ relaxation


class _Relaxation:
    """A problem without the conflicts on the PEs: what every task needs at least.

    Attributes:
        count: number of open tasks.
        allowed: PEs of each task.
        end: (n, P) earliest end of each task on each PE.
        tail: (n, P) least time from its end there to that of its job.
        completion: job -> its earliest completion.
    """

    def __init__(self, problem: search.Problem, lane: int) -> None:
        """Work out ends forwards and tails backwards."""
        self.problem, self.lane = problem, lane
        self.count = count = int(problem.size[lane, search.OPEN])
        self.duration = problem.duration[lane, :count]
        self.order = problem.order[lane, :count].copy()
        fixed = problem.fixed[lane, :count]
        self.allowed = [
            [p for p in range(problem.free.shape[1]) if self._may(int(fixed[i]), i, p)]
            for i in range(count)
        ]
        self.edges = [list(self._edges_into(i)) for i in range(count)]
        self.end = np.zeros_like(self.duration)
        self.tail = np.zeros_like(self.duration)
        self._find_ends()
        self._find_tails()
        self.completion = self._find_completion()

    def _may(self, fixed: int, i: int, p: int) -> bool:
        return fixed == p or (fixed < 0 and bool(self.duration[i, p] >= 0))

    def _edges_into(self, i: int) -> Iterator[tuple[int, IntArray]]:
        """Yield the open or running predecessors of a task, and the delays (P, P)."""
        problem, lane = self.problem, self.lane
        for e in range(problem.first_source[lane, i], problem.first_source[lane, i + 1]):
            delay = (problem.amount[lane, e] / problem.rate[lane]).astype(np.int64)
            yield int(problem.source[lane, e]), delay + problem.haul[lane, i]

    def _find_ends(self) -> None:
        problem, lane = self.problem, self.lane
        for i in self.order:
            ready = problem.reach[lane, i] + problem.haul[lane, i]
            for j, delay in self.edges[i]:
                if j < self.count:
                    sources = self.allowed[j]
                    come = (self.end[j, sources][:, None] + delay[sources]).min(axis=0)
                else:
                    p = j - self.count
                    come = problem.free[lane, p] + delay[p]
                ready = np.maximum(ready, come)
            self.end[i] = np.maximum(ready, problem.free[lane]) + self.duration[i]

    def _find_tails(self) -> None:
        for i in self.order[::-1]:
            targets = self.allowed[i]
            rest = (self.duration[i] + self.tail[i])[targets]
            for j, delay in self.edges[i]:
                if j < self.count:
                    least = (delay[:, targets] + rest).min(axis=1)
                    self.tail[j] = np.maximum(self.tail[j], least)

    def _find_completion(self) -> dict[int, int]:
        problem, lane = self.problem, self.lane
        completion: dict[int, int] = {}
        for p in np.flatnonzero(problem.runs[lane]):
            job, end = int(problem.owner[lane, self.count + p]), int(problem.free[lane, p])
            completion[job] = max(completion.get(job, 0), end)
        for i in range(self.count):
            job = int(problem.owner[lane, i])
            least = int((self.end[i] + self.tail[i])[self.allowed[i]].min())
            completion[job] = max(completion.get(job, 0), least)
        return completion


# ------------------------------------------------------------------------------ the model


class _Model:
    """The constraint model of a problem."""

    def __init__(self, cp_model: Any, relaxed: _Relaxation, known: int) -> None:
        """Build the model for plans that are not worse than the known one."""
        self.relaxed, self.problem, self.lane = relaxed, relaxed.problem, relaxed.lane
        self.model = model = cp_model.CpModel()
        slack = known - sum(relaxed.completion.values())
        self.completion = {
            job: model.new_int_var(least, least + slack, "")
            for job, least in relaxed.completion.items()
        }
        self.on = [{p: model.new_bool_var("") for p in allowed} for allowed in relaxed.allowed]
        self.start: list[Any] = []
        self.end: list[Any] = []
        self._sets: dict[tuple[int, tuple[int, ...]], Any] = {}
        for i in range(relaxed.count):
            self._add_task(i, slack)
        for i in range(relaxed.count):
            for j, delay in relaxed.edges[i]:
                if j < relaxed.count:
                    self._add_edge(j, i, delay)
        self._add_elements()
        self._break_symmetry()
        self._add_hint()
        model.minimize(sum(self.completion.values()))

    def _add_task(self, i: int, slack: int) -> None:
        relaxed, model, on = self.relaxed, self.model, self.on[i]
        job = int(self.problem.owner[self.lane, i])
        ends = {p: int(relaxed.end[i, p]) for p in on}
        tails = {p: int(relaxed.tail[i, p]) for p in on}
        lengths = {p: int(relaxed.duration[i, p]) for p in on}
        latest = relaxed.completion[job] + slack
        end = model.new_int_var(min(ends.values()), latest - min(tails.values()), "")
        start = model.new_int_var(0, latest, "")
        model.add_exactly_one(on.values())
        model.add(end == start + sum(lengths[p] * chosen for p, chosen in on.items()))
        model.add(self.completion[job] >= end + min(tails.values()))
        for p, chosen in on.items():
            if ends[p] > min(ends.values()):
                model.add(end >= ends[p]).only_enforce_if(chosen)
            if tails[p] > min(tails.values()):
                model.add(self.completion[job] >= end + tails[p]).only_enforce_if(chosen)
        self.start.append(start)
        self.end.append(end)

    def _add_edge(self, j: int, i: int, delay: IntArray) -> None:
        """Let a task start after the data of a predecessor have come, by both their PEs."""
        sources, targets = self.on[j], self.on[i]
        least = int(delay[np.ix_(list(sources), list(targets))].min())
        self.model.add(self.start[i] >= self.end[j] + least)
        for p, source in sources.items():
            steps = sorted({int(delay[p, q]) for q in targets} - {least})
            for step in steps:
                reached = [q for q in targets if delay[p, q] >= step]
                rule = self.model.add(self.start[i] >= self.end[j] + step)
                rule.only_enforce_if(source, *self._one_of(i, reached))

    def _one_of(self, i: int, elements: list[int]) -> tuple[Any, ...]:
        """Return literals that are true if a task is on one of some PEs."""
        on = self.on[i]
        others = [p for p in on if p not in elements]
        if not others:
            return ()
        if len(elements) == 1:
            return (on[elements[0]],)
        key = (i, tuple(elements))
        if key not in self._sets:
            if len(others) == 1:
                self._sets[key] = on[others[0]].negated()
            else:
                self._sets[key] = literal = self.model.new_bool_var("")
                self.model.add(sum(on[p] for p in elements) == literal)
        return (self._sets[key],)

    def _add_elements(self) -> None:
        """No two tasks overlap on a PE."""
        for p in range(self.problem.free.shape[1]):
            self.model.add_no_overlap(
                self.model.new_optional_interval_var(
                    self.start[i], int(self.relaxed.duration[i, p]), self.end[i], on[p], ""
                )
                for i, on in enumerate(self.on)
                if p in on
            )

    def _break_symmetry(self) -> None:
        """A task uses a PE only if one before it uses the PE before, where they are alike."""
        for group in self._alike():
            self._rename(group)
            for p, q in pairwise(group):
                before = 0
                for on in self.on:
                    if q in on:
                        self.model.add(on[q] <= before)
                        before += on[p]

    def _alike(self) -> Iterator[list[int]]:
        """Yield the groups of PEs that can be exchanged for each other."""
        left = list(range(self.problem.free.shape[1]))
        while left:
            group = [p for p in left if p == left[0] or self._exchangeable(left[0], p)]
            yield group  # each can be swapped with the first, hence with each other
            left = [p for p in left if p not in group]

    def _exchangeable(self, p: int, q: int) -> bool:
        problem, lane, count = self.problem, self.lane, self.relaxed.count
        if problem.runs[lane, p] or problem.runs[lane, q]:
            return False
        if np.isin(problem.fixed[lane, :count], (p, q)).any():
            return False
        columns = (problem.duration, problem.reach, problem.haul)
        if any((table[lane, :count, p] != table[lane, :count, q]).any() for table in columns):
            return False
        swap = np.arange(problem.free.shape[1])
        swap[[p, q]] = q, p
        rate = problem.rate[lane]
        return bool((rate[np.ix_(swap, swap)] == rate).all())

    def _rename(self, group: list[int]) -> None:
        """Let the known plan use the PEs of a group in their order."""
        pe = self.problem.pe[self.lane, : self.relaxed.count]
        used = [p for p in dict.fromkeys(pe.tolist()) if p in group]
        renamed = dict(zip([*used, *(p for p in group if p not in used)], group, strict=True))
        pe[:] = [renamed.get(p, p) for p in pe.tolist()]

    def _add_hint(self) -> None:
        """Begin with the known plan."""
        search.judge(self.problem, self.lane, False, 0)
        ends, pe = self.problem.end[self.lane], self.problem.pe[self.lane]
        for i, on in enumerate(self.on):
            self.model.add_hint(self.end[i], int(ends[i]))
            for p, chosen in on.items():
                self.model.add_hint(chosen, int(pe[i]) == p)

    def write_plan(self, solver: Any) -> None:
        """Write the plan that was found: in the order of the starts."""
        problem, lane = self.problem, self.lane
        starts = [solver.value(start) for start in self.start]
        problem.order[lane, : len(starts)] = sorted(self.relaxed.order, key=lambda i: starts[i])
        for i, on in enumerate(self.on):
            problem.pe[lane, i] = next(p for p, chosen in on.items() if solver.value(chosen))
