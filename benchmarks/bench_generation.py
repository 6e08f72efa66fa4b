"""Generation: the engine against the stock pipeline in batches, and one image at a time with CLIP.

`harness profile --against stock loop` on a small data set of the built-in world, with the built-in
models, in this process on one thread; its result is in results/profile, too. Read the ratios, not
the seconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.cli import profile_text
from harness.pipeline import stages
from harness.pipeline.workspace import Workspace
from harness.planning import generation_run, profile

SOURCES = int(os.environ.get("HARNESS_BENCH_SOURCES", "4"))
LEVELS = [0.0, 0.1, 0.3, 0.5]


@pytest.fixture(scope="module")
def todo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(
        "cifar100-lt", home=home, overrides=(("imbalances", [100]), ("levels", LEVELS))
    )
    stages.index(workspace)
    stages.hard(workspace)
    return generation_run.work(workspace, SOURCES, "cpu")


def test_engine_against_its_peers(benchmark: Any, todo: Any) -> None:
    """Rates of all three, and the engine's over the others'."""
    result = benchmark.pedantic(
        profile.profile, (todo,), {"against": profile.PIPELINES}, rounds=1, warmup_rounds=0
    )
    benchmark.extra_info["images_per_s"] = result["images_per_s"]
    benchmark.extra_info["denoise_share"] = result["phases"]["denoise"]["share"]
    for name in profile.PIPELINES:
        benchmark.extra_info[f"times_{name}"] = result[name]["ratio"]
    print(f"\n{profile_text.render(result)}")
    where = Workspace(todo.workspace.dataset, todo.workspace.profile, Path())
    profile_text.write(where, result)
