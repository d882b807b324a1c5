"""Schema of `render`: Hydra refuses unknown keys and wrong types with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from dispatchgym.configs.evaluation_schemas import (
    ExactConfig,
    PlannerConfig,
    SearchConfig,
    register_evaluation_schemas,
)

__all__ = ["RenderConfig", "register_render_schemas"]


@dataclass
class RenderConfig:
    """Root of `render.yaml`; the defaults of a problem are in the group `render`.

    Attributes:
        agents: who plays: a rule, `exact`, another agent of the problem, a shipped agent or a
            checkpoint folder.
        scenario: what is played: the name of one instance, a random scenario, or a file.
        seed: of the episode: its random instance and its disturbances.
        mode: job shop: short for `env.mode`: `classic`, `blocking` or `interrupting`.
        search: test-time search of the agent.
        exact: the exact solver.
        planner: heuristics that make a whole plan.
        out: the picture, .png, .pdf or .svg, or the film, .gif; null prints it as text.
        frames: number of pictures of a film.
        title: text above the chart; null: instance, setting, seed, agent and objective.
    """

    env: Any = MISSING
    agents: str = MISSING
    scenario: str = MISSING
    seed: int = 0
    mode: str | None = None
    search: SearchConfig = field(default_factory=SearchConfig)
    exact: ExactConfig = field(default_factory=ExactConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    out: str | None = None
    frames: int = 120
    title: str | None = None


def register_render_schemas() -> None:
    """Put the schema into Hydra's ConfigStore; calling it again changes nothing."""
    from hydra.core.config_store import ConfigStore

    register_evaluation_schemas()
    ConfigStore.instance().store(name="render_schema", node=RenderConfig)
