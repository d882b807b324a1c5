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

__all__ = [
    "CheckpointError",
    "DispatchGymError",
    "EvaluationError",
    "InstanceError",
    "InstanceFormatError",
    "InvalidActionError",
    "MissingDependencyError",
    "ParameterError",
    "ScenarioError",
]
