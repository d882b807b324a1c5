"""Self-labelling: what plays teach, and a training that gets better by it."""

import numpy as np
import pytest
import torch

from dispatchgym.agents.job_shop_samples import SampledShops
from dispatchgym.agents.self_labelling import LOSSES, weights_of
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.job_shop.decoding import DecoderShops, Plays
from dispatchgym.envs.job_shop.env import JobShopSimulation
from dispatchgym.models.job_shop_encoder import JobShopEncoder


def plays(makespans, likelihoods=None, lengths=None):
    makespans = np.array(makespans, float)
    shape = makespans.shape
    return Plays(
        makespans,
        np.zeros(shape) if likelihoods is None else np.array(likelihoods, float),
        np.full(shape, 10) if lengths is None else np.array(lengths),
        np.zeros((*shape, 1), np.int16),
    )


def test_the_best_play_alone_is_a_label():
    found = weights_of("best", plays([[5, 3, 4], [7, 8, np.inf]], lengths=[[4, 5, 6], [2, 3, 4]]))
    np.testing.assert_allclose(found, [[0, 0.2, 0], [0.5, 0, 0]])


def test_ranks_weigh_every_play_and_add_up_to_nothing():
    found = weights_of("rank", plays([[5, 3, 4, 6, 9, 8], [1, 1, 1, 2, 2, 2]]))
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    assert (np.diff(found[0][np.argsort([5, 3, 4, 6, 9, 8])]) <= 0).all()
    assert found[0, 1] > 0 > found[0, 4]
    # Plays of the same makespan teach the same.
    assert len(np.unique(found[1].round(12))) == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_learned_where_all_plays_are_alike_or_did_not_end(loss):
    found = weights_of(loss, plays([[4, 4, 4], [np.inf] * 3, [np.inf, 3, 5]]))
    assert (found[:2] == 0).all()
    assert found[2, 0] == 0 and found[2, 1] > 0


def test_preferences_are_the_slopes_of_their_loss():
    """BOPO's loss by torch on log-likelihoods, and its gradient."""
    makespans = np.array([[6.0, 4.0, 5.0, 4.0]])
    likelihoods, lengths = np.array([[-3.0, -5.0, -2.0, -4.0]]), np.array([[3, 4, 5, 4]])
    known = torch.tensor(likelihoods[0], requires_grad=True)
    mean = known / torch.tensor(lengths[0])
    scale = torch.tensor(makespans[0] / 4.0)
    worse = scale > 1.0
    loss = -torch.nn.functional.logsigmoid(scale * (mean[1] - mean))[worse].sum() / 3
    loss.backward()
    found = weights_of("bopo", plays(makespans, likelihoods, lengths))
    np.testing.assert_allclose(found[0], -known.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_plays_get_better(loss):
    """Training on small shops beats the first rule on shops never seen."""
    torch.manual_seed(0)
    network = JobShopEncoder(width=16, heads=2, blocks=1, units=16)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    shops = SampledShops(16, scenario="random_8x5", scheme="active")
    held_out = JobShopSimulation(
        num_lanes=64, scenario="random_8x5", scheme="active", observation="jobs"
    )
    held_out.restart(np.ones(64, bool), np.arange(64))
    judge = DecoderShops(held_out)
    before = judge.sample(network.decoder_of(judge), 1).makespans.mean()
    rng = np.random.default_rng(0)
    for _ in range(60):
        shops.draw(rng)
        sampled = shops.sample(network, 32, 1.0)
        optimizer.zero_grad()
        shops.ascend(network, weights_of(loss, sampled))
        optimizer.step()
    after = judge.sample(network.decoder_of(judge), 1).makespans.mean()
    assert after < 0.985 * before


def test_no_shops_are_refused():
    with pytest.raises(ParameterError, match=r"agent\.instances: found 0"):
        SampledShops(0, scenario="ft06")
