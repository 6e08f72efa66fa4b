"""Runs that end within an epoch: killed, or by SIGTERM, and what they go on from."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import noise_world
import pytest
import torch
from training_world import CPU, MINI, SCRATCH, world

from harness.core import preemption
from harness.core.specs import Schedule
from harness.methods.compose import compose
from harness.methods.terms import Finetune, Method, Phase
from harness.training import checkpoint, phases
from harness.training.trainer import fit

SHORT = replace(
    MINI, scratch=replace(SCRATCH, epochs=2), onward=Schedule("adam", 1e-3, 16, 2, decay="cosine"),
    curriculum_epochs=1, probe_images=2, probe_train=32, levels=(0.0, 0.3, 0.5),
)  # fmt: skip
FILES = ("epochs.jsonl", "behaviour.json", "predictions-last.parquet", "predictions-oracle.parquet")


@pytest.fixture(scope="module")
def data():
    return world()


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    return fit(compose("CE"), data, SHORT, 0, tmp_path_factory.mktemp("ce"), CPU)


class Killed(BaseException):
    """Stands for a kill."""


def killed_after(monkeypatch, saves):
    """The run dies after so many steps, each of which is followed by a checkpoint."""
    real, left = checkpoint.save, [saves]

    def save(path, state, model, optimiser, run, within=None):
        real(path, state, model, optimiser, run, within)
        if within is not None:
            left[0] -= 1
            if not left[0]:
                raise Killed

    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(phases.Checkpoints, "due", lambda self: True)


class Heads(Finetune):
    """The head alone on features, then everything."""

    def start(self, model, tools):
        rows = tools.data.rows
        self.z = tools.features(rows, 0, batch=16, batch_statistics=False)
        self.y = torch.from_numpy(rows["label"].to_numpy().astype("int64"))

    def phases(self, schedule):
        head = Schedule("adam", 1e-2, 32, 1)
        return (
            Phase("head", head, ("head",), on_features=True),
            Phase("all", replace(schedule, epochs=1)),
        )

    def table(self):
        return self.z, self.y


def method(name):
    if name == "phases":
        return Method("X", "X", compose("CE").objective, finetune=Heads())
    return compose(name)


ADAPTIVE = 'BS(counts="epoch")+DisCL(curriculum="adaptive")'  # trains and looks before the pass


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *(("CE", n) for n in (1, 4, 6)),
        *(("phases", n) for n in (1, 2, 4)),
        *(("CE+CUDA(probability=1)", n) for n in (1, 6)),
        *((ADAPTIVE, n) for n in (1, 4)),
    ],
)
def test_a_run_killed_within_an_epoch_goes_on_with_the_same_bits(
    data, weights, tmp_path, monkeypatch, name, steps
):
    start, given = None, data
    if method(name).start is not None:
        start, given = weights, replace(noise_world.world(32, "spectrum"), val=None)

    def train(folder):
        return fit(method(name), given, SHORT, 0, tmp_path / folder, CPU, start)

    whole = train("whole")
    with monkeypatch.context() as patch:
        killed_after(patch, steps)
        with pytest.raises(Killed):
            train("cut")
    kept = torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)
    assert kept["within"]["done"] >= 1
    again = train("cut")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    for file in FILES:
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_checkpoint_within_is_written_only_when_it_is_time(data, tmp_path, monkeypatch):
    kept, real = [], checkpoint.save

    def save(path, state, model, optimiser, run, within=None):
        kept.append(within)
        real(path, state, model, optimiser, run, within)

    monkeypatch.setattr(checkpoint, "save", save)
    fit(compose("CE"), data, SHORT, 0, tmp_path / "seldom", CPU, save_s=0)
    assert kept == [None, None]
    kept.clear()
    fit(compose("CE"), data, SHORT, 0, tmp_path / "often", CPU, save_s=1e9, within_s=0)
    assert kept[-1] is None
    assert len(kept) > 1


# ---------------------------------------------------------------- SIGTERM

CHILD = """
import os, signal, sys
sys.path[:0] = {path!r}
from test_within_epoch import CPU, SHORT, compose, fit, world
from harness.training import loop
from pathlib import Path
step, steps = loop.Loop._step, []
def noted(self, *arguments):
    steps.append(1)
    if len(steps) == {at}:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, *arguments)
loop.Loop._step = noted
fit(compose("CE"), world(), SHORT, 0, Path({folder!r}), CPU)
print("came to its end")
"""


def test_sigterm_writes_a_checkpoint_and_ends_the_run(data, tmp_path):
    folder, at = tmp_path / "cut", 3
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "builders")]
    code = CHILD.format(path=path, folder=str(folder), at=at)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert "came to its end" not in done.stdout
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert kept["within"]["done"] == at
    whole = fit(compose("CE"), data, SHORT, 0, tmp_path / "whole", CPU)
    again = fit(compose("CE"), data, SHORT, 0, folder, CPU)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


PARENT = """
import os, signal, sys, time
sys.path[:0] = {path!r}
from dataclasses import replace
from pathlib import Path
from harness.core import parallel
import workers_of_runs
def end(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
folders = [Path({folder!r}) / str(n) for n in range(2)]
list(parallel.run(workers_of_runs.train, folders, 2))
"""


def test_sigterm_to_the_command_lets_its_workers_write_their_checkpoints(tmp_path):
    path = [str(Path(__file__).parents[1] / "builders")]
    code = PARENT.format(path=path, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as command:
        folders = [tmp_path / str(n) for n in range(2)]
        end = time.monotonic() + 100
        while not all((f / "begun").exists() for f in folders) and time.monotonic() < end:
            time.sleep(0.05)
        command.send_signal(signal.SIGTERM)
        command.wait(60)
    for folder in folders:
        kept = torch.load(folder / "checkpoint.pt", weights_only=True)
        assert kept["within"]["done"] >= 1
        assert not (folder / "ended").exists()


def test_notice_waits_for_the_end_of_the_block_and_then_acts():
    seen = []

    def handler(number, frame):
        seen.append("handler")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with preemption.deferred() as notice:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            assert notice.given
            seen.append("block")
        assert seen == ["block", "handler"]
        with pytest.raises(preemption.Halted):  # a handler that returns completes no work
            halt()
        assert seen == ["block", "handler", "handler"]
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def halt():
    with preemption.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        raise preemption.Halted


def test_an_ignored_sigterm_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with preemption.deferred() as notice:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not notice.given
    finally:
        signal.signal(signal.SIGTERM, before)


def test_sigterm_while_testing_keeps_the_epoch_that_was_trained(data, tmp_path, monkeypatch):
    """Halted in the middle of the look that follows an epoch: no step is made again."""
    from harness.training.loop import Loop

    steps, real = [], Loop._step

    def step(self, *arguments):
        steps.append(self.epoch)
        return real(self, *arguments)

    def features(self, split, places=None):
        if self.epoch == 1:
            self.notice.given = True
        yield from split_features(self, split, places)

    split_features = Loop.split_features
    monkeypatch.setattr(Loop, "_step", step)
    handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "split_features", features)
        with pytest.raises(preemption.Halted):
            fit(compose("CE"), data, SHORT, 0, tmp_path, CPU)
    signal.signal(signal.SIGTERM, handler)
    made = len(steps)
    again = fit(compose("CE"), data, SHORT, 0, tmp_path, CPU)
    assert len(steps) == made
    lines = (tmp_path / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    whole = fit(compose("CE"), data, SHORT, 0, tmp_path / "whole", CPU)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
