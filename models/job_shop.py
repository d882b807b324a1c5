"""The job-shop network: operations, machines and jobs exchange messages, jobs are pointed at.

Nodes and edges follow the dynamic disjunctive graph of arXiv 2302.02506: finished operations
leave the graph, a machine that is down loses its edges, and a blocked job has an edge to the job
that holds the machine it needs. Each machine is the centre of a star, which carries the same
information as the cliques of the disjunctive graph with far fewer edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dispatchgym.envs.job_shop.env import GRAPH_KEYS
from dispatchgym.models.blocks import (
    NodeSet,
    Perceptron,
    PointerHead,
    Update,
    ValueHead,
    follow,
    mean_by,
)
from dispatchgym.models.registry import PolicyNetwork, register_network

OPERATION_FEATURES = 14
JOB_FEATURES = 5
MACHINE_FEATURES = 8

# Columns of the operation features that say the job stands on the machine of this operation.
PROCESSING, BLOCKED_HERE = 4, 5


@dataclass(frozen=True)
class JobShopGraph:
    """The ragged graph behind a batch of padded observations.

    Each relation is an index array over its source nodes; see `dispatchgym.models.blocks`.
    """

    operations: NodeSet
    machines: NodeSet
    jobs: NodeSet
    operation_next: Tensor
    operation_previous: Tensor
    operation_machine: Tensor
    operation_job: Tensor
    job_operation: Tensor
    job_target: Tensor
    job_after_target: Tensor
    job_machine: Tensor
    job_target_machine: Tensor
    job_wait_for: Tensor
    batch: int

    @classmethod
    def from_observation(cls, observation: Mapping[str, Tensor]) -> JobShopGraph:
        """Build the graph from the `graph` observation with a leading batch dimension."""
        operations = NodeSet.from_mask(observation["operation_mask"])
        machines = NodeSet.from_mask(observation["machine_mask"])
        jobs = NodeSet.from_mask(observation["job_mask"])
        following = operations.refer(observation["operation_next"], operations)
        machine = machines.refer(observation["operation_machine"], operations)
        steps = operations.size // jobs.size
        job = jobs.number[operations.graph * jobs.size + operations.rows % operations.size // steps]
        current = operations.refer(observation["job_operation"], jobs)
        absent = torch.full_like(following[:1], operations.count)
        following_or_none = torch.cat([following, absent])
        machine_or_none = torch.cat([machine, torch.full_like(machine[:1], machines.count)])
        features = operations.take(observation["operations"])
        holding = features[:, PROCESSING] + features[:, BLOCKED_HERE] > 0.5
        holding_or_not = torch.cat([holding, holding.new_zeros(1)])
        target = torch.where(holding_or_not[current], following_or_none[current], current)
        return cls(
            operations=operations,
            machines=machines,
            jobs=jobs,
            operation_next=following,
            operation_previous=_inverse(following, operations.count),
            operation_machine=machine,
            operation_job=job,
            job_operation=current,
            job_target=target,
            job_after_target=following_or_none[target],
            job_machine=machine_or_none[current],
            job_target_machine=machine_or_none[target],
            job_wait_for=jobs.refer(observation["wait_for"], jobs),
            batch=len(observation["job_mask"]),
        )


def _inverse(target: Tensor, count: int) -> Tensor:
    """Source of each target of an injective relation on `count` nodes, `count` for none."""
    source = torch.full((count + 1,), count, dtype=torch.long, device=target.device)
    source[target] = torch.arange(count, device=target.device)
    source[count] = count
    return source[:count]


class _Layer(nn.Module):
    """One round of messages between operations, machines and jobs."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.operation_norm = nn.LayerNorm(hidden)
        self.operation_spread = nn.Linear(hidden, 3 * hidden)
        self.operation_from_machine = nn.Linear(hidden, hidden, bias=False)
        self.operation_from_job = nn.Linear(hidden, hidden, bias=False)
        self.operation_out = nn.Linear(hidden, hidden)
        self.machine_update = Update(3, hidden)
        self.job_update = Update(10, hidden)

    def _operations(
        self, graph: JobShopGraph, operation: Tensor, machine: Tensor, job: Tensor
    ) -> Tensor:
        own, to_previous, to_next = self.operation_spread(self.operation_norm(operation)).chunk(
            3, dim=1
        )
        mixed = (
            own
            + follow(to_previous, graph.operation_next)
            + follow(to_next, graph.operation_previous)
            + follow(self.operation_from_machine(machine), graph.operation_machine)
            + follow(self.operation_from_job(job), graph.operation_job)
        )
        return operation + self.operation_out(torch.relu(mixed))

    def forward(
        self, graph: JobShopGraph, operation: Tensor, machine: Tensor, job: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New operation, machine and job states, each (nodes, hidden)."""
        shop = mean_by(job, graph.jobs.graph, graph.batch)
        new_job = self.job_update(
            job,
            follow(operation, graph.job_operation),
            follow(operation, graph.job_target),
            follow(operation, graph.job_after_target),
            follow(machine, graph.job_machine),
            follow(machine, graph.job_target_machine),
            follow(job, graph.job_wait_for),
            mean_by(job, graph.job_wait_for, graph.jobs.count),
            mean_by(operation, graph.operation_job, graph.jobs.count),
            shop.index_select(0, graph.jobs.graph),
        )
        new_machine = self.machine_update(
            machine,
            mean_by(operation, graph.operation_machine, graph.machines.count),
            mean_by(job, graph.job_target_machine, graph.machines.count),
        )
        return self._operations(graph, operation, machine, job), new_machine, new_job


@register_network("job_shop")
class JobShopNetwork(PolicyNetwork):
    """Logits over jobs and waiting, and a value, for instances of any size.

    Message passing with mean aggregation (GraphSAGE, arXiv 1706.02216) over the star graph,
    then a pointer over jobs (arXiv 1506.03134). All features are ratios, so the same weights
    serve every size; the result does not depend on the order of jobs or on padding.
    """

    keys = GRAPH_KEYS

    def __init__(self, *, hidden: int = 64, layers: int = 3) -> None:
        """Build the network.

        Args:
            hidden: width of all embeddings, 8 to 1024.
            layers: rounds of messages, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024:
            raise ValueError(f"hidden is {hidden}, expected 8 to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        super().__init__()
        self.operation_in = nn.Linear(OPERATION_FEATURES, hidden)
        self.machine_in = nn.Linear(MACHINE_FEATURES, hidden)
        self.job_in = nn.Linear(JOB_FEATURES, hidden)
        self.layers = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        context = 5 * hidden + 1
        self.pointer = PointerHead(4 * hidden, hidden, hidden)
        self.value = ValueHead(hidden, hidden)
        self.context = Perceptron(context, hidden, hidden)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of `graph` observations.

        Args:
            observation: the arrays of the `graph` observation as tensors with a leading batch
                dimension.

        Returns:
            logits (batch, n_max + 1), not masked, the last for waiting; value (batch,), the
            expected return in units of the instance's lower bound.
        """
        with torch.autocast(
            observation["jobs"].device.type, torch.bfloat16, enabled=self.reduced_precision
        ):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        graph = JobShopGraph.from_observation(observation)
        operation = self.operation_in(graph.operations.take(observation["operations"]))
        machine = self.machine_in(graph.machines.take(observation["machines"]))
        job = self.job_in(graph.jobs.take(observation["jobs"]))
        for layer in self.layers:
            operation, machine, job = layer(graph, operation, machine, job)
        legal = graph.jobs.take(observation["action_mask"][:, :-1]) > 0
        legal_graph = torch.where(legal, graph.jobs.graph, graph.batch)
        context = self.context(
            torch.cat(
                [
                    mean_by(operation, graph.operations.graph, graph.batch),
                    mean_by(machine, graph.machines.graph, graph.batch),
                    mean_by(job, graph.jobs.graph, graph.batch),
                    mean_by(job, legal_graph, graph.batch),
                    mean_by(follow(operation, graph.job_target), legal_graph, graph.batch),
                    observation["action_mask"][:, -1:].to(job.dtype),
                ],
                dim=1,
            )
        )
        candidates = torch.cat(
            [
                job,
                follow(operation, graph.job_target),
                follow(operation, graph.job_after_target),
                follow(machine, graph.job_target_machine),
            ],
            dim=1,
        )
        return self.pointer(candidates, context, graph.jobs), self.value(context)
