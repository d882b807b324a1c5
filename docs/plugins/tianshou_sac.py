"""Discrete SAC of Tianshou, which knows no masks: the actor gives illegal actions none."""

import sys

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import DiscreteSAC
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import MLP

from dispatchgym.envs.core.adapters import TianshouMaskView

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


class Critic(MLP):
    def forward(self, obs, *_, **__):
        flat = [np.reshape(entry, (len(entry), -1)) for entry in obs.obs.values()]
        return super().forward(np.concatenate(flat, axis=1, dtype=np.float32))


class Actor(Critic):
    def forward(self, obs, state=None, info=None):
        return super().forward(obs).masked_fill(~torch.as_tensor(obs.mask), -1e9), state


def train(steps, **env):
    def make():
        return TianshouMaskView(gym.make(invalid_action="raise", **env))

    space, actions = make().observation_space["obs"], make().action_space
    sizes = {"input_dim": gym.spaces.flatdim(space), "output_dim": int(actions.n)}
    actor, critic = Actor(**sizes, hidden_sizes=(64,)), Critic(**sizes, hidden_sizes=(64,))
    policy = DiscreteSACPolicy(actor=actor, action_space=actions)
    optim, returns = AdamOptimizerFactory(lr=1e-3), []
    algorithm = DiscreteSAC(
        policy=policy, policy_optim=optim, critic=critic, critic_optim=optim, alpha=0.01
    )
    buffer = VectorReplayBuffer(total_size=20_000, buffer_num=8)
    collector = Collector(
        algorithm,
        DummyVectorEnv([make] * 8),
        buffer,
        on_episode_done_hook=lambda episode: returns.append(float(episode.rew.sum())),
    )
    often = {"collection_step_num_env_steps": 32, "update_step_num_gradient_steps_per_sample": 0.25}
    parameters = {"training_collector": collector, "max_epochs": 1, "epoch_num_steps": steps}
    algorithm.run_training(OffPolicyTrainerParams(**parameters, **often))
    return returns


if __name__ == "__main__":
    found = train(int(sys.argv[1]), **ENV)
    print("mean return of the first and last 100:", np.mean(found[:100]), np.mean(found[-100:]))
