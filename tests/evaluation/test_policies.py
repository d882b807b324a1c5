"""Policies in evaluations: checkpoint folders, greedy, sampled and with rollouts."""

import shutil

import pytest
import torch

from dispatchgym.agents.checkpoints import Checkpoint, PolicyFile, write_checkpoint
from dispatchgym.agents.entrants import Search, find_entrants
from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.problems import find_problem
from dispatchgym.envs.core.errors import CheckpointError, ParameterError
from dispatchgym.models import build_network

BLOCKING = {"mode": "blocking"}


@pytest.fixture
def untrained(tmp_path):
    """A checkpoint of a small network with random weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine are slow
    settings = {"hidden": 16, "layers": 1}
    network = build_network("job_shop", settings)
    options = {"observation": "graph", "allow_wait": "if_event"}
    policy = PolicyFile("job_shop", settings, "dispatchgym/JobShop-v0", options)
    folder = tmp_path / "untrained"
    write_checkpoint(folder, Checkpoint(policy, network.state_dict()))
    return str(folder)


def objectives(result, agent):
    return [row.objective for row in result.rows if row.agent == agent]


def test_a_checkpoint_folder_plays(untrained):
    result = evaluate(["spt", untrained], "random_5x4", 6, options=BLOCKING, progress=False)
    assert len(objectives(result, untrained)) == 6
    assert all(row.valid for row in result.rows)
    alone = evaluate(untrained, "random_5x4", [4], options=BLOCKING, progress=False)
    assert objectives(alone, untrained)[0] == objectives(result, untrained)[4]


def test_best_of_samples_is_never_worse_than_greedy(untrained):
    greedy = evaluate(untrained, "random_5x4", 6, options=BLOCKING, progress=False)
    for samples in (1, 9):
        search = Search("best_of", samples=samples)
        result = evaluate(
            untrained, "random_5x4", 6, options=BLOCKING, search=search, progress=False
        )
        (name,) = {row.agent for row in result.rows}
        assert name == f"{untrained}+best_of_{samples}"
        pairs = list(zip(objectives(result, name), objectives(greedy, untrained), strict=True))
        assert all(found <= first for found, first in pairs)
        assert any(found < first for found, first in pairs) == (samples > 1)
    again = evaluate(untrained, "random_5x4", 6, options=BLOCKING, search=search, progress=False)
    assert objectives(again, name) == objectives(result, name)  # sampling has a fixed seed


def test_a_budget_ends_the_sampling(untrained):
    options = {"options": BLOCKING, "progress": False}
    greedy = objectives(evaluate(untrained, "random_5x4", 3, **options), untrained)
    name = f"{untrained}+best_of_512"
    tight = evaluate(
        untrained, "random_5x4", 3, search=Search("best_of", 512, seconds=1e-6), **options
    )
    assert objectives(tight, name) == greedy  # nothing but the greedy play ends in time
    ample = evaluate(
        untrained, "random_5x4", 3, search=Search("best_of", 512, seconds=0.5), **options
    )
    assert sum(objectives(ample, name)) < sum(greedy)
    assert all(row.seconds < 5.0 for row in ample.rows)


def test_a_budget_without_meaning():
    for seconds in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ParameterError, match=r"search\.seconds"):
            Search("best_of", seconds=seconds)
    with pytest.raises(ParameterError, match=r"search\.seconds.*samples"):
        find_entrants("spt", find_problem("job_shop"), Search("best_of", seconds=1.0))


def test_rollout_makes_a_policy_better(untrained):
    greedy = evaluate(untrained, "random_6x4", 6, options=BLOCKING, progress=False)
    result = evaluate(
        untrained, "random_6x4", 6, options=BLOCKING, search=Search("rollout"), progress=False
    )
    found = objectives(result, f"{untrained}+rollout")
    assert sum(found) < sum(objectives(greedy, untrained))


def test_name_of_a_checkpoint_of_a_run(untrained, tmp_path, monkeypatch):
    run = tmp_path / "runs" / "mine" / "2026-01-01_10-20-30" / "checkpoints"
    run.mkdir(parents=True)
    shutil.move(untrained, run / "best")
    monkeypatch.chdir(tmp_path)
    folder = "runs/mine/2026-01-01_10-20-30/checkpoints/best/"
    (entrant,) = find_entrants(folder, find_problem("job_shop"), Search())
    assert entrant.name == "runs/mine/2026-01-01_10-20-30/best"
    result = evaluate(["spt", folder], "ft06", 1, options=BLOCKING, progress=False)
    assert "..-01_10-20-30/best" in result.table()


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError):
        find_entrants(str(tmp_path), find_problem("job_shop"), Search())


def test_a_name_of_tables_brings_its_own_search(untrained):
    problem = find_problem("job_shop")
    names = ["lrm", "lrm+best_of_3", "spt+rollout", untrained, f"{untrained}+best_of_2"]
    found = find_entrants(names, problem, Search("none", temperature=0.5))
    assert [entrant.name for entrant in found] == names
    assert found[1].search == Search("best_of", 3, 0.5)
    assert find_entrants("lrm+best_of_4", problem, Search("rollout"))[0].name == "lrm+best_of_4"
    with pytest.raises(ParameterError, match=r"search: found 'beam', which env=job_shop"):
        find_entrants("lrm+beam_4", problem, Search())
    with pytest.raises(ParameterError, match=r"agents: 'lrm\+guess' is no rule"):
        find_entrants("lrm+guess", problem, Search())
