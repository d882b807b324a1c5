"""A fleet as a flow of identical aircraft on a grid of time: the linear program of the bounds.

Aircraft wait at ports or fly legs that take a whole number of steps; passengers of a pair and a
slot fill the seats of its flights. A flight holds a place at its destination, a charger or the
parking lot of a vertistop, from its decision until it is ready again. For each pair and slot one
mixed-integer-rounding cut closes the gap between seats and whole flights: with it the two rows
are the convex hull of the whole numbers of flights (Nemhauser, Wolsey: "Integer and
Combinatorial Optimization", 1988, II.1.7), so that the linear program is nearly as tight as the
integer one.

Needs the extra ``exact`` (highspy).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError
from dispatchgym.envs.uam.instance import Instance

__all__ = ["Flow", "FlowSolution", "flow_fields", "solve_flow"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Flow:
    """N ports, H steps of time, S slots and the A legs that aircraft may fly.

    Attributes:
        slot: (H,) slot of each step, 0..S-1.
        origin: (A,) port where each leg begins.
        destination: (A,) port where it ends.
        duration: (A,) steps from the decision to fly until the aircraft is ready again, >= 1.
        open: (A, H) whether a flight may be decided in a step.
        supply: (N, H) aircraft that become ready at a port in a step, wherever they come from.
        capacity: (N,) places that flights to a port may hold.
        places: (N,) the same and those of waiting aircraft.
        held: (N, H) places held by flights that were decided before the first step.
        demand: (A, S) passengers.
        margin: (A, S) cents earned by a passenger.
        cost: (A,) cents spent on a flight.
        seats: Seats of an aircraft.
        lag: Steps from a decision until its place counts: 0 if times are exact, 1 if decisions
            were rounded down to the grid.
        wait: Steps from a decision to stay until the next one, >= 1.
    """

    slot: IntArray
    origin: IntArray
    destination: IntArray
    duration: IntArray
    open: BoolArray
    supply: IntArray
    capacity: IntArray
    places: IntArray
    held: IntArray
    demand: FloatArray
    margin: FloatArray
    cost: FloatArray
    seats: int
    lag: int
    wait: int = 1

    @cached_property
    def cells(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Leg and slot of the passengers who are worth a seat."""
        leg, slot = np.nonzero((self.demand > 0) & (self.margin > 0))
        return leg, slot


@dataclass(frozen=True)
class FlowSolution:
    """What the solver made of a flow.

    Attributes:
        flights: (A, H) flights decided in each step; None if time ran out before any were found.
        profit: Cents earned by these flights; -inf if there are none.
        bound: Cents that no flow can exceed.
        proved: Whether the flights are optimal within the tolerance asked for.
    """

    flights: FloatArray | None
    profit: float
    bound: float
    proved: bool


def solve_flow(
    flow: Flow,
    *,
    integer: bool = False,
    solver: str = "choose",
    time_limit: float = 600.0,
    gap: float = 0.0,
    tolerance: float = 0.0,
) -> FlowSolution:
    """Maximise the profit of a flow with HiGHS on one thread.

    Args:
        flow: The problem.
        integer: Whether flights are whole numbers.
        solver: HiGHS's name of the method for the linear program: ``"ipm"`` is fastest on large
            grids. It runs without crossover, and the bound follows from its dual values.
        time_limit: Seconds, > 0.
        gap: Relative gap at which a search among whole numbers ends.
        tolerance: The same in cents.

    Returns:
        Flights and a bound that holds whatever the solver's tolerances: of a linear program it
        is computed anew from the dual values (Neumaier, Shcherbina: "Safe bounds in linear and
        mixed-integer linear programming", Mathematical Programming 99, 2004).

    Raises:
        MissingDependencyError: highspy is not installed.
    """
    highspy = import_highspy()
    program = _Program(flow)
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "time_limit": time_limit,
        "mip_rel_gap": gap,
        "mip_abs_gap": tolerance,
        "solver": solver,
        "run_crossover": "off",
    }
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.passModel(program.highs_model(highspy, integer))
    highs.run()
    solution, info = highs.getSolution(), highs.getInfo()
    proved = highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    if integer:
        bound = min(-info.mip_dual_bound, program.dual_bound(np.zeros(program.num_rows)))
    else:
        bound = program.dual_bound(-np.array(solution.row_dual))
    if not solution.value_valid:
        return FlowSolution(None, -np.inf, bound, False)
    values = np.array(solution.col_value)
    return FlowSolution(program.flights(values), float(program.profit @ values), bound, proved)


def flow_fields(instance: Instance) -> dict[str, Any]:
    """Return those fields of a `Flow` that a whole day of an instance and a part of it share."""
    origin, destination = np.nonzero(instance.reachable)
    fare = instance.fare_cents[:, origin, destination].T
    operating = instance.operating_cents[origin, destination]
    electricity = instance.electricity_cents[origin, destination]
    per_flight = instance.op_basis == "vehicle"
    return {
        "origin": origin,
        "destination": destination,
        "demand": instance.passengers[:, origin, destination].T.astype(np.float64),
        "margin": (fare - (0 if per_flight else operating[:, None])).astype(np.float64),
        "cost": (electricity + (operating if per_flight else 0)).astype(np.float64),
        "capacity": np.where(instance.chargers > 0, instance.chargers, instance.parking),
        "places": instance.parking + instance.chargers,
        "seats": instance.seats,
    }


def import_highspy() -> Any:
    """Return the module highspy, or say how to get it."""
    try:
        import highspy
    except ImportError as error:
        raise MissingDependencyError(
            f"highspy cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return highspy


class _Program:
    """The linear program of a flow: ``low <= matrix @ columns <= high``, maximise ``profit``.

    Columns: flights (A, H), aircraft waiting (N, H), places held by flights (N, H), passengers
    of each cell.
    """

    def __init__(self, flow: Flow) -> None:
        """Number the columns and write all rows."""
        self.flow = flow
        legs, steps = flow.open.shape
        ports = len(flow.places)
        cells = len(flow.cells[0])
        sizes = np.cumsum([0, legs * steps, ports * steps, ports * steps, cells])
        self.flight = np.arange(sizes[0], sizes[1]).reshape(legs, steps)
        self.waiting = np.arange(sizes[1], sizes[2]).reshape(ports, steps)
        self.holding = np.arange(sizes[2], sizes[3]).reshape(ports, steps)
        self.passengers = np.arange(sizes[3], sizes[4])
        self.profit = np.zeros(sizes[4])
        self.upper = np.zeros(sizes[4])
        self._entries: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._low: list[FloatArray] = []
        self._high: list[FloatArray] = []
        self.num_rows = 0
        self._price_columns()
        self._keep_aircraft()
        self._hold_places()
        self._fill_seats()
        self._assemble()

    def _price_columns(self) -> None:
        flow = self.flow
        fleet = int(flow.supply.sum())
        free = np.maximum(flow.capacity[:, None] - flow.held, 0)
        self.upper[self.flight] = np.where(flow.open, fleet, 0)
        self.upper[self.waiting] = fleet
        self.upper[self.holding] = np.minimum(free, fleet)
        self.upper[self.passengers] = flow.demand[flow.cells]
        self.profit[self.flight] = -flow.cost[:, None]
        self.profit[self.passengers] = flow.margin[flow.cells]

    def _keep_aircraft(self) -> None:
        """Whoever waits or lands at a port waits on or takes off there."""
        flow = self.flow
        row = self._add_rows(flow.supply, flow.supply)
        self._put(row, self.waiting, 1)
        self._put(row[:, flow.wait :], self.waiting[:, : -flow.wait], -1)
        self._put(row[flow.origin], self.flight, 1)
        self._put_later(row, flow.duration, -1)

    def _hold_places(self) -> None:
        """Count the places that flights hold at each port, and limit them with the waiting."""
        flow = self.flow
        row = self._add_rows(np.zeros(flow.held.shape), np.zeros(flow.held.shape))
        self._put(row, self.holding, 1)
        self._put(row[:, 1:], self.holding[:, :-1], -1)
        holds = flow.duration > flow.lag  # else it never counts
        self._put_later(row, np.where(holds, flow.lag, flow.slot.size), -1)
        self._put_later(row, np.where(holds, flow.duration, flow.slot.size), 1)
        places = np.maximum(flow.places[:, None] - flow.held, 0)
        row = self._add_rows(np.full(places.shape, -np.inf), places)
        self._put(row, self.holding, 1)
        for since in range(flow.wait):
            self._put(row[:, since:], self.waiting[:, : flow.slot.size - since], 1)

    def _fill_seats(self) -> None:
        """Passengers need seats; the cut counts what the last flight that is needed can carry."""
        flow = self.flow
        leg, slot = flow.cells
        demand = flow.demand[leg, slot]
        flights = np.ceil(demand / flow.seats)
        last = demand - flow.seats * (flights - 1)
        cut = (demand == np.floor(demand)) & (last < flow.seats)
        everything = np.ones(len(demand), np.bool_)
        for chosen, load, spare in (
            (everything, np.full(len(demand), flow.seats), np.zeros(len(demand))),
            (cut, last, demand - last * flights),
        ):
            row = self._add_rows(np.full(int(chosen.sum()), -np.inf), spare[chosen])
            self._put(row, self.passengers[chosen], 1)
            in_slot = flow.slot == slot[chosen, None]
            cell, step = np.nonzero(in_slot)
            self._put(row[cell], self.flight[leg[chosen][cell], step], -load[chosen][cell])

    def _add_rows(self, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> IntArray:
        """Return the numbers of new rows, in the shape of their limits."""
        row = np.arange(self.num_rows, self.num_rows + low.size).reshape(low.shape)
        self._low.append(low.ravel().astype(np.float64))
        self._high.append(high.ravel().astype(np.float64))
        self.num_rows += low.size
        return row

    def _put(self, row: IntArray, column: IntArray, value: float | FloatArray) -> None:
        shape = np.broadcast_shapes(row.shape, column.shape)
        self._entries.append(
            tuple(np.broadcast_to(x, shape).ravel() for x in (row, column, np.float64(value)))  # type: ignore[arg-type]
        )

    def _put_later(self, row: IntArray, delay: IntArray, value: float) -> None:
        """Put each flight into the row (N, H) of its destination, `delay` (A,) steps later."""
        leg, step = np.nonzero(np.arange(row.shape[1]) + delay[:, None] < row.shape[1])
        self._put(row[self.flow.destination[leg], step + delay[leg]], self.flight[leg, step], value)

    def _assemble(self) -> None:
        self.low, self.high = np.concatenate(self._low), np.concatenate(self._high)
        row, column, self.value = (
            np.concatenate(part) for part in zip(*self._entries, strict=True)
        )
        order = np.argsort(row, kind="stable")
        self.row, self.column, self.value = row[order], column[order], self.value[order]

    def highs_model(self, highspy: Any, integer: bool) -> Any:
        """Return the program in the form of the solver."""
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.profit), self.num_rows
        # Losses are minimised: maximising without crossover gives duals of changing sign.
        model.col_cost_, model.col_lower_ = -self.profit, np.zeros(len(self.profit))
        model.col_upper_ = self.upper
        model.row_lower_, model.row_upper_ = self.low, self.high
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.searchsorted(self.row, np.arange(self.num_rows + 1))
        model.a_matrix_.index_, model.a_matrix_.value_ = self.column, self.value
        if integer:
            kinds = np.full(len(self.profit), highspy.HighsVarType.kContinuous)
            kinds[self.flight] = highspy.HighsVarType.kInteger
            model.integrality_ = kinds.tolist()
        return model

    def dual_bound(self, dual: FloatArray) -> float:
        """Return a bound on the profit that holds for any values `dual` of the rows.

        For each row dual times its activity is at most dual times one of the row's limits, and
        what a column earns beyond the duals of its rows is at most that times its upper limit.
        """
        dual = np.where(np.isinf(self.high), np.minimum(dual, 0), dual)
        dual = np.where(np.isinf(self.low), np.maximum(dual, 0), dual)
        limit = np.where(dual > 0, self.high, self.low)
        rows = np.multiply(dual, limit, where=dual != 0, out=np.zeros(self.num_rows))
        earned = np.bincount(self.column, self.value * dual[self.row], len(self.profit))
        columns = np.maximum(self.profit - earned, 0) * self.upper
        return float(rows.sum() + columns.sum())

    def flights(self, values: FloatArray) -> FloatArray:
        """Return the flights (A, H) of a solution."""
        return values[self.flight]
