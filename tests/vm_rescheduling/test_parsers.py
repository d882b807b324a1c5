"""File formats: what is read, what is refused and where the message points."""

import copy
import io
import json
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vm_rescheduling.plans import SHARED, needs_data, random_plan, small

from dispatchgym.envs.core.errors import (
    DispatchGymError,
    EvaluationError,
    InstanceFormatError,
    ParameterError,
)
from dispatchgym.envs.vm_rescheduling.generators import make_instance, toy, toy_order
from dispatchgym.envs.vm_rescheduling.instance import OBJECTIVES, Known
from dispatchgym.envs.vm_rescheduling.parsers import (
    MAX_BYTES,
    dumps,
    load,
    load_plan,
    loads,
    save_plan,
    write,
)

COMPACT = json.loads(dumps(toy(), "compact"))


def host(name, rack=0, status="ACTIVE", cpu=44):
    nodes = [
        {
            "node": node,
            "total_cpu": cpu,
            "free_cpu": 7.0,
            "memory_huge_total_mb": 184388.0,
            "memory_huge_free_mb": 1.0,
        }
        for node in (0, 1)
    ]
    return {"node_id": name, "status": status, "numa": nodes, "rack_id": rack}


def vm(name, on, *nodes, cpu=8, movable=True):
    numa = [{"node": node, "cpu": cpu, "mem_mb": 2048.0 * cpu} for node in nodes]
    return {
        "instance_id": name,
        "instance_type": "xxx.4xlarge",
        "host_id": on,
        "numa": numa,
        "allow_migration": movable,
    }


SNAPSHOT = {
    "cluster_list": [
        {
            "cluster_name": "one",
            "host_info": [host("a", rack=3), host("b", cpu=48)],
            "vm_instance": [vm("x", "b", 1), vm("y", "a", 1, 0), vm("z", "a", 0, movable=False)],
            "other_requirement": {
                "deployment_set": [
                    {"granularity": "host", "data": ["y", "x"]},
                    {"granularity": "rack", "data": ["z"]},
                    {"granularity": "host", "data": []},
                ]
            },
        },
        {
            "cluster_name": "two",
            "host_info": [host("c", rack=1)],
            "vm_instance": [vm("w", "c", 0, cpu=2)],
            "other_requirement": {"deployment_set": []},
        },
    ],
    "vm_type_list": [{"vm_type": "xxx.4xlarge", "numa": 1}],
}


def edited(document, *path, value):
    """Return a copy of a document with another value at a path; no value removes the field."""
    changed = copy.deepcopy(document)
    target = changed
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return json.dumps(changed)


# ---------------------------------------------------------------- public snapshots


def test_a_snapshot_is_read_with_its_traps():
    """Free memory stored is wrong, and the flavour's NUMA count is only the usual one."""
    instance = loads(json.dumps(SNAPSHOT))
    assert instance.pm_names == ("a", "b", "c") and instance.vm_names == ("x", "y", "z", "w")
    assert instance.pm_cpu.tolist() == [[44, 44], [48, 48], [44, 44]]
    assert instance.vm_cpu.tolist() == [8, 16, 8, 2]
    assert instance.vm_memory.tolist() == [16384, 32768, 16384, 4096]
    assert instance.vm_numa.tolist() == [1, 2, 1, 1]
    assert instance.vm_pm.tolist() == [1, 0, 0, 2]
    assert instance.vm_node.tolist() == [1, 2, 0, 0]
    assert instance.movable.tolist() == [True, True, False, True]
    assert instance.affinity.tolist() == [0, 0, 1, -1]
    assert instance.affinity_rack.tolist() == [False, True, False]
    assert instance.rack.tolist() == [3, 0, 1] and instance.cluster.tolist() == [0, 0, 1]
    assert instance.free_cpu.tolist() == [[28, 36], [48, 40], [42, 44]]
    assert instance.free_memory[0].tolist() == [184388 - 32768, 184388 - 16384]
    assert instance.migration_limit == 50


def test_machines_out_of_service_are_left_out_with_a_warning():
    text = edited(SNAPSHOT, "cluster_list", 0, "host_info", 0, value=host("a", status="OFF"))
    with pytest.warns(UserWarning, match="1 machines out of service and their 2 VMs"):
        instance = loads(text)
    assert instance.pm_names == ("b", "c") and instance.vm_names == ("x", "w")
    assert instance.affinity.tolist() == [0, -1]


CLUSTER = ("cluster_list", 0)
VM = (*CLUSTER, "vm_instance", 0)
HOST = (*CLUSTER, "host_info", 1)
SETS = (*CLUSTER, "other_requirement", "deployment_set")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*VM, "host_id"), "q", r"vm_instance\[0\].host_id: found 'q'"),
        ((*VM, "host_id"), "c", r"vm_instance\[0\].host_id: found 'c'"),
        ((*VM, "host_id"), 4, r"vm_instance\[0\].host_id: found 4, expected a text"),
        ((*VM, "instance_id"), "y", r"vm_instance\[1\].instance_id: found 'y' twice"),
        ((*VM, "instance_id"), None, r"vm_instance\[0\].instance_id: missing"),
        ((*VM, "numa"), [], r"vm_instance\[0\].numa: found no node"),
        ((*VM, "numa", 0, "node"), 2, r"numa\[0\].node: found 2"),
        ((*VM, "numa", 0, "cpu"), -8, "numa.cpu: found -8"),
        ((*VM, "numa", 0, "cpu"), 7.5, "numa.cpu: found 7.5"),
        ((*VM, "numa", 0, "cpu"), 0, r"vm_cpu\[0\]: found 0"),
        ((*VM, "numa", 0, "cpu"), 49, "PM 1, node 1: found VMs of 49 cores.*over-committed"),
        ((*VM, "numa", 0, "mem_mb"), 1e308, "numa.mem_mb: found 1e"),
        ((*VM, "allow_migration"), "no", "allow_migration: found 'no'"),
        ((*VM[:-1], 1, "numa", 1, "cpu"), 4, "2 nodes with 2 different needs"),
        ((*VM[:-1], 1, "numa", 1, "node"), 1, "numa: found node 1 twice"),
        ((*HOST, "node_id"), "a", r"host_info\[1\].node_id: found 'a' twice"),
        ((*HOST, "numa", 1, "node"), 0, r"host_info\[1\].numa: found node 0 twice"),
        ((*HOST, "numa"), [{"node": 0}], r"host_info\[1\].numa: found nodes \[0\]"),
        ((*HOST, "numa", 1, "total_cpu"), None, "total_cpu: missing"),
        ((*HOST, "rack_id"), "r", "rack_id: found 'r'"),
        ((*SETS, 0, "granularity"), "zone", "granularity: found 'zone'"),
        ((*SETS, 0, "data"), ["y", "q"], r"deployment_set\[0\].data: found 'q'"),
        ((*SETS, 1, "data"), ["y"], r"deployment_set\[1\].data: found 'y' a second time"),
        ((*SETS, 1, "data"), "y", r"deployment_set\[1\].data: found 'y', expected a list"),
        ((*CLUSTER, "vm_instance"), None, r"cluster_list\[0\].vm_instance: missing"),
        (("cluster_list",), [], "found 0 PMs"),
        (("cluster_list",), {}, "cluster_list: found a dict"),
        (("cluster_list", 0), 3, r"cluster_list\[0\]: found 3"),
    ],
)
def test_snapshots_that_are_none(path, value, message):
    with pytest.raises(InstanceFormatError, match=f"<string>: .*{message}"):
        loads(edited(SNAPSHOT, *path, value=value))


@needs_data
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_files_are_named(tmp_path, share):
    for name in ("gold/high_00.json", "bytedance/medium_2089vm_279pm.json"):
        data = (SHARED / name).read_bytes()
        path = tmp_path / "cut.json"
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InstanceFormatError, match=r"cut.json: line \d+, column \d+"):
            load(path)


# ---------------------------------------------------------------- compact


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("n_vm",), 9, "vm: found 8 rows, expected n_vm = 9: the file is cut off"),
        (("n_pm",), 1, r"vm_pm\[4\]: found 1"),
        (("n_pm",), None, "n_pm: missing"),
        (("numa_cpu",), 20, "over-committed"),
        (("numa_per_pm",), 4, "numa_per_pm: found 4"),
        (("vm", 0), [0, 8, 16384], r"vm\[0\]: found a list of length 3"),
        (("vm", 0), [0, -8, 16384, 0], r"vm_cpu\[0\]: found -8"),
        (("vm", 0), [0, 8, 16384, 3], r"vm_node\[0\]: found 3"),
        (("vm", 0), [0, 8, 16384, True], r"vm\[0\]\[3\]: found True"),
        (("vm", 0), [0, 10, 16384, 0], "over-committed|free_cpu"),
        (("results", "free_cpu"), 33, "results.free_cpu: found 33, expected 32"),
        (("results", "initial_slots"), 1, "results.initial_slots: found 1, expected 0"),
        (("results", "mnl", "1"), {"best_slots": 3, "upper_bound": 2}, "best_slots: found 3"),
        (("results", "mnl", "1"), {"best_slots": 3}, "upper_bound: missing"),
        (("results", "mnl"), {"one": {}}, "expected a migration limit"),
        (("results",), [], "results: found no object"),
        (("fragment_cores",), 0, "chunk: found 0"),
        (("vm_columns",), ["pm"], "vm_columns: found others"),
        (("format",), "vm-snapshot-compact/2", "format: found 'vm-snapshot-compact/2'"),
    ],
)
def test_compact_files_that_are_none(path, value, message):
    with pytest.raises(InstanceFormatError, match=f"<string>: .*({message})"):
        loads(edited(COMPACT, *path, value=value))


def test_compact_form_and_its_limits():
    instance = loads(dumps(toy(), "compact"))
    assert instance.known == toy().known == {1: Known(1, 1), 2: Known(2, 2)}
    assert instance.replace(migration_limit=2) == toy()
    for changes in (
        {"movable": np.arange(8) > 0},
        {"affinity": np.zeros(8, int)},
        {"within_cluster": True},
        {"objective": "goal"},
        {"pm_cpu": [[44, 44], [44, 45]]},
    ):
        with pytest.raises(ParameterError, match="expected 'json'"):
            dumps(toy().replace(**changes), "compact")
    with pytest.raises(ParameterError, match="format: found 'xml'"):
        dumps(toy(), "xml")


def test_results_for_other_sizes_are_not_taken_for_16_cores():
    text = edited(COMPACT, "fragment_cores", value=8)
    fields = json.loads(text)
    fields["results"]["initial_slots"] = 4
    assert not loads(json.dumps(fields)).known


# ---------------------------------------------------------------- numpy


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def plain_arrays():
    return {
        "pm": np.array([1, 0, 0], np.int32),
        "cpu": np.array([8, 16, 4], np.int32),
        "mem": np.array([100, 200, 50], np.int32),
        "numa": np.array([0, 2, 1], np.int32),
        "pm_cpu": np.full((2, 2), 44),
        "pm_mem": np.full((2, 2), 1000),
    }


def from_arrays(tmp_path, **changes):
    arrays = {**plain_arrays(), **changes}
    path = tmp_path / "arrays.npz"
    path.write_bytes(archive(**{key: value for key, value in arrays.items() if value is not None}))
    return load(path)


def test_plain_arrays(tmp_path):
    instance = from_arrays(tmp_path)
    assert instance.free_cpu.tolist() == [[36, 32], [36, 44]]
    assert (instance.migration_limit, instance.name) == (50, "arrays")
    assert from_arrays(tmp_path, movable=np.array([1, 0, 1])).movable.tolist() == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("own", [[], [0, 1]])
def test_edges_give_the_machine_of_each_vm_and_padding(tmp_path, own):
    """The graph observation of the literature: own index for machines, -1 for padding."""
    padding = {key: np.append(plain_arrays()[key], [0, 0]) for key in ("cpu", "mem", "numa")}
    edges = np.array([*own, 1, 0, 0, -1, -1])
    instance = from_arrays(tmp_path, pm=None, edges=edges, **padding)
    assert instance == from_arrays(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": np.zeros(3, int)}, "pm, edges: found both or none"),
        ({"pm": None}, "pm, edges: found both or none"),
        ({"pm": None, "edges": np.array([1, -1, 0])}, "edges: found -1 for VM 1 that has cores"),
        ({"pm": None, "edges": np.array([1, 5, 0])}, r"vm_pm\[1\]: found 5"),
        ({"pm": None, "edges": np.array([1, 0, 1, 0, 0])}, "edges: found others, expected 0..1"),
        ({"pm": None, "edges": np.zeros(4, int)}, r"edges: found shape \(4,\)"),
        ({"pm": None, "edges": np.zeros(3, bool)}, "edges: found type bool"),
        ({"cpu": None}, "cpu: missing array"),
        ({"cpu": np.array([8, 16])}, "expected"),
        ({"cpu": np.array([8.0, 16, 4])}, "cpu: found type float64"),
        ({"cpu": np.array([8, -16, 4])}, r"vm_cpu\[1\]: found -16"),
        ({"cpu": np.array([8, 200, 4])}, "over-committed"),
        ({"numa": np.array([0, 3, 1])}, r"vm_node\[1\]: found 3"),
        ({"settings": np.array([1])}, "settings: found type int64"),
        ({"settings": np.array("{}")}, "settings.name: missing"),
        ({"settings": np.array('{"name": "x", "mnl": -1}')}, "settings.mnl: found -1"),
        (
            {"settings": np.array('{"name": "x", "mnl": 1, "known": {"1": 2}}')},
            "settings.known.1: found 2",
        ),
    ],
)
def test_arrays_that_are_no_cluster(tmp_path, changes, message):
    with pytest.raises(InstanceFormatError, match=f"arrays.npz: .*{message}"):
        from_arrays(tmp_path, **changes)


def test_archives_that_unpack_to_too_much_are_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("cpu.npy", b"\0" * (MAX_BYTES + 1))
    assert path.stat().st_size < 200_000
    with pytest.raises(InstanceFormatError, match="bytes unpacked"):
        load(path)


def test_headers_are_not_believed(tmp_path):
    stream = io.BytesIO()
    header = {"descr": "<i8", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(stream, header)
    path = tmp_path / "long.npz"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("cpu.npy", stream.getvalue())
    with pytest.raises(InstanceFormatError, match="cpu: found type int64"):
        load(path)


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "objects.npz"
    stream = io.BytesIO()
    np.savez(stream, cpu=np.array([{"a": 1}], object))
    path.write_bytes(stream.getvalue())
    with pytest.raises(InstanceFormatError, match="cpu: found type object"):
        load(path)


# ---------------------------------------------------------------- round trips


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    scenario=st.sampled_from(["S", "S-AA", "S-MR", "random_2-9"]),
    objective=st.sampled_from(list(OBJECTIVES)),
    ending=st.sampled_from(["json", "npz"]),
)
def test_round_trips(tmp_path_factory, seed, scenario, objective, ending):
    instance = make_instance(scenario, seed).replace(
        objective=objective, known={4: Known(1, 3)}, within_cluster=True
    )
    path = tmp_path_factory.mktemp("trip") / f"cluster.{ending}"
    write(instance, path)
    found = load(path)
    assert found == instance
    assert (found.name, found.known) == (instance.name, instance.known)
    assert load(path, mnl=3) == instance.replace(migration_limit=3)


def test_large_sizes_survive(tmp_path):
    instance = small([(2, 1, 0, 0)], node_memory=2**39, vm_memory=np.array([2**33]))
    write(instance, tmp_path / "large.npz")
    assert load(tmp_path / "large.npz") == instance


@needs_data
def test_every_shared_file_survives(tmp_path):
    for path in [*(SHARED / "gold").glob("*.json"), *(SHARED / "bytedance").glob("*.json")]:
        instance = load(path)
        assert loads(dumps(instance)) == instance
        if path.parent.name == "gold":
            assert loads(dumps(instance, "compact")) == instance


def test_migration_limits():
    assert loads(dumps(toy())).migration_limit == 2
    assert loads(dumps(toy()), mnl=7).migration_limit == 7
    assert loads(dumps(toy(), "compact")).migration_limit == 50
    for wrong in (-1, 2.0, True, "5", 10**9):
        with pytest.raises(ParameterError, match="mnl: found"):
            loads(dumps(toy()), mnl=wrong)


def test_files_that_cannot_be_read(tmp_path):
    write(toy(), tmp_path / "toy.json")
    (tmp_path / "latin.json").write_bytes(b'{"name":\n "\xe9"}')
    (tmp_path / "huge.json").write_bytes(b"")
    with open(tmp_path / "huge.json", "r+b") as file:
        file.truncate(MAX_BYTES + 1)
    for name, message in (
        ("toj.json", "did you mean toy.json"),
        ("nothing/here", "no such file, expected a file"),
        (".", "folder or device"),
        ("latin.json", "latin.json, line 2: found byte 0xe9"),
        ("huge.json", "expected at most"),
        ("nul\0.json", "cannot be read"),
    ):
        with pytest.raises(InstanceFormatError, match=message):
            load(tmp_path / name)
    with pytest.raises(ParameterError, match="path: found int"):
        load(3)
    with pytest.raises(ParameterError, match="text: found bytes"):
        loads(b"{}")


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "{}", "[" * 5000, '{"format": null}', "\0", "{'a'"]
)
def test_texts_that_are_no_cluster(text):
    with pytest.raises(InstanceFormatError, match="<string>: "):
        loads(text)


# ---------------------------------------------------------------- plans


def test_plans_survive(tmp_path):
    path = tmp_path / "plan.json"
    for seed in range(10):
        instance = make_instance("random_3-6", seed)
        plan = random_plan(instance, np.random.default_rng(seed), 5)
        padded = np.full((9, 3), -1)
        padded[: len(plan)] = plan
        save_plan(path, instance, {"moves": padded})
        assert load_plan(path, instance)["moves"].tolist() == plan
        assert json.loads(path.read_text())["snapshot"] == instance.name


def test_plans_name_machines_and_vms(tmp_path):
    instance = loads(json.dumps(SNAPSHOT))
    save_plan(tmp_path / "plan.json", instance, {"moves": [[1, 2, 2]]})
    fields = json.loads((tmp_path / "plan.json").read_text())
    assert fields["named_moves"] == [["y", "c", 2]]


def test_a_plan_with_one_impossible_move_is_refused_with_its_index(tmp_path):
    path = tmp_path / "plan.json"
    good = [[3, 0, 0], [0, 1, 0]]
    path.write_text(json.dumps({"moves": good}))
    assert load_plan(path, toy_order())["moves"].tolist() == good
    path.write_text(json.dumps({"moves": good[::-1]}))
    with pytest.raises(EvaluationError, match=r"plan\.json: cpu: move 0: VM 0 to PM 1, node 0"):
        load_plan(path, toy_order())
    with pytest.raises(EvaluationError, match="plan: unknown_vm: move 1"):
        save_plan(path, toy_order(), {"moves": [[3, 0, 0], [9, 0, 0]]})
    assert json.loads(path.read_text())["moves"] == good[::-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"moves": [[0, 1, 0], [0, 1]]}', r"moves\[1\]: found a list of length 2"),
        ('{"moves": [[0, 1, 0.5]]}', r"moves\[0\]\[2\]: found 0.5"),
        ('{"moves": [[0, 1, 0], [0', "line 1, column"),
        ('{"moves": 3}', "moves: found 3"),
        ('{"plan": []}', "moves: missing"),
        ('{"format": "x", "moves": []}', "format: found 'x'"),
        ("[[0, 1, 0]]", "expected a JSON object"),
    ],
)
def test_plans_that_are_none(tmp_path, text, message):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(InstanceFormatError, match=f"plan.json: .*{message}"):
        load_plan(path)


# ---------------------------------------------------------------- damage

CLEAN = [
    make_instance("random_2", 1).replace(known={3: Known(0, 2)}).to_json().encode(),
    dumps(toy(), "compact").encode(),
    json.dumps(SNAPSHOT).encode(),
    archive(**plain_arrays()),
]
PIECES = [
    *b'- " , : [ ] { } 0 1e9 -1 5.0 99999999999999999999 true null NaN \x00 \xff'.split(b" "),
    b"[" * 3000,
    b'"vm":',
    b'"host_id": "q", ',
]

edits = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 10**6), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.sampled_from(PIECES)),
    st.tuples(st.just("delete"), st.integers(0, 10**6), st.integers(1, 30)),
    st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 60)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
)
damaged = st.one_of(
    st.tuples(st.sampled_from(CLEAN), st.lists(edits, min_size=1, max_size=4)),
    st.tuples(st.binary(max_size=200), st.just([])),
)


def damage(data, changes):
    """Apply a few edits to the bytes of a good file."""
    for kind, where, what in changes:
        at = where % (len(data) + 1)
        if kind == "set":
            data = data[:at] + what + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + what :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + what] + data[at:]
        else:
            data = data[:at]
    return data


def check(path, case):
    """Read damaged bytes: what is accepted is a cluster that survives a round trip."""
    path.write_bytes(damage(*case))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            instance = load(path)
        except DispatchGymError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 1000
            return
    assert loads(dumps(instance)) == instance


@given(case=damaged)
@settings(max_examples=1_000, deadline=None, derandomize=True)
def test_damaged_files(tmp_path_factory, case):
    check(tmp_path_factory.getbasetemp() / "cluster", case)


@pytest.mark.slow
@given(case=damaged)
@settings(max_examples=20_000, deadline=None)
def test_damaged_files_at_length(tmp_path_factory, case):
    check(tmp_path_factory.getbasetemp() / "cluster_at_length", case)
