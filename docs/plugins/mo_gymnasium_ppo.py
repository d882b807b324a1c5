"""MO-Gymnasium on edge offloading: one policy for each weighing of delay against energy."""

import sys

import mo_gymnasium
import numpy as np
from mo_gymnasium.wrappers import LinearReward, MORecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

ENV = {"id": "dispatchgym:dispatchgym/EdgeOffloading-v0", "scenario": "gmorl-e6"}
WEIGHTS = [(0.9, 0.1), (0.5, 0.5), (0.1, 0.9)]


def play(env, choose):
    """Play ten episodes; give the mean return of each objective."""
    returns = []
    for seed in range(10):
        observation, info = env.reset(seed=seed)
        while "episode" not in info:
            action = choose(observation, info["action_mask"])
            observation, _, _, _, info = env.step(int(action))
        returns.append(info["episode"]["r"])
    return np.mean(returns, axis=0)


def compare(steps, weights, id, **env):
    """Train for one weighing; give the mean returns of random choices and of the policy."""
    vector = mo_gymnasium.make(id, preference=weights, invalid_action="raise", **env)
    vector = MORecordEpisodeStatistics(vector, gamma=1.0)
    scalar = LinearReward(vector, weight=np.array(weights))
    batch = VecNormalize(DummyVecEnv([lambda: scalar]), norm_obs=False)
    model = MaskablePPO("MultiInputPolicy", batch, n_steps=512, learning_rate=1e-3, seed=0)
    model.learn(steps)
    random = play(vector, lambda _, mask: vector.action_space.sample(mask))
    return random, play(vector, lambda seen, mask: model.predict(seen, action_masks=mask)[0])


def train(steps, **env):
    """Train as long for each of the weighings."""
    return [compare(steps // len(WEIGHTS), weights, **env) for weights in WEIGHTS]


if __name__ == "__main__":
    for weights, (random, trained) in zip(WEIGHTS, train(int(sys.argv[1]), **ENV), strict=True):
        print(f"{weights}: returns at random {random.round(1)}, of the policy {trained.round(1)}")
        print("their weighed sums:", weights @ random, weights @ trained)
