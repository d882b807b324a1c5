"""The views for other libraries show the same data in other shapes."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.envs.core.adapters import (
    RLlibMaskVectorView,
    RLlibMaskView,
    TianshouMaskView,
    to_sb3,
)
from dispatchgym.envs.core.errors import ParameterError

ID = "dispatchgym:dispatchgym/JobShop-v0"


SMALL = {"scenario": "random_3-4x2-3", "mode": "interrupting"}


def _batch(**kwargs):
    kwargs = {"num_envs": 4, **SMALL, **kwargs}
    return gym.make_vec(ID, **kwargs)


def test_sb3_steps_as_the_batch_does():
    adapted, plain = to_sb3(_batch(autoreset_mode="SameStep")), _batch(autoreset_mode="SameStep")
    adapted.seed(3)
    observations, expected = adapted.reset(), plain.reset(seed=3)[0]
    returns = np.zeros(4)
    finished = 0
    for _ in range(60):
        for key, value in expected.items():
            np.testing.assert_array_equal(observations[key], value)
        masks = np.stack(adapted.env_method("action_masks"))
        np.testing.assert_array_equal(masks, expected["action_mask"] == 1)
        actions = plain.unwrapped.rule_action("random")
        expected, rewards, terminated, truncated, infos = plain.step(actions)
        observations, given, dones, found = adapted.step(actions)
        np.testing.assert_array_equal(given, rewards)
        np.testing.assert_array_equal(dones, terminated | truncated)
        returns += rewards
        for row in np.flatnonzero(dones):
            assert found[row]["objective"] == infos["final_info"]["objective"][row]
            assert found[row]["episode"]["r"] == pytest.approx(returns[row])
            last = infos["final_obs"][row]
            for key, value in found[row]["terminal_observation"].items():
                np.testing.assert_array_equal(value, last[key])
            returns[row] = 0.0
            finished += 1
    assert finished > 4


def test_sb3_observations_survive_the_next_step():
    adapted = to_sb3(_batch(autoreset_mode="SameStep", copy=False))
    before = adapted.reset()
    kept = {key: value.copy() for key, value in before.items()}
    adapted.step(np.argmax(before["action_mask"], axis=1))
    for key, value in kept.items():
        np.testing.assert_array_equal(before[key], value)


def test_sb3_needs_same_step():
    with pytest.raises(ParameterError, match="SameStep"):
        to_sb3(_batch())


def test_sb3_trains_with_masks():
    from sb3_contrib import MaskablePPO

    vec = to_sb3(_batch(autoreset_mode="SameStep", observation="jobs"))
    model = MaskablePPO("MultiInputPolicy", vec, n_steps=8, batch_size=16, n_epochs=1).learn(64)
    assert model.num_timesteps == 64
    assert len(model.ep_info_buffer) > 0


def test_rllib_view():
    env = RLlibMaskView(gym.make(ID, scenario="random_3-4x2-3"))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert set(observation) == {"action_mask", "observations"}
    np.testing.assert_array_equal(observation["action_mask"] == 1, env.unwrapped.action_masks())
    plain = env.unwrapped.simulation.observations
    size = sum(value[0].size for key, value in plain.items() if key != "action_mask")
    assert observation["observations"].shape == (size,)
    observation, *_ = env.step(env.unwrapped.rule_action("spt"))
    assert env.observation_space.contains(observation)


def test_rllib_view_of_a_batch_has_the_rows_of_single_views():
    batch = RLlibMaskVectorView(_batch())
    singles = [RLlibMaskView(gym.make(ID, **SMALL)) for _ in range(4)]
    observations, _ = batch.reset(seed=5)
    expected = [single.reset(seed=5 + i)[0] for i, single in enumerate(singles)]
    actions = batch.unwrapped.rule_action("spt")
    assert batch.observation_space.contains(observations)
    assert batch.single_observation_space == singles[0].observation_space
    for key in ("action_mask", "observations"):
        np.testing.assert_array_equal(observations[key], [row[key] for row in expected])
    observations, *_ = batch.step(actions)
    expected = [single.step(actions[i])[0] for i, single in enumerate(singles)]
    for key in ("action_mask", "observations"):
        np.testing.assert_array_equal(observations[key], [row[key] for row in expected])


def test_rllib_view_of_a_batch_refuses_same_step():
    with pytest.raises(ValueError, match="NEXT_STEP"):
        RLlibMaskVectorView(_batch(autoreset_mode="SameStep"))


def test_tianshou_view():
    env = TianshouMaskView(gym.make(ID, scenario="random_3-4x2-3"))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation["mask"].dtype == np.bool_
    np.testing.assert_array_equal(observation["mask"], env.unwrapped.action_masks())
    assert "action_mask" not in observation["obs"]
    assert env.step(env.unwrapped.rule_action("spt"))[-1] == {}  # a buffer keeps every info
