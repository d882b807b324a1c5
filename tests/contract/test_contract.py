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
    for observation in ("graph", "jobs")
    for mode, more in (
        ("classic", {}),
        ("classic", {"scheme": "sequence"}),
        ("blocking", {"allow_wait": "if_event", "wip_cap": 4}),
        ("blocking", {"swap": False}),
        ("interrupting", {"interrupts": {"probability": (0.1, 0.3)}, "auto_trivial": False}),
        ("interrupting", {"interrupts": {"kind": "calendar", "probability": 0.01}}),
    )
]
CASES = [
    ("dispatchgym/JobShop-v0", {"scenario": scenario, **kwargs})
    for kwargs in JOB_SHOP
    for scenario in ("ft06", "random_3-6x2-5", "reentrant_3-4x2-3")
]
IDS = [" ".join(str(value) for value in kwargs.values()) for _, kwargs in CASES]


def test_every_environment_has_cases():
    assert {name for name, _ in CASES} == set(ENVIRONMENTS)


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
        action = env.unwrapped.rule_action("spt")
        *_, truncated, _ = env.step(action)
        *_, truncated_rows, infos = vec.step(vec.unwrapped.rule_action("spt"))
        assert truncated_rows.tolist() == [truncated] * 2 == [step == 3] * 2
    final = infos["final_info"] if mode == "SameStep" else infos
    assert np.isnan(final["objective"]).all()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_copy_lane(name):
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=3, scenario="random_4-6x3")
    vec.reset(seed=0)
    for _ in range(3):
        vec.step(vec.unwrapped.rule_action("spt"))
    inner = vec.unwrapped
    inner.copy_lane(0, 2)
    for _ in range(40):
        observations, rewards, terminated, _, _ = vec.step(inner.rule_action("random"))
        testing.assert_same(
            {key: value[0] for key, value in observations.items()},
            {key: value[2] for key, value in observations.items()},
            "the copied lane goes on differently",
        )
        assert rewards[0] == rewards[2]
        assert terminated[0] == terminated[2]
    with pytest.raises(ParameterError, match="lane: found 3"):
        inner.copy_lane(3, 0)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_vector_snapshot(name):
    vec = gym.make_vec(f"dispatchgym:{name}", num_envs=3, scenario="random_4x3")
    vec.reset(seed=0)
    inner = vec.unwrapped
    saved = inner.get_state()
    first = [vec.step(inner.rule_action("spt"))[:4] for _ in range(15)]
    inner.set_state(saved)
    second = [vec.step(inner.rule_action("spt"))[:4] for _ in range(15)]
    testing.assert_same(first, second, "after set_state")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_raise_names_the_legal_actions(name):
    env = gym.make(f"dispatchgym:{name}", invalid_action="raise")
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match=r"expected one of \[0, 1, 2"):
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
        *_, terminated, _, _ = vec.step(vec.unwrapped.rule_action("spt"))
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
        vec.step(vec.unwrapped.rule_action("spt"))
        same = all(np.array_equal(kept[key], observations[key]) for key in kept)
        assert same is copy


def _trace(threads):
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        vec = gym.make_vec(
            "dispatchgym:dispatchgym/JobShop-v0",
            num_envs=16,
            scenario="random_6x5",
            mode="interrupting",
            autoreset_mode="SameStep",
        )
        vec.reset(seed=0)
        return [vec.step(vec.unwrapped.rule_action("random"))[:4] for _ in range(60)]
    finally:
        numba.set_num_threads(before)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_threads_do_not_change_results():
    testing.assert_same(_trace(1), _trace(2), "1 and 2 threads")


_WITHOUT_JIT = """
import warnings
warnings.filterwarnings("ignore", message="overflow encountered")
import gymnasium as gym, numpy as np
vec = gym.make_vec("dispatchgym:dispatchgym/JobShop-v0", num_envs=2, scenario="random_3x3",
                   mode="interrupting", autoreset_mode="SameStep")
observations, _ = vec.reset(seed=0)
total = [float(np.sum(value)) for value in observations.values()]
for _ in range(12):
    observations, rewards, *_ = vec.step(vec.unwrapped.rule_action("random"))
    total += [float(np.sum(value)) for value in observations.values()] + rewards.tolist()
print(total)
"""


def test_compiled_equals_interpreted(monkeypatch):
    printed = []
    for disabled in ("0", "1"):
        monkeypatch.setenv("NUMBA_DISABLE_JIT", disabled)
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_JIT], capture_output=True, text=True, check=True
        )
        printed.append(np.array(eval(done.stdout)))
    np.testing.assert_allclose(printed[0], printed[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("mode", ["ansi", "rgb_array"])
def test_render(name, mode):
    env = gym.make(f"dispatchgym:{name}", render_mode=mode)
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.unwrapped.rule_action("spt"))
    picture = env.render()
    if mode == "ansi":
        assert max(len(line) for line in picture.splitlines()) <= 80
    else:
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.std() > 0
