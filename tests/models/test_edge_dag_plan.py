"""The network of plans: padding and numbering do not matter, and it begins as a good rule."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dispatchgym.models import EdgeDagPlanNetwork, build_network


def observations(scenario="drlto-n6-14", lanes=12, steps=3, **options):
    """Return the simulation and its observations as tensors after some steps."""
    vector = gym.make_vec(
        "dispatchgym:dispatchgym/EdgeDagPlan-v0",
        num_envs=lanes,
        vectorization_mode="vector_entry_point",
        scenario=scenario,
        preference="grid",
        **options,
    ).unwrapped
    observation, _ = vector.reset(seed=3)
    for _ in range(steps):
        observation, *_ = vector.step(vector.rule_action("random"))
    return vector, {key: torch.as_tensor(value) for key, value in observation.items()}


def trained_a_little(seed=0):
    """Return a network whose weights are all at work."""
    torch.manual_seed(seed)
    network = EdgeDagPlanNetwork(hidden=16, layers=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


def test_shapes_and_gradients():
    _, observation = observations("alibaba_plan")
    network = trained_a_little()
    logits, value = network(observation)
    assert logits.shape == (12, 5) and value.shape == (12,)
    assert logits.dtype == value.dtype == torch.float32
    (logits.square().sum() + value.sum()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_it_begins_as_the_rule_that_looks_ahead():
    vector, observation = observations("alibaba_plan-n6-12-m3")
    logits, _ = EdgeDagPlanNetwork()(observation)
    logits = logits.masked_fill(observation["action_mask"] == 0, -1e9)
    chosen = vector.rule_action("rollout_weighted")
    best = logits.max(dim=1).values
    found = logits[torch.arange(12), torch.as_tensor(chosen)]
    torch.testing.assert_close(found, best)


def padded(observation, tasks, edges, places):
    """Return the observation with more padding of every kind."""
    wider = dict(observation)
    for key, axis, more, fill in (
        ("node_feat", 1, tasks, 0),
        ("node_mask", 1, tasks, 0),
        ("edge_index", 2, edges, -1),
        ("servers", 1, places, 0),
        ("action_mask", 1, places, 0),
    ):
        value = wider[key]
        shape = list(value.shape)
        shape[axis] = more
        wider[key] = torch.cat([value, torch.full(shape, fill, dtype=value.dtype)], dim=axis)
    return wider


def test_padding_does_not_matter():
    _, observation = observations()
    network = trained_a_little()
    logits, value = network(observation)
    more_logits, more_value = network(padded(observation, 5, 9, 3))
    torch.testing.assert_close(more_logits[:, :2], logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(more_value, value, atol=1e-5, rtol=1e-5)


def test_the_numbers_of_tasks_and_servers_do_not_matter():
    _, observation = observations("alibaba_plan-n6-12-m3")
    network = trained_a_little()
    logits, value = network(observation)
    tasks = observation["node_feat"].shape[1]
    shuffle = torch.randperm(tasks, generator=torch.Generator().manual_seed(1))
    number = torch.argsort(shuffle)
    servers = torch.tensor([0, 3, 1, 2])
    other = dict(observation)
    for key in ("node_feat", "node_mask"):
        other[key] = observation[key][:, shuffle]
    for key in ("servers", "action_mask"):
        other[key] = observation[key][:, servers]
    edges = observation["edge_index"].long()
    renamed = torch.where(edges >= 0, number[edges.clamp(min=0)], edges)
    other["edge_index"] = renamed.flip(2).to(torch.int32)
    other["current"] = number[observation["current"].long()].to(torch.int32)
    found, same = network(other)
    torch.testing.assert_close(found, logits[:, servers], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(same, value, atol=1e-5, rtol=1e-5)


def test_everything_that_is_observed_counts():
    _, observation = observations("alibaba_plan-n6-12-m3")
    network = trained_a_little()
    logits, _ = network(observation)
    for key in ("servers", "task", "preference", "context", "node_feat", "edge_index", "current"):
        value = observation[key]
        changed = torch.zeros_like(value) if key == "edge_index" else value + 1
        if key == "current":
            changed = (value + 1) % 6
        if key == "edge_index":
            changed = changed - 1
        found, _ = network({**observation, key: changed})
        assert not torch.allclose(found, logits), key


def test_reduced_precision_is_close():
    _, observation = observations()
    network = trained_a_little()
    logits, _ = network(observation)
    network.reduced_precision = True
    rough, _ = network(observation)
    assert rough.dtype == torch.float32
    scale = logits.abs().max()
    assert (rough - logits).abs().max() < 0.05 * scale


@pytest.mark.parametrize("numbers", [{"hidden": 4}, {"layers": 0}, {"hidden": 2000}])
def test_numbers_out_of_range(numbers):
    with pytest.raises(ValueError, match="expected"):
        EdgeDagPlanNetwork(**numbers)


def test_it_is_registered():
    network = build_network("edge_dag_plan", {"hidden": 16, "layers": 1})
    assert isinstance(network, EdgeDagPlanNetwork)
    assert np.isfinite([p.sum().item() for p in network.parameters()]).all()
