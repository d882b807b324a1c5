"""A slow, plain-Python simulator of VM rescheduling: the yardstick for the compiled kernel.

It is written for reading, from the definitions alone, and shares no code with the kernel: every
question is answered anew from the list of places where the VMs are. Nothing is kept up to date,
so nothing can be forgotten.

The problem. PMs have two NUMA nodes; a VM is on one node, or half on each node of one PM. A
migration releases a VM and places it elsewhere, on another node of its PM too. It needs room,
must keep the VM in its cluster where that is asked, and may not bring it to a PM (or rack) that
has another VM of its anti-affinity set, unless it is on that PM (or rack) already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from dispatchgym.envs.vm_rescheduling import Instance, Objective, Term

BOTH = 2
STOP = "stop"


@dataclass(frozen=True)
class Settings:
    """The environment's keyword arguments that decide about the dynamics."""

    action_mode: str = "two_step"
    numa_rule: str = "best"
    allow_stay: bool = False
    allow_stop: bool = True


class Cluster:
    """One episode, step by step."""

    def __init__(self, instance: Instance, settings: Settings) -> None:
        """Start an episode."""
        self.instance, self.settings = instance, settings
        self.place = list(zip(instance.vm_pm.tolist(), instance.vm_node.tolist(), strict=True))
        self.moves: list[tuple[int, int, int]] = []
        self.used = 0
        self.chosen: int | None = None
        self.idle = False
        self.done = False
        single = [t for t in instance.objective.terms if t.resource == "cpu" and not t.double]
        self.chunk = single[0].chunk if single else 16
        self.idle = self.over()

    # ------------------------------------------------------------ what is free

    def share(self, vm: int) -> tuple[int, int]:
        """Return cores and MB that a VM takes on each of its nodes."""
        numa = int(self.instance.vm_numa[vm])
        return int(self.instance.vm_cpu[vm]) // numa, int(self.instance.vm_memory[vm]) // numa

    def free(self, pm: int, node: int, without: int | None = None) -> tuple[int, int]:
        """Return free cores and MB of a node, as if one VM were nowhere."""
        cpu, memory = int(self.instance.pm_cpu[pm, node]), int(self.instance.pm_memory[pm, node])
        for vm, (home, where) in enumerate(self.place):
            if vm != without and home == pm and where in (node, BOTH):
                cpu, memory = cpu - self.share(vm)[0], memory - self.share(vm)[1]
        return cpu, memory

    def table(self, resource: int, without: int | None = None) -> list[tuple[int, int]]:
        """Return what is free on both nodes of every PM: 0 cores, 1 MB."""
        return [
            (self.free(pm, 0, without)[resource], self.free(pm, 1, without)[resource])
            for pm in range(self.instance.num_pms)
        ]

    def hosted(self, pm: int) -> int:
        """Return the number of VMs on a PM."""
        return sum(home == pm for home, _ in self.place)

    # ------------------------------------------------------------ the objective

    def slots(self, term: Term, without: int | None = None) -> int:
        """Return how many requests of a term fit."""
        table = self.table(0 if term.resource == "cpu" else 1, without)
        if term.double:
            return sum(min(2 * a // term.chunk, 2 * b // term.chunk) for a, b in table)
        return sum(a // term.chunk + b // term.chunk for a, b in table)

    def rate(self, term: Term) -> float:
        """Return the fragment rate of a term."""
        total = sum(map(sum, self.table(0 if term.resource == "cpu" else 1)))
        return float(1 - Fraction(term.chunk * self.slots(term), total)) if total else 0.0

    def rates(self) -> float:
        """Return the weighted fragment rates."""
        return sum(term.weight * self.rate(term) for term in self.instance.objective.terms)

    def reduced(self) -> float:
        """Return what migrations are to reduce."""
        pms = 0
        if self.instance.objective.kind == "empty_pms":
            pms = len({home for home, _ in self.place})
        return pms + self.rates()

    def reached(self) -> bool:
        """Tell whether the goal is reached."""
        objective = self.instance.objective
        return objective.kind == "goal" and self.rates() <= objective.goal

    def objective(self) -> float:
        """Return the objective of the plan so far."""
        if self.instance.objective.kind != "goal":
            return self.reduced()
        return len(self.moves) if self.reached() else self.instance.migration_limit + 1

    def scale(self) -> float:
        """Return the default factor of the reward."""
        kind = self.instance.objective.kind
        if kind == "goal":
            return 1 / max(self.instance.migration_limit, 1)
        return 1.0 if kind == "empty_pms" else sum(map(sum, self.table(0))) / 128

    # ------------------------------------------------------------ what is legal

    def allowed(self, vm: int, pm: int) -> bool:
        """Tell whether cluster and anti-affinity allow a VM on a PM."""
        instance, home = self.instance, self.place[vm][0]
        if instance.within_cluster and instance.cluster[pm] != instance.cluster[home]:
            return False
        number = instance.affinity[vm]
        if number < 0:
            return True
        where = instance.rack if instance.affinity_rack[number] else np.arange(instance.num_pms)
        if where[pm] == where[home]:
            return True
        return not any(
            instance.affinity[other] == number and where[self.place[other][0]] == where[pm]
            for other in range(instance.num_vms)
            if other != vm
        )

    def places(self, vm: int) -> list[tuple[int, int]]:
        """Return the PMs and nodes a VM may go to."""
        if not self.instance.movable[vm]:
            return []
        cpu, memory = self.share(vm)
        found = []
        for pm in range(self.instance.num_pms):
            room = [
                free_cpu >= cpu and free_memory >= memory
                for free_cpu, free_memory in (self.free(pm, node, vm) for node in (0, 1))
            ]
            nodes = [BOTH] if self.instance.vm_numa[vm] == 2 else [0, 1]
            for node in nodes:
                fits = all(room) if node == BOTH else room[node]
                stays = (pm, node) == self.place[vm]
                if fits and self.allowed(vm, pm) and (self.settings.allow_stay or not stays):
                    found.append((pm, node))
        return found

    def destinations(self, vm: int) -> dict[int, tuple[int, int]]:
        """Return the legal destinations of a VM and where each leads."""
        places = self.places(vm)
        if self.settings.numa_rule == "explicit":
            return {2 * pm + (node % 2): (pm, node) for pm, node in places}
        by_pm: dict[int, list[int]] = {}
        for pm, node in places:
            by_pm.setdefault(pm, []).append(node)
        return {pm: (pm, self.choose_node(vm, pm, nodes)) for pm, nodes in by_pm.items()}

    def choose_node(self, vm: int, pm: int, nodes: list[int]) -> int:
        """Return the node that the NUMA rule takes of those with room."""
        if len(nodes) == 1:
            return nodes[0]
        if self.settings.numa_rule == "first":
            return 0
        if self.settings.numa_rule == "keep":
            return self.place[vm][1]
        return min(
            nodes, key=lambda node: (self.free(pm, node, vm)[0] - self.share(vm)[0]) % self.chunk
        )

    def legal_vms(self) -> list[int]:
        """Return the VMs that may migrate."""
        if self.done or self.idle:
            return []
        return [vm for vm in range(self.instance.num_vms) if self.places(vm)]

    def stop_legal(self) -> bool:
        """Tell whether the episode may be ended."""
        may = self.idle or (self.settings.allow_stop and self.settings.action_mode != "joint")
        return may and not self.done and self.chosen is None

    # ------------------------------------------------------------ what happens

    def over(self) -> bool:
        """Tell whether nothing is left to do."""
        nothing = not any(self.places(vm) for vm in range(self.instance.num_vms))
        return nothing or self.reached() or self.used >= self.instance.migration_limit

    def stop(self) -> float:
        """End the episode; return the reward."""
        self.done = True
        return self.final_cost()

    def final_cost(self) -> float:
        """Return the reward for a goal that was not reached in the end."""
        if self.instance.objective.kind != "goal" or self.reached():
            return 0.0
        missing = self.instance.migration_limit + 1 - len(self.moves)
        return -missing * self.scale()

    def migrate(self, vm: int, destination: int) -> float:
        """Move a VM to a legal destination; return the reward."""
        place, before = self.destinations(vm)[destination], self.reduced()
        moved = place != self.place[vm]
        if moved:
            self.place[vm] = place
            self.moves.append((vm, *place))
        self.chosen = None
        self.used += 1
        self.done = self.over()
        if self.instance.objective.kind == "goal":
            return (self.final_cost() if self.done else 0.0) - moved * self.scale()
        return (before - self.reduced()) * self.scale()

    # ------------------------------------------------------------ rules

    def units(self, without: int | None = None) -> float:
        """Return all fragments in cores: each rate times the free cores; a machine is all cores."""
        cores = max(sum(map(sum, self.table(0))), 1)
        total = 0.0
        for term in self.instance.objective.terms:
            resource = 0 if term.resource == "cpu" else 1
            free = max(sum(map(sum, self.table(resource))), 1)
            now = sum(map(sum, self.table(resource, without)))
            fragments = now - term.chunk * self.slots(term, without)
            total += term.weight * (cores / free) * fragments
        if self.instance.objective.kind == "empty_pms":
            used = {home for vm, (home, _) in enumerate(self.place) if vm != without}
            total += cores * len(used)
        return total

    def leave_gain(self, vm: int) -> float:
        """Return by how much fragments shrink when a VM is gone."""
        return self.units() - self.units(without=vm)

    def join_gain(self, vm: int, place: tuple[int, int]) -> float:
        """Return by how much they shrink when it comes back at a place."""
        before, home = self.units(without=vm), self.place[vm]
        self.place[vm] = place
        after = self.units()
        self.place[vm] = home
        return before - after

    def best_destination(self, vm: int) -> tuple[int, float]:
        """Return the destination of the largest gain (ties: the first) and that gain."""
        gains = {d: self.join_gain(vm, place) for d, place in self.destinations(vm).items()}
        best = min(gains, key=lambda d: (-gains[d], d))
        return best, gains[best]

    def best_pair(self, tabu: bool) -> tuple[int, int, float] | None:
        """Return the VM and destination of the largest summed gain (ties: the first)."""
        moved = {vm for vm, *_ in self.moves}
        best = None
        for vm in self.legal_vms():
            leaving = self.leave_gain(vm)
            destination, joining = self.best_destination(vm)
            gain = leaving + joining
            if tabu and (gain < 0 or (gain == 0 and vm in moved)):
                continue
            if best is None or gain > best[2]:
                best = (vm, destination, gain)
        return best

    def ha(self) -> tuple[int, int] | None:
        """Return the migration of the filter-and-score heuristic, or None where it stops."""
        instance = self.instance
        small = [
            vm
            for vm in range(instance.num_vms)
            if instance.movable[vm] and instance.vm_cpu[vm] <= self.chunk
        ]
        if not small or self.idle:
            return None
        vm = min(small, key=lambda vm: (-self.leave_gain(vm), vm))
        if not self.places(vm):
            return None
        destination, joining = self.best_destination(vm)
        return (vm, destination) if self.leave_gain(vm) + joining > 0 else None

    def greedy_joint(self) -> tuple[int, int] | None:
        """Return the best migration that loses nothing, or None."""
        best = self.best_pair(tabu=True)
        return best[:2] if best else None

    # ------------------------------------------------------------ the environment's view

    def num_destinations(self) -> int:
        """Return the number of destinations."""
        return self.instance.num_pms * (2 if self.settings.numa_rule == "explicit" else 1)

    def mask(self) -> list[int]:
        """Return the action mask."""
        vms, width = self.instance.num_vms, self.num_destinations()
        legal = {vm: self.destinations(vm) for vm in self.legal_vms()}
        if self.settings.action_mode == "flat":
            pairs = [int(d in legal.get(vm, ())) for vm in range(vms) for d in range(width)]
            return [*pairs, int(self.stop_legal())]
        if self.settings.action_mode == "joint":
            first = [int(vm in legal) for vm in range(vms)]
            second = [int(any(d in found for found in legal.values())) for d in range(width)]
            if self.idle and not self.done:
                first[0] = second[0] = 1
            return first + second
        size = max(vms, width)
        if self.chosen is not None:
            found = self.destinations(self.chosen)
            return [int(d in found) for d in range(size)] + [0]
        return [int(vm in legal) for vm in range(size)] + [int(self.stop_legal())]

    def act(self, action: Any) -> float:
        """Carry out a legal action of the environment; return the reward."""
        vms, width = self.instance.num_vms, self.num_destinations()
        if self.settings.action_mode == "joint":
            return self.stop() if self.idle else self.migrate(int(action[0]), int(action[1]))
        if self.settings.action_mode == "flat":
            if action == vms * width:
                return self.stop()
            return self.migrate(action // width, action % width)
        if self.chosen is not None:
            return self.migrate(self.chosen, action)
        if action == max(vms, width):
            return self.stop()
        self.chosen = action
        return 0.0

    def action_of(self, pair: tuple[int, int] | None) -> Any:
        """Return the action for a migration of a rule; where it stops, the best that is legal."""
        vms, width = self.instance.num_vms, self.num_destinations()
        if pair is None and not self.stop_legal():
            best = self.best_pair(tabu=False)
            assert best is not None
            pair = best[:2]
        if self.settings.action_mode == "joint":
            return list(pair or (0, 0))
        if self.settings.action_mode == "flat":
            return pair[0] * width + pair[1] if pair else vms * width
        return pair[0] if pair else max(vms, width)

    def rule_action(self, name: str) -> Any:
        """Return the action of a rule."""
        if self.chosen is not None:
            return self.best_destination(self.chosen)[0]
        return self.action_of(self.ha() if name == "ha" else self.greedy_joint())

    def observation(self) -> dict[str, Any]:
        """Return the observation "graph" without mask, from its definition."""
        instance = self.instance
        left = (instance.migration_limit - self.used) / max(instance.migration_limit, 1)
        pm_rows = [self.pm_row(pm, left) for pm in range(instance.num_pms)]
        found = {
            "pm": pm_rows,
            "vm": [self.vm_row(vm) for vm in range(instance.num_vms)],
            "vm_pm": [pm for pm, _ in self.place],
            "vm_numa": [node for _, node in self.place],
            "gain_out": [self.core_gain(vm, self.place[vm]) for vm in range(instance.num_vms)],
            "chosen_vm": [-1 if self.chosen is None else self.chosen],
            "steps_left": [left, (instance.migration_limit - self.used) / instance.num_pms],
            "fits": np.zeros((instance.num_pms, 2)),
            "gain_in": np.zeros((instance.num_pms, 2)),
        }
        if self.chosen is not None:
            for pm, node in self.places(self.chosen):
                columns = slice(None) if node == BOTH else node
                found["fits"][pm, columns] = 1
                found["gain_in"][pm, columns] = -self.core_gain(self.chosen, (pm, node))
        return found

    def core_gain(self, vm: int, place: tuple[int, int]) -> float:
        """Return fragment cores / chunk on a place with the VM there, less those without it."""
        pm, node = place
        gain = 0
        for k in (0, 1) if node == BOTH else (node,):
            free = self.free(pm, k, without=vm)[0]
            gain += (free - self.share(vm)[0]) % self.chunk - free % self.chunk
        return gain / self.chunk

    def pm_row(self, pm: int, left: float) -> list[float]:
        """Return the ten features of a PM."""
        cpu, memory = zip(*(self.free(pm, node) for node in (0, 1)), strict=True)
        row = [_ratio(cpu[k], self.instance.pm_cpu[pm, k]) for k in (0, 1)]
        row += [_ratio(memory[k], self.instance.pm_memory[pm, k]) for k in (0, 1)]
        for free in cpu:
            row += [_ratio(free % self.chunk, free), free % self.chunk / self.chunk]
        return [*row, self.hosted(pm) / 20, left]

    def vm_row(self, vm: int) -> list[float]:
        """Return the nine features of a VM."""
        (pm, node), (cpu, memory) = self.place[vm], self.share(vm)
        here = [node in (k, BOTH) for k in (0, 1)]
        row = [_ratio(cpu, self.instance.pm_cpu[pm, k]) * here[k] for k in (0, 1)]
        row += [_ratio(memory, self.instance.pm_memory[pm, k]) * here[k] for k in (0, 1)]
        row += [cpu % self.chunk / self.chunk * here[k] for k in (0, 1)]
        in_set = float(self.instance.affinity[vm] >= 0)
        return [*row, float(node == BOTH), in_set, float(self.instance.movable[vm])]


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else 0.0


# ---------------------------------------------------------------- random small instances

OBJECTIVES = (
    {"kind": "fragment"},
    {"kind": "fragment", "chunk": 6},
    {"kind": "fragment", "terms": [[1.0, "memory", 5, False]]},
    {"kind": "fragment", "terms": [[1.0, "cpu", 12, True]]},
    {"kind": "mixed", "terms": [[0.5, "cpu", 8, False], [0.5, "cpu", 16, True]]},
    {"kind": "mixed", "terms": [[0.25, "memory", 8, False], [0.75, "cpu", 4, False]]},
    {"kind": "goal", "chunk": 8, "goal": 0.3},
    {"kind": "goal", "chunk": 4, "goal": 0.15},
    {"kind": "empty_pms", "chunk": 8},
)


def random_instance(rng: np.random.Generator) -> Instance:
    """Return a small instance in which everything can bind."""
    pms = int(rng.integers(2, 6))
    pm_cpu = rng.integers(10, 45, (pms, 2))
    pm_memory = rng.integers(20, 60, (pms, 2))
    free = [[[int(pm_cpu[p, k]), int(pm_memory[p, k])] for k in (0, 1)] for p in range(pms)]
    rows = []
    flavours = [
        (int(rng.integers(1, 9)), int(rng.integers(0, 12)), int(rng.integers(1, 3)))
        for _ in range(rng.integers(1, 6))
    ]
    for _ in range(rng.integers(2, 16)):
        cpu, memory, numa = flavours[rng.integers(len(flavours))]
        pm = int(rng.integers(pms))
        nodes = (0, 1) if numa == 2 else (int(rng.integers(2)),)
        if all(free[pm][k][0] >= cpu and free[pm][k][1] >= memory for k in nodes):
            for k in nodes:
                free[pm][k][0] -= cpu
                free[pm][k][1] -= memory
            rows.append((cpu * numa, memory * numa, numa, pm, BOTH if numa == 2 else nodes[0]))
    if not rows:
        rows = [(1, 1, 1, 0, 0)]
    cpu, memory, numa, pm, node = np.array(rows).T
    sets = int(rng.integers(0, 4))
    constrained = bool(rng.integers(2))
    return Instance(
        name="random",
        pm_cpu=pm_cpu,
        pm_memory=pm_memory,
        vm_cpu=cpu,
        vm_memory=memory,
        vm_numa=numa,
        vm_pm=pm,
        vm_node=node,
        movable=rng.random(len(rows)) < (0.8 if constrained else 1.0),
        affinity=rng.integers(-1, sets, len(rows)) if sets else np.full(len(rows), -1),
        affinity_rack=rng.random(sets) < 0.4,
        rack=rng.integers(0, 3, pms) * 7,
        cluster=rng.integers(0, 2, pms) + 3,
        within_cluster=constrained and bool(rng.integers(2)),
        migration_limit=int(rng.integers(0, 7)),
        objective=Objective.make(OBJECTIVES[rng.integers(len(OBJECTIVES))]),
    )


def random_settings(rng: np.random.Generator) -> Settings:
    """Return one combination of the environment's arguments."""
    return Settings(
        action_mode=str(rng.choice(["two_step", "joint", "flat"])),
        numa_rule=str(rng.choice(["best", "first", "keep", "explicit"])),
        allow_stay=bool(rng.integers(2)),
        allow_stop=bool(rng.integers(2)),
    )


def is_close(first: float, second: float) -> bool:
    """Tell whether two numbers are equal up to rounding."""
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
