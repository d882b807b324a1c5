"""What is stored of the test days, against the linear program and what greedy earns."""

from importlib.util import find_spec

import numpy as np
import pytest

from dispatchgym.envs.uam import make_instance, references, upper_bound
from dispatchgym.envs.uam.env import UAMFleetVectorEnv
from dispatchgym.envs.uam.references import known_values

needs_solver = pytest.mark.skipif(find_spec("highspy") is None, reason="highspy is not installed")

# `upper_bound(make_instance("uam-8x40-det", seed), grid=1)` of seeds 1 to 10, in cents.
BOUNDS = np.array([578959, 902377, 1145779, 774479, 853035, 748358, 569591, 679841, 439078, 631629])


def greedy(scenario, days):
    """Cents that greedy earns on the days of seeds 1, 2, ..."""
    env = UAMFleetVectorEnv(days, scenario=scenario)
    env.reset(seed=list(range(1, days + 1)))
    return 100 * env.simulation.run_rule("greedy")["objective"]


def stored():
    return [
        pytest.param(scenario, group["lp_bound_cents"], id=scenario)
        for group in references._stored()
        for scenario in group["scenarios"]
    ]


def test_greedy_earns_its_share_of_the_bound():
    """An alarm: what changes this share has changed the environment, the days or the bound."""
    assert np.mean(greedy("uam-8x40-det", 10) / BOUNDS) == pytest.approx(0.748, rel=0.01)


@pytest.mark.parametrize(("scenario", "bounds"), stored())
def test_stored_bounds_are_above_greedy_but_not_far(scenario, bounds):
    share = greedy(scenario, len(bounds)) / bounds
    assert (share < 1).all()
    assert share.mean() > 0.6


@pytest.mark.parametrize(("scenario", "bounds"), stored())
def test_days_know_what_is_stored(scenario, bounds):
    for seed in (1, len(bounds)):
        assert make_instance(scenario, seed).known["lp_bound_cents"] == bounds[seed - 1]


@pytest.mark.parametrize(
    ("scenario", "seed"), [("uam-8x40-det", 0), ("uam-8x40-det", 101), ("uam-8x40", 1)]
)
def test_nothing_is_known_of_other_days(scenario, seed):
    assert known_values(scenario, seed) == {}
    assert make_instance(scenario, seed).known == {}


@needs_solver
@pytest.mark.slow
def test_typed_bounds():
    assert upper_bound(make_instance("uam-8x40-det", 9), grid=1) == pytest.approx(
        BOUNDS[8], rel=1e-4
    )


@needs_solver
@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "bounds"), stored())
def test_stored_bounds(scenario, bounds):
    seed = len(bounds)
    instance = make_instance(scenario, seed)
    found = upper_bound(instance, grid=instance.known["lp_grid"], time_limit=3600)
    assert found == pytest.approx(bounds[-1], rel=1e-4)
