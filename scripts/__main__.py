"""``python -m dispatchgym``: lists the commands, and runs the one named."""

import difflib
import importlib
import sys

from dispatchgym import __version__

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "train": "train an agent, with progress, checkpoints and a final comparison",
    "evaluate": "compare rules, agents and exact solvers on common instances",
    "benchmark": "measure how fast an environment steps",
    "speed_book": "measure every problem, and other environments beside them",
    "throughput": "measure how fast agents train, and where the time goes",
    "curves": "draw the learning curves of several runs",
    "render": "draw a schedule (.png) or film an episode (.gif)",
}
"""Command, which is also its module's name -> what it does."""

USAGE_ERROR = 2


def main() -> None:
    """Run the command named by the first argument; the rest are its Hydra overrides.

    Raises:
        SystemExit: status 2 when there is no such command.
    """
    name, *overrides = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_usage())
    elif name == "--version":
        print(__version__)
    elif name in COMMANDS:
        sys.argv = [f"dispatchgym {name}", *overrides]
        importlib.import_module(f"dispatchgym.{name}").main()
    else:
        print(_unknown(name), file=sys.stderr)
        raise SystemExit(USAGE_ERROR)


def _usage() -> str:
    lines = [f"  {name:<11}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: dispatchgym COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "`dispatchgym COMMAND --help` lists a command's settings and their values.",
        ]
    )


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(COMMANDS)}"
    return f"error: unknown command {name!r}: {hint}"


if __name__ == "__main__":
    main()
