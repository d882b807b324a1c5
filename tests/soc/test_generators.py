"""Scenario names lead to the instances they say, and random ones are what they promise."""

import math

import numpy as np
import pytest

from dispatchgym.envs.core.errors import InstanceError, ParameterError, ScenarioError
from dispatchgym.envs.soc import layered, static, tables
from dispatchgym.envs.soc.generators import (
    FixedGenerator,
    Generator,
    LayeredGenerator,
    MixedGenerator,
    batch,
    generator,
    make_instance,
    scenarios,
)
from dispatchgym.envs.soc.instance import UNSUPPORTED, Limits, Workload


def within(found, limits):
    return all(getattr(found, name) <= getattr(limits, name) for name in Limits.__annotations__)


@pytest.mark.parametrize("name", scenarios())
def test_every_name_gives_the_same_instance_again(name):
    source = generator(name)
    assert isinstance(source, Generator)
    one = make_instance(name, 3)
    assert source.generate(3) == one == make_instance(name, 3)
    assert one.name.split("#")[0] == name
    assert within(one.limits, source.limits)


def test_the_published_setting():
    found = make_instance("top3-p5", 0)
    assert [job.name for job in found.profiles] == ["top1", "top2", "top3", "top4", "top5"]
    workload = found.workload
    assert workload == Workload(
        "legacy", np.full(5, 0.2), scale=25.0, capacity=3, horizon=5000, arrival_rule="gym",
        pseudo_steady=True, sampling_period=5,
    )  # fmt: skip
    assert found.platform == tables.platform("top3")


def test_the_setting_of_the_radio_platform():
    found = make_instance("bal16-mix6", 0)
    names = ["wifi_tx", "wifi_rx", "range_detection", "sc_tx", "sc_rx", "temporal_mitigation"]
    assert [job.name for job in found.profiles] == names
    assert found.workload == Workload(
        "legacy", [0.2, 0.2, 0.2, 0.1, 0.1, 0.2], scale=100.0, capacity=12, horizon=60_000,
        warm_up=10_000, executable_order="job",
    )  # fmt: skip
    share = make_instance("bal16-wifi80", 0).workload.probabilities
    assert share.tolist() == pytest.approx([0.8, 0.2])
    doppler = make_instance("bal16-pd", 0)
    assert doppler.max_tasks == 451
    assert doppler.workload.probabilities.tolist()[-1] == pytest.approx(0.1)


def test_endings():
    found = make_instance("top3-p6-10-q5-s50-noise30-h9000-strict-shared", 0)
    assert [job.name for job in found.profiles] == [f"top{number}" for number in range(6, 11)]
    workload = found.workload
    assert (workload.capacity, workload.scale, workload.horizon) == (5, 50.0, 9000)
    assert workload.noise == pytest.approx(0.3)
    assert workload.strict_ds3
    assert workload.comm_mode == "shared_memory"
    reordered = make_instance("top3-p6-10-strict-h9000-q5-shared-noise30-s50", 0)
    assert reordered == found


def test_steady_runs():
    workload = make_instance("top3-p5-steady", 0).workload
    assert (workload.protocol, workload.num_jobs, workload.warm_up_jobs) == ("steady", 1000, 100)
    assert (workload.capacity, workload.horizon, workload.pseudo_steady) == (12, 0, False)
    smaller = make_instance("bal16-mix6-steady-n50-q4", 0).workload
    assert (smaller.num_jobs, smaller.warm_up, smaller.capacity) == (50, 0, 4)


@pytest.mark.parametrize("percent", [30, 90])
def test_load_is_a_share_of_the_capacity(percent):
    found = make_instance(f"bal16-mix6-load{percent}", 0)
    mean = 1.0 / math.expm1(1.0 / found.workload.scale)  # of a truncated exponential
    assert static.job_interval(found) / mean == pytest.approx(percent / 100)


def test_frequencies_slow_a_cluster_down():
    fast, slow = make_instance("bal16-mix6", 0), make_instance("bal16-mix6-a15@1000", 0)
    assert slow.platform.clusters[1].mhz == 1000
    before, after = fast.profiles[0].duration, slow.profiles[0].duration
    on = fast.platform.pe_cluster == 1
    assert (after[:, on] == np.where(before[:, on] > 0, 2 * before[:, on], before[:, on])).all()
    assert (after[:, ~on] == before[:, ~on]).all()
    assert slow.name == "bal16-mix6-a15@1000"


def test_few_jobs():
    one = make_instance("single-top1-top3", 0)
    assert one.workload.protocol == "batch"
    assert one.known == {"optimum_us": 73}
    assert one.platform.name == "top3"
    assert make_instance("single-top1", 0) == one
    two = make_instance("batch-top2-top1-top2", 0)
    assert [job.name for job in two.profiles] == ["top2", "top1"]
    assert two.workload.arrivals.tolist() == [[0, 0], [1, 0], [0, 0]]
    assert two.workload.capacity == 3
    assert two.known == {}
    assert make_instance("batch-top1-top2", 0).known == {"optimum_us": 86.5}
    radio = make_instance("batch-wifi_tx-wifi_rx-bal8", 0)
    assert radio.platform.name == "bal8"
    assert make_instance("batch-wifi_tx", 0).known == {"optimum_us": 69}
    assert make_instance("batch-top1-top1-ds3_top3", 0).platform.name == "ds3_top3"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("top3-p11", "scenario: found 'top3-p11', which is not known; did you mean top3-p1"),
        ("top4-p5", "scenario: found 'top4-p5'"),
        ("", "scenario: found ''"),
        (5, "scenario: found 5, expected a name"),
        ("top3-p6-3", "scenario 'top3-p6-3': found jobs 6 to 3"),
        ("top3-p5-q0", "capacity: found 0"),
        ("top3-p5-q3-q4", "found -q4, expected each ending once"),
        ("top3-p5-zebra", "found -zebra, which is not one of the known endings"),
        ("top3-p5-steady5", "found -steady5, which is not"),
        ("top3-p5-q", "found -q, which is not"),
        ("top3-p5-n5", "num_jobs: found 5, expected 0 under protocol 'legacy'"),
        ("top3-p5-steady-h50", "horizon: found 50, expected 0 under protocol 'steady'"),
        ("bal16-mix6-h500", "horizon: found 500, expected more than the warm-up of 10000"),
        ("top3-p5-noise2000", "noise: found 20.0"),
        ("top3-p5-load0", "load: found 0, expected 1..1000"),
        ("top3-p5-ccr50", "found -ccr, which does not apply"),
        ("gen-p16-load50", "found -load, which does not apply"),
        ("gen-p16-a7@600", "found -@, which does not apply"),
        ("gen-p3", "platform: found 3, expected an integer in 4..1024"),
        ("bal16-mix6-a15@700", "expected one of"),
        ("single-top1-top2-top3", "found 3 jobs, expected one job and its platform"),
        ("single-top1-bal16", "profile 'top1': task 0: found 'task_1', expected one of the"),
        ("batch-top12", "profile: found 'top12', which is not known"),
        ("batch-", "profile: found ''"),
        ("bal16-wifi101", "scenario: found 'bal16-wifi101'"),
        ("top3-p5-q" + "9" * 30, "capacity: found"),
        ("top3-p5-q" + "9" * 5000, "is not known"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_names(name, words):
    with pytest.raises(ScenarioError) as error:
        generator(name)
    assert words in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "1", None])
def test_wrong_seeds(seed):
    with pytest.raises(ParameterError, match="seed: found"):
        make_instance("top3-gen", seed)


@pytest.mark.parametrize(
    "changes",
    [
        {"platform": 3}, {"profiles": 0}, {"tasks": (1, 5)}, {"tasks": (5, 2)}, {"tasks": 5},
        {"work": (0.0, 1.0)}, {"ccr": ()}, {"ccr": (-1.0,)}, {"ccr": 1.0}, {"beta": (3.0,)},
        {"width": (0.5, 1.5)}, {"density": (0.5,)}, {"regularity": 2.0}, {"jump": 0},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters(changes):
    (name,) = changes
    with pytest.raises(ParameterError, match=name):
        LayeredGenerator(**changes)
    with pytest.raises(InstanceError, match="platform: found 'top9'"):
        LayeredGenerator(platform="top9")


def test_seeds_give_different_instances():
    for name in ("top3-gen", "gen-p8"):
        assert len({make_instance(name, seed) for seed in range(20)}) == 20
    assert make_instance("top3-gen", 2**64 - 1) != make_instance("top3-gen", 0)


@pytest.mark.parametrize("name", ["top3-gen", "gen-p4", "gen-p16", "gen-p64"])
def test_random_instances_keep_the_limits(name):
    source = generator(name)
    for seed in range(30):
        found = source.generate(seed)
        assert within(found.limits, source.limits)
        for job in found.profiles:
            low, high = source.tasks
            assert low <= job.num_tasks <= high
            assert np.flatnonzero(job.depth == 0).tolist() == [0]
            assert np.flatnonzero(job.height == 0).tolist() == [job.num_tasks - 1]
            assert job.edges[:, 0].tolist() < [job.num_tasks] * job.num_edges
            assert (job.edges[:, 0] < job.edges[:, 1]).all()


def test_sizes_of_jobs_are_all_met():
    sizes = {
        job.num_tasks for seed in range(40) for job in make_instance("top3-gen", seed).profiles
    }
    assert sizes == set(range(6, 15))


def test_communication_ratio_is_met():
    for percent in (50, 1000):
        ratios = []
        for seed in range(40):
            found = make_instance(f"top3-gen-ccr{percent}", seed)
            for job in found.profiles:
                transfer = job.edges[:, 2].mean() * found.platform.slowness
                ratios.append(transfer / job.duration.mean())
        assert np.mean(ratios) == pytest.approx(percent / 100, rel=0.05)


def test_times_spread_around_the_work():
    source = LayeredGenerator(tasks=(30, 30), work=(100.0, 100.0), beta=(0.5,))
    times = np.concatenate(
        [job.duration for seed in range(10) for job in source.generate(seed).profiles]
    )
    assert times.min() >= 75
    assert times.max() <= 125
    assert times.mean() == pytest.approx(100, abs=1)
    assert abs(np.corrcoef(times[:, 0], times[:, 1])[0, 1]) < 0.1


def test_wide_and_deep_graphs():
    def depth(width):
        source = LayeredGenerator(tasks=(50, 50), width=(width, width))
        return np.mean([job.depth.max() for s in range(5) for job in source.generate(s).profiles])

    assert depth(0.1) > 2 * depth(0.5) > 4 * depth(0.9)


def test_dense_graphs_have_more_edges():
    def edges(density):
        source = LayeredGenerator(tasks=(40, 40), density=(density, density))
        return np.mean([job.num_edges for s in range(5) for job in source.generate(s).profiles])

    assert 39 <= edges(0.0) < edges(0.5) < edges(1.0) <= layered.most_edges(40)


def test_edges_jump_over_no_more_levels_than_said():
    for jump in (1, 3):
        source = LayeredGenerator(tasks=(40, 40), jump=jump, width=(0.4, 0.4))
        spans = [
            int(job.depth[target] - job.depth[origin])
            for seed in range(10)
            for job in source.generate(seed).profiles
            for origin, target, _ in job.edges
            if target != job.num_tasks - 1
        ]
        assert max(spans) == jump if jump == 1 else 1 < max(spans) <= jump


@pytest.mark.parametrize("pes", [4, 5, 16, 64, 256])
def test_random_platforms(pes):
    for seed in range(10):
        platform, speed = layered.draw_platform(seed, pes)
        assert platform.num_pes == pes
        assert platform.num_clusters <= layered.most_clusters(pes)
        general = [index for index, kind in enumerate(platform.clusters) if kind.type == "CPU"]
        assert 2 <= len(general) <= 4
        assert (speed[general] >= 1.0).all()
        assert (speed[general] <= 4.0).all()
        accelerators = np.delete(speed, general, axis=0)
        assert ((accelerators > 0).sum(axis=1) >= 1).all()
        assert (accelerators[accelerators > 0] >= 3.0 - 1e-9).all()
        assert (accelerators <= 30.0 + 1e-9).all()
        assert (platform.duration == UNSUPPORTED).sum() == (speed[platform.pe_cluster] == 0).sum()
        assert (platform.bandwidth == platform.bandwidth.T).all()
        assert platform.bandwidth[0, 1] == layered.LINK_BANDWIDTH
        assert platform.bandwidth.min() >= layered.LINK_BANDWIDTH / (2 * math.sqrt(pes) + 2)
        job = platform.profile("any", ["family_0", "family_7"], [(0, 1, 3)])
        assert job.critical_path > 0


def test_a_generator_of_one_instance():
    found = make_instance("top3-p5", 7)
    assert FixedGenerator(found).generate(123) is found
    assert FixedGenerator(found).limits == found.limits


def test_batches_of_own_jobs():
    platform = tables.platform("top3")
    jobs = (tables.profile("top1", "top3"), tables.profile("top2", "top3"))
    found = batch("mine", platform, jobs, (1, 1, 0), {"bound_us": 70})
    assert found.workload.arrivals[:, 0].tolist() == [1, 1, 0]
    assert found.workload.probabilities.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert found.known == {"bound_us": 70}


def test_a_mixture_takes_each_seed_from_one_of_its_parts():
    names = ("top3-p5-q5", "top3-gen-noise20")
    mixed, parts = generator("+".join(names)), [generator(name) for name in names]
    taken = []
    for seed in range(40):
        made = mixed.generate(seed)
        part = int(made.name.startswith("top3-gen"))
        assert made.name == parts[part].generate(seed).name
        taken.append(part)
    assert 5 < sum(taken) < 35
    assert mixed.limits.capacity == 5
    assert mixed.limits.tasks == parts[1].limits.tasks
    with pytest.raises(ScenarioError, match="top3-pp"):
        generator("top3-p5+top3-pp")
    with pytest.raises(ParameterError, match="parts: found none"):
        MixedGenerator(())
