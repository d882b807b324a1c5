"""Mixtures: rows of several environments in one batch."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.agents.imitation import RuleTeacher
from dispatchgym.agents.mixture import MixedTeacher, Mixture, as_sb3, parts_of
from dispatchgym.envs.core.errors import ParameterError


def make_part(scenario, lanes, **options):
    vec = gym.make_vec(
        "dispatchgym:dispatchgym/EdgeOffloading-v0",
        num_envs=lanes,
        vectorization_mode="vector_entry_point",
        scenario=scenario,
        autoreset_mode="SameStep",
        invalid_action="raise",
        **{"reward": "scalar", "max_servers": 4, **options},
    ).unwrapped
    vec.reset(seed=5)
    return vec


@pytest.fixture
def parts():
    return [make_part("gmorl-e3", 2), make_part("dems-medium-2", 3)]


def test_names():
    assert parts_of("gmorl+gmorl_hard|dems") == ["gmorl+gmorl_hard", "dems"]
    assert parts_of("gmorl") == ["gmorl"]
    generator = object()
    assert parts_of(generator) == [generator]


def test_rows_are_those_of_the_parts(parts):
    alone = [make_part("gmorl-e3", 2), make_part("dems-medium-2", 3)]
    mixture = Mixture(parts)
    assert mixture.num_envs == 5
    for _ in range(30):
        np.testing.assert_array_equal(
            mixture.action_masks(), np.concatenate([part.action_masks() for part in alone])
        )
        actions = mixture.action_masks().argmax(axis=1)
        observation, reward, terminated, truncated, info = mixture.step(actions)
        apart = [alone[0].step(actions[:2]), alone[1].step(actions[2:])]
        assert info == {} and terminated.shape == truncated.shape == (5,)
        np.testing.assert_array_equal(reward, np.concatenate([found[1] for found in apart]))
        for key, value in observation.items():
            np.testing.assert_array_equal(value[:2], apart[0][0][key])
            np.testing.assert_array_equal(value[2:], apart[1][0][key])
            np.testing.assert_array_equal(value, mixture.simulation.observations[key])


def test_each_part_has_its_teacher(parts):
    mixture = Mixture(parts)
    teacher = MixedTeacher([RuleTeacher("greedy_omega"), RuleTeacher("dems")])
    actions = teacher.act(mixture)
    np.testing.assert_array_equal(actions[:2], parts[0].rule_action("greedy_omega"))
    np.testing.assert_array_equal(actions[2:], parts[1].rule_action("dems"))
    costs, values = teacher.label(mixture)
    np.testing.assert_array_equal(costs.argmin(axis=1), actions)
    assert values.shape == (5,)


def test_as_an_environment_of_stable_baselines3(parts):
    vec = as_sb3(Mixture(parts))
    vec.seed(7)
    first = vec.reset()
    assert vec.num_envs == 5 and first["servers"].shape == (5, 4, 76)
    vec.seed(7)
    again = vec.reset()
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key])
    masks = np.array(vec.env_method("action_masks"))
    assert masks.shape == (5, 6)
    ended = 0
    for _ in range(120):
        masks = np.array(vec.env_method("action_masks"))
        _, _, dones, infos = vec.step(masks.argmax(axis=1))
        assert len(infos) == 5 and all(info["vector_reward"].shape == (2,) for info in infos)
        for lane in np.flatnonzero(dones):
            assert infos[lane]["terminal_observation"]["servers"].shape == (4, 76)
        ended += dones.sum()
    assert ended >= 2
    assert len(vec.get_attr("render_mode")) == 5
    vec.close()


def test_parts_of_other_shapes_are_refused(parts):
    with pytest.raises(ParameterError, match="in all parts of a mixture"):
        Mixture([parts[0], make_part("gmorl-e3", 2, max_servers=5)])
