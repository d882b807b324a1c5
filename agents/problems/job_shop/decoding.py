"""Networks of the job shop that play inside the kernel, alone and in searches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dispatchgym.agents.arena import Arena, Episode, episode_of
from dispatchgym.agents.entrants import NO_TIMES, Search
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.job_shop.decoding import Decoder, DecoderShops
from dispatchgym.envs.job_shop.kernel import DECISIONS

if TYPE_CHECKING:
    from dispatchgym.agents.policy import Policy

__all__ = ["DecoderEntrant", "DecoderPlayer", "plays_in_kernel"]

CHUNK = 16
"""Samples between two looks at the clock."""
SHORT_CHUNK = 4
"""The same where every decision has a share of the time."""


def plays_in_kernel(policy: Policy) -> bool:
    """Whether a policy's decisions can be made inside the kernel."""
    return hasattr(policy.network, "decoder_of")


class DecoderPlayer:
    """Decides step by step; looks at the instances at their first decision only."""

    def __init__(self, policy: Policy) -> None:
        """Of a policy that `plays_in_kernel`."""
        self.name = policy.name
        self.environment: Mapping[str, Any] = policy.environment
        self.network: Any = policy.network
        self._shops: DecoderShops | None = None

    def act(self, vec: Any, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """The most likely action of each row."""
        simulation = vec.simulation
        if self._shops is None or self._shops.simulation is not simulation:
            self._shops = DecoderShops(simulation)
            self._decoder = self.network.decoder_of(self._shops)
        elif (simulation.state.scalar[:, DECISIONS] == 0).any():
            self._decoder = self.network.decoder_of(self._shops)
        return self._shops.log_probabilities(self._decoder).argmax(axis=1)


@dataclass(frozen=True)
class DecoderEntrant:
    """A policy that plays whole episodes inside the kernel.

    Attributes:
        name: what tables call it.
        policy: one that `plays_in_kernel`.
        search: `none`, `best_of`, `rollout`, `sampled_rollout` or `beam`.
        is_rule: never a plain dispatching rule.
    """

    name: str
    policy: Policy
    search: Search
    is_rule: bool = False

    def play(self, arena: Arena) -> list[Episode]:
        """Play every seed; with a budget of seconds each by itself, else side by side.

        Raises:
            ParameterError: a plan is to be kept although machines shut down.
        """
        if self.search.name == "sampled_rollout" and arena.problem.varies(arena.options):
            raise ParameterError(
                "search: found sampled_rollout where machines shut down: the plan that it keeps "
                "would know the shutdowns to come; expected none or rollout"
            )
        if self.search.seconds:
            return [self._play(arena.alone(seed))[0] for seed in arena.seeds]
        if arena.constant:
            return self._play(arena.alone(arena.seeds[0])) * len(arena.seeds)
        return self._play(arena)

    def _play(self, arena: Arena) -> list[Episode]:
        changes = {**self.policy.environment, "observation": "jobs"}
        if self.search.name == "beam":
            vector = arena.vector(self.search.samples, **changes)
            return [self._play_beam(vector, seed) for seed in arena.seeds]
        return arena.in_batches(self._play_batch, 1, changes)[0]

    def _play_batch(self, vector: Any, seeds: Sequence[int]) -> list[Episode]:
        begin = time.perf_counter()
        vector.reset(seed=list(seeds))
        shops = DecoderShops(vector.simulation)
        network: Any = self.policy.network
        decoder = network.decoder_of(shops)
        until = begin + (self.search.seconds or np.inf)
        final = SEARCHES[self.search.name](shops, decoder, self.search, until)
        share = (time.perf_counter() - begin) / len(seeds)
        return [episode_of(final, lane)._replace(seconds=share) for lane in range(len(seeds))]

    def _play_beam(self, vector: Any, seed: int) -> Episode:
        episodes = self._play_batch(vector, [seed] * self.search.samples)
        return episodes[0]._replace(seconds=sum(episode.seconds for episode in episodes))

    def decision_times(self, arena: Arena) -> NDArray[np.float64]:
        """Time decisions of an episode played alone; of searches none is final before the end."""
        if self.search.name != "none":
            return NO_TIMES
        changes = {**self.policy.environment, "observation": "jobs"}
        return arena.decision_times(DecoderPlayer(self.policy).act, **changes)


def play_greedily(
    shops: DecoderShops, decoder: Decoder, search: Search, until: float
) -> dict[str, Any]:
    """Take the action of highest score at every decision."""
    return shops.finish(decoder)


def play_best(
    shops: DecoderShops, decoder: Decoder, search: Search, until: float
) -> dict[str, Any]:
    """Play greedily and at random, and keep the best, while time is left."""
    plays = shops.sample(decoder, 1)
    makespans, lengths = plays.makespans[:, 0], plays.lengths[:, 0]
    actions, rows, first = plays.actions[:, 0], np.arange(len(lengths)), 1
    while first < search.samples and time.perf_counter() < until:
        count = min(CHUNK, search.samples - first)
        plays = shops.sample(decoder, count, search.temperature, first)
        chosen = plays.makespans.argmin(axis=1)
        better = plays.makespans[rows, chosen] < makespans
        makespans[better] = plays.makespans[rows, chosen][better]
        actions[better] = plays.actions[rows, chosen][better]
        lengths[better] = plays.lengths[rows, chosen][better]
        first += count
    return shops.finish(decoder, actions, lengths)


def play_by_rollouts(
    shops: DecoderShops, decoder: Decoder, search: Search, until: float
) -> dict[str, Any]:
    """Take the action whose greedy continuation is shortest (ties: the likelier).

    Where nothing is drawn, the plan never gets worse on the way, so that when time is up the
    greedy continuation is as good as the best that was found.
    """
    while shops.running.any() and time.perf_counter() < until:
        values = shops.rollout_values(decoder)
        values = np.where(np.isnan(values), np.inf, values)
        likely = shops.log_probabilities(decoder)
        best = values == values.min(axis=1, keepdims=True)
        shops.apply(np.where(best, likely, -np.inf).argmax(axis=1))
    return shops.finish(decoder)


def play_by_sampled_rollouts(
    shops: DecoderShops, decoder: Decoder, search: Search, until: float
) -> dict[str, Any]:
    """Complete the episode at random at every decision, and follow the best plan found so far.

    Nested Monte-Carlo search of level 1 (Cazenave, IJCAI 2009) that draws from the policy. With
    a budget of seconds decisions have equal shares of it, else `samples` plays each.
    """
    first = shops.sample(decoder, 1)
    makespans, lengths = first.makespans[:, 0], first.lengths[:, 0]
    actions, rows = first.actions[:, 0], np.arange(len(lengths))
    begin, drawn, depth = time.perf_counter(), 1, 0
    while shops.running.any() and time.perf_counter() < until:
        share = begin + (until - begin) * (depth + 1) / lengths.max()
        enough = np.inf if search.seconds else drawn + search.samples
        while drawn < enough and time.perf_counter() < share:
            plays = shops.sample(decoder, SHORT_CHUNK, search.temperature, drawn)
            chosen = plays.makespans.argmin(axis=1)
            better = plays.makespans[rows, chosen] < makespans
            makespans[better] = plays.makespans[rows, chosen][better]
            left = actions.shape[1] - depth
            actions[better, depth:] = plays.actions[rows, chosen][better, :left]
            lengths[better] = depth + plays.lengths[rows, chosen][better]
            drawn += SHORT_CHUNK
        shops.apply(actions[:, depth].astype(np.int64))
        depth += 1
    return shops.finish(decoder, actions[:, depth:], np.maximum(lengths - depth, 0))


def play_by_beam(
    shops: DecoderShops, decoder: Decoder, search: Search, until: float
) -> dict[str, Any]:
    """Keep the likeliest unfinished plays of one episode, as many as there are lanes.

    All lanes are at the first decision of the same episode. The best play that ends on the way
    counts, the greedy one among them.
    """
    lanes = shops.simulation.num_lanes
    greedy = shops.sample(decoder, 1)
    least, length = greedy.makespans[0, 0], greedy.lengths[0, 0]
    actions = greedy.actions[0, 0].copy()
    begun = [array.copy() for array in shops.simulation.state[1:]]
    likelihood = np.where(np.arange(lanes) == 0, 0.0, -np.inf)
    history = np.zeros((lanes, len(actions)), np.int16)
    for depth in range(len(actions)):
        known = likelihood[:, None] + shops.log_probabilities(decoder)
        if not np.isfinite(known).any() or time.perf_counter() > until:
            break
        best = np.argsort(-known, axis=None, kind="stable")[:lanes]
        parents, chosen = np.unravel_index(best, known.shape)
        likelihood = known[parents, chosen]
        shops.take(parents)
        history = history[parents]
        history[:, depth] = chosen
        alive = np.isfinite(likelihood)
        # What is not alive is overwritten at the next step; until then it may do anything legal.
        shops.apply(np.where(alive, chosen, shops.simulation.state.legal.argmax(axis=1)))
        makespans = np.where(alive, shops.makespans, np.inf)
        if makespans.min() < least:
            least, length = makespans.min(), depth + 1
            actions = history[makespans.argmin()].copy()
        likelihood[~shops.running] = -np.inf
    for array, first in zip(shops.simulation.state[1:], begun, strict=True):
        array[:] = first
    return shops.finish(decoder, np.tile(actions, (lanes, 1)), np.full(lanes, length))


SEARCHES = {
    "none": play_greedily,
    "best_of": play_best,
    "rollout": play_by_rollouts,
    "sampled_rollout": play_by_sampled_rollouts,
    "beam": play_by_beam,
}
"""Name of a search -> how shops are played with it."""


def find_entrant(policy: Policy, search: Search) -> DecoderEntrant | None:
    """Return the entrant of a policy that plays inside the kernel, None for others."""
    if not plays_in_kernel(policy) or search.name not in SEARCHES:
        return None
    if search.quantile:
        raise ParameterError(
            f"search.quantile: found {search.quantile:g}, but {policy.name} plays inside the "
            "kernel, where every legal action may be sampled"
        )
    suffix = {
        "none": "",
        "best_of": f"+best_of_{search.samples}",
        "rollout": "+rollout",
        "sampled_rollout": "+sampled_rollout",
        "beam": f"+beam_{search.samples}",
    }[search.name]
    return DecoderEntrant(policy.name + suffix, policy, search)
