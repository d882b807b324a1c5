"""What the observation foresees of placements, against the same worked out anew in plain Python."""

import numpy as np
import pytest

from dispatchgym.envs.soc import kernel, outlook
from dispatchgym.envs.soc.env import SoCSimulation

SCENARIOS = ["top3-p5-q5-noise30", "bal16-mix6-s50", "top3-gen-q6"]


class Foresight:
    """The decision of a lane as lists and dictionaries."""

    def __init__(self, simulation):
        state, tables = simulation.state, simulation.tables
        scalar, self.pe, self.task = state.scalar[0], state.pe[0], state.task[0]
        self.row, self.now, self.job = scalar[kernel.ROW], scalar[kernel.NOW], state.job[0]
        self.tables, self.tasks = tables, tables.duration.shape[2]
        self.pes = range(tables.number[self.row, kernel.PES])
        self.ready = list(state.ready[0, : scalar[kernel.READY]])
        self.queue = list(state.executable[0, : scalar[kernel.EXECUTABLE]])
        self.by_job = tables.number[self.row, kernel.BY_JOB] == 1
        self.reach = state.reach[0]

    def place(self, slot):
        j = slot // self.tasks
        return self.job[j, kernel.PROFILE], slot - j * self.tasks

    def duration(self, slot, p):
        return self.tables.duration[(self.row, *self.place(slot))][p]

    def cost(self, slot, p):
        return self.tables.optimistic[(self.row, *self.place(slot))][p]

    def supported(self, slot):
        return [p for p in self.pes if self.duration(slot, p) >= 0]

    def finish(self, slot, p):
        idle = self.pe[kernel.AVAILABLE, p] - self.now
        return self.duration(slot, p) + max(self.reach[slot, p] - self.now, idle, 0)

    def promise(self, slot, p):
        return self.finish(slot, p) + self.cost(slot, p)

    def ends(self, p, added=None):
        """Ends of the tasks in the queue of a PE, one more among them."""
        queue = [s for s in self.queue if self.task[s, kernel.PE] == p]
        if added is not None:
            queue.append(added)
            if self.by_job:
                queue.sort(key=lambda s: self.job[s // self.tasks, kernel.NUMBER])
        data = {s: self.task[s, kernel.DATA_AT] for s in queue}
        if added is not None:
            data[added] = max(self.reach[added, p], self.now)
        time = self.now
        if self.pe[kernel.TASK, p] >= 0:
            time = max(time, self.pe[kernel.EXPECTED, p])
        ends = {}
        while queue:
            first = min(queue, key=lambda s: max(time, data[s]))
            queue.remove(first)
            time = max(time, data[first]) + self.duration(first, p)
            ends[first] = time
        return ends

    def estimates(self):
        """When each job in the system may be done, from now."""
        found = dict.fromkeys(np.flatnonzero(self.job[:, kernel.PROFILE] >= 0), 0.0)
        for p in self.pes:
            ends = self.ends(p)
            if self.pe[kernel.TASK, p] >= 0:
                ends[self.pe[kernel.TASK, p]] = max(self.pe[kernel.EXPECTED, p], self.now)
            for slot, end in ends.items():
                j = slot // self.tasks
                found[j] = max(found[j], end - self.now + self.cost(slot, p))
        for slot in self.ready:
            best = min(self.promise(slot, p) for p in self.supported(slot))
            found[slot // self.tasks] = max(found[slot // self.tasks], best)
        return found

    def rows(self, slot, p):
        """Columns of the outlook that are worked out here, by number, in microseconds."""
        finish, promise, estimates = self.finish(slot, p), self.promise(slot, p), self.estimates()
        finishes = {(s, q): self.finish(s, q) for s in self.ready for q in self.supported(s)}
        before, behind = self.ends(p), self.ends(p, slot)
        start = finish - self.duration(slot, p)
        estimate = estimates[slot // self.tasks]
        losses = [self.loss(s, p, finish, estimates) for s in self.ready if s != slot]
        return {
            outlook.REGRET: finish - min(finishes[slot, q] for q in self.supported(slot)),
            outlook.LAG: finish - min(finishes.values()),
            outlook.GAP: start - max(self.pe[kernel.AVAILABLE, p] - self.now, 0),
            outlook.OVERTAKING: behind[slot] - self.now - finish,
            outlook.HARM: sum(behind[s] - before[s] for s in before),
            outlook.PROMISE: promise - estimate,
            outlook.PROMISE_REGRET: promise
            - min(self.promise(slot, q) for q in self.supported(slot)),
            outlook.LOSS: sum(loss for loss, _ in losses),
            outlook.JOB_LOSS: sum(loss for _, loss in losses),
            outlook.JOB_ESTIMATE: estimate,
            outlook.JOB_LAG: estimate - min(estimates.values()),
        }

    def loss(self, other, p, until, estimates):
        """What another task loses if a PE is taken until a time from now; of that, what its job."""
        promises = {q: self.promise(other, q) for q in self.supported(other)}
        best = min(promises, key=promises.get)
        if best != p:
            return 0.0, 0.0
        start = max(self.reach[other, p] - self.now, until)
        later = [start + self.duration(other, p) + self.cost(other, p)]
        later += [promise for q, promise in promises.items() if q != p]
        return min(later) - promises[p], max(min(later) - estimates[other // self.tasks], 0.0)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_columns_are_what_they_are_said_to_be(scenario):
    simulation, everyone = SoCSimulation(num_lanes=1, scenario=scenario), np.ones(1, bool)
    simulation.restart(everyone, np.array([5]))
    rng, nonzero = np.random.default_rng(1), np.zeros(outlook.NUM_OUTLOOK_COLUMNS, int)
    for decision in range(250):
        mask = simulation.observations["action_mask"][0] == 1
        if decision % 5 == 0:
            seen = Foresight(simulation)
            unit = simulation.tables.real[seen.row, kernel.TIME_SCALE]
            found = simulation.observations["outlook"][0] * unit
            for slot in seen.ready:
                for p in seen.supported(slot):
                    for column, expected in seen.rows(slot, p).items():
                        assert found[slot, p, column] == pytest.approx(expected, abs=1e-2, rel=1e-4)
                        nonzero[column] += expected != 0
            assert not found.reshape(len(mask), -1)[~mask].any()
        best = (
            simulation.rule_actions("etf")
            if rng.random() < 0.7
            else [rng.choice(mask.nonzero()[0])]
        )
        simulation.step(np.asarray(best, np.int64), everyone, False)
    worked_out = list(seen.rows(seen.ready[0], seen.supported(seen.ready[0])[0]))
    assert (nonzero[worked_out] > 0).all()


def first_decisions(scenario, decisions):
    simulation, everyone = SoCSimulation(num_lanes=1, scenario=scenario), np.ones(1, bool)
    simulation.restart(everyone, np.array([0]))
    for _ in range(decisions):
        simulation.step(simulation.rule_actions("etf"), everyone, False)
    return simulation


def test_successors_of_the_first_task_of_top1():
    """Worked out by hand: the task runs 9 on PE 2, and all five successors wait for it alone."""
    simulation = first_decisions("single-top1-top3", 0)
    unit = simulation.tables.real[0, kernel.TIME_SCALE]
    row = simulation.observations["outlook"][0, 0, 2]
    assert row[outlook.RELEASES] == 5
    assert row[outlook.NEAR] == row[outlook.DEMAND_HERE] == 0
    # 64 units of volume over the mean of the six pairs of PEs, bandwidth 1.
    assert row[outlook.OUTPUT_DELAY] * unit == pytest.approx(18 + 12 + 9 + 11 + 14)
    promises = [
        min(child_promise(task, volume, p) for p in range(3))
        for task, volume in ((1, 18), (2, 12), (3, 9), (4, 11), (5, 14))
    ]
    assert row[outlook.CHILDREN] * unit == pytest.approx(np.mean(promises), rel=1e-5)


# Durations and PEFT's optimistic costs of tasks 1 to 5 of top1, as published.
DURATION = {1: (13, 19, 18), 2: (11, 13, 19), 3: (13, 8, 17), 4: (12, 13, 10), 5: (13, 16, 9)}
COST = {1: (35, 19, 35), 2: (28, 22, 27), 3: (38, 19, 36), 4: (32, 19, 32), 5: (23, 18, 30)}


def child_promise(task, volume, p):
    """When the job may be done if a successor of task 0, which ends on PE 2 at 9, runs on p."""
    return 9 + (0 if p == 2 else volume) + DURATION[task][p] + COST[task][p]
