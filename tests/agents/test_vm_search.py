"""Plans of VM rescheduling that iterated greedy refines: in time, legal, never worse."""

import numpy as np
import pytest
import torch

from dispatchgym.agents.arena import Arena
from dispatchgym.agents.checkpoints import PolicyFile
from dispatchgym.agents.entrants import Search, find_entrants
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.vm_rescheduling.search import RefinedPolicy, refine
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.models import VMReschedulingNetwork

PROBLEM = find_problem("vm_rescheduling")


@pytest.fixture
def arena():
    return Arena(PROBLEM, "random_8x6", (0, 1, 2), {"objective": None})


@pytest.fixture
def policy():
    """An untrained network: its plans leave much to be refined."""
    torch.manual_seed(0)
    settings = {"hidden": 16, "layers": 1, "heads": 2}
    options = {"numa_rule": "explicit", "allow_stop": False}
    file = PolicyFile("vm_rescheduling", settings, "dispatchgym/VMRescheduling-v0", options)
    return Policy(VMReschedulingNetwork(**settings), file, name="untrained")


def objectives(episodes):
    return np.array([episode.objective for episode in episodes])


def test_a_rule_is_refined_within_its_seconds(arena):
    plain, refined = (
        find_entrants("ha", PROBLEM, search)[0]
        for search in (Search(), Search("refine", seconds=0.3))
    )
    assert refined.name == "ha+refine"
    assert not refined.is_rule
    refined.play(arena)  # whatever is compiled at first
    episodes = refined.play(arena)
    assert (objectives(episodes) <= objectives(plain.play(arena)) + 1e-12).all()
    assert max(episode.seconds for episode in episodes) < 1.0
    for instance, episode in zip(arena.instances, episodes, strict=True):
        report = PROBLEM.validate(instance, episode.schedule)
        assert report.valid, report.violations
        assert report.objective == episode.objective


def test_a_policy_is_refined(arena, policy):
    search = Search("refine", samples=3, seconds=0.5)
    greedy = find_entrants(policy_player(policy), PROBLEM, Search())[0].play(arena)
    refined = RefinedPolicy("untrained+refine", policy, search).play(arena)
    assert (objectives(refined) <= objectives(greedy) + 1e-12).all()
    assert objectives(refined).mean() < objectives(greedy).mean()
    for instance, episode in zip(arena.instances, refined, strict=True):
        assert PROBLEM.validate(instance, episode.schedule).valid


def policy_player(policy):
    from dispatchgym.agents.players import NetworkPlayer

    return NetworkPlayer(policy)


def test_without_time_left_the_plan_stays(arena, policy):
    plan = find_entrants(policy_player(policy), PROBLEM, Search())[0].play(arena)[0]
    assert refine(arena, 0, plan._replace(seconds=9.0), 5.0) == plan._replace(seconds=9.0)


def test_job_shops_are_not_refined():
    with pytest.raises(ParameterError, match="refine"):
        find_entrants("spt", find_problem("job_shop"), Search("refine"))
