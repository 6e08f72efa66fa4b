"""The rehearsal of the paper profile: real architectures, random weights, official formats."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLES = ("table1", "table2", "table3", "table4", "table5")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("table", TABLES)
def test_every_stage_and_row_of_a_table(table, tmp_path):
    command = [sys.executable, "benchmarks/rehearsal.py", "--tables", table]
    run = subprocess.run(
        [*command, "--folder", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    lines = json.loads((tmp_path / "rehearsal.json").read_text())
    (rows,) = (line for line in lines if line["step"] == "rows")
    assert rows["missing"] == []
    assert {"index", "hard", "train"} <= {line["step"] for line in lines}
    assert all(line["peak_gib"] < 8 for line in lines if "peak_gib" in line)
    assert "Every stage and row ran." in (tmp_path / "rehearsal.md").read_text()
