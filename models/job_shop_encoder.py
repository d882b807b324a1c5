"""Encodes a job shop once; what is left at each decision is small enough for the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dispatchgym.envs.job_shop.decoding import FEATURES, Decoder, DecoderShops
from dispatchgym.models.blocks import Perceptron
from dispatchgym.models.registry import PolicyNetwork, register_network

_FIRST_RULE = {1: 8.0, 32: -15.0}
"""Features and their first weights: the work that remains, the time until a job can start."""
STATIC = 15
"""Features of an operation that never change."""


class GroupAttention(nn.Module):
    """Attention among the operations of one group: those of a machine."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Linear(width, 3 * width, bias=False)
        self.give = nn.Linear(width, width)

    def forward(self, state: Tensor, groups: Groups) -> Tensor:
        """Return what each of the operations (N, width) gathers from its group."""
        asked = groups.gather(self.ask(state))  # (groups, size, 3 * width)
        query, key, value = asked.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attend = nn.functional.scaled_dot_product_attention
        found = attend(query, key, value, attn_mask=groups.mask)
        return self.give(groups.scatter(found.transpose(1, 2).flatten(2)))


class Block(nn.Module):
    """A residual update of operations from their machine's and from their job's neighbours."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = GroupAttention(width, heads)
        self.chain = nn.Conv1d(width, width, 3, padding=1)
        self.mix = Perceptron(width, 2 * width, width)
        self.mix_norm = nn.LayerNorm(width)

    def forward(self, state: Tensor, machines: Groups, jobs: Groups) -> Tensor:
        """Return the new state (N, width)."""
        known = self.norm(state)
        chained = self.chain(jobs.gather(known).transpose(1, 2)).transpose(1, 2)
        state = state + self.attention(known, machines) + jobs.scatter(chained)
        return state + self.mix(self.mix_norm(state))


@register_network("job_shop_encoder")
class JobShopEncoder(PolicyNetwork):
    """Attention over the operations of an instance, and a decoder of single candidates.

    The operations are the nodes of the disjunctive graph: each attends to all operations on its
    machine, and sees its neighbours in the job. What comes out is a vector for each operation,
    once for the whole episode, as in Corsini et al. (NeurIPS 2024, arXiv 2401.11849); the rest
    is `dispatchgym.envs.job_shop.decoder`. What
    it expects of a state is for actor-critic methods; self-labelling does not need it.
    """

    keys = (
        "operation_duration",
        "operation_machine",
        "job_operation",
        "candidates",
        "action_mask",
    )

    def __init__(
        self,
        *,
        width: int = 64,
        heads: int = 4,
        blocks: int = 2,
        units: int = 64,
        crowding: float = 0.0,
    ) -> None:
        """Build the network, which begins as a soft dispatching rule.

        Args:
            width: of an operation's state, a multiple of `heads`, at most 1024.
            heads: attention heads, at least 1.
            blocks: rounds of attention, 1 to 16.
            units: rectified units of the decoder, 1 to 1024.
            crowding: 0 begins as MWKR that hardly waits. Above 0, for shops without buffers:
                begins as BLKREL, with so much reluctance to let a job into a shop where 60 % of
                the machines are taken.

        Raises:
            ValueError: a number is out of range.
        """
        for name, value, most in (("width", width, 1024), ("blocks", blocks, 16)):
            if not 1 <= value <= most:
                raise ValueError(f"{name} is {value}, expected 1 to {most}")
        if not 1 <= units <= 1024:
            raise ValueError(f"units is {units}, expected 1 to 1024")
        if crowding < 0:
            raise ValueError(f"crowding is {crowding}, expected at least 0")
        if heads < 1 or width % heads:
            raise ValueError(f"heads is {heads}, expected a divisor of the width {width}")
        super().__init__()
        self.first = nn.Linear(STATIC, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.vector = nn.Linear(width, units, bias=False)
        self.direct = nn.Linear(FEATURES, 1, bias=False)
        self.inner = nn.Linear(FEATURES, units)
        self.context = nn.Linear(FEATURES, units, bias=False)
        self.out = nn.Linear(units, 1, bias=False)
        self.value = Perceptron(FEATURES + units, units, 1)
        nn.init.zeros_(self.vector.weight)
        nn.init.zeros_(self.direct.weight)
        with torch.no_grad():
            self.direct.weight[0, list(_FIRST_RULE)] = torch.tensor(list(_FIRST_RULE.values()))
            if crowding > 0:
                relief = {1: 2.0, 4: 3.0, 5: 9.0, 6: 0.6 * crowding - 2.0, 7: -crowding}
                self.direct.weight[0, list(relief)] = torch.tensor(list(relief.values()))
            self.out.weight *= 0.1

    def encode(self, durations: Tensor, machines: Tensor) -> Tensor:
        """Return vectors (B, n, K, units) of operations.

        Args:
            durations: float32 (B, n, K), of any unit.
            machines: int (B, n, K), -1 where there is no operation.
        """
        exists = machines >= 0
        by_machine, by_job = Groups.by_machine(machines), Groups.by_job(exists)
        state = self.first(describe_operations(durations, machines)[exists])
        for block in self.blocks:
            state = block(state, by_machine, by_job)
        vectors = state.new_zeros(*machines.shape, self.vector.out_features)
        return vectors.masked_scatter(exists.unsqueeze(3), self.vector(state))

    def score(self, vectors: Tensor, candidates: Tensor, mask: Tensor) -> Tensor:
        """Return logits (B, n + 1), 0 for waiting.

        Args:
            vectors: (B, n, units) of each job's next operation.
            candidates: (B, n, FEATURES).
            mask: (B, n + 1), legal actions.
        """
        mean = mean_of(candidates, mask)
        units = self.inner(candidates) + self.context(mean).unsqueeze(1) + vectors
        scores = (self.direct(candidates) + self.out(torch.relu(units))).squeeze(2)
        return torch.cat([scores, scores.new_zeros(len(scores), 1)], dim=1)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (batch, jobs + 1) and values (batch,); encodes at every call."""
        batch, jobs = observation["candidates"].shape[:2]
        shape = batch, jobs, -1
        vectors = self.encode(
            observation["operation_duration"].view(shape),
            observation["operation_machine"].view(shape).long(),
        ).flatten(1, 2)
        place = observation["job_operation"].long().clamp(min=0)
        chosen = vectors.gather(1, place.unsqueeze(2).expand(-1, -1, vectors.shape[2]))
        candidates, mask = observation["candidates"], observation["action_mask"]
        known = torch.cat([mean_of(candidates, mask), mean_of(chosen, mask)], dim=1)
        return self.score(chosen, candidates, mask), self.value(known).squeeze(1)

    def decoder(self, vectors: Tensor) -> Decoder:
        """Return what the kernel plays with, given `encode`'s vectors."""
        parts = (
            self.direct.weight[0],
            self.inner.weight.T,
            self.context.weight.T,
            self.inner.bias,
            self.out.weight[0],
            vectors,
        )
        return Decoder(*(np.ascontiguousarray(part.detach().cpu().numpy()) for part in parts))

    def decoder_of(self, shops: DecoderShops) -> Decoder:
        """Return what the kernel plays these shops with."""
        with torch.no_grad():
            return self.decoder(self.encode(*self.tensors_of(shops)))

    def tensors_of(self, shops: DecoderShops) -> tuple[Tensor, Tensor]:
        """Return durations and machines of shops, where the network computes."""
        device = self.first.weight.device
        durations = torch.as_tensor(shops.durations, device=device)
        return durations, torch.as_tensor(shops.machines, device=device)

    def ascend(self, vectors: Tensor, slope: Decoder) -> None:
        """Add the negative of what the kernel says of the decoder's gradient to all weights'.

        Args:
            vectors: what `encode` gave, with its graph.
            slope: gradient of what is to grow.
        """
        device = vectors.device
        weights = (
            self.direct.weight,
            self.inner.weight,
            self.context.weight,
            self.inner.bias,
            self.out.weight,
        )
        for weight, part in zip(weights, slope[:-1], strict=True):
            down = -torch.as_tensor(part.T.copy(), device=device).reshape(weight.shape)
            weight.grad = down if weight.grad is None else weight.grad + down
        vectors.backward(-torch.as_tensor(slope.vectors, device=device))


def mean_of(rows: Tensor, mask: Tensor) -> Tensor:
    """Return (B, width) the mean of the rows (B, n, width) of legal jobs, 0 where none is."""
    legal = mask[:, :-1].unsqueeze(2).to(rows.dtype)
    return (rows * legal).sum(1) / legal.sum(1).clamp(min=1.0)


def describe_operations(durations: Tensor, machines: Tensor) -> Tensor:
    """Return (B, n, K, 15) static features of operations, each of about unit size.

    The duration, the work before it and from it on, the job's and the machine's load, and how
    far the duration and the work from it on are from the quartiles of its job's and its
    machine's operations.
    """
    exists = machines >= 0
    count = exists.sum((1, 2)).clamp(min=1)
    mean = (durations * exists).sum((1, 2)) / count
    scaled = torch.where(exists, durations / mean.clamp(min=1e-9)[:, None, None], 0.0)
    job = scaled.sum(2, keepdim=True)
    per_job = 1.0 / (job.sum(1, keepdim=True) / exists.any(2, keepdim=True).sum(1, keepdim=True))
    before = scaled.cumsum(2) - scaled
    number = int(machines.max()) + 1
    on = torch.nn.functional.one_hot(machines.clamp(min=0), number).bool() & exists[..., None]
    load = torch.where(on, scaled[..., None], 0.0).sum((1, 2))
    per_load = 1.0 / (load.sum(1) / (load > 0).sum(1).clamp(min=1))[:, None, None]
    at = machines.clamp(min=0).flatten(1)
    mine = load.gather(1, at).view_as(scaled)
    tail = (job - before) * per_job
    columns = [
        scaled - 1.0,
        before * per_job,
        tail,
        (job * per_job - 1.0).expand_as(scaled),
        mine * per_load - 1.0,
        torch.where(exists, 1.0, 0.0).cumsum(2) / exists.sum(2, keepdim=True).clamp(min=1),
    ]
    within = torch.where(exists, scaled, torch.nan)
    spread = torch.where(on, scaled[..., None], torch.nan).flatten(1, 2)
    tails = torch.where(on, tail[..., None], torch.nan).flatten(1, 2)
    for share in (0.25, 0.5, 0.75):
        columns.append(scaled - within.nanquantile(share, dim=2, keepdim=True))
        columns.append(scaled - spread.nanquantile(share, dim=1).gather(1, at).view_as(scaled))
        columns.append(tail - tails.nanquantile(share, dim=1).gather(1, at).view_as(scaled))
    return torch.stack(columns, dim=3).nan_to_num()


@dataclass(frozen=True)
class Groups:
    """Operations in groups, padded to the largest of them.

    Attributes:
        rows: int64 (groups, size), which operation stands there; N for none.
        place: int64 (N,), where each operation stands among the flattened rows.
        mask: bool (groups, 1, 1, size), where there is one.
    """

    rows: Tensor
    place: Tensor
    mask: Tensor

    @classmethod
    def by_job(cls, exists: Tensor) -> Groups:
        """Group operations (B, n, K) by job, in their order."""
        place = exists.flatten().nonzero().squeeze(1)
        return cls._make(place, exists.shape[0] * exists.shape[1], exists.shape[2])

    @classmethod
    def by_machine(cls, machines: Tensor) -> Groups:
        """Group operations by machine (B, n, K), -1 for none."""
        number = int(machines.max()) + 1
        shop = torch.arange(len(machines), device=machines.device)[:, None, None]
        group = (shop * number + machines)[machines >= 0]
        order = group.argsort(stable=True)
        sizes = torch.bincount(group, minlength=len(machines) * number)
        size = int(sizes.max())
        within = torch.arange(len(group), device=group.device)
        within -= (sizes.cumsum(0) - sizes)[group[order]]
        place = torch.empty_like(order)
        place[order] = group[order] * size + within
        return cls._make(place, len(sizes), size)

    @classmethod
    def _make(cls, place: Tensor, groups: int, size: int) -> Groups:
        rows = place.new_full((groups * size,), len(place))
        rows[place] = torch.arange(len(place), device=place.device)
        # A group without members attends to its padding, which nobody reads.
        mask = (rows < len(place)).view(groups, 1, 1, size)
        return cls(rows.view(groups, size), place, mask | ~mask.any(3, keepdim=True))

    def gather(self, values: Tensor) -> Tensor:
        """Return values (N, width) as (groups, size, width), 0 where there is no operation."""
        return torch.cat([values, values.new_zeros(1, values.shape[1])])[self.rows]

    def scatter(self, values: Tensor) -> Tensor:
        """Return (groups, size, width) as (N, width)."""
        return values.flatten(0, 1)[self.place]
