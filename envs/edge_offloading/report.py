"""What validators and solvers give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ExactResult", "ValidationReport", "Violation"]


@dataclass(frozen=True)
class Violation:
    """One fault of a schedule.

    Attributes:
        code: One of the codes of the validator of the family, e.g. ``"V5"``.
        message: What was found and what is expected, in words.
        task: Number of the task concerned, or None.
        server: Server concerned, or None.
    """

    code: str
    message: str
    task: int | None = None
    server: int | None = None


@dataclass(frozen=True)
class ValidationReport:
    """What `validate` found.

    Attributes:
        valid: Whether there is no violation.
        objective: float64 (2,), computed from the schedule alone; nan if malformed.
        violations: All faults.
    """

    valid: bool
    objective: npt.NDArray[np.float64]
    violations: list[Violation] = field(default_factory=list)


@dataclass(frozen=True)
class ExactResult:
    """What a solver found.

    Attributes:
        objective: float64 (2,), both objectives of the schedule in natural units.
        value: their weighted sum, each divided by its unit, minus it where more is better: what
            was to be least.
        bound: what no policy's value is below.
        proved: whether the value is proven least.
        schedule: in the form of the environment's ``info["schedule"]``.
        seconds: wall time of everything.
    """

    objective: npt.NDArray[np.float64]
    value: float
    bound: float
    proved: bool
    schedule: dict[str, Any]
    seconds: float
