"""The counts that ship with the package are PyTorch's, and a plan with them needs no PyTorch."""

import json
import subprocess
import sys

import pytest

from harness.models import diffusion_counts
from harness.planning import flops
from harness.planning.network_counts import diffusion_shapes, shapes

SHAPES = {shape.name: shape for shape in shapes()}


def test_every_known_network_is_in_the_file():
    assert set(json.loads(flops.COUNTS.read_text())) == set(SHAPES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_counts_are_those_of_pytorch(name):
    shape = SHAPES[name]
    assert flops.is_known(shape)
    counted = flops.count(shape)
    assert flops.network(shape) == counted


def test_counts_of_feature_diffusion_are_those_of_pytorch():
    found = {diffusion_counts.name(*known): known for known in diffusion_shapes()}
    kept = json.loads(diffusion_counts.COUNTS.read_text())
    assert kept == {name: diffusion_counts.count(*known) for name, known in found.items()}


@pytest.mark.parametrize("profile", ["mini", "smoke", "paper"])
@pytest.mark.parametrize("dataset", ["imagenet-lt", "cifar100-lt", "inaturalist2018", "iwildcam"])
def test_a_plan_loads_no_torch(dataset, profile, tmp_path):
    code = (
        "import sys; from harness.cli.main import main\n"
        f"command = ['plan', '--dataset', '{dataset}', '--profile', '{profile}']\n"
        f"code = main([*command, '--home', '{tmp_path}'])\n"
        "print(code, [m for m in ('torch', 'diffusers', 'open_clip') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.splitlines()[-1] == "0 []", run.stderr


def test_a_plan_says_that_it_counted_an_unknown_network(tmp_path):
    command = ["plan", "--dataset", "cifar100-lt", "--set", "width=9", "--home", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "harness", *command], capture_output=True, text=True, check=False
    )
    assert "PyTorch counted this network now" in " ".join(run.stdout.split())
