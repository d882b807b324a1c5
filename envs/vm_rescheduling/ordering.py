"""From a placement to migrations that can be carried out one after the other.

A placement says how many VMs of each class are on each node, not which. Which one leaves, and
where it goes, is chosen here so that there is room at every moment and no two VMs of an
anti-affinity set meet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.vm_rescheduling.aggregation import Aggregation

__all__ = ["order_moves"]

IntArray = npt.NDArray[np.int64]
Place = tuple[int, int]
Move = tuple[int, Place, Place]

_ATTEMPTS = 30
_SEED = 0
_DETOURS = 20


def order_moves(
    aggregation: Aggregation, counts: IntArray, migration_limit: int
) -> tuple[IntArray, bool]:
    """Return executable migrations that lead to a placement.

    Args:
        aggregation: The VMs by class.
        counts: (C, P, 2) VMs wanted of each class on each node.
        migration_limit: Most migrations.

    Returns:
        (n, 3) rows [vm, pm, node], and whether they reach the placement. If they do not, they
        are the longest sequence found towards it.
    """
    rng = np.random.default_rng(_SEED)
    longest: list[tuple[int, int, int]] = []
    for attempt in range(_ATTEMPTS):
        walk = _Walk(aggregation, counts, migration_limit, rng if attempt else None)
        if walk.run():
            return _array(walk.moves), True
        if len(walk.moves) > len(longest):
            longest = walk.moves
    return _array(longest), False


def _array(moves: list[tuple[int, int, int]]) -> IntArray:
    return np.array(moves, np.int64).reshape(-1, 3)


class _Walk:
    """One attempt: migrations are made as long as one is possible."""

    def __init__(
        self,
        aggregation: Aggregation,
        counts: IntArray,
        limit: int,
        rng: np.random.Generator | None,
    ) -> None:
        self.aggregation = aggregation
        self.instance = aggregation.instance
        self.limit = limit
        self.rng = rng
        self.share_cpu = aggregation.cpu.tolist()
        self.share_memory = aggregation.memory.tolist()
        self.cpu = self.instance.free_cpu.tolist()
        self.memory = self.instance.free_memory.tolist()
        self.vm_pm = self.instance.vm_pm.copy()
        self.moves: list[tuple[int, int, int]] = []
        self.surplus: dict[int, dict[Place, int]] = defaultdict(dict)
        self.deficit: dict[int, dict[Place, int]] = defaultdict(dict)
        for c, pm, node in np.argwhere(aggregation.home != counts).tolist():
            excess = int(aggregation.home[c, pm, node] - counts[c, pm, node])
            side = self.surplus if excess > 0 else self.deficit
            side[c][pm, node] = abs(excess)
        self.awaited = Counter(place[0] for places in self.deficit.values() for place in places)
        self.missing = sum(sum(places.values()) for places in self.deficit.values())
        self.vms = self._vms_at_surplus()
        self.members = _members(self.instance.affinity)

    def _vms_at_surplus(self) -> dict[int, dict[Place, list[int]]]:
        """Return the VMs of the classes and places that some have to leave."""
        vms: dict[int, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
        node = self.instance.vm_node % 2
        for vm in np.flatnonzero(np.isin(self.aggregation.vm_class, list(self.surplus))).tolist():
            place = int(self.vm_pm[vm]), int(node[vm])
            vms[int(self.aggregation.vm_class[vm])][place].append(vm)
        return vms

    def run(self) -> bool:
        """Make migrations until the placement is reached; return whether it is."""
        while self.missing:
            if len(self.moves) + self.missing > self.limit:
                return False
            move = self._choose(self._arrivals()) or self._choose(self._detours())
            if move is None:
                return False
            self._make(*move)
        return True

    def _arrivals(self) -> Iterator[Move]:
        """Yield (vm, source, destination) of the migrations that are possible and wanted."""
        for c, places in self.deficit.items():
            for destination in places:
                if self._fits(c, destination):
                    for source in self.surplus[c]:
                        yield from self._any_vm(c, source, destination)

    def _detours(self) -> Iterator[Move]:
        """Yield migrations to places where the VM cannot stay; they cost a second one."""
        if len(self.moves) + self.missing + 1 > self.limit:
            return
        for c, places in self.surplus.items():
            nodes = range(1 if c < self.aggregation.doubles else 2)
            allowed = np.flatnonzero(self.aggregation.allowed[c]).tolist()
            room = [(pm, node) for pm in allowed for node in nodes if self._fits(c, (pm, node))]
            for source in places:
                if self.awaited[source[0]]:
                    for destination in room[:_DETOURS]:
                        if destination != source:
                            yield from self._any_vm(c, source, destination)

    def _nodes(self, c: int, place: Place) -> tuple[int, ...]:
        """Return the nodes that a VM of a class takes at a place."""
        return (0, 1) if c < self.aggregation.doubles else (place[1],)

    def _fits(self, c: int, place: Place) -> bool:
        cpu, memory = self.cpu[place[0]], self.memory[place[0]]
        return all(
            cpu[node] >= self.share_cpu[c] and memory[node] >= self.share_memory[c]
            for node in self._nodes(c, place)
        )

    def _any_vm(self, c: int, source: Place, destination: Place) -> Iterator[Move]:
        """Yield the first VM of the source that meets no other of its set at the destination."""
        for vm in self.vms[c][source]:
            if not self._meets(vm, source[0], destination[0]):
                yield vm, source, destination
                return

    def _meets(self, vm: int, source: int, destination: int) -> bool:
        number = int(self.instance.affinity[vm])
        if number < 0 or source == destination:
            return False
        level = np.arange(self.instance.num_pms)
        if self.instance.affinity_rack[number]:
            level = self.instance.rack
            if level[source] == level[destination]:
                return False
        others = [other for other in self.members[number] if other != vm]
        return bool((level[self.vm_pm[others]] == level[destination]).any())

    def _choose(self, moves: Iterator[Move]) -> Move | None:
        """Return the first migration that makes room where VMs are to arrive, or else any."""
        if self.rng is not None:
            found = list(moves)
            return found[int(self.rng.integers(len(found)))] if found else None
        other = None
        for move in moves:
            if self.awaited[move[1][0]] > (move[1][0] == move[2][0]):
                return move
            other = other or move
        return other

    def _make(self, vm: int, source: Place, destination: Place) -> None:
        c = int(self.aggregation.vm_class[vm])
        for place, sign in ((source, 1), (destination, -1)):
            for node in self._nodes(c, place):
                self.cpu[place[0]][node] += sign * self.share_cpu[c]
                self.memory[place[0]][node] += sign * self.share_memory[c]
        self.vms[c][source].remove(vm)
        self.vms[c][destination].append(vm)
        self.vm_pm[vm] = destination[0]
        _decrease(self.surplus[c], source)
        if destination in self.deficit[c]:
            self.missing -= 1
            if _decrease(self.deficit[c], destination):
                self.awaited[destination[0]] -= 1
        else:
            self.surplus[c][destination] = self.surplus[c].get(destination, 0) + 1
        node = 2 if c < self.aggregation.doubles else destination[1]
        self.moves.append((vm, destination[0], node))


def _decrease(places: dict[Place, int], place: Place) -> bool:
    """Take one from a place; return whether that was the last."""
    places[place] -= 1
    if places[place]:
        return False
    del places[place]
    return True


def _members(affinity: IntArray) -> dict[int, list[int]]:
    """Return the VMs of each anti-affinity set."""
    members: dict[int, list[int]] = defaultdict(list)
    for vm in np.flatnonzero(affinity >= 0).tolist():
        members[int(affinity[vm])].append(vm)
    return members
