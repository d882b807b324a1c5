"""PPO of RLlib (new API stack) with masks, on the native batch."""

import sys

import gymnasium as gym
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env

from dispatchgym.envs.core.adapters import RLlibMaskVectorView, RLlibMaskView

ENV = {"id": "dispatchgym:dispatchgym/JobShop-v0", "scenario": "ft06", "observation": "jobs"}


def make(config):
    """Make what RLlib asks for: a batch where it names the number of rows, else a single one."""
    if "num_envs" in config:
        return RLlibMaskVectorView(gym.make_vec(**config))
    return RLlibMaskView(gym.make(**config))


def train(steps, vectorize="vector_entry_point", **env):
    """Train for so many steps; give the mean return of the episodes of each iteration."""
    register_env("dispatch", make)
    config = (
        PPOConfig()
        .environment("dispatch", env_config={"invalid_action": "raise", **env})
        .env_runners(
            num_env_runners=0,  # none but this process; N: in N others
            num_envs_per_env_runner=16,
            gym_env_vectorize_mode=vectorize,  # "sync" would step 16 single environments
        )
        .training(train_batch_size_per_learner=1024, minibatch_size=256, num_epochs=4, gamma=1.0)
        .reporting(metrics_num_episodes_for_smoothing=50)
        .rl_module(rl_module_spec=RLModuleSpec(module_class=ActionMaskingTorchRLModule))
    )
    algorithm, sampled, returns = config.build_algo(), 0, []
    while sampled < steps:
        result = algorithm.train()
        sampled = result["num_env_steps_sampled_lifetime"]
        returns.append(result["env_runners"].get("episode_return_mean", float("nan")))
    algorithm.stop()
    return returns


if __name__ == "__main__":
    found = train(int(sys.argv[1]), **ENV)
    print(f"mean return: first iteration {found[0]:.3f}, last {found[-1]:.3f}")
