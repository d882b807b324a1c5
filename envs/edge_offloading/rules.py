"""The dispatching rules of independent tasks, by name; they run inside the kernel.

What a server would do to the delay of all, and the energy, are exact where sizes are seen; where
they are hidden, rules go by the expected ones. Ties go to the lowest server unless said.
"""

__all__ = ["RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "random": "a random server, keyed by the seed of the episode",
    "random_p": "the cloud with probability p = 2 / (edges + 2), else a random edge server",
    "round_robin_p": "the cloud with probability p, else the next edge server in turn",
    "least_work": "the server that would have computed its backlog and the task first",
    "greedy_omega": "the least weighted sum of delay and energy caused, weighted by the "
    "preference of the episode; ties: less delay",
    "rollout_omega": "as greedy_omega, but judged by playing on with greedy_omega in drawn futures",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
