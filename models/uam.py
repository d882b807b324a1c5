"""Networks of the fleet: vertiports read forecasts and aircraft, then each other; one is chosen.

One network for each way of passing messages between nodes, alike in all else: graph capsules
(moments of the neighbourhood, after CapTAIN, arXiv 2401.04851, and arXiv 1805.08090), attention,
GATv2 (arXiv 2105.14491), GCN (arXiv 1609.02907), and none at all. Vertiports form a graph weighted
by how sure their routes are, aircraft a complete one. Graphs are dense: 8 vertiports and 40
aircraft are too few to gain from lists of edges.

Nothing in the weights depends on the number of vertiports, aircraft or slots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dispatchgym.envs.uam.env import (
    CRAFT_COLUMNS,
    DEMAND_COLUMNS,
    PORT_COLUMNS,
    ROUTE_COLUMNS,
)
from dispatchgym.envs.uam.kernel import DECISION_COLUMNS, LEG_COLUMNS
from dispatchgym.models.blocks import Perceptron, ValueHead
from dispatchgym.models.registry import PolicyNetwork, register_network

KEYS = (
    "port_x",
    "port_mask",
    "port_adj",
    "craft_x",
    "craft_mask",
    "demand",
    "slot_mask",
    "pair_demand",
    "legs",
    "decision",
    "k",
    "i",
    "action_mask",
)
"""Arrays of the observation that the networks read."""
SLOT_COLUMNS = DEMAND_COLUMNS + ROUTE_COLUMNS + 3
HEADS = 4
"""Heads of the attention to forecasts and of the last look at the vertiports."""
PROFIT_COLUMN = 7
"""Where `legs` has the profit of an action."""
VALUE_SCALE = 0.1
"""About the sum of rewards of a good day: the value is learned in units of it."""


# ------------------------------------------------------------------------------- graphs


@dataclass(frozen=True)
class Graph:
    """A batch of undirected graphs on padded nodes.

    Attributes:
        present: (batch, nodes) bool, False at padding.
        edges: (batch, nodes or 1, nodes) bool, whom each node listens to, itself included.
        weights: (batch, nodes, nodes) normalised, D^-1/2 A D^-1/2; None for a complete graph
            with equal weights, for which a mean does the same.
        loops: whether A has an edge of weight 1 from each node to itself.
    """

    present: Tensor
    edges: Tensor
    weights: Tensor | None
    loops: bool

    @classmethod
    def complete(cls, present: Tensor, loops: bool) -> Graph:
        """Join all nodes that are `present`, (batch, nodes) bool."""
        return cls(present, present.unsqueeze(1), None, loops)

    @classmethod
    def weighted(cls, present: Tensor, weights: Tensor, loops: bool) -> Graph:
        """Join nodes by symmetric `weights` (batch, nodes, nodes), 0 where there is no edge."""
        itself = torch.eye(weights.shape[1], device=weights.device)
        joined = weights + itself if loops else weights
        degree = joined.sum(dim=2)
        root = torch.where(degree > 0, degree.clamp(min=1e-9).rsqrt(), 0.0)
        normalised = root.unsqueeze(2) * joined * root.unsqueeze(1)
        return cls(present, (weights > 0) | (itself > 0), normalised, loops)

    def smooth(self, values: Tensor) -> Tensor:
        """Return D^-1/2 A D^-1/2 times `values` (batch, nodes, width)."""
        if self.weights is not None:
            return self.weights @ values
        total, count = masked_sum(values, self.present), self.count
        return total / count if self.loops else (total - values) / (count - 1).clamp(min=1)

    @property
    def count(self) -> Tensor:
        """(batch, 1, 1) number of nodes."""
        return self.present.sum(dim=1).reshape(-1, 1, 1)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean (batch, width) of `values` (batch, nodes, width)."""
        return (masked_sum(values, self.present) / self.count).squeeze(1)


def masked_sum(values: Tensor, present: Tensor) -> Tensor:
    """Sum (batch, 1, width) of the rows (batch, nodes, width) that are present."""
    return present.unsqueeze(1).to(values.dtype) @ values


# --------------------------------------------------------------------- rounds of messages


class Round(nn.Module):
    """New states of the nodes from their own and those of others, (batch, nodes, hidden).

    Attributes:
        loops: whether the graph needs an edge from each node to itself.
    """

    loops = False


class CapsuleRound(Round):
    """Graph capsule convolution: a polynomial filter for each moment of the node states.

    With L = I - D^-1/2 A D^-1/2 and Z_p the p-th power of each number of the normalised states,

        f_p = sum over k = 0..hops of L^k Z_p W_pk,        X' = X + relu([f_1 | ... | f_P]) W.

    On a complete graph L X is the difference from the mean but for a factor: further hops say
    nothing new there, and what a node learns of the others are the means of their moments.
    """

    def __init__(self, hidden: int, moments: int, hops: int) -> None:
        """`moments` powers, each filtered over `hops` steps along the edges."""
        super().__init__()
        self.hops = hops
        self.norm = nn.LayerNorm(hidden)
        self.filters = nn.ModuleList(nn.Linear((hops + 1) * hidden, hidden) for _ in range(moments))
        self.out = nn.Linear(moments * hidden, hidden)

    def forward(self, state: Tensor, graph: Graph) -> Tensor:
        """New states (batch, nodes, hidden)."""
        return state + self.out(torch.relu(self.capsules(self.norm(state), graph)))

    def capsules(self, values: Tensor, graph: Graph) -> Tensor:
        """[f_1 | ... | f_P] of normalised states, (batch, nodes, moments * hidden)."""
        power, capsules = values, []
        for linear in self.filters:
            steps = [power]
            for _ in range(self.hops):
                steps.append(steps[-1] - graph.smooth(steps[-1]))
            capsules.append(linear(torch.cat(steps, dim=2)))
            power = power * values
        return torch.cat(capsules, dim=2)


class TransformerRound(Round):
    """A transformer layer: every node attends to every other one, whatever the edges."""

    def __init__(self, hidden: int, heads: int) -> None:
        """`hidden` is divided among the heads."""
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.mix_norm = nn.LayerNorm(hidden)
        self.mix = Perceptron(hidden, 2 * hidden, hidden)

    def forward(self, state: Tensor, graph: Graph) -> Tensor:
        """New states (batch, nodes, hidden)."""
        query, key, value = self.query_key_value(self.norm(state)).chunk(3, dim=2)
        read = attend(query, key, value, graph.present.unsqueeze(1), self.heads)
        state = state + self.out(read)
        return state + self.mix(self.mix_norm(state))


class GATv2Round(Round):
    """Attention along the edges whose scores see both ends through a nonlinearity."""

    def __init__(self, hidden: int, heads: int) -> None:
        """`hidden` is divided among the heads."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.source = nn.Linear(hidden, hidden)
        self.target = nn.Linear(hidden, hidden)
        self.score = nn.Parameter(torch.empty(heads, hidden // heads))
        nn.init.xavier_uniform_(self.score)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, state: Tensor, graph: Graph) -> Tensor:
        """New states (batch, nodes, hidden)."""
        normal = self.norm(state)
        shape = (*state.shape[:2], *self.score.shape)
        source, target = self.source(normal).reshape(shape), self.target(normal).reshape(shape)
        pair = nn.functional.leaky_relu(target.unsqueeze(2) + source.unsqueeze(1), 0.2)
        score = torch.einsum("bijhd,hd->bijh", pair, self.score)
        score = score.masked_fill(~graph.edges.unsqueeze(3), -torch.inf)
        read = torch.einsum("bijh,bjhd->bihd", torch.softmax(score, dim=2), source)
        return state + self.out(torch.relu(read.reshape(state.shape)))


class GCNRound(Round):
    """Graph convolution: the weighted mean of a node and its neighbours."""

    loops = True

    def __init__(self, hidden: int) -> None:
        """Width of the states."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.mix = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, state: Tensor, graph: Graph) -> Tensor:
        """New states (batch, nodes, hidden)."""
        return state + self.out(torch.relu(self.mix(graph.smooth(self.norm(state)))))


class MLPRound(Round):
    """No messages: each node by itself."""

    def __init__(self, hidden: int) -> None:
        """Width of the states."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.mix = Perceptron(hidden, 2 * hidden, hidden)

    def forward(self, state: Tensor, graph: Graph) -> Tensor:
        """New states (batch, nodes, hidden)."""
        return state + self.mix(self.norm(state))


def attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor, heads: int) -> Tensor:
    """Multi-head attention.

    Args:
        query: (..., targets, hidden).
        key: (..., sources, hidden).
        value: as `key`.
        allowed: (..., targets or 1, sources) bool; at least one source for each target.
        heads: divides hidden.

    Returns:
        What each target reads, (..., targets, hidden).
    """
    query, key, value = (
        part.float().unflatten(-1, (heads, -1)).transpose(-3, -2) for part in (query, key, value)
    )
    # Only linear maps gain from reduced precision: attention among so few is slower in it.
    with torch.autocast(query.device.type, enabled=False):
        read = scaled_dot_product_attention(query, key, value, attn_mask=allowed.unsqueeze(-3))
    return read.transpose(-3, -2).flatten(-2)


# ------------------------------------------------------------------------------ networks


class ForecastReader(nn.Module):
    """Each vertiport attends to the slots to come, asking by what it is and how far it is."""

    def __init__(self, port: int, width: int) -> None:
        """Width of what is known of a vertiport, and of the answer."""
        super().__init__()
        self.slot = nn.Linear(SLOT_COLUMNS, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.query = nn.Linear(port, width)

    def forward(self, port: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """What each vertiport reads, (batch, ports, width), from `port` (batch, ports, port)."""
        coming = observation["slot_mask"] > 0
        offset = coming.cumsum(dim=1) - 1.0
        when = torch.stack([offset / 12.0, 1.0 / (1.0 + offset.clamp(min=0)), offset == 0], dim=2)
        shape = (*observation["demand"].shape[:3], 3)
        parts = [observation["demand"], observation["pair_demand"], when.unsqueeze(1).expand(shape)]
        slot = torch.relu(self.slot(torch.cat(parts, dim=3)))
        key, value = self.key_value(slot).chunk(2, dim=3)
        query = self.query(port).unsqueeze(2)
        return attend(query, key, value, coming[:, None, None], HEADS).squeeze(2)


class FleetNetwork(PolicyNetwork):
    """Logits over vertiports, staying included, and a value, for fleets of any size.

    What is known of a leg goes straight into its logit too, so that the greedy rules are among
    the policies that can be learned.
    """

    keys = KEYS

    def __init__(
        self,
        hidden: int,
        layers: int,
        port_round: Callable[[], Round],
        craft_round: Callable[[], Round],
    ) -> None:
        """Build the network around its rounds of messages.

        Args:
            hidden: width of vertiports; aircraft and forecasts have half of it.
            layers: rounds of messages between vertiports, 1 to 16; aircraft have one.
            port_round: makes a round for states of width `hidden`.
            craft_round: makes one for states of width `hidden` / 2.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024 or hidden % (2 * HEADS):
            raise ValueError(f"hidden is {hidden}, expected a multiple of {2 * HEADS} up to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        super().__init__()
        half = hidden // 2
        known = PORT_COLUMNS + LEG_COLUMNS + DECISION_COLUMNS
        self.craft_in = nn.Linear(CRAFT_COLUMNS, half)
        self.craft_round = craft_round()
        self.forecast = ForecastReader(known, half)
        self.port_in = nn.Linear(known + 2 * half, hidden)
        self.port_rounds = nn.ModuleList(port_round() for _ in range(layers))
        self.context = Perceptron(2 * hidden + 2 * half + DECISION_COLUMNS, hidden, hidden)
        self.look_query = nn.Linear(hidden, hidden)
        self.look_key_value = nn.Linear(hidden, 2 * hidden)
        self.look_out = nn.Linear(hidden, hidden)
        self.choice_port = nn.Linear(hidden + LEG_COLUMNS, hidden)
        self.choice_context = nn.Linear(hidden, hidden, bias=False)
        self.choice = nn.Linear(hidden, 1)
        self.leg = nn.Linear(LEG_COLUMNS, 1, bias=False)
        self.value = ValueHead(hidden, hidden)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of observations.

        Args:
            observation: the arrays of the observation as tensors with a leading batch dimension.

        Returns:
            logits (batch, ports), float32 and not masked; value (batch,), the expected sum of
            rewards to come.
        """
        enabled = self.reduced_precision
        with torch.autocast(observation["port_x"].device.type, torch.bfloat16, enabled=enabled):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        loops = self.craft_round.loops
        fleet = Graph.complete(observation["craft_mask"] > 0, loops)
        craft = self.craft_round(self.craft_in(observation["craft_x"]), fleet)
        network = Graph.weighted(observation["port_mask"] > 0, observation["port_adj"], loops)
        port = self._ports(observation, network, fleet, craft)
        context = self._context(observation, network, fleet, port, craft)
        legs = observation["legs"]
        state = self.choice_port(torch.cat([port, legs], dim=2))
        state = torch.relu(state + self.choice_context(context).unsqueeze(1))
        # Profits of legs are compared with each other: no reduced precision here.
        with torch.autocast(legs.device.type, enabled=False):
            direct = self.leg(legs)
        logits = (self.choice(state).float() + direct).squeeze(2)
        return logits, VALUE_SCALE * self.value(context)

    def _ports(
        self, observation: Mapping[str, Tensor], network: Graph, fleet: Graph, craft: Tensor
    ) -> Tensor:
        """States of the vertiports, (batch, ports, hidden)."""
        port_x, legs = observation["port_x"], observation["legs"]
        decision = observation["decision"].unsqueeze(1).expand(-1, port_x.shape[1], -1)
        known = torch.cat([port_x, legs, decision], dim=2)
        bound = _bound_for(port_x, observation["craft_x"]) & fleet.present.unsqueeze(1)
        share = network.count / fleet.count
        arriving = bound.to(craft.dtype) @ torch.relu(craft) * share
        read = self.forecast(known, observation)
        port = self.port_in(torch.cat([known, read, arriving], dim=2))
        for port_round in self.port_rounds:
            port = port_round(port, network)
        return port

    def _context(
        self,
        observation: Mapping[str, Tensor],
        network: Graph,
        fleet: Graph,
        port: Tensor,
        craft: Tensor,
    ) -> Tensor:
        """What there is to know for the decision, (batch, hidden)."""
        rows = torch.arange(len(port), device=port.device)
        here = port[rows, observation["i"].squeeze(1).long()]
        own = craft[rows, observation["k"].squeeze(1).long()]
        parts = [here, own, network.mean(port), fleet.mean(craft), observation["decision"]]
        context = self.context(torch.cat(parts, dim=1))
        key, value = self.look_key_value(port).chunk(2, dim=2)
        legal = (observation["action_mask"] > 0).unsqueeze(1)
        look = attend(self.look_query(context).unsqueeze(1), key, value, legal, HEADS)
        return context + self.look_out(look.squeeze(1))


def _bound_for(port_x: Tensor, craft_x: Tensor) -> Tensor:
    """Which aircraft are at each vertiport or bound for it, (batch, ports, aircraft) bool.

    An aircraft is told by the very numbers of its vertiport's position.
    """
    return (port_x[:, :, None, :2] == craft_x[:, None, :, :2]).all(dim=3)


def _check_heads(heads: int, hidden: int) -> None:
    if not 1 <= heads <= 64 or hidden % (2 * heads):
        raise ValueError(f"heads is {heads}, expected 1 to 64 and a divisor of {hidden} / 2")


@register_network("uam")
class UAMNetwork(FleetNetwork):
    """Fleet network with graph capsules."""

    def __init__(
        self, *, hidden: int = 64, layers: int = 2, moments: int = 3, hops: int = 2
    ) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of 8 up to 1024.
            layers: rounds of messages between vertiports, 1 to 16.
            moments: powers of the states that are passed on, 1 to 4; 1 is a polynomial filter.
            hops: reach of a round between vertiports, 1 to 4.

        Raises:
            ValueError: a number is out of range.
        """
        for name, number in (("moments", moments), ("hops", hops)):
            if not 1 <= number <= 4:
                raise ValueError(f"{name} is {number}, expected 1 to 4")
        super().__init__(
            hidden,
            layers,
            lambda: CapsuleRound(hidden, moments, hops),
            lambda: CapsuleRound(hidden // 2, moments, 1),
        )


@register_network("uam_transformer")
class UAMTransformerNetwork(FleetNetwork):
    """Fleet network with transformer layers."""

    def __init__(self, *, hidden: int = 64, layers: int = 2, heads: int = 4) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of 8 up to 1024.
            layers: rounds of messages between vertiports, 1 to 16.
            heads: of the attention; they divide half of `hidden`.

        Raises:
            ValueError: a number is out of range.
        """
        _check_heads(heads, hidden)
        super().__init__(
            hidden,
            layers,
            lambda: TransformerRound(hidden, heads),
            lambda: TransformerRound(hidden // 2, heads),
        )


@register_network("uam_gatv2")
class UAMGATv2Network(FleetNetwork):
    """Fleet network with attention along edges."""

    def __init__(self, *, hidden: int = 64, layers: int = 2, heads: int = 4) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of 8 up to 1024.
            layers: rounds of messages between vertiports, 1 to 16.
            heads: of the attention; they divide half of `hidden`.

        Raises:
            ValueError: a number is out of range.
        """
        _check_heads(heads, hidden)
        super().__init__(
            hidden,
            layers,
            lambda: GATv2Round(hidden, heads),
            lambda: GATv2Round(hidden // 2, heads),
        )


@register_network("uam_gcn")
class UAMGCNNetwork(FleetNetwork):
    """Fleet network with graph convolution."""

    def __init__(self, *, hidden: int = 64, layers: int = 2) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of 8 up to 1024.
            layers: rounds of messages between vertiports, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        super().__init__(
            hidden,
            layers,
            lambda: GCNRound(hidden),
            lambda: GCNRound(hidden // 2),
        )


@register_network("uam_mlp")
class UAMMLPNetwork(FleetNetwork):
    """Fleet network whose nodes do not talk to each other."""

    def __init__(self, *, hidden: int = 64, layers: int = 2) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of 8 up to 1024.
            layers: perceptrons of each vertiport, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        super().__init__(
            hidden,
            layers,
            lambda: MLPRound(hidden),
            lambda: MLPRound(hidden // 2),
        )


@register_network("uam_index")
class UAMIndexNetwork(PolicyNetwork):
    """The index policy of `dispatchgym.envs.uam.index`: it looks at each action by itself.

    Its parameters, one after the other, are the weights that the kernel plays with. It has no
    opinion of the value of a state.
    """

    keys = ("legs", "decision", "action_mask")

    def __init__(self, *, hidden: int = 16) -> None:
        """Build the network, which begins as the greedy rule.

        Args:
            hidden: rectified units, 1 to 256.

        Raises:
            ValueError: the number is out of range.
        """
        if not 1 <= hidden <= 256:
            raise ValueError(f"hidden is {hidden}, expected 1 to 256")
        super().__init__()
        known = LEG_COLUMNS + DECISION_COLUMNS
        self.direct = nn.Linear(known, 1, bias=False)
        self.hidden = nn.Linear(known, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.direct.weight[0, PROFIT_COLUMN] = 1.0

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (batch, ports), not masked, and values (batch,) of zero."""
        legs = observation["legs"]
        decision = observation["decision"].unsqueeze(1).expand(-1, legs.shape[1], -1)
        known = torch.cat([legs, decision], dim=2)
        logits = self.direct(known) + self.out(torch.relu(self.hidden(known)))
        return logits.squeeze(2), legs.new_zeros(len(legs))
