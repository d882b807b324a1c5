"""The static benchmark: offline list schedules of the graphs that the literature uses."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from dispatchgym.envs.core.errors import InstanceFormatError
from dispatchgym.envs.soc.instance import MAX_PES, MAX_TIME, Instance
from dispatchgym.envs.soc.parsers import load
from dispatchgym.envs.soc.reading import integer, named, read
from dispatchgym.envs.soc.static import ratio_table, ratios
from dispatchgym.envs.soc.workflows import Attached, Graph, on_identical, read_stg

__all__ = ["static_benchmark", "static_instances"]

EXAMPLES = {"canonicalgraph": 73, "peftgraph": 113}
"""The examples of HEFT and PEFT, and their optimal makespans."""
WORKFLOW_PROCESSORS = 8


def static_benchmark(folder: str | os.PathLike[str]) -> str:
    """Return makespan ratios of HEFT, PEFT and CPOP on the literature's graphs, as Markdown.

    One table a group: to the lower bound, to the optimum where it is known, and to HEFT.

    Args:
        folder: has what `static_instances` reads.

    Raises:
        InstanceFormatError: there is nothing, or a file is wrong.
        MissingDependencyError: highspy is not installed.
    """
    groups: dict[str, list[Instance]] = {}
    for group, instance in static_instances(folder):
        groups.setdefault(group, []).append(instance)
    return "\n".join(
        f"### {group}\n\n{ratio_table(ratios(instances))}" for group, instances in groups.items()
    )


def static_instances(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Instance]]:
    """Yield group and instance of every graph in a folder.

    - ``canonical/*_task_connectivity.csv``: the examples of HEFT and PEFT;
    - ``stg/optimal_makespans.csv`` and the files of the Standard Task Graph Set it names: one
      instance for each line, on so many identical processing elements;
    - ``dagbench/*/*/graph.json``;
    - ``wfinstances/*.json``: on 8 processing elements whose times are spread by a quarter.

    Raises:
        InstanceFormatError: there is nothing, or a file is wrong.
    """
    root = Path(folder)
    count = 0
    for found in (_examples(root), _stg(root), _dagbench(root), _workflows(root)):
        for pair in found:
            count += 1
            yield pair
    if not count:
        raise InstanceFormatError(
            f"{root}: found no graphs, expected canonical, stg, dagbench or wfinstances"
        )


def _examples(root: Path) -> Iterator[tuple[str, Instance]]:
    for name, optimum in EXAMPLES.items():
        path = root / "canonical" / f"{name}_task_connectivity.csv"
        if path.is_file():
            yield "Examples of HEFT and PEFT", load(path, optimum=optimum)


def _stg(root: Path) -> Iterator[tuple[str, Instance]]:
    path = root / "stg" / "optimal_makespans.csv"
    if not path.is_file():
        return
    graphs: dict[str, Graph] = {}
    for number, row in enumerate(csv.DictReader(read(path).splitlines()), 2):
        with named(f"{path}: line {number}"):
            file = row.get("file") or ""
            processors = integer(row.get("processors") or "", "processors", 1, MAX_PES)
            optimum = integer(row.get("optimal_makespan") or "", "optimum", 0, MAX_TIME)
        if file not in graphs:
            graphs[file] = _read_graph(path.parent / file)
        attached = Attached(processors=processors)
        name = Path(file).with_suffix("").as_posix()
        yield (
            f"STG, {processors} processing elements",
            on_identical(graphs[file], name, attached, optimum),
        )


def _read_graph(path: Path) -> Graph:
    with named(str(path)):
        return read_stg(read(path))


def _dagbench(root: Path) -> Iterator[tuple[str, Instance]]:
    for path in sorted((root / "dagbench").glob("*/*/graph.json")):
        yield "DAGBench", load(path)


def _workflows(root: Path) -> Iterator[tuple[str, Instance]]:
    for path in sorted((root / "wfinstances").glob("*.json")):
        yield (
            f"Workflows, {WORKFLOW_PROCESSORS} processing elements",
            load(path, processors=WORKFLOW_PROCESSORS, beta=0.5),
        )
