"""Evaluations of fleet dispatch: references by linear programming, planners that play days."""

import inspect
import json
import math

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("highspy")

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.evaluation import evaluate
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.uam import UAMSetting
from dispatchgym.agents.problems.uam.metrics import day_metrics
from dispatchgym.agents.scenarios import find_scenarios
from dispatchgym.benchmark import measure_speed
from dispatchgym.configs.schemas import UAMConfig
from dispatchgym.envs.core.errors import EvaluationError, ParameterError, ScenarioError
from dispatchgym.envs.uam import PLANNERS, make_instance, plan_day, solve, upper_bound, write
from dispatchgym.envs.uam.env import UAMFleetSimulation
from dispatchgym.envs.uam.instance import Instance

PROBLEM = find_problem("uam")


def play(agents, scenario, seeds=2, **arguments):
    return evaluate(agents, scenario, seeds, problem="uam", progress=False, **arguments)


def marked(instance, **changes):
    """Return an instance with other labels."""
    values = {name: getattr(instance, name) for name in instance.__dataclass_fields__}
    return Instance(**{**values, **changes})


@pytest.fixture(scope="module")
def result():
    return play(["random", "greedy", "ga"], "uam-3x4", [1, 2, 3])


def test_profits_are_measured_against_the_upper_bound_of_the_episode(result):
    for row in result.rows:
        cents = upper_bound(make_instance("uam-3x4", row.seed), row.seed, grid=1)
        assert (row.reference, row.reference_kind) == (cents / 100, "bound")
        assert row.objective < row.reference
        assert row.gap == pytest.approx(1 - row.objective / row.reference)
        assert row.valid and row.seconds > 0


def test_more_profit_is_better(result):
    summary = result.summary()
    greedy, poor = (summary.line(name, "uam-3x4") for name in ("greedy", "random"))
    assert result.rules == ("random", "greedy")
    assert greedy.objective > poor.objective and greedy.gap < poor.gap
    assert greedy.versus is None and poor.versus == "greedy" and poor.difference < 0
    text = result.table()
    assert "Mean profit in $, demand forecast, uam-3x4: 3 instances" in text
    assert text.index("greedy") < text.index("random")


def test_rows_describe_the_day(result, tmp_path):
    result.write(tmp_path / "result.json")
    for row in json.loads((tmp_path / "result.json").read_text())["rows"]:
        costs = row["operating_cost"] + row["energy_cost"]
        assert row["revenue"] - costs == pytest.approx(row["objective"])
        demand = make_instance("uam-3x4", row["seed"]).passengers.sum()
        assert row["served"] == pytest.approx(row["passengers"] / demand)
        assert row["load_factor"] == pytest.approx(row["passengers"] / row["flights"] / 4)
        assert 0 < row["airborne"] < 1 and row["waiting"] > 0
        assert row["stochastic"] is True and row["oracle_demand"] is False
        assert row["empty_flights"] < row["flights"] < row["decisions"]
        if row["agent"] == "greedy":  # an empty flight earns nothing
            assert row["empty_flights"] == row["empty_miles"] == 0


def test_a_day_is_counted_by_its_decisions():
    """Four aircraft, [360, 540): two flights, one of them empty and late; one failure; a stay."""
    instance = make_instance("uam-tiny-3x4-exact", 0)
    decisions = [
        [360, 0, 0, 1, 3, 0, 362, 380, 400, 0],
        [361, 1, 2, 2, 0, -1, -1, -1, 362, 0],
        [370, 2, 1, 2, 0, -1, -1, -1, 450, 1],
        [530, 3, 1, 0, 0, 1, 534, 560, 580, 0],
        [-1] * 10,
    ]
    money = {"revenue": 1250, "operating_cost": 250, "energy_cost": 75}
    found = day_metrics(instance, {"decisions": np.array(decisions), **money})
    assert [found[name] for name in money] == [12.5, 2.5, 0.75]
    expected = {"passengers": 3, "decisions": 4, "flights": 2, "failures": 1, "empty_flights": 1}
    assert {name: found[name] for name in expected} == expected
    assert found["served"] == 3 / instance.passengers.sum()
    assert found["load_factor"] == 3 / 8
    assert found["empty_miles"] == 0.5
    assert found["airborne"] == (18 + 6) / (4 * 180)
    assert found["waiting"] == (2 + 4) / 2


def test_a_day_without_flights():
    instance = make_instance("uam-tiny-3x4-exact", 0)
    stays = np.array([[360, 0, 0, 0, 0, -1, -1, -1, 361, 0]])
    money = {"revenue": 0, "operating_cost": 0, "energy_cost": 0}
    found = day_metrics(instance, {"decisions": stays, **money})
    assert found.pop("decisions") == 1
    assert set(found.values()) == {0}


def test_a_small_day_is_measured_against_its_optimum():
    """Though nobody asked for the solver: here it is quick, and proves the best day."""
    result = play(["greedy", "exact"], "uam-tiny-3x4-exact", [0])
    greedy, best = result.rows
    optimum = solve(make_instance("uam-tiny-3x4-exact", 0))
    assert optimum.proved
    assert (best.objective, best.gap) == (optimum.objective, 0.0)
    assert greedy.reference == best.reference == optimum.objective > greedy.objective
    assert {row.reference_kind for row in result.rows} == {"optimum"}
    alone = play("greedy", "uam-tiny-3x4-exact", [0])
    assert alone.rows[0].reference_kind == "optimum"
    assert alone.rows[0].reference == optimum.objective


def test_what_the_solver_tells_of_a_day():
    instance = make_instance("uam-3x4", 1)
    bound = PROBLEM.reference(UAMSetting(), instance, 1).bound

    def told(objective, limit):
        episode = Episode(objective, {}, "finished", 0.1, limit)
        return PROBLEM.reference(UAMSetting(), instance, 1, episode)

    assert told(bound - 9, bound - 5) == (bound - 5, "bound", bound - 5)
    assert told(bound - 9, bound + 5) == (bound, "bound", bound)
    assert told(bound - 5, bound - 5) == (bound - 5, "optimum", bound - 5)
    with pytest.raises(EvaluationError, match=r"seed 1: profit in .* proven upper bound"):
        told(bound + 1, bound + 2)


def test_a_bound_that_a_file_tells(tmp_path):
    plain = make_instance("uam-3x4", 2)
    path = tmp_path / "day.json"
    write(marked(plain, name="day", known={"lp_bound_cents": 10**6}), path)
    result = play("greedy", str(path), [2])
    assert {row.reference for row in result.rows} == {10**4}
    write(marked(plain, name="day", known={"lp_bound_cents": 100}), path)
    with pytest.raises(EvaluationError, match="V12"):
        play("greedy", str(path), [2])


def test_a_bound_is_computed_once(monkeypatch):
    import dispatchgym.agents.problems.uam as module

    asked = []

    def count(instance, seed, **options):
        asked.append(seed)
        return 10**6

    monkeypatch.setattr(module, "upper_bound", count)
    instance = marked(make_instance("uam-3x4", 3), seats=5)  # no other test has it
    for seed in (0, 1, 0, 1):
        assert PROBLEM.reference(UAMSetting(), instance, seed).value == 10**4
    assert asked == [0, 1]


def test_planners_are_timed_decision_by_decision(result):
    assert set(PROBLEM.agents()) == set(PLANNERS)
    day = plan_day("ga", make_instance("uam-3x4", 1), 1)
    first = next(row for row in result.rows if row.agent == "ga")
    assert first.objective == day.objective
    assert len(result.times["ga", "uam-3x4"]) == len(day.schedule["decisions"]) > 64
    assert first.decision_ms_p50 < first.decision_ms_p99 < 1000 * first.seconds


def test_times_of_a_planner_that_has_not_played():
    arena = Arena(PROBLEM, "uam-3x4", (5,), {})
    times = PROBLEM.agents()["local_search"](None).decision_times(arena)
    assert len(times) > 0 and (times >= 0).all()


def test_seeds_of_a_fixed_day_differ_by_their_disturbances():
    instance = make_instance("uam-3x4", 1)
    result = play("greedy", instance, 4)
    assert len({row.objective for row in result.rows}) > 1
    assert {row.group for row in result.rows} == {"uam-3x4"}
    assert {row.instance for row in result.rows} == {"uam-3x4-s001"}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("uam-8x40-market-s017", "uam-8x40-market"),
        ("tampa_03", "tampa 3x4"),
        ("7", "7 3x4"),
        ("tampa", "tampa 3x4"),
    ],
)
def test_groups_are_family_and_size(name, group):
    size = (8, 40) if "8x40" in name else (3, 4)
    instance = make_instance("uam-{}x{}".format(*size), 0)
    assert PROBLEM.group(marked(instance, name=name)) == group


def test_scenarios_are_names_and_files(tmp_path):
    write(make_instance("uam-3x4", 1), tmp_path / "one.json")
    names = [item.name for item in find_scenarios(PROBLEM, ["uam-8x40", str(tmp_path)])]
    assert names == ["uam-8x40", "uam-3x4-s001"]
    with pytest.raises(ScenarioError, match="did you mean"):
        find_scenarios(PROBLEM, "uam-8x40-markt")


def test_there_are_no_levels_and_no_searches():
    with pytest.raises(ParameterError, match="has none"):
        play("greedy", "uam-3x4", levels=[0.5])
    with pytest.raises(ParameterError, match="has no modes"):
        PROBLEM.environment_options({"name": "uam"}, "classic")


def test_the_configuration_has_every_argument_of_the_environment():
    arguments = inspect.signature(UAMFleetSimulation).parameters
    inner = {"num_lanes", "step_limit"}
    defaults = {key: value.default for key, value in arguments.items() if key not in inner}
    configured = {key: value for key, value in vars(UAMConfig()).items() if key != "name"}
    assert configured == defaults
    options = PROBLEM.environment_options({**vars(UAMConfig()), "oracle_demand": True})
    env = gym.make(PROBLEM.env_id, scenario="uam-3x4", **options)
    assert env.unwrapped.simulation.state.setting.sum() > 0


def test_known_demand_is_told():
    result = play("greedy", "uam-3x4", [0], options={"oracle_demand": True})
    assert "demand known" in result.table()
    assert result.rows[0].setting["oracle_demand"] is True


def test_the_held_out_reference_is_an_upper_bound():
    instance = make_instance("uam-5x8", 1)
    exact, quick = upper_bound(instance, grid=1), 100 * PROBLEM.held_out_reference(instance)
    assert exact < quick < 1.5 * exact


def test_the_kernel_is_measured_by_its_decisions():
    found = measure_speed(PROBLEM, "uam-3x4", 4, seconds=0.01, repeats=1, threads=1)
    assert found["rule"] == "random"
    for name in ("steps_per_second", "kernel_steps_per_second", "observation_bytes"):
        assert found[name] > 0 and math.isfinite(found[name])


def test_pictures(tmp_path):
    from dispatchgym.agents.pictures import draw

    draw(play(["random", "greedy"], "uam-3x4", 2), tmp_path)
    for name in ("agents.png", "schedule.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    day = plan_day("local_search", make_instance("uam-3x4", 0))
    PROBLEM.film(make_instance("uam-3x4", 0), day.schedule, tmp_path / "day.gif", 3, "title")
    assert (tmp_path / "day.gif").read_bytes().startswith(b"GIF8")
    text = PROBLEM.text(make_instance("uam-3x4", 0), day.schedule)
    assert text.startswith("uam-3x4-s000") and f"profit {day.objective:,.2f} $" in text
