"""Generators of clusters, and the names under which they can be asked for.

The random clusters follow a generator calibrated on what is published of the mappings of Ding et
al. (VMR2L, EuroSys 2025), which cannot be had themselves: with the VM population of the one public
snapshot it reproduces their utilisation and fragment histograms and the curves of their baselines.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numba import njit

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.vm_rescheduling.instance import (
    BOTH_NODES,
    MAX_MIGRATIONS,
    MAX_VMS,
    Instance,
    IntArray,
    Known,
    Objective,
)

__all__ = [
    "HUAWEI",
    "LARGE",
    "MEDIUM",
    "ClusterGenerator",
    "FixedGenerator",
    "Generator",
    "Population",
    "Recipe",
    "draw_limit",
    "fill_cluster",
    "generator",
    "make_instance",
    "migrations_for",
    "scenarios",
    "toy",
    "toy_order",
]

_STREAM_SIZE = 48
_STREAM_COUNT = 49
_STREAM_ORDER = 50
_STREAM_PM = 51
_STREAM_NODE = 52
_STREAM_LEAVE = 53
_STREAM_RACK = 54
_STREAM_SET_SIZE = 55
_STREAM_SET = 56
_STREAM_LIMIT = 57

_BALANCED = 0.25  # how often a one-NUMA VM takes the emptier node, from the calibration
_HIGH, _MIDDLE, _LOW = (free / (279 * 88) for free in (2450, 8569, 15124))  # free share of cores
_SET_WEIGHTS = (56, 86, 65, 81)  # anti-affinity sets of 2, 3, 4 and 5 VMs in a real cluster
_MAX_PMS = 100_000


@dataclass(frozen=True)
class Population:
    """The VMs of a cluster by class, and the machines they stand on.

    Attributes:
        classes: Rows (cores, MB, NUMA nodes, number of VMs).
        pms: Machines for this number of VMs.
        node_cpu: Cores of each NUMA node.
        node_memory: MB of each NUMA node.
        racks: Number of racks.
        first_cluster: Share of the machines that is in the first of two clusters.
    """

    classes: tuple[tuple[int, int, int, int], ...]
    pms: int
    node_cpu: int
    node_memory: int
    racks: int
    first_cluster: float


def _classes(*rows: tuple[int, int, int, int]) -> tuple[tuple[int, int, int, int], ...]:
    """Return rows (cores, GB, NUMA nodes, number) with the memory in MB."""
    return tuple((cores, 1024 * gigabytes, numa, count) for cores, gigabytes, numa, count in rows)


MEDIUM = Population(
    _classes(
        (2, 4, 1, 337), (4, 8, 1, 906), (4, 8, 2, 3), (8, 16, 1, 311), (8, 16, 2, 57),
        (16, 32, 1, 184), (16, 32, 2, 46), (32, 64, 1, 61), (32, 64, 2, 50), (64, 128, 2, 130),
        (88, 176, 2, 4),
    ),
    pms=279, node_cpu=44, node_memory=184_388, racks=10, first_cluster=236 / 279,
)  # fmt: skip
"""2,089 VMs on 279 PMs: counted in ``reset_vm_pm_id_clear2.json`` of the repository
bytedance/DRL-based-VM-Rescheduling (Apache-2.0)."""

LARGE = Population(
    _classes(
        (2, 8, 1, 1030), (4, 16, 1, 670), (4, 16, 2, 10), (8, 32, 1, 617), (8, 32, 2, 84),
        (16, 64, 1, 767), (16, 64, 2, 152), (32, 128, 1, 253), (32, 128, 2, 479),
        (64, 256, 2, 266), (84, 342, 2, 2), (88, 352, 2, 216),
    ),
    pms=1176, node_cpu=44, node_memory=184_388, racks=40, first_cluster=352 / 1176,
)  # fmt: skip
"""4,546 VMs on 1,176 PMs: counted in ``reset_vm_pm_id_clear_big2.json`` of the same repository
(Apache-2.0)."""

HUAWEI = Population(
    _classes(
        (2, 4, 1, 3468), (2, 8, 1, 1860), (4, 8, 1, 3847), (4, 16, 1, 1764), (8, 16, 1, 1153),
        (8, 32, 1, 3058), (12, 24, 1, 193), (12, 48, 1, 85), (16, 32, 1, 1759), (16, 64, 1, 1219),
        (24, 48, 1, 25), (24, 96, 1, 2), (32, 64, 2, 4816), (32, 128, 2, 1221), (48, 96, 2, 52),
        (48, 192, 2, 46), (64, 128, 2, 420),
    ),
    pms=4863, node_cpu=44, node_memory=98_304, racks=10, first_cluster=1.0,
)  # fmt: skip
"""Two ratios of memory to cores, on nodes of 96 GB so that memory binds: the requests C1 to C5 of
the repository mdl1104/Dataset-for-topology-aware-VM-placement (Huawei, CC0-1.0), without two that
are larger than a node. The number of PMs is ours; it gives the memory the load that the cores of
`MEDIUM` have."""


class Recipe(NamedTuple):
    """What the compiled generator needs to know, as numbers and arrays.

    Attributes:
        cpu: (C,) cores of each VM class.
        memory: (C,) MB.
        numa: (C,) NUMA nodes.
        number: (C,) VMs for `reference` machines.
        rank: (C,) place in the order of arrival: two-NUMA classes by decreasing cores, then all
            others together.
        reference: Machines for which `number` was counted.
        pms_low: Fewest machines; their number is uniform in pms_low..pms_high.
        pms_high: Most machines.
        node_cpu: Cores of a NUMA node.
        node_memory: MB of a NUMA node.
        free_share: VMs leave until this share of cores and of memory is free.
        racks: Number of racks.
        affinity: Whether half of the VMs are in anti-affinity sets.
    """

    cpu: IntArray
    memory: IntArray
    numa: IntArray
    number: IntArray
    rank: IntArray
    reference: int
    pms_low: int
    pms_high: int
    node_cpu: int
    node_memory: int
    free_share: float
    racks: int
    affinity: bool


merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Put in place by LLVM, and without reference counts."""


@njit(cache=True)
def migrations_for(pms: int) -> int:
    """Return the migration limit of a cluster whose scenario names none: 3 * sqrt(P), rounded.

    That is 50 at 279 machines and 103 at 1,176, as in the literature.
    """
    return round(3.0 * math.sqrt(pms))


@merged
def _below(seed: np.uint64, stream: int, a: int, b: int, size: int) -> int:
    """Return the integer of key (seed, stream, a, b), uniform in 0..size-1."""
    return int(uniform(seed, stream, a, b) * size)


@njit(cache=True)
def draw_limit(seed: np.uint64, pms: int, low: int, high: int) -> int:
    """Return a migration limit in low..high for a cluster; with low -1 that of its machines."""
    if low < 0:
        return migrations_for(pms)
    return low + _below(seed, _STREAM_LIMIT, 0, 0, high - low + 1)


@njit(cache=True)
def _shuffle(seed: np.uint64, stream: int, values: IntArray, size: int) -> None:
    """Bring the first `size` values into a uniformly random order."""
    for position in range(size - 1, 0, -1):
        other = _below(seed, stream, position, 0, position + 1)
        values[position], values[other] = values[other], values[position]


@njit(cache=True)
def _arrivals(seed: np.uint64, recipe: Recipe, pms: int) -> IntArray:
    """Return the class of each VM in the order of arrival.

    Every class has its share of the reference population, rounded up or down at random.
    """
    classes = recipe.cpu.size
    amount = np.empty(classes, np.int64)
    for kind in range(classes):
        exact = recipe.number[kind] * pms / recipe.reference
        whole = int(exact)
        amount[kind] = whole + (uniform(seed, _STREAM_COUNT, kind, 0) < exact - whole)
    mixed = np.empty(amount.sum(), np.int64)
    vm = 0
    for kind in range(classes):
        mixed[vm : vm + amount[kind]] = kind
        vm += amount[kind]
    _shuffle(seed, _STREAM_ORDER, mixed, mixed.size)
    return _by_rank(mixed, recipe.rank, amount)


@njit(cache=True)
def _by_rank(mixed: IntArray, rank: IntArray, amount: IntArray) -> IntArray:
    """Sort VMs by the rank of their class and keep the order within a rank."""
    start = np.zeros(rank.max() + 2, np.int64)
    for kind in range(rank.size):
        start[rank[kind] + 1] += amount[kind]
    start = np.cumsum(start)
    ordered = np.empty_like(mixed)
    for kind in mixed:
        place = start[rank[kind]]
        ordered[place] = kind
        start[rank[kind]] = place + 1
    return ordered


@merged
def _room(
    free_cpu: IntArray, free_memory: IntArray, pm: int, numa: int, cpu: int, memory: int
) -> bool:
    """Return whether a VM of these needs per node fits on a machine."""
    first = free_cpu[pm, 0] >= cpu and free_memory[pm, 0] >= memory
    second = free_cpu[pm, 1] >= cpu and free_memory[pm, 1] >= memory
    return (first and second) if numa == 2 else (first or second)


@merged
def _choose_pm(
    seed: np.uint64,
    vm: int,
    pool: IntArray,
    left: int,
    free_cpu: IntArray,
    free_memory: IntArray,
    numa: int,
    cpu: int,
    memory: int,
) -> tuple[int, int]:
    """Return a machine drawn uniformly from those with room, or -1; and how many may have room.

    Room only shrinks while VMs arrive, so a machine found full for a class leaves the class's
    pool for good, and all draws together cost about as much as one look at every machine.
    """
    draw = 0
    while left > 0:
        place = _below(seed, _STREAM_PM, vm, draw, left)
        pm = pool[place]
        if _room(free_cpu, free_memory, pm, numa, cpu, memory):
            return pm, left
        left -= 1
        pool[place] = pool[left]
        draw += 1
    return -1, 0


@merged
def _choose_node(
    seed: np.uint64,
    vm: int,
    free_cpu: IntArray,
    free_memory: IntArray,
    pm: int,
    cpu: int,
    memory: int,
) -> int:
    """Return the node for a one-NUMA VM: sometimes the emptier one, else the first that fits."""
    if uniform(seed, _STREAM_NODE, vm, 0) < _BALANCED:
        emptier = 1 if free_cpu[pm, 1] > free_cpu[pm, 0] else 0
        if free_cpu[pm, emptier] >= cpu and free_memory[pm, emptier] >= memory:
            return emptier
    return 0 if free_cpu[pm, 0] >= cpu and free_memory[pm, 0] >= memory else 1


@merged
def _change(
    free_cpu: IntArray, free_memory: IntArray, pm: int, node: int, cpu: int, memory: int
) -> None:
    """Add cores and MB to what is free on one node of a machine, or on both."""
    for k in range(2):
        if node in (k, BOTH_NODES):
            free_cpu[pm, k] += cpu
            free_memory[pm, k] += memory


@njit(cache=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
def _place(
    seed: np.uint64,
    recipe: Recipe,
    pool: IntArray,
    left: IntArray,
    arrivals: IntArray,
    free_cpu: IntArray,
    free_memory: IntArray,
    pm_of: IntArray,
    node_of: IntArray,
) -> None:
    """Place VMs one after the other; PM -1 marks those that found no room.

    The first left[kind] machines of a row of `pool` are those that may have room for a class.
    """
    for vm in range(arrivals.size):
        kind = arrivals[vm]
        numa = recipe.numa[kind]
        cpu, memory = recipe.cpu[kind] // numa, recipe.memory[kind] // numa
        pm, left[kind] = _choose_pm(
            seed, vm, pool[kind], left[kind], free_cpu, free_memory, numa, cpu, memory
        )
        pm_of[vm] = pm
        if pm < 0:
            continue
        node_of[vm] = BOTH_NODES
        if numa == 1:
            node_of[vm] = _choose_node(seed, vm, free_cpu, free_memory, pm, cpu, memory)
        _change(free_cpu, free_memory, pm, node_of[vm], -cpu, -memory)


@njit(cache=True)
def _draw_sets(seed: np.uint64, vms: int, vm_pm: IntArray, affinity: IntArray) -> None:
    """Put half of the VMs into disjoint sets of 2 to 5 VMs on different machines.

    A set drawn with two VMs on one machine is drawn again, up to four times per VM in all.
    """
    affinity[:vms] = -1
    loose = np.arange(vms)
    left, number = vms, 0
    for draw in range(4 * vms):
        if 2 * (vms - left) >= vms:
            break
        size = _set_size(uniform(seed, _STREAM_SET_SIZE, draw, 0))
        if size > left:
            continue
        for position in range(size):  # the drawn ones change places with the last ones
            other = _below(seed, _STREAM_SET, draw, position, left - position)
            last = left - position - 1
            loose[other], loose[last] = loose[last], loose[other]
        members = loose[left - size : left]
        if _on_different_pms(members, vm_pm):
            affinity[members] = number
            number += 1
            left -= size


@njit(cache=True)
def _set_size(draw: float) -> int:
    total = 0
    for weight in _SET_WEIGHTS:
        total += weight
    below = 0
    for index in range(len(_SET_WEIGHTS)):
        below += _SET_WEIGHTS[index]
        if draw * total < below:
            return index + 2
    return len(_SET_WEIGHTS) + 1


@njit(cache=True)
def _on_different_pms(members: IntArray, vm_pm: IntArray) -> bool:
    for first in range(members.size):
        for second in range(first):
            if vm_pm[members[first]] == vm_pm[members[second]]:
                return False
    return True


@njit(cache=True)
def fill_cluster(
    seed: np.uint64,
    recipe: Recipe,
    vm_cpu: IntArray,
    vm_memory: IntArray,
    vm_numa: IntArray,
    vm_pm: IntArray,
    vm_node: IntArray,
    affinity: IntArray,
    rack: IntArray,
) -> tuple[int, int]:
    """Fill arrays with a random cluster; every number is a function of the seed.

    VMs arrive in the order of the recipe's ranks, each on a machine drawn uniformly from those
    with room; one that finds none is dropped. Then VMs chosen uniformly leave until the recipe's
    share of cores and of memory is free. Those that stay are numbered in random order.

    Args:
        seed: uint64 key of the cluster.
        recipe: A `Recipe`.
        vm_cpu: (>= max_vms,) int64, written: cores; rows beyond the last VM are left alone, in
            all arrays.
        vm_memory: Likewise: MB.
        vm_numa: Likewise: NUMA nodes, 1 or 2.
        vm_pm: Likewise: machine.
        vm_node: Likewise: node, 2 for both.
        affinity: Likewise: anti-affinity set, -1 for none.
        rack: (>= pms_high,) int64, written: rack of each machine.

    Returns:
        The pair (machines, VMs).
    """
    span = recipe.pms_high - recipe.pms_low + 1
    pms = recipe.pms_low + _below(seed, _STREAM_SIZE, 0, 0, span)
    free_cpu = np.full((pms, 2), recipe.node_cpu, np.int64)
    free_memory = np.full((pms, 2), recipe.node_memory, np.int64)
    arrivals = _arrivals(seed, recipe, pms)
    pm_of = np.empty(arrivals.size, np.int64)
    node_of = np.empty(arrivals.size, np.int64)
    pool = np.empty((recipe.cpu.size, pms), np.int32)
    pool[:] = np.arange(pms)
    left = np.full(recipe.cpu.size, pms, np.int64)
    _place(seed, recipe, pool, left, arrivals, free_cpu, free_memory, pm_of, node_of)

    stay = np.flatnonzero(pm_of >= 0)
    _shuffle(seed, _STREAM_LEAVE, stay, stay.size)
    cpu, memory = free_cpu.sum(), free_memory.sum()
    wanted_cpu = recipe.free_share * 2 * pms * recipe.node_cpu - 1e-6
    wanted_memory = recipe.free_share * 2 * pms * recipe.node_memory - 1e-6
    first = 0
    while first < stay.size - 1 and (cpu < wanted_cpu or memory < wanted_memory):
        cpu += recipe.cpu[arrivals[stay[first]]]
        memory += recipe.memory[arrivals[stay[first]]]
        first += 1

    vms = stay.size - first
    for vm in range(vms):
        source = stay[first + vm]
        kind = arrivals[source]
        vm_cpu[vm], vm_memory[vm] = recipe.cpu[kind], recipe.memory[kind]
        vm_numa[vm] = recipe.numa[kind]
        vm_pm[vm], vm_node[vm] = pm_of[source], node_of[source]
    affinity[:vms] = -1
    if recipe.affinity:
        _draw_sets(seed, vms, vm_pm, affinity)
    for pm in range(pms):
        rack[pm] = _below(seed, _STREAM_RACK, pm, 0, recipe.racks)
    return pms, vms


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def max_pms(self) -> int:
        """Most machines of any instance."""

    @property
    def max_vms(self) -> int:
        """Most VMs of any instance."""

    @property
    def max_migrations(self) -> int:
        """Largest migration limit of any instance."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed (an integer in 0..2^64-1), always the same one."""


@dataclass(frozen=True)
class ClusterGenerator:
    """Random clusters of a VM population; see `fill_cluster` for how they are made.

    Attributes:
        population: VM classes and machines; scaled to the number of machines.
        pms: Fewest and most machines, uniform.
        free_share: Share of the cores, and of the memory, that is free at least, in [0, 1).
        affinity: Whether half of the VMs are in anti-affinity sets.
        migration_limit: Most migrations, a number or the ends of a range from which each instance
            draws; `migrations_for` the number of machines unless given.
        objective: What is minimised.
        label: Beginning of the instances' names.

    Raises:
        ParameterError: A field is not as described.
    """

    population: Population = MEDIUM
    pms: tuple[int, int] = (20, 20)
    free_share: float = _HIGH
    affinity: bool = False
    migration_limit: int | tuple[int, int] | None = None
    objective: Objective = dataclasses.field(default_factory=Objective)
    label: str = "random"

    def __post_init__(self) -> None:
        """Check the fields."""
        _check_range(self.pms)
        if self.max_vms > MAX_VMS:
            raise ParameterError(f"pms: found up to {self.max_vms} VMs, expected at most {MAX_VMS}")
        if not 0 <= self.free_share < 1:
            raise ParameterError(f"free_share: found {self.free_share}, expected in [0, 1)")
        low, high = self._limits(self.pms[1])
        whole = type(low) is int and type(high) is int
        if not (whole and 0 <= low <= high <= MAX_MIGRATIONS):
            raise ParameterError(
                f"migration_limit: found {self.migration_limit!r}, expected None, a number or a "
                f"range in 0..{MAX_MIGRATIONS}"
            )

    @property
    def max_pms(self) -> int:
        """Most machines of any instance."""
        return self.pms[1]

    @property
    def max_vms(self) -> int:
        """Most VMs of any instance."""
        share = self.pms[1] / self.population.pms
        return sum(math.ceil(count * share) for *_, count in self.population.classes)

    @property
    def max_migrations(self) -> int:
        """Largest migration limit of any instance."""
        return self._limits(self.pms[1])[1]

    @cached_property
    def recipe(self) -> Recipe:
        """The generator's parameters for `fill_cluster`."""
        classes = np.array(self.population.classes, np.int64)
        cpu, memory, numa, count = (np.ascontiguousarray(column) for column in classes.T)
        return Recipe(
            cpu=cpu,
            memory=memory,
            numa=numa,
            number=count,
            rank=_ranks(cpu, numa),
            reference=self.population.pms,
            pms_low=self.pms[0],
            pms_high=self.pms[1],
            node_cpu=self.population.node_cpu,
            node_memory=self.population.node_memory,
            free_share=float(self.free_share),
            racks=self.population.racks,
            affinity=bool(self.affinity),
        )

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        columns = np.empty((6, self.max_vms), np.int64)
        rack = np.empty(self.max_pms, np.int64)
        cpu, memory, numa, pm, node, affinity = columns
        pms, vms = fill_cluster(
            _seed(seed), self.recipe, cpu, memory, numa, pm, node, affinity, rack
        )
        cpu, memory, numa, pm, node, affinity = columns[:, :vms]
        return Instance(
            name=f"{self.label}_{pms}pm_seed{seed}",
            pm_cpu=np.full((pms, 2), self.population.node_cpu),
            pm_memory=np.full((pms, 2), self.population.node_memory),
            vm_cpu=cpu,
            vm_memory=memory,
            vm_numa=numa,
            vm_pm=pm,
            vm_node=node,
            affinity=affinity,
            rack=rack[:pms],
            cluster=(np.arange(pms) >= round(pms * self.population.first_cluster)).astype(np.int64),
            migration_limit=int(draw_limit(_seed(seed), pms, *self.limits)),
            objective=self.objective,
        )

    def _limits(self, pms: int) -> tuple[int, int]:
        """Return the smallest and the largest migration limit of `pms` machines."""
        limit = migrations_for(pms) if self.migration_limit is None else self.migration_limit
        return limit if isinstance(limit, tuple) else (limit, limit)

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest migration limit as `draw_limit` takes them."""
        return (-1, -1) if self.migration_limit is None else self._limits(self.pms[1])


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance."""

    instance: Instance

    @property
    def max_pms(self) -> int:
        """Machines of the instance."""
        return self.instance.num_pms

    @property
    def max_vms(self) -> int:
        """VMs of the instance."""
        return self.instance.num_vms

    @property
    def max_migrations(self) -> int:
        """Its migration limit."""
        return self.instance.migration_limit

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


def toy() -> Instance:
    """Return two machines with 8 free cores on every node: optimum FR 0 in two migrations.

    Each node holds an 8-core and a 28-core VM, of which the large one fits nowhere else. A
    migration of an 8-core VM fills one node and makes a 16-core slot on another; it cannot make
    two, so one migration gives FR 1/2 and two give 0.
    """
    rows = [(cpu, pm, node) for pm in range(2) for node in range(2) for cpu in (8, 28)]
    return _by_hand("toy", rows, limit=2, known={1: Known(1, 1), 2: Known(2, 2)})


def toy_order() -> Instance:
    """Return two machines where no single migration helps: optimum FR 0 in two of them, in order.

    Node 0 of machine 0 has 10 cores free, of machine 1 has 6; the other nodes are full. Only the
    8-core VM leaving machine 0 makes a slot (18 free, and 16 of them after the 2-core VM has
    come), but it has room on machine 1 only when the 2-core VM has left there.
    """
    rows = [(8, 0, 0), (26, 0, 0), (44, 0, 1), (2, 1, 0), (36, 1, 0), (44, 1, 1)]
    return _by_hand("toy_order", rows, limit=2, known={1: Known(0, 0), 2: Known(1, 1)})


def _by_hand(
    name: str, rows: Sequence[tuple[int, int, int]], limit: int, known: dict[int, Known]
) -> Instance:
    """Return an instance of one-NUMA VMs (cores, PM, node) on machines as in `MEDIUM`."""
    cpu, pm, node = np.array(rows).T
    pms = int(pm.max()) + 1
    return Instance(
        name=name,
        pm_cpu=np.full((pms, 2), MEDIUM.node_cpu),
        pm_memory=np.full((pms, 2), MEDIUM.node_memory),
        vm_cpu=cpu,
        vm_memory=2048 * cpu,
        vm_numa=np.ones_like(cpu),
        vm_pm=pm,
        vm_node=node,
        migration_limit=limit,
        known=known,
    )


def _check_range(pms: object) -> None:
    pair = isinstance(pms, tuple) and len(pms) == 2 and all(type(value) is int for value in pms)
    if not pair or not 2 <= pms[0] <= pms[1] <= _MAX_PMS:  # type: ignore[index]
        raise ParameterError(
            f"pms: found {pms!r}, expected two integers, 2 <= low <= high <= {_MAX_PMS}"
        )


_TOYS: dict[str, Callable[[], Instance]] = {"toy": toy, "toy_order": toy_order}

_SMALL = ClusterGenerator(pms=(20, 20), migration_limit=10, label="S")
_MEDIUM = ClusterGenerator(pms=(279, 279), migration_limit=50, label="M")


def _tier(base: ClusterGenerator, label: str, **changes: object) -> ClusterGenerator:
    return dataclasses.replace(base, label=label, **changes)  # type: ignore[arg-type]


_TIERS: dict[str, ClusterGenerator] = {
    "S": _SMALL,
    "M": _MEDIUM,
    "M-high": _MEDIUM,
    "M-middle": _tier(_MEDIUM, "M-middle", free_share=_MIDDLE, migration_limit=100),
    "M-low": _tier(_MEDIUM, "M-low", free_share=_LOW, migration_limit=100),
    "L": ClusterGenerator(LARGE, (1176, 1176), free_share=0.0, migration_limit=100, label="L"),
    "S-AA": _tier(_SMALL, "S-AA", affinity=True),
    "M-AA": _tier(_MEDIUM, "M-AA", affinity=True),
    "S-MR": _tier(_SMALL, "S-MR", population=HUAWEI, objective=Objective.make("mixed_memory")),
    "M-MR": _tier(_MEDIUM, "M-MR", population=HUAWEI, objective=Objective.make("mixed_memory")),
    "M-G": _tier(_MEDIUM, "M-G", objective=Objective.make("goal")),
}


_RANGE = r"(\d{1,9})(?:-(\d{1,9}))?"


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Of ``random``, High clusters of any number of machines, only usual sizes are listed: any
    ``random_{P}`` works, with a migration limit as in ``random_60x12``, and ranges of either as in
    ``random_20-60`` and ``random_20-60x5-25``.

    Seeds 0..3999 are meant for training on a fixed set, 6000..6199 for development and
    6200..6399 for tests. An environment that trains without a fixed set draws seeds from 2^62 on,
    so no seed below is ever trained on by accident.
    """
    return [*_TOYS, *_TIERS, "random_20", "random_60", "random_100", "random_20-60"]


def generator(scenario: str) -> Generator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: There is no such scenario; the message has the closest names.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    if scenario in _TOYS:
        return FixedGenerator(_TOYS[scenario]())
    if scenario in _TIERS:
        return _TIERS[scenario]
    match = re.fullmatch(rf"random_{_RANGE}(?:x{_RANGE})?", scenario, re.ASCII)
    if match is None:
        raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))
    limits = (int(match[3]), int(match[4] or match[3])) if match[3] else None
    try:
        return ClusterGenerator(
            pms=(int(match[1]), int(match[2] or match[1])), migration_limit=limits
        )
    except ParameterError as error:
        raise ScenarioError(f"scenario {scenario!r}: {error}") from None


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Args:
        scenario: A name of `scenarios`, or ``random_`` with any size or range of sizes.
        seed: In 0..2^64-1. Ignored by a single instance.

    Raises:
        ScenarioError: There is no such scenario.
        ParameterError: The seed is not such an integer.
    """
    return generator(scenario).generate(int(_seed(seed)))


def _ranks(cpu: IntArray, numa: IntArray) -> IntArray:
    """Return the place of each class in the order of arrival."""
    sizes = np.unique(cpu[numa == 2])[::-1]
    order = {int(size): rank for rank, size in enumerate(sizes)}
    ranks = [
        order[size] if nodes == 2 else len(sizes)
        for size, nodes in zip(cpu.tolist(), numa.tolist(), strict=True)
    ]
    return np.array(ranks, np.int64)


def _seed(seed: int) -> np.uint64:
    try:
        return np.uint64(operator.index(seed))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None
