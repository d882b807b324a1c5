"""The dispatching rules of dependent tasks, by name; they run inside the kernel."""

__all__ = ["GRAPH_RULES", "GRAPH_RULE_MEANINGS"]

GRAPH_RULE_MEANINGS = {
    "random": "a random server or the device, keyed by the seed of the episode",
    "all_local": "the device of the job's user",
    "all_cloud": "the cloud",
    "least_work": "where the mean backlog of a core and the task itself take least",
    "earliest_finish": "where the task ends first, its way to the device included if it is last",
    "greedy_omega": "the least weighted sum of the growth of the job's predicted end and energy, "
    "weighted by the preference of the episode; ties: ends first",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

GRAPH_RULES = tuple(GRAPH_RULE_MEANINGS)
"""Names of the rules."""
