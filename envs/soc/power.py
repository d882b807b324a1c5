"""Frequency, power, energy and temperature of a platform, by the formulas of DS3.

A cluster draws a power that was measured with 1, 2, .. busy cores at some frequencies. What of it
does not leak is dynamic and scales with frequency and the square of the voltage; leakage rises
with the temperature of the hottest of five spots, which the clusters' power heats.

Energy is read off a schedule afterwards: nothing of it changes what happens. Running slower does,
and `at_frequency` makes an instance of it.

Formulas and numbers: Arda et al., "DS3: A System-Level Domain-Specific System-on-Chip Simulation
Framework", IEEE Transactions on Computers 69 (2020), and its public code; the thermal model is
that of an Odroid-XU3 board.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from dispatchgym.envs.core.errors import InstanceError, ParameterError
from dispatchgym.envs.soc.instance import UNSUPPORTED, Cluster, Instance, JobProfile, Platform

__all__ = ["EnergyReport", "PowerModel", "at_frequency", "energy", "has_power"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MICRO, MILLI, MEGA = 1e-6, 1e-3, 1e6
AMBIENT = 42.0
"""Degrees Celsius around the chip, where every run begins."""
KELVIN = 273.0
THERMAL_PERIOD = 20
"""Microseconds between two changes of the temperature."""
CONTROL_PERIOD = 10
"""Microseconds between two looks of DS3's power management."""
MEMORY_WATTS, GPU_WATTS = 0.0473, 0.1201
BASE_WATTS = MEMORY_WATTS + GPU_WATTS
"""What memory and graphics draw all the time."""

# Leakage of four big cores: V (C1 T^2 exp(-C2 / T) + gate), in volts and kelvin.
LEAKAGE_SCALE, LEAKAGE_KELVIN, GATE_LEAKAGE = 0.002488, 2660.0, 0.000519
LEAKING_CORES = 4
LITTLE_SHARE = 0.25
"""What a little core leaks of a big one's."""

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
HEAT_OF_TYPE = {
    "BIG": np.array([0.0471, 0.01265, 0.113, 0.01646, 0.01476]),
    "LTL": np.array([0.02399, 0.0, 0.02819, 0.007198, 0.03902]),
}
"""Degrees in a thermal period for each watt of a cluster; other types heat nothing."""
LITTLE, ACCELERATOR = "LTL", "ACC"


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
    """What the clusters of a platform draw at their frequency, and how warm that makes them.

    Args:
        platform: its clusters need operating points and measured power.
        strict_ds3: accelerators leak like big cores, as in DS3's released version, whose test for
            them misses the names in its files; else they do not leak.

    Attributes:
        cores: (C,) processing elements of each cluster.

    Raises:
        InstanceError: a cluster has no operating points or no fitting power.
    """

    def __init__(self, platform: Platform, *, strict_ds3: bool = False) -> None:
        """Find the measured power of every cluster, and what of it counts at its frequency."""
        self.cores = np.bincount(platform.pe_cluster, minlength=platform.num_clusters)
        clusters = platform.clusters
        volts = [_volts(cluster) for cluster in clusters]
        found = [
            _measured(one, int(count)) for one, count in zip(clusters, self.cores, strict=True)
        ]
        self._watts = np.zeros((len(clusters), self.cores.max() + 1))
        for cluster, mhz in enumerate(found):
            row = clusters[cluster].power_w[mhz][: self.cores[cluster]]
            self._watts[cluster, 1 : len(row) + 1] = row
        self._measured = np.array(
            [len(one.power_w[mhz]) for one, mhz in zip(clusters, found, strict=True)]
        )
        self._volts = np.array([volts[i][one.mhz] for i, one in enumerate(clusters)])
        full = [mhz * volts[i][mhz] ** 2 for i, mhz in enumerate(found)]
        self._scale = np.array([one.mhz for one in clusters]) * self._volts**2 / np.array(full)
        leaks = np.array([_leaks(one.type, strict_ds3) for one in clusters])
        self._leaking = leaks * self._volts
        none = np.zeros(len(HEAT_FLOW))
        self._heat = np.array([HEAT_OF_TYPE.get(one.type, none) for one in clusters])

    def leakage(self, celsius: float) -> FloatArray:
        """Return (C,) watts that one core of each cluster leaks, busy or not."""
        return np.asarray(_leakage(self._leaking, celsius))

    def dynamic(self, celsius: float) -> FloatArray:
        """Return (C, cores + 1) watts beyond leakage of each cluster with 0, 1, .. busy cores."""
        leakage = self.leakage(celsius)
        return np.asarray(_dynamic(self._watts, leakage, self._measured, self._scale))

    def warmed(self, celsius: FloatArray, watts: FloatArray) -> FloatArray:
        """Return the temperature of the five spots a thermal period later.

        Args:
            celsius: (5,) temperature now.
            watts: (C,) mean power of the clusters.
        """
        return np.asarray(_warmed(celsius, watts, self._heat))

    def integrate(
        self, seconds: FloatArray, counted: FloatArray
    ) -> tuple[FloatArray, FloatArray, float]:
        """Return dynamic energy and leakage (C,) in joules, and the highest temperature.

        Args:
            seconds: (periods, C, cores + 1) for each thermal period, how long each cluster had
                0, 1, .. busy cores.
            counted: the same, of what is charged.
        """
        dynamic, leaked, hottest = _integrate(
            seconds, counted, self._watts, self._measured, self._scale, self._leaking,
            self.cores, self._heat,
        )  # fmt: skip
        return dynamic, leaked, float(hottest)


@njit(cache=True)
def _leakage(leaking, celsius):  # type: ignore[no-untyped-def]
    kelvin = KELVIN + celsius
    warm = LEAKAGE_SCALE * kelvin * kelvin * math.exp(-LEAKAGE_KELVIN / kelvin)
    return leaking * ((warm + GATE_LEAKAGE) / LEAKING_CORES)


@njit(cache=True)
def _dynamic(watts, leakage, measured, scale):  # type: ignore[no-untyped-def]
    power = np.zeros_like(watts)
    for cluster in range(watts.shape[0]):
        for busy in range(1, watts.shape[1]):
            if watts[cluster, busy] > 0:
                beyond = watts[cluster, busy] - leakage[cluster] * measured[cluster]
                power[cluster, busy] = beyond * scale[cluster]
    return power


@njit(cache=True)
def _warmed(celsius, watts, heat):  # type: ignore[no-untyped-def]
    after = HEAT_OF_MEMORY * MEMORY_WATTS + HEAT_OF_GPU * GPU_WATTS + AMBIENT
    for spot in range(len(after)):
        for other in range(len(after)):
            after[spot] += HEAT_FLOW[spot, other] * (celsius[other] - AMBIENT)
        for cluster in range(len(watts)):
            after[spot] += watts[cluster] * heat[cluster, spot]
    return after


@njit(cache=True)
def _integrate(seconds, counted, watts, measured, scale, leaking, cores, heat):  # type: ignore[no-untyped-def]
    clusters = len(leaking)
    total_dynamic, total_leaked = np.zeros(clusters), np.zeros(clusters)
    celsius = np.full(len(HEAT_FLOW), AMBIENT)
    hottest = AMBIENT
    for period in range(len(seconds)):
        leakage = _leakage(leaking, celsius.max())
        dynamic = _dynamic(watts, leakage, measured, scale)
        length = seconds[period, 0].sum()
        mean = leakage * cores
        for cluster in range(clusters):
            total_dynamic[cluster] += (dynamic[cluster] * counted[period, cluster]).sum()
            mean[cluster] += (dynamic[cluster] * seconds[period, cluster]).sum() / length
            total_leaked[cluster] += (
                leakage[cluster] * cores[cluster] * counted[period, cluster].sum()
            )
        celsius = _warmed(celsius, mean, heat)
        hottest = max(hottest, celsius.max())
    return total_dynamic, total_leaked, hottest


def _volts(cluster: Cluster) -> dict[int, float]:
    if not cluster.opp:
        raise InstanceError(
            f"cluster {cluster.name!r}: opp: found none, expected operating points to know power"
        )
    return {mhz: mv * MILLI for mhz, mv in cluster.opp}


def _measured(cluster: Cluster, cores: int) -> int:
    """Return the frequency whose measured power serves the cluster's: the next one above."""
    where = f"cluster {cluster.name!r}: power_w"
    found = next((mhz for mhz in cluster.power_w if mhz >= cluster.mhz), None)
    if found is None:
        raise InstanceError(f"{where}: found none for {cluster.mhz} MHz or more")
    if found not in _volts(cluster):
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
    return all(cluster.opp and cluster.power_w for cluster in platform.clusters)


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
    meter = _SampledMeter if strict else _Meter
    return meter(model, instance, tasks, end).report()


def _started(schedule: Mapping[str, Any]) -> tuple[IntArray, int]:
    """Return PE, start and finish of the tasks by start, and the end of the run.

    A task that still runs at the end is busy until then.
    """
    rows = np.asarray(schedule["tasks"], np.int64)
    pe, start, finish = rows[rows[:, 6] >= 0][:, [2, 6, 7]].T
    end = int(schedule["end_time"])
    finish = np.where((finish < 0) | (finish > end), end, finish)
    return np.stack([pe, start, finish], axis=1), end


class _Meter:
    """Integrates power between all changes."""

    def __init__(self, model: PowerModel, instance: Instance, tasks: IntArray, end: int) -> None:
        self.model = model
        self.cluster_of = instance.platform.pe_cluster
        self.tasks, self.begin, self.end = tasks, instance.workload.warm_up, end
        self.dynamic, self.leaked = np.zeros((2, len(model.cores)))
        self.base = 0.0
        self.hottest = AMBIENT

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
        self.base = BASE_WATTS * max(self.end - self.begin, 0) * MICRO
        self.dynamic, self.leaked, self.hottest = self.model.integrate(*self._busy_seconds())

    def _busy_seconds(self) -> FloatArray:
        """Return (2, periods, C, cores + 1) seconds with so many busy cores: all, and counted."""
        ticks = np.arange(0, self.end, THERMAL_PERIOD)
        pe, start, finish = self.tasks.T
        marks = [0, min(self.begin, self.end), self.end]
        times = np.unique(np.concatenate([ticks, start, finish, marks]))
        length, period = np.diff(times) * MICRO, times[:-1] // THERMAL_PERIOD
        found = np.zeros((2, len(ticks), len(self.model.cores), self.model.cores.max() + 1))
        for cluster in range(len(self.model.cores)):
            mine = self.cluster_of[pe] == cluster
            change = np.zeros(len(times), np.int64)
            np.add.at(change, np.searchsorted(times, start[mine]), 1)
            np.add.at(change, np.searchsorted(times, finish[mine]), -1)
            place = period, np.cumsum(change)[:-1]
            np.add.at(found[0, :, cluster], place, length)
            np.add.at(found[1, :, cluster], place, length * (times[:-1] >= self.begin))
        return found


class _SampledMeter(_Meter):
    """Reads power when a task starts and at every look of the power management, as DS3 does.

    What a task draws until the next look is fixed by how many cores are busy just then. A
    processing element without a task at a look leaks until the next look, whatever happens in
    between. Of events at one time, those that were due for longer come first; the looks come
    between them.
    """

    def __init__(self, model: PowerModel, instance: Instance, tasks: IntArray, end: int) -> None:
        super().__init__(model, instance, tasks, end)
        self.running: dict[int, int] = {}  # task -> when its power was read last
        self.looked: dict[int, int] = {}  # cluster -> last look
        self.watts = np.zeros(len(model.cores))
        self.celsius = np.full(len(HEAT_FLOW), AMBIENT)

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
