"""PPO of TorchRL with MaskedCategorical, in both autoreset modes that TorchRL takes."""

import sys

import gymnasium as gym
import numpy as np
import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.envs import Compose, DTypeCastTransform, GymWrapper, RewardSum, TransformedEnv
from torchrl.modules import MLP, MaskedCategorical, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


class Network(MLP):
    def __init__(self, boxes, outputs):
        super().__init__(sum(int(np.prod(box.shape)) for box in boxes), outputs, num_cells=[64])
        self.depths = [len(box.shape) for box in boxes]

    def forward(self, *entries):  # MLP joins what it is given
        pairs = zip(entries, self.depths, strict=True)
        return super().forward(*[entry.flatten(-depth).float() for entry, depth in pairs])


def train(steps, autoreset_mode, **env):
    batch = gym.make_vec(num_envs=16, autoreset_mode=autoreset_mode, **env)
    mask = DTypeCastTransform(torch.int8, torch.bool, in_keys=["action_mask"])
    envs = GymWrapper(batch, categorical_action_encoding=True)
    envs = TransformedEnv(envs, Compose(mask, RewardSum()))
    boxes = {k: box for k, box in batch.single_observation_space.items() if k != "action_mask"}
    logits = Network(boxes.values(), batch.single_action_space.n)
    actor = ProbabilisticActor(
        TensorDictModule(logits, in_keys=list(boxes), out_keys=["logits"]),
        in_keys={"logits": "logits", "mask": "action_mask"},
        distribution_class=MaskedCategorical,
        return_log_prob=True,
    )
    critic = ValueOperator(Network(boxes.values(), 1), in_keys=list(boxes))
    loss = ClipPPOLoss(actor, critic, normalize_advantage=True)
    loss.make_value_estimator(gamma=1.0, lmbda=0.95)
    optimizer, returns = torch.optim.Adam(loss.parameters(), lr=1e-3), []
    for data in Collector(envs, actor, frames_per_batch=1024, total_frames=steps):
        assert data["action_mask"].gather(-1, data["action"][..., None]).all()  # all are legal
        returns += data["next", "episode_reward"][data["next", "done"]].tolist()
        loss.value_estimator(data)
        for rows in torch.cat([torch.randperm(data.numel()) for _ in range(4)]).split(256):
            losses = loss(data.flatten()[rows])
            optimizer.zero_grad()
            sum(losses["loss_" + part] for part in ("objective", "critic", "entropy")).backward()
            optimizer.step()
    return returns


if __name__ == "__main__":
    found = train(int(sys.argv[1]), sys.argv[2], **ENV)
    print("mean return of the first and last 100:", np.mean(found[:100]), np.mean(found[-100:]))
