"""What the commands share: Hydra, and errors told in one line instead of a traceback."""

import os
import sys
from collections.abc import Callable

from dispatchgym.envs.core.errors import DispatchGymError

try:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
except ModuleNotFoundError as error:
    raise SystemExit(
        f'dispatchgym: the commands need {error.name}: pip install "dispatchgym[agents]"'
    ) from None

__all__ = ["hydra", "run"]

USER_ERROR = 2
INTERRUPTED = 130


def run(main: Callable[[], object]) -> None:
    """Run a command; a user's mistake ends it with one clear line and exit status 2.

    Args:
        main: a function decorated with ``hydra.main``; it reads ``sys.argv`` itself.

    Raises:
        SystemExit: status 2 after a mistake in the command, 130 after Ctrl-C. Any other error is
            a fault of the program and keeps its traceback.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a traceback and exits by itself
    try:
        main()
    except (DispatchGymError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {_message(error)}", file=sys.stderr)
        raise SystemExit(USER_ERROR) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _message(error: BaseException) -> str:
    """The error's text, with the cause that Hydra keeps apart."""
    text = str(error).strip()
    cause = str(error.__cause__ or "").strip()
    return f"{text}\n{cause}" if cause and cause not in text else text
