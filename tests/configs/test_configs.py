"""All packaged training configurations compose, and mistakes are refused at compose."""

from importlib.resources import files

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import OmegaConf

from dispatchgym.configs.render_schemas import register_render_schemas
from dispatchgym.configs.schemas import GROUPS, TrainConfig, train_schema
from dispatchgym.envs.core.errors import ParameterError

EXPERIMENTS = ["quickstart", "job_shop_ppo", "isbjssp_like"]


@pytest.fixture(autouse=True)
def hydra_in_package():
    register_render_schemas()  # those of the other commands with it
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        yield


def composed(*overrides):
    return OmegaConf.to_object(compose("train", list(overrides)))


def test_experiments_of_training_compose_with_their_environment():
    config = composed("env=vm_rescheduling", "experiment=vm_rescheduling_ppo")
    assert config.env.name == config.model.name == "vm_rescheduling"


def test_the_default_composes_to_the_schemas():
    config = composed()
    assert isinstance(config, TrainConfig)
    assert config.env.name == config.model.name == "job_shop"
    assert config.agent.name == "ppo"
    assert (config.agent.gamma, config.agent.gae_lambda, config.agent.clip_range) == (1, 0.98, 0.2)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiments_compose_and_can_be_overridden(name):
    config = composed(f"experiment={name}", "seed=5", "env.scenario=random_4x3")
    assert config.experiment_name == name
    assert config.seed == 5
    assert config.env.scenario == "random_4x3"
    assert config.env.mode == "interrupting"


@pytest.mark.parametrize(
    ("name", "model", "scheme", "reward"),
    [
        ("isbjssp_like", "job_shop_rlgnn", "event", "waiting"),
        ("l2d", "job_shop_gin", "sequence", "lb_delta"),
        ("job_shop_encoder_ppo", "job_shop_encoder", "active", "lb_delta"),
    ],
)
def test_designs_to_compare_with_have_no_teacher(name, model, scheme, reward):
    config = composed(f"experiment={name}")
    assert config.experiment_name == name
    assert config.model.name == model
    assert (config.env.scheme, config.env.reward) == (scheme, reward)
    assert (config.agent.name, config.agent.imitation.teacher) == ("ppo", "none")


def test_l2d_updates_once_with_all_decisions_of_an_episode():
    config = composed("experiment=l2d")
    agent, decisions = config.agent, 10 * 10
    assert config.env.scenario == "random_10x10" and agent.n_steps == decisions
    assert (agent.batch_size, agent.n_epochs) == (agent.num_envs * decisions, 1)
    assert config.budget.steps == 10_000 * agent.batch_size


def choices(group):
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in (files("dispatchgym.configs") / group).iterdir()
    )


def test_every_choice_of_a_group_composes():
    for group in ("env", "agent", "model"):
        assert choices(group) == sorted(GROUPS[group])
        for name in choices(group):
            composed(f"{group}={name}")


@pytest.mark.parametrize("env", GROUPS["env"])
def test_the_network_is_that_of_the_environment(env):
    assert composed(f"env={env}").model.name == env
    assert composed(f"env={env}", "model=job_shop").model.name == "job_shop"


@pytest.mark.parametrize("command", ["evaluate", "benchmark", "render"])
@pytest.mark.parametrize("env", GROUPS["env"])
def test_every_command_has_defaults_for_every_environment(command, env):
    config = compose(command, [f"env={env}"])
    assert config.env.name == env
    assert config.scenario
    assert compose(command, [f"env={env}", "scenario=mine"]).scenario == "mine"


def test_every_table_composes_and_can_be_overridden():
    tables = [name for name in choices("experiment") if name.startswith("table_")]
    assert len(tables) >= 7
    for name in tables:
        config = compose("evaluate", [f"experiment={name}", "seeds=3"])
        assert config.seeds == 3
        assert (config.env.name == "vm_rescheduling") == name.startswith("table_vm")
        assert (config.env.name == "uam") == name.startswith("table_uam")
        assert (config.env.name == "soc") == name.startswith("table_soc")
        assert (config.env.name == "edge_offloading") == name.startswith("table_edge_")


@pytest.mark.parametrize(
    "override",
    [
        "sede=1",
        "env.scenaro=la01",
        "agent.n_epoch=3",
        "agent.imitation.techer=spt",
        "model.width=3",
        "seed=many",
        "agent.n_steps=few",
        "env.swap=perhaps",
        "budget.seconds=[1]",
        "model.hidden=1.5",
        "agent=ddpg",
        "env=flow_shop",
    ],
)
def test_mistakes_are_refused_and_named(override):
    with pytest.raises(HydraException) as caught:
        composed(override)
    text = f"{caught.value} {caught.value.__cause__}"
    name = override.partition("=")[0].rpartition(".")[2]
    value = override.partition("=")[2]
    assert name in text or value in text


def test_a_stored_configuration_comes_back_and_is_checked():
    stored = OmegaConf.to_container(OmegaConf.structured(composed("seed=3")))
    again = OmegaConf.to_object(OmegaConf.merge(train_schema(stored), stored))
    assert again == composed("seed=3")
    with pytest.raises(ParameterError, match=r"agent\.name"):
        train_schema({**stored, "agent": {"name": "os.system"}})
    with pytest.raises(ParameterError, match=r"env\.name"):
        train_schema({**stored, "env": None})
