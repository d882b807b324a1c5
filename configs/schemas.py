"""Schemas of the packaged configuration: Hydra refuses unknown keys and wrong types with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig

from dispatchgym.envs.core.errors import ParameterError


@dataclass
class InterruptsConfig:
    """Fields of `dispatchgym.envs.job_shop.Interrupts`; `probability` may be a list."""

    kind: str = "per_operation"
    probability: Any = 0.1
    policy: str = "resume"
    length: list[float] = field(default_factory=lambda: [0.5, 1.5])
    unload_when_down: bool = True
    reveal_repair: bool = False


@dataclass
class JobShopConfig:
    """`env=job_shop`: the options of `dispatchgym/JobShop-v0`.

    `interrupts` counts when `mode` is `interrupting`.
    """

    name: str = "job_shop"
    scenario: str = "random_6-10x4-6"
    mode: str = "interrupting"
    scheme: str = "event"
    interrupts: InterruptsConfig = field(default_factory=InterruptsConfig)
    observation: str = "graph"
    reward: str = "lb_delta"
    allow_wait: str = "if_event"
    wip_cap: int = 0
    swap: bool = True
    deadlock_avoidance: str = "none"
    auto_trivial: bool = True


@dataclass
class JobShopModelConfig:
    """`model=job_shop`: the numbers of `dispatchgym.models.JobShopNetwork`."""

    name: str = "job_shop"
    hidden: int = 64
    layers: int = 3


@dataclass
class JobShopEncoderModelConfig:
    """`model=job_shop_encoder`: looks at the instance once; for `agent=self_labelling` or `ppo`."""

    name: str = "job_shop_encoder"
    width: int = 64
    heads: int = 4
    blocks: int = 2
    units: int = 64
    crowding: float = 0.0


@dataclass
class JobShopRLGNNModelConfig:
    """`model=job_shop_rlgnn`: the published network of `experiment=isbjssp_like`."""

    name: str = "job_shop_rlgnn"
    hidden: int = 256
    layers: int = 3


@dataclass
class JobShopGINModelConfig:
    """`model=job_shop_gin`: the published network of `experiment=l2d`."""

    name: str = "job_shop_gin"
    hidden: int = 64
    layers: int = 3
    head: int = 32


@dataclass
class JobShopIndexModelConfig:
    """`model=job_shop_index`: looks at each job by itself; for `agent=index`."""

    name: str = "job_shop_index"
    hidden: int = 16


@dataclass
class VMReschedulingConfig:
    """`env=vm_rescheduling`: the options of `dispatchgym/VMRescheduling-v0`.

    `migration_limit` and `objective` are those of the scenario where they are null.
    """

    name: str = "vm_rescheduling"
    scenario: str = "S"
    action_mode: str = "two_step"
    numa_rule: str = "best"
    allow_stay: bool = False
    allow_stop: bool = True
    migration_limit: int | None = None
    objective: Any = None
    observation: str = "graph"
    reward_scale: float | None = None


@dataclass
class VMReschedulingModelConfig:
    """`model=vm_rescheduling`: the numbers of the network of VM rescheduling."""

    name: str = "vm_rescheduling"
    hidden: int = 64
    layers: int = 2
    heads: int = 4


@dataclass
class SoCConfig:
    """`env=soc`: the options of `dispatchgym/SoC-v0`."""

    name: str = "soc"
    scenario: str = "top3-p5"
    mode: str = "commit_ready"
    reward: str = "latency"


@dataclass
class EdgeOffloadingConfig:
    """`env=edge_offloading`: the options of `dispatchgym/EdgeOffloading-v0`.

    `preference` is `grid`, `dirichlet` or a list of two weights that sum to one.
    """

    name: str = "edge_offloading"
    scenario: str = "gmorl"
    reward: str = "vector"
    preference: Any = field(default_factory=lambda: [0.5, 0.5])
    reward_scale: str = "context"
    max_servers: int = 11
    marginals: bool = True
    idle_slots: str = "skip"
    queue: str = "corrected"
    discipline: str = "dems"
    credit: str = "event"


@dataclass
class UAMConfig:
    """`env=uam`: the options of `dispatchgym/UAMFleet-v0`."""

    name: str = "uam"
    scenario: str = "uam-8x40"
    reward: str = "dense"
    oracle_demand: bool = False


@dataclass
class UAMModelConfig:
    """`model=uam`: the numbers of the fleet network with graph capsules."""

    name: str = "uam"
    hidden: int = 64
    layers: int = 2
    moments: int = 3
    hops: int = 2


@dataclass
class UAMTransformerModelConfig:
    """`model=uam_transformer`: the same network with transformer layers."""

    name: str = "uam_transformer"
    hidden: int = 64
    layers: int = 2
    heads: int = 4


@dataclass
class UAMGATv2ModelConfig:
    """`model=uam_gatv2`: with attention along edges."""

    name: str = "uam_gatv2"
    hidden: int = 64
    layers: int = 2
    heads: int = 4


@dataclass
class UAMGCNModelConfig:
    """`model=uam_gcn`: with graph convolution."""

    name: str = "uam_gcn"
    hidden: int = 64
    layers: int = 2


@dataclass
class UAMMLPModelConfig:
    """`model=uam_mlp`: without messages between vertiports or aircraft."""

    name: str = "uam_mlp"
    hidden: int = 64
    layers: int = 2


@dataclass
class SoCModelConfig:
    """`model=soc`: messages along the DAGs, then every ready task meets every PE."""

    name: str = "soc"
    hidden: int = 64
    heads: int = 4


@dataclass
class SoCIndexModelConfig:
    """`model=soc_index`: looks at each placement by itself; for `agent=index` and imitation."""

    name: str = "soc_index"
    hidden: int = 32


@dataclass
class UAMIndexModelConfig:
    """`model=uam_index`: looks at each action by itself; for `agent=index`."""

    name: str = "uam_index"
    hidden: int = 16


@dataclass
class EdgeDagPlanConfig:
    """`env=edge_dag_plan`: the options of `dispatchgym/EdgeDagPlan-v0`.

    `preference` is `grid`, `dirichlet` or a list of two weights.
    """

    name: str = "edge_dag_plan"
    scenario: str = "drlto-n15"
    uplink_queue: str = "corrected"
    order: str = "rank"
    reward: str = "vector"
    preference: Any = field(default_factory=lambda: [0.5, 0.5])


@dataclass
class EdgeDagPlanModelConfig:
    """`model=edge_dag_plan`: messages along the graph, then every place is judged."""

    name: str = "edge_dag_plan"
    hidden: int = 64
    layers: int = 3


@dataclass
class EdgeOffloadingModelConfig:
    """`model=edge_offloading`: servers as a set."""

    name: str = "edge_offloading"
    hidden: int = 64
    layers: int = 2
    sharpness: float = 10.0
    leads: bool = True
    bends: bool = False


@dataclass
class EdgeOffloadingConvModelConfig:
    """`model=edge_offloading_conv`: the published network, of one number of servers."""

    name: str = "edge_offloading_conv"
    servers: int = 11
    channels: int = 512
    hidden: int = 1024


@dataclass
class EdgeOffloadingIndexModelConfig:
    """`model=edge_offloading_index`: looks at each server by itself; for `agent=index`."""

    name: str = "edge_offloading_index"
    hidden: int = 8


@dataclass
class LearningRateConfig:
    """Learning rate from `initial` to `final` over a phase; `constant`, `linear` or `rex`."""

    schedule: str = "rex"
    initial: float = 1e-3
    final: float = 1e-5


@dataclass
class ImitationConfig:
    """Warm start from a teacher before reinforcement learning.

    Attributes:
        teacher: `none`, the name of a rule, or a teacher of the problem: `rollout` and `exact` for
            the job shop, `plan` for VM rescheduling and the system on chip, `index` and the
            planners (`mpc`) for the fleet, `rollout` and `index` for edge offloading, `optimal` for
            edge plans.
        share: part of the whole budget spent on imitation, 0 to 1.
        num_envs: episodes played side by side.
        bases: job shop: pairs of rule and limit on jobs in the shop (0: none) that complete an
            episode; they are the teacher of `rollout` and estimate the value for a rule.
        limit: job shop: of the rule that teaches or leads: wait rather than let in a job that
            would make more than limit * sqrt(machines) jobs in the shop; 0: never.
        margin: for `rollout`: relative gain that another action than the leading rule's must
            promise before it counts as better.
        label_every: the teacher labels each lane at every such decision.
        student_from: share of the imitation after which the student alone acts; `inf`: never.
        loss: `labels` (cross-entropy) or `regret` (mean cost of what the policy draws; it goes on
            best from a policy that is good already).
        temperature: softness of the labels; an action whose outcome is worse than the best one
            by this fraction has its weight divided by e.
        batch_size: labelled decisions per update.
        reuse: how often each label is used on average.
        capacity: labels kept.
        value_coefficient: weight of the value loss.
        instances: for `exact` and the planners of the fleet: how many instances are solved.
        solve_seconds: for `exact`: time limit for each of them.
        iterations: for `plan`: constructions (VM rescheduling) or moves (system on chip) of the
            search at each decision; for `rollout` of edge offloading: futures that are drawn.
        checkpoint: for `index`: name or folder of the index policy.
        learning_rate: over the imitation phase.
    """

    teacher: str = "rollout"
    share: float = 0.5
    num_envs: int = 64
    bases: list[Any] = field(default_factory=lambda: [["blkrel", 0], ["lrm", 0]])
    limit: float = 0.0
    margin: float = 0.0
    label_every: int = 3
    student_from: float = 0.25
    loss: str = "labels"
    temperature: float = 0.005
    batch_size: int = 128
    reuse: float = 3.0
    capacity: int = 20000
    value_coefficient: float = 0.5
    instances: int = 64
    solve_seconds: float = 2.0
    iterations: int = 50
    checkpoint: str = "uam/index"
    learning_rate: LearningRateConfig = field(default_factory=LearningRateConfig)


@dataclass
class PPOConfig:
    """`agent=ppo`: imitation, then MaskablePPO (its own names and meanings below).

    Attributes:
        time_constant: discount by time: a reward that comes so much later counts 1/e, in the
            environment's unit of time; for env=soc, whose steps tell the time they took. null:
            discount by the step, with `gamma`.
    """

    name: str = "ppo"
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    learning_rate: LearningRateConfig = field(
        default_factory=lambda: LearningRateConfig(initial=3e-4)
    )
    num_envs: int = 64
    n_steps: int = 64
    batch_size: int = 512
    n_epochs: int = 3
    gamma: float = 1.0
    gae_lambda: float = 0.98
    time_constant: float | None = None
    clip_range: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    target_kl: float | None = None


@dataclass
class SACConfig:
    """`agent=sac`: imitation, then masked discrete soft actor-critic.

    Attributes:
        learning_rate: of the actor and the temperature.
        critic_rate: learning rate of the critics, as a multiple of that.
        num_envs: environments that step together.
        train_freq: steps of each environment between updates.
        gradient_steps: updates each time.
        buffer_size: steps kept, all environments together.
        learning_starts: steps before the first update, after a resume too; without imitation,
            legal actions are drawn evenly until then.
        actor_starts: updates before the actor changes.
        entropy: share of the largest entropy that is aimed at, at first and at last.

    The others are explained in `dispatchgym.agents.sac.DiscreteSAC`.
    """

    name: str = "sac"
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    learning_rate: LearningRateConfig = field(
        default_factory=lambda: LearningRateConfig(initial=3e-4)
    )
    critic_rate: float = 1.0
    num_envs: int = 16
    train_freq: int = 16
    gradient_steps: int = 16
    batch_size: int = 512
    buffer_size: int = 200_000
    learning_starts: int = 5_000
    actor_starts: int = 0
    gamma: float = 0.98
    tau: float = 0.005
    ent_coef: Any = "auto_0.1"
    entropy: list[float] = field(default_factory=lambda: [0.5, 0.05])
    average_critics: bool = True
    clip_range: float | None = 0.5
    entropy_penalty: float = 0.0
    max_grad_norm: float = 10.0
    vector_critic: bool = False
    relabel: float = 0.0
    half_precision: bool = True


@dataclass
class IndexConfig:
    """`agent=index`: an index policy inside the kernel, trained by evolution strategies.

    Attributes:
        scenarios: random scenarios; the score is the mean over them. None: the training's own.
        episodes: how many of each of them are played.
        pairs: opposite changes of the weights that are tried in a step.
        deviation: standard deviation of a change of each weight.
        keep: steps with the same episodes.
        learning_rate: over the whole training.
    """

    name: str = "index"
    scenarios: list[str] = field(default_factory=list)
    episodes: list[int] = field(default_factory=lambda: [24])
    pairs: int = 24
    deviation: float = 0.08
    keep: int = 3
    learning_rate: LearningRateConfig = field(
        default_factory=lambda: LearningRateConfig("linear", 0.03, 0.001)
    )


@dataclass
class SelfLabellingConfig:
    """`agent=self_labelling`: a network learns from its own best plays of each instance.

    Attributes:
        scenarios: random scenarios, one after the other. None: the training's own.
        instances: how many are played in an update.
        samples: plays of each of them, the greedy one included.
        temperature: of the random choices in these plays.
        loss: what a play teaches: `rank`, `best` or `bopo`.
        average: share of its weights that the network which acts and is kept holds on to at a
            step of the student, 0 to 1; 0: it is the student.
        learning_rate: over the whole training.
        max_grad_norm: longest gradient of a step.
    """

    name: str = "self_labelling"
    scenarios: list[str] = field(default_factory=list)
    instances: int = 16
    samples: int = 128
    temperature: float = 1.0
    loss: str = "rank"
    average: float = 0.95
    learning_rate: LearningRateConfig = field(
        default_factory=lambda: LearningRateConfig("rex", 1e-3, 1e-5)
    )
    max_grad_norm: float = 1.0


@dataclass
class BudgetConfig:
    """When training ends: after `steps` decisions or `seconds` of wall time, whichever first."""

    steps: int | None = None
    seconds: float | None = 600.0


@dataclass
class HeldOutConfig:
    """Evaluation on instances that training never sees.

    Attributes:
        scenario: null means the training scenario, with other seeds.
        level: shutdown probability or migration limit; null means that of the training.
        seeds: number of held-out episodes; seed numbers from 500,000 on.
        times: evaluations during training, evenly spread over the budget; each writes the
            checkpoint `last`.
        table: after training, compare with every rule and print the table.
        table_seeds: held-out episodes of that table; other ones than those above.
    """

    scenario: str | None = None
    level: float | None = None
    seeds: int = 64
    times: int = 10
    table: bool = True
    table_seeds: int = 200


@dataclass
class TrainConfig:
    """Root of `train.yaml`.

    Attributes:
        experiment_name: folder of the run under `runs`.
        begin_with: name or folder of a policy whose weights the network begins with; "" for none.
        seed: of everything random in the training.
        device: `auto`, `cpu`, `cuda`, ...
        threads: torch threads; 0 leaves torch's choice.
        reduced_precision: bfloat16 in linear maps while training: `auto` (where the processor
            has it), `on`, `off`.
        runs: where run folders go.
        resume: false, true (the latest run of this experiment), or a run folder.
    """

    env: Any = MISSING
    agent: Any = MISSING
    model: Any = MISSING
    experiment_name: str = "default"
    begin_with: str = ""
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    reduced_precision: str = "auto"
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    runs: str = "runs"
    resume: Any = False


GROUPS: dict[str, dict[str, type]] = {
    "env": {
        "edge_dag_plan": EdgeDagPlanConfig,
        "edge_offloading": EdgeOffloadingConfig,
        "job_shop": JobShopConfig,
        "soc": SoCConfig,
        "uam": UAMConfig,
        "vm_rescheduling": VMReschedulingConfig,
    },
    "model": {
        "edge_dag_plan": EdgeDagPlanModelConfig,
        "edge_offloading": EdgeOffloadingModelConfig,
        "edge_offloading_conv": EdgeOffloadingConvModelConfig,
        "edge_offloading_index": EdgeOffloadingIndexModelConfig,
        "job_shop": JobShopModelConfig,
        "job_shop_encoder": JobShopEncoderModelConfig,
        "job_shop_gin": JobShopGINModelConfig,
        "job_shop_index": JobShopIndexModelConfig,
        "job_shop_rlgnn": JobShopRLGNNModelConfig,
        "soc": SoCModelConfig,
        "soc_index": SoCIndexModelConfig,
        "uam": UAMModelConfig,
        "uam_gatv2": UAMGATv2ModelConfig,
        "uam_gcn": UAMGCNModelConfig,
        "uam_index": UAMIndexModelConfig,
        "uam_mlp": UAMMLPModelConfig,
        "uam_transformer": UAMTransformerModelConfig,
        "vm_rescheduling": VMReschedulingModelConfig,
    },
    "agent": {
        "index": IndexConfig,
        "ppo": PPOConfig,
        "sac": SACConfig,
        "self_labelling": SelfLabellingConfig,
    },
}
"""Config group -> name -> schema."""


def register_schemas() -> None:
    """Put the schemas into Hydra's ConfigStore; calling it again changes nothing."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    for group, schemas in GROUPS.items():
        for name, schema in schemas.items():
            store.store(group=group, name=f"{name}_schema", node=schema)


def train_schema(stored: Mapping[str, Any]) -> DictConfig:
    """The schema of a stored training configuration, whose groups name their own schemas.

    Raises:
        ParameterError: a group is missing or has no name that is known.
    """
    from omegaconf import OmegaConf

    schema = OmegaConf.structured(TrainConfig)
    for group, schemas in GROUPS.items():
        chosen = stored.get(group)
        name = chosen.get("name") if isinstance(chosen, Mapping) else None
        if name not in schemas:
            raise ParameterError(
                f"{group}.name: found {name!r}, expected one of {', '.join(schemas)}"
            )
        schema[group] = OmegaConf.structured(schemas[name])
    return schema
