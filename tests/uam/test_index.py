"""The index policy in the kernel: twin of the network, and of what the environment plays."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.uam.env import UAMFleetSimulation
from dispatchgym.envs.uam.index import FEATURES, IndexDays, index_actions, index_judgements
from dispatchgym.models.uam import UAMIndexNetwork

SCENARIO = "uam-3-6x6-14-storm"


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = UAMIndexNetwork(hidden=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture
def weights(network):
    return parameters_to_vector(network.parameters()).detach().double().numpy()


def begun(scenario, lanes, seed=40):
    simulation = UAMFleetSimulation(num_lanes=lanes, scenario=scenario)
    simulation.restart(np.ones(lanes, bool), np.arange(seed, seed + lanes))
    return simulation


def play_on(simulation, weights, decisions=None):
    everyone = np.ones(simulation.num_lanes, bool)
    while decisions != 0 and not simulation.terminated.all():
        running = everyone & ~simulation.terminated
        actions = index_actions(simulation.state, weights)
        simulation.step(np.where(running, actions, 0), running, False)
        decisions = None if decisions is None else decisions - 1


def logits_of(network, simulation):
    with torch.no_grad():
        arrays = {key: torch.as_tensor(simulation.observations[key]) for key in network.keys}
        logits, values = network(arrays)
    assert (values == 0).all()
    return logits.numpy()


def test_weights_of_the_kernel_are_the_parameters_of_the_network(network, weights):
    assert len(weights) == num_weights(FEATURES, 5)
    simulation = begun(SCENARIO, 12)
    for decisions in (0, 30, 30):
        play_on(simulation, weights, decisions)
        indices, _ = index_judgements(simulation, weights)
        legal = simulation.state.legal == 1
        logits = logits_of(network, simulation)
        assert np.isneginf(indices[~legal]).all()
        np.testing.assert_allclose(indices[legal], logits[legal], rtol=1e-4, atol=1e-4)


def test_the_action_has_the_highest_index(weights):
    simulation = begun(SCENARIO, 12)
    play_on(simulation, weights, 25)
    indices, _ = index_judgements(simulation, weights)
    assert (index_actions(simulation.state, weights) == indices.argmax(axis=1)).all()


def test_a_new_network_is_the_greedy_rule():
    weights = parameters_to_vector(UAMIndexNetwork().parameters()).detach().double().numpy()
    simulation = begun("uam-5x9", 6)
    for _ in range(40):
        actions = index_actions(simulation.state, weights)
        assert (actions == simulation.rule_actions("greedy")).all()
        simulation.step(actions, np.ones(6, bool), False)


def test_the_environment_earns_what_the_index_days_say(weights):
    days = IndexDays(SCENARIO, 5)
    days.take(np.arange(70, 75))
    found = days.scores(np.stack([weights, 0 * weights, -weights]))
    simulation, greedy = begun(SCENARIO, 5, 70), begun(SCENARIO, 5, 70)
    play_on(simulation, weights)
    earned = sum(simulation.final_info(lane)["objective"] for lane in range(5))
    base = greedy.run_rule("greedy")["objective"].sum()
    assert found[0] == pytest.approx(earned / base, rel=1e-12)
    assert len(set(found)) == 3
    assert days.decisions > simulation.state.scalar[:, 4].sum()


def test_days_are_drawn_anew_and_never_those_of_evaluations(weights):
    days, rng = IndexDays(SCENARIO, 4), np.random.default_rng(0)
    scores = []
    for _ in range(2):
        days.draw(rng)
        scores.append(days.scores(weights[None])[0])
    assert scores[0] != scores[1]
    with pytest.raises(ParameterError, match="count: found 0"):
        IndexDays("uam-3x6", 0)


def test_what_is_to_come_is_what_the_policy_then_earns(weights):
    simulation = begun(SCENARIO, 6)
    play_on(simulation, weights, 20)
    before = [array.copy() for array in simulation.changing_arrays()]
    _, to_come = index_judgements(simulation, weights)
    for array, old in zip(simulation.changing_arrays(), before, strict=True):
        np.testing.assert_array_equal(array, old)
    rewards = np.zeros(6)
    while not simulation.terminated.all():
        running = ~simulation.terminated
        actions = np.where(running, index_actions(simulation.state, weights), 0)
        simulation.step(actions, running, False)
        rewards += np.where(running, simulation.reward, 0.0)
    np.testing.assert_allclose(to_come, rewards, rtol=1e-9, atol=1e-12)
