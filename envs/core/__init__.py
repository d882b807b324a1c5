"""What all problems share: environments over compiled kernels, seeds, scenarios, errors."""

from dispatchgym.envs.core.errors import (
    CheckpointError,
    DispatchGymError,
    EvaluationError,
    InstanceError,
    InstanceFormatError,
    InvalidActionError,
    MissingDependencyError,
    ParameterError,
    ScenarioError,
)
from dispatchgym.envs.core.preference import PreferenceWrapper

__all__ = [
    "CheckpointError",
    "DispatchGymError",
    "EvaluationError",
    "InstanceError",
    "InstanceFormatError",
    "InvalidActionError",
    "MissingDependencyError",
    "ParameterError",
    "PreferenceWrapper",
    "ScenarioError",
]
