"""Where agents are compared: the episodes of one scenario, the same for every agent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dispatchgym.agents.problems.base import Measure, Problem

__all__ = ["Arena", "Choose", "Episode", "Timed", "score_of"]

Choose = Callable[[Any, Mapping[str, NDArray[Any]]], NDArray[np.integer]]
"""Takes a vector environment and its observation (arrays with leading B); gives B actions."""

MAX_LANES = 128
"""Most episodes played side by side."""
LANE_BUDGET = 40_000
"""Size of all lanes together, as `Problem.size` counts: bounds the memory of a network's batch."""
TIMED_DECISIONS = 64
"""Decisions of an episode that are timed one by one."""


class Episode(NamedTuple):
    """What one episode gave.

    Attributes:
        objective: in natural units; nan when the episode ended without a complete schedule. Of
            several objectives float64 (K,).
        schedule: the dict of arrays that the validator reads.
        status: ``finished``, ``deadlock`` or ``truncated``.
        seconds: wall time of its share of the batch.
        bound: a proven bound on any schedule's objective that came with it, else nan.
    """

    objective: Any
    schedule: Mapping[str, Any]
    status: str
    seconds: float
    bound: Any = float("nan")


Timed = tuple[list[Episode], float]
"""Episodes, and the seconds that they and what did not become one of them took together."""


@dataclass
class Arena:
    """The episodes of one scenario: every agent meets the same instances and disturbances.

    Attributes:
        problem: which problem.
        scenario: an instance, the same in every episode, or a generator or the name of a random
            scenario, of which each seed is another instance.
        seeds: episode seeds; they also fix the disturbances.
        options: keyword arguments of the environment.
        preferences: weights of several objectives; with each of them every seed is played, so
            that `seeds` are repeated, preference by preference. () leaves them to the environment.
        instances: the instance of every seed, as it is played with these options.
    """

    problem: Problem
    scenario: Any
    seeds: tuple[int, ...]
    options: Mapping[str, Any]
    preferences: tuple[tuple[float, ...], ...] = ()
    instances: list[Any] = field(init=False, repr=False)
    _vectors: dict[tuple[int, str], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Find the instance of every seed."""
        if self.fixed:
            self.instances = [self.draw(self.seeds[0])] * len(self.seeds)
        else:
            self.instances = [self.draw(seed) for seed in self.seeds]
        self.weights = np.repeat(np.array(self.preferences), len(self.seeds), axis=0)
        if self.preferences:
            self.instances *= len(self.preferences)
            self.seeds *= len(self.preferences)

    def draw(self, seed: int) -> Any:
        """Return the instance of a seed, one of the arena's or another, as it is played."""
        content = self.scenario
        if isinstance(content, str):
            content = self.problem.module.make_instance(content, seed)
        elif hasattr(content, "generate"):
            content = content.generate(seed)
        return self.problem.prepare(content, self.options)

    @property
    def measure(self) -> Measure:
        """What the objective means."""
        return self.problem.measure(self.instances[0])

    @property
    def max_lanes(self) -> int:
        """How many episodes to play side by side."""
        largest = max(self.problem.size(instance) for instance in self.instances)
        return int(np.clip(LANE_BUDGET // largest, 1, MAX_LANES))

    @property
    def fixed(self) -> bool:
        """Whether there is one instance for all seeds."""
        return not isinstance(self.scenario, str) and not hasattr(self.scenario, "generate")

    @property
    def constant(self) -> bool:
        """Whether every seed is the same episode: one instance and nothing drawn."""
        return self.fixed and not self.preferences and not self.problem.varies(self.options)

    def preference(self, index: int) -> dict[str, tuple[float, ...]]:
        """Return ``preference`` of the episode with this index where the arena sets it, else {}."""
        return {"preference": tuple(self.weights[index].tolist())} if self.preferences else {}

    def alone(self, seed: int) -> Arena:
        """Return the arena of a single seed, which shares the lanes of this one."""
        return replace(self, seeds=(seed,), _vectors=self._vectors)

    def play_once(self, choose: Choose, **changes: Any) -> list[Episode]:
        """Play every seed with choices that are the same each time."""
        if not self.constant:
            return self.play(choose, **changes)[0]
        return self.alone(self.seeds[0]).play(choose, **changes)[0] * len(self.seeds)

    def vector(self, lanes: int, **changes: Any) -> Any:
        """Return a batch of lanes; the same one for the same arguments, to be reset by the user.

        Args:
            lanes: number of lanes.
            **changes: keyword arguments of the environment that differ from the arena's.
        """
        key = lanes, repr(sorted(changes.items()))
        if key not in self._vectors:
            made = gym.make_vec(
                self.problem.env_id,
                num_envs=lanes,
                vectorization_mode="vector_entry_point",
                **{
                    "scenario": self.scenario,
                    "autoreset_mode": "SameStep",
                    "copy": False,
                    "invalid_action": "raise",
                    **self.options,
                    **changes,
                },
            )
            self._vectors[key] = made.unwrapped
        return self._vectors[key]

    def play(self, choose: Choose, *, times: int = 1, **changes: Any) -> list[list[Episode]]:
        """Play every seed, several times where the choice is random.

        Args:
            choose: gives the actions of a batch.
            times: how often each seed is played.
            **changes: keyword arguments of the environment that differ from the arena's.

        Returns:
            For each time the episodes in the order of the seeds.
        """

        def play(vector: Any, seeds: list[int], **more: Any) -> list[Episode]:
            return play_batch(vector, seeds, choose, **more)

        return self.in_batches(play, times, changes)

    def run_rule(self, rule: str, **changes: Any) -> list[Episode]:
        """Play every seed under a rule, whole episodes inside the kernel."""

        def play(vector: Any, seeds: list[int], **more: Any) -> list[Episode]:
            return run_rule_batch(vector, seeds, rule, **more)

        return self.in_batches(play, 1, changes)[0]

    def sample_rule(
        self, rule: str, temperature: float, times: int, **changes: Any
    ) -> list[list[Episode]]:
        """Play every seed several times under a randomised rule; ordered as in `play`."""
        vector = self.vector(times, **changes)
        by_seed = [run_rule_batch(vector, [seed] * times, rule, temperature) for seed in self.seeds]
        return [list(episodes) for episodes in zip(*by_seed, strict=True)]

    def play_within(self, choose: Choose, times: int, seconds: float, **changes: Any) -> Timed:
        """Play the first seed up to `times` times, for no longer than `seconds`.

        Plays that have not ended by then are given up.
        """
        lanes = max(1, min(times, self.max_lanes))
        vector = self.vector(lanes, **changes)
        begin = time.perf_counter()
        episodes: list[Episode] = []
        played, spent = 0, 0.0
        while played < times and spent < seconds:
            episodes += play_batch(vector, [self.seeds[0]] * lanes, choose, seconds - spent)
            played += lanes
            spent = time.perf_counter() - begin
        return episodes[:times], spent

    def in_batches(
        self,
        play: Callable[..., list[Episode]],
        times: int,
        changes: Mapping[str, Any],
    ) -> list[list[Episode]]:
        """Play batches of lanes until every seed has been played `times` times.

        Args:
            play: plays a batch; takes the vector environment, a seed for each lane and, where the
                arena has preferences, `preferences`, a row for each lane.
            times: how often each seed is played.
            changes: keyword arguments of the environment that differ from the arena's.

        Returns:
            For each time the episodes in the order of the seeds.
        """
        wanted = list(range(len(self.seeds))) * times
        lanes = min(len(wanted), self.max_lanes)
        vector = self.vector(lanes, **changes)
        episodes: list[Episode] = []
        for start in range(0, len(wanted), lanes):
            chosen = wanted[start : start + lanes]
            # A batch has a fixed size: the last one is filled up with an episode already there.
            padded = chosen + [chosen[-1]] * (lanes - len(chosen))
            seeds = [self.seeds[index] for index in padded]
            more = {"preferences": self.weights[padded]} if self.preferences else {}
            episodes += play(vector, seeds, **more)[: len(chosen)]
        size = len(self.seeds)
        return [episodes[start : start + size] for start in range(0, len(episodes), size)]

    def decision_times(self, choose: Choose, *, lanes: int = 1, **changes: Any) -> NDArray[Any]:
        """Time single decisions of one episode.

        Args:
            choose: gives the actions of a batch.
            lanes: how many copies of the episode a single decision takes (search).
            **changes: keyword arguments of the environment that differ from the arena's.

        Returns:
            Milliseconds of the first decisions of an episode played alone, at most 64.
        """
        vector = self.vector(lanes, **changes)
        observation, _ = vector.reset(seed=[self.seeds[0]] * lanes)
        choose(vector, observation)  # whatever is compiled or loaded at first is no decision time
        times = []
        for _ in range(TIMED_DECISIONS):
            begin = time.perf_counter()
            actions = choose(vector, observation)
            times.append(1000.0 * (time.perf_counter() - begin))
            observation, _, terminated, truncated, _ = vector.step(actions)
            if terminated[0] or truncated[0]:
                break
        return np.array(times)


def play_batch(
    vector: Any,
    seeds: Sequence[int],
    choose: Choose,
    seconds: float = math.inf,
    *,
    preferences: NDArray[np.float64] | None = None,
) -> list[Episode]:
    """Play one episode in each lane of a batch that resets lanes by itself.

    Args:
        vector: vector environment with autoreset mode SameStep, one lane a seed.
        seeds: episode seeds, one a lane.
        choose: gives the actions.
        seconds: after so long, episodes that have not ended are given up.
        preferences: weights of the objectives, a row for each lane; None: the environment's.

    Returns:
        One episode for each lane in which one ended, in the order of the lanes.
    """
    begin = time.perf_counter()
    observation, _ = vector.reset(seed=list(seeds), options=_with_preferences(preferences))
    found: dict[int, Episode] = {}
    while len(found) < len(seeds) and time.perf_counter() - begin < seconds:
        actions = choose(vector, observation)
        observation, _, terminated, truncated, info = vector.step(actions)
        for lane in np.flatnonzero(terminated | truncated).tolist():
            if lane not in found:
                found[lane] = episode_of(info["final_info"], lane)
    share = (time.perf_counter() - begin) / len(seeds)
    return [found[lane]._replace(seconds=share) for lane in sorted(found)]


def run_rule_batch(
    vector: Any,
    seeds: Sequence[int],
    rule: str,
    *settings: Any,
    preferences: NDArray[np.float64] | None = None,
) -> list[Episode]:
    """Play one episode in each lane under a rule, inside the kernel.

    Args:
        vector: vector environment, one lane a seed.
        seeds: episode seeds, one a lane.
        rule: name of the rule.
        *settings: further arguments of the environment's `run_rule`, such as a temperature, with
            which each lane randomises the rule in its own way.
        preferences: weights of the objectives, a row for each lane; None: the environment's.

    Returns:
        One episode a lane.
    """
    begin = time.perf_counter()
    vector.reset(seed=list(seeds), options=_with_preferences(preferences))
    final = vector.run_rule(rule, *settings)
    share = (time.perf_counter() - begin) / len(seeds)
    return [episode_of(final, lane)._replace(seconds=share) for lane in range(len(seeds))]


def score_of(objective: Any) -> Any:
    """Return an objective as a number, or a copy of several as float64 (K,)."""
    return np.array(objective, np.float64) if np.ndim(objective) else float(objective)


def _with_preferences(preferences: NDArray[np.float64] | None) -> dict[str, Any] | None:
    """Return the options of a reset."""
    return None if preferences is None else {"preference": preferences}


def episode_of(final: Mapping[str, Any], lane: int) -> Episode:
    """Read the record of the episode that ended in a lane from the final info of a batch."""
    # The batch writes the next episode over its buffers: what is kept must be copied.
    schedule = {
        key: np.array(value[lane])
        for key, value in final["schedule"].items()
        if not key.startswith("_")
    }
    objective = score_of(final["objective"][lane])
    if np.isfinite(objective).all():
        status = "finished"
    else:
        status = "deadlock" if "deadlock" in final and final["deadlock"][lane] else "truncated"
    return Episode(objective, schedule, status, 0.0)
