"""What a user may give to the environment: scenarios, options, mistakes."""

import gymnasium as gym
import numpy as np
import pytest

from dispatchgym.envs.core import testing
from dispatchgym.envs.core.errors import (
    DispatchGymError,
    InvalidActionError,
    ParameterError,
    ScenarioError,
)
from dispatchgym.envs.vm_rescheduling import Instance, make_instance, validate, write
from dispatchgym.envs.vm_rescheduling.env import VMReschedulingEnv, VMReschedulingVectorEnv


class Growing:
    """A generator of a user's own: the seed decides the size, sets are of racks."""

    max_pms, max_vms, max_migrations = 9, 200, 20

    def generate(self, seed):
        instance = make_instance(f"random_{6 + seed % 4}", seed)
        sets = np.arange(instance.num_vms) // 3
        rack = np.arange(instance.num_pms) // 2
        sets[sets > 8] = -1
        return instance.replace(
            affinity=sets, affinity_rack=np.arange(9) % 2 == 0, rack=rack, within_cluster=True
        )


@pytest.mark.parametrize("scenario", ["S", "S-AA", "S-MR", "random_4-9", "toy"])
@pytest.mark.parametrize("seed", [0, 6000])
def test_the_seed_gives_the_instance_of_make_instance(scenario, seed):
    env = VMReschedulingEnv(scenario=scenario)
    env.reset(seed=seed)
    assert env.instance == make_instance(scenario, seed)


def test_later_episodes_are_other_instances_with_large_seeds():
    vec = VMReschedulingVectorEnv(2, autoreset_mode="SameStep")
    vec.reset(seed=0)
    first = vec.instances
    for _ in range(20):
        vec.step(vec.rule_action("random"))
    for row, instance in enumerate(vec.instances):
        assert instance != first[row]
        seed = int(instance.name.rpartition("seed")[2])
        assert seed >= 2**62
        assert instance == make_instance("S", seed)


def test_a_snapshot_brings_its_instance_back():
    vec = VMReschedulingVectorEnv(2, autoreset_mode="SameStep")
    vec.reset(seed=0)
    saved, instances = vec.get_state(), vec.instances
    vec.reset(seed=5)
    assert vec.instances != instances
    vec.set_state(saved)
    assert vec.instances == instances
    vec.copy_lane(0, 1)
    assert vec.instances == [instances[0]] * 2
    for _ in range(20):
        *_, infos = vec.step(vec.rule_action("random"))
    assert validate(instances[0], {"moves": infos["final_info"]["schedule"]["moves"][1]}).valid
    following = [make_instance("S", int(i.name.rpartition("seed")[2])) for i in vec.instances]
    assert vec.instances == following
    assert following[0] == following[1]


def test_no_instance_before_the_first_episode():
    with pytest.raises(ParameterError, match="no episode has begun"):
        _ = VMReschedulingEnv().instance


def test_a_generator_of_ones_own():
    env = VMReschedulingEnv(scenario=Growing())
    for seed in range(5):
        env.reset(seed=seed)
        assert env.instance == Growing().generate(seed)
        ended = False
        while not ended:
            *_, ended, _, info = env.step(env.rule_action("random"))
        assert validate(env.instance, info["schedule"]).valid
    testing.check_vector_environment(
        lambda **kwargs: VMReschedulingVectorEnv(scenario=Growing(), **kwargs),
        lambda: VMReschedulingEnv(scenario=Growing()),
        steps=60,
    )


def test_a_file(tmp_path):
    path = tmp_path / "mine.json"
    write(make_instance("S", 1), path)
    for scenario in (path, str(path)):
        env = VMReschedulingEnv(scenario=scenario)
        env.reset(seed=0)
        assert env.instance == make_instance("S", 1)


@pytest.mark.parametrize("scenario", ["S", "toy", Growing()], ids=["S", "toy", "own"])
def test_limit_and_objective_can_be_replaced(scenario):
    env = VMReschedulingEnv(scenario=scenario, migration_limit=3, objective={"chunk": 8})
    env.reset(seed=0)
    assert env.instance.migration_limit == 3
    assert env.instance.objective.terms[0].chunk == 8
    ended = False
    while not ended:
        *_, ended, _, info = env.step(env.rule_action("random"))
    assert info["migrations"] <= 3
    assert validate(env.instance, info["schedule"]).objective == pytest.approx(info["objective"])


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"scenario": "XL"}, "scenario: found 'XL'"),
        ({"scenario": "no/such/file.json"}, "no/such/file.json"),
        ({"scenario": 7}, "scenario: found int"),
        ({"action_mode": "both"}, "action_mode: found 'both'"),
        ({"numa_rule": "worst"}, "numa_rule: found 'worst'"),
        ({"observation": "pixels"}, "observation: found 'pixels'"),
        ({"objective": "profit"}, "objective: found 'profit'"),
        ({"objective": {"kind": "goal", "goal": 2}}, "objective goal: found 2"),
        ({"migration_limit": -1}, "migration_limit: found -1"),
        ({"migration_limit": True}, "migration_limit: found True"),
        ({"reward_scale": 0.0}, "reward_scale: found 0.0"),
        ({"reward_scale": float("nan")}, "reward_scale: found nan"),
        ({"invalid_action": "shrug"}, "invalid_action: found 'shrug'"),
        ({"scenario": "M", "action_mode": "flat"}, "expected at most 200000"),
    ],
    ids=str,
)
def test_mistakes_are_named(kwargs, words):
    with pytest.raises(DispatchGymError) as error:
        VMReschedulingEnv(**kwargs)
    assert words in str(error.value)


def test_an_unknown_scenario_is_a_scenario_error():
    with pytest.raises(ScenarioError):
        gym.make("dispatchgym:dispatchgym/VMRescheduling-v0", scenario="XXL")


def test_a_generator_without_sizes():
    class Sizeless:
        def generate(self, seed):
            return make_instance("toy", 0)

    with pytest.raises(ParameterError, match="max_pms, max_vms and max_migrations"):
        VMReschedulingEnv(scenario=Sizeless())


def test_an_illegal_pair_is_named():
    env = VMReschedulingEnv(scenario="toy", action_mode="joint", invalid_action="raise")
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match=r"\(VM 1 to PM 0\) is illegal.*action_masks_vm"):
        env.step(np.array([1, 0]))
    with pytest.raises(ParameterError, match=r"expected integers of shape \(1, 2\)"):
        env.step(3)


def test_two_step_shows_what_the_chosen_vm_would_gain():
    """The toy: 8 cores free on every node; an 8-core VM leaves 16 behind and fills another."""
    env = VMReschedulingEnv(scenario="toy", numa_rule="explicit")
    observation, _ = env.reset(seed=0)
    assert observation["chosen_vm"].tolist() == [-1]
    assert observation["gain_out"].tolist() == [0.5, 0.25] * 4
    assert not observation["fits"].any()
    observation, reward, *_ = env.step(0)
    assert reward == 0.0
    assert observation["chosen_vm"].tolist() == [0]
    assert observation["fits"].tolist() == [[0, 1], [1, 1]]
    assert observation["gain_in"].tolist() == [[0.0, 0.5], [0.5, 0.5]]
    assert observation["action_mask"].tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0]
    observation, reward, *_ = env.step(3)
    assert reward == 16 / 128
    assert observation["vm_pm"][0] == 1
    assert observation["vm_numa"][0] == 1
    assert observation["steps_left"].tolist() == [0.5, 0.5]


def _one_machine(**changes):
    return Instance(
        name="one",
        pm_cpu=np.array([[20, 20]]),
        pm_memory=np.array([[50, 50]]),
        vm_cpu=np.array([4, 20]),
        vm_memory=np.array([4, 4]),
        vm_numa=np.array([1, 2]),
        vm_pm=np.array([0, 0]),
        vm_node=np.array([0, 2]),
        **changes,
    )


def test_a_flip_is_the_own_machine_as_destination():
    for rule in ("best", "first", "keep"):
        env = VMReschedulingEnv(scenario=_one_machine(), numa_rule=rule, action_mode="joint")
        env.reset(seed=0)
        assert env.action_masks_vm().tolist() == [True, False]
        observation, *_ = env.step(np.array([0, 0]))
        assert observation["vm_numa"].tolist() == [1, 2]


def test_staying_uses_up_a_step_and_moves_nothing():
    arguments = {"scenario": _one_machine(migration_limit=2), "allow_stay": True}
    env = VMReschedulingEnv(**arguments, numa_rule="keep", action_mode="joint")
    env.reset(seed=0)
    for expected in (False, True):
        observation, reward, ended, _, info = env.step(np.array([1, 0]))
        assert reward == 0.0
        assert ended is expected
    assert observation["vm_numa"].tolist() == [0, 2]
    assert info["migrations"] == 0
    assert info["schedule"]["moves"].shape == (0, 3)


@pytest.mark.parametrize("action_mode", ["two_step", "joint", "flat"])
@pytest.mark.parametrize(
    "changes",
    [
        {"movable": np.array([False, False])},
        {"migration_limit": 0},
        {"objective": {"kind": "goal", "goal": 1.0}},
    ],
    ids=["immovable", "no migrations", "goal reached"],
)
def test_where_nothing_can_be_done_one_action_ends_the_episode(action_mode, changes):
    instance = _one_machine().replace(**changes)
    env = VMReschedulingEnv(
        scenario=instance, action_mode=action_mode, allow_stop=False, invalid_action="raise"
    )
    observation, _ = env.reset(seed=0)
    legal = np.flatnonzero(observation["action_mask"])
    assert legal.size == (2 if action_mode == "joint" else 1)
    action = np.array([0, 0]) if action_mode == "joint" else int(legal[0])
    np.testing.assert_array_equal(env.rule_action("ha"), action)
    _, reward, ended, _, info = env.step(action)
    assert ended
    assert reward == 0.0
    assert info["objective"] == instance.initial_objective


def test_without_stop_the_rules_go_on():
    env = VMReschedulingEnv(allow_stop=False)
    stopping = VMReschedulingEnv()
    migrations = []
    for each in (env, stopping):
        each.reset(seed=0)
        ended = False
        while not ended:
            *_, ended, _, info = each.step(each.rule_action("ha"))
        migrations.append(info["migrations"])
    assert migrations[0] == env.instance.migration_limit > migrations[1]


def test_a_goal_costs_its_migrations():
    for goal, reached in ((0.45, True), (0.0, False)):
        env = VMReschedulingEnv(objective={"kind": "goal", "goal": goal})
        env.reset(seed=0)
        total, ended = 0.0, False
        while not ended:
            _, reward, ended, _, info = env.step(env.rule_action("greedy_joint"))
            total += reward
        assert (info["fragment_rate"] <= goal) is reached
        assert info["objective"] == (info["migrations"] if reached else 11)
        assert total == pytest.approx(-info["objective"] / 10)
        assert validate(env.instance, info["schedule"]).objective == info["objective"]


@pytest.mark.parametrize("observation", ["graph", "vmr2l"])
def test_padding_does_not_change_the_observation(observation):
    """An instance shows the same rows alone and among larger ones."""
    small = make_instance("random_4", 4)

    class Padded:
        max_pms, max_vms, max_migrations = 9, 100, 20

        def generate(self, seed):
            return small

    alone = VMReschedulingEnv(scenario=small, observation=observation, action_mode="joint")
    padded = VMReschedulingEnv(scenario=Padded(), observation=observation, action_mode="joint")
    one, other = alone.reset(seed=0)[0], padded.reset(seed=0)[0]
    for _ in range(4):
        for key in set(one) - {"action_mask"}:
            np.testing.assert_array_equal(other[key][: len(one[key])], one[key], err_msg=key)
        np.testing.assert_array_equal(
            padded.action_masks_vm()[: small.num_vms], alone.action_masks_vm()
        )
        action = alone.rule_action("greedy_joint")
        one, *_ = alone.step(action)
        other, *_ = padded.step(action)
    assert not other["vm_mask"][small.num_vms :].any()
    assert (other["vm_pm"][small.num_vms :] == -1).all()


def test_the_published_columns_stay_right_after_steps():
    """Every value of the preset from its definition, on a snapshot's machines (88 cores)."""
    env = VMReschedulingEnv(observation="vmr2l")
    observation, _ = env.reset(seed=2)
    for _ in range(8):
        observation, *_ = env.step(env.rule_action("random"))
    instance = env.instance
    pm, node = instance.vm_pm.copy(), instance.vm_node.copy()
    for vm, new_pm, new_node in env.simulation.schedule(0)["moves"]:
        pm[vm], node[vm] = new_pm, new_node
    assert not np.array_equal(pm, instance.vm_pm)
    cpu, memory = instance.free(pm, node)
    rest = cpu % 16
    expected = np.column_stack(
        [cpu / 88, memory / 368776, *((rest / np.maximum(cpu, 1))[:, k] if part == 0
         else rest[:, k] / 16 for k in (0, 1) for part in (0, 1))]
    )  # fmt: skip
    np.testing.assert_allclose(observation["pm"], expected, rtol=1e-6)
    here = np.stack([(node == k) | (node == 2) for k in (0, 1)], axis=1)
    share, memory_share = instance.vm_share_cpu[:, None], instance.vm_share_memory[:, None]
    columns = [here * share / 88, here * memory_share / 368776, here * (share % 16) / 16]
    rows = observation["vm"][: instance.num_vms]
    np.testing.assert_allclose(rows[:, :6], np.hstack(columns), rtol=1e-6)
    np.testing.assert_array_equal(rows[:, 6:], observation["pm"][pm])
    assert observation["num_steps"].tolist() == pytest.approx([0.4])
    assert observation["num_vms"].tolist() == [instance.num_vms]
