"""Build backend: setuptools over a linked source tree, so that no list of packages is kept.

The top-level folders are the parts of one import package. Setuptools (and every tool that reads
an editable install: mypy, pyright, sphinx) understands one folder named like the package, so each
hook first lays out ``.src/dispatchgym`` as symbolic links: the files of ``scripts/`` one by one,
the other folders whole. Wheels are built from it, and an editable install is a plain path to it.
"""

import os
import shutil
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

__all__ = build_meta.__all__

PACKAGE = Path(".src", "dispatchgym")
SUB_PACKAGES = ("agents", "configs", "envs", "models")
NOT_SHIPPED = {"_build", "__pycache__"}


def link_sources() -> None:
    """Make ``.src/dispatchgym`` a set of links to the folders of the working tree.

    Raises:
        RuntimeError: when the system does not allow symbolic links.
    """
    sources = [path for path in Path("scripts").iterdir() if path.name not in NOT_SHIPPED]
    sources += [Path(name) for name in SUB_PACKAGES]
    PACKAGE.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in PACKAGE.iterdir()} - {path.name for path in sources}:
        if (PACKAGE / stale).is_symlink():
            (PACKAGE / stale).unlink()
    for source in sources:
        link = PACKAGE / source.name
        if link.is_symlink():
            continue
        try:
            link.symlink_to(os.path.relpath(source, PACKAGE), target_is_directory=source.is_dir())
        except OSError as error:
            raise RuntimeError(
                f"cannot make the symbolic link {link}: {error}. "
                "On Windows switch on Developer Mode, or install a released wheel."
            ) from error


link_sources()
shutil.rmtree("build/lib", ignore_errors=True)  # setuptools ships whatever an earlier build left
