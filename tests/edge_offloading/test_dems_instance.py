"""Instances of the deadline family: what is refused, names, files, pictures."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from edge_offloading.dems_cases import toy

from dispatchgym.envs import edge_offloading
from dispatchgym.envs.core.errors import InstanceError, ParameterError, ScenarioError
from dispatchgym.envs.edge_offloading import dems_render
from dispatchgym.envs.edge_offloading.dems_generators import DeadlineGenerator, find, names
from dispatchgym.envs.edge_offloading.parsers import dumps, loads

TASKS = [(0, 100, 400, 900, 10, 5), (500, 200, 400, 900, 10, 8)]
ENV = "dispatchgym:dispatchgym/EdgeOffloading-v0"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"models": ()}, "models: found"),
        ({"models": ("a", 5)}, r"models\[1\]: found 5"),
        ({"release": [5, 0]}, r"release\[1\]: found 0 after 5, expected no earlier time"),
        ({"release": []}, "release: found 0 tasks"),
        ({"release": [0, -1]}, r"release\[1\]: found -1"),
        ({"horizon": 400}, "horizon: found 400, expected at least the last release, 500"),
        ({"model": [0, 2]}, r"model\[1\]: found 2, expected an integer in 0..1"),
        ({"cloud_time": [400, 0]}, r"cloud_time\[1\]: found 0"),
        ({"cloud_time": [400]}, r"cloud_time: found shape \(1,\)"),
        ({"edge_time": [100, 0]}, r"edge_time\[1\]: found 0"),
        ({"deadline": [900.5, 900]}, "deadline: found float64, expected integers"),
        ({"benefit": [1.0, -1.0]}, r"benefit\[1\]: found -1"),
        ({"required": [0.5, 1.5]}, r"required\[1\]: found 1.5"),
        ({"kind": [1, 1]}, r"kind: found \[1, 1\], expected no number twice"),
        ({"slots": 0}, "slots: found 0"),
        ({"window": 0}, "window: found 0"),
        ({"surge": (0, 0, 100, 50)}, r"surge\[1\]: found 0, expected a ramp"),
        ({"surge": (0, 0, 100)}, r"surge: found shape \(3,\)"),
        ({"name": ""}, "name: found ''"),
    ],
)
def test_what_is_no_instance_is_refused(values, message):
    with pytest.raises(InstanceError, match=message):
        toy(TASKS, **values)


def test_instances_are_records():
    instance = find("dems-heavy-2-5s-variable").generate(3)
    copy = pickle.loads(pickle.dumps(instance))
    assert copy == instance
    assert hash(copy) == hash(instance)
    assert instance != find("dems-heavy-2-5s-variable").generate(4)
    with pytest.raises(ValueError, match="read-only"):
        instance.release[0] = 1
    assert loads(dumps(instance)) == instance


def test_a_generated_run():
    """Every drone sends each second, at its own phase, one task for each model."""
    instance = find("dems-heavy-3-20s").generate(0)
    assert instance.num_tasks == 20 * 3 * 6
    times = instance.release.reshape(20, 3, 6)
    assert (times == times[..., :1]).all()
    assert (np.diff(times, axis=0) == 1000).all()
    assert len(np.unique(times[0, :, 0])) == 3
    segments = instance.model.reshape(-1, 6)
    assert (np.sort(segments) == np.arange(6)).all()
    assert len({tuple(order) for order in segments.tolist()}) > 40
    assert instance.cloud_time.tolist() == instance.usual_cloud_time[instance.model].tolist()
    assert instance.surge == (0, 0, 0, 0)


def test_phases_are_even():
    phases = np.concatenate([find("dems-heavy-4-1s").generate(s).release[::6] for s in range(300)])
    counts = np.histogram(phases, bins=10, range=(0, 1000))[0]
    assert counts.sum() == 1200
    assert abs(counts - 120).max() < 40


def test_a_variable_network():
    instance = find("dems-heavy-4-variable").generate(1)
    ratio = instance.cloud_time / instance.usual_cloud_time[instance.model]
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)
    assert ratio.std() == pytest.approx(0.2, abs=0.02)
    start, ramp, length, height = instance.surge
    assert (ramp, length, height) == (25_000, 100_000, 400)
    assert 0 <= start <= 200_000


def test_names():
    for name in names():
        assert find(name) is not None
        assert name in edge_offloading.scenarios()
    drawn = {(len(i.models), i.drone.max()) for i in map(find("dems-5s").generate, range(60))}
    assert drawn == {(models, drones) for models in (2, 4, 6) for drones in (1, 2, 3)}
    assert find("dems-heavy-3-60s-variable") == DeadlineGenerator(
        ("heavy",), (3, 3), 60, True, "dems-heavy-3-60s-variable"
    )
    for name in ("dems-huge", "dems-heavy-0", "dems-heavy-21", "dems-heavy-3-4000s", "demss"):
        assert find(name) is None
        with pytest.raises(ScenarioError):
            edge_offloading.make_instance(name, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loads": ("huge",)}, "loads: found"),
        ({"loads": ()}, "loads: found"),
        ({"drones": (3, 2)}, r"drones: found \(3, 2\)"),
        ({"drones": (0, 2)}, r"drones: found \(0, 2\)"),
        ({"seconds": 0}, "seconds: found 0"),
    ],
)
def test_wrong_generators(values, message):
    with pytest.raises(ParameterError, match=message):
        DeadlineGenerator(**values)


def test_the_package_knows_the_family(tmp_path):
    instance = edge_offloading.make_instance("dems-medium-2-4s", 1)
    env = gym.make(ENV, scenario=instance, reward="scalar")
    env.reset(seed=0)
    ended = False
    while not ended:
        *_, ended, _, info = env.step(env.unwrapped.rule_action("dems"))
    report = edge_offloading.validate(instance, info["schedule"])
    assert report.valid
    assert report.objective.tolist() == info["objective"].tolist()
    path = tmp_path / "run.json"
    path.write_text(dumps(instance), encoding="utf-8")
    assert edge_offloading.load(path) == instance


# --- pictures --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture():
    env = gym.make(ENV, scenario="dems-heavy-3-9s", render_mode="ansi").unwrapped
    env.reset(seed=0)
    for _ in range(120):
        env.step(env.rule_action("dems"))
    return env.instance, env.simulation.schedule(0), env.render()


def test_text(picture):
    instance, schedule, text = picture
    assert text == dems_render.ansi(instance, schedule)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "120 of 162 tasks" in lines[0]
    counted = sum(int(part) for line in lines[2:8] for part in line[18:].split())
    assert counted == 120


def test_timelines(picture, tmp_path):
    instance, schedule, _ = picture
    frame = dems_render.frame(instance, schedule)
    assert frame.dtype == np.uint8
    assert frame.shape == (500, 900, 3)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 6
    figure = dems_render.timelines(instance, schedule, tmp_path / "run.svg", title="a run")
    assert "a run" in figure.axes[0].get_title()
    assert (tmp_path / "run.svg").read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(ParameterError, match="expected an ending"):
        dems_render.timelines(instance, schedule, tmp_path / "run.txt")
    with pytest.raises(ParameterError, match=r"schedule\['tasks'\]: found shape"):
        dems_render.ansi(instance, {"tasks": np.zeros((2, 3))})
