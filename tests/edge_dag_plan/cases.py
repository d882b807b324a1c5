"""Instances for the tests, and the recurrences of plans once more, in plain Python."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dispatchgym.envs.edge_dag_plan import Instance, make_instance
from dispatchgym.envs.edge_dag_plan.env import EdgeDagPlanSimulation
from dispatchgym.envs.edge_dag_plan.plans import Limits

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "edge"
GRAPHS = SHARED / "drlto_test_dags.csv"


def diamond(**changes) -> Instance:
    """Four tasks, 0 before 1 and 2, these before 3; one server, four times as fast."""
    values = {
        "name": "diamond",
        "work": np.array([4.0, 8.0, 4.0, 4.0]),
        "upload": np.array([2.0, 3.0, 1.0, 2.0]),
        "output": np.array([1.0, 2.0, 1.0, 1.0]),
        "edges": np.array([[0, 1], [0, 2], [1, 3], [2, 3]]),
        "device_speed": 1.0,
        "server_speed": np.array([4.0]),
        "uplink": np.array([1.0]),
        "downlink": np.array([2.0]),
        "device_power": 2.0,
        "transmit_power": 1.0,
        "receive_power": 0.5,
    }
    return Instance(**{**values, **changes})


@dataclass(frozen=True)
class Bank:
    """Instances one after the other: that of seed i is the i-th."""

    instances: tuple[Instance, ...]

    @property
    def limits(self) -> Limits:
        """Largest sizes."""
        return Limits(
            max(instance.num_tasks for instance in self.instances),
            max(1, *(instance.num_edges for instance in self.instances)),
            max(instance.num_servers for instance in self.instances),
        )

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed."""
        return self.instances[seed % len(self.instances)]


def simulate(instances, **options) -> EdgeDagPlanSimulation:
    """Return a simulation whose lanes are at the beginning of these instances."""
    simulation = EdgeDagPlanSimulation(
        num_lanes=len(instances), scenario=Bank(tuple(instances)), **options
    )
    lanes = len(instances)
    simulation.restart(np.ones(lanes, np.bool_), np.arange(lanes))
    return simulation


def varied(count: int = 12, tasks: str = "n2-9") -> list[Instance]:
    """Return instances of many kinds, with one and with several servers."""
    names = (f"drlto-{tasks}", f"alibaba_plan-{tasks}-m3", f"drlto-{tasks}-up3")
    return [make_instance(names[i % 3], 100 + i) for i in range(count)]


def rank_order(instance: Instance) -> list[int]:
    """Return the tasks by descending upward rank, by definition."""
    remote = instance.upload_time + instance.remote_time + instance.download_time
    own = np.minimum(instance.local_time, remote.min(axis=1))

    def rank(task: int) -> float:
        children = instance.edges[instance.edges[:, 0] == task, 1]
        return own[task] + max((rank(child) for child in children), default=0.0)

    return sorted(range(instance.num_tasks), key=lambda task: (-rank(task), task))


def play(instance: Instance, order, places, *, published=False):
    """Return makespan, energy and (FL, FU, FM, FR) of each task, by the recurrences."""
    ends = np.zeros((instance.num_tasks, 4))
    free_device = free_uplink = energy = makespan = 0.0
    free_server = np.zeros(instance.num_servers)
    for task in order:
        parents, k = instance.parents(task), places[task] - 1
        if places[task] == 0:
            inputs = max((max(ends[j, 0], ends[j, 3]) for j in parents), default=0.0)
            free_device = max(free_device, inputs) + instance.work[task] / instance.device_speed
            ends[task] = free_device, 0, 0, 0
            energy += instance.work[task] / instance.device_speed * instance.device_power
        else:
            ready = max((max(ends[j, 0], ends[j, 1]) for j in parents), default=0.0)
            up = instance.upload[task] / instance.uplink[k]
            down = instance.output[task] / instance.downlink[k]
            sent = max(free_uplink, ready) + up
            inputs = 0.0
            for j in parents:
                moved = 0.0
                if places[j] not in (0, k + 1):
                    moved = instance.output[j] / instance.link[places[j] - 1, k]
                inputs = max(inputs, ends[j, 2] + moved)
            start = max(free_server[k], sent, inputs)
            free_server[k] = start + instance.work[task] / instance.server_speed[k]
            ends[task] = 0, sent, free_server[k], free_server[k] + down
            if len(parents) or not published:
                free_uplink = sent
            energy += up * instance.transmit_power + down * instance.receive_power
        makespan = max(makespan, ends[task, 0], ends[task, 3])
    return makespan, energy, ends


def qoe(instance: Instance, objective, weights) -> float:
    """Return the saving against the device alone, weighted."""
    alone = instance.local_latency, instance.local_energy
    return sum(w * (a - o) / a for w, a, o in zip(weights, alone, objective, strict=True))


def reference_rows() -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the rows of the reference table: (set, uplink, policy) -> columns."""
    with (SHARED / "derived_drlto_baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["set"], row["uplink_queue"], row["policy"]): row for row in rows}
