"""Checkpoints: folders that hold tensors and plain values, never code.

A checkpoint is a folder of up to four files:

- `model.safetensors`: the network's weights;
- `policy.yaml`: the network's registered name with its numbers, and the environment it acts in;
- `train_state.safetensors` (optional): optimiser, random state and counters as tensors;
- `card.json` (optional): how it was made and what it scored.

Reading one unpickles nothing and imports nothing that the files name.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from dispatchgym.agents.problems import problem_of
from dispatchgym.envs.core.errors import CheckpointError
from dispatchgym.envs.core.registry import ENVIRONMENTS
from dispatchgym.models.registry import PolicyNetwork, build_network

FORMAT = "dispatchgym/policy/1"
MODEL, POLICY, TRAIN_STATE, CARD = (
    "model.safetensors",
    "policy.yaml",
    "train_state.safetensors",
    "card.json",
)
MEMBERS = (MODEL, POLICY, TRAIN_STATE, CARD)

_LARGEST_TEXT = 1 << 20
_LARGEST_TENSORS = 1 << 30


@dataclass(frozen=True)
class PolicyFile:
    """Contents of `policy.yaml`.

    Attributes:
        network: registered name of the network.
        settings: its keyword arguments, plain numbers.
        environment: registered id of the environment it acts in.
        options: environment options it was trained with, a subset of `policy_options` of the
            problem.
    """

    network: str
    settings: Mapping[str, int | float | bool]
    environment: str
    options: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        policy: the contents of `policy.yaml`.
        weights: the network's tensors by name.
        train_state: tensors needed to resume training, None when not kept.
        card: how the checkpoint was made and what it scored.
    """

    policy: PolicyFile
    weights: Mapping[str, Tensor]
    train_state: Mapping[str, Tensor] | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    def build(self, source: str = "checkpoint") -> PolicyNetwork:
        """Build the network and fill in the weights.

        Args:
            source: what error messages call this checkpoint.

        Raises:
            CheckpointError: the weights do not fit the network, or are not finite.
        """
        network = build_network(
            self.policy.network, self.policy.settings, os.path.join(source, POLICY)
        )
        _fill(network, self.weights, os.path.join(source, MODEL))
        return network


def write_checkpoint(folder: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint completely or not at all.

    The files are written to a new folder beside `folder`, which is then renamed; a process
    killed at any moment leaves either the previous checkpoint or the new one.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    target = Path(folder)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    previous = _previous(target)
    try:
        draft.mkdir(parents=True)
        for name, content in _contents(checkpoint).items():
            _write_through(draft / name, content)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)
            target.rename(previous)
        draft.rename(target)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        restore_interrupted(target)
        raise CheckpointError(f"{target}: cannot be written: {error.strerror}") from error


def restore_interrupted(folder: str | os.PathLike[str]) -> None:
    """Put back the previous checkpoint when a write was killed between its two renames."""
    target = Path(folder)
    previous = _previous(target)
    if not target.exists() and (previous / POLICY).is_file():
        previous.rename(target)


def read_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, trusting nothing in it.

    Raises:
        CheckpointError: a file is missing, superfluous, not what its name says, too large, or
            has a field that is unknown or of another type; the message names file and field.
    """
    path = Path(folder)
    restore_interrupted(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint folder")
    _check_members(path)
    return Checkpoint(
        policy=_read_policy(path / POLICY),
        weights=_read_tensors(path / MODEL),
        train_state=_read_tensors(path / TRAIN_STATE) if (path / TRAIN_STATE).exists() else None,
        card=_read_card(path / CARD) if (path / CARD).exists() else {},
    )


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _contents(checkpoint: Checkpoint) -> dict[str, bytes]:
    policy = checkpoint.policy
    document = {
        "format": FORMAT,
        "network": policy.network,
        "settings": dict(policy.settings),
        "environment": policy.environment,
        "options": dict(policy.options),
    }
    contents = {
        MODEL: save_tensors(_plain(checkpoint.weights)),
        POLICY: yaml.safe_dump(document, sort_keys=False).encode(),
        CARD: (json.dumps(dict(checkpoint.card), indent=1, allow_nan=False) + "\n").encode(),
    }
    if checkpoint.train_state is not None:
        contents[TRAIN_STATE] = save_tensors(_plain(checkpoint.train_state))
    return contents


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _check_members(path: Path) -> None:
    present = {entry.name for entry in path.iterdir()}
    for name in (MODEL, POLICY):
        if name not in present:
            raise CheckpointError(f"{path / name}: missing; a checkpoint needs it")
    for name in sorted(present):
        member = path / name
        if name not in MEMBERS:
            raise CheckpointError(
                f"{member}: refused; a checkpoint holds only {', '.join(MEMBERS)}"
            )
        if member.is_symlink() or not member.is_file():
            raise CheckpointError(f"{member}: refused; expected a plain file")


def _read_bytes(path: Path, largest: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > largest:
            raise CheckpointError(f"{path}: {size} bytes, expected at most {largest}")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    content = _read_bytes(path, _LARGEST_TENSORS)
    try:
        return load_tensors(content)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from None


def _read_policy(path: Path) -> PolicyFile:
    content = _read_bytes(path, _LARGEST_TEXT)
    try:
        document = yaml.safe_load(content.decode())
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not plain YAML: {' '.join(str(error).split())}") from None
    fields = _fields(document, path)
    if fields["format"] != FORMAT:
        raise CheckpointError(f"{path}: field 'format': found {fields['format']!r}, not {FORMAT!r}")
    if fields["environment"] not in ENVIRONMENTS:
        raise CheckpointError(
            f"{path}: field 'environment': found {fields['environment']!r}, "
            f"expected one of {', '.join(ENVIRONMENTS)}"
        )
    known = problem_of(fields["environment"]).policy_options
    for name in fields["options"]:
        if name not in known:
            raise CheckpointError(
                f"{path}: field 'options.{name}': unknown, expected one of {', '.join(known)}"
            )
    return PolicyFile(
        network=fields["network"],
        settings=fields["settings"],
        environment=fields["environment"],
        options=fields["options"],
    )


_SCHEMA: dict[str, type] = {
    "format": str,
    "network": str,
    "settings": dict,
    "environment": str,
    "options": dict,
}


def _fields(document: object, path: Path) -> dict[str, Any]:
    """Check that a document has exactly the fields of the schema with plain values."""
    if not isinstance(document, dict):
        raise CheckpointError(f"{path}: found {type(document).__name__}, expected a mapping")
    for name in document:
        if name not in _SCHEMA:
            raise CheckpointError(
                f"{path}: field {name!r}: unknown, expected one of {', '.join(_SCHEMA)}"
            )
    for name, kind in _SCHEMA.items():
        if name not in document:
            raise CheckpointError(f"{path}: field {name!r}: missing")
        if not isinstance(document[name], kind):
            raise CheckpointError(
                f"{path}: field {name!r}: found {document[name]!r}, expected {kind.__name__}"
            )
    for name, plain in (("settings", (int, float)), ("options", (str, int))):
        for key, value in document[name].items():
            if not isinstance(key, str) or not isinstance(value, plain):
                raise CheckpointError(
                    f"{path}: field '{name}.{key}': found {value!r}, expected a plain value"
                )
    return document


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(_read_bytes(path, _LARGEST_TEXT))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from None
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: found {type(card).__name__}, expected an object")
    return card


def _fill(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    expected = network.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights or name not in expected:
            state = "missing" if name in expected else "not part of this network"
            raise CheckpointError(f"{source}: tensor {name!r}: {state}")
        found, wanted = weights[name], expected[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise CheckpointError(
                f"{source}: tensor {name!r}: found {found.dtype} {tuple(found.shape)}, "
                f"expected {wanted.dtype} {tuple(wanted.shape)}"
            )
        if not torch.isfinite(found).all():
            raise CheckpointError(f"{source}: tensor {name!r}: holds numbers that are not finite")
    network.load_state_dict(dict(weights))
