"""``python -m dispatchgym.curves``: several runs in one picture and one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dispatchgym._cli import command
from dispatchgym.configs.curves_schemas import register_curves_schemas
from dispatchgym.envs.core.errors import ParameterError

__all__ = ["main"]


@command("curves", register_curves_schemas)
def main(config: Any) -> None:
    """Read the runs below a folder, draw them and print what they ended with."""
    from dispatchgym.agents.curves import comparison_table, draw_comparison
    from dispatchgym.agents.held_out import measure_of_scores
    from dispatchgym.agents.problems import find_problem
    from dispatchgym.agents.runs import CONFIG, RunFolder

    found = sorted(Path(config.runs).expanduser().glob(f"**/{CONFIG}"))
    folders = [RunFolder.find(str(path.parent), "", "") for path in found]
    runs = [(folder.config, folder.history) for folder in folders if folder.history]
    if not runs:
        raise ParameterError(f"runs: {config.runs} holds no run that has been evaluated")
    problem = find_problem(runs[0][0]["env"]["name"])
    scenario = runs[0][0]["held_out"]["scenario"] or runs[0][0]["env"]["scenario"]
    measure = measure_of_scores(problem.measure(problem.module.make_instance(scenario, 0)))
    print(comparison_table(runs, measure.words))
    print(f"picture: {draw_comparison(runs, measure.words, Path(config.out).expanduser())}")


if __name__ == "__main__":
    main()
