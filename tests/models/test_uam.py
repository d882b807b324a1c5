"""The networks of the fleet: invariances, capsules by formula, greedy as a choice of weights."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.models import build_network, network_names
from dispatchgym.models.uam import CapsuleRound, Graph

ID = "dispatchgym:dispatchgym/UAMFleet-v0"
NETWORKS = ("uam", "uam_gatv2", "uam_gcn", "uam_mlp", "uam_transformer")
PORT_KEYS = ("port_x", "port_mask", "demand", "pair_demand", "corridor", "legs", "action_mask")
CRAFT_KEYS = ("craft_x", "craft_mask")
SLOT_AXIS = {"demand": 1, "pair_demand": 1, "slot_mask": 0}
PROFIT = 7
"""Column of `legs` that holds what a leg earns now."""


def as_batch(*observations):
    return {
        key: torch.as_tensor(np.stack([one[key] for one in observations]))
        for key in observations[0]
    }


def observe(seed, scenario="uam-5x9", decisions=12):
    """An observation in the middle of a day."""
    env = gym.make(ID, scenario=scenario).unwrapped
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(decisions):
        observation, *_ = env.step(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
    return {key: np.array(value) for key, value in observation.items()}


def pad(observation, ports, aircraft, slots):
    """The same observation in a larger frame; padding holds zeros, as in the environment."""

    def widen(array, axis, size):
        more = [(0, 0)] * array.ndim
        more[axis] = (0, size - array.shape[axis])
        return np.pad(array, more)

    padded = dict(observation)
    for key in PORT_KEYS:
        padded[key] = widen(padded[key], 0, ports)
    padded["port_adj"] = widen(widen(padded["port_adj"], 0, ports), 1, ports)
    for key in CRAFT_KEYS:
        padded[key] = widen(padded[key], 0, aircraft)
    for key, axis in SLOT_AXIS.items():
        padded[key] = widen(padded[key], axis, slots)
    return padded


def small(name):
    torch.manual_seed(0)
    return build_network(name, {"hidden": 16, "layers": 2}).eval()


@pytest.fixture(params=NETWORKS)
def network(request):
    return small(request.param)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_logits_follow_the_order_of_vertiports(network, seed):
    observation = observe(seed)
    order = np.random.default_rng(seed).permutation(5)
    permuted = {**observation, **{key: observation[key][order] for key in PORT_KEYS}}
    permuted["port_adj"] = observation["port_adj"][order][:, order]
    permuted["i"] = np.argsort(order)[observation["i"]]
    logits, value = network(as_batch(observation))
    permuted_logits, permuted_value = network(as_batch(permuted))
    close(permuted_logits[0], logits[0, torch.as_tensor(order)])
    close(permuted_value, value)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_aircraft_does_not_matter(network, seed):
    observation = observe(seed)
    order = np.random.default_rng(seed).permutation(9)
    permuted = {**observation, **{key: observation[key][order] for key in CRAFT_KEYS}}
    permuted["k"] = np.argsort(order)[observation["k"]]
    for found, expected in zip(
        network(as_batch(permuted)), network(as_batch(observation)), strict=True
    ):
        close(found, expected)


@pytest.mark.parametrize("decisions", [0, 60])
def test_padding_changes_nothing(network, decisions):
    observation = observe(1, decisions=decisions)
    logits, value = network(as_batch(observation))
    padded_logits, padded_value = network(as_batch(pad(observation, 8, 14, 15)))
    close(padded_logits[:, :5], logits)
    close(padded_value, value)


def test_a_fleet_does_not_see_its_neighbours_in_the_batch(network):
    scenarios = ["uam-5x9", "uam-3x4", "uam-4x12"]
    observations = [pad(observe(7, scenario), 5, 12, 12) for scenario in scenarios]
    logits, value = network(as_batch(*observations))
    for row, observation in enumerate(observations):
        alone_logits, alone_value = network(as_batch(observation))
        close(logits[row : row + 1], alone_logits)
        close(value[row : row + 1], alone_value)


@pytest.mark.parametrize(
    "key", ["port_x", "craft_x", "demand", "pair_demand", "legs", "decision", "k", "i"]
)
def test_every_part_of_the_observation_matters(network, key):
    observation = observe(0)
    changed = {**observation, key: observation[key].copy()}
    if observation[key].dtype == np.float32:
        changed[key] *= 0.7
    else:
        changed[key] = (changed[key] + 1) % 5
    before, after = network(as_batch(observation)), network(as_batch(changed))
    assert not torch.allclose(after[0], before[0])
    assert not torch.allclose(after[1], before[1])


@pytest.mark.parametrize("name", ["uam", "uam_gcn"])
def test_routes_matter_to_networks_that_weigh_them(name):
    observation = observe(0)
    changed = {**observation, "port_adj": observation["port_adj"].copy()}
    changed["port_adj"][0, 1:] *= 0.3
    changed["port_adj"][1:, 0] *= 0.3
    network = small(name)
    assert not torch.allclose(network(as_batch(changed))[0], network(as_batch(observation))[0])


def test_gradients_reach_every_weight(network):
    logits, value = network(as_batch(*[observe(seed) for seed in range(6)]))
    (logits.square().sum() + value.square().sum()).backward()
    without = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any()
    ]
    # A bias of the keys moves all scores of a query alike, so its gradient may vanish.
    assert [name for name in without if "key" not in name] == []


def test_bfloat16_stays_near_float32_and_returns_float32(network):
    batch = as_batch(*[observe(seed) for seed in range(4)])
    with torch.no_grad():
        logits, value = network(batch)
        network.reduced_precision = True
        fast_logits, fast_value = network(batch)
    assert not torch.equal(fast_logits, logits)
    assert fast_logits.dtype == fast_value.dtype == torch.float32
    torch.testing.assert_close(fast_logits, logits, atol=0.05, rtol=0.05)
    torch.testing.assert_close(fast_value, value, atol=0.02, rtol=0.05)


def test_one_network_for_all_sizes(network):
    for scenario in ("uam-2x1", "uam-lax2", "uam-20x100"):
        observation = observe(0, scenario, decisions=3)
        logits, value = network(as_batch(observation))
        assert logits.shape == (1, len(observation["action_mask"]))
        assert logits.isfinite().all()
        assert value.isfinite().all()


def laplacian(weights):
    """I - D^-1/2 A D^-1/2, entry by entry."""
    degree = weights.sum(1)
    return np.array(
        [
            [
                (i == j) - (weights[i, j] / np.sqrt(degree[i] * degree[j]))
                for j in range(len(weights))
            ]
            for i in range(len(weights))
        ]
    )


@pytest.mark.parametrize("moments", [1, 3])
@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("complete", [False, True])
def test_capsules_are_polynomials_of_the_laplacian_in_moments(moments, hops, complete):
    rng = np.random.default_rng(0)
    nodes, hidden = 6, 4
    weights = rng.uniform(0.2, 1.0, (nodes, nodes))
    weights = 1 - np.eye(nodes) if complete else np.triu(weights, 1) + np.triu(weights, 1).T
    present = torch.tensor([[True] * nodes + [False] * 2])
    padded = torch.zeros(1, nodes + 2, nodes + 2, dtype=torch.float64)
    padded[0, :nodes, :nodes] = torch.as_tensor(weights)
    graph = (
        Graph.complete(present, loops=False)
        if complete
        else Graph.weighted(present, padded, loops=False)
    )
    states = rng.normal(size=(nodes, hidden))
    layer = CapsuleRound(hidden, moments, hops).double()
    values = torch.zeros(1, nodes + 2, hidden, dtype=torch.float64)
    values[0, :nodes] = torch.as_tensor(states)
    values[0, nodes:] = 9.0  # what stands at padding must not matter
    found = layer.capsules(values, graph)[0, :nodes].detach().numpy()
    matrix = laplacian(weights)
    for p in range(moments):
        weight = layer.filters[p].weight.detach().numpy()
        expected = layer.filters[p].bias.detach().numpy() + sum(
            np.linalg.matrix_power(matrix, k)
            @ states ** (p + 1)
            @ weight[:, k * hidden : (k + 1) * hidden].T
            for k in range(hops + 1)
        )
        np.testing.assert_allclose(found[:, p * hidden : (p + 1) * hidden], expected, rtol=1e-9)


def test_a_convolution_is_the_normalised_mean_with_loops():
    weights = torch.rand(1, 4, 4).triu(1)
    weights = weights + weights.transpose(1, 2)
    graph = Graph.weighted(torch.ones(1, 4, dtype=torch.bool), weights, loops=True)
    joined = weights[0] + torch.eye(4)
    root = torch.diag(joined.sum(1) ** -0.5)
    values = torch.randn(1, 4, 3)
    close(graph.smooth(values)[0], root @ joined @ root @ values[0])


def test_the_greedy_rule_is_a_choice_of_weights(network):
    with torch.no_grad():
        network.choice.weight.zero_()
        network.choice.bias.zero_()
        network.leg.weight.zero_()
        network.leg.weight[0, PROFIT] = 1.0
    vec = gym.make_vec(
        ID, num_envs=8, vectorization_mode="vector_entry_point", scenario="uam-5x9"
    ).unwrapped
    observation, _ = vec.reset(seed=0)
    stays = flies = 0
    for _ in range(40):
        with torch.no_grad():
            logits, _ = network({k: torch.as_tensor(v) for k, v in observation.items()})
        logits = logits.masked_fill(torch.as_tensor(observation["action_mask"]) == 0, -torch.inf)
        actions = logits.argmax(1).numpy()
        np.testing.assert_array_equal(actions, vec.rule_action("greedy"))
        here = observation["i"][:, 0]
        stays, flies = stays + (actions == here).sum(), flies + (actions != here).sum()
        observation, *_ = vec.step(actions)
    assert stays and flies


def test_registry_builds_by_name_and_refuses_the_rest():
    assert set(NETWORKS) <= set(network_names())
    for name in NETWORKS:
        weights = sum(weight.numel() for weight in build_network(name, {}).parameters())
        assert weights < 1_000_000
    for name, settings, field in [
        ("uam", {"width": 8}, "settings.width"),
        ("uam", {"hidden": 12}, "hidden"),
        ("uam", {"hidden": 10**6}, "hidden"),
        ("uam", {"layers": 0}, "layers"),
        ("uam", {"moments": 0}, "moments"),
        ("uam", {"hops": 9}, "hops"),
        ("uam", {"heads": 4}, "settings.heads"),
        ("uam_gatv2", {"heads": 3}, "heads"),
        ("uam_transformer", {"heads": 0}, "heads"),
        ("uam_gcn", {"moments": 2}, "settings.moments"),
        ("uam_mlp", {"layers": 17}, "layers"),
    ]:
        with pytest.raises(CheckpointError, match=field):
            build_network(name, settings, "policy.yaml")
