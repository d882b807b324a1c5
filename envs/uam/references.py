"""Bounds of the test days, computed once, so that results need not wait for linear programs."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["known_values"]


def known_values(scenario: str, seed: int) -> dict[str, int]:
    """Return what is stored about a day; nothing about most.

    The bounds are those of `dispatchgym.envs.uam.upper_bound` without a seed of an episode. Days
    with disturbances are left out: the routes that an episode closes make its bound tighter.

    Args:
        scenario: a name of `dispatchgym.envs.uam.scenarios`.
        seed: the seed of the day.

    Returns:
        ``lp_bound_cents``, which no policy can exceed, and ``lp_grid``, the minutes of a step of
        the program that it comes from; or an empty mapping.
    """
    for group in _stored():
        bounds = group["lp_bound_cents"]
        if scenario in group["scenarios"] and 1 <= seed <= len(bounds):
            return {"lp_bound_cents": bounds[seed - 1], "lp_grid": group["lp_grid"]}
    return {}


@cache
def _stored() -> list[dict[str, Any]]:
    """Return groups of scenarios with the same bounds, which are those of seeds 1, 2, ..."""
    text = resources.files(__package__).joinpath("references.json").read_text(encoding="utf-8")
    return json.loads(text)
