"""What a user may give to the environment: scenarios, options, mistakes."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.envs.core import testing
from dispatchgym.envs.core.errors import DispatchGymError, ParameterError, ScenarioError
from dispatchgym.envs.job_shop import Interrupts, UniformGenerator, make_instance, validate
from dispatchgym.envs.job_shop.env import JobShopEnv, JobShopVectorEnv
from dispatchgym.envs.job_shop.generators import PatternGenerator
from dispatchgym.envs.job_shop.parsers import write


class Growing:
    """A generator of a user's own: the seed decides the size."""

    max_jobs, max_operations, max_machines = 5, 3, 3

    def generate(self, seed):
        return UniformGenerator((2 + seed % 4,) * 2, (3, 3)).generate(seed)


@pytest.mark.parametrize("scenario", ["ft06", "la", "random_3-6x2-4", "two_set_4x4", "toy"])
@pytest.mark.parametrize("seed", [0, 5])
def test_the_seed_gives_the_instance_of_make_instance(scenario, seed):
    env = JobShopEnv(scenario=scenario)
    env.reset(seed=seed)
    assert env.instance == make_instance(scenario, seed)


def test_a_generator_of_ones_own():
    env = JobShopEnv(scenario=Growing())
    for seed in range(6):
        env.reset(seed=seed)
        assert env.instance == Growing().generate(seed)
        assert env.instance.num_jobs == 2 + seed % 4
    testing.check_vector_environment(
        lambda **kwargs: JobShopVectorEnv(scenario=Growing(), **kwargs),
        lambda: JobShopEnv(scenario=Growing()),
        steps=60,
    )
    testing.check_pickle(lambda: JobShopEnv(scenario=PatternGenerator("two_set", (3, 4), (2, 3))))


def test_a_generator_that_breaks_its_promise():
    class Liar(Growing):
        max_jobs = 3

    env = JobShopEnv(scenario=Liar())
    with pytest.raises(ParameterError, match="made 5 jobs"):
        env.reset(seed=3)


def test_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    write(make_instance("random_4x3", 1), path)
    for scenario in (path, str(path)):
        env = JobShopEnv(scenario=scenario)
        env.reset(seed=0)
        assert env.instance == make_instance("random_4x3", 1)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"scenario": "la99"}, "did you mean"),
        ({"scenario": "no/such/file.txt"}, "no/such/file.txt"),
        ({"scenario": 7}, "scenario: found int"),
        ({"mode": "blokking"}, "mode: found 'blokking'"),
        ({"scheme": "sequence", "mode": "blocking"}, "scheme"),
        ({"scheme": "sequence", "interrupts": {"probability": 0.1}}, "scheme"),
        ({"observation": "pixels"}, "observation: found 'pixels'"),
        ({"reward": "gold"}, "reward: found 'gold'"),
        ({"reward_scale": -1.0}, "reward_scale: found -1.0"),
        ({"allow_wait": True}, "allow_wait: found True"),
        ({"wip_cap": -1}, "wip_cap: found -1"),
        ({"invalid_action": "shrug"}, "invalid_action: found 'shrug'"),
        ({"render_mode": "hologram"}, "render_mode: found 'hologram'"),
        ({"interrupts": {"probability": 1.5}}, "interrupts.probability: found 1.5"),
        ({"interrupts": {"probability": ()}}, "interrupts.probability: found no number"),
        ({"interrupts": {"chance": 0.5}}, "unknown field 'chance'"),
        ({"interrupts": {"policy": "pray"}}, "interrupts.policy: found 'pray'"),
        ({"interrupts": {"length": (2.0, 1.0)}}, "interrupts.length"),
        ({"interrupts": 3}, "interrupts: found int"),
    ],
    ids=str,
)
def test_mistakes_are_named(kwargs, words):
    with pytest.raises(DispatchGymError) as error:
        JobShopEnv(**kwargs)
    assert words in str(error.value)


def test_an_unknown_scenario_is_a_scenario_error():
    with pytest.raises(ScenarioError):
        gym.make("dispatchgym:dispatchgym/JobShop-v0", scenario="ta999")


def test_an_unknown_rule():
    env = JobShopEnv()
    env.reset(seed=0)
    with pytest.raises(ParameterError, match="rule: found 'sptt'"):
        env.rule_action("sptt")


@pytest.mark.parametrize("count", [0, -3, 2.5, True])
def test_a_batch_has_rows(count):
    with pytest.raises(ParameterError, match="num_envs"):
        JobShopVectorEnv(count)


def test_each_episode_draws_one_of_the_probabilities():
    vec = JobShopVectorEnv(200, interrupts=Interrupts(probability=(0.0, 0.1, 0.2)))
    vec.reset(seed=0)
    drawn = vec.run_rule("spt")["schedule"]["interrupt_probability"]
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0.0, 0.1, 0.2]
    assert counts.min() > 40


def test_interruptions_strike_as_often_as_they_should():
    vec = JobShopVectorEnv(400, scenario="la01", interrupts={"probability": 0.2})
    vec.reset(seed=0)
    info = vec.run_rule("spt")["schedule"]
    struck = np.array([len(table) for table in info["interruptions"]])
    assert struck.mean() / 50 == pytest.approx(0.2, abs=0.01)
    mean = make_instance("la01", 0).mean_duration
    lengths = np.concatenate([table[:, 2] - table[:, 1] for table in info["interruptions"]])
    assert lengths.min() >= 0.5 * mean
    assert lengths.max() <= 1.5 * mean + 1
    assert lengths.mean() == pytest.approx(mean, rel=0.03)


def test_calendar_up_times_have_the_mean_of_bernoulli_draws():
    vec = JobShopVectorEnv(
        300, scenario="la01", interrupts={"kind": "calendar", "probability": 0.01}
    )
    vec.reset(seed=0)
    tables = vec.run_rule("spt")["schedule"]["interruptions"]
    first = [table[table[:, 0] == m][0, 1] for table in tables for m in range(5)]
    assert np.mean(first) == pytest.approx(100, rel=0.08)


def test_repair_time_is_hidden_unless_revealed():
    shown = {}
    for reveal in (False, True):
        env = JobShopEnv(
            scenario="la01",
            mode="blocking",
            allow_wait="if_event",
            interrupts={"probability": 0.9, "reveal_repair": reveal},
        )
        observation, _ = env.reset(seed=0)
        while not (observation["machines"][:, 2] == 1).any():
            observation, *_ = env.step(env.rule_action("spt"))
        shown[reveal] = observation["machines"][:, 2:4]
    down = shown[True][:, 0] == 1
    np.testing.assert_array_equal(shown[True][:, 0], shown[False][:, 0])
    assert (shown[True][down, 1] > 0).all()
    assert not np.array_equal(shown[True], shown[False])


def test_observation_at_the_start_of_the_swap_example():
    from dispatchgym.envs.job_shop import Instance

    instance = Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]])
    env = JobShopEnv(scenario=instance, mode="blocking", auto_trivial=False)
    observation, _ = env.reset(seed=0)
    mean = 11 / 4
    rows = observation["operations"]
    np.testing.assert_allclose(rows[:, 0], np.array([2, 3, 2, 4]) / mean, rtol=1e-6)
    assert rows[:, 3].tolist() == [1, 0, 1, 0]  # ready
    assert rows[:, 2].tolist() == [0, 1, 0, 1]  # not ready
    np.testing.assert_allclose(rows[:, 12], np.array([0, 2, 0, 2]) / mean, rtol=1e-6)
    assert rows[:, 13].tolist() == [1, 0, 1, 0]  # legal
    assert observation["operation_machine"].tolist() == [0, 1, 1, 0]
    assert observation["operation_next"].tolist() == [1, -1, 3, -1]
    assert observation["job_operation"].tolist() == [0, 2]
    assert observation["action_mask"].tolist() == [1, 1, 0]
    observation, *_ = env.step(0)
    assert observation["operations"][0, 4] == 1  # processing
    assert observation["jobs"][0, 0] == 1  # in the shop
    assert observation["machines"][:, 0].tolist() == [0, 1]  # machine 1 is empty


@pytest.mark.parametrize("observation", ["graph", "jobs"])
def test_padding_does_not_change_the_observation(observation):
    """An instance shows the same rows alone and among larger ones."""
    small = make_instance("random_3x3", 4)

    class Two:
        max_jobs, max_operations, max_machines = 6, 3, 3

        def generate(self, seed):
            return small

    alone = JobShopEnv(scenario=small, observation=observation)
    padded = JobShopEnv(scenario=Two(), observation=observation)
    one, other = alone.reset(seed=0)[0], padded.reset(seed=0)[0]
    for key, value in one.items():
        if key == "action_mask":
            assert other[key][:3].tolist() == value[:3].tolist()
            assert not other[key][3:].any()
        else:
            np.testing.assert_array_equal(other[key][: len(value)], value, err_msg=key)


def test_a_snapshot_brings_its_instance_back():
    """Also where instances are made anew for each episode, outside the kernel."""
    vec = JobShopVectorEnv(2, scenario="reentrant_4x3", autoreset_mode="SameStep")
    vec.reset(seed=0)
    saved, instances = vec.get_state(), vec.instances
    vec.reset(seed=5)
    assert vec.instances != instances
    vec.set_state(saved)
    assert vec.instances == instances
    vec.copy_lane(0, 1)
    assert vec.instances == [instances[0]] * 2
    ended = False
    while not ended:
        *_, terminated, _, infos = vec.step(vec.rule_action("spt"))
        ended = terminated[1]
    schedule = {
        key: value[1] for key, value in infos["final_info"]["schedule"].items() if key[0] != "_"
    }
    assert validate(instances[0], schedule).valid
    assert vec.instances[0] == vec.instances[1] != instances[0]
