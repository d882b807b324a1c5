"""Classes of interchangeable VMs, and objectives counted in slots, for the exact models."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.vm_rescheduling.instance import Instance

__all__ = ["Aggregation", "Measure"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_MAX_DENOMINATOR = 10**6
_FINEST_UNIT = 1e-4


@dataclass(frozen=True)
class Aggregation:
    """The movable VMs of an instance by class; the others only take room.

    Attributes:
        instance: The instance itself.
        vm_class: (V,) class of each VM, -1 if it cannot be moved.
        cpu: (C,) cores on each of its nodes of a VM of the class; non-increasing among the
            classes on two nodes, which come first, and among the others.
        memory: (C,) MB on each of its nodes.
        doubles: Number of the classes of VMs on two nodes.
        affinity: (C,) anti-affinity set of the class or -1.
        cluster: (C,) cluster that the VMs have to stay in or -1.
        home: (C, P, 2) VMs of each class on each node at the start; those on two nodes are
            counted in column 0.
        capacity_cpu: (P, 2) cores that movable VMs may take.
        capacity_memory: (P, 2) MB that movable VMs may take.
        pinned: (P,) whether a VM that cannot be moved is there.
    """

    instance: Instance
    vm_class: IntArray
    cpu: IntArray
    memory: IntArray
    doubles: int
    affinity: IntArray
    cluster: IntArray
    home: IntArray
    capacity_cpu: IntArray
    capacity_memory: IntArray
    pinned: BoolArray

    @classmethod
    def of(cls, instance: Instance, sets: bool = True) -> Aggregation:
        """Return the classes of an instance.

        Args:
            instance: The instance.
            sets: Whether VMs of different anti-affinity sets are of different classes.
        """
        movable = np.flatnonzero(instance.movable)
        affinity = instance.affinity if sets else np.full(instance.num_vms, -1)
        clusters = instance.cluster[instance.vm_pm]
        cluster = clusters if instance.within_cluster else np.full(instance.num_vms, -1)
        keys = np.stack(
            [
                -instance.vm_numa,
                -instance.vm_share_cpu,
                -instance.vm_share_memory,
                affinity,
                cluster,
            ],
            axis=1,
        )
        classes, index = _unique_rows(keys[movable])
        vm_class = np.full(instance.num_vms, -1)
        vm_class[movable] = index
        home = np.zeros((len(classes), instance.num_pms, 2), np.int64)
        np.add.at(home, (index, instance.vm_pm[movable], instance.vm_node[movable] % 2), 1)
        doubles = int((classes[:, 0] == -2).sum())
        cpu, memory = -classes[:, 1], -classes[:, 2]
        pinned = np.zeros(instance.num_pms, np.bool_)
        pinned[instance.vm_pm[~instance.movable]] = True
        return cls(
            instance,
            vm_class,
            cpu,
            memory,
            doubles,
            classes[:, 3],
            classes[:, 4],
            home,
            instance.free_cpu + _taken(home, cpu, doubles),
            instance.free_memory + _taken(home, memory, doubles),
            pinned,
        )

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.cpu)

    @cached_property
    def totals(self) -> IntArray:
        """(C,) number of VMs of each class."""
        return self.home.sum(axis=(1, 2))

    @cached_property
    def allowed(self) -> BoolArray:
        """(C, P) whether VMs of a class may be on a PM at all."""
        cluster = self.instance.cluster[None, :]
        return (self.cluster[:, None] < 0) | (self.cluster[:, None] == cluster)

    def free(self, counts: IntArray) -> tuple[IntArray, IntArray]:
        """Return free cores and MB (P, 2) when `counts` (C, P, 2) VMs are on each node."""
        return (
            self.capacity_cpu - _taken(counts, self.cpu, self.doubles),
            self.capacity_memory - _taken(counts, self.memory, self.doubles),
        )


def _unique_rows(rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct rows in ascending order and the number of each row among them."""
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    index = np.empty(len(rows), np.int64)
    index[order] = np.cumsum(new) - 1
    return ordered[new], index


def _taken(counts: IntArray, size: IntArray, doubles: int) -> IntArray:
    """Return (P, 2) what the VMs take on each node."""
    both = np.tensordot(size[:doubles], counts[:doubles, :, 0], axes=1)
    return np.tensordot(size[doubles:], counts[doubles:], axes=1) + both[:, None]


class Measure(NamedTuple):
    """An objective as a value to maximise: a weighted number of slots and of empty PMs.

    objective = constant - unit * value. If `integral`, every value is an integer, so that bounds
    can be rounded.

    Attributes:
        coefficient: (T,) value of one slot of each term.
        memory: (T,) whether the slots are of memory.
        chunk: (T,) size of a slot on one node.
        double: (T,) whether a slot takes a chunk on both nodes of a PM.
        empty: Value of an empty PM.
        unit: What one unit of value is worth.
        constant: Objective at value 0.
        integral: Whether every value is an integer.
    """

    coefficient: npt.NDArray[np.float64]
    memory: BoolArray
    chunk: IntArray
    double: BoolArray
    empty: float
    unit: float
    constant: float
    integral: bool

    @classmethod
    def of(cls, instance: Instance) -> Measure:
        """Return the measure of an instance's objective; that of its rates for kind ``goal``."""
        free = {"cpu": instance.free_cpu.sum(), "memory": instance.free_memory.sum()}
        terms = [term for term in instance.objective.terms if free[term.resource]]
        weights = [Fraction(t.weight).limit_denominator(_MAX_DENOMINATOR) for t in terms]
        worth = [w * t.chunk / int(free[t.resource]) for w, t in zip(weights, terms, strict=True)]
        machines = instance.objective.kind == "empty_pms"
        every = [*worth, Fraction(1)] if machines else worth
        exact = all(float(w) == t.weight for w, t in zip(weights, terms, strict=True))
        unit = _common_unit(every)
        integral = exact and unit >= _FINEST_UNIT * max(every, default=Fraction(1))
        if not integral:
            unit = max(every)
        return cls(
            np.array([float(w / unit) for w in worth]),
            np.array([t.resource == "memory" for t in terms], np.bool_),
            np.array([t.chunk // (2 if t.double else 1) for t in terms], np.int64),
            np.array([t.double for t in terms], np.bool_),
            float(1 / unit) if machines else 0.0,
            float(unit),
            float(sum(weights)) + (instance.num_pms if machines else 0),
            integral,
        )

    def value(self, aggregation: Aggregation, counts: IntArray) -> float:
        """Return the value when `counts` (C, P, 2) VMs are on each node."""
        cpu, memory = aggregation.free(counts)
        total = 0.0
        for coefficient, is_memory, chunk, double in zip(
            self.coefficient, self.memory, self.chunk, self.double, strict=True
        ):
            slots = (memory if is_memory else cpu) // chunk
            total += coefficient * (slots.min(axis=1) if double else slots).sum()
        empty = ~counts.any(axis=(0, 2)) & ~aggregation.pinned
        return float(total + self.empty * empty.sum())


def _common_unit(values: list[Fraction]) -> Fraction:
    """Return the largest fraction of which all values are multiples; 1 if there are none."""
    if not values:
        return Fraction(1)
    denominator = lcm(*(value.denominator for value in values))
    return Fraction(gcd(*(int(value * denominator) for value in values)), denominator)
