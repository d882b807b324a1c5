"""Training, search, checkpoints and evaluation of policies."""

if not __name__.startswith("dispatchgym."):
    raise ImportError("import dispatchgym.agents, not the folder 'agents': run from another folder")
