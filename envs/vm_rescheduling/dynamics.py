"""What becomes of a plan while it is made: VMs leave and arrive, and some moves are void.

A plan is made for a snapshot, but the cluster does not wait. VMs are created at about 9 a minute
on average in the night of a large provider's cluster, 41 by day (Ding et al., VMR2L, EuroSys
2025); so a plan that takes minutes meets another cluster than the one it is for. That the same
number leaves, and that new ones are like those present, is our assumption.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.vm_rescheduling.instance import BOTH_NODES, Instance, IntArray
from dispatchgym.envs.vm_rescheduling.placement import Placement, moves_of
from dispatchgym.envs.vm_rescheduling.validator import validate

__all__ = ["NIGHT_RATE", "Churn", "LateResult", "apply_late", "churn"]

NIGHT_RATE = 9.0
"""VMs created per minute, mean of a night."""

MAX_EVENTS = 1_000_000
"""Most arrivals and departures expected of a single call."""

_STREAM_TIME = 64
_STREAM_KIND = 65
_STREAM_VM = 66


@dataclass(frozen=True)
class Churn:
    """A cluster some time later.

    Attributes:
        instance: The cluster; the VMs that are left in their old order, then those that came.
        origin: (V,) number that each of its VMs had before, -1 for those that came.
        arrived: VMs that came and found room.
        departed: VMs that left, of the old and the new ones.
        refused: VMs that came and found no room.
    """

    instance: Instance
    origin: IntArray
    arrived: int
    departed: int
    refused: int


@dataclass(frozen=True)
class LateResult:
    """What a plan is worth that comes late.

    Attributes:
        churn: The cluster that the plan meets.
        schedule: The moves that were made, with the VM numbers of that cluster.
        skipped: Moves that could not be made: the VM is gone, or its destination is full or has
            a VM of the same anti-affinity set.
        rate_without: J, the sum of fragment rates, of that cluster without the plan.
        objective: Objective of that cluster after the moves made.
        fragment_rate: Fragment rate of the objective's first term after them.
        slots: Requests of the first term that fit after them.
    """

    churn: Churn
    schedule: dict[str, IntArray]
    skipped: int
    rate_without: float
    objective: float
    fragment_rate: float
    slots: int


def churn(
    instance: Instance, seconds: float, seed: int, rate_per_minute: float = NIGHT_RATE
) -> Churn:
    """Return a cluster after some time in which VMs leave and arrive.

    Arrivals and departures are a Poisson process each, with the same rate. Whoever leaves is
    drawn uniformly from the VMs present. Whoever comes has the size of a VM of the snapshot drawn
    uniformly, is movable, in no set, and goes where least is left free (best fit). Every event
    is a function of the seed and its number, so more seconds continue the same history.

    Args:
        instance: The cluster at the start.
        seconds: Time that passes, >= 0.
        seed: In 0..2^64-1.
        rate_per_minute: Mean arrivals a minute, >= 0; as many leave.

    Raises:
        ParameterError: An argument is out of range, or a million events are to be expected.
    """
    number = _checked(seconds, seed, rate_per_minute)
    cluster = _LiveCluster(instance)
    for event in _events(number, seconds, 2 * rate_per_minute / 60):
        pick = uniform(number, _STREAM_VM, event, 0)
        if uniform(number, _STREAM_KIND, event, 0) < 0.5:
            cluster.arrive(int(pick * instance.num_vms))
        else:
            cluster.leave(pick)
    return cluster.churn()


def apply_late(
    instance: Instance,
    schedule: Mapping[str, Any],
    seconds: float,
    seed: int,
    rate_per_minute: float = NIGHT_RATE,
) -> LateResult:
    """Return what a plan is worth that took some seconds to make.

    Args:
        instance: The cluster that the plan was made for.
        schedule: The plan.
        seconds: Time between snapshot and plan.
        seed: Seed of what happens meanwhile, see `churn`.
        rate_per_minute: Mean arrivals a minute.

    Raises:
        ParameterError: An argument is out of range, or the plan is none of this instance.
    """
    moves = moves_of(instance, schedule)
    later = churn(instance, seconds, seed, rate_per_minute)
    now = {int(old): new for new, old in enumerate(later.origin) if old >= 0}
    placement = Placement(later.instance)
    rate_without = placement.rate()
    made = []
    for vm, pm, node in moves.tolist():
        if vm in now and _possible(placement, now[vm], pm, node):
            placement.move(now[vm], pm, node)
            made.append((now[vm], pm, node))
    plan = {"moves": np.array(made, np.int64).reshape(-1, 3)}
    report = validate(later.instance, plan)
    return LateResult(
        churn=later,
        schedule=plan,
        skipped=len(moves) - len(made),
        rate_without=rate_without,
        objective=report.objective,
        fragment_rate=report.fragment_rate,
        slots=report.slots,
    )


def _possible(placement: Placement, vm: int, pm: int, node: int) -> bool:
    """Return whether a move that was possible once still is."""
    if (placement.pm[vm], placement.node[vm]) == (pm, node):
        return False
    return placement.has_room(vm, pm, node) and not placement.conflicts(vm, pm)


def _checked(seconds: float, seed: int, rate_per_minute: float) -> np.uint64:
    for name, value in (("seconds", seconds), ("rate_per_minute", rate_per_minute)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise ParameterError(f"{name}: found {value!r}, expected a number >= 0")
    if 2 * rate_per_minute * seconds / 60 > MAX_EVENTS:
        raise ParameterError(
            f"seconds, rate_per_minute: found {seconds} and {rate_per_minute}, "
            f"expected at most {MAX_EVENTS} events"
        )
    try:
        return np.uint64(operator.index(seed))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None


def _events(seed: np.uint64, seconds: float, rate: float) -> Iterator[int]:
    """Yield the numbers of the events of a Poisson process of a rate per second."""
    if rate == 0:
        return
    event, time = 0, 0.0
    while True:
        time -= math.log1p(-uniform(seed, _STREAM_TIME, event, 0)) / rate
        if time > seconds:
            return
        yield event
        event += 1


class _LiveCluster:
    """A cluster whose VMs come and go; sizes of VMs are those of the snapshot."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.free_cpu = instance.free_cpu.copy()
        self.free_memory = instance.free_memory.copy()
        # Rows (number in the snapshot or -1, VM of the same size in it, PM, node).
        self.vms = [
            (vm, vm, pm, node)
            for vm, (pm, node) in enumerate(
                zip(instance.vm_pm.tolist(), instance.vm_node.tolist(), strict=True)
            )
        ]
        self.arrived = self.departed = self.refused = 0

    def leave(self, pick: float) -> None:
        """Let a VM go, unless it is the last one; `pick` in [0, 1) says which."""
        if len(self.vms) == 1:
            return
        index = int(pick * len(self.vms))
        self.vms[index], self.vms[-1] = self.vms[-1], self.vms[index]
        _, like, pm, node = self.vms.pop()
        self._take(like, pm, node, -1)
        self.departed += 1

    def arrive(self, like: int) -> None:
        """Put a VM of the size of another where least is left free, if it has room."""
        instance = self.instance
        cpu, memory = instance.vm_share_cpu[like], instance.vm_share_memory[like]
        room = (self.free_cpu >= cpu) & (self.free_memory >= memory)
        left = self.free_cpu - cpu
        if instance.vm_numa[like] == 2:
            room, left = room.all(axis=1, keepdims=True), left.sum(axis=1, keepdims=True)
        if not room.any():
            self.refused += 1
            return
        place = int(np.where(room, left, np.iinfo(np.int64).max).argmin())
        pm, node = divmod(place, room.shape[1])
        node = BOTH_NODES if instance.vm_numa[like] == 2 else node
        self._take(like, pm, node, 1)
        self.vms.append((-1, like, pm, node))
        self.arrived += 1

    def churn(self) -> Churn:
        """Return the cluster as it is."""
        instance = self.instance
        self.vms.sort(key=lambda vm: (vm[0] < 0, vm[0]))
        origin, like, pm, node = (np.array(column) for column in zip(*self.vms, strict=True))
        old = origin >= 0
        later = instance.replace(
            vm_cpu=instance.vm_cpu[like],
            vm_memory=instance.vm_memory[like],
            vm_numa=instance.vm_numa[like],
            vm_pm=pm,
            vm_node=node,
            movable=instance.movable[like] | ~old,
            affinity=np.where(old, instance.affinity[like], -1),
            vm_names=_names(instance.vm_names, origin.tolist()),
        )
        return Churn(later, origin, self.arrived, self.departed, self.refused)

    def _take(self, like: int, pm: int, node: int, sign: int) -> None:
        nodes = slice(None) if node == BOTH_NODES else node
        self.free_cpu[pm, nodes] -= sign * self.instance.vm_share_cpu[like]
        self.free_memory[pm, nodes] -= sign * self.instance.vm_share_memory[like]


def _names(names: tuple[str, ...], origin: list[int]) -> tuple[str, ...]:
    """Return the old names and new ones that no VM has had; none if there were none."""
    if not names:
        return ()
    taken = set(names)
    new = (name for name in map("new_{}".format, itertools.count()) if name not in taken)
    return tuple(names[vm] if vm >= 0 else next(new) for vm in origin)
