"""The teacher of VM rescheduling: it keeps a good plan for every cluster and mends it on the way.

The plans come from iterated greedy search (`envs.vm_rescheduling.iterated_greedy`), which goes on
with what is left of the last plan whatever the student did. All migrations of a plan that can be
carried out now are equally right, and so are those of VMs that are alike: a plan is a set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dispatchgym.agents.imitation import Labels
from dispatchgym.envs.vm_rescheduling import iterated_greedy as greedy
from dispatchgym.envs.vm_rescheduling import kernel
from dispatchgym.envs.vm_rescheduling.instance import Instance

FIRST_ITERATIONS = 10
"""A new cluster is searched for so many times longer than one whose plan is only mended."""


class PlanTeacher:
    """Labels VMs, and then nodes, by a plan for the rest of the episode.

    It works in action mode ``two_step`` with numa rule ``explicit``.
    """

    def __init__(self, iterations: int, seed: int = 0) -> None:
        """Set up.

        Args:
            iterations: constructions of the search at each decision.
            seed: of its noise.
        """
        self.iterations = iterations
        self._random = np.array([2 * seed + 1], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._lanes: dict[int, _Lane] = {}

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The first of the right actions of each row."""
        return self.label(vec)[0].argmin(axis=1)

    def label(self, vec: Any) -> Labels:
        """Cost 0 for what the plan allows now, 1 for other legal actions; and what it wins."""
        simulation = vec.simulation
        costs = np.where(vec.action_masks(), 1.0, np.inf).astype(np.float32)
        values = np.empty(vec.num_envs)
        for row in range(vec.num_envs):
            lane = self._lane(row, simulation)
            lane.look(simulation, row)
            values[row] = self._search(lane) * lane.reward
            lane.mark(costs[row])
        return costs, values

    def _lane(self, row: int, simulation: Any) -> _Lane:
        instance = simulation.instance(row)
        known = self._lanes.get(row)
        if known is None or known.instance is not instance:
            self._lanes[row] = known = _Lane(instance)
        return known

    def _search(self, lane: _Lane) -> float:
        """Mend the plan of a cluster; return what it wins, in chunks."""
        state = np.zeros(2)
        scratch = lane.scratch
        _begin(lane.cluster, scratch, state, lane.held, lane.chosen, self._random)
        iterations = self.iterations * (FIRST_ITERATIONS if lane.held == 0 else 1)
        if len(scratch.plan):
            arguments = lane.cluster, scratch, state, lane.chosen, iterations, self._random
            greedy.search(*arguments)
        lane.held = int(state[0])
        return float(state[1])


class _Lane:
    """One cluster as it is now, and the plan for it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.cluster = greedy.cluster_of(instance)
        self.scratch = greedy.scratch_of(self.cluster, instance.migration_limit)
        self.held = 0
        self.chosen = -1
        term = instance.objective.terms[0]
        total = instance.total_free_cpu
        of_resource = total if term.resource == "cpu" else int(instance.free_memory.sum())
        scale = total / kernel.REWARD_CORES
        self.reward = term.weight * term.chunk / max(of_resource, 1) * scale

    def look(self, simulation: Any, row: int) -> None:
        """Read the placement of a row, and shorten the plan to the migrations that are left."""
        cluster, state = self.cluster, simulation.state
        vms = len(cluster.machine)
        observation = simulation.observations
        cluster.machine[:] = observation["vm_pm"][row, :vms]
        cluster.node[:] = observation["vm_numa"][row, :vms]
        cpu, memory = self.instance.free(cluster.machine, cluster.node)
        cluster.free[:, :, 0], cluster.free[:, :, 1] = cpu, memory
        self.chosen = int(observation["chosen_vm"][row, 0])
        left = int(state.scalar[row, kernel.LIMIT] - state.scalar[row, kernel.USED])
        if left != len(self.scratch.plan):
            self.scratch = self.scratch._replace(plan=self.scratch.plan[:left])
            self.held = min(self.held, left)

    def mark(self, costs: NDArray[np.float32]) -> None:
        """Give cost 0 to the actions that the plan allows now."""
        _mark(self.cluster, self.scratch, self.held, self.chosen, costs)
        if not (costs == 0).any():
            costs[-1] = 0.0 if np.isfinite(costs[-1]) else np.inf
        if not (costs == 0).any():
            costs[np.isfinite(costs)] = 0.0


@njit(cache=True, error_model="numpy")
def _begin(cluster, scratch, state, held, chosen, random):
    """Take up the plan again; with a chosen VM its migration comes first.

    The migration that was carried out since is no longer legal and drops out by itself.
    """
    greedy.prepare(cluster, scratch, state, held)
    held = int(state[0])
    if chosen < 0 or len(scratch.plan) == 0 or (held > 0 and scratch.plan[0, 0] == chosen):
        return
    place = held
    for i in range(held):
        if scratch.plan[i, 0] == chosen:
            place = i
            break
    if place < held:
        p, k = scratch.plan[place, 1], scratch.plan[place, 2]
        if not greedy.allowed(cluster, scratch, chosen, p, k):
            p, k = greedy.best_place(cluster, scratch, chosen, 0.0, random)
    else:
        place = min(held, len(scratch.plan) - 1)
        held = place + 1
        p, k = greedy.best_place(cluster, scratch, chosen, 0.0, random)
    for i in range(place, 0, -1):
        for column in range(3):
            scratch.plan[i, column] = scratch.plan[i - 1, column]
    scratch.plan[0, 0], scratch.plan[0, 1], scratch.plan[0, 2] = chosen, p, k
    greedy.prepare(cluster, scratch, state, held)


@njit(cache=True, error_model="numpy")
def _alike(cluster, u, v):
    """Whether two VMs are interchangeable: same size, same place, bound to no set."""
    return (
        cluster.share[u, 0] == cluster.share[v, 0]
        and cluster.share[u, 1] == cluster.share[v, 1]
        and cluster.machine[u] == cluster.machine[v]
        and cluster.node[u] == cluster.node[v]
        and cluster.group[u] < 0
        and cluster.group[v] < 0
    )


@njit(cache=True, error_model="numpy")
def _mark(cluster, scratch, held, chosen, costs):
    """Write cost 0 for the VMs, or for the chosen VM's nodes, that the plan allows now.

    The scratch holds the cluster as it is now.
    """
    for i in range(held):
        v, p, k = scratch.plan[i, 0], scratch.plan[i, 1], scratch.plan[i, 2]
        if chosen < 0:
            if not greedy.allowed(cluster, scratch, v, p, k):
                continue
            for u in range(len(cluster.machine)):
                if (u == v or _alike(cluster, u, v)) and np.isfinite(costs[u]):
                    costs[u] = 0.0
        elif v == chosen or _alike(cluster, v, chosen):
            node = 2 * p + (k if k < greedy.BOTH else 0)
            if np.isfinite(costs[node]):
                costs[node] = 0.0
