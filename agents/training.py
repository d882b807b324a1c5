"""One training run: imitation, then reinforcement learning, evaluated on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.logger import Figure, Logger, configure

from dispatchgym.agents.checkpoints import PolicyFile
from dispatchgym.agents.curves import learning_curve
from dispatchgym.agents.evolution import IndexLearner
from dispatchgym.agents.held_out import HeldOut
from dispatchgym.agents.imitation import Imitation, Teacher
from dispatchgym.agents.learner import Learner
from dispatchgym.agents.mixture import MixedTeacher, Mixture, parts_of
from dispatchgym.agents.policy import Policy, choose_device
from dispatchgym.agents.ppo import PPOLearner
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.provenance import provenance
from dispatchgym.agents.runs import Progress, RunFolder, make_checkpoint
from dispatchgym.agents.sac import SACLearner
from dispatchgym.agents.schedules import rate_of
from dispatchgym.agents.self_labelling import SelfLabellingLearner
from dispatchgym.agents.threads import use_threads
from dispatchgym.configs.schemas import (
    IndexConfig,
    PPOConfig,
    SACConfig,
    SelfLabellingConfig,
    TrainConfig,
)
from dispatchgym.envs.core.errors import CheckpointError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

Report = Callable[[str, float, float, Mapping[str, float]], None]
"""Told the phase, the spent share of the budget, seconds so far and the latest scores."""

TABLE_SEED = 10_000
"""First seed of the comparison after training."""


class Trainer:
    """One run: clock, budget, folder, evaluation on the way; imitation, where there is a teacher.

    Attributes:
        config: the whole configuration.
        problem: which problem.
        device: where networks compute.
        file: the network that acts, and in which environment.
        bfloat16: compute so while learning.
        learner: the agent.
        folder: where it lives on disk; has the checkpoints `last` and `best`.
        progress: how far it is.
        latest: scores of the last held-out evaluation.
        interrupted: asked to end at the next report of progress.
        held_out: the episodes of these evaluations.
        logger: of stable-baselines3, into TensorBoard.
        teacher: to be imitated, None for none.
    """

    def __init__(self, config: TrainConfig, resume: RunFolder | None, report: Report) -> None:
        """Set up a new run or load the last checkpoint of an old one.

        Args:
            config: the whole configuration.
            resume: the run to go on with, None for a new one.
            report: called often, for a progress bar.

        Raises:
            ParameterError: a setting has no meaning.
            CheckpointError: the checkpoint to resume from cannot be used.
        """
        check(config)
        self.problem = find_problem(config.env.name)
        self.problem.check_training(config)
        use_threads(config.threads)
        self.config = config
        self.report = report
        self.device = choose_device(config.device)
        self.options = self.problem.training_options(asdict(config.env))
        kept = self.problem.policy_options
        self.file = PolicyFile(
            network=config.model.name,
            settings={key: value for key, value in asdict(config.model).items() if key != "name"},
            environment=self.problem.env_id.partition(":")[2],
            options={key: value for key, value in self.options.items() if key in kept},
        )
        torch.manual_seed(config.seed)
        self.bfloat16 = use_bfloat16(config.reduced_precision)
        self.progress = Progress()
        self._started = time.perf_counter()
        self.teacher: Teacher | None = None
        self.latest: dict[str, float] = {}
        self.best = float("inf")
        self.interrupted = False
        self.held_out = HeldOut(config, self.problem, self.options)
        self.folder = resume or RunFolder.create(
            config.runs, config.experiment_name, asdict(config)
        )
        self.logger: Logger = configure(str(self.folder.path / "tensorboard"), ["tensorboard"])
        self.learner = LEARNERS[type(config.agent)](self)
        if resume is not None:
            self._load(resume)
        elif config.begin_with:
            self._begin_with(config.begin_with)
        self._started = time.perf_counter() - self.progress.seconds

    # --- progress ---

    @property
    def share(self) -> float:
        """Spent share of the budget, 0 to 1."""
        budget = self.config.budget
        self.progress.seconds = time.perf_counter() - self._started
        spent = [0.0]
        if budget.seconds:
            spent.append(self.progress.seconds / budget.seconds)
        if budget.steps:
            spent.append(self.progress.decisions / budget.steps)
        return min(max(spent), 1.0)

    @property
    def reinforced(self) -> float:
        """Spent share of what the budget leaves after imitation, 0 to 1."""
        before = self.config.agent.imitation.share if self.teacher is not None else 0.0
        return max(self.share - before, 0.0) / max(1.0 - before, 1e-9)

    def tell(self, phase: str) -> float:
        """Report progress; return the spent share of the budget.

        Raises:
            KeyboardInterrupt: the run was asked to end.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        share = self.share
        self.report(phase, share, self.progress.seconds, self.latest)
        return share

    def tick(self, phase: str) -> None:
        """Evaluate and save when it is time to."""
        share = self.tell(phase)
        if self.progress.evaluations <= share * self.config.held_out.times:
            self._evaluate(phase)

    def evaluate_now(self) -> dict[str, float]:
        """Scores of the present weights on the held-out episodes, greedy."""
        return self.held_out.score(self._policy())

    def _evaluate(self, phase: str) -> None:
        scores = self.evaluate_now()
        self.latest = scores
        # Evaluations that a long update made late are skipped, not caught up on.
        due = int(self.share * self.config.held_out.times) + 1
        self.progress.evaluations = due
        self.folder.record(
            {
                "phase": phase,
                "decisions": self.progress.decisions,
                "seconds": self.progress.seconds,
                **scores,
            }
        )
        for key, value in scores.items():
            self.logger.record(f"eval/{key}", value)
        self.logger.dump(self.progress.decisions)
        self.save("last", scores)
        if scores["gap"] < self.best:
            self.best = scores["gap"]
            self.save("best", scores)

    def _policy(self) -> Policy:
        return Policy(
            self.learner.network, self.file, name=self.config.agent.name, device=self.device
        )

    # --- checkpoints ---

    def save(self, name: str, scores: Mapping[str, float]) -> None:
        """Write the checkpoint `last` or `best`; `scores` are of these very weights, if any."""
        card = {
            **provenance(),
            "seed": self.config.seed,
            "decisions": self.progress.decisions,
            "updates": self.progress.updates,
            "seconds": self.progress.seconds,
            "scenario": self.config.env.scenario,
            "scores": dict(scores),
        }
        checkpoint = make_checkpoint(
            self.learner.network, self.file, self.learner.state(), self.progress, card
        )
        self.folder.save(name, checkpoint)

    def _begin_with(self, name: str) -> None:
        """Take over the weights of a policy.

        Raises:
            CheckpointError: there is none, or it is of another network.
        """
        found = Policy.load(name, self.config.device)
        if (found.file.network, found.file.settings) != (self.file.network, self.file.settings):
            raise CheckpointError(f"begin_with: {name} is not of this run's network")
        self.learner.network.load_state_dict(found.network.state_dict())

    def _load(self, folder: RunFolder) -> None:
        if not folder.has_checkpoint("last"):
            raise CheckpointError(f"{folder.path}: holds no checkpoint to resume from")
        where = str(folder.checkpoint("last"))
        checkpoint = folder.read("last")
        if checkpoint.policy != self.file:
            raise CheckpointError(f"{where}: is not of this run's network and environment")
        if checkpoint.train_state is None:
            raise CheckpointError(f"{where}: has no training state, so it cannot be resumed")
        self.learner.network.load_state_dict(checkpoint.build(where).state_dict())
        state = dict(checkpoint.train_state)
        try:
            self.learner.restore(state)
            self.progress = Progress.from_tensors(state)
            torch.set_rng_state(state["random.torch"])
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{where}: training state does not fit: {error}") from None
        folder.history[:] = [
            record for record in folder.history if record["decisions"] <= self.progress.decisions
        ]
        self.latest = dict(checkpoint.card.get("scores", {}))
        self.best = min((record["gap"] for record in folder.history), default=float("inf"))

    # --- phases ---

    def run(self) -> None:
        """All phases, from wherever the run stands; then a last evaluation."""
        self._warm_up()
        phase = self.learner.phase
        if self.teacher is not None:
            phase = "imitation"
            self._imitate(self.teacher)
        if self.share < 1.0:
            phase = self.learner.phase
            self.learner.learn()
        self._evaluate(phase)

    def _warm_up(self) -> None:
        """Solve and compile what the phases need before the clock runs."""
        self.report("compile", 0.0, 0.0, {})
        if hasattr(self.config.agent, "imitation"):
            self.teacher, self.changes = self._make_teacher()
        if self.teacher is not None:
            self.teacher.label(self.make_vector(2, **self.changes))
        self.learner.prepare()
        self.held_out.prepare()
        self._started = time.perf_counter() - self.progress.seconds

    def _make_teacher(self) -> tuple[Teacher | None, dict[str, Any]]:
        """Return the teacher, or one for each scenario of a mixture, and options it needs."""
        names = parts_of(self.config.agent.imitation.teacher)
        if len(names) == 1:
            return self.problem.make_teacher(self.config)
        found = []
        for name in names:
            imitation = replace(self.config.agent.imitation, teacher=name)
            agent = replace(self.config.agent, imitation=imitation)
            found.append(self.problem.make_teacher(replace(self.config, agent=agent)))
        changes = {key: value for _, options in found for key, value in options.items()}
        return MixedTeacher([teacher for teacher, _ in found if teacher is not None]), changes

    def draw_schedule(self, policy: Policy, path: Path) -> None:
        """Draw the first held-out episode; put pictures into TensorBoard."""
        instance, episode = self.held_out.first_episode(policy)
        measure = self.held_out.measure
        found = self.held_out.arena.measure
        score = f"{found.words} {found.score_text(episode.objective)}"
        title = f"{policy.name}: {instance.name}, {score}"
        figure = self.problem.draw(instance, episode.schedule, path, title)
        self.logger.record("pictures/schedule", Figure(figure, close=True))
        curve = learning_curve(self.folder.history, measure.words)
        self.logger.record("pictures/learning_curve", Figure(curve, close=True))
        self.logger.dump(self.progress.decisions)

    def make_vector(self, lanes: int, **changes: Any) -> Any:
        """Return the training environment with so many lanes, seeded and reset.

        The scenarios of a mixture have as many lanes each, up to one.
        """
        scenarios = parts_of(self.options["scenario"])
        lanes = max(lanes, len(scenarios))
        rows = np.diff(np.linspace(0, lanes, len(scenarios) + 1).astype(int))
        # Large seeds, other ones after each resume; evaluation seeds are small.
        entropy = np.random.SeedSequence([self.config.seed, self.progress.decisions])
        parts = []
        for number, scenario in zip(rows.tolist(), scenarios, strict=True):
            vec = gym.make_vec(
                self.problem.env_id,
                num_envs=number,
                vectorization_mode="vector_entry_point",
                autoreset_mode="SameStep",
                copy=False,
                invalid_action="raise",
                **{**self.options, "scenario": scenario, **changes},
            ).unwrapped
            vec.reset(seed=int(entropy.generate_state(1, np.uint64)[0] >> 2) | 1 << 61)
            parts.append(vec)
        return parts[0] if len(parts) == 1 else Mixture(parts)

    @contextmanager
    def precision(self, reduced: bool) -> Iterator[None]:
        """Compute in bfloat16, or in float32 as the finished policy will."""
        parts = self.learner.networks()
        before = parts[0].reduced_precision
        for part in parts:
            part.reduced_precision = reduced
        try:
            yield
        finally:
            for part in parts:
                part.reduced_precision = before

    def _imitate(self, teacher: Teacher) -> None:
        settings = self.config.agent.imitation
        if self.share >= settings.share:
            return
        vec = self.make_vector(settings.num_envs, **self.changes)
        imitation = Imitation(
            vec,
            teacher,
            self.learner.student,
            self.learner.optimizer,
            label_every=settings.label_every,
            loss=settings.loss,
            temperature=settings.temperature,
            batch_size=settings.batch_size,
            reuse=settings.reuse,
            capacity=settings.capacity,
            value_coefficient=settings.value_coefficient,
            max_grad_norm=self.config.agent.max_grad_norm,
            device=self.device,
            rng=np.random.default_rng([self.config.seed, self.progress.decisions]),
        )
        rate = rate_of(settings.learning_rate)
        decisions, updates = self.progress.decisions, self.progress.updates
        while self.share < settings.share:
            spent = self.share / settings.share
            for group in self.learner.optimizer.param_groups:
                group["lr"] = rate(spent)
            with self.precision(self.bfloat16):
                imitation.collect(min(spent / max(settings.student_from, 1e-9), 1.0))
                record = imitation.update()
            self.progress.decisions = decisions + imitation.decisions
            self.progress.updates = updates + imitation.updates
            for key, value in record.items():
                self.logger.record_mean(f"imitation/{key}", value)
            self.tick("imitation")
        self.learner.forget_gradients()


LEARNERS: Mapping[type, Callable[[Trainer], Learner]] = {
    IndexConfig: IndexLearner,
    PPOConfig: PPOLearner,
    SACConfig: SACLearner,
    SelfLabellingConfig: SelfLabellingLearner,
}
"""Configuration of an agent -> how it learns."""


def check(config: TrainConfig) -> None:
    """Refuse settings that have no meaning together.

    Raises:
        ParameterError: the message names the setting.
    """
    budget = config.budget
    if not budget.steps and not budget.seconds:
        raise ParameterError("budget: found neither steps nor seconds, expected one of them")
    if not hasattr(config.agent, "imitation"):
        return
    imitation = config.agent.imitation
    if not 0 <= imitation.share <= 1:
        raise ParameterError(f"agent.imitation.share: found {imitation.share}, expected 0 to 1")


def use_bfloat16(choice: str) -> bool:
    """Whether to train in bfloat16: `on`, `off`, or `auto`, where the processor computes in it.

    Raises:
        ParameterError: another word.
    """
    if choice not in ("auto", "on", "off"):
        raise ParameterError(f"reduced_precision: found {choice!r}, expected auto, on or off")
    if choice != "auto":
        return choice == "on"
    return torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
