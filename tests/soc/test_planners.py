"""Searched plans come true, get better, and label actions; the planners play valid episodes."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from soc.test_exact import given

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.soc import kernel, search
from dispatchgym.envs.soc.env import SoCSimulation
from dispatchgym.envs.soc.generators import batch, make_instance
from dispatchgym.envs.soc.instance import Cluster, JobProfile, Platform
from dispatchgym.envs.soc.planners import PLANNERS, Search, make_planner, plan_episode
from dispatchgym.envs.soc.validator import validate

ALL = np.ones(1, bool)
SEARCHES = [name for name in PLANNERS if name != "resolve"]


def begin(instance, seed=0, lanes=1):
    simulation = SoCSimulation(num_lanes=lanes, scenario=instance)
    simulation.restart(np.ones(lanes, bool), np.arange(seed, seed + lanes))
    return simulation, search.empty_problem(simulation.limits, lanes)


def total(problem, committed, now=0):
    problem.pressure[:] = 0.0
    return search.judge(problem, 0, committed, now)


def follow(simulation, problem):
    """Play to the end by one plan; return the sum of completion times."""
    while not simulation.terminated[0]:
        place = search.first_ready(simulation.state, 0, problem, 0)
        action = place * simulation.limits.pes + problem.known_pe[0, place]
        simulation.step(np.array([action]), ALL, False)
    return simulation.final_info(0)["schedule"]["jobs"][:, 4].sum()


# Committed plans with a shared memory only estimate the order in which tasks get ready.
@pytest.mark.parametrize(
    ("committed", "comm_mode"),
    [(True, "pe_to_pe"), (False, "pe_to_pe"), (False, "shared_memory")],
)
def test_plans_come_true(committed, comm_mode):
    """Where nothing is random and nobody arrives later, a plan's cost is what is played."""
    held = 0
    for seed in range(60):
        instance = given(seed, comm_mode=comm_mode)
        arrivals = instance.workload.arrivals * [1, 0]
        instance = replace(instance, workload=replace(instance.workload, arrivals=arrivals))
        simulation, problem = begin(instance)
        search.plan(simulation.state, simulation.tables, 0, problem, 0, committed, 50, seed)
        expected = total(problem, committed)
        if not committed:
            search.lay_down(simulation.state, 0, problem, 0)
            held += expected != total(problem, True)
        assert follow(simulation, problem) == expected, seed
    assert committed or held > 0


@pytest.mark.parametrize("committed", [True, False])
def test_plans_in_the_middle_of_an_episode_come_true(committed):
    """What runs, what waits and what has finished is taken into account."""
    instance = make_instance("batch-top1-top2-top3", 0)
    for seed in range(20):
        simulation, problem = begin(instance)
        random = np.random.default_rng(seed)
        for _ in range(4 + seed % 12):
            mask = simulation.observations["action_mask"][0]
            simulation.step(np.array([random.choice(np.flatnonzero(mask))]), ALL, False)
        state, now = simulation.state, simulation.state.scalar[0, kernel.NOW]
        search.plan(state, simulation.tables, 0, problem, 0, committed, 200, seed)
        if not committed:
            search.lay_down(state, 0, problem, 0)
        open_jobs = np.flatnonzero(state.job[0, :, kernel.PROFILE] >= 0)
        expected = total(problem, committed, now)
        assert len(open_jobs) == 3
        assert follow(simulation, problem) == expected


@pytest.mark.parametrize("committed", [True, False])
def test_more_moves_make_better_plans(committed):
    simulation, problem = begin(make_instance("batch-top1-top2-top3", 0))
    costs = np.empty((3, 8))
    for row, moves in enumerate((0, 300, 30_000)):
        for seed in range(8):
            problem.known_job[:] = -1
            arguments = (simulation.state, simulation.tables, 0, problem, 0, committed)
            costs[row, seed] = search.plan(*arguments, moves, seed)
            assert costs[row, seed] == search.judge(problem, 0, committed, 0)
    assert np.ptp(costs[0]) == 0
    assert (costs[1:] <= costs[0]).all()
    assert (np.diff(costs.mean(axis=1)) < -5).all()


def test_a_plan_is_taken_up_again():
    simulation, problem = begin(make_instance("batch-top1-top2-top3", 0))
    arguments = (simulation.state, simulation.tables, 0, problem, 0, False)
    found = search.plan(*arguments, 5000, 1)
    assert search.plan(*arguments, 0, 1) == found
    problem.known_job[:] = -1
    assert search.plan(*arguments, 0, 1) > found


def two_elements():
    platform = Platform("two", ("A", "B"), (Cluster("c", "CPU"),), [0, 0], np.ones((2, 2)), [1, 1])
    return platform, JobProfile("one", ("a",), [[3, 8]], np.empty((0, 3), int))


def test_costs_of_actions_by_hand():
    """A task of 3 on one PE and of 8 on the other: 5 later, and the mean PE is busy longer."""
    platform, profile = two_elements()
    simulation, problem = begin(batch("hand-made", platform, (profile,)))
    costs = np.empty((1, 2), np.float32)
    search.label_batch(simulation.state, simulation.tables, problem, 10, 10, 0, costs)
    assert costs[0].tolist() == pytest.approx([0.0, 5 + search.PRESSURE * 5 / 2])


def test_costs_of_two_tasks_by_hand():
    """Two jobs: 3 and 6 on the first PE, or 3 there and 8 on the other; no order matters."""
    platform, profile = two_elements()
    simulation, problem = begin(batch("hand-made", platform, (profile,), (0, 0)))
    costs = np.empty((1, 4), np.float32)
    search.label_batch(simulation.state, simulation.tables, problem, 50, 50, 0, costs)
    other = 2 + search.PRESSURE * (3 + 8 - 6) / 2
    assert costs[0].tolist() == pytest.approx([0.0, other, 0.0, other])


def test_labels_lead_through_episodes():
    simulation, problem = begin(make_instance("top3-p5-h1500", 0), lanes=4)
    costs = np.empty((4, simulation.action_space.n), np.float32)
    done, seed = np.zeros(4, bool), 0
    while not done.all():
        search.label_batch(simulation.state, simulation.tables, problem, 300, 100, seed, costs)
        legal = simulation.observations["action_mask"] == 1
        assert (np.isfinite(costs) == legal)[~done].all()
        assert (costs[~done].min(axis=1) == 0).all()
        simulation.step(costs.argmin(axis=1), ~done, False)
        done |= simulation.terminated
        seed += 1
    found = [simulation.final_info(lane)["objective"] for lane in range(4)]
    simulation.restart(np.ones(4, bool), np.arange(4))
    assert np.mean(found) < simulation.run_rule("etf")["objective"].mean() - 5


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("scenario", ["top3-p5-h600-noise30", "bal16-mix6-s50-h10500", "top3-gen"])
def test_searches_play_valid_episodes(name, scenario, monkeypatch):
    monkeypatch.setattr(Search, "MOVES", 200)
    instance = make_instance(scenario, 2)
    episode = plan_episode(name, instance, 2)
    report = validate(instance, episode.schedule)
    assert report.valid, report.violations[:3]
    assert report.objective == episode.objective
    assert len(episode.seconds) >= len(episode.schedule["tasks"])
    assert bool(episode.schedule["planned"]) == (name == "search")


def test_searches_beat_etf():
    instance = make_instance("top3-p5-h2000", 0)
    simulation, _ = begin(instance, lanes=4)
    etf = simulation.run_rule("etf")["objective"].mean()
    for name in SEARCHES:
        found = [plan_episode(name, instance, seed).objective for seed in range(4)]
        assert np.mean(found) < etf - 8


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_repeat(name):
    instance = make_instance("top3-p5-h300", 0)
    one, two, other = (plan_episode(name, instance, seed).schedule["tasks"] for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.skipif(find_spec("ortools") is None, reason="OR-tools is not installed")
@pytest.mark.parametrize(
    "scenario", ["top3-p5-h300", "top3-p5-h80-noise30", "batch-wifi_tx-sc_rx-bal16"]
)
def test_resolving_plays_valid_episodes(scenario, monkeypatch):
    from dispatchgym.envs.soc.planners import Resolve

    monkeypatch.setattr(Resolve, "WORK_LIMIT", 0.01)
    instance = make_instance(scenario, 0)
    one, two = (plan_episode("resolve", instance, 1) for _ in range(2))
    assert np.array_equal(one.schedule["tasks"], two.schedule["tasks"])
    report = validate(instance, one.schedule)
    assert report.valid, report.violations[:3]


def test_wrong_arguments():
    instance = make_instance("top3-p5-h300", 0)
    with pytest.raises(ParameterError, match="name: found 'guess'"):
        plan_episode("guess", instance)
    with pytest.raises(ParameterError, match="instance: found str"):
        plan_episode("search", "top3-p5")
    with pytest.raises(ParameterError, match="seed: found -1"):
        plan_episode("search", instance, -1)
    simulation = SoCSimulation(num_lanes=1, scenario=instance, mode="map_only")
    with pytest.raises(ParameterError, match="mode: found 'map_only', expected 'commit_ready'"):
        make_planner("search", simulation, 0)
