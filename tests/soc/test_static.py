"""Offline list schedules equal the published ones, are legal, and never beat a bound."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from soc.cases import SHARED, needs_data

from dispatchgym.envs.core.errors import (
    InstanceFormatError,
    MissingDependencyError,
    ParameterError,
)
from dispatchgym.envs.soc import parsers, static, tables
from dispatchgym.envs.soc.generators import batch, generator, make_instance
from dispatchgym.envs.soc.instance import UNSUPPORTED, Cluster, JobProfile, Platform
from dispatchgym.envs.soc.literature import static_benchmark, static_instances

TOP3 = tables.platform("top3")
TOP1 = tables.profile("top1", "top3")
# Jobs top1 to top10 alone: makespans of HEFT and of PEFT that independent code has found.
HEFT = (80, 90, 89, 98, 97, 90, 83, 69, 78, 82)
PEFT = (85, 95, 90, 114, 86, 87, 72, 78, 87, 74)

# The example of the PEFT paper.
PEFT_TIMES = [
    (22, 21, 36), (22, 18, 18), (32, 27, 43), (7, 10, 4), (29, 27, 35), (26, 17, 24), (14, 25, 30),
    (29, 23, 36), (15, 21, 8), (13, 16, 33),
]  # fmt: skip
PEFT_EDGES = [
    (0, 1, 17), (0, 2, 31), (0, 3, 29), (0, 4, 13), (0, 5, 7), (1, 7, 3), (1, 8, 30), (2, 6, 16),
    (3, 7, 11), (3, 8, 7), (4, 8, 57), (5, 7, 5), (6, 9, 9), (7, 9, 42), (8, 9, 7),
]  # fmt: skip


def check(job, platform, plan):
    """Refuse a schedule that is not legal, worked out from the definition."""
    for task in range(job.num_tasks):
        length = job.duration[task, plan.pe[task]]
        assert length != UNSUPPORTED
        assert plan.finish[task] - plan.start[task] == length
        assert plan.start[task] >= 0
    for source, target, volume in job.edges.tolist():
        delay = int(volume / platform.bandwidth[plan.pe[source], plan.pe[target]])
        assert plan.start[target] >= plan.finish[source] + delay
    for pe in range(platform.num_pes):
        tasks = [task for task in np.flatnonzero(plan.pe == pe) if job.duration[task, pe]]
        tasks.sort(key=lambda task: plan.start[task])
        for one, other in pairwise(tasks):
            assert plan.finish[one] <= plan.start[other]


def test_upward_ranks_of_the_heft_paper():
    ranks = [108, 77, 80, 80, 69, 63.333, 42.667, 35.667, 44.333, 14.667]
    assert static.upward_rank(TOP1, TOP3).tolist() == pytest.approx(ranks, abs=5e-4)


def test_downward_ranks_of_the_heft_paper():
    ranks = [0, 31, 25, 22, 24, 27, 62 + 1 / 3, 66 + 2 / 3, 63 + 2 / 3, 93 + 1 / 3]
    assert static.downward_rank(TOP1, TOP3).tolist() == pytest.approx(ranks)


def test_optimistic_costs_of_the_heft_example():
    costs = [
        (48, 38, 53), (35, 19, 35), (28, 22, 27), (38, 19, 36), (32, 19, 32), (23, 18, 30),
        (21, 7, 16), (18, 7, 16), (20, 7, 16), (0, 0, 0),
    ]  # fmt: skip
    assert static.optimistic_cost(TOP1, TOP3).tolist() == [list(row) for row in costs]


def test_schedule_of_the_heft_paper():
    plan = static.heft(TOP1, TOP3)
    assert plan.makespan == 80
    assert plan.pe.tolist() == [2, 0, 2, 1, 2, 1, 2, 0, 1, 1]
    assert plan.start.tolist() == [0, 27, 9, 18, 28, 26, 38, 57, 56, 73]
    assert plan.finish.tolist() == [9, 40, 28, 26, 38, 42, 49, 62, 68, 80]


def test_the_cpop_paper_gives_86_for_its_example():
    plan = static.cpop(TOP1, TOP3)
    assert plan.makespan == 86
    assert plan.pe[[0, 1, 8, 9]].tolist() == [1, 1, 1, 1]  # its critical path, on one


@pytest.mark.parametrize("number", range(1, 11))
def test_makespans_of_top_jobs(number):
    job = tables.profile(f"top{number}", "top3")
    assert static.heft(job, TOP3).makespan == HEFT[number - 1]
    assert static.peft(job, TOP3).makespan == PEFT[number - 1]


def test_schedules_of_the_peft_paper():
    bandwidth = np.where(np.eye(3), np.inf, 1.0)
    platform = Platform(
        "peft", ("a", "b", "c"), (Cluster("a", "a"),), [0, 0, 0], bandwidth, [1, 1, 1]
    )
    job = JobProfile("peft", tuple("abcdefghij"), PEFT_TIMES, PEFT_EDGES)
    assert static.heft(job, platform).makespan == 133
    assert static.peft(job, platform).makespan == 122


def jobs():
    """Jobs of all shapes with their platforms."""
    for name in ("top3-gen", "gen-p8", "gen-p16-ccr1000"):
        for seed in range(6):
            found = generator(name).generate(seed)
            for job in found.profiles[:2]:
                yield f"{name}-{seed}-{job.name}", job, found.platform
    for name in tables.PROFILES[10:]:
        yield name, tables.profile(name, "bal16"), tables.platform("bal16")


JOBS = list(jobs())


@pytest.mark.parametrize(("job", "platform"), [row[1:] for row in JOBS], ids=[j[0] for j in JOBS])
def test_schedules_are_legal_and_keep_the_bounds(job, platform):
    bound = static.lower_bound(job, platform)
    assert bound >= job.critical_path
    for name, method in static.METHODS.items():
        plan = method(job, platform)
        check(job, platform, plan)
        assert plan.makespan >= max(bound, job.optimum), name


def test_a_task_goes_into_a_gap():
    # 0 and 1 follow one another with a wait between them, which 2 fits into.
    job = JobProfile("gap", ("t",) * 3, [[5, -1], [-1, 20], [6, -1]], [(0, 1, 0)])
    early = JobProfile("gap", ("t",) * 4, [[5, -1], [-1, 9], [7, -1], [4, -1]],
                       [(0, 1, 0), (1, 2, 0)])  # fmt: skip
    platform = Platform("two", ("a", "b"), (Cluster("a", "a"),), [0, 0], np.ones((2, 2)), [1, 1])
    assert static.heft(job, platform).start.tolist() == [0, 5, 5]
    plan = static.heft(early, platform)
    assert plan.start.tolist() == [0, 5, 14, 5]  # task 3 is placed last, before task 2 on its PE


def least_busy(duration, weight):
    """Brute force over a grid of splits between two processing elements."""
    best = np.inf
    shares = np.linspace(0, 1, 41)
    for split in np.stack(np.meshgrid(*[shares] * len(weight)), -1).reshape(-1, len(weight)):
        first = (split * weight * duration[:, 0]).sum()
        second = ((1 - split) * weight * duration[:, 1]).sum()
        best = min(best, max(first, second))
    return best


@pytest.mark.parametrize("seed", range(5))
def test_work_bound_is_that_of_the_linear_program(seed):
    random = np.random.default_rng(seed)
    duration, weight = random.integers(1, 30, (3, 2)), random.uniform(0.1, 2, 3)
    exact, grid = static.work_bound(duration, weight), least_busy(duration, weight)
    assert exact <= grid <= 1.05 * exact


def test_work_bound_of_simple_cases():
    assert static.work_bound(np.full((6, 4), 10), np.ones(6)) == pytest.approx(15.0)
    # The second can only be done by the first processing element, whatever is left by both.
    assert static.work_bound(np.array([[4, 4], [10, -1]]), np.ones(2)) == pytest.approx(10.0)
    assert static.work_bound(np.array([[8, 8], [2, -1]]), np.ones(2)) == pytest.approx(5.0)
    assert static.work_bound(np.array([[0, 5], [3, 0]]), np.ones(2)) == pytest.approx(0.0)


def test_capacity_of_a_mix():
    found = make_instance("top3-p5", 0)
    assert static.job_interval(found) == pytest.approx(
        static.work_bound(TOP1.duration, np.ones(10))  # all top jobs have the same tasks
    )
    # Saturated runs of the reference simulator served 11.6 jobs a millisecond.
    assert 11.3 < 1000 / static.job_interval(make_instance("bal16-wifi20", 0)) < 12.0


def test_bounds_without_highspy(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    assert static.work_bound(np.full((6, 4), 10), np.ones(6)) == pytest.approx(15.0)
    with pytest.raises(MissingDependencyError, match=r"dispatchgym\[exact\]"):
        static.lower_bound(TOP1, TOP3)


def test_ratios_and_their_table():
    rows = static.ratios(make_instance(f"single-top{number}-top3", 0) for number in (1, 7))
    assert [row.makespans for row in rows] == [
        {"heft": 80, "peft": 85, "cpop": 86},
        {"heft": 83, "peft": 72, "cpop": 85},
    ]
    assert [row.optimum for row in rows] == [73, 72]
    table = static.ratio_table(rows).splitlines()
    assert len(table) == 5
    cells = [cell.strip() for cell in table[3].split("|")[1:-1]]
    assert cells[:2] == ["peft", "2"]
    assert float(cells[4]) == pytest.approx((85 / 73 + 72 / 72) / 2, abs=1e-4)
    assert cells[6] == "50.0 %"
    assert float(cells[7]) == pytest.approx((85 / 80 + 72 / 83) / 2, abs=1e-4)
    unknown = static.ratios(
        [batch("b", TOP3, (JobProfile("j", ("t",), [[3, 3, 3]], []),))], ["peft"]
    )
    assert static.ratio_table(unknown).splitlines()[2].endswith("| - | - | - | - |")
    with pytest.raises(ParameterError, match="methods: found 'hedge', expected some of heft"):
        static.ratios([], ["hedge"])


@needs_data
def test_every_graph_of_the_literature():
    found = list(static_instances(SHARED))
    groups = [group for group, _ in found]
    assert {group: groups.count(group) for group in groups} == {
        "Examples of HEFT and PEFT": 2,
        "STG, 2 processing elements": 360,
        "STG, 4 processing elements": 360,
        "STG, 8 processing elements": 360,
        "STG, 16 processing elements": 360,
        "DAGBench": 66,
        "Workflows, 8 processing elements": 12,
    }
    for row in static.ratios(instance for _, instance in found):
        assert row.bound <= min(row.makespans.values())
        if row.optimum >= 0:
            assert row.bound <= row.optimum <= min(row.makespans.values())


@needs_data
def test_bounds_of_the_standard_task_graphs():
    rows = (SHARED / "stg" / "optimal_makespans.csv").read_text().splitlines()[1:]
    for line in rows[::37]:
        file, processors, optimum, path, work = line.split(",")
        found = parsers.load(
            SHARED / "stg" / file, processors=int(processors), optimum=int(optimum)
        )
        job = found.profiles[0]
        assert job.optimum == found.known["optimum_us"] == int(optimum)
        assert job.critical_path == int(path)
        assert job.duration[:, 0].sum() == int(work)
        bound = max(int(path), -(-int(work) // int(processors)))
        assert static.lower_bound(job, found.platform) == bound


def test_benchmark_of_a_folder(tmp_path):
    with pytest.raises(InstanceFormatError, match="found no graphs, expected canonical"):
        static_benchmark(tmp_path)
    (tmp_path / "stg").mkdir()
    listed = tmp_path / "stg" / "optimal_makespans.csv"
    graph = tmp_path / "stg" / "one.stg"
    listed.write_text("file,processors,optimal_makespan\none.stg,2,7\n")
    graph.write_text("1\n0 0 0\n1 7 1 0\n2 0 1 1\n")
    text = static_benchmark(tmp_path)
    assert text.startswith("### STG, 2 processing elements\n\n| method |")
    assert "| heft | 1 | 1.0000 | 1.000 | 1.0000 | 1.000 | 100.0 % | 1.0000 |" in text
    graph.write_text("1\n0 0 0\n")
    with pytest.raises(InstanceFormatError, match=r"one\.stg: found 1 lines of tasks, expected 3"):
        static_benchmark(tmp_path)
    listed.write_text("file,processors,optimal_makespan\none.stg,two,7\n")
    with pytest.raises(InstanceFormatError, match=r"makespans\.csv: line 2: processors: found"):
        static_benchmark(tmp_path)
