"""The teacher of VM rescheduling: it keeps a good plan for every cluster and mends it on the way.

The plans come from iterated greedy search (`envs.vm_rescheduling.iterated_greedy`), which goes on
with what is left of the last plan whatever the student did. Many plans are equally good, and the
search wanders among them: every plan it stops at on the way has a vote for each of its migrations
that can be carried out now, and for those of VMs that are alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dispatchgym.agents.imitation import Labels
from dispatchgym.envs.vm_rescheduling import kernel
from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.iterated_greedy import best_place, search
from dispatchgym.envs.vm_rescheduling.plan_space import (
    BOTH,
    TOLERANCE,
    allowed,
    cluster_of,
    gain_of,
    prepare,
    scratch_of,
)

FIRST_ITERATIONS = 10
"""A new cluster is searched for so many times longer than one whose plan is only mended."""
VOTES = 8
"""Plans that vote on a decision."""


class PlanTeacher:
    """Labels VMs, and then nodes, by a plan for the rest of the episode.

    It works in action mode ``two_step`` with numa rule ``explicit``, and never stops: where
    nothing can be won any more it moves what loses nothing.
    """

    def __init__(self, iterations: int, temperature: float, seed: int = 0) -> None:
        """Set up.

        Args:
            iterations: constructions of the search at each decision.
            temperature: of the labels: at this one their weights are the shares of the votes.
            seed: of the noise of the search.
        """
        self.iterations = iterations
        self.temperature = temperature
        self._random = np.array([2 * seed + 1], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._lanes: dict[int, _Lane] = {}

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The first of the right actions of each row."""
        return self.label(vec)[0].argmin(axis=1)

    def label(self, vec: Any) -> Labels:
        """Costs by the votes, 1 for legal actions without any; and what the best plan wins."""
        simulation = vec.simulation
        costs = np.where(vec.action_masks(), 1.0, np.inf).astype(np.float32)
        values = np.empty(vec.num_envs)
        for row in range(vec.num_envs):
            lane = self._lane(row, simulation)
            lane.look(simulation, row)
            votes = np.zeros(costs.shape[1])
            values[row] = self._search(lane, votes) * lane.reward
            if not (np.isfinite(costs[row]) & (votes > 0)).any():
                lane.vote_for_harmless(votes)
            self._judge(costs[row], votes)
        return costs, values

    def _judge(self, costs: NDArray[np.float32], votes: NDArray[np.float64]) -> None:
        """Turn votes into costs; without any vote all legal actions are alike."""
        legal = np.isfinite(costs)
        votes[~legal] = 0.0
        if not votes.any():
            votes[:] = legal
        voted = votes > 0
        costs[voted] = np.minimum(self.temperature * np.log(votes.max() / votes[voted]), 1.0)

    def _lane(self, row: int, simulation: Any) -> _Lane:
        instance = simulation.instance(row)
        known = self._lanes.get(row)
        if known is None or known.instance is not instance:
            self._lanes[row] = known = _Lane(instance)
        return known

    def _search(self, lane: _Lane, votes: NDArray[np.float64]) -> float:
        """Mend the plan of a cluster and let plans vote; return what the best wins, in chunks."""
        state, best = np.zeros(2), 0.0
        cluster, scratch, chosen = lane.cluster, lane.scratch, lane.chosen
        _begin(cluster, scratch, state, lane.held, chosen, self._random)
        if len(scratch.plan) == 0:
            return 0.0
        if lane.held == 0:
            first = FIRST_ITERATIONS * self.iterations
            search(cluster, scratch, state, chosen, first, self._random)
        for _ in range(VOTES):
            some = max(self.iterations // VOTES, 1)
            search(cluster, scratch, state, chosen, some, self._random)
            if state[1] > best + TOLERANCE:
                best = float(state[1])
                votes[:] = 0.0
            _vote(cluster, scratch, int(state[0]), chosen, votes)
        lane.held = int(state[0])
        return float(state[1])


class _Lane:
    """One cluster as it is now, and the plan for it."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.cluster = cluster_of(instance)
        self.scratch = scratch_of(self.cluster, instance.migration_limit)
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

    def vote_for_harmless(self, votes: NDArray[np.float64]) -> None:
        """Vote for the VMs that can move without loss, as nothing can be won any more."""
        if self.chosen < 0:
            _vote_for_harmless(self.cluster, self.scratch, votes)


@njit(cache=True, error_model="numpy")
def _vote_for_harmless(cluster, scratch, votes):
    random = np.ones(1, np.uint64)
    for v in range(len(cluster.machine)):
        if not cluster.movable[v]:
            continue
        p, k = best_place(cluster, scratch, v, 0.0, random)
        if p >= 0 and gain_of(cluster, scratch, v, p, k) > -TOLERANCE:
            votes[v] = 1.0


@njit(cache=True, error_model="numpy")
def _begin(cluster, scratch, state, held, chosen, random):
    """Take up the plan again; with a chosen VM its migration comes first.

    The migration that was carried out since is no longer legal and drops out by itself.
    """
    prepare(cluster, scratch, state, held)
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
        if not allowed(cluster, scratch, chosen, p, k):
            p, k = best_place(cluster, scratch, chosen, 0.0, random)
    else:
        place = min(held, len(scratch.plan) - 1)
        held = place + 1
        p, k = best_place(cluster, scratch, chosen, 0.0, random)
    for i in range(place, 0, -1):
        for column in range(3):
            scratch.plan[i, column] = scratch.plan[i - 1, column]
    scratch.plan[0, 0], scratch.plan[0, 1], scratch.plan[0, 2] = chosen, p, k
    prepare(cluster, scratch, state, held)


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
def _vote(cluster, scratch, held, chosen, votes):
    """Add a vote for the VMs, or for the chosen VM's nodes, that the plan moves now.

    The scratch holds the cluster as it is now.
    """
    for i in range(held):
        v, p, k = scratch.plan[i, 0], scratch.plan[i, 1], scratch.plan[i, 2]
        if chosen < 0:
            if not allowed(cluster, scratch, v, p, k):
                continue
            for u in range(len(cluster.machine)):
                if u == v or _alike(cluster, u, v):
                    votes[u] += 1.0
        elif v == chosen or _alike(cluster, v, chosen):
            votes[2 * p + (k if k < BOTH else 0)] += 1.0
