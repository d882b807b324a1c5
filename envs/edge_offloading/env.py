"""The Gymnasium classes of edge offloading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.kernel_env import KernelEnv
from dispatchgym.envs.core.scenario import resolve
from dispatchgym.envs.core.simulation import Simulation, copy_nested
from dispatchgym.envs.core.vector_env import KernelVectorEnv
from dispatchgym.envs.edge_offloading.families import part_of
from dispatchgym.envs.edge_offloading.generators import FixedGenerator, Generator, generator
from dispatchgym.envs.edge_offloading.instance import Instance
from dispatchgym.envs.edge_offloading.layout import empty_observation, observation_space
from dispatchgym.envs.edge_offloading.parsers import load
from dispatchgym.envs.edge_offloading.world import Buffers, Options, Parameter, World

__all__ = [
    "EdgeOffloadingEnv",
    "EdgeOffloadingSimulation",
    "EdgeOffloadingVectorEnv",
]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MOST_SERVERS = 1000


class EdgeOffloadingSimulation(Simulation):
    """A batch of episodes; the arguments are described in `EdgeOffloadingEnv`."""

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "gmorl",
        reward: str = "vector",
        preference: Any = (0.5, 0.5),
        reward_scale: str = "context",
        max_servers: int = 11,
        marginals: bool = True,
        idle_slots: str = "skip",
        queue: str = "corrected",
        discipline: str = "dems",
        credit: str = "event",
        step_limit: int = 0,
    ) -> None:
        _check_servers(max_servers)
        if not isinstance(marginals, bool):
            raise ParameterError(f"marginals: found {marginals!r}, expected True or False")
        self.num_lanes = num_lanes
        source = _generator(scenario)
        self.family = source.family
        options = Options(
            max_servers, reward_scale, marginals, idle_slots, queue, discipline, credit, step_limit
        )
        kind: type[World] = part_of(source.family, "world")
        self._make_buffers(max_servers, kind.reward_names, reward, preference)
        self.world = kind(source, self._buffers, options)
        self.rules = self.world.rules
        self.limits = self.world.limits

    def _make_buffers(
        self, servers: int, names: tuple[str, str], reward: str, preference: Any
    ) -> None:
        lanes = self.num_lanes
        self.observation_space = observation_space(servers)
        self.action_space = spaces.Discrete(servers + 2)
        self._buffers = Buffers(
            empty_observation(lanes, servers),
            empty_observation(lanes, servers),
            self.make_vector_reward(names, reward, preference),
            np.zeros(lanes),
            np.zeros(lanes, np.bool_),
            np.zeros(lanes, np.bool_),
            np.zeros(lanes, np.bool_),
        )
        self.observations = self._buffers.observation._asdict()
        self.final_observations = self._buffers.final._asdict()
        self.reward, self.terminated = self._buffers.reward, self._buffers.terminated
        self.truncated, self.invalid = self._buffers.truncated, self._buffers.invalid

    # --- episodes ---

    def restart(self, chosen: BoolArray, seeds: IntArray) -> None:
        """Begin new episodes in the chosen lanes; see `Simulation.restart`."""
        self.world.restart(chosen, seeds)

    def step(self, actions: IntArray, chosen: BoolArray, autoreset: bool) -> None:
        """Apply actions; see `Simulation.step`."""
        self.world.step(actions, chosen, autoreset)

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        return self.world.instance(lane)

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        self.world.refresh()

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        own = (self.reward, self.vector_reward, self.preferences)
        flags = (self.terminated, self.truncated, self.invalid)
        return (*self.world.changing_arrays(), *own, *flags)

    def copy_lane(self, source: int, target: int) -> None:
        """Make lane `target` a copy of lane `source`, future randomness included."""
        super().copy_lane(source, target)
        self.world.copy_lane(source, target)

    # --- rules inside the kernel ---

    def rule_actions(self, rule: str, parameter: Parameter = None) -> IntArray:
        """Return the action of a rule for each lane; -1 where the episode is over.

        Args:
            rule: one of `rules`.
            parameter: of ``random_p`` and ``round_robin_p``: probability of the cloud, for all
                lanes or (B,); None or nan: 2 / (edges + 2).
        """
        self.check_rule(rule)
        return self.world.rule_actions(rule, parameter)

    def rollout_values(self, samples: int) -> npt.NDArray[np.float64]:
        """Return what each action is worth to rollouts; minus infinity where it is illegal.

        It is float64 (B, S) with independent tasks, (B, S + 2) with deadlines.

        Args:
            samples: futures that are drawn for each decision; rollout_omega draws 8.

        Raises:
            ParameterError: the scenario has no rollouts.
        """
        return self.world.rollout_values(samples)

    def run_rule(self, rule: str, parameter: Parameter = None) -> dict[str, Any]:
        """Play every lane from where it is to the end under a rule, in one compiled call.

        No observation or reward is written: restart the lanes afterwards.

        Args:
            rule: one of `rules`; those that weigh objectives go by `preferences`.
            parameter: as in `rule_actions`.

        Returns:
            The same as `final_infos`.
        """
        self.check_rule(rule)
        self.world.run_rule(rule, parameter)
        return copy_nested(self.final_infos(np.ones(self.num_lanes, np.bool_)))

    # --- results ---

    def final_infos(self, ended: BoolArray) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        return self.world.final_infos(ended)

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane."""
        infos = self.final_infos(np.arange(self.num_lanes) == lane)
        schedule = {key: _entry(value, lane) for key, value in infos.pop("schedule").items()}
        return {**{key: _entry(value, lane) for key, value in infos.items()}, "schedule": schedule}

    def schedule(self, lane: int) -> dict[str, Any]:
        """Return the schedule of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        return self.world.schedule(lane)

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        return self.world.describe_action(int(action))

    def render(self, lane: int, mode: str) -> Any:
        """Return the episode so far as text or as a picture."""
        return self.world.render(lane, mode)


def _generator(scenario: Any) -> Generator:
    found = resolve(scenario, Instance, generator, load)
    if isinstance(found, Instance):
        return FixedGenerator(found)
    if not isinstance(found, Generator):
        raise ParameterError("scenario: the generator needs attributes family and limits")
    return found


def _check_servers(max_servers: object) -> None:
    whole = isinstance(max_servers, int) and not isinstance(max_servers, bool)
    if not whole or not 1 <= max_servers <= MOST_SERVERS:  # type: ignore[operator]
        raise ParameterError(
            f"max_servers: found {max_servers!r}, expected an integer in 1..{MOST_SERVERS}"
        )


def _entry(values: npt.NDArray[Any], lane: int) -> Any:
    """Return what belongs to a lane: a private array, or a plain number."""
    value = values[lane]
    return value.copy() if isinstance(value, np.ndarray) else value.item()


class EdgeOffloadingEnv(KernelEnv):
    """Tasks of mobile users are sent to edge servers or to the cloud.

    ## Description
    One decision for each task: where it is computed. Rewards have two components. There are three
    families of tasks, chosen by the scenario.

    ### Independent tasks (`gmorl`, `gmorl_radio`, `gmorl_hard`)
    Users' tasks join one waiting queue. In each slot of one second the first is sent to a server: it
    is uploaded by radio, then computed. Server 0 is the cloud, 1 to E are edge servers. A server
    shares its speed among its tasks, or takes them one by one (`gmorl_hard`). Delay of a task: from
    its sending to its end; the wait in the queue does not depend on decisions and is reported apart.
    Energy: transmission, and kappa * cycles * f^2 of the server. Sizes are in balance with speeds: on
    average a slot brings as much work as all servers do in it.

    | scenario | differs by |
    | --- | --- |
    | `gmorl` | the published channel, whose uploads take hundredths of a second |
    | `gmorl_radio` | the rates of the paper's equation with 0.2 W; the cloud by the fastest edge and a backhaul of 100 Mbit/s and 20 ms |
    | `gmorl_hard` | that, and: bursts (two states, half and twice the rate), Pareto sizes of four types, fading drawn for each task, FIFO servers; only the type is seen until the upload ends |

    Each stands for the contexts of the training (1 to 8 edge servers, 3.5 to 4.5 and 1.75 to 2.25
    GHz); with `-test` for those of the test (1 to 10, 3 to 5 and 1.5 to 2.5 GHz), with `-e6` for six
    edge servers and these frequencies, with `-e6-fixed` for 4 and 2 GHz. `a+b` mixes scenarios.

    ### Tasks with deadlines (`dems`)
    Drones send a segment of video every second to an edge station; each is given to all models of the
    load. A task is in time if its run ends within the deadline of the model. The edge runs one task at
    a time, the cloud 32, whose times are known as expectations only. A run in time brings its benefit;
    any run costs, more on the cloud. In windows of 20 s a model of whose ended tasks nine tenths were
    in time earns a bonus. A task goes to the cloud, to the edge's queue, is dropped, or held until its
    last moment for the cloud, waiting for the edge to steal it. What happens to queued and held tasks
    is the `discipline`, named like the rule that it goes with. Times are whole milliseconds.

    Scenarios: `dems-{light|medium|heavy}-{drones}` (300 s), `dems-heavy-3-60s`, each with `-variable`:
    cloud times vary by 20 % and a third of the run has up to 400 ms more. `dems` and `dems-heavy` draw
    what is left out.

    ### Dependent tasks (`dag_online`)
    Jobs like Alibaba's come one by one, each a graph of tasks. A task can be placed when its last
    parent has ended, and is placed at that moment: in the cloud, at an edge server, or on the device
    of its user. What it reads is sent to it: from the device over its one uplink, between servers by
    wire. Cores take tasks in the order of the decisions. The results of the last tasks go to the
    device. Objectives: mean latency of the jobs, and energy of the devices.

    Scenarios: `dag_online`, `dag_online-ccr10`, `-ccr50`, `-ccr100` (time to send results over time to
    compute, in per cent), each with `-e1` to `-e9`.

    ## Action Space
    `Discrete(S + 2)` with S = `max_servers`: 0 the cloud, 1 to E edge servers (with dependent tasks
    E + 1 the device), S drop, S + 1 hold (deadlines only). Legal actions are in
    `observation["action_mask"]`, `info["action_mask"]` (int8) and `action_masks()` (bool).

    ## Observation Space
    A flat `Dict` of float32 arrays, padded with zeros to S servers.

    | key | shape | content |
    | --- | --- | --- |
    | `servers` | (S, 76) | a row for each server, see below |
    | `task` | (16,) | the task to be sent |
    | `preference` | (2,) | weights of the objectives in this episode |
    | `context` | (8,) | 0 E; 1 mean frequency of edge servers, GHz; 2 of the cloud; 3 tasks (jobs) a second; 4 mean size, Mbit (dependent: Gcycles); 5 length of a slot, s; 6 decisions at events; 7 scenario: 0 gmorl, 1 gmorl_radio, 2 gmorl_hard, 3 dems, 4 dag_online |
    | `action_mask` | (S + 2,) int8 | 1: legal |

    Columns of `servers` (delays in seconds; "dependent" where dependent tasks differ):

    | column | content |
    | --- | --- |
    | 0-2 | exists; frequency, GHz; E |
    | 3 | size of the task, Mbit |
    | 4 | 1 until the episode is over |
    | 5 | rate of the task's uplink, 100 Mbit/s |
    | 6 | tasks that are computed or queued |
    | 7-66 | how many of them have i to i + 1 Mbit left (the last: 59 or more); dependent: cores that are busy for 10 i to 10 (i + 1) s |
    | 67 | tasks that are uploaded; dependent: whether the device's uplink is busy |
    | 68 | time to compute all that is there or uploaded |
    | 69 | time until nothing is left; dependent: until a core is free |
    | 70 | delay of the task if sent there |
    | 71 | delay that it would cause to others; dependent: growth of the predicted end of its job |
    | 72 | its energy, J |
    | 73 | cost; dependent: time until its data are there |
    | 74 | slack; dependent: predicted end of its job less what it would be |
    | 75 | dependent: part of its data that is there |

    `task`: 0 Mbit to upload; 1 Mbit to compute (dependent: Gcycles); 2 type / 10; 3 benefit; 4 time to
    the deadline; 5 tasks waiting behind it; 6 their Mbit; 7 its time in the queue; 8 part of the
    episode left; 9 parents; 10 children; 11 least time to the end of its job; 12 tasks of its job left;
    13 age of its job; 14 preferred server, -1: none; 15 1 if there is a task.

    Where sizes are hidden, columns 3 and 68 to 72 and the task's sizes are what is expected of them.
    With `marginals=False` columns 70 to 75 are 0. The sum of 70 and 71, over the unit of delay, is
    minus the first reward of sending the task there, if its size is seen.

    With deadlines (times in seconds, money in mean benefits of a task) row 0 is the cloud and row 1
    the edge: 6 runs; 7-66 tasks held, tasks queued: 6 kinds of models x 10 bins of 0.1 s of time left;
    67 sent and not started; 68 time until all queued are done; 69 time until a slot, the edge is free;
    70 time until the task would be done; 71 its time x queued tasks that would start later for it;
    73 cost, with the utility lost by tasks it would move; 74 time left after it; 75 what the edge wins
    over the cloud less what its time is worth. `task`: 0 results of its model ahead of what is
    required, over the tasks of a window; 1 time at the edge; 2 kind / 10; 3 benefit; 4 time left;
    5 other tasks that have arrived now; 6 their time at the edge; 7 DEMS would hold it; 8 part of the
    episode left; 9-11 time until the next three segments; 12 tasks left of its segment; 13 part of the
    window left; 14 where DEMS would send it; 15 1.

    ## Rewards
    By MO-Gymnasium's convention a step returns a float32 vector (2,) (`reward="vector"`); with
    `reward="scalar"` its weighted sum by the episode's preference, and `info["vector_reward"]`.

    | family | components | unit of `reward_scale="context"` | of `"paper"` |
    | --- | --- | --- | --- |
    | independent | minus the delay that the decision causes to all tasks, minus its energy | a mean task alone on a mean server | 100 s, 0.2 J |
    | deadlines | utility, bonus | mean benefit, mean bonus | 100, 100 |
    | dependent | minus the growth of the job's predicted latency, minus the energy | both if all stays on devices, a job | the same |

    The delay that a decision causes is exact: what the sum of all ends grows by. So rewards times
    units sum to minus the objectives (deadlines: to the objectives; dependent: the latencies sum over
    jobs), although an episode ends with its last decision. With hidden sizes that is known to the
    reward, not to the agent. An illegal action changes nothing and costs (-1, -1)
    (`info["invalid_action"]` is True); with `invalid_action="raise"` it raises `InvalidActionError`.

    ## Starting State
    Empty servers. `reset(seed=s)` plays `make_instance(scenario, s)`; without a seed, the next episode
    of the same sequence is played, whose seed is at least 2**62, so that small seeds, kept for
    evaluation, are never met by accident. `reset(options={"preference": weights})` sets the
    preference of the episode.

    ## Episode End
    Terminated after the last decision: 100 slots, the run of the drones, the last task of the last job.
    The last `info` holds `objective`, float64 (2,): total delay in s and energy in J; QoS utility and
    QoE bonus; mean latency in s and energy in J. What is under way is counted to its end; nan if the
    episode was cut off. `schedule` holds arrays that `validate` accepts; `preference` and `seed` are
    in it. Independent tasks: besides `tasks` sent, `unsent`, `waiting_time` in s; the schedule has
    `server`, `sent`, `uploaded`, `began`, `ended`, `transmission`, `computation`, `delay_reward`,
    `energy_reward`, one entry a task in the order of the queue. Deadlines: `tasks`, int64 (N, 11).
    Dependent tasks: `place`, `decided`, `uploaded`, `data`, `began`, `ended`, `back`, `energy`,
    `delay_reward`, one entry a task. Times are in seconds, of deadlines in ms; -1: never.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"gmorl"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `reward` | `"vector"` | or `"scalar"` |
    | `preference` | (0.5, 0.5) | two weights, or drawn for each episode: `"grid"` (64 points) or `"dirichlet"` |
    | `reward_scale` | `"context"` | or `"paper"` |
    | `max_servers` | 11 | rows of servers |
    | `marginals` | True | show columns 70 to 75 |
    | `idle_slots` | `"skip"` | or `"dummy"`: a decision about nothing in slots without a task, as in the published code |
    | `discipline` | `"dems"` | deadlines: what happens to queued and held tasks |
    | `queue` | `"corrected"` | deadlines: or `"published_code"`, which overlooks the task behind a new one |
    | `credit` | `"event"` | deadlines: utility is booked when runs end, or with the `"decision"` |
    | `invalid_action` | `"penalise"` | or `"raise"` |
    | `render_mode` | None | `"ansi"` (80 columns) or `"rgb_array"` |

    `dispatchgym.envs.edge_offloading.wrappers.GmorlObs` shows the (67, S) array of the published
    networks instead.

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/EdgeOffloading-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Independent tasks: GMORL, arXiv 2509.10474, and its predecessor, arXiv 2307.14346, whose code
    (`gracefulning/mec_morl_multipolicy`, MIT) settles the channel. Deadlines: arXiv 2412.20860 and
    `dream-lab/ocularone-scheduler` (Apache-2.0). Jobs: fitted laws of Alibaba's cluster trace of 2018
    (`All-less/trace-generator`, MIT); energy of devices: arXiv 2008.02033. `gmorl_radio`,
    `gmorl_hard` and `dag_online` are ours.

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = EdgeOffloadingSimulation
    simulation: EdgeOffloadingSimulation


class EdgeOffloadingVectorEnv(KernelVectorEnv):
    """Many episodes side by side; see `EdgeOffloadingEnv`."""

    simulation_class = EdgeOffloadingSimulation
    simulation: EdgeOffloadingSimulation

    def run_rule(self, rule: str, parameter: Parameter = None) -> dict[str, Any]:
        """Play every row to its end; see `EdgeOffloadingSimulation.run_rule`."""
        return self.simulation.run_rule(rule, parameter)
