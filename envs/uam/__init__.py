"""Urban air mobility: a fleet of electric aircraft flies passengers between vertiports.

The environment is ``dispatchgym/UAMFleet-v0``; this package offers what stands around it.
"""

from dispatchgym.envs.uam.generators import FleetGenerator, make_instance, scenarios
from dispatchgym.envs.uam.instance import Instance

__all__ = ["FleetGenerator", "Instance", "make_instance", "scenarios"]
