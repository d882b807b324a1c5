"""The teacher of plans says what optimal plans do, and what they earn."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.agents.edge_dag_plan_teacher import OptimalTeacher
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan import solve


def vector(**options):
    made = gym.make_vec(
        "dispatchgym:dispatchgym/EdgeDagPlan-v0",
        num_envs=6,
        vectorization_mode="vector_entry_point",
        autoreset_mode="Disabled",
        reward="scalar",
        preference="grid",
        **options,
    ).unwrapped
    made.reset(seed=11)
    return made


@pytest.mark.parametrize("scenario", ["drlto-n9", "alibaba_plan-n6-m2"])
def test_following_it_is_optimal(scenario):
    vec = vector(scenario=scenario)
    teacher = OptimalTeacher(10**6)
    instances, weights = vec.instances, vec.simulation.preferences.copy()
    promised, earned = None, np.zeros(6)
    tasks = instances[0].num_tasks
    for _ in range(tasks):
        costs, to_come = teacher.label(vec)
        assert costs.dtype == np.float32
        np.testing.assert_array_equal(np.isfinite(costs), vec.action_masks())
        np.testing.assert_array_equal(costs.min(axis=1), 0)
        promised = to_come if promised is None else promised
        np.testing.assert_allclose(earned + to_come, promised, atol=1e-9)
        _, rewards, *_ = vec.step(costs.argmin(axis=1))
        earned += rewards
    np.testing.assert_allclose(earned, promised, atol=1e-9)
    for instance, preference, total in zip(instances, weights, earned, strict=True):
        assert 1 - solve(instance, preference=preference).cost == pytest.approx(total, abs=1e-9)


def test_costs_are_in_even_shares_of_a_task():
    vec = vector(scenario="drlto-n8")
    costs, to_come = OptimalTeacher(10**6).label(vec)
    worst = costs.argmax(axis=1)
    instances, weights = vec.instances, vec.simulation.preferences.copy()
    _, rewards, *_ = vec.step(worst)
    _, rest = OptimalTeacher(10**6).label(vec)
    lost = to_come - (rewards + rest)
    np.testing.assert_allclose(costs.max(axis=1), 8 * lost, atol=1e-5)
    assert len(instances) == len(weights)


def test_it_leads_by_the_rule_that_looks_ahead():
    vec = vector(scenario="drlto-n9")
    np.testing.assert_array_equal(OptimalTeacher(1).act(vec), vec.rule_action("rollout_weighted"))


def test_nodes_are_needed():
    with pytest.raises(ParameterError, match=r"iterations: found 0"):
        OptimalTeacher(0)
