"""The kernel against the recurrences in plain Python, and the identity of rewards."""

import gymnasium as gym
import numpy as np
import pytest
from edge_dag_plan.cases import diamond, play, qoe, rank_order, simulate, varied

from dispatchgym.envs.edge_dag_plan import validate

QUEUES = ("corrected", "published_code")


def step_all(simulation, choose):
    """Play all lanes to their ends; return the sum of the vector rewards, (B, 2)."""
    total = np.zeros((simulation.num_lanes, 2))
    running = np.ones(simulation.num_lanes, np.bool_)
    while running.any():
        simulation.step(choose(simulation), running, False)
        total[running] += simulation.vector_reward[running]
        running &= ~simulation.terminated
    return total


def at_random(seed):
    generator = np.random.default_rng(seed)

    def choose(simulation):
        masks = simulation.observations["action_mask"]
        return np.array([generator.choice(np.flatnonzero(m)) if m.any() else 0 for m in masks])

    return choose


@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize("order", ["rank", "index"])
def test_random_plans_follow_the_recurrences(queue, order):
    instances = varied(24)
    simulation = simulate(instances, uplink_queue=queue, order=order, preference="dirichlet")
    total = step_all(simulation, at_random(1))
    final = simulation.final_infos(np.ones(24, np.bool_))
    for lane, instance in enumerate(instances):
        schedule = {key: value[lane] for key, value in final["schedule"].items()}
        tasks = instance.num_tasks
        decided = schedule["order"][:tasks].tolist()
        expected = rank_order(instance) if order == "rank" else instance.index_order.tolist()
        assert decided == expected
        places = schedule["place"][:tasks]
        published = queue == "published_code"
        makespan, energy, ends = play(instance, decided, places, published=published)
        np.testing.assert_allclose(final["objective"][lane], [makespan, energy], rtol=1e-12)
        np.testing.assert_allclose(schedule["times"][:tasks, [1, 3, 5, 6]], ends, rtol=1e-12)
        report = validate(instance, schedule)
        assert report.valid, report.violations
        np.testing.assert_allclose(report.objective, [makespan, energy], rtol=1e-12)
        alone = instance.local_latency, instance.local_energy
        np.testing.assert_allclose(total[lane], 1 - report.objective / alone, atol=1e-12)


def test_scalar_rewards_sum_to_the_quality_of_experience():
    env = gym.make(
        "dispatchgym:dispatchgym/EdgeDagPlan-v0", scenario="alibaba_plan", reward="scalar"
    )
    observation, _ = env.reset(seed=3, options={"preference": (0.3, 0.7)})
    np.testing.assert_allclose(observation["preference"], [0.3, 0.7])
    total, ended = 0.0, False
    while not ended:
        _, reward, ended, _, info = env.step(env.unwrapped.rule_action("random"))
        total += reward
    assert total == pytest.approx(
        qoe(env.unwrapped.instance, info["objective"], (0.3, 0.7)), abs=1e-12
    )


def test_a_preference_that_is_given_at_reset_shows_in_every_column():
    asked, made = (
        gym.make_vec(
            "dispatchgym:dispatchgym/EdgeDagPlan-v0",
            num_envs=3,
            vectorization_mode="vector_entry_point",
            preference=preference,
        )
        for preference in ((0.9, 0.1), (0.2, 0.8))
    )
    observation, _ = asked.reset(seed=5, options={"preference": (0.2, 0.8)})
    expected, _ = made.reset(seed=5)
    for _ in range(6):
        for key, values in expected.items():
            np.testing.assert_array_equal(observation[key], values, key)
        action = made.unwrapped.rule_action("random")
        observation, expected = asked.step(action)[0], made.step(action)[0]


def test_a_plan_by_hand():
    """0 on the device until 4; 1 up from 4 to 7, run to 9, back at 10; 2 on the device, 4 to 8.

    3 waits for 10 there and ends at 14. Energy: 12 s at 2 W, 3 s at 1 W, 1 s at 0.5 W.
    """
    instance = diamond()
    assert instance.rank_order.tolist() == [0, 1, 2, 3]
    simulation = simulate([instance])
    for action in (0, 1, 0, 0):
        simulation.step(np.array([action]), np.ones(1, np.bool_), False)
    final = simulation.final_info(0)
    assert final["objective"].tolist() == [14.0, 27.5]
    assert final["schedule"]["times"].tolist() == [
        [0, 4, 0, 0, 0, 0, 0],
        [0, 0, 4, 7, 7, 9, 10],
        [4, 8, 0, 0, 0, 0, 0],
        [10, 14, 0, 0, 0, 0, 0],
    ]


def test_the_published_uplink_lets_first_tasks_go_up_at_once():
    work = np.array([4.0, 4.0, 4.0])
    instance = diamond(
        work=work, upload=work, output=work, edges=np.array([[0, 2]]), name="two roots"
    )
    sent = {}
    for queue in QUEUES:
        simulation = simulate([instance], uplink_queue=queue, order="index")
        step_all(simulation, lambda simulation: np.ones(1, np.int64))
        sent[queue] = simulation.schedule(0)["times"][:, 3].tolist()
    assert sent == {"corrected": [4, 8, 12], "published_code": [4, 4, 8]}


def test_servers_exchange_results_over_their_links():
    instance = diamond(
        server_speed=np.array([4.0, 2.0]),
        uplink=np.array([1.0, 1.0]),
        downlink=np.array([2.0, 2.0]),
        link=np.array([[1.0, 0.25], [0.5, 1.0]]),
    )
    simulation = simulate([instance], order="index")
    for action in (1, 2, 1, 1):
        simulation.step(np.array([action]), np.ones(1, np.bool_), False)
    times = simulation.schedule(0)["times"]
    # 0 is done on server 0 at 3; its byte takes 4 s to server 1, where 1 runs from 7 to 11.
    assert times[1, 4:6].tolist() == [7, 11]
    # The two bytes of 1 take 4 s back; 2 has been there since before.
    assert times[3, 4] == 15


def test_run_rule_is_stepping_by_the_rule():
    instances = varied(9)
    for rule in simulate(instances).rules:
        stepped = simulate(instances, preference="grid")
        step_all(stepped, lambda simulation, rule=rule: simulation.rule_actions(rule))
        at_once = simulate(instances, preference="grid").run_rule(rule)
        every = np.ones(9, np.bool_)
        np.testing.assert_array_equal(stepped.final_infos(every)["objective"], at_once["objective"])


def test_what_rules_do():
    instances = varied(9)
    places = {}
    for rule in simulate(instances).rules:
        places[rule] = simulate(instances).run_rule(rule)["schedule"]["place"]
    decided = places["all_local"] >= 0
    assert not places["all_local"][decided].any()
    assert (places["all_remote"][decided] > 0).all()
    for lane, instance in enumerate(instances):
        by_turns = np.arange(instance.num_tasks) % (instance.num_servers + 1)
        np.testing.assert_array_equal(places["round_robin"][lane, rank_order(instance)], by_turns)


def test_heft_puts_each_task_where_it_finishes_first():
    for instance in varied(6):
        order = rank_order(instance)
        places = np.full(instance.num_tasks, -1)
        for position, task in enumerate(order):
            finishes = []
            for place in range(instance.num_servers + 1):
                places[task] = place
                *_, ends = play(instance, order[: position + 1], places)
                finishes.append(ends[task, 0] + ends[task, 3])
            places[task] = int(np.argmin(finishes))
        found = simulate([instance]).run_rule("heft")["schedule"]["place"][0]
        np.testing.assert_array_equal(found, places)


def test_greedy_weighted_weighs_finish_and_energy():
    weights = np.array([0.3, 0.7])
    for instance in varied(6):
        order = rank_order(instance)
        places = np.full(instance.num_tasks, -1)
        for position, task in enumerate(order):
            costs = []
            for place in range(instance.num_servers + 1):
                places[task] = place
                _, energy, ends = play(instance, order[: position + 1], places)
                finish = ends[task, 0] + ends[task, 3]
                alone = instance.local_latency, instance.local_energy
                costs.append(weights @ (np.array([finish, energy]) / alone))
            places[task] = int(np.argmin(costs))
        simulation = simulate([instance], preference=weights)
        found = simulation.run_rule("greedy_weighted")["schedule"]["place"][0]
        np.testing.assert_array_equal(found, places)


def test_rollouts_are_at_least_as_good_as_the_rules_they_complete_with():
    instances = varied(18)

    def costs(rule):
        objective = simulate(instances).run_rule(rule)["objective"]
        pairs = zip(instances, objective, strict=True)
        return np.array([1 - qoe(*pair, (0.5, 0.5)) for pair in pairs])

    ahead = costs("rollout_weighted")
    assert (ahead <= costs("greedy_weighted") + 1e-12).all()
    assert (ahead < costs("greedy_weighted") - 1e-9).any()
    assert (ahead <= costs("all_remote") + 1e-12).all()


def test_the_outlook_is_what_completing_by_a_rule_costs():
    instances = varied(6)
    simulation = simulate(instances, preference=(0.4, 0.6))
    simulation.step(np.zeros(6, np.int64), np.ones(6, np.bool_), False)
    shown = simulation.observations["servers"]
    for lane, instance in enumerate(instances):
        costs = np.full((instance.num_servers + 1, 3), np.inf)
        if instance.num_tasks == 1 or simulation.terminated[lane]:
            continue
        for place in range(instance.num_servers + 1):
            for way, rule in enumerate(("greedy_weighted", "all_remote", "heft")):
                alone = simulate([instance], preference=(0.4, 0.6))
                for action in (0, place):
                    alone.step(np.array([action]), np.ones(1, np.bool_), False)
                objective = alone.run_rule(rule)["objective"][0]
                costs[place, way] = 1 - qoe(instance, objective, (0.4, 0.6))
        expected = (costs - costs.min()) * instance.num_tasks
        found = shown[lane, : instance.num_servers + 1, 12:]
        np.testing.assert_allclose(found, expected, atol=1e-5)
