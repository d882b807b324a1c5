"""Damaged files: whatever the bytes, an instance or a DispatchGymError, nothing else."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatchgym.envs.core.errors import DispatchGymError
from dispatchgym.envs.job_shop.generators import make_instance
from dispatchgym.envs.job_shop.instance import Bounds, Instance
from dispatchgym.envs.job_shop.parsers import FORMATS, dumps, load_all, write

SMALL = make_instance("random_3x3", 1)
BOUNDED = Instance(
    name="x",
    machine=SMALL.machine,
    duration=SMALL.duration,
    operations=SMALL.operations,
    num_machines=3,
    release=np.array([0, 4, 9]),
    bounds={"classic": Bounds(SMALL.lower_bound, 900, "s", "d")},
)
SOLUTION = "9\n0 3 6\n1 4 7\n2 5 8\n"


def arrays():
    stack = np.stack([SMALL.machine, SMALL.duration])
    for kind in (np.int64, np.uint8, np.float32):
        stream = io.BytesIO()
        np.save(stream, stack.astype(kind))
        yield stream.getvalue()
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, a=stack)
        yield stream.getvalue()


CLEAN = [
    *(dumps(SMALL, form).encode() for form in ("standard", "taillard", "dacol_teppan", "json")),
    dumps(SMALL, "taillard_machines_first").encode(),
    (dumps(make_instance("flow_shop_3x3", 1)) + SOLUTION).encode(),
    BOUNDED.to_json().encode(),
    dumps(SMALL).encode() * 2,
    *arrays(),
]

PIECES = [
    *b'- # \n \r \t \x00 \xff { [ " 0'.split(b" "),
    *b"-1 nan 1e9 5.0 99999999999999999999 true null (2,9,9) |O".split(),
    *(b" ", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"Times\n", b"instance x\n", b"-1 -1\n", b"[" * 3000),
]

edits = st.one_of(
    st.tuples(st.just("set"), st.integers(0, 10**6), st.binary(min_size=1, max_size=1)),
    st.tuples(st.just("insert"), st.integers(0, 10**6), st.sampled_from(PIECES)),
    st.tuples(st.just("delete"), st.integers(0, 10**6), st.integers(1, 30)),
    st.tuples(st.just("repeat"), st.integers(0, 10**6), st.integers(1, 60)),
    st.tuples(st.just("cut"), st.integers(0, 10**6), st.just(0)),
)

damaged = st.one_of(
    st.tuples(st.sampled_from(CLEAN), st.lists(edits, min_size=1, max_size=4)).map(
        lambda pair: damage(*pair)
    ),
    st.binary(max_size=200),
    st.text(alphabet="0123456789 -.\n#x", max_size=120).map(str.encode),
)

options = st.fixed_dictionaries(
    {
        "format": st.sampled_from(["auto", "auto", "auto", *FORMATS]),
        "base": st.sampled_from(["auto", "auto", 0, 1]),
        "order": st.sampled_from(["machines_first", "durations_first", None]),
        "strict": st.booleans(),
        "allow_reentrant": st.sampled_from([None, True, False]),
        "allow_solution": st.booleans(),
    }
)


def damage(data, changes):
    """Apply a few edits to the bytes of a good file."""
    for kind, where, what in changes:
        at = where % (len(data) + 1)
        if kind == "set":
            data = data[:at] + what + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + what :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + what] + data[at:]
        else:
            data = data[:at]
    return data


def check(path, data, arguments):
    """Read damaged bytes: what is accepted is an instance that survives a round trip."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = load_all(path, **arguments)
        except DispatchGymError as error:
            assert str(path) in str(error) or "base: found 1" in str(error)
            assert len(str(error)) < 1000
            return
    assert found
    for instance in found:
        assert Instance.from_json(instance.to_json()) == instance


def test_the_undamaged_files_are_read(tmp_path):
    for number, data in enumerate(CLEAN):
        path = tmp_path / "clean"
        path.write_bytes(data)
        form = "taillard_machines_first" if number == 4 else "auto"
        assert load_all(path, format=form, order="machines_first", allow_solution=True)


@given(data=damaged, arguments=options)
@settings(
    max_examples=2_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_files(tmp_path, data, arguments):
    check(tmp_path / "shop", data, arguments)


@pytest.mark.slow
@given(data=damaged, arguments=options)
@settings(
    max_examples=20_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_damaged_files_at_length(tmp_path, data, arguments):
    check(tmp_path / "shop", data, arguments)


def test_large_files_are_read_in_time(tmp_path):
    """Long runs of blanks, dashes and digits: no reader may take more than linear time."""
    path = tmp_path / "shop"
    for piece in (b" ", b"-1 ", b"9", b"\n", b"instance x ", b"times ", b"#", b"[", b'{"a":'):
        for tail in (b"", b"x"):
            path.write_bytes(b"instance x" + piece * (300_000 // len(piece)) + tail)
            with pytest.raises(DispatchGymError):
                load_all(path)
            path.write_bytes(b"1 1\n0 " + piece * (300_000 // len(piece)) + tail)
            with pytest.raises(DispatchGymError):
                load_all(path)


def test_a_large_instance(tmp_path):
    instance = make_instance("random_300x100", 0)
    write(instance, tmp_path / "large")
    assert load_all(tmp_path / "large") == [instance]
