"""What a family of tasks gives to the environment: its lanes, behind its own kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.core.vector_reward import VectorReward
from dispatchgym.envs.edge_offloading.instance import Instance
from dispatchgym.envs.edge_offloading.layout import Observation

__all__ = ["REWARD_SCALES", "Buffers", "Options", "Parameter", "World"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

Parameter = float | npt.NDArray[np.float64] | None
"""Of a rule: one for all lanes, one for each, or None for the usual one."""

REWARD_SCALES = ("context", "paper")
IDLE_SLOTS = ("skip", "dummy")


@dataclass(frozen=True)
class Options:
    """Arguments of `EdgeOffloadingEnv` that a family may ask for.

    Attributes:
        max_servers: rows of servers that observations have.
        reward_scale: one of `REWARD_SCALES`.
        marginals: whether observations show what each server would bring.
        idle_slots: ``"skip"``, or ``"dummy"``: a decision about nothing in slots without a task.
        queue, discipline, credit: of tasks with deadlines.
        step_limit: episodes are truncated after so many steps, 0: never.
    """

    max_servers: int
    reward_scale: str
    marginals: bool
    idle_slots: str
    queue: str
    discipline: str
    credit: str
    step_limit: int

    def __post_init__(self) -> None:
        """Check what is common to all families."""
        check_choice("reward_scale", self.reward_scale, REWARD_SCALES)
        check_choice("idle_slots", self.idle_slots, IDLE_SLOTS)


class Buffers(NamedTuple):
    """What a step writes for all lanes, whatever the family; see `Simulation`."""

    observation: Observation
    final: Observation
    vector: VectorReward
    reward: npt.NDArray[np.float64]
    terminated: BoolArray
    truncated: BoolArray
    invalid: BoolArray


class World(ABC):
    """The lanes of one family of tasks.

    Methods do what those of the same name of `Simulation` do, and write into the buffers.

    Attributes:
        rules: names of the rules inside the kernel.
        reward_names: what the two components of rewards are.
        limits: largest sizes of the instances.
    """

    rules: ClassVar[tuple[str, ...]]
    reward_names: ClassVar[tuple[str, str]]
    limits: Any

    @abstractmethod
    def __init__(self, generator: Any, buffers: Buffers, options: Options) -> None:
        """Allocate the lanes.

        Args:
            generator: source of the instances.
            buffers: written by steps.
            options: arguments of the environment.

        Raises:
            ParameterError: an instance does not fit into the observation.
        """

    @abstractmethod
    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes."""

    @abstractmethod
    def step(self, actions: IntArray, chosen: BoolArray, autoreset: bool) -> None:
        """Apply one action in each chosen lane."""

    @abstractmethod
    def rule_actions(self, rule: str, parameter: Parameter) -> IntArray:
        """Return what a rule does in each lane."""

    @abstractmethod
    def run_rule(self, rule: str, parameter: Parameter) -> None:
        """Play every lane to its end under a rule."""

    def rollout_values(self, samples: int) -> npt.NDArray[np.float64]:
        """Return what rollouts expect of each server."""
        raise ParameterError("rollout_values: only for scenarios of independent tasks")

    @abstractmethod
    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the results of the lanes that ended."""

    @abstractmethod
    def schedule(self, lane: int) -> dict[str, Any]:
        """Return the schedule of the running episode as far as it has come."""

    @abstractmethod
    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played."""

    @abstractmethod
    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes, apart from the preferences."""

    @abstractmethod
    def copy_lane(self, source: int, target: int) -> None:
        """Copy what is known of a lane besides `changing_arrays`."""

    @abstractmethod
    def refresh(self) -> None:
        """Write all observations anew."""

    @abstractmethod
    def describe_action(self, action: int) -> str:
        """Return words for an action."""

    @abstractmethod
    def render(self, lane: int, mode: str) -> Any:
        """Return a picture of a lane."""
