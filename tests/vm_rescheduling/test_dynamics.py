"""Late plans: what happens meanwhile is paired by seed, and the rest of the plan is still legal."""

import numpy as np
import pytest
from vm_rescheduling.plans import random_plan, small

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.vm_rescheduling.dynamics import apply_late, churn
from dispatchgym.envs.vm_rescheduling.generators import make_instance, toy, toy_order
from dispatchgym.envs.vm_rescheduling.validator import validate

ORDERED = {"moves": [[3, 0, 0], [0, 1, 0]]}


def rows(instance):
    return list(
        zip(
            instance.vm_cpu.tolist(),
            instance.vm_memory.tolist(),
            instance.vm_numa.tolist(),
            instance.vm_pm.tolist(),
            instance.vm_node.tolist(),
            instance.affinity.tolist(),
            strict=True,
        )
    )


def test_without_time_nothing_happens():
    instance = make_instance("S-AA", 0)
    later = churn(instance, 0, 1)
    assert later.instance == instance
    assert later.origin.tolist() == list(range(instance.num_vms))
    assert churn(instance, 100, 1, rate_per_minute=0).instance == instance


def test_a_plan_in_time_is_worth_what_it_promised():
    for seed in range(5):
        instance = make_instance("random_3-6", seed)
        plan = {"moves": random_plan(instance, np.random.default_rng(seed), 5)}
        result, promised = apply_late(instance, plan, 0, seed), validate(instance, plan)
        assert result.skipped == 0
        assert (result.objective, result.slots) == (promised.objective, promised.slots)
        assert result.rate_without == instance.fragment_rate


def test_old_vms_stay_what_and_where_they_were():
    instance = make_instance("S-AA", 3)
    later = churn(instance, 200, 4)
    assert later.departed > 5 and later.arrived > 5
    before, after = rows(instance), rows(later.instance)
    for vm, old in enumerate(later.origin.tolist()):
        if old >= 0:
            assert after[vm] == before[old]
        else:
            assert after[vm][5] == -1
            assert after[vm][:3] in {row[:3] for row in before}
    old = later.origin[later.origin >= 0]
    assert (np.diff(old) > 0).all()
    assert later.instance.num_vms == instance.num_vms + later.arrived - later.departed


def test_as_many_come_as_the_rate_says():
    counts = [churn(make_instance("M-middle", 1), 600, seed) for seed in range(20)]
    assert np.mean([later.arrived for later in counts]) == pytest.approx(90, abs=7)
    assert np.mean([later.departed for later in counts]) == pytest.approx(90, abs=7)
    assert sum(later.refused for later in counts) == 0  # a third of the cores is free


def test_more_time_continues_the_same_history():
    instance = make_instance("S", 0)
    short, long = churn(instance, 60, 9), churn(instance, 300, 9)
    assert set(long.origin[long.origin >= 0]) <= set(short.origin[short.origin >= 0])
    assert long.arrived >= short.arrived and long.departed > short.departed
    assert churn(instance, 60, 9).instance == short.instance
    assert churn(instance, 60, 10).instance != short.instance


def test_arrivals_go_where_least_is_left_free():
    """One VM of 4 cores for each node but two; nodes with 4 to 10 free cores besides."""
    rows_ = [(44 - free, 1, pm, node) for pm, node, free in ((0, 0, 10), (0, 1, 4), (1, 0, 6))]
    rows_ += [(4, 1, 1, 1)]
    instance = small(rows_, movable=[False] * 4)
    found = set()
    for seed in range(300):
        later = churn(instance, 7, seed)
        if (later.arrived, later.departed) == (1, 0) and later.instance.vm_cpu[-1] == 4:
            found.add((int(later.instance.vm_pm[-1]), int(later.instance.vm_node[-1])))
            assert later.instance.movable.tolist() == [False] * 4 + [True]
    assert found == {(0, 1)}


def test_two_node_arrivals_need_both_nodes():
    instance = small([(16, 2, 0, 2), (40, 1, 1, 0), (26, 1, 2, 0), (26, 1, 2, 1)])
    places = set()
    for seed in range(200):
        later = churn(instance, 7, seed)
        if (later.arrived, later.departed) == (1, 0) and later.instance.vm_numa[-1] == 2:
            places.add((int(later.instance.vm_pm[-1]), int(later.instance.vm_node[-1])))
    assert places == {(2, 2)}  # 36 free cores; 72 on machine 0, and too few on a node of 1


def test_arrivals_without_room_are_refused():
    full = small([(44, 1, 0, 0), (44, 1, 0, 1)])
    outcomes = [churn(full, 10, seed) for seed in range(30)]
    assert any(later.refused for later in outcomes)
    assert all(later.instance.total_free_cpu >= 0 for later in outcomes)
    assert all(later.arrived <= later.departed for later in outcomes)
    assert any(later.arrived for later in outcomes)  # in the place of one that had left


def test_moves_of_vms_that_are_gone_and_moves_without_room_are_skipped():
    """In toy_order the second move needs the first one's VM to have left."""
    skipped = {}
    for seed in range(300):
        result = apply_late(toy_order(), ORDERED, 8, seed)
        later = result.churn
        alone = (later.arrived, later.departed) == (0, 1)
        if alone and (later.origin == -1).sum() == 0:
            gone = set(range(6)) - set(later.origin.tolist())
            skipped[gone.pop()] = (result.skipped, result.schedule["moves"].tolist())
    # Numbers shift by one behind the VM that has gone.
    assert skipped[3] == (1, [[0, 1, 0]])
    assert skipped[0] == (1, [[2, 0, 0]])
    assert skipped[4] == (0, [[3, 0, 0], [0, 1, 0]])


def test_a_set_that_begins_together_may_change_nodes():
    instance = small([(4, 1, 0, 0), (4, 1, 0, 0), (4, 1, 1, 0)], affinity=[0, 0, 0])
    assert apply_late(instance, {"moves": [[0, 0, 1]]}, 0, 0).skipped == 0
    assert apply_late(instance, {"moves": [[0, 1, 1]]}, 0, 0).skipped == 1


def test_a_move_whose_room_was_taken_is_skipped():
    """Best fit puts a new 8-core VM on a node with 8 free cores, where the plan wants to go."""
    plan = {"moves": [[0, 0, 1]]}
    skipped = []
    for seed in range(200):
        result = apply_late(toy(), plan, 3, seed)
        later = result.churn
        if later.departed == 0 and later.arrived:
            taken = later.instance.free_cpu[0, 1] < 8
            assert result.skipped == int(taken)
            skipped.append(result.skipped)
    assert set(skipped) == {0, 1}


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_of_a_plan_is_valid(seed):
    instance = make_instance("S-AA", seed).replace(within_cluster=True)
    plan = {"moves": random_plan(instance, np.random.default_rng(seed), 10)}
    result = apply_late(instance, plan, 200, seed)
    report = validate(result.churn.instance, result.schedule)
    assert report.valid
    assert (report.objective, report.slots) == (result.objective, result.slots)
    assert report.migrations + result.skipped == len(plan["moves"])


def test_late_plans_are_worth_less():
    """Random plans do harm, so take the reverse of one: it repairs what it undoes."""
    gains = {0: [], 600: []}
    for seed in range(10):
        instance = make_instance("random_20", seed)
        for seconds, gain in gains.items():
            result = apply_late(*repair(instance, seed), seconds, seed)
            gain.append(result.rate_without - result.objective)
    assert np.mean(gains[0]) > 0.02
    assert np.mean(gains[600]) < 0.7 * np.mean(gains[0])


def repair(instance, seed):
    """Return a cluster that random moves have spoilt, and the plan that undoes them."""
    plan = random_plan(instance, np.random.default_rng(seed), 12)
    pm, node = instance.vm_pm.copy(), instance.vm_node.copy()
    back = []
    for vm, *place in plan:
        back.append([vm, pm[vm], node[vm]])
        pm[vm], node[vm] = place
    return instance.replace(vm_pm=pm, vm_node=node), {"moves": back[::-1]}


def test_names_stay_unique_over_several_times():
    instance = make_instance("S", 0)
    instance = instance.replace(vm_names=tuple(f"new_{vm}" for vm in range(instance.num_vms)))
    once = churn(instance, 300, 0)
    twice = churn(once.instance, 300, 1)
    assert once.arrived and twice.arrived
    assert len(set(twice.instance.vm_names)) == twice.instance.num_vms
    for vm, old in enumerate(once.origin.tolist()):
        assert old < 0 or once.instance.vm_names[vm] == f"new_{old}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0), "seconds: found -1"),
        ((float("nan"), 0), "seconds: found nan"),
        (("1", 0), "seconds: found '1'"),
        ((1, -1), "seed: found -1"),
        ((1, 0, -9), "rate_per_minute: found -9"),
        ((1e9, 0), "expected at most 1000000 events"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ParameterError, match=message):
        churn(toy(), *arguments)


def test_a_plan_of_another_cluster():
    with pytest.raises(ParameterError, match=r"schedule\['moves'\]\[0\]: found \[99, 0, 0\]"):
        apply_late(toy(), {"moves": [[99, 0, 0]]}, 1, 0)
    with pytest.raises(ParameterError, match=r"schedule\['moves'\]: found"):
        apply_late(toy(), {}, 1, 0)
