"""Random small instances with unusual settings, for tests that want to meet everything."""

from dataclasses import replace

import numpy as np

from dispatchgym.envs.soc.instance import Cluster, Instance, JobProfile, Platform, Workload


def varied(seed, **fields):
    """A small instance with any combination of the workload's options; `fields` replace some."""
    random = np.random.default_rng(seed)
    pes, kinds = int(random.integers(1, 6)), int(random.integers(1, 4))
    platform = Platform(
        "varied",
        tuple(f"P{p}" for p in range(pes)),
        (Cluster("all", "CPU"),),
        np.zeros(pes, np.int64),
        random.choice([1.0, 2.5, 10.0, np.inf], (pes, pes)),
        random.choice([1.0, 4.0], pes),
    )
    profiles = tuple(_profile(random, f"job{k}", pes) for k in range(kinds))
    workload = _workload(random, profiles)
    return Instance("varied", platform, profiles, replace(workload, **fields))


def _profile(random, name, pes):
    tasks = int(random.integers(1, 9))
    duration = random.integers(0, 12, (tasks, pes)) * random.integers(1, 3, (tasks, 1))
    duration[random.random((tasks, pes)) < 0.2] = -1
    duration[np.arange(tasks), random.integers(0, pes, tasks)] = random.integers(0, 9, tasks)
    edges = [
        (source, target, int(random.integers(0, 20)))
        for target in range(tasks)
        for source in range(target)
        if random.random() < 0.3
    ]
    return JobProfile(
        name, tuple(f"t{i}" for i in range(tasks)), duration, np.array(edges).reshape(-1, 3)
    )


def _workload(random, profiles):
    kinds, chances = len(profiles), random.random(len(profiles)) + 0.1
    common = {
        "probabilities": chances / chances.sum(),
        "scale": float(random.choice([1.5, 8.0, 25.0])),
        "capacity": int(random.integers(1, 6)),
        "arrival_rule": str(random.choice(["ds3", "gym"])),
        "pseudo_steady": bool(random.random() < 0.5),
        "noise": float(random.choice([0.0, 0.4])),
        "comm_mode": str(random.choice(["pe_to_pe", "shared_memory"])),
        "executable_order": str(random.choice(["insertion", "job"])),
        "strict_ds3": bool(random.random() < 0.4),
        "sampling_period": int(random.choice([2, 5])),
    }
    protocol = str(random.choice(["legacy", "steady", "batch"]))
    if protocol == "legacy":
        return Workload(protocol, horizon=300, warm_up=int(random.choice([0, 50])), **common)
    if protocol == "steady":
        return Workload(protocol, num_jobs=12, warm_up_jobs=3, **common)
    times = np.sort(random.integers(0, 60, 10))
    arrivals = np.stack([random.integers(0, kinds, 10), times], axis=1)
    most = max(profile.num_tasks for profile in profiles)
    durations = random.integers(-1, 15, (10, most)) if random.random() < 0.5 else None
    return Workload(protocol, arrivals=arrivals, durations=durations, **common)
