import matplotlib.image
import numpy as np

from dispatchgym.agents.curves import draw_learning_curve, learning_curve

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
