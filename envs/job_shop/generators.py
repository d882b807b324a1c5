"""Generators of instances, and the names under which they can be asked for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numba import njit

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.job_shop.instance import (
    MAX_CELLS,
    MAX_HORIZON,
    MAX_MACHINES,
    Bounds,
    Instance,
    IntArray,
)
from dispatchgym.envs.job_shop.literature import groups, literature, names, size, taillard

__all__ = [
    "FixedGenerator",
    "Generator",
    "LiteratureGenerator",
    "PatternGenerator",
    "UniformGenerator",
    "flow_shop",
    "generator",
    "group",
    "make_instance",
    "reentrant",
    "scenarios",
    "taillard",
    "toy",
    "toy_swap",
    "two_set",
    "uniform_jobs",
]

_STREAM_SIZE = 16
_STREAM_DURATION = 17
_STREAM_ORDER = 18

_RANDOM_SIZES = ("6x6", "10x5", "10x10", "15x10", "15x15", "20x10", "20x15", "20x20", "5-15x5-10")


@njit(cache=True)
def _draw(seed: np.uint64, stream: int, a: int, b: int, low: int, high: int) -> int:
    """Return the integer of key (seed, stream, a, b), uniform in low..high."""
    return low + int(uniform(seed, stream, a, b) * (high - low + 1))


@njit(cache=True)
def uniform_jobs(
    seed: np.uint64,
    jobs_low: int,
    jobs_high: int,
    machines_low: int,
    machines_high: int,
    duration_low: int,
    duration_high: int,
    machine_out: IntArray,
    duration_out: IntArray,
) -> tuple[int, int]:
    """Fill two arrays with a random instance; every job visits every machine once.

    Each number is a function of the seed and its place, so job 3 has the same durations
    whatever the number of jobs.

    Args:
        seed: uint64 key of the instance.
        jobs_low: Fewest jobs; n is uniform in jobs_low..jobs_high.
        jobs_high: Most jobs.
        machines_low: Fewest machines; m is uniform in machines_low..machines_high.
        machines_high: Most machines.
        duration_low: Shortest duration; durations are uniform integers.
        duration_high: Longest duration.
        machine_out: (>= jobs_high, >= machines_high) int64, written: machine, or -1 as padding.
        duration_out: Same shape, written: duration, or 0 as padding.

    Returns:
        The pair (n, m).
    """
    jobs = _draw(seed, _STREAM_SIZE, 0, 0, jobs_low, jobs_high)
    machines = _draw(seed, _STREAM_SIZE, 1, 0, machines_low, machines_high)
    machine_out[:] = -1
    duration_out[:] = 0
    for job in range(jobs):
        for position in range(machines):
            machine_out[job, position] = position
            duration_out[job, position] = _draw(
                seed, _STREAM_DURATION, job, position, duration_low, duration_high
            )
        for position in range(machines - 1, 0, -1):
            other = _draw(seed, _STREAM_ORDER, job, position, 0, position)
            swapped = machine_out[job, position]
            machine_out[job, position] = machine_out[job, other]
            machine_out[job, other] = swapped
    return jobs, machines


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def max_jobs(self) -> int:
        """Most jobs of any instance."""

    @property
    def max_operations(self) -> int:
        """Most operations of a job of any instance."""

    @property
    def max_machines(self) -> int:
        """Most machines of any instance."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed (an integer in 0..2^64-1), always the same one."""


@dataclass(frozen=True)
class UniformGenerator:
    """Random instances in which every job visits every machine once, in random order.

    The usual test bed of learned dispatching, e.g. Zhang et al., "Learning to dispatch for job
    shop scheduling via deep reinforcement learning", NeurIPS 2020.

    Attributes:
        jobs: Fewest and most jobs, uniform.
        machines: Fewest and most machines, uniform.
        duration: Shortest and longest duration, uniform integers.

    Raises:
        ParameterError: A range is not two integers, low <= high, of a possible size.
    """

    jobs: tuple[int, int] = (10, 10)
    machines: tuple[int, int] = (10, 10)
    duration: tuple[int, int] = (1, 99)

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check_ranges(self.jobs, self.machines, self.duration)

    @property
    def max_jobs(self) -> int:
        """Most jobs of any instance."""
        return self.jobs[1]

    @property
    def max_operations(self) -> int:
        """Most operations of a job of any instance."""
        return self.machines[1]

    @property
    def max_machines(self) -> int:
        """Most machines of any instance."""
        return self.machines[1]

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        machine, duration = _uniform_arrays(seed, self.jobs, self.machines, self.duration)
        jobs, machines = machine.shape
        return _instance(f"random_{jobs}x{machines}_seed{seed}", machine, duration, machines)


@dataclass(frozen=True)
class PatternGenerator:
    """Random instances whose machine orders follow a pattern.

    Attributes:
        pattern: ``"flow_shop"``, ``"two_set"`` or ``"reentrant"``: see the functions.
        jobs: Fewest and most jobs, uniform.
        machines: Fewest and most machines, uniform.
        duration: Shortest and longest duration, uniform integers.

    Raises:
        ParameterError: The pattern is unknown or a range is not possible.
    """

    pattern: str
    jobs: tuple[int, int] = (10, 10)
    machines: tuple[int, int] = (10, 10)
    duration: tuple[int, int] = (1, 99)

    def __post_init__(self) -> None:
        """Check pattern and ranges."""
        if self.pattern not in _PATTERNS:
            raise ParameterError(
                f"pattern: found {self.pattern!r}, expected one of {', '.join(_PATTERNS)}"
            )
        _check_ranges(self.jobs, self.machines, self.duration)

    @property
    def max_jobs(self) -> int:
        """Most jobs of any instance."""
        return self.jobs[1]

    @property
    def max_operations(self) -> int:
        """Most operations of a job of any instance."""
        return self.machines[1] * (2 if self.pattern == "reentrant" else 1)

    @property
    def max_machines(self) -> int:
        """Most machines of any instance."""
        return self.machines[1]

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        key = _seed(seed)
        jobs = int(_draw(key, _STREAM_SIZE, 0, 0, *self.jobs))
        machines = int(_draw(key, _STREAM_SIZE, 1, 0, *self.machines))
        return _PATTERNS[self.pattern](jobs, machines, seed, self.duration)


@dataclass(frozen=True)
class LiteratureGenerator:
    """Instances of the literature in turn: seed s gives ``members[s % len(members)]``."""

    members: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the names."""
        for name in self.members:
            if name not in names():
                raise ScenarioError(unknown_name("members", name, names()))
        if not self.members:
            raise ScenarioError("members: found none, expected names of the literature")

    @property
    def max_jobs(self) -> int:
        """Most jobs of any member."""
        return max(size(name)[0] for name in self.members)

    @property
    def max_operations(self) -> int:
        """Most operations of a job of any member."""
        return self.max_machines

    @property
    def max_machines(self) -> int:
        """Most machines of any member."""
        return max(size(name)[1] for name in self.members)

    def generate(self, seed: int) -> Instance:
        """Return the member that a seed >= 0 points at."""
        return literature(self.members[int(_seed(seed)) % len(self.members)])


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance."""

    instance: Instance

    @property
    def max_jobs(self) -> int:
        """Jobs of the instance."""
        return self.instance.num_jobs

    @property
    def max_operations(self) -> int:
        """Operations of its longest job."""
        return self.instance.max_operations

    @property
    def max_machines(self) -> int:
        """Machines of the instance."""
        return self.instance.num_machines

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


def toy() -> Instance:
    """Return three jobs on two machines with optimum 12 (classic) and 14 (blocking).

    Every job visits machine 0, then 1: durations (1, 3), (1, 3), (5, 5). Classic: machine 1 has
    11 units of work and can begin at 1, hence 12, and the order as listed attains it. Blocking:
    a job leaves machine 0 only when machine 1 is free, so no job overtakes another and an order
    costs a_1 + max(b_1, a_2) + max(b_2, a_3) + b_3 with (a, b) the durations. The long job last
    or in the middle costs 14, first 16.
    """
    jobs = [[(0, 1), (1, 3)], [(0, 1), (1, 3)], [(0, 5), (1, 5)]]
    bounds = {"classic": _argued(12), "blocking": _argued(14)}
    return Instance.from_jobs(jobs, name="toy", bounds=bounds)


def toy_swap() -> Instance:
    """Return two jobs that must exchange machines: optimum 6, classic and blocking with swap.

    Job 0 visits machine 0 (2), then 1 (3); job 1 visits machine 1 (2), then 0 (4). Both start at
    0 and exchange at 2; job 1 alone takes 6. Without swap one must follow the other: 11.
    """
    jobs = [[(0, 2), (1, 3)], [(1, 2), (0, 4)]]
    bounds = {"classic": _argued(6), "blocking": _argued(6)}
    return Instance.from_jobs(jobs, name="toy_swap", bounds=bounds)


def flow_shop(jobs: int, machines: int, seed: int, duration: tuple[int, int] = (1, 99)) -> Instance:
    """Return a random flow shop: every job visits machines 0, 1, ..., m-1 in this order.

    Args:
        jobs: Number of jobs.
        machines: Number of machines.
        seed: In 0..2^64-1.
        duration: Shortest and longest duration, uniform integers.

    Raises:
        ParameterError: An argument is out of range.
    """
    machine, times = _uniform_arrays(seed, (jobs, jobs), (machines, machines), duration)
    machine = np.sort(machine, axis=1)
    return _instance(f"flow_shop_{jobs}x{machines}_seed{seed}", machine, times, machines)


def two_set(jobs: int, machines: int, seed: int, duration: tuple[int, int] = (1, 99)) -> Instance:
    """Return a random job shop where a job visits the first half of the machines before the rest.

    The structure of swv (Storer, Wu and Vaccari 1992), harder than a uniform order.

    Args:
        jobs: Number of jobs.
        machines: Number of machines; the first half is rounded down.
        seed: In 0..2^64-1.
        duration: Shortest and longest duration, uniform integers.

    Raises:
        ParameterError: An argument is out of range.
    """
    machine, times = _uniform_arrays(seed, (jobs, jobs), (machines, machines), duration)
    order = np.argsort(machine >= machines // 2, axis=1, kind="stable")
    machine = np.take_along_axis(machine, order, axis=1)
    return _instance(f"two_set_{jobs}x{machines}_seed{seed}", machine, times, machines)


def reentrant(jobs: int, machines: int, seed: int, duration: tuple[int, int] = (1, 99)) -> Instance:
    """Return a random job shop in which every job visits every machine twice.

    The order is uniform over all arrangements, so two visits can follow each other directly.

    Args:
        jobs: Number of jobs.
        machines: Number of machines; a job has twice as many operations.
        seed: In 0..2^64-1.
        duration: Shortest and longest duration, uniform integers.

    Raises:
        ParameterError: An argument is out of range.
    """
    machine, times = _uniform_arrays(seed, (jobs, jobs), (2 * machines, 2 * machines), duration)
    name = f"reentrant_{jobs}x{machines}_seed{seed}"
    return _instance(name, machine % machines, times, machines)


_PATTERNS: dict[str, Callable[[int, int, int, tuple[int, int]], Instance]] = {
    "flow_shop": flow_shop,
    "two_set": two_set,
    "reentrant": reentrant,
}

_TOYS: dict[str, Callable[[], Instance]] = {"toy": toy, "toy_swap": toy_swap}


def group(name: str) -> tuple[str, ...]:
    """Return the instances that a name stands for: a family, a size of it, or one instance.

    ``"la"`` gives la01 to la40, ``"la_10x5"`` la01 to la05, ``"la01"`` just itself.

    Raises:
        ScenarioError: The name is none of these.
    """
    if name in names():
        return (name,)
    if name in groups():
        return groups()[name]
    raise ScenarioError(unknown_name("group", name[:60], [*groups(), *names()]))


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Of the random families, ``random``, ``flow_shop``, ``two_set`` and ``reentrant``, only the
    usual sizes are listed: any ``family_{n}x{m}`` works, and ranges as in ``random_5-15x5-10``.
    """
    random = [f"random_{text}" for text in _RANDOM_SIZES]
    patterns = [f"{pattern}_10x10" for pattern in _PATTERNS]
    return [*_TOYS, *groups(), *names(), *random, *patterns]


def generator(scenario: str) -> Generator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: There is no such scenario; the message has the closest names.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    if scenario in _TOYS:
        return FixedGenerator(_TOYS[scenario]())
    if scenario in names() or scenario in groups():
        return LiteratureGenerator(group(scenario))
    match = re.fullmatch(r"([a-z_]+)_(\d+)(?:-(\d+))?x(\d+)(?:-(\d+))?", scenario, re.ASCII)
    if match is None or match[1] not in ("random", *_PATTERNS):
        raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))
    return _random_generator(scenario, match)


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Args:
        scenario: A name of `scenarios`, or a random family with any size or range of sizes.
        seed: In 0..2^64-1. Ignored by a single instance; a group takes its members in turn.

    Raises:
        ScenarioError: There is no such scenario.
        ParameterError: The seed is not such an integer.
    """
    return generator(scenario).generate(int(_seed(seed)))


def _random_generator(scenario: str, match: re.Match[str]) -> Generator:
    if any(len(digits or "") > 9 for digits in match.groups()[1:]):
        raise ScenarioError(f"scenario: found {scenario[:60]!r}, expected sizes below 10^9")
    jobs = (int(match[2]), int(match[3] or match[2]))
    machines = (int(match[4]), int(match[5] or match[4]))
    try:
        if match[1] == "random":
            return UniformGenerator(jobs, machines)
        return PatternGenerator(match[1], jobs, machines)
    except ParameterError as error:
        raise ScenarioError(f"scenario {scenario!r}: {error}") from None


def _argued(optimum: int) -> Bounds:
    return Bounds(optimum, optimum, source="proof in the docstring of the generator")


def _instance(name: str, machine: IntArray, duration: IntArray, machines: int) -> Instance:
    jobs, longest = machine.shape
    return Instance(
        name=name,
        machine=machine,
        duration=duration,
        operations=np.full(jobs, longest),
        num_machines=machines,
    )


def _uniform_arrays(
    seed: int, jobs: tuple[int, int], machines: tuple[int, int], duration: tuple[int, int]
) -> tuple[IntArray, IntArray]:
    """Return machine and duration (n, m) of a random instance without padding."""
    _check_ranges(jobs, machines, duration)
    machine_out = np.empty((jobs[1], machines[1]), np.int64)
    duration_out = np.empty_like(machine_out)
    n, m = uniform_jobs(_seed(seed), *jobs, *machines, *duration, machine_out, duration_out)
    return machine_out[:n, :m], duration_out[:n, :m]


def _seed(seed: int) -> np.uint64:
    try:
        return np.uint64(operator.index(seed))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None


def _check_ranges(
    jobs: tuple[int, int], machines: tuple[int, int], duration: tuple[int, int]
) -> None:
    limits = (("jobs", jobs, 1, MAX_CELLS), ("machines", machines, 1, MAX_MACHINES),
              ("duration", duration, 0, MAX_HORIZON))  # fmt: skip
    for name, values, low, high in limits:
        pair = isinstance(values, tuple) and len(values) == 2
        if not pair or not all(type(value) is int for value in values):
            raise ParameterError(f"{name}: found {values!r}, expected two integers (low, high)")
        if not low <= values[0] <= values[1] <= high:
            raise ParameterError(f"{name}: found {values}, expected {low} <= low <= high <= {high}")
    if jobs[1] * machines[1] > MAX_CELLS or jobs[1] * machines[1] * duration[1] >= MAX_HORIZON:
        raise ParameterError(
            f"jobs, machines, duration: found up to {jobs[1]} x {machines[1]} operations of up to "
            f"{duration[1]}, expected at most {MAX_CELLS} and a sum below 2^31"
        )
