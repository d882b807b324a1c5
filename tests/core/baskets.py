"""A small problem with rewards of two objectives, by which the core is tested.

Of three baskets one is taken at each of four steps. Basket i of step t holds keyed random amounts
of two goods; basket 2 is shut at odd steps.
"""

from types import SimpleNamespace

import numpy as np
from gymnasium import spaces

from dispatchgym.envs.core.kernel_env import KernelEnv
from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.core.simulation import Simulation
from dispatchgym.envs.core.vector_env import KernelVectorEnv
from dispatchgym.envs.core.vector_reward import begin_preference, scalarise

STEPS, CHOICES = 4, 3
BASE, EPISODE, SEED, STEP, TAKEN = range(5)


def amounts(seed, step, basket):
    return np.array([uniform(np.uint64(seed), good, step, basket) for good in range(2)])


class BasketSimulation(Simulation):
    rules = ("random", "greedy_sum")

    def __init__(self, *, num_lanes, reward="vector", preference=(0.5, 0.5), step_limit=0):
        self.num_lanes = num_lanes
        self.step_limit = step_limit
        self.vector = self.make_vector_reward(("apples", "pears"), reward, preference)
        self.state = np.zeros((num_lanes, 5), np.int64)
        self.total = np.zeros((num_lanes, 2))
        self.ended_total = np.zeros((num_lanes, 2))
        self.ended_taken = np.zeros(num_lanes, np.int64)
        boxes = {
            "step": spaces.Box(0, STEPS, (1,), np.float32),
            "preference": spaces.Box(0, 1, (2,), np.float32),
            "action_mask": spaces.Box(0, 1, (CHOICES,), np.int8),
        }
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Discrete(CHOICES)
        self.observations, self.final_observations = (
            {key: np.zeros((num_lanes, *box.shape), box.dtype) for key, box in boxes.items()}
            for _ in range(2)
        )
        self.reward = np.zeros(num_lanes)
        self.terminated, self.truncated, self.invalid = np.zeros((3, num_lanes), np.bool_)

    def restart(self, chosen, seeds):
        for lane in np.flatnonzero(chosen):
            if seeds[lane] >= 0:
                self.state[lane, [BASE, EPISODE]] = seeds[lane], -1
            self._begin(lane)

    def _begin(self, lane):
        self.state[lane, EPISODE] += 1
        base, episode = self.state[lane, [BASE, EPISODE]]
        seed = base if episode == 0 else int(derive(np.uint64(base), episode))
        self.state[lane, [SEED, STEP, TAKEN]] = seed, 0, 0
        self.total[lane] = 0.0
        begin_preference(self.vector, lane, np.uint64(seed))
        self._observe(self.observations, lane)

    def _observe(self, buffers, lane, ended=False):
        step = self.state[lane, STEP]
        buffers["step"][lane] = step
        buffers["preference"][lane] = self.preferences[lane]
        buffers["action_mask"][lane] = not ended and step < STEPS
        buffers["action_mask"][lane, 2] &= step % 2 == 0

    def step(self, actions, chosen, autoreset):
        for lane in np.flatnonzero(chosen):
            self._step_lane(lane, actions[lane], autoreset)

    def _step_lane(self, lane, action, autoreset):
        self.invalid[lane] = not self.is_legal(lane, action)
        self.terminated[lane] = self.truncated[lane] = False
        if self.invalid[lane]:
            self.vector_reward[lane] = -1.0
            self.reward[lane] = -1.0
            return
        seed, step = self.state[lane, [SEED, STEP]]
        self.vector_reward[lane] = amounts(seed, step, action)
        self.reward[lane] = scalarise(self.vector, lane)
        self.total[lane] += self.vector_reward[lane]
        self.state[lane, STEP] += 1
        self.state[lane, TAKEN] = 10 * self.state[lane, TAKEN] + action
        self.terminated[lane] = step + 1 == STEPS
        self.truncated[lane] = not self.terminated[lane] and step + 1 == self.step_limit
        ended = self.terminated[lane] or self.truncated[lane]
        if ended:
            self.ended_total[lane] = self.total[lane]
            self.ended_taken[lane] = self.state[lane, TAKEN]
        self._observe(self.observations, lane, ended)
        if ended and autoreset:
            self._observe(self.final_observations, lane, ended)
            self._begin(lane)

    def rule_actions(self, rule):
        self.check_rule(rule)
        actions = np.full(self.num_lanes, -1, np.int64)
        for lane in range(self.num_lanes):
            legal = np.flatnonzero(self.observations["action_mask"][lane])
            seed, step = self.state[lane, [SEED, STEP]]
            if rule == "random" and legal.size:
                actions[lane] = legal[int(uniform(np.uint64(seed), 2, step, 0) * legal.size)]
            elif legal.size:
                actions[lane] = max(legal, key=lambda action: amounts(seed, step, action).sum())
        return actions

    def final_info(self, lane):
        schedule = {"taken": np.array(self.ended_taken[lane])}
        return {"objective": self.ended_total[lane].copy(), "schedule": schedule}

    def final_infos(self, ended):
        return {"objective": self.ended_total, "schedule": {"taken": self.ended_taken}}

    def instance(self, lane):
        return SimpleNamespace(seed=int(self.state[lane, SEED]))

    def changing_arrays(self):
        return (self.state, self.total, self.preferences)

    def refresh(self):
        for lane in range(self.num_lanes):
            self._observe(self.observations, lane)

    def describe_action(self, action):
        return f"basket {action}"

    def render(self, lane, mode):
        return str(self.state[lane])


class BasketEnv(KernelEnv):
    simulation_class = BasketSimulation


class BasketVectorEnv(KernelVectorEnv):
    simulation_class = BasketSimulation
