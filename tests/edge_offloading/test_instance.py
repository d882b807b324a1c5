"""Instances refuse what is no problem, and survive JSON."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from edge_offloading.cases import small, varied

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError
from dispatchgym.envs.edge_offloading import OffloadInstance, load, make_instance
from dispatchgym.envs.edge_offloading.parsers import dumps, loads, write


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name: found ''"),
        ({"frequency": np.array([])}, "frequency: found 0 servers, expected 1 to"),
        ({"frequency": np.array([4e9, -2e9])}, "frequency[1]: found -2000000000.0"),
        ({"uplink": np.zeros((3, 2))}, "uplink[0][0]: found 0.0"),
        ({"uplink": np.full((3, 2), -8e6)}, "uplink[0][0]: found -8000000.0"),
        ({"uplink": np.full((3, 3), 8e6)}, "uplink: found shape (3, 3), expected (3, 2)"),
        ({"bits": np.array([4e6, 0.0, 2e6])}, "bits[1]: found 0.0"),
        ({"bits": np.array([4e6, np.nan, 2e6])}, "bits[1]: found nan"),
        ({"release": np.array([0.0, 2.0, 1.0])}, "release[2]: found 1.0, expected at least 2.0"),
        ({"release": np.full(3, 99.0)}, "release: found no task by the last slot"),
        ({"horizon": 0}, "horizon: found 0"),
        ({"horizon": True}, "horizon: found True"),
        ({"slot": -1.0}, "slot: found -1.0"),
        ({"fifo": np.array([1, 0])}, "fifo: found int64, expected True or False"),
        ({"backhaul": np.array([-1.0, 0.0])}, "backhaul[0]: found -1.0"),
        ({"source": np.array([0, 0, -1])}, "source[2]: found -1"),
        ({"kind": np.array([0.5, 0, 0])}, "kind: found float64, expected integers"),
        ({"expected_bits": np.array([1e6])}, "expected_bits: found shape (1,)"),
        ({"size_law": "normal"}, "size_law: found 'normal'"),
        ({"scenario": "gmorl_easy"}, "scenario: found 'gmorl_easy'"),
        ({"mean_bits": 0.0}, "mean_bits: found 0.0"),
    ],
    ids=str,
)
def test_what_is_no_problem_is_refused(fields, words):
    with pytest.raises(InstanceError) as error:
        small(**fields)
    assert words in str(error.value)


def test_arrays_are_read_only_copies():
    bits = np.array([4e6, 8e6, 2e6])
    instance = small(bits=bits)
    bits[0] = 1.0
    assert instance.bits[0] == 4e6
    with pytest.raises(ValueError, match="read-only"):
        instance.bits[0] = 1.0


def test_equality_is_that_of_the_problem():
    assert small() == small(name="other")
    assert hash(small()) == hash(small(name="other"))
    assert small() != small(slot=2.0)
    assert small() != small(expected_bits=np.full(3, 1e6))
    copy = pickle.loads(pickle.dumps(small()))
    assert copy == small()
    assert not copy.bits.flags.writeable


def test_json_gives_the_same_instance(tmp_path):
    for seed in range(15):
        instance = varied(seed)
        assert loads(dumps(instance)) == instance
    path = tmp_path / "instance.json"
    write(make_instance("gmorl_hard", 3), path)
    assert load(path) == make_instance("gmorl_hard", 3)


def test_rows_give_the_same_instance():
    for seed in range(15):
        instance = varied(seed)
        assert OffloadInstance.from_rows("again", instance.rows) == instance


def document(**changes):
    text = json.loads(dumps(small()))
    return json.dumps({**text, **changes})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1, column 2"),
        ("[]", "found a list, expected an object"),
        ("{}", "format: found null, expected one of edge-offloading/1"),
        ('{"format": "edge-offloading/1", "name": "a"}', "frequency: missing field"),
        ('{"a": 1, "a": 2}', '"a": found twice'),
        (document(colour="red"), '"colour": unknown field'),
        (document(bits=[1, [2]]), "bits: found rows of unequal length"),
        (document(bits=["1", "2", "3"]), "bits: found <U1, expected numbers"),
        (document(uplink=[[1, 1], [0, 1], [1, 1]]), "uplink[1][0]: found 0"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_files_that_are_no_instances(text, words):
    with pytest.raises(InstanceFormatError) as error:
        loads(text, "mine.json")
    assert str(error.value).startswith("mine.json: ")
    assert words in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InstanceFormatError, match="cannot be read"):
        load(tmp_path / "none.json")


def test_replacing_fields_checks_again():
    with pytest.raises(InstanceError, match="horizon"):
        dataclasses.replace(small(), horizon=-1)
