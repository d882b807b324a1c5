"""Training of fleets: days replayed as planned, settings refused, whole runs."""

import gymnasium as gym
import numpy as np
import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from dispatchgym.agents.checkpoints import read_checkpoint
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.problems.uam.teacher import DayTeacher, IndexTeacher
from dispatchgym.agents.training import Trainer
from dispatchgym.configs.schemas import register_schemas
from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.uam import kernel

ID = "dispatchgym:dispatchgym/UAMFleet-v0"
SCENARIO = "uam-4x12-storm"
CANCELLED = 9
"""Column of the decisions of a schedule."""

SMALL = (
    "env=uam",
    "env.scenario=uam-3x5",
    "model.hidden=16",
    "model.layers=1",
    "agent.num_envs=4",
    "agent.n_steps=16",
    "agent.batch_size=32",
    "agent.n_epochs=1",
    "agent.imitation.num_envs=4",
    "agent.imitation.instances=2",
    "agent.imitation.batch_size=16",
    "held_out.seeds=4",
    "held_out.times=4",
    "held_out.table=false",
    "budget.seconds=null",
    "budget.steps=200",
)


def small_config(tmp_path, *overrides):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", *overrides])
    return OmegaConf.to_object(composed)


def silent(phase, share, seconds, scores):
    assert 0.0 <= share <= 1.0


@pytest.fixture(scope="module")
def teacher():
    return DayTeacher("local_search", SCENARIO, 3)


@pytest.fixture
def vec():
    made = gym.make_vec(
        ID,
        num_envs=4,
        vectorization_mode="vector_entry_point",
        scenario=SCENARIO,
        autoreset_mode="SameStep",
        copy=False,
        invalid_action="raise",
    ).unwrapped
    made.reset(seed=1 << 61)
    return made


def test_values_are_the_rewards_that_come_on_the_planned_day(teacher, vec):
    promised, earned, schedules = [], [], {}
    while len(schedules) < vec.num_envs:
        costs, value = teacher.label(vec)
        assert ((costs == 0).sum(axis=1) == 1).all()
        assert (np.isfinite(costs) == vec.action_masks()).all()
        promised.append(value)
        _, reward, ended, _, infos = vec.step(costs.argmin(axis=1))
        earned.append(reward)
        for row in np.flatnonzero(ended):
            schedules.setdefault(row, (len(earned), infos["final_info"]["schedule"]))
    cancelled = 0
    for row, (end, schedule) in schedules.items():
        to_come = np.cumsum(np.array(earned)[:end, row][::-1])[::-1]
        np.testing.assert_allclose(np.array(promised)[:end, row], to_come, atol=1e-12)
        assert schedule["seed"][row] in teacher.days
        cancelled += (schedule["decisions"][row][:, CANCELLED] == 1).sum()
    assert cancelled, "no failure was met: choose other days"


def test_a_row_that_strays_begins_a_planned_day(teacher, vec):
    for _ in range(4):
        vec.step(teacher.act(vec))
    assert (decisions_of(vec) == 4).all()
    actions = teacher.act(vec)
    legal = np.flatnonzero(vec.action_masks()[1])
    actions[1] = legal[legal != actions[1]][0]
    before = seeds_of(vec)
    vec.step(actions)
    followed = teacher.act(vec)
    np.testing.assert_array_equal(decisions_of(vec), [5, 0, 5, 5])
    np.testing.assert_array_equal(np.delete(seeds_of(vec), 1), np.delete(before, 1))
    planned = [teacher.days[int(seed)].actions for seed in seeds_of(vec)]
    assert followed.tolist() == [planned[0][5], planned[1][0], planned[2][5], planned[3][5]]


def seeds_of(vec):
    return vec.simulation.state.scalar[:, kernel.SEED].copy()


def decisions_of(vec):
    return vec.simulation.state.scalar[:, kernel.DECISIONS].copy()


def test_the_seed_chooses_the_days():
    one, same, other = (DayTeacher("local_search", "uam-3x2", 2, seed) for seed in (1, 1, 2))
    assert list(one.days) == list(same.days)
    assert not set(one.days) & set(other.days)


def test_what_a_teacher_cannot_do_is_refused():
    with pytest.raises(ParameterError, match="instances: found 0"):
        DayTeacher("mpc", "uam-3x4", 0)
    with pytest.raises(ScenarioError, match="uam-nowhere"):
        DayTeacher("mpc", "uam-nowhere", 1)


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("env.reward=terminal", "env.reward"),
        ("agent.imitation.teacher=mpc", "student_from"),
        ("agent.imitation.checkpoint=uam/ppo", "expected 'uam_index'"),
        ("agent.imitation.teacher=nobody", "nobody"),
        ("held_out.level=3", "levels"),
    ],
)
def test_settings_without_meaning_are_refused(tmp_path, override, name):
    with pytest.raises(ParameterError, match=name):
        Trainer(small_config(tmp_path, override), None, silent).run()


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["agent.imitation.teacher=mpc", "agent.imitation.student_from=inf"],
        ["agent.imitation.teacher=greedy_rate", "model=uam_gcn"],
        ["agent.imitation.teacher=none", "model=uam_transformer"],
    ],
)
def test_a_run_goes_through_its_phases(tmp_path, changes):
    pytest.importorskip("highspy")
    trainer = Trainer(small_config(tmp_path, *changes), None, silent)
    trainer.run()
    phases = {record["phase"] for record in trainer.folder.history}
    with_teacher = "agent.imitation.teacher=none" not in changes
    assert phases == ({"imitation", "ppo"} if with_teacher else {"ppo"})
    assert all(record["gap"] > 0 for record in trainer.folder.history)
    instance, episode = trainer.held_out.first_episode(trainer._policy())
    report = trainer.problem.validate(instance, episode.schedule)
    assert report.valid
    assert report.objective == episode.objective


def test_an_index_policy_is_bred_and_resumed(tmp_path):
    changes = ["agent=index", "model=uam_index", "model.hidden=3", "agent.pairs=3"]
    changes += [
        "agent.scenarios=[uam-3x5,uam-4x6]",
        "agent.episodes=[2,2]",
        "held_out.seeds=4",
        "held_out.times=2",
    ]
    only = [o for o in SMALL if not o.startswith(("agent.", "model."))]
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", [*only, *changes, "budget.steps=2000", f"runs={tmp_path}"])
    config = OmegaConf.to_object(composed)
    first = Trainer(config, None, silent)
    first.run()
    assert {record["phase"] for record in first.folder.history} == {"evolution"}
    assert first.progress.decisions >= 2000
    weights = read_checkpoint(first.folder.checkpoint("last")).weights
    assert weights["direct.weight"].abs().sum() != 1.0
    config.budget.steps = 12000
    again = Trainer(config, first.folder, silent)
    assert again.progress.decisions == first.progress.decisions
    again.run()
    assert again.progress.updates > first.progress.updates


def test_problems_without_an_index_policy_say_so(tmp_path):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose(
            "train", ["env=edge_dag_plan", "env.reward=scalar", "agent=index", f"runs={tmp_path}"]
        )
    with pytest.raises(ParameterError, match="env=edge_dag_plan has none"):
        Trainer(OmegaConf.to_object(composed), None, silent).run()


def test_other_networks_are_not_bred(tmp_path):
    register_schemas()
    with initialize_config_module("dispatchgym.configs", version_base="1.3"):
        composed = compose("train", ["env=uam", "agent=index", f"runs={tmp_path}"])
    with pytest.raises(ParameterError, match="model: found 'uam', agent=index trains 'uam_index'"):
        Trainer(OmegaConf.to_object(composed), None, silent).run()


class TestIndexTeacher:
    def test_it_says_what_the_index_policy_does_and_earns(self):
        teacher = IndexTeacher(Policy.load("uam/index"))
        vec = gym.make_vec(
            ID, num_envs=4, vectorization_mode="vector_entry_point", scenario=SCENARIO
        ).unwrapped
        observation, _ = vec.reset(seed=9)
        for _ in range(12):
            costs, to_come = teacher.label(vec)
            assert (teacher.act(vec) == costs.argmin(axis=1)).all()
            assert (np.isinf(costs) == (observation["action_mask"] == 0)).all()
            assert (costs.min(axis=1) == 0).all()
            observation, *_ = vec.step(teacher.act(vec))
        assert (to_come != 0).any()


@pytest.mark.slow
def test_a_short_run_comes_nearer_to_the_greedy_rule_than_to_chance(tmp_path):
    changes = ["env.scenario=uam-4x10", "agent.imitation.teacher=greedy_rate"]
    changes += ["budget.steps=12000", "agent.imitation.reuse=8", "held_out.seeds=16"]
    trainer = Trainer(small_config(tmp_path, *changes), None, silent)
    by_chance, greedy = (
        np.mean([episode.objective for episode in trainer.held_out.arena.run_rule(rule)])
        for rule in ("random", "greedy_rate")
    )
    untrained = trainer.evaluate_now()["objective"]
    trainer.run()
    reached = trainer.folder.history[-1]["objective"]
    assert reached > max((by_chance + greedy) / 2, untrained)
