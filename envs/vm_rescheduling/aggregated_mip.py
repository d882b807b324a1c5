"""The optimum over all placements as one integer program over counts of interchangeable VMs.

One integer variable per class and node says how many of its VMs are there. Unlike column
generation it takes anti-affinity into account, by a class per set; it suits small clusters.

Needs HiGHS, which comes with the extra ``exact``.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.aggregation import Aggregation, Measure
from dispatchgym.envs.vm_rescheduling.column_generation import Optimum, import_highspy
from dispatchgym.envs.vm_rescheduling.instance import Instance

__all__ = ["aggregated_mip"]

IntArray = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

_TOLERANCE = 1e-6
_MOST_VARIABLES = 500_000


def aggregated_mip(
    instance: Instance,
    migration_limit: int | None = None,
    *,
    target: float = math.inf,
    time_limit: float = math.inf,
) -> Optimum:
    """Maximise the value within a migration limit.

    Args:
        instance: The problem.
        migration_limit: Most migrations; the instance's unless given.
        target: Stop at a placement of at least this value.
        time_limit: Seconds after which the best so far is returned, with a valid bound.

    Raises:
        ParameterError: The program would be too large.
        MissingDependencyError: HiGHS is not installed.
    """
    began = time.perf_counter()
    aggregation = Aggregation.of(instance)
    program = _Program(aggregation, Measure.of(instance))
    limit = instance.migration_limit if migration_limit is None else migration_limit
    program.limit_departures(limit)
    return program.solve(target, time_limit - (time.perf_counter() - began))


class _Program:
    """Rows and columns of the program, collected block by block."""

    def __init__(self, aggregation: Aggregation, measure: Measure) -> None:
        self.aggregation = aggregation
        self.measure = measure
        self.highspy = import_highspy()
        self.cost: list[Array] = []
        self.upper: list[Array] = []
        self.integer: list[Array] = []
        self.num_columns = 0
        self.rows: list[Array] = []
        self.columns: list[Array] = []
        self.values: list[Array] = []
        self.row_lower: list[Array] = []
        self.row_upper: list[Array] = []
        self.num_rows = 0
        self.count = self._counts()
        self.departures = self._departures()
        self._totals()
        self._capacity()
        self._slots()
        self._empties()
        self._sets()

    def add_columns(self, shape: tuple[int, ...], cost: Any, upper: Any, integer: bool) -> IntArray:
        """Add variables from 0 to `upper`; return their numbers."""
        size = int(np.prod(shape))
        if self.num_columns + size > _MOST_VARIABLES:
            raise ParameterError(
                f"{self.aggregation.instance.name}: found more than {_MOST_VARIABLES} variables, "
                "expected a smaller cluster"
            )
        index = np.arange(self.num_columns, self.num_columns + size).reshape(shape)
        self.num_columns += size
        self.cost.append(np.broadcast_to(cost, shape).ravel().astype(np.float64))
        self.upper.append(np.broadcast_to(upper, shape).ravel().astype(np.float64))
        self.integer.append(np.full(size, integer))
        return index

    def add_rows(self, lower: Any, upper: Any, count: int) -> IntArray:
        """Add rows; return their numbers."""
        index = np.arange(self.num_rows, self.num_rows + count)
        self.num_rows += count
        self.row_lower.append(np.broadcast_to(lower, count).astype(np.float64))
        self.row_upper.append(np.broadcast_to(upper, count).astype(np.float64))
        return index

    def put(self, rows: Any, columns: Array, values: Any) -> None:
        """Set entries of the matrix; the arguments are broadcast against each other."""
        rows, columns, values = np.broadcast_arrays(rows, columns, values)
        chosen = columns >= 0
        self.rows.append(rows[chosen])
        self.columns.append(columns[chosen])
        self.values.append(values[chosen].astype(np.float64))

    def _counts(self) -> IntArray:
        """Return (C, P, 2) the variables that count VMs; -1 where there is none."""
        a = self.aggregation
        room = a.capacity_cpu[None] // a.cpu[:, None, None]
        room = np.minimum(room, a.totals[:, None, None]) * a.allowed[:, :, None]
        room[: a.doubles] = room[: a.doubles].min(axis=2, keepdims=True)
        room[: a.doubles, :, 1] = 0
        index = np.full(room.shape, -1)
        used = room > 0
        index[used] = self.add_columns((int(used.sum()),), 0.0, room[used], True)
        return index

    def _departures(self) -> IntArray:
        """Return the variables that count the VMs that leave a place."""
        a = self.aggregation
        place = np.nonzero(a.home)
        home = a.home[place]
        leaving = self.add_columns((len(home),), 0.0, home, False)
        rows = self.add_rows(home, math.inf, len(home))
        self.put(rows, self.count[place], 1)
        self.put(rows, leaving, 1)
        return leaving

    def limit_departures(self, limit: int) -> None:
        """Allow so many VMs to leave their place."""
        self.put(self.add_rows(-math.inf, limit, 1), self.departures, 1)

    def _totals(self) -> None:
        totals = self.aggregation.totals
        rows = self.add_rows(totals, totals, len(totals))
        self.put(rows[:, None, None], self.count, 1)

    def _room(self, capacity: IntArray, size: IntArray) -> IntArray:
        """Add rows that keep what VMs take within capacity; return them as (P, 2)."""
        doubles = self.aggregation.doubles
        rows = self.add_rows(-math.inf, capacity.ravel(), capacity.size).reshape(capacity.shape)
        self.put(rows, self.count[doubles:], size[doubles:, None, None])
        both = self.count[:doubles, :, :1]
        self.put(rows, both, size[:doubles, None, None])
        return rows

    def _capacity(self) -> None:
        a = self.aggregation
        if not (~self.measure.memory).any():
            self._room(a.capacity_cpu, a.cpu)
        if not self.measure.memory.any() and a.memory.any():
            self._room(a.capacity_memory, a.memory)

    def _slots(self) -> None:
        a, m = self.aggregation, self.measure
        for coefficient, memory, chunk, double in zip(
            m.coefficient, m.memory, m.chunk, m.double, strict=True
        ):
            capacity, size = (a.capacity_memory, a.memory) if memory else (a.capacity_cpu, a.cpu)
            rows = self._room(capacity, size)
            most = capacity // chunk
            if double:
                most = most.min(axis=1, keepdims=True)
            self.put(rows, self.add_columns(most.shape, -coefficient, most, True), chunk)

    def _empties(self) -> None:
        if not self.measure.empty:
            return
        a = self.aggregation
        empty = self.add_columns((a.instance.num_pms,), -self.measure.empty, ~a.pinned, True)
        used = self.count >= 0
        place = np.nonzero(used)
        most = np.concatenate(self.upper)[self.count[place]]
        rows = self.add_rows(-math.inf, most, len(most))
        self.put(rows, self.count[place], 1)
        self.put(rows, empty[place[1]], most)

    def _sets(self) -> None:
        """At most one VM of a set per PM or rack, or as many as there are at the start."""
        instance = self.aggregation.instance
        for number in np.unique(instance.affinity[instance.affinity >= 0]).tolist():
            level = instance.rack if instance.affinity_rack[number] else np.arange(instance.num_pms)
            members = np.flatnonzero(instance.affinity == number)
            size = int(level.max()) + 1
            at_start = np.bincount(level[instance.vm_pm[members]], minlength=size)
            fixed = members[~instance.movable[members]]
            pinned = np.bincount(level[instance.vm_pm[fixed]], minlength=size)
            rows = self.add_rows(-math.inf, np.maximum(at_start, 1) - pinned, size)
            classes = np.flatnonzero(self.aggregation.affinity == number)
            self.put(rows[level][None, :, None], self.count[classes], 1)

    def solve(self, target: float, time_limit: float) -> Optimum:
        """Run the solver, from the placement at the start."""
        highs = self._load()
        highs.setOptionValue("objective_target", _TOLERANCE - target)
        if math.isfinite(time_limit):
            highs.setOptionValue("time_limit", max(time_limit, 0.0))
        highs.run()
        found = np.round(np.append(np.array(highs.getSolution().col_value), 0.0))
        counts = found[self.count].astype(np.int64)
        if len(found) == 1 or (counts.sum(axis=(1, 2)) != self.aggregation.totals).any():
            counts = self.aggregation.home
        value = self.measure.value(self.aggregation, counts)
        bound = -highs.getInfo().mip_dual_bound
        if self.measure.integral and math.isfinite(bound):
            bound = math.floor(bound + _TOLERANCE)
        return Optimum(value, max(bound, value), counts, self.aggregation, self.measure)

    def _load(self) -> Any:
        """Return the solver with the program in it."""
        rows, columns = np.concatenate(self.rows), np.concatenate(self.columns)
        order = np.lexsort((columns, rows))
        lp = self.highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.num_columns, self.num_rows
        lp.col_cost_, lp.col_lower_ = np.concatenate(self.cost), np.zeros(self.num_columns)
        lp.col_upper_ = np.concatenate(self.upper)
        lp.row_lower_, lp.row_upper_ = (
            np.concatenate(self.row_lower),
            np.concatenate(self.row_upper),
        )
        lp.a_matrix_.format_ = self.highspy.MatrixFormat.kRowwise
        starts = np.searchsorted(rows[order], np.arange(self.num_rows + 1))
        lp.a_matrix_.start_ = starts.astype(np.int32)
        lp.a_matrix_.index_ = columns[order].astype(np.int32)
        lp.a_matrix_.value_ = np.concatenate(self.values)[order]
        types = self.highspy.HighsVarType
        lp.integrality_ = [
            types.kInteger if whole else types.kContinuous
            for whole in np.concatenate(self.integer).tolist()
        ]
        highs = self.highspy.Highs()
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("random_seed", 0),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 1 - 1e-4 if self.measure.integral else _TOLERANCE / 10),
        ):
            highs.setOptionValue(name, value)
        highs.passModel(lp)
        return highs
