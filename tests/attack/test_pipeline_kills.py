"""`dvc repro` killed at any moment: the same command ends as it would have."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import children
import dvc_pipeline
import pytest
from dvc_pipeline import STAGES, Checkout, Kill

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
LOCK, IN_USE = "dvc.lock", ".dvc/tmp/rwlock"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which every stage was done once, undisturbed."""
    checkout = dvc_pipeline.checkout(tmp_path_factory.mktemp("pipeline") / "home")
    checkout.undisturbed()
    return checkout


def at_an_event(pipeline: Checkout, stage: str, some: random.Random) -> Kill:
    """Of DVC; soon after it, too, when a file may be half-written."""
    event = some.randint(1, pipeline.events[stage])
    return Kill(event=event, after_s=some.choice([0.0, some.uniform(0, 0.003)]))


def at_a_moment(number: signal.Signals, group: bool) -> Callable[..., Kill]:
    def kill(pipeline: Checkout, stage: str, some: random.Random) -> Kill:
        return Kill(number, group, after_s=some.uniform(0, pipeline.seconds[stage]))

    return kill


KILLS = {
    "event": at_an_event,
    "SIGKILL": at_a_moment(signal.SIGKILL, True),
    "SIGKILL of make": at_a_moment(signal.SIGKILL, False),
    "SIGTERM": at_a_moment(signal.SIGTERM, False),
    "SIGINT": at_a_moment(signal.SIGINT, False),
    "SIGINT of all": at_a_moment(signal.SIGINT, True),
}


def ends_as_undisturbed(pipeline: Checkout, stage: str) -> None:
    code, text = pipeline.repro(stage)
    assert code == 0, text
    assert pipeline.made() == pipeline.contents[stage]
    assert children.temporaries(pipeline.folder) == []
    assert not (pipeline.folder / ".dvc/tmp/dvc.lock.before").exists()
    assert "up to date" in pipeline.dvc("status", stage)


@pytest.mark.parametrize("seed", children.seeds(len(KILLS), len(KILLS)))
def test_a_killed_pipeline_ends_as_an_undisturbed_one(pipeline: Checkout, seed: int):
    """What a kill of `make` alone leaves running is waited for."""
    some, name = random.Random(seed), list(KILLS)[seed % len(KILLS)]
    stage = some.choice(STAGES)
    pipeline.reset_before(stage)
    kill = KILLS[name](pipeline, stage, some)
    code, _ = pipeline.repro(stage, kill)
    print(f"{name}, seed {seed}: {stage}, {kill}: exit code {code}")
    ends_as_undisturbed(pipeline, stage)


def cut(path: Path) -> None:
    """In the middle of the last stage."""
    path.write_bytes(path.read_bytes()[:-100])


def of_another(path: Path) -> None:
    """DVC's list of the files in use, with a process that is not DVC's."""
    entry = {"pid": os.getppid(), "cmd": "repro"}
    target = str(path.parents[2] / "work/mini" / dvc_pipeline.SET / "hard.parquet")
    path.write_text(json.dumps({"write": {target: entry}, "read": {}}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (LOCK, cut),
        (LOCK, lambda path: path.write_bytes(b"")),
        (LOCK, lambda path: path.write_bytes(b"schema: '2.0'\nstages:\n  index@")),
        (IN_USE, lambda path: path.write_bytes(b"")),
        (IN_USE, lambda path: path.write_bytes(b'{"write": {"a"')),
        (IN_USE, of_another),
    ],
)
def test_what_a_kill_leaves_of_dvc_s_own_files(
    pipeline: Checkout, name: str, damage: Callable[[Path], object]
):
    """DVC writes them in place."""
    stage = STAGES[1]
    pipeline.reset_before(stage)
    lock = pipeline.folder / LOCK
    (pipeline.folder / ".dvc/tmp/dvc.lock.before").write_bytes(lock.read_bytes())
    damage(pipeline.folder / name)
    ends_as_undisturbed(pipeline, stage)
