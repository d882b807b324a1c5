"""DQN of stable-baselines3, which knows no masks: a penalty teaches it what is illegal."""

import sys

import gymnasium as gym
import numpy as np
from stable_baselines3 import DQN

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


def train(steps, **env):
    """Train for so many steps; give each episode's return, and for each step if it was illegal."""
    # An illegal action changes nothing, so a greedy policy would repeat it for ever: the limit.
    single = gym.make(max_episode_steps=200, invalid_action="penalise", **env)
    model = DQN("MultiInputPolicy", single, learning_starts=500, gamma=1.0, seed=0)
    returns, illegal = [], []

    def collect(local, _):
        (info,) = local["infos"]
        illegal.append(info.get("invalid_action", False))
        if "episode" in info:
            returns.append(info["episode"]["r"])
        return True

    model.learn(steps, callback=collect)
    return returns, illegal


if __name__ == "__main__":
    found, illegal = train(int(sys.argv[1]), **ENV)
    first, last = np.mean(illegal[:500]), np.mean(illegal[-500:])
    print(f"illegal actions: {first:.0%} of the first 500, {last:.0%} of the last 500")
    print(f"mean return: first 10 {np.mean(found[:10]):.3f}, last 100 {np.mean(found[-100:]):.3f}")
