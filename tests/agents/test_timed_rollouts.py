"""Discounting in time: returns worked out by hand, and the ordinary ones for even steps."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer

from dispatchgym.agents.ppo import TimedRolloutBuffer

STEPS, ENVS = 6, 2
SPACES = spaces.Dict({"x": spaces.Box(0, 1, (1,))}), spaces.Discrete(3)


def filled(buffer, elapsed=None, seed=0):
    rng = np.random.default_rng(seed)
    for step in range(STEPS):
        if elapsed is not None:
            buffer.note(elapsed[step])
        starts = np.array([step == 0, step in (0, 3)], np.float32)
        buffer.add(
            {"x": np.zeros((ENVS, 1))},
            np.zeros(ENVS),
            rng.standard_normal(ENVS),
            starts,
            torch.as_tensor(rng.standard_normal(ENVS), dtype=torch.float32),
            torch.zeros(ENVS),
            action_masks=np.ones((ENVS, 3)),
        )
    buffer.compute_returns_and_advantage(torch.tensor([0.5, -0.7]), np.array([False, True]))
    return buffer


def timed(elapsed, gae_lambda, time_constant=10.0):
    made = TimedRolloutBuffer(
        STEPS, *SPACES, gae_lambda=gae_lambda, n_envs=ENVS, time_constant=time_constant
    )
    return filled(made, elapsed)


def test_even_steps_are_discounted_as_usual():
    gamma = 0.9
    even = np.full((STEPS, ENVS), -10.0 * np.log(gamma))
    usual = filled(
        MaskableDictRolloutBuffer(STEPS, *SPACES, gae_lambda=0.8, gamma=gamma, n_envs=ENVS)
    )
    found = timed(even, 0.8)
    np.testing.assert_allclose(found.advantages, usual.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.returns, usual.returns, rtol=1e-5, atol=1e-6)


def test_returns_are_discounted_by_the_time_that_passed():
    elapsed = np.random.default_rng(1).integers(0, 30, (STEPS, ENVS)).astype(float)
    found = timed(elapsed, 1.0)
    # Environment 0 goes on behind the last step; nothing ends in it.
    expected = 0.5
    for step in reversed(range(STEPS)):
        expected = found.rewards[step, 0] + np.exp(-elapsed[step, 0] / 10.0) * expected
        assert found.returns[step, 0] == pytest.approx(expected, rel=1e-5)
    # Environment 1 begins anew at step 3 and ends at the last one.
    assert found.returns[2, 1] == pytest.approx(found.rewards[2, 1], rel=1e-5)
    assert found.returns[5, 1] == pytest.approx(found.rewards[5, 1], rel=1e-5)
