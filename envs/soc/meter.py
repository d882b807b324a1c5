"""What clusters draw and how warm that makes them, as time passes; compiled by Numba.

One step of it is a time during which no core begins, ends or changes its frequency. Power, by the
formulas of DS3, comes from a table (clusters, operating points, columns), the state of the
clusters from one of whole numbers; both are described below. `power` makes the table.
"""

import math

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)  # type: ignore[call-overload]

MICRO = 1e-6
AMBIENT = 42.0
"""Degrees Celsius around the chip, where every run begins."""
KELVIN = 273.0
THERMAL_PERIOD = 20
"""Microseconds between two changes of the temperature."""
MEMORY_WATTS, GPU_WATTS = 0.0473, 0.1201
BASE_WATTS = MEMORY_WATTS + GPU_WATTS
"""What memory and graphics draw all the time."""

# Leakage of four big cores: V (C1 T^2 exp(-C2 / T) + gate), in volts and kelvin.
LEAKAGE_SCALE, LEAKAGE_KELVIN, GATE_LEAKAGE = 0.002488, 2660.0, 0.000519
LEAKING_CORES = 4

HEAT_FLOW = np.array([
    [0.9928, 0.000566, 0.004281, 0.0003725, 1.34e-5],
    [0.006084, 0.9909, 0.0, 0.001016, 8.863e-5],
    [0.0, 0.0008608, 0.993, 0.0, 0.0008842],
    [0.006844, -0.0005119, 0.0, 0.9904, 0.0003392],
    [0.0007488, 0.003932, 8.654e-5, 0.002473, 0.9905],
])  # fmt: skip
"""How warmth above ambient passes between the five spots in a thermal period."""
HEAT_OF_MEMORY = np.array([0.07423, 0.0, 0.6708, 0.0, 0.01404])
HEAT_OF_GPU = np.array([6.898e-7, 0.001971, 2.108e-6, 0.01682, 0.03811])
BASE_HEAT = HEAT_OF_MEMORY * MEMORY_WATTS + HEAT_OF_GPU * GPU_WATTS
"""Degrees that memory and graphics add in a thermal period."""
SPOTS = len(BASE_HEAT)

# Columns of the table of power, for each cluster and operating point: what leaks of a big core's
# leakage at one volt, cores, cores of the measured row, what scales measured dynamic power, degrees
# in a thermal period for each watt, measured watts with 1, 2, .. active cores.
LEAKING, CORES, MEASURED, SCALE_OF_POWER, FIRST_HEAT = range(5)
FIRST_WATTS = FIRST_HEAT + SPOTS

# Columns of the state of the clusters: operating point, cores that run a task, core-microseconds
# of work at the governor's last look.
LEVEL, ACTIVE, WORKED = range(3)
NUM_CLUSTER_COLUMNS = 3

# Columns of a meter: joules, the highest temperature, watts that a big core leaks at one volt, what
# of the cost has been told; the spots, in degrees, now and next; then for each cluster joules, and
# watts times microseconds since the last change of the temperature.
DYNAMIC, LEAKED, BASE, HOTTEST, LEAKAGE, TOLD, FIRST_SPOT = range(7)
NEXT_SPOT = FIRST_SPOT + SPOTS
FIRST_CLUSTER = NEXT_SPOT + SPOTS


def num_meter_columns(clusters: int) -> int:
    """Return the number of columns of a meter."""
    return FIRST_CLUSTER + 2 * clusters


@compiled
def core_leakage(celsius):
    """Return the watts that a big core leaks at one volt."""
    kelvin = KELVIN + celsius
    warm = LEAKAGE_SCALE * kelvin * kelvin * math.exp(-LEAKAGE_KELVIN / kelvin)
    return (warm + GATE_LEAKAGE) / LEAKING_CORES


@compiled
def dynamic_watts(row, active, leaked):
    """Return the watts beyond leakage of a cluster.

    Args:
        row: of the table of power.
        active: cores that run a task.
        leaked: watts that one core leaks.
    """
    measured = row[FIRST_WATTS + active - 1] if active > 0 else 0.0
    if measured <= 0.0:
        return 0.0
    return (measured - leaked * row[MEASURED]) * row[SCALE_OF_POWER]


@compiled
def clear_meter(meter):
    """Set a meter to nought, at ambient temperature."""
    for column in range(meter.size):
        meter[column] = 0.0
    for spot in range(FIRST_SPOT, NEXT_SPOT):
        meter[spot] = AMBIENT
    meter[HOTTEST] = AMBIENT
    meter[LEAKAGE] = core_leakage(AMBIENT)


@compiled
def charge(meter, power, clusters, length, counted):
    """Add what is drawn in a time of one temperature, in microseconds; heat comes of it anyway."""
    if counted:
        meter[BASE] += BASE_WATTS * length * MICRO
    for c in range(power.shape[0]):
        row = power[c, clusters[c, LEVEL]]
        leaked = row[LEAKING] * meter[LEAKAGE]
        dynamic = dynamic_watts(row, clusters[c, ACTIVE], leaked)
        leaked *= row[CORES]
        meter[FIRST_CLUSTER + 2 * c + 1] += (dynamic + leaked) * length
        if counted:
            meter[DYNAMIC] += dynamic * length * MICRO
            meter[LEAKED] += leaked * length * MICRO
            meter[FIRST_CLUSTER + 2 * c] += (dynamic + leaked) * length * MICRO


@compiled
def change_temperature(meter, power):
    """Change the temperature by the mean power since the last time."""
    for spot in range(SPOTS):
        after = AMBIENT + BASE_HEAT[spot]
        for other in range(SPOTS):
            after += HEAT_FLOW[spot, other] * (meter[FIRST_SPOT + other] - AMBIENT)
        for c in range(power.shape[0]):
            watts = meter[FIRST_CLUSTER + 2 * c + 1] / THERMAL_PERIOD
            after += watts * power[c, 0, FIRST_HEAT + spot]
        meter[NEXT_SPOT + spot] = after
    highest = meter[NEXT_SPOT]
    for spot in range(SPOTS):
        meter[FIRST_SPOT + spot] = meter[NEXT_SPOT + spot]
        highest = max(highest, meter[NEXT_SPOT + spot])
    for c in range(power.shape[0]):
        meter[FIRST_CLUSTER + 2 * c + 1] = 0.0
    meter[HOTTEST] = max(meter[HOTTEST], highest)
    meter[LEAKAGE] = core_leakage(highest)


@compiled
def run_meter(meter, power, clusters, begin, end, counts_from):
    """Let a meter run from one time to another while the clusters stay as they are.

    Args:
        meter: float64, see the columns above; written.
        power: float64 (C, L, columns), table of power.
        clusters: int64 (C, NUM_CLUSTER_COLUMNS), state of the clusters.
        begin: microsecond where the meter stands.
        end: microsecond to which it runs.
        counts_from: microsecond from which on energy counts.
    """
    now = begin
    while now < end:
        until = min(end, (now // THERMAL_PERIOD + 1) * THERMAL_PERIOD)
        if now < counts_from:
            until = min(until, counts_from)
        charge(meter, power, clusters, until - now, now >= counts_from)
        if until % THERMAL_PERIOD == 0:
            change_temperature(meter, power)
        now = until


@compiled
def replay(meter, power, clusters, starts, finishes, changes, end, counts_from):
    """Let a meter run through a schedule.

    Args:
        meter: cleared; written.
        power: as for `run_meter`.
        clusters: state at time 0; written.
        starts: int64 (n, 2), time and cluster of each start, by time.
        finishes: the same of each finish.
        changes: int64 (m, 3), time, cluster and operating point of each change, by time.
        end: of the run.
        counts_from: as for `run_meter`.
    """
    now, begun, ended, changed = 0, 0, 0, 0
    while now < end:
        until = end
        while ended < finishes.shape[0] and finishes[ended, 0] <= now:
            clusters[finishes[ended, 1], ACTIVE] -= 1
            ended += 1
        if ended < finishes.shape[0]:
            until = min(until, finishes[ended, 0])
        while begun < starts.shape[0] and starts[begun, 0] <= now:
            clusters[starts[begun, 1], ACTIVE] += 1
            begun += 1
        if begun < starts.shape[0]:
            until = min(until, starts[begun, 0])
        while changed < changes.shape[0] and changes[changed, 0] <= now:
            clusters[changes[changed, 1], LEVEL] = changes[changed, 2]
            changed += 1
        if changed < changes.shape[0]:
            until = min(until, changes[changed, 0])
        run_meter(meter, power, clusters, now, until, counts_from)
        now = until
