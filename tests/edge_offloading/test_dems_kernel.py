"""The deadline family's kernel: its rules on runs worked out by hand, rewards, and what pays."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from edge_offloading.dems_cases import toy

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.dems_generators import find
from dispatchgym.envs.edge_offloading.dems_rules import DISCIPLINES, RULES
from dispatchgym.envs.edge_offloading.dems_world import QUEUES
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingSimulation

ENV = "dispatchgym:dispatchgym/EdgeOffloading-v0"
DECIDED, ACTION, MOVED, HELD_FROM, HELD_UNTIL, SENT, PLACE, START, END, OUTCOME, FORESEEN = range(
    11
)
ON_CLOUD, AT_EDGE = 0, 1
IN_TIME, LATE, DROPPED, EXPIRED = range(4)
SERVERS = 11
CLOUD, EDGE, DROP, HOLD = 0, 1, SERVERS, SERVERS + 1


def run(instance, rule, **options):
    """The rows of a run under a rule, and its objective."""
    simulation = EdgeOffloadingSimulation(num_lanes=1, scenario=instance, **options)
    simulation.restart(np.ones(1, np.bool_), np.zeros(1, np.int64))
    played = simulation.run_rule(rule)
    return played["schedule"]["tasks"][0], played["objective"][0]


def step_through(instance, actions, **options):
    """The rows and the objective of a run with given actions, and the rewards."""
    env = gym.make(ENV, scenario=instance, invalid_action="raise", **options).unwrapped
    env.reset(seed=0)
    rewards = []
    for action in actions:
        *_, terminated, _, info = step = env.step(action)
        rewards.append(step[1])
    assert terminated
    return info["schedule"]["tasks"], info["objective"], np.array(rewards)


# --- rules by hand ---------------------------------------------------------------------------


def test_first_come_first_served_drops_what_is_too_late_when_the_edge_is_free():
    """Two runs of 300 ms; the third could start at 600, when 300 ms are left: too late."""
    tasks, objective = run(toy([(0, 300, 500, 900, 10, 2)] * 3), "fifo")
    assert tasks[:, START].tolist() == [0, 300, -1]
    assert tasks[:, OUTCOME].tolist() == [IN_TIME, IN_TIME, EXPIRED]
    assert tasks[2, END] == 600
    assert objective.tolist() == [18.0, 0.0]


def test_the_edge_starts_only_after_all_tasks_of_an_instant():
    """By deadline the second of two tasks that arrive together goes first."""
    tasks, _ = run(toy([(0, 300, 500, 900, 10, 2), (0, 300, 500, 800, 10, 2)]), "edf")
    assert tasks[:, START].tolist() == [300, 0]


@pytest.mark.parametrize(
    ("rule", "first"), [("fifo", 0), ("edf", 1), ("sjf", 2), ("hbf", 3), ("huf", 3)]
)
def test_orders_of_the_queue(rule, first):
    tasks = [(0, 50, 500, 990, 10, 2), (0, 50, 500, 900, 20, 2), (0, 40, 500, 990, 20, 2),
             (0, 50, 500, 990, 30, 2)]  # fmt: skip
    rows, _ = run(toy(tasks), rule)
    assert rows[first, START] == 0


def test_edge_and_cloud():
    """The second task would end at 600 of its 550: the cloud takes it; the third loses there."""
    tasks = [(0, 300, 500, 500, 10, 2), (0, 300, 500, 550, 10, 2), (0, 300, 500, 560, 10, 12)]
    rows, objective = run(toy(tasks), "e_c")
    assert rows[:, PLACE].tolist() == [AT_EDGE, ON_CLOUD, -1]
    assert rows[2, OUTCOME] == DROPPED
    assert objective[0] == 9 + 8


@pytest.mark.parametrize(("queue", "moved"), [("corrected", 10), ("published_code", -1)])
def test_migration_looks_at_the_task_behind(queue, moved):
    """A long run holds the edge until 300, task 1 waits. Task 2, worth more, goes before it:
    task 1 would end at 800 of 790 and moves to the cloud, unless the check skips it."""
    tasks = [(0, 300, 900, 400, 10, 2), (1, 250, 500, 789, 10, 3), (10, 250, 900, 700, 100, 50)]
    rows, _ = run(toy(tasks), "dem", queue=queue)
    assert rows[1, MOVED] == moved
    assert rows[1, OUTCOME] == (IN_TIME if moved > 0 else EXPIRED)
    assert rows[2, PLACE] == AT_EDGE


def test_migration_keeps_what_is_worth_more():
    """As above, but what would move is worth more than what comes."""
    tasks = [(0, 300, 900, 400, 10, 2), (1, 250, 500, 789, 99, 60), (10, 250, 600, 700, 10, 3)]
    rows, _ = run(toy(tasks), "dem")
    assert rows[1, PLACE] == AT_EDGE
    assert rows[2, PLACE] == ON_CLOUD


def test_holding_ends_50_ms_before_the_last_moment_at_a_tenth():
    """Last moment for the cloud: 7 + 900 - 400 - 10 = 497; 447 is followed by the poll of 450."""
    actions = [EDGE, HOLD]
    tasks = [(0, 800, 900, 900, 10, 2), (7, 300, 400, 900, 10, 2)]
    rows, objective, _ = step_through(toy(tasks), actions)
    assert rows[1, [HELD_FROM, HELD_UNTIL, SENT, START, END]].tolist() == [7, 450, 450, 450, 850]
    assert objective[0] == 9 + 8


def test_a_held_task_that_loses_on_the_cloud_is_dropped():
    """Last moment for the edge: 7 + 900 - 300 - 10 = 597."""
    tasks = [(0, 800, 900, 900, 10, 2), (7, 300, 400, 900, 10, 12)]
    rows, *_ = step_through(toy(tasks), [EDGE, HOLD])
    assert rows[1, [HELD_UNTIL, OUTCOME, END]].tolist() == [550, DROPPED, 550]


def test_the_idle_edge_steals_what_wins_most():
    """Both on hold: 5 - 1 in 100 ms against 8 - 1 in 200 ms; the second would be too late then."""
    tasks = [(0, 100, 400, 900, 10, 5), (0, 200, 400, 900, 10, 8)]
    rows, *_ = step_through(toy(tasks), [HOLD, HOLD])
    assert rows[:, START].tolist() == [0, 100]
    assert rows[:, PLACE].tolist() == [AT_EDGE, AT_EDGE]


def test_stealing_does_not_make_the_queue_late():
    """The queue's head may wait 700 - 100 - 10 - 300 = 290 ms at 300: time for 200, not for 300.

    Whoever is not stolen goes to the cloud before its last moment there, 990 - 400 - 10 = 580.
    """
    tasks = [(0, 300, 900, 400, 10, 2), (10, 300, 400, 980, 10, 9), (10, 200, 400, 980, 10, 3),
             (10, 100, 400, 690, 10, 3)]  # fmt: skip
    rows, *_ = step_through(toy(tasks), [EDGE, HOLD, HOLD, EDGE])
    assert rows[2, START] == 300
    assert rows[3, START] == 500
    assert rows[1, SENT] == 530


def test_the_cloud_has_slots():
    rows, _ = run(toy([(0, 50, 300, 900, 10, 2)] * 3, slots=2), "cld")
    assert rows[:, START].tolist() == [0, 0, 300]


def test_late_on_the_cloud_costs():
    """The network is slower than expected."""
    instance = toy([(0, 50, 300, 400, 10, 2)], cloud_time=[450])
    rows, objective = run(instance, "cld")
    assert rows[0, [END, OUTCOME]].tolist() == [450, LATE]
    assert objective[0] == -2


def test_a_surge_is_a_trapezium():
    """Runs of 100 ms from 0 on, every 100 ms; the surge rises from 100 to 300, falls from 500."""
    tasks = [(100 * i, 50, 100, 900, 10, 2) for i in range(6)]
    rows, _ = run(toy(tasks, surge=(100, 200, 600, 60)), "cld")
    assert (rows[:, END] - rows[:, START]).tolist() == [100, 100, 130, 160, 160, 160]


def test_bonus_of_a_window():
    """Nine of ten in time are enough for nine tenths; the window ends before the tenth ends."""
    tasks = [(100 * i, 50, 90, 300, 10, 2) for i in range(6)]
    options = {"bonus": np.arange(6) + 1.0, "window": 400, "horizon": 800}
    _, objective = run(toy(tasks, **options), "cld")
    assert objective[1] == 1 + 2 + 3 + 4 + 5 + 6  # each model has one task, in time in a window
    late = toy(tasks, cloud_time=[90, 90, 390, 90, 90, 90], **options)
    assert run(late, "cld")[1][1] == 1 + 2 + 4 + 5 + 6


def test_expected_cloud_times_follow_the_last_ten_runs():
    """Runs take 40 ms more than usual: after ten that is expected, of tasks that come later."""
    model = toy([(0, 460, 300, 450, 10, 2)])
    tasks = {
        "release": np.arange(14) * 700,
        "model": np.zeros(14, np.int64),
        "drone": np.zeros(14, np.int64),
        "cloud_time": np.full(14, 340),
    }
    rows, objective = run(dataclasses.replace(model, **tasks), "demsa")
    assert rows[:, PLACE].tolist() == [ON_CLOUD] * 14
    assert rows[:, FORESEEN].tolist() == [300] * 10 + [340] * 4
    assert objective[0] == 14 * 8


def test_a_model_cools_down_and_is_tried_again():
    """Runs take 480 ms of 450: after ten late ones nothing is sent for ten seconds, then one is."""
    model = toy([(0, 460, 300, 450, 10, 2)], horizon=40_000)
    tasks = {
        "release": np.arange(40) * 1000,
        "model": np.zeros(40, np.int64),
        "drone": np.zeros(40, np.int64),
        "cloud_time": np.full(40, 480),
    }
    rows, objective = run(dataclasses.replace(model, **tasks), "demsa")
    sent = np.flatnonzero(rows[:, SENT] >= 0)
    assert sent.tolist() == [*range(10), 21, 33]
    assert rows[21, FORESEEN] == 300
    assert objective[0] == -12 * 2


# --- the environment -------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [name for name in RULES if name not in DISCIPLINES])
@pytest.mark.parametrize("scenario", ["dems-heavy-3-5s", "dems-medium-2-5s-variable"])
def test_stepping_equals_the_rule_with_the_discipline_of_dems(rule, scenario):
    check_stepping(rule, "dems", scenario)


@pytest.mark.parametrize("rule", DISCIPLINES)
def test_stepping_equals_the_rule_with_its_discipline(rule):
    check_stepping(rule, rule, "dems-heavy-4-10s-variable")


def check_stepping(rule, discipline, scenario):
    """A rule's actions, one after the other, do what the compiled run does."""
    lanes = np.ones(3, np.bool_)
    simulation = EdgeOffloadingSimulation(num_lanes=3, scenario=scenario, discipline=discipline)
    simulation.restart(lanes, np.arange(3))
    expected = simulation.run_rule(rule)
    simulation.restart(lanes, np.arange(3))
    ended = np.zeros(3, np.bool_)
    while not ended.all():
        simulation.step(simulation.rule_actions(rule), ~ended, False)
        assert not simulation.invalid.any()
        ended |= simulation.terminated
    found = simulation.final_infos(lanes)
    assert found["objective"].tolist() == expected["objective"].tolist()
    for lane in range(3):
        one, other = (infos["schedule"]["tasks"][lane] for infos in (found, expected))
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("credit", ["event", "decision"])
@pytest.mark.parametrize("scale", ["context", "paper"])
def test_rewards_sum_to_the_objective(credit, scale):
    env = gym.make(ENV, scenario="dems-heavy-2-45s", credit=credit, reward_scale=scale).unwrapped
    observation, _ = env.reset(seed=3)
    source, terminated, total = np.random.default_rng(0), False, np.zeros(2)
    while not terminated:
        action = env.rule_action("dems")
        if source.random() < 0.1:
            action = source.choice(np.flatnonzero(observation["action_mask"]))
        observation, reward, terminated, _, info = env.step(action)
        total += reward
    units = [100.0, 100.0]
    if scale == "context":
        units = [env.instance.benefit[env.instance.model].mean(), env.instance.bonus.mean()]
    np.testing.assert_allclose(total * units, info["objective"], rtol=1e-4)
    assert info["objective"][1] > 0


def test_credit_at_the_decision_comes_with_it():
    """What is certain is booked at once, and what becomes of it later changes nothing."""
    tasks = [(0, 100, 400, 900, 10, 5), (500, 200, 400, 900, 10, 8)]
    *_, early = step_through(toy(tasks), [EDGE, CLOUD], credit="decision")
    *_, events = step_through(toy(tasks), [EDGE, CLOUD], credit="event")
    np.testing.assert_allclose(early[:, 0], [0.9, 0.2])
    np.testing.assert_allclose(events[:, 0], [0.9, 0.2])  # the edge is done before the next
    tasks[1] = (50, 200, 400, 900, 10, 8)
    *_, events = step_through(toy(tasks), [EDGE, CLOUD], credit="event")
    np.testing.assert_allclose(events[:, 0], [0.0, 1.1])


@pytest.mark.parametrize("variable", ["", "-variable"])
def test_the_kernel_draws_what_the_generator_makes(variable):
    name = f"dems-20s{variable}"
    simulation = EdgeOffloadingSimulation(num_lanes=8, scenario=name)
    simulation.restart(np.ones(8, np.bool_), np.arange(8))
    sizes = set()
    for lane in range(8):
        instance = find(name).generate(lane)
        state, tasks = simulation.world.state, instance.num_tasks
        assert state.numbers[lane].tolist() == instance.rows.numbers.tolist()
        for key in ("release", "model", "drone", "cloud_time"):
            assert getattr(state, key)[lane, :tasks].tolist() == getattr(instance, key).tolist()
        sizes.add(tasks)
    assert len(sizes) > 3


def test_published_queue_and_corrected_queue_differ():
    objectives = []
    for queue in QUEUES:
        simulation = EdgeOffloadingSimulation(num_lanes=4, scenario="dems-heavy-2-30s", queue=queue)
        simulation.restart(np.ones(4, np.bool_), np.arange(4))
        objectives.append(simulation.run_rule("dems")["objective"][:, 0])
    assert (objectives[0] > objectives[1]).all()


# --- what pays -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def means():
    """Mean objectives (utility, bonus) of rules on runs of a minute, by scenario and rule."""

    def played(scenario, *rules):
        simulation = EdgeOffloadingSimulation(num_lanes=12, scenario=scenario)
        found = []
        for rule in rules:
            simulation.restart(np.ones(12, np.bool_), np.arange(100, 112))
            found.append(simulation.run_rule(rule)["objective"].mean(axis=0))
        return np.array(found)

    return played


@pytest.mark.parametrize("drones", [2, 3, 4])
def test_charging_for_the_edges_time_beats_dems_on_heavy_loads(means, drones):
    dems, shadow, rollout = means(f"dems-heavy-{drones}-60s", "dems", "shadow_price", "rollout")
    assert shadow[0] > 1.03 * dems[0]
    assert rollout[0] > shadow[0]


def test_adapting_pays_where_the_network_varies(means):
    dems, demsa = means("dems-heavy-4-120s-variable", "dems", "demsa")
    assert demsa[0] > dems[0]


def test_without_variation_adapting_changes_nothing(means):
    dems, demsa = means("dems-heavy-3-60s", "dems", "demsa")
    assert dems.tolist() == demsa.tolist()


def test_keeping_up_with_windows_wins_bonuses(means):
    dems, gems = means("dems-heavy-3-100s", "dems", "gems")
    assert gems[1] > dems[1]


def test_values_of_rollouts_lead_to_their_actions():
    lanes = np.ones(6, np.bool_)
    simulation = EdgeOffloadingSimulation(num_lanes=6, scenario="dems-heavy-3-3s", max_servers=3)
    simulation.restart(lanes, np.arange(6))
    better = 0
    for _ in range(40):
        values = simulation.rollout_values(1)
        legal = simulation.observations["action_mask"] == 1
        assert np.isfinite(values).tolist() == legal.tolist()
        chosen, rule = simulation.rule_actions("rollout"), simulation.rule_actions("shadow_price")
        gained = values[np.arange(6), chosen] - values[np.arange(6), rule]
        assert (gained >= 0).all()
        assert (values.max(axis=1) - values[np.arange(6), chosen] < 1e-6).all()
        better += (gained > 0).sum()
        simulation.step(chosen, lanes, False)
    assert better > 0


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue": "correct"}, "queue: found 'correct'"),
        ({"discipline": "cld"}, "discipline: found 'cld'"),
        ({"credit": "later"}, "credit: found 'later'"),
        ({"max_servers": 1}, "max_servers: found 1, expected at least 2"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ParameterError, match=message):
        gym.make(ENV, scenario="dems", **options)


def test_a_task_that_is_late_at_the_edge_cannot_go_there():
    tasks = [(0, 800, 900, 900, 10, 2), (7, 300, 400, 900, 10, 2)]
    env = gym.make(ENV, scenario=toy(tasks)).unwrapped
    env.reset(seed=0)
    env.step(EDGE)
    assert np.flatnonzero(env.action_masks()).tolist() == [CLOUD, DROP, HOLD]
