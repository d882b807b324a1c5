"""What the train command does around a training run: progress, table, pictures, words."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from dispatchgym.agents.curves import draw_learning_curve
from dispatchgym.agents.entrants import Search
from dispatchgym.agents.evaluation import EvaluationResult, evaluate
from dispatchgym.agents.players import NetworkPlayer
from dispatchgym.agents.policy import Policy
from dispatchgym.agents.runs import RunFolder
from dispatchgym.agents.training import TABLE_SEED, Report, Trainer
from dispatchgym.configs.schemas import TrainConfig, train_schema
from dispatchgym.envs.core.errors import ParameterError


def train_session(config: DictConfig) -> RunFolder:
    """Train, compare with the rules, draw pictures, and say where everything is.

    Args:
        config: the composed configuration of `train.yaml`.

    Raises:
        ParameterError: a setting has no meaning.
        CheckpointError: the run to resume has no usable checkpoint.
        KeyboardInterrupt: Ctrl-C, after saving and saying where.
    """
    console = Console()
    chosen = cast(TrainConfig, OmegaConf.to_object(config))
    resumed = None
    if chosen.resume:
        resumed = RunFolder.find(chosen.resume, chosen.runs, chosen.experiment_name)
        chosen = stored_config(resumed)
    with progress_bar(console) as report:
        trainer = Trainer(chosen, resumed, report)
        tell_start(console, trainer, resumed)
        try:
            with patient_interrupt(trainer):
                trainer.run()
        except KeyboardInterrupt:
            trainer.save("last", scores={})
            console.print(f"saved; go on with: resume={trainer.folder.path}", highlight=False)
            raise
    finish(console, trainer)
    trainer.logger.close()
    return trainer.folder


@contextmanager
def patient_interrupt(trainer: Trainer) -> Iterator[None]:
    """Let Ctrl-C end a training at its next report of progress, and a second one at once.

    An exception that a signal raises wherever the program happens to be may come between a lock
    and its release, or where a library swallows it: the run would hang, or go on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        trainer.interrupted = True
        trainer.report("stopping", trainer.share, trainer.progress.seconds, trainer.latest)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, ask)
    try:
        yield
        if trainer.interrupted:  # after the last report
            raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)


def stored_config(folder: RunFolder) -> TrainConfig:
    """The configuration a run was started with, checked against the schemas.

    Raises:
        ParameterError: the file was changed into something the schemas refuse.
    """
    stored = folder.config
    try:
        merged = OmegaConf.merge(train_schema(stored), stored)
        return cast(TrainConfig, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"{folder.path}/config.yaml: {reason}") from None


@contextmanager
def progress_bar(console: Console) -> Iterator[Report]:
    """A progress bar over the budget, with the time left."""
    bar = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[score]}"),
        console=console,
        refresh_per_second=2,
    )
    with bar:
        task = bar.add_task("start", total=1.0, left="", score="")

        def report(phase: str, share: float, seconds: float, scores: Mapping[str, float]) -> None:
            left = seconds * (1.0 - share) / share if share > 0 else 0.0
            score = f"{scores['vs_best_rule']:+.1%} vs best rule" if scores else ""
            bar.update(
                task,
                description=phase,
                completed=share,
                left=f"{int(left) // 60}:{int(left) % 60:02d} left",
                score=score,
            )

        yield report


def tell_start(console: Console, trainer: Trainer, resumed: RunFolder | None) -> None:
    """Say what starts, or from where it goes on and whether the scores are still the same."""
    if resumed is None:
        console.print(f"run folder: {trainer.folder.path}", highlight=False)
        return
    console.print(
        f"resumed {trainer.folder.path} after {trainer.progress.decisions} decisions, "
        f"{trainer.progress.seconds:.0f} s",
        highlight=False,
    )
    recorded = trainer.latest.get("objective")
    if recorded is not None:
        again = trainer.evaluate_now()["objective"]
        same = "as recorded" if again == recorded else f"recorded was {recorded:.6g}"
        words = trainer.held_out.measure.words
        console.print(f"held-out {words} {again:.6g}, {same}", highlight=False)


def finish(console: Console, trainer: Trainer) -> None:
    """Pictures and the comparison with every rule."""
    folder = trainer.folder
    policy = Policy.load(folder.checkpoint("best"), trainer.config.device)
    policy.name = f"{trainer.config.agent.name} (new)"
    words = trainer.held_out.measure.words
    pictures = [draw_learning_curve(folder.history, words, folder.path / "learning_curve.png")]
    if trainer.config.held_out.table:
        result = compare(trainer, policy)
        console.print(result.table(), highlight=False, markup=False)
        result.write(folder.path / "comparison.json")
    trainer.draw_schedule(policy, folder.path / "schedule.png")
    pictures.append(folder.path / "schedule.png")
    console.print(f"checkpoints: {folder.checkpoint('best')}, {folder.checkpoint('last')}")
    for picture in pictures:
        console.print(f"picture: {picture}", highlight=False)


def compare(trainer: Trainer, policy: Policy) -> EvaluationResult:
    """The policy against every rule on held-out episodes that nothing was chosen by."""
    held_out = trainer.config.held_out
    options = dict(trainer.held_out.arena.options)
    seeds = range(TABLE_SEED, TABLE_SEED + held_out.table_seeds)
    entrant = trainer.problem.policy_entrant(policy, Search()) or NetworkPlayer(policy)
    return evaluate(
        ["rules", entrant],
        trainer.held_out.scenario,
        seeds,
        problem=trainer.problem.name,
        options=options,
    )
