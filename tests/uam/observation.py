"""What the manual page says an observation holds, worked out from the reference simulator."""

import math

import numpy as np


def expected(day, craft, oracle=False):
    """The observation of the aircraft that decides, unpadded."""
    return {
        "port_x": _ports(day, craft),
        "port_adj": _adjacency(day),
        "craft_x": _aircraft(day, craft),
        "demand": _demand(day, craft, oracle),
        "slot_mask": np.arange(day.instance.num_slots) >= day.slot(craft.next),
        "pair_demand": _routes(day, craft, oracle),
        "corridor": np.array([_wait(day, craft, j) / 30 for j in _all(day)]),
        "legs": np.array([_leg(day, craft, j) for j in _all(day)]),
        "decision": _decision(day, craft),
        "k": [craft.number],
        "i": [craft.at],
        "action_mask": day.legal(craft),
    }


def _all(day):
    return range(day.instance.num_ports)


def _place(day, port):
    one = day.instance
    extent = max(np.ptp(one.x), np.ptp(one.y))
    return [(one.x[port] - one.x.min()) / extent, (one.y[port] - one.y.min()) / extent]


def _ports(day, craft):
    one, here, rows = day.instance, craft.at, []
    for j, port in enumerate(day.ports):
        wait = 0
        if port.chargers and port.charging >= port.chargers:
            until = [other.next for other in day.fleet if other.at == j and other.on_charger]
            wait = min(max(min(until) - craft.next, 0), 120)
        rows.append([
            *_place(day, j),
            port.parked / port.parking,
            port.charging / port.chargers if port.chargers else 1,
            wait / 60,
            port.chargers == 0,
            one.high_demand[j],
            one.delay_mean[j] / 30,
            one.distance[here, j] / one.range_mi,
            day.block(here, j) / 60 if j != here else 0,
            j != here and day.closed(day.slot(craft.next), here, j),
            j == here,
        ])  # fmt: skip
    return np.array(rows, float)


def _adjacency(day):
    one = day.instance
    near = (one.distance <= one.range_mi) & ~np.eye(one.num_ports, dtype=bool)
    return np.where(near, 1 - one.closure_probability, 0)


def _aircraft(day, craft):
    rows = []
    for other in day.fleet:
        last = next((row for row in reversed(day.log) if row[1] == other.number), None)
        landing = [row[7] for row in day.log if row[1] == other.number and row[7] >= 0]
        rows.append([
            *_place(day, other.at),
            other.battery / day.instance.battery_wh,
            max(landing[-1] - craft.next, 0) / 60 if landing else 0,
            (other.next - craft.next) / 60,
            day.instance.failure_probability[other.number] / 0.005,
            not other.on_charger,
            other.on_charger,
            other is craft,
            last is not None and last[9],
        ])  # fmt: skip
    return np.array(rows, float)


def _known(day, craft, i, j, s, oracle):
    now = day.slot(craft.next)
    if s < now:
        return None
    return day.remaining(i, j, s) if s == now or oracle else day.instance.rate[s, i, j]


def _demand(day, craft, oracle):
    one = day.instance
    found = np.zeros((one.num_ports, one.num_slots, 4))
    for s in range(day.slot(craft.next), one.num_slots):
        for i in _all(day):
            out = sum(_known(day, craft, i, j, s, oracle) for j in _all(day))
            coming = sum(_known(day, craft, j, i, s, oracle) for j in _all(day))
            others = one.num_ports - 1
            fares = one.fare_cents[s, i].sum() / others, one.fare_cents[s, :, i].sum() / others
            found[i, s] = [math.log1p(out), math.log1p(coming), fares[0] / 5000, fares[1] / 5000]
    return found


def _routes(day, craft, oracle):
    one = day.instance
    found = np.zeros((one.num_ports, one.num_slots, 2))
    for s in range(day.slot(craft.next), one.num_slots):
        for j in _all(day):
            people = _known(day, craft, craft.at, j, s, oracle)
            found[j, s] = [math.log1p(people), one.fare_cents[s, craft.at, j] / 5000]
    return found


def _wait(day, craft, j):
    if j == craft.at:
        return 0
    opens = [day.free_from.get((craft.at, j, c), 0) for c in range(day.instance.corridors)]
    return max(min(opens) - craft.next, day.ports[craft.at].pad_free - craft.next, 0)


def _unit(day):
    """What a full aircraft earns on average before electricity."""
    one = day.instance
    heads = one.op_basis == "passenger"
    margin = [
        (one.fare_cents[s, i, j] - heads * day.running_cost(i, j), one.rate[s, i, j])
        for s in range(one.num_slots)
        for i in _all(day)
        for j in _all(day)
    ]
    weight = sum(rate for _, rate in margin)
    return one.seats * abs(sum(cents * rate for cents, rate in margin)) / weight


def _onward(day, s, i):
    """The best expected profit an hour of a leg from port i in slot s, in units."""
    one = day.instance
    if s >= one.num_slots:
        return 0
    rates = [0.0]
    for j in _all(day):
        in_reach = one.distance[i, j] <= one.range_mi and day.needed(i, j) <= one.battery_wh
        if i != j and in_reach:
            people = min(one.seats, one.rate[s, i, j])
            heads = people if one.op_basis == "passenger" else 1
            cents = people * one.fare_cents[s, i, j] - heads * day.running_cost(i, j)
            rates.append(60 * (cents - day.current_cost(i, j)) / day.block(i, j))
    return max(rates) / _unit(day)


def _leg(day, craft, j):
    one, i, t = day.instance, craft.at, craft.next
    s = day.slot(t)
    bound = sum(other.at == j for other in day.fleet) * one.num_ports / one.num_aircraft
    if j == i:
        return [1, *[0] * 10, bound, _onward(day, s, i), 1, *_on_arrival(day, i, t + one.wait, 1)]
    port = day.ports[j]
    left = day.remaining(i, j, s)
    profit = day.worth(craft, j) / _unit(day)
    places, used = (port.chargers, port.charging) if port.chargers else (port.parking, port.parked)
    return [
        0,
        one.fare_cents[s, i, j] / 5000,
        math.log1p(left),
        min(left, one.seats) / one.seats,
        day.block(i, j) / 60,
        day.wh(i, j) / one.battery_wh,
        _wait(day, craft, j) / 30,
        profit,
        profit * 60 / day.block(i, j),
        (places - used) / places,
        day.closed(s, i, j),
        bound,
        _onward(day, day.slot(t + day.block(i, j)), j),
        day.legal(craft)[j],
        *_on_arrival(day, j, t + day.block(i, j), 0),
    ]


def _offer(day, s, i, ahead):
    """What is left for an aircraft at port i in slot s when others have taken the best."""
    one, offers = day.instance, []
    for j in _all(day):
        in_reach = one.distance[i, j] <= one.range_mi and day.needed(i, j) <= one.battery_wh
        if i != j and in_reach:
            rate = one.rate[s, i, j]
            people = min(one.seats, rate)
            heads = people if one.op_basis == "passenger" else 1
            cents = people * one.fare_cents[s, i, j] - heads * day.running_cost(i, j)
            cents -= day.current_cost(i, j)
            if cents > 0:
                offers.append((cents / _unit(day), max(rate / one.seats, 1)))
    taken = np.float32(0)
    for profit, flights in sorted(offers, reverse=True):
        taken += np.float32(flights)
        if taken > ahead:
            return profit
    return 0


def _on_arrival(day, j, ready, itself):
    """Offers for an aircraft that is ready at port j at a minute; whether the day is over."""
    one = day.instance
    if ready >= one.end:
        return [0, 0, 1]
    ahead = sum(other.at == j for other in day.fleet) - itself
    s = day.slot(ready)
    return [_offer(day, s, j, ahead), _offer(day, min(s + 1, one.num_slots - 1), j, ahead), 0]


def _decision(day, craft):
    one, t = day.instance, craft.next
    angle = 2 * math.pi * t / 1440
    here = sum(other.at == craft.at for other in day.fleet)
    return [
        math.sin(angle),
        math.cos(angle),
        (one.end - t) / (one.end - one.start),
        craft.battery / one.battery_wh,
        craft.on_charger,
        ((t - one.start) % one.slot) / one.slot,
        here * one.num_ports / one.num_aircraft,
        _offer(day, day.slot(t), craft.at, here / 2),
    ]
