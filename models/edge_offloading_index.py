"""The index policy of edge offloading as a network: every server is looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dispatchgym.envs.edge_offloading import index, layout
from dispatchgym.models.edge_offloading import TINY, Units, odds_of
from dispatchgym.models.registry import PolicyNetwork, register_network


@register_network("edge_offloading_index")
class EdgeOffloadingIndexNetwork(PolicyNetwork):
    """The index policy of `dispatchgym.envs.edge_offloading.index`.

    Its parameters, one after the other, are the weights that the kernel plays with. It knows
    independent tasks only, and has no opinion of the value of a state.
    """

    keys = ("servers", "task", "preference", "context", "action_mask")

    def __init__(self, *, hidden: int = 8) -> None:
        """Build the network, which begins as the rule greedy_omega.

        Args:
            hidden: rectified units, 1 to 256.

        Raises:
            ValueError: the number is out of range.
        """
        if not 1 <= hidden <= 256:
            raise ValueError(f"hidden is {hidden}, expected 1 to 256")
        super().__init__()
        self.direct = nn.Linear(index.FEATURES, 1, bias=False)
        self.hidden = nn.Linear(index.FEATURES, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (batch, S + 2), minus logarithms of the index, and values of zero."""
        units = Units(observation["context"])
        odds = odds_of(observation["preference"][:, 0])
        known = describe(observation, units, odds)
        correction = self.direct(known) + self.out(torch.relu(self.hidden(known)))
        exponent = odds.unsqueeze(1) + correction.squeeze(2)
        delay, joules = costs(observation, units)
        cost = delay * exponent.clamp(-index.MOST, index.MOST).exp() + joules
        logits = nn.functional.pad(-cost.clamp(min=TINY).log(), (0, 2))
        return logits, logits.new_zeros(len(logits))


def costs(observation: Mapping[str, Tensor], units: Units) -> tuple[Tensor, Tensor]:
    """Return delay and energy that sending the task to each server would cause, (batch, S)."""
    servers = observation["servers"]
    delay = servers[:, :, layout.OWN_DELAY] + servers[:, :, layout.EXTRA_DELAY]
    return delay / units.seconds, servers[:, :, layout.ENERGY] / units.joules


def describe(observation: Mapping[str, Tensor], units: Units, odds: Tensor) -> Tensor:
    """Return what the kernel knows of each server, (batch, S, FEATURES)."""
    servers, task = observation["servers"], observation["task"]
    context = observation["context"]
    exists = servers[:, :, layout.EXISTS] > 0
    scenario, seconds = context[:, layout.SCENARIO], units.seconds
    p = odds / odds_of(torch.ones_like(odds))
    left, bits = task[:, layout.EPISODE_LEFT], task[:, layout.BITS]
    size = (bits / units.size[:, 0]).log1p()
    few = 1.0 / context[:, layout.NUM_EDGES].clamp(min=1)
    shared = {
        index.ONE: torch.ones_like(p),
        index.PREFERENCE: p,
        index.SQUARE: p.square(),
        index.CUBE: p.pow(3),
        index.LEFT: left,
        index.SIZE: size,
        index.WAITING: task[:, layout.WAITING].log1p(),
        index.WAITING_WORK: (task[:, layout.WAITING_BITS] / units.size[:, 0]).log1p(),
        index.EDGES: context[:, layout.NUM_EDGES] / 10.0,
        index.RADIO: (scenario == layout.GMORL_RADIO).to(p.dtype),
        index.HARD: (scenario == layout.GMORL_HARD).to(p.dtype),
        index.CLOCK_RATE: units.frequency[:, 0] / (index.USUAL_FREQUENCY / 1e9) - 1.0,
        index.PREFERRED_LEFT: p * left,
        index.PREFERRED_SIZE: p * size,
        index.FEW: few,
        index.FEW_PREFERENCE: few * p,
        index.FEW_SQUARE: few * p.square(),
        index.FEW_CUBE: few * p.pow(3),
        index.FEWEST: few.square(),
    }
    work = (servers[:, :, layout.BACKLOG].clamp(min=0) / seconds).log1p()
    met = met_by_mean_task(servers, units).log1p()
    own = (servers[:, :, layout.OWN_DELAY].clamp(min=0) / seconds).log1p()
    upload = bits.unsqueeze(1) / (100.0 * servers[:, :, layout.RATE]).clamp(min=TINY)
    cloud = torch.zeros_like(work)
    cloud[:, 0] = 1.0
    own_columns = {
        index.CLOUD: cloud,
        index.FASTER: servers[:, :, layout.FREQUENCY] / units.frequency - 1.0,
        index.WORK: work,
        index.MORE_WORK: beyond_mean(work, exists),
        index.MET: met,
        index.MORE_MET: beyond_mean(met, exists),
        index.COMPUTING: servers[:, :, layout.COMPUTING].log1p(),
        index.UPLOADING: servers[:, :, layout.UPLOADING].log1p(),
        index.UPLOAD: (upload / seconds).log1p(),
        index.OWN_DELAY: own,
        index.EXTRA_DELAY: (servers[:, :, layout.EXTRA_DELAY].clamp(min=0) / seconds).log1p(),
        index.JOULES: (servers[:, :, layout.ENERGY] / units.joules).log1p(),
        index.WORK_LEFT: work * left.unsqueeze(1),
        index.DELAY_LEFT: own * left.unsqueeze(1),
        index.PREFERRED_WORK: work * p.unsqueeze(1),
        index.PREFERRED_CLOUD: cloud * p.unsqueeze(1),
        index.SIZED_WORK: beyond_mean(work, exists) * size.unsqueeze(1),
        index.SIZED_CLOUD: cloud * size.unsqueeze(1),
    }
    rows = servers.new_zeros(*servers.shape[:2], index.FEATURES)
    for column, values in shared.items():
        rows[:, :, column] = values.unsqueeze(1)
    for column, values in own_columns.items():
        rows[:, :, column] = values
    return rows


def beyond_mean(values: Tensor, exists: Tensor) -> Tensor:
    """Return how far values (batch, S) lie above their mean over the servers that exist."""
    number = exists.sum(dim=1, keepdim=True).clamp(min=1)
    return values - (values * exists).sum(dim=1, keepdim=True) / number


def met_by_mean_task(servers: Tensor, units: Units) -> Tensor:
    """Return (batch, S) what a task of mean size would find before it, in mean sizes."""
    histogram = servers[:, :, layout.HISTOGRAM : layout.HISTOGRAM + layout.BINS]
    middle = torch.arange(layout.BINS, device=servers.device) + 0.5
    return (histogram * (middle / units.size).clamp(max=1.0).unsqueeze(1)).sum(dim=2)
