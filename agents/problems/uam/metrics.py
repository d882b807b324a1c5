"""What a finished day of fleet dispatch is described by besides its profit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dispatchgym.envs.uam.instance import Instance

__all__ = ["day_metrics"]


def day_metrics(instance: Instance, schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what can be counted in a day's decisions.

    Args:
        instance: the day.
        schedule: a valid schedule of it, as the environment's ``info["schedule"]``.

    Returns:
        ``revenue``, ``operating_cost`` and ``energy_cost`` in dollars; ``passengers`` carried, and
        ``served``, their share of the demand; ``decisions``, ``flights`` and ``failures``
        (dispatches that were cancelled); ``empty_flights``, without passengers, and
        ``empty_miles``, the share of all miles that they flew; ``load_factor``, passengers over
        the seats flown; ``airborne``, the fleet's share of the day between entering a corridor
        and landing; ``waiting``, mean minutes from a decision to the corridor. Shares and means
        are 0 where there is nothing to divide by.
    """
    rows = np.asarray(schedule["decisions"])
    time, _, origin, action, passengers, _, entry, arrival, _, cancelled = rows.T
    flies = (action != origin) & (cancelled == 0)
    empty = flies & (passengers == 0)
    miles = instance.distance[origin, action]
    flights, carried = int(flies.sum()), int(passengers[flies].sum())
    in_air = np.minimum(arrival, instance.end) - np.minimum(entry, instance.end)
    fleet_minutes = instance.num_aircraft * (instance.end - instance.start)
    money = {
        name: int(schedule[name]) / 100.0 for name in ("revenue", "operating_cost", "energy_cost")
    }
    return money | {
        "passengers": carried,
        "served": _share(carried, instance.passengers.sum()),
        "decisions": int((time >= 0).sum()),  # rows of -1 are padding
        "flights": flights,
        "failures": int((cancelled == 1).sum()),
        "empty_flights": int(empty.sum()),
        "empty_miles": _share(miles[empty].sum(), miles[flies].sum()),
        "load_factor": _share(carried, flights * instance.seats),
        "airborne": _share(in_air[flies].sum(), fleet_minutes),
        "waiting": _share((entry - time)[flies].sum(), flights),
    }


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
