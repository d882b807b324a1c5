"""Sources of instances, and the names under which they can be asked for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.edge_offloading import draw
from dispatchgym.envs.edge_offloading.draw import Limits, draw_instance, empty_rows, first_row
from dispatchgym.envs.edge_offloading.instance import (
    SIZE_LAWS,
    SLOT_SCENARIOS,
    Instance,
    OffloadInstance,
)

__all__ = [
    "CHANNELS",
    "FixedGenerator",
    "Generator",
    "MixedGenerator",
    "SlotGenerator",
    "generator",
    "make_instance",
    "scenarios",
]

CHANNELS = ("gmorl_code", "shannon")
HORIZONS = ("slots", "tasks")
MOST_EDGES = 99
MOST_TASKS = 10_000


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def family(self) -> str:
        """Family of all its instances, see `Instance`."""

    @property
    def limits(self) -> Any:
        """Largest sizes of its instances, as the family needs them."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed."""


@dataclass(frozen=True)
class SlotGenerator:
    """Independent tasks, one of which is sent in each slot, as in GMORL (arXiv 2509.10474).

    Attributes:
        edges: fewest and most edge servers, drawn evenly.
        cloud_hz, edge_hz: lowest and highest clock frequencies in Hz, drawn evenly.
        channel: ``"gmorl_code"``: the rates of the published code; ``"shannon"``: equation (2),
            by which the cloud is reached over the fastest edge and a backhaul.
        power: transmission power in W.
        bursty: arrivals at half and at twice the mean rate in turn, else at the mean rate.
        size_law: ``"exponential"``, or ``"pareto"`` with shape 2.2.
        fading_per_task: fading is drawn for each task, else once for each link.
        fifo: servers take tasks one by one, else they share their speed.
        hidden: only the type of a task is seen until its upload ends.
        horizon: ``"slots"``: the episode has `slots` slots; ``"tasks"``: `tasks` tasks.
        slots, tasks: see `horizon`.
        users: users, each of whom has `user_rate` tasks a second.
        user_rate: see `users`.
        slot: length of a slot in seconds.
        scenario: what observations tell, see `OffloadInstance`.
        label: begins the names of the instances.

    Raises:
        ParameterError: a value is not as described; the message names it.
    """

    edges: tuple[int, int] = (1, 8)
    cloud_hz: tuple[float, float] = (3.5e9, 4.5e9)
    edge_hz: tuple[float, float] = (1.75e9, 2.25e9)
    channel: str = "gmorl_code"
    power: float = 0.01
    bursty: bool = False
    size_law: str = "exponential"
    fading_per_task: bool = False
    fifo: bool = False
    hidden: bool = False
    horizon: str = "slots"
    slots: int = 100
    tasks: int = 100
    users: int = 10
    user_rate: float = 0.1
    slot: float = 1.0
    scenario: str = "gmorl"
    label: str = "gmorl"

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("edges", "cloud_hz", "edge_hz"):
            low, high = (1, MOST_EDGES) if name == "edges" else (1.0, 1e15)
            _check_pair(name, getattr(self, name), low, high)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                expected = " or ".join(map(str, choices))
                raise ParameterError(f"{name}: found {getattr(self, name)!r}, expected {expected}")
        for name, low, high in _NUMBERS:
            _check_number(name, getattr(self, name), low, high)

    @property
    def family(self) -> str:
        """Family of the instances."""
        return OffloadInstance.family

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        servers = self.edges[1] + 1
        if self.horizon == "tasks":
            return Limits(servers, self.tasks, self.tasks, self.users)
        mean = self.users * self.user_rate * self.slot * self.slots * max(1.0, self.bursty * 2.0)
        most = int(mean + 10.0 * mean**0.5) + 10  # more never come: ten standard deviations
        return Limits(servers, min(max(most, self.slots), MOST_TASKS), self.slots, self.users)

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as rows of the arguments of `draw_instance`."""
        limits = np.zeros(draw.NUM_LIMITS, np.int64)
        limits[draw.EDGES_LOW], limits[draw.EDGES_HIGH] = self.edges
        limits[draw.SLOTS], limits[draw.USERS] = self.slots, self.users
        limits[draw.CHANNEL] = CHANNELS.index(self.channel)
        limits[draw.SIZE_LAW] = SIZE_LAWS.index(self.size_law)
        limits[draw.NUMBER_OF_SCENARIO] = SLOT_SCENARIOS.index(self.scenario)
        limits[draw.BURSTY], limits[draw.FADING_PER_TASK] = self.bursty, self.fading_per_task
        limits[draw.QUEUES], limits[draw.HIDES] = self.fifo, self.hidden
        limits[draw.WANTED_TASKS] = self.tasks if self.horizon == "tasks" else 0
        scales = np.zeros(draw.NUM_SCALES)
        scales[draw.CLOUD_LOW], scales[draw.CLOUD_HIGH] = self.cloud_hz
        scales[draw.EDGE_LOW], scales[draw.EDGE_HIGH] = self.edge_hz
        scales[draw.USER_RATE], scales[draw.SLOT_LENGTH] = self.user_rate, self.slot
        scales[draw.TRANSMIT_POWER] = self.power
        return limits, scales

    def generate(self, seed: int) -> OffloadInstance:
        """Return the instance of a seed in 0..2^64-1."""
        return MixedGenerator((self,), self.label).generate(seed)


@dataclass(frozen=True)
class MixedGenerator:
    """Several kinds of instances, one of which is drawn by the seed, all alike in likelihood.

    Attributes:
        members: the kinds.
        label: begins the names of the instances.
    """

    members: tuple[SlotGenerator, ...]
    label: str

    @property
    def family(self) -> str:
        """Family of the instances."""
        return OffloadInstance.family

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        return Limits(
            *(max(sizes) for sizes in zip(*(m.limits for m in self.members), strict=True))
        )

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `draw_instance` takes it."""
        limits, scales = zip(*(member.draws() for member in self.members), strict=True)
        return np.stack(limits), np.stack(scales)

    def generate(self, seed: int) -> OffloadInstance:
        """Return the instance of a seed in 0..2^64-1."""
        key = _seed(seed)
        rows = first_row(empty_rows(self.limits, 1))
        draw_instance(key, *self.draws(), rows)
        return OffloadInstance.from_rows(f"{self.label}-s{int(key):03d}", rows)


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance."""

    instance: Instance

    @property
    def family(self) -> str:
        """Family of the instance."""
        return self.instance.family

    @property
    def limits(self) -> Any:
        """Sizes of the instance."""
        return self.instance.limits  # type: ignore[attr-defined]

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


_CHOICES = {
    "channel": CHANNELS,
    "size_law": SIZE_LAWS,
    "horizon": HORIZONS,
    "scenario": SLOT_SCENARIOS,
    "bursty": (False, True),
    "fading_per_task": (False, True),
    "fifo": (False, True),
    "hidden": (False, True),
}
_NUMBERS = (
    # field, lowest, highest value
    ("power", 1e-9, 1e6),
    ("slots", 1, MOST_TASKS),
    ("tasks", 1, MOST_TASKS),
    ("users", 1, 10_000),
    ("user_rate", 1e-6, 1e6),
    ("slot", 1e-6, 1e6),
)


def _seed(seed: int) -> np.uint64:
    try:
        return np.uint64(operator.index(seed))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None


def _check_number(name: str, value: object, low: float, high: float) -> None:
    whole = isinstance(low, int)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "an integer" if whole else "a number"
        raise ParameterError(f"{name}: found {value!r}, expected {kind} in {low}..{high}")


def _check_pair(name: str, pair: object, low: float, high: float) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ParameterError(f"{name}: found {pair!r}, expected two numbers (low, high)")
    for value in pair:
        _check_number(name, value, low, high)
    if pair[0] > pair[1]:
        raise ParameterError(f"{name}: found {pair}, expected low <= high")


# ---------------------------------------------------------------- names

_KINDS: dict[str, dict[str, Any]] = {
    "gmorl": {},
    "gmorl_radio": {"channel": "shannon", "power": 0.2},
    "gmorl_hard": {
        "channel": "shannon",
        "power": 0.2,
        "bursty": True,
        "size_law": "pareto",
        "fading_per_task": True,
        "fifo": True,
        "hidden": True,
    },
}
_TEST_RANGES: dict[str, Any] = {"cloud_hz": (3.0e9, 5.0e9), "edge_hz": (1.5e9, 2.5e9)}
_FIXED: dict[str, Any] = {"cloud_hz": (4.0e9, 4.0e9), "edge_hz": (2.0e9, 2.0e9)}


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Of the contexts with a fixed number of edge servers only some are listed: ``-e{n}`` works for
    1 to 99, followed by nothing (frequencies of the test) or ``-fixed`` (4 and 2 GHz). Several
    names of one family joined by ``+`` are mixed.
    """
    from dispatchgym.envs.edge_offloading import dems_generators, graph_generators

    suffixes = ("", "-test", "-e1", "-e6", "-e6-fixed", "-e9", "-e10")
    slots = [kind + suffix for kind in _KINDS for suffix in suffixes]
    return [*slots, *dems_generators.names(), *graph_generators.names()]


def generator(scenario: str) -> Generator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: there is no such scenario; the message has the closest names.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    found = [_single(name, scenario) for name in scenario.split("+")]
    if len(found) == 1:
        return found[0]
    if not all(isinstance(member, SlotGenerator) for member in found):
        raise ScenarioError(
            f"scenario: found {scenario!r}, expected a mixture of scenarios like "
            f"{', '.join(_KINDS)}"
        )
    return MixedGenerator(tuple(found), scenario)  # type: ignore[arg-type]


def _single(name: str, scenario: str) -> Generator:
    for find in _FINDERS:
        found = find(name)
        if found is not None:
            return found
    raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))


def _slot_generator(name: str) -> SlotGenerator | None:
    """Return the source of a name such as ``gmorl_radio-e6-fixed``; None if it is no such name."""
    match = re.fullmatch(r"([a-z_]+)(?:-(test|e([1-9]\d?)(-fixed)?))?", name, re.ASCII)
    if match is None or match[1] not in _KINDS:
        return None
    base = SlotGenerator(scenario=match[1], label=name, **_KINDS[match[1]])
    if match[3]:
        edges = int(match[3])
        return replace(base, edges=(edges, edges), **(_FIXED if match[4] else _TEST_RANGES))
    return replace(base, edges=(1, 10), **_TEST_RANGES) if match[2] else base


def _deadline_generator(name: str) -> Generator | None:
    """Return the source of a name such as ``dems-heavy-3``; None if it is no such name."""
    from dispatchgym.envs.edge_offloading import dems_generators

    return dems_generators.find(name)


def _graph_generator(name: str) -> Generator | None:
    """Return the source of a name such as ``dag_online-e4``; None if it is no such name."""
    from dispatchgym.envs.edge_offloading import graph_generators

    return graph_generators.find(name)


_FINDERS: tuple[Callable[[str], Generator | None], ...] = (
    _slot_generator,
    _deadline_generator,
    _graph_generator,
)
"""Each knows the names of a family."""


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Args:
        scenario: a name of `scenarios`, or another that it describes.
        seed: in 0..2^64-1.

    Raises:
        ScenarioError: there is no such scenario.
        ParameterError: the seed is not such an integer.
    """
    return generator(scenario).generate(int(_seed(seed)))
