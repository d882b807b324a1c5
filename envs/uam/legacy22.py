"""The 2022 predecessor of the fleet-dispatch problem, by its own rules, for comparison only.

The code that its authors published in 2022 (``iamstevepaul/UAM_fleet_Scheduling``, MIT licence)
counts hours in floating point, lets one demand matrix last all day, charges no operating cost
and knows no corridors and no disturbances. `play` follows these rules, and those of the mask,
with code of our own, so that its published numbers can be reproduced. The environment plays the
same layouts, scenario ``uam-legacy22``, by the rules of `UAMFleetEnv`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.uam.instance import Instance

__all__ = ["POLICIES", "LegacyResult", "play"]

POLICIES = ("random", "greedy_rate")

_PLACES = 6
_SEATS = 4
_RANGE = 50.0
_SPEED = 74.5
_TAKE_OFF = _LANDING = 0.1
_KWH_PER_MI, _POWER, _DOLLARS_PER_KWH = 2.2, 150.0, 0.2
_WAIT = 0.25
_HOURS = np.arange(6, 19)
_END = 18.0
_STREAM = 22
"""Keeps the choices apart from the draws of the layout, which come from the same seed."""


@dataclass(frozen=True)
class LegacyResult:
    """What a day came to.

    Attributes:
        profit: fares minus electricity, in dollars.
        reward: profit over the value of the demand that is shown and left at the end.
        decisions: number of decisions.
        flights: number of flights.
    """

    profit: float
    reward: float
    decisions: int
    flights: int


class _Day:
    def __init__(self, instance: Instance, random: np.random.Generator) -> None:
        count = instance.num_aircraft
        self.random = random
        self.distance = instance.distance
        self.fare = np.floor(1.5 * instance.distance)
        self.demand = instance.passengers[0].copy()
        self.shown = _shown_demand(instance.high_demand, random)
        self.at = instance.start_port.copy()
        self.next = np.full(count, 6.0)
        self.charging_at = np.full(count, False)
        self.parked = np.bincount(self.at, minlength=instance.num_ports)
        self.charging = np.zeros(instance.num_ports, np.int64)
        self.profit = 0.0
        self.decisions = self.flights = 0

    def legal(self, k: int) -> npt.NDArray[np.bool_]:
        """Return what an aircraft may do; everything may be forbidden."""
        i = self.at[k]
        mask = (self.charging < _PLACES) & (self.distance[i] <= _RANGE)
        mask[i] &= not (self.charging_at[k] and self.parked[i] >= _PLACES)
        return mask

    def act(self, k: int, j: int) -> None:
        """Let aircraft k stay, or fly to j.

        The last party of a route flies for nothing if it leaves a seat empty: the published code
        keeps its size as a view of the demand, which is zero by the time that fares are taken.
        """
        i, now = self.at[k], self.next[k]
        self.decisions += 1
        if i == j:
            if self.charging_at[k] and self.parked[i] < _PLACES:
                self._leave(k)
                self.parked[i] += 1
                self.charging_at[k] = False
            self.next[k] = now + _WAIT
            return
        miles = self.distance[i, j]
        passengers = min(_SEATS, self.demand[i, j])
        paying = passengers if passengers == _SEATS else 0
        self.demand[i, j] -= passengers
        self.shown[np.searchsorted(_HOURS, now), i, j] -= paying
        energy = _KWH_PER_MI * miles
        self.profit += paying * self.fare[i, j] - _DOLLARS_PER_KWH * energy
        self._leave(k)
        self.charging[j] += 1
        self.charging_at[k] = True
        self.at[k] = j
        self.next[k] = now + _TAKE_OFF + miles / _SPEED + _LANDING + energy / _POWER
        self.flights += 1

    def _leave(self, k: int) -> None:
        (self.charging if self.charging_at[k] else self.parked)[self.at[k]] -= 1

    def choose(self, k: int, policy: str) -> int:
        """Return the action of a policy; where nothing is legal, to stay."""
        i, mask = self.at[k], self.legal(k)
        if policy == "random":
            legal = np.flatnonzero(mask)
            return int(self.random.choice(legal)) if legal.size else int(i)
        mask[i] = False
        miles = self.distance[i]
        fares = np.minimum(_SEATS, self.demand[i]) * self.fare[i]
        value = fares - _DOLLARS_PER_KWH * _KWH_PER_MI * miles
        hours = _TAKE_OFF + miles / _SPEED + _LANDING + _KWH_PER_MI * miles / _POWER
        rate = np.where(mask, value / hours, 0.0)
        return int(rate.argmax()) if rate.max() > 0 else int(i)


def _shown_demand(
    central: npt.NDArray[np.bool_], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return the hourly demand that is shown to agents, (13, N, N).

    The peak of the evening stands at 4.30 h, as published, and so does the factor before it.
    """
    ports = len(central)
    shown = np.zeros((len(_HOURS), ports, ports), np.int64)
    for h, hour in enumerate(_HOURS):
        for i in range(ports):
            for j in range(ports):
                peak = 9.0 if not central[i] or (central[j] and hour < 6.65) else 4.3
                bell = math.exp(-(((hour - peak) / 4) ** 2) / 2) / (4 * 1.41 * 3.14)
                if i == j:
                    continue
                if central[i] and central[j]:
                    shown[h, i, j] = int(100 + 100 * bell)
                elif central[i] or central[j]:
                    shown[h, i, j] = int(30 + 30 * bell) + random.integers(1, 10)
                else:
                    shown[h, i, j] = 20 + random.integers(1, 10)
    return shown


def play(instance: Instance, policy: str = "random", seed: int = 0) -> LegacyResult:
    """Play a day of the scenario ``uam-legacy22`` by the rules of 2022.

    Args:
        instance: an instance of that scenario; passengers, places and distances are used.
        policy: ``"random"``, uniform over what is legal, or ``"greedy_rate"``, the largest profit
            an hour.
        seed: of the random policy and of the demand that is shown, >= 0.

    Raises:
        ParameterError: there is no such policy.
    """
    if policy not in POLICIES:
        raise ParameterError(f"policy: found {policy!r}, expected one of {', '.join(POLICIES)}")
    day = _Day(instance, np.random.default_rng((_STREAM, seed)))
    while True:
        k = int(day.next.argmin())
        if day.next[k] > _END:
            break
        day.act(k, day.choose(k, policy))
    value = float((day.shown * day.fare).sum())
    return LegacyResult(day.profit, day.profit / value, day.decisions, day.flights)
