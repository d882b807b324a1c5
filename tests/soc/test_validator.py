"""The validator accepts what the kernel plays and names every corruption."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from soc.cases import SHARED, needs_data
from soc.varied import varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.soc.env import MODES, SoCSimulation, SoCVectorEnv
from dispatchgym.envs.soc.generators import batch, make_instance
from dispatchgym.envs.soc.instance import Cluster, Instance, JobProfile, Platform
from dispatchgym.envs.soc.replay import trace_instance
from dispatchgym.envs.soc.rules import RULES
from dispatchgym.envs.soc.validator import (
    JOB_COLUMNS,
    TASK_COLUMNS,
    VIOLATION_CODES,
    validate,
)

JOB, TASK, PE, READY, ASSIGNED, DATA, START, FINISH = range(8)
NUMBERS = ("latency_sum", "completed", "injected", "end_time")


def play(instance, rule="etf", seed=0):
    """The schedule of a rule, as the environment hands it out."""
    env = SoCVectorEnv(1, scenario=instance)
    env.reset(seed=[seed])
    info = env.run_rule(rule)
    schedule = {name: values[0] for name, values in info["schedule"].items()}
    return schedule, info["objective"][0]


def short(scenario="top3-p5-h400", seed=0):
    instance = make_instance(scenario, seed)
    return instance, play(instance)[0]


def codes(instance, schedule):
    return {violation.code for violation in validate(instance, schedule).violations}


def changed(schedule, row, **values):
    """The schedule with other values in a row of the tasks."""
    tasks = schedule["tasks"].copy()
    for name, value in values.items():
        tasks[row, TASK_COLUMNS.index(name)] = value
    return {**schedule, "tasks": tasks}


def named(instance, schedule, code):
    """Jobs and tasks of the faults of one kind."""
    faults = validate(instance, schedule).violations
    return {(fault.job, fault.task) for fault in faults if fault.code == code}


def hand_made(edges=((0, 2, 6), (1, 2, 0)), **workload):
    """One job of two tasks and one that follows, on two PEs, of which the second lacks task 0."""
    platform = Platform("two", ("A", "B"), (Cluster("c", "CPU"),), [0, 0], np.ones((2, 2)), [1, 1])
    duration = np.array([[3, -1], [4, 4], [2, 5]])
    profile = JobProfile("three", ("a", "b", "c"), duration, np.array(edges))
    instance = batch("hand-made", platform, (profile,))
    return replace(instance, workload=replace(instance.workload, **workload))


def by_hand(*rows, **numbers):
    """A schedule of the hand-made job from rows [task, pe, data_time, start, finish]."""
    tasks = []
    ends = {task: finish for task, *_, finish in rows}
    for task, pe, data, start, finish in sorted(rows, key=lambda row: row[3]):
        ready = max(ends[0], ends[1]) if task == 2 else 0
        tasks.append([0, task, pe, ready, ready, data, start, finish])
    last = max(ends.values())
    busy = [sum(row[7] - row[6] for row in tasks if row[2] == pe) for pe in (0, 1)]
    start = min(row[6] for row in tasks)
    schedule = {
        "tasks": np.array(tasks),
        "jobs": np.array([[0, 0, 0, start, last]]),
        "busy": np.array(busy),
        "mode": "commit_ready",
    }
    values = {"seed": 0, "latency_sum": last, "completed": 1, "injected": 1, "end_time": last}
    return schedule | {name: np.array(value) for name, value in (values | numbers).items()}


GOOD = ((0, 0, 0, 0, 3), (1, 1, 0, 0, 4), (2, 1, 9, 9, 14))


# -------------------------------------------------------------------------- acceptance


@pytest.mark.parametrize("block", range(4))
def test_accepts_whatever_the_kernel_plays(block):
    noisy = late = 0
    for seed in range(30 * block, 30 * block + 30):
        instance = varied(seed)
        rule = RULES[seed % len(RULES)]
        schedule, objective = play(instance, rule, seed)
        report = validate(instance, schedule)
        assert report.valid, (seed, rule, report.violations[:3])
        assert report.objective == objective or (np.isnan(objective) and np.isnan(report.objective))
        noisy += instance.workload.noise > 0
        late += instance.workload.strict_ds3
    assert noisy > 5
    assert late > 5


@pytest.mark.parametrize("mode", MODES)
def test_accepts_random_actions_of_every_mode(mode):
    random = np.random.default_rng(0)
    for seed in range(12):
        instance = varied(seed)
        simulation = SoCSimulation(num_lanes=1, scenario=instance, mode=mode)
        simulation.restart(np.ones(1, bool), np.array([seed]))
        while not simulation.terminated[0]:
            legal = np.flatnonzero(simulation.observations["action_mask"][0])
            simulation.step(random.choice(legal, 1), np.ones(1, bool), False)
        schedule = simulation.final_info(0)["schedule"]
        report = validate(instance, schedule)
        assert report.valid, (seed, report.violations[:3])


@pytest.mark.parametrize(
    "scenario", ["top3-p10-noise30", "bal16-mix6-s50-h11000", "top3-p5-strict", "top3-gen"]
)
def test_accepts_rules_on_scenarios(scenario):
    instance = make_instance(scenario, 3)
    for rule in ("random", "met", "etf", "heft_rt"):
        schedule, objective = play(instance, rule, 3)
        report = validate(instance, schedule)
        assert report.valid, report.violations[:3]
        assert report.objective == objective


@needs_data
@pytest.mark.parametrize("name", ["gym_p5_ETF", "gym_p5n_MET", "ds3_mix6_EFT", "gym_top1_heftrt"])
def test_accepts_recorded_schedules(name):
    trace = json.loads((SHARED / "golden" / f"{name}.json").read_text())
    instance = trace_instance(trace)
    rule = trace["meta"]["scheduler"].lower().replace("heftrt", "heft_rt")
    schedule, _ = play(instance, rule)
    assert {tuple(row) for row in trace["tasks"]} == {
        (*row[:3], *row[6:]) for row in schedule["tasks"].tolist() if row[7] >= 0
    }
    report = validate(instance, schedule)
    assert report.valid, report.violations[:3]


def test_accepts_lists_and_padding():
    instance, schedule = short()
    plain = {name: np.asarray(values).tolist() for name, values in schedule.items()}
    assert validate(instance, plain).valid
    padding = np.full((3, 8), -1)
    padded = {**schedule, "tasks": np.vstack([schedule["tasks"], padding])}
    assert validate(instance, padded).valid


def test_accepts_a_schedule_by_hand():
    report = validate(hand_made(), by_hand(*GOOD))
    assert report.valid, report.violations
    assert report.objective == 14.0


# ----------------------------------------------------------- one rule broken after the other


def test_task_missing():
    instance, schedule = short()
    job = int(schedule["jobs"][0, 0])
    row = np.flatnonzero((schedule["tasks"][:, JOB] == job) & (schedule["tasks"][:, TASK] == 9))[0]
    gone = {**schedule, "tasks": np.delete(schedule["tasks"], row, axis=0)}
    assert (job, None) in named(instance, gone, "V1")


def test_job_left_undone():
    instance = make_instance("batch-top1-top2", 0)
    schedule, _ = play(instance)
    fewer = {**schedule, "jobs": schedule["jobs"][:1], "tasks": schedule["tasks"]}
    fewer["tasks"] = fewer["tasks"][fewer["tasks"][:, JOB] == 0]
    assert "V1" in codes(instance, fewer)


def test_rows_out_of_order():
    instance, schedule = short()
    assert "V1" in codes(instance, {**schedule, "tasks": schedule["tasks"][::-1]})


def test_unsupported_element():
    moved = ((0, 1, 0, 0, 3), (1, 0, 0, 0, 4), (2, 1, 4, 4, 9))
    assert named(hand_made(), by_hand(*moved), "V2") == {(0, 0)}


def test_wrong_duration():
    short_one = ((0, 0, 0, 0, 3), (1, 1, 0, 0, 3), (2, 1, 9, 9, 14))
    assert named(hand_made(), by_hand(*short_one), "V3") == {(0, 1)}


def test_durations_are_given():
    given = hand_made(durations=np.array([[3, 4, 7]]))
    assert "V3" in codes(given, by_hand(*GOOD))
    assert codes(given, by_hand(*GOOD[:2], (2, 1, 9, 9, 16))) == set()


def test_durations_are_those_of_the_seed():
    instance, schedule = short("top3-p5-h400-noise30")
    assert codes(instance, schedule) == set()
    assert "V3" in codes(instance, {**schedule, "seed": schedule["seed"] + 1})


def test_start_before_the_job_arrives():
    late = hand_made(arrivals=np.array([[0, 5]]))
    assert "V4" in codes(late, {**by_hand(*GOOD), "jobs": np.array([[0, 0, 5, 0, 14]])})


def test_transfer_cut_short():
    early = (*GOOD[:2], (2, 1, 9, 8, 13))
    assert named(hand_made(), by_hand(*early), "V5") == {(0, 2)}
    assert "V5" in codes(hand_made(), by_hand(*GOOD[:2], (2, 1, 8, 8, 13)))
    without = hand_made(edges=((0, 2, 4), (1, 2, 0)))
    assert codes(without, by_hand(*GOOD[:2], (2, 1, 7, 7, 12))) == set()


def test_start_before_a_predecessor_ends():
    instance, schedule = short()
    tasks = schedule["tasks"]
    row = np.flatnonzero((tasks[:, TASK] == 9) & (tasks[:, FINISH] >= 0))[0]
    start, finish = tasks[row, [START, FINISH]]
    early = changed(schedule, row, start=start - 30, finish=finish - 30)
    assert (tasks[row, JOB], 9) in named(instance, early, "V5")


def test_overlap():
    both = ((0, 0, 0, 0, 3), (1, 0, 0, 2, 6), (2, 0, 6, 6, 8))
    assert named(hand_made(), by_hand(*both), "V6") == {(0, 1)}


def test_task_started_twice():
    instance, schedule = short()
    twice = {**schedule, "tasks": np.vstack([schedule["tasks"], schedule["tasks"][-1:]])}
    job, task = schedule["tasks"][-1, [JOB, TASK]]
    assert named(instance, twice, "V7") == {(job, task)}


def test_capacity_exceeded():
    instance, schedule = short()
    smaller = replace(instance, workload=replace(instance.workload, capacity=2))
    assert (2, None) in named(smaller, schedule, "V8")


@pytest.mark.parametrize("column", ["profile", "generated"])
def test_arrivals_are_those_of_the_seed(column):
    instance, schedule = short()
    jobs = schedule["jobs"].copy()
    place = JOB_COLUMNS.index(column)
    jobs[3, place] = (jobs[3, place] + 1) % (5 if column == "profile" else 10**6)
    assert (3, None) in named(instance, {**schedule, "jobs": jobs}, "V8")


def test_waiting_without_need():
    lazy = (GOOD[0], (1, 1, 0, 1, 5), (2, 1, 9, 9, 14))
    assert named(hand_made(), by_hand(*lazy), "V9") == {(0, 1)}
    assert codes(hand_made(), {**by_hand(*lazy), "planned": True}) == set()


def test_overtaking():
    """Two jobs on one PE: the second one, assigned later, may not go first."""
    platform = Platform("one", ("A",), (Cluster("c", "CPU"),), [0], [[1.0]], [1.0])
    profile = JobProfile("two", ("a", "b"), [[10], [5]], np.empty((0, 3), int))
    instance = batch("overtaking", platform, (profile,), (0, 0))
    arrivals = np.array([[0, 0], [0, 3]])
    instance = replace(instance, workload=replace(instance.workload, arrivals=arrivals))
    starts = {(0, 0): 0, (1, 0): 10, (0, 1): 20, (1, 1): 25}

    def schedule(starts):
        rows = [
            [job, task, 0, 3 * job, 3 * job, 3 * job, start, start + (10, 5)[task]]
            for (job, task), start in starts.items()
        ]
        tasks = np.array(sorted(rows, key=lambda row: row[START]))
        ends = [tasks[tasks[:, JOB] == job, FINISH].max() for job in (0, 1)]
        heads = [tasks[tasks[:, JOB] == job, START].min() for job in (0, 1)]
        return {
            "tasks": tasks,
            "jobs": np.array([[job, 0, 3 * job, heads[job], ends[job]] for job in (0, 1)]),
            "busy": [30],
            "mode": "commit_ready",
            "seed": 0,
            "latency_sum": sum(ends) - 3,
            "completed": 2,
            "injected": 2,
            "end_time": 30,
        }

    assert named(instance, schedule(starts), "V9") == {(0, 1)}
    assert codes(instance, schedule({(0, 0): 0, (0, 1): 10, (1, 0): 15, (1, 1): 25})) == set()


@pytest.mark.parametrize("name", NUMBERS)
def test_number_of_the_result_wrong(name):
    instance, schedule = short()
    assert "V10" in codes(instance, {**schedule, name: schedule[name] + 1})


@pytest.mark.parametrize("column", ["head_start", "finish"])
def test_number_of_a_job_wrong(column):
    instance, schedule = short()
    jobs = schedule["jobs"].copy()
    jobs[1, JOB_COLUMNS.index(column)] += 1
    assert (1, None) in named(instance, {**schedule, "jobs": jobs}, "V10")


def test_busy_wrong():
    instance, schedule = short()
    busy = schedule["busy"].copy()
    busy[1] -= 1
    assert codes(instance, {**schedule, "busy": busy}) == {"V10"}
    assert codes(instance, {**schedule, "busy": busy + 10**6}) == {"V10", "V11"}


def test_quicker_than_alone():
    instance, schedule = short()
    profiles = tuple(replace(profile, optimum=10**6) for profile in instance.profiles)
    wrong = Instance(instance.name, instance.platform, profiles, instance.workload)
    finished = {(int(row[0]), None) for row in schedule["jobs"] if row[4] >= 0}
    assert named(wrong, schedule, "V11") == finished
    assert codes(wrong, schedule) == {"V11"}


def test_no_change_of_a_row_goes_unnoticed():
    random = np.random.default_rng(1)
    for seed in range(3):
        instance, schedule = short("top3-p5-h300", seed)
        count = len(schedule["tasks"])
        for column in TASK_COLUMNS:
            for row in random.integers(0, count, 12):
                value = schedule["tasks"][row, TASK_COLUMNS.index(column)]
                step = random.choice([-1, 1])
                found = validate(instance, changed(schedule, row, **{column: value + step}))
                assert not found.valid, (column, row, step)
                assert np.isnan(found.objective) == (found.violations[0].code == "malformed")


def test_swapped_elements_are_noticed():
    instance, schedule = short()
    tasks = schedule["tasks"]
    first, second = next(
        (a, b) for a in range(len(tasks)) for b in range(a) if tasks[a, PE] != tasks[b, PE]
    )
    tasks = tasks.copy()
    tasks[[first, second], PE] = tasks[[second, first], PE]
    report = validate(instance, {**schedule, "tasks": tasks})
    hit = {(fault.job, fault.task) for fault in report.violations}
    assert {tuple(tasks[first, :2]), tuple(tasks[second, :2])} <= hit


# ------------------------------------------------------------------------------- malformed


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("tasks", None, "tasks: missing"),
        ("tasks", [[1, 2]], r"tasks: found type int64 and shape \(1, 2\)"),
        ("tasks", [[0.5] * 8], "tasks: found type float64"),
        ("tasks", [[1, 2], [3]], "tasks: found no array"),
        ("tasks", [[0, 0, 7, 0, 0, 0, 0, 1]], r"tasks\[0\].pe: found 7, expected 0 to 2"),
        ("tasks", [[0, 10, 0, 0, 0, 0, 0, 1]], r"tasks\[0\].task: found 10, expected 0 to 9"),
        ("tasks", [[99, 0, 0, 0, 0, 0, 0, 1]], r"tasks\[0\].job: found 99"),
        ("tasks", [[0, 0, 0, -5, 0, 0, 0, 1]], r"tasks\[0\].ready: found -5"),
        ("jobs", [[1, 0, 0, 0, 0]], r"jobs\[0\].job: found 1, expected 0"),
        ("jobs", [[0, 5, 0, 0, 0]], r"jobs\[0\].profile: found 5, expected 0 to 4"),
        ("seed", -1, "seed: found -1"),
        ("latency_sum", 1.5, "latency_sum: found type float64"),
        ("busy", [1, 2], r"busy: found type int64 and shape \(2,\)"),
        ("mode", "guess", "mode: found 'guess', expected one of commit_ready"),
    ],
)
def test_malformed(field, value, said):
    instance, schedule = short()
    broken = {**schedule, field: value}
    if value is None:
        del broken[field]
    report = validate(instance, broken)
    assert not report.valid
    assert np.isnan(report.objective)
    assert [fault.code for fault in report.violations] == ["malformed"]
    assert re.match(said, report.violations[0].message)


def test_wrong_arguments():
    instance, schedule = short()
    with pytest.raises(ParameterError, match="schedule: found list, expected a mapping"):
        validate(instance, [])
    with pytest.raises(ParameterError, match="instance: found dict, expected an Instance"):
        validate({}, schedule)


def test_every_code_is_explained():
    assert list(VIOLATION_CODES) == ["malformed", *(f"V{rule}" for rule in range(1, 13))]
