"""A trained policy: observations in, actions out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dispatchgym.agents import CHECKPOINTS, shipped
from dispatchgym.agents.checkpoints import Checkpoint, PolicyFile, read_checkpoint
from dispatchgym.envs.core.errors import CheckpointError, ParameterError
from dispatchgym.models.registry import PolicyNetwork

Observation = Mapping[str, NDArray[Any]]


def choose_device(name: str) -> torch.device:
    """Torch device by name; `auto` is CUDA where present, otherwise the CPU.

    Raises:
        ParameterError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"device: found {name!r}, which cannot be used: {reason}") from None


def as_tensors(observation: Observation, device: torch.device) -> dict[str, Tensor]:
    """Arrays of an observation as tensors on `device`; on the CPU they share memory."""
    return {key: torch.as_tensor(value, device=device) for key, value in observation.items()}


def mask_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits with a number of vanishing probability where `mask` is zero."""
    return logits.masked_fill(mask <= 0, -1e8)


def likely_logits(logits: Tensor, mask: Tensor, quantile: float) -> Tensor:
    """Masked logits without the actions below a quantile of the legal ones of their row.

    The most likely action always stays. The threshold is that of VMR2L's risk-seeking evaluation
    (arXiv 2505.17359).
    """
    legal = torch.where(mask > 0, logits, torch.nan)
    threshold = torch.nanquantile(legal, quantile, dim=1, keepdim=True)
    return mask_logits(logits, logits >= threshold)


class Policy:
    """A network with what is needed to use it.

    Attributes:
        name: what tables call it.
        network: maps an observation of tensors to logits (batch, actions) and values (batch,).
        file: network name and numbers, environment and options.
        card: how it was made and what it scored.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        file: PolicyFile,
        *,
        name: str = "policy",
        card: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Wrap a network for acting; `device` is where it computes."""
        self.device = torch.device(device)
        self.network = network.to(self.device)
        self.file = file
        self.name = name
        self.card = dict(card or {})

    @classmethod
    def load(cls, path_or_name: str | Path, device: str = "auto") -> Self:
        """Load a checkpoint folder or a shipped agent.

        Raises:
            CheckpointError: nothing there, or a checkpoint that is not safe or not complete.
        """
        folder = _find(path_or_name)
        checkpoint = read_checkpoint(folder)
        return cls.from_checkpoint(checkpoint, str(path_or_name), choose_device(device))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, name: str, device: torch.device) -> Self:
        """Build the policy of a checkpoint in memory."""
        network = checkpoint.build(name)
        return cls(network, checkpoint.policy, name=name, card=checkpoint.card, device=device)

    @property
    def environment(self) -> dict[str, Any]:
        """Options to make the environment with, so that the policy finds what it knows."""
        return dict(self.file.options)

    def logits(self, observation: Observation) -> Tensor:
        """Masked float32 logits (batch, actions) for a batch of observations."""
        was_training = self.network.training
        self.network.eval()
        with torch.no_grad():
            tensors = as_tensors(observation, self.device)
            logits, _ = self.network(tensors)
        self.network.train(was_training)
        return mask_logits(logits, tensors["action_mask"])

    def act(
        self,
        observation: Observation,
        deterministic: bool = True,
        temperature: float = 1.0,
        quantile: float = 0.0,
    ) -> NDArray[np.int64]:
        """Choose one legal action per row.

        Args:
            observation: arrays of a batch of observations, each with a leading batch dimension.
            deterministic: take the most likely action (lowest index on ties) instead of
                sampling with torch's generator.
            temperature: divides the logits before sampling, positive.
            quantile: actions whose probability is below this quantile of those of the row's
                legal actions are not sampled, in [0, 1).

        Returns:
            (batch,) int64 actions.

        Raises:
            ParameterError: an array is missing, or a number is out of range.
        """
        _check_observation(observation, self.network.keys)
        if not temperature > 0:
            raise ParameterError(f"temperature: found {temperature}, expected a positive number")
        if not 0 <= quantile < 1:
            raise ParameterError(f"quantile: found {quantile}, expected a number in [0, 1)")
        logits = self.logits(observation)
        if deterministic:
            return logits.argmax(dim=1).cpu().numpy()
        if quantile:
            mask = torch.as_tensor(observation["action_mask"], device=logits.device)
            logits = likely_logits(logits, mask, quantile)
        probabilities = torch.softmax(logits / temperature, dim=1)
        return torch.multinomial(probabilities, 1).squeeze(1).cpu().numpy()


def _check_observation(observation: Observation, keys: tuple[str, ...]) -> None:
    for key in keys:
        if key not in observation:
            raise ParameterError(
                f"observation: array {key!r} is missing, expected {', '.join(keys)} "
                "(make the environment with observation='graph')"
            )
    if np.ndim(observation["action_mask"]) != 2:
        raise ParameterError(
            f"observation: array 'action_mask' has shape {np.shape(observation['action_mask'])}, "
            "expected a batch (batch, actions)"
        )


def _find(path_or_name: str | Path) -> Path:
    """Folder of a checkpoint given by path or shipped name."""
    if str(path_or_name) in shipped():
        return CHECKPOINTS / str(path_or_name)
    path = Path(path_or_name)
    # A write that was cut short is put right on reading, so the name alone need not exist yet.
    if path.exists() or path.with_name(f".{path.name}.previous").exists():
        return path
    close = difflib.get_close_matches(str(path_or_name), shipped(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise CheckpointError(
        f"{path_or_name}: neither a checkpoint folder nor a shipped agent "
        f"({', '.join(shipped()) or 'none shipped'}){hint}"
    )
