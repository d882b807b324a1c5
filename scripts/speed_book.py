"""``python -m dispatchgym.speed_book``: the speed of every problem, and of other environments."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dispatchgym._cli import command
from dispatchgym._pages import Page, begin_numbers, made_by, table
from dispatchgym._peers import REQUIREMENTS
from dispatchgym.benchmark import make_batch, measure_batch, measure_peers
from dispatchgym.configs.evaluation_schemas import register_evaluation_schemas
from dispatchgym.envs.core.errors import DispatchGymError, ParameterError

__all__ = ["exponent", "main"]

STARTUP_LANES = 256
STARTUP_TIMEOUT = 1200.0
PEER_LANES = 256


@command("speed_book", register_evaluation_schemas)
def main(config: Any) -> None:
    """Measure everything, write numbers, page and pictures."""
    from omegaconf import OmegaConf
    from rich.console import Console

    from dispatchgym.agents.problems import PROBLEMS
    from dispatchgym.agents.provenance import provenance, write_json

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    page = None if plain["page"] is None else Page(Path(plain["page"]), "speed")
    console = Console(highlight=False)
    names = plain["problems"] or PROBLEMS
    found = begin_numbers(plain["out"], plain["renew"], provenance())
    for name in names:
        found["problems"][name] = _measure_problem(name, plain, console.print)
        write_json(plain["out"], found)  # what comes next may fail
    if plain["peers"] is not None:
        found["peers"] = _measure_peers(plain, console.print)
    write_json(plain["out"], found)
    text = as_markdown(found)
    console.print(text, markup=False)
    pictures = _draw(found, Path(plain["pictures"]))
    if page is not None:
        page.write(text)
    for path in (plain["out"], *pictures, *([plain["page"]] if page is not None else [])):
        console.print(f"written to {path}")


def _measure_problem(name: str, plain: dict[str, Any], tell: Callable[[str], None]) -> Any:
    from hydra import compose
    from omegaconf import OmegaConf

    from dispatchgym.agents.problems import find_problem

    problem = find_problem(name)
    own: dict[str, Any] = OmegaConf.to_container(  # type: ignore[assignment]
        compose("benchmark", [f"env={name}"]), resolve=True
    )
    options = problem.environment_options(own["env"])

    def stepping(scenario: str, lanes: int, threads: int) -> dict[str, Any]:
        tell(f"{name} {scenario}, {lanes} lanes, {threads} threads")
        vector = make_batch(problem, scenario, lanes, options)
        measured = measure_batch(vector, plain["seconds"], plain["repeats"], threads)
        decision = 1e9 / measured["steps_per_second"]
        return {"num_envs": lanes, "threads": threads, "ns_a_decision": decision, **measured}

    scenario, threads = own["scenario"], plain["threads"]
    tell(f"{name} single environment")
    return {
        "scenario": scenario,
        "num_envs": own["num_envs"],
        "single_steps_per_second": _time_single(problem, scenario, options, plain["seconds"]),
        "start": _start(problem.env_id, {"scenario": scenario, **options}, plain["compile"]),
        "batches": [stepping(scenario, lanes, t) for lanes in plain["batches"] for t in threads],
        "growth": {
            what: {
                size: stepping(grown, min(64, own["num_envs"]), 1) for size, grown in sizes.items()
            }
            for what, sizes in own["growth"].items()
        },
    }


def _time_single(problem: Any, scenario: str, options: dict[str, Any], seconds: float) -> float:
    """Return steps per second of `gym.make`, with random legal actions that are not timed."""
    import gymnasium as gym
    import numpy as np

    made = gym.make(problem.env_id, scenario=scenario, disable_env_checker=True, **options)
    rng = np.random.default_rng(0)
    _, info = made.reset(seed=0)
    steps, spent = 0, 0.0
    while spent < seconds:
        action = int(rng.choice(np.flatnonzero(info["action_mask"])))
        begin = time.perf_counter()
        _, _, terminated, truncated, info = made.step(action)
        spent += time.perf_counter() - begin
        steps += 1
        if terminated or truncated:
            _, info = made.reset()
    return steps / spent


def _start(env_id: str, options: dict[str, Any], compiling: bool) -> dict[str, float]:
    """Return what starting costs, with compiled code at hand and without (`compile_seconds`)."""
    request = {"env_id": env_id, "options": options, "num_envs": STARTUP_LANES}
    ready = _start_once(request, {})
    if not compiling:
        return {**ready, "compile_seconds": math.nan}
    with tempfile.TemporaryDirectory() as empty:
        bare = _start_once({**request, "num_envs": 2}, {"NUMBA_CACHE_DIR": empty})
    return {**ready, "compile_seconds": bare["first_step_seconds"] - ready["first_step_seconds"]}


def _start_once(request: dict[str, Any], variables: Mapping[str, str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "dispatchgym._startup"],
        input=json.dumps(request),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=STARTUP_TIMEOUT,
    )
    if done.returncode:
        raise DispatchGymError(f"speed_book: {(done.stderr.splitlines() or ['no answer'])[-1]}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _measure_peers(plain: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure other environments and ours on shops of 10 jobs and 10 machines."""
    from dispatchgym.agents.problems import find_problem

    problem, scenario = find_problem("job_shop"), "random_10x10"
    jobs = problem.peer_jobs(scenario)
    threads, seconds, repeats = max(plain["threads"]), plain["seconds"], plain["repeats"]
    options = {"mode": "classic", "allow_wait": "never"}
    found: dict[str, Any] = {}
    for observation in ("graph", "jobs"):
        tell(f"dispatchgym, observation {observation}")
        vector = make_batch(problem, scenario, PEER_LANES, {**options, "observation": observation})
        ours = measure_batch(vector, seconds, repeats, threads)
        operations = ours["episodes_per_second"] * sum(map(len, jobs))
        found[f"dispatchgym, {observation}"] = {
            "version": "",
            "steps_per_second": ours["steps_per_second"],
            "operations_per_second": operations,
        }
    for name, requirement in REQUIREMENTS.items():
        tell(f"{name}")
        try:
            python = _peer_python(Path(plain["peers"]) / name, requirement)
            found |= measure_peers(
                jobs, python, seconds, repeats, names=[name], num_envs=PEER_LANES, threads=threads
            )
        except ParameterError as error:
            found[name] = {"error": str(error)}
    return found


def _peer_python(folder: Path, requirement: str) -> str:
    """Return the Python of a peer's environment, which is made where there is none.

    Raises:
        ParameterError: it cannot be made.
    """
    python = folder / "bin" / "python"
    ready = folder / "installed"
    if not ready.exists():
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", requirement],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            last = (done.stderr.splitlines() or ["no message"])[-1]
            raise ParameterError(f"peers: {requirement} cannot be installed: {last}")
        ready.touch()
    return str(python)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of the fit cost = a * size ** b, least squares of the logarithms.

    Args:
        sizes: two or more different sizes, above 0.
        costs: what each costs, above 0.
    """
    x, y = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the tables of `docs/performance.md`."""
    machine, versions = found["meta"]["machine"], found["meta"]["versions"]
    parts = [
        f"{made_by(found)} on {machine['processor']}, {machine['cores']} cores; "
        f"dispatchgym {versions['dispatchgym']}, Python {versions['python']}, numba "
        f"{versions['numba']}, numpy {versions['numpy']}.",
        _overview(found["problems"]),
        *(_batches(name, problem) for name, problem in found["problems"].items()),
        _growth(found["problems"]),
    ]
    if "peers" in found:
        parts.append(_peers(found["peers"]))
    return "\n\n".join(parts)


def _overview(problems: Mapping[str, Any]) -> str:
    rows = []
    for name, problem in problems.items():
        batch = _usual(problem)
        start = problem["start"]
        rows.append(
            [
                f"{name}, `{problem['scenario']}`",
                f"{problem['single_steps_per_second']:,.0f}",
                f"{batch['steps_per_second']:,.0f} ({batch['num_envs']} lanes)",
                f"{batch['observation_bytes']:,}",
                f"{batch['memcpy_ratio']:.1f}",
                f"{start['import_seconds'] + start['first_step_seconds']:.1f}",
                f"{start['compile_seconds']:.0f}",
                f"{start['bytes_per_lane'] / 1024:,.0f}",
            ]
        )
    heading = [
        "problem",
        "single, steps/s",
        "batch, steps/s",
        "observation, bytes",
        "step / copy",
        "start, s",
        "compile once, s",
        "memory of a lane, KiB",
    ]
    return table(heading, rows)


def _usual(problem: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the measurement of the usual batch, with most threads."""
    most = max(batch["threads"] for batch in problem["batches"])
    candidates = [batch for batch in problem["batches"] if batch["threads"] == most]
    found: Mapping[str, Any] = min(
        candidates, key=lambda batch: abs(batch["num_envs"] - problem["num_envs"])
    )
    return found


def _batches(name: str, problem: Mapping[str, Any]) -> str:
    threads = sorted({batch["threads"] for batch in problem["batches"]})
    by_lanes: dict[int, dict[int, Any]] = {}
    for batch in problem["batches"]:
        by_lanes.setdefault(batch["num_envs"], {})[batch["threads"]] = batch
    rows = [
        [
            f"{lanes:,}",
            *(f"{measured[t]['steps_per_second']:,.0f}" for t in threads),
            *(f"{measured[t]['ns_a_decision']:,.0f}" for t in threads),
            f"{measured[threads[-1]]['memcpy_ratio']:.1f}",
        ]
        for lanes, measured in by_lanes.items()
    ]
    words = [f"{t} thread{'s' if t > 1 else ''}" for t in threads]
    heading = ["lanes", *(f"steps/s, {w}" for w in words), *(f"ns a decision, {w}" for w in words)]
    return f"**{name}, `{problem['scenario']}`**\n\n" + table([*heading, "step / copy"], rows)


def _growth(problems: Mapping[str, Any]) -> str:
    lines = ["How the time of a decision grows, one thread, observation included:", ""]
    for name, problem in problems.items():
        for what, sizes in problem["growth"].items():
            numbers = [float(size) for size in sizes]
            costs = [measured["ns_a_decision"] for measured in sizes.values()]
            steps = ", ".join(
                f"{size:g}: {cost:,.0f} ns" for size, cost in zip(numbers, costs, strict=True)
            )
            power = exponent(numbers, costs)
            lines.append(f"- {name}, {what}: {steps}; as the power {power:.2f} of the number.")
    return "\n".join(lines)


def _peers(peers: Mapping[str, Any]) -> str:
    ours = peers["dispatchgym, graph"]["operations_per_second"]
    rows = []
    for name, peer in peers.items():
        who = f"{name} {peer.get('version', '')}".strip()
        if "error" in peer:
            rows.append([who, peer["error"], "", ""])
            continue
        operations = peer["operations_per_second"]
        ratio = f"{ours / operations:,.1f}" if operations else "-"
        rows.append([who, f"{peer['steps_per_second']:,.0f}", f"{operations:,.0f}", ratio])
    heading = ["10 x 10", "steps/s", "scheduled operations/s", "`graph` is so many times as fast"]
    return table(heading, rows)


def _draw(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw steps per second by batch, and time of a decision by size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, problem in found["problems"].items():
        most = max(batch["threads"] for batch in problem["batches"])
        chosen = [batch for batch in problem["batches"] if batch["threads"] == most]
        axes.loglog(
            [batch["num_envs"] for batch in chosen],
            [batch["steps_per_second"] for batch in chosen],
            marker="o",
            label=name,
        )
    axes.set(xlabel="lanes", ylabel="steps/s")
    axes.legend()
    batches = folder / "speed_batches.png"
    figure.savefig(batches, dpi=100)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, problem in found["problems"].items():
        for what, sizes in problem["growth"].items():
            numbers = [float(size) for size in sizes]
            costs = [measured["ns_a_decision"] for measured in sizes.values()]
            axes.loglog(numbers, costs, marker="o", label=f"{name}: {what}")
    axes.set(xlabel="size", ylabel="ns a decision, 1 thread")
    figure.legend(fontsize="small", loc="outside right upper")
    growth = folder / "speed_growth.png"
    figure.set_size_inches(9, 4)  # the legend stands beside the lines
    figure.savefig(growth, dpi=100)
    plt.close("all")
    return [batches, growth]


if __name__ == "__main__":
    main()
