"""The packaged Hydra configuration of the commands."""

if not __name__.startswith("dispatchgym."):
    raise ImportError("import dispatchgym.configs, not 'configs': run from another folder")
