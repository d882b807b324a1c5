"""The settings an evaluation compares agents under, and what their scores are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dispatchgym.agents.arena import Episode
from dispatchgym.envs.core.errors import EvaluationError, ParameterError
from dispatchgym.envs.core.simulation import check_choice
from dispatchgym.envs.job_shop.env import MODES
from dispatchgym.envs.job_shop.exact import lower_bound
from dispatchgym.envs.job_shop.interrupts import Interrupts

__all__ = ["Reference", "Setting", "environment_options", "find_reference", "find_settings"]


class Reference(NamedTuple):
    """What a makespan is compared with.

    Attributes:
        value: the number in the denominator of the gap, above 0.
        kind: ``optimum`` (proven), ``best_known``, or ``bound`` (no schedule is below it).
        lower: the best proven lower bound: a result below it cannot be true.
    """

    value: float
    kind: str
    lower: float


@dataclass(frozen=True)
class Setting:
    """A job-shop environment's settings.

    Attributes:
        mode: as the user named it: ``classic``, ``blocking`` or ``interrupting``.
        interrupts: machine shutdowns; None where machines never shut down.
        probability: shutdown probability of all episodes; None where machines never shut down
            or each episode draws a probability of its own.
        options: the other keyword arguments of the environment.
    """

    mode: str
    interrupts: Interrupts | None
    probability: float | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocking(self) -> bool:
        """Whether jobs hold their machine until the next one is free."""
        return self.mode != "classic"

    @property
    def swap(self) -> bool:
        """Whether jobs may change places."""
        return bool(self.options.get("swap", True))

    def environment(self) -> dict[str, Any]:
        """Return the keyword arguments of the environment."""
        return {
            **self.options,
            "mode": "blocking" if self.blocking else "classic",
            "interrupts": self.interrupts,
        }

    def drawn(self, schedule: Mapping[str, Any]) -> Setting:
        """Return the setting of one episode, with the probability that was drawn for it."""
        if self.interrupts is None or self.probability is not None:
            return self
        probability = float(schedule["interrupt_probability"])
        interrupts = replace(self.interrupts, probability=probability)
        return replace(self, interrupts=interrupts, probability=probability)


def environment_options(
    env: Mapping[str, Any], mode: str | None = None, *, interrupted: bool = False
) -> dict[str, Any]:
    """Return the keyword arguments of the environment from its composed configuration.

    Args:
        env: the ``env`` group: ``name``, ``scenario`` and keyword arguments.
        mode: replaces the mode of the group.
        interrupted: machines shut down whatever the mode.
    """
    options = {key: value for key, value in env.items() if key not in ("name", "scenario")}
    options["mode"] = mode or options["mode"]
    if options["mode"] != "interrupting" and not interrupted:
        options["interrupts"] = None
    return options


def find_settings(
    options: Mapping[str, Any] | None = None, probabilities: Sequence[float] | None = None
) -> list[Setting]:
    """Return the settings to compare agents under: one for each shutdown probability.

    Args:
        options: keyword arguments of the environment.
        probabilities: shutdown probabilities, each in [0, 1); not given: those of `options`.

    Raises:
        ParameterError: probabilities are given and machines never shut down, or one is out of
            range.
    """
    rest = dict(options or {})
    mode = rest.pop("mode", "classic")
    check_choice("mode", mode, MODES)
    given = rest.pop("interrupts", None)
    interrupts = (
        Interrupts() if given is None and mode == "interrupting" else Interrupts.make(given)
    )
    if mode == "blocking" and interrupts.kind != "none":
        mode = "interrupting"
    if interrupts.kind == "none":
        if probabilities is not None:
            raise ParameterError(
                f"probabilities: machines never shut down in mode={mode}; "
                "expected mode=interrupting, or env.interrupts to be set"
            )
        return [Setting(mode, None, None, rest)]
    if probabilities is None:
        several = len(interrupts.probabilities) > 1
        probability = None if several else interrupts.probabilities[0]
        return [_setting(mode, interrupts, probability, rest)]
    if not probabilities:
        raise ParameterError("probabilities: found an empty list, expected at least one number")
    return [
        _setting(mode, replace(interrupts, probability=q), float(q), rest) for q in probabilities
    ]


def _setting(
    mode: str, interrupts: Interrupts, probability: float | None, rest: dict[str, Any]
) -> Setting:
    # Without shutdowns the problem is the undisturbed one, whose best values are known.
    return Setting(mode, None if probability == 0 else interrupts, probability, rest)


def find_reference(
    setting: Setting, instance: Any, seed: int, exact: Episode | None = None
) -> Reference:
    """Return what the makespan of an episode is measured against.

    Args:
        setting: the setting of the episode.
        instance: the job-shop instance.
        seed: episode seed, which fixes the shutdowns.
        exact: result of the exact solver for the same episode.

    Returns:
        Undisturbed: the proven or best known makespan of the literature or of the solver, else
        the best lower bound. With shutdowns: the best lower bound of the episode in hindsight.

    Raises:
        EvaluationError: a proven bound exceeds a makespan that was reached.
    """
    kinds = ("classic", "blocking") if setting.blocking else ("classic",)
    known = [instance.bounds[kind] for kind in kinds if kind in instance.bounds]
    lower = float(
        lower_bound(
            instance,
            mode="blocking" if setting.blocking else "classic",
            interrupts=setting.interrupts,
            seed=seed,
        )
    )
    lower = max([lower, *(float(bounds.lower) for bounds in known)])
    if exact is not None and exact.bound > lower:
        lower = exact.bound
    best = _best_makespan(setting, instance, kinds[-1], exact, lower)
    if best is None:
        return Reference(lower, "bound", lower)
    if best < lower:
        raise EvaluationError(
            f"{instance.name}, {setting.mode}: makespan {best:g} was reached, "
            f"yet {lower:g} is a proven lower bound"
        )
    return Reference(best, "optimum" if best <= lower else "best_known", lower)


def _best_makespan(
    setting: Setting, instance: Any, kind: str, exact: Episode | None, lower: float
) -> float | None:
    """Return the best makespan known for an undisturbed instance, None where there is none."""
    if setting.interrupts is not None:
        return None
    found = []
    if kind in instance.bounds and setting.swap:
        found.append(float(instance.bounds[kind].upper))
    if exact is not None and exact.status == "finished" and (found or exact.objective <= lower):
        found.append(exact.objective)
    return min(found, default=None)
