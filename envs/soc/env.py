"""The Gymnasium classes of the system on chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.kernel_env import KernelEnv
from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.core.scenario import resolve
from dispatchgym.envs.core.simulation import Simulation, check_choice, copy_nested
from dispatchgym.envs.core.vector_env import KernelVectorEnv
from dispatchgym.envs.soc import kernel, lanes, layout, observation, outlook
from dispatchgym.envs.soc.generators import FixedGenerator, Generator, generator
from dispatchgym.envs.soc.instance import Instance
from dispatchgym.envs.soc.parsers import load
from dispatchgym.envs.soc.power import energy, has_power
from dispatchgym.envs.soc.rules import RULES

__all__ = ["MODES", "OBSERVATION_KEYS", "REWARDS", "SoCEnv", "SoCSimulation", "SoCVectorEnv"]

MODES = ("commit_ready", "order_only", "map_only", "late_binding")
REWARDS = ("latency", "compbonus", "energy", "edp")
_METERED = ("energy", "edp")
"""Rewards for which a meter runs along with the episode."""

OBSERVATION_KEYS = observation.Observation._fields
"""Keys of the observation."""

_NUMBER_LIMIT = float(np.finfo(np.float32).max)


class SoCSimulation(Simulation):
    """A batch of episodes on a system on chip; the arguments are described in `SoCEnv`.

    Attributes:
        state, tables: the arrays of the kernel, for searches beside the environment.
        elapsed: int64 (B,), microseconds that passed in the last step.
    """

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "top3-p5",
        mode: str = "commit_ready",
        reward: str = "latency",
        step_limit: int = 0,
    ) -> None:
        check_choice("mode", mode, MODES)
        check_choice("reward", reward, REWARDS)
        self.num_lanes = num_lanes
        self.mode = mode
        self.rules = RULES
        self._metered = reward in _METERED
        self._one_block = num_lanes <= lanes.LANES_PER_BLOCK  # not worth a parallel loop
        self._make_source(scenario)
        self.state = self.allocate(num_lanes, log=True)
        self.state.setting[kernel.REWARD] = REWARDS.index(reward)
        self.state.setting[kernel.STEP_LIMIT] = step_limit
        self.state.setting[kernel.METERED] = self._metered
        self._make_outcome()
        self._make_spaces()

    # --- what the kernel works on ---

    def _make_source(self, scenario: Any) -> None:
        found = resolve(scenario, Instance, generator, load)
        self._generator = FixedGenerator(found) if isinstance(found, Instance) else found
        if not isinstance(self._generator, Generator):
            raise ParameterError("scenario: the generator needs an attribute limits")
        self.limits = self._generator.limits
        self._fixed = isinstance(self._generator, FixedGenerator)
        example = self._generator.generate(0)
        self._given = layout.given_jobs(example)
        self.tables = layout.empty_tables(
            self.limits, 1 if self._fixed else 2 * self.num_lanes, self._given
        )
        self._tells_energy = not self._fixed or _has_energy(example)
        if self._fixed:
            self._lay(example, 0)

    def allocate(self, num_lanes: int, *, log: bool = False) -> kernel.State:
        """Return the state of more lanes of this size, for searches inside the kernel.

        Args:
            num_lanes: number of lanes.
            log: whether tasks and jobs are logged.
        """
        return layout.empty_state(self.limits, num_lanes, MODES.index(self.mode), log)

    def _make_outcome(self) -> None:
        count = self.num_lanes
        self.reward = np.zeros(count, np.float64)
        self.terminated = np.zeros(count, np.bool_)
        self.truncated = np.zeros(count, np.bool_)
        self.invalid = np.zeros(count, np.bool_)
        self.elapsed = np.zeros(count, np.int64)
        self._outcome = lanes.Outcome(
            self.reward,
            self.terminated,
            self.truncated,
            self.invalid,
            self.elapsed,
            np.zeros_like(self.state.scalar),
            np.zeros_like(self.state.pe),
            np.zeros_like(self.state.task_log),
            np.zeros_like(self.state.job_log),
            np.zeros_like(self.state.frequency_log),
        )

    def _make_spaces(self) -> None:
        jobs, pes = self.limits.capacity, self.limits.pes
        tasks, edges = jobs * self.limits.tasks, jobs * self.limits.edges
        actions = {
            "commit_ready": tasks * pes,
            "order_only": tasks,
            "map_only": pes,
            "late_binding": tasks * pes + 1,
        }[self.mode]
        boxes: dict[str, spaces.Space[Any]] = {
            "task_x": _numbers((tasks, observation.NUM_TASK_FEATURES)),
            "task_mask": _flags(tasks),
            "task_pe": _numbers((tasks, pes, observation.NUM_PAIR_FEATURES)),
            "outlook": _numbers((tasks, pes, outlook.NUM_OUTLOOK_COLUMNS)),
            "task_on": spaces.Box(-1, pes - 1, (tasks,), np.int32),
            "task_depth": spaces.Box(0, self.limits.tasks, (tasks,), np.int32),
            "job_x": _numbers((jobs, observation.NUM_JOB_FEATURES)),
            "job_mask": _flags(jobs),
            "pe_x": _numbers((pes, observation.NUM_PE_FEATURES)),
            "pe_mask": _flags(pes),
            "pe_pe": _numbers((pes, pes)),
            "pe_cluster": spaces.Box(0, pes, (pes,), np.int32),
            "pe_speed": spaces.Box(0.0, 1.0, (pes,), np.float32),
            "edges": spaces.Box(0, tasks - 1, (edges, 2), np.int32),
            "edge_x": _numbers((edges, 1)),
            "edge_mask": _flags(edges),
            "global_x": _numbers((observation.NUM_GLOBAL_FEATURES,)),
            "first_ready": spaces.Box(0, tasks - 1, (1,), np.int32),
            "action_mask": _flags(actions),
        }
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Discrete(actions)
        self._observation, self._final = (
            observation.Observation(
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
        if not self._fixed:
            for lane in np.flatnonzero(chosen & (seeds >= 0)):
                self._lay_ready(int(lane), int(seeds[lane]))
        arguments = (self.state, self.tables, self._observation, seeds, chosen)
        if self._one_block:
            lanes.reset_block(*arguments, 0)
        else:
            lanes.reset_batch(*arguments)
        self._lay_following(chosen)

    def step(
        self, actions: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], autoreset: bool
    ) -> None:
        """Apply actions; see `Simulation.step`."""
        arguments = (
            self.state,
            self.tables,
            self._observation,
            self._final,
            self._outcome,
            actions,
            autoreset,
            chosen,
        )
        if self._one_block:
            lanes.step_block(*arguments, 0)
        else:
            lanes.step_batch(*arguments)
        if autoreset:
            self._lay_following(self.terminated | self.truncated)

    def _lay_following(self, begun: npt.NDArray[np.bool_]) -> None:
        """Lay ready the instances that follow those that are now being played."""
        if self._fixed:
            return
        for lane in np.flatnonzero(begun):
            scalar = self.state.scalar[lane]
            seed = derive(np.uint64(scalar[kernel.BASE_SEED]), scalar[kernel.EPISODE] + 1)
            self._lay_ready(int(lane), int(seed))

    def _lay_ready(self, lane: int, seed: int) -> None:
        """Write an instance into that row of the lane which is not being played."""
        instance = self._generator.generate(seed)
        if not layout.fits(instance, self.limits, self._given):
            raise ParameterError(f"generator: made {instance.limits}, its limits are {self.limits}")
        row = 2 * lane + 1 - int(self.state.scalar[lane, kernel.ROW]) % 2
        layout.clear_row(self.tables, row)
        self._lay(instance, row)

    def _lay(self, instance: Instance, row: int) -> None:
        """Write an instance into a row of the tables."""
        if self._metered and instance.workload.strict_ds3:
            raise ParameterError(
                "reward: energy of an instance with strict_ds3 is known of whole schedules only, "
                "expected latency or compbonus"
            )
        layout.lay(instance, self.tables, row, metered=self._metered)

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        return self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        if self._one_block:
            lanes.observe_block(self.state, self.tables, self._observation, 0)
        else:
            lanes.observe_batch(self.state, self.tables, self._observation)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        arrays = (*self.state[1:], *self._outcome)
        if self._fixed:
            return arrays
        pairs = (array.reshape(self.num_lanes, 2, *array.shape[1:]) for array in self.tables)
        return (*arrays, *pairs)

    def copy_lane(self, source: int, target: int) -> None:
        """Make lane `target` a copy of lane `source`, future randomness included."""
        super().copy_lane(source, target)
        if not self._fixed:
            self.state.scalar[target, kernel.ROW] += 2 * (target - source)

    # --- rules inside the kernel ---

    def rule_actions(self, rule: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each lane; -1 where the episode is over."""
        number = self.check_rule(rule)
        actions = np.empty(self.num_lanes, np.int64)
        if self._one_block:
            lanes.rule_action_block(self.state, self.tables, number, actions, 0)
        else:
            lanes.rule_action_batch(self.state, self.tables, number, actions)
        return actions

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Play every lane from where it is to the end under a rule, in one compiled call.

        The rule chooses task and PE whatever the mode. No observation or reward is written:
        restart the lanes afterwards.

        Returns:
            The same as `final_infos`, but for the energy, which takes time to work out.
        """
        arguments = (self.state, self.tables, self._outcome, self.check_rule(rule))
        if self._one_block:
            lanes.run_rule_block(*arguments, 0)
        else:
            lanes.run_rule_batch(*arguments)
        return copy_nested(self._results(np.ones(self.num_lanes, np.bool_)))

    # --- results ---

    def step_infos(self) -> dict[str, npt.NDArray[Any]]:
        """Return the microseconds that passed in the last step, by which rewards discount."""
        return {"elapsed": self.elapsed}

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane."""
        infos = self.final_infos(np.arange(self.num_lanes) == lane)
        schedule = {key: np.array(value[lane]) for key, value in infos.pop("schedule").items()}
        return {**{key: value[lane].item() for key, value in infos.items()}, "schedule": schedule}

    def schedule(self, lane: int) -> dict[str, npt.NDArray[Any]]:
        """Return the schedule of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        schedules = self._schedules(np.arange(self.num_lanes) == lane, self.state)
        return {key: np.array(value[lane]) for key, value in schedules.items()}

    def final_infos(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        results = self._results(ended)
        return results | self._energies(ended, results) if self._tells_energy else results

    def _energies(
        self, ended: npt.NDArray[np.bool_], results: dict[str, Any]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Return what lanes that ended have drawn; nan where power is not known."""
        joules, product, hottest = np.full((3, self.num_lanes), np.nan)
        for lane in np.flatnonzero(ended):
            schedule = {key: value[lane] for key, value in results["schedule"].items()}
            instance = self._generator.generate(int(schedule["seed"]))
            if _has_energy(instance):
                report = energy(instance, schedule)
                joules[lane], product[lane], hottest[lane] = (
                    report.joules, report.edp, report.hottest,
                )  # fmt: skip
        return {
            "energy": joules * kernel.MILLIJOULES,
            "edp": product * kernel.MILLIJOULES * kernel.MICROSECONDS_IN_MS,
            "hottest": hottest,
        }

    def _results(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended, but for the energy."""
        scalar = self._outcome.scalar
        completed = scalar[:, kernel.COMPLETED]
        counts = (scalar[:, kernel.STATUS] == kernel.FINISHED) & (completed > 0)
        latency = scalar[:, kernel.LATENCY_SUM] / np.maximum(completed, 1)
        return {
            "objective": np.where(counts, latency, np.nan),
            "completed": completed,
            "injected": scalar[:, kernel.HEADS],
            "decisions": scalar[:, kernel.DECISIONS],
            "schedule": self._schedules(ended, self._outcome),
        }

    def _schedules(
        self, chosen: npt.NDArray[np.bool_], result: kernel.State | lanes.Outcome
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the schedules of all lanes; the rows of those that are not chosen are None."""
        scalar = result.scalar
        tasks, jobs, changes = (np.full(self.num_lanes, None, dtype=object) for _ in range(3))
        for lane in np.flatnonzero(chosen):
            tasks[lane] = result.task_log[lane, : scalar[lane, kernel.STARTED]].copy()
            jobs[lane] = result.job_log[lane, : scalar[lane, kernel.INJECTED]].copy()
            changed = scalar[lane, kernel.CHANGES]
            changes[lane] = result.frequency_log[lane, :changed].copy()
        return {
            "tasks": tasks,
            "jobs": jobs,
            "frequencies": changes,
            "seed": scalar[:, kernel.SEED],
            "planned": scalar[:, kernel.PLANNED] == 1,
            "mode": np.full(self.num_lanes, self.mode),
            "latency_sum": scalar[:, kernel.LATENCY_SUM],
            "completed": scalar[:, kernel.COMPLETED],
            "injected": scalar[:, kernel.HEADS],
            "end_time": scalar[:, kernel.NOW],
            "busy": result.pe[:, kernel.BUSY],
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        pes = self.limits.pes
        if self.mode == "map_only":
            return f"first ready task to PE {action}"
        if self.mode == "order_only":
            return f"task {self._describe_task(action)}"
        if self.mode == "late_binding" and action == self.limits.capacity * self.limits.tasks * pes:
            return "wait"
        return f"task {self._describe_task(action // pes)} to PE {action % pes}"

    def _describe_task(self, place: int) -> str:
        return f"{place % self.limits.tasks} of job place {place // self.limits.tasks}"

    def render(self, lane: int, mode: str) -> Any:
        """Return the schedule so far as text or as a picture."""
        from dispatchgym.envs.soc import render

        time = int(self.state.scalar[lane, kernel.NOW])
        draw = render.ansi if mode == "ansi" else render.frame
        return draw(self.instance(lane), self.schedule(lane), time=time)


def _has_energy(instance: Instance) -> bool:
    """Tell whether the energy of an episode is known without reading it as DS3 does, for long."""
    return has_power(instance.platform) and not instance.workload.strict_ds3


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    assert space.shape is not None
    return space.shape


def _flags(size: int) -> spaces.Box:
    return spaces.Box(0, 1, (size,), np.int8)


class SoCEnv(KernelEnv):
    """Jobs of dependent tasks stream onto the processing elements of a system on chip.

    ## Description
    A job is a graph of T tasks; a platform has P processing elements (PEs), each of which runs one
    task at a time, without preemption, and supports some of them. Jobs arrive at random, at most
    J are in the system. All times are whole microseconds; the objective is the mean latency, from
    a job's arrival to the finish of its last task.

    A task is ready when its predecessors have finished. It is then given a PE, and data of volume
    v come from PE q to PE p in `int(v / bandwidth[q, p])`, counted from the predecessor's finish;
    transfers need no resource. A task starts as soon as its data are there and its PE is idle, in
    the order in which tasks were given PEs (or by job, where the instance says so); a task whose
    data are there overtakes one that still waits for them.

    What happens at one time: tasks finish, in order of finish, then start; jobs arrive, and their
    first tasks stand before those that these finishes made ready; all ready tasks are given PEs,
    one by one, while time stands still; tasks start. Arrivals, kinds of jobs and the noise of
    durations are pure functions of the episode's seed and of the number of the look, job or task,
    so that every policy meets the same ones.

    Times hold at the frequency of the PE's cluster. With the governor `ondemand` it changes while
    tasks run: clusters begin at the highest frequency, and every `sampling_period` microseconds
    one that has worked for more than 0.8 core periods since the last look goes there again, one
    below 0.3 goes one operating point down. Nominal times, on which rules and estimates rest, are
    those at the highest frequency; what is left of running tasks is told as it is at the present
    one. A task of w microseconds is w times the highest MHz of work, of which each microsecond
    takes off the present MHz, exactly; it ends with the first whole microsecond in which nothing
    is left.

    With `strict_ds3` an instance repeats quirks of the public simulators: tasks that end within a
    microsecond of a look are noticed one later, a job that arrives right behind another is seen
    one later, and the rules err as published. The recorded traces of both simulators come out
    task by task, see `dispatchgym.envs.soc.replay`.

    ## Action Space
    S = J T places hold the tasks: task t of the job in place j is in place j T + t.

    | mode | actions | meaning of a |
    | --- | --- | --- |
    | `commit_ready` | S P | the ready task in place a // P goes to PE a % P |
    | `order_only` | S | the ready task in place a goes to the PE where it can finish first |
    | `map_only` | P | the first ready task goes to PE a |
    | `late_binding` | S P + 1 | as `commit_ready`; the last action waits until a task finishes or a job arrives. Transfers then start when the task is given a PE, not before |

    Legal actions are in `observation["action_mask"]`, `info["action_mask"]` (int8) and
    `action_masks()` (bool).

    ## Observation Space
    A flat `Dict` of arrays of fixed shape, padded with zeros to the largest instance of the
    scenario. Times are over the platform's scale, the mean shortest time of a task; E is the most
    edges of a profile.

    | key | shape and type | content |
    | --- | --- | --- |
    | `task_x` | (S, 22) float32 | time over PEs that can run it: 0 least, 1 mean, 2 most, 3 deviation; 4 upward rank, 5 downward rank, 6 longest way to the job's end (least times), 7 mean optimistic cost (PEFT), 8 mean work of descendants; 9 share of PEs that can run it; 10 predecessors, 11 successors; 12-16 outstanding, ready, given a PE, running, done; 17 unfinished predecessors; 18 since ready; 19 until its data are there; 20 since start, 21 expected until finish (running) |
    | `task_mask` | (S,) int8 | 1: exists |
    | `task_pe` | (S, P, 4) float32 | 0 time on the PE; of ready tasks 1 wait for its data, 2 estimated time to finish: time + max(wait for data, wait for PE); 3 can run there |
    | `outlook` | (S, P, 17) float32 | of ready tasks and PEs that can run them, as far as it can be foreseen: 0 finish beyond the task's earliest, 1 beyond the earliest of all ready tasks; 2 time that the PE stays idle before it; 3 end beyond the estimated finish with the queue of the PE as it is; 4 what the queued tasks lose; the promise of a placement is its finish + the optimistic cost (PEFT) of what follows: 5 beyond the estimate of the job, 6 beyond the task's best; 7 latest promise of a successor beyond that from the best PE, 8 mean promise of the successors; what other ready tasks lose, 9 in all, 10 beyond the estimates of their jobs; 11 what tasks to come would lose without the PE; 12 time of transfers to successors from predecessors on the PE; 13 estimate of the job, 14 beyond that of the first job; 15 successors that wait for this task alone; 16 mean time of its own transfers |
    | `task_on` | (S,) int32 | PE that it has been given, -1 if none |
    | `task_depth` | (S,) int32 | most edges on a way from a first task |
    | `job_x` | (J, 7) float32 | 0 age; 1 share of tasks done, 2 given a PE; 3 longest way left (least times); 4 mean work left, 5 in all; 6 (age + way left) / whole way |
    | `job_mask` | (J,) int8 | 1: a job is there |
    | `pe_x` | (P, 8) float32 | 0 busy; 1 expected until idle; 2 work of waiting tasks; 3 the estimate of its wait by choices so far; 4 share of the time busy; 5 mean slowness against the fastest PE; share of tasks 6 it can run, 7 it is fastest for |
    | `pe_mask` | (P,) int8 | 1: exists |
    | `pe_pe` | (P, P) float32 | mean time of a transfer |
    | `pe_cluster` | (P,) int32 | number of its cluster |
    | `pe_speed` | (P,) float32 | frequency of its cluster over the highest; 1 if not known |
    | `edges` | (J E, 2) int32 | places of source and target |
    | `edge_x` | (J E, 1) float32 | mean time of the transfer |
    | `edge_mask` | (J E,) int8 | 1: exists |
    | `global_x` | (8,) float32 | 0 jobs / J; 1 log(1 + ready tasks); 2 time between the last two arrivals; 3 since the last; 4 arrivals a time; 5 share of time, or of jobs, left; 6 noise; 7 full |
    | `first_ready` | (1,) int32 | place of the ready task that is first in the list |
    | `action_mask` | (actions,) int8 | 1: legal |

    `to_hetero_data` makes a graph of torch-geometric of it, without padding.

    ## Rewards
    `latency`: minus the integral over the step of the number of jobs in the system, over the
    platform's scale: all sum to minus the time that jobs spent in the system, so that by Little's
    law the largest sum is the least mean latency. `compbonus` (SoCRATES): -0.5 a microsecond, +50
    a completed job. `energy`: minus the millijoules drawn since the step before; `edp`: minus the
    growth of (millijoules so far) x (milliseconds so far); both from the warm-up on and of a
    platform whose power is known, and they sum to -`info["energy"]` and -`info["edp"]` of the
    last step. `info["elapsed"]` tells how many microseconds passed in the step, for
    discounts by time.

    An illegal action changes nothing and costs -1 (`info["invalid_action"]` is True); with
    `invalid_action="raise"` it raises `InvalidActionError`.

    ## Starting State
    An empty system, or a full one with `pseudo_steady`. `reset(seed=s)` plays
    `make_instance(scenario, s)` with the arrivals and noise of seed s. Without a seed, the next
    episode of the same sequence is played; its seed is at least 2**62, so that small seeds, kept
    for evaluation, are never met by accident.

    ## Episode End
    Terminated at the horizon (protocol `legacy`: what happens before it counts), or when all jobs
    have left (`steady`, `batch`); never truncated by itself. The last `info` holds `objective`
    (mean latency in microseconds: of the jobs that finished after the warm-up, of those behind the
    warm-up jobs, or of all; nan if none did), `completed` and `injected` (jobs that count and
    finished, or started), `decisions` and `schedule`, which `validate` accepts; where the platform's
    power is known, but for `strict_ds3`, also `energy` (mJ, from the warm-up on), `edp` (mJ ms) and
    `hottest` (degrees Celsius).

    `schedule["tasks"]` is int64 (started tasks, 8): job, task, PE, when it was ready, given a PE,
    its data there, started, finished (-1 if not before the end), by start; `schedule["jobs"]`
    (jobs, 5): job, profile, arrival, start of its first task, finish (-1 if none). In a batch they
    are arrays of such arrays, None for rows that did not end. `busy` is the time each PE has
    worked for finished tasks; `frequencies` (changes, 3) are time, cluster and MHz of what a
    governor did; `planned` tells whether a rule has laid down an order on a PE.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"top3-p5"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `mode` | `"commit_ready"` | what is decided, see above |
    | `reward` | `"latency"` | or `compbonus`, `energy`, `edp` |
    | `invalid_action` | `"penalise"` | or `raise` |
    | `render_mode` | None | `ansi` (80 columns) or `rgb_array` (a Gantt chart) |

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/SoC-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Semantics: DS3, Arda et al., "DS3: A System-Level Domain-Specific System-on-Chip Simulation
    Framework", IEEE TC 2020, arXiv 2003.09016, and DS3Gym, Sung and Ryu, arXiv 2104.13187. Problem
    as a task of learning: Sung et al., "DeepSoCS", arXiv 2005.07666; Sung and Ryu, "SoCRATES",
    arXiv 2104.14354.

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = SoCSimulation


class SoCVectorEnv(KernelVectorEnv):
    """Many episodes side by side; see `SoCEnv`."""

    simulation_class = SoCSimulation
    simulation: SoCSimulation

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Play every row to its end under a rule; see `SoCSimulation.run_rule`."""
        return self.simulation.run_rule(rule)
