"""The kernel against a reference in plain Python, and what rewards promise."""

import numpy as np
import pytest
from edge_offloading import reference
from edge_offloading.cases import varied

from dispatchgym.envs.edge_offloading import make_instance
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv, EdgeOffloadingVectorEnv

COLUMNS = ("server", "sent", "uploaded", "began", "ended", "transmission", "computation",
           "delay_reward", "energy_reward")  # fmt: skip


def check_schedule(schedule, episode):
    """Compare a schedule of the environment with that of the reference."""
    for name, values in episode.schedule().items():
        np.testing.assert_allclose(schedule[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def instances():
    for seed in range(120):
        yield seed, varied(seed)
    for scenario in ("gmorl", "gmorl_radio", "gmorl_hard"):
        for seed in range(2):
            yield seed, make_instance(scenario, seed)


def test_random_actions_agree_with_the_reference():
    """All that happens to each task, and its rewards; all kinds of servers and channels are met."""
    met = set()
    for seed, instance in instances():
        vec = EdgeOffloadingVectorEnv(1, scenario=instance, max_servers=10)
        vec.reset(seed=[seed])
        info = vec.run_rule("random")
        schedule = {key: value[0] for key, value in info["schedule"].items()}
        episode = reference.play(instance, schedule["server"])
        assert episode.over
        check_schedule(schedule, episode)
        totals = -np.sum(episode.rewards, axis=0)
        np.testing.assert_allclose(info["objective"][0], totals, rtol=1e-9)
        assert info["unsent"][0] == instance.num_tasks - len(episode.sent)
        met |= {(bool(fifo), instance.expected_bits is None) for fifo in instance.fifo}
    assert len(met) == 4


@pytest.mark.parametrize("rule", ["greedy_omega", "least_work"])
def test_rules_agree_with_the_reference(rule):
    for seed, instance in instances():
        if seed % 3:
            continue
        env = EdgeOffloadingEnv(scenario=instance, max_servers=10, preference="dirichlet")
        env.reset(seed=seed)
        episode, units = reference.Episode(instance), (instance.delay_unit, instance.energy_unit)
        ended = episode.over
        while not ended:
            weights = env.simulation.preferences[0]
            chosen = env.rule_action(rule)
            if rule == "greedy_omega":
                assert chosen == episode.greedy(weights, units)
            else:
                assert chosen == episode.least_work()
            episode.send(chosen)
            _, _, ended, _, _ = env.step(chosen)


def test_observations_hold_what_the_manual_page_says():
    rng = np.random.default_rng(1)
    for seed, instance in instances():
        if seed % 2:
            continue
        env = EdgeOffloadingEnv(scenario=instance, max_servers=9, preference="grid")
        found, _ = env.reset(seed=seed)
        episode = reference.Episode(instance)
        while True:
            expected = episode.observation(9, env.simulation.preferences[0])
            for key, value in expected.items():
                np.testing.assert_allclose(found[key], value, rtol=2e-6, atol=2e-6, err_msg=key)
            if episode.over:
                break
            action = int(rng.choice(np.flatnonzero(found["action_mask"])))
            rewards = episode.send(action)
            found, reward, *_ = env.step(action)
            units = np.array([instance.delay_unit, instance.energy_unit])
            np.testing.assert_allclose(reward, rewards / units, rtol=2e-7)
