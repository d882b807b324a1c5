"""What an environment costs before its first step, measured in a process of its own.

Run as ``python -m dispatchgym._startup`` by `dispatchgym.speed_book`; reads a request as JSON from
standard input (``env_id``, ``options``, ``num_envs``) and writes seconds and bytes as JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

PAGE = 4096
"""Bytes of a page of memory on the machines that have /proc."""


def resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * PAGE
    except OSError:
        return 0


def play(request: dict[str, Any], lanes: int) -> Any:
    """Make a batch and take a step of every lane."""
    import gymnasium as gym

    vector: Any = gym.make_vec(
        request["env_id"],
        num_envs=lanes,
        vectorization_mode="vector_entry_point",
        **request["options"],
    ).unwrapped
    vector.reset(seed=0)
    vector.step(vector.rule_action(vector.rules[0]))
    return vector


def measure(request: dict[str, Any]) -> dict[str, float]:
    """Measure import, the first step and the memory of a lane."""
    begin = time.perf_counter()
    import dispatchgym  # noqa: F401

    imported = time.perf_counter()
    small = play(request, 2)
    stepped = time.perf_counter()
    before = resident()
    large = play(request, request["num_envs"])
    grown = resident() - before
    del small, large
    return {
        "import_seconds": imported - begin,
        "first_step_seconds": stepped - imported,
        "bytes_per_lane": max(grown, 0) / request["num_envs"],
    }


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))
