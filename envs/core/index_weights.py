"""Weights of index policies: small networks that kernels play with.

An index policy gives every candidate of a decision a number from its features: a linear function,
plus that of a small layer of rectified units. Many weights are tried side by side when they are
bred (`dispatchgym.agents.evolution`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Weights", "num_weights", "split"]

FloatArray = npt.NDArray[np.float64]


class Weights(NamedTuple):
    """Weights of C policies with F features and H rectified units.

    Attributes:
        direct: float64 (C, F). hidden: float64 (C, H, F), or as a kernel wants them.
        bias, out: float64 (C, H).
    """

    direct: FloatArray
    hidden: FloatArray
    bias: FloatArray
    out: FloatArray


def num_weights(features: int, hidden: int) -> int:
    """Return the number of weights: direct (F), hidden (hidden, F), bias and output (hidden)."""
    return features + hidden * (features + 2)


def split(vectors: FloatArray, features: int) -> Weights:
    """Return policies (C, W), each in the order of `num_weights`, as kernels read them."""
    count, hidden = len(vectors), (vectors.shape[1] - features) // (features + 2)
    bias = features * (hidden + 1)
    return Weights(
        np.ascontiguousarray(vectors[:, :features]),
        np.ascontiguousarray(vectors[:, features:bias]).reshape(count, hidden, features),
        np.ascontiguousarray(vectors[:, bias : bias + hidden]),
        np.ascontiguousarray(vectors[:, bias + hidden :]),
    )
