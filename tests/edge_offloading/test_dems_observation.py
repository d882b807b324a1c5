"""What the deadline family shows, worked out again from the schedule so far."""

import gymnasium as gym
import numpy as np
import pytest

ENV = "dispatchgym:dispatchgym/EdgeOffloading-v0"
CLOUD, EDGE = 0, 1
(DECIDED, ACTION, MOVED, HELD_FROM, HELD_UNTIL, SENT, PLACE, START, END, OUTCOME,
 FORESEEN) = range(11)  # fmt: skip
DEMS = 3


class Shown:
    """The observation as it must be, from the instance and the rows of the schedule."""

    def __init__(self, instance, rows):
        self.instance, self.rows, self.task = instance, rows, len(rows)
        self.now = int(instance.release[self.task])
        self.model = int(instance.model[self.task])
        self.unit = instance.benefit[instance.model].mean()
        queued = (rows[:, ACTION] == EDGE) & (rows[:, [MOVED, START, END]] < 0).all(axis=1)
        deadline = instance.deadline[instance.model]
        self.late = instance.release + deadline
        order = np.lexsort((rows[:, DECIDED], deadline[: self.task]))
        self.queue = [number for number in order if queued[number]]
        self.held = np.flatnonzero((rows[:, HELD_FROM] >= 0) & (rows[:, HELD_UNTIL] < 0))
        running = (rows[:, START] >= 0) & (rows[:, END] < 0)
        self.running = [np.flatnonzero(running & (rows[:, PLACE] == place)) for place in (0, 1)]

    def needs(self, numbers):
        return self.instance.edge_time[self.instance.model[numbers]]

    def histogram(self, numbers):
        counts = np.zeros((6, 10))
        for number in numbers:
            left = max(int(self.late[number]) - self.now, 0)
            counts[self.instance.kind[self.instance.model[number]], min(left // 100, 9)] += 1
        return counts.ravel()

    def rest(self):
        """Milliseconds that the edge is still busy."""
        if not len(self.running[EDGE]):
            return 0
        number = self.running[EDGE][0]
        return int(self.rows[number, START] + self.needs(number) - self.now)

    def edge(self):
        """Delay of the task at the edge, and what others lose by it."""
        deadline = self.instance.deadline
        own, models = deadline[self.model], self.instance.model
        place = sum(deadline[models[number]] <= own for number in self.queue)
        busy = self.rest() + sum(self.needs(self.queue[:place])) + self.needs(self.task)
        delay, lost, freed = busy, 0.0, 0
        for number in self.queue[place:]:
            if busy + self.needs(number) > self.late[number] - self.now:
                lost += self.score(number)
                freed += self.needs(number)
            else:
                busy += self.needs(number)
        return delay, lost, freed

    def score(self, number):
        inst, m = self.instance, self.instance.model[number]
        in_time = inst.usual_cloud_time[m] < self.late[number] - self.now
        if in_time and inst.benefit[m] >= inst.cloud_cost[m]:
            return inst.cloud_cost[m] - inst.edge_cost[m]
        return inst.benefit[m] - inst.edge_cost[m]


def price(instance):
    """Nine tenths of the price of the edge's time: the models that win most in it come first."""
    elsewhere = np.maximum(0, instance.benefit - instance.cloud_cost)
    won = (instance.benefit - instance.edge_cost - elsewhere) / instance.edge_time
    left = instance.horizon
    for m in np.argsort(-won):
        left -= np.sum(instance.model == m) * instance.edge_time[m]
        if left < 0:
            return 0.9 * won[m]
    return 0.0


def play(scenario, seed):
    """Steps of a run: environment, observation, rows so far."""
    env = gym.make(ENV, scenario=scenario, max_servers=4).unwrapped
    observation, _ = env.reset(seed=seed)
    source, ended = np.random.default_rng(seed), False
    while not ended:
        yield env, observation, env.simulation.schedule(0)["tasks"]
        action = env.rule_action("dems")
        if source.random() < 0.3:
            action = source.choice(np.flatnonzero(observation["action_mask"]))
        observation, _, ended, _, _ = env.step(int(action))


@pytest.mark.parametrize(("scenario", "seed"), [("dems-heavy-3-6s", 0), ("dems-medium-4-6s", 1)])
def test_servers(scenario, seed):
    for env, observation, rows in play(scenario, seed):
        shown, servers = Shown(env.instance, rows), observation["servers"]
        cloud, edge, inst = servers[CLOUD], servers[EDGE], env.instance
        assert (servers[2:] == 0).all()
        assert servers[:2, :3].tolist() == [[1, 1, 1], [1, 1, 1]]
        assert [cloud[6], edge[6]] == [len(numbers) for numbers in shown.running]
        assert cloud[7:67].tolist() == shown.histogram(shown.held).tolist()
        assert edge[7:67].tolist() == shown.histogram(shown.queue).tolist()
        delay, lost, freed = shown.edge()
        left = shown.late[shown.task] - shown.now
        cost = inst.edge_cost[shown.model] + lost
        gain = shown.score(shown.task) - lost
        gain -= price(inst) * (shown.needs(shown.task) - freed)
        backlog = shown.rest() + sum(shown.needs(shown.queue))
        expected = [backlog, shown.rest(), delay, left - delay]
        np.testing.assert_allclose(edge[[68, 69, 70, 74]], np.array(expected) / 1000, rtol=1e-5)
        np.testing.assert_allclose(edge[[73, 75]], [cost / shown.unit, gain / shown.unit], 1e-4)
        usual = inst.usual_cloud_time[shown.model]
        np.testing.assert_allclose(cloud[[70, 74]], [usual / 1000, (left - usual) / 1000], 1e-5)
        mask = observation["action_mask"]
        assert mask.tolist() == [usual < left, delay < left, 0, 0, 1, mask[5]]
        assert (env.rule_action("shadow_price") == EDGE) == (mask[EDGE] == 1 and edge[75] > 0)


def test_task_and_context():
    for env, observation, rows in play("dems-heavy-2-45s", 4):
        inst, number = env.instance, len(rows)
        task, m, now = observation["task"], int(inst.model[number]), int(inst.release[number])
        same = inst.release[number:] == now
        coming = np.unique(inst.release[number:][~same])[:3] - now
        chosen = env.rule_action("dems")
        window = now // inst.window
        ended = (inst.model[:number] == m) & (rows[:, END] >= window * inst.window)
        in_time = (ended & (rows[:, OUTCOME] == 0)).sum()
        per_window = inst.num_tasks / 6 * inst.window / inst.horizon
        expected = [
            (in_time - 0.9 * ended.sum()) / per_window,
            inst.edge_time[m] / 1000,
            inst.kind[m] / 10,
            inst.benefit[m] / inst.benefit[inst.model].mean(),
            inst.deadline[m] / 1000,
            same.sum() - 1,
            inst.edge_time[inst.model[number:][same]][1:].sum() / 1000,
            chosen == 5,
            1 - number / inst.num_tasks,
            *(coming / 1000),
            *(0 for _ in range(3 - len(coming))),
            same.sum(),
            1 - (now - window * inst.window) / inst.window,
            chosen if chosen < 2 else -1,
            1,
        ]
        np.testing.assert_allclose(task, expected, rtol=1e-5, atol=1e-6)
        work = inst.edge_time[inst.model].mean() / 1000
        np.testing.assert_allclose(observation["context"], [1, 1, 1, 12, work, 0, 1, DEMS], 1e-5)


def test_ended_runs_show_no_task_and_ablation_shows_no_marginals():
    env = gym.make(ENV, scenario="dems-heavy-2-2s", marginals=False).unwrapped
    observation, _ = env.reset(seed=0)
    ended = False
    while not ended:
        assert (observation["servers"][:, 70:] == 0).all()
        observation, _, ended, _, _ = env.step(env.rule_action("dems"))
    assert (observation["task"] == 0).all()
    assert (observation["action_mask"] == 0).all()
    assert (observation["servers"][:, 4] == 0).all()
