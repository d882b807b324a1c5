"""``python -m dispatchgym.evaluate``: compare rules, agents and exact solvers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatchgym._cli import command
from dispatchgym.configs.evaluation_schemas import LEVELS, register_evaluation_schemas
from dispatchgym.envs.core.errors import EvaluationError, ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult
    from dispatchgym.agents.problems.base import Problem

__all__ = ["main"]


@command("evaluate", register_evaluation_schemas)
def main(config: Any) -> None:
    """Compare the agents as configured."""
    from omegaconf import OmegaConf

    from dispatchgym.agents.entrants import Effort, Search
    from dispatchgym.agents.evaluation import Evaluation
    from dispatchgym.agents.problems import find_problem
    from dispatchgym.agents.workers import Workers

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for key in ("out", "pictures"):
        if plain[key] is not None:
            _check_place(key, Path(plain[key]), folder=key == "pictures")
    problem = find_problem(plain["env"]["name"])
    levels = _levels(plain, problem)
    evaluation = Evaluation(
        plain["agents"],
        plain["scenario"],
        plain["seeds"],
        problem=problem.name,
        options=problem.environment_options(plain["env"], plain["mode"], levels=levels is not None),
        levels=levels,
        search=Search(**plain["search"]),
        against=plain["against"],
        effort=Effort(**plain["exact"], plan_seconds=plain["planner"]["time_limit"]),
    )
    _limit_threads(plain["threads"])
    workers = Workers(**plain["workers"])
    try:
        evaluation.run(progress=plain["progress"], workers=workers)
    except KeyboardInterrupt:
        # An hour's work is not thrown away: what is finished is shown and written as partial.
        if evaluation.result.rows:
            _deliver(evaluation.result, plain["out"], plain["pictures"])
        raise
    _deliver(evaluation.result, plain["out"], plain["pictures"])


def _levels(plain: dict[str, Any], problem: Problem) -> list[float] | None:
    """Return the values of the problem's level, refusing those of another problem."""
    own = None if problem.level is None else problem.level.option
    for name in LEVELS:
        if plain[name] is not None and name != own:
            raise ParameterError(
                f"{name}: found {plain[name]}, but env={problem.name} has no such setting"
                + ("" if own is None else f"; its own is {own}")
            )
    return None if own is None else plain[own]


def _limit_threads(threads: int) -> None:
    """Set the threads of torch and of the kernels where a policy has loaded torch."""
    if threads < 0:
        raise EvaluationError(f"threads: found {threads}, expected 0 (torch's choice) or more")
    if "torch" in sys.modules:
        from dispatchgym.agents.threads import use_threads

        use_threads(threads)


def _deliver(result: EvaluationResult, out: str | None, pictures: str | None) -> None:
    from rich.console import Console

    from dispatchgym.agents.tables import WIDTH, tables

    console = Console(width=WIDTH, highlight=False)
    for table in tables(result):
        console.print(table)
        console.print()
    if out is not None:
        result.write(out)
        console.print(f"{len(result.rows)} rows in {out}")
    if pictures is not None:
        from dispatchgym.agents.pictures import draw

        for path in draw(result, Path(pictures)):
            console.print(f"picture {path}")


def _check_place(key: str, path: Path, *, folder: bool) -> None:
    """Raise EvaluationError, before hours of work, where results could not be written."""
    if folder and path.exists() and not path.is_dir():
        raise EvaluationError(f"{key}: {path} is a file, expected a folder")
    if not folder and path.is_dir():
        raise EvaluationError(f"{key}: {path} is a folder, expected a file name")
    if not folder and path.suffix.lower() not in (".json", ".csv"):
        raise EvaluationError(f"{key}: found {path}, expected a name that ends in .json or .csv")
    try:
        (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EvaluationError(f"{key}: {path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    main()
