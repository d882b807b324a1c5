"""Means, comparisons, tables and files from rows made by hand: nothing is played here."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from dispatchgym.agents.evaluation import EvaluationResult, Row
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.base import Column, Measure
from dispatchgym.agents.summary import ALL_GROUPS, ALL_INSTANCES
from dispatchgym.envs.core.errors import DispatchGymError

NAN = float("nan")


def row(agent, instance, objective, *, seed=0, group="la 10x5", probability=None, reference=100.0):
    valid = math.isfinite(objective)
    return Row(
        agent=agent,
        scenario="la",
        instance=instance,
        group=group,
        seed=seed,
        setting={
            "mode": "blocking" if probability is None else "interrupting",
            "probability": probability,
        },
        objective=objective,
        reference=reference,
        reference_kind="optimum" if probability is None else "bound",
        gap=objective / reference - 1.0,
        valid=valid,
        status="finished" if valid else "deadlock",
        seconds=0.5,
        decision_ms_p50=1.0,
        decision_ms_p99=2.0,
    )


def result_of(rows, rules=("spt", "mwkr"), levels=(None,)):
    names = {r.instance: r.group for r in rows}
    times = {(r.agent, r.instance): [1.0, 2.0, 3.0] for r in rows}
    return EvaluationResult(
        find_problem("job_shop"),
        Measure("makespan"),
        tuple(rules),
        label=rows[0].setting["mode"] if rows else "classic",
        levels=levels,
        groups=names,
        rows=list(rows),
        times=times,
        complete=True,
    )


@pytest.fixture
def two_groups():
    """Three instances of one size and one of another, two rules and an agent."""
    rows = []
    for agent, makespans in {
        "spt": [120.0, 130.0, 140.0, 210.0],
        "mwkr": [110.0, 140.0, 150.0, 200.0],
        "ppo": [100.0, 120.0, 130.0, 190.0],
    }.items():
        for place, makespan in enumerate(makespans):
            group = "la 10x5" if place < 3 else "la 15x5"
            rows.append(row(agent, f"la0{place}", makespan, group=group))
    return result_of(rows)


def test_means_over_instances_and_over_groups(two_groups):
    summary = two_groups.summary()
    assert summary.groups == ("la 10x5", "la 15x5")
    assert summary.line("spt", "la 10x5").objective == pytest.approx(130.0)
    assert summary.line("spt", ALL_INSTANCES).objective == pytest.approx(600.0 / 4)
    assert summary.line("spt", ALL_GROUPS).objective == pytest.approx((130.0 + 210.0) / 2)
    assert summary.line("spt", ALL_INSTANCES).gap == pytest.approx(0.5)
    assert summary.line("spt", "la 15x5").decision_ms_p50 == pytest.approx(2.0)


def test_compared_with_the_best_rule_of_the_group(two_groups):
    summary = two_groups.summary()
    assert summary.line("ppo", "la 10x5").versus == "spt"
    assert summary.line("ppo", "la 15x5").versus == "mwkr"
    assert summary.line("spt", "la 10x5").versus is None
    line = summary.line("ppo", "la 10x5")
    assert line.difference == pytest.approx(350 / 390 - 1)
    assert line.low < line.difference < line.high < 0 and line.significant
    assert math.isnan(summary.line("ppo", "la 15x5").low)  # a single instance has no interval
    assert summary.best_rule(two_groups.rules, ALL_INSTANCES).agent in ("spt", "mwkr")


def test_only_common_episodes_are_compared():
    rows = [row("spt", "a", 100.0), row("spt", "b", NAN), row("spt", "c", 300.0)]
    rows += [row("ppo", "a", 90.0), row("ppo", "b", 1.0), row("ppo", "c", 270.0)]
    summary = result_of(rows, rules=("spt",)).summary()
    line = summary.line("ppo", ALL_INSTANCES)
    assert line.difference == pytest.approx(-0.1)
    assert (line.rows, line.valid) == (3, 3)
    spt = summary.line("spt", ALL_INSTANCES)
    assert (spt.rows, spt.valid, spt.objective) == (3, 2, 200.0)


def test_rule_with_fewer_valid_schedules_is_not_the_best():
    rows = [row("spt", "a", 10.0), row("spt", "b", NAN)]
    rows += [row("mwkr", "a", 100.0), row("mwkr", "b", 100.0)]
    assert result_of(rows).summary().line("spt", ALL_INSTANCES).versus == "mwkr"


def test_seeds_of_an_instance_are_one_unit_unless_there_is_only_one():
    def rows_of(instances):
        found = []
        for place, name in enumerate(instances):
            for seed in range(4):
                base = 100.0 + 10 * place + 3 * seed
                found.append(row("spt", name, base, seed=seed, probability=0.1))
                better = base - 5 * (1 + place) - seed
                found.append(row("ppo", name, better, seed=seed, probability=0.1))
        return found

    one = result_of(rows_of(["a"]), rules=("spt",)).summary().line("ppo", ALL_INSTANCES)
    assert one.low < one.difference < one.high  # seeds are the units
    two = result_of(rows_of(["a", "b"]), rules=("spt",)).summary().line("ppo", ALL_INSTANCES)
    low = (4 * 5 + 6) / (400 + 18)
    high = (4 * 10 + 6) / (440 + 18)
    assert two.low == pytest.approx(-high) and two.high == pytest.approx(-low)


def test_the_same_episode_again_gives_no_interval():
    rows = [row(a, "la01", m, seed=s) for a, m in (("spt", 90.0), ("ppo", 80.0)) for s in range(5)]
    line = result_of(rows, rules=("spt",)).summary().line("ppo", ALL_INSTANCES)
    assert line.difference == pytest.approx(80 / 90 - 1)
    assert math.isnan(line.low)


def test_without_rules_the_first_agent_is_the_baseline():
    rows = [row(a, i, m) for a, m in (("ppo", 90.0), ("exact", 80.0)) for i in ("a", "b")]
    summary = result_of(rows, rules=()).summary()
    assert summary.line("exact", ALL_INSTANCES).versus == "ppo"
    assert summary.line("ppo", ALL_INSTANCES).versus is None


def test_a_single_agent_is_compared_with_nobody():
    summary = result_of([row("spt", "a", 90.0)]).summary()
    assert summary.line("spt", ALL_INSTANCES).versus is None


@pytest.fixture
def profits():
    """Two rules and an agent where more is better: 100, 150 and 200 are possible."""
    rows = []
    for agent, made in {
        "spt": [50.0, 60.0, 70.0],
        "mwkr": [40.0, 90.0, 80.0],
        "ppo": [80.0] * 3,
    }.items():
        for place, profit in enumerate(made):
            reference = 100.0 + 50.0 * place
            found = row(agent, f"la0{place}", profit, reference=reference)
            rows.append(replace(found, gap=1.0 - profit / reference))
    found = result_of(rows)
    found.measure = Measure("profit", more_is_better=True)
    return found


def test_more_can_be_better(profits):
    summary = profits.summary()
    assert summary.best_rule(profits.rules, "la 10x5").agent == "mwkr"
    line = summary.line("ppo", ALL_INSTANCES)
    assert line.versus == "mwkr"
    assert line.difference == pytest.approx(240 / 210 - 1)
    assert line.gap == pytest.approx((0.2 + (1 - 80 / 150) + 0.6) / 3)
    text = profits.table()
    assert "gap = 1 - profit / reference" in text
    order = [text.index(f"\n{agent} ") for agent in ("ppo", "mwkr", "spt")]
    assert order == sorted(order)


def test_a_difference_to_nothing_or_to_a_loss_is_left_out():
    rows = [row(a, i, m) for a, m in (("spt", 0.0), ("mwkr", 5.0)) for i in ("a", "b")]
    line = result_of(rows).summary().line("mwkr", ALL_INSTANCES)
    assert line.versus == "spt" and math.isnan(line.difference)
    assert "mwkr" in result_of(rows).table()


def test_further_columns_are_means_of_details(monkeypatch):
    columns = (Column("moves", "migrations", 1), Column("s", "seconds", 3))
    monkeypatch.setattr(type(find_problem("job_shop")), "columns", columns)
    rows = [replace(row("spt", i, 9.0), details={"migrations": m}) for i, m in (("a", 3), ("b", 4))]
    rows.append(row("mwkr", "a", NAN))
    result = result_of(rows)
    assert result.summary().line("spt", ALL_INSTANCES).details == {
        "seconds": 0.5,
        "migrations": 3.5,
    }
    heading, _, spt = result.table().splitlines()[1:4]
    assert heading.split()[-6:] == ["moves", "s", "ms", "p50", "p99", "valid"]
    assert " 3.5 " in spt and "0.500" in spt
    assert "migrations" not in result.rows[-1].flat() and result.rows[0].flat()["migrations"] == 3


def many_rows(agents, groups, probabilities=(None,)):
    return [
        row(agent, f"{group}-{place}", 1000.0 + 10 * a + place, group=group, probability=q)
        for q in probabilities
        for a, agent in enumerate(agents)
        for group in groups
        for place in range(2)
    ]


LONG = ["spt", "fdd_mwkr", "runs/default/2026-11-21_10-11-12/best", "job_shop/ppo+best_of_128"]
SIZES = [f"ta {n}x{m}" for n in (15, 20, 30, 50, 100) for m in (15, 20)]


@pytest.mark.parametrize("agents", [["spt"], ["spt", "ppo"], LONG])
@pytest.mark.parametrize("groups", [["random_5-15x5-10"], SIZES[:2], SIZES])
def test_no_line_is_wider_than_80_columns_and_no_cell_is_cut(agents, groups):
    text = result_of(many_rows(agents, groups), rules=("spt", "fdd_mwkr")).table()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for agent in agents:
        assert agent[-10:] in text


@pytest.mark.parametrize("agents", [["spt"], LONG])
def test_several_probabilities_fit_80_columns(agents):
    q = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
    text = result_of(many_rows(agents, SIZES, q), ("spt", "fdd_mwkr"), levels=q).table()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for value in q:
        assert f"q={value:g}" in text
    assert "of the best rule by group" in text


def test_the_table_says_what_it_shows(two_groups):
    text = two_groups.table()
    assert "Mean makespan, blocking, la: 4 instances" in text
    assert "-10.3*" in text  # ppo against spt on the three instances of 10x5
    assert "a proven optimum (12 rows)" in text
    lines = [line.split() for line in text.splitlines()]
    assert lines[2 + 1][0] == "ppo"  # title, heading, rule, then the best agent


def test_unfinished_episodes_are_told():
    text = result_of([row("spt", "a", NAN), row("mwkr", "a", 120.0)]).table()
    assert "0/1" in text
    assert "left out of the means: 1 rows" in text


def test_no_rows_no_table():
    assert "No episode" in result_of([]).table()


ROW_NAMES = {
    "agent", "scenario", "instance", "seed", "objective", "reference", "reference_kind", "gap",
    "valid", "seconds", "decision_ms_p50", "decision_ms_p99",
}  # fmt: skip


def test_json_file(two_groups, tmp_path):
    two_groups.rows.append(row("spt", "la09", NAN, group="la 15x5"))
    two_groups.groups["la09"] = "la 15x5"
    path = tmp_path / "new" / "folder" / "result.json"
    two_groups.write(path, command="a command")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads(path.read_text(), parse_constant=refuse)
    assert set(document) == {"meta", "rows", "summary"}
    meta = document["meta"]
    assert meta["command"] == "a command"
    assert set(meta) >= {"command", "versions", "git", "machine", "date"}
    assert meta["versions"]["dispatchgym"] and meta["versions"]["numpy"]
    assert meta["complete"] is True
    assert len(document["rows"]) == 13
    for found in document["rows"]:
        assert set(found) >= ROW_NAMES
    assert document["rows"][0]["gap"] == pytest.approx(0.2)
    last = document["rows"][-1]
    assert (last["objective"], last["gap"], last["valid"]) == (None, None, False)
    assert list(path.parent.iterdir()) == [path]  # no draft is left behind


def test_csv_file(two_groups, tmp_path):
    path = tmp_path / "result.csv"
    two_groups.write(path)
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == 12
    assert set(rows[0]) >= ROW_NAMES
    assert (rows[0]["agent"], float(rows[0]["objective"]), rows[0]["probability"]) == (
        "spt",
        120.0,
        "",
    )


def test_unwritable_path_is_a_clear_error(two_groups, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(DispatchGymError, match="cannot be written"):
        two_groups.write(blocker / "result.json")


def test_pictures_are_drawn(two_groups, tmp_path):
    from dispatchgym.agents.pictures import draw

    assert draw(two_groups, tmp_path) == [tmp_path / "agents.png"]
    assert (tmp_path / "agents.png").read_bytes().startswith(b"\x89PNG")
