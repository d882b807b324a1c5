"""An index policy inside the kernel: every placement gets a number, the highest is taken.

The number is a linear function of what the observation says of the task, its job, the PE, the
placement and the system, plus that of a small layer of rectified units. The same weights play
platforms and jobs of every size. An episode of a hundred jobs takes a few milliseconds, which is
what makes it possible to improve the weights by playing (`dispatchgym.agents.evolution`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import Weights, split
from dispatchgym.envs.soc.env import SoCSimulation
from dispatchgym.envs.soc.kernel import (
    DECISIONS,
    DEPTH,
    ETF,
    FINISHED_JOBS,
    JOB_TIME,
    PES,
    READY,
    ROW,
    RUNNING,
    STATUS,
    State,
    Tables,
    assign_task,
    compiled,
    copy_lane,
    nominal_duration,
    run_rule,
)
from dispatchgym.envs.soc.observation import NUM_JOB_FEATURES, Observation, observe
from dispatchgym.envs.soc.outlook import NUM_OUTLOOK_COLUMNS

__all__ = ["FEATURES", "FINISH_FEATURE", "SCALES", "IndexRuns", "index_actions"]

FloatArray = npt.NDArray[np.float64]

NUM_PAIR_COLUMNS, NUM_TASK_COLUMNS, NUM_PE_COLUMNS, NUM_GLOBAL_COLUMNS = 3, DEPTH, 4, 2
"""So many first columns of `task_pe`, `task_x`, `pe_x` and `global_x` are features."""
FINISH_FEATURE = NUM_OUTLOOK_COLUMNS + 2
"""Where the features have the estimated finish."""

# Features are brought to about 1, in the order of `describe_placement`.
_OUTLOOK = (1, 1, 1, 1, 1, 0.5, 1, 1, 0.3, 1, 1, 1, 0.3, 0.2, 0.2, 1, 0.3)
_TASK = (1, 1, 0.5, 1, 0.2, 0.2, 0.3, 0.3, 0.1, 1, 0.5, 0.5)
_JOB = (0.1, 1, 1, 0.2, 0.1, 0.1, 1)
SCALES = np.array((*_OUTLOOK, 1, 1, 1, *_TASK, *_JOB, 1, 1, 0.5, 1, 1, 1), np.float32)
"""float32 (FEATURES,), what the numbers of the observation are multiplied by."""
FEATURES = len(SCALES)
"""What is known of a placement: of `outlook`, `task_pe`, `task_x`, `job_x`, `pe_x`, `global_x`."""


def scaled(vectors: FloatArray) -> Weights:
    """Return policies (C, W) for numbers as the observation has them, units last."""
    direct, hidden, bias, out = split(vectors, FEATURES)
    matrices = np.ascontiguousarray(hidden.transpose(0, 2, 1) * SCALES[:, None])
    return Weights(direct * SCALES, matrices, bias, out)


@compiled
def describe_placement(outlook, task_pe, task_x, job_x, pe_x, global_x, row):  # type: ignore[no-untyped-def]
    """Put together what an observation says of a placement: rows of its task, job, PE and pair."""
    at = 0
    for column in range(NUM_OUTLOOK_COLUMNS):
        row[at + column] = outlook[column]
    at += NUM_OUTLOOK_COLUMNS
    for column in range(NUM_PAIR_COLUMNS):
        row[at + column] = task_pe[column]
    at += NUM_PAIR_COLUMNS
    for column in range(NUM_TASK_COLUMNS):
        row[at + column] = task_x[column]
    at += NUM_TASK_COLUMNS
    for column in range(NUM_JOB_FEATURES):
        row[at + column] = job_x[column]
    at += NUM_JOB_FEATURES
    for column in range(NUM_PE_COLUMNS):
        row[at + column] = pe_x[column]
    at += NUM_PE_COLUMNS
    for column in range(NUM_GLOBAL_COLUMNS):
        row[at + column] = global_x[column]


@compiled
def index_of(row, direct, hidden, bias, out, units):  # type: ignore[no-untyped-def]
    """Return the index of a placement; `units` (H,) is work space."""
    total = 0.0
    for h in range(bias.size):
        units[h] = bias[h]
    for f in range(FEATURES):
        total += direct[f] * row[f]
        for h in range(bias.size):
            units[h] += hidden[f, h] * row[f]
    for h in range(bias.size):
        total += max(units[h], 0.0) * out[h]
    return total


@compiled
def index_choice(state, tables, observation, lane, weights, c, row, units):  # type: ignore[no-untyped-def]
    """Return the ready task and the PE of highest index (ties: the lowest places)."""
    best, best_pe, highest = -1, -1, 0.0
    pes, tasks = tables.number[state.scalar[lane, ROW], PES], tables.duration.shape[2]
    direct, hidden = weights.direct[c], weights.hidden[c]
    for i in range(state.scalar[lane, READY]):
        slot = state.ready[lane, i]
        for p in range(pes):
            if nominal_duration(state, tables, lane, slot, p) >= 0:
                describe_placement(
                    observation.outlook[lane, slot, p], observation.task_pe[lane, slot, p],
                    observation.task_x[lane, slot], observation.job_x[lane, slot // tasks],
                    observation.pe_x[lane, p], observation.global_x[lane], row,
                )  # fmt: skip
                index = index_of(row, direct, hidden, weights.bias[c], weights.out[c], units)
                tied = index == highest and slot < best
                if best < 0 or index > highest or tied:
                    best, best_pe, highest = slot, p, index
    return best, best_pe


@compiled
def play_index(state, tables, observation, lane, weights, c, row, units):  # type: ignore[no-untyped-def]
    """Play an episode to its end with the weights of a candidate."""
    observe(state, tables, observation, lane, True)
    while state.scalar[lane, STATUS] == RUNNING:
        slot, p = index_choice(state, tables, observation, lane, weights, c, row, units)
        assign_task(state, tables, lane, slot, p)
        observe(state, tables, observation, lane, False)


@compiled
def time_in_system(state, lane):  # type: ignore[no-untyped-def]
    """Return the time that jobs have spent in the system, for each that has finished."""
    return state.scalar[lane, JOB_TIME] / max(state.scalar[lane, FINISHED_JOBS], 1)


@compiled
def play_run(begun, trial, tables, observation, lane, weights, row, units, times):  # type: ignore[no-untyped-def]
    """Play the episode of a lane with each candidate and with the rule ETF.

    Args:
        begun: episodes at their first decision.
        trial: as many lanes to play in.
        tables: of all lanes.
        observation: of `trial`.
        lane: which episode.
        weights: of C candidates.
        row: work space, as `units`.
        units: work space.
        times: float64 (C + 1,), written: time in the system for each finished job; ETF is last.

    Returns:
        number of decisions, all candidates together.
    """
    decisions = 0
    for c in range(times.size - 1):
        copy_lane(begun, lane, trial, lane)
        play_index(trial, tables, observation, lane, weights, c, row, units)
        times[c] = time_in_system(trial, lane)
        decisions += trial.scalar[lane, DECISIONS]
    copy_lane(begun, lane, trial, lane)
    run_rule(trial, tables, lane, ETF)
    times[times.size - 1] = time_in_system(trial, lane)
    return decisions


@njit(cache=True, nogil=True, parallel=True)
def play_runs(begun, trial, tables, observation, weights, rows, units, times):  # type: ignore[no-untyped-def]
    """Play every episode with every candidate and the rule ETF; return the decisions."""
    decisions = 0
    for lane in prange(begun.scalar.shape[0]):
        decisions += play_run(
            begun, trial, tables, observation, np.int64(lane), weights, rows[lane], units[lane],
            times[lane],
        )  # fmt: skip
    return decisions


@njit(cache=True, nogil=True)
def choose(state, tables, observation, weights, row, units, actions):  # type: ignore[no-untyped-def]
    """Write the action of each lane; -1 where the episode is over."""
    for lane in range(state.scalar.shape[0]):
        actions[lane] = -1
        if state.scalar[lane, STATUS] == RUNNING:
            slot, p = index_choice(state, tables, observation, lane, weights, 0, row, units)
            actions[lane] = slot * state.pe.shape[2] + p


def index_actions(simulation: SoCSimulation, weights: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B,) the actions of highest index; -1 where the episode is over.

    Args:
        simulation: the episodes, with their observations up to date; mode "commit_ready".
        weights: float64 (W,), in the order of `envs.core.index_weights`.
    """
    found = scaled(np.asarray(weights, np.float64)[None])
    actions = np.empty(simulation.num_lanes, np.int64)
    observation = Observation(**simulation.observations)
    row, units = np.zeros(FEATURES, np.float32), np.zeros(found.bias.shape[1])
    choose(simulation.state, simulation.tables, observation, found, row, units, actions)
    return actions


class IndexRuns:
    """Episodes on which weights are compared: all play the same ones.

    Attributes:
        decisions: decisions that candidates have taken so far.

    Args:
        scenario: name of a scenario, or anything else that the environment takes.
        count: number of episodes, at least 1.

    Raises:
        ParameterError: no episode is asked for.
    """

    def __init__(self, scenario: Any, count: int) -> None:
        if count < 1:
            raise ParameterError(f"count: found {count}, expected at least 1")
        self._simulation, trial = (
            SoCSimulation(num_lanes=count, scenario=scenario) for _ in range(2)
        )
        self._trial: State = trial.state
        self._tables: Tables = self._simulation.tables
        self._observation = Observation(**trial.observations)
        self._rows = np.zeros((count, FEATURES), np.float32)
        self.decisions = 0

    def draw(self, rng: np.random.Generator) -> None:
        """Take other episodes, never those of evaluations: their seeds are 2^62 or more."""
        self.take(rng.integers(1 << 62, (1 << 63) - 1, len(self._rows)))

    def take(self, seeds: npt.NDArray[np.int64]) -> None:
        """Take the episodes of these seeds, one a lane."""
        self._simulation.restart(np.ones(len(seeds), np.bool_), seeds)

    def scores(self, candidates: FloatArray) -> FloatArray:
        """Return (C,) the time that jobs spend in the system under ETF, over that of candidates.

        It is counted for each job that finishes, so that those which do not make it worse.
        """
        weights = scaled(candidates)
        times = np.empty((len(self._rows), len(candidates) + 1))
        units = np.zeros((len(self._rows), weights.bias.shape[1]))
        self.decisions += play_runs(
            self._simulation.state, self._trial, self._tables, self._observation, weights,
            self._rows, units, times,
        )  # fmt: skip
        total: FloatArray = times.sum(axis=0)
        return total[-1] / total[:-1]
