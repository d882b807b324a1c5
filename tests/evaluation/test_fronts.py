"""Summaries and tables of evaluations with several objectives, from rows made by hand."""

import json
import math

import numpy as np
import pytest

from dispatchgym.agents.evaluation import EvaluationResult, Row
from dispatchgym.agents.fronts import ALL_GROUPS, Box, summarise_fronts
from dispatchgym.agents.preferences import PreferenceSetting, equally_spaced, preference_settings
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.base import Measure, VectorMeasure
from dispatchgym.envs.core.errors import ParameterError

COSTS = VectorMeasure((Measure("delay in s"), Measure("energy in J", 3)))
BOX = Box((0.0, 0.0), (10.0, 10.0))
ENDS = ((0.0, 1.0), (1.0, 0.0))


def row(agent, seed, preference, objective, group="a", valid=True):
    return Row(
        agent=agent,
        scenario=group,
        instance=f"{group}-{seed}",
        group=group,
        seed=seed,
        setting={"preference": preference},
        objective=objective,
        reference=(0.0, 0.0),
        reference_kind="bound",
        gap=math.nan,
        valid=valid,
        status="finished" if valid else "truncated",
        seconds=0.001,
        decision_ms_p50=0.1,
        decision_ms_p99=0.2,
        details={"tasks": 3.0},
    )


def result_of(rows, preferences=ENDS, measure=COSTS, **fields):
    groups = {item.group: item.group for item in rows}
    return EvaluationResult(
        find_problem("edge_offloading"),
        measure,
        groups=groups,
        preferences=preferences,
        boxes=dict.fromkeys(groups, BOX),
        rows=rows,
        complete=True,
        **fields,
    )


def two_agents(seeds=40, better=1.0, group="a"):
    """Agent x has the front {(8, 2), (2, 8)}, agent y costs that are `better` lower."""
    noise = np.random.default_rng(0).normal(0, 0.3, size=(seeds, 2))
    noise -= noise.mean(axis=0)
    rows = []
    for seed in range(seeds):
        for preference, point in zip(ENDS, ((8.0, 2.0), (2.0, 8.0)), strict=True):
            for agent, lower in (("x", 0.0), ("y", better)):
                objective = tuple(np.array(point) - lower + noise[seed])
                rows.append(row(agent, seed, preference, objective, group))
    return rows


def test_hypervolumes_are_those_of_the_means():
    summary = summarise_fronts(result_of(two_agents(), against="x"))
    # (1 - 0.8) * (1 - 0.2) twice, less what both cover
    assert summary.front("x", "a").hypervolume == pytest.approx(0.16 + 0.16 - 0.04)
    expected = 0.3 * 0.9 * 2 - 0.3 * 0.3
    line = summary.front("y", "a")
    assert line.hypervolume == pytest.approx(expected)
    assert line.ratio == pytest.approx(expected / 0.28)
    assert line.points == 2
    assert line.episodes == 40
    assert line.utility == pytest.approx(0.1)
    np.testing.assert_allclose(summary.points("y", "a"), [[7, 1], [1, 7]])


def test_the_interval_of_a_ratio_is_paired():
    """Both agents share the noise of an episode: their ratio is far more certain than each."""
    summary = summarise_fronts(result_of(two_agents(better=0.5), against="x"))
    line = summary.front("y", "a")
    assert line.low < line.ratio < line.high
    assert line.significant
    # The same episodes for both: the noise of 0.3 / sqrt(40) moves both hypervolumes alike.
    assert line.high - line.low < 0.1
    broken = [
        item
        if item.agent == "x"
        else row("y", (item.seed + 7) % 40, item.setting["preference"], item.objective)
        for item in two_agents(better=0.5)
    ]
    apart = summarise_fronts(result_of(broken, against="x")).front("y", "a")
    assert apart.ratio == pytest.approx(line.ratio)
    assert apart.high - apart.low > 1.3 * (line.high - line.low)


def test_the_mean_over_groups():
    rows = two_agents(better=1.0) + two_agents(better=2.0, group="b")
    summary = summarise_fronts(result_of(rows, against="x"))
    assert summary.groups == ("a", "b")
    found = summary.front("y", ALL_GROUPS)
    apart = [summary.front("y", group) for group in "ab"]
    assert found.hypervolume == pytest.approx(np.mean([line.hypervolume for line in apart]))
    assert found.ratio == pytest.approx(found.hypervolume / 0.28)
    assert min(x.low for x in apart) < found.low < found.ratio < found.high
    assert found.episodes == 80


def test_only_common_episodes_count():
    rows = two_agents()
    broken = [
        row(r.agent, r.seed, r.setting["preference"], (99.0, 99.0), valid=False)
        if r.agent == "y" and r.seed == 3 and r.setting["preference"] == ENDS[0]
        else r
        for r in rows
    ]
    summary = summarise_fronts(result_of(broken, against="x"))
    assert summary.front("x", "a").episodes == 39
    line = summary.line("y", "a", ENDS[0])
    assert (line.rows, line.valid) == (40, 39)
    assert line.objective[0] < 9


def test_what_is_better_when_larger_counts_the_other_way():
    measure = VectorMeasure((Measure("utility", more_is_better=True), Measure("energy")))
    rows = [row("x", seed, w, (6.0, 5.0)) for seed in range(3) for w in ENDS]
    result = result_of(rows, measure=measure)
    result.boxes = {"a": Box((10.0, 0.0), (0.0, 10.0))}
    assert summarise_fronts(result).front("x", "a").hypervolume == pytest.approx(0.6 * 0.5)
    with pytest.raises(ParameterError, match="every cost above the ideal"):
        result.boxes = {"a": Box((0.0, 0.0), (10.0, 10.0))}
        summarise_fronts(result)


def test_without_one_who_was_asked_for_the_best_rule_is_the_rival():
    summary = summarise_fronts(result_of(two_agents(), rules=("x", "y")))
    assert summary.front("x", "a").versus == "y"
    assert summary.front("y", "a").versus is None
    assert summary.rival == "y"


def test_one_preference_has_means_and_paired_differences():
    rows = [r for r in two_agents() if r.setting["preference"] == ENDS[0]]
    summary = summarise_fronts(result_of(rows, preferences=ENDS[:1], against="x"))
    assert summary.fronts == ()
    line = summary.line("y", "a", ENDS[0])
    assert line.objective == pytest.approx((7.0, 1.0))
    (delay, low, high), energy = line.differences
    assert delay == pytest.approx(7 / 8 - 1)
    assert low < delay < high
    assert energy[0] == pytest.approx(-0.5)
    assert line.details["tasks"] == 3


def test_drawn_preferences_are_taken_together():
    rows = [row("x", 0, (0.2, 0.8), (1.0, 2.0)), row("x", 1, (0.9, 0.1), (3.0, 4.0))]
    summary = summarise_fronts(result_of(rows, preferences=()))
    assert summary.preferences == (None,)
    assert summary.line("x", "a", None).objective == (2.0, 3.0)


def test_one_objective_has_no_fronts():
    result = result_of([row("x", 0, ENDS[0], (1.0, 2.0))])
    result.measure = Measure("delay")
    with pytest.raises(ParameterError, match="found one objective"):
        result.fronts()
    with pytest.raises(ParameterError, match="several objectives"):
        result_of([row("x", 0, ENDS[0], (1.0, 2.0))]).summary()


def test_tables_fit_the_terminal():
    rows = two_agents() + two_agents(better=2.0, group="b")
    many = [
        row(f"agent_with_a_long_name_{k}", s, w, (5.0 - 0.1 * k, 6.0))
        for k in range(3)
        for s in range(4)
        for w in ENDS
    ]
    for found in (rows, many):
        text = result_of(found).table()
        assert max(map(len, text.splitlines())) <= 80
        assert "Hypervolume" in text
    one = result_of(two_agents(), against="x").table()
    assert "0.280" in one
    assert "1.607" in one  # 0.45 / 0.28
    assert "w=0" in one
    assert "7.0 / 1.000" in one
    means = result_of([r for r in rows if r.setting["preference"] == ENDS[0]], ENDS[:1]).table()
    assert "Mean delay in s" in means
    assert max(map(len, means.splitlines())) <= 80
    assert "No episode was finished." in result_of([]).table()


def test_an_unfinished_evaluation_says_so():
    result = result_of(two_agents())
    result.complete = False
    assert "Stopped early" in result.table()


def test_the_file_holds_objectives_as_lists_and_no_gap(tmp_path):
    result_of(two_agents(seeds=3), against="x").write(tmp_path / "r.json", "command")
    found = json.loads((tmp_path / "r.json").read_text())
    first = found["rows"][0]
    assert len(first["objective"]) == 2
    assert first["gap"] is None
    assert first["preference"] == [0.0, 1.0]
    assert found["boxes"] == {"a": {"ideal": [0.0, 0.0], "reference": [10.0, 10.0]}}
    assert {line["agent"] for line in found["fronts"]} == {"x", "y"}
    assert len(found["summary"]) == 4
    result_of(two_agents(seeds=3)).write(tmp_path / "r.csv", "command")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 13


# --- preferences ---


def test_preferences_of_the_command():
    assert equally_spaced(3) == ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))
    (setting,) = preference_settings({"preference": (0.3, 0.7)}, 5)
    assert len(setting.preferences) == 5
    assert setting.label == "5 preferences"
    (setting,) = preference_settings({}, [0.25, [0.0, 1.0]])
    assert setting.preferences == ((0.25, 0.75), (0.0, 1.0))
    (setting,) = preference_settings({"preference": [0.3, 0.7]}, None)
    assert setting.preferences == ((0.3, 0.7),)
    assert setting.label == "preference 0.3/0.7"
    (setting,) = preference_settings({"preference": "grid"}, None)
    assert setting.preferences == ()
    assert setting.label == "preference grid"


@pytest.mark.parametrize("asked", [1, 0, "grid", [], [1.5], [[0.5, 0.6]], True, {"w": 1}])
def test_what_are_no_preferences_is_refused(asked):
    with pytest.raises(ParameterError, match="preference"):
        preference_settings({}, asked)


def test_the_setting_of_an_episode_has_its_own_preference():
    setting = PreferenceSetting({"scale": "paper"}, ENDS, ("scale",))
    drawn = setting.drawn({"preference": np.array([0.5, 0.5])})
    assert drawn.columns(None) == {"preference": (0.5, 0.5), "scale": "paper"}
