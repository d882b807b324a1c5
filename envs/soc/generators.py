"""Sources of instances, and the names under which they can be asked for."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dispatchgym.envs.core.errors import InstanceError, ParameterError, ScenarioError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.soc import layered, power, tables
from dispatchgym.envs.soc.instance import (
    MAX_PES,
    UNSUPPORTED,
    Instance,
    JobProfile,
    Limits,
    Platform,
    Workload,
)
from dispatchgym.envs.soc.static import job_interval

__all__ = [
    "FixedGenerator",
    "Generator",
    "LayeredGenerator",
    "MixedGenerator",
    "batch",
    "generator",
    "make_instance",
    "scenarios",
]


def _seed(seed: int) -> int:
    try:
        return int(np.uint64(operator.index(seed)))
    except (TypeError, OverflowError):
        raise ParameterError(f"seed: found {seed!r}, expected an integer in 0..2^64-1") from None


def _check_number(name: str, value: object, low: float, high: float) -> None:
    whole = isinstance(low, int)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "an integer" if whole else "a number"
        raise ParameterError(f"{name}: found {value!r}, expected {kind} in {low}..{high}")


def _check_pair(name: str, pair: object, low: float, high: float) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ParameterError(f"{name}: found {pair!r}, expected two numbers (low, high)")
    for value in pair:
        _check_number(name, value, low, high)
    if pair[0] > pair[1]:
        raise ParameterError(f"{name}: found {pair}, expected low <= high")


@runtime_checkable
class Generator(Protocol):
    """What an environment needs to know about a source of instances."""

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed (an integer in 0..2^64-1), always the same one."""


@dataclass(frozen=True)
class FixedGenerator:
    """Always the same instance; the seed decides its arrivals only."""

    instance: Instance

    @property
    def limits(self) -> Limits:
        """Sizes of the instance."""
        return self.instance.limits

    def generate(self, seed: int) -> Instance:
        """Return the instance, whatever the seed."""
        return self.instance


@dataclass(frozen=True)
class LayeredGenerator:
    """New layered job graphs for every seed, on one platform or on a new one.

    Attributes:
        platform: name of one of `dispatchgym.envs.soc.tables.PLATFORMS`, all of whose processing
            elements then run all tasks; or a number of processing elements, 4 to 1024, of random
            platforms, see `dispatchgym.envs.soc.layered.draw_platform`.
        profiles: job profiles of an instance, of equal chance.
        tasks: fewest and most tasks of a job, 2 to 10,000.
        work: least and most work of a task, in microseconds at speed 1.
        ccr: ratios of mean transfer to mean task, one of which each profile has.
        beta: heterogeneities, one of which each profile has: a time is uniform within
            1 +- beta / 2 of the work over the speed.
        width: least and most exponent of a level's mean size, tasks^width.
        density: least and most share of the level before that a task may depend on.
        regularity: 1 for levels of equal size, 0 for sizes up to twice the mean.
        jump: most levels that an edge spans.
        workload: how jobs arrive; its probabilities are replaced.
        label: beginning of the instances' names.

    Raises:
        ParameterError: a value is out of range.
    """

    platform: str | int = "top3"
    profiles: int = 5
    tasks: tuple[int, int] = (6, 14)
    work: tuple[float, float] = (5.0, 20.0)
    ccr: tuple[float, ...] = (0.1, 0.5, 1.0, 5.0, 10.0)
    beta: tuple[float, ...] = (0.25, 0.5, 1.0)
    width: tuple[float, float] = (0.3, 0.7)
    density: tuple[float, float] = (0.2, 0.8)
    regularity: float = 0.5
    jump: int = 2
    workload: Workload = field(
        default_factory=lambda: Workload("legacy", np.ones(1), **_TOP_WORKLOAD)
    )
    label: str = "top3-gen"

    def __post_init__(self) -> None:
        """Check every value, so that all instances are possible."""
        if isinstance(self.platform, str):
            tables.platform(self.platform)
        else:
            _check_number("platform", self.platform, 4, MAX_PES)
        _check_number("profiles", self.profiles, 1, 1000)
        _check_pair("tasks", self.tasks, 2, 10_000)
        _check_pair("work", self.work, 1.0, 1e6)
        for name, high in (("ccr", 1e3), ("beta", 2.0)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or not values:
                raise ParameterError(f"{name}: found {values!r}, expected at least one number")
            for value in values:
                _check_number(name, value, 0.0, high)
        for name in ("width", "density"):
            _check_pair(name, getattr(self, name), 0.0, 1.0)
        _check_number("regularity", self.regularity, 0.0, 1.0)
        _check_number("jump", self.jump, 1, 1000)

    @property
    def limits(self) -> Limits:
        """Largest sizes of any instance."""
        tasks, jobs, levels, several = self.tasks[1], self.workload.max_jobs(0), 0, 0
        if isinstance(self.platform, str):
            found = tables.platform(self.platform)
            pes, clusters = found.num_pes, found.num_clusters
            levels, several = found.most_levels, found.adjustable
        else:
            pes, clusters = self.platform, layered.most_clusters(self.platform)
        return Limits(
            pes=pes,
            clusters=clusters,
            profiles=self.profiles,
            tasks=tasks,
            edges=layered.most_edges(tasks),
            predecessors=max(tasks - 2, 1),
            successors=max(tasks - 2, 1),
            capacity=self.workload.capacity,
            jobs=jobs,
            levels=levels,
            changes=self.workload.max_changes(jobs * tasks, several, levels),
        )

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        key = _seed(seed)
        if isinstance(self.platform, str):
            platform = tables.platform(self.platform)
            speed = np.ones((platform.num_clusters, layered.FAMILIES))
        else:
            platform, speed = layered.draw_platform(key, self.platform)
        jobs = tuple(self._profile(key, index, platform, speed) for index in range(self.profiles))
        chances = np.full(self.profiles, 1.0 / self.profiles)
        workload = replace(self.workload, probabilities=chances)
        return Instance(f"{self.label}#{seed}", platform, jobs, workload)

    def _profile(self, seed: int, index: int, platform: Platform, speed: np.ndarray) -> JobProfile:
        draw = partial(layered.spread, seed, layered.SHAPE, index)
        low, high = self.tasks
        tasks = low + layered.pick(seed, layered.SIZE, index, high - low + 1)
        ccr = self.ccr[layered.pick(seed, layered.SIZE, index, len(self.ccr), 1)]
        beta = self.beta[layered.pick(seed, layered.SIZE, index, len(self.beta), 2)]
        edges = layered.draw_graph(
            seed, index, tasks, draw(*self.width), draw(*self.density, 1), self.regularity,
            self.jump,
        )  # fmt: skip
        family, duration = layered.draw_times(
            seed, index, speed, platform.pe_cluster, tasks, self.work, beta
        )
        able = duration != UNSUPPORTED
        mean = float((duration * able).sum(axis=1).mean() / able.sum(axis=1).mean())
        volume = ccr * mean / platform.slowness if platform.slowness else 0.0
        volumes = layered.draw_volumes(seed, index, len(edges), volume)
        return JobProfile(
            name=f"dag{index}",
            task_names=tuple(f"family_{kind}" for kind in family),
            duration=duration,
            edges=np.column_stack((edges, volumes)),
        )


@dataclass(frozen=True)
class MixedGenerator:
    """Takes the instance of each seed from one of several sources.

    Attributes:
        parts: the sources, of equal chance.

    Raises:
        ParameterError: there are none.
    """

    parts: tuple[Generator, ...]

    def __post_init__(self) -> None:
        """Check that there is something to choose from."""
        if not self.parts:
            raise ParameterError("parts: found none, expected at least one generator")

    @property
    def limits(self) -> Limits:
        """Largest sizes of any part."""
        sizes = np.array([astuple(part.limits) for part in self.parts]).max(axis=0)
        return Limits(*(int(size) for size in sizes))

    def generate(self, seed: int) -> Instance:
        """Return the instance of a seed in 0..2^64-1."""
        part = layered.pick(_seed(seed), layered.PART, 0, len(self.parts))
        return self.parts[part].generate(seed)


def _scale_of(interval: float) -> float:
    """Return the scale whose truncated exponential has this mean."""
    return max(1.0 / math.log1p(1.0 / max(interval, 1e-9)), 1e-3)


def batch(
    name: str,
    platform: Platform,
    profiles: tuple[JobProfile, ...],
    jobs: tuple[int, ...] = (0,),
    known: Mapping[str, float] | None = None,
) -> Instance:
    """Return the instance of a few jobs that are all there at time 0.

    Args:
        name: of the instance.
        platform: the processing elements.
        profiles: the job profiles.
        jobs: profile of each job.
        known: what is known of the instance.
    """
    chances = np.bincount(jobs, minlength=len(profiles)) / len(jobs)
    arrivals = np.column_stack((jobs, np.zeros(len(jobs), np.int64)))
    workload = Workload("batch", chances, capacity=len(jobs), arrivals=arrivals)
    return Instance(name, platform, profiles, workload, known or {})


# ---------------------------------------------------------------- names

_TOP_WORKLOAD: dict[str, Any] = {
    "scale": 25.0,
    "capacity": 3,
    "horizon": 5000,
    "arrival_rule": "gym",
    "pseudo_steady": True,
    "sampling_period": 5,
}
"""What SoCRATES and DS3Gym run."""
_DS3_WORKLOAD: dict[str, Any] = {
    "scale": 100.0,
    "capacity": 12,
    "horizon": 60_000,
    "warm_up": 10_000,
    "executable_order": "job",
}
"""What DS3 runs, with fewer and shorter measurements."""
_STEADY: dict[str, Any] = {
    "protocol": "steady",
    "horizon": 0,
    "warm_up": 0,
    "num_jobs": 1000,
    "warm_up_jobs": 100,
    "pseudo_steady": False,
    "capacity": 12,
}

_MIX6 = {
    "wifi_tx": 0.2,
    "wifi_rx": 0.2,
    "range_detection": 0.2,
    "sc_tx": 0.1,
    "sc_rx": 0.1,
    "temporal_mitigation": 0.2,
}
_PULSE_DOPPLER = {name: 0.9 * chance for name, chance in _MIX6.items()} | {"pulse_doppler": 0.1}

# Batches on three processors that have been searched for long: mean latencies.
_BATCHES: dict[str, dict[str, float]] = {
    "top1-top1": {"optimum_us": 169 / 2},
    "top1-top2": {"optimum_us": 173 / 2},
    "top1-top1-top1": {"best_known_us": 295 / 3, "bound_us": 259 / 3},
    "top1-top2-top3": {"best_known_us": 312 / 3, "bound_us": 237 / 3},
    "top3-top4-top5": {"best_known_us": 320 / 3, "bound_us": 254 / 3},
    "top1-top2-top3-top4": {"best_known_us": 483 / 4, "bound_us": 320 / 4},
    "top1-top2-top3-top4-top5": {"best_known_us": 704 / 5, "bound_us": 390 / 5},
}

_LONGEST = 200
"""Characters of a name."""

_USUAL = (
    "top3-p5", "top3-p1", "top3-p10", "top3-p6-10", "top3-p5-noise30", "top3-p5-q5",
    "top3-p5-steady", "top3-gen", "bal16-mix6", "bal16-wifi80", "bal16-wifi20", "bal16-pd",
    "bal8-mix6", "gen-p16", "gen-p64", "gen-p256", "single-top1-top3", "single-wifi_tx-bal16",
    *(f"batch-{jobs}" for jobs in _BATCHES),
)  # fmt: skip


def scenarios() -> list[str]:
    """Return the names that `make_instance` knows.

    Only the usual ones are listed. Any of these works:

    - ``top3-p5``, ``top3-p6-10``: jobs top1 to top5, top6 to top10, on three processors;
    - ``bal16-mix6``, ``bal16-wifi80``, ``bal16-pd``: six radio applications; 80 % WiFi
      transmitters and 20 % receivers; the six and pulse Doppler. Also on ``bal8``;
    - ``top3-gen``, ``gen-p64``: random jobs for every seed, the latter on random platforms of 64
      processing elements;
    - ``single-top1-top3``: one job on a platform;
    - ``batch-top1-top2``, ``batch-wifi_tx-wifi_rx-bal8``: several jobs at time 0.

    All but the last two can be followed by ``-q5`` (at most 5 jobs in the system), ``-s50`` (scale
    of the arrivals in microseconds), ``-load90`` (the scale at which the platform is busy for 90 %
    of the time at best; needs highspy), ``-noise30`` (durations spread by 30 %), ``-h20000``
    (horizon in microseconds), ``-steady`` (1000 measured jobs after 100, drained, at most 12 in
    the system), ``-n50`` (measured jobs), ``-ccr50`` (random jobs whose transfers take 50 % as
    long as tasks), ``-shared`` (transfers by way of memory), ``-strict`` (late finishes of DS3),
    ``-a15@1600`` (frequency of a cluster in MHz) or a governor of all clusters: ``-performance``
    (the highest frequency, as without it), ``-powersave`` (the lowest) or ``-ondemand`` (by load).

    Names joined by ``+``, as in ``top3-p5+top3-gen``, take each seed's instance from one of them.
    """
    return list(_USUAL)


_MODIFIERS = (
    # letters, field of the workload, what its number is divided by
    ("q", "capacity", 1),
    ("s", "scale", 1),
    ("h", "horizon", 1),
    ("n", "num_jobs", 1),
    ("noise", "noise", 100),
)
_FLAGS: dict[str, dict[str, Any]] = {
    "shared": {"comm_mode": "shared_memory"},
    "strict": {"strict_ds3": True},
}
_GOVERNORS = ("performance", "powersave", "ondemand")


class _Options:
    """What follows the base of a scenario's name."""

    def __init__(self, text: str) -> None:
        """Split the text of a name after its base; it begins with a hyphen unless empty."""
        self.workload: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}
        self.frequency: dict[str, int] = {}
        self.steady = False
        self.governor = ""
        fields = {letters: (name, unit) for letters, name, unit in _MODIFIERS}
        seen = set()
        for part in text.split("-")[1:]:
            cluster, _, mhz = part.partition("@")
            letters = cluster if mhz else part.rstrip("0123456789")
            digits = part[len(letters) :]
            if letters in seen:
                raise ParameterError(f"found -{part}, expected each ending once")
            seen.add(letters)
            if mhz.isdecimal():
                self.frequency[cluster] = int(mhz)
            elif part == "steady":
                self.steady = True
            elif part in _FLAGS:
                self.workload |= _FLAGS[part]
            elif part in _GOVERNORS:
                self._set_governor(part)
            elif letters in fields and digits:
                name, unit = fields[letters]
                self.workload[name] = int(digits) if unit == 1 else int(digits) / unit
            elif letters in ("load", "ccr") and digits:
                self.numbers[letters] = int(digits)
            else:
                raise ParameterError(f"found -{part}, which is not one of the known endings")
        if self.governor and self.frequency:
            raise ParameterError(f"found -{self.governor} and a cluster's frequency, expected one")

    def _set_governor(self, name: str) -> None:
        if self.governor:
            raise ParameterError(f"found -{self.governor} and -{name}, expected one governor")
        self.governor = name
        if name == "ondemand":
            self.workload["governor"] = name

    def frequencies(self, platform: Platform) -> dict[str, int]:
        """Return the frequencies in MHz of those clusters that do not run at their highest."""
        return power.lowest(platform) if self.governor == "powersave" else self.frequency

    def workload_of(self, base: Mapping[str, Any], chances: Any) -> Workload:
        """Return a workload with these changes."""
        values = {"protocol": "legacy", **base, **(_STEADY if self.steady else {}), **self.workload}
        return Workload(probabilities=np.asarray(chances), **values)

    def refuse(self, *names: str) -> None:
        """Raise a ParameterError if one of these is among the options."""
        for name in names:
            found = name in self.numbers or name == self.governor
            if found or (name == "@" and self.frequency):
                raise ParameterError(f"found -{name}, which does not apply to such jobs")


def _fixed(scenario: str, platform: Platform, chances: Mapping[str, float],
           base: Mapping[str, Any], options: _Options) -> Generator:  # fmt: skip
    """Return the source of a mix of the literature's jobs."""
    options.refuse("ccr")
    workload = options.workload_of(base, list(chances.values()))
    profiles = tuple(tables.profile(name, platform.name) for name in chances)
    instance = Instance(scenario, platform, profiles, workload)
    frequencies = options.frequencies(platform)
    if frequencies:
        slower = power.at_frequency(instance, frequencies)
        instance = Instance(scenario, slower.platform, slower.profiles, slower.workload)
    if "load" in options.numbers:
        interval = job_interval(instance) / _share(options.numbers["load"])
        busy = replace(instance.workload, scale=_scale_of(interval))
        instance = Instance(scenario, instance.platform, instance.profiles, busy)
    return FixedGenerator(instance)


def _share(percent: int) -> float:
    if not 1 <= percent <= 1000:
        raise ParameterError(f"load: found {percent}, expected 1..1000 percent")
    return percent / 100


def _top(scenario: str, match: re.Match[str], options: _Options) -> Generator:
    first, last = (int(match[2]), int(match[3])) if match[3] else (1, int(match[2]))
    if first > last:
        raise ParameterError(f"found jobs {first} to {last}, expected the lower number first")
    chances = {f"top{number}": 1.0 / (last - first + 1) for number in range(first, last + 1)}
    base = _TOP_WORKLOAD if match[1] == "top3" else _DS3_WORKLOAD
    return _fixed(scenario, tables.platform(match[1]), chances, base, options)


def _radio(scenario: str, match: re.Match[str], options: _Options) -> Generator:
    chances = {"mix6": _MIX6, "pd": _PULSE_DOPPLER}.get(match[2])
    if chances is None:
        share = int(match[2].removeprefix("wifi")) / 100
        chances = {"wifi_tx": share, "wifi_rx": 1.0 - share}
    base = dict(_DS3_WORKLOAD)
    if match[2] == "pd":
        base["scale"] = 200.0
    if match[1] == "bal8":  # without accelerators everything takes long
        base["scale"] = 1000.0
    return _fixed(scenario, tables.platform(match[1]), chances, base, options)


def _random_jobs(scenario: str, match: re.Match[str], options: _Options) -> Generator:
    return _layered(scenario, options, _TOP_WORKLOAD, platform="top3")


def _random_platform(scenario: str, match: re.Match[str], options: _Options) -> Generator:
    pes = int(match[1])
    base = {
        "scale": max(round(4000 / pes**1.5, 1), 2.0),  # busy for about two thirds of the time
        "capacity": max(12, pes // 2),
        "horizon": 5_000,
        "warm_up": 1_000,
    }
    return _layered(scenario, options, base, platform=pes, tasks=(20, 60), work=(10.0, 100.0))


def _layered(
    scenario: str, options: _Options, base: Mapping[str, Any], **values: Any
) -> LayeredGenerator:
    options.refuse("load", "@", "powersave")
    if "ccr" in options.numbers:
        values["ccr"] = (options.numbers["ccr"] / 100,)
    workload = options.workload_of(base, np.ones(1))
    return LayeredGenerator(workload=workload, label=scenario, **values)


_BASES: tuple[tuple[str, Callable[[str, re.Match[str], _Options], Generator]], ...] = (
    (r"(top3|ds3_top3)-p([1-9]|10)(?:-([1-9]|10))?", _top),
    (r"(bal16|bal8)-(mix6|pd|wifi(?:\d\d?|100))", _radio),
    (r"top3-gen", _random_jobs),
    (r"gen-p([1-9]\d{0,3})", _random_platform),
)


def _few_jobs(scenario: str) -> Instance:
    """Return the instance of ``single-..`` or ``batch-..``: jobs, then perhaps their platform."""
    kind, *words = scenario.split("-")
    platforms = [name for name in tables.PLATFORMS if name not in tables.PROFILES]
    if kind == "single" and len(words) == 2:
        names, where = words[:1], words[1]
    elif words[-1] in platforms:
        names, where = words[:-1], words[-1]
    else:
        names, where = words, "top3" if words[0].startswith("top") else "bal16"
    if kind == "single" and len(names) != 1:
        raise ParameterError(f"found {len(names)} jobs, expected one job and its platform")
    platform = tables.platform(where)
    kinds = list(dict.fromkeys(names))
    profiles = tuple(tables.profile(name, where) for name in kinds)
    known = dict(_BATCHES.get("-".join(names), {})) if where == "top3" else {}
    if len(names) == 1 and profiles[0].optimum >= 0:
        known["optimum_us"] = profiles[0].optimum
    jobs = tuple(kinds.index(name) for name in names)
    return batch(scenario, platform, profiles, jobs, known)


def generator(scenario: str) -> Generator:
    """Return the source of instances that a scenario name stands for.

    Raises:
        ScenarioError: there is no such scenario; the message has the closest names, or what in
            the name is wrong.
        MissingDependencyError: a load is asked for and highspy is not installed.
    """
    if not isinstance(scenario, str):
        raise ScenarioError(f"scenario: found {scenario!r}, expected a name")
    if len(scenario) > _LONGEST:
        raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))
    if "+" in scenario:
        return MixedGenerator(tuple(generator(part) for part in scenario.split("+")))
    try:
        if scenario.startswith(("single-", "batch-")):
            return FixedGenerator(_few_jobs(scenario))
        for pattern, make in _BASES:
            match = re.fullmatch(
                rf"{pattern}(?P<options>(?:-[a-z]\w*(?:@\d+)?)*)", scenario, re.ASCII
            )
            if match:
                return make(scenario, match, _Options(match["options"]))
    except (InstanceError, ParameterError) as error:
        raise ScenarioError(f"scenario {scenario[:60]!r}: {error}") from None
    raise ScenarioError(unknown_name("scenario", scenario[:60], scenarios()))


def make_instance(scenario: str, seed: int) -> Instance:
    """Return the instance of a scenario and a seed, always the same one.

    Args:
        scenario: a name of `scenarios`, or one made in the same way.
        seed: in 0..2^64-1.

    Raises:
        ScenarioError: there is no such scenario.
        ParameterError: the seed is not such an integer.
    """
    return generator(scenario).generate(_seed(seed))
