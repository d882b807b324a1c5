"""The optimum over all placements within a migration limit, by column generation.

A column is the contents of one PM: how many VMs of each class are on each node. The master
problem picks one column per PM so that every VM is somewhere and at most so many leave their
place; `Pricer` finds columns that improve it. Its linear optimum bounds every plan. The columns
at hand are then solved as an integer program; if a gap is left, all columns that can be part of a
better solution are added, which makes it exact. The order of the migrations is not part of the
model.

Needs HiGHS, which comes with the extra ``exact``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError
from dispatchgym.envs.vm_rescheduling.aggregation import Aggregation, Measure
from dispatchgym.envs.vm_rescheduling.instance import Instance
from dispatchgym.envs.vm_rescheduling.pricing import Columns, Pricer

__all__ = ["Optimum", "column_generation", "import_highspy"]

IntArray = npt.NDArray[np.int64]

_TOLERANCE = 1e-6
_MOST_COLUMNS = 200_000


@dataclass(frozen=True)
class Optimum:
    """A placement and a bound, in the values of `Measure`.

    Attributes:
        value: Value of the placement.
        bound: No placement within the limit has more.
        counts: (C, P, 2) VMs of each class on each node.
        aggregation: The classes.
        measure: What the values mean.
    """

    value: float
    bound: float
    counts: IntArray
    aggregation: Aggregation
    measure: Measure

    @property
    def proved(self) -> bool:
        """Whether no placement is better."""
        return self.bound <= self.value + _TOLERANCE


def import_highspy() -> Any:
    """Return the solver's module.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import highspy
    except ImportError as error:
        raise MissingDependencyError(
            f"HiGHS cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return highspy


def column_generation(
    instance: Instance, migration_limit: int | None = None, *, time_limit: float = math.inf
) -> Optimum:
    """Maximise the value within a migration limit; anti-affinity is left out of account.

    Args:
        instance: The problem.
        migration_limit: Most migrations; the instance's unless given.
        time_limit: Seconds after which the best so far is returned, with a valid bound.

    Raises:
        ParameterError: The nodes are too large for tables over their room.
        MissingDependencyError: HiGHS is not installed.
    """
    deadline = time.perf_counter() + time_limit
    aggregation = Aggregation.of(instance, sets=False)
    measure = Measure.of(instance)
    limit = instance.migration_limit if migration_limit is None else migration_limit
    master = _Master(Pricer(aggregation, measure), limit)
    bound = _rounded(master.generate(deadline), measure)
    best = master.round(deadline)
    if best.value.sum() + _TOLERANCE < bound and time.perf_counter() < deadline:
        best, tighter = master.close(best, deadline)
        bound = min(bound, _rounded(tighter, measure))
    value = float(best.value.sum())
    return Optimum(value, max(bound, value), best.counts.transpose(1, 0, 2), aggregation, measure)


def _rounded(bound: float, measure: Measure) -> float:
    """Return a bound on values that takes into account that they may be integers."""
    return math.floor(bound + _TOLERANCE) if measure.integral and math.isfinite(bound) else bound


class _Master:
    """The master problem: one row per PM, one per class, and the migration limit."""

    def __init__(self, pricer: Pricer, limit: int) -> None:
        self.highspy = import_highspy()
        self.pricer = pricer
        self.pms = pricer.aggregation.instance.num_pms
        self.classes = pricer.aggregation.num_classes
        self.limit = limit
        self.prices = np.zeros(self.pms + self.classes + 1)
        self.relaxed = math.inf
        self.columns = pricer.initial()
        self.highs = self._program(self.columns)

    def _program(self, columns: Columns) -> Any:
        """Return a linear program over some columns."""
        highs = self.highspy.Highs()
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 0),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 1 - 1e-4 if self.pricer.measure.integral else _TOLERANCE / 10),
        ):
            highs.setOptionValue(name, value)
        rows = self.pms + self.classes + 1
        ones, totals = np.ones(self.pms), self.pricer.aggregation.totals
        lower = np.concatenate([ones, totals, [-self.highspy.kHighsInf]])
        upper = np.concatenate([ones, totals, [self.limit]])
        none = np.zeros(0, np.int32)
        highs.addRows(rows, lower, upper, 0, np.zeros(rows, np.int32), none, np.zeros(0))
        self._extend(highs, columns)
        return highs

    def _extend(self, highs: Any, columns: Columns) -> None:
        """Add columns to a linear program."""
        count = len(columns.pm)
        entries = np.zeros((count, self.classes + 2))
        entries[:, 0] = 1.0
        entries[:, 1:-1] = columns.counts.sum(axis=2)
        entries[:, -1] = columns.departures
        column, entry = np.nonzero(entries)
        row = np.where(entry == 0, columns.pm[column], self.pms - 1 + entry)
        highs.addCols(
            count,
            -columns.value,
            np.zeros(count),
            np.full(count, self.highspy.kHighsInf),
            len(column),
            np.searchsorted(column, np.arange(count)).astype(np.int32),
            row.astype(np.int32),
            entries[column, entry],
        )

    def generate(self, deadline: float) -> float:
        """Solve the linear program over all columns; return a bound on the value."""
        bound = math.inf
        while True:
            self.highs.run()
            self.prices = -np.array(self.highs.getSolution().row_dual)
            self.relaxed = -self.highs.getInfo().objective_function_value
            best, reduced = self.pricer.best(*self._weights())
            gain = reduced - self.prices[: self.pms]
            bound = min(bound, self.relaxed + np.maximum(gain, 0.0).sum())
            good = gain > _TOLERANCE
            if not good.any() or time.perf_counter() > deadline:
                return bound
            new = Columns(*(field[good] for field in best))
            self._extend(self.highs, new)
            self.columns = _joined(self.columns, new)

    def _weights(self) -> tuple[npt.NDArray[np.float64], float, float]:
        """Return the prices as the pricer takes them."""
        return -self.prices[self.pms : -1], -float(self.prices[-1]), 1.0

    def round(self, deadline: float) -> Columns:
        """Return the best column for each PM among those at hand."""
        return self._integer(self.highs, self.columns, deadline)[0]

    def close(self, best: Columns, deadline: float) -> tuple[Columns, float]:
        """Look for better among all columns that can be part of it; return it and a bound."""
        step = 1.0 if self.pricer.measure.integral else 0.0
        slack = self.relaxed - (best.value.sum() + step) + _TOLERANCE
        least = self.prices[: self.pms] - slack
        near = self.pricer.near(*self._weights(), least, _MOST_COLUMNS)
        if near is None:
            return best, math.inf
        columns = _joined(best, near)
        return self._integer(self._program(columns), columns, deadline)

    def _integer(self, highs: Any, columns: Columns, deadline: float) -> tuple[Columns, float]:
        """Solve a program in integers, with the first column of each PM to start from."""
        count = len(columns.pm)
        kinds = np.full(count, self.highspy.HighsVarType.kInteger)
        highs.changeColsIntegrality(count, np.arange(count, dtype=np.int32), kinds)
        start = np.arange(self.pms, dtype=np.int32)
        highs.setSolution(self.pms, start, np.ones(self.pms))
        left = max(deadline - time.perf_counter(), 0.01)
        if math.isfinite(left):
            highs.setOptionValue("time_limit", highs.getRunTime() + left)
        highs.run()
        chosen = np.flatnonzero(np.array(highs.getSolution().col_value) > 0.5)
        if len(chosen) != self.pms:
            chosen = start
        return _chosen(columns, chosen), -highs.getInfo().mip_dual_bound


def _joined(first: Columns, second: Columns) -> Columns:
    return Columns(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def _chosen(columns: Columns, index: IntArray) -> Columns:
    """Return one column per PM in the order of the PMs."""
    index = index[np.argsort(columns.pm[index])]
    return Columns(*(field[index] for field in columns))
