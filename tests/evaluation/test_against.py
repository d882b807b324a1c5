"""Whom the agents of an evaluation are compared with."""

import pytest

from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.summary import ALL_INSTANCES
from dispatchgym.envs.core.errors import ParameterError


def test_all_are_compared_with_the_agent_that_was_asked_for():
    result = evaluate(["spt", "mwkr", "lrm"], ["la01", "la02"], 1, against="spt", progress=False)
    lines = {line.agent: line for line in result.summary().lines if line.group == ALL_INSTANCES}
    assert {name: line.versus for name, line in lines.items()} == {
        "spt": None,
        "mwkr": "spt",
        "lrm": "spt",
    }
    mean = {name: line.objective for name, line in lines.items()}
    assert lines["lrm"].difference == pytest.approx(mean["lrm"] / mean["spt"] - 1)
    assert "vs spt" in result.table()


def test_the_rival_must_take_part():
    with pytest.raises(ParameterError, match=r"against: found 'fdd'.*spt, mwkr"):
        evaluate(["spt", "mwkr"], "la01", 1, against="fdd", progress=False)
