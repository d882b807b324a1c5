"""Training runs with soft actor-critic: phases, resume, mixtures of scenarios, other weights."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from torch.nn.utils import parameters_to_vector

from dispatchgym.agents.checkpoints import read_checkpoint
from dispatchgym.agents.edge_teacher import IndexTeacher, RolloutTeacher
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.runs import RunFolder
from dispatchgym.agents.training import Trainer
from dispatchgym.configs.schemas import register_schemas
from dispatchgym.envs.core.errors import CheckpointError, ParameterError
from dispatchgym.envs.edge_offloading.index import index_actions

SMALL = (
    "agent=sac",
    "agent.num_envs=4",
    "agent.train_freq=4",
    "agent.gradient_steps=1",
    "agent.batch_size=16",
    "agent.buffer_size=1000",
    "agent.learning_starts=40",
    "agent.imitation.num_envs=4",
    "agent.imitation.batch_size=8",
    "held_out.seeds=4",
    "held_out.times=3",
    "held_out.table=false",
    "budget.seconds=null",
    "budget.steps=400",
)
SHOP = ("env=job_shop", "env.scenario=random_3-4x3", "model.hidden=8", "model.layers=1")
EDGE = ("env=edge_offloading", "env.scenario=gmorl-e1", "model.hidden=8", "model.layers=1")


def make_config(tmp_path, *overrides):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", *overrides])
    return OmegaConf.to_object(composed)


def silent(phase, share, seconds, scores):
    assert 0.0 <= share <= 1.0


def trained(tmp_path, *overrides):
    trainer = Trainer(make_config(tmp_path, *overrides), None, silent)
    trainer.run()
    return trainer


def weights_of(trainer):
    return read_checkpoint(trainer.folder.checkpoint("last")).weights


@pytest.mark.parametrize("value_coefficient", [0.0, 0.5])
def test_actor_and_critics_go_through_both_phases(tmp_path, value_coefficient):
    settings = [f"agent.imitation.value_coefficient={value_coefficient}"]
    trainer = Trainer(make_config(tmp_path, *SHOP, *settings), None, silent)
    policy = trainer.learner.model.policy
    critics = policy.critics.state_dict()
    before = {key: value.clone() for key, value in critics.items()}
    trainer._warm_up()
    trainer._imitate(trainer.teacher)
    imitated = [not torch.equal(before[key], value) for key, value in critics.items()]
    assert any(imitated) == (value_coefficient > 0)
    trainer.learner.learn()
    assert not all(torch.equal(before[key], value) for key, value in critics.items())
    assert trainer.progress.decisions >= 400


def test_a_run_leaves_a_policy_that_acts_like_any_other(tmp_path):
    trainer = trained(tmp_path, *SHOP)
    history = trainer.folder.history
    assert [record["phase"] for record in history][:: len(history) - 1] == ["imitation", "sac"]
    policy = Policy.load(trainer.folder.checkpoint("last"))
    for key, value in policy.network.state_dict().items():
        assert torch.equal(value, trainer.learner.model.policy.actor.state_dict()[key])


def test_the_same_seed_trains_the_same_weights(tmp_path):
    one, other = (weights_of(trained(tmp_path, *SHOP)) for _ in range(2))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    different = weights_of(trained(tmp_path, *SHOP, "seed=1"))
    assert not all(torch.equal(value, different[key]) for key, value in one.items())


def test_a_resumed_run_has_critics_temperature_and_optimisers(tmp_path):
    first = trained(tmp_path, *SHOP, "agent.actor_starts=5")
    longer = make_config(tmp_path, *SHOP, "budget.steps=600", "agent.actor_starts=5")
    resumed = Trainer(longer, RunFolder.find(True, longer.runs, longer.experiment_name), silent)
    one, other = first.learner, resumed.learner
    for key, value in one.model.policy.state_dict().items():
        assert torch.equal(value, other.model.policy.state_dict()[key])
    assert torch.equal(one.model.log_alpha, other.model.log_alpha)
    for name in ("actor", "critics", "temperature"):
        moments = [each._optimizers[name].state_dict()["state"] for each in (one, other)]
        assert moments[0].keys() == moments[1].keys()
        assert torch.equal(moments[0][0]["exp_avg"], moments[1][0]["exp_avg"])
    assert resumed.evaluate_now()["objective"] == first.folder.history[-1]["objective"]
    assert other._updates == one.model._n_updates > 5
    resumed.run()
    assert resumed.folder.history[-1]["decisions"] >= 600
    assert other.model.actor_starts == 0, "critics have had their start"
    assert other.model._n_updates > 0


def test_without_a_teacher_it_begins_with_even_actions(tmp_path):
    trainer = trained(tmp_path, *SHOP, "agent.imitation.teacher=none")
    assert {record["phase"] for record in trainer.folder.history} == {"sac"}
    assert trainer.learner.model.random_steps == 40


@pytest.mark.parametrize("bends", ["false", "true"])
def test_edge_offloading_learns_components_of_the_reward(tmp_path, bends):
    settings = ["agent.vector_critic=true", "agent.relabel=0.5", f"model.bends={bends}"]
    trainer = trained(tmp_path, *EDGE, *settings)
    model = trainer.learner.model
    assert model.policy.critics[0].outputs == 3
    buffer = model.replay_buffer
    kept = buffer.vector_rewards[: buffer.size()]
    assert (kept <= 0).all() and (kept < 0).any()
    preference = buffer.observations["preference"][: buffer.size()].astype(np.float32)
    rewards = buffer.rewards[: buffer.size()]
    np.testing.assert_allclose((kept * preference).sum(axis=2), rewards, rtol=2e-3, atol=2e-3)
    assert trainer.folder.history[-1]["objective"] > 0


def test_scenarios_of_other_families_can_be_mixed(tmp_path):
    settings = [
        "env.scenario='gmorl-e1|dems-medium-2'",
        "agent.imitation.teacher='rollout|dems'",
        "held_out.scenario=gmorl-e1",
    ]
    trainer = trained(tmp_path, *EDGE, *settings)
    mixture = trainer.make_vector(5)
    assert [part.num_envs for part in mixture.parts] == [2, 3]
    assert {record["phase"] for record in trainer.folder.history} == {"imitation", "sac"}
    scenarios = trainer.learner.model.replay_buffer.observations["context"][:20, :, -1]
    assert len(set(scenarios[0].tolist())) == 2


def test_held_out_episodes_are_of_one_family(tmp_path):
    with pytest.raises(ParameterError, match=r"held_out\.scenario: found 'gmorl-e1\|dems"):
        Trainer(make_config(tmp_path, *EDGE, "env.scenario='gmorl-e1|dems-medium-2'"), None, silent)


def test_a_run_can_begin_with_other_weights(tmp_path):
    first = trained(tmp_path, *SHOP)
    folder = first.folder.checkpoint("last")
    second = Trainer(make_config(tmp_path, *SHOP, f"begin_with={folder}"), None, silent)
    for key, value in weights_of(first).items():
        assert torch.equal(value, second.learner.network.state_dict()[key])
    with pytest.raises(CheckpointError, match="not of this run's network"):
        wider = make_config(tmp_path, *SHOP, "model.hidden=16", f"begin_with={folder}")
        Trainer(wider, None, silent)


def test_rollouts_teach_what_they_expect(tmp_path):
    trainer = Trainer(make_config(tmp_path, *EDGE, "env.scenario=gmorl-e6"), None, silent)
    vec = trainer.make_vector(3)
    costs, values = RolloutTeacher(8).label(vec)
    np.testing.assert_array_equal(np.isfinite(costs), vec.action_masks())
    assert (costs.min(axis=1) == 0).all() and np.isnan(values).all()
    np.testing.assert_array_equal(costs.argmin(axis=1), vec.rule_action("rollout_omega"))


def test_an_index_policy_teaches_what_it_plays(tmp_path):
    config = make_config(tmp_path, *EDGE, "env.scenario=gmorl_radio-e6")
    trainer, index = Trainer(config, None, silent), Policy.load("edge_offloading/index")
    vec, teacher = trainer.make_vector(8), IndexTeacher(index)
    weights = parameters_to_vector(index.network.parameters()).detach().double().numpy()
    for _ in range(40):
        costs, values = teacher.label(vec)
        np.testing.assert_array_equal(np.isfinite(costs), vec.action_masks())
        assert (costs.min(axis=1) == 0).all() and np.isnan(values).all()
        chosen = index_actions(vec.simulation, weights)
        assert costs[np.arange(8), chosen].max() < 1e-3  # the kernel is more precise
        vec.step(teacher.act(vec))


def test_an_index_teacher_wants_an_index_policy():
    with pytest.raises(ParameterError, match="expected 'edge_offloading_index'"):
        IndexTeacher(Policy.load("edge_offloading/sac"))
