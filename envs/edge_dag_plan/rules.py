"""The rules, by name; they run inside the kernel.

The order in which tasks are decided is the environment's (`order`). Ties go to the device, then
to the server of the lowest number.
"""

__all__ = ["RULES", "RULE_MEANINGS", "RULE_ORDERS"]

RULE_MEANINGS = {
    "random": "the device or a server at random, keyed by the seed of the episode",
    "all_local": "the device",
    "all_remote": "the server where the result is on the device first",
    "round_robin": "the device, each server, and again, by turns",
    "greedy": "where the result is on the device first; tables play it in the order of numbers",
    "heft": "where the result is on the device first; tables play it in the order of ranks",
    "greedy_weighted": "the least sum of finish over the device's makespan alone and energy over "
    "the device's energy alone, weighted by the preference",
    "rollout_weighted": "the place from which `greedy_weighted`, `all_remote` or `heft` completes "
    "the plan at the least cost, weighted in the same way",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""

RULE_ORDERS = {"greedy": "index"}
"""Orders that tables play a rule in, where it is not by rank: what their authors do."""
