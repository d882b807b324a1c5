"""Our PPO makes the updates of MaskablePPO, and plays by the probabilities that it notes."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import configure

from dispatchgym.agents.multi_input import FlatView, MultiInputNetwork
from dispatchgym.agents.ppo import make_ppo
from dispatchgym.envs.core.adapters import to_sb3

LANES, STEPS, RATE = 6, 40, 3e-3
SETTINGS = {"n_steps": STEPS, "batch_size": 64, "n_epochs": 3, "ent_coef": 0.02}


def batch(**options):
    vec = gym.make_vec(
        "dispatchgym:dispatchgym/JobShop-v0",
        num_envs=LANES,
        scenario="random_3-4x2-3",
        autoreset_mode="SameStep",
        invalid_action="raise",
        observation="jobs",
        **options,
    )
    return vec.unwrapped


def published():
    """MaskablePPO itself."""
    return MaskablePPO(
        "MultiInputPolicy", to_sb3(batch()), learning_rate=RATE, seed=0,
        policy_kwargs={"net_arch": [16, 16]}, **SETTINGS,
    )  # fmt: skip


def ours(**options):
    network = MultiInputNetwork(published().policy)
    optimizer = torch.optim.Adam(network.parameters(), eps=1e-5)
    vec = FlatView(to_sb3(batch(**options), copy=False))
    return make_ppo(
        vec, network, optimizer, lambda: RATE, seed=0, device=torch.device("cpu"),
        time_constant=None, **SETTINGS,
    )  # fmt: skip


def collect(model):
    """Play one rollout."""
    total, callback = model._setup_learn(LANES * STEPS)
    assert total == LANES * STEPS
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, STEPS)
    return model.rollout_buffer


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def by_key(features, space):
    """The arrays that `FlatView` has joined."""
    bounds = np.cumsum([np.prod(box.shape) for box in space.values()])[:-1]
    parts = np.split(features, bounds, axis=1)
    return {
        key: part.reshape(len(features), *space[key].shape)
        for key, part in zip(space, parts, strict=True)
    }


def test_an_update_is_that_of_maskable_ppo():
    model, reference = ours(), published()
    before = weights(model.policy.network)
    kept, theirs = collect(model), reference.rollout_buffer
    for step in range(STEPS):
        theirs.add(
            by_key(kept.observations["features"][step], reference.observation_space),
            kept.actions[step],
            kept.rewards[step],
            kept.episode_starts[step],
            torch.as_tensor(kept.values[step]),
            torch.as_tensor(kept.log_probs[step]),
            action_masks=kept.observations["action_mask"][step],
        )
    theirs.advantages, theirs.returns = kept.advantages.copy(), kept.returns.copy()
    for each in (model, reference):
        np.random.seed(7)  # noqa: NPY002  the order of the batches
        each.set_logger(configure(None, []))
        each.train()
    found = weights(model.policy.network)
    assert (found - before).abs().max() > 1e-3
    expected = weights(MultiInputNetwork(reference.policy))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction"):
        told = [each.logger.name_to_value[f"train/{name}"] for each in (model, reference)]
        assert told[0] == pytest.approx(told[1], rel=1e-4, abs=1e-6), name


def test_a_rollout_is_what_was_played():
    model = ours()
    kept = collect(model)
    again = batch()
    observations, _ = again.reset(seed=0)
    legal = np.take_along_axis(kept.observations["action_mask"], kept.actions, 2)
    assert legal.all()
    started, ends = np.ones(LANES, bool), 0
    for step in range(STEPS):
        shown = by_key(kept.observations["features"][step], again.single_observation_space)
        for key, value in observations.items():
            np.testing.assert_array_equal(shown[key], value)
        np.testing.assert_array_equal(kept.episode_starts[step], started)
        observations, rewards, terminated, _, _ = again.step(kept.actions[step, :, 0])
        np.testing.assert_array_equal(kept.rewards[step], rewards.astype(np.float32))
        started = terminated
        ends += terminated.sum()
    assert ends == len(model.ep_info_buffer) > LANES
    with torch.no_grad():
        shown = {key: torch.as_tensor(rows[3]) for key, rows in kept.observations.items()}
        values, log_probs, _ = model.policy.evaluate_actions(
            shown, torch.as_tensor(kept.actions[3, :, 0]), shown["action_mask"]
        )
    np.testing.assert_allclose(kept.values[3], values.squeeze(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(kept.log_probs[3], log_probs, rtol=1e-4, atol=1e-5)


def test_an_episode_that_is_cut_off_is_worth_what_comes():
    plain, cut = collect(ours()), collect(ours(max_episode_steps=3))
    ends = np.flatnonzero(cut.episode_starts[:, 0])[1]
    assert ends == 3
    model = ours()
    with torch.no_grad():
        state = {key: torch.as_tensor(rows[3]) for key, rows in plain.observations.items()}
        value = model.policy.predict_values(state).squeeze(1).numpy()
    going = plain.episode_starts[3] == 0
    np.testing.assert_array_equal(cut.actions[:3], plain.actions[:3])
    expected = plain.rewards[2] + model.gamma * value
    np.testing.assert_allclose(cut.rewards[2][going], expected[going], rtol=1e-5, atol=1e-6)


def test_learning_goes_on_in_the_same_memory():
    model = ours()
    memory = collect(model).observations["features"]
    model.learn(2 * LANES * STEPS)
    assert model.rollout_buffer.observations["features"] is memory
    assert model.num_timesteps == 2 * LANES * STEPS
