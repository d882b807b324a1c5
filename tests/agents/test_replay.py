"""The replay buffer: what followed what, other preferences, memory."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dispatchgym.agents.replay import CompactReplayBuffer
from dispatchgym.envs.core.errors import ParameterError

LANES = 3
SPACE = spaces.Dict(
    {
        "clock": spaces.Box(0, np.inf, (2,), np.float32),
        "preference": spaces.Box(0, 1, (2,), np.float32),
        "action_mask": spaces.Box(0, 1, (4,), np.int8),
    }
)


def observe(step):
    """Lane and time of every lane; episodes last five steps."""
    times = np.full(LANES, float(step))
    return {
        "clock": np.stack([np.arange(LANES), times], axis=1).astype(np.float32),
        "preference": np.tile(np.float32([0.25, 0.75]), (LANES, 1)),
        "action_mask": np.ones((LANES, 4), np.int8),
    }


def filled(steps, size=60, cut_off=False, **changes):
    """A buffer after so many steps; what follows the last step of an episode is time 1000."""
    buffer = CompactReplayBuffer(
        size, SPACE, spaces.Discrete(4), device="cpu", n_envs=LANES, seed=0, **changes
    )
    for step in range(steps):
        ends = step % 5 == 4
        after = observe(1000 if ends else step + 1)
        vectors = np.stack([np.full(LANES, step), -np.arange(LANES)], axis=1)
        infos = [
            {
                "vector_reward": vectors[lane],
                "entropy": 0.1 * lane,
                "TimeLimit.truncated": ends and cut_off,
            }
            for lane in range(LANES)
        ]
        rewards = vectors @ [0.25, 0.75]
        buffer.add(
            observe(step), after, np.full(LANES, step % 4), rewards, np.full(LANES, ends), infos
        )
    return buffer


@pytest.mark.parametrize(("steps", "oldest"), [(7, 0), (20, 0), (21, 1), (53, 33)])
@pytest.mark.parametrize("half", [False, True])
def test_steps_come_back_as_they_were(steps, oldest, half):
    batch = filled(steps, half=half).sample(4000)
    lane, time = batch.observations["clock"].T
    assert set(time.tolist()) == set(range(oldest, steps))
    assert set(lane.tolist()) == set(range(LANES))
    np.testing.assert_array_equal(batch.actions[:, 0], time % 4)
    np.testing.assert_allclose(batch.entropies[:, 0], 0.1 * lane, rtol=1e-6)
    ends = time % 5 == 4
    np.testing.assert_array_equal(batch.dones[:, 0], ends)
    after_lane, after_time = batch.next_observations["clock"].T
    np.testing.assert_array_equal(after_lane, lane)
    np.testing.assert_array_equal(after_time[~ends], time[~ends] + 1)
    np.testing.assert_allclose(batch.rewards[:, 0], 0.25 * time - 0.75 * lane, rtol=1e-6)
    np.testing.assert_array_equal(batch.vector_rewards[:, 0], time)


def test_an_episode_that_is_cut_off_goes_on_from_its_last_observation():
    batch = filled(53, cut_off=True).sample(1000)
    time, after = batch.observations["clock"][:, 1], batch.next_observations["clock"][:, 1]
    assert (batch.dones == 0).all()
    ends = time % 5 == 4
    assert ends.any() and (after[ends] == 1000).all()
    np.testing.assert_array_equal(after[~ends], time[~ends] + 1)


def test_steps_are_drawn_evenly():
    time = filled(53).sample(20_000).observations["clock"][:, 1].long()
    counts = torch.bincount(time)[33:]
    assert len(counts) == 20 and counts.min() > 850 and counts.max() < 1150


def test_a_share_is_replayed_under_other_preferences():
    batch = filled(20, relabel=0.5).sample(400)
    preference = batch.observations["preference"]
    torch.testing.assert_close(preference, batch.next_observations["preference"])
    torch.testing.assert_close(preference.sum(dim=1), torch.ones(400))
    torch.testing.assert_close(batch.rewards[:, 0], (preference * batch.vector_rewards).sum(dim=1))
    changed = preference[:, 0] != 0.25
    assert changed.sum() == 200
    drawn = preference[changed, 0]
    assert drawn.min() < 0.05 and drawn.max() > 0.95 and abs(drawn.mean() - 0.5) < 0.08
    # What is stored stays what it was.
    assert (filled(20, relabel=1.0).observations["preference"][:20] == [0.25, 0.75]).all()


def test_half_precision_takes_half_the_memory_and_keeps_three_digits():
    full, half = (filled(1, size=600, half=choice) for choice in (False, True))
    assert half.observations["clock"].nbytes * 2 == full.observations["clock"].nbytes
    assert half.observations["action_mask"].dtype == np.int8
    large = observe(1e6)
    infos = [{"vector_reward": np.zeros(2)}] * LANES
    half.add(large, large, np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), infos)
    assert half.observations["clock"][1].max() == np.finfo(np.float16).max
    batch = half.sample(8)
    assert batch.observations["clock"].dtype == torch.float32


def test_each_observation_is_stored_once():
    buffer = filled(1, size=600)
    stored = sum(array.nbytes for array in buffer.observations.values())
    once = sum(np.prod(box.shape) * box.dtype.itemsize for box in SPACE.values())
    assert stored == (600 // LANES + 1) * LANES * once
    assert not hasattr(buffer, "next_observations")


def test_mistakes():
    with pytest.raises(ParameterError, match="found no steps"):
        filled(0).sample(4)
    buffer = filled(0)
    with pytest.raises(ParameterError, match="vector_reward: missing"):
        buffer.add(observe(0), observe(1), np.zeros(3), np.zeros(3), np.zeros(3), [{}] * LANES)
