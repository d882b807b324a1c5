"""A training run on disk: folder, configuration, checkpoints, history, pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from dispatchgym.agents.checkpoints import Checkpoint, PolicyFile, read_checkpoint, write_checkpoint
from dispatchgym.agents.provenance import provenance
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.files import write_whole

CONFIG, HISTORY = "config.yaml", "evaluations.json"


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        decisions: environment steps of all rows together.
        updates: gradient steps.
        seconds: wall time of training, evaluations included.
        evaluations: held-out evaluations done.
    """

    decisions: int = 0
    updates: int = 0
    seconds: float = 0.0
    evaluations: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """The counters as tensors for a checkpoint."""
        return {
            f"progress.{key}": torch.tensor(value, dtype=torch.float64)
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Progress:
        """Read what `tensors` wrote."""
        values = {key: tensors[f"progress.{key}"].item() for key in asdict(cls())}
        return cls(
            decisions=int(values["decisions"]),
            updates=int(values["updates"]),
            seconds=values["seconds"],
            evaluations=int(values["evaluations"]),
        )


@dataclass
class RunFolder:
    """The folder of one training run.

    Attributes:
        path: the folder.
        history: one record per held-out evaluation, oldest first.
    """

    path: Path
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def create(cls, runs: str, experiment: str, config: dict[str, Any]) -> RunFolder:
        """Make `runs/experiment/<timestamp>` with the resolved configuration and versions.

        Raises:
            ParameterError: the folder cannot be made.
        """
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = Path(runs) / experiment / stamp
        number = 1
        while not cls._make(path):
            number += 1
            path = path.with_name(f"{stamp}_{number}")
        write_whole(path / CONFIG, yaml.safe_dump(config, sort_keys=False))
        write_whole(path / "versions.json", json.dumps(provenance(), indent=1) + "\n")
        return cls(path)

    @staticmethod
    def _make(path: Path) -> bool:
        """Make a folder; False where another run, of the same sweep perhaps, has just made it."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise ParameterError(f"runs: {path} cannot be made: {error.strerror}") from None
        return True

    @classmethod
    def find(cls, resume: bool | str, runs: str, experiment: str) -> RunFolder:
        """Find the run to resume.

        Args:
            resume: a run folder, or True for the latest run of the experiment that has a
                checkpoint.
            runs: where run folders are.
            experiment: name of the experiment.

        Raises:
            ParameterError: there is no such run.
        """
        if isinstance(resume, str):
            path = Path(resume)
            if not (path / CONFIG).is_file():
                raise ParameterError(f"resume: {path} is not a run folder ({CONFIG} is missing)")
        else:
            found = sorted((Path(runs) / experiment).glob(f"*/{CONFIG}"))
            if not found:
                raise ParameterError(
                    f"resume: no run of experiment {experiment!r} under {Path(runs).resolve()}; "
                    "start one without resume, or name its folder: resume=<folder>"
                )
            path = found[-1].parent
        return cls(path, cls._read_history(path / HISTORY))

    @staticmethod
    def _read_history(path: Path) -> list[dict[str, Any]]:
        if not path.is_file():
            return []
        try:
            return list(json.loads(path.read_text()))
        except ValueError as error:
            raise ParameterError(f"{path}: not JSON: {error}") from None

    @property
    def config(self) -> dict[str, Any]:
        """The configuration the run was started with."""
        try:
            return dict(yaml.safe_load((self.path / CONFIG).read_text()))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            raise ParameterError(f"{self.path / CONFIG}: not a configuration: {error}") from None

    def checkpoint(self, name: str) -> Path:
        """Folder of the checkpoint `last` or `best`."""
        return self.path / "checkpoints" / name

    def has_checkpoint(self, name: str) -> bool:
        """Whether there is one; a write that was cut short counts when an older one is left."""
        folder = self.checkpoint(name)
        return folder.exists() or folder.with_name(f".{name}.previous").exists()

    def record(self, evaluation: dict[str, Any]) -> None:
        """Append an evaluation to the history file."""
        self.history.append(evaluation)
        write_whole(self.path / HISTORY, json.dumps(self.history, indent=1) + "\n")

    def forget_after(self, evaluations: int) -> None:
        """Drop evaluations that a resumed run will do again."""
        del self.history[evaluations:]

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write the checkpoint `last` or `best`, whole or not at all."""
        write_checkpoint(self.checkpoint(name), checkpoint)

    def read(self, name: str) -> Checkpoint:
        """Read the checkpoint `last` or `best`."""
        return read_checkpoint(self.checkpoint(name))


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, name: str = "optimizer"
) -> dict[str, Tensor]:
    """State of an Adam optimiser as tensors, whose names begin with `name`."""
    return {
        f"{name}.{number}.{key}": torch.as_tensor(value)
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], name: str = "optimizer"
) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for key_of_tensor, value in tensors.items():
        kind, _, rest = key_of_tensor.partition(".")
        if kind == name:
            number, key = rest.split(".")
            state.setdefault(int(number), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def make_checkpoint(
    network: torch.nn.Module,
    file: PolicyFile,
    learned: dict[str, Tensor] | None,
    progress: Progress,
    card: dict[str, Any],
) -> Checkpoint:
    """A checkpoint of the present state.

    Args:
        network: what acts.
        file: how it is built.
        learned: the learner's state; None for a policy that can act but not be resumed.
        progress: how far the run is.
        card: what is to be told of it.
    """
    train_state = None
    if learned is not None:
        train_state = {
            **{name: value.clone() for name, value in learned.items()},
            **progress.tensors(),
            "random.torch": torch.get_rng_state(),
        }
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    return Checkpoint(file, weights, train_state, card)
