"""What several tests need: the shared data and random legal plans made in plain Python."""

from pathlib import Path

import numpy as np
import pytest

from dispatchgym.envs.vm_rescheduling.instance import Instance

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vm"

needs_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared data of VM rescheduling is not beside the checkout"
)


def small(rows, pms=None, node_cpu=44, node_memory=100_000, **fields):
    """Return an instance of VMs (cores, NUMA nodes, PM, node), 1,000 MB a core."""
    cpu, numa, pm, node = np.array(rows).T
    pms = int(pm.max()) + 1 if pms is None else pms
    return Instance(
        **{
            "name": "small",
            "pm_cpu": np.full((pms, 2), node_cpu),
            "pm_memory": np.full((pms, 2), node_memory),
            "vm_cpu": cpu,
            "vm_memory": 1000 * cpu,
            "vm_numa": numa,
            "vm_pm": pm,
            "vm_node": node,
            **fields,
        }
    )


def legal_places(instance, pms, nodes, vm):
    """Return every PM and node where a VM can go, by counting VMs anew."""
    places = []
    for pm in range(instance.num_pms):
        for node in (2,) if instance.vm_numa[vm] == 2 else (0, 1):
            if (pm, node) != (pms[vm], nodes[vm]) and _possible(instance, pms, nodes, vm, pm, node):
                places.append((pm, node))
    return places


def _possible(instance, pms, nodes, vm, pm, node):
    if not instance.movable[vm]:
        return False
    if instance.within_cluster and instance.cluster[pm] != instance.cluster[pms[vm]]:
        return False
    number = instance.affinity[vm]
    for other in range(instance.num_vms):
        if other != vm and number >= 0 and instance.affinity[other] == number:
            near = (
                instance.rack[pms[other]] == instance.rack[pm]
                if instance.affinity_rack[number]
                else pms[other] == pm
            )
            if near:
                return False
    for k in (0, 1) if node == 2 else (node,):
        for size, room in (
            (instance.vm_cpu, instance.pm_cpu[pm, k]),
            (instance.vm_memory, instance.pm_memory[pm, k]),
        ):
            taken = sum(
                size[other] // instance.vm_numa[other]
                for other in range(instance.num_vms)
                if other != vm and pms[other] == pm and nodes[other] in (k, 2)
            )
            if taken + size[vm] // instance.vm_numa[vm] > room:
                return False
    return True


def random_plan(instance, rng, moves):
    """Return up to so many random legal moves, as lists."""
    pms, nodes = instance.vm_pm.tolist(), instance.vm_node.tolist()
    plan = []
    for _ in range(5 * moves):
        if len(plan) == moves:
            break
        vm = int(rng.integers(instance.num_vms))
        places = legal_places(instance, pms, nodes, vm)
        if places:
            pms[vm], nodes[vm] = places[rng.integers(len(places))]
            plan.append([vm, pms[vm], nodes[vm]])
    return plan
