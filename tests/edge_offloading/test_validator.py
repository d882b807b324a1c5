"""The validator accepts what the environment makes and names every fault put into it."""

import numpy as np
import pytest
from edge_offloading.cases import change, small, varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import check_observation, make_instance, validate
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv, EdgeOffloadingVectorEnv


def schedule_of(instance, rule="random", seed=1):
    vec = EdgeOffloadingVectorEnv(1, scenario=instance)
    vec.reset(seed=[seed])
    return {key: value[0].copy() for key, value in vec.run_rule(rule)["schedule"].items()}


def test_schedules_of_the_environment_are_valid():
    for seed in range(60):
        instance = varied(seed)
        for rule in ("random", "greedy_omega"):
            schedule = schedule_of(instance, rule, seed)
            report = validate(instance, schedule)
            assert report.valid, report.violations[:3]
            np.testing.assert_allclose(report.objective, schedule["objective"], rtol=1e-9)


@pytest.mark.parametrize("scenario", ["gmorl", "gmorl_radio", "gmorl_hard"])
def test_named_scenarios_are_valid(scenario):
    for seed in range(3):
        instance = make_instance(scenario, seed)
        for rule in ("random", "round_robin_p", "least_work", "rollout_omega"):
            assert validate(instance, schedule_of(instance, rule, seed)).valid


def shorter(schedule):
    for name, values in schedule.items():
        if name not in ("objective", "preference", "seed"):
            schedule[name] = values[:-1]


def altered(name, by):
    def spoil(schedule):
        schedule[name][2] += by

    return spoil


def other_server(schedule):
    schedule["server"][2] = 1 - schedule["server"][2]


FAULTS = {
    "V1": [shorter],
    "V2": [altered("server", 7)],
    "V3": [altered("uploaded", 0.1), other_server],
    "V4": [altered("sent", 1.0)],
    "V5": [altered("ended", 1e-6), altered("began", -1e-6), other_server],
    "V9": [altered("transmission", 1e-6), altered("computation", -1e-6), other_server],
    "V10": [
        altered("delay_reward", 1e-4),
        altered("energy_reward", 1e-4),
        lambda schedule: schedule["objective"].__iadd__(1.0),
    ],
}


@pytest.mark.parametrize(
    ("code", "spoil"), [(code, spoil) for code, spoils in FAULTS.items() for spoil in spoils]
)
def test_a_fault_is_found(code, spoil):
    instance = make_instance("gmorl-e1", 2)
    schedule = schedule_of(instance)
    spoil(schedule)
    report = validate(instance, schedule)
    assert not report.valid
    assert code in {violation.code for violation in report.violations}


@pytest.mark.parametrize("column", ["began", "ended"])
def test_a_queue_that_is_not_kept_is_found(column):
    instance = change(make_instance("gmorl-e1", 2), fifo=np.ones(2, np.bool_))
    schedule = schedule_of(instance)
    schedule[column][3] -= 0.5
    found = {violation.code for violation in validate(instance, schedule).violations}
    assert "V6" in found
    assert "V5" not in found


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda schedule: schedule.pop("sent"), "sent: missing"),
        (lambda schedule: schedule.update(ended=np.zeros(2)), "ended: found 2 entries"),
        (lambda schedule: schedule.update(server=np.zeros(3)), "server: found type float64"),
        (lambda schedule: schedule.update(objective=np.zeros(3)), "objective: found 3"),
        (lambda schedule: schedule["began"].fill(np.nan), "began: found nan"),
        (lambda schedule: schedule.update(sent=["x", "y", "z"]), "sent: found type"),
    ],
)
def test_malformed_schedules(spoil, words):
    schedule = schedule_of(small())
    spoil(schedule)
    report = validate(small(), schedule)
    assert [violation.code for violation in report.violations] == ["malformed"]
    assert words in report.violations[0].message
    assert np.isnan(report.objective).all()


def test_what_is_no_schedule():
    with pytest.raises(ParameterError, match="schedule: found int"):
        validate(small(), 3)
    with pytest.raises(ParameterError, match="instance: found str"):
        validate("gmorl", {})


def test_observations_show_the_servers_as_they_are():
    rng = np.random.default_rng(0)
    for seed in range(20):
        instance = varied(seed)
        env = EdgeOffloadingEnv(scenario=instance, preference="grid")
        observation, _ = env.reset(seed=seed)
        ended = False
        while not ended:
            schedule = env.simulation.schedule(0)
            assert not check_observation(instance, schedule, observation)
            action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
            observation, _, ended, _, _ = env.step(action)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("servers", (0, 6)),
        ("servers", (1, 8)),
        ("servers", (0, 67)),
        ("servers", (5, 0)),
        ("preference", 0),
        ("action_mask", 9),
    ],
)
def test_a_false_observation_is_found(key, place):
    instance = make_instance("gmorl-e1", 2)
    env = EdgeOffloadingEnv(scenario=instance)
    observation, _ = env.reset(seed=0)
    for _ in range(10):
        observation, *_ = env.step(env.rule_action("random"))
    observation[key][place] += 1
    found = check_observation(instance, env.simulation.schedule(0), observation)
    assert {violation.code for violation in found} == {"V13"}


def test_the_same_seed_and_actions_give_the_same_schedule_alone_and_in_a_batch():
    """V14."""
    vec = EdgeOffloadingVectorEnv(20, scenario="gmorl_hard", autoreset_mode="SameStep")
    vec.reset(seed=5)
    batch = {}
    while len(batch) < 20:
        *_, terminated, _, infos = vec.step(vec.rule_action("random"))
        for row in np.flatnonzero(terminated):
            schedule = infos["final_info"]["schedule"]
            batch.setdefault(row, {key: schedule[key][row] for key in schedule if key[0] != "_"})
    for row in (0, 13):
        env = EdgeOffloadingEnv(scenario="gmorl_hard")
        env.reset(seed=5 + row)
        ended = False
        while not ended:
            *_, ended, _, info = env.step(env.rule_action("random"))
        for key, value in info["schedule"].items():
            np.testing.assert_array_equal(value, batch[row][key], err_msg=key)
