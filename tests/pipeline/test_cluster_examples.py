"""The example files of docs/cluster are well-formed."""

import re
import subprocess
from pathlib import Path

import yaml

from harness.cli.main import _parser

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "cluster"


def test_the_script_is_bash():
    script = FOLDER / "slurm.sh"
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    options = re.findall(r"^#SBATCH --([a-z-]+)(?:=\S+)?$", script.read_text(), re.MULTILINE)
    assert len(options) == script.read_text().count("#SBATCH")


def test_the_cluster_file_has_what_ray_reads():
    config = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
    assert config["provider"]["type"] == "local"
    assert len(config["provider"]["worker_ips"]) == config["max_workers"]
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    assert all("/bin/ray " in command for command in commands)


def test_their_commands_are_those_of_the_harness():
    texts = [(FOLDER / name).read_text() for name in ("slurm.sh", "ray-cluster.yaml")]
    texts.append((ROOT / "docs" / "cluster.md").read_text())
    for text in texts:
        defaults = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        joined = re.sub(r"\\\n#?", " ", defaults)
        commands = re.findall(r"^#?\s*(harness compare .*)$", joined, re.MULTILINE)
        assert commands
        for command in commands:
            words = [word.strip('"') for word in command.split()[1:]]
            assert _parser().parse_args(words).engine == "ray"
