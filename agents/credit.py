"""Which decision earned it: advantages of single decisions, without a critic.

Many plays of one instance tell by themselves how their cost depends on how a play stands: it is
regressed on some numbers of progress, apart for each stretch of the work. What a decision changed
in this prediction, and those after it in part, is its advantage (Schulman et al., "High-dimensional
continuous control using generalized advantage estimation", ICLR 2016, arXiv 1506.02438, with the
regression in the place of the value network and no discount).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["advantages"]

FloatArray = NDArray[np.float64]

STRETCHES = 24
"""Parts of the work that have a regression each."""
RIDGE = 1e-2
"""Pull of the slopes towards 0, in rows of unit spread for each row."""


def advantages(
    costs: FloatArray, lengths: NDArray[np.int64], progress: NDArray[np.float32], trace: float
) -> FloatArray:
    """Return how much less each decision of each play of one instance made it cost.

    Args:
        costs: float64 (S,), finite.
        lengths: int64 (S,), number of decisions, at least 1.
        progress: float32 (S, T, F), how a play stands before a decision; the first number is the
            share of the work begun, 0 to 1. Rows from the length on are not looked at.
        trace: share of the credit that goes on to the decision before, lambda, 0 to 1.

    Returns:
        float64 (S, T), 0 from the length on.
    """
    present = np.arange(progress.shape[1]) < lengths[:, None]
    value = np.zeros(present.shape)
    value[present] = predict(np.repeat(costs, lengths), progress[present].astype(np.float64))
    rows = np.arange(len(costs))
    after = np.concatenate([value[:, 1:], np.zeros((len(costs), 1))], axis=1)
    after[rows, lengths - 1] = costs
    gained = np.where(present, value - after, 0.0)
    for t in range(gained.shape[1] - 2, -1, -1):
        gained[:, t] += trace * gained[:, t + 1]
    return gained


def predict(costs: FloatArray, progress: FloatArray) -> FloatArray:
    """Return (N,) what the rows (N, F) of a stretch of the work tell of the costs (N,)."""
    stretch = np.clip((progress[:, 0] * STRETCHES).astype(np.int64), 0, STRETCHES - 1)
    count = np.maximum(np.bincount(stretch, minlength=STRETCHES), 1)

    def mean(values: FloatArray) -> FloatArray:
        return np.bincount(stretch, values, STRETCHES) / count

    def centred(values: FloatArray) -> FloatArray:
        return values - mean(values)[stretch]

    columns = [centred(column) for column in progress.T]
    columns = [column / max(float(column.std()), 1e-9) for column in columns]
    moments = np.stack([[mean(a * b) for b in columns] for a in columns]).transpose(2, 0, 1)
    target = centred(costs)
    found = np.stack([mean(column * target) for column in columns], axis=1)
    slopes = np.linalg.solve(moments + RIDGE * np.eye(len(columns)), found[:, :, None])[:, :, 0]
    fitted = sum(column * slopes[stretch, i] for i, column in enumerate(columns))
    return mean(costs)[stretch] + fitted
