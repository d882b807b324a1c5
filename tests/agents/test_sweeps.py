"""Sweeps: Optuna over jobs of training, on Ray; the configuration for Slurm."""

import os
import re
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.plugins

SMALL = [
    "env.scenario=random_4x3",
    "env.mode=blocking",
    "agent.imitation.share=0",
    "agent.num_envs=4",
    "agent.n_steps=32",
    "agent.batch_size=64",
    "model.hidden=16",
    "model.layers=1",
    "budget.steps=256",
    "budget.seconds=null",
    "held_out.seeds=4",
    "held_out.times=1",
]


@pytest.fixture(autouse=True)
def plugins():
    for name in ("optuna_sweeper", "ray_launcher", "submitit_launcher"):
        pytest.importorskip(f"hydra_plugins.hydra_{name}", reason="needs the extra sweep")


def train(folder, *overrides):
    return subprocess.run(
        [sys.executable, "-m", "dispatchgym.train", *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def gaps(folder):
    runs = sorted(folder.glob("runs/sweep/*/evaluations.json"))
    return [min(record["gap"] for record in yaml.safe_load(path.read_text())) for path in runs]


def test_a_sweep_of_four_jobs_on_ray_tells_its_best(tmp_path):
    done = train(
        tmp_path,
        "--multirun",
        "sweep=ppo",
        "cluster=ray",
        "hydra.sweeper.n_trials=4",
        "hydra.launcher.ray.init.num_cpus=2",
        "experiment_name=sweep",
        *SMALL,
    )
    assert done.returncode == 0, done.stderr
    best = float(re.search(r"Best value: (\S+)", done.stdout + done.stderr)[1])
    found = gaps(tmp_path)
    assert len(found) == 4
    assert best == pytest.approx(min(found))
    result = yaml.safe_load((tmp_path / "runs/sweep/optimization_results.yaml").read_text())
    assert result["best_value"] == best
    assert "agent.learning_rate.initial" in result["best_params"]


@pytest.mark.parametrize("sweep", ["ppo", "index", "sac"])
def test_every_sweep_composes_with_slurm(tmp_path, sweep):
    done = train(tmp_path, f"sweep={sweep}", "cluster=slurm", "--cfg", "hydra")
    assert done.returncode == 0, done.stderr
    hydra = yaml.safe_load(done.stdout)["hydra"]
    assert hydra["launcher"]["_target_"].endswith("SlurmLauncher")
    assert hydra["launcher"]["timeout_min"] == 240
    assert hydra["sweeper"]["direction"] == "minimize"
    assert all(name.startswith("agent.") for name in hydra["sweeper"]["params"])
