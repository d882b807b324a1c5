"""The transition kernel of VM rescheduling: arrays in, arrays out, compiled by Numba.

The state of a batch of clusters is a tuple of arrays whose first axis is the lane. Each function
works on one lane; the entry points at the end loop over lanes, in parallel where it pays. Cores,
MB and counters are integers; floats appear only where fragment rates are weighed against each
other. Nothing is allocated and no Python object is touched inside a step.

Which VMs may move is kept up to date without looking at all of them. VMs of equal cores, memory
and NUMA count form a class; for each class the kernel counts the places with room, a place being
a node, or a PM for VMs on two nodes. A VM may move if its class has more places than those that
are closed to it: where it is, and where VMs of its anti-affinity set are. After a migration only
classes with few places are looked at again.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, prange

from dispatchgym.envs.core.rng import derive, uniform

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts, whose atomic operations would take most of the time of a step.

The arrays belong to the caller, and nothing in this file allocates or keeps one.
"""
inlined = njit(inline="always", error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""For functions on the way of every step: a call would copy the whole tuple of arrays."""
merged = njit(forceinline=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""The same for longer functions: they are put in place by LLVM, which compiles faster."""

# Columns of State.setting, shared by all lanes.
ACTION_MODE, NUMA_RULE, ALLOW_STAY, ALLOW_STOP, GRAPH, STEP_LIMIT = range(6)
NUM_SETTINGS = 6
TWO_STEP, JOINT, FLAT = range(3)
BEST, FIRST, KEEP, EXPLICIT = range(4)

# Columns of State.scalar, integers of one lane. The first nine come from the source.
PMS, VMS, LIMIT, KIND, SETS, TERMS, FIRST_TERM, CLUSTERS, RACKS = range(9)
NUM_SOURCE_SCALARS = 9
CLASSES, STATUS, IDLE, CHOSEN, USED, MIGRATIONS, USED_PMS, FREE_CPU = range(9, 17)
BASE_SEED, EPISODE, SEED, ELAPSED, TOUCHED_FROM, TOUCHED_TO, TOUCHED_VM, STAMP = range(17, 25)
NUM_SCALARS = 25
FRAGMENTS, MIXED, GOAL_KIND, EMPTY_PMS = range(4)
RUNNING, FINISHED, TRUNCATED = range(3)

# Columns of State.real, floats of one lane. The first two come from the source.
GOAL, SCALE, OBJECTIVE = range(3)
NUM_SOURCE_REALS = 2
NUM_REALS = 3

# Rows of State.pm. The capacities, rack and cluster come from the source in this order.
CPU_CAPACITY, MEMORY_CAPACITY, RACK, CLUSTER = 0, 2, 4, 5  # two columns for two nodes
NUM_SOURCE_PM_COLUMNS = 6
CPU, MEMORY, HOSTED, HEAD, MARK = 6, 8, 10, 11, 12  # what is free; first VM of a list
NUM_PM_COLUMNS = 13

# Columns of State.vm; the first seven come from the source.
SHARE, MEMORY_SHARE, NUMA, PM, NODE, MOVABLE, SET = range(7)
NUM_SOURCE_VM_COLUMNS = 7
CLASS, NEXT, PREVIOUS, MATE, MOVES = range(7, 12)  # neighbours on the PM; next of the set
NUM_VM_COLUMNS = 12
BOTH = 2
"""The node of a VM that has half of its cores and memory on each node."""

# Columns of State.group, one row a class of equal VMs.
GROUP_SHARE, GROUP_MEMORY, GROUP_NUMA, GROUP_FIRST, GROUP_SIZE, FEW, REMAINDER = range(7)
NUM_GROUP_COLUMNS = 7
MANY = np.int64(2**62)
PLACES, PLACES_BEFORE = range(2)

# Columns of State.affinity, one row an anti-affinity set; the first comes from the source.
RACK_LEVEL, MEMBERS, FIRST_MEMBER, LAST_MEMBER = range(4)
NUM_SET_COLUMNS = 4

# Columns of State.term, one row a fragment rate; the first three come from the source.
RESOURCE, CHUNK, DOUBLE, FRAGMENT, FREE = range(5)
NUM_SOURCE_TERM_COLUMNS = 3
NUM_TERM_COLUMNS = 5
CPU_TERM, MEMORY_TERM = range(2)
WEIGHT, GAIN = range(2)

# Streams of the keyed random numbers (16 and above belong to the generators).
RANDOM_VM, RANDOM_DESTINATION, NOISE = range(3)
RANDOM, HA, GREEDY_JOINT = range(3)

TRIES = 16
"""Draws for a random VM or destination before the kernel counts through the legal ones."""
INVALID_ACTION_REWARD = -1.0
LANES_PER_BLOCK = 4
VMS_SCALE = 20.0
"""VMs on a PM are shown divided by this number."""
REWARD_CORES = 128.0
"""By default this many fragment cores less give a reward of 1."""


class State(NamedTuple):
    """A batch of B clusters with at most P PMs, V VMs, C classes, S sets, T terms, L migrations.

    Attributes:
        setting: int64 (NUM_SETTINGS,), the same for all lanes.
        scalar: int64 (B, NUM_SCALARS).
        real: float64 (B, NUM_REALS).
        pm: int64 (B, NUM_PM_COLUMNS, P).
        vm: int64 (B, V, NUM_VM_COLUMNS).
        group: int64 (B, C, NUM_GROUP_COLUMNS), the classes; REMAINDER is what chunks of the first
            term leave of a share.
        member: int64 (B, V), the VMs class by class.
        places: int64 (B, C, K, 2), places with room for a class in each of K clusters, now and
            when VMs of the class were last looked at.
        rack_places: int64 (B, C, K, R), the same rack by rack.
        rack_mark: int64 (B, R).
        affinity: int64 (B, S, NUM_SET_COLUMNS).
        term: int64 (B, T, NUM_TERM_COLUMNS). Row 0 is the fragment rate of single nodes that
            the observation and the features are about.
        weight: float64 (B, T, 2): weight in the objective; the same per unit of the resource
            and relative to free cores, for gains.
        bound: float64 (B, C), scratch.
        legal: int8 (B, V), which VMs may be chosen.
        room: int8 (B, P, 2), nodes to which the chosen VM may go; both or none for two nodes.
        moves: int64 (B, L, 3), the migrations: VM, PM, node; -1 behind them.
    """

    setting: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    pm: np.ndarray
    vm: np.ndarray
    group: np.ndarray
    member: np.ndarray
    places: np.ndarray
    rack_places: np.ndarray
    rack_mark: np.ndarray
    affinity: np.ndarray
    term: np.ndarray
    weight: np.ndarray
    bound: np.ndarray
    legal: np.ndarray
    room: np.ndarray
    moves: np.ndarray


class Source(NamedTuple):
    """Where the instance of the next episode comes from: I prepared rows.

    Attributes:
        bank: int64 (1,): 1 if an episode plays row seed mod I, 0 if lane i plays row i.
        scalar: int64 (I, NUM_SOURCE_SCALARS). real: float64 (I, NUM_SOURCE_REALS).
        pm: int64 (I, NUM_SOURCE_PM_COLUMNS, P). vm: int64 (I, V, NUM_SOURCE_VM_COLUMNS).
        rack_level: int64 (I, S).
        term: int64 (I, T, NUM_SOURCE_TERM_COLUMNS). weight: float64 (I, T).
    """

    bank: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    pm: np.ndarray
    vm: np.ndarray
    rack_level: np.ndarray
    term: np.ndarray
    weight: np.ndarray


class Observation(NamedTuple):
    """Observation buffers, lane first; those of the other observation have no rows.

    The columns are described in the manual page of `VMReschedulingEnv`.
    """

    pm: np.ndarray
    vm: np.ndarray
    vm_pm: np.ndarray
    vm_numa: np.ndarray
    vm_mask: np.ndarray
    pm_mask: np.ndarray
    gain_out: np.ndarray
    gain_in: np.ndarray
    fits: np.ndarray
    chosen_vm: np.ndarray
    steps_left: np.ndarray
    num_steps: np.ndarray
    num_vms: np.ndarray
    action_mask: np.ndarray


class Outcome(NamedTuple):
    """What a step gives back, one entry a lane; the plan of episodes that ended in it.

    Attributes:
        reward: float64 (B,). terminated, truncated, invalid: bool (B,).
        scalar: int64 (B, NUM_SCALARS). real: float64 (B, NUM_REALS).
        term: int64 (B, T, NUM_TERM_COLUMNS). moves: int64 (B, L, 3). These and the two before
            are written when an episode ends.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    invalid: np.ndarray
    scalar: np.ndarray
    real: np.ndarray
    term: np.ndarray
    moves: np.ndarray


# --- Room and fragments ----------------------------------------------------------------------


@compiled
def has_room(pm, p, k, cpu, memory):
    """Tell whether node k of PM p has this much free."""
    return pm[CPU + k, p] >= cpu and pm[MEMORY + k, p] >= memory


@compiled
def places_of(first, second, numa):
    """Return the places on a PM whose nodes have room or not: 0 to 2, or 0 to 1 for two nodes."""
    if numa == 2:
        return 1 if first and second else 0
    return (1 if first else 0) + (1 if second else 0)


@compiled
def count_places(pm, p, cpu, memory, numa):
    """Return the places on PM p with room for a share."""
    return places_of(has_room(pm, p, 0, cpu, memory), has_room(pm, p, 1, cpu, memory), numa)


@compiled
def fragments(first, second, chunk, double):
    """Return what requests of `chunk` cannot use of what is free on the two nodes of a PM."""
    if double:
        half = chunk // 2
        return first + second - chunk * min(first // half, second // half)
    return first % chunk + second % chunk


@compiled
def term_fragments(pm, term, i, p, cpu_0, cpu_1, memory_0, memory_1):
    """Return the fragments of term i on PM p if this much more were free on its nodes."""
    chunk, double = term[i, CHUNK], term[i, DOUBLE]
    if term[i, RESOURCE] == CPU_TERM:
        return fragments(pm[CPU, p] + cpu_0, pm[CPU + 1, p] + cpu_1, chunk, double)
    return fragments(pm[MEMORY, p] + memory_0, pm[MEMORY + 1, p] + memory_1, chunk, double)


@inlined
def add_fragments(state, lane, p, sign):
    """Add the fragments of PM p to every term, or take them off."""
    pm, term = state.pm[lane], state.term[lane]
    for i in range(state.scalar[lane, TERMS]):
        term[i, FRAGMENT] += sign * term_fragments(pm, term, i, p, 0, 0, 0, 0)


@inlined
def add_places(state, lane, p, sign):
    """Add the places of PM p to the counts of every class, or take them off."""
    pm, group = state.pm[lane], state.group[lane]
    cpu_0, cpu_1, memory_0, memory_1 = pm[CPU, p], pm[CPU + 1, p], pm[MEMORY, p], pm[MEMORY + 1, p]
    cluster, rack = pm[CLUSTER, p], pm[RACK, p]
    places, rack_places = state.places[lane], state.rack_places[lane]
    for c in range(state.scalar[lane, CLASSES]):
        share, memory = group[c, GROUP_SHARE], group[c, GROUP_MEMORY]
        first = cpu_0 >= share and memory_0 >= memory
        second = cpu_1 >= share and memory_1 >= memory
        count = places_of(first, second, group[c, GROUP_NUMA])
        if count:
            places[c, cluster, PLACES] += sign * count
            rack_places[c, cluster, rack] += sign * count


@inlined
def fragment_rates(state, lane):
    """Return the weighted sum of the fragment rates, the J of the manual page."""
    term = state.term[lane]
    total = 0.0
    for i in range(state.scalar[lane, TERMS]):
        if term[i, FREE] > 0:
            total += state.weight[lane, i, WEIGHT] * (term[i, FRAGMENT] / term[i, FREE])
    return total


@inlined
def current_objective(state, lane):
    """Return what the migrations reduce: fragment rates, and machines in use where they count."""
    rate = fragment_rates(state, lane)
    if state.scalar[lane, KIND] == EMPTY_PMS:
        return state.scalar[lane, USED_PMS] + rate
    return rate


# --- Starting an episode ---------------------------------------------------------------------


@compiled
def load_machines(state, source, row, lane):
    """Lay the empty PMs of an instance into the lane."""
    pm = state.pm[lane]
    for p in range(pm.shape[1]):
        for column in range(NUM_SOURCE_PM_COLUMNS):
            pm[column, p] = source.pm[row, column, p]
        for k in range(2):
            pm[CPU + k, p] = pm[CPU_CAPACITY + k, p]
            pm[MEMORY + k, p] = pm[MEMORY_CAPACITY + k, p]
        pm[HOSTED, p] = 0
        pm[HEAD, p] = -1
        pm[MARK, p] = 0


@compiled
def link(scalar, pm, vm, v):
    """Put VM v at the head of the list of its PM."""
    p = vm[v, PM]
    following = pm[HEAD, p]
    vm[v, NEXT] = following
    vm[v, PREVIOUS] = -1
    if following >= 0:
        vm[following, PREVIOUS] = v
    else:
        scalar[USED_PMS] += 1
    pm[HEAD, p] = v
    pm[HOSTED, p] += 1


@compiled
def unlink(scalar, pm, vm, v):
    """Take VM v out of the list of its PM."""
    p, before, following = vm[v, PM], vm[v, PREVIOUS], vm[v, NEXT]
    if before >= 0:
        vm[before, NEXT] = following
    else:
        pm[HEAD, p] = following
    if following >= 0:
        vm[following, PREVIOUS] = before
    pm[HOSTED, p] -= 1
    if pm[HOSTED, p] == 0:
        scalar[USED_PMS] -= 1


@compiled
def occupy(pm, vm, v, sign):
    """Take what VM v needs from what is free on its nodes; give it back with sign -1."""
    p = vm[v, PM]
    for k in range(2):
        if vm[v, NODE] == k or vm[v, NODE] == BOTH:
            pm[CPU + k, p] -= sign * vm[v, SHARE]
            pm[MEMORY + k, p] -= sign * vm[v, MEMORY_SHARE]


@compiled
def load_vms(state, source, row, lane):
    """Place the VMs of an instance."""
    vm, pm = state.vm[lane], state.pm[lane]
    state.scalar[lane, USED_PMS] = 0
    for v in range(state.scalar[lane, VMS] - 1, -1, -1):
        for column in range(NUM_SOURCE_VM_COLUMNS):
            vm[v, column] = source.vm[row, v, column]
        vm[v, MATE] = v
        vm[v, MOVES] = 0
        occupy(pm, vm, v, 1)
        link(state.scalar[lane], pm, vm, v)


@inlined
def find_class(state, lane, v, known):
    """Return the class of VM v among the `known` first, or `known` for a new one."""
    vm, group = state.vm[lane], state.group[lane]
    for c in range(known):
        if (
            group[c, GROUP_SHARE] == vm[v, SHARE]
            and group[c, GROUP_MEMORY] == vm[v, MEMORY_SHARE]
            and group[c, GROUP_NUMA] == vm[v, NUMA]
        ):
            return c
    return known


@compiled
def sort_classes(state, lane):
    """Find the classes of equal VMs and list their members."""
    vm, group, member = state.vm[lane], state.group[lane], state.member[lane]
    vms, classes = state.scalar[lane, VMS], 0
    for v in range(vms):
        c = find_class(state, lane, v, classes)
        if c == classes:
            classes += 1
            group[c, GROUP_SHARE] = vm[v, SHARE]
            group[c, GROUP_MEMORY] = vm[v, MEMORY_SHARE]
            group[c, GROUP_NUMA] = vm[v, NUMA]
            group[c, GROUP_SIZE] = 0
            group[c, FEW] = 1
        vm[v, CLASS] = c
        group[c, GROUP_SIZE] += 1
    first = 0
    for c in range(classes):
        group[c, GROUP_FIRST] = first
        first += group[c, GROUP_SIZE]
        group[c, GROUP_SIZE] = 0
    for v in range(vms):
        c = vm[v, CLASS]
        member[group[c, GROUP_FIRST] + group[c, GROUP_SIZE]] = v
        group[c, GROUP_SIZE] += 1
    state.scalar[lane, CLASSES] = classes


@compiled
def link_sets(state, source, row, lane):
    """Close the VMs of each anti-affinity set to a ring and note when a class is to be checked."""
    vm, group, affinity = state.vm[lane], state.group[lane], state.affinity[lane]
    for s in range(state.scalar[lane, SETS]):
        affinity[s, RACK_LEVEL] = source.rack_level[row, s]
        affinity[s, MEMBERS] = 0
    for v in range(state.scalar[lane, VMS]):
        s = vm[v, SET]
        if s >= 0:
            if affinity[s, MEMBERS] == 0:
                affinity[s, FIRST_MEMBER] = v
            else:
                vm[affinity[s, LAST_MEMBER], MATE] = v
            vm[v, MATE] = affinity[s, FIRST_MEMBER]
            affinity[s, LAST_MEMBER] = v
            affinity[s, MEMBERS] += 1
    for v in range(state.scalar[lane, VMS]):
        s = vm[v, SET]
        if s >= 0:
            few = MANY if affinity[s, RACK_LEVEL] else 2 * affinity[s, MEMBERS]
            group[vm[v, CLASS], FEW] = max(group[vm[v, CLASS], FEW], few)


@compiled
def count_all_places(state, lane):
    """Count the places with room for each class."""
    for c in range(state.scalar[lane, CLASSES]):
        for cluster in range(state.places.shape[2]):
            state.places[lane, c, cluster, PLACES] = 0
            for rack in range(state.rack_places.shape[3]):
                state.rack_places[lane, c, cluster, rack] = 0
    for rack in range(state.rack_mark.shape[1]):
        state.rack_mark[lane, rack] = 0
    for p in range(state.scalar[lane, PMS]):
        add_places(state, lane, p, 1)


@compiled
def load_terms(state, source, row, lane):
    """Set up the fragment rates and the scale of the reward."""
    scalar, term = state.scalar[lane], state.term[lane]
    cpu, memory = 0, 0
    for p in range(scalar[PMS]):
        cpu += state.pm[lane, CPU, p] + state.pm[lane, CPU + 1, p]
        memory += state.pm[lane, MEMORY, p] + state.pm[lane, MEMORY + 1, p]
    scalar[FREE_CPU] = cpu
    for i in range(scalar[TERMS]):
        for column in range(NUM_SOURCE_TERM_COLUMNS):
            term[i, column] = source.term[row, i, column]
        term[i, FRAGMENT] = 0
        term[i, FREE] = cpu if term[i, RESOURCE] == CPU_TERM else memory
        weight = source.weight[row, i]
        state.weight[lane, i, WEIGHT] = weight
        state.weight[lane, i, GAIN] = weight * (max(cpu, 1) / max(term[i, FREE], 1))
    for p in range(scalar[PMS]):
        add_fragments(state, lane, p, 1)
    for c in range(scalar[CLASSES]):
        state.group[lane, c, REMAINDER] = state.group[lane, c, GROUP_SHARE] % term[0, CHUNK]
    if state.real[lane, SCALE] == 0.0:
        state.real[lane, SCALE] = default_scale(state, lane)


@inlined
def default_scale(state, lane):
    """Return the factor of the reward where the user gives none."""
    kind = state.scalar[lane, KIND]
    if kind == GOAL_KIND:
        return 1.0 / max(state.scalar[lane, LIMIT], 1)
    if kind == EMPTY_PMS:
        return 1.0
    return state.scalar[lane, FREE_CPU] / REWARD_CORES


@compiled
def reset_lane(state, source, lane):
    """Begin the episode whose seed stands in the lane."""
    scalar, real = state.scalar[lane], state.real[lane]
    row = scalar[SEED] % source.scalar.shape[0] if source.bank[0] else lane
    for column in range(NUM_SOURCE_SCALARS):
        scalar[column] = source.scalar[row, column]
    for column in range(NUM_SOURCE_REALS):
        real[column] = source.real[row, column]
    load_machines(state, source, row, lane)
    load_vms(state, source, row, lane)
    sort_classes(state, lane)
    link_sets(state, source, row, lane)
    count_all_places(state, lane)
    load_terms(state, source, row, lane)
    scalar[STATUS] = RUNNING
    scalar[CHOSEN] = scalar[TOUCHED_FROM] = scalar[TOUCHED_TO] = scalar[TOUCHED_VM] = -1
    scalar[USED] = scalar[MIGRATIONS] = scalar[ELAPSED] = scalar[STAMP] = 0
    real[OBJECTIVE] = current_objective(state, lane)
    for i in range(state.moves.shape[1]):
        for column in range(3):
            state.moves[lane, i, column] = -1
    begin(state, lane)


@compiled
def begin(state, lane):
    """Find the VMs that may move; where there is nothing to do, only stopping is legal."""
    scalar = state.scalar[lane]
    for v in range(state.legal.shape[1]):
        state.legal[lane, v] = 0
    for c in range(scalar[CLASSES]):
        check_class(state, lane, c)
    over = scalar[LIMIT] == 0 or goal_reached(state, lane)
    scalar[IDLE] = over or not any_legal(state, lane)
    if scalar[IDLE]:
        close_lane(state, lane)


@inlined
def any_legal(state, lane):
    """Tell whether some VM may move."""
    for v in range(state.scalar[lane, VMS]):
        if state.legal[lane, v]:
            return True
    return False


@inlined
def close_lane(state, lane):
    """Make every VM illegal."""
    for v in range(state.scalar[lane, VMS]):
        state.legal[lane, v] = 0


@compiled
def goal_reached(state, lane):
    """Tell whether the episode is over because its goal is reached."""
    if state.scalar[lane, KIND] != GOAL_KIND:
        return False
    return fragment_rates(state, lane) <= state.real[lane, GOAL]


# --- Which VMs may move, and where to --------------------------------------------------------


@compiled
def mark_mates(state, lane, v):
    """Mark the PMs, or racks, where other VMs of the set of VM v are, its own apart.

    Returns:
        The places with room for its class that are closed by these marks.
    """
    scalar, vm, pm = state.scalar[lane], state.vm[lane], state.pm[lane]
    scalar[STAMP] += 1
    stamp, c, home = scalar[STAMP], vm[v, CLASS], vm[v, PM]
    rack_level = state.affinity[lane, vm[v, SET], RACK_LEVEL]
    cluster = pm[CLUSTER, home]
    closed = 0
    mate = vm[v, MATE]
    while mate != v:
        p = vm[mate, PM]
        rack = pm[RACK, p]
        if rack_level:
            if rack != pm[RACK, home] and state.rack_mark[lane, rack] != stamp:
                state.rack_mark[lane, rack] = stamp
                closed += state.rack_places[lane, c, cluster, rack]
        elif p != home and pm[MARK, p] != stamp:
            pm[MARK, p] = stamp
            if pm[CLUSTER, p] == cluster:
                closed += count_places(pm, p, vm[v, SHARE], vm[v, MEMORY_SHARE], vm[v, NUMA])
        mate = vm[mate, MATE]
    return closed


@inlined
def is_marked(state, lane, p, rack_level):
    """Tell whether the last marks close PM p."""
    stamp = state.scalar[lane, STAMP]
    if rack_level:
        return state.rack_mark[lane, state.pm[lane, RACK, p]] == stamp
    return state.pm[lane, MARK, p] == stamp


@inlined
def vm_is_legal(state, lane, v):
    """Tell whether VM v may move anywhere, by the counts of its class."""
    vm, pm = state.vm[lane], state.pm[lane]
    if not vm[v, MOVABLE]:
        return False
    if state.setting[ALLOW_STAY]:
        return True
    home, share, memory = vm[v, PM], vm[v, SHARE], vm[v, MEMORY_SHARE]
    places = state.places[lane, vm[v, CLASS], pm[CLUSTER, home], PLACES]
    if vm[v, NUMA] == 2:
        places -= count_places(pm, home, share, memory, 2)
    elif has_room(pm, home, vm[v, NODE], share, memory):
        places -= 1
    if places > 0 and vm[v, SET] >= 0:
        places -= mark_mates(state, lane, v)
    return places > 0


@merged
def check_class(state, lane, c):
    """Look again at all VMs of class c."""
    first = state.group[lane, c, GROUP_FIRST]
    for i in range(first, first + state.group[lane, c, GROUP_SIZE]):
        v = state.member[lane, i]
        state.legal[lane, v] = 1 if vm_is_legal(state, lane, v) else 0
    for cluster in range(state.scalar[lane, CLUSTERS]):
        places = state.places[lane, c, cluster]
        places[PLACES_BEFORE] = places[PLACES]


@inlined
def class_may_change(state, lane, c):
    """Tell whether VMs of class c may have become legal or illegal: few places now or before."""
    few = state.group[lane, c, FEW]
    for cluster in range(state.scalar[lane, CLUSTERS]):
        now = state.places[lane, c, cluster, PLACES]
        before = state.places[lane, c, cluster, PLACES_BEFORE]
        if min(now, before) <= few and max(now, before) > 0:
            return True
    return False


@merged
def find_room(state, lane, v):
    """Write to which nodes VM v may go."""
    vm, pm, room = state.vm[lane], state.pm[lane], state.room[lane]
    share, memory, numa = vm[v, SHARE], vm[v, MEMORY_SHARE], vm[v, NUMA]
    home, s = vm[v, PM], vm[v, SET]
    cluster = pm[CLUSTER, home]
    rack_level = False
    if s >= 0:
        mark_mates(state, lane, v)
        rack_level = state.affinity[lane, s, RACK_LEVEL] != 0
    for p in range(state.scalar[lane, PMS]):
        first = has_room(pm, p, 0, share, memory)
        second = has_room(pm, p, 1, share, memory)
        if numa == 2:
            first = second = first and second
        if pm[CLUSTER, p] != cluster or (s >= 0 and is_marked(state, lane, p, rack_level)):
            first = second = False
        room[p, 0] = 1 if first else 0
        room[p, 1] = 1 if second else 0
    stay = 1 if state.setting[ALLOW_STAY] else 0
    if numa == 2:
        room[home, 0] = room[home, 1] = stay
    else:
        room[home, vm[v, NODE]] = stay


@inlined
def is_destination(state, lane, v, d):
    """Tell whether d is a legal destination of VM v, for which `find_room` was called."""
    room = state.room[lane]
    if state.setting[NUMA_RULE] == EXPLICIT:
        p, k = d // 2, d % 2
        return room[p, k] == 1 and (k == 0 or state.vm[lane, v, NUMA] == 1)
    return room[d, 0] == 1 or room[d, 1] == 1


@inlined
def num_destinations(state, lane):
    """Return the number of destinations of the lane's instance."""
    return state.scalar[lane, PMS] * (2 if state.setting[NUMA_RULE] == EXPLICIT else 1)


@inlined
def max_destinations(state):
    """Return the number of destinations of the largest instance."""
    return state.pm.shape[2] * (2 if state.setting[NUMA_RULE] == EXPLICIT else 1)


@inlined
def destination_pm(state, d):
    """Return the PM of destination d."""
    return d // 2 if state.setting[NUMA_RULE] == EXPLICIT else d


@inlined
def smaller_remainder(state, lane, v, p):
    """Return the node of PM p that VM v would leave with the smaller fragment."""
    vm, pm, chunk = state.vm[lane], state.pm[lane], state.term[lane, 0, CHUNK]
    first, second = pm[CPU, p] - vm[v, SHARE], pm[CPU + 1, p] - vm[v, SHARE]
    if p == vm[v, PM]:  # it is released first
        if vm[v, NODE] == 0:
            first += vm[v, SHARE]
        else:
            second += vm[v, SHARE]
    return 1 if second % chunk < first % chunk else 0


@inlined
def destination_node(state, lane, v, d):
    """Return the node that VM v takes at its legal destination d: 0, 1, or 2 for both."""
    vm, room, rule = state.vm[lane], state.room[lane], state.setting[NUMA_RULE]
    if vm[v, NUMA] == 2:
        return BOTH
    if rule == EXPLICIT:
        return d % 2
    if room[d, 0] == 0 or room[d, 1] == 0:
        return 0 if room[d, 0] == 1 else 1
    if rule == FIRST:
        return 0
    if rule == KEEP:
        return vm[v, NODE]
    return smaller_remainder(state, lane, v, d)


# --- A migration -----------------------------------------------------------------------------


@inlined
def migrate(state, lane, v, p, node):
    """Move VM v to a node (or both) of PM p and keep all counts; staying moves nothing."""
    scalar, vm, pm = state.scalar[lane], state.vm[lane], state.pm[lane]
    home = vm[v, PM]
    if p == home and node == vm[v, NODE]:
        return
    add_both(state, lane, home, p, -1)
    occupy(pm, vm, v, -1)
    unlink(scalar, pm, vm, v)
    vm[v, PM] = p
    vm[v, NODE] = node
    occupy(pm, vm, v, 1)
    link(scalar, pm, vm, v)
    add_both(state, lane, home, p, 1)
    vm[v, MOVES] += 1
    move = state.moves[lane, scalar[MIGRATIONS]]
    move[0], move[1], move[2] = v, p, node
    scalar[MIGRATIONS] += 1
    scalar[TOUCHED_FROM], scalar[TOUCHED_TO], scalar[TOUCHED_VM] = home, p, v


@merged
def add_both(state, lane, home, p, sign):
    """Add fragments and places of one PM or two to the counts, or take them off."""
    add_fragments(state, lane, home, sign)
    add_places(state, lane, home, sign)
    if p != home:
        add_fragments(state, lane, p, sign)
        add_places(state, lane, p, sign)


@inlined
def refresh_legal(state, lane):
    """Look again at the VMs that the last migration may have made legal or illegal."""
    for c in range(state.scalar[lane, CLASSES]):
        if class_may_change(state, lane, c):
            check_class(state, lane, c)


@inlined
def goal_cost(state, lane, moved):
    """Return what a step costs in migrations when reaching a goal is the objective."""
    scalar = state.scalar[lane]
    cost = moved
    if scalar[STATUS] == FINISHED and not goal_reached(state, lane):
        cost += scalar[LIMIT] + 1 - scalar[MIGRATIONS]
    return np.float64(cost)


@inlined
def finish(state, lane):
    """End the episode."""
    state.scalar[lane, STATUS] = FINISHED
    close_lane(state, lane)


@compiled
def apply_move(state, lane, v, d):
    """Carry out a legal decision and return its reward; `find_room` was called for VM v."""
    scalar, real = state.scalar[lane], state.real[lane]
    before, migrations = real[OBJECTIVE], scalar[MIGRATIONS]
    node = destination_node(state, lane, v, d)
    migrate(state, lane, v, destination_pm(state, d), node)
    scalar[USED] += 1
    moved = scalar[MIGRATIONS] - migrations
    if moved:
        refresh_legal(state, lane)
        real[OBJECTIVE] = current_objective(state, lane)
    if scalar[USED] == scalar[LIMIT] or goal_reached(state, lane) or not any_legal(state, lane):
        finish(state, lane)
    if scalar[KIND] == GOAL_KIND:
        return -goal_cost(state, lane, moved) * real[SCALE]
    return (before - real[OBJECTIVE]) * real[SCALE]


@compiled
def apply_stop(state, lane):
    """End the episode at the agent's wish and return the reward."""
    finish(state, lane)
    if state.scalar[lane, KIND] == GOAL_KIND:
        return -goal_cost(state, lane, 0) * state.real[lane, SCALE]
    return 0.0


# --- Actions ---------------------------------------------------------------------------------


@compiled
def stop_is_legal(state, lane):
    """Tell whether the agent may end the episode."""
    scalar = state.scalar[lane]
    asked = scalar[STATUS] == RUNNING and scalar[CHOSEN] < 0
    return asked and (scalar[IDLE] == 1 or state.setting[ALLOW_STOP] == 1)


@compiled
def pair_is_legal(state, lane, v, d):
    """Tell whether VM v may go to destination d, in one decision."""
    if not 0 <= v < state.scalar[lane, VMS] or not 0 <= d < num_destinations(state, lane):
        return False
    if state.legal[lane, v] == 0:
        return False
    find_room(state, lane, v)
    return is_destination(state, lane, v, d)


@inlined
def is_joint_stop(state, lane, v, d):
    """Tell whether this is the one action of a joint episode in which nothing can be done."""
    scalar = state.scalar[lane]
    return scalar[STATUS] == RUNNING and scalar[IDLE] == 1 and v == 0 and d == 0


@merged
def act_in_two_steps(state, lane, action, outcome):
    """Choose a VM or, when one is chosen, its destination; true if that is legal."""
    scalar = state.scalar[lane]
    v = scalar[CHOSEN]
    if v >= 0:
        if not 0 <= action < num_destinations(state, lane):
            return False
        if not is_destination(state, lane, v, action):
            return False
        scalar[CHOSEN] = -1
        outcome.reward[lane] = apply_move(state, lane, v, action)
        return True
    if action == max(state.vm.shape[1], max_destinations(state)) and stop_is_legal(state, lane):
        outcome.reward[lane] = apply_stop(state, lane)
        return True
    if not 0 <= action < scalar[VMS] or state.legal[lane, action] == 0:
        return False
    scalar[CHOSEN] = action
    find_room(state, lane, action)
    outcome.reward[lane] = 0.0
    return True


@compiled
def joint_action_is_legal(state, lane, v, d):
    """Tell whether VM v may go to destination d in the joint mode."""
    return is_joint_stop(state, lane, v, d) or pair_is_legal(state, lane, v, d)


@compiled
def write_destinations(state, lane, v, mask):
    """Write where VM v may go into a mask of zeros, and leave everything else as it was."""
    scalar = state.scalar[lane]
    if not 0 <= v < scalar[VMS] or state.legal[lane, v] == 0:
        return
    find_room(state, lane, v)
    for d in range(num_destinations(state, lane)):
        mask[d] = is_destination(state, lane, v, d)
    if scalar[CHOSEN] >= 0:
        find_room(state, lane, scalar[CHOSEN])


@compiled
def act_jointly(state, lane, v, d, outcome):
    """Move VM v to destination d; true if that is legal."""
    if is_joint_stop(state, lane, v, d):
        outcome.reward[lane] = apply_stop(state, lane)
        return True
    if not pair_is_legal(state, lane, v, d):
        return False
    outcome.reward[lane] = apply_move(state, lane, v, d)
    return True


@compiled
def act_flat(state, lane, action, outcome):
    """Move the VM of a flat action to its destination; true if that is legal."""
    width = max_destinations(state)
    if action == state.vm.shape[1] * width and stop_is_legal(state, lane):
        outcome.reward[lane] = apply_stop(state, lane)
        return True
    if not pair_is_legal(state, lane, action // width, action % width):
        return False
    outcome.reward[lane] = apply_move(state, lane, action // width, action % width)
    return True


@inlined
def apply_action(state, lane, first, second, outcome):
    """Apply an action in the action mode of the environment; true if it is legal."""
    scalar, mode = state.scalar[lane], state.setting[ACTION_MODE]
    scalar[TOUCHED_FROM] = scalar[TOUCHED_TO] = scalar[TOUCHED_VM] = -1
    if scalar[STATUS] != RUNNING:
        return False
    if mode == TWO_STEP:
        return act_in_two_steps(state, lane, first, outcome)
    if mode == JOINT:
        return act_jointly(state, lane, first, second, outcome)
    return act_flat(state, lane, first, outcome)


# --- Rules -----------------------------------------------------------------------------------


@inlined
def leave_gain(state, lane, v):
    """Return how much the fragments shrink when VM v leaves its nodes.

    In fragment cores; memory is converted by the weights of the objective, and a PM that it
    leaves empty counts as much as all free cores where machines in use count.
    """
    vm, pm, term = state.vm[lane], state.pm[lane], state.term[lane]
    p, node = vm[v, PM], vm[v, NODE]
    share, memory = vm[v, SHARE], vm[v, MEMORY_SHARE]
    cpu_0 = share if node != 1 else 0
    cpu_1 = share if node != 0 else 0
    memory_0 = memory if node != 1 else 0
    memory_1 = memory if node != 0 else 0
    gain = 0.0
    for i in range(state.scalar[lane, TERMS]):
        before = term_fragments(pm, term, i, p, 0, 0, 0, 0)
        after = term_fragments(pm, term, i, p, cpu_0, cpu_1, memory_0, memory_1)
        gain += state.weight[lane, i, GAIN] * (before - after)
    if state.scalar[lane, KIND] == EMPTY_PMS and pm[HOSTED, p] == 1:
        gain += max(state.scalar[lane, FREE_CPU], 1)
    return gain


@inlined
def join_gain(state, lane, v, p, node):
    """Return how much the fragments shrink when VM v, having left its nodes, goes to PM p."""
    vm, pm, term = state.vm[lane], state.pm[lane], state.term[lane]
    share, memory, home = vm[v, SHARE], vm[v, MEMORY_SHARE], vm[v, PM]
    left_0 = 1 if p == home and vm[v, NODE] != 1 else 0
    left_1 = 1 if p == home and vm[v, NODE] != 0 else 0
    now_0 = left_0 - (1 if node != 1 else 0)
    now_1 = left_1 - (1 if node != 0 else 0)
    gain = 0.0
    for i in range(state.scalar[lane, TERMS]):
        before = term_fragments(
            pm, term, i, p, left_0 * share, left_1 * share, left_0 * memory, left_1 * memory
        )
        after = term_fragments(
            pm, term, i, p, now_0 * share, now_1 * share, now_0 * memory, now_1 * memory
        )
        gain += state.weight[lane, i, GAIN] * (before - after)
    hosted = pm[HOSTED, p] - (1 if p == home else 0)
    if state.scalar[lane, KIND] == EMPTY_PMS and hosted == 0:
        gain -= max(state.scalar[lane, FREE_CPU], 1)
    return gain


@compiled
def best_destination(state, lane, v):
    """Return the legal destination with the largest gain (ties: the first), -1 if none; its gain.

    `find_room` was called for VM v.
    """
    best, best_gain = -1, -np.inf
    for d in range(num_destinations(state, lane)):
        if is_destination(state, lane, v, d):
            node = destination_node(state, lane, v, d)
            gain = join_gain(state, lane, v, destination_pm(state, d), node)
            if gain > best_gain:
                best, best_gain = d, gain
    return best, best_gain


@compiled
def bound_gains(state, lane):
    """Write, for each class, the best gain of joining any place with room.

    No flip gains more: where fragments of two nodes count together, a node that has just been
    left makes room on the other more valuable, and so joining it more costly.
    """
    pm, group, scalar = state.pm[lane], state.group[lane], state.scalar[lane]
    for c in range(scalar[CLASSES]):
        state.bound[lane, c] = -np.inf
        v = state.member[lane, group[c, GROUP_FIRST]]
        share, memory = group[c, GROUP_SHARE], group[c, GROUP_MEMORY]
        for p in range(scalar[PMS]):
            if group[c, GROUP_NUMA] == 2:
                if count_places(pm, p, share, memory, 2):
                    state.bound[lane, c] = max(
                        state.bound[lane, c], fresh_gain(state, lane, v, p, 2)
                    )
                continue
            for k in range(2):
                if has_room(pm, p, k, share, memory):
                    state.bound[lane, c] = max(
                        state.bound[lane, c], fresh_gain(state, lane, v, p, k)
                    )


@inlined
def fresh_gain(state, lane, v, p, node):
    """Return what `join_gain` gives to a VM like v that is on another PM."""
    vm, pm, term = state.vm[lane], state.pm[lane], state.term[lane]
    cpu_0 = -vm[v, SHARE] if node != 1 else 0
    cpu_1 = -vm[v, SHARE] if node != 0 else 0
    memory_0 = -vm[v, MEMORY_SHARE] if node != 1 else 0
    memory_1 = -vm[v, MEMORY_SHARE] if node != 0 else 0
    gain = 0.0
    for i in range(state.scalar[lane, TERMS]):
        before = term_fragments(pm, term, i, p, 0, 0, 0, 0)
        after = term_fragments(pm, term, i, p, cpu_0, cpu_1, memory_0, memory_1)
        gain += state.weight[lane, i, GAIN] * (before - after)
    if state.scalar[lane, KIND] == EMPTY_PMS and pm[HOSTED, p] == 0:
        gain -= max(state.scalar[lane, FREE_CPU], 1)
    return gain


@inlined
def gumbel(state, lane, sample, v):
    """Return the noise on the gain of VM v at this migration, of the sample's own."""
    scalar = state.scalar[lane]
    u = uniform(np.uint64(scalar[SEED]), NOISE + 8 * sample, scalar[USED], v)
    return -math.log(-math.log(u + 1e-300) + 1e-300)


@compiled
def best_pair(state, lane, tabu, temperature, sample):
    """Return the VM and destination of the largest summed gain (ties: the first), and that gain.

    With tabu, nothing may be lost, and a VM that has moved before moves again only if something
    is gained. Noise of size `temperature` is added to the gains of VMs. Returns -1 for the VM
    where nothing is left to choose from; else the room of the chosen VM has been found.
    """
    vm = state.vm[lane]
    bound_gains(state, lane)
    best, best_place, best_gain, best_value = -1, -1, -np.inf, -np.inf
    for v in range(state.scalar[lane, VMS]):
        if state.legal[lane, v] == 0:
            continue
        noise = temperature * gumbel(state, lane, sample, v) if temperature > 0.0 else 0.0
        leaving = leave_gain(state, lane, v)
        bound = leaving + state.bound[lane, vm[v, CLASS]]
        if state.setting[ALLOW_STAY]:
            bound = max(bound, 0.0)
        if bound + noise <= best_value or (tabu and is_tabu(vm, v, bound)):
            continue
        find_room(state, lane, v)
        d, joining = best_destination(state, lane, v)
        gain = leaving + joining
        if gain + noise > best_value and not (tabu and is_tabu(vm, v, gain)):
            best, best_place, best_gain, best_value = v, d, gain, gain + noise
    if best >= 0:
        find_room(state, lane, best)  # what the last candidate left there is of no use
    return best, best_place, best_gain


@inlined
def is_tabu(vm, v, gain):
    """Tell whether a migration of VM v with this gain would lose something or go in circles."""
    return gain < 0.0 or (gain <= 0.0 and vm[v, MOVES] > 0)


@compiled
def ha_vm(state, lane, temperature, sample):
    """Return the movable VM of at most one chunk that gains most by leaving (ties: the first)."""
    vm, chunk = state.vm[lane], state.term[lane, 0, CHUNK]
    best, best_gain, best_value = -1, -np.inf, -np.inf
    for v in range(state.scalar[lane, VMS]):
        if vm[v, MOVABLE] and vm[v, SHARE] * vm[v, NUMA] <= chunk:
            gain = leave_gain(state, lane, v)
            value = gain
            if temperature > 0.0:
                value += temperature * gumbel(state, lane, sample, v)
            if value > best_value:
                best, best_gain, best_value = v, gain, value
    return best, best_gain


@compiled
def ha_pair(state, lane, temperature, sample):
    """Return the migration of the filter-and-score heuristic; -1 for the VM where it stops."""
    v, leaving = ha_vm(state, lane, temperature, sample)
    if v < 0 or state.legal[lane, v] == 0:
        return -1, -1
    find_room(state, lane, v)
    d, joining = best_destination(state, lane, v)
    if leaving + joining <= 0.0:
        return -1, -1
    return v, d


@inlined
def random_number(state, lane, stream, index):
    """Return a number in [0, 1) that depends on seed, migration and index only."""
    scalar = state.scalar[lane]
    return uniform(np.uint64(scalar[SEED]), stream, scalar[USED], index)


@compiled
def random_vm(state, lane):
    """Return a legal VM, all equally likely; -1 if there is none."""
    vms = state.scalar[lane, VMS]
    for i in range(TRIES):
        v = np.int64(random_number(state, lane, RANDOM_VM, i) * vms)
        if state.legal[lane, v]:
            return v
    count = 0
    for v in range(vms):
        count += state.legal[lane, v]
    left = np.int64(random_number(state, lane, RANDOM_VM, TRIES) * count)
    for v in range(vms):
        left -= state.legal[lane, v]
        if left < 0:
            return v
    return -1


@compiled
def random_destination(state, lane, v):
    """Return a legal destination of VM v, all equally likely; `find_room` was called for it."""
    destinations, count = num_destinations(state, lane), 0
    for i in range(TRIES):
        d = np.int64(random_number(state, lane, RANDOM_DESTINATION, i) * destinations)
        if is_destination(state, lane, v, d):
            return d
    for d in range(destinations):
        count += 1 if is_destination(state, lane, v, d) else 0
    left = np.int64(random_number(state, lane, RANDOM_DESTINATION, TRIES) * count)
    for d in range(destinations):
        left -= 1 if is_destination(state, lane, v, d) else 0
        if left < 0:
            return d
    return -1


@compiled
def rule_pair(state, lane, rule, temperature, sample):
    """Return the VM and destination a rule decides for; -1 for the VM where it would stop."""
    if rule == RANDOM:
        v = random_vm(state, lane)
        if v < 0:
            return -1, -1
        find_room(state, lane, v)
        return v, random_destination(state, lane, v)
    if rule == HA:
        v, d = ha_pair(state, lane, temperature, sample)
        if v < 0 and temperature > 0.0:  # the noise may have hit on a VM that gains nothing
            v, d = ha_pair(state, lane, 0.0, sample)
        return v, d
    v, d, _ = best_pair(state, lane, True, temperature, sample)
    return v, d


@compiled
def rule_decision(state, lane, rule, temperature, sample):
    """Return the same; where it would stop and may not, the legal pair of the largest gain."""
    v, d = rule_pair(state, lane, rule, temperature, sample)
    if v < 0 and not stop_is_legal(state, lane):
        v, d, _ = best_pair(state, lane, False, 0.0, sample)
    return v, d


@compiled
def chosen_destination(state, lane, rule):
    """Return where a rule moves the VM that is already chosen."""
    v = state.scalar[lane, CHOSEN]
    if rule == RANDOM:
        return random_destination(state, lane, v)
    d, _ = best_destination(state, lane, v)
    return d


@compiled
def rule_action(state, lane, rule, actions):
    """Write the action of a rule for a lane; -1 where its episode has ended."""
    scalar, mode = state.scalar[lane], state.setting[ACTION_MODE]
    action = actions[lane]
    action[0] = action[action.shape[0] - 1] = -1
    if scalar[STATUS] != RUNNING:
        return
    if scalar[CHOSEN] >= 0:
        action[0] = chosen_destination(state, lane, rule)
        return
    v, d = rule_decision(state, lane, rule, 0.0, 0)
    width = max_destinations(state)
    if mode == JOINT:
        action[0], action[1] = max(v, 0), max(d, 0)
    elif mode == FLAT:
        action[0] = v * width + d if v >= 0 else state.vm.shape[1] * width
    else:
        action[0] = v if v >= 0 else max(state.vm.shape[1], width)


@compiled
def run_rule(state, lane, rule, temperature, sample):
    """Play the episode to its end under a rule."""
    scalar = state.scalar[lane]
    if scalar[STATUS] == RUNNING and scalar[CHOSEN] >= 0:
        v, d = scalar[CHOSEN], chosen_destination(state, lane, rule)
        scalar[CHOSEN] = -1
        apply_move(state, lane, v, d)
    while scalar[STATUS] == RUNNING:
        v, d = rule_decision(state, lane, rule, temperature, sample)
        if v < 0:
            apply_stop(state, lane)
        else:
            apply_move(state, lane, v, d)


# --- Observations ----------------------------------------------------------------------------


@compiled
def node_features(state, lane, p, row):
    """Write the eight features of the free cores and MB of PM p."""
    pm, chunk = state.pm[lane], state.term[lane, 0, CHUNK]
    graph = state.setting[GRAPH]
    for k in range(2):
        cpu, memory = pm[CPU_CAPACITY + k, p], pm[MEMORY_CAPACITY + k, p]
        if not graph:
            cpu = pm[CPU_CAPACITY, p] + pm[CPU_CAPACITY + 1, p]
            memory = pm[MEMORY_CAPACITY, p] + pm[MEMORY_CAPACITY + 1, p]
        free = pm[CPU + k, p]
        remainder = free % chunk
        row[k] = free / max(cpu, 1)
        row[2 + k] = pm[MEMORY + k, p] / max(memory, 1)
        row[4 + 2 * k] = remainder / max(free, 1)
        row[5 + 2 * k] = remainder / chunk


@inlined
def share_remainder(state, lane, v):
    """Return what chunks of the first term leave of the share of VM v."""
    return state.group[lane, state.vm[lane, v, CLASS], REMAINDER]


@compiled
def share_features(state, lane, v, row):
    """Write the six features of what VM v takes of each node of its PM."""
    vm, pm, chunk = state.vm[lane], state.pm[lane], state.term[lane, 0, CHUNK]
    p, node, share = vm[v, PM], vm[v, NODE], vm[v, SHARE]
    graph, part = state.setting[GRAPH], share_remainder(state, lane, v) / chunk
    for k in range(2):
        here = node == k or node == BOTH
        cpu, memory = pm[CPU_CAPACITY + k, p], pm[MEMORY_CAPACITY + k, p]
        if not graph:
            cpu = pm[CPU_CAPACITY, p] + pm[CPU_CAPACITY + 1, p]
            memory = pm[MEMORY_CAPACITY, p] + pm[MEMORY_CAPACITY + 1, p]
        row[k] = share / max(cpu, 1) if here else 0.0
        row[2 + k] = vm[v, MEMORY_SHARE] / max(memory, 1) if here else 0.0
        row[4 + k] = part if here else 0.0


@inlined
def show_pm(state, observation, lane, p):
    """Write the row of PM p."""
    row = observation.pm[lane, p]
    node_features(state, lane, p, row)
    if state.setting[GRAPH]:
        row[8] = state.pm[lane, HOSTED, p] / VMS_SCALE


@inlined
def leave_change(fragment, remainder, chunk):
    """Return by how much a fragment shrinks when cores with this remainder become free."""
    return -remainder if fragment + remainder < chunk else chunk - remainder


@inlined
def join_change(fragment, remainder, chunk):
    """Return by how much a fragment shrinks when free cores with this remainder are taken."""
    return remainder if fragment >= remainder else remainder - chunk


@inlined
def show_hosts(state, observation, lane, p):
    """Write what the VMs of PM p show of it."""
    vm, pm, chunk = state.vm[lane], state.pm[lane], state.term[lane, 0, CHUNK]
    first, second = pm[CPU, p] % chunk, pm[CPU + 1, p] % chunk
    v = pm[HEAD, p]
    while v >= 0:
        if state.setting[GRAPH]:
            node, remainder, gain = vm[v, NODE], share_remainder(state, lane, v), 0
            if node != 1:
                gain += leave_change(first, remainder, chunk)
            if node != 0:
                gain += leave_change(second, remainder, chunk)
            observation.gain_out[lane, v] = gain / chunk
        else:
            for column in range(8):
                observation.vm[lane, v, 6 + column] = observation.pm[lane, p, column]
        v = vm[v, NEXT]


@inlined
def show_vm(state, observation, lane, v):
    """Write the row of VM v and its place."""
    vm = state.vm[lane]
    row = observation.vm[lane, v]
    share_features(state, lane, v, row)
    if state.setting[GRAPH]:
        row[6] = vm[v, NUMA] == 2
        row[7] = vm[v, SET] >= 0
        row[8] = vm[v, MOVABLE]
        observation.vm_numa[lane, v] = vm[v, NODE]
    observation.vm_pm[lane, v] = vm[v, PM]


@merged
def show_touched(state, observation, lane, p):
    """Write what a change on PM p changes."""
    show_pm(state, observation, lane, p)
    show_hosts(state, observation, lane, p)


@compiled
def show_all(state, observation, lane):
    """Write all rows of PMs and VMs."""
    scalar, graph = state.scalar[lane], state.setting[GRAPH]
    for p in range(state.pm.shape[2]):
        present = p < scalar[PMS]
        observation.pm_mask[lane, p] = present
        for column in range(observation.pm.shape[2]):
            observation.pm[lane, p, column] = 0.0
        if present:
            show_touched(state, observation, lane, p)
    for v in range(state.vm.shape[1]):
        present = v < scalar[VMS]
        observation.vm_mask[lane, v] = present
        if present:
            show_vm(state, observation, lane, v)
            continue
        for column in range(observation.vm.shape[2]):
            observation.vm[lane, v, column] = 0.0
        observation.vm_pm[lane, v] = -1
        if graph:
            observation.vm_numa[lane, v] = -1
            observation.gain_out[lane, v] = 0.0
    if not graph:
        observation.num_vms[lane, 0] = scalar[VMS]


@merged
def show_destinations(state, observation, lane):
    """Write where the chosen VM has room and what it would gain there."""
    v = state.scalar[lane, CHOSEN]
    vm, room = state.vm[lane], state.room[lane]
    for p in range(state.pm.shape[2]):
        for k in range(2):
            observation.fits[lane, p, k] = 0
            observation.gain_in[lane, p, k] = 0.0
    if v < 0:
        return
    home, chunk = vm[v, PM], state.term[lane, 0, CHUNK]
    remainder = share_remainder(state, lane, v)
    for p in range(state.scalar[lane, PMS]):
        both = 0
        for k in range(2):
            if room[p, k]:
                fragment = state.pm[lane, CPU + k, p] % chunk
                if p == home and (vm[v, NODE] == k or vm[v, NODE] == BOTH):
                    gain = -leave_change(fragment, remainder, chunk)
                else:
                    gain = join_change(fragment, remainder, chunk)
                both += gain
                observation.fits[lane, p, k] = 1
                observation.gain_in[lane, p, k] = gain / chunk
        if vm[v, NUMA] == 2:
            observation.gain_in[lane, p, 0] = observation.gain_in[lane, p, 1] = both / chunk


@merged
def mask_two_step(state, mask, lane):
    """Write the action mask of the two-step mode."""
    v, last = state.scalar[lane, CHOSEN], mask.shape[0] - 1
    for a in range(mask.shape[0]):
        mask[a] = 0
    if v >= 0:
        for d in range(num_destinations(state, lane)):
            mask[d] = 1 if is_destination(state, lane, v, d) else 0
        return
    for w in range(state.scalar[lane, VMS]):
        mask[w] = state.legal[lane, w]
    mask[last] = 1 if stop_is_legal(state, lane) else 0


@compiled
def some_vm_may_go(state, lane, d):
    """Tell whether destination d is legal for at least one legal VM."""
    scalar, vm, pm, group = state.scalar[lane], state.vm[lane], state.pm[lane], state.group[lane]
    explicit = state.setting[NUMA_RULE] == EXPLICIT
    p, stay = destination_pm(state, d), state.setting[ALLOW_STAY]
    for c in range(scalar[CLASSES]):
        share, memory, numa = group[c, GROUP_SHARE], group[c, GROUP_MEMORY], group[c, GROUP_NUMA]
        if explicit and numa == 2 and d % 2 == 1:
            continue
        if explicit and numa == 1:
            open_here = has_room(pm, p, d % 2, share, memory)
        else:
            open_here = count_places(pm, p, share, memory, numa) > 0
        if not open_here and not stay:
            continue
        for i in range(group[c, GROUP_SIZE]):
            v = state.member[lane, group[c, GROUP_FIRST] + i]
            if state.legal[lane, v] == 0 or (not open_here and vm[v, PM] != p):
                continue
            if vm_may_go(state, lane, v, d):
                return True
    return False


@compiled
def vm_may_go(state, lane, v, d):
    """Tell whether VM v may go to destination d, without writing `room`."""
    vm, pm = state.vm[lane], state.pm[lane]
    p, home, s, numa = destination_pm(state, d), vm[v, PM], vm[v, SET], vm[v, NUMA]
    share, memory, node = vm[v, SHARE], vm[v, MEMORY_SHARE], vm[v, NODE]
    explicit, stay = state.setting[NUMA_RULE] == EXPLICIT, state.setting[ALLOW_STAY] == 1
    if explicit and numa == 2 and d % 2 == 1:
        return False
    if p == home:
        if numa == 2 or (explicit and d % 2 == node):
            return stay
        return has_room(pm, p, 1 - node, share, memory) or (stay and not explicit)
    if pm[CLUSTER, p] != pm[CLUSTER, home]:
        return False
    if explicit and numa == 1:
        fits = has_room(pm, p, d % 2, share, memory)
    else:
        fits = count_places(pm, p, share, memory, numa) > 0
    if not fits or s < 0:
        return fits
    mark_mates(state, lane, v)
    return not is_marked(state, lane, p, state.affinity[lane, s, RACK_LEVEL] != 0)


@compiled
def mask_jointly(state, mask, lane):
    """Write the two masks of the joint mode: VMs, then destinations of at least one of them."""
    vms = state.vm.shape[1]
    idle = state.scalar[lane, STATUS] == RUNNING and state.scalar[lane, IDLE] == 1
    for a in range(mask.shape[0]):
        mask[a] = 0
    for v in range(state.scalar[lane, VMS]):
        mask[v] = state.legal[lane, v]
    for d in range(num_destinations(state, lane)):
        mask[vms + d] = 1 if some_vm_may_go(state, lane, d) else 0
    if idle:
        mask[0] = mask[vms] = 1


@compiled
def mask_flat(state, mask, lane):
    """Write the mask of all pairs."""
    width = max_destinations(state)
    for a in range(mask.shape[0]):
        mask[a] = 0
    for v in range(state.scalar[lane, VMS]):
        if state.legal[lane, v]:
            find_room(state, lane, v)
            for d in range(num_destinations(state, lane)):
                mask[v * width + d] = 1 if is_destination(state, lane, v, d) else 0
    mask[mask.shape[0] - 1] = 1 if stop_is_legal(state, lane) else 0


@inlined
def show_mask(state, observation, lane):
    """Write the action mask."""
    mask, mode = observation.action_mask[lane], state.setting[ACTION_MODE]
    if mode == TWO_STEP:
        mask_two_step(state, mask, lane)
    elif mode == JOINT:
        mask_jointly(state, mask, lane)
    else:
        mask_flat(state, mask, lane)


@inlined
def show_progress(state, observation, lane):
    """Write how many migrations are left."""
    scalar = state.scalar[lane]
    left = (scalar[LIMIT] - scalar[USED]) / max(scalar[LIMIT], 1)
    if state.setting[GRAPH]:
        observation.steps_left[lane, 0] = left
        observation.steps_left[lane, 1] = (scalar[LIMIT] - scalar[USED]) / scalar[PMS]
        for p in range(scalar[PMS]):
            observation.pm[lane, p, 9] = left
    else:
        observation.num_steps[lane, 0] = 1.0 - left


@merged
def observe(state, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    scalar = state.scalar[lane]
    if fresh:
        show_all(state, observation, lane)
    elif scalar[TOUCHED_VM] >= 0:
        show_touched(state, observation, lane, scalar[TOUCHED_FROM])
        if scalar[TOUCHED_TO] != scalar[TOUCHED_FROM]:
            show_touched(state, observation, lane, scalar[TOUCHED_TO])
        show_vm(state, observation, lane, scalar[TOUCHED_VM])
    show_progress(state, observation, lane)
    observation.chosen_vm[lane, 0] = scalar[CHOSEN]
    if state.setting[GRAPH]:
        show_destinations(state, observation, lane)
    show_mask(state, observation, lane)


@compiled
def copy_row(source, source_lane, target, target_lane):
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    if source.shape[0] == 0:
        return
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_observation(source, target, lane):
    """Copy the observation of a lane."""
    copy_row(source.pm, lane, target.pm, lane)
    copy_row(source.vm, lane, target.vm, lane)
    copy_row(source.vm_pm, lane, target.vm_pm, lane)
    copy_row(source.vm_numa, lane, target.vm_numa, lane)
    copy_row(source.vm_mask, lane, target.vm_mask, lane)
    copy_row(source.pm_mask, lane, target.pm_mask, lane)
    copy_row(source.gain_out, lane, target.gain_out, lane)
    copy_row(source.gain_in, lane, target.gain_in, lane)
    copy_row(source.fits, lane, target.fits, lane)
    copy_row(source.chosen_vm, lane, target.chosen_vm, lane)
    copy_row(source.steps_left, lane, target.steps_left, lane)
    copy_row(source.num_steps, lane, target.num_steps, lane)
    copy_row(source.num_vms, lane, target.num_vms, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)


# --- One lane: what an environment does ------------------------------------------------------


@compiled
def restart_lane(state, source, observation, seed, lane):
    """Begin the episode with the given seed, or the next of the lane where it is negative."""
    scalar = state.scalar[lane]
    if seed >= 0:
        scalar[BASE_SEED] = scalar[SEED] = seed
        scalar[EPISODE] = 0
    else:
        scalar[EPISODE] += 1
        scalar[SEED] = np.int64(derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE]))
    reset_lane(state, source, lane)
    observe(state, observation, lane, True)


@inlined
def play_action(state, outcome, actions, lane):
    """Apply an action, legal or not, and write its reward and what became of the episode."""
    scalar = state.scalar[lane]
    scalar[ELAPSED] += 1
    action = actions[lane]
    legal = apply_action(state, lane, action[0], action[action.shape[0] - 1], outcome)
    outcome.invalid[lane] = not legal
    if not legal:
        outcome.reward[lane] = INVALID_ACTION_REWARD
    limit = state.setting[STEP_LIMIT]
    status = scalar[STATUS]
    if status == RUNNING and 0 < limit <= scalar[ELAPSED]:
        status = TRUNCATED
    outcome.terminated[lane] = status == FINISHED
    outcome.truncated[lane] = status == TRUNCATED
    return status


@compiled
def write_log(state, outcome, lane):
    """Copy the plan of a lane, as far as it has come."""
    copy_row(state.scalar, lane, outcome.scalar, lane)
    copy_row(state.real, lane, outcome.real, lane)
    copy_row(state.term, lane, outcome.term, lane)
    copy_row(state.moves, lane, outcome.moves, lane)


@inlined
def step_lane(state, source, observation, final, outcome, actions, autoreset, lane):
    """Step a lane; at the end of its episode write the log and, with autoreset, begin the next.

    The last observation of an episode that is followed by another goes to `final`.
    """
    status = play_action(state, outcome, actions, lane)
    if status != RUNNING:
        write_log(state, outcome, lane)
    if not outcome.invalid[lane]:
        observe(state, observation, lane, False)
    if status != RUNNING and autoreset:
        copy_observation(observation, final, lane)
        restart_lane(state, source, observation, -1, lane)


# --- Blocks of lanes, and all lanes: the compiled entry points -------------------------------

# The parallel loops count references to each of some forty arrays for every call they make;
# a call that does a block of lanes makes that cheap.


@inlined
def block_end(state, block):
    """Return the lane behind a block of `LANES_PER_BLOCK` lanes."""
    return min((block + 1) * LANES_PER_BLOCK, state.scalar.shape[0])


@inlined
def num_blocks(state):
    """Return the number of blocks."""
    return (state.scalar.shape[0] + LANES_PER_BLOCK - 1) // LANES_PER_BLOCK


@compiled
def reset_block(state, source, observation, seeds, chosen, block):
    """Restart the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            restart_lane(state, source, observation, seeds[lane], lane)


@compiled
def step_block(state, source, observation, final, outcome, actions, autoreset, chosen, block):
    """Step the chosen lanes of a block."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        if chosen[lane]:
            step_lane(state, source, observation, final, outcome, actions, autoreset, lane)


@compiled
def observe_block(state, observation, block):
    """Write the observations of a block afresh."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        observe(state, observation, lane, True)


@compiled
def rule_action_block(state, rule, actions, block):
    """Write the actions of a rule for a block; -1 where an episode has ended."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        rule_action(state, lane, rule, actions)


@compiled
def run_rule_block(state, outcome, rule, temperature, samples, block):
    """Play the lanes of a block to their end under a rule."""
    for lane in range(block * LANES_PER_BLOCK, block_end(state, block)):
        run_rule(state, lane, rule, temperature, samples[lane])
        write_log(state, outcome, lane)


@njit(cache=True, nogil=True, parallel=True)
def reset_batch(state, source, observation, seeds, chosen):
    """Restart the chosen lanes."""
    for block in prange(num_blocks(state)):
        reset_block(state, source, observation, seeds, chosen, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def step_batch(state, source, observation, final, outcome, actions, autoreset, chosen):
    """Step the chosen lanes."""
    for block in prange(num_blocks(state)):
        step_block(
            state, source, observation, final, outcome, actions, autoreset, chosen, np.int64(block)
        )


@njit(cache=True, nogil=True, parallel=True)
def observe_batch(state, observation):
    """Write all observations afresh."""
    for block in prange(num_blocks(state)):
        observe_block(state, observation, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def rule_action_batch(state, rule, actions):
    """Write the action of a rule for each lane; -1 where the episode has ended."""
    for block in prange(num_blocks(state)):
        rule_action_block(state, rule, actions, np.int64(block))


@njit(cache=True, nogil=True, parallel=True)
def run_rule_batch(state, outcome, rule, temperature, samples):
    """Play every lane to its end under a rule, with noise where the temperature is positive."""
    for block in prange(num_blocks(state)):
        run_rule_block(state, outcome, rule, temperature, samples, np.int64(block))


@njit(cache=True, nogil=True)
def following_seeds(state, lanes):
    """Return the seeds of the episodes that follow in these lanes, uint64."""
    seeds = np.empty(lanes.size, np.uint64)
    for index in range(lanes.size):
        scalar = state.scalar[lanes[index]]
        seeds[index] = derive(np.uint64(scalar[BASE_SEED]), scalar[EPISODE] + 1)
    return seeds


@njit(cache=True, nogil=True)
def destination_mask_batch(state, vms, masks):
    """Write where one VM of each lane may go."""
    for lane in range(state.scalar.shape[0]):
        write_destinations(state, lane, vms[lane], masks[lane])
