"""The dispatching rules, by name; they run inside the kernel.

A leg from i to j earns v = min(seats, passengers left) (fare - operating cost) - electricity,
and takes b minutes until the aircraft can decide again. Ties go to the lowest vertiport.
"""

__all__ = ["RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "random": "a random legal action, staying included, keyed by the seed of the episode",
    "greedy": "the leg with the largest v; stay if none is positive",
    "greedy_rate": "the leg with the largest v / b; stay if none is positive",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
