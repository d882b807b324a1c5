"""A run of a drone fleet: tasks with deadlines for one edge server and the cloud."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.edge_offloading import checks, dems_draw
from dispatchgym.envs.edge_offloading import dems_tables as tables
from dispatchgym.envs.edge_offloading.dems_draw import DeadlineLimits, DeadlineRows
from dispatchgym.envs.edge_offloading.instance import Instance

__all__ = ["DeadlineInstance"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_TASKS = 200_000
MAX_MS = 10**7
MAX_MONEY = 1e6
MAX_SLOTS = 10_000


@dataclass(frozen=True, eq=False, repr=False)
class DeadlineInstance(Instance):
    """N tasks of M models, for an edge server that runs one at a time, and the cloud.

    Times are whole milliseconds. A task is given to one model; it is in time if its run ends no
    later than the model's deadline after its release. A run in time brings the benefit, and any
    run costs.

    Attributes:
        models: (M,) names, 1 to 6.
        edge_time: (M,) time of a run at the edge, >= 1.
        usual_cloud_time: (M,) expected time of a run on the cloud from end to end, >= 1.
        deadline: (M,) allowed time, >= 1.
        benefit, edge_cost, cloud_cost: (M,) >= 0.
        release: (N,) >= 0, not falling.
        model: (N,) in 0..M-1.
        drone: (N,) where the task comes from, >= 0.
        cloud_time: (N,) true time of a run on the cloud, apart from a surge, >= 1.
        kind: (M,) in 0..5, what observations tell of a model; different for all.
        required: (M,) part of the tasks that end in a window that must be in time for the bonus.
        bonus: (M,) >= 0.
        horizon: windows that end later bring no bonus; >= the last release.
        window: length of a window, >= 1.
        slots: runs on the cloud at a time, >= 1.
        surge: (4,) start, ramp, length and height of the time that the network adds to runs on
            the cloud by when they start: a trapezium; ramp >= 1 where the height is not 0.

    Raises:
        InstanceError: a field is not as described; the message names field and index.
    """

    models: tuple[str, ...]
    edge_time: IntArray
    usual_cloud_time: IntArray
    deadline: IntArray
    benefit: FloatArray
    edge_cost: FloatArray
    cloud_cost: FloatArray
    release: IntArray
    model: IntArray
    drone: IntArray
    cloud_time: IntArray
    kind: IntArray = None  # type: ignore[assignment]  # in order unless given
    required: FloatArray = None  # type: ignore[assignment]  # 0.9 unless given
    bonus: FloatArray = None  # type: ignore[assignment]  # 0 unless given
    horizon: int = tables.RUN_MS
    window: int = tables.WINDOW_MS
    slots: int = tables.CLOUD_SLOTS
    surge: tuple[int, int, int, int] = (0, 0, 0, 0)

    family: ClassVar[str] = "deadlines"
    num_servers: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        checks.check_text(self.name, "name")
        self._check_models()
        self._check_tasks()
        for name, low, high in (
            ("horizon", 1, MAX_MS),
            ("window", 1, MAX_MS),
            ("slots", 1, MAX_SLOTS),
        ):
            self._set(name, checks.integer(getattr(self, name), name, low, high))
        if self.release[-1] > self.horizon:
            raise InstanceError(
                f"horizon: found {self.horizon}, expected at least the last release, "
                f"{self.release[-1]}"
            )
        surge = checks.integers(self.surge, "surge", (4,), 0, MAX_MS)
        if surge[3] and not surge[1]:
            raise InstanceError("surge[1]: found 0, expected a ramp of at least 1 ms")
        self._set("surge", tuple(surge.tolist()))

    def _check_models(self) -> None:
        names = self.models
        if not isinstance(names, (tuple, list)) or not 1 <= len(names) <= tables.MAX_MODELS:
            raise InstanceError(
                f"models: found {checks.shown(names)}, expected 1 to {tables.MAX_MODELS} names"
            )
        for m, name in enumerate(names):
            checks.check_text(name, f"models[{m}]")
        self._set("models", tuple(names))
        shape = (len(names),)
        for name in ("edge_time", "usual_cloud_time", "deadline"):
            self._set(name, checks.integers(getattr(self, name), name, shape, 1, MAX_MS))
        for name, default, high in (
            ("benefit", None, MAX_MONEY),
            ("edge_cost", None, MAX_MONEY),
            ("cloud_cost", None, MAX_MONEY),
            ("required", tables.REQUIRED_RATE, 1.0),
            ("bonus", 0.0, MAX_MONEY),
        ):
            values = getattr(self, name)
            values = np.full(shape, default) if values is None and default is not None else values
            self._set(name, checks.reals(values, name, shape, 0, high))
        kind = np.arange(len(names)) if self.kind is None else self.kind
        self._set("kind", checks.integers(kind, "kind", shape, 0, tables.MAX_MODELS - 1))
        if len(set(self.kind.tolist())) != len(names):
            raise InstanceError(f"kind: found {self.kind.tolist()}, expected no number twice")

    def _check_tasks(self) -> None:
        self._set("release", checks.integers(self.release, "release", (None,), 0, MAX_MS))
        shape = self.release.shape
        if not 1 <= shape[0] <= MAX_TASKS:
            raise InstanceError(f"release: found {shape[0]} tasks, expected 1 to {MAX_TASKS}")
        falls = np.flatnonzero(np.diff(self.release) < 0)
        if falls.size:
            raise InstanceError(
                f"release[{falls[0] + 1}]: found {self.release[falls[0] + 1]} after "
                f"{self.release[falls[0]]}, expected no earlier time"
            )
        for name, low, high in (
            ("model", 0, len(self.models) - 1),
            ("drone", 0, MAX_TASKS),
            ("cloud_time", 1, MAX_MS),
        ):
            self._set(name, checks.integers(getattr(self, name), name, shape, low, high))

    @property
    def num_tasks(self) -> int:
        """Number of tasks N."""
        return len(self.release)

    @property
    def limits(self) -> DeadlineLimits:
        """Sizes as the kernel needs them."""
        return DeadlineLimits(self.num_tasks, self.slots)

    @cached_property
    def rows(self) -> DeadlineRows:
        """The arrays of the kernel; see `DeadlineRows`."""
        rows = dems_draw.first_row(dems_draw.empty_rows(self.limits, 1))
        numbers, models = rows.numbers, len(self.models)
        numbers[tables.MODELS], numbers[tables.TASKS] = models, self.num_tasks
        numbers[tables.HORIZON], numbers[tables.WINDOW] = self.horizon, self.window
        numbers[tables.SLOTS], numbers[tables.DRONES] = self.slots, len(np.unique(self.drone))
        numbers[
            [tables.SURGE_START, tables.SURGE_RAMP, tables.SURGE_LENGTH, tables.SURGE_HEIGHT]
        ] = self.surge
        for name, column in _TIMES.items():
            rows.times[:models, column] = getattr(self, name)
        for name, column in _MONEYS.items():
            rows.moneys[:models, column] = getattr(self, name)
        for name in _TASKS:
            getattr(rows, name)[:] = getattr(self, name)
        return rows

    @classmethod
    def from_rows(cls, name: str, rows: DeadlineRows) -> DeadlineInstance:
        """Return the instance of a drone fleet whose arrays the kernel has."""
        numbers = rows.numbers.tolist()
        models, tasks = numbers[tables.MODELS], numbers[tables.TASKS]
        kinds = list(tables.PROFILES)
        arrays: dict[str, Any] = {
            **{field: rows.times[:models, column] for field, column in _TIMES.items()},
            **{field: rows.moneys[:models, column] for field, column in _MONEYS.items()},
            **{field: getattr(rows, field)[:tasks] for field in _TASKS},
        }
        return cls(
            name=name,
            models=tuple(kinds[kind] for kind in arrays["kind"]),
            horizon=numbers[tables.HORIZON],
            window=numbers[tables.WINDOW],
            slots=numbers[tables.SLOTS],
            surge=tuple(numbers[tables.SURGE_START : tables.SURGE_HEIGHT + 1]),
            **arrays,
        )

    @cached_property
    def utility_unit(self) -> float:
        """Mean benefit of a task: a utility of 1 in rewards."""
        return max(float(self.benefit[self.model].mean()), 1.0)

    @cached_property
    def bonus_unit(self) -> float:
        """Mean bonus of a model: a bonus of 1 in rewards."""
        return max(float(self.bonus.mean()), 1.0)

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"DeadlineInstance(name={self.name!r}, num_tasks={self.num_tasks}, "
            f"models={len(self.models)}, horizon={self.horizon})"
        )


_TIMES: dict[str, Any] = {
    "edge_time": tables.EDGE_TIME,
    "usual_cloud_time": tables.CLOUD_TIME,
    "deadline": tables.DEADLINE,
    "kind": tables.KIND,
}
_MONEYS: dict[str, Any] = {
    "benefit": tables.BENEFIT,
    "edge_cost": tables.EDGE_COST,
    "cloud_cost": tables.CLOUD_COST,
    "required": tables.REQUIRED,
    "bonus": tables.BONUS,
}
_TASKS = ("release", "model", "drone", "cloud_time")
