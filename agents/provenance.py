"""Where a result comes from: command, versions, commit, machine and date."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import dispatchgym
from dispatchgym.envs.core.files import write_whole

__all__ = ["finite", "provenance", "write_json"]

PACKAGES = (
    "gymnasium",
    "numpy",
    "numba",
    "torch",
    "torch-geometric",
    "stable-baselines3",
    "sb3-contrib",
    "ortools",
)


def provenance(command: str | None = None) -> dict[str, Any]:
    """Return what a reader needs to repeat a result.

    Args:
        command: the command to repeat; the one that started this process when not given.

    Returns:
        Plain values under ``command``, ``versions`` (package -> version, those installed),
        ``git`` (description of the commit, None outside a clone), ``machine`` and ``date``
        (UTC, ISO 8601).
    """
    return {
        "command": command or _command(),
        "versions": _versions(PACKAGES),
        "git": _git(),
        "machine": _machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def finite(value: Any) -> Any:
    """Return `value` in plain JSON types, with None for every number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write `document` as JSON that every reader accepts: finite numbers or null.

    Lists of records have one record a line, so that files of many rows stay readable.
    """
    plain = finite(document)
    parts = [f"{json.dumps(key)}: {_encode(value)}" for key, value in plain.items()]
    write_whole(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _encode(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        records = ",\n".join(json.dumps(item, allow_nan=False) for item in value)
        return f"[\n{records}\n]"
    return json.dumps(value, indent=1, allow_nan=False)


def _command() -> str:
    """Return the command line of this process in the form a reader can type."""
    main = sys.modules.get("__main__")
    specification = getattr(main, "__spec__", None)
    program = [sys.argv[0]]
    if specification is not None and specification.name.split(".")[0] == "dispatchgym":
        program = ["python", "-m", specification.name.removesuffix(".__main__")]
    elif sys.argv[0]:
        program = [Path(sys.argv[0]).name]
    return shlex.join(program + sys.argv[1:])


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {"dispatchgym": dispatchgym.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git() -> str | None:
    """Describe the commit of the clone that holds this package, if it is one."""
    # A wheel may lie inside somebody else's repository: only a tracked file tells the right one.
    source = Path(dispatchgym.__file__).resolve()
    if _git_output(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    return _git_output(source.parent, "describe", "--always", "--dirty", "--tags")


def _git_output(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
