"""How far a difference moves with the pool: records of further pools beside the main ones."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import drawn_records
import pytest

from harness.cli.main import main
from harness.core.specs import RunSpec
from harness.pipeline.workspace import Workspace
from harness.results import further_pools, records

SET = "cifar100-lt"


def runs(lift: float, ratio: int, **changes: Any) -> list[dict[str, Any]]:
    workspace = Workspace(SET, "mini")
    rows = (("CE(control=True)", 0.1), ("CE+DisCL", lift))
    some = [drawn_records.run(workspace, m, s, ratio, 0.3, x) for m, x in rows for s in range(3)]
    return [changed(run, **changes) for run in some] if changes else some


def changed(run: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same run of another recipe."""
    workspace = Workspace(SET, "mini")
    spec = drawn_records.spec(workspace, run["method"], run["seed"], run["imbalance"], None)
    spec = replace(spec, recipe=replace(spec.recipe, **changes))
    assert isinstance(spec, RunSpec)
    again = records.record(
        spec, run["selection"], run["counts"], run["n_test"], run["versions"], run["predictions"]
    )
    return again


def test_recipes_are_compared_run_by_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A run that reads no pool has none in its recipe."""
    drawn_records.write(tmp_path, [*runs(0.4, 100), *last_row()])
    for name in ("b", "c"):
        for run in runs(0.3, 100, pool_seeds=(50, 60)):
            if run["method"] == "CE+DisCL":
                records.write(run, tmp_path / further_pools.FOLDER / name)
    assert "over 3 pools, CE+DisCL - CE(control=True)" in told(tmp_path, capsys)


def last_row() -> list[dict[str, Any]]:
    """A run of another recipe, which is read after all others."""
    run = drawn_records.run(Workspace(SET, "mini"), "Zero-shot", 0, 100, 0.3, 0.1)
    return [changed(run, pool_seeds=(1,), levels=(0.9,))]


def told(home: Path, capsys: pytest.CaptureFixture) -> str:
    assert main(["findings", "--home", str(home), "--dataset", SET]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_third_source_is_named_and_measured_where_there_are_records(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    drawn_records.write(tmp_path, runs(0.4, 100) + runs(0.4, 50))
    plain = told(tmp_path, capsys)
    assert "all seeds share one pool of synthetic images" in plain
    assert "pools, CE+DisCL" not in plain
    for name, lift in (("b", 0.3), ("c", 0.5)):
        for run in runs(lift, 100, pool_seeds=(50, 60)):
            if run["method"] == "CE+DisCL":  # the control reads no pool
                records.write(run, tmp_path / further_pools.FOLDER / name)
    measured = told(tmp_path, capsys)
    says = "cifar100-lt: over 3 pools, CE+DisCL - CE(control=True) (Few, imbalance ratio 100) has a"
    assert says in measured
    assert "(Overall, imbalance ratio 100) has a standard deviation of" in measured
    assert "imbalance ratio 50) has a standard deviation" not in measured


def test_runs_that_differ_in_more_than_the_pool_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    drawn_records.write(tmp_path, runs(0.4, 100))
    folder = tmp_path / further_pools.FOLDER / "b"
    for run in runs(0.3, 100, pool_seeds=(50, 60), threshold=0.1):
        records.write(run, folder)
    assert "pools, CE+DisCL" not in told(tmp_path, capsys)
    for run in runs(0.3, 100):  # the same pool
        records.write(run, folder)
    assert "pools, CE+DisCL" not in told(tmp_path, capsys)
