"""The validator of the deadline family accepts what the kernel does and names what is wrong."""

import numpy as np
import pytest
from edge_offloading.dems_cases import toy, varied

from dispatchgym.envs.edge_offloading.dems_generators import find
from dispatchgym.envs.edge_offloading.dems_rules import DISCIPLINES, RULES
from dispatchgym.envs.edge_offloading.dems_validator import (
    COLUMNS,
    VIOLATION_CODES,
    validate_deadlines,
)
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingSimulation

COLUMN = {name: number for number, name in enumerate(COLUMNS)}
ONE = np.ones(1, np.bool_)


def played(instance, rule="dems", **options):
    """The schedule of a run under a rule."""
    simulation = EdgeOffloadingSimulation(num_lanes=1, scenario=instance, **options)
    simulation.restart(ONE, np.zeros(1, np.int64))
    simulation.run_rule(rule)
    return simulation.final_info(0)["schedule"]


@pytest.fixture(scope="module")
def heavy():
    """A run under heavy load, and what DEMS makes of it."""
    instance = find("dems-heavy-3-25s").generate(5)
    return instance, played(instance)


def codes(instance, schedule):
    return {violation.code for violation in validate_deadlines(instance, schedule).violations}


@pytest.mark.parametrize("queue", ["corrected", "published_code"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_valid(rule, queue):
    for scenario, seed in (("dems-heavy-4-20s-variable", 0), ("dems-40s", 1), ("dems-40s", 2)):
        instance = find(scenario).generate(seed)
        schedule = played(instance, rule, queue=queue)
        report = validate_deadlines(instance, schedule)
        assert report.violations == []
        assert report.objective.tolist() == schedule["objective"].tolist()


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_random_play_is_valid(discipline):
    """Masked actions of every kind under each discipline, few slots on the cloud."""
    base = find("dems-heavy-2-10s-variable").generate(7)
    instance = type(base)(**{**vars(base), "slots": 4, "window": 3000})
    simulation = EdgeOffloadingSimulation(num_lanes=1, scenario=instance, discipline=discipline)
    for seed in range(3):
        simulation.restart(ONE, np.full(1, seed))
        while not simulation.terminated[0]:
            simulation.step(simulation.rule_actions("random"), ONE, False)
        schedule = simulation.final_info(0)["schedule"]
        report = validate_deadlines(instance, schedule)
        assert report.violations == []
        assert report.objective.tolist() == schedule["objective"].tolist()
        simulation.terminated[0] = False


@pytest.mark.parametrize("queue", ["corrected", "published_code"])
def test_unusual_runs_are_valid(queue):
    """All disciplines, played by their rules and at random; the rewards sum to the objective."""
    for seed in range(40):
        instance = varied(seed)
        discipline = DISCIPLINES[seed % len(DISCIPLINES)]
        simulation = EdgeOffloadingSimulation(
            num_lanes=1, scenario=instance, discipline=discipline, queue=queue, reward_scale="paper"
        )
        for rule in ("random", discipline):
            simulation.restart(ONE, np.full(1, seed))
            total, ended = np.zeros(2), False
            while not ended:
                simulation.step(simulation.rule_actions(rule), ONE, False)
                assert not simulation.invalid[0]
                total += simulation.vector_reward[0]
                ended = bool(simulation.terminated[0])
            schedule = simulation.final_info(0)["schedule"]
            report = validate_deadlines(instance, schedule)
            assert report.violations == [], (seed, rule)
            np.testing.assert_allclose(report.objective, schedule["objective"], atol=1e-9)
            np.testing.assert_allclose(100 * total, schedule["objective"], atol=1e-9)


def change(schedule, task, **values):
    """A schedule with other entries for a task."""
    rows = schedule["tasks"].copy()
    for name, value in values.items():
        rows[task, COLUMN[name]] = value
    return {**schedule, "tasks": rows}


def first(schedule, **wanted):
    """The first task with such entries."""
    fits = np.ones(len(schedule["tasks"]), np.bool_)
    for name, value in wanted.items():
        column = schedule["tasks"][:, COLUMN[name]]
        fits &= column == value if value is not None else column >= 0
    return int(np.flatnonzero(fits)[0])


def test_faults_are_found(heavy):
    instance, schedule = heavy
    edge = first(schedule, action=1, place=1)
    cloud = first(schedule, place=0)
    held = first(schedule, held_from=None, place=0)
    row = dict(zip(COLUMNS, schedule["tasks"][edge].tolist(), strict=True))
    call = dict(zip(COLUMNS, schedule["tasks"][cloud].tolist(), strict=True))
    wait = dict(zip(COLUMNS, schedule["tasks"][held].tolist(), strict=True))
    faults = {
        "V1": [
            change(schedule, edge, outcome=-1),
            change(schedule, edge, outcome=1),
            {**schedule, "tasks": schedule["tasks"][:-1]},
        ],
        "V2": [change(schedule, cloud, action=0, sent=call["decided"], foreseen=10**6)],
        "V3": [
            change(schedule, edge, decided=row["decided"] - 1),
            change(schedule, edge, end=row["end"] + 1),
            change(schedule, cloud, sent=call["start"] + 1),
        ],
        "V6": [
            change(schedule, edge, start=row["start"] + 1, end=row["end"] + 1),
            change(schedule, edge, start=row["start"] - 150, end=row["end"] - 150),
        ],
        "V7": [change(schedule, cloud, start=call["start"] + 1, end=call["end"] + 1)],
        "V11": [
            {**schedule, "objective": schedule["objective"] + [1.0, 0.0]},
            {**schedule, "objective": schedule["objective"] - [0.0, 100.0]},
        ],
        "V12": [
            change(schedule, held, held_until=wait["held_until"] - 10),
            change(schedule, held, foreseen=wait["foreseen"] + 1),
        ],
    }
    assert {*faults, "malformed"} == set(VIOLATION_CODES)
    for code, changed in faults.items():
        for number, each in enumerate(changed):
            assert code in codes(instance, each), (code, number)


def test_swapped_queue_is_found():
    """Two tasks wait, the edge takes them in the wrong order."""
    tasks = [(0, 300, 900, 400, 10, 2), (1, 100, 900, 700, 10, 2), (2, 100, 900, 800, 10, 2)]
    instance = toy(tasks)
    schedule = played(instance, "edf")
    assert codes(instance, schedule) == set()
    swapped = change(schedule, 1, start=400, end=500)
    swapped = change(swapped, 2, start=300, end=400)
    assert codes(instance, swapped) == {"V6"}


def test_idle_edge_is_found():
    instance = toy([(0, 100, 900, 700, 10, 2), (0, 100, 900, 800, 10, 2)])
    schedule = change(played(instance, "edf"), 1, start=101, end=201)
    assert "V6" in codes(instance, schedule)


def test_too_many_runs_on_the_cloud_are_found():
    instance = toy([(0, 50, 300, 900, 10, 2)] * 3, slots=2)
    schedule = change(played(instance, "cld"), 2, start=0, end=300)
    assert "V7" in codes(instance, schedule)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tasks", None, "tasks: found type object"),
        ("tasks", np.zeros((3, 4), np.int64), r"expected whole numbers \(n, 11\)"),
        ("tasks", np.full((3, 11), 9, np.int64), r"tasks\[0\].action: found 9"),
        ("tasks", np.full((3, 11), -5, np.int64), "found values outside"),
        ("tasks", np.zeros((10**4, 11), np.int64), "expected at most"),
        ("discipline", "lifo", "discipline: found 'lifo'"),
        ("queue", "none", "queue: found 'none'"),
        ("objective", [1.0], "objective: found type"),
    ],
)
def test_malformed_schedules(heavy, name, value, message):
    instance, schedule = heavy
    report = validate_deadlines(instance, {**schedule, name: value})
    assert not report.valid
    assert np.isnan(report.objective).all()
    assert [violation.code for violation in report.violations] == ["malformed"]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(report.violations[0].message)


def test_a_missing_field(heavy):
    instance, schedule = heavy
    report = validate_deadlines(instance, {"tasks": schedule["tasks"]})
    assert report.violations[0].message == "discipline: missing"
