"""Writing a file completely or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dispatchgym.envs.core.errors import DispatchGymError

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file completely or not at all; missing folders are made.

    Whoever reads the file meanwhile, or kills this process, sees the old content or the new.

    Args:
        path: the file; one that exists is replaced.
        content: bytes, or text to be written in UTF-8.

    Raises:
        DispatchGymError: the path cannot be written; the message says why.
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    draft = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(draft, 0o666 & ~_umask())  # mkstemp's files are for their owner only
        os.replace(draft, target)
    except (OSError, ValueError) as error:
        raise DispatchGymError(f"{str(target)!r}: cannot be written: {error}") from error
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
