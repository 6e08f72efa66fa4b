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

from harness.cli import gate_text
from harness.cli.main import main
from harness.core.errors import DataError, UsageError
from harness.datasets.cifar100_lt import MINI, SMOKE
from harness.results import gate, golden, leaderboard, published, records, table_data, tables
from harness.results.statistics import mean_sd

PROFILE, SET = "smoke", "cifar100-lt"
METHODS = ("BS", "BS+DisCL", "CE", "CE(control=True)", "CE+DisCL")
PATHS = ("rules.A.many", "rules.A.medium", "rules.A.few", "overall")
TABLE = Path(f"results/tables/{SET}-{PROFILE}.md")
NUMBERS = Path(f"results/metrics/{PROFILE}/{SET}.json")
SPEED = Path("results/profile/engine.json")


def smoke(method: str, seed: int, imbalance: int = 100) -> dict[str, Any]:
    about = replace(spec(method, seed, imbalance=imbalance), recipe=SMOKE)
    return run(method, seed, 0.5 + 0.05 * METHODS.index(method), 20, about)


def write_tables(home: Path) -> None:
    found = records.read_all(PROFILE, SET, home / records.ROOT)
    table = leaderboard.table(published.of(SET), found, PROFILE)
    for file, text in ((TABLE, tables.to_markdown(table)), (NUMBERS, table_data.to_metrics(table))):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_text(text)


def write_speed(home: Path, **told: Any) -> Path:
    file = home / SPEED
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": "a", "ratio_to_stock": 2.0, **told}))
    return file


@pytest.fixture(scope="module", autouse=True)
def hasty() -> Iterator[None]:
    """Nothing waits for the disk: records are written by the hundreds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rows at two ratios, three seeds each, with tables, a speed, and golden numbers."""
    home = tmp_path_factory.mktemp("home")
    for method in METHODS:
        for imbalance in (100, 50):
            for seed in range(3):
                records.write(smoke(method, seed, imbalance), home / records.ROOT)
    write_tables(home)
    write_speed(home)
    assert gate.update(PROFILE, home, "first numbers")
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def files(home: Path, method: str, imbalance: int = 100) -> list[Path]:
    found = (home / records.ROOT / PROFILE / SET).glob("*.json")
    named = f"{records.slug(method)}-resnet10-ir{imbalance}-"
    return sorted(file for file in found if file.name.startswith(named))


def change(home: Path, method: str, path: str, amount: Callable[[int], float]) -> None:
    """Adds to a number of each seed of a row; the tables are made anew."""
    for seed, file in enumerate(files(home, method)):
        found = json.loads(file.read_text())
        *above, last = path.split(".")
        place = found["selection"]["last"]
        for name in above:
            place = place[name]
        place[last] += amount(seed)
        file.write_text(json.dumps(found))
    write_tables(home)


def values(home: Path, method: str, path: str) -> list[float]:
    found = [leaderboard.number_at(records.read(f), path, "last") for f in files(home, method)]
    return [v for v in found if v is not None]


# ---------------------------------------------------------------- what passes


def test_unchanged_results_pass(home: Path) -> None:
    report = gate.check(PROFILE, home)
    assert (report.failures, report.changes, report.gone, report.stale) == (0, (), (), ())
    assert (report.cells, report.new, report.other) == (10 * 4, (), 0)
    assert report.speed == gate.Speed(2.0, 2.0, str(home / SPEED))


def test_reruns_to_the_bit_pass(home: Path) -> None:
    for _ in range(20):
        shutil.rmtree(home / records.ROOT)
        for method in METHODS:
            for imbalance in (100, 50):
                for seed in range(3):
                    records.write(smoke(method, seed, imbalance), home / records.ROOT)
        assert gate.check(PROFILE, home).failures == 0


def test_reruns_with_the_luck_of_their_seeds_pass(home: Path) -> None:
    """20 times new values of every cell, drawn from its spread."""
    kept = golden.read(golden.path(PROFILE, home), PROFILE)
    whole = {r["key"]: r for r in records.read_all(PROFILE, SET, home / records.ROOT)}
    rng, spreads = np.random.default_rng(0), []
    for _ in range(20):
        drawn = copy.deepcopy(list(whole.values()))
        for row in kept.rows:
            mine = sorted(
                (r for r in drawn if (r["method"], r["imbalance"]) == (row.method, row.imbalance)),
                key=lambda r: int(r["seed"]),
            )
            for path, cell in row.cells.items():
                mean, sd = mean_sd(cell.values)
                assert sd == pytest.approx(cell.sd, abs=1e-6)
                spreads.append(cell.sd)
                for r, value in zip(mine, rng.normal(mean, cell.sd, len(mine)), strict=True):
                    place = r["selection"]["last"]
                    *above, last = path.split(".")
                    for name in above:
                        place = place[name]
                    place[last] = float(np.clip(value, 0, 1))
        for r in drawn:
            records.write(r, home / records.ROOT)
        write_tables(home)
        report = gate.check(PROFILE, home)
        assert report.failures == 0, gate_text.render(report)
        assert report.other == 30  # same runs, other numbers: said, not failed
    assert min(spreads) > 0.001


def test_rises_and_new_rows_are_told_not_failed(home: Path) -> None:
    change(home, "CE", "overall", lambda _: 0.3)
    records.write(smoke("CE+DisCL", 3), home / records.ROOT)
    about = replace(spec("CE+CUDA", 0), recipe=SMOKE)
    records.write(run("CE+CUDA", 0, 0.5, about=about), home / records.ROOT)
    write_tables(home)
    report = gate.check(PROFILE, home)
    assert report.failures == 0
    assert [(c.row, c.path, c.fell) for c in report.changes] == [
        (f"{SET}, resnet10, IR100, CE", "overall", False)
    ]
    assert report.new == (f"{SET}, resnet10, IR100, CE+CUDA",)
    assert "rose" in gate_text.render(report)


# ---------------------------------------------------------------- what is caught


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", PATHS)
def test_a_drop_of_2_sd_and_a_point(home: Path, method: str, path: str) -> None:
    sd = mean_sd(values(home, method, path))[1]
    assert sd is not None
    change(home, method, path, lambda _: -(2 * sd + 0.01))
    report = gate.check(PROFILE, home)
    assert [(c.row, c.path, c.fell) for c in report.changes] == [
        (f"{SET}, resnet10, IR100, {method}", path, True)
    ]
    assert report.failures == 1
    assert report.other == 3


def test_a_drop_where_there_is_one_seed(tmp_path: Path) -> None:
    """Its tolerance is the luck of the test images."""
    file = records.write(smoke("CE", 0), tmp_path / records.ROOT)
    gate.update(PROFILE, tmp_path, "one seed")
    (row,) = golden.read(golden.path(PROFILE, tmp_path), PROFILE).rows
    cell = row.cells["overall"]
    binomial = np.sqrt(cell.values[0] * (1 - cell.values[0]) / 160)
    assert cell.sd == pytest.approx(binomial, rel=0.25)
    found = json.loads(file.read_text())
    for part, failures in ((0.9, 0), (1.01, 1)):
        found["selection"]["last"]["overall"] = cell.values[0] - part * gate.tolerance(cell.sd)
        file.write_text(json.dumps(found))
        assert gate.check(PROFILE, tmp_path).failures == failures


def test_a_missing_row_and_a_missing_seed(home: Path) -> None:
    for file in files(home, "BS"):
        file.unlink()
    files(home, "CE", 50)[1].unlink()
    write_tables(home)
    report = gate.check(PROFILE, home)
    assert report.gone == (
        f"{SET}, resnet10, IR50, CE: no record of seed 1",
        f"{SET}, resnet10, IR100, BS: no records",
    )
    assert report.failures == 2


def test_a_number_that_is_gone(home: Path) -> None:
    for file in files(home, "BS"):
        found = json.loads(file.read_text())
        found["selection"]["last"]["rules"]["A"]["few"] = None
        file.write_text(json.dumps(found))
    write_tables(home)
    assert gate.check(PROFILE, home).gone == (f"{SET}, resnet10, IR100, BS: no rules.A.few",)


def test_stale_tables(home: Path) -> None:
    for file in (TABLE, NUMBERS):
        (home / file).write_text((home / file).read_text() + " ")
    (home / TABLE).with_name(f"{SET}-mini.md").write_text("of another profile")
    (home / TABLE).with_name("notes.md").write_text("no table")
    (home / TABLE).with_name(f"statistics-{PROFILE}.md").write_text("no leaderboard")
    (home / TABLE).with_name(f"table2-{PROFILE}.csv").write_text("another name, another format")
    report = gate.check(PROFILE, home)
    assert [line.partition(":")[0] for line in report.stale] == [
        str(TABLE),
        f"results/tables/table2-{PROFILE}.csv",
        str(NUMBERS),
    ]
    words = ["table", "--table", "table2", "--profile", PROFILE, "--home", str(home)]
    csv = str((home / TABLE).with_name(f"table2-{PROFILE}.csv"))
    assert main([*words, "--format", "csv", "--out", csv]) == 0
    out = str(home / TABLE)
    numbers = str(home / NUMBERS)
    assert main([*words, "--format", "markdown", "--out", out, "--metrics", numbers]) == 0
    assert gate.check(PROFILE, home).stale == ()


@pytest.mark.parametrize(("ratio", "slower"), [(1.61, False), (1.59, True), (3.0, False)])
def test_a_slower_engine(home: Path, ratio: float, slower: bool) -> None:
    write_speed(home, ratio_to_stock=ratio)
    report = gate.check(PROFILE, home)
    assert (report.speed.slower, report.failures) == (slower, slower)


def test_which_speed_is_taken(home: Path) -> None:
    def said() -> float | None:
        return gate.check(PROFILE, home).speed.now

    folder = home / SPEED.parent
    (folder / "b.json").write_text('{"machine": "b", "ratio_to_stock": 9, "measured": "2031"}')
    (folder / "reading.json").write_text('{"machine": "a", "images_per_s": 3}')
    assert said() == 2.0  # of golden's machine
    (folder / "new.json").write_text('{"machine": "a", "ratio_to_stock": 5, "measured": "2030"}')
    assert said() == 5.0
    assert gate.check(PROFILE, home, profile_json=home / SPEED).speed.now == 2.0
    shutil.rmtree(folder)
    report = gate.check(PROFILE, home)
    assert (report.speed.now, report.failures) == (None, 0)
    assert "not measured here" in gate_text.render(report)


# ---------------------------------------------------------------- formats and exit codes


def command(capsys: Any, home: Path, *words: str) -> tuple[int, str, str]:
    code = main(["check", "--profile", PROFILE, "--home", str(home), *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_formats(capsys: Any, home: Path) -> None:
    change(home, "CE", "overall", lambda _: -0.3)
    files(home, "BS+DisCL")[0].unlink()
    code, out, err = command(capsys, home)
    assert code == 1
    assert err == (
        f"harness: check failed: profile {PROFILE}: 36 cells compared; 1 fell, 1 gone, "
        "2 files stale\n"
    )
    assert out.startswith(f"FAILED: profile {PROFILE}: 36 cells compared; 1 fell, 1 gone")
    line = next(x for x in out.splitlines() if x.endswith("fell"))
    assert line.startswith(f"{SET}, resnet10, IR100, CE  overall")
    assert "-30.00" in line
    code, out, _ = command(capsys, home, "--format", "markdown")
    assert code == 1
    assert out.startswith("## FAILED: ")
    assert "|----" in out or "|:---" in out
    assert "- gone: cifar100-lt, resnet10, IR100, BS+DisCL: no record of seed 0" in out
    code, out, _ = command(capsys, home, "--format", "json")
    told = json.loads(out)
    assert (code, told["passed"], told["failures"]) == (1, False, 4)
    assert told["changes"][0]["change"] == pytest.approx(-0.3)
    assert told["changes"][0]["fell"] is True
    assert told["speed"]["slower"] is False


def test_exit_codes(capsys: Any, home: Path) -> None:
    code, out, err = command(capsys, home)
    assert (code, err) == (0, "")
    assert out.startswith(f"Passed: profile {PROFILE}: 40 cells compared, none fell\n")
    assert main(["check", "--profile", "tiny", "--home", str(home)]) == 2
    assert main(["check", "--dataset", "cifar", "--home", str(home)]) == 2
    assert command(capsys, home, "--set", "scratch.lr=0.05")[0] == 0
    code, _, err = command(capsys, home, "--set", "scratch.lrr=0.05")
    assert (code, "did you mean 'scratch.lr'?" in err) == (2, True)
    assert command(capsys, home, "--update")[0] == 2
    assert command(capsys, home, "--reason", "why")[0] == 2
    assert command(capsys, home, "--update", "--reason", " ")[0] == 0  # nothing has changed


# ---------------------------------------------------------------- golden numbers anew


def test_update_keeps_every_reason(capsys: Any, home: Path) -> None:
    file = golden.path(PROFILE, home)
    before = file.read_bytes()
    assert not gate.update(PROFILE, home, "nothing")
    assert file.read_bytes() == before
    change(home, "CE", "overall", lambda _: -0.3)
    with pytest.raises(UsageError, match="golden numbers change for a reason"):
        gate.update(PROFILE, home, "  ")
    assert file.read_bytes() == before
    assert command(capsys, home, "--update", "--reason", "a harder test set")[0] == 0
    assert json.loads(file.read_text())["reasons"] == ["first numbers", "a harder test set"]
    assert gate.check(PROFILE, home).failures == 0


def test_update_of_one_data_set_keeps_the_others(home: Path) -> None:
    about = replace(spec("BS", 0), recipe=SMOKE, dataset="imagenet-lt", imbalance=None)
    records.write(run("BS", 0, 0.5, about=about), home / records.ROOT)
    assert gate.update(PROFILE, home, "a second data set", ["imagenet-lt"])
    kept = golden.read(golden.path(PROFILE, home), PROFILE)
    assert [row.dataset for row in kept.rows] == [SET] * 10 + ["imagenet-lt"]
    shutil.rmtree(home / records.ROOT / PROFILE / SET)
    assert gate.check(PROFILE, home, ["imagenet-lt"]).failures == 0
    assert len(gate.check(PROFILE, home).gone) == 10
    with pytest.raises(DataError, match="no records of cifar100-lt"):
        gate.update(PROFILE, home, "nothing there", [SET])


# ---------------------------------------------------------------- bad input


def bad_golden(home: Path, edit: Callable[[dict[str, Any]], Any]) -> str:
    file = golden.path(PROFILE, home)
    found = json.loads(file.read_text())
    edit(found)
    file.write_text(json.dumps(found))
    with pytest.raises(DataError) as caught:
        gate.check(PROFILE, home)
    assert str(caught.value).startswith(f"{file}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda g: g.update(profile="mini"), "golden numbers of 'mini', not of 'smoke'"),
        (lambda g: g.update(version=2), "version 2, this code reads version 1"),
        (lambda g: g.update(rule="B"), "of another rule or selection"),
        (lambda g: g.pop("rows"), "damaged golden numbers ('rows')"),
        (lambda g: g["rows"][0].pop("keys"), "damaged golden numbers (a row has backbone, cells"),
        (lambda g: g["rows"][0]["seeds"].pop(), "has not one value per seed"),
    ],
)
def test_bad_golden_numbers(home: Path, edit: Any, says: str) -> None:
    assert says in bad_golden(home, edit)


def test_golden_numbers_that_are_not_there_or_half_there(home: Path) -> None:
    file = golden.path(PROFILE, home)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"smoke\.json: damaged golden numbers, not JSON"):
        gate.check(PROFILE, home)
    file.unlink()
    with pytest.raises(DataError, match="no golden numbers yet; `harness check --profile smoke"):
        gate.check(PROFILE, home)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda text: text[:-50], "damaged record, not JSON"),
        (lambda text: text.replace('"version": 3', '"version": 4'), "version 4, this code reads"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "key .* is not that of its spec"),
    ],
)
def test_bad_records(home: Path, edit: Any, says: str) -> None:
    file = files(home, "CE")[0]
    file.write_text(edit(file.read_text()))
    with pytest.raises(DataError, match=says) as caught:
        gate.check(PROFILE, home)
    assert str(file) in str(caught.value)
    with pytest.raises(DataError, match=says):
        gate.update(PROFILE, home, "why")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "damaged profile, not JSON"),
        ("[]", "damaged profile, a list"),
        ('{"ratio_to_stock": "2"}', "ratio_to_stock is '2', expected a number above 0"),
        ('{"ratio_to_stock": 0}', "ratio_to_stock is 0, expected"),
    ],
)
def test_bad_speeds(home: Path, content: str, says: str) -> None:
    (home / SPEED).write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        gate.check(PROFILE, home)
    assert str(home / SPEED) in str(caught.value)


def test_a_speed_file_without_a_speed(home: Path) -> None:
    (home / SPEED).write_text("{}")
    assert gate.check(PROFILE, home).speed.now is None
    with pytest.raises(DataError, match="no ratio_to_stock; `harness profile --against stock`"):
        gate.check(PROFILE, home, profile_json=home / SPEED)
    with pytest.raises(DataError, match="cannot be read"):
        gate.check(PROFILE, home, profile_json=home / "nothing.json")


def test_records_of_another_profile_are_not_looked_at(home: Path) -> None:
    about = replace(spec("CE", 0), recipe=MINI)
    records.write(run("CE", 0, 0.1, about=about), home / records.ROOT)
    assert gate.check(PROFILE, home).failures == 0
