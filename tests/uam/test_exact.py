"""The bound against plain formulations, whole numbers, random duals and everything played."""

import copy
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from uam import reference
from uam.cases import change, small, varied

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError, ParameterError
from dispatchgym.envs.uam import exact
from dispatchgym.envs.uam.env import UAMFleetVectorEnv
from dispatchgym.envs.uam.exact import (
    day_flow,
    default_grid,
    event_flow,
    is_exact,
    solve,
    turn_flow,
    upper_bound,
)
from dispatchgym.envs.uam.flow import Flow, _Program, solve_flow
from dispatchgym.envs.uam.generators import FleetGenerator, make_instance
from dispatchgym.envs.uam.planners import PLANNERS, plan_day
from dispatchgym.envs.uam.rules import RULES
from dispatchgym.envs.uam.validator import validate

needs_solver = pytest.mark.skipif(find_spec("highspy") is None, reason="highspy is not installed")
pytestmark = needs_solver
TINY = "uam-tiny-3x4-exact"
SLOW_TINY = (2, 5)  # the solver takes 10 s for one, a minute for the other


def plain_bound(flow, integer=False):
    """The program written row by row with names instead of arrays; optimum by scipy."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    legs, steps = flow.open.shape
    ports, slots = len(flow.places), flow.demand.shape[1]
    names, rows = {}, []

    def column(*name):
        return names.setdefault(name, len(names))

    for a in range(legs):
        for h in range(steps):
            column("x", a, h)
        for s in range(slots):
            column("y", a, s)
    for i in range(ports):
        for h in range(steps):
            column("w", i, h)
    for i in range(ports):
        landing = [a for a in range(legs) if flow.destination[a] == i]
        for h in range(steps):
            row = {column("w", i, h): 1.0}
            if h >= flow.wait:
                row[column("w", i, h - flow.wait)] = -1.0
            for a in range(legs):
                if flow.origin[a] == i:
                    row[column("x", a, h)] = 1.0
            for a in landing:
                if h >= flow.duration[a]:
                    row[column("x", a, h - flow.duration[a])] = -1.0
            rows.append((row, flow.supply[i, h], flow.supply[i, h]))
            busy = {
                column("x", a, g): 1.0
                for a in landing
                for g in range(steps)
                if g + flow.lag <= h < g + flow.duration[a]
            }
            rows.append((busy, -np.inf, flow.capacity[i] - flow.held[i, h]))
            waiting = {column("w", i, h - since): 1.0 for since in range(min(flow.wait, h + 1))}
            together = {**busy, **waiting}
            rows.append((together, -np.inf, flow.places[i] - flow.held[i, h]))
    for a in range(legs):
        for s in range(slots):
            demand, seats = flow.demand[a, s], flow.seats
            flights = [column("x", a, h) for h in range(steps) if flow.slot[h] == s]
            rows.append(({column("y", a, s): 1.0} | dict.fromkeys(flights, -seats), -np.inf, 0.0))
            needed = -(-demand // seats)
            last = demand - seats * (needed - 1)
            if demand == int(demand) and 0 < last < seats:
                row = {column("y", a, s): 1.0} | dict.fromkeys(flights, -last)
                rows.append((row, -np.inf, demand - last * needed))
    cost, upper, whole = np.zeros(len(names)), np.full(len(names), np.inf), np.zeros(len(names))
    for (kind, index, place), number in names.items():
        if kind == "x":
            cost[number] = flow.cost[index]
            upper[number] = np.inf if flow.open[index, place] else 0
            whole[number] = integer
        elif kind == "y":
            cost[number] = -flow.margin[index, place]
            upper[number] = flow.demand[index, place]
    matrix = np.zeros((len(rows), len(names)))
    for number, (row, _, _) in enumerate(rows):
        matrix[number, list(row)] = list(row.values())
    low, high = (np.array([row[side] for row in rows]) for side in (1, 2))
    found = milp(
        cost,
        constraints=LinearConstraint(matrix, low, high),
        bounds=Bounds(0, upper),
        integrality=whole,
    )
    assert found.status == 0
    return -found.fun


def tiny_day(seed, **fields):
    """A short day of few vertiports and aircraft."""
    fleet = FleetGenerator((2, 4), (1, 6), area=20.0, end=480, load=(0.5, 2.0), stochastic=False)
    return change(fleet.generate(seed), **fields)


# ------------------------------------------------------------------------------- the program


@pytest.mark.parametrize("grid", [5, 15])
def test_equals_the_program_written_row_by_row(grid):
    for seed in range(12):
        flow = day_flow(tiny_day(seed, op_basis=("passenger", "vehicle")[seed % 2]), grid)
        solution = solve_flow(flow)
        assert solution.proved
        assert solution.bound == pytest.approx(plain_bound(flow), abs=0.01)
        assert solution.profit == pytest.approx(solution.bound, abs=0.01)


def test_equals_the_program_with_flights_on_the_way_and_fractional_demand():
    rng = np.random.default_rng(0)
    for seed in range(8):
        flow = day_flow(tiny_day(seed), 15)
        flow = replace(
            flow,
            demand=flow.demand * rng.choice([0.5, 1.0, 1.3], flow.demand.shape),
            held=rng.integers(0, 2, flow.held.shape),
            open=rng.random(flow.open.shape) < 0.8,
        )
        assert solve_flow(flow).bound == pytest.approx(plain_bound(flow), abs=0.01)


@pytest.mark.parametrize(
    "flow_of", [lambda seed: day_flow(tiny_day(seed), 15), lambda seed: turn_flow(short_day(seed))]
)
def test_whole_flights_equal_the_program_written_row_by_row(flow_of):
    for seed in range(6):
        flow = flow_of(seed)
        solution = solve_flow(flow, integer=True)
        assert solution.proved
        assert np.abs(solution.flights - np.rint(solution.flights)).max() < 1e-6
        assert solution.profit == pytest.approx(plain_bound(flow, integer=True), abs=0.01)


def test_cut_is_the_hull_of_seats_and_whole_flights():
    """Five passengers and four seats: the second flight can earn one fare, not half of five."""
    values = np.array([[5.0]])
    one = Flow(
        slot=np.array([0]),
        origin=np.array([0]),
        destination=np.array([1]),
        duration=np.array([1]),
        open=np.array([[True]]),
        supply=np.array([[2], [0]]),
        capacity=np.array([9, 9]),
        places=np.array([9, 9]),
        held=np.zeros((2, 1), int),
        demand=values,
        margin=np.array([[100.0]]),
        cost=np.array([150.0]),
        seats=4,
        lag=0,
    )
    assert solve_flow(one).bound == pytest.approx(250)  # one flight, four fares
    uncut = replace(one, demand=values + 1e-6)  # no whole number, no cut
    assert solve_flow(uncut).bound == pytest.approx(312.5, abs=0.01)


@pytest.mark.parametrize("flow_of", [event_flow, turn_flow])
def test_any_duals_give_a_bound(flow_of):
    rng = np.random.default_rng(1)
    for seed in range(5):
        flow = flow_of(short_day(seed))
        best = solve_flow(flow, integer=True).profit
        program = _Program(flow)
        for scale in (0, 1, 100, 1000):
            dual = rng.normal(0, scale, program.num_rows)
            assert program.dual_bound(dual) >= best - 0.01


def test_solver_methods_agree():
    flow = day_flow(make_instance("uam-8x40-det", 2), 15)
    found = [solve_flow(flow, solver=solver).bound for solver in ("ipm", "simplex")]
    assert found[0] == pytest.approx(found[1], abs=0.5)


def test_departures_at_events_lose_no_profit():
    for seed in range(6):
        for instance in (tiny_day(seed), short_day(seed), make_instance(TINY, seed)):
            events, minutes = event_flow(instance), day_flow(instance, 1)
            assert events.open.sum() < minutes.open.sum()
            assert solve_flow(events).bound == pytest.approx(solve_flow(minutes).bound, abs=0.01)


def test_turns_allow_no_flights_that_a_minute_does_not():
    for seed in range(6):
        instance = short_day(seed)
        turns, minutes = turn_flow(instance), day_flow(instance, 1)
        assert solve_flow(turns).bound <= solve_flow(minutes).bound + 0.01


# --------------------------------------------------------------------------------- the bound


def test_coarser_grids_are_looser():
    for seed in range(6):
        instance = tiny_day(seed)
        bounds = [upper_bound(instance, grid=grid) for grid in (1, 5, 15)]
        assert bounds == sorted(bounds)


def test_grid_is_no_coarser_than_the_shortest_block():
    """Else aircraft could fly twice within a step, and the program would be no bound."""
    instance = small(takeoff=1, landing=1, chargers=np.array([2, 2, 2]), charge_power_w=10**6)
    assert instance.block[instance.reachable].min() == 13
    assert upper_bound(instance, grid=12) >= upper_bound(instance, grid=6)
    with pytest.raises(ParameterError, match=r"grid: found 15, expected one of \[1, .*, 12\]"):
        upper_bound(instance, grid=15)


def test_closed_routes_tighten_the_bound_of_an_episode():
    instance = change(make_instance("uam-4x8-storm", 0))
    bound = upper_bound(instance, grid=15)
    of_episodes = [upper_bound(instance, seed, grid=15) for seed in range(4)]
    assert max(of_episodes) <= bound and min(of_episodes) < bound
    calm = change(instance, stochastic=False)
    assert upper_bound(calm, 0, grid=15) == upper_bound(calm, grid=15) == bound


def test_landing_by_the_end_tightens_the_bound():
    instance = tiny_day(1)
    assert upper_bound(change(instance, must_land_by_end=True)) < upper_bound(instance)


def test_time_limit_falls_back_on_a_coarse_grid():
    instance = make_instance("uam-8x40-det", 0)
    hurried = upper_bound(instance, grid=1, time_limit=0.001)
    assert hurried == upper_bound(instance, grid=15)


def test_default_grid_depends_on_size_and_time():
    grids = [default_grid(make_instance(f"uam-{size}", 0)) for size in ("8x40", "20x100")]
    assert grids == [1, 3]
    assert default_grid(make_instance("uam-8x40", 0), time_limit=1.0) > 1
    assert 60 % default_grid(make_instance("uam-50x500", 0)) == 0


@pytest.mark.parametrize("grid", [0, 7, 90, 1.5, "fine"])
def test_grid_that_does_not_divide_the_slot(grid):
    with pytest.raises(ParameterError, match="grid: found"):
        upper_bound(small(), grid=grid)


@pytest.mark.parametrize("time_limit", [0, -1, float("nan"), "long"])
def test_time_limit_that_is_no_time(time_limit):
    for run in (upper_bound, solve):
        with pytest.raises(ParameterError, match="time_limit: found"):
            run(small(), time_limit=time_limit)


def check_days_below_the_bound(day_of, seeds, planners, grid):
    """Play days by all rules and some planners and compare with the episode's bound."""
    gaps = []
    for seed in seeds:
        instance = day_of(seed)
        bound = upper_bound(instance, seed, grid=grid) / 100
        env = UAMFleetVectorEnv(1, scenario=instance)
        for rule in RULES:
            env.reset(seed=[seed])
            gaps.append(bound - env.simulation.run_rule(rule)["objective"][0])
        for planner in planners:
            day = plan_day(planner, instance, seed)
            assert validate(instance, day.schedule).valid
            gaps.append(bound - day.objective)
        assert min(gaps) >= 0, (seed, gaps)


def test_no_day_is_above_the_bound():
    check_days_below_the_bound(varied, range(30), ["local_search"], grid=5)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_no_day_of_any_planner_is_above_the_bound(block):
    """Together 300 days of three rules and all planners."""
    check_days_below_the_bound(varied, range(30 * block, 30 * block + 30), PLANNERS, grid=1)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "days"), [("4x10", 19), ("8x40", 2)])
@pytest.mark.parametrize("variant", ["", "-det", "-market", "-low", "-high", "-mixed", "-storm"])
def test_no_day_of_a_scenario_is_above_its_bound(size, days, variant):
    """Together 147 days, 1,029 runs."""
    day_of = partial(make_instance, f"uam-{size}{variant}")
    check_days_below_the_bound(day_of, range(days), PLANNERS, grid=15)


# ---------------------------------------------------------------------------------- exact mode


def check_tiny_day(seed):
    """`solve` raises if the environment pays another profit than the integer program."""
    instance = make_instance(TINY, seed)
    assert is_exact(instance)
    result = solve(instance, time_limit=3600)
    assert result.proved and result.objective == result.bound
    report = validate(instance, result.schedule)
    assert report.valid and report.objective == result.objective
    env = UAMFleetVectorEnv(1, scenario=instance)
    for rule in RULES:
        env.reset(seed=[0])
        assert env.simulation.run_rule(rule)["objective"][0] <= result.objective


@pytest.mark.parametrize("seed", sorted(set(range(20)) - set(SLOW_TINY)))
def test_best_flights_earn_in_the_environment_what_the_program_says(seed):
    check_tiny_day(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW_TINY)
def test_best_flights_of_the_other_tiny_days(seed):
    """Of day 5 they need another order of the decisions within a minute, so turns decide."""
    check_tiny_day(seed)


@pytest.mark.parametrize("seed", range(5))
def test_flights_by_turns_are_played_as_they_are(seed):
    instance = short_day(seed)
    flow = turn_flow(instance)
    solution = solve_flow(flow, integer=True)
    schedule = exact._play(exact._simulation(instance, 0), flow, solution)
    assert validate(instance, schedule).valid
    time, craft, origin, action = schedule["decisions"].T[:4]
    turn = (time - instance.start) * instance.num_aircraft + craft
    assert sorted(turn[origin != action]) == sorted(np.nonzero(np.rint(solution.flights))[1])
    assert int(schedule["profit"]) == round(100 * solve(instance).objective)


def best_of_all_decisions(instance):
    """Return the most cents that any decisions earn, by trying them all from every state."""
    known = {}

    def state(day):
        fleet = tuple((c.at, c.next, c.on_charger) for c in day.fleet)
        return fleet, tuple(sorted(day.left.items()))

    def best(day):
        key = state(day)
        if key not in known:
            known[key] = 0
            craft = day.decider()
            if craft is not None:
                legal = np.flatnonzero(day.legal(craft)).tolist()
                known[key] = max(earned_with(day, craft.number, action) for action in legal)
        return known[key]

    def earned_with(day, number, action):
        child = copy.copy(day)
        child.fleet = [copy.copy(craft) for craft in day.fleet]
        child.ports = [copy.copy(port) for port in day.ports]
        child.left, child.free_from, child.log = dict(day.left), {}, []  # no headway
        return child.act(child.fleet[number], action) + best(child)

    return best(reference.Day(instance, 0))


def short_day(seed):
    """Twenty minutes of two aircraft between two or three vertiports."""
    rng = np.random.default_rng(seed)
    ports, aircraft = int(rng.integers(2, 4)), 2
    start = rng.integers(0, ports, aircraft)
    passengers = rng.integers(0, 7, (1, ports, ports)) * (1 - np.eye(ports, dtype=int))
    return small(
        end=380,
        slot=20,
        wait=1,
        headway=0,
        takeoff=0,
        landing=1,
        charge_power_w=600_000,
        x=np.arange(ports) * 5.0,
        y=rng.integers(0, 3, ports) * 1.0,
        parking=np.maximum(np.bincount(start, minlength=ports), 1),
        chargers=np.ones(ports, int),
        high_demand=np.zeros(ports, bool),
        delay_mean=np.zeros(ports),
        start_port=start,
        failure_probability=np.zeros(aircraft),
        closure_probability=np.zeros((ports, ports)),
        rate=passengers * 1.0,
        passengers=passengers,
        fare_cents=np.full((1, ports, ports), 700),
    )


@pytest.mark.parametrize("seed", range(20))
def test_equals_exhaustive_search(seed):
    instance = short_day(seed)
    result = solve(instance)
    assert result.proved
    assert result.objective == best_of_all_decisions(instance) / 100


# ------------------------------------------------------------------------- solve, elsewhere


def test_solve_returns_the_best_day_known_and_a_bound():
    instance = make_instance("uam-4x10", 3)
    result = solve(instance, seed=5)
    assert not is_exact(instance)
    report = validate(instance, result.schedule)
    assert report.valid and report.objective == result.objective
    assert result.schedule["seed"] == 5
    env = UAMFleetVectorEnv(1, scenario=instance)
    env.reset(seed=[5])
    assert env.simulation.run_rule("greedy")["objective"][0] <= result.objective
    assert result.objective < result.bound == upper_bound(instance, 5) / 100
    assert not result.proved and result.seconds > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"stochastic": True},
        {"wait": 2},
        {"headway": 1},
        {"pad_headway": 1},
        {"chargers": np.array([1, 0])},
        {"fare_cents": np.zeros((1, 2, 2), int)},
    ],
)
def test_day_that_is_no_integer_program(fields):
    instance = short_day(1)
    assert instance.num_ports == 2 and is_exact(instance)
    assert not is_exact(change(instance, **fields))


def test_schedule_that_the_validator_refuses_is_an_error(monkeypatch):
    refused = type("Report", (), {"valid": False, "violations": [ValueError("why")]})
    refused.violations[0].message = "why"
    monkeypatch.setattr(exact, "validate", lambda *_: refused)
    with pytest.raises(EvaluationError, match="why"):
        solve(short_day(0))


def test_profit_above_the_bound_is_an_error(monkeypatch):
    monkeypatch.setattr(exact, "upper_bound", lambda *_, **__: -1)
    with pytest.raises(EvaluationError, match="above the proven bound"):
        solve(small())


def test_environment_that_pays_something_else_is_an_error(monkeypatch):
    solved = exact.solve_flow
    monkeypatch.setattr(exact, "solve_flow", lambda *a, **k: replace(solved(*a, **k), profit=123.0))
    with pytest.raises(EvaluationError, match="expected 123"):
        solve(short_day(0))


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "x"])
def test_seed_that_is_no_seed(seed):
    with pytest.raises(ParameterError, match="seed: found"):
        solve(small(), seed=seed)


def test_instance_of_another_type():
    with pytest.raises(ParameterError, match="instance: found"):
        solve("uam-8x40")


def test_without_the_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(MissingDependencyError, match=r"dispatchgym\[exact\]"):
        upper_bound(small())
