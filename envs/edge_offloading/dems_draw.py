"""How a run of a drone fleet is drawn: compiled, from keyed random numbers.

Everything drawn is a pure function of the seed, so that a run can be made inside the kernel as
well as by `make_instance`, always the same.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.rng import mix, uniform
from dispatchgym.envs.edge_offloading.dems_tables import (
    CLOUD_SLOTS,
    CLOUD_TIME,
    DRONES,
    HORIZON,
    LOAD_MODELS,
    LOAD_MONEYS,
    LOAD_TIMES,
    MAX_MODELS,
    MODELS,
    NUM_MONEYS,
    NUM_NUMBERS,
    NUM_TIMES,
    SEGMENT_MS,
    SLOTS,
    SURGE_HEIGHT,
    SURGE_LENGTH,
    SURGE_RAMP,
    SURGE_START,
    TASKS,
    WINDOW,
    WINDOW_MS,
)

__all__ = ["DeadlineLimits", "DeadlineRows", "draw_run", "empty_rows", "first_row"]

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]
"""Without reference counts: the arrays belong to the caller, nothing here keeps one."""

# What a generator draws from.
LOAD, DRONES_LOW, DRONES_HIGH, SECONDS, VARIABLE = range(5)
NUM_CHOICES = 5

# Streams of the keyed random numbers (below 16 are those of the kernel).
_DRONES, _PHASE, _ORDER, _NOISE_1, _NOISE_2, _SURGE = range(16, 22)

NOISE_VARIATION = 0.2
"""Standard deviation of a cloud time over its mean, where the network varies (our choice)."""
HIGHEST_SURGE = 400
"""Milliseconds that the network adds at the worst, in a third of the run (our choice)."""
_DEVIATION = math.sqrt(math.log(1.0 + NOISE_VARIATION**2))


class DeadlineLimits(NamedTuple):
    """Largest sizes of the instances that a generator makes."""

    tasks: int
    slots: int
    servers: int = 2


class DeadlineRows(NamedTuple):
    """The arrays of an instance, padded to N tasks and `MAX_MODELS` models.

    The kernel has the same with an axis more in front, the lane.

    Attributes:
        numbers: int64 (NUM_NUMBERS,). times: int64 (MAX_MODELS, NUM_TIMES). moneys: float64
            (MAX_MODELS, NUM_MONEYS); see `dems_tables`.
        release, model, drone, cloud_time: int64 (N,), in order of arrival.
        phase: int64 (N,), work space of `draw_run`.
    """

    numbers: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    moneys: npt.NDArray[np.float64]
    release: npt.NDArray[np.int64]
    model: npt.NDArray[np.int64]
    drone: npt.NDArray[np.int64]
    cloud_time: npt.NDArray[np.int64]
    phase: npt.NDArray[np.int64]


def empty_rows(limits: DeadlineLimits, lanes: int) -> DeadlineRows:
    """Return zeros for so many instances."""
    return DeadlineRows(
        np.zeros((lanes, NUM_NUMBERS), np.int64),
        np.zeros((lanes, MAX_MODELS, NUM_TIMES), np.int64),
        np.zeros((lanes, MAX_MODELS, NUM_MONEYS)),
        *(np.zeros((lanes, limits.tasks), np.int64) for _ in range(5)),
    )


def first_row(rows: DeadlineRows) -> DeadlineRows:
    """Return views of the first instance."""
    return DeadlineRows(*(array[0] for array in rows))


@compiled
def draw_run(seed, choices, rows):
    """Write the run of a seed.

    Args:
        seed: uint64.
        choices: int64 (K, NUM_CHOICES), kinds of runs to draw from, alike in likelihood.
        rows: written.
    """
    choice = choices[np.int64(mix(seed) % np.uint64(choices.shape[0]))]
    numbers, load = rows.numbers, choice[LOAD]
    span = choice[DRONES_HIGH] - choice[DRONES_LOW] + 1
    numbers[DRONES] = choice[DRONES_LOW] + np.int64(uniform(seed, _DRONES, 0, 0) * span)
    numbers[MODELS] = LOAD_MODELS[load]
    numbers[TASKS] = choice[SECONDS] * numbers[DRONES] * numbers[MODELS]
    numbers[HORIZON] = choice[SECONDS] * SEGMENT_MS
    numbers[WINDOW], numbers[SLOTS] = WINDOW_MS, CLOUD_SLOTS
    for m in range(MAX_MODELS):
        for column in range(NUM_TIMES):
            rows.times[m, column] = LOAD_TIMES[load, m, column]
        for column in range(NUM_MONEYS):
            rows.moneys[m, column] = LOAD_MONEYS[load, m, column]
    draw_phases(seed, numbers[DRONES], rows.phase)
    draw_segments(seed, choice[SECONDS], rows)
    draw_network(seed, choice[VARIABLE], rows)


@compiled
def draw_phases(seed, drones, phase):
    """Draw when in each second the drones send their segments, in increasing order."""
    for drone in range(drones):
        drawn = np.int64(uniform(seed, _PHASE, drone, 0) * SEGMENT_MS)
        i = drone
        while i > 0 and phase[i - 1] > drawn:
            phase[i] = phase[i - 1]
            i -= 1
        phase[i] = drawn


@compiled
def draw_segments(seed, seconds, rows):
    """Write the tasks: each segment is given to all models, in a random order."""
    drones, models = rows.numbers[DRONES], rows.numbers[MODELS]
    for second in range(seconds):
        for drone in range(drones):
            segment = second * drones + drone
            first = segment * models
            for i in range(models):
                task = first + i
                rows.release[task] = second * SEGMENT_MS + rows.phase[drone]
                rows.drone[task] = drone
                j = np.int64(uniform(seed, _ORDER, segment, i) * (i + 1))
                rows.model[task] = rows.model[first + j]
                rows.model[first + j] = i


@compiled
def draw_network(seed, variable, rows):
    """Write what the cloud takes for each task, and when the network is slow."""
    numbers = rows.numbers
    numbers[SURGE_START] = numbers[SURGE_LENGTH] = numbers[SURGE_RAMP] = 0
    numbers[SURGE_HEIGHT] = 0
    if variable:
        numbers[SURGE_HEIGHT] = HIGHEST_SURGE
        numbers[SURGE_LENGTH] = numbers[HORIZON] // 3
        numbers[SURGE_RAMP] = max(numbers[SURGE_LENGTH] // 4, 1)
        latest = numbers[HORIZON] - numbers[SURGE_LENGTH]
        numbers[SURGE_START] = np.int64(uniform(seed, _SURGE, 0, 0) * (latest + 1))
    for task in range(numbers[TASKS]):
        usual = rows.times[rows.model[task], CLOUD_TIME]
        rows.cloud_time[task] = usual
        if variable:
            u, v = uniform(seed, _NOISE_1, task, 0), uniform(seed, _NOISE_2, task, 0)
            normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
            factor = math.exp(_DEVIATION * normal - 0.5 * _DEVIATION * _DEVIATION)
            rows.cloud_time[task] = max(np.int64(math.floor(usual * factor + 0.5)), 1)
