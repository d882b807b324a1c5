"""The environment: what it shows, what it accepts and what it tells."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.envs.core.errors import InvalidActionError, ParameterError, ScenarioError
from dispatchgym.envs.soc import make_instance, validate
from dispatchgym.envs.soc.env import MODES, OBSERVATION_KEYS, SoCEnv, SoCVectorEnv
from dispatchgym.envs.soc.rules import RULES

ID = "dispatchgym:dispatchgym/SoC-v0"


def play(env, seed, choose):
    """Play an episode; return its observations, rewards and infos."""
    observation, info = env.reset(seed=seed)
    seen, ended = [(observation, 0.0, info)], False
    while not ended:
        observation, reward, ended, _, info = env.step(choose(observation))
        seen.append((observation, reward, info))
    return seen


def chooser(seed):
    random = np.random.default_rng(seed)
    return lambda observation: int(random.choice(np.flatnonzero(observation["action_mask"])))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", ["top3-p5-noise30", "top3-gen"])
def test_what_a_step_changes_is_all_that_changes(scenario, mode):
    """The observation brought up to date is the one written afresh."""
    env = SoCEnv(scenario=scenario, mode=mode)
    observation, _ = env.reset(seed=1)
    choose, ended = chooser(0), False
    while not ended:
        observation, _, ended, _, _ = env.step(choose(observation))
        env.simulation.refresh()
        for key, fresh in env.simulation.observations.items():
            np.testing.assert_array_equal(observation[key], fresh[0], err_msg=key)


def test_the_first_observation_by_hand():
    """One top1 on the empty platform: the times of task 0 are 14, 16 and 9 us."""
    env = SoCEnv(scenario="single-top1-top3")
    observation, _ = env.reset(seed=0)
    assert set(observation) == set(OBSERVATION_KEYS)
    unit = env.instance.time_scale
    assert unit == pytest.approx((9 + 13 + 11 + 8 + 10 + 9 + 7 + 5 + 12 + 7) / 10)
    assert np.flatnonzero(observation["action_mask"]).tolist() == [0, 1, 2]
    first = observation["task_x"][0] * unit
    assert first[:3] == pytest.approx([9, 13, 16], rel=1e-5)
    assert first[4] == pytest.approx(108, rel=1e-5)  # upward rank, as in the paper
    assert observation["task_x"][:, 4] * unit == pytest.approx(
        [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667], rel=1e-4
    )
    assert observation["task_x"][0, 12:17].tolist() == [0, 1, 0, 0, 0]
    assert observation["task_x"][1:, 12].all()
    assert observation["task_pe"][0, :, 0] * unit == pytest.approx([14, 16, 9], rel=1e-5)
    assert observation["task_pe"][0, :, 2] * unit == pytest.approx([14, 16, 9], rel=1e-5)
    assert observation["task_depth"].tolist() == [0, 1, 1, 1, 1, 1, 2, 2, 2, 3]
    edges = observation["edges"][observation["edge_mask"] == 1]
    assert len(edges) == 15
    assert [0, 5] in edges.tolist()
    assert observation["global_x"][0] == 1.0
    assert observation["first_ready"].tolist() == [0]


def test_estimates_by_hand():
    """Task 0 on P2 ends at 9; its data of 18 for task 1 take 18 us to P0 and none to P2."""
    env = SoCEnv(scenario="single-top1-top3")
    env.reset(seed=0)
    observation, reward, _, _, info = env.step(2)
    unit = env.instance.time_scale
    assert info["elapsed"] == 9
    assert reward == pytest.approx(-9 / unit)
    assert observation["task_x"][1:6, 13].all()
    assert observation["task_pe"][1, :, 1] * unit == pytest.approx([18, 18, 0], rel=1e-5)
    assert observation["task_pe"][1, :, 2] * unit == pytest.approx([31, 37, 18], rel=1e-5)
    assert observation["task_on"][:2].tolist() == [2, -1]
    observation, reward, _, _, info = env.step(1 * 3 + 2)
    assert info["elapsed"] == 0
    assert reward == 0
    assert observation["task_pe"][2, 2, 2] * unit == pytest.approx(18 + 19, rel=1e-5)
    assert observation["pe_x"][2, 3] * unit == pytest.approx(18, rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_schedules_are_valid(rule):
    for scenario in ("top3-p5-noise30", "top3-gen", "bal16-mix6-s50"):
        vec = SoCVectorEnv(1, scenario=scenario)
        vec.reset(seed=[3])
        info = vec.run_rule(rule)
        schedule = {key: value[0] for key, value in info["schedule"].items()}
        report = validate(vec.instances[0], schedule)
        assert report.valid, report.violations[:3]
        assert report.objective == info["objective"][0]


@pytest.mark.parametrize("mode", MODES)
def test_random_schedules_are_valid(mode):
    env = SoCEnv(scenario="top3-p5-noise30", mode=mode)
    *_, (_, _, info) = play(env, 2, chooser(1))
    report = validate(env.instance, info["schedule"])
    assert report.valid, report.violations[:3]
    assert report.objective == info["objective"]


def test_compbonus_counts_time_and_jobs():
    env = SoCEnv(scenario="top3-p5", reward="compbonus")
    seen = play(env, 0, lambda _: env.rule_action("etf"))
    total = sum(reward for _, reward, _ in seen)
    assert total == pytest.approx(50 * seen[-1][2]["completed"] - 0.5 * 5000)


def test_elapsed_sums_to_the_episode():
    vec = gym.make_vec(ID, num_envs=3, scenario="top3-p5", autoreset_mode="NextStep")
    vec.reset(seed=0)
    total, steps = np.zeros(3, np.int64), 0
    ended = np.zeros(3, np.bool_)
    while not ended.all():
        *_, terminated, _, infos = vec.step(vec.unwrapped.rule_action("etf"))
        total += np.where(ended, 0, infos["elapsed"])
        ended |= terminated
        steps += 1
    assert infos["_elapsed"].dtype == np.bool_
    assert total.tolist() == [5000] * 3


def test_new_graphs_for_every_seed():
    env = SoCEnv(scenario="top3-gen")
    shown = []
    for seed in (0, 1, 0):
        observation, _ = env.reset(seed=seed)
        assert env.instance == make_instance("top3-gen", seed)
        shown.append(observation["task_x"])
    np.testing.assert_array_equal(shown[0], shown[2])
    assert not np.array_equal(shown[0], shown[1])


def test_lanes_of_random_graphs_can_be_copied():
    vec = SoCVectorEnv(3, scenario="top3-gen")
    vec.reset(seed=0)
    vec.copy_lane(0, 2)
    assert vec.instances[2] == vec.instances[0]
    objective = vec.run_rule("etf")["objective"]
    assert objective[2] == objective[0] != objective[1]


def test_illegal_actions_are_named():
    env = SoCEnv(scenario="top3-p5", invalid_action="raise")
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match="task 5 of job place 1 to PE 2"):
        env.step((10 + 5) * 3 + 2)
    late = SoCEnv(scenario="single-top1-top3", mode="late_binding", invalid_action="raise")
    late.reset(seed=0)
    with pytest.raises(InvalidActionError, match="wait"):  # nothing would ever happen
        late.step(30)


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"mode": "commit"}, ParameterError, "mode: found 'commit'"),
        ({"reward": "power"}, ParameterError, "reward: found 'power'"),
        ({"scenario": "top3-p55"}, ScenarioError, "top3-p55"),
        ({"scenario": 7}, ScenarioError, "found int"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, named):
    with pytest.raises(error, match=named):
        SoCEnv(**arguments)


def test_a_graph_without_padding():
    pytest.importorskip("torch_geometric")
    from dispatchgym.envs.soc import to_hetero_data

    env = SoCEnv(scenario="top3-gen")
    env.reset(seed=0)
    observation, *_ = env.step(env.rule_action("etf"))
    data = to_hetero_data(observation)
    assert data["task"].x.shape == (observation["task_mask"].sum(), 22)
    assert data["task", "precedes", "task"].edge_index.shape[1] == observation["edge_mask"].sum()
    assert data["task", "runs_on", "pe"].num_edges == observation["task_pe"][:, :, 3].sum()
    assert data["pe", "sends", "pe"].num_edges == 9
    source, target = data["task", "precedes", "task"].edge_index
    assert (data["task"].depth[source] < data["task"].depth[target]).all()
    assert data.validate()
