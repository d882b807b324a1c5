"""Checkpoints: what comes back, what is refused, and what a crash leaves behind."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from dispatchgym.agents.checkpoints import (
    Checkpoint,
    PolicyFile,
    read_checkpoint,
    write_checkpoint,
)
from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.models import build_network

SETTINGS = {"hidden": 8, "layers": 1}


def make(seed=0):
    torch.manual_seed(seed)
    network = build_network("job_shop", SETTINGS)
    return Checkpoint(
        policy=PolicyFile("job_shop", SETTINGS, "dispatchgym/JobShop-v0", {"allow_wait": "never"}),
        weights=network.state_dict(),
        train_state={"progress.decisions": torch.tensor(7.0)},
        card={"seed": seed},
    )


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "agent"
    write_checkpoint(path, make())
    return path


def test_round_trip(folder):
    written, read = make(), read_checkpoint(folder)
    assert read.policy == written.policy
    assert read.card == {"seed": 0}
    assert torch.equal(read.train_state["progress.decisions"], torch.tensor(7.0))
    network = read.build()
    for name, value in written.weights.items():
        assert torch.equal(network.state_dict()[name], value)


def test_writing_again_replaces_and_leaves_nothing_else(folder):
    write_checkpoint(folder, make(seed=1))
    assert read_checkpoint(folder).card == {"seed": 1}
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["agent"]


class Bomb:
    def __reduce__(self):
        return os._exit, (77,)


def edit_policy(folder, **changes):
    path = folder / "policy.yaml"
    document = yaml.safe_load(path.read_text())
    document.update(changes)
    path.write_text(yaml.safe_dump(document))


def replace_tensor(folder, value):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value(tensors[name])
    save_file(tensors, path)


UNSAFE = {
    "pickled weights": (
        lambda f: (f / "model.safetensors").write_bytes(pickle.dumps(Bomb())),
        "model.safetensors",
    ),
    "torch.save in place of safetensors": (
        lambda f: torch.save({"a": Bomb()}, f / "model.safetensors"),
        "model.safetensors",
    ),
    "extra pickle": (
        lambda f: (f / "optimizer.pkl").write_bytes(pickle.dumps(Bomb())),
        "optimizer.pkl",
    ),
    "extra torch file": (lambda f: torch.save({}, f / "policy.pt"), "policy.pt"),
    "extra zip": (lambda f: (f / "model.zip").write_bytes(b"PK\x03\x04"), "model.zip"),
    "extra python file": (lambda f: (f / "policy.py").write_text("x = 1"), "policy.py"),
    "pickled training state": (
        lambda f: (f / "train_state.safetensors").write_bytes(pickle.dumps(Bomb())),
        "train_state.safetensors",
    ),
    "python object in yaml": (
        lambda f: (f / "policy.yaml").write_text("!!python/object/apply:os._exit [77]\n"),
        "policy.yaml",
    ),
    "hydra target": (lambda f: edit_policy(f, _target_="os.system"), "_target_"),
    "target among settings": (
        lambda f: edit_policy(f, settings={"_target_": "os.system"}),
        "settings._target_",
    ),
    "foreign network": (lambda f: edit_policy(f, network="torch.nn.Linear"), "network"),
    "foreign environment": (lambda f: edit_policy(f, environment="os:system"), "environment"),
    "foreign option": (lambda f: edit_policy(f, options={"scenario": "x"}), "options.scenario"),
    "nested setting": (lambda f: edit_policy(f, settings={"hidden": [8]}), "settings.hidden"),
    "text setting": (lambda f: edit_policy(f, settings={"hidden": "8"}), "settings.hidden"),
    "huge network": (
        lambda f: edit_policy(f, settings={"hidden": 10**9, "layers": 1}),
        "hidden",
    ),
    "other size": (lambda f: edit_policy(f, settings={"hidden": 16, "layers": 1}), "tensor"),
    "later format": (lambda f: edit_policy(f, format="dispatchgym/policy/9"), "format"),
    "list for a mapping": (lambda f: (f / "policy.yaml").write_text("[1, 2]"), "mapping"),
    "broken yaml": (lambda f: (f / "policy.yaml").write_text("a: [1"), "policy.yaml"),
    "binary yaml": (lambda f: (f / "policy.yaml").write_bytes(b"\xff\xfe\x00"), "policy.yaml"),
    "missing field": (lambda f: (f / "policy.yaml").write_text("network: job_shop"), "format"),
    "missing weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
    "missing policy": (lambda f: (f / "policy.yaml").unlink(), "policy.yaml"),
    "truncated weights": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-9]
        ),
        "model.safetensors",
    ),
    "missing tensor": (lambda f: replace_tensor(f, None), "tensor"),
    "tensor of another type": (lambda f: replace_tensor(f, lambda t: t.double()), "tensor"),
    "tensor of another shape": (lambda f: replace_tensor(f, lambda t: t[:1].clone()), "tensor"),
    "not a number": (lambda f: replace_tensor(f, lambda t: t * float("nan")), "finite"),
    "card is a list": (lambda f: (f / "card.json").write_text("[]"), "card.json"),
    "card is no JSON": (lambda f: (f / "card.json").write_text("{"), "card.json"),
    "link": (
        lambda f: ((f / "card.json").unlink(), (f / "card.json").symlink_to("/etc/hostname")),
        "card.json",
    ),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_or_broken_checkpoints_are_refused_by_name(folder, case):
    damage, place = UNSAFE[case]
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder).build(str(folder))
    assert place in str(caught.value)
    assert "agent" in str(caught.value)


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "nothing")


def test_a_write_killed_between_its_renames_keeps_the_previous_one(folder):
    folder.rename(folder.with_name(".agent.previous"))
    assert read_checkpoint(folder).card == {"seed": 0}


def test_killed_at_any_moment_a_whole_checkpoint_is_left(tmp_path):
    script = textwrap.dedent(
        """
        import sys, itertools, torch
        from dispatchgym.agents.checkpoints import Checkpoint, PolicyFile, write_checkpoint
        from dispatchgym.models import build_network
        settings = {"hidden": 8, "layers": 1}
        network = build_network("job_shop", settings)
        policy = PolicyFile("job_shop", settings, "dispatchgym/JobShop-v0", {})
        for number in itertools.count():
            weights = {k: torch.full_like(v, number) for k, v in network.state_dict().items()}
            state = {"number": torch.tensor(float(number))}
            checkpoint = Checkpoint(policy, weights, state, {"number": number})
            write_checkpoint(sys.argv[1], checkpoint)
            print(number, flush=True)
        """
    )
    target = tmp_path / "agent"
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(0.05 + 0.013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        checkpoint = read_checkpoint(target)
        number = checkpoint.card["number"]
        assert all((value == number).all() for value in checkpoint.weights.values())
        assert checkpoint.train_state["number"] == number


def test_the_files_are_plain(folder):
    assert json.loads((folder / "card.json").read_text()) == {"seed": 0}
    document = yaml.safe_load((folder / "policy.yaml").read_text())
    assert document["network"] == "job_shop"
    assert document["settings"] == SETTINGS
