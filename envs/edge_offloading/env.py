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
        """Return what each server is worth to rollouts, (B, S); minus infinity for none.

        Args:
            samples: futures that are drawn for each decision; rollout_omega draws 8.

        Raises:
            ParameterError: the scenario is not one of independent tasks.
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
    """Tasks of mobile users are sent to the cloud or to edge servers."""

    simulation_class = EdgeOffloadingSimulation


class EdgeOffloadingVectorEnv(KernelVectorEnv):
    """Many episodes side by side; see `EdgeOffloadingEnv`."""

    simulation_class = EdgeOffloadingSimulation
    simulation: EdgeOffloadingSimulation

    def run_rule(self, rule: str, parameter: Parameter = None) -> dict[str, Any]:
        """Play every row to its end; see `EdgeOffloadingSimulation.run_rule`."""
        return self.simulation.run_rule(rule, parameter)
