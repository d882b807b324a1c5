"""Generators keep their limits and laws, and names lead to them."""

import numpy as np
import pytest
from edge_dag_plan.cases import GRAPHS

from dispatchgym.envs.core.errors import ParameterError, ScenarioError
from dispatchgym.envs.edge_dag_plan import (
    Device,
    JobGenerator,
    LayeredGenerator,
    load_all,
    make_instance,
    scenarios,
)
from dispatchgym.envs.edge_dag_plan.env import EdgeDagPlanSimulation
from dispatchgym.envs.edge_dag_plan.generators import MBIT, MEBI, generator


@pytest.mark.parametrize(
    "name", [*scenarios(), "drlto-n10-20", "drlto-n12-up3", "mrlco-n30", "alibaba_plan-n10-30-m2"]
)
def test_names_lead_to_instances(name):
    source = generator(name)
    for seed in (0, 1, 2**63):
        instance = make_instance(name, seed)
        assert instance == make_instance(name, seed)
        assert instance.name.startswith(name)
        assert instance.num_tasks <= source.limits.tasks
        assert instance.num_edges <= source.limits.edges
        assert instance.num_servers <= source.limits.servers
    assert make_instance(name, 0) != make_instance(name, 1)


def test_sizes_are_those_of_the_name():
    assert {make_instance("drlto", seed).num_tasks for seed in range(200)} == set(range(10, 51, 5))
    assert {make_instance("drlto-n8-10", seed).num_tasks for seed in range(50)} == {8, 9, 10}
    assert {make_instance("alibaba_plan-n6-9-m2", s).num_servers for s in range(5)} == {2}
    assert make_instance("mrlco-n30", 0).num_tasks == 30


def test_drlto_has_the_published_device():
    instance = make_instance("drlto-n10", 0)
    assert instance.device_speed == MEBI
    assert instance.server_speed[0] == 10 * MEBI
    assert instance.uplink[0] == instance.downlink[0] == 7 * MBIT == 917504
    assert instance.device_power == pytest.approx(6.4)
    slow = make_instance("drlto-n10-up3", 0)
    assert slow.server_speed[0] == 8 * MEBI
    assert slow.uplink[0] == 3 * MBIT
    np.testing.assert_array_equal(instance.output, instance.work / 2)


@pytest.mark.skipif(not GRAPHS.exists(), reason="the shared data is not beside this checkout")
def test_generated_graphs_are_like_the_published_ones():
    published = [instance for instance in load_all(GRAPHS) if instance.num_tasks == 20]
    generated = [make_instance("drlto-n20", seed) for seed in range(1000)]
    for measure, tolerance in (
        (lambda instance: instance.num_edges, 0.12),
        (lambda instance: instance.local_latency, 0.05),
        (lambda instance: instance.rank_order.size, 0.0),
        (lambda instance: instance.upward_rank.max() / instance.local_latency, 0.12),
    ):
        ours, theirs = (np.mean([measure(i) for i in group]) for group in (generated, published))
        assert ours == pytest.approx(theirs, rel=tolerance)


def test_the_kernel_draws_the_same_instances():
    for name in ("drlto-n5-12", "alibaba_plan"):
        simulation = EdgeDagPlanSimulation(num_lanes=3, scenario=name)
        simulation.restart(np.ones(3, np.bool_), np.array([5, 6, 7]))
        for lane in range(3):
            instance = make_instance(name, 5 + lane)
            tasks = instance.num_tasks
            assert simulation.instance(lane) == instance
            np.testing.assert_array_equal(simulation.state.local[lane, :tasks], instance.local_time)
            np.testing.assert_array_equal(simulation.state.up[lane, :tasks], instance.upload_time)
            np.testing.assert_array_equal(simulation.state.order[lane, :tasks], instance.rank_order)


def test_jobs_have_servers_that_differ():
    instance = make_instance("alibaba_plan", 3)
    assert len(set(instance.server_speed)) == 4
    ratio = instance.server_speed / instance.device_speed
    assert ((ratio >= 2) & (ratio <= 8)).all()
    np.testing.assert_array_equal(instance.link, instance.link.T)
    between = instance.link[~np.eye(4, dtype=bool)]
    assert ((between >= 30 * MBIT) & (between <= 70 * MBIT)).all()


@pytest.mark.parametrize("name", ["drlto-n0", "drtlo-n15", "mrlco-m3", "alibaba_plan-m99", 3])
def test_unknown_names_are_refused(name):
    with pytest.raises(ScenarioError, match="scenario"):
        generator(name)


def test_a_close_name_is_suggested():
    with pytest.raises(ScenarioError, match="did you mean drlto-n15"):
        make_instance("drtlo-n15", 0)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "x"])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ParameterError, match="seed: found"):
        make_instance("drlto-n10", seed)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayeredGenerator(tasks=(5, 3)), "tasks: found"),
        (lambda: LayeredGenerator(tasks=(1, 2000)), "tasks: found"),
        (lambda: LayeredGenerator(step=0), "step: found 0"),
        (lambda: LayeredGenerator(fat=(0.5, 1.5, 0.1)), "fat: found"),
        (lambda: LayeredGenerator(ccr=(0.0, 0.5, 0.1)), "ccr: found"),
        (lambda: LayeredGenerator(density=(0.5, 0.9)), "density: found"),
        (lambda: LayeredGenerator(density=(0.5, 0.9, 0.0)), "density: found"),
        (lambda: JobGenerator(tasks=(1, 61)), "tasks: found"),
        (lambda: JobGenerator(servers=0), "servers: found 0"),
        (lambda: JobGenerator(rate=(0.0, 1.0)), "rate: found"),
        (lambda: JobGenerator(speedup=(3.0, 2.0)), "speedup: found"),
    ],
)
def test_impossible_generators_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()


def test_a_device_of_ones_own():
    faster = LayeredGenerator((6, 6), device=Device(rate=19 * MBIT)).generate(1)
    assert faster.uplink[0] == 19 * MBIT
