"""A slow, plain-Python simulator of job-shop dispatch: the yardstick for the compiled kernel.

It is written for reading, from the definitions alone, and shares no code with the package:
Python integers, dictionaries, lists, one small function per idea.

The problem. Jobs are ordered lists of operations; each operation needs one machine for a whole
number of time units. In classic mode a job waits between operations in a buffer without limit;
in blocking mode it stays on its machine until the next one takes it. A cycle of blocked jobs,
each waiting for the machine of the next, moves at once when swaps are allowed and is a deadlock
when they are not (Pranzo, Pacciarelli: "An iterated greedy metaheuristic for the blocking job
shop scheduling problem", Journal of Heuristics 22, 2016). Machines may shut down.

What happens at one instant, in this order:

1. completions (the job leaves the shop, queues, or blocks its machine), then, for
   ``finish_first``, the shutdown that the operation held back;
2. repairs; a paused job resumes (`resume`: what was left, `restart`: everything again);
3. shutdowns, and the releases of jobs;
4. cycles of blocked jobs rotate if all their machines are up (in classic mode there are none);
   a job whose next operation is on its own machine is a cycle of one, which needs no exchange:
   it moves on at once, counts as no swap, and is allowed without swap too;
5. decisions, one job each, for as long as there is a legal one; after each, everything above
   that is due at this instant happens again (durations of zero, shutdowns at offset zero).

Dispatching rules. The legal job with the smallest value wins; ties go to the lowest index.
k is the next operation of the job, p its duration, W the work left with it (operations k, k+1,
...), T the total work of the job, A the work up to and with operation k, K its number of
operations. See `RULES` for the values. A ratio with denominator zero has value infinity if its
numerator is positive, else 0. "Jobs waiting for machine m now" (WINQ, BLKREL) are all whose next
operation is on m and not under way: queued (classic), blocked on another machine, and also jobs
that are still outside the shop, once they are released. (Without those outside, the golden values
of WINQ and BLKREL come out differently.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

OUTSIDE, QUEUED, PROCESSING, PAUSED, BLOCKED, DONE = range(6)
_TWO_64 = 1 << 64


@dataclass(frozen=True)
class Settings:
    """What the environment's keyword arguments say, flat."""

    mode: str = "classic"
    scheme: str = "event"
    swap: bool = True
    deadlock_avoidance: str = "none"
    allow_wait: str = "never"
    wip_cap: int = 0
    interrupt_kind: str = "none"
    interrupt_probability: float = 0.0
    interrupt_policy: str = "resume"
    interrupt_length: tuple[float, float] = (0.5, 1.5)
    unload_when_down: bool = True
    interrupt_seed: int = 0


# ---------------------------------------------------------------- keyed random numbers


def mix(x: int) -> int:
    """Scramble a 64-bit number (SplitMix64's finaliser)."""
    z = (x + 0x9E3779B97F4A7C15) % _TWO_64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % _TWO_64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % _TWO_64
    return z ^ (z >> 31)


def uniform(seed: int, stream: int, a: int, b: int) -> float:
    """Return the number in [0, 1) of a key."""
    x = mix((seed + 0x9E3779B97F4A7C15 * (stream + 1)) % _TWO_64)
    x = mix(x ^ (a * 0xD1B54A32D192ED03) % _TWO_64)
    x = mix(x ^ (b * 0xABC98388FB8FAC03) % _TWO_64)
    return (x >> 11) * 2.0**-53


def shutdown_lengths(instance: Any, length: tuple[float, float]) -> tuple[int, int]:
    """Return the shortest and longest shutdown of an instance in time units."""
    durations = [p for job in jobs_of(instance) for _, p in job]
    mean = sum(durations) / len(durations)
    return math.ceil(length[0] * mean), math.ceil(length[1] * mean)


def jobs_of(instance: Any) -> list[list[tuple[int, int]]]:
    """Return an instance as lists of (machine, duration)."""
    return [
        [
            (int(instance.machine[j][k]), int(instance.duration[j][k]))
            for k in range(int(instance.operations[j]))
        ]
        for j in range(len(instance.operations))
    ]


def operation_shutdown(
    instance: Any, settings: Settings, job: int, operation: int
) -> tuple[int, int] | None:
    """Return (offset, length) of the shutdown of an operation, or None if there is none."""
    duration = int(instance.duration[job][operation])
    seed = settings.interrupt_seed
    if settings.interrupt_kind != "per_operation" or duration == 0:
        return None
    if uniform(seed, 0, job, operation) >= settings.interrupt_probability:
        return None
    low, high = shutdown_lengths(instance, settings.interrupt_length)
    offset = math.floor(uniform(seed, 1, job, operation) * duration)
    length = low + math.floor(uniform(seed, 2, job, operation) * (high - low + 1))
    return offset, length


def calendar_interval(
    instance: Any, settings: Settings, machine: int, index: int, previous_end: int
) -> tuple[int, int]:
    """Return (begin, end) of a machine's shutdown number `index` after the one before it."""
    seed = settings.interrupt_seed
    low, high = shutdown_lengths(instance, settings.interrupt_length)
    log_stay_up = math.log(1.0 - settings.interrupt_probability)
    up = 1 + math.floor(math.log(1.0 - uniform(seed, 3, machine, index)) / log_stay_up)
    down = low + math.floor(uniform(seed, 4, machine, index) * (high - low + 1))
    return previous_end + up, previous_end + up + down


# ------------------------------------------------------------------------- the simulator


class JobShop:
    """One episode, step by step."""

    def __init__(self, instance: Any, settings: Settings) -> None:
        """Start an episode at time 0 and go on to its first decision."""
        self.instance = instance
        self.settings = settings
        self.jobs = jobs_of(instance)
        self.release = [int(r) for r in instance.release]
        self.blocking = settings.mode == "blocking"
        self.time = 0
        self.next = [0] * len(self.jobs)
        self.phase = [OUTSIDE] * len(self.jobs)
        self.location: list[int | None] = [None] * len(self.jobs)
        self.finish: list[int | None] = [None] * len(self.jobs)
        self.arrive = list(self.release)
        machines = range(int(instance.num_machines))
        self.occupant: list[int | None] = [None for _ in machines]
        self.down_until: list[int | None] = [None for _ in machines]
        self.shutdown_at: list[int | None] = [None for _ in machines]
        self.shutdown_length: list[int] = [0 for _ in machines]
        self.held_back: list[int | None] = [None for _ in machines]
        self.left_when_paused: list[int] = [0 for _ in machines]
        self.calendar_index = [0 for _ in machines]
        self.machine_ready = [0 for _ in machines]
        self.start: dict[tuple[int, int], int] = {}
        self.processing_end: dict[tuple[int, int], int] = {}
        self.departure: dict[tuple[int, int], int] = {}
        self.interruptions: list[tuple[int, int, int, int, int]] = []
        self.swaps = 0
        self.longest_cycle = 0
        self.deadlock = False
        if settings.scheme == "event":
            if settings.interrupt_kind == "calendar" and settings.interrupt_probability > 0:
                for machine in machines:
                    self._plan_calendar(machine, 0)
            self._settle()
            self._advance_to_decision()

    # -- what a policy may ask

    @property
    def done(self) -> bool:
        """Whether every job is finished, or the shop is stuck."""
        return self.deadlock or all(phase == DONE for phase in self.phase)

    @property
    def makespan(self) -> int:
        """The latest departure so far."""
        return max(self.departure.values(), default=0)

    def legal_jobs(self) -> list[int]:
        """Return the jobs that may be started now, in increasing order."""
        if self.done:
            return []
        if self.settings.scheme != "event":
            unfinished = [j for j in range(len(self.jobs)) if self.phase[j] != DONE]
            return unfinished if self.settings.scheme == "sequence" else self._conflict(unfinished)
        return [j for j in range(len(self.jobs)) if self._legal(j)]

    def wait_legal(self) -> bool:
        """Whether the policy may let the time go on although jobs could be started."""
        if self.settings.allow_wait != "if_event" or not self.legal_jobs():
            return False
        return self._time_helps()

    def step(self, job: int) -> None:
        """Start the next operation of a legal job and go on to the next decision."""
        assert job in self.legal_jobs(), f"job {job} is not legal at time {self.time}"
        if self.settings.scheme != "event":
            self._append(job)
            return
        self._move([job])
        self._settle()
        self._advance_to_decision()

    def wait(self) -> None:
        """Let the time go on to the next event, and on from there to the next decision."""
        assert self.wait_legal(), f"wait is not legal at time {self.time}"
        self._advance()
        self._advance_to_decision()

    def schedule(self) -> dict[str, np.ndarray]:
        """Return what happened as arrays, in the layout of the environment's info."""
        shape = (len(self.jobs), max(len(job) for job in self.jobs))
        arrays = {}
        for name, values in (
            ("start", self.start),
            ("processing_end", self.processing_end),
            ("end", self.departure),
        ):
            arrays[name] = np.full(shape, -1, dtype=np.int64)
            for (j, k), value in values.items():
                arrays[name][j, k] = value
        settings = self.settings
        log = sorted(row for row in self.interruptions if row[1] < self.makespan)
        return {
            **arrays,
            "interruptions": np.array(log, dtype=np.int64).reshape(-1, 5),
            "mode": np.array(settings.mode),
            "swap": np.array(settings.swap),
            "interrupt_kind": np.array(settings.interrupt_kind),
            "interrupt_probability": np.array(float(settings.interrupt_probability)),
            "interrupt_policy": np.array(settings.interrupt_policy),
            "interrupt_length": np.array(settings.interrupt_length, dtype=np.float64),
            "unload_when_down": np.array(settings.unload_when_down),
            "interrupt_seed": np.array(settings.interrupt_seed, dtype=np.uint64),
            "makespan": np.array(self.makespan, dtype=np.int64),
        }

    # -- legality

    def _machine(self, job: int) -> int:
        return self.jobs[job][self.next[job]][0]

    def _duration(self, job: int) -> int:
        return self.jobs[job][self.next[job]][1]

    def _legal(self, job: int) -> bool:
        if self.phase[job] not in (OUTSIDE, QUEUED, BLOCKED):
            return False
        machine = self._machine(job)
        if self.occupant[machine] is not None or self.down_until[machine] is not None:
            return False
        if self.phase[job] == OUTSIDE and not self._may_enter(job):
            return False
        held = self.location[job]
        if held is not None and self.down_until[held] is not None:
            if not self.settings.unload_when_down:
                return False
        avoid = self.blocking and self.settings.deadlock_avoidance == "one_step"
        return not (avoid and not self.settings.swap and self._closes_cycle(job))

    def _may_enter(self, job: int) -> bool:
        in_shop = sum(phase not in (OUTSIDE, DONE) for phase in self.phase)
        room = self.settings.wip_cap == 0 or in_shop < self.settings.wip_cap
        return room and self.time >= self.release[job]

    def _closes_cycle(self, job: int) -> bool:
        """Whether starting the job leaves it in a circle of jobs that need each other's machine.

        Every job on a machine counts as waiting for the machine of the operation after the one
        it is on, whether it has finished this one or not: it will have to go there.
        """
        target = self._machine(job)
        follow = self.next[job] + 1
        seen = {job}
        current = job
        while follow < len(self.jobs[current]):
            wanted = self.jobs[current][follow][0]
            if wanted == target:
                return current != job
            holder = self.occupant[wanted]
            if holder is None or holder in seen:
                return False
            seen.add(holder)
            current = holder
            follow = self.next[current] + (self.phase[current] != BLOCKED)
        return False

    # -- changes of state

    def _earliest(self, job: int) -> int:
        """Sequence scheme: when the next operation of a job can begin."""
        return max(self.arrive[job], self.machine_ready[self._machine(job)])

    def _conflict(self, unfinished: list[int]) -> list[int]:
        """Giffler and Thompson's conflict set: who may go before the first possible end."""
        span = {j: (self._earliest(j) + self._duration(j), self._earliest(j)) for j in unfinished}
        first = min(unfinished, key=lambda j: (*span[j], j))
        end, begin = span[first]
        return [
            j
            for j in unfinished
            if self._machine(j) == self._machine(first)
            and (self._earliest(j) < end or self._earliest(j) == begin)
        ]

    def _append(self, job: int) -> None:
        """Sequence scheme: the next operation goes behind everything on its machine."""
        k, machine, duration = self.next[job], self._machine(job), self._duration(job)
        start = max(self.arrive[job], self.machine_ready[machine])
        end = start + duration
        self.start[job, k] = start
        self.processing_end[job, k] = self.departure[job, k] = end
        self.arrive[job] = self.machine_ready[machine] = end
        self.next[job] += 1
        self.phase[job] = DONE if self.next[job] == len(self.jobs[job]) else QUEUED
        self.time = max(self.time, end)

    def _move(self, cycle: list[int]) -> None:
        """Let jobs leave their machines together, then enter those of their next operations."""
        for job in cycle:
            held = self.location[job]
            if held is not None:
                self.departure[job, self.next[job] - 1] = self.time
                self.occupant[held] = None
        for job in cycle:
            self._start(job)

    def _start(self, job: int) -> None:
        k, machine, duration = self.next[job], self._machine(job), self._duration(job)
        assert self.occupant[machine] is None and self.down_until[machine] is None
        self.occupant[machine] = job
        self.location[job] = machine
        self.phase[job] = PROCESSING
        self.start[job, k] = self.time
        self.finish[job] = self.time + duration
        shutdown = operation_shutdown(self.instance, self.settings, job, k)
        if shutdown is not None:
            offset, self.shutdown_length[machine] = shutdown
            late = self.settings.interrupt_policy == "finish_first"
            self.shutdown_at[machine] = self.time + (duration if late else offset)

    def _settle(self) -> None:
        """Let everything happen that is due at this instant."""
        changed = True
        while changed and not self.deadlock:
            changed = self._complete()
            changed |= self._repair()
            changed |= self._shut_down()
            changed |= self._rotate()

    def _complete(self) -> bool:
        finished = [
            j
            for j in range(len(self.jobs))
            if self.phase[j] == PROCESSING and self.finish[j] == self.time
        ]
        for job in finished:
            machine = self._machine(job)
            k = self.next[job]
            last = k == len(self.jobs[job]) - 1
            self.processing_end[job, k] = self.time
            self.finish[job] = None
            self.next[job] = k + 1
            self.arrive[job] = self.time
            if last or not self.blocking:
                self.departure[job, k] = self.time
                self.occupant[machine] = None
                self.location[job] = None
            self.phase[job] = DONE if last else BLOCKED if self.blocking else QUEUED
            self._release_held_back(machine)
            if self.shutdown_at[machine] == self.time and self._per_operation():
                self._go_down(machine, self.time + self.shutdown_length[machine], (job, k))
        return bool(finished)

    def _per_operation(self) -> bool:
        return self.settings.interrupt_kind == "per_operation"

    def _release_held_back(self, machine: int) -> None:
        """Calendar with finish_first: the machine is down for the rest of its interval."""
        until = self.held_back[machine]
        self.held_back[machine] = None
        if until is not None and self.time < until:
            self.down_until[machine] = until
            self.interruptions.append((machine, self.time, until, -1, -1))

    def _repair(self) -> bool:
        repaired = [m for m, until in enumerate(self.down_until) if until == self.time]
        for machine in repaired:
            self.down_until[machine] = None
            job = self.occupant[machine]
            if job is not None and self.phase[job] == PAUSED:
                self.phase[job] = PROCESSING
                self.finish[job] = self.time + self.left_when_paused[machine]
        return bool(repaired)

    def _shut_down(self) -> bool:
        due = [m for m, at in enumerate(self.shutdown_at) if at == self.time]
        for machine in due:
            until = self.time + self.shutdown_length[machine]
            job = self.occupant[machine]
            processing = job is not None and self.phase[job] == PROCESSING
            if self._per_operation():
                assert job is not None and processing
                self._go_down(machine, until, (job, self.next[job]))
            elif processing and self.settings.interrupt_policy == "finish_first":
                self.held_back[machine] = until
                self._plan_calendar(machine, until)
            else:
                self._go_down(machine, until, (-1, -1))
                self._plan_calendar(machine, until)
        return bool(due)

    def _go_down(self, machine: int, until: int, cause: tuple[int, int]) -> None:
        self.shutdown_at[machine] = None
        self.down_until[machine] = until
        self.interruptions.append((machine, self.time, until, *cause))
        job = self.occupant[machine]
        if job is not None and self.phase[job] == PROCESSING:
            finish = self.finish[job]
            assert finish is not None
            again = self.settings.interrupt_policy == "restart"
            self.left_when_paused[machine] = self._duration(job) if again else finish - self.time
            self.phase[job] = PAUSED
            self.finish[job] = None

    def _plan_calendar(self, machine: int, previous_end: int) -> None:
        index = self.calendar_index[machine]
        begin, end = calendar_interval(self.instance, self.settings, machine, index, previous_end)
        self.calendar_index[machine] = index + 1
        self.shutdown_at[machine] = begin
        self.shutdown_length[machine] = end - begin

    def _rotate(self) -> bool:
        """Move one cycle of blocked jobs if there is one that can move."""
        for job in range(len(self.jobs)):
            cycle = self._cycle_from(job)
            if not cycle:
                continue
            if len(cycle) > 1 and not self.settings.swap:
                self.deadlock = True
                return False
            if any(self.down_until[self._machine(j)] is not None for j in cycle):
                continue
            if len(cycle) > 1:
                self.swaps += 1
                self.longest_cycle = max(self.longest_cycle, len(cycle))
            self._move(cycle)
            return True
        return False

    def _cycle_from(self, job: int) -> list[int]:
        """Return the cycle of blocked jobs that starts and ends at a job, or an empty list."""
        path: list[int] = []
        current: int | None = job
        while current is not None and self.phase[current] == BLOCKED and current not in path:
            path.append(current)
            current = self.occupant[self._machine(current)]
        return path if path and current == job else []

    # -- time

    def _time_helps(self) -> bool:
        """Whether a completion, a repair or a release lies ahead; shutdowns only take away."""
        completion = any(phase == PROCESSING for phase in self.phase)
        repair = any(until is not None for until in self.down_until)
        release = any(
            self.phase[j] == OUTSIDE and self.release[j] > self.time for j in range(len(self.jobs))
        )
        return completion or repair or release

    def _next_event(self) -> int | None:
        events = [f for f in self.finish if f is not None]
        events += [until for until in self.down_until if until is not None]
        events += [at for at in self.shutdown_at if at is not None]
        events += [
            release
            for j, release in enumerate(self.release)
            if self.phase[j] == OUTSIDE and release > self.time
        ]
        return min(events, default=None)

    def _advance(self) -> None:
        event = self._next_event()
        assert event is not None and event > self.time
        self.time = event
        self._settle()

    def _advance_to_decision(self) -> None:
        while not self.done and not self.legal_jobs():
            if not self._time_helps():
                assert not self.settings.swap, "stuck although swaps are allowed"
                self.deadlock = True
                return
            self._advance()


# ------------------------------------------------------------------------------ the rules


@dataclass(frozen=True)
class Candidate:
    """What the rules look at: the next operation of one legal job."""

    p: int
    next_p: int
    work_left: int
    work_done_with: int
    total: int
    operations_left: int
    arrive: int
    queue_work_next: int
    holding: bool
    waiting_for_held: int


def candidate(shop: JobShop, job: int) -> Candidate:
    """Return what the rules need to know about a legal job."""
    operations = shop.jobs[job]
    durations = [p for _, p in operations]
    k = shop.next[job]
    last = k == len(operations) - 1
    held = shop.location[job]
    return Candidate(
        p=durations[k],
        next_p=0 if last else durations[k + 1],
        work_left=sum(durations[k:]),
        work_done_with=sum(durations[: k + 1]),
        total=sum(durations),
        operations_left=len(operations) - k,
        arrive=shop.arrive[job],
        queue_work_next=0 if last else sum(_waiting(shop, operations[k + 1][0])),
        holding=held is not None,
        waiting_for_held=0 if held is None else len(_waiting(shop, held)),
    )


def _waiting(shop: JobShop, machine: int) -> list[int]:
    """Return the durations of the operations that wait for a machine now."""
    return [
        shop._duration(j)
        for j in range(len(shop.jobs))
        if shop.phase[j] in (OUTSIDE, QUEUED, BLOCKED)
        and shop._machine(j) == machine
        and shop.time >= shop.release[j]
    ]


def _ratio(a: int, b: int) -> float:
    if b == 0:
        return math.inf if a > 0 else 0.0
    return a / b


RULES: dict[str, Callable[[Candidate], Any]] = {
    "spt": lambda c: c.p,
    "lpt": lambda c: -c.p,
    "mwkr": lambda c: -c.work_left,
    "lwkr": lambda c: c.work_left,
    "mopnr": lambda c: -c.operations_left,
    "lopnr": lambda c: c.operations_left,
    "fifo": lambda c: c.arrive,
    "lifo": lambda c: -c.arrive,
    "fdd_mwkr": lambda c: _ratio(c.work_done_with, c.work_left),
    "spt_twk": lambda c: _ratio(c.p, c.total),
    "lpt_twk": lambda c: -_ratio(c.p, c.total),
    "spt_rwk": lambda c: c.p * c.work_left,
    "stpt": lambda c: c.total,
    "ltpt": lambda c: -c.total,
    "lrm": lambda c: -(c.work_left - c.p),
    "lso": lambda c: -c.next_p,
    "sso": lambda c: c.next_p,
    "winq": lambda c: c.queue_work_next,
    "blkrel": lambda c: (not c.holding, -c.waiting_for_held, -c.work_left),
}


def rule_job(shop: JobShop, rule: str) -> int:
    """Return the legal job with the smallest value of a rule, the lowest index among equals."""
    return min(shop.legal_jobs(), key=lambda job: (RULES[rule](candidate(shop, job)), job))


def play(instance: Any, settings: Settings, policy: str | Callable[[JobShop], int]) -> JobShop:
    """Play one episode by a rule or a function of the shop (a job, or -1 to wait)."""
    shop = JobShop(instance, settings)
    while not shop.done:
        job = rule_job(shop, policy) if isinstance(policy, str) else policy(shop)
        if job < 0:
            shop.wait()
        else:
            shop.step(job)
    return shop


def run(
    instance: Any, settings: Settings, policy: str | Callable[[JobShop], int]
) -> dict[str, np.ndarray]:
    """Play one episode and return its schedule."""
    return play(instance, settings, policy).schedule()


# ----------------------------------------------------------------------------- random cases


def random_jobs(
    rng: np.random.Generator, max_jobs: int = 5, max_machines: int = 4
) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """Return jobs and releases of a small instance; ragged, re-entrant, zero durations, ties."""
    machines = int(rng.integers(1, max_machines + 1))
    longest = int(rng.choice([0, 3, 20]))
    jobs = []
    for _ in range(int(rng.integers(1, max_jobs + 1))):
        if rng.random() < 0.5:
            route = rng.permutation(machines)
        else:
            route = rng.integers(0, machines, size=int(rng.integers(1, 6)))
        jobs.append([(int(m), int(rng.integers(0, longest + 1))) for m in route])
    jobs[0][0] = (jobs[0][0][0], jobs[0][0][1] + 1)  # some work, so that shutdowns have a length
    late = rng.random() < 0.3
    return jobs, [int(rng.integers(0, 10)) if late else 0 for _ in jobs]


def random_settings(rng: np.random.Generator) -> Settings:
    """Return settings of the event scheme that cover all modes, shutdowns, waits and caps."""
    mode = str(rng.choice(["classic", "blocking"]))
    kind = str(rng.choice(["none", "per_operation", "calendar"]))
    low = float(rng.choice([0.1, 0.5, 1.0]))
    return Settings(
        mode=mode,
        swap=mode == "classic" or bool(rng.random() < 0.7),
        deadlock_avoidance=str(rng.choice(["none", "one_step"])),
        allow_wait=str(rng.choice(["never", "if_event"])),
        wip_cap=int(rng.choice([0, 0, 1, 2, 3])),
        interrupt_kind=kind,
        interrupt_probability=0.0 if kind == "none" else float(rng.choice([0.02, 0.1, 0.3])),
        interrupt_policy=str(rng.choice(["resume", "restart", "finish_first"])),
        interrupt_length=(low, low + float(rng.choice([0.0, 1.0]))),
        unload_when_down=bool(rng.random() < 0.6),
        interrupt_seed=int(rng.integers(0, 2**63)),
    )


def random_policy(rng: np.random.Generator) -> Callable[[JobShop], int]:
    """Return a policy that picks among all that is legal, waits included."""

    def choose(shop: JobShop) -> int:
        choices = shop.legal_jobs() + ([-1] if shop.wait_legal() else [])
        return int(rng.choice(choices))

    return choose
