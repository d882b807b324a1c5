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
        self._one_block = num_lanes <= kernel.LANES_PER_BLOCK  # not worth a parallel loop
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
            np.zeros((lanes, slots, ports, ports, 2), np.float32),
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
            "legs": _numbers((ports, kernel.LEG_COLUMNS)),
            "decision": _numbers((kernel.DECISION_COLUMNS,)),
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
            self._source,
            self._days,
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
        if self._one_block:
            kernel.observe_block(self.state, self._observation, 0)
        else:
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
        if self._one_block:
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
        arguments = (self.state, self._outcome, self.check_rule(rule))
        if self._one_block:
            kernel.run_rule_block(*arguments, 0)
        else:
            kernel.run_rule_batch(*arguments)
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
    """A fleet of electric aircraft that flies passengers between vertiports for one day.

    ## Description
    N vertiports, K aircraft, S slots of demand (8, 40 and 12 hours by default). The aircraft with
    the earliest next decision, the lowest number among several, stays where it is or flies to
    another vertiport. Profit is fares minus operating cost and electricity. All times are whole
    minutes, energies whole Wh, money whole cents, so that two implementations agree to the last
    cent.

    Who stays decides again after `wait` minutes, and leaves its charger if there is a parking lot.
    Who flies from i to j at minute t in slot s:

    1. A failure cancels the dispatch: the aircraft is repaired where it stands and decides again
       after that. Otherwise it frees its place at once and reserves one at j: a charger, or a
       parking lot if j is a vertistop, which has no chargers.
    2. It takes min(seats, passengers left) of the demand of (i, j, s). Demand that is left at the
       end of a slot is lost.
    3. It enters the corridor from i to j that is free first, after its take-off delay, and not
       before `headway` minutes have passed since the entry before. Take-off, cruise and landing
       follow.
    4. It charges to full if there are chargers, then decides again.

    Flights dispatched before the end of the day count in full. Take-off delays, failures and
    closures of routes (known for the current slot only) are pure functions of the episode's
    seed, and of aircraft and dispatch number or of slot and route, so that every policy meets the
    same ones.

    ## Action Space
    `Discrete(N)`: fly to vertiport a, or stay if a is where the aircraft is. Staying is always
    legal. A flight is legal if the route is within range and not closed in this slot, the battery
    suffices for it (and from a vertistop on to the nearest charger), and a place is free at a.

    Legal actions are in `observation["action_mask"]`, `info["action_mask"]` (int8) and
    `action_masks()` (bool).

    ## Observation Space
    A flat `Dict` of arrays of fixed shape, padded with zeros to the largest instance of the
    scenario. "Here" is the vertiport i of the aircraft k that decides. b is the nominal time of a
    leg until the aircraft can decide again: take-off, cruise, landing, charging what it used. Money
    is relative to what a full aircraft earns on average before electricity.

    | key | shape and type | content |
    | --- | --- | --- |
    | `port_x` | (N, 12) float32 | 0, 1 position / extent of the map; 2 parked or reserved / lots; 3 charging or reserved / chargers (1 if none); 4 hours until a charger gets free, at most 2; 5 vertistop; 6 high demand; 7 mean take-off delay / 30 min; from here: 8 distance / range; 9 b in hours; 10 closed now; 11 is here |
    | `port_mask` | (N,) int8 | 1: exists |
    | `port_adj` | (N, N) float32 | 1 - probability of closure of legs within range, else 0 |
    | `craft_x` | (K, 10) float32 | 0, 1 where it is or flies to; 2 battery / full; 3 hours until it lands; 4 hours until it decides; 5 failure probability / 0.005; 6 on a parking lot, 7 on a charger (or reserved); 8 decides now; 9 in repair |
    | `craft_mask` | (K,) int8 | 1: exists |
    | `demand` | (N, S, 4) float32 | log(1 + passengers) 0 leaving, 1 coming; mean fare / 50 $ 2 leaving, 3 coming. Passengers are those left in the current slot, those expected in later ones (with `oracle_demand`: the true ones), 0 in slots that are over |
    | `slot_mask` | (S,) int8 | 1: current or later |
    | `pair_demand` | (N, S, 2) float32 | from here to each vertiport: 0 log(1 + passengers), as above; 1 fare / 50 $ |
    | `corridor` | (N,) float32 | wait for a corridor to each vertiport / 30 min |
    | `legs` | (N, 17) float32 | what each action does: 0 stays; 1 fare / 50 $; 2 log(1 + passengers left); 3 passengers that board / seats; 4 b in hours; 5 energy / battery; 6 wait for a corridor / 30 min; 7 profit; 8 profit an hour of b; 9 free places there / all; 10 closed now; 11 aircraft there or bound for it / mean; 12 best expected profit an hour of a leg on from there; 13 legal; 14 profit of the flight that is expected to be left there for it when it is ready, if the others there or bound for it take the best ones, 15 the same an hour later; 16 the day ends before its next decision |
    | `decision` | (8,) float32 | 0, 1 sine and cosine of the time of day; 2 part of the day left; 3 battery / full; 4 on a charger; 5 part of the slot that is over; 6 aircraft here or bound for here / mean; 7 profit of the flight expected to be left when half of them have left |
    | `k`, `i` | (1,) int32 | the aircraft that decides, and where |
    | `action_mask` | (N,) int8 | 1: legal |

    ## Rewards
    `dense`: the profit of each dispatch over Z, the fares of all passengers of the day;
    `terminal`: 0, at the end the day's profit over Z. Both sum to profit / Z; in cents, Z is
    `info["demand_value_cents"]` at the end. Rewards are small (a greedy day sums to about 0.1).

    An illegal action changes nothing and costs -1 (`info["invalid_action"]` is True); with
    `invalid_action="raise"` it raises `InvalidActionError`.

    ## Starting State
    Full batteries, on parking lots. `reset(seed=s)` plays `make_instance(scenario, s)` with the
    disturbances of seed s. Without a seed, the next episode of the same sequence is played; its
    seed is at least 2**62, so that small seeds, kept for evaluation, are never met by accident.

    ## Episode End
    Terminated when the next decision would be at the end of the day or later; never truncated
    by itself. The last `info` holds `objective` (the profit in dollars; nan of a day that was cut
    off), `schedule` (arrays that `validate` accepts), `passengers` (carried), `decisions` and
    `demand_value_cents`.

    `schedule["decisions"]` is int64 (decisions, 10): minute, aircraft, vertiport, action,
    passengers, corridor, minute of entry, arrival, next decision, cancelled by a failure; -1 where
    nothing flies. In a batch it is an array of such arrays, None for rows that did not end.
    `revenue`, `operating_cost`, `energy_cost` and `profit` are in cents, `seed` is the episode's.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"uam-8x40"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `reward` | `"dense"` | `dense` or `terminal` |
    | `oracle_demand` | False | later slots show their passengers instead of the expected ones |
    | `invalid_action` | `"penalise"` | or `raise` |
    | `render_mode` | None | `ansi` (80 columns) or `rgb_array` (a map of the fleet) |

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/UAMFleet-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Problem: Paul, Witter and Chowdhury, "Graph learning-based fleet scheduling for urban air
    mobility under operational constraints, varying demand & uncertainties", arXiv 2401.04851;
    its simulator is not public, and our scenarios are like its description, not equal to it.
    Aircraft: public figures of the CityAirbus NextGen. Shape of the demand: peaks at 8 and 16
    hours over a broad base.

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = UAMFleetSimulation


class UAMFleetVectorEnv(KernelVectorEnv):
    """Many days side by side; see `UAMFleetEnv`."""

    simulation_class = UAMFleetSimulation
    simulation: UAMFleetSimulation

    def run_rule(self, rule: str) -> dict[str, Any]:
        """Play every row to its end under a rule; see `UAMFleetSimulation.run_rule`."""
        return self.simulation.run_rule(rule)
