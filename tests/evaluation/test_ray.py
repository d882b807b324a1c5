"""Evaluation over Ray workers: the same rows as here, and none lost with a worker."""

import dataclasses
import json
import os
import signal
import sys

import numpy as np
import pytest

from dispatchgym.agents.evaluation import Evaluation, Workers, evaluate
from dispatchgym.agents.provenance import finite
from dispatchgym.envs.core.errors import EvaluationError, ParameterError

pytestmark = pytest.mark.plugins

TIMES = ("seconds", "decision_ms_p50", "decision_ms_p99")
SCENARIOS = ["la01", "la02", "random_5x4"]


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def written(rows):
    """Everything but the times, as `out=` writes it."""
    records = [row.flat() for row in rows]
    kept = [{k: v for k, v in record.items() if k not in TIMES} for record in records]
    return json.dumps(finite(kept)).encode()


def test_two_workers_return_the_rows_of_a_local_run_to_the_byte(ray):
    settings = {"seeds": 6, "progress": False, "options": {"mode": "blocking"}}
    agents = ["rules", "ppo"]
    local = evaluate(agents, SCENARIOS, workers=Workers(block=2), **settings)
    spread = evaluate(agents, SCENARIOS, workers=Workers("ray", count=2, block=2), **settings)
    assert written(spread.rows) == written(local.rows)
    assert len(local.rows) == 3 * 6 * (len(local.rules) + 1)
    assert {row.agent for row in spread.rows} == {*local.rules, "ppo"}
    assert spread.times.keys() == local.times.keys()
    assert all(row.decision_ms_p50 > 0 for row in spread.rows)
    assert spread.sample.agent == local.sample.agent


@dataclasses.dataclass
class Mortal:
    """Takes the first legal action; kills its process as often as there are notes to remove."""

    notes: str
    name: str = "mortal"
    environment: dict = dataclasses.field(default_factory=dict)

    def act(self, vec, observation):
        if vec.num_envs == 3 and os.path.exists(self.notes):  # not in the warm-up, of 1 and 2 lanes
            os.remove(self.notes)
            os.kill(os.getpid(), signal.SIGKILL)
        return np.argmax(observation["action_mask"], axis=1)


def test_a_killed_worker_loses_no_row(ray, tmp_path):
    notes = tmp_path / "note"
    agent = Mortal(str(notes))
    local = evaluate(["spt", agent], SCENARIOS, 6, workers=Workers(block=3), progress=False)
    notes.touch()
    workers = Workers("ray", count=2, block=3)
    spread = evaluate(["spt", agent], SCENARIOS, 6, workers=workers, progress=False)
    assert not notes.exists()  # a worker has died
    assert written(spread.rows) == written(local.rows)


@dataclasses.dataclass
class Fatal(Mortal):
    """Kills every process it plays in."""

    name: str = "fatal"

    def act(self, vec, observation):
        if vec.num_envs == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.argmax(observation["action_mask"], axis=1)


def test_what_kills_every_worker_ends_in_words_and_keeps_what_is_finished(ray):
    evaluation = Evaluation([Fatal("")], ["la01"], [0, 1, 2, 3])  # blocks of 3 seeds and of 1
    with pytest.raises(EvaluationError, match="lost its worker 4 times"):
        evaluation.run(progress=False, workers=Workers("ray", count=1, block=3))
    assert not evaluation.result.complete


@dataclasses.dataclass
class Cheat(Mortal):
    """Fails with an error of the suite."""

    name: str = "cheat"

    def act(self, vec, observation):
        if vec.num_envs == 3:
            raise EvaluationError("cheat: no move")
        return np.argmax(observation["action_mask"], axis=1)


def test_an_error_of_a_worker_is_the_error_it_would_be_here(ray):
    with pytest.raises(EvaluationError, match=r"^cheat: no move$"):
        evaluate([Cheat("")], "la01", 3, workers=Workers("ray", count=1), progress=False)


def test_settings_of_workers_are_checked():
    with pytest.raises(ParameterError, match="workers: found 'slurm'"):
        Workers("slurm")
    with pytest.raises(ParameterError, match=r"workers\.block: found 0"):
        Workers(block=0)
