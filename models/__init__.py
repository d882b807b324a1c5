"""Policy networks: shared blocks and one network per problem."""

if not __name__.startswith("dispatchgym."):
    raise ImportError("import dispatchgym.models, not the folder 'models': run from another folder")
