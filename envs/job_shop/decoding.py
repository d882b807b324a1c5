"""Decoders of the job shop, outside the kernel: playing, sampling, gradients, rollouts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.index_weights import split
from dispatchgym.envs.job_shop.decoder import (
    FEATURES,
    Decoder,
    Work,
    apply_lanes,
    finish_lanes,
    follow_shops,
    rollout_shops,
    sample_shops,
    score_lanes,
    work_space,
)
from dispatchgym.envs.job_shop.env import JobShopSimulation
from dispatchgym.envs.job_shop.index import FEATURES as INDEX_FEATURES
from dispatchgym.envs.job_shop.kernel import (
    DURATION,
    FINISHED,
    MACHINE,
    MAKESPAN,
    RUNNING,
    STATUS,
    WAITS_PER_OPERATION,
)

__all__ = ["FEATURES", "Decoder", "DecoderShops", "Plays", "index_decoder"]

FloatArray = npt.NDArray[np.float32]


def index_decoder(weights: npt.NDArray[np.float64], shape: tuple[int, int, int]) -> Decoder:
    """Return an index policy as a decoder.

    Args:
        weights: float64 (W,), in the order of `envs.core.index_weights`.
        shape: numbers of shops, jobs and operations.
    """
    direct, hidden, bias, out = (
        part[0].astype(np.float32) for part in split(weights[None], INDEX_FEATURES)
    )
    padded = np.zeros((FEATURES, len(bias)), np.float32)
    padded[:INDEX_FEATURES] = hidden.T
    return Decoder(
        np.pad(direct, (0, FEATURES - INDEX_FEATURES)),
        padded,
        np.zeros_like(padded),
        bias,
        out,
        np.zeros((*shape, len(bias)), np.float32),
    )


class Plays(NamedTuple):
    """S plays of each of B shops.

    Attributes:
        makespans: float64 (B, S), infinite where a shop locked up.
        likelihoods: float64 (B, S), log-probability of all decisions together.
        lengths: int64 (B, S), number of decisions.
        actions: int16 (B, S, T), what was decided.
    """

    makespans: npt.NDArray[np.float64]
    likelihoods: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int16]


class DecoderShops:
    """Shops that are played by decoders, from where they stand.

    Attributes:
        simulation: the shops, which only `finish`, `apply` and their owner move.
        durations: float32 (B, n, K). machines: int64 (B, n, K), -1 where there is no operation.

    Args:
        simulation: B shops, begun.
    """

    def __init__(self, simulation: JobShopSimulation) -> None:
        self.simulation = simulation
        lanes, jobs = simulation.num_lanes, simulation.max_jobs
        self._trial = simulation.allocate(2 * lanes)
        self._space = work_space(lanes, jobs, 1)
        waits = WAITS_PER_OPERATION if simulation.may_wait else 0
        self._longest = jobs * simulation.max_operations * (1 + waits)

    def _work(self, decoder: Decoder) -> Work:
        """Return work space for a decoder."""
        if self._space.common.shape[1] != len(decoder.bias):
            lanes, jobs = self._space.rows.shape[:2]
            self._space = work_space(lanes, jobs, len(decoder.bias))
        return self._space

    @property
    def durations(self) -> FloatArray:
        """Durations of the instances, which shutdowns do not change."""
        return self.simulation.state.operation[:, :, :-1, DURATION].astype(np.float32)

    @property
    def machines(self) -> npt.NDArray[np.int64]:
        """Machines of the instances."""
        return self.simulation.state.operation[:, :, :-1, MACHINE].copy()

    def sample(
        self, decoder: Decoder, samples: int, temperature: float = 1.0, first: int = 0
    ) -> Plays:
        """Play every shop several times; the shops stay where they are.

        Args:
            decoder: what plays.
            samples: how often.
            temperature: of the random choices; scores are divided by it.
            first: number of the first sample. Sample 0 takes the highest score at every
                decision; the others depend on seed, number and nothing else.
        """
        lanes = self.simulation.num_lanes
        plays = Plays(
            np.empty((lanes, samples)),
            np.empty((lanes, samples)),
            np.empty((lanes, samples), np.int64),
            np.empty((lanes, samples, self._longest), np.int16),
        )
        sample_shops(
            self.simulation.state,
            self._trial,
            decoder,
            self._work(decoder),
            temperature,
            first,
            plays,
        )
        return plays

    def gradient(
        self, decoder: Decoder, plays: Plays, weights: npt.NDArray[np.float64]
    ) -> tuple[Decoder, float]:
        """Return the gradient of the weighted log-likelihood of plays, and the latter.

        Args:
            decoder: what they are played with.
            plays: of these shops, from where they stand.
            weights: float64 (B, S); plays of weight 0 are passed over.
        """
        lanes = self.simulation.num_lanes
        sums = [np.zeros((lanes, *part.shape), np.float32) for part in decoder[:-1]]
        slope, totals = Decoder._make([*sums, np.zeros_like(decoder.vectors)]), np.empty(lanes)
        follow_shops(
            self.simulation.state,
            self._trial,
            decoder,
            self._work(decoder),
            slope,
            np.asarray(weights, np.float64),
            plays.actions,
            plays.lengths,
            totals,
        )
        summed = [part.sum(axis=0) for part in slope[:-1]]
        return Decoder._make([*summed, slope.vectors]), float(totals.sum())

    def rollout_values(self, decoder: Decoder) -> npt.NDArray[np.float64]:
        """Return (B, n + 1) the makespan that each action reaches when the decoder plays on.

        nan for illegal actions, inf where a shop locks up. Shutdowns to come are replaced by
        their expectation, as in `JobShopSimulation.rollout_values`.
        """
        values = np.empty((self.simulation.num_lanes, self.simulation.max_jobs + 1))
        rollout_shops(self.simulation.state, self._trial, decoder, self._work(decoder), values)
        return values

    def log_probabilities(self, decoder: Decoder) -> npt.NDArray[np.float64]:
        """Return (B, n + 1) log-probabilities, minus infinity for what is illegal."""
        work = self._work(decoder)
        score_lanes(self.simulation.state, decoder, work)
        scores = work.scores.astype(np.float64)
        scores[self.simulation.state.scalar[:, STATUS] != RUNNING] = -np.inf
        highest = np.where(np.isfinite(scores), scores, -1e9).max(axis=1, keepdims=True)
        total = np.exp(scores - highest).sum(axis=1, keepdims=True)
        return scores - highest - np.log(np.maximum(total, 1e-300))

    def apply(self, actions: npt.NDArray[np.int64]) -> None:
        """Apply legal actions (B,) to the shops that are not over."""
        apply_lanes(self.simulation.state, actions)

    def take(self, lanes: npt.NDArray[np.intp]) -> None:
        """Put into each lane a copy of another; all must play the same instance."""
        for array in self.simulation.state[1:]:
            array[:] = array[lanes]

    @property
    def makespans(self) -> npt.NDArray[np.float64]:
        """Makespans of the lanes (B,), infinite for those that have not finished."""
        scalar = self.simulation.state.scalar
        return np.where(scalar[:, STATUS] == FINISHED, scalar[:, MAKESPAN], np.inf)

    @property
    def running(self) -> npt.NDArray[np.bool_]:
        """Which shops are not over, (B,)."""
        running: npt.NDArray[np.bool_] = self.simulation.state.scalar[:, STATUS] == RUNNING
        return running

    def finish(
        self,
        decoder: Decoder,
        actions: npt.NDArray[np.int16] | None = None,
        lengths: npt.NDArray[np.int64] | None = None,
    ) -> dict[str, Any]:
        """Play the shops to their end; the given actions first, then the decoder's best.

        Returns:
            The same as `JobShopSimulation.run_rule`.
        """
        lanes = self.simulation.num_lanes
        if actions is None or lengths is None:
            actions, lengths = np.zeros((lanes, 1), np.int16), np.zeros(lanes, np.int64)
        finish_lanes(
            self.simulation.state,
            self.simulation.outcome,
            decoder,
            self._work(decoder),
            actions,
            lengths,
        )
        return self.simulation.results()
