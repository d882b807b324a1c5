"""PPO in one file, as CleanRL writes it, with masks, on the native batch."""

import sys

import gymnasium as gym
import numpy as np
import torch
from torch import distributions, nn

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}
ROWS, LENGTH, EPOCHS, LAMBDA, CLIP = 16, 64, 4, 0.95, 0.2


def tensors(observation):
    mask = torch.as_tensor(observation.pop("action_mask") == 1)
    flat = [entry.reshape(ROWS, -1) for entry in observation.values()]
    return torch.as_tensor(np.concatenate(flat, axis=1, dtype=np.float32)), mask


def train(steps, **env):
    envs = gym.make_vec(num_envs=ROWS, autoreset_mode="SameStep", invalid_action="raise", **env)
    obs, mask = tensors(envs.reset(seed=0)[0])
    hidden = [nn.Linear(obs.shape[1], 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    network = nn.Sequential(*hidden, nn.Linear(64, 1 + mask.shape[1]))  # the value, then logits
    optimizer, objectives = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-5), []
    for _ in range(0, steps, ROWS * LENGTH):
        rollout, rewards, gains, gain = [], [], [], 0.0
        for _ in range(LENGTH):
            output = network(obs).detach()
            policy = distributions.Categorical(logits=output[:, 1:].masked_fill(~mask, -1e9))
            action = policy.sample()
            rollout.append((obs, mask, action, policy.log_prob(action), output[:, 0]))
            observation, reward, terminated, truncated, info = envs.step(action.numpy())
            obs, mask = tensors(observation)
            goes_on = torch.as_tensor(~(terminated | truncated))
            rewards.append((torch.as_tensor(reward).float(), goes_on))
            if not goes_on.all():
                objectives += info["final_info"]["objective"][~goes_on.numpy()].tolist()
        following = network(obs)[:, 0].detach()
        for (*_, value), (reward, goes_on) in zip(rollout[::-1], rewards[::-1], strict=True):
            gain = reward - value + goes_on * (following + LAMBDA * gain)
            gains, following = [gain, *gains], value
        batch = [torch.cat(part) for part in (*zip(*rollout, strict=True), gains)]
        for rows in torch.cat([torch.randperm(ROWS * LENGTH) for _ in range(EPOCHS)]).split(256):
            o, m, a, old, value, gain = (part[rows] for part in batch)
            output = network(o)
            policy = distributions.Categorical(logits=output[:, 1:].masked_fill(~m, -1e9))
            ratio, scaled = (policy.log_prob(a) - old).exp(), (gain - gain.mean()) / gain.std()
            clipped = torch.min(ratio * scaled, ratio.clamp(1 - CLIP, 1 + CLIP) * scaled)
            error = (output[:, 0] - value - gain).square()
            optimizer.zero_grad()
            (0.5 * error - clipped - 0.01 * policy.entropy()).mean().backward()
            optimizer.step()
    return objectives


if __name__ == "__main__":
    found = train(int(sys.argv[1]), **ENV)
    print("mean makespan of the first and last 100:", np.mean(found[:100]), np.mean(found[-100:]))
