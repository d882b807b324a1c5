"""Files come back as they were written; what is wrong with one is said by line or field."""

import json

import numpy as np
import pytest
from edge_dag_plan.cases import GRAPHS, diamond, varied

from dispatchgym.envs.core.errors import InstanceFormatError, ParameterError
from dispatchgym.envs.edge_dag_plan import load, load_all
from dispatchgym.envs.edge_dag_plan.parsers import dumps, loads, write

HEADER = "set_n,graph,task,size_bytes,alpha,out_bytes,children\n"
TABLE = HEADER + "2,0,0,1000,0.1,500,1\n2,0,1,3000,0.1,1500,\n"


def test_round_trip(tmp_path):
    for instance in varied(6):
        path = tmp_path / "plan.json"
        write(instance, path)
        assert load(path) == instance
        assert load(path).name == instance.name


def document(**changes):
    return {**json.loads(dumps(diamond())), **changes}


def with_work(value):
    return dumps(diamond()).replace('"work": 4.0', f'"work": {value}', 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1, column 2"),
        ("[]", r"text: found \[\], expected an object"),
        ('{"format": 1, "format": 2}', '"format": found twice'),
        (json.dumps(document(format="x")), "format: found \"x\", expected 'edge-dag-plan/1'"),
        (json.dumps(document(more=1)), '"more": unknown field'),
        (json.dumps({k: v for k, v in document().items() if k != "edges"}), "edges: missing field"),
        (json.dumps(document(device={})), "device.speed: missing field"),
        (json.dumps(document(tasks=3)), "tasks: found 3, expected a list"),
        (json.dumps(document(tasks=[{"work": 1}])), r"tasks\[0\].upload_bytes: missing field"),
        (json.dumps(document(edges=[[0]])), r"edges\[0\]: found \[0\], expected \[parent, child\]"),
        (json.dumps(document(edges=[[0, 1.5]])), r"edges\[0\]: found"),
        (json.dumps(document(edges=[[0, 1], [1, 0]])), "edges: found a cycle"),
        (json.dumps(document(servers=[])), "server_speed: found 0 servers"),
        (
            dumps(diamond()).replace('"work": 4.0', '"work": "4"', 1),
            r"tasks\[0\].work: found \"4\"",
        ),
        (
            dumps(diamond()).replace('"work": 4.0', '"work": true', 1),
            r"tasks\[0\].work: found true",
        ),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_malformed_documents(text, message):
    with pytest.raises(InstanceFormatError, match=message):
        loads(text)


def test_texts_are_texts():
    with pytest.raises(ParameterError, match="text: found int"):
        loads(3)


def test_missing_files(tmp_path):
    with pytest.raises(InstanceFormatError, match="cannot be read"):
        load(tmp_path / "none.json")


def table(tmp_path, text):
    path = tmp_path / "graphs.csv"
    path.write_text(text)
    return path


def test_a_table_of_graphs(tmp_path):
    path = table(tmp_path, TABLE)
    instance = load(path)
    assert instance.name == "drlto-test-n2-g0"
    assert instance.work.tolist() == instance.upload.tolist() == [1000, 3000]
    assert instance.output.tolist() == [500, 1500]
    assert instance.edges.tolist() == [[0, 1]]
    both = TABLE + "2,7,0,1000,0.1,500,\n"
    path = table(tmp_path, both)
    assert [found.name for found in load_all(path)] == ["drlto-test-n2-g0", "drlto-test-n2-g7"]
    assert load(f"{path}:2-7").num_tasks == 1
    assert len(load_all(f"{path}:2")) == 2
    with pytest.raises(InstanceFormatError, match="found 2 graphs, expected one"):
        load(path)
    with pytest.raises(InstanceFormatError, match="csv:2-9: found no such graph"):
        load(f"{path}:2-9")


def test_edges_that_a_table_has_twice_count_once(tmp_path):
    path = table(tmp_path, TABLE.replace("500,1\n", "500,1 1\n"))
    assert load(path).edges.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "line 1: found no column 'set_n'"),
        (HEADER, "found no such graph"),
        (TABLE.replace("3000", "-3"), "line 3, size_bytes: found '-3'"),
        (TABLE.replace("2,0,1,", "2,0,2,"), "line 3, task: found '2', expected 1"),
        (TABLE.replace("500,1\n", "500,5\n"), r"graph drlto-test-n2-g0: edges\[0\]: found 0 -> 5"),
        (TABLE.replace("1000", "0"), r"work\[0\]: found 0"),
        (TABLE[:-8] + "\n", "line 3"),
    ],
)
def test_malformed_tables(tmp_path, text, message):
    with pytest.raises(InstanceFormatError, match=message):
        load(table(tmp_path, text))


@pytest.mark.skipif(not GRAPHS.exists(), reason="the shared data is not beside this checkout")
def test_the_published_graphs_can_be_read():
    found = load_all(GRAPHS)
    assert len(found) == 500
    assert sorted({instance.num_tasks for instance in found}) == [10, 15, 20, 30, 50]
    assert load(f"{GRAPHS}:15-3") == found[103]
    assert np.mean([instance.local_latency for instance in found[:100]]) == pytest.approx(
        723.143, abs=1e-3
    )
