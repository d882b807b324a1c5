"""The arrays of a day, and how a random one is drawn: compiled, from keyed random numbers.

Everything drawn is a pure function of the seed and of what it is for, so that a day can be made
inside the kernel as well as by `make_instance`, always the same.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.uam import tables
from dispatchgym.envs.uam.instance import Instance

__all__ = [
    "Day",
    "Limits",
    "draw_day",
    "draw_demand",
    "draw_fleet",
    "draw_hazards",
    "empty_day",
    "first_row",
    "instance_of",
    "lay",
    "measure",
]

compiled = tables.compiled

MIN_DISTANCE = 3.0
"""Miles between any two vertiports of a random layout, at least."""
NEAREST = 5.0
"""The gravity of two vertiports does not grow below this distance, in miles."""
FARES = ("paper", "market")
PAPER, MARKET = range(2)
BASE_CENTS = 500
PAPER_CENTS_PER_MI = 64
MARKET_CENTS_PER_MI = 250

# Streams of the keyed random numbers.
(_SIZES, _POSITION, _VERTISTOP, _GRAVITY, _COUNT, _START, _DELAY, _CLOSURE, _FAILURE,
 _LOAD) = range(16, 26)  # fmt: skip

# What a generator draws from: whole numbers ...
PORTS_LOW, PORTS_HIGH, AIRCRAFT_LOW, AIRCRAFT_HIGH, FARE = range(5)
NUM_LIMITS = 5
# ... and real ones.
AREA, LOAD_LOW, LOAD_HIGH, CLOSURE_HIGH, DELAY_HIGH, FAILURE_HIGH = range(6)
NUM_SCALES = 6


class Day(NamedTuple):
    """The arrays of an instance, padded to N vertiports, K aircraft and S slots.

    The kernel has the same with an axis more in front, the lane.

    Attributes:
        numbers: int64 (NUM_NUMBERS,). reals: float64 (NUM_REALS,); see `tables`.
        x, y: float64 (N,). parking, chargers, high_demand: int64 (N,). delay_mean: float64 (N,).
        distance, closure_probability: float64 (N, N).
        start_port: int64 (K,). failure_probability: float64 (K,).
        rate: float64 (S, N, N). passengers, fare_cents: int64 (S, N, N).
        legs: int64 (N, N, NUM_LEG_COLUMNS). near: int64 (N,).
    """

    numbers: npt.NDArray[np.int64]
    reals: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    parking: npt.NDArray[np.int64]
    chargers: npt.NDArray[np.int64]
    high_demand: npt.NDArray[np.int64]
    delay_mean: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    closure_probability: npt.NDArray[np.float64]
    start_port: npt.NDArray[np.int64]
    failure_probability: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]
    passengers: npt.NDArray[np.int64]
    fare_cents: npt.NDArray[np.int64]
    legs: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]


class Limits(NamedTuple):
    """Most vertiports, aircraft, slots, corridors and decisions of a generator's instances."""

    ports: int
    aircraft: int
    slots: int
    corridors: int
    decisions: int


def empty_day(limits: Limits, rows: int) -> Day:
    """Return the arrays of `rows` days of at most this size, the row first."""
    ports, aircraft, slots = limits[:3]
    square, cube = (rows, ports, ports), (rows, slots, ports, ports)
    return Day(
        numbers=np.zeros((rows, tables.NUM_NUMBERS), np.int64),
        reals=np.zeros((rows, tables.NUM_REALS)),
        x=np.zeros((rows, ports)),
        y=np.zeros((rows, ports)),
        parking=np.zeros((rows, ports), np.int64),
        chargers=np.zeros((rows, ports), np.int64),
        high_demand=np.zeros((rows, ports), np.int64),
        delay_mean=np.zeros((rows, ports)),
        distance=np.zeros(square),
        closure_probability=np.zeros(square),
        start_port=np.zeros((rows, aircraft), np.int64),
        failure_probability=np.zeros((rows, aircraft)),
        rate=np.zeros(cube),
        passengers=np.zeros(cube, np.int64),
        fare_cents=np.zeros(cube, np.int64),
        legs=np.zeros((*square, tables.NUM_LEG_COLUMNS), np.int64),
        near=np.zeros((rows, ports), np.int64),
    )


def first_row(days: Day) -> Day:
    """Return views of the first of many days."""
    return Day(*(rows[0] for rows in days))


def lay(instance: Instance, days: Day, row: int) -> None:
    """Write an instance into row `row` of the arrays of days."""
    ports, aircraft, slots = instance.num_ports, instance.num_aircraft, instance.num_slots
    for name, rows in days._asdict().items():
        target = rows[row]
        target[...] = 0
        if name == "legs":
            target[:ports, :ports] = instance.legs
        elif name in ("start_port", "failure_probability"):
            target[:aircraft] = getattr(instance, name)
        elif name in ("rate", "passengers", "fare_cents"):
            target[:slots, :ports, :ports] = getattr(instance, name)
        elif target.ndim == 2:
            target[:ports, :ports] = getattr(instance, name)
        elif name in ("numbers", "reals"):
            target[:] = getattr(instance, name)
        else:
            target[:ports] = getattr(instance, name)


def instance_of(name: str, day: Day) -> Instance:
    """Return the instance that stands in the arrays of one day (no row axis)."""
    numbers, reals = day.numbers, day.reals
    ports, aircraft = int(numbers[tables.PORTS]), int(numbers[tables.AIRCRAFT])
    slots = int(numbers[tables.SLOTS])
    window = (slice(slots), slice(ports), slice(ports))
    return Instance(
        name=name,
        start=int(numbers[tables.START]),
        end=int(numbers[tables.END]),
        slot=int(numbers[tables.SLOT]),
        wait=int(numbers[tables.WAIT]),
        x=day.x[:ports],
        y=day.y[:ports],
        parking=day.parking[:ports],
        chargers=day.chargers[:ports],
        high_demand=day.high_demand[:ports] == 1,
        delay_mean=day.delay_mean[:ports],
        start_port=day.start_port[:aircraft],
        failure_probability=day.failure_probability[:aircraft],
        closure_probability=day.closure_probability[:ports, :ports],
        rate=day.rate[window],
        passengers=day.passengers[window],
        fare_cents=day.fare_cents[window],
        distance=day.distance[:ports, :ports],
        seats=int(numbers[tables.SEATS]),
        speed_mph=float(reals[tables.SPEED]),
        range_mi=float(reals[tables.RANGE]),
        battery_wh=int(numbers[tables.BATTERY]),
        wh_per_mi=float(reals[tables.WH_PER_MI]),
        reserve_wh=int(numbers[tables.RESERVE]),
        takeoff=int(numbers[tables.TAKEOFF]),
        landing=int(numbers[tables.LANDING]),
        repair=(int(numbers[tables.REPAIR_LOW]), int(numbers[tables.REPAIR_HIGH])),
        charge_power_w=int(numbers[tables.POWER]),
        corridors=int(numbers[tables.CORRIDORS]),
        headway=int(numbers[tables.HEADWAY]),
        pad_headway=int(numbers[tables.PAD_HEADWAY]),
        op_cents_per_mi=float(reals[tables.OPERATING_RATE]),
        op_basis="vehicle" if numbers[tables.PER_VEHICLE] else "passenger",
        elec_cents_per_kwh=float(reals[tables.ELECTRICITY_RATE]),
        stochastic=bool(numbers[tables.STOCHASTIC]),
        must_land_by_end=bool(numbers[tables.MUST_LAND]),
    )


# ---------------------------------------------------------------- drawing a day


@compiled
def _between(seed: np.uint64, stream: int, key: int, low: int, high: int) -> int:
    """Return the integer of a key, uniform in low..high."""
    return low + int(uniform(seed, stream, key, 0) * (high - low + 1))


@compiled
def _thousandths(value: float) -> float:
    """Round to three decimals."""
    return math.floor(1000.0 * value + 0.5) / 1000.0


@compiled
def _draw_positions(seed: np.uint64, first: int, area: float, day: Day) -> int:
    """Place the vertiports, none too near to an earlier one; return the next free key."""
    key = first
    for i in range(day.numbers[tables.PORTS]):
        placed = False
        while not placed:
            x = _thousandths(area * uniform(seed, _POSITION, key, 0))
            y = _thousandths(area * uniform(seed, _POSITION, key, 1))
            key += 1
            placed = True
            for j in range(i):
                if math.hypot(x - day.x[j], y - day.y[j]) < MIN_DISTANCE:
                    placed = False
            day.x[i] = x
            day.y[i] = y
    return key


@compiled
def measure(day: Day) -> None:
    """Work out the distances from the positions."""
    ports = day.numbers[tables.PORTS]
    for i in range(ports):
        for j in range(ports):
            across = day.x[i] - day.x[j]
            up = day.y[i] - day.y[j]
            day.distance[i, j] = _thousandths(math.sqrt(across * across + up * up))


@compiled
def _choose_classes(seed: np.uint64, attempt: int, area: float, day: Day) -> None:
    """Make the quarter nearest the centre busy, and a random quarter of the rest vertistops."""
    ports, aircraft = day.numbers[tables.PORTS], day.numbers[tables.AIRCRAFT]
    for i in range(ports):
        day.high_demand[i] = 0
        day.parking[i] = -((-2 * aircraft) // ports)
        day.chargers[i] = -((-12 * aircraft) // (10 * ports))
    for _ in range(ports // 4):
        nearest, least = -1, math.inf
        for i in range(ports):
            away = math.hypot(day.x[i] - 0.5 * area, day.y[i] - 0.5 * area)
            if day.high_demand[i] == 0 and away < least:
                nearest, least = i, away
        day.high_demand[nearest] = 1
    for _ in range(ports // 4):
        drawn, least = -1, math.inf
        for i in range(ports):
            lot = uniform(seed, _VERTISTOP, attempt, i)
            if day.high_demand[i] == 0 and day.chargers[i] > 0 and lot < least:
                drawn, least = i, lot
        day.chargers[drawn] = 0


@compiled
def _is_connected(day: Day) -> bool:
    """Tell whether every port has a neighbour, and every vertistop a charger within half range."""
    ports, reach = day.numbers[tables.PORTS], day.reals[tables.RANGE]
    for i in range(ports):
        neighbour, charger = False, day.chargers[i] > 0
        for j in range(ports):
            if j != i:
                neighbour |= day.distance[i, j] <= reach
                charger |= day.chargers[j] > 0 and day.distance[i, j] <= 0.5 * reach
        if not (neighbour and charger):
            return False
    return True


@compiled
def draw_layout(seed: np.uint64, area: float, day: Day) -> None:
    """Draw layouts until every vertiport can be reached and every vertistop can be left."""
    key, attempt, fits = 0, 0, False
    while not fits:
        key = _draw_positions(seed, key, area, day)
        measure(day)
        _choose_classes(seed, attempt, area, day)
        attempt += 1
        fits = _is_connected(day)


@compiled
def _density(hour: float, mean: float, deviation: float) -> float:
    """Return the normal density, but for a constant factor."""
    z = (hour - mean) / deviation
    return math.exp(-0.5 * z * z) / deviation


@compiled
def _flow(kind: int, hour: float) -> float:
    """Return how strongly people travel at an hour; kind: 2 x (from busy) + (to busy).

    A mixture of a morning peak, an evening peak and a broad base. Towards the busy vertiports
    the morning is strong, away from them the evening.
    """
    morning, evening, base = 0.2, 0.2, 0.6
    if kind == 1:
        morning, evening, base = 0.6, 0.15, 0.25
    elif kind == 2:
        morning, evening, base = 0.15, 0.6, 0.25
    elif kind == 3:
        morning, evening, base = 0.375, 0.375, 0.25
    return (
        morning * _density(hour, 8.0, 2.0)
        + evening * _density(hour, 16.0, 2.0)
        + base * _density(hour, 12.0, 6.0)
    )


@compiled
def _slot_hour(day: Day, slot: int) -> float:
    """Return the middle of a slot, in hours."""
    numbers = day.numbers
    return (numbers[tables.START] + (slot + 0.5) * numbers[tables.SLOT]) / 60.0


@compiled
def _draw_gravity(seed: np.uint64, day: Day) -> float:
    """Write how much each route attracts into the first slot's rates; return the mean block."""
    ports = day.numbers[tables.PORTS]
    total, minutes = 0.0, 0.0
    for i in range(ports):
        for j in range(ports):
            day.rate[0, i, j] = 0.0
            if i == j or day.distance[i, j] > day.reals[tables.RANGE]:
                continue
            u = uniform(seed, _GRAVITY, 2 * (i * ports + j), 0)
            v = uniform(seed, _GRAVITY, 2 * (i * ports + j) + 1, 0)
            normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
            weight = (1 + 2 * day.high_demand[i]) * (1 + 2 * day.high_demand[j])
            gravity = weight / max(day.distance[i, j], NEAREST) * math.exp(0.25 * normal)
            day.rate[0, i, j] = gravity
            total += gravity
            minutes += gravity * day.legs[i, j, tables.BLOCK]
    for i in range(ports):
        for j in range(ports):
            day.rate[0, i, j] /= total
    return minutes / total


@compiled
def _draw_rates(seed: np.uint64, load: float, day: Day) -> None:
    """Write the expected passengers; `load` is their number over the seats on offer.

    On offer is what a fleet could carry that never waited.
    """
    numbers = day.numbers
    ports, slots = numbers[tables.PORTS], numbers[tables.SLOTS]
    mean_block = _draw_gravity(seed, day)
    flights = numbers[tables.AIRCRAFT] * (numbers[tables.END] - numbers[tables.START]) / mean_block
    passengers = load * flights * numbers[tables.SEATS]
    for kind in range(4):
        whole = 0.0
        for s in range(slots):
            whole += _flow(kind, _slot_hour(day, s))
        for s in range(slots - 1, -1, -1):  # the first slot holds the gravity until the end
            share = passengers * _flow(kind, _slot_hour(day, s)) / whole
            for i in range(ports):
                for j in range(ports):
                    if kind == 2 * day.high_demand[i] + day.high_demand[j]:
                        day.rate[s, i, j] = share * day.rate[0, i, j]


@compiled
def _poisson(seed: np.uint64, key: int, mean: float) -> int:
    """Return the Poisson number of a key, as a sum of small ones by inversion."""
    parts = math.ceil(mean / 30.0)
    count = 0
    for part in range(parts):
        u = uniform(seed, _COUNT, key, part)
        probability = math.exp(-mean / parts)
        below = probability
        found = 0
        while u >= below and found < 1000:
            found += 1
            probability *= mean / parts / found
            below += probability
        count += found
    return count


@compiled
def _fare(fare: int, miles: float, passengers: int) -> int:
    """Return the fare a passenger in cents: by the mile, on the paper's scale by demand too."""
    if fare == MARKET:
        return tables.half_up(BASE_CENTS + MARKET_CENTS_PER_MI * miles)
    factor = 1.0 if passengers <= 0 else max(math.log(passengers / 10.0), 1.0)
    return tables.half_up(BASE_CENTS + PAPER_CENTS_PER_MI * miles * factor)


@compiled
def draw_demand(seed: np.uint64, fare: int, day: Day) -> None:
    """Draw the passengers of every slot from the rates and set the fares."""
    ports = day.numbers[tables.PORTS]
    for s in range(day.numbers[tables.SLOTS]):
        for i in range(ports):
            for j in range(ports):
                count = _poisson(seed, (s * ports + i) * ports + j, day.rate[s, i, j])
                day.passengers[s, i, j] = count
                day.fare_cents[s, i, j] = _fare(fare, day.distance[i, j], count) if i != j else 0


@compiled
def draw_fleet(seed: np.uint64, day: Day) -> None:
    """Spread the aircraft over the vertiports, none beyond its parking lots."""
    ports = day.numbers[tables.PORTS]
    key = 0
    for k in range(day.numbers[tables.AIRCRAFT]):
        placed = False
        while not placed:
            port = _between(seed, _START, key, 0, ports - 1)
            key += 1
            parked = 0
            for other in range(k):
                parked += day.start_port[other] == port
            placed = parked < day.parking[port]
            day.start_port[k] = port


@compiled
def draw_hazards(seed: np.uint64, scales: npt.NDArray[np.float64], day: Day) -> None:
    """Draw mean delays, closure and failure probabilities."""
    ports = day.numbers[tables.PORTS]
    for i in range(ports):
        day.delay_mean[i] = scales[DELAY_HIGH] * uniform(seed, _DELAY, i, 0)
        for j in range(ports):
            u = uniform(seed, _CLOSURE, tables.leg_index(i, j, ports), 0)
            day.closure_probability[i, j] = scales[CLOSURE_HIGH] * u if i != j else 0.0
    for k in range(day.numbers[tables.AIRCRAFT]):
        day.failure_probability[k] = scales[FAILURE_HIGH] * uniform(seed, _FAILURE, k, 0)


@compiled
def draw_day(
    seed: np.uint64,
    limits: npt.NDArray[np.int64],
    scales: npt.NDArray[np.float64],
    numbers: npt.NDArray[np.int64],
    reals: npt.NDArray[np.float64],
    day: Day,
) -> None:
    """Draw a whole random day; `numbers` and `reals` hold all that is not drawn."""
    for index in range(tables.NUM_NUMBERS):
        day.numbers[index] = numbers[index]
    for index in range(tables.NUM_REALS):
        day.reals[index] = reals[index]
    day.numbers[tables.PORTS] = _between(seed, _SIZES, 0, limits[PORTS_LOW], limits[PORTS_HIGH])
    day.numbers[tables.AIRCRAFT] = _between(
        seed, _SIZES, 1, limits[AIRCRAFT_LOW], limits[AIRCRAFT_HIGH]
    )
    draw_layout(seed, scales[AREA], day)
    tables.fill_legs(day.numbers, day.reals, day.distance, day.chargers, day.legs, day.near)
    ratio = scales[LOAD_HIGH] / scales[LOAD_LOW]
    load = scales[LOAD_LOW] * ratio ** uniform(seed, _LOAD, 0, 0)
    _draw_rates(seed, load, day)
    draw_demand(seed, limits[FARE], day)
    draw_fleet(seed, day)
    draw_hazards(seed, scales, day)
