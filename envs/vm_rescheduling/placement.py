"""A placement that changes move by move: what pictures, explanations and late plans work on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.instance import BOTH_NODES, Instance, IntArray

__all__ = ["Placement", "moves_of", "rates"]


def moves_of(instance: Instance, schedule: Mapping[str, Any]) -> IntArray:
    """Return the moves (n, 3) of a plan, without padding: VM, PM, node.

    Raises:
        ParameterError: The plan has no such array, or names VMs, PMs or nodes that are none.
    """
    found = np.asarray(schedule.get("moves", np.zeros(0)))
    if found.size == 0 and "moves" in schedule:
        return np.zeros((0, 3), np.int64)
    if found.dtype.kind not in "iu" or found.ndim != 2 or found.shape[1] != 3:
        raise ParameterError(
            f"schedule['moves']: found {found.dtype} {found.shape}, expected whole numbers (n, 3)"
        )
    moves = found.astype(np.int64)
    moves = moves[(moves != -1).any(axis=1)]
    limits = (instance.num_vms, instance.num_pms, BOTH_NODES + 1)
    wrong = ((moves < 0) | (moves >= limits)).any(axis=1)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ParameterError(
            f"schedule['moves'][{index}]: found {moves[index].tolist()}, "
            f"expected numbers below {limits}"
        )
    return moves


def rates(instance: Instance, schedule: Mapping[str, Any]) -> list[float]:
    """Return J, the objective's sum of fragment rates, before the first and after each move.

    The moves are made whether there is room or not: see `validate` for that.

    Raises:
        ParameterError: The plan is none of this instance.
    """
    placement = Placement(instance)
    found = [placement.rate()]
    for vm, pm, node in moves_of(instance, schedule).tolist():
        placement.move(vm, pm, node)
        found.append(placement.rate())
    return found


class Placement:
    """Where each VM is, and what is free.

    Attributes:
        instance: The cluster.
        pm: (V,) machine of each VM.
        node: (V,) node of each VM, 2 for both.
        free_cpu: (P, 2) free cores.
        free_memory: (P, 2) free MB.
    """

    def __init__(self, instance: Instance, schedule: Mapping[str, Any] | None = None) -> None:
        """Begin as the instance does and make the moves of a plan, if one is given."""
        self.instance = instance
        self.pm = instance.vm_pm.copy()
        self.node = instance.vm_node.copy()
        self.free_cpu = instance.free_cpu.copy()
        self.free_memory = instance.free_memory.copy()
        if schedule is not None:
            for vm, pm, node in moves_of(instance, schedule).tolist():
                self.move(vm, pm, node)

    def move(self, vm: int, pm: int, node: int) -> None:
        """Take a VM from its place and put it elsewhere, whether there is room or not."""
        self._add(vm, self.pm[vm], self.node[vm], 1)
        self._add(vm, pm, node, -1)
        self.pm[vm], self.node[vm] = pm, node

    def rate(self) -> float:
        """Return the objective's weighted sum of fragment rates."""
        return self.instance.objective.rate(self.free_cpu, self.free_memory)

    def has_room(self, vm: int, pm: int, node: int) -> bool:
        """Return whether a VM fits on a node, or both, besides what is there.

        That is also whether it can be moved there: its old place is on other nodes.
        """
        nodes = slice(None) if node == BOTH_NODES else node
        cpu, memory = self.instance.vm_share_cpu[vm], self.instance.vm_share_memory[vm]
        enough = (self.free_cpu[pm, nodes] >= cpu) & (self.free_memory[pm, nodes] >= memory)
        return bool(enough.all())

    def conflicts(self, vm: int, pm: int) -> bool:
        """Return whether a VM would meet another one of its anti-affinity set on a machine.

        For sets that are kept apart by rack, in the machine's rack. Where the VM is already, it
        meets nobody new.
        """
        instance, number = self.instance, self.instance.affinity[vm]
        if number < 0:
            return False
        domain = instance.rack if instance.affinity_rack[number] else np.arange(instance.num_pms)
        if domain[pm] == domain[self.pm[vm]]:
            return False
        members = np.flatnonzero(instance.affinity == number)
        return bool((domain[self.pm[members]] == domain[pm]).any())

    def _add(self, vm: int, pm: int, node: int, sign: int) -> None:
        nodes = slice(None) if node == BOTH_NODES else node
        self.free_cpu[pm, nodes] += sign * self.instance.vm_share_cpu[vm]
        self.free_memory[pm, nodes] += sign * self.instance.vm_share_memory[vm]
