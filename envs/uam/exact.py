"""Upper bounds on a day's profit, and optimal days of small deterministic instances.

The bound is the linear program of `dispatchgym.envs.uam.flow` with all demand known. Decisions
are rounded down to a grid of time and block times too, so every day that the environment can
play is a solution: a decision at t' >= t + b falls into a step that is at least floor(b / grid)
after that of t. Waits, corridors, delays, failures, repairs and batteries that are not full only
lengthen blocks or forbid legs. The bound therefore holds for every policy, one that knows the
future included, with disturbances as without.

Where nothing of this can happen, the grid is one minute and flights are whole numbers, the
program is the problem itself and `solve` finds the best day, which the environment then plays.

Needs the extra ``exact``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.uam import kernel
from dispatchgym.envs.uam.env import UAMFleetSimulation
from dispatchgym.envs.uam.flow import Flow, FlowSolution, flow_fields, solve_flow
from dispatchgym.envs.uam.instance import Instance
from dispatchgym.envs.uam.planners import plan_day
from dispatchgym.envs.uam.rules import RULES
from dispatchgym.envs.uam.validator import validate

__all__ = [
    "ExactResult",
    "day_flow",
    "default_grid",
    "is_exact",
    "solve",
    "turn_flow",
    "upper_bound",
]

_CLOSURE = 0
_COARSE = 15
"""Minutes of the grid to fall back on."""
_UNDER_A_CENT = 0.99
"""Absolute gap at which whole cents are optimal."""
_COLUMNS_A_MINUTE = 100_000
"""Flights on the grid for which a minute is enough, with a margin, on the machines we measured."""


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: Profit of the best day found, in dollars.
        bound: Profit that no policy can exceed, in dollars.
        proved: Whether the day is proven optimal: it reaches the bound.
        schedule: The day in the form of the environment's ``info["schedule"]``.
        seconds: Wall time of everything.
    """

    objective: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float


def solve(instance: Instance, *, seed: int = 0, time_limit: float = 60.0) -> ExactResult:
    """Return a good day and a bound, both proven optimal where the day allows it.

    Where `is_exact` holds, whole flights on a grid of one minute are the problem itself, but for
    the order of the decisions within a minute, which they leave open. If no order can be found
    for the best flights, the program is solved again with a step for each aircraft in every
    minute. Elsewhere the day is the best of the rules and planners, which do not know what comes,
    and the bound is `upper_bound`.

    Args:
        instance: The day.
        seed: Seed of the disturbances, in 0..2^63-1.
        time_limit: Seconds, > 0. What has begun is finished: small days take less, large ones
            up to twice as much.

    Returns:
        The best day, which has passed the validator, and a proven bound.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: highspy is not installed.
        EvaluationError: A schedule fails the validator or contradicts bound or program.
    """
    began = time.perf_counter()
    _check_time_limit(time_limit)
    simulation = _simulation(instance, seed)
    if is_exact(instance):
        bound, found = _solve_exactly(simulation, time_limit)
    else:
        bound, found = upper_bound(instance, seed, time_limit=time_limit / 2), None
    if found is None:
        found = _best_known(instance, seed, began + time_limit)
    report = validate(instance, found)
    cents = int(found["profit"])
    if not report.valid:
        raise EvaluationError(
            f"{instance.name}: the schedule is not valid: {report.violations[0].message}"
        )
    if cents > bound:
        raise EvaluationError(f"{instance.name}: profit {cents} is above the proven bound {bound}")
    seconds = time.perf_counter() - began
    return ExactResult(cents / 100, bound / 100, cents == bound, found, seconds)


def is_exact(instance: Instance) -> bool:
    """Return whether whole flights on a grid of one minute are all that can happen on a day.

    Nothing is random, aircraft may decide every minute, wherever they land they charge, nobody
    queues for the airspace, and no passenger costs more than the fare.
    """
    fields = flow_fields(instance)
    return (
        not instance.stochastic
        and instance.wait == 1
        and instance.headway == instance.pad_headway == 0
        and bool((instance.chargers > 0).all())
        and bool((fields["margin"] >= 0).all())
    )


def upper_bound(
    instance: Instance,
    seed: int | None = None,
    *,
    grid: int | None = None,
    time_limit: float = 60.0,
) -> int:
    """Return cents that no policy can earn on a day.

    Args:
        instance: The day.
        seed: Seed of an episode: flights on the routes that are closed in it are left out. None:
            the bound holds for every seed.
        grid: Minutes of a step, a divisor of the slot and at most the shortest block time; the
            finer the tighter. `default_grid` unless given.
        time_limit: Seconds, > 0, after which a fine grid is given up for one of up to 15
            minutes, which may take what time it needs.

    Raises:
        ParameterError: An argument is out of range.
        MissingDependencyError: highspy is not installed.
    """
    _check_time_limit(time_limit)
    grids = _grids(instance)
    if grid is None:
        grid = default_grid(instance, time_limit)
    elif grid not in grids:
        raise ParameterError(f"grid: found {grid!r}, expected one of {grids}")
    coarse = max(step for step in grids if step <= max(grid, _COARSE))
    flow = day_flow(instance, grid, seed)
    if grid < coarse:
        solution = solve_flow(flow, solver="ipm", time_limit=time_limit)
        if solution.proved:
            return _cents(solution.bound)
        flow = day_flow(instance, coarse, seed)
    return _cents(solve_flow(flow, solver="ipm").bound)


def default_grid(instance: Instance, time_limit: float = 60.0) -> int:
    """Return the finest grid whose bound should be found in this many seconds.

    With a minute that is one minute for 8 vertiports, 3 for 20 and 15 to 20 for 50.
    """
    legs = int(instance.reachable.sum())
    columns = _COLUMNS_A_MINUTE * (time_limit / 60.0) ** 0.8  # time grows like columns ** 1.25
    finest = legs * (instance.end - instance.start) / columns
    grids = _grids(instance)
    return next((step for step in grids if step >= finest), grids[-1])


def day_flow(instance: Instance, grid: int, seed: int | None = None) -> Flow:
    """Return the relaxation of a day on a grid of `grid` minutes; see `upper_bound`."""
    fields = flow_fields(instance)
    legs = fields["origin"], fields["destination"]
    steps = (instance.end - instance.start) // grid
    step = np.arange(steps)
    slot = step * grid // instance.slot
    is_open = np.ones((len(legs[0]), steps), np.bool_)
    if instance.must_land_by_end:
        is_open &= step + instance.block[legs][:, None] // grid <= steps
    if seed is not None and instance.stochastic:
        is_open &= ~_closed(instance, seed)[:, *legs].T[:, slot]
    supply = np.zeros((instance.num_ports, steps), np.int64)
    supply[:, 0] = np.bincount(instance.start_port, minlength=instance.num_ports)
    return Flow(
        slot=slot,
        duration=instance.block[legs] // grid,
        open=is_open,
        supply=supply,
        held=np.zeros_like(supply),
        lag=int(grid > 1),
        **fields,
    )


def event_flow(instance: Instance) -> Flow:
    """Return a day on a grid of one minute that lets flights set out only where they must.

    No profit is lost. Take a minute in which flights set out, but no slot begins and nobody lands
    or finishes charging: all these flights could set out a minute earlier together, with the same
    fares and the same places free. So a best day exists whose departures are at the beginning of
    a slot, or a sum of block times later.
    """
    flow = day_flow(instance, 1)
    blocks = np.unique(flow.duration)
    event = np.arange(flow.slot.size) % instance.slot == 0
    for minute in range(flow.slot.size):
        event[minute] |= event[minute - blocks[blocks <= minute]].any()
    return replace(flow, open=flow.open & event)


def turn_flow(instance: Instance) -> Flow:
    """Return a day on a grid of one minute, whose steps are the turns of each aircraft in it.

    Aircraft decide in the order of their numbers within a minute. With as many steps a minute as
    there are aircraft, and flights and waits of whole minutes, each decides in its own step of
    every minute, so that the flow knows who can take a place that somebody leaves.
    """
    flow, turns = day_flow(instance, 1), instance.num_aircraft
    supply = np.zeros((instance.num_ports, flow.slot.size * turns), np.int64)
    supply[instance.start_port, np.arange(turns)] = 1
    return replace(
        flow,
        slot=np.repeat(flow.slot, turns),
        duration=flow.duration * turns,
        open=np.repeat(flow.open, turns, axis=1),
        supply=supply,
        held=np.zeros_like(supply),
        wait=turns,
    )


def _simulation(instance: Instance, seed: int) -> UAMFleetSimulation:
    """Return a day that has begun."""
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^63-1")
    simulation = UAMFleetSimulation(num_lanes=1, scenario=instance)
    simulation.restart(np.ones(1, np.bool_), np.array([seed], np.int64))
    return simulation


def _solve_exactly(
    simulation: UAMFleetSimulation, time_limit: float
) -> tuple[int, dict[str, Any] | None]:
    """Return the bound in cents and the schedule of the best flights, if any can be played.

    Flights of each minute are found faster; those of each turn can be played where the others
    need another order of the decisions within a minute.
    """
    instance = simulation.instance(0)
    start, bound = simulation.get_state(), math.inf
    for flow_of in (event_flow, turn_flow):
        flow = flow_of(instance)
        solution = solve_flow(
            flow, integer=True, time_limit=time_limit / 2, tolerance=_UNDER_A_CENT
        )
        bound = min(bound, solution.bound)
        simulation.set_state(start)
        schedule = _play(simulation, flow, solution)
        if schedule is not None:
            return _cents(bound), schedule
    return _cents(bound), None


def _play(
    simulation: UAMFleetSimulation, flow: Flow, solution: FlowSolution
) -> dict[str, Any] | None:
    """Play flights in the environment and return the schedule, None if that is not possible.

    Aircraft decide in the order of their numbers, and a charger is free only for those who
    decide after it was left. So it matters which of the aircraft at a vertiport flies, and some
    must wait a minute for another. All choices are tried, depth first, but none twice from the
    same state. As many minutes late as there are aircraft is late enough: in each, one goes.

    Raises:
        EvaluationError: The environment pays another profit than the program.
    """
    if solution.flights is None:
        return None
    instance, state, everyone = simulation.instance(0), simulation.state, np.ones(1, np.bool_)
    turns = flow.slot.size // (instance.end - instance.start)
    patience = instance.num_aircraft // turns
    waiting = np.zeros((flow.slot.size, instance.num_ports, instance.num_ports), np.int64)
    waiting[:, flow.origin, flow.destination] = np.rint(solution.flights).T
    nodes, seen = [(simulation.get_state(), waiting)], set()
    while nodes:
        snapshot, waiting = nodes.pop()
        simulation.set_state(snapshot)
        if simulation.terminated[0] and not waiting.any():
            return _paid(simulation.final_info(0)["schedule"], solution)
        scalar, port = state.scalar[0], int(state.scalar[0, kernel.PORT])
        step = int(scalar[kernel.TIME] - instance.start) * turns + int(scalar[kernel.CRAFT]) % turns
        slot_begins = int(scalar[kernel.SLOT_NOW]) * instance.slot * turns
        oldest = max(step - patience, slot_begins)
        key = (step, state.craft.tobytes(), waiting[oldest : step + 1].tobytes())
        if key in seen or waiting[:oldest].any():
            continue
        seen.add(key)
        due = waiting[oldest : step + 1, port]
        targets = np.flatnonzero(due.any(axis=0) & (state.legal[0] == 1))
        for target in (port, *targets.tolist()):  # the last is tried first
            simulation.set_state(snapshot)
            simulation.step(np.array([target]), everyone, False)
            left = waiting.copy()
            if target != port:
                left[oldest + np.flatnonzero(due[:, target])[0], port, target] -= 1
            nodes.append((simulation.get_state(), left))
    return None


def _paid(schedule: dict[str, Any], solution: FlowSolution) -> dict[str, Any]:
    """Return the schedule if it earns what the program says."""
    if int(schedule["profit"]) != round(solution.profit):
        raise EvaluationError(
            f"profit: found {int(schedule['profit'])} cents in the environment, expected "
            f"{solution.profit:.2f} as in the integer program"
        )
    return schedule


def _best_known(instance: Instance, seed: int, deadline: float) -> dict[str, Any]:
    """Return the best schedule of rules and planners, the slow ones only before the deadline."""
    schedules = []
    for rule in RULES:
        simulation = _simulation(instance, seed)
        simulation.run_rule(rule)
        schedules.append(simulation.final_info(0)["schedule"])
    for planner in ("local_search", "mpc"):
        if time.perf_counter() < deadline:
            schedules.append(plan_day(planner, instance, seed).schedule)
    return max(schedules, key=lambda schedule: int(schedule["profit"]))


def _closed(instance: Instance, seed: int) -> npt.NDArray[np.bool_]:
    """Return (S, N, N) which routes an episode closes in which slots."""
    ports = instance.num_ports
    closed = np.zeros((instance.num_slots, ports, ports), np.bool_)
    for slot, i, j in np.ndindex(*closed.shape):
        pair = min(i, j) * ports + max(i, j)
        draw = uniform(np.uint64(seed), _CLOSURE, slot, pair)
        closed[slot, i, j] = draw < instance.closure_probability[i, j]
    return closed


def _grids(instance: Instance) -> list[int]:
    """Return the divisors of the slot up to the shortest block.

    On a coarser grid an aircraft could fly twice within a step, which the flow does not know.
    """
    shortest = int(instance.block[instance.reachable].min())
    return [step for step in range(1, shortest + 1) if instance.slot % step == 0]


def _cents(bound: float) -> int:
    """Return the bound as whole cents, which profits are; a hair above one counts as that."""
    return math.floor(bound + 1e-4)


def _check_time_limit(time_limit: float) -> None:
    if not isinstance(time_limit, int | float) or not 0 < time_limit < math.inf:
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
