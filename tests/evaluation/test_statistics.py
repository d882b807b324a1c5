"""Paired bootstrap against cases whose answer is known otherwise."""

import math

import numpy as np
import pytest

from dispatchgym.agents.statistics import mean_interval, paired_difference
from dispatchgym.envs.core.errors import ParameterError


def test_constant_ratio_has_an_interval_of_no_width():
    base = np.array([100.0, 250.0, 30.0, 700.0])
    found = paired_difference(0.9 * base, base)
    assert found.value == pytest.approx(-0.1)
    assert found.low == pytest.approx(-0.1)
    assert found.high == pytest.approx(-0.1)
    assert found.units == 4
    assert found.significant


def test_difference_of_means_not_mean_of_ratios():
    found = paired_difference([10.0, 300.0], [20.0, 200.0])
    assert found.value == pytest.approx(310 / 220 - 1)


def test_interval_of_a_mean_agrees_with_the_normal_one():
    rng = np.random.default_rng(1)
    values = rng.normal(50.0, 10.0, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 20.0
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_of_two_units_is_their_range():
    # Half of all resamples of two units draw one of them twice, so both ends are attained.
    assert mean_interval([1.0, 3.0]) == (1.0, 3.0)


def test_coverage_is_near_its_level():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        base = rng.uniform(80.0, 120.0, 40)
        values = base * rng.normal(0.95, 0.1, 40)
        found = paired_difference(values, base, samples=1000, seed=trial)
        hits += found.low <= -0.05 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


def test_pairs_are_kept_together():
    rng = np.random.default_rng(3)
    base = rng.uniform(100.0, 1000.0, 50)  # instances differ by far more than agents do
    values = base - rng.uniform(1.0, 2.0, 50)
    paired = paired_difference(values, base)
    shuffled = paired_difference(rng.permutation(values), base)
    assert paired.significant and paired.high < 0
    assert not shuffled.significant


def test_same_seed_same_interval_and_another_seed_another():
    values, base = np.arange(1.0, 9.0), np.arange(2.0, 10.0)
    assert paired_difference(values, base, seed=4) == paired_difference(values, base, seed=4)
    assert paired_difference(values, base, seed=4) != paired_difference(values, base, seed=5)


def test_one_unit_has_no_interval():
    found = paired_difference([9.0], [10.0])
    assert found.value == pytest.approx(-0.1)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert not found.significant


def test_many_resamples_are_drawn_in_chunks():
    values = np.arange(1.0, 21.0)
    few = mean_interval(values, samples=1000, seed=6)
    many = mean_interval(values, samples=2500, seed=6)
    assert few != many
    assert few[0] == pytest.approx(many[0], abs=0.5)


@pytest.mark.parametrize(
    ("values", "baseline", "words"),
    [
        ([1.0, 2.0], [1.0], "no pairs"),
        ([], [], "non-empty"),
        ([1.0, math.nan], [1.0, 1.0], "finite"),
        ([1.0], [0.0], "baseline"),
    ],
)
def test_what_cannot_be_compared(values, baseline, words):
    with pytest.raises(ParameterError, match=words):
        paired_difference(values, baseline)


@pytest.mark.parametrize(("options", "words"), [({"level": 1.0}, "level"), ({"samples": 0}, "sam")])
def test_options_out_of_range(options, words):
    with pytest.raises(ParameterError, match=words):
        mean_interval([1.0, 2.0], **options)
