"""What evaluation needs where rewards have several objectives: preferences to compare under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dispatchgym.agents.problems.base import Level, Setting
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.preference import check_preference

__all__ = ["PREFERENCES", "PreferenceSetting", "equally_spaced", "preference_settings"]

PREFERENCES = Level("preference", "preferences", "w", "weight of the first objective")
"""What an evaluation of two objectives can be repeated at."""


@dataclass(frozen=True)
class PreferenceSetting(Setting):
    """An environment's settings and the preferences to play each seed with.

    Attributes:
        options: keyword arguments of the environment.
        preferences: weights of the objectives; () leaves them to the environment, which may draw
            one for each episode.
        keys: names of the options that rows repeat.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    preferences: tuple[tuple[float, ...], ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How many preferences, or which one."""
        if len(self.preferences) == 1:
            return f"preference {_text(self.preferences[0])}"
        if self.preferences:
            return f"{len(self.preferences)} preferences"
        return f"preference {self.options.get('preference', 'of the environment')}"

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return dict(self.options)

    def columns(self, instance: Any) -> dict[str, Any]:
        """Return the preference of an episode, and the options to repeat."""
        shown = {key: self.options[key] for key in self.keys if key in self.options}
        return {"preference": self.preferences[0], **shown}

    def drawn(self, schedule: Mapping[str, Any]) -> PreferenceSetting:
        """Return the setting of one episode, with its own preference."""
        own = tuple(float(weight) for weight in schedule["preference"])
        return replace(self, preferences=(own,))


def equally_spaced(count: int) -> tuple[tuple[float, ...], ...]:
    """Return weights of two objectives, the first one from 0 to 1."""
    return tuple((float(first), float(1.0 - first)) for first in np.linspace(0.0, 1.0, count))


def preference_settings(
    options: Mapping[str, Any],
    asked: int | Sequence[float | Sequence[float]] | None,
    keys: tuple[str, ...] = (),
) -> list[PreferenceSetting]:
    """Return the one setting that holds all preferences, which are played side by side.

    Args:
        options: keyword arguments of the environment.
        asked: N for N equally spaced preferences, or a list of weights of the first objective or
            of all weights; None: the preference of `options`.
        keys: names of the options that rows repeat.

    Raises:
        ParameterError: what was asked for are no preferences.
    """
    found: tuple[tuple[float, ...], ...]
    if asked is None:
        own = check_preference(options.get("preference", (0.5, 0.5)), 2)
        found = () if isinstance(own, str) else (tuple(own.tolist()),)
    elif isinstance(asked, int) and not isinstance(asked, bool):
        if asked < 2:
            raise ParameterError(f"preferences: found {asked}, expected at least 2, or a list")
        found = equally_spaced(asked)
    elif isinstance(asked, Sequence) and not isinstance(asked, str) and len(asked):
        found = tuple(_weights(item) for item in asked)
    else:
        raise ParameterError(
            f"preferences: found {asked!r}, expected how many, or a list of weights"
        )
    return [PreferenceSetting(dict(options), tuple(dict.fromkeys(found)), keys)]


def _weights(item: float | Sequence[float]) -> tuple[float, ...]:
    pair: Any = item if isinstance(item, Sequence) else (item, 1.0 - item)
    weights = check_preference(pair, 2)
    assert not isinstance(weights, str)
    return tuple(weights.tolist())


def _text(weights: Sequence[float]) -> str:
    return "/".join(f"{weight:g}" for weight in weights)
