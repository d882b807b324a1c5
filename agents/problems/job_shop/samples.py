"""Job shops that a network learns from by its own plays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.job_shop.decoding import DecoderShops, Plays
from dispatchgym.envs.job_shop.env import JobShopSimulation

__all__ = ["SampledShops"]


class SampledShops:
    """A batch of shops of one scenario, played many times by an encoder and its decoder.

    Args:
        count: number of shops, at least 1.
        **options: of the environment, scenario and mode among them.

    Raises:
        ParameterError: no shop is asked for, or an option is wrong.
    """

    def __init__(self, count: int, **options: Any) -> None:
        if count < 1:
            raise ParameterError(f"agent.instances: found {count}, expected at least 1")
        self._simulation = JobShopSimulation(num_lanes=count, **options | {"observation": "jobs"})
        self._shops = DecoderShops(self._simulation)

    def draw(self, rng: np.random.Generator) -> None:
        """Take other shops, never those of evaluations: their seeds are 2^62 or more."""
        count = self._simulation.num_lanes
        seeds = rng.integers(1 << 62, (1 << 63) - 1, count)
        self._simulation.restart(np.ones(count, np.bool_), seeds)

    def sample(self, network: Any, samples: int, temperature: float) -> Plays:
        """Play every shop several times, under the same shutdowns each time."""
        self._vectors = network.encode(*network.tensors_of(self._shops))
        self._decoder = network.decoder(self._vectors)
        self._plays = self._shops.sample(self._decoder, samples, temperature)
        return self._plays

    def ascend(self, network: Any, weights: NDArray[np.float64]) -> float:
        """Add the gradient of minus the weighted log-likelihood, the mean over the shops."""
        weights = weights / len(weights)
        slope, likelihood = self._shops.gradient(self._decoder, self._plays, weights)
        network.ascend(self._vectors, slope)
        return likelihood * len(weights)
