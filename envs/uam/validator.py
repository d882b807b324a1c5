"""Independent check of a day of flights; shares no code with the compiled kernel.

A schedule is judged from the instance and the seed of its disturbances, which are drawn again
here: the decisions are replayed in their order, in plain Python and whole numbers, and every
fault found is reported, not the first only. After a fault the replay goes on with what the
schedule says, so that one fault does not drag others behind it without need.

Minutes of cruise, watt-hours and cents of a leg are rounded from double precision exactly as
the problem defines them: ``ceil(60 * miles / speed)`` and ``floor(rate * miles + 0.5)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.uam.instance import Instance

__all__ = ["COLUMNS", "VIOLATION_CODES", "ValidationReport", "Violation", "validate"]

COLUMNS = (
    "time",
    "aircraft",
    "origin",
    "action",
    "passengers",
    "corridor",
    "takeoff",
    "arrival",
    "next",
    "cancelled",
)
"""Columns of a schedule's ``decisions``."""

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no schedule has",
    "V1": "a decision is out of order, at another minute than the aircraft is ready, or missing",
    "V2": "an aircraft decides at a vertiport where it is not",
    "V3": "an aircraft that stays decides again at another minute than after the wait",
    "V4": "a leg is out of range, closed in its slot, or would land after the end",
    "V5": "the battery does not last for the leg, the way on to a charger and the reserve",
    "V6": "passengers aboard are not the seats or the demand that is left, whichever is less",
    "V7": "a flight enters a corridor that is not the earliest, or before it is free",
    "V8": "arrival or readiness are not take-off and times of the leg",
    "V9": "more aircraft hold parking lots or chargers of a vertiport than it has",
    "V10": "delays, failures or repairs are not those of the seed",
    "V11": "revenue, costs or profit are not the sums over the flights",
    "V12": "the profit is above a proven upper bound of the instance",
}
"""What each code means."""

_VALUE_LIMIT = 1 << 52
_TOTALS = ("revenue", "operating_cost", "energy_cost", "profit")
_CLOSURE, _FAILURE, _REPAIR, _DELAY_1, _DELAY_2 = range(5)
_DELAY_DEVIATION, _DELAY_LIMIT = 6.0, 30.0
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Violation:
    """One fault of a schedule.

    Attributes:
        code: One of `VIOLATION_CODES`.
        message: What was found and what is expected, in words.
        row: Number of the decision concerned, or None.
        aircraft: Aircraft concerned, or None.
        time: Minute of the decision, or None.
    """

    code: str
    message: str
    row: int | None = None
    aircraft: int | None = None
    time: int | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation.
        objective: Profit in dollars computed from the flights; nan if malformed.
        violations: All faults.
    """

    valid: bool
    objective: float
    violations: list[Violation] = field(default_factory=list)


class Decision(NamedTuple):
    """One row of a schedule; see `COLUMNS`."""

    time: int
    aircraft: int
    origin: int
    action: int
    passengers: int
    corridor: int
    takeoff: int
    arrival: int
    next: int
    cancelled: int


class _Malformed(Exception):
    """A field of the schedule cannot be read; the message says which and why."""


def validate(instance: Instance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a schedule against its instance.

    Args:
        instance: The day.
        schedule: As in the environment's ``info["schedule"]``: ``decisions`` (n, 10), see
            `COLUMNS`, in the order in which they were taken; ``revenue``, ``operating_cost``,
            ``energy_cost`` and ``profit`` in cents; ``seed`` of the disturbances. Rows of -1 are
            padding. Where an aircraft stays or its flight is cancelled, there are no passengers
            and corridor, takeoff and arrival are -1.

    Returns:
        The report with all violations found; of a malformed schedule only that is reported. The
        profit is compared with the bound that the instance carries, if it does.

    Raises:
        ParameterError: `schedule` is not a mapping or `instance` is no Instance.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(schedule, Mapping):
        raise ParameterError(f"schedule: found {type(schedule).__name__}, expected a mapping")
    try:
        decisions = _read_decisions(instance, schedule)
        totals = {name: _read_integer(schedule, name) for name in _TOTALS}
        seed = _read_integer(schedule, "seed", 0, 2**63 - 1)
    except _Malformed as error:
        return ValidationReport(False, math.nan, [Violation("malformed", str(error))])
    replay = _Replay(instance, seed)
    for row, decision in enumerate(decisions):
        replay.decide(row, decision)
    replay.finish(totals)
    return ValidationReport(not replay.found, replay.profit / 100, replay.found)


# ------------------------------------------------------------------------------- reading


def _array(schedule: Mapping[str, Any], name: str) -> Any:
    if name not in schedule:
        raise _Malformed(f"{name}: missing")
    try:
        return np.asarray(schedule[name])
    except (ValueError, TypeError):
        raise _Malformed(f"{name}: found no array, expected one") from None


def _read_integer(
    schedule: Mapping[str, Any], name: str, low: int = -_VALUE_LIMIT, high: int = _VALUE_LIMIT
) -> int:
    array = _array(schedule, name)
    if array.size != 1 or array.dtype.kind not in "iu":
        raise _Malformed(
            f"{name}: found type {array.dtype} and shape {array.shape}, expected one whole number"
        )
    value = int(array.item())
    if not low <= value <= high:
        raise _Malformed(f"{name}: found {value}, expected a whole number in {low}..{high}")
    return value


def _read_decisions(instance: Instance, schedule: Mapping[str, Any]) -> list[Decision]:
    """Return the decisions without padding, with indices that exist."""
    array = _array(schedule, "decisions")
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != len(COLUMNS):
        raise _Malformed(
            f"decisions: found type {array.dtype} and shape {array.shape}, "
            f"expected whole numbers (n, {len(COLUMNS)})"
        )
    rows = [Decision(*row) for row in array.tolist() if any(value != -1 for value in row)]
    ports = instance.num_ports
    sizes = {"aircraft": instance.num_aircraft, "origin": ports, "action": ports, "cancelled": 2}
    for number, decision in enumerate(rows):
        for name, size in sizes.items():
            value = getattr(decision, name)
            if not 0 <= value < size:
                raise _Malformed(
                    f"decisions[{number}].{name}: found {value}, expected 0 to {size - 1}"
                )
    return rows


# ---------------------------------------------------------------------- random numbers


def _mix(x: int) -> int:
    """Scramble a 64-bit number by the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    z = (x + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _uniform(seed: int, stream: int, a: int, b: int) -> float:
    """Return the keyed uniform number in [0, 1)."""
    x = _mix((seed + 0x9E3779B97F4A7C15 * (stream + 1)) & _MASK)
    x = _mix(x ^ (a * 0xD1B54A32D192ED03 & _MASK))
    x = _mix(x ^ (b * 0xABC98388FB8FAC03 & _MASK))
    return (x >> 11) * 2.0**-53


def _delay(seed: int, mean: float, aircraft: int, dispatch: int) -> int:
    """Return a take-off delay: normal by Box and Muller (1958), clipped, in whole minutes."""
    radius = math.sqrt(-2.0 * math.log(1.0 - _uniform(seed, _DELAY_1, aircraft, dispatch)))
    normal = radius * math.cos(2.0 * math.pi * _uniform(seed, _DELAY_2, aircraft, dispatch))
    clipped = min(max(mean + _DELAY_DEVIATION * normal, 0.0), _DELAY_LIMIT)
    return math.floor(clipped + 0.5)


# ------------------------------------------------------------------------------ the replay


@dataclass
class _Aircraft:
    """Where an aircraft is and what it may do next."""

    place: int
    ready: int
    battery: int
    on_charger: bool = False
    dispatches: int = 0


class _Replay:
    """The day as the decisions make it, and the faults met on the way."""

    def __init__(self, instance: Instance, seed: int) -> None:
        """Put all aircraft into the parking lots of their first vertiports."""
        self.instance = instance
        self.seed = seed
        self.found: list[Violation] = []
        self.fleet = [
            _Aircraft(port, instance.start, instance.battery_wh)
            for port in instance.start_port.tolist()
        ]
        ports = instance.num_ports
        self.parked, self.charging = [0] * ports, [0] * ports
        for craft in self.fleet:
            self.parked[craft.place] += 1
        self.demand = instance.passengers.tolist()
        self.free_from: dict[tuple[int, int, int], int] = {}  # corridors
        self.pad_free = [0] * ports
        self.revenue = self.operating_cost = self.energy_cost = 0
        self.previous = (-1, -1)
        self.row = 0
        self.decision = Decision(*[-1] * len(COLUMNS))
        self._energy_to_charger = [self._nearest_charger(port) for port in range(ports)]

    @property
    def profit(self) -> int:
        """Cents earned so far."""
        return self.revenue - self.operating_cost - self.energy_cost

    def decide(self, row: int, decision: Decision) -> None:
        """Check one decision and let it happen."""
        self.row, self.decision = row, decision
        craft = self.fleet[decision.aircraft]
        self._check_order(craft)
        self._expect("V2", "origin", decision.origin, craft.place)
        if decision.action == decision.origin:
            self._stay(craft)
        else:
            self._dispatch(craft)
        craft.ready = decision.next

    def finish(self, totals: Mapping[str, int]) -> None:
        """Check what can be said only when all decisions are known."""
        for number, craft in enumerate(self.fleet):
            if craft.ready < self.instance.end:
                self._note(
                    "V1",
                    f"aircraft {number}: found no decision at minute {craft.ready}, "
                    f"expected one before the end, {self.instance.end}",
                    located=False,
                )
        for name, claimed in totals.items():
            if claimed != getattr(self, name):
                message = f"{name}: found {claimed} cents, expected {getattr(self, name)}"
                self._note("V11", message, located=False)
        bound = self.instance.known.get("lp_bound_cents")
        if bound is not None and self.profit > bound:
            message = f"profit: found {self.profit} cents, expected at most the bound {bound}"
            self._note("V12", message, located=False)

    # -------------------------------------------------------------------- rules

    def _check_order(self, craft: _Aircraft) -> None:
        now = (self.decision.time, self.decision.aircraft)
        if now <= self.previous:
            self._note("V1", f"(time, aircraft): found {now} after {self.previous}, expected more")
        self.previous = now
        self._expect("V1", "time", self.decision.time, craft.ready)
        if self.decision.time >= self.instance.end:
            self._note("V1", f"time: found {now[0]}, expected before the end, {self.instance.end}")

    def _stay(self, craft: _Aircraft) -> None:
        """A charged aircraft makes room at the charger, if there is a parking lot."""
        decision, port = self.decision, craft.place
        if craft.on_charger and self.parked[port] < self.instance.parking[port]:
            craft.on_charger = False
            self.charging[port] -= 1
            self.parked[port] += 1
        self._expect("V3", "next", decision.next, decision.time + self.instance.wait)
        self._expect_no_flight()
        self._expect("V10", "cancelled", decision.cancelled, 0)

    def _dispatch(self, craft: _Aircraft) -> None:
        number = craft.dispatches
        craft.dispatches += 1
        self._check_leg()
        self._check_battery(craft)
        self._check_room()
        cancelled = self._draw(_FAILURE, number) < self._failure_probability()
        self._expect("V10", "cancelled", self.decision.cancelled, int(cancelled))
        if self.decision.cancelled:
            self._cancel(number)
        else:
            self._fly(craft, number)

    def _cancel(self, number: int) -> None:
        low, high = self.instance.repair
        repair = low + math.floor(self._draw(_REPAIR, number) * (high - low + 1))
        self._expect("V10", "next", self.decision.next, self.decision.time + repair)
        self._expect_no_flight()

    def _fly(self, craft: _Aircraft, number: int) -> None:
        self._board()
        self._enter_corridor(number)
        self._leave(craft)
        self._land(craft)

    def _check_leg(self) -> None:
        decision, instance = self.decision, self.instance
        i, j = decision.origin, decision.action
        miles = float(instance.distance[i, j])
        if miles > instance.range_mi:
            self._note("V4", f"distance: found {miles} mi, expected at most {instance.range_mi}")
        slot = self._slot()
        pair = min(i, j) * instance.num_ports + max(i, j)
        closure = float(instance.closure_probability[i, j])
        if instance.stochastic and _uniform(self.seed, _CLOSURE, slot, pair) < closure:
            self._note("V4", f"leg {i}-{j}: found a flight, expected none in slot {slot}: closed")
        landed = decision.time + self._block(i, j)
        if instance.must_land_by_end and landed > instance.end:
            self._note("V4", f"landing: found minute {landed}, expected by {instance.end}")

    def _check_battery(self, craft: _Aircraft) -> None:
        i, j = self.decision.origin, self.decision.action
        need = self._energy(i, j) + self._energy_to_charger[j] + self.instance.reserve_wh
        if craft.battery < need:
            self._note("V5", f"battery: found {craft.battery} Wh, expected at least {need}")

    def _check_room(self) -> None:
        """A place at the destination is reserved with the decision, cancelled or not."""
        port = self.decision.action
        stop = self._is_vertistop(port)
        used = (self.parked if stop else self.charging)[port]
        limit = int((self.instance.parking if stop else self.instance.chargers)[port])
        if used >= limit:
            kind = "parking lots" if stop else "chargers"
            self._note(
                "V9",
                f"vertiport {port}: found {used} of {limit} {kind} taken, expected one to be free",
            )

    def _board(self) -> None:
        decision, instance, slot = self.decision, self.instance, self._slot()
        i, j = decision.origin, decision.action
        left = self.demand[slot][i][j] if slot is not None else 0
        self._expect("V6", "passengers", decision.passengers, min(instance.seats, left))
        if slot is None:
            return
        self.demand[slot][i][j] -= decision.passengers
        operating = _half_up(instance.op_cents_per_mi * float(instance.distance[i, j]))
        charged = 1 if instance.op_basis == "vehicle" else decision.passengers
        self.revenue += decision.passengers * int(instance.fare_cents[slot, i, j])
        self.operating_cost += charged * operating
        self.energy_cost += _half_up(instance.elec_cents_per_kwh * self._energy(i, j) / 1000)

    def _enter_corridor(self, number: int) -> None:
        decision, instance = self.decision, self.instance
        i, j = decision.origin, decision.action
        free = [self.free_from.get((i, j, c), 0) for c in range(instance.corridors)]
        self._expect("V7", "corridor", decision.corridor, free.index(min(free)))
        delay = 0
        if instance.stochastic:
            mean = float(instance.delay_mean[i])
            delay = _delay(self.seed, mean, decision.aircraft, number)
        used = self.free_from.get((i, j, decision.corridor), 0)
        ready = max(decision.time, used, self.pad_free[i])
        if decision.takeoff < ready:
            self._note("V7", f"takeoff: found {decision.takeoff}, expected not before {ready}")
        self._expect("V10", "takeoff", decision.takeoff, ready + delay)
        self.free_from[i, j, decision.corridor] = decision.takeoff + instance.headway
        if instance.pad_headway:
            self.pad_free[i] = decision.takeoff + instance.pad_headway

    def _leave(self, craft: _Aircraft) -> None:
        places = self.charging if craft.on_charger else self.parked
        places[craft.place] -= 1
        craft.battery -= self._energy(self.decision.origin, self.decision.action)

    def _land(self, craft: _Aircraft) -> None:
        decision, instance = self.decision, self.instance
        i, j = decision.origin, decision.action
        arrival = decision.takeoff + instance.takeoff + self._cruise(i, j) + instance.landing
        self._expect("V8", "arrival", decision.arrival, arrival)
        charge = 0
        craft.place, craft.on_charger = j, not self._is_vertistop(j)
        if craft.on_charger:
            self.charging[j] += 1
            charge = self._charge_minutes(instance.battery_wh - craft.battery)
            craft.battery = instance.battery_wh
        else:
            self.parked[j] += 1
        self._expect("V8", "next", decision.next, arrival + charge)

    # ------------------------------------------------------------------- tables

    def _slot(self) -> Any:
        """Return the demand slot of the decision, None outside the day."""
        minutes = self.decision.time - self.instance.start
        slot = minutes // self.instance.slot
        return slot if 0 <= slot < len(self.demand) else None

    def _is_vertistop(self, port: int) -> bool:
        return int(self.instance.chargers[port]) == 0

    def _cruise(self, i: int, j: int) -> int:
        return math.ceil(60.0 * float(self.instance.distance[i, j]) / self.instance.speed_mph)

    def _energy(self, i: int, j: int) -> int:
        return _half_up(self.instance.wh_per_mi * float(self.instance.distance[i, j]))

    def _charge_minutes(self, energy: int) -> int:
        return -(-60 * energy // self.instance.charge_power_w)

    def _block(self, i: int, j: int) -> int:
        charge = 0 if self._is_vertistop(j) else self._charge_minutes(self._energy(i, j))
        return self.instance.takeoff + self._cruise(i, j) + self.instance.landing + charge

    def _nearest_charger(self, port: int) -> int:
        """Return the energy to go on from a vertistop to a charger; 0 where there is one."""
        if not self._is_vertistop(port):
            return 0
        others = range(self.instance.num_ports)
        return min(self._energy(port, c) for c in others if not self._is_vertistop(c))

    def _draw(self, stream: int, number: int) -> float:
        return _uniform(self.seed, stream, self.decision.aircraft, number)

    def _failure_probability(self) -> float:
        aircraft = self.decision.aircraft
        return float(self.instance.failure_probability[aircraft]) * self.instance.stochastic

    # -------------------------------------------------------------------- faults

    def _expect(self, code: str, name: str, value: int, expected: int) -> None:
        if value != expected:
            self._note(code, f"{name}: found {value}, expected {expected}")

    def _expect_no_flight(self) -> None:
        """Nobody boards and no corridor is entered."""
        self._expect("V6", "passengers", self.decision.passengers, 0)
        for name, code in (("corridor", "V7"), ("takeoff", "V7"), ("arrival", "V8")):
            self._expect(code, name, getattr(self.decision, name), -1)

    def _note(self, code: str, message: str, *, located: bool = True) -> None:
        if not located:
            self.found.append(Violation(code, message))
            return
        decision = self.decision
        where = f"decision {self.row}, aircraft {decision.aircraft}, minute {decision.time}"
        self.found.append(
            Violation(code, f"{where}: {message}", self.row, decision.aircraft, decision.time)
        )


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)
