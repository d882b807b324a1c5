"""Reading and writing instances: JSON, one file an instance."""

from __future__ import annotations

import os

from dispatchgym.envs.core.errors import InstanceFormatError
from dispatchgym.envs.edge_offloading.instance import Instance

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Instance:
    """Read the instance in a file."""
    raise InstanceFormatError(f"{os.fspath(path)}: cannot be read")
