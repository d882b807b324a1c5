"""Learning-rate schedules by name, as functions of the share of the budget that is spent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.configs.schemas import LearningRateConfig


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return 1.0 - progress


def _rex(progress: float) -> float:
    # Reflected exponential, arXiv 2107.04197, equation 1 with both constants at one half.
    left = 1.0 - progress
    return left / (0.5 + 0.5 * left)


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "rex": _rex,
}


def learning_rate(name: str, initial: float, final: float) -> Callable[[float], float]:
    """Learning rate against progress.

    Args:
        name: `constant`, `linear`, or `rex` (reflected exponential, arXiv 2107.04197), which
            stays high for longer and then falls faster than a line.
        initial: rate at progress 0, positive.
        final: rate at progress 1, from 0 to `initial`; `constant` ignores it.

    Returns:
        A function of progress in [0, 1]; values outside are clipped.

    Raises:
        ParameterError: unknown name or rates out of range.
    """
    if name not in SCHEDULES:
        raise ParameterError(
            f"learning_rate.schedule: found {name!r}, expected one of {', '.join(SCHEDULES)}"
        )
    if not 0 <= final <= initial or initial <= 0:
        raise ParameterError(
            f"learning_rate: found initial={initial}, final={final}, "
            "expected 0 <= final <= initial and initial > 0"
        )
    shape = SCHEDULES[name]

    def rate(progress: float) -> float:
        share = shape(min(max(progress, 0.0), 1.0))
        return final + (initial - final) * share

    return rate


def rate_of(settings: LearningRateConfig) -> Callable[[float], float]:
    """The learning rate a configuration names, as a function of progress."""
    return learning_rate(settings.schedule, settings.initial, settings.final)
