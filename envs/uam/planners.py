"""Planners that think before they decide: rolling horizon, genetic algorithm, local search.

A planner knows what the environment shows: the state of the fleet, the passengers left in the
current slot and the routes closed in it; of later slots it knows fares and expected passengers
only, and of delays, failures and closures to come nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import derive
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.uam import kernel, search
from dispatchgym.envs.uam.env import UAMFleetSimulation
from dispatchgym.envs.uam.flow import Flow, flow_fields, solve_flow
from dispatchgym.envs.uam.instance import Instance

__all__ = [
    "PLANNERS",
    "Genetic",
    "LocalSearch",
    "PlannedDay",
    "Planner",
    "RollingHorizon",
    "Situation",
    "make_planner",
    "plan_day",
]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

PLANNERS: Mapping[str, str] = {
    "mpc": "plans two hours as a flow every 15 minutes and flies the first 15 (highspy)",
    "ga": "breeds 60 decisions at a time: 100 plans, 100 generations",
    "ga_tuned": "breeds 20 decisions at a time: 200 plans, 200 generations",
    "local_search": "amends what the greedy rule would do in the next 90 minutes, every 15 minutes",
}
"""Name -> what the planner does."""

_ALL = np.ones(1, np.bool_)


class Planner(Protocol):
    """Whoever answers one decision after the other, through one day."""

    def act(self, state: kernel.State) -> int:
        """Return the vertiport to fly to in lane 0, or the aircraft's own to stay."""


@dataclass(frozen=True)
class PlannedDay:
    """A day that a planner has played.

    Attributes:
        objective: Profit in dollars.
        schedule: The schedule in the form of the environment's ``info["schedule"]``.
        seconds: (n,) time the planner took for each decision.
    """

    objective: float
    schedule: dict[str, npt.NDArray[Any]]
    seconds: npt.NDArray[np.float64]


def plan_day(name: str, instance: Instance, seed: int = 0) -> PlannedDay:
    """Play a day under a planner.

    Args:
        name: One of `PLANNERS`.
        instance: The day.
        seed: Seed of the disturbances, and of the planner's own random numbers, in 0..2^63-1.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: The planner needs highspy and it is not installed.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^63-1")
    simulation = UAMFleetSimulation(num_lanes=1, scenario=instance)
    simulation.restart(_ALL, np.array([seed], np.int64))
    planner = make_planner(name, simulation, int(seed))
    seconds = []
    while not simulation.terminated[0]:
        began = time.perf_counter()
        action = planner.act(simulation.state)
        seconds.append(time.perf_counter() - began)
        simulation.step(np.array([action], np.int64), _ALL, False)
    result = simulation.final_info(0)
    return PlannedDay(result["objective"], result["schedule"], np.array(seconds))


def make_planner(name: str, simulation: UAMFleetSimulation, seed: int) -> Planner:
    """Return a planner for the day that has begun in lane 0 of a simulation.

    Args:
        name: One of `PLANNERS`.
        simulation: Where the day is played; the planner reads its state and changes nothing.
        seed: Seed of the planner's own random numbers.

    Raises:
        ParameterError: There is no such planner.
    """
    check_choice("name", name, PLANNERS)
    makers: dict[str, Callable[[], Planner]] = {
        "mpc": lambda: RollingHorizon(simulation.instance(0)),
        "ga": lambda: Genetic(simulation, seed, batch=60, population=100, generations=100),
        "ga_tuned": lambda: Genetic(simulation, seed, batch=20, population=200, generations=200),
        "local_search": lambda: LocalSearch(simulation, seed),
    }
    return makers[name]()


# ------------------------------------------------------------------------ rolling horizon


@dataclass(frozen=True)
class Situation:
    """What is known when an aircraft asks where to go.

    Attributes:
        time: Minute of the decision.
        port: Where the aircraft is.
        legal: (N,) bool, the vertiports it may choose; its own means to stay.
        place: (K,) port of each aircraft, the destination if it is flying.
        ready: (K,) minute of each aircraft's next decision.
        on_charger: (K,) bool, whether it holds a charger there.
        remaining: (N, N) passengers left in the current slot.
        closed: (N, N) bool, routes closed in the current slot.
    """

    time: int
    port: int
    legal: BoolArray
    place: IntArray
    ready: IntArray
    on_charger: BoolArray
    remaining: IntArray
    closed: BoolArray

    @classmethod
    def of(cls, state: kernel.State) -> Situation:
        """Read the situation from lane 0 of a simulation that plays a single instance."""
        scalar, craft = state.scalar[0], state.craft[0]
        slot = scalar[kernel.SLOT_NOW]
        return cls(
            time=int(scalar[kernel.TIME]),
            port=int(scalar[kernel.PORT]),
            legal=state.legal[0] == 1,
            place=craft[kernel.LOCATION],
            ready=craft[kernel.KEY] >> kernel.KEY_BITS,
            on_charger=craft[kernel.ON_CHARGER] == 1,
            remaining=state.passengers[0, slot],
            closed=state.closed[0, slot] == 1,
        )


class RollingHorizon:
    """Plans the next two hours as a flow every quarter of an hour, and flies the first part.

    The flow is that of the upper bound on a grid of 15 minutes, with block times rounded to the
    nearest step and whole flights. The flights of its first step are quotas: an aircraft that
    asks takes, of the legs with a quota left, the one that earns most now, and stays if there is
    none. Everything is planned anew with the next step (model predictive control).

    Args:
        instance: The day.
    """

    GRID = 15
    HORIZON = 120
    GAP = 0.01
    SECONDS = 60.0
    """Only so that nothing hangs: a limit that bites would make results depend on the machine."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self._fields = flow_fields(instance)
        self._legs = self._fields["origin"], self._fields["destination"]
        nearest = np.rint(instance.block[self._legs] / self.GRID).astype(np.int64)
        self._duration = np.maximum(nearest, 1)
        self._step = -1
        self._quota = np.zeros((instance.num_ports, instance.num_ports), np.int64)

    def act(self, state: kernel.State) -> int:
        """Return the vertiport to fly to in lane 0, or the aircraft's own to stay."""
        situation = Situation.of(state)
        step = (situation.time - self.instance.start) // self.GRID
        if step != self._step:
            self._step = step
            self._quota[self._legs] = self._first_flights(situation)
        port = situation.port
        choices = np.flatnonzero((self._quota[port] > 0) & situation.legal)
        if not choices.size:
            return port
        best = int(choices[np.argmax(self._earnings(situation)[choices])])
        self._quota[port, best] -= 1
        return best

    def _earnings(self, situation: Situation) -> IntArray:
        """Return (N,) cents that a flight from here to each vertiport earns now."""
        instance, port = self.instance, situation.port
        slot = (situation.time - instance.start) // instance.slot
        passengers = np.minimum(situation.remaining[port], instance.seats)
        charged = 1 if instance.op_basis == "vehicle" else passengers
        return (
            passengers * instance.fare_cents[slot, port]
            - charged * instance.operating_cents[port]
            - instance.electricity_cents[port]
        )

    def _first_flights(self, situation: Situation) -> IntArray:
        """Return (A,) how many aircraft should set out on each leg within this step."""
        flow = self._flow(situation)
        solution = solve_flow(flow, integer=True, time_limit=self.SECONDS, gap=self.GAP)
        if solution.flights is None:
            return np.zeros(len(flow.origin), np.int64)
        return np.rint(solution.flights[:, 0]).astype(np.int64)

    def _flow(self, situation: Situation) -> Flow:
        """Return the day from this step on as far as the horizon."""
        instance = self.instance
        began = instance.start + self._step * self.GRID
        minute = np.arange(began, min(began + self.HORIZON, instance.end), self.GRID)
        slot = (minute - instance.start) // instance.slot
        now, end = slot[0], slot[-1] + 1
        demand = instance.rate[now:end, *self._legs].T.copy()
        demand[:, 0] = situation.remaining[self._legs]
        shut = situation.closed[self._legs]
        supply, held = self._fleet(situation, began, len(minute))
        return Flow(
            slot=slot - now,
            duration=self._duration,
            open=~(shut[:, None] & (slot == now)),
            supply=supply,
            held=held,
            lag=1,
            **{**self._fields, "demand": demand, "margin": self._fields["margin"][:, now:end]},
        )

    def _fleet(self, situation: Situation, began: int, steps: int) -> tuple[IntArray, IntArray]:
        """Return where aircraft become ready, and the places they hold until then, (N, steps)."""
        supply = np.zeros((self.instance.num_ports, steps), np.int64)
        held = np.zeros_like(supply)
        step = (situation.ready - began) // self.GRID
        in_time = step < steps
        np.add.at(supply, (situation.place[in_time], step[in_time]), 1)
        holds = situation.on_charger | (self.instance.chargers[situation.place] == 0)
        busy = holds[:, None] & (np.arange(steps) < step[:, None])
        np.add.at(held, situation.place, busy.astype(np.int64))
        return supply, held


# ------------------------------------------------------------------- searches in the kernel


class Genetic:
    """Breeds the next decisions all together, takes them, and breeds the next ones.

    A plan is a vertiport for each of the next decisions in the order in which the environment
    asks for them; where it is illegal the aircraft stays. Its fitness is what it earns.

    Args:
        simulation: Where the day is played.
        seed: Seed of the random numbers.
        batch: Decisions of a plan.
        population: Plans of a generation.
        generations: How often they are replaced.
    """

    PARENTS = 0.3

    def __init__(
        self,
        simulation: UAMFleetSimulation,
        seed: int,
        *,
        batch: int,
        population: int,
        generations: int,
    ) -> None:
        self._model = simulation.allocate(2, 0)
        self._genes = np.zeros((2, population, batch), np.int64)
        self._fitness = np.zeros((2, population))
        self._parents = round(self.PARENTS * population)
        self._generations = generations
        self._seed = seed
        self._bred = 0
        self._plan: list[int] = []

    def act(self, state: kernel.State) -> int:
        """Return the vertiport to fly to in lane 0, or the aircraft's own to stay."""
        if not self._plan:
            self._plan = self._breed(state)
        target = self._plan.pop(0)
        return target if state.legal[0, target] else int(state.scalar[0, kernel.PORT])

    def _breed(self, state: kernel.State) -> list[int]:
        seed = np.uint64(derive(np.uint64(self._seed), self._bred))
        self._bred += 1
        best = search.evolve(
            state,
            self._model,
            self._genes,
            self._fitness,
            self._parents,
            self._generations,
            seed,
        )
        return self._genes[self._generations % 2, best].tolist()


class LocalSearch:
    """Amends the plan of the greedy rule, one decision of one aircraft at a time.

    Every quarter of an hour the next 90 minutes are tried out with the greedy rule in the
    kernel, then again with one decision changed, and the change is kept if they earn more: some
    flights that earn less at once bring the aircraft where they earn more later. A change
    belongs to an aircraft and the number of its decision from now, so that it keeps its meaning
    when others decide earlier or later; the rule decides what is left open or has become illegal.

    Args:
        simulation: Where the day is played.
        seed: Seed of the random numbers.
    """

    INTERVAL = 15
    HORIZON = 90
    DEPTH = 3
    TRIES_PER_AIRCRAFT = 50

    def __init__(self, simulation: UAMFleetSimulation, seed: int) -> None:
        aircraft = simulation.limits.aircraft
        self._model = simulation.allocate(2, 0)
        self._amendments = np.full((aircraft, self.DEPTH), search.AS_GREEDY)
        self._asked = np.zeros(aircraft, np.int64)
        self._seed = seed
        self._interval = -1

    def act(self, state: kernel.State) -> int:
        """Return the vertiport to fly to in lane 0, or the aircraft's own to stay."""
        now = int(state.scalar[0, kernel.TIME])
        if now // self.INTERVAL != self._interval:
            self._interval = now // self.INTERVAL
            self._amend(state, now + self.HORIZON)
        row = self._amendments[state.scalar[0, kernel.CRAFT]]
        amendment = row[0]
        row[:-1], row[-1] = row[1:].copy(), search.AS_GREEDY
        return int(search.amended_action_lane(state, amendment))

    def _amend(self, state: kernel.State, until: int) -> None:
        seed = np.uint64(derive(np.uint64(self._seed), self._interval))
        tries = self.TRIES_PER_AIRCRAFT * len(self._asked)
        search.amend(state, self._model, self._amendments, self._asked, until, tries, seed)
