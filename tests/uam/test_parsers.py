"""Files: what is written is read again, and what is damaged is refused with words."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uam.cases import change, small, varied

from dispatchgym.envs.core.errors import DispatchGymError, InstanceFormatError, ParameterError
from dispatchgym.envs.uam import make_instance, parsers, scenarios

TEXT = parsers.dumps(make_instance("uam-3x4", 1))


def edited(**changes):
    """The text of a small instance with values put in at dotted places; `...` deletes."""
    document = json.loads(TEXT)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = document
        for key in way:
            place = place[int(key) if isinstance(place, list) else key]
        key = int(last) if isinstance(place, list) else last
        if value is ...:
            del place[key]
        else:
            place[key] = value
    return json.dumps(document)


@pytest.mark.parametrize("scenario", scenarios())
def test_what_is_written_is_read_again(scenario, tmp_path):
    one = change(make_instance(scenario, 3), known={"lp_bound_cents": 540_100, "lp_grid": 1})
    path = tmp_path / "one.json"
    parsers.write(one, path)
    found = parsers.load(path)
    assert found == one
    assert found.name == one.name
    assert found.known == one.known
    assert parsers.dumps(found) == parsers.dumps(one)


def test_every_option_survives():
    for seed in range(40):
        one = varied(seed)
        assert parsers.loads(parsers.dumps(one)) == one


def test_the_format_is_the_documented_one():
    document = json.loads(parsers.dumps(small()))
    assert document["format"] == "uam-fleet/1"
    assert document["time"] == {"start": 360, "end": 480, "slot": 60, "wait": 15}
    assert document["vertiports"][1] == {
        "id": 1, "x": 10.0, "y": 0.0, "parking": 2, "chargers": 1, "high_demand": False,
        "tod_mean": 0.0,
    }  # fmt: skip
    assert document["fleet"]["count"] == 2
    assert document["fleet"]["p_fail"] == [0.0, 0.0]
    assert document["charge"] == {"power_w": 150_000, "curve": "linear"}
    assert document["demand"]["Q"][0][0] == [0, 4, 4]
    assert document["demand"]["lambda"][1][2] == [4.0, 4.0, 0.0]
    assert document["stochastic"] is False


def test_what_may_be_left_out():
    text = edited(
        fleet__count=..., fleet__reserve_wh=..., charge__curve=..., airspace__pad_headway=...,
        airspace__distance=..., must_land_by_end=...,
    )  # fmt: skip
    assert parsers.loads(text) == parsers.loads(TEXT)
    more = edited(seed=17, generator="uamgen/1", money__fare="paper", money__base_cents=500)
    assert parsers.loads(more) == parsers.loads(TEXT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # What the issue of this problem names: the fields that people get wrong.
        ({"vertiports__2__x": 5000.0, "airspace__distance": ...}, "vertiport 2: unreachable"),
        ({"fleet__start": [], "fleet__count": 0, "fleet__p_fail": []}, "start_port: found nothing"),
        ({"demand__fare_cents__0__0__1": -700}, "fare_cents[0][0][1]: found -700"),
        ({"airspace__distance__0__1": 0.0, "airspace__distance__1__0": 0.0}, "corridors overlap"),
        ({"vertiports__1__id": 0}, "vertiports[1].id: found 0, expected 1"),
        # All kinds of others.
        ({"format": "uam-fleet/2"}, "format: found \"uam-fleet/2\", expected 'uam-fleet/1'"),
        ({"format": ...}, "format: found null"),
        ({"name": ...}, "name: missing field"),
        ({"name": 5}, "name: found 5"),
        ({"colour": "red"}, '"colour": unknown field'),
        ({"time": [1]}, "time: found [1], expected an object"),
        ({"time__wait": ...}, "time.wait: missing field"),
        ({"time__wait": "soon"}, "wait: found 'soon'"),
        ({"time__nap": 3}, 'time."nap": unknown field'),
        ({"vertiports": {}}, "vertiports: found {}, expected a list"),
        ({"vertiports": []}, "x: found nothing, expected at least one entry"),
        ({"vertiports__0": 7}, "vertiports[0]: found 7, expected an object"),
        ({"vertiports__0__chargers": ...}, "vertiports[0].chargers: missing field"),
        ({"vertiports__0__chargers": "many"}, 'vertiports[0].chargers: found "many"'),
        ({"vertiports__0__chargers": 1.5}, "chargers: found float64, expected integers"),
        ({"vertiports__0__chargers": True}, "chargers: found"),
        ({"vertiports__0__high_demand": 1}, "high_demand: found"),
        ({"vertiports__0__x": None}, "vertiports[0].x: found null"),
        ({"fleet__count": 7}, "fleet.count: found 7"),
        ({"fleet__start": "all", "fleet__count": ...}, 'start_port: found "all", expected a list'),
        ({"fleet__start__0": 99}, "start_port[0]: found 99"),
        ({"fleet__seats": 0}, "seats: found 0"),
        ({"fleet__repair": [60]}, "repair: found a list of length 1"),
        ({"charge__curve": "steep"}, "charge.curve: found \"steep\", expected 'linear'"),
        ({"airspace__corridors": 2.5}, "corridors: found 2.5"),
        ({"airspace__p_closure": [[0.1]]}, "closure_probability: found shape (1, 1)"),
        ({"money__op_basis": [0, 0]}, "op_basis: found a list of length 2"),
        ({"airspace__distance": None}, "distance: found null, expected a list"),
        ({"money__op_basis": "crew"}, "op_basis: found 'crew'"),
        ({"money__fare": 3}, "fare: found 3, expected a label"),
        ({"demand__Q__0": [[1, 2], [3]]}, "passengers: found rows of unequal length"),
        ({"demand__Q__0__0__1": 10**30}, "passengers: found float64"),
        ({"demand__Q__0__0__1": "4"}, "passengers: found"),
        ({"demand__lambda__0__0__1": True}, "rate: found float64, expected numbers only"),
        ({"demand__lambda": ...}, "demand.lambda: missing field"),
        ({"stochastic": "yes"}, "stochastic: found 'yes'"),
        ({"reference": {"lp_bound_cents": "high"}}, "known.lp_bound_cents: found 'high'"),
        ({"reference": 5}, "known: found 5, expected a mapping"),
    ],
    ids=str,
)
def test_wrong_files_are_refused_by_name(changes, words):
    with pytest.raises(InstanceFormatError) as error:
        parsers.loads(edited(**changes), "day.json")
    assert words in str(error.value)
    assert str(error.value).startswith("day.json: ")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: Expecting value, expected JSON"),
        (TEXT[: len(TEXT) // 2], "expected JSON"),
        (TEXT[:-3], "expected JSON"),
        ("[1, 2]", "text: found [1, 2], expected an object"),
        ('{"format": "uam-fleet/1", "format": "uam-fleet/1"}', '"format": found twice'),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "half", "cut", "list", "twice", "deep"],
)
def test_truncated_and_other_texts(text, words):
    with pytest.raises(InstanceFormatError) as error:
        parsers.loads(text)
    assert words in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InstanceFormatError, match=r"none\.json: cannot be read"):
        parsers.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InstanceFormatError, match=r"bytes\.json: cannot be read"):
        parsers.load(tmp_path / "bytes.json")
    with pytest.raises(InstanceFormatError, match="cannot be read"):
        parsers.load(tmp_path)
    with pytest.raises(DispatchGymError, match="cannot be written"):
        parsers.write(small(), tmp_path)
    with pytest.raises(ParameterError, match="text: found bytes"):
        parsers.loads(b"{}")


PIECES = ['"', "{", "}", "[", "]", ",", ":", "-", "0", "1e999", "NaN", "Infinity", "null", "true",
          '"x"', "-1", "99999999999999999999", "0.5", "\n", "[]", "{}"]  # fmt: skip
edits = st.one_of(
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.sampled_from(PIECES)),
    st.tuples(st.just("delete"), st.integers(0, 10**6), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 40)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
)
values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2000), st.integers(-(2**70), 2**70), st.floats(),
    st.text(max_size=3), st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from(["a", "x"]), st.integers(), max_size=2),
)  # fmt: skip


def damage(text, changes):
    for kind, where, what in changes:
        at = where % (len(text) + 1)
        if kind == "insert":
            text = text[:at] + what + text[at:]
        elif kind == "delete":
            text = text[:at] + text[at + what :]
        elif kind == "repeat":
            text = text[:at] + text[at : at + what] + text[at:]
        else:
            text = text[:at]
    return text


def places(document, way=()):
    """Every place in nested lists and objects."""
    yield way
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        if isinstance(value, dict | list):
            yield from places(value, (*way, key))
        else:
            yield (*way, key)


PLACES = [way for way in places(json.loads(TEXT)) if way]


def replaced(where, value):
    """The text of a small instance with another value at one of its places."""
    document = json.loads(TEXT)
    *way, last = PLACES[where % len(PLACES)]
    place = document
    for key in way:
        place = place[key]
    place[last] = value
    return json.dumps(document)


damaged = st.one_of(
    st.lists(edits, min_size=1, max_size=3).map(lambda changes: damage(TEXT, changes)),
    st.builds(replaced, st.integers(0, 10**6), values),
)


def check(text):
    """What is accepted survives a round trip; what is not is refused in few words."""
    try:
        found = parsers.loads(text, "day.json")
    except DispatchGymError as error:
        assert str(error).startswith("day.json: ")
        assert len(str(error)) < 1000
        return
    assert parsers.loads(parsers.dumps(found)) == found


@given(text=damaged)
@settings(max_examples=400, deadline=None, derandomize=True)
def test_damaged_texts(text):
    check(text)


@pytest.mark.slow
@given(text=damaged)
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_texts_at_length(text):
    check(text)
