"""Evaluations of VM rescheduling: references by the solver, plans from outside the environment."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("highspy")

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.entrants import Effort, PlannerEntrant, Search, find_entrants
from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.vm_rescheduling import VMSetting
from dispatchgym.agents.scenarios import find_scenarios
from dispatchgym.benchmark import measure_speed
from dispatchgym.envs.core.errors import EvaluationError, ParameterError, ScenarioError
from dispatchgym.envs.vm_rescheduling import Known, make_instance, write

PROBLEM = find_problem("vm_rescheduling")
GOLD = Path(__file__).parents[3] / "shared" / "data" / "vm" / "gold"
needs_gold = pytest.mark.skipif(not GOLD.is_dir(), reason="no shared data beside the checkout")


def play(agents, scenario, seeds=3, **arguments):
    return evaluate(agents, scenario, seeds, problem="vm_rescheduling", progress=False, **arguments)


def test_rules_are_measured_against_the_optimum_though_nobody_asked_for_it():
    alone = play("ha", "S")
    beside = play(["ha", "exact"], "S")
    optima = {row.seed: row.objective for row in beside.rows if row.agent == "exact"}
    assert [row.gap for row in beside.rows if row.agent == "exact"] == [0.0, 0.0, 0.0]
    for row in alone.rows:
        assert (row.reference, row.reference_kind) == (optima[row.seed], "optimum")
        assert row.gap == pytest.approx(row.objective / optima[row.seed] - 1)
        assert row.objective > row.reference
        assert row.valid and row.seconds > 0
    assert alone.rules == ("ha",)


def test_rows_tell_limit_objective_and_what_the_validator_counted(tmp_path):
    result = play("ha", "S", options={"migration_limit": 2})
    result.write(tmp_path / "result.json")
    document = json.loads((tmp_path / "result.json").read_text())
    for record, row in zip(document["rows"], result.rows, strict=True):
        assert record["migration_limit"] == 2 and record["objective_kind"] == "fragment"
        assert record["migrations"] <= 2
        assert record["fragment_rate"] == pytest.approx(record["objective"])
        instance = make_instance("S", row.seed)
        free = instance.total_free_cpu
        assert record["objective"] == pytest.approx(1 - 16 * record["slots"] / free)
        assert record["slots"] >= instance.slots
    assert "MNL 2" in result.table() and "moves" in result.table()


def test_each_migration_limit_is_a_level():
    result = play(["ha", "exact"], "S", levels=[1, 4, 8])
    summary = result.summary()
    means = [summary.line("exact", "S", limit).objective for limit in (1, 4, 8)]
    assert means[0] > means[1] > means[2]
    assert {row.setting["migration_limit"] for row in result.rows} == {1, 4, 8}
    text = result.table()
    assert all(f"MNL={limit}" in text for limit in (1, 4, 8))
    assert "by migration limit MNL" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("levels", [[], [1.5], [-1]])
def test_migration_limits_without_meaning(levels):
    with pytest.raises(ParameterError, match="migration_limits"):
        play("ha", "S", levels=levels)


def test_every_rule_plays_small_clusters():
    result = play("rules", "random_8", 5, levels=[5, 50])
    assert {row.agent for row in result.rows} == set(PROBLEM.rules())
    assert all(row.valid for row in result.rows)


@pytest.mark.parametrize(
    ("scenario", "kind", "words"),
    [
        ("S", "empty_pms", "machines in use"),
        ("S", "mixed", "mixed fragment rate"),
        ("S", "goal", "migrations to the goal"),
    ],
)
def test_other_objectives(scenario, kind, words):
    instance = PROBLEM.prepare(make_instance(scenario, 0), {"objective": kind})
    assert instance.objective.kind == kind
    assert PROBLEM.measure(instance).words == words


def test_objectives_are_not_mixed():
    with pytest.raises(ParameterError, match="expected one objective"):
        play("ha", ["S", "M-G"])


def test_folders_and_patterns_of_snapshots(tmp_path):
    for seed in (2, 0, 1):
        write(
            make_instance("random_8", seed).replace(name=f"shop_{seed}"), tmp_path / f"{seed}.json"
        )
    write(make_instance("random_8", 3).replace(name="other"), tmp_path / "a.npz")
    (tmp_path / "LICENSE").write_text("no snapshot")
    names = [item.name for item in find_scenarios(PROBLEM, f"{tmp_path}/")]
    assert names == ["shop_0", "shop_1", "shop_2", "other"]
    names = [item.name for item in find_scenarios(PROBLEM, f"{tmp_path}/[12].json")]
    assert names == ["shop_1", "shop_2"]
    assert find_scenarios(PROBLEM, tmp_path)[0].group == "shop 8pm"
    with pytest.raises(ScenarioError, match="no file matches"):
        find_scenarios(PROBLEM, f"{tmp_path}/high_*.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScenarioError, match=r"no file that ends in \.json"):
        find_scenarios(PROBLEM, tmp_path / "empty")


def test_known_results_of_a_file_are_references():
    plain = make_instance("S", 0)
    free, limit = plain.total_free_cpu, plain.migration_limit
    instance = plain.replace(known={limit: Known(10, 10)})
    found = PROBLEM.reference(VMSetting(), instance, 0)
    assert found.kind == "optimum"
    assert found.value == found.bound == pytest.approx(1 - 160 / free)
    other = PROBLEM.reference(VMSetting(), instance.replace(migration_limit=limit + 1), 0)
    assert (other.value, other.kind) == (0.0, "bound")
    better = Episode(1 - 176 / free, {}, "finished", 0.1, 1 - 176 / free)
    with pytest.raises(EvaluationError, match="proven lower bound"):
        PROBLEM.reference(VMSetting(), instance, 0, better)


def test_a_solver_that_ran_out_of_time_gives_a_bound():
    unproved = Episode(0.4, {}, "finished", 1.0, 0.3)
    found = PROBLEM.reference(VMSetting(), make_instance("S", 0), 0, unproved)
    assert found == (0.3, "bound", 0.3)


def test_a_plan_is_worth_what_the_validator_says():
    arena = Arena(PROBLEM, "S", (0, 1), {"migration_limit": 3})
    nothing = PlannerEntrant("nothing", lambda instance, seed: {"moves": np.empty((0, 3), int)})
    episodes = nothing.play(arena)
    initial = [instance.initial_objective for instance in arena.instances]
    assert [episode.objective for episode in episodes] == initial
    assert nothing.decision_times(arena).size == 0


def test_a_plan_that_is_too_long_is_refused(monkeypatch):
    def overdo(instance, seed):
        return {
            "moves": find_entrants("exact", PROBLEM, Search())[0]
            .play(Arena(PROBLEM, "S", (seed,), {}))[0]
            .schedule["moves"]
        }

    monkeypatch.setattr(
        type(PROBLEM), "agents", lambda self: {"overdo": lambda _: PlannerEntrant("overdo", overdo)}
    )
    with pytest.raises(EvaluationError, match="overdo on S_20pm_seed0, seed 0: the schedule has"):
        play("overdo", "S", 1, options={"migration_limit": 1})


def test_agents_of_the_job_shop_are_refused():
    with pytest.raises(ParameterError, match="job_shop/ppo acts in dispatchgym/JobShop-v0"):
        find_entrants("job_shop/ppo", PROBLEM, Search())


def test_searches_with_rules():
    plain = play("ha", "S")
    search = Search("best_of", samples=30, temperature=2.0)
    varied = play("ha", "S", search=search)
    pairs = list(zip(varied.rows, plain.rows, strict=True))
    assert all(found.objective <= first.objective for found, first in pairs)
    assert {row.agent for row in varied.rows} == {"ha+best_of_30"}
    with pytest.raises(ParameterError, match="does not have for rules"):
        find_entrants("ha", PROBLEM, Search("rollout"))


def test_planners_are_agents_with_a_time_limit():
    """`neuplan` gives the last 20 migrations to the solver: here all 10 of them."""
    result = play(["ha", "alpha_vbpp", "neuplan"], "S", 2, effort=Effort(plan_seconds=5.0))
    assert result.rules == ("ha",)
    assert result.summary().line("neuplan", "S").gap == pytest.approx(0.0)
    assert result.summary().line("alpha_vbpp", "S").gap > 0
    for row in result.rows:
        assert row.valid
        if row.agent != "ha":  # a plan is one decision
            assert result.times[row.agent, "S"] == []


def test_the_kernel_is_measured_by_its_migrations():
    found = measure_speed(PROBLEM, "random_8", 4, seconds=0.01, repeats=1, threads=1)
    assert found["rule"] == "random"
    for name in ("steps_per_second", "kernel_steps_per_second", "observation_bytes"):
        assert found[name] > 0


def test_pictures(tmp_path):
    from dispatchgym.agents.pictures import draw

    draw(play(["ha", "greedy_joint"], "S", 2, levels=[2, 5]), tmp_path)
    for name in ("agents.png", "schedule.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@needs_gold
def test_gold_optima_are_found_again():
    """shared/data/vm/gold: every file has proven optima for several migration limits."""
    result = play(["ha", "exact"], str(GOLD / "high_0*.json"), 1, levels=[10, 50])
    for row in result.rows:
        document = json.loads((GOLD / f"{row.instance}.json").read_text())
        told = document["results"]["mnl"][str(row.setting["migration_limit"])]
        assert row.reference == pytest.approx(told["best_fr"], abs=1e-6)
        assert row.reference_kind == "optimum"
    assert {row.group for row in result.rows} == {"high 279pm"}


def test_options_out_of_range():
    for wrong in ({"plan_seconds": 0.0}, {"workers": 0}, {"time_limit": math.nan}):
        with pytest.raises(ParameterError):
            Effort(**wrong)
