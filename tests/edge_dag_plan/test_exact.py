"""Optimal plans against all plans, bounds against optima, one solver against the other."""

from itertools import product

import numpy as np
import pytest
from edge_dag_plan.cases import diamond, play, qoe, rank_order, simulate, varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan import (
    cost_of,
    exact,
    lower_bound,
    lower_bounds,
    make_instance,
    solve,
    validate,
)
from dispatchgym.envs.edge_dag_plan import search as tree_search

QUEUES = ("corrected", "published_code")
WEIGHTS = ((0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.8, 0.2))


def all_plans(instance, published):
    """Return the objectives of every plan in rank order, (plans, 2)."""
    order = rank_order(instance)
    places = product(range(instance.num_servers + 1), repeat=instance.num_tasks)
    return np.array([play(instance, order, plan, published=published)[:2] for plan in places])


@pytest.mark.parametrize("queue", QUEUES)
def test_optima_are_the_best_of_all_plans(queue):
    for instance in [*varied(6, "n2-6"), make_instance("drlto-n8", 5)]:
        objectives = all_plans(instance, queue == "published_code")
        for weights in WEIGHTS:
            best = cost_of(instance, objectives, weights).min()
            found = solve(instance, preference=weights, uplink_queue=queue)
            assert found.proved
            assert found.cost == pytest.approx(best, rel=1e-12)
            assert found.bound == pytest.approx(best, rel=1e-9)
            report = validate(instance, found.schedule)
            assert report.valid
            np.testing.assert_array_equal(report.objective, found.objective)
            assert 1 - found.cost == pytest.approx(qoe(instance, found.objective, weights))


@pytest.mark.parametrize("queue", QUEUES)
def test_bounds_hold_for_all_plans(queue):
    for instance in varied(9, "n2-6"):
        objectives = all_plans(instance, queue == "published_code")
        least = lower_bounds(instance, queue)
        assert (least <= objectives.min(axis=0) + 1e-9).all()
        assert least[1] == pytest.approx(objectives[:, 1].min())
        for weights in WEIGHTS:
            best = cost_of(instance, objectives, weights).min()
            bound = lower_bound(instance, weights, queue)
            assert 0 < bound <= best + 1e-12


def test_uploads_of_a_chain_overlap_computing():
    """So a chain may be done before the sum of upload and computing of its tasks."""
    two = {
        "work": np.array([4.0, 4.0]),
        "upload": np.array([4.0, 4.0]),
        "output": np.array([0.0, 0.0]),
        "edges": np.array([[0, 1]]),
        "device_speed": 0.1,
    }
    found = solve(diamond(**two), preference=(1.0, 0.0))
    # Up until 4 and 8, computed until 5 and 9: less than 2 (4 + 1).
    assert found.objective[0] == 9
    assert lower_bounds(diamond(**two))[0] == 9


@pytest.mark.parametrize("queue", QUEUES)
def test_the_constraint_program_agrees_with_branch_and_bound(queue):
    pytest.importorskip("ortools")
    for instance in varied(5, "n3-7"):
        weights = np.array([0.6, 0.4])
        optimum = solve(instance, preference=weights, uplink_queue=queue)
        simulation = simulate([instance], preference=weights, uplink_queue=queue)
        tree = tree_search.empty_tree(1, instance.num_tasks)
        tree.cost[:] = np.inf
        tree_search.try_rule(simulation.state, simulation.preferences, tree, 0, 0)
        bound = exact._constraint_program(simulation, tree, weights, 60.0, 1)
        assert tree.cost[0] == pytest.approx(optimum.cost, abs=2e-5)
        assert optimum.cost - 2e-5 <= bound <= optimum.cost


def test_a_plan_that_takes_too_long_has_a_bound():
    pytest.importorskip("ortools")
    instance = make_instance("drlto-n45", 3)
    found = solve(instance, time_limit=0.5)
    assert validate(instance, found.schedule).valid
    assert lower_bound(instance, (0.5, 0.5)) <= found.bound <= found.cost
    ahead = simulate([instance]).run_rule("rollout_weighted")["objective"][0]
    assert found.cost <= cost_of(instance, ahead, (0.5, 0.5)) + 1e-12


def test_labels_are_the_costs_of_the_best_plans_that_begin_so():
    instances = varied(6, "n4-7")
    simulation = simulate(instances, preference=(0.7, 0.3))
    every = np.ones(6, np.bool_)
    simulation.step(np.ones(6, np.int64), every, False)
    before = simulation.get_state()
    tree = tree_search.empty_tree(6, simulation.limits.tasks)
    costs = np.empty(simulation.observations["action_mask"].shape)
    tree_search.label_batch(simulation.state, simulation.preferences, tree, 10**6, costs)
    after = simulation.get_state()
    # Only scratch may differ: what trials, searches and outlooks have written.
    names = ("trial", "seen", "spot", "real_ahead", "free_ahead", "saved", "outlook")
    scratch = {id(getattr(simulation.state, name)) for name in names}
    for array, one, other in zip(
        simulation.changing_arrays(), before.arrays, after.arrays, strict=True
    ):
        if id(array) not in scratch:
            np.testing.assert_array_equal(one, other)
    for lane, instance in enumerate(instances):
        order = rank_order(instance)
        for place in range(instance.num_servers + 1):
            best = np.inf
            others = product(range(instance.num_servers + 1), repeat=instance.num_tasks - 2)
            for rest in others:
                places = np.zeros(instance.num_tasks, int)
                places[order] = [1, place, *rest]
                makespan, energy, _ = play(instance, order, places)
                best = min(best, cost_of(instance, (makespan, energy), (0.7, 0.3)))
            assert costs[lane, place] == pytest.approx(best, rel=1e-12)
        assert np.isinf(costs[lane, instance.num_servers + 1 :]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preference": (0.5, 0.6)}, "preference: found"),
        ({"preference": "grid"}, "preference: found 'grid', expected two weights"),
        ({"uplink_queue": "fifo"}, "uplink_queue: found 'fifo'"),
        ({"order": "random"}, "order: found 'random'"),
        ({"time_limit": 0}, "time_limit: found 0"),
        ({"workers": 0}, "workers: found 0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ParameterError, match=message):
        solve(diamond(), **arguments)


def test_only_instances_are_solved():
    with pytest.raises(ParameterError, match="instance: found str"):
        solve("drlto-n15")
