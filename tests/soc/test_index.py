"""The index policy in the kernel: the network's twin, and episodes that the environment plays."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.soc import kernel
from dispatchgym.envs.soc.env import SoCSimulation
from dispatchgym.envs.soc.index import FEATURES, IndexRuns, index_actions
from dispatchgym.models.soc_index import SoCIndexNetwork

SCENARIO = "top3-p5-q4-noise20-h1500"


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = SoCIndexNetwork(hidden=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture
def weights(network):
    return parameters_to_vector(network.parameters()).detach().double().numpy()


def begun(scenario, lanes, seed=40):
    simulation = SoCSimulation(num_lanes=lanes, scenario=scenario)
    simulation.restart(np.ones(lanes, bool), np.arange(seed, seed + lanes))
    return simulation


def logits_of(network, simulation):
    with torch.no_grad():
        arrays = {key: torch.as_tensor(simulation.observations[key]) for key in network.keys}
        logits, values = network(arrays)
    assert (values == 0).all()
    legal = simulation.observations["action_mask"] == 1
    assert (logits.numpy()[~legal] == 0).all()
    return np.where(legal, logits.numpy(), -np.inf)


def time_in_system(simulation):
    scalar = simulation.state.scalar
    return scalar[:, kernel.JOB_TIME] / scalar[:, kernel.FINISHED_JOBS]


@pytest.mark.parametrize("scenario", [SCENARIO, "bal16-mix6-s50"])
def test_weights_of_the_kernel_are_the_parameters_of_the_network(network, weights, scenario):
    assert len(weights) == num_weights(FEATURES, 5)
    simulation, everyone = begun(scenario, 6), np.ones(6, bool)
    for _ in range(40):
        logits = logits_of(network, simulation)
        actions = index_actions(simulation, weights)
        chosen = logits[np.arange(6), actions]
        np.testing.assert_allclose(chosen, logits.max(axis=1), rtol=1e-4, atol=1e-4)
        simulation.step(actions, everyone, False)


def test_a_new_network_places_where_etf_does():
    weights = parameters_to_vector(SoCIndexNetwork().parameters()).detach().double().numpy()
    simulation, everyone = begun("top3-p10", 6), np.ones(6, bool)
    for _ in range(60):
        finish = simulation.observations["task_pe"][:, :, :, 2].reshape(6, -1)
        actions, rule = index_actions(simulation, weights), simulation.rule_actions("etf")
        everywhere = np.arange(6)
        np.testing.assert_allclose(finish[everywhere, actions], finish[everywhere, rule], 1e-6)
        simulation.step(rule, everyone, False)


def test_the_environment_plays_what_the_index_runs_say(weights):
    runs = IndexRuns(SCENARIO, 5)
    runs.take(np.arange(70, 75))
    found = runs.scores(np.stack([weights, 0 * weights, -weights]))
    simulation, rule = begun(SCENARIO, 5, 70), begun(SCENARIO, 5, 70)
    while not simulation.terminated.all():
        running = ~simulation.terminated
        actions = np.where(running, index_actions(simulation, weights), 0)
        simulation.step(actions, running, False)
    rule.run_rule("etf")
    expected = time_in_system(rule).sum() / time_in_system(simulation).sum()
    assert found[0] == pytest.approx(expected, rel=1e-12)
    assert len(set(found)) == 3
    assert runs.decisions > simulation.state.scalar[:, kernel.DECISIONS].sum()


def test_etf_scores_one():
    network = SoCIndexNetwork(hidden=1)
    weights = parameters_to_vector(network.parameters()).detach().double().numpy()
    runs = IndexRuns("single-top1-top3", 1)
    runs.take(np.array([0]))
    assert runs.scores(weights[None])[0] == pytest.approx(1.0)


@pytest.mark.parametrize("scenario", [SCENARIO, "top3-gen-h1500"])
def test_episodes_are_drawn_anew(weights, scenario):
    runs, rng = IndexRuns(scenario, 3), np.random.default_rng(0)
    scores = []
    for _ in range(2):
        runs.draw(rng)
        scores.append(runs.scores(weights[None])[0])
    assert scores[0] != scores[1]


def test_no_episode_is_refused():
    with pytest.raises(ParameterError, match="count: found 0"):
        IndexRuns("top3-p5", 0)
