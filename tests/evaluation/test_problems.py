"""What every problem tells the evaluation, and scores of both senses."""

import math

import pytest

from dispatchgym.agents.problems import PROBLEMS, find_problem, problem_of
from dispatchgym.agents.problems.base import Measure
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.registry import ENVIRONMENTS

LESS, MORE = Measure("cost", 4), Measure("profit", more_is_better=True)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_found_by_name_and_by_environment(name):
    problem = find_problem(name)
    assert problem.name == name
    assert problem.env_id.partition(":")[2] in ENVIRONMENTS
    assert problem_of(problem.env_id) is problem
    assert problem_of(problem.env_id.partition(":")[2]) is problem
    assert problem.kernel_rule in problem.rules()
    assert issubclass(
        type(problem.module.make_instance(problem.smallest, 0)), problem.instance_type
    )


def test_there_is_no_such_problem():
    with pytest.raises(ParameterError, match="job_shop, vm_rescheduling"):
        find_problem("flow_shop")
    with pytest.raises(ParameterError, match="CartPole"):
        problem_of("CartPole-v1")


def test_gaps_count_from_the_reference_towards_worse():
    assert LESS.gap(120.0, 100.0) == pytest.approx(0.2)
    assert MORE.gap(80.0, 100.0) == pytest.approx(0.2)
    assert LESS.gap(100.0, 100.0) == MORE.gap(100.0, 100.0) == 0.0
    assert math.isnan(LESS.gap(math.nan, 100.0))


def test_nothing_is_a_share_of_a_reference_of_zero():
    assert LESS.gap(0.0, 0.0) == 0.0
    assert math.isnan(LESS.gap(0.1, 0.0))


def test_what_is_beyond_a_bound():
    assert LESS.beyond(99.0, 100.0) and not LESS.beyond(101.0, 100.0)
    assert MORE.beyond(101.0, 100.0) and not MORE.beyond(99.0, 100.0)
    assert not LESS.beyond(0.3, 0.1 + 0.2) and not MORE.beyond(0.1 + 0.2, 0.3)  # rounding
    assert LESS.beyond(0.2999, 0.3)
    assert not LESS.beyond(5.0, math.nan) and not MORE.beyond(5.0, math.nan)


def test_scores_as_text():
    assert [Measure("makespan").text(x) for x in (7.25, 99.96, 1234.5)] == ["7.2", "100.0", "1234"]
    assert LESS.text(0.28926) == "0.2893"
    assert LESS.text(math.nan) == "-"
    assert [LESS.score_text(x) for x in (12.0, 0.28926)] == ["12", "0.2893"]
    assert MORE.text(-1234.5) == "-1234"
