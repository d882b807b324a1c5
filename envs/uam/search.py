"""Searches that try plans in the kernel: a genetic algorithm and a local search, compiled.

A plan is tried on the day as it is expected to go on from now: no delays and no failures,
passengers of later slots as forecast and rounded down, since those who fly for expected
passengers may find fewer, routes closed in this slot only. Nothing is
allocated here; the arrays belong to the caller.
"""

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.rng import mix, uniform
from dispatchgym.envs.uam.kernel import (
    CRAFT,
    KEY,
    KEY_BITS,
    PORT,
    PORTS,
    RUNNING,
    SLOT_NOW,
    SLOTS,
    STATUS,
    STOCHASTIC,
    TIME,
    State,
    apply_action,
    compiled,
    copy_changing,
    copy_lane,
    greedy_action,
    inlined,
    profit,
)

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

EXPECTED, TRIAL = range(2)
"""Lanes of the model: the day as it is expected, and the copy that plans are tried on."""

AS_GREEDY = -1
"""Entry of an amended plan that leaves the decision to the greedy rule."""

# Streams of the keyed random numbers.
_FIRST_GENES, _PARENT, _MATES, _CROSSOVER, _MUTATION, _NEW_GENE, _AMENDMENT = range(32, 39)

CROSSOVER = 0.5
MUTATION = 0.1


@compiled
def expect(state: State, model: State) -> None:
    """Write into both lanes of the model how the day of the state's lane 0 should go on."""
    for lane in range(2):
        copy_lane(state, 0, model, lane)
        numbers, now = model.numbers[lane], model.scalar[lane, SLOT_NOW]
        numbers[STOCHASTIC] = 0
        for s in range(now + 1, numbers[SLOTS]):
            for i in range(numbers[PORTS]):
                for j in range(numbers[PORTS]):
                    model.passengers[lane, s, i, j] = np.int64(model.rate[lane, s, i, j])
                    model.closed[lane, s, i, j] = 0


@inlined
def draw(seed: np.uint64, stream: int, a: int, b: int, count: int) -> int:
    """Return the integer of a key, uniform in 0..count - 1."""
    return int(uniform(seed, stream, a, b) * count)


# --- Genetic algorithm -----------------------------------------------------------------------


@compiled
def try_genes(model: State, genes: IntArray) -> float:
    """Return what the next decisions earn if they are these; to fly in vain means to stay."""
    copy_changing(model, EXPECTED, model, TRIAL)
    for gene in genes:
        if model.scalar[TRIAL, STATUS] != RUNNING:
            break
        flies = model.legal[TRIAL, gene]
        apply_action(model, TRIAL, gene if flies else model.scalar[TRIAL, PORT])
    return profit(model, TRIAL)


@compiled
def evolve(
    state: State,
    model: State,
    genes: IntArray,
    fitness: FloatArray,
    parents: int,
    generations: int,
    seed: np.uint64,
) -> int:
    """Breed plans for the next decisions; return the number of the best in the last generation.

    Args:
        state: the day, lane 0.
        model: two lanes to try plans on.
        genes: int64 (2, P, L), the plans of even and of odd generations.
        fitness: float64 (2, P), what they earn.
        parents: how many of P plans go on to the next generation and have children.
        generations: how often; the last generation stands in ``genes[generations % 2]``.
        seed: uint64 of all random numbers.
    """
    expect(state, model)
    ports = model.numbers[EXPECTED, PORTS]
    for p in range(genes.shape[1]):
        for d in range(genes.shape[2]):
            genes[0, p, d] = draw(seed, _FIRST_GENES, p, d, ports)
        fitness[0, p] = try_genes(model, genes[0, p])
    for generation in range(generations):
        old, new = generation % 2, (generation + 1) % 2
        key = mix(seed + np.uint64(generation))
        choose_parents(genes[old], fitness[old], genes[new], fitness[new], parents, key)
        for p in range(parents, genes.shape[1]):
            breed(genes[new], p, parents, ports, key)
            fitness[new, p] = try_genes(model, genes[new, p])
    return fittest(fitness[generations % 2])


@compiled
def fittest(fitness: FloatArray) -> int:
    """Return the number of the best plan, the first of several."""
    best = 0
    for p in range(1, fitness.size):
        if fitness[p] > fitness[best]:
            best = p
    return best


@compiled
def choose_parents(
    genes: IntArray,
    fitness: FloatArray,
    new_genes: IntArray,
    new_fitness: FloatArray,
    parents: int,
    seed: np.uint64,
) -> None:
    """Hand on the best plan, and others drawn in proportion to what they earn above the worst."""
    worst, total = fitness[0], 0.0
    for p in range(fitness.size):
        worst = min(worst, fitness[p])
    for p in range(fitness.size):
        total += fitness[p] - worst + 1.0
    for parent in range(parents):
        chosen = fittest(fitness)
        if parent > 0:
            chosen = 0
            left = uniform(seed, _PARENT, parent, 0) * total - (fitness[0] - worst + 1.0)
            while left >= 0.0 and chosen < fitness.size - 1:
                chosen += 1
                left -= fitness[chosen] - worst + 1.0
        new_fitness[parent] = fitness[chosen]
        for d in range(genes.shape[1]):
            new_genes[parent, d] = genes[chosen, d]


@compiled
def breed(genes: IntArray, child: int, parents: int, ports: int, seed: np.uint64) -> None:
    """Write a child of two parents: uniform crossover, then mutation of single genes."""
    mother, father = draw(seed, _MATES, child, 0, parents), draw(seed, _MATES, child, 1, parents)
    for d in range(genes.shape[1]):
        from_mother = uniform(seed, _CROSSOVER, child, d) < CROSSOVER
        genes[child, d] = genes[mother, d] if from_mother else genes[father, d]
        if uniform(seed, _MUTATION, child, d) < MUTATION:
            genes[child, d] = draw(seed, _NEW_GENE, child, d, ports)


# --- Local search ----------------------------------------------------------------------------


@compiled
def try_amendments(model: State, amendments: IntArray, asked: IntArray, until: int) -> float:
    """Return what is earned until a minute by the greedy rule with amendments.

    What keeps an aircraft busy beyond that minute counts for the part before it.

    Args:
        model: two lanes to try plans on.
        amendments: int64 (K, M), for the next M decisions of each aircraft the vertiport to fly
            to, or AS_GREEDY.
        asked: int64 (K,), work space: how many decisions each aircraft has taken.
        until: minute from which decisions do not count.
    """
    copy_changing(model, EXPECTED, model, TRIAL)
    scalar, earned = model.scalar[TRIAL], 0.0
    for k in range(asked.size):
        asked[k] = 0
    while scalar[STATUS] == RUNNING and scalar[TIME] < until:
        k, now, before = scalar[CRAFT], scalar[TIME], profit(model, TRIAL)
        amendment = AS_GREEDY
        if asked[k] < amendments.shape[1]:
            amendment = amendments[k, asked[k]]
        asked[k] += 1
        apply_action(model, TRIAL, amended_action(model, TRIAL, amendment))
        busy = (model.craft[TRIAL, KEY, k] >> KEY_BITS) - now
        earned += (profit(model, TRIAL) - before) * min(1.0, (until - now) / busy)
    return earned


@inlined
def amended_action(state: State, lane: int, amendment: int) -> int:
    """Return the vertiport of an amendment if it is legal, else what the greedy rule does."""
    if amendment != AS_GREEDY and state.legal[lane, amendment]:
        return amendment
    return greedy_action(state, lane, False)


@compiled
def amend(
    state: State,
    model: State,
    amendments: IntArray,
    asked: IntArray,
    until: int,
    tries: int,
    seed: np.uint64,
) -> None:
    """Change one decision at a time of the greedy rule's plan and keep what earns more.

    Args:
        state: the day, lane 0.
        model: two lanes to try plans on.
        amendments: see `try_amendments`; improved in place.
        asked: see `try_amendments`.
        until: see `try_amendments`.
        tries: number of changes to try.
        seed: uint64 of all random numbers.
    """
    expect(state, model)
    ports, (aircraft, depth) = model.numbers[EXPECTED, PORTS], amendments.shape
    best = try_amendments(model, amendments, asked, until)
    for n in range(tries):
        k, d = draw(seed, _AMENDMENT, n, 0, aircraft), draw(seed, _AMENDMENT, n, 1, depth)
        old = amendments[k, d]
        amendments[k, d] = draw(seed, _AMENDMENT, n, 2, ports + 1) - 1
        earned = try_amendments(model, amendments, asked, until)
        if earned > best:
            best = earned
        else:
            amendments[k, d] = old


@compiled
def amended_action_lane(state: State, amendment: int) -> int:
    """Return the action of an amendment for the day in lane 0."""
    return amended_action(state, 0, amendment)
