"""Environments with vector rewards keep MO-Gymnasium's convention; tested against the package."""

import gymnasium as gym
import mo_gymnasium
import numpy as np
import pytest
from core.baskets import STEPS, BasketEnv, BasketVectorEnv
from mo_gymnasium import wrappers
from mo_gymnasium.wrappers import vector

import dispatchgym

EDGE = "dispatchgym:dispatchgym/EdgeOffloading-v0"


def edge(**kwargs):
    return mo_gymnasium.make(EDGE, scenario="gmorl-e2", **kwargs)


ENVIRONMENTS = pytest.mark.parametrize("make", [BasketEnv, edge])


@ENVIRONMENTS
def test_the_convention(make):
    env = make()
    inner = env.unwrapped
    assert isinstance(inner.reward_space, gym.spaces.Box)
    assert inner.reward_space.shape == (inner.reward_dim,) == (2,)
    env.reset(seed=0)
    _, reward, *_ = env.step(inner.rule_action("random"))
    assert inner.reward_space.contains(reward)
    assert not hasattr(make(reward="scalar").unwrapped, "reward_space")


@ENVIRONMENTS
def test_linear_reward_equals_the_scalar_reward(make):
    weight = np.array([0.25, 0.75])
    outer = wrappers.LinearReward(make(), weight=weight)
    own = make(reward="scalar", preference=weight)
    outer.reset(seed=3)
    own.reset(seed=3)
    for _ in range(STEPS - 1):
        action = own.unwrapped.rule_action("random")
        _, reward, *_, info = outer.step(action)
        _, expected, *_, expected_info = own.step(action)
        assert reward == pytest.approx(expected, rel=1e-6)
        np.testing.assert_array_equal(info["vector_reward"], expected_info["vector_reward"])
    outer.set_weight(np.array([1.0, 0.0]))
    _, reward, *_, info = outer.step(own.unwrapped.rule_action("random"))
    assert reward == info["vector_reward"][0]


@ENVIRONMENTS
def test_episode_statistics_are_vectors(make):
    env = wrappers.MORecordEpisodeStatistics(make(), gamma=0.9)
    wrapped = dispatchgym.PreferenceWrapper(env, (0.5, 0.5))
    wrapped.reset(seed=1)
    total, done = np.zeros(2), False
    while not done:
        *_, done, _, info = wrapped.step(env.unwrapped.rule_action("random"))
        total += info["vector_reward"]
    np.testing.assert_allclose(info["episode"]["r"], total, rtol=1e-5)
    assert info["episode"]["r"].shape == (2,)


@ENVIRONMENTS
def test_normalised_and_clipped_rewards(make):
    env = wrappers.MOClipReward(wrappers.MONormalizeReward(make(), idx=1), 0, -0.1, 0.1)
    env.reset(seed=0)
    for _ in range(STEPS):
        _, reward, *_ = env.step(env.unwrapped.rule_action("random"))
        assert reward.shape == (2,)
        assert -0.1 <= reward[0] <= 0.1


@pytest.mark.parametrize(
    ("make", "make_vec"),
    [(BasketEnv, BasketVectorEnv), (edge, lambda n: gym.make_vec(EDGE, n, scenario="gmorl-e2"))],
)
def test_their_vector_environment_equals_the_native_batch(make, make_vec):
    theirs = vector.MOSyncVectorEnv([make] * 3)
    ours = make_vec(3)
    assert theirs.reward_space.shape == ours.unwrapped.reward_space.shape
    seen, _ = theirs.reset(seed=5)
    shown, _ = ours.reset(seed=5)
    for _ in range(2 * STEPS):
        for key, value in shown.items():
            np.testing.assert_array_equal(seen[key], value)
        actions = ours.unwrapped.rule_action("random")
        actions[actions < 0] = 0  # of rows that begin anew
        seen, rewards, terminated, _, _ = theirs.step(actions)
        shown, expected, ended, _, _ = ours.step(actions)
        assert rewards.dtype == expected.dtype == np.float32
        np.testing.assert_array_equal(rewards, expected)
        np.testing.assert_array_equal(terminated, ended)


@pytest.mark.parametrize(
    "make_vec", [BasketVectorEnv, lambda n: gym.make_vec(EDGE, n, scenario="gmorl-e2")]
)
def test_their_statistics_of_the_native_batch(make_vec):
    env = vector.MORecordEpisodeStatistics(make_vec(2))
    env.reset(seed=0)
    total, ended = np.zeros((2, 2)), np.zeros(2, np.bool_)
    while not ended.any():
        _, rewards, ended, _, infos = env.step(env.unwrapped.rule_action("random"))
        total += rewards
    row = int(np.flatnonzero(ended)[0])
    np.testing.assert_allclose(infos["episode"]["r"][row], total[row], rtol=1e-5)
