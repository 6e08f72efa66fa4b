"""Commands in processes of their own, which can be killed, limited and deprived; each a fork of a
server that has imported everything, so that a command starts in a fraction of a second.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import small_workspace

from harness.core.parallel import run as RUN  # before anything takes its place

SET = "cifar100-lt"
ROOT = Path(__file__).parents[2]
PRELOADED = [
    "encodings.utf_8_sig", "torch", "polars", "pyarrow", "pyarrow.parquet", "scipy.stats",
    "open_clip",
    "diffusers", "children", "small_workspace", "harness.api.steps", "harness.api.result",
    "harness.api.exports", "harness.cli.tools", "harness.report", "harness.generation.engine",
    "harness.generation.clip_scores", "harness.training.trainer", "harness.pipeline.runs",
]  # fmt: skip
PARAMS: dict[str, Any] = small_workspace.SMALL | {
    "imbalances": [100],  # 6 hard images
    "levels": [0.0, 0.3, 0.5],  # a shard each
    "pool_seeds": [10],
    "steps": 2,
    "scratch": {"epochs": 2},
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock")


def trials(small: int) -> int:
    """How many trials of a kind to do: so many, or $ATTACK_TRIALS."""
    return int(os.environ.get("ATTACK_TRIALS", small))


def seeds(small: int, at_least: int = 1) -> list[int]:
    """Seeds of the trials of a kind, which pytest prints with their tests; from $ATTACK_SEED."""
    first = int(os.environ.get("ATTACK_SEED", "0"))
    return list(range(first, first + max(at_least, trials(small))))


def sampled(values: list[Any], few: int) -> list[Any]:
    """Some values at even distances, all of them where more trials are wanted."""
    if "ATTACK_TRIALS" in os.environ or len(values) <= few:
        return values
    if few == 1:
        return values[:1]
    return [values[round(i * (len(values) - 1) / (few - 1))] for i in range(few)]


@dataclass(frozen=True)
class Conditions:
    """Under which a command runs.

    signal_at: the file event (below `home`, from 1) before which it gets `signal`. streams: files
    to open instead of its standard streams, by descriptor; None closes one. limits: soft limits by
    resource; of RLIMIT_AS, what is allowed beyond the present size.
    """

    models: Path | None = None
    home: Path | None = None
    signal_at: int = 0
    signal: int = signal.SIGKILL
    streams: Mapping[int, str | None] = field(default_factory=dict)
    environment: Mapping[str, str | None] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    encoding: str = "utf-8"
    user: int | None = None
    before: Callable[[], None] | None = None


@dataclass
class Child:
    """A command that runs, and what it said."""

    process: Any
    log: Path

    def end(self, timeout_s: float = 120) -> int:
        """Its exit code, negative for a signal; it is killed and fails when it takes longer."""
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"it hung: {self.out} {self.err}")
        return int(self.process.exitcode)

    @property
    def out(self) -> str:
        return self._read("out")

    @property
    def err(self) -> str:
        return self._read("err")

    def _read(self, name: str) -> str:
        path = self.log / name
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def events(self) -> int:
        return int(json.loads((self.log / "events").read_text()))


class Server:
    """Starts commands; `log` gets a folder for each."""

    def __init__(self, log: Path) -> None:
        paths = [str(ROOT), str(Path(__file__).parent)]
        self.environment = {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self.environment |= {"POLARS_MAX_THREADS": "1"}
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOADED)
        self.log, self.count = log, 0

    def start(self, arguments: Sequence[Any], conditions: Conditions | None = None) -> Child:
        self.count += 1
        log = self.log / str(self.count)
        log.mkdir(parents=True)
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        words = [str(a) for a in arguments]
        process = self.context.Process(
            target=_command, args=(words, conditions or Conditions(), log)
        )
        process.start()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        return Child(process, log)

    def run(
        self, arguments: Sequence[Any], conditions: Conditions | None = None
    ) -> tuple[int, str, str]:
        """Exit code, standard output and error."""
        child = self.start(arguments, conditions)
        return child.end(), child.out, child.err


def _command(words: list[str], conditions: Conditions, log: Path) -> None:
    from harness.cli.main import main
    from harness.core import parallel
    from harness.mini import weights

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell's `&` ignores
    parallel.run = small_workspace.here  # type: ignore[assignment]
    if conditions.models is not None:
        weights.MODELS = conditions.models
    _streams(conditions, log)
    for name, value in conditions.environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    if conditions.user is not None:
        os.setgid(conditions.user)
        os.setuid(conditions.user)
    for kind, limit in conditions.limits.items():
        extra = _size() if kind == resource.RLIMIT_AS else 0
        resource.setrlimit(kind, (extra + limit, resource.getrlimit(kind)[1]))
    if conditions.home is not None:
        _watch(conditions, log)
    if conditions.before is not None:
        conditions.before()
    code = main(words)
    os._exit(code)


def _size() -> int:
    """Bytes of address space of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _streams(conditions: Conditions, log: Path) -> None:
    files: dict[int, str | None] = {1: str(log / "out"), 2: str(log / "err")}
    for descriptor, name in (files | dict(conditions.streams)).items():
        if name is None:
            os.close(descriptor)
            continue
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, descriptor)
        os.close(handle)
    sys.stdout, sys.stderr = (_text(n, conditions) for n in (1, 2))


def _text(descriptor: int, conditions: Conditions) -> Any:
    """The text stream that Python would have made of a descriptor."""
    try:
        raw = io.FileIO(descriptor, "w", closefd=False)
    except OSError:
        return None
    strict = "strict" if descriptor == 1 else "backslashreplace"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), conditions.encoding, strict, line_buffering=descriptor == 2
    )


def _watch(conditions: Conditions, log: Path) -> None:
    """Count the file events below `home`, and send the signal before one of them."""
    home, count = str(conditions.home), 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            counts = str(args[0]).startswith(home) and bool((args[2] or 0) & WRITES)
        elif event == "fcntl.flock":
            counts = True
        else:
            counts = event in CHANGES and str(args[0]).startswith(home)
        if counts:
            count += 1
            if count == conditions.signal_at:
                os.kill(os.getpid(), conditions.signal)

    sys.addaudithook(hook)
    leave = os._exit

    def leaving(code: int) -> None:
        (log / "events").write_text(str(count))
        leave(code)

    os._exit = leaving  # type: ignore[assignment]


# What a command begins with, if asked: functions of a module that any process can import.


def pause() -> None:
    print("begins", file=sys.stderr)
    time.sleep(0.5)


def as_rank() -> None:
    """Jobs are divided as the processes of a launcher divide them."""
    from harness.core import parallel

    parallel.run = RUN


def note_runs() -> None:
    """Each run that is trained adds a line to $NOTES."""
    from harness.pipeline import runs

    train = runs._train_here

    def noted(job: Any, machine: Any) -> Any:
        with open(os.environ["NOTES"], "a") as file:
            file.write(f"{job.name}\n")
        return train(job, machine)

    runs._train_here = noted


def fail_oddly() -> None:
    import tempfile

    from harness.results import tables

    tempfile.tempdir = None  # as in a new process

    def fail(*_: object) -> str:
        raise type("PanicException", (BaseException,), {})("called `unwrap` on\nnothing")

    tables.render = fail  # type: ignore[assignment]


def ignore_size_signal() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def write_params(home: Path, **changes: Any) -> None:
    """params.yaml of a home, so that commands have a workspace as small as this module's."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "params.yaml").write_text(json.dumps({"smoke": {SET: PARAMS | changes}}))


STAGES = ("index", "hard", "generate", "score", "train")
OUTPUTS = ("table", "export", "report")


def words(name: str, home: Path, data: Path) -> list[str]:
    """Arguments of a command on the small workspace, with what it writes below `home`."""
    options = ["--profile", "smoke", "--dataset", SET, "--home", str(home)]
    rooted = [*options, "--root", str(data)]
    rows = ["--rows", "CE", "CE+DisCL"]
    return {
        "generate": ["generate", *rooted],
        "train": ["train", *rooted, *rows, "--seeds", "0"],
        "compare": ["compare", *rooted, *rows, "--seeds", "0"],
        "table": ["table", *options, "--out", f"{home}/table.md"],
        "export": ["cache", "export", *rooted, "--to", f"{home}/export"],
        "verify": ["verify", *rooted],
        "gc": ["cache", "gc", *rooted],
        "report": ["report", *options, "--out", f"{home}/report.html"],
    }.get(name, [name, *rooted])


# The digest is over the others, and run.json, whose digest done.json has, is about the machine.
VOLATILE = ("train_s", "date", "machine", "seconds", "digest", "run.json")


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, without what differs from call to call: times and machines.

    Whether digests are right is not asked here; whoever reads the files does.
    """
    return {
        str(path.relative_to(folder)): _steady(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _steady(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    return json.dumps(_without(json.loads(data)), sort_keys=True).encode()


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in VOLATILE}
    return [_without(v) for v in value] if isinstance(value, list) else value


def temporaries(folder: Path) -> list[str]:
    """Names of temporary files and folders below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*.tmp"))


def chosen(seed: int, events: int) -> int:
    """The file event of a trial, from 1."""
    return random.Random(seed).randint(1, max(1, events))


def wait_until(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
