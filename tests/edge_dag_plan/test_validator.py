"""The validator finds every kind of fault, and only faults."""

import numpy as np
import pytest
from edge_dag_plan.cases import diamond, simulate, varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_dag_plan import validate
from dispatchgym.envs.edge_dag_plan.validator import VIOLATION_CODES


def schedule_of(instance, actions, **options):
    simulation = simulate([instance], **options)
    for action in actions:
        simulation.step(np.array([action]), np.ones(1, np.bool_), False)
    return simulation.final_info(0)["schedule"]


@pytest.fixture
def plan():
    """0 on the device, 1 on the server, 2 and 3 on the device; see test_kernel."""
    return schedule_of(diamond(), (0, 1, 0, 0))


def codes(schedule, instance=None):
    return {fault.code for fault in validate(instance or diamond(), schedule).violations}


def test_a_valid_plan(plan):
    report = validate(diamond(), plan)
    assert report.valid
    assert report.objective.tolist() == [14, 27.5]
    assert report.preference.tolist() == [0.5, 0.5]


def shifted(plan, task, columns, by):
    times = plan["times"].copy()
    times[task, columns] += by
    return {**plan, "times": times}


@pytest.mark.parametrize(
    ("task", "columns", "by", "code"),
    [
        (1, [3, 4, 5, 6], 1.0, "V3"),  # an upload that takes too long
        (2, [1], -1.0, "V3"),  # computing that takes too short
        (1, [6], 1.0, "V3"),  # a download
        (2, [0, 1], 1.0, "V6"),  # idles without need
        (2, [0, 1], -3.0, "V8"),  # before its parent
        (1, [4, 5, 6], -1.0, "V8"),  # on the server before it has been uploaded
        (1, [2, 3, 4, 5, 6], -2.0, "V8"),  # uploaded before its parent is done
        (1, [2, 3, 4, 5, 6], 2.0, "V7"),  # uploaded later than it could be
        (3, [0, 1], -2.0, "V8"),  # before the download of its parent
    ],
)
def test_wrong_times(plan, task, columns, by, code):
    assert code in codes(shifted(plan, task, columns, by))


def test_two_tasks_at_once_on_the_device():
    instance = diamond(edges=np.zeros((0, 2), np.int64))
    plan = schedule_of(instance, (0, 0, 0, 0), order="index")
    assert codes(plan, instance) == set()
    assert "V6" in codes(shifted(plan, 1, [0, 1], -4.0), instance)


def test_two_uploads_at_once():
    instance = diamond(edges=np.zeros((0, 2), np.int64))
    plan = schedule_of(instance, (1, 1, 1, 1), order="index")
    assert "V7" in codes(shifted(plan, 1, [2, 3, 4, 5, 6], -2.0), instance)
    published = {**plan, "uplink_queue": np.array("published_code")}
    assert "V7" in codes(published, instance)


def test_times_of_another_place(plan):
    assert "V3" in codes(shifted(plan, 0, [6], 5.0))
    assert "V3" in codes(shifted(plan, 1, [0, 1], 5.0))


def test_totals(plan):
    assert codes({**plan, "makespan": np.array(13.0)}) == {"V10"}
    assert codes({**plan, "energy": np.array(27.4)}) == {"V9"}
    report = validate(diamond(), {**plan, "energy": np.array(27.4)})
    assert report.objective.tolist() == [14, 27.5]


def test_order(plan):
    assert codes({**plan, "order": np.array([0, 1, 1, 3])}) == {"V1"}
    assert "V8" in codes({**plan, "order": np.array([1, 0, 2, 3])})
    swapped = schedule_of(diamond(), (0, 0, 1, 0))
    assert "V4" in codes({**swapped, "order": np.array([0, 2, 1, 3])})
    by_number = diamond(edges=np.array([[3, 0]]))
    plan = schedule_of(by_number, (0, 0, 0, 0), order="index")
    assert codes(plan, by_number) == set()
    assert "V4" in codes({**plan, "order": np.array([2, 1, 3, 0])}, by_number)


def test_places(plan):
    assert codes({**plan, "place": np.array([0, 2, 0, 0])}) == {"V2"}
    assert codes({**plan, "place": np.array([0, -1, 0, 0])}) == {"V2"}


@pytest.mark.parametrize(
    "change",
    [
        {"order": None},
        {"order": np.array([0.0, 1.0, 2.0, 3.0])},
        {"order": np.array([0, 1, 2])},
        {"order": np.array([0, 1, 2, 3, 0])},
        {"place": np.array("x")},
        {"times": np.zeros((4, 6))},
        {"times": np.full((4, 7), np.nan)},
        {"makespan": np.array([1.0, 2.0])},
        {"energy": "much"},
        {"preference": np.array([1.0])},
        {"uplink_queue": np.array("fifo")},
        {"decided_by": np.array(3)},
    ],
)
def test_malformed(plan, change):
    report = validate(diamond(), {**plan, **change})
    assert [fault.code for fault in report.violations] == ["malformed"]
    assert not report.valid and np.isnan(report.objective).all()


def test_missing_fields(plan):
    for name in plan:
        rest = {key: value for key, value in plan.items() if key != name}
        report = validate(diamond(), rest)
        assert [fault.code for fault in report.violations] == ["malformed"]
        assert name in report.violations[0].message


def test_arguments():
    with pytest.raises(ParameterError, match="schedule: found list"):
        validate(diamond(), [])
    with pytest.raises(ParameterError, match="instance: found dict"):
        validate({}, {})


def test_every_code_can_be_found():
    """By the tests above."""
    assert set(VIOLATION_CODES) == {
        "malformed", "V1", "V2", "V3", "V4", "V6", "V7", "V8", "V9", "V10"
    }  # fmt: skip


def test_any_change_of_a_time_is_found():
    generator = np.random.default_rng(0)
    for instance in varied(9):
        simulation = simulate([instance])
        simulation.run_rule("random")
        schedule = {
            key: value[0]
            for key, value in simulation.final_infos(np.ones(1, np.bool_))["schedule"].items()
        }
        assert codes(schedule, instance) == set()
        task = int(generator.integers(instance.num_tasks))
        column = 1 if schedule["place"][task] == 0 else int(generator.integers(2, 7))
        assert codes(shifted(schedule, task, [column], instance.local_latency / 100), instance)
