"""A Ray cluster as the place of work: actors that do jobs, wherever Ray finds room for them.

What jobs leave behind are files on a file system that all nodes share; through Ray go only the jobs
themselves and their short results.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.attempts import Failure
from harness.core.errors import DataError, UsageError, brief
from harness.core.processes import ENVIRONMENT, Losses, Task
from harness.core.source_digest import digest_of_sources

ANSWER_S = 20.0  # that a cluster has to accept a connection
POLL_S = 2.0  # how soon a node that joined gets work
PASSED_ON = ("HARNESS_", "HF_", "OPEN_CLIP_", "TORCH_")  # environment variables, by prefix
PATIENCE_S = 60.0  # before the user is told that no node has room
ROOT = Path(__file__).parents[2]
log = logging.getLogger("harness")


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what one worker takes of it.

    address: of the cluster, "auto" or "ray://host:10001"; None: $RAY_ADDRESS, the one that runs on
    this machine, or one of this machine alone that ends with the command. gpus: of a worker, may be
    a fraction; None: one where it works on CUDA. memory_gib: host memory that Ray sets aside for a
    worker.
    """

    address: str | None = None
    cpus: float = 1
    gpus: float | None = None
    memory_gib: float = 0

    def check(self) -> None:
        """What `connect` refuses, before any work; a cluster of this machine begins with the work.

        Raises as `connect`.
        """
        if self.address or os.environ.get("RAY_ADDRESS"):
            connect(self.address)
        elif find_spec("ray") is None:
            raise _not_installed()

    def needs(self, device: str) -> dict[str, float]:
        """What Ray sets aside for a worker, by the names of `options`."""
        gpus = float(device.startswith("cuda")) if self.gpus is None else self.gpus
        return {
            "num_cpus": self.cpus,
            "num_gpus": gpus,
            "memory": int(self.memory_gib * 2**30),
        }

    def run(
        self,
        function: Callable[..., Any],
        jobs: Sequence[Any],
        device: str,
        workers: int | None,
        start: Callable[..., Any] | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> Iterator[tuple[Any, Any]]:
        """(job, result or Failure) as they are done; arguments as those of parallel.run.

        workers: at most so many; None: as many as the cluster has room for, those of nodes that
        join later too. A job whose worker dies (killed, out of memory) is tried again, up to
        ATTEMPTS times; one whose node is lost, up to NODES times.
        """
        if not jobs:
            return
        connect(self.address)
        work = pickle.dumps((function, start, arguments))
        crew = _Crew(work, self.needs(device), workers)
        try:
            yield from crew.outcomes(jobs)
        finally:
            crew.close()


def connect(address: str | None) -> None:
    """Connect this process to the cluster, once.

    UsageError where Ray is not installed; DataError where the cluster does not answer.
    """
    if _has_token():  # `ray start` asks for it then, and Ray reads the mode as it is imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    # one worker's error ends the crew and is told by the command; Ray would log the others' too
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")
    try:
        import ray
    except ImportError:
        raise _not_installed() from None
    if ray.is_initialized():
        return
    _check_answers(address or os.environ.get("RAY_ADDRESS"))
    with _own_signals():
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError, TimeoutError) as error:
            where = "a Ray cluster" if address is None else f"the Ray cluster at {address}"
            raise DataError(f"cannot connect to {where}: {brief(error)}") from error


def _has_token() -> bool:
    """Whether there is a token for clusters; those that ask for none ignore it."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def _not_installed() -> UsageError:
    how = "pip install 'discl-harness[ray]'"
    return UsageError(f"--engine ray needs Ray, which is not installed: {how}")


def _check_answers(address: str | None) -> None:
    """DataError where nobody listens at host:port: Ray itself tries for minutes, and ends us."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        where = f"the Ray cluster at {address}"
        raise DataError(f"cannot connect to {where}: {brief(error)}") from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the command keeps its own handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Worker:
    """What an actor does, in a process of its own on some node."""

    def __init__(self, work: bytes, folder: str, sources: str) -> None:
        self.work, self.folder, self.sources = work, folder, sources

    def begin(self) -> str:
        """Load what jobs need; the id of the node.

        DataError on a node that lacks the folder or has other code.
        """
        import ray

        host = socket.gethostname()
        if digest_of_sources() != self.sources:
            raise DataError(f"node {host} has other sources of the harness in {ROOT}")
        try:
            os.chdir(self.folder)
        except OSError as error:
            why = f"{self.folder} cannot be entered there ({error.strerror})"
            raise DataError(f"node {host}: {why}; all nodes share one file system") from None
        function, start, arguments = pickle.loads(self.work)
        self.function = function
        self.states = () if start is None else (start(*arguments),)
        return str(ray.get_runtime_context().get_node_id())

    def do(self, job: bytes) -> Any:
        return self.function(*self.states, pickle.loads(job))


class _Crew:
    """Actors and their jobs; Ray decides where an actor lives, and when there is room for it."""

    def __init__(self, work: bytes, needs: dict[str, float], workers: int | None) -> None:
        import ray

        self.ray, self.needs, self.workers = ray, needs, workers
        remote: Any = ray.remote(Worker)
        remote = remote.options(**needs, max_restarts=0, runtime_env={"env_vars": _environment()})
        self.arguments = ray.put(work), str(Path.cwd()), digest_of_sources()
        self.new = lambda: remote.remote(*self.arguments)
        self.actors: list[Any] = []
        self.starting: dict[Any, Any] = {}  # actor by reference
        self.free: list[Any] = []
        self.busy: dict[Any, tuple[Any, Task]] = {}
        self.nodes: dict[Any, str] = {}  # by actor
        self.losses, self.patience = Losses(), time.monotonic() + PATIENCE_S

    def outcomes(self, jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        waiting = deque(Task(job) for job in jobs)
        while waiting or self.busy:
            self._grow(len(waiting) + len(self.busy))
            self._occupy(waiting)
            references = [*self.starting, *self.busy]
            ready = self.ray.wait(references, num_returns=1, timeout=POLL_S)[0]
            self._tell_of_waiting()
            for reference in ready:
                outcome = self._outcome(reference, waiting)
                self._occupy(waiting)
                if outcome is not None:
                    yield outcome

    def _grow(self, tasks: int) -> None:
        """As many actors as the cluster has room for, and there are tasks.

        One even where there is no room: Ray then knows that a node is wanted.
        """
        count = min(tasks, max(1, self._room()) if self.workers is None else self.workers)
        while len(self.actors) < count:
            actor = self.new()
            self.actors.append(actor)
            self.starting[actor.begin.remote()] = actor

    def _tell_of_waiting(self) -> None:
        """Once, where no worker has begun for a while."""
        if self.losses.useful or self.busy:
            self.patience = math.inf
        if time.monotonic() > self.patience:
            self.patience = math.inf
            needs = ", ".join(f"{name} {value:g}" for name, value in self.needs.items() if value)
            log.warning("no node of the Ray cluster has room for a worker (%s) yet", needs)

    def _room(self) -> int:
        """Actors that the nodes of the cluster could have together."""
        count = 0
        names = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
        for node in self.ray.nodes():
            whole = node["Resources"] if node["Alive"] else {}
            shares = [
                whole.get(name, 0) / self.needs[need]
                for name, need in names.items()
                if self.needs[need]
            ]
            count += math.floor(min(shares, default=1) + 1e-9)
        return count

    def _occupy(self, waiting: deque[Task]) -> None:
        while self.free and waiting:
            actor, task = self.free.pop(), waiting.popleft()
            self.busy[actor.do.remote(pickle.dumps(task.job))] = actor, task

    def _outcome(self, reference: Any, waiting: deque[Task]) -> tuple[Any, Any] | None:
        """What a finished call says; None for the start of a worker, and for one that was lost."""
        exceptions = self.ray.exceptions
        begun = self.starting.pop(reference, None)
        actor, task = (begun, None) if begun is not None else self.busy.pop(reference)
        try:
            result = self.ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else error
            if task is None:
                raise cause from error
            cause.__cause__ = error if cause is not error else None
            result = Failure(cause)
        except exceptions.RayError as error:
            failure = self.losses.outcome(task or Task(None), self._node_is_lost(actor, error))
            self._dismiss(actor)
            if task is None or failure is None:
                waiting.extend([] if task is None else [task])
                return None
            return task.job, failure
        self.free.append(actor)
        if task is None:
            self.nodes[actor] = result
            return None
        self.losses.done()
        return task.job, result

    def _node_is_lost(self, actor: Any, error: BaseException) -> bool:
        """Whether an actor was lost with its node, which says nothing about its job."""
        dead = {node["NodeID"] for node in self.ray.nodes() if not node["Alive"]}
        return self.nodes.get(actor) in dead or "node has died" in str(error)

    def _dismiss(self, actor: Any) -> None:
        self.actors.remove(actor)
        self.nodes.pop(actor, None)
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)

    def close(self) -> None:
        """End the actors; those that are lost already are no matter."""
        for actor in list(self.actors):
            self._dismiss(actor)


def _environment() -> dict[str, str]:
    """Environment variables of an actor: one thread, and what says where data and models are."""
    own = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return own | ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
