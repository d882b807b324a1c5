"""Inference tasks of drone fleets: the models, the loads, and the columns of the kernel's tables.

The numbers are those of the Lambda deployment of GitHub ``dream-lab/ocularone-scheduler``
(Apache-2.0, ``Application.java``), which goes with "Adaptive Heuristics for Scheduling DNN
Inferencing on Edge and Cloud for Personalized UAV Fleets", arXiv 2412.20860.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LOADS", "LOAD_MODELS", "LOAD_MONEYS", "LOAD_TIMES", "PROFILES", "Profile"]


class Profile(NamedTuple):
    """What a neural network gives and takes.

    Attributes:
        benefit: utility of a result in time.
        edge_cost, cloud_cost: what a run costs, in time or not.
        edge_ms, cloud_ms: expected time of a run; on the cloud from end to end.
        bonus: for a window in which enough results were in time.
    """

    benefit: float
    edge_cost: float
    cloud_cost: float
    edge_ms: int
    cloud_ms: int
    bonus: float


PROFILES: dict[str, Profile] = {
    "hazard_vest": Profile(125, 1, 25, 174, 398, 100),
    "vip_distance": Profile(100, 1, 26, 172, 429, 120),
    "mask": Profile(75, 1, 15, 142, 589, 130),
    "crowd_density": Profile(175, 4, 152, 563, 878, 140),
    "body_pose": Profile(40, 2, 43, 244, 542, 150),
    "object_distance": Profile(250, 6, 210, 739, 832, 160),
}
"""The neural networks (HV, DEV, MD, CD, BP and DEO of the source)."""

LOADS: dict[str, dict[str, int]] = {
    "light": {"hazard_vest": 650, "mask": 750},
    "medium": {"hazard_vest": 650, "vip_distance": 750, "mask": 850, "body_pose": 900},
    "heavy": {
        "hazard_vest": 650,
        "vip_distance": 750,
        "mask": 850,
        "crowd_density": 1000,
        "body_pose": 900,
        "object_distance": 950,
    },
}
"""Which networks each video segment is given to, and in how many milliseconds at most."""

SEGMENT_MS = 1000
"""Each drone sends a segment of video so often."""
RUN_MS = 300_000
"""Length of a run; the source does not say (our choice)."""
CLOUD_SLOTS = 32
"""Runs on the cloud at a time."""
WINDOW_MS = 20_000
REQUIRED_RATE = 0.9
"""A bonus takes so many results in time, as a fraction of the tasks that ended in a window."""

MAX_MODELS = 6

# Columns of the times of a model, in milliseconds, and what kind of network it is.
EDGE_TIME, CLOUD_TIME, DEADLINE, KIND = range(4)
NUM_TIMES = 4

# Columns of the money of a model.
BENEFIT, EDGE_COST, CLOUD_COST, REQUIRED, BONUS = range(5)
NUM_MONEYS = 5

# The numbers of an instance.
(MODELS, TASKS, HORIZON, WINDOW, SLOTS, DRONES, SURGE_START, SURGE_RAMP, SURGE_LENGTH,
 SURGE_HEIGHT) = range(10)  # fmt: skip
NUM_NUMBERS = 10


def _tables() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    times = np.zeros((len(LOADS), MAX_MODELS, NUM_TIMES), np.int64)
    moneys = np.zeros((len(LOADS), MAX_MODELS, NUM_MONEYS))
    kinds = list(PROFILES)
    for row, load in enumerate(LOADS.values()):
        for m, (name, deadline) in enumerate(load.items()):
            profile = PROFILES[name]
            times[row, m] = profile.edge_ms, profile.cloud_ms, deadline, kinds.index(name)
            moneys[row, m, [BENEFIT, EDGE_COST, CLOUD_COST]] = profile[:3]
            moneys[row, m, [REQUIRED, BONUS]] = REQUIRED_RATE, profile.bonus
    return times, moneys


LOAD_TIMES, LOAD_MONEYS = _tables()
"""(loads, MAX_MODELS, columns) the models of each load."""
LOAD_MODELS = np.array([len(load) for load in LOADS.values()])
"""(loads,) how many models a load has."""
