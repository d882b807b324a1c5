"""Small environments and a small, untrained policy."""

import gymnasium as gym
import pytest
import torch

from dispatchgym.agents.checkpoints import PolicyFile
from dispatchgym.agents.policy import Policy
from dispatchgym.models import build_network

JOB_SHOP = "dispatchgym:dispatchgym/JobShop-v0"
SETTINGS = {"hidden": 8, "layers": 1}


@pytest.fixture
def make_vec():
    """Maker of blocking shops with shutdowns; keyword arguments change the environment."""

    def make(lanes=4, **changes):
        options = {
            "scenario": "random_3-4x3",
            "mode": "interrupting",
            "allow_wait": "if_event",
            "autoreset_mode": "SameStep",
            "invalid_action": "raise",
            **changes,
        }
        vec = gym.make_vec(
            JOB_SHOP, num_envs=lanes, vectorization_mode="vector_entry_point", **options
        )
        return vec.unwrapped

    return make


@pytest.fixture
def policy():
    torch.manual_seed(0)
    file = PolicyFile("job_shop", SETTINGS, "dispatchgym/JobShop-v0", {"allow_wait": "if_event"})
    return Policy(build_network("job_shop", SETTINGS), file, name="small")
