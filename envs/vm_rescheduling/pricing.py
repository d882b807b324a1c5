"""Best contents of single machines under prices: the pricing problem of column generation.

The contents of a PM are fixed stage by stage: the number of VMs of each class on two nodes, then
of each class on node 0, then on node 1. Once the room that the first take is known, the nodes are
independent knapsacks, so that tables over the room left give the best contents exactly and tell
during an enumeration which branches can still be good enough.
"""

from __future__ import annotations

from math import gcd
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.aggregation import Aggregation, Measure

__all__ = ["Columns", "Pricer"]

Array = npt.NDArray[Any]

_MAX_STATES = 20_000
_NEVER = -1e30


class Knapsacks(NamedTuple):
    """The machines as the kernels see them; rooms are in units of `cpu_unit` and `memory_unit`."""

    cpu_size: Array  # (C,) units on a node
    memory_size: Array  # (C,)
    doubles: int
    most: Array  # (C, P) most VMs of a class on a node
    home: Array  # (C, P, 2)
    cpu_room: Array  # (P, 2)
    memory_room: Array  # (P, 2)
    pinned: Array  # (P,)
    slot_worth: Array  # (P, 2, L, I, J) value of a node with (i, j) units left
    level_worth: Array  # (L,) value of two nodes that both reach a level
    empty_worth: float


class Prices(NamedTuple):
    """The reduced value of contents is what their slots, departures and VMs are worth together.

    Attributes:
        of_class: (C,) of one VM of each class.
        departure: Of one VM that has to leave, <= 0.
        value: Of one unit of value, >= 0.
    """

    of_class: Array
    departure: float
    value: float


class Columns(NamedTuple):
    """Possible contents of machines.

    Attributes:
        pm: (n,) the PM.
        counts: (n, C, 2) VMs of each class on each node; those on two nodes in column 0.
        value: (n,) value of the slots left.
        departures: (n,) VMs that have to leave.
    """

    pm: Array
    counts: Array
    value: Array
    departures: Array

    @property
    def total(self) -> float:
        """Sum of the values."""
        return float(self.value.sum())

    def take(self, index: Array | slice) -> Columns:
        """Return some of the columns."""
        return Columns(*(field[index] for field in self))

    def joined(self, other: Columns) -> Columns:
        """Return these and other columns."""
        return Columns(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


class Pricer:
    """Finds machine contents of high reduced value.

    Args:
        aggregation: The VMs by class.
        measure: The value of what is left free.

    Raises:
        ParameterError: The tables would be too large, or two terms ask for both nodes.
    """

    def __init__(self, aggregation: Aggregation, measure: Measure) -> None:
        self.aggregation = aggregation
        self.measure = measure
        cpu_unit = _unit(aggregation.cpu)
        memory_unit = _unit(aggregation.memory) if _memory_matters(aggregation, measure) else 0
        cpu_room = aggregation.capacity_cpu // cpu_unit
        memory_room = aggregation.capacity_memory // memory_unit if memory_unit else 0 * cpu_room
        states = (int(cpu_room.max()) + 1) * (int(memory_room.max()) + 1)
        if states > _MAX_STATES:
            raise ParameterError(
                f"{aggregation.instance.name}: found nodes of {states} distinguishable rooms, "
                f"expected at most {_MAX_STATES}"
            )
        memory_size = aggregation.memory // memory_unit if memory_unit else 0 * aggregation.memory
        worth, levels = _slot_worth(aggregation, measure, cpu_unit, memory_unit)
        self.knapsacks = Knapsacks(
            aggregation.cpu // cpu_unit,
            memory_size,
            aggregation.doubles,
            np.where(aggregation.allowed, aggregation.totals[:, None], 0),
            aggregation.home,
            cpu_room,
            memory_room,
            aggregation.pinned,
            worth,
            levels,
            measure.empty,
        )

    def initial(self) -> Columns:
        """Return the contents of every PM at the start."""
        home = self.aggregation.home.transpose(1, 0, 2)
        return self._columns(np.arange(len(home)), home)

    def best(self, prices: Prices) -> tuple[Columns, Array]:
        """Return for each PM the best contents and their reduced value."""
        pms, classes = self.aggregation.instance.num_pms, self.aggregation.num_classes
        counts = np.zeros((pms, classes, 2), np.int64)
        reduced = np.empty(pms)
        _best(self.knapsacks, prices, counts, reduced)
        return self._columns(np.arange(pms), counts), reduced

    def near(self, prices: Prices, least: Array, most: int) -> Columns | None:
        """Return all contents of reduced value of at least `least` (P,); None if over `most`."""
        size = 256
        while size < most:
            size = min(most, 8 * size)
            pm = np.zeros(size, np.int64)
            counts = np.zeros((size, self.aggregation.num_classes, 2), np.int16)
            found = _near(self.knapsacks, prices, least, pm, counts)
            if found <= size:
                return self._columns(pm[:found], counts[:found].astype(np.int64))
        return None

    def _columns(self, pm: Array, counts: Array) -> Columns:
        value = _values(self.aggregation, self.measure, pm, counts)
        home = self.aggregation.home.transpose(1, 0, 2)[pm]
        return Columns(pm, counts, value, np.maximum(home - counts, 0).sum(axis=(1, 2)))


def _unit(sizes: Array) -> int:
    return max(gcd(*sizes.tolist()), 1)


def _memory_matters(aggregation: Aggregation, measure: Measure) -> bool:
    """Whether memory counts in the value or VMs that have the cores may lack the memory."""
    if measure.memory.any():
        return True
    ratio = (aggregation.memory / aggregation.cpu).max(initial=0.0)
    return bool((aggregation.capacity_memory < ratio * aggregation.capacity_cpu).any())


def _slot_worth(
    aggregation: Aggregation, measure: Measure, cpu_unit: int, memory_unit: int
) -> tuple[Array, Array]:
    """Return the value (P, 2, L, I, J) of a node by what is left, and (L,) that of both nodes.

    A slot on two nodes is counted by levels: a node is in level l only if it has room for l.
    """
    cpu = _left(aggregation.capacity_cpu, cpu_unit)[:, :, :, None]
    memory = _left(aggregation.capacity_memory, memory_unit)[:, :, None, :]
    worth = np.zeros((*cpu.shape[:3], memory.shape[3]))
    reach, level_worth = np.zeros(worth.shape, np.int64), 0.0
    for coefficient, is_memory, chunk, double in zip(
        measure.coefficient, measure.memory, measure.chunk, measure.double, strict=True
    ):
        slots = (memory if is_memory else cpu) // chunk
        if not double:
            worth += coefficient * slots
        elif level_worth:
            raise ParameterError("objective: found two terms for both nodes, expected at most one")
        else:
            reach, level_worth = reach + slots, float(coefficient)
    levels = np.arange(reach.max(initial=0) + 1)
    fits = reach[:, :, None] >= levels[:, None, None]
    return np.where(fits, worth[:, :, None], _NEVER), level_worth * levels


def _left(capacity: Array, unit: int) -> Array:
    """Return (P, 2, I) what is left of a node when i units are left."""
    if not unit:
        return capacity[:, :, None]
    units = np.arange(int(capacity.max()) // unit + 1)
    return (capacity % unit)[:, :, None] + unit * units


def _values(aggregation: Aggregation, measure: Measure, pm: Array, counts: Array) -> Array:
    """Return (n,) the values of contents (n, C, 2)."""
    doubles = aggregation.doubles
    total = np.zeros(len(pm))
    left = {}
    for is_memory, size, capacity in (
        (False, aggregation.cpu, aggregation.capacity_cpu),
        (True, aggregation.memory, aggregation.capacity_memory),
    ):
        both = counts[:, :doubles, 0] @ size[:doubles]
        taken = np.einsum("nck,c->nk", counts[:, doubles:], size[doubles:]) + both[:, None]
        left[is_memory] = capacity[pm] - taken
    for coefficient, is_memory, chunk, double in zip(
        measure.coefficient, measure.memory, measure.chunk, measure.double, strict=True
    ):
        slots = left[bool(is_memory)] // chunk
        total += coefficient * (slots.min(axis=1) if double else slots.sum(axis=1))
    if measure.empty:
        total += measure.empty * (~counts.any(axis=(1, 2)) & ~aggregation.pinned[pm])
    return total


class _Tables(NamedTuple):
    """Best values for one PM under given prices.

    Stages are: each class on two nodes, each other class on node 0, each other class on node 1.
    """

    worth: Array  # (stages, n) what 0, 1, ... VMs are worth by themselves
    most: Array  # (stages,) largest number of VMs
    nodes: Array  # (2, C + 1, I, J) from class c on with (i, j) units left of the node
    both: Array  # (doubles + 1, I, J) from class c on with (i, j) units left of the smaller node


@njit(cache=True)
def _tables(knapsacks: Knapsacks) -> _Tables:
    """Return empty tables."""
    classes, doubles = len(knapsacks.cpu_size), knapsacks.doubles
    i, j = knapsacks.slot_worth.shape[3:]
    stages = 2 * classes - doubles
    return _Tables(
        np.empty((stages, knapsacks.cpu_room.max() + 1)),
        np.empty(stages, np.int64),
        np.empty((2, classes + 1, i, j)),
        np.empty((doubles + 1, i, j)),
    )


@njit(cache=True)
def _stage(knapsacks: Knapsacks, stage: int) -> tuple[int, int]:
    """Return class and node of a stage; node 0 stands for both, too."""
    singles = len(knapsacks.cpu_size) - knapsacks.doubles
    if stage < knapsacks.doubles + singles:
        return stage, 0
    return stage - singles, 1


@njit(cache=True)
def _fill_worth(knapsacks: Knapsacks, pm: int, prices: Prices, tables: _Tables) -> None:
    for stage in range(len(tables.most)):
        c, node = _stage(knapsacks, stage)
        home = knapsacks.home[c, pm, node]
        most = min(knapsacks.most[c, pm], knapsacks.cpu_room[pm, node] // knapsacks.cpu_size[c])
        tables.most[stage] = most
        for count in range(most + 1):
            leaving = max(0, home - count)
            tables.worth[stage, count] = prices.of_class[c] * count + prices.departure * leaving


@njit(cache=True)
def _add_class(
    before: Array, after: Array, room: tuple[int, int], size: tuple[int, int],
    worth: Array, most: int,
) -> None:  # fmt: skip
    """Fill before[i, j], the best value with (i, j) units left, from after, that without a class.

    Each of its VMs, `most` of them, takes `size` units; n of them are worth worth[n].
    """
    for i in range(room[0] + 1):
        for j in range(room[1] + 1):
            best = after[i, j] + worth[0]
            left_i, left_j = i - size[0], j - size[1]
            count = 1
            while count <= most and left_i >= 0 and left_j >= 0:
                best = max(best, after[left_i, left_j] + worth[count])
                left_i, left_j = left_i - size[0], left_j - size[1]
                count += 1
            before[i, j] = best


@njit(cache=True)
def _fill(knapsacks: Knapsacks, pm: int, level: int, prices: Prices, tables: _Tables) -> None:
    """Fill the tables; a slot on two nodes counts as of a level that both have to reach."""
    classes, doubles = len(knapsacks.cpu_size), knapsacks.doubles
    cpu, memory = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    for node in range(2):
        table = tables.nodes[node]
        bonus = knapsacks.level_worth[level] if node == 1 else 0.0
        for i in range(cpu[node] + 1):
            for j in range(memory[node] + 1):
                slots = knapsacks.slot_worth[pm, node, level, i, j]
                table[classes, i, j] = slots if slots == _NEVER else prices.value * (slots + bonus)
        for c in range(classes - 1, doubles - 1, -1):
            stage = c + node * (classes - doubles)
            room, size = (
                (cpu[node], memory[node]),
                (knapsacks.cpu_size[c], knapsacks.memory_size[c]),
            )
            worth, most = tables.worth[stage], tables.most[stage]
            _add_class(table[c], table[c + 1], room, size, worth, most)
    room = (cpu.min(), memory.min())
    for i in range(room[0] + 1):
        for j in range(room[1] + 1):
            tables.both[doubles, i, j] = (
                tables.nodes[0, doubles, cpu[0] - room[0] + i, memory[0] - room[1] + j]
                + tables.nodes[1, doubles, cpu[1] - room[0] + i, memory[1] - room[1] + j]
            )
    for c in range(doubles - 1, -1, -1):
        size = (knapsacks.cpu_size[c], knapsacks.memory_size[c])
        worth, most = tables.worth[c], tables.most[c]
        _add_class(tables.both[c], tables.both[c + 1], room, size, worth, most)


@njit(cache=True)
def _emptied(knapsacks: Knapsacks, pm: int, prices: Prices) -> float:
    """Return the reduced value of a PM that all VMs leave; of no use if that is worth nothing."""
    if knapsacks.empty_worth == 0.0 or knapsacks.pinned[pm]:
        return _NEVER
    best = _NEVER
    i, j = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    for level in range(len(knapsacks.level_worth)):
        slots = knapsacks.level_worth[level]
        for node in range(2):
            slots += knapsacks.slot_worth[pm, node, level, i[node], j[node]]
        best = max(best, slots)
    departures = knapsacks.home[:, pm].sum()
    return prices.value * (best + knapsacks.empty_worth) + prices.departure * departures


@njit(cache=True)
def _trace(knapsacks: Knapsacks, pm: int, tables: _Tables, counts: Array) -> None:
    """Write the contents that the tables call best into counts (C, 2)."""
    cpu, memory = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    doubles = knapsacks.doubles
    i, j = cpu.min(), memory.min()
    taken_i, taken_j = i, j
    for stage in range(len(tables.most)):
        c, node = _stage(knapsacks, stage)
        if c == doubles and stage >= doubles:
            if node == 0:
                taken_i, taken_j = taken_i - i, taken_j - j
            i, j = cpu[node] - taken_i, memory[node] - taken_j
        table = tables.both[c + 1] if stage < doubles else tables.nodes[node, c + 1]
        di, dj = knapsacks.cpu_size[c], knapsacks.memory_size[c]
        chosen, best = 0, _NEVER
        for count in range(tables.most[stage] + 1):
            if count * di > i or count * dj > j:
                break
            value = table[i - count * di, j - count * dj] + tables.worth[stage, count]
            if value > best:
                chosen, best = count, value
        counts[c, node] = chosen
        i, j = i - chosen * di, j - chosen * dj


@njit(cache=True)
def _best(knapsacks: Knapsacks, prices: Prices, counts: Array, reduced: Array) -> None:
    """Write the best contents of each PM into counts (P, C, 2) and their value into reduced."""
    tables = _tables(knapsacks)
    for pm in range(len(reduced)):
        reduced[pm] = _emptied(knapsacks, pm, prices)
        counts[pm] = 0
        _fill_worth(knapsacks, pm, prices, tables)
        for level in range(len(knapsacks.level_worth)):
            _fill(knapsacks, pm, level, prices, tables)
            room = knapsacks.cpu_room[pm].min(), knapsacks.memory_room[pm].min()
            if tables.both[0, room[0], room[1]] > reduced[pm]:
                reduced[pm] = tables.both[0, room[0], room[1]]
                _trace(knapsacks, pm, tables, counts[pm])


@njit(cache=True)
def _near(knapsacks: Knapsacks, prices: Prices, least: Array, pms: Array, counts: Array) -> int:
    """Write all contents of value >= least (P,) into pms and counts; return how many there are.

    When the arrays are full, it stops and returns more than they hold. Contents that belong to
    several levels are written several times.
    """
    tables = _tables(knapsacks)
    found = 0
    for pm in range(len(least)):
        if _emptied(knapsacks, pm, prices) >= least[pm] and found < len(pms):
            pms[found], counts[found] = pm, 0
            found += 1
        _fill_worth(knapsacks, pm, prices, tables)
        for level in range(len(knapsacks.level_worth)):
            _fill(knapsacks, pm, level, prices, tables)
            found = _enumerate(knapsacks, pm, tables, least[pm], pms, counts, found)
            if found > len(pms):
                return found
    return found


@njit(cache=True)
def _enumerate(
    knapsacks: Knapsacks, pm: int, tables: _Tables, least: float,
    pms: Array, counts: Array, found: int,
) -> int:  # fmt: skip
    """Depth-first search over the stages, cut off where the tables promise too little."""
    classes, doubles = len(knapsacks.cpu_size), knapsacks.doubles
    stages, last = len(tables.most), classes - 1
    cpu, memory = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    count = np.full(stages, -1)
    i, j, value = (
        np.empty(stages + 1, np.int64),
        np.empty(stages + 1, np.int64),
        np.zeros(stages + 1),
    )
    i[0], j[0] = cpu.min(), memory.min()
    if tables.both[0, i[0], j[0]] < least:
        return found
    if doubles == 0:
        i[0], j[0] = cpu[0], memory[0]
    taken_i, taken_j = 0, 0
    stage = 0
    while stage >= 0:
        if stage == stages:
            if found == len(pms):
                return found + 1
            pms[found], counts[found] = pm, 0
            for s in range(stages):
                c, node = _stage(knapsacks, s)
                counts[found, c, node] = count[s]
            found += 1
            stage -= 1
            continue
        c, node = _stage(knapsacks, stage)
        count[stage] += 1
        next_i = i[stage] - count[stage] * knapsacks.cpu_size[c]
        next_j = j[stage] - count[stage] * knapsacks.memory_size[c]
        if count[stage] > tables.most[stage] or next_i < 0 or next_j < 0:
            count[stage] = -1
            stage -= 1
            continue
        after = value[stage] + tables.worth[stage, count[stage]]
        if stage < doubles:
            promise = tables.both[c + 1, next_i, next_j]
        else:
            promise = tables.nodes[node, c + 1, next_i, next_j]
        if stage == doubles - 1:
            taken_i, taken_j = cpu.min() - next_i, memory.min() - next_j
            next_i, next_j = cpu[0] - taken_i, memory[0] - taken_j
        elif stage >= doubles and node == 0:
            rest_i, rest_j = cpu[1] - taken_i, memory[1] - taken_j
            promise += tables.nodes[1, doubles, rest_i, rest_j]
            if c == last:
                after += tables.nodes[0, classes, next_i, next_j]
                promise -= tables.nodes[0, classes, next_i, next_j]
                next_i, next_j = rest_i, rest_j
        if after + promise >= least:
            value[stage + 1], i[stage + 1], j[stage + 1] = after, next_i, next_j
            stage += 1
    return found
