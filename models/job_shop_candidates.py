"""A light job-shop network that looks at jobs and machines, not at every operation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dispatchgym.models.blocks import Perceptron, ValueHead
from dispatchgym.models.registry import PolicyNetwork, register_network

OPERATION_FEATURES = 14
JOB_FEATURES = 5
MACHINE_FEATURES = 8


def pick(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (batch, sources, width) of `rows` (batch, targets, width), zero where index is -1."""
    present = (index >= 0).unsqueeze(2)
    chosen = index.clamp(min=0).long().unsqueeze(2).expand(-1, -1, rows.shape[2])
    return rows.gather(1, chosen) * present


def gather_in(values: Tensor, index: Tensor, targets: int) -> Tensor:
    """Sum of the values (batch, sources, width) that point at each target, -1 at none."""
    places = torch.where(index >= 0, index, targets).long().unsqueeze(2).expand_as(values)
    total = values.new_zeros(values.shape[0], targets + 1, values.shape[2])
    return total.scatter_add(1, places, values)[:, :targets]


class _Layer(nn.Module):
    """One round of messages between jobs: over machines they want, and over waiting."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.own = nn.Linear(hidden, hidden)
        self.spread = nn.Linear(hidden, 4 * hidden, bias=False)
        self.shop = nn.Linear(2 * hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden)

    def forward(
        self, job: Tensor, wanted: Tensor, after: Tensor, wait_for: Tensor, context: Tensor
    ) -> Tensor:
        """New job states (batch, jobs, hidden).

        Args:
            job: old ones, zero for jobs that are done.
            wanted: (batch, jobs, machines) one-hot, the machine a job is on or waits for.
            after: (batch, jobs, machines) one-hot, the machine it needs next.
            wait_for: (batch, jobs) job that holds the machine a blocked job needs, or -1.
            context: (batch, 2 * hidden) what the shop looks like.
        """
        normed = self.norm(job)
        here, there, ahead, behind = self.spread(normed).chunk(4, dim=2)
        mixed = (
            self.own(normed)
            + wanted @ (wanted.transpose(1, 2) @ here)
            + after @ (wanted.transpose(1, 2) @ there)
            + pick(ahead, wait_for)
            + gather_in(behind, wait_for, job.shape[1])
            + self.shop(context).unsqueeze(1)
        )
        return job + self.out(torch.relu(mixed))


@register_network("job_shop_candidates")
class JobShopCandidateNetwork(PolicyNetwork):
    """Logits over jobs and waiting, and a value, for instances of any size.

    Reads the `graph` observation, but of each job only the operation it is at and the one after,
    with their machines: a small fraction of the cost of `JobShopNetwork`. Jobs exchange messages
    over the job-machine star and the wait-for edges. All features are ratios, and nothing in
    the weights depends on the size of the shop or the order of the jobs.
    """

    keys = (
        "operations",
        "operation_machine",
        "operation_next",
        "jobs",
        "job_mask",
        "job_operation",
        "wait_for",
        "machines",
        "machine_mask",
        "action_mask",
    )

    def __init__(self, *, hidden: int = 64, layers: int = 2) -> None:
        """Build the network.

        Args:
            hidden: width of all embeddings, 8 to 1024.
            layers: rounds of messages, 1 to 16.

        Raises:
            ValueError: a number is out of range.
        """
        if not 8 <= hidden <= 1024:
            raise ValueError(f"hidden is {hidden}, expected 8 to 1024")
        if not 1 <= layers <= 16:
            raise ValueError(f"layers is {layers}, expected 1 to 16")
        super().__init__()
        features = JOB_FEATURES + 2 * OPERATION_FEATURES + 2 * MACHINE_FEATURES
        self.job_in = Perceptron(features, hidden, hidden)
        self.layers = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        context = 3 * hidden + MACHINE_FEATURES + JOB_FEATURES
        self.context = Perceptron(context, hidden, hidden)
        self.pointer = Perceptron(2 * hidden, hidden, 1)
        self.wait = Perceptron(hidden, hidden, 1)
        self.value = ValueHead(hidden, hidden)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of `graph` observations.

        Args:
            observation: the arrays of the `graph` observation as tensors with a leading batch
                dimension.

        Returns:
            logits (batch, n_max + 1), not masked, the last for waiting; value (batch,), the
            expected return in units of the instance's lower bound.
        """
        with torch.autocast(
            observation["jobs"].device.type, torch.bfloat16, enabled=self.reduced_precision
        ):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        present = (observation["job_mask"] > 0).unsqueeze(2)
        legal = (observation["action_mask"][:, :-1] > 0).unsqueeze(2)
        machines = observation["machines"]
        machine_of = observation["operation_machine"].unsqueeze(2) + 1  # 0 stands for none
        next_of = observation["operation_next"].unsqueeze(2) + 1
        operations = observation["operations"]
        current = observation["job_operation"]
        following = pick(next_of, current).squeeze(2) - 1
        first, second = pick(operations, current), pick(operations, following)
        wanted = pick(machine_of, current).squeeze(2) - 1
        after = pick(machine_of, following).squeeze(2) - 1
        features = torch.cat(
            [observation["jobs"], first, second, pick(machines, wanted), pick(machines, after)],
            dim=2,
        )
        job = self.job_in(features) * present
        count = machines.shape[1]
        star, star_after = _one_hot(wanted, count, job.dtype), _one_hot(after, count, job.dtype)
        for layer in self.layers:
            shop = torch.cat([_mean(job, present), _largest(job, present)], dim=1)
            job = layer(job, star, star_after, observation["wait_for"], shop) * present
        seen = [
            _mean(job, present),
            _largest(job, present),
            _mean(job, legal),
            _mean(machines, (observation["machine_mask"] > 0).unsqueeze(2)),
            _mean(observation["jobs"], present),
        ]
        context = torch.relu(self.context(torch.cat(seen, dim=1)))
        spread = context.unsqueeze(1).expand(-1, job.shape[1], -1)
        logits = self.pointer(torch.cat([job, spread], dim=2)).squeeze(2)
        return torch.cat([logits, self.wait(context)], dim=1).float(), self.value(context)


def _one_hot(index: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """(batch, sources, size) with a one at each index and none where it is -1."""
    return (index.unsqueeze(2) == torch.arange(size, device=index.device)).to(dtype)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the second axis of the entries whose mask (batch, count, 1) is true."""
    return (values * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _largest(values: Tensor, mask: Tensor) -> Tensor:
    """Elementwise maximum over the second axis of the masked entries, zero where there is none."""
    return values.masked_fill(~mask, -1e4).amax(dim=1) * mask.any(dim=1)
