"""The job-shop networks of graphs: invariances, finiteness, and what they may be built from."""

import numpy as np
import pytest
import torch

from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.models import JobShopNetwork, build_network, network_names

JOBS, MACHINES = 6, 4
NETWORKS = {
    "job_shop": {"hidden": 16, "layers": 2},
    "job_shop_gin": {"hidden": 16, "layers": 3},
    "job_shop_rlgnn": {"hidden": 16, "layers": 2},
}
READ_BY_ALL = ["operations", "operation_machine", "operation_next"]
READ = {
    "job_shop": [*READ_BY_ALL, "jobs", "machines", "wait_for", "action_mask"],
    "job_shop_gin": [*READ_BY_ALL, "machines"],
    "job_shop_rlgnn": READ_BY_ALL,
}


def as_batch(*observations):
    return {
        key: torch.as_tensor(np.stack([one[key] for one in observations]))
        for key in observations[0]
    }


def make_network(name):
    torch.manual_seed(0)
    return build_network(name, NETWORKS[name]).eval()


@pytest.fixture(params=NETWORKS)
def network(request):
    return make_network(request.param)


def permute_jobs(observation, order):
    """The same shop with job `order[i]` in place i."""
    place = np.argsort(order)
    rows = (order[:, None] * MACHINES + np.arange(MACHINES)).ravel()
    row_place = np.append(np.argsort(rows), -1)
    permuted = dict(observation)
    for key in ("operations", "operation_mask", "operation_machine", "operation_next"):
        permuted[key] = observation[key][rows]
    for key in ("jobs", "job_mask", "job_operation", "wait_for"):
        permuted[key] = observation[key][order]
    permuted["operation_next"] = row_place[permuted["operation_next"]]
    permuted["job_operation"] = row_place[permuted["job_operation"]]
    permuted["wait_for"] = np.append(place, -1)[permuted["wait_for"]]
    permuted["action_mask"] = np.append(
        observation["action_mask"][order], observation["action_mask"][-1]
    )
    return permuted


@pytest.mark.parametrize("seed", range(5))
def test_logits_follow_the_order_of_jobs(network, observe, seed):
    observation = observe(JOBS, MACHINES, JOBS, MACHINES, seed)
    order = np.random.default_rng(seed).permutation(JOBS)
    logits, value = network(as_batch(observation))
    permuted_logits, permuted_value = network(as_batch(permute_jobs(observation, order)))
    torch.testing.assert_close(permuted_logits[0, :-1], logits[0, torch.as_tensor(order)])
    torch.testing.assert_close(permuted_logits[0, -1], logits[0, -1])
    torch.testing.assert_close(permuted_value, value)


@pytest.mark.parametrize("seed", range(5))
def test_padding_changes_nothing(network, observe, seed):
    tight = observe(JOBS, MACHINES, JOBS, MACHINES, seed)
    padded = observe(JOBS, MACHINES, JOBS + 3, MACHINES + 2, seed)
    logits, value = network(as_batch(tight))
    padded_logits, padded_value = network(as_batch(padded))
    torch.testing.assert_close(padded_logits[:, :JOBS], logits[:, :JOBS])
    torch.testing.assert_close(padded_logits[:, -1], logits[:, -1])
    torch.testing.assert_close(padded_value, value)


def test_a_graph_does_not_see_its_neighbours_in_the_batch(network, observe):
    observations = [observe(JOBS - s % 3, MACHINES, JOBS, MACHINES, s) for s in range(6)]
    logits, value = network(as_batch(*observations))
    for row, observation in enumerate(observations):
        alone_logits, alone_value = network(as_batch(observation))
        torch.testing.assert_close(logits[row : row + 1], alone_logits)
        torch.testing.assert_close(value[row : row + 1], alone_value)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in READ for key in READ[name]])
def test_every_part_of_the_observation_matters(observe, name, key):
    network = make_network(name)
    observation = observe(JOBS, MACHINES, JOBS, MACHINES, 0)
    observation["wait_for"][0] = 1
    logits, value = network(as_batch(observation))
    changed = dict(observation)
    if observation[key].dtype == np.float32:
        changed[key] = observation[key] * 1.5
    elif key == "action_mask":
        changed[key] = 1 - observation[key]
    else:
        changed[key] = np.full_like(observation[key], -1)
    changed_logits, changed_value = network(as_batch(changed))
    assert not torch.allclose(changed_logits, logits)
    assert not torch.allclose(changed_value, value)


def test_gradients_reach_every_weight(network, observe):
    batch = as_batch(*[observe(JOBS, MACHINES, JOBS, MACHINES, s) for s in range(8)])
    logits, value = network(batch)
    (logits.square().sum() + value.square().sum()).backward()
    without = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    # The last round's operations feed only candidates and context, so all weights take part.
    assert without == []


def test_bfloat16_stays_near_float32_and_returns_float32(observe):
    torch.manual_seed(0)
    exact = JobShopNetwork(hidden=16, layers=2)
    fast = JobShopNetwork(hidden=16, layers=2)
    fast.reduced_precision = True
    fast.load_state_dict(exact.state_dict())
    batch = as_batch(*[observe(JOBS, MACHINES, JOBS, MACHINES, s) for s in range(4)])
    logits, value = exact(batch)
    fast_logits, fast_value = fast(batch)
    assert not torch.equal(fast_logits, logits)
    assert fast_logits.dtype == fast_value.dtype == torch.float32
    torch.testing.assert_close(fast_logits, logits, atol=0.05, rtol=0.05)
    torch.testing.assert_close(fast_value, value, atol=0.05, rtol=0.05)


def test_registry_builds_by_name_and_refuses_the_rest():
    assert "job_shop" in network_names()
    assert isinstance(build_network("job_shop", {"hidden": 8, "layers": 1}), JobShopNetwork)
    for name, settings, field in [
        ("os.system", {}, "network"),
        ("torch.nn.Linear", {}, "network"),
        ("job_shop", {"width": 8}, "settings.width"),
        ("job_shop", {"hidden": "8"}, "settings.hidden"),
        ("job_shop", {"hidden": True}, "settings.hidden"),
        ("job_shop", {"hidden": 10**9}, "hidden"),
        ("job_shop", {"layers": 0}, "layers"),
        ("job_shop_gin", {"layers": 1}, "layers"),
        ("job_shop_gin", {"head": 4}, "head"),
        ("job_shop_rlgnn", {"hidden": 4}, "hidden"),
        ("job_shop_rlgnn", {"layers": 17}, "layers"),
    ]:
        with pytest.raises(CheckpointError, match=field):
            build_network(name, settings, "policy.yaml")
