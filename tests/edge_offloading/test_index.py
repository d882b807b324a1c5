"""The index policy in the kernel: the network's twin, and episodes that the environment plays."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.edge_offloading import kernel
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.index import FEATURES, IndexEpisodes, Plan, index_actions
from dispatchgym.models.edge_offloading_index import EdgeOffloadingIndexNetwork

SCENARIOS = ["gmorl", "gmorl_radio-test", "gmorl_hard"]


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = EdgeOffloadingIndexNetwork(hidden=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def weights_of(network):
    return parameters_to_vector(network.parameters()).detach().double().numpy()


def batch(scenario, lanes, weight=None):
    vec = EdgeOffloadingVectorEnv(lanes, scenario=scenario, preference="dirichlet", max_servers=11)
    options = None if weight is None else {"preference": (weight, 1.0 - weight)}
    vec.reset(seed=list(range(40, 40 + lanes)), options=options)
    return vec


def logits_of(network, vec):
    with torch.no_grad():
        observations = vec.simulation.observations
        arrays = {key: torch.as_tensor(observations[key]) for key in network.keys}
        logits, values = network(arrays)
    assert torch.isfinite(logits).all() and (values == 0).all()
    return np.where(observations["action_mask"] == 1, logits.numpy(), -np.inf)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_weights_of_the_kernel_are_the_parameters_of_the_network(network, scenario):
    weights, vec, same = weights_of(network), batch(scenario, 6), 0
    assert len(weights) == num_weights(FEATURES, 5)
    for _ in range(60):
        logits, actions = logits_of(network, vec), index_actions(vec.simulation, weights)
        chosen = logits[np.arange(6), actions]
        np.testing.assert_allclose(chosen, logits.max(axis=1), rtol=1e-3, atol=1e-3)
        same += int((vec.rule_action("greedy_omega") == actions).sum())
        vec.step(actions)
    assert same < 0.9 * 6 * 60, "the weights change nothing"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_new_network_sends_where_greedy_omega_does(scenario):
    weights, vec = weights_of(EdgeOffloadingIndexNetwork()), batch(scenario, 6, 0.4)
    for _ in range(60):
        rule = vec.rule_action("greedy_omega")
        np.testing.assert_array_equal(index_actions(vec.simulation, weights), rule)
        vec.step(rule)


def test_preferences_near_the_ends_count_like_one_that_is_not_at_them():
    weights = weights_of(EdgeOffloadingIndexNetwork())
    at_end, near_end = batch("gmorl", 8, 0.0), batch("gmorl", 8, 0.01)
    for _ in range(40):
        actions = index_actions(at_end.simulation, weights)
        np.testing.assert_array_equal(actions, near_end.rule_action("greedy_omega"))
        at_end.step(actions)
        near_end.step(actions)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_environment_plays_what_the_episodes_say(network, scenario):
    episodes, weights = IndexEpisodes(scenario, 4), weights_of(network)
    episodes.take(np.arange(40, 44))
    plan = Plan(np.array([0, 1, 2, 3, 1, 3]), np.repeat([0.3, 0.8], [4, 2]), np.repeat([1, 0], 3))
    found = episodes.play(np.stack([0 * weights, weights]), plan)
    simulation = batch(scenario, 4, 0.3).simulation
    while not simulation.terminated.all():
        running = ~simulation.terminated
        actions = np.where(running, index_actions(simulation, weights), 0)
        simulation.step(actions, running, False)
    objectives = simulation.world.state.total[:, [kernel.DELAY, kernel.ENERGY]]
    np.testing.assert_allclose(found[:3], objectives[:3], rtol=1e-12)
    assert not np.isclose(found[3], objectives[3]).all()
    assert episodes.decisions > 0


def test_an_idle_slot_has_an_action():
    vec = EdgeOffloadingVectorEnv(
        4, scenario="gmorl", idle_slots="dummy", autoreset_mode="Disabled"
    )
    vec.reset(seed=[1, 2, 3, 4])
    weights = weights_of(EdgeOffloadingIndexNetwork())
    for _ in range(100):
        *_, terminated, _, _ = vec.step(index_actions(vec.simulation, weights))
    assert terminated.all()
    assert (index_actions(vec.simulation, weights) == -1).all()


@pytest.mark.parametrize(
    ("scenario", "count", "words"),
    [("gmorl", 0, "count: found 0"), ("dems-light-2", 1, "independent tasks")],
)
def test_other_episodes_are_refused(scenario, count, words):
    with pytest.raises(ParameterError, match=words):
        IndexEpisodes(scenario, count)
