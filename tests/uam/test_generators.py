"""Random days have the shape that they promise, and seeds give the same day for ever."""

import math

import numpy as np
import pytest

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.uam import make_instance, scenarios
from dispatchgym.envs.uam.generators import FleetGenerator, ShuttleGenerator, generator


@pytest.mark.parametrize("scenario", scenarios())
def test_days_are_within_the_limits_and_repeatable(scenario):
    for seed in (0, 1, 2**62, 2**64 - 1)[: 2 if "50x500" in scenario else 4]:
        one = make_instance(scenario, seed)
        limits = generator(scenario).limits
        assert one.num_ports <= limits.ports
        assert one.num_aircraft <= limits.aircraft
        assert one.num_slots <= limits.slots
        assert one.max_decisions <= limits.decisions
        assert one == make_instance(scenario, seed)
    assert one != make_instance(scenario, 7)


def test_the_main_scenario_is_as_specified():
    one = make_instance("uam-8x40", 1)
    assert (one.num_ports, one.num_aircraft, one.num_slots) == (8, 40, 12)
    assert (one.start, one.end, one.slot, one.wait) == (360, 1080, 60, 15)
    assert set(one.parking) == {10}
    assert sorted(one.chargers) == [0, 0, 6, 6, 6, 6, 6, 6]
    assert one.high_demand.sum() == 2
    assert not (one.high_demand & (one.chargers == 0)).any()
    assert (one.seats, one.speed_mph, one.range_mi, one.battery_wh) == (4, 74.5, 50, 110_000)
    assert (one.takeoff, one.landing, one.corridors, one.headway) == (6, 6, 2, 1)
    assert one.repair == (60, 180)
    assert one.stochastic


def test_variants_are_the_same_day_but_for_what_they_name():
    base = make_instance("uam-8x40", 3)
    fixed = make_instance("uam-8x40-det", 3)
    market = make_instance("uam-8x40-market", 3)
    storm = make_instance("uam-8x40-storm", 3)
    assert not fixed.stochastic
    for other in (fixed, market, storm):
        np.testing.assert_array_equal(other.passengers, base.passengers)
        np.testing.assert_array_equal(other.distance, base.distance)
    off = ~np.eye(8, dtype=bool)
    expected = np.floor(500 + 250 * base.distance + 0.5)[off]
    assert (market.fare_cents[:, off] == expected).all()
    np.testing.assert_allclose(storm.closure_probability, 4 * base.closure_probability)
    np.testing.assert_allclose(storm.delay_mean, 2 * base.delay_mean)
    np.testing.assert_allclose(storm.failure_probability, 4 * base.failure_probability)


def test_fares_of_the_paper_rise_with_demand():
    """5 $ and 0.64 $ a mile, times ln(Q / 10) where that is more than 1."""
    off = ~np.eye(8, dtype=bool)
    raised = 0
    for seed in range(5):
        one = make_instance("uam-8x40-high", seed)
        for s, i, j in np.argwhere(off[None] & (one.rate >= 0)):
            count = one.passengers[s, i, j]
            factor = max(math.log(count / 10), 1.0) if count else 1.0
            expected = math.floor(500 + 64 * one.distance[i, j] * factor + 0.5)
            assert one.fare_cents[s, i, j] == expected
            raised += factor > 1
    assert raised > 20


def test_layouts():
    for seed in range(60):
        one = make_instance("uam-8x40", seed)
        off = ~np.eye(8, dtype=bool)
        assert one.x.min() >= 0 and one.x.max() <= 50
        np.testing.assert_array_equal(one.x, one.x.round(3))
        straight = np.hypot(one.x[:, None] - one.x, one.y[:, None] - one.y)
        np.testing.assert_allclose(one.distance, straight, atol=0.00051)
        assert one.distance[off].min() >= 2.999
        centre = np.hypot(one.x - 25, one.y - 25)
        assert set(np.argsort(centre)[:2]) == set(np.flatnonzero(one.high_demand))
        for stop in np.flatnonzero(one.chargers == 0):
            assert one.distance[stop][one.chargers > 0].min() <= 25
        assert (np.bincount(one.start_port, minlength=8) <= one.parking).all()


def test_demand_has_the_load_ratio_that_is_asked_for():
    """Expected passengers over the seats of a fleet that never waits; drawn ones are Poisson."""
    for name, load in (("uam-8x40-low", 0.5), ("uam-8x40", 1.0), ("uam-20x100", 1.0)):
        for seed in range(4):
            one = make_instance(name, seed)
            share = one.rate.sum(0) / one.rate.sum()
            flights = one.num_aircraft * 720 / (share * one.block).sum()
            assert one.rate.sum() == pytest.approx(load * 4 * flights, rel=1e-9)
    loads = []
    for seed in range(200):
        one = make_instance("uam-8x40-mixed", seed)
        share = one.rate.sum(0) / one.rate.sum()
        loads.append(one.rate.sum() * (share * one.block).sum() / (40 * 720 * 4))
    assert 0.5 <= min(loads) < 0.55
    assert 1.8 < max(loads) <= 2.0
    assert np.mean(np.log(loads)) == pytest.approx(0, abs=0.08)


def test_passengers_are_poisson():
    """Mean and variance of (Q - lambda) / sqrt(lambda), small and large rates apart."""
    days = [make_instance("uam-8x40-high", seed) for seed in range(60)]
    rate = np.concatenate([one.rate.ravel() for one in days])
    count = np.concatenate([one.passengers.ravel() for one in days])
    assert rate.max() > 60  # drawn in several parts
    for low, high in ((0.05, 1), (1, 10), (10, 40), (40, 500)):
        chosen = (rate >= low) & (rate < high)
        z = (count[chosen] - rate[chosen]) / np.sqrt(rate[chosen])
        assert abs(z.mean()) < 4 / math.sqrt(chosen.sum())
        assert z.var() == pytest.approx(1, abs=0.12)
    assert not count[rate == 0].any()


def test_mornings_flow_to_the_busy_and_evenings_away():
    one = make_instance("uam-8x40", 5)
    busy = one.high_demand
    towards = one.rate[:, ~busy][:, :, busy].sum((1, 2))
    away = one.rate[:, busy][:, :, ~busy].sum((1, 2))
    middle = 6.5 + np.arange(12)
    assert middle[towards.argmax()] == pytest.approx(8, abs=0.6)
    assert middle[away.argmax()] == pytest.approx(16, abs=0.6)
    # The mixture of 3.2 by hand: 60 % at 8, 15 % at 16, 25 % over the day.
    bell = [np.exp(-0.5 * ((middle - m) / s) ** 2) / s for m, s in ((8, 2), (16, 2), (12, 6))]
    shape = 0.6 * bell[0] + 0.15 * bell[1] + 0.25 * bell[2]
    np.testing.assert_allclose(towards / towards.sum(), shape / shape.sum(), rtol=1e-9)


def test_hazards_are_uniform():
    days = [make_instance("uam-8x40", seed) for seed in range(60)]
    upper = np.triu_indices(8, 1)
    for values, high in (
        (np.concatenate([one.delay_mean for one in days]), 6.0),
        (np.concatenate([one.closure_probability[upper] for one in days]), 0.05),
        (np.concatenate([one.failure_probability for one in days]), 0.005),
    ):
        assert 0 <= values.min() and values.max() <= high
        assert values.mean() == pytest.approx(high / 2, rel=0.08)
        assert values.std() == pytest.approx(high / math.sqrt(12), rel=0.08)


def test_ranges_of_sizes():
    sizes = {
        (one.num_ports, one.num_aircraft)
        for one in (make_instance("uam-6-8x20-23", seed) for seed in range(120))
    }
    assert sizes == {(n, k) for n in (6, 7, 8) for k in (20, 21, 22, 23)}


def test_los_angeles():
    one = make_instance("uam-lax2", 1)
    assert (one.num_ports, one.num_aircraft, one.num_slots) == (2, 14, 24)
    assert one.rate.sum((1, 2)).tolist() == [sum(pair) for pair in zip(*ShuttleGenerator.RATES,
                                                                      strict=True)]  # fmt: skip
    assert 480 < one.rate[:, 0, 1].sum() < 500
    # Great circle between 33.9478 N 118.3741 W and 34.0432 N 118.2696 W.
    a, b = np.radians([33.9477885, -118.3740864]), np.radians([34.0432026, -118.2695702])
    cosine = np.sin(a[0]) * np.sin(b[0]) + np.cos(a[0]) * np.cos(b[0]) * np.cos(a[1] - b[1])
    assert one.distance[0, 1] == pytest.approx(3958.8 * np.arccos(cosine), abs=0.02)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ports": 8}, "ports: found 8, expected two numbers"),
        ({"ports": (1, 8)}, "ports: found 1, expected an integer in 2..200"),
        ({"aircraft": (0, 5)}, "aircraft: found 0"),
        ({"aircraft": (5.0, 6.0)}, "aircraft: found 5.0"),
        ({"load": (0.0, 1.0)}, "load: found 0.0"),
        ({"load": (2.0, 1.0)}, "load: found (2.0, 1.0), expected low <= high"),
        ({"area": float("nan")}, "area: found nan"),
        ({"ports": (100, 100)}, "area: found 50.0 mi, too small for 100 vertiports"),
        ({"closure": 1.5}, "closure: found 1.5"),
        ({"fare": "free"}, "fare: found 'free'"),
        ({"slot": 7}, "slot: found 7, expected a divisor"),
        ({"end": 360}, "end: found 360"),
        ({"wait": True}, "wait: found True"),
        ({"wait": 1, "aircraft": (10_000, 10_000), "end": 10_000, "slot": 4820}, "beyond"),
    ],
    ids=str,
)
def test_impossible_generators(fields, words):
    with pytest.raises(ParameterError) as error:
        FleetGenerator(**fields)
    assert words in str(error.value)


NO_NAMES = ["", "uam", "uam-8x", "uam-8x40-", "uam-08x40", "uam-8x40-Det", "uam-8x40 ",
            "uam-9999999x1", "uam-1x4", "uam-4x0", 8]  # fmt: skip


@pytest.mark.parametrize("name", NO_NAMES)
def test_unknown_names(name):
    with pytest.raises(ScenarioError):
        make_instance(name, 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, None])
def test_impossible_seeds(seed):
    for scenario in ("uam-8x40", "uam-lax2", "uam-legacy22"):
        with pytest.raises(ParameterError, match="seed: found"):
            make_instance(scenario, seed)
