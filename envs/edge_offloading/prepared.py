"""Instances that are made in Python and laid ready for the kernel, the next of each lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.instance import Instance

__all__ = ["PreparedInstances", "lay"]


def lay(instance: Any, rows: Iterable[npt.NDArray[Any]], row: int) -> None:
    """Copy the arrays of an instance into a row of those that lie ready."""
    for target, source in zip(rows, instance.rows, strict=True):
        target[row] = 0
        place: tuple[Any, ...] = (row, *(slice(size) for size in source.shape))
        target[place] = source


class PreparedInstances:
    """The instances that lanes play and those that they play next.

    Args:
        generator: source of the instances, with limits that none exceeds.
        rows: the arrays that lie ready, the lane first.
        lanes: number of lanes.
        next_seed: returns the seed of the episode after the one that runs in a lane.
    """

    def __init__(
        self,
        generator: Any,
        rows: Iterable[npt.NDArray[Any]],
        lanes: int,
        next_seed: Callable[[int], int],
    ) -> None:
        self._generator, self._rows, self._next_seed = generator, tuple(rows), next_seed
        self._current: list[Instance | None] = [None] * lanes
        self._next: list[Instance | None] = [None] * lanes

    def prepare(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Lay ready the instances of lanes that get a seed of their own."""
        for lane in np.flatnonzero(chosen & (seeds >= 0)):
            self._lay_ready(int(lane), int(seeds[lane]))

    def take(self, begun: npt.NDArray[np.bool_]) -> None:
        """Note which instances are now being played and lay the following ones ready."""
        for lane in np.flatnonzero(begun):
            self._current[lane] = self._next[lane]
            self._lay_ready(int(lane), self._next_seed(int(lane)))

    def current(self, lane: int) -> Any:
        """Return the instance that is being played in a lane."""
        instance = self._current[lane]
        if instance is None:
            raise ParameterError("instance: no episode has begun, call reset() first")
        return instance

    def copy_lane(self, source: int, target: int) -> None:
        """Copy which instances a lane has."""
        self._current[target], self._next[target] = self._current[source], self._next[source]

    def _lay_ready(self, lane: int, seed: int) -> None:
        instance = self._generator.generate(seed)
        limits = self._generator.limits
        if any(size > most for size, most in zip(instance.limits, limits, strict=True)):
            raise ParameterError(f"generator: made {instance.limits}, its limits are {limits}")
        self._next[lane] = instance
        lay(instance, self._rows, lane)
