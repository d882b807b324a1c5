"""Train a policy: `python -m dispatchgym.train env=job_shop agent=ppo`.

All settings are in `dispatchgym/configs/train.yaml` and the groups it names; `--cfg job` prints
them, `--help` says how to change them.
"""

from __future__ import annotations

from typing import Any

from dispatchgym._cli import command
from dispatchgym.configs.schemas import register_schemas

__all__ = ["main"]


@command("train", register_schemas)
def main(config: Any) -> float:
    """Train as configured, then compare the best policy with the rules.

    Returns:
        The smallest held-out gap, which sweeps minimise.
    """
    # Torch takes seconds to load, which --help and --cfg job need not wait for.
    from dispatchgym.agents.session import train_session

    folder = train_session(config)
    return min(record["gap"] for record in folder.history)


if __name__ == "__main__":
    main()
