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


class Pricer:
    """Finds machine contents of high reduced value.

    The reduced value of contents is ``value_price * value + departure_price * departures + sum
    of class_price * count + pm_price``.

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

    def best(
        self, class_price: Array, departure_price: float, value_price: float
    ) -> tuple[Columns, Array]:
        """Return for each PM the best contents, and their reduced value less the PM's price."""
        pms, classes = self.aggregation.instance.num_pms, self.aggregation.num_classes
        counts = np.zeros((pms, classes, 2), np.int64)
        reduced = np.empty(pms)
        _best(self.knapsacks, class_price, departure_price, value_price, counts, reduced)
        return self._columns(np.arange(pms), counts), reduced

    def near(
        self,
        class_price: Array,
        departure_price: float,
        value_price: float,
        least: Array,
        most: int,
    ) -> Columns | None:
        """Return all contents of reduced value of at least `least` (P,), the PM's price left out.

        None if there are more than `most`.
        """
        classes = self.aggregation.num_classes
        counts = np.zeros((min(most, 4096), classes, 2), np.int16)
        pm = np.zeros(len(counts), np.int64)
        prices = (class_price, departure_price, value_price)
        while True:
            found = _near(self.knapsacks, *prices, least, pm, counts)
            if found <= len(counts):
                break
            if len(counts) == most:
                return None
            size = min(most, 8 * len(counts))
            counts, pm = np.zeros((size, classes, 2), np.int16), np.zeros(size, np.int64)
        return self._columns(pm[:found], counts[:found].astype(np.int64))

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


@njit(cache=True)
def _worth(price, departure_price, home, count):
    """Value of `count` VMs of a class at a place where `home` of them are at the start."""
    return price * count + departure_price * max(0, home - count)


@njit(cache=True)
def _most(knapsacks, pm, c, i, j):
    """Most VMs of a class for which (i, j) units suffice."""
    most = min(knapsacks.most[c, pm], i // knapsacks.cpu_size[c])
    if knapsacks.memory_size[c] > 0:
        most = min(most, j // knapsacks.memory_size[c])
    return most


@njit(cache=True)
def _fill_node(knapsacks, pm, node, level, class_price, departure_price, value_price, table):
    """Fill table[c, i, j]: best value with (i, j) units left for the classes from c on."""
    classes = len(class_price)
    rooms = knapsacks.cpu_room[pm, node] + 1, knapsacks.memory_room[pm, node] + 1
    both = knapsacks.level_worth[level] if node == 1 else 0.0
    for i in range(rooms[0]):
        for j in range(rooms[1]):
            worth = knapsacks.slot_worth[pm, node, level, i, j]
            table[classes, i, j] = worth if worth == _NEVER else value_price * (worth + both)
    for c in range(classes - 1, knapsacks.doubles - 1, -1):
        home = knapsacks.home[c, pm, node]
        di, dj = knapsacks.cpu_size[c], knapsacks.memory_size[c]
        for i in range(rooms[0]):
            for j in range(rooms[1]):
                best = _NEVER
                for count in range(_most(knapsacks, pm, c, i, j) + 1):
                    value = table[c + 1, i - count * di, j - count * dj]
                    value += _worth(class_price[c], departure_price, home, count)
                    best = max(best, value)
                table[c, i, j] = best


@njit(cache=True)
def _fill(knapsacks, pm, level, class_price, departure_price, value_price, nodes, both):
    """Fill the tables of the nodes and both[c, i, j]: best value with (i, j) units taken so far.

    The latter is for the classes on two nodes from c on and what the nodes make of the rest.
    """
    for node in range(2):
        prices = (class_price, departure_price, value_price)
        _fill_node(knapsacks, pm, node, level, *prices, nodes[node])
    doubles = knapsacks.doubles
    room_i, room_j = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    most_i, most_j = room_i.min(), room_j.min()
    for i in range(most_i + 1):
        for j in range(most_j + 1):
            both[doubles, i, j] = 0.0
            for node in range(2):
                both[doubles, i, j] += nodes[node, doubles, room_i[node] - i, room_j[node] - j]
    for c in range(doubles - 1, -1, -1):
        home = knapsacks.home[c, pm, 0]
        di, dj = knapsacks.cpu_size[c], knapsacks.memory_size[c]
        for i in range(most_i + 1):
            for j in range(most_j + 1):
                best = _NEVER
                for count in range(_most(knapsacks, pm, c, most_i - i, most_j - j) + 1):
                    value = both[c + 1, i + count * di, j + count * dj]
                    value += _worth(class_price[c], departure_price, home, count)
                    best = max(best, value)
                both[c, i, j] = best


@njit(cache=True)
def _emptied(knapsacks, pm, departure_price, value_price):
    """Reduced value of a PM that all VMs leave; of no use if that is worth nothing."""
    if knapsacks.empty_worth == 0.0 or knapsacks.pinned[pm]:
        return _NEVER
    best = _NEVER
    i, j = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    for level in range(len(knapsacks.level_worth)):
        value = knapsacks.level_worth[level]
        for node in range(2):
            value += knapsacks.slot_worth[pm, node, level, i[node], j[node]]
        best = max(best, value)
    departures = knapsacks.home[:, pm].sum()
    return value_price * (best + knapsacks.empty_worth) + departure_price * departures


@njit(cache=True)
def _trace(knapsacks, pm, class_price, departure_price, nodes, both, counts):
    """Write the contents that the tables call best into counts (C, 2)."""
    i, j = 0, 0
    most_i, most_j = knapsacks.cpu_room[pm].min(), knapsacks.memory_room[pm].min()
    for c in range(knapsacks.doubles):
        home = knapsacks.home[c, pm, 0]
        di, dj = knapsacks.cpu_size[c], knapsacks.memory_size[c]
        chosen, best = 0, _NEVER
        for count in range(_most(knapsacks, pm, c, most_i - i, most_j - j) + 1):
            value = both[c + 1, i + count * di, j + count * dj]
            value += _worth(class_price[c], departure_price, home, count)
            if value > best:
                chosen, best = count, value
        counts[c, 0] = chosen
        i, j = i + chosen * di, j + chosen * dj
    for node in range(2):
        left_i = knapsacks.cpu_room[pm, node] - i
        left_j = knapsacks.memory_room[pm, node] - j
        for c in range(knapsacks.doubles, len(class_price)):
            home = knapsacks.home[c, pm, node]
            di, dj = knapsacks.cpu_size[c], knapsacks.memory_size[c]
            chosen, best = 0, _NEVER
            for count in range(_most(knapsacks, pm, c, left_i, left_j) + 1):
                value = nodes[node, c + 1, left_i - count * di, left_j - count * dj]
                value += _worth(class_price[c], departure_price, home, count)
                if value > best:
                    chosen, best = count, value
            counts[c, node] = chosen
            left_i, left_j = left_i - chosen * di, left_j - chosen * dj


@njit(cache=True)
def _tables(knapsacks, classes):
    """Return empty tables for one PM."""
    rooms = knapsacks.slot_worth.shape[3:]
    nodes = np.empty((2, classes + 1, rooms[0], rooms[1]))
    return nodes, np.empty((knapsacks.doubles + 1, rooms[0], rooms[1]))


@njit(cache=True)
def _best(knapsacks, class_price, departure_price, value_price, counts, reduced):
    """Write the best contents of each PM into counts (P, C, 2) and their value into reduced."""
    nodes, both = _tables(knapsacks, len(class_price))
    for pm in range(len(reduced)):
        reduced[pm] = _emptied(knapsacks, pm, departure_price, value_price)
        counts[pm] = 0
        for level in range(len(knapsacks.level_worth)):
            _fill(knapsacks, pm, level, class_price, departure_price, value_price, nodes, both)
            if both[0, 0, 0] > reduced[pm]:
                reduced[pm] = both[0, 0, 0]
                _trace(knapsacks, pm, class_price, departure_price, nodes, both, counts[pm])


@njit(cache=True)
def _near(knapsacks, class_price, departure_price, value_price, least, pms, counts):
    """Write all contents of value >= least (P,) into pms and counts; return how many there are.

    Once the arrays are full, they are only counted. Contents that belong to several levels are
    written several times.
    """
    classes = len(class_price)
    doubles = knapsacks.doubles
    nodes, both = _tables(knapsacks, classes)
    stages = doubles + 2 * (classes - doubles)
    count = np.empty(stages, np.int64)
    i, j = np.empty(stages + 1, np.int64), np.empty(stages + 1, np.int64)
    value = np.empty(stages + 1)
    found = 0
    for pm in range(len(least)):
        if _emptied(knapsacks, pm, departure_price, value_price) >= least[pm]:
            if found < len(pms):
                pms[found] = pm
                counts[found] = 0
            found += 1
        for level in range(len(knapsacks.level_worth)):
            _fill(knapsacks, pm, level, class_price, departure_price, value_price, nodes, both)
            found = _enumerate(
                knapsacks, pm, class_price, departure_price, nodes, both, least[pm],
                pms, counts, found, count, i, j, value,
            )  # fmt: skip
    return found


@njit(cache=True)
def _enumerate(
    knapsacks, pm, class_price, departure_price, nodes, both, least,
    pms, counts, found, count, i, j, value,
):  # fmt: skip
    """Depth-first search over the stages, cut off where the tables promise too little."""
    classes, doubles = len(class_price), knapsacks.doubles
    singles = classes - doubles
    stages = doubles + 2 * singles
    cpu_room, memory_room = knapsacks.cpu_room[pm], knapsacks.memory_room[pm]
    # (i, j): units taken while classes on two nodes are fixed, units left of the node after that.
    taken_i, taken_j = 0, 0
    stage, value[0], i[0], j[0] = 0, 0.0, 0, 0
    count[:] = -1
    if both[0, 0, 0] < least:
        return found
    if doubles == 0:
        i[0], j[0] = cpu_room[0], memory_room[0]
    while stage >= 0:
        if stage == stages:
            if found < len(pms):
                pms[found] = pm
                counts[found] = 0
                for s in range(doubles):
                    counts[found, s, 0] = count[s]
                for s in range(2 * singles):
                    counts[found, doubles + s % singles, s // singles] = count[doubles + s]
            found += 1
            stage -= 1
            continue
        count[stage] += 1
        if stage < doubles:
            c = stage
            node = 0
            most = _most(knapsacks, pm, c, cpu_room.min() - i[stage], memory_room.min() - j[stage])
        else:
            c = doubles + (stage - doubles) % singles
            node = (stage - doubles) // singles
            most = _most(knapsacks, pm, c, i[stage], j[stage])
        if count[stage] > most:
            count[stage] = -1
            stage -= 1
            continue
        home = knapsacks.home[c, pm, node]
        after = value[stage] + _worth(class_price[c], departure_price, home, count[stage])
        di = count[stage] * knapsacks.cpu_size[c]
        dj = count[stage] * knapsacks.memory_size[c]
        if stage < doubles:
            next_i, next_j = i[stage] + di, j[stage] + dj
            promise = both[c + 1, next_i, next_j]
            if stage == doubles - 1:
                taken_i, taken_j = next_i, next_j
                next_i, next_j = cpu_room[0] - taken_i, memory_room[0] - taken_j
        else:
            next_i, next_j = i[stage] - di, j[stage] - dj
            promise = nodes[node, c + 1, next_i, next_j]
            if node == 0:
                rest_i, rest_j = cpu_room[1] - taken_i, memory_room[1] - taken_j
                promise += nodes[1, doubles, rest_i, rest_j]
        if after + promise >= least:
            if stage == stages - singles - 1 and singles > 0:
                after += nodes[0, classes, next_i, next_j]
                next_i, next_j = cpu_room[1] - taken_i, memory_room[1] - taken_j
            value[stage + 1] = after
            i[stage + 1], j[stage + 1] = next_i, next_j
            stage += 1
    return found
