"""What a problem gives to the environments: lanes, buffers and compiled functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.vector_reward import VectorReward, choose_draw, make_vector_reward

__all__ = ["REWARD_CHOICES", "Simulation", "Snapshot", "check_choice", "copy_nested"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

REWARD_CHOICES = ("vector", "scalar")
"""Where rewards have several objectives, a step gives all of them or their weighted sum."""

_SHOWN_ACTIONS = 50
"""A message names at most so many legal actions."""


class Snapshot(NamedTuple):
    """A copy of everything that a simulation may change, made by `Simulation.get_state`."""

    arrays: tuple[npt.NDArray[Any], ...]


class Simulation(ABC):
    """`num_lanes` independent copies of one problem that step together.

    `KernelEnv` is one with a single lane, `KernelVectorEnv` one with many: both only translate
    between this class and Gymnasium. A subclass allocates the arrays once, in its constructor,
    and fills the attributes below; its methods call the compiled kernel.

    Attributes:
        num_lanes: number of lanes B.
        observation_space: flat `spaces.Dict` of one lane, with a key ``"action_mask"``.
        action_space: action space of one lane.
        rules: names of the dispatching rules that run inside the kernel.
        observations: buffers of the observation, key -> array (B, ...).
        final_observations: the same for the last observation of an episode that ended in a
            step with autoreset; only the rows of such lanes are meaningful.
        reward: float64 (B,). terminated, truncated, invalid: bool (B,); what the last step
            gave. `invalid` marks lanes whose action was illegal and changed nothing.
        reward_names: names of the K objectives of a reward of several, else empty. Such a
            simulation calls `make_vector_reward` in its constructor, and has besides:
        vector_reward: float64 (B, K), what the last step gave; `reward` is its dot product with
            the lane's preference.
        preferences: float64 (B, K), weights of the objectives in the running episodes, shown as
            ``observations["preference"]``; the simulation counts them to `changing_arrays`.
        gives_vector: whether a step of the environment gives the vector.
    """

    num_lanes: int
    observation_space: spaces.Dict
    action_space: spaces.Space[Any]
    rules: tuple[str, ...]
    observations: dict[str, npt.NDArray[Any]]
    final_observations: dict[str, npt.NDArray[Any]]
    reward: npt.NDArray[np.float64]
    terminated: BoolArray
    truncated: BoolArray
    invalid: BoolArray
    reward_names: tuple[str, ...] = ()
    vector_reward: npt.NDArray[np.float64]
    preferences: npt.NDArray[np.float64]
    gives_vector: bool = False

    @abstractmethod
    def __init__(self, *, num_lanes: int, step_limit: int = 0, **kwargs: Any) -> None:
        """Allocate the lanes; episodes are truncated after `step_limit` steps (0: never)."""

    @abstractmethod
    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes (B,).

        A seed of -1 goes on with the lane's own sequence of episode seeds.
        """

    @abstractmethod
    def step(self, actions: IntArray, chosen: BoolArray, autoreset: bool) -> None:
        """Apply one action in each chosen lane; with autoreset begin the next episode at once.

        `actions` is int64, (B,) or, for actions of several numbers, (B, numbers).
        """

    @abstractmethod
    def rule_actions(self, rule: str) -> IntArray:
        """Return what a rule does in each lane, (B,) or (B, numbers of an action).

        It is -1 where the episode has ended.
        """

    @abstractmethod
    def final_info(self, lane: int) -> dict[str, Any]:
        """Return objective, schedule and more of the episode that ended last in a lane."""

    @abstractmethod
    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the same for all lanes that ended, as arrays (B, ...).

        Rows of other lanes mean nothing. Arrays may be buffers that a later step overwrites.
        """

    def step_infos(self) -> dict[str, npt.NDArray[Any]]:
        """Return what the info of every step tells besides the mask, key -> array (B, ...)."""
        return {}

    @abstractmethod
    def instance(self, lane: int) -> Any:
        """Return the instance that is being played in a lane."""

    @abstractmethod
    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return every array (B, ...) that holds the state of the lanes, observations apart."""

    @abstractmethod
    def refresh(self) -> None:
        """Write all observations anew from the state."""

    @abstractmethod
    def describe_action(self, action: Any) -> str:
        """Return words for an action, for error messages."""

    @abstractmethod
    def render(self, lane: int, mode: str) -> Any:
        """Return a picture of a lane: text for ``"ansi"``, uint8 (H, W, 3) for ``"rgb_array"``."""

    def make_vector_reward(
        self, names: tuple[str, ...], reward: str, preference: Any
    ) -> VectorReward:
        """Allocate rewards of several objectives; return the arrays for the kernel.

        The kernel calls `begin_preference` where it begins an episode and `scalarise` where it
        writes a reward, both of `dispatchgym.envs.core.vector_reward`.

        Args:
            names: of the objectives.
            reward: one of `REWARD_CHOICES`, what a step of the environment gives.
            preference: see `choose_preference`.
        """
        check_choice("reward", reward, REWARD_CHOICES)
        self.reward_names = names
        self.gives_vector = reward == "vector"
        self._vector = make_vector_reward(self.num_lanes, len(names))
        self.vector_reward, self.preferences = self._vector.reward, self._vector.preference
        self.choose_preference(preference)
        return self._vector

    def choose_preference(self, preference: Any) -> None:
        """Settle which preferences the episodes to come have.

        Args:
            preference: ``"grid"`` or ``"dirichlet"``, drawn by the seed of each episode, or K
                weights >= 0 that sum to one.

        Raises:
            ParameterError: `preference` is none of these.
        """
        choose_draw(self._vector, preference)

    def set_preferences(self, chosen: BoolArray, weights: npt.NDArray[np.float64]) -> None:
        """Give the running episodes of the chosen lanes (B,) their preferences (B, K).

        Nothing else in an observation depends on them.
        """
        self.preferences[chosen] = weights[chosen]
        self.observations["preference"][chosen] = weights[chosen]

    def is_legal(self, lane: int, action: Any) -> bool:
        """Tell whether an action is legal in a lane; of whole numbers, the mask says so."""
        mask = self.observations["action_mask"][lane]
        return bool(0 <= action < len(mask) and mask[action])

    def describe_legal(self, lane: int) -> str:
        """Return words for the legal actions of a lane, for error messages."""
        legal = np.flatnonzero(self.observations["action_mask"][lane])
        shown = ", ".join(str(action) for action in legal[:_SHOWN_ACTIONS])
        return f"one of [{shown}{', ...' if legal.size > _SHOWN_ACTIONS else ''}]"

    def check_rule(self, rule: str) -> int:
        """Return the number of a rule in `rules`.

        Raises:
            ParameterError: there is no rule of this name.
        """
        check_choice("rule", rule, self.rules)
        return self.rules.index(rule)

    def check_lane(self, lane: int) -> None:
        """Raise ParameterError unless there is such a lane."""
        if not 0 <= lane < self.num_lanes:
            raise ParameterError(f"lane: found {lane}, expected 0 to {self.num_lanes - 1}")

    def copy_lane(self, source: int, target: int) -> None:
        """Make lane `target` a copy of lane `source`, future randomness included."""
        self.check_lane(source)
        self.check_lane(target)
        for array in (*self.changing_arrays(), *self.observations.values()):
            array[target] = array[source]

    def get_state(self) -> Snapshot:
        """Return a copy of all lanes, to come back to with `set_state`."""
        return Snapshot(tuple(array.copy() for array in self.changing_arrays()))

    def set_state(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this simulation or of one made with the same arguments.

        Raises:
            ParameterError: the snapshot is of other shapes.
        """
        arrays = self.changing_arrays()
        shapes = [array.shape for array in arrays]
        found = [np.shape(array) for array in snapshot.arrays]
        if shapes != found:
            raise ParameterError(f"snapshot: found arrays of shapes {found}, expected {shapes}")
        for array, saved in zip(arrays, snapshot.arrays, strict=True):
            array[...] = saved
        self.refresh()


def check_choice(field: str, value: object, choices: tuple[str, ...] | Mapping[str, Any]) -> None:
    """Raise ParameterError unless `value` is one of the choices."""
    if value not in choices:
        raise ParameterError(f"{field}: found {value!r}, expected one of {', '.join(choices)}")


def copy_nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a nested mapping of arrays."""
    return {
        key: copy_nested(value) if isinstance(value, Mapping) else value.copy()
        for key, value in values.items()
    }
