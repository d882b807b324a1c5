"""The compiled kernel against the plain-Python reference, the validator and known results."""

import json
from pathlib import Path

import numpy as np
import pytest
from vm_rescheduling.reference import (
    Cluster,
    is_close,
    random_instance,
    random_settings,
)

from dispatchgym.envs.core.errors import ParameterError
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


# ---------------------------------------------------------------- known results


def _gold_limits():
    cases = []
    for path in sorted(GOLD.glob("*.json")):
        results = json.loads(path.read_text())["results"]
        cases += [(path, int(limit)) for limit in results["mnl"]]
    return cases


@needs_gold
@pytest.mark.parametrize(
    ("path", "limit"),
    _gold_limits(),
    ids=[f"{path.stem}-{limit}" for path, limit in _gold_limits()],
)
def test_ha_gives_the_recorded_fragment_rate(path, limit):
    """Node by score, as published, is the explicit NUMA rule."""
    recorded = json.loads(path.read_text())["results"]
    env = VMReschedulingEnv(scenario=load(path, mnl=limit), numa_rule="explicit")
    env.reset(seed=0)
    assert env.instance.slots == recorded["initial_slots"]
    info = _play(env, "ha")
    assert info["fragment_rate"] == pytest.approx(
        recorded["mnl"][str(limit)]["greedy_ha_fr"], abs=5e-7
    )


def _play(env, rule):
    ended = False
    while not ended:
        *_, ended, _, info = env.step(env.rule_action(rule))
    return info


def test_greedy_joint_solves_the_toy():
    env = VMReschedulingEnv(scenario="toy")
    env.reset(seed=0)
    info = _play(env, "greedy_joint")
    assert info["objective"] == 0.0
    assert info["slots"] == 2


# ---------------------------------------------------------------- properties


def test_the_return_is_the_fragment_cores_removed():
    """FR at the end = FR at the start - 128 return / F, on 1,000 random episodes."""
    vec = VMReschedulingVectorEnv(100, scenario="S", autoreset_mode="Disabled")
    for batch in range(10):
        vec.reset(seed=1000 * batch)
        starts = [(i.fragment_rate, i.total_free_cpu, i.slots) for i in vec.instances]
        returns, ended = np.zeros(100), np.zeros(100, np.bool_)
        while not ended.all():
            _, rewards, terminated, truncated, infos = vec.step(vec.rule_action("random"))
            returns += rewards
            ended = terminated | truncated  # all episodes have the same length
        for row, (rate, free, slots) in enumerate(starts):
            expected = rate - 128 * returns[row] / free
            assert infos["fragment_rate"][row] == pytest.approx(expected, abs=1e-12)
            assert infos["slots"][row] - slots == round(8 * returns[row])


def _legal_by_definition(instance, moves):
    """Return which VMs may move after these moves, from whole tables of numpy."""
    pm, node = instance.vm_pm.copy(), instance.vm_node.copy()
    for vm, new_pm, new_node in moves:
        pm[vm], node[vm] = new_pm, new_node
    cpu, memory = instance.free(pm, node)
    vms, pms = np.arange(instance.num_vms), np.arange(instance.num_pms)
    fits = (cpu[None] >= instance.vm_share_cpu[:, None, None]) & (
        memory[None] >= instance.vm_share_memory[:, None, None]
    )
    fits[vms[node < 2], pm[node < 2], node[node < 2]] = False
    double = instance.vm_numa == 2
    places = np.where(double[:, None], fits.all(2), fits.any(2))
    places[vms[double], pm[double]] = False
    same = (instance.affinity[:, None] == instance.affinity[None]) & (instance.affinity >= 0)
    np.fill_diagonal(same, False)
    hosts = pm[:, None] == pms[None]
    conflict = (same.astype(np.float32) @ hosts.astype(np.float32)) > 0.5
    conflict[vms, pm] = False
    return (places & ~conflict).any(1) & instance.movable


@pytest.mark.parametrize("scenario", ["S", "S-AA", "S-MR", "M-AA", "M-MR"])
def test_masks_stay_exact_through_an_episode(scenario):
    env = VMReschedulingEnv(scenario=scenario, numa_rule="explicit")
    for seed in range(1 if scenario.startswith("M") else 8):
        env.reset(seed=seed)
        rule = ("random", "greedy_joint")[seed % 2]
        ended = False
        while not ended:
            moves = env.simulation.schedule(0)["moves"]
            legal = _legal_by_definition(env.instance, moves)
            np.testing.assert_array_equal(env.action_masks_vm()[: len(legal)], legal)
            env.step(env.rule_action(rule))
            *_, ended, _, info = env.step(env.rule_action(rule))
        report = validate(env.instance, info["schedule"])
        assert report.valid
        assert report.objective == pytest.approx(info["objective"], abs=1e-12)


def test_memory_binds_where_it_should():
    """A VM that fits by its cores but not by its memory may not move."""
    instance = _two_machines(memory=[[100, 100], [100, 9]])
    env = VMReschedulingEnv(scenario=instance, numa_rule="explicit")
    env.reset(seed=0)
    assert env.action_masks_pm(0).tolist() == [False, True, True, False]


def _two_machines(memory, **changes):
    return Instance(
        name="two",
        pm_cpu=np.full((2, 2), 20),
        pm_memory=np.array(memory),
        vm_cpu=np.array([4, 4]),
        vm_memory=np.array([10, 10]),
        vm_numa=np.array([1, 1]),
        vm_pm=np.array([0, 1]),
        vm_node=np.array([0, 0]),
        **changes,
    )


def test_anti_affinity_closes_a_machine_and_a_rack():
    free = [[100, 100], [100, 100]]
    together = {"affinity": np.array([0, 0])}
    for rack_level, racks, expected in (
        (False, [0, 0], [False, True, False, False]),  # the other machine has a VM of the set
        (True, [0, 1], [False, True, False, False]),  # the other rack has
        (True, [0, 0], [False, True, True, True]),  # both are on one rack already: may stay so
    ):
        instance = _two_machines(
            free, **together, affinity_rack=np.array([rack_level]), rack=np.array(racks)
        )
        env = VMReschedulingEnv(scenario=instance, numa_rule="explicit")
        env.reset(seed=0)
        assert env.action_masks_pm(0).tolist() == expected


@pytest.mark.parametrize("rule", ["random", "ha", "greedy_joint"])
@pytest.mark.parametrize("action_mode", ["two_step", "joint", "flat"])
def test_a_rule_in_the_kernel_equals_its_actions(rule, action_mode):
    arguments = {"scenario": "S-AA", "action_mode": action_mode, "numa_rule": "first"}
    vec = VMReschedulingVectorEnv(3, **arguments)
    vec.reset(seed=5)
    whole = vec.run_rule(rule)
    env = VMReschedulingEnv(**arguments, invalid_action="raise")
    for row in range(3):
        env.reset(seed=5 + row)
        info = _play(env, rule)
        moves = whole["schedule"]["moves"][row]
        np.testing.assert_array_equal(moves[: info["migrations"]], info["schedule"]["moves"])
        assert (moves[info["migrations"] :] == -1).all()
        assert whole["objective"][row] == info["objective"]


def test_random_chooses_uniformly():
    """Chi-squared over the first VM and its destination, over many seeds."""
    instance = make_instance("random_4", 3)
    env = VMReschedulingEnv(scenario=instance, numa_rule="explicit", action_mode="joint")
    env.reset(seed=0)
    vms = np.flatnonzero(env.action_masks_vm())
    counts, samples = np.zeros(instance.num_vms), 4000
    inside = []
    for seed in range(samples):
        env.reset(seed=seed)
        vm, destination = env.rule_action("random")
        counts[vm] += 1
        legal = np.flatnonzero(env.action_masks_pm(vm))
        inside.append((np.searchsorted(legal, destination) + 0.5) / legal.size)
    expected = samples / vms.size
    statistic = ((counts[vms] - expected) ** 2 / expected).sum()
    assert counts.sum() == counts[vms].sum() == samples
    assert statistic < vms.size + 5 * np.sqrt(2 * vms.size)
    assert np.mean(inside) == pytest.approx(0.5, abs=0.02)


def test_noise_differs_by_row_and_not_by_chance():
    vec = VMReschedulingVectorEnv(4, scenario="S")
    plans = []
    for _ in range(2):
        vec.reset(seed=[3] * 4)
        plans.append(vec.run_rule("greedy_joint", temperature=2.0)["schedule"]["moves"])
    np.testing.assert_array_equal(*plans)
    assert len({plan.tobytes() for plan in plans[0]}) > 1
    vec.reset(seed=[3] * 4)
    quiet = vec.run_rule("greedy_joint")["schedule"]["moves"]
    assert len({plan.tobytes() for plan in quiet}) == 1


def test_the_order_of_machines_does_not_matter():
    """The same plan on renumbered machines and VMs gives the same rewards."""
    instance = make_instance("S", 4)
    rng = np.random.default_rng(0)
    to_vm, to_pm = rng.permutation(instance.num_vms), rng.permutation(instance.num_pms)
    back = np.argsort(to_vm)
    other = instance.replace(
        vm_pm=to_pm[instance.vm_pm][back],
        **{name: getattr(instance, name)[back] for name in
           ("vm_cpu", "vm_memory", "vm_numa", "vm_node", "affinity", "movable")},
    )  # fmt: skip
    envs = [VMReschedulingEnv(scenario=case, action_mode="joint") for case in (instance, other)]
    for env in envs:
        env.reset(seed=0)
    ended = False
    while not ended:
        vm, pm = envs[0].rule_action("greedy_joint")
        _, reward, ended, *_ = envs[0].step(np.array([vm, pm]))
        _, expected, *_ = envs[1].step(np.array([to_vm[vm], to_pm[pm]]))
        assert reward == pytest.approx(expected, abs=1e-12)


def test_a_plan_and_its_reverse_restore_the_observation():
    env = VMReschedulingEnv(
        scenario="S", action_mode="joint", numa_rule="explicit", migration_limit=20
    )
    first, _ = env.reset(seed=1)
    instance, last = env.instance, first
    path, total = [], 0.0
    for _ in range(10):
        vm, destination = env.rule_action("random").tolist()
        path.append((vm, 2 * int(last["vm_pm"][vm]) + int(last["vm_numa"][vm]) % 2))
        last, reward, *_ = env.step(np.array([vm, destination]))
        total += reward
    assert not np.array_equal(first["vm_pm"], last["vm_pm"])
    for vm, destination in reversed(path):
        last, reward, *_ = env.step(np.array([vm, destination]))
        total += reward
    assert total == pytest.approx(0.0, abs=1e-12)
    assert last["vm_pm"][: instance.num_vms].tolist() == instance.vm_pm.tolist()
    for key in ("vm", "vm_pm", "vm_numa", "gain_out"):
        np.testing.assert_array_equal(first[key], last[key], err_msg=key)


def test_a_generator_with_more_than_it_said_is_refused():
    class Liar:
        max_pms, max_vms, max_migrations = 20, 400, 10
        max_classes = 1

        def generate(self, seed):
            return make_instance("S", seed)

    with pytest.raises(ParameterError, match="max_classes is 1"):
        VMReschedulingEnv(scenario=Liar()).reset(seed=0)


@pytest.mark.parametrize("numa_rule", ["best", "first", "keep", "explicit"])
@pytest.mark.parametrize("rule", ["random", "ha", "greedy_joint"])
@pytest.mark.parametrize("scenario", ["S", "S-AA", "S-MR", "random_8"])
def test_whole_plans_of_rules_are_valid(scenario, rule, numa_rule):
    vec = VMReschedulingVectorEnv(24, scenario=scenario, migration_limit=30, numa_rule=numa_rule)
    vec.reset(seed=0)
    instances = vec.instances
    final = vec.run_rule(rule)
    for row, instance in enumerate(instances):
        report = validate(instance, {"moves": final["schedule"]["moves"][row]})
        assert report.valid, report.violations
        assert is_close(report.objective, final["objective"][row])
