"""Explanations against brute force: gains, what a move waits for, and why VMs stay."""

from collections import Counter

import numpy as np
import pytest
from vm_rescheduling.plans import legal_places, random_plan, small

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.explain import REASONS, explain
from dispatchgym.envs.vm_rescheduling.generators import make_instance, toy, toy_order
from dispatchgym.envs.vm_rescheduling.instance import OBJECTIVES
from dispatchgym.envs.vm_rescheduling.placement import rates
from dispatchgym.envs.vm_rescheduling.validator import validate

ORDERED = {"moves": [[3, 0, 0], [0, 1, 0]]}


def test_a_move_that_only_makes_room():
    first, second = explain(toy_order(), ORDERED).moves
    assert (first.vm, first.source, first.target) == (3, (1, 0), (0, 0))
    assert (first.gain, first.needs, first.cores_left) == (0.0, None, 8)
    assert "makes room for move 1" in first.text
    assert (second.gain, second.needs, second.cores_left) == (1.0, 0, 0)
    assert "has room only after move 0" in second.text
    assert "2 cores, 4096 MB: PM 1 node 0 -> PM 0 node 0" in first.text


@pytest.mark.parametrize("objective", ["fragment", "mixed", "mixed_memory"])
def test_gains_sum_to_the_fall_of_the_objective(objective):
    for seed in range(5):
        instance = make_instance("random_3-6", seed).replace(objective=objective)
        plan = {"moves": random_plan(instance, np.random.default_rng(seed), 6)}
        moves = explain(instance, plan).moves
        fall = instance.initial_objective - validate(instance, plan).objective
        assert sum(move.gain for move in moves) == pytest.approx(fall, abs=1e-12)
        assert [move.vm for move in moves] == [row[0] for row in plan["moves"]]


def test_what_a_move_waits_for_is_what_it_cannot_do_without():
    """Left out, the move that another needs makes it impossible; other plans stay valid."""
    waiting = 0
    for seed in range(60):
        instance = make_instance("random_2", seed)
        plan = random_plan(instance, np.random.default_rng(seed), 4)
        if len({row[0] for row in plan}) < len(plan):
            continue
        for move in explain(instance, {"moves": plan}).moves:
            for left_out in range(move.index):
                rows = [row for index, row in enumerate(plan) if index != left_out]
                report = validate(instance, {"moves": rows[: move.index]})
                blocked = any(found.vm == move.vm for found in report.violations)
                if left_out == move.needs:
                    assert blocked
                    waiting += 1
                elif move.needs is None:
                    assert not blocked
    assert waiting > 10


def brute_force(instance, pms, nodes, vm):
    """Return the best fall of the objective by one migration of a VM, None without a place."""
    places = legal_places(instance, pms, nodes, vm)
    used = instance.objective.kind == "empty_pms"

    def value(pm, node):
        rate = instance.objective.rate(*instance.free(np.array(pm), np.array(node)))
        return rate + used * len(set(pm))

    before = value(pms, nodes)
    gains = []
    for pm, node in places:
        then = pms.copy(), nodes.copy()
        then[0][vm], then[1][vm] = pm, node
        gains.append(before - value(*then))
    return max(gains, default=None)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "goal"])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_migration_left_is_that_of_brute_force(objective, seed):
    rng = np.random.default_rng(seed)
    instance = make_instance("random_4", seed).replace(objective=objective)
    vms = instance.num_vms
    instance = instance.replace(
        affinity=rng.integers(-1, 5, vms),
        affinity_rack=[True, False, False, True, False],
        rack=[0, 0, 1, 1],
        cluster=[0, 1, 0, 1],
        within_cluster=seed == 1,
        movable=rng.random(vms) < 0.9,
    )
    if instance.affinity_violations:  # those that begin wrong may stay in their rack
        instance = instance.replace(affinity=only_first(instance))
    plan = random_plan(instance, rng, 3)
    pms, nodes = instance.vm_pm.tolist(), instance.vm_node.tolist()
    for vm, *place in plan:
        pms[vm], nodes[vm] = place
    stays = explain(instance, {"moves": plan}).stays
    assert {stay.vm for stay in stays} == set(range(vms)) - {row[0] for row in plan}
    for stay in stays:
        best = brute_force(instance, pms, nodes, stay.vm)
        if best is None:
            assert stay.gain is None
            assert stay.reason in ("immovable", "cpu", "memory", "cluster", "affinity")
        else:
            assert stay.gain == pytest.approx(best, abs=1e-12)
            assert stay.reason == ("no_gain" if best < 1e-9 else "not_used")


def only_first(instance):
    """Return sets in which only the first VM in each place keeps its membership."""
    kept, affinity = set(), instance.affinity.copy()
    for vm, number in enumerate(affinity.tolist()):
        if number >= 0:
            pm = instance.vm_pm[vm]
            level = instance.affinity_rack[number]
            place = number, int(instance.rack[pm] if level else pm)
            affinity[vm] = -1 if place in kept else number
            kept.add(place)
    return np.append(affinity[:-1], -1) if affinity.max() < 4 else affinity


# Machine 0: an 8-core VM, 36 and 44 cores free. Machine 1 is full; machine 2: 4 cores free.
STUCK = [(8, 1, 0, 0), (44, 1, 1, 0), (44, 1, 1, 1), (40, 1, 2, 0), (44, 1, 2, 1)]


@pytest.mark.parametrize(
    ("changes", "vm", "reason"),
    [
        ({"movable": [False] + [True] * 4}, 0, "immovable"),
        ({}, 1, "no_gain"),  # the empty node of machine 0 is as good a place
        ({"pm_memory": [[100_000, 10_000], [100_000, 100_000], [100_000, 100_000]]}, 1, "memory"),
        ({"pm_cpu": [[44, 40], [44, 44], [44, 44]]}, 1, "cpu"),
        ({"affinity": [0, 0, -1, -1, -1]}, 1, "affinity"),
        ({"cluster": [0, 1, 1], "within_cluster": True}, 1, "cluster"),
    ],
)
def test_reasons(changes, vm, reason):
    instance = small(STUCK).replace(**changes)
    stay = explain(instance, {"moves": []}).stays[vm]
    assert (stay.vm, stay.reason) == (vm, reason)
    assert REASONS[reason] in stay.text


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(88, 2, 0, 2), (4, 1, 1, 0)], [0.0, 0.0]),  # both can only go where nobody is
        ([(4, 1, 0, 0), (80, 2, 1, 2)], [1.0, 1.0]),  # either can join the other
    ],
)
def test_machines_that_are_opened_and_closed_count(rows, expected):
    instance = small(rows, pms=3, node_cpu=45).replace(objective="empty_pms")
    pms, nodes = instance.vm_pm.tolist(), instance.vm_node.tolist()
    gains = [stay.gain for stay in explain(instance, STAND).stays]
    assert gains == pytest.approx([brute_force(instance, pms, nodes, vm) for vm in (0, 1)])
    assert np.round(gains).tolist() == expected


STAND = {"moves": []}


def test_a_set_that_begins_on_one_rack_may_move_within_it():
    rows = [(4, 1, 0, 0), (4, 1, 1, 0), (44, 1, 2, 0), (44, 1, 2, 1)]
    racks = {"affinity": [0, 0, -1, -1], "affinity_rack": [True], "rack": [0, 0, 1]}
    stay = explain(small(rows, **racks), STAND).stays[0]
    assert stay.gain is not None
    moved = validate(small(rows, **racks), {"moves": [[0, 1, 1]]})
    assert moved.valid


def test_cores_here_and_memory_there():
    rows = [(20, 1, 0, 0), (8, 1, 1, 0), (40, 1, 1, 1), (44, 1, 0, 1)]
    memory = [20_000, 99_000, 1_000, 1_000]
    instance = small(rows, vm_memory=np.array(memory))
    # Node 0 of machine 1 has 36 cores and 1,000 MB free, its node 1 has 4 cores and 99,000 MB.
    assert explain(instance, {"moves": []}).stays[0].reason == "memory"


def test_a_gain_left_is_laid_to_limit_or_plan():
    plan = {"moves": [[0, 0, 1]]}
    for limit, reason in ((1, "migration_limit"), (2, "not_used")):
        found = explain(toy().replace(migration_limit=limit), plan)
        reasons = Counter(stay.reason for stay in found.stays)
        assert reasons == {reason: 2, "no_gain": 1, "cpu": 4}
        assert "best gain +0.5" in next(s.text for s in found.stays if s.reason == reason)


def test_text_has_every_move_and_a_count_of_reasons():
    text = str(explain(toy(), {"moves": [[0, 0, 1]]}))
    lines = text.splitlines()
    assert lines[0].startswith("toy: 1 of 2 migrations, fragment rate 1.0000 -> 0.5000, 1 slots")
    assert lines[1].strip().startswith("0. VM 0, 8 cores")
    assert sum(int(line.split()[0]) for line in lines[3:]) == 7


def test_names_are_told():
    instance = toy().replace(
        vm_names=tuple("stuvwxyz"), pm_names=("rack-1/host-a", "rack-1/host-b")
    )
    move = explain(instance, {"moves": [[0, 1, 0]]}).moves[0]
    assert "VM 0 (s)" in move.text and "PM 1 (rack-1/host-b) node 0" in move.text


def test_an_invalid_plan_is_not_explained():
    with pytest.raises(ParameterError, match="move 0: VM 0 to PM 1, node 0: found 6 cores free"):
        explain(toy_order(), {"moves": [[0, 1, 0]]})


def test_rates_along_a_plan():
    assert rates(toy_order(), ORDERED) == [1.0, 1.0, 0.0]
    assert rates(toy(), {"moves": np.full((3, 3), -1)}) == [1.0]
