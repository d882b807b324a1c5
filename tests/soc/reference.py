"""The system on chip in plain Python, written from the specification, not from the kernel."""

import math
from dataclasses import dataclass, field
from itertools import pairwise

from dispatchgym.envs.core.rng import uniform
from dispatchgym.envs.soc.instance import Instance
from dispatchgym.envs.soc.static import optimistic_cost, upward_rank

NEVER = 10**18
ARRIVAL, JOB_TYPE, NOISE_1, NOISE_2, RANDOM = range(5)


@dataclass(eq=False)
class Job:
    number: int
    kind: int
    arrived: int
    first_id: int
    tasks: list = field(default_factory=list)
    head: int = -1
    finish: int = -1


@dataclass(eq=False)
class Task:
    job: Job
    id: int
    times: list
    before: list = field(default_factory=list)
    after: list = field(default_factory=list)
    pe: int = -1
    missing: int = 0
    ready_at: int = -1
    assigned: int = -1
    data: int = -1
    start: int = -1
    finish: int = -1
    notice: int = NEVER
    turn: int = -1
    waits_for: "Task | None" = None
    done: bool = False


class Chip:
    """One episode; `decide(chip)` yields (task, PE) pairs, or None for waiting."""

    def __init__(self, instance: Instance, seed: int, late_binding: bool = False):
        self.instance, self.load, self.seed = instance, instance.workload, seed
        self.late_binding = late_binding
        self.pes = instance.num_pes
        self.bandwidth = instance.platform.bandwidth.tolist()
        self.memory = instance.platform.memory_bandwidth.tolist()
        self.now, self.jobs, self.log, self.arrived = 0, [], [], []
        self.ready, self.executable, self.pending = [], [], []
        self.running = [None] * self.pes
        self.avail = [0] * self.pes
        self.looks = self.tasks_made = self.decisions = 0
        self.blocked = False
        self.stamp = self.seen = 0
        if self.load.arrivals is not None:
            self.stamp = self.seen = int(self.load.arrivals[0, 1])
        self.total = NEVER
        if self.load.arrivals is not None:
            self.total = len(self.load.arrivals)
        elif self.load.protocol == "steady":
            self.total = self.load.warm_up_jobs + self.load.num_jobs

    # --- what is drawn ---

    def gap(self):
        u = uniform(self.seed, ARRIVAL, self.looks, 0)
        self.looks += 1
        return int(-math.log(1.0 - u) * self.load.scale)

    def kind(self, number):
        if self.load.arrivals is not None:
            return int(self.load.arrivals[number, 0])
        u, total = uniform(self.seed, JOB_TYPE, number, 0), 0.0
        for kind, chance in enumerate(self.load.probabilities.tolist()):
            total += chance
            if u < total:
                return kind
        return self.instance.num_profiles - 1

    def duration(self, task):
        nominal, number = task.times[task.pe], task.job.number
        if self.load.durations is not None:
            given = int(self.load.durations[number, task.id])
            return nominal if given < 0 else given
        if self.load.noise == 0.0 or nominal == 0:
            return nominal
        u = uniform(self.seed, NOISE_1, number, task.id)
        v = uniform(self.seed, NOISE_2, number, task.id)
        normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
        return max(round(nominal * (1.0 + self.load.noise * normal)), 1)

    # --- jobs ---

    def plan_arrival(self):
        load, made = self.load, len(self.arrived)
        filling = load.pseudo_steady and made < load.capacity and self.stamp == 0
        before = self.stamp
        if made >= self.total:
            self.stamp = self.seen = NEVER
            return
        if load.arrivals is not None:
            self.stamp = max(before, int(load.arrivals[made, 1]))
        elif not filling:
            self.stamp = before + self.gap()
        late = load.strict_ds3 and self.stamp == before and not filling
        self.seen = self.stamp + late

    def admit(self, position):
        load = self.load
        if self.blocked and len(self.jobs) < load.capacity:
            self.blocked, self.stamp = False, self.now
        while self.seen <= self.now and not self.blocked:
            if len(self.jobs) < load.capacity:
                position = self.enter(position)
                self.plan_arrival()
            elif load.arrival_rule == "gym" and load.arrivals is None:
                self.stamp = self.seen = self.now + 1 + self.gap()
            else:
                self.blocked = True

    def enter(self, position):
        number = len(self.arrived)
        kind = self.kind(number)
        profile = self.instance.profiles[kind]
        job = Job(number, kind, self.stamp, self.tasks_made)
        job.tasks = [Task(job, i, profile.duration[i].tolist()) for i in range(profile.num_tasks)]
        for source, target, volume in profile.edges.tolist():
            job.tasks[target].before.append((job.tasks[source], volume))
            job.tasks[target].missing += 1
            job.tasks[source].after.append(job.tasks[target])
        self.tasks_made += profile.num_tasks
        self.jobs.append(job)
        self.arrived.append(job)
        for task in job.tasks:
            if task.missing == 0:
                task.ready_at = self.now
                self.ready.insert(position, task)
                position += 1
        return position

    # --- tasks ---

    def release(self, task):
        task.ready_at = self.now
        if self.load.comm_mode == "shared_memory":
            sent = [one.finish + int(volume / self.memory[one.pe]) for one, volume in task.before]
            task.ready_at = max(self.now, *sent)
        (self.ready if task.ready_at <= self.now else self.pending).append(task)

    def end(self, task):
        self.running[task.pe] = None
        task.done = True
        for other in sorted(task.after, key=lambda one: one.id):
            other.missing -= 1
            if other.missing == 0:
                self.release(other)
        if all(one.done for one in task.job.tasks):
            task.job.finish = max(one.finish for one in task.job.tasks)
            self.jobs.remove(task.job)

    def settle(self):
        """Let all happen that is due; tell whether anything did."""
        due = [task for task in self.running if task and task.notice <= self.now]
        due.sort(key=lambda task: (task.finish, task.turn))
        for task in due:
            if task.finish < self.now:
                self.end(task)
        position = len(self.ready)
        for task in due:
            if task.finish >= self.now:
                self.end(task)
        ripe = [task for task in self.pending if task.ready_at <= self.now]
        self.pending = [task for task in self.pending if task.ready_at > self.now]
        self.ready += ripe
        before = len(self.arrived)
        self.admit(position)
        return bool(due or ripe or len(self.arrived) > before)

    def wait(self, task, pe):
        """How long the data of a ready task take to come to a PE."""
        if self.load.comm_mode == "shared_memory":
            return max((int(volume / self.memory[pe]) for _, volume in task.before), default=0)
        took = [
            (one.finish, int(volume / self.bandwidth[one.pe][pe])) for one, volume in task.before
        ]
        if self.late_binding:
            return max((delay for _, delay in took), default=0)
        return max((max(finish + delay - self.now, 0) for finish, delay in took), default=0)

    def estimate(self, task, pe):
        if task.times[pe] < 0:
            return NEVER
        return task.times[pe] + max(self.wait(task, pe), self.avail[pe] - self.now)

    def assign(self, task, pe, waits_for=None):
        self.avail[pe] = self.now + self.estimate(task, pe)
        task.data = self.now + self.wait(task, pe)
        task.pe, task.assigned, task.waits_for = pe, self.now, waits_for
        self.ready.remove(task)
        self.executable.append(task)
        if self.load.executable_order == "job":
            self.executable.sort(key=lambda one: one.job.number)
        self.decisions += 1

    def start(self):
        for task in list(self.executable):
            free = task.waits_for is None or task.waits_for.done
            if task.data > self.now or self.running[task.pe] or not free:
                continue
            self.executable.remove(task)
            took = self.duration(task)
            task.start, task.finish, task.turn = self.now, self.now + took, len(self.log)
            late = self.load.strict_ds3 and (
                took <= 1 or (took == 2 and (self.now + 1) % self.load.sampling_period == 0)
            )
            task.notice = task.finish + late
            self.running[task.pe] = task
            self.log.append(task)
            if task.job.head < 0:
                task.job.head = self.now

    # --- the episode ---

    def next_time(self):
        times = [task.notice for task in self.running if task]
        times += [task.data for task in self.executable if task.data > self.now]
        times += [task.ready_at for task in self.pending]
        if not self.blocked:
            times.append(self.seen)
        return min(times, default=NEVER)

    def advance(self):
        """Let time pass to the next call of the scheduler; False at the end."""
        horizon = self.load.horizon if self.load.protocol == "legacy" else NEVER
        while True:
            self.start()
            time = self.next_time()
            if time >= horizon:
                self.now = horizon if horizon < NEVER else self.now
                return False
            self.now = time
            if self.settle() and self.ready:
                return True

    def play(self, call):
        """Play to the end; `call(chip)` assigns all ready tasks."""
        while self.advance():
            call(self)
        return self

    def counted(self):
        """The finished jobs that count."""
        end = self.now if self.load.protocol == "legacy" else NEVER
        return [
            job
            for job in self.arrived
            if job.finish >= self.load.warm_up
            and job.number >= self.load.warm_up_jobs
            and job.finish < end
        ]

    def objective(self):
        jobs = self.counted()
        return sum(job.finish - job.arrived for job in jobs) / len(jobs) if jobs else math.nan

    def rows(self):
        """The schedule as the kernel gives it."""
        return [
            [task.job.number, task.id, task.pe, task.ready_at, task.assigned, task.data, task.start,
             task.finish if task.done else -1]
            for task in self.log
        ]  # fmt: skip

    def job_rows(self):
        return [[job.number, job.kind, job.arrived, job.head, job.finish] for job in self.arrived]


# --- rules -----------------------------------------------------------------------------------


def earliest(chip, task):
    return min(range(chip.pes), key=lambda pe: chip.estimate(task, pe))


def supported(task):
    return [pe for pe, time in enumerate(task.times) if time >= 0]


def fastest(task):
    return min(supported(task), key=lambda pe: task.times[pe])


def mean(task):
    return sum(task.times[pe] for pe in supported(task)) / len(supported(task))


def call_random(chip):
    for task in list(chip.ready):
        choices = supported(task)
        u = uniform(chip.seed, RANDOM, chip.decisions, 0)
        chip.assign(task, choices[int(u * len(choices))])


def call_met(chip):
    given = [0] * chip.pes
    for task in list(chip.ready):
        least = task.times[fastest(task)]
        choices = [pe for pe in supported(task) if task.times[pe] == least]
        busy = [chip.running[pe] is not None for pe in choices]
        if any(busy) and not all(busy):
            if chip.load.strict_ds3:
                first = busy.index(True)
                for _ in range(sum(busy)):
                    del choices[first]
            else:
                choices = [pe for pe, is_busy in zip(choices, busy, strict=True) if not is_busy]
        pe = min(choices, key=lambda one: given[one])
        given[pe] += 1
        chip.assign(task, pe)


def call_eft(chip):
    for task in list(chip.ready):
        chip.assign(task, earliest(chip, task))


def call_etf(chip):
    while chip.ready:
        task = min(chip.ready, key=lambda one: chip.estimate(one, earliest(chip, one)))
        chip.assign(task, earliest(chip, task))


def call_stf(chip):
    order = list(chip.ready)
    if not chip.load.strict_ds3:
        order.sort(key=lambda task: task.times[fastest(task)])
    for task in order:
        chip.assign(task, fastest(task))


def _ranked(chip, rank):
    order = sorted(chip.ready, key=rank, reverse=True)
    assert {id(task) for task in order} == {id(task) for task in chip.ready}
    return order


def call_ranku(chip):
    ranks = [upward_rank(one, chip.instance.platform) for one in chip.instance.profiles]
    for task in _ranked(chip, lambda task: ranks[task.job.kind][task.id]):
        chip.assign(task, earliest(chip, task))


def call_peft_rt(chip):
    costs = [optimistic_cost(one, chip.instance.platform) for one in chip.instance.profiles]

    def rank(task):
        return costs[task.job.kind][task.id][supported(task)].mean()

    for task in _ranked(chip, rank):
        cost = costs[task.job.kind][task.id]
        chip.assign(task, min(supported(task), key=lambda pe: chip.estimate(task, pe) + cost[pe]))


def _way(task):
    return task.times[fastest(task)] + max((_way(one) for one in task.after), default=0)


def call_cpath(chip):
    for task in _ranked(chip, _way):
        chip.assign(task, earliest(chip, task))


def call_heft_rt(chip):
    """Insertion into the plans of the PEs, with the published defects in strict mode."""
    plans = [[] for _ in range(chip.pes)]
    for pe, task in enumerate(chip.running):
        if task:
            plans[pe].append((task, task.start, task.start + task.times[pe]))
    for task in chip.executable:
        begin = plans[task.pe][-1][2] if plans[task.pe] else chip.now
        plans[task.pe].append((task, begin, begin + task.times[task.pe]))
    order, early = _ranked(chip, mean), chip.now
    if chip.load.strict_ds3:
        tied = sum(mean(task) == mean(order[0]) for task in order)
        order[:tied] = order[1:tied] + order[:1]
        dummy = max(task.job.first_id + task.id for task in chip.ready) + 1
        for plan in plans:
            for task, _, end in plan:
                if task.job.first_id + task.id == dummy:
                    early = max(early, end)
    chosen = {}
    for task in order:
        ways = [(_insertion(plans[pe], early, task.times[pe]), pe) for pe in supported(task)]
        begin, pe = min(ways, key=lambda way: way[0] + task.times[way[1]])
        chosen[task] = pe
        plans[pe].append((task, begin, begin + task.times[pe]))
        plans[pe].sort(key=lambda event: event[2])
    for task in list(chip.ready):
        plan = plans[chosen[task]]
        place = [event[0] for event in plan].index(task)
        before = plan[place - 1] if place > 0 else None
        waits_for = before[0] if before and before[2] > before[1] else None
        chip.assign(task, chosen[task], waits_for)


def _insertion(plan, early, length):
    if not plan or plan[0][1] - length - early > 0:
        return early
    for (_, _, end), (_, begin, _) in pairwise(plan):
        if begin - length >= max(early, end):
            return max(early, end)
    return max(early, plan[-1][2])


CALLS = {
    "random": call_random,
    "met": call_met,
    "eft": call_eft,
    "etf": call_etf,
    "stf": call_stf,
    "heft_rt": call_heft_rt,
    "ranku": call_ranku,
    "peft_rt": call_peft_rt,
    "cpath": call_cpath,
}


def play(instance, seed, rule):
    """An episode under a rule."""
    return Chip(instance, seed).play(CALLS[rule])
