"""Pictures show what happened; what cannot be drawn is refused by name."""

import numpy as np
import pytest
from edge_offloading.cases import small

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import make_instance, render
from dispatchgym.envs.edge_offloading.env import EdgeOffloadingEnv


def finished(scenario, seed=0):
    env = EdgeOffloadingEnv(scenario=scenario)
    env.reset(seed=seed)
    ended = False
    while not ended:
        *_, ended, _, info = env.step(env.rule_action("greedy_omega"))
    return env, info["schedule"]


def test_text_tells_what_is_where():
    env = EdgeOffloadingEnv(scenario=small(), render_mode="ansi")
    env.reset(seed=0)
    env.step(0)  # 0.5 s of radio and 1 s in the cloud
    env.step(1)  # 1 s of radio and 4 s at the edge
    lines = env.render().splitlines()
    assert "3.0 s  2 tasks sent, 1 waiting  delay 1.5 s" in lines[1]
    assert lines[3].split()[:5] == ["cloud", "4.00", "0", "0", "1"]
    assert lines[4].split() == ["edge", "1", "2.00", "1", "0", "1", "#"]


@pytest.mark.parametrize("scenario", ["gmorl", "gmorl_hard-e10"])
def test_text_fits_into_80_columns(scenario):
    env = EdgeOffloadingEnv(scenario=scenario, render_mode="ansi")
    env.reset(seed=0)
    for _ in range(40):
        assert max(map(len, env.render().splitlines())) <= 80
        env.step(0)


def test_pictures_are_written(tmp_path):
    env, schedule = finished("gmorl_radio-e6")
    figure = render.timelines(env.instance, schedule, tmp_path / "a.png", title="six")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len(figure.axes) == 8
    assert figure.get_suptitle() == "six"


def test_the_picture_grows_with_the_episode():
    env = EdgeOffloadingEnv(scenario="gmorl-e2", render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(20):
        env.step(0)
    second = env.render()
    assert first.dtype == np.uint8
    assert first.shape == second.shape
    assert (first != second).any()


def test_mistakes_are_named(tmp_path):
    instance = make_instance("gmorl-e6", 1)
    _, schedule = finished(instance)
    with pytest.raises(ParameterError, match=r"ends in \.png"):
        render.timelines(instance, schedule, tmp_path / "a.txt")
    with pytest.raises(ParameterError, match="found no 'server'"):
        render.timelines(instance, {})
    with pytest.raises(ParameterError, match="expected those of"):
        render.ansi(small(), schedule)
