"""Machine shutdowns: what breaks, how often, for how long, and what becomes of the operation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dispatchgym.envs.core.errors import ParameterError

__all__ = ["INTERRUPT_KINDS", "INTERRUPT_POLICIES", "Interrupts"]

INTERRUPT_KINDS = ("none", "per_operation", "calendar")
INTERRUPT_POLICIES = ("resume", "restart", "finish_first")


@dataclass(frozen=True)
class Interrupts:
    """How machines shut down during an episode.

    Attributes:
        kind: ``"per_operation"``: operation (j, k) with a positive duration p is interrupted
            with the given probability, at ``floor(u * p)`` time units after its start;
            ``"calendar"``: each machine has up and down intervals of its own in clock time,
            idle or not; ``"none"``.
        probability: per operation, or per machine and time unit for ``"calendar"``; in
            [0, 1). A tuple of numbers: one of them is drawn for each episode.
        policy: ``"resume"`` keeps the remaining time of the interrupted operation,
            ``"restart"`` repeats it in full, ``"finish_first"`` lets it end and shuts the
            machine down afterwards.
        length: shortest and longest shutdown in mean durations of the instance; whole time
            units between the rounded-up ends are equally likely.
        unload_when_down: a finished job may leave a machine that is down.
        reveal_repair: observations show the remaining down time instead of the elapsed one.

    Raises:
        ParameterError: a field has a value outside these ranges.
    """

    kind: str = "per_operation"
    probability: float | tuple[float, ...] = 0.1
    policy: str = "resume"
    length: tuple[float, float] = (0.5, 1.5)
    unload_when_down: bool = True
    reveal_repair: bool = False

    def __post_init__(self) -> None:
        """Check every field and store sequences as tuples."""
        _check_choice("kind", self.kind, INTERRUPT_KINDS)
        _check_choice("policy", self.policy, INTERRUPT_POLICIES)
        if not isinstance(self.probability, int | float):
            object.__setattr__(self, "probability", tuple(self.probability))
        object.__setattr__(self, "length", tuple(self.length))
        if not self.probabilities:
            raise ParameterError("interrupts.probability: found no number, expected at least one")
        for value in self.probabilities:
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise ParameterError(
                    f"interrupts.probability: found {value!r}, expected a number in [0, 1)"
                )
        low_high = self.length
        if not (
            len(low_high) == 2
            and all(isinstance(x, int | float) and math.isfinite(x) for x in low_high)
            and 0 < low_high[0] <= low_high[1] <= 1000
        ):
            raise ParameterError(
                f"interrupts.length: found {low_high!r}, "
                "expected two numbers with 0 < shortest <= longest <= 1000"
            )

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The probabilities of which each episode draws one."""
        if isinstance(self.probability, tuple):
            return self.probability
        return (float(self.probability),)

    @classmethod
    def make(cls, value: Interrupts | Mapping[str, Any] | None) -> Interrupts:
        """Return `value` as an Interrupts; None means no shutdowns, a mapping gives fields."""
        if value is None:
            return cls(kind="none", probability=0.0)
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ParameterError(
                f"interrupts: found {type(value).__name__}, expected Interrupts or a mapping"
            )
        known = {field.name for field in fields(cls)}
        for key in value:
            if key not in known:
                raise ParameterError(
                    f"interrupts: unknown field {key!r}, expected one of {', '.join(sorted(known))}"
                )
        return cls(**value)


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ParameterError(
            f"interrupts.{field}: found {value!r}, expected one of {', '.join(choices)}"
        )
