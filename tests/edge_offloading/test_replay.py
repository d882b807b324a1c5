"""The servers that the validator plays, by hand and against plain Python."""

import numpy as np
import pytest

from dispatchgym.envs.edge_offloading.replay import ends_of_prefixes, spans


def test_a_shared_server_by_hand():
    """Alone for 2 s, two for 4 s until the second is done, alone again."""
    began, ended = spans(np.array([0.0, 2.0]), np.array([10.0, 4.0]), 2.0, False)
    assert began.tolist() == [0.0, 2.0]
    # At 2 the first has 6 of 10 left; each gets 1 a second: the second ends at 6, 2 are left.
    assert ended.tolist() == [7.0, 6.0]


def test_tasks_that_end_as_another_comes():
    _, ended = spans(np.array([0.0, 2.0]), np.array([4.0, 4.0]), 2.0, False)
    assert ended.tolist() == [2.0, 4.0]


def test_one_by_one_by_hand():
    arrival = np.array([5.0, 0.0, 1.0])
    began, ended = spans(arrival, np.array([2.0, 8.0, 4.0]), 2.0, True)
    assert began.tolist() == [6.0, 0.0, 4.0]
    assert ended.tolist() == [7.0, 4.0, 6.0]


def shared_in_small_steps(arrival, bits, speed, step=1e-4):
    """Return the ends of tasks on a shared server by Euler's method."""
    left, ended, now = bits.copy(), np.zeros(len(bits)), 0.0
    while (left > 0).any():
        here = (arrival <= now) & (left > 0)
        left[here] -= speed * step / max(here.sum(), 1)
        now += step
        ended[here & (left <= 0)] = now
    return ended


def test_a_shared_server_in_small_steps():
    rng = np.random.default_rng(0)
    arrival, bits = rng.uniform(0, 3, 8), rng.uniform(0.1, 2, 8)
    _, ended = spans(arrival, bits, 3.0, False)
    np.testing.assert_allclose(ended, shared_in_small_steps(arrival, bits, 3.0), atol=2e-3)


@pytest.mark.parametrize("fifo", [False, True])
def test_prefixes_are_the_first_tasks_of_a_server(fifo):
    rng = np.random.default_rng(1)
    server, arrival = rng.integers(0, 3, 30), np.sort(rng.uniform(0, 9, 30))
    bits, speed = rng.uniform(0.1, 2, 30), np.array([1.0, 2.0, 3.0])
    found = ends_of_prefixes(server, arrival, bits, speed, np.full(3, fifo))
    for last in range(30):
        tasks = [task for task in range(last + 1) if server[task] == server[last]]
        _, ended = spans(arrival[tasks], bits[tasks], speed[server[last]], fifo)
        assert found[last] == pytest.approx(ended.sum(), rel=1e-12)


def test_compiled_equals_plain():
    rng = np.random.default_rng(2)
    arrival, bits = rng.uniform(0, 3, 12), rng.uniform(0.1, 2, 12)
    for fifo in (False, True):
        for one, other in zip(
            spans(arrival, bits, 2.0, fifo), spans.py_func(arrival, bits, 2.0, fifo), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-12)
