"""Sources of instances, and the names under which they can be asked for."""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.core.task_graphs import MOST_JOB_TASKS, most_edges
from dispatchgym.envs.edge_dag_plan import plans
from dispatchgym.envs.edge_dag_plan.instance import MAX_TASKS, Instance
from dispatchgym.envs.edge_dag_plan.plans import Limits, Plan, empty_plans, first_row

__all__ = [
    "DRLTO",
    "Device",
    "FixedGenerator",
    "Generator",
    "JobGenerator",
    "LayeredGenerator",
    "PlanGenerator",
    "generator",
    "make_instance",
    "scenarios",
]

Range = tuple[float, float]
"""Lowest and highest value."""
Grid = tuple[float, float, float]
"""Lowest and highest value, and the distance of the values between."""

MEBI = 2.0**20
MBIT = MEBI / 8.0
"""Bytes a second of the Mbit/s of DRLTO, which are of 2^20 bits."""


@dataclass(frozen=True)
class Device:
    """The device and the one server of DRLTO: a processor, a radio link and an edge server.

    Attributes:
        speed: bytes a second that the device works through, > 0.
        server_speed: that of the server, > 0.
        rate: bytes a second up and down, > 0.
        power: watts of the computing device: 1.25e-26 (0.8 GHz)^3.
        transmit_power: watts while it sends.
        receive_power: watts while it receives.
    """

    speed: float = MEBI
    server_speed: float = 10 * MEBI
    rate: float = 7 * MBIT
    power: float = 1.25e-26 * 0.8e9**3
    transmit_power: float = 1.258
    receive_power: float = 1.181

    def row(self) -> npt.NDArray[np.float64]:
        """Return the device as the kernel takes it."""
        row = np.zeros(plans.NUM_DEVICE_COLUMNS)
        powers = self.power, self.transmit_power, self.receive_power
        row[: plans.LOCAL_LATENCY] = self.speed, *powers
        return row

    def instance(
        self,
        name: str,
        size: npt.NDArray[np.float64],
        output: npt.NDArray[np.float64],
        edges: npt.NDArray[np.int64],
    ) -> Instance:
        """Return the instance of an application.

        Args:
            name: of the instance.
            size: (n,) bytes of each task that go up and are worked through.
            output: (n,) bytes of the results.
            edges: (m, 2) parent and child.

        Raises:
            InstanceError: they are no instance.
        """
        return Instance(
            name=name,
            work=size,
            upload=size,
            output=output,
            edges=edges,
            device_speed=self.speed,
            server_speed=np.array([self.server_speed]),
            uplink=np.array([self.rate]),
            downlink=np.array([self.rate]),
            device_power=self.power,
            transmit_power=self.transmit_power,
            receive_power=self.receive_power,
        )


DRLTO = Device()
"""The device of the publication."""


def _seed(seed: int) -> np.uint64:
    try:
        return np.uint64(operator.index(seed))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None


def _check_tasks(tasks: object, most: int) -> None:
    if (
        not isinstance(tasks, tuple)
        or len(tasks) != 2
        or not all(isinstance(count, int) for count in tasks)
        or not 1 <= tasks[0] <= tasks[1] <= most
    ):
        raise ParameterError(
            f"tasks: found {tasks!r}, expected two integers (low, high) in 1..{most}, low <= high"
        )


def _check_grid(name: str, grid: object, low: float, high: float) -> None:
    if not isinstance(grid, tuple) or len(grid) != 3 or not 0 < grid[2] < float("inf"):
        raise ParameterError(f"{name}: found {grid!r}, expected three numbers (low, high, step)")
    _check_range(name, grid[:2], low, high)


def _check_range(name: str, pair: object, low: float, high: float) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
        raise ParameterError(
            f"{name}: found {pair!r}, expected two numbers (low, high) in {low:g}..{high:g}"
        )


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed (an integer in 0..2^64-1), always the same one."""


class PlanGenerator(ABC):
    """A source whose instances the kernel can draw by itself."""

    label: str

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """Largest sizes of any instance."""

    @abstractmethod
    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `plans.draw_plan` takes it."""

    @abstractmethod
    def hardware(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return device and servers as the kernel takes them; servers may be drawn over."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        plan = first_row(empty_plans(self.limits, 1))
        plan.device[:], plan.server[:] = self.hardware()
        plans.draw_plan(_seed(seed), *self.draws(), plan)
        return _instance_of(f"{self.label}-s{seed:03d}", plan)


@dataclass(frozen=True)
class LayeredGenerator(PlanGenerator):
    """Applications like those of DRLTO and MRLCO: graphs by daggen's parameters, one server.

    Data on an edge are 5 to 50 MiB; a task has as many bytes as its data over ccr, and a result
    of half of them.

    Attributes:
        tasks: fewest and most tasks, a multiple of `step` apart, all as likely.
        step: 1 or more.
        fat: lowest and highest, and the distance of the values between, as the following; see
            `dispatchgym.envs.core.task_graphs.draw_daggen`.
        regularity: the same.
        density: the same.
        ccr: communication to computation, > 0.
        device: device, link and server.
        label: beginning of the instances' names.

    Raises:
        ParameterError: a value is out of range.
    """

    tasks: tuple[int, int] = (10, 20)
    step: int = 1
    fat: Grid = (0.1, 0.9, 0.2)
    regularity: Grid = (0.5, 0.9, 0.2)
    density: Grid = (0.5, 0.9, 0.1)
    ccr: Grid = (0.3, 0.5, 0.1)
    device: Device = field(default_factory=Device)
    label: str = "drlto"

    def __post_init__(self) -> None:
        """Check every value."""
        _check_tasks(self.tasks, MAX_TASKS)
        if not isinstance(self.step, int) or self.step < 1:
            raise ParameterError(f"step: found {self.step!r}, expected an integer >= 1")
        for name, low, high in (
            ("fat", 0.0, 1.0),
            ("regularity", 0.0, 1.0),
            ("density", 0.0, 1.0),
            ("ccr", 0.01, 100.0),
        ):
            _check_grid(name, getattr(self, name), low, high)

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        return Limits(self.tasks[1], most_edges(self.tasks[1]), 1)

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `plans.draw_plan` takes it."""
        counts = np.array([plans.DAGGEN, *self.tasks, self.step, 1])
        ranges = np.zeros((plans.NUM_RANGES, 3))
        ranges[plans.FAT], ranges[plans.REGULARITY] = self.fat, self.regularity
        ranges[plans.DENSITY], ranges[plans.CCR] = self.density, self.ccr
        return counts, ranges

    def hardware(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return device and server as the kernel takes them."""
        device = self.device
        return device.row(), np.array([[device.server_speed, device.rate, device.rate]])


@dataclass(frozen=True)
class JobGenerator(PlanGenerator):
    """Jobs like those of the Alibaba trace, on several servers that differ.

    Graph, durations and cores follow the laws fitted on the trace; all else is our assumption, as
    the trace has no data volumes and no device: cycles are duration x cores at 2.5 GHz, the device
    has 1 GHz, speeds and links of the servers are drawn for each instance.

    Attributes:
        tasks: fewest and most tasks, with the law of the trace between them; at most 60.
        servers: number of servers, 1 to 16.
        ccr: time of a transfer over the mean uplink / time on the mean server, drawn.
        speedup: servers' speed / that of the device, drawn.
        rate: bytes a second up and down, drawn for each server.
        link: bytes a second between two servers, drawn.
        label: beginning of the instances' names.

    Raises:
        ParameterError: a value is out of range.
    """

    tasks: tuple[int, int] = (5, 20)
    servers: int = 4
    ccr: Range = (0.5, 5.0)
    speedup: Range = (2.0, 8.0)
    rate: Range = (3 * MBIT, 19 * MBIT)
    link: Range = (30 * MBIT, 70 * MBIT)
    label: str = "alibaba_plan"

    def __post_init__(self) -> None:
        """Check every value."""
        _check_tasks(self.tasks, MOST_JOB_TASKS)
        if not isinstance(self.servers, int) or not 1 <= self.servers <= 16:
            raise ParameterError(f"servers: found {self.servers!r}, expected an integer in 1..16")
        for name in ("ccr", "speedup", "rate", "link"):
            _check_range(name, getattr(self, name), 1e-3, 1e12)

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        return Limits(self.tasks[1], most_edges(self.tasks[1]), self.servers)

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `plans.draw_plan` takes it."""
        counts = np.array([plans.JOBS, *self.tasks, 1, self.servers])
        ranges = np.zeros((plans.NUM_RANGES, 3))
        for what, pair in (
            (plans.CCR, self.ccr),
            (plans.SPEEDUP, self.speedup),
            (plans.UPLINK_RATE, self.rate),
            (plans.LINK_RATE, self.link),
        ):
            ranges[what, :2] = pair
        return counts, ranges

    def hardware(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the device, with DRLTO's powers, and room for the servers."""
        device = Device(speed=1e9)
        return device.row(), np.zeros((self.servers, plans.NUM_SERVER_COLUMNS))


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance."""

    instance: Instance

    @property
    def limits(self) -> Limits:
        """Sizes of the instance."""
        instance = self.instance
        return Limits(instance.num_tasks, max(instance.num_edges, 1), instance.num_servers)

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


def _instance_of(name: str, plan: Plan) -> Instance:
    """Return the instance in arrays."""
    tasks, edges, servers = plan.size
    child = np.repeat(np.arange(tasks), np.diff(plan.first[: tasks + 1]))
    speed, power, transmit, receive = plan.device[: plans.LOCAL_LATENCY]
    return Instance(
        name=name,
        work=plan.work[:tasks],
        upload=plan.upload[:tasks],
        output=plan.output[:tasks],
        edges=np.stack([plan.parent[:edges], child], axis=1),
        device_speed=speed,
        server_speed=plan.server[:servers, plans.SERVER_SPEED],
        uplink=plan.server[:servers, plans.UPLINK],
        downlink=plan.server[:servers, plans.DOWNLINK],
        device_power=power,
        transmit_power=transmit,
        receive_power=receive,
        link=plan.link[:servers, :servers],
    )


# ---------------------------------------------------------------- names

_SIZES = (10, 15, 20, 25, 30, 35, 40, 45, 50)


def _drlto(match: re.Match[str]) -> PlanGenerator:
    """``drlto``: DRLTO's sizes mixed; ``-n15``, ``-n10-20``: these; ``-up3``: Mbit/s."""
    low = int(match["low"] or _SIZES[0])
    high = int(match["high"] or match["low"] or _SIZES[-1])
    device = Device()
    if match["rate"]:
        device = Device(server_speed=8 * MEBI, rate=int(match["rate"]) * MBIT)
    step = 1 if match["low"] else 5
    return LayeredGenerator((low, high), step=step, device=device, label=match[0])


def _mrlco(match: re.Match[str]) -> PlanGenerator:
    """``mrlco``: 20 tasks, one of 25 kinds of graphs; ``-n30``: so many tasks."""
    tasks = int(match["low"] or 20)
    return LayeredGenerator(
        (tasks, tasks),
        fat=(0.4, 0.8, 0.1),
        regularity=(0.5, 0.5, 0.1),
        density=(0.4, 0.8, 0.1),
        label=match[0],
    )


def _alibaba(match: re.Match[str]) -> PlanGenerator:
    """``alibaba_plan``: jobs of 5 to 20 tasks, four servers; ``-n10-30``, ``-m2``: others."""
    low = int(match["low"] or 5)
    high = int(match["high"] or match["low"] or 20)
    return JobGenerator((low, high), servers=int(match["servers"] or 4), label=match[0])


_NUMBER = r"[1-9]\d{0,3}"
_TASKS = rf"(?:-n(?P<low>{_NUMBER})(?:-(?P<high>{_NUMBER}))?)?"
_FAMILIES: dict[str, Callable[[re.Match[str]], PlanGenerator]] = {
    rf"drlto{_TASKS}(?:-up(?P<rate>{_NUMBER}))?": _drlto,
    rf"mrlco(?:-n(?P<low>{_NUMBER}))?": _mrlco,
    rf"alibaba_plan{_TASKS}(?:-m(?P<servers>{_NUMBER}))?": _alibaba,
}


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Listed are the usual ones. Any number of tasks works, as in ``drlto-n17``, and any range, as in
    ``drlto-n10-20``; ``-up3`` is DRLTO's slow link (3 Mbit/s, a server of 8 MiB/s), ``mrlco-n30``
    has 30 tasks, and ``alibaba_plan-n10-30-m2`` jobs of 10 to 30 tasks and two servers.
    """
    return ["drlto", *(f"drlto-n{tasks}" for tasks in _SIZES), "mrlco", "alibaba_plan"]


def generator(scenario: str) -> PlanGenerator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: there is no such scenario; the message has the closest names.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    for pattern, make in _FAMILIES.items():
        match = re.fullmatch(pattern, scenario, re.ASCII)
        if match is None:
            continue
        try:
            return make(match)
        except ParameterError as error:
            raise ScenarioError(f"scenario {scenario!r}: {error}") from None
    raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Args:
        scenario: a name of `scenarios`, or any size or range of sizes.
        seed: in 0..2^64-1.

    Raises:
        ScenarioError: there is no such scenario.
        ParameterError: the seed is not such an integer.
    """
    return generator(scenario).generate(int(_seed(seed)))
