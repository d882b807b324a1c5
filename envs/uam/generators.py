"""Sources of instances, and the names under which they can be asked for."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.uam import days, tables
from dispatchgym.envs.uam.days import Limits, empty_day, first_row, instance_of
from dispatchgym.envs.uam.instance import MAX_CELLS, Instance
from dispatchgym.envs.uam.references import known_values

__all__ = [
    "FixedGenerator",
    "FleetGenerator",
    "Generator",
    "LegacyGenerator",
    "ShuttleGenerator",
    "generator",
    "make_instance",
    "scenarios",
]


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


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed (an integer in 0..2^64-1), always the same one."""


@dataclass(frozen=True)
class FleetGenerator:
    """Random days, ``uamgen/1``.

    Vertiports stand at random in a square, at least 3 miles apart; the quarter nearest its
    centre is busy, a random quarter of the others are vertistops. Demand follows a gravity
    model with a morning peak towards the busy vertiports and an evening peak away from them.
    With fares ``"paper"`` a route costs more a mile where demand is strong; with ``"market"`` it
    is 2.50 $ a mile; 5 $ come on top.

    Attributes:
        ports: fewest and most vertiports, uniform; 2 to 200.
        aircraft: fewest and most aircraft, uniform; 1 to 10,000.
        area: side of the square in miles, 10 to 100.
        load: lowest and highest ratio of expected passengers to the seats that a fleet which
            never waits could offer; log-uniform.
        fare: ``"paper"`` or ``"market"``.
        stochastic: whether there are take-off delays, closures and failures.
        closure, delay, failure: upper ends of the uniform draws of closure probabilities, mean
            take-off delays in minutes, and failure probabilities.
        start, end, slot, wait: the day, in minutes; slots divide it.
        headway: minutes between two entries of a corridor.
        label: beginning of the instances' names.

    Raises:
        ParameterError: a value is out of range.
    """

    ports: tuple[int, int] = (8, 8)
    aircraft: tuple[int, int] = (40, 40)
    area: float = 50.0
    load: tuple[float, float] = (1.0, 1.0)
    fare: str = "paper"
    stochastic: bool = True
    closure: float = 0.05
    delay: float = 6.0
    failure: float = 0.005
    start: int = 360
    end: int = 1080
    slot: int = 60
    wait: int = 15
    headway: int = 1
    label: str = "uam"

    def __post_init__(self) -> None:
        """Check every value, so that all instances are possible."""
        _check_pair("ports", self.ports, 2, 200)
        _check_pair("aircraft", self.aircraft, 1, 10_000)
        _check_pair("load", self.load, 0.01, 10.0)
        for name, low, high in (
            ("area", 10.0, 100.0),
            ("closure", 0.0, 1.0),
            ("delay", 0.0, 1000.0),
            ("failure", 0.0, 1.0),
        ):
            _check_number(name, getattr(self, name), low, high)
        for name, low, high in (
            ("start", 0, 10_000),
            ("end", self.start + 1, 10_000),
            ("slot", 1, self.end - self.start),
            ("wait", 1, 10_000),
            ("headway", 0, 10_000),
        ):
            _check_number(name, getattr(self, name), low, high)
        if self.fare not in days.FARES:
            raise ParameterError(
                f"fare: found {self.fare!r}, expected one of {', '.join(days.FARES)}"
            )
        if (self.end - self.start) % self.slot:
            raise ParameterError(f"slot: found {self.slot}, expected a divisor of the day")
        if self.ports[1] * 4 * days.MIN_DISTANCE**2 > self.area**2:
            raise ParameterError(
                f"area: found {self.area} mi, too small for {self.ports[1]} vertiports "
                f"at least {days.MIN_DISTANCE:g} mi apart"
            )
        limits = self.limits
        if limits.decisions > MAX_CELLS or limits.slots * limits.ports**2 > MAX_CELLS:
            raise ParameterError(f"slot, wait: found a day with {limits}, beyond {MAX_CELLS} cells")

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        numbers, reals = self.template()
        shortest = numbers[tables.TAKEOFF] + numbers[tables.LANDING]
        shortest += math.ceil(60.0 * days.MIN_DISTANCE / reals[tables.SPEED])
        gap = min(self.wait, int(shortest), int(numbers[tables.REPAIR_LOW]))
        day = self.end - self.start
        return Limits(
            ports=self.ports[1],
            aircraft=self.aircraft[1],
            slots=day // self.slot,
            corridors=int(numbers[tables.CORRIDORS]),
            decisions=self.aircraft[1] * -(-day // gap),
        )

    def template(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the numbers and reals of the instances; their sizes are drawn."""
        numbers = np.zeros(tables.NUM_NUMBERS, np.int64)
        numbers[tables.START], numbers[tables.END] = self.start, self.end
        numbers[tables.SLOT], numbers[tables.WAIT] = self.slot, self.wait
        numbers[tables.SLOTS] = (self.end - self.start) // self.slot
        numbers[tables.HEADWAY] = self.headway
        numbers[tables.STOCHASTIC] = self.stochastic
        numbers[tables.SEATS], numbers[tables.BATTERY] = Instance.seats, Instance.battery_wh
        numbers[tables.TAKEOFF], numbers[tables.LANDING] = Instance.takeoff, Instance.landing
        numbers[tables.REPAIR_LOW], numbers[tables.REPAIR_HIGH] = Instance.repair
        numbers[tables.POWER] = Instance.charge_power_w
        numbers[tables.CORRIDORS] = Instance.corridors
        reals = np.zeros(tables.NUM_REALS)
        reals[tables.SPEED], reals[tables.RANGE] = Instance.speed_mph, Instance.range_mi
        reals[tables.WH_PER_MI] = Instance.wh_per_mi
        reals[tables.OPERATING_RATE] = Instance.op_cents_per_mi
        reals[tables.ELECTRICITY_RATE] = Instance.elec_cents_per_kwh
        return numbers, reals

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `draw_day` takes it."""
        limits = np.zeros(days.NUM_LIMITS, np.int64)
        limits[days.PORTS_LOW], limits[days.PORTS_HIGH] = self.ports
        limits[days.AIRCRAFT_LOW], limits[days.AIRCRAFT_HIGH] = self.aircraft
        limits[days.FARE] = days.FARES.index(self.fare)
        scales = np.zeros(days.NUM_SCALES)
        scales[days.AREA] = self.area
        scales[days.LOAD_LOW], scales[days.LOAD_HIGH] = self.load
        scales[days.CLOSURE_HIGH], scales[days.DELAY_HIGH] = self.closure, self.delay
        scales[days.FAILURE_HIGH] = self.failure
        return limits, scales

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        day = first_row(empty_day(self.limits, 1))
        days.draw_day(_seed(seed), *self.draws(), *self.template(), day)
        return instance_of(f"{self.label}-s{seed:03d}", day)


@dataclass(frozen=True)
class ShuttleGenerator:
    """Days between Los Angeles airport and downtown, ``uam-lax2``: two vertiports, 14 aircraft.

    The hourly rates and the places are those that the simulator VertiSim publishes under the MIT
    licence (arXiv 2312.02505); fares are those of the market.
    """

    RATES = (
        (8, 12, 8, 12, 24, 24, 31, 32, 28, 26, 34, 18, 20, 24, 30, 24, 20, 30, 24, 14, 22, 14, 12,
         8),
        (8, 14, 6, 12, 24, 21, 34, 28, 32, 26, 34, 14, 16, 30, 24, 20, 24, 30, 14, 24, 22, 12, 14,
         8),
    )  # fmt: skip
    EAST, NORTH = 5.993, 6.593
    """Miles from the airport to downtown."""

    @property
    def _fleet(self) -> FleetGenerator:
        return FleetGenerator((2, 2), (14, 14), fare="market", start=0, end=1440, label="uam-lax2")

    @property
    def limits(self) -> Limits:
        """Sizes of the instances."""
        return self._fleet.limits

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        key = _seed(seed)
        day = first_row(empty_day(self.limits, 1))
        numbers, reals = self._fleet.template()
        limits, scales = self._fleet.draws()
        numbers[tables.PORTS], numbers[tables.AIRCRAFT] = (
            limits[days.PORTS_LOW],
            limits[days.AIRCRAFT_LOW],
        )
        day.numbers[:], day.reals[:] = numbers, reals
        day.x[1], day.y[1] = self.EAST, self.NORTH
        day.parking[:], day.chargers[:] = 14, 9
        days.measure(day)
        day.rate[:, 0, 1], day.rate[:, 1, 0] = self.RATES
        days.draw_demand(key, limits[days.FARE], day)
        days.draw_fleet(key, day)
        days.draw_hazards(key, scales, day)
        return instance_of(f"uam-lax2-s{seed:03d}", day)


@dataclass(frozen=True)
class LegacyGenerator:
    """Layouts of the 2022 predecessor of the paper, ``uam-legacy22``.

    Eight vertiports at random, six parking lots and six chargers each, 19 aircraft, one demand
    matrix of 0 to 99 passengers a route for the whole day, fares of 1.5 $ a mile, no operating
    cost and no disturbances. The environment plays them by its own rules, in whole minutes;
    `dispatchgym.envs.uam.legacy22` plays them by those of 2022.
    """

    aircraft: int = 19

    @property
    def limits(self) -> Limits:
        """Sizes of the instances."""
        return Limits(ports=8, aircraft=self.aircraft, slots=1, corridors=1,
                      decisions=self.aircraft * 60)  # fmt: skip

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        random = np.random.default_rng(int(_seed(seed)))
        ports, shape = 8, (1, 8, 8)
        place = np.round(random.uniform(0, 50, (2, ports)), 3)
        passengers = random.integers(0, 100, shape)
        passengers[0][np.diag_indices(ports)] = 0
        distance = np.hypot(*(axis[:, None] - axis for axis in place)).round(3)
        start = random.integers(0, ports, self.aircraft)
        while np.bincount(start).max() > 6:
            start = random.integers(0, ports, self.aircraft)
        return Instance(
            name=f"uam-legacy22-s{seed:03d}",
            start=360,
            end=1080,
            slot=720,
            wait=15,
            x=place[0],
            y=place[1],
            parking=np.full(ports, 6),
            chargers=np.full(ports, 6),
            high_demand=np.hypot(place[0] - 45, place[1] - 55) <= 30,
            delay_mean=np.zeros(ports),
            start_port=start,
            failure_probability=np.zeros(self.aircraft),
            closure_probability=np.zeros((ports, ports)),
            rate=np.where(np.eye(ports, dtype=bool), 0.0, 49.5)[None],
            passengers=passengers,
            fare_cents=100 * np.floor(1.5 * distance).astype(np.int64)[None],
            distance=distance,
            corridors=1,
            headway=0,
            op_cents_per_mi=0.0,
            stochastic=False,
        )


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance."""

    instance: Instance

    @property
    def limits(self) -> Limits:
        """Sizes of the instance."""
        instance = self.instance
        return Limits(
            instance.num_ports,
            instance.num_aircraft,
            instance.num_slots,
            instance.corridors,
            instance.max_decisions,
        )

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


# ---------------------------------------------------------------- names

_VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    "det": {"stochastic": False},
    "market": {"fare": "market"},
    "low": {"load": (0.5, 0.5)},
    "high": {"load": (2.0, 2.0)},
    "mixed": {"load": (0.5, 2.0)},
    "storm": {"closure": 0.2, "delay": 12.0, "failure": 0.02},
}

_SPECIAL: dict[str, Generator] = {
    "uam-lax2": ShuttleGenerator(),
    "uam-tiny-3x4-exact": FleetGenerator(
        (3, 3),
        (4, 4),
        area=30.0,
        stochastic=False,
        end=540,
        wait=1,
        headway=0,
        label="uam-tiny-3x4-exact",
    ),
    "uam-legacy22": LegacyGenerator(),
}

_USUAL = (
    *(f"uam-8x40{'-' if variant else ''}{variant}" for variant in _VARIANTS),
    "uam-20x100",
    "uam-50x500",
)


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Of the random family only the usual ones are listed: any ``uam-{n}x{k}`` works, ranges as in
    ``uam-6-10x20-60``, each followed by nothing or by ``-det``, ``-market``, ``-low``, ``-high``,
    ``-mixed`` or ``-storm``. More than 30 vertiports stand in a square of 80 miles, else of 50.
    """
    return [*_USUAL, *_SPECIAL]


def generator(scenario: str) -> Generator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: there is no such scenario; the message has the closest names.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    if scenario in _SPECIAL:
        return _SPECIAL[scenario]
    number = r"([1-9]\d{0,5})"
    pattern = rf"uam-{number}(?:-{number})?x{number}(?:-{number})?(?:-([a-z]+))?"
    match = re.fullmatch(pattern, scenario, re.ASCII)
    if match is None or (match[5] or "") not in _VARIANTS:
        raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))
    ports = (int(match[1]), int(match[2] or match[1]))
    aircraft = (int(match[3]), int(match[4] or match[3]))
    try:
        area = 50.0 if ports[1] <= 30 else 80.0
        found = FleetGenerator(ports, aircraft, area=area, label=scenario)
        return replace(found, **_VARIANTS[match[5] or ""])  # type: ignore[arg-type]
    except ParameterError as error:
        raise ScenarioError(f"scenario {scenario!r}: {error}") from None


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Some test seeds come with what is known of them, see `known_values`.

    Args:
        scenario: a name of `scenarios`, or any size or range of sizes.
        seed: in 0..2^64-1.

    Raises:
        ScenarioError: there is no such scenario.
        ParameterError: the seed is not such an integer.
    """
    instance = generator(scenario).generate(int(_seed(seed)))
    known = known_values(scenario, int(seed))
    return replace(instance, known=known) if known else instance
