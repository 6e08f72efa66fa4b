"""Records beside the parameters that hold now, and results of one's own beside the reference."""

from pathlib import Path
from typing import Any

import drawn_records
import pytest

from harness.api import table
from harness.core.specs import plain
from harness.methods.compose import compose
from harness.pipeline.code import code_of
from harness.pipeline.matching import match
from harness.pipeline.recipe_fields import relevant
from harness.pipeline.workspace import Workspace
from harness.results import records, store
from harness.results.store import OWN, SHIPPED

SET = "cifar100-lt"


def runs(workspace: Workspace, code: str | None = None) -> list[dict[str, Any]]:
    """CE, which reads no synthetic image, and CE+DisCL, which does."""
    written = [drawn_records.run(workspace, m, 0, 100) for m in ("CE", "CE+DisCL")]
    for record in written:
        method = compose(record["method"], SET, "mini")
        record["spec"]["recipe"] = plain(relevant(workspace.recipe, method))
        record["key"] = records.key_of_plain(record["spec"])
        record["code"] = code
    return written


def workspace(home: Path, **settings: Any) -> Workspace:
    return Workspace(SET, "mini", home, settings=tuple(settings.items()))


def test_records_of_the_same_parameters_are_current(tmp_path: Path) -> None:
    found = match(workspace(tmp_path), runs(workspace(tmp_path)))
    assert [r["method"] for r in found.current] == ["CE", "CE+DisCL"]
    assert (found.other, list(found.notes())) == ((), [])


@pytest.mark.parametrize(
    ("settings", "current", "note"),
    [
        ({"threshold": 0.5}, ["CE"], "CE+DisCL (1 record): threshold 0.35 there, 0.5 here."),
        ({"onward.lr": 0.01}, ["CE"], "CE+DisCL (1 record): onward.lr 0.002 there, 0.01 here."),
        ({"width": 8}, [], "CE, CE+DisCL (2 records): width 16 there, 8 here."),
        ({"run_seeds": [7]}, ["CE", "CE+DisCL"], None),
    ],
)
def test_changed_parameters(
    tmp_path: Path, settings: dict[str, Any], current: list[str], note: str | None
) -> None:
    """Only fields that a method reads count."""
    found = match(workspace(tmp_path, **settings), runs(workspace(tmp_path)))
    assert [r["method"] for r in found.current] == current
    expected = [] if note is None else [f"Not shown, made with other parameters: {note}"]
    assert list(found.notes()) == expected


def test_a_method_that_is_gone_is_shown(tmp_path: Path) -> None:
    (record, _) = runs(workspace(tmp_path))
    record["method"] = "Focal"
    assert len(match(workspace(tmp_path, width=8), [record]).current) == 1


def test_records_of_other_code(tmp_path: Path) -> None:
    space = workspace(tmp_path)
    assert match(space, runs(space, code_of("train"))).other_code == ()
    found = match(space, runs(space, "0" * 64))
    (note,) = found.notes()
    assert note.startswith("Trained by other code than this: CE, CE+DisCL (2 records);")
    assert "`harness compare --rerun`" in note


def test_a_table_shows_what_was_made_with_its_parameters(tmp_path: Path) -> None:
    for record in runs(workspace(tmp_path)):
        records.write(record, tmp_path / records.ROOT)
    result = table(SET, home=tmp_path, set={"threshold": 0.5})
    rows = {
        row["method"]: row["seeds"] for row in result.table().to_dicts() if row["imbalance"] == 100
    }
    assert (rows["CE"], rows["CE+DisCL"]) == (1, 0)
    assert result.leaderboard.notes[0].endswith("threshold 0.35 there, 0.5 here.")


def test_ones_own_results_come_first(tmp_path: Path) -> None:
    shipped = store.read("mini", SET, tmp_path)
    assert shipped.origin == SHIPPED
    assert len(shipped.records) == 140  # Tables 2 and 7
    assert shipped.note is not None
    assert store.datasets("mini", tmp_path) == [
        "cifar100-lt", "imagenet-lt", "inaturalist2018", "iwildcam"
    ]  # fmt: skip
    (record, _) = runs(workspace(tmp_path))
    records.write(record, tmp_path / records.ROOT)
    own = store.read("mini", SET, tmp_path)
    assert (own.origin, len(own.records), own.note) == (OWN, 1, None)
    assert len(store.read("mini", SET, tmp_path, SHIPPED).records) == 140
    assert store.datasets("mini", tmp_path) == [SET]


def test_the_reference_is_what_the_parameters_of_the_project_ask_for(tmp_path: Path) -> None:
    """Each reference record was made with the recipe that holds now, for every data set."""
    root = Path(__file__).parents[2]
    from harness.pipeline.config import overrides

    for name in store.datasets("mini", tmp_path):
        space = Workspace(name, "mini", tmp_path, overrides=overrides(None, root, "mini", name))
        found = match(space, store.read("mini", name, tmp_path).records)
        assert found.other == (), found.other[0]
