"""The smoke test of the paper profile, with random weights and few pictures in place of its own."""

import re
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from harness.api import steps
from harness.core import parallel

ROOT = Path(__file__).parents[2]
FEW = (
    "steps=2", "size_px=64", "scheduler=euler", "generator_batch=4", "threshold=-1.0",
    "scratch.batch=16", "onward.batch=16", "mixture.tail_fraction=0.5",
)  # fmt: skip


@pytest.fixture
def paper_smoke(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import paper_smoke

    return paper_smoke


def test_results_are_told_in_words(paper_smoke):
    lost = pl.DataFrame({"key": ["a", "b"]})
    results = {
        "10 images": steps.Generated(10),
        "10 images, 4 failed": steps.Generated(10, {"spectrum": lost, "edits": lost}),
        "2 of 6 runs trained": steps.Trained(2, 6),
        "2 rows": lost,
        "8 scores": 8,
    }
    assert [paper_smoke.outcome(result) for result in results.values()] == list(results)


def test_a_report_of_a_walk_that_failed(paper_smoke, tmp_path, capsys):
    """Without the official files: the report says so, and what was planned."""
    folder = tmp_path / "smoke"
    options = ["--root", str(tmp_path), "--folder", str(folder), "--device", "cpu"]
    assert paper_smoke.main(options) == 1
    report = (folder / "paper-smoke.md").read_text()
    (failed,) = (line for line in report.splitlines() if line.startswith("**Failed**"))
    assert failed.removeprefix("**Failed**: ") in capsys.readouterr().out
    assert "## Leaderboard" not in report
    assert "## Planned" in report


@pytest.mark.long
def test_every_stage_and_the_report(paper_smoke, tmp_path, monkeypatch, capsys):
    import refiner_networks
    import rehearsal
    import rehearsal_data
    import rehearsal_models
    import rehearsal_part

    tiny = refiner_networks.TINY[:3]
    generator = rehearsal_models.write_generator(tmp_path / "generator", False, tiny)
    clip = rehearsal_models.write_clip(tmp_path / "clip", rehearsal.CLIPS["scorer"], full=False)
    root = rehearsal_data.write("cifar100-lt", tmp_path / "data")
    monkeypatch.setattr(parallel, "run", rehearsal.here)
    options = ["--root", str(root), "--folder", str(tmp_path / "smoke"), "--device", "cpu"]
    for value in (*FEW, f"generator={generator}", f"clip=local-dir:{clip}"):
        options += ["--set", value]
    with rehearsal_part.thinned() as read:
        code = paper_smoke.main(options)
    report = (tmp_path / "smoke" / "paper-smoke.md").read_text()
    assert code == 0, report
    assert read == {100: {"train": 10847, "classes": 100}}
    assert "Every stage ran." in report
    for row in paper_smoke.ROWS:
        assert re.search(rf"^\| {re.escape(row)} .*\d \(1\)", report, re.MULTILINE), row
    assert re.search(r"cifar100-lt +ok ", report.split("Official data")[1])
    for head in ("machine", "## Leaderboard", "## Planned", "## Doctor"):
        assert head in report
    assert "the report:" in capsys.readouterr().out
