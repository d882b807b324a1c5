"""The observation of the published networks."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv
from dispatchgym.envs.edge_offloading.instance import OffloadInstance

__all__ = ["GMORL_ROWS", "GmorlObs"]

GMORL_ROWS = 67
"""What is shown of a server: the first columns of our observation."""
_ABSENT = -1.0


class GmorlObs(gym.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """Shows independent tasks as the code of GMORL does (arXiv 2509.10474, equations 18 to 20).

    | key | shape | content |
    | --- | --- | --- |
    | `servers` | (67, S) float32 | a column for each server, -1 where there is none: 1, GHz, E, Mbit of the task, 1 until the end, uplink in 100 Mbit/s, tasks computing, and how many of them have i to i + 1 Mbit left |
    | `preference` | (2,) float32 | weights of the objectives |
    | `frequency` | (S,) float32 | GHz, 0 where there is no server |
    | `mask1` | (S, S) int8 | outer product of `mask2` with itself |
    | `mask2` | (S,) int8 | 1: the server exists |
    | `action_mask` | (S + 2,) int8 | as before |

    Args:
        env: `EdgeOffloading-v0` with independent tasks, wrapped or not.

    Raises:
        ParameterError: it is another environment, or has other tasks.
    """  # noqa: E501

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, EdgeOffloadingEnv):
            raise ParameterError(f"GmorlObs: found {inner}, expected EdgeOffloading-v0")
        if inner.simulation.family != OffloadInstance.family:
            raise ParameterError("GmorlObs: expected a scenario of independent tasks, as gmorl")
        boxes = inner.simulation.observation_space
        servers, limit = len(inner.simulation.observations["servers"][0]), np.finfo(np.float32).max
        self.observation_space = spaces.Dict(
            {
                "servers": spaces.Box(_ABSENT, limit, (GMORL_ROWS, servers), np.float32),
                "preference": boxes["preference"],
                "frequency": spaces.Box(0.0, limit, (servers,), np.float32),
                "mask1": spaces.Box(0, 1, (servers, servers), np.int8),
                "mask2": spaces.Box(0, 1, (servers,), np.int8),
                "action_mask": boxes["action_mask"],
            }
        )

    def observation(self, observation: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """Return the published view of an observation."""
        rows = observation["servers"]
        exists = rows[:, 0].astype(np.int8)
        shown = np.where(exists[:, None] == 1, rows[:, :GMORL_ROWS], np.float32(_ABSENT))
        return {
            "servers": np.ascontiguousarray(shown.T),
            "preference": observation["preference"],
            "frequency": rows[:, 1].copy(),
            "mask1": np.outer(exists, exists),
            "mask2": exists,
            "action_mask": observation["action_mask"],
        }
