"""Clusters from topology data: first fit, sets and departures by hand, and damaged files."""

import numpy as np
import pytest
from vm_rescheduling.plans import SHARED, needs_data

from dispatchgym.envs.core.errors import InstanceFormatError, ParameterError
from dispatchgym.envs.vm_rescheduling.topology import load_topology
from dispatchgym.envs.vm_rescheduling.validator import validate

FILES = {
    "pm_residual.csv": """pm,CPU1,RAM1,CPU2,RAM2
0,8,16,16,64
1,16,64,8,64
2,32,64,32,64
3,9,9,9,9
""",
    "topology.csv": "host_id,rack_id\n0,5\n1,5\n2,6\n3,6\n4,7\n",
    "vm_requests_C1.csv": """flavor_vcpus,flavor_ram,numa,strategy,group,domain
4,8,1,,,
4,16,1,,,
16,32,2,anti-affinity,0.0,
2,4,1,anti-affinity,0.0,
2,4,1,anti-affinity,0.0,
2,4,1,affinity,0.0,
2,4,1,fault_domain,3.0,1.0
64,128,2,,,
""",
}


def folder(tmp_path, **changes):
    for name, text in FILES.items():
        (tmp_path / name).write_text(changes.get(name.split(".")[0].split("_")[0], text))
    return tmp_path


def test_first_fit_by_hand(tmp_path):
    """Memory sends the second VM to the other node, its set the fifth one to another machine."""
    instance = load_topology(folder(tmp_path), leave=0.0, mnl=7)
    assert instance.vm_pm.tolist() == [0, 0, 1, 0, 2, 0, 0]
    assert instance.vm_node.tolist() == [0, 1, 2, 0, 0, 0, 1]
    assert instance.vm_cpu.tolist() == [4, 4, 16, 2, 2, 2, 2]
    assert instance.vm_memory.tolist() == [8192, 16384, 32768, 4096, 4096, 4096, 4096]
    assert instance.affinity.tolist() == [-1, -1, 0, 0, 0, -1, -1]
    assert instance.pm_cpu.tolist() == [[8, 16], [16, 8], [32, 32]]
    assert instance.pm_memory[0].tolist() == [16384, 65536]
    assert instance.rack.tolist() == [5, 5, 6]
    assert instance.migration_limit == 7
    assert instance.affinity_violations == 0


def test_departures_are_drawn(tmp_path):
    whole = load_topology(folder(tmp_path), leave=0.0)
    parts = [load_topology(tmp_path, leave=0.4, seed=seed) for seed in range(20)]
    assert {part.num_vms for part in parts} == {4}
    assert len({tuple(part.vm_pm.tolist()) for part in parts}) > 5
    assert all(part.total_free_cpu > whole.total_free_cpu for part in parts)
    assert load_topology(tmp_path, leave=0.4, seed=3) == parts[3]


@needs_data
@pytest.mark.parametrize("requests", ["C1", "C4"])
def test_the_shared_data(requests):
    instance = load_topology(SHARED / "huawei_topology", requests)
    assert validate(instance, {"moves": []}).valid
    assert instance.num_vms == round(0.7 * 4998)
    assert len(np.unique(instance.pm_cpu)) > 20
    assert instance.num_sets > 40 and instance.affinity_violations == 0
    # On some nodes cores are left but no memory, on others the reverse.
    cores, memory = instance.free_cpu >= 4, instance.free_memory >= 8192
    assert (cores & ~memory).sum() > 50 and (~cores & memory).sum() > 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pm": "pm,CPU1\n0,1\n"}, "pm_residual.csv, line 1: found 'pm,CPU1', expected"),
        ({"pm": ""}, "pm_residual.csv, line 1: found ''"),
        ({"pm": "pm,CPU1,RAM1,CPU2,RAM2\n0,8,16,16\n"}, "line 2: found 4 values, expected 5"),
        ({"pm": "pm,CPU1,RAM1,CPU2,RAM2\n0,8,-1,16,3\n"}, "line 2, RAM1: found '-1'"),
        ({"pm": "pm,CPU1,RAM1,CPU2,RAM2\n0,8,nan,16,3\n"}, "line 2, RAM1: found 'nan'"),
        ({"pm": "pm,CPU1,RAM1,CPU2,RAM2\n0,1,1,1,1\n"}, "no machine with room"),
        ({"topology": "host_id,rack_id\n0,5\n"}, "topology.csv: found no host 1"),
        ({"topology": "host_id,rack_id\n0,x\n"}, "topology.csv, line 2, rack_id: found 'x'"),
        ({"vm": FILES["vm_requests_C1.csv"] + "3,4,2,,,\n"}, "line 10: found 3 cores"),
        ({"vm": FILES["vm_requests_C1.csv"] + "4,4,3,,,\n"}, "on 3 nodes"),
        ({"vm": FILES["vm_requests_C1.csv"] + "4,4,1,anti-affinity,,\n"}, "line 10, group"),
        ({"vm": FILES["vm_requests_C1.csv"] + "4.5,4,1,,,\n"}, "flavor_vcpus: found '4.5'"),
    ],
)
def test_damaged_files(tmp_path, changes, message):
    with pytest.raises(InstanceFormatError, match=message):
        load_topology(folder(tmp_path, **changes))


def test_missing_files_and_arguments_out_of_range(tmp_path):
    with pytest.raises(InstanceFormatError, match=r"vm_requests_C9\.csv: cannot be read"):
        load_topology(folder(tmp_path), "C9")
    for arguments in ({"leave": 1.0}, {"leave": -0.1}, {"seed": -1}, {"seed": 1.5}):
        with pytest.raises(ParameterError):
            load_topology(tmp_path, **arguments)
