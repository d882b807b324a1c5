"""Runs of drone fleets for tests, made without the package's own generator."""

import random
from dataclasses import dataclass

import numpy as np

from dispatchgym.envs.edge_offloading.dems_draw import DeadlineLimits
from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance
from dispatchgym.envs.edge_offloading.dems_tables import LOADS, PROFILES


@dataclass(frozen=True)
class PlainGenerator:
    """Segments every second at random phases, given to all models in a random order."""

    load: str
    drones: int
    seconds: int = 300

    family = "deadlines"

    @property
    def limits(self):
        return DeadlineLimits(self.seconds * self.drones * len(LOADS[self.load]), 32)

    def generate(self, seed):
        source = random.Random(seed)
        phases = [1000 * source.random() for _ in range(self.drones)]
        models = list(range(len(LOADS[self.load])))
        rows = []
        for second in range(self.seconds):
            for drone, phase in enumerate(phases):
                source.shuffle(models)
                rows += [(int(1000 * second + phase), m, drone) for m in models]
        rows.sort(key=lambda row: row[0])
        return fleet(self.load, rows, horizon=1000 * self.seconds)


def fleet(load, rows, **more):
    """The instance of a load with tasks (release, model, drone)."""
    release, model, drone = np.array(rows, np.int64).T
    profiles = [PROFILES[name] for name in LOADS[load]]
    cloud = np.array([profile.cloud_ms for profile in profiles])
    values = {
        "name": f"{load}-by-hand",
        "models": tuple(LOADS[load]),
        "edge_time": [profile.edge_ms for profile in profiles],
        "usual_cloud_time": cloud,
        "deadline": list(LOADS[load].values()),
        "benefit": [profile.benefit for profile in profiles],
        "edge_cost": [profile.edge_cost for profile in profiles],
        "cloud_cost": [profile.cloud_cost for profile in profiles],
        "bonus": [profile.bonus for profile in profiles],
        "release": release,
        "model": model,
        "drone": drone,
        "cloud_time": cloud[model],
        **more,
    }
    return DeadlineInstance(**values)


def toy(tasks, **more):
    """Tasks of one drone as (release, edge time, cloud time, deadline, benefit, cloud cost).

    Every task has a model of its own; at the edge a run costs 1.
    """
    release, edge, cloud, deadline, benefit, cost = np.array(tasks).T
    count = len(tasks)
    values = {
        "name": "toy",
        "models": tuple(f"m{i}" for i in range(count)),
        "edge_time": edge,
        "usual_cloud_time": cloud,
        "deadline": deadline,
        "benefit": benefit,
        "edge_cost": np.ones(count),
        "cloud_cost": cost,
        "release": release,
        "model": np.arange(count),
        "drone": np.zeros(count, np.int64),
        "cloud_time": cloud,
        "horizon": 10_000,
        "window": 5_000,
        **more,
    }
    return DeadlineInstance(**values)


def varied(seed):
    """A small run with unusual models, many tasks at one instant, and equal priorities."""
    source = np.random.default_rng(seed)
    models = int(source.integers(1, 7))
    tasks = int(source.integers(1, 60))
    model = source.integers(0, models, tasks)
    cloud = source.choice([40, 100, 300, 301, 600], models)
    release = np.sort(source.integers(0, 400, tasks)) * int(source.choice([1, 5, 10]))
    return DeadlineInstance(
        name=f"varied{seed}",
        models=tuple(f"m{i}" for i in range(models)),
        edge_time=source.choice([1, 20, 50, 133, 400, 800], models),
        usual_cloud_time=cloud,
        deadline=source.choice([150, 400, 400, 650, 1000], models),
        benefit=source.choice([0.0, 10.0, 10.0, 30.5], models),
        edge_cost=source.choice([0.0, 1.0, 4.5], models),
        cloud_cost=source.choice([0.0, 5.0, 10.0, 31.0], models),
        release=release,
        model=model,
        drone=source.integers(0, 3, tasks),
        cloud_time=np.maximum(cloud[model] + source.integers(-30, 60, tasks), 1),
        kind=source.permutation(6)[:models],
        required=source.choice([0.0, 0.5, 0.9, 1.0], models),
        bonus=source.choice([0.0, 7.0], models),
        horizon=int(release[-1] + source.integers(1, 1500)),
        window=int(source.choice([100, 555, 2000])),
        slots=int(source.choice([1, 2, 32])),
        surge=(int(source.integers(0, 500)), 50, 700, int(source.choice([0, 90]))),
    )
