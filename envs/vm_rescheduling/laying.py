"""Random clusters laid ready for the kernel without becoming an `Instance` first.

Episodes of a small cluster are short: making and checking instances in Python would take most of
the time of a batch. `Instance` objects are made of the same numbers when somebody asks for them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.vm_rescheduling import kernel
from dispatchgym.envs.vm_rescheduling.generators import Recipe, draw_limit, fill_cluster

__all__ = ["lay_cluster", "lay_clusters"]


@njit(cache=True)
def lay_cluster(
    source: kernel.Source, recipe: Recipe, low: int, high: int, seed: np.uint64, row: int
) -> None:
    """Write the cluster of a seed into a row of the source that has held one of its kind.

    Args:
        source: Its row has the objective, which is the same for all clusters of a generator.
        recipe: Of the generator.
        low: Smallest migration limit; -1: what `migrations_for` says.
        high: Largest migration limit.
        seed: Of the cluster.
        row: Where it goes.
    """
    columns = np.empty((6, source.vm.shape[1]), np.int64)
    rack = np.empty(recipe.pms_high, np.int64)
    cpu, memory, numa = columns[0], columns[1], columns[2]
    host, node, affinity = columns[3], columns[4], columns[5]
    pms, vms = fill_cluster(seed, recipe, cpu, memory, numa, host, node, affinity, rack)
    scalar, pm, vm = source.scalar[row], source.pm[row], source.vm[row]
    scalar[kernel.PMS], scalar[kernel.VMS] = pms, vms
    scalar[kernel.LIMIT] = draw_limit(seed, pms, low, high)
    for p in range(pms):
        for k in range(2):
            pm[kernel.CPU_CAPACITY + k, p] = recipe.node_cpu
            pm[kernel.MEMORY_CAPACITY + k, p] = recipe.node_memory
    sets = 0
    for v in range(vms):
        vm[v, kernel.SHARE] = cpu[v] // numa[v]
        vm[v, kernel.MEMORY_SHARE] = memory[v] // numa[v]
        vm[v, kernel.NUMA] = numa[v]
        vm[v, kernel.PM] = host[v]
        vm[v, kernel.NODE] = node[v]
        vm[v, kernel.MOVABLE] = 1
        vm[v, kernel.SET] = affinity[v]
        sets = max(sets, affinity[v] + 1)
    scalar[kernel.SETS] = sets


@njit(cache=True, parallel=True)
def lay_clusters(
    source: kernel.Source,
    recipe: Recipe,
    low: int,
    high: int,
    seeds: npt.NDArray[np.uint64],
    rows: npt.NDArray[np.intp],
) -> None:
    """Write the clusters of seeds (N,) into rows (N,) of the source; see `lay_cluster`."""
    for index in prange(rows.size):
        lay_cluster(source, recipe, low, high, seeds[index], rows[index])
