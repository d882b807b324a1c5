import itertools

import pytest

from dispatchgym.agents.schedules import learning_rate
from dispatchgym.envs.core.errors import ParameterError


@pytest.mark.parametrize("name", ["linear", "rex"])
def test_a_schedule_falls_from_initial_to_final(name):
    rate = learning_rate(name, 1e-3, 1e-5)
    points = [rate(step / 20) for step in range(21)]
    assert points[0] == pytest.approx(1e-3)
    assert points[-1] == pytest.approx(1e-5)
    assert all(later < earlier for earlier, later in itertools.pairwise(points))


def test_rex_is_the_published_formula_and_stays_above_the_line():
    """arXiv 2107.04197: (1 - z) / (1/2 + 1/2 (1 - z)) with z the share of the budget spent."""
    rex, linear = learning_rate("rex", 1.0, 0.0), learning_rate("linear", 1.0, 0.0)
    assert rex(0.5) == pytest.approx(0.5 / 0.75)
    assert all(rex(x) > linear(x) for x in (0.1, 0.5, 0.9))


def test_constant_does_not_change_and_progress_is_clipped():
    assert learning_rate("constant", 1e-3, 0.0)(0.7) == pytest.approx(1e-3)
    assert learning_rate("linear", 1e-3, 1e-4)(1.5) == pytest.approx(1e-4)
    assert learning_rate("linear", 1e-3, 1e-4)(-1.0) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("name", "initial", "final"),
    [("cosine", 1e-3, 0.0), ("linear", 0.0, 0.0), ("linear", 1e-3, 1e-2), ("rex", 1e-3, -1.0)],
)
def test_schedules_without_meaning_are_refused(name, initial, final):
    with pytest.raises(ParameterError, match="learning_rate"):
        learning_rate(name, initial, final)
