"""Two nodes of a Ray cluster on this machine against two local workers: time, and the same weights.

    python benchmarks/bench_ray.py [--seeds 10] [--folder FOLDER]

Each trains six rows of CIFAR-100-LT of the built-in world at both imbalance ratios: with ten seeds
120 runs, ten minutes on two cores. Needs the `ray` extra.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "builders"))

from ray_nodes import nodes

ROWS = ("CE", "CE+CUDA", "CE(control=True)", "BS", "BS+CUDA", "BS(control=True)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="of each row")
    parser.add_argument("--folder", type=Path, help="an empty one (default: a temporary one)")
    arguments = parser.parse_args()
    if arguments.folder and arguments.folder.exists() and any(arguments.folder.iterdir()):
        parser.error(f"{arguments.folder} is not empty: runs that are there would take no time")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        local, ray = folder / "local", folder / "ray"
        local_s = train(local, arguments.seeds, "--workers", "2")
        print(f"two local workers: {local_s:.1f} s", flush=True)
        with nodes(2) as cluster:
            options = ("--engine", "ray", "--address", cluster.address)
            ray_s = train(ray, arguments.seeds, *options)
        print(f"two nodes: {ray_s:.1f} s, {ray_s / local_s - 1:+.1%}")
        made = weights(local)
        if made != weights(ray):
            sys.exit("the weights differ")
        print(f"{len(made)} files of weights, all of the same bytes")


def train(home: Path, seeds: int, *options: str) -> float:
    """Seconds of `harness train`, without the stages before it."""
    for stage in ("index", "hard"):
        harness(stage, home)
    start = time.monotonic()
    harness("train", home, "--rows", *ROWS, "--seeds", *map(str, range(seeds)), *options)
    return time.monotonic() - start


def harness(stage: str, home: Path, *options: str) -> None:
    command = [sys.executable, "-m", "harness", stage, "--dataset", "cifar100-lt", "-q"]
    command += ["--home", str(home), *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def weights(home: Path) -> dict[str, str]:
    """SHA-256 of each file of weights, by its path."""
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((home / "runs").rglob("*.safetensors"))
    }


if __name__ == "__main__":
    main()
