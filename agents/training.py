"""One training run: imitation, then reinforcement learning, evaluated on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, Logger, configure

from dispatchgym.agents.arena import Arena, Episode
from dispatchgym.agents.checkpoints import PolicyFile
from dispatchgym.agents.curves import learning_curve
from dispatchgym.agents.evolution import Evolution
from dispatchgym.agents.imitation import Imitation, Teacher
from dispatchgym.agents.policy import Policy, choose_device
from dispatchgym.agents.ppo import TimedRolloutBuffer, make_ppo
from dispatchgym.agents.problems import find_problem
from dispatchgym.agents.problems.base import Problem
from dispatchgym.agents.provenance import provenance
from dispatchgym.agents.runs import (
    Progress,
    RunFolder,
    make_checkpoint,
    restore_optimizer,
)
from dispatchgym.agents.schedules import learning_rate
from dispatchgym.configs.schemas import IndexConfig, LearningRateConfig, TrainConfig
from dispatchgym.envs.core.adapters import to_sb3
from dispatchgym.envs.core.errors import CheckpointError, ParameterError
from dispatchgym.envs.core.simulation import Simulation
from dispatchgym.models import build_network

if TYPE_CHECKING:
    from collections.abc import Iterator

Report = Callable[[str, float, float, Mapping[str, float]], None]
"""Told the phase, the spent share of the budget, seconds so far and the latest scores."""

HELD_OUT_SEED = 500_000
"""First seed of the evaluations on the way: they choose the checkpoint `best`, so that no table
may use their episodes."""
TABLE_SEED = 10_000
"""First seed of the comparison after training."""


class Trainer:
    """One run: everything it needs, and its two phases.

    Attributes:
        folder: where it lives on disk; has the checkpoints `last` and `best`.
        progress: how far it is.
        latest: scores of the last held-out evaluation.
        held_out: the episodes of these evaluations.
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
        if config.threads:
            torch.set_num_threads(config.threads)
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
        self.network = build_network(self.file.network, self.file.settings, "model").to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.progress = Progress()
        self.latest: dict[str, float] = {}
        self.best = float("inf")
        self.held_out = HeldOut(config, self.problem, self.options)
        self.folder = resume or RunFolder.create(
            config.runs, config.experiment_name, asdict(config)
        )
        if resume is not None:
            self._load(resume)
        self.logger: Logger = configure(str(self.folder.path / "tensorboard"), ["tensorboard"])
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

    def _tell(self, phase: str) -> float:
        share = self.share
        self.report(phase, share, self.progress.seconds, self.latest)
        return share

    def _tick(self, phase: str) -> None:
        """Evaluate and save when it is time to."""
        share = self._tell(phase)
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
        return Policy(self.network, self.file, name=self.config.agent.name, device=self.device)

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
        checkpoint = make_checkpoint(self.network, self.file, self.optimizer, self.progress, card)
        self.folder.save(name, checkpoint)

    def _load(self, folder: RunFolder) -> None:
        if not folder.has_checkpoint("last"):
            raise CheckpointError(f"{folder.path}: holds no checkpoint to resume from")
        where = str(folder.checkpoint("last"))
        checkpoint = folder.read("last")
        if checkpoint.policy != self.file:
            raise CheckpointError(f"{where}: is not of this run's network and environment")
        if checkpoint.train_state is None:
            raise CheckpointError(f"{where}: has no training state, so it cannot be resumed")
        self.network.load_state_dict(checkpoint.build(where).state_dict())
        state = dict(checkpoint.train_state)
        try:
            restore_optimizer(self.optimizer, state)
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
        if isinstance(self.config.agent, IndexConfig):
            self._evaluate(self._breed())
        else:
            self._evaluate(self._learn())

    def _breed(self) -> str:
        """Train by evolution strategies; return the name of the phase."""
        agent = self.config.agent
        self.report("compile", 0.0, 0.0, {})
        playgrounds = self.problem.make_playgrounds(self.config)
        rng = np.random.default_rng([self.config.seed, self.progress.updates])
        evolution = Evolution(
            playgrounds,
            self.network,
            self.optimizer,
            pairs=agent.pairs,
            deviation=agent.deviation,
            keep=agent.keep,
            rng=rng,
        )
        self.held_out.prepare()
        evolution.warm_up()
        self._started = time.perf_counter() - self.progress.seconds
        rate = rate_of(agent.learning_rate)
        decisions, updates = self.progress.decisions, self.progress.updates
        while (share := self.share) < 1.0:
            for group in self.optimizer.param_groups:
                group["lr"] = rate(share)
            self.logger.record_mean("evolution/score", evolution.step())
            self.progress.updates = updates + evolution.updates
            self.progress.decisions = decisions + evolution.decisions
            self._tick("evolution")
        return "evolution"

    def _learn(self) -> str:
        """Imitate, then reinforce; return the name of the last phase."""
        self._warm_up()
        phase = "ppo"
        if self.teacher is not None:
            phase = "imitation"
            self._imitate(self.teacher)
        if self.share < 1.0:
            phase = "ppo"
            self._reinforce()
        return phase

    def _warm_up(self) -> None:
        """Solve and compile what the phases need before the clock runs."""
        self.report("compile", 0.0, 0.0, {})
        self.teacher, self.changes = self.problem.make_teacher(self.config)
        vec = self._vector(2, **self.changes)
        if self.teacher is not None:
            self.teacher.label(vec)
        vec.step(vec.rule_action(vec.rules[0]))
        self.held_out.prepare()
        self._started = time.perf_counter() - self.progress.seconds

    def draw_schedule(self, policy: Policy, path: Path) -> None:
        """Draw the first held-out episode; put pictures into TensorBoard."""
        instance, episode = self.held_out.first_episode(policy)
        measure = self.held_out.measure
        score = f"{measure.words} {measure.score_text(episode.objective)}"
        title = f"{policy.name}: {instance.name}, {score}"
        figure = self.problem.draw(instance, episode.schedule, path, title)
        self.logger.record("pictures/schedule", Figure(figure, close=True))
        curve = learning_curve(self.folder.history, measure.words)
        self.logger.record("pictures/learning_curve", Figure(curve, close=True))
        self.logger.dump(self.progress.decisions)

    def _vector(self, lanes: int, **changes: Any) -> Any:
        vec = gym.make_vec(
            self.problem.env_id,
            num_envs=lanes,
            vectorization_mode="vector_entry_point",
            autoreset_mode="SameStep",
            copy=False,
            invalid_action="raise",
            **{**self.options, **changes},
        ).unwrapped
        # Large seeds, other ones after each resume; evaluation seeds are small.
        entropy = np.random.SeedSequence([self.config.seed, self.progress.decisions])
        vec.reset(seed=int(entropy.generate_state(1, np.uint64)[0] >> 2) | 1 << 61)
        return vec

    @contextmanager
    def _precision(self, reduced: bool) -> Iterator[None]:
        """Compute in bfloat16, or in float32 as the finished policy will."""
        before = self.network.reduced_precision
        self.network.reduced_precision = reduced
        try:
            yield
        finally:
            self.network.reduced_precision = before

    def _imitate(self, teacher: Teacher) -> None:
        settings = self.config.agent.imitation
        if self.share >= settings.share:
            return
        vec = self._vector(settings.num_envs, **self.changes)
        imitation = Imitation(
            vec,
            teacher,
            self.network,
            self.optimizer,
            label_every=settings.label_every,
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
            for group in self.optimizer.param_groups:
                group["lr"] = rate(spent)
            with self._precision(self.bfloat16):
                imitation.collect(min(spent / max(settings.student_from, 1e-9), 1.0))
                record = imitation.update()
            self.progress.decisions = decisions + imitation.decisions
            self.progress.updates = updates + imitation.updates
            for key, value in record.items():
                self.logger.record_mean(f"imitation/{key}", value)
            self._tick("imitation")
        # The last gradients of imitation are small: with their scale the first steps for
        # another loss would be far too long.
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def _reinforce(self) -> None:
        agent = self.config.agent
        vec = self._vector(agent.num_envs)
        before = agent.imitation.share if self.teacher is not None else 0.0
        rate = rate_of(agent.learning_rate)
        model = make_ppo(
            to_sb3(vec),
            self.network,
            self.optimizer,
            lambda: rate((self.share - before) / max(1.0 - before, 1e-9)),
            seed=self.config.seed + self.progress.decisions,
            device=self.device,
            n_steps=agent.n_steps,
            batch_size=agent.batch_size,
            n_epochs=agent.n_epochs,
            gamma=agent.gamma,
            gae_lambda=agent.gae_lambda,
            clip_range=agent.clip_range,
            ent_coef=agent.ent_coef,
            vf_coef=agent.vf_coef,
            max_grad_norm=agent.max_grad_norm,
            target_kl=agent.target_kl,
            time_constant=agent.time_constant,
        )
        model.set_logger(self.logger)
        model.num_timesteps = self.progress.decisions
        callback = _Reinforcement(self, vec.simulation)
        with self._precision(self.bfloat16):
            model.learn(2**62, callback=callback, reset_num_timesteps=False)


class _Reinforcement(BaseCallback):
    """Lets the trainer look in on PPO between updates, and stop it when the budget is spent."""

    def __init__(self, trainer: Trainer, simulation: Simulation) -> None:
        super().__init__()
        self.trainer, self.simulation = trainer, simulation
        self.updates = trainer.progress.updates

    def _on_rollout_start(self) -> None:
        trainer = self.trainer
        trainer.progress.decisions = self.num_timesteps
        trainer.progress.updates = self.updates + self.model._n_updates
        with trainer._precision(reduced=False):
            trainer._tick("ppo")

    def _on_step(self) -> bool:
        buffer = getattr(self.model, "rollout_buffer", None)
        if isinstance(buffer, TimedRolloutBuffer):
            buffer.note(self.simulation.step_infos()["elapsed"])
        self.trainer.progress.decisions = self.num_timesteps
        return self.trainer._tell("ppo") < 1.0


def check(config: TrainConfig) -> None:
    """Refuse settings that have no meaning together.

    Raises:
        ParameterError: the message names the setting.
    """
    budget = config.budget
    if not budget.steps and not budget.seconds:
        raise ParameterError("budget: found neither steps nor seconds, expected one of them")
    if isinstance(config.agent, IndexConfig):
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


def rate_of(settings: LearningRateConfig) -> Callable[[float], float]:
    """The learning rate a configuration names, as a function of progress."""
    return learning_rate(settings.schedule, settings.initial, settings.final)


class HeldOut:
    """The same held-out episodes each time, and what the rules make of them.

    Attributes:
        scenario: what is played.
        arena: the episodes.
        measure: what their objective is.
    """

    def __init__(self, config: TrainConfig, problem: Problem, options: Mapping[str, Any]) -> None:
        """Find the instances; rules play when the first score is asked for."""
        held_out = config.held_out
        chosen = dict(options)
        trained_on = chosen.pop("scenario")
        self.scenario = held_out.scenario or trained_on
        if held_out.level is not None:
            chosen = problem.at_level(chosen, held_out.level)
        seeds = tuple(range(HELD_OUT_SEED, HELD_OUT_SEED + held_out.seeds))
        self.arena = Arena(problem, self.scenario, seeds, chosen)
        self.measure = self.arena.measure
        self._rules: dict[str, float] = {}
        self._references: list[float] = []

    def prepare(self) -> None:
        """Do what takes time and is needed once: play the rules, find the references."""
        problem = self.arena.problem
        if not self._rules:
            for rule in problem.rules():
                played = self.arena.run_rule(rule, **problem.rule_options)
                self._rules[rule] = _mean(played)
            self._references = [problem.held_out_reference(i) for i in self.arena.instances]

    def _play(self, policy: Policy) -> list[Episode]:
        return self.arena.play(lambda _, observation: policy.act(observation))[0]

    def score(self, policy: Policy) -> dict[str, float]:
        """Let the policy play greedily.

        Returns:
            `objective` (mean), `gap` (mean over the episodes that have one), `best_rule` (mean
            objective of the best rule) and `vs_best_rule` (the difference to it as a fraction:
            negative is better, whether more or less is).
        """
        self.prepare()
        episodes = self._play(policy)
        gaps = [
            self.measure.gap(episode.objective, reference)
            for episode, reference in zip(episodes, self._references, strict=True)
        ]
        objective = _mean(episodes)
        best_rule = min(self._rules.values(), key=self.measure.cost)
        return {
            "objective": objective,
            "gap": float(np.nanmean(gaps)),
            "best_rule": best_rule,
            "vs_best_rule": self.measure.gap(objective, best_rule),
        }

    def first_episode(self, policy: Policy) -> tuple[Any, Episode]:
        """Instance and greedy episode of the first held-out seed."""
        return self.arena.instances[0], self._play(policy)[0]


def _mean(episodes: list[Episode]) -> float:
    return float(np.mean([episode.objective for episode in episodes]))
