"""The validator accepts what the reference simulator makes and finds every kind of corruption."""

import numpy as np
import pytest
from job_shop.reference import (
    RULES,
    Settings,
    play,
    random_jobs,
    random_policy,
    random_settings,
    run,
)

from dispatchgym.envs.core.errors import DispatchGymError, ParameterError
from dispatchgym.envs.job_shop.instance import Bounds, Instance
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.validator import VIOLATION_CODES, validate

RAGGED = Instance.from_jobs(
    [[(0, 3), (1, 4), (2, 2)], [(1, 2), (0, 5)], [(2, 6), (1, 1), (0, 2)], [(2, 3)]],
    release=[0, 1, 0, 4],
)
SWAP_INSTANCE = Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]])
OPERATION_SHUTDOWNS = {
    "interrupt_kind": "per_operation",
    "interrupt_probability": 0.5,
    "interrupt_seed": 5,
}
CALENDAR = {"interrupt_kind": "calendar", "interrupt_probability": 0.1, "interrupt_seed": 2}


def codes(instance, schedule):
    return {violation.code for violation in validate(instance, schedule).violations}


def schedule_of(instance=RAGGED, rule="mwkr", **settings):
    schedule = run(instance, Settings(**settings), rule)
    assert validate(instance, schedule).valid
    return schedule


@pytest.mark.parametrize("block", range(10))
def test_accepts_whatever_the_reference_does(block):
    finished = 0
    for seed in range(100 * block, 100 * block + 100):
        rng = np.random.default_rng(seed)
        jobs, release = random_jobs(rng)
        instance = Instance.from_jobs(jobs, release=release)
        shop = play(instance, random_settings(rng), random_policy(rng))
        report = validate(instance, shop.schedule())
        if shop.deadlock:
            assert {violation.code for violation in report.violations} == {"incomplete"}
        else:
            assert report.valid, report.violations
            assert report.objective == shop.makespan
            finished += 1
    assert finished > 80


def test_accepts_rules_on_instances_of_the_literature():
    for name in ("ft06", "la01", "la16", "orb07"):
        for mode in ("classic", "blocking"):
            for rule in RULES:
                instance = literature(name)
                report = validate(instance, run(instance, Settings(mode=mode), rule))
                assert report.valid, report.violations


def test_accepts_lists_and_whole_floats_and_padding():
    schedule = schedule_of(mode="blocking", **OPERATION_SHUTDOWNS)
    plain = {key: value.tolist() for key, value in schedule.items()}
    assert validate(RAGGED, plain).valid
    for name in ("start", "processing_end", "end"):
        padded = np.full((6, 5), -1.0)
        padded[:4, :3] = schedule[name]
        schedule[name] = padded
    rows = schedule["interruptions"]
    schedule["interruptions"] = np.vstack([rows, np.full((3, 5), -1)])
    assert validate(RAGGED, schedule).valid


# ------------------------------------------------------------------------ corruptions


@pytest.mark.parametrize("mode", ["classic", "blocking"])
@pytest.mark.parametrize("name", ["start", "processing_end", "end"])
def test_missing_operation(mode, name):
    schedule = schedule_of(mode=mode)
    schedule[name][2, 1] = -1
    report = validate(RAGGED, schedule)
    (violation,) = (v for v in report.violations if v.code == "incomplete")
    assert (violation.job, violation.operation, violation.machine) == (2, 1, 1)


def test_operation_that_does_not_exist():
    schedule = schedule_of()
    schedule["end"][3, 2] = 5
    assert codes(RAGGED, schedule) == {"unknown_operation"}


def test_start_before_release():
    schedule = schedule_of(mode="classic")
    for name in ("start", "processing_end", "end"):
        schedule[name][1, 0] -= schedule["start"][1, 0]
    assert "release" in codes(RAGGED, schedule)


@pytest.mark.parametrize("mode", ["classic", "blocking"])
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_processing_time(mode, change):
    schedule = schedule_of(mode=mode)
    schedule["processing_end"][0, 0] += change
    report = validate(RAGGED, schedule)
    assert [(v.job, v.operation) for v in report.violations if v.code == "duration"] == [(0, 0)]


def test_departure_before_the_end_of_processing():
    schedule = schedule_of(mode="blocking")
    schedule["end"][0, 1] = schedule["processing_end"][0, 1] - 1
    schedule["start"][0, 2] = schedule["end"][0, 1]
    assert "departure" in codes(RAGGED, schedule)


def test_last_operation_may_not_linger():
    schedule = schedule_of(mode="blocking")
    job = int(schedule["end"].max(axis=1).argmax())
    schedule["end"][job, RAGGED.operations[job] - 1] += 1
    schedule["makespan"] += 1
    assert codes(RAGGED, schedule) == {"departure"}


def test_classic_operation_may_not_linger():
    schedule = schedule_of(mode="classic")
    schedule["end"][0, 0] += 1
    assert "departure" in codes(RAGGED, schedule)


@pytest.mark.parametrize("mode", ["classic", "blocking"])
def test_operations_of_a_job_out_of_order(mode):
    schedule = schedule_of(mode=mode)
    for name in ("start", "processing_end", "end"):
        schedule[name][0, 1] = schedule["end"][0, 0] - 1
    assert "job_order" in codes(RAGGED, schedule)


def test_no_storage_between_machines_in_blocking_mode():
    """A classic schedule in which some job waits is not one without buffers."""
    instance = Instance.from_jobs(literature("ft06").jobs())
    schedule = schedule_of(instance, mode="classic")
    schedule["mode"] = np.array("blocking")
    assert codes(instance, schedule) == {"job_order"}


@pytest.mark.parametrize("mode", ["classic", "blocking"])
def test_two_operations_at_once(mode):
    schedule = schedule_of(mode=mode)
    for name in ("start", "processing_end", "end"):
        schedule[name][3, 0] = schedule[name][2, 0]
    schedule["processing_end"][3, 0] = schedule["end"][3, 0] = schedule["start"][3, 0] + 3
    assert "capacity" in codes(RAGGED, schedule)


def test_all_overlaps_are_reported():
    instance = Instance.from_jobs([[(0, 9)], [(0, 1)], [(0, 1)], [(0, 1)]])
    schedule = schedule_of(instance)
    for job, start in enumerate([0, 2, 4, 6]):
        schedule["start"][job, 0] = start
    ends = schedule["start"] + instance.duration
    schedule["processing_end"], schedule["end"] = ends, ends.copy()
    schedule["makespan"] = np.array(9)
    report = validate(instance, schedule)
    assert [(v.code, v.job) for v in report.violations] == [("capacity", j) for j in (1, 2, 3)]


def test_zero_duration_inside_another_operation_but_not_at_its_edges():
    instance = Instance.from_jobs([[(0, 4)], [(0, 0)]])
    schedule = schedule_of(instance)
    for time, expected in ((0, set()), (2, {"capacity"}), (4, set())):
        for name in ("start", "processing_end", "end"):
            schedule[name][1, 0] = time
        assert codes(instance, schedule) == expected


def test_exchange_where_swaps_are_forbidden():
    schedule = schedule_of(SWAP_INSTANCE, mode="blocking")
    schedule["swap"] = np.array(False)
    (violation,) = validate(SWAP_INSTANCE, schedule).violations
    assert (violation.code, violation.times) == ("swap", (2,))


def test_longer_exchanges_where_swaps_are_forbidden():
    found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        jobs, _ = random_jobs(rng)
        instance = Instance.from_jobs([[(m, p + 1) for m, p in job] for job in jobs])
        shop = play(instance, Settings(mode="blocking"), random_policy(rng))
        schedule = shop.schedule()
        schedule["swap"] = np.array(False)
        assert codes(instance, schedule) == ({"swap"} if shop.swaps else set())
        found += bool(shop.swaps)
    assert found > 10


def test_passing_through_in_no_time_has_an_order_without_exchange():
    """Two jobs pass machine 0 at one instant; one of the two orders needs no exchange."""
    instance = Instance.from_jobs([[(0, 0), (1, 3)], [(1, 1), (0, 0), (2, 1)]])
    schedule = schedule_of(instance, mode="blocking")
    schedule["swap"] = np.array(False)
    for name, rows in {
        "start": [[1, 1, -1], [0, 1, 1]],
        "processing_end": [[1, 4, -1], [1, 1, 2]],
        "end": [[1, 4, -1], [1, 1, 2]],
    }.items():
        schedule[name] = np.array(rows)
    schedule["makespan"] = np.array(4)
    assert codes(instance, schedule) == set()


def test_nobody_slips_between_two_operations_of_a_job():
    """Job 0 stays on its machine for two operations; job 1 is there for no time in between."""
    instance = Instance.from_jobs([[(0, 3), (0, 2)], [(0, 0)]])
    schedule = schedule_of(instance, mode="blocking", swap=False)
    for time, expected in ((0, set()), (3, {"swap"}), (5, set())):
        for name in ("start", "processing_end", "end"):
            schedule[name][1, 0] = time
        assert codes(instance, schedule) == expected


@pytest.mark.parametrize("settings", [OPERATION_SHUTDOWNS, CALENDAR])
@pytest.mark.parametrize("policy", ["resume", "restart", "finish_first"])
def test_interruption_log(settings, policy):
    original = schedule_of(mode="blocking", interrupt_policy=policy, **settings)
    log = original["interruptions"]
    assert len(log) >= 2
    for changed in (log[1:], np.vstack([log, log[:1]]), np.vstack([log, [[0, 1, 2, -1, -1]]])):
        assert codes(RAGGED, {**original, "interruptions": changed}) == {"interruption_log"}
    shifted = log.copy()
    shifted[0, 2] += 1
    assert codes(RAGGED, {**original, "interruptions": shifted}) == {"interruption_log"}


def test_interruptions_of_another_seed():
    schedule = schedule_of(mode="blocking", **OPERATION_SHUTDOWNS)
    schedule["interrupt_seed"] = np.array(6, dtype=np.uint64)
    assert {"interruption_log", "duration"} <= codes(RAGGED, schedule)


def test_interruptions_although_there_are_none():
    schedule = schedule_of(mode="blocking")
    schedule["interruptions"] = np.array([[0, 1, 3, -1, -1]])
    assert codes(RAGGED, schedule) == {"interruption_log"}


def test_pauses_left_out():
    """Processing goes on during a shutdown."""
    schedule = schedule_of(mode="classic", **OPERATION_SHUTDOWNS)
    _, _, _, job, operation = schedule["interruptions"][0]
    assert schedule["interruptions"][0, 3] >= 0
    finish = schedule["start"][job, operation] + RAGGED.duration[job, operation]
    schedule["processing_end"][job, operation] = schedule["end"][job, operation] = finish
    assert "duration" in codes(RAGGED, schedule)


def test_start_on_a_machine_that_is_down():
    """Calendar: the second job starts at once although the machine has just broken down."""
    instance = Instance.from_jobs([[(0, 3)], [(0, 3)], [(0, 3)], [(0, 3)]])
    found = 0
    for seed in range(20):
        schedule = schedule_of(instance, **{**CALENDAR, "interrupt_seed": seed})
        begin, end = schedule["interruptions"][0, 1:3] if len(schedule["interruptions"]) else (0, 0)
        for job in range(4):
            if schedule["start"][job, 0] == end > 0:
                schedule["start"][job, 0] = begin
                report = validate(instance, schedule)
                (violation,) = (v for v in report.violations if v.code == "start_when_down")
                assert (violation.job, violation.times) == (job, (begin, begin, end))
                found += 1
    assert found > 0


def test_start_behind_an_operation_that_shut_its_machine_down():
    """Finish first: the next operation has to wait for the repair."""
    instance = Instance.from_jobs([[(0, 5)], [(0, 5)]])
    settings = {**OPERATION_SHUTDOWNS, "interrupt_policy": "finish_first"}
    schedule = schedule_of(instance, **{**settings, "interrupt_probability": 0.99})
    assert schedule["start"][1, 0] > 5
    schedule["start"][1, 0] = 5
    assert "start_when_down" in codes(instance, schedule)


def test_departure_from_a_machine_that_is_down_and_cannot_be_unloaded():
    instance = Instance.from_jobs([[(0, 5), (1, 2)]])
    settings = {
        **OPERATION_SHUTDOWNS,
        "interrupt_policy": "finish_first",
        "interrupt_probability": 0.99,
        "mode": "blocking",
    }
    schedule = schedule_of(instance, **settings)
    assert schedule["end"][0, 0] == 5
    schedule["unload_when_down"] = np.array(False)
    assert codes(instance, schedule) == {"unload_when_down"}


def test_makespan_reported_wrong():
    schedule = schedule_of()
    true = float(schedule["makespan"])
    schedule["makespan"] += 1
    report = validate(RAGGED, schedule)
    assert [v.code for v in report.violations] == ["makespan"]
    assert report.objective == true


@pytest.mark.parametrize(
    ("mode", "kind", "found"),
    [
        ("classic", "classic", True),
        ("blocking", "blocking", True),
        ("blocking", "classic", True),
        ("classic", "blocking", False),
    ],
)
def test_makespan_below_a_proven_bound(mode, kind, found):
    schedule = schedule_of(SWAP_INSTANCE, mode=mode)
    instance = Instance.from_jobs(SWAP_INSTANCE.jobs(), bounds={kind: Bounds(100, 100)})
    assert codes(instance, schedule) == ({"below_bound"} if found else set())


def test_every_fault_is_reported():
    schedule = schedule_of(mode="blocking", **OPERATION_SHUTDOWNS)
    schedule["processing_end"][0, 0] += 1
    schedule["start"][2, 1] += 1
    schedule["makespan"] += 5
    schedule["interruptions"] = schedule["interruptions"][:0]
    schedule["end"][3, 1] = 7
    assert {"duration", "job_order", "makespan", "interruption_log", "unknown_operation"} <= codes(
        RAGGED, schedule
    )


def test_semi_active_check_warns_only():
    schedule = schedule_of(literature("ft06"), mode="classic")
    assert validate(literature("ft06"), schedule, semi_active=True).warnings == []
    job = int(schedule["end"].max(axis=1).argmax())
    for name in ("start", "processing_end", "end"):
        schedule[name][job, -1] += 2
    schedule["makespan"] += 2
    report = validate(literature("ft06"), schedule, semi_active=True)
    assert report.valid
    assert [(v.code, v.job, v.operation) for v in report.warnings] == [("not_semi_active", job, 5)]


def test_rules_make_semi_active_schedules():
    for kind in ({}, OPERATION_SHUTDOWNS):
        for mode in ("classic", "blocking"):
            schedule = run(literature("la01"), Settings(mode=mode, **kind), "lpt")
            assert validate(literature("la01"), schedule, semi_active=True).warnings == []


# ---------------------------------------------------------------------- malformed input


def _with(name, value):
    return {**schedule_of(mode="blocking", **OPERATION_SHUTDOWNS), name: value}


def _without(name):
    schedule = schedule_of(mode="blocking", **OPERATION_SHUTDOWNS)
    del schedule[name]
    return schedule


FIELDS = tuple(run(RAGGED, Settings(), "spt"))
WRONG_VALUES = {
    "start": [np.zeros((2, 2)), np.zeros(12), "x", None, [[1], [1, 2]], np.full((4, 3), 0.5)],
    "end": [np.full((4, 3), np.nan), np.full((4, 3), np.inf), np.full((4, 3), 2**62), {}],
    "processing_end": [np.zeros((4, 3), dtype=bool), np.zeros((4, 3), dtype=object), [["a"]]],
    "interruptions": [np.zeros((2, 4)), np.zeros(5), np.full((1, 5), np.nan), "x", object()],
    "mode": ["interrupting", 1, None, b"classic", ["classic", "classic"]],
    "swap": ["yes", None, 2, [True, True]],
    "interrupt_kind": ["", 0, np.zeros(3)],
    "interrupt_probability": [1.0, -0.1, np.nan, "0.1", None, 1j],
    "interrupt_policy": ["stop", np.array([])],
    "interrupt_length": [[1.0], [2.0, 1.0], [np.nan, 1.0], [0.5, np.inf], [-1, 1], "ab", None],
    "unload_when_down": ["", 3],
    "interrupt_seed": [-1, 2**64, 0.5, None, "7", np.nan],
    "makespan": [np.nan, 1.5, "12", None, np.inf, [1, 2], 2**80],
}


@pytest.mark.parametrize("name", FIELDS)
def test_missing_field(name):
    report = validate(RAGGED, _without(name))
    assert [v.code for v in report.violations] == ["malformed"]
    assert name in report.violations[0].message
    assert not report.valid and np.isnan(report.objective)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_VALUES.items() for value in values]
)
def test_wrong_type_or_shape(name, value):
    report = validate(RAGGED, _with(name, value))
    malformed = [v for v in report.violations if v.code == "malformed"]
    assert len(malformed) == 1 and name in malformed[0].message


def test_arguments_of_the_wrong_type():
    for instance, schedule in ((RAGGED, [1, 2]), ("ft06", {})):
        with pytest.raises(ParameterError):
            validate(instance, schedule)
    assert issubclass(ParameterError, DispatchGymError)


@pytest.mark.filterwarnings("error")
def test_random_damage_never_escapes_as_another_error():
    rng = np.random.default_rng(0)
    seen = set()
    for round_number in range(1500):
        kind = (OPERATION_SHUTDOWNS, CALENDAR, {})[round_number % 3]
        mode = ("classic", "blocking")[round_number % 2]
        settings = Settings(mode=mode, swap=bool(rng.random() < 0.8), **kind)
        schedule = run(RAGGED, settings, "spt")
        for _ in range(int(rng.integers(1, 4))):
            name = str(rng.choice(["start", "processing_end", "end", "interruptions", "makespan"]))
            array = schedule[name]
            if array.size:
                values = [-1, -5, 0, 1, 7, 1000, 2**40, 2**50]
                array.flat[rng.integers(array.size)] = rng.choice(values)
        seen |= codes(RAGGED, schedule)
    elsewhere = {"not_semi_active", "below_bound", "malformed", "unload_when_down", "swap"}
    assert seen >= set(VIOLATION_CODES) - elsewhere
