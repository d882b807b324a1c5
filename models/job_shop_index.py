"""The index policy of the job shop as a network: every candidate is looked at by itself."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from dispatchgym.envs.job_shop.decoding import Decoder, DecoderShops, index_decoder
from dispatchgym.envs.job_shop.index import FEATURES
from dispatchgym.models.registry import PolicyNetwork, register_network

_WORK_FEATURE = 1
"""Where the features have the work that remains of a job."""


@register_network("job_shop_index")
class JobShopIndexNetwork(PolicyNetwork):
    """The index policy of `dispatchgym.envs.job_shop.index`.

    Its parameters, one after the other, are the weights that the kernel plays with. It has no
    opinion of the value of a state.
    """

    keys = ("candidates", "job_mask", "action_mask")

    def __init__(self, *, hidden: int = 16) -> None:
        """Build the network, which begins as the rule MWKR that never waits.

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
            self.direct.weight[0, _WORK_FEATURE] = 1.0

    def decoder_of(self, shops: DecoderShops) -> Decoder:
        """Return what the kernel plays these shops with."""
        weights = parameters_to_vector(self.parameters()).detach().double().cpu().numpy()
        return index_decoder(weights, shops.machines.shape)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (batch, jobs + 1), 0 for waiting, and values (batch,) of zero."""
        known = observation["candidates"]
        index = self.direct(known) + self.out(torch.relu(self.hidden(known)))
        logits = torch.cat([index.squeeze(2), index.new_zeros(len(index), 1)], dim=1)
        return logits, index.new_zeros(len(index))
