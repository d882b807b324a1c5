"""Sources of runs of drone fleets, and the names under which they can be asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import dems_draw, dems_tables
from dispatchgym.envs.edge_offloading.dems_draw import DeadlineLimits
from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance

__all__ = ["DeadlineGenerator", "find", "names"]

MOST_DRONES = 20
MOST_SECONDS = 3600


@dataclass(frozen=True)
class DeadlineGenerator:
    """Drones of one edge station, each of which sends a segment of video every second.

    Attributes:
        loads: names of `dems_tables.LOADS`, one of which is drawn.
        drones: fewest and most drones, drawn evenly.
        seconds: length of a run, 1 to 3600.
        variable: whether times on the cloud vary and the network is slow for a third of the run.
        label: begins the names of the instances.

    Raises:
        ParameterError: a value is not as described; the message names it.
    """

    loads: tuple[str, ...] = ("light", "medium", "heavy")
    drones: tuple[int, int] = (2, 4)
    seconds: int = dems_tables.RUN_MS // dems_tables.SEGMENT_MS
    variable: bool = False
    label: str = "dems"

    def __post_init__(self) -> None:
        """Check every value."""
        known = ", ".join(dems_tables.LOADS)
        if not self.loads or any(load not in dems_tables.LOADS for load in self.loads):
            raise ParameterError(f"loads: found {self.loads}, expected some of {known}")
        low, high = self.drones
        if not 1 <= low <= high <= MOST_DRONES:
            raise ParameterError(
                f"drones: found {self.drones}, expected low <= high in 1..{MOST_DRONES}"
            )
        if not 1 <= self.seconds <= MOST_SECONDS:
            raise ParameterError(
                f"seconds: found {self.seconds}, expected an integer in 1..{MOST_SECONDS}"
            )

    @property
    def family(self) -> str:
        """Family of the instances."""
        return DeadlineInstance.family

    @property
    def limits(self) -> DeadlineLimits:
        """Largest sizes of any instance."""
        models = max(len(dems_tables.LOADS[load]) for load in self.loads)
        return DeadlineLimits(self.seconds * self.drones[1] * models, dems_tables.CLOUD_SLOTS)

    def draws(self) -> npt.NDArray[np.int64]:
        """Return what is drawn from, as `draw_run` takes it."""
        known = list(dems_tables.LOADS)
        return np.array(
            [(known.index(load), *self.drones, self.seconds, self.variable) for load in self.loads],
            np.int64,
        )

    def generate(self, seed: int) -> DeadlineInstance:
        """Return the instance of a seed in 0..2^64-1."""
        rows = dems_draw.first_row(dems_draw.empty_rows(self.limits, 1))
        dems_draw.draw_run(np.uint64(seed), self.draws(), rows)
        return DeadlineInstance.from_rows(f"{self.label}-s{seed:03d}", rows)


_NAME = re.compile(
    r"dems(?:-(?P<load>light|medium|heavy))?(?:-(?P<drones>[1-9]\d?))?"
    r"(?:-(?P<seconds>[1-9]\d{0,3})s)?(?P<variable>-variable)?",
    re.ASCII,
)


def names() -> list[str]:
    """Return the names of this family: ``dems``, ``dems-heavy``, ``dems-heavy-3`` and more.

    Of the numbers of drones only some are listed; 1 to 20 work. A length of the run may follow,
    ``dems-heavy-3-60s``, and ``-variable``.
    """
    kinds = [
        f"dems-{load}{drones}" for load in dems_tables.LOADS for drones in ("", "-2", "-3", "-4")
    ]
    return ["dems", "dems-variable", *kinds, *(f"{kind}-variable" for kind in kinds)]


def find(name: str) -> DeadlineGenerator | None:
    """Return the source of a name such as ``dems-heavy-3-variable``; None if it is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    drones = int(match["drones"] or 0)
    seconds = int(match["seconds"] or DeadlineGenerator.seconds)
    if drones > MOST_DRONES or seconds > MOST_SECONDS:
        return None
    return DeadlineGenerator(
        loads=(match["load"],) if match["load"] else DeadlineGenerator.loads,
        drones=(drones, drones) if drones else DeadlineGenerator.drones,
        seconds=seconds,
        variable=match["variable"] is not None,
        label=name,
    )
