"""Optimal plans, proven bounds, and all plans that none beats in both objectives.

The cost of a plan is its makespan over the makespan of the device alone, times the preference for
latency, plus its energy over the energy of the device alone, times the other preference. The
device alone costs 1; what is saved of it is the quality of experience of DRLTO.

Plans are for the order in which the environment decides. Small ones are found by branch and bound
(`dispatchgym.envs.edge_dag_plan.search`). What it leaves open is a constraint program, which
needs the extra ``exact``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError, ParameterError
from dispatchgym.envs.core.preference import check_preference
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.edge_dag_plan import kernel, search
from dispatchgym.envs.edge_dag_plan.env import ORDERS, UPLINK_QUEUES, EdgeDagPlanSimulation
from dispatchgym.envs.edge_dag_plan.instance import Instance
from dispatchgym.envs.edge_dag_plan.validator import validate

__all__ = ["ExactResult", "cost_of", "lower_bound", "lower_bounds", "solve"]

FloatArray = npt.NDArray[np.float64]

FIRST_NODES = 20_000
"""Nodes of the first search, about a millisecond; each further one has `GROWTH` times as many."""
GROWTH = 8
SHARE_OF_TREE = 0.5
"""Share of the time that branch and bound gets where a constraint program could go on."""
TICKS = 1_000_000
"""The constraint program counts time in so many parts of the device's makespan alone."""
SPLITS = 41
"""Weights that the linear bound is maximised over."""


@dataclass(frozen=True)
class ExactResult:
    """What the solver found.

    Attributes:
        objective: float64 (2,), makespan in seconds and energy in joules of the best plan found.
        cost: its cost by the preference; see the module.
        bound: Cost that no plan is below.
        proved: Whether the plan is proven optimal.
        schedule: The plan in the form of the environment's ``info["schedule"]``.
        seconds: Wall time of everything.
    """

    objective: FloatArray
    cost: float
    bound: float
    proved: bool
    schedule: dict[str, npt.NDArray[Any]]
    seconds: float


def cost_of(instance: Instance, objective: npt.ArrayLike, preference: npt.ArrayLike) -> Any:
    """Return the cost of plans with these makespans and energies, (..., 2) -> (...)."""
    alone = np.array([instance.local_latency, instance.local_energy])
    return (np.asarray(objective, np.float64) / alone) @ np.asarray(preference, np.float64)


def solve(
    instance: Instance,
    *,
    preference: Any = (0.5, 0.5),
    uplink_queue: str = "corrected",
    order: str = "rank",
    time_limit: float = 60.0,
    workers: int = 1,
) -> ExactResult:
    """Return a good plan and a bound, both proven optimal if time suffices.

    Up to 20 tasks and one server take milliseconds.

    Args:
        instance: The problem.
        preference: Weights of latency and energy, >= 0, that sum to one.
        uplink_queue: ``"corrected"`` or ``"published_code"``, as of the environment.
        order: ``"rank"`` or ``"index"``, as of the environment.
        time_limit: Seconds, > 0.
        workers: Threads of the constraint solver, >= 1.

    Returns:
        The best plan, which has passed the validator, and a proven bound.

    Raises:
        ParameterError: An argument is out of range.
        EvaluationError: A plan fails the validator or beats a proven bound.
    """
    began = time.perf_counter()
    weights = _checked(instance, preference, uplink_queue, order, time_limit, workers)
    simulation = EdgeDagPlanSimulation(
        num_lanes=1, scenario=instance, uplink_queue=uplink_queue, order=order, preference=weights
    )
    simulation.restart(np.ones(1, np.bool_), np.zeros(1, np.int64))
    tree = search.empty_tree(1, instance.num_tasks)
    tree.cost[:] = np.inf
    for rule in range(len(simulation.rules)):
        search.try_rule(simulation.state, simulation.preferences, tree, rule, 0)
    proved = _branch_and_bound(simulation, tree, began + SHARE_OF_TREE * time_limit)
    bound = float(tree.cost[0])
    if not proved:
        bound = lower_bound(instance, weights, uplink_queue)
        left = began + time_limit - time.perf_counter()
        bound = max(bound, _constraint_program(simulation, tree, weights, left, workers))
    schedule = _play(simulation, tree.best[0])
    report = validate(instance, schedule)
    if not report.valid:
        raise EvaluationError(
            f"{instance.name}: the plan is not valid: {report.violations[0].message}"
        )
    cost = float(cost_of(instance, report.objective, weights))
    if cost < bound - 1e-9:
        raise EvaluationError(f"{instance.name}: cost {cost} is below the proven bound {bound}")
    proved = proved or cost <= bound + 1e-9
    seconds = time.perf_counter() - began
    return ExactResult(report.objective, cost, min(bound, cost), proved, schedule, seconds)


def _checked(
    instance: Instance,
    preference: Any,
    uplink_queue: str,
    order: str,
    time_limit: float,
    workers: int,
) -> FloatArray:
    """Check the arguments of `solve` and return the preference as weights."""
    if not isinstance(instance, Instance):
        raise ParameterError(f"instance: found {type(instance).__name__}, expected an Instance")
    check_choice("uplink_queue", uplink_queue, UPLINK_QUEUES)
    check_choice("order", order, ORDERS)
    if not isinstance(time_limit, int | float) or not 0 < time_limit < float("inf"):
        raise ParameterError(f"time_limit: found {time_limit!r}, expected seconds > 0")
    if not isinstance(workers, int) or workers < 1:
        raise ParameterError(f"workers: found {workers!r}, expected an integer >= 1")
    weights = check_preference(preference, 2)
    if isinstance(weights, str):
        raise ParameterError(f"preference: found {preference!r}, expected two weights")
    return weights


def _branch_and_bound(
    simulation: EdgeDagPlanSimulation, tree: search.Tree, deadline: float
) -> bool:
    """Search again and again with more nodes; return whether the best plan is proven optimal."""
    state, preference = simulation.state, simulation.preferences
    search.bound_rest(state, preference, tree, 0)
    nodes = FIRST_NODES
    while not search.complete_lane(state, preference, tree, nodes, 0):
        if time.perf_counter() > deadline:
            return False
        nodes *= GROWTH
    return True


def _play(
    simulation: EdgeDagPlanSimulation, places: npt.NDArray[np.int64]
) -> dict[str, npt.NDArray[Any]]:
    """Return the schedule of the plan that puts each task to its place."""
    state = simulation.state
    for i in state.order[0].tolist():
        kernel.commit(state, 0, places[i], state.setting[kernel.PUBLISHED])
    state.scalar[0, kernel.STATUS] = kernel.FINISHED
    return simulation.schedule(0)


# ---------------------------------------------------------------- bounds


def lower_bounds(instance: Instance, uplink_queue: str = "corrected") -> FloatArray:
    """Return a makespan and an energy that no plan is below, float64 (2,).

    Each on its own: no plan need reach both.
    """
    least_energy = _energies(instance).min(axis=1).sum()
    bound = max(_critical_path(instance), _load_bound(instance, 1.0, 0.0, uplink_queue))
    return np.array([bound, least_energy])


def lower_bound(
    instance: Instance, preference: npt.ArrayLike, uplink_queue: str = "corrected"
) -> float:
    """Return a cost that no plan is below, whatever the order of decisions.

    The larger of two: the critical path and the least energy; and the linear program in which a
    task may be shared out between the device and the servers, where the makespan is at least the
    load of the device and at least that of the uplink.
    """
    latency, energy = np.asarray(preference, np.float64)
    second, joule = latency / instance.local_latency, energy / instance.local_energy
    separate = second * _critical_path(instance) + joule * _energies(instance).min(axis=1).sum()
    return float(max(separate, _load_bound(instance, second, joule, uplink_queue)))


def _energies(instance: Instance) -> FloatArray:
    """Return the joules of each task at each place, (n, S + 1)."""
    remote = (
        instance.upload_time * instance.transmit_power
        + instance.download_time * instance.receive_power
    )
    return np.column_stack([instance.local_time * instance.device_power, remote])


def _critical_path(instance: Instance) -> float:
    """Return a makespan that chains of tasks need alone, were all resources free.

    A child's upload need not wait until its parents have been computed, only until they have been
    uploaded, so uploads and computing of a chain overlap. For each task there are the earliest
    second at which it can have been uploaded or computed locally, and at which it can have been
    computed anywhere.
    """
    sent, computed = np.zeros(instance.num_tasks), np.zeros(instance.num_tasks)
    upload, remote = instance.upload_time, instance.remote_time
    for i in instance.index_order.tolist():
        parents = instance.parents(i)
        inputs_sent, inputs = sent[parents].max(initial=0.0), computed[parents].max(initial=0.0)
        here = inputs + instance.local_time[i]
        up = inputs_sent + upload[i]
        sent[i] = min(here, up.min())
        computed[i] = min(here, (np.maximum(up, inputs) + remote[i]).min())
    return float(computed.max())


def _load_bound(instance: Instance, second: float, joule: float, uplink_queue: str) -> float:
    """Return the linear bound for costs of a second of makespan and of a joule.

    The makespan is at least any weighted mean of the loads of device and uplink; given the
    weight, each task goes where it adds less. The best of many weights is taken.
    """
    energies = _energies(instance) * joule
    busy = instance.upload_time
    if uplink_queue == "published_code":
        has_parents = np.bincount(instance.edges[:, 1], minlength=instance.num_tasks) > 0
        busy = busy * has_parents[:, None]
    split = np.linspace(0.0, 1.0, SPLITS)[:, None]
    here = energies[:, 0] + split * second * instance.local_time
    remote = energies[None, :, 1:] + ((1.0 - split) * second)[:, :, None] * busy
    return float(np.minimum(here, remote.min(axis=2)).sum(axis=1).max())


# ---------------------------------------------------------------- the constraint program


def _import_cp_model() -> Any:
    try:
        from ortools.sat.python import cp_model
    except ImportError as error:
        raise MissingDependencyError(
            f"OR-tools cannot be imported ({error}); it comes with the extra `exact`: "
            'pip install "dispatchgym[exact]"'
        ) from None
    return cp_model


def _constraint_program(
    simulation: EdgeDagPlanSimulation,
    tree: search.Tree,
    weights: FloatArray,
    time_limit: float,
    workers: int,
) -> float:
    """Improve the best plan by a constraint program; return its bound on the cost.

    Times and costs are rounded down to whole ticks, so that its bound holds for the problem. The
    plan is played in the environment, which says what it costs.
    """
    cp_model = _import_cp_model()
    program = _Program(cp_model, simulation, weights)
    program.hint(tree.best[0])
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(time_limit, 0.1)
    solver.parameters.num_workers = workers
    status = solver.solve(program.model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        places = program.places(solver)
        cost = _cost_of_places(simulation, tree, places)
        if cost < tree.cost[0]:
            tree.cost[0], tree.best[0] = cost, places
    return solver.best_objective_bound / TICKS / TICKS


def _cost_of_places(
    simulation: EdgeDagPlanSimulation, tree: search.Tree, places: npt.NDArray[np.int64]
) -> float:
    """Return the cost of a plan, which is taken back."""
    state = simulation.state
    for i in state.order[0].tolist():
        kernel.decide(state, 0, places[i])
    cost = float(kernel.cost_so_far(state, simulation.preferences, 0))
    kernel.return_to(state, 0, 0)
    return cost


class _Program:
    """The constraint model: where each task goes, and when it is uploaded, computed and back."""

    def __init__(
        self, cp_model: Any, simulation: EdgeDagPlanSimulation, weights: FloatArray
    ) -> None:
        """Build the model of the instance that lane 0 plays."""
        self.model = cp_model.CpModel()
        instance: Instance = simulation.instance(0)
        tick = instance.local_latency / TICKS
        self.instance = instance
        self.ticks = {
            name: np.floor(getattr(instance, name) / tick).astype(np.int64)
            for name in ("local_time", "upload_time", "remote_time", "download_time")
        }
        self.moved = np.floor(instance.output[:, None, None] / instance.link / tick).astype(int)
        self.horizon = 2 * int(
            sum(
                max(int(self.ticks["local_time"][i]), int(self._remote(i).max()))
                for i in range(instance.num_tasks)
            )
            + self.moved.sum(axis=0).max()
            + instance.num_tasks
        )
        self.published = bool(simulation.state.setting[kernel.PUBLISHED])
        tasks, servers = instance.num_tasks, instance.num_servers
        self.at = [[self.model.new_bool_var("") for _ in range(servers + 1)] for _ in range(tasks)]
        # Of what is computed where, sent, and back on the device: ends; 0 where it is not.
        self.local, self.sent, self.run, self.back = (
            [self.model.new_int_var(0, self.horizon, "") for _ in range(tasks)] for _ in range(4)
        )
        self.makespan = self.model.new_int_var(0, self.horizon, "")
        order = simulation.state.order[0].tolist()
        for position, i in enumerate(order):
            self._add_task(i, order[:position])
        joules = np.floor(_energies(instance) / instance.local_energy * weights[1] * TICKS * TICKS)
        self.model.minimize(
            int(np.floor(weights[0] * TICKS)) * self.makespan
            + sum(
                int(joules[i, place]) * self.at[i][place]
                for i in range(tasks)
                for place in range(servers + 1)
            )
        )

    def _remote(self, i: int) -> npt.NDArray[np.int64]:
        return (
            self.ticks["upload_time"][i]
            + self.ticks["remote_time"][i]
            + self.ticks["download_time"][i]
        )

    def _add_task(self, i: int, before: list[int]) -> None:
        """Add a task that is decided after others."""
        model, at = self.model, self.at[i]
        model.add_exactly_one(at)
        self._add_local(i, before)
        for k in range(self.instance.num_servers):
            self._add_remote(i, k, before)
        model.add(self.local[i] == 0).only_enforce_if(at[0].negated())
        for end in (self.sent, self.run, self.back):
            model.add(end[i] == 0).only_enforce_if(at[0])
        model.add(self.makespan >= self.local[i])
        model.add(self.makespan >= self.back[i])

    def _add_local(self, i: int, before: list[int]) -> None:
        start = self.local[i] - int(self.ticks["local_time"][i])
        for j in self.instance.parents(i).tolist():
            self.model.add(start >= self.back[j]).only_enforce_if(self.at[i][0])
        for j in before:
            self.model.add(start >= self.local[j]).only_enforce_if(self.at[i][0])
        self.model.add(start >= 0).only_enforce_if(self.at[i][0])

    def _add_remote(self, i: int, k: int, before: list[int]) -> None:
        model, here = self.model, self.at[i][k + 1]
        up = self.sent[i] - int(self.ticks["upload_time"][i, k])
        start = self.run[i] - int(self.ticks["remote_time"][i, k])
        model.add(up >= 0).only_enforce_if(here)
        model.add(start >= self.sent[i]).only_enforce_if(here)
        model.add(
            self.back[i] == self.run[i] + int(self.ticks["download_time"][i, k])
        ).only_enforce_if(here)
        for j in self.instance.parents(i).tolist():
            model.add(up >= self.local[j]).only_enforce_if(here)
            model.add(up >= self.sent[j]).only_enforce_if(here)
            for other in range(self.instance.num_servers):
                moved = int(self.moved[j, other, k]) if other != k else 0
                model.add(start >= self.run[j] + moved).only_enforce_if(here, self.at[j][other + 1])
        for j in before:
            waits = not self.published or len(self.instance.parents(j)) > 0
            if waits:
                model.add(up >= self.sent[j]).only_enforce_if(here)
            model.add(start >= self.run[j]).only_enforce_if(here, self.at[j][k + 1])

    def hint(self, places: npt.NDArray[np.int64]) -> None:
        """Suggest where tasks go."""
        for at, chosen in zip(self.at, places.tolist(), strict=True):
            for place, variable in enumerate(at):
                self.model.add_hint(variable, place == chosen)

    def places(self, solver: Any) -> npt.NDArray[np.int64]:
        """Return where tasks go, (n,)."""
        chosen = [[solver.value(variable) for variable in at] for at in self.at]
        return np.array(chosen, np.int64).argmax(axis=1)
