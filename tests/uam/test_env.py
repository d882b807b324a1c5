"""What a user may give to the environment, and what it shows."""

import gymnasium as gym
import numpy as np
import pytest
from uam import observation, reference
from uam.cases import small, varied

from dispatchgym.envs.core import testing
from dispatchgym.envs.core.errors import DispatchGymError, ParameterError, ScenarioError
from dispatchgym.envs.uam import make_instance
from dispatchgym.envs.uam.days import Limits
from dispatchgym.envs.uam.env import UAMFleetEnv, UAMFleetVectorEnv
from dispatchgym.envs.uam.generators import FleetGenerator
from dispatchgym.envs.uam.parsers import write

ID = "dispatchgym:dispatchgym/UAMFleet-v0"


class Growing:
    """A generator of a user's own: the seed decides the size."""

    limits = Limits(ports=4, aircraft=6, slots=3, corridors=2, decisions=6 * 12)

    def generate(self, seed):
        fleet = FleetGenerator((2 + seed % 3,) * 2, (3 + seed % 4,) * 2, end=540)
        return fleet.generate(seed)


def check_observation(found, day, craft, oracle):
    for key, value in observation.expected(day, craft, oracle).items():
        np.testing.assert_allclose(found[key], value, rtol=2e-5, atol=2e-6, err_msg=key)


@pytest.mark.parametrize("oracle", [False, True])
def test_observations_hold_what_the_manual_page_says(oracle):
    rng = np.random.default_rng(1)
    for seed in range(25):
        instance = varied(seed)
        env = UAMFleetEnv(scenario=instance, oracle_demand=oracle)
        found, _ = env.reset(seed=seed)
        day = reference.Day(instance, seed)
        for _ in range(80):
            craft = day.decider()
            if craft is None:
                break
            check_observation(found, day, craft, oracle)
            action = int(rng.choice(np.flatnonzero(found["action_mask"])))
            day.act(craft, action)
            found, *_ = env.step(action)


def test_a_main_day_is_shown_as_the_manual_page_says():
    env = UAMFleetEnv()
    found, _ = env.reset(seed=2)
    day = reference.Day(env.instance, 2)
    for step in range(400):
        craft = day.decider()
        if step % 40 == 0:
            check_observation(found, day, craft, False)
        action = env.rule_action("greedy" if step % 2 else "random")
        day.act(craft, action)
        found, *_ = env.step(action)


def test_padding_is_zero_and_masked():
    env = UAMFleetEnv(scenario="uam-3-8x5-20")
    for seed in range(12):
        found, _ = env.reset(seed=seed)
        for _ in range(50):
            ports, aircraft = env.instance.num_ports, env.instance.num_aircraft
            assert found["port_mask"].tolist() == [1] * ports + [0] * (8 - ports)
            assert found["craft_mask"].sum() == aircraft
            for key in ("port_x", "port_adj", "demand", "pair_demand", "corridor", "legs"):
                assert not found[key][ports:].any()
            assert not found["port_adj"][:, ports:].any()
            assert not found["craft_x"][aircraft:].any()
            assert not found["action_mask"][ports:].any()
            found, *_ = env.step(env.rule_action("random"))


@pytest.mark.parametrize("scenario", ["uam-8x40", "uam-5-9x10-30-storm"])
def test_written_piece_by_piece_equals_written_afresh(scenario):
    vec = UAMFleetVectorEnv(6, scenario=scenario, autoreset_mode="SameStep", copy=False)
    vec.reset(seed=0)
    for step in range(900):
        observations, *_ = vec.step(vec.rule_action("greedy" if step % 3 else "random"))
        if step % 30 == 0:
            kept = {key: value.copy() for key, value in observations.items()}
            vec.simulation.refresh()
            testing.assert_same(kept, vec.simulation.observations, "written afresh")


@pytest.mark.parametrize(
    "scenario", ["uam-8x40", "uam-3-6x5-9-mixed", "uam-lax2", "uam-tiny-3x4-exact", "uam-legacy22"]
)
@pytest.mark.parametrize("seed", [0, 5])
def test_the_seed_gives_the_instance_of_make_instance(scenario, seed):
    env = UAMFleetEnv(scenario=scenario)
    env.reset(seed=seed)
    assert env.instance == make_instance(scenario, seed)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_later_episodes_play_the_instance_that_is_shown(mode):
    """The schedule of a later episode is that of its instance and seed."""
    for scenario in ("uam-4x6-det", "uam-lax2", Growing()):
        vec = UAMFleetVectorEnv(2, scenario=scenario, autoreset_mode=mode)
        vec.reset(seed=1)
        ended = 0
        instances = vec.instances
        while ended < 4:
            *_, terminated, _, infos = vec.step(vec.rule_action("greedy"))
            for row in np.flatnonzero(terminated):
                final = infos["final_info"] if mode == "SameStep" else infos
                seed = int(final["schedule"]["seed"][row])
                day = reference.play(instances[row], seed, "greedy")
                assert final["objective"][row] == day.profit / 100
                assert ended < 2 or seed >= 2**62
                ended += 1
            if mode == "NextStep" and terminated.any():
                vec.step(vec.rule_action("greedy"))
            instances = vec.instances


def test_a_generator_of_ones_own():
    for seed in range(6):
        env = UAMFleetEnv(scenario=Growing())
        env.reset(seed=seed)
        assert env.instance == Growing().generate(seed)
    testing.check_vector_environment(
        lambda **kwargs: UAMFleetVectorEnv(scenario=Growing(), **kwargs),
        lambda: UAMFleetEnv(scenario=Growing()),
        steps=60,
    )
    testing.check_pickle(lambda: UAMFleetEnv(scenario=Growing()))


def test_a_generator_that_breaks_its_promise():
    class Liar(Growing):
        limits = Growing.limits._replace(aircraft=4)

    with pytest.raises(ParameterError, match="aircraft=6"):
        UAMFleetEnv(scenario=Liar()).reset(seed=3)


def test_a_file(tmp_path):
    path = tmp_path / "mine.json"
    write(make_instance("uam-4x6", 1), path)
    for scenario in (path, str(path)):
        env = UAMFleetEnv(scenario=scenario)
        env.reset(seed=0)
        assert env.instance == make_instance("uam-4x6", 1)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"scenario": "uam-8x41-wild"}, "did you mean"),
        ({"scenario": "no/such/file.json"}, "no/such/file.json"),
        ({"scenario": 7}, "scenario: found int"),
        ({"scenario": "uam-200x40"}, "area: found 80.0 mi, too small"),
        ({"scenario": "uam-9-8x40"}, "ports: found (9, 8), expected low <= high"),
        ({"reward": "gold"}, "reward: found 'gold'"),
        ({"oracle_demand": "yes"}, "oracle_demand: found 'yes'"),
        ({"invalid_action": "shrug"}, "invalid_action: found 'shrug'"),
        ({"render_mode": "hologram"}, "render_mode: found 'hologram'"),
    ],
    ids=str,
)
def test_mistakes_are_named(kwargs, words):
    with pytest.raises(DispatchGymError) as error:
        UAMFleetEnv(**kwargs)
    assert words in str(error.value)


def test_an_unknown_scenario_is_a_scenario_error():
    with pytest.raises(ScenarioError):
        gym.make(ID, scenario="uam-8")


def test_an_unknown_rule():
    env = UAMFleetEnv()
    env.reset(seed=0)
    with pytest.raises(ParameterError, match="rule: found 'greeedy'"):
        env.rule_action("greeedy")


def test_a_day_without_demand_earns_nothing_and_can_be_played():
    nobody = np.zeros((2, 3, 3), np.int64)
    env = UAMFleetEnv(scenario=small(passengers=nobody, rate=nobody.astype(float)))
    env.reset(seed=0)
    ended, total = False, 0.0
    while not ended:
        _, reward, ended, _, info = env.step(env.rule_action("greedy"))
        total += reward
    assert info["objective"] == total == 0
    assert info["demand_value_cents"] == 0


@pytest.mark.slow
def test_speed():
    """A drift alarm, far below what an idle machine does; one thread."""
    import time

    import numba

    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        vec = UAMFleetVectorEnv(64)
        vec.reset(seed=0)
        vec.simulation.run_rule("random")
        vec.reset(seed=0)
        begin = time.process_time()
        decisions = vec.simulation.run_rule("random")["decisions"].sum()
        assert decisions / (time.process_time() - begin) > 1e6
        vec = UAMFleetVectorEnv(256, autoreset_mode="SameStep")
        vec.reset(seed=0)
        vec.step(vec.rule_action("random"))
        spent = 0.0
        for _ in range(200):
            actions = vec.rule_action("random")
            begin = time.process_time()
            vec.step(actions)
            spent += time.process_time() - begin
        assert 256 * 200 / spent > 5e4
    finally:
        numba.set_num_threads(threads)
