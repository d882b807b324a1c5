"""An index policy inside the kernel: every action gets a number, the highest is taken.

The number is a linear function of what the observation says of the action (`legs`) and of the
decision (`decision`), plus that of a small layer of rectified units. It knows nothing of any
particular aircraft or vertiport, so that the same weights play fleets of every size. A day of 40
aircraft takes about two milliseconds, which is what makes it possible to breed the weights by
playing (`dispatchgym.agents.evolution`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.uam.env import UAMFleetSimulation
from dispatchgym.envs.uam.kernel import (
    DECISION_COLUMNS,
    DECISIONS,
    GREEDY,
    LEG_COLUMNS,
    PORTS,
    RUNNING,
    STATUS,
    VALUE,
    State,
    apply_action,
    compiled,
    copy_lane,
    describe_decision,
    describe_leg,
    profit,
    rule_action,
    shown_demand,
)

__all__ = ["FEATURES", "IndexDays", "index_actions", "index_judgements"]

FloatArray = npt.NDArray[np.float64]

FEATURES = LEG_COLUMNS + DECISION_COLUMNS
"""What is known of an action: a row of `legs`, followed by `decision`."""


@compiled
def index_of(row: npt.NDArray[np.float32], weights: FloatArray) -> float:
    """Return the index of an action.

    Args:
        row: float32 (F,), what is known of it.
        weights: in the order of `envs.core.index_weights`.
    """
    hidden = (weights.size - FEATURES) // (FEATURES + 2)
    bias = FEATURES + hidden * FEATURES
    total = 0.0
    for f in range(FEATURES):
        total += weights[f] * row[f]
    for h in range(hidden):
        unit, first = weights[bias + h], FEATURES + h * FEATURES
        for f in range(FEATURES):
            unit += weights[first + f] * row[f]
        if unit > 0.0:
            total += unit * weights[bias + hidden + h]
    return total


@compiled
def index_action(state: State, lane: int, weights: FloatArray, row: npt.NDArray[np.float32]) -> int:
    """Return the legal action of the highest index (ties: the lowest); `row` is work space."""
    best, highest = -1, 0.0
    describe_decision(state, lane, row[LEG_COLUMNS:])
    for j in range(state.numbers[lane, PORTS]):
        if state.legal[lane, j]:
            describe_leg(state, lane, j, shown_demand(state, lane, j), row)
            index = index_of(row, weights)
            if best < 0 or index > highest:
                best, highest = j, index
    return best


@compiled
def play_day(
    begun: State,
    trial: State,
    lane: int,
    candidates: FloatArray,
    row: npt.NDArray[np.float32],
    cents: FloatArray,
) -> int:
    """Play the day of a lane with each candidate, in the same lane of `trial`.

    Args:
        begun: days at their first decision.
        trial: as many lanes to play in.
        lane: which day.
        candidates: float64 (C, W), weights.
        row: work space.
        cents: float64 (C,), written: the profits.

    Returns:
        number of decisions, all candidates together.
    """
    decisions = 0
    for c in range(candidates.shape[0]):
        copy_lane(begun, lane, trial, lane)
        while trial.scalar[lane, STATUS] == RUNNING:
            apply_action(trial, lane, index_action(trial, lane, candidates[c], row))
        cents[c] = profit(trial, lane)
        decisions += trial.scalar[lane, DECISIONS]
    return decisions


@compiled
def play_greedy(begun: State, trial: State, lane: int) -> float:
    """Return the profit of the greedy rule."""
    copy_lane(begun, lane, trial, lane)
    while trial.scalar[lane, STATUS] == RUNNING:
        apply_action(trial, lane, rule_action(trial, lane, GREEDY))
    return profit(trial, lane)


@njit(cache=True, nogil=True, parallel=True)
def play_days(begun, trial, candidates, rows, cents, greedy):  # type: ignore[no-untyped-def]
    """Play every day with every candidate and the greedy rule; return the decisions."""
    decisions = 0
    for lane in prange(begun.scalar.shape[0]):
        decisions += play_day(begun, trial, np.int64(lane), candidates, rows[lane], cents[lane])
        greedy[lane] = play_greedy(begun, trial, np.int64(lane))
    return decisions


@njit(cache=True, nogil=True)
def choose(state, weights, row, actions):  # type: ignore[no-untyped-def]
    """Write the action of each lane; -1 where the day is over."""
    for lane in range(state.scalar.shape[0]):
        actions[lane] = -1
        if state.scalar[lane, STATUS] == RUNNING:
            actions[lane] = index_action(state, lane, weights, row)


@compiled
def earn_rest(
    state: State, trial: State, lane: int, weights: FloatArray, row: npt.NDArray[np.float32]
) -> float:
    """Return the cents that the policy earns in the rest of a day, played in `trial`, lane 0."""
    copy_lane(state, lane, trial, 0)
    before = profit(trial, 0)
    while trial.scalar[0, STATUS] == RUNNING:
        apply_action(trial, 0, index_action(trial, 0, weights, row))
    return profit(trial, 0) - before


@njit(cache=True, nogil=True)
def judge(state, trial, weights, row, indices, cents):  # type: ignore[no-untyped-def]
    """Write the index of each legal action of each lane, and what the rest of the day earns."""
    for lane in range(state.scalar.shape[0]):
        describe_decision(state, lane, row[LEG_COLUMNS:])
        for j in range(state.numbers[lane, PORTS]):
            if state.legal[lane, j]:
                describe_leg(state, lane, j, shown_demand(state, lane, j), row)
                indices[lane, j] = index_of(row, weights)
        cents[lane] = earn_rest(state, trial, lane, weights, row)


def index_actions(state: State, weights: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B,) the actions of highest index; -1 where the day is over.

    Args:
        state: the days.
        weights: float64 (W,), in the order of `envs.core.index_weights`.
    """
    actions = np.empty(len(state.scalar), np.int64)
    choose(state, np.asarray(weights, np.float64), np.zeros(FEATURES, np.float32), actions)
    return actions


def index_judgements(
    simulation: UAMFleetSimulation, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Judge the decisions of all lanes, none of whose days is over.

    Args:
        simulation: the days; they stay as they are.
        weights: float64 (W,), in the order of `envs.core.index_weights`.

    Returns:
        float64 (B, N) index of each action, minus infinity where it is illegal; float64 (B,)
        the part of the value of all demand that the policy earns in the rest of the day.
    """
    state = simulation.state
    indices, cents = np.full(state.legal.shape, -np.inf), np.empty(len(state.scalar))
    row = np.zeros(FEATURES, np.float32)
    judge(state, simulation.allocate(1, 0), np.asarray(weights, float), row, indices, cents)
    return indices, cents / np.maximum(state.scalar[:, VALUE], 1)


class IndexDays:
    """Days on which weights are compared: all play the same ones.

    Attributes:
        decisions: decisions that candidates have taken so far.

    Args:
        scenario: name of a random scenario, or anything else that the environment takes.
        count: number of days, at least 1.

    Raises:
        ParameterError: no day is asked for.
    """

    def __init__(self, scenario: Any, count: int) -> None:
        if count < 1:
            raise ParameterError(f"count: found {count}, expected at least 1")
        self._simulation = UAMFleetSimulation(num_lanes=count, scenario=scenario)
        self._trial = self._simulation.allocate(count, 0)
        self._rows = np.zeros((count, FEATURES), np.float32)
        self.decisions = 0

    def draw(self, rng: np.random.Generator) -> None:
        """Take other days, never those of evaluations: their seeds are 2^62 or more."""
        self.take(rng.integers(1 << 62, (1 << 63) - 1, len(self._rows)))

    def take(self, seeds: npt.NDArray[np.int64]) -> None:
        """Take the days of these seeds, one a lane."""
        self._simulation.restart(np.ones(len(seeds), np.bool_), seeds)

    def scores(self, candidates: FloatArray) -> FloatArray:
        """Return (C,) what candidates (C, W) earn, over what the greedy rule earns."""
        lanes = len(self._rows)
        cents, greedy = np.empty((lanes, len(candidates))), np.empty(lanes)
        begun = self._simulation.state
        self.decisions += play_days(begun, self._trial, candidates, self._rows, cents, greedy)
        return cents.sum(axis=0) / max(greedy.sum(), 1.0)
