"""Planners: legal plans, never below a proven bound, and as good as what is stored."""

import itertools
import json
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from vm_rescheduling.plans import SHARED, needs_data
from vm_rescheduling.test_exact import OBJECTIVES, random_cluster

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.vm_rescheduling import load, make_instance, validate
from dispatchgym.envs.vm_rescheduling.exact import solve
from dispatchgym.envs.vm_rescheduling.planners import PLANNERS, plan

BASELINES = [name for name in PLANNERS if name != "iterated_greedy"]  # see test_iterated_greedy

SECONDS = {"mcts": 0.3, "lns": 0.5}  # these take all they get

pytestmark = pytest.mark.skipif(find_spec("highspy") is None, reason="HiGHS is not installed")


@pytest.fixture
def slow_clock(monkeypatch):
    """Let the clock advance by a millisecond at each look, so that time limits are repeatable."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) / 1000)


def objective_of(instance, schedule):
    report = validate(instance, schedule)
    assert report.valid, report.violations[0].message
    return report.objective


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_plans_are_legal_and_no_better_than_the_bound(name, objective):
    for seed in range(4):
        instance = random_cluster(
            seed, pms=8, vms=24, limit=5, objective=objective, rules=seed % 2 == 1
        )
        reached = objective_of(instance, plan(name, instance, time_limit=0.1, seed=seed))
        bound = solve(instance, time_limit=0.5).bound
        assert bound - 1e-9 <= reached <= instance.initial_objective + 1e-9


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("scenario", ["S", "S-AA", "S-MR"])
def test_scenarios_improve(name, scenario):
    instances = [make_instance(scenario, 6000 + seed) for seed in range(3)]
    reached = [
        objective_of(i, plan(name, i, time_limit=SECONDS.get(name, 20.0))) for i in instances
    ]
    assert np.mean(reached) < 0.95 * np.mean([i.initial_objective for i in instances])


@needs_data
@pytest.mark.parametrize("name", ["high_00", "middle_00"])
@pytest.mark.parametrize("planner", ["mcts", "lns", "neuplan"])
def test_no_worse_than_the_stored_heuristic(name, planner):
    """These three begin with HA, whose fragment rates are stored."""
    path = SHARED / "gold" / f"{name}.json"
    stored = json.loads(path.read_text())["results"]["mnl"]["50"]
    instance = load(path, mnl=50)
    reached = objective_of(
        instance, plan(planner, instance, time_limit=2.0 if planner in SECONDS else 20.0)
    )
    assert stored["best_fr"] - 1e-6 <= reached <= stored["greedy_ha_fr"] + 1e-6


@needs_data
def test_pop_is_no_worse_than_the_stored_one():
    """The stored blocks were not all solved to the optimum."""
    path = SHARED / "gold" / "high_00.json"
    for limit, stored in json.loads(path.read_text())["results"]["mnl"].items():
        instance = load(path, mnl=int(limit))
        reached = objective_of(instance, plan("pop16", instance, time_limit=30.0))
        assert reached <= stored["pop16_fr"] + 1e-6
        if int(limit) < 16:  # no migration for any block
            assert reached == instance.initial_objective


def test_pop_stays_within_its_blocks():
    instance = make_instance("random_100", 6000)
    moves = plan("pop16", instance)["moves"]
    size = instance.num_pms // 16
    assert len(moves) >= 5
    assert (instance.vm_pm[moves[:, 0]] // size == moves[:, 1] // size).all()
    assert moves[:, 1].max() < 16 * size
    assert np.bincount(moves[:, 1] // size).max() <= instance.migration_limit // 16


def test_neuplan_is_exact_within_its_last_migrations():
    instance = make_instance("S", 6004)
    assert instance.migration_limit <= 20
    reached = objective_of(instance, plan("neuplan", instance))
    assert reached == solve(instance).objective


def test_lns_approaches_the_optimum():
    instance = make_instance("S", 6005)
    reached = objective_of(instance, plan("lns", instance, time_limit=2.0))
    assert reached <= solve(instance).objective + 2 * 16 / instance.total_free_cpu


@pytest.mark.parametrize("name", ["alpha_vbpp", "pop16", "neuplan"])
def test_same_plan_again(name):
    """Those that end by themselves; the others stop when the time is over."""
    instance = make_instance("S", 6006)
    first, second = (plan(name, instance, time_limit=20.0, seed=3)["moves"] for _ in range(2))
    assert len(first) and np.array_equal(first, second)


def test_tree_search_is_the_same_with_the_same_clock(slow_clock):
    instance = make_instance("S", 6006)
    first, second = (plan("mcts", instance, time_limit=0.5)["moves"] for _ in range(2))
    assert len(first) and np.array_equal(first, second)


@pytest.mark.parametrize("name", BASELINES)
def test_time_limit_is_respected(name):
    instance = make_instance("M", 6000)
    plan(name, instance, time_limit=0.01)
    began = time.perf_counter()
    schedule = plan(name, instance, time_limit=1.0)
    assert time.perf_counter() - began < 2.5
    assert objective_of(instance, schedule) <= instance.initial_objective


@pytest.mark.parametrize("name", BASELINES)
def test_no_migration_allowed(name):
    instance = make_instance("S", 6007).replace(migration_limit=0)
    assert plan(name, instance, time_limit=0.1)["moves"].shape == (0, 3)


@pytest.mark.parametrize("name", BASELINES)
def test_nothing_movable(name):
    instance = make_instance("S", 6008)
    fixed = instance.replace(movable=np.zeros(instance.num_vms, bool))
    assert plan(name, fixed, time_limit=0.1)["moves"].shape == (0, 3)


def test_without_the_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    instance = make_instance("S", 6009)
    for name in ("alpha_vbpp", "mcts"):
        assert objective_of(instance, plan(name, instance, time_limit=0.1)) < 1
    for name in ("pop16", "lns", "neuplan"):
        with pytest.raises(MissingDependencyError, match="HiGHS"):
            plan(name, instance, time_limit=0.1)


@pytest.mark.parametrize(
    ("message", "name", "kwargs"),
    [
        ("did you mean pop16", "pop", {}),
        ("planner", 3, {}),
        ("time_limit", "lns", {"time_limit": 0}),
        ("time_limit", "lns", {"time_limit": float("inf")}),
        ("seed", "lns", {"seed": -1}),
        ("seed", "lns", {"seed": 0.5}),
    ],
)
def test_wrong_arguments(message, name, kwargs):
    with pytest.raises(ParameterError, match=message):
        plan(name, random_cluster(0), **kwargs)


def test_wrong_instance():
    with pytest.raises(ParameterError, match="expected an Instance"):
        plan("lns", "S")
