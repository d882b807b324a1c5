"""The dispatching rules of the literature, by name; they run inside the kernel.

A rule gives each legal job a value and starts the job with the smallest (ties: the lowest job
index). Below, k is the job's next operation, p its duration, W the work from k on, T the total
work, A the work up to and including k, K the number of operations.

The names are those of Haupt, "A survey of priority rule-based scheduling", OR Spektrum 11
(1989), and of Sels, Gheysen and Vanhoucke, IJPR 50 (2012). ``blkrel`` is of this suite: for
shops without buffers it first moves the job whose machine most jobs wait for.
"""

__all__ = ["RULES", "RULE_MEANINGS"]

RULE_MEANINGS = {
    "spt": "shortest processing time: p",
    "lpt": "longest processing time: -p",
    "mwkr": "most work remaining: -W",
    "lwkr": "least work remaining: W",
    "mopnr": "most operations remaining: -(K - k)",
    "lopnr": "fewest operations remaining: K - k",
    "fifo": "first in, first out: time of arrival",
    "lifo": "last in, first out: -time of arrival",
    "fdd_mwkr": "flow due date over work remaining: A / W",
    "spt_twk": "shortest processing time over total work: p / T",
    "lpt_twk": "longest processing time over total work: -p / T",
    "spt_rwk": "processing time times remaining work: p W",
    "stpt": "shortest total processing time: T",
    "ltpt": "longest total processing time: -T",
    "lrm": "longest remaining after this operation: -(W - p)",
    "lso": "longest subsequent operation: -duration of operation k + 1 (0 if none)",
    "sso": "shortest subsequent operation: duration of operation k + 1 (0 if none)",
    "winq": "least work in the next queue: durations waiting for the machine of k + 1",
    "blkrel": "block relief: jobs that hold a machine, most waited for first; then most work",
    "random": "a random job, keyed by the seed of the episode",
}
"""Rule name -> what it is. The order is that of the kernel's rule numbers."""

RULES = tuple(RULE_MEANINGS)
"""Names of the rules."""
