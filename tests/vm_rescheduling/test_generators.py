"""Random clusters: the same for the same seed, made as described, within the bounds announced."""

import os
import subprocess
import sys
import zlib
from collections import Counter

import numpy as np
import pytest
from vm_rescheduling.plans import legal_places

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.vm_rescheduling.generators import (
    HUAWEI,
    LARGE,
    MEDIUM,
    ClusterGenerator,
    FixedGenerator,
    Generator,
    Population,
    generator,
    make_instance,
    migrations_for,
    scenarios,
    toy,
    toy_order,
)
from dispatchgym.envs.vm_rescheduling.validator import validate

RELEASED = [2529438923, 1549008669, 4233565443, 1732140147, 375308691]


def classes(instance):
    return Counter(
        zip(
            instance.vm_cpu.tolist(),
            instance.vm_memory.tolist(),
            instance.vm_numa.tolist(),
            strict=True,
        )
    )


def fingerprint(instance):
    arrays = (instance.vm_cpu, instance.vm_pm, instance.vm_node, instance.affinity, instance.rack)
    return zlib.crc32(b"".join(array.tobytes() for array in arrays))


@pytest.mark.parametrize("scenario", scenarios())
def test_every_scenario_gives_valid_clusters_within_its_bounds(scenario):
    source = generator(scenario)
    assert isinstance(source, Generator)
    for seed in (0, 1, 6200, 2**64 - 1):
        instance = make_instance(scenario, seed)
        assert instance == source.generate(seed)
        assert validate(instance, {"moves": []}).valid
        assert instance.num_pms <= source.max_pms
        assert instance.num_vms <= source.max_vms
        assert instance.migration_limit <= source.max_migrations
        assert instance.affinity_violations == 0
    if not isinstance(source, FixedGenerator):
        assert make_instance(scenario, 0) != make_instance(scenario, 1)


@pytest.mark.parametrize(
    ("scenario", "pms", "migrations", "objective"),
    [
        ("S", 20, 10, "fragment"),
        ("M", 279, 50, "fragment"),
        ("M-middle", 279, 100, "fragment"),
        ("L", 1176, 100, "fragment"),
        ("M-MR", 279, 50, "mixed"),
        ("M-G", 279, 50, "goal"),
        ("random_279", 279, 50, "fragment"),
    ],
)
def test_tiers(scenario, pms, migrations, objective):
    instance = make_instance(scenario, 6200)
    assert (instance.num_pms, instance.migration_limit) == (pms, migrations)
    assert instance.objective.kind == objective


def test_sizes_of_a_range_are_all_met():
    sizes = Counter(make_instance("random_4-7", seed).num_pms for seed in range(400))
    assert set(sizes) == {4, 5, 6, 7}
    assert min(sizes.values()) > 60
    instance = make_instance("random_4-7", 3)
    assert (
        instance.migration_limit
        == migrations_for(instance.num_pms)
        == round(3 * instance.num_pms**0.5)
    )


def test_released_scenarios_do_not_change():
    """Results refer to them by seed: a change of these numbers is a new scenario."""
    found = [fingerprint(make_instance(name, 6200)) for name in ("S", "M", "M-AA", "M-MR", "L")]
    assert found == RELEASED


def test_interpreted_and_compiled_give_the_same():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from vm_rescheduling.test_generators import fingerprint, make_instance;"
        "print(*(fingerprint(make_instance(*key)) for key in (('S-AA', 3), ('random_3-9', 4))))"
    )
    tests = os.path.dirname(os.path.dirname(__file__))
    interpreted = subprocess.run(
        [sys.executable, "-c", code, tests],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [fingerprint(make_instance(*key)) for key in (("S-AA", 3), ("random_3-9", 4))]
    assert interpreted.stdout.split() == [str(value) for value in expected]


@pytest.mark.parametrize(("population", "pms"), [(MEDIUM, 279), (MEDIUM, 558), (LARGE, 1176)])
def test_the_whole_population_arrives(population, pms):
    """With nothing deleted only VMs that found no room are missing: none to 8 in Medium."""
    instance = ClusterGenerator(population, (pms, pms), free_share=0.0).generate(1)
    times = pms // population.pms
    wanted = Counter({row[:3]: times * row[3] for row in population.classes})
    missing = wanted - classes(instance)
    assert not classes(instance) - wanted
    assert missing.total() <= 8 * times


def test_small_clusters_have_their_share_of_each_class():
    """Each class is rounded up or down, and the mean is its share."""
    source = ClusterGenerator(MEDIUM, (30, 30), free_share=0.0)
    found = [classes(source.generate(seed)) for seed in range(200)]
    for *kind, count in MEDIUM.classes:
        numbers = [counter[tuple(kind)] for counter in found]
        share = count * 30 / 279
        assert max(numbers) <= np.ceil(share)
        if kind[0] <= 16:  # smaller ones are next to never without room
            assert min(numbers) >= np.floor(share) - 2
            assert np.mean(numbers) == pytest.approx(share, abs=0.15)


@pytest.mark.parametrize(
    ("scenario", "free"), [("M-high", 2450), ("M-middle", 8569), ("M-low", 15124)]
)
def test_vms_leave_until_enough_is_free(scenario, free):
    for seed in range(10):
        assert free <= make_instance(scenario, seed).total_free_cpu < free + 88


def test_memory_counts_where_it_is_scarcer():
    for seed in range(5):
        instance = make_instance("M-MR", seed)
        share = instance.free_memory.sum() / instance.pm_memory.sum()
        assert 2450 / 24552 <= share < 0.103
        assert instance.total_free_cpu / instance.pm_cpu.sum() > 0.2


def test_memory_binds_in_mixed_clusters():
    """Nodes with cores for one more VM of 8 cores, but without memory for it."""
    instance = make_instance("M-MR", 6200)
    blocked = (instance.free_cpu >= 8) & (instance.free_memory < 8 * 2048)
    assert blocked.mean() > 0.05
    medium = make_instance("M", 6200)
    assert not ((medium.free_cpu >= 8) & (medium.free_memory < 8 * 2048)).any()


def test_sets_follow_the_real_ones():
    """Half of the VMs in disjoint sets of 2 to 5, sizes in proportion 56 : 86 : 65 : 81."""
    sizes = Counter()
    for seed in range(20):
        instance = make_instance("M-AA", seed)
        members = np.bincount(instance.affinity[instance.affinity >= 0])
        sizes.update(members.tolist())
        assert 0.5 <= (instance.affinity >= 0).mean() < 0.5 + 5 / instance.num_vms
        assert instance.affinity_violations == 0
        assert not instance.affinity_rack.any()
    total = sum(sizes.values())
    shares = [sizes[size] / total for size in (2, 3, 4, 5)]
    assert set(sizes) == {2, 3, 4, 5}
    assert shares == pytest.approx(np.array([56, 86, 65, 81]) / 288, abs=0.02)


def test_sets_change_nothing_else():
    plain, sets = make_instance("M", 8), make_instance("M-AA", 8)
    assert plain == sets.replace(affinity=plain.affinity)


TWO = Population(((4, 8192, 1, 2),), 2, 44, 184_388, 10, 0.5)


def test_machines_are_drawn_uniformly_and_nodes_by_the_rule():
    """Two VMs on two machines: the second on node 1 only if it takes the emptier node."""
    found = [ClusterGenerator(TWO, (2, 2), free_share=0.0).generate(seed) for seed in range(4000)]
    together = [i for i in found if i.vm_pm[0] == i.vm_pm[1]]
    assert len(together) / 4000 == pytest.approx(0.5, abs=0.03)
    assert np.mean([i.vm_pm[0] for i in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([i.vm_node.max() for i in together]) == pytest.approx(0.25, abs=0.03)
    assert not any(i.vm_node.any() for i in found if i.vm_pm[0] != i.vm_pm[1])


def test_large_vms_on_two_nodes_come_first():
    """88-core VMs need an empty machine: had others come before them, hardly any would fit."""
    source = ClusterGenerator(LARGE, (100, 100), free_share=0.0)
    for seed in range(5):
        placed = classes(source.generate(seed))
        assert placed[88, 352 * 1024, 2] >= np.floor(216 * 100 / 1176)
        assert placed[64, 256 * 1024, 2] >= np.floor(266 * 100 / 1176)


def test_dropped_vms_really_have_no_room():
    """In a cluster too small for its VMs, no class that is short of VMs fits anywhere."""
    crowded = Population(((40, 8192, 1, 9), (4, 8192, 1, 40)), 4, 44, 184_388, 1, 1.0)
    for seed in range(20):
        instance = ClusterGenerator(crowded, (4, 4), free_share=0.0).generate(seed)
        for (cores, memory, numa), wanted in (((40, 8192, 1), 9), ((4, 8192, 1), 40)):
            if classes(instance)[cores, memory, numa] < wanted:
                vm = int(np.argmax(instance.vm_cpu == cores))
                places = legal_places(
                    instance, instance.vm_pm.tolist(), instance.vm_node.tolist(), vm
                )
                assert not places


def test_racks_and_clusters():
    instance = make_instance("M", 0)
    assert set(instance.rack.tolist()) == set(range(10))
    assert np.bincount(instance.cluster).tolist() == [236, 43]


def test_numbers_of_vms_say_nothing():
    """Ids are shuffled: sizes do not depend on them."""
    sizes = [make_instance("M", seed).vm_numa[:1000] for seed in range(10)]
    rest = [make_instance("M", seed).vm_numa[1000:] for seed in range(10)]
    first, last = np.concatenate(sizes), np.concatenate(rest)
    assert np.mean(first) == pytest.approx(np.mean(last), abs=0.02)


def test_toys_have_the_optimum_that_is_said():
    for instance in (toy(), toy_order()):
        for limit, known in instance.known.items():
            assert known.proved and known.best_slots == best_slots(instance, limit)
    plan = {"moves": [[0, 0, 1], [4, 1, 1]]}
    assert validate(toy(), plan).objective == 0.0
    assert validate(toy_order(), {"moves": [[3, 0, 0], [0, 1, 0]]}).objective == 0.0


def test_no_single_migration_helps_in_toy_order():
    assert best_slots(toy_order(), 1) == toy_order().slots == 0


def best_slots(instance, limit):
    """Return the most slots within so many migrations, by trying all."""
    best = 0
    stack = [(instance.vm_pm.tolist(), instance.vm_node.tolist(), limit)]
    while stack:
        pms, nodes, left = stack.pop()
        free, _ = instance.free(np.array(pms), np.array(nodes))
        best = max(best, int((free // 16).sum()))
        if left:
            for vm in range(instance.num_vms):
                for pm, node in legal_places(instance, pms, nodes, vm):
                    then = pms.copy(), nodes.copy()
                    then[0][vm], then[1][vm] = pm, node
                    stack.append((*then, left - 1))
    return best


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ("XL", "scenario: found 'XL'"),
        ("M-hihg", "did you mean M-high"),
        ("random_1", "pms: found"),
        ("random_30-20", "pms: found"),
        ("random_999999999", "pms: found"),
        ("random_x", "scenario: found 'random_x'"),
        (3, "scenario: found 3"),
    ],
)
def test_unknown_scenarios(scenario, message):
    with pytest.raises(ScenarioError, match=message):
        make_instance(scenario, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "1", None])
def test_seeds_that_are_none(seed):
    with pytest.raises(ParameterError, match="seed: found"):
        make_instance("S", seed)


@pytest.mark.parametrize(
    "fields",
    [
        {"pms": 20},
        {"pms": (20, 20.0)},
        {"free_share": 1.0},
        {"free_share": -0.1},
        {"migration_limit": -1},
        {"migration_limit": 2.0},
        {"population": HUAWEI, "pms": (2, 10**6)},
    ],
)
def test_parameters_out_of_range(fields):
    with pytest.raises(ParameterError):
        ClusterGenerator(**fields)
