"""A job-shop instance: an immutable record of arrays, checked once when it is made."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError

__all__ = [
    "BOUND_KINDS",
    "JSON_FORMAT",
    "MAX_CELLS",
    "MAX_HORIZON",
    "MAX_MACHINES",
    "Bounds",
    "Instance",
]

IntArray = npt.NDArray[np.int64]

JSON_FORMAT = "dispatchgym/job_shop/1"
"""Name and version that the JSON form carries in its ``format`` field."""

BOUND_KINDS = ("classic", "blocking")
"""The problems for which an instance can carry bounds on the makespan."""

MAX_HORIZON = 2**31
"""Sum of all durations plus the latest release must stay below this."""

MAX_MACHINES = 100_000
"""Largest number of machines: beyond it a file is taken to be damaged."""

MAX_CELLS = 20_000_000
"""Largest jobs x operations of the longest job, the size of the padded arrays."""

_MAX_TEXT = 200


@dataclass(frozen=True)
class Bounds:
    """What is known about the optimal makespan of an instance.

    Attributes:
        lower: Proven lower bound, >= 0.
        upper: Best known makespan, >= lower.
        source: Where the values come from.
        date: When they were collected, e.g. ``"2026-08"``.

    Raises:
        InstanceError: A value is of the wrong type or the lower bound exceeds the upper one.
    """

    lower: int
    upper: int
    source: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        """Check types and order."""
        for name in ("lower", "upper"):
            object.__setattr__(self, name, _integer(getattr(self, name), name, low=0))
        for name in ("source", "date"):
            _check_text(getattr(self, name), name, empty_allowed=True)
        if self.lower > self.upper:
            raise InstanceError(
                f"lower: found {self.lower}, expected at most the upper bound {self.upper}"
            )

    @property
    def proved(self) -> bool:
        """Whether the best known makespan is proven optimal."""
        return self.lower == self.upper


@dataclass(frozen=True, eq=False)
class Instance:
    """n jobs, each an ordered list of operations, each on one of m machines.

    Two instances are equal when they are the same problem; name and bounds are labels and do
    not take part. All arrays are C-contiguous and read-only.

    Attributes:
        name: Printable, 1 to 200 characters.
        machine: (n, K) machine of operation k of job j, 0-based; -1 where the job is shorter.
        duration: (n, K) processing time in time units, >= 0; 0 where the job is shorter.
        operations: (n,) number of operations of each job, 1..K; K is that of the longest job.
        num_machines: m, at least one more than the largest machine used.
        release: (n,) time before which a job cannot start, >= 0.
        bounds: Known bounds on the makespan by problem: ``"classic"``, ``"blocking"``.

    Raises:
        InstanceError: A field is not as described; the message names field, job and operation.
    """

    name: str
    machine: IntArray
    duration: IntArray
    operations: IntArray
    num_machines: int
    release: IntArray = None  # type: ignore[assignment]  # zeros unless given
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        _check_text(self.name, "name")
        machines = _integer(self.num_machines, "num_machines", low=1, high=MAX_MACHINES)
        machine = _frozen(self.machine, "machine", 2)
        duration = _frozen(self.duration, "duration", 2)
        operations = _frozen(self.operations, "operations", 1)
        release = np.zeros(len(operations), np.int64) if self.release is None else self.release
        release = _frozen(release, "release", 1)
        _check_shapes(machine, duration, operations, release)
        _check_operations(machine, duration, operations, machines)
        _check_horizon(duration, release)
        for name, value in (
            ("num_machines", machines),
            ("machine", machine),
            ("duration", duration),
            ("operations", operations),
            ("release", release),
        ):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "bounds", MappingProxyType(_checked_bounds(self)))

    @classmethod
    def from_jobs(
        cls,
        jobs: Iterable[Sequence[tuple[int, int]]],
        *,
        name: str = "custom",
        num_machines: int | None = None,
        release: Sequence[int] | None = None,
        bounds: Mapping[str, Bounds] | None = None,
    ) -> Instance:
        """Build an instance from one list of ``(machine, duration)`` pairs per job.

        Args:
            jobs: n lists of pairs; lengths may differ, a machine may occur more than once.
            name: Label of the instance.
            num_machines: m; one more than the largest machine used unless given.
            release: n release times; zeros unless given.
            bounds: Known bounds on the makespan.

        Raises:
            InstanceError: The jobs are not a problem; the message names job and operation.
        """
        pairs = [_checked_job(job, index) for index, job in enumerate(_listed(jobs, "jobs"))]
        if not pairs:
            raise InstanceError("jobs: found none, expected at least one job")
        lengths = [len(job) for job in pairs]
        _check_cells(len(pairs), max(lengths))
        machine = np.full((len(pairs), max(lengths)), -1, np.int64)
        duration = np.zeros_like(machine)
        for row, job in enumerate(pairs):
            machine[row, : len(job)] = [pair[0] for pair in job]
            duration[row, : len(job)] = [pair[1] for pair in job]
        return cls(
            name=name,
            machine=machine,
            duration=duration,
            operations=np.array(lengths, np.int64),
            num_machines=int(machine.max()) + 1 if num_machines is None else num_machines,
            release=None if release is None else _times(release, "release"),  # type: ignore[arg-type]
            bounds=bounds or {},
        )

    @property
    def num_jobs(self) -> int:
        """Number of jobs n."""
        return len(self.operations)

    @property
    def max_operations(self) -> int:
        """Operations K of the longest job."""
        return self.machine.shape[1]

    @cached_property
    def num_operations(self) -> int:
        """Number of operations of all jobs together."""
        return int(self.operations.sum())

    @cached_property
    def total_duration(self) -> int:
        """Sum of all durations, in time units."""
        return int(self.duration.sum())

    @property
    def mean_duration(self) -> float:
        """Mean duration of an operation, in time units."""
        return self.total_duration / self.num_operations

    @cached_property
    def machine_load(self) -> IntArray:
        """(m,) sum of the durations on each machine, read-only."""
        used = self.machine >= 0
        load = np.zeros(self.num_machines, np.int64)
        np.add.at(load, self.machine[used], self.duration[used])
        load.setflags(write=False)
        return load

    @cached_property
    def lower_bound(self) -> int:
        """The trivial bound on the makespan: the longest job or the most loaded machine."""
        jobs = self.release + self.duration.sum(axis=1)
        return max(int(jobs.max()), int(self.machine_load.max()))

    @property
    def reentrant(self) -> bool:
        """Whether a job visits a machine more than once."""
        return any(len({machine for machine, _ in job}) < len(job) for job in self.jobs())

    def jobs(self) -> list[list[tuple[int, int]]]:
        """Return one list of ``(machine, duration)`` pairs per job."""
        rows = zip(
            self.machine.tolist(), self.duration.tolist(), self.operations.tolist(), strict=True
        )
        return [
            list(zip(machine[:count], duration[:count], strict=True))
            for machine, duration, count in rows
        ]

    def to_json(self) -> str:
        """Return the instance as text in our JSON format, one job per line."""
        lines = [
            f'"format": {json.dumps(JSON_FORMAT)}',
            f'"name": {json.dumps(self.name)}',
            f'"num_machines": {self.num_machines}',
            '"jobs": [\n    ' + ",\n    ".join(json.dumps(job) for job in self.jobs()) + "\n  ]",
        ]
        if self.release.any():
            lines.append(f'"release": {json.dumps(self.release.tolist())}')
        if self.bounds:
            bounds = {kind: vars(bound) for kind, bound in self.bounds.items()}
            lines.append(f'"bounds": {json.dumps(bounds)}')
        return "{\n  " + ",\n  ".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str, source: str = "<string>") -> Instance:
        """Read the text that `to_json` writes.

        Args:
            text: JSON object with ``format``, ``num_machines``, ``jobs`` and, if wanted,
                ``name``, ``release`` and ``bounds``.
            source: Name of the text in error messages, e.g. its path.

        Raises:
            InstanceFormatError: The text is not such an object; the message names line and
                column, or the field as in ``jobs[3][1]``.
        """
        try:
            return _from_document(cls, _json_document(text))
        except InstanceError as error:
            raise InstanceFormatError(f"{source}: {error}") from None

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names and bounds."""
        if not isinstance(other, Instance):
            return NotImplemented
        return self.num_machines == other.num_machines and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("machine", "duration", "operations", "release")
        )

    def __hash__(self) -> int:
        """Hash of the problem."""
        arrays = (self.machine, self.duration, self.operations, self.release)
        return hash((self.num_machines, *(array.tobytes() for array in arrays)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        arrays = (self.machine, self.duration, self.operations, self.num_machines, self.release)
        return Instance, (self.name, *arrays, dict(self.bounds))

    def __repr__(self) -> str:
        """Name and size."""
        return (
            f"Instance(name={self.name!r}, num_jobs={self.num_jobs}, "
            f"num_machines={self.num_machines}, num_operations={self.num_operations})"
        )


def _integer(value: object, where: str, low: int, high: int | None = None) -> int:
    """Return `value` as a plain integer in low..high, or say what is wrong with it."""
    expected = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {bool(value)}, expected {expected}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InstanceError(f"{where}: found {_shown(value)}, expected {expected}") from None
    if number < low or (high is not None and number > high):
        raise InstanceError(f"{where}: found {_shown(number)}, expected {expected}")
    return number


def _shown(value: object) -> str:
    """Return a short form of a value for a message; a huge one is cut."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_text(value: object, where: str, *, empty_allowed: bool = False) -> None:
    low = 0 if empty_allowed else 1
    if not isinstance(value, str) or not value.isprintable() or not low <= len(value) <= _MAX_TEXT:
        raise InstanceError(
            f"{where}: found {_shown(value)}, "
            f"expected a printable text of {low} to {_MAX_TEXT} characters"
        )


def _listed(value: Iterable[Any], where: str) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise InstanceError(f"{where}: found {_shown(value)}, expected a list")
    return list(value)


def _checked_job(job: object, index: int) -> list[tuple[int, int]]:
    where = f"jobs[{index}]"
    pairs = _listed(job, where)  # type: ignore[arg-type]
    if not pairs:
        raise InstanceError(f"{where}: found no operation, expected at least one")
    return [_checked_pair(pair, f"{where}[{position}]") for position, pair in enumerate(pairs)]


def _checked_pair(pair: object, where: str) -> tuple[int, int]:
    values = _listed(pair, where)  # type: ignore[arg-type]
    if len(values) != 2:
        raise InstanceError(f"{where}: found {len(values)} values, expected [machine, duration]")
    machine = _integer(values[0], f"{where} machine", 0, MAX_MACHINES - 1)
    return machine, _integer(values[1], f"{where} duration", 0, MAX_HORIZON - 1)


def _times(values: Sequence[int], where: str) -> IntArray:
    """Return a list of times as an array."""
    checked = [
        _integer(value, f"{where}[{index}]", 0, MAX_HORIZON - 1)
        for index, value in enumerate(_listed(values, where))
    ]
    return np.array(checked, np.int64)


def _frozen(values: object, where: str, dimensions: int) -> IntArray:
    """Return a private read-only int64 copy of an integer array."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    if array.dtype.kind not in "iu" or array.ndim != dimensions or array.size == 0:
        raise InstanceError(
            f"{where}: found an array of type {array.dtype} and shape {array.shape}, "
            f"expected integers in {dimensions} dimension(s), none empty"
        )
    if array.dtype.kind == "u" and int(array.max()) >= 2**63:
        raise InstanceError(f"{where}: found {int(array.max())}, expected values below 2^63")
    copy = np.array(array, dtype=np.int64, order="C")
    copy.setflags(write=False)
    return copy


def _check_shapes(
    machine: IntArray, duration: IntArray, operations: IntArray, release: IntArray
) -> None:
    jobs, longest = machine.shape
    _check_cells(jobs, longest)
    for name, array, expected in (
        ("duration", duration, machine.shape),
        ("operations", operations, (jobs,)),
        ("release", release, (jobs,)),
    ):
        if array.shape != expected:
            raise InstanceError(f"{name}: found shape {array.shape}, expected {expected}")
    wrong = np.flatnonzero((operations < 1) | (operations > longest))
    if wrong.size:
        raise InstanceError(
            f"operations[{wrong[0]}]: found {operations[wrong[0]]}, expected 1 to {longest}"
        )
    if operations.max() != longest:
        raise InstanceError(
            f"machine: found {longest} columns, expected {operations.max()}, "
            "the operations of the longest job"
        )


def _check_cells(jobs: int, longest: int) -> None:
    if jobs * longest > MAX_CELLS:
        raise InstanceError(
            f"jobs: found {jobs} jobs of up to {longest} operations, "
            f"expected at most {MAX_CELLS} cells"
        )


def _check_operations(
    machine: IntArray, duration: IntArray, operations: IntArray, num_machines: int
) -> None:
    exists = np.arange(machine.shape[1]) < operations[:, None]
    checks = (
        ("machine", machine, exists & ((machine < 0) | (machine >= num_machines)),
         f"a machine in 0..{num_machines - 1}"),
        ("duration", duration, exists & (duration < 0), "a duration >= 0"),
        ("machine", machine, ~exists & (machine != -1), "-1 after the job's last operation"),
        ("duration", duration, ~exists & (duration != 0), "0 after the job's last operation"),
    )  # fmt: skip
    for name, values, wrong, expected in checks:
        if wrong.any():
            job, position = (int(index) for index in np.argwhere(wrong)[0])
            raise InstanceError(
                f"jobs[{job}][{position}] {name}: "
                f"found {values[job, position]}, expected {expected}"
            )


def _check_horizon(duration: IntArray, release: IntArray) -> None:
    """Refuse times that would not fit; floats keep the sum itself from wrapping."""
    negative = np.flatnonzero(release < 0)
    if negative.size:
        job = negative[0]
        raise InstanceError(f"release[{job}]: found {release[job]}, expected >= 0")
    horizon = duration.sum(dtype=np.float64) + float(release.max())
    if horizon >= MAX_HORIZON:
        raise InstanceError(
            f"duration: found a sum (with the latest release) of {horizon:.0f}, "
            f"expected less than 2^31 = {MAX_HORIZON}"
        )


def _checked_bounds(instance: Instance) -> dict[str, Bounds]:
    if not isinstance(instance.bounds, Mapping):
        raise InstanceError(f"bounds: found {_shown(instance.bounds)}, expected a mapping")
    for kind, bound in instance.bounds.items():
        if kind not in BOUND_KINDS or not isinstance(bound, Bounds):
            raise InstanceError(
                f"bounds: found {_shown(kind)}: {_shown(bound)}, "
                f"expected Bounds under {' or '.join(BOUND_KINDS)}"
            )
        if bound.upper < instance.lower_bound:
            raise InstanceError(
                f"bounds.{kind}.upper: found {bound.upper}, expected at least "
                f"{instance.lower_bound}, the longest job or most loaded machine"
            )
    return dict(instance.bounds)


def _json_document(text: str) -> dict[str, Any]:
    """Return the top-level JSON object of a text."""
    try:
        # A float for an integer of 19 digits or more: it is refused later, at its place.
        document = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits),
        )
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON"
        ) from None
    except RecursionError:
        raise InstanceError("found brackets nested too deeply, expected jobs[][][]") from None
    if not isinstance(document, dict):
        raise InstanceError(f"found {_shown(document)}, expected a JSON object")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise InstanceError(f"{_shown(key)}: found twice, expected once")
        fields[key] = value
    return fields


def _check_keys(fields: dict[str, Any], where: str, needed: set[str], optional: set[str]) -> None:
    for key in fields:
        if key not in needed | optional:
            raise InstanceError(
                f"{where}{_shown(key)}: unknown field, "
                f"expected one of {', '.join(sorted(needed | optional))}"
            )
    for key in sorted(needed):
        if key not in fields:
            raise InstanceError(f"{where}{key}: missing field")


def _from_document(cls: type[Instance], document: dict[str, Any]) -> Instance:
    if document.get("format") != JSON_FORMAT:
        raise InstanceError(
            f"format: found {_shown(document.get('format'))}, expected {JSON_FORMAT!r}"
        )
    _check_keys(document, "", {"format", "num_machines", "jobs"}, {"name", "release", "bounds"})
    for key in ("jobs", "release"):
        if not isinstance(document.get(key, []), list):
            raise InstanceError(f"{key}: found {_shown(document[key])}, expected a list")
    return cls.from_jobs(
        document["jobs"],
        name=document.get("name", "custom"),
        num_machines=_integer(document["num_machines"], "num_machines", 1, MAX_MACHINES),
        release=document.get("release"),
        bounds=_json_bounds(document.get("bounds", {})),
    )


def _json_bounds(fields: object) -> dict[str, Bounds]:
    if not isinstance(fields, dict):
        raise InstanceError(f"bounds: found {_shown(fields)}, expected an object")
    _check_keys(fields, "bounds.", set(), set(BOUND_KINDS))
    return {kind: _json_bound(value, f"bounds.{kind}") for kind, value in fields.items()}


def _json_bound(fields: object, where: str) -> Bounds:
    if not isinstance(fields, dict):
        raise InstanceError(f"{where}: found {_shown(fields)}, expected an object")
    _check_keys(fields, f"{where}.", {"lower", "upper"}, {"source", "date"})
    try:
        return Bounds(**fields)
    except InstanceError as error:
        raise InstanceError(f"{where}.{error}") from None
