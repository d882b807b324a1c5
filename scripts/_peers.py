"""Speed of other job-shop environments, measured in a Python of their own.

Run as a script by `dispatchgym.benchmark`; it imports nothing of this package, because the
other packages may need other versions of the libraries they share with it. It reads a request
as JSON from standard input and writes the speeds as JSON to standard output.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Jobs = list[list[list[int]]]
"""Each job a list of pairs: machine (from 0), duration."""


def jssenv_steps(jobs: Jobs, seconds: float, rng: random.Random) -> tuple[int, float]:
    """Step JSSEnv with random legal actions; return steps and the seconds spent in ``step``."""
    from JSSEnv.envs import JssEnv  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance"
        lines = [f"{len(jobs)} {len(jobs[0])}"]
        lines += [" ".join(f"{m} {p}" for m, p in job) for job in jobs]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        env = JssEnv({"instance_path": path})
    steps, spent = 0, 0.0
    observation = env.reset()
    while spent < seconds:
        legal = [action for action, on in enumerate(observation["action_mask"]) if on]
        action = rng.choice(legal)
        begin = time.perf_counter()
        observation, _, done, *_ = env.step(action)
        spent += time.perf_counter() - begin
        steps += 1
        if done:
            observation = env.reset()
    return steps, spent


def job_shop_lib_steps(jobs: Jobs, seconds: float, rng: random.Random) -> tuple[int, float]:
    """Step JobShopLib's environment; return steps and the seconds spent in ``step``.

    Its graph observation with all feature observers of its own list.
    """
    from job_shop_lib import JobShopInstance, Operation  # type: ignore[import-not-found]
    from job_shop_lib.dispatching.feature_observers import (  # type: ignore[import-not-found]
        FeatureObserverType,
    )
    from job_shop_lib.graphs import build_resource_task_graph  # type: ignore[import-not-found]
    from job_shop_lib.reinforcement_learning import (  # type: ignore[import-not-found]
        SingleJobShopGraphEnv,
    )

    instance = JobShopInstance([[Operation(m, p) for m, p in job] for job in jobs])
    env = SingleJobShopGraphEnv(build_resource_task_graph(instance), list(FeatureObserverType))
    steps, spent = 0, 0.0
    _, info = env.reset()
    while spent < seconds:
        _, machine, job = rng.choice(info["available_operations_with_ids"])
        begin = time.perf_counter()
        _, _, done, _, info = env.step((job, machine))
        spent += time.perf_counter() - begin
        steps += 1
        if done:
            _, info = env.reset()
    return steps, spent


PEERS: dict[str, Callable[[Jobs, float, random.Random], tuple[int, float]]] = {
    "jssenv": jssenv_steps,
    "job-shop-lib": job_shop_lib_steps,
}
"""Name on the Python package index -> how to measure it."""


def measure(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Measure one environment; the answer has its speed, or why there is none."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return {"error": f"not installed in {sys.executable}"}
    rng = random.Random(0)
    try:
        PEERS[name](request["jobs"], 0.2 * request["seconds"], rng)
        speeds = []
        for _ in range(request["repeats"]):
            steps, spent = PEERS[name](request["jobs"], request["seconds"], rng)
            speeds.append(steps / spent)
    except Exception as error:  # whatever goes wrong in there is part of the answer
        return {"version": found, "error": f"{type(error).__name__}: {error}"}
    return {"version": found, "steps_per_second": statistics.median(speeds)}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps({name: measure(name, asked) for name in PEERS}))
