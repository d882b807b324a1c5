"""Every registered environment, in every mode and observation, keeps the suite's contract."""

import subprocess
import sys

import gymnasium as gym
import numba
import numpy as np
import pytest

from dispatchgym.envs.core import testing
from dispatchgym.envs.core.errors import InvalidActionError, ParameterError
from dispatchgym.envs.core.registry import ENVIRONMENTS

JOB_SHOP = [
    {"mode": mode, "observation": observation, **more}
    for observation in ("graph", "jobs", "instance")
    for mode, more in (
        ("classic", {}),
        ("classic", {"scheme": "sequence"}),
        ("classic", {"scheme": "active"}),
        ("blocking", {"allow_wait": "if_event", "wip_cap": 4}),
        ("blocking", {"swap": False}),
        ("interrupting", {"interrupts": {"probability": (0.1, 0.3)}, "auto_trivial": False}),
        ("interrupting", {"interrupts": {"kind": "calendar", "probability": 0.01}}),
    )
]
VM_RESCHEDULING = [
    {"action_mode": action_mode, "numa_rule": numa_rule, "observation": observation, **more}
    for action_mode, numa_rule, observation, more in (
        ("two_step", "best", "graph", {"scenario": "S"}),
        ("two_step", "explicit", "graph", {"scenario": "S-AA", "allow_stop": False}),
        ("two_step", "keep", "vmr2l", {"scenario": "random_4-9", "allow_stay": True}),
        ("two_step", "first", "graph", {"scenario": "S", "objective": "empty_pms"}),
        ("two_step", "best", "vmr2l", {"scenario": "S-MR", "migration_limit": 3}),
        ("two_step", "explicit", "graph", {"scenario": "toy_order", "allow_stop": False}),
        ("joint", "explicit", "graph", {"scenario": "S-AA"}),
        ("joint", "best", "vmr2l", {"scenario": "random_4-9", "allow_stay": True}),
        ("joint", "keep", "graph", {"scenario": "S", "objective": {"kind": "goal", "goal": 0.5}}),
        ("flat", "explicit", "vmr2l", {"scenario": "random_4-9"}),
        ("flat", "first", "graph", {"scenario": "S-MR", "allow_stop": False}),
    )
]
UAM_FLEET = [
    {"scenario": "uam-2-4x3-6-storm"},
    {"scenario": "uam-3-5x4-9-mixed", "reward": "terminal", "oracle_demand": True},
    {"scenario": "uam-tiny-3x4-exact"},
    {"scenario": "uam-lax2"},
]
EDGE_OFFLOADING = [
    {"scenario": "gmorl"},
    {"scenario": "gmorl_radio", "reward": "scalar", "preference": "grid"},
    {"scenario": "gmorl_hard-e6", "preference": "dirichlet", "reward_scale": "paper"},
    {"scenario": "gmorl+gmorl_hard", "idle_slots": "dummy", "marginals": False},
    {"scenario": "dag_online", "preference": "grid"},
    {"scenario": "dems-heavy-3-5s", "credit": "decision"},
    {"scenario": "dems-8s-variable", "discipline": "gems", "queue": "published_code"},
    {"scenario": "dems-medium-4s", "discipline": "edf", "reward": "scalar", "marginals": False},
]
EDGE_DAG_PLAN = [
    {"scenario": "drlto-n8-12"},
    {"scenario": "drlto-n10", "uplink_queue": "published_code", "order": "index"},
    {"scenario": "mrlco", "reward": "scalar", "preference": "grid"},
    {"scenario": "alibaba_plan-n5-9-m3", "preference": "dirichlet"},
]
SOC = [
    {"scenario": "top3-p5"},
    {"scenario": "top3-gen", "reward": "compbonus"},
    {"scenario": "top3-p5-noise30", "mode": "order_only"},
    {"scenario": "batch-top1-top2-top3", "mode": "map_only"},
    {"scenario": "top3-gen", "mode": "late_binding"},
    {"scenario": "single-wifi_tx-bal16", "mode": "late_binding", "reward": "compbonus"},
    {"scenario": "single-wifi_tx-bal16", "mode": "order_only"},
]
CASES = [
    *(
        ("dispatchgym/JobShop-v0", {"scenario": scenario, **kwargs})
        for kwargs in JOB_SHOP
        for scenario in ("ft06", "random_3-6x2-5", "reentrant_3-4x2-3")
    ),
    *(("dispatchgym/VMRescheduling-v0", kwargs) for kwargs in VM_RESCHEDULING),
    *(("dispatchgym/UAMFleet-v0", kwargs) for kwargs in UAM_FLEET),
    *(("dispatchgym/SoC-v0", kwargs) for kwargs in SOC),
    *(("dispatchgym/EdgeDagPlan-v0", kwargs) for kwargs in EDGE_DAG_PLAN),
    *(("dispatchgym/EdgeOffloading-v0", kwargs) for kwargs in EDGE_OFFLOADING),
]
IDS = [" ".join(str(value) for value in kwargs.values()) for _, kwargs in CASES]
RULES = {
    "dispatchgym/EdgeDagPlan-v0": "greedy_weighted",
    "dispatchgym/EdgeOffloading-v0": "greedy_omega",
    "dispatchgym/JobShop-v0": "spt",
    "dispatchgym/SoC-v0": "etf",
    "dispatchgym/UAMFleet-v0": "greedy",
    "dispatchgym/VMRescheduling-v0": "greedy_joint",
}
"""A rule of each environment that is not random."""
SMALL = {
    "dispatchgym/EdgeDagPlan-v0": {"scenario": "alibaba_plan-n5-12"},
    "dispatchgym/EdgeOffloading-v0": {"scenario": "gmorl_hard"},
    "dispatchgym/JobShop-v0": {"scenario": "random_4-6x3"},
    "dispatchgym/SoC-v0": {"scenario": "top3-gen"},
    "dispatchgym/UAMFleet-v0": {"scenario": "uam-3-5x4-6"},
    "dispatchgym/VMRescheduling-v0": {"scenario": "random_4-6"},
}
"""Arguments of each environment for instances of several small sizes."""


def test_every_environment_has_cases():
    assert {name for name, _ in CASES} == set(RULES) == set(SMALL) == set(ENVIRONMENTS)


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_single_environment(name, kwargs):
    testing.check_environment(lambda: gym.make(f"dispatchgym:{name}", **kwargs))


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=IDS)
def test_batch_equals_singles(name, kwargs):
    testing.check_vector_environment(
        lambda **more: gym.make_vec(f"dispatchgym:{name}", **kwargs, **more),
        lambda: gym.make(f"dispatchgym:{name}", **kwargs),
        steps=120,
    )


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_time_limit(name, mode):
    """The batch truncates where the TimeLimit wrapper truncates the single environment."""
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=2, max_episode_steps=4, autoreset_mode=mode)
    env = gym.make(f"dispatchgym:{name}", max_episode_steps=4)
    vec.reset(seed=0)
    env.reset(seed=0)
    for step in range(4):
        action = env.unwrapped.rule_action(RULES[name])
        *_, truncated, _ = env.step(action)
        *_, truncated_rows, infos = vec.step(vec.unwrapped.rule_action(RULES[name]))
        assert truncated_rows.tolist() == [truncated] * 2 == [step == 3] * 2
    final = infos["final_info"] if mode == "SameStep" else infos
    assert len(final["objective"]) == 2
    assert set(final) >= {"schedule", "action_mask"}


def test_an_unfinished_job_shop_has_no_makespan():
    vec = gym.make_vec("dispatchgym:dispatchgym/JobShop-v0", num_envs=2, max_episode_steps=1)
    vec.reset(seed=0)
    *_, infos = vec.step(vec.unwrapped.rule_action("spt"))
    assert np.isnan(infos["objective"]).all()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_copy_lane(name):
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=3, **SMALL[name])
    vec.reset(seed=0)
    for _ in range(3):
        vec.step(vec.unwrapped.rule_action(RULES[name]))
    inner = vec.unwrapped
    inner.copy_lane(0, 2)
    for _ in range(40):
        observations, rewards, terminated, _, _ = vec.step(inner.rule_action("random"))
        testing.assert_same(
            {key: value[0] for key, value in observations.items()},
            {key: value[2] for key, value in observations.items()},
            "the copied lane goes on differently",
        )
        testing.assert_same(rewards[0], rewards[2], "the copied lane is rewarded differently")
        assert terminated[0] == terminated[2]
    with pytest.raises(ParameterError, match="lane: found 3"):
        inner.copy_lane(3, 0)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_vector_snapshot(name):
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=3, **SMALL[name])
    vec.reset(seed=0)
    inner = vec.unwrapped
    saved = inner.get_state()
    first = [vec.step(inner.rule_action(RULES[name]))[:4] for _ in range(15)]
    inner.set_state(saved)
    second = [vec.step(inner.rule_action(RULES[name]))[:4] for _ in range(15)]
    testing.assert_same(first, second, "after set_state")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_raise_names_the_legal_actions(name):
    env = gym.make(f"dispatchgym:{name}", invalid_action="raise")
    env.reset(seed=0)
    first = ", ".join(map(str, np.flatnonzero(env.unwrapped.action_masks())[:3]))
    with pytest.raises(InvalidActionError, match=rf"expected one of \[{first}"):
        env.unwrapped.step(999)
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=2, invalid_action="raise")
    vec.reset(seed=0)
    with pytest.raises(InvalidActionError, match=r"lane 1: action 999"):
        vec.step(np.array([0, 999]))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_steps_out_of_order_are_refused(name):
    env = gym.make(f"dispatchgym:{name}").unwrapped
    with pytest.raises(ParameterError, match="reset"):
        env.step(0)
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=2, autoreset_mode="Disabled")
    with pytest.raises(ParameterError, match="reset"):
        vec.step(np.array([0, 0]))
    vec.reset(seed=0)
    with pytest.raises(ParameterError, match="actions: found"):
        vec.step(np.array([0.5, 0.5]))
    ended = False
    while not ended:
        *_, terminated, _, _ = vec.step(vec.unwrapped.rule_action(RULES[name]))
        ended = terminated.any()
    with pytest.raises(ParameterError, match="reset_mask"):
        vec.step(np.array([0, 0]))
    with pytest.raises(ParameterError, match="reset_mask"):
        vec.reset(options={"reset_mask": np.zeros(2, np.bool_)})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_copies_stay_and_views_change(name):
    for copy in (True, False):
        vec = gym.make_vec(f"dispatchgym:{name}", num_envs=2, copy=copy)
        observations, _ = vec.reset(seed=0)
        kept = {key: value.copy() for key, value in observations.items()}
        vec.step(vec.unwrapped.rule_action(RULES[name]))
        same = all(np.array_equal(kept[key], observations[key]) for key in kept)
        assert same is copy


BUSY = {
    "dispatchgym/EdgeDagPlan-v0": {"scenario": "alibaba_plan", "preference": "grid"},
    "dispatchgym/EdgeOffloading-v0": {"scenario": "gmorl_hard", "preference": "grid"},
    "dispatchgym/JobShop-v0": {"scenario": "random_6x5", "mode": "interrupting"},
    "dispatchgym/SoC-v0": {"scenario": "top3-gen", "mode": "late_binding"},
    "dispatchgym/UAMFleet-v0": {"scenario": "uam-3-5x4-9-storm"},
    "dispatchgym/VMRescheduling-v0": {"scenario": "S-AA"},
}
"""Arguments with which much of a kernel is used."""


def _trace(name, threads):
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        vec = gym.make_vec(
            f"dispatchgym:{name}", num_envs=40, autoreset_mode="SameStep", **BUSY[name]
        )
        vec.reset(seed=0)
        return [vec.step(vec.unwrapped.rule_action("random"))[:4] for _ in range(60)]
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_threads_do_not_change_results(name):
    testing.assert_same(_trace(name, 1), _trace(name, 2), "1 and 2 threads")


_WITHOUT_JIT = """
import sys, warnings
warnings.filterwarnings("ignore", message="overflow encountered")
import gymnasium as gym, numpy as np
name, arguments, rule = sys.argv[1], eval(sys.argv[2]), sys.argv[3]
vec = gym.make_vec(f"dispatchgym:{name}", num_envs=2, autoreset_mode="SameStep", **arguments)
observations, _ = vec.reset(seed=0)
total = [float(np.sum(value)) for value in observations.values()]
for step in range(16):
    action = vec.unwrapped.rule_action(("random", rule)[step % 4 == 3])
    observations, rewards, *_ = vec.step(action)
    total += [float(np.sum(value)) for value in observations.values()] + rewards.ravel().tolist()
print(total)
"""
TINY = {
    "dispatchgym/EdgeDagPlan-v0": {"scenario": "drlto-n6", "preference": "grid"},
    "dispatchgym/EdgeOffloading-v0": {"scenario": "gmorl_hard-e6", "preference": "grid"},
    "dispatchgym/JobShop-v0": {"scenario": "random_3x3", "mode": "interrupting"},
    "dispatchgym/SoC-v0": {"scenario": "top3-p5-noise30", "mode": "late_binding"},
    "dispatchgym/UAMFleet-v0": {"scenario": "uam-4x3-storm"},
    "dispatchgym/VMRescheduling-v0": {"scenario": "random_3", "numa_rule": "explicit"},
}
"""Arguments for which the interpreted kernel is fast enough."""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_compiled_equals_interpreted(name, monkeypatch):
    printed = []
    for disabled in ("0", "1"):
        monkeypatch.setenv("NUMBA_DISABLE_JIT", disabled)
        command = [sys.executable, "-c", _WITHOUT_JIT, name, str(TINY[name]), RULES[name]]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        printed.append(np.array(eval(done.stdout)))
    np.testing.assert_allclose(printed[0], printed[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_render(name, mode):
    env = gym.make(f"dispatchgym:{name}", render_mode=mode)
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.unwrapped.rule_action(RULES[name]))
    picture = env.render()
    if mode == "ansi":
        assert max(len(line) for line in picture.splitlines()) <= 80
    else:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.std() > 0
