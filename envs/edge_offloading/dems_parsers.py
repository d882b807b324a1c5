"""Runs of drone fleets as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError
from dispatchgym.envs.edge_offloading.dems_instance import DeadlineInstance

__all__ = ["FORMAT", "from_mapping", "to_mapping"]

FORMAT = "edge-deadlines/1"
"""Value of the key ``format``."""


def to_mapping(instance: DeadlineInstance) -> dict[str, Any]:
    """Return an instance as plain numbers, texts and lists."""
    values = {entry.name: getattr(instance, entry.name) for entry in fields(instance)}
    return {"format": FORMAT, **{name: _plain(value) for name, value in values.items()}}


def from_mapping(data: Mapping[str, Any], source: str) -> DeadlineInstance:
    """Return the instance that a mapping describes.

    Args:
        data: the fields of `DeadlineInstance`; those with defaults may be missing.
        source: what messages call it, a file name.

    Raises:
        InstanceFormatError: a field is missing, unknown or not as described.
    """
    known = {entry.name: entry for entry in fields(DeadlineInstance)}
    for name in data:
        if name not in known and name != "format":
            raise InstanceFormatError(
                f"{source}: {name}: unknown field, expected {', '.join(known)}"
            )
    for name, entry in known.items():
        if name not in data and entry.default is MISSING:
            raise InstanceFormatError(f"{source}: {name}: missing")
    try:
        return DeadlineInstance(**{name: data[name] for name in known if name in data})
    except InstanceError as error:
        raise InstanceFormatError(f"{source}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
