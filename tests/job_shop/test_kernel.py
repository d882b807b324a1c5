"""The compiled kernel against golden values, the plain-Python reference and the validator."""

import numpy as np
import pytest
from job_shop import golden
from job_shop.reference import JobShop, Settings, random_jobs, random_settings, rule_job

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.rng import derive, uniform
from dispatchgym.envs.job_shop import Instance, Interrupts, UniformGenerator, validate
from dispatchgym.envs.job_shop.env import JobShopEnv, JobShopVectorEnv


def _environment(instance, settings, **kwargs):
    interrupts = Interrupts(
        kind=settings.interrupt_kind,
        probability=settings.interrupt_probability,
        policy=settings.interrupt_policy,
        length=settings.interrupt_length,
        unload_when_down=settings.unload_when_down,
    )
    return JobShopEnv(
        scenario=instance,
        mode=settings.mode,
        scheme=settings.scheme,
        swap=settings.swap,
        deadlock_avoidance=settings.deadlock_avoidance,
        allow_wait=settings.allow_wait,
        wip_cap=settings.wip_cap,
        interrupts=interrupts,
        auto_trivial=False,
        invalid_action="raise",
        **kwargs,
    )


def _play_both(instance, settings, choose):
    """Play the same actions in kernel and reference; every mask and the schedule must agree."""
    env = _environment(instance, settings)
    shop = JobShop(instance, settings)
    _, info = env.reset(seed=settings.interrupt_seed)
    wait = env.action_space.n - 1
    truncated = False
    while not shop.done and not truncated:
        legal = np.flatnonzero(info["action_mask"]).tolist()
        assert legal == shop.legal_jobs() + ([wait] if shop.wait_legal() else [])
        for rule in ("winq", "blkrel", "fdd_mwkr", "lifo", "spt_rwk"):
            assert env.rule_action(rule) == rule_job(shop, rule)
        action = choose(legal)
        _, _, terminated, truncated, info = env.step(action)
        if action == wait:
            shop.wait()
        else:
            shop.step(action)
        assert terminated == shop.done or truncated
    if truncated:
        return
    assert info["deadlock"] == shop.deadlock
    assert (info["swaps"], info["longest_cycle"]) == (shop.swaps, shop.longest_cycle)
    expected = shop.schedule()
    for key in ("start", "processing_end", "end"):
        np.testing.assert_array_equal(info["schedule"][key], expected[key], err_msg=key)
    if shop.deadlock:
        assert np.isnan(info["objective"])
        return
    assert info["objective"] == shop.makespan
    np.testing.assert_array_equal(
        _sorted_rows(info["schedule"]["interruptions"]), _sorted_rows(expected["interruptions"])
    )
    report = validate(instance, info["schedule"])
    assert report.valid, report.violations
    assert report.objective == shop.makespan


def _sorted_rows(table):
    return np.array(sorted(map(tuple, table)), np.int64).reshape(-1, 5)


@pytest.mark.parametrize("seed", range(500))
def test_kernel_equals_reference(seed):
    rng = np.random.default_rng(seed)
    jobs, release = random_jobs(rng)
    instance = Instance.from_jobs(jobs, release=release)
    _play_both(instance, random_settings(rng), lambda legal: int(rng.choice(legal)))


@pytest.mark.parametrize("scheme", ["sequence", "active"])
@pytest.mark.parametrize("seed", range(30))
def test_schemes_without_a_clock_equal_reference(seed, scheme):
    rng = np.random.default_rng(seed)
    jobs, release = random_jobs(rng)
    instance = Instance.from_jobs(jobs, release=release)
    env = _environment(instance, Settings(scheme=scheme))
    shop = JobShop(instance, Settings(scheme=scheme))
    _, info = env.reset(seed=0)
    steps = 0
    while not shop.done:
        legal = np.flatnonzero(info["action_mask"]).tolist()
        assert legal == shop.legal_jobs()
        action = int(rng.choice(legal))
        shop.step(action)
        *_, info = env.step(action)
        steps += 1
    assert steps == instance.num_operations
    assert info["objective"] == shop.makespan
    np.testing.assert_array_equal(info["schedule"]["start"], shop.schedule()["start"])
    assert validate(instance, info["schedule"]).valid


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((0, 0, 0, 0), 0.5026230818294767),
        ((0, 1, 2, 3), 0.26140805083020324),
        ((0, 2, 9, 4), 0.8248900837247027),
    ],
)
def test_keyed_random_numbers(key, expected):
    assert uniform(np.uint64(key[0]), *key[1:]) == expected


def test_derived_seeds_never_collide_with_small_ones():
    seeds = {int(derive(np.uint64(s), e)) for s in range(50) for e in range(1, 50)}
    assert len(seeds) == 50 * 49
    assert all(2**62 <= seed < 2**63 for seed in seeds)


def _rule_makespans(scenario, rules, seeds, **kwargs):
    vec = JobShopVectorEnv(len(seeds), scenario=scenario, **kwargs)
    makespans = {}
    for rule in rules:
        vec.reset(seed=seeds)
        makespans[rule] = vec.run_rule(rule)["objective"].tolist()
    return makespans


@pytest.mark.parametrize(("name", "mode"), golden.RULE_MAKESPANS)
def test_golden_rule_makespans(name, mode):
    expected = golden.RULE_MAKESPANS[name, mode]
    found = _rule_makespans(name, expected, [0, 1], mode=mode)
    assert {rule: values[0] for rule, values in found.items()} == expected


@pytest.mark.parametrize(("name", "rule"), golden.SWAPS)
def test_golden_swaps(name, rule):
    vec = JobShopVectorEnv(2, scenario=name, mode="blocking")
    vec.reset(seed=0)
    info = vec.run_rule(rule)
    assert (info["swaps"][0], info["longest_cycle"][0]) == golden.SWAPS[name, rule]


@pytest.mark.parametrize("mode", ["blocking", "classic"])
@pytest.mark.parametrize(("name", "probability"), golden.INTERRUPTED)
def test_golden_interruptions(name, probability, mode):
    expected = golden.INTERRUPTED[name, probability]
    interrupts = {"probability": probability}
    found = _rule_makespans(name, ("spt", "mwkr", "fifo"), [7, 7], mode=mode, interrupts=interrupts)
    assert tuple(values[0] for values in found.values()) == expected[mode]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"mode": "classic"},
        {"mode": "classic", "scheme": "sequence"},
        {"mode": "classic", "scheme": "active"},
        {"mode": "classic", "allow_wait": "if_event", "wip_cap": 3},
        {"mode": "blocking"},
        {"mode": "blocking", "allow_wait": "if_event"},
        {"mode": "blocking", "wip_cap": 2},
        {"mode": "blocking", "wip_cap": 4, "allow_wait": "if_event"},
        {"mode": "interrupting", "interrupts": {"probability": (0.0, 0.1, 0.3)}},
        {"mode": "interrupting", "interrupts": {"policy": "finish_first", "probability": 0.2}},
        {
            "mode": "interrupting",
            "allow_wait": "if_event",
            "wip_cap": 5,
            "interrupts": {"kind": "calendar", "probability": 0.01, "policy": "restart"},
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("scenario", ["random_2-8x2-6", "reentrant_3-6x2-4"])
def test_random_episodes_are_valid(kwargs, scenario):
    """500 episodes each, 10,000 in all: no finding of the validator, no deadlock with swap."""
    vec = JobShopVectorEnv(
        50, scenario=scenario, autoreset_mode="SameStep", observation="jobs", **kwargs
    )
    rng = np.random.default_rng(0)
    vec.reset(seed=1)
    instances = vec.instances
    checked = 0
    while checked < 500:
        masks = vec.action_masks()
        actions = np.argmax(rng.random(masks.shape) * masks, axis=1)
        _, _, terminated, truncated, infos = vec.step(actions)
        for row in np.flatnonzero(terminated | truncated):
            final = infos["final_info"]
            assert not final["deadlock"][row]
            if terminated[row]:
                instance = instances[row]
                jobs, width = instance.machine.shape
                schedule = {
                    key: value[row][:jobs, :width]
                    if key in ("start", "processing_end", "end")
                    else value[row]
                    for key, value in final["schedule"].items()
                    if not key.startswith("_")
                }
                report = validate(instance, schedule)
                assert report.valid, report.violations
                assert report.objective == final["objective"][row]
                assert report.objective >= instance.lower_bound
                checked += 1
            instances[row] = vec.simulation.instance(int(row))


@pytest.mark.parametrize("mode", ["classic", "blocking"])
@pytest.mark.parametrize("reward", ["time", "lb_delta", "terminal"])
@pytest.mark.parametrize("seed", range(3))
def test_rewards_sum_to_the_makespan(mode, reward, seed):
    env = JobShopEnv(scenario="random_6x4", mode=mode, reward=reward, reward_scale=1.0)
    _, info = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    total, terminated = 0.0, False
    while not terminated:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        _, gained, terminated, _, info = env.step(action)
        total += gained
    shift = env.instance.lower_bound if reward == "lb_delta" else 0
    assert total == shift - info["objective"]


@pytest.mark.parametrize("mode", ["classic", "blocking"])
def test_durations_scale_every_rule(mode):
    jobs = UniformGenerator((5, 5), (4, 4)).generate(3).jobs()
    scaled = [[(machine, 7 * duration) for machine, duration in job] for job in jobs]
    rules = ("spt", "mwkr", "lrm", "winq", "blkrel", "fdd_mwkr")
    small = _rule_makespans(Instance.from_jobs(jobs), rules, [0, 0], mode=mode)
    large = _rule_makespans(Instance.from_jobs(scaled), rules, [0, 0], mode=mode)
    assert large == {rule: [7 * value for value in values] for rule, values in small.items()}


def test_no_interruption_is_blocking():
    still = _rule_makespans("la16", ("spt", "blkrel"), [5, 6], mode="blocking")
    never = {"probability": 0.0}
    assert still == _rule_makespans(
        "la16", ("spt", "blkrel"), [5, 6], mode="interrupting", interrupts=never
    )


def test_trivial_decisions_do_not_change_the_schedule():
    """A rule makes the same schedule whether or not it is asked when there is no choice."""
    for mode in ("classic", "blocking", "interrupting"):
        asked = _rule_makespans("la21", ("lrm",), [1, 2], mode=mode, auto_trivial=False)
        assert asked == _rule_makespans("la21", ("lrm",), [1, 2], mode=mode)


def test_swap_is_a_deadlock_without_swap():
    jobs = [[(0, 2), (1, 3)], [(1, 2), (0, 4)]]
    env = JobShopEnv(scenario=Instance.from_jobs(jobs), mode="blocking", swap=False)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(0)
    assert terminated
    assert info["deadlock"]
    assert np.isnan(info["objective"])
    assert reward < 0


def test_one_step_avoidance_leaves_the_serial_schedule():
    jobs = [[(0, 2), (1, 3)], [(1, 2), (0, 4)]]
    env = JobShopEnv(
        scenario=Instance.from_jobs(jobs),
        mode="blocking",
        swap=False,
        deadlock_avoidance="one_step",
    )
    env.reset(seed=0)
    *_, info = env.step(0)
    assert info["objective"] == 11


def test_rollout_values_are_the_makespans_of_the_rule():
    """Without shutdowns, the value of an action is what playing it and then the rule gives."""
    env = JobShopEnv(scenario="la02", mode="blocking", allow_wait="if_event")
    env.reset(seed=0)
    values = env.simulation.rollout_values((("lrm", 0), ("spt", 3)))[0]
    start = env.get_state()
    for action in range(env.action_space.n):
        if not env.action_masks()[action]:
            assert np.isnan(values[action])
            continue
        _, _, done, _, info = env.step(action)
        while not done:
            *_, done, _, info = env.step(env.rule_action("lrm"))
        assert values[action] <= info["objective"]
        env.set_state(start)
    with pytest.raises(ParameterError, match="rule"):
        env.simulation.rollout_values((("nonsense", 0),))


def test_rollout_does_not_see_future_shutdowns():
    """The same state with other shutdowns to come has the same rollout values."""
    values = []
    for seed in (1, 2):
        env = JobShopEnv(scenario="la02", mode="interrupting", interrupts={"probability": 0.3})
        env.reset(seed=seed)
        values.append(env.simulation.rollout_values((("blkrel", 0),)))
    np.testing.assert_array_equal(values[0], values[1])


def test_noise_randomises_a_rule_and_zero_does_not():
    vec = JobShopVectorEnv(64, scenario="la16", mode="blocking")
    vec.reset(seed=[0] * 64)
    assert len(set(vec.run_rule("lrm", temperature=0.3)["objective"])) > 15
    vec.reset(seed=[0] * 64)
    assert len(set(vec.run_rule("lrm")["objective"])) == 1


def test_episodes_that_never_end_are_truncated():
    """An operation longer than every up-time never finishes when it restarts."""
    interrupts = {
        "kind": "calendar",
        "policy": "restart",
        "probability": 0.9,
        "length": (0.01, 0.01),
    }
    env = JobShopEnv(
        scenario=Instance.from_jobs([[(0, 500)], [(0, 1)]]),
        interrupts=interrupts,
    )
    _, info = env.reset(seed=0)
    truncated = False
    while not truncated:
        _, _, terminated, truncated, info = env.step(0 if info["action_mask"][0] else 1)
        assert not terminated
    assert np.isnan(info["objective"])
