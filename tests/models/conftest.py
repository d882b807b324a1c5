"""Random job-shop graph observations without an environment."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def make_observation(
    jobs: int, machines: int, jobs_max: int, machines_max: int, seed: int
) -> dict[str, np.ndarray[Any, Any]]:
    """One padded observation of a shop in which some jobs have begun and some are blocked."""
    rng = np.random.default_rng(seed)
    rows = jobs_max * machines_max
    machine_of = np.stack([rng.permutation(machines) for _ in range(jobs)])
    current = rng.integers(0, machines + 1, jobs)
    current[0] = 0
    observation = {
        "operations": np.zeros((rows, 14), np.float32),
        "operation_mask": np.zeros(rows, np.int8),
        "operation_machine": np.full(rows, -1, np.int32),
        "operation_next": np.full(rows, -1, np.int32),
        "jobs": np.zeros((jobs_max, 5), np.float32),
        "job_mask": np.zeros(jobs_max, np.int8),
        "job_operation": np.full(jobs_max, -1, np.int32),
        "wait_for": np.full(jobs_max, -1, np.int32),
        "machines": np.zeros((machines_max, 8), np.float32),
        "machine_mask": np.zeros(machines_max, np.int8),
        "action_mask": np.zeros(jobs_max + 1, np.int8),
    }
    observation["machine_mask"][:machines] = 1
    observation["machines"][:machines] = rng.random((machines, 8))
    for job in range(jobs):
        if current[job] == machines:
            continue
        observation["job_mask"][job] = 1
        observation["jobs"][job] = rng.random(5)
        observation["job_operation"][job] = job * machines_max + current[job]
        observation["action_mask"][job] = rng.random() < 0.6
        if rng.random() < 0.3:
            observation["wait_for"][job] = 0
        for step in range(current[job], machines):
            row = job * machines_max + step
            observation["operation_mask"][row] = 1
            observation["operation_machine"][row] = machine_of[job, step]
            observation["operation_next"][row] = row + 1 if step + 1 < machines else -1
            observation["operations"][row] = rng.random(14)
            observation["operations"][row, 2:7] = 0
            observation["operations"][row, 2 + rng.integers(0, 4)] = 1
    observation["action_mask"][0] = 1
    observation["action_mask"][-1] = rng.random() < 0.5
    return observation


@pytest.fixture
def observe() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """The observation maker: (jobs, machines, jobs_max, machines_max, seed)."""
    return make_observation
