"""Lanes of jobs of dependent tasks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.edge_offloading import graph_draw, graph_lanes, lanes
from dispatchgym.envs.edge_offloading import graph_kernel as kernel
from dispatchgym.envs.edge_offloading.generators import FixedGenerator
from dispatchgym.envs.edge_offloading.graph_generators import GraphGenerator
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.graph_rules import GRAPH_RULES
from dispatchgym.envs.edge_offloading.prepared import PreparedInstances, lay
from dispatchgym.envs.edge_offloading.world import Buffers, Options, Parameter, World

__all__ = ["GraphWorld"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_SCHEDULE = {
    "place": kernel.PLACE,
    "decided": kernel.DECIDED,
    "uploaded": kernel.SENT,
    "data": kernel.DATA,
    "began": kernel.STARTED,
    "ended": kernel.ENDED,
    "back": kernel.BACK,
    "energy": kernel.JOULES,
    "delay_reward": kernel.DELAY_REWARD,
}
"""Name in a schedule -> column of `GraphState.placed`."""


class GraphWorld(World):
    """A batch of episodes of dependent tasks; see `World`."""

    rules: ClassVar[tuple[str, ...]] = GRAPH_RULES
    reward_names: ClassVar[tuple[str, str]] = ("latency", "energy")

    def __init__(self, generator: Any, buffers: Buffers, options: Options) -> None:
        """Allocate the lanes; see `World`."""
        self._generator, self._buffers, self._options = generator, buffers, options
        self.limits: graph_draw.GraphLimits = generator.limits
        if self.limits.servers + 1 > options.max_servers:
            raise ParameterError(
                f"max_servers: found {options.max_servers}, expected at least "
                f"{self.limits.servers + 1}, the servers of the scenario and the device"
            )
        self._lanes = len(buffers.reward)
        self._one_block = self._lanes <= lanes.LANES_PER_BLOCK  # not worth a parallel loop
        self.state = self._allocate()
        self._make_source()
        state, vector = self.state, buffers.vector
        self._outcome = graph_lanes.Outcome(
            *(buffers.reward, buffers.terminated, buffers.truncated, buffers.invalid),
            np.zeros_like(state.scalar),
            np.zeros_like(state.total),
            np.zeros_like(state.number),
            np.zeros_like(vector.preference),
            np.zeros_like(state.placed),
        )

    def _allocate(self) -> kernel.GraphState:
        count, (servers, jobs, tasks, _, users, cores) = self._lanes, self.limits
        setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
        setting[kernel.SHOW_MARGINALS] = self._options.marginals
        setting[kernel.STEP_LIMIT] = self._options.step_limit
        return kernel.GraphState(
            setting,
            np.zeros((count, kernel.NUM_SCALARS), np.int64),
            np.zeros((count, kernel.NUM_TOTALS)),
            *graph_draw.empty_graph_rows(self.limits, count),
            np.zeros((count, servers, cores)),
            np.zeros((count, users)),
            np.zeros((count, users)),
            np.zeros((count, tasks, kernel.NUM_PLACED_COLUMNS)),
            np.zeros((count, jobs, kernel.NUM_PROGRESS_COLUMNS)),
            np.zeros((count, tasks), np.int64),
            np.zeros((count, servers + 1, kernel.NUM_EFFECTS)),
        )

    def _make_source(self) -> None:
        kind, rows = lanes.PREPARED, self._lanes
        limits, scales = GraphGenerator().draws()
        if isinstance(self._generator, GraphGenerator):
            kind, rows = lanes.GENERATED, 0
            limits, scales = self._generator.draws()
        elif isinstance(self._generator, FixedGenerator):
            kind, rows = lanes.BANK, 1
        self._rows = graph_draw.empty_graph_rows(self.limits, rows)
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

    # --- episodes ---

    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes."""
        if self._prepared is not None:
            self._prepared.prepare(chosen, seeds)
        buffers = self._buffers
        arguments = (self.state, self._source, self._rows, buffers.vector, buffers.observation)
        if self._one_block:
            graph_lanes.reset_block(*arguments, seeds, chosen, 0)
        else:
            graph_lanes.reset_batch(*arguments, seeds, chosen)
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
            graph_lanes.step_block(*arguments, 0)
        else:
            graph_lanes.step_batch(*arguments)
        if autoreset and self._prepared is not None:
            self._prepared.take(buffers.terminated | buffers.truncated)

    def instance(self, lane: int) -> GraphInstance:
        """Return the instance that is being played in a lane."""
        if self._prepared is not None:
            return self._prepared.current(lane)
        return self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))

    def refresh(self) -> None:
        """Write all observations anew."""
        arguments = (self.state, self._buffers.vector, self._buffers.observation)
        if self._one_block:
            graph_lanes.observe_block(*arguments, 0)
        else:
            graph_lanes.observe_batch(*arguments)

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
        arguments = (self.state, self._buffers.vector, self.rules.index(rule), actions)
        if self._one_block:
            graph_lanes.rule_action_block(*arguments, 0)
        else:
            graph_lanes.rule_action_batch(*arguments)
        return actions

    def run_rule(self, rule: str, parameter: Parameter) -> None:
        """Play every lane to its end under a rule."""
        number = self.rules.index(rule)
        arguments = (self.state, self._buffers.vector, self._outcome, number)
        if self._one_block:
            graph_lanes.run_rule_block(*arguments, 0)
        else:
            graph_lanes.run_rule_batch(*arguments)

    # --- results ---

    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the results of the lanes that ended."""
        outcome = self._outcome
        finished = outcome.scalar[:, kernel.STATUS] == kernel.FINISHED
        jobs, tasks = (outcome.number[:, column] for column in (graph_draw.JOBS, graph_draw.TASKS))
        objective = outcome.total[:, [kernel.LATENCY, kernel.ENERGY]]
        objective[:, 0] /= np.maximum(jobs, 1)
        objective[~finished] = np.nan
        columns = {name: np.full(self._lanes, None, object) for name in _SCHEDULE}
        for lane in np.flatnonzero(ended):
            for name in _SCHEDULE:
                columns[name][lane] = _column(outcome.placed[lane, : tasks[lane]], name)
        return {
            "objective": objective,
            "tasks": outcome.scalar[:, kernel.PLACED],
            "jobs": jobs,
            "schedule": {
                **columns,
                "objective": objective,
                "preference": outcome.preference,
                "seed": outcome.scalar[:, kernel.SEED],
            },
        }

    def schedule(self, lane: int) -> dict[str, Any]:
        """Return the schedule of the running episode as far as it has come."""
        state = self.state
        total, number = state.total[lane], state.number[lane]
        placed = state.placed[lane, : number[graph_draw.TASKS]]
        latency = total[kernel.LATENCY] / max(number[graph_draw.JOBS], 1)
        return {
            **{name: _column(placed, name) for name in _SCHEDULE},
            "objective": np.array([latency, total[kernel.ENERGY]]),
            "preference": self._buffers.vector.preference[lane].copy(),
            "seed": state.scalar[lane, kernel.SEED],
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        servers = self._options.max_servers
        if 0 < action < servers:
            return f"place on edge server {action}, or on the device if there are less"
        return {0: "place in the cloud", servers: "drop", servers + 1: "hold"}.get(action, "none")

    def render(self, lane: int, mode: str) -> Any:
        """Return the episode so far as text or as a picture."""
        from dispatchgym.envs.edge_offloading import graph_render

        draw = graph_render.ansi if mode == "ansi" else graph_render.frame
        return draw(self.instance(lane), self.schedule(lane))


def _column(placed: npt.NDArray[np.float64], name: str) -> npt.NDArray[Any]:
    """Return a private copy of a column of a schedule."""
    return placed[:, _SCHEDULE[name]].astype(np.int64 if name == "place" else np.float64)
