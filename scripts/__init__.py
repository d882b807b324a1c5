"""Real dispatch problems as Gymnasium environments that run at machine speed.

Importing this package registers the environments; it loads neither torch nor data files and
compiles nothing::

    import gymnasium as gym

    env = gym.make("dispatchgym:dispatchgym/JobShop-v0", scenario="la01", mode="blocking")
"""

if __name__ != "dispatchgym":
    raise ImportError("import this package as 'dispatchgym', not by the name of its folder")

from dispatchgym.envs.core.preference import PreferenceWrapper
from dispatchgym.envs.core.registry import register_environments

__all__ = ["PreferenceWrapper", "__version__"]
__version__ = "0.1.0"

register_environments()
