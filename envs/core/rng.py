"""Keyed random numbers: a number is a pure function of (seed, stream, a, b).

Nothing is drawn in sequence, so every policy meets the same disturbances for the same seed
whatever it decides, and results do not depend on thread count or batch size. The mixing
function is the finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom
number generators", OOPSLA 2014).
"""

import numpy as np
from numba import njit

__all__ = ["derive", "mix", "uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_KEY_A = np.uint64(0xD1B54A32D192ED03)
_KEY_B = np.uint64(0xABC98388FB8FAC03)
_ONE = np.uint64(1)
_MANTISSA = 2.0**-53
_HIGH_BIT = np.uint64(1 << 62)


@njit(cache=True)
def mix(x):
    """Scramble a uint64 into another, one to one."""
    z = x + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(cache=True)
def uniform(seed, stream, a, b):
    """Return the uniform number in [0, 1) of key (seed: uint64, stream, a, b: integers >= 0)."""
    x = mix(np.uint64(seed) + _GOLDEN * (np.uint64(stream) + _ONE))
    x = mix(x ^ (np.uint64(a) * _KEY_A))
    x = mix(x ^ (np.uint64(b) * _KEY_B))
    return np.float64(x >> np.uint64(11)) * _MANTISSA


@njit(cache=True)
def derive(seed, episode):
    """Return the seed (uint64, in [2**62, 2**63)) of a later episode of a lane seeded `seed`.

    Seeds given by people are small; derived ones have bit 62 set, so that an instance used
    for evaluation is never met in training by accident.
    """
    x = mix(mix(np.uint64(seed)) ^ (np.uint64(episode) * _KEY_A))
    return (x >> np.uint64(2)) | _HIGH_BIT
