"""The rules of the literature, by name; they run inside the kernel.

A gain is the decrease of the objective's weighted fragments, as if the cores were those of the
first fragment rate; where machines in use count, emptying one gains as much as all free cores.
Ties go to the first VM, then to the first destination.

``ha`` is the filter-and-score heuristic of the repository bytedance/DRL-based-VM-Rescheduling
(Apache-2.0), the baseline of Ding et al., "Towards VM rescheduling optimization through deep
reinforcement learning", EuroSys 2025. ``greedy_joint`` is of this suite.
"""

__all__ = ["RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "random": "a random legal VM, then a random legal destination, keyed by the seed",
    "ha": "of the VMs of at most one chunk the one that gains most by leaving, where it gains "
    "most by joining; stops when both gains together are not positive",
    "greedy_joint": "the VM and destination of the largest gain together; a VM that has moved "
    "moves again only for a positive gain; stops when every gain is negative",
}
"""Rule name -> what it is. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
