"""Sources of instances of dependent tasks, and their names."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.task_graphs import MOST_JOB_TASKS, most_edges
from dispatchgym.envs.edge_offloading import graph_draw
from dispatchgym.envs.edge_offloading.graph_draw import GraphLimits, GraphRows
from dispatchgym.envs.edge_offloading.graph_instance import GraphInstance

__all__ = ["GraphGenerator", "find", "names"]

RATIOS = (10, 50, 100)
"""Communication-to-computation ratios that have names, in per cent."""


@dataclass(frozen=True)
class GraphGenerator:
    """Jobs like Alibaba's that come one by one to edge servers, the cloud and users' devices.

    Attributes:
        edges: fewest and most edge servers, drawn evenly.
        ratio: lowest and highest ratio of the time to send a task's results, at 100 Mbit/s, to
            that of computing it at 2.5 GHz, drawn evenly.
        jobs: number of jobs.
        users: number of users.
        most_tasks: largest number of tasks of a job.
        load: cycles that come over those that servers have, on average; devices are not counted.
        label: begins the names of the instances.

    Raises:
        ParameterError: a value is not as described; the message names it.
    """

    edges: tuple[int, int] = (1, 8)
    ratio: tuple[float, float] = (0.1, 1.0)
    jobs: int = 40
    users: int = 10
    most_tasks: int = 20
    load: float = 0.7
    label: str = "dag_online"

    def __post_init__(self) -> None:
        """Check every value."""
        for name, most in (("jobs", 10_000), ("users", 10_000), ("most_tasks", MOST_JOB_TASKS)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ParameterError(f"{name}: found {value!r}, expected an integer in 1..{most}")
        if not 1e-3 <= self.load <= 1e3:
            raise ParameterError(f"load: found {self.load!r}, expected a number in 0.001..1000")
        for name, low, high in (("edges", 1, 99), ("ratio", 0.0, 1e6)):
            pair = getattr(self, name)
            if len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
                raise ParameterError(
                    f"{name}: found {pair!r}, expected (low, high) in {low:g}..{high:g}"
                )

    @property
    def family(self) -> str:
        """Family of the instances."""
        return GraphInstance.family

    @property
    def limits(self) -> GraphLimits:
        """Largest sizes of any instance."""
        return GraphLimits(
            self.edges[1] + 1,
            self.jobs,
            self.jobs * self.most_tasks,
            self.jobs * max(most_edges(self.most_tasks), 1),
            self.users,
            max(graph_draw.CLOUD_CORES, graph_draw.EDGE_CORES),
        )

    def draws(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return what is drawn from, as `draw_graphs` takes it."""
        limits = np.zeros(graph_draw.NUM_LIMITS, np.int64)
        limits[graph_draw.EDGES_LOW], limits[graph_draw.EDGES_HIGH] = self.edges
        limits[graph_draw.NUM_JOBS], limits[graph_draw.NUM_USERS] = self.jobs, self.users
        limits[graph_draw.MOST_TASKS] = self.most_tasks
        scales = np.zeros(graph_draw.NUM_SCALES)
        scales[graph_draw.LOAD] = self.load
        scales[graph_draw.RATIO_LOW], scales[graph_draw.RATIO_HIGH] = self.ratio
        return limits, scales

    def generate(self, seed: int) -> GraphInstance:
        """Return the instance of a seed in 0..2^64-1."""
        try:
            key = np.uint64(operator.index(seed))
        except (TypeError, OverflowError):
            raise ParameterError(
                f"seed: found {seed!r}, expected an integer in 0..2^64-1"
            ) from None
        rows = GraphRows(*(array[0] for array in graph_draw.empty_graph_rows(self.limits, 1)))
        graph_draw.draw_graphs(key, *self.draws(), rows)
        return GraphInstance.from_rows(f"{self.label}-s{int(key):03d}", rows)


_NAME = re.compile(r"dag_online(?:-ccr(100?|50))?(?:-e([1-9]))?", re.ASCII)


def names() -> list[str]:
    """Return the usual names: ``dag_online``, with ``-ccr10``, ``-ccr50``, ``-ccr100`` (per cent).

    ``-e1`` to ``-e9`` may follow: the number of edge servers.
    """
    return ["dag_online", *(f"dag_online-ccr{ratio}" for ratio in RATIOS), "dag_online-e4"]


def find(name: str) -> GraphGenerator | None:
    """Return the source of a name such as ``dag_online-ccr50-e4``; None if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    ratio = (int(match[1]) / 100,) * 2 if match[1] else GraphGenerator.ratio
    edges = (int(match[2]),) * 2 if match[2] else GraphGenerator.edges
    return GraphGenerator(edges=edges, ratio=ratio, label=name)
