"""Evaluations of the system on chip: references, metrics, planners that play episodes."""

import dataclasses
import inspect
import json
import math

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("ortools")


from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.soc import SoCSetting
from dispatchgym.agents.problems.soc import bounds as soc_bounds
from dispatchgym.agents.problems.soc.metrics import (
    cluster_utilisation,
    isolated_latency,
    run_metrics,
)
from dispatchgym.agents.scenarios import find_scenarios
from dispatchgym.benchmark import measure_speed
from dispatchgym.configs.schemas import SoCConfig
from dispatchgym.envs.core.errors import EvaluationError, ParameterError, ScenarioError
from dispatchgym.envs.soc import make_instance
from dispatchgym.envs.soc.env import MODES, SoCSimulation
from dispatchgym.envs.soc.planners import PLANNERS

PROBLEM = find_problem("soc")
SHORT = "top3-p5-h400"


def play(agents, scenario, seeds=2, **arguments):
    return evaluate(agents, scenario, seeds, problem="soc", progress=False, **arguments)


def run(jobs, busy, end, tasks=()):
    """Return a schedule: jobs (number, profile, generated, finish), busy time of each PE."""
    rows = [[number, profile, begin, begin, finish] for number, profile, begin, finish in jobs]
    begun = [[0, i, pe, 0, 0, 0, start, finish] for i, (pe, start, finish) in enumerate(tasks)]
    return {
        "jobs": np.array([*rows, [-1] * 5]),
        "tasks": np.array([*begun, [-1] * 8]),
        "busy": np.array(busy),
        "end_time": end,
    }


# ---------------------------------------------------------------- metrics


def test_a_run_within_a_horizon():
    """Top1 alone takes 73 us, top2 81; a job that is not finished does not count."""
    played = run([(0, 0, 0, 146), (1, 1, 0, 81), (2, 0, 10, -1)], [100, 50, 0], 200)
    found = run_metrics(make_instance("top3-p2-h200", 0), played)
    assert (found["completed"], found["p50"]) == (2, (146 + 81) / 2)
    assert found["p99"] == pytest.approx(81 + 0.99 * 65)
    assert found["slowdown"] == (2 + 1) / 2
    assert found["throughput"] == pytest.approx(1000 * 2 / 200)
    assert found["utilisation"] == pytest.approx(0.25)
    assert math.isnan(found["energy_mj"]) and math.isnan(found["hottest"])


def test_jobs_that_end_in_the_warm_up_do_not_count():
    instance = make_instance("bal16-mix6", 0)
    workload = dataclasses.replace(instance.workload, warm_up=1000, horizon=2000)
    instance = dataclasses.replace(instance, workload=workload)
    tasks = [(4, 0, 1500)]
    jobs = [(0, 0, 0, 999), (1, 0, 100, 1000), (2, 0, 1200, 1400)]
    found = run_metrics(instance, run(jobs, [0] * 4 + [1500] + [0] * 11, 2000, tasks))
    assert (found["completed"], found["p50"]) == (2, (900 + 200) / 2)
    assert found["throughput"] == pytest.approx(2.0)  # in a millisecond
    report = instance.platform.clusters  # one A15 draws 3.32 W for 0.5 ms, and others leak
    assert report[1].power_w[2000][0] == 3.32
    assert 0.5 * (3.32 + 0.1674) < 2 * found["energy_mj"] < 3.0
    assert found["edp"] == pytest.approx(2 * found["energy_mj"] * 1.0)
    assert 42 < found["hottest"] < 80


def test_jobs_before_the_measured_ones_do_not_count():
    instance = make_instance("top3-p1-steady-n2", 0)
    workload = dataclasses.replace(instance.workload, warm_up_jobs=1)
    instance = dataclasses.replace(instance, workload=workload)
    jobs = [(0, 0, 0, 500), (1, 0, 100, 200), (2, 0, 300, 600)]
    found = run_metrics(instance, run(jobs, [1, 1, 1], 600))
    assert (found["completed"], found["p50"]) == (2, 200)
    assert found["throughput"] == pytest.approx(1000 * 2 / 500)


def test_a_run_without_a_finished_job():
    found = run_metrics(make_instance("top3-p1-h50", 0), run([(0, 0, 0, -1)], [9, 0, 0], 50))
    assert found["completed"] == 0 and found["throughput"] == 0
    assert all(math.isnan(found[name]) for name in ("p50", "p95", "p99", "slowdown"))


def test_utilisation_of_clusters():
    busy = [10, 20, 30, 40, *[50] * 4, 0, 0, *[25] * 4, 100, 0]
    found = cluster_utilisation(make_instance("bal16-mix6", 0), run([], busy, 100))
    assert found == {"A7": 0.25, "A15": 0.5, "MM": 0.0, "FFT": 0.25, "VIT": 0.5}


def test_what_no_job_is_quicker_than():
    profile = make_instance("single-top1-top3", 0).profiles[0]
    assert isolated_latency(profile) == 73
    assert isolated_latency(profile, "shared_memory") == profile.critical_path == 41
    unknown = dataclasses.replace(profile, optimum=-1)
    assert isolated_latency(unknown) == 41


# ---------------------------------------------------------------- references


def told(scenario, exact=None):
    return PROBLEM.reference(SoCSetting(), make_instance(scenario, 0), 0, exact)


def test_what_latencies_are_measured_against():
    assert told("single-top1-top3") == (73, "optimum", 73)
    assert told("single-wifi_rx-bal16") == (288, "optimum", 288)
    assert told("top3-p5") == (73, "bound", 73)  # the quickest of five jobs
    assert told("top3-p6-10") == (65, "bound", 65)
    assert told("batch-top1-top2") == (86.5, "optimum", 86.5)
    assert told("batch-top1-top1-top1") == (pytest.approx(259 / 3), "bound", pytest.approx(259 / 3))
    assert told("batch-top3-top4") == ((80 + 87) / 2, "bound", (80 + 87) / 2)
    assert told("top3-p5-shared").bound == 41  # the quickest critical path


@pytest.mark.parametrize(
    "scenario", ["top3-p5-noise50", "top3-p3-steady-n40-noise30", "top3-p4-steady-n40", "top3-gen"]
)
def test_no_job_is_quicker_than_alone(scenario):
    """The draws of a job's type and of its noise are those of the kernel."""
    instance = make_instance(scenario, 7)
    jobs = range(instance.limits.jobs)
    alone = soc_bounds._alone(instance, 7, jobs)
    for rule in ("random", "etf"):
        episode = Arena(PROBLEM, instance, (7,), {}).run_rule(rule)[0]
        rows = episode.schedule["jobs"]
        rows = rows[rows[:, 4] >= 0]
        assert [soc_bounds._profile(instance, 7, job) for job in rows[:, 0]] == rows[:, 1].tolist()
        latency = rows[:, 4] - rows[:, 2]
        assert (latency >= alone[rows[:, 0]]).all()
        bound = soc_bounds.lower_bound(instance, 7)
        assert 0 < bound <= latency.mean()
    if "noise" not in scenario:  # else some draws may be anything
        assert set(alone) <= {soc_bounds.isolated_latency(one) for one in instance.profiles}


def test_the_bound_of_one_noisy_job():
    """Top1 alone: a way of tasks 0-1-8-9 or another takes its realised times at least."""
    instance = make_instance("single-top1-top3", 0)
    durations = np.full((1, 10), -1)
    durations[0, [0, 1, 8, 9]] = [100, 1, 1, 50]
    workload = dataclasses.replace(instance.workload, durations=durations)
    realised = dataclasses.replace(instance, workload=workload)
    # 100 + the longest of 11 + 7 (2, 6), 8 + 5 (3, 7), 10 + 1 (4, 8), 9 + 5 (5, 7) + 50
    assert soc_bounds.lower_bound(realised, 0) == 100 + 11 + 7 + 50


def test_what_the_solver_tells():
    def solved(objective, bound):
        return told("batch-top3-top4", Episode(objective, {}, "finished", 0.1, bound))

    assert solved(100.0, 90.0) == (90, "bound", 90)
    assert solved(100.0, 80.0) == (83.5, "bound", 83.5)
    assert solved(90.0, 90.0) == (90, "optimum", 90)
    with pytest.raises(EvaluationError, match=r"80\.00 was reached, yet 83\.50 is a proven"):
        solved(80.0, 75.0)


# ---------------------------------------------------------------- evaluations


@pytest.fixture(scope="module")
def result():
    return play(["rules"], SHORT, 3)


def test_every_rule_plays(result):
    assert result.rules == PROBLEM.rules()
    assert len(result.rows) == 3 * len(result.rules)
    for row in result.rows:
        assert row.valid and row.gap == pytest.approx(row.objective / 73 - 1)
        assert (row.setting["protocol"], row.setting["capacity"]) == ("legacy", 3)
    text = result.table()
    assert "Mean latency in us, commit_ready, top3-p5-h400: 1 instance x 3 seeds" in text
    assert "done" in text and "tail" in text


def test_rows_describe_the_run(result, tmp_path):
    result.write(tmp_path / "result.json")
    for row in json.loads((tmp_path / "result.json").read_text())["rows"]:
        assert row["p50"] <= row["p95"] <= row["p99"] <= 400
        assert row["objective"] / 87 <= row["slowdown"] <= row["objective"] / 73
        assert row["throughput"] == pytest.approx(row["completed"] / 0.4, rel=0.02)
        assert 0 < row["utilisation"] <= 1 and row["energy_mj"] is None


def test_energy_is_told_where_it_is_known():
    row = play("etf", "bal16-mix6-h11000", 1).rows[0]
    assert 0 < row.details["energy_mj"] < 10 and row.details["hottest"] > 42


def test_the_same_arrivals_for_everybody():
    arena = Arena(PROBLEM, make_instance(SHORT, 0), (5,), {})
    schedules = [arena.run_rule(rule)[0].schedule for rule in ("met", "etf", "random")]
    types = [schedule["jobs"][:6, :2].tolist() for schedule in schedules]
    assert types[0] == types[1] == types[2]


def test_single_jobs_reach_what_is_known():
    """What the public simulators print for one job alone."""
    scenarios = ["single-top1-top3", "single-top2-top3", "single-wifi_rx-bal16"]
    rows = {
        (row.agent, row.instance): row.objective
        for row in play(["met", "eft", "etf"], scenarios, 1).rows
    }
    assert [rows[name, "single-top1-top3"] for name in ("met", "eft", "etf")] == [80, 80, 80]
    assert [rows[name, "single-top2-top3"] for name in ("met", "eft", "etf")] == [100, 90, 108]
    assert [rows[name, "single-wifi_rx-bal16"] for name in ("eft", "etf")] == [301, 301]


def test_streams_have_no_exact_solution():
    with pytest.raises(ParameterError, match="exact solves batches, found protocol 'legacy'"):
        play("exact", SHORT)


def test_the_solver_proves_a_job():
    rows = play(["etf", "exact"], "single-top1-top3", 1).rows
    assert [row.objective for row in rows] == [80, 73]
    assert {row.reference_kind for row in rows} == {"optimum"}


@pytest.mark.parametrize("name", PLANNERS)
def test_planners_play_episodes(name):
    row = play(name, "batch-top1-top2", 1).rows[0]
    assert row.valid and row.seconds > 0 and row.decision_ms_p50 > 0
    assert row.reference_kind == "optimum" and 86.5 <= row.objective <= 100
    if name == "resolve":
        assert row.objective == 86.5


# ---------------------------------------------------------------- scenarios and commands


def test_names_stand_for_instances_or_generators():
    (fixed,) = find_scenarios(PROBLEM, "top3-p5")
    assert (fixed.name, fixed.group) == ("top3-p5", "top3-p5")
    assert fixed.content.num_profiles == 5
    (random,) = find_scenarios(PROBLEM, "top3-gen")
    assert random.content == "top3-gen" and random.work > 0
    with pytest.raises(ScenarioError, match="top3"):
        find_scenarios(PROBLEM, "top4-p5")


def test_there_are_no_levels():
    with pytest.raises(ParameterError, match="the scenario's name tells noise"):
        play("etf", SHORT, levels=[0.1])


def test_every_option_of_the_environment_is_a_setting():
    arguments = inspect.signature(SoCSimulation).parameters
    inner = {"num_lanes", "step_limit"}
    defaults = {key: value.default for key, value in arguments.items() if key not in inner}
    configured = {key: value for key, value in vars(SoCConfig()).items() if key != "name"}
    assert configured == defaults
    options = PROBLEM.environment_options({**vars(SoCConfig()), "mode": "map_only"})
    env = gym.make(PROBLEM.env_id, scenario="top3-p1", **options)
    assert env.action_space.n == 3


@pytest.mark.parametrize("mode", MODES)
def test_rules_play_in_every_mode(mode):
    """A rule chooses task and PE whatever the mode; bound late, a transfer may begin late too."""
    rows = play(["etf"], SHORT, 2, options={"mode": mode}).rows
    assert {row.setting["mode"] for row in rows} == {mode} and all(row.valid for row in rows)
    if mode != "late_binding":
        plain = play(["etf"], SHORT, 2).rows
        assert [row.objective for row in rows] == [row.objective for row in plain]


def test_speed_is_measured():
    found = measure_speed(PROBLEM, SHORT, 4, seconds=0.05, repeats=1, threads=1)
    assert found["rule"] == "etf"
    assert found["kernel_steps_per_second"] > 0 and found["steps_per_second"] > 0
