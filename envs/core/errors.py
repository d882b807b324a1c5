"""The errors a user can meet; each message says where, what was found and what is expected."""

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


class DispatchGymError(Exception):
    """Base class of every error that a user's input can cause."""


class InstanceError(DispatchGymError):
    """An instance is not a problem: the message names the field that is wrong."""


class InstanceFormatError(InstanceError):
    """A file or text cannot be read: the message names file, line and column or field."""


class ParameterError(DispatchGymError):
    """A parameter of an environment, solver or agent has a value it cannot have."""


class ScenarioError(DispatchGymError):
    """A scenario name, generator or path does not lead to an instance."""


class InvalidActionError(DispatchGymError):
    """An illegal action was given to an environment made with ``invalid_action="raise"``."""


class CheckpointError(DispatchGymError):
    """A checkpoint is incomplete, unsafe or of another kind."""


class EvaluationError(DispatchGymError):
    """A result cannot be true: an invalid schedule, or a score better than a proven bound."""


class MissingDependencyError(DispatchGymError):
    """An optional library is not installed: the message says which extra brings it."""
