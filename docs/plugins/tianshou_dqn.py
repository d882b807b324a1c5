"""Double DQN of Tianshou with masks, which it reads from `TianshouMaskView`."""

import sys

import gymnasium as gym
import numpy as np
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import MLP

from dispatchgym.envs.core.adapters import TianshouMaskView

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


class Network(MLP):
    def forward(self, obs, state=None, info=None):
        flat = [np.reshape(entry, (len(entry), -1)) for entry in obs.values()]
        return super().forward(np.concatenate(flat, axis=1, dtype=np.float32)), state


def train(steps, **env):
    def make():
        return TianshouMaskView(gym.make(invalid_action="raise", **env))

    space, actions = make().observation_space["obs"], make().action_space
    sizes = {"input_dim": gym.spaces.flatdim(space), "output_dim": int(actions.n)}
    network = Network(**sizes, hidden_sizes=(64, 64))
    policy = DiscreteQLearningPolicy(model=network, action_space=actions, eps_training=0.1)
    optim = AdamOptimizerFactory(lr=1e-3)
    returns: list[float] = []
    # Double: its target follows the best legal action; a plain one the best of all.
    algorithm = DQN(policy=policy, optim=optim, gamma=1.0, is_double=True, target_update_freq=100)
    collector = Collector(
        algorithm,
        DummyVectorEnv([make] * 8),
        VectorReplayBuffer(total_size=20_000, buffer_num=8),
        exploration_noise=True,
        on_episode_done_hook=lambda episode: returns.append(float(episode.rew.sum())),
    )
    often = {"collection_step_num_env_steps": 32, "update_step_num_gradient_steps_per_sample": 0.25}
    parameters = {"training_collector": collector, "max_epochs": 1, "epoch_num_steps": steps}
    algorithm.run_training(OffPolicyTrainerParams(**parameters, **often))
    return returns


if __name__ == "__main__":
    found = train(int(sys.argv[1]), **ENV)
    print("mean return of the first and last 100:", np.mean(found[:100]), np.mean(found[-100:]))
