"""The Gymnasium classes of VM rescheduling."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.core.kernel_env import KernelEnv
from dispatchgym.envs.core.scenario import resolve
from dispatchgym.envs.core.simulation import Simulation, check_choice, copy_nested
from dispatchgym.envs.core.vector_env import KernelVectorEnv
from dispatchgym.envs.vm_rescheduling import kernel
from dispatchgym.envs.vm_rescheduling.generators import (
    ClusterGenerator,
    FixedGenerator,
    Generator,
    Recipe,
    generator,
)
from dispatchgym.envs.vm_rescheduling.instance import (
    MAX_MIGRATIONS,
    OBJECTIVE_KINDS,
    Instance,
    Objective,
    Term,
)
from dispatchgym.envs.vm_rescheduling.laying import lay_cluster, lay_clusters
from dispatchgym.envs.vm_rescheduling.parsers import load
from dispatchgym.envs.vm_rescheduling.rules import RULES

__all__ = ["VMReschedulingEnv", "VMReschedulingSimulation", "VMReschedulingVectorEnv"]

ACTION_MODES = ("two_step", "joint", "flat")
NUMA_RULES = ("best", "first", "keep", "explicit")
OBSERVATIONS = ("graph", "vmr2l")
MAX_FLAT_ACTIONS = 200_000
"""Largest number of pairs in action mode ``flat``: the mask has an entry for each."""

_NUMBER_LIMIT = float(np.finfo(np.float32).max)
_COMMON_KEYS = ("pm", "vm", "vm_pm", "vm_mask", "pm_mask", "chosen_vm")
GRAPH_KEYS = (*_COMMON_KEYS, "vm_numa", "gain_out", "gain_in", "fits", "steps_left", "action_mask")
VMR2L_KEYS = (*_COMMON_KEYS, "num_steps", "num_vms", "action_mask")


class Limits(NamedTuple):
    """The largest sizes of the instances of a generator, which decide about all shapes."""

    pms: int
    vms: int
    migrations: int
    classes: int
    sets: int
    clusters: int
    racks: int
    terms: int


class VMReschedulingSimulation(Simulation):
    """A batch of clusters; the arguments are described in `VMReschedulingEnv`."""

    def __init__(
        self,
        *,
        num_lanes: int,
        scenario: str | Path | Instance | Generator = "S",
        action_mode: str = "two_step",
        numa_rule: str = "best",
        allow_stay: bool = False,
        allow_stop: bool = True,
        migration_limit: int | None = None,
        objective: Objective | str | Mapping[str, Any] | None = None,
        observation: str = "graph",
        reward_scale: float | None = None,
        step_limit: int = 0,
    ) -> None:
        check_choice("action_mode", action_mode, ACTION_MODES)
        check_choice("numa_rule", numa_rule, NUMA_RULES)
        check_choice("observation", observation, OBSERVATIONS)
        if reward_scale is not None and not (0 < reward_scale < _NUMBER_LIMIT):
            raise ParameterError(
                f"reward_scale: found {reward_scale!r}, expected a positive number or None"
            )
        self.num_lanes = num_lanes
        self._one_block = num_lanes <= kernel.LANES_PER_BLOCK  # not worth a parallel loop
        self.rules = RULES
        self.action_mode = action_mode
        self.numa_rule = numa_rule
        self._reward_scale = reward_scale or 0.0
        self._make_generator(scenario, _changes(migration_limit, objective))
        self._make_source()
        self._make_state()
        setting = self.state.setting
        setting[kernel.ACTION_MODE] = ACTION_MODES.index(action_mode)
        setting[kernel.NUMA_RULE] = NUMA_RULES.index(numa_rule)
        setting[kernel.ALLOW_STAY] = allow_stay
        setting[kernel.ALLOW_STOP] = allow_stop and action_mode != "joint"
        setting[kernel.GRAPH] = observation == "graph"
        setting[kernel.STEP_LIMIT] = step_limit
        self._make_spaces(observation)

    # --- what the kernel works on ---

    def _make_generator(self, scenario: Any, changes: dict[str, Any]) -> None:
        found = resolve(scenario, Instance, generator, load)
        if isinstance(found, Instance):
            found = FixedGenerator(found)
        if not isinstance(found, Generator):
            raise ParameterError(
                "scenario: the generator needs max_pms, max_vms and max_migrations"
            )
        if changes:
            found = _changed(found, changes)
        self._generator: Generator = found
        self.limits = _limits(found)

    def _make_source(self) -> None:
        limits = self.limits
        self._fixed = isinstance(self._generator, FixedGenerator)
        rows = 1 if self._fixed else self.num_lanes
        self._source = kernel.Source(
            np.array([int(self._fixed)]),
            np.zeros((rows, kernel.NUM_SOURCE_SCALARS), np.int64),
            np.zeros((rows, kernel.NUM_SOURCE_REALS)),
            np.zeros((rows, kernel.NUM_SOURCE_PM_COLUMNS, limits.pms), np.int64),
            np.zeros((rows, limits.vms, kernel.NUM_SOURCE_VM_COLUMNS), np.int64),
            np.zeros((rows, limits.sets), np.int64),
            np.zeros((rows, limits.terms, kernel.NUM_SOURCE_TERM_COLUMNS), np.int64),
            np.zeros((rows, limits.terms)),
        )
        self._current: list[tuple[int, Instance] | None] = [None] * self.num_lanes
        self._prepared = self._current.copy()
        if self._fixed:
            self._lay(self._generator.generate(0), 0)
        self._clusters: tuple[Recipe, int, int] | None = None
        if isinstance(self._generator, ClusterGenerator):
            self._clusters = self._generator.recipe, *self._generator.limits
            self._lay(self._generator.generate(0), 0)
            for array in self._source[1:]:  # what all of its clusters have in common
                array[:] = array[0]

    def _lay(self, instance: Instance, row: int) -> None:
        """Write an instance into a row of the source."""
        source = self._source
        racks, clusters = _zones(instance)
        terms, weights, first_term = _terms(instance.objective)
        self._check_limits(instance, racks, clusters, len(terms))
        pms, vms = instance.num_pms, instance.num_vms
        source.scalar[row] = (
            pms,
            vms,
            instance.migration_limit,
            OBJECTIVE_KINDS.index(instance.objective.kind),
            instance.num_sets,
            len(terms),
            first_term,
            clusters.max() + 1,
            racks.max() + 1,
        )
        source.real[row] = instance.objective.goal, self._reward_scale
        source.pm[row, :2, :pms] = instance.pm_cpu.T
        source.pm[row, 2:4, :pms] = instance.pm_memory.T
        source.pm[row, kernel.RACK, :pms] = racks
        source.pm[row, kernel.CLUSTER, :pms] = clusters
        columns = source.vm[row, :vms].T
        columns[kernel.SHARE] = instance.vm_share_cpu
        columns[kernel.MEMORY_SHARE] = instance.vm_share_memory
        columns[kernel.NUMA] = instance.vm_numa
        columns[kernel.PM] = instance.vm_pm
        columns[kernel.NODE] = instance.vm_node
        columns[kernel.MOVABLE] = instance.movable
        columns[kernel.SET] = instance.affinity
        source.rack_level[row, : instance.num_sets] = instance.affinity_rack
        source.term[row, : len(terms)] = terms
        source.weight[row, : len(terms)] = weights

    def _check_limits(
        self,
        instance: Instance,
        racks: npt.NDArray[np.int64],
        clusters: npt.NDArray[np.int64],
        terms: int,
    ) -> None:
        found = Limits(
            instance.num_pms,
            instance.num_vms,
            instance.migration_limit,
            _num_classes(instance),
            instance.num_sets,
            int(clusters.max()) + 1,
            int(racks.max()) + 1,
            terms,
        )
        for name, value, limit in zip(Limits._fields, found, self.limits, strict=True):
            if value > limit:
                raise ParameterError(
                    f"generator: made an instance with {name} {value}, its max_{name} is {limit}"
                )

    def _allocate(self, lanes: int) -> kernel.State:
        limits = self.limits
        return kernel.State(
            np.zeros(kernel.NUM_SETTINGS, np.int64),
            np.zeros((lanes, kernel.NUM_SCALARS), np.int64),
            np.zeros((lanes, kernel.NUM_REALS)),
            np.zeros((lanes, kernel.NUM_PM_COLUMNS, limits.pms), np.int64),
            np.zeros((lanes, limits.vms, kernel.NUM_VM_COLUMNS), np.int64),
            np.zeros((lanes, limits.classes, kernel.NUM_GROUP_COLUMNS), np.int64),
            np.zeros((lanes, limits.vms), np.int64),
            np.zeros((lanes, limits.classes, limits.clusters, 2), np.int64),
            np.zeros((lanes, limits.classes, limits.clusters, limits.racks), np.int64),
            np.zeros((lanes, limits.racks), np.int64),
            np.zeros((lanes, limits.sets, kernel.NUM_SET_COLUMNS), np.int64),
            np.zeros((lanes, limits.terms, kernel.NUM_TERM_COLUMNS), np.int64),
            np.zeros((lanes, limits.terms, 2)),
            np.zeros((lanes, limits.classes)),
            np.zeros((lanes, limits.vms), np.int8),
            np.zeros((lanes, limits.pms, 2), np.int8),
            np.full((lanes, limits.migrations, 3), -1, np.int64),
        )

    def _make_state(self) -> None:
        lanes = self.num_lanes
        self.state = self._allocate(lanes)
        self.reward = np.zeros(lanes, np.float64)
        self.terminated = np.zeros(lanes, np.bool_)
        self.truncated = np.zeros(lanes, np.bool_)
        self.invalid = np.zeros(lanes, np.bool_)
        self._outcome = kernel.Outcome(
            self.reward,
            self.terminated,
            self.truncated,
            self.invalid,
            np.zeros_like(self.state.scalar),
            np.zeros_like(self.state.real),
            np.zeros_like(self.state.term),
            np.full_like(self.state.moves, -1),
        )

    def _make_spaces(self, observation: str) -> None:
        keys = GRAPH_KEYS if observation == "graph" else VMR2L_KEYS
        graph = observation == "graph"
        pms, vms = self.limits.pms, self.limits.vms
        self.num_destinations = 2 * pms if self.numa_rule == "explicit" else pms
        self.action_space, actions = self._action_space(vms, self.num_destinations)
        boxes = {
            "pm": _numbers((pms, 10 if graph else 8)),
            "vm": _numbers((vms, 9 if graph else 14)),
            "vm_pm": spaces.Box(-1, pms - 1, (vms,), np.int32),
            "vm_numa": spaces.Box(-1, 2, (vms,), np.int8),
            "vm_mask": spaces.Box(0, 1, (vms,), np.int8),
            "pm_mask": spaces.Box(0, 1, (pms,), np.int8),
            "gain_out": _numbers((vms,)),
            "gain_in": _numbers((pms, 2)),
            "fits": spaces.Box(0, 1, (pms, 2), np.int8),
            "chosen_vm": spaces.Box(-1, vms - 1, (1,), np.int32),
            "steps_left": spaces.Box(0.0, _NUMBER_LIMIT, (2,), np.float32),
            "num_steps": spaces.Box(0.0, 1.0, (1,), np.float32),
            "num_vms": spaces.Box(0, vms, (1,), np.int32),
            "action_mask": spaces.Box(0, 1, (actions,), np.int8),
        }
        self.observation_space = spaces.Dict({key: boxes[key] for key in keys})
        self._observation, self._final = (
            kernel.Observation(
                **{
                    name: np.zeros((self.num_lanes if name in keys else 0, *box.shape), box.dtype)
                    for name, box in boxes.items()
                }
            )
            for _ in range(2)
        )
        self.observations = {key: getattr(self._observation, key) for key in keys}
        self.final_observations = {key: getattr(self._final, key) for key in keys}

    def _action_space(self, vms: int, destinations: int) -> tuple[spaces.Space[Any], int]:
        """Return the action space and the length of its mask."""
        if self.action_mode == "joint":
            return spaces.MultiDiscrete([vms, destinations]), vms + destinations
        actions = max(vms, destinations) + 1
        if self.action_mode == "flat":
            if vms * destinations > MAX_FLAT_ACTIONS:
                raise ParameterError(
                    f"action_mode: 'flat' has {vms * destinations} pairs of VM and destination "
                    f"here, expected at most {MAX_FLAT_ACTIONS}; use 'two_step' or 'joint'"
                )
            actions = vms * destinations + 1
        return spaces.Discrete(actions), actions

    # --- episodes ---

    def restart(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Begin new episodes in the chosen lanes; see `Simulation.restart`."""
        if not self._fixed:
            self._prepare(chosen, seeds)
        arguments = (self.state, self._source, self._observation, seeds, chosen)
        if self._one_block:
            kernel.reset_block(*arguments, 0)
        else:
            kernel.reset_batch(*arguments)
        if not self._fixed:
            self._take_prepared(chosen)

    def step(
        self, actions: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], autoreset: bool
    ) -> None:
        """Apply actions; see `Simulation.step`."""
        arguments = (
            self.state,
            self._source,
            self._observation,
            self._final,
            self._outcome,
            actions.reshape(self.num_lanes, -1),
            autoreset,
            chosen,
        )
        if self._one_block:
            kernel.step_block(*arguments, 0)
        else:
            kernel.step_batch(*arguments)
        if autoreset and not self._fixed:
            self._take_prepared(self.terminated | self.truncated)

    def _prepare(self, chosen: npt.NDArray[np.bool_], seeds: npt.NDArray[np.int64]) -> None:
        """Lay ready the instances of lanes that get a seed of their own."""
        lanes = np.flatnonzero(chosen & (seeds >= 0))
        self._lay_ready(lanes, seeds[lanes].astype(np.uint64))

    def _take_prepared(self, begun: npt.NDArray[np.bool_]) -> None:
        """Note which instances are now being played and lay the following ones ready."""
        lanes = np.flatnonzero(begun)
        for lane in lanes.tolist():
            self._current[lane] = self._prepared[lane]
        self._lay_ready(lanes, kernel.following_seeds(self.state, lanes))

    def _lay_ready(self, lanes: npt.NDArray[np.intp], seeds: npt.NDArray[np.uint64]) -> None:
        """Lay the instances of seeds (N,) ready for lanes (N,)."""
        if self._clusters is not None:
            if len(lanes) == 1:
                lay_cluster(self._source, *self._clusters, seeds[0], lanes[0])
            elif len(lanes):
                lay_clusters(self._source, *self._clusters, seeds, lanes)
            return
        for lane, seed in zip(lanes.tolist(), seeds.tolist(), strict=True):
            instance = self._generator.generate(seed)
            self._lay(instance, lane)
            self._prepared[lane] = seed, instance

    def instance(self, lane: int) -> Instance:
        """Return the instance that is being played in a lane."""
        self.check_lane(lane)
        if self._fixed:
            return self._generator.generate(0)
        scalar = self.state.scalar[lane]
        if scalar[kernel.PMS] == 0:
            raise ParameterError("instance: no episode has begun, call reset() first")
        current, seed = self._current[lane], int(scalar[kernel.SEED])
        if current is None or current[0] != seed:  # the lane was copied or set to a snapshot
            current = self._current[lane] = seed, self._generator.generate(seed)
        return current[1]

    def refresh(self) -> None:
        """Write all observations anew from the state."""
        kernel.observe_batch(self.state, self._observation)

    def changing_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the arrays that hold the state of the lanes."""
        prepared = () if self._fixed else self._source[1:]
        return (*self.state[1:], *self._outcome, *prepared)

    # --- legality of pairs ---

    def vm_masks(self) -> npt.NDArray[np.bool_]:
        """Return which VMs may migrate, bool (B, V)."""
        return self.state.legal.astype(np.bool_)

    def destination_masks(self, vms: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return where one VM of each lane may go, bool (B, D); nowhere for an illegal VM."""
        masks = np.zeros((self.num_lanes, self.num_destinations), np.bool_)
        kernel.destination_mask_batch(self.state, vms, masks)
        return masks

    def is_legal(self, lane: int, action: Any) -> bool:
        """Tell whether an action is legal in a lane; see `Simulation.is_legal`."""
        if self.action_mode != "joint":
            return super().is_legal(lane, action)
        return bool(kernel.joint_action_is_legal(self.state, lane, int(action[0]), int(action[1])))

    def describe_legal(self, lane: int) -> str:
        """Return words for the legal actions of a lane, for error messages."""
        if self.action_mode != "joint":
            return super().describe_legal(lane)
        return "a VM of action_masks_vm() and one of its destinations in action_masks_pm(vm)"

    # --- rules inside the kernel ---

    def rule_actions(self, rule: str) -> npt.NDArray[np.int64]:
        """Return the action of a rule for each lane; -1 where the episode has ended.

        A rule that wants to stop does so where STOP is legal; elsewhere it takes the legal
        migration of the largest gain.
        """
        number = self.check_rule(rule)
        parts = 2 if self.action_mode == "joint" else 1
        actions = np.empty((self.num_lanes, parts), np.int64)
        if self.num_lanes == 1:
            kernel.rule_action(self.state, 0, number, actions)
        else:
            kernel.rule_action_batch(self.state, number, actions)
        return actions if parts == 2 else actions[:, 0]

    def run_rule(self, rule: str, temperature: float = 0.0) -> dict[str, Any]:
        """Play every lane from where it is to the end under a rule, in one compiled call.

        With a positive temperature, Gumbel noise of that size, in fragment cores, is added to
        what VMs gain (the random rule has none); each lane draws its own. No observation or
        reward is written: restart the lanes afterwards.

        Returns:
            The same as `final_infos`.
        """
        number = self.check_rule(rule)
        samples = np.arange(self.num_lanes)
        kernel.run_rule_batch(self.state, self._outcome, number, float(temperature), samples)
        return copy_nested(self.final_infos(np.ones(self.num_lanes, np.bool_)))

    # --- results ---

    def final_info(self, lane: int) -> dict[str, Any]:
        """Return the result of the episode that ended last in a lane, without padding."""
        infos = self.final_infos(np.arange(self.num_lanes) == lane)
        moves = infos.pop("schedule")["moves"][lane]
        info = {key: value[lane].item() for key, value in infos.items()}
        return {**info, "schedule": {"moves": moves[: info["migrations"]].copy()}}

    def schedule(self, lane: int) -> dict[str, npt.NDArray[np.int64]]:
        """Return the plan of the episode that is being played, as far as it has come."""
        self.check_lane(lane)
        migrations = self.state.scalar[lane, kernel.MIGRATIONS]
        return {"moves": self.state.moves[lane, :migrations].copy()}

    def final_infos(self, ended: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the results of the lanes that ended; see `Simulation.final_infos`."""
        scalar, real = self._outcome.scalar, self._outcome.real
        rate, objective = real[:, kernel.OBJECTIVE], real[:, kernel.OBJECTIVE].copy()
        goal = scalar[:, kernel.KIND] == kernel.GOAL_KIND
        reached = rate <= real[:, kernel.GOAL]
        migrations = scalar[:, kernel.MIGRATIONS]
        used = np.where(reached, migrations, scalar[:, kernel.LIMIT] + 1)
        objective[goal] = used[goal]
        slots, fragment_rate = self._first_terms()
        return {
            "objective": objective,
            "fragment_rate": fragment_rate,
            "slots": slots,
            "migrations": migrations,
            "schedule": {"moves": self._outcome.moves},
        }

    def _first_terms(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return slots and fragment rate of the objective's first term at the end, (B,) each."""
        lanes = np.arange(self.num_lanes)
        term = self._outcome.term[lanes, self._outcome.scalar[:, kernel.FIRST_TERM]]
        fragment, free = term[:, kernel.FRAGMENT], term[:, kernel.FREE]
        slots = (free - fragment) // np.maximum(term[:, kernel.CHUNK], 1)
        return slots, fragment / np.maximum(free, 1)

    def describe_action(self, action: Any) -> str:
        """Return words for an action."""
        vms, destinations = self.limits.vms, self.num_destinations
        if self.action_mode == "joint":
            return f"VM {action[0]} to {self._describe_destination(int(action[1]))}"
        if self.action_mode == "flat":
            if action == vms * destinations:
                return "stop"
            vm, destination = divmod(int(action), destinations)
            return f"VM {vm} to {self._describe_destination(destination)}"
        if action == max(vms, destinations):
            return "stop"
        return f"VM {action}, or {self._describe_destination(int(action))}"

    def _describe_destination(self, destination: int) -> str:
        if self.numa_rule == "explicit":
            return f"node {destination % 2} of PM {destination // 2}"
        return f"PM {destination}"

    def render(self, lane: int, mode: str) -> Any:
        """Return the cluster as it is now, as text or as a picture."""
        from dispatchgym.envs.vm_rescheduling import render

        draw = render.ansi if mode == "ansi" else render.frame
        return draw(self.instance(lane), self.schedule(lane))


def _changes(
    migration_limit: int | None, objective: Objective | str | Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the arguments of an environment change about its instances."""
    changes: dict[str, Any] = {}
    if migration_limit is not None:
        whole = type(migration_limit) is int and 0 <= migration_limit <= MAX_MIGRATIONS
        if not whole:
            raise ParameterError(
                f"migration_limit: found {migration_limit!r}, "
                f"expected None or a whole number in 0..{MAX_MIGRATIONS}"
            )
        changes["migration_limit"] = migration_limit
    if objective is not None:
        changes["objective"] = Objective.make(objective)
    return changes


class _Changed:
    """A generator whose instances get another migration limit or objective."""

    def __init__(self, origin: Generator, changes: dict[str, Any]) -> None:
        self.origin, self.changes = origin, changes
        self.max_pms, self.max_vms = origin.max_pms, origin.max_vms
        self.max_migrations = changes.get("migration_limit", origin.max_migrations)

    def generate(self, seed: int) -> Instance:
        return self.origin.generate(seed).replace(**self.changes)


def _changed(origin: Generator, changes: dict[str, Any]) -> Generator:
    """Return a generator of the same instances with some fields changed."""
    if isinstance(origin, FixedGenerator):
        return FixedGenerator(origin.instance.replace(**changes))
    if isinstance(origin, ClusterGenerator):
        return dataclasses.replace(origin, **changes)
    return _Changed(origin, changes)


def _limits(origin: Generator) -> Limits:
    """Return the largest sizes of a generator's instances.

    What it does not tell by an attribute ``max_...`` follows from machines and VMs, or from the
    instance of seed 0.
    """
    sample = origin.generate(0)
    racks, clusters = _zones(sample)
    several_racks = bool(sample.affinity_rack.any())
    sizes = {
        "classes": _num_classes(sample) if _is_fixed(origin) else origin.max_vms,
        "sets": sample.num_sets if _is_fixed(origin) else origin.max_vms,
        "clusters": int(clusters.max()) + 1,
        "racks": origin.max_pms if several_racks else int(racks.max()) + 1,
        "terms": len(_terms(sample.objective)[0]),
    }
    if isinstance(origin, ClusterGenerator):
        sizes["classes"] = len(origin.population.classes)
    found = {name: int(getattr(origin, f"max_{name}", size)) for name, size in sizes.items()}
    return Limits(
        pms=origin.max_pms,
        vms=origin.max_vms,
        migrations=origin.max_migrations,
        **{name: max(size, 1) for name, size in found.items()},
    )


def _is_fixed(origin: Generator) -> bool:
    return isinstance(origin, FixedGenerator)


def _num_classes(instance: Instance) -> int:
    """Return how many different VMs there are by cores, memory and NUMA nodes."""
    _, share = np.unique(instance.vm_share_cpu, return_inverse=True)
    _, memory = np.unique(instance.vm_share_memory, return_inverse=True)
    key = (share * (memory.max() + 1) + memory) * 2 + instance.vm_numa - 1
    return int(np.unique(key).size)


def _zones(instance: Instance) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the number of the rack and cluster of each PM; 0 for all where they do not matter."""
    nothing = np.zeros(instance.num_pms, np.int64)
    racks = clusters = nothing
    if instance.affinity_rack.any():
        racks = np.unique(instance.rack, return_inverse=True)[1]
    if instance.within_cluster:
        clusters = np.unique(instance.cluster, return_inverse=True)[1]
    return racks, clusters


def _terms(objective: Objective) -> tuple[list[tuple[int, int, int]], list[float], int]:
    """Return rows (resource, chunk, double), weights, and the row of the first term.

    Row 0 is always a fragment rate of single nodes in cores: the first of the objective, or one
    of weight 0 with 16 cores.
    """
    terms = list(objective.terms)
    single = [term for term in terms if term.resource == "cpu" and not term.double]
    base = single[0] if single else Term(weight=0.0)
    ordered = [base, *(term for term in terms if term is not base)]
    rows = [
        (kernel.CPU_TERM if term.resource == "cpu" else kernel.MEMORY_TERM, term.chunk, term.double)
        for term in ordered
    ]
    first = next(row for row, term in enumerate(ordered) if term is terms[0])
    return rows, [term.weight for term in ordered], first  # type: ignore[return-value]


def _numbers(shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(-_NUMBER_LIMIT, _NUMBER_LIMIT, shape, np.float32)


class VMReschedulingEnv(KernelEnv):
    """A cluster in which the agent chooses VMs to migrate, so that free cores can be used again.

    ## Description
    Physical machines (PMs) have two NUMA nodes with cores and memory. A VM is on one node, or has
    exactly half of both on each node of one PM. What is free on a node counts in chunks of X = 16
    cores: `free mod X` is a fragment, of no use to new VMs. The fragment rate FR is the sum of the
    fragments over the free cores. At most `migration_limit` VMs are migrated, one after the other,
    to make it small.

    A migration releases the VM and places it on another PM, or on the other node of its own (a
    flip). It needs room in cores and memory on its node, or on both. Immovable VMs stay. No VM
    joins a PM (or rack, for sets of that level) that has another VM of its anti-affinity set; sets
    that share one at the start may stay so. With `within_cluster` VMs keep to their cluster.

    | objective | what is minimised |
    | --- | --- |
    | `fragment` | J: a fragment rate, of cores or memory, of single nodes or (`double`) of requests that take half a chunk on both nodes of a PM |
    | `mixed` | J: a weighted sum of such rates |
    | `goal` | migrations used when J <= `goal` is reached; `migration_limit` + 1 if it is not |
    | `empty_pms` | PMs that host a VM, plus J |

    ## Action Space
    V is the largest number of VMs of the scenario, P of PMs, D of destinations: D = P, or 2 P with
    `numa_rule="explicit"`, where destination 2 p + k is node k of PM p (k = 0 for VMs on two nodes).

    | `action_mode` | space | an action is |
    | --- | --- | --- |
    | `two_step` | `Discrete(max(V, D) + 1)` | a VM, then in the next step its destination; the last action, STOP, ends the episode instead of a VM |
    | `joint` | `MultiDiscrete([V, D])` | a VM and its destination |
    | `flat` | `Discrete(V D + 1)` | VM v to destination d is v D + d; the last action is STOP; at most 200,000 pairs |

    Elsewhere than with `explicit`, `numa_rule` chooses the node of a PM if both have room for a VM
    of one node: `best` leaves the smaller remainder modulo X (ties: node 0), `first` node 0, `keep`
    the number of its present one. The VM's own PM is a destination for the flip. With `allow_stay`
    the present place is one too: a step is used up and nothing moves, and without `explicit` the
    rule decides between staying and the flip.

    A VM is legal if it is movable and has a legal destination. Legal actions are in
    `observation["action_mask"]`, `info["action_mask"]` (int8) and `action_masks()` (bool). In mode
    `joint` that is the mask of the VMs followed by the mask of the destinations of at least one of
    them: necessary, not sufficient; `action_masks_vm()` is exact, (V,), and `action_masks_pm(vm)`
    gives the destinations of one VM, (D,). If there is nothing to do at the start (no VM may move,
    the goal is reached, or the limit is 0), only STOP is legal, in mode `joint` the action [0, 0].

    ## Observation Space
    A flat `Dict` of arrays of fixed shape, padded with zeros to the largest instance of the
    scenario. X is the chunk of the objective's first rate of single nodes in cores, or 16.
    Capacities are those of the node. After a migration only the rows of two PMs and their VMs are
    written anew. With `observation="graph"`:

    | key | shape and type | content |
    | --- | --- | --- |
    | `pm` | (P, 10) float32 | free cores / capacity of nodes 0 and 1; 2, 3 free memory / capacity; 4 fragment / free cores of node 0; 5 fragment of node 0 / X; 6, 7 the same of node 1; 8 VMs / 20; 9 migrations left / limit |
    | `vm` | (V, 9) float32 | cores taken / capacity of nodes 0 and 1; 2, 3 the same of memory; 4, 5 (cores taken mod X) / X of nodes 0 and 1; 6 on two nodes; 7 in an anti-affinity set; 8 movable |
    | `vm_pm` | (V,) int32 | edge to its PM, -1 for padding |
    | `vm_numa` | (V,) int8 | its node 0 or 1, 2 for both, -1 for padding |
    | `vm_mask`, `pm_mask` | (V,), (P,) int8 | 1: exists |
    | `gain_out` | (V,) float32 | fragment cores that vanish where it is if it leaves / X |
    | `chosen_vm` | (1,) int32 | VM that waits for its destination (`two_step`), else -1 |
    | `fits` | (P, 2) int8 | 1: the chosen VM may go there; both nodes alike for a VM on two |
    | `gain_in` | (P, 2) float32 | where `fits`: fragment cores that vanish if it goes there / X; of both nodes together for a VM on two |
    | `steps_left` | (2,) float32 | migrations left / limit, migrations left / PMs |
    | `action_mask` | int8 | 1: legal |

    With `observation="vmr2l"`, the columns of the published environment (whose values are wrong
    after a step, see Credits), capacities being those of the whole PM; `vm_pm`, `vm_mask`, `pm_mask`,
    `chosen_vm` and `action_mask` as above and

    | key | shape and type | content |
    | --- | --- | --- |
    | `pm` | (P, 8) float32 | columns 0 to 7 of `pm` above |
    | `vm` | (V, 14) float32 | columns 0 to 5 of `vm` above, then the row of its PM |
    | `num_steps` | (1,) float32 | migrations used / limit |
    | `num_vms` | (1,) int32 | VMs that exist |

    ## Rewards
    At each migration the decrease of J (`empty_pms`: of the whole objective) times `reward_scale`;
    None takes F / 128 for `fragment` and `mixed`, F being the free cores, so that a new 16-core
    slot gives 0.125, and 1 for `empty_pms`. The return is (J at the start - J at the end) times the
    scale. With `goal` each migration costs `reward_scale`, None takes 1 / limit, and an episode
    that ends without the goal costs as if limit + 1 had been made: the return is minus the
    objective times the scale. The choice of a VM in mode `two_step` gives 0; use no discount.

    An illegal action changes nothing and costs -1 (`info["invalid_action"]` is True); with
    `invalid_action="raise"` it raises `InvalidActionError`.

    ## Starting State
    The instance as it is; `reset(seed=s)` plays `make_instance(scenario, s)`. Without a seed, the
    next episode of the same sequence is played; its seed is at least 2**62, so that small seeds,
    kept for evaluation, are never met by accident.

    ## Episode End
    Terminated when the limit of migrations (or stays) is used up, by STOP, when the goal is
    reached, or when no VM may move. Never truncated, but by a step limit. The last `info` holds
    `objective`, `schedule` (`moves`: rows VM, PM, node in the order of execution, which `validate`
    accepts; padded with -1 in batches), `fragment_rate` and `slots` of the objective's first rate,
    and `migrations`.

    ## Arguments
    | argument | default | meaning |
    | --- | --- | --- |
    | `scenario` | `"S"` | name (see `scenarios()`), `Instance`, generator, or path to a file |
    | `action_mode` | `"two_step"` | `two_step`, `joint` or `flat` |
    | `numa_rule` | `"best"` | `best`, `first`, `keep` or `explicit` |
    | `allow_stay` | False | the present place is a destination |
    | `allow_stop` | True | STOP is legal (not in mode `joint`) |
    | `migration_limit` | None | replaces that of the instances |
    | `objective` | None | replaces that of the instances: an `Objective`, a name, or its fields as a dict |
    | `observation` | `"graph"` | `graph` or `vmr2l` |
    | `reward_scale` | None | see above |
    | `invalid_action` | `"penalise"` | or `raise` |
    | `render_mode` | None | `ansi` (80 columns) or `rgb_array` |

    A generator of your own needs `max_pms`, `max_vms` and `max_migrations`; `max_classes` (VMs that
    differ in cores, memory or nodes), `max_sets`, `max_clusters`, `max_racks` and `max_terms` are
    taken from it if it has them, else from its sizes and the instance of seed 0.

    ## Vectorized environment
    `gym.make_vec("dispatchgym:dispatchgym/VMRescheduling-v0", num_envs=N, ...)` gives a native batch.

    ## Credits
    Problem, fragment rate and heuristic: Ding et al., "Towards VM rescheduling optimization through
    deep reinforcement learning", EuroSys 2025, arXiv 2505.17359. Their environment shows fragments
    in wrong columns and old VM rows after a step; ours keeps its columns, not its values.

    ## Version History
    * v0: first version
    """  # noqa: E501

    simulation_class = VMReschedulingSimulation
    simulation: VMReschedulingSimulation

    def action_masks_vm(self) -> npt.NDArray[np.bool_]:
        """Return which VMs may migrate now, bool (V,)."""
        return self.simulation.vm_masks()[0]

    def action_masks_pm(self, vm: int) -> npt.NDArray[np.bool_]:
        """Return where a VM may go now, bool (D,); nowhere if it may not migrate."""
        return self.simulation.destination_masks(np.array([vm], np.int64))[0]


class VMReschedulingVectorEnv(KernelVectorEnv):
    """Many clusters that step together; see `VMReschedulingEnv` for everything about one."""

    simulation_class = VMReschedulingSimulation
    simulation: VMReschedulingSimulation

    def run_rule(self, rule: str, temperature: float = 0.0) -> dict[str, Any]:
        """Play every row to its end under a rule; see `VMReschedulingSimulation.run_rule`."""
        return self.simulation.run_rule(rule, temperature)

    def action_masks_vm(self) -> npt.NDArray[np.bool_]:
        """Return which VMs may migrate now in each row, bool (B, V)."""
        return self.simulation.vm_masks()

    def action_masks_pm(self, vm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return where one VM of each row, (B,), may go now, bool (B, D)."""
        return self.simulation.destination_masks(np.asarray(vm, np.int64))
