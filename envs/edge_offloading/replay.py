"""Servers played again for the validator: residual sizes, updated at every event.

Written from the definition of a server, and so unlike the kernel, which keeps finish tags; nothing
is shared with it. Compiled, because a reward is checked by playing a server with the task and
without, for every task of every schedule of a table.
"""

import math

import numpy as np
from numba import njit

__all__ = ["ends_of_prefixes", "spans"]

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def spans(arrival, bits, speed, fifo):
    """Return when a server begins and ends each of n tasks, float64 (n,) each.

    Args:
        arrival: (n,) when uploads end; of equal ones the first in the arrays comes first.
        bits: (n,) sizes.
        speed: bit/s of the server.
        fifo: it takes tasks one by one, else it computes all at equal shares of its speed.
    """
    order = np.argsort(arrival, kind="mergesort")
    return (
        _one_by_one(order, arrival, bits, speed) if fifo else _shared(order, arrival, bits, speed)
    )


@compiled
def _one_by_one(order, arrival, bits, speed):
    began, ended = np.empty(len(order)), np.empty(len(order))
    free = 0.0
    for task in order:
        began[task] = max(arrival[task], free)
        free = began[task] + bits[task] / speed
        ended[task] = free
    return began, ended


@compiled
def _shared(order, arrival, bits, speed):
    tasks = len(order)
    began, ended = np.empty(tasks), np.empty(tasks)
    left, here = np.zeros(tasks), np.zeros(tasks, np.bool_)
    now, come, active = 0.0, 0, 0
    while come < tasks or active > 0:
        share = speed / max(active, 1)
        shortest = -1
        for task in range(tasks):
            if here[task] and (shortest < 0 or left[task] < left[shortest]):
                shortest = task
        ends = now + left[shortest] / share if active > 0 else math.inf
        time = min(ends, arrival[order[come]]) if come < tasks else ends
        for task in range(tasks):
            if here[task]:
                left[task] -= share * (time - now)
        now = time
        if ends == time:
            here[shortest], ended[shortest] = False, now
            active -= 1
        else:
            task = order[come]
            here[task], began[task], left[task] = True, now, bits[task]
            come, active = come + 1, active + 1
    return began, ended


@compiled
def ends_of_prefixes(server, arrival, bits, speed, fifo):
    """Return the sum of the ends of all tasks up to each one on its server, float64 (n,).

    Args:
        server: (n,) where each task goes.
        arrival: (n,) when its upload ends.
        bits: (n,) its size.
        speed: (S,) bit/s.
        fifo: (S,) bool.
    """
    tasks = len(server)
    sums = np.empty(tasks)
    chosen = np.empty(tasks, np.int64)
    for last in range(tasks):
        count = 0
        for task in range(last + 1):
            if server[task] == server[last]:
                chosen[count] = task
                count += 1
        mine = chosen[:count]
        e = server[last]
        sums[last] = spans(arrival[mine], bits[mine], speed[e], fifo[e])[1].sum()
    return sums
