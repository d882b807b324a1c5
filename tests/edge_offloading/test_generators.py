"""Random instances: ranges, laws and the channel against published percentiles."""

import dataclasses

import numpy as np
import pytest

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import SlotGenerator, make_instance, scenarios
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv
from dispatchgym.envs.edge_offloading.generators import generator


@pytest.mark.parametrize(
    "scenario", [name for name in scenarios() if name.startswith("gmorl")] + ["gmorl+gmorl_hard"]
)
def test_the_environment_plays_the_instance_of_the_seed(scenario):
    env = EdgeOffloadingEnv(scenario=scenario)
    for seed in (0, 5):
        env.reset(seed=seed)
        assert env.instance == make_instance(scenario, seed)


def drawn(scenario, count=200):
    return [make_instance(scenario, seed) for seed in range(count)]


def test_training_and_test_contexts_have_the_published_ranges():
    for scenario, most, cloud, edge in (
        ("gmorl", 8, (3.5e9, 4.5e9), (1.75e9, 2.25e9)),
        ("gmorl_hard-test", 10, (3e9, 5e9), (1.5e9, 2.5e9)),
    ):
        found = drawn(scenario)
        edges = [instance.num_servers - 1 for instance in found]
        assert set(edges) == set(range(1, most + 1))
        first = np.array([instance.frequency[0] for instance in found])
        others = np.concatenate([instance.frequency[1:] for instance in found])
        for values, (low, high) in ((first, cloud), (others, edge)):
            assert low <= values.min() < low + 0.05 * (high - low)
            assert high >= values.max() > high - 0.05 * (high - low)
    fixed = make_instance("gmorl-e6-fixed", 1)
    assert fixed.frequency.tolist() == [4e9] + [2e9] * 6
    assert fixed.mean_bits == 16e6
    assert make_instance("gmorl-e1", 1).num_servers == 2


def test_arrivals_and_sizes_follow_their_laws():
    for scenario, factor in (("gmorl-e6-fixed", 1.0), ("gmorl_radio-e6-fixed", 1.0)):
        found = drawn(scenario, 400)
        counts = np.array([instance.num_tasks for instance in found])
        assert counts.mean() == pytest.approx(100, abs=1.5)
        assert counts.std() == pytest.approx(10, abs=1.2)
        bits = np.concatenate([instance.bits for instance in found])
        # An exponential law clipped to 0.1 and 100 Mbit, mean 16.
        assert bits.mean() == pytest.approx(factor * (16e6 - 16e6 * np.exp(-100 / 16)), rel=0.015)
        assert np.median(bits) == pytest.approx(16e6 * np.log(2), rel=0.03)
        assert 1e5 <= bits.min()
        assert bits.max() <= 1e8
        users = np.bincount(np.concatenate([instance.source for instance in found]))
        assert len(users) == 10
        assert users.std() < 0.05 * users.mean()


def test_hard_scenarios_are_bursty_and_of_four_types():
    found = drawn("gmorl_hard-e6-fixed", 400)
    counts = np.array([instance.num_tasks for instance in found])
    assert counts.mean() == pytest.approx(100, abs=4)
    assert counts.std() > 15  # 10 if they were Poisson
    bits, kinds, expected = (
        np.concatenate([getattr(instance, name) for instance in found])
        for name in ("bits", "kind", "expected_bits")
    )
    for kind, mean in enumerate((4e6, 8e6, 16e6, 36e6)):
        of_kind = bits[kinds == kind]
        assert (expected[kinds == kind] == mean).all()
        assert len(of_kind) == pytest.approx(len(bits) / 4, rel=0.05)
        # A Pareto law of shape 2.2: median is 2^(1/2.2) times its least value.
        assert np.median(of_kind) == pytest.approx(mean * 1.2 / 2.2 * 2 ** (1 / 2.2), rel=0.03)
    assert found[0].fifo.all()
    assert len(np.unique(found[0].uplink[:, 1])) == found[0].num_tasks


@pytest.mark.parametrize(
    ("channel", "power", "cloud", "edge"),
    [
        ("gmorl_code", 0.01, (214, 292, 423, 518), (472, 551, 707, 936)),
        ("shannon", 0.01, None, (0.25, 0.25, 1.53, 52)),
        ("shannon", 0.2, None, (0.25, 1.2, 20, 121)),
    ],
)
def test_rates_have_the_published_percentiles(channel, power, cloud, edge):
    """In Mbit/s at 1, 5, 50 and 95 %; ours are not below 0.25."""
    base = SlotGenerator(edges=(10, 10), channel=channel, power=power, fading_per_task=True)
    found = [base.generate(seed) for seed in range(300)]
    rates = np.concatenate([instance.uplink for instance in found]) / 1e6
    percentiles = np.percentile(rates[:, 1:], (1, 5, 50, 95))
    np.testing.assert_allclose(percentiles, edge, rtol=0.06)
    if cloud is None:
        np.testing.assert_array_equal(rates[:, 0], rates[:, 1:].max(axis=1))
        assert found[0].backhaul[0] == 1e8
        assert found[0].latency[0] == 0.02
    else:
        np.testing.assert_allclose(np.percentile(rates[:, 0], (1, 5, 50, 95)), cloud, rtol=0.06)


def test_fading_stays_for_an_episode():
    instance = make_instance("gmorl_radio-e6", 2)
    for user in range(10):
        rates = instance.uplink[instance.source == user]
        assert (rates == rates[:1]).all()


def test_a_number_of_tasks_can_be_wanted():
    for seed in range(5):
        instance = SlotGenerator(horizon="tasks", tasks=30).generate(seed)
        assert instance.num_tasks == 30
        env = EdgeOffloadingEnv(scenario=instance)
        env.reset(seed=0)
        vec_info = env.simulation.run_rule("random")
        assert (vec_info["tasks"][0], vec_info["unsent"][0]) == (30, 0)


def test_mixtures_draw_all_members():
    found = {make_instance("gmorl+gmorl_radio+gmorl_hard", seed).scenario for seed in range(30)}
    assert found == {"gmorl", "gmorl_radio", "gmorl_hard"}


def test_short_episodes_have_a_task():
    base = SlotGenerator(slots=1, user_rate=0.001)
    for seed in range(20):
        assert base.generate(seed).num_tasks >= 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"edges": (0, 3)}, "edges: found 0"),
        ({"edges": (3, 2)}, "edges: found (3, 2), expected low <= high"),
        ({"cloud_hz": 4e9}, "cloud_hz: found 4000000000.0, expected two numbers"),
        ({"channel": "wire"}, "channel: found 'wire'"),
        ({"power": 0.0}, "power: found 0.0"),
        ({"slots": 1.5}, "slots: found 1.5"),
        ({"horizon": "days"}, "horizon: found 'days'"),
        ({"hidden": "yes"}, "hidden: found 'yes'"),
    ],
    ids=str,
)
def test_mistakes_are_named(fields, words):
    with pytest.raises(ParameterError) as error:
        SlotGenerator(**fields)
    assert words in str(error.value)


def test_seeds_are_whole_numbers():
    with pytest.raises(ParameterError, match="seed: found -1"):
        make_instance("gmorl", -1)
    with pytest.raises(ParameterError, match=r"seed: found 1\.5"):
        dataclasses.replace(generator("gmorl")).generate(1.5)
