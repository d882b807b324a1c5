"""The networks of edge offloading: order and number of servers, where they begin, heads."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dispatchgym.agents.policy import mask_logits
from dispatchgym.envs.core.errors import CheckpointError, ParameterError
from dispatchgym.models import build_network


def observe(scenario="gmorl-e4", steps=30, **options):
    """Observations of some lanes in the middle of their episodes, and the rule's actions."""
    vec = gym.make_vec(
        "dispatchgym:dispatchgym/EdgeOffloading-v0",
        num_envs=6,
        vectorization_mode="vector_entry_point",
        scenario=scenario,
        preference="dirichlet",
        reward="scalar",
        **{"max_servers": 7, **options},
    ).unwrapped
    vec.reset(seed=3)
    rule = "dems" if scenario.startswith("dems") else "greedy_omega"
    for _ in range(steps):
        vec.step(vec.rule_action(rule))
    return tensors(vec.simulation.observations), vec.rule_action(rule)


def tensors(arrays):
    return {key: torch.as_tensor(value.copy()) for key, value in arrays.items()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    built = build_network("edge_offloading", {"hidden": 16}).eval()
    for weight in built.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return built


def test_logits_follow_the_order_of_edge_servers(network):
    observation, _ = observe()
    logits, value = network(observation)
    order = [0, 3, 1, 4, 2, 5, 6]
    moved = {**observation, "servers": observation["servers"][:, order]}
    moved_logits, moved_value = network(moved)
    torch.testing.assert_close(moved_logits[:, :7], logits[:, order], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved_logits[:, 7:], logits[:, 7:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved_value, value, rtol=1e-3, atol=1e-3)


def test_servers_that_do_not_exist_change_nothing(network):
    few, many = (observe(max_servers=servers)[0] for servers in (5, 11))
    logits, value = network(few)
    padded, padded_value = network(many)
    torch.testing.assert_close(padded[:, :5], logits[:, :5], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(padded[:, -2:], logits[:, -2:], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(padded_value, value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "scenario", ["gmorl-e6", "gmorl_radio-e3", "gmorl_hard-e6", "dems-heavy-3", "dems-medium-2"]
)
@pytest.mark.parametrize("bends", [False, True])
def test_it_begins_as_the_rule(scenario, bends):
    torch.manual_seed(1)
    network = build_network("edge_offloading", {"hidden": 8, "bends": bends})
    for steps in (0, 7, 40):
        observation, actions = observe(scenario, steps)
        with torch.no_grad():
            logits = mask_logits(network(observation)[0], observation["action_mask"])
        np.testing.assert_array_equal(logits.argmax(dim=1), actions)


def test_a_score_bends_the_weight_of_delays():
    """One and the same score for all servers is another preference, with as much more odds."""
    observation, _ = observe("gmorl_radio-e6", 20)
    network = build_network("edge_offloading", {"hidden": 8, "bends": True, "sharpness": 1.0})
    with torch.no_grad():
        plain, _ = network(observation)
        network.score[-1].bias.fill_(1.5)
        bent, _ = network(observation)
        network.score[-1].bias.zero_()
        weight = torch.sigmoid(observation["preference"][:, :1].logit() + 1.5)
        other, _ = network({**observation, "preference": torch.cat([weight, 1 - weight], dim=1)})
    there = observation["servers"][:, :, 0] > 0
    torch.testing.assert_close(bent[:, :-2][there], other[:, :-2][there], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(bent, plain)


@pytest.mark.parametrize("key", ["servers", "task", "preference", "context"])
def test_every_part_of_the_observation_matters(network, key):
    observation, _ = observe()
    logits, value = network(observation)
    changed = {**observation, key: observation[key] * 1.3}
    changed_logits, changed_value = network(changed)
    assert not torch.allclose(changed_logits, logits)
    assert not torch.allclose(changed_value, value)


def test_a_critic_knows_what_a_placement_costs_at_once():
    """With no weights learned, heads differ between servers by minus the reward's components."""
    observation, _ = observe("gmorl-e4")
    critic = build_network(
        "edge_offloading", {"hidden": 8, "outputs": 3, "sharpness": 1.0, "leads": False}
    )
    logits, value = critic(observation)
    assert logits.shape == (6, 9, 3) and value.shape == (6, 3)
    context, servers = observation["context"][0], observation["servers"][0]
    frequency = (4 * context[1] + context[2]) / 5
    seconds, joules = context[4] / frequency, 5e-4 * context[4] * frequency**2
    delay = -(servers[:5, 70] + servers[:5, 71]) / seconds
    energy = -servers[:5, 72] / joules
    torch.testing.assert_close(logits[0, :5, 0], delay)
    torch.testing.assert_close(logits[0, :5, 1], energy)
    assert (logits[:, :, 2] == 0).all()


def test_the_published_network_has_a_number_of_servers():
    network = build_network(
        "edge_offloading_conv", {"servers": 7, "channels": 8, "hidden": 16, "outputs": 1}
    )
    observation, _ = observe()
    logits, value = network(observation)
    assert logits.shape == (6, 9) and value.shape == (6,)
    with pytest.raises(ParameterError, match="servers: found 11, expected 7"):
        network(observe(max_servers=11)[0])


def test_the_published_network_is_as_large_as_published():
    network = build_network("edge_offloading_conv", {})
    assert 14.5e6 < sum(weight.numel() for weight in network.parameters()) < 15.5e6


def test_heads_of_the_published_network():
    settings = {"servers": 7, "channels": 8, "hidden": 16, "outputs": 3}
    logits, value = build_network("edge_offloading_conv", settings)(observe()[0])
    assert logits.shape == (6, 9, 3) and value.shape == (6, 3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("edge_offloading", {"hidden": 2}),
        ("edge_offloading", {"outputs": 0}),
        ("edge_offloading", {"sharpness": -1.0}),
        ("edge_offloading_conv", {"servers": 1}),
        ("edge_offloading_conv", {"channels": 5000}),
    ],
)
def test_numbers_out_of_range_are_refused(name, settings):
    with pytest.raises(CheckpointError, match=next(iter(settings))):
        build_network(name, settings)
