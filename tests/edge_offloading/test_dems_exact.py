"""Bounds of the deadline family: right on runs solved by hand and by trying everything."""

import itertools

import numpy as np
import pytest
from edge_offloading.dems_cases import toy

from dispatchgym.envs.edge_offloading.dems_exact import (
    bonus_bound,
    fluid_bound,
    ideal,
    program_bound,
    solve_deadlines,
    surge,
)
from dispatchgym.envs.edge_offloading.dems_generators import find
from dispatchgym.envs.edge_offloading.dems_validator import validate_deadlines
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingSimulation

UTILITY = np.array([1.0, 0.0])


def test_fluid_bound_by_hand():
    """90 ms of the edge: all of task 1 (4 in 50 ms), 40 of the 100 ms of task 0 (5)."""
    tasks = [(0, 100, 50, 90, 10, 6), (0, 50, 50, 90, 10, 5), (0, 50, 50, 90, 10, 12)]
    # Task 2 wins 9 in 50 ms at the edge, nothing elsewhere: it comes first.
    instance = toy(tasks)
    first, second = 9.0, 4.0 * 40 / 50
    assert fluid_bound(instance) == pytest.approx(4 + 5 + first + second)


def brute_force(instance):
    """The best utility over all sets and orders at the edge; the rest goes to the cloud or not."""
    n, best = instance.num_tasks, -np.inf
    late = instance.release + instance.deadline[instance.model]
    on_cloud = np.where(
        instance.cloud_time + instance.release <= late,
        np.maximum(0.0, (instance.benefit - instance.cloud_cost)[instance.model]),
        0.0,
    )
    at_edge = (instance.benefit - instance.edge_cost)[instance.model]
    for size in range(n + 1):
        for order in itertools.permutations(range(n), size):
            time, fits = 0, True
            for task in order:
                time = max(time, int(instance.release[task]))
                time += int(instance.edge_time[instance.model[task]])
                fits = fits and time <= late[task]
            if fits:
                rest = [task for task in range(n) if task not in order]
                best = max(best, at_edge[list(order)].sum() + on_cloud[rest].sum())
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_program_equals_trying_everything(seed):
    source = np.random.default_rng(seed)
    tasks = [
        (release, *source.integers(50, 400, 2), *source.integers(200, 700, 1),
         source.integers(5, 50), source.integers(2, 60))
        for release in np.sort(source.integers(0, 600, 6))
    ]  # fmt: skip
    instance = toy(tasks)
    pytest.importorskip("ortools")
    assert program_bound(instance, UTILITY) == pytest.approx(brute_force(instance), abs=1e-3)
    assert fluid_bound(instance) >= brute_force(instance) - 1e-9


@pytest.mark.parametrize(
    "scenario", ["dems-heavy-3-60s", "dems-heavy-4-60s-variable", "dems-60s", "dems-light-4-60s"]
)
def test_no_rule_exceeds_the_bounds(scenario):
    lanes = np.ones(4, np.bool_)
    simulation = EdgeOffloadingSimulation(num_lanes=4, scenario=scenario)
    for rule in simulation.rules:
        simulation.restart(lanes, np.arange(4))
        objective = simulation.run_rule(rule)["objective"]
        bounds = np.array([ideal(simulation.instance(lane)) for lane in range(4)])
        assert (objective <= bounds + 1e-6).all()


def test_few_tasks_are_bounded_more_tightly():
    pytest.importorskip("ortools")
    instance = find("dems-heavy-2-4s").generate(0)
    result = solve_deadlines(instance, preference=UTILITY, time_limit=20.0, seed=3)
    report = validate_deadlines(instance, result.schedule)
    assert report.valid
    assert result.schedule["seed"] == 3
    assert result.objective.tolist() == report.objective.tolist()
    assert -result.bound * instance.utility_unit < fluid_bound(instance)
    assert result.value == pytest.approx(-result.objective[0] / instance.utility_unit)
    assert result.bound <= result.value
    assert result.value < 0.93 * result.bound  # both are negative: within 7 % of it


def test_what_is_optimal_is_proven():
    """Light load: everything can run at the edge in time."""
    instance = find("dems-light-2-5s").generate(1)
    pytest.importorskip("ortools")
    result = solve_deadlines(instance, preference=UTILITY, time_limit=20.0, seed=0)
    assert result.proved
    assert result.objective[0] == 10 * (124 + 74)


def test_bonuses_are_in_the_program():
    """Worth a loss: the only result of its model in a window, which the cloud can bring."""
    tasks = [(0, 500, 100, 300, 10, 12), (0, 200, 900, 300, 50, 2)]
    options = {"bonus": [20.0, 0.0], "window": 1000, "horizon": 1000}
    pytest.importorskip("ortools")
    instance = toy(tasks, **options)
    assert program_bound(instance, [1.0, 0.0]) == pytest.approx(49)
    assert program_bound(instance, [1.0, 1.0]) == pytest.approx(49 - 2 + 20)
    assert bonus_bound(instance) == 20


def test_a_surge_delays_what_starts_in_it():
    instance = toy([(0, 50, 100, 900, 10, 2)], surge=(100, 200, 600, 60))
    expected = {0: 0, 100: 0, 200: 30, 300: 60, 500: 60, 600: 30, 700: 0, 900: 0}
    assert {at: surge(instance, at) for at in expected} == expected
