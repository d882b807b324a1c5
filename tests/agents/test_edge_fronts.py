"""The playground of fronts: what changes of weights do to hypervolumes, to first order."""

import numpy as np
import pytest

from dispatchgym.agents.edge_fronts import POINTS, FrontGround
from dispatchgym.agents.pareto import hypervolume, normalise
from dispatchgym.envs.core.index_weights import num_weights
from dispatchgym.envs.edge_offloading.index import FEATURES, ONE, Plan

SEEDS = np.arange(300, 312)


@pytest.fixture(scope="module")
def ground():
    ground = FrontGround("gmorl_radio-e3", len(SEEDS))
    ground.take(SEEDS)
    return ground


def volume(ground, objectives):
    """Return the score of (P, n, 2) objectives; here all episodes have as many edge servers."""
    front = ground._fronts[0]
    means = normalise(objectives.mean(axis=1), front.ideal, front.reference)
    return float(hypervolume(means, (1.0, 1.0)))


def test_the_box_is_that_of_the_tables(ground):
    from dispatchgym.agents.arena import Arena
    from dispatchgym.agents.problems import find_problem

    arena = Arena(
        find_problem("edge_offloading"), "gmorl_radio-e3", tuple(SEEDS.tolist()), {}, ((0.5, 0.5),)
    )
    box = arena.problem.box(arena)
    assert len(ground._fronts) == 2 and sum(front.share for front in ground._fronts) == 1.0
    for front in ground._fronts:
        np.testing.assert_allclose(front.ideal, box.ideal, rtol=1e-12)
        np.testing.assert_allclose(front.reference, box.reference, rtol=1e-12)


def test_slopes_are_those_of_the_hypervolume(ground):
    nobody = np.zeros(len(ground._lane), np.int64)
    weights = np.zeros((1, num_weights(FEATURES, 1)))
    played = ground.episodes.play(weights, Plan(ground._lane, ground._preference, nobody))
    played = played.reshape(POINTS, len(SEEDS), 2)
    slopes, whole = ground._slopes(played), volume(ground, played)
    assert (slopes <= 0).all() and (slopes < 0).any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        place = (rng.integers(POINTS), rng.integers(len(SEEDS)), rng.integers(2))
        moved = played.copy()
        moved[place] += 1e-7 * played[place]
        gain = (volume(ground, moved) - whole) / (1e-7 * played[place])
        assert slopes[place] == pytest.approx(gain, rel=1e-4, abs=1e-9)


def test_a_change_is_scored_by_what_it_does_to_its_own_episode(ground):
    count = POINTS * len(SEEDS)
    change = np.zeros(num_weights(FEATURES, 1))
    change[ONE] = 0.4  # delays count for more, whatever the preference
    candidates = np.concatenate([np.tile(change, (count, 1)), np.tile(-change, (count, 1))])
    before = ground.decisions
    scores = ground.scores(candidates)
    assert ground.decisions - before > 2 * count
    nobody = np.zeros(count, np.int64)
    plan = Plan(ground._lane, ground._preference, nobody)
    unchanged = ground.episodes.play(np.zeros((1, len(change))), plan)
    changed = ground.episodes.play(change[None], plan)
    slopes = ground._slopes(unchanged.reshape(POINTS, -1, 2)).reshape(-1, 2)
    expected = ((changed - unchanged) * slopes).sum(axis=1)
    np.testing.assert_allclose(scores[:count], expected, rtol=1e-9, atol=1e-15)
    assert (scores != 0).any()


def test_unchanged_weights_add_nothing(ground):
    assert ground.scores(np.zeros((1, num_weights(FEATURES, 2))))[0] == 0.0


def test_episodes_are_drawn_anew(ground):
    other, rng = FrontGround("gmorl_radio", 6), np.random.default_rng(0)
    boxes = []
    for _ in range(2):
        other.draw(rng)
        boxes.append(other._fronts[0].ideal[0])
    assert boxes[0] != boxes[1]
    assert len({front.ideal[0] for front in other._fronts}) > 2, "no fronts by number of edges"
