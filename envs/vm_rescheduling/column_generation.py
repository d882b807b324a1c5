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
from dispatchgym.envs.vm_rescheduling.pricing import Columns, Pricer, Prices

__all__ = ["Optimum", "column_generation", "import_highspy"]

IntArray = npt.NDArray[np.int64]

_TOLERANCE = 1e-6
_MOST_PER_PM = 100
_FEW_COLUMNS = 300
_LEAST_SECONDS = 0.01


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
    instance: Instance,
    migration_limit: int | None = None,
    *,
    target: float = math.inf,
    time_limit: float = math.inf,
) -> Optimum:
    """Maximise the value within a migration limit; anti-affinity is left out of account.

    Args:
        instance: The problem.
        migration_limit: Most migrations; the instance's unless given.
        target: Stop at a placement of at least this value.
        time_limit: Seconds after which the best so far is returned, with a valid bound.

    Raises:
        ParameterError: The nodes are too large for tables over their room.
        MissingDependencyError: HiGHS is not installed.
    """
    deadline = time.perf_counter() + time_limit
    aggregation = Aggregation.of(instance, sets=False)
    measure = Measure.of(instance)
    limit = instance.migration_limit if migration_limit is None else migration_limit
    master = _Master(Pricer(aggregation, measure), limit, deadline)
    bound = master.generate()
    target = min(target, bound)
    best = master.round(target)
    if best.total + _TOLERANCE < target:
        best, bound = master.close(best, bound)
    counts = best.counts.transpose(1, 0, 2)
    return Optimum(best.total, max(bound, best.total), counts, aggregation, measure)


class _Master:
    """The master problem: one row per PM, one per class, and the migration limit."""

    def __init__(self, pricer: Pricer, limit: int, deadline: float) -> None:
        self.highspy = import_highspy()
        self.pricer = pricer
        self.pms = pricer.aggregation.instance.num_pms
        self.classes = pricer.aggregation.num_classes
        self.limit = limit
        self.deadline = deadline
        self.prices = np.zeros(self.pms + self.classes + 1)
        self.relaxed = math.inf
        self.weights = np.zeros(0)
        self.columns = pricer.initial()

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

    def generate(self) -> float:
        """Solve the linear program over all columns; return a bound on the value."""
        highs = self._program(self.columns)
        bound = math.inf
        while True:
            highs.run()
            solution = highs.getSolution()
            self.weights = np.array(solution.col_value)
            self.prices = -np.array(solution.row_dual)
            self.relaxed = -highs.getInfo().objective_function_value
            best, reduced = self.pricer.best(self._prices())
            gain = reduced - self.prices[: self.pms]
            bound = min(bound, self.relaxed + np.maximum(gain, 0.0).sum())
            good = gain > _TOLERANCE
            if not good.any() or time.perf_counter() > self.deadline:
                return self._rounded(bound)
            new = best.take(good)
            self._extend(highs, new)
            self.columns = self.columns.joined(new)

    def _prices(self) -> Prices:
        """Return the prices as the pricer takes them."""
        return Prices(-self.prices[self.pms : -1], -float(self.prices[-1]), 1.0)

    def _rounded(self, bound: float) -> float:
        """Return a bound on values that takes into account that they may be integers."""
        whole = self.pricer.measure.integral and math.isfinite(bound)
        return math.floor(bound + _TOLERANCE) if whole else bound

    def round(self, target: float) -> Columns:
        """Return the best column found for each PM; stop at a target.

        Few PMs are undecided in the linear optimum: an integer program over these and some
        others, the rest as decided, is small and mostly attains the target.
        """
        likely, order, size = self._decided()
        best = self.pricer.initial()
        while size < 2 * self.pms and time.perf_counter() < self.deadline:
            free = np.zeros(self.pms, np.bool_)
            free[order[:size]] = True
            columns = likely.joined(self.columns.take(free[self.columns.pm]))
            columns = columns.joined(self._some_near(free, target))
            found, _ = self._integer(columns, False, target)
            if found is not None and found.total > best.total:
                best = found
            if best.total > target - _TOLERANCE:
                break
            size *= 2
        return best

    def _decided(self) -> tuple[Columns, IntArray, int]:
        """Return the likeliest column of each PM; the PMs, least decided first; and a number.

        That is how many PMs are undecided, at least 1.
        """
        columns = self.columns.take(slice(0, len(self.weights)))
        order = np.lexsort((self.weights, columns.pm))
        last = np.append(np.diff(columns.pm[order]) > 0, True)
        likely = order[last]
        others = np.delete(np.arange(len(self.weights)), likely)
        doubt = np.full(self.pms, -math.inf)
        np.maximum.at(doubt, columns.pm[others], self._reduced(columns)[others])
        decided = self.weights[likely] > 1 - _TOLERANCE
        return columns.take(likely), np.lexsort((-doubt, decided)), max(1, int((~decided).sum()))

    def _reduced(self, columns: Columns) -> npt.NDArray[np.float64]:
        """Return the reduced values of columns."""
        prices = self._prices()
        worth = columns.counts.sum(axis=2) @ prices.of_class
        worth += prices.departure * columns.departures + prices.value * columns.value
        return worth - self.prices[columns.pm]

    def _some_near(self, free: npt.NDArray[np.bool_], target: float) -> Columns:
        """Return columns of the free PMs that may be part of a solution that has the target."""
        slack = max(self.relaxed - target, 0.0)
        for share in (1.0, 0.25, 0.0):
            least = np.where(free, self.prices[: self.pms] - share * slack - _TOLERANCE, math.inf)
            near = self.pricer.near(self._prices(), least, _FEW_COLUMNS)
            if near is not None:
                return near
        return self.columns.take(slice(0, 0))

    def close(self, best: Columns, bound: float) -> tuple[Columns, float]:
        """Look for better among all columns that can be part of it; return it and a bound."""
        step = 1.0 if self.pricer.measure.integral else 0.0
        slack = self.relaxed - (best.total + step) + _TOLERANCE
        least = self.prices[: self.pms] - slack
        near = self.pricer.near(self._prices(), least, _MOST_PER_PM * self.pms)
        if near is None or time.perf_counter() > self.deadline:
            return best, bound
        found, tighter = self._integer(best.joined(near), True, bound)
        return found or best, min(bound, self._rounded(tighter))

    def _integer(
        self, columns: Columns, start: bool, target: float
    ) -> tuple[Columns | None, float]:
        """Solve a program in integers; return one column per PM, or none, and a bound."""
        highs = self._program(columns)
        count = len(columns.pm)
        kinds = np.full(count, self.highspy.HighsVarType.kInteger)
        highs.changeColsIntegrality(count, np.arange(count, dtype=np.int32), kinds)
        highs.setOptionValue("objective_target", _TOLERANCE - target)
        left = max(self.deadline - time.perf_counter(), _LEAST_SECONDS)
        highs.setOptionValue("time_limit", left)
        if start:  # the first column of each PM
            solution = self.highspy.HighsSolution()
            solution.col_value = (np.arange(count) < self.pms).astype(np.float64)
            highs.setSolution(solution)
        highs.run()
        chosen = np.flatnonzero(np.array(highs.getSolution().col_value) > 0.5)
        bound = -highs.getInfo().mip_dual_bound
        if len(chosen) != self.pms:
            return None, bound
        return columns.take(chosen[np.argsort(columns.pm[chosen])]), bound
