"""Constraint programming against published optima, golden values and exhaustive search."""

import copy
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from job_shop import golden
from job_shop.reference import JobShop, Settings, random_jobs, run

from dispatchgym.envs.core.errors import EvaluationError, MissingDependencyError, ParameterError
from dispatchgym.envs.job_shop import exact
from dispatchgym.envs.job_shop.exact import lower_bound, solve
from dispatchgym.envs.job_shop.instance import Bounds, Instance
from dispatchgym.envs.job_shop.interrupts import Interrupts
from dispatchgym.envs.job_shop.literature import literature
from dispatchgym.envs.job_shop.validator import validate

needs_solver = pytest.mark.skipif(find_spec("ortools") is None, reason="OR-tools is not installed")
SWAP_INSTANCE = Instance.from_jobs([[(0, 2), (1, 3)], [(1, 2), (0, 4)]])
VARIANTS = {
    "classic": {"mode": "classic"},
    "blocking": {"mode": "blocking"},
    "no_swap": {"mode": "blocking", "swap": False},
}


def check_optimum(instance, expected, **kwargs):
    result = solve(instance, **kwargs)
    assert result.proved and result.status == "optimal"
    assert result.objective == result.bound == expected
    report = validate(instance, result.schedule)
    assert report.valid and report.objective == expected


def exhaustive_optimum(instance, settings):
    """Return the best makespan over all decisions, waits included, by depth-first search."""
    best = sum(int(p) for p in instance.duration.ravel()) * 50 + 1000
    stack = [JobShop(instance, settings)]
    seen = set()
    while stack:
        shop = stack.pop()
        machines = (*shop.down_until, *shop.shutdown_at)
        state = (shop.time, *shop.next, *shop.phase, *shop.finish, *machines)
        if shop.time >= best or shop.deadlock or state in seen:
            continue
        seen.add(state)
        if shop.done:
            best = min(best, shop.makespan)
            continue
        for job in [*shop.legal_jobs(), *([-1] if shop.wait_legal() else [])]:
            child = copy.deepcopy(shop, {id(instance): instance})
            if job < 0:
                child.wait()
            else:
                child.step(job)
            stack.append(child)
    return best


def small_instance(seed):
    """Return up to three ragged, sometimes re-entrant jobs on up to three machines."""
    rng = np.random.default_rng(seed)
    jobs, release = random_jobs(rng, max_jobs=3, max_machines=3)
    jobs = [[(m, min(p, 9)) for m, p in job[:3]] for job in jobs]
    return Instance.from_jobs(jobs, release=release)


@needs_solver
@pytest.mark.parametrize(("variant", "expected"), golden.OPTIMA["ft06"].items())
def test_ft06(variant, expected):
    """Published optimum 55 (classic); 63 and 69 agree with Mascis and Pacciarelli (2002)."""
    check_optimum(literature("ft06"), expected, **VARIANTS[variant])


@needs_solver
@pytest.mark.parametrize(("swap", "expected"), [(True, 6), (False, 11)])
def test_two_jobs_that_exchange_machines_by_hand(swap, expected):
    check_optimum(SWAP_INSTANCE, expected, mode="blocking", swap=swap)


@needs_solver
@pytest.mark.parametrize("probability", [0.1, 0.2])
def test_clairvoyant_ft06(probability):
    """Golden value measured with an independent prototype."""
    check_optimum(
        literature("ft06"),
        golden.CLAIRVOYANT_OPTIMA["ft06", probability],
        mode="interrupting",
        interrupts=Interrupts(probability=probability),
        seed=7,
    )


@needs_solver
@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["la01", "la02", "la03", "la04", "la05"])
def test_lawrence_10x5(name, variant):
    """Published optima, proven in less than a minute each."""
    check_optimum(literature(name), golden.OPTIMA[name][variant], **VARIANTS[variant])


@needs_solver
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "probability"), [key for key in golden.CLAIRVOYANT_OPTIMA if key[0] != "ft06"]
)
def test_clairvoyant_lawrence(name, probability):
    """Golden value measured with an independent prototype."""
    check_optimum(
        literature(name),
        golden.CLAIRVOYANT_OPTIMA[name, probability],
        mode="interrupting",
        interrupts=Interrupts(probability=probability),
        seed=7,
    )


@needs_solver
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", range(3))
def test_equals_exhaustive_search(variant, block):
    for seed in range(40 * block, 40 * block + 40):
        instance = small_instance(seed)
        settings = Settings(allow_wait="if_event", **VARIANTS[variant])
        check_optimum(
            instance, exhaustive_optimum(instance, settings), workers=1, **VARIANTS[variant]
        )


@needs_solver
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("policy", ["resume", "restart", "finish_first"])
def test_clairvoyant_equals_exhaustive_search(variant, policy):
    for seed in range(100, 140):
        instance = small_instance(seed)
        unload = seed % 2 == 0
        settings = Settings(
            allow_wait="if_event",
            interrupt_kind="per_operation",
            interrupt_probability=0.4,
            interrupt_policy=policy,
            interrupt_seed=seed,
            unload_when_down=unload,
            **VARIANTS[variant],
        )
        check_optimum(
            instance,
            exhaustive_optimum(instance, settings),
            workers=1,
            interrupts=Interrupts(probability=0.4, policy=policy, unload_when_down=unload),
            seed=seed,
            **VARIANTS[variant],
        )


@needs_solver
def test_modes_are_ordered():
    """Fewer freedoms cannot shorten the optimum."""
    for seed in range(200, 215):
        instance = small_instance(seed)
        values = [solve(instance, workers=1, **VARIANTS[v]).objective for v in VARIANTS]
        assert values == sorted(values)


@needs_solver
def test_lower_bound_is_a_bound():
    equal = 0
    for seed in range(300, 330):
        instance = small_instance(seed)
        interrupts = Interrupts(probability=0.3)
        for mode in ("classic", "interrupting"):
            kwargs = {"mode": mode, "interrupts": interrupts, "seed": seed}
            bound = lower_bound(instance, **kwargs)
            optimum = solve(instance, workers=1, **kwargs).objective
            assert instance.lower_bound <= bound <= optimum
            equal += bound == optimum
    assert equal > 20


@pytest.mark.parametrize(("name", "mean_gap"), [("la01", 0), ("la05", 0), ("ft10", 0.15)])
def test_lower_bound_of_the_literature(name, mean_gap):
    instance = literature(name)
    bound = lower_bound(instance)
    optimum = instance.bounds["classic"].upper
    assert optimum * (1 - mean_gap) <= bound <= optimum


def test_lower_bound_of_one_machine_by_hand():
    """Tasks (head 0, 4, tail 0) and (head 1, 2, tail 5): preempt at 1, end 3 + 5 = 8."""
    instance = Instance.from_jobs([[(0, 4)], [(1, 1), (0, 2), (1, 5)]])
    assert lower_bound(instance) == 8
    other = Instance.from_jobs([[(0, 4), (1, 3)], [(2, 1), (0, 2), (3, 5)]])
    assert lower_bound(other) == 9  # first task preempted from 1 to 3, ends at 6, then 3 more


@needs_solver
def test_result_is_never_worse_than_the_hint():
    instance = literature("ta01")
    schedule = run(instance, Settings(mode="blocking"), "lrm")
    result = solve(instance, mode="blocking", hint=schedule, time_limit=0.001)
    assert result.status == "unknown"
    assert result.objective == schedule["makespan"] and result.bound >= lower_bound(instance)


@needs_solver
def test_hint_of_another_mode_only_guides():
    instance = literature("ft06")
    hint = run(instance, Settings(mode="classic"), "mwkr")
    check_optimum(instance, 63, mode="blocking", hint=hint)


@needs_solver
def test_no_time_at_all_gives_a_plain_schedule():
    instance = literature("ta71")
    result = solve(instance, mode="blocking", time_limit=0.001)
    assert result.status == "unknown" and not result.proved
    assert validate(instance, result.schedule).valid
    assert result.bound < result.objective


@needs_solver
def test_result_below_a_proven_bound_is_an_error():
    instance = Instance.from_jobs(SWAP_INSTANCE.jobs(), bounds={"blocking": Bounds(7, 9)})
    assert solve(instance, mode="classic").objective == 6
    with pytest.raises(EvaluationError, match="below 7"):
        solve(instance, mode="blocking")


def test_without_the_solver(monkeypatch):
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "dispatchgym\[exact\]"'):
        exact.solve(SWAP_INSTANCE)


@pytest.mark.parametrize(
    ("message", "kwargs"),
    [
        ("mode", {"mode": "no_wait"}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 0.5}),
        ("time_limit", {"time_limit": 0}),
        ("time_limit", {"time_limit": float("nan")}),
        ("workers", {"workers": 0}),
        ("calendar", {"interrupts": {"kind": "calendar"}}),
        ("single number", {"interrupts": {"probability": (0.1, 0.2)}}),
        ("hint", {"hint": {"start": 3}}),
        ("hint", {"hint": 3}),
    ],
)
def test_wrong_arguments(message, kwargs):
    if "hint" in kwargs:
        pytest.importorskip("ortools")
    with pytest.raises(ParameterError, match=message):
        solve(SWAP_INSTANCE, **kwargs)
