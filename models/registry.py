"""Names of networks: what a checkpoint may ask for, and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from torch import nn

from dispatchgym.envs.core.errors import CheckpointError


class PolicyNetwork(nn.Module):
    """Base of all networks: observation tensors in, logits and values out.

    Attributes:
        keys: arrays of the observation that the network reads, `action_mask` among them.
        critic_settings: numbers that take the place of an actor's where the network is a critic.
        reduced_precision: compute linear maps in bfloat16, which trains about twice as fast
            where the processor has it; logits and values stay float32.
    """

    keys: tuple[str, ...] = ("action_mask",)
    critic_settings: ClassVar[Mapping[str, int | float]] = {}
    reduced_precision = False


_NETWORKS: dict[str, type[PolicyNetwork]] = {}

NetworkClass = TypeVar("NetworkClass", bound=type[PolicyNetwork])


def register_network(name: str) -> Callable[[NetworkClass], NetworkClass]:
    """Class decorator that makes a network available under `name`.

    The class must take only keyword arguments that are plain numbers with defaults.
    """

    def register(network: NetworkClass) -> NetworkClass:
        _NETWORKS[name] = network
        return network

    return register


def network_names() -> tuple[str, ...]:
    """Names that `build_network` accepts, sorted."""
    return tuple(sorted(_NETWORKS))


def build_network(
    name: str, settings: Mapping[str, object], source: str = "network settings"
) -> PolicyNetwork:
    """Build a registered network from plain numbers.

    Args:
        name: a registered name, for example `job_shop`.
        settings: keyword arguments of the network; integers or floats.
        source: what error messages call the place the settings came from.

    Raises:
        CheckpointError: unknown name, unknown setting, or a value of another type.
    """
    if name not in _NETWORKS:
        raise CheckpointError(
            f"{source}: field 'network': found {name!r}, expected one of {', '.join(_NETWORKS)}"
        )
    network = _NETWORKS[name]
    defaults = {
        key: parameter.default for key, parameter in inspect.signature(network).parameters.items()
    }
    for key, value in settings.items():
        if key not in defaults:
            raise CheckpointError(
                f"{source}: field 'settings.{key}': unknown, expected one of {', '.join(defaults)}"
            )
        if type(value) is not type(defaults[key]):
            raise CheckpointError(
                f"{source}: field 'settings.{key}': found {value!r}, "
                f"expected {type(defaults[key]).__name__}"
            )
    try:
        return network(**settings)
    except ValueError as error:
        raise CheckpointError(f"{source}: field 'settings': {error}") from None
