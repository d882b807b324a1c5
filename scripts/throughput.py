"""``python -m dispatchgym.throughput``: how fast agents train, and what takes the time."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from dispatchgym._cli import command
from dispatchgym._pages import Page, begin_numbers, made_by, table
from dispatchgym.configs.evaluation_schemas import register_evaluation_schemas
from dispatchgym.envs.core.errors import ParameterError

__all__ = ["compare_with_dummy", "main", "profile_training"]

LANES = 64
"""Environments of DummyVecEnv."""
ROLLOUT = 16384
"""Samples between two updates of the comparison, whatever the number of lanes."""
BATCH = 4096
"""Samples of a gradient step there."""
LAYERS = [64, 64]
"""Hidden units there, of actor and critic."""
PARTS = {
    "environment": (("sb3.py", "step_wait"), ("sb3.py", "reset"), ("sb3.py", "env_method")),
    "learning": (("ppo.py", "train"), ("sac.py", "train")),
    "evaluation": (("held_out.py", "score"),),
}
"""Part of a training -> file and name of the functions that it is spent in."""


@command("throughput", register_evaluation_schemas)
def main(config: Any) -> None:
    """Measure everything, write numbers and page."""
    from omegaconf import OmegaConf
    from rich.console import Console

    from dispatchgym.agents.problems import PROBLEMS
    from dispatchgym.agents.provenance import provenance, write_json

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    if plain["samples"] < ROLLOUT:
        raise ParameterError(f"samples: found {plain['samples']}, expected at least {ROLLOUT}")
    page = None if plain["page"] is None else Page(Path(plain["page"]), "training")
    console = Console(highlight=False)
    found = begin_numbers(plain["out"], plain["renew"], provenance())
    for name in plain["problems"] or PROBLEMS:
        measured: dict[str, Any] = {"agents": {}}
        for agent in plain["agents"]:
            console.print(f"{name} {agent}")
            measured["agents"][agent] = _training(name, agent, plain)
        console.print(f"{name} DummyVecEnv")
        measured["dummy"] = {
            n_epochs: compare_with_dummy(
                name, plain["lanes"], plain["samples"], n_epochs, plain["threads"]
            )
            for n_epochs in plain["n_epochs"]
        }
        found["problems"][name] = measured
    write_json(plain["out"], found)
    text = as_markdown(found)
    console.print(text, markup=False)
    if page is not None:
        page.write(text)
    console.print(f"written to {plain['out']}")


def _training(name: str, agent: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return profile_training(name, agent, plain["seconds"], plain["threads"])
    except ParameterError as error:  # a problem that this agent cannot be trained for
        return {"error": str(error)}


def profile_training(name: str, agent: str, seconds: float, threads: int) -> dict[str, Any]:
    """Train without imitation: once for the speed, once under the profiler for the shares.

    Args:
        name: of the problem.
        agent: name of the agent.
        seconds: wall time of each of the two trainings.
        threads: of torch; 0 leaves torch's choice.

    Returns:
        ``samples_per_second``; ``cores``, that were busy on average; ``shares`` of the wall time
        by part, with ``acting`` for all that remains.
    """
    trainer = _trainer(name, agent, seconds, threads)
    begin, cpu = time.perf_counter(), time.process_time()
    trainer.run()
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    samples = trainer.progress.decisions / trainer.progress.seconds
    trainer.logger.close()
    trainer = _trainer(name, agent, seconds, threads)
    profile = cProfile.Profile()
    profile.runcall(trainer.run)
    trainer.logger.close()
    return {
        "samples_per_second": samples,
        "cores": cpu / wall,
        "shares": _shares(pstats.Stats(profile), trainer.progress.seconds),
    }


def _trainer(name: str, agent: str, seconds: float, threads: int) -> Any:
    from typing import cast

    from hydra import compose
    from omegaconf import OmegaConf

    from dispatchgym.agents.training import Trainer
    from dispatchgym.configs.schemas import TrainConfig

    folder = tempfile.mkdtemp()
    composed = compose(
        "train",
        [
            f"env={name}",
            f"agent={agent}",
            f"runs={folder}",
            f"threads={threads}",
            f"budget.seconds={seconds}",
            "held_out.seeds=2",
            "held_out.times=1",
            "held_out.table=false",
            "agent.imitation.teacher=none",
        ],
    )
    return Trainer(cast(TrainConfig, OmegaConf.to_object(composed)), None, lambda *_: None)


def _shares(stats: pstats.Stats, seconds: float) -> dict[str, float]:
    """Return the share of the time that was spent in each of `PARTS`."""
    spent = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (*_, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        for part, functions in PARTS.items():
            if (Path(file).name, function) in functions:
                spent[part] += cumulative
    shares = {part: value / seconds for part, value in spent.items()}
    return {**shares, "acting": 1.0 - sum(shares.values())}


def compare_with_dummy(
    name: str, lanes: int, samples: int, n_epochs: int, threads: int
) -> dict[str, float]:
    """Train the same small network with our PPO on our batch and by SB3 on its DummyVecEnv.

    The network is SB3's own for Dict observations with two layers of 64. Updates take `ROLLOUT`
    samples in batches of `BATCH` on both sides, with the settings that MaskablePPO has by itself.
    On SB3's side its MaskablePPO learns, on ours `NetworkPPO`, whose updates are the same. The
    observation is the small one where the environment has several.

    Args:
        name: of the problem.
        lanes: of a larger batch of ours.
        samples: to be trained on, in each of the three measurements.
        n_epochs: of PPO.
        threads: of torch; 0 leaves torch's choice.

    Returns:
        Samples per second: ``dummy_64``, ``batch_64`` and ``batch_<lanes>``.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    env_id, options = _environment(name)
    settings = {"batch_size": BATCH, "n_epochs": n_epochs}
    made = {"dummy_64": lambda: _published(env_id, options, settings)}
    for size in (LANES, lanes):
        made[f"batch_{size}"] = partial(_ours, env_id, options, size, settings)
    return {kind: _samples_per_second(make, samples) for kind, make in made.items()}


def _environment(name: str) -> tuple[str, dict[str, Any]]:
    """Return id and options of the environment that `benchmark` plays, in its small form."""
    from hydra import compose
    from omegaconf import OmegaConf

    from dispatchgym.agents.problems import find_problem

    problem = find_problem(name)
    own: dict[str, Any] = OmegaConf.to_container(  # type: ignore[assignment]
        compose("benchmark", [f"env={name}"]), resolve=True
    )
    options = problem.environment_options(own["env"])
    return problem.env_id, {"scenario": own["scenario"], **options, **own["small"]}


def _published(env_id: str, options: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Return MaskablePPO on SB3's DummyVecEnv."""
    import gymnasium as gym
    from sb3_contrib import MaskablePPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    def one() -> gym.Env[Any, Any]:
        return gym.make(env_id, disable_env_checker=True, **options)

    return MaskablePPO(
        "MultiInputPolicy",
        DummyVecEnv([one] * LANES),
        n_steps=ROLLOUT // LANES,
        policy_kwargs={"net_arch": LAYERS},
        seed=0,
        **settings,
    )


def _ours(env_id: str, options: dict[str, Any], lanes: int, settings: dict[str, Any]) -> Any:
    """Return our PPO on a batch of ours."""
    import gymnasium as gym
    import torch
    from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy

    from dispatchgym.agents.multi_input import FlatView, MultiInputNetwork
    from dispatchgym.agents.ppo import make_ppo
    from dispatchgym.envs.core.adapters import to_sb3

    made = gym.make_vec(
        env_id,
        num_envs=lanes,
        vectorization_mode="vector_entry_point",
        autoreset_mode="SameStep",
        **options,
    )
    vec = to_sb3(made, copy=False)
    policy = MaskableMultiInputActorCriticPolicy(
        vec.observation_space,  # type: ignore[arg-type]
        vec.action_space,
        lambda _: 0.0,
        net_arch=LAYERS,
    )
    network = MultiInputNetwork(policy)
    optimizer = torch.optim.Adam(network.parameters(), eps=1e-5)  # as MaskablePPO's
    return make_ppo(
        FlatView(vec),
        network,
        optimizer,
        lambda: 3e-4,  # MaskablePPO's own
        seed=0,
        device=torch.device("cpu"),
        time_constant=None,
        n_steps=ROLLOUT // lanes,
        **settings,
    )


def _samples_per_second(make: Callable[[], Any], samples: int) -> float:
    model = make()
    model.learn(ROLLOUT)
    begin = time.perf_counter()
    model.learn(samples, reset_num_timesteps=False)  # episodes go on
    spent = time.perf_counter() - begin
    model.env.close()
    return -(-samples // ROLLOUT) * ROLLOUT / spent


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the tables of `docs/performance.md`."""
    machine = found["meta"]["machine"]
    trained, compared = [], []
    for name, problem in found["problems"].items():
        for agent, measured in problem["agents"].items():
            if "error" in measured:
                trained.append([name, agent, measured["error"], *[""] * 5])
                continue
            shares = measured["shares"]
            trained.append(
                [
                    name,
                    agent,
                    f"{measured['samples_per_second']:,.0f}",
                    f"{measured['cores']:.1f}",
                    *(
                        f"{100 * shares[part]:.1f}"
                        for part in ("environment", "acting", "learning", "evaluation")
                    ),
                ]
            )
        for n_epochs, speeds in problem["dummy"].items():
            for kind, speed in speeds.items():
                gain = f"{speed / speeds['dummy_64']:.1f}"
                words = kind.replace("_", " ")
                compared.append([name, str(n_epochs), words, f"{speed:,.0f}", gain])
    shares_heading = ["environment %", "acting %", "learning %", "evaluation %"]
    return "\n\n".join(
        [
            f"{made_by(found)} on {machine['processor']}, {machine['cores']} cores.",
            table(["problem", "agent", "samples/s", "cores busy", *shares_heading], trained),
            table(
                ["problem", "epochs", "environments", "samples/s", "times DummyVecEnv"], compared
            ),
        ]
    )


if __name__ == "__main__":
    main()
