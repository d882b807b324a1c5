"""The index policy of the system on chip as a network: every placement is looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dispatchgym.envs.soc.index import (
    FEATURES,
    FINISH_FEATURE,
    NUM_GLOBAL_COLUMNS,
    NUM_PAIR_COLUMNS,
    NUM_PE_COLUMNS,
    NUM_TASK_COLUMNS,
    SCALES,
)
from dispatchgym.models.registry import PolicyNetwork, register_network


@register_network("soc_index")
class SoCIndexNetwork(PolicyNetwork):
    """The index policy of `dispatchgym.envs.soc.index`.

    Its parameters, one after the other, are the weights that the kernel plays with. It has no
    opinion of the value of a state.
    """

    keys = ("outlook", "task_pe", "task_x", "job_x", "pe_x", "global_x", "action_mask")
    scales: Tensor

    def __init__(self, *, hidden: int = 32) -> None:
        """Build the network, which begins as the rule ETF.

        Args:
            hidden: rectified units, 1 to 256.

        Raises:
            ValueError: the number is out of range.
        """
        if not 1 <= hidden <= 256:
            raise ValueError(f"hidden is {hidden}, expected 1 to 256")
        super().__init__()
        self.direct = nn.Linear(FEATURES, 1, bias=False)
        self.hidden = nn.Linear(FEATURES, hidden)
        self.out = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.direct.weight[0, FINISH_FEATURE] = -1.0
        self.register_buffer("scales", torch.from_numpy(SCALES), persistent=False)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (batch, S * P), 0 where illegal, and values (batch,) of zero."""
        lane, action = (observation["action_mask"] > 0).nonzero(as_tuple=True)
        known = placements(observation, lane, action) * self.scales
        index = self.direct(known) + self.out(torch.relu(self.hidden(known)))
        logits = known.new_zeros(observation["action_mask"].shape)
        logits[lane, action] = index.squeeze(1)
        return logits, known.new_zeros(len(logits))


def placements(observation: Mapping[str, Tensor], lane: Tensor, action: Tensor) -> Tensor:
    """Return what the observation says of some placements, (placements, FEATURES).

    Args:
        observation: its arrays with a leading batch dimension.
        lane: (placements,) which of the batch.
        action: (placements,) place of the task times P plus PE.
    """
    pes = observation["pe_x"].shape[1]
    tasks = observation["task_x"].shape[1] // observation["job_x"].shape[1]
    slot, pe = action // pes, action % pes
    parts = [
        observation["outlook"][lane, slot, pe],
        observation["task_pe"][lane, slot, pe, :NUM_PAIR_COLUMNS],
        observation["task_x"][lane, slot, :NUM_TASK_COLUMNS],
        observation["job_x"][lane, slot // tasks],
        observation["pe_x"][lane, pe, :NUM_PE_COLUMNS],
        observation["global_x"][lane, :NUM_GLOBAL_COLUMNS],
    ]
    return torch.cat(parts, dim=1)
