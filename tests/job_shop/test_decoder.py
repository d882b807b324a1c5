"""The decoder in the kernel: the network's twin, its gradient, its searches."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.job_shop import kernel, validate
from dispatchgym.envs.job_shop.decoding import DecoderShops, index_decoder
from dispatchgym.envs.job_shop.env import JobShopSimulation
from dispatchgym.envs.job_shop.index import FEATURES, index_actions
from dispatchgym.models.job_shop_encoder import JobShopEncoder

MODES = {
    "classic": {"mode": "classic"},
    "active": {"mode": "classic", "scheme": "active"},
    "blocking": {"mode": "blocking", "allow_wait": "if_event"},
    "interrupting": {
        "mode": "interrupting",
        "allow_wait": "if_event",
        "interrupts": {"probability": 0.2},
    },
}
SCENARIO = "random_5-8x4-5"


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = JobShopEncoder(width=8, heads=2, blocks=1, units=6)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return network


def begun(mode, lanes=6, seed=40, observation="instance", scenario=SCENARIO, **changes):
    options = {**MODES[mode], **changes}
    simulation = JobShopSimulation(
        num_lanes=lanes, scenario=scenario, observation=observation, **options
    )
    simulation.restart(np.ones(lanes, bool), np.arange(seed, seed + lanes))
    return simulation


def log_probabilities(network, simulation):
    """What torch makes of the environment's observation."""
    arrays = {key: torch.tensor(value) for key, value in simulation.observations.items()}
    logits, values = network(arrays)
    assert values.isfinite().all()
    return torch.log_softmax(logits.masked_fill(arrays["action_mask"] <= 0, -torch.inf), dim=1)


def play_on(simulation, actions):
    """Step lanes that are not over."""
    running = simulation.state.scalar[:, kernel.STATUS] == kernel.RUNNING
    simulation.step(np.asarray(actions, np.int64), running, False)


@pytest.mark.parametrize("mode", MODES)
def test_the_kernel_scores_as_the_network_does(network, mode):
    simulation = begun(mode)
    shops = DecoderShops(simulation)
    decoder = network.decoder_of(shops)
    seen = 0
    while shops.running.any():
        running = shops.running
        wanted = log_probabilities(network, simulation).detach().numpy()[running]
        found = shops.log_probabilities(decoder)
        np.testing.assert_allclose(found[running], wanted, atol=2e-4)
        assert (found[~running] == -np.inf).all()
        play_on(simulation, found.argmax(axis=1))
        seen += 1
    assert seen > 10


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_that_of_torch(network, mode):
    lanes, samples = 3, 4
    simulation = begun(mode, lanes)
    shops = DecoderShops(simulation)
    vectors = network.encode(*network.tensors_of(shops))
    decoder = network.decoder(vectors)
    plays = shops.sample(decoder, samples)
    weights = np.random.default_rng(0).standard_normal((lanes, samples))
    weights[0, 0] = 0.0
    slope, likelihood = shops.gradient(decoder, plays, weights)
    network.ascend(vectors, slope)
    found = {name: weight.grad for name, weight in network.named_parameters()}

    network.zero_grad()
    total = torch.zeros(())
    for sample in range(samples):
        again = begun(mode, lanes)
        for t in range(plays.lengths[:, sample].max()):
            going = t < plays.lengths[:, sample]
            actions = np.where(going, plays.actions[:, sample, t], 0).astype(np.int64)
            chosen = log_probabilities(network, again)[np.arange(lanes), actions]
            total = total - (chosen * torch.as_tensor(weights[:, sample]))[going].sum()
            play_on(again, actions)
        assert (again.state.scalar[:, kernel.STATUS] == kernel.FINISHED).all()
    total.backward()
    assert likelihood == pytest.approx(-total.item(), rel=1e-4)
    for name, weight in network.named_parameters():
        if name.startswith("value."):
            assert found[name] is None
        else:
            scale = weight.grad.abs().max().item() + 1e-6
            torch.testing.assert_close(found[name], weight.grad, atol=2e-4 * scale, rtol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_samples_are_what_they_say(network, mode):
    shops = DecoderShops(begun(mode))
    decoder = network.decoder_of(shops)
    plays = shops.sample(decoder, 8)
    again = shops.sample(decoder, 5, first=3)
    np.testing.assert_array_equal(plays.makespans[:, 3:], again.makespans)
    assert len(np.unique(plays.makespans[0])) > 1
    for sample in (0, 5):
        simulation = begun(mode)
        likelihood = np.zeros(len(plays.lengths))
        for t in range(plays.lengths[:, sample].max()):
            going = t < plays.lengths[:, sample]
            actions = np.where(going, plays.actions[:, sample, t], 0).astype(np.int64)
            known = log_probabilities(network, simulation).detach().numpy()
            if sample == 0:
                np.testing.assert_array_equal(known.argmax(axis=1)[going], actions[going])
            likelihood += np.where(going, known[np.arange(len(actions)), actions], 0.0)
            play_on(simulation, actions)
        makespans = simulation.state.scalar[:, kernel.MAKESPAN]
        np.testing.assert_array_equal(makespans, plays.makespans[:, sample])
        np.testing.assert_allclose(likelihood, plays.likelihoods[:, sample], atol=1e-2)


@pytest.mark.parametrize("mode", MODES)
def test_chosen_plays_are_valid_schedules(network, mode):
    simulation = begun(mode)
    shops = DecoderShops(simulation)
    decoder = network.decoder_of(shops)
    plays = shops.sample(decoder, 8)
    rows, best = np.arange(6), plays.makespans.argmin(axis=1)
    final = shops.finish(decoder, plays.actions[rows, best], plays.lengths[rows, best])
    np.testing.assert_array_equal(final["objective"], plays.makespans[rows, best])
    for lane in range(6):
        info = simulation.final_info(lane)
        report = validate(simulation.instance(lane), info["schedule"])
        assert report.valid, report
        assert report.objective == plays.makespans[lane, best[lane]]


@pytest.mark.parametrize("mode", ["classic", "active", "blocking"])
def test_rollouts_tell_what_comes_of_each_action(network, mode):
    shops = DecoderShops(begun(mode))
    decoder = network.decoder_of(shops)
    values = shops.rollout_values(decoder)
    for action in range(values.shape[1]):
        again = DecoderShops(begun(mode))
        legal = again.simulation.state.legal[:, action] == 1
        np.testing.assert_array_equal(np.isnan(values[:, action]), ~legal)
        again.apply(np.where(legal, action, again.simulation.state.legal.argmax(axis=1)))
        final = again.finish(decoder)
        np.testing.assert_array_equal(final["objective"][legal], values[legal, action])


def test_rollouts_do_not_see_shutdowns_to_come(network):
    """Two futures that agree so far have the same values."""
    shops = [DecoderShops(begun("interrupting", 1, seed, scenario="ft06")) for seed in (1, 2)]
    decoder = network.decoder_of(shops[0])
    drawn = [one.simulation.state.real[0, kernel.PROBABILITY] for one in shops]
    assert drawn[0] == drawn[1] == 0.2
    np.testing.assert_array_equal(*(one.rollout_values(decoder) for one in shops))
    assert shops[0].finish(decoder)["objective"] != shops[1].finish(decoder)["objective"]


@pytest.mark.parametrize("mode", ["classic", "blocking", "interrupting"])
def test_an_index_policy_is_a_decoder(mode):
    weights = 0.5 * np.random.default_rng(2).standard_normal(num_weights(FEATURES, 5))
    simulation = begun(mode, observation="jobs")
    shops = DecoderShops(simulation)
    decoder = index_decoder(weights, shops.machines.shape)
    while shops.running.any():
        running = shops.running
        wanted = index_actions(simulation, weights)
        found = shops.log_probabilities(decoder).argmax(axis=1)
        np.testing.assert_array_equal(found[running], wanted[running])
        shops.apply(found)


def brute_force(simulation):
    """The least makespan over all sequences of legal actions, each tried."""
    least = np.inf
    stack = [()]
    while stack:
        prefix = stack.pop()
        simulation.restart(np.ones(1, bool), np.array([9]))
        for action in prefix:
            play_on(simulation, [action])
        if simulation.state.scalar[0, kernel.STATUS] == kernel.FINISHED:
            least = min(least, simulation.state.scalar[0, kernel.MAKESPAN])
        else:
            stack += [(*prefix, int(a)) for a in np.flatnonzero(simulation.state.legal[0])]
    return least


@pytest.mark.parametrize("seed", range(4))
def test_active_schedules_contain_an_optimum(seed):
    """Giffler and Thompson's theorem; all permutations of a tiny shop are the judge."""
    from dispatchgym.envs.job_shop import make_instance

    instance = make_instance("random_3x2", seed)
    simulation = JobShopSimulation(num_lanes=1, scenario=instance, scheme="active")
    order = [job for job in range(3) for _ in range(2)]
    optimum = np.inf
    for sequence in set(itertools.permutations(order)):
        step, free, ready = [0] * 3, [0] * 2, [0] * 3
        for job in sequence:
            machine = instance.machine[job, step[job]]
            end = max(free[machine], ready[job]) + instance.duration[job, step[job]]
            free[machine] = ready[job] = end
            step[job] += 1
        optimum = min(optimum, max(ready))
    assert brute_force(simulation) == optimum


@pytest.mark.parametrize("seed", range(3))
def test_schedules_of_the_active_scheme_are_active(seed):
    """No operation can be moved forward without delaying another: checked on the schedule."""
    simulation = begun("active", 1, seed, scenario="random_6x4")
    rng = np.random.default_rng(seed)
    while simulation.state.scalar[0, kernel.STATUS] == kernel.RUNNING:
        play_on(simulation, [rng.choice(np.flatnonzero(simulation.state.legal[0]))])
    instance, schedule = simulation.instance(0), simulation.final_info(0)["schedule"]
    assert validate(instance, schedule).valid
    start, end = schedule["start"], schedule["end"]
    for job, step in np.ndindex(*instance.machine.shape):
        same = (instance.machine == instance.machine[job, step]) & (start >= 0)
        same[job, step] = False
        ready = end[job, step - 1] if step else 0
        busy = sorted(zip(start[same].tolist(), end[same].tolist(), strict=True))
        free = ready
        for begin, until in busy:
            if free + instance.duration[job, step] <= begin:
                break
            free = max(free, until)
        assert free >= start[job, step]


def test_networks_give_vectors_to_existing_operations_alone(network):
    simulation = begun("classic")
    shops = DecoderShops(simulation)
    decoder = network.decoder_of(shops)
    assert (decoder.vectors[shops.machines < 0] == 0).all()
    assert (decoder.vectors[shops.machines >= 0] != 0).any(axis=1).all()
    assert len(parameters_to_vector(network.parameters())) < 10_000


def test_lanes_can_be_copied_over_others(network):
    simulation = begun("classic", 3)
    shops = DecoderShops(simulation)
    shops.take(np.array([2, 2, 0]))
    seeds = simulation.state.scalar[:, kernel.SEED]
    np.testing.assert_array_equal(seeds, [42, 42, 40])
    assert (shops.makespans == np.inf).all()
    shops.finish(network.decoder_of(shops))
    assert shops.makespans[0] == shops.makespans[1] < np.inf
