"""Graph blocks shared by all networks.

Observations arrive as padded arrays with masks. The blocks work on the ragged graph that is
left when padding is dropped: node sets are flat `(nodes, width)` tensors over the whole batch,
and a functional relation (each source has at most one target) is one index array whose missing
entries hold the number of targets, one past the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NodeSet:
    """Nodes of one type that remain after padding is dropped.

    Attributes:
        rows: (nodes,) position of each node in the flattened padded array.
        graph: (nodes,) graph of the batch each node belongs to.
        number: (batch * size + 1,) node at each padded position, `count` where there is none;
            the last entry stands for an absent reference.
        size: padded nodes per graph.
        count: number of nodes left.
    """

    rows: Tensor
    graph: Tensor
    number: Tensor
    size: int
    count: int

    @classmethod
    def from_mask(cls, mask: Tensor) -> NodeSet:
        """Number the nodes whose `mask` (batch, size) is not zero."""
        batch, size = mask.shape
        flat = mask.reshape(-1) > 0
        rows = flat.nonzero().squeeze(1)
        number = torch.full((batch * size + 1,), len(rows), dtype=torch.long, device=mask.device)
        number[rows] = torch.arange(len(rows), device=mask.device)
        return cls(rows, rows // size, number, size, len(rows))

    def take(self, padded: Tensor) -> Tensor:
        """Rows of a padded (batch, size, width) or (batch, size) array, one per node."""
        return padded.reshape(-1, *padded.shape[2:]).index_select(0, self.rows)

    def spread(self, values: Tensor) -> Tensor:
        """One number for each node (nodes,) as a padded (batch, size) array, zero at padding."""
        padded = values.new_zeros(len(self.number) - 1).index_copy(0, self.rows, values)
        return padded.reshape(-1, self.size)

    def refer(self, padded: Tensor, source: NodeSet) -> Tensor:
        """Turn per-graph references into node numbers of this set.

        Args:
            padded: (batch, source.size) position within this set's padding, -1 for none.
            source: the node set that holds the references.

        Returns:
            (source.count,) node numbers, `self.count` for none.
        """
        local = source.take(padded).long()
        absolute = torch.where(local >= 0, local + source.graph * self.size, len(self.number) - 1)
        return self.number.index_select(0, absolute)


def follow(values: Tensor, target: Tensor) -> Tensor:
    """Value of each reference's target, zero where there is none."""
    return torch.cat([values, values.new_zeros(1, values.shape[1])]).index_select(0, target)


def sum_by(values: Tensor, target: Tensor, count: int) -> Tensor:
    """Sum over the sources (sources, width) that refer to each of `count` targets."""
    return values.new_zeros(count, values.shape[1]).index_add_(0, target, values)


def mean_by(values: Tensor, target: Tensor, count: int) -> Tensor:
    """Mean over the sources that refer to each of `count` targets, zero where none does."""
    total = sum_by(values, target, count + 1)
    number = torch.bincount(target, minlength=count + 1).clamp_(min=1)
    return (total / number.unsqueeze(1).to(total.dtype))[:count]


class Perceptron(nn.Sequential):
    """Two linear maps with a rectifier between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        """Widths of input, hidden layer and output."""
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class Update(nn.Module):
    """Residual update of a node from itself and its neighbours' messages."""

    def __init__(self, sources: int, hidden: int) -> None:
        """`sources` blocks of width `hidden` are concatenated to form the input."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.mix = nn.Linear(sources * hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, state: Tensor, *messages: Tensor) -> Tensor:
        """New state (nodes, hidden) from the old one and messages of the same shape."""
        mixed = self.mix(torch.cat([self.norm(state), *messages], dim=1))
        return state + self.out(torch.relu(mixed))


class PointerHead(nn.Module):
    """One logit for each candidate node and one for a global alternative such as waiting."""

    def __init__(self, candidate: int, context: int, hidden: int) -> None:
        """Widths of a candidate's embedding and of the graph context."""
        super().__init__()
        self.candidate = Perceptron(candidate + context, hidden, 1)
        self.alternative = Perceptron(context, hidden, 1)

    def forward(self, candidates: Tensor, context: Tensor, nodes: NodeSet) -> Tensor:
        """Padded logits.

        Args:
            candidates: (nodes, candidate) embeddings.
            context: (batch, context) graph embeddings.
            nodes: where the candidates stand.

        Returns:
            (batch, size + 1) float32 logits, zero at padding; the last column is the
            alternative.
        """
        context_of_node = context.index_select(0, nodes.graph)
        logits = self.candidate(torch.cat([candidates, context_of_node], dim=1)).float()
        return torch.cat(
            [nodes.spread(logits.squeeze(1)), self.alternative(context).float()], dim=1
        )


class ValueHead(nn.Module):
    """Expected return from a graph context."""

    def __init__(self, context: int, hidden: int) -> None:
        """Widths of the graph context and of the hidden layer."""
        super().__init__()
        self.value = Perceptron(context, hidden, 1)

    def forward(self, context: Tensor) -> Tensor:
        """(batch,) float32 values from (batch, context)."""
        return self.value(context).float().squeeze(1)
