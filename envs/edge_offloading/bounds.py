"""Lower bounds on delay and energy that no policy can go below, one that knows the future included.

When a task is sent does not depend on decisions: one task a slot, in the order of the queue. The
bounds are those of section 7 of the problem's specification; `time_indexed_bound` is the linear
program of Schulz and Skutella ("Scheduling unrelated machines by randomized rounding", SIAM J.
Discrete Math. 2002) and needs the extra ``exact``.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError
from dispatchgym.envs.edge_offloading.instance import OffloadInstance

__all__ = [
    "Placement",
    "energy_bound",
    "lone_bound",
    "placement",
    "pooled_bound",
    "time_indexed_bound",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_SOLVER_TOLERANCE = 1e-6
"""Part of a solver's value that is not trusted."""


@dataclass(frozen=True)
class Placement:
    """What remains of an instance if all is known: n tasks are to be placed on S servers.

    Attributes:
        sent: (n,) when each task is sent, in seconds.
        bits: (n,) sizes.
        start: (n, S) when its upload to each server ends.
        joules: (n, S) energy of transmission and computation.
        speed: (S,) bit/s.
        fifo: (S,) bool.
    """

    sent: FloatArray
    bits: FloatArray
    start: FloatArray
    joules: FloatArray
    speed: FloatArray
    fifo: BoolArray

    @property
    def seconds(self) -> FloatArray:
        """(n, S) how long each task computes alone."""
        return self.bits[:, None] / self.speed


def sending_times(instance: OffloadInstance) -> FloatArray:
    """Return when tasks are sent, of those that are."""
    times: list[float] = []
    slot = 0
    for release in instance.release:
        while slot * instance.slot < release:
            slot += 1
        if slot >= instance.horizon:
            break
        times.append(slot * instance.slot)
        slot += 1
    return np.array(times)


def placement(instance: OffloadInstance) -> Placement:
    """Return the problem of placing the tasks of an instance."""
    sent = sending_times(instance)
    count = len(sent)
    bits, uplink = instance.bits[:count], instance.uplink[:count]
    radio = bits[:, None] / uplink
    with np.errstate(divide="ignore"):
        backhaul = np.where(instance.backhaul > 0, bits[:, None] / instance.backhaul, 0.0)
    per_bit = instance.capacitance * instance.cycles_per_bit * instance.frequency**2
    return Placement(
        sent,
        bits,
        sent[:, None] + radio + backhaul + instance.latency,
        instance.power * radio + per_bit * bits[:, None],
        instance.frequency / instance.cycles_per_bit,
        instance.fifo,
    )


def energy_bound(instance: OffloadInstance) -> float:
    """Return the least energy in joules; sending each task where it costs least attains it."""
    return float(placement(instance).joules.min(axis=1).sum())


def lone_bound(instance: OffloadInstance) -> float:
    """Return the delay in seconds if each task had the server that is best for it to itself."""
    problem = placement(instance)
    return float((problem.start + problem.seconds).min(axis=1).sum() - problem.sent.sum())


def pooled_bound(instance: OffloadInstance) -> float:
    """Return the delay in seconds on one server as fast as all together, uploads taking no time.

    Such a server can imitate all at once, and taking the shortest remaining task first, with
    preemption, is best for it.
    """
    problem = placement(instance)
    speed, now, total = float(problem.speed.sum()), 0.0, 0.0
    left: list[float] = []
    arrivals = [*zip(problem.sent.tolist(), problem.bits.tolist(), strict=True), (np.inf, 0.0)]
    for time, bits in arrivals:
        while left and now + left[0] / speed <= time:
            now += heapq.heappop(left) / speed
            total += now
        if left:
            heapq.heapreplace(left, left[0] - (time - now) * speed)
        now = time
        heapq.heappush(left, bits)
    return total - float(problem.sent.sum())


def time_indexed_bound(
    instance: OffloadInstance,
    preference: tuple[float, float] = (1.0, 0.0),
    units: tuple[float, float] = (1.0, 1.0),
) -> float:
    """Return a lower bound on the weighted sum of delay and energy by a linear program.

    Tasks may be split among servers and interrupted; a server does one thing at a time. The
    variables are the seconds that a task computes on a server in a slot. Slots are those of the
    instance, until all servers together have had the time for everything, and one without end.

    Args:
        instance: the instance.
        preference: weights of delay and energy.
        units: seconds and joules that count 1.

    Raises:
        MissingDependencyError: highspy is not installed.
    """
    problem = placement(instance)
    edges = _slot_edges(instance, problem)
    task, server, slot = _variables(problem, edges)
    seconds, start = problem.seconds[task, server], problem.start[task, server]
    begins = np.maximum(edges[slot], start) - problem.sent[task]
    delay, energy = (begins + seconds / 2) / seconds, problem.joules[task, server] / seconds
    cost = preference[0] / units[0] * delay + preference[1] / units[1] * energy
    length = np.append(np.diff(edges), np.inf)[slot]
    room = np.minimum(length, np.append(edges[1:], np.inf)[slot] - start)
    value = _solve(
        cost,
        room,
        _Rows(task, 1.0 / seconds, np.ones(len(problem.bits))),
        _Rows(server * len(edges) + slot, np.ones(len(task)), _capacity(problem, edges)),
    )
    return value * (1.0 - _SOLVER_TOLERANCE)


@dataclass(frozen=True)
class _Rows:
    """Constraints with one entry a variable: its row and coefficient; right sides of the rows."""

    row: npt.NDArray[np.int64]
    value: FloatArray
    side: FloatArray


def _slot_edges(instance: OffloadInstance, problem: Placement) -> FloatArray:
    """Return where slots begin."""
    fastest = problem.bits.sum() / problem.speed.sum()
    end = problem.start.min(axis=1).max() + fastest + problem.seconds.min(axis=1).max()
    return np.arange(int(np.ceil(end / instance.slot)) + 1, dtype=np.float64) * instance.slot


def _variables(problem: Placement, edges: FloatArray) -> tuple[npt.NDArray[np.int64], ...]:
    """Return task, server and slot of every variable: slots that end after the upload."""
    ends = np.append(edges[1:], np.inf)
    return np.nonzero(ends > problem.start[..., None])


def _capacity(problem: Placement, edges: FloatArray) -> FloatArray:
    length = np.append(np.diff(edges), np.inf)
    return np.tile(length, len(problem.speed))


def _solve(cost: FloatArray, room: FloatArray, whole: _Rows, capacity: _Rows) -> float:
    """Return the least cost of variables in [0, room] that do all tasks within the capacity."""
    highspy = _import_highspy()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    tasks, columns = len(whole.side), len(cost)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = columns, tasks + len(capacity.side)
    model.col_cost_, model.col_lower_, model.col_upper_ = cost, np.zeros(columns), room
    model.row_lower_ = np.append(whole.side, np.full(len(capacity.side), -np.inf))
    model.row_upper_ = np.append(whole.side, capacity.side)
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kColwise
    matrix.start_ = 2 * np.arange(columns + 1)
    matrix.index_ = np.stack((whole.row, tasks + capacity.row), axis=1).ravel()
    matrix.value_ = np.stack((whole.value, capacity.value), axis=1).ravel()
    highs.passModel(model)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise EvaluationError(f"bound: the solver ended with {highs.getModelStatus()}")
    return float(highs.getInfo().objective_function_value)


def _import_highspy() -> Any:
    """Return the module highspy, or say how to get it."""
    try:
        import highspy
    except ImportError as error:
        raise MissingDependencyError(
            f"highspy cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return highspy
