"""Optimal plans against proven optima, exhaustive search and a program over single VMs."""

import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from vm_rescheduling.plans import small
from vm_rescheduling.reference import Cluster, Settings

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.vm_rescheduling import load, make_instance, validate
from dispatchgym.envs.vm_rescheduling.aggregated_mip import aggregated_mip
from dispatchgym.envs.vm_rescheduling.aggregation import Aggregation
from dispatchgym.envs.vm_rescheduling.column_generation import column_generation
from dispatchgym.envs.vm_rescheduling.exact import solve
from dispatchgym.envs.vm_rescheduling.instance import Instance, Objective, Term
from dispatchgym.envs.vm_rescheduling.ordering import order_moves

pytestmark = pytest.mark.skipif(find_spec("highspy") is None, reason="HiGHS is not installed")

GOLD = Path(__file__).parents[3] / "shared" / "data" / "vm" / "gold"
SAMPLE = ["high_00", "high_01", "middle_00", "low_00", "real_medium"]
OBJECTIVES = {
    "fragment": Objective("fragment", (Term(1.0, "cpu", 4),)),
    "double": Objective("mixed", (Term(0.5, "cpu", 4), Term(0.5, "cpu", 8, True))),
    "memory": Objective("mixed", (Term(0.5, "cpu", 4), Term(0.5, "memory", 6))),
    "uneven": Objective("mixed", (Term(0.3, "cpu", 4), Term(0.7, "memory", 8, True))),
    "goal": Objective("goal", (Term(1.0, "cpu", 4),), 0.2),
    "empty_pms": Objective("empty_pms", (Term(1.0, "cpu", 4),)),
}


def gold(prefix):
    """Return the instances with stored optima whose names begin so."""
    paths = sorted(GOLD.glob(f"{prefix}*.json"))
    if not paths:
        pytest.skip(f"no file {prefix}*.json in {GOLD}")
    return [load(path) for path in paths]


def random_cluster(seed, pms=3, vms=6, limit=2, objective="fragment", rules=False):
    """Return a small cluster; with `rules` also sets, pinned VMs, racks and clusters."""
    rng = np.random.default_rng(seed)
    cpu, memory = rng.integers(6, 13, (pms, 2)), rng.integers(8, 25, (pms, 2))
    rows, free_cpu, free_memory = [], cpu.copy(), memory.copy()
    while len(rows) < vms:
        numa = 1 + int(rng.random() < 0.3)
        share, megabytes = int(rng.integers(1, 6)), int(rng.integers(1, 8))
        pm, node = int(rng.integers(pms)), int(rng.integers(2)) if numa == 1 else 2
        nodes = [node] if numa == 1 else [0, 1]
        if (free_cpu[pm, nodes] < share).any() or (free_memory[pm, nodes] < megabytes).any():
            free_cpu, free_memory = free_cpu + 1, free_memory + 1
            cpu, memory = cpu + 1, memory + 1
            continue
        free_cpu[pm, nodes] -= share
        free_memory[pm, nodes] -= megabytes
        rows.append((share * numa, megabytes * numa, numa, pm, node))
    columns = np.array(rows, np.int64).T
    extra = {}
    if rules:
        extra = {
            "movable": rng.random(vms) < 0.8,
            "affinity": rng.integers(-1, 2, vms),
            "affinity_rack": np.array([False, True]),
            "rack": rng.integers(0, 2, pms),
            "cluster": rng.integers(0, 2, pms),
            "within_cluster": bool(seed % 3 == 0),
        }
    return Instance(
        f"random_{seed}",
        cpu,
        memory,
        *columns,
        migration_limit=limit,
        objective=OBJECTIVES[objective],
        **extra,
    )


def exhaustive(instance):
    """Return the best objective over all plans."""
    cluster, best = Cluster(instance, Settings()), instance.initial_objective

    def search():
        nonlocal best
        best = min(best, cluster.objective())
        if len(cluster.moves) == instance.migration_limit:
            return
        for vm in range(instance.num_vms):
            home = cluster.place[vm]
            for place in cluster.places(vm):
                cluster.place[vm] = place
                cluster.moves.append((vm, *place))
                search()
                cluster.moves.pop()
                cluster.place[vm] = home

    search()
    return best


def check_plan(instance, result):
    """Carry the plan out in plain Python and by the validator."""
    cluster = Cluster(instance, Settings())
    for vm, *place in result.schedule["moves"].tolist():
        assert tuple(place) in cluster.places(vm)
        cluster.place[vm] = tuple(place)
        cluster.moves.append((vm, *place))
    assert len(cluster.moves) <= instance.migration_limit
    assert cluster.objective() == pytest.approx(result.objective, abs=1e-12)
    check_report(instance, result)


def check_report(instance, result):
    """Have the plan carried out by the validator."""
    report = validate(instance, result.schedule)
    assert report.valid, report.violations[0].message
    assert report.objective == pytest.approx(result.objective, abs=1e-12)
    assert result.bound <= result.objective
    assert result.proved == (result.bound == result.objective)


def slots_of_single_vms(instance):
    """Return the most slots by a program with a variable per VM, PM and node."""
    import highspy

    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("mip_rel_gap", 0.0)
    free = {}
    for pm, node in product(range(instance.num_pms), (0, 1)):
        free[pm, node] = highs.addIntegral(0, int(instance.pm_cpu[pm, node]) // 16)
    stays = []
    cpu = {place: 16 * slots for place, slots in free.items()}
    memory = {place: 0 * slots for place, slots in free.items()}
    for vm in range(instance.num_vms):
        numa, home = int(instance.vm_numa[vm]), int(instance.vm_pm[vm])
        there = {}
        for pm, node in product(range(instance.num_pms), (0, 1) if numa == 1 else (2,)):
            there[pm, node] = highs.addBinary()
            for k in (0, 1) if node == 2 else (node,):
                cpu[pm, k] = cpu[pm, k] + int(instance.vm_cpu[vm]) // numa * there[pm, node]
                size = int(instance.vm_memory[vm]) // numa
                memory[pm, k] = memory[pm, k] + size * there[pm, node]
        highs.addConstr(sum(there.values()) == 1)
        stays.append(there[home, int(instance.vm_node[vm])])
        if not instance.movable[vm]:
            highs.addConstr(stays[-1] == 1)
    for pm, node in free:
        highs.addConstr(cpu[pm, node] <= int(instance.pm_cpu[pm, node]))
        highs.addConstr(memory[pm, node] <= int(instance.pm_memory[pm, node]))
    highs.addConstr(sum(stays) >= instance.num_vms - instance.migration_limit)
    highs.maximize(sum(free.values()))
    return round(highs.getObjectiveValue())


@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equals_exhaustive_search(objective, rules):
    proved = improved = 0
    for seed in range(15):
        instance = random_cluster(seed, objective=objective, rules=rules)
        result, best = solve(instance), exhaustive(instance)
        check_plan(instance, result)
        assert result.bound <= best + 1e-9 and best <= result.objective + 1e-9
        proved += result.proved
        improved += best < instance.initial_objective
    assert proved >= 12 and improved >= 3


def part_of(instance, pms, limit):
    """Return the cluster that some PMs of another one form."""
    number = np.full(instance.num_pms, -1)
    number[pms] = np.arange(len(pms))
    vms = np.flatnonzero(number[instance.vm_pm] >= 0)
    return Instance(
        "part",
        instance.pm_cpu[pms],
        instance.pm_memory[pms],
        instance.vm_cpu[vms],
        instance.vm_memory[vms],
        instance.vm_numa[vms],
        number[instance.vm_pm[vms]],
        instance.vm_node[vms],
        movable=vms % 7 > 0,
        migration_limit=limit,
    )


@pytest.mark.parametrize("seed", range(4))
def test_three_models_agree(seed):
    whole = make_instance("S-MR" if seed % 2 else "S", seed).replace(objective="fragment")
    instance = part_of(whole, np.arange(3), limit=2)
    expected = slots_of_single_vms(instance)
    for model in (column_generation, aggregated_mip):
        optimum = model(instance)
        assert optimum.value <= expected <= optimum.bound
    assert aggregated_mip(instance).value == expected


@pytest.mark.parametrize("name", SAMPLE)
def test_proven_optima(name):
    (instance,) = gold(name)
    check_optima(instance)


def test_small_proven_optima():
    for instance in gold("small"):
        check_optima(instance)


@pytest.mark.slow
def test_all_proven_optima():
    for instance in gold(""):
        check_optima(instance)


def check_optima(instance):
    for limit, known in instance.known.items():
        limited = instance.replace(migration_limit=limit)
        result = solve(limited)
        check_report(limited, result)
        best = 1 - 16 * known.best_slots / instance.total_free_cpu
        assert known.proved and result.proved
        assert result.objective == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("scenario", ["S", "S-AA", "M-AA", "M-G", "L"])
def test_scenarios_are_proved(scenario):
    instance = make_instance(scenario, 6000)
    result = solve(instance)
    check_report(instance, result)
    assert result.proved and result.objective < instance.initial_objective


def test_goal_takes_as_many_migrations_as_the_rate_needs():
    """The fewest migrations for the rate that is best within 4 reach it, and 3 do not."""
    instance = make_instance("S", 6001).replace(migration_limit=4)
    rate = solve(instance).objective
    assert solve(instance.replace(migration_limit=3)).objective > rate
    goal = Objective("goal", goal=rate)
    for limit in (4, 10):
        limited = instance.replace(migration_limit=limit, objective=goal)
        result = solve(limited)
        check_report(limited, result)
        assert result.proved and result.objective == 4
    missed = solve(instance.replace(migration_limit=3, objective=goal))
    assert missed.proved and missed.objective == 4 and len(missed.schedule["moves"]) == 0


def test_swap_takes_a_detour():
    """VMs of 10 and of 6 and 4 cores change places between full nodes of 10 by way of a third."""
    rows = [(10, 1, 0, 0), (6, 1, 1, 0), (4, 1, 1, 0), (10, 1, 0, 1), (10, 1, 1, 1), (10, 1, 2, 1)]
    instance = small(rows, pms=3, node_cpu=10)
    aggregation = Aggregation.of(instance)
    counts = aggregation.home.copy()
    counts[:, [0, 1], 0] = counts[:, [1, 0], 0]
    moves, reached = order_moves(aggregation, counts, 4)
    assert reached and moves[0].tolist() == [0, 2, 0] and moves[3].tolist() == [0, 1, 0]
    assert validate(instance, {"moves": moves}).valid
    moves, reached = order_moves(aggregation, counts, 3)
    assert not reached and len(moves) == 0


def test_time_limit_is_respected():
    instance = make_instance("M-MR", 6000)
    solve(instance, time_limit=0.01)
    for limit in (0.2, 2.0):
        result = solve(instance, time_limit=limit)
        check_report(instance, result)
        assert result.seconds < 1.5 * limit + 1


def test_nothing_to_gain():
    instance = make_instance("S", 6002).replace(migration_limit=0)
    result = solve(instance)
    assert result.proved and result.objective == instance.initial_objective
    assert result.schedule["moves"].shape == (0, 3) and result.method == "none"


def test_fine_sizes_are_left_to_the_program():
    """Nodes of millions of distinguishable rooms are too much for tables over the room."""
    whole = part_of(make_instance("S", 6003), np.arange(8), limit=4)
    fine = whole.replace(
        pm_cpu=whole.pm_cpu * 10_007 + 2,
        vm_cpu=whole.vm_cpu * 10_007 + 2 * (np.arange(whole.num_vms) == 1),
        objective=Objective(terms=(Term(chunk=160_112),)),
    )
    with pytest.raises(ParameterError, match="rooms"):
        column_generation(fine)
    result = solve(fine)
    check_report(fine, result)
    assert result.proved and result.method == "aggregated MIP"


def test_without_the_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "dispatchgym\[exact\]"'):
        solve(random_cluster(0))


@pytest.mark.parametrize("time_limit", [0, -1.0, float("nan"), float("inf"), "1", None])
def test_wrong_time_limits(time_limit):
    with pytest.raises(ParameterError, match="time_limit"):
        solve(random_cluster(0), time_limit=time_limit)


def test_wrong_instance():
    with pytest.raises(ParameterError, match="expected an Instance"):
        solve("S")
