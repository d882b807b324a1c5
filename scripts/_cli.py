"""What the commands share: Hydra, and mistakes told in one line instead of a traceback."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from dispatchgym.envs.core.errors import DispatchGymError

# Idle OpenMP threads of numba and torch spin for long by default: on a machine that has other
# work to do, that makes everything several times slower. Read when the first of them is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

try:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
except ModuleNotFoundError as error:
    raise SystemExit(
        f'dispatchgym: the commands need {error.name}: pip install "dispatchgym[agents]"'
    ) from None

__all__ = ["command", "run"]

USER_ERROR = 2
INTERRUPTED = 130


class _Mistake(BaseException):
    """Carries a DispatchGymError past Hydra, which writes a report of any other exception."""


def command(
    config_name: str, register_schemas: Callable[[], None]
) -> Callable[[Callable[[Any], object]], Callable[[], None]]:
    """Turn a function of a composed configuration into a command without arguments.

    Args:
        config_name: name of the root configuration in `dispatchgym.configs`.
        register_schemas: puts the schemas of the configuration into Hydra's store.
    """

    def decorate(task: Callable[[Any], object]) -> Callable[[], None]:
        @wraps(task)
        def told(config: Any) -> object:
            try:
                return task(config)
            except DispatchGymError as error:
                raise _Mistake(str(error)) from error

        composed = hydra.main(
            version_base="1.3", config_path="pkg://dispatchgym.configs", config_name=config_name
        )(told)

        def main() -> None:
            """Run the command; its settings come from the command line."""
            register_schemas()
            run(composed)

        return main

    return decorate


def run(main: Callable[[], object]) -> None:
    """Run a command; a user's mistake ends it with a clear line and exit status 2.

    Args:
        main: a function decorated with ``hydra.main``; it reads ``sys.argv`` itself.

    Raises:
        SystemExit: status 2 after a mistake in the command, 130 after Ctrl-C. Any other error is
            a fault of the program and keeps its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a traceback and exits by itself
    try:
        main()
    except (_Mistake, DispatchGymError) as error:
        _stop(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        _stop(_setting_mistake(error))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(USER_ERROR) from None


def _setting_mistake(error: BaseException) -> str:
    """Say which setting is wrong and what it can be; Hydra's advice leads past the schema."""
    cause = error.__cause__ if error.__cause__ is not None else error
    setting, first_line = getattr(cause, "full_key", None), str(cause).split("\n")[0]
    known = getattr(cause, "parent_node", None)
    if not setting:
        return _composition_mistake(str(error))
    if known is None or getattr(cause, "key", None) in known:
        return f"{setting}: {first_line}"
    names = sorted(map(str, known))
    close = difflib.get_close_matches(str(cause.key), names, n=2)  # type: ignore[attr-defined]
    hint = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(names)}"
    return f"{setting}: there is no such setting; {hint}"


def _composition_mistake(text: str) -> str:
    """Leave out of Hydra's words what a user cannot act on: search path, schemas, bypasses."""
    no_group = re.match(r"Could not override '(.+?)'\. No match in the defaults list", text)
    if no_group:
        return f"{no_group[1]}: there is no such setting; --help lists them"
    told = re.split(r"\nConfig search path|\nTo append", text)[0]
    return "\n".join(
        line for line in told.splitlines() if line.strip() and not line.endswith("_schema")
    )
