"""Planners that think before they decide: search and constraint programming, again and again.

A planner knows what the environment shows: the jobs in the system, what runs and until when it
should; of jobs to come it knows nothing, and of durations what is expected of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.soc import exact, kernel, search
from dispatchgym.envs.soc.env import SoCSimulation
from dispatchgym.envs.soc.instance import Instance

__all__ = [
    "PLANNERS",
    "PlannedEpisode",
    "Planner",
    "Resolve",
    "Search",
    "make_planner",
    "plan_episode",
]

PLANNERS: Mapping[str, str] = {
    "search": "plans all tasks anew at each call by simulated annealing; PEs may be held free",
    "search_committed": "the same with what the actions can do: no PE is held free for a task",
    "resolve": "plans all tasks anew at each arrival by constraint programming (OR-tools)",
}
"""Name -> what the planner does."""

_ALL = np.ones(1, np.bool_)


class Planner(Protocol):
    """Whoever answers one decision after the other, through one episode."""

    def act(self, state: kernel.State) -> int:
        """Return the action in lane 0; a plan that holds PEs free is laid down in the state."""


@dataclass(frozen=True)
class PlannedEpisode:
    """An episode that a planner has played.

    Attributes:
        objective: Mean latency in microseconds of the jobs that count; nan if none does.
        schedule: The schedule in the form of the environment's ``info["schedule"]``.
        seconds: (n,) time the planner took for each decision.
    """

    objective: float
    schedule: dict[str, npt.NDArray[Any]]
    seconds: npt.NDArray[np.float64]


def plan_episode(name: str, instance: Instance, seed: int = 0) -> PlannedEpisode:
    """Play an episode under a planner.

    Args:
        name: One of `PLANNERS`.
        instance: Platform, job profiles and workload.
        seed: Seed of arrivals and durations, and of the planner's own random numbers, in
            0..2^63-1.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: The planner needs OR-tools and they are not installed.
    """
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^63-1")
    simulation = SoCSimulation(num_lanes=1, scenario=instance)
    simulation.restart(_ALL, np.array([seed], np.int64))
    planner = make_planner(name, simulation, int(seed))
    seconds = []
    while not simulation.terminated[0]:
        began = time.perf_counter()
        action = planner.act(simulation.state)
        seconds.append(time.perf_counter() - began)
        simulation.step(np.array([action], np.int64), _ALL, False)
    result = simulation.final_info(0)
    return PlannedEpisode(result["objective"], result["schedule"], np.array(seconds))


def make_planner(name: str, simulation: SoCSimulation, seed: int) -> Planner:
    """Return a planner for the episode that has begun in lane 0 of a simulation.

    Args:
        name: One of `PLANNERS`.
        simulation: Where the episode is played, in mode ``commit_ready``.
        seed: Seed of the planner's own random numbers.

    Raises:
        ParameterError: There is no such planner, or the mode is another one.
    """
    check_choice("name", name, PLANNERS)
    if simulation.mode != "commit_ready":
        raise ParameterError(f"mode: found {simulation.mode!r}, expected 'commit_ready'")
    makers: dict[str, Callable[[], Planner]] = {
        "search": lambda: Search(simulation, seed),
        "search_committed": lambda: Search(simulation, seed, committed=True),
        "resolve": lambda: Resolve(simulation, seed),
    }
    return makers[name]()


class Search:
    """Plans all open tasks anew at each call of the scheduler, by simulated annealing.

    Args:
        simulation: Where the episode is played.
        seed: Seed of the moves.
        committed: Whether PEs are never held free, so that the actions alone make the schedule.
        moves: Number of moves of each search, `MOVES` unless given.
    """

    MOVES = 10_000

    def __init__(
        self,
        simulation: SoCSimulation,
        seed: int,
        *,
        committed: bool = False,
        moves: int | None = None,
    ) -> None:
        self.moves = self.MOVES if moves is None else moves
        self._tables = simulation.tables
        self._problem = search.empty_problem(simulation.limits, 1)
        self._committed = committed
        self._seed = seed
        self._call = -1

    def act(self, state: kernel.State) -> int:
        """Return the action in lane 0; a plan that holds PEs free is laid down in the state."""
        problem, call = self._problem, int(state.scalar[0, kernel.CALL])
        if call != self._call:
            self._call = call
            self._plan(state)
        place = search.first_ready(state, 0, problem, 0)
        return int(place * state.pe.shape[2] + problem.known_pe[0, place])

    def _plan(self, state: kernel.State) -> None:
        arguments = (state, self._tables, 0, self._problem, 0)
        search.plan(*arguments, self._committed, self.moves, self._seed)
        if not self._committed:
            search.lay_down(state, 0, self._problem, 0)


class Resolve(Search):
    """Plans all open tasks anew at each arrival, by constraint programming from a searched plan.

    The plan minimises the sum of the completion times of the jobs in the system and is followed
    until the next job arrives, or, if durations are random, to the next call. The solver's limit
    is one of work and not of time: results repeat.

    Args:
        simulation: Where the episode is played.
        seed: Seed of the search.
        work_limit: Limit of each plan in the solver's units of about a second, `WORK_LIMIT`
            unless given.
    """

    WORK_LIMIT = 2.0

    def __init__(
        self, simulation: SoCSimulation, seed: int, *, work_limit: float | None = None
    ) -> None:
        super().__init__(simulation, seed)
        self.work_limit = self.WORK_LIMIT if work_limit is None else work_limit
        self._always = simulation.instance(0).workload.noise > 0
        self._injected = -1

    def _plan(self, state: kernel.State) -> None:
        injected = int(state.scalar[0, kernel.INJECTED])
        if injected == self._injected and not self._always:
            return
        self._injected = injected
        search.plan(state, self._tables, 0, self._problem, 0, False, self.moves, self._seed)
        exact.solve_problem(self._problem, 0, work_limit=self.work_limit)
        search.remember(self._problem, 0, state, 0)
        search.lay_down(state, 0, self._problem, 0)
