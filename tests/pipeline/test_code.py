"""Which code a stage runs, in records and in dvc.yaml."""

from pathlib import Path

import pytest
import yaml

from harness.core.source_digest import digest_of_packages
from harness.pipeline.code import PACKAGES, code_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stage", PACKAGES)
def test_dvc_watches_the_packages_of_a_stage(stage: str) -> None:
    """An edited function of training makes DVC run the training stage again."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    watched = set(stages[stage]["do"]["deps"])
    for package in PACKAGES[stage]:
        assert package.replace(".", "/") in watched, f"{stage}: {package}"


def test_the_code_of_a_stage_is_that_of_its_packages() -> None:
    assert code_of("train") == digest_of_packages(PACKAGES["train"])
    assert len({code_of(stage) for stage in PACKAGES}) >= 4
