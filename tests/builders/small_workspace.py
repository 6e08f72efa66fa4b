"""A data set of four classes in the official format, and its place, for tests of whole stages."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cifar_files import write_world

from harness.mini import weights
from harness.pipeline.workspace import Workspace

SMALL: dict[str, Any] = {
    "imbalances": [100, 50],  # class sizes 120, 25, 5, 1 and 120, 32, 8, 2
    "levels": [0.0, 0.5],
    "pool_seeds": [10, 20, 30],
    "run_seeds": [0],
    "size_px": 32,  # as the tiny models make
    "steps": 4,
    "threshold": -1.0,
    "width": 4,
    "look_every": 1,
    "look_share": 1.0,
}
HARD = 8 + 2  # images of classes below 20; those of imbalance 100 are among them
SPECTRUM = 3  # synthetic images of one of them per level


def write_data(folder: Path, seed: int = 0) -> Path:
    """120 training and 3 test images in each of four classes; noise."""
    return write_world(folder, classes=4, size=120, seed=seed)


def workspace(home: Path, data: Path, **changes: Any) -> Workspace:
    """Profile smoke, smaller still, of these files."""
    values = tuple(sorted((SMALL | changes).items()))
    return Workspace("cifar100-lt", "smoke", home, data, values)


def use_models(folder: Path) -> None:
    """Take the foundation models of this process from `folder`."""
    weights.MODELS = folder


def here(
    function: Callable[..., Any],
    jobs: Sequence[Any],
    workers: int,
    start: Callable[..., Any] | None = None,
    arguments: tuple[Any, ...] = (),
    tolerant: bool = False,
) -> Iterator[tuple[Any, Any]]:
    """`parallel.run` in this process: a worker takes seconds to import what it needs.

    Errors are raised, tolerant or not.
    """
    states = () if start is None or not jobs else (start(*arguments),)
    for job in jobs:
        yield job, function(*states, job)
