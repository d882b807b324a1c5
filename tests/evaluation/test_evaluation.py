"""Whole evaluations of the job shop, against published makespans and by every kind of agent."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from dispatchgym.agents.entrants import Effort, Search, find_entrants
from dispatchgym.agents.evaluation import Evaluation, evaluate
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.scenarios import find_scenarios
from dispatchgym.agents.summary import ALL_INSTANCES
from dispatchgym.envs.core.errors import (
    DispatchGymError,
    EvaluationError,
    ParameterError,
    ScenarioError,
)
from dispatchgym.envs.job_shop import Instance, Interrupts, make_instance

RULES = (
    "spt", "lpt", "mwkr", "lwkr", "mopnr", "lopnr", "fifo", "lifo", "fdd_mwkr", "spt_twk",
    "lpt_twk", "spt_rwk", "stpt", "ltpt", "lrm", "lso", "sso", "winq", "blkrel",
)  # fmt: skip

TAILLARD_GAPS = {
    "spt": (25.9, 32.8, 27.8, 35.3, 34.5, 24.1, 25.5, 14.4, 27.5),
    "fifo": (23.9, 31.4, 27.4, 31.2, 31.2, 20.7, 23.9, 13.6, 25.4),
    "mwkr": (19.2, 23.4, 21.8, 23.9, 25.2, 16.9, 17.9, 8.3, 19.6),
    "mopnr": (20.5, 23.6, 21.7, 22.8, 25.0, 17.4, 17.7, 9.2, 19.7),
    "fdd_mwkr": (17.7, 21.3, 19.9, 21.7, 24.1, 15.3, 16.3, 7.6, 18.0),
    "lrm": (19.5, 20.0, 17.7, 20.3, 23.8, 14.3, 15.2, 6.5, 17.2),
}
"""Classic, Taillard's instances: mean gap in % to the best known makespan of each size and of
all; from an independent prototype of the rules."""
TAILLARD_SIZES = ("15x15", "20x15", "20x20", "30x15", "30x20", "50x15", "50x20", "100x20")

INTERRUPTING_MEANS = {
    "spt": (2352, 2506, 2647, 2774, 2886),
    "lpt": (2410, 2565, 2698, 2825, 2943),
    "mwkr": (2328, 2486, 2624, 2743, 2859),
    "lwkr": (2325, 2475, 2605, 2729, 2852),
    "mopnr": (2376, 2519, 2658, 2786, 2901),
    "lopnr": (2303, 2457, 2580, 2706, 2804),
    "fifo": (2350, 2506, 2652, 2778, 2896),
    "lifo": (2314, 2457, 2596, 2712, 2816),
    "fdd_mwkr": (2390, 2543, 2685, 2811, 2929),
    "spt_twk": (2293, 2447, 2583, 2700, 2817),
    "lrm": (2312, 2471, 2610, 2727, 2847),
    "winq": (2395, 2523, 2656, 2775, 2889),
    "blkrel": (2232, 2379, 2520, 2631, 2744),
}
"""Interrupting, la01 to la40, seeds 0 to 19: mean makespan over eight sizes at each shutdown
probability; from the same prototype."""
PROBABILITIES = (0.0, 0.05, 0.1, 0.15, 0.2)

FT06 = {
    "classic": (
        88, 77, 61, 83, 59, 68, 65, 68, 67, 77, 67, 88, 83, 68, 60, 63, 68, 69, 61,
    ),
    "blocking": (
        79, 81, 75, 82, 75, 77, 75, 80, 73, 79, 81, 79, 80, 75, 75, 72, 82, 91, 72,
    ),
}  # fmt: skip
"""Makespan of each of RULES on ft06; from the same prototype."""


@pytest.mark.parametrize("mode", ["classic", "blocking"])
def test_every_rule_on_ft06(mode):
    result = evaluate("rules", "ft06", 1, options={"mode": mode}, progress=False)
    found = {row.agent: row.objective for row in result.rows}
    assert tuple(found[rule] for rule in RULES) == FT06[mode]
    best = {"classic": 55, "blocking": 63}[mode]
    assert {row.reference for row in result.rows} == {best}
    assert {row.reference_kind for row in result.rows} == {"optimum"}
    for row in result.rows:
        assert row.gap == pytest.approx(row.objective / best - 1)
        assert row.valid and row.status == "finished" and row.setting["mode"] == mode
        assert row.seconds > 0 and 0 < row.decision_ms_p50 <= row.decision_ms_p99
        assert (row.scenario, row.instance, row.group, row.seed) == ("ft06", "ft06", "ft 6x6", 0)
    assert result.complete


def test_rules_on_the_smallest_taillard_instances():
    result = evaluate(list(TAILLARD_GAPS), "ta_15x15", 1, progress=False)
    summary = result.summary()
    for rule, gaps in TAILLARD_GAPS.items():
        assert 100 * summary.line(rule, "ta 15x15").gap == pytest.approx(gaps[0], abs=0.1)
    assert "19.5" in result.table()


@pytest.mark.slow
def test_rules_on_all_taillard_instances():
    summary = evaluate("rules", "ta", 1, progress=False).summary()
    for rule, gaps in TAILLARD_GAPS.items():
        for size, gap in zip(TAILLARD_SIZES, gaps, strict=False):
            line = summary.line(rule, f"ta {size}")
            assert 100 * line.gap == pytest.approx(gap, abs=0.1), (rule, size)
        assert 100 * summary.line(rule, ALL_INSTANCES).gap == pytest.approx(gaps[-1], abs=0.1)


def test_rules_under_shutdowns_of_the_smallest_instances():
    result = evaluate(
        ["fdd_mwkr", "mwkr"],
        "la_10x5",
        20,
        options={"mode": "interrupting"},
        levels=[0.0, 0.1],
        progress=False,
    )
    summary = result.summary()
    assert round(summary.line("fdd_mwkr", "la 10x5", 0.0).objective) == 1023
    assert round(summary.line("fdd_mwkr", "la 10x5", 0.1).objective) == 1157
    assert {row.setting["probability"] for row in result.rows} == {0.0, 0.1}
    assert {row.setting["mode"] for row in result.rows} == {"interrupting"}
    assert {row.reference_kind for row in result.rows if row.setting["probability"] == 0.1} == {
        "bound"
    }
    assert {row.reference_kind for row in result.rows if row.setting["probability"] == 0.0} == {
        "optimum"
    }


@pytest.mark.slow
def test_rules_under_shutdowns_of_all_instances():
    result = evaluate(
        [*INTERRUPTING_MEANS],
        "la",
        20,
        options={"mode": "interrupting"},
        levels=PROBABILITIES,
        progress=False,
    )
    summary = result.summary()
    for rule, means in INTERRUPTING_MEANS.items():
        for q, mean in zip(PROBABILITIES, means, strict=True):
            by_size = [summary.line(rule, group, q).objective for group in summary.groups]
            assert round(float(np.mean(by_size))) == mean, (rule, q)
    assert round(summary.line("blkrel", "la 30x10", 0.1).objective) == 4718
    assert round(summary.line("spt_twk", "la 20x10", 0.2).objective) == 3541


def test_same_rows_whatever_is_played_beside():
    together = evaluate(["spt", "mwkr"], "random_6x4", [3, 8, 5], progress=False)
    alone = evaluate("mwkr", "random_6x4", [5], progress=False)
    (found,) = [row for row in together.rows if (row.agent, row.seed) == ("mwkr", 5)]
    (expected,) = alone.rows
    assert (found.instance, found.objective) == (expected.instance, expected.objective)
    assert len({row.instance for row in together.rows}) == 3
    assert {row.group for row in together.rows} == {"random_6x4"}


def test_more_seeds_than_lanes():
    from dispatchgym.agents import arena

    seeds = arena.MAX_LANES + 3
    result = evaluate("spt", "random_3x2", seeds, progress=False)
    assert [row.seed for row in result.rows] == list(range(seeds))
    assert len({row.objective for row in result.rows}) > 10


class FirstLegal:
    """A player of somebody else: takes the first legal action."""

    name = "first_legal"
    environment: dict = {"observation": "graph"}  # noqa: RUF012

    def act(self, vec, observation):
        return observation["action_mask"].argmax(axis=1)


def test_player_objects_take_part():
    result = evaluate(["spt", FirstLegal()], "random_5x3", 4, progress=False)
    assert {row.agent for row in result.rows} == {"spt", "first_legal"}
    assert all(row.valid for row in result.rows)


def test_rollout_is_not_worse_than_its_base_on_average():
    names = ["blkrel", "rollout"]
    options = {"mode": "interrupting", "interrupts": Interrupts(probability=0.2)}
    summary = evaluate(names, "random_8x4", 16, options=options, progress=False).summary()
    line = summary.line("rollout", ALL_INSTANCES)
    assert line.versus == "blkrel" and line.difference < 0


def test_seeds_that_are_the_same_episode_are_played_once(monkeypatch):
    from dispatchgym.agents import arena

    played = []
    real = arena.play_batch
    monkeypatch.setattr(
        arena, "play_batch", lambda vec, seeds, act: played.append(seeds) or real(vec, seeds, act)
    )
    result = evaluate("rollout", "la01", 5, options={"mode": "blocking"}, progress=False)
    assert len(result.rows) == 5 and len({row.objective for row in result.rows}) == 1
    assert played[-1] == [0]
    options = {"mode": "interrupting", "interrupts": Interrupts(probability=0.2)}
    result = evaluate("rollout", "la01", 5, options=options, progress=False)
    assert len({row.objective for row in result.rows}) > 1
    assert played[-1] == [0, 1, 2, 3, 4]
    evaluate(FirstLegal(), "la01", 5, progress=False)  # who knows whether it is the same each time
    assert played[-1] == [0, 1, 2, 3, 4]


def test_searching_rules():
    plain = evaluate("mwkr", "la01", 1, options={"mode": "blocking"}, progress=False).rows[0]
    for search in (Search("best_of", samples=16, temperature=0.3), Search("rollout")):
        result = evaluate(
            "mwkr", "la01", 1, options={"mode": "blocking"}, search=search, progress=False
        )
        (row,) = result.rows
        assert row.agent.startswith("mwkr+") and search.name in row.agent
        assert row.objective < plain.objective
        assert result.rules == ()
    again = evaluate(
        ["rules", "mwkr"], "la01", 1, options={"mode": "blocking"}, search=search, progress=False
    )
    assert {"mwkr", "mwkr+rollout"} <= {row.agent for row in again.rows}


def test_exact_agent_gives_the_reference():
    instance = Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]], name="tiny")
    result = evaluate(
        ["spt", "exact"],
        instance,
        1,
        options={"mode": "blocking"},
        effort=Effort(20),
        progress=False,
    )
    by_agent = {row.agent: row for row in result.rows}
    assert by_agent["exact"].objective == by_agent["exact"].reference == 6
    assert {row.reference_kind for row in result.rows} == {"optimum"}
    assert by_agent["exact"].decision_ms_p50 == pytest.approx(1000 * by_agent["exact"].seconds)


def test_exact_agent_solves_each_random_instance():
    result = evaluate(["exact", "spt"], "random_3x2", 150, effort=Effort(20), progress=False)
    optima = {row.seed: row.objective for row in result.rows if row.agent == "exact"}
    assert len(optima) == 150 and len(set(optima.values())) > 50
    assert {row.reference_kind for row in result.rows} == {"optimum"}
    assert all(row.reference == optima[row.seed] for row in result.rows)


def test_exact_agent_under_shutdowns_bounds_the_others():
    result = evaluate(
        ["spt", "exact"],
        "ft06",
        [7],
        options={"mode": "interrupting", "interrupts": {"probability": 0.2}},
        effort=Effort(60),
        progress=False,
    )
    by_agent = {row.agent: row for row in result.rows}
    assert (by_agent["exact"].objective, by_agent["spt"].objective) == (81, 93)
    assert (by_agent["spt"].reference, by_agent["spt"].reference_kind) == (81, "bound")


def test_shutdown_probability_drawn_for_each_episode():
    options = {
        "mode": "interrupting",
        "interrupts": {"kind": "per_operation", "probability": [0.0, 0.2]},
    }
    result = evaluate("spt", "random_6x4", 12, options=options, progress=False)
    assert {row.setting["probability"] for row in result.rows} == {0.0, 0.2}
    assert len(result.summary().levels) == 1
    with pytest.raises(ParameterError, match="one shutdown probability"):
        evaluate("exact", "random_6x4", 1, options=options, progress=False)


def test_deadlocks_are_shown_not_hidden():
    result = evaluate(
        "rules", "la_10x5", 1, options={"mode": "blocking", "swap": False}, progress=False
    )
    ended = [row for row in result.rows if row.status == "deadlock"]
    assert ended
    for row in ended:
        assert math.isnan(row.objective) and math.isnan(row.gap) and not row.valid
    assert f"left out of the means: {len(ended)} rows" in result.table()


def test_an_invalid_schedule_stops_the_evaluation(monkeypatch):
    import dispatchgym.envs.job_shop as job_shop

    class Liar(FirstLegal):
        name = "liar"

    real = job_shop.validate
    calls = []

    def spoiled(instance, schedule):
        calls.append(1)
        if len(calls) == 2:
            schedule = {**schedule, "start": np.array(schedule["start"]) + 1}
        return real(instance, schedule)

    monkeypatch.setattr(job_shop, "validate", spoiled)
    with pytest.raises(EvaluationError, match=r"liar on ft06, seed 0: the schedule has \d+ viol"):
        evaluate(["spt", Liar()], "ft06", 1, progress=False)


def test_a_result_below_a_proven_bound_stops_the_evaluation(monkeypatch):
    import dispatchgym.envs.job_shop as job_shop

    report = SimpleNamespace(valid=True, objective=88.0, violations=[])
    monkeypatch.setattr(job_shop, "validate", lambda instance, schedule: report)
    monkeypatch.setattr("dispatchgym.agents.problems.job_shop.lower_bound", lambda *_, **__: 89)
    instance = make_instance("ft06", 0)
    instance = Instance.from_jobs(instance.jobs(), name="copy")
    with pytest.raises(EvaluationError, match="88 is below the proven lower bound 89"):
        evaluate("spt", instance, 1, progress=False)


def test_a_makespan_that_the_schedule_does_not_have(monkeypatch):
    import dispatchgym.envs.job_shop as job_shop

    report = SimpleNamespace(valid=True, objective=90.0, violations=[])
    monkeypatch.setattr(job_shop, "validate", lambda instance, schedule: report)
    with pytest.raises(EvaluationError, match="88 was reported, the schedule has 90"):
        evaluate("spt", "ft06", 1, progress=False)


def test_what_was_finished_before_a_stop_is_kept(tmp_path):
    class Stopper(FirstLegal):
        name = "stopper"
        resets = 0

        def act(self, vec, observation):
            if vec.instances[0].name == "la02":
                raise KeyboardInterrupt
            return super().act(vec, observation)

    evaluation = Evaluation(["spt", Stopper()], ["la01", "la02"], 1)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run(progress=False)
    assert [row.instance for row in evaluation.result.rows] == ["la01", "la01"]
    evaluation.result.write(tmp_path / "part.json")
    assert json.loads((tmp_path / "part.json").read_text())["meta"]["complete"] is False
    assert "finished so far" in evaluation.result.table()


def test_pictures_of_an_evaluation(tmp_path):
    from dispatchgym.agents.pictures import draw

    result = evaluate(
        ["spt", "mwkr"],
        "la01",
        3,
        options={"mode": "interrupting"},
        levels=[0.0, 0.2],
        progress=False,
    )
    assert [path.name for path in draw(result, tmp_path)] == ["agents.png", "schedule.png"]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        (["sptt"], "did you mean spt"),
        (["zzzzzz"], "expected one of rules, rollout, exact"),
        ([], "empty"),
        ([7], "found 7, expected a name, or an object"),
        (None, "found None"),
    ],
)
def test_unknown_agents(agents, words):
    with pytest.raises(ParameterError, match=words):
        find_entrants(agents, find_problem("job_shop"), Search())


def test_two_agents_of_one_name():
    with pytest.raises(ParameterError, match="two with the name 'first_legal'"):
        find_entrants([FirstLegal(), FirstLegal()], find_problem("job_shop"), Search())
    twice = find_entrants(["spt", "rules", "spt"], find_problem("job_shop"), Search())
    assert [entrant.name for entrant in twice].count("spt") == 1


@pytest.mark.parametrize("seeds", [0, -1, [], [1, -1], [1, 1], "5", 2.0, True])
def test_wrong_seeds(seeds):
    with pytest.raises(ParameterError, match="seeds"):
        evaluate("spt", "ft06", seeds)


def test_wrong_problem_search_and_solver_options():
    with pytest.raises(ParameterError, match="job_shop"):
        evaluate("spt", "ft06", 1, problem="jobshop")
    for wrong in ({"name": "tabu"}, {"samples": 0}, {"temperature": 0.0}):
        with pytest.raises(ParameterError, match="search"):
            Search(**wrong)
    with pytest.raises(ParameterError, match="time_limit"):
        evaluate("exact", "ft06", 1, effort=Effort(0.0))


def test_scenarios():
    found = find_scenarios(find_problem("job_shop"), ["la_10x5", "la01", "random_4-6x3"])
    assert [item.name for item in found] == ["la01", "la02", "la03", "la04", "la05", "random_4-6x3"]
    assert found[0].group == "la 10x5" and found[0].asked == "la_10x5"
    assert found[-1].group == "random_4-6x3"
    with pytest.raises(ScenarioError, match="did you mean"):
        find_scenarios(find_problem("job_shop"), "laa01")
    with pytest.raises(ScenarioError, match="empty"):
        find_scenarios(find_problem("job_shop"), [])


def test_two_instances_of_one_name():
    one = Instance.from_jobs([[(0, 2)]], name="mine")
    other = Instance.from_jobs([[(0, 3)]], name="mine")
    assert len(find_scenarios(find_problem("job_shop"), [one, one])) == 1
    with pytest.raises(ScenarioError, match="'mine'"):
        find_scenarios(find_problem("job_shop"), [one, other])


def test_instance_file(tmp_path):
    path = tmp_path / "shop.txt"
    path.write_text("2 2\n0 2 1 3\n1 2 0 4\n")
    result = evaluate("spt", str(path), 1, options={"mode": "blocking"}, progress=False)
    assert result.rows[0].objective == 6
    with pytest.raises(DispatchGymError, match=r"missing\.txt"):
        evaluate("spt", str(tmp_path / "missing.txt"), 1)
