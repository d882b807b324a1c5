"""Instances: immutable records of arrays, checked once when they are made."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.edge_offloading import checks, draw
from dispatchgym.envs.edge_offloading.draw import Limits, Rows

__all__ = ["SIZE_LAWS", "SLOT_SCENARIOS", "Instance", "OffloadInstance"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

SIZE_LAWS = ("exponential", "pareto")
SLOT_SCENARIOS = ("gmorl", "gmorl_radio", "gmorl_hard")

MAX_SERVERS = 100
MAX_TASKS = 10_000
MAX_SLOTS = 10_000
MAX_SECONDS = 1e7
MAX_RATE = 1e15


@dataclass(frozen=True, eq=False)
class Instance(ABC):
    """What the instances of all families have in common.

    Two instances are equal when they are the same problem; the name is a label and does not take
    part. All arrays are C-contiguous and read-only.

    Attributes:
        name: printable, 1 to 200 characters.
        family: what kind of tasks it has: ``"slots"``, ``"deadlines"`` or ``"graphs"``.
    """

    name: str

    family: ClassVar[str]

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _problem(self) -> dict[str, Any]:
        """Return all fields but the name."""
        return {
            entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "name"
        }

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names."""
        if type(self) is not type(other) or not isinstance(other, Instance):
            return NotImplemented
        theirs = other._problem()
        return all(np.array_equal(value, theirs[name]) for name, value in self._problem().items())

    def __hash__(self) -> int:
        """Hash of the problem."""
        return hash(tuple(np.asarray(value).tobytes() for value in self._problem().values()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        return _rebuild, (type(self), {"name": self.name, **self._problem()})


def _rebuild(kind: type[Instance], values: dict[str, Any]) -> Instance:
    return kind(**values)


@dataclass(frozen=True, eq=False, repr=False)
class OffloadInstance(Instance):
    """Independent tasks, one of which is sent in each slot, to one of S servers.

    Server 0 is the cloud, the others are edge servers. Tasks wait in one queue in the order in
    which they are given; in each slot the first of those that have been released is sent.

    Attributes:
        frequency: (S,) clock frequency of the servers in Hz, > 0.
        release: (N,) seconds, not falling: when tasks join the queue.
        bits: (N,) sizes, > 0.
        uplink: (N, S) rate of the radio in bit/s, > 0, when the task is sent to a server.
        horizon: number of slots; what is released later or waits at the end is not sent.
        slot: length of a slot in seconds, > 0.
        source: (N,) user whose task it is, >= 0.
        kind: (N,) type of the task, >= 0.
        expected_bits: (N,) what is known of the sizes until uploads end; None: the sizes.
        fifo: (S,) bool: takes tasks one by one in the order of their coming; else it shares its
            speed among all.
        backhaul: (S,) bit/s of the way from the radio on to the server, 0: none.
        latency: (S,) seconds that are added to uploads, >= 0.
        power: transmission power in W, >= 0.
        cycles_per_bit: > 0.
        capacitance: effective switched capacitance kappa, > 0: a bit costs kappa *
            cycles_per_bit * frequency^2 joules.
        arrivals: expected tasks a second, what observations tell.
        mean_bits: expected size, > 0; rewards are measured by it.
        size_law: ``"exponential"`` or ``"pareto"``, what rollouts draw sizes from.
        scenario: the family of scenarios it is like, what observations tell: one of
            `SLOT_SCENARIOS`.

    Raises:
        InstanceError: a field is not as described; the message names field and index.
    """

    frequency: FloatArray
    release: FloatArray
    bits: FloatArray
    uplink: FloatArray
    horizon: int = 100
    slot: float = 1.0
    source: IntArray = None  # type: ignore[assignment]
    kind: IntArray = None  # type: ignore[assignment]
    expected_bits: FloatArray | None = None
    fifo: BoolArray = None  # type: ignore[assignment]
    backhaul: FloatArray = None  # type: ignore[assignment]
    latency: FloatArray = None  # type: ignore[assignment]
    power: float = 0.01
    cycles_per_bit: float = draw.CYCLES_PER_BIT
    capacitance: float = draw.EFFECTIVE_CAPACITANCE
    arrivals: float = 1.0
    mean_bits: float = 16e6
    size_law: str = "exponential"
    scenario: str = "gmorl"

    family: ClassVar[str] = "slots"

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        checks.check_text(self.name, "name")
        self._set("horizon", checks.integer(self.horizon, "horizon", 1, MAX_SLOTS))
        for name, low, high in _REALS:
            self._set(name, checks.real(getattr(self, name), name, low, high))
        checks.check_choice(self.size_law, "size_law", SIZE_LAWS)
        checks.check_choice(self.scenario, "scenario", SLOT_SCENARIOS)
        self._check_servers()
        self._check_tasks()

    def _check_servers(self) -> None:
        frequency = checks.reals(self.frequency, "frequency", (None,), 1.0, 1e15)
        servers = len(frequency)
        if not 1 <= servers <= MAX_SERVERS:
            raise InstanceError(f"frequency: found {servers} servers, expected 1 to {MAX_SERVERS}")
        self._set("frequency", frequency)
        fifo = np.zeros(servers, np.bool_) if self.fifo is None else self.fifo
        self._set("fifo", checks.flags(fifo, "fifo", (servers,)))
        for name, high in (("backhaul", MAX_RATE), ("latency", MAX_SECONDS)):
            given = getattr(self, name)
            values = np.zeros(servers) if given is None else given
            self._set(name, checks.reals(values, name, (servers,), 0.0, high))

    def _check_tasks(self) -> None:
        self._set("release", checks.reals(self.release, "release", (None,), 0.0, MAX_SECONDS))
        tasks = len(self.release)
        if tasks > MAX_TASKS:
            raise InstanceError(f"release: found {tasks} tasks, expected at most {MAX_TASKS}")
        if tasks == 0 or self.release[0] > (self.horizon - 1) * self.slot:
            raise InstanceError(
                f"release: found no task by the last slot, at {(self.horizon - 1) * self.slot:g} "
                "seconds, expected at least one"
            )
        falling = np.flatnonzero(np.diff(self.release) < 0)
        if falling.size:
            m = int(falling[0]) + 1
            raise InstanceError(
                f"release[{m}]: found {self.release[m]}, "
                f"expected at least {self.release[m - 1]} as the task before"
            )
        self._set("bits", checks.reals(self.bits, "bits", (tasks,), 1.0, MAX_RATE))
        shape = (tasks, self.num_servers)
        self._set("uplink", checks.reals(self.uplink, "uplink", shape, 1e-3, MAX_RATE))
        if self.expected_bits is not None:
            expected = checks.reals(self.expected_bits, "expected_bits", (tasks,), 1.0, MAX_RATE)
            self._set("expected_bits", expected)
        for name in ("source", "kind"):
            given = getattr(self, name)
            values = np.zeros(tasks, np.int64) if given is None else given
            self._set(name, checks.integers(values, name, (tasks,), 0, 10**6))

    @property
    def num_servers(self) -> int:
        """Number of servers S, the cloud included."""
        return len(self.frequency)

    @property
    def num_tasks(self) -> int:
        """Number of tasks N."""
        return len(self.release)

    @property
    def limits(self) -> Limits:
        """Sizes, as of a generator that makes only this instance."""
        sent = min(self.horizon, self.num_tasks)
        return Limits(self.num_servers, self.num_tasks, sent, 1)

    @cached_property
    def rows(self) -> Rows:
        """The arrays as the kernel takes them."""
        rows = draw.first_row(draw.empty_rows(self.limits, 1))
        number, real = rows.number, rows.real
        number[draw.SERVERS], number[draw.TASKS] = self.num_servers, self.num_tasks
        number[draw.HORIZON] = self.horizon
        number[draw.SCENARIO] = SLOT_SCENARIOS.index(self.scenario)
        number[draw.HIDDEN] = self.expected_bits is not None
        number[draw.LAW] = SIZE_LAWS.index(self.size_law)
        real[draw.SLOT], real[draw.POWER] = self.slot, self.power
        real[draw.ARRIVALS], real[draw.MEAN_BITS] = self.arrivals, self.mean_bits
        real[draw.CYCLES], real[draw.CAPACITANCE] = self.cycles_per_bit, self.capacitance
        for e, server in enumerate(rows.server):
            server[draw.FREQUENCY] = self.frequency[e]
            draw.rate_server(real, server)
            server[draw.BACKHAUL], server[draw.LATENCY] = self.backhaul[e], self.latency[e]
            server[draw.FIFO] = self.fifo[e]
        task = rows.task[: self.num_tasks]
        task[:, draw.RELEASE], task[:, draw.BITS] = self.release, self.bits
        task[:, draw.SOURCE], task[:, draw.TYPE] = self.source, self.kind
        task[:, draw.EXPECTED] = self.bits if self.expected_bits is None else self.expected_bits
        rows.uplink[: self.num_tasks] = self.uplink
        return rows

    @classmethod
    def from_rows(cls, name: str, rows: Rows) -> OffloadInstance:
        """Return the instance whose arrays the kernel has."""
        number, real = rows.number, rows.real
        servers, tasks = int(number[draw.SERVERS]), int(number[draw.TASKS])
        server, task = rows.server[:servers], rows.task[:tasks]
        return cls(
            name=name,
            frequency=server[:, draw.FREQUENCY],
            release=task[:, draw.RELEASE],
            bits=task[:, draw.BITS],
            uplink=rows.uplink[:tasks, :servers],
            horizon=int(number[draw.HORIZON]),
            slot=float(real[draw.SLOT]),
            source=task[:, draw.SOURCE].astype(np.int64),
            kind=task[:, draw.TYPE].astype(np.int64),
            expected_bits=task[:, draw.EXPECTED] if number[draw.HIDDEN] else None,
            fifo=server[:, draw.FIFO] > 0,
            backhaul=server[:, draw.BACKHAUL],
            latency=server[:, draw.LATENCY],
            power=float(real[draw.POWER]),
            cycles_per_bit=float(real[draw.CYCLES]),
            capacitance=float(real[draw.CAPACITANCE]),
            arrivals=float(real[draw.ARRIVALS]),
            mean_bits=float(real[draw.MEAN_BITS]),
            size_law=SIZE_LAWS[number[draw.LAW]],
            scenario=SLOT_SCENARIOS[number[draw.SCENARIO]],
        )

    @cached_property
    def delay_unit(self) -> float:
        """Seconds that a mean task takes alone on a mean server: a delay of 1 in rewards."""
        return float(self.mean_bits * self.cycles_per_bit / self.frequency.mean())

    @cached_property
    def energy_unit(self) -> float:
        """Joules that it takes there: an energy of 1 in rewards."""
        joules = self.capacitance * self.cycles_per_bit * self.frequency.mean() ** 2
        return float(joules * self.mean_bits)

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"OffloadInstance(name={self.name!r}, num_servers={self.num_servers}, "
            f"num_tasks={self.num_tasks}, horizon={self.horizon})"
        )


_REALS = (
    # field, lowest, highest value
    ("slot", 1e-6, MAX_SECONDS),
    ("power", 0.0, 1e6),
    ("cycles_per_bit", 1e-6, 1e12),
    ("capacitance", 1e-60, 1.0),
    ("arrivals", 0.0, 1e9),
    ("mean_bits", 1.0, MAX_RATE),
)
