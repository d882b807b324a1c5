"""The published graphs give the numbers of an independent implementation."""

from functools import lru_cache

import numpy as np
import pytest
from edge_dag_plan.cases import GRAPHS, qoe, reference_rows, simulate

from dispatchgym.envs.edge_dag_plan import load_all, solve, validate

pytestmark = pytest.mark.skipif(
    not GRAPHS.exists(), reason="the shared data of the project is not beside this checkout"
)

QUEUES = ("corrected", "published_code")
RULES = {"all_local": "rank", "all_remote": "rank", "rr": "rank", "heft": "rank", "greedy": "index"}
"""Policy of the reference -> the order it decides in."""
LATENCY, HALVES = (1.0, 0.0), (0.5, 0.5)


@lru_cache
def graphs(tasks):
    return [instance for instance in load_all(GRAPHS) if instance.num_tasks == tasks]


def assert_four_digits(found, expected):
    """Assert equality to four digits, or to as many decimals as there are."""
    if expected == "":
        return
    value = float(expected)
    assert found == pytest.approx(value, rel=5e-5, abs=5.1e-5), (found, expected)


@pytest.mark.parametrize("tasks", [10, 15, 20, 30, 50])
@pytest.mark.parametrize("queue", QUEUES)
def test_rules(tasks, queue):
    rows = reference_rows()
    instances = graphs(tasks)
    assert len(instances) == 100
    for policy, order in RULES.items():
        rule = "round_robin" if policy == "rr" else policy
        simulation = simulate(instances, uplink_queue=queue, order=order)
        final = simulation.run_rule(rule)
        objective = final["objective"]
        row = rows[f"test_{tasks}", queue, policy]
        pairs = list(zip(instances, objective, strict=True))
        assert_four_digits(objective[:, 0].mean(), row["latency"])
        assert_four_digits(objective[:, 1].mean(), row["energy_J"])
        assert_four_digits(np.mean([qoe(*pair, LATENCY) for pair in pairs]), row["qoe_latency"])
        assert_four_digits(np.mean([qoe(*pair, HALVES) for pair in pairs]), row["qoe_half_half"])
        for lane in (0, 99):
            schedule = {key: value[lane] for key, value in final["schedule"].items()}
            assert validate(instances[lane], schedule).valid


@pytest.mark.parametrize("tasks", [10, 15])
@pytest.mark.parametrize("queue", QUEUES)
@pytest.mark.parametrize(
    ("weights", "policy", "column"),
    [(LATENCY, "opt_LO", "qoe_latency"), (HALVES, "opt_EE", "qoe_half_half")],
)
def test_optima(tasks, queue, weights, policy, column):
    found = [solve(instance, preference=weights, uplink_queue=queue) for instance in graphs(tasks)]
    assert all(result.proved for result in found)
    row = reference_rows()[f"test_{tasks}", queue, policy]
    assert_four_digits(np.mean([1.0 - result.cost for result in found]), row[column])
    if weights == LATENCY:
        assert_four_digits(np.mean([result.objective[0] for result in found]), row["latency"])
