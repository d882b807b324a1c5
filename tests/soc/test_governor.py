"""Frequencies that change while tasks run, and energy as a reward."""

import dataclasses

import numpy as np
import pytest
from soc.varied import varied

from dispatchgym.envs.core.errors import InstanceError, ParameterError, ScenarioError
from dispatchgym.envs.soc import energy, make_instance, validate
from dispatchgym.envs.soc.env import SoCEnv, SoCVectorEnv
from dispatchgym.envs.soc.instance import Cluster, Instance, JobProfile, Platform, Workload
from dispatchgym.envs.soc.parsers import dumps, loads
from dispatchgym.envs.soc.rules import RULES

SLOW_AND_FAST = ((500, 900), (1000, 1000))
FREQUENCIES = ([400, 500, 900], [300, 700], [100, 200, 300, 400, 550])


def one_core(*tasks, opp=SLOW_AND_FAST, **workload):
    """A batch of jobs (arrival, duration) of one task on one processing element."""
    platform = Platform("one", ("P",), (Cluster("C", "CPU", opp=opp),), [0], [[1.0]], [1.0])
    kinds = [
        JobProfile(f"job{k}", ("t",), np.array([[took]]), np.empty((0, 3), np.int64))
        for k, (_, took) in enumerate(tasks)
    ]
    arrivals = [[k, time] for k, (time, _) in enumerate(tasks)]
    values = {
        "protocol": "batch",
        "probabilities": np.full(len(tasks), 1 / len(tasks)),
        "capacity": len(tasks),
        "arrivals": arrivals,
        "governor": "ondemand",
        **workload,
    }
    return Instance("one core", platform, tuple(kinds), Workload(**values))


def governed(seed):
    """A varied instance whose clusters have operating points."""
    plain, random = varied(seed), np.random.default_rng(seed)
    points = FREQUENCIES[random.integers(len(FREQUENCIES))], [800]
    clusters = tuple(
        Cluster(f"C{index}", "CPU", opp=tuple((mhz, 900 + mhz // 10) for mhz in mine))
        for index, mine in enumerate(points)
    )
    count = plain.num_pes
    pe_cluster = np.arange(count) % 2
    platform = dataclasses.replace(
        plain.platform, clusters=clusters[: min(count, 2)], pe_cluster=pe_cluster
    )
    workload = dataclasses.replace(plain.workload, governor="ondemand", strict_ds3=False)
    return Instance("governed", platform, plain.profiles, workload)


def run(instance, seed, rule):
    vec = SoCVectorEnv(1, scenario=instance)
    vec.reset(seed=[seed])
    return {key: value[0] for key, value in vec.run_rule(rule)["schedule"].items()}


def step_through(env, seed, rule="etf"):
    """Play an episode by steps; return its rewards and last info."""
    _, info = env.reset(seed=seed)
    rewards, ended = [], False
    while not ended:
        _, reward, ended, _, info = env.step(env.rule_action(rule))
        rewards.append(reward)
    return rewards, info


# ---------------------------------------------------------------- by hand


def test_a_task_speeds_up_while_it_runs():
    """20 us from 35 on, looks every 10 us: idle at 10, half busy at 40, busy at 50.

    15 us at 500 MHz do 7.5 us of the work, the other 12.5 take as long at 1000 MHz: the task ends
    at 62.5, which is noticed at 63.
    """
    played = run(one_core((35, 20)), 0, "met")
    assert played["frequencies"].tolist() == [[10, 0, 500], [50, 0, 1000]]
    assert played["tasks"][0, 6:].tolist() == [35, 63]
    assert played["busy"].tolist() == [28]


def test_idle_clusters_slow_down_point_by_point():
    """Work of 0.3 of a period keeps the frequency, less takes a point off.

    The first task begins at 7: 0.3 of the first period, 0.1 of the second. The second one begins
    at 60 with 200 MHz, has done 2 us at 70 and does the other 7 at 1000 MHz.
    """
    opp = ((200, 800), (500, 900), (1000, 1000))
    played = run(one_core((7, 4), (60, 9), opp=opp), 0, "met")
    assert played["frequencies"].tolist() == [[20, 0, 500], [30, 0, 200], [70, 0, 1000]]
    assert played["tasks"][:, 6:].tolist() == [[7, 11], [60, 77]]


def test_a_task_slows_down_while_it_runs():
    """20 us from 8 on: 2 are done at 10, 5 more at 500 MHz until 20, 13 at 1000 MHz."""
    played = run(one_core((8, 20)), 0, "met")
    assert played["frequencies"].tolist() == [[10, 0, 500], [20, 0, 1000]]
    assert played["tasks"][0, 6:].tolist() == [8, 33]


def test_what_everybody_expects_follows_the_frequency():
    """At 40 a job arrives while one of 20 us, begun at 35, runs at 500 MHz: 35 us are left."""
    env = SoCEnv(scenario=one_core((35, 20), (40, 10)))
    observation, _ = env.reset(seed=0)
    unit = env.instance.time_scale
    assert observation["pe_speed"].tolist() == [0.5]
    observation, *_ = env.step(0)
    assert observation["pe_x"][0, 1] * unit == pytest.approx(35)
    assert observation["task_x"][0, 21] * unit == pytest.approx(35)


def test_speeds_are_one_unless_a_cluster_is_slowed():
    observation, _ = SoCEnv(scenario="bal16-mix6-a15@600").reset(seed=0)
    assert observation["pe_speed"] == pytest.approx([1.0] * 4 + [0.3] * 4 + [1.0] * 8)
    observation, _ = SoCEnv(scenario="gen-p16").reset(seed=0)
    assert observation["pe_speed"].tolist() == [1.0] * 16


# ---------------------------------------------------------------- against the validator


@pytest.mark.parametrize("block", range(4))
def test_schedules_are_valid_on_varied_instances(block):
    """The validator follows frequencies and work by itself."""
    changes = stretched = 0
    for seed in range(15 * block, 15 * block + 15):
        instance = governed(seed)
        for rule in RULES:
            played = run(instance, seed, rule)
            report = validate(instance, played)
            assert report.valid, (seed, rule, report.violations[:3])
            assert len(played["frequencies"]) <= instance.limits.changes
            changes += len(played["frequencies"])
            done = played["tasks"][played["tasks"][:, 7] >= 0]
            if instance.workload.noise == 0 and instance.workload.durations is None:
                kinds = played["jobs"][done[:, 0], 1]
                nominal = [
                    instance.profiles[k].duration[row[1], row[2]]
                    for k, row in zip(kinds, done, strict=True)
                ]
                stretched += (done[:, 7] - done[:, 6] > nominal).sum()
    assert changes > 1000 and stretched > 150


@pytest.mark.parametrize(
    "scenario",
    ["top3-p5-ondemand", "top3-p5-noise30-ondemand", "top3-gen-ondemand",
     "bal16-mix6-s200-ondemand", "top3-p1-steady-n20-s300-ondemand"],
)  # fmt: skip
def test_schedules_are_valid_on_scenarios(scenario):
    for seed in range(2):
        instance = make_instance(scenario, seed)
        played = run(instance, seed, "etf")
        report = validate(instance, played)
        assert report.valid, report.violations[:3]
        assert 0 < len(played["frequencies"]) <= instance.limits.changes


def test_one_operating_point_is_no_governor():
    plain = make_instance("bal16-mix6-h12000", 0)
    clusters = tuple(
        dataclasses.replace(one, opp=one.opp[-1:], power_w={one.mhz: one.power_w[one.mhz]})
        for one in plain.platform.clusters
    )
    platform = dataclasses.replace(plain.platform, clusters=clusters)
    workload = dataclasses.replace(plain.workload, governor="ondemand")
    governed_one = Instance("one point", platform, plain.profiles, workload)
    played, expected = run(governed_one, 3, "etf"), run(plain, 3, "etf")
    for key in ("tasks", "jobs", "busy", "frequencies"):
        np.testing.assert_array_equal(played[key], expected[key])


def test_long_waits_cost_no_time():
    """A billion microseconds between two jobs are 100 million looks; the second begins slowly."""
    played = run(one_core((0, 20), (10**9, 20)), 0, "met")
    assert played["tasks"][:, 6:].tolist() == [[0, 20], [10**9, 10**9 + 25]]
    assert validate(one_core((0, 20), (10**9, 20)), played).valid


def broken(change):
    """Return the codes of the faults of a schedule after a change."""
    instance = one_core((35, 20), (90, 30))
    played = run(instance, 0, "met")
    assert validate(instance, played).valid
    change(played)
    return {violation.code for violation in validate(instance, played).violations}


def edit(played, row, column, value):
    played["frequencies"] = played["frequencies"].copy()
    played["frequencies"][row, column] = value


def test_wrong_frequencies_are_found():
    def later_finish(played):
        played["tasks"][1, 7] += 1

    def no_log(played):
        del played["frequencies"]

    assert "V3" in broken(later_finish)
    assert {"V3", "V12"} <= broken(lambda played: edit(played, 1, 0, 60))  # a look too late
    assert "V12" in broken(lambda played: edit(played, 1, 0, 51))  # no look there
    assert "V12" in broken(lambda p: p.update(frequencies=p["frequencies"][:1]))
    assert broken(lambda played: edit(played, 0, 2, 700)) == {"malformed"}
    assert broken(lambda played: edit(played, 0, 1, 1)) == {"malformed"}
    assert broken(lambda played: edit(played, 1, 0, 10)) == {"malformed"}
    assert broken(no_log) == {"malformed"}


def test_a_log_without_a_governor_is_refused():
    instance = one_core((35, 20), governor="constant")
    played = run(instance, 0, "met")
    assert played["frequencies"].shape == (0, 3)
    played["frequencies"] = np.array([[10, 0, 500]])
    report = validate(instance, played)
    assert [one.code for one in report.violations] == ["malformed"]


# ---------------------------------------------------------------- copies, names, errors


def test_lanes_can_be_copied_in_the_middle():
    vec = SoCVectorEnv(3, scenario="bal16-mix6-h12000-ondemand", reward="energy")
    vec.reset(seed=0)
    for _ in range(200):
        vec.step(vec.rule_action("etf"))
    vec.copy_lane(0, 2)
    found = vec.run_rule("etf")
    assert found["objective"][0] == found["objective"][2] != found["objective"][1]
    state = vec.simulation.state
    np.testing.assert_array_equal(state.meter[0], state.meter[2])
    np.testing.assert_array_equal(state.cluster[0], state.cluster[2])


def test_names_of_governors():
    plain = make_instance("bal16-mix6-s50", 0)
    assert make_instance("bal16-mix6-s50-performance", 0) == plain
    slow = make_instance("bal16-mix6-s50-a15@600-a7@600", 0)
    assert make_instance("bal16-mix6-powersave-s50", 0) == slow
    found = make_instance("bal16-mix6-ondemand-s50", 0)
    assert found.workload.governor == "ondemand" and found.platform == plain.platform
    assert found != plain and loads(dumps(found)) == found


@pytest.mark.parametrize(
    ("scenario", "named"),
    [
        ("bal16-mix6-ondemand-powersave", "found -ondemand and -powersave, expected one"),
        ("bal16-mix6-ondemand-a15@1600", "found -ondemand and a cluster's frequency"),
        ("bal16-mix6-ondemand-strict", "governor: found 'ondemand' with strict_ds3"),
        ("top3-gen-powersave", "found -powersave, which does not apply"),
    ],
)
def test_governors_that_do_not_fit_are_named(scenario, named):
    with pytest.raises(ScenarioError, match=named):
        make_instance(scenario, 0)


def test_clusters_that_cannot_be_governed_are_named():
    with pytest.raises(InstanceError, match="cluster 'core0' has no operating points"):
        make_instance("gen-p16-ondemand", 0)
    slow = make_instance("bal16-mix6-a15@600", 0)
    workload = dataclasses.replace(slow.workload, governor="ondemand")
    with pytest.raises(InstanceError, match="'A15' runs at 600 MHz, expected its highest, 2000"):
        dataclasses.replace(slow, workload=workload)
    with pytest.raises(InstanceError, match="governor: found 'turbo', expected"):
        dataclasses.replace(slow.workload, governor="turbo")


# ---------------------------------------------------------------- energy as a reward


@pytest.mark.parametrize("reward", ["energy", "edp"])
@pytest.mark.parametrize(
    "scenario",
    ["bal16-mix6-h11000", "bal16-mix6-h11000-ondemand", "bal8-mix6-steady-n3-powersave",
     "single-wifi_rx-bal16"],
)  # fmt: skip
def test_rewards_sum_to_the_energy(scenario, reward):
    """The meter that runs along agrees with the one that reads the schedule."""
    env = SoCEnv(scenario=scenario, reward=reward)
    rewards, info = step_through(env, 5)
    assert sum(rewards) == pytest.approx(-info[reward], rel=1e-9)
    assert max(rewards) <= 0 and info["energy"] > 0
    report = energy(env.instance, info["schedule"])
    assert info["energy"] == 1e3 * report.joules and info["hottest"] == report.hottest
    workload = env.instance.workload
    length = (info["schedule"]["end_time"] - workload.warm_up) / 1e3
    assert info["edp"] == pytest.approx(info["energy"] * length)


def test_rewards_sum_to_the_energy_in_a_batch():
    vec = SoCVectorEnv(3, scenario="bal16-mix6-h10500-ondemand", reward="energy")
    vec.reset(seed=0)
    total, told = np.zeros(3), np.full(3, np.nan)
    while np.isnan(told).any():
        _, reward, terminated, _, infos = vec.step(vec.rule_action("met"))
        total += np.where(np.isnan(told), reward, 0)
        if terminated.any():
            told = np.where(terminated & np.isnan(told), infos["energy"], told)
    assert total == pytest.approx(-told, rel=1e-9)


def test_energy_is_told_where_power_is_known():
    _, info = step_through(SoCEnv(scenario="bal16-mix6-h10500"), 1)
    assert info["energy"] > 0 and info["edp"] > 0 and info["hottest"] > 42
    _, info = step_through(SoCEnv(scenario="top3-p1-h200"), 1)
    assert "energy" not in info


def test_energy_that_is_not_known_cannot_be_a_reward():
    with pytest.raises(InstanceError, match="power_w: found none for 2000 MHz or more"):
        SoCEnv(scenario="top3-p5", reward="energy")
    with pytest.raises(ParameterError, match="strict_ds3 is known of whole schedules only"):
        SoCEnv(scenario="bal16-mix6-strict", reward="edp")
