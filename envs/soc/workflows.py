"""Readers of standard workflow formats: STG, TGFF, WfFormat, DAGBench and three tables.

- STG: Standard Task Graph Set of the Kasahara laboratory (Tobita and Kasahara, "A standard task
  graph set for fair evaluation of multiprocessor scheduling algorithms", J. Scheduling 5, 2002).
- TGFF: Dick, Rhodes and Wolf, "TGFF: task graphs for free", CODES 1998.
- WfFormat: Coleman et al., "WfCommons", Future Generation Computer Systems 128 (2022).
- DAGBench: the JSON files of the collection of that name, which SAGA reads too.
- Three tables: edge weights, execution times and bandwidths, as HEFT's and PEFT's examples come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.soc import layered
from dispatchgym.envs.soc.generators import batch
from dispatchgym.envs.soc.instance import (
    MAX_PES,
    MAX_TASKS,
    MAX_TIME,
    MAX_VOLUME,
    UNSUPPORTED,
    Cluster,
    Instance,
    JobProfile,
    Platform,
)
from dispatchgym.envs.soc.reading import (
    checked,
    integer,
    member,
    named,
    quantity,
    read,
    real,
    short,
)

__all__ = ["Attached", "dagbench", "on_identical", "read_stg", "stg", "tables", "tgff", "wfformat"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

STG_PROCESSORS = 4
NETWORK_BYTES_PER_US = 125.0
"""Between machines of a workflow: one gigabit a second."""
DAGBENCH_UNIT = 1000
"""Microseconds of a unit of DAGBench's time, and parts of a unit of its data."""
MAX_CELLS = 20_000_000
"""Largest tasks x processing elements that are read."""


@dataclass(frozen=True)
class Attached:
    """What is added to a graph whose file says nothing about processing elements.

    Attributes:
        processors: number of processing elements; None for what the format suggests.
        beta: spread of times, in 0..2.
        ccr: ratio of mean transfer to mean task; None for the volumes of the file.
        seed: of spread and volumes.

    Raises:
        ParameterError: a value is out of range.
    """

    processors: int | None = None
    beta: float = 0.0
    ccr: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        for name, value, high in (
            ("processors", self.processors, MAX_PES),
            ("seed", self.seed, 2**64 - 1),
        ):
            low = int(name == "processors")
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ParameterError(
                    f"{name}: found {value!r}, expected an integer in {low}..{high}"
                )
        for name, number, most in (("beta", self.beta, 2.0), ("ccr", self.ccr or 0.0, 1e3)):
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ParameterError(f"{name}: found {number!r}, expected a number")
            if not 0.0 <= number <= most:
                raise ParameterError(f"{name}: found {number!r}, expected 0..{most:g}")

    def job(
        self,
        name: str,
        task_names: list[str],
        duration: IntArray,
        edges: list[tuple[int, int, int]],
        platform: Platform,
    ) -> JobProfile:
        """Return a job profile with times (T, P) spread, and volumes if there is a ratio."""
        spread = layered.spread_times(self.seed, duration, self.beta)
        table = np.array(edges, np.int64).reshape(-1, 3)
        if self.ccr is not None and platform.slowness:
            mean = self.ccr * float(spread.mean()) / platform.slowness
            table[:, 2] = layered.draw_volumes(self.seed, 0, len(table), mean)
        return JobProfile(name, tuple(task_names), spread, table)


def _uniform_platform(name: str, count: int, bandwidth: float) -> Platform:
    """Return a platform of equal processing elements; data are free within each."""
    between = np.full((count, count), bandwidth)
    np.fill_diagonal(between, np.inf)
    return Platform(
        name=name,
        pe_names=tuple(f"PE{pe}" for pe in range(count)),
        clusters=(Cluster("PE", "CPU"),),
        pe_cluster=np.zeros(count, np.int64),
        bandwidth=between,
        memory_bandwidth=np.full(count, bandwidth),
    )


def _check_cells(tasks: int, pes: int) -> None:
    if tasks * pes > MAX_CELLS:
        raise InstanceError(
            f"found {tasks} tasks on {pes} processing elements, expected at most {MAX_CELLS} times"
        )


# ---------------------------------------------------------------- STG


class Graph(NamedTuple):
    """What a file in the format STG says.

    Attributes:
        times: (T,) microseconds of each task.
        edges: source, target and volume 0.
        processors: that the file suggests, or None.
    """

    times: IntArray
    edges: list[tuple[int, int, int]]
    processors: int | None


def stg(text: str, name: str, attached: Attached) -> Instance:
    """Return the instance of a text in the format STG; see `read_stg`.

    Raises:
        InstanceError: the text is not so; the message names the line.
    """
    graph = read_stg(text)
    processors = attached.processors or graph.processors or STG_PROCESSORS
    return on_identical(graph, name, replace(attached, processors=processors))


def on_identical(graph: Graph, name: str, attached: Attached, optimum: int = -1) -> Instance:
    """Return a graph on as many identical processing elements as are attached."""
    tasks, count = len(graph.times), attached.processors or STG_PROCESSORS
    _check_cells(tasks, count)
    platform = _uniform_platform(f"identical-p{count}", count, 1.0)
    duration = np.repeat(graph.times[:, None], count, axis=1)
    job = attached.job(name, ["task"] * tasks, duration, graph.edges, platform)
    return batch(f"{name}-p{count}", platform, (replace(job, optimum=optimum),))


def read_stg(text: str) -> Graph:
    """Return the graph of a text in the format STG.

    The first line has the number n of tasks, perhaps followed by the number of processing
    elements; n + 2 lines follow, the first and last task being dummies: number, time, number of
    predecessors, predecessors. Lines that begin with ``#`` are comments.

    Raises:
        InstanceError: the text is not so; the message names the line.
    """
    rows = [
        (f"line {number}", line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise InstanceError("line 1: found nothing, expected the number of tasks")
    where, first = rows.pop(0)
    if len(first) > 2:
        raise InstanceError(
            f"{where}: found {len(first)} words, expected the number of tasks of an STG file"
        )
    tasks = integer(first[0], f"{where}: number of tasks", 1, MAX_TASKS - 2) + 2
    processors = integer(first[1], f"{where}: processors", 1, MAX_PES) if first[1:] else None
    if len(rows) != tasks:
        raise InstanceError(
            f"found {len(rows)} lines of tasks, expected {tasks}: those that line 1 announces and "
            "two dummies"
        )
    times = np.zeros(tasks, np.int64)
    edges: list[tuple[int, int, int]] = []
    for task, (where, words) in enumerate(rows):
        if len(words) < 3:
            raise InstanceError(
                f"{where}: found {len(words)} words, expected number, time, number of predecessors"
            )
        integer(words[0], f"{where}: task", task, task)
        times[task] = integer(words[1], f"{where}: time", 0, MAX_TIME)
        count = integer(words[2], f"{where}: number of predecessors", 0, tasks)
        if len(words) != 3 + count:
            raise InstanceError(
                f"{where}: found {len(words) - 3} predecessors, expected {count} as it says"
            )
        place = f"{where}: predecessor"
        edges += [(integer(word, place, 0, tasks - 1), task, 0) for word in words[3:]]
    return Graph(times, edges, processors)


# ---------------------------------------------------------------- WfFormat


def wfformat(found: dict[str, Any], attached: Attached) -> Instance:
    """Return the instance of a document in WfFormat 1.4 or 1.5.

    A task takes its recorded runtime, longer on a slower machine, and an edge carries the files
    that one task writes and the other reads. Data are free within a machine.

    Raises:
        InstanceError: the document is not so; the message names the field.
    """
    version = found.get("schemaVersion")
    if version not in ("1.4", "1.5"):
        raise InstanceError(f"schemaVersion: found {short(version)}, expected '1.4' or '1.5'")
    name = member(found, "name", "", str)
    workflow = member(found, "workflow", "", dict)
    specification = member(workflow, "specification", "workflow", dict)
    execution = member(workflow, "execution", "workflow", dict)
    places = _places(member(specification, "tasks", "workflow.specification", list))
    runs = _runs(member(execution, "tasks", "workflow.execution", list), places)
    machines = _machines(execution)
    if attached.processors is not None:
        platform = _uniform_platform(
            f"cluster-p{attached.processors}", attached.processors, NETWORK_BYTES_PER_US
        )
        speed = np.ones(attached.processors)
        ran_at = np.ones(len(places))
    else:
        platform, speed = _recorded_platform(machines)
        ran_at = np.array([machines.get(run["on"], (0, speed[0]))[1] for run in runs])
    _check_cells(len(places), platform.num_pes)
    seconds = np.array([run["seconds"] for run in runs])
    duration = np.rint(1e6 * np.outer(seconds * ran_at, 1.0 / speed)).astype(np.int64)
    tasks = list(places.values())
    edges = _file_edges(tasks, places, _file_sizes(specification))
    family = [re.sub(r"[_-]?(ID)?\d+$", "", task["name"]) or "task" for task in tasks]
    job = attached.job(name, family, duration, edges, platform)
    return batch(name, platform, (job,))


def _places(tasks: list[Any]) -> dict[str, dict[str, Any]]:
    """Return id -> task with its place in the document and its number."""
    places: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        where = f"workflow.specification.tasks[{index}]"
        key = member(checked(task, where, dict), "id", where, str)
        if key in places:
            raise InstanceError(f"{where}.id: found {short(key)} a second time")
        label = member(task, "name", where, str)
        places[key] = {**task, "name": label, "where": where, "number": index}
    if not 1 <= len(places) <= MAX_TASKS:
        raise InstanceError(
            f"workflow.specification.tasks: found {len(places)}, expected 1 to {MAX_TASKS}"
        )
    return places


def _runs(tasks: list[Any], places: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return seconds and machine of every task, in the order of the specification."""
    runs: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        where = f"workflow.execution.tasks[{index}]"
        key = member(checked(task, where, dict), "id", where, str)
        if key not in places:
            raise InstanceError(f"{where}.id: found {short(key)}, expected a specified task")
        runtime = member(task, "runtimeInSeconds", where, float)
        seconds = quantity(runtime, f"{where}.runtimeInSeconds", 0.0, MAX_TIME / 1e6)
        on = checked(task.get("machines", []), f"{where}.machines", list)
        machine = checked(on[0], f"{where}.machines[0]", str) if on else ""
        runs[key] = {"seconds": seconds, "on": machine}
    for key, task in places.items():
        if key not in runs:
            raise InstanceError(f"{task['where']}: found no runtime of {short(key)}, expected one")
    return [runs[key] for key in places]


def _machines(execution: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """Return name -> cores and speed of each machine; speeds are 1 unless all are known."""
    machines: dict[str, tuple[int, float]] = {}
    known = True
    for index, machine in enumerate(member(execution, "machines", "workflow.execution", list)):
        where = f"workflow.execution.machines[{index}]"
        name = member(checked(machine, where, dict), "nodeName", where, str)
        cpu = checked(machine.get("cpu", {}), f"{where}.cpu", dict)
        count = checked(cpu.get("coreCount", 1), f"{where}.cpu.coreCount", int)
        cores = quantity(count, f"{where}.cpu.coreCount", 1, MAX_PES)
        megahertz = quantity(cpu.get("speedInMHz", 1), f"{where}.cpu.speedInMHz", 1, 1e6)
        known &= "speedInMHz" in cpu
        machines[name] = (int(cores), megahertz)
    return {name: (cores, speed if known else 1.0) for name, (cores, speed) in machines.items()}


def _recorded_platform(machines: dict[str, tuple[int, float]]) -> tuple[Platform, FloatArray]:
    """Return a platform with a processing element for each core, and their speeds."""
    cores = [cores for cores, _ in machines.values()]
    if not 1 <= sum(cores) <= MAX_PES:
        raise InstanceError(
            f"workflow.execution.machines: found {sum(cores)} cores, expected 1 to {MAX_PES}, or "
            "a number of processors"
        )
    cluster = np.repeat(np.arange(len(cores)), cores)
    same = cluster[:, None] == cluster
    platform = Platform(
        name="machines",
        pe_names=tuple(f"core{pe}" for pe in range(len(cluster))),
        clusters=tuple(Cluster(name, "CPU") for name in machines),
        pe_cluster=cluster,
        bandwidth=np.where(same, np.inf, NETWORK_BYTES_PER_US),
        memory_bandwidth=np.full(len(cluster), NETWORK_BYTES_PER_US),
    )
    return platform, np.array([speed for _, speed in machines.values()])[cluster]


def _file_sizes(specification: dict[str, Any]) -> dict[str, int]:
    sizes = {}
    files = checked(specification.get("files", []), "workflow.specification.files", list)
    for index, file in enumerate(files):
        where = f"workflow.specification.files[{index}]"
        key = member(checked(file, where, dict), "id", where, str)
        size = member(file, "sizeInBytes", where, int)
        sizes[key] = int(quantity(size, f"{where}.sizeInBytes", 0, 1e15))
    return sizes


def _file_edges(
    tasks: list[dict[str, Any]], places: dict[str, dict[str, Any]], sizes: dict[str, int]
) -> list[tuple[int, int, int]]:
    """Return the edges that parents and children name, with the bytes of the files between."""
    pairs = {
        pair
        for task in tasks
        for relative, order in (("parents", 1), ("children", -1))
        for other in _names(task, relative)
        for pair in [(_number(other, task, relative, places), task["number"])[::order]]
    }
    written = [set(_names(task, "outputFiles")) for task in tasks]
    read_files = [set(_names(task, "inputFiles")) for task in tasks]
    edges = []
    for source, target in sorted(pairs):
        shared = written[source] & read_files[target]
        for file in sorted(shared - sizes.keys()):
            raise InstanceError(
                f"{tasks[source]['where']}.outputFiles: found {short(file)}, "
                "expected one of workflow.specification.files"
            )
        edges.append((source, target, sum(sizes[file] for file in shared)))
    return edges


def _names(task: dict[str, Any], key: str) -> list[str]:
    place = f"{task['where']}.{key}"
    names = checked(task.get(key, []), place, list)
    return [checked(name, f"{place}[{index}]", str) for index, name in enumerate(names)]


def _number(
    key: str, task: dict[str, Any], relative: str, places: dict[str, dict[str, Any]]
) -> int:
    if key not in places:
        raise InstanceError(
            f"{task['where']}.{relative}: found {short(key)}, expected a specified task"
        )
    return int(places[key]["number"])


# ---------------------------------------------------------------- DAGBench


def dagbench(found: dict[str, Any]) -> Instance:
    """Return the instance of a document of the collection DAGBench.

    A task takes its cost over the node's speed, an edge its size over the link's. A unit of time
    is a millisecond, so that rounding to microseconds costs little.

    Raises:
        InstanceError: the document is not so; the message names the field.
    """
    name = member(found, "name", "", str)
    graph = member(found, "task_graph", "", dict)
    network = member(found, "network", "", dict)
    tasks = _column(graph, "tasks", "task_graph", "cost", 0.0)
    nodes = _column(network, "nodes", "network", "speed", 1e-9)
    if not 1 <= len(nodes) <= MAX_PES:
        raise InstanceError(f"network.nodes: found {len(nodes)}, expected 1 to {MAX_PES}")
    _check_cells(len(tasks), len(nodes))
    cost, speed = np.array(list(tasks.values())), np.array(list(nodes.values()))
    duration = np.rint(DAGBENCH_UNIT * np.outer(cost, 1.0 / speed))
    if duration.max(initial=0) > MAX_TIME:
        raise InstanceError(f"task_graph.tasks: found a time of {duration.max():g} us")
    platform = Platform(
        name=f"{name} network"[:200],
        pe_names=tuple(nodes),
        clusters=tuple(Cluster(node or "node", "CPU") for node in nodes),
        pe_cluster=np.arange(len(nodes)),
        bandwidth=_links(network, list(nodes)),
        memory_bandwidth=np.full(len(nodes), np.inf),
    )
    edges = [
        (source, target, round(DAGBENCH_UNIT * size))
        for source, target, size in _dependencies(graph, list(tasks))
    ]
    table = np.array(edges, np.int64).reshape(-1, 3)
    job = JobProfile(name, tuple(tasks), duration.astype(np.int64), table)
    return batch(name, platform, (job,))


def _column(
    fields: dict[str, Any], key: str, where: str, column: str, low: float
) -> dict[str, float]:
    """Return name -> number of the entries of a list."""
    values: dict[str, float] = {}
    for index, entry in enumerate(member(fields, key, where, list)):
        place = f"{where}.{key}[{index}]"
        name = member(checked(entry, place, dict), "name", place, str)
        if name in values:
            raise InstanceError(f"{place}.name: found {short(name)} a second time")
        number = member(entry, column, place, float)
        values[name] = quantity(number, f"{place}.{column}", low, 1e15)
    if not values:
        raise InstanceError(f"{where}.{key}: found nothing, expected at least one")
    return values


def _ends(entry: dict[str, Any], place: str, number: dict[str, int]) -> tuple[int, int]:
    ends = []
    for key in ("source", "target"):
        name = member(entry, key, place, str)
        if name not in number:
            raise InstanceError(f"{place}.{key}: found {short(name)}, which is not in the list")
        ends.append(number[name])
    return ends[0], ends[1]


def _dependencies(graph: dict[str, Any], names: list[str]) -> list[tuple[int, int, float]]:
    number = {name: index for index, name in enumerate(names)}
    edges = []
    for index, entry in enumerate(member(graph, "dependencies", "task_graph", list)):
        place = f"task_graph.dependencies[{index}]"
        source, target = _ends(checked(entry, place, dict), place, number)
        size = member(entry, "size", place, float)
        edges.append(
            (source, target, quantity(size, f"{place}.size", 0.0, MAX_VOLUME / DAGBENCH_UNIT))
        )
    return edges


def _links(network: dict[str, Any], names: list[str]) -> FloatArray:
    """Return (P, P) speeds of the links, which work both ways."""
    number = {name: index for index, name in enumerate(names)}
    speed = np.zeros((len(names), len(names)))
    np.fill_diagonal(speed, np.inf)
    for index, entry in enumerate(member(network, "edges", "network", list)):
        place = f"network.edges[{index}]"
        source, target = _ends(checked(entry, place, dict), place, number)
        found = member(entry, "speed", place, float)
        speed[source, target] = quantity(found, f"{place}.speed", 1e-9, 1e15)
        if not speed[target, source]:
            speed[target, source] = speed[source, target]
    if not speed.all():
        one, other = np.argwhere(speed == 0)[0]
        raise InstanceError(
            f"network.edges: found no link of {short(names[one])} and {short(names[other])}, "
            "expected one"
        )
    return speed


# ---------------------------------------------------------------- TGFF


def tgff(text: str, name: str) -> Instance:
    """Return the instance of a text that TGFF has written.

    Every ``@TASK_GRAPH`` is a job, every table with a column ``exec_time`` or ``task_time`` a
    processing element, which takes that many microseconds, rounded, for the types of tasks it
    lists, unless a column ``valid`` has a 0; the tables ``@COMMUN..`` have the volumes of the types
    of arcs, one of which passes a microsecond. Periods and deadlines are not used.

    Raises:
        InstanceError: the text is not so; the message names the line.
    """
    found = _Tgff(text)
    if not found.graphs:
        raise InstanceError("found no @TASK_GRAPH with tasks, expected at least one")
    if not found.elements:
        raise InstanceError(
            f"found no table with a column {' or '.join(_TGFF_TIMES)}, expected at least one"
        )
    platform = _uniform_platform(f"{name}-p{len(found.elements)}", len(found.elements), 1.0)
    jobs = tuple(found.job(label) for label in found.graphs)
    return batch(name, platform, jobs, tuple(range(len(jobs))))


_TGFF_TIMES = ("exec_time", "task_time")
_TGFF_KEYWORDS = {"TASK": ("TYPE",), "ARC": ("FROM", "TO", "TYPE")}


class _TgffGraph(NamedTuple):
    """Tasks with their types, and arcs: place, source, target and type."""

    tasks: dict[str, int]
    arcs: list[tuple[str, str, str, int]]


class _Tgff:
    """The blocks of a text in TGFF's format.

    Attributes:
        graphs: name -> graph; those with tasks.
        elements: type of task -> microseconds, a table for each processing element.
        volumes: type of arc -> volume.
    """

    def __init__(self, text: str) -> None:
        """Read the text line by line."""
        self.graphs: dict[str, _TgffGraph] = {}
        self.elements: list[dict[int, int]] = []
        self.volumes: dict[int, int] = {}
        self._block = self._title = ""  # inside of which we are; which may begin on the next line
        self._graph = _TgffGraph({}, [])
        self._header: list[str] = []
        self._values: dict[int, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if words := line.replace("{", " { ").replace("}", " } ").split():
                self._line(words, f"line {number}")
        if self._block:
            raise InstanceError(f"found the end of the text, expected that of {self._block}")

    def job(self, label: str) -> JobProfile:
        """Return the job profile of a graph."""
        tasks, arcs = self.graphs[label]
        _check_cells(len(tasks), len(self.elements))
        duration = [
            [table.get(kind, UNSUPPORTED) for table in self.elements] for kind in tasks.values()
        ]
        number = {task: index for index, task in enumerate(tasks)}
        edges = []
        for where, source, target, kind in arcs:
            for end in (source, target):
                if end not in number:
                    raise InstanceError(f"{where}: found {short(end)}, expected a task before it")
            if self.volumes and kind not in self.volumes:
                raise InstanceError(f"{where}: found type {kind}, which @COMMUN does not list")
            edges.append((number[source], number[target], self.volumes.get(kind, 0)))
        names = tuple(f"type{kind}" for kind in tasks.values())
        table = np.array(edges, np.int64).reshape(-1, 3)
        return JobProfile(label, names, np.array(duration, np.int64), table)

    def _line(self, words: list[str], where: str) -> None:
        if words[0].startswith("@"):
            if self._block:
                raise InstanceError(
                    f"{where}: found {short(words[0])}, expected the end of {self._block}"
                )
            self._title = " ".join(word for word in words if word != "{")
        if self._title and words[-1] == "{":
            self._begin()
        elif words[0] == "}":
            self._end(where)
        elif self._block.startswith("@TASK_GRAPH"):
            self._entry(words, where)
        elif self._block and words[0].startswith("#"):
            self._header = " ".join(words).lstrip("#").split() or self._header
        elif self._block:
            self._row(words, where)

    def _begin(self) -> None:
        self._block, self._title = self._title, ""
        self._graph, self._header, self._values = _TgffGraph({}, []), [], {}

    def _end(self, where: str) -> None:
        if not self._block:
            raise InstanceError(f"{where}: found the end of a block, expected its beginning")
        if self._graph.tasks:
            self.graphs[self._block[1:].lower().replace(" ", "_")] = self._graph
        elif self._values and self._block.startswith("@COMMUN"):
            self.volumes |= self._values
        elif self._values:
            self.elements.append(self._values)
        self._block = ""

    def _entry(self, words: list[str], where: str) -> None:
        """Read a line of a task graph; periods and deadlines are passed over."""
        if words[0] not in _TGFF_KEYWORDS:
            return
        keywords = _TGFF_KEYWORDS[words[0]]
        if len(words) != 2 + 2 * len(keywords) or tuple(words[2::2]) != keywords:
            raise InstanceError(
                f"{where}: found {short(' '.join(words))}, expected {words[0]} name "
                + " ".join(f"{keyword} .." for keyword in keywords)
            )
        kind = integer(words[-1], f"{where}: TYPE", 0, 10**9)
        if words[0] == "ARC":
            self._graph.arcs.append((where, words[3], words[5], kind))
        elif words[1] in self._graph.tasks:
            raise InstanceError(f"{where}: found task {short(words[1])} a second time")
        else:
            self._graph.tasks[words[1]] = kind

    def _row(self, words: list[str], where: str) -> None:
        """Read a row of a table, which matters if the header has types and times or volumes."""
        header = self._header
        if self._block.startswith("@COMMUN"):
            wanted = next((title for title in header if title not in ("type", "version")), "")
        else:
            wanted = next((title for title in header if title in _TGFF_TIMES), "")
        if "type" not in header or not wanted:
            return
        if len(words) != len(header):
            raise InstanceError(
                f"{where}: found {len(words)} columns, expected {len(header)}: {' '.join(header)}"[
                    :300
                ]
            )
        row = dict(zip(header, words, strict=True))
        kind = integer(row["type"], f"{where}: type", 0, 10**9)
        number = real(row[wanted], f"{where}: {wanted}", 0.0, 1e12)
        if row.get("valid") != "0":
            self._values.setdefault(kind, round(number))


# ---------------------------------------------------------------- three tables

_PARTS = ("_task_connectivity.csv", "_task_exe_time.csv", "_resource_BW.csv")


def tables(source: str) -> Instance:
    """Return the instance of three tables: edge weights, execution times and bandwidths.

    Their names end in ``_task_connectivity.csv``, ``_task_exe_time.csv`` and ``_resource_BW.csv``.
    A weight of 0 is no edge, a bandwidth of 0 from a processing element to itself is free.

    Args:
        source: the first of them, or the folder that has just one.

    Raises:
        InstanceFormatError: a table is missing or wrong; the message names file, line and column.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(path.glob(f"*{_PARTS[0]}"))
        if len(found) != 1:
            raise InstanceFormatError(
                f"{source}: found {len(found)} files *{_PARTS[0]}, expected one"
            )
        path = found[0]
    stem = str(path)[: -len(_PARTS[0])]
    weights = _table(f"{stem}{_PARTS[0]}", 0, MAX_VOLUME, whole=True)
    times = _table(f"{stem}{_PARTS[1]}", 0, MAX_TIME, whole=True)
    bandwidth = _table(f"{stem}{_PARTS[2]}", 0, 1e15, whole=False)
    name = Path(stem).name or "tables"
    for part, table, shape in (
        (_PARTS[0], weights, (len(times), len(times))),
        (_PARTS[2], bandwidth, (times.shape[1], times.shape[1])),
    ):
        if table.shape != shape:
            raise InstanceFormatError(
                f"{stem}{part}: found {table.shape[0]} rows of {table.shape[1]} columns, "
                f"expected {shape[0]} of {shape[1]} as the execution times have"
            )
    own = np.diagonal(bandwidth).copy()
    np.fill_diagonal(bandwidth, np.where(own == 0, np.inf, own))
    pes = len(bandwidth)
    platform = Platform(
        name=f"{name} platform",
        pe_names=tuple(f"P{pe}" for pe in range(pes)),
        clusters=tuple(Cluster(f"P{pe}", "CPU") for pe in range(pes)),
        pe_cluster=np.arange(pes),
        bandwidth=bandwidth,
        memory_bandwidth=np.full(pes, np.inf),
    )
    sources, targets = np.nonzero(weights)
    edges = np.column_stack((sources, targets, weights[sources, targets])).astype(np.int64)
    names = tuple(f"task{task}" for task in range(len(times)))
    job = JobProfile(name, names, times.astype(np.int64), edges)
    return batch(name, platform, (job,))


def _table(path: str, low: float, high: float, whole: bool) -> FloatArray:
    """Return the numbers of a table with a row and a column of names."""
    rows: list[list[float]] = []
    lines = read(path).splitlines()
    width = lines[0].count(",") + 1 if lines else 0
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        words = [word.strip() for word in line.split(",")]
        if len(words) != width:
            raise InstanceFormatError(
                f"{path}: line {number}: found {len(words)} columns, expected {width}"
            )
        with named(f"{path}: line {number}"):
            rows.append(
                [
                    integer(word, f"column {column}", int(low), int(high))
                    if whole
                    else real(word, f"column {column}", low, high)
                    for column, word in enumerate(words[1:], 2)
                ]
            )
    if not rows or len(rows[0]) == 0:
        raise InstanceFormatError(f"{path}: found no row below the names, expected at least one")
    return np.array(rows, np.float64)
