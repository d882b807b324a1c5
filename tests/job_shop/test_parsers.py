"""File formats: what is read, what is refused and where the message points."""

import io
import os
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatchgym.envs.core.errors import DispatchGymError, InstanceFormatError, ParameterError
from dispatchgym.envs.job_shop import parsers
from dispatchgym.envs.job_shop.generators import make_instance, toy_swap
from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.parsers import dumps, load, load_all, loads, write

LA01_JSP = """10 5
1 21 0 53 4 95 3 55 2 34
0 21 3 52 4 16 2 26 1 71
3 39 4 98 1 42 2 31 0 12
1 77 0 55 4 79 2 66 3 77
0 83 3 34 2 64 1 19 4 37
1 54 2 43 4 79 0 92 3 62
3 69 4 77 1 87 2 87 0 93
2 38 0 60 1 41 3 24 4 83
3 17 1 49 4 25 0 44 2 98
4 77 3 79 2 43 1 75 0 96
666
20 5 1 16 43 36 28 49 34 14
0 25 15 41 32 48 37 23 9 12
35 26 22 47 44 8 33 18 4 13
30 40 21 46 6 10 38 29 3 19
45 31 27 42 7 17 2 11 39 24
"""

SQUARE = "2 2\n0 3 1 4\n1 5 0 6\n"
TAILLARD = "2 2 11 12 20 10\nTimes\n 3 4\n 5 6\nMachines\n 1 2\n 2 1\n"

rectangular = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**64 - 1)).map(
    lambda key: make_instance(f"random_{key[0]}x{key[1]}", key[2])
)
ragged = st.integers(1, 5).flatmap(
    lambda machines: st.builds(
        Instance.from_jobs,
        st.lists(
            st.lists(
                st.tuples(st.integers(0, machines - 1), st.integers(0, 10**6)),
                min_size=1,
                max_size=6,
            ),
            min_size=1,
            max_size=5,
        ),
        num_machines=st.just(machines),
    )
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def put(tmp_path, content, name="shop.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def npy(array, **kwargs):
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


# --- round trips ---


@given(rectangular)
@settings(max_examples=100, deadline=None)
def test_round_trip_of_rectangular_formats(instance):
    """Every machine occurs, so that only one machine leaves the base open: 0 is a machine."""
    for form in ("standard", "taillard", "dacol_teppan", "json"):
        twin = loads(dumps(instance, form))
        assert twin == instance and twin.name == instance.name
    form = "taillard_machines_first"
    assert loads(dumps(instance, form), format=form) == instance


@given(ragged)
@settings(max_examples=100, deadline=None)
def test_round_trip_of_ragged_formats(instance):
    assert loads(dumps(instance, "dacol_teppan"), base=0) == instance
    assert loads(dumps(instance, "json")) == instance
    without = dumps(instance, "dacol_teppan").replace(" -1 -1", "")
    assert loads(without, format="dacol_teppan", base=0) == instance
    assert loads(without, strict=False, base=0) == instance


@given(instance=rectangular)
@settings(max_examples=30, deadline=None)
def test_round_trip_of_arrays(tmp_path_factory, instance):
    folder = tmp_path_factory.mktemp("arrays")
    for order in ("durations_first", "machines_first"):
        write(instance, folder / "a.npy", order=order)
        assert load(folder / "a.npy", order=order) == instance
    array = np.stack([instance.machine, instance.duration])
    (folder / "a.npz").write_bytes(npz(a=array.astype(np.float32)))
    assert load(folder / "a.npz", order="machines_first") == instance


@pytest.mark.parametrize("name", ["ft06", "la01", "orb07", "abz7", "swv01", "yn1", "ta71"])
def test_round_trip_of_the_literature(tmp_path, name):
    instance = literature(name)
    for form in ("standard", "taillard", "dacol_teppan", "json"):
        path = tmp_path / f"{form}.txt"
        write(instance, path, form)
        assert load(path) == instance
        assert load(path).name == name
    assert load(tmp_path / "json.txt").bounds == instance.bounds


# --- what the formats allow ---


def test_solution_is_passed_over():
    """la01 in the form of the files of Corsini et al., with its optimal solution."""
    for form in ("auto", "slim"):
        assert loads(LA01_JSP, format=form, allow_solution=True) == literature("la01")
    with pytest.raises(InstanceFormatError, match=r"line 12, column 1.*allow_solution=True"):
        loads(LA01_JSP)
    with pytest.raises(InstanceFormatError, match=r"line 12, column 1.*allow_solution=True"):
        loads(LA01_JSP, format="slim")


@pytest.mark.parametrize(
    "text",
    [
        SQUARE,
        "\ufeff" + SQUARE,
        SQUARE.replace("\n", "\r\n"),
        SQUARE.replace("\n", "\r"),
        SQUARE.replace(" ", "\t  "),
        SQUARE.strip(),
        "\n\n" + SQUARE.replace("\n", "\n\n"),
        "# comment\n" + SQUARE.replace("4", "4 # comment"),
        " ++++\n instance of two, 2x2\n ++++\n" + SQUARE + "++++\nthat was it\n",
        SQUARE.replace("3", "3.0").replace("4", "+4."),
        "2 2\n1 3 2 4\n2 5 1 6\n",
        "2 2\n0 3 1 4 -1 -1\n1 5 0 6 -1 -1\n",
        TAILLARD,
        TAILLARD.replace("Times", "TIMES:").replace("2 2 11 12 20 10", "2 2"),
        "Nb of jobs, Nb of Machines, Time seed, ...\n" + TAILLARD,
    ],
    ids=range(15),
)
def test_harmless_variants(tmp_path, text):
    assert load(put(tmp_path, text)).jobs() == [[(0, 3), (1, 4)], [(1, 5), (0, 6)]]


def test_both_orders_of_an_array(tmp_path):
    machines, durations = np.array([[1, 2], [2, 1]]), np.array([[3, 4], [5, 6]])
    expected = loads(SQUARE)
    path = put(tmp_path, npy(np.stack([durations, machines])), "a.npy")
    assert load(path, order="durations_first") == expected
    path = put(tmp_path, npy(np.stack([machines, durations])), "a.npy")
    assert load(path, order="machines_first") == expected
    with pytest.raises(InstanceFormatError, match="machine of job 0 operation 0: found 3"):
        load(path, order="durations_first")
    with pytest.raises(ParameterError, match=r"a.npy.*order='durations_first'"):
        load(path)


def test_several_instances(tmp_path):
    path = put(tmp_path, "".join(dumps(literature(f"la0{i}")) for i in range(1, 6)))
    found = load_all(path)
    assert found == [literature(f"la0{i}") for i in range(1, 6)]
    assert [instance.name for instance in found] == ["la01", "la02", "la03", "la04", "la05"]
    with pytest.raises(InstanceFormatError, match=r"found 5 instances.*load_all"):
        load(path)
    path = put(tmp_path, f"first\n{TAILLARD}second\n{TAILLARD}", "two.txt")
    assert [instance.name for instance in load_all(path)] == ["two", "two_2"]
    stack = np.stack([[literature(n).machine, literature(n).duration] for n in ("la01", "la02")])
    path = put(tmp_path, npy(stack), "many.npy")
    found = load_all(path, order="machines_first")
    assert found == [literature("la01"), literature("la02")]
    assert [instance.name for instance in found] == ["many", "many_2"]


def test_or_library_headings(tmp_path):
    """The layout of jobshop1.txt in the OR-library: headings between rules of plus signs."""
    rule = " +++++++++++++++++++++++++++++\n"
    text = f" a collection\n{rule} instance ft\n{rule} some 2x2 instance (mt)\n {SQUARE}{rule}"
    text += f" instance other\n{rule} another (Table 3, instance 1)\n {SQUARE} {rule} EOF\n"
    found = load_all(put(tmp_path, text))
    assert [instance.name for instance in found] == ["ft", "other"]
    assert found[0] == found[1] == loads(SQUARE)


def test_name_comes_from_the_file(tmp_path):
    assert load(put(tmp_path, SQUARE, "my shop.v2.txt")).name == "my shop.v2"
    assert load(str(put(tmp_path, SQUARE, "plain"))).name == "plain"


def test_base():
    one = "2 3\n1 3 2 4 3 1\n3 5 1 6 2 1\n"
    assert loads(one) == loads(one, base=1)
    assert loads(one).machine.tolist() == [[0, 1, 2], [2, 0, 1]]
    open_ = "1 3\n1 3 2 4\n"
    with pytest.raises(InstanceFormatError, match=r"line 1, column 1.*base=0 or base=1"):
        loads(open_, strict=False)
    assert loads(open_, strict=False, base=0).machine.tolist() == [[1, 2]]
    assert loads(open_, strict=False, base=1).machine.tolist() == [[0, 1]]
    with pytest.raises(InstanceFormatError, match=r"line 2, column 9: found 3, .* 0\.\.2"):
        loads(one, base=0)
    with pytest.raises(InstanceFormatError, match=r"line 2, column 1: found 0, .* 1\.\.2"):
        loads(SQUARE, base=1)


def test_reentrant_jobs():
    text = "1 2\n0 3 0 4\n"
    with pytest.raises(InstanceFormatError, match=r"column 5: found machine 0 a second time"):
        loads(text)
    assert loads(text, allow_reentrant=True).reentrant
    assert loads(text, strict=False).reentrant
    closed = "1 2\n0 3 1 1 0 4 -1 -1\n"
    assert loads(closed).reentrant
    with pytest.raises(InstanceFormatError, match=r"column 9: found machine 0 a second"):
        loads(closed, allow_reentrant=False)
    with pytest.raises(InstanceFormatError, match=r"jobs\[0\]\[2\]: found machine 0 a second"):
        loads(loads(closed).to_json(), allow_reentrant=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2 3\n0 3 1 4\n1 5 0 6\n", "machine 2 .* never used"),
        ("2 2\n0 3 1 0\n1 5 0 0\n", "2 durations are 0"),
        ("2 2\n0 3 1 3\n1 3 0 3\n", "all durations are 3"),
        ("2 2\n0 3 1 20000000\n1 3 0 3\n", r"2\^24"),
    ],
)
def test_warnings(text, words):
    with pytest.warns(UserWarning, match=f"<string>.*{words}"):
        loads(text, strict=False)


def test_no_warning_without_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loads(SQUARE)


# --- what is refused ---

LONG = "9" * 5000

WRONG_TEXT = [
    ("", {}, "line 1, column 1: found the end"),
    (" \n\n", {}, "line 3, column 1: found the end"),
    ("# only a comment\n", {}, "line 2, column 1: found the end"),
    ("only words\n", {}, "line 2, column 1: found the end"),
    ("2\n0 3 1 4\n", {}, "line 1, column 2: found 1 numbers"),
    ("2 2 2\n0 3 1 4\n1 5 0 6\n", {}, "line 1, column 5: found 3 numbers"),
    ("2 x\n0 3 1 4\n1 5 0 6\n", {}, "line 1, column 3: found 'x'"),
    ("x 2\n0 3 1 4\n1 5 0 6\n", {}, "line 2, column 5: found 4 numbers"),
    ("0 2\n", {}, "line 1, column 1: found 0, expected jobs"),
    ("2 0\n", {}, "line 1, column 3: found 0, expected machines"),
    ("-2 2\n", {}, "line 1, column 1: found -2, expected jobs"),
    ("2.5 2\n", {}, "line 1, column 1: found '2.5'"),
    ("2 1000000\n", {}, "line 1, column 3: found 1000000, expected machines"),
    (f"{LONG} 2\n", {}, r"line 1, column 1: found '9+\.\.\.'"),
    ("2 2\n0 3 1 4\n", {}, "line 3, column 1: found the end, expected .* job 1"),
    ("2 2\n", {}, "line 2, column 1: found the end, expected .* job 0"),
    (SQUARE + "0 3 1 4\n", {}, "line 4, column 1: found another line"),
    ("2 2\n0 3 1\n1 5 0 6\n", {}, "line 2, column 5: found 3 numbers"),
    ("2 2\n0 3\n1 5 0 6\n", {}, "line 2, column 4: found 1 pairs, expected 2"),
    ("2 2\n0 3 1 4 0 1\n1 5 0 6\n", {}, "line 2, column 9: found 3 pairs, expected 2"),
    ("2 2\n0 3 1 -4\n1 5 0 6\n", {}, "line 2, column 7: found -4, expected a duration"),
    ("2 2\n0 3 1 4.5\n1 5 0 6\n", {}, "line 2, column 7: found '4.5'"),
    ("2 2\n0 3 1 1e3\n1 5 0 6\n", {}, "line 2, column 7: found '1e3'"),
    ("2 2\n0 3 1 nan\n1 5 0 6\n", {}, "line 2, column 7: found 'nan'"),
    ("2 2\n0 3 1 inf\n1 5 0 6\n", {}, "line 2, column 7: found 'inf'"),
    ("2 2\n0 3 1 4\n1 5 0 1_0\n", {}, "line 3, column 7: found '1_0'"),
    ("2 2\n0 3 1 4\n1 5 0 \u0663\n", {}, "line 3, column 7: found '\u0663'"),
    ("2 2\n0 3 1 0x4\n1 5 0 6\n", {}, "line 2, column 7: found '0x4'"),
    (f"2 2\n0 3 1 {LONG}\n1 5 0 6\n", {}, r"line 2, column 7: found '9+\.\.\.'"),
    ("2 2\n0 3 1 2147483648\n1 5 0 6\n", {}, "line 2, column 7: found 2147483648"),
    ("2 2\n0 2147483647 1 1\n1 5 0 6\n", {}, "line 1, column 1: duration: found a sum"),
    ("2 2\n0 3 2 4\n1 5 0 6\n", {}, "line 2, column 5: found 2, expected a machine"),
    ("2 2\n0 3 1 4\n1 5 -1 6\n", {}, "line 3, column 5: found -1, expected a machine"),
    ("2 2\n0 3 5 4\n1 5 2 6\n", {}, "line 2, column 5: found 5, expected a machine"),
    ("2 2\n1 3 1 4\n1 5 1 6\n", {}, "line 1, column 1: found machines 1 to 1"),
    ("2 2\n0 3 1 4\n1 5 1 6\n", {}, "line 3, column 5: found machine 1 a second time"),
    ("2 2\n0,3,1,4\n1,5,0,6\n", {}, "line 2, column 1: found '0,3,1,4'"),
    ("2 2\n0 3 1 4\nwords\n", {}, "line 3, column 1: found 'words'"),
    ("2 2\n0 3 1 4\n\x001 5 0 6\n", {}, "line 3, column 1: found control character"),
    ("2 2\n0 3 1 4 -1 -1\n1 5 0 6\n", {}, "line 3, column 8: found the end of the line"),
    ("2 2\n0 3 1 4 -1 -1\n-1 -1\n", {}, "line 3, column 1: found no operation"),
    ("2 2\n0 3 1 4 5 -1 -1\n1 5 0 6 -1 -1\n", {}, "line 2, column 9: found 5 numbers"),
    (
        "2 3\n0 1 2\n2 0 1\n3 4 5\n6 7 8\n",
        {},
        "line 2, column 6: found 3 numbers.*taillard_machines_first",
    ),
    ("2 2\nTimes\n3 4\n5 6\n1 2\n2 1\n", {}, "line 5, column 1: found '1 2', .*'Machines'"),
    ("2 2\nMachines\n1 2\n2 1\nTimes\n3 4\n5 6\n", {}, "line 2, .*'Machines', .*'Times'"),
    (TAILLARD.replace("5 6", "5"), {}, "line 4, column 3: found 1 numbers, expected 2: the dur"),
    (TAILLARD.replace("5 6", "5 6 7"), {}, "line 4, column 6: found 3 numbers"),
    (TAILLARD.replace("2 1\n", "3 1\n"), {}, "line 7, column 2: found 3, expected a machine"),
    (TAILLARD.replace("5 6", "5 -6"), {}, "line 4, column 4: found -6"),
    (TAILLARD + "1 2\n", {}, "line 8, column 1: found another line"),
    (TAILLARD[:-5], {}, "line 7, column 1: found the end, .* job 1"),
    (TAILLARD.replace("2 2 11", "2 11"), {}, "line 1, column 6: found 5 numbers"),
    (TAILLARD, {"format": "standard"}, "line 1, column 5: found 6 numbers"),
    (SQUARE, {"format": "taillard"}, "line 2, column 1: found '0 3 1 4', .*'Times'"),
    (SQUARE, {"format": "json"}, "line 1, column"),
    (SQUARE, {"format": "numpy"}, "damaged header, expected a numpy array"),
    (SQUARE, {"base": 1}, "line 2, column 1: found 0"),
    (
        LA01_JSP.replace("\n666\n", "\n666 1\n"),
        {"allow_solution": True},
        "line 12, column 5: found more",
    ),
    (
        LA01_JSP.replace("20 5", "20 20"),
        {"allow_solution": True},
        "line 13, column 1: found other operations",
    ),
    (
        LA01_JSP.replace("45 31", ""),
        {"allow_solution": True},
        "line 17, column 2: found other operations",
    ),
    (
        LA01_JSP[: -len("45 31 27 42 7 17 2 11 39 24\n")],
        {"allow_solution": True},
        "line 17, column 1: found the end",
    ),
    ("{", {}, "line 1, column 2"),
    ("[]", {}, "expected a JSON object"),
    ('{"jobs": [[[0, 1]]]}', {}, "format: found None"),
]


@pytest.mark.parametrize(
    ("text", "options", "place"), WRONG_TEXT, ids=[f"text{i}" for i in range(len(WRONG_TEXT))]
)
def test_wrong_text_is_refused_at_its_place(tmp_path, text, options, place):
    path = put(tmp_path, text)
    with pytest.raises(InstanceFormatError, match=place) as caught:
        load(path, **options)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 500


def test_there_are_many_wrong_texts():
    assert len(WRONG_TEXT) >= 40


ARRAY = np.array([[[0, 1], [1, 0]], [[3, 4], [5, 6]]])

WRONG_BYTES = [
    (b"\xff\xfe2\x00 \x00", "line 1, column 1: found byte 0xff"),
    (b"2 2\n0 3 1 4\n1 5 0 \xe9\n", "line 3, column 7: found byte 0xe9"),
    (b"\x1f\x8b\x08\x00", "line 1, column 2: found byte 0x8b"),
    (b"\x89PNG\r\n\x1a\n", "line 1, column 1: found byte 0x89"),
    (b"\x7fELF\x02\x01", "line 1, column 5: found control character"),
    (bytes(1000), "line 1, column 1: found control character"),
    (b"\x93NUMPY", "damaged header"),
    (b"\x93NUMPY\x09\x00\x10\x00", "damaged header"),
    (npy(ARRAY)[:100], "damaged header"),
    (npy(ARRAY)[:-1], "found 63 bytes of data, expected 64"),
    (npy(ARRAY) + b"x", "found 65 bytes of data, expected 64"),
    (npy(ARRAY).replace(b"(2, 2, 2)", b"(2, 2, 9)"), "expected 288 for shape"),
    (npy(ARRAY).replace(b"(2, 2, 2), }   ", b"(2, 2, 10**9)}"), "damaged header"),
    (npy(ARRAY).replace(b"(2, 2, 2), }     ", b"(2, 99999, 999), }"), "expected n x m"),
    (npy(ARRAY).replace(b"(2, 2, 2)", b"(2,-2,-2)"), "found shape"),
    (npy(ARRAY).replace(b"<i8", b"|O "), "damaged header|found type object"),
    (npy(ARRAY.astype(object), allow_pickle=True), "found type object"),
    (npy(ARRAY.astype(complex)), "found type complex128"),
    (npy(ARRAY.astype(str)), "found type <U21"),
    (npy(ARRAY.astype(bool)), "found type bool"),
    (npy(ARRAY[0]), r"found shape \(2, 2\)"),
    (npy(ARRAY[None, None]), r"found shape \(1, 1, 2, 2, 2\)"),
    (npy(np.zeros((3, 2, 2))), r"found shape \(3, 2, 2\)"),
    (npy(np.zeros((2, 0, 2))), r"found shape \(2, 0, 2\)"),
    (npy(ARRAY + 0.5), r"index \(0, 0, 0\): found 0.5"),
    (npy(np.where(ARRAY == 6, np.nan, ARRAY)), r"index \(1, 1, 1\): found nan"),
    (npy(np.where(ARRAY == 6, np.inf, ARRAY)), r"index \(1, 1, 1\): found inf"),
    (npy(np.where(ARRAY == 6, 2**40, ARRAY)), r"index \(1, 1, 1\): found 1099511627776"),
    (npy(np.where(ARRAY == 6, -6, ARRAY)), "duration of job 1 operation 1: found -6"),
    (npy(ARRAY[::-1]), "machine of job 0 operation 0: found 3|expected a machine"),
    (npy(ARRAY * 0), "machine of job 0 operation 1: found machine 0 a second time"),
    (npy(np.stack([ARRAY, ARRAY * 0])), "instance 1, machine of job 0 operation 1"),
    (npz(a=ARRAY, b=ARRAY), "found 2 arrays"),
    (npz(a=ARRAY)[:-30], "damaged archive"),
    (b"PK\x03\x04", "damaged archive"),
]


@pytest.mark.parametrize(
    ("data", "place"), WRONG_BYTES, ids=[f"bytes{i}" for i in range(len(WRONG_BYTES))]
)
def test_wrong_bytes_are_refused_at_their_place(tmp_path, data, place):
    path = put(tmp_path, data, "shop.dat")
    with pytest.raises(InstanceFormatError, match=place) as caught:
        load_all(path, order="machines_first")
    assert str(path) in str(caught.value)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(parsers.MAX_BYTES + 1))
    path = put(tmp_path, stream.getvalue(), "bomb.npz")
    assert path.stat().st_size < 10**6
    with pytest.raises(InstanceFormatError, match=r"bomb.npz: found more than"):
        load(path, order="machines_first")


def test_a_pickle_in_an_array_is_never_run(tmp_path):
    class Mischief:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = put(tmp_path, npy(np.array([[[Mischief()]], [[1]]]), allow_pickle=True), "a.npy")
    with pytest.raises(InstanceFormatError, match="found type object"):
        load(path, order="machines_first")
    assert not (tmp_path / "ran").exists()


def test_paths_that_are_no_files(tmp_path):
    put(tmp_path, SQUARE, "la01.txt")
    with pytest.raises(
        InstanceFormatError, match=r"la1.txt: found no such file; did you mean la01"
    ):
        load(tmp_path / "la1.txt")
    with pytest.raises(InstanceFormatError, match=r"no such file.*cannot be read either"):
        load(tmp_path / "nowhere" / "la01.txt")
    with pytest.raises(InstanceFormatError, match="found a directory"):
        load(tmp_path)
    with pytest.raises(InstanceFormatError, match="cannot be read"):
        load("a\0b")
    with pytest.raises(InstanceFormatError, match="cannot be read"):
        load("x" * 5000)
    with pytest.raises(InstanceFormatError, match="device or pipe"):
        load(os.devnull)
    with pytest.raises(ParameterError, match="path: found int"):
        load(3)


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(parsers.MAX_BYTES + 1)
    with pytest.raises(InstanceFormatError, match=r"large.txt: found \d+ bytes"):
        load(path)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "xml"},
        {"format": None},
        {"base": 2},
        {"base": True},
        {"base": "one"},
        {"order": "machines"},
    ],
)
def test_wrong_options(tmp_path, options):
    with pytest.raises(ParameterError, match=f"{next(iter(options))}: found"):
        load(put(tmp_path, SQUARE), **options)


def test_json_counts_from_0():
    with pytest.raises(ParameterError, match="base: found 1"):
        loads(toy_swap().to_json(), base=1)
    with pytest.raises(ParameterError, match="text: found bytes"):
        loads(b"2 2")
    with pytest.raises(InstanceFormatError, match="found text, expected a numpy array"):
        loads(SQUARE, format="numpy")


# --- writing ---


def test_formats_that_cannot_hold_an_instance(tmp_path):
    late = Instance.from_jobs([[(0, 1)]], release=[4])
    short = Instance.from_jobs([[(0, 1)], [(1, 1), (0, 1)]])
    for form in ("standard", "taillard", "taillard_machines_first"):
        with pytest.raises(ParameterError, match="release"):
            dumps(late, form)
        with pytest.raises(ParameterError, match="one operation per machine"):
            dumps(short, form)
    with pytest.raises(ParameterError, match="release"):
        write(late, tmp_path / "a.npy", order="machines_first")
    with pytest.raises(ParameterError, match="order: found None"):
        write(toy_swap(), tmp_path / "a.npy")
    for form in ("slim", "numpy", "xml"):
        with pytest.raises(ParameterError, match="format: found"):
            dumps(toy_swap(), form)
    assert list(tmp_path.iterdir()) == []
    assert loads(dumps(late, "json")) == late


def test_ending_decides_the_format(tmp_path):
    write(toy_swap(), tmp_path / "a.json")
    write(toy_swap(), tmp_path / "a.txt")
    assert (tmp_path / "a.json").read_text() == toy_swap().to_json()
    assert (tmp_path / "a.txt").read_text() == dumps(toy_swap(), "standard")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = put(tmp_path, "old")

    def fail(source, target):
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DispatchGymError, match="cannot be written: no"):
        write(toy_swap(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_targets_that_cannot_be_written(tmp_path):
    for target in (tmp_path, "", "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(DispatchGymError, match="cannot be written"):
            write(toy_swap(), target)
    assert list(tmp_path.iterdir()) == []
