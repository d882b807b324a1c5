"""Fronts: hypervolume, dominance and the rest against other implementations and by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dispatchgym.agents.pareto import (
    clip,
    expected_utility,
    hypervolume,
    hypervolume_slopes,
    non_dominated,
    normalise,
    sparsity,
)
from dispatchgym.envs.core.errors import ParameterError

COSTS = arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.just(2)),
    elements=st.integers(0, 12).map(lambda i: i / 10),  # many ties, some outside the box
)


def area_of_cells(costs, reference):
    """The dominated area, cell by cell of the grid that all coordinates span."""
    inside = [cost for cost in costs if (cost < reference).all()]
    x, y = (sorted({*(cost[k] for cost in inside), reference[k]}) for k in range(2))
    area = 0.0
    for left, right in pairwise(x):
        for low, high in pairwise(y):
            if any(cost[0] <= left and cost[1] <= low for cost in inside):
                area += (right - left) * (high - low)
    return area


def dominates(one, other):
    return bool((one <= other).all() and (one < other).any())


def test_hypervolume_by_hand():
    assert hypervolume([[0.5, 0.5]], (1, 1)) == pytest.approx(0.25)
    assert hypervolume([[0.2, 0.8], [0.8, 0.2]], (1, 1)) == pytest.approx(0.16 + 0.16 - 0.04)
    assert hypervolume([[0.2, 0.8], [0.3, 0.9], [0.2, 0.8]], (1, 1)) == pytest.approx(0.16)
    assert hypervolume([[0.5, 1.0], [2.0, -5.0]], (1, 1)) == 0
    assert hypervolume(np.empty((0, 2)), (1, 1)) == 0


@given(COSTS)
@settings(max_examples=200, deadline=None)
def test_hypervolume_and_dominance_by_definition(costs):
    reference = np.array([1.0, 1.0])
    expected = area_of_cells(costs, reference)
    assert hypervolume(costs, reference) == pytest.approx(expected, abs=1e-12)
    kept = [not any(dominates(other, one) for other in costs) for one in costs]
    np.testing.assert_array_equal(non_dominated(costs), kept)


@given(COSTS)
@settings(max_examples=100, deadline=None)
def test_the_clipped_front_has_the_whole_hypervolume(costs):
    front = clip(costs, (1.0, 1.0))
    assert hypervolume(front, (1.0, 1.0)) == pytest.approx(float(hypervolume(costs, (1.0, 1.0))))
    assert (front < 1.0).all()
    assert non_dominated(front).all()
    assert (np.diff(front[:, 0]) > 0).all()
    assert (np.diff(front[:, 1]) < 0).all()


def test_many_sets_at_once():
    sets = np.random.default_rng(0).random((5, 7, 9, 2))
    found = hypervolume(sets, (0.9, 0.8))
    assert found.shape == (5, 7)
    for i in range(5):
        for j in range(7):
            expected = area_of_cells(sets[i, j], np.array([0.9, 0.8]))
            assert found[i, j] == pytest.approx(expected, abs=1e-12)


def test_dominance_of_three_costs():
    costs = np.random.default_rng(1).integers(0, 5, size=(60, 3)) / 4.0
    expected = [not any(dominates(other, one) for other in costs) for one in costs]
    np.testing.assert_array_equal(non_dominated(costs), expected)


def test_normalise():
    found = normalise([[10.0, 5.0], [20.0, 1.0]], (10.0, 1.0), (20.0, 5.0))
    assert found.tolist() == [[0, 1], [1, 0]]
    assert normalise([[-30.0]], (-40.0,), (0.0,)).tolist() == [[0.25]]
    with pytest.raises(ParameterError, match="every cost above the ideal"):
        normalise([[1.0, 1.0]], (0.0, 2.0), (1.0, 2.0))


def test_expected_utility_is_the_mean_of_the_best():
    points = [[0.0, 1.0], [1.0, 0.0], [0.4, 0.4]]
    weights = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    assert expected_utility(points, weights) == pytest.approx((0 + 0.4 + 0) / 3)


def test_sparsity_as_defined():
    front = np.array([[0.0, 1.0], [0.25, 0.5], [1.0, 0.0]])
    expected = (0.25**2 + 0.75**2 + 0.5**2 + 0.5**2) / 2
    assert sparsity(front) == pytest.approx(expected)
    assert sparsity(front[[2, 0, 1]]) == pytest.approx(expected)
    assert sparsity(front[:1]) == 0


def test_what_is_no_table_of_costs_is_refused():
    with pytest.raises(ParameterError, match="hypervolume: found points of shape"):
        hypervolume(np.zeros((3, 3)), (1, 1))
    with pytest.raises(ParameterError, match="finite costs"):
        non_dominated([[np.nan, 1.0]])


@pytest.mark.parametrize("seed", range(5))
def test_slopes_tell_what_the_hypervolume_gains(seed):
    points = np.random.default_rng(seed).random((9, 2)) * 1.2
    whole, slopes = hypervolume(points, (1.0, 1.0)), hypervolume_slopes(points, (1.0, 1.0))
    assert (slopes < 0).any(axis=1).sum() == len(clip(points, (1.0, 1.0)))
    for place in np.ndindex(points.shape):
        moved = points.copy()
        moved[place] += 1e-7
        gain = (hypervolume(moved, (1.0, 1.0)) - whole) / 1e-7
        assert slopes[place] == pytest.approx(gain, abs=1e-6)


def test_no_point_in_the_box_has_no_slopes():
    assert (hypervolume_slopes([[1.0, 0.2], [2.0, 2.0]], (1.0, 1.0)) == 0).all()
