"""The problems of the suite: what sets one apart from the others, in one package each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.problems.base import Problem

__all__ = ["PROBLEMS", "find_problem", "problem_of"]

PROBLEMS = ("job_shop", "vm_rescheduling", "uam", "soc", "edge_offloading", "edge_dag_plan")
"""Hydra names; each is also the name of a package here."""


def find_problem(name: str) -> Problem:
    """Return the problem of a Hydra name.

    Raises:
        ParameterError: there is none of this name.
    """
    if name not in PROBLEMS:
        raise ParameterError(f"env: found {name!r}, expected one of {', '.join(PROBLEMS)}")
    found: Problem = importlib.import_module(f"{__name__}.{name}").problem
    return found


def problem_of(env_id: str) -> Problem:
    """Return the problem of a registered environment, with or without its module prefix.

    Raises:
        ParameterError: there is none.
    """
    wanted = env_id.rpartition(":")[2]
    for name in PROBLEMS:
        found = find_problem(name)
        if found.env_id.rpartition(":")[2] == wanted:
            return found
    raise ParameterError(f"environment: found {env_id!r}, which is no problem of this suite")
