"""The native vector environment: all lanes step in one compiled call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.kernel_env import (
    INVALID_ACTION_CHOICES,
    asked_preferences,
    check_actions,
    episode_seed,
    require_legal,
    reward_space,
)
from dispatchgym.envs.core.simulation import (
    Simulation,
    Snapshot,
    check_choice,
    copy_nested,
)

__all__ = ["KernelVectorEnv"]

BoolArray = npt.NDArray[np.bool_]


class KernelVectorEnv(VectorEnv[dict[str, Any], npt.NDArray[Any], npt.NDArray[Any]]):
    """Many lanes of a simulation as a Gymnasium vector environment.

    Row i behaves exactly as the single environment seeded with seed + i, in all three autoreset
    modes.

    Args:
        num_envs: number of lanes.
        max_episode_steps: episodes are truncated after so many steps; None: never.
        render_mode: None, ``"ansi"`` or ``"rgb_array"``.
        autoreset_mode: ``"NextStep"``: the step after the end ignores the action and returns
            the first observation of the next episode; ``"SameStep"``: the step that ends an
            episode returns it, with ``info["final_obs"]`` and ``info["final_info"]``;
            ``"Disabled"``: the caller resets rows by ``reset(options={"reset_mask": rows})``.
        copy: True returns copies. False returns the buffers themselves, which the next step
            overwrites: faster, for callers that read an observation before they step again.
        invalid_action: as in `KernelEnv`.
        **kwargs: arguments of the simulation.
    """

    simulation_class: type[Simulation]
    metadata: dict[str, Any] = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        invalid_action: str = "penalise",
        **kwargs: Any,
    ) -> None:
        check_choice("invalid_action", invalid_action, INVALID_ACTION_CHOICES)
        if render_mode is not None:
            check_choice("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise ParameterError(f"num_envs: found {num_envs!r}, expected a whole number >= 1")
        modes = tuple(mode.value for mode in AutoresetMode)
        if not isinstance(autoreset_mode, AutoresetMode):
            check_choice("autoreset_mode", autoreset_mode, modes)
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.invalid_action = invalid_action
        self.copy = copy
        self.simulation = self.simulation_class(
            num_lanes=num_envs, step_limit=max_episode_steps or 0, **kwargs
        )
        self.single_observation_space = self.simulation.observation_space
        self.single_action_space = self.simulation.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        if self.simulation.gives_vector:
            self.reward_space = reward_space(self.simulation)
            self.reward_dim = len(self.simulation.reward_names)
        self._every = np.ones(num_envs, np.bool_)
        self._next = np.full(num_envs, -1, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)
        self._started = np.zeros(num_envs, np.bool_)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin episodes in all rows, or in those of ``options["reset_mask"]`` (bool, (B,)).

        Args:
            seed: row i is seeded with seed + i; a list gives each row its own seed, or None to
                go on with the row's sequence of episodes.
            options: ``{"reset_mask": array}`` or None. Where rewards have several objectives,
                ``"preference"`` sets the preference of these episodes: weights (K,), or a row
                for each lane (B, K).

        Raises:
            ParameterError: mask or list of seeds of a wrong shape or type, a mask without a
                row, or weights that are no preference.
        """
        chosen = self._chosen_rows(options)
        preferences = asked_preferences(self.simulation, options)
        self.simulation.restart(chosen, self._seeds(seed))
        if preferences is not None:
            self.simulation.set_preferences(chosen, preferences)
        self._started |= chosen
        self._ended &= ~chosen
        return self._observations(), self._infos()

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[dict[str, Any], npt.NDArray[Any], BoolArray, BoolArray, dict[str, Any]]:
        """Apply one action in each row: integers (B,), or (B, numbers of an action).

        Rewards are float64 (B,), or float32 (B, K) where they are vectors.

        Raises:
            InvalidActionError: an action is illegal and ``invalid_action="raise"``.
            ParameterError: actions of a wrong shape, or rows without a running episode.
        """
        batch = self._check_actions(actions)
        simulation, stepped = self.simulation, self._every
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._ended.any():
            resting = self._ended
            stepped = ~resting
            simulation.step(batch, stepped, False)
            for buffer in (simulation.terminated, simulation.truncated, simulation.invalid):
                buffer[resting] = False
            simulation.reward[resting] = 0.0
            if simulation.reward_names:
                simulation.vector_reward[resting] = 0.0
            simulation.restart(resting, self._next)
        else:
            same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
            simulation.step(batch, self._every, same_step)
        ended = simulation.terminated | simulation.truncated
        infos = self._infos()
        _merge(infos, self._kept(simulation.step_infos()), stepped)
        if simulation.invalid.any():
            _merge(infos, {"invalid_action": simulation.invalid.copy()}, simulation.invalid.copy())
        if ended.any():
            self._report_ended(infos, ended)
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            self._ended = ended
        return (
            self._observations(),
            self._rewards(infos, stepped),
            simulation.terminated.copy(),
            simulation.truncated.copy(),
            infos,
        )

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture of each row, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.simulation.render(i, self.render_mode) for i in range(self.num_envs))

    @property
    def instances(self) -> list[Any]:
        """The instances of the current episodes, one a row."""
        return [self.simulation.instance(lane) for lane in range(self.num_envs)]

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the dispatching rules."""
        return self.simulation.rules

    @property
    def reward_names(self) -> tuple[str, ...]:
        """Names of the objectives where rewards have several; else empty."""
        return self.simulation.reward_names

    def rule_action(self, name: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each row; -1 where an episode has ended."""
        return self.simulation.rule_actions(name)

    def action_masks(self) -> BoolArray:
        """Return which actions are legal, bool (B, number of actions)."""
        return self.simulation.observations["action_mask"].astype(np.bool_)

    def copy_lane(self, source: int, target: int) -> None:
        """Make row `target` a copy of row `source`, future randomness included."""
        self.simulation.copy_lane(source, target)
        self._ended[target] = self._ended[source]
        self._started[target] = self._started[source]

    def get_state(self) -> Snapshot:
        """Return a copy of all rows, to come back to with `set_state`."""
        saved = self.simulation.get_state()
        return Snapshot((*saved.arrays, self._ended.copy(), self._started.copy()))

    def set_state(self, snapshot: Snapshot) -> dict[str, Any]:
        """Go back to a snapshot of this vector environment; return the observations there."""
        *arrays, ended, started = snapshot.arrays
        self.simulation.set_state(Snapshot(tuple(arrays)))
        self._ended, self._started = ended.copy(), started.copy()
        return self._observations()

    def _chosen_rows(self, options: Mapping[str, Any] | None) -> BoolArray:
        if not options or "reset_mask" not in options:
            return self._every
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ParameterError(
                f"options['reset_mask']: found {mask.dtype} of shape {mask.shape}, "
                f"expected bool of shape ({self.num_envs},) with at least one True"
            )
        return mask

    def _seeds(self, seed: int | Sequence[int | None] | None) -> npt.NDArray[np.int64]:
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            given: Sequence[int | None] = [int(seed) + i for i in range(self.num_envs)]
        elif seed is None:
            given = [None] * self.num_envs
        else:
            given = list(seed)
        if len(given) != self.num_envs:
            raise ParameterError(f"seed: found {len(given)} seeds, expected {self.num_envs}")
        seeds = np.full(self.num_envs, -1, np.int64)
        for lane, value in enumerate(given):
            if value is not None:
                seeds[lane] = episode_seed(value)
            elif not self._started[lane]:
                seeds[lane] = self.np_random.integers(2**62, 2**63 - 1)
        return seeds

    def _check_actions(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        batch = check_actions(self.simulation, np.asarray(actions))
        if not self._started.all():
            raise ParameterError("step: no episode is running, call reset() first")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._ended.any():
            raise ParameterError(
                f"step: the episodes of rows {np.flatnonzero(self._ended).tolist()} have ended, "
                'reset them with reset(options={"reset_mask": rows})'
            )
        if self.invalid_action == "raise":
            self._require_legal(batch)
        return batch

    def _require_legal(self, batch: npt.NDArray[np.int64]) -> None:
        running = np.flatnonzero(~self._ended)
        if batch.ndim == 1:  # whole numbers: the mask tells of all rows at once
            masks = self.simulation.observations["action_mask"]
            inside = (batch >= 0) & (batch < masks.shape[1])
            legal = inside & (masks[np.arange(self.num_envs), np.where(inside, batch, 0)] == 1)
            running = running[~legal[running]]
        require_legal(self.simulation, batch, running)

    def _report_ended(self, infos: dict[str, Any], ended: BoolArray) -> None:
        final = self._kept(self.simulation.final_infos(ended))
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            _merge(infos, final, ended)
            return
        buffers = self.simulation.final_observations
        last = np.empty(self.num_envs, object)
        rows = zip(*(buffer[ended] for buffer in buffers.values()), strict=True)
        for lane, row in zip(np.flatnonzero(ended).tolist(), rows, strict=True):
            last[lane] = dict(zip(buffers, row, strict=True))
        mask = self._kept({"action_mask": buffers["action_mask"]})
        final_info: dict[str, Any] = {}
        _merge(final_info, {**mask, **final}, ended)
        if self.simulation.invalid.any():
            invalid = self.simulation.invalid & ended
            _merge(final_info, {"invalid_action": invalid}, invalid)
        infos["final_obs"] = last
        infos["final_info"] = final_info
        infos["_final_obs"] = infos["_final_info"] = ended

    def _kept(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return buffers as they may be given away: copies unless ``copy=False``."""
        return copy_nested(values) if self.copy else dict(values)

    def _observations(self) -> dict[str, Any]:
        return self._kept(self.simulation.observations)

    def _rewards(self, infos: dict[str, Any], stepped: BoolArray) -> npt.NDArray[Any]:
        """Return the rewards as asked for; the vectors behind weighted sums go to the infos."""
        if not self.simulation.reward_names:
            return self.simulation.reward.copy()
        vectors = self.simulation.vector_reward.astype(np.float32)
        if self.simulation.gives_vector:
            return vectors
        _merge(infos, {"vector_reward": vectors}, stepped)
        return self.simulation.reward.copy()

    def _infos(self) -> dict[str, Any]:
        mask = self.simulation.observations["action_mask"]
        return {
            "action_mask": mask.copy() if self.copy else mask,
            "_action_mask": self._every.copy() if self.copy else self._every,
        }


def _merge(infos: dict[str, Any], values: Mapping[str, Any], rows: BoolArray) -> None:
    """Add values to infos by Gymnasium's convention: key k has the rows it holds in ``_k``."""
    for key, value in values.items():
        if isinstance(value, dict):  # as a Mapping it would take ten times as long to tell
            nested: dict[str, Any] = {}
            _merge(nested, value, rows)
            value = nested
        infos[key] = value
        infos[f"_{key}"] = rows
