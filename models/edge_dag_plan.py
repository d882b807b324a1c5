"""The network of plans: messages along the graph in both directions, then every place is judged.

Tasks hear from their parents and children, undecided and decided tasks are summed up, and each
place (the device or a server) is scored with the next task, the summaries and what is known of
the placement. The outlooks, where a rule would lead from each place, also go straight into the
score, so that the rule `rollout_weighted` is among the policies that can be learned, and is the
one that training begins with. Nothing in the weights depends on the number of tasks or servers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dispatchgym.envs.edge_dag_plan.kernel import (
    CONTEXT_COLUMNS,
    FIRST_OUTLOOK,
    NODE_COLUMNS,
    SERVER_COLUMNS,
    TASK_COLUMNS,
)
from dispatchgym.models.blocks import Perceptron, ValueHead
from dispatchgym.models.registry import PolicyNetwork, register_network

DECIDED = 6
"""Column of `node_feat`."""
EXISTS = 0
"""Column of `servers`."""
OBJECTIVES = 2
TRUST = 30.0
"""What an even share of a task in the outlook is worth at the beginning, in logits."""
FAR = 10.0
"""Outlook of places that do not exist, and the largest that counts."""


class Messages(nn.Module):
    """Residual update of the tasks from their parents and children."""

    def __init__(self, hidden: int) -> None:
        """Width of the states."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.mix = Perceptron(3 * hidden, hidden, hidden)

    def forward(self, state: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        """New states (batch, N, hidden); `parents` and `children` are means, (batch, N, N)."""
        own = self.norm(state)
        heard = [own, torch.bmm(parents, own), torch.bmm(children, own)]
        return state + self.mix(torch.cat(heard, dim=2))


@register_network("edge_dag_plan")
class EdgeDagPlanNetwork(PolicyNetwork):
    """Logits over the device and the servers, and a value."""

    keys = (
        "servers",
        "task",
        "preference",
        "context",
        "node_feat",
        "node_mask",
        "edge_index",
        "current",
        "action_mask",
    )

    def __init__(self, *, hidden: int = 64, layers: int = 3) -> None:
        """Build the network.

        Args:
            hidden: width, 8 to 1024.
            layers: rounds of messages, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024:
            raise ValueError(f"hidden is {hidden}, expected 8 to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        super().__init__()
        known = SERVER_COLUMNS + 1
        self.node_in = Perceptron(NODE_COLUMNS + CONTEXT_COLUMNS + OBJECTIVES, hidden, hidden)
        self.rounds = nn.ModuleList(Messages(hidden) for _ in range(layers))
        self.place_in = nn.Linear(known, hidden)
        summary = TASK_COLUMNS + CONTEXT_COLUMNS + OBJECTIVES + 4 * hidden
        self.context = Perceptron(summary, hidden, hidden)
        self.score = Perceptron(known + 2 * hidden, hidden, 1)
        self.direct = nn.Linear(known, 1, bias=False)
        self.value = ValueHead(hidden, hidden)
        with torch.no_grad():
            self.direct.weight.zero_()
            self.direct.weight[0, -1] = -TRUST
            for parameter in self.score[2].parameters():
                parameter.zero_()

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of observations.

        Args:
            observation: the arrays of the observation as tensors with a leading batch dimension.

        Returns:
            logits (batch, S + 1), float32 and not masked; value (batch,), the expected sum of
            rewards to come.
        """
        enabled = self.reduced_precision
        with torch.autocast(observation["servers"].device.type, torch.bfloat16, enabled=enabled):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        node = self._tasks(observation)
        known = known_of_places(observation["servers"])
        place = self.place_in(known)
        context = self._context(observation, node, place)
        spread = context.unsqueeze(1).expand_as(place)
        score = self.score(torch.cat([known, torch.relu(place), spread], dim=2)).float()
        # Outlooks are compared with each other: no reduced precision here.
        with torch.autocast(known.device.type, enabled=False):
            score = score + self.direct(known)
        return score.squeeze(2), self.value(context)

    def _tasks(self, observation: Mapping[str, Tensor]) -> Tensor:
        """States of the tasks after all rounds, (batch, N, hidden)."""
        features = observation["node_feat"]
        wide = torch.cat([observation["context"], observation["preference"]], dim=1)
        wide = wide.unsqueeze(1).expand(-1, features.shape[1], -1)
        state = self.node_in(torch.cat([features, wide], dim=2))
        parents, children = neighbours(observation["edge_index"], features.shape[1])
        for layer in self.rounds:
            state = layer(state, parents, children)
        return state

    def _context(self, observation: Mapping[str, Tensor], node: Tensor, place: Tensor) -> Tensor:
        """State of the whole plan and its next task, (batch, hidden)."""
        exists = observation["node_mask"] > 0
        decided = observation["node_feat"][:, :, DECIDED] > 0
        active = torch.relu(node)
        rows = torch.arange(len(node), device=node.device)
        parts = [
            observation["task"],
            observation["context"],
            observation["preference"],
            node[rows, observation["current"].squeeze(1).long()],
            masked_mean(active, exists & ~decided),
            masked_mean(active, exists & decided),
            masked_mean(torch.relu(place), observation["servers"][:, :, EXISTS] > 0),
        ]
        return torch.relu(self.context(torch.cat(parts, dim=1)))


def known_of_places(servers: Tensor) -> Tensor:
    """Return what is known of each place, (batch, S + 1, columns + 1).

    Outlooks are cut off where they no longer matter; the last column is the best of them.
    """
    outlook = servers[:, :, FIRST_OUTLOOK:].clamp(max=FAR)
    best = outlook.min(dim=2, keepdim=True).values
    return torch.cat([servers[:, :, :FIRST_OUTLOOK], outlook, best], dim=2)


def neighbours(edges: Tensor, tasks: int) -> tuple[Tensor, Tensor]:
    """Return what takes the mean over the parents, and over the children, (batch, N, N) each.

    Args:
        edges: (batch, 2, M) parents and children, -1 in padding.
        tasks: N.
    """
    graph, edge = (edges[:, 0] >= 0).nonzero(as_tuple=True)
    parent, child = edges[graph, 0, edge].long(), edges[graph, 1, edge].long()
    adjacent = torch.zeros(len(edges), tasks, tasks, device=edges.device)
    adjacent[graph, child, parent] = 1.0
    children = adjacent.transpose(1, 2)
    return tuple(  # type: ignore[return-value]
        matrix / matrix.sum(dim=2, keepdim=True).clamp(min=1.0) for matrix in (adjacent, children)
    )


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (batch, width) of the rows (batch, rows, width) of a mask, zero of none."""
    weight = mask.to(values.dtype).unsqueeze(2)
    return (values * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
