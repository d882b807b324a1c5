"""The observation that all families of tasks share: its buffers, spaces and columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from numba import njit

__all__ = [
    "CONTEXT_COLUMNS",
    "SERVER_COLUMNS",
    "TASK_COLUMNS",
    "Observation",
    "copy_observation",
    "empty_observation",
    "observation_space",
]

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""

OBJECTIVES = 2

# Columns of Observation.servers.
EXISTS, FREQUENCY, EDGES, TASK_BITS, OPEN, RATE, COMPUTING = range(7)
HISTOGRAM, BINS = 7, 60
(UPLOADING, BACKLOG, UNTIL_FREE, OWN_DELAY, EXTRA_DELAY, ENERGY, COST, SLACK,
 DATA_SHARE) = range(67, 76)  # fmt: skip
SERVER_COLUMNS = 76

# Columns of Observation.task.
(BITS, WORK, TYPE, BENEFIT, TIME_LEFT, WAITING, WAITING_BITS, TIME_IN_QUEUE, EPISODE_LEFT,
 IN_DEGREE, OUT_DEGREE, UPWARD_RANK, APP_TASKS_LEFT, APP_AGE, PREFERRED,
 PRESENT) = range(16)  # fmt: skip
TASK_COLUMNS = 16

# Columns of Observation.context.
(NUM_EDGES, MEAN_EDGE_GHZ, CLOUD_GHZ, ARRIVAL_RATE, MEAN_SIZE, SLOT_SECONDS, EVENT_MODE,
 SCENARIO) = range(8)  # fmt: skip
CONTEXT_COLUMNS = 8

# Numbers of the scenarios in Observation.context.
GMORL, GMORL_RADIO, GMORL_HARD, DEMS, DAG_ONLINE = range(5)

MEGABIT = 1e6
GIGAHERTZ = 1e9

_NUMBER_LIMIT = float(np.finfo(np.float32).max)


class Observation(NamedTuple):
    """Observation buffers, lane first; the columns are described in `EdgeOffloadingEnv`.

    Attributes:
        servers: float32 (B, S, SERVER_COLUMNS).
        task: float32 (B, TASK_COLUMNS).
        preference: float32 (B, OBJECTIVES).
        context: float32 (B, CONTEXT_COLUMNS).
        action_mask: int8 (B, S + 2): the servers, drop, hold.
    """

    servers: npt.NDArray[np.float32]
    task: npt.NDArray[np.float32]
    preference: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    action_mask: npt.NDArray[np.int8]


def observation_space(servers: int) -> spaces.Dict:
    """Return the space of one lane that shows `servers` servers, absent ones included."""
    boxes: dict[str, spaces.Space[Any]] = {
        "servers": _numbers((servers, SERVER_COLUMNS)),
        "task": _numbers((TASK_COLUMNS,)),
        "preference": spaces.Box(0, 1, (OBJECTIVES,), np.float32),
        "context": _numbers((CONTEXT_COLUMNS,)),
        "action_mask": spaces.Box(0, 1, (servers + 2,), np.int8),
    }
    return spaces.Dict(boxes)


def empty_observation(lanes: int, servers: int) -> Observation:
    """Return buffers of zeros."""
    return Observation(
        np.zeros((lanes, servers, SERVER_COLUMNS), np.float32),
        np.zeros((lanes, TASK_COLUMNS), np.float32),
        np.zeros((lanes, OBJECTIVES), np.float32),
        np.zeros((lanes, CONTEXT_COLUMNS), np.float32),
        np.zeros((lanes, servers + 2), np.int8),
    )


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


@compiled
def copy_row(source, source_lane, target, target_lane):  # type: ignore[no-untyped-def]
    """Copy the row of a lane; an assignment of slices would first copy its source elsewhere."""
    read = source[source_lane].reshape(source[source_lane].size)
    write = target[target_lane].reshape(target[target_lane].size)
    for i in range(read.size):
        write[i] = read[i]


@compiled
def copy_observation(source, target, lane):  # type: ignore[no-untyped-def]
    """Copy the observation of a lane."""
    copy_row(source.servers, lane, target.servers, lane)
    copy_row(source.task, lane, target.task, lane)
    copy_row(source.preference, lane, target.preference, lane)
    copy_row(source.context, lane, target.context, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)
