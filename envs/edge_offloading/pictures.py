"""What all pictures need: figures without a window, files and pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.core.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_path", "new_figure", "pixels", "save"]

SUFFIXES = (".png", ".pdf", ".svg")
DOTS_PER_INCH = 120


def check_path(path: str | Path | None) -> None:
    """Refuse names of files that are no pictures."""
    if path is not None and Path(path).suffix.lower() not in SUFFIXES:
        raise ParameterError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'pictures need matplotlib: pip install "dispatchgym[agents]"'
        ) from None
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def pixels(figure: Figure) -> npt.NDArray[np.uint8]:
    """Return a figure as uint8 (H, W, 3)."""
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure, if there is a path, and return it."""
    if path is not None:
        picture = io.BytesIO()
        figure.savefig(picture, format=Path(path).suffix[1:].lower())
        write_whole(path, picture.getvalue())
    return figure
