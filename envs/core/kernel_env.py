"""The single environment: a simulation of one lane behind Gymnasium's `Env`."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import InvalidActionError, ParameterError
from dispatchgym.envs.core.preference import check_preference
from dispatchgym.envs.core.simulation import Simulation, Snapshot, check_choice

__all__ = ["INVALID_ACTION_CHOICES", "KernelEnv", "episode_seed", "reward_space"]

INVALID_ACTION_CHOICES = ("penalise", "raise")
_ALL = np.ones(1, np.bool_)


def episode_seed(seed: int) -> int:
    """Return the seed of the kernel for a seed given by a user: its lowest 63 bits."""
    return int(seed) & (2**63 - 1)


class KernelEnv(gym.Env[dict[str, Any], Any]):
    """One lane of a simulation as a Gymnasium environment.

    Subclasses set `simulation_class` and carry the manual page of their problem. Where rewards
    are vectors, `reward_space` and `reward_dim` are set by MO-Gymnasium's convention.

    Args:
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        invalid_action: ``"penalise"``: an illegal action changes nothing and costs reward;
            ``"raise"``: it raises `InvalidActionError`.
        **kwargs: arguments of the simulation.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }
    simulation_class: type[Simulation]

    def __init__(
        self, *, render_mode: str | None = None, invalid_action: str = "penalise", **kwargs: Any
    ) -> None:
        check_choice("invalid_action", invalid_action, INVALID_ACTION_CHOICES)
        if render_mode is not None:
            check_choice("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        self.render_mode = render_mode
        self.invalid_action = invalid_action
        self.simulation = self.simulation_class(num_lanes=1, **kwargs)
        self.observation_space = self.simulation.observation_space
        self.action_space = self.simulation.action_space
        if self.simulation.gives_vector:
            self.reward_space = reward_space(self.simulation)
            self.reward_dim = len(self.simulation.reward_names)
        self._started = False
        self._ended = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: plays the instance and the disturbances of this seed; None goes on with the
                sequence of episodes of the last seed.
            options: ``{"preference": weights}`` sets the preference of this episode where
                rewards have several objectives; nothing else is used.

        Raises:
            ParameterError: weights that are no preference.
        """
        simulation = self.simulation
        preferences = asked_preferences(simulation, options)
        super().reset(seed=seed)
        if seed is not None:
            start = episode_seed(seed)
        elif self._started:
            start = -1
        else:
            start = int(self.np_random.integers(2**62, 2**63 - 1))
        self._started = True
        self._ended = False
        simulation.restart(_ALL, np.array([start], np.int64))
        if preferences is not None:
            simulation.set_preferences(_ALL, preferences)
        return self._observation(), self._info()

    def step(
        self, action: np.int64 | int | npt.NDArray[np.int64]
    ) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        """Apply an action; see the class for rewards and the end of an episode.

        Raises:
            InvalidActionError: the action is illegal and ``invalid_action="raise"``.
            ParameterError: the episode has ended or none has begun, or the action is not of the
                shape of the action space.
        """
        if self._ended or not self._started:
            raise ParameterError("step: no episode is running, call reset() first")
        simulation = self.simulation
        actions = check_actions(simulation, np.asarray(action)[None])
        if self.invalid_action == "raise":
            require_legal(simulation, actions, np.arange(1))
        simulation.step(actions, _ALL, False)
        terminated, truncated = bool(simulation.terminated[0]), bool(simulation.truncated[0])
        info = self._info()
        info |= {key: value[0].item() for key, value in simulation.step_infos().items()}
        if simulation.invalid[0]:
            info["invalid_action"] = True
        if terminated or truncated:
            self._ended = True
            info |= simulation.final_info(0)
        reward: Any = float(simulation.reward[0])
        if simulation.reward_names:
            vector = simulation.vector_reward[0].astype(np.float32)
            if simulation.gives_vector:
                reward = vector
            else:
                info["vector_reward"] = vector
        return self._observation(), reward, terminated, truncated, info

    def render(self) -> Any:
        """Return a picture of the episode so far, or None without a render mode."""
        if self.render_mode is None:
            return None
        return self.simulation.render(0, self.render_mode)

    @property
    def instance(self) -> Any:
        """The instance of the current episode."""
        return self.simulation.instance(0)

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the dispatching rules."""
        return self.simulation.rules

    @property
    def reward_names(self) -> tuple[str, ...]:
        """Names of the objectives where rewards have several; else empty."""
        return self.simulation.reward_names

    def rule_action(self, name: str) -> int | npt.NDArray[np.int64]:
        """Return the action of a rule for the current decision; -1 when the episode has ended.

        It is an array where actions consist of several numbers.
        """
        action = self.simulation.rule_actions(name)[0]
        return action.copy() if action.ndim else int(action)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal, bool (number of actions,)."""
        return self.simulation.observations["action_mask"][0].astype(np.bool_)

    def get_state(self) -> Snapshot:
        """Return a copy of the episode, to come back to with `set_state`."""
        return self.simulation.get_state()

    def set_state(self, snapshot: Snapshot) -> dict[str, Any]:
        """Go back to a snapshot of this environment; return the observation there."""
        self.simulation.set_state(snapshot)
        self._started = True
        self._ended = not self.action_masks().any()
        return self._observation()

    def _observation(self) -> dict[str, Any]:
        return {key: buffer[0].copy() for key, buffer in self.simulation.observations.items()}

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.simulation.observations["action_mask"][0].copy()}


def reward_space(simulation: Simulation) -> spaces.Box:
    """Return the space of the vector rewards of one lane."""
    limit = float(np.finfo(np.float32).max)
    return spaces.Box(-limit, limit, (len(simulation.reward_names),), np.float32)


def asked_preferences(
    simulation: Simulation, options: dict[str, Any] | None
) -> npt.NDArray[np.float64] | None:
    """Return ``options["preference"]`` as weights (B, K); None where there is none to set.

    Raises:
        ParameterError: the weights of some lane are no preference.
    """
    if not options or "preference" not in options or not simulation.reward_names:
        return None
    objectives = len(simulation.reward_names)
    shape = (simulation.num_lanes, objectives)
    given = options["preference"]
    rows = given if np.shape(given) == shape else [given] * simulation.num_lanes
    return np.array([check_preference(row, objectives) for row in rows])


def check_actions(simulation: Simulation, actions: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return one action a lane as int64, (B,) or (B, numbers of an action).

    Raises:
        ParameterError: they are of another shape or not integers.
    """
    shape = (simulation.num_lanes, *(simulation.action_space.shape or ()))
    if actions.shape != shape or not np.issubdtype(actions.dtype, np.integer):
        raise ParameterError(
            f"actions: found {actions.dtype} of shape {actions.shape}, "
            f"expected integers of shape {shape}"
        )
    return actions.astype(np.int64, copy=False)


def require_legal(
    simulation: Simulation, actions: npt.NDArray[Any], lanes: npt.NDArray[np.intp]
) -> None:
    """Raise InvalidActionError for the first of these lanes whose action is illegal."""
    for lane in lanes.tolist():
        action = actions[lane]
        if simulation.is_legal(lane, action):
            continue
        where = f"lane {lane}: " if simulation.num_lanes > 1 else ""
        raise InvalidActionError(
            f"{where}action {action} ({simulation.describe_action(action)}) is illegal now, "
            f"expected {simulation.describe_legal(lane)}"
        )
