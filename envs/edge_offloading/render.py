"""Pictures of an episode of any family: timelines, and plain text.

Every function takes the schedule of a finished or of a running episode, the dictionary of arrays
that ``info["schedule"]`` holds at the end of an episode.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym.envs.edge_offloading.families import part_of
from dispatchgym.envs.edge_offloading.instance import Instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ansi", "timelines"]


def ansi(instance: Instance, schedule: Mapping[str, Any]) -> str:
    """Return an episode as text of at most 80 columns.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.

    Raises:
        ParameterError: the schedule is not one of this instance.
    """
    return part_of(instance.family, "ansi")(instance, schedule)


def timelines(
    instance: Instance,
    schedule: Mapping[str, Any],
    path: str | Path | None = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw what queues and servers did over time.

    Args:
        instance: the instance of the schedule.
        schedule: the schedule, finished or not.
        path: where to write the picture (.png, .pdf or .svg).
        title: text above the chart; the name unless given.

    Raises:
        ParameterError: the schedule is not one of this instance, or the path has another ending.
        DispatchGymError: the path cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    return part_of(instance.family, "timelines")(instance, schedule, path, title=title)
