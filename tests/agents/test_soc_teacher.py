"""The teacher that searches for plans: what its costs say, and that following them pays."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.agents.problems.soc.teacher import PlanTeacher
from dispatchgym.envs.core.errors import ParameterError

ID = "dispatchgym:dispatchgym/SoC-v0"


def batch(scenario, rows):
    vec = gym.make_vec(
        ID,
        num_envs=rows,
        vectorization_mode="vector_entry_point",
        scenario=scenario,
        autoreset_mode="SameStep",
    ).unwrapped
    vec.reset(seed=70)
    return vec


def test_costs_are_zero_for_the_best_and_infinite_for_the_illegal():
    vec = batch("top3-p5-q4+top3-gen", 5)
    teacher = PlanTeacher(40)
    for _ in range(12):
        costs, values = teacher.label(vec)
        np.testing.assert_array_equal(np.isfinite(costs), vec.action_masks())
        assert (costs.min(axis=1) == 0).all()
        assert np.isnan(values).all()
        np.testing.assert_array_equal(teacher.act(vec), vec.rule_action("etf"))
        vec.step(costs.argmin(axis=1))


def test_following_it_beats_the_rule_it_leads_with():
    latency = {}
    for name in ("teacher", "etf"):
        vec, teacher = batch("top3-p5-h1500", 8), PlanTeacher(400)
        done = np.zeros(8, bool)
        found = np.full(8, np.nan)
        while not done.all():
            actions = teacher.label(vec)[0].argmin(axis=1) if name == "teacher" else None
            *_, ended, _, infos = vec.step(vec.rule_action("etf") if actions is None else actions)
            for row in np.flatnonzero(ended & ~done):
                found[row] = infos["final_info"]["objective"][row]
            done |= ended
        latency[name] = found.mean()
    assert latency["teacher"] < 0.96 * latency["etf"]


def test_a_search_needs_moves():
    with pytest.raises(ParameterError, match="iterations: found 0"):
        PlanTeacher(0)
