"""A fleet-dispatch instance: an immutable record of one day, checked once when it is made."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.uam import tables

__all__ = ["MAX_AIRCRAFT", "MAX_CELLS", "MAX_PORTS", "OPERATING_BASES", "Instance"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

OPERATING_BASES = ("passenger", "vehicle")
"""What the operating cost a mile is charged for: each passenger, or each flight."""

MAX_PORTS = 1000
MAX_AIRCRAFT = 100_000
MAX_MINUTES = 100_000
"""Largest time, in minutes."""
MAX_WH = 10**9
MAX_CENTS = 10**7
"""Largest fare, in cents."""
MAX_PASSENGERS = 10**6
MAX_CELLS = 20_000_000
"""Largest slots x vertiports x vertiports, and decisions that a day may have."""

_MAX_REAL = 1e6
_MAX_TEXT = 200
_INTEGERS = (
    # field, lowest, highest value
    ("start", 0, MAX_MINUTES),
    ("end", 1, MAX_MINUTES),
    ("slot", 1, MAX_MINUTES),
    ("wait", 1, MAX_MINUTES),
    ("seats", 1, 1000),
    ("battery_wh", 1, MAX_WH),
    ("takeoff", 0, MAX_MINUTES),
    ("landing", 0, MAX_MINUTES),
    ("reserve_wh", 0, MAX_WH),
    ("charge_power_w", 1, MAX_WH),
    ("corridors", 1, 16),
    ("headway", 0, MAX_MINUTES),
    ("pad_headway", 0, MAX_MINUTES),
)
_REALS = (
    # field, whether it may be zero
    ("speed_mph", False),
    ("range_mi", False),
    ("wh_per_mi", True),
    ("op_cents_per_mi", True),
    ("elec_cents_per_kwh", True),
)
_FLAGS = ("stochastic", "must_land_by_end")


@dataclass(frozen=True, eq=False)
class Instance:
    """One day of N vertiports, K aircraft and S slots of demand.

    Times are minutes since midnight or lengths in minutes, energies Wh, money cents, distances
    miles. Two instances are equal when they are the same problem; name and known values are
    labels and do not take part. All arrays are C-contiguous and read-only.

    Attributes:
        name: printable, 1 to 200 characters.
        start, end: the day; aircraft decide in [start, end).
        slot: length of a demand slot; the day is a whole number S of slots.
        wait: how long an aircraft that stays waits until it decides again, >= 1.
        x, y: (N,) positions in miles; no two vertiports at one place.
        parking: (N,) parking lots, >= 0.
        chargers: (N,) charging stations, >= 0; a vertiport without is a vertistop, where
            aircraft park and are not charged.
        high_demand: (N,) bool, the busy vertiports.
        delay_mean: (N,) mean take-off delay in minutes, >= 0.
        start_port: (K,) where each aircraft stands at the start, in a parking lot.
        failure_probability: (K,) chance that a dispatch is cancelled, in [0, 1].
        closure_probability: (N, N) chance that a route is closed for a slot, symmetric.
        rate: (S, N, N) expected passengers from i to j, the forecast.
        passengers: (S, N, N) passengers of the slot, the demand.
        fare_cents: (S, N, N) fare a passenger, >= 0.
        distance: (N, N) miles with 3 decimals, symmetric; from the positions unless given.
        seats: passengers an aircraft takes.
        speed_mph, range_mi: cruise speed and longest leg.
        battery_wh, wh_per_mi, reserve_wh: size of the battery, use a mile, what must be left.
        takeoff, landing: minutes beside the cruise.
        repair: shortest and longest repair after a failure.
        charge_power_w: power of a charging station; charging is linear and to full.
        corridors: corridors of each direction of a route.
        headway: minutes between two entries of a corridor.
        pad_headway: minutes between two departures of a vertiport; 0: no limit.
        op_cents_per_mi, op_basis: operating cost, a passenger or a vehicle.
        elec_cents_per_kwh: price of electricity.
        stochastic: whether there are take-off delays, closures and failures.
        must_land_by_end: whether flights whose nominal block time ends after `end` are illegal.
        known: values in cents that are known of the day, e.g. ``lp_bound_cents``; see
            `dispatchgym.envs.uam.parsers`.

    Raises:
        InstanceError: a field is not as described, or a vertiport cannot be reached; the
            message names field and index.
    """

    name: str
    start: int
    end: int
    slot: int
    wait: int
    x: FloatArray
    y: FloatArray
    parking: IntArray
    chargers: IntArray
    high_demand: BoolArray
    delay_mean: FloatArray
    start_port: IntArray
    failure_probability: FloatArray
    closure_probability: FloatArray
    rate: FloatArray
    passengers: IntArray
    fare_cents: IntArray
    distance: FloatArray = None  # type: ignore[assignment]  # from the positions unless given
    seats: int = 4
    speed_mph: float = 74.5
    range_mi: float = 50.0
    battery_wh: int = 110_000
    wh_per_mi: float = 2200.0
    reserve_wh: int = 0
    takeoff: int = 6
    landing: int = 6
    repair: tuple[int, int] = (60, 180)
    charge_power_w: int = 150_000
    corridors: int = 2
    headway: int = 1
    pad_headway: int = 0
    op_cents_per_mi: float = 64.0
    op_basis: str = "passenger"
    elec_cents_per_kwh: float = 20.0
    stochastic: bool = True
    must_land_by_end: bool = False
    known: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        _check_text(self.name, "name")
        for name, low, high in _INTEGERS:
            self._set(name, _integer(getattr(self, name), name, low, high))
        for name, zero in _REALS:
            self._set(name, _real(getattr(self, name), name, zero))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise InstanceError(
                    f"{name}: found {_shown(getattr(self, name))}, expected True or False"
                )
            self._set(name, bool(getattr(self, name)))
        if not isinstance(self.op_basis, str) or self.op_basis not in OPERATING_BASES:
            raise InstanceError(
                f"op_basis: found {_shown(self.op_basis)}, "
                f"expected one of {', '.join(OPERATING_BASES)}"
            )
        self._set("repair", _checked_repair(self.repair))
        self._set("known", MappingProxyType(_checked_known(self.known)))
        _check_day(self)
        self._check_ports()
        self._check_fleet()
        self._check_demand()
        _check_reach(self)
        _check_size(self)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_ports(self) -> None:
        self._set("x", _reals(self.x, "x", (None,)))
        ports = len(self.x)
        if not 2 <= ports <= MAX_PORTS:
            raise InstanceError(f"x: found {ports} vertiports, expected 2 to {MAX_PORTS}")
        self._set("y", _reals(self.y, "y", (ports,)))
        for name in ("parking", "chargers"):
            self._set(name, _integers(getattr(self, name), name, (ports,), 0, MAX_AIRCRAFT))
        self._set("high_demand", _flags(self.high_demand, "high_demand", (ports,)))
        self._set("delay_mean", _reals(self.delay_mean, "delay_mean", (ports,), 0.0, 1e4))
        closure = _reals(self.closure_probability, "closure_probability", (ports, ports), 0, 1)
        _check_symmetric(closure, "closure_probability")
        self._set("closure_probability", closure)
        self._set("distance", _checked_distance(self))

    def _check_fleet(self) -> None:
        count = np.shape(self.start_port)
        if len(count) != 1 or not 1 <= count[0] <= MAX_AIRCRAFT:
            raise InstanceError(
                f"start_port: found shape {count}, "
                f"expected one entry for each of 1 to {MAX_AIRCRAFT} aircraft"
            )
        ports = len(self.x)
        self._set("start_port", _integers(self.start_port, "start_port", count, 0, ports - 1))
        name = "failure_probability"
        self._set(name, _reals(self.failure_probability, name, count, 0, 1))
        parked = np.bincount(self.start_port, minlength=ports)
        full = np.flatnonzero(parked > self.parking)
        if full.size:
            raise InstanceError(
                f"start_port: found {parked[full[0]]} aircraft at vertiport {full[0]}, "
                f"expected at most its {self.parking[full[0]]} parking lots"
            )

    def _check_demand(self) -> None:
        shape = (self.num_slots, self.num_ports, self.num_ports)
        if shape[0] * shape[1] * shape[2] > MAX_CELLS:
            raise InstanceError(f"rate: expected at most {MAX_CELLS} cells, found shape {shape}")
        self._set("rate", _reals(self.rate, "rate", shape, 0, MAX_PASSENGERS))
        for name, high in (("passengers", MAX_PASSENGERS), ("fare_cents", MAX_CENTS)):
            self._set(name, _integers(getattr(self, name), name, shape, 0, high))
        for name in ("rate", "passengers"):
            own = np.argwhere(np.einsum("sii->si", getattr(self, name)) != 0)
            if own.size:
                slot, port = own[0]
                raise InstanceError(
                    f"{name}[{slot}][{port}][{port}]: expected 0, nobody flies to where they are"
                )

    @property
    def num_ports(self) -> int:
        """Number of vertiports N."""
        return len(self.x)

    @property
    def num_aircraft(self) -> int:
        """Number of aircraft K."""
        return len(self.start_port)

    @property
    def num_slots(self) -> int:
        """Number of demand slots S."""
        return (self.end - self.start) // self.slot

    @cached_property
    def numbers(self) -> IntArray:
        """(NUM_NUMBERS,) the whole numbers of the instance as the kernel takes them."""
        values = np.zeros(tables.NUM_NUMBERS, np.int64)
        values[tables.PORTS] = self.num_ports
        values[tables.AIRCRAFT] = self.num_aircraft
        values[tables.SLOTS] = self.num_slots
        values[tables.START] = self.start
        values[tables.END] = self.end
        values[tables.SLOT] = self.slot
        values[tables.WAIT] = self.wait
        values[tables.SEATS] = self.seats
        values[tables.BATTERY] = self.battery_wh
        values[tables.TAKEOFF] = self.takeoff
        values[tables.LANDING] = self.landing
        values[tables.REPAIR_LOW], values[tables.REPAIR_HIGH] = self.repair
        values[tables.RESERVE] = self.reserve_wh
        values[tables.POWER] = self.charge_power_w
        values[tables.CORRIDORS] = self.corridors
        values[tables.HEADWAY] = self.headway
        values[tables.PAD_HEADWAY] = self.pad_headway
        values[tables.PER_VEHICLE] = self.op_basis == "vehicle"
        values[tables.STOCHASTIC] = self.stochastic
        values[tables.MUST_LAND] = self.must_land_by_end
        return _locked(values)

    @cached_property
    def reals(self) -> FloatArray:
        """(NUM_REALS,) the real numbers of the instance as the kernel takes them."""
        values = np.zeros(tables.NUM_REALS)
        values[tables.SPEED] = self.speed_mph
        values[tables.RANGE] = self.range_mi
        values[tables.WH_PER_MI] = self.wh_per_mi
        values[tables.OPERATING_RATE] = self.op_cents_per_mi
        values[tables.ELECTRICITY_RATE] = self.elec_cents_per_kwh
        return _locked(values)

    @cached_property
    def _tables(self) -> tuple[IntArray, IntArray]:
        ports = self.num_ports
        legs = np.zeros((ports, ports, tables.NUM_LEG_COLUMNS), np.int64)
        near = np.zeros(ports, np.int64)
        tables.fill_legs(self.numbers, self.reals, self.distance, self.chargers, legs, near)
        return _locked(legs), _locked(near)

    @property
    def legs(self) -> IntArray:
        """(N, N, NUM_LEG_COLUMNS) the table of legs, see `dispatchgym.envs.uam.tables`."""
        return self._tables[0]

    @property
    def cruise(self) -> IntArray:
        """(N, N) minutes of cruise, rounded up."""
        return self.legs[..., tables.CRUISE]

    @property
    def energy(self) -> IntArray:
        """(N, N) energy of a leg, in Wh."""
        return self.legs[..., tables.ENERGY]

    @property
    def charge_time(self) -> IntArray:
        """(N, N) minutes to charge the energy of the leg at its end; 0 at vertistops."""
        return self.legs[..., tables.CHARGE]

    @property
    def block(self) -> IntArray:
        """(N, N) nominal minutes from departure to the next decision."""
        return self.legs[..., tables.BLOCK]

    @property
    def near(self) -> IntArray:
        """(N,) energy from a vertistop to the nearest charger in Wh; 0 where chargers are."""
        return self._tables[1]

    @property
    def operating_cents(self) -> IntArray:
        """(N, N) operating cost of a leg, a passenger or a flight; see `op_basis`."""
        return self.legs[..., tables.OPERATING]

    @property
    def electricity_cents(self) -> IntArray:
        """(N, N) cost of the energy of a leg."""
        return self.legs[..., tables.ELECTRICITY]

    @cached_property
    def reachable(self) -> BoolArray:
        """(N, N) whether a fully charged aircraft can fly from i to j != i."""
        return _locked(self.legs[..., tables.REACHABLE] == 1)

    @cached_property
    def demand_value_cents(self) -> int:
        """Fares of all demand, Z: what rewards are divided by."""
        return int((self.passengers * self.fare_cents).sum())

    @cached_property
    def max_decisions(self) -> int:
        """Most decisions that a day can have."""
        shortest = int(self.block[self.reachable].min())
        gap = min(self.wait, shortest, self.repair[0] if self.stochastic else self.wait)
        return self.num_aircraft * -(-(self.end - self.start) // gap)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names and known values."""
        if not isinstance(other, Instance):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _PROBLEM_FIELDS
        )

    def __hash__(self) -> int:
        """Hash of the problem."""
        return hash((self.numbers.tobytes(), self.passengers.tobytes(), self.distance.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return _rebuild, ({**values, "known": dict(self.known)},)

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"Instance(name={self.name!r}, num_ports={self.num_ports}, "
            f"num_aircraft={self.num_aircraft}, num_slots={self.num_slots})"
        )


_PROBLEM_FIELDS = tuple(
    entry.name for entry in fields(Instance) if entry.name not in ("name", "known")
)


def _rebuild(values: dict[str, Any]) -> Instance:
    return Instance(**values)


# ---------------------------------------------------------------- checks


def _shown(value: object) -> str:
    """Return a short form of a value for a message; a huge one is cut."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= _MAX_TEXT:
        raise InstanceError(
            f"{where}: found {_shown(value)}, "
            f"expected a printable text of 1 to {_MAX_TEXT} characters"
        )


def _integer(value: object, where: str, low: int, high: int) -> int:
    expected = f"an integer in {low}..{high}"
    if isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {bool(value)}, expected {expected}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InstanceError(f"{where}: found {_shown(value)}, expected {expected}") from None
    if not low <= number <= high:
        raise InstanceError(f"{where}: found {_shown(number)}, expected {expected}")
    return number


def _real(value: Any, where: str, zero: bool) -> float:
    expected = f"a number {'>=' if zero else '>'} 0, at most {_MAX_REAL:g}"
    number = float("nan")
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = float(value) if -_MAX_REAL <= value <= _MAX_REAL else float("nan")
    if not (0 < number <= _MAX_REAL or (zero and number == 0)):
        raise InstanceError(f"{where}: found {_shown(value)}, expected {expected}")
    return number


def _checked_repair(value: object) -> tuple[int, int]:
    if not isinstance(value, Iterable) or len(pair := list(value)) != 2:
        raise InstanceError(f"repair: found {_shown(value)}, expected two integers (low, high)")
    low, high = (_integer(part, "repair", 1, MAX_MINUTES) for part in pair)
    if low > high:
        raise InstanceError(f"repair: found ({low}, {high}), expected low <= high")
    return low, high


def _checked_known(known: object) -> dict[str, int]:
    if not isinstance(known, Mapping):
        raise InstanceError(f"known: found {_shown(known)}, expected a mapping")
    for key, value in known.items():
        _check_text(key, "known")
        _integer(value, f"known.{key}", -(2**53), 2**53)
    return {key: int(value) for key, value in known.items()}


def _array(values: object, where: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InstanceError(f"{where}: found shape {array.shape}, expected {wanted}")
    return array


def _index(wrong: BoolArray) -> tuple[tuple[int, ...], str]:
    """Return the first place where something is wrong, as an index and in brackets."""
    place = tuple(int(part) for part in np.argwhere(wrong)[0])
    return place, "".join(f"[{part}]" for part in place)


def _reals(
    values: object,
    where: str,
    shape: tuple[int | None, ...],
    low: float = -_MAX_REAL,
    high: float = _MAX_REAL,
) -> FloatArray:
    """Return a private read-only float64 copy of an array with values in low..high."""
    array = _array(values, where, shape)
    if array.dtype.kind not in "iuf":
        raise InstanceError(f"{where}: found {array.dtype}, expected numbers")
    wrong = ~((array >= low) & (array <= high))
    if wrong.any():
        place, text = _index(wrong)
        raise InstanceError(
            f"{where}{text}: found {array[place]}, expected a number in {low:g}..{high:g}"
        )
    return _locked(np.array(array, np.float64, order="C"))


def _integers(
    values: object, where: str, shape: tuple[int | None, ...], low: int, high: int
) -> IntArray:
    """Return a private read-only int64 copy of an array with values in low..high."""
    array = _array(values, where, shape)
    if array.dtype.kind not in "iu":
        raise InstanceError(f"{where}: found {array.dtype}, expected integers")
    wrong = (array < low) | (array > high)
    if wrong.any():
        place, text = _index(wrong)
        raise InstanceError(
            f"{where}{text}: found {array[place]}, expected an integer in {low}..{high}"
        )
    return _locked(np.array(array, np.int64, order="C"))


def _flags(values: object, where: str, shape: tuple[int | None, ...]) -> BoolArray:
    array = _array(values, where, shape)
    if array.dtype != np.bool_:
        raise InstanceError(f"{where}: found {array.dtype}, expected True or False")
    return _locked(np.array(array, order="C"))


def _locked(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _check_symmetric(array: FloatArray, where: str) -> None:
    wrong = array != array.T
    if wrong.any():
        (i, j), text = _index(wrong)
        raise InstanceError(
            f"{where}{text}: found {array[i, j]}, expected {array[j, i]} as the way back has"
        )


def _check_day(instance: Instance) -> None:
    length = instance.end - instance.start
    if length <= 0:
        raise InstanceError(
            f"end: found {instance.end}, expected later than the start {instance.start}"
        )
    if length % instance.slot:
        raise InstanceError(
            f"slot: found {instance.slot}, expected a divisor of the {length} minutes of the day"
        )


def _checked_distance(instance: Instance) -> FloatArray:
    """Return the distances, from the positions unless they are given."""
    ports = instance.num_ports
    given = instance.distance
    if given is None:
        across = instance.x[:, None] - instance.x
        up = instance.y[:, None] - instance.y
        given = np.floor(1000.0 * np.sqrt(across * across + up * up) + 0.5) / 1000.0
    distance = _reals(given, "distance", (ports, ports), 0, 1e4)
    _check_symmetric(distance, "distance")
    if np.diagonal(distance).any():
        port = int(np.flatnonzero(np.diagonal(distance))[0])
        raise InstanceError(f"distance[{port}][{port}]: expected 0")
    together = (distance == 0) & ~np.eye(ports, dtype=bool)
    if together.any():
        (i, j), _ = _index(together)
        raise InstanceError(
            f"vertiports {i} and {j}: found at one place, expected a distance of at least "
            "0.001 mi, else their corridors overlap"
        )
    return distance


def _check_reach(instance: Instance) -> None:
    """Refuse vertiports that no aircraft can fly to, and vertistops that none can leave."""
    for port in range(instance.num_ports):
        if instance.near[port] == tables.OUT_OF_REACH:
            raise InstanceError(
                f"vertiport {port}: unreachable, found no other vertiport with chargers that "
                "an aircraft could go on to, expected one"
            )
        if not instance.reachable[:, port].any():
            raise InstanceError(
                f"vertiport {port}: unreachable, found no other vertiport from which a full "
                f"battery and the range of {instance.range_mi:g} mi suffice, expected one"
            )
        if instance.parking[port] + instance.chargers[port] == 0:
            raise InstanceError(f"vertiport {port}: found no parking lot and no charger")
        if not instance.reachable[port].any():
            raise InstanceError(
                f"vertiport {port}: found no other vertiport within reach of it, expected one"
            )


def _check_size(instance: Instance) -> None:
    if instance.max_decisions > MAX_CELLS:
        raise InstanceError(
            f"wait: found {instance.wait}, which makes up to {instance.max_decisions} decisions "
            f"a day, expected at most {MAX_CELLS}"
        )
