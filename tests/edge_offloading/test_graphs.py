"""Jobs of dependent tasks: the kernel against the validator, and an episode by hand."""

import dataclasses

import numpy as np
import pytest

from dispatchgym.envs.core.errors import InstanceError, ParameterError
from dispatchgym.envs.edge_offloading import (
    ideal,
    make_instance,
    render,
    solve,
    units,
    validate,
)
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv, EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.graph_generators import GraphGenerator
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.graph_rules import GRAPH_RULES
from dispatchgym.envs.edge_offloading.parsers import dumps, loads


def small(**fields):
    """One job: tasks 0 -> 1 and 0 -> 2, cycles 4, 2 and 2 G; one cloud core, one edge core."""
    values = {
        "name": "small",
        "frequency": np.array([4e9, 2e9]),
        "cores": np.array([1, 1]),
        "link": np.array([[1e8, 2e8]]),
        "wire": np.full((2, 2), 4e8),
        "arrival": np.array([1.0]),
        "source": np.array([0]),
        "job": np.zeros(3, np.int64),
        "cycles": np.array([4e9, 2e9, 2e9]),
        "input": np.array([1e8, 0.0, 0.0]),
        "output": np.array([2e8, 1e8, 1e8]),
        "edges": np.array([[0, 1], [0, 2]]),
        "device_watt": 10.0,
        "send_watt": 1.0,
        "receive_watt": 2.0,
    }
    return GraphInstance(**{**values, **fields})


def test_an_episode_by_hand():
    """Cloud, edge, device: uploads, wires, downloads and energies worked out with a pencil."""
    env = EdgeOffloadingEnv(scenario=small(), invalid_action="raise")
    observation, _ = env.reset(seed=0)
    assert observation["action_mask"].tolist() == [1, 1, 1] + [0] * 10
    row = observation["servers"][0]
    assert row[70] == pytest.approx(1 + 1)  # 100 Mbit at 100 Mbit/s, 4 G cycles at 4 GHz
    assert row[71] == pytest.approx(1)  # the prediction knew nothing of the upload
    assert row[72] == pytest.approx(1)
    env.step(0)
    assert observation["task"][9:13].tolist() == [0, 2, 1.5, 3]
    observation, *_ = env.step(1)  # at 3 s: 200 Mbit by wire, 0.5 s, computed for 1 s
    assert observation["servers"][0, 75] == 1
    observation, _, ended, _, info = env.step(2)  # 200 Mbit by radio, 2 s, computed for 2 s
    assert ended
    schedule = info["schedule"]
    assert schedule["decided"].tolist() == [1, 3, 3]
    assert schedule["data"].tolist() == [2, 3.5, 5]
    assert schedule["ended"].tolist() == [3, 4.5, 7]
    assert schedule["back"].tolist() == [3, 5, 7]  # 100 Mbit from the edge at 200 Mbit/s
    assert schedule["energy"].tolist() == [1, 1, 2 * 2 + 10 * 2]
    assert info["objective"].tolist() == [6, 26]
    assert validate(env.instance, schedule).valid


def test_schedules_are_valid_and_rewards_sum_to_the_objective():
    generator = GraphGenerator(edges=(1, 4), jobs=12, users=3, load=2.0)
    for seed in range(5):
        env = EdgeOffloadingEnv(scenario=generator, preference="grid")
        for rule in GRAPH_RULES:
            env.reset(seed=seed)
            ended, total = False, np.zeros(2)
            while not ended:
                _, reward, ended, _, info = env.step(env.rule_action(rule))
                total += reward
            report = validate(env.instance, info["schedule"])
            assert report.valid, report.violations[:3]
            found = -total * units(env.instance) * (1 / env.instance.num_jobs, 1)
            np.testing.assert_allclose(found, info["objective"], rtol=1e-5)
            assert (info["objective"] >= ideal(env.instance) * (1 - 1e-9)).all()


def altered(name, by):
    def spoil(schedule):
        schedule[name][2] += by

    return spoil


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("V2", altered("place", 9)),
        ("V3", altered("ended", 0.1)),
        ("V3", altered("back", 0.1)),
        ("V4", altered("decided", 0.1)),
        ("V6", altered("began", 0.1)),
        ("V7", altered("uploaded", 0.1)),
        ("V8", altered("data", 0.1)),
        ("V9", altered("energy", 0.1)),
        ("V10", altered("delay_reward", 0.1)),
        ("V10", lambda schedule: schedule["objective"].__iadd__(1.0)),
        ("malformed", lambda schedule: schedule.pop("back")),
    ],
)
def test_a_fault_is_found(code, spoil):
    instance = make_instance("dag_online-e4", 1)
    vec = EdgeOffloadingVectorEnv(1, scenario=instance)
    vec.reset(seed=0)
    schedule = {key: value[0] for key, value in vec.run_rule("random")["schedule"].items()}
    assert validate(instance, schedule).valid
    spoil(schedule)
    assert code in {violation.code for violation in validate(instance, schedule).violations}


def test_observations_tell_what_an_action_does():
    rng = np.random.default_rng(0)
    env = EdgeOffloadingEnv(scenario="dag_online")
    observation, _ = env.reset(seed=3)
    instance, ended = env.instance, False
    unit = units(instance)
    while not ended:
        servers = instance.num_servers
        assert observation["action_mask"].tolist() == [1] * (servers + 1) + [0] * (12 - servers)
        action = int(rng.choice(servers + 1))
        shown = observation["servers"][action]
        before = env.simulation.schedule(0)
        task = int(env.simulation.world.state.scalar[0, 1])
        observation, reward, ended, _, _ = env.step(action)
        after = env.simulation.schedule(0)
        assert after["back"][task] - after["decided"][task] == pytest.approx(shown[70], rel=1e-5)
        assert -reward[1] * unit[1] == pytest.approx(shown[72], rel=1e-5)
        first = before["place"][instance.job == instance.job[task]].any() or shown[71] == 0
        assert -reward[0] * unit[0] >= shown[71] - 1e-3
        assert shown[71] == pytest.approx(max(-shown[74], 0), abs=1e-3) or first


def test_instances_survive_json_and_rows():
    instance = make_instance("dag_online-ccr50", 2)
    assert loads(dumps(instance)) == instance
    assert GraphInstance.from_rows("again", instance.rows) == instance
    env = EdgeOffloadingEnv(scenario="dag_online-ccr50")
    env.reset(seed=2)
    assert env.instance == instance


def test_jobs_come_at_the_rate_of_the_load():
    """Work that comes in the time of all arrivals, over what servers compute in it."""
    loads_found = []
    for seed in range(300):
        instance = make_instance("dag_online", seed)
        capacity = (instance.frequency * instance.cores).sum()
        loads_found.append(instance.cycles.sum() / capacity / instance.arrival[-1])
    error = np.std(loads_found) / np.sqrt(300)
    assert np.mean(loads_found) == pytest.approx(0.7, abs=0.04 + 3 * error)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"edges": np.array([[0, 1], [1, 2], [2, 1]])}, "edges: found a circle"),
        ({"edges": np.array([[2, 1]])}, "expected parents to have lower numbers"),
        ({"edges": np.array([[0, 7]])}, "edges[0][1]: found 7"),
        ({"link": np.array([[1e8, 0.0]])}, "link[0][1]: found 0.0"),
        ({"wire": np.full((2, 2), -1.0)}, "wire[0][0]: found -1.0"),
        ({"frequency": np.array([])}, "found 0 servers"),
        ({"cycles": np.array([1e9, 0.0, 1e9])}, "cycles[1]: found 0.0"),
        ({"job": np.array([0, 0, 1])}, "job[2]: found 1"),
        ({"source": np.array([3])}, "source[0]: found 3"),
    ],
    ids=str,
)
def test_what_is_no_instance_is_refused(fields, words):
    with pytest.raises(InstanceError) as error:
        small(**fields)
    assert words in str(error.value)


def test_two_jobs_need_tasks_each():
    arrival, source = np.array([0.0, 1.0]), np.array([0, 0])
    with pytest.raises(InstanceError, match=r"job\[3\]"):
        small(arrival=arrival, source=source)
    edges = np.array([[0, 2]])
    with pytest.raises(InstanceError, match="expected tasks of one job"):
        small(arrival=arrival, source=source, job=np.array([0, 0, 1]), edges=edges)


def test_the_best_of_the_rules_is_valid_and_above_the_bound():
    instance = make_instance("dag_online-e4", 0)
    result = solve(instance, preference=(0.3, 0.7))
    assert validate(instance, result.schedule).valid
    assert result.bound <= result.value
    with pytest.raises(ParameterError, match=r"sums to 0\.9"):
        solve(instance, preference=(0.3, 0.6))


def test_pictures(tmp_path):
    instance = make_instance("dag_online-e4", 0)
    schedule = solve(instance).schedule
    render.timelines(instance, schedule, tmp_path / "jobs.png")
    assert (tmp_path / "jobs.png").stat().st_size > 10_000
    text = render.ansi(instance, schedule)
    assert max(map(len, text.splitlines())) <= 80
    assert f"{instance.num_tasks} of {instance.num_tasks} tasks placed" in text
    with pytest.raises(ParameterError, match="expected the 3 of"):
        render.ansi(dataclasses.replace(small()), schedule)
