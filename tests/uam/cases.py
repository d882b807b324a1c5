"""Random days with unusual settings, for tests that want to meet everything."""

import numpy as np

from dispatchgym.envs.uam.generators import FleetGenerator
from dispatchgym.envs.uam.instance import Instance


def varied(seed):
    """A small day: few vertiports, and any combination of the instance's options."""
    random = np.random.default_rng(seed)
    ports = int(random.integers(2, 8))
    aircraft = int(random.integers(1, 14))
    base = FleetGenerator(
        ports=(ports, ports),
        aircraft=(aircraft, aircraft),
        area=float(random.choice([20.0, 30.0])),
        load=(float(random.choice([0.5, 1.0, 4.0])),) * 2,
        fare=str(random.choice(["paper", "market"])),
        stochastic=bool(random.random() < 0.75),
        closure=float(random.choice([0.05, 0.4])),
        delay=float(random.choice([6.0, 25.0])),
        failure=float(random.choice([0.005, 0.2])),
        end=360 + 60 * int(random.integers(1, 7)),
        wait=int(random.choice([4, 7, 15])),
        slot=int(random.choice([30, 60])),
        label="varied",
    ).generate(seed)
    parked = np.bincount(base.start_port, minlength=ports)
    return change(
        base,
        parking=np.maximum(parked, random.integers(1, 4, ports)),
        chargers=np.minimum(base.chargers, random.integers(1, 5, ports)),
        corridors=int(random.integers(1, 4)),
        headway=int(random.choice([0, 1, 7])),
        pad_headway=int(random.choice([0, 0, 1, 5])),
        battery_wh=int(random.choice([110_000, 95_000])),
        reserve_wh=int(random.choice([0, 10_000])),
        op_basis=str(random.choice(["passenger", "vehicle"])),
        must_land_by_end=bool(random.random() < 0.25),
        seats=int(random.choice([1, 4, 6])),
        repair=(int(random.integers(1, 5)), int(random.integers(5, 90))),
    )


def change(instance, **fields):
    """The instance with other values in some fields."""
    values = {name: getattr(instance, name) for name in Instance.__dataclass_fields__}
    return Instance(**{**values, "known": dict(instance.known), **fields})


def small(**fields):
    """Three vertiports in a row, 10 miles apart, two aircraft, two slots of four passengers."""
    passengers = 4 * (1 - np.eye(3, dtype=np.int64))[None].repeat(2, axis=0)
    values = {
        "name": "small",
        "start": 360,
        "end": 480,
        "slot": 60,
        "wait": 15,
        "x": np.array([0.0, 10.0, 20.0]),
        "y": np.zeros(3),
        "parking": np.array([2, 2, 2]),
        "chargers": np.array([1, 1, 1]),
        "high_demand": np.array([True, False, False]),
        "delay_mean": np.zeros(3),
        "start_port": np.array([0, 1]),
        "failure_probability": np.zeros(2),
        "closure_probability": np.zeros((3, 3)),
        "rate": passengers.astype(float),
        "passengers": passengers,
        "fare_cents": np.full((2, 3, 3), 2000),
        "stochastic": False,
    }
    return Instance(**{**values, **fields})
