"""The scheduling rules, by name; they run inside the kernel.

With t the time from now: w(i, p) is the nominal time of task i on PE p, est(i, p) the wait until
its data are there, and avail(p) the scheduler's own estimate of the wait for the PE, from its
earlier choices; the estimated finish is w(i, p) + max(est(i, p), avail(p)). Ties go to the task
that is first in the list of ready tasks, and to the lowest PE. On instances with `strict_ds3`
the rules do what the public simulators' code does, defects included.
"""

__all__ = ["RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "random": "tasks in order; a random PE that can run the task, keyed by the episode's seed",
    "met": "tasks in order; the least w, among several an idle PE, then the one given least",
    "eft": "tasks in order; the earliest estimated finish",
    "etf": "the pair of task and PE with the earliest estimated finish",
    "stf": "the task with the least w on its fastest PE",
    "heft_rt": "tasks by falling mean w, into the first gap of a plan that knows no communication",
    "ranku": "tasks by falling upward rank (HEFT's); the earliest estimated finish",
    "peft_rt": "tasks by falling mean optimistic cost (PEFT's); the least finish plus that cost",
    "cpath": "tasks by the longest way to the end of their job; the earliest estimated finish",
}
"""Rule name -> what it does. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
