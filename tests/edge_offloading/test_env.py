"""What a user may give to the environment, and what it gives back."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from edge_offloading.cases import small

from dispatchgym.envs.core.errors import DispatchGymError, ParameterError, ScenarioError
from dispatchgym.envs.edge_offloading import make_instance, units
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv, EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.parsers import write
from dispatchgym.envs.edge_offloading.wrappers import GmorlObs

ID = "dispatchgym:dispatchgym/EdgeOffloading-v0"


def play(env, rule, seed=0):
    """Return the sum of the vector rewards and the last info."""
    env.reset(seed=seed)
    ended, total = False, np.zeros(2)
    while not ended:
        _, reward, ended, _, info = env.step(env.rule_action(rule))
        total += reward
    return total, info


def test_an_episode_by_hand():
    """4, 8 and 2 Mbit at 0, 1 and 3 s; 8 Mbit/s of radio; cloud 4, edge 2 Mbit/s."""
    env = EdgeOffloadingEnv(scenario=small(), invalid_action="raise", reward_scale="paper")
    observation, _ = env.reset(seed=0)
    assert observation["servers"][0, 70] == 1.5
    _, reward, *_ = env.step(0)  # ends at 1.5 s
    assert reward[0] * 100 == pytest.approx(-1.5)
    assert reward[1] * 0.2 == pytest.approx(-(0.01 * 0.5 + 4e6 * 5e-28 * 16e18))
    observation, reward, *_ = env.step(1)  # 1 s of upload, 4 s of computation: 2 to 6 s
    assert reward[0] * 100 == pytest.approx(-5)
    # At 3 s the edge has 6 Mbit left; 2 Mbit come at 3.25 s, when it has 5.5: they end after 4
    # Mbit, at 5.25 s, and make the other wait for 1 s.
    assert observation["servers"][1, 70:72].tolist() == [2.25, 1]
    assert observation["servers"][1, 7:15].tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    _, reward, ended, _, info = env.step(1)
    assert ended
    assert reward[0] * 100 == pytest.approx(-3.25)
    assert info["schedule"]["ended"].tolist() == [1.5, 7, 5.25]
    assert info["objective"][0] == 1.5 + 6 + 2.25
    assert info["waiting_time"] == 1
    assert (info["tasks"], info["unsent"]) == (3, 0)


@pytest.mark.parametrize("scale", ["context", "paper"])
@pytest.mark.parametrize("scenario", ["gmorl", "gmorl_radio", "gmorl_hard"])
def test_rewards_sum_to_the_objective(scenario, scale):
    """To rounding, in seconds and joules, whatever is done."""
    env = EdgeOffloadingEnv(scenario=scenario, reward_scale=scale)
    for rule in env.rules:
        total, info = play(env, rule)
        unit = units(env.instance) if scale == "context" else np.array([100.0, 0.2])
        np.testing.assert_allclose(-total * unit, info["objective"], rtol=1e-5)
        sums = [info["schedule"][f"{name}_reward"].sum() for name in ("delay", "energy")]
        np.testing.assert_allclose(sums, -info["objective"], rtol=1e-11)


def test_one_mean_task_on_a_mean_server_costs_one():
    """The unit of the context, whatever the number of servers."""
    for edges in (1, 4, 10):
        hertz = np.full(edges + 1, 2.2e9)
        instance = small(
            frequency=hertz, release=np.zeros(1), bits=np.array([5e6]), mean_bits=5e6,
            uplink=np.full((1, edges + 1), 1e14), power=0.0,
        )  # fmt: skip
        env = EdgeOffloadingEnv(scenario=instance)
        env.reset(seed=0)
        _, reward, *_ = env.step(edges)
        np.testing.assert_allclose(reward, -1, rtol=1e-5)


def test_scalar_rewards_are_weighed():
    env = gym.make(ID, scenario="gmorl", reward="scalar", preference=[0.25, 0.75])
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert reward == pytest.approx(float(np.array([0.25, 0.75]) @ info["vector_reward"]), rel=1e-6)


def test_dummy_slots_show_nothing_and_earn_nothing():
    """As in the published code; what is sent and what comes of it stays the same."""
    found = []
    for idle_slots in ("skip", "dummy"):
        env = EdgeOffloadingEnv(scenario="gmorl-e2", idle_slots=idle_slots)
        observation, _ = env.reset(seed=4)
        ended, steps, idle = False, 0, 0
        while not ended:
            nobody = observation["task"][15] == 0
            idle += nobody
            action = 1 if nobody else env.rule_action("least_work")
            observation, reward, ended, _, info = env.step(action)
            assert not nobody or not reward.any()
            steps += 1
        found.append((steps - idle, info["objective"].tolist()))
    assert idle > 0
    assert steps == 100
    assert found[0] == found[1]


def test_marginals_can_be_hidden():
    shown, hidden = (EdgeOffloadingEnv(marginals=value) for value in (True, False))
    first, second = shown.reset(seed=0)[0], hidden.reset(seed=0)[0]
    assert first["servers"][0, [70, 72]].all()
    assert not second["servers"][:, 70:76].any()
    np.testing.assert_array_equal(first["servers"][:, :70], second["servers"][:, :70])


def test_hidden_sizes_are_hidden():
    """Two instances that differ in sizes only look alike until an upload ends."""
    first = make_instance("gmorl_hard-e6", 5)
    second = dataclasses.replace(first, bits=first.bits * 1.5)
    envs = [EdgeOffloadingEnv(scenario=instance) for instance in (first, second)]
    one, other = (env.reset(seed=0)[0] for env in envs)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    assert len({env.rule_action("greedy_omega") for env in envs}) == 1


def test_parameters_of_rules():
    vec = EdgeOffloadingVectorEnv(3, scenario="gmorl-e6")
    vec.reset(seed=0)
    info = vec.run_rule("random_p", np.array([0.0, 1.0, np.nan]))
    shares = [(server == 0).mean() for server in info["schedule"]["server"]]
    assert shares[:2] == [0.0, 1.0]
    assert shares[2] == pytest.approx(2 / 8, abs=0.15)
    vec.reset(seed=0)
    server = vec.run_rule("round_robin_p", 0.0)["schedule"]["server"][0]
    assert server[:14].tolist() == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2]


def test_rollouts_do_better_than_the_rule_they_play_with():
    vec = EdgeOffloadingVectorEnv(6, scenario="gmorl-e6")
    costs = []
    for rule in ("greedy_omega", "rollout_omega"):
        vec.reset(seed=0, options={"preference": [0.9, 0.1]})
        objective = vec.run_rule(rule)["objective"]
        unit = np.array([units(instance) for instance in vec.instances])
        costs.append((objective / unit @ [0.9, 0.1]).mean())
    assert costs[1] < 0.99 * costs[0]


def test_rollouts_do_not_see_the_future():
    """What comes later and what is hidden does not change what they do now."""
    first = make_instance("gmorl_hard-e2", 1)
    later = first.release > 20
    bits = np.where(later, 3e7, first.bits)
    second = dataclasses.replace(first, bits=bits, expected_bits=np.where(later, 2e7, 1e7))
    first = dataclasses.replace(first, expected_bits=np.full(first.num_tasks, 1e7))
    chosen = []
    for instance in (first, second):
        env = EdgeOffloadingEnv(scenario=instance)
        env.reset(seed=0)
        actions = []
        for _ in range(8):
            actions.append(env.rule_action("rollout_omega"))
            env.step(actions[-1])
        chosen.append(actions)
    assert chosen[0] == chosen[1]


def test_the_published_observation():
    env = GmorlObs(gym.make(ID, scenario="gmorl-e2", max_servers=11))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    for _ in range(20):
        observation, *_ = env.step(1)
    assert env.observation_space.contains(observation)
    inner = env.unwrapped.simulation.observations["servers"][0]
    assert observation["servers"].shape == (67, 11)
    assert (observation["servers"][:, 3:] == -1).all()
    np.testing.assert_array_equal(observation["servers"][:, :3], inner[:3, :67].T)
    assert observation["servers"][7:, 1].sum() == observation["servers"][6, 1] > 0
    assert observation["mask2"].tolist() == [1] * 3 + [0] * 8
    assert observation["mask1"].sum() == 9
    np.testing.assert_array_equal(observation["frequency"][:3], inner[:3, 1])


def test_the_published_observation_needs_independent_tasks():
    with pytest.raises(ParameterError, match="independent tasks"):
        GmorlObs(gym.make(ID, scenario="dag_online"))
    with pytest.raises(ParameterError, match="expected EdgeOffloading"):
        GmorlObs(gym.make("CartPole-v1"))


def test_a_file(tmp_path):
    path = tmp_path / "mine.json"
    write(make_instance("gmorl-e2", 1), path)
    for scenario in (path, str(path)):
        env = EdgeOffloadingEnv(scenario=scenario)
        env.reset(seed=0)
        assert env.instance == make_instance("gmorl-e2", 1)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"scenario": "gmorl_radioo"}, "did you mean gmorl_radio"),
        ({"scenario": "gmorl-e0"}, "scenario: found 'gmorl-e0'"),
        ({"scenario": "gmorl+dems"}, "expected a mixture of scenarios like gmorl"),
        ({"scenario": "no/such/file.json"}, "no/such/file.json"),
        ({"scenario": 7}, "scenario: found int"),
        ({"scenario": "gmorl-e20"}, "max_servers: found 11, expected at least the 21"),
        ({"reward": "gold"}, "reward: found 'gold'"),
        ({"reward_scale": "metric"}, "reward_scale: found 'metric'"),
        ({"preference": [0.7, 0.7]}, "sums to 1.4"),
        ({"preference": [1.5, -0.5]}, "preference: found"),
        ({"marginals": 1}, "marginals: found 1"),
        ({"idle_slots": "wait"}, "idle_slots: found 'wait'"),
        ({"max_servers": 0}, "max_servers: found 0"),
        ({"max_servers": 2.0}, "max_servers: found 2.0"),
        ({"invalid_action": "shrug"}, "invalid_action: found 'shrug'"),
    ],
    ids=str,
)
def test_mistakes_are_named(kwargs, words):
    with pytest.raises(DispatchGymError) as error:
        EdgeOffloadingEnv(**kwargs)
    assert words in str(error.value)


def test_an_unknown_scenario_is_a_scenario_error():
    with pytest.raises(ScenarioError):
        gym.make(ID, scenario="gmorl_soft")


def test_an_unknown_rule():
    env = EdgeOffloadingEnv()
    env.reset(seed=0)
    with pytest.raises(ParameterError, match="rule: found 'greedy'"):
        env.rule_action("greedy")


@pytest.mark.slow
def test_speed():
    """A drift alarm, far below what an idle machine does; one thread."""
    import time

    import numba

    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        vec = EdgeOffloadingVectorEnv(256, scenario="gmorl-e6")
        vec.reset(seed=0)
        vec.run_rule("greedy_omega")
        vec.reset(seed=0)
        begin = time.process_time()
        decisions = vec.run_rule("greedy_omega")["tasks"].sum()
        assert decisions / (time.process_time() - begin) > 4e5
        vec = EdgeOffloadingVectorEnv(
            256, scenario="gmorl-e6", autoreset_mode="SameStep", copy=False
        )
        vec.reset(seed=0)
        vec.step(vec.rule_action("random"))
        spent = 0.0
        for _ in range(200):
            actions = vec.rule_action("random")
            begin = time.process_time()
            vec.step(actions)
            spent += time.process_time() - begin
        assert 256 * 200 / spent > 1e5
    finally:
        numba.set_num_threads(threads)
