"""The platforms and job profiles equal the published ones."""

import json

import numpy as np
import pytest
from soc.cases import SHARED, needs_data

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.soc import tables
from dispatchgym.envs.soc.instance import UNSUPPORTED

DATA = SHARED / "tables"


def published(name):
    return json.loads((DATA / name).read_text())


@needs_data
@pytest.mark.parametrize("name", tables.PLATFORMS)
def test_platforms_equal_the_published_ones(name):
    entry = published("platforms.json")[name]
    found = tables.platform(name)
    assert found.pe_names == tuple(pe["name"] for pe in entry["pes"])
    assert found.pe_cluster.tolist() == [pe["cluster"] for pe in entry["pes"]]
    assert found.bandwidth.tolist() == entry["bandwidth"]
    times = entry["exec_time"] | entry.get("exec_time_pulse_doppler_derived", {})
    for task, row in times.items():
        wanted = [UNSUPPORTED if time is None else time for time in row]
        assert found.duration[found.task_row[task]].tolist() == wanted, task
    reconstructed = {task for task in found.task_names if task.startswith("pd_")}
    assert set(found.task_names) == set(times) | reconstructed


@needs_data
@pytest.mark.parametrize("name", tables.PLATFORMS)
def test_clusters_equal_the_published_ones(name):
    for found, entry in zip(
        tables.platform(name).clusters, published("platforms.json")[name]["clusters"], strict=True
    ):
        assert found.type == entry["type"]
        assert [list(point) for point in found.opp] == entry["opp_mhz_mv"]
        assert found.mhz == entry["opp_mhz_mv"][-1][0]
        if name == "top3":  # its file states neither trips nor true powers
            continue
        assert found.name == entry["name"]
        assert list(found.trip_mhz) == entry["trip_freq"]
        assert list(found.dtpm_trip_mhz) == entry["dtpm_trip_freq"]
        for mine, theirs in (("power_w", "power_profile_w"), ("gated_power_w", "pg_profile_w")):
            rows = {int(mhz): tuple(row) for mhz, row in entry[theirs].items()}
            assert dict(getattr(found, mine)) == rows


@needs_data
def test_profiles_equal_the_published_ones():
    jobs = published("jobs.json")
    assert {name.removesuffix("_derived") for name in jobs} == set(tables.PROFILES)
    for key, entry in jobs.items():
        for where in entry["platforms"]:
            found = tables.profile(key.removesuffix("_derived"), where)
            assert list(found.task_names) == [task["name"] for task in entry["tasks"]]
            edges = {tuple(map(int, edge)) for edge in entry["edges"]}
            assert {tuple(edge) for edge in found.edges.tolist()} == edges
            for task, row in enumerate(entry["tasks"]):
                span = slice(*found.predecessor_start[task : task + 2])
                assert found.predecessors[span].tolist() == sorted(row["preds"])


def test_what_the_specification_states():
    top = tables.platform("top3")
    assert top.bandwidth.tolist() == [[100, 1, 1], [1, 100, 1], [1, 1, 100]]
    assert top.memory_bandwidth.tolist() == [2, 2, 2]
    assert top.duration[8].tolist() == [18, 12, 20]  # a figure of the paper misprints 29
    radio = tables.platform("bal16")
    assert radio.num_pes == 16
    assert radio.bandwidth[0, 10] == radio.bandwidth[10, 9] == 10
    assert radio.bandwidth[10, 11] == radio.bandwidth[10, 14] == 1000
    assert radio.bandwidth[3, 3] == 10_000
    assert tables.platform("bal8").duration[tables.platform("bal8").task_row["filter"], 4] == 1561


def test_pulse_doppler_has_the_shape_of_the_figure():
    job = tables.profile("pulse_doppler", "bal16")
    assert job.num_tasks == 451
    assert np.flatnonzero(job.depth == 0).tolist() == [0]
    assert np.flatnonzero(job.height == 0).tolist() == [450]
    assert (job.edges[:, 1] == 257).sum() == 64


def test_known_optima_are_at_least_the_critical_path():
    known = [
        tables.profile(name, where)
        for where in ("top3", "bal16", "bal8")
        for name in tables.PROFILES
        if name.startswith("top") == (where == "top3")
    ]
    known = [job for job in known if job.optimum >= 0]
    assert len(known) == 22
    assert all(job.critical_path <= job.optimum for job in known)


def test_unknown_names_are_refused():
    with pytest.raises(InstanceError, match="platform: found 'bal17', which is not known; did you"):
        tables.platform("bal17")
    with pytest.raises(InstanceError, match=r"profile: found 'top11'.*did you mean top1"):
        tables.profile("top11", "top3")
    with pytest.raises(InstanceError, match="profile 'top1': task 0: found 'task_1', expected one"):
        tables.profile("top1", "bal16")
