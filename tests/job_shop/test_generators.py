"""Generators: reproducible, inside their ranges, and found by name."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.job_shop.generators import (
    FixedGenerator,
    Generator,
    LiteratureGenerator,
    PatternGenerator,
    UniformGenerator,
    flow_shop,
    generator,
    group,
    make_instance,
    reentrant,
    scenarios,
    toy,
    toy_swap,
    two_set,
    uniform_jobs,
)
from dispatchgym.envs.job_shop.literature import literature

SEEDS = st.integers(0, 2**64 - 1)


def in_words(seed, jobs, machines, duration):
    """Make the same instance from the keyed numbers in plain Python."""

    def draw(stream, a, b, low, high):
        return low + int(uniform(np.uint64(seed), stream, a, b) * (high - low + 1))

    n, m = draw(16, 0, 0, *jobs), draw(16, 1, 0, *machines)
    result = []
    for job in range(n):
        order = list(range(m))
        for position in reversed(range(1, m)):
            other = draw(18, job, position, 0, position)
            order[position], order[other] = order[other], order[position]
        result.append([(order[k], draw(17, job, k, *duration)) for k in range(m)])
    return result


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_uniform_follows_the_keyed_numbers(seed):
    made = UniformGenerator((3, 6), (2, 5), (5, 9)).generate(seed)
    assert made.jobs() == in_words(seed, (3, 6), (2, 5), (5, 9))


def test_kernel_function_pads_its_arrays():
    machine = np.full((8, 9), 77)
    duration = np.full((8, 9), 77)
    jobs, machines = uniform_jobs(np.uint64(4), 2, 6, 3, 7, 1, 99, machine, duration)
    assert 2 <= jobs <= 6 and 3 <= machines <= 7
    outside = np.ones((8, 9), bool)
    outside[:jobs, :machines] = False
    assert (machine[outside] == -1).all() and (duration[outside] == 0).all()
    assert (np.sort(machine[:jobs, :machines], axis=1) == np.arange(machines)).all()
    assert duration[:jobs, :machines].min() >= 1 and duration[:jobs, :machines].max() <= 99


def test_a_job_is_the_same_in_a_larger_instance():
    small = UniformGenerator((4, 4), (5, 5)).generate(9)
    large = UniformGenerator((9, 9), (5, 5)).generate(9)
    assert large.jobs()[:4] == small.jobs()


def test_uniform_is_uniform():
    """Every order of three machines, every size and every duration occurs about equally often."""
    made = [UniformGenerator((1, 4), (3, 3), (1, 6)).generate(seed) for seed in range(2400)]
    orders = [tuple(row) for instance in made for row in instance.machine.tolist()]
    share = [orders.count(order) / len(orders) for order in itertools.permutations(range(3))]
    assert np.allclose(share, 1 / 6, atol=0.02)
    sizes = np.bincount([instance.num_jobs for instance in made], minlength=5)[1:] / len(made)
    assert np.allclose(sizes, 1 / 4, atol=0.04)
    values = np.concatenate([instance.duration.ravel() for instance in made])
    assert np.allclose(np.bincount(values, minlength=7)[1:] / values.size, 1 / 6, atol=0.015)


def test_random_scenarios_are_their_generators():
    for seed in (0, 1, 2**63):
        assert make_instance("random_10x10", seed) == UniformGenerator().generate(seed)
        ranged = UniformGenerator((5, 15), (5, 10)).generate(seed)
        assert make_instance("random_5-15x5-10", seed) == ranged
    assert make_instance("random_10x10", 0) != make_instance("random_10x10", 1)
    assert make_instance("random_20x5", 3).machine.shape == (20, 5)


def test_flow_shop_order():
    made = flow_shop(6, 4, 3)
    assert (made.machine == np.arange(4)).all()
    assert len(np.unique(made.duration)) > 1


def test_two_set_order():
    made = two_set(30, 5, 3)
    assert (np.sort(made.machine[:, :2], axis=1) == [0, 1]).all()
    assert (np.sort(made.machine[:, 2:], axis=1) == [2, 3, 4]).all()
    assert len({tuple(row) for row in made.machine.tolist()}) > 5


def test_reentrant_order():
    made = reentrant(5, 3, 3)
    assert (np.sort(made.machine, axis=1) == [0, 0, 1, 1, 2, 2]).all()
    assert made.num_machines == 3 and made.reentrant


@pytest.mark.parametrize("pattern", ["flow_shop", "two_set", "reentrant"])
def test_patterns_by_name(pattern):
    source = PatternGenerator(pattern, (2, 7), (3, 5))
    for seed in range(20):
        made = source.generate(seed)
        assert made == make_instance(f"{pattern}_2-7x3-5", seed)
        assert 2 <= made.num_jobs <= source.max_jobs == 7
        assert 3 <= made.num_machines <= source.max_machines == 5
        assert made.max_operations <= source.max_operations


def best_flow(order, jobs):
    """Makespan of a two-machine flow shop without storage, jobs in this order."""
    leaves_first = ends = 0
    for job in order:
        (_, first), (_, second) = jobs[job]
        leaves_first = max(leaves_first + first, ends)
        ends = leaves_first + second
    return ends


def test_toy_optimum():
    """Blocking by trying every order, classic by the bound that the docstring argues."""
    instance = toy()
    orders = itertools.permutations(range(3))
    assert min(best_flow(order, instance.jobs()) for order in orders) == 14
    assert instance.bounds["blocking"].lower == instance.bounds["blocking"].upper == 14
    assert instance.bounds["classic"].lower == 12 == 1 + instance.machine_load[1]


def test_toy_swap_bound_is_the_load_of_machine_0():
    instance = toy_swap()
    assert instance.lower_bound == instance.bounds["blocking"].upper == 6


def test_every_listed_scenario_makes_an_instance():
    listed = scenarios()
    assert len(set(listed)) == len(listed)
    for name in ("ft06", "la", "la_10x5", "ta_100x20", "random_10x10", "toy", "two_set_10x10"):
        assert name in listed
    for name in listed:
        source = generator(name)
        made = make_instance(name, 3)
        assert isinstance(source, Generator)
        assert made == source.generate(3)
        assert made.num_jobs <= source.max_jobs
        assert made.max_operations <= source.max_operations
        assert made.num_machines <= source.max_machines


def test_groups_take_their_members_in_turn():
    assert group("la01") == ("la01",)
    assert len(group("la")) == 40
    assert [make_instance("la", seed).name for seed in (0, 1, 39, 40)] == [
        "la01",
        "la02",
        "la40",
        "la01",
    ]
    assert make_instance("ft", 2) is literature("ft20")
    assert LiteratureGenerator(("ft06", "la01")).max_operations == 6


def test_fixed_generator():
    source = FixedGenerator(toy())
    assert source.generate(7) == toy()
    assert (source.max_jobs, source.max_operations, source.max_machines) == (3, 2, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("la41", "'la41'.*la40"),
        ("rndom_10x10", "did you mean random_10x10"),
        ("random_10", "'random_10'"),
        ("random_0x5", r"jobs: found \(0, 0\)"),
        ("random_15-5x5", r"jobs: found \(15, 5\)"),
        ("random_5x1000000", "machines"),
        ("random_99999999999x2", "sizes below"),
        ("random_4000x4000000", "machines|expected at most"),
        ("reentrant_1000x100000", "expected at most"),
        ("x" * 10_000, "not known"),
        ("", "not known"),
    ],
)
def test_unknown_scenarios(name, words):
    with pytest.raises(ScenarioError, match=words) as caught:
        make_instance(name, 0)
    assert len(str(caught.value)) < 400


def test_unknown_group():
    with pytest.raises(ScenarioError, match=r"group: found 'lb'.*did you mean"):
        group("lb")
    with pytest.raises(ScenarioError, match="la99"):
        LiteratureGenerator(("la01", "la99"))
    with pytest.raises(ScenarioError, match="members"):
        LiteratureGenerator(())
    with pytest.raises(ScenarioError, match="expected a name"):
        make_instance(3, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None])
def test_wrong_seeds(seed):
    for name in ("random_10x10", "la", "toy"):
        with pytest.raises(ParameterError, match="seed: found"):
            make_instance(name, seed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"jobs": (0, 3)}, "jobs"),
        ({"jobs": (3, 2)}, "jobs"),
        ({"jobs": 5}, "jobs"),
        ({"machines": (1.0, 2)}, "machines"),
        ({"machines": (True, 2)}, "machines"),
        ({"duration": (-1, 2)}, "duration"),
        ({"duration": (1, 2**31)}, "sum below"),
        ({"jobs": (1, 10_000), "machines": (1, 10_000)}, "expected at most"),
    ],
)
def test_wrong_ranges(arguments, words):
    with pytest.raises(ParameterError, match=words):
        UniformGenerator(**arguments)
    with pytest.raises(ParameterError, match=words):
        PatternGenerator("two_set", **arguments)


def test_wrong_pattern():
    with pytest.raises(ParameterError, match="pattern: found 'open'"):
        PatternGenerator("open")
