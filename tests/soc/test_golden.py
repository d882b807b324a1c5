"""The recorded schedules of the two public simulators come out task by task."""

import copy
import json

import pytest
from soc.cases import SHARED, needs_data

from dispatchgym.envs.core.errors import InstanceFormatError
from dispatchgym.envs.soc import replay
from dispatchgym.envs.soc.env import SoCVectorEnv
from dispatchgym.envs.soc.replay import trace_instance

TRACES = sorted((SHARED / "golden").glob("*.json"))
RULES = {"heftrt": "heft_rt"}

TOP1_MET = {
    "meta": {"source": "DS3", "scheduler": "MET", "scale": 60, "soc": "SoC.Top.txt"},
    "arrivals": [[0, "Top", 0]],
    "tasks": [
        [0, 0, 2, 0, 9], [0, 4, 2, 9, 19], [0, 5, 2, 19, 28], [0, 3, 1, 18, 26],
        [0, 8, 1, 61, 73], [0, 9, 1, 73, 80], [0, 2, 0, 21, 32], [0, 1, 0, 32, 45],
        [0, 6, 0, 45, 52], [0, 7, 0, 53, 58],
    ],
}  # fmt: skip
"""Figure 7 of the DS3 paper: MET on the example of Topcuoglu."""


@needs_data
def test_all_traces_are_here():
    assert len(TRACES) >= 18


@needs_data
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_a_trace_comes_out_task_by_task(path):
    trace = json.loads(path.read_text())
    assert replay(trace) == []
    vec = SoCVectorEnv(1, scenario=trace_instance(trace))
    vec.reset(seed=0)
    name = trace["meta"]["scheduler"].lower()
    info = vec.run_rule(RULES.get(name, name))
    assert info["completed"][0] == trace["meta"]["completed"]
    assert info["schedule"]["latency_sum"][0] == trace["meta"]["cum_latency"]
    assert info["injected"][0] == trace["meta"].get("injected", len(trace["arrivals"]))


def test_the_example_of_the_paper_comes_out():
    assert replay(TOP1_MET) == []


def test_what_differs_is_told():
    trace = copy.deepcopy(TOP1_MET)
    trace["tasks"][3][3] += 1
    trace["tasks"][5][2] = 0
    removed = trace["tasks"].pop()
    found = {(one["job"], one["task"]): one for one in replay(trace)}
    assert set(found) == {(0, 3), (0, 9), (0, 7)}
    assert found[0, 3] == {"job": 0, "task": 3, "expected": (1, 19, 26), "found": (1, 18, 26)}
    assert found[0, 7]["expected"] is None
    assert found[0, 7]["found"] == tuple(removed[2:])


def test_another_rule_does_not_come_out():
    trace = copy.deepcopy(TOP1_MET)
    trace["meta"]["scheduler"] = "ETF"
    assert {one["task"] for one in replay(trace)} == {4, 5}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda trace: trace.pop("meta"), "meta"),
        (lambda trace: trace.pop("arrivals"), "arrivals"),
        (lambda trace: trace.pop("tasks"), "tasks"),
        (lambda trace: trace["meta"].pop("scheduler"), "scheduler"),
        (lambda trace: trace["meta"].update(scheduler="best"), "meta.scheduler: found 'best'"),
        (lambda trace: trace["meta"].update(soc="SoC.txt"), "meta.soc: found 'SoC.txt'"),
        (lambda trace: trace["arrivals"][0].__setitem__(1, "Bottom"), r"arrivals\[0\]"),
        (lambda trace: trace["arrivals"][0].pop(), r"arrivals\[0\]: found 2 entries, expected 3"),
        (lambda trace: trace["tasks"][4].append(1), r"tasks\[4\]: found 6 entries, expected 5"),
        (lambda trace: trace.update(tasks=7), "tasks: found int, expected a list"),
    ],
)
def test_a_wrong_trace_is_refused_by_name(change, named):
    trace = copy.deepcopy(TOP1_MET)
    change(trace)
    with pytest.raises(InstanceFormatError, match=named):
        replay(trace)
