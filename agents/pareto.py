"""Sets of points with several costs: dominance, hypervolume, utility, spread.

Costs are minimised; turn the sign of what is better when larger. A point dominates another where
no cost is higher and one is lower. Hypervolume, sparsity and the expected utility are those of
the multi-objective literature (Zitzler and Thiele 1998; Xu et al., "Prediction-guided
multi-objective reinforcement learning", 2020; Zintgraf et al. 2015), for two costs in closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dispatchgym.envs.core.errors import ParameterError

__all__ = [
    "clip",
    "expected_utility",
    "hypervolume",
    "hypervolume_slopes",
    "non_dominated",
    "normalise",
    "sparsity",
]

FloatArray = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Return which of the points no other one dominates.

    Args:
        points: (n, K) costs, finite.

    Returns:
        bool (n,); of equal points all are kept.
    """
    costs = _points(points)
    # The cheapest first: a point can only be dominated by one that comes before it.
    order = np.lexsort(costs.T[::-1])
    kept = np.zeros(len(costs), np.bool_)
    front = np.empty((0, costs.shape[1]))
    for index in order:
        point = costs[index]
        lower = (front <= point).all(axis=1) & (front < point).any(axis=1)
        if not lower.any():
            kept[index] = True
            front = np.vstack([front, point])
    return kept


def normalise(points: ArrayLike, ideal: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Return costs (..., K) on the scale where `ideal` (K,) is 0 and `reference` (K,) is 1.

    Raises:
        ParameterError: the ideal is not below the reference in every cost.
    """
    low, high = np.asarray(ideal, np.float64), np.asarray(reference, np.float64)
    if low.shape != high.shape or not (low < high).all():
        raise ParameterError(f"reference: found {high}, expected every cost above the ideal {low}")
    return (np.asarray(points, np.float64) - low) / (high - low)


def clip(points: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Return the non-dominated points (n, K) inside the box below the reference (K,).

    They are sorted by the first cost.
    """
    costs = _points(points)
    inside = costs[(costs < np.asarray(reference)).all(axis=1)]
    front = np.unique(inside[non_dominated(inside)], axis=0) if len(inside) else inside
    return front


def hypervolume(points: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Return the area that sets of points dominate below a reference.

    Args:
        points: (..., n, 2) costs; several sets are measured at once.
        reference: (2,): what is not below it in both costs contributes nothing.

    Returns:
        (...,) areas.

    Raises:
        ParameterError: there are not two costs.
    """
    costs, corner = np.asarray(points, np.float64), np.asarray(reference, np.float64)
    if costs.ndim < 2 or costs.shape[-1] != 2 or corner.shape != (2,):
        raise ParameterError(
            f"hypervolume: found points of shape {costs.shape} and a reference of shape "
            f"{corner.shape}, expected (..., n, 2) and (2,)"
        )
    outside = ~(costs < corner).all(axis=-1, keepdims=True)
    costs = np.where(outside, corner, costs)
    # Sweep along the first cost: up to the next point, the least second cost so far counts.
    order = np.argsort(costs[..., 0], axis=-1)
    first = np.take_along_axis(costs[..., 0], order, axis=-1)
    second = np.minimum.accumulate(np.take_along_axis(costs[..., 1], order, axis=-1), axis=-1)
    ends = np.concatenate([first[..., 1:], np.broadcast_to(corner[0], first[..., :1].shape)], -1)
    return ((ends - first) * (corner[1] - second)).sum(axis=-1)


def hypervolume_slopes(points: ArrayLike, reference: ArrayLike) -> FloatArray:
    """Return (n, 2) what the hypervolume gains for each unit that a cost of a point (n, 2) grows.

    It is never positive, and zero for points that are dominated or outside of the reference (2,).
    """
    costs, corner = _points(points), np.asarray(reference, np.float64)
    slopes = np.zeros_like(costs)
    front = np.flatnonzero(non_dominated(costs) & (costs < corner).all(axis=1))
    front = front[np.argsort(costs[front, 0], kind="stable")]
    first = np.append(costs[front, 0], corner[0])
    second = np.append(corner[1], costs[front, 1])
    slopes[front, 0] = np.diff(second)
    slopes[front, 1] = -np.diff(first)
    return slopes


def expected_utility(points: ArrayLike, preferences: ArrayLike) -> float:
    """Return the mean over preferences of the least weighted cost on a front.

    Args:
        points: (n, K) costs, normalised so that weights mean the same for each.
        preferences: (P, K) weights.
    """
    weighted = np.asarray(preferences, np.float64) @ _points(points).T
    return float(weighted.min(axis=1).mean())


def sparsity(front: ArrayLike) -> float:
    """Return the mean squared distance of neighbours on a front (n, K), summed over the costs.

    It is 0 with fewer than two points.
    """
    costs = np.sort(_points(front), axis=0)
    if len(costs) < 2:
        return 0.0
    return float((np.diff(costs, axis=0) ** 2).sum() / (len(costs) - 1))


def _points(points: ArrayLike) -> FloatArray:
    costs = np.asarray(points, np.float64)
    if costs.ndim != 2 or not np.isfinite(costs).all():
        raise ParameterError(
            f"points: found shape {costs.shape}, expected a table (n, K) of finite costs"
        )
    return costs
