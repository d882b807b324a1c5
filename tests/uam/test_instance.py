"""Instances refuse what is not a problem, and say which field is wrong."""

import copy
import pickle

import numpy as np
import pytest
from uam.cases import change, small, varied

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.uam import Instance


def square(value, i, j, other):
    """3 x 3 of a value, with another at (i, j) and (j, i)."""
    array = np.full((3, 3), value)
    np.fill_diagonal(array, 0)
    array[i, j] = array[j, i] = other
    return array


def cube(value, place, other):
    array = np.full((2, 3, 3), value) * (1 - np.eye(3, dtype=np.int64))
    array[place] = other
    return array


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name: found ''"),
        ({"name": "a\nb"}, "name: found"),
        ({"start": -1}, "start: found -1, expected an integer in 0.."),
        ({"start": 360.5}, "start: found 360.5"),
        ({"end": 360}, "end: found 360, expected later than the start 360"),
        ({"slot": 50}, "slot: found 50, expected a divisor of the 120 minutes"),
        ({"slot": 240}, "slot: found 240, expected a divisor"),
        ({"wait": 0}, "wait: found 0"),
        ({"seats": True}, "seats: found True"),
        ({"x": np.array([0.0])}, "x: found 1 vertiports, expected 2"),
        ({"x": np.array([0.0, np.nan, 20.0])}, "x[1]: found nan"),
        ({"x": np.array(["a", "b", "c"])}, "x: found <U1, expected numbers"),
        ({"y": np.zeros(2)}, "y: found shape (2,), expected (3,)"),
        ({"parking": np.array([2, -1, 2])}, "parking[1]: found -1"),
        ({"parking": np.array([2.0, 1.0, 2.0])}, "parking: found float64, expected integers"),
        ({"chargers": np.array([1, 1, 10**7])}, "chargers[2]: found 10000000"),
        ({"high_demand": np.array([1, 0, 0])}, "high_demand: found int64, expected True or False"),
        ({"delay_mean": np.array([0.0, -2.0, 0.0])}, "delay_mean[1]: found -2.0"),
        ({"start_port": np.array([], np.int64)}, "start_port: found shape (0,)"),
        ({"start_port": np.array([0, 3])}, "start_port[1]: found 3, expected an integer in 0..2"),
        (
            {"start_port": np.zeros(4, np.int64), "failure_probability": np.zeros(4)},
            "start_port: found 4 aircraft at vertiport 0, expected at most its 2 parking lots",
        ),
        ({"failure_probability": np.zeros(3)}, "failure_probability: found shape (3,)"),
        ({"failure_probability": np.array([0.0, 1.5])}, "failure_probability[1]: found 1.5"),
        ({"closure_probability": np.eye(2)}, "closure_probability: found shape (2, 2)"),
        ({"closure_probability": np.triu(np.full((3, 3), 0.1))}, "as the way back has"),
        ({"rate": -cube(4.0, (0, 0, 1), 4.0)}, "rate[0][0][1]: found -4.0"),
        ({"rate": cube(4.0, (1, 2, 2), 1.0)}, "rate[1][2][2]: expected 0, nobody flies"),
        ({"passengers": cube(4, (1, 2, 2), 1)}, "passengers[1][2][2]: expected 0"),
        ({"passengers": cube(4, (0, 0, 2), -4)}, "passengers[0][0][2]: found -4"),
        ({"fare_cents": np.full((2, 3, 3), -500)}, "fare_cents[0][0][0]: found -500"),
        ({"fare_cents": np.full((2, 3, 3), 5.5)}, "fare_cents: found float64"),
        ({"distance": np.full((3, 3), 5.0)}, "distance[0][0]: expected 0"),
        ({"distance": square(5.0, 0, 2, 0.0)}, "vertiports 0 and 2: found at one place"),
        ({"x": np.array([0.0, 5.0, 5.0])}, "else their corridors overlap"),
        ({"x": np.array([0.0, 10.0, 90.0])}, "vertiport 2: unreachable"),
        ({"chargers": np.zeros(3, np.int64)}, "vertiport 0: unreachable, found no other vertiport"),
        ({"battery_wh": 21_000}, "vertiport 0: unreachable"),
        (
            {"parking": np.array([2, 2, 0]), "chargers": np.array([1, 1, 0])},
            "vertiport 2: found no parking lot and no charger",
        ),
        ({"corridors": 0}, "corridors: found 0, expected an integer in 1..16"),
        ({"headway": -1}, "headway: found -1"),
        ({"speed_mph": 0.0}, "speed_mph: found 0.0, expected a number > 0"),
        ({"speed_mph": float("nan")}, "speed_mph: found nan"),
        ({"range_mi": "far"}, "range_mi: found 'far'"),
        ({"op_cents_per_mi": -1.0}, "op_cents_per_mi: found -1.0, expected a number >= 0"),
        ({"op_basis": "crew"}, "op_basis: found 'crew', expected one of passenger, vehicle"),
        ({"repair": (60,)}, "repair: found a tuple of length 1"),
        ({"repair": (90, 60)}, "repair: found (90, 60), expected low <= high"),
        ({"repair": 60}, "repair: found 60, expected two integers"),
        ({"stochastic": 1}, "stochastic: found 1, expected True or False"),
        ({"must_land_by_end": None}, "must_land_by_end: found None"),
        ({"known": {"lp_bound_cents": 1.5}}, "known.lp_bound_cents: found 1.5"),
        ({"known": [1]}, "known: found a list of length 1, expected a mapping"),
    ],
    ids=str,
)
def test_what_is_no_problem_is_refused(fields, words):
    with pytest.raises(InstanceError) as error:
        small(**fields)
    assert words in str(error.value)


def test_tables_by_hand():
    """Three vertiports in a row, 10 miles apart, the last without chargers."""
    one = small(chargers=np.array([1, 1, 0]), reserve_wh=5_000)
    np.testing.assert_array_equal(one.distance, [[0, 10, 20], [10, 0, 10], [20, 10, 0]])
    # 60 x 10 / 74.5 = 8.05 and 60 x 20 / 74.5 = 16.1 minutes, 2.2 kWh a mile.
    np.testing.assert_array_equal(one.cruise, [[0, 9, 17], [9, 0, 9], [17, 9, 0]])
    np.testing.assert_array_equal(one.energy[0], [0, 22_000, 44_000])
    # 22 kWh at 150 kW take 8.8 minutes, 44 kWh 17.6; nothing charges at vertiport 2.
    np.testing.assert_array_equal(one.charge_time, [[0, 9, 0], [9, 0, 0], [18, 9, 0]])
    np.testing.assert_array_equal(one.block[0], [12, 30, 29])
    np.testing.assert_array_equal(one.near, [0, 0, 22_000])
    assert one.operating_cents[0, 1] == 640
    assert one.electricity_cents[0, 2] == 880
    assert one.reachable.tolist() == (~np.eye(3, dtype=bool)).tolist()
    # To vertiport 2 and back to a charger: 44 + 22 kWh and the reserve.
    assert not change(one, battery_wh=70_000).reachable[0, 2]
    assert change(one, battery_wh=71_000).reachable[0, 2]
    assert not change(one, range_mi=19.9).reachable[0, 2]
    assert one.demand_value_cents == 2 * 6 * 4 * 2000
    assert one.max_decisions == 2 * 8  # every 15 minutes of 120


def test_most_decisions_is_a_bound():
    from dispatchgym.envs.uam.env import UAMFleetVectorEnv

    for seed in range(40):
        instance = varied(seed)
        vec = UAMFleetVectorEnv(4, scenario=instance)
        vec.reset(seed=0)
        assert vec.simulation.run_rule("random")["decisions"].max() <= instance.max_decisions


def test_arrays_are_private_and_read_only():
    given = np.array([2, 2, 2])
    one = small(parking=given)
    given[0] = 0
    assert one.parking[0] == 2
    for array in (one.parking, one.rate, one.distance, one.block, one.near, one.reachable):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        one.wait = 3
    with pytest.raises(TypeError):
        one.known["x"] = 1


def test_copies_are_equal_and_labels_do_not_count():
    for seed in range(5):
        one = varied(seed)
        for other in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one), change(one)):
            assert other == one
            assert hash(other) == hash(one)
        assert change(one, name="other", known={"lp_bound_cents": 5}) == one
        assert change(one, wait=one.wait + 1) != one
        assert change(one, fare_cents=one.fare_cents + 1) != one
    assert one != "one"


def test_every_field_takes_part_in_equality_but_labels():
    one = small(stochastic=True)
    fields = set(Instance.__dataclass_fields__) - {"name", "known"}
    changed = {
        "start": 300, "end": 540, "slot": 120, "wait": 7, "x": one.x + 1, "y": one.y + 1,
        "parking": one.parking + 1, "chargers": one.chargers + 1,
        "high_demand": ~one.high_demand, "delay_mean": one.delay_mean + 1,
        "start_port": one.start_port[::-1], "failure_probability": one.failure_probability + 0.1,
        "closure_probability": square(0.1, 0, 1, 0.2), "rate": one.rate / 2,
        "passengers": one.passengers // 2, "fare_cents": one.fare_cents + 1,
        "distance": one.distance * 1.5, "seats": 3, "speed_mph": 80.0, "range_mi": 40.0,
        "battery_wh": 120_000, "wh_per_mi": 2000.0, "reserve_wh": 1, "takeoff": 5, "landing": 5,
        "repair": (1, 2), "charge_power_w": 100_000, "corridors": 3, "headway": 2,
        "pad_headway": 1, "op_cents_per_mi": 1.0, "op_basis": "vehicle",
        "elec_cents_per_kwh": 1.0, "stochastic": False, "must_land_by_end": True,
    }  # fmt: skip
    assert set(changed) == fields
    for name, value in changed.items():
        shape = {"start": 3, "end": 3, "slot": 1}.get(name)
        more = {}
        if shape:
            demand = {key: getattr(one, key)[:1] for key in ("rate", "passengers", "fare_cents")}
            more = {key: np.repeat(array, shape, axis=0) for key, array in demand.items()}
        assert change(one, **{name: value}, **more) != one, name
