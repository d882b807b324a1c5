"""Random task graphs: shapes that the parameters promise, laws of the trace, and determinism."""

import numpy as np
import pytest

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.task_graphs import (
    LONGEST_SECONDS,
    MOST_JOB_TASKS,
    SHORTEST_SECONDS,
    TaskGraph,
    daggen_graph,
    job_graph,
    most_edges,
)


def check(graph: TaskGraph) -> None:
    """Every edge goes to the next level, and every list of parents is ascending."""
    tasks = len(graph.level)
    assert len(graph.first) == tasks + 1
    assert graph.first[0] == 0 and graph.first[-1] == len(graph.parent) <= most_edges(tasks)
    parent, child = graph.edges.T
    assert (graph.level[child] == graph.level[parent] + 1).all()
    for task in range(tasks):
        parents = graph.parent[graph.first[task] : graph.first[task + 1]]
        assert (np.diff(parents) > 0).all()


@pytest.mark.parametrize("tasks", [1, 2, 10, 50])
@pytest.mark.parametrize("fat", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("density", [0.0, 0.6, 1.0])
def test_layered_graphs_are_graphs(tasks: int, fat: float, density: float) -> None:
    for seed in range(20):
        graph = daggen_graph(seed, tasks, fat=fat, regularity=0.5, density=density)
        check(graph)
        roots = np.diff(graph.first) == 0
        assert (roots == (graph.level == 0)).all()


def test_fat_0_is_a_chain_and_fat_1_a_level() -> None:
    chain = daggen_graph(1, 12, fat=0.0, regularity=1.0, density=0.5)
    assert chain.level.tolist() == list(range(12))
    assert chain.parent.tolist() == list(range(11))
    assert not daggen_graph(1, 12, fat=1.0, regularity=1.0, density=0.5).level.any()


def test_widths_and_parents_follow_their_parameters() -> None:
    widths, parents = [], []
    for seed in range(400):
        graph = daggen_graph(seed, 100, fat=0.5, regularity=0.8, density=0.5)
        width = np.bincount(graph.level)
        widths.extend(width[:-1])
        parents.extend(np.diff(graph.first)[graph.level == 1])
        assert parents[-1] <= 1 + 0.5 * width[0]
    # 10 tasks a level, 20 % more or less, rounded down: 8 to 11, each as likely.
    assert set(widths) == {8, 9, 10, 11}
    assert np.mean(widths) == pytest.approx(9.5, abs=0.1)
    # 1 + floor(U), U below 4 to 5.5: 2.9 on average.
    assert np.mean(parents) == pytest.approx(2.9, abs=0.1)


def test_a_seed_fixes_the_graph() -> None:
    def draw(seed: int) -> TaskGraph:
        return daggen_graph(seed, 30, fat=0.6, regularity=0.5, density=0.7)

    assert all(np.array_equal(a, b) for a, b in zip(draw(4), draw(4), strict=True))
    assert not np.array_equal(draw(4).parent, draw(5).parent)


def test_jobs_follow_the_laws_of_the_trace() -> None:
    jobs = [job_graph(seed) for seed in range(6000)]
    for job in jobs:
        check(job.graph)
        assert len(job.seconds) == len(job.cores) == len(job.graph.level) <= MOST_JOB_TASKS
    tasks = np.array([len(job.seconds) for job in jobs])
    for count, share in ((1, 0.383), (2, 0.204), (3, 0.128)):
        assert (tasks == count).mean() == pytest.approx(share, abs=0.02)
    seconds = np.concatenate([job.seconds for job in jobs])
    assert seconds.min() == SHORTEST_SECONDS
    assert seconds.max() == LONGEST_SECONDS == 603.0
    assert np.median(seconds) == pytest.approx(4.8, rel=0.05)
    assert np.quantile(seconds, 0.9) == pytest.approx(95.7, rel=0.1)
    cores = np.concatenate([job.cores for job in jobs])
    assert set(cores) == {0.5, 1.0}
    assert (cores == 0.5).mean() == pytest.approx(0.42, abs=0.02)
    two = [job for job in jobs if len(job.seconds) == 2]
    assert np.mean([job.graph.level[-1] for job in two]) == pytest.approx(0.977, abs=0.02)


def test_jobs_can_be_bounded() -> None:
    tasks = {len(job_graph(seed, 10, 12).seconds) for seed in range(200)}
    assert tasks == {10, 11, 12}
    assert {len(job_graph(seed, MOST_JOB_TASKS).seconds) for seed in range(5)} == {MOST_JOB_TASKS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": 0}, "tasks: found 0"),
        ({"fat": 1.5}, "fat: found 1.5"),
        ({"density": -0.1}, "density: found -0.1"),
        ({"regularity": float("nan")}, "regularity: found nan"),
    ],
)
def test_impossible_graphs_are_refused(arguments: dict[str, float], message: str) -> None:
    usual = {"tasks": 10, "fat": 0.5, "regularity": 0.5, "density": 0.5}
    with pytest.raises(ParameterError, match=message):
        daggen_graph(0, **{**usual, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(("fewest", "most"), [(0, 5), (6, 5), (1, MOST_JOB_TASKS + 1)])
def test_impossible_jobs_are_refused(fewest: int, most: int) -> None:
    with pytest.raises(ParameterError, match="fewest, most: found"):
        job_graph(0, fewest, most)
