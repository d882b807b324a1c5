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
    arena, label = _arena(plain)
    entrant = _entrant(plain, arena)
    episode = entrant.play(arena)[0]
    if not episode.schedule:
        raise EvaluationError(f"{entrant.name} found no schedule; exact.time_limit=... gives time")
    title = plain["title"] or _title(arena, label, entrant, episode)
    _draw(arena, episode, out, title, plain["frames"])


def _arena(plain: dict[str, Any]) -> tuple[Arena, str]:
    """Return the one episode that is drawn, ready to be played, and its setting in a word."""
    from dispatchgym.agents.arena import Arena
    from dispatchgym.agents.problems import find_problem
    from dispatchgym.agents.scenarios import find_scenarios

    problem = find_problem(plain["env"]["name"])
    found = find_scenarios(problem, plain["scenario"])
    if len(found) > 1:
        raise ScenarioError(
            f"scenario: {plain['scenario']!r} stands for {len(found)} instances, expected one: "
            f"{_listed([item.name for item in found[:3]])}, ..."
        )
    options = problem.environment_options(plain["env"], plain["mode"])
    (setting,) = problem.settings(options, None)
    return Arena(problem, found[0].content, (plain["seed"],), setting.environment()), setting.label


def _entrant(plain: dict[str, Any], arena: Arena) -> Entrant:
    from dispatchgym.agents.entrants import Effort, Search, find_entrants

    search = Search(**plain["search"])
    effort = Effort(**plain["exact"], plan_seconds=plain["planner"]["time_limit"])
    found = find_entrants(plain["agents"], arena.problem, search, effort, arena.scenario)
    if len(found) > 1:
        raise ParameterError(
            f"agents: {plain['agents']!r} stands for {len(found)} agents, expected one: "
            f"{_listed([entrant.name for entrant in found[:3]])}, ..."
        )
    return found[0]


def _title(arena: Arena, label: str, entrant: Entrant, episode: Episode) -> str:
    # A generated instance has the seed in its name.
    seed = f", seed {arena.seeds[0]}" if arena.problem.varies(arena.options) else ""
    measure, done = arena.measure, episode.status == "finished"
    result = f"{measure.words} {measure.score_text(episode.objective)}" if done else episode.status
    return f"{arena.instances[0].name}, {label}{seed}: {entrant.name}, {result}"


def _draw(arena: Arena, episode: Episode, out: Path | None, title: str, frames: int) -> None:
    problem, instance, schedule = arena.problem, arena.instances[0], episode.schedule
    if out is None:
        print(title, problem.text(instance, schedule), sep="\n")
        return
    if out.suffix.lower() == ".gif":
        problem.film(instance, schedule, out, frames, title)
    else:
        problem.draw(instance, schedule, out, title)
    print(f"{title}\npicture {out}")


def _listed(names: Any) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    main()
