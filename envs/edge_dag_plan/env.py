"""The Gymnasium classes of plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.kernel_env import KernelEnv
from dispatchgym.envs.core.scenario import resolve
from dispatchgym.envs.core.simulation import Simulation, check_choice, copy_nested
from dispatchgym.envs.core.vector_env import KernelVectorEnv
from dispatchgym.envs.edge_dag_plan import kernel, plans
from dispatchgym.envs.edge_dag_plan.generators import (
    FixedGenerator,
    Generator,
    PlanGenerator,
    generator,
)
from dispatchgym.envs.edge_dag_plan.instance import Instance
from dispatchgym.envs.edge_dag_plan.parsers import load
from dispatchgym.envs.edge_dag_plan.rules import RULES

__all__ = [
    "OBJECTIVES",
    "OBSERVATION_KEYS",
    "ORDERS",
    "UPLINK_QUEUES",
    "EdgeDagPlanEnv",
    "EdgeDagPlanSimulation",
    "EdgeDagPlanVectorEnv",
]

UPLINK_QUEUES = ("corrected", "published_code")
"""Whether the upload of a task without parents keeps the uplink busy."""
ORDERS = ("rank", "index")
"""The order in which tasks are decided."""
OBJECTIVES = ("latency", "energy")
"""What rewards and `info["objective"]` tell of."""

OBSERVATION_KEYS = kernel.Observation._fields
"""Keys of the observation."""

_NUMBER_LIMIT = float(np.finfo(np.float32).max)


class EdgeDagPlanSimulation(Simulation):
    """A batch of plans; the arguments are described in `EdgeDagPlanEnv`."""

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "drlto-n15",
        uplink_queue: str = "corrected",
        order: str = "rank",
        reward: str = "vector",
        preference: Any = (0.5, 0.5),
        step_limit: int = 0,
    ) -> None:
        check_choice("uplink_queue", uplink_queue, UPLINK_QUEUES)
        check_choice("order", order, ORDERS)
        self.num_lanes = num_lanes
        self._one_block = num_lanes <= kernel.LANES_PER_BLOCK  # not worth a parallel loop
        self.rules = RULES
        self._make_source(scenario)
        self._kernel_vector = self.make_vector_reward(OBJECTIVES, reward, preference)
        self.state = self.allocate(num_lanes)
        self.state.setting[kernel.PUBLISHED] = uplink_queue == "published_code"
        self.state.setting[kernel.BY_INDEX] = order == "index"
        self.state.setting[kernel.STEP_LIMIT] = step_limit
        self._make_outcome()
        self._make_spaces()

    # --- what the kernel works on ---

    def _make_source(self, scenario: Any) -> None:
        found = resolve(scenario, Instance, generator, load)
        self._generator = FixedGenerator(found) if isinstance(found, Instance) else found
        if not isinstance(self._generator, Generator):
            raise ParameterError("scenario: the generator needs an attribute limits")
        self.limits = self._generator.limits
        counts, ranges = np.zeros(plans.NUM_COUNTS, np.int64), np.zeros((plans.NUM_RANGES, 3))
        device = np.zeros(plans.NUM_DEVICE_COLUMNS)
        server = np.zeros((self.limits.servers, plans.NUM_SERVER_COLUMNS))
        kind, rows = kernel.PREPARED, self.num_lanes
        if isinstance(self._generator, PlanGenerator):
            kind, rows = kernel.GENERATED, 0
            counts, ranges = self._generator.draws()
            device, server = self._generator.hardware()
        elif isinstance(self._generator, FixedGenerator):
            kind, rows = kernel.BANK, 1
        self._kind = kind
        self._plans = plans.empty_plans(self.limits, rows)
        if isinstance(self._generator, FixedGenerator):
            plans.lay(self._generator.instance, self._plans, 0)
        self._source = kernel.Source(
            np.array([kind]), counts, ranges, device[None].copy(), server[None].copy()
        )
        self._current: list[Instance | None] = [None] * self.num_lanes
        self._prepared: list[Instance | None] = [None] * self.num_lanes

    def allocate(self, lanes: int) -> kernel.State:
        """Return the state of more lanes of this size, for searches inside the kernel."""
        tasks, _, servers = self.limits
        return kernel.State(
            np.zeros(kernel.NUM_SETTINGS, np.int64),
            *plans.empty_plans(self.limits, lanes),
            np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
            np.zeros((lanes, kernel.NUM_REALS)),
            np.zeros((lanes, tasks), np.int64),
            np.full((lanes, tasks), -1, np.int64),
            np.zeros((lanes, tasks, kernel.NUM_TIMES)),
            np.zeros((lanes, servers)),
            np.zeros((lanes, kernel.NUM_TIMES)),
            np.zeros((lanes, tasks, kernel.NUM_SEEN)),
            np.zeros((lanes, tasks), np.int64),
            np.zeros((lanes, kernel.NUM_REALS)),
            np.zeros((lanes, servers)),
            np.zeros((lanes, servers + 1), np.int8),
            np.zeros((lanes, kernel.NUM_PLANS_AHEAD, tasks), np.int64),
            np.zeros((lanes, tasks + 1, kernel.NUM_REALS + 1)),
            np.zeros((lanes, servers + 1, kernel.NUM_OUTLOOKS)),
        )

    def _make_outcome(self) -> None:
        lanes = self.num_lanes
        self.reward = np.zeros(lanes, np.float64)
        self.terminated = np.zeros(lanes, np.bool_)
        self.truncated = np.zeros(lanes, np.bool_)
        self.invalid = np.zeros(lanes, np.bool_)
        state = self.state
        results = (
            self.preferences,
            state.scalar,
            state.real,
            state.order,
            state.place,
            state.times,
        )
        self._outcome = kernel.Outcome(
            self.reward,
            self.terminated,
            self.truncated,
            self.invalid,
            *(np.zeros_like(array) for array in results),
        )

    def _make_spaces(self) -> None:
        tasks, edges, servers = self.limits
        boxes: dict[str, spaces.Space[Any]] = {
            "servers": _numbers((servers + 1, kernel.SERVER_COLUMNS)),
            "task": _numbers((kernel.TASK_COLUMNS,)),
            "preference": spaces.Box(0, 1, (len(OBJECTIVES),), np.float32),
            "context": _numbers((kernel.CONTEXT_COLUMNS,)),
            "node_feat": _numbers((tasks, kernel.NODE_COLUMNS)),
            "node_mask": _flags(tasks),
            "edge_index": spaces.Box(-1, tasks - 1, (2, edges), np.int32),
            "current": spaces.Box(0, tasks - 1, (1,), np.int32),
            "action_mask": _flags(servers + 1),
        }
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Discrete(servers + 1)
        self._observation, self._final = (
            kernel.Observation(
                **{
                    name: np.zeros((self.num_lanes, *_shape(box)), box.dtype)
                    for name, box in boxes.items()
                }
            )
            for _ in range(2)
        )
        self.observations = self._observation._asdict()
        self.final_observations = self._final._asdict()

    # --- episodes ---

    def restart(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Begin new episodes in the chosen lanes; see `Simulation.restart`."""
        if self._kind == kernel.PREPARED:
            self._prepare(chosen, seeds)
        arguments = (self.state, self._kernel_vector, self._source, self._plans, self._observation)
        if self._one_block:
            kernel.reset_block(*arguments, seeds, chosen, 0)
        else:
            kernel.reset_batch(*arguments, seeds, chosen)
        if self._kind == kernel.PREPARED:
            self._take_prepared(chosen)

    def step(
        self, actions: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], autoreset: bool
    ) -> None:
        """Apply actions; see `Simulation.step`."""
        arguments = (
            self.state,
            self._kernel_vector,
            self._source,
            self._plans,
            self._observation,
            self._final,
            self._outcome,
            actions,
            autoreset,
            chosen,
        )
        if self._one_block:
            kernel.step_block(*arguments, 0)
        else:
            kernel.step_batch(*arguments)
        if autoreset and self._kind == kernel.PREPARED:
            self._take_prepared(self.terminated | self.truncated)

    def _prepare(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Lay ready the instances of lanes that get a seed of their own."""
        for lane in np.flatnonzero(chosen & (seeds >= 0)):
            self._lay_ready(int(lane), int(seeds[lane]))

    def _take_prepared(self, begun: npt.NDArray[np.bool_]) -> None:
        """Note which instances are now being played and lay the following ones ready."""
        for lane in np.flatnonzero(begun):
            self._current[lane] = self._prepared[lane]
            scalar = self.state.scalar[lane]
            seed = kernel.derive(np.uint64(scalar[kernel.BASE_SEED]), scalar[kernel.EPISODE] + 1)
            self._lay_ready(int(lane), int(seed))

    def _lay_ready(self, lane: int, seed: int) -> None:
        instance = self._generator.generate(seed)
        found = FixedGenerator(instance).limits
        if any(size > most for size, most in zip(found, self.limits, strict=True)):
            raise ParameterError(f"generator: made {found}, its limits are {self.limits}")
        self._prepared[lane] = instance
        plans.lay(instance, self._plans, lane)

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        if self._kind == kernel.PREPARED:
            prepared = self._current[lane]
            if prepared is None:
                raise ParameterError("instance: no episode has begun, call reset() first")
            return prepared
        return self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))

    def set_preferences(
        self, chosen: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
    ) -> None:
        """Give running episodes their preferences; see `Simulation.set_preferences`."""
        super().set_preferences(chosen, weights)
        self.refresh()  # costs are shown

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        if self._one_block:
            kernel.observe_block(self.state, self._kernel_vector, self._observation, 0)
        else:
            kernel.observe_batch(self.state, self._kernel_vector, self._observation)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        prepared = self._plans if self._kind == kernel.PREPARED else ()
        vector = (self.vector_reward, self.preferences)
        return (*self.state[1:], *vector, *self._outcome, *prepared)

    def copy_lane(self, source: int, target: int) -> None:
        """Make lane `target` a copy of lane `source`, future randomness included."""
        super().copy_lane(source, target)
        self._current[target] = self._current[source]
        self._prepared[target] = self._prepared[source]

    # --- rules inside the kernel ---

    def rule_actions(self, rule: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each lane; -1 where the plan is complete."""
        number = self.check_rule(rule)
        actions = np.empty(self.num_lanes, np.int64)
        if self._one_block:
            kernel.rule_action_block(self.state, self._kernel_vector, number, actions, 0)
        else:
            kernel.rule_action_batch(self.state, self._kernel_vector, number, actions)
        return actions

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Complete the plan of every lane by a rule, in one compiled call.

        No observation or reward is written: restart the lanes afterwards.

        Returns:
            The same as `final_infos`.
        """
        arguments = (self.state, self._kernel_vector, self._outcome, self.check_rule(rule))
        if self._one_block:
            kernel.run_rule_block(*arguments, 0)
        else:
            kernel.run_rule_batch(*arguments)
        return copy_nested(self.final_infos(np.ones(self.num_lanes, np.bool_)))

    # --- results ---

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane."""
        infos = self.final_infos(np.arange(self.num_lanes) == lane)
        schedule = {key: np.array(value[lane]) for key, value in infos["schedule"].items()}
        return {"objective": infos["objective"][lane].copy(), "schedule": schedule}

    def schedule(self, lane: int) -> dict[str, npt.NDArray[Any]]:
        """Return the schedule of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        schedules = self._schedules(self.state, self.preferences)
        return {key: np.array(value[lane]) for key, value in schedules.items()}

    def final_infos(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        outcome = self._outcome
        finished = outcome.scalar[:, kernel.STATUS, None] == kernel.FINISHED
        objective = outcome.real[:, [kernel.MAKESPAN, kernel.ENERGY]]
        return {
            "objective": np.where(finished, objective, np.nan),
            "schedule": self._schedules(outcome, outcome.preference),
        }

    def _schedules(
        self, source: kernel.State | kernel.Outcome, preference: npt.NDArray[np.float64]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the schedules of all lanes, as far as they have come."""
        published = bool(self.state.setting[kernel.PUBLISHED])
        by_index = bool(self.state.setting[kernel.BY_INDEX])
        return {
            "order": source.order,
            "place": source.place,
            "times": source.times,
            "makespan": source.real[:, kernel.MAKESPAN],
            "energy": source.real[:, kernel.ENERGY],
            "preference": preference,
            "uplink_queue": np.full(self.num_lanes, UPLINK_QUEUES[published]),
            "decided_by": np.full(self.num_lanes, ORDERS[by_index]),
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        if action == 0:
            return "on the device"
        return f"on server {action - 1}" if 0 < action <= self.limits.servers else "none"

    def render(self, lane: int, mode: str) -> Any:
        """Return the plan so far as text or as a picture."""
        from dispatchgym.envs.edge_dag_plan import render

        draw = render.ansi if mode == "ansi" else render.frame
        return draw(self.instance(lane), self.schedule(lane))


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    assert space.shape is not None
    return space.shape


def _flags(size: int) -> spaces.Box:
    return spaces.Box(0, 1, (size,), np.int8)


class EdgeDagPlanEnv(KernelEnv):
    """Dependent tasks of one device: each is done there, or offloaded to an edge server.

    ## Description
    An application is a graph of n tasks. A device has one processor, one uplink and one downlink;
    within reach are S servers. Each step commits the next task of a fixed order to the device or
    to a server; there is no clock between decisions. Two things count: the makespan, and the
    energy that the device spends.

    Processors and the uplink serve tasks in the order of decisions, one at a time:

    * On the device a task starts when the results of all its parents are there.
    * Its upload starts when its parents have been computed on the device or have been uploaded:
      it carries along what was made on the device.
    * On a server it starts when it has been uploaded and the results of parents on servers are
      there; results travel between servers by links that never queue.
    * Its result comes down to the device as soon as it is computed; downloads never queue.

    The makespan is when the last result is on the device. A task on the device costs the power of
    its processor, one on a server the power to send it and to receive its result.

    The order is by descending upward rank (the time from a task to the end, at the best places),
    or by number. In the code of the publication the upload of a task without parents leaves the
    uplink free, so that any number of them go up at once: `uplink_queue="published_code"`.

    ## Action Space
    `Discrete(S + 1)`: 0 is the device, k server k - 1. All servers of the instance are legal.

    Legal actions are in `observation["action_mask"]`, `info["action_mask"]` (int8) and
    `action_masks()` (bool).

    ## Observation Space
    A flat `Dict` of arrays of fixed shape, padded to the largest instance of the scenario. Times
    are in units of the mean time of a task on the device; "before now" means minus the makespan so
    far. N and M are the most tasks and edges.

    | key | shape and type | content |
    | --- | --- | --- |
    | `servers` | (S + 1, 15) float32 | the device, then the servers: 0 exists; 1 is the device; 2 processor free from, 3 uplink free from, before now (0 for the device); of the next task there: 4 time to compute, 5 to upload, 6 to download; 7 first start and 8 result on the device, before now; 9 growth of the makespan; 10 energy / mean on the device; 11 9 and 10 weighted by the preference; outlook: cost beyond the least one, in shares of 1/n, if the task goes there and the plan is completed by 12 `greedy_weighted`, 13 `all_remote`, 14 `heft` |
    | `task` | (8,) float32 | the next task: 0-4 as in `node_feat`; 5 parents; 6 children; 7 share of the work that is left, its own included |
    | `preference` | (2,) float32 | weights of latency and energy |
    | `context` | (8,) float32 | 0 n / 20; 1 S; mean times 2 to upload, 3 to compute on a server, 4 to download; power to 5 send, 6 receive / power of the processor; 7 the published uplink |
    | `node_feat` | (N, 12) float32 | tasks: 0 time on the device; means over the servers of the time to 1 upload, 2 compute, 3 download; 4 upward rank / device's makespan alone; 5 place in the order / n; 6 decided; 7 on the device; before now: 8 result on the device, 9 children's uploads can begin, 10 computed on a server; 11 is next |
    | `node_mask` | (N,) int8 | 1: exists |
    | `edge_index` | (2, M) int32 | parents and children, -1 in padding |
    | `current` | (1,) int32 | the next task; 0 at the end |
    | `action_mask` | (S + 1,) int8 | 1: legal |

    ## Rewards
    A vector (latency, energy) by MO-Gymnasium's convention: what a task saves of its even share of
    the makespan, and of the energy, of the device alone, 1/n minus growth of the makespan / makespan
    of the device alone, and the same of energy. An episode sums to the relative savings of both.
    With `reward="scalar"` it is the sum weighted by the episode's preference, and
    `info["vector_reward"]` has the vector; an episode then sums to the quality of experience (QoE)
    of DRLTO.

    An illegal action changes nothing and costs (-1, -1) (`info["invalid_action"]` is True); with
    `invalid_action="raise"` it raises `InvalidActionError`.

    ## Starting State
    Nothing is decided. `reset(seed=s)` plays `make_instance(scenario, s)`; without a seed, the next
    episode of the same sequence is played, with a seed of at least 2**62, so that small seeds, kept
    for evaluation, are never met by accident. `reset(options={"preference": (0.8, 0.2)})` sets the
    preference of the episode.

    ## Episode End
    Terminated when all tasks are decided, after n steps; never truncated by itself. The last `info`
    holds `objective`, float64 (makespan in seconds, energy in joules; nan if cut off), and
    `schedule` (arrays that `validate` accepts): `order` (N,) of decisions, `place` (N,), `times`
    (N, 7) (start and end on the device, of the upload, on the server, end of the download; 0 where
    there is none), `makespan`, `energy`, `preference`, `uplink_queue`, and `decided_by`, the order.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"drlto-n15"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `uplink_queue` | `"corrected"` | or `published_code` |
    | `order` | `"rank"` | or `index` |
    | `reward` | `"vector"` | or `scalar` |
    | `preference` | (0.5, 0.5) | two weights, or `grid` (64 even ones) or `dirichlet`, drawn by the episode's seed |
    | `invalid_action` | `"penalise"` | or `raise` |
    | `render_mode` | None | `ansi` (80 columns) or `rgb_array` (graph and timelines) |

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/EdgeDagPlan-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Problem with one server: Wang, Hu, Min, Zhan, Ni and Georgalas, "Dependent task offloading for
    edge computing based on deep reinforcement learning" (DRLTO), and "Fast adaptive task
    offloading in edge computing based on meta reinforcement learning" (MRLCO, arXiv 2008.02033),
    with their code. Several servers are our extension.

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = EdgeDagPlanSimulation


class EdgeDagPlanVectorEnv(KernelVectorEnv):
    """Many plans side by side; see `EdgeDagPlanEnv`."""

    simulation_class = EdgeDagPlanSimulation
    simulation: EdgeDagPlanSimulation

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Complete the plan of every row; see `EdgeDagPlanSimulation.run_rule`."""
        return self.simulation.run_rule(rule)
