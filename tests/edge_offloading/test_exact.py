"""Bounds and optimal placements against enumeration, and the published gaps of the greedy rule."""

import dataclasses
import itertools

import numpy as np
import pytest
from edge_offloading import reference
from edge_offloading.cases import small, varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import SlotGenerator, exact, make_instance, validate
from dispatchgym.envs.edge_offloading.bounds import (
    energy_bound,
    lone_bound,
    placement,
    pooled_bound,
    time_indexed_bound,
)
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.search import best_subsets, delay_of, local_search

FIXED = {"cloud_hz": (4e9, 4e9), "edge_hz": (2e9, 2e9)}


def few(seed, tasks=5, edges=2):
    """An instance of few tasks, with FIFO servers or slow links in some."""
    base = SlotGenerator(
        edges=(edges, edges),
        horizon="tasks",
        tasks=tasks,
        channel=("gmorl_code", "shannon")[seed % 2],
        power=0.2,
    ).generate(seed)
    return dataclasses.replace(base, fifo=np.arange(edges + 1) < seed % 4)


def test_subsets_find_the_best_of_all_placements():
    """All 3^5 placements are played by the reference."""
    for seed in range(8):
        instance, weight = few(seed), np.array([0.1, 3.0])
        values = {}
        for servers in itertools.product(range(3), repeat=5):
            totals = -np.sum(reference.play(instance, servers).rewards, axis=0)
            values[servers] = weight @ totals
        best = best_subsets(placement(instance), weight)
        assert values[tuple(best.tolist())] == pytest.approx(min(values.values()), rel=1e-9)


def test_solve_proves_small_instances_and_gives_a_valid_schedule():
    for seed in range(4):
        instance = few(seed, tasks=8)
        result = exact.solve(instance, preference=(0.7, 0.3))
        assert result.proved
        assert result.bound == result.value
        assert validate(instance, result.schedule).valid
        servers = result.schedule["server"]
        assert delay_of(placement(instance), servers) == pytest.approx(result.objective[0])


def test_local_search_is_rarely_above_the_optimum():
    """It never is below, and it improves on sending everything to the cloud."""
    above = []
    for seed in range(12):
        problem, weight = placement(few(seed, tasks=10)), np.array([0.1, 1.0])
        found = local_search(problem, weight, np.zeros(10, np.int64))
        best = best_subsets(problem, weight)
        values = [
            weight[0] * delay_of(problem, servers)
            + weight[1] * problem.joules[np.arange(10), servers].sum()
            for servers in (found, best, np.zeros(10, np.int64))
        ]
        assert values[1] * (1 - 1e-9) <= values[0] < values[2]
        above.append(values[0] / values[1] - 1)
    assert np.mean(above) < 0.02


def test_no_policy_is_below_the_bounds():
    for seed in range(40):
        instance = varied(seed)
        delay = max(pooled_bound(instance), lone_bound(instance))
        vec = EdgeOffloadingVectorEnv(1, scenario=instance)
        for rule in ("random", "least_work", "greedy_omega"):
            for weight in (0.0, 1.0):
                vec.reset(seed=[seed], options={"preference": [weight, 1 - weight]})
                found = vec.run_rule(rule)["objective"][0]
                assert found[0] >= delay * (1 - 1e-9)
                assert found[1] >= energy_bound(instance) * (1 - 1e-9)


def test_the_energy_bound_is_attained_by_the_greedy_rule():
    """Where sizes are seen, that is; energy separates over tasks."""
    instance = make_instance("gmorl-e6", 3)
    vec = EdgeOffloadingVectorEnv(1, scenario=instance)
    vec.reset(seed=0, options={"preference": [0.0, 1.0]})
    found = vec.run_rule("greedy_omega")["objective"][0, 1]
    assert found == pytest.approx(energy_bound(instance), rel=1e-12)


def test_bounds_of_an_instance_by_hand():
    """Speeds 4 and 2 Mbit/s, 8 Mbit/s of radio; tasks of 4, 8, 2 Mbit sent at 0, 1, 3 s."""
    instance = small()
    # One server of 6 Mbit/s: the first ends at 2/3 s, the second would at 1 + 4/3 = 7/3 s, the
    # third at 3 + 1/3 s: 2/3 + 4/3 + 1/3.
    assert pooled_bound(instance) == pytest.approx(7 / 3)
    # Alone in the cloud: 0.5 + 1, 1 + 2, 0.25 + 0.5 s.
    assert lone_bound(instance) == pytest.approx(5.25)
    # At the edge: 5e-31 * 1e3 * (2e9)^2 J a bit, and 0.01 W for 1.75 s of radio.
    assert energy_bound(instance) == pytest.approx(14e6 * 2e-9 + 0.0175)


def test_the_linear_program_is_between_the_bounds_and_the_optimum():
    for seed in range(6):
        instance = few(seed, tasks=8)
        problem = placement(instance)
        best = best_subsets(problem, np.array([1.0, 0.0]))
        bound = time_indexed_bound(instance)
        assert bound <= delay_of(problem, best) * (1 + 1e-9)
        # Within a slot a task is thought to be computed at its beginning: half a slot each.
        assert bound >= lone_bound(instance) - 8 * instance.slot / 2


def test_means_of_the_bounds_with_six_edge_servers():
    """Section 7: 199.5 s, about 370 s and 2.962 J on the context with fixed frequencies."""
    found = [
        (pooled_bound(instance), lone_bound(instance), energy_bound(instance))
        for instance in (make_instance("gmorl-e6-fixed", seed) for seed in range(400))
    ]
    errors = np.std(found, axis=0) * np.sqrt(1 / 400 + 1 / 1000)
    assert (np.abs(np.mean(found, axis=0) - (199.5, 370, 2.962)) < 3 * errors + (0, 5, 0)).all()


@pytest.mark.slow
def test_gap_of_the_greedy_rule():
    """Section 7: 12 tasks, one a slot, three edge servers: 7.3, 4.7, 2.1, 0.8 % above optimum.

    These are means of 30 instances, whose errors are those found here.
    """
    published = {1.0: 0.073, 0.7: 0.047, 0.5: 0.021, 0.3: 0.008}
    generator = SlotGenerator(edges=(3, 3), horizon="tasks", tasks=12, **FIXED)
    for weight, expected in published.items():
        gaps = []
        for seed in range(100):
            release = np.arange(12.0)
            instance = dataclasses.replace(generator.generate(seed), release=release, horizon=12)
            problem, per_unit = placement(instance), np.array([weight * 0.01, (1 - weight) * 5])
            best = best_subsets(problem, per_unit)
            optimum = per_unit @ (
                delay_of(problem, best),
                problem.joules[np.arange(12), best].sum(),
            )
            vec = EdgeOffloadingVectorEnv(1, scenario=instance, reward_scale="paper")
            vec.reset(seed=0, options={"preference": [weight, 1 - weight]})
            gaps.append(per_unit @ vec.run_rule("greedy_omega")["objective"][0] / optimum - 1)
        assert min(gaps) > -1e-9
        allowed = 3 * np.std(gaps) * np.sqrt(1 / 100 + 1 / 30)
        assert np.mean(gaps) == pytest.approx(expected, abs=allowed)


@pytest.mark.slow
def test_many_tasks_are_solved_between_bound_and_rule():
    """Clairvoyant search is below greedy, the bound below both; published: 398, 773, 828 s."""
    rows = []
    for seed in range(12):
        instance = make_instance("gmorl-e6-fixed", seed)
        vec = EdgeOffloadingVectorEnv(1, scenario=instance)
        vec.reset(seed=0, options={"preference": [1.0, 0.0]})
        greedy = vec.run_rule("greedy_omega")["objective"][0, 0]
        result = exact.solve(instance, preference=(1.0, 0.0), time_limit=1.0)
        assert not result.proved
        assert validate(instance, result.schedule).valid
        rows.append((result.bound * instance.delay_unit, result.objective[0], greedy))
    bound, found, greedy = np.array(rows).T
    assert (bound < found).all()
    assert (found < greedy).all()
    assert (greedy / found - 1).mean() > 0.05
    assert (bound / greedy).mean() == pytest.approx(398 / 828, abs=0.03)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preference": (0.5, 0.6)}, "sums to 1.1"),
        ({"preference": "grid"}, "expected two weights"),
        ({"time_limit": 0.0}, "time_limit: found 0.0"),
    ],
    ids=str,
)
def test_mistakes_are_named(arguments, words):
    with pytest.raises(ParameterError) as error:
        exact.solve(few(0), **arguments)
    assert words in str(error.value)
