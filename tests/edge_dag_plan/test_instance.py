"""Instances refuse what is no problem, by name; they compare, pickle and cannot be changed."""

import pickle

import numpy as np
import pytest
from edge_dag_plan.cases import diamond, rank_order, varied

from dispatchgym.envs.core.errors import InstanceError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name: found ''"),
        ({"name": 3}, "name: found 3"),
        ({"work": np.array([4.0, 0.0, 4.0, 4.0])}, r"work\[1\]: found 0.0, expected a number > 0"),
        ({"work": np.array([4.0, np.nan, 4.0, 4.0])}, r"work\[1\]: found nan"),
        ({"work": np.zeros(0)}, "work: found 0 tasks"),
        ({"work": ["a", "b", "c", "d"]}, "work: found <U1, expected numbers"),
        ({"upload": np.array([1.0, 1.0])}, r"upload: found shape \(2,\), expected \(4,\)"),
        ({"upload": np.array([1.0, -1.0, 1.0, 1.0])}, r"upload\[1\]: found -1.0"),
        ({"output": [[1.0], [2.0, 3.0]]}, "output: found rows of unequal length"),
        ({"server_speed": np.zeros(0)}, "server_speed: found 0 servers, expected 1 to 100"),
        ({"server_speed": np.array([0.0])}, r"server_speed\[0\]: found 0.0"),
        ({"uplink": np.array([0.0])}, r"uplink\[0\]: found 0.0, expected a number > 0"),
        ({"uplink": np.array([-2.0])}, r"uplink\[0\]: found -2.0"),
        ({"downlink": np.array([np.inf])}, r"downlink\[0\]: found inf"),
        ({"link": np.ones((2, 2))}, r"link: found shape \(2, 2\), expected \(1, 1\)"),
        ({"device_speed": 0.0}, "device_speed: found 0.0, expected a number > 0"),
        ({"device_power": 0}, "device_power: found 0,"),
        ({"transmit_power": -1.0}, "transmit_power: found -1.0, expected a number >= 0"),
        ({"receive_power": "much"}, "receive_power: found 'much'"),
        ({"device_speed": True}, "device_speed: found True"),
        ({"edges": np.array([[0, 4]])}, r"edges\[0\]: found 0 -> 4, expected tasks 0 to 3"),
        ({"edges": np.array([[0, 1], [0, 1]])}, "edges: found 0 -> 1 twice"),
        ({"edges": np.array([[0, 1], [1, 2], [2, 0]])}, "edges: found a cycle that task 0"),
        ({"edges": np.array([[1, 1]])}, "edges: found a cycle that task 1"),
        ({"edges": np.array([[0.0, 1.0]])}, "edges: found float64, expected integers"),
        ({"edges": np.array([0, 1])}, r"edges: found shape \(2,\)"),
        (
            {"work": np.array([1e15, 1e-9, 1e15, 1.0]), "edges": np.array([[1, 0]])},
            r"work\[1\]: found 1e-09, expected times of tasks that differ less",
        ),
    ],
)
def test_what_is_no_problem_is_refused(changes, message):
    with pytest.raises(InstanceError, match=message):
        diamond(**changes)


def test_more_tasks_than_any_plan_needs_are_refused():
    with pytest.raises(InstanceError, match="work: found 1001 tasks"):
        diamond(work=np.ones(1001), upload=np.ones(1001), output=np.ones(1001))


def test_a_task_alone_needs_no_edges():
    one = {"work": [1.0], "upload": [1.0], "output": [1.0], "edges": []}
    assert diamond(**one).edges.shape == (0, 2)


def test_arrays_are_sorted_and_locked():
    instance = diamond(edges=np.array([[2, 3], [0, 2], [1, 3], [0, 1]]))
    assert instance.edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert instance == diamond(name="another")
    for array in (instance.work, instance.edges, instance.local_time, instance.rank_order):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_equality_hash_and_pickle():
    for instance in varied(6):
        copy = pickle.loads(pickle.dumps(instance))
        assert copy == instance and hash(copy) == hash(instance) and copy is not instance
        assert copy.name == instance.name
    assert diamond() != diamond(device_speed=2.0)
    assert diamond() != 3


def test_times_and_ranks_by_hand():
    instance = diamond()
    assert instance.local_time.tolist() == [4, 8, 4, 4]
    assert instance.upload_time[:, 0].tolist() == [2, 3, 1, 2]
    assert instance.remote_time[:, 0].tolist() == [1, 2, 1, 1]
    assert instance.download_time[:, 0].tolist() == [0.5, 1, 0.5, 0.5]
    # Least times are 3.5, 6, 2.5 and 3.5.
    assert instance.upward_rank.tolist() == [13, 9.5, 6, 3.5]
    assert instance.local_latency == 20
    assert instance.local_energy == 40
    assert instance.parents(3).tolist() == [1, 2]


def test_orders_put_parents_first_whatever_the_numbers():
    instance = diamond(edges=np.array([[3, 2], [3, 1], [2, 0], [1, 0]]))
    assert instance.index_order.tolist() == [3, 1, 2, 0]
    assert instance.rank_order.tolist() == rank_order(instance)
    for other in varied(12):
        assert other.rank_order.tolist() == rank_order(other)
