"""What training asks the system on chip: teachers, yardsticks, settings that are refused."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("ortools")

from dispatchgym.agents.problems import find_problem
from dispatchgym.configs.schemas import ImitationConfig, PPOConfig, SoCConfig, TrainConfig
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.soc import make_instance

PROBLEM = find_problem("soc")


def config(teacher="etf", **changes):
    agent = PPOConfig(imitation=ImitationConfig(teacher=teacher))
    return TrainConfig(env=replace(SoCConfig(), **changes), agent=agent)


def test_rules_teach():
    teacher, options = PROBLEM.make_teacher(config())
    assert options == {}
    vec = gym.make_vec(
        PROBLEM.env_id, num_envs=3, vectorization_mode="vector_entry_point", scenario="top3-p2"
    ).unwrapped
    vec.reset(seed=1)
    np.testing.assert_array_equal(teacher.act(vec), vec.rule_action("etf"))
    costs, values = teacher.label(vec)
    assert (costs.argmin(axis=1) == teacher.act(vec)).all() and np.isnan(values).all()
    np.testing.assert_array_equal(np.isfinite(costs), vec.action_masks())


def test_there_may_be_no_teacher():
    assert PROBLEM.make_teacher(config("none")) == (None, {})
    with pytest.raises(
        ParameterError, match="found 'heft', expected none, plan or one of random, met"
    ):
        PROBLEM.make_teacher(config("heft"))


def test_rewards_that_values_are_not_learned_for():
    PROBLEM.check_training(config())
    with pytest.raises(ParameterError, match=r"env\.mode: found 'map_only'"):
        PROBLEM.check_training(config(mode="map_only"))
    with pytest.raises(ParameterError, match=r"env\.reward: found 'compbonus'"):
        PROBLEM.check_training(config(reward="compbonus"))


def test_the_yardstick_is_a_job_alone():
    assert PROBLEM.held_out_reference(make_instance("top3-p5", 0)) == pytest.approx(81.2)
    assert PROBLEM.held_out_reference(make_instance("bal16-wifi80", 0)) == pytest.approx(
        0.8 * 69 + 0.2 * 288
    )
    generated = make_instance("top3-gen", 3)
    paths = [profile.critical_path for profile in generated.profiles]
    assert PROBLEM.held_out_reference(generated) == pytest.approx(np.mean(paths))


def test_the_environment_of_a_training():
    found = PROBLEM.training_options({"name": "soc", "scenario": "top3-gen", "mode": "map_only"})
    assert found == {"scenario": "top3-gen", "mode": "map_only"}
    with pytest.raises(ParameterError, match=r"held_out\.level: found 0\.3"):
        PROBLEM.at_level(found, 0.3)
