"""How many threads compute."""

from __future__ import annotations

import numba
import torch

__all__ = ["use_threads"]


def use_threads(count: int) -> None:
    """Let torch and the environments' kernels compute with so many threads; 0 leaves the choice.

    Both share one OpenMP runtime: a batch that steps with numba's number of threads would set
    torch's to the same.
    """
    if count:
        torch.set_num_threads(count)
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
