"""A small file of every format, written for these tests."""

WFFORMAT = """{
  "name": "mill", "schemaVersion": "1.5",
  "workflow": {
    "specification": {
      "tasks": [
        {"name": "split_ID01", "id": "a", "parents": [], "children": ["b", "c"],
         "inputFiles": ["grain"], "outputFiles": ["left", "right"]},
        {"name": "grind_ID02", "id": "b", "parents": ["a"], "children": ["d"],
         "inputFiles": ["left"], "outputFiles": ["flour"]},
        {"name": "grind_ID03", "id": "c", "parents": ["a"], "children": ["d"],
         "inputFiles": ["right"], "outputFiles": ["bran"]},
        {"name": "pack_ID04", "id": "d", "parents": ["b", "c"], "children": [],
         "inputFiles": ["flour", "bran"], "outputFiles": []}
      ],
      "files": [{"id": "grain", "sizeInBytes": 9000}, {"id": "left", "sizeInBytes": 5000},
                {"id": "right", "sizeInBytes": 4000}, {"id": "flour", "sizeInBytes": 2500},
                {"id": "bran", "sizeInBytes": 125}]
    },
    "execution": {
      "tasks": [
        {"id": "a", "runtimeInSeconds": 0.25, "machines": ["fast"]},
        {"id": "b", "runtimeInSeconds": 1.5, "machines": ["slow"]},
        {"id": "c", "runtimeInSeconds": 2, "machines": ["fast"]},
        {"id": "d", "runtimeInSeconds": 0}
      ],
      "machines": [{"nodeName": "fast", "cpu": {"coreCount": 2, "speedInMHz": 2000}},
                   {"nodeName": "slow", "cpu": {"coreCount": 1, "speedInMHz": 1000}}]
    }
  }
}
"""

DAGBENCH = """{
  "name": "tiny.fork",
  "task_graph": {
    "tasks": [{"name": "in", "cost": 3.0}, {"name": "out", "cost": 0.5}],
    "dependencies": [{"source": "in", "target": "out", "size": 2.5}]
  },
  "network": {
    "nodes": [{"name": "edge", "speed": 1.0}, {"name": "cloud", "speed": 50.0}],
    "edges": [{"source": "edge", "target": "edge", "speed": 1e9},
              {"source": "edge", "target": "cloud", "speed": 100.0}]
  }
}
"""

STG = """  3
  0  0  0
  1  9  1  0
  2  4  1  0
  3  3  2  1  2
  4  0  1  3
# CP Length : 12
"""

TGFF = """# Seed = 0
@HYPERPERIOD 300
@COMMUN 0 {
# type\tquantity
  0\t34
  1\t12.4
}
@TASK_GRAPH 0 {
\tPERIOD 300
\tTASK t0_0\tTYPE 0
\tTASK t0_1\tTYPE 2
\tTASK t0_2\tTYPE 1
\tARC a0_0 \tFROM t0_0  TO  t0_1 TYPE 1
\tARC a0_1 \tFROM t0_0  TO  t0_2 TYPE 0
\tHARD_DEADLINE d0_0 ON t0_1 AT 200
}
@TASK_GRAPH 1 {
\tPERIOD 300
\tTASK t1_0\tTYPE 1
}
@PE 0 {
# price\tbuf_power
  70.1\t0
#--------------------
# type version exec_time task_power
  0    0       48.6      1.5
  1    0       20        1.5
  2    0       7.2       1.5
}
@PE 1 {
# price\tbuf_power
  99\t0
#--------------------
# type version exec_time task_power
  0    0       31        1.5
  1    0       9         1.5
}
"""

DS3_PLATFORM = """# comment
add_new_resource resource_type BIG resource_name A15 resource_ID 0 capacity 2 \
num_supported_functionalities 3 DVFS_mode performance
opp 600 900
opp 1000 1000
trip_freq -1 1000 600
DTPM_trip_freq 1000 1000 600
power_profile 1000 0.85 1.30
PG_profile 1000 0.59 0.96
start 0
filter 20
filter 99

add_new_resource resource_type ACC resource_name FIR resource_ID 1 capacity 1 \
num_supported_functionalities 1 DVFS_mode performance
opp 1000 900
mesh_information FIR 6 10.24 8.2 gold
filter 4

add_new_resource resource_type MEM resource_name MEMORY resource_ID 2 capacity 1 \
num_supported_functionalities 1 DVFS_mode none
None 0

comm_band_self 5000
comm_band 0 0 1000
comm_band 0 1 10
comm_band 0 2 500
comm_band 1 2 400
comm_band 2 2 0
"""

GYM_PLATFORM = """add_new_resource CPU P1 0 1 2 performance
opp 600 900
start 3 3
filter 7 7
add_new_resource CPU P2 1 1 2
opp 600 900
start 5 5
filter 2 2
add_new_resource MEM M1 2 1 1 none
None 0 0
comm_band 0 0 100
comm_band 1 1 100
comm_band 2 2 0
comm_band 0 2 2
comm_band 1 2 2
"""

DS3_JOB = """job_name radio
add_new_tasks 3
start 0
start HEAD
start earliest_start 0 deadline 2 input_vol 0 output_vol 0
filter 1 0
filter earliest_start 0 deadline 3
filter 2 0 1
filter TAIL
filter earliest_start 0 deadline 3
comm_vol 0 1 18
comm_vol 0 2 12
comm_vol 1 2 9.0
"""

CSV = {
    "_task_connectivity.csv": "T,T0,T1,T2\nT0,0,18,12\nT1,0,0,9\nT2,0,0,0\n",
    "_task_exe_time.csv": "TP,P_0,P_1\nT_0,14,16\nT_1,13,19\nT_2,11,13",
    "_resource_BW.csv": "P,P_0,P_1\nP_0,0,1\nP_1,2,0\n",
}

TEXTS = {
    "flow.json": WFFORMAT,
    "bench.json": DAGBENCH,
    "graph.stg": STG,
    "graphs.tgff": TGFF,
    "ds3.txt": DS3_PLATFORM,
    "gym.txt": GYM_PLATFORM,
}
"""File name -> text of all that are one file alone, without the own format."""
