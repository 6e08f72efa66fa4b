"""The gate: what it catches, what it lets pass, and what it refuses to read."""

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_records import run, spec

from harness.api import checks
from harness.cli import gate_text
from harness.cli.main import main
from harness.core import digests
from harness.core.errors import DataError, UsageError
from harness.datasets import imagenet_lt
from harness.datasets.cifar100_lt import RECIPES
from harness.results import (
    fingerprints,
    gate,
    golden,
    leaderboard,
    published,
    records,
    spread,
    store,
    table_data,
    tables,
)
from harness.results.golden import ALL_ROWS

PROFILE, SET = "smoke", "cifar100-lt"
METHODS = ("BS", "BS+DisCL", "CE", "CE(control=True)", "CE+DisCL")
PATHS = ("rules.A.many", "rules.A.medium", "rules.A.few", "overall")
TABLE = Path(f"results/tables/{SET}-{PROFILE}.md")
NUMBERS = Path(f"results/metrics/{PROFILE}/{SET}.json")
BEHAVIOUR = {
    "steps": {"all": 164},
    "first_loss": {"all": 4.1},
    "drawn": {"100": [200, 150, 60, 30, 20, 10, 5, 4], "30": [0, 0, 0, 0, 0, 20, 30, 40]},
    "below": 0.0,
    "pool": {"30": {"images": 60, "below": 0.3, "score": 0.58}},
    "hooks": {"Spectrum": 0.0, "ClassLevels": 0.04},
    "grey": [100.0, 120.0, 90.0, 110.0, 130.0, 95.0, 105.0, None],
}


def smoke(method: str, seed: int, imbalance: int = 100) -> dict[str, Any]:
    about = replace(spec(method, seed, imbalance=imbalance), recipe=RECIPES[PROFILE])
    record = run(method, seed, 0.5 + 0.05 * METHODS.index(method), 20, about)
    return record | {"behaviour": copy.deepcopy(BEHAVIOUR), "levels": [[[30], 5], [[], 1]]}


def write_tables(home: Path) -> None:
    runs = records.read_all(PROFILE, SET, home / records.ROOT)
    table = leaderboard.table(published.of(SET), runs, PROFILE)
    for file, text in ((TABLE, tables.to_markdown(table)), (NUMBERS, table_data.to_metrics(table))):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(text)


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No reference results, and nothing waits for the disk: records are written by the hundreds."""
    nothing = tmp_path_factory.mktemp("nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        for module in (store, checks):
            patch.setattr(module, "REFERENCE", nothing)
        patch.setattr(golden, "GOLDEN", nothing)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rows at two ratios, three seeds each, with tables and golden numbers."""
    home = tmp_path_factory.mktemp("home")
    for method in METHODS:
        for imbalance in (100, 50):
            for seed in range(3):
                records.write(smoke(method, seed, imbalance), home / records.ROOT)
    write_tables(home)
    assert checks.update(PROFILE, home, "first numbers")
    return home


@pytest.fixture
def home(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "home"))


def files(home: Path, method: str, imbalance: int = 100) -> list[Path]:
    every = (home / records.ROOT / PROFILE / SET).glob("*.json")
    start = f"{records.slug(method)}-resnet10-ir{imbalance}-"
    return sorted(file for file in every if file.name.startswith(start))


def edit(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(digests.sealed(content)))


def add(home: Path, method: str, path: str, amount: float) -> None:
    """Adds to a number of each seed of a row; the tables are made again."""

    def change(record: dict[str, Any]) -> None:
        place = record["selection"]["last"]
        *above, last = path.split(".")
        for name in above:
            place = place[name]
        place[last] = min(1.0, max(0.0, place[last] + amount))

    for file in files(home, method):
        edit(file, change)
    write_tables(home)


def known(home: Path) -> golden.Golden:
    return golden.read(golden.path(PROFILE, home), PROFILE)


def row_of(home: Path, method: str) -> golden.Row:
    (row,) = (r for r in known(home).rows if (r.method, r.imbalance) == (method, 100))
    return row


def allowed(home: Path, method: str, path: str) -> float:
    cell, cells = row_of(home, method).cells[path], sum(len(r.cells) for r in known(home).rows)
    spread_ = spread.Spread(cell.sd, cell.df)
    return spread.tolerance(spread_, cell.runs, 3, gate.ALPHA / 2 / cells)


# ---------------------------------------------------------------- what passes


def test_unchanged_results_pass(home: Path) -> None:
    report = checks.check(PROFILE, home)
    assert report.failures == 0, gate_text.render(report)
    assert report.cells == 12 * 4  # a mean of all rows at each ratio
    assert (report.new, report.speed) == ((), gate.Speed())
    assert checks.check(PROFILE, home, mode="exact").failures == 0


def test_the_luck_of_other_arithmetic_passes(home: Path) -> None:
    """Of 40 checks with new values of every cell, drawn from its spread, none is flagged."""
    runs = {r["key"]: r for r in records.read_all(PROFILE, SET, home / records.ROOT)}
    rows = {row.name: row for row in known(home).rows}
    rng = np.random.default_rng(0)
    for _ in range(40):
        drawn = copy.deepcopy(list(runs.values()))
        for r in drawn:
            cells = rows[SET, "resnet10", r["imbalance"], r["method"]].cells
            for path, cell in cells.items():
                place = r["selection"]["last"]
                *above, last = path.split(".")
                for name in above:
                    place = place[name]
                place[last] = float(np.clip(rng.normal(cell.mean, cell.sd), 0, 1))
        report = gate.judge(known(home), drawn)
        assert report.failures == 0, gate_text.render(report)
    assert gate.judge(known(home), drawn, mode="exact").failures > 40


def test_new_rows_are_named_and_do_not_fail(home: Path) -> None:
    about = replace(spec("CE+CUDA", 0), recipe=RECIPES[PROFILE])
    records.write(run("CE+CUDA", 0, 0.5, about=about), home / records.ROOT)
    write_tables(home)
    report = checks.check(PROFILE, home)
    assert report.failures == 0
    assert report.new == (f"{SET}, resnet10, IR100, CE+CUDA",)


# ---------------------------------------------------------------- what is caught


@pytest.mark.parametrize("method", METHODS[1:3])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_change_beyond_the_tolerance(home: Path, method: str, path: str, sign: int) -> None:
    bound = allowed(home, method, path)
    value = row_of(home, method).cells[path].mean
    room = 1 - value if sign > 0 else value
    if room < 1.02 * bound:  # no accuracy is much farther away: all of the room is tolerated
        add(home, method, path, sign)
        changes = [c for c in checks.check(PROFILE, home).changes if c.row.endswith(f" {method}")]
        assert bool(changes) == (room > bound)
        return
    add(home, method, path, sign * 0.98 * bound)
    assert not [c for c in checks.check(PROFILE, home).changes if c.row.endswith(method)]
    add(home, method, path, sign * 0.04 * bound)
    changes = [c for c in checks.check(PROFILE, home).changes if c.row.endswith(f" {method}")]
    assert [(c.path, c.fell) for c in changes] == [(path, sign < 0)]


def test_what_hits_all_rows_shows_in_their_mean() -> None:
    """A drop that no row alone would show."""
    reference = [smoke(method, seed) for method in METHODS for seed in range(3)]
    repeated = [smoke(method, seed) for method in METHODS for seed in range(3, 12)]
    rows = golden.rows(reference, repeated)
    alpha = gate.ALPHA / 2 / sum(len(row.cells) for row in rows)
    bounds = {}
    for row in rows:
        cell = row.cells["overall"]
        bounds[row.method] = spread.tolerance(spread.Spread(cell.sd, cell.df), cell.runs, 3, alpha)
    now = copy.deepcopy(reference)
    for r in now:
        mean = next(row for row in rows if row.method == r["method"]).cells["overall"].mean
        r["selection"]["last"]["overall"] = mean - 1.02 * bounds[ALL_ROWS]
    assert bounds[ALL_ROWS] < 0.9 * min(bounds[method] for method in METHODS)
    (change,) = gate.judge(golden.Golden(PROFILE, rows), now).changes
    assert (change.row, change.fell) == (f"{SET}, resnet10, IR100, {ALL_ROWS}", True)


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "levels reversed": (lambda r: r["levels"].reverse(), "guidance levels by epoch"),
    "other classes": (lambda r: r["counts"].reverse(), "training images by class"),
    "fewer steps": (lambda r: r["behaviour"]["steps"].update(all=150), "steps"),
    "a wrong prior": (lambda r: r["behaviour"]["first_loss"].update(all=4.3), "loss of the first"),
    "threshold ignored": (lambda r: r["behaviour"].update(below=0.3), "below the threshold"),
    "CUDA off": (lambda r: r["behaviour"]["hooks"].update(ClassLevels=0.0), "ClassLevels changes"),
    "CUDA gone": (lambda r: r["behaviour"]["hooks"].pop("ClassLevels"), "augmentation hooks"),
    "labels swapped": (
        lambda r: r["behaviour"].update(grey=[90.0, 120.0, 100.0, *BEHAVIOUR["grey"][3:]]),
        "mean brightness of their images",
    ),
    "other pictures": (
        lambda r: r["behaviour"]["pool"]["30"].update(score=0.5),
        "mean CLIPScore at guidance 0.3",
    ),
    "other draws": (
        lambda r: r["behaviour"]["drawn"].update({"30": [0, 0, 0, 0, 0, 40, 30, 20]}),
        "images drawn at guidance 0.3, by class",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_other_behaviour(home: Path, name: str) -> None:
    change, what = BAD[name]
    edit(files(home, "CE+DisCL")[0], change)
    report = checks.check(PROFILE, home)
    (other,) = report.behaviour
    assert other.row == f"{SET}, resnet10, IR100, CE+DisCL"
    assert any(what in d.text() for d in other.deviations), other
    assert report.failures == 1 + len(report.stale)
    assert not report.changes


def test_the_last_digits_of_behaviour_do_not_count(home: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["behaviour"]["first_loss"]["all"] *= 1.001
        record["behaviour"]["pool"]["30"] |= {"score": 0.583, "below": 0.31}
        record["behaviour"]["hooks"]["ClassLevels"] = 0.06
        record["behaviour"]["drawn"]["30"][5:] = [21, 29, 40]

    edit(files(home, "CE+DisCL")[0], change)
    write_tables(home)
    assert checks.check(PROFILE, home).failures == 0
    assert checks.check(PROFILE, home, mode="exact").failures == 1


@pytest.mark.parametrize("name", ["FLYP+ALIA", "FLYP+ALIA(control=True)"])
def test_what_a_trained_network_chooses_is_not_compared(name: str) -> None:
    """ALIA's classifier lets other edits pass on another processor; the pool has to be the same."""
    record = {"method": name, "dataset": "iwildcam", "profile": "smoke"}
    golden_one = {"counts": [3], "levels": [[50, 100]] * 2, "start": None, "behaviour": BEHAVIOUR}
    other = copy.deepcopy(golden_one) | {"levels": [[100]] * 2}
    other["behaviour"] |= {"drawn": {"100": BEHAVIOUR["drawn"]["100"]}, "steps": {"all": 94}}
    other["behaviour"]["first_loss"]["all"] *= 1.1
    other["behaviour"]["grey"][0] += 9
    assert fingerprints.deviations(golden_one, other, *gate._nature(record)) == ()
    assert fingerprints.deviations(golden_one, other, False)
    other["behaviour"]["pool"]["30"]["score"] = 0.5
    (told,) = fingerprints.deviations(golden_one, other, *gate._nature(record))
    assert told.what == "mean CLIPScore at guidance 0.3"


def test_records_of_other_parameters(home: Path) -> None:
    """A changed threshold: the records that read it are neither judged nor passed over."""
    report = checks.check(PROFILE, home, settings=[("scratch.lr", 0.05)])
    assert report.failures > 0
    assert "scratch.lr 0.1 there, 0.05 here" in report.outdated[0]
    assert len(report.gone) == 10


def test_a_missing_row_and_a_missing_seed(home: Path) -> None:
    for file in files(home, "BS"):
        file.unlink()
    files(home, "CE", 50)[1].unlink()
    write_tables(home)
    report = checks.check(PROFILE, home)
    assert report.gone == (
        f"{SET}, resnet10, IR50, CE: no record of seed 1",
        f"{SET}, resnet10, IR100, BS: no records",
    )


def test_a_number_that_is_gone(home: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["selection"]["last"]["rules"]["A"]["few"] = None

    for file in files(home, "BS"):
        edit(file, change)
    write_tables(home)
    gone = checks.check(PROFILE, home).gone
    assert f"{SET}, resnet10, IR100, BS: no rules.A.few" in gone


def test_stale_tables(home: Path) -> None:
    for file in (TABLE, NUMBERS):
        (home / file).write_text((home / file).read_text() + " ")
    (home / TABLE).with_name(f"{SET}-mini.md").write_text("of another profile")
    (home / TABLE).with_name("notes.md").write_text("no table")
    (home / TABLE).with_name(f"statistics-{PROFILE}.md").write_text("no leaderboard")
    (home / TABLE).with_name(f"table2-{PROFILE}.csv").write_text("another name, another format")
    report = checks.check(PROFILE, home)
    assert [line.partition(": ")[0] for line in report.stale] == [
        str(home / TABLE),
        str(home / f"results/tables/table2-{PROFILE}.csv"),
        str(home / NUMBERS),
    ]
    words = ["table", "--table", "table2", "--profile", PROFILE, "--home", str(home)]
    csv = str((home / TABLE).with_name(f"table2-{PROFILE}.csv"))
    assert main([*words, "--format", "csv", "--out", csv]) == 0
    out, numbers = str(home / TABLE), str(home / NUMBERS)
    assert main([*words, "--format", "markdown", "--out", out, "--metrics", numbers]) == 0
    assert checks.check(PROFILE, home).stale == ()


@pytest.mark.parametrize(("ratio", "slower"), [(1.61, False), (1.59, True), (3.0, False)])
def test_a_slower_engine(home: Path, ratio: float, slower: bool) -> None:
    checks.update(PROFILE, home, "with a speed", speed=gate.Speed(now=2.0, where="here"))
    measured = gate.Speed(now=ratio, where="measured now")
    report = checks.check(PROFILE, home, speed=measured)
    assert (report.speed.slower, report.failures) == (slower, slower)
    assert "not measured in this run" in gate_text.render(checks.check(PROFILE, home))


# ---------------------------------------------------------------- formats and exit codes


def command(capsys: Any, home: Path, *words: str) -> tuple[int, str, str]:
    code = main(["check", "--profile", PROFILE, "--home", str(home), *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_formats(capsys: Any, home: Path) -> None:
    add(home, "CE", "overall", -0.5)
    files(home, "BS+DisCL")[0].unlink()
    code, out, err = command(capsys, home)
    assert code == 3
    assert err.startswith(f"harness: check failed: profile {PROFILE}: 44 cells compared; ")
    line = next(x for x in out.splitlines() if x.endswith("fell"))
    assert line.startswith(f"{SET}, resnet10, IR100, CE  overall")
    code, out, _ = command(capsys, home, "--format", "markdown")
    assert code == 3
    assert out.startswith("## FAILED: ")
    assert "|----" in out or "|:---" in out
    assert "- gone: cifar100-lt, resnet10, IR100, BS+DisCL: no record of seed 0" in out
    code, out, _ = command(capsys, home, "--format", "json")
    report = json.loads(out)
    assert (code, report["passed"]) == (3, False)
    assert report["changes"][0]["change"] < -0.4
    assert report["changes"][0]["fell"] is True
    assert report["speed"]["slower"] is False


def test_exit_codes(capsys: Any, home: Path) -> None:
    code, out, err = command(capsys, home)
    assert (code, err) == (0, "")
    assert out.startswith(f"Passed: profile {PROFILE}: 48 cells compared, none changed\n")
    assert "Not calibrated" in out
    assert main(["check", "--profile", "tiny", "--home", str(home)]) == 2
    assert main(["check", "--dataset", "cifar", "--home", str(home)]) == 2
    assert command(capsys, home, "--set", "scratch.lr=0.05")[0] == 3
    code, _, err = command(capsys, home, "--set", "scratch.lrr=0.05")
    assert (code, "did you mean 'scratch.lr'?" in err) == (2, True)
    assert command(capsys, home, "--mode", "loose")[0] == 2
    assert command(capsys, home, "--update")[0] == 2
    assert command(capsys, home, "--reason", "why")[0] == 2
    assert command(capsys, home, "--update", "--reason", " ")[0] == 0  # nothing has changed
    files(home, "CE")[0].write_text("{")
    assert command(capsys, home)[0] == 1


# ---------------------------------------------------------------- golden numbers anew


def test_update_keeps_every_reason(capsys: Any, home: Path) -> None:
    file = golden.path(PROFILE, home)
    before = file.read_bytes()
    assert not checks.update(PROFILE, home, "nothing")
    assert file.read_bytes() == before
    add(home, "CE", "overall", -0.5)
    with pytest.raises(UsageError, match="golden numbers change for a reason"):
        checks.update(PROFILE, home, "  ")
    assert file.read_bytes() == before
    assert command(capsys, home, "--update", "--reason", "a harder test set")[0] == 0
    assert json.loads(file.read_text())["reasons"] == ["first numbers", "a harder test set"]
    assert checks.check(PROFILE, home).failures == 0


def test_update_of_one_data_set_keeps_the_others(home: Path) -> None:
    recipe = imagenet_lt.RECIPES[PROFILE]
    about = replace(spec("BS", 0), recipe=recipe, dataset="imagenet-lt", imbalance=None)
    records.write(run("BS", 0, 0.5, about=about), home / records.ROOT)
    assert checks.update(PROFILE, home, "a second data set", ["imagenet-lt"])
    assert [row.dataset for row in known(home).rows] == [SET] * 12 + ["imagenet-lt"]
    shutil.rmtree(home / records.ROOT / PROFILE / SET)
    assert checks.check(PROFILE, home, ["imagenet-lt"]).failures == 0
    assert len(checks.check(PROFILE, home).gone) == 10
    with pytest.raises(DataError, match="no records of cifar100-lt"):
        checks.update(PROFILE, home, "nothing there", [SET])


def test_a_single_run_has_the_luck_of_its_test_images(tmp_path: Path) -> None:
    records.write(smoke("CE", 0), tmp_path / records.ROOT)
    checks.update(PROFILE, tmp_path, "one seed")
    (row,) = known(tmp_path).rows
    cell = row.cells["overall"]
    binomial = np.sqrt(cell.mean * (1 - cell.mean) / 160)
    assert cell.sd == pytest.approx(golden.UNCALIBRATED * binomial, rel=0.25)


def test_reference_runs_give_mean_and_spread() -> None:
    """Repeated runs beside the reference's seed: the mean and the spread are those of all."""
    reference = [smoke(method, 0) for method in METHODS]
    repeated = [smoke(method, seed) for method in METHODS for seed in range(1, 9)]
    rows = golden.rows(reference, repeated)
    assert [row.method for row in rows] == [*METHODS, ALL_ROWS]
    for row in rows[:-1]:
        runs = [r for r in [*reference, *repeated] if r["method"] == row.method]
        values = [leaderboard.number_at(r, "overall", "last") for r in runs]
        cell = row.cells["overall"]
        assert (cell.values, cell.runs) == ((values[0],), 9)
        assert cell.mean == pytest.approx(np.mean(values), abs=1e-6)
        assert 0.3 < cell.sd / np.std(values, ddof=1) < 3
        assert cell.df > 8
    assert rows[-1].cells["overall"].sd < np.mean([r.cells["overall"].sd for r in rows[:-1]])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.update(profile="mini"), "golden numbers of 'mini', not of 'smoke'"),
        (lambda g: g.update(version=1), "version 1, this code reads version 2"),
        (lambda g: g.update(rule="B"), "of another rule or selection"),
        (lambda g: g.pop("rows"), r"damaged golden numbers: 'rows'"),
        (lambda g: g["rows"][0].pop("keys"), r"damaged golden numbers: a row has backbone"),
        (lambda g: g["rows"][0]["seeds"].pop(), "has not one value per seed"),
    ],
)
def test_bad_golden_numbers(home: Path, change: Any, message: str) -> None:
    file = golden.path(PROFILE, home)
    edit(file, change)
    with pytest.raises(DataError, match=message) as caught:
        checks.check(PROFILE, home)
    assert str(caught.value).startswith(f"{file}: ")


def test_golden_numbers_that_are_not_there_or_half_there(home: Path) -> None:
    file = golden.path(PROFILE, home)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"smoke\.json: damaged golden numbers, not JSON"):
        checks.check(PROFILE, home)
    file.unlink()
    with pytest.raises(DataError, match="no golden numbers yet; `harness check --profile smoke"):
        checks.check(PROFILE, home)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-50], "damaged record, not JSON"),
        (lambda text: text.replace('"version": 4', '"version": 5'), "version 5, this code reads"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "key .* is not that of its spec"),
    ],
)
def test_bad_records(home: Path, change: Any, message: str) -> None:
    file = files(home, "CE")[0]
    file.write_text(change(file.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        checks.check(PROFILE, home)
    assert str(file) in str(caught.value)
    with pytest.raises(DataError, match=message):
        checks.update(PROFILE, home, "why")


def test_records_of_another_profile_are_not_looked_at(home: Path) -> None:
    other = home / records.ROOT / "mini" / SET / "ce-resnet10-ir100-s0.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    assert checks.check(PROFILE, home).failures == 0
    with pytest.raises(DataError, match="damaged"):
        checks.update("mini", home, "why")


def test_calibration_that_cannot_be(home: Path, capsys: Any) -> None:
    with pytest.raises(UsageError, match=r"unknown arithmetic 'sse'"):
        checks.calibrate(PROFILE, home, "why", [0, 1], kinds=["sse"])
    with pytest.raises(UsageError, match="three runs of a row"):
        checks.calibrate(PROFILE, home, "why", [0], kinds=["default"])
    assert command(capsys, home, "--calibrate")[0] == 2
    assert command(capsys, home, "--calibrate", "--update", "--reason", "x")[0] == 2
