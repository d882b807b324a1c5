"""The Gymnasium classes of fleet dispatch."""

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
from dispatchgym.envs.uam import days, kernel
from dispatchgym.envs.uam.generators import FixedGenerator, FleetGenerator, Generator, generator
from dispatchgym.envs.uam.instance import Instance
from dispatchgym.envs.uam.parsers import load
from dispatchgym.envs.uam.rules import RULES

__all__ = [
    "OBSERVATION_KEYS",
    "UAMFleetEnv",
    "UAMFleetSimulation",
    "UAMFleetVectorEnv",
]

REWARDS = ("dense", "terminal")

PORT_COLUMNS = 12
CRAFT_COLUMNS = 10
DEMAND_COLUMNS = 4
ROUTE_COLUMNS = 2
LEG_COLUMNS = 14
DECISION_COLUMNS = 6

OBSERVATION_KEYS = kernel.Observation._fields
"""Keys of the observation."""

_NUMBER_LIMIT = float(np.finfo(np.float32).max)


class UAMFleetSimulation(Simulation):
    """A batch of days of a fleet; the arguments are described in `UAMFleetEnv`."""

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "uam-8x40",
        reward: str = "dense",
        oracle_demand: bool = False,
        step_limit: int = 0,
    ) -> None:
        check_choice("reward", reward, REWARDS)
        if not isinstance(oracle_demand, bool):
            raise ParameterError(f"oracle_demand: found {oracle_demand!r}, expected True or False")
        self.num_lanes = num_lanes
        self.rules = RULES
        self._make_source(scenario)
        self.state = self.allocate(num_lanes, self.limits.decisions)
        self.state.setting[kernel.TERMINAL_REWARD] = reward == "terminal"
        self.state.setting[kernel.ORACLE] = oracle_demand
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
        limits, scales = np.zeros(days.NUM_LIMITS, np.int64), np.zeros(days.NUM_SCALES)
        numbers, reals = FleetGenerator().template()
        kind, rows = kernel.PREPARED, self.num_lanes
        if isinstance(self._generator, FleetGenerator):
            kind, rows = kernel.GENERATED, 0
            limits, scales = self._generator.draws()
            numbers, reals = self._generator.template()
        elif isinstance(self._generator, FixedGenerator):
            kind, rows = kernel.BANK, 1
        self._kind = kind
        self._days = days.empty_day(self.limits, rows)
        if isinstance(self._generator, FixedGenerator):
            days.lay(self._generator.instance, self._days, 0)
        self._source = kernel.Source(np.array([kind]), limits, scales, numbers, reals)
        self._current: list[Instance | None] = [None] * self.num_lanes
        self._prepared: list[Instance | None] = [None] * self.num_lanes

    def allocate(self, lanes: int, decisions: int) -> kernel.State:
        """Return the state of more lanes of this size, for searches inside the kernel.

        Args:
            lanes: number of lanes.
            decisions: decisions that can be logged; 0 switches the log off.
        """
        ports, aircraft, slots, corridors, _ = self.limits
        setting = np.zeros(kernel.NUM_SETTINGS, np.int64)
        setting[kernel.LOGGING] = decisions > 0
        return kernel.State(
            setting,
            np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
            np.zeros((lanes, kernel.NUM_REALS)),
            *days.empty_day(self.limits, lanes),
            np.zeros((lanes, slots, ports, ports), np.int8),
            np.zeros((lanes, kernel.NUM_PORT_COLUMNS, ports), np.int64),
            np.zeros((lanes, kernel.NUM_CRAFT_COLUMNS, aircraft), np.int64),
            np.zeros((lanes, ports, ports, corridors), np.int64),
            np.zeros((lanes, ports), np.int8),
            np.full((lanes, decisions, kernel.NUM_LOG_COLUMNS), -1, np.int32),
            np.zeros((lanes, slots, ports), np.float32),
            np.zeros((lanes, ports, ports, slots, ROUTE_COLUMNS), np.float32),
        )

    def _make_outcome(self) -> None:
        lanes = self.num_lanes
        self.reward = np.zeros(lanes, np.float64)
        self.terminated = np.zeros(lanes, np.bool_)
        self.truncated = np.zeros(lanes, np.bool_)
        self.invalid = np.zeros(lanes, np.bool_)
        self._outcome = kernel.Outcome(
            self.reward,
            self.terminated,
            self.truncated,
            self.invalid,
            np.zeros_like(self.state.scalar),
            np.zeros_like(self.state.log),
        )

    def _make_spaces(self) -> None:
        ports, aircraft, slots = self.limits[:3]
        boxes: dict[str, spaces.Space[Any]] = {
            "port_x": _numbers((ports, PORT_COLUMNS)),
            "port_mask": _flags(ports),
            "port_adj": spaces.Box(0, 1, (ports, ports), np.float32),
            "craft_x": _numbers((aircraft, CRAFT_COLUMNS)),
            "craft_mask": _flags(aircraft),
            "demand": _numbers((ports, slots, DEMAND_COLUMNS)),
            "slot_mask": _flags(slots),
            "pair_demand": _numbers((ports, slots, ROUTE_COLUMNS)),
            "corridor": _numbers((ports,)),
            "legs": _numbers((ports, LEG_COLUMNS)),
            "decision": _numbers((DECISION_COLUMNS,)),
            "k": spaces.Box(0, aircraft - 1, (1,), np.int32),
            "i": spaces.Box(0, ports - 1, (1,), np.int32),
            "action_mask": _flags(ports),
        }
        self.observation_space = spaces.Dict(boxes)
        self.action_space = spaces.Discrete(ports)
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
        arguments = (self.state, self._source, self._days, self._observation)
        if self.num_lanes == 1:
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
            self._source,
            self._days,
            self._observation,
            self._final,
            self._outcome,
            actions,
            autoreset,
            chosen,
        )
        if self.num_lanes == 1:
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
        days.lay(instance, self._days, lane)

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        if self._kind == kernel.PREPARED:
            prepared = self._current[lane]
            if prepared is None:
                raise ParameterError("instance: no episode has begun, call reset() first")
            return prepared
        return self._generator.generate(int(self.state.scalar[lane, kernel.SEED]))

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        kernel.observe_batch(self.state, self._observation)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        prepared = self._days if self._kind == kernel.PREPARED else ()
        return (*self.state[1:], *self._outcome, *prepared)

    def copy_lane(self, source: int, target: int) -> None:
        """Make lane `target` a copy of lane `source`, future randomness included."""
        super().copy_lane(source, target)
        self._current[target] = self._current[source]
        self._prepared[target] = self._prepared[source]

    # --- rules inside the kernel ---

    def rule_actions(self, rule: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each lane; -1 where the day is over."""
        number = self.check_rule(rule)
        actions = np.empty(self.num_lanes, np.int64)
        if self.num_lanes == 1:
            kernel.rule_action_block(self.state, number, actions, 0)
        else:
            kernel.rule_action_batch(self.state, number, actions)
        return actions

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Play every lane from where it is to the end under a rule, in one compiled call.

        No observation or reward is written: restart the lanes afterwards.

        Returns:
            The same as `final_infos`.
        """
        kernel.run_rule_batch(self.state, self._outcome, self.check_rule(rule))
        return copy_nested(self.final_infos(np.ones(self.num_lanes, np.bool_)))

    # --- results ---

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane."""
        infos = self.final_infos(np.arange(self.num_lanes) == lane)
        schedule = {key: np.array(value[lane]) for key, value in infos.pop("schedule").items()}
        return {**{key: value[lane].item() for key, value in infos.items()}, "schedule": schedule}

    def schedule(self, lane: int) -> dict[str, npt.NDArray[Any]]:
        """Return the schedule of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        scalar, log = self.state.scalar, self.state.log
        schedules = _schedules(np.arange(self.num_lanes) == lane, scalar, log)
        return {key: np.array(value[lane]) for key, value in schedules.items()}

    def final_infos(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        scalar = self._outcome.scalar
        finished = scalar[:, kernel.STATUS] == kernel.FINISHED
        schedules = _schedules(ended, scalar, self._outcome.log)
        return {
            "objective": np.where(finished, schedules["profit"] / 100.0, np.nan),
            "passengers": scalar[:, kernel.SERVED],
            "decisions": scalar[:, kernel.DECISIONS],
            "demand_value_cents": scalar[:, kernel.VALUE],
            "schedule": schedules,
        }

    def describe_action(self, action: int) -> str:
        """Return words for an action."""
        return f"fly to vertiport {action}" if 0 <= action < self.limits.ports else "none"

    def render(self, lane: int, mode: str) -> Any:
        """Return the day so far as text or as a map."""
        from dispatchgym.envs.uam import render

        time = int(self.state.scalar[lane, kernel.TIME])
        draw = render.ansi if mode == "ansi" else render.frame
        return draw(self.instance(lane), self.schedule(lane), time=time)


def _schedules(
    chosen: npt.NDArray[np.bool_], scalar: npt.NDArray[np.int64], log: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    """Return the schedules of all lanes; the decisions of those that are not chosen are None."""
    decisions = np.full(len(scalar), None, dtype=object)
    for lane in np.flatnonzero(chosen):
        decisions[lane] = log[lane, : scalar[lane, kernel.DECISIONS]].astype(np.int64)
    revenue, operating = scalar[:, kernel.REVENUE], scalar[:, kernel.OPERATING_COST]
    energy = scalar[:, kernel.ENERGY_COST]
    return {
        "decisions": decisions,
        "revenue": revenue,
        "operating_cost": operating,
        "energy_cost": energy,
        "profit": revenue - operating - energy,
        "seed": scalar[:, kernel.SEED],
    }


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


def _shape(space: spaces.Space[Any]) -> tuple[int, ...]:
    assert space.shape is not None
    return space.shape


def _flags(size: int) -> spaces.Box:
    return spaces.Box(0, 1, (size,), np.int8)


class UAMFleetEnv(KernelEnv):
    """A fleet of electric aircraft that flies passengers between vertiports for one day."""

    simulation_class = UAMFleetSimulation


class UAMFleetVectorEnv(KernelVectorEnv):
    """Many days side by side; see `UAMFleetEnv`."""

    simulation_class = UAMFleetSimulation
