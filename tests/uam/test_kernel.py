"""The kernel against a reference in plain Python, to the cent and to the minute."""

import numpy as np
import pytest
from uam import reference
from uam.cases import change, small, varied

from dispatchgym.envs.uam import kernel, make_instance
from dispatchgym.envs.uam.env import UAMFleetEnv, UAMFleetVectorEnv
from dispatchgym.envs.uam.generators import scenarios
from dispatchgym.envs.uam.rules import RULES


def check_day(instance, seed, rule, vec):
    """Compare a day that the kernel has played with the reference."""
    vec.reset(seed=[seed])
    info = vec.simulation.run_rule(rule)
    day = reference.play(instance, seed, rule)
    schedule = {key: value[0] for key, value in info["schedule"].items()}
    np.testing.assert_array_equal(schedule["decisions"], np.array(day.log).reshape(-1, 10))
    assert schedule["revenue"] == day.revenue
    assert schedule["operating_cost"] == day.operating
    assert schedule["energy_cost"] == day.energy
    assert schedule["profit"] == day.profit
    assert schedule["seed"] == seed
    assert info["objective"][0] == day.profit / 100
    assert info["passengers"][0] == day.served
    return day


def test_rules_agree_with_the_reference_on_varied_days():
    """Each option of an instance, flights, cancelled dispatches and full places are met."""
    met = set()
    for seed in range(150):
        instance = varied(seed)
        vec = UAMFleetVectorEnv(1, scenario=instance)
        for rule in RULES:
            day = check_day(instance, 1000 + seed, rule, vec)
            met |= {row[9] for row in day.log}
    assert met == {0, 1}


SMALL_SCENARIOS = [name for name in scenarios() if "20x100" not in name and "50x500" not in name]


@pytest.mark.parametrize("scenario", SMALL_SCENARIOS)
def test_rules_agree_with_the_reference_on_scenarios(scenario):
    vec = UAMFleetVectorEnv(1, scenario=scenario)
    for seed, rule in enumerate(RULES):
        check_day(make_instance(scenario, seed), seed, rule, vec)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", scenarios())
def test_rules_agree_with_the_reference_on_a_thousand_days(scenario):
    days = {"uam-50x500": 3, "uam-20x100": 27}.get(scenario, 100)
    vec = UAMFleetVectorEnv(1, scenario=scenario)
    for seed in range(days):
        check_day(make_instance(scenario, seed), seed, RULES[seed % 3], vec)


def test_steps_agree_with_the_reference():
    """Whatever is done, who decides, what is legal and what it earns are the reference's."""
    rng = np.random.default_rng(0)
    for seed in range(60):
        instance = varied(seed)
        env = UAMFleetEnv(scenario=instance, invalid_action="raise")
        observation, _ = env.reset(seed=seed)
        day = reference.Day(instance, seed)
        while (craft := day.decider()) is not None:
            assert observation["k"][0] == craft.number
            assert observation["i"][0] == craft.at
            assert observation["action_mask"].tolist() == day.legal(craft)
            action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
            earned = day.act(craft, action)
            observation, reward, terminated, _, info = env.step(action)
            assert reward == earned / max(instance.demand_value_cents, 1)
        assert terminated
        assert info["objective"] == day.profit / 100


@pytest.mark.parametrize("scenario", ["uam-8x40", "uam-8x40-storm", "uam-lax2"])
def test_staying_is_always_legal(scenario):
    vec = UAMFleetVectorEnv(16, scenario=scenario, autoreset_mode="SameStep")
    observations, _ = vec.reset(seed=0)
    for _ in range(300):
        here = observations["i"][:, 0]
        assert observations["action_mask"][np.arange(16), here].all()
        observations, *_ = vec.step(vec.rule_action("random"))


@pytest.mark.parametrize("rule", RULES)
def test_dense_and_terminal_rewards_sum_to_the_profit(rule):
    for scenario in ("uam-8x40", "uam-8x40-market", "uam-5x9-storm"):
        sums = []
        for reward in ("dense", "terminal"):
            env = UAMFleetEnv(scenario=scenario, reward=reward)
            env.reset(seed=5)
            rewards, ended = [], False
            while not ended:
                _, given, ended, _, info = env.step(env.rule_action(rule))
                rewards.append(given)
            sums.append(sum(rewards))
            if reward == "terminal":
                assert not any(rewards[:-1])
        assert sums[0] == pytest.approx(sums[1], rel=1e-9, abs=1e-12)
        value = env.instance.demand_value_cents
        assert info["demand_value_cents"] == value
        assert sums[1] * value / 100 == pytest.approx(info["objective"])


def test_two_policies_meet_the_same_disturbances():
    """Closures by slot and route; delays and failures by aircraft and dispatch number."""
    met = []
    for rule in ("random", "greedy"):
        vec = UAMFleetVectorEnv(8, scenario="uam-8x40-storm")
        vec.reset(seed=3)
        decisions = vec.simulation.run_rule(rule)["schedule"]["decisions"]
        met.append((vec.simulation.state.closed.copy(), decisions))
    np.testing.assert_array_equal(met[0][0], met[1][0])
    assert 0.02 < met[0][0].mean() < 0.2
    for first, second in zip(met[0][1], met[1][1], strict=True):
        one, other = _cancelled(first), _cancelled(second)
        common = set(one) & set(other)
        assert len(common) > 200
        assert all(one[key] == other[key] for key in common)
        assert any(one[key] for key in common)


def _cancelled(decisions):
    """(aircraft, its dispatch number) -> whether the dispatch was cancelled, and for how long."""
    found, count = {}, {}
    for time, craft, origin, action, *_, following, cancelled in decisions.tolist():
        if action != origin:
            number = count.get(craft, 0)
            count[craft] = number + 1
            found[craft, number] = (following - time) if cancelled else 0
    return found


def test_disturbances_have_the_frequencies_they_should():
    ports = 6
    base = make_instance("uam-6x200", 1)
    instance = change(
        base,
        failure_probability=np.full(200, 0.1),
        closure_probability=np.where(np.eye(ports, dtype=bool), 0, 0.3),
        delay_mean=np.full(ports, 6.0),
        headway=0,
        corridors=16,
    )
    vec = UAMFleetVectorEnv(40, scenario=instance)
    vec.reset(seed=0)
    tables = vec.simulation.run_rule("random")["schedule"]["decisions"]
    rows = np.concatenate(list(tables))
    dispatched = rows[rows[:, 2] != rows[:, 3]]
    cancelled = dispatched[:, 9] == 1
    assert cancelled.mean() == pytest.approx(0.1, abs=0.005)
    repair = (dispatched[:, 8] - dispatched[:, 0])[cancelled]
    assert (repair.min(), repair.max()) == (60, 180)
    assert repair.mean() == pytest.approx(120, abs=2)
    off = ~np.eye(ports, dtype=bool)
    assert vec.simulation.state.closed[:, :, off].mean() == pytest.approx(0.3, abs=0.02)
    delay = (dispatched[:, 6] - dispatched[:, 0])[~cancelled]
    # max(0, N(6, 6)) has the mean 6 (P + p) and the second moment 72 P + 36 p, where P and p are
    # the normal distribution and density at 1; rounding adds 1/12 to the variance.
    assert delay.mean() == pytest.approx(6.50, abs=0.1)
    assert delay.std() == pytest.approx(5.21, abs=0.1)


def test_a_day_by_hand():
    """Two aircraft 10 miles apart: minutes, cents and places worked out with pencil and paper."""
    env = UAMFleetEnv(scenario=small(), invalid_action="raise")
    observation, _ = env.reset(seed=0)
    instance = env.instance
    # 10 miles at 74.5 mph are 8.05 minutes, 22 kWh, 8.8 minutes at 150 kW.
    assert (instance.cruise[0, 1], instance.energy[0, 1]) == (9, 22_000)
    assert (instance.charge_time[0, 1], instance.block[0, 1]) == (9, 30)
    assert (instance.operating_cents[0, 1], instance.electricity_cents[0, 1]) == (640, 440)
    assert observation["action_mask"].tolist() == [1, 1, 1]
    observation, reward, *_ = env.step(1)  # aircraft 0 flies: 4 x (20 - 6.40) - 4.40 $
    assert reward * instance.demand_value_cents == pytest.approx(5000)
    assert observation["action_mask"].tolist() == [1, 1, 1]  # the charger it left is free
    env.step(1)  # aircraft 1 stays at vertiport 1 for 15 minutes
    assert env.simulation.state.scalar[0, kernel.TIME] == 375
    observation, *_ = env.step(2)  # and flies on
    assert env.simulation.state.scalar[0, kernel.TIME] == 390
    assert observation["action_mask"].tolist() == [1, 1, 0]  # the one charger at 2 is reserved
    _, reward, *_ = env.step(0)  # aircraft 0 flies back
    assert reward * instance.demand_value_cents == pytest.approx(5000)
    assert env.simulation.schedule(0)["decisions"].tolist() == [
        [360, 0, 0, 1, 4, 0, 360, 381, 390, 0],
        [360, 1, 1, 1, 0, -1, -1, -1, 375, 0],
        [375, 1, 1, 2, 4, 0, 375, 396, 405, 0],
        [390, 0, 1, 0, 4, 0, 390, 411, 420, 0],
    ]
