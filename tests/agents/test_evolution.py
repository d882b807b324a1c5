"""Evolution strategies on a score whose best weights are known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from dispatchgym.agents.evolution import Evolution, slope


class Bowl:
    """Episodes that each want weights a little beside `best`."""

    def __init__(self, best):
        self.best, self.decisions, self.drawn = best, 0, 0

    def draw(self, rng):
        self.drawn += 1
        self.wanted = self.best + 0.01 * rng.standard_normal((8, len(self.best)))

    def scores(self, candidates):
        self.decisions += len(candidates)
        return -((candidates[:, None] - self.wanted) ** 2).sum(axis=2).mean(axis=1)


def evolution(playgrounds, network, **changes):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    numbers = {"pairs": 8, "deviation": 0.05, "keep": 3, **changes}
    return Evolution(playgrounds, network, optimizer, rng=np.random.default_rng(0), **numbers)


def test_the_slope_points_uphill():
    changes = np.random.default_rng(1).standard_normal((400, 3))
    uphill = np.array([1.0, -2.0, 0.0])
    found = slope(np.concatenate([changes @ uphill, -changes @ uphill]), changes, 0.1)
    cosine = found @ uphill / np.linalg.norm(found) / np.linalg.norm(uphill)
    assert cosine > 0.99


def test_steps_find_the_best_weights():
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    best = np.arange(8) / 4.0 - 1.0
    run = evolution([Bowl(best), Bowl(best)], network)
    for _ in range(200):
        run.step()
    found = parameters_to_vector(network.parameters()).detach().numpy()
    np.testing.assert_allclose(found, best, atol=0.15)
    assert run.updates == 200


def test_episodes_are_kept_for_some_steps_and_decisions_counted():
    bowl = Bowl(np.zeros(8))
    run = evolution([bowl], nn.Linear(3, 2), keep=4)
    run.warm_up()
    assert (bowl.drawn, run.decisions) == (1, 1)
    for _ in range(9):
        run.step()
    assert bowl.drawn == 1 + 3
    assert run.decisions == 1 + 9 * 16


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_only_the_order_of_scores_matters(scale):
    changes = np.random.default_rng(2).standard_normal((5, 4))
    scores = np.random.default_rng(3).standard_normal(10)
    np.testing.assert_allclose(slope(scale * scores, changes, 0.1), slope(scores, changes, 0.1))


def test_changes_that_do_nothing_say_nothing():
    changes = np.eye(3)
    scores = np.array([0.0, 0.0, 2.0, 0.0, 0.0, -1.0])
    np.testing.assert_allclose(slope(scores, changes, 1.0), [0.0, 0.0, 1.0 / 3.0])
