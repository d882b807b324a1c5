"""The rules of the deadline family, by name, and the kernel rules that go with each.

A rule says where a task goes when it arrives. What happens to tasks later - the order of the
edge's queue, moving queued tasks to the cloud, letting tasks wait for the edge until the last
moment, stealing - is the discipline, which the kernel applies. Each rule has its discipline.

Source: arXiv 2412.20860 and GitHub ``dream-lab/ocularone-scheduler``.
"""

from __future__ import annotations

import numpy as np

__all__ = ["DISCIPLINES", "DISCIPLINE_OF", "DISCIPLINE_TABLE", "RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "random": "a random legal action, keyed by the seed of the episode",
    "fifo": "edge only, first come first served",
    "edf": "edge only, shortest allowed time first",
    "sjf": "edge only, shortest run first",
    "hbf": "edge only, highest benefit first",
    "huf": "edge only, highest benefit less cost first",
    "cld": "cloud at once if the benefit exceeds its cost there, else drop",
    "e_c": "edge if the task is in time there, else cloud, else drop",
    "dem": "as e_c, but tasks that it would make late move from the edge's queue to the cloud",
    "dems": "as dem, but tasks for the cloud wait until the last moment, and the edge steals them",
    "demsa": "as dems, with the time of the cloud's last ten runs as what is expected of it",
    "gems": "as dems, but models that are behind in their window move to the cloud at once",
    "shadow_price": "edge if that wins more than its time there is worth, else hold (ours)",
    "rollout": "the action after which shadow_price does best in the next second (ours)",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
_BORROWERS = ("random", "cld", "shadow_price", "rollout")
DISCIPLINES = tuple(name for name in RULES if name not in _BORROWERS)
"""Names of the disciplines that an environment can be made with; other rules play with DEMS's."""

# Orders of the edge's queue.
BY_ARRIVAL, BY_DEADLINE, BY_TIME, BY_BENEFIT, BY_UTILITY = range(5)

# Columns of the disciplines.
ORDER, CHECKS, MIGRATES, MOVED_WAIT, LOSERS_WAIT, STEALS, ADAPTS, KEEPS = range(8)
NEVER, BEHIND_WORK, ALWAYS = range(3)

_EDGE_ONLY = {
    "fifo": BY_ARRIVAL,
    "edf": BY_DEADLINE,
    "sjf": BY_TIME,
    "hbf": BY_BENEFIT,
    "huf": BY_UTILITY,
}
_DEMS = (BY_DEADLINE, 1, 1, 1, 1, ALWAYS, 0, 0)
_TABLE: dict[str, tuple[int, ...]] = {
    **{name: (order, 0, 0, 0, 0, NEVER, 0, 0) for name, order in _EDGE_ONLY.items()},
    "e_c": (BY_DEADLINE, 1, 0, 0, 0, NEVER, 0, 0),
    "dem": (BY_DEADLINE, 1, 1, 0, 0, NEVER, 0, 0),
    "dems": _DEMS,
    "demsa": (BY_DEADLINE, 1, 1, 1, 1, ALWAYS, 1, 0),
    "gems": (BY_DEADLINE, 1, 1, 0, 1, BEHIND_WORK, 0, 1),
}
DISCIPLINE_OF = np.array([RULES.index("dems" if name in _BORROWERS else name) for name in RULES])
"""(rules,) the rule whose discipline each rule plays with."""
DISCIPLINE_TABLE = np.array([_TABLE[RULES[rule]] for rule in DISCIPLINE_OF], np.int64)
"""(rules, 8) the discipline of each rule: order of the queue; whether a task joins it only if in
time; whether tasks that become late are moved; whether those wait for the last moment before they
go to the cloud; whether moved tasks that the cloud would lose money on wait to be stolen; when the
edge steals; whether expected cloud times adapt; whether models behind in their window are moved."""
