"""Lanes of independent tasks, one of which is sent in each slot."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.edge_offloading import draw, kernel, lanes, rollout
from dispatchgym.envs.edge_offloading.generators import (
    FixedGenerator,
    MixedGenerator,
    SlotGenerator,
)
from dispatchgym.envs.edge_offloading.instance import OffloadInstance
from dispatchgym.envs.edge_offloading.prepared import PreparedInstances, lay
from dispatchgym.envs.edge_offloading.rules import RULES
from dispatchgym.envs.edge_offloading.world import (
    REWARD_SCALES,
    Buffers,
    Options,
    Parameter,
    World,
)

__all__ = ["SlotWorld"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_SCHEDULE = {
    "server": kernel.SERVER,
    "sent": kernel.SENT,
    "uploaded": kernel.UPLOADED,
    "began": kernel.BEGAN,
    "ended": kernel.ENDED,
    "transmission": kernel.TRANSMIT,
    "computation": kernel.COMPUTE,
    "delay_reward": kernel.DELAY_REWARD,
    "energy_reward": kernel.ENERGY_REWARD,
}
"""Name in a schedule -> column of `State.sent`."""


class SlotWorld(World):
    """A batch of episodes of independent tasks; see `World`."""

    rules: ClassVar[tuple[str, ...]] = RULES
    reward_names: ClassVar[tuple[str, str]] = ("delay", "energy")

    def __init__(self, generator: Any, buffers: Buffers, options: Options) -> None:
        """Allocate the lanes; see `World`."""
        self._generator, self._buffers, self._options = generator, buffers, options
        self.limits = generator.limits
        self._check_size(self.limits.servers)
        self._lanes = len(buffers.reward)
        self._one_block = self._lanes <= lanes.LANES_PER_BLOCK  # not worth a parallel loop
        self._make_source()
        self.state = self.allocate(self._lanes)
        state, vector = self.state, buffers.vector
        self._outcome = lanes.Outcome(
            *(buffers.reward, buffers.terminated, buffers.truncated, buffers.invalid),
            np.zeros_like(state.scalar),
            np.zeros_like(state.total),
            np.zeros_like(state.number),
            np.zeros_like(vector.preference),
            np.zeros_like(state.sent),
        )

    def _check_size(self, servers: int) -> None:
        if servers > self._options.max_servers:
            raise ParameterError(
                f"max_servers: found {self._options.max_servers}, expected at least the "
                f"{servers} servers of the scenario"
            )

    def _make_source(self) -> None:
        kind, rows = lanes.PREPARED, self._lanes
        limits, scales = (array[None] for array in SlotGenerator().draws())
        if isinstance(self._generator, (SlotGenerator, MixedGenerator)):
            kind, rows = lanes.GENERATED, 0
            limits, scales = np.atleast_2d(*self._generator.draws())
        elif isinstance(self._generator, FixedGenerator):
            kind, rows = lanes.BANK, 1
        self._rows = draw.empty_rows(self.limits, rows)
        if kind == lanes.BANK:
            lay(self._generator.instance, self._rows, 0)
        self._source = lanes.Source(np.array([kind]), limits, scales)
        self._prepared: PreparedInstances | None = None
        if kind == lanes.PREPARED:
            self._prepared = PreparedInstances(
                self._generator, self._rows, self._lanes, self._next_seed
            )

    def _next_seed(self, lane: int) -> int:
        scalar = self.state.scalar[lane]
        return int(derive(np.uint64(scalar[kernel.BASE_SEED]), scalar[kernel.EPISODE] + 1))

    def allocate(self, count: int) -> kernel.State:
        """Return the state of more lanes of this size, for searches inside the kernel."""
        servers, _, slots, _ = self.limits
        setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
        setting[kernel.SCALING] = REWARD_SCALES.index(self._options.reward_scale)
        setting[kernel.SHOW_MARGINALS] = self._options.marginals
        setting[kernel.DUMMIES] = self._options.idle_slots == "dummy"
        setting[kernel.STEP_LIMIT] = self._options.step_limit
        return kernel.State(
            setting,
            np.zeros((count, kernel.NUM_SCALARS), np.int64),
            np.zeros((count, kernel.NUM_TOTALS)),
            *draw.empty_rows(self.limits, count),
            np.zeros((count, servers, kernel.NUM_COUNTS), np.int64),
            np.zeros((count, servers, kernel.NUM_CLOCKS)),
            np.zeros((count, servers, slots)),
            np.zeros((count, servers, slots), np.int64),
            np.zeros((count, servers, slots), np.int64),
            np.zeros((count, slots, kernel.NUM_SENT_COLUMNS)),
            np.zeros((count, servers, kernel.NUM_EFFECTS)),
            np.zeros((count, kernel.NUM_WORK_ROWS, slots + 1)),
        )

    # --- episodes ---

    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes."""
        if self._prepared is not None:
            self._prepared.prepare(chosen, seeds)
        buffers = self._buffers
        arguments = (self.state, self._source, self._rows, buffers.vector, buffers.observation)
        if self._one_block:
            lanes.reset_block(*arguments, seeds, chosen, 0)
        else:
            lanes.reset_batch(*arguments, seeds, chosen)
        if self._prepared is not None:
            self._prepared.take(chosen)

    def step(self, actions: IntArray, chosen: BoolArray, autoreset: bool) -> None:
        """Apply one action in each chosen lane."""
        buffers = self._buffers
        arguments = (
            self.state,
            self._source,
            self._rows,
            buffers.vector,
            buffers.observation,
            buffers.final,
            self._outcome,
            actions,
            autoreset,
            chosen,
        )
        if self._one_block:
            lanes.step_block(*arguments, 0)
        else:
            lanes.step_batch(*arguments)
        if autoreset and self._prepared is not None:
            self._prepared.take(buffers.terminated | buffers.truncated)

    def instance(self, lane: int) -> OffloadInstance:
        """Return the instance that is being played in a lane."""
        if self._prepared is not None:
            return self._prepared.current(lane)
        return self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))

    def refresh(self) -> None:
        """Write all observations anew."""
        arguments = (self.state, self._buffers.vector, self._buffers.observation)
        if self._one_block:
            lanes.observe_block(*arguments, 0)
        else:
            lanes.observe_batch(*arguments)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes, apart from the preferences."""
        prepared = self._rows if self._prepared is not None else ()
        return (*self.state[1:], *self._outcome[4:], *prepared)

    def copy_lane(self, source: int, target: int) -> None:
        """Copy which instances a lane has."""
        if self._prepared is not None:
            self._prepared.copy_lane(source, target)

    # --- rules ---

    def rule_actions(self, rule: str, parameter: Parameter) -> IntArray:
        """Return what a rule does in each lane; -1 where the episode is over."""
        actions = np.empty(self._lanes, np.int64)
        vector = self._buffers.vector
        if rule == "rollout_omega":
            rollout.rollout_batch(self.state, self._trial, vector, self._values, actions)
            return actions
        arguments = (
            self.state,
            vector,
            self.rules.index(rule),
            self._parameters(parameter),
            actions,
        )
        if self._one_block:
            lanes.rule_action_block(*arguments, 0)
        else:
            lanes.rule_action_batch(*arguments)
        return actions

    def run_rule(self, rule: str, parameter: Parameter) -> None:
        """Play every lane to its end under a rule."""
        vector, number = self._buffers.vector, self.rules.index(rule)
        if rule == "rollout_omega":
            outcome, values = self._outcome, self._values
            rollout.run_rollout_batch(self.state, self._trial, vector, values, outcome)
            return
        arguments = (self.state, vector, self._outcome, number, self._parameters(parameter))
        if self._one_block:
            lanes.run_rule_block(*arguments, 0)
        else:
            lanes.run_rule_batch(*arguments)

    def _parameters(self, parameter: Any) -> npt.NDArray[np.float64]:
        """Return one parameter a lane; nan is the usual one."""
        return np.full(self._lanes, np.nan if parameter is None else parameter, np.float64)

    def rollout_values(self, samples: int) -> npt.NDArray[np.float64]:
        """Return what rollouts expect of each server."""
        vector, values = self._buffers.vector, self._values
        rollout.judge_batch(self.state, self._trial, vector, np.int64(samples), values)
        return self._values.copy()

    @cached_property
    def _trial(self) -> kernel.State:
        """As many lanes, in which rollouts play."""
        return self.allocate(self._lanes)

    @cached_property
    def _values(self) -> npt.NDArray[np.float64]:
        """What rollouts expect of each server."""
        return np.empty((self._lanes, self._trial.server.shape[1]))

    # --- results ---

    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the results of the lanes that ended."""
        outcome = self._outcome
        objective = outcome.total[:, kernel.DELAY : kernel.ENERGY + 1].copy()
        objective[outcome.scalar[:, kernel.STATUS] != kernel.FINISHED] = np.nan
        sent = outcome.scalar[:, kernel.PLACED]
        columns = dict(zip(_SCHEDULE, np.empty((len(_SCHEDULE), self._lanes), object), strict=True))
        for lane in np.flatnonzero(ended).tolist():
            schedule = _columns(outcome.sent[lane, : sent[lane]])
            for column, values in zip(columns.values(), schedule, strict=True):
                column[lane] = values
        return {
            "objective": objective,
            "tasks": sent,
            "unsent": outcome.number[:, draw.TASKS] - sent,
            "waiting_time": outcome.total[:, kernel.WAITED],
            "schedule": {
                **columns,
                "objective": objective,
                "preference": outcome.preference,
                "seed": outcome.scalar[:, kernel.SEED],
            },
        }

    def schedule(self, lane: int) -> dict[str, Any]:
        """Return the schedule of the running episode as far as it has come."""
        scalar, total = self.state.scalar[lane], self.state.total[lane]
        sent = self.state.sent[lane, : scalar[kernel.PLACED]]
        return {
            **dict(zip(_SCHEDULE, _columns(sent), strict=True)),
            "objective": total[[kernel.DELAY, kernel.ENERGY]],
            "preference": self._buffers.vector.preference[lane].copy(),
            "seed": scalar[kernel.SEED],
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        if action == 0:
            return "send to the cloud"
        if 0 < action < self._options.max_servers:
            return f"send to edge server {action}"
        names = {self._options.max_servers: "drop", self._options.max_servers + 1: "hold"}
        return names.get(action, "none")

    def render(self, lane: int, mode: str) -> Any:
        """Return the episode so far as text or as timelines of the servers."""
        from dispatchgym.envs.edge_offloading import slots_render

        scalar = self.state.scalar[lane]
        now = float(scalar[kernel.SLOT_NOW] * self.state.real[lane, draw.SLOT])
        if scalar[kernel.STATUS] == kernel.FINISHED:
            now = float("inf")
        picture = slots_render.ansi if mode == "ansi" else slots_render.frame
        return picture(self.instance(lane), self.schedule(lane), now)


def _columns(sent: npt.NDArray[np.float64]) -> list[npt.NDArray[Any]]:
    """Return private copies of the columns of a schedule, in the order of `_SCHEDULE`."""
    rows = list(sent.T.copy())
    server, *others = (rows[row] for row in _SCHEDULE.values())
    return [server.astype(np.int64), *others]
