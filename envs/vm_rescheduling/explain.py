"""Why a plan is as it is: what each move gains and needs, and why the other VMs stay.

Operators review a plan before they run it, and ask two things: what is this migration for, and
why is that VM left where it is?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.instance import BOTH_NODES, Instance, IntArray
from dispatchgym.envs.vm_rescheduling.placement import Placement, moves_of
from dispatchgym.envs.vm_rescheduling.validator import validate

__all__ = ["REASONS", "Explanation", "Move", "Stay", "explain"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

REASONS: Mapping[str, str] = {
    "immovable": "it may not be migrated",
    "cpu": "no other node has enough free cores",
    "memory": "no other node with enough free cores has enough free memory",
    "cluster": "only machines of another cluster have room",
    "affinity": "every machine with room has, or shares a rack with, a VM of its set",
    "no_gain": "no single migration of it lowers the objective",
    "migration_limit": "it would lower the objective, but the migration limit is used up",
    "not_used": "it would lower the objective: the plan leaves this unused",
}
"""Why a VM stays, by code."""

_SMALLEST_GAIN = 1e-12


@dataclass(frozen=True)
class Move:
    """One move of a plan.

    Attributes:
        index: Its place in the plan.
        vm: VM.
        source: PM and node that it leaves; node 2 stands for both.
        target: PM and node that it goes to.
        gain: How much J, the sum of fragment rates, falls by this move; negative if it rises.
        needs: Index of the last earlier move without which there was no room, or None.
        cores_left: Cores free on the target afterwards, of its fuller node.
        memory_left: MB free on the target afterwards, of its fuller node.
        text: All of it in words.
    """

    index: int
    vm: int
    source: tuple[int, int]
    target: tuple[int, int]
    gain: float
    needs: int | None
    cores_left: int
    memory_left: int
    text: str


@dataclass(frozen=True)
class Stay:
    """A VM that the plan leaves where it is.

    Attributes:
        vm: VM.
        reason: One of `REASONS`.
        gain: How much the best single migration of it would lower the objective after the plan,
            not positive for most; None if it cannot go anywhere.
        text: The reason in words.
    """

    vm: int
    reason: str
    gain: float | None
    text: str


@dataclass(frozen=True)
class Explanation:
    """What `explain` found; `str` gives it as text.

    Attributes:
        moves: The moves in their order.
        stays: The VMs that are not moved.
        summary: Objective before and after in words.
    """

    moves: list[Move]
    stays: list[Stay]
    summary: str

    def __str__(self) -> str:
        """Return the moves, and how many VMs stay for which reason."""
        reasons = Counter(stay.reason for stay in self.stays)
        lines = [self.summary, *(move.text for move in self.moves), "VMs that stay:"]
        lines += [f"  {count:>5}  {REASONS[code]}" for code, count in reasons.most_common()]
        return "\n".join(lines)


def explain(instance: Instance, schedule: Mapping[str, Any]) -> Explanation:
    """Explain a plan move by move, and why every other VM stays.

    Args:
        instance: The cluster.
        schedule: A valid plan for it.

    Raises:
        ParameterError: The plan is not valid; the message names the move.
    """
    report = validate(instance, schedule)
    if not report.valid:
        raise ParameterError(f"schedule: {report.violations[0].message}, expected a valid plan")
    rows = moves_of(instance, schedule).tolist()
    placement = Placement(instance)
    before = placement.rate()
    needs = [_needed_move(instance, rows, index) for index in range(len(rows))]
    moves = [_explain_move(placement, rows, index, needs) for index in range(len(rows))]
    limit = len(rows) >= instance.migration_limit
    moved = {vm for vm, _, _ in rows}
    outlook = _Outlook(placement)
    stays = [_explain_stay(outlook, vm, limit) for vm in range(instance.num_vms) if vm not in moved]
    summary = (
        f"{instance.name}: {len(rows)} of {instance.migration_limit} migrations, "
        f"fragment rate {before:.4f} -> {placement.rate():.4f}, {report.slots} slots, "
        f"objective {instance.initial_objective:.4f} -> {report.objective:.4f}"
    )
    return Explanation(moves, stays, summary)


# ---------------------------------------------------------------- moves


def _explain_move(
    placement: Placement, rows: list[list[int]], index: int, needs: list[int | None]
) -> Move:
    """Make a move and say what it does."""
    vm, pm, node = rows[index]
    instance = placement.instance
    source = int(placement.pm[vm]), int(placement.node[vm])
    before = placement.rate()
    placement.move(vm, pm, node)
    gain = before - placement.rate()
    nodes = slice(None) if node == BOTH_NODES else slice(node, node + 1)
    cores_left = int(placement.free_cpu[pm, nodes].min())
    memory_left = int(placement.free_memory[pm, nodes].min())
    text = (
        f"{index:>4}. {_vm_words(instance, vm)}: {_place_words(instance, *source)} -> "
        f"{_place_words(instance, pm, node)}, gain {gain:+.4f}, "
        f"leaves {cores_left} cores, {memory_left} MB"
    )
    if needs[index] is not None:
        text += f"; has room only after move {needs[index]}"
    if index in needs:
        text += f"; makes room for move {needs.index(index)}"
    return Move(index, vm, source, (pm, node), gain, needs[index], cores_left, memory_left, text)


def _needed_move(instance: Instance, rows: list[list[int]], index: int) -> int | None:
    """Return the last earlier move without which this one was not possible, or None."""
    vm, pm, node = rows[index]
    for left_out in range(index - 1, -1, -1):
        other = rows[left_out][0]
        if other == vm or pm not in _stations(instance, rows, other, vm):
            continue
        others = [row for number, row in enumerate(rows[:index]) if number != left_out]
        placement = Placement(instance, {"moves": np.array(others, np.int64).reshape(-1, 3)})
        if not placement.has_room(vm, pm, node) or placement.conflicts(vm, pm):
            return left_out
    return None


def _stations(instance: Instance, rows: list[list[int]], other: int, vm: int) -> set[int]:
    """Return the machines where one VM can have stood in the way of another during a plan."""
    pms = {int(instance.vm_pm[other]), *(pm for mover, pm, _ in rows if mover == other)}
    number = instance.affinity[vm]
    if number >= 0 and number == instance.affinity[other] and instance.affinity_rack[number]:
        racks = instance.rack[list(pms)]
        return set(np.flatnonzero(np.isin(instance.rack, racks)).tolist())
    return pms


def _vm_words(instance: Instance, vm: int) -> str:
    name = f" ({instance.vm_names[vm]})" if instance.vm_names else ""
    return f"VM {vm}{name}, {instance.vm_cpu[vm]} cores, {instance.vm_memory[vm]} MB"


def _place_words(instance: Instance, pm: int, node: int) -> str:
    name = f" ({instance.pm_names[pm]})" if instance.pm_names else ""
    return f"PM {pm}{name}" + (f" node {node}" if node != BOTH_NODES else "")


# ---------------------------------------------------------------- VMs that stay


class _Outlook:
    """What a single further migration could gain after a plan.

    J is a sum over machines, so the gain of a migration is that of the source plus that of the
    target, and the latter is the same for all VMs of a size.
    """

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.instance = placement.instance
        self.hosted = np.bincount(placement.pm, minlength=self.instance.num_pms)
        self.loss = self._losses(placement.free_cpu, placement.free_memory)
        self.targets: dict[tuple[int, int, int], tuple[BoolArray, BoolArray, FloatArray]] = {}

    def _losses(self, cpu: IntArray, memory: IntArray) -> FloatArray:
        """Return the part of J of each machine (n,), up to a constant."""
        total = {"cpu": self.instance.free_cpu.sum(), "memory": self.instance.free_memory.sum()}
        loss = np.zeros(len(cpu))
        for weight, resource, chunk, double in self.instance.objective.terms:
            free = cpu if resource == "cpu" else memory
            slots = (free // (chunk // 2)).min(axis=1) if double else (free // chunk).sum(axis=1)
            loss -= weight * chunk * slots / max(total[resource], 1)
        return loss

    def size(self, vm: int) -> tuple[int, int, int]:
        """Return cores and MB on a node, and the number of nodes."""
        instance = self.instance
        share = int(instance.vm_share_cpu[vm]), int(instance.vm_share_memory[vm])
        return *share, int(instance.vm_numa[vm])

    def room(self, size: tuple[int, int, int]) -> tuple[BoolArray, BoolArray, FloatArray]:
        """Return, for each machine and node or pair: enough cores, enough memory, gain of J."""
        if size not in self.targets:
            cpu, memory, numa = size
            free_cpu, free_memory = self.placement.free_cpu, self.placement.free_memory
            columns = [slice(None)] if numa == 2 else [slice(0, 1), slice(1, 2)]
            gains = []
            for column in columns:
                cpu_then, memory_then = free_cpu.copy(), free_memory.copy()
                cpu_then[:, column] -= cpu
                memory_then[:, column] -= memory
                gains.append(self.loss - self._losses(cpu_then, memory_then))
            cores, room = free_cpu >= cpu, free_memory >= memory
            if numa == 2:
                cores, room = cores[:, :1] & cores[:, 1:], room[:, :1] & room[:, 1:]
            gain = np.column_stack(gains) - self._opening()
            self.targets[size] = cores, room, gain
        return self.targets[size]

    def _opening(self) -> FloatArray:
        """Return (P, 1) what it costs that a machine comes into use."""
        counts = self.instance.objective.kind == "empty_pms"
        return ((self.hosted == 0) & counts).astype(np.float64)[:, None]

    def leaving(self, vm: int) -> float:
        """Return what is gained on the machine that a VM leaves."""
        placement, pm = self.placement, int(self.placement.pm[vm])
        cpu, memory = placement.free_cpu[[pm]], placement.free_memory[[pm]]
        nodes = slice(None) if placement.node[vm] == BOTH_NODES else int(placement.node[vm])
        cpu[0, nodes] += self.instance.vm_share_cpu[vm]
        memory[0, nodes] += self.instance.vm_share_memory[vm]
        closing = self.instance.objective.kind == "empty_pms" and self.hosted[pm] == 1
        return float(self.loss[pm] - self._losses(cpu, memory)[0]) + closing

    def forbidden(self, vm: int) -> tuple[BoolArray, BoolArray]:
        """Return for each machine whether cluster, or anti-affinity, keeps a VM off it."""
        instance, pm = self.instance, self.placement.pm
        other = instance.cluster != instance.cluster[pm[vm]]
        members = instance.affinity == instance.affinity[vm]
        if instance.affinity[vm] < 0:
            taken = np.zeros(instance.num_pms, np.bool_)
        elif instance.affinity_rack[instance.affinity[vm]]:
            taken = np.isin(instance.rack, instance.rack[pm[members]])
            taken &= instance.rack != instance.rack[pm[vm]]
        else:
            taken = np.isin(np.arange(instance.num_pms), pm[members])
        return other & instance.within_cluster, taken

    def flip(self, vm: int) -> float | None:
        """Return the gain of moving a VM to the other node of its machine, None without room."""
        placement, pm, node = self.placement, int(self.placement.pm[vm]), self.placement.node[vm]
        if node == BOTH_NODES or not placement.has_room(vm, pm, 1 - node):
            return None
        cpu, memory = placement.free_cpu[[pm]], placement.free_memory[[pm]]
        for k, sign in ((node, 1), (1 - node, -1)):
            cpu[0, k] += sign * self.instance.vm_share_cpu[vm]
            memory[0, k] += sign * self.instance.vm_share_memory[vm]
        return float(self.loss[pm] - self._losses(cpu, memory)[0])


def _explain_stay(outlook: _Outlook, vm: int, limit_reached: bool) -> Stay:
    reason, gain = _reason(outlook, vm, limit_reached)
    words = _vm_words(outlook.instance, vm)
    place = _place_words(
        outlook.instance, int(outlook.placement.pm[vm]), int(outlook.placement.node[vm])
    )
    text = f"{words} stays on {place}: {REASONS[reason]}"
    if gain is not None:
        text += f" (best gain {gain:+.4f})"
    return Stay(vm, reason, gain, text)


def _reason(outlook: _Outlook, vm: int, limit_reached: bool) -> tuple[str, float | None]:
    """Return why a VM stays and the gain of its best single migration, if it has any."""
    if not outlook.instance.movable[vm]:
        return "immovable", None
    cores, memory, gains = outlook.room(outlook.size(vm))
    cores, memory = cores.copy(), memory.copy()
    own = int(outlook.placement.pm[vm])
    cores[own] = memory[own] = False  # the other node of its own machine is looked at below
    other_cluster, taken = outlook.forbidden(vm)
    room = cores & memory
    legal = room & ~(other_cluster | taken)[:, None]
    flip = outlook.flip(vm)
    choices = [] if flip is None else [flip]
    if legal.any():
        choices.append(outlook.leaving(vm) + float(gains[legal].max()))
    if choices:
        gain = max(choices)
        if gain <= _SMALLEST_GAIN:
            return "no_gain", gain
        return ("migration_limit" if limit_reached else "not_used"), gain
    if not cores.any():
        return "cpu", None
    if not room.any():
        return "memory", None
    return ("affinity" if (room & ~other_cluster[:, None]).any() else "cluster"), None
