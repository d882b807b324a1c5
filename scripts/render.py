"""``python -m dispatchgym.render``: draw the schedule of an agent, or film its episode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym._cli import command
from dispatchgym.configs.render_schemas import register_render_schemas
from dispatchgym.envs.core.errors import EvaluationError, ParameterError, ScenarioError

if TYPE_CHECKING:
    from dispatchgym.agents.arena import Arena, Episode
    from dispatchgym.agents.entrants import Entrant

__all__ = ["main"]

SUFFIXES = (".png", ".pdf", ".svg", ".gif")


@command("render", register_render_schemas)
def main(config: Any) -> None:
    """Play one episode and draw it."""
    from omegaconf import OmegaConf

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    out = None if plain["out"] is None else Path(plain["out"]).expanduser()
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise ParameterError(f"out: found {out}, expected a name that ends in {_listed(SUFFIXES)}")
    arena = _arena(plain)
    entrant = _entrant(plain, arena)
    episode = entrant.play(arena)[0]
    if not episode.schedule:
        raise EvaluationError(f"{entrant.name} found no schedule; exact.time_limit=... gives time")
    title = plain["title"] or _title(arena, entrant, episode)
    _draw(arena, episode, out, title, plain["frames"])


def _arena(plain: dict[str, Any]) -> Arena:
    """Return the one episode that is drawn, ready to be played."""
    from dispatchgym.agents.arena import Arena, find_problem
    from dispatchgym.agents.scenarios import find_scenarios
    from dispatchgym.agents.settings import environment_options, find_settings

    found = find_scenarios(plain["scenario"])
    if len(found) > 1:
        raise ScenarioError(
            f"scenario: {plain['scenario']!r} stands for {len(found)} instances, expected one: "
            f"{_listed([item.name for item in found[:3]])}, ..."
        )
    (setting,) = find_settings(environment_options(plain["env"], plain["mode"]))
    problem = find_problem(plain["env"]["name"])
    return Arena(problem, found[0].content, (plain["seed"],), setting.environment())


def _entrant(plain: dict[str, Any], arena: Arena) -> Entrant:
    from dispatchgym.agents.entrants import Search, find_entrants

    search = Search(**plain["search"])
    found = find_entrants(plain["agents"], arena.problem, search, **plain["exact"])
    if len(found) > 1:
        raise ParameterError(
            f"agents: {plain['agents']!r} stands for {len(found)} agents, expected one: "
            f"{_listed([entrant.name for entrant in found[:3]])}, ..."
        )
    return found[0]


def _title(arena: Arena, entrant: Entrant, episode: Episode) -> str:
    disturbed = arena.options["interrupts"] is not None
    mode = "interrupting" if disturbed else arena.options["mode"]
    seed = f", seed {arena.seeds[0]}" if disturbed else ""
    done = episode.status == "finished"
    result = f"makespan {episode.objective:.0f}" if done else episode.status
    return f"{arena.instances[0].name}, {mode}{seed}: {entrant.name}, {result}"


def _draw(arena: Arena, episode: Episode, out: Path | None, title: str, frames: int) -> None:
    from dispatchgym.envs.job_shop import render

    instance, schedule = arena.instances[0], episode.schedule
    if out is None:
        print(title, *render.ansi(instance, schedule).splitlines()[1:], sep="\n")
        return
    if out.suffix.lower() == ".gif":
        render.animate(instance, schedule, out, frames=frames, title=title)
    else:
        render.gantt(instance, schedule, out, title=title)
    print(f"{title}\npicture {out}")


def _listed(names: Any) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    main()
