"""Trackers, each read back by its own library, and what is passed on to them of a run."""

import json
import logging
import re
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.pipeline import config
from harness.pipeline.request import Choices, resolve
from harness.pipeline.run_progress import COUNT, RunProgress, begin, counter
from harness.pipeline.run_tracking import RunTracking, entries, stage_tracking
from harness.pipeline.workspace import Workspace
from harness.tracking import protocol
from harness.tracking.protocol import LIBRARIES, MODULES, open_all

LOSSES = (2.5, 1.25, 0.75)
SETTINGS = {"recipe.scratch.lr": 0.2, "recipe.backbone": "resnet10", "machine.cpu": "a cpu"}
PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
RUN = "mini/cifar100-lt/ce-seed0"
BLOCK = 32768  # bytes, of a LevelDB log


def track(home: Path, name: str) -> Path:
    """A run of three epochs with a picture; the folder of its tracker."""
    tracker = open_all([name], home, RUN)
    tracker.settings(SETTINGS)
    for step, loss in enumerate(LOSSES, 1):
        tracker.numbers(step, {"train/loss": loss, "curriculum/stage": float(step)})
    tracker.picture("spectrum/sample", PICTURE)
    tracker.close()
    assert list(tracker.trackers) == [name]  # none failed
    return home / "tracking" / name / RUN


def test_json_lines(tmp_path: Path) -> None:
    from PIL import Image

    folder = track(tmp_path, "json")
    lines = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["settings", *["numbers"] * 3, "picture"]
    assert lines[0]["values"] == SETTINGS
    assert [line["values"]["train/loss"] for line in lines[1:4]] == list(LOSSES)
    assert [line["step"] for line in lines[1:4]] == [1, 2, 3]
    assert np.array_equal(np.array(Image.open(folder / lines[4]["file"])), PICTURE)


def test_dvclive(tmp_path: Path) -> None:
    from dvclive import Live
    from dvclive.utils import parse_metrics
    from PIL import Image
    from ruamel.yaml import YAML

    folder = track(tmp_path, "dvclive")
    live = Live(str(folder), resume=True, save_dvc_exp=False, dvcyaml=None, report=None)
    assert live.read_step() == 3
    history, last = parse_metrics(live)
    (losses,) = (rows for path, rows in history.items() if path.endswith("loss.tsv"))
    assert [float(row["loss"]) for row in losses] == list(LOSSES)
    assert last["train"]["loss"] == LOSSES[-1]
    params = YAML(typ="safe").load((folder / "params.yaml").read_text())
    assert params["recipe.scratch.lr"] == 0.2
    picture = folder / "plots/images/spectrum/sample.png"
    assert np.array_equal(np.array(Image.open(picture)), PICTURE)


def test_tensorboard(tmp_path: Path) -> None:
    import io

    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(track(tmp_path, "tensorboard")))
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [(event.step, event.value) for event in losses] == list(enumerate(LOSSES, 1))
    (image,) = events.Images("spectrum/sample")
    assert (image.width, image.height) == (6, 4)
    pixels = np.array(Image.open(io.BytesIO(image.encoded_image_string)))
    assert np.array_equal(pixels, PICTURE)
    (text,) = events.Tensors("settings")
    assert b"| recipe.scratch.lr | 0.2 |" in text.tensor_proto.string_val[0]


def test_wandb_without_a_network(tmp_path: Path) -> None:
    folder = track(tmp_path, "wandb")
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = complete(file)
    losses = []
    for record in records:
        items = {item.key or "/".join(item.nested_key): item for item in record.history.item}
        if "train/loss" in items:
            losses.append(float(items["train/loss"].value_json))
    assert losses == list(LOSSES)
    config_of = {
        item.key: json.loads(item.value_json)
        for record in records
        for item in [*record.run.config.update, *record.config.update]
    }
    assert config_of["recipe.scratch.lr"] == 0.2
    assert list(file.parent.glob("files/media/images/spectrum/*.png"))


def complete(file: Path) -> list[Any]:
    """The messages of a run that has ended; the library's service may write them a little later."""
    end = time.monotonic() + 60
    while True:
        records = list(wandb_records(file))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < end, f"{file} has no end"
        time.sleep(0.1)


def wandb_records(file: Path) -> Iterator[Any]:
    """The messages in the log of a run (LevelDB's log format behind a header of 7 bytes).

    The library has no reader in Python; the messages are its own.
    """
    from wandb.proto import wandb_internal_pb2

    data, offset, pending = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while offset + 7 <= len(data):
        left = BLOCK - offset % BLOCK
        if left < 7:  # no room for a header
            offset += left
            continue
        size, kind = struct.unpack("<HB", data[offset + 4 : offset + 7])
        pending += data[offset + 7 : offset + 7 + size]
        offset += 7 + size
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pending)
            yield record
            pending = b""


def test_every_tracker_has_a_file() -> None:
    assert MODULES.keys() == LIBRARIES.keys()
    for name, module in MODULES.items():
        assert (Path(protocol.__file__).parent / f"{module}.py").is_file(), name


def test_a_run_that_starts_again_is_tracked_from_its_beginning(tmp_path: Path) -> None:
    for _ in range(2):
        folder = track(tmp_path, "json")
    assert len((folder / "run.jsonl").read_text().splitlines()) == 5


def test_a_tracker_that_fails_is_told_of_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tracking").write_text("no folder")
    with caplog.at_level(logging.WARNING, "harness"):
        tracker = open_all(["json"], tmp_path, RUN)
    assert tracker.trackers == {}
    assert "track: json stopped, the runs go on: " in caplog.text
    tracker.numbers(1, {"train/loss": 1.0})
    tracker.close()


# ---------------------------------------------------------------- runs


def job(home: Path, name: str = "run") -> Any:
    from harness.core.specs import RunSpec
    from harness.methods.compose import compose

    workspace = Workspace("cifar100-lt", "smoke", home)
    about = dict.fromkeys(("pool", "start", "reference", "pretrained"))
    spec = RunSpec(
        dataset="cifar100-lt", imbalance=100, method="CE", arguments="CE", seed=0,
        recipe=workspace.recipe, index="a" * 64, **about,
    )  # fmt: skip
    folder = home / name
    folder.mkdir(parents=True)
    return SimpleNamespace(
        folder=folder, spec=spec, start=None, workspace=workspace, name="CE IR100 seed 0",
        method=lambda: compose("CE"),
    )  # fmt: skip


def entry(epoch: int, levels: tuple[float, ...] = (), accuracy: float | None = 0.5) -> dict:
    return {
        "phase": "all", "epoch": epoch, "epochs": 3, "levels": list(levels), "images": 64,
        "lr": 0.1, "loss": LOSSES[epoch], "accuracy": accuracy, "train_s": 0.25,
    }  # fmt: skip


def follow(some: Any, command: str = "this") -> RunProgress:
    return RunProgress([some], shown=False, tracking=RunTracking(["json"]), command=command)


def tracked(home: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of each folder, by what its name ends with: nothing, 2, 3 .."""
    files = home.glob("tracking/json/smoke/cifar100-lt/*/run.jsonl")
    numbers = {file: re.fullmatch(r".*-(\d{1,3})", file.parent.name) for file in files}
    return {
        number[1] if number else "": [json.loads(line) for line in file.read_text().splitlines()]
        for file, number in numbers.items()
    }


def lines(home: Path) -> list[dict[str, Any]]:
    (content,) = tracked(home).values()
    return content


def numbers(home: Path) -> list[tuple[int, Mapping[str, float]]]:
    return [(line["step"], line["values"]) for line in lines(home) if line["kind"] == "numbers"]


def losses(content: list[dict[str, Any]]) -> list[float]:
    """Those of a folder's epochs; each line is of a kind that is known."""
    values = [line["values"] for line in content if line["kind"] == "numbers"]
    return [v["train/loss"] for v in values if "train/loss" in v]


def test_epochs_that_a_worker_tells_of_are_tracked(tmp_path: Path) -> None:
    some = job(tmp_path)
    with follow(some) as progress:
        begin(some.folder, "this")
        count = counter(some.folder)
        for told in (entry(0), entry(1, (0.1,), None), entry(1, (0.1,), None), entry(2, (0.1,))):
            count(told)  # the second epoch twice, as after an interruption
        progress.end(some, {"Few": None, "Overall": 0.25})
    told = numbers(tmp_path)
    assert [step for step, _ in told] == [1, 2, 3, 3]
    assert [values.get("train/loss") for _, values in told] == [*LOSSES, None]
    assert [values.get("curriculum/stage") for _, values in told[:3]] == [1, 2, 2]
    assert "test/accuracy" not in told[1][1]  # the recipe looks at no split after it
    assert told[2][1]["curriculum/lowest_guidance"] == 0.1
    assert told[3][1] == {"result/overall": 0.25}
    settings = lines(tmp_path)[0]["values"]
    assert settings["method"] == "CE"
    assert settings["recipe.scratch.lr"] == some.spec.recipe.scratch.lr
    assert settings["machine.cpu"]


def test_a_command_that_waits_for_a_run_leaves_its_tracking_alone(tmp_path: Path) -> None:
    """Two commands have the same run to do; the first trains it, and the second begins amid."""
    some = job(tmp_path)
    with follow(some, "first") as first:
        begin(some.folder, "first")
        counter(some.folder)(entry(0))
        with follow(some, "second") as second:
            for told in (entry(1), entry(2)):
                counter(some.folder)(told)
            second.end(some, {"Overall": 0.25})  # sees the run done before the first does
        first.end(some, {"Overall": 0.25})
    assert losses(lines(tmp_path)) == list(LOSSES)
    assert lines(tmp_path)[-1]["values"] == {"result/overall": 0.25}
    assert not (some.folder / COUNT).exists()


def test_a_run_that_another_command_takes_over(tmp_path: Path) -> None:
    """It fails in the first; the second resumes it and tracks all of it, in a folder of its own."""
    some = job(tmp_path)
    with follow(some, "first") as first, follow(some, "second") as second:
        begin(some.folder, "first")
        counter(some.folder)(entry(0))
        (some.folder / "checkpoint.pt").write_text("after an epoch")
        with first.lock:
            first._look(some.folder)  # the run is open here
        begin(some.folder, "second")
        for told in (entry(1), entry(2)):
            counter(some.folder)(told)
        second.end(some, {"Overall": 0.25})
        first.fail(some, "no memory")
    assert losses(tracked(tmp_path)["2"]) == list(LOSSES)
    assert losses(tracked(tmp_path)[""]) == [LOSSES[0]]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_an_interrupted_run_is_tracked_from_its_beginning(tmp_path: Path, checkpoint: bool) -> None:
    """The epochs before come from the first command where the second goes on with its weights."""
    some = job(tmp_path)
    with follow(some, "first"):
        begin(some.folder, "first")
        counter(some.folder)(entry(0) | {"loss": 9.0})
    if checkpoint:
        (some.folder / "checkpoint.pt").write_text("after an epoch")
    with follow(some, "second") as second:
        begin(some.folder, "second")
        for told in [entry(1), entry(2)] if checkpoint else [entry(0), entry(1), entry(2)]:
            counter(some.folder)(told)
        second.end(some, {"Overall": 0.25})
    assert losses(lines(tmp_path)) == [9.0 if checkpoint else LOSSES[0], *LOSSES[1:]]


def test_a_checkpoint_of_other_weights_counts_for_nothing(tmp_path: Path) -> None:
    some = job(tmp_path)
    (some.folder / "checkpoint.pt").write_text("of other weights")
    with follow(some) as progress:
        counter(some.folder)(entry(0) | {"loss": 9.0})
        begin(some.folder, "this")
        counter(some.folder)({"anew": True})
        for told in (entry(0), entry(1), entry(2)):
            counter(some.folder)(told)
        progress.end(some, {"Overall": 0.25})
    assert losses(lines(tmp_path)) == list(LOSSES)


def test_a_run_that_is_trained_again_keeps_its_first_tracking(tmp_path: Path) -> None:
    """As with --rerun, which trains the runs of other code again."""
    some = job(tmp_path)
    for command in ("first", "second", "third"):
        with follow(some, command) as progress:
            begin(some.folder, command)
            counter(some.folder)(entry(0))
            progress.end(some, {"Overall": 0.25})
    assert sorted(tracked(tmp_path)) == ["", "2", "3"]
    assert all(losses(content) == [LOSSES[0]] for content in tracked(tmp_path).values())


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    some = job(tmp_path)
    with RunProgress([some], shown=False) as progress:
        counter(some.folder)(entry(0))
        progress.end(some, {"Overall": 0.25})
    assert not (tmp_path / "tracking").exists()


def test_a_line_that_is_being_written_is_left_for_the_next_look(tmp_path: Path) -> None:
    file = tmp_path / "epochs.count"
    assert entries(file, 0) == ([], 0)
    file.write_bytes(b'{"a": 1}\n{"a"')
    known, offset = entries(file, 0)
    assert (known, offset) == ([{"a": 1}], 9)
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n')
    assert entries(file, offset) == ([{"a": 2}], 18)
    file.write_bytes(b'..{"a": 1}\n{"a": 2}\n')  # an earlier version wrote a byte per epoch
    assert entries(file, 0)[0] == [{"a": 2}]


def test_stages_are_a_run_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace("cifar100-lt", "smoke", tmp_path)
    with stage_tracking(["json"], workspace, "cpu") as tracker:
        assert tracker is not None
        tracker.numbers(1, {"index/seconds": 1.5})
        with stage_tracking(["json"], workspace, "cpu") as other:  # of another command
            assert other is not None
            other.numbers(1, {"index/seconds": 2.5})
            tracker.numbers(2, {"hard/seconds": 3.5})
    values = {
        name: [line["values"] for line in told[1:]] for name, told in tracked(tmp_path).items()
    }
    first = [{"index/seconds": 1.5}, {"hard/seconds": 3.5}]
    assert values == {"": first, "2": [{"index/seconds": 2.5}]}
    with stage_tracking([], workspace, "cpu") as nothing:
        assert nothing is None


# ---------------------------------------------------------------- choices


def choices(home: Path, **changes: Any) -> Choices:
    return Choices("cifar100-lt", ["CE"], profile="smoke", home=home, **changes)


def test_trackers_are_named_by_the_caller_or_by_params(tmp_path: Path) -> None:
    assert resolve(choices(tmp_path), methods=True).track == ()
    (tmp_path / "params.yaml").write_text("track: [json, tensorboard]\nsmoke: {}\n")
    assert resolve(choices(tmp_path), methods=True).track == ("json", "tensorboard")
    assert resolve(choices(tmp_path, track=["json", "json"]), methods=True).track == ("json",)
    assert resolve(choices(tmp_path, track=[]), methods=True).track == ()
    assert config.overrides(None, tmp_path, "smoke", "cifar100-lt") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("track: json", "track is 'json'; expected a list such as"),
        ("track: [1]", r"track is \[1\]; expected a list such as"),
        ("track: [jsonl]", "track: 'jsonl' is not allowed.*did you mean 'json'"),
    ],
)
def test_wrong_trackers_in_params(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UsageError, match=says):
        resolve(choices(tmp_path), methods=True)


def test_a_tracker_whose_library_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"wandb is not installed.*'discl-harness\[track-wandb\]'"):
        resolve(choices(tmp_path, track=["wandb"]), methods=True)
    assert resolve(choices(tmp_path, track=["json"]), methods=True).track == ("json",)
    with pytest.raises(UsageError, match="track: 'json' is not allowed; a list"):
        resolve(choices(tmp_path, track="json"), methods=True)
