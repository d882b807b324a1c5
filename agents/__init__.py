"""Training, search, checkpoints and evaluation of policies.

Importing this package is quick; torch is loaded when a policy is.
"""

from __future__ import annotations

if not __name__.startswith("dispatchgym."):
    raise ImportError("import dispatchgym.agents, not the folder 'agents': run from another folder")

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatchgym.agents.policy import Policy

__all__ = ["load", "shipped"]

CHECKPOINTS = Path(__file__).parent / "checkpoints"


def shipped() -> tuple[str, ...]:
    """Names of the trained agents that come with the package, such as `job_shop/ppo`."""
    policies = CHECKPOINTS.glob("*/*/policy.yaml")
    return tuple(sorted(path.parent.relative_to(CHECKPOINTS).as_posix() for path in policies))


def load(path_or_name: str | Path, device: str = "auto") -> Policy:
    """Load a trained policy.

    Args:
        path_or_name: a checkpoint folder, or the name of a shipped agent (`job_shop/ppo`).
        device: a torch device, or `auto`: CUDA where present, otherwise the CPU.

    Raises:
        CheckpointError: no such checkpoint, or one that is incomplete, unsafe or foreign.
    """
    from dispatchgym.agents.policy import Policy

    return Policy.load(path_or_name, device)
