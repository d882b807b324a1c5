"""The commands evaluate and benchmark as a user types them, from a folder of their own."""

import json
import math
import os
import subprocess
import sys

import pytest

from dispatchgym.agents.problems import find_problem
from dispatchgym.benchmark import measure_peers, measure_speed
from dispatchgym.envs.core.errors import ParameterError


def run(folder, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


def test_evaluate_writes_what_it_says(tmp_path):
    done = run(
        tmp_path,
        "dispatchgym.evaluate",
        "env=job_shop",
        "agents=[rules]",
        "scenario=[la01,ft06]",
        "mode=interrupting",
        "env.interrupts.probability=0.2",
        "seeds=2",
        "out=results/result.json",
        "pictures=pictures",
    )
    assert done.returncode == 0, done.stderr
    assert "2 instances x 2 seeds" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    document = json.loads((tmp_path / "results" / "result.json").read_text())
    assert len(document["rows"]) == 20 * 2 * 2
    assert {row["probability"] for row in document["rows"]} == {0.2}
    command = document["meta"]["command"]
    assert command.startswith("python -m dispatchgym.evaluate env=job_shop")
    assert "seeds=2" in command
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["agents.png", "schedule.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "results"]


def test_rules_are_evaluated_without_torch(tmp_path):
    code = (
        "import sys; from dispatchgym.agents.evaluation import evaluate; "
        "evaluate(['spt', 'rollout'], 'ft06', 1, progress=False); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_evaluate_presets_compose(tmp_path):
    done = run(
        tmp_path,
        "dispatchgym.evaluate",
        "experiment=table_interrupting",
        "--cfg",
        "job",
        "--resolve",
    )
    assert done.returncode == 0, done.stderr
    assert "probabilities:\n- 0.0\n- 0.05" in done.stdout
    done = run(tmp_path, "dispatchgym.evaluate", "experiment=table_classic", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "scenario: ta\n" in done.stdout and "mode: classic" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agents=[sptt]"], "did you mean spt"),
        (["seedz=3"], "did you mean seeds"),
        (["scenario=ft6"], "did you mean ft06"),
        (["out=result.txt"], ".json or .csv"),
    ],
)
def test_evaluate_answers_mistakes_in_one_line(tmp_path, arguments, words):
    done = run(tmp_path, "dispatchgym.evaluate", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_benchmark_writes_its_numbers(tmp_path):
    done = run(
        tmp_path,
        "dispatchgym.benchmark",
        "env=job_shop",
        "scenario=random_5x4",
        "num_envs=8",
        "seconds=0.05",
        "repeats=1",
        "out=speed.json",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "speed.json").read_text())
    for name in ("steps_per_second", "kernel_steps_per_second", "memcpy_ratio"):
        assert found[name] > 0
    assert found["steps_per_second_with_sampling"] < found["steps_per_second"]
    # 20 operations of 14 columns in 4 bytes each are 1120 bytes alone.
    assert 1000 < found["observation_bytes"] < 5000
    assert found["threads"] >= 1 and found["num_envs"] == 8
    assert set(found["meta"]) >= {"command", "versions", "git", "machine", "date"}


def test_observation_bytes_are_those_of_the_space():
    import gymnasium as gym

    found = measure_speed(
        find_problem("job_shop"), "random_4x3", 2, seconds=0.01, repeats=1, threads=1
    )
    env = gym.make_vec(find_problem("job_shop").env_id, num_envs=1, scenario="random_4x3")
    space = env.unwrapped.single_observation_space
    sizes = [box.dtype.itemsize * math.prod(box.shape) for box in space.values()]
    assert found["observation_bytes"] == sum(sizes)
    assert found["threads"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"num_envs": 0}, "num_envs"), ({"repeats": 0}, "repeats"), ({"threads": 10**6}, "threads")],
)
def test_benchmark_options_out_of_range(options, words):
    with pytest.raises(ParameterError, match=words):
        measure_speed(find_problem("job_shop"), "ft06", **{"num_envs": 1, **options})


def test_peers_that_are_not_installed_are_told():
    found = measure_peers([[(0, 1), (1, 2)], [(1, 1), (0, 1)]], sys.executable, 0.01, 1)
    assert set(found) == {"jssenv", "job-shop-lib", "jumanji", "envpool"}
    for answer in found.values():
        assert "steps_per_second" in answer or "error" in answer


def test_an_interpreter_that_is_not_there():
    with pytest.raises(ParameterError, match="peers_python"):
        measure_peers([[(0, 1)]], "/nowhere/python", 0.01, 1)
