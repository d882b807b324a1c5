"""Rewards of several objectives, in single environments, batches and for other libraries."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from core.baskets import STEPS, BasketEnv, BasketVectorEnv, amounts

import dispatchgym
from dispatchgym.envs.core import testing
from dispatchgym.envs.core.adapters import to_sb3
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.preference import PreferenceWrapper
from dispatchgym.envs.core.vector_reward import VectorReward, begin_preference, scalarise

MODES = ["NextStep", "SameStep", "Disabled"]


@pytest.mark.parametrize("reward", ["vector", "scalar"])
@pytest.mark.parametrize("preference", ["grid", "dirichlet", (0.25, 0.75)])
def test_the_contract_holds(reward, preference):
    make = functools.partial(BasketEnv, reward=reward, preference=preference)
    testing.check_environment(make)
    make_vec = functools.partial(BasketVectorEnv, reward=reward, preference=preference)
    testing.check_vector_environment(make_vec, make, steps=40)


def test_a_step_gives_the_vector():
    env = BasketEnv()
    assert env.reward_dim == 2
    assert env.reward_names == ("apples", "pears")
    env.reset(seed=3)
    _, reward, _, _, info = env.step(1)
    assert reward.dtype == np.float32
    assert env.reward_space.contains(reward)
    np.testing.assert_array_equal(reward, amounts(3, 0, 1).astype(np.float32))
    assert "vector_reward" not in info


def test_a_step_gives_the_weighted_sum():
    env = BasketEnv(reward="scalar", preference=(0.2, 0.8))
    env.reset(seed=3)
    _, reward, _, _, info = env.step(1)
    assert isinstance(reward, float)
    assert reward == pytest.approx(amounts(3, 0, 1) @ [0.2, 0.8], rel=1e-15)
    np.testing.assert_array_equal(info["vector_reward"], amounts(3, 0, 1).astype(np.float32))
    assert not hasattr(env, "reward_space")


def test_a_batch_gives_vectors_and_sums():
    vec = BasketVectorEnv(3)
    vec.reset(seed=5)
    _, rewards, *_, infos = vec.step(np.array([0, 1, 2]))
    expected = np.array([amounts(5 + row, 0, row) for row in range(3)])
    assert rewards.dtype == np.float32
    assert vec.reward_space.shape == (2,)
    np.testing.assert_array_equal(rewards, expected.astype(np.float32))
    assert "vector_reward" not in infos
    summed = BasketVectorEnv(3, reward="scalar", preference=(1, 0))
    summed.reset(seed=5)
    _, rewards, *_, infos = summed.step(np.array([0, 1, 2]))
    np.testing.assert_array_equal(rewards, expected[:, 0])
    np.testing.assert_array_equal(infos["vector_reward"], expected.astype(np.float32))
    assert infos["_vector_reward"].all()


def test_the_resetting_step_gives_no_vector():
    vec = BasketVectorEnv(2, reward="scalar")
    vec.reset(seed=0)
    vec.reset(seed=[0, None], options={"reset_mask": np.array([True, False])})
    vec.step(np.array([0, 0]))
    vec.reset(options={"reset_mask": np.array([True, False])})
    for _ in range(STEPS - 1):
        *_, terminated, _, _ = vec.step(np.array([0, 0]))
    assert terminated.tolist() == [False, True]
    *_, infos = vec.step(np.array([0, 0]))
    assert infos["_vector_reward"].tolist() == [True, False]
    assert not infos["vector_reward"][1].any()


def preferences_of(preference, episodes=2000):
    vec = BasketVectorEnv(episodes, preference=preference)
    return vec.reset(seed=0)[0]["preference"].astype(np.float64)


def test_the_grid_has_64_equally_spaced_points():
    drawn = preferences_of("grid")
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-6)
    points, counts = np.unique(np.round(drawn[:, 0] * 63, 4), return_counts=True)
    np.testing.assert_allclose(points, np.arange(64), atol=1e-3)
    assert counts.max() < 4 * counts.min() + 10


def test_dirichlet_preferences_are_uniform():
    drawn = preferences_of("dirichlet")
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-6)
    shares = np.histogram(drawn[:, 0], bins=10, range=(0, 1))[0] / len(drawn)
    np.testing.assert_allclose(shares, 0.1, atol=0.03)


def test_three_objectives_have_a_dirichlet_too():
    from dispatchgym.envs.core.vector_reward import choose_draw, make_vector_reward

    vector = make_vector_reward(3000, 3)
    choose_draw(vector, "dirichlet")
    for lane in range(3000):
        begin_preference(vector, lane, np.uint64(lane))
    np.testing.assert_allclose(vector.preference.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(vector.preference.mean(axis=0), 1 / 3, atol=0.02)
    # A component of Dirichlet(1, 1, 1) has the variance 2 / (9 * 4).
    np.testing.assert_allclose(vector.preference.var(axis=0), 1 / 18, atol=0.005)
    vector.reward[7] = 1, 2, 4
    assert scalarise(vector, 7) == pytest.approx(vector.preference[7] @ [1, 2, 4])
    with pytest.raises(ParameterError, match="expected dirichlet, or 3 numbers"):
        choose_draw(vector, "grid")


def test_the_seed_of_an_episode_decides_its_preference():
    first, second = BasketEnv(preference="dirichlet"), BasketEnv(preference="dirichlet")
    seen = []
    for _ in range(5):
        seed = len(seen)
        preference = first.reset(seed=seed)[0]["preference"]
        np.testing.assert_array_equal(preference, second.reset(seed=seed)[0]["preference"])
        seen.append(tuple(preference))
    assert len(set(seen)) == 5
    after = [tuple(first.reset()[0]["preference"]) for _ in range(5)]
    assert len(set(after)) == 5


def test_options_set_the_preference_of_one_episode():
    env = BasketEnv(reward="scalar", preference=(0.5, 0.5))
    observation, _ = env.reset(seed=1, options={"preference": [0.125, 0.875]})
    np.testing.assert_array_equal(observation["preference"], np.float32([0.125, 0.875]))
    observation, reward, *_ = env.step(0)
    assert reward == pytest.approx(amounts(1, 0, 0) @ [0.125, 0.875])
    np.testing.assert_array_equal(observation["preference"], np.float32([0.125, 0.875]))
    assert env.reset()[0]["preference"].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("mode", MODES)
def test_options_set_the_preferences_of_rows(mode):
    vec = BasketVectorEnv(3, autoreset_mode=mode, reward="scalar")
    rows = np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]])
    observations, _ = vec.reset(seed=0, options={"preference": rows})
    np.testing.assert_array_equal(observations["preference"], rows.astype(np.float32))
    _, rewards, *_ = vec.step(np.zeros(3, np.int64))
    expected = [amounts(row, 0, 0) @ rows[row] for row in range(3)]
    np.testing.assert_allclose(rewards, expected, rtol=1e-15)
    chosen = np.array([False, True, False])
    options = {"reset_mask": chosen, "preference": (0.5, 0.5)}
    observations, _ = vec.reset(options=options)
    assert observations["preference"].tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert observations["step"].ravel().tolist() == [1, 0, 1]


def test_same_step_shows_the_old_and_the_new_preference():
    vec = BasketVectorEnv(2, autoreset_mode="SameStep", reward="scalar", preference=(0.5, 0.5))
    vec.reset(seed=0, options={"preference": [[1.0, 0.0], [0.0, 1.0]]})
    for step in range(STEPS):
        observations, rewards, *_, infos = vec.step(np.zeros(2, np.int64))
        assert rewards[0] == amounts(0, step, 0)[0]
        assert rewards[1] == amounts(1, step, 0)[1]
    assert observations["preference"].tolist() == [[0.5, 0.5]] * 2
    assert infos["final_obs"][1]["preference"].tolist() == [0, 1]
    expected = np.sum([amounts(1, step, 0) for step in range(STEPS)], axis=0)
    np.testing.assert_allclose(infos["final_info"]["objective"][1], expected)


@pytest.mark.parametrize(
    ("preference", "found"),
    [
        ((0.5, 0.6), r"\(0.5, 0.6\), which sums to 1.1"),
        ((1.5, -0.5), r"\(1.5, -0.5\), expected 2 numbers >= 0"),
        ((1.0,), "expected 2 numbers"),
        ((float("nan"), 1.0), "expected 2 numbers"),
        (None, "None, expected 2 numbers"),
        ("girl", "'girl', expected grid or dirichlet, or 2 numbers"),
        ([[[0.5, 0.5]]], "expected 2 numbers"),
    ],
)
def test_what_is_no_preference_is_refused(preference, found):
    with pytest.raises(ParameterError, match=f"preference: found .*{found}"):
        BasketEnv(preference=preference)
    if isinstance(preference, str):
        return
    for env in (BasketEnv(), BasketVectorEnv(2)):
        env.reset(seed=0)
        with pytest.raises(ParameterError, match="preference: found"):
            env.reset(options={"preference": preference})


def test_an_unknown_kind_of_reward_is_refused():
    with pytest.raises(ParameterError, match="reward: found 'both', expected one of vector"):
        BasketEnv(reward="both")


def test_the_wrapper_gives_the_weighted_sum():
    env = dispatchgym.PreferenceWrapper(BasketEnv(), sampler="grid")
    plain = BasketEnv(reward="scalar", preference="grid")
    for seed in (4, None, 9):
        observation, _ = env.reset(seed=seed)
        testing.assert_same(plain.reset(seed=seed)[0], observation, "preference of the wrapper")
        _, reward, *_, info = env.step(1)
        _, expected, *_, expected_info = plain.step(1)
        assert isinstance(reward, float)
        assert reward == pytest.approx(expected, rel=1e-6)
        testing.assert_same(expected_info, info, "info of the wrapper")


def test_the_wrapper_takes_one_preference_or_one_for_an_episode():
    env = PreferenceWrapper(BasketEnv(), (0.75, 0.25))
    assert env.reset(seed=0)[0]["preference"].tolist() == [0.75, 0.25]
    observation, _ = env.reset(seed=0, options={"preference": (0.0, 1.0)})
    assert observation["preference"].tolist() == [0, 1]
    assert env.step(0)[1] == pytest.approx(amounts(0, 0, 0)[1], rel=1e-6)
    assert env.reset(seed=0)[0]["preference"].tolist() == [0.75, 0.25]


def test_the_wrapper_needs_a_vector():
    with pytest.raises(ParameterError, match='expected an environment made with reward="vector"'):
        PreferenceWrapper(BasketEnv(reward="scalar"))
    with pytest.raises(ParameterError, match="whose reward is a number"):
        PreferenceWrapper(gym.make("CartPole-v1"))
    with pytest.raises(ParameterError, match="preference: found 'all'"):
        PreferenceWrapper(BasketEnv(), "all")


def test_sb3_gets_the_sum_and_in_every_info_the_vector():
    vec = to_sb3(BasketVectorEnv(3, autoreset_mode="SameStep", reward="scalar"))
    plain = BasketVectorEnv(3, autoreset_mode="SameStep")
    vec.seed(0)
    vec.reset()
    plain.reset(seed=0)
    ends = 0
    for _ in range(2 * STEPS):
        _, rewards, dones, infos = vec.step(np.zeros(3, np.int64))
        _, vectors, *_ = plain.step(np.zeros(3, np.int64))
        ends += dones.sum()
        for info, vector, reward in zip(infos, vectors, rewards, strict=True):
            np.testing.assert_array_equal(info["vector_reward"], vector)
            assert reward == pytest.approx(vector.mean(), rel=1e-6)
    assert ends == 6


def test_sb3_refuses_vectors():
    with pytest.raises(ParameterError, match="found reward='vector', expected 'scalar'"):
        to_sb3(BasketVectorEnv(2, autoreset_mode="SameStep"))


def test_scalar_rewards_have_nothing_of_this():
    vec = gym.make_vec("dispatchgym:dispatchgym/JobShop-v0", num_envs=2).unwrapped
    assert vec.reward_names == ()
    assert not hasattr(vec, "reward_space")
    env = gym.make("dispatchgym:dispatchgym/JobShop-v0").unwrapped
    assert not hasattr(env, "reward_space")
    env.reset(seed=0, options={"preference": "anything"})
    _, reward, *_, info = env.step(env.rule_action("spt"))
    assert isinstance(reward, float)
    assert "vector_reward" not in info


def test_compiled_functions_equal_plain_ones():
    for draw in range(3):
        results = []
        for begin in (begin_preference, begin_preference.py_func):
            vector = VectorReward(
                np.zeros((9, 2)), np.zeros((9, 2)), np.array([0.3, 0.7]), np.array([draw])
            )
            for lane in range(9):
                begin(vector, lane, np.uint64(lane))
            results.append(vector.preference)
        np.testing.assert_array_equal(results[0], results[1])
