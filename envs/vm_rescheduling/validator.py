"""Independent check of a migration plan; shares no code with the compiled kernel.

The plan is carried out move by move on integer counts of free cores and MB, which are counted
anew from the VMs. Every fault is reported with the index of its move; a faulty move is left out
and the rest is judged without it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.instance import Instance, Term

__all__ = ["VIOLATION_CODES", "ValidationReport", "Violation", "validate"]

VIOLATION_CODES: Mapping[str, str] = {
    "malformed": "a field is missing or has a type, shape or value that no plan has",
    "unknown_vm": "a move names a VM that does not exist",
    "unknown_pm": "a move names a PM that does not exist",
    "node": "a move names a node that the VM cannot be on: 0 or 1, or 2 for VMs on both nodes",
    "over_committed": "VMs take more than a node has before the first move",
    "migration_limit": "the plan has more moves than the limit",
    "void": "the VM is on that PM and node already",
    "immovable": "the VM may not be migrated",
    "cluster": "the VM would leave its cluster",
    "cpu": "a node of the destination has too few free cores",
    "memory": "a node of the destination has too little free memory",
    "affinity": "the destination, or its rack, has a VM of the same anti-affinity set",
    "claim": "objective, fragment rate or slots reported are not those of the plan",
    "above_bound": "the plan has more slots than a proven bound of the instance allows",
}
"""What each code means."""

_CLAIM_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Violation:
    """One fault of a plan.

    Attributes:
        code: One of `VIOLATION_CODES`.
        message: What was found and what is expected, in words.
        move: Index of the move in the plan, or None.
        vm: VM concerned, or None.
        pm: PM concerned, or None.
    """

    code: str
    message: str
    move: int | None = None
    vm: int | None = None
    pm: int | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation.
        objective: Objective after the moves that could be made; nan if the plan is malformed.
        violations: All faults, in the order of the moves.
        fragment_rate: Fragment rate of the objective's first term; nan if malformed.
        slots: Requests of the objective's first term that fit; 0 if malformed.
        migrations: Number of moves that could be made.
    """

    valid: bool
    objective: float
    violations: list[Violation] = field(default_factory=list)
    fragment_rate: float = math.nan
    slots: int = 0
    migrations: int = 0


class _Malformed(Exception):
    """A field of the plan cannot be read; the message says which and why."""


def validate(instance: Instance, schedule: Mapping[str, Any]) -> ValidationReport:
    """Check a plan against its instance.

    A VM is released before it takes its new place. To demand room for both at once would change
    nothing: the two places are on different nodes, or the move is void.

    Args:
        instance: The cluster, with migration limit and objective.
        schedule: ``moves`` (n, 3), whole numbers: VM, PM and node (0 or 1, 2 for a VM on both
            nodes) in the order of execution; rows of -1 at the end are padding. What is claimed
            of the plan is compared if it is there: ``objective``, ``fragment_rate``, ``slots``.

    Returns:
        The report with all violations. Of a malformed plan only that is reported.

    Raises:
        ParameterError: `schedule` is not a mapping or `instance` is no Instance.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(schedule, Mapping):
        raise ParameterError(f"schedule: found {type(schedule).__name__}, expected a mapping")
    try:
        moves = _read_moves(schedule)
        claims = _read_claims(schedule)
    except _Malformed as error:
        return ValidationReport(False, math.nan, [Violation("malformed", str(error))])
    cluster = _Cluster(instance)
    found = list(_check_start(cluster))
    if len(moves) > instance.migration_limit:
        message = f"found {len(moves)} moves, expected at most {instance.migration_limit}"
        found.append(Violation("migration_limit", message, move=instance.migration_limit))
    scores = [cluster.rate()]
    for index, (vm, pm, node) in enumerate(moves):
        faults = list(_check_move(cluster, index, vm, pm, node))
        found += faults
        if not faults:
            cluster.move(vm, pm, node)
            scores.append(cluster.rate())
    return _report(cluster, scores, claims, found)


# ---------------------------------------------------------------- reading


def _read_moves(schedule: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """Return the moves without the padding at their end."""
    if "moves" not in schedule:
        raise _Malformed("moves: missing")
    try:
        array = np.asarray(schedule["moves"])
    except (ValueError, TypeError):
        raise _Malformed("moves: found no array, expected one of shape (n, 3)") from None
    if array.size == 0:
        return []
    if array.ndim != 2 or array.shape[1] != 3:
        raise _Malformed(f"moves: found shape {array.shape}, expected (n, 3)")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise _Malformed("moves: found fractions or NaN, expected whole numbers")
    if array.dtype.kind not in "iuf" or np.abs(array.astype(np.float64)).max() >= 2**53:
        raise _Malformed(f"moves: found type {array.dtype}, expected whole numbers below 2^53")
    rows = [(int(vm), int(pm), int(node)) for vm, pm, node in array]
    while rows and rows[-1] == (-1, -1, -1):
        rows.pop()
    return rows


def _read_claims(schedule: Mapping[str, Any]) -> dict[str, float]:
    """Return what the plan says about its own quality."""
    claims = {}
    for name in ("objective", "fragment_rate", "slots"):
        if name not in schedule:
            continue
        try:
            claims[name] = float(np.asarray(schedule[name]).item())
        except (ValueError, TypeError):
            raise _Malformed(f"{name}: found no number, expected one") from None
    return claims


# ---------------------------------------------------------------- the state


class _Cluster:
    """The state of the machines while a plan is carried out, all in integers."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.cpu = instance.pm_cpu.copy()
        self.memory = instance.pm_memory.copy()
        self.pm = instance.vm_pm.tolist()
        self.node = instance.vm_node.tolist()
        self.hosted = Counter(self.pm)
        self.members: Counter[tuple[int, int]] = Counter()
        for vm in np.flatnonzero(instance.affinity >= 0).tolist():
            self.members[self.domain(vm, self.pm[vm])] += 1
        for share, free in (("cpu", self.cpu), ("memory", self.memory)):
            for node in (0, 1):
                on = (instance.vm_node == node) | (instance.vm_node == 2)
                needs = getattr(instance, f"vm_{share}")[on] // instance.vm_numa[on]
                np.subtract.at(free[:, node], instance.vm_pm[on], needs)

    def nodes(self, node: int) -> tuple[int, ...]:
        """Return the nodes that a place takes."""
        return (0, 1) if node == 2 else (node,)

    def needs(self, vm: int) -> tuple[int, int]:
        """Return the cores and MB that a VM takes on each of its nodes."""
        numa = int(self.instance.vm_numa[vm])
        return int(self.instance.vm_cpu[vm]) // numa, int(self.instance.vm_memory[vm]) // numa

    def domain(self, vm: int, pm: int) -> tuple[int, int]:
        """Return the VM's set and the PM or rack that no other VM of the set may be on."""
        number = int(self.instance.affinity[vm])
        rack = bool(self.instance.affinity_rack[number])
        return number, int(self.instance.rack[pm]) if rack else pm

    def free_after_release(self, vm: int, pm: int, node: int) -> tuple[int, int]:
        """Return free cores and MB of a node once the VM has left its place."""
        cpu, memory = int(self.cpu[pm, node]), int(self.memory[pm, node])
        if pm == self.pm[vm] and node in self.nodes(self.node[vm]):
            own_cpu, own_memory = self.needs(vm)
            return cpu + own_cpu, memory + own_memory
        return cpu, memory

    def move(self, vm: int, pm: int, node: int) -> None:
        """Carry out a move that has been checked."""
        cpu, memory = self.needs(vm)
        old = self.pm[vm]
        for place, where, sign in ((old, self.node[vm], 1), (pm, node, -1)):
            for k in self.nodes(where):
                self.cpu[place, k] += sign * cpu
                self.memory[place, k] += sign * memory
        self.hosted[old] -= 1
        self.hosted[pm] += 1
        if self.instance.affinity[vm] >= 0:
            self.members[self.domain(vm, old)] -= 1
            self.members[self.domain(vm, pm)] += 1
        self.pm[vm], self.node[vm] = pm, node

    def slots(self, term: Term) -> int:
        """Return how many requests of a term fit."""
        free = self.cpu if term.resource == "cpu" else self.memory
        if term.double:
            return int(np.minimum(*(free // (term.chunk // 2)).T).sum())
        return int(np.sum(free // term.chunk))

    def fragment_rate(self, term: Term) -> float:
        """Return the exact fragment rate of a term, rounded once."""
        total = int((self.cpu if term.resource == "cpu" else self.memory).sum())
        return float(1 - Fraction(term.chunk * self.slots(term), total)) if total else 0.0

    def rate(self) -> float:
        """Return the weighted sum of the fragment rates."""
        return math.fsum(
            term.weight * self.fragment_rate(term) for term in self.instance.objective.terms
        )


# ---------------------------------------------------------------- the checks


def _check_start(cluster: _Cluster) -> Iterator[Violation]:
    for name, free in (("cores", cluster.cpu), ("MB", cluster.memory)):
        for pm, node in np.argwhere(free < 0).tolist():
            message = f"PM {pm}, node {node}: found {free[pm, node]} free {name}, expected >= 0"
            yield Violation("over_committed", message, pm=pm)


def _check_move(cluster: _Cluster, index: int, vm: int, pm: int, node: int) -> Iterator[Violation]:
    """Yield what is wrong with a move in the present state."""
    instance = cluster.instance
    if not 0 <= vm < instance.num_vms:
        message = f"move {index}: found VM {vm}, expected 0..{instance.num_vms - 1}"
        yield Violation("unknown_vm", message, index)
        return
    if not 0 <= pm < instance.num_pms:
        message = f"move {index}: found PM {pm}, expected 0..{instance.num_pms - 1}"
        yield Violation("unknown_pm", message, index, vm)
        return
    possible = (2,) if instance.vm_numa[vm] == 2 else (0, 1)
    if node not in possible:
        message = f"move {index}: found node {node} for VM {vm}, expected one of {possible}"
        yield Violation("node", message, index, vm, pm)
        return
    where = f"move {index}: VM {vm} to PM {pm}, node {node}"
    if (pm, node) == (cluster.pm[vm], cluster.node[vm]):
        yield Violation("void", f"{where}: found it there already", index, vm, pm)
        return
    for code, message in _obstacles(cluster, vm, pm, node):
        yield Violation(code, f"{where}: {message}", index, vm, pm)


def _obstacles(cluster: _Cluster, vm: int, pm: int, node: int) -> Iterator[tuple[str, str]]:
    """Yield code and words for every constraint that forbids a well-formed move."""
    instance, old = cluster.instance, cluster.pm[vm]
    if not instance.movable[vm]:
        yield "immovable", "found a VM that may not be migrated"
    if instance.within_cluster and instance.cluster[pm] != instance.cluster[old]:
        yield (
            "cluster",
            f"found cluster {instance.cluster[pm]}, expected {instance.cluster[old]}",
        )
    cpu, memory = cluster.needs(vm)
    for k in cluster.nodes(node):
        free_cpu, free_memory = cluster.free_after_release(vm, pm, k)
        if free_cpu < cpu:
            yield "cpu", f"found {free_cpu} cores free on node {k}, expected at least {cpu}"
        if free_memory < memory:
            yield "memory", f"found {free_memory} MB free on node {k}, expected at least {memory}"
    if instance.affinity[vm] >= 0:
        domain = cluster.domain(vm, pm)
        if domain != cluster.domain(vm, old) and cluster.members[domain] > 0:
            level = "rack" if instance.affinity_rack[domain[0]] else "PM"
            yield (
                "affinity",
                f"found {cluster.members[domain]} VM of set {domain[0]} on {level} {domain[1]}, "
                "expected none",
            )


# ---------------------------------------------------------------- the result


def _report(
    cluster: _Cluster, scores: list[float], claims: dict[str, float], found: list[Violation]
) -> ValidationReport:
    """Return the report of a plan; `scores` has J before the first and after each move made."""
    term = cluster.instance.objective.terms[0]
    values = {
        "objective": _objective(cluster, scores),
        "fragment_rate": cluster.fragment_rate(term),
        "slots": cluster.slots(term),
    }
    for name, claimed in claims.items():
        if not abs(claimed - values[name]) <= _CLAIM_TOLERANCE:
            message = f"{name}: found {claimed}, expected {values[name]}"
            found.append(Violation("claim", message))
    found += _check_bound(cluster, len(scores) - 1)
    return ValidationReport(
        not found,
        float(values["objective"]),
        found,
        float(values["fragment_rate"]),
        int(values["slots"]),
        len(scores) - 1,
    )


def _objective(cluster: _Cluster, scores: list[float]) -> float:
    objective = cluster.instance.objective
    if objective.kind == "goal":
        reached = [used for used, score in enumerate(scores) if score <= objective.goal]
        return float(reached[0] if reached else cluster.instance.migration_limit + 1)
    if objective.kind == "empty_pms":
        return sum(number > 0 for number in cluster.hosted.values()) + scores[-1]
    return scores[-1]


def _check_bound(cluster: _Cluster, migrations: int) -> Iterator[Violation]:
    """Compare the 16-core slots with what is proven for this many migrations or more."""
    slots = cluster.slots(Term())
    for limit, known in cluster.instance.known.items():
        if limit >= migrations and slots > known.upper_bound:
            message = (
                f"found {slots} slots, expected at most {known.upper_bound}, the bound proven "
                f"for {limit} migrations"
            )
            yield Violation("above_bound", message)
