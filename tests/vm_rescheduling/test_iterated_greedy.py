"""Iterated greedy search: legal plans, never worse than their start, close to the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from dispatchgym.envs.vm_rescheduling import make_instance, solve, validate
from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.iterated_greedy import iterated_greedy

SCENARIOS = ("S", "S-AA", "S-MR", "random_8x5")
OBJECTIVES = ("fragment", "mixed", "mixed_memory", "empty_pms")


def objective_of(instance: Instance, moves: np.ndarray) -> float:
    report = validate(instance, {"moves": moves})
    assert report.valid, report.violations
    return report.objective


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_plans_are_legal_and_help(scenario: str, objective: str) -> None:
    from dispatchgym.envs.vm_rescheduling.instance import Objective

    gains = []
    for seed in range(3):
        instance = make_instance(scenario, seed).replace(objective=Objective.make(objective))
        moves = iterated_greedy(instance, iterations=100, seed=seed)
        assert len(moves) <= instance.migration_limit
        gains.append(instance.initial_objective - objective_of(instance, moves))
    assert min(gains) >= 0
    assert max(gains) > 0


def test_within_cluster() -> None:
    instance = make_instance("random_20", 4).replace(within_cluster=True)
    moves = iterated_greedy(instance, iterations=200)
    assert objective_of(instance, moves) < instance.initial_objective
    assert (instance.cluster[moves[:, 1]] == instance.cluster[instance.vm_pm[moves[:, 0]]]).all()


def test_immovable_vms_stay() -> None:
    instance = make_instance("S", 2)
    movable = np.arange(instance.num_vms) % 3 == 0
    instance = instance.replace(movable=movable)
    moves = iterated_greedy(instance, iterations=200)
    assert len(moves) > 0
    assert movable[moves[:, 0]].all()
    assert objective_of(instance, moves) < instance.initial_objective


def test_same_seed_same_plan() -> None:
    instance = make_instance("S", 5)
    plans = [iterated_greedy(instance, iterations=50, seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2])


def test_never_worse_than_its_start() -> None:
    for seed in range(10):
        instance = make_instance("S", seed)
        start = iterated_greedy(instance, iterations=30, seed=seed)
        better = iterated_greedy(instance, iterations=30, seed=seed + 1, start=start)
        assert objective_of(instance, better) <= objective_of(instance, start) + 1e-12


def test_illegal_rows_of_a_start_are_dropped() -> None:
    instance = make_instance("S", 1)
    start = iterated_greedy(instance, iterations=100)
    twice = np.concatenate([start, start])  # the second half moves nothing
    kept = iterated_greedy(instance, iterations=0, start=twice)
    assert np.array_equal(kept, start)


def test_near_the_optimum_and_never_below_it() -> None:
    excess = []
    for seed in range(12):
        instance = make_instance("S", seed)
        exact = solve(instance, time_limit=5.0)
        found = objective_of(instance, iterated_greedy(instance, iterations=3000, seed=seed))
        assert found >= exact.bound - 1e-12
        slot = 16 / instance.total_free_cpu
        excess.append(round((found - exact.bound) / slot))
    assert np.mean(excess) <= 0.5
    assert sum(slots == 0 for slots in excess) >= 8


def test_without_migrations_there_is_no_plan() -> None:
    instance = make_instance("S", 0).replace(migration_limit=0)
    assert iterated_greedy(instance, iterations=5).shape == (0, 3)


def test_goal_plans_stop_at_the_goal() -> None:
    from dispatchgym.envs.vm_rescheduling.instance import Objective

    for seed in range(4):
        instance = make_instance("S", seed)
        goal = instance.initial_objective - 0.15
        instance = instance.replace(objective=Objective.make({"kind": "goal", "goal": goal}))
        moves = iterated_greedy(instance, iterations=300, seed=seed)
        report = validate(instance, {"moves": moves})
        assert report.valid, report.violations
        assert report.objective == len(moves) <= instance.migration_limit
