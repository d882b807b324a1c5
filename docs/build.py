"""Writes docs/environments/*.md from the docstrings of the environments (`make doc`)."""

from __future__ import annotations

import inspect
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from dispatchgym.envs.core.files import write_whole
from dispatchgym.envs.core.registry import ENVIRONMENTS

FOLDER = Path(__file__).parent / "environments"


def pages() -> dict[Path, str]:
    """Return the page of every environment: path -> Markdown."""
    return {FOLDER / f"{_file_name(name)}.md": _page(name) for name in ENVIRONMENTS}


def _file_name(env_id: str) -> str:
    """Return the id without name space and version, which may not stand in a file name."""
    return env_id.rpartition("/")[2].partition("-v")[0]


def _page(env_id: str) -> str:
    entry_point = gym.spec(env_id).entry_point
    assert isinstance(entry_point, str)
    manual = inspect.getdoc(load_env_creator(entry_point)) or ""
    return "\n".join(
        [
            f"# {_file_name(env_id)}",
            "",
            "<!-- Written by `make doc` from the docstring of the environment; edit it there. -->",
            "",
            "```python",
            "import gymnasium as gym",
            "",
            f'env = gym.make("dispatchgym:{env_id}")',
            f'batch = gym.make_vec("dispatchgym:{env_id}", num_envs=64)',
            "```",
            "",
            manual,
            "",
        ]
    )


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        write_whole(path, text)
        print(path)


if __name__ == "__main__":
    main()
