"""The reference simulator against golden values measured with an independent prototype."""

import math

import numpy as np
import pytest
from job_shop import golden
from job_shop.reference import (
    RULES,
    JobShop,
    Settings,
    play,
    random_jobs,
    random_policy,
    random_settings,
    run,
    shutdown_lengths,
    uniform,
)

from dispatchgym.envs.job_shop.instance import Instance
from dispatchgym.envs.job_shop.literature import literature

SWAP_INSTANCE = Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]], name="swap")


def _random_instance(rng):
    jobs, release = random_jobs(rng)
    return Instance.from_jobs(jobs, release=release)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((0, 0, 0, 0), 0.5026230818294767),
        ((0, 1, 2, 3), 0.26140805083020324),
        ((0, 2, 9, 4), 0.8248900837247027),
    ],
)
def test_keyed_random_numbers(key, expected):
    assert uniform(*key) == expected


@pytest.mark.parametrize("rule", golden.RULE_ORDER)
@pytest.mark.parametrize(("name", "mode"), golden.RULE_MAKESPANS)
def test_rule_makespans(name, mode, rule):
    shop = play(literature(name), Settings(mode=mode), rule)
    assert shop.makespan == golden.RULE_MAKESPANS[name, mode][rule]


@pytest.mark.parametrize(("name", "rule"), golden.SWAPS)
def test_swap_counts(name, rule):
    shop = play(literature(name), Settings(mode="blocking"), rule)
    assert (shop.swaps, shop.longest_cycle) == golden.SWAPS[name, rule]


@pytest.mark.parametrize("mode", ["blocking", "classic"])
@pytest.mark.parametrize(("name", "probability"), golden.INTERRUPTED)
def test_interrupted_rules(name, probability, mode):
    expected = golden.INTERRUPTED[name, probability]
    settings = Settings(
        mode=mode,
        interrupt_kind="per_operation",
        interrupt_probability=probability,
        interrupt_seed=7,
    )
    shops = [play(literature(name), settings, rule) for rule in ("spt", "mwkr", "fifo")]
    assert tuple(shop.makespan for shop in shops) == expected[mode]
    for shop in shops:
        assert len(shop.interruptions) == expected["count"]
        assert sum(end - begin for _, begin, end, _, _ in shop.interruptions) == expected["down"]


def test_two_jobs_exchange_machines_by_hand():
    shop = play(SWAP_INSTANCE, Settings(mode="blocking"), "spt")
    assert shop.makespan == 6
    assert (shop.swaps, shop.longest_cycle) == (1, 2)
    assert shop.schedule()["end"].tolist() == [[2, 5], [2, 6]]


def test_two_jobs_that_may_not_exchange_are_stuck():
    shop = play(SWAP_INSTANCE, Settings(mode="blocking", swap=False), "spt")
    assert shop.deadlock and shop.done and shop.legal_jobs() == []


def test_one_step_avoidance_lets_the_second_job_wait():
    settings = Settings(mode="blocking", swap=False, deadlock_avoidance="one_step")
    shop = play(SWAP_INSTANCE, settings, "spt")
    assert not shop.deadlock
    assert shop.makespan == 11  # one job after the other, which is the optimum without swap


def test_step_on_the_same_machine_is_no_swap():
    instance = Instance.from_jobs([[(0, 2), (0, 3)]])
    shop = play(instance, Settings(mode="blocking", swap=False), "spt")
    assert (shop.makespan, shop.swaps, shop.deadlock) == (5, 0, False)


def test_zero_durations_pass_in_an_instant():
    instance = Instance.from_jobs([[(0, 0), (1, 0), (2, 4)], [(0, 0), (1, 2)]])
    shop = JobShop(instance, Settings(mode="blocking"))
    shop.step(0)
    assert (shop.time, shop.next[0], shop.legal_jobs()) == (0, 1, [0])
    shop.step(0)
    shop.step(0)
    assert shop.legal_jobs() == [1]


def test_work_in_process_cap_keeps_jobs_outside():
    settings = Settings(mode="blocking", wip_cap=1)
    assert play(SWAP_INSTANCE, settings, "spt").makespan == 11


def test_release_holds_a_job_back_and_counts_as_an_event():
    instance = Instance.from_jobs([[(0, 2)], [(1, 2)]], release=[0, 5])
    shop = JobShop(instance, Settings(allow_wait="if_event"))
    assert shop.legal_jobs() == [0] and shop.wait_legal()
    shop.wait()
    assert shop.time == 5 and shop.legal_jobs() == [0, 1]
    assert not shop.wait_legal()


def _single(policy, **changes):
    """Play one operation of 10 that is interrupted for sure, then one after it."""
    instance = Instance.from_jobs([[(0, 10), (1, 10)]])
    settings = Settings(
        mode="blocking",
        interrupt_kind="per_operation",
        interrupt_probability=0.999999,
        interrupt_policy=policy,
        interrupt_seed=3,
        **changes,
    )
    low, high = shutdown_lengths(instance, settings.interrupt_length)
    assert (low, high) == (5, 15)
    offset = math.floor(uniform(3, 1, 0, 0) * 10)
    length = low + math.floor(uniform(3, 2, 0, 0) * (high - low + 1))
    return run(instance, settings, "spt"), offset, length


def test_resume_keeps_what_is_left():
    schedule, offset, length = _single("resume")
    assert schedule["processing_end"][0, 0] == 10 + length
    assert schedule["interruptions"][0].tolist() == [0, offset, offset + length, 0, 0]


def test_restart_repeats_everything():
    schedule, offset, length = _single("restart")
    assert schedule["processing_end"][0, 0] == offset + length + 10


@pytest.mark.parametrize(("unload", "departure"), [(True, 10), (False, None)])
def test_finish_first_shuts_down_after_the_operation(unload, departure):
    schedule, _, length = _single("finish_first", unload_when_down=unload)
    assert schedule["processing_end"][0, 0] == 10
    assert schedule["interruptions"][0].tolist() == [0, 10, 10 + length, 0, 0]
    assert schedule["end"][0, 0] == (10 + length if departure is None else departure)


def test_sequence_scheme_appends_operations():
    settings = Settings(scheme="sequence")
    shop = JobShop(SWAP_INSTANCE, settings)
    for job in (0, 0, 1, 1):
        assert job in shop.legal_jobs()
        shop.step(job)
    assert shop.done
    assert shop.schedule()["start"].tolist() == [[0, 2], [5, 7]]


def test_no_interruption_at_probability_zero():
    instance = literature("ft06")
    plain = run(instance, Settings(mode="blocking"), "mwkr")
    settings = Settings(mode="blocking", interrupt_kind="per_operation")
    assert np.array_equal(run(instance, settings, "mwkr")["end"], plain["end"])


@pytest.mark.parametrize("rule", RULES)
def test_scaling_durations_scales_the_makespan(rule):
    instance = literature("ft06")
    scaled = Instance.from_jobs([[(m, 7 * p) for m, p in job] for job in instance.jobs()])
    for mode in ("classic", "blocking"):
        one, seven = (play(x, Settings(mode=mode), rule) for x in (instance, scaled))
        assert seven.makespan == 7 * one.makespan


def test_relabelling_leaves_shortest_processing_time_unchanged_without_ties():
    rng = np.random.default_rng(0)
    durations = rng.permutation(30).reshape(6, 5) + 1
    routes = [rng.permutation(5) for _ in range(6)]
    jobs = [
        list(zip(r.tolist(), p.tolist(), strict=True))
        for r, p in zip(routes, durations, strict=True)
    ]
    machines, order = rng.permutation(5), rng.permutation(6)
    other = [[(int(machines[m]), p) for m, p in jobs[j]] for j in order]
    for mode in ("classic", "blocking"):
        results = {
            play(Instance.from_jobs(x), Settings(mode=mode), "spt").makespan for x in (jobs, other)
        }
        assert len(results) == 1


def test_no_deadlock_with_swap():
    """An assertion in the simulator fails if nothing can ever happen again."""
    for seed in range(400):
        rng = np.random.default_rng(seed)
        instance, settings = _random_instance(rng), random_settings(rng)
        shop = play(instance, settings, random_policy(rng))
        assert shop.done
        assert not (shop.deadlock and settings.swap)
