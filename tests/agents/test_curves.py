import matplotlib.image
import numpy as np

from dispatchgym.agents.curves import (
    alike,
    comparison,
    comparison_table,
    draw_learning_curve,
    learning_curve,
)

HISTORY = [
    {"phase": "imitation", "seconds": 0.0, "objective": 900.0, "best_rule": 800.0},
    {"phase": "imitation", "seconds": 60.0, "objective": 810.0, "best_rule": 800.0},
    {"phase": "ppo", "seconds": 120.0, "objective": 790.0, "best_rule": 800.0},
]


def test_the_curve_shows_every_evaluation_and_the_best_rule():
    axes = learning_curve(HISTORY, "makespan").axes[0]
    assert list(axes.lines[0].get_xdata()) == [0.0, 1.0, 2.0]
    assert list(axes.lines[0].get_ydata()) == [900.0, 810.0, 790.0]
    assert set(axes.lines[1].get_ydata()) == {800.0}
    shown = np.concatenate([points.get_offsets() for points in axes.collections])
    assert shown.shape == (3, 2)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["imitation", "PPO", "best rule"]


def test_the_picture_is_written_whole(tmp_path):
    path = draw_learning_curve(HISTORY, "makespan", tmp_path / "curve.png")
    assert matplotlib.image.imread(path).std() > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["curve.png"]


def test_runs_of_an_agent_share_a_line_and_a_band():
    def run(agent, offset):
        history = [
            {"decisions": 100.0 * i, "objective": 50.0 - i + offset, "best_rule": 40.0}
            for i in range(4)
        ]
        return {"agent": {"name": agent}}, history

    runs = [run("sac", 0.0), run("ppo", 5.0), run("sac", 2.0), run("sac", 1.0)]
    figure = comparison(runs, "delay")
    axes = figure.axes[0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["PPO, 1 seed", "SAC, 3 seeds", "best rule"]
    assert list(axes.lines[1].get_xdata()) == [0.0, 100.0, 200.0, 300.0]
    assert list(axes.lines[1].get_ydata()) == [51.0, 50.0, 49.0, 48.0]
    band = axes.collections[1].get_paths()[0].vertices[:, 1]
    assert band.min() == 47.0 and band.max() == 52.0


def test_runs_are_told_apart_by_what_they_share_with_other_values():
    def run(schedule, seed, last):
        end = {"decisions": 100.0, "objective": last, "vs_best_rule": last / 40 - 1}
        agent = {"name": "ppo", "learning_rate": {"schedule": schedule, "initial": 0.1}}
        return {"agent": agent, "seed": seed}, [end]

    text = comparison_table([run("rex", 0, 30.0), run("rex", 1, 34.0), run("linear", 0, 40.0)], "x")
    lines = [line.split() for line in text.splitlines()[3:]]
    assert lines == [
        ["schedule", "linear", "1", "100", "40", "40-40", "+0.0"],
        ["schedule", "rex", "2", "100", "32", "30-34", "-20.0"],
    ]


def test_runs_with_other_lists_or_without_a_limit_are_not_the_same():
    def run(steps, scenarios):
        agent = {"name": "index", "scenarios": scenarios}
        end = {"decisions": 100.0, "objective": 1.0, "vs_best_rule": 0.0}
        return {"agent": agent, "budget": {"steps": steps}}, [end]

    found = alike([run(None, ["a"]), run(1000, ["a"]), run(200, ["b"]), run(200, ["b"])])
    assert [len(histories) for histories in found.values()] == [1, 1, 2]
    assert next(iter(found)).endswith("steps 1000")
