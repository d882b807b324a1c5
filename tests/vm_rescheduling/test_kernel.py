"""The compiled kernel against the plain-Python reference, the validator and known results."""

import json
from pathlib import Path

import numpy as np
import pytest
from vm_rescheduling.reference import (
    Cluster,
    Settings,
    is_close,
    random_instance,
    random_settings,
)

from dispatchgym.envs.vm_rescheduling import Instance, load, make_instance, validate
from dispatchgym.envs.vm_rescheduling.env import VMReschedulingEnv, VMReschedulingVectorEnv

GOLD = Path(__file__).resolve().parents[3] / "shared" / "data" / "vm" / "gold"
needs_gold = pytest.mark.skipif(not GOLD.is_dir(), reason="no shared/data/vm/gold beside this")


def _environment(instance, settings, **kwargs):
    return VMReschedulingEnv(
        scenario=instance,
        action_mode=settings.action_mode,
        numa_rule=settings.numa_rule,
        allow_stay=settings.allow_stay,
        allow_stop=settings.allow_stop,
        invalid_action="raise",
        **kwargs,
    )


def _random_action(cluster, rng):
    """Return any legal action, as the reference sees it."""
    if cluster.settings.action_mode != "joint":
        return int(rng.choice(np.flatnonzero(cluster.mask())))
    legal = cluster.legal_vms()
    if not legal:
        return [0, 0]
    vm = int(rng.choice(legal))
    return [vm, int(rng.choice(list(cluster.destinations(vm))))]


def _check_rules(env, cluster, exact):
    """Compare the rules; where gains are no whole numbers, ties may be rounded apart."""
    for rule in ("ha", "greedy_joint"):
        action, expected = env.rule_action(rule), cluster.rule_action(rule)
        if exact:
            assert np.array_equal(action, expected), rule


def _check_observation(observation, cluster):
    for key, expected in cluster.observation().items():
        np.testing.assert_allclose(observation[key], expected, rtol=1e-5, atol=1e-6, err_msg=key)


def _play_both(instance, settings, rng):
    """Play the same actions in kernel and reference; everything that can be seen must agree."""
    env = _environment(instance, settings)
    cluster = Cluster(instance, settings)
    observation, info = env.reset(seed=0)
    exact = all(term.resource == "cpu" for term in instance.objective.terms)
    total, start = 0.0, cluster.reduced()
    while not cluster.done:
        assert info["action_mask"].tolist() == cluster.mask()
        assert np.flatnonzero(env.action_masks_vm()).tolist() == cluster.legal_vms()
        _check_observation(observation, cluster)
        _check_rules(env, cluster, exact)
        action = _random_action(cluster, rng)
        observation, reward, terminated, truncated, info = env.step(np.array(action))
        assert is_close(reward, cluster.act(action))
        assert terminated == cluster.done
        assert not truncated
        total += reward
    _check_observation(observation, cluster)
    assert not info["action_mask"].any()
    assert info["schedule"]["moves"].tolist() == [list(move) for move in cluster.moves]
    assert info["migrations"] == len(cluster.moves)
    _check_result(instance, cluster, info, total, start)


def _check_result(instance, cluster, info, total, start):
    term = instance.objective.terms[0]
    assert is_close(info["objective"], cluster.objective())
    assert is_close(info["fragment_rate"], cluster.rate(term))
    assert info["slots"] == cluster.slots(term)
    if instance.objective.kind == "goal":
        assert is_close(total, -info["objective"] * cluster.scale())
    else:
        assert is_close(total, (start - info["objective"]) * cluster.scale())
    report = validate(instance, info["schedule"])
    assert report.valid, report.violations
    assert is_close(report.objective, info["objective"])


@pytest.mark.parametrize("seed", range(400))
def test_kernel_equals_reference(seed):
    rng = np.random.default_rng(seed)
    _play_both(random_instance(rng), random_settings(rng), rng)
