"""A VM-rescheduling instance: an immutable record of arrays, checked once when it is made."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dispatchgym.envs.core.errors import InstanceError, InstanceFormatError, ParameterError

__all__ = [
    "BOTH_NODES",
    "JSON_FORMAT",
    "MAX_MIGRATIONS",
    "MAX_PMS",
    "MAX_SIZE",
    "MAX_VMS",
    "OBJECTIVES",
    "OBJECTIVE_KINDS",
    "Instance",
    "Known",
    "Objective",
    "Term",
    "count_slots",
    "fragment_rate",
]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

JSON_FORMAT = "dispatchgym/vm_rescheduling/1"
"""Name and version that the JSON form carries in its ``format`` field."""

BOTH_NODES = 2
"""The node of a VM that has half of its cores and memory on each NUMA node."""

OBJECTIVE_KINDS = ("fragment", "mixed", "goal", "empty_pms")
"""What an objective can be: see `Objective`."""

MAX_PMS = 1_000_000
"""Most machines: beyond it a file is taken to be damaged."""

MAX_VMS = 5_000_000
"""Most VMs: beyond it a file is taken to be damaged."""

MAX_SIZE = 2**40
"""Cores and MB of a machine or VM must stay below this, so that sums are exact in float64 too."""

MAX_MIGRATIONS = 1_000_000
"""Largest migration limit."""

_MAX_TEXT = 200
_WEIGHT_TOLERANCE = 1e-9


class Term(NamedTuple):
    """One fragment rate within an objective.

    Attributes:
        weight: Its weight, > 0; the weights of an objective sum to 1.
        resource: ``"cpu"`` or ``"memory"``.
        chunk: Size of the request that is to find room, in cores or MB; > 0.
        double: Whether the request is for two NUMA nodes, half of `chunk` on each node of one PM.
    """

    weight: float = 1.0
    resource: str = "cpu"
    chunk: int = 16
    double: bool = False


def count_slots(free: IntArray, chunk: int, double: bool = False) -> int:
    """Return how many requests of a size fit into what is free.

    Args:
        free: (P, 2) what is free on each NUMA node, cores or MB.
        chunk: Size of a request, in the same unit.
        double: Whether a request takes half of `chunk` on both nodes of one PM.
    """
    if double:
        return int((free // (chunk // 2)).min(axis=1).sum())
    return int((free // chunk).sum())


def fragment_rate(free: IntArray, chunk: int, double: bool = False) -> float:
    """Return the share of what is free that no request of a size can use.

    That is ``1 - chunk * slots / free``, for single nodes the sum of ``free mod chunk`` over the
    sum of ``free``; 0 if nothing is free. The arguments are those of `count_slots`.
    """
    total = int(free.sum())
    return (total - chunk * count_slots(free, chunk, double)) / total if total else 0.0


@dataclass(frozen=True)
class Objective:
    """What a plan is to minimise.

    With J the weighted sum of the fragment rates of `terms` after the plan:

    ==============  ==============================================================================
    kind            objective
    ==============  ==============================================================================
    ``fragment``    J, a single term
    ``mixed``       J, any terms
    ``goal``        migrations used when J <= `goal` is first reached; migration limit + 1 if never
    ``empty_pms``   PMs that host a VM, plus J: machines count first, since J < 1
    ==============  ==============================================================================

    Attributes:
        kind: One of `OBJECTIVE_KINDS`.
        terms: The fragment rates, at least one.
        goal: Fragment rate to reach, in [0, 1]; only for kind ``goal``.

    Raises:
        ParameterError: A field is not as described.
    """

    kind: str = "fragment"
    terms: tuple[Term, ...] = (Term(),)
    goal: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields and bring the terms into one form."""
        if self.kind not in OBJECTIVE_KINDS:
            raise ParameterError(
                f"objective kind: found {_shown(self.kind)}, "
                f"expected one of {', '.join(OBJECTIVE_KINDS)}"
            )
        terms = _checked_terms(self.terms)
        if self.kind == "fragment" and len(terms) > 1:
            raise ParameterError(
                f"objective terms: found {len(terms)}, expected one for kind 'fragment'; "
                "use 'mixed' for several"
            )
        object.__setattr__(self, "terms", terms)
        goal = _number(self.goal, "objective goal")
        if not 0 <= goal <= 1:
            raise ParameterError(f"objective goal: found {goal}, expected a rate in [0, 1]")
        if goal and self.kind != "goal":
            raise ParameterError(f"objective goal: found {goal}, expected it with kind 'goal' only")
        object.__setattr__(self, "goal", goal)

    @classmethod
    def make(cls, value: Objective | str | Mapping[str, Any]) -> Objective:
        """Return the objective that a value stands for.

        Args:
            value: An objective; a name of `OBJECTIVES`; or a mapping with any of the fields
                ``kind``, ``terms`` (rows or mappings of `Term`), ``chunk`` (instead of terms: the
                cores of a single term) and ``goal``.

        Raises:
            ParameterError: The value is none of these.
        """
        if isinstance(value, Objective):
            return value
        if isinstance(value, str):
            if value not in OBJECTIVES:
                raise ParameterError(
                    f"objective: found {_shown(value)}, expected one of {', '.join(OBJECTIVES)}"
                )
            return OBJECTIVES[value]
        if not isinstance(value, Mapping):
            raise ParameterError(
                f"objective: found {_shown(value)}, expected an Objective, a name or a mapping"
            )
        return cls._from_mapping(value)

    @classmethod
    def _from_mapping(cls, value: Mapping[str, Any]) -> Objective:
        unknown = sorted(str(key) for key in set(value) - {"kind", "terms", "chunk", "goal"})
        if unknown:
            raise ParameterError(
                f"objective: found field {unknown[0]!r}, expected kind, terms, chunk or goal"
            )
        if "chunk" in value and "terms" in value:
            raise ParameterError("objective: found both chunk and terms, expected one of them")
        preset = cls.make(value.get("kind", "fragment"))
        terms = value.get("terms", preset.terms)
        if "chunk" in value:
            terms = (Term(chunk=value["chunk"]),)
        return cls(preset.kind, terms, value.get("goal", preset.goal))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, which `make` reads."""
        terms = [list(term) for term in self.terms]
        return {"kind": self.kind, "terms": terms, "goal": self.goal}

    def rate(self, free_cpu: IntArray, free_memory: IntArray) -> float:
        """Return J, the weighted sum of the fragment rates, for free cores and MB (P, 2)."""
        free = {"cpu": free_cpu, "memory": free_memory}
        rates = (
            term.weight * fragment_rate(free[term.resource], term.chunk, term.double)
            for term in self.terms
        )
        return sum(rates)


@dataclass(frozen=True)
class Known:
    """What is known about the best plan within a migration limit, for objective ``fragment``.

    Attributes:
        best_slots: 16-core slots of the best plan known, >= 0.
        upper_bound: Proven bound on the slots, >= best_slots.

    Raises:
        InstanceError: A value is of the wrong type or best exceeds bound.
    """

    best_slots: int
    upper_bound: int

    def __post_init__(self) -> None:
        """Check types and order."""
        for name in ("best_slots", "upper_bound"):
            object.__setattr__(self, name, _integer(getattr(self, name), name, 0, MAX_SIZE))
        if self.best_slots > self.upper_bound:
            raise InstanceError(
                f"best_slots: found {self.best_slots}, "
                f"expected at most the upper bound {self.upper_bound}"
            )

    @property
    def proved(self) -> bool:
        """Whether the best plan known is proven optimal."""
        return self.best_slots == self.upper_bound


@dataclass(frozen=True, eq=False)
class Instance:
    """P physical machines (PMs) of two NUMA nodes each, and V VMs placed on them.

    Two instances are equal when they are the same problem; names and known results are labels
    and do not take part. All arrays are C-contiguous and read-only. Cores and MB are integers.

    Attributes:
        name: Printable, 1 to 200 characters.
        pm_cpu: (P, 2) cores of each NUMA node.
        pm_memory: (P, 2) MB of each NUMA node.
        vm_cpu: (V,) cores of the whole VM, >= 1; even for a VM on two nodes.
        vm_memory: (V,) MB of the whole VM, >= 0; even for a VM on two nodes.
        vm_numa: (V,) 1 or 2 NUMA nodes; 2 means exactly half on each node of one PM.
        vm_pm: (V,) PM at the start.
        vm_node: (V,) node at the start, 0 or 1; 2 for VMs on both nodes.
        movable: (V,) whether a VM may be migrated; all unless given.
        affinity: (V,) number of the VM's anti-affinity set, -1 for none, which is the default.
            No two VMs of a set may share a PM; sets that do so at the start may not get worse.
        affinity_rack: (S,) per set: whether no two of its VMs may share even a rack.
        rack: (P,) rack of each PM; 0 unless given.
        cluster: (P,) cluster of each PM; 0 unless given.
        migration_limit: Most migrations of a plan, >= 0.
        objective: What is minimised.
        within_cluster: Whether VMs must stay in their cluster.
        known: Results known for objective ``fragment`` with 16 cores, by migration limit.
        pm_names: P labels of the PMs, or none.
        vm_names: V labels of the VMs, or none.

    Raises:
        InstanceError: A field is not as described or a node is over-committed; the message names
            field, VM or PM.
    """

    name: str
    pm_cpu: IntArray
    pm_memory: IntArray
    vm_cpu: IntArray
    vm_memory: IntArray
    vm_numa: IntArray
    vm_pm: IntArray
    vm_node: IntArray
    movable: BoolArray = None  # type: ignore[assignment]  # all unless given
    affinity: IntArray = None  # type: ignore[assignment]  # none unless given
    affinity_rack: BoolArray = None  # type: ignore[assignment]  # host level unless given
    rack: IntArray = None  # type: ignore[assignment]  # zeros unless given
    cluster: IntArray = None  # type: ignore[assignment]  # zeros unless given
    migration_limit: int = 50
    objective: Objective = field(default_factory=Objective)
    within_cluster: bool = False
    known: Mapping[int, Known] = field(default_factory=dict)
    pm_names: tuple[str, ...] = ()
    vm_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field and freeze the arrays."""
        _check_text(self.name, "name")
        limit = _integer(self.migration_limit, "migration_limit", 0, MAX_MIGRATIONS)
        object.__setattr__(self, "migration_limit", limit)
        object.__setattr__(self, "within_cluster", _flag(self.within_cluster, "within_cluster"))
        if not isinstance(self.objective, Objective):
            raise InstanceError(
                f"objective: found {_shown(self.objective)}, expected an Objective; "
                "Objective.make reads names and mappings"
            )
        self._freeze_arrays()
        _check_machines(self)
        _check_vms(self)
        _check_sets(self)
        _check_capacity(self)
        object.__setattr__(self, "known", MappingProxyType(_checked_known(self)))
        for name, count in (("pm_names", self.num_pms), ("vm_names", self.num_vms)):
            object.__setattr__(self, name, _checked_names(getattr(self, name), name, count))

    def _freeze_arrays(self) -> None:
        """Replace every array by a private read-only copy, or by its default."""
        pms, vms = _length(self.pm_cpu, "pm_cpu"), _length(self.vm_cpu, "vm_cpu")
        if not 1 <= pms <= MAX_PMS or not 1 <= vms <= MAX_VMS:
            raise InstanceError(
                f"pm_cpu, vm_cpu: found {pms} PMs and {vms} VMs, "
                f"expected 1 to {MAX_PMS} and 1 to {MAX_VMS}"
            )
        for name in ("pm_cpu", "pm_memory"):
            self._freeze(name, (pms, 2), np.int64)
        for name in ("vm_cpu", "vm_memory", "vm_numa", "vm_pm", "vm_node"):
            self._freeze(name, (vms,), np.int64)
        self._freeze("movable", (vms,), np.bool_, True)
        self._freeze("affinity", (vms,), np.int64, -1)
        _check_range(self.affinity, "affinity", -1, MAX_VMS - 1)
        sets = int(self.affinity.max()) + 1
        if self.affinity_rack is not None:
            sets = _length(self.affinity_rack, "affinity_rack")
        self._freeze("affinity_rack", (sets,), np.bool_, False)
        self._freeze("rack", (pms,), np.int64, 0)
        self._freeze("cluster", (pms,), np.int64, 0)

    def _freeze(
        self, name: str, shape: tuple[int, ...], dtype: type, default: int | None = None
    ) -> None:
        value = getattr(self, name)
        if value is None and default is not None:
            value = np.full(shape, default, dtype)
        object.__setattr__(self, name, _frozen(value, name, shape, dtype))

    @property
    def num_pms(self) -> int:
        """Number of machines P."""
        return len(self.pm_cpu)

    @property
    def num_vms(self) -> int:
        """Number of VMs V."""
        return len(self.vm_cpu)

    @property
    def num_sets(self) -> int:
        """Number of anti-affinity sets S."""
        return len(self.affinity_rack)

    @cached_property
    def vm_share_cpu(self) -> IntArray:
        """(V,) cores that a VM takes on each of its nodes, read-only."""
        return _sealed(self.vm_cpu // self.vm_numa)

    @cached_property
    def vm_share_memory(self) -> IntArray:
        """(V,) MB that a VM takes on each of its nodes, read-only."""
        return _sealed(self.vm_memory // self.vm_numa)

    @cached_property
    def free_cpu(self) -> IntArray:
        """(P, 2) free cores of each node at the start, read-only."""
        return _sealed(self.pm_cpu - self._taken(self.vm_share_cpu, self.vm_pm, self.vm_node))

    @cached_property
    def free_memory(self) -> IntArray:
        """(P, 2) free MB of each node at the start, read-only."""
        return _sealed(self.pm_memory - self._taken(self.vm_share_memory, self.vm_pm, self.vm_node))

    @cached_property
    def total_free_cpu(self) -> int:
        """Free cores F of all nodes; no migration changes it."""
        return int(self.free_cpu.sum())

    @cached_property
    def slots(self) -> int:
        """Requests of the objective's first term that fit at the start."""
        free, term = self._first_term()
        return count_slots(free, term.chunk, term.double)

    @cached_property
    def fragment_rate(self) -> float:
        """Fragment rate of the objective's first term at the start."""
        free, term = self._first_term()
        return fragment_rate(free, term.chunk, term.double)

    @cached_property
    def initial_objective(self) -> float:
        """The objective if nothing is migrated."""
        return self.evaluate(self.vm_pm, self.vm_node, migrations=0)

    @cached_property
    def affinity_violations(self) -> int:
        """VMs that share a PM (or rack) with an earlier VM of their set at the start."""
        member = self.affinity >= 0
        sets, pms = self.affinity[member], self.vm_pm[member]
        level = self.affinity_rack[sets]
        place = np.where(level, self.rack[pms], pms)
        pairs = np.unique(np.column_stack([sets, place]), axis=0)
        return int(member.sum()) - len(pairs)

    def free(self, vm_pm: IntArray, vm_node: IntArray) -> tuple[IntArray, IntArray]:
        """Return free cores and free MB (P, 2) if VM v were on PM `vm_pm[v]`, node `vm_node[v]`.

        Negative numbers show what is over-committed.
        """
        cpu = self.pm_cpu - self._taken(self.vm_share_cpu, vm_pm, vm_node)
        return cpu, self.pm_memory - self._taken(self.vm_share_memory, vm_pm, vm_node)

    def evaluate(self, vm_pm: IntArray, vm_node: IntArray, migrations: int) -> float:
        """Return the objective of a placement that was reached with a number of migrations.

        Args:
            vm_pm: (V,) PM of each VM.
            vm_node: (V,) node of each VM, 2 for both.
            migrations: Those used; only kind ``goal`` counts them.
        """
        rate = self.objective.rate(*self.free(vm_pm, vm_node))
        if self.objective.kind == "goal":
            return float(migrations if rate <= self.objective.goal else self.migration_limit + 1)
        if self.objective.kind == "empty_pms":
            return len(np.unique(vm_pm)) + rate
        return rate

    def replace(self, **changes: Any) -> Instance:
        """Return a copy with other values in some fields.

        Known results stay only if nothing but name, migration limit or objective changes. New
        anti-affinity sets are on host level unless `affinity_rack` is given too.
        """
        if "affinity" in changes:
            changes.setdefault("affinity_rack", None)
        if set(changes) - {"name", "migration_limit", "objective", "known"}:
            changes.setdefault("known", {})
        if "objective" in changes:
            changes["objective"] = Objective.make(changes["objective"])
        return dataclasses.replace(self, **changes)

    def _taken(self, share: IntArray, vm_pm: IntArray, vm_node: IntArray) -> IntArray:
        """Return (P, 2) what the VMs take of each node."""
        taken = np.empty((self.num_pms, 2), np.int64)
        for node in range(2):
            here = (vm_node == node) | (vm_node == BOTH_NODES)
            weights = share[here].astype(np.float64)  # exact: sums stay below 2^53
            taken[:, node] = np.bincount(vm_pm[here], weights, self.num_pms)
        return taken

    def _first_term(self) -> tuple[IntArray, Term]:
        term = self.objective.terms[0]
        return (self.free_cpu if term.resource == "cpu" else self.free_memory), term

    def to_json(self) -> str:
        """Return the instance as text in our JSON format: a row per PM and per VM."""
        pms = np.column_stack([self.pm_cpu, self.pm_memory, self.rack, self.cluster])
        vms = np.column_stack(
            [self.vm_cpu, self.vm_memory, self.vm_numa, self.vm_pm, self.vm_node, self.affinity,
             self.movable]
        )  # fmt: skip
        known = {str(mnl): dataclasses.asdict(value) for mnl, value in self.known.items()}
        fields: dict[str, Any] = {
            "format": JSON_FORMAT,
            "name": self.name,
            "migration_limit": self.migration_limit,
            "objective": self.objective.to_dict(),
            "within_cluster": self.within_cluster,
            "affinity_rack": self.affinity_rack.tolist(),
            "known": known,
            "pm_columns": list(_PM_COLUMNS),
            "vm_columns": list(_VM_COLUMNS),
        }
        if self.pm_names:
            fields["pm_names"] = list(self.pm_names)
        if self.vm_names:
            fields["vm_names"] = list(self.vm_names)
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items()]
        lines += [f'"pms": {_json_rows(pms)}', f'"vms": {_json_rows(vms)}']
        return "{\n  " + ",\n  ".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str, source: str = "<string>") -> Instance:
        """Read the text that `to_json` writes.

        Args:
            text: JSON object with ``format``, ``pms`` and ``vms`` and, if wanted, the rest.
            source: Name of the text in error messages, e.g. its path.

        Raises:
            InstanceFormatError: The text is not such an object; the message names line and
                column, or the field.
        """
        try:
            return cls.from_document(json_document(text))
        except (InstanceError, ParameterError) as error:
            raise InstanceFormatError(f"{source}: {error}") from None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Instance:
        """Return the instance of a JSON object that has been parsed.

        Raises:
            InstanceError: The object is not what `to_json` writes; the message names the field.
            ParameterError: Its objective is none.
        """
        return _from_document(cls, document)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same problem, whatever their names and known results."""
        if not isinstance(other, Instance):
            return NotImplemented
        return self._settings == other._settings and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in _ARRAYS
        )

    def __hash__(self) -> int:
        """Hash of the problem."""
        return hash((self._settings, *(getattr(self, name).tobytes() for name in _ARRAYS)))

    @property
    def _settings(self) -> tuple[int, Objective, bool]:
        return self.migration_limit, self.objective, self.within_cluster

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the fields, so that a copy is checked and read-only as well."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return _restore, ({**values, "known": dict(self.known)},)

    def __repr__(self) -> str:
        """Name, size and fragment rate."""
        return (
            f"Instance(name={self.name!r}, num_pms={self.num_pms}, num_vms={self.num_vms}, "
            f"migration_limit={self.migration_limit}, fragment_rate={self.fragment_rate:.4f})"
        )


_ARRAYS = (
    "pm_cpu", "pm_memory", "vm_cpu", "vm_memory", "vm_numa", "vm_pm", "vm_node", "movable",
    "affinity", "affinity_rack", "rack", "cluster",
)  # fmt: skip
_PM_COLUMNS = ("cpu_0", "cpu_1", "memory_0", "memory_1", "rack", "cluster")
_VM_COLUMNS = ("cpu", "memory", "numa", "pm", "node", "affinity", "movable")


def _restore(values: dict[str, Any]) -> Instance:
    return Instance(**values)


# ---------------------------------------------------------------- single values


def _shown(value: object) -> str:
    """Return a short form of a value for a message; a huge one is cut."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an integer of more than 30 digits"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of length {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _integer(value: object, where: str, low: int, high: int) -> int:
    """Return `value` as a plain integer in low..high, or say what is wrong with it."""
    expected = f"an integer in {low}..{high}"
    if isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {bool(value)}, expected {expected}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InstanceError(f"{where}: found {_shown(value)}, expected {expected}") from None
    if not low <= number <= high:
        raise InstanceError(f"{where}: found {_shown(number)}, expected {expected}")
    return number


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise InstanceError(f"{where}: found {_shown(value)}, expected true or false")
    return bool(value)


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise ParameterError(f"{where}: found {_shown(value)}, expected a number")
    return float(value)


def _check_text(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= _MAX_TEXT:
        raise InstanceError(
            f"{where}: found {_shown(value)}, "
            f"expected a printable text of 1 to {_MAX_TEXT} characters"
        )


def _checked_names(names: object, where: str, count: int) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InstanceError(f"{where}: found {_shown(names)}, expected a list of texts")
    if names and len(names) != count:
        raise InstanceError(f"{where}: found {len(names)} names, expected {count} or none")
    for index, name in enumerate(names):
        _check_text(name, f"{where}[{index}]")
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InstanceError(f"{where}: found {_shown(twice)} twice, expected each name once")
    return tuple(names)


def _checked_terms(terms: object) -> tuple[Term, ...]:
    """Return the terms of an objective in one form, after all checks."""
    if isinstance(terms, (str, Mapping)) or not isinstance(terms, Sequence) or not terms:
        raise ParameterError(f"objective terms: found {_shown(terms)}, expected a list of terms")
    checked = tuple(_checked_term(term, f"objective term {i}") for i, term in enumerate(terms))
    total = sum(term.weight for term in checked)
    if abs(total - 1) > _WEIGHT_TOLERANCE:
        raise ParameterError(f"objective terms: found weights of sum {total}, expected 1")
    return checked


def _checked_term(term: object, where: str) -> Term:
    try:
        made = Term(**term) if isinstance(term, Mapping) else Term(*term)  # type: ignore[misc]
    except TypeError:
        raise ParameterError(
            f"{where}: found {_shown(term)}, expected weight, resource, chunk, double"
        ) from None
    weight = _number(made.weight, f"{where} weight")
    if not 0 < weight <= 1 + _WEIGHT_TOLERANCE:
        raise ParameterError(f"{where} weight: found {weight}, expected a number in (0, 1]")
    if made.resource not in ("cpu", "memory"):
        raise ParameterError(
            f"{where} resource: found {_shown(made.resource)}, expected 'cpu' or 'memory'"
        )
    try:
        chunk = _integer(made.chunk, f"{where} chunk", 1, MAX_SIZE)
        double = _flag(made.double, f"{where} double")
    except InstanceError as error:
        raise ParameterError(str(error)) from None
    if double and chunk % 2:
        raise ParameterError(f"{where} chunk: found {chunk}, expected an even one for two nodes")
    return Term(weight, made.resource, chunk, double)


# ---------------------------------------------------------------- arrays


def _length(values: object, where: str) -> int:
    try:
        return len(values)  # type: ignore[arg-type]
    except TypeError:
        raise InstanceError(f"{where}: found {_shown(values)}, expected an array") from None


def _sealed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _frozen(values: object, where: str, shape: tuple[int, ...], dtype: type) -> npt.NDArray[Any]:
    """Return a private read-only copy of an array of integers or truth values."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise InstanceError(f"{where}: found rows of unequal length, expected an array") from None
    kinds = "iu" if dtype is np.int64 else "b"
    if array.shape != shape or (array.dtype.kind not in kinds and array.size):
        what = "integers" if dtype is np.int64 else "truth values"
        raise InstanceError(
            f"{where}: found an array of type {array.dtype} and shape {array.shape}, "
            f"expected {what} of shape {shape}"
        )
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 2**63:
        raise InstanceError(f"{where}: found {int(array.max())}, expected values below 2^63")
    return _sealed(np.array(array, dtype=dtype, order="C"))


def _check_range(array: IntArray, where: str, low: int, high: int) -> None:
    wrong = (array < low) | (array > high)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        label = "".join(f"[{index}]" for index in place)
        raise InstanceError(
            f"{where}{label}: found {array[place]}, expected an integer in {low}..{high}"
        )


def _check_machines(instance: Instance) -> None:
    for name in ("pm_cpu", "pm_memory"):
        _check_range(getattr(instance, name), name, 0, MAX_SIZE)
    for name in ("rack", "cluster"):
        _check_range(getattr(instance, name), name, 0, MAX_PMS)
    for name in ("pm_cpu", "pm_memory"):
        total = getattr(instance, name).sum(dtype=np.float64)
        if total >= 2**53:
            raise InstanceError(f"{name}: found a sum of {total:.0f}, expected less than 2^53")


def _check_vms(instance: Instance) -> None:
    _check_range(instance.vm_cpu, "vm_cpu", 1, MAX_SIZE)
    _check_range(instance.vm_memory, "vm_memory", 0, MAX_SIZE)
    _check_range(instance.vm_numa, "vm_numa", 1, 2)
    _check_range(instance.vm_pm, "vm_pm", 0, instance.num_pms - 1)
    _check_range(instance.vm_node, "vm_node", 0, BOTH_NODES)
    double = instance.vm_numa == 2
    wrong = np.flatnonzero(double != (instance.vm_node == BOTH_NODES))
    if wrong.size:
        vm = wrong[0]
        expected = "2 (both)" if double[vm] else "0 or 1"
        raise InstanceError(
            f"vm_node[{vm}]: found {instance.vm_node[vm]}, expected {expected} "
            f"for a VM of {instance.vm_numa[vm]} NUMA node(s)"
        )
    for name in ("vm_cpu", "vm_memory"):
        odd = np.flatnonzero(double & (getattr(instance, name) % 2 == 1))
        if odd.size:
            raise InstanceError(
                f"{name}[{odd[0]}]: found {getattr(instance, name)[odd[0]]}, "
                "expected an even number for a VM of 2 NUMA nodes"
            )


def _check_sets(instance: Instance) -> None:
    _check_range(instance.affinity, "affinity", -1, instance.num_sets - 1)


def _check_capacity(instance: Instance) -> None:
    for what, free, total in (
        ("cores", instance.free_cpu, instance.pm_cpu),
        ("MB", instance.free_memory, instance.pm_memory),
    ):
        if (free < 0).any():
            pm, node = (int(index) for index in np.argwhere(free < 0)[0])
            raise InstanceError(
                f"PM {pm}, node {node}: found VMs of {total[pm, node] - free[pm, node]} {what}, "
                f"expected at most its {total[pm, node]}: the node is over-committed"
            )


def _checked_known(instance: Instance) -> dict[int, Known]:
    if not isinstance(instance.known, Mapping):
        raise InstanceError(f"known: found {_shown(instance.known)}, expected a mapping")
    known = {}
    for limit, value in instance.known.items():
        if not isinstance(value, Known):
            raise InstanceError(f"known: found {_shown(value)}, expected Known by migration limit")
        known[_integer(limit, "known: migration limit", 0, MAX_MIGRATIONS)] = value
    return known


# ---------------------------------------------------------------- JSON


def json_document(text: str) -> dict[str, Any]:
    """Return the top-level JSON object of a text, or say where it is none.

    Raises:
        InstanceError: The text is no JSON object; the message names line and column.
    """
    try:
        # A float for an integer of 19 digits or more: it is refused later, at its place.
        document = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits),
        )
    except json.JSONDecodeError as error:
        raise InstanceError(
            f"line {error.lineno}, column {error.colno}: {error.msg}, expected JSON"
        ) from None
    except RecursionError:
        raise InstanceError("found brackets nested too deeply, expected flat rows") from None
    if not isinstance(document, dict):
        raise InstanceError(f"found {_shown(document)}, expected a JSON object")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise InstanceError(f"{_shown(key)}: found twice, expected once")
        fields[key] = value
    return fields


def integer_rows(value: object, where: str, columns: int) -> IntArray:
    """Return a JSON list of rows of `columns` integers as an array (n, columns).

    Raises:
        InstanceError: The value is none; the message names row and column.
    """
    if not isinstance(value, list):
        raise InstanceError(f"{where}: found {_shown(value)}, expected a list of rows")
    for index, row in enumerate(value):
        if not isinstance(row, list) or len(row) != columns:
            raise InstanceError(
                f"{where}[{index}]: found {_shown(row)}, expected a list of {columns} integers"
            )
        for column, number in enumerate(row):
            if type(number) is not int:
                raise InstanceError(
                    f"{where}[{index}][{column}]: found {_shown(number)}, expected an integer"
                )
    return np.array(value, np.int64).reshape(-1, columns)


def _json_rows(rows: npt.NDArray[np.int64]) -> str:
    return "[\n    " + ",\n    ".join(json.dumps(row) for row in rows.tolist()) + "\n  ]"


_NEEDED = {"format", "pms", "vms"}
_OPTIONAL = {
    "name", "migration_limit", "objective", "within_cluster", "affinity_rack", "known",
    "pm_columns", "vm_columns", "pm_names", "vm_names",
}  # fmt: skip


def _from_document(cls: type[Instance], document: dict[str, Any]) -> Instance:
    if document.get("format") != JSON_FORMAT:
        raise InstanceError(
            f"format: found {_shown(document.get('format'))}, expected {JSON_FORMAT!r}"
        )
    check_keys(document, "", _NEEDED, _OPTIONAL)
    for key, columns in (("pm_columns", _PM_COLUMNS), ("vm_columns", _VM_COLUMNS)):
        if document.get(key, list(columns)) != list(columns):
            raise InstanceError(f"{key}: found other columns, expected {', '.join(columns)}")
    pms = integer_rows(document["pms"], "pms", len(_PM_COLUMNS))
    vms = integer_rows(document["vms"], "vms", len(_VM_COLUMNS))
    _check_range(vms[:, 6], "vms: movable", 0, 1)
    optional = {
        key: document[key] for key in ("migration_limit", "within_cluster") if key in document
    }
    sets = document.get("affinity_rack")
    return cls(
        name=document.get("name", "custom"),
        pm_cpu=pms[:, 0:2],
        pm_memory=pms[:, 2:4],
        rack=pms[:, 4],
        cluster=pms[:, 5],
        vm_cpu=vms[:, 0],
        vm_memory=vms[:, 1],
        vm_numa=vms[:, 2],
        vm_pm=vms[:, 3],
        vm_node=vms[:, 4],
        affinity=vms[:, 5],
        movable=vms[:, 6] == 1,
        affinity_rack=None if sets is None else _listed(sets, "affinity_rack"),  # type: ignore[arg-type]
        objective=Objective.make(document.get("objective", "fragment")),
        known=_json_known(document.get("known", {})),
        pm_names=tuple(_listed(document.get("pm_names", []), "pm_names")),
        vm_names=tuple(_listed(document.get("vm_names", []), "vm_names")),
        **optional,
    )


def check_keys(fields: dict[str, Any], where: str, needed: set[str], optional: set[str]) -> None:
    """Raise an InstanceError unless an object has the fields it needs and no unknown one."""
    for key in fields:
        if key not in needed | optional:
            raise InstanceError(
                f"{where}{_shown(key)}: unknown field, "
                f"expected one of {', '.join(sorted(needed | optional))}"
            )
    for key in sorted(needed):
        if key not in fields:
            raise InstanceError(f"{where}{key}: missing field")


def _listed(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise InstanceError(f"{where}: found {_shown(value)}, expected a list")
    return value


def _json_known(fields: object) -> dict[int, Known]:
    if not isinstance(fields, dict):
        raise InstanceError(f"known: found {_shown(fields)}, expected an object")
    known = {}
    for limit, value in fields.items():
        where = f"known.{limit[:20]}"
        if not limit.isascii() or not limit.isdigit() or not isinstance(value, dict):
            raise InstanceError(f"{where}: found {_shown(value)}, expected an object by limit")
        check_keys(value, f"{where}.", {"best_slots", "upper_bound"}, set())
        try:
            known[int(limit[:20])] = Known(**value)
        except InstanceError as error:
            raise InstanceError(f"{where}.{error}") from None
    return known


# Made last, since making an objective needs the checks above.
OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "fragment": Objective(),
        "mixed": Objective("mixed", (Term(0.5), Term(0.5, chunk=64, double=True))),
        "mixed_memory": Objective("mixed", (Term(0.5), Term(0.5, "memory", 65_536))),
        "goal": Objective("goal", goal=0.4),
        "empty_pms": Objective("empty_pms"),
    }
)
"""Objectives by name: FR of 16 cores; half each FR of 16 and of 64 cores on two nodes; half each
FR of 16 cores and of 64 GB; reach an FR of 0.4; fewest PMs in use."""
