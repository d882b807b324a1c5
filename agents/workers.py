"""Who plays the episodes of an evaluation: this process, or workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatchgym.agents.arena import MAX_LANES
from dispatchgym.envs.core.errors import EvaluationError, ParameterError

if TYPE_CHECKING:
    from dispatchgym.agents.evaluation import Block, Evaluation

__all__ = ["Workers", "play_on_ray"]

NAMES = ("local", "ray")
RETRIES = 3
"""How often a block is played again whose worker was lost; one that kills every worker it gets
must not do so for ever."""


@dataclass(frozen=True)
class Workers:
    """Who plays, and in pieces of what size.

    Rows are the same whoever plays, times apart. The size of a block changes only what draws
    random numbers for a whole block: test-time searches of a policy.

    Attributes:
        name: ``local``, or ``ray``: worker processes, started here or of an existing cluster.
        count: number of worker processes; 0: one for each of the cluster's `threads` cores.
        address: of an existing cluster, as `ray.init` takes it; None: that of the environment
            variable RAY_ADDRESS, else a cluster of this machine alone, as long as it is needed.
        threads: cores of a worker.
        block: most seeds of a scenario that are one task.

    Raises:
        ParameterError: a field is out of range.
    """

    name: str = "local"
    count: int = 0
    address: str | None = None
    threads: int = 1
    block: int = MAX_LANES

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.name not in NAMES:
            raise ParameterError(f"workers: found {self.name!r}, expected {' or '.join(NAMES)}")
        for name, least in (("count", 0), ("threads", 1), ("block", 1)):
            if getattr(self, name) < least:
                raise ParameterError(
                    f"workers.{name}: found {getattr(self, name)}, expected at least {least}"
                )


class Worker:
    """Plays blocks of one evaluation in a process of its own."""

    def __init__(self, evaluation: Evaluation, threads: int) -> None:
        """Load and compile everything, so that no agent's time contains it."""
        import numba

        numba.set_num_threads(min(threads, numba.get_num_threads()))
        self.evaluation = evaluation
        self.evaluation.warm_up()

    def play(self, number: int) -> Block:
        """Play a block."""
        return self.evaluation.play(number, lambda *_: None)


def play_on_ray(
    evaluation: Evaluation, workers: Workers, tell: Callable[[str, int], None]
) -> Iterator[tuple[int, Block]]:
    """Play all blocks of an evaluation; a lost worker is replaced and its block played again.

    Args:
        evaluation: sent to every worker as it is: they need none of its files.
        workers: how many, and where.
        tell: told of each block that is finished.

    Yields:
        Number and result of a block, as they are finished.

    Raises:
        ParameterError: Ray is not installed, or there is no cluster at the address.
        EvaluationError: an agent failed, or the same block lost its worker again and again.
    """
    ray = _ray()
    started = _connect(ray, workers)
    pool: list[Any] = []
    try:
        count = workers.count or int(ray.cluster_resources().get("CPU", 1)) // workers.threads
        make = ray.remote(num_cpus=workers.threads, max_restarts=-1, max_task_retries=RETRIES)(
            Worker
        ).remote
        shared = ray.put(evaluation)
        todo = list(range(len(evaluation.steps)))[::-1]
        pool = [make(shared, workers.threads) for _ in range(max(1, min(count, len(todo))))]
        tell(f"starting {len(pool)} workers", 0)
        running = {}
        for worker in pool:
            number = todo.pop()
            running[worker.play.remote(number)] = number, worker
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            number, worker = running.pop(done)
            yield number, _result(ray, done)
            tell(evaluation.steps[number][0].name, evaluation.work(number))
            if todo:
                following = todo.pop()
                running[worker.play.remote(following)] = following, worker
    finally:
        for worker in pool:
            ray.kill(worker)
        if started:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise ParameterError(
            "workers: found 'ray', which is not installed: pip install \"dispatchgym[ray]\""
        ) from None
    return ray


def _connect(ray: Any, workers: Workers) -> bool:
    """Connect to the cluster unless this process is; return whether to leave it at the end."""
    if ray.is_initialized():
        return False
    try:
        ray.init(address=workers.address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError(f"workers.address: found {workers.address!r}: {reason}") from None
    return True


def _result(ray: Any, done: Any) -> Block:
    """Return a block, or raise what was raised where it was played."""
    try:
        block: Block = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayActorError as error:
        reason = str(error).splitlines()[0]
        raise EvaluationError(
            f"workers: a block of episodes lost its worker {RETRIES + 1} times: {reason}"
        ) from None
    return block
