"""Independent tasks in plain Python: residuals that are updated at every event, no tags."""

import copy
import math

import numpy as np

INFINITE = math.inf


class Server:
    """A server and the tasks that are uploaded to it, waiting for it or computed by it."""

    def __init__(self, speed, fifo):
        self.speed, self.fifo = speed, fifo
        self.now = 0.0
        self.uploads = []  # [time, task, bits]
        self.tasks = []  # [residual, task], in the order of their coming
        self.began, self.ended = {}, {}

    def play(self, until):
        """Let time pass, events at `until` included."""
        while True:
            active = self.tasks[:1] if self.fifo else self.tasks
            share = self.speed / max(len(active), 1)
            ends = min((self.now + left / share for left, _ in active), default=INFINITE)
            comes = min((time for time, *_ in self.uploads), default=INFINITE)
            time = min(ends, comes, until)
            if time == INFINITE:
                return
            work = share * (time - self.now)
            for entry in active:
                entry[0] -= work
            self.now = time
            if ends == time and active:
                first = min(active, key=lambda entry: (entry[0], entry[1]))
                self.tasks.remove(first)
                self.ended[first[1]] = time
            elif comes == time and self.uploads:
                upload = min(self.uploads)
                self.uploads.remove(upload)
                self.tasks.append([upload[2], upload[1]])
            else:
                break
            for _, task in self.tasks[:1] if self.fifo else self.tasks:
                self.began.setdefault(task, time)

    def ends(self):
        """Return when each task ends if nothing else comes."""
        trial = copy.deepcopy(self)
        trial.ended = {}
        trial.play(INFINITE)
        return trial.ended


class Episode:
    """An episode; `sizes` are what servers really compute, `known` what a dispatcher knows."""

    def __init__(self, instance):
        self.instance = instance
        speeds = instance.frequency / instance.cycles_per_bit
        self.servers = [Server(*pair) for pair in zip(speeds, instance.fifo, strict=True)]
        self.known = instance.bits if instance.expected_bits is None else instance.expected_bits
        self.slot, self.task = -1, 0
        self.sent = []  # (server, time, upload end, transmission J, computing J)
        self.looks_uploaded = {}
        self.rewards = []
        self.advance()

    @property
    def now(self):
        return self.slot * self.instance.slot

    def advance(self):
        """Go to the next slot in which a task is sent."""
        instance = self.instance
        self.slot += 1
        while not self.over and instance.release[self.task] > self.now:
            self.slot += 1
        for server in self.servers:
            server.play(INFINITE if self.over else self.now)

    @property
    def over(self):
        return self.task >= self.instance.num_tasks or self.slot >= self.instance.horizon

    def upload_seconds(self, task, server, bits):
        instance = self.instance
        seconds = bits / instance.uplink[task, server] + instance.latency[server]
        backhaul = instance.backhaul[server]
        return seconds + (bits / backhaul if backhaul else 0.0)

    def joules(self, task, server, bits):
        instance = self.instance
        transmission = instance.power * bits / instance.uplink[task, server]
        per_bit = instance.capacitance * instance.cycles_per_bit * instance.frequency[server] ** 2
        return transmission, per_bit * bits

    def effect(self, server, known):
        """Return own delay and delay of others if the task is sent to a server, from scratch."""
        bits = (self.known if known else self.instance.bits)[self.task]
        before = copy.deepcopy(self.servers[server])
        if known:
            for upload in before.uploads:
                upload[0] = max(self.looks_uploaded[upload[1]], self.now)
                upload[2] = self.known[upload[1]]
        after = copy.deepcopy(before)
        start = self.now + self.upload_seconds(self.task, server, bits)
        after.uploads.append([start, self.task, bits])
        without, ends = before.ends(), after.ends()
        own = ends[self.task] - self.now
        return own, sum(ends.values()) - ends[self.task] - sum(without.values())

    def send(self, server):
        """Send the task and go on; return its two rewards in seconds and joules."""
        task, bits = self.task, self.instance.bits[self.task]
        own, others = self.effect(server, known=False)
        joules = self.joules(task, server, bits)
        end = self.now + self.upload_seconds(task, server, bits)
        self.servers[server].uploads.append([end, task, bits])
        looks = self.now + self.upload_seconds(task, server, self.known[task])
        self.looks_uploaded[task] = looks
        self.sent.append((server, self.now, end, *joules))
        self.rewards.append((-(own + others), -sum(joules)))
        self.task += 1
        self.advance()
        return self.rewards[-1]

    def greedy(self, weights, units):
        """Return the server of the least weighted effect (ties: less delay)."""
        costs = []
        for server in range(len(self.servers)):
            delay = sum(self.effect(server, known=True))
            joules = sum(self.joules(self.task, server, self.known[self.task]))
            cost = weights[0] * delay / units[0] + weights[1] * joules / units[1]
            costs.append((cost, delay, server))
        return min(costs)[2]

    def least_work(self):
        """Return the server that would have computed its backlog and the task first."""
        return int(np.argmin([self.work(e) + self.alone(e) for e in range(len(self.servers))]))

    def alone(self, server):
        return self.known[self.task] / self.servers[server].speed

    def work(self, server):
        """Return the seconds that a server needs for what is there and what is uploaded."""
        at = self.servers[server]
        bits = sum(left for left, _ in at.tasks) + sum(self.known[u[1]] for u in at.uploads)
        return bits / at.speed

    def schedule(self):
        """Return the schedule, as the environment gives it."""
        began = {task: time for server in self.servers for task, time in server.began.items()}
        ended = {task: time for server in self.servers for task, time in server.ended.items()}
        tasks = range(len(self.sent))
        server, sent, uploaded, transmission, computation = zip(*self.sent, strict=True)
        delay_reward, energy_reward = zip(*self.rewards, strict=True)
        return {
            "server": server,
            "sent": sent,
            "uploaded": uploaded,
            "began": [began[task] for task in tasks],
            "ended": [ended[task] for task in tasks],
            "transmission": transmission,
            "computation": computation,
            "delay_reward": delay_reward,
            "energy_reward": energy_reward,
        }

    def observation(self, max_servers, weights, show_marginals=True):
        """Return what the manual page says is shown."""
        instance, servers = self.instance, len(self.servers)
        rows = np.zeros((max_servers, 76))
        for e, server in enumerate(self.servers):
            rows[e, :3] = 1, instance.frequency[e] / 1e9, servers - 1
            rows[e, 4] = not self.over
            rows[e, 6], rows[e, 67] = len(server.tasks), len(server.uploads)
            for left, _ in server.tasks:
                rows[e, 7 + min(int(left / 1e6 + 1e-9), 59)] += 1
            rows[e, 68] = self.work(e)
            rows[e, 69] = self.until_free(e)
            if not self.over:
                rows[e, 3] = self.known[self.task] / 1e6
                rows[e, 5] = instance.uplink[self.task, e] / 1e8
                if show_marginals:
                    rows[e, 70:72] = self.effect(e, known=True)
                    rows[e, 72] = sum(self.joules(self.task, e, self.known[self.task]))
        task = np.zeros(16)
        if not self.over:
            behind = np.flatnonzero(instance.release[self.task + 1 :] <= self.now) + self.task + 1
            task[0] = task[1] = self.known[self.task] / 1e6
            task[2] = instance.kind[self.task] / 10
            task[5], task[6] = len(behind), self.known[behind].sum() / 1e6
            task[7] = self.now - instance.release[self.task]
            task[8] = 1 - self.slot / instance.horizon
            task[14], task[15] = -1, 1
        edges = instance.frequency[1:]
        context = np.array(
            [
                servers - 1,
                edges.mean() / 1e9 if len(edges) else 0.0,
                instance.frequency[0] / 1e9,
                instance.arrivals,
                instance.mean_bits / 1e6,
                instance.slot,
                0,
                ("gmorl", "gmorl_radio", "gmorl_hard").index(instance.scenario),
            ]
        )
        mask = np.arange(max_servers + 2) < (0 if self.over else servers)
        return {
            "servers": rows,
            "task": task,
            "preference": np.asarray(weights),
            "context": context,
            "action_mask": mask.astype(np.int8),
        }

    def until_free(self, server):
        """Return the seconds until a server has nothing left."""
        trial = copy.deepcopy(self.servers[server])
        for upload in trial.uploads:
            upload[0] = max(self.looks_uploaded[upload[1]], self.now)
            upload[2] = self.known[upload[1]]
        return max(trial.ends().values(), default=self.now) - self.now if not self.over else 0.0


def play(instance, servers):
    """Return the episode in which tasks are sent to these servers."""
    episode = Episode(instance)
    for server in servers:
        episode.send(server)
    return episode
