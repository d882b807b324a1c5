"""What the published job-shop networks see of a shop, against the instance itself."""

import numpy as np
import pytest
import torch

from dispatchgym.envs.job_shop.env import JobShopEnv
from dispatchgym.models.job_shop import JobShopGraph
from dispatchgym.models.job_shop_gin import SCALE, arcs_of, describe_nodes
from dispatchgym.models.job_shop_rlgnn import _sum_of_rivals, describe_operations


def look(observation):
    """The graph of one observation, and the features of its operations and machines."""
    batch = {key: torch.as_tensor(value[None]) for key, value in observation.items()}
    graph = JobShopGraph.from_observation(batch)
    operations = graph.operations.take(batch["operations"])
    return graph, operations, graph.machines.take(batch["machines"])


@pytest.fixture
def play():
    """Plays actions in ft06; returns the instance and what was seen at last."""

    def run(actions, **options):
        env = JobShopEnv(scenario="ft06", observation="graph", auto_trivial=False, **options)
        observation, _ = env.reset(seed=0)
        for action in actions:
            observation = env.step(action)[0]
        instance = env.instance
        return instance, observation

    return run


def test_rlgnn_sees_shares_of_the_job(play):
    instance, observation = play([])
    graph, operations, _ = look(observation)
    seen = describe_operations(graph, operations).numpy().reshape(6, 6, 8)
    total = instance.duration.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(seen[..., 3], instance.duration / total, atol=1e-6)
    np.testing.assert_allclose(seen[..., 4], instance.duration.cumsum(axis=1) / total, atol=1e-6)
    np.testing.assert_allclose(seen[..., 5], np.tile(np.arange(5, -1, -1) / 6, (6, 1)), atol=1e-6)
    assert (seen[..., 0] == 1).all() and not seen[..., [1, 2, 6, 7]].any()


def test_rlgnn_sees_what_is_processed_and_who_waits(play):
    instance, observation = play([0, 1])
    graph, operations, _ = look(observation)
    left = observation["operation_mask"].reshape(6, 6) > 0
    seen = np.zeros((6, 6, 8))
    seen[left] = describe_operations(graph, operations).numpy()
    # Job 0 ends its first operation, of length 1, while job 1 goes on and the others wait.
    assert instance.duration[0, 0] == 1 and not left[0, 0] and left.sum() == 35
    mean = instance.duration.mean()
    runs, waits = np.zeros((2, 6, 6))
    runs[1, 0] = 1
    waits[2:, 0] = 1
    np.testing.assert_array_equal(seen[..., 1], runs)
    np.testing.assert_array_equal(seen[..., 0], left - runs)
    np.testing.assert_allclose(seen[..., 6], waits / mean, rtol=1e-6)
    np.testing.assert_allclose(seen[..., 7], runs * (instance.duration - 1) / mean, rtol=1e-6)


def test_rlgnn_hears_all_rivals_unless_the_machine_is_down(observe):
    observation = observe(6, 4, 6, 4, 1)
    down = observation["operation_machine"] == 2
    observation["operation_machine"][down] = -1
    graph, operations, _ = look(observation)
    mask = observation["operation_mask"] > 0
    machine = observation["operation_machine"][mask]
    same = (machine[:, None] == machine) & (machine >= 0) & ~np.eye(len(machine), dtype=bool)
    expected = same @ operations.numpy()
    np.testing.assert_allclose(_sum_of_rivals(graph, operations).numpy(), expected, atol=1e-5)
    assert down.any() and not expected[machine < 0].any()


def test_gin_begins_with_the_lower_bounds_of_jobs(play):
    instance, observation = play([], scheme="sequence")
    _, operations, machines = look(observation)
    seen = describe_nodes(operations, machines).numpy()
    ends = instance.duration.cumsum(axis=1) / instance.duration.mean()
    np.testing.assert_allclose(seen[:36, 0], SCALE * ends.ravel(), rtol=1e-5)
    np.testing.assert_array_equal(seen[:, 1], [0] * 36 + [1] * 6)
    assert not seen[36:, 0].any()


def test_gin_sees_when_machines_are_free(play):
    instance, observation = play([0, 1], scheme="sequence")
    _, operations, machines = look(observation)
    seen = describe_nodes(operations, machines).numpy()
    mean = instance.duration.mean()
    assert len(seen) == 34 + 6
    now = 1  # the other jobs that begin on the machine of job 0 can start then
    assert instance.duration[:2, 0].tolist() == [now, 8]
    for job, free in ((0, 1 - now), (1, 8 - now)):
        machine = 34 + instance.machine[job, 0]
        np.testing.assert_allclose(seen[machine, 0], SCALE * free / mean, rtol=1e-5)
        ends = (free + instance.duration[job, 1:].cumsum()) / mean
        np.testing.assert_allclose(seen[5 * job : 5 * job + 5, 0], SCALE * ends, rtol=1e-5)


def test_gin_has_arcs_along_jobs_and_from_machines(play):
    instance, observation = play([0, 1], scheme="sequence")
    graph, _, _ = look(observation)
    source, target = arcs_of(graph)
    place = np.full((6, 6), -1)
    place[observation["operation_mask"].reshape(6, 6) > 0] = np.arange(34)
    expected = {
        (int(place[j, k]), int(place[j, k + 1]))
        for j in range(6)
        for k in range(5)
        if place[j, k] >= 0
    }
    expected |= {
        (34 + int(instance.machine[j, k]), int(place[j, k]))
        for j in range(6)
        for k in range(6)
        if place[j, k] >= 0
    }
    assert set(zip(source.tolist(), target.tolist(), strict=True)) == expected
    assert len(source) == len(expected)
