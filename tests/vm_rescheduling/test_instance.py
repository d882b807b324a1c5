"""The record: what is a cluster, what is none, and what its quantities mean."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vm_rescheduling.plans import small

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError
from dispatchgym.envs.vm_rescheduling.generators import make_instance
from dispatchgym.envs.vm_rescheduling.instance import (
    OBJECTIVES,
    Instance,
    Known,
    Objective,
    Term,
    count_slots,
    fragment_rate,
)

# Free cores: machine 0 has 44-8-8 = 28 and 44-8 = 36; machine 1 has 44-4 = 40 and 44.
ROWS = [(16, 2, 0, 2), (8, 1, 0, 0), (4, 1, 1, 0)]


def test_free_slots_and_rate_by_hand():
    instance = small(ROWS)
    assert instance.free_cpu.tolist() == [[28, 36], [40, 44]]
    assert instance.free_memory.tolist() == [[84_000, 92_000], [96_000, 100_000]]
    assert instance.total_free_cpu == 148
    assert instance.slots == 1 + 2 + 2 + 2
    assert instance.fragment_rate == (12 + 4 + 8 + 12) / 148


def test_double_slots_by_hand():
    free = np.array([[28, 36], [40, 44], [31, 90]])
    assert count_slots(free, 64, double=True) == 0 + 1 + 0
    assert count_slots(free, 16, double=True) == 3 + 5 + 3
    assert fragment_rate(free, 64, double=True) == 1 - 64 / 269


def test_rate_of_a_full_cluster_is_0():
    assert small([(44, 1, 0, 0), (44, 1, 0, 1)]).fragment_rate == 0.0


def test_an_empty_node_of_44_cores_has_12_fragments():
    """Why clusters with little load begin at a fragment rate of 12/44."""
    assert fragment_rate(np.full((5, 2), 44), 16) == 12 / 44


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("fragment", 36 / 148),
        ("mixed", 0.5 * 36 / 148 + 0.5 * (1 - 64 * 1 / 148)),
        ("mixed_memory", 0.5 * 36 / 148 + 0.5 * (1 - 65_536 * 4 / 372_000)),
        ("goal", 0.0),  # 0.243 is below the goal of 0.4 before any migration
        ({"kind": "goal", "goal": 0.2}, 8.0),
        ("empty_pms", 2 + 36 / 148),
        ({"chunk": 8}, (4 + 4 + 0 + 4) / 148),
    ],
)
def test_objectives_by_hand(objective, expected):
    instance = small(ROWS, migration_limit=7).replace(objective=objective)
    assert instance.initial_objective == pytest.approx(expected, abs=1e-15)


def test_goal_counts_the_migrations_used():
    instance = small(ROWS, migration_limit=7).replace(objective="goal")
    assert instance.evaluate(instance.vm_pm, instance.vm_node, migrations=3) == 3.0
    full, empty = [(40, 1, 0, 0), (40, 1, 0, 1)], {"pms": 2, "node_cpu": 48}
    for goal, expected in ((8 * 2 / 112, 3.0), (8 * 2 / 112 - 1e-9, 8.0)):
        instance = small(full, migration_limit=7, **empty)
        instance = instance.replace(objective={"kind": "goal", "goal": goal})
        assert instance.evaluate(instance.vm_pm, instance.vm_node, migrations=3) == expected


def test_evaluate_of_another_placement():
    instance = small(ROWS).replace(objective="empty_pms")
    pm, node = np.array([0, 0, 0]), np.array([2, 0, 1])
    # Free then: 28, 32, 44, 44; one machine in use.
    assert instance.evaluate(pm, node, migrations=1) == 1 + (12 + 0 + 12 + 12) / 148
    assert instance.free(pm, node)[0].tolist() == [[28, 32], [44, 44]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fragments", "objective: found 'fragments'"),
        (3, "objective: found 3"),
        ({"kind": "mixed", "weights": []}, "field 'weights'"),
        ({"terms": [(0.5, "cpu", 16, False)]}, "weights of sum 0.5"),
        ({"terms": [(1.0, "disk", 16, False)]}, "resource: found 'disk'"),
        ({"terms": [(1.0, "cpu", 0, False)]}, "chunk: found 0"),
        ({"terms": [(1.0, "cpu", 15, True)]}, "even"),
        ({"terms": [(1.0,) * 5]}, "expected weight, resource, chunk, double"),
        ({"terms": []}, "expected a list of terms"),
        ({"terms": [{"weight": 1.0, "size": 4}]}, "expected weight"),
        ({"terms": [(0.5, "cpu", 16, False)] * 2}, "expected one for kind 'fragment'"),
        ({"kind": "goal", "goal": 1.5}, "goal: found 1.5"),
        ({"goal": 0.3}, "with kind 'goal' only"),
        ({"chunk": 8, "terms": [Term()]}, "both chunk and terms"),
    ],
)
def test_objectives_that_are_none(value, message):
    with pytest.raises(ParameterError, match=message):
        Objective.make(value)


def test_objectives_survive_a_round_trip():
    for objective in OBJECTIVES.values():
        assert Objective.make(objective.to_dict()) == objective


def change(**changes):
    base = small(ROWS)
    fields = {item.name: getattr(base, item.name) for item in dataclasses.fields(base)}
    return lambda: Instance(**{**fields, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (change(vm_cpu=[16, -8, 4]), r"vm_cpu\[1\]: found -8"),
        (change(vm_memory=[16, -1, 4]), r"vm_memory\[1\]: found -1"),
        (change(vm_pm=[0, 2, 1]), r"vm_pm\[1\]: found 2, expected an integer in 0..1"),
        (change(vm_pm=[0, -1, 1]), r"vm_pm\[1\]: found -1"),
        (change(vm_numa=[3, 1, 1]), r"vm_numa\[0\]: found 3"),
        (change(vm_node=[0, 0, 0]), r"vm_node\[0\]: found 0, expected 2 \(both\)"),
        (change(vm_node=[2, 2, 0]), r"vm_node\[1\]: found 2, expected 0 or 1"),
        (change(vm_cpu=[17, 8, 4]), r"vm_cpu\[0\]: found 17, expected an even number"),
        (change(vm_memory=[17, 8, 4]), r"vm_memory\[0\]: found 17, expected an even number"),
        (change(vm_cpu=[16, 40, 4]), "PM 0, node 0: found VMs of 48 cores.*over-committed"),
        (change(vm_memory=[0, 8, 100_001]), "PM 1, node 0: found VMs of 100001 MB"),
        (change(vm_cpu=[16.0, 8, 4]), "vm_cpu: found an array of type float64"),
        (change(vm_cpu=[16, 8]), "vm_memory: found an array of type int64 and shape"),
        (change(vm_cpu=4), "vm_cpu: found 4, expected an array"),
        (change(pm_cpu=[[44, 44]]), "pm_memory: found"),
        (change(pm_cpu=[[44, 44], [44]]), "pm_cpu: found rows of unequal length"),
        (change(pm_cpu=[[44, 44], [44, -1]]), r"pm_cpu\[1\]\[1\]: found -1"),
        (change(pm_cpu=np.zeros((0, 2), int)), "found 0 PMs"),
        (change(movable=[1, 0, 1]), "movable: found .*expected truth values"),
        (change(affinity=[0, -2, 0], affinity_rack=None), r"affinity\[1\]: found -2"),
        (change(affinity=[10**15, 0, 0], affinity_rack=None), r"affinity\[0\]: found 10{15}"),
        (change(affinity=[0, 3, 0], affinity_rack=[False]), r"affinity\[1\]: found 3"),
        (change(rack=[0]), "rack: found"),
        (change(rack=[0, -4]), r"rack\[1\]: found -4"),
        (change(migration_limit=-1), "migration_limit: found -1"),
        (change(migration_limit=True), "migration_limit: found True"),
        (change(migration_limit=2.5), "migration_limit: found 2.5"),
        (change(objective="goal"), "objective: found 'goal', expected an Objective"),
        (change(within_cluster=1), "within_cluster: found 1"),
        (change(name=""), "name: found ''"),
        (change(known={5: (1, 2)}), "known: found"),
        (change(known={-5: Known(1, 2)}), "known: migration limit: found -5"),
        (change(vm_names=("a", "b")), "vm_names: found 2 names, expected 3"),
        (change(vm_names=("a", "b", "a")), "vm_names: found 'a' twice"),
        (change(pm_names="ab"), "pm_names: found 'ab'"),
    ],
)
def test_records_that_are_no_cluster(make, message):
    with pytest.raises(InstanceError, match=message):
        make()


def test_known_results_are_in_order():
    assert Known(3, 3).proved and not Known(3, 4).proved
    with pytest.raises(InstanceError, match="best_slots: found 4"):
        Known(4, 3)


def test_replace_keeps_known_results_only_for_the_same_cluster():
    instance = small(ROWS, known={5: Known(7, 8)})
    assert instance.replace(migration_limit=9, objective="goal").known == instance.known
    assert not instance.replace(movable=[True, False, True]).known


def test_replaced_sets_are_on_host_level_again():
    instance = small(ROWS, affinity=[0, 0, -1], affinity_rack=[True])
    assert instance.replace(affinity=[0, 1, 1]).affinity_rack.tolist() == [False, False]
    assert instance.replace(rack=[1, 1]).affinity_rack.tolist() == [True]


def test_arrays_are_private_and_read_only():
    cpu = np.array([16, 8, 4])
    instance = change(vm_cpu=cpu)()
    cpu[0] = 2
    assert instance.vm_cpu[0] == 16
    for array in (instance.vm_cpu, instance.free_cpu, instance.movable):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_initial_affinity_violations_are_counted():
    rows = [(2, 1, 0, 0), (2, 1, 0, 0), (2, 1, 0, 1), (2, 1, 1, 0), (2, 1, 2, 0)]
    sets = [0, 0, 0, 1, 1]
    assert small(rows, affinity=sets).affinity_violations == 2
    racks = {"affinity_rack": [False, True], "rack": [0, 4, 4]}
    assert small(rows, affinity=sets, **racks).affinity_violations == 3


def test_equality_is_that_of_the_problem():
    instance = make_instance("S", 4)
    assert instance == instance.replace(name="other", known={1: Known(0, 1)})
    assert hash(instance) == hash(instance.replace(name="other"))
    for changes in (
        {"migration_limit": 3},
        {"objective": "goal"},
        {"within_cluster": True},
        {"rack": np.zeros(20, int)},
        {"movable": np.arange(instance.num_vms) > 0},
    ):
        assert instance != instance.replace(**changes)
    assert instance != "S"


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**64 - 1),
    scenario=st.sampled_from(["S", "S-AA", "S-MR", "random_2-9", "toy"]),
    objective=st.sampled_from([*OBJECTIVES, None]),
)
def test_json_and_pickle_round_trips(seed, scenario, objective):
    instance = make_instance(scenario, seed)
    if objective is not None:
        instance = instance.replace(objective=objective, known={3: Known(1, 2)})
    names = tuple(f"vm-{vm}" for vm in range(instance.num_vms))
    instance = instance.replace(vm_names=names, known=instance.known)
    for copy in (Instance.from_json(instance.to_json()), pickle.loads(pickle.dumps(instance))):
        assert copy == instance
        assert (copy.name, copy.known, copy.vm_names) == (instance.name, instance.known, names)
        assert not copy.vm_cpu.flags.writeable


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"pms"', '"pm"', "'pm': unknown field"),
        ("[8, 8000, 1, 0, 0, -1, 1]", "[8, 8000, 1, 0, 0, -1]", r"vms\[1\]: found a list"),
        ("[8, 8000, 1, 0, 0, -1, 1]", "[8.5, 8000, 1, 0, 0, -1, 1]", r"vms\[1\]\[0\]: found 8.5"),
        ("[8, 8000, 1, 0, 0, -1, 1]", "[8, 8000, 1, 0, 0, -1, 7]", "vms: movable.*found 7"),
        ("[8, 8000, 1, 0, 0, -1, 1]", "[8, 8000, 1, 5, 0, -1, 1]", r"vm_pm\[1\]: found 5"),
        ("/1", "/2", "format: found 'dispatchgym/vm_rescheduling/2'"),
        ('"migration_limit": 50', '"migration_limit": "50"', "migration_limit: found '50'"),
        ('"known": {}', '"known": {"3": {"best_slots": 1}}', "known.3.upper_bound: missing"),
        ('"known": {}', '"known": {"x": 1}', "known.x: found 1"),
        ('"kind": "fragment"', '"kind": "rate"', "objective: found 'rate'"),
        ('"pm_columns": ["cpu_0"', '"pm_columns": ["cpu"', "pm_columns: found other columns"),
        ('"name": "small"', '"name": "small", "name": "x"', "'name': found twice"),
        ("}\n", "", "line .*expected JSON"),
    ],
)
def test_json_that_is_no_cluster(old, new, message):
    text = small(ROWS).to_json()
    assert old in text
    place = text.rindex(old)
    with pytest.raises(InstanceFormatError, match=f"the file: .*{message}"):
        Instance.from_json(text[:place] + new + text[place + len(old) :], "the file")
