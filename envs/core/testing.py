"""The contract of this suite's environments as functions, for ours and for yours.

Each function takes a factory that makes a fresh single environment, or one that makes a vector
environment, and raises AssertionError with words when the contract is broken::

    from dispatchgym.envs.core import testing

    testing.check_environment(lambda: gym.make("dispatchgym:dispatchgym/JobShop-v0"))

The environments must be Gymnasium environments with a Dict observation that has an
``"action_mask"`` and a Discrete action space, or a MultiDiscrete one whose mask has the masks of
its parts one after the other; see the page "Add your own problem".
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

__all__ = [
    "check_batch_equals_singles",
    "check_determinism",
    "check_environment",
    "check_invalid_actions",
    "check_masks",
    "check_pickle",
    "check_snapshots",
    "check_vector_environment",
]

MakeEnv = Callable[[], gym.Env[Any, Any]]
MakeVec = Callable[..., gym.vector.VectorEnv[Any, Any, Any]]


def check_environment(make: MakeEnv, *, episodes: int = 3) -> None:
    """Run every check of a single environment."""
    env = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the checker warns of wide Box bounds, which are meant
        check_env(env.unwrapped, skip_render_check=True)
    check_masks(make, episodes=episodes)
    check_determinism(make)
    check_pickle(make)
    check_snapshots(make)
    check_invalid_actions(make)


def check_vector_environment(make_vec: MakeVec, make: MakeEnv, *, steps: int = 200) -> None:
    """Check all three autoreset modes of a vector environment against single ones.

    Args:
        make_vec: called with ``num_envs`` and ``autoreset_mode``.
        make: makes the single environment.
        steps: steps to compare in each mode.
    """
    for mode in AutoresetMode:
        check_batch_equals_singles(make_vec, make, mode.value, steps=steps)


def check_masks(make: MakeEnv, *, episodes: int = 3) -> None:
    """Check that masks agree everywhere, are never empty before the end, and tell the truth.

    Every observation must lie in its space, with finite numbers, and the last `info` must hold
    the objective and the schedule.
    """
    env = make()
    rng = np.random.default_rng(0)
    for seed in range(episodes):
        observation, info = env.reset(seed=seed)
        done = False
        while not done:
            _check_observation(env, observation, info)
            assert observation["action_mask"].any(), (
                "the mask is empty although the episode goes on"
            )
            action = _choose(env, rng, observation)
            observation, _, terminated, truncated, info = env.step(action)
            assert "invalid_action" not in info, "an action that the mask allows was refused"
            done = terminated or truncated
        _check_observation(env, observation, info)
        assert not observation["action_mask"].any(), "the mask of an ended episode is not empty"
        _check_objective(env, info["objective"])
        assert isinstance(info["schedule"], Mapping), "info['schedule'] is not a mapping"


def check_determinism(make: MakeEnv) -> None:
    """Check that two copies with one seed live through the same episodes."""
    traces = []
    for _ in range(2):
        env = make()
        trace = [env.reset(seed=5)]
        rng = np.random.default_rng(1)
        for _ in range(2):
            trace += _play(env, trace[-1][0], rng)
            trace.append(env.reset())
        traces.append(trace)
    assert_same(traces[0], traces[1], "two copies with the same seed differ")


def check_pickle(make: MakeEnv) -> None:
    """Check that an environment survives pickling in the middle of an episode."""
    env = make()
    observation, _ = env.reset(seed=3)
    observation, *_ = env.step(_choose(env, np.random.default_rng(0), observation))
    copy = pickle.loads(pickle.dumps(env))
    first = _play(env, observation, np.random.default_rng(2))
    second = _play(copy, observation, np.random.default_rng(2))
    assert_same(first, second, "a pickled copy goes on differently")


def check_snapshots(make: MakeEnv) -> None:
    """Check that set_state goes back to exactly where get_state was called."""
    env = make()
    observation, _ = env.reset(seed=4)
    inner: Any = env.unwrapped
    saved = inner.get_state()
    first = _play(env, observation, np.random.default_rng(3))
    env.reset(seed=11)
    assert_same(observation, inner.set_state(saved), "set_state shows another observation")
    second = _play(env, observation, np.random.default_rng(3))
    assert_same(first, second, "after set_state the episode goes on differently")


def check_invalid_actions(make: MakeEnv) -> None:
    """Check that an illegal action is refused with a negative reward and changes nothing."""
    env = make()
    observation, _ = env.reset(seed=0)
    for action in _illegal_actions(env, observation["action_mask"]):
        after, reward, terminated, truncated, info = env.unwrapped.step(action)
        assert info.get("invalid_action") is True, "an illegal action is not reported"
        assert np.all(np.asarray(reward) < 0), "an illegal action is not penalised"
        assert not terminated
        assert not truncated
        assert_same(observation, after, "an illegal action changed the observation")


def check_batch_equals_singles(
    make_vec: MakeVec, make: MakeEnv, autoreset_mode: str, *, rows: int = 5, steps: int = 200
) -> None:
    """Check that row i of a batch equals a single environment seeded with seed + i."""
    vec = make_vec(num_envs=rows, autoreset_mode=autoreset_mode)
    singles = [make() for _ in range(rows)]
    observations, _ = vec.reset(seed=7)
    current = [env.reset(seed=7 + i)[0] for i, env in enumerate(singles)]
    ended = np.zeros(rows, np.bool_)
    rng = np.random.default_rng(6)
    for _ in range(steps):
        for i, observation in enumerate(current):
            assert_same(observation, _row(observations, i), f"row {i} shows something else")
        chosen = [
            _choose(env, rng, observation)
            for env, observation in zip(singles, current, strict=True)
        ]
        actions = np.array(chosen)
        if autoreset_mode == "Disabled" and ended.any():
            observations, _ = vec.reset(options={"reset_mask": ended})
            for row in np.flatnonzero(ended).tolist():
                current[row] = singles[row].reset()[0]
            ended[:] = False
            continue
        observations, rewards, terminated, truncated, infos = vec.step(actions)
        for i, env in enumerate(singles):
            if autoreset_mode == "NextStep" and ended[i]:
                current[i] = env.reset()[0]
                assert not rewards[i].any(), "the resetting step has a reward"
                assert not terminated[i], "the resetting step ends the episode"
                continue
            current[i], reward, *ends, info = env.step(chosen[i])
            assert_same(reward, rewards[i], f"row {i}: reward")
            if "vector_reward" in info:
                assert_same(info["vector_reward"], infos["vector_reward"][i], f"row {i}: vector")
            assert [terminated[i], truncated[i]] == ends, f"row {i} ends at another step"
            if not any(ends):
                continue
            final = infos
            if autoreset_mode == "SameStep":
                final = infos["final_info"]
                assert_same(current[i], infos["final_obs"][i], f"final_obs of row {i}")
                current[i] = env.reset()[0]
            _check_final_info(final, info, i)
        ended = terminated | truncated


def assert_same(expected: Any, found: Any, message: str) -> None:
    """Assert that two nested structures of arrays and numbers are equal, nan included."""
    if isinstance(expected, Mapping):
        assert set(expected) == set(found), f"{message}: keys {set(expected) ^ set(found)}"
        for key in expected:
            assert_same(expected[key], found[key], f"{message}, key {key!r}")
    elif isinstance(expected, tuple | list):
        assert len(expected) == len(found), f"{message}: another length"
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other, message)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=message)


def _check_observation(
    env: gym.Env[Any, Any], observation: dict[str, Any], info: dict[str, Any]
) -> None:
    for key, value in observation.items():
        space = env.observation_space[key]  # type: ignore[index]
        assert space.contains(value), f"observation[{key!r}] is not in {space}"
        assert np.isfinite(value).all(), f"observation[{key!r}] is not finite"
    mask = observation["action_mask"]
    assert mask.dtype == np.int8, "the action mask is not int8"
    assert_same(mask, info["action_mask"], "info['action_mask'] differs from the observation")
    masks: npt.NDArray[np.bool_] = env.unwrapped.action_masks()  # type: ignore[attr-defined]
    assert masks.dtype == np.bool_, "action_masks() is not bool"
    assert_same(mask == 1, masks, "action_masks() differs from the observation")


def _check_objective(env: gym.Env[Any, Any], objective: Any) -> None:
    """An objective is a float, of several objectives a float64 array with an entry for each."""
    names = getattr(env.unwrapped, "reward_names", ())
    if not names:
        assert isinstance(objective, float), "info['objective'] is not a float"
        return
    assert objective.dtype == np.float64, "info['objective'] is not float64"
    assert objective.shape == (len(names),), "info['objective'] is not one number an objective"


def _play(
    env: gym.Env[Any, Any], observation: dict[str, Any], rng: np.random.Generator
) -> list[Any]:
    trace: list[Any] = []
    done = False
    while not done:
        step = env.step(_choose(env, rng, observation))
        observation, done = step[0], step[2] or step[3]
        trace.append(step)
    return trace


def _choose(
    env: gym.Env[Any, Any], rng: np.random.Generator, observation: dict[str, Any]
) -> int | npt.NDArray[np.int64]:
    """Return a legal action, or zeros when the episode has ended.

    Of several numbers, the masks of the parts do not tell which go together: a rule does.
    """
    legal = np.flatnonzero(observation["action_mask"])
    if isinstance(env.action_space, gym.spaces.MultiDiscrete):
        if legal.size == 0:
            return np.zeros(len(env.action_space.nvec), np.int64)
        return env.unwrapped.rule_action("random")  # type: ignore[attr-defined]
    return int(rng.choice(legal)) if legal.size else 0


def _illegal_actions(env: gym.Env[Any, Any], mask: npt.NDArray[np.int8]) -> list[Any]:
    """Return actions outside the space and actions that the mask forbids."""
    if isinstance(env.action_space, gym.spaces.MultiDiscrete):
        sizes = env.action_space.nvec
        closed = np.flatnonzero(mask[: sizes[0]] == 0)[:3]
        inside = [np.array([first, *(0 * sizes[1:])]) for first in closed]
        return [*inside, np.full(len(sizes), -1), sizes.astype(np.int64)]
    closed = np.flatnonzero(mask == 0)
    return [*closed[:3].tolist(), -1, len(mask)]


def _row(observations: dict[str, Any], i: int) -> dict[str, Any]:
    return {key: value[i] for key, value in observations.items()}


def _check_final_info(infos: dict[str, Any], info: dict[str, Any], i: int) -> None:
    """Compare the last info of a single environment with row i; a batch may be padded."""
    for key in ("objective", "action_mask"):
        assert_same(info[key], infos[key][i], f"info[{key!r}] of row {i}")
    for key, value in info["schedule"].items():
        found = infos["schedule"][key][i]
        window = tuple(slice(size) for size in np.shape(value))
        assert_same(value, found[window] if window else found, f"schedule[{key!r}] of row {i}")
