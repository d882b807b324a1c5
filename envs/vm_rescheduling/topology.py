"""Clusters from the topology data of Huawei: real machines, racks, requests and service groups.

The data set ``mdl1104/Dataset-for-topology-aware-VM-placement`` (CC0-1.0) has what is free on 1,710
machines and sequences of requests, but no placement. One is made here: the requests are served
first fit, then some VMs leave. Machines differ, and memory binds as often as cores do.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceFormatError, ParameterError
from dispatchgym.envs.vm_rescheduling.instance import BOTH_NODES, MAX_PMS, Instance, IntArray

__all__ = ["load_topology"]

_MB = 1024
_MAX_BYTES = 64 * 2**20
_LARGEST = 10**6


@dataclass(frozen=True)
class _Request:
    """A VM that is asked for: sizes on each of its nodes, and its anti-affinity set or -1."""

    cpu: int
    memory: int
    numa: int
    group: int


def load_topology(
    folder: str | os.PathLike[str],
    requests: str = "C1",
    *,
    leave: float = 0.3,
    seed: int = 0,
    mnl: int = 50,
) -> Instance:
    """Build a cluster from the CSV files in a folder.

    Requests are served in their order, each on the first machine, and there on the first node,
    with room; one that finds none is left out. VMs of a group with strategy ``anti-affinity``
    are kept apart and form a set; the other strategies ask for nothing that a set can say and
    are not followed. Then a share of the VMs leaves, and machines that no request has reached
    are left out.

    Args:
        folder: Has ``pm_residual.csv``, ``topology.csv`` and ``vm_requests_{requests}.csv``.
        requests: Name of the sequence.
        leave: Share of the VMs that leaves, drawn uniformly, in [0, 1).
        seed: Says which VMs leave; >= 0.
        mnl: Migration limit.

    Raises:
        InstanceFormatError: A file is missing or has another form; the message names file, line
            and column.
        ParameterError: `leave` or `seed` is out of range.
    """
    if not 0 <= leave < 1:
        raise ParameterError(f"leave: found {leave!r}, expected a number in [0, 1)")
    if type(seed) is not int or seed < 0:
        raise ParameterError(f"seed: found {seed!r}, expected an integer >= 0")
    place = Path(folder)
    cpu, memory = _machines(place / "pm_residual.csv")
    rack = _racks(place / "topology.csv", len(cpu))
    wanted = _requests(place / f"vm_requests_{requests}.csv")
    served = _first_fit(cpu, memory, wanted)
    if not served:
        raise InstanceFormatError(f"{place}: found no machine with room for any request")
    used = 1 + max(pm for _, pm, _ in served)
    count = max(1, round(len(served) * (1 - leave)))
    stay = np.sort(np.random.default_rng(seed).permutation(len(served))[:count]).tolist()
    vms = [served[index] for index in stay]
    groups = [wanted[request].group for request, _, _ in vms]
    numbers = {group: number for number, group in enumerate(sorted({-1, *groups}), start=-1)}
    return Instance(
        name=f"huawei_{requests}_seed{seed}",
        pm_cpu=cpu[:used],
        pm_memory=memory[:used],
        rack=rack[:used],
        vm_cpu=np.array([wanted[r].cpu * wanted[r].numa for r, _, _ in vms]),
        vm_memory=np.array([wanted[r].memory * wanted[r].numa for r, _, _ in vms]),
        vm_numa=np.array([wanted[r].numa for r, _, _ in vms]),
        vm_pm=np.array([pm for _, pm, _ in vms]),
        vm_node=np.array([node for _, _, node in vms]),
        affinity=np.array([numbers[group] for group in groups]),
        migration_limit=mnl,
    )


def _first_fit(
    cpu: IntArray, memory: IntArray, wanted: list[_Request]
) -> list[tuple[int, int, int]]:
    """Return request, machine and node of every request that found room."""
    free_cpu, free_memory = cpu.copy(), memory.copy()
    hosts: dict[int, npt.NDArray[np.bool_]] = {}
    served = []
    for index, request in enumerate(wanted):
        room = (free_cpu >= request.cpu) & (free_memory >= request.memory)
        fits = room.all(axis=1) if request.numa == 2 else room.any(axis=1)
        taken = hosts.setdefault(request.group, np.zeros(len(cpu), np.bool_))
        if request.group >= 0:
            fits &= ~taken
        if not fits.any():
            continue
        pm = int(fits.argmax())
        taken[pm] = True
        node = BOTH_NODES if request.numa == 2 else int(room[pm].argmax())
        nodes = slice(None) if node == BOTH_NODES else node
        free_cpu[pm, nodes] -= request.cpu
        free_memory[pm, nodes] -= request.memory
        served.append((index, pm, node))
    return served


# ---------------------------------------------------------------- files


def _machines(path: Path) -> tuple[IntArray, IntArray]:
    """Return cores and MB of each node of each machine: what is free there."""
    rows = [
        [_whole(row, key, where) for key in ("CPU1", "CPU2", "RAM1", "RAM2")]
        for row, where in _rows(path, ("pm", "CPU1", "RAM1", "CPU2", "RAM2"))
    ]
    table = np.array(rows, np.int64).reshape(-1, 4)
    return table[:, :2], table[:, 2:] * _MB


def _racks(path: Path, machines: int) -> IntArray:
    """Return the rack of each machine; they are numbered like the first hosts."""
    rows = [
        (_whole(row, "host_id", where), _whole(row, "rack_id", where, MAX_PMS))
        for row, where in _rows(path, ("host_id", "rack_id"))
    ]
    of_host = dict(rows)
    missing = [host for host in range(machines) if host not in of_host]
    if missing:
        raise InstanceFormatError(f"{path}: found no host {missing[0]}, expected its rack")
    return np.array([of_host[host] for host in range(machines)], np.int64)


def _requests(path: Path) -> list[_Request]:
    columns = ("flavor_vcpus", "flavor_ram", "numa", "strategy", "group", "domain")
    return [_request(row, where) for row, where in _rows(path, columns)]


def _request(row: dict[str, str], where: str) -> _Request:
    numa = _whole(row, "numa", where)
    cpu, memory = _whole(row, "flavor_vcpus", where), _whole(row, "flavor_ram", where) * _MB
    if numa not in (1, 2) or cpu < 1 or cpu % numa or memory % numa:
        raise InstanceFormatError(
            f"{where}: found {cpu} cores and {memory // _MB} GB on {numa} nodes, "
            "expected sizes that one or two nodes can share equally"
        )
    apart = row["strategy"] == "anti-affinity"
    group = _whole(row, "group", where) if apart else -1
    return _Request(cpu // numa, memory // numa, numa, group)


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """Yield the rows of a CSV file by column, and where each stands."""
    try:
        data = path.read_bytes()[: _MAX_BYTES + 1]
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InstanceFormatError(f"{path}: cannot be read: {error}") from None
    if len(data) > _MAX_BYTES:
        raise InstanceFormatError(f"{path}: found more than {_MAX_BYTES} bytes, expected less")
    reader = csv.reader(io.StringIO(text))
    try:
        header = next(reader, [])
        if tuple(header) != columns:
            raise InstanceFormatError(
                f"{path}, line 1: found {','.join(header)[:60]!r}, expected {','.join(columns)!r}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if len(row) != len(columns):
                raise InstanceFormatError(
                    f"{where}: found {len(row)} values, expected {len(columns)}"
                )
            yield dict(zip(columns, row, strict=True)), where
    except csv.Error as error:
        raise InstanceFormatError(f"{path}, line {reader.line_num}: {error}") from None


def _whole(row: dict[str, str], key: str, where: str, high: int = _LARGEST) -> int:
    """Return a value that is a whole number >= 0; 8.0 counts as one."""
    try:
        value = float(row[key])
    except ValueError:
        value = -1.0
    if not 0 <= value <= high or value != int(value):
        raise InstanceFormatError(
            f"{where}, {key}: found {row[key][:30]!r}, expected a whole number in 0..{high}"
        )
    return int(value)
