"""The network of VM rescheduling: invariances, finiteness, and what it may be built from."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.models import VMReschedulingNetwork, build_network, network_names

ID = "dispatchgym:dispatchgym/VMRescheduling-v0"
VM_KEYS = ("vm", "vm_pm", "vm_numa", "vm_mask", "gain_out")
PM_KEYS = ("pm", "pm_mask", "gain_in", "fits")


def as_batch(*observations):
    return {
        key: torch.as_tensor(np.stack([one[key] for one in observations]))
        for key in observations[0]
    }


def observe(seed, placing, scenario="random_6x4"):
    """An observation in the middle of an episode: before a VM is chosen, or after."""
    env = gym.make(ID, scenario=scenario, numa_rule="explicit").unwrapped
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(2 + placing):
        legal = np.flatnonzero(observation["action_mask"][:-1])
        observation, *_ = env.step(int(rng.choice(legal)))
    assert (observation["chosen_vm"][0] >= 0) == placing
    return observation


@pytest.fixture
def network():
    torch.manual_seed(0)
    return VMReschedulingNetwork(hidden=16, layers=2).eval()


def pad(observation, vms, pms):
    """The same observation in a larger frame."""
    padded = dict(observation)
    more_vms = vms - len(observation["vm"])
    more_pms = pms - len(observation["pm"])
    for key, more in [*((k, more_vms) for k in VM_KEYS), *((k, more_pms) for k in PM_KEYS)]:
        fill = -1 if key in ("vm_pm", "vm_numa") else 0
        shape = (more, *observation[key].shape[1:])
        padded[key] = np.concatenate(
            [observation[key], np.full_like(observation[key], fill, shape=shape)]
        )
    mask = np.zeros(max(vms, 2 * pms) + 1, np.int8)
    old = observation["action_mask"]
    mask[: len(old) - 1], mask[-1] = old[:-1], old[-1]
    return {**padded, "action_mask": mask}


@pytest.mark.parametrize("placing", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_logits_follow_the_order_of_vms(network, placing, seed):
    observation = observe(seed, placing)
    vms = len(observation["vm"])
    order = np.random.default_rng(seed).permutation(vms)
    permuted = {**observation, **{key: observation[key][order] for key in VM_KEYS}}
    if placing:
        permuted["chosen_vm"] = np.argsort(order)[observation["chosen_vm"]]
    logits, value = network(as_batch(observation))
    permuted_logits, permuted_value = network(as_batch(permuted))
    expected = logits[0] if placing else logits[0][torch.as_tensor(np.append(order, vms))]
    torch.testing.assert_close(permuted_logits[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(permuted_value, value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_node_logits_follow_the_order_of_machines(network, seed):
    observation = observe(seed, placing=True)
    pms = len(observation["pm"])
    order = np.random.default_rng(seed).permutation(pms)
    permuted = {**observation, **{key: observation[key][order] for key in PM_KEYS}}
    permuted["vm_pm"] = np.append(np.argsort(order), -1)[observation["vm_pm"]]
    logits = network(as_batch(observation))[0][0, : 2 * pms].reshape(pms, 2)
    permuted_logits = network(as_batch(permuted))[0][0, : 2 * pms].reshape(pms, 2)
    torch.testing.assert_close(
        permuted_logits, logits[torch.as_tensor(order)], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("placing", [False, True])
def test_padding_changes_nothing(network, placing):
    observation = observe(1, placing)
    vms, pms = len(observation["vm"]), len(observation["pm"])
    padded = pad(observation, vms + 7, pms + 3)
    logits, value = network(as_batch(observation))
    padded_logits, padded_value = network(as_batch(padded))
    kept = 2 * pms if placing else vms
    torch.testing.assert_close(padded_logits[:, :kept], logits[:, :kept], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded_logits[:, -1], logits[:, -1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded_value, value, atol=1e-5, rtol=1e-4)


def test_a_cluster_does_not_see_its_neighbours_in_the_batch(network):
    observations = [observe(seed, bool(seed % 2)) for seed in range(4)]
    vms = max(len(one["vm"]) for one in observations)
    observations = [pad(one, vms, 6) for one in observations]
    logits, value = network(as_batch(*observations))
    for row, observation in enumerate(observations):
        alone_logits, alone_value = network(as_batch(observation))
        torch.testing.assert_close(logits[row : row + 1], alone_logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(value[row : row + 1], alone_value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("key", ["pm", "vm", "vm_pm", "vm_numa", "gain_out", "steps_left"])
def test_what_a_first_choice_reads(network, key):
    observation = observe(0, placing=False)
    changed = {**observation, key: observation[key].copy()}
    if observation[key].dtype == np.float32:
        changed[key] *= 0.7
    elif key == "vm_pm":
        changed[key][0] = (changed[key][0] + 1) % 6
    else:
        changed[key][0] = 2 - changed[key][0]
    assert not torch.allclose(network(as_batch(changed))[0], network(as_batch(observation))[0])


@pytest.mark.parametrize("key", ["gain_in", "fits", "chosen_vm"])
def test_what_a_second_choice_reads(network, key):
    observation = observe(0, placing=True)
    changed = {**observation, key: observation[key].copy()}
    if key == "chosen_vm":
        changed[key][0] = (changed[key][0] + 1) % len(observation["vm"])
    else:
        changed[key][0] = 1 - changed[key][0]
    assert not torch.allclose(network(as_batch(changed))[0], network(as_batch(observation))[0])


def test_gradients_reach_every_weight(network):
    observations = [pad(observe(seed, bool(seed % 2)), 80, 6) for seed in range(6)]
    logits, value = network(as_batch(*observations))
    (logits.square().sum() + value.square().sum()).backward()
    without = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all()
    ]
    assert without == []


def test_bfloat16_stays_near_float32_and_returns_float32(network):
    fast = VMReschedulingNetwork(hidden=16, layers=2)
    fast.reduced_precision = True
    fast.load_state_dict(network.state_dict())
    batch = as_batch(observe(0, placing=True))
    logits, value = network(batch)
    fast_logits, fast_value = fast(batch)
    assert not torch.equal(fast_logits, logits)
    assert fast_logits.dtype == fast_value.dtype == torch.float32
    torch.testing.assert_close(fast_logits, logits, atol=0.1, rtol=0.1)
    torch.testing.assert_close(fast_value, value, atol=0.1, rtol=0.1)


def test_one_network_for_all_sizes(network):
    for scenario in ("random_3", "S", "random_60"):
        env = gym.make(ID, scenario=scenario, numa_rule="explicit")
        observation, _ = env.reset(seed=0)
        logits, value = network(as_batch(observation))
        assert logits.shape == (1, len(observation["action_mask"]))
        assert logits.isfinite().all()
        assert value.isfinite().all()


def test_registry_builds_by_name_and_refuses_the_rest():
    assert "vm_rescheduling" in network_names()
    built = build_network("vm_rescheduling", {"hidden": 16, "layers": 1, "heads": 2})
    assert isinstance(built, VMReschedulingNetwork)
    for settings, field in [
        ({"width": 8}, "settings.width"),
        ({"hidden": 10**9}, "hidden"),
        ({"layers": 0}, "layers"),
        ({"heads": 3}, "heads"),
    ]:
        with pytest.raises(CheckpointError, match=field):
            build_network("vm_rescheduling", settings, "policy.yaml")
