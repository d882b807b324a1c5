"""Clusters as plain arrays, in which searches carry out and take back migrations.

The functions know every constraint and every objective of an instance. Scores are in chunks: 1 is
one slot of the objective's first fragment rate. Besides what a migration wins now there is a
potential that rewards nodes whose free cores are nearly a whole chunk.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.vm_rescheduling.instance import Instance

POTENTIAL = 0.5
"""Weight of the potential: the square of what is left over on a node, in chunks."""
EMPTY_WORTH = 64.0
"""Worth of an emptied machine in chunks: more than all that a plan can lose elsewhere."""
TOLERANCE = 1e-9
"""Gains are sums of floats; smaller differences are none."""

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing is allocated or kept."""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]

CPU, MEMORY = 0, 1
BOTH = 2


class Cluster(NamedTuple):
    """One cluster as arrays; P machines, V VMs, T fragment rates in the objective.

    Attributes:
        free: int64 (P, 2, 2) free cores and MB of each NUMA node.
        share: int64 (V, 2) cores and MB that a VM takes on each node it is on.
        double: bool (V,) the VM is on both nodes.
        machine: int64 (V,), node: int64 (V,) where it is; node 2 means both.
        movable: bool (V,).
        group: int64 (V,) anti-affinity set, -1 for none.
        first_member: int64 (S + 1,), member: int64 (M,) VMs of each set.
        domain: int64 (S, P) what a set's members may not share: a machine or a rack.
        region: int64 (P,) VMs do not leave the region they are in.
        worth: float64 (T,) a chunk of this rate, in chunks of the first.
        resource: int64 (T,), chunk: int64 (T,), paired: bool (T,): see `Term`.
        emptying: float64 (1,) worth of a machine without VMs, in chunks.
    """

    free: npt.NDArray[np.int64]
    share: npt.NDArray[np.int64]
    double: npt.NDArray[np.bool_]
    machine: npt.NDArray[np.int64]
    node: npt.NDArray[np.int64]
    movable: npt.NDArray[np.bool_]
    group: npt.NDArray[np.int64]
    first_member: npt.NDArray[np.int64]
    member: npt.NDArray[np.int64]
    domain: npt.NDArray[np.int64]
    region: npt.NDArray[np.int64]
    worth: npt.NDArray[np.float64]
    resource: npt.NDArray[np.int64]
    chunk: npt.NDArray[np.int64]
    paired: npt.NDArray[np.bool_]
    emptying: npt.NDArray[np.float64]


class Scratch(NamedTuple):
    """Working memory of one search.

    Attributes:
        free, machine, node: as in `Cluster`, while a plan is carried out.
        out: float64 (V,) what a VM's leaving wins, potential included.
        head: int64 (P,), after, before: int64 (V,) linked lists of the VMs on each machine.
        hosted: int64 (P,) number of VMs on each machine.
        stuck: int64 (V,) VMs found to have no room.
        plan, trial: int64 (L, 3) the plan so far and the one being made.
        origin: int64 (L, 2) machine and node that each migration of the trial left.
        keep: bool (L,) migrations of the plan that a new construction begins with.
    """

    free: npt.NDArray[np.int64]
    machine: npt.NDArray[np.int64]
    node: npt.NDArray[np.int64]
    out: npt.NDArray[np.float64]
    head: npt.NDArray[np.int64]
    after: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    hosted: npt.NDArray[np.int64]
    stuck: npt.NDArray[np.int64]
    plan: npt.NDArray[np.int64]
    trial: npt.NDArray[np.int64]
    origin: npt.NDArray[np.int64]
    keep: npt.NDArray[np.bool_]


@inlined
def worth_of(cluster, a0, a1, m0, m1, hosted, potential):
    """Worth in chunks of a machine with a0, a1 free cores, m0, m1 free MB and `hosted` VMs."""
    total = 0.0
    for t in range(cluster.worth.size):
        x, y = (a0, a1) if cluster.resource[t] == CPU else (m0, m1)
        if cluster.paired[t]:
            half = cluster.chunk[t] // 2
            whole = float(min(x // half, y // half))
            rest = ((x % half) / half) ** 2 + ((y % half) / half) ** 2
            rest *= 0.5
        else:
            size = cluster.chunk[t]
            whole = float(x // size + y // size)
            rest = ((x % size) / size) ** 2 + ((y % size) / size) ** 2
        total += cluster.worth[t] * (whole + potential * rest)
    if cluster.emptying[0] > 0:
        if hosted == 0:
            total += cluster.emptying[0]
        elif potential > 0:
            total += cluster.emptying[0] / (1.0 + hosted) * 0.5
    return total


@inlined
def machine_worth(cluster, scratch, p, potential):
    """Worth of machine p as it is, in chunks."""
    free = scratch.free
    return worth_of(
        cluster,
        free[p, 0, 0],
        free[p, 1, 0],
        free[p, 0, 1],
        free[p, 1, 1],
        scratch.hosted[p],
        potential,
    )


@inlined
def worth_with(cluster, scratch, v, p, k, sign, potential):
    """Worth of machine p when VM v comes to node k (sign 1) or leaves it (sign -1)."""
    free, cores, memory = scratch.free, cluster.share[v, 0], cluster.share[v, 1]
    first = sign if k != 1 else 0
    second = sign if k != 0 else 0
    return worth_of(
        cluster,
        free[p, 0, 0] - first * cores,
        free[p, 1, 0] - second * cores,
        free[p, 0, 1] - first * memory,
        free[p, 1, 1] - second * memory,
        scratch.hosted[p] + sign,
        potential,
    )


@inlined
def score_leaving(cluster, scratch, v):
    """Write what the leaving of VM v wins."""
    if not cluster.movable[v]:
        scratch.out[v] = -np.inf
        return
    p, k = scratch.machine[v], scratch.node[v]
    gain = worth_with(cluster, scratch, v, p, k, -1, POTENTIAL) - machine_worth(
        cluster, scratch, p, POTENTIAL
    )
    nodes = 2.0 if cluster.double[v] else 1.0
    loose = False
    for t in range(cluster.worth.size):
        # The chunks that the VM itself takes are lost again where it goes.
        share = cluster.share[v, cluster.resource[t]]
        gain -= cluster.worth[t] * nodes * share / cluster.chunk[t]
        loose |= share % cluster.chunk[t] > 0
    if not loose and cluster.emptying[0] == 0:
        gain -= 1.0  # whole chunks only change places
    scratch.out[v] = gain


@compiled
def score_machine(cluster, scratch, p):
    """Write what the leaving of each VM of machine p wins."""
    v = scratch.head[p]
    while v >= 0:
        score_leaving(cluster, scratch, v)
        v = scratch.after[v]


@inlined
def take(cluster, scratch, v, sign):
    """Give a VM's share back to its nodes (sign 1) or take it (sign -1)."""
    p, k = scratch.machine[v], scratch.node[v]
    for j in range(2):
        if k == BOTH or k == j:
            scratch.free[p, j, 0] += sign * cluster.share[v, 0]
            scratch.free[p, j, 1] += sign * cluster.share[v, 1]
    scratch.hosted[p] -= sign


@compiled
def move(cluster, scratch, v, p, k):
    """Carry out a migration and refresh the scores of both machines."""
    source = scratch.machine[v]
    take(cluster, scratch, v, 1)
    before, after = scratch.before[v], scratch.after[v]
    if before >= 0:
        scratch.after[before] = after
    else:
        scratch.head[source] = after
    if after >= 0:
        scratch.before[after] = before
    scratch.machine[v], scratch.node[v] = p, k
    take(cluster, scratch, v, -1)
    head = scratch.head[p]
    scratch.after[v], scratch.before[v] = head, -1
    if head >= 0:
        scratch.before[head] = v
    scratch.head[p] = v
    score_machine(cluster, scratch, source)
    if p != source:
        score_machine(cluster, scratch, p)


@inlined
def separate(cluster, scratch, v, p):
    """Whether no other VM of v's anti-affinity set would share machine or rack on p."""
    group = cluster.group[v]
    if group < 0:
        return True
    for i in range(cluster.first_member[group], cluster.first_member[group + 1]):
        u = cluster.member[i]
        if u != v and cluster.domain[group, scratch.machine[u]] == cluster.domain[group, p]:
            return False
    return True


@inlined
def fits(cluster, scratch, v, p, k):
    """Whether VM v has room on node k (2: both) of another place, anti-affinity left aside."""
    if cluster.region[p] != cluster.region[scratch.machine[v]]:
        return False
    cores, memory = cluster.share[v, 0], cluster.share[v, 1]
    free = scratch.free
    if k == BOTH:
        return (
            p != scratch.machine[v]
            and free[p, 0, 0] >= cores
            and free[p, 1, 0] >= cores
            and free[p, 0, 1] >= memory
            and free[p, 1, 1] >= memory
        )
    if p == scratch.machine[v] and k == scratch.node[v]:
        return False
    return free[p, k, 0] >= cores and free[p, k, 1] >= memory


@compiled
def allowed(cluster, scratch, v, p, k):
    """Whether VM v may go to node k (2: both) of machine p."""
    if not cluster.movable[v] or cluster.double[v] != (k == BOTH):
        return False
    if not fits(cluster, scratch, v, p, k):
        return False
    return p == scratch.machine[v] or separate(cluster, scratch, v, p)


@inlined
def flip_gain(cluster, scratch, v, k):
    """What coming to the other node of its own machine costs, once VM v has left its node."""
    p, cores, memory = scratch.machine[v], cluster.share[v, 0], cluster.share[v, 1]
    a, b = scratch.free[p, k, 0], scratch.free[p, 1 - k, 0] + cores
    m, n = scratch.free[p, k, 1], scratch.free[p, 1 - k, 1] + memory
    hosted = scratch.hosted[p]
    after = worth_of(cluster, a - cores, b, m - memory, n, hosted, POTENTIAL)
    return after - worth_of(cluster, a, b, m, n, hosted - 1, POTENTIAL)


@compiled
def start(cluster, scratch):
    """Set the scratch to the cluster as it is, with scores and lists."""
    for p in range(cluster.free.shape[0]):
        for k in range(2):
            scratch.free[p, k, 0] = cluster.free[p, k, 0]
            scratch.free[p, k, 1] = cluster.free[p, k, 1]
        scratch.head[p] = -1
        scratch.hosted[p] = 0
    for v in range(cluster.machine.size - 1, -1, -1):
        scratch.machine[v] = p = cluster.machine[v]
        scratch.node[v] = cluster.node[v]
        head = scratch.head[p]
        scratch.after[v], scratch.before[v] = head, -1
        if head >= 0:
            scratch.before[head] = v
        scratch.head[p] = v
        scratch.hosted[p] += 1
    for v in range(cluster.machine.size):
        score_leaving(cluster, scratch, v)


@compiled
def undo(cluster, scratch, count):
    """Take the `count` migrations of the trial back, last first."""
    for i in range(count - 1, -1, -1):
        move(cluster, scratch, scratch.trial[i, 0], scratch.origin[i, 0], scratch.origin[i, 1])


@compiled
def gain_of(cluster, scratch, v, p, k):
    """What a migration wins in the objective itself, in chunks."""
    source = scratch.machine[v]
    if p == source:
        before = machine_worth(cluster, scratch, p, 0.0)
        free, cores, memory = scratch.free, cluster.share[v, 0], cluster.share[v, 1]
        after = worth_of(
            cluster,
            free[p, k, 0] - cores,
            free[p, 1 - k, 0] + cores,
            free[p, k, 1] - memory,
            free[p, 1 - k, 1] + memory,
            scratch.hosted[p],
            0.0,
        )
        return after - before
    return (
        worth_with(cluster, scratch, v, source, scratch.node[v], -1, 0.0)
        - machine_worth(cluster, scratch, source, 0.0)
        + worth_with(cluster, scratch, v, p, k, 1, 0.0)
        - machine_worth(cluster, scratch, p, 0.0)
    )


@compiled
def record(cluster, scratch, count, v, p, k):
    """Carry out migration number `count` of the trial; return what it wins."""
    gain = gain_of(cluster, scratch, v, p, k)
    scratch.origin[count, 0], scratch.origin[count, 1] = scratch.machine[v], scratch.node[v]
    scratch.trial[count, 0], scratch.trial[count, 1], scratch.trial[count, 2] = v, p, k
    move(cluster, scratch, v, p, k)
    return gain


@compiled
def replay(cluster, scratch, held, count):
    """Carry out those of the first `held` migrations of the plan that are kept and still legal.

    Args:
        cluster: `Cluster`.
        scratch: `Scratch`.
        held: number of migrations in the plan.
        count: number of migrations already in the trial.

    Returns:
        The new count and what the migrations win.
    """
    gain = 0.0
    for i in range(held):
        v, p, k = scratch.plan[i, 0], scratch.plan[i, 1], scratch.plan[i, 2]
        if scratch.keep[i] and count < len(scratch.plan) and allowed(cluster, scratch, v, p, k):
            gain += record(cluster, scratch, count, v, p, k)
            count += 1
    return count, gain


@compiled
def adopt(scratch, count):
    """Make the first `count` migrations of the trial the plan."""
    for i in range(count):
        for column in range(3):
            scratch.plan[i, column] = scratch.trial[i, column]


@compiled
def prepare(cluster, scratch, state, held):
    """Set the scratch to the cluster, and `state` to the plan of `held` migrations given in it.

    Migrations that are not legal in their turn are dropped.
    """
    start(cluster, scratch)
    for i in range(held):
        scratch.keep[i] = True
    count, gain = replay(cluster, scratch, held, 0)
    adopt(scratch, count)
    state[0], state[1] = count, gain
    undo(cluster, scratch, count)


def cluster_of(instance: Instance) -> Cluster:
    """Return an instance as the arrays of a search."""
    terms = instance.objective.terms
    free = np.stack((instance.free_cpu, instance.free_memory), axis=2)
    totals = {"cpu": max(free[:, :, CPU].sum(), 1), "memory": max(free[:, :, MEMORY].sum(), 1)}
    worth = np.array([term.weight * term.chunk / totals[term.resource] for term in terms])
    order = np.argsort(instance.affinity, kind="stable")
    member = order[instance.affinity[order] >= 0]
    sizes = np.bincount(instance.affinity[member], minlength=instance.num_sets)
    machines = np.arange(instance.num_pms)
    domain = np.where(instance.affinity_rack[:, None], instance.rack, machines)
    arrays = Cluster(
        free=free,
        share=np.stack((instance.vm_share_cpu, instance.vm_share_memory), axis=1),
        double=instance.vm_numa == 2,
        machine=instance.vm_pm,
        node=instance.vm_node,
        movable=instance.movable,
        group=instance.affinity,
        first_member=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        member=member.astype(np.int64),
        domain=np.ascontiguousarray(domain, np.int64).reshape(-1, instance.num_pms),
        region=instance.cluster if instance.within_cluster else np.zeros_like(instance.cluster),
        worth=worth / worth[0],
        resource=np.array([CPU if term.resource == "cpu" else MEMORY for term in terms]),
        chunk=np.array([term.chunk for term in terms]),
        paired=np.array([term.double for term in terms]),
        emptying=np.array([EMPTY_WORTH if instance.objective.kind == "empty_pms" else 0.0]),
    )
    # Read-only arrays are another type, for which everything would be compiled once more.
    writable = (array if array.flags.writeable else array.copy() for array in arrays)
    return Cluster._make(writable)


def scratch_of(cluster: Cluster, limit: int) -> Scratch:
    """Return working memory for plans of at most `limit` migrations."""
    machines, vms = len(cluster.free), len(cluster.share)
    return Scratch(
        free=np.empty_like(cluster.free),
        machine=np.empty(vms, np.int64),
        node=np.empty(vms, np.int64),
        out=np.empty(vms),
        head=np.empty(machines, np.int64),
        after=np.empty(vms, np.int64),
        before=np.empty(vms, np.int64),
        hosted=np.empty(machines, np.int64),
        stuck=np.empty(vms, np.int64),
        plan=np.full((limit, 3), -1, np.int64),
        trial=np.full((limit, 3), -1, np.int64),
        origin=np.empty((limit, 2), np.int64),
        keep=np.ones(limit, np.bool_),
    )
