"""Policy networks: shared graph blocks and one size-free network for each problem."""

if not __name__.startswith("dispatchgym."):
    raise ImportError("import this package as dispatchgym.models, not as a top-level package")

from dispatchgym.models.edge_dag_plan import EdgeDagPlanNetwork
from dispatchgym.models.edge_offloading import EdgeOffloadingConvNetwork, EdgeOffloadingNetwork
from dispatchgym.models.edge_offloading_index import EdgeOffloadingIndexNetwork
from dispatchgym.models.job_shop import JobShopNetwork
from dispatchgym.models.job_shop_encoder import JobShopEncoder
from dispatchgym.models.job_shop_gin import JobShopGIN
from dispatchgym.models.job_shop_index import JobShopIndexNetwork
from dispatchgym.models.job_shop_rlgnn import JobShopRLGNN
from dispatchgym.models.registry import build_network, network_names
from dispatchgym.models.soc import SoCNetwork
from dispatchgym.models.soc_index import SoCIndexNetwork
from dispatchgym.models.uam import (
    UAMGATv2Network,
    UAMGCNNetwork,
    UAMIndexNetwork,
    UAMMLPNetwork,
    UAMNetwork,
    UAMTransformerNetwork,
)
from dispatchgym.models.vm_rescheduling import VMReschedulingNetwork

__all__ = [
    "EdgeDagPlanNetwork",
    "EdgeOffloadingConvNetwork",
    "EdgeOffloadingIndexNetwork",
    "EdgeOffloadingNetwork",
    "JobShopEncoder",
    "JobShopGIN",
    "JobShopIndexNetwork",
    "JobShopNetwork",
    "JobShopRLGNN",
    "SoCIndexNetwork",
    "SoCNetwork",
    "UAMGATv2Network",
    "UAMGCNNetwork",
    "UAMIndexNetwork",
    "UAMMLPNetwork",
    "UAMNetwork",
    "UAMTransformerNetwork",
    "VMReschedulingNetwork",
    "build_network",
    "network_names",
]
