"""An index policy inside the kernel: every server gets a number, the least is taken.

The number is the weighted cost of greedy_omega with another weight for each server: the delay that
sending the task there would cause is multiplied by the exponential of a linear function of what is
known of the server and the task, plus that of a small layer of rectified units, and the energy is
added. So delays can be counted dearer where more tasks will suffer from them, and a preference can
stand for another point of the front than its weights do. An episode takes well under a
millisecond, which is what makes it possible to improve the weights by playing
(`dispatchgym.agents.evolution`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.index_weights import split
from dispatchgym.envs.edge_offloading import layout
from dispatchgym.envs.edge_offloading.draw import (
    CYCLES,
    EXPECTED,
    FIFO,
    HORIZON,
    MEAN_BITS,
    SCENARIO,
    SERVERS,
    SPEED,
)
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.generators import generator
from dispatchgym.envs.edge_offloading.instance import OffloadInstance
from dispatchgym.envs.edge_offloading.kernel import (
    ARRIVED,
    COMING,
    COMPUTE_J,
    DELAY,
    DELAY_UNIT,
    ENERGY,
    ENERGY_UNIT,
    EXTRA,
    HEAD,
    NEVER,
    NOBODY,
    OWN,
    PLACED,
    RUNNING,
    SERVED,
    SLOT_NOW,
    STATUS,
    THERE,
    TRANSMIT_J,
    apply_action,
    appraise,
    backlog,
    begin_lane,
    copy_instance,
)
from dispatchgym.envs.edge_offloading.layout import MEGABIT, compiled
from dispatchgym.envs.edge_offloading.slots_world import SlotWorld

__all__ = ["FEATURES", "IndexEpisodes", "Plan", "index_actions"]

FloatArray = npt.NDArray[np.float64]

LEAST_WEIGHT = 0.01
"""Of delay and of energy: preferences nearer to the ends count like this one."""
USUAL_FREQUENCY = 2.5e9
"""Hz, about the mean of a context's servers."""
MOST = 20.0
"""Largest exponent of a factor."""

# Columns of what is known of a server: what is the same for all of them, then its own.
(ONE, PREFERENCE, SQUARE, CUBE, LEFT, SIZE, WAITING, WAITING_WORK, EDGES, RADIO, HARD, CLOCK_RATE,
 PREFERRED_LEFT, PREFERRED_SIZE, FEW, FEW_PREFERENCE, FEW_SQUARE, FEW_CUBE,
 FEWEST) = range(19)  # fmt: skip
SHARED = 19
(CLOUD, FASTER, WORK, MORE_WORK, MET, MORE_MET, COMPUTING, UPLOADING, UPLOAD, OWN_DELAY,
 EXTRA_DELAY, JOULES, WORK_LEFT, DELAY_LEFT, PREFERRED_WORK, PREFERRED_CLOUD, SIZED_WORK,
 SIZED_CLOUD) = range(19, 37)  # fmt: skip
FEATURES = 37


@compiled
def odds_of(weight):  # type: ignore[no-untyped-def]
    """Return the logarithm of the weight of delay over that of energy."""
    kept = min(max(weight, LEAST_WEIGHT), 1.0 - LEAST_WEIGHT)
    return math.log(kept / (1.0 - kept))


@compiled
def met_by_mean_task(state, lane, e):  # type: ignore[no-untyped-def]
    """Return the sum of min(residual, mean size) over the tasks of a server, in mean sizes.

    Residuals are taken by the megabit, as the observation has them.
    """
    there, served = state.load[lane, e, THERE], state.clock[lane, e, SERVED]
    mean, total = state.real[lane, MEAN_BITS] / MEGABIT, 0.0
    for i in range(there):
        left = state.tag[lane, e, i]
        if state.server[lane, e, FIFO] == 0.0 or i == there - 1:
            left -= served
        middle = min(math.floor(max(left, 0.0) / MEGABIT), layout.BINS - 1) + 0.5
        total += min(middle, mean) / mean
    return total


@compiled
def describe_state(state, lane, odds, row):  # type: ignore[no-untyped-def]
    """Write what is the same for all servers."""
    scalar, number, real = state.scalar[lane], state.number[lane], state.real[lane]
    waiting = 0.0
    for m in range(scalar[HEAD] + 1, scalar[ARRIVED]):
        waiting += state.task[lane, m, EXPECTED]
    p, mean = odds / odds_of(1.0), real[MEAN_BITS]
    mean_speed = mean / state.total[lane, DELAY_UNIT]
    row[ONE], row[PREFERENCE], row[SQUARE], row[CUBE] = 1.0, p, p * p, p * p * p
    row[LEFT] = 1.0 - scalar[SLOT_NOW] / number[HORIZON]
    row[SIZE] = math.log1p(state.task[lane, scalar[HEAD], EXPECTED] / mean)
    row[WAITING] = math.log1p(scalar[ARRIVED] - scalar[HEAD] - 1)
    row[WAITING_WORK] = math.log1p(waiting / mean)
    row[EDGES] = (number[SERVERS] - 1) / 10.0
    row[RADIO] = number[SCENARIO] == layout.GMORL_RADIO
    row[HARD] = number[SCENARIO] == layout.GMORL_HARD
    row[CLOCK_RATE] = mean_speed * real[CYCLES] / USUAL_FREQUENCY - 1.0
    row[PREFERRED_LEFT], row[PREFERRED_SIZE] = p * row[LEFT], p * row[SIZE]
    few = 1.0 / max(number[SERVERS] - 1, 1)
    row[FEW], row[FEW_PREFERENCE] = few, few * p
    row[FEW_SQUARE], row[FEW_CUBE], row[FEWEST] = few * p * p, few * p * p * p, few * few


@compiled
def describe_server(state, lane, e, row):  # type: ignore[no-untyped-def]
    """Write what is known of a server, which is appraised for it."""
    head, total, effect = state.scalar[lane, HEAD], state.total[lane], state.effect[lane, e]
    unit, speed = total[DELAY_UNIT], state.server[lane, e, SPEED]
    appraise(state, lane, head, e, EXPECTED)
    row[CLOUD] = e == 0
    row[FASTER] = speed * unit / state.real[lane, MEAN_BITS] - 1.0
    row[WORK] = math.log1p(max(backlog(state, lane, e), 0.0) / speed / unit)
    row[MET] = math.log1p(met_by_mean_task(state, lane, e))
    row[COMPUTING] = math.log1p(state.load[lane, e, THERE])
    row[UPLOADING] = math.log1p(state.load[lane, e, COMING])
    upload = state.task[lane, head, EXPECTED] / state.uplink[lane, head, e]
    row[UPLOAD] = math.log1p(upload / unit)
    row[OWN_DELAY] = math.log1p(max(effect[OWN], 0.0) / unit)
    row[EXTRA_DELAY] = math.log1p(max(effect[EXTRA], 0.0) / unit)
    row[JOULES] = math.log1p((effect[TRANSMIT_J] + effect[COMPUTE_J]) / total[ENERGY_UNIT])


@compiled
def describe(state, lane, odds, rows):  # type: ignore[no-untyped-def]
    """Write what is known of every server; what is shared is in the first row only.

    Args:
        state: the episodes, in the scale of the context.
        lane: the lane, at a decision.
        odds: see `odds_of`.
        rows: float64 (S, FEATURES).
    """
    shared, servers = rows[0], state.number[lane, SERVERS]
    describe_state(state, lane, odds, shared)
    work, met = 0.0, 0.0
    for e in range(servers):
        describe_server(state, lane, e, rows[e])
        work += rows[e, WORK] / servers
        met += rows[e, MET] / servers
    for e in range(servers):
        row = rows[e]
        row[MORE_WORK], row[MORE_MET] = row[WORK] - work, row[MET] - met
        row[WORK_LEFT] = row[WORK] * shared[LEFT]
        row[DELAY_LEFT] = row[OWN_DELAY] * shared[LEFT]
        row[PREFERRED_WORK] = row[WORK] * shared[PREFERENCE]
        row[PREFERRED_CLOUD] = row[CLOUD] * shared[PREFERENCE]
        row[SIZED_WORK] = row[MORE_WORK] * shared[SIZE]
        row[SIZED_CLOUD] = row[CLOUD] * shared[SIZE]


@compiled
def write_exponents(rows, servers, direct, hidden, bias, out, exponents):  # type: ignore[no-untyped-def]
    """Write what the weights of a candidate make of each row (servers,)."""
    same = 0.0
    for f in range(SHARED):
        same += direct[f] * rows[0, f]
    for e in range(servers):
        exponents[e] = same
        for f in range(SHARED, FEATURES):
            exponents[e] += direct[f] * rows[e, f]
    for h in range(bias.size):
        begin = bias[h]
        for f in range(SHARED):
            begin += hidden[h, f] * rows[0, f]
        for e in range(servers):
            unit = begin
            for f in range(SHARED, FEATURES):
                unit += hidden[h, f] * rows[e, f]
            exponents[e] += max(unit, 0.0) * out[h]


@compiled
def index_choice(state, lane, weight, weights, c, rows, exponents):  # type: ignore[no-untyped-def]
    """Return the server of the least index (ties: the lowest number).

    Args:
        state: the episodes, in the scale of the context.
        lane: the lane, at a decision.
        weight: preference for delay, 0 to 1.
        weights: of the candidates.
        c: which of them.
        rows: float64 (S, FEATURES), work space.
        exponents: float64 (S,), work space.
    """
    total, odds, servers = state.total[lane], odds_of(weight), state.number[lane, SERVERS]
    best, least = 0, NEVER
    describe(state, lane, odds, rows)
    write_exponents(
        rows, servers, weights.direct[c], weights.hidden[c], weights.bias[c], weights.out[c],
        exponents,
    )  # fmt: skip
    for e in range(servers):
        effect = state.effect[lane, e]
        index = (effect[OWN] + effect[EXTRA]) / total[DELAY_UNIT]
        index *= math.exp(min(max(odds + exponents[e], -MOST), MOST))
        index += (effect[TRANSMIT_J] + effect[COMPUTE_J]) / total[ENERGY_UNIT]
        if index < least:
            best, least = e, index
    return best


@compiled
def play_share(begun, trial, lane, plan, weights, rows, exponents, objectives):  # type: ignore[no-untyped-def]
    """Play what a plan has for the episode of one lane; return the number of decisions."""
    decisions = 0
    for i in range(plan.lane.size):
        if plan.lane[i] != lane:
            continue
        copy_instance(begun, lane, trial, lane)
        begin_lane(trial, lane)
        while trial.scalar[lane, STATUS] == RUNNING:
            e = index_choice(
                trial, lane, plan.preference[i], weights, plan.candidate[i], rows, exponents
            )
            apply_action(trial, lane, e)
        objectives[i, 0], objectives[i, 1] = trial.total[lane, DELAY], trial.total[lane, ENERGY]
        decisions += trial.scalar[lane, PLACED]
    return decisions


@njit(cache=True, nogil=True, parallel=True)
def play_plan(begun, trial, plan, weights, rows, exponents, objectives):  # type: ignore[no-untyped-def]
    """Play all episodes of a plan.

    Args:
        begun: the instances.
        trial: as many lanes to play in.
        plan: what is played.
        weights: of the candidates.
        rows: float64 (B, S, FEATURES), work space.
        exponents: float64 (B, S), work space.
        objectives: float64 (N, 2), written: seconds and joules.

    Returns:
        number of decisions.
    """
    decisions = 0
    for lane in prange(begun.scalar.shape[0]):
        decisions += play_share(
            begun, trial, np.int64(lane), plan, weights, rows[lane], exponents[lane], objectives
        )
    return decisions


@njit(cache=True, nogil=True)
def choose(state, preference, weights, rows, exponents, actions):  # type: ignore[no-untyped-def]
    """Write the action of each lane; -1 where the episode is over, 0 where there is no task."""
    for lane in range(state.scalar.shape[0]):
        actions[lane] = -1
        if state.scalar[lane, STATUS] == RUNNING:
            actions[lane] = 0
            if state.scalar[lane, HEAD] != NOBODY:
                actions[lane] = index_choice(
                    state, lane, preference[lane, 0], weights, 0, rows, exponents
                )


def index_actions(simulation: Any, weights: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B,) the servers of the least index; -1 where the episode is over.

    Args:
        simulation: of independent tasks, with rewards in the scale of the context.
        weights: float64 (W,), in the order of `envs.core.index_weights`.
    """
    found = split(np.asarray(weights, np.float64)[None], FEATURES)
    actions = np.empty(simulation.num_lanes, np.int64)
    state = simulation.world.state
    servers = state.server.shape[1]
    rows, exponents = np.zeros((servers, FEATURES)), np.zeros(servers)
    choose(state, simulation.preferences, found, rows, exponents, actions)
    return actions


class Plan(NamedTuple):
    """N episodes to be played.

    Attributes:
        lane: int64 (N,), which episode. preference: float64 (N,), weights of delay.
        candidate: int64 (N,), whose weights.
    """

    lane: npt.NDArray[np.int64]
    preference: FloatArray
    candidate: npt.NDArray[np.int64]


class IndexEpisodes:
    """Episodes on which weights are compared.

    Attributes:
        vec: the episodes at their first decision, one a lane.
        decisions: decisions that candidates have taken so far.

    Args:
        scenario: name of a scenario of independent tasks.
        count: number of episodes, at least 1.

    Raises:
        ParameterError: the scenario is of other tasks, or no episode is asked for.
    """

    def __init__(self, scenario: str, count: int) -> None:
        if count < 1:
            raise ParameterError(f"count: found {count}, expected at least 1")
        source = generator(scenario)
        if source.family != OffloadInstance.family:
            raise ParameterError(f"scenario: found {scenario!r}, expected independent tasks")
        servers = source.limits.servers
        self.vec = EdgeOffloadingVectorEnv(
            count, scenario=scenario, max_servers=servers, autoreset_mode="Disabled"
        )
        self._world = cast(SlotWorld, self.vec.simulation.world)
        self._trial = self._world.allocate(count)
        self._rows = np.zeros((count, servers, FEATURES))
        self._exponents = np.zeros((count, servers))
        self.decisions = 0

    def take(self, seeds: npt.NDArray[np.int64]) -> None:
        """Take the episodes of these seeds, one a lane."""
        self.vec.reset(seed=seeds.tolist())

    @property
    def instances(self) -> list[OffloadInstance]:
        """The instances that were taken."""
        return [self._world.instance(lane) for lane in range(len(self._rows))]

    def play(self, candidates: FloatArray, plan: Plan) -> FloatArray:
        """Return (N, 2) delay in seconds and energy in joules of what a plan names.

        Args:
            candidates: (C, W), each in the order of `envs.core.index_weights`.
            plan: what is played.
        """
        objectives = np.empty((len(plan.lane), 2))
        self.decisions += play_plan(
            self._world.state, self._trial, plan, split(candidates, FEATURES), self._rows,
            self._exponents, objectives,
        )  # fmt: skip
        return objectives
