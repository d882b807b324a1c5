"""Registration of the environments with Gymnasium, by strings, so that nothing is loaded early."""

from gymnasium.envs.registration import register, registry

__all__ = ["ENVIRONMENTS", "register_environments"]

ENVIRONMENTS = {
    "dispatchgym/EdgeDagPlan-v0": "dispatchgym.envs.edge_dag_plan.env:EdgeDagPlan",
    "dispatchgym/EdgeOffloading-v0": "dispatchgym.envs.edge_offloading.env:EdgeOffloading",
    "dispatchgym/JobShop-v0": "dispatchgym.envs.job_shop.env:JobShop",
    "dispatchgym/SoC-v0": "dispatchgym.envs.soc.env:SoC",
    "dispatchgym/UAMFleet-v0": "dispatchgym.envs.uam.env:UAMFleet",
    "dispatchgym/VMRescheduling-v0": "dispatchgym.envs.vm_rescheduling.env:VMRescheduling",
}
"""Id -> module and stem of the class names (``<stem>Env`` and ``<stem>VectorEnv``)."""


def register_environments() -> None:
    """Register every environment of the suite; calling it again changes nothing."""
    for name, stem in ENVIRONMENTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point=f"{stem}Env",
                vector_entry_point=f"{stem}VectorEnv",
            )
