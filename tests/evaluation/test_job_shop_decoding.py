"""Policies of the job shop that play inside the kernel: entrants and their searches."""

import numpy as np
import pytest
import torch

from dispatchgym.agents.arena import Arena
from dispatchgym.agents.checkpoints import PolicyFile
from dispatchgym.agents.entrants import PlayerEntrant, Search, find_entrants
from dispatchgym.agents.players import NetworkPlayer
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.job_shop.decoding import (
    DecoderEntrant,
    DecoderPlayer,
    find_entrant,
)
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models import build_network

NETWORKS = {
    "job_shop_encoder": (
        {"width": 8, "heads": 2, "blocks": 1, "units": 8},
        {"scheme": "active", "observation": "instance", "allow_wait": "never"},
    ),
    "job_shop_index": ({"hidden": 4}, {"observation": "jobs", "allow_wait": "never"}),
}


@pytest.fixture(params=NETWORKS)
def policy(request):
    torch.manual_seed(0)
    settings, options = NETWORKS[request.param]
    network = build_network(request.param, settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape)
    file = PolicyFile(request.param, settings, "dispatchgym/JobShop-v0", options)
    return Policy(network, file, name="small")


@pytest.fixture
def arena():
    return Arena(find_problem("job_shop"), "random_6x5", tuple(range(5)), {"mode": "classic"})


def makespans(episodes):
    return np.array([episode.objective for episode in episodes])


def entrant(policy, name, **numbers):
    return find_entrant(policy, Search(name, **numbers))


def checked(arena, episodes):
    for instance, episode in zip(arena.instances, episodes, strict=True):
        report = arena.problem.validate(instance, episode.schedule)
        assert report.valid and report.objective == episode.objective
        assert episode.status == "finished" and episode.seconds > 0
    return makespans(episodes)


def test_the_kernel_plays_as_the_network_does(policy, arena):
    inside = checked(arena, entrant(policy, "none").play(arena))
    for player in (NetworkPlayer(policy), DecoderPlayer(policy)):
        by_steps = PlayerEntrant("by steps", player, policy.environment).play(arena)
        np.testing.assert_array_equal(makespans(by_steps), inside)


def test_searches_are_no_worse_than_greedy_play(policy, arena):
    greedy = makespans(entrant(policy, "none").play(arena))
    found = {
        name: checked(arena, entrant(policy, name, samples=24).play(arena))
        for name in ("best_of", "rollout", "sampled_rollout", "beam")
    }
    for one in found.values():
        assert (one <= greedy).all()
    assert (np.minimum(found["best_of"], found["rollout"]) < greedy).any()
    assert found["sampled_rollout"].sum() < found["best_of"].sum()


def test_a_beam_of_all_plays_is_exhaustive(policy):
    """On a shop so small that no play is ever dropped, the beam finds the optimum."""
    problem = find_problem("job_shop")
    arena = Arena(problem, "random_3x2", tuple(range(4)), {"mode": "classic"})
    active = Policy(
        policy.network,
        PolicyFile(
            policy.file.network,
            policy.file.settings,
            policy.file.environment,
            {**policy.file.options, "scheme": "active"},
        ),
        name="active",
    )
    found = checked(arena, entrant(active, "beam", samples=256).play(arena))
    from dispatchgym.envs.job_shop import solve

    pytest.importorskip("ortools")
    assert found.tolist() == [solve(one).objective for one in arena.instances]


@pytest.mark.parametrize("name", ["best_of", "rollout", "sampled_rollout", "beam"])
def test_a_budget_ends_a_search(policy, arena, name):
    hurried = entrant(policy, name, samples=100_000 if name == "best_of" else 24, seconds=1e-6)
    greedy = makespans(entrant(policy, "none").play(arena))
    np.testing.assert_array_equal(checked(arena, hurried.play(arena)), greedy)


def test_a_plan_that_knows_shutdowns_is_refused(policy):
    options = {"mode": "interrupting", "interrupts": 0.2}
    arena = Arena(find_problem("job_shop"), "random_4x3", (0,), options)
    with pytest.raises(ParameterError, match="found sampled_rollout where machines shut down"):
        entrant(policy, "sampled_rollout").play(arena)


def test_episodes_that_are_the_same_are_played_once(policy):
    problem = find_problem("job_shop")
    arena = Arena(problem, problem.module.make_instance("ft06", 0), (0, 1, 2), {"mode": "classic"})
    episodes = entrant(policy, "none").play(arena)
    assert len(episodes) == 3 and episodes[0] is episodes[2]


def test_names_say_what_is_searched(policy):
    assert entrant(policy, "none").name == "small"
    assert entrant(policy, "best_of", samples=7).name == "small+best_of_7"
    assert entrant(policy, "rollout").name == "small+rollout"
    assert entrant(policy, "sampled_rollout").name == "small+sampled_rollout"
    assert entrant(policy, "beam", samples=9).name == "small+beam_9"
    assert entrant(policy, "refine") is None


def test_leaving_out_actions_is_refused(policy):
    with pytest.raises(ParameterError, match=r"search\.quantile: found 0\.5"):
        entrant(policy, "best_of", quantile=0.5)


def test_an_entrant_may_be_given_as_it_is(policy):
    one = entrant(policy, "none")
    assert isinstance(one, DecoderEntrant)
    assert find_entrants([one], find_problem("job_shop"), Search()) == [one]


def test_single_decisions_are_timed_where_they_are_final(policy, arena):
    assert (entrant(policy, "none").decision_times(arena) > 0).all()
    assert len(entrant(policy, "rollout").decision_times(arena)) == 0
