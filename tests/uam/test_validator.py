"""The validator accepts what is played by the rules of the game and names every corruption."""

import numpy as np
import pytest
from uam import reference
from uam.cases import change, small, varied

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.uam.env import UAMFleetVectorEnv
from dispatchgym.envs.uam.generators import make_instance, scenarios
from dispatchgym.envs.uam.rules import RULES
from dispatchgym.envs.uam.validator import COLUMNS, VIOLATION_CODES, validate

TOTALS = ("revenue", "operating_cost", "energy_cost", "profit")
TIME, AIRCRAFT, ORIGIN, ACTION, PASSENGERS, CORRIDOR, TAKEOFF, ARRIVAL, NEXT, CANCELLED = range(10)
LARGE = ("uam-20x100", "uam-50x500")
STOPS = {"chargers": np.array([1, 0, 1])}  # the vertiport in the middle is a vertistop


def schedule_of(day):
    """What the environment would hand out of a day of the reference."""
    values = (day.revenue, day.operating, day.energy, day.profit, day.seed)
    totals = {k: np.array(v) for k, v in zip((*TOTALS, "seed"), values, strict=True)}
    return {"decisions": np.array(day.log, np.int64).reshape(-1, len(COLUMNS)), **totals}


def play(instance, wishes=(), seed=0):
    """Play a day in which wishes (aircraft, action), legal or not, come true; the others stay."""
    day, wishes = reference.Day(instance, seed), list(wishes)
    while (craft := day.decider()) is not None:
        wish = next((w for w in wishes if w[0] == craft.number), None)
        if wish is not None:
            wishes.remove(wish)
        day.act(craft, craft.at if wish is None else wish[1])
    assert not wishes
    return schedule_of(day)


def codes(instance, schedule):
    return {violation.code for violation in validate(instance, schedule).violations}


def greedy(instance, seed=0):
    schedule = schedule_of(reference.play(instance, seed, "greedy"))
    assert validate(instance, schedule).valid
    return schedule


def first(schedule, **values):
    """The first row of a schedule with these values in some columns."""
    rows = schedule["decisions"]
    fits = np.ones(len(rows), bool)
    for name, value in values.items():
        fits &= rows[:, COLUMNS.index(name)] == value
    return rows[np.flatnonzero(fits)[0]]


def first_flight(schedule):
    rows = schedule["decisions"]
    return rows[np.flatnonzero(rows[:, TAKEOFF] >= 0)[0]]


# -------------------------------------------------------------------------- acceptance


@pytest.mark.parametrize("block", range(4))
def test_accepts_whatever_the_environment_plays(block):
    cancelled = 0
    for seed in range(25 * block, 25 * block + 25):
        instance = varied(seed)
        env = UAMFleetVectorEnv(1, scenario=instance)
        for rule in RULES:
            env.reset(seed=[seed])
            info = env.simulation.run_rule(rule)
            schedule = {name: values[0] for name, values in info["schedule"].items()}
            report = validate(instance, schedule)
            assert report.valid, report.violations
            assert report.objective == info["objective"][0]
            cancelled += schedule["decisions"][:, CANCELLED].sum()
    assert cancelled > 0


@pytest.mark.parametrize(
    "scenario", [name for name in scenarios() if name[:6] not in ("uam-20", "uam-50")]
)
def test_accepts_rules_on_scenarios(scenario):
    instance = make_instance(scenario, 1)
    for seed, rule in enumerate(RULES):
        report = validate(instance, schedule_of(reference.play(instance, seed, rule)))
        assert report.valid, report.violations


def test_accepts_lists_and_padding():
    instance = small()
    schedule = greedy(instance)
    rows = schedule["decisions"]
    plain = {name: values.tolist() for name, values in schedule.items()}
    assert validate(instance, plain).valid
    padded = {**schedule, "decisions": np.vstack([rows, np.full((3, len(COLUMNS)), -1)])}
    assert validate(instance, padded).valid


def test_empty_flight_is_allowed_and_costs_its_electricity():
    instance = small(passengers=np.zeros((2, 3, 3), int), rate=np.zeros((2, 3, 3)))
    report = validate(instance, play(instance, [(0, 2)]))
    assert report.valid
    assert report.objective == -instance.electricity_cents[0, 2] / 100


# ----------------------------------------------------------- days that break one rule only


def test_flight_out_of_range():
    instance = small(range_mi=15.0)
    assert codes(instance, play(instance, [(0, 1)])) == set()
    assert codes(instance, play(instance, [(0, 2)])) == {"V4"}


def test_flight_on_a_closed_route():
    routes = np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]], float)
    instance = small(closure_probability=routes, stochastic=True)
    assert codes(instance, play(instance, [(0, 1)])) == set()
    assert codes(instance, play(instance, [(0, 2)])) == {"V4"}
    assert codes(change(instance, stochastic=False), play(small(), [(0, 2)])) == set()


def test_flight_that_lands_after_the_end():
    instance = small(must_land_by_end=True)
    late = [(0, 0)] * 7 + [(0, 1)]
    assert codes(change(instance, must_land_by_end=False), play(instance, late)) == set()
    assert codes(instance, play(instance, late)) == {"V4"}


def test_battery_overdrawn():
    """Legs of 10 and 15 miles, 22 and 33 kWh, from and to a vertistop that does not charge."""
    instance = small(
        x=np.array([0.0, 10.0, 19.0]),
        y=np.array([0.0, 0.0, 12.0]),
        start_port=np.array([0, 2]),
        battery_wh=50_000,
        **STOPS,
    )
    assert codes(instance, play(instance, [(0, 1), (0, 0)])) == set()
    assert codes(instance, play(instance, [(0, 1), (0, 2)])) == {"V5"}
    assert codes(instance, play(instance, [(1, 1)])) == {"V5"}  # could not go on to a charger
    enough = change(instance, battery_wh=55_000)
    assert codes(enough, play(enough, [(0, 1), (0, 2)])) == set()
    reserve = change(enough, reserve_wh=1)
    assert codes(reserve, play(reserve, [(0, 1), (0, 2)])) == {"V5"}


def test_charger_booked_twice():
    instance = small()
    assert codes(instance, play(instance, [(0, 2)])) == set()
    assert codes(instance, play(instance, [(0, 2), (1, 2)])) == {"V9"}


def test_parking_lot_of_a_vertistop_booked_twice():
    instance = small(**STOPS, start_port=np.array([0, 2]), parking=np.array([1, 1, 1]))
    assert codes(instance, play(instance, [(0, 1)])) == set()
    assert codes(instance, play(instance, [(0, 1), (1, 1)])) == {"V9"}


def test_aircraft_that_stays_keeps_the_charger_while_no_parking_lot_is_free():
    """Aircraft 0 lands at vertiport 1, whose only lot is taken, so nobody else can charge there."""
    instance = small(
        start_port=np.array([0, 1, 2]),
        failure_probability=np.zeros(3),
        parking=np.array([1, 1, 1]),
    )
    wishes = [(0, 1)] + [(2, 2)] * 4 + [(2, 1)]
    assert codes(instance, play(instance, wishes)) == {"V9"}
    roomy = change(instance, parking=np.array([1, 2, 1]))
    assert codes(roomy, play(roomy, wishes)) == set()


# -------------------------------------------------------------------- rows that were changed


@pytest.mark.parametrize("minutes", [-1, 1])
def test_readiness_after_a_flight_shifted(minutes):
    schedule = greedy(small())
    first_flight(schedule)[NEXT] += minutes
    assert codes(small(), schedule) == {"V1", "V8"}  # the next decision is late or early, too


def test_arrival_shifted():
    schedule = greedy(small())
    first_flight(schedule)[ARRIVAL] += 1
    assert codes(small(), schedule) == {"V8"}


@pytest.mark.parametrize("minutes", [-1, 1])
def test_wait_shifted(minutes):
    schedule = play(small())
    first(schedule, aircraft=0)[NEXT] += minutes
    assert codes(small(), schedule) == {"V1", "V3"}


@pytest.mark.parametrize("change_by", [-1, 1])
def test_passenger_added_or_left_behind(change_by):
    schedule = greedy(small())
    first_flight(schedule)[PASSENGERS] += change_by
    assert "V6" in codes(small(), schedule)
    assert "V11" in codes(small(), schedule)


def test_more_passengers_than_demand():
    instance = small(seats=6)
    schedule = play(instance, [(0, 1)])
    assert first_flight(schedule)[PASSENGERS] == 4
    first_flight(schedule)[PASSENGERS] = 6
    assert "V6" in codes(instance, schedule)


def test_passenger_on_the_ground():
    schedule = play(small())
    schedule["decisions"][0, PASSENGERS] = 1
    assert codes(small(), schedule) == {"V6"}


def test_decision_at_another_vertiport():
    schedule = play(small())
    schedule["decisions"][0, [ORIGIN, ACTION]] = 2
    assert codes(small(), schedule) == {"V2"}


def test_decisions_out_of_order():
    schedule = play(small())
    schedule["decisions"][[0, 1]] = schedule["decisions"][[1, 0]]
    assert codes(small(), schedule) == {"V1"}


@pytest.mark.parametrize("row", [0, 5, -1])
def test_decision_left_out(row):
    schedule = play(small())
    schedule["decisions"] = np.delete(schedule["decisions"], row, axis=0)
    assert codes(small(), schedule) == {"V1"}


def test_decision_after_the_end():
    instance = small()
    schedule = play(instance)
    row = [instance.end, 0, 0, 0, 0, -1, -1, -1, instance.end + 15, 0]
    schedule["decisions"] = np.vstack([schedule["decisions"], row])
    assert codes(instance, schedule) == {"V1"}


def test_no_decisions_at_all():
    schedule = play(small())
    schedule["decisions"] = schedule["decisions"][:0]
    report = validate(small(), schedule)
    assert [v.code for v in report.violations] == ["V1", "V1"]


def test_corridor_that_is_not_the_earliest_or_does_not_exist():
    for corridor in (1, 2, -1):
        schedule = greedy(small())
        first_flight(schedule)[CORRIDOR] = corridor
        assert "V7" in codes(small(), schedule)


@pytest.mark.parametrize("field", ["headway", "pad_headway"])
def test_take_offs_too_close_together(field):
    """Both aircraft leave for one vertiport at once; with seven minutes between them one waits."""
    instance = small(
        start_port=np.array([0, 0]), chargers=np.array([1, 2, 1]), corridors=1, **{field: 7}
    )
    apart = play(instance, [(0, 1), (1, 1)])
    assert codes(instance, apart) == set()
    together = play(change(instance, **{field: 0}), [(0, 1), (1, 1)])
    assert codes(instance, together) == {"V7", "V10"}  # as if the delay was negative


def test_take_off_before_the_decision():
    schedule = greedy(small())
    first_flight(schedule)[TAKEOFF] -= 1
    assert "V7" in codes(small(), schedule)


STORMY = make_instance("uam-8x40-storm", 3)


def test_delay_that_was_not_drawn():
    schedule = greedy(STORMY, seed=3)
    row = first_flight(schedule)
    row[[TAKEOFF, ARRIVAL, NEXT]] += 1
    assert "V10" in codes(STORMY, schedule)
    schedule = greedy(small())
    first_flight(schedule)[TAKEOFF] += 1
    assert {"V8", "V10"} <= codes(small(), schedule)


def test_failure_and_repair_that_were_not_drawn():
    schedule = greedy(STORMY, seed=3)
    row = first(schedule, cancelled=1)
    assert STORMY.repair[0] <= row[NEXT] - row[TIME] <= STORMY.repair[1]
    row[NEXT] += 1
    assert codes(STORMY, schedule) == {"V1", "V10"}
    calm = change(STORMY, failure_probability=np.zeros(STORMY.num_aircraft))
    assert "V10" in codes(calm, greedy(STORMY, seed=3))
    schedule = play(small())
    schedule["decisions"][0, CANCELLED] = 1
    assert codes(small(), schedule) == {"V10"}


def test_another_seed():
    schedule = greedy(STORMY, seed=3)
    schedule["seed"] = np.array(4)
    assert {"V4", "V10"} <= codes(STORMY, schedule)


@pytest.mark.parametrize("name", TOTALS)
def test_totals_off_by_a_cent(name):
    schedule = greedy(small())
    schedule[name] = schedule[name] + 1
    report = validate(small(), schedule)
    assert [v.code for v in report.violations] == ["V11"]
    assert report.objective == (schedule["profit"] - (name == "profit")) / 100


def test_profit_above_a_known_bound():
    schedule = greedy(small())
    profit = int(schedule["profit"])
    assert codes(small(known={"lp_bound_cents": profit}), schedule) == set()
    assert codes(small(known={"lp_bound_cents": profit - 1}), schedule) == {"V12"}


def test_report_says_where():
    schedule = greedy(small())
    row = first_flight(schedule)
    row[ARRIVAL] += 1
    (violation,) = validate(small(), schedule).violations
    assert (violation.row, violation.aircraft, violation.time) == (0, row[AIRCRAFT], row[TIME])
    assert f"found {row[ARRIVAL]}, expected {row[ARRIVAL] - 1}" in violation.message
    assert violation.code in VIOLATION_CODES


# ------------------------------------------------------------------------------ malformed


@pytest.mark.parametrize("name", [*TOTALS, "seed", "decisions"])
def test_missing_field(name):
    schedule = greedy(small())
    del schedule[name]
    report = validate(small(), schedule)
    assert [v.code for v in report.violations] == ["malformed"]
    assert name in report.violations[0].message and np.isnan(report.objective)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("profit", np.array(1.5)),
        ("profit", np.array([1, 2])),
        ("profit", 2**60),
        ("profit", "much"),
        ("seed", -1),
        ("decisions", np.zeros((3, 9), int)),
        ("decisions", np.zeros((3, 10))),
        ("decisions", [[0], [1, 2]]),
        ("decisions", None),
    ],
)
def test_field_that_cannot_be_read(name, value):
    assert codes(small(), {**greedy(small()), name: value}) == {"malformed"}


@pytest.mark.parametrize(
    ("column", "value"), [(AIRCRAFT, 2), (ORIGIN, -1), (ACTION, 3), (CANCELLED, 2)]
)
def test_index_that_does_not_exist(column, value):
    schedule = greedy(small())
    schedule["decisions"][1, column] = value
    report = validate(small(), schedule)
    assert [v.code for v in report.violations] == ["malformed"]
    assert f"decisions[1].{COLUMNS[column]}: found {value}" in report.violations[0].message


def test_times_far_outside_the_day():
    """Nothing that can be written into the rows makes the validator fail."""
    random = np.random.default_rng(0)
    schedule = greedy(small())
    for _ in range(300):
        rows = schedule["decisions"].copy()
        row, column = random.integers(len(rows)), random.choice([TIME, *range(4, 9)])
        rows[row, column] = random.choice([-(2**40), -7, 10_000, 2**40])
        assert not validate(small(), {**schedule, "decisions": rows}).valid


@pytest.mark.parametrize(("instance", "schedule"), [(None, {}), (small(), None), (small(), [])])
def test_arguments_of_another_type(instance, schedule):
    with pytest.raises(ParameterError, match="found"):
        validate(instance, schedule)
