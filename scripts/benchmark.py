"""``python -m dispatchgym.benchmark``: measure how fast the environments step."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym._cli import command
from dispatchgym._peers import REQUIREMENTS
from dispatchgym.configs.evaluation_schemas import register_evaluation_schemas
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.problems.base import Problem

__all__ = ["main", "make_batch", "measure_batch", "measure_peers", "measure_speed"]

PEER_SCRIPT = Path(__file__).with_name("_peers.py")
PEER_TIMEOUT = 600.0


@command("benchmark", register_evaluation_schemas)
def main(config: Any) -> None:
    """Measure, print and write."""
    from omegaconf import OmegaConf
    from rich.console import Console

    from dispatchgym.agents.problems import find_problem
    from dispatchgym.agents.provenance import provenance, write_json

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    console = Console(highlight=False)
    problem = find_problem(plain["env"]["name"])
    jobs = problem.peer_jobs(plain["scenario"]) if plain["peers"] else []
    with console.status("compiling and measuring"):
        found = measure_speed(
            problem,
            plain["scenario"],
            plain["num_envs"],
            options=problem.environment_options(plain["env"], plain["mode"]),
            rule=plain["rule"],
            seconds=plain["seconds"],
            repeats=plain["repeats"],
            threads=plain["threads"],
        )
    found = {"meta": provenance(), **found}
    if plain["peers"]:
        with console.status("measuring other environments"):
            found["peers"] = measure_peers(
                jobs,
                plain["peers_python"] or sys.executable,
                plain["seconds"],
                plain["repeats"],
                num_envs=plain["num_envs"],
                threads=found["threads"],
            )
    console.print(_report(found))
    if plain["out"] is not None:
        write_json(plain["out"], found)
        console.print(f"written to {plain['out']}")


def measure_speed(
    problem: Problem,
    scenario: Any,
    num_envs: int,
    *,
    options: dict[str, Any] | None = None,
    rule: str | None = None,
    seconds: float = 2.0,
    repeats: int = 5,
    threads: int = 0,
) -> dict[str, Any]:
    """Measure the native vector environment.

    Each number is the median of `repeats` measurements after a warm-up. A step is one decision
    of one lane with the observation of that lane written in full; lanes that end an episode
    begin the next in the same step. The choice of random legal actions is not part of a step,
    and given apart.

    Args:
        problem: what is measured.
        scenario: what is played.
        num_envs: number of lanes B, at least 1.
        options: keyword arguments of the environment.
        rule: the rule of the kernel measurement; None: one that the problem chooses.
        seconds: length of one measurement, above 0.
        repeats: measurements of each kind, at least 1.
        threads: threads of the stepping measurement; 0 for all.

    Returns:
        ``steps_per_second``; ``steps_per_second_with_sampling``; ``episodes_per_second``, those
        that ended; ``observation_bytes`` of one lane; ``memcpy_ratio``, time of a step over time to
        copy the same observations; ``kernel_steps_per_second``, decisions of whole episodes under
        a rule on one core, without observations; ``threads``; and what was measured.

    Raises:
        ParameterError: a number is out of range, or the rule is unknown.
    """
    import numba

    _check_positive(num_envs=num_envs, seconds=seconds, repeats=repeats)
    rule = rule or problem.kernel_rule
    most = numba.get_num_threads()
    if not 0 <= threads <= most:
        raise ParameterError(f"threads: found {threads}, expected 0 (all) to {most}")
    vector = make_batch(problem, scenario, num_envs, options or {})
    stepping = measure_batch(vector, seconds, repeats, threads or most)
    numba.set_num_threads(1)
    kernel = _median(lambda: _time_rule(problem, vector, rule, seconds), repeats)
    numba.set_num_threads(most)
    return {
        "scenario": str(scenario),
        "num_envs": num_envs,
        "options": {key: str(value) for key, value in (options or {}).items()},
        "rule": rule,
        "repeats": repeats,
        "threads": threads or most,
        **stepping,
        **kernel,
    }


def make_batch(problem: Problem, scenario: Any, num_envs: int, options: dict[str, Any]) -> Any:
    """Return a vector environment to be measured."""
    import gymnasium as gym

    return gym.make_vec(
        problem.env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        **{
            "scenario": scenario,
            "autoreset_mode": "SameStep",
            "copy": False,
            "invalid_action": "penalise",
            **options,
        },
    ).unwrapped


def measure_batch(vector: Any, seconds: float, repeats: int, threads: int) -> dict[str, float]:
    """Measure the stepping of a batch; see `measure_speed`."""
    import numba

    most = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        stepping = _median(lambda: _time_steps(vector, seconds), repeats)
        copying = _median(lambda: _time_copies(vector, min(seconds, 0.5)), repeats)
    finally:
        numba.set_num_threads(most)
    seconds_a_step = vector.num_envs / stepping["steps_per_second"]
    return {
        **stepping,
        "observation_bytes": _observation_bytes(vector) // vector.num_envs,
        "memcpy_ratio": seconds_a_step / copying["seconds_a_copy"],
    }


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ParameterError(f"{name}: found {value}, expected a number above 0")


def _median(measure: Callable[[], dict[str, float]], repeats: int) -> dict[str, float]:
    """Measure once to warm up, then several times; return the median of each number."""
    measure()
    found = [measure() for _ in range(repeats)]
    return {key: statistics.median(run[key] for run in found) for key in found[0]}


def _time_steps(vector: Any, seconds: float) -> dict[str, float]:
    import numpy as np

    sample = _legal_sampler()
    actions = np.zeros(vector.num_envs, np.int64)
    observation, _ = vector.reset(seed=0)
    clock = time.perf_counter
    rounds, episodes, stepping, choosing = 0, 0, 0.0, 0.0
    while stepping < seconds:
        begin = clock()
        sample(observation["action_mask"], rounds, actions)
        chosen = clock()
        observation, _, terminated, truncated, _ = vector.step(actions)
        stepped = clock()
        choosing += chosen - begin
        stepping += stepped - chosen
        episodes += int(np.count_nonzero(terminated | truncated))
        rounds += 1
    steps = rounds * vector.num_envs
    return {
        "steps_per_second": steps / stepping,
        "episodes_per_second": episodes / stepping,
        "steps_per_second_with_sampling": steps / (stepping + choosing),
    }


@cache
def _legal_sampler() -> Callable[[Any, int, Any], None]:
    """Return a function that draws a legal action for each lane, compiled by its first call."""
    import numpy as np
    from numba import njit

    from dispatchgym.envs.core.rng import uniform

    @njit
    def sample(masks, round_number, actions):  # type: ignore[no-untyped-def]
        for lane in range(masks.shape[0]):
            count = 0
            for action in range(masks.shape[1]):
                count += masks[lane, action]
            left = np.int64(uniform(np.uint64(0), 0, round_number, lane) * count)
            for action in range(masks.shape[1]):
                if masks[lane, action]:
                    if left == 0:
                        actions[lane] = action
                        break
                    left -= 1

    compiled: Callable[[Any, int, Any], None] = sample
    return compiled


def _time_copies(vector: Any, seconds: float) -> dict[str, float]:
    """Time to copy the observations of all lanes to other arrays, as a replay buffer would."""
    import numpy as np

    observation, _ = vector.reset(seed=0)
    pairs = [(np.empty_like(source), source) for source in observation.values()]
    begin = time.perf_counter()
    rounds = 0
    while time.perf_counter() - begin < seconds:
        for _ in range(20):
            for target, source in pairs:
                np.copyto(target, source)
        rounds += 20
    return {"seconds_a_copy": (time.perf_counter() - begin) / rounds}


def _time_rule(problem: Problem, vector: Any, rule: str, seconds: float) -> dict[str, float]:
    spent, decisions, seed = 0.0, 0, 0
    while spent < seconds:
        vector.reset(seed=seed)
        begin = time.perf_counter()
        final = vector.run_rule(rule)
        spent += time.perf_counter() - begin
        decisions += problem.decisions(vector, final)
        seed += vector.num_envs
    return {"kernel_steps_per_second": decisions / spent}


def _observation_bytes(vector: Any) -> int:
    observation, _ = vector.reset(seed=0)
    return sum(int(array.nbytes) for array in observation.values())


def measure_peers(
    jobs: list[list[tuple[int, int]]],
    python: str,
    seconds: float,
    repeats: int,
    *,
    names: Sequence[str] = tuple(REQUIREMENTS),
    num_envs: int = 256,
    threads: int = 2,
) -> dict[str, Any]:
    """Measure other job-shop environments, in another process.

    Args:
        jobs: the shop that they play: each job a list of pairs (machine from 0, duration).
            Those with a batch of their own play random shops of as many jobs and machines.
        python: an interpreter that has these packages.
        seconds: length of one measurement.
        repeats: measurements, of which the median counts.
        names: of the packages; see `dispatchgym._peers`.
        num_envs: lanes of those that have a batch.
        threads: threads of those that ask for a number.

    Returns:
        Package name -> ``version``, ``steps_per_second`` and ``operations_per_second`` (operations
        that were scheduled), or ``error``.

    Raises:
        ParameterError: the interpreter cannot be run or gives no answer.
    """
    request = json.dumps(
        {
            "jobs": jobs,
            "names": list(names),
            "seconds": seconds,
            "repeats": repeats,
            "num_envs": num_envs,
            "threads": threads,
        }
    )
    try:
        done = subprocess.run(
            [python, str(PEER_SCRIPT)],
            input=request,
            capture_output=True,
            text=True,
            timeout=PEER_TIMEOUT,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise ParameterError(f"peers_python: {python} failed: {last}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise ParameterError(f"peers_python: {python} gave no answer: {error}") from error
    return answer


def _report(found: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    machine = found["meta"]["machine"]
    rows = [
        (f"{found['scenario']}, {found['num_envs']} lanes, {found['threads']} threads", ""),
        (f"{machine['processor']}, {machine['cores']} cores", ""),
        ("steps/s, observations written", f"{found['steps_per_second']:,.0f}"),
        ("steps/s, choice of actions included", f"{found['steps_per_second_with_sampling']:,.0f}"),
        ("bytes of an observation", f"{found['observation_bytes']:,}"),
        ("time of a step / time to copy it", f"{found['memcpy_ratio']:.2f}"),
        (
            f"decisions/s in the kernel, rule {found['rule']}, 1 core",
            f"{found['kernel_steps_per_second']:,.0f}",
        ),
    ]
    for name, peer in found.get("peers", {}).items():
        if "error" in peer:
            rows.append((f"{name} {peer.get('version', '')}".strip(), peer["error"]))
            continue
        ratio = found["steps_per_second"] / peer["steps_per_second"]
        speed = f"{peer['steps_per_second']:,.0f} (1 : {ratio:,.0f})"
        rows.append((f"{name} {peer['version']}, steps/s", speed))
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    main()
