"""The validator accepts what plain Python makes and finds every kind of corruption."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vm_rescheduling.plans import random_plan, small

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.generators import make_instance, toy, toy_order
from dispatchgym.envs.vm_rescheduling.instance import OBJECTIVES, Known
from dispatchgym.envs.vm_rescheduling.validator import VIOLATION_CODES, validate

# Machine 0: 20 + 8 cores on node 0, 8 on both. Machine 1: 40 on node 0. Machine 2: empty.
ROWS = [(20, 1, 0, 0), (8, 1, 0, 0), (16, 2, 0, 2), (40, 1, 1, 0), (4, 1, 1, 1)]
CLUSTER = small(
    ROWS,
    pms=3,
    movable=[True, True, True, False, True],
    affinity=[0, 1, -1, 0, 1],
    affinity_rack=[False, True],
    rack=[0, 1, 1],
    cluster=[0, 0, 1],
    within_cluster=True,
    migration_limit=3,
)


def codes(instance, moves, **claims):
    report = validate(instance, {"moves": moves, **claims})
    return [(violation.code, violation.move) for violation in report.violations]


def cluster_of(seed):
    """Return a small cluster with sets, racks, clusters and immovable VMs."""
    rng = np.random.default_rng(seed)
    instance = make_instance("random_3-6", seed).replace(migration_limit=8)
    vms, pms = instance.num_vms, instance.num_pms
    sets = rng.integers(-1, 6, vms)
    objective = list(OBJECTIVES)[seed % len(OBJECTIVES)]
    return instance.replace(
        affinity=sets,
        affinity_rack=rng.random(6) < 0.3,
        rack=rng.integers(0, 4, pms),
        cluster=rng.integers(0, 2, pms),
        within_cluster=bool(rng.random() < 0.3),
        movable=rng.random(vms) < 0.9,
        objective=objective,
    )


@pytest.mark.parametrize("seed", range(40))
def test_accepts_random_legal_plans(seed):
    instance = cluster_of(seed)
    plan = random_plan(instance, np.random.default_rng(seed), 8)
    report = validate(instance, {"moves": plan})
    assert report.valid, report.violations
    assert report.migrations == len(plan) > 0
    pm, node = instance.vm_pm.copy(), instance.vm_node.copy()
    values = [instance.objective.rate(*instance.free(pm, node))]
    for vm, *place in plan:
        pm[vm], node[vm] = place
        values.append(instance.objective.rate(*instance.free(pm, node)))
    if instance.objective.kind == "goal":
        reached = [used for used, value in enumerate(values) if value <= 0.4]
        assert report.objective == (reached[0] if reached else 9)
    else:
        expected = instance.evaluate(pm, node, len(plan))
        assert report.objective == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_and_its_reverse_restore_the_state(seed):
    instance = make_instance("random_3-6", seed).replace(migration_limit=16)
    plan = random_plan(instance, np.random.default_rng(seed), 8)
    pm, node = instance.vm_pm.tolist(), instance.vm_node.tolist()
    back = []
    for vm, *place in plan:
        back.append([vm, pm[vm], node[vm]])
        pm[vm], node[vm] = place
    report = validate(instance, {"moves": plan + back[::-1]})
    assert report.valid and plan
    assert report.slots == instance.slots
    assert report.fragment_rate == instance.fragment_rate


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_vms_and_machines_changes_nothing(seed):
    instance = cluster_of(seed)
    rng = np.random.default_rng(seed)
    plan = np.array(random_plan(instance, rng, 8))
    vm_at, pm_at = rng.permutation(instance.num_vms), rng.permutation(instance.num_pms)
    to_vm, to_pm = np.argsort(vm_at), np.argsort(pm_at)
    fields = {
        name: getattr(instance, name)[vm_at]
        for name in ("vm_cpu", "vm_memory", "vm_numa", "vm_node", "movable", "affinity")
    }
    shuffled = instance.replace(
        **fields,
        affinity_rack=instance.affinity_rack,
        vm_pm=to_pm[instance.vm_pm[vm_at]],
        rack=instance.rack[pm_at],
        cluster=instance.cluster[pm_at],
    )
    moved = np.column_stack([to_vm[plan[:, 0]], to_pm[plan[:, 1]], plan[:, 2]])
    one, other = validate(instance, {"moves": plan}), validate(shuffled, {"moves": moved})
    assert one.valid and other.valid
    assert (one.objective, one.slots) == (other.objective, other.slots)


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([[5, 1, 1]], [("unknown_vm", 0)]),
        ([[-1, 1, 1]], [("unknown_vm", 0)]),
        ([[0, 3, 1]], [("unknown_pm", 0)]),
        ([[0, -1, 1]], [("unknown_pm", 0)]),
        ([[0, 1, 2]], [("node", 0)]),
        ([[2, 1, 0]], [("node", 0)]),
        ([[2, 1, -1]], [("node", 0)]),
        ([[1, 0, 0]], [("void", 0)]),
        ([[2, 0, 2]], [("void", 0)]),
        ([[3, 0, 1]], [("immovable", 0), ("cpu", 0), ("affinity", 0)]),
        ([[2, 2, 2]], [("cluster", 0)]),
        ([[2, 1, 2]], [("cpu", 0)]),
        ([[0, 1, 1]], [("affinity", 0)]),  # a VM of its set is on that machine
        ([[1, 1, 1]], [("affinity", 0)]),  # and here on its rack
        ([[1, 0, 1], [1, 0, 0], [4, 1, 0], [4, 1, 1]], [("migration_limit", 3)]),
        ([[1, 0, 1], [1, 0, 1], [1, 0, 0]], [("void", 1)]),
        ([[1, 0, 1], [9, 0, 1], [0, 1, 1]], [("unknown_vm", 1), ("affinity", 2)]),
    ],
)
def test_finds_each_fault_and_its_move(moves, expected):
    found = codes(CLUSTER, moves)
    assert found == expected


def test_a_faulty_move_is_left_out_and_the_rest_is_judged():
    """After the move without room, the other one still has it; were it made, it would not."""
    instance = small([(30, 1, 0, 0), (20, 1, 1, 0), (14, 1, 2, 0)])
    assert codes(instance, [[1, 0, 0], [2, 0, 0]]) == [("cpu", 0)]


def test_room_counts_both_nodes_of_a_vm_on_two():
    instance = small([(16, 2, 0, 2), (40, 1, 1, 1)], node_memory=46_000)
    report = validate(instance, {"moves": [[0, 1, 2]]})
    assert [violation.code for violation in report.violations] == ["cpu", "memory"]
    assert "node 1" in report.violations[0].message
    assert report.violations[0].vm == 0 and report.violations[0].pm == 1


def test_memory_alone_can_bind():
    instance = small([(8, 1, 0, 0), (8, 1, 1, 0)], node_memory=15_000)
    assert codes(instance, [[0, 1, 0]]) == [("memory", 0)]
    assert codes(instance, [[0, 1, 1]]) == []


def test_initial_violations_may_stay_but_none_is_added():
    rows = [(4, 1, 0, 0), (4, 1, 0, 1), (4, 1, 1, 0)]
    instance = small(rows, pms=3, affinity=[0, 0, 0])
    assert codes(instance, [[0, 0, 1]]) == []
    assert codes(instance, [[0, 2, 0]]) == []
    assert codes(instance, [[0, 1, 1]]) == [("affinity", 0)]
    assert codes(instance, [[2, 2, 0], [0, 1, 0]]) == []
    assert codes(instance, [[2, 2, 0], [0, 2, 0]]) == [("affinity", 1)]


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"moves": [1, 2, 3]},
        {"moves": [[1, 2]]},
        {"moves": [[1, 2, 3], [4]]},
        {"moves": [["a", "b", "c"]]},
        {"moves": [[0.5, 1, 1]]},
        {"moves": [[np.nan, 1, 1]]},
        {"moves": [[2**60, 1, 1]]},
        {"moves": [[2**70, 1, 1]]},
        {"moves": None},
        {"moves": [], "slots": "many"},
        {"moves": [], "objective": [1.0, 2.0]},
    ],
)
def test_malformed_plans(schedule):
    report = validate(CLUSTER, schedule)
    assert [violation.code for violation in report.violations] == ["malformed"]
    assert not report.valid and np.isnan(report.objective)


def test_padding_and_whole_floats_and_nothing_are_plans():
    plan = random_plan(make_instance("random_3", 0), np.random.default_rng(0), 3)
    instance = make_instance("random_3", 0)
    padded = np.full((9, 3), -1.0)
    padded[:3] = plan
    assert validate(instance, {"moves": padded}) == validate(instance, {"moves": plan})
    for nothing in ([], np.zeros((0, 3), int), np.full((4, 3), -1)):
        assert validate(instance, {"moves": nothing}).objective == instance.initial_objective


def test_padding_only_at_the_end():
    assert codes(CLUSTER, [[-1, -1, -1], [1, 0, 1]]) == [("unknown_vm", 0)]


def test_claims_are_compared():
    plan = [[3, 0, 0], [0, 1, 0]]
    assert codes(toy_order(), plan, objective=0.0, fragment_rate=0.0, slots=1) == []
    for claim in ({"objective": 1e-9}, {"fragment_rate": 1.0}, {"slots": 2}, {"slots": np.nan}):
        assert codes(toy_order(), plan, **claim) == [("claim", None)]


def test_a_plan_above_a_proven_bound_is_refused():
    swap = [[0, 1, 0], [4, 0, 0]]
    assert validate(toy(), {"moves": swap}).slots == 0
    better = [[0, 0, 1], [4, 1, 1]]
    assert validate(toy(), {"moves": better}).slots == 2
    for known, valid in (
        ({2: Known(1, 1)}, False),
        ({1: Known(1, 1)}, True),
        ({9: Known(0, 1)}, 0),
    ):
        report = validate(toy().replace(known=known), {"moves": better})
        assert report.valid == valid
        assert valid or [violation.code for violation in report.violations] == ["above_bound"]


def test_goal_counts_until_it_is_reached():
    instance = toy().replace(objective={"kind": "goal", "goal": 0.5}, migration_limit=4)
    assert validate(instance, {"moves": [[0, 0, 1], [4, 1, 1]]}).objective == 1.0
    assert validate(instance, {"moves": [[0, 1, 0], [0, 0, 0]]}).objective == 1.0
    harder = instance.replace(objective={"kind": "goal", "goal": 0.4})
    assert validate(harder, {"moves": [[0, 0, 1]]}).objective == 5.0


def test_emptied_machines_count():
    instance = small([(4, 1, 0, 0), (4, 1, 1, 0)]).replace(objective="empty_pms")
    assert validate(instance, {"moves": []}).objective == 2 + (8 + 12 + 8 + 12) / 168
    assert validate(instance, {"moves": [[0, 1, 1]]}).objective == 1 + (8 + 8 + 12 + 12) / 168


def test_arguments_of_another_type():
    with pytest.raises(ParameterError, match="schedule: found list"):
        validate(CLUSTER, [])
    with pytest.raises(ParameterError, match="instance: found str"):
        validate("S", {"moves": []})


def test_over_committed_nodes_are_found():
    """An instance refuses over-committed nodes when it is made, so it takes force to get one."""
    instance = make_instance("S", 0)
    forced = instance.pm_cpu.copy()
    forced[3, 1] = 0
    object.__setattr__(instance, "pm_cpu", forced)
    assert ("over_committed", None) in codes(instance, [])
    assert "over_committed" in VIOLATION_CODES


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_plan_of_integers_upsets_it(data):
    move = st.lists(st.integers(-3, 8) | st.integers(-(2**70), 2**70), min_size=3, max_size=3)
    moves = data.draw(st.lists(move, max_size=6))
    report = validate(CLUSTER, {"moves": moves})
    assert report.valid == (not report.violations)
    assert all(violation.code in VIOLATION_CODES for violation in report.violations)
