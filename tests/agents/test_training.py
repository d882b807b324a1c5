"""Whole training runs, small: phases, resume after a kill, Ctrl-C, what a run leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from dispatchgym.agents.checkpoints import read_checkpoint
from dispatchgym.agents.runs import RunFolder
from dispatchgym.agents.session import patient_interrupt
from dispatchgym.agents.training import Trainer, use_bfloat16
from dispatchgym.configs.schemas import register_schemas
from dispatchgym.envs.core.errors import CheckpointError, ParameterError

SMALL = (
    "env.scenario=random_3-4x3",
    "model.hidden=8",
    "model.layers=1",
    "agent.num_envs=4",
    "agent.n_steps=8",
    "agent.batch_size=16",
    "agent.n_epochs=1",
    "agent.imitation.num_envs=4",
    "agent.imitation.batch_size=8",
    "held_out.seeds=6",
    "held_out.times=4",
    "held_out.table=false",
    "budget.seconds=null",
    "budget.steps=400",
)


def small_config(tmp_path, *overrides):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", *overrides])
    return OmegaConf.to_object(composed)


def silent(phase, share, seconds, scores):
    assert 0.0 <= share <= 1.0


def weights_of(folder, name):
    return read_checkpoint(folder.checkpoint(name)).weights


def test_a_run_goes_through_both_phases_and_leaves_checkpoints(tmp_path):
    trainer = Trainer(small_config(tmp_path), None, silent)
    trainer.run()
    history = trainer.folder.history
    assert history[0]["phase"] == "imitation"
    assert history[-1]["phase"] == "ppo"
    assert history[-1]["decisions"] >= 400
    assert len(history) >= 4
    last, best = (read_checkpoint(trainer.folder.checkpoint(name)) for name in ("last", "best"))
    assert last.card["scores"]["objective"] == history[-1]["objective"]
    assert best.card["scores"]["gap"] == min(record["gap"] for record in history)
    assert json.loads((trainer.folder.path / "versions.json").read_text())["versions"]["torch"]


@pytest.mark.parametrize("teacher", ["plan", "ha"])
def test_vm_rescheduling_is_trained_by_the_same_phases(tmp_path, teacher):
    pytest.importorskip("highspy")
    changes = ["env=vm_rescheduling", "env.scenario=random_4-6", "agent.imitation.iterations=3"]
    changes += ["model.heads=2", f"agent.imitation.teacher={teacher}", "held_out.level=3"]
    trainer = Trainer(small_config(tmp_path, *changes), None, silent)
    trainer.run()
    history = trainer.folder.history
    assert {record["phase"] for record in history} == {"imitation", "ppo"}
    for record in history:
        assert 0 <= record["objective"] <= 1 and record["gap"] >= 0
    instance, episode = trainer.held_out.first_episode(trainer._policy())
    assert instance.migration_limit == 3
    assert trainer.problem.validate(instance, episode.schedule).valid


def test_levels_of_other_problems_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"migration_limits: found 0\.5"):
        Trainer(small_config(tmp_path, "env=vm_rescheduling", "held_out.level=0.5"), None, silent)


@pytest.mark.parametrize("teacher", ["none", "spt", "exact"])
def test_other_teachers(tmp_path, teacher):
    changes = [f"agent.imitation.teacher={teacher}", "agent.imitation.instances=3"]
    trainer = Trainer(small_config(tmp_path, *changes), None, silent)
    trainer.run()
    phases = {record["phase"] for record in trainer.folder.history}
    assert phases == ({"ppo"} if teacher == "none" else {"imitation", "ppo"})


def test_the_same_seed_trains_the_same_weights(tmp_path):
    first = Trainer(small_config(tmp_path), None, silent)
    first.run()
    second = Trainer(small_config(tmp_path), None, silent)
    second.run()
    for name, value in weights_of(first.folder, "last").items():
        assert torch.equal(value, weights_of(second.folder, "last")[name])
    other = Trainer(small_config(tmp_path, "seed=1"), None, silent)
    other.run()
    differs = [
        not torch.equal(value, weights_of(other.folder, "last")[name])
        for name, value in weights_of(first.folder, "last").items()
    ]
    assert any(differs)


def test_a_resumed_trainer_scores_as_recorded_and_goes_on(tmp_path):
    config = small_config(tmp_path)
    first = Trainer(config, None, silent)
    first.run()
    recorded = first.folder.history[-1]["objective"]
    longer = small_config(tmp_path, "budget.steps=800")
    resumed = Trainer(longer, RunFolder.find(True, config.runs, config.experiment_name), silent)
    assert resumed.evaluate_now()["objective"] == recorded
    assert resumed.learner.optimizer.state_dict()["state"].keys() == (
        first.learner.optimizer.state_dict()["state"].keys()
    )
    assert resumed.progress.updates == first.progress.updates
    resumed.run()
    assert resumed.folder.history[-1]["decisions"] >= 800
    assert resumed.folder.path == first.folder.path


def test_a_checkpoint_of_another_network_is_not_resumed(tmp_path):
    config = small_config(tmp_path)
    Trainer(config, None, silent).run()
    other = small_config(tmp_path, "model.hidden=16")
    folder = RunFolder.find(True, config.runs, config.experiment_name)
    with pytest.raises(CheckpointError, match="not of this run"):
        Trainer(other, folder, silent)


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("budget.steps=null", "budget"),
        ("agent.imitation.share=1.5", "imitation.share"),
        ("env.observation=jobs", "observation"),
        ("env.reward=time", "reward"),
        ("reduced_precision=half", "reduced_precision"),
        ("agent.learning_rate.schedule=cosine", "learning_rate"),
        ("agent.imitation.teacher=nobody", "nobody"),
        ("env.mode=slow", "mode"),
        ("device=abacus", "device"),
    ],
)
def test_settings_without_meaning_are_refused(tmp_path, override, name):
    with pytest.raises(ParameterError, match=name):
        Trainer(small_config(tmp_path, override), None, silent).run()


@pytest.mark.parametrize("name", ["isbjssp_like", "l2d", "job_shop_encoder_ppo"])
def test_designs_to_compare_with_are_trained_by_ppo_alone(tmp_path, name):
    register_schemas()
    small = [item for item in SMALL if not item.startswith("model.")]
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        changes = [f"experiment={name}", "held_out.scenario=null", f"runs={tmp_path}"]
        config = OmegaConf.to_object(compose("train", [*small, *changes]))
    trainer = Trainer(config, None, silent)
    trainer.run()
    history = trainer.folder.history
    assert {record["phase"] for record in history} == {"ppo"}
    assert history[-1]["decisions"] >= 400
    assert all(record["gap"] >= 0 for record in history)
    written = read_checkpoint(trainer.folder.checkpoint("last"))
    assert written.policy.network == config.model.name


def test_no_run_to_resume(tmp_path):
    with pytest.raises(ParameterError, match="no run of experiment"):
        RunFolder.find(True, str(tmp_path), "default")
    with pytest.raises(ParameterError, match="not a run folder"):
        RunFolder.find(str(tmp_path), "runs", "default")


def test_bfloat16_by_choice():
    assert use_bfloat16("on")
    assert not use_bfloat16("off")


def start(tmp_path, *overrides):
    command = [sys.executable, "-m", "dispatchgym.train", *SMALL, *overrides]
    return subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for_evaluations(tmp_path, process, number, limit=300):
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline and process.poll() is None:
        for path in tmp_path.glob("runs/default/*/evaluations.json"):
            if len(json.loads(path.read_text())) >= number:
                return path.parent
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no {number} evaluations came:\n{process.communicate()[0]}")


def test_killed_and_resumed(tmp_path):
    """kill -9 in the middle, then `resume=true`: same scores, and the run comes to its end."""
    process = start(tmp_path, "budget.steps=6000", "held_out.times=40")
    folder = wait_for_evaluations(tmp_path, process, 6)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = json.loads((folder / "evaluations.json").read_text())
    assert before[-1]["decisions"] < 6000
    resumed = start(tmp_path, "resume=true")
    output = resumed.communicate(timeout=300)[0]
    assert resumed.returncode == 0, output
    assert "as recorded" in output
    after = json.loads((folder / "evaluations.json").read_text())
    kept = [record for record in before if record in after]
    assert len(kept) >= len(before) - 1
    assert after[-1]["decisions"] >= 6000
    assert [path.name for path in (tmp_path / "runs/default").iterdir()] == [folder.name]
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "schedule.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_saves_and_says_where(tmp_path):
    process = start(tmp_path, "budget.steps=1000000")
    folder = wait_for_evaluations(tmp_path, process, 1)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output
    assert f"resume={folder.relative_to(tmp_path)}" in output
    read_checkpoint(folder / "checkpoints" / "last")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_the_first_ctrl_c_waits_for_a_report_and_the_second_does_not():
    said = []
    trainer = SimpleNamespace(
        interrupted=False,
        share=0.5,
        progress=SimpleNamespace(seconds=1.0),
        latest={},
        report=lambda phase, *rest: said.append(phase),
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), patient_interrupt(trainer):
        signal.raise_signal(signal.SIGINT)
        assert trainer.interrupted
        assert said == ["stopping"]
        signal.raise_signal(signal.SIGINT)
        said.append("never")
    assert said == ["stopping"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_wrong_setting_is_one_clear_line(tmp_path):
    process = start(tmp_path, "env.scenaro=la01")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2
    assert "scenaro" in output
    assert "Traceback" not in output
