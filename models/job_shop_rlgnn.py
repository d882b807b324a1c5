"""The network of Park et al. (arXiv 2106.01086), as far as it is known; for comparison.

The paper on shops without buffers and with shutdowns (arXiv 2302.02506), by the same group, does
not publish its network. This is that of its predecessor: features and structure as the public
re-implementations of it have them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dispatchgym.envs.job_shop.env import GRAPH_KEYS
from dispatchgym.models.blocks import follow, sum_by
from dispatchgym.models.job_shop import BLOCKED_HERE, PROCESSING, JobShopGraph
from dispatchgym.models.registry import PolicyNetwork, register_network

FEATURES = 8
"""Features of an operation, and the width of its embedding."""

DURATION_LEFT, DONE_BEFORE, SHARE_LEFT, WAITED = 1, 7, 9, 10


def describe_operations(graph: JobShopGraph, operations: Tensor) -> Tensor:
    """Return (operations, 8) the published features of operations that are not over.

    Whether it has not begun, is being processed, or is finished and holds its machine; its
    duration as a share of its job's, the share of the job that is done after it, and how many of
    the job's operations come after it, as a share; how long it has waited and how long it still
    takes, in mean durations.
    """
    begun = operations[:, [PROCESSING, BLOCKED_HERE]]
    status = torch.cat([1.0 - begun.sum(1, keepdim=True), begun], dim=1)
    following = operations[:, [DONE_BEFORE, SHARE_LEFT]]
    after_last = operations.new_tensor([[1.0, 0.0]])
    after = torch.cat([following, after_last]).index_select(0, graph.operation_next)
    share = after[:, :1] - following[:, :1]
    return torch.cat([status, share, after, operations[:, [WAITED, DURATION_LEFT]]], dim=1)


class _Perceptron(nn.Sequential):
    """Three linear maps with rectifiers between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )


class _Layer(nn.Module):
    """One round of messages: each operation hears three kinds of neighbours and all the rest."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.previous = _Perceptron(FEATURES, hidden, FEATURES)
        self.next = _Perceptron(FEATURES, hidden, FEATURES)
        self.rivals = _Perceptron(FEATURES, hidden, FEATURES)
        self.merge = _Perceptron(6 * FEATURES, hidden, FEATURES)

    def forward(self, graph: JobShopGraph, raw: Tensor, state: Tensor) -> Tensor:
        """Return new embeddings (operations, 8)."""
        everything = sum_by(state, graph.operations.graph, graph.batch)
        messages = [
            self.previous(follow(state, graph.operation_previous)),
            self.next(follow(state, graph.operation_next)),
            self.rivals(_sum_of_rivals(graph, state)),
            everything.index_select(0, graph.operations.graph),
        ]
        return self.merge(torch.cat([*map(torch.relu, messages), state, raw], dim=1))


def _sum_of_rivals(graph: JobShopGraph, state: Tensor) -> Tensor:
    """Return the sum over the other operations on the same machine, 0 while it is down."""
    count = graph.machines.count
    of_machine = sum_by(state, graph.operation_machine, count + 1)
    others = of_machine.index_select(0, graph.operation_machine) - state
    return others * (graph.operation_machine < count).unsqueeze(1)


@register_network("job_shop_rlgnn")
class JobShopRLGNN(PolicyNetwork):
    """Sums over the disjunctive graph, and a score for each operation that may start.

    The sums over all operations grow with the shop, so the network is best near the sizes that it
    was trained on. Finished operations have left the graph; the published network kept them,
    with zeros as features. The score of waiting, which the published design lacks, is that of
    the sum of all embeddings.
    """

    keys = GRAPH_KEYS

    def __init__(self, *, hidden: int = 256, layers: int = 3) -> None:
        """Build the network.

        Args:
            hidden: width of the perceptrons, 8 to 1024; embeddings have 8 numbers.
            layers: rounds of messages, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024:
            raise ValueError(f"hidden is {hidden}, expected 8 to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        super().__init__()
        self.layers = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        self.score = _Perceptron(FEATURES, hidden, 1)
        self.wait = _Perceptron(FEATURES, hidden, 1)
        self.value = _Perceptron(FEATURES, hidden, 1)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of `graph` observations.

        Args:
            observation: the arrays of the `graph` observation as tensors with a leading batch
                dimension.

        Returns:
            logits (batch, n_max + 1), not masked, the last for waiting; value (batch,).
        """
        graph = JobShopGraph.from_observation(observation)
        raw = describe_operations(graph, graph.operations.take(observation["operations"]))
        state = raw
        for layer in self.layers:
            state = layer(graph, raw, state)
        everything = sum_by(state, graph.operations.graph, graph.batch)
        scores = self.score(follow(state, graph.job_target)).squeeze(1)
        logits = torch.cat([graph.jobs.spread(scores), self.wait(everything)], dim=1)
        return logits, self.value(everything).squeeze(1)
