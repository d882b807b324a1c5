"""Lanes of tasks with deadlines, for one edge server and the cloud."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.edge_offloading import dems_draw, dems_lanes, dems_search
from dispatchgym.envs.edge_offloading import dems_kernel as kernel
from dispatchgym.envs.edge_offloading import dems_tables as tables
from dispatchgym.envs.edge_offloading.dems_generators import DeadlineGenerator
from dispatchgym.envs.edge_offloading.dems_rules import DISCIPLINES, RULES
from dispatchgym.envs.edge_offloading.generators import FixedGenerator
from dispatchgym.envs.edge_offloading.instance import Instance
from dispatchgym.envs.edge_offloading.prepared import PreparedInstances, lay
from dispatchgym.envs.edge_offloading.world import REWARD_SCALES, Buffers, Options, Parameter, World

__all__ = ["CREDITS", "QUEUES", "DeadlineWorld"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

QUEUES = ("corrected", "published_code")
"""Whether migration looks at the task right behind a new one; the published code does not."""
CREDITS = ("event", "decision")
"""When utilities are booked."""


class DeadlineWorld(World):
    """A batch of runs of drone fleets; see `World`."""

    rules: ClassVar[tuple[str, ...]] = RULES
    reward_names: ClassVar[tuple[str, str]] = ("qos_utility", "qoe_bonus")

    def __init__(self, generator: Any, buffers: Buffers, options: Options) -> None:
        """Allocate the lanes; see `World`."""
        check_choice("queue", options.queue, QUEUES)
        check_choice("discipline", options.discipline, DISCIPLINES)
        check_choice("credit", options.credit, CREDITS)
        if options.max_servers < 2:
            raise ParameterError(
                f"max_servers: found {options.max_servers}, expected at least 2, cloud and edge"
            )
        self._generator, self._buffers, self._options = generator, buffers, options
        self.limits = generator.limits
        self._lanes = len(buffers.reward)
        self._one_block = self._lanes <= dems_lanes.LANES_PER_BLOCK  # not worth a parallel loop
        self.state = self.allocate(self._lanes)
        self._make_source()
        state, vector = self.state, buffers.vector
        self._outcome = dems_lanes.Outcome(
            *(buffers.reward, buffers.terminated, buffers.truncated, buffers.invalid),
            np.zeros_like(state.scalar),
            np.zeros_like(state.real),
            np.zeros_like(vector.preference),
            np.zeros_like(state.log),
        )

    def _make_source(self) -> None:
        kind, rows = dems_lanes.PREPARED, self._lanes
        choices = DeadlineGenerator().draws()
        if isinstance(self._generator, DeadlineGenerator):
            kind, rows = dems_lanes.GENERATED, 0
            choices = self._generator.draws()
        elif isinstance(self._generator, FixedGenerator):
            kind, rows = dems_lanes.BANK, 1
        self._rows = dems_draw.empty_rows(self.limits, rows)
        if kind == dems_lanes.BANK:
            lay(self._generator.instance, self._rows, 0)
        self._source = dems_lanes.Source(np.array([kind]), choices)
        self._prepared = None
        if kind == dems_lanes.PREPARED:
            self._prepared = PreparedInstances(
                self._generator, self._rows, self._lanes, self._next_seed
            )

    def _next_seed(self, lane: int) -> int:
        scalar = self.state.scalar[lane]
        base = np.uint64(scalar[kernel.BASE_SEED])
        return int(dems_lanes.derive(base, scalar[kernel.EPISODE] + 1))

    def allocate(self, lanes: int) -> kernel.State:
        """Return the state of more lanes of this size, for searches inside the kernel."""
        tasks, slots, _ = self.limits
        setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
        setting[kernel.SKIPS_NEXT] = self._options.queue == "published_code"
        setting[kernel.CREDIT_AT_DECISION] = self._options.credit == "decision"
        setting[kernel.STEP_LIMIT] = self._options.step_limit
        setting[kernel.PAPER_SCALE] = REWARD_SCALES.index(self._options.reward_scale)
        setting[kernel.SHOW_MARGINALS] = self._options.marginals
        setting[kernel.OWN_DISCIPLINE] = RULES.index(self._options.discipline)
        models = tables.MAX_MODELS
        return kernel.State(
            setting,
            np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
            np.zeros((lanes, kernel.NUM_REALS)),
            *dems_draw.empty_rows(self.limits, lanes),
            np.zeros((lanes, models, kernel.NUM_STANDINGS), np.int64),
            np.zeros((lanes, models, kernel.SAMPLES_KEPT), np.int64),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, slots, 2), np.int64),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, tasks), np.int32),
            np.zeros((lanes, tasks), np.int8),
            np.zeros((lanes, tasks)),
            np.full((lanes, tasks, kernel.NUM_LOG_COLUMNS), -1, np.int32),
        )

    # --- episodes ---

    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes."""
        if self._prepared is not None:
            self._prepared.prepare(chosen, seeds)
        buffers = self._buffers
        arguments = (self.state, self._source, self._rows, buffers.vector, buffers.observation)
        if self._one_block:
            dems_lanes.reset_block(*arguments, seeds, chosen, 0)
        else:
            dems_lanes.reset_batch(*arguments, seeds, chosen)
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
            dems_lanes.step_block(*arguments, 0)
        else:
            dems_lanes.step_batch(*arguments)
        if autoreset and self._prepared is not None:
            self._prepared.take(chosen & (buffers.terminated | buffers.truncated))

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        if self._prepared is not None:
            return self._prepared.current(lane)
        instance: Instance = self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))
        return instance

    def refresh(self) -> None:
        """Write all observations anew."""
        arguments = (self.state, self._buffers.vector, self._buffers.observation)
        if self._one_block:
            dems_lanes.observe_block(*arguments, 0)
        else:
            dems_lanes.observe_batch(*arguments)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes, apart from the preferences."""
        prepared = self._rows if self._prepared is not None else ()
        return (*self.state[1:], *self._outcome[4:], *prepared)

    def copy_lane(self, source: int, target: int) -> None:
        """Copy which instances a lane has."""
        if self._prepared is not None:
            self._prepared.copy_lane(source, target)

    # --- rules ---

    def rollout_values(self, samples: int) -> npt.NDArray[np.float64]:
        """Return the outlook of each action in units of the reward, (B, S + 2).

        One future is enough: arrivals are foreseen.
        """
        dems_search.judge_batch(self.state, self._trial, self._values)
        servers = self._options.max_servers
        outlooks = np.full((self._lanes, servers + 2), -np.inf)
        outlooks[:, [0, 1, servers, servers + 1]] = self._values
        outlooks /= self.state.real[:, [kernel.UTILITY_UNIT]]
        return outlooks

    @cached_property
    def _values(self) -> npt.NDArray[np.float64]:
        """What rollouts expect of each action of the kernel."""
        return np.empty((self._lanes, dems_search.ACTIONS))

    @cached_property
    def _trial(self) -> kernel.State:
        """Lanes in which actions are tried."""
        return self.allocate(self._lanes)

    def rule_actions(self, rule: str, parameter: Parameter) -> IntArray:
        """Return what a rule does in each lane; -1 where the episode is over."""
        actions = np.empty(self._lanes, np.int64)
        if rule == "rollout":
            servers = self._options.max_servers
            dems_search.rollout_batch(self.state, self._trial, self._values, servers, actions)
            return actions
        arguments = (self.state, self._options.max_servers, self.rules.index(rule), actions)
        if self._one_block:
            dems_lanes.rule_action_block(*arguments, 0)
        else:
            dems_lanes.rule_action_batch(*arguments)
        return actions

    def run_rule(self, rule: str, parameter: Parameter) -> None:
        """Play every lane to its end under a rule and its discipline."""
        if rule == "rollout":
            # Nothing is left for the shorter call below but to write the results.
            dems_search.run_rollout_batch(self.state, self._trial, self._values)
        arguments = (self.state, self._buffers.vector, self._outcome, self.rules.index(rule))
        if self._one_block:
            dems_lanes.run_rule_block(*arguments, 0)
        else:
            dems_lanes.run_rule_batch(*arguments)

    # --- results ---

    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the results of the lanes that ended."""
        outcome = self._outcome
        finished = outcome.scalar[:, kernel.STATUS] == kernel.FINISHED
        objective = outcome.real[:, [kernel.QOS, kernel.QOE]]
        objective[~finished] = np.nan
        tasks = np.full(self._lanes, None, object)
        for lane in np.flatnonzero(ended):
            decided = outcome.scalar[lane, kernel.NEXT]
            tasks[lane] = outcome.log[lane, :decided].astype(np.int64)
        rules = np.array(RULES)
        return {
            "objective": objective,
            "schedule": {
                "tasks": tasks,
                "objective": objective,
                "preference": outcome.preference,
                "seed": outcome.scalar[:, kernel.SEED],
                "discipline": rules[outcome.scalar[:, kernel.DISCIPLINE]],
                "queue": np.full(self._lanes, self._options.queue),
            },
        }

    def schedule(self, lane: int) -> dict[str, Any]:
        """Return the schedule of the running episode as far as it has come."""
        scalar, real = self.state.scalar[lane], self.state.real[lane]
        return {
            "tasks": self.state.log[lane, : scalar[kernel.NEXT]].astype(np.int64),
            "objective": real[[kernel.QOS, kernel.QOE]],
            "preference": self._buffers.vector.preference[lane].copy(),
            "seed": int(scalar[kernel.SEED]),
            "discipline": RULES[scalar[kernel.DISCIPLINE]],
            "queue": self._options.queue,
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        servers = self._options.max_servers
        names = {0: "cloud", 1: "edge", servers: "drop", servers + 1: "hold"}
        return names.get(action, "none")

    def render(self, lane: int, mode: str) -> Any:
        """Return the run so far as text or as a picture."""
        from dispatchgym.envs.edge_offloading import dems_render

        draw: Any = dems_render.ansi if mode == "ansi" else dems_render.frame
        return draw(self.instance(lane), self.schedule(lane))
