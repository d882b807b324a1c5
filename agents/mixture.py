"""Several training environments as one: some rows of a batch are of one scenario, some of another.

Random scenarios of one kind can be mixed by name; this is for those whose kernels differ. Spaces
have to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from dispatchgym.agents.imitation import Labels, Teacher
from dispatchgym.envs.core.adapters import to_sb3
from dispatchgym.envs.core.errors import ParameterError

__all__ = ["SEPARATOR", "MixedTeacher", "Mixture", "as_sb3", "parts_of"]

SEPARATOR = "|"
"""Between the scenarios of a mixture, or the teachers."""

Arrays = dict[str, NDArray[Any]]


def parts_of(names: Any) -> list[Any]:
    """Return the scenarios that a setting names; anything but a mixture is one."""
    return names.split(SEPARATOR) if isinstance(names, str) else [names]


class Mixture:
    """Vector environments whose rows stand one below the other.

    It has of a vector environment what training needs, and as `simulation` itself.

    Args:
        parts: vector environments of equal spaces.

    Raises:
        ParameterError: their spaces differ.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if part.single_observation_space != first.single_observation_space:
                raise ParameterError(
                    f"scenario: found {part.single_observation_space}, expected "
                    f"{first.single_observation_space} in all parts of a mixture"
                )
        self.parts = tuple(parts)
        self.num_envs = sum(part.num_envs for part in parts)
        self.bounds = np.cumsum([part.num_envs for part in parts])[:-1]

    @property
    def simulation(self) -> Mixture:
        """Itself."""
        return self

    @property
    def observations(self) -> Arrays:
        """Present observations of all rows."""
        return stack([part.simulation.observations for part in self.parts])

    def action_masks(self) -> NDArray[np.bool_]:
        """Return what is legal, (B, actions)."""
        return np.concatenate([part.action_masks() for part in self.parts])

    def step(self, actions: NDArray[Any]) -> tuple[Arrays, Any, Any, Any, dict[str, Any]]:
        """Step all rows; infos are left out."""
        pairs = zip(self.parts, np.split(np.asarray(actions), self.bounds), strict=True)
        stepped = [part.step(own) for part, own in pairs]
        observations, rewards, terminated, truncated, _ = zip(*stepped, strict=True)
        joined = [np.concatenate(found) for found in (rewards, terminated, truncated)]
        return stack(observations), joined[0], joined[1], joined[2], {}


class MixedTeacher:
    """A teacher for each part of a mixture."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        """`teachers` in the order of the parts."""
        self.teachers = tuple(teachers)

    def act(self, vec: Mixture) -> NDArray[np.int64]:
        """Return what each would do with its rows."""
        pairs = zip(self.teachers, vec.parts, strict=True)
        return np.concatenate([teacher.act(part) for teacher, part in pairs])

    def label(self, vec: Mixture) -> Labels:
        """Return what each says of its rows."""
        pairs = zip(self.teachers, vec.parts, strict=True)
        costs, values = zip(*[teacher.label(part) for teacher, part in pairs], strict=True)
        return np.concatenate(costs), np.concatenate(values)


class MixedVecEnv(VecEnv):
    """A mixture as a `VecEnv` of stable-baselines3."""

    def __init__(self, mixture: Mixture) -> None:
        """Adapt every part."""
        self.parts = [to_sb3(part) for part in mixture.parts]
        self.bounds = mixture.bounds
        first = self.parts[0]
        super().__init__(mixture.num_envs, first.observation_space, first.action_space)

    def reset(self) -> Arrays:
        """Begin episodes in all rows."""
        for part, row in zip(self.parts, [0, *self.bounds], strict=True):
            if self._seeds[row] is not None:
                part.seed(self._seeds[row])
        self._reset_seeds()
        return stack([part.reset() for part in self.parts])

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        for part, own in zip(self.parts, np.split(np.asarray(actions), self.bounds), strict=True):
            part.step_async(own)

    def step_wait(self) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], list[Any]]:
        """Step all rows."""
        observations, rewards, dones, infos = zip(*[p.step_wait() for p in self.parts], strict=True)
        told = [info for part in infos for info in part]
        return stack(observations), np.concatenate(rewards), np.concatenate(dones), told

    def close(self) -> None:
        """Close all parts."""
        for part in self.parts:
            part.close()

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of every part; return one result a row."""
        return self._rows(
            lambda part: part.env_method(method_name, *method_args, **method_kwargs), indices
        )

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, once for each row."""
        return self._rows(lambda part: part.get_attr(attr_name), indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse, as the parts do."""
        self.parts[0].set_attr(attr_name, value, indices)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Tell of each row whether it is wrapped."""
        return self._rows(lambda part: part.env_is_wrapped(wrapper_class), indices)

    def _rows(self, of_part: Callable[[Any], list[Any]], indices: Any) -> list[Any]:
        found = [result for part in self.parts for result in of_part(part)]
        return [found[row] for row in self._get_indices(indices)]


def stack(observations: Sequence[Arrays]) -> Arrays:
    """Return observations of all parts, one below the other."""
    return {
        key: np.concatenate([observation[key] for observation in observations])
        for key in observations[0]
    }


def as_sb3(vec: Any, copy: bool = True) -> VecEnv:
    """Return a vector environment or a mixture as a `VecEnv` of stable-baselines3.

    Args:
        vec: the environments.
        copy: as in `to_sb3`; a mixture copies in any case.
    """
    return MixedVecEnv(vec) if isinstance(vec, Mixture) else to_sb3(vec, copy)
