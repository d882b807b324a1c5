"""The VM-rescheduling network: VMs and NUMA nodes exchange messages, one of them is pointed at.

The tree-local attention of VMR2L (arXiv 2505.17359), in which a machine and its VMs see only each
other, is segment attention here: a node of a machine attends to the VMs on it along the edges of
the placement, and the VMs read the node's answer. That costs one term for each edge, where a mask
over all pairs of machines and VMs would cost their square. Nothing in the weights depends on the
number of machines or VMs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.utils import softmax

from dispatchgym.envs.vm_rescheduling.env import GRAPH_KEYS
from dispatchgym.models.blocks import NodeSet, Perceptron, ValueHead, follow, mean_by, sum_by
from dispatchgym.models.registry import PolicyNetwork, register_network

VM_FEATURES = 9
NODE_FEATURES = 6
LEVELS = 16
"""What is left over on a node beyond whole slots is told in so many levels."""
BOTH = 2

# Columns of the machines, node 0; those of node 1 follow each.
FREE_CPU, FREE_MEMORY, FRAGMENT_SHARE, FRAGMENT, HOSTED = 0, 2, 4, 5, 8


@dataclass(frozen=True)
class Placement:
    """The ragged graph behind a batch of padded observations.

    Node 2 p + k of a graph is NUMA node k of machine p.

    Attributes:
        machines, vms: what remains without padding.
        edge_vm, edge_node: (edges,) a VM on one node has one edge, a VM on both has two.
        chosen: (batch,) the VM to be placed, `vms.count` while one is to be chosen.
    """

    machines: NodeSet
    vms: NodeSet
    edge_vm: Tensor
    edge_node: Tensor
    chosen: Tensor

    @classmethod
    def from_observation(cls, observation: Mapping[str, Tensor]) -> Placement:
        """Build the graph from the `graph` observation with a leading batch dimension."""
        machines = NodeSet.from_mask(observation["pm_mask"])
        vms = NodeSet.from_mask(observation["vm_mask"])
        machine = machines.refer(observation["vm_pm"], vms)
        node = vms.take(observation["vm_numa"]).long()
        second = (node > 0).nonzero().squeeze(1)
        first = (node != 1).nonzero().squeeze(1)
        chosen = observation["chosen_vm"].squeeze(1).long()
        rows = torch.arange(len(chosen), device=chosen.device) * vms.size + chosen
        absent = torch.full_like(rows, len(vms.number) - 1)
        return cls(
            machines=machines,
            vms=vms,
            edge_vm=torch.cat([first, second]),
            edge_node=torch.cat([2 * machine[first], 2 * machine[second] + 1]),
            chosen=vms.number[torch.where(chosen >= 0, rows, absent)],
        )

    @property
    def num_nodes(self) -> int:
        """Number of NUMA nodes."""
        return 2 * self.machines.count

    @property
    def node_graph(self) -> Tensor:
        """(nodes,) graph of the batch each NUMA node belongs to."""
        return self.machines.graph.repeat_interleave(2)


class SegmentAttention(nn.Module):
    """Each node attends to the VMs on it."""

    def __init__(self, hidden: int, heads: int) -> None:
        """`hidden` is divided among the heads."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)

    def forward(self, node: Tensor, vm: Tensor, graph: Placement) -> Tensor:
        """What each node reads, (nodes, hidden); zero for an empty one."""
        edges = len(graph.edge_vm)
        shape = (edges, self.heads, -1)
        # Only the linear maps gain from reduced precision: products of elements are slower in it.
        query = self.query(node).float().index_select(0, graph.edge_node).reshape(shape)
        keys_values = self.key_value(vm).float().index_select(0, graph.edge_vm)
        key, value = (part.reshape(shape) for part in keys_values.chunk(2, dim=1))
        score = (query * key).sum(dim=2) / query.shape[2] ** 0.5
        weight = softmax(score, graph.edge_node, num_nodes=len(node))
        read = (weight.unsqueeze(2) * value).reshape(edges, -1)
        return sum_by(read, graph.edge_node, len(node))


class _Layer(nn.Module):
    """One round: nodes read their VMs, the other node and the cluster; VMs read their nodes."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.attention = SegmentAttention(hidden, heads)
        self.node_norm = nn.LayerNorm(hidden)
        self.node_mix = Perceptron(4 * hidden, hidden, hidden)
        self.vm_norm = nn.LayerNorm(hidden)
        self.vm_own = nn.Linear(hidden, hidden)
        self.vm_from_node = nn.Linear(hidden, hidden, bias=False)
        self.vm_out = nn.Linear(hidden, hidden)

    def forward(self, graph: Placement, node: Tensor, vm: Tensor) -> tuple[Tensor, Tensor]:
        """New states of nodes and VMs, each (count, hidden)."""
        own, vms = self.node_norm(node), self.vm_norm(vm)
        read = self.attention(own, vms, graph)
        cluster = mean_by(own, graph.node_graph, int(graph.chosen.shape[0]))
        parts = [own, _other(own), read, cluster.index_select(0, graph.node_graph)]
        node = node + self.node_mix(torch.cat(parts, dim=1))
        told = self.vm_from_node(node).index_select(0, graph.edge_node)
        told = sum_by(told, graph.edge_vm, len(vm))
        return node, vm + self.vm_out(torch.relu(self.vm_own(vms) + told))


def _other(node: Tensor) -> Tensor:
    """States of the other NUMA node of each machine."""
    return node.reshape(-1, 2, node.shape[1]).flip(1).reshape(node.shape)


@register_network("vm_rescheduling")
class VMReschedulingNetwork(PolicyNetwork):
    """Logits over VMs and stopping, or over NUMA nodes, and a value, for clusters of any size.

    It plays action mode ``two_step`` with numa rule ``explicit``.
    """

    keys = GRAPH_KEYS

    def __init__(self, *, hidden: int = 64, layers: int = 2, heads: int = 4) -> None:
        """Build the network.

        Args:
            hidden: width of all embeddings, 8 to 1024.
            layers: rounds of messages, 1 to 16.
            heads: of the attention, 1 to 64; they divide `hidden`.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024:
            raise ValueError(f"hidden is {hidden}, expected 8 to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        if not 1 <= heads <= 64 or hidden % heads:
            raise ValueError(f"heads is {heads}, expected 1 to 64 and a divisor of {hidden}")
        super().__init__()
        self.level = nn.Embedding(LEVELS + 1, hidden)
        self.node_in = nn.Linear(NODE_FEATURES + 2, hidden)
        self.vm_in = Perceptron(VM_FEATURES + 1, hidden, hidden)
        self.layers = nn.ModuleList(_Layer(hidden, heads) for _ in range(layers))
        self.context = Perceptron(3 * hidden + 4, hidden, hidden)
        self.vm_head = nn.Linear(2 * hidden, hidden)
        self.vm_context = nn.Linear(hidden, hidden, bias=False)
        self.vm_logit = nn.Linear(hidden, 1)
        self.stop_logit = Perceptron(hidden, hidden, 1)
        self.node_head = nn.Linear(2 * hidden + 2, hidden)
        self.node_context = nn.Linear(2 * hidden, hidden, bias=False)
        self.node_logit = Perceptron(hidden, hidden, 1)
        self.value = ValueHead(hidden, hidden)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of `graph` observations.

        Args:
            observation: the arrays of the `graph` observation as tensors with a leading batch
                dimension.

        Returns:
            logits (batch, actions), float32 and not masked: VMs and stopping, or NUMA nodes once
            a VM is chosen; value (batch,), the expected sum of rewards to come.
        """
        enabled = self.reduced_precision
        with torch.autocast(observation["vm"].device.type, torch.bfloat16, enabled=enabled):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        graph = Placement.from_observation(observation)
        node, pair = self._nodes(graph, observation)
        gain = graph.vms.take(observation["gain_out"]).unsqueeze(1)
        vm = self.vm_in(torch.cat([graph.vms.take(observation["vm"]), gain], dim=1))
        for layer in self.layers:
            node, vm = layer(graph, node, vm)
        chosen = follow(vm, graph.chosen)
        context = self._context(graph, observation, node, vm, chosen)
        placing = (graph.chosen < graph.vms.count).unsqueeze(1)
        width = observation["action_mask"].shape[1]
        vm_logits = self._vm_logits(graph, node, vm, context, width)
        node_logits = self._node_logits(graph, node, pair, chosen, context, width)
        return torch.where(placing, node_logits, vm_logits), self.value(context)

    def _nodes(self, graph: Placement, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """First states of the NUMA nodes, and how the chosen VM would do on each, (nodes, 2)."""
        machine = graph.machines.take(observation["pm"])
        pair = torch.stack(
            [
                graph.machines.take(observation["gain_in"]),
                graph.machines.take(observation["fits"]).to(machine.dtype),
            ],
            dim=2,
        ).reshape(-1, 2)
        sides = []
        for k in range(2):
            columns = [FREE_CPU + k, FREE_MEMORY + k, FRAGMENT_SHARE + 2 * k, FRAGMENT + 2 * k]
            sides.append(torch.cat([machine[:, columns], machine[:, HOSTED:]], dim=1))
        features = torch.stack(sides, dim=1).reshape(graph.num_nodes, NODE_FEATURES)
        level = (features[:, 3] * LEVELS).round().long().clamp_(0, LEVELS)
        return self.node_in(torch.cat([features, pair], dim=1)) + self.level(level), pair

    def _context(
        self,
        graph: Placement,
        observation: Mapping[str, Tensor],
        node: Tensor,
        vm: Tensor,
        chosen: Tensor,
    ) -> Tensor:
        """What there is to know of the whole cluster, (batch, hidden)."""
        batch = len(graph.chosen)
        steps = observation["steps_left"]
        scales = torch.cat([steps, torch.log(steps + 0.01)], dim=1)
        means = [mean_by(node, graph.node_graph, batch), mean_by(vm, graph.vms.graph, batch)]
        return self.context(torch.cat([*means, chosen, scales.to(node.dtype)], dim=1))

    def _vm_logits(
        self, graph: Placement, node: Tensor, vm: Tensor, context: Tensor, width: int
    ) -> Tensor:
        """Padded logits of the first step: a VM, or stopping in the last column."""
        host = sum_by(node.index_select(0, graph.edge_node), graph.edge_vm, len(vm))
        seen = self.vm_context(context).index_select(0, graph.vms.graph)
        state = torch.relu(self.vm_head(torch.cat([vm, host], dim=1)) + seen)
        logits = _padded(self.vm_logit(state), graph.vms.rows, len(context), graph.vms.size, width)
        return torch.cat([logits[:, :-1], self.stop_logit(context).float()], dim=1)

    def _node_logits(
        self,
        graph: Placement,
        node: Tensor,
        pair: Tensor,
        chosen: Tensor,
        context: Tensor,
        width: int,
    ) -> Tensor:
        """Padded logits of the second step: a NUMA node for the chosen VM."""
        seen = self.node_context(torch.cat([chosen, context], dim=1))
        own = self.node_head(torch.cat([node, _other(node), pair], dim=1))
        state = torch.relu(own + seen.index_select(0, graph.node_graph))
        rows = (2 * graph.machines.rows).unsqueeze(1) + torch.arange(2, device=node.device)
        size = 2 * graph.machines.size
        return _padded(self.node_logit(state), rows.reshape(-1), len(context), size, width)


def _padded(logits: Tensor, rows: Tensor, batch: int, size: int, width: int) -> Tensor:
    """Spread logits (count, 1) over (batch, width) in float32, zero at padding."""
    padded = logits.new_zeros(batch * size, dtype=torch.float32)
    padded = padded.index_copy(0, rows, logits.float().squeeze(1)).reshape(batch, size)
    return nn.functional.pad(padded, (0, width - size))
