"""The dispatch problems: one folder each, and what they share in ``dispatchgym.envs.core``."""

if not __name__.startswith("dispatchgym."):
    raise ImportError("import dispatchgym.envs, not the folder 'envs': run from another folder")
