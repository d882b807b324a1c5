"""The network of L2D (Zhang et al., NeurIPS 2020, arXiv 2010.12367), for comparison."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINConv

from dispatchgym.envs.job_shop.env import GRAPH_KEYS
from dispatchgym.models.blocks import Perceptron, PointerHead, ValueHead, follow, mean_by
from dispatchgym.models.job_shop import PROCESSING, JobShopGraph
from dispatchgym.models.registry import PolicyNetwork, register_network

FEATURES = 2
"""Earliest end of an operation, and whether it is scheduled."""

DURATION, DURATION_LEFT, EARLIEST_START = 0, 1, 12
BUSY_FOR = 4
SCALE = 1 / 20
"""The original divides times by 1,000, where durations are 50 on average."""


def describe_nodes(operations: Tensor, machines: Tensor) -> Tensor:
    """Return (operations + machines, 2) the features of operations, then of machines.

    Ends are counted from now. That of an operation is the earliest possible one; a machine stands
    for the operation that was scheduled on it last.
    """
    running = operations[:, PROCESSING] > 0.5
    left = torch.where(running, operations[:, DURATION_LEFT], operations[:, DURATION])
    end = torch.cat([operations[:, EARLIEST_START] + left, machines[:, BUSY_FOR]])
    scheduled = torch.cat([running.to(end.dtype), torch.ones_like(machines[:, BUSY_FOR])])
    return torch.stack([SCALE * end, scheduled], dim=1)


def arcs_of(graph: JobShopGraph) -> Tensor:
    """Return (2, arcs) sources and targets: along jobs, and from machines to what they face."""
    operations, machines = graph.operations.count, graph.machines.count
    place = torch.arange(operations, device=graph.operation_next.device)
    follows, placed = graph.operation_next < operations, graph.operation_machine < machines
    source = torch.cat([place[follows], operations + graph.operation_machine[placed]])
    target = torch.cat([graph.operation_next[follows], place[placed]])
    return torch.stack([source, target])


@register_network("job_shop_gin")
class JobShopGIN(PolicyNetwork):
    """A graph isomorphism network (arXiv 1810.00826) over what is left of the disjunctive graph.

    The `graph` observation holds no scheduled operations, so each machine stands for its last
    one, with arcs to all operations that are left on it; the original keeps all of them, with the
    arcs between scheduled ones. Lower bounds here know when a job's next machine is free. The
    original normalises over the batch; here an observation's scores do not depend on its
    neighbours.
    """

    keys = GRAPH_KEYS

    def __init__(self, *, hidden: int = 64, layers: int = 3, head: int = 32) -> None:
        """Build the network.

        Args:
            hidden: width of embeddings, 8 to 1024.
            layers: layers of embeddings, the features among them, 2 to 16; one round of messages
                less.
            head: width of the actor's and the critic's hidden layer, 8 to 1024.

        Raises:
            ValueError: a number is out of range.
        """
        for name, width in (("hidden", hidden), ("head", head)):
            if not 8 <= width <= 1024:
                raise ValueError(f"{name} is {width}, expected 8 to 1024")
        if not 2 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 2 to 16")
        super().__init__()
        widths = [FEATURES, *(layers - 2) * [hidden]]
        self.rounds = nn.ModuleList(GINConv(Perceptron(width, hidden, hidden)) for width in widths)
        self.pointer = PointerHead(hidden, hidden, head)
        self.value = ValueHead(hidden, head)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of `graph` observations.

        Args:
            observation: the arrays of the `graph` observation as tensors with a leading batch
                dimension.

        Returns:
            logits (batch, n_max + 1), not masked, the last for waiting; value (batch,).
        """
        graph = JobShopGraph.from_observation(observation)
        state = describe_nodes(
            graph.operations.take(observation["operations"]),
            graph.machines.take(observation["machines"]),
        )
        arcs = arcs_of(graph)
        for messages in self.rounds:
            state = torch.relu(messages(state, arcs))
        graph_of_node = torch.cat([graph.operations.graph, graph.machines.graph])
        context = mean_by(state, graph_of_node, graph.batch)
        candidates = follow(state[: graph.operations.count], graph.job_target)
        return self.pointer(candidates, context, graph.jobs), self.value(context)
