"""The solver against the published optima, exhaustive enumeration and its own limits."""

import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import product

import numpy as np
import pytest
from soc.varied import varied

from dispatchgym.envs.core.errors import MissingDependencyError, ParameterError
from dispatchgym.envs.soc.exact import solve
from dispatchgym.envs.soc.generators import make_instance
from dispatchgym.envs.soc.planners import plan_episode
from dispatchgym.envs.soc.validator import validate

pytestmark = pytest.mark.skipif(find_spec("ortools") is None, reason="OR-tools is not installed")

OPTIMA = {
    "top3": {"top1": 73, "top2": 81, "top3": 80, "top4": 87, "top5": 85, "top6": 80, "top7": 72}
    | {"top8": 65, "top9": 72, "top10": 74},
    "bal16": {"wifi_tx": 69, "wifi_rx": 288, "range_detection": 176, "sc_tx": 56, "sc_rx": 153}
    | {"temporal_mitigation": 79},
    "bal8": {"wifi_tx": 264, "wifi_rx": 1129, "range_detection": 206, "sc_tx": 1429}
    | {"sc_rx": 3544, "temporal_mitigation": 133},
}


@pytest.mark.parametrize(
    "job, platform, optimum",
    [(job, name, optimum) for name, jobs in OPTIMA.items() for job, optimum in jobs.items()],
)
def test_single_jobs_are_proven(job, platform, optimum):
    result = solve(make_instance(f"single-{job}-{platform}", 0), time_limit=10)
    assert result.proved
    assert result.status == "optimal"
    assert result.objective == result.bound == optimum


@pytest.mark.parametrize("jobs, total", [("top1-top1", 169), ("top1-top2", 173)])
def test_batches_of_two_are_proven(jobs, total):
    result = solve(make_instance(f"batch-{jobs}", 0))
    assert result.proved
    assert 2 * result.objective == total


def given(seed, **fields):
    """A random batch of one or two jobs with the settings that the solver takes."""
    random = np.random.default_rng(seed)
    instance = varied(seed)
    count = int(random.integers(1, 3))
    arrivals = np.column_stack(
        (random.integers(0, instance.num_profiles, count), np.sort(random.integers(0, 9, count)))
    )
    settings = {"arrivals": arrivals, "noise": 0.0, "strict_ds3": False, "durations": None}
    settings |= {"capacity": 2, "protocol": "batch", "horizon": 0, "warm_up": 0}
    settings |= {"num_jobs": 0, "warm_up_jobs": 0, "pseudo_steady": False} | fields
    return replace(instance, workload=replace(instance.workload, **settings))


def orders(before, done=()):
    """All orders in which every task comes after its predecessors."""
    if len(done) == len(before):
        yield done
    for task, sources in before.items():
        if task not in done and all(source in done for source in sources):
            yield from orders(before, (*done, task))


def enumerate_plans(instance):
    """The least sum of latencies over all orders and PEs, by brute force."""
    workload, platform = instance.workload, instance.platform
    before = {}
    for job, (kind, _) in enumerate(workload.arrivals.tolist()):
        profile = instance.profiles[kind]
        for task in range(profile.num_tasks):
            edges = profile.edges[profile.edges[:, 1] == task]
            before[job, task] = {(job, source): volume for source, _, volume in edges.tolist()}
    duration = {
        (job, task): instance.profiles[workload.arrivals[job, 0]].duration[task]
        for job, task in before
    }
    best = np.inf
    choices = [np.flatnonzero(duration[task] >= 0) for task in before]
    for pes in product(*choices):
        on = dict(zip(before, pes, strict=True))
        for order in orders(before):
            free, end = [0] * instance.num_pes, {}
            for task in order:
                p = on[task]
                ready = int(workload.arrivals[task[0], 1])
                haul = 0
                for source, volume in before[task].items():
                    q = on[source]
                    if workload.comm_mode == "shared_memory":
                        took = int(volume / platform.memory_bandwidth[q])
                        haul = max(haul, int(volume / platform.memory_bandwidth[p]))
                    else:
                        took = int(volume / platform.bandwidth[q, p])
                    ready = max(ready, end[source] + took)
                end[task] = free[p] = max(free[p], ready + haul) + int(duration[task][p])
            total = 0
            for job, (_, arrival) in enumerate(workload.arrivals.tolist()):
                total += max(end[task] for task in before if task[0] == job) - arrival
            best = min(best, total)
    return best


@pytest.mark.parametrize("comm_mode", ["pe_to_pe", "shared_memory"])
def test_as_good_as_all_plans(comm_mode):
    tried = 0
    for seed in range(200):
        instance = given(seed, comm_mode=comm_mode)
        tasks = sum(instance.profiles[k].num_tasks for k in instance.workload.arrivals[:, 0])
        if not 3 <= tasks <= 6 or instance.num_pes > 3:
            continue
        result = solve(instance)
        assert result.proved
        count = len(instance.workload.arrivals)
        assert round(result.objective * count) == enumerate_plans(instance), seed
        tried += 1
    assert tried > 10


def test_nobody_is_better_than_the_optimum():
    for seed in range(40, 60):
        instance = given(seed)
        result = solve(instance)
        assert result.proved
        report = validate(instance, result.schedule)
        assert report.valid
        assert report.objective == result.objective
        assert plan_episode("search", instance).objective >= result.bound


def test_stops_when_time_is_up():
    instance = make_instance("batch-top1-top2-top3-top4-top5", 0)
    result = solve(instance, time_limit=0.5)
    assert not result.proved
    assert result.status == "feasible"
    assert 300 < 5 * result.bound < 5 * result.objective < 760  # ETF needs 862
    assert validate(instance, result.schedule).valid


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"noise": 0.1}, "workload: found noise"),
        ({"strict_ds3": True}, "workload: found noise, given durations or strict_ds3"),
        ({"capacity": 1}, "capacity: found 1, expected room for all of the 2 jobs"),
    ],
)
def test_what_cannot_be_solved(fields, said):
    instance = make_instance("batch-top1-top2", 0)
    wrong = replace(instance, workload=replace(instance.workload, **fields))
    with pytest.raises(ParameterError, match=said):
        solve(wrong)


def test_wrong_arguments():
    instance = make_instance("single-top1-top3", 0)
    with pytest.raises(ParameterError, match="protocol: found 'legacy', expected 'batch'"):
        solve(make_instance("top3-p5", 0))
    with pytest.raises(ParameterError, match="time_limit: found -1"):
        solve(instance, time_limit=-1)
    with pytest.raises(ParameterError, match="workers: found 0"):
        solve(instance, workers=0)
    with pytest.raises(ParameterError, match="instance: found str"):
        solve("top3")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(MissingDependencyError, match="extra `exact`"):
        solve(make_instance("batch-top1-top1", 0))
