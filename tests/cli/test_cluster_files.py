"""The examples of a cluster in docs/: their syntax, and that their commands are the harness's."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli.main import _parser

DOCS = Path(__file__).parents[2] / "docs"
BATCH = DOCS / "cluster.sbatch"


def cluster() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DOCS / "cluster.yaml").read_text())
    return content


def test_ray_takes_the_cluster():
    """Ray's own schema of cluster files."""
    util = pytest.importorskip(
        "ray.autoscaler._private.util", reason="Ray is not installed (extra `ray`)"
    )
    util.validate_config(util.prepare_config(cluster()))


def test_the_commands_of_the_cluster_are_a_shell_s():
    content = cluster()
    lines = [*content["head_start_ray_commands"], *content["worker_start_ray_commands"]]
    assert len(lines) == 4
    for line in lines:
        subprocess.run(["bash", "-n", "-c", line], check=True)
        assert "\n" not in line.strip()


def test_shellcheck():
    words = [Path(sys.executable).parent / "shellcheck", "--severity=style", BATCH]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_job_asks_for_what_it_uses():
    text = BATCH.read_text()
    assert text.startswith("#!/bin/bash\n")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", text, re.M))
    assert {"nodes", "gpus-per-node", "cpus-per-task", "time", "signal"} <= asked.keys()
    assert asked["ntasks-per-node"] == "1"
    last = max(text.index(line) for line in re.findall(r"^#SBATCH.*$", text, re.M))
    assert last < text.index("set -euo pipefail")  # SLURM reads no further than the first command


def test_its_command_parses():
    text = BATCH.read_text().replace("\\\n", " ")
    (line,) = re.findall(r'^"\$bin/harness" (.*) &$', text, re.M)
    arguments = _parser().parse_args(shlex.split(line))
    assert (arguments.engine, arguments.device) == ("ray", "cuda")


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="SLURM is not installed")
def test_slurm_takes_the_job():
    subprocess.run(["sbatch", "--test-only", BATCH], check=True)
