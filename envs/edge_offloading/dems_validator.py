"""Independent check of a run of tasks with deadlines; shares no code with the compiled kernel.

A schedule is judged from the instance alone, in plain Python and whole milliseconds. The edge's
queue is replayed by its rules; what the cloud does and what tasks on hold do is checked task by
task; utilities and bonuses are recomputed from outcomes. Every fault found is reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance
from dispatchgym.envs.edge_offloading.report import ValidationReport, Violation

__all__ = ["COLUMNS", "VIOLATION_CODES", "validate_deadlines"]

COLUMNS = (
    "decided",
    "action",
    "moved",
    "held_from",
    "held_until",
    "sent",
    "place",
    "start",
    "end",
    "outcome",
    "foreseen",
)
"""Columns of a schedule's ``tasks``: one row a task, -1 where something did not happen."""

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V1": "a task has no outcome, or one that its times contradict",
    "V2": "an action was not legal",
    "V3": "times are out of order, or a run is not as long as it must be",
    "V6": "the edge ran two tasks at once, not the right one, or was idle without need",
    "V7": "the cloud ran more tasks than it has slots, or in another order",
    "V11": "utility or bonus are not those of the outcomes",
    "V12": "a task left its hold too early or too late, or the cloud began it too late",
}
"""What each code means."""

_CLOUD, _EDGE, _DROP, _HOLD = range(4)
_DONE, _LATE, _DROPPED, _EXPIRED = range(4)
_BUFFER, _POLL, _EARLIEST, _LATEST = 10, 10, 50, -10
_LONGEST_STOLEN, _SHORTEST_STOLEN = 742, 132
_TIME_LIMIT = 1 << 40
_TOLERANCE = 1e-6


class _Rules(NamedTuple):
    """What the edge does under a discipline."""

    order: Callable[[_Model], float] | None
    checks: bool = False
    migrates: bool = False
    steals_idle: bool = False
    steals: bool = False
    adapts: bool = False
    keeps: bool = False


class _Model(NamedTuple):
    """A model of the instance."""

    edge_time: int
    cloud_time: int
    deadline: int
    benefit: float
    edge_cost: float
    cloud_cost: float

    @property
    def pays(self) -> bool:
        """Whether a run on the cloud in time earns more than it costs."""
        return self.benefit > self.cloud_cost

    @property
    def gain(self) -> float:
        """What a second of the edge wins by stealing it."""
        won = (self.cloud_cost - self.edge_cost) * 1000.0 / self.edge_time
        return won + 1000.0 if self.benefit < self.cloud_cost else won


class _Task(NamedTuple):
    """One row of a schedule; see `COLUMNS`."""

    decided: int
    action: int
    moved: int
    held_from: int
    held_until: int
    sent: int
    place: int
    start: int
    end: int
    outcome: int
    foreseen: int


def _by_deadline(model: _Model) -> float:
    return model.deadline


_DISCIPLINES: Mapping[str, _Rules] = {
    "fifo": _Rules(None),
    "edf": _Rules(_by_deadline),
    "sjf": _Rules(lambda model: model.edge_time),
    "hbf": _Rules(lambda model: -model.benefit),
    "huf": _Rules(lambda model: model.edge_cost - model.benefit),
    "e_c": _Rules(_by_deadline, checks=True),
    "dem": _Rules(_by_deadline, checks=True, migrates=True),
    "dems": _Rules(_by_deadline, True, True, steals_idle=True, steals=True),
    "demsa": _Rules(_by_deadline, True, True, steals_idle=True, steals=True, adapts=True),
    "gems": _Rules(_by_deadline, True, True, steals=True, keeps=True),
}


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate_deadlines(instance: DeadlineInstance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: The run.
        schedule: As in the environment's ``info["schedule"]``: ``tasks`` int64 (N, 11), see
            `COLUMNS`, in order of arrival; ``discipline`` and ``queue``, by which the edge
            worked; ``objective`` (2,), utility and bonus. Actions are 0 cloud, 1 edge, 2 drop,
            3 hold; places 0 cloud, 1 edge; outcomes 0 in time, 1 late, 2 dropped, 3 expired.

    Returns:
        The report with all violations found; of a malformed schedule only that is reported.
    """
    try:
        tasks = _read_tasks(instance, schedule)
        discipline = _read_choice(schedule, "discipline", _DISCIPLINES)
        queue = _read_choice(schedule, "queue", ("corrected", "published_code"))
        claimed = _read_objective(schedule)
    except _Malformed as error:
        nothing = np.full(2, math.nan)
        return ValidationReport(False, nothing, [Violation("malformed", str(error))])
    check = _Check(instance, tasks, _DISCIPLINES[discipline], queue == "published_code")
    check.run()
    objective = check.objective()
    for name, found, expected in zip(("utility", "bonus"), claimed, objective, strict=True):
        if not math.isclose(found, expected, rel_tol=1e-9, abs_tol=_TOLERANCE):
            check.note("V11", f"{name}: found {found:g}, expected {expected:g}")
    return ValidationReport(not check.found, np.array(objective), check.found)


# ------------------------------------------------------------------------------- reading


def _array(schedule: Mapping[str, Any], name: str) -> Any:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        return np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None


def _read_tasks(instance: DeadlineInstance, schedule: Mapping[str, Any]) -> list[_Task]:
    array = _array(schedule, "tasks")
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != len(COLUMNS):
        raise _Malformed(
            f"tasks: found type {array.dtype} and shape {array.shape}, "
            f"expected whole numbers (n, {len(COLUMNS)})"
        )
    if len(array) > instance.num_tasks:
        raise _Malformed(f"tasks: found {len(array)} rows, expected at most {instance.num_tasks}")
    if array.size and not (array.min() >= -1 and array.max() <= _TIME_LIMIT):
        raise _Malformed(f"tasks: found values outside -1..{_TIME_LIMIT}")
    rows = [_Task(*row) for row in array.tolist()]
    for number, task in enumerate(rows):
        for name, low, high in (("action", 0, 3), ("place", -1, 1), ("outcome", -1, 3)):
            value = getattr(task, name)
            if not low <= value <= high:
                raise _Malformed(f"tasks[{number}].{name}: found {value}, expected {low} to {high}")
    return rows


def _read_choice(schedule: Mapping[str, Any], name: str, choices: Iterable[str]) -> str:
    value = str(_array(schedule, name))
    if value not in choices:
        raise _Malformed(f"{name}: found {value!r}, expected one of {', '.join(choices)}")
    return value


def _read_objective(schedule: Mapping[str, Any]) -> list[float]:
    array = _array(schedule, "objective")
    if array.shape != (2,) or array.dtype.kind not in "iuf":
        raise _Malformed(
            f"objective: found type {array.dtype} and shape {array.shape}, expected two numbers"
        )
    return [float(value) for value in array]


# ------------------------------------------------------------------------------- checking


@dataclass
class _Check:
    """The run as its tasks tell it, and the faults met on the way."""

    instance: DeadlineInstance
    tasks: list[_Task]
    rules: _Rules
    skips_next: bool

    def __post_init__(self) -> None:
        """Look up what belongs to each task."""
        inst = self.instance
        models = [
            _Model(*row)
            for row in zip(
                inst.edge_time.tolist(),
                inst.usual_cloud_time.tolist(),
                inst.deadline.tolist(),
                inst.benefit.tolist(),
                inst.edge_cost.tolist(),
                inst.cloud_cost.tolist(),
                strict=True,
            )
        ]
        self.number_of_model = inst.model.tolist()
        self.model = [models[m] for m in self.number_of_model]
        self.release = inst.release.tolist()
        self.latest = [
            release + model.deadline
            for release, model in zip(self.release, self.model, strict=True)
        ]
        self.found: list[Violation] = []

    def note(self, code: str, message: str, task: int | None = None) -> None:
        """Report a fault."""
        where = "" if task is None else f"task {task}: "
        self.found.append(Violation(code, where + message, task))

    def expect(self, code: str, task: int, name: str, found: int, expected: int) -> None:
        """Report a number that is not as expected."""
        if found != expected:
            self.note(code, f"{name}: found {found}, expected {expected}", task)

    def run(self) -> None:
        """Check everything but the objective."""
        for number in range(len(self.tasks), self.instance.num_tasks):
            self.note("V1", "found no row, expected one", number)
        for number, task in enumerate(self.tasks):
            self.expect("V3", number, "decided", task.decided, self.release[number])
            self.check_outcome(number, task)
            self.check_action(number, task)
            self.check_hold(number, task)
            self.check_run(number, task)
        self.check_cloud()
        _EdgeReplay(self).run()

    # -------------------------------------------------------------------- single tasks

    def check_outcome(self, number: int, task: _Task) -> None:
        """A task has one outcome, which its times tell."""
        if task.outcome < 0:
            self.note("V1", "found no outcome, expected one", number)
        elif task.place >= 0:
            self.expect("V1", number, "outcome", task.outcome, int(task.end > self.latest[number]))
        elif task.outcome < _DROPPED:
            self.note("V1", "found a result without a run", number)
        if task.place < 0 and task.start >= 0:
            self.note("V1", f"start: found {task.start} without a run", number)
        if task.outcome == _EXPIRED and task.sent < 0 and task.action != _EDGE:
            self.note("V1", "expired, but was neither queued nor sent", number)

    def check_action(self, number: int, task: _Task) -> None:
        """Where a task went was open to it, and it went there."""
        left, model = self.latest[number] - task.decided, self.model[number]
        if not self.rules.adapts:
            self.expect("V12", number, "foreseen", task.foreseen, model.cloud_time)
        if task.action == _CLOUD:
            self.expect("V3", number, "sent", task.sent, task.decided)
            if task.foreseen >= left:
                self.note("V2", f"cloud: expects {task.foreseen} ms of {left}", number)
        elif task.action == _HOLD:
            self.expect("V3", number, "held_from", task.held_from, task.decided)
            needed = task.foreseen if model.pays else model.edge_time
            if needed > left:
                self.note("V2", f"hold: needs {needed} ms of {left}", number)
        elif task.action == _DROP:
            self.expect("V1", number, "outcome", task.outcome, _DROPPED)
            self.expect("V3", number, "end", task.end, task.decided)
        if task.moved >= 0 and task.action != _EDGE:
            self.note("V3", f"moved: found {task.moved}, but it was never queued", number)
        elif task.held_from >= 0 and task.action != _HOLD:
            self.expect("V3", number, "held_from", task.held_from, task.moved)

    def check_hold(self, number: int, task: _Task) -> None:
        """A task on hold is stolen or leaves at its last moment."""
        if task.held_from < 0:
            return
        if task.place == _EDGE:
            self.expect("V12", number, "held_until", task.held_until, task.start)
            return
        model = self.model[number]
        needed = task.foreseen if model.pays else model.edge_time
        trigger = self.latest[number] - needed - _BUFFER
        due = -(-max(task.held_from, trigger - _EARLIEST) // _POLL) * _POLL
        self.expect("V12", number, "held_until", task.held_until, due)
        if model.pays and trigger - due >= _LATEST:
            self.expect("V12", number, "sent", task.sent, due)
        else:
            self.expect("V12", number, "outcome", task.outcome, _DROPPED)
            self.expect("V12", number, "end", task.end, due)

    def check_run(self, number: int, task: _Task) -> None:
        """A run is as long as it must be, and begins while it can be in time."""
        if task.place < 0:
            return
        expected = task.foreseen
        if task.place == _EDGE:
            expected = length = self.model[number].edge_time
        else:
            length = int(self.instance.cloud_time[number]) + self.surge(task.start)
        self.expect("V3", number, "end", task.end, task.start + length)
        if expected >= self.latest[number] - task.start:
            self.note("V12", f"start: found {task.start}, which is too late", number)
        if task.place == _CLOUD and not 0 <= task.sent <= task.start:
            self.note("V3", f"sent: found {task.sent}, start {task.start}", number)

    def surge(self, time: int) -> int:
        """Return what the network adds to a run that starts now."""
        start, ramp, length, height = self.instance.surge
        inside = min(time - start, start + length - time)
        return height * min(inside, ramp) // ramp if height and inside > 0 else 0

    # ------------------------------------------------------------------------ cloud

    def check_cloud(self) -> None:
        """Runs start in the order in which tasks were sent, as soon as a slot is free."""
        runs = [(task.sent, task.start, task.end, n) for n, task in enumerate(self.tasks)
                if task.place == _CLOUD]  # fmt: skip
        runs.sort()
        changes = sorted([(start, 1) for _, start, _, _ in runs] + [(e, -1) for _, _, e, _ in runs])
        running = 0
        for time, change in changes:
            running += change
            if running > self.instance.slots:
                self.note("V7", f"cloud: found {running} runs at {time}")
        ends, latest = {end for _, _, end, _ in runs}, (-1, -1)
        for sent, start, _, number in runs:
            if start > sent and start not in ends:
                self.note("V7", f"start: found {start}, but no slot became free then", number)
            if sent > latest[0] and start < latest[1]:
                self.note("V7", f"start: found {start}, before what was sent earlier", number)
            latest = max(latest, (sent, start), key=lambda pair: pair[1])
        for number, task in enumerate(self.tasks):
            if task.outcome == _EXPIRED and task.sent >= 0:
                left = self.latest[number] - task.end
                if task.foreseen < left:
                    self.note("V12", f"expired on the cloud with {left} ms left", number)

    # -------------------------------------------------------------------- objective

    def objective(self) -> tuple[float, float]:
        """Return utility and bonus from the outcomes alone."""
        utility = 0.0
        for number, task in enumerate(self.tasks):
            model = self.model[number]
            if task.place >= 0:
                utility -= model.edge_cost if task.place == _EDGE else model.cloud_cost
                utility += model.benefit if task.end <= self.latest[number] else 0.0
        return utility, self.bonus()

    def bonus(self) -> float:
        """Return the bonuses of all windows that end within the horizon."""
        inst = self.instance
        counts: dict[tuple[int, int], list[int]] = {}
        for number, task in enumerate(self.tasks):
            count = counts.setdefault(
                (task.end // inst.window, self.number_of_model[number]), [0, 0]
            )
            count[0] += task.place >= 0 and task.end <= self.latest[number]
            count[1] += 1
        return sum(
            float(inst.bonus[m])
            for (window, m), (in_time, ended) in counts.items()
            if (window + 1) * inst.window <= inst.horizon and in_time >= inst.required[m] * ended
        )


class _EdgeReplay:
    """The edge's queue as its rules make it, compared with what the tasks tell."""

    def __init__(self, check: _Check) -> None:
        """Begin with an idle edge and an empty queue."""
        self.check, self.tasks, self.rules = check, check.tasks, check.rules
        self.model, self.latest = check.model, check.latest
        self.queue: list[int] = []
        self.held: set[int] = set()
        self.taken: set[int] = set()
        self.busy_until = 0
        self.begins, self.decisions = self.at("start"), self.at("decided")
        self.holds, self.leaves = self.at("held_from"), self.at("held_until")
        self.moves, self.expiries = self.at("moved"), self.expired()

    def run(self) -> None:
        """Go through all instants at which something happens at the edge."""
        ends = {task.end for task in self.tasks if task.place == _EDGE}
        times = {*self.begins, *self.decisions, *self.holds, *self.leaves, *self.moves}
        for time in sorted((times | ends | self.expiries.keys()) - {-1}):
            self.replay(time)

    def replay(self, time: int) -> None:
        """Let everything happen that happens at an instant."""
        kept = self.moves.get(time, ()) if self.rules.keeps else ()
        self.taken = set(kept)  # at once, or made late: the order within an instant is not told
        self.queue = [number for number in self.queue if number not in self.taken]
        self.held.difference_update(
            n for n in self.leaves.get(time, ()) if self.tasks[n].place != _EDGE
        )
        for number in self.decisions.get(time, ()):
            if self.tasks[number].action == _EDGE and number not in self.taken:
                self.insert(number, time)
        self.held.update(n for n in self.holds.get(time, ()) if self.waits_at(n, time))
        self.expire(self.expiries.get(time, ()), time)
        for number in self.begins.get(time, ()):
            if self.tasks[number].place == _EDGE:
                self.begin(number, time)
        if self.busy_until <= time and self.queue:
            self.check.note("V6", f"edge: idle at {time} with {len(self.queue)} tasks queued")
            self.queue.clear()

    def waits_at(self, number: int, time: int) -> bool:
        """Tell whether a task is on hold when the edge takes work at an instant."""
        task = self.tasks[number]
        return task.held_until != time or task.place == _EDGE

    def at(self, name: str) -> dict[int, list[int]]:
        """Return the tasks by the time of something."""
        found: dict[int, list[int]] = {}
        for number, task in enumerate(self.tasks):
            found.setdefault(getattr(task, name), []).append(number)
        return found

    def expired(self) -> dict[int, list[int]]:
        """Return the tasks that expired in the edge's queue, by time."""
        found: dict[int, list[int]] = {}
        for number, task in enumerate(self.tasks):
            if task.outcome == _EXPIRED and task.sent < 0:
                found.setdefault(task.end, []).append(number)
        return found

    def key(self, number: int) -> float:
        """Return a task's place in the order of the queue."""
        order = self.rules.order
        return number if order is None else order(self.model[number])

    def score(self, number: int, time: int) -> float:
        """Return what is lost if a task does not run at the edge."""
        model = self.model[number]
        if self.tasks[number].foreseen < self.latest[number] - time and (
            model.benefit >= model.cloud_cost
        ):
            return abs(model.cloud_cost - model.edge_cost)
        return model.benefit - model.edge_cost

    def insert(self, number: int, time: int) -> None:
        """Queue a task; those that it makes late move."""
        place = sum(1 for other in self.queue if self.key(other) <= self.key(number))
        busy = max(self.busy_until - time, 0) + self.model[number].edge_time
        busy += sum(self.model[other].edge_time for other in self.queue[:place])
        if self.rules.checks and not self.taken and busy >= self.latest[number] - time:
            left = self.latest[number] - time
            self.check.note("V2", f"edge: done in {busy} ms of {left}", number)
        behind = place + self.check.skips_next
        stays = self.queue[:behind]
        for other in self.queue[behind:]:
            late = self.latest[other] - time < busy + self.model[other].edge_time
            if late and self.rules.migrates and not self.taken:
                self.check.expect("V6", other, "moved", self.tasks[other].moved, time)
            else:
                busy += self.model[other].edge_time
                stays.append(other)
        self.queue = stays
        self.queue.insert(place, number)

    def expire(self, numbers: Iterable[int], time: int) -> None:
        """Take tasks from the queue that cannot be in time any more when the edge is free."""
        for number in numbers:
            left = self.latest[number] - time
            if number not in self.queue or self.model[number].edge_time < left:
                self.check.note("V6", f"expired at {time} with {left} ms left", number)
            if self.busy_until > time:
                self.check.note("V6", f"expired at {time} while the edge was busy", number)
            if number in self.queue:
                self.queue.remove(number)

    def begin(self, number: int, time: int) -> None:
        """Start a run: the first of the queue, or one that is stolen."""
        if time < self.busy_until:
            self.check.note("V6", f"start: found {time}, busy until {self.busy_until}", number)
        stolen = self.steal(time)
        expected = stolen if stolen is not None else (self.queue[0] if self.queue else None)
        if number != expected and not self.taken:
            self.check.note("V6", f"start: found at {time}, expected task {expected}", number)
        if number in self.queue:
            self.queue.remove(number)
        self.held.discard(number)
        self.busy_until = max(self.busy_until, time + self.model[number].edge_time)

    def steal(self, time: int) -> int | None:
        """Return the task on hold that the free edge must run, if any."""
        if not self.rules.steals or (not self.queue and not self.rules.steals_idle):
            return None
        allowance = _LONGEST_STOLEN
        if self.queue:
            head = self.queue[0]
            allowance = self.latest[head] - self.model[head].edge_time - _BUFFER - time
            if allowance <= _SHORTEST_STOLEN:
                return None
        fits = [
            number
            for number in self.held
            if self.model[number].edge_time < min(allowance, self.latest[number] - time)
            and not self.delays(self.model[number].edge_time, time)
        ]
        return max(fits, key=lambda n: (self.model[n].gain, *self.order_held(n)), default=None)

    def order_held(self, number: int) -> tuple[int, int]:
        """Return what decides among equals: the earliest last moment, then the longest hold."""
        model, task = self.model[number], self.tasks[number]
        needed = task.foreseen if model.pays else model.edge_time
        return needed - self.latest[number], -task.held_from

    def delays(self, busy: int, time: int) -> bool:
        """Tell whether a queued task would be late if the edge were busy so long first."""
        for number in self.queue:
            busy += self.model[number].edge_time
            if busy > self.latest[number] - time:
                return True
        return False
