"""Schema of `curves`: Hydra refuses unknown keys and wrong types with it."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

__all__ = ["CurvesConfig", "register_curves_schemas"]


@dataclass
class CurvesConfig:
    """Root of `curves.yaml`.

    Attributes:
        runs: a folder; all run folders below it are drawn, those of one agent together.
        out: the picture, .png.
    """

    runs: str = MISSING
    out: str = "curves.png"


def register_curves_schemas() -> None:
    """Put the schema into Hydra's ConfigStore."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="curves_schema", node=CurvesConfig)
