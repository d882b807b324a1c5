"""Readers and writers of the file formats in which job-shop instances are passed around.

==========================  =====================================================================
format                      layout
==========================  =====================================================================
``standard``                ``n m``, then a line of m pairs ``machine duration`` per job; comments
                            after ``#`` and lines of text before the numbers (OR-library, JSPLIB)
``slim``                    the same, then an upper bound and m lines of operation numbers: the
                            solution that the files of Corsini et al. (NeurIPS 2024) carry
``taillard``                ``n m`` with seeds and bounds, ``Times``, n lines of m durations,
                            ``Machines``, n lines of m machines counted from 1
``taillard_machines_first`` ``n m``, n lines of m machines, n lines of m durations, no words
``dacol_teppan``            as ``standard`` with any number of pairs a line, closed by ``-1 -1``
``numpy``                   ``.npy`` or ``.npz`` of shape (2, n, m) or (N, 2, n, m); whether
                            durations or machines come first must be said
``json``                    our own, see `Instance.to_json`
==========================  =====================================================================

Whatever the bytes, the only errors are `DispatchGymError` subclasses that name the place.
"""

from __future__ import annotations

import difflib
import functools
import io
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.job_shop.instance import MAX_CELLS, MAX_HORIZON, MAX_MACHINES, Instance

__all__ = ["FORMATS", "MAX_BYTES", "dumps", "load", "load_all", "loads", "write"]

FORMATS = (
    "standard",
    "slim",
    "taillard",
    "taillard_machines_first",
    "dacol_teppan",
    "numpy",
    "json",
)
"""The names that ``format`` takes besides ``"auto"``."""

MAX_BYTES = 64 * 2**20
"""Largest file that is read, in bytes; the unpacked size of a compressed one as well."""

MAX_INSTANCES = 100_000
"""Most instances that are read from a file."""

ORDERS = ("durations_first", "machines_first")

Base = Literal["auto", 0, 1]

_EXACT_IN_FLOAT32 = 2**24
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+(\.0*)?")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
_SECTION = re.compile(r"^[ \t]*+(times|machines)[ \t]*+:?[ \t]*+\r?$", re.IGNORECASE | re.MULTILINE)
_TERMINATOR = re.compile(r"[ \t]-1[ \t]+-1[ \t]*(#.*)?\r?$", re.MULTILINE)


@dataclass(frozen=True)
class _Options:
    """How to read: the keyword arguments of `load`, checked."""

    format: str
    base: Base
    order: str | None
    strict: bool
    allow_reentrant: bool | None
    allow_solution: bool

    def __post_init__(self) -> None:
        _check_choice("format", self.format, ("auto", *FORMATS))
        if isinstance(self.base, bool) or self.base not in ("auto", 0, 1):
            raise ParameterError(f"base: found {self.base!r}, expected 'auto', 0 or 1")
        _check_choice("order", self.order, (None, *ORDERS))

    def repeats_allowed(self, form: str) -> bool:
        """Whether a job may visit a machine twice in a file of this format."""
        if self.allow_reentrant is not None:
            return self.allow_reentrant
        return form in ("dacol_teppan", "json") or not self.strict


@dataclass(frozen=True)
class _Block:
    """The numbers of one instance as they stand in a file, and where each of them stands."""

    name: str
    where: str
    num_machines: int
    machines: list[list[int]]
    durations: list[list[int]]
    place: Callable[[str, int, int], str]


def load(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    base: Base = "auto",
    order: str | None = None,
    strict: bool = True,
    allow_reentrant: bool | None = None,
    allow_solution: bool = False,
) -> Instance:
    """Read the instance in a file.

    Args:
        path: File of at most 64 MiB.
        format: One of `FORMATS`; ``"auto"`` tells them apart by their content.
        base: Whether machines count from 0 or 1. ``"auto"`` takes 0 if machine 0 occurs, 1 if
            both 1 and m occur and 0 does not; anything else is an error that asks for it.
        order: ``"durations_first"`` or ``"machines_first"``, needed for numpy arrays.
        strict: Whether each job of a standard file must have m operations.
        allow_reentrant: Whether a job may visit a machine twice. By default only in formats made
            for it (``dacol_teppan``, ``json``) or when `strict` is off.
        allow_solution: Whether a solution may follow the jobs; it is checked and left out.

    Raises:
        InstanceFormatError: The file cannot be read, or holds no or several instances; the
            message names file, line, column, what was found and what is expected.
        ParameterError: An argument has a value that it cannot have.

    Warns:
        UserWarning: A machine is never used, durations are zero or all equal, or their sum is
            beyond what float32 counts exactly (2^24).
    """
    options = _Options(format, base, order, strict, allow_reentrant, allow_solution)
    return _only(_read(path, options), os.fspath(path))


def load_all(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",
    base: Base = "auto",
    order: str | None = None,
    strict: bool = True,
    allow_reentrant: bool | None = None,
    allow_solution: bool = False,
) -> list[Instance]:
    """Read all instances in a file; the arguments are those of `load`.

    Raises:
        InstanceFormatError: The file cannot be read or holds no instance.
        ParameterError: An argument has a value that it cannot have.
    """
    options = _Options(format, base, order, strict, allow_reentrant, allow_solution)
    return _read(path, options)


def loads(
    text: str,
    *,
    format: str = "auto",
    base: Base = "auto",
    strict: bool = True,
    allow_reentrant: bool | None = None,
    allow_solution: bool = False,
    source: str = "<string>",
) -> Instance:
    """Read the instance in a text; the arguments are those of `load`, `source` names the text.

    Raises:
        InstanceFormatError: The text holds no or several instances, or is none.
        ParameterError: An argument has a value that it cannot have.
    """
    options = _Options(format, base, None, strict, allow_reentrant, allow_solution)
    if not isinstance(text, str):
        raise ParameterError(f"text: found {type(text).__name__}, expected str")
    return _only(_parse_text(text, options, source, "custom"), source)


def dumps(instance: Instance, format: str = "standard") -> str:
    """Return an instance as text in one of the formats that are text and hold no solution.

    Raises:
        ParameterError: The format is not such a one or cannot hold this instance: release dates
            need ``json``; jobs without exactly m operations need ``dacol_teppan`` or ``json``.
    """
    writers = {
        "standard": _standard_text,
        "taillard": _taillard_text,
        "taillard_machines_first": _machines_first_text,
        "dacol_teppan": _terminated_text,
        "json": Instance.to_json,
    }
    _check_choice("format", format, tuple(writers))
    if format != "json":
        _check_no_release(instance, format)
    if format not in ("json", "dacol_teppan"):
        _check_rectangular(instance, format)
    return writers[format](instance)


def write(
    instance: Instance,
    path: str | os.PathLike[str],
    format: str = "auto",
    *,
    order: str | None = None,
) -> None:
    """Write an instance to a file, whole or not at all: a crash leaves the old file as it was.

    Args:
        instance: What to write.
        path: Target; an existing file is replaced.
        format: A format of `dumps` or ``"numpy"``; ``"auto"`` goes by the ending: ``.json``,
            ``.npy``, otherwise standard.
        order: ``"durations_first"`` or ``"machines_first"``, needed for numpy.

    Raises:
        ParameterError: The format cannot hold the instance.
        DispatchGymError: The file cannot be written.
    """
    _check_choice("order", order, (None, *ORDERS))
    target = Path(_file_name(path))
    if format == "auto":
        format = {".json": "json", ".npy": "numpy"}.get(target.suffix.lower(), "standard")
    if format == "numpy":
        data = _numpy_bytes(instance, order)
    else:
        data = dumps(instance, format).encode("utf-8")
    write_whole(target, data)


def _only(instances: list[Instance], source: str) -> Instance:
    if len(instances) != 1:
        raise InstanceFormatError(
            f"{source}: found {len(instances)} instances, expected one; use load_all"
        )
    return instances[0]


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ParameterError(f"{name}: found {value!r}, expected one of {listed}")


# --- files ---


def _file_name(path: str | os.PathLike[str]) -> str:
    try:
        return os.fsdecode(os.fspath(path))
    except TypeError:
        raise ParameterError(f"path: found {type(path).__name__}, expected a path") from None


def _read(path: str | os.PathLike[str], options: _Options) -> list[Instance]:
    source = _file_name(path)
    data = _read_bytes(source)
    stem = Path(source).stem[:100]
    name = stem if stem and stem.isprintable() else "custom"
    packed = data.startswith((b"\x93NUMPY", b"PK\x03\x04"))
    if options.format == "numpy" or (packed and options.format == "auto"):
        return _parse_numpy(data, options, source, name)
    return _parse_text(_decoded(data, source), options, source, name)


def _read_bytes(source: str) -> bytes:
    """Return the content of a regular file of at most `MAX_BYTES`."""
    try:
        info = os.stat(source)
        if stat.S_ISDIR(info.st_mode):
            raise InstanceFormatError(f"{source}: found a directory, expected a file")
        if not stat.S_ISREG(info.st_mode):
            raise InstanceFormatError(f"{source}: found a device or pipe, expected a file")
        if info.st_size > MAX_BYTES:
            raise InstanceFormatError(
                f"{source}: found {info.st_size} bytes, expected at most {MAX_BYTES}"
            )
        with open(source, "rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError:
        raise InstanceFormatError(f"{source}: found no such file{_close_names(source)}") from None
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{source!r}: cannot be read: {error}") from None


def _close_names(source: str) -> str:
    """Return a hint at files beside a missing one that have a similar name."""
    folder, name = os.path.split(source)
    try:
        close = difflib.get_close_matches(name, os.listdir(folder or "."), n=3)
    except OSError:
        return f"; the folder {folder!r} cannot be read either"
    return f"; did you mean {' or '.join(close)}?" if close else ", expected a file"


def _decoded(data: bytes, source: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InstanceFormatError(
            f"{source}, line {line}, column {column}: found byte 0x{data[error.start]:02x}, "
            "expected UTF-8 text or a numpy array"
        ) from None
    return text


# --- text ---


@dataclass(frozen=True)
class _Row:
    """A line that has something besides comment, with its number."""

    line: int
    text: str
    source: str

    def is_text(self) -> bool:
        """Whether the line begins with a word instead of a number."""
        return _NUMBER.fullmatch(self.text.split(maxsplit=1)[0]) is None

    def word(self) -> str:
        """Return the line as a section word: lower case, without a colon."""
        return self.text.strip().rstrip(":").rstrip().lower()

    def place(self, index: int) -> str:
        """Return where token `index` stands, or the end of the line if there are fewer."""
        starts = [match.start() for match in re.finditer(r"\S+", self.text)]
        start = starts[index] if index < len(starts) else len(self.text.rstrip())
        return f"{self.source}, line {self.line}, column {start + 1}"

    def numbers(self, expected: str) -> list[int]:
        """Return the integers of the line; ``5.0`` counts as one."""
        tokens = self.text.split()
        if self.text.isascii() and "_" not in self.text:
            try:
                return [int(token) for token in tokens]
            except ValueError:
                pass  # the careful way finds the place
        return [self._integer(token, index, expected) for index, token in enumerate(tokens)]

    def _integer(self, token: str, index: int, expected: str) -> int:
        if _INTEGER.fullmatch(token) is None or len(token) > 30:
            shown = token if len(token) <= 30 else token[:27] + "..."
            raise InstanceFormatError(
                f"{self.place(index)}: found {shown!r}, expected an integer: {expected}"
            )
        return int(token.split(".")[0])


class _Reader:
    """Walks over the rows of a text, one ahead."""

    def __init__(self, text: str, source: str, name: str) -> None:
        self.source = source
        self.label: str | None = None
        self._name = name
        self._line = 0
        self._rows = self._make_rows(text)
        self._ahead = next(self._rows, None)

    def _make_rows(self, text: str) -> Iterator[_Row]:
        for line in io.StringIO(text, newline=None):
            self._line += 1
            words = line.lstrip("# \t").strip()
            if words[:9].lower() == "instance " and words[9:].strip().isprintable():
                self.label = words[9:].strip()[:100]
            body = line.split("#", 1)[0]
            if body.strip():
                yield _Row(self._line, body, self.source)

    def take(self, expected: str) -> _Row:
        """Return the next row, which must be there."""
        row = self._ahead
        if row is None:
            raise InstanceFormatError(
                f"{self.source}, line {self._line + 1}, column 1: found the end, "
                f"expected {expected}"
            )
        self._ahead = next(self._rows, None)
        return row

    def header(self) -> _Row | None:
        """Return the next row of numbers, past any text; None at the end."""
        while self._ahead is not None and self._ahead.is_text():
            self.take("text")
        return None if self._ahead is None else self.take("numbers")

    def more(self) -> _Row | None:
        """Return the row that follows an instance without text or a label in between."""
        if self._ahead is None or self.label is not None or self._ahead.is_text():
            return None
        return self._ahead

    def name(self, count: int) -> str:
        """Return the label before the current instance, or the file's name and its number."""
        label, self.label = self.label, None
        if label is not None:
            return label
        return self._name if count == 0 else f"{self._name}_{count + 1}"


def _parse_text(text: str, options: _Options, source: str, name: str) -> list[Instance]:
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - (text.rfind("\n", 0, control.start()) + 1) + 1
        raise InstanceFormatError(
            f"{source}, line {line}, column {column}: found control character "
            f"{control[0]!r}, expected text"
        )
    form = _detect(text) if options.format == "auto" else options.format
    if form == "json":
        return [_parse_json(text, options, source)]
    if form == "numpy":
        raise InstanceFormatError(f"{source}: found text, expected a numpy array")
    reader = _Reader(text, source, name)
    return [_build(block, options, form) for block in _blocks(reader, options, form)]


def _detect(text: str) -> str:
    if text.lstrip()[:1] in ("{", "["):
        return "json"
    if _SECTION.search(text):
        return "taillard"
    return "dacol_teppan" if _TERMINATOR.search(text) else "standard"


def _blocks(reader: _Reader, options: _Options, form: str) -> Iterator[_Block]:
    """Yield the instances of a text one after the other; there must be one."""
    read_block = {
        "taillard": _taillard_block,
        "taillard_machines_first": _machines_first_block,
    }.get(form, _pairs_block)
    count = 0
    while (row := reader.header()) is not None:
        _check_count(count + 1, reader.source)
        yield read_block(reader, row, reader.name(count), options, form)
        count += 1
        extra = reader.more()
        if extra is not None:
            raise InstanceFormatError(
                f"{extra.place(0)}: found another line of numbers, expected the end after all "
                "jobs; give allow_solution=True if a solution follows them, "
                "format='taillard_machines_first' if the machines stand above the durations"
            )
    if count == 0:
        reader.take("a line 'n m': number of jobs, number of machines")


def _check_count(count: int, source: str) -> None:
    if count > MAX_INSTANCES:
        raise InstanceFormatError(
            f"{source}: found more than {MAX_INSTANCES} instances, expected at most that"
        )


def _sizes(row: _Row, counts: tuple[int, ...]) -> tuple[int, int]:
    """Return jobs and machines of a header row."""
    expected = "number of jobs and number of machines"
    numbers = row.numbers(expected)
    if len(numbers) not in counts:
        raise InstanceFormatError(
            f"{row.place(min(counts))}: found {len(numbers)} numbers in the first line of "
            f"numbers, expected {' or '.join(map(str, counts))}: {expected}"
        )
    for index, high in ((0, MAX_CELLS), (1, MAX_MACHINES)):
        if not 1 <= numbers[index] <= high:
            raise InstanceFormatError(
                f"{row.place(index)}: found {_cut(numbers[index])}, "
                f"expected {('jobs', 'machines')[index]} in 1..{high}"
            )
    return numbers[0], numbers[1]


def _cut(number: int) -> str:
    """Return a number for a message, shortened if it has more than 30 digits."""
    return str(number) if abs(number) < 10**30 else "a number of more than 30 digits"


def _pairs_block(reader: _Reader, header: _Row, name: str, options: _Options, form: str) -> _Block:
    """Read ``machine duration`` pairs, a line per job."""
    jobs, machines = _sizes(header, (2,))
    rows, values = [], []
    for job in range(jobs):
        row = reader.take(f"the operations of job {job} ({jobs} jobs)")
        numbers = row.numbers(f"machine and duration pairs of job {job}")
        rows.append(row)
        values.append(numbers)
    if form == "dacol_teppan":
        _strip_terminators(rows, values)
    for row, numbers in zip(rows, values, strict=True):
        _check_pairs(row, numbers, machines, options.strict and form != "dacol_teppan")
    block = _Block(
        name=name,
        where=header.place(0),
        num_machines=machines,
        machines=[numbers[0::2] for numbers in values],
        durations=[numbers[1::2] for numbers in values],
        place=lambda what, job, position: rows[job].place(2 * position + (what == "duration")),
    )
    if options.allow_solution and reader.more() is not None:
        _check_solution(reader, block, options)
    elif form == "slim" and not options.allow_solution and (extra := reader.more()) is not None:
        raise InstanceFormatError(
            f"{extra.place(0)}: found a solution, expected allow_solution=True to pass over it"
        )
    return block


def _strip_terminators(rows: list[_Row], values: list[list[int]]) -> None:
    """Remove the closing ``-1 -1`` of every line, or find that no line has one."""
    closed = [len(numbers) >= 2 and numbers[-2:] == [-1, -1] for numbers in values]
    if not any(closed):
        return
    for row, numbers, is_closed in zip(rows, values, closed, strict=True):
        if not is_closed:
            raise InstanceFormatError(
                f"{row.place(len(numbers))}: found the end of the line, "
                "expected -1 -1 as on the other lines"
            )
        del numbers[-2:]


def _check_pairs(row: _Row, numbers: list[int], machines: int, strict: bool) -> None:
    if not numbers:
        raise InstanceFormatError(f"{row.place(0)}: found no operation, expected at least one")
    if strict and len(numbers) == machines and machines > 2:
        raise InstanceFormatError(
            f"{row.place(machines)}: found {machines} numbers, expected {machines} pairs "
            "machine duration; give format='taillard_machines_first' if machines and durations "
            "stand in two blocks"
        )
    if len(numbers) % 2:
        raise InstanceFormatError(
            f"{row.place(len(numbers) - 1)}: found {len(numbers)} numbers, "
            "expected pairs machine duration"
        )
    if strict and len(numbers) != 2 * machines:
        raise InstanceFormatError(
            f"{row.place(min(len(numbers), 2 * machines))}: found {len(numbers) // 2} pairs, "
            f"expected {machines}, one per machine; give strict=False if jobs may differ"
        )


def _check_solution(reader: _Reader, block: _Block, options: _Options) -> None:
    """Read past an upper bound and, for each machine, the numbers of its operations."""
    row = reader.take("an upper bound")
    if len(row.numbers("upper bound")) != 1:
        raise InstanceFormatError(f"{row.place(1)}: found more, expected only an upper bound")
    base = _find_base(block, options.base)
    _check_machine(block, base)
    expected: list[list[int]] = [[] for _ in range(block.num_machines)]
    number = 0
    for job in block.machines:
        for machine in job:
            expected[machine - base].append(number)
            number += 1
    for machine, operations in enumerate(expected):
        row = reader.take(f"the operations of machine {machine} in the solution")
        if sorted(row.numbers(f"operations of machine {machine}")) != operations:
            raise InstanceFormatError(
                f"{row.place(0)}: found other operations, expected each of the "
                f"{len(operations)} operations of machine {machine} once"
            )


def _matrix(
    reader: _Reader, jobs: int, machines: int, what: str
) -> tuple[list[_Row], list[list[int]]]:
    """Read one line of m numbers per job."""
    rows, values = [], []
    for job in range(jobs):
        row = reader.take(f"the {what} of job {job} ({jobs} jobs)")
        numbers = row.numbers(f"{what} of job {job}")
        if len(numbers) != machines:
            raise InstanceFormatError(
                f"{row.place(min(len(numbers), machines))}: found {len(numbers)} numbers, "
                f"expected {machines}: the {what} of job {job}"
            )
        rows.append(row)
        values.append(numbers)
    return rows, values


def _take_word(reader: _Reader, word: str) -> None:
    row = reader.take(f"the word {word!r}")
    if row.word() != word.lower():
        raise InstanceFormatError(
            f"{row.place(0)}: found {row.text.strip()[:30]!r}, expected the word {word!r}"
        )


def _taillard_block(
    reader: _Reader, header: _Row, name: str, options: _Options, form: str
) -> _Block:
    """Read durations, then machines, each below its word; seeds and bounds are left out."""
    jobs, machines = _sizes(header, (2, 6))
    _take_word(reader, "Times")
    duration_rows, durations = _matrix(reader, jobs, machines, "durations")
    _take_word(reader, "Machines")
    machine_rows, ids = _matrix(reader, jobs, machines, "machines")
    return _two_blocks(header, name, machines, (machine_rows, ids), (duration_rows, durations))


def _machines_first_block(
    reader: _Reader, header: _Row, name: str, options: _Options, form: str
) -> _Block:
    """Read machines, then durations, without words."""
    jobs, machines = _sizes(header, (2, 6))
    machine_rows, ids = _matrix(reader, jobs, machines, "machines")
    duration_rows, durations = _matrix(reader, jobs, machines, "durations")
    return _two_blocks(header, name, machines, (machine_rows, ids), (duration_rows, durations))


def _two_blocks(
    header: _Row,
    name: str,
    machines: int,
    ids: tuple[list[_Row], list[list[int]]],
    durations: tuple[list[_Row], list[list[int]]],
) -> _Block:
    rows = {"machine": ids[0], "duration": durations[0]}
    return _Block(
        name=name,
        where=header.place(0),
        num_machines=machines,
        machines=ids[1],
        durations=durations[1],
        place=lambda what, job, position: rows[what][job].place(position),
    )


def _parse_json(text: str, options: _Options, source: str) -> Instance:
    if options.base == 1:
        raise ParameterError("base: found 1, expected 0 or 'auto' for json")
    instance = Instance.from_json(text, source)
    if not options.repeats_allowed("json"):
        machines = [[machine for machine, _ in job] for job in instance.jobs()]
        _check_repeats(machines, lambda what, job, k: f"{source}: jobs[{job}][{k}]")
    _warn(instance, source)
    return instance


# --- checks that all formats share ---


def _build(block: _Block, options: _Options, form: str) -> Instance:
    """Return the instance of a block after all checks."""
    for job, durations in enumerate(block.durations):
        for position, duration in enumerate(durations):
            if not 0 <= duration < MAX_HORIZON:
                raise InstanceFormatError(
                    f"{block.place('duration', job, position)}: found {_cut(duration)}, "
                    f"expected a duration in 0..2^31-1 (job {job}, operation {position})"
                )
    base = _find_base(block, options.base)
    _check_machine(block, base)
    if not options.repeats_allowed(form):
        _check_repeats(block.machines, block.place)
    jobs = [
        [(machine - base, duration) for machine, duration in zip(*job, strict=True)]
        for job in zip(block.machines, block.durations, strict=True)
    ]
    try:
        instance = Instance.from_jobs(jobs, name=block.name, num_machines=block.num_machines)
    except InstanceError as error:
        raise InstanceFormatError(f"{block.where}: {error}") from None
    _warn(instance, block.where)
    return instance


def _find_base(block: _Block, base: Base) -> int:
    """Return whether machines count from 0 or from 1."""
    if base != "auto":
        return base
    low = min(min(job) for job in block.machines)
    high = max(max(job) for job in block.machines)
    machines = block.num_machines
    if low <= 0 or high > machines:
        return int(low > 0)  # a machine out of range is reported at its own place
    if low == 1 and high == machines:
        return 1
    raise InstanceFormatError(
        f"{block.where}: found machines {low} to {high} with m = {machines}, "
        "expected base=0 or base=1 to say from where they count"
    )


def _check_machine(block: _Block, base: int) -> None:
    low, high = base, base + block.num_machines - 1
    for job, machines in enumerate(block.machines):
        for position, machine in enumerate(machines):
            if not low <= machine <= high:
                raise InstanceFormatError(
                    f"{block.place('machine', job, position)}: found {_cut(machine)}, "
                    f"expected a machine in {low}..{high} (job {job}, operation {position})"
                )


def _check_repeats(machines: list[list[int]], place: Callable[[str, int, int], str]) -> None:
    for job, visited in enumerate(machines):
        seen: set[int] = set()
        for position, machine in enumerate(visited):
            if machine in seen:
                raise InstanceFormatError(
                    f"{place('machine', job, position)}: found machine {machine} a second time "
                    f"in job {job}, expected each once; give allow_reentrant=True if meant"
                )
            seen.add(machine)


def _warn(instance: Instance, where: str) -> None:
    """Point out what is possible but seldom meant."""
    durations = instance.duration[instance.machine >= 0]
    unused = np.setdiff1d(np.arange(instance.num_machines), instance.machine)
    remarks = []
    if unused.size:
        remarks.append(f"machine {unused[0]} (counted from 0) is never used")
    if not durations.all():
        remarks.append(f"{np.count_nonzero(durations == 0)} durations are 0")
    if durations.size > 1 and (durations == durations[0]).all():
        remarks.append(f"all durations are {durations[0]}")
    if instance.total_duration > _EXACT_IN_FLOAT32:
        remarks.append("the sum of durations exceeds 2^24, float32 rounds such times")
    if remarks:
        warnings.warn(f"{where}: {'; '.join(remarks)}", UserWarning, stacklevel=2)


# --- numpy arrays ---


def _parse_numpy(data: bytes, options: _Options, source: str, name: str) -> list[Instance]:
    if data.startswith(b"PK\x03\x04"):
        data = _unpacked(data, source)
    array = _integers(_array(data, source), source)
    if options.order is None:
        raise ParameterError(
            f"{source}: found a numpy array, expected order='durations_first' or "
            "order='machines_first': which of the two comes first on its axis of length 2"
        )
    stack = array[None] if array.ndim == 3 else array
    _check_count(len(stack), source)
    first = int(options.order == "durations_first")
    instances = []
    for index, pair in enumerate(stack):
        where = source if array.ndim == 3 else f"{source}, instance {index}"
        block = _Block(
            name=name if index == 0 else f"{name}_{index + 1}",
            where=where,
            num_machines=pair.shape[2],
            machines=pair[first].tolist(),
            durations=pair[1 - first].tolist(),
            place=functools.partial("{}, {} of job {} operation {}".format, where),
        )
        instances.append(_build(block, options, "numpy"))
    return instances


def _unpacked(data: bytes, source: str) -> bytes:
    """Return the single array file in a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise InstanceFormatError(
                    f"{source}: found {len(members)} arrays, expected a single one"
                )
            with archive.open(members[0]) as file:
                content = file.read(MAX_BYTES + 1)
    except InstanceFormatError:
        raise
    except Exception as error:  # damaged archives fail in a dozen ways, all mean the same
        raise InstanceFormatError(f"{source}: found a damaged archive: {error}") from None
    if len(content) > MAX_BYTES:
        raise InstanceFormatError(
            f"{source}: found more than {MAX_BYTES} bytes unpacked, expected at most that"
        )
    return content


def _array(data: bytes, source: str) -> npt.NDArray[Any]:
    """Return the array of a .npy file after its header has been compared with its length."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    except Exception as error:  # the header is a Python literal and can fail in many ways
        raise InstanceFormatError(
            f"{source}: found a damaged header, expected a numpy array: {str(error)[:100]}"
        ) from None
    axis = len(shape) - 3
    if axis not in (0, 1) or shape[axis] != 2 or min(shape) < 1:
        raise InstanceFormatError(
            f"{source}: found shape {shape}, expected (2, n, m) or (N, 2, n, m)"
        )
    if dtype.kind not in "iuf":
        raise InstanceFormatError(f"{source}: found type {str(dtype)[:30]}, expected numbers")
    needed, left = int(np.prod(shape, dtype=object)) * dtype.itemsize, len(data) - stream.tell()
    if shape[-2] * shape[-1] > MAX_CELLS:
        raise InstanceFormatError(f"{source}: found shape {shape}, expected n x m <= {MAX_CELLS}")
    if needed != left:
        raise InstanceFormatError(
            f"{source}: found {left} bytes of data, expected {needed} for shape {shape}"
        )
    stream.seek(0)
    try:
        return np.load(stream, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InstanceFormatError(f"{source}: found a damaged array: {error}") from None


def _integers(array: npt.NDArray[Any], source: str) -> npt.NDArray[np.int64]:
    """Return an array of numbers as integers; 5.0 counts as one."""
    with np.errstate(invalid="ignore"):
        wrong = ~((array > -MAX_HORIZON) & (array < MAX_HORIZON) & (array == np.trunc(array)))
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise InstanceFormatError(
            f"{source}, index {place}: found {array[place]}, expected an integer below 2^31"
        )
    return array.astype(np.int64)


def _numpy_bytes(instance: Instance, order: str | None) -> bytes:
    if order is None:
        raise ParameterError("order: found None, expected 'durations_first' or 'machines_first'")
    _check_no_release(instance, "numpy")
    _check_rectangular(instance, "numpy")
    if order == "machines_first":
        array = np.stack([instance.machine, instance.duration])
    else:
        array = np.stack([instance.duration, instance.machine + 1])
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


# --- writing text ---


def _check_no_release(instance: Instance, format: str) -> None:
    if instance.release.any():
        raise ParameterError(
            f"format: found {format!r}, expected 'json' for an instance with release times"
        )


def _check_rectangular(instance: Instance, format: str) -> None:
    if (instance.operations != instance.num_machines).any():
        raise ParameterError(
            f"format: found {format!r}, expected 'dacol_teppan' or 'json' for an instance whose "
            "jobs do not all have one operation per machine"
        )


def _pair_lines(instance: Instance, ending: str) -> str:
    lines = [f"# instance {instance.name}", f"{instance.num_jobs} {instance.num_machines}"]
    for job in instance.jobs():
        lines.append(" ".join(f"{machine} {duration}" for machine, duration in job) + ending)
    return "\n".join(lines) + "\n"


def _standard_text(instance: Instance) -> str:
    return _pair_lines(instance, "")


def _terminated_text(instance: Instance) -> str:
    return _pair_lines(instance, " -1 -1")


def _taillard_text(instance: Instance) -> str:
    known = instance.bounds.get("classic")
    upper, lower = (0, 0) if known is None else (known.upper, known.lower)
    head = [
        f"# instance {instance.name}",
        "Nb of jobs, Nb of Machines, Time seed, Machine seed, Upper bound, Lower bound",
        f"{instance.num_jobs} {instance.num_machines} 0 0 {upper} {lower}",
    ]
    times, machines = _rows(instance.duration), _rows(instance.machine + 1)
    return "\n".join([*head, "Times", *times, "Machines", *machines]) + "\n"


def _machines_first_text(instance: Instance) -> str:
    head = [f"# instance {instance.name}", f"{instance.num_jobs} {instance.num_machines}"]
    return "\n".join([*head, *_rows(instance.machine), *_rows(instance.duration)]) + "\n"


def _rows(matrix: npt.NDArray[np.int64]) -> list[str]:
    return [" ".join(map(str, row)) for row in matrix.tolist()]
