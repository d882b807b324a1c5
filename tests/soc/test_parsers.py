"""Files: what is written is read again, all formats mean what they say, damage is refused."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soc.cases import SHARED, needs_data
from soc.formats import (
    CSV,
    DAGBENCH,
    DS3_JOB,
    DS3_PLATFORM,
    GYM_PLATFORM,
    STG,
    TEXTS,
    TGFF,
    WFFORMAT,
)

from dispatchgym.envs.core.errors import DispatchGymError, InstanceFormatError, ParameterError
from dispatchgym.envs.soc import parsers, static, tables
from dispatchgym.envs.soc.generators import batch, make_instance, scenarios
from dispatchgym.envs.soc.instance import UNSUPPORTED, Instance, Workload


def small():
    """An instance with a free link, powers, arrivals and durations of their own."""
    platform = tables.platform("ds3_top3")
    jobs = tuple(
        platform.profile(name, ["task_1", "task_2"], [(0, 1, 3)], optimum=optimum)
        for name, optimum in (("one", 22), ("two", -1))
    )
    workload = Workload(
        "legacy", [0.25, 0.75], horizon=100, arrivals=[[1, 0], [0, 7]],
        durations=[[3, 4], [-1, 9]], noise=0.25, strict_ds3=True,
    )  # fmt: skip
    return Instance("small", platform, jobs, workload, {"optimum_us": 22.5})


TEXT = parsers.dumps(small())


def written(folder, text, name="file.txt"):
    path = folder / name
    path.write_text(text)
    return path


def csv_folder(folder, **changes):
    for ending, text in CSV.items():
        (folder / f"mine{ending}").write_text(changes.get(ending.strip("_").split(".")[0], text))
    return folder


# ---------------------------------------------------------------- the own format


@pytest.mark.parametrize("name", scenarios())
def test_what_is_written_is_read_again(name, tmp_path):
    one = make_instance(name, 3)
    parsers.write(one, tmp_path / "one.json")
    found = parsers.load(tmp_path / "one.json")
    assert found == one
    assert found.name == one.name
    assert found.known == one.known
    assert [job.optimum for job in found.profiles] == [job.optimum for job in one.profiles]
    assert parsers.dumps(found) == parsers.dumps(one)


def test_every_option_survives():
    one = small()
    found = parsers.loads(TEXT)
    assert found == one
    assert found.workload.durations.tolist() == [[3, 4], [-1, 9]]
    assert found.platform.clusters == one.platform.clusters


def test_the_format_is_the_documented_one():
    found = json.loads(TEXT)
    assert found["format"] == "soc/1"
    assert found["platform"]["pes"][1] == {"name": "P2_1", "cluster": 1}
    assert found["platform"]["clusters"][0]["power_w"] == {"1000": [0.05885]}
    assert found["platform"]["tasks"]["task_9"] == [18, 12, 20]
    assert found["profiles"][0]["edges"] == [[0, 1, 3]]
    assert found["profiles"][0]["duration"] == [[14, 16, 9], [13, 19, 18]]
    assert found["workload"]["arrivals"] == [[1, 0], [0, 7]]
    assert found["reference"] == {"optimum_us": 22.5}
    free = json.loads(parsers.dumps(parsers.loads(edited(platform__bandwidth__0__1=None))))
    assert free["platform"]["bandwidth"][0] == [10000.0, None, 1.0]


def edited(**changes):
    """The text of a small instance with values put in at dotted places; `...` deletes."""
    document = json.loads(TEXT)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = document
        for key in way:
            place = place[int(key) if isinstance(place, list) else key]
        key = int(last) if isinstance(place, list) else last
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return json.dumps(document)


def test_what_may_be_left_out():
    text = edited(reference=..., profiles__0__optimum=..., workload__scale=...)
    found = parsers.loads(text)
    assert found == parsers.loads(TEXT)
    assert found.known == {}
    assert found.profiles[0].optimum == -1
    assert parsers.loads(edited(platform__tasks=...)).platform.task_names == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # What the issue of this problem names.
        (
            {"profiles__0__edges": [[0, 1, 3], [1, 0, 3]]},
            "profile 'one': edges: found a cycle 0 ->",
        ),
        ({"profiles__1__duration__0": [-1, -1, -1]}, "profile 'two': task 0 ('task_1'): "),
        ({"profiles": []}, "profiles: missing, found 0"),
        ({"profiles": ...}, "profiles: missing field"),
        ({"profiles__0__edges__0__2": -3}, "profile 'one': edge 0-1: found a volume of -3"),
        ({"workload__arrivals__0__0": 2}, "arrivals[0]: found profile 2, which is missing"),
        # All kinds of others.
        ({"format": "soc/2"}, "format: found \"soc/2\", expected 'soc/1'"),
        ({"format": ...}, "format: found null"),
        ({"name": 5}, "name: found 5"),
        ({"colour": "red"}, '"colour": unknown field'),
        ({"platform": []}, "platform: found [], expected an object"),
        ({"platform__name": ...}, "platform.name: missing field"),
        ({"platform__pes__1": 7}, "platform.pes[1]: found 7, expected an object"),
        ({"platform__pes__1__cluster": "x"}, 'platform.pes[1].cluster: found "x", expected an int'),
        ({"platform__pes__1__cluster": 3}, "pe_cluster[1]: found 3, expected an integer in 0..2"),
        ({"platform__pes__1__name": "P1_0"}, "pe_names[1]: found 'P1_0' a second time"),
        ({"platform__clusters__0__speed": 1}, 'platform.clusters[0]."speed": unknown field'),
        ({"platform__clusters__0__mhz": 900}, "mhz: found 900, expected 0 or one of opp"),
        (
            {"platform__clusters__0__power_w": {"fast": [1.0]}},
            'power_w: found "fast", expected a f',
        ),
        ({"platform__bandwidth__0__1": 0}, "bandwidth[0][1]: found 0.0, expected a number in"),
        ({"platform__bandwidth__0__1": "free"}, "platform.bandwidth: found <U32"),
        ({"platform__bandwidth__0": [1, 2]}, "platform.bandwidth: found rows of unequal length"),
        ({"platform__bandwidth": [[1.0]]}, "bandwidth: found shape (1, 1)"),
        ({"platform__memory_bandwidth": 3}, "platform.memory_bandwidth: found 3, expected a list"),
        ({"platform__tasks__task_1": [1, 2]}, "platform.tasks: found rows of unequal length"),
        ({"platform__tasks": [1]}, "platform.tasks: found [1], expected an object"),
        ({"profiles__0": "one"}, 'profiles[0]: found "one", expected an object'),
        ({"profiles__0__name": ...}, "profiles[0].name: missing field"),
        ({"profiles__1__name": "one"}, "profiles[1]: found 'one' a second time"),
        ({"profiles__0__tasks": "ab"}, 'profiles[0].tasks: found "ab", expected a list'),
        ({"profiles__0__duration": []}, "profiles[0].duration: found nothing"),
        ({"profiles__0__duration__0__0": 1.5}, "profiles[0].duration: found float64, expected int"),
        ({"profiles__0__duration__0__0": True}, "profiles[0].duration: found int64, expected inte"),
        ({"profiles__0__duration__0__0": 10**30}, "profiles[0].duration: found float64"),
        ({"profiles__0__edges": [[0, 1]]}, "profile 'one': edges: found shape (1, 2)"),
        ({"profiles__0__optimum": "low"}, "optimum: found 'low'"),
        ({"workload__protocol": "burst"}, "protocol: found 'burst'"),
        ({"workload__horizon": ...}, "horizon: found 0, expected more than the warm-up"),
        ({"workload__colour": 1}, 'workload."colour": unknown field'),
        ({"workload__probabilities": [0.2, 0.3, 0.5]}, "probabilities: found 3 entries, expected"),
        ({"workload__probabilities": []}, "workload.probabilities: found nothing"),
        ({"workload__durations__0": [3]}, "workload.durations: found rows of unequal length"),
        ({"workload__strict_ds3": 1}, "strict_ds3: found 1"),
        ({"reference": 5}, "reference: found 5, expected an object"),
        ({"reference": {"optimum_us": "low"}}, "known.optimum_us: found 'low'"),
    ],
    ids=str,
)
def test_wrong_own_files(changes, words):
    with pytest.raises(InstanceFormatError) as error:
        parsers.loads(edited(**changes), "soc.json")
    assert words in str(error.value)
    assert str(error.value).startswith("soc.json: ")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: Expecting value, expected JSON"),
        (TEXT[: len(TEXT) // 2], "expected JSON"),
        (TEXT[:-3], "expected JSON"),
        ("[1, 2]", "text: found [1, 2], expected an object"),
        ('{"format": "soc/1", "format": "soc/1"}', '"format": found twice'),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
    ids=["empty", "half", "cut", "list", "twice", "deep"],
)
def test_truncated_and_other_texts(text, words):
    with pytest.raises(InstanceFormatError) as error:
        parsers.loads(text)
    assert words in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InstanceFormatError, match=r"none\.json: cannot be read"):
        parsers.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InstanceFormatError, match=r"bytes\.json: cannot be read"):
        parsers.load(tmp_path / "bytes.json")
    with pytest.raises(InstanceFormatError, match="found 0 files"):
        parsers.load(tmp_path)
    with pytest.raises(DispatchGymError, match="cannot be written"):
        parsers.write(small(), tmp_path)
    with pytest.raises(ParameterError, match="text: found bytes"):
        parsers.loads(b"{}")


# ---------------------------------------------------------------- what formats mean


def test_wfformat(tmp_path):
    found = parsers.load(written(tmp_path, WFFORMAT, "flow.json"))
    (job,) = found.profiles
    assert found.name == job.name == "mill"
    assert job.task_names == ("split", "grind", "grind", "pack")
    # Two cores of 2 GHz and one of 1 GHz; task b was measured on the slow one.
    assert job.duration.tolist() == [
        [250_000, 250_000, 500_000], [750_000, 750_000, 1_500_000],
        [2_000_000, 2_000_000, 4_000_000], [0, 0, 0],
    ]  # fmt: skip
    assert job.edges.tolist() == [[0, 1, 5000], [0, 2, 4000], [1, 3, 2500], [2, 3, 125]]
    assert found.platform.bandwidth[0].tolist() == [np.inf, np.inf, 125.0]
    assert [cluster.name for cluster in found.platform.clusters] == ["fast", "slow"]
    assert found.workload.protocol == "batch"
    assert found.workload.arrivals.tolist() == [[0, 0]]


def test_wfformat_on_other_processing_elements(tmp_path):
    path = written(tmp_path, WFFORMAT, "flow.json")
    found = parsers.load(path, processors=4)
    assert found.profiles[0].duration.tolist() == np.repeat(
        [[250_000], [1_500_000], [2_000_000], [0]], 4, axis=1
    ).tolist()  # fmt: skip
    assert found.platform.bandwidth[0].tolist() == [np.inf, 125.0, 125.0, 125.0]
    spread = parsers.load(path, processors=4, beta=1.0, seed=3).profiles[0].duration
    assert len(set(spread[1].tolist())) == 4
    assert (abs(spread[1] - 1_500_000) <= 750_000).all()
    assert (spread[3] == 0).all()
    again = parsers.load(path, processors=4, beta=1.0, seed=3)
    assert (again.profiles[0].duration == spread).all()
    assert (parsers.load(path, processors=4, beta=1.0).profiles[0].duration != spread).any()


def test_dagbench(tmp_path):
    found = parsers.load(written(tmp_path, DAGBENCH, "graph.json"))
    (job,) = found.profiles
    assert found.name == "tiny.fork"
    assert job.duration.tolist() == [[3000, 60], [500, 10]]
    assert job.edges.tolist() == [[0, 1, 2500]]  # 25 of a thousandth at 100 a unit
    assert found.platform.bandwidth.tolist() == [[1e9, 100.0], [100.0, np.inf]]
    assert found.platform.pe_names == ("edge", "cloud")


def test_stg(tmp_path):
    path = written(tmp_path, STG, "graph.stg")
    found = parsers.load(path)
    (job,) = found.profiles
    assert job.num_tasks == 5
    assert job.duration.tolist() == [[time] * 4 for time in (0, 9, 4, 3, 0)]
    assert job.edges[:, :2].tolist() == [[0, 1], [0, 2], [1, 3], [2, 3], [3, 4]]
    assert not job.edges[:, 2].any()
    assert job.critical_path == 12
    assert parsers.load(path, processors=2).num_pes == 2
    known = parsers.load(path, processors=2, optimum=12)
    assert known.profiles[0].optimum == known.known["optimum_us"] == 12
    assert parsers.load(written(tmp_path, STG.replace("3\n", "3 7\n", 1))).num_pes == 7


def test_heterogeneity_and_communication_of_stg(tmp_path):
    path = written(tmp_path, STG.replace(" 9 ", " 900 ").replace(" 4  1  0", " 400  1  0"))
    found = parsers.load(path, processors=3, beta=0.5, ccr=2.0, seed=1)
    (job,) = found.profiles
    assert (job.duration[[0, 4]] == 0).all()
    assert len(set(job.duration[1].tolist())) == 3
    assert job.edges[:, 2].mean() == pytest.approx(2 * job.duration.mean(), rel=0.5)
    assert (job.edges[:, 2] > 0).all()


def test_tgff(tmp_path):
    found = parsers.load(written(tmp_path, TGFF, "graphs.tgff"))
    first, second = found.profiles
    assert first.task_names == ("type0", "type2", "type1")
    assert first.duration.tolist() == [[49, 31], [7, UNSUPPORTED], [20, 9]]
    assert first.edges.tolist() == [[0, 1, 12], [0, 2, 34]]
    assert second.duration.tolist() == [[20, 9]]
    assert found.workload.arrivals.tolist() == [[0, 0], [1, 0]]
    assert found.platform.bandwidth.tolist() == [[np.inf, 1.0], [1.0, np.inf]]


def test_tgff_of_another_version(tmp_path):
    tables = "".join(
        f"@CORE {core}\n{{\n# price area\n79.1 0.2\n#-----\n# type version valid task_time\n"
        f"0 0 1 {10 + core}\n1 0 {core} 7\n}}\n"
        for core in (0, 1)
    )
    graph = "@TASK_GRAPH 0 {\nTASK a TYPE 0\nTASK b TYPE 1\nARC c FROM a TO b TYPE 3\n" + (
        "SOFT_DEADLINE d ON b AT 20\n}\n"
    )
    volumes = (
        "@COMMUN_QUANT 0 {\n# type quantity\n3 6\n}\n@WIRING 0\n{\n# max_buffer_size\n491\n}\n"
    )
    found = parsers.load(written(tmp_path, "@HYPERPERIOD 300\n" + volumes + graph + tables))
    (job,) = found.profiles
    assert job.duration.tolist() == [[10, 11], [UNSUPPORTED, 7]]
    assert job.edges.tolist() == [[0, 1, 6]]


def test_a_byte_order_mark_is_no_matter(tmp_path):
    assert parsers.load(written(tmp_path, "\ufeff" + TEXT)) == small()


def test_ds3_platform(tmp_path):
    platform = written(tmp_path, DS3_PLATFORM, "soc.txt")
    job = written(tmp_path, DS3_JOB, "radio.txt")
    found = parsers.load(platform, jobs=[job])
    assert found.platform.pe_names == ("A15_0", "A15_1", "FIR_2")
    assert found.platform.task_names == ("start", "filter")
    assert found.platform.duration.tolist() == [[0, 0, UNSUPPORTED], [20, 20, 4]]  # the first time
    assert found.platform.bandwidth.tolist() == [
        [5000, 1000, 10], [1000, 5000, 10], [10, 10, 5000],
    ]  # fmt: skip
    assert found.platform.memory_bandwidth.tolist() == [500, 500, 400]
    big, fir = found.platform.clusters
    assert big.opp == ((600, 900), (1000, 1000))
    assert big.trip_mhz == (-1, 1000, 600)
    assert big.dtpm_trip_mhz == (1000, 1000, 600)
    assert big.power_w == {1000: (0.85, 1.30)}
    assert big.gated_power_w == {1000: (0.59, 0.96)}
    assert (fir.name, fir.type) == ("FIR", "ACC")
    (radio,) = found.profiles
    assert radio.task_names == ("start", "filter", "filter")
    assert radio.edges.tolist() == [[0, 1, 18], [0, 2, 12], [1, 2, 9]]
    assert found.workload.protocol == "legacy"
    assert parsers.load(job, platform=platform).profiles == found.profiles
    assert parsers.load(job, platform=platform).workload.protocol == "batch"


def test_gym_platform(tmp_path):
    job = written(tmp_path, DS3_JOB, "radio.txt")
    found = parsers.load(written(tmp_path, GYM_PLATFORM, "gym.txt"), jobs=[job]).platform
    assert found.pe_names == ("P1", "P2")
    assert found.duration.tolist() == [[3, 5], [7, 2]]
    assert found.bandwidth.tolist() == [[100, 1], [1, 100]]  # 1 where nothing is said
    assert found.memory_bandwidth.tolist() == [2, 2]


def test_three_tables(tmp_path):
    found = parsers.load(csv_folder(tmp_path))
    (job,) = found.profiles
    assert job.duration.tolist() == [[14, 16], [13, 19], [11, 13]]
    assert job.edges.tolist() == [[0, 1, 18], [0, 2, 12], [1, 2, 9]]
    assert found.platform.bandwidth.tolist() == [[np.inf, 1], [2, np.inf]]
    assert parsers.load(tmp_path / "mine_task_connectivity.csv") == found


@needs_data
def test_ds3_files_equal_the_tables():
    folder = SHARED / "raw" / "ds3"
    names = {
        "TEMP_MIT": "temporal_mitigation", "WIFI_5TXM": "wifi_tx", "WIFI_5RXM": "wifi_rx",
        "LAG": "range_detection", "SCT": "sc_tx", "SCR": "sc_rx",
    }  # fmt: skip
    files = [folder / "config_Jobs" / f"job_{file}.txt" for file in names]
    for soc, name in (("MULTIPLE_BAL", "bal16"), ("MULTIPLE_BAL_NoC", "bal16"),
                      ("BAL_only", "bal8")):  # fmt: skip
        found = parsers.load(folder / "config_SoC" / f"SoC.{soc}.txt", jobs=files)
        known = tables.platform(name)
        assert found.platform.pe_names == known.pe_names
        assert found.platform.clusters == known.clusters
        assert (found.platform.bandwidth == known.bandwidth).all()
        assert (found.platform.memory_bandwidth == known.memory_bandwidth).all()
        for job, wanted in zip(found.profiles, names.values(), strict=True):
            published = tables.profile(wanted, name)
            assert job.task_names == published.task_names
            assert (job.duration == published.duration).all()
            assert (job.edges == published.edges).all()


@needs_data
def test_gym_files_equal_the_tables():
    folder = SHARED / "raw" / "gym_ds3"
    found = parsers.load(folder / "DASH.SoC.Top.txt")
    assert found.platform.pe_names == tables.platform("top3").pe_names
    assert (found.platform.bandwidth == tables.platform("top3").bandwidth).all()
    assert [job.name for job in found.profiles] == [f"top{number}" for number in range(1, 11)]
    for number in range(1, 11):
        file = folder / f"job_Top{number if number > 1 else ''}.txt"
        (job,) = parsers.load(file).profiles
        known = tables.profile(f"top{number}", "top3")
        assert (job.edges == known.edges).all()
        assert (job.duration == known.duration).all()


@needs_data
def test_published_examples():
    folder = SHARED / "canonical"
    with pytest.raises(InstanceFormatError, match="found 2 files"):
        parsers.load(folder)
    heft = parsers.load(folder / "canonicalgraph_task_connectivity.csv")
    assert (heft.profiles[0].edges == tables.profile("top1", "top3").edges).all()
    peft = parsers.load(folder / "peftgraph_task_connectivity.csv")
    assert static.heft(peft.profiles[0], peft.platform).makespan == 133
    assert static.peft(peft.profiles[0], peft.platform).makespan == 122


@needs_data
def test_every_published_file_survives():
    paths = [*(SHARED / "wfinstances").glob("*.json"), *(SHARED / "dagbench").glob("*/*/*.json"),
             *(SHARED / "stg" / "50").glob("rand00*.stg")]  # fmt: skip
    assert len(paths) == 12 + 66 + 100
    for path in paths:
        found = parsers.load(path)
        assert parsers.loads(parsers.dumps(found)) == found


# ---------------------------------------------------------------- refusals


def replaced(text, old, new):
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


WRONG = [
    # text, old, new, words
    (WFFORMAT, '"1.5"', '"1.2"', 'schemaVersion: found "1.2", expected \'1.4\' or \'1.5\''),
    (WFFORMAT, '"id": "b"', '"id": "a"', 'tasks[1].id: found "a" a second time'),
    (WFFORMAT, '["b", "c"]', '["b", "z"]', 'tasks[0].children: found "z", expected a specified'),
    (WFFORMAT, '"parents": []', '"parents": ["d"]', "found a cycle"),
    (WFFORMAT, "0.25", "-0.25", "tasks[0].runtimeInSeconds: found -0.25, expected 0..1e+06"),
    (WFFORMAT, "0.25", "NaN", "runtimeInSeconds: found NaN"),
    (WFFORMAT, '"runtimeInSeconds": 0.25', '"runtime": 1', "tasks[0].runtimeInSeconds: missing"),
    (WFFORMAT, '{"id": "d", "runtimeInSeconds": 0}', '{"id": "c", "runtimeInSeconds": 0}',
     'tasks[3]: found no runtime of "d"'),
    (WFFORMAT, "5000", "-5", "files[1].sizeInBytes: found -5"),
    (WFFORMAT, '{"id": "left", "sizeInBytes": 5000},', "", 'outputFiles: found "left", expected'),
    (WFFORMAT, '"coreCount": 2', '"coreCount": 5000', "coreCount: found 5000, expected 1..1024"),
    (WFFORMAT, '"coreCount": 2', '"coreCount": 2.5', "coreCount: found 2.5, expected an integer"),
    (WFFORMAT, '"speedInMHz": 1000', '"speedInMHz": 0', "speedInMHz: found 0"),
    (WFFORMAT, '"specification"', '"spec"', "workflow.specification: missing field"),
    (WFFORMAT, '"outputFiles": ["bran"]', '"outputFiles": "bran"', "found \"bran\", expected a"),
    (DAGBENCH, '"cost": 3.0', '"cost": -3.0', "task_graph.tasks[0].cost: found -3.0"),
    (DAGBENCH, '"size": 2.5', '"size": -2.5', "dependencies[0].size: found -2.5"),
    (DAGBENCH, '"target": "out"', '"target": "off"', 'target: found "off", which is not in the'),
    (DAGBENCH, '"target": "out"', '"target": "in"', "found a cycle 0 -> 0"),
    (DAGBENCH, '"speed": 50.0', '"speed": 0', "network.nodes[1].speed: found 0"),
    (DAGBENCH, '"target": "cloud"', '"target": "edge"', 'found no link of "edge" and "cloud"'),
    (DAGBENCH, '"name": "out"', '"name": "in"', 'tasks[1].name: found "in" a second time'),
    (DAGBENCH, '"network"', '"net"', "network: missing field"),
    (STG, "  4  0  1  3\n", "", "found 4 lines of tasks, expected 5"),
    (STG, "2  1  2", "2  1", "line 5: found 1 predecessors, expected 2"),
    (STG, "2  1  2", "2  1  4", "found a cycle 3 -> 4 -> 3"),
    (STG, "2  1  2", "2  1  9", 'line 5: predecessor: found "9", expected an integer in 0..4'),
    (STG, "2  1  2", "2  1  1", "edge 1-3: found twice"),
    (STG, "9  1", "-9  1", 'line 3: time: found "-9"'),
    (STG, "1  9", "7  9", 'line 3: task: found "7", expected an integer in 1..1'),
    (STG, "  3\n", "  999999999\n", "line 1: number of tasks: found"),
    (TGFF, "t0_1 TYPE 1", "t0_9 TYPE 1", 'line 13: found "t0_9", expected a task before it'),
    (TGFF, "TYPE 1\n\tARC", "TYPE 7\n\tARC", "task 2 ('type7'): unsupported"),
    (TGFF, "t0_1 TYPE 1", "t0_1 TYPE 5", "line 13: found type 5, which @COMMUN does not list"),
    (TGFF, "FROM t0_0", "OF t0_0", "line 13: found"),
    (TGFF, "TASK t0_1", "TASK t0_0", 'line 11: found task "t0_0" a second time'),
    (TGFF, "FROM t0_0  TO  t0_1", "FROM t0_1  TO  t0_1", "found a cycle 1 -> 1"),
    (TGFF, "12.4", "-12.4", 'line 6: quantity: found "-12.4"'),
    (TGFF, "48.6      1.5", "48.6", "line 26: found 3 columns, expected 4"),
    (TGFF[: TGFF.index("@PE 0")], "34", "34", "found no table with a column exec_time"),
    (TGFF[:-2], "34", "34", "found the end of the text, expected that of @PE 1"),
    (TGFF, "}\n@TASK_GRAPH 0", "@TASK_GRAPH 0", 'found "@TASK_GRAPH", expected the end of @COMMUN'),
    (DS3_PLATFORM, "functionalities 3", "functionalities 4", "line 2: found 3 tasks of resource"),
    (DS3_PLATFORM, "filter 4", "", "found 0 tasks of resource"),
    (DS3_PLATFORM, "filter 4", "filter -4", 'time of "filter": found "-4"'),
    (DS3_PLATFORM, "filter 4", "filter 4.5", 'time of "filter": found 4.5, expected whole'),
    (DS3_PLATFORM, "capacity 2", "capacity 0", 'line 2: capacity: found "0"'),
    (DS3_PLATFORM, "capacity 2", "capacity 1024", "found 1025 processing elements"),
    (DS3_PLATFORM, "resource_ID 1", "resource_ID 4", 'resource_ID: found "4", expected an integer'),
    (DS3_PLATFORM, "comm_band 0 1 10", "comm_band 0 1 0", "found a bandwidth of 0, expected more"),
    (DS3_PLATFORM, "comm_band 0 1 10", "comm_band 0 9 10", "found resource 9, expected 0..2"),
    (DS3_PLATFORM, "comm_band 0 1 10", "comm_band 0 1", "found 3 words, expected comm_band"),
    (DS3_PLATFORM, "comm_band 0 1 10", "comm_band 0 1 -1", 'bandwidth: found "-1"'),
    (DS3_PLATFORM, "opp 600 900", "opp 1600 900", "line 2: cluster 'A15': opp[1]: found 1000 MHz"),
    (DS3_PLATFORM, "opp 600 900", "opp 600", "line 3: expected opp MHz mV"),
    (DS3_PLATFORM, "0.85", "much", 'line 7: power_profile: found "much"'),
    (DS3_PLATFORM, "# comment", "start 0", "line 1: found \"start\", expected add_new_resource"),
    (GYM_PLATFORM, "P1 0 1 2 performance", "P1 0 1", "line 1: found 5 words, expected add_new_res"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "words"), WRONG, ids=[row[3][:40] for row in WRONG])
def test_wrong_files(text, old, new, words, tmp_path):
    path = written(tmp_path, replaced(text, old, new), "wrong.dat")
    jobs = [written(tmp_path, DS3_JOB, "job.txt")] if "add_new_resource" in text else []
    with pytest.raises(InstanceFormatError) as error:
        parsers.load(path, jobs=jobs)
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 500


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "filter 1 0",
            "polish 1 0",
            "profile 'job': task 1: found 'polish', expected one of the 2",
        ),
        ("add_new_tasks 3", "add_new_tasks 4", "found 3 tasks, expected 4 as add_new_tasks says"),
        ("add_new_tasks 3", "", "found no add_new_tasks, expected it"),
        ("filter 2 0 1", "filter 2 0 1 2", "line 8: found no comm_vol 2 2, expected one"),
        ("comm_vol 1 2 9.0\n", "", "line 8: found no comm_vol 1 2, expected one"),
        ("comm_vol 1 2 9.0", "comm_vol 2 1 9", "comm_vol 2 1: found a volume, expected 2 among"),
        ("comm_vol 1 2 9.0", "comm_vol 1 2 -9", 'line 13: volume: found "-9"'),
        ("comm_vol 1 2 9.0", "comm_vol 1 2 9.5", "line 13: volume: found 9.5, expected a whole"),
        ("comm_vol 1 2 9.0", "comm_vol 1 2", "line 13: found 3 words, expected comm_vol source"),
        ("filter 2 0 1", "filter 5 0 1", 'line 8: task: found "5", expected an integer in 2..2'),
        ("filter TAIL\n", "", "found no task marked TAIL"),
        ("start HEAD\n", "", "found no task marked HEAD"),
        ("start 0\n", "start 0 2\n", "found no comm_vol 2 0"),
    ],
    ids=str,
)
def test_wrong_ds3_jobs(old, new, words, tmp_path):
    platform = written(tmp_path, DS3_PLATFORM, "soc.txt")
    job = written(tmp_path, replaced(DS3_JOB, old, new), "job.txt")
    for load in (
        lambda: parsers.load(platform, jobs=[job]),
        lambda: parsers.load(job, platform=platform),
    ):
        with pytest.raises(InstanceFormatError) as error:
            load()
        assert str(error.value).startswith(f"{job}: ")
        assert words in str(error.value)


def test_ds3_cycles_and_platforms_without_jobs(tmp_path):
    text = replaced(DS3_JOB, "start 0\n", "start 0 2\n") + "comm_vol 2 0 1\n"
    platform = written(tmp_path, DS3_PLATFORM, "soc.txt")
    with pytest.raises(InstanceFormatError, match=r"job\.txt: profile 'job': edges: found a cycle"):
        parsers.load(written(tmp_path, text, "job.txt"), platform=platform)
    with pytest.raises(InstanceFormatError, match=r"soc\.txt: found a platform whose tasks belong"):
        parsers.load(platform)
    with pytest.raises(InstanceFormatError, match=r"other\.txt: found tasks of no built-in platfo"):
        parsers.load(written(tmp_path, DS3_JOB.replace("filter", "polish"), "other.txt"))
    with pytest.raises(InstanceFormatError, match="none: cannot be read"):
        parsers.load(written(tmp_path, DS3_JOB, "job.txt"), platform=tmp_path / "none")


@pytest.mark.parametrize(
    ("part", "text", "words"),
    [
        ("task_connectivity", "T,T0,T1\nT0,0,18\nT1,0,0\n", "found 2 rows of 2 columns, expected"),
        ("task_connectivity", CSV["_task_connectivity.csv"].replace("18", "-18"),
         'line 2: column 3: found "-18"'),
        ("task_connectivity", CSV["_task_connectivity.csv"].replace("T1,0,", "T1,4,"), "a cycle"),
        ("task_connectivity", CSV["_task_connectivity.csv"].replace("18", "1.8"), "column 3: fou"),
        ("task_connectivity", "", "found no row below the names"),
        ("task_exe_time", CSV["_task_exe_time.csv"].replace(",19", ""), "line 3: found 2 columns"),
        ("task_exe_time", CSV["_task_exe_time.csv"].replace("19", "x"), 'column 3: found "x"'),
        ("resource_BW", CSV["_resource_BW.csv"].replace("P_0,0,1", "P_0,0,0"),
         "bandwidth[0][1]: found 0.0"),
        ("resource_BW", "P,P_0\nP_0,0\n", "expected 2 of 2"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_tables(part, text, words, tmp_path):
    with pytest.raises(InstanceFormatError) as error:
        parsers.load(csv_folder(tmp_path, **{part: text}))
    assert words in str(error.value)


def test_a_table_is_missing(tmp_path):
    (csv_folder(tmp_path) / "mine_resource_BW.csv").unlink()
    with pytest.raises(InstanceFormatError, match=r"mine_resource_BW\.csv: cannot be read"):
        parsers.load(tmp_path)


def test_arguments_that_a_format_has_no_use_for(tmp_path):
    for name, text, arguments in (
        ("a.json", DAGBENCH, {"processors": 3}),
        ("b.tgff", TGFF, {"ccr": 1.0}),
        ("c.stg", STG, {"jobs": ["x"]}),
        ("d.json", WFFORMAT, {"platform": "top3"}),
        ("e.json", TEXT, {"beta": 0.5}),
        ("f.txt", DS3_PLATFORM, {"platform": "top3"}),
        ("g.txt", DS3_JOB, {"jobs": ["x"]}),
        ("h.tgff", TGFF, {"optimum": 3}),
    ):
        path = written(tmp_path, text, name)
        with pytest.raises(ParameterError, match="found"):
            parsers.load(path, **arguments)
    path = written(tmp_path, STG, "a.stg")
    for arguments in (
        {"processors": 0}, {"processors": 2.0}, {"processors": True}, {"beta": 3.0},
        {"beta": "x"}, {"ccr": -1.0}, {"seed": -1}, {"seed": 2**64},
    ):  # fmt: skip
        (name,) = arguments
        with pytest.raises(ParameterError, match=f"{name}: found"):
            parsers.load(path, **arguments)
    with pytest.raises(InstanceFormatError, match="optimum: found -5"):
        parsers.load(path, optimum=-5)


# ---------------------------------------------------------------- damage

PIECES = ['"', "{", "}", "[", "]", ",", ":", "-", "0", "1e999", "NaN", "Infinity", "null", "true",
          '"x"', "-1", "99999999999999999999", "0.5", "\n", "[]", "{}", " ", "#", "@", "\t", "\0",
          "\u0663", "_"]  # fmt: skip
ALL_TEXTS = {**TEXTS, "own.json": TEXT, "job.txt": DS3_JOB.replace("filter", "LFM")
             .replace("start", "ST")}  # fmt: skip

edits = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.sampled_from(PIECES)),
    st.tuples(st.just("delete"), st.integers(0, 10**6), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 40)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
    st.tuples(st.just("byte"), st.integers(0, 10**6), st.integers(0, 255)),
)


def damage(content, changes):
    for kind, where, what in changes:
        at = where % (len(content) + 1)
        if kind == "insert":
            content = content[:at] + what.encode() + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + what :]
        elif kind == "repeat":
            content = content[:at] + content[at : at + what] + content[at:]
        elif kind == "byte":
            content = content[:at] + bytes([what]) + content[at + 1 :]
        else:
            content = content[:at]
    return content


def check(path):
    """What is accepted survives a round trip; what is not is refused in few words."""
    try:
        found = parsers.load(path)
    except InstanceFormatError as error:
        assert str(error).startswith(f"{path}: ")
        assert len(str(error)) < 1000
        return
    assert parsers.loads(parsers.dumps(found)) == found


def fuzz(folder, name, changes):
    path = folder / name
    path.write_bytes(damage(ALL_TEXTS[name].encode(), changes))
    check(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@pytest.mark.parametrize("name", ALL_TEXTS)
@given(changes=st.lists(edits, min_size=1, max_size=3))
@settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_damaged_files(folder, name, changes):
    fuzz(folder, name, changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL_TEXTS)
@given(changes=st.lists(edits, min_size=1, max_size=4))
@settings(
    max_examples=3_000, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_damaged_files_at_length(folder, name, changes):
    fuzz(folder, name, changes)


values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2000), st.integers(-(2**70), 2**70), st.floats(),
    st.text(max_size=3), st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from(["a", "x"]), st.integers(), max_size=2),
)  # fmt: skip


def places(document, way=()):
    """Every place in nested lists and objects."""
    yield way
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        if isinstance(value, dict | list):
            yield from places(value, (*way, key))
        else:
            yield (*way, key)


@pytest.mark.parametrize("text", [TEXT, WFFORMAT, DAGBENCH], ids=["own", "wfformat", "dagbench"])
@given(where=st.integers(0, 10**6), value=values)
@settings(
    max_examples=200, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_other_values(folder, text, where, value):
    document = json.loads(text)
    ways = [way for way in places(document) if way]
    *way, last = ways[where % len(ways)]
    place = document
    for key in way:
        place = place[key]
    place[last] = value
    check(written(folder, json.dumps(document), "other.json"))


def test_batch_of_a_file_can_be_written(tmp_path):
    found = parsers.load(written(tmp_path, STG))
    mine = batch("mine", found.platform, found.profiles, (0, 0))
    parsers.write(mine, tmp_path / "mine.json")
    assert parsers.load(tmp_path / "mine.json") == mine
