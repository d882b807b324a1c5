"""The network of the system on chip: invariances, messages along the DAG, ETF as one of many."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dispatchgym.envs.soc.observation import STAGE_COLUMN
from dispatchgym.models import build_network
from dispatchgym.models.soc import FINISH, BottomUp, Jobs

ID = "dispatchgym:dispatchgym/SoC-v0"


def as_batch(*observations):
    return {
        key: torch.as_tensor(np.stack([one[key] for one in observations]))
        for key in observations[0]
    }


def observe(seed, scenario="top3-p5", decisions=25):
    """An observation in the middle of an episode."""
    env = gym.make(ID, scenario=scenario).unwrapped
    observation, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(decisions):
        observation, *_ = env.step(int(rng.choice(np.flatnonzero(observation["action_mask"]))))
    return {key: np.array(value) for key, value in observation.items()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("soc", {"hidden": 16, "heads": 2}).eval()


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_batch_is_its_parts(network):
    observations = [observe(seed) for seed in range(4)]
    logits, values = network(as_batch(*observations))
    for row, observation in enumerate(observations):
        alone, value = network(as_batch(observation))
        close(logits[row], alone[0])
        close(values[row], value[0])


@pytest.mark.parametrize("scenario", ["top3-p5", "bal16-mix6", "top3-gen"])
def test_only_ready_tasks_have_logits(network, scenario):
    observation = as_batch(observe(3, scenario))
    logits, _ = network(observation)
    assert torch.isfinite(logits).all()
    ready = observation["task_x"][0, :, STAGE_COLUMN + 1] > 0
    scored = (logits[0] != 0).reshape(len(ready), -1)
    assert ready.any()
    assert (scored.any(dim=1) == ready).all()
    assert (scored.flatten() >= (observation["action_mask"][0] > 0)).all()


@pytest.mark.parametrize("seed", range(3))
def test_logits_follow_the_order_of_pes(network, seed):
    observation = observe(seed, "bal16-mix6", 40)
    pes = len(observation["pe_mask"])
    order = np.random.default_rng(seed).permutation(pes)
    moved = dict(observation)
    for key in ("task_pe", "outlook"):
        moved[key] = observation[key][:, order]
    for key in ("pe_x", "pe_mask"):
        moved[key] = observation[key][order]
    at = np.argsort(order)
    moved["task_on"] = np.where(observation["task_on"] >= 0, at[observation["task_on"]], -1)
    moved["task_on"] = moved["task_on"].astype(np.int32)
    moved["action_mask"] = observation["action_mask"].reshape(-1, pes)[:, order].reshape(-1)
    logits, value = network(as_batch(observation))
    moved_logits, moved_value = network(as_batch(moved))
    close(moved_logits.reshape(-1, pes), logits.reshape(-1, pes)[:, torch.as_tensor(order)])
    close(moved_value, value)


def test_more_room_changes_nothing(network):
    """The same moment in a frame for more jobs."""
    observation = observe(5)
    jobs, tasks = len(observation["job_mask"]), len(observation["task_mask"])
    edges = len(observation["edge_mask"])
    wider = dict(observation)
    for keys, room in (
        (("job_x", "job_mask"), 2),
        (("task_x", "task_mask", "task_pe", "outlook", "task_depth"), 2 * tasks // jobs),
        (("edges", "edge_x", "edge_mask"), 2 * edges // jobs),
    ):
        for key in keys:
            array = observation[key]
            wider[key] = np.pad(array, [(0, room)] + [(0, 0)] * (array.ndim - 1))
    more = np.full(2 * tasks // jobs, -1, np.int32)
    wider["task_on"] = np.concatenate([observation["task_on"], more])
    logits, value = network(as_batch(observation))
    wide_logits, wide_value = network(as_batch(wider))
    close(wide_logits[0, : logits.shape[1]], logits[0])
    assert (wide_logits[0, logits.shape[1] :] == 0).all()
    close(wide_value, value)


def test_every_weight_matters(network):
    observation = as_batch(*(observe(seed) for seed in range(6)))
    logits, value = network(observation)
    (torch.log_softmax(logits, dim=1).square().mean() + value.square().mean()).backward()
    idle = [name for name, weight in network.named_parameters() if not weight.grad.abs().sum() > 0]
    # A constant that is added to all logits of a state, or to all scores of a softmax, has none.
    assert set(idle) <= {"score.3.bias", "attention.bias.bias", "upward.message.bias"}


def test_the_rule_etf_is_a_choice_of_weights(network):
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.direct.weight[0, FINISH] = -1.0
    for seed in range(5):
        observation = observe(seed, decisions=20)
        logits = network(as_batch(observation))[0][0].detach().numpy()
        legal = np.flatnonzero(observation["action_mask"])
        chosen = legal[logits[legal].argmax()]
        finish = observation["task_pe"][:, :, FINISH].reshape(-1)
        assert finish[chosen] == finish[legal].min()


def test_messages_come_from_all_that_follow_and_from_nothing_else():
    torch.manual_seed(1)
    observation = as_batch(observe(7, decisions=3))
    graph = Jobs.from_observation(observation)
    layer = BottomUp(8)
    state = torch.randn(graph.tasks.count, 8)
    reached = layer(state, graph)
    task = int(graph.depth.argmax())
    changed = state.clone()
    changed[task] += 1.0
    touched = (layer(changed, graph) - reached).abs().sum(dim=1) > 1e-6
    before = {task}
    while True:
        more = {int(s) for s, t in zip(graph.source, graph.target, strict=True) if int(t) in before}
        if more <= before:
            break
        before |= more
    assert set(touched.nonzero().squeeze(1).tolist()) <= before
    assert touched[task] and touched.sum() > 1


@pytest.mark.parametrize(
    "settings", [{"hidden": 10, "heads": 4}, {"hidden": 4}, {"heads": 0}, {"hidden": 2048}]
)
def test_sizes_out_of_range_are_refused(settings):
    from dispatchgym.envs.core.errors import CheckpointError

    with pytest.raises(CheckpointError, match="is "):
        build_network("soc", settings)
