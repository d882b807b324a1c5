"""The commands that measure: what they write, and the arithmetic in it."""

import json
import os
import subprocess
import sys

import pytest

from dispatchgym._pages import Page, begin_numbers, made_by, table
from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.speed_book import exponent

PAGE = """# Speed
before
<!-- measured speed: begin -->
old numbers
<!-- measured speed: end -->
<!-- measured training: begin -->
other numbers
<!-- measured training: end -->
after
"""


def run(folder, module, *overrides):
    return subprocess.run(
        [sys.executable, "-m", module, *overrides],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_the_exponent_of_a_power_law_is_found():
    sizes = [5, 10, 20, 80]
    assert exponent(sizes, [3.0 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert exponent(sizes, [7.0] * 4) == pytest.approx(0.0)


def test_a_command_writes_its_own_part_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    Page(path, "speed").write("new numbers")
    assert path.read_text() == PAGE.replace("old numbers", "new numbers")


@pytest.mark.parametrize("text", ["# Speed\n", PAGE.replace("speed: end", "sped: end")])
def test_a_page_without_its_part_is_refused(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(ParameterError, match="has no lines <!-- measured speed: begin"):
        Page(path, "speed")
    with pytest.raises(ParameterError, match="cannot be read"):
        Page(tmp_path / "missing.md", "speed")


def test_tables_have_a_line_under_the_heading():
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_numbers_that_are_not_measured_anew_are_kept_with_their_command(tmp_path):
    path = str(tmp_path / "numbers.json")
    first, second = ({"command": name, "date": f"2026-01-0{name}T00:00"} for name in "12")
    found = begin_numbers(path, False, first)
    assert made_by(found) == "`1` (2026-01-01)"
    found["problems"] = {"uam": 1, "soc": 2}
    (tmp_path / "numbers.json").write_text(json.dumps(found))
    renewed = begin_numbers(path, True, second)
    assert renewed["problems"] == {"uam": 1, "soc": 2}
    assert made_by(renewed) == "`2` (2026-01-02); the others by `1` (2026-01-01)"
    with pytest.raises(ParameterError, match="no numbers to be kept"):
        begin_numbers(str(tmp_path / "missing.json"), True, second)


@pytest.mark.slow
def test_the_speed_book_writes_numbers_page_and_pictures(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    done = run(
        tmp_path,
        "dispatchgym.speed_book",
        "problems=[job_shop]",
        "batches=[1,8]",
        "threads=[1]",
        "seconds=0.02",
        "repeats=1",
        "compile=false",
        "page=page.md",
    )
    assert done.returncode == 0, done.stderr
    book = json.loads((tmp_path / "speed.json").read_text())["problems"]["job_shop"]
    assert [batch["num_envs"] for batch in book["batches"]] == [1, 8]
    for batch in book["batches"]:
        assert batch["ns_a_decision"] == pytest.approx(1e9 / batch["steps_per_second"])
    assert book["single_steps_per_second"] > 0
    assert book["start"]["bytes_per_lane"] > book["batches"][0]["observation_bytes"]
    assert set(book["growth"]) == {"jobs", "machines"}
    page = (tmp_path / "page.md").read_text()
    assert "old numbers" not in page and "other numbers" in page and "| job_shop" in page
    assert (tmp_path / "speed_batches.png").exists() and (tmp_path / "speed_growth.png").exists()


@pytest.mark.slow
def test_throughput_tells_where_the_time_of_a_training_goes(tmp_path):
    done = run(
        tmp_path,
        "dispatchgym.throughput",
        "problems=[job_shop]",
        "agents=[ppo]",
        "seconds=20",
        "samples=16384",
        "n_epochs=[1]",
        "threads=1",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "throughput.json").read_text())["problems"]["job_shop"]
    shares = found["agents"]["ppo"]["shares"]
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["environment"] > 0 and shares["learning"] > shares["environment"]
    assert set(found["dummy"]["1"]) == {"dummy_64", "batch_64", "batch_1024"}


def test_too_few_samples_are_refused(tmp_path):
    done = run(tmp_path, "dispatchgym.throughput", "samples=100")
    assert done.returncode == 2
    assert done.stderr == "error: samples: found 100, expected at least 16384\n"
