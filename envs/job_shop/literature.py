"""The instances of the literature and what is known about their optimal makespans.

ft (Fisher and Thompson 1963), la (Lawrence 1984), abz (Adams, Balas and Zawack 1988), orb
(Applegate and Cook 1991), swv (Storer, Wu and Vaccari 1992), yn (Yamada and Nakano 1992) are
stored; ta (Taillard 1993) is made by its generator from the published seeds. Nothing is read
before the first use.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.job_shop.instance import BOUND_KINDS, MAX_CELLS, Bounds, Instance

__all__ = ["GROUPS", "bounds", "groups", "literature", "names", "size", "taillard"]

GROUPS = ("ft", "la", "abz", "orb", "swv", "yn", "ta")
"""The families, in the order in which their instances are listed."""

_MODULUS = 2**31 - 1
_MULTIPLIER = 16807
_LONGEST = 99


@cache
def names() -> tuple[str, ...]:
    """Return the names of all 162 instances, family by family."""
    data = _data()
    return (*data["instances"], *data["taillard"])


@cache
def literature(name: str) -> Instance:
    """Return an instance of the literature with its known bounds.

    Args:
        name: One of `names`, e.g. ``"la01"``.

    Raises:
        ScenarioError: There is no such instance.
    """
    data = _data()
    if name in data["taillard"]:
        return taillard(*data["taillard"][name], name=name, bounds=bounds(name))
    if name not in data["instances"]:
        raise ScenarioError(f"instance {name!r} is not among ft, la, abz, orb, swv, yn and ta")
    rows = np.array(data["instances"][name])
    return Instance(
        name=name,
        machine=rows[:, 0::2],
        duration=rows[:, 1::2],
        operations=np.full(len(rows), rows.shape[1] // 2),
        num_machines=rows.shape[1] // 2,
        bounds=bounds(name),
    )


def bounds(name: str) -> dict[str, Bounds]:
    """Return the known bounds of an instance: ``"classic"`` and ``"blocking"`` (with swap).

    A blocking schedule is a classic one as well, so a blocking lower bound is never below the
    classic one. Unproven blocking values are upper bounds of 30-minute solver runs.

    Raises:
        ScenarioError: There is no such instance.
    """
    data = _data()
    if name not in data["classic"]:
        raise ScenarioError(f"instance {name!r} is not among ft, la, abz, orb, swv, yn and ta")
    known = {}
    for kind in BOUND_KINDS:
        lower, upper = data[kind][name]
        known[kind] = Bounds(lower, upper, data["sources"][kind], data["dates"][kind])
    return known


def size(name: str) -> tuple[int, int]:
    """Return (jobs, machines) of an instance without building it; K equals the machines."""
    data = _data()
    if name in data["taillard"]:
        return tuple(data["taillard"][name][:2])
    rows = data["instances"][name]
    return len(rows), len(rows[0]) // 2


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """Return the members of each family and of each size in it: ``"la"``, ``"la_10x5"``, ..."""
    members: dict[str, tuple[str, ...]] = {}
    for family in GROUPS:
        found = [name for name in names() if re.fullmatch(rf"{family}\d+", name)]
        members[family] = tuple(found)
        for name in found:
            jobs, machines = size(name)
            key = f"{family}_{jobs}x{machines}"
            members[key] = (*members.get(key, ()), name)
    return members


def taillard(
    jobs: int,
    machines: int,
    time_seed: int,
    machine_seed: int,
    *,
    name: str = "taillard",
    bounds: dict[str, Bounds] | None = None,
) -> Instance:
    """Return the instance that Taillard's generator makes from two seeds.

    E. Taillard, "Benchmarks for basic scheduling problems", European Journal of Operational
    Research 64 (1993): durations uniform in 1..99 drawn row by row with the first seed; the
    machines of a job by swaps from the identity with the second.

    Args:
        jobs: Number of jobs, >= 1.
        machines: Number of machines and of operations of each job, >= 1.
        time_seed: In 1..2^31-2.
        machine_seed: In 1..2^31-2.
        name: Label of the instance.
        bounds: Known bounds on the makespan.

    Raises:
        ParameterError: A size or seed is out of range.
    """
    _check_sizes(jobs, machines)
    durations = _Lehmer(time_seed, "time_seed")
    swaps = _Lehmer(machine_seed, "machine_seed")
    duration = [[durations.draw(1, _LONGEST) for _ in range(machines)] for _ in range(jobs)]
    machine = np.tile(np.arange(machines), (jobs, 1))
    for row in machine:
        for position in range(machines):
            other = swaps.draw(position, machines - 1)
            row[[position, other]] = row[[other, position]]
    return Instance(
        name=name,
        machine=machine,
        duration=np.array(duration),
        operations=np.full(jobs, machines),
        num_machines=machines,
        bounds=bounds or {},
    )


class _Lehmer:
    """The linear congruential generator x <- 16807 x mod 2^31 - 1 of Taillard's paper."""

    def __init__(self, seed: int, name: str) -> None:
        if not isinstance(seed, int) or not 0 < seed < _MODULUS:
            raise ParameterError(f"{name}: found {seed!r}, expected an integer in 1..2^31-2")
        self._state = seed

    def draw(self, low: int, high: int) -> int:
        """Return the next number, uniform in low..high."""
        self._state = self._state * _MULTIPLIER % _MODULUS
        return low + self._state * (high - low + 1) // _MODULUS


def _check_sizes(jobs: int, machines: int) -> None:
    for name, value in (("jobs", jobs), ("machines", machines)):
        if not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name}: found {value!r}, expected an integer >= 1")
    if jobs * machines > MAX_CELLS:
        raise ParameterError(f"jobs x machines: found {jobs} x {machines}, expected <= {MAX_CELLS}")


@cache
def _data() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("literature.json").read_text(encoding="utf-8")
    return json.loads(text)
