"""The integer tables that follow from an instance: minutes, watt-hours and cents of every leg.

Instances, generator and kernel share these functions, so that they agree to the last cent.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["fill_legs", "leg_index"]

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here allocates."""

# The whole numbers of an instance, in the order in which they are passed on.
PORTS, AIRCRAFT, SLOTS, START, END, SLOT, WAIT, SEATS, BATTERY, TAKEOFF = range(10)
LANDING, REPAIR_LOW, REPAIR_HIGH, RESERVE, POWER, CORRIDORS, HEADWAY = range(10, 17)
PAD_HEADWAY, PER_VEHICLE, STOCHASTIC, MUST_LAND = range(17, 21)
NUM_NUMBERS = 21

# Its real numbers.
SPEED, RANGE, WH_PER_MI, OPERATING_RATE, ELECTRICITY_RATE = range(5)
NUM_REALS = 5

# Columns of the table of legs: minutes, Wh and cents.
CRUISE, ENERGY, CHARGE, BLOCK, NEED, OPERATING, ELECTRICITY, REACHABLE = range(8)
NUM_LEG_COLUMNS = 8

OUT_OF_REACH = 2**40
"""Wh to the nearest charger of a vertistop from which there is none."""


@compiled
def half_up(value: float) -> int:
    """Round to the nearest integer, halves up."""
    return math.floor(value + 0.5)


@compiled
def leg_index(i: int, j: int, ports: int) -> int:
    """Return the number of the unordered pair {i, j}, the key of its closures."""
    return min(i, j) * ports + max(i, j)


@compiled
def fill_legs(
    numbers: npt.NDArray[np.int64],
    reals: npt.NDArray[np.float64],
    distance: npt.NDArray[np.float64],
    chargers: npt.NDArray[np.int64],
    legs: npt.NDArray[np.int64],
    near: npt.NDArray[np.int64],
) -> None:
    """Write the table of all legs.

    Args:
        numbers: int64 (NUM_NUMBERS,).
        reals: float64 (NUM_REALS,).
        distance: float64 (N, N), miles.
        chargers: int64 (N,), 0 at vertistops.
        legs: int64 (N, N, NUM_LEG_COLUMNS), written. `NEED` is the energy an aircraft must have
            at departure: for the leg, from a vertistop on to the nearest charger, and the
            reserve.
        near: int64 (N,), written: Wh from a vertistop to the nearest charger, 0 elsewhere.
    """
    ports = numbers[PORTS]
    for i in range(ports):
        for j in range(ports):
            miles = distance[i, j]
            energy = half_up(reals[WH_PER_MI] * miles)
            leg = legs[i, j]
            leg[CRUISE] = np.int64(math.ceil(60.0 * miles / reals[SPEED]))
            leg[ENERGY] = energy
            leg[CHARGE] = charge_minutes(energy, numbers[POWER]) if chargers[j] > 0 else 0
            leg[BLOCK] = numbers[TAKEOFF] + leg[CRUISE] + numbers[LANDING] + leg[CHARGE]
            leg[OPERATING] = half_up(reals[OPERATING_RATE] * miles)
            leg[ELECTRICITY] = half_up(reals[ELECTRICITY_RATE] * energy / 1000.0)
    for j in range(ports):
        near[j] = 0 if chargers[j] > 0 else OUT_OF_REACH
        for c in range(ports):
            if chargers[j] == 0 and c != j and chargers[c] > 0:
                near[j] = min(near[j], legs[j, c, ENERGY])
    for i in range(ports):
        for j in range(ports):
            leg = legs[i, j]
            leg[NEED] = leg[ENERGY] + near[j] + numbers[RESERVE]
            in_range = distance[i, j] <= reals[RANGE] and leg[NEED] <= numbers[BATTERY]
            leg[REACHABLE] = i != j and in_range


@compiled
def charge_minutes(energy: int, power: int) -> int:
    """Return the minutes, rounded up, to charge `energy` Wh with `power` W."""
    return -((-60 * energy) // power)
