"""The index policy in the kernel: the network's twin, and shops that the environment plays."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.job_shop import kernel
from dispatchgym.envs.job_shop.env import JobShopSimulation
from dispatchgym.envs.job_shop.index import FEATURES, IndexShops, index_actions
from dispatchgym.models.job_shop_index import JobShopIndexNetwork

MODES = {
    "classic": {"mode": "classic"},
    "blocking": {"mode": "blocking", "allow_wait": "if_event"},
    "interrupting": {
        "mode": "interrupting",
        "allow_wait": "if_event",
        "interrupts": {"probability": 0.2},
    },
}
SCENARIO = "random_6-10x4-6"


@pytest.fixture
def network():
    torch.manual_seed(7)
    network = JobShopIndexNetwork(hidden=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


@pytest.fixture
def weights(network):
    return parameters_to_vector(network.parameters()).detach().double().numpy()


def begun(mode, lanes, seed=40, scenario=SCENARIO):
    simulation = JobShopSimulation(
        num_lanes=lanes, scenario=scenario, observation="jobs", **MODES[mode]
    )
    simulation.restart(np.ones(lanes, bool), np.arange(seed, seed + lanes))
    return simulation


def logits_of(network, simulation):
    with torch.no_grad():
        arrays = {key: torch.as_tensor(simulation.observations[key]) for key in network.keys}
        logits, values = network(arrays)
    assert (values == 0).all()
    return np.where(simulation.observations["action_mask"] == 1, logits.numpy(), -np.inf)


@pytest.mark.parametrize("mode", MODES)
def test_weights_of_the_kernel_are_the_parameters_of_the_network(network, weights, mode):
    assert len(weights) == num_weights(FEATURES, 5)
    simulation, waits = begun(mode, 8), 0
    for _ in range(40):
        running = ~simulation.terminated
        logits = logits_of(network, simulation)
        actions = index_actions(simulation, weights)
        chosen = logits[np.arange(8), actions]
        np.testing.assert_allclose(
            chosen[running], logits.max(axis=1)[running], rtol=1e-4, atol=1e-4
        )
        waits += (actions[running] == simulation.max_jobs).sum()
        simulation.step(np.where(running, actions, 0), running, False)
    assert (waits > 0) == (mode != "classic")


def test_a_new_network_starts_the_job_with_most_work_remaining():
    weights = parameters_to_vector(JobShopIndexNetwork().parameters()).detach().double().numpy()
    simulation = begun("classic", 6)
    for _ in range(20):
        running = ~simulation.terminated
        work = simulation.observations["candidates"][:, :, 1]
        actions, rule = index_actions(simulation, weights), simulation.rule_actions("mwkr")
        rows = np.flatnonzero(running)
        np.testing.assert_allclose(work[rows, actions[rows]], work[rows, rule[rows]], 1e-6)
        simulation.step(np.where(running, rule, 0), running, False)


@pytest.mark.parametrize("mode", MODES)
def test_the_environment_plays_what_the_index_shops_say(weights, mode):
    shops = IndexShops(5, scenario=SCENARIO, **MODES[mode])
    shops.take(np.arange(70, 75))
    found = shops.scores(np.stack([weights, 0 * weights, -weights]))
    simulation = begun(mode, 5, 70)
    while not simulation.terminated.all():
        running = ~simulation.terminated
        actions = np.where(running, index_actions(simulation, weights), 0)
        simulation.step(actions, running, False)
    scalar = simulation.state.scalar
    expected = (scalar[:, kernel.LOWER_BOUND] / scalar[:, kernel.MAKESPAN]).mean()
    assert found[0] == pytest.approx(expected, rel=1e-12)
    assert len(set(found)) == 3
    assert shops.decisions > simulation.state.scalar[:, kernel.DECISIONS].sum()


def test_a_shop_that_locks_up_scores_nothing(weights):
    # Without swaps two jobs can wait for each other's machines for ever.
    options = {"scenario": "random_3x2", "mode": "blocking", "swap": False}
    shops, simulation = IndexShops(16, **options), JobShopSimulation(num_lanes=16, **options)
    shops.take(np.arange(16))
    simulation.restart(np.ones(16, bool), np.arange(16))
    while (running := ~(simulation.terminated | simulation.truncated)).any():
        actions = np.where(running, index_actions(simulation, weights), 0)
        simulation.step(actions, running, False)
    scalar = simulation.state.scalar
    finished = scalar[:, kernel.STATUS] == kernel.FINISHED
    assert 0 < finished.sum() < 16
    shares = scalar[finished, kernel.LOWER_BOUND] / scalar[finished, kernel.MAKESPAN]
    assert shops.scores(weights[None])[0] == pytest.approx(shares.sum() / 16)


def test_shops_are_drawn_anew(weights):
    shops, rng = IndexShops(3, scenario=SCENARIO), np.random.default_rng(0)
    scores = []
    for _ in range(2):
        shops.draw(rng)
        scores.append(shops.scores(weights[None])[0])
    assert scores[0] != scores[1]


def test_no_episode_is_refused():
    with pytest.raises(ParameterError, match="count: found 0"):
        IndexShops(0, scenario=SCENARIO)
