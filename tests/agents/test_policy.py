import gymnasium as gym
import numpy as np
import pytest
import torch

import dispatchgym.agents
from dispatchgym.agents.checkpoints import write_checkpoint
from dispatchgym.agents.players import NetworkPlayer, RulePlayer
from dispatchgym.agents.policy import Policy, likely_logits
from dispatchgym.agents.problems import problem_of
from dispatchgym.agents.problems.job_shop.rollout import RolloutPlayer
from dispatchgym.agents.runs import Progress, make_checkpoint
from dispatchgym.envs.core.errors import CheckpointError, ParameterError


def play(player, vec, steps=40):
    observation, _ = vec.reset(seed=0)
    chosen = []
    for _ in range(steps):
        actions = player.act(vec, observation)
        assert vec.action_masks()[np.arange(vec.num_envs), actions].all()
        chosen.append(actions)
        observation, *_ = vec.step(actions)
    return np.array(chosen)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_policy_chooses_legal_actions(policy, make_vec, deterministic):
    play(NetworkPlayer(policy, deterministic), make_vec())


def test_greedy_play_repeats_and_sampling_varies(policy, make_vec):
    greedy = NetworkPlayer(policy)
    assert np.array_equal(play(greedy, make_vec()), play(greedy, make_vec()))
    sampling = NetworkPlayer(policy, deterministic=False, temperature=2.0)
    assert not np.array_equal(play(sampling, make_vec()), play(sampling, make_vec()))


def test_a_low_temperature_is_nearly_greedy(policy, make_vec):
    cold = NetworkPlayer(policy, deterministic=False, temperature=1e-6)
    assert np.array_equal(play(cold, make_vec()), play(NetworkPlayer(policy), make_vec()))


def test_a_high_quantile_leaves_the_likely_actions(policy, make_vec):
    sure = NetworkPlayer(policy, deterministic=False, quantile=0.999)
    assert np.array_equal(play(sure, make_vec()), play(NetworkPlayer(policy), make_vec()))
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, -1e8]])
    kept = likely_logits(logits, torch.tensor([[1, 1, 1, 1, 1, 0]]), 0.5)
    assert (kept > -1e7).tolist() == [[False, False, True, True, True, False]]


@pytest.mark.parametrize("quantile", [-0.1, 1.0, float("nan")])
def test_a_quantile_out_of_range_is_refused(policy, make_vec, quantile):
    observation, _ = make_vec().reset(seed=0)
    with pytest.raises(ParameterError, match="quantile"):
        policy.act(observation, deterministic=False, quantile=quantile)


def test_rows_do_not_depend_on_the_rest_of_the_batch(policy, make_vec):
    vec = make_vec(6)
    observation, _ = vec.reset(seed=0)
    together = policy.act(observation)
    for row in range(6):
        alone = policy.act({key: value[row : row + 1] for key, value in observation.items()})
        assert alone[0] == together[row]


def test_rules_and_rollouts_are_players(make_vec):
    vec = make_vec()
    vec.reset(seed=0)
    assert np.array_equal(RulePlayer("spt").act(vec, {}), vec.rule_action("spt"))
    play(RolloutPlayer(), make_vec())


def test_a_rollout_takes_the_shortest_continuation(make_vec):
    vec = make_vec()
    observation, _ = vec.reset(seed=3)
    for _ in range(10):
        values = vec.rollout_values((("spt", 0),))
        actions = RolloutPlayer((("spt", 0),)).act(vec, observation)
        assert np.array_equal(values[np.arange(4), actions], np.nanmin(values, axis=1))
        observation, *_ = vec.step(actions)


def test_load_by_path_gives_the_same_policy(policy, make_vec, tmp_path):
    checkpoint = make_checkpoint(policy.network, policy.file, None, Progress(), {"seed": 1})
    write_checkpoint(tmp_path / "agent", checkpoint)
    loaded = dispatchgym.agents.load(tmp_path / "agent")
    assert loaded.environment == {"allow_wait": "if_event"}
    assert loaded.card == {"seed": 1}
    expected = play(NetworkPlayer(policy), make_vec())
    assert np.array_equal(play(NetworkPlayer(loaded), make_vec()), expected)


def test_loading_leaves_an_unknown_name_unloaded():
    with pytest.raises(CheckpointError, match="neither a checkpoint folder nor a shipped agent"):
        dispatchgym.agents.load("job_shop/nothing")


@pytest.mark.parametrize("name", dispatchgym.agents.shipped())
def test_every_shipped_agent_loads_and_plays(name):
    policy = dispatchgym.agents.load(name)
    assert policy.card["command"]
    problem = problem_of(policy.file.environment)
    options = {**policy.environment, "scenario": problem.smallest, "invalid_action": "raise"}
    vec = gym.make_vec(problem.env_id, num_envs=4, autoreset_mode="SameStep", **options).unwrapped
    play(NetworkPlayer(policy), vec)


def test_observations_that_are_not_a_graph_batch_are_refused(policy, make_vec):
    vec = make_vec()
    observation, _ = vec.reset(seed=0)
    with pytest.raises(ParameterError, match="operations"):
        policy.act({key: value for key, value in observation.items() if key != "operations"})
    with pytest.raises(ParameterError, match="batch"):
        policy.act({key: value[0] for key, value in observation.items()})
    with pytest.raises(ParameterError, match="temperature"):
        policy.act(observation, deterministic=False, temperature=0.0)


def test_an_unknown_device_is_refused(policy, tmp_path):
    checkpoint = make_checkpoint(policy.network, policy.file, None, Progress(), {})
    write_checkpoint(tmp_path / "agent", checkpoint)
    with pytest.raises(ParameterError, match="device"):
        Policy.load(tmp_path / "agent", "abacus")


def test_acting_changes_no_weight_and_no_mode(policy, make_vec):
    policy.network.train()
    before = {name: value.clone() for name, value in policy.network.state_dict().items()}
    play(NetworkPlayer(policy), make_vec())
    assert policy.network.training
    for name, value in policy.network.state_dict().items():
        assert torch.equal(before[name], value)
