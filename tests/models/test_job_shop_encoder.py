"""The encoder of the job shop: invariances, groups, and what it may be built from."""

import numpy as np
import pytest
import torch

from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.envs.job_shop.decoding import FEATURES
from dispatchgym.models import JobShopEncoder, build_network
from dispatchgym.models.job_shop_encoder import Groups, describe_operations

JOBS, STEPS, MACHINES = 6, 4, 5


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = JobShopEncoder(width=16, heads=2, blocks=2, units=8).eval()
    torch.nn.init.normal_(network.vector.weight)
    return network


def shop(seed, jobs=JOBS, steps=STEPS):
    """Durations and machines of a shop in which some jobs are shorter than others."""
    rng = np.random.default_rng(seed)
    machines = np.stack([rng.permutation(MACHINES)[:steps] for _ in range(jobs)])
    machines[rng.random(jobs) < 0.3, -1] = -1
    durations = np.where(machines >= 0, rng.integers(1, 100, machines.shape), 0)
    return torch.tensor(durations, dtype=torch.float32)[None], torch.tensor(machines)[None]


@pytest.mark.parametrize("seed", range(4))
def test_vectors_follow_the_order_of_jobs_and_ignore_names_of_machines(network, seed):
    durations, machines = shop(seed)
    rng = np.random.default_rng(seed)
    order = torch.tensor(rng.permutation(JOBS))
    names = torch.tensor(np.append(rng.permutation(MACHINES), -1))
    vectors = network.encode(durations, machines)
    again = network.encode(durations[:, order], names[machines[:, order]])
    torch.testing.assert_close(again, vectors[:, order], atol=1e-5, rtol=1e-4)


def test_padding_and_the_unit_of_time_change_nothing(network):
    durations, machines = shop(1)
    wide = torch.nn.functional.pad(durations, (0, 2, 0, 3))
    vectors = network.encode(7.0 * wide, torch.nn.functional.pad(machines, (0, 2, 0, 3), value=-1))
    expected = network.encode(durations, machines)
    torch.testing.assert_close(vectors[:, :JOBS, :STEPS], expected, atol=1e-5, rtol=1e-4)
    assert (vectors[:, JOBS:] == 0).all() and (vectors[:, :, STEPS:] == 0).all()


def test_shops_of_a_batch_do_not_see_each_other(network):
    one, other = shop(2), shop(3)
    both = [torch.cat(pair) for pair in zip(one, other, strict=True)]
    vectors = network.encode(*both)
    torch.testing.assert_close(vectors[:1], network.encode(*one), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(vectors[1:], network.encode(*other), atol=1e-5, rtol=1e-4)


def test_every_operation_is_with_those_of_its_machine():
    _, machines = shop(4)
    machines = torch.cat([machines, shop(5)[1]])
    groups = Groups.by_machine(machines)
    label = machines[machines >= 0].float()
    shop_of = torch.arange(2)[:, None, None].expand_as(machines)[machines >= 0].float()
    gathered = groups.gather(torch.stack([label, shop_of], dim=1))
    for row, content in zip(groups.rows, gathered, strict=True):
        real = row < len(label)
        assert len(content[real].unique(dim=0)) <= 1
    torch.testing.assert_close(groups.scatter(gathered)[:, 0], label)


def test_features_of_operations_are_of_unit_size():
    durations, machines = shop(6, jobs=40)
    known = describe_operations(durations, machines)[machines >= 0]
    assert known.isfinite().all()
    assert known.abs().max() < 5
    assert (known.std(dim=0) > 0.05).all()


def test_the_first_weights_are_a_rule(network):
    fresh = JobShopEncoder(crowding=20.0)
    candidates = torch.zeros(1, 2, FEATURES)
    candidates[0, :, 6] = 1.0  # both outside
    candidates[0, :, 1] = 1.0
    candidates[0, 0, 7], candidates[0, 1, 7] = 0.3, 0.9  # an empty shop and a crowded one
    with torch.no_grad():
        fresh.out.weight.zero_()
        scores = fresh.score(torch.zeros(1, 2, 64), candidates, torch.ones(1, 3))
    assert scores[0, 0] > scores[0, 2] > scores[0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"blocks": 17}, "blocks is 17"),
        ({"units": 0}, "units is 0"),
        ({"heads": 5}, "heads is 5"),
        ({"crowding": -1.0}, "crowding is -1"),
    ],
)
def test_wrong_numbers_are_refused(settings, message):
    with pytest.raises(CheckpointError, match=message):
        build_network("job_shop_encoder", settings)
