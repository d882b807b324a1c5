"""The teacher of VM rescheduling: legal labels, and plans that are worth what it says."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.agents.problems.vm_rescheduling.teacher import PlanTeacher
from dispatchgym.envs.vm_rescheduling import solve

ROWS = 6


def make(scenario, **options):
    return gym.make_vec(
        "dispatchgym:dispatchgym/VMRescheduling-v0",
        num_envs=ROWS,
        scenario=scenario,
        numa_rule="explicit",
        autoreset_mode="SameStep",
        copy=False,
        invalid_action="raise",
        **{"allow_stop": False, **options},
    ).unwrapped


def play(vec, choose):
    """Return of one episode in each row; `choose` sees costs and values."""
    teacher = PlanTeacher(iterations=64, temperature=0.05, seed=0)
    vec.reset(seed=0)
    total, ended = np.zeros(ROWS), np.zeros(ROWS, bool)
    promised = None
    while not ended.all():
        costs, values = teacher.label(vec)
        promised = values if promised is None else promised
        assert np.array_equal(np.isfinite(costs), vec.action_masks())
        assert (costs.min(axis=1) == 0).all()
        assert costs[np.isfinite(costs)].max() <= 1
        _, rewards, terminated, _, _ = vec.step(choose(costs))
        total += np.where(ended, 0, rewards)
        ended |= terminated
    return total, promised


@pytest.mark.parametrize("scenario", ["S", "S-AA", "S-MR"])
def test_who_follows_the_teacher_gets_what_it_promised(scenario):
    total, promised = play(make(scenario), lambda costs: costs.argmin(axis=1))
    # It may be led from one good plan to another, and lose a little between them.
    assert total.mean() >= 0.9 * promised.mean()
    assert promised.mean() > 0.1


def test_the_teacher_is_near_the_optimum():
    vec = make("S")
    total, _ = play(vec, lambda costs: costs.argmin(axis=1))
    vec.reset(seed=0)
    best = []
    for instance in vec.instances:
        gain = instance.initial_objective - solve(instance, time_limit=5).bound
        best.append(gain * instance.total_free_cpu / 128)
    assert (total <= np.array(best) + 1e-6).all()
    assert total.mean() >= 0.8 * np.mean(best)


def test_it_mends_its_plan_after_the_students_own_moves():
    rng = np.random.default_rng(0)

    def half_at_random(costs):
        legal = np.isfinite(costs)
        some = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
        return np.where(rng.random(ROWS) < 0.5, some, costs.argmin(axis=1))

    total, _ = play(make("S"), half_at_random)
    random_total, _ = play(
        make("S"),
        lambda costs: np.array([rng.choice(np.flatnonzero(np.isfinite(r))) for r in costs]),
    )
    assert total.mean() > random_total.mean() + 0.1


def test_where_nothing_can_be_won_it_does_no_harm():
    vec = make("random_3x8")
    total, promised = play(vec, lambda costs: costs.argmin(axis=1))
    assert total.mean() >= 0.8 * promised.mean()
