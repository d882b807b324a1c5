"""Self-labelling: what plays teach, and a training that gets better by it."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch.nn.utils import parameters_to_vector

from dispatchgym.agents.problems.job_shop.samples import SampledShops
from dispatchgym.agents.runs import RunFolder
from dispatchgym.agents.self_labelling import LOSSES, weights_of
from dispatchgym.agents.training import Trainer
from dispatchgym.configs.schemas import register_schemas
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.job_shop.decoding import DecoderShops, Plays
from dispatchgym.envs.job_shop.env import JobShopSimulation
from dispatchgym.models.job_shop_encoder import JobShopEncoder

SMALL = (
    "experiment=job_shop_self_labelling",
    "env.scenario=random_4x3",
    "agent.scenarios=[random_4x3,random_5x3]",
    "agent.instances=4",
    "agent.samples=8",
    "model.width=8",
    "model.units=8",
    "held_out.seeds=6",
    "held_out.times=3",
    "held_out.table=false",
    "budget.seconds=null",
    "budget.steps=3000",
)


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


def config(tmp_path, *overrides):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", *overrides])
    return OmegaConf.to_object(composed)


def silent(phase, share, seconds, scores):
    assert 0.0 <= share <= 1.0


@pytest.mark.parametrize("mode", ["classic", "blocking"])
def test_a_run_is_trained_evaluated_and_resumed(tmp_path, mode):
    changes = [] if mode == "classic" else ["env.mode=blocking", "env.scheme=event"]
    first = Trainer(config(tmp_path, *changes), None, silent)
    first.run()
    history = first.folder.history
    assert history[-1]["phase"] == "self_labelling" and history[-1]["decisions"] >= 3000
    folder = RunFolder.find(str(first.folder.path), "", "")
    longer = config(tmp_path, *changes, "budget.steps=6000")
    second = Trainer(longer, folder, silent)
    assert second.progress.updates == first.progress.updates > 0
    assert second.evaluate_now()["objective"] == history[-1]["objective"]
    one, other = first.learner.student.state_dict(), second.learner.student.state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    second.run()
    assert second.progress.decisions >= 6000 > first.progress.decisions


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_network_follows_its_student(tmp_path, average):
    trainer = Trainer(config(tmp_path, f"agent.average={average}"), None, silent)
    before = parameters_to_vector(trainer.learner.network.parameters()).clone()
    trainer.run()
    after, student = (
        parameters_to_vector(part.parameters())
        for part in (trainer.learner.network, trainer.learner.student)
    )
    if average == 0.0:
        assert torch.equal(after, student)
    else:
        assert 0 < (after - before).norm() < (student - before).norm()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("agent.loss=worst", r"agent\.loss: found 'worst', expected one of rank, best, bopo"),
        ("agent.samples=1", r"agent\.samples: found 1, expected at least 2"),
        ("agent.average=-1", r"agent\.average: found -1"),
        ("agent.temperature=0", r"agent\.temperature: found 0"),
        ("agent.instances=0", r"agent\.instances: found 0"),
        ("env.observation=graph", r"env\.observation: found 'graph'"),
    ],
)
def test_wrong_settings_are_named(tmp_path, override, message):
    with pytest.raises(ParameterError, match=message):
        Trainer(config(tmp_path, override), None, silent).run()


def test_other_networks_are_refused(tmp_path):
    register_schemas()
    overrides = ["model=job_shop_index", "agent=self_labelling", "env.observation=jobs"]
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*overrides, f"runs={tmp_path}"])
    with pytest.raises(ParameterError, match="model: found 'job_shop_index', agent=self_labelling"):
        Trainer(OmegaConf.to_object(composed), None, silent).run()
