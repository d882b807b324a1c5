import numpy as np
import pytest

pytest.importorskip("ortools")

from dispatchgym.agents.problems.job_shop.exact_teacher import ExactTeacher, InstancePool
from dispatchgym.envs.job_shop import make_instance, solve


def play_plan(make_vec, scenario, pool, mode):
    teacher = ExactTeacher(pool, mode, True, 20.0)
    vec = make_vec(1, scenario=scenario, mode=mode)
    vec.reset(seed=0)
    for _ in range(1000):
        costs, outcome = teacher.label(vec)
        assert np.array_equal(np.isfinite(costs), vec.action_masks())
        assert np.isnan(outcome).all()
        _, _, terminated, _, info = vec.step(teacher.act(vec))
        if terminated[0]:
            return info["final_info"]["objective"][0]
    raise AssertionError("the episode does not end")


@pytest.mark.parametrize(("mode", "optimum"), [("classic", 55), ("blocking", 63)])
def test_the_plan_of_ft06_is_carried_out(make_vec, mode, optimum):
    """Fisher and Thompson's 6x6: optimum 55, and 63 without buffers, both proven."""
    pool = InstancePool((make_instance("ft06", 0),))
    assert play_plan(make_vec, "ft06", pool, mode) == optimum


@pytest.mark.parametrize("seed", range(4))
def test_plans_of_random_shops_are_carried_out(make_vec, seed):
    instance = make_instance("random_4x4", seed)
    pool = InstancePool((instance,))
    optimum = solve(instance, mode="blocking", time_limit=20.0).objective
    assert play_plan(make_vec, pool, pool, "blocking") == optimum


def test_a_pool_gives_the_same_few_instances():
    pool = InstancePool.draw("random_3-5x2-4", 3)
    assert pool.max_jobs <= 5
    assert pool.generate(1) == pool.generate(4)
    assert pool.max_machines == max(instance.num_machines for instance in pool.instances)
