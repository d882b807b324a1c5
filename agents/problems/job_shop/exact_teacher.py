"""A teacher for the job shop that follows plans of the exact solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import Labels, sure_labels
from dispatchgym.agents.policy import Observation
from dispatchgym.envs.job_shop import Instance, make_instance, solve
from dispatchgym.models.job_shop import BLOCKED_HERE, PROCESSING

_POOL_SEED = 1 << 40
"""Seed of the first instance that is solved; far from those of evaluations."""


@dataclass(frozen=True)
class InstancePool:
    """A generator that draws from a few instances, so that each is solved only once."""

    instances: tuple[Instance, ...]

    @classmethod
    def draw(cls, scenario: str, count: int) -> InstancePool:
        """The first `count` instances of a random scenario."""
        return cls(tuple(make_instance(scenario, _POOL_SEED + i) for i in range(count)))

    @property
    def max_jobs(self) -> int:
        """Most jobs."""
        return max(instance.num_jobs for instance in self.instances)

    @property
    def max_operations(self) -> int:
        """Most operations of a job."""
        return max(instance.max_operations for instance in self.instances)

    @property
    def max_machines(self) -> int:
        """Most machines."""
        return max(instance.num_machines for instance in self.instances)

    def generate(self, seed: int) -> Instance:
        """The instance of a seed."""
        return self.instances[seed % len(self.instances)]


class ExactTeacher:
    """Keeps the order of operations on each machine as in a plan of the exact solver.

    The plan knows nothing of shutdowns; its order is kept when they come. A job is right when
    it is the next one of its machine in the plan; of several the earliest planned one. Where
    none is, waiting is right.
    """

    def __init__(self, pool: InstancePool, mode: str, swap: bool, seconds: float) -> None:
        """Solve every instance of the pool.

        Args:
            pool: the instances that will be played.
            mode: `classic`; anything else is planned without buffers.
            swap: whether blocked jobs may exchange machines.
            seconds: time limit for each instance.

        Raises:
            MissingDependencyError: the exact solver is not installed.
        """
        planned = "classic" if mode == "classic" else "blocking"
        self._plans: dict[bytes, NDArray[np.int64]] = {}
        for instance in pool.instances:
            result = solve(instance, mode=planned, swap=swap, time_limit=seconds, workers=1)
            self._plans[_key(instance)] = np.asarray(result.schedule["start"])

    def act(self, vec: Any) -> NDArray[np.int64]:
        """What the plan does next in each row."""
        return np.array([self._next(vec, lane) for lane in range(vec.num_envs)], np.int64)

    def label(self, vec: Any) -> Labels:
        """Cost 0 for the plan's action and 1 for the other legal ones; returns unknown."""
        return sure_labels(vec, self.act(vec))

    def _next(self, vec: Any, lane: int) -> int:
        instance = vec.simulation.instance(lane)
        start = self._plans[_key(instance)]
        unstarted = _unstarted(vec.simulation.observations, lane, instance)
        waiting = np.arange(instance.max_operations) >= unstarted[:, None]
        waiting &= instance.machine >= 0
        legal = vec.action_masks()[lane]
        jobs = np.flatnonzero(legal[:-1])
        planned = start[jobs, unstarted[jobs]].astype(float)
        machines = instance.machine[jobs, unstarted[jobs]]
        first = np.array(
            [start[waiting & (instance.machine == machine)].min() for machine in machines]
        )
        in_order = planned <= first
        if not in_order.any() and legal[-1]:
            return len(legal) - 1
        return int(jobs[np.where(in_order | ~in_order.any(), planned, np.inf).argmin()])


def _unstarted(observation: Observation, lane: int, instance: Instance) -> NDArray[np.int64]:
    """Index of each job's first operation that has not started."""
    rows = observation["job_operation"][lane, : instance.num_jobs]
    features = observation["operations"][lane]
    width = len(features) // observation["job_mask"].shape[1]
    on_machine = features[rows][:, [PROCESSING, BLOCKED_HERE]].sum(axis=1) > 0.5
    return np.where(rows >= 0, rows % width + on_machine, instance.operations)


def _key(instance: Instance) -> bytes:
    return instance.machine.tobytes() + instance.duration.tobytes()
