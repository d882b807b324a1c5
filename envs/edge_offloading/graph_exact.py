"""Lower bounds of dependent tasks, and the best of the rules."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import EvaluationError
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingVectorEnv
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance
from dispatchgym.envs.edge_offloading.graph_rules import GRAPH_RULES
from dispatchgym.envs.edge_offloading.report import ExactResult

__all__ = ["bounds_of_graphs", "solve_graphs", "units_of_graphs"]

FloatArray = npt.NDArray[np.float64]

_TRIED_WEIGHTS = 11


def units_of_graphs(instance: GraphInstance) -> FloatArray:
    """Return float64 (2,) mean latency of a job and its energy if all stays on the devices."""
    found = _play(instance, "all_local", np.array([0.5, 0.5]))["objective"]
    return found / (1.0, instance.num_jobs)


def bounds_of_graphs(instance: GraphInstance) -> FloatArray:
    """Return float64 (2,) what no policy is below: mean latency in seconds, energy in joules.

    No job ends before its longest path on the fastest cores. The device computes a task without
    parents or sends what it reads; it computes one without children or receives its results.
    """
    fastest = max(float(instance.frequency.max()), instance.device_hz)
    path = instance.cycles / fastest
    longest = np.zeros(instance.num_jobs)
    for task, parents in enumerate(instance.parents):
        path[task] += max((path[parent] for parent in parents), default=0.0)
        job = instance.job[task]
        longest[job] = max(longest[job], path[task])
    link = instance.link.max(axis=1)[instance.source[instance.job]]
    local = instance.device_watt * instance.cycles / instance.device_hz
    has_parent, has_child = np.zeros((2, instance.num_tasks), np.bool_)
    has_parent[instance.edges[:, 1]] = has_child[instance.edges[:, 0]] = True
    remote = np.where(has_parent, 0.0, instance.send_watt * instance.input / link)
    remote += np.where(has_child, 0.0, instance.receive_watt * instance.output / link)
    return np.array([longest.mean(), np.minimum(local, remote).sum()])


def solve_graphs(
    instance: GraphInstance, *, preference: FloatArray, time_limit: float, seed: int
) -> ExactResult:
    """Return the best schedule of the rules, greedy_omega with several weights among them.

    Args:
        instance: what to solve.
        preference: weights of latency and energy, in `units_of_graphs`.
        time_limit: of no effect, rules take milliseconds.
        seed: of the random rule.
    """
    began = time.perf_counter()
    per_unit = preference / (units_of_graphs(instance) * (1.0, instance.num_jobs))
    tried = [_play(instance, rule, preference, seed) for rule in GRAPH_RULES]
    for weight in np.linspace(0.0, 1.0, _TRIED_WEIGHTS):
        weights = np.array([weight, 1.0 - weight])
        tried.append(_play(instance, "greedy_omega", weights, seed))
    best = min(tried, key=lambda schedule: float(per_unit @ schedule["objective"]))
    value, bound = (
        float(per_unit @ point) for point in (best["objective"], bounds_of_graphs(instance))
    )
    if value < bound * (1.0 - 1e-9):
        raise EvaluationError(f"{instance.name}: found value {value} below the bound {bound}")
    seconds = time.perf_counter() - began
    return ExactResult(best["objective"], value, bound, value <= bound, best, seconds)


def _play(instance: GraphInstance, rule: str, weights: FloatArray, seed: int = 0) -> dict[str, Any]:
    """Return the schedule of a rule."""
    vec = EdgeOffloadingVectorEnv(1, scenario=instance, max_servers=instance.num_servers + 1)
    vec.reset(seed=seed, options={"preference": weights})
    return {name: column[0] for name, column in vec.run_rule(rule)["schedule"].items()}
