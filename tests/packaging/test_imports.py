"""What ``import dispatchgym`` loads, and what must not be importable at all."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("agents", "configs", "envs", "models")


def python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_is_quick_and_light(tmp_path: Path) -> None:
    program = """
import sys, time
start = time.perf_counter()
import dispatchgym
print(time.perf_counter() - start)
print(sorted({"torch", "hydra", "matplotlib", "ortools", "pandas"} & set(sys.modules)))
"""
    seconds, loaded = min(  # of three: another process may hold the processor for a moment
        (python(program, tmp_path).stdout.split("\n")[:2] for _ in range(3)),
        key=lambda lines: float(lines[0]),
    )
    assert loaded == "[]"
    assert float(seconds) < 1.0


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_refuses_to_be_a_package_of_its_own(folder: str) -> None:
    done = python(f"import {folder}", ROOT)
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert f"dispatchgym.{folder}" in done.stderr


@pytest.mark.parametrize("name", [*FOLDERS, "scripts", "backend", "_build"])
def test_folder_names_are_not_installed(name: str, tmp_path: Path) -> None:
    assert "ModuleNotFoundError" in python(f"import {name}", tmp_path).stderr


def test_build_backend_is_not_part_of_the_package(tmp_path: Path) -> None:
    assert "ModuleNotFoundError" in python("import dispatchgym._build", tmp_path).stderr


def test_importing_twice_registers_once(tmp_path: Path) -> None:
    program = (
        "import dispatchgym, warnings; warnings.simplefilter('error');"
        "from dispatchgym.envs.core.registry import register_environments;"
        "register_environments()"
    )
    assert python(program, tmp_path).returncode == 0


def test_base_install_plays_an_episode(tmp_path: Path) -> None:
    """Gymnasium, numba and numpy are enough; every other library is hidden."""
    program = """
import sys
hidden = "hydra matplotlib ortools highspy omegaconf pandas PIL rich safetensors sb3_contrib scipy"
for name in f"{hidden} stable_baselines3 tensorboard torch torch_geometric tqdm yaml".split():
    sys.modules[name] = None
import gymnasium as gym
env = gym.make("dispatchgym:dispatchgym/JobShop-v0", scenario="ft06", render_mode="ansi")
env.reset(seed=0)
done = False
while not done:
    _, _, done, _, info = env.step(env.unwrapped.rule_action("spt"))
from dispatchgym.envs import job_shop
print(job_shop.validate(env.unwrapped.instance, info["schedule"]).objective)
assert "M0 |" in env.render()
"""
    done = python(program, tmp_path)
    assert done.stdout == "88.0\n", done.stderr
