"""What the rows of an evaluation with several objectives say: means, fronts, hypervolumes.

An agent's front is the set of its mean objectives, one point for each preference, all over the
same episodes. Its hypervolume is the share of a box that the front dominates: the box reaches from
an ideal that nothing can beat to a reference point that is published with the problem. Intervals
are bootstraps over episodes: each resample draws episodes, takes the means of every agent and
preference over them, and measures the fronts anew; so ratios stay paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.pareto import (
    clip,
    expected_utility,
    hypervolume,
    non_dominated,
    normalise,
    sparsity,
)
from dispatchgym.agents.statistics import ends, paired_difference, resampled_means
from dispatchgym.envs.core.errors import ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import EvaluationResult, Row
    from dispatchgym.agents.problems.base import VectorMeasure

__all__ = ["ALL_GROUPS", "Box", "FrontLine", "FrontSummary", "MeanLine", "summarise_fronts"]

ALL_GROUPS = "mean over groups"
SAMPLES = 2000
"""Resamples of a hypervolume; its interval is stable to a hundredth of its width."""
NAN = float("nan")

FloatArray = NDArray[np.float64]
Preference = tuple[float, ...] | None


class Box(NamedTuple):
    """What hypervolumes of a group are measured in.

    Attributes:
        ideal: objectives (K,) that no agent can beat.
        reference: objectives (K,): points that are not better in each contribute nothing.
    """

    ideal: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True)
class MeanLine:
    """An agent's means with one preference on one group.

    Attributes:
        agent: name of the agent.
        group: name of the group.
        preference: weights of the objectives; None where the environment draws them.
        rows: number of episodes.
        valid: number of those with a complete, valid schedule; the means are over these.
        objective: means of the objectives.
        versus: the agent it is compared with, None for that agent itself.
        differences: for each objective the mean over that of `versus`, minus 1, on common
            episodes, and the ends of its 95 % bootstrap interval; nan where that is not above 0.
        decision_ms_p50: median time of a decision in milliseconds.
        decision_ms_p99: 99th percentile of the same.
        details: mean wall time of an episode (``seconds``) and means of the rows' details.
    """

    agent: str
    group: str
    preference: Preference
    rows: int
    valid: int
    objective: tuple[float, ...]
    versus: str | None = None
    differences: tuple[tuple[float, float, float], ...] = ()
    decision_ms_p50: float = NAN
    decision_ms_p99: float = NAN
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FrontLine:
    """An agent's front on one group, or the mean over groups.

    Attributes:
        agent: name of the agent.
        group: name of the group, or `ALL_GROUPS`.
        episodes: number of episodes behind each point.
        hypervolume: share of the box that the front dominates.
        versus: the agent it is compared with, None for that agent itself.
        ratio: hypervolume over that of `versus`; over all groups, the ratio of the means.
        low: lower end of the ratio's 95 % bootstrap interval.
        high: upper end.
        points: number of non-dominated points inside the box.
        utility: mean over the preferences of the least weighted cost on the front, where the box
            is the unit square; less is better.
        sparsity: mean squared distance of neighbours on the front, in the unit square.
    """

    agent: str
    group: str
    episodes: int
    hypervolume: float
    versus: str | None = None
    ratio: float = NAN
    low: float = NAN
    high: float = NAN
    points: float = NAN
    utility: float = NAN
    sparsity: float = NAN

    @property
    def significant(self) -> bool:
        """Whether the interval excludes one."""
        return self.low > 1 or self.high < 1


@dataclass(frozen=True)
class FrontSummary:
    """All lines of an evaluation with several objectives.

    Attributes:
        measure: what the objectives are.
        lines: means by group, then preference, then agent in the order they were asked for.
        fronts: by group, then agent; last the means over groups, where there are several. Empty
            with fewer than two preferences.
        agents: their names.
        groups: names of the groups.
        preferences: those that were asked for; (None,) where the environment draws them.
        boxes: by group.
    """

    measure: VectorMeasure
    lines: tuple[MeanLine, ...]
    fronts: tuple[FrontLine, ...]
    agents: tuple[str, ...]
    groups: tuple[str, ...]
    preferences: tuple[Preference, ...]
    boxes: Mapping[str, Box]

    def line(self, agent: str, group: str, preference: Preference) -> MeanLine:
        """Return the line of means.

        Raises:
            KeyError: there is none.
        """
        for line in self.lines:
            if (line.agent, line.group, line.preference) == (agent, group, preference):
                return line
        raise KeyError((agent, group, preference))

    def front(self, agent: str, group: str) -> FrontLine:
        """Return the line of a front.

        Raises:
            KeyError: there is none.
        """
        for line in self.fronts:
            if (line.agent, line.group) == (agent, group):
                return line
        raise KeyError((agent, group))

    def points(self, agent: str, group: str) -> FloatArray:
        """Return an agent's mean objectives (P, K), in the order of the preferences."""
        found = [self.line(agent, group, preference) for preference in self.preferences]
        return np.array([line.objective for line in found])

    @property
    def rival(self) -> str | None:
        """Whom the fronts are compared with; None where it is not the same for all groups."""
        found = {line.versus for line in self.fronts if line.versus}
        return found.pop() if len(found) == 1 else None


def summarise_fronts(result: EvaluationResult) -> FrontSummary:
    """Condense the rows of an evaluation with several objectives.

    Raises:
        ParameterError: there is one objective only.
    """
    from dispatchgym.agents.problems.base import VectorMeasure

    if not isinstance(result.measure, VectorMeasure):
        raise ParameterError("fronts: found one objective, expected several")
    agents = tuple(dict.fromkeys(row.agent for row in result.rows))
    groups = tuple(dict.fromkeys(row.group for row in result.rows))
    preferences: tuple[Preference, ...] = result.preferences or (None,)
    cells = _cells(result)
    lines = [
        line
        for group in groups
        for preference in preferences
        for line in _mean_lines(result, cells, agents, group, preference)
    ]
    fronts: list[FrontLine] = []
    if len(preferences) > 1:
        found = [_Fronts(result, cells, agents, group, preferences) for group in groups]
        fronts = [line for item in found for line in item.lines()]
        if len(groups) > 1:
            fronts += _over_groups(result, agents, found)
    return FrontSummary(
        result.measure, tuple(lines), tuple(fronts), agents, groups, preferences, result.boxes
    )


# --- Rows ------------------------------------------------------------------------------------

Cells = Mapping[tuple[str, str, Preference], "list[Row]"]
"""Rows of an agent, a group and a preference."""
Unit = tuple[str, str, int]
"""Scenario, instance and seed: what agents are compared on."""


def _cells(result: EvaluationResult) -> Cells:
    cells: dict[tuple[str, str, Preference], list[Row]] = {}
    for row in result.rows:
        preference = tuple(row.setting["preference"]) if result.preferences else None
        cells.setdefault((row.agent, row.group, preference), []).append(row)
    return cells


def _units(rows: Iterable[Row]) -> dict[Unit, Sequence[float]]:
    return {(row.scenario, row.instance, row.seed): row.objective for row in rows if row.valid}


# --- Means -----------------------------------------------------------------------------------


def _mean_lines(
    result: EvaluationResult,
    cells: Cells,
    agents: Sequence[str],
    group: str,
    preference: Preference,
) -> list[MeanLine]:
    found = [
        _mean_line(result, agent, group, preference, cells[agent, group, preference])
        for agent in agents
        if (agent, group, preference) in cells
    ]
    rival = _rival(result, {line.agent: _worth(result, line) for line in found})
    if rival is None:
        return found
    theirs = _units(cells[rival, group, preference])
    return [
        line
        if line.agent == rival
        else _compared(line, rival, _units(cells[line.agent, group, preference]), theirs)
        for line in found
    ]


def _mean_line(
    result: EvaluationResult, agent: str, group: str, preference: Preference, rows: list[Row]
) -> MeanLine:
    valid = [row for row in rows if row.valid]
    times = [
        ms
        for (name, scenario), found in result.times.items()
        if name == agent and result.groups[scenario] == group
        for ms in found
    ] or [1000.0 * row.seconds for row in rows]
    p50, p99 = np.percentile(times, [50, 99])
    objectives = len(result.measure.parts)
    mean = np.mean([row.objective for row in valid], axis=0) if valid else [NAN] * objectives
    details = {"seconds": float(np.mean([row.seconds for row in rows]))}
    for name in dict.fromkeys(name for row in valid for name in row.details):
        details[name] = float(np.mean([row.details[name] for row in valid]))
    return MeanLine(
        agent,
        group,
        preference,
        rows=len(rows),
        valid=len(valid),
        objective=tuple(float(value) for value in mean),
        decision_ms_p50=float(p50),
        decision_ms_p99=float(p99),
        details=details,
    )


def _worth(result: EvaluationResult, line: MeanLine) -> float:
    """Return what the best rule has most of: the first objective where only one weighs."""
    costs = result.measure.costs(line.objective)
    weights = line.preference or [1.0 / len(costs)] * len(costs)
    return -float(np.dot(weights, costs))


def _compared(
    line: MeanLine,
    rival: str,
    mine: Mapping[Unit, Sequence[float]],
    theirs: Mapping[Unit, Sequence[float]],
) -> MeanLine:
    common = [unit for unit in mine if unit in theirs]
    one = np.array([mine[unit] for unit in common]).reshape(len(common), -1)
    other = np.array([theirs[unit] for unit in common]).reshape(len(common), -1)
    differences = []
    for k in range(one.shape[1]):
        found = (NAN, NAN, NAN)
        if other[:, k].sum() > 0:
            found = paired_difference(one[:, k], other[:, k])[:3]
        differences.append(found)
    values = {**line.__dict__, "versus": rival, "differences": tuple(differences)}
    return MeanLine(**values)


def _rival(result: EvaluationResult, worth: Mapping[str, float]) -> str | None:
    """Return whom all others are compared with: who was asked for, or the best rule."""
    if len(worth) < 2:
        return None
    if result.against is not None:
        return result.against if result.against in worth else None
    rules = {agent: value for agent, value in worth.items() if agent in result.rules}
    best = {agent: value for agent, value in rules.items() if not np.isnan(value)}
    return max(best, key=lambda agent: best[agent]) if best else next(iter(worth))


# --- Fronts ----------------------------------------------------------------------------------


class _Fronts:
    """The fronts of all agents on one group, measured in its box."""

    def __init__(
        self,
        result: EvaluationResult,
        cells: Cells,
        agents: Sequence[str],
        group: str,
        preferences: Sequence[Preference],
    ) -> None:
        self.result, self.group, self.preferences = result, group, preferences
        by_agent = {
            agent: [_units(cells.get((agent, group, item), ())) for item in preferences]
            for agent in agents
        }
        # Means are over the episodes that everybody has finished with every preference.
        common = [
            unit
            for unit in by_agent[agents[0]][0]
            if all(unit in units for found in by_agent.values() for units in found)
        ]
        self.episodes = len(common)
        self.costs: dict[str, FloatArray] = {}
        self.draws: dict[str, FloatArray] = {}
        if not common:
            return
        for agent, found in by_agent.items():
            values = np.array([[units[unit] for units in found] for unit in common])
            costs = self._in_box(values)
            self.costs[agent] = costs.mean(axis=0)
            self.draws[agent] = hypervolume(resampled_means(costs, samples=SAMPLES), (1.0, 1.0))

    def _in_box(self, values: FloatArray) -> FloatArray:
        measure, box = self.result.measure, self.result.boxes[self.group]
        return normalise(
            measure.costs(values), measure.costs(box.ideal), measure.costs(box.reference)
        )

    def hypervolume(self, agent: str) -> float:
        """Return the share of the box that an agent's front dominates."""
        return float(hypervolume(self.costs[agent], (1.0, 1.0)))

    def lines(self) -> list[FrontLine]:
        """Return a line for each agent."""
        worth = {agent: self.hypervolume(agent) for agent in self.costs}
        rival = _rival(self.result, worth)
        return [self._line(agent, rival) for agent in worth]

    def _line(self, agent: str, rival: str | None) -> FrontLine:
        costs = self.costs[agent]
        front = clip(costs, (1.0, 1.0))
        kept = costs[non_dominated(costs)]
        versus = None if agent == rival else rival
        return FrontLine(
            agent,
            self.group,
            self.episodes,
            self.hypervolume(agent),
            versus,
            *_ratio([self], agent, versus),
            points=len(front),
            utility=expected_utility(kept, np.array(self.preferences)),
            sparsity=sparsity(front),
        )


def _ratio(groups: Sequence[_Fronts], agent: str, versus: str | None) -> tuple[float, float, float]:
    """Return the ratio of the mean hypervolumes of two agents and the ends of its interval."""
    if versus is None:
        return NAN, NAN, NAN
    mine = np.mean([group.hypervolume(agent) for group in groups])
    theirs = np.mean([group.hypervolume(versus) for group in groups])
    if not theirs > 0:
        return NAN, NAN, NAN
    # The same seeds are drawn again in every group.
    draws = np.mean([group.draws[agent] for group in groups], axis=0)
    below = np.mean([group.draws[versus] for group in groups], axis=0)
    spread = np.divide(draws, below, out=np.zeros_like(below), where=below > 0)
    low, high = ends(spread, min(group.episodes for group in groups))
    return float(mine / theirs), low, high


def _over_groups(
    result: EvaluationResult, agents: Sequence[str], groups: Sequence[_Fronts]
) -> list[FrontLine]:
    measured = [group for group in groups if group.episodes]
    if not measured:
        return []
    worth = {
        agent: float(np.mean([group.hypervolume(agent) for group in measured])) for agent in agents
    }
    rival = _rival(result, worth)
    episodes = sum(group.episodes for group in measured)
    lines = []
    for agent in agents:
        versus = None if agent == rival else rival
        ratio = _ratio(measured, agent, versus)
        lines.append(FrontLine(agent, ALL_GROUPS, episodes, worth[agent], versus, *ratio))
    return lines
