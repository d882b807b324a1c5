"""Records refuse what is not a problem, by name, and derive what follows from a graph."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.soc import tables
from dispatchgym.envs.soc.instance import (
    UNSUPPORTED,
    Cluster,
    Instance,
    JobProfile,
    Platform,
    Workload,
)

TIMES = [[14, 16, 9], [13, 19, 18], [11, 13, 19], [13, 8, UNSUPPORTED]]
DIAMOND = [(0, 1, 18), (0, 2, 12), (1, 3, 9), (2, 3, 11)]


def platform(**changes):
    values = {
        "name": "three", "pe_names": ("a", "b", "c"),
        "clusters": (Cluster("big", "BIG", opp=((600, 900), (800, 950))), Cluster("acc", "ACC")),
        "pe_cluster": [0, 0, 1],
        "bandwidth": np.where(np.eye(3), 100.0, 1.0), "memory_bandwidth": [2.0, 2.0, 2.0],
        "task_names": ("w", "x", "y", "z"), "duration": TIMES,
    }  # fmt: skip
    return Platform(**{**values, **changes})


def job(**changes):
    values = {"name": "job", "task_names": ("w", "x", "y", "z"), "duration": TIMES}
    return JobProfile(**{**values, "edges": DIAMOND, **changes})


def legacy(**changes):
    return Workload(**{"protocol": "legacy", "probabilities": [1.0], "horizon": 5000, **changes})


def instance(**changes):
    values = {"name": "one", "platform": platform(), "profiles": (job(),), "workload": legacy()}
    return Instance(**{**values, **changes})


def test_what_follows_from_a_graph():
    found = job()
    assert (found.num_tasks, found.num_edges, found.num_pes) == (4, 4, 3)
    assert found.predecessor_start.tolist() == [0, 0, 1, 2, 4]
    assert found.predecessors.tolist() == [0, 0, 1, 2]
    assert found.predecessor_volume.tolist() == [18, 12, 9, 11]
    assert found.successor_start.tolist() == [0, 2, 3, 4, 4]
    assert found.successors.tolist() == [1, 2, 3, 3]
    assert found.successor_volume.tolist() == [18, 12, 9, 11]
    assert found.min_duration.tolist() == [9, 13, 11, 8]
    assert found.mean_duration.tolist() == pytest.approx([13, 50 / 3, 43 / 3, 10.5])
    assert found.depth.tolist() == [0, 1, 1, 2]
    assert found.height.tolist() == [2, 1, 1, 0]
    assert found.head.tolist() == [0, 9, 9, 22]
    assert found.tail.tolist() == [21, 8, 8, 0]
    assert found.critical_path == 30


def test_edges_are_ordered_and_the_order_does_not_matter():
    shuffled = job(edges=[DIAMOND[place] for place in (3, 1, 0, 2)])
    assert shuffled == job()
    assert hash(shuffled) == hash(job())
    keys = [(target, source) for source, target, _ in shuffled.edges.tolist()]
    assert keys == sorted(keys)


@pytest.mark.parametrize("seed", range(20))
def test_order_depth_and_ways_of_random_graphs(seed):
    random = np.random.default_rng(seed)
    tasks = int(random.integers(1, 15))
    label = random.permutation(tasks)  # numbers do not follow the order of the graph
    edges = [
        (label[source], label[target], int(random.integers(0, 30)))
        for target in range(tasks)
        for source in range(target)
        if random.random() < 0.3
    ]
    weight = random.integers(0, 20, tasks)
    found = JobProfile("random", ("task",) * tasks, weight[:, None], edges)
    assert sorted(found.order) == list(range(tasks))
    place = np.argsort(found.order)
    assert all(place[source] < place[target] for source, target, _ in edges)

    def longest(task, step):
        ways = [weight[after] + longest(after, step) for after in step[task]]
        return max(ways, default=0)

    after = {task: [b for a, b, _ in edges if a == task] for task in range(tasks)}
    before = {task: [a for a, b, _ in edges if b == task] for task in range(tasks)}
    assert found.tail.tolist() == [longest(task, after) for task in range(tasks)]
    assert found.head.tolist() == [longest(task, before) for task in range(tasks)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"edges": [*DIAMOND, (3, 1, 4)]}, "profile 'job': edges: found a cycle 1 -> 3 -> 1"),
        ({"edges": [(2, 2, 0)]}, "found a cycle 2 -> 2"),
        ({"edges": [(0, 1, -1)]}, "profile 'job': edge 0-1: found a volume of -1, expected at l"),
        ({"edges": [(0, 4, 1)]}, "profile 'job': edges[0]: found task 4, expected 0..3"),
        ({"edges": [(-1, 2, 1)]}, "found task -1"),
        ({"edges": [(0, 1, 1), (0, 1, 2)]}, "edge 0-1: found twice"),
        ({"edges": [(0, 1)]}, "profile 'job': edges: found shape (1, 2)"),
        ({"edges": [(0, 1, 0.5)]}, "edges: found float64, expected integers"),
        ({"edges": [(0, 1, 2**60)]}, "expected an integer in"),
        ({"duration": [*TIMES[:3], [UNSUPPORTED] * 3]}, "task 3 ('z'): unsupported, found no"),
        ({"duration": TIMES[:3]}, "profile 'job': duration: found shape (3, 3)"),
        ({"duration": [*TIMES[:3], [1, 2]]}, "rows of unequal length"),
        ({"duration": [*TIMES[:3], [1, 2, -7]]}, "duration[3][2]: found -7"),
        ({"duration": np.empty((4, 0), np.int64)}, "found 0 processing elements"),
        ({"task_names": ()}, "profile 'job': task_names: found 0, expected 1"),
        ({"task_names": "wxyz"}, "task_names: found 'wxyz', expected a sequence"),
        ({"task_names": ("w", "x", 3, "z")}, "task_names[2]: found 3"),
        ({"name": ""}, "profile name: found ''"),
        ({"optimum": 1.5}, "optimum: found 1.5"),
    ],
    ids=str,
)
def test_wrong_profiles(changes, words):
    with pytest.raises(InstanceError) as error:
        job(**changes)
    assert words in str(error.value)


def test_a_long_cycle_is_cut_in_its_message():
    ring = [(task, (task + 1) % 50, 0) for task in range(50)]
    with pytest.raises(InstanceError, match=r"found a cycle 0 -> 1 -> .* -> \.\. -> 0"):
        JobProfile("ring", ("task",) * 50, np.ones((50, 1), np.int64), ring)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pe_names": ("a", "a", "c")}, "platform 'three': pe_names[1]: found 'a' a second time"),
        ({"pe_names": ()}, "pe_names: found 0, expected 1 to 1024"),
        ({"clusters": ()}, "clusters: expected at least one Cluster"),
        ({"clusters": ("big", "acc")}, "expected at least one Cluster"),
        ({"pe_cluster": [0, 0, 2]}, "pe_cluster[2]: found 2, expected an integer in 0..1"),
        ({"pe_cluster": [0, 0, 0]}, "clusters[1]: found no processing element"),
        ({"bandwidth": np.ones((2, 2))}, "bandwidth: found shape (2, 2)"),
        ({"bandwidth": np.zeros((3, 3))}, "bandwidth[0][0]: found 0.0, expected a number in"),
        ({"bandwidth": np.full((3, 3), np.nan)}, "bandwidth[0][0]: found nan"),
        ({"bandwidth": [["1"] * 3] * 3}, "bandwidth: found <U1, expected numbers"),
        ({"memory_bandwidth": [1, -2, 3]}, "memory_bandwidth[1]: found -2"),
        ({"task_names": ("w", "x", "y", "y")}, "tasks[3]: found 'y' a second time"),
        ({"duration": TIMES[:2]}, "duration: found shape (2, 3)"),
        ({"name": 7}, "platform name: found 7"),
    ],
    ids=str,
)
def test_wrong_platforms(changes, words):
    with pytest.raises(InstanceError) as error:
        platform(**changes)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "cluster name: found ''"),
        ({"type": None}, "cluster 'A': type: found None"),
        ({"opp": ((800, 900), (600, 800))}, "opp[1]: found 600 MHz, expected more than 800"),
        ({"opp": ((800,),)}, "opp[0]: found a tuple of length 1, expected (MHz, mV)"),
        ({"opp": 7}, "opp: found 7, expected a sequence"),
        ({"mhz": 700}, "mhz: found 700, expected 0 or one of opp, [600, 800]"),
        ({"trip_mhz": (-2,)}, "trip_mhz: found -2"),
        ({"power_w": {600: ()}}, "power_w[600]: found nothing"),
        ({"power_w": {600: (-1.0,)}}, "power_w[600]: found -1.0"),
        ({"power_w": [1.0]}, "power_w: found a list of length 1, expected a mapping"),
    ],
    ids=str,
)
def test_wrong_clusters(changes, words):
    values = {"name": "A", "type": "BIG", "opp": ((600, 900), (800, 950)), **changes}
    with pytest.raises(InstanceError) as error:
        Cluster(**values)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"protocol": "single"}, "protocol: found 'single', expected one of legacy, steady, batch"),
        ({"probabilities": [0.5, 0.4]}, "probabilities: found a sum of 0.9, expected 1"),
        ({"probabilities": [1.5, -0.5]}, "probabilities[0]: found 1.5"),
        ({"probabilities": []}, "found a sum of 0, expected 1"),
        ({"probabilities": ["1"]}, "probabilities: found <U1"),
        ({"scale": 0}, "scale: found 0, expected a number in 0.001..1e+09"),
        ({"scale": float("nan")}, "scale: found nan"),
        ({"capacity": 0}, "capacity: found 0"),
        ({"capacity": True}, "capacity: found True"),
        ({"horizon": 0}, "horizon: found 0, expected more than the warm-up of 0"),
        ({"warm_up": 5000}, "horizon: found 5000, expected more than the warm-up of 5000"),
        ({"num_jobs": 5}, "num_jobs: found 5, expected 0 under protocol 'legacy'"),
        ({"protocol": "steady", "horizon": 0}, "num_jobs: found 0, expected at least 1"),
        ({"protocol": "steady", "num_jobs": 1}, "horizon: found 5000, expected 0 under protocol"),
        ({"protocol": "batch", "horizon": 0}, "arrivals: found none, expected the jobs"),
        ({"arrival_rule": "poisson"}, "arrival_rule: found 'poisson'"),
        ({"comm_mode": "bus"}, "comm_mode: found 'bus'"),
        ({"executable_order": 3}, "executable_order: found 3"),
        ({"pseudo_steady": 1}, "pseudo_steady: found 1, expected True or False"),
        ({"noise": -0.1}, "noise: found -0.1"),
        ({"sampling_period": 0}, "sampling_period: found 0"),
        ({"arrivals": [[1, 0]]}, "arrivals[0]: found profile 1, which is missing, expected 0..0"),
        ({"arrivals": [[0, 5], [0, 4]]}, "arrivals[1]: found time 4, expected at least"),
        ({"arrivals": [[0, -1]]}, "arrivals[0][1]: found -1"),
        ({"arrivals": np.empty((0, 2), np.int64)}, "arrivals: found 0 jobs"),
        ({"durations": [[1]]}, "durations: found without arrivals"),
        ({"arrivals": [[0, 0]], "durations": [[1], [2]]}, "durations: found shape (2, 1)"),
        (
            {"protocol": "steady", "horizon": 0, "num_jobs": 3, "arrivals": [[0, 0]]},
            "arrivals: found 1 jobs, expected num_jobs + warm_up_jobs, 3",
        ),
    ],
    ids=str,
)
def test_wrong_workloads(changes, words):
    with pytest.raises(InstanceError) as error:
        legacy(**changes)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profiles": ()}, "profiles: missing, found 0"),
        ({"profiles": ("top1",)}, "profiles[0]: found str, expected a JobProfile"),
        ({"profiles": (job(), job())}, "profiles[1]: found 'job' a second time"),
        ({"profiles": (tables.profile("sc_tx", "bal8"),)}, "found 8 processing elements, expected"),
        ({"platform": "top3"}, "platform: found str, expected a Platform"),
        ({"workload": None}, "workload: found NoneType, expected a Workload"),
        ({"workload": legacy(probabilities=[0.5, 0.5])}, "probabilities: found 2 entries"),
        ({"name": "a\nb"}, "name: found 'a\\nb'"),
        ({"known": {"optimum_us": "low"}}, "known.optimum_us: found 'low'"),
        ({"known": 3}, "known: found 3"),
        (
            {"workload": legacy(arrivals=[[0, 0]], durations=[[1, 2]])},
            "durations: found 2 columns, expected 4",
        ),
        (
            {"profiles": (job(edges=[(0, 1, 10**15)]),), "platform": platform(
                bandwidth=np.full((3, 3), 1e-3))},
            "found a volume of 1000000000000000, which takes more than",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_instances(changes, words):
    with pytest.raises(InstanceError) as error:
        instance(**changes)
    assert words in str(error.value)


def test_arrays_are_private_and_read_only():
    times = np.array(TIMES)
    found = job(duration=times)
    times[0, 0] = 99
    assert found.duration[0, 0] == 14
    for array in (found.duration, found.edges, found.order, found.tail, platform().bandwidth):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_copies_are_equal_and_labels_do_not_count():
    one = instance(known={"optimum_us": 73})
    for twin in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert twin == one
        assert hash(twin) == hash(one)
        assert twin.known == one.known
        assert twin.platform.clusters == one.platform.clusters
    assert instance(name="two") == one
    assert instance(profiles=(job(optimum=50),)) == one
    assert instance(workload=legacy(noise=0.1)) != one
    assert instance(workload=legacy(arrivals=[[0, 0]])) != one
    assert instance(profiles=(job(edges=DIAMOND[:3]),)) != one
    assert one != "one"


def test_frequency_defaults_to_the_highest():
    assert platform().clusters[0].mhz == 800
    assert platform().clusters[1].mhz == 0
    assert replace(platform().clusters[0], mhz=600).mhz == 600


def test_sizes():
    limits = instance(workload=legacy(capacity=7, scale=50.0)).limits
    assert (limits.pes, limits.clusters, limits.profiles) == (3, 2, 1)
    assert (limits.tasks, limits.edges, limits.predecessors, limits.successors) == (4, 4, 2, 2)
    assert limits.capacity == 7


def test_most_jobs_of_an_episode():
    assert legacy(arrivals=[[0, 0], [0, 3]]).max_jobs(10) == 2
    assert legacy(protocol="steady", horizon=0, num_jobs=50, warm_up_jobs=5).max_jobs(10) == 55
    # 3 at once, one leaves every 1000 us at best: 3 at the start, and 3 more after every 1000.
    assert legacy(scale=1.0).max_jobs(1000) == 3 + 3 * 6
    # Truncated gaps of mean 1 / (exp(1 / 25) - 1), about 24.5.
    assert 200 + 10 * 14 < legacy(capacity=500).max_jobs(1) - 500 < 210 + 10 * 15 + 20


def test_scale_of_time_is_a_mean_shortest_time():
    assert instance().time_scale == pytest.approx((9 + 13 + 11 + 8) / 4)
    nothing = job(duration=np.zeros((4, 3), np.int64))
    assert instance(profiles=(nothing,)).time_scale == 1.0


def test_mean_slowness_of_transfers():
    assert platform().slowness == 1.0
    assert tables.platform("top3").slowness == 1.0
    alone = platform(
        pe_names=("a",), clusters=(Cluster("a", "a"),), pe_cluster=[0], bandwidth=[[1.0]],
        memory_bandwidth=[1.0], duration=[[1]] * 4,
    )  # fmt: skip
    assert alone.slowness == 0.0


def test_profiles_of_a_platform_know_their_times():
    found = platform().profile("two", ["z", "w"], [(0, 1, 5)], optimum=22)
    assert found.duration.tolist() == [TIMES[3], TIMES[0]]
    assert found.optimum == 22
    with pytest.raises(InstanceError, match="profile 'two': task 1: found 'q', expected one of"):
        platform().profile("two", ["z", "q"], [])
