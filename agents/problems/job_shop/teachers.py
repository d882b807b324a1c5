"""Teachers of the job shop: rules that hold jobs back, and rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.imitation import Labels, Teacher, sure_labels
from dispatchgym.configs.schemas import TrainConfig
from dispatchgym.envs.job_shop.kernel import POTENTIAL, REWARD_SCALE

__all__ = ["RolloutTeacher", "ShopRuleTeacher", "make_teacher", "rewards_to_come"]


def make_teacher(config: TrainConfig) -> tuple[Teacher | None, dict[str, Any]]:
    """The teacher a configuration names, and options of the environment it teaches in."""
    settings, env = config.agent.imitation, config.env
    bases = [(str(rule), int(limit)) for rule, limit in settings.bases]
    if settings.teacher == "none":
        return None, {}
    if settings.teacher == "rollout":
        return RolloutTeacher(bases, settings.limit, settings.margin), {}
    if settings.teacher == "exact":
        from dispatchgym.agents.problems.job_shop.exact_teacher import ExactTeacher, InstancePool

        pool = InstancePool.draw(env.scenario, settings.instances)
        teacher = ExactTeacher(pool, env.mode, env.swap, settings.solve_seconds)
        return teacher, {"scenario": pool}
    return ShopRuleTeacher(settings.teacher, settings.limit, bases), {}


def rewards_to_come(vec: Any, makespan: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards `lb_delta` from now to the end of an episode that takes `makespan` (B,)."""
    state = vec.simulation.state
    return (state.scalar[:, POTENTIAL] - makespan) / state.real[:, REWARD_SCALE]


class ShopRuleTeacher:
    """A dispatching rule: its action is right, all others are wrong.

    With a limit it also holds jobs back: in shops without buffers too many jobs block each
    other, and the more machines there are, the fewer jobs each of them bears.
    """

    def __init__(
        self, rule: str, limit: float = 0.0, bases: Sequence[tuple[str, int]] = ()
    ) -> None:
        """Set up.

        Args:
            rule: one of the environment's `rules`.
            limit: wait rather than let in a job that would make more than
                limit * sqrt(machines) jobs in the shop; 0 for no limit.
            bases: rollouts that estimate what comes of the action; none: it stays unknown.
        """
        self.rule = rule
        self.limit = limit
        self.bases = tuple(bases)

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The rule's action, or waiting (where legal) when the shop is full."""
        actions = vec.rule_action(self.rule)
        if not self.limit:
            return actions
        observation = vec.simulation.observations
        in_shop = observation["jobs"][:, :, 0] > 0.5
        machines = observation["machine_mask"].sum(axis=1)
        full = in_shop.sum(axis=1) >= np.round(self.limit * np.sqrt(machines))
        lets_in = ~in_shop[np.arange(len(actions)), actions]
        may_wait = observation["action_mask"][:, -1] > 0
        return np.where(full & lets_in & may_wait, in_shop.shape[1], actions)

    def label(self, vec: Any) -> Labels:
        """Cost 0 for the rule's action and 1 for the other legal ones."""
        actions = self.act(vec)
        costs, value = sure_labels(vec, actions)
        if self.bases:
            makespan = vec.rollout_values(self.bases)[np.arange(vec.num_envs), actions]
            value = rewards_to_come(vec, makespan)
        return costs, value


class RolloutTeacher:
    """Every legal action followed by base rules; the best of them counts."""

    def __init__(
        self, bases: Sequence[tuple[str, int]], limit: float = 0.0, margin: float = 0.0
    ) -> None:
        """Set up.

        Args:
            bases: pairs of rule and limit on jobs in the shop, 0 for none.
            limit: the first base rule leads through the episodes with this limit; see
                `ShopRuleTeacher`.
            margin: relative gain that another action than the leading rule's must promise
                before it counts as better; one rollout of a chaotic shop is mostly luck.
        """
        self.bases = tuple(bases)
        self.margin = margin
        self.guide = ShopRuleTeacher(self.bases[0][0], limit)

    def act(self, vec: Any) -> NDArray[np.int64]:
        """The first base rule's action."""
        return self.guide.act(vec)

    def label(self, vec: Any) -> Labels:
        """Cost is the relative difference to the best reachable makespan, after the margin."""
        values = np.where(vec.action_masks(), vec.rollout_values(self.bases), np.inf)
        outcome = values.min(axis=1)
        if self.margin:
            rows, led = np.arange(vec.num_envs), self.act(vec)
            values[rows, led] *= 1.0 - self.margin
        costs = values / values.min(axis=1, keepdims=True) - 1.0
        return costs.astype(np.float32), rewards_to_come(vec, outcome)
