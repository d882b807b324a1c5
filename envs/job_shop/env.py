"""The Gymnasium classes of the job shop."""

from __future__ import annotations

from collections.abc import Sequence
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
from dispatchgym.envs.job_shop import kernel
from dispatchgym.envs.job_shop.generators import (
    FixedGenerator,
    Generator,
    LiteratureGenerator,
    UniformGenerator,
    generator,
)
from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.interrupts import INTERRUPT_KINDS, INTERRUPT_POLICIES, Interrupts
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.parsers import load
from dispatchgym.envs.job_shop.rules import RULES

__all__ = ["JobShopEnv", "JobShopSimulation", "JobShopVectorEnv"]

MODES = ("classic", "blocking", "interrupting")
SCHEMES = ("event", "sequence", "active")
OBSERVATIONS = ("graph", "jobs", "instance")
REWARDS = ("lb_delta", "time", "waiting", "area", "terminal")
WAITS = ("never", "if_event")
AVOIDANCE = ("none", "one_step")

OPERATION_COLUMNS = 14
JOB_COLUMNS = 5
MACHINE_COLUMNS = 8
CANDIDATE_COLUMNS = 16
RIVAL_COLUMNS = 34

_NUMBER_LIMIT = float(np.finfo(np.float32).max)
GRAPH_KEYS = (
    "operations",
    "operation_mask",
    "operation_machine",
    "operation_next",
    "jobs",
    "job_mask",
    "job_operation",
    "wait_for",
    "machines",
    "machine_mask",
    "action_mask",
)
_NO_INTERRUPTIONS = np.zeros((0, 5), np.int64)
JOBS_KEYS = ("candidates", "job_mask", "action_mask")
INSTANCE_KEYS = ("operation_duration", "operation_machine", "job_operation", *JOBS_KEYS)
KEYS = {"graph": GRAPH_KEYS, "jobs": JOBS_KEYS, "instance": INSTANCE_KEYS}


class JobShopSimulation(Simulation):
    """A batch of job shops; the arguments are described in `JobShopEnv`."""

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "ft06",
        mode: str = "classic",
        scheme: str = "event",
        interrupts: Interrupts | dict[str, Any] | None = None,
        observation: str = "graph",
        reward: str = "lb_delta",
        reward_scale: float | None = None,
        allow_wait: str = "never",
        wip_cap: int = 0,
        swap: bool = True,
        deadlock_avoidance: str = "none",
        auto_trivial: bool = True,
        step_limit: int = 0,
    ) -> None:
        check_choice("mode", mode, MODES)
        check_choice("scheme", scheme, SCHEMES)
        check_choice("observation", observation, OBSERVATIONS)
        check_choice("reward", reward, REWARDS)
        check_choice("allow_wait", allow_wait, WAITS)
        check_choice("deadlock_avoidance", deadlock_avoidance, AVOIDANCE)
        if isinstance(wip_cap, bool) or not isinstance(wip_cap, int) or wip_cap < 0:
            raise ParameterError(f"wip_cap: found {wip_cap!r}, expected a whole number >= 0")
        if reward_scale is not None and not (0 < reward_scale < _NUMBER_LIMIT):
            raise ParameterError(
                f"reward_scale: found {reward_scale!r}, expected a positive number or None"
            )
        if interrupts is None and mode == "interrupting":
            interrupts = Interrupts()
        self.interrupts = Interrupts.make(interrupts)
        self.mode = "blocking" if mode == "interrupting" else mode
        disturbed = self.interrupts.kind != "none"
        if scheme != "event" and (self.mode != "classic" or disturbed):
            raise ParameterError(
                f"scheme: {scheme!r} exists for mode 'classic' without interrupts only"
            )
        self.num_lanes = num_lanes
        self._one_block = num_lanes <= kernel.LANES_PER_BLOCK  # not worth a parallel loop
        self.rules = RULES
        self.swap = swap
        self._make_source(scenario)
        self._fill_source(self.interrupts, wip_cap, reward_scale)
        self._make_state()
        self.state.setting[:] = self._settings(
            scheme, observation, reward, allow_wait, deadlock_avoidance, auto_trivial, step_limit
        )
        self._make_spaces(observation)
        self._scratch: kernel.State | None = None

    # --- what the kernel works on ---

    def _make_source(self, scenario: Any) -> None:
        found = resolve(scenario, Instance, generator, load)
        self._generator = FixedGenerator(found) if isinstance(found, Instance) else found
        if not isinstance(self._generator, Generator):
            raise ParameterError(
                "scenario: the generator needs max_jobs, max_operations and max_machines"
            )
        self.max_jobs = self._generator.max_jobs
        self.max_operations = self._generator.max_operations
        self.max_machines = self._generator.max_machines
        self._bank = _instances_of(self._generator)
        rows = len(self._bank) or self.num_lanes
        self._kind = kernel.BANK if self._bank else kernel.PREPARED
        if isinstance(self._generator, UniformGenerator):
            self._kind = kernel.GENERATED
        shape = (rows, self.max_jobs, self.max_operations)
        self._rows = (
            np.full(shape, -1, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape[:2], np.int64),
            np.zeros(shape[:2], np.int64),
            np.zeros(rows, np.int64),
        )
        for row, instance in enumerate(self._bank):
            self._lay(instance, row)
        self._current: list[tuple[int, Instance] | None] = [None] * self.num_lanes
        self._prepared = self._current.copy()

    def _lay(self, instance: Instance, row: int) -> None:
        machine, duration, operations, release, machines = self._rows
        jobs, width = instance.machine.shape
        if (
            jobs > self.max_jobs
            or width > self.max_operations
            or (instance.num_machines > self.max_machines)
        ):
            raise ParameterError(
                f"generator: made {jobs} jobs, {width} operations and {instance.num_machines} "
                f"machines, its limits are {self.max_jobs}, {self.max_operations} and "
                f"{self.max_machines}"
            )
        machine[row], duration[row], operations[row], release[row] = -1, 0, 0, 0
        machine[row, :jobs, :width] = instance.machine
        duration[row, :jobs, :width] = instance.duration
        operations[row, :jobs] = instance.operations
        release[row, :jobs] = instance.release
        machines[row] = instance.num_machines

    def _fill_source(
        self, interrupts: Interrupts, wip_cap: int, reward_scale: float | None
    ) -> None:
        limits = np.zeros(6, np.int64)
        if isinstance(self._generator, UniformGenerator):
            limits[:2] = self._generator.jobs
            limits[2:4] = self._generator.machines
            limits[4:] = self._generator.duration
        kind = INTERRUPT_KINDS.index(interrupts.kind)
        self._source = kernel.Source(
            np.array([self._kind]),
            limits,
            *self._rows,
            np.array(interrupts.probabilities, np.float64),
            np.array(interrupts.length, np.float64),
            np.array([kind, wip_cap]),
            np.array([reward_scale or 0.0]),
        )

    def _settings(
        self,
        scheme: str,
        observation: str,
        reward: str,
        allow_wait: str,
        deadlock_avoidance: str,
        auto_trivial: bool,
        step_limit: int,
    ) -> npt.NDArray[np.int64]:
        setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
        setting[kernel.BLOCKING] = self.mode == "blocking"
        setting[kernel.SWAP] = self.swap
        setting[kernel.SEQUENCE] = SCHEMES.index(scheme)
        setting[kernel.POLICY] = INTERRUPT_POLICIES.index(self.interrupts.policy)
        setting[kernel.UNLOAD] = self.interrupts.unload_when_down
        setting[kernel.REVEAL] = self.interrupts.reveal_repair
        setting[kernel.WAIT] = allow_wait == "if_event"
        setting[kernel.AVOID] = deadlock_avoidance == "one_step" and not self.swap
        setting[kernel.TRIVIAL] = auto_trivial
        setting[kernel.REWARD] = REWARDS.index(reward)
        setting[kernel.VIEW] = OBSERVATIONS.index(observation)
        setting[kernel.STEP_LIMIT] = step_limit
        return setting

    def allocate(self, lanes: int) -> kernel.State:
        """Return lanes of the same shape and settings, to play in."""
        return self._allocate(lanes, self.state.setting)

    def _allocate(self, lanes: int, setting: npt.NDArray[np.int64]) -> kernel.State:
        jobs, width, machines = self.max_jobs, self.max_operations, self.max_machines
        return kernel.State(
            setting,
            np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
            np.zeros((lanes, kernel.NUM_REALS), np.float64),
            np.zeros((lanes, kernel.NUM_JOB_COLUMNS, jobs), np.int64),
            np.zeros((lanes, kernel.NUM_MACHINE_COLUMNS, machines), np.int64),
            np.zeros((lanes, jobs, width + 1, kernel.NUM_OPERATION_COLUMNS), np.int64),
            np.zeros((lanes, jobs + 1), np.int8),
        )

    def _make_state(self) -> None:
        lanes = self.num_lanes
        self.state = self._allocate(lanes, np.zeros(kernel.NUM_SETTINGS, np.int64))
        self.reward = np.zeros(lanes, np.float64)
        self.terminated = np.zeros(lanes, np.bool_)
        self.truncated = np.zeros(lanes, np.bool_)
        self.invalid = np.zeros(lanes, np.bool_)
        self.outcome = kernel.Outcome(
            self.reward,
            self.terminated,
            self.truncated,
            self.invalid,
            np.zeros_like(self.state.scalar),
            np.zeros_like(self.state.real),
            *(
                np.full((lanes, self.max_jobs, self.max_operations), -1, np.int64)
                for _ in kernel.Outcome._fields[6:]
            ),
        )
        self._conditions = self._describe_conditions()

    def _make_spaces(self, observation: str) -> None:
        keys = KEYS[observation]
        columns = RIVAL_COLUMNS if observation == "instance" else CANDIDATE_COLUMNS
        jobs, machines = self.max_jobs, self.max_machines
        nodes = jobs * self.max_operations
        boxes = {
            "operations": _numbers((nodes, OPERATION_COLUMNS)),
            "operation_mask": spaces.Box(0, 1, (nodes,), np.int8),
            "operation_machine": spaces.Box(-1, max(machines - 1, 0), (nodes,), np.int32),
            "operation_next": spaces.Box(-1, nodes - 1, (nodes,), np.int32),
            "jobs": _numbers((jobs, JOB_COLUMNS)),
            "job_mask": spaces.Box(0, 1, (jobs,), np.int8),
            "job_operation": spaces.Box(-1, nodes - 1, (jobs,), np.int32),
            "wait_for": spaces.Box(-1, jobs - 1, (jobs,), np.int32),
            "machines": _numbers((machines, MACHINE_COLUMNS)),
            "machine_mask": spaces.Box(0, 1, (machines,), np.int8),
            "operation_duration": _numbers((nodes,)),
            "candidates": _numbers((jobs, columns)),
            "action_mask": spaces.Box(0, 1, (jobs + 1,), np.int8),
        }
        self.observation_space = spaces.Dict({key: boxes[key] for key in keys})
        self.action_space = spaces.Discrete(jobs + 1)
        self._observation, self._final = (
            kernel.Observation(
                **{
                    name: np.zeros((self.num_lanes if name in keys else 0, *box.shape), box.dtype)
                    for name, box in boxes.items()
                }
            )
            for _ in range(2)
        )
        self.observations = {key: getattr(self._observation, key) for key in keys}
        self.final_observations = {key: getattr(self._final, key) for key in keys}

    # --- episodes ---

    def restart(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Begin new episodes in the chosen lanes; see `Simulation.restart`."""
        if self._kind == kernel.PREPARED:
            self._prepare(chosen, seeds)
        arguments = (self.state, self._source, self._observation, seeds, chosen)
        if self._one_block:
            kernel.reset_block(*arguments, 0)
        else:
            kernel.reset_batch(*arguments)
        if self._kind == kernel.PREPARED:
            self._take_prepared(chosen)

    def step(
        self, actions: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], autoreset: bool
    ) -> None:
        """Apply actions; see `Simulation.step`."""
        arguments = (
            self.state,
            self._source,
            self._observation,
            self._final,
            self.outcome,
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
        for lane in np.flatnonzero(chosen & (seeds >= 0)).tolist():
            self._lay_ready(lane, int(seeds[lane]))

    def _take_prepared(self, begun: npt.NDArray[np.bool_]) -> None:
        """Note which instances are now being played and lay the following ones ready."""
        for lane in np.flatnonzero(begun).tolist():
            self._current[lane] = self._prepared[lane]
            scalar = self.state.scalar[lane]
            seed = kernel.derive(np.uint64(scalar[kernel.BASE_SEED]), scalar[kernel.EPISODE] + 1)
            self._lay_ready(lane, int(seed))

    def _lay_ready(self, lane: int, seed: int) -> None:
        instance = self._generator.generate(seed)
        self._lay(instance, lane)
        self._prepared[lane] = seed, instance

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        scalar = self.state.scalar[lane]
        seed = int(scalar[kernel.SEED])
        if self._kind != kernel.PREPARED:
            return self._generator.generate(seed)
        if scalar[kernel.JOBS] == 0:
            raise ParameterError("instance: no episode has begun, call reset() first")
        current = self._current[lane]
        if current is None or current[0] != seed:  # the lane was copied or set to a snapshot
            current = self._current[lane] = seed, self._generator.generate(seed)
        return current[1]

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        kernel.observe_batch(self.state, self._observation)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        prepared = self._rows if self._kind == kernel.PREPARED else ()
        return (*self.state[1:], *self.outcome, *prepared)

    # --- rules and searches inside the kernel ---

    def rule_actions(self, rule: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each lane; -1 where the episode has ended."""
        number = self.check_rule(rule)
        actions = np.empty(self.num_lanes, np.int64)
        if self._one_block:
            kernel.rule_action_block(self.state, number, actions, 0)
        else:
            kernel.rule_action_batch(self.state, number, actions)
        return actions

    def run_rule(self, rule: str, temperature: float = 0.0) -> dict[str, Any]:
        """Play every lane from where it is to the end under a rule, in one compiled call.

        With a positive temperature, Gumbel noise of that size, in units of the range of the
        candidates' values, randomises the rule; each lane draws its own. No observation or
        reward is written: restart the lanes afterwards.

        Returns:
            The same as `final_infos`.
        """
        number = self.check_rule(rule)
        samples = np.arange(self.num_lanes)
        kernel.run_rule_batch(self.state, self.outcome, number, float(temperature), samples)
        return self.results()

    def results(self) -> dict[str, Any]:
        """Return the final infos of all lanes, whose episodes are over, as copies."""
        return copy_nested(self.final_infos(np.ones(self.num_lanes, np.bool_)))

    @property
    def may_wait(self) -> bool:
        """Whether waiting can be legal."""
        return bool(self.state.setting[kernel.WAIT])

    def rollout_values(
        self, bases: Sequence[tuple[str, int]] = (("blkrel", 0),)
    ) -> npt.NDArray[np.float64]:
        """Return the makespan that each action reaches when a rule plays on after it.

        Bertsekas, Tsitsiklis and Wu, "Rollout algorithms for combinatorial optimization",
        Journal of Heuristics 3 (1997). Shutdowns and repairs that lie in the future are
        replaced by their expectation, so that the search does not see what it cannot know.

        Args:
            bases: base policies (rule, largest number of jobs in the shop or 0); the best
                counts.

        Returns:
            float64 (B, n + 1); nan for illegal actions, inf where no base policy finishes.
        """
        if not bases:
            raise ParameterError("bases: found none, expected at least one (rule, cap)")
        rules = np.array([self.check_rule(rule) for rule, _ in bases])
        caps = np.array([int(cap) for _, cap in bases])
        values = np.empty((self.num_lanes, self.max_jobs + 1))
        if self._scratch is None:
            self._scratch = self.allocate(2 * self.num_lanes)
        if self.num_lanes == 1:
            kernel.rollout_lane(self.state, self._scratch, rules, caps, values, 0)
        else:
            kernel.rollout_batch(self.state, self._scratch, rules, caps, values)
        return values

    # --- results ---

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane, cut to its instance."""
        ended = np.arange(self.num_lanes) == lane
        infos = self.final_infos(ended)
        schedule = infos.pop("schedule")
        info = {key: value[lane].item() for key, value in infos.items()}
        return {**info, "schedule": self._cut(schedule, lane)}

    def schedule(self, lane: int) -> dict[str, npt.NDArray[Any]]:
        """Return the schedule of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        outcome = kernel.Outcome(*(array.copy() for array in self.outcome))
        kernel.write_log(self.state, outcome, lane)
        return self._cut(self._schedules(np.arange(self.num_lanes) == lane, outcome), lane)

    def _cut(
        self, schedules: dict[str, npt.NDArray[Any]], lane: int
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the schedule of one lane without the padding."""
        instance = self.instance(lane)
        jobs, width = instance.machine.shape
        times = ("start", "processing_end", "end")
        return {
            key: value[lane, :jobs, :width].copy() if key in times else np.array(value[lane])
            for key, value in schedules.items()
        }

    def final_infos(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        scalar = self.outcome.scalar
        status = scalar[:, kernel.STATUS]
        return {
            "objective": np.where(status == kernel.FINISHED, scalar[:, kernel.MAKESPAN], np.nan),
            "swaps": scalar[:, kernel.SWAPS],
            "longest_cycle": scalar[:, kernel.LONGEST_CYCLE],
            "deadlock": status == kernel.DEADLOCK,
            "schedule": self._schedules(ended, self.outcome),
        }

    def _describe_conditions(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a validator has to know about the mode, the same for all lanes."""
        lanes, interrupts = self.num_lanes, self.interrupts
        conditions = {
            "mode": np.full(lanes, self.mode),
            "swap": np.full(lanes, self.swap),
            "interrupt_kind": np.full(lanes, interrupts.kind),
            "interrupt_policy": np.full(lanes, interrupts.policy),
            "interrupt_length": np.tile(np.array(interrupts.length, float), (lanes, 1)),
            "unload_when_down": np.full(lanes, interrupts.unload_when_down),
        }
        for array in conditions.values():
            array.setflags(write=False)
        return conditions

    def _schedules(
        self, ended: npt.NDArray[np.bool_], outcome: kernel.Outcome
    ) -> dict[str, npt.NDArray[Any]]:
        return {
            "start": outcome.start,
            "processing_end": outcome.processing_end,
            "end": outcome.end,
            "makespan": outcome.scalar[:, kernel.MAKESPAN],
            "interruptions": self._interruptions(np.flatnonzero(ended), outcome),
            "interrupt_probability": outcome.real[:, kernel.PROBABILITY],
            "interrupt_seed": outcome.scalar[:, kernel.SEED].view(np.uint64),
            **self._conditions,
        }

    def _interruptions(
        self, lanes: npt.NDArray[np.intp], outcome: kernel.Outcome
    ) -> npt.NDArray[Any]:
        """Return, for each of these lanes, its shutdowns before the end, None elsewhere.

        An object array of int64 (L, 5): machine, begin, end, job, operation.
        """
        found = np.full(self.num_lanes, None, dtype=object)
        if self.interrupts.kind == "per_operation":
            tables = _struck(outcome, lanes)
        elif self.interrupts.kind == "calendar":
            tables = [self._calendar(int(lane), outcome) for lane in lanes]
        else:
            tables = [_NO_INTERRUPTIONS] * len(lanes)
        for lane, table in zip(lanes, tables, strict=True):
            found[lane] = table
        return found

    def _calendar(self, lane: int, outcome: kernel.Outcome) -> npt.NDArray[np.int64]:
        scalar = outcome.scalar[lane]
        seed = np.uint64(scalar[kernel.SEED])
        probability = outcome.real[lane, kernel.PROBABILITY]
        low, high = scalar[kernel.DOWN_LOW], scalar[kernel.DOWN_HIGH]
        found = []
        for m in range(scalar[kernel.MACHINES]):
            clock, interval = 0, 0
            while True:
                clock += int(kernel.calendar_up_time(seed, m, interval, probability))
                if clock >= scalar[kernel.MAKESPAN]:
                    break
                stream = kernel.CALENDAR_LENGTH
                until = clock + int(kernel.down_length(seed, stream, m, interval, low, high))
                begin = self._shutdown_begin(lane, outcome, m, clock)
                if begin < until and begin < scalar[kernel.MAKESPAN]:
                    found.append((m, begin, until, -1, -1))
                clock = until
                interval += 1
        return np.array(found, np.int64).reshape(-1, 5)

    def _shutdown_begin(self, lane: int, outcome: kernel.Outcome, m: int, planned: int) -> int:
        """Return when a planned shutdown of machine m begins: an operation may finish first."""
        if self.interrupts.policy != "finish_first":
            return planned
        start, end = outcome.start[lane], outcome.processing_end[lane]
        running = (outcome.machine[lane] == m) & (start >= 0) & (start < planned) & (end > planned)
        return int(end[running].max(initial=planned))

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        if action == self.max_jobs:
            return "wait"
        return f"start the next operation of job {action}" if action < self.max_jobs else "none"

    def render(self, lane: int, mode: str) -> Any:
        """Return the schedule so far as text or as a Gantt chart."""
        from dispatchgym.envs.job_shop import render

        time = int(self.state.scalar[lane, kernel.TIME])
        draw = render.ansi if mode == "ansi" else render.frame
        return draw(self.instance(lane), self.schedule(lane), time=time)


def _instances_of(generator: Generator) -> tuple[Instance, ...]:
    """Return all instances of a generator that has a few; none of one that makes them anew."""
    if isinstance(generator, FixedGenerator):
        return (generator.instance,)
    if isinstance(generator, LiteratureGenerator):
        return tuple(literature(name) for name in generator.members)
    return ()


def _struck(outcome: kernel.Outcome, lanes: npt.NDArray[np.intp]) -> list[npt.NDArray[np.int64]]:
    """Return the shutdowns that hit operations of these lanes before the end, one table each."""
    begin = outcome.down_begin[lanes]
    before_end = begin < outcome.scalar[lanes, kernel.MAKESPAN][:, None, None]
    row, job, operation = np.nonzero((begin >= 0) & before_end)
    where = (lanes[row], job, operation)
    columns = (outcome.machine[where], outcome.down_begin[where], outcome.down_end[where])
    table = np.stack((*columns, job, operation), axis=1)
    return np.split(table, np.cumsum(np.bincount(row, minlength=len(lanes)))[:-1])


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


class JobShopEnv(KernelEnv):
    """A job shop in which the agent decides which job starts next.

    ## Description
    Jobs are ordered lists of operations; each operation needs one machine for a whole number of
    time units, and a machine works on one operation at a time. The makespan, the time at which
    the last job is done, is to be small.

    | mode | between operations | a machine is free again when |
    | --- | --- | --- |
    | `classic` | the job waits in a buffer without limit | processing ends |
    | `blocking` | the job stays on its machine until it enters the next | the job moves on |
    | `interrupting` | as `blocking`, and machines shut down | the job moves on |

    In blocking shops, a cycle of jobs each waiting for the machine of the next moves at one
    instant (a swap); the environment does this by itself, since nothing else can ever happen
    there. With `swap=False` such a cycle is a deadlock.

    At one instant, in this order: completions, repairs, shutdowns, rotation of cycles, decisions.
    Shutdowns are pure functions of the episode's seed (and of operation, or machine and interval
    number), so that every policy meets the same ones; see `Interrupts`.

    ## Action Space
    `Discrete(n + 1)` with n the largest number of jobs of the scenario: start the next operation
    of job a, now. Action n waits for the next event (a completion, repair, shutdown or release)
    and is legal only with `allow_wait="if_event"` and while something will complete, be repaired
    or be released. Two other schemes (classic only) append operations behind those placed on
    their machine, without a clock. In `sequence`, any unfinished job is legal at every step, and
    an episode has exactly as many steps as there are operations. In `active`, legal are the jobs
    that conflict with the operation that could end first of all (Giffler and Thompson, Operations
    Research 8, 1960): a machine may be kept free for a job that comes soon, and the schedules that
    can be built are exactly the active ones, an optimal one among them.

    Legal actions are in `observation["action_mask"]`, `info["action_mask"]` (int8) and
    `action_masks()` (bool).

    ## Observation Space
    A flat `Dict` of arrays of fixed shape, padded with zeros to the largest instance of the
    scenario: n jobs, K operations a job, N = n K, m machines. "Mean" is the mean duration of the
    instance. Times are relative to now.

    With `observation="graph"`; operation k of job j is row i = j K + k:

    | key | shape and type | content |
    | --- | --- | --- |
    | `operations` | (N, 14) float32 | 0 duration / mean; 1 time left if running / mean; one of: 2 not ready, 3 ready, 4 processing, 5 finished but on its machine, 6 over; 7 part of the job's work before it; 8 work of the job from it on / mean job; 9 part of the job's operations from it on; 10 waiting time since ready / mean, at most 5; 11 its machine is down; 12 earliest start / mean; 13 legal now |
    | `operation_mask` | (N,) int8 | 1: exists and is not over |
    | `operation_machine` | (N,) int32 | edge to its machine; -1 while that is down, when over, or padding |
    | `operation_next` | (N,) int32 | edge to the next operation of the job, -1 for the last |
    | `jobs` | (n, 5) float32 | 0 in the shop; 1 finished and holding a machine; 2 time until ready / mean, negative while waiting, at least -5; 3 work left / mean job; 4 legal now |
    | `job_mask` | (n,) int8 | 1: exists and is not done |
    | `job_operation` | (n,) int32 | edge to the operation it is on or waits for, -1 when done |
    | `wait_for` | (n,) int32 | edge to the job that holds the machine this blocked job needs, or -1 |
    | `machines` | (m, 8) float32 | 0 empty; 1 holds a finished job; 2 down; 3 time down so far / mean (with `reveal_repair`: time left); 4 time to completion / mean; 5 waiting jobs / n; 6 work waiting / mean; 7 part of its load not started |
    | `machine_mask` | (m,) int8 | 1: exists |
    | `action_mask` | (n + 1,) int8 | 1: legal |

    With `observation="jobs"`: `job_mask` and `action_mask` as above and

    | key | shape and type | content |
    | --- | --- | --- |
    | `candidates` | (n, 16) float32 | 0 duration / mean; 1 work left / mean job; 2 part of operations left; 3 waiting time / (5 mean), at most 1; 4 holds a machine; 5 jobs waiting for that / m; 6 outside; 7 jobs in the shop / m if outside; 8 jobs waiting for its next machine / m; 9 load left on that, relative to the mean load; of the machine after that: 10 empty, 11 waiting jobs / m, 12 duration there / mean, 13 time to completion / mean, at most 3, 14 holds a finished job; 15 last operation |

    With `observation="instance"`, for networks that look at the instance once: `job_operation`,
    `job_mask` and `action_mask` as above, and

    | key | shape and type | content |
    | --- | --- | --- |
    | `operation_duration` | (N,) float32 | duration / mean; the same during the episode |
    | `operation_machine` | (N,) int32 | its machine, -1 for padding; the same during the episode |
    | `candidates` | (n, 34) float32 | of jobs that may start, else 0: 0 to 15 as above; lower bound on the time to the end, minus: 16 its work, 17 its machine's load, 18 the load of the machine after that; 19 its work minus the largest of its rivals on the machine; 20 its duration minus their shortest; 21 time until another job arrives at the machine / mean, at most 3, 22 that job's work minus its own; of the machine after: 23 work there / (3 mean), at most 3, 24 time until a job arrives, at most 3; 25 the lower bound; 26 how far it is above the first one; blocking: 27 jobs blocked behind it / m, 28 jobs in its way after the move / m, 29 time until the first of them may move / mean, at most 5, 30 the move closes a cycle; 31 the machine after is down; 32 time until it can start / mean, at most 5; 33 time for which the machine after is busy when it comes / mean, -3 to 3 (times without unit: in mean jobs) |

    ## Rewards
    Divided by `reward_scale`; None takes the trivial lower bound LB of the instance, the largest
    job or machine load (`area`: always the longest duration). Undiscounted, they sum to:

    | reward | given at each step | sum |
    | --- | --- | --- |
    | `lb_delta` | minus the growth of the lower bound on the makespan | LB - makespan |
    | `time` | minus the time that passed | - makespan |
    | `terminal` | 0, at the end minus the makespan | - makespan |
    | `waiting` | minus the waiting jobs, over the time that passed | - total waiting time |
    | `area` | work started minus idle time of machines with work left | total work - idle time |

    An illegal action changes nothing and costs -1 (`info["invalid_action"]` is True); with
    `invalid_action="raise"` it raises `InvalidActionError`. A deadlock costs the total work.

    ## Starting State
    No job has started. `reset(seed=s)` plays `make_instance(scenario, s)` with the shutdowns of
    seed s. Without a seed, the next episode of the same sequence is played; its seed is at least
    2**62, so that small seeds, kept for evaluation, are never met by accident.

    ## Episode End
    Terminated when all jobs are done, or by a deadlock. Truncated after 4 waits per operation, or
    when the clock passes 1000 times the total work. The last `info` holds `objective` (the
    makespan; nan if not all jobs are done), `schedule` (arrays that `validate` accepts), `swaps`,
    `longest_cycle` and `deadlock`.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"ft06"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `mode` | `"classic"` | `classic`, `blocking` or `interrupting` |
    | `scheme` | `"event"` | `event`, `sequence` or `active` |
    | `interrupts` | None | `Interrupts` or its fields as a dict; None: shutdowns in mode `interrupting` only, with the defaults of `Interrupts` |
    | `observation` | `"graph"` | `graph`, `jobs` or `instance` |
    | `reward`, `reward_scale` | `"lb_delta"`, None | see above |
    | `allow_wait` | `"never"` | `never` or `if_event` |
    | `wip_cap` | 0 | no job enters while this many are in the shop; 0: no limit |
    | `swap` | True | cycles of blocked jobs may move at once |
    | `deadlock_avoidance` | `"none"` | `one_step` masks moves that close a cycle (`swap=False`) |
    | `auto_trivial` | True | a decision with one legal action is not asked (not in `sequence`) |
    | `invalid_action` | `"penalise"` | or `raise` |
    | `render_mode` | None | `ansi` (80 columns) or `rgb_array` (a Gantt chart so far) |

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/JobShop-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Problem with swaps and shutdowns: Wong et al., "Generating dispatching rules for the
    interrupting swap-allowed blocking job shop problem using graph neural network and
    reinforcement learning", arXiv 2302.02506. Lower-bound reward: Zhang et al., "Learning to
    dispatch for job shop scheduling via deep reinforcement learning", NeurIPS 2020. Blocking with
    swap: Mascis and Pacciarelli, EJOR 143 (2002).

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = JobShopSimulation
    simulation: JobShopSimulation


class JobShopVectorEnv(KernelVectorEnv):
    """Many job shops that step together; see `JobShopEnv` for everything about one of them."""

    simulation_class = JobShopSimulation
    simulation: JobShopSimulation

    def run_rule(self, rule: str, temperature: float = 0.0) -> dict[str, Any]:
        """Play every row to its end under a rule; see `JobShopSimulation.run_rule`."""
        return self.simulation.run_rule(rule, temperature)

    def rollout_values(
        self, bases: Sequence[tuple[str, int]] = (("blkrel", 0),)
    ) -> npt.NDArray[np.float64]:
        """Return what each action leads to; see `JobShopSimulation.rollout_values`."""
        return self.simulation.rollout_values(bases)
