"""What a validator says of a schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["ValidationReport", "Violation"]


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
