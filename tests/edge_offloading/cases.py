"""Random instances with unusual settings, for tests that want to meet everything."""

import dataclasses

import numpy as np

from dispatchgym.envs.edge_offloading import OffloadInstance, SlotGenerator


def varied(seed):
    """A small episode with any combination of the instance's options."""
    random = np.random.default_rng(seed)
    edges = int(random.integers(0, 5))
    generator = SlotGenerator(
        edges=(max(edges, 1),) * 2,
        channel=str(random.choice(["gmorl_code", "shannon"])),
        power=float(random.choice([0.01, 0.2])),
        bursty=bool(random.random() < 0.5),
        size_law=str(random.choice(["exponential", "pareto"])),
        fading_per_task=bool(random.random() < 0.5),
        fifo=bool(random.random() < 0.3),
        hidden=bool(random.random() < 0.4),
        horizon=str(random.choice(["slots", "tasks"])),
        slots=int(random.integers(1, 30)),
        tasks=int(random.integers(1, 25)),
        slot=float(random.choice([1.0, 0.1, 2.5])),
        users=int(random.integers(1, 12)),
        label="varied",
    )
    base = generator.generate(seed)
    servers = base.num_servers
    return change(
        base,
        fifo=random.random(servers) < random.choice([0.0, 0.5, 1.0]),
        latency=np.where(random.random(servers) < 0.3, 0.7, 0.0),
        release=base.release * random.choice([0.9, 1.0]),
    )


def change(instance, **fields):
    """The instance with other values in some fields."""
    return dataclasses.replace(instance, **fields)


def small(**fields):
    """A cloud of 4 Mbit/s and an edge server of 2 Mbit/s, tasks of 4, 8 and 2 Mbit."""
    values = {
        "name": "small",
        "frequency": np.array([4e9, 2e9]),
        "release": np.array([0.0, 0.0, 3.0]),
        "bits": np.array([4e6, 8e6, 2e6]),
        "uplink": np.full((3, 2), 8e6),
        "horizon": 10,
    }
    return OffloadInstance(**{**values, **fields})
