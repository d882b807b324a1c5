"""Fleet dispatch in plain Python, written from the problem's definition, not from the kernel.

Nothing is shared with the kernel: tables, random numbers and the loop are worked out anew, one
object at a time, as slowly as it takes.
"""

import math
from dataclasses import dataclass, field

MASK = (1 << 64) - 1


def _mix(x):
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(seed, stream, a, b):
    """The number in [0, 1) of a key."""
    x = _mix((seed + 0x9E3779B97F4A7C15 * (stream + 1)) & MASK)
    x = _mix(x ^ ((a * 0xD1B54A32D192ED03) & MASK))
    x = _mix(x ^ ((b * 0xABC98388FB8FAC03) & MASK))
    return (x >> 11) / 2**53


@dataclass
class Aircraft:
    number: int
    at: int
    next: int
    battery: int
    on_charger: bool = False
    dispatches: int = 0


@dataclass
class Port:
    parking: int
    chargers: int
    parked: int = 0
    charging: int = 0
    pad_free: int = 0

    def has_place(self):
        """Whether an aircraft may be sent here."""
        if self.chargers:
            return self.charging < self.chargers
        return self.parked < self.parking


@dataclass
class Day:
    """One day of an instance; `seed` draws the disturbances."""

    instance: object
    seed: int
    revenue: int = 0
    operating: int = 0
    energy: int = 0
    served: int = 0
    log: list = field(default_factory=list)

    def __post_init__(self):
        one = self.instance
        self.ports = [
            Port(int(lots), int(chargers))
            for lots, chargers in zip(one.parking, one.chargers, strict=True)
        ]
        self.fleet = [
            Aircraft(k, int(port), one.start, one.battery_wh)
            for k, port in enumerate(one.start_port)
        ]
        for craft in self.fleet:
            self.ports[craft.at].parked += 1
        self.left = {}
        self.free_from = {}

    # --- what follows from the instance ---

    def wh(self, i, j):
        return math.floor(self.instance.wh_per_mi * float(self.instance.distance[i, j]) + 0.5)

    def cruise(self, i, j):
        return math.ceil(60.0 * float(self.instance.distance[i, j]) / self.instance.speed_mph)

    def charge_minutes(self, wh):
        whole, part = divmod(60 * wh, self.instance.charge_power_w)
        return whole + (part > 0)

    def block(self, i, j):
        one = self.instance
        flight = one.takeoff + self.cruise(i, j) + one.landing
        return flight + (self.charge_minutes(self.wh(i, j)) if one.chargers[j] else 0)

    def needed(self, i, j):
        """Energy that an aircraft must have to be sent from i to j."""
        one = self.instance
        onward = 0
        if one.chargers[j] == 0:
            charging = [c for c in range(one.num_ports) if c != j and one.chargers[c] > 0]
            onward = min(self.wh(j, c) for c in charging)
        return self.wh(i, j) + onward + one.reserve_wh

    def running_cost(self, i, j):
        """Operating cost in cents, a passenger or a flight."""
        return math.floor(self.instance.op_cents_per_mi * float(self.instance.distance[i, j]) + 0.5)

    def current_cost(self, i, j):
        """Electricity in cents."""
        return math.floor(self.instance.elec_cents_per_kwh * self.wh(i, j) / 1000.0 + 0.5)

    def slot(self, t):
        return (t - self.instance.start) // self.instance.slot

    def remaining(self, i, j, s):
        return self.left.get((i, j, s), int(self.instance.passengers[s, i, j]))

    # --- disturbances ---

    def closed(self, s, i, j):
        one = self.instance
        low, high = min(i, j), max(i, j)
        if not one.stochastic:
            return False
        drawn = uniform(self.seed, 0, s, low * one.num_ports + high)
        return drawn < one.closure_probability[i, j]

    def fails(self, craft):
        chance = self.instance.failure_probability[craft.number]
        return self.instance.stochastic and (
            uniform(self.seed, 1, craft.number, craft.dispatches) < chance
        )

    def repair(self, craft):
        low, high = self.instance.repair
        drawn = uniform(self.seed, 2, craft.number, craft.dispatches)
        return low + math.floor(drawn * (high - low + 1))

    def delay(self, craft, i):
        if not self.instance.stochastic:
            return 0
        u = uniform(self.seed, 3, craft.number, craft.dispatches)
        v = uniform(self.seed, 4, craft.number, craft.dispatches)
        normal = math.sqrt(-2.0 * math.log(1.0 - u)) * math.cos(2.0 * math.pi * v)
        minutes = float(self.instance.delay_mean[i]) + 6.0 * normal
        return math.floor(min(max(minutes, 0.0), 30.0) + 0.5)

    # --- the loop ---

    def decider(self):
        """The aircraft that decides next, or None at the end of the day."""
        craft = min(self.fleet, key=lambda craft: (craft.next, craft.number))
        return craft if craft.next < self.instance.end else None

    def legal(self, craft):
        """Whether each vertiport may be chosen, staying included."""
        return [j == craft.at or self._may_fly(craft, j) for j in range(self.instance.num_ports)]

    def _may_fly(self, craft, j):
        one, i, t = self.instance, craft.at, craft.next
        if one.must_land_by_end and t + self.block(i, j) > one.end:
            return False
        return (
            float(one.distance[i, j]) <= one.range_mi
            and not self.closed(self.slot(t), i, j)
            and self.needed(i, j) <= craft.battery
            and self.ports[j].has_place()
        )

    def worth(self, craft, j):
        """Profit of a flight that left now, in cents."""
        i, s = craft.at, self.slot(craft.next)
        boarding = min(self.instance.seats, self.remaining(i, j, s))
        return self._earned(i, j, s, boarding)

    def _earned(self, i, j, s, boarding):
        heads = boarding if self.instance.op_basis == "passenger" else 1
        fares = boarding * int(self.instance.fare_cents[s, i, j])
        return fares - heads * self.running_cost(i, j) - self.current_cost(i, j)

    def act(self, craft, action):
        """Let an aircraft stay or fly; return the profit in cents."""
        t, i = craft.next, craft.at
        entry = [t, craft.number, i, action, 0, -1, -1, -1]
        cancelled, earned = False, 0
        if action == i:
            if craft.on_charger and self.ports[i].parked < self.ports[i].parking:
                craft.on_charger = False
                self.ports[i].charging -= 1
                self.ports[i].parked += 1
            craft.next = t + self.instance.wait
        elif self.fails(craft):
            cancelled = True
            craft.next = t + self.repair(craft)
            craft.dispatches += 1
        else:
            entry[4:], earned = self._fly(craft, action)
            craft.dispatches += 1
        self.log.append([*entry, craft.next, int(cancelled)])
        return earned

    def _fly(self, craft, j):
        one, t, i = self.instance, craft.next, craft.at
        s = self.slot(t)
        if craft.on_charger:
            self.ports[i].charging -= 1
        else:
            self.ports[i].parked -= 1
        boarding = min(one.seats, self.remaining(i, j, s))
        self.left[i, j, s] = self.remaining(i, j, s) - boarding
        self.served += boarding
        self.revenue += boarding * int(one.fare_cents[s, i, j])
        heads = boarding if one.op_basis == "passenger" else 1
        self.operating += heads * self.running_cost(i, j)
        self.energy += self.current_cost(i, j)
        corridor, arrival = self._clear_for_take_off(craft, i, j)
        craft.battery -= self.wh(i, j)
        craft.at = j
        craft.next = arrival[1]
        if one.chargers[j]:
            self.ports[j].charging += 1
            craft.on_charger = True
            craft.next += self.charge_minutes(one.battery_wh - craft.battery)
            craft.battery = one.battery_wh
        else:
            self.ports[j].parked += 1
            craft.on_charger = False
        return [boarding, corridor, *arrival], self._earned(i, j, s, boarding)

    def _clear_for_take_off(self, craft, i, j):
        """Return the corridor, and the minutes of its entry and of arrival."""
        one = self.instance
        opens = [self.free_from.get((i, j, c), 0) for c in range(one.corridors)]
        corridor = opens.index(min(opens))
        earliest = max(craft.next, opens[corridor], self.ports[i].pad_free)
        enters = earliest + self.delay(craft, i)
        self.free_from[i, j, corridor] = enters + one.headway
        if one.pad_headway:
            self.ports[i].pad_free = enters + one.pad_headway
        return corridor, (enters, enters + one.takeoff + self.cruise(i, j) + one.landing)

    @property
    def profit(self):
        return self.revenue - self.operating - self.energy


def greedy(day, craft, per_minute=False):
    """The rule of the same name; with `per_minute` it is `greedy_rate`."""
    best, best_value = craft.at, 0
    for j, legal in enumerate(day.legal(craft)):
        if legal and j != craft.at:
            value = day.worth(craft, j) / (day.block(craft.at, j) if per_minute else 1)
            if value > best_value:
                best, best_value = j, value
    return best


def random_rule(day, craft):
    """The rule of the same name."""
    legal = [j for j, yes in enumerate(day.legal(craft)) if yes]
    return legal[int(uniform(day.seed, 5, len(day.log), 0) * len(legal))]


RULES = {
    "random": random_rule,
    "greedy": greedy,
    "greedy_rate": lambda day, craft: greedy(day, craft, per_minute=True),
}


def play(instance, seed, rule):
    """Play a whole day under a rule; return the day."""
    day = Day(instance, seed)
    while (craft := day.decider()) is not None:
        day.act(craft, RULES[rule](day, craft))
    return day
