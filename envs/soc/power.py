"""Frequency, power, energy and temperature of a platform, by the formulas of DS3.

A cluster draws a power that was measured with 1, 2, .. busy cores at some frequencies. What of it
does not leak is dynamic and scales with frequency and the square of the voltage; leakage rises
with the temperature of the hottest of five spots, which the clusters' power heats.

Energy can be read off a schedule afterwards; the compiled meter of `meter` does it, which also
runs along with an episode where energy is its reward. Running slower takes longer: `at_frequency`
makes an instance of it, and the governor ``ondemand`` of a workload does it as the load demands.

Formulas and numbers: Arda et al., "DS3: A System-Level Domain-Specific System-on-Chip Simulation
Framework", IEEE Transactions on Computers 69 (2020), and its public code; the thermal model is
that of an Odroid-XU3 board.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError, ParameterError
from dispatchgym.envs.soc import meter
from dispatchgym.envs.soc.instance import UNSUPPORTED, Cluster, Instance, JobProfile, Platform
from dispatchgym.envs.soc.meter import AMBIENT, BASE_WATTS, MICRO, SPOTS, THERMAL_PERIOD

__all__ = ["EnergyReport", "PowerModel", "at_frequency", "energy", "has_power", "lowest"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MILLI = 1e-3
CONTROL_PERIOD = 10
"""Microseconds between two looks of DS3's power management."""
LITTLE, ACCELERATOR = "LTL", "ACC"
LITTLE_SHARE = 0.25
"""What a little core leaks of a big one's."""
HEAT_OF_TYPE = {
    "BIG": np.array([0.0471, 0.01265, 0.113, 0.01646, 0.01476]),
    "LTL": np.array([0.02399, 0.0, 0.02819, 0.007198, 0.03902]),
}
"""Degrees in a thermal period for each watt of a cluster; other types heat nothing."""


@dataclass(frozen=True)
class EnergyReport:
    """What a run has drawn, from its warm-up on.

    Attributes:
        joules: all of it.
        dynamic, leakage, base: its parts, in joules; base is that of memory and graphics.
        cluster_joules: (C,) dynamic and leakage by cluster.
        hottest: highest temperature of the five spots in degrees Celsius, warm-up included.
        edp: energy-delay product: joules times the seconds from warm-up to end.
    """

    joules: float
    dynamic: float
    leakage: float
    base: float
    cluster_joules: FloatArray
    hottest: float
    edp: float


class PowerModel:
    """What the clusters of a platform draw, at their frequency and below, and how warm that is.

    Args:
        platform: its clusters need operating points and measured power.
        strict_ds3: accelerators leak like big cores, as in DS3's released version, whose test for
            them misses the names in its files; else they do not leak.

    Attributes:
        cores: (C,) processing elements of each cluster.
        table: (C, L, columns) of the compiled `meter`; zeros above a cluster's frequency.
        level: (C,) operating point at which each cluster runs.

    Raises:
        InstanceError: a cluster has no operating points or no fitting power.
    """

    def __init__(self, platform: Platform, *, strict_ds3: bool = False) -> None:
        """Work out the table."""
        self.cores = np.bincount(platform.pe_cluster, minlength=platform.num_clusters)
        most = max(len(cluster.opp) for cluster in platform.clusters)
        columns = meter.FIRST_WATTS + platform.num_pes
        self.table = np.zeros((platform.num_clusters, most, columns))
        self.level = np.zeros(platform.num_clusters, np.int64)
        for index, cluster in enumerate(platform.clusters):
            points = _points(cluster)
            self.level[index] = len(points) - 1
            for level, (mhz, _) in reversed([*enumerate(points)]):
                row = self.table[index, level]
                _fill_row(row, cluster, mhz, int(self.cores[index]), strict_ds3)

    @property
    def _rows(self) -> FloatArray:
        """(C, columns) of the table at the clusters' frequency."""
        return np.asarray(self.table[np.arange(len(self.level)), self.level])

    def leakage(self, celsius: float) -> FloatArray:
        """Return (C,) watts that one core of each cluster leaks, busy or not."""
        return np.asarray(self._rows[:, meter.LEAKING] * meter.core_leakage(celsius))

    def dynamic(self, celsius: float) -> FloatArray:
        """Return (C, cores + 1) watts beyond leakage of each cluster with 0, 1, .. busy cores."""
        busy = range(int(self.cores.max()) + 1)
        pairs = zip(self._rows, self.leakage(celsius), strict=True)
        return np.array([[meter.dynamic_watts(row, n, leaked) for n in busy]
                         for row, leaked in pairs])  # fmt: skip

    def new_meter(self) -> FloatArray:
        """Return a meter at nought."""
        fresh = np.zeros(meter.num_meter_columns(len(self.cores)))
        meter.clear_meter(fresh)
        return fresh

    def warmed(self, celsius: FloatArray, watts: FloatArray) -> FloatArray:
        """Return the temperature of the five spots a thermal period later.

        Args:
            celsius: (5,) temperature now.
            watts: (C,) mean power of the clusters.
        """
        spots = self.new_meter()
        spots[meter.FIRST_SPOT : meter.FIRST_SPOT + SPOTS] = celsius
        spots[meter.FIRST_CLUSTER + 1 :: 2] = watts * THERMAL_PERIOD
        meter.change_temperature(spots, self.table)
        return spots[meter.FIRST_SPOT : meter.FIRST_SPOT + SPOTS]


def _points(cluster: Cluster) -> list[tuple[int, int]]:
    """Return the operating points up to the frequency at which a cluster runs."""
    return [point for point in cluster.opp if point[0] <= cluster.mhz] or [_no_points(cluster)]


def _no_points(cluster: Cluster) -> tuple[int, int]:
    raise InstanceError(
        f"cluster {cluster.name!r}: opp: found none, expected operating points to know power"
    )


def _fill_row(row: FloatArray, cluster: Cluster, mhz: int, cores: int, strict_ds3: bool) -> None:
    """Write the row of the table of a cluster at a frequency."""
    volts = {point: mv * MILLI for point, mv in cluster.opp}
    measured = _measured(cluster, mhz, cores)
    watts = cluster.power_w[measured]
    row[meter.LEAKING] = _leaks(cluster.type, strict_ds3) * volts[mhz]
    row[meter.CORES] = cores
    row[meter.MEASURED] = len(watts)
    row[meter.SCALE_OF_POWER] = mhz * volts[mhz] ** 2 / (measured * volts[measured] ** 2)
    row[meter.FIRST_HEAT : meter.FIRST_WATTS] = HEAT_OF_TYPE.get(cluster.type, 0.0)
    row[meter.FIRST_WATTS : meter.FIRST_WATTS + cores] = watts[:cores]


def _measured(cluster: Cluster, mhz: int, cores: int) -> int:
    """Return the frequency whose measured power serves another: the next one above."""
    where = f"cluster {cluster.name!r}: power_w"
    found = next((one for one in cluster.power_w if one >= mhz), None)
    if found is None:
        raise InstanceError(f"{where}: found none for {mhz} MHz or more")
    if found not in dict(cluster.opp):
        raise InstanceError(f"{where}: found {found} MHz, expected an operating point")
    if len(cluster.power_w[found]) < cores:
        raise InstanceError(
            f"{where}[{found}]: found {len(cluster.power_w[found])} numbers, "
            f"expected one for each of {cores} cores"
        )
    return found


def _leaks(kind: str, strict_ds3: bool) -> float:
    """Return what a core leaks of a big one's leakage."""
    if kind.startswith(ACCELERATOR) and not strict_ds3:
        return 0.0
    return LITTLE_SHARE if kind == LITTLE else 1.0


def has_power(platform: Platform) -> bool:
    """Whether the energy of a platform's runs is known."""
    try:
        PowerModel(platform)
    except InstanceError:
        return False
    return True


def lowest(platform: Platform) -> dict[str, int]:
    """Return the lowest frequency in MHz of each cluster that has several, by its name."""
    return {one.name: one.opp[0][0] for one in platform.clusters if len(one.opp) > 1}


def at_frequency(instance: Instance, mhz: Mapping[str, int]) -> Instance:
    """Return an instance whose clusters run slower: powersave, or any constant frequency.

    A task takes its time at the highest frequency times highest / chosen frequency, rounded up.
    Everybody knows: rules, observations, solvers and the validator see these times.

    Args:
        instance: its clusters run at their highest frequency.
        mhz: name of a cluster, capitals or not -> one of its operating points.

    Raises:
        ParameterError: a cluster is unknown or already slowed, or has no such operating point, or
            the instance has realised durations.
    """
    if instance.workload.durations is not None:
        raise ParameterError(
            "mhz: the instance has realised durations, which hold at one frequency"
        )
    platform = instance.platform
    chosen = _chosen(platform, mhz)
    clusters = tuple(
        dataclasses.replace(one, mhz=chosen.get(index, one.mhz))
        for index, one in enumerate(platform.clusters)
    )
    slower = dataclasses.replace(
        platform, clusters=clusters, duration=_slowed(platform, chosen, platform.duration)
    )
    profiles = tuple(_slowed_profile(platform, chosen, one) for one in instance.profiles)
    suffix = "".join(f"-{platform.clusters[i].name.lower()}@{f}" for i, f in chosen.items())
    return dataclasses.replace(
        instance, name=instance.name + suffix, platform=slower, profiles=profiles, known={}
    )


def _chosen(platform: Platform, mhz: Mapping[str, int]) -> dict[int, int]:
    """Return the frequencies by the numbers of their clusters."""
    index = {cluster.name.lower(): i for i, cluster in enumerate(platform.clusters)}
    chosen = {}
    for name, wanted in mhz.items():
        if name.lower() not in index:
            names = ", ".join(cluster.name for cluster in platform.clusters)
            raise ParameterError(f"mhz: found cluster {name!r}, expected one of {names}")
        cluster = platform.clusters[index[name.lower()]]
        points = [point for point, _ in cluster.opp]
        if wanted not in points:
            raise ParameterError(f"mhz.{name}: found {wanted}, expected one of {points}")
        if cluster.mhz != points[-1]:
            raise ParameterError(f"mhz.{name}: the cluster runs at {cluster.mhz} MHz already")
        chosen[index[name.lower()]] = wanted
    return chosen


def _slowed(platform: Platform, chosen: Mapping[int, int], duration: IntArray) -> IntArray:
    slowed = duration.copy()
    for index, mhz in chosen.items():
        pes = platform.pe_cluster == index
        highest = platform.clusters[index].opp[-1][0]
        slowed[:, pes] = -(-duration[:, pes] * highest // mhz)
    return np.where(duration == UNSUPPORTED, UNSUPPORTED, slowed)


def _slowed_profile(
    platform: Platform, chosen: Mapping[int, int], profile: JobProfile
) -> JobProfile:
    duration = _slowed(platform, chosen, profile.duration)
    return dataclasses.replace(profile, duration=duration, optimum=-1)


# ---------------------------------------------------------------- energy of a schedule


def energy(instance: Instance, schedule: Mapping[str, Any]) -> EnergyReport:
    """Return what a schedule has drawn.

    Power is integrated over time, the temperature taken every 20 us from the mean power since.
    Under ``strict_ds3`` the meter is read as DS3 does, task by task and look by look, which its
    published energies need to the last digit.

    Args:
        instance: the instance that was played.
        schedule: ``info["schedule"]`` of the episode.

    Raises:
        InstanceError: a cluster has no operating points or no fitting power.
    """
    strict = instance.workload.strict_ds3
    model = PowerModel(instance.platform, strict_ds3=strict)
    tasks, end = _started(schedule)
    begin = instance.workload.warm_up
    if strict:
        return _SampledMeter(model, instance, tasks, end).report()
    counter = model.new_meter()
    cluster = instance.platform.pe_cluster[tasks[:, 0]]
    meter.replay(
        counter, model.table, _clusters(model), _by_time(tasks[:, 1], cluster),
        _by_time(tasks[:, 2], cluster), _changes(instance.platform, schedule), end, begin,
    )  # fmt: skip
    return _report(counter, max(end - begin, 0))


def _started(schedule: Mapping[str, Any]) -> tuple[IntArray, int]:
    """Return PE, start and finish of the tasks by start, and the end of the run.

    A task that still runs at the end is busy until then.
    """
    rows = np.asarray(schedule["tasks"], np.int64)
    pe, start, finish = rows[rows[:, 6] >= 0][:, [2, 6, 7]].T
    end = int(schedule["end_time"])
    finish = np.where((finish < 0) | (finish > end), end, finish)
    return np.stack([pe, start, finish], axis=1), end


def _clusters(model: PowerModel) -> IntArray:
    """Return the state of the clusters at time 0."""
    state = np.zeros((len(model.cores), meter.NUM_CLUSTER_COLUMNS), np.int64)
    state[:, meter.LEVEL] = model.level
    return state


def _by_time(time: IntArray, cluster: IntArray) -> IntArray:
    order = np.argsort(time, kind="stable")
    return np.stack([time[order], cluster[order]], axis=1)


def _changes(platform: Platform, schedule: Mapping[str, Any]) -> IntArray:
    """Return time, cluster and operating point of each change of a frequency."""
    log = np.asarray(schedule.get("frequencies", ()), np.int64).reshape(-1, 3)
    changes = log[log[:, 0] >= 0]
    for index, cluster in enumerate(platform.clusters):
        mine = changes[:, 1] == index
        points = np.array([mhz for mhz, _ in cluster.opp])
        changes[mine, 2] = np.searchsorted(points, changes[mine, 2])
    return changes


def _report(counter: FloatArray, length: int) -> EnergyReport:
    """Return what a meter says after so many microseconds that count."""
    dynamic, leaked, base = counter[[meter.DYNAMIC, meter.LEAKED, meter.BASE]].tolist()
    joules = dynamic + leaked + base
    drawn = counter[meter.FIRST_CLUSTER :: 2].copy()
    hottest = float(counter[meter.HOTTEST])
    return EnergyReport(joules, dynamic, leaked, base, drawn, hottest, joules * length * MICRO)


class _SampledMeter:
    """Reads power when a task starts and at every look of the power management, as DS3 does.

    What a task draws until the next look is fixed by how many cores are busy just then. A
    processing element without a task at a look leaks until the next look, whatever happens in
    between. Of events at one time, those that were due for longer come first; the looks come
    between them.
    """

    def __init__(self, model: PowerModel, instance: Instance, tasks: IntArray, end: int) -> None:
        self.model = model
        self.cluster_of = instance.platform.pe_cluster
        self.tasks, self.begin, self.end = tasks, instance.workload.warm_up, end
        self.dynamic, self.leaked = np.zeros((2, len(model.cores)))
        self.base = 0.0
        self.hottest = AMBIENT
        self.running: dict[int, int] = {}  # task -> when its power was read last
        self.looked: dict[int, int] = {}  # cluster -> last look
        self.watts = np.zeros(len(model.cores))
        self.celsius = np.full(SPOTS, AMBIENT)

    def report(self) -> EnergyReport:
        """Run the meter to the end and read it."""
        self._run()
        drawn = self.dynamic + self.leaked
        joules = float(drawn.sum()) + self.base
        seconds = max(self.end - self.begin, 0) * MICRO
        return EnergyReport(
            joules, float(self.dynamic.sum()), float(self.leaked.sum()), self.base, drawn,
            self.hottest, joules * seconds,
        )  # fmt: skip

    def _run(self) -> None:
        _, start, finish = self.tasks.T
        starting: dict[int, list[int]] = {}
        for task, time in enumerate(start.tolist()):
            starting.setdefault(time, []).append(task)
        looks = np.arange(0, self.end, CONTROL_PERIOD)
        for now in np.unique(np.concatenate([looks, start, finish])).tolist():
            fresh = [task for task, read in self.running.items() if read >= now - 1]
            self._events(now, [task for task in self.running if task not in fresh])
            if now % CONTROL_PERIOD == 0 and now < self.end:
                self._look(now)
            self._events(now, fresh)
            self._start(now, starting.get(now, []))

    def _cluster(self, task: int) -> int:
        return int(self.cluster_of[self.tasks[task, 0]])

    def _busy(self, cluster: int) -> int:
        return sum(self._cluster(task) == cluster for task in self.running)

    def _events(self, now: int, tasks: list[int]) -> None:
        """End tasks, or read their power anew at a look."""
        for task in tasks:
            ends = self.tasks[task, 2] == now
            if ends:
                del self.running[task]
            if now % CONTROL_PERIOD == 0:
                self._look_at(self._cluster(task), now)
                if not ends:
                    self._read(task, now)

    def _start(self, now: int, tasks: list[int]) -> None:
        for task in tasks:
            self.running[task] = now
            self._read(task, now)
        for task in tasks:
            if self.tasks[task, 2] == now:
                del self.running[task]

    def _read(self, task: int, now: int) -> None:
        """Charge a task for the time until the next look or its end."""
        self.running[task] = now
        cluster = self._cluster(task)
        celsius, busy = float(self.celsius.max()), self._busy(cluster)
        leakage = self.model.leakage(celsius)[cluster]
        dynamic = self.model.dynamic(celsius)[cluster, busy]
        self.watts[cluster] = dynamic + leakage * self.model.cores[cluster]
        next_look = (now // CONTROL_PERIOD + 1) * CONTROL_PERIOD
        seconds = (min(next_look, self.tasks[task, 2]) - now) * MICRO
        if now >= self.begin:
            self.dynamic[cluster] += dynamic / busy * seconds
            self.leaked[cluster] += leakage * seconds

    def _look(self, now: int) -> None:
        """Charge idle processing elements and the base until the next look."""
        taken = {int(self.tasks[task, 0]) for task in self.running}
        seconds = CONTROL_PERIOD * MICRO
        counted = now >= self.begin
        self.base += BASE_WATTS * seconds * counted
        for pe, cluster in enumerate(self.cluster_of.tolist()):
            if pe in taken:
                continue
            self._look_at(cluster, now)
            leakage = self.model.leakage(float(self.celsius.max()))[cluster]
            self.leaked[cluster] += leakage * seconds * counted
            if self._busy(cluster) == 0:
                self.watts[cluster] = leakage * self.model.cores[cluster] + BASE_WATTS

    def _look_at(self, cluster: int, now: int) -> None:
        """Note that a cluster was seen; the last one to be seen changes the temperature."""
        if now == 0 or self.looked.get(cluster) == now:
            return
        self.looked[cluster] = now
        seen = sum(time == now for time in self.looked.values())
        if now % THERMAL_PERIOD == 0 and seen == len(self.model.cores):
            self.celsius = self.model.warmed(self.celsius, self.watts)
            self.hottest = max(self.hottest, float(self.celsius.max()))
