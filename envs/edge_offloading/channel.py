"""Radio: distances, gains and rates of the uplinks.

Source: equations (2) and table II of GMORL, arXiv 2509.10474, and the public code of its
predecessor (``gracefulning/mec_morl_multipolicy``, ``env/MEC_env.py``), whose rate is not that of
the equation: it squares the ratio of gain to noise and divides by the noise once more.
"""

import math

from dispatchgym.envs.edge_offloading.layout import compiled

__all__ = ["distance", "mean_gain", "rate", "rayleigh_power"]

BANDWIDTH = 16.6e6
"""Hz."""
NOISE = 10.0 ** ((-174.0 - 30.0) / 10.0) * BANDWIDTH
"""Watt: -174 dBm/Hz over the bandwidth."""
SHADOWING = 8.0
"""Decibel, the same for all links."""
SLOWEST = 2.5e5
"""bit/s. The chance of a gain below x is x, so that without a lowest rate the mean time of an
upload were infinite, by both formulas. By the published code two links in 100,000 to the cloud are
slower, by equation (2) one in a hundred to an edge with 0.2 W."""


@compiled
def distance(cloud, u):
    """Return metres from a user to a server, drawn evenly."""
    return 1000.0 + 1000.0 * u if cloud else 50.0 + 450.0 * u


@compiled
def mean_gain(metres):
    """Return the power gain of a link without fading."""
    loss = 133.6 + 35.0 * math.log10(metres / 1000.0)
    return 10.0 ** ((-SHADOWING - loss) / 10.0)


@compiled
def rayleigh_power(u):
    """Return the power of Rayleigh fading: half the sum of two squared standard normals."""
    return -math.log(1.0 - u)


@compiled
def rate(shannon, power, gain):
    """Return the rate of a link in bit/s: of equation (2), or of the published code."""
    ratio = gain / NOISE
    if not shannon:
        ratio = ratio * ratio / NOISE
    return max(BANDWIDTH * math.log2(1.0 + power * ratio), SLOWEST)
