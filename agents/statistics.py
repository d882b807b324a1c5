"""Paired comparisons with bootstrap intervals.

Two agents that met the same instances and the same disturbances are compared pair by pair, so
that the luck of the draw cancels. The interval is the percentile bootstrap of Efron and
Tibshirani ("An Introduction to the Bootstrap", 1993, chapter 13): the units of comparison,
normally the instances, are drawn again with replacement and the statistic is computed anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dispatchgym.envs.core.errors import ParameterError

__all__ = ["Difference", "ends", "mean_interval", "paired_difference", "resampled_means"]

_CHUNK = 1000
"""Resamples drawn at a time: bounds the memory for thousands of units."""


class Difference(NamedTuple):
    """A relative difference and its bootstrap interval.

    Attributes:
        value: mean of the one over mean of the other, minus 1 (-0.05 = 5 % lower).
        low: lower end of the interval, nan with fewer than two units.
        high: upper end of the interval, nan with fewer than two units.
        units: number of units that were compared.
    """

    value: float
    low: float
    high: float
    units: int

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    values: ArrayLike,
    baseline: ArrayLike,
    *,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two agents on the same units.

    Args:
        values: one number per unit (n,), for example mean makespan per instance.
        baseline: the other agent's numbers for the same units (n,), with a positive sum.
        level: coverage of the interval, in (0, 1).
        samples: number of resamples, at least 1.
        seed: seed of the resampling; the same seed gives the same interval.

    Returns:
        The difference of means as a fraction of the baseline's mean, with its interval. The
        same units are drawn for both agents in each resample, which keeps the pairs together.

    Raises:
        ParameterError: shapes differ, a number is not finite, there is no unit, or level or
            samples is out of range.
    """
    a, b = _vector("values", values), _vector("baseline", baseline)
    if a.shape != b.shape:
        raise ParameterError(f"paired_difference: {a.size} values against {b.size}: no pairs")
    if not b.sum() > 0:
        raise ParameterError(f"paired_difference: baseline sums to {b.sum()}, expected above zero")
    draws = _resampled_sums(np.stack([a, b]), level, samples, seed)
    low, high = ends(draws[:, 0] / draws[:, 1] - 1.0, a.size, level)
    return Difference(float(a.sum() / b.sum() - 1.0), low, high, a.size)


def mean_interval(
    values: ArrayLike, *, level: float = 0.95, samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of `values` (n,); nan with fewer than two.

    Raises:
        ParameterError: a number is not finite, there is none, or level or samples is out of
            range.
    """
    a = _vector("values", values)
    draws = _resampled_sums(a[None], level, samples, seed)
    return ends(draws[:, 0] / a.size, a.size, level)


def resampled_means(
    values: NDArray[np.float64], *, samples: int = 10_000, seed: int = 0
) -> NDArray[np.float64]:
    """Return means over resampled units, for statistics of several means at once.

    Args:
        values: (n, ...) numbers of n units, finite.
        samples: number of resamples, at least 1.
        seed: the same seed draws the same units, so that what is compared stays paired.

    Returns:
        (samples, ...) means.

    Raises:
        ParameterError: there is no unit, or samples is out of range.
    """
    if not len(values):
        raise ParameterError("values: found no unit, expected at least one")
    table = values.reshape(len(values), -1)
    sums = _resampled_sums(table.T, 0.95, samples, seed)
    return (sums / len(values)).reshape(samples, *values.shape[1:])


def _vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ParameterError(f"{name}: expected a non-empty list of finite numbers")
    return array


def _resampled_sums(
    series: NDArray[np.float64], level: float, samples: int, seed: int
) -> NDArray[np.float64]:
    """Return (samples, rows) sums of each row of `series` (rows, n) over resampled units."""
    if not 0 < level < 1:
        raise ParameterError(f"level: found {level}, expected a number between 0 and 1")
    if samples < 1:
        raise ParameterError(f"samples: found {samples}, expected at least 1")
    rng = np.random.default_rng(seed)
    size = series.shape[1]
    sums = np.empty((samples, series.shape[0]))
    for start in range(0, samples, _CHUNK):
        count = min(_CHUNK, samples - start)
        drawn = rng.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
        # How often each unit was drawn: one matrix product then serves every row.
        weights = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
        sums[start : start + count] = weights @ series.T
    return sums


def ends(statistics: NDArray[np.float64], units: int, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the interval of resampled statistics; nan with fewer than two units."""
    if units < 2:
        return float("nan"), float("nan")
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(statistics, [tail, 1.0 - tail])
    return float(low), float(high)
