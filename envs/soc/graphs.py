"""The observation as a graph of torch-geometric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

__all__ = ["to_hetero_data"]


def to_hetero_data(observation: Mapping[str, npt.NDArray[Any]]) -> HeteroData:
    """Return one observation of `SoCEnv` as a graph without its padding.

    Nodes are ``task``, ``job`` and ``pe`` with features ``x``; tasks keep their ``place`` in the
    padded arrays, which gives actions. Edges are (task, precedes, task), (task, in, job),
    (task, runs_on, pe) where the PE can run the task, and (pe, sends, pe); all but the second
    have ``edge_attr``.

    Args:
        observation: of a single environment, or one row of a batch.

    Raises:
        MissingDependencyError: torch-geometric is not installed.
    """
    try:
        import torch
        from torch_geometric.data import HeteroData
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'to_hetero_data needs torch-geometric: pip install "dispatchgym[agents]"'
        ) from error
    masks = {kind: observation[f"{kind}_mask"] == 1 for kind in ("task", "job", "pe")}
    place = {kind: np.cumsum(mask) - 1 for kind, mask in masks.items()}
    data = HeteroData()
    for kind, mask in masks.items():
        data[kind].x = torch.from_numpy(observation[f"{kind}_x"][mask])
    tasks = np.flatnonzero(masks["task"])
    data["task"].place = torch.from_numpy(tasks)
    data["task"].depth = torch.from_numpy(observation["task_depth"][tasks])

    def connect(kinds: tuple[str, str, str], ends: Any, features: Any = None) -> None:
        index = np.stack([place[kinds[0]][ends[0]], place[kinds[2]][ends[1]]])
        data[kinds].edge_index = torch.from_numpy(index.astype(np.int64))
        if features is not None:
            data[kinds].edge_attr = torch.from_numpy(features)

    edges = observation["edge_mask"] == 1
    connect(
        ("task", "precedes", "task"), observation["edges"][edges].T, observation["edge_x"][edges]
    )
    tasks_of_job = len(masks["task"]) // len(masks["job"])
    connect(("task", "in", "job"), (tasks, tasks // tasks_of_job))
    pairs = np.nonzero(observation["task_pe"][:, :, 3])
    connect(("task", "runs_on", "pe"), pairs, observation["task_pe"][pairs][:, :3])
    links = np.nonzero(np.outer(masks["pe"], masks["pe"]))
    connect(("pe", "sends", "pe"), links, observation["pe_pe"][links][:, None])
    return data
