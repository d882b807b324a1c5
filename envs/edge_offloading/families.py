"""What each family of tasks brings, by strings, so that nothing is loaded before it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["FAMILIES", "part_of"]

FAMILIES: dict[str, dict[str, str]] = {
    "slots": {
        "world": "slots_world:SlotWorld",
        "instance": "instance:OffloadInstance",
        "validate": "validator:validate_slots",
        "solve": "exact:solve_slots",
        "units": "exact:units_of_slots",
        "ideal": "exact:ideal_of_slots",
        "lower_bounds": "exact:lower_bounds_of_slots",
        "ansi": "slots_render:ansi",
        "timelines": "slots_render:timelines",
    },
    "deadlines": {
        "world": "dems_world:DeadlineWorld",
        "instance": "dems_instance:DeadlineInstance",
        "validate": "dems_validator:validate_deadlines",
        "solve": "dems_exact:solve_deadlines",
        "units": "dems_exact:units",
        "ideal": "dems_exact:ideal",
        "lower_bounds": "dems_exact:lower_bounds",
        "ansi": "dems_render:ansi",
        "timelines": "dems_render:timelines",
    },
    "graphs": {
        "world": "graph_world:GraphWorld",
        "instance": "graph_instance:GraphInstance",
        "validate": "graph_validator:validate_graphs",
        "solve": "graph_exact:solve_graphs",
        "units": "graph_exact:units_of_graphs",
        "ideal": "graph_exact:bounds_of_graphs",
        "lower_bounds": "graph_exact:bounds_of_graphs",
        "ansi": "graph_render:ansi",
        "timelines": "graph_render:timelines",
    },
}
"""Family -> part -> module and name."""


def part_of(family: str, part: str) -> Any:
    """Return the class or function that a family has for a purpose."""
    module, _, name = FAMILIES[family][part].partition(":")
    return getattr(import_module(f"dispatchgym.envs.edge_offloading.{module}"), name)
