"""MaskablePPO of sb3-contrib on the native batch: all rows step in one compiled call."""

import sys

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO

from dispatchgym.envs.core.adapters import to_sb3

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


def train(steps, **env):
    """Train for so many steps; give the return of each episode in the order of their ends."""
    # SameStep is the mode that stable-baselines3 knows; "raise": an illegal action ends it all.
    batch = gym.make_vec(num_envs=16, autoreset_mode="SameStep", invalid_action="raise", **env)
    model = MaskablePPO(
        "MultiInputPolicy", to_sb3(batch), n_steps=64, batch_size=256, gamma=1.0, seed=0
    )
    returns = []

    def collect(local, _):
        returns.extend(info["episode"]["r"] for info in local["infos"] if "episode" in info)
        return True

    model.learn(steps, callback=collect)
    return returns


if __name__ == "__main__":
    found = train(int(sys.argv[1]), **ENV)
    print("mean return of the first and last 100:", np.mean(found[:100]), np.mean(found[-100:]))
