"""Credit for single decisions, on walks whose every step has a known cost."""

import numpy as np
import pytest

from dispatchgym.agents.credit import advantages


@pytest.fixture
def walks():
    """Plays of 40 or fewer steps; the progress tells share of the way and cost so far."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(30, 41, 200)
    steps = rng.exponential(1.0, (200, 40)) * (np.arange(40) < lengths[:, None])
    so_far = np.cumsum(steps, axis=1) - steps
    share = np.arange(40) / lengths[:, None]
    return steps, lengths, np.stack([share, so_far], axis=2).astype(np.float32)


def test_a_step_is_answerable_for_its_own_cost(walks):
    steps, lengths, progress = walks
    found = advantages(steps.sum(axis=1), lengths, progress, 0.0)
    walked = np.arange(40) < lengths[:, None]
    assert np.corrcoef(found[walked], -steps[walked])[0, 1] > 0.9
    assert (found[~walked] == 0).all()


def test_with_a_full_trace_nothing_is_lost(walks):
    """The advantage of the first step is then what the play saves against the mean play."""
    steps, lengths, progress = walks
    costs = steps.sum(axis=1)
    found = advantages(costs, lengths, progress, 1.0)
    first = np.polyfit(costs, found[:, 0], 1)
    assert first[0] == pytest.approx(-1.0, abs=0.25)
    assert abs(found[:, 0].mean()) < 0.1 * costs.std()


def test_single_decisions_are_told_better_than_by_the_cost_of_the_play(walks):
    steps, lengths, progress = walks
    costs = steps.sum(axis=1)
    walked = np.arange(40) < lengths[:, None]
    whole = np.broadcast_to((costs.mean() - costs)[:, None], walked.shape)
    found = advantages(costs, lengths, progress, 0.9)
    by_play = np.corrcoef(whole[walked], -steps[walked])[0, 1]
    by_step = np.corrcoef(found[walked], -steps[walked])[0, 1]
    assert by_step > 2 * by_play > 0
