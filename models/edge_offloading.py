"""Networks of edge offloading: every server by itself, with what all of them are like together.

Servers are a set: each goes through the same layers, and what they tell each other is their mean
and maximum (Zaheer et al. 2017, arXiv 1703.06114), so that logits follow the order of servers and
any number of them will do. Delays and energies are measured as in the rewards: one mean task
alone on a mean server takes 1 of each. What the observation says a placement would cost goes
straight into its score, so that the network begins as the rule greedy_omega, and on drone fleets
as DEMS. It either adds to what costs make of a score, or bends the weight of delays, as the index
policy of `dispatchgym.envs.edge_offloading.index` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from dispatchgym.envs.core.errors import ParameterError
from dispatchgym.envs.edge_offloading import index, layout
from dispatchgym.models.blocks import Perceptron
from dispatchgym.models.registry import PolicyNetwork, register_network

JOULES = 5e-4
"""Energy of a megabit at one gigahertz, 5e-31 * 1e3 cycles a bit * (1e9 Hz)^2 * 1e6 bit."""
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Sizes of tasks to come, in mean tasks, that the histogram is asked about."""
SCENARIOS = 5
GLOBAL_FEATURES = layout.TASK_COLUMNS + layout.OBJECTIVES + layout.CONTEXT_COLUMNS + SCENARIOS - 1
COSTS = 3
"""Of a placement: delay, energy, and that the hint is against it."""
SERVER_FEATURES = layout.BINS + len(LEVELS) + 16 + 2 * COSTS
PUBLISHED_COLUMNS = layout.HISTOGRAM + layout.BINS
VALUE_SCALE = 10.0
"""About how much returns differ, in units of the reward."""
TINY = 1e-9


def squash(values: Tensor) -> Tensor:
    """Return values with long tails drawn in, odd and smooth."""
    return values.sign() * values.abs().log1p()


def odds_of(weight: Tensor) -> Tensor:
    """Return the logarithm of weights of delay over those of energy."""
    return weight.clamp(index.LEAST_WEIGHT, 1.0 - index.LEAST_WEIGHT).logit()


class Units:
    """What counts 1 in a batch of states, (B, 1) each.

    Attributes:
        size: megabits of a mean task.
        seconds: that it takes alone on a mean server.
        joules: that it costs there.
    """

    def __init__(self, context: Tensor) -> None:
        """Read the context (B, columns)."""
        edges = context[:, layout.NUM_EDGES : layout.NUM_EDGES + 1]
        total = edges * context[:, layout.MEAN_EDGE_GHZ : layout.MEAN_EDGE_GHZ + 1]
        total = total + context[:, layout.CLOUD_GHZ : layout.CLOUD_GHZ + 1]
        self.frequency = (total / (edges + 1.0)).clamp(min=1e-3)
        self.size = context[:, layout.MEAN_SIZE : layout.MEAN_SIZE + 1].clamp(min=1e-3)
        self.seconds = self.size / self.frequency
        self.joules = JOULES * self.size * self.frequency.square()


def placement_costs(observation: Mapping[str, Tensor], units: Units) -> Tensor:
    """Return what is told of each placement, (B, S, COSTS).

    On drone fleets delays are not what counts, but what DEMS would do, which is the hint.
    """
    servers = observation["servers"]
    fleet = (observation["context"][:, layout.SCENARIO] == layout.DEMS).unsqueeze(1)
    delay = servers[:, :, layout.OWN_DELAY] + servers[:, :, layout.EXTRA_DELAY]
    place = torch.arange(servers.shape[1], device=servers.device)
    other = observation["task"][:, layout.PREFERRED].unsqueeze(1) != place
    costs = [
        delay / units.seconds * ~fleet,
        servers[:, :, layout.ENERGY] / units.joules * ~fleet,
        (other & fleet).to(servers.dtype),
    ]
    return torch.stack(costs, dim=2)


def weigh(costs: Tensor, preference: Tensor) -> Tensor:
    """Return costs (B, S, COSTS) weighted by the preference (B, objectives)."""
    weights = nn.functional.pad(preference, (0, COSTS - preference.shape[1]), value=1.0)
    return costs * weights.unsqueeze(1)


def beyond_least(values: Tensor, exists: Tensor) -> Tensor:
    """Return how far values (B, S, C) lie above the least of the servers that exist."""
    least = values.masked_fill(~exists.unsqueeze(2), torch.inf).amin(dim=1, keepdim=True)
    return values - torch.nan_to_num(least, posinf=0.0)


def server_features(
    observation: Mapping[str, Tensor], units: Units, costs: Tensor, exists: Tensor
) -> Tensor:
    """Return numbers of order 1 for each server, (B, S, SERVER_FEATURES)."""
    servers = observation["servers"]
    column = servers.unbind(2)
    seconds, size = units.seconds, units.size
    histogram = servers[:, :, layout.HISTOGRAM : layout.HISTOGRAM + layout.BINS]
    left = torch.arange(layout.BINS, device=servers.device) + 0.5
    levels = torch.tensor(LEVELS, device=servers.device).unsqueeze(1)
    # What a task to come would find before it: the sum of min(residual, its size).
    met = torch.minimum((left / size).unsqueeze(1), levels)
    ahead = histogram @ met.transpose(1, 2)
    cloud = torch.zeros_like(column[0])
    cloud[:, 0] = 1.0
    single = [
        cloud,
        column[layout.FREQUENCY] / units.frequency,
        column[layout.EDGES] / 10.0,
        squash(column[layout.TASK_BITS] / size),
        squash(column[layout.RATE]),
        squash(column[layout.COMPUTING]),
        squash(column[layout.UPLOADING]),
        squash(column[layout.BACKLOG] / seconds),
        squash(column[layout.UNTIL_FREE] / seconds),
        squash(column[layout.OWN_DELAY] / seconds),
        squash(column[layout.EXTRA_DELAY] / seconds),
        squash(column[layout.ENERGY] / units.joules),
        squash(column[layout.COST]),
        squash(column[layout.SLACK] / seconds),
        squash(column[layout.DATA_SHARE]),
        column[layout.OPEN],
    ]
    weighted = weigh(costs, observation["preference"]).sum(dim=2, keepdim=True)
    compared = beyond_least(torch.cat([costs[:, :, :2], weighted], dim=2), exists)
    tailed = torch.cat([histogram, ahead, costs, compared], dim=2)
    return torch.cat([torch.stack(single, dim=2), squash(tailed)], dim=2)


def global_features(observation: Mapping[str, Tensor], units: Units, preference: Tensor) -> Tensor:
    """Return numbers of order 1 for the task, the preference and the context, (B, features)."""
    task, context = observation["task"], observation["context"]
    scale = torch.ones_like(task)
    for name in (layout.BITS, layout.WORK, layout.WAITING_BITS):
        scale[:, name] = units.size[:, 0]
    for name in (layout.TIME_LEFT, layout.TIME_IN_QUEUE, layout.APP_AGE):
        scale[:, name] = units.seconds[:, 0]
    scenario = context[:, layout.SCENARIO].long().clamp(0, SCENARIOS - 1)
    parts = [
        squash(task / scale),
        preference,
        squash(context[:, : layout.SCENARIO]),
        nn.functional.one_hot(scenario, SCENARIOS).to(task.dtype),
    ]
    return torch.cat(parts, dim=1)


@register_network("edge_offloading")
class EdgeOffloadingNetwork(PolicyNetwork):
    """Logits over servers, drop and hold, and a value; as a critic with several heads too."""

    keys = ("servers", "task", "preference", "context", "action_mask")
    critic_settings: ClassVar[Mapping[str, float]] = {
        "sharpness": 1.0,
        "leads": False,
        "bends": False,
    }

    def __init__(
        self,
        *,
        hidden: int = 64,
        layers: int = 2,
        sharpness: float = 10.0,
        leads: bool = True,
        bends: bool = False,
        outputs: int = 1,
    ) -> None:
        """Build the network.

        Args:
            hidden: width of the layers, 4 to 1024.
            layers: times that servers tell each other, 0 to 16.
            sharpness: logits that a cost of 1 takes off at first, 0 to 1000.
            leads: go by how far the weighted cost of a server lies above the least one, with long
                leads drawn in. Not of a critic: what a placement costs at once is known to it.
            bends: in place of that, what is found out about a server multiplies the weight of its
                delay, and the logit is minus `sharpness` logarithms of the weighted cost. Not of a
                critic either.
            outputs: heads, 1 to 16: 1, or for two objectives and the entropy 3.

        Raises:
            ValueError: a number is out of range.
        """
        for name, value, least, most in (
            ("hidden", hidden, 4, 1024),
            ("layers", layers, 0, 16),
            ("sharpness", sharpness, 0, 1000),
            ("outputs", outputs, 1, 16),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, expected {least} to {most}")
        super().__init__()
        if bends and outputs > 1:
            raise ValueError(f"outputs is {outputs}, expected 1 where the weight of delays is bent")
        self.outputs, self.sharpness, self.leads = outputs, sharpness, leads
        self.bends = bends
        self.server_in = nn.Linear(SERVER_FEATURES, hidden)
        self.global_in = nn.Linear(GLOBAL_FEATURES, hidden)
        self.exchanges = nn.ModuleList(Exchange(hidden) for _ in range(layers))
        self.score_whole = nn.Linear(2 * hidden, hidden)
        self.score = Perceptron(hidden, hidden, outputs)
        self.others = Perceptron(2 * hidden, hidden, 2 * outputs)
        self.value = Perceptron(2 * hidden, hidden, outputs)
        self.direct = nn.Parameter(first_direct(outputs))
        for head in (self.score[-1], self.others[-1]):
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of observations.

        Args:
            observation: the arrays of the observation as tensors with a leading batch dimension.

        Returns:
            logits (batch, servers + 2), float32 and not masked, and values (batch,); with more
            outputs both have a last dimension of them.
        """
        units = Units(observation["context"])
        costs = placement_costs(observation, units)
        exists = observation["servers"][:, :, layout.EXISTS] > 0
        enabled = self.reduced_precision
        with torch.autocast(costs.device.type, torch.bfloat16, enabled=enabled):
            whole = self.global_in(global_features(observation, units, self._shown(observation)))
            features = server_features(observation, units, costs, exists)
            state = torch.relu(self.server_in(features) + whole.unsqueeze(1))
            for exchange in self.exchanges:
                state = exchange(state, exists)
            pooled = torch.cat([pool(state, exists)[0], torch.relu(whole)], dim=1)
            score = self.score(state + self.score_whole(pooled).unsqueeze(1)).float()
            others, value = self.others(pooled).float(), self.value(pooled).float()
        others = others.unflatten(1, (2, self.outputs)) + self._hinted(observation)
        if self.bends:
            score = self._bent(score, costs, observation)
        else:
            score = score + self._direct(costs, observation, exists)
        logits = torch.cat([score, others], dim=1)
        value = VALUE_SCALE * value
        return (logits, value) if self.outputs > 1 else (logits.squeeze(2), value.squeeze(1))

    def _direct(self, costs: Tensor, observation: Mapping[str, Tensor], exists: Tensor) -> Tensor:
        """Return what costs take off the scores, (B, S, outputs)."""
        if self.outputs == 1:
            costs = weigh(costs, observation["preference"])
        if self.leads:
            together, hint = costs.split([layout.OBJECTIVES, 1], dim=2)
            lead = squash(beyond_least(together.sum(dim=2, keepdim=True), exists))
            costs = torch.cat([lead, torch.zeros_like(lead), hint], dim=2)
        return self.sharpness * costs @ self.direct

    def _shown(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Return how the layers see the preference, (B, objectives)."""
        preference = observation["preference"]
        if not self.bends:
            return preference
        place = odds_of(preference[:, 0]) / odds_of(torch.ones_like(preference[:, 0]))
        return torch.stack([place, place.square()], dim=1)

    def _bent(self, score: Tensor, costs: Tensor, observation: Mapping[str, Tensor]) -> Tensor:
        """Return scores (B, S, 1) by costs whose delay has another weight at each server.

        On drone fleets nothing has a cost but what is against the hint, and scores are added.
        """
        delay, joules, against = costs.split(1, dim=2)
        odds = odds_of(observation["preference"][:, 0]).view(-1, 1, 1)
        cost = delay * (odds + score).clamp(-index.MOST, index.MOST).exp() + joules
        price = torch.where(cost > 0, cost.clamp(min=TINY).log(), against - score)
        return -self.sharpness * price

    def _hinted(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Return what DEMS takes off drop and hold where it is against them, (B, 2, outputs)."""
        task = observation["task"]
        hold = task[:, layout.TIME_IN_QUEUE] > 0
        drop = (task[:, layout.PREFERRED] < 0) & ~hold
        fleet = observation["context"][:, layout.SCENARIO] == layout.DEMS
        against = torch.stack([~drop & fleet, ~hold & fleet], dim=1).to(task.dtype)
        return self.sharpness * against.unsqueeze(2) * self.direct[-1]


def first_direct(outputs: int) -> Tensor:
    """Return what a cost of 1 does to the scores at first, (COSTS, outputs).

    One head goes by the weighted sum, heads of a vector by a component each.
    """
    if outputs == 1:
        return torch.full((COSTS, 1), -1.0)
    weights = torch.zeros(COSTS, outputs)
    for component in range(min(layout.OBJECTIVES, outputs)):
        weights[component, component] = -1.0
    return weights


def pool(state: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and maximum of states (B, S, hidden) over the servers that exist, (B, hidden)."""
    there = exists.unsqueeze(2)
    number = there.sum(dim=1).clamp(min=1).to(state.dtype)
    mean = (state * there).sum(dim=1) / number
    most = state.masked_fill(~there, -torch.inf).amax(dim=1)
    return mean, torch.nan_to_num(most, neginf=0.0)


class Exchange(nn.Module):
    """Residual update of every server from itself and from what all of them tell."""

    def __init__(self, hidden: int) -> None:
        """Width of the states."""
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.own = nn.Linear(hidden, hidden)
        self.told = nn.Linear(2 * hidden, hidden)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, state: Tensor, exists: Tensor) -> Tensor:
        """New states (B, S, hidden)."""
        told = self.told(torch.cat(pool(state, exists), dim=1)).unsqueeze(1)
        changed: Tensor = self.out(torch.relu(self.own(self.norm(state)) + told))
        return state + changed


class Residual(nn.Module):
    """Two linear maps of one width, added to what goes in."""

    def __init__(self, width: int) -> None:
        """`width` of both."""
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, state: Tensor) -> Tensor:
        """Return the sum, (..., width)."""
        return leaky(state + self.second(leaky(self.first(state))))


def leaky(values: Tensor) -> Tensor:
    """Return values with those below zero at a tenth."""
    return nn.functional.leaky_relu(values, 0.1)


@register_network("edge_offloading_conv")
class EdgeOffloadingConvNetwork(PolicyNetwork):
    """The published `conv_mlp_net` on its 67 columns, with the preference beside each of them.

    Convolutions of width 1 over the servers, which are linear maps of each; then all servers, one
    after the other, through residual blocks. It depends on the order and number of servers; one
    network gives logits and value, where the publication has two. About 15 million weights.
    """

    keys = ("servers", "preference", "action_mask")

    def __init__(
        self, *, servers: int = 11, channels: int = 512, hidden: int = 1024, outputs: int = 1
    ) -> None:
        """Build the network.

        Args:
            servers: of the observation, absent ones included, 2 to 100.
            channels: numbers for each server, 4 to 1024.
            hidden: width behind them, 4 to 4096.
            outputs: heads, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        for name, value, least, most in (
            ("servers", servers, 2, 100),
            ("channels", channels, 4, 1024),
            ("hidden", hidden, 4, 4096),
            ("outputs", outputs, 1, 16),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, expected {least} to {most}")
        super().__init__()
        self.servers, self.outputs = servers, outputs
        blocks = [Residual(channels) for _ in range(3)]
        self.body = nn.Sequential(*blocks, nn.Linear(channels, channels), nn.ReLU())
        self.server_in = nn.Linear(PUBLISHED_COLUMNS + layout.OBJECTIVES, channels)
        blocks = [Residual(hidden) for _ in range(3)]
        first, last = nn.Linear(servers * channels, hidden), nn.Linear(hidden, hidden)
        self.whole = nn.Sequential(first, *blocks, last, nn.LeakyReLU(0.1))
        self.heads = nn.Linear(hidden, (servers + 3) * outputs)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score actions as `EdgeOffloadingNetwork.forward` does.

        Raises:
            ParameterError: there are more or fewer servers than it was built for.
        """
        servers = observation["servers"][:, :, :PUBLISHED_COLUMNS]
        if servers.shape[1] != self.servers:
            raise ParameterError(
                f"servers: found {servers.shape[1]}, expected {self.servers}; "
                "set model.servers and env.max_servers to the same number"
            )
        absent = servers[:, :, layout.EXISTS : layout.EXISTS + 1] == 0
        preference = observation["preference"].unsqueeze(1).expand(-1, self.servers, -1)
        rows = [servers.masked_fill(absent, -1.0), preference]
        enabled = self.reduced_precision
        with torch.autocast(servers.device.type, torch.bfloat16, enabled=enabled):
            state = self.body(leaky(self.server_in(torch.cat(rows, dim=2))))
            found = self.heads(self.whole(state.flatten(1))).float()
        logits, value = found.unflatten(1, (-1, self.outputs)).split([self.servers + 2, 1], dim=1)
        value = VALUE_SCALE * value.squeeze(1)
        return (logits, value) if self.outputs > 1 else (logits.squeeze(2), value.squeeze(1))
