"""Jobs that the system on chip serves in a second, in the setting in which DS3Gym was measured.

    python docs/soc_speed.py [seconds]

One core, in seconds of its time, whatever else the machine does; the scheduler counts, and so do
the beginning of each episode and its result. Top1 to top5, scale 25 us, at most 3 jobs in the
system, 5,000 us. The public simulator's numbers were measured with the same rules on another
machine, two cores of an AMD EPYC.
"""

import sys
import time

import numba

from dispatchgym.envs.soc.env import SoCVectorEnv

SCENARIO, HORIZON = "top3-p5", 5000
DS3GYM = {"met": (531, 28_600), "eft": (454, 23_300), "etf": (346, 17_300), "heft_rt": (128, 7_200)}
"""Rule -> jobs and simulated microseconds in a second."""


def measure(rule: str, seconds: float) -> tuple[float, float]:
    """Return completed jobs and simulated microseconds in a second under a rule.

    Args:
        rule: of the scheduler.
        seconds: of measuring, above 0.
    """
    env = SoCVectorEnv(1, scenario=SCENARIO)
    env.reset(seed=0)
    env.run_rule(rule)  # compiles
    jobs = episodes = 0
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        env.reset(seed=episodes)
        jobs += int(env.run_rule(rule)["completed"][0])
        episodes += 1
    spent = time.process_time() - begin
    return jobs / spent, episodes * HORIZON / spent


def main() -> None:
    """Print a line for each rule."""
    numba.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    print("rule       jobs/s  simulated us/s  DS3Gym: jobs/s     us/s  times the jobs")
    for rule, (theirs, simulated) in DS3GYM.items():
        jobs, time_passed = measure(rule, seconds)
        print(
            f"{rule:8} {jobs:8,.0f} {time_passed:15,.0f} {theirs:15,} {simulated:8,} "
            f"{jobs / theirs:15,.0f}"
        )


if __name__ == "__main__":
    main()
