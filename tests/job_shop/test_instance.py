"""The instance record: what it refuses, what it derives, and its JSON form."""

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError
from dispatchgym.envs.job_shop.instance import JSON_FORMAT, Bounds, Instance

JOBS = [[(0, 2), (1, 3)], [(1, 2)]]

instances = st.integers(1, 6).flatmap(
    lambda machines: st.builds(
        Instance.from_jobs,
        st.lists(
            st.lists(
                st.tuples(st.integers(0, machines - 1), st.integers(0, 1000)),
                min_size=1,
                max_size=7,
            ),
            min_size=1,
            max_size=6,
        ),
        name=st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=9),
        num_machines=st.just(machines),
    )
)


def build(**changes):
    fields = {
        "name": "x",
        "machine": np.array([[0, 1], [1, -1]]),
        "duration": np.array([[2, 3], [2, 0]]),
        "operations": np.array([2, 1]),
        "num_machines": 2,
    }
    return Instance(**{**fields, **changes})


def test_from_jobs_pads():
    instance = Instance.from_jobs(JOBS)
    assert instance == build()
    assert instance.machine.tolist() == [[0, 1], [1, -1]]
    assert instance.duration.tolist() == [[2, 3], [2, 0]]
    assert instance.jobs() == JOBS
    assert (instance.num_jobs, instance.max_operations, instance.num_operations) == (2, 2, 3)


def test_derived_values():
    instance = Instance.from_jobs(JOBS, release=[0, 9])
    assert instance.machine_load.tolist() == [2, 5]
    assert instance.lower_bound == 11
    assert instance.mean_duration == pytest.approx(7 / 3)
    assert not instance.reentrant
    assert Instance.from_jobs([[(0, 1), (0, 1)]]).reentrant


def test_arrays_are_read_only_and_private():
    machine = np.array([[0, 1], [1, -1]])
    instance = build(machine=machine)
    machine[0, 0] = 1
    assert instance.machine[0, 0] == 0
    for array in (
        instance.machine,
        instance.duration,
        instance.operations,
        instance.release,
        instance.machine_load,
    ):
        assert array.dtype == np.int64 and array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_copies_are_equal_and_read_only():
    instance = build(bounds={"classic": Bounds(5, 6)})
    for twin in (pickle.loads(pickle.dumps(instance)), copy.deepcopy(instance)):
        assert twin == instance and hash(twin) == hash(instance)
        assert twin.bounds == instance.bounds and twin.name == instance.name
        assert not twin.machine.flags.writeable


def test_equality_is_about_the_problem():
    assert build(name="y", bounds={"classic": Bounds(5, 6)}) == build()
    assert build(num_machines=3) != build()
    assert build(release=np.array([0, 1])) != build()
    assert build(duration=np.array([[2, 4], [2, 0]])) != build()
    assert build() != "x"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 3}, "name"),
        ({"num_machines": 1}, r"jobs\[0\]\[1\] machine: found 1"),
        ({"num_machines": True}, "num_machines"),
        ({"num_machines": 10**9}, "num_machines"),
        ({"machine": np.array([[0, 1], [1, 0]])}, r"jobs\[1\]\[1\] machine: found 0"),
        ({"machine": np.array([[0, -2], [1, -1]])}, r"jobs\[0\]\[1\] machine: found -2"),
        ({"machine": np.array([[0.0, 1], [1, -1]])}, "machine: found an array of type float64"),
        ({"machine": [[0, 1], [1]]}, "machine: found rows of unequal length"),
        ({"machine": np.array([0, 1])}, r"machine: .* shape \(2,\)"),
        ({"duration": np.array([[2, -3], [2, 0]])}, r"jobs\[0\]\[1\] duration: found -3"),
        ({"duration": np.array([[2, 3], [2, 1]])}, r"jobs\[1\]\[1\] duration: found 1"),
        ({"duration": np.array([[2, 3, 1], [2, 0, 0]])}, r"duration: found shape \(2, 3\)"),
        ({"duration": np.array([[2**62, 2**62], [2**62, 0]])}, r"duration: .*2\^31"),
        ({"duration": np.array([[2**63, 3], [2, 0]], np.uint64)}, r"duration: found \d+"),
        ({"operations": np.array([2, 0])}, r"operations\[1\]: found 0"),
        ({"operations": np.array([2, 3])}, r"operations\[1\]: found 3"),
        ({"operations": np.array([1, 1])}, "machine: found 2 columns"),
        ({"release": np.array([0, -1])}, r"release\[1\]: found -1"),
        ({"release": np.array([0])}, "release: found shape"),
        ({"bounds": {"open": Bounds(1, 9)}}, "bounds: found 'open'"),
        ({"bounds": {"classic": (1, 9)}}, "bounds: found 'classic'"),
        ({"bounds": {"classic": Bounds(1, 4)}}, "bounds.classic.upper: found 4"),
        ({"bounds": [1]}, "bounds"),
    ],
)
def test_wrong_fields_are_named(changes, place):
    with pytest.raises(InstanceError, match=place):
        build(**changes)


@pytest.mark.parametrize(
    ("jobs", "place"),
    [
        ([], "jobs: found none"),
        ([[]], r"jobs\[0\]: found no operation"),
        ([[(0, 1)], []], r"jobs\[1\]: found no operation"),
        ([[(0, 1, 2)]], r"jobs\[0\]\[0\]: found 3 values"),
        ([[(0, 1.0)]], r"jobs\[0\]\[0\] duration: found 1.0"),
        ([[(0, 1), (0, True)]], r"jobs\[0\]\[1\] duration: found True"),
        ([[("0", 1)]], r"jobs\[0\]\[0\] machine: found '0'"),
        ([[(-1, 1)]], r"jobs\[0\]\[0\] machine: found -1"),
        ([[(0, 10**40)]], r"jobs\[0\]\[0\] duration: found an integer of more than 30"),
        ([[0]], r"jobs\[0\]\[0\]: found 0"),
        (["ab"], r"jobs\[0\]: found 'ab'"),
        (7, "jobs: found 7"),
    ],
)
def test_wrong_jobs_are_named(jobs, place):
    with pytest.raises(InstanceError, match=place):
        Instance.from_jobs(jobs)


def test_one_long_job_among_many_is_refused_before_memory_is_taken():
    jobs = [[(0, 0)] * 10_000] + [[(0, 0)]] * 10_000
    with pytest.raises(InstanceError, match="expected at most"):
        Instance.from_jobs(jobs)


def test_bounds():
    assert Bounds(5, 5).proved and not Bounds(4, 5).proved
    with pytest.raises(InstanceError, match="lower: found 6"):
        Bounds(6, 5)
    with pytest.raises(InstanceError, match="upper: found True"):
        Bounds(0, True)
    with pytest.raises(InstanceError, match="source"):
        Bounds(1, 2, source=3)


@given(instances)
@settings(max_examples=200, deadline=None)
def test_json_round_trip(instance):
    twin = Instance.from_json(instance.to_json())
    assert twin == instance and twin.name == instance.name


def test_json_keeps_everything():
    instance = Instance.from_jobs(
        JOBS,
        name="n",
        num_machines=4,
        release=[0, 5],
        bounds={"blocking": Bounds(7, 9, "somewhere", "2020-01")},
    )
    twin = Instance.from_json(instance.to_json())
    assert twin == instance
    assert (twin.name, twin.bounds) == ("n", instance.bounds)


def document(**changes):
    fields = {"format": JSON_FORMAT, "num_machines": 2, "jobs": JOBS}
    fields.update(changes)
    return json.dumps({key: value for key, value in fields.items() if value != "absent"})


WRONG_JSON = [
    ("", "line 1, column 1"),
    ('{"format": ', "line 1, column 12"),
    ('{\n"format": 1,\n}', "line 2, column 12|line 3, column 1"),
    ("[1, 2]", "expected a JSON object"),
    ("[" * 100_000, "nested too deeply"),
    ('{"a":' * 100_000, "nested too deeply"),
    ("{}", "format: found None"),
    (document(format="dispatchgym/job_shop/2"), "format: found 'dispatchgym/job_shop/2'"),
    (document(jobs="absent"), "jobs: missing"),
    (document(num_machines="absent"), "num_machines: missing"),
    (document(colour=3), "'colour': unknown field"),
    (document(jobs=[]), "jobs: found none"),
    (document(jobs={}), "jobs: found a dict"),
    (document(jobs=[[[0, 1]], 3]), r"jobs\[1\]: found 3"),
    (document(jobs=[[[0, 1], [1]]]), r"jobs\[0\]\[1\]: found 1 values"),
    (document(jobs=[[[0, 1], [2, 1]]]), r"jobs\[0\]\[1\] machine: found 2"),
    (document(jobs=[[[0, 1.5]]]), r"jobs\[0\]\[0\] duration: found 1.5"),
    (document(jobs=[[[0, True]]]), r"jobs\[0\]\[0\] duration: found True"),
    (document(jobs=[[[0, None]]]), r"jobs\[0\]\[0\] duration: found None"),
    (document(jobs=[[[0, float("nan")]]]), r"jobs\[0\]\[0\] duration: found nan"),
    (document(jobs=[[[0, float("inf")]]]), r"jobs\[0\]\[0\] duration: found inf"),
    (document(jobs=[[[0, -1]]]), r"jobs\[0\]\[0\] duration: found -1"),
    (document(jobs=[[[0, 2**31]]]), r"jobs\[0\]\[0\] duration: found 2147483648"),
    (document(jobs=[[[0, 2**30]] * 2]), "duration: found a sum"),
    (document(num_machines=10**18), "num_machines: found"),
    (document(num_machines=[[[]]]), "num_machines: found a list"),
    (document(name=""), "name: found ''"),
    (document(name="\ud800"), "name: found"),
    (document(release=[0]), r"release: found shape \(1,\)"),
    (document(release=[0, -1]), r"release\[1\]: found -1"),
    (document(release=5), "release: found 5"),
    (document(bounds=[]), "bounds: found a list"),
    (document(bounds={"open": {}}), "bounds.'open': unknown"),
    (document(bounds={"classic": 5}), "bounds.classic: found 5"),
    (document(bounds={"classic": {"lower": 5}}), "bounds.classic.upper: missing"),
    (document(bounds={"classic": {"lower": 9, "upper": 8}}), "bounds.classic.lower: found 9"),
    (document(bounds={"classic": {"lower": 1, "upper": 4}}), "bounds.classic.upper: found 4"),
    (
        document().replace("[0, 2]", "[0, " + "9" * 5000 + "]"),
        r"jobs\[0\]\[0\] duration: found inf",
    ),
    ('{"format": 1, "format": 2}', "'format': found twice"),
]


@pytest.mark.parametrize(("text", "place"), WRONG_JSON, ids=range(len(WRONG_JSON)))
def test_wrong_json_is_named(text, place):
    with pytest.raises(InstanceFormatError, match=f"shop.json: .*({place})"):
        Instance.from_json(text, "shop.json")
