"""Evaluations of edge offloading: both objectives, fronts, sweeps, agents that learn first."""

import inspect
import json

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.agents.annealing import AnnealingEntrant, anneal, plan_costs
from dispatchgym.agents.arena import Arena
from dispatchgym.agents.edge_metrics import deadline_metrics, graph_metrics, slot_metrics
from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.fronts import Box
from dispatchgym.agents.lin_ucb import LinUCB, LinUCBEntrant, contexts_of
from dispatchgym.agents.parameter_sweep import SweepEntrant
from dispatchgym.agents.preferences import equally_spaced
from dispatchgym.agents.problems import find_problem
from dispatchgym.benchmark import measure_speed
from dispatchgym.configs.schemas import EdgeOffloadingConfig
from dispatchgym.envs import edge_offloading
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.edge_offloading.dems_validator import COLUMNS
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingSimulation

PROBLEM = find_problem("edge_offloading")


def play(agents, scenario="gmorl-e2", seeds=2, **arguments):
    return evaluate(agents, scenario, seeds, problem="edge_offloading", progress=False, **arguments)


def vector(lanes=1, **arguments):
    arguments = {"scenario": "gmorl-e2", "autoreset_mode": "SameStep", **arguments}
    return gym.make_vec(PROBLEM.env_id, num_envs=lanes, **arguments).unwrapped


@pytest.fixture(scope="module")
def result():
    return play(["least_work", "greedy_omega", "random_p_sweep"], seeds=6, levels=3)


def test_every_preference_plays_every_seed(result):
    assert len(result.rows) == 3 * 3 * 6
    batch = vector(6)
    for weight in (0.0, 0.5, 1.0):
        batch.reset(seed=0, options={"preference": (weight, 1 - weight)})
        expected = batch.run_rule("greedy_omega")["objective"]
        found = [
            row.objective
            for row in result.rows
            if row.agent == "greedy_omega" and row.setting["preference"] == (weight, 1 - weight)
        ]
        np.testing.assert_array_equal(found, expected)


def test_a_sweep_has_the_weight_of_the_first_objective_as_its_parameter(result):
    batch = vector(6)
    for share in (0.0, 0.5, 1.0):
        batch.reset(seed=0)
        expected = batch.run_rule("random_p", share)["objective"]
        found = [
            row.objective
            for row in result.rows
            if row.agent == "random_p_sweep" and row.setting["preference"][0] == share
        ]
        np.testing.assert_array_equal(found, expected)
    times = SweepEntrant("s", "random_p").decision_times(Arena(PROBLEM, "gmorl-e2", (0,), {}))
    assert (times > 0).all()


def test_the_box_is_that_of_the_episodes(result):
    box = result.boxes["gmorl-e2"]
    batch = vector(6)
    batch.reset(seed=0)
    assert box.reference[0] == pytest.approx(
        batch.run_rule("random_p", 0.0)["objective"][:, 0].mean()
    )
    batch.reset(seed=0)
    assert box.reference[1] == pytest.approx(
        batch.run_rule("random_p", 1.0)["objective"][:, 1].mean()
    )
    instances = [edge_offloading.make_instance("gmorl-e2", seed) for seed in range(6)]
    ideal = np.mean([edge_offloading.ideal(instance) for instance in instances], axis=0)
    assert box.ideal == pytest.approx(tuple(ideal))
    points = result.fronts().points("random_p_sweep", "gmorl-e2")
    assert points[0, 0] == pytest.approx(box.reference[0])
    assert points[2, 1] == pytest.approx(box.reference[1])


def test_greedy_dominates_more_than_random(result):
    fronts = result.fronts()
    greedy, poor = (fronts.front(a, "gmorl-e2") for a in ("greedy_omega", "random_p_sweep"))
    assert greedy.hypervolume > poor.hypervolume > 0
    assert poor.versus == "greedy_omega" and poor.high < 1
    assert "Hypervolume" in result.table()


def test_rows_describe_the_episode(result, tmp_path):
    result.write(tmp_path / "result.json")
    document = json.loads((tmp_path / "result.json").read_text())
    for row in document["rows"]:
        assert row["valid"] is True
        assert row["gap"] is None and row["reference_kind"] == "bound"
        assert all(np.array(row["objective"]) >= np.array(row["reference"]) * (1 - 1e-9))
        assert row["delay_per_task"] == pytest.approx(row["objective"][0] / row["tasks"])
        assert row["delay_p50"] <= row["delay_p95"] <= row["delay_p99"]
    assert {line["agent"] for line in document["fronts"]} == {row.agent for row in result.rows}


def test_one_preference_has_a_table_of_means():
    found = play(["rules"], seeds=3)
    text = found.table()
    assert "preference 0.5/0.5" in text and "delay in s" in text
    assert max(map(len, text.splitlines())) <= 80
    assert found.fronts().fronts == ()


def test_preferences_may_be_drawn():
    found = play(["greedy_omega"], seeds=4, options={"preference": "grid"})
    drawn = {row.setting["preference"] for row in found.rows}
    assert len(drawn) == 4
    assert found.fronts().preferences == (None,)


def test_rules_are_those_of_the_family():
    rules = PROBLEM.rules("dems-light-2")
    assert "dems" in rules and "greedy_omega" not in rules
    assert "greedy_omega" in PROBLEM.rules("gmorl-e2") == PROBLEM.rules()
    found = play(["edf", "dems"], "dems-light-2", seeds=1)
    assert found.rules == ("edf", "dems")
    row = found.rows[1]
    assert 0 < row.details["completion"] <= 1
    assert row.objective[0] <= row.reference[0]  # utilities have upper bounds
    assert "QoS utility" in found.table()
    with pytest.raises(ParameterError, match="greedy_omega"):
        play(["greedy_omega"], "dems-light-2", seeds=1)


def test_families_are_not_averaged():
    with pytest.raises(ParameterError, match="expected one objective"):
        play(["random"], ["gmorl-e2", "dems-light-2"])


def test_fronts_of_utilities_begin_at_nothing():
    arena = Arena(PROBLEM, "dems-light-2", (0,), {})
    box = PROBLEM.box(arena)
    assert box.reference == (0.0, 0.0)
    assert box.ideal == tuple(edge_offloading.ideal(arena.instances[0]))


def test_a_schedule_that_is_not_valid_does_not_count(monkeypatch):
    real = EdgeOffloadingSimulation.run_rule

    def cheat(self, rule, parameter=None):
        final = real(self, rule, parameter)
        final["objective"][:, 0] -= 1.0
        return final

    monkeypatch.setattr(EdgeOffloadingSimulation, "run_rule", cheat)
    with pytest.raises(EvaluationError, match="was reported, the schedule has"):
        play("least_work", levels=2)


@pytest.mark.parametrize("scenario", ["gmorl-e2", "gmorl_hard-e2", "dag_online"])
def test_the_cost_of_an_episode_is_minus_the_sum_of_its_rewards(scenario):
    batch = vector(3, scenario=scenario, reward="scalar", preference=(0.3, 0.7))
    batch.reset(seed=0)
    total, ended = np.zeros(3), np.zeros(3, np.bool_)
    episodes = Arena(PROBLEM, scenario, (0, 1, 2), {}, ((0.3, 0.7),)).run_rule("least_work")
    while not ended.all():
        _, rewards, terminated, _, _ = batch.step(batch.rule_action("least_work"))
        total += np.where(ended, 0.0, rewards)
        ended |= terminated
    for seed, episode in enumerate(episodes):
        instance = edge_offloading.make_instance(scenario, seed)
        assert PROBLEM.cost(instance, episode) == pytest.approx(-total[seed])


# --- metrics, by hand ---


def test_slots_by_hand():
    instance = edge_offloading.make_instance("gmorl-e2", 0)
    sent = np.array([instance.release[0] + 1.0, instance.release[1] + 3.0])
    schedule = {
        "sent": sent,
        "ended": sent + np.array([4.0, 2.0]),
        "server": np.array([0, 2]),
        "objective": np.array([6.0, 3.0]),
    }
    found = slot_metrics(instance, schedule)
    megabits = instance.bits[:2].sum() / 1e6
    assert found["tasks"] == 2
    assert found["delay_p50"] == pytest.approx(3.0)
    assert found["delay_p95"] == pytest.approx(np.percentile([4.0, 2.0], 95))
    assert (found["delay_per_task"], found["energy_per_task"]) == (3.0, 1.5)
    assert found["delay_per_mbit"] == pytest.approx(6 / megabits)
    assert found["energy_per_mbit"] == pytest.approx(3 / megabits)
    assert found["waiting"] == pytest.approx(2.0)
    assert found["cloud"] == 0.5


def test_deadlines_by_hand():
    rows = np.full((5, len(COLUMNS)), -1)
    rows[:, COLUMNS.index("outcome")] = [0, 0, 1, 2, 3]
    rows[:, COLUMNS.index("place")] = [1, 0, 1, -1, -1]
    found = deadline_metrics(edge_offloading.make_instance("dems-light-2", 0), {"tasks": rows})
    assert found == {
        "tasks": 5,
        "completion": 0.4,
        "late": 0.2,
        "dropped": 0.2,
        "expired": 0.2,
        "edge": 0.4,
    }


def test_jobs_by_hand():
    instance = edge_offloading.make_instance("dag_online", 0)
    job, jobs = instance.job, instance.num_jobs
    place = np.where(job == 0, instance.num_servers, 0)
    back = instance.arrival[job] + 10.0
    first_of_last = int(np.argmax(job == jobs - 1))
    back[first_of_last] += 5.0
    found = graph_metrics(instance, {"place": place, "back": back})
    assert (found["tasks"], found["jobs"]) == (len(job), jobs)
    assert found["delay_p50"] == pytest.approx(10.0)
    expected = [*[10.0] * (jobs - 1), 15.0]
    assert found["delay_p99"] == pytest.approx(np.percentile(expected, 99))
    assert found["device"] == pytest.approx((job == 0).mean())
    assert found["cloud"] == pytest.approx((job > 0).mean())


def test_jobs_on_the_devices_are_the_reference_point():
    found = play(["all_local", "greedy_omega"], "dag_online", seeds=2, levels=2)
    box, fronts = found.boxes["dag_online"], found.fronts()
    assert fronts.points("all_local", "dag_online")[0] == pytest.approx(box.reference)
    assert fronts.front("all_local", "dag_online").hypervolume == 0
    assert fronts.front("greedy_omega", "dag_online").hypervolume > 0.5


# --- agents that learn or search before they play ---


def test_linear_bandit_learns_a_linear_reward():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(67, 2))
    model = LinUCB(ridge=1e-3)
    contexts = rng.normal(size=(500, 67))
    model.learn(contexts, contexts @ truth)
    arms = rng.normal(size=(20, 5, 67)).astype(np.float32)
    servers = np.concatenate([arms, np.zeros((20, 5, 9), np.float32)], axis=2)
    mask = np.ones((20, 7), np.int8)
    mask[:, 4] = 0
    weights = rng.dirichlet((1, 1), 20)
    observation = {"servers": servers, "action_mask": mask, "preference": weights}
    expected = np.einsum("bsf,fk,bk->bs", arms, truth, weights)
    expected[:, 4] = -np.inf
    np.testing.assert_array_equal(model.choose(observation, 0.0), expected.argmax(axis=1))
    assert contexts_of(observation).shape == (20, 5, 67)


def test_linear_bandit_tries_what_it_does_not_know():
    model = LinUCB()
    contexts = np.zeros((50, 67))
    contexts[:, 0] = 1.0
    model.learn(contexts, np.full((50, 2), -0.01))
    servers = np.zeros((1, 2, 76), np.float32)
    servers[0, 0, 0] = servers[0, 1, 1] = 1.0  # the second arm has a feature never seen
    observation = {
        "servers": servers,
        "action_mask": np.ones((1, 4), np.int8),
        "preference": np.array([[0.5, 0.5]]),
    }
    assert model.choose(observation, 1.0)[0] == 1
    model.learn(contexts[:, ::-1] * 0 + servers[0, 1, :67], np.full((50, 2), -1.0))
    assert model.choose(observation, 0.1)[0] == 0


def test_linear_bandit_beats_random_and_learns_once(monkeypatch):
    monkeypatch.setattr("dispatchgym.agents.lin_ucb.EPISODES", 1)
    arena = Arena(PROBLEM, "gmorl-e2", tuple(range(8)), {}, equally_spaced(3))
    agent = LinUCBEntrant()
    first, again = agent.play(arena), agent.play(arena)
    assert [e.objective.tolist() for e in first] == [e.objective.tolist() for e in again]
    assert len(agent._models) == 1

    def cost(episodes):
        return np.mean([PROBLEM.cost(i, e) for i, e in zip(arena.instances, episodes, strict=True)])

    assert cost(first) < 0.8 * cost(arena.run_rule("random"))


def agent_with(plans, arena):
    """Return an agent that has already searched."""
    known = np.array(arena.preferences)
    key = repr((arena.scenario, sorted(arena.options.items()), known.tolist()))
    return AnnealingEntrant(_plans={key: plans})


@pytest.mark.parametrize("scenario", ["gmorl-e3", "gmorl_hard-e3"])
def test_plans_cost_what_they_cost_in_the_environment(scenario):
    arena = Arena(PROBLEM, scenario, (4, 5), {}, equally_spaced(2))
    plans = np.random.default_rng(0).integers(1 << 30, size=(2, 100))
    episodes = agent_with(plans, arena).play(arena)
    played = [PROBLEM.cost(i, e) for i, e in zip(arena.instances, episodes, strict=True)]
    for column, seed in enumerate((4, 5)):
        expected = plan_costs(arena.draw(seed), plans, np.array(arena.preferences))
        np.testing.assert_allclose(played[column::2], expected, rtol=1e-9)


def test_annealing_improves_blind_plans():
    arena = Arena(PROBLEM, "gmorl-e1", tuple(range(20)), {})
    preferences = np.array(equally_spaced(2))
    start, found = (anneal(arena.draw, preferences, episodes) for episodes in (0, 600))
    costs = [
        np.mean([plan_costs(i, plans, preferences) for i in arena.instances], axis=0)
        for plans in (start, found)
    ]
    assert (costs[1] < costs[0]).all()
    # Energy alone: the edge is always better, where half of the random plan goes.
    assert (found[0] % 2 == 1).mean() > (start[0] % 2 == 1).mean() + 0.1


def test_annealing_needs_slots():
    with pytest.raises(ParameterError, match="sa plans slots, which dems"):
        play("sa", "dems-light-2", seeds=1)


# --- the problem ---


def test_the_configuration_names_the_arguments_of_the_environment():
    arguments = inspect.signature(EdgeOffloadingSimulation.__init__).parameters
    own = EdgeOffloadingConfig()
    for name, value in vars(own).items():
        if name == "name":
            continue
        default = arguments[name].default
        assert value == (list(default) if isinstance(default, tuple) else default), name


def test_speed_is_measured():
    for scenario, rule in (("gmorl-e2", None), ("dems-light-2", "dems")):
        found = measure_speed(PROBLEM, scenario, 4, rule=rule, seconds=0.05, repeats=1)
        assert found["kernel_steps_per_second"] > 1000
        assert found["steps_per_second"] > 100


def test_pictures_show_fronts(result, tmp_path):
    from dispatchgym.agents.front_pictures import front_figure
    from dispatchgym.agents.pictures import draw

    figure = front_figure(result)
    (chart,) = [axes for axes in figure.axes if axes.get_visible()]
    box = result.boxes["gmorl-e2"]
    assert chart.get_xlim()[1] == box.reference[0]
    labels = [
        line.get_label() for line in chart.get_lines() if not line.get_label().startswith("_")
    ]
    assert labels == ["least_work", "greedy_omega", "random_p_sweep"]
    greedy = next(line for line in chart.get_lines() if line.get_label() == "greedy_omega")
    assert (np.diff(greedy.get_ydata()) < 0).all()
    files = draw(result, tmp_path)
    assert [path.name for path in files] == ["agents.png", "schedule.png"]
    assert isinstance(box, Box)
