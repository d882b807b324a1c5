"""The network of the system on chip: messages along the DAGs, then every ready task meets every PE.

The hierarchy of tasks, jobs and system is that of Decima (arXiv 1810.01963) and DeepSoCS (arXiv
2005.07666); messages run along each DAG from its end to its beginning, as deep as it is. Tasks
attend to the PEs with what a placement would mean, the estimated finish above all, as a bias; it
also goes straight into the score, so that the rule ETF is among the policies that can be learned.
Nothing in the weights depends on the number of tasks, jobs or PEs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dispatchgym.envs.soc.observation import (
    NUM_GLOBAL_FEATURES,
    NUM_JOB_FEATURES,
    NUM_PAIR_FEATURES,
    NUM_PE_FEATURES,
    NUM_TASK_FEATURES,
    STAGE_COLUMN,
)
from dispatchgym.envs.soc.outlook import NUM_OUTLOOK_COLUMNS
from dispatchgym.models.blocks import NodeSet, Perceptron, ValueHead, mean_by, sum_by
from dispatchgym.models.registry import PolicyNetwork, register_network

READY_COLUMN, DONE_COLUMN = STAGE_COLUMN + 1, STAGE_COLUMN + 4
DURATION, FINISH, SUPPORTED = 0, 2, 3
"""Columns of `task_pe`."""
NUM_COMPARISONS = 3
VALUE_SCALE = 100.0
"""About what a job costs on its way, in units of the reward."""
FAR = 1e9


@dataclass(frozen=True)
class Jobs:
    """The ragged DAGs behind a batch of padded observations; tasks that are done are left out.

    Attributes:
        tasks, jobs, pes: what remains without padding.
        job: (tasks,) job of each task.
        source, target: (edges,) tasks.
        delay: (edges, 1) mean time of the transfer.
        depth: (tasks,) longest way from the beginning of the job.
        on: (tasks,) PE that a task is assigned to, `pes.count` while there is none.
    """

    tasks: NodeSet
    jobs: NodeSet
    pes: NodeSet
    job: Tensor
    source: Tensor
    target: Tensor
    delay: Tensor
    depth: Tensor
    on: Tensor

    @classmethod
    def from_observation(cls, observation: Mapping[str, Tensor]) -> Jobs:
        """Build the graphs from an observation with a leading batch dimension."""
        done = observation["task_x"][:, :, DONE_COLUMN] > 0
        tasks = NodeSet.from_mask((observation["task_mask"] > 0) & ~done)
        jobs = NodeSet.from_mask(observation["job_mask"])
        pes = NodeSet.from_mask(observation["pe_mask"])
        per_job = tasks.size // jobs.size
        graph, edge = (observation["edge_mask"] > 0).nonzero(as_tuple=True)
        ends = observation["edges"][graph, edge].long() + (graph * tasks.size).unsqueeze(1)
        source, target = tasks.number[ends].unbind(1)
        # A task that is done has no message to give, and its successors' went before.
        kept = source < tasks.count
        return cls(
            tasks=tasks,
            jobs=jobs,
            pes=pes,
            job=jobs.number[tasks.graph * jobs.size + tasks.rows % tasks.size // per_job],
            source=source[kept],
            target=target[kept],
            delay=observation["edge_x"][graph, edge][kept],
            depth=tasks.take(observation["task_depth"]).long(),
            on=pes.refer(observation["task_on"], tasks),
        )


class BottomUp(nn.Module):
    """Messages from each task to its predecessors, level by level from the end of the DAGs."""

    def __init__(self, hidden: int) -> None:
        """Width of the states."""
        super().__init__()
        self.message = nn.Linear(hidden + 1, hidden)
        self.mix = Perceptron(hidden, hidden, hidden)

    def forward(self, state: Tensor, graph: Jobs) -> Tensor:
        """States (tasks, hidden) that know of all tasks that come after."""
        levels = int(graph.depth.max()) + 1 if len(graph.depth) else 0
        by_depth = graph.depth.argsort()
        places = torch.empty_like(by_depth)
        nodes = by_depth.split(torch.bincount(graph.depth, minlength=levels).tolist())
        depth = graph.depth[graph.source]
        edges = depth.argsort().split(torch.bincount(depth, minlength=levels).tolist())
        state = state.clone()
        for level in range(levels - 2, -1, -1):
            node, edge = nodes[level], edges[level]
            places[node] = torch.arange(len(node), device=node.device)
            sent = torch.cat([state[graph.target[edge]], graph.delay[edge].to(state.dtype)], dim=1)
            received = sum_by(torch.relu(self.message(sent)), places[graph.source[edge]], len(node))
            # In place: what was read before is not needed for the gradient.
            state.index_copy_(0, node, state[node] + self.mix(received).to(state.dtype))
        return state


class PairAttention(nn.Module):
    """Each ready task attends to the PEs, biased by what is known of the pairs."""

    def __init__(self, hidden: int, heads: int, pair: int) -> None:
        """`hidden` is divided among the heads; `pair` numbers are known of each pair."""
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.bias = nn.Linear(pair, heads)
        self.out = nn.Linear(hidden, hidden)

    def forward(self, task: Tensor, pe: Tensor, pair: Tensor, possible: Tensor) -> Tensor:
        """What each task reads, (ready, hidden).

        Args:
            task: (ready, hidden).
            pe: (ready, P, hidden), the PEs of its platform.
            pair: (ready, P, pair).
            possible: (ready, P) bool.
        """
        key, value = self.key_value(pe).float().unflatten(2, (self.heads, -1)).chunk(2, dim=3)
        query = self.query(task).float().unflatten(1, (self.heads, -1))
        score = torch.einsum("rhd,rphd->rph", query, key) / key.shape[3] ** 0.5
        score = (score + self.bias(pair).float()).masked_fill(~possible.unsqueeze(2), -torch.inf)
        read = torch.einsum("rph,rphd->rhd", torch.softmax(score, dim=1), value)
        return self.out(read.flatten(1))


@register_network("soc")
class SoCNetwork(PolicyNetwork):
    """Logits over pairs of task and PE and a value, for mode `commit_ready`."""

    keys = (
        "task_x",
        "task_mask",
        "task_pe",
        "outlook",
        "task_on",
        "task_depth",
        "job_x",
        "job_mask",
        "pe_x",
        "pe_mask",
        "edges",
        "edge_x",
        "edge_mask",
        "global_x",
        "action_mask",
    )

    def __init__(self, *, hidden: int = 64, heads: int = 4) -> None:
        """Build the network.

        Args:
            hidden: width, a multiple of `heads`, 8 to 1024.
            heads: of the attention of tasks to PEs, 1 to 64.

        Raises:
            ValueError: a number is out of range.
        """
        if not 1 <= heads <= 64:
            raise ValueError(f"heads is {heads}, expected 1 to 64")
        if not 8 <= hidden <= 1024 or hidden % heads:
            raise ValueError(f"hidden is {hidden}, expected a multiple of {heads}, 8 to 1024")
        super().__init__()
        pair = NUM_PAIR_FEATURES + NUM_OUTLOOK_COLUMNS + NUM_COMPARISONS
        self.task_in = Perceptron(NUM_TASK_FEATURES, hidden, hidden)
        self.upward = BottomUp(hidden)
        self.job = Perceptron(NUM_JOB_FEATURES + hidden, hidden, hidden)
        self.pe_in = nn.Linear(NUM_PE_FEATURES, hidden)
        self.pe_load = nn.Linear(hidden, hidden, bias=False)
        self.context = Perceptron(NUM_GLOBAL_FEATURES + 2 * hidden, hidden, hidden)
        self.ready = Perceptron(3 * hidden, hidden, hidden)
        self.attention = PairAttention(hidden, heads, pair)
        self.rival = nn.Linear(pair + hidden, hidden)
        self.pair_known = nn.Linear(pair, hidden)
        self.pair_task = nn.Linear(hidden, hidden, bias=False)
        self.pair_pe = nn.Linear(2 * hidden, hidden, bias=False)
        self.score = nn.Sequential(
            nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        self.direct = nn.Linear(pair, 1, bias=False)
        self.value = ValueHead(hidden, hidden)

    def forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Score the actions of a batch of observations.

        Args:
            observation: the arrays of the observation as tensors with a leading batch dimension.

        Returns:
            logits (batch, tasks * PEs), float32 and not masked; value (batch,), the expected sum
            of rewards to come.
        """
        enabled = self.reduced_precision
        with torch.autocast(observation["task_x"].device.type, torch.bfloat16, enabled=enabled):
            return self._forward(observation)

    def _forward(self, observation: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        graph = Jobs.from_observation(observation)
        task = self.upward(self.task_in(graph.tasks.take(observation["task_x"])), graph)
        pe = self._pes(observation, graph, task)
        job, context = self._summaries(observation, graph, task, pe)
        logits = self._pairs(observation, graph, task, pe, job, context)
        return logits, VALUE_SCALE * self.value(context)

    def _pes(self, observation: Mapping[str, Tensor], graph: Jobs, task: Tensor) -> Tensor:
        """States of the PEs, (pes, hidden): what they are and what they have to do."""
        load = sum_by(torch.relu(task), graph.on, graph.pes.count + 1)[:-1]
        return self.pe_in(graph.pes.take(observation["pe_x"])) + self.pe_load(load)

    def _summaries(
        self, observation: Mapping[str, Tensor], graph: Jobs, task: Tensor, pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States of the jobs (jobs, hidden) and of the whole system (batch, hidden)."""
        batch = len(observation["global_x"])
        open_tasks = mean_by(torch.relu(task), graph.job, graph.jobs.count)
        job = self.job(torch.cat([graph.jobs.take(observation["job_x"]), open_tasks], dim=1))
        parts = [
            observation["global_x"],
            mean_by(torch.relu(job), graph.jobs.graph, batch),
            mean_by(torch.relu(pe), graph.pes.graph, batch),
        ]
        return job, self.context(torch.cat(parts, dim=1))

    def _pairs(
        self,
        observation: Mapping[str, Tensor],
        graph: Jobs,
        task: Tensor,
        pe: Tensor,
        job: Tensor,
        context: Tensor,
    ) -> Tensor:
        """Logits of all pairs, (batch, tasks * PEs), zero where there is nothing to choose."""
        tasks, pes = graph.tasks, graph.pes
        node = (tasks.take(observation["task_x"])[:, READY_COLUMN] > 0).nonzero().squeeze(1)
        home = tasks.graph[node]
        known = tasks.take(observation["task_pe"])[node]
        possible = known[:, :, SUPPORTED] > 0
        outlook = tasks.take(observation["outlook"])[node]
        compared = compare(known, possible, home, len(context))
        known = torch.cat([known, outlook, compared], dim=2)
        state = torch.cat([task[node], job[graph.job[node]], context[home]], dim=1)
        ready = task[node] + self.ready(state)
        padded = pe.new_zeros(len(context) * pes.size, pe.shape[1])
        padded = padded.index_copy(0, pes.rows, pe).unflatten(0, (len(context), pes.size))
        ready = ready + self.attention(ready, padded[home], known, possible)
        wanted = self._wanted(known, ready, possible, home, len(context))
        place = self.pair_pe(torch.cat([padded, wanted], dim=2))[home]
        state = self.pair_known(known) + self.pair_task(ready).unsqueeze(1) + place
        score = self.score(state).squeeze(2).float()
        # Estimates of finishes are compared with each other: no reduced precision here.
        with torch.autocast(known.device.type, enabled=False):
            score = score + self.direct(known).squeeze(2)
        logits = score.new_zeros(len(context) * tasks.size, pes.size)
        logits = logits.index_copy(0, tasks.rows[node], score)
        return logits.reshape(len(context), -1)

    def _wanted(
        self, known: Tensor, ready: Tensor, possible: Tensor, home: Tensor, batch: int
    ) -> Tensor:
        """What all ready tasks have to do with each PE, (batch, P, hidden)."""
        spread = ready.unsqueeze(1).expand(-1, known.shape[1], -1)
        claim = torch.relu(self.rival(torch.cat([known.to(ready.dtype), spread], dim=2)))
        claim = claim * possible.unsqueeze(2)
        return mean_by(claim.flatten(1), home, batch).unflatten(1, (known.shape[1], -1))


def compare(known: Tensor, possible: Tensor, home: Tensor, batch: int) -> Tensor:
    """Compare pairs with the other pairs of their task, and of their PE.

    Args:
        known: (ready, P, columns) rows of `task_pe`.
        possible: (ready, P) bool.
        home: (ready,) graph of each ready task.
        batch: number of graphs.

    Returns:
        (ready, P, 3): duration beyond the shortest of the task; estimated finish beyond the
        earliest of the task; and beyond the earliest of all ready tasks on this PE.
    """
    duration, finish = (
        known[:, :, column].masked_fill(~possible, FAR) for column in (DURATION, FINISH)
    )
    earliest = finish.new_full((batch, known.shape[1]), FAR)
    earliest = earliest.scatter_reduce(0, home.unsqueeze(1).expand_as(finish), finish, "amin")
    beyond = torch.stack(
        [
            duration - duration.min(dim=1, keepdim=True).values,
            finish - finish.min(dim=1, keepdim=True).values,
            finish - earliest[home],
        ],
        dim=2,
    )
    return beyond.masked_fill(~possible.unsqueeze(2), 0.0)
