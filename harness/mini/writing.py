"""What the writers of the built-in data sets share: generators, pictures, whole trees of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import simplejpeg
from PIL import Image

from harness.core import digests, parallel
from harness.core.files import sweep, write_atomic
from harness.core.progress import ProgressBar
from harness.mini import scene

SIDE_PX = 64
QUALITY = 92
AT_ONCE = 200  # pictures of one job
MANY = 2000  # pictures from which processes are worth their start

Draw = Callable[..., np.ndarray]
J = TypeVar("J")
R = TypeVar("R")


def digest(*name: str | int) -> bytes:
    """SHA-256 of a name: words and numbers, of which none holds a slash."""
    return hashlib.sha256("/".join(map(str, name)).encode()).digest()


def rng_of(*name: str | int) -> np.random.Generator:
    """The generator that a name stands for, such as ("imagenet-lt", "train", 7, 3).

    Seeds of 256 bits: no stream of scene.py, whose seeds are lists of small numbers, meets them.
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest(*name), "big")))


def apportion(total: int, weights: Sequence[float], least: int = 0) -> list[int]:
    """Whole numbers in proportion to `weights` that sum to `total`, none below `least`.

    Largest remainders, the first of equals first. total >= least * len(weights).
    """
    spare = total - least * len(weights)
    exact = [spare * w / sum(weights) for w in weights]
    whole = [int(e) for e in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: (whole[i] - exact[i], i))
    for i in by_rest[: spare - sum(whole)]:
        whole[i] += 1
    return [least + n for n in whole]


def shrunk(count: int, share: float) -> int:
    """So much of a number of pictures, at least one."""
    return max(1, round(count * share))


def photo(
    concept: int, look: scene.Look, places: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    """A picture uint8 (64, 64, 3) of one concept, in one of those scenes of scene.SCENES."""
    world = scene.atlas()
    sprite = Image.fromarray(world.sprites[concept, int(rng.integers(len(world.styles)))])
    canvas = scene._background(places[int(rng.integers(len(places)))], look, SIDE_PX, rng)
    canvas = scene._place(canvas, sprite, look, rng)
    blur, noise = look.blur_px * float(rng.random()), look.noise * float(rng.random())
    return scene._camera(canvas, look, blur * SIDE_PX / 32, noise, rng)


# ---------------------------------------------------------------- files


def write(
    root: Path,
    pictures: Mapping[str, tuple[Any, ...]],
    draw: Draw,
    lists: Mapping[str, bytes],
    workers: int | None = None,
) -> None:
    """Write the pictures below `root` as JPEG, then the lists that make a data set of them.

    pictures: path -> arguments of `draw`, a function of a module that returns uint8 (H, W, 3).
    workers: processes; None: one per core where there are MANY pictures, else one.
    Where all files are there and the lists say the same, nothing is written; otherwise everything
    is, so what an interrupted run left behind does no harm. Each file appears whole or not at all.
    Raises DataError when one cannot be written.
    """
    if _complete(root, pictures, lists):
        list_files(root, (*pictures, *lists), unless_listed=True)
        return
    sweep(root)
    jobs = list(pictures.items())
    parts = [jobs[i : i + AT_ONCE] for i in range(0, len(jobs), AT_ONCE)]
    write_part = partial(_write_part, root, draw)
    with ProgressBar(total=len(jobs), desc="index", unit="picture") as bar:
        for part, _ in each(write_part, parts, len(jobs), workers):
            bar.update(len(part))
    for path, data in lists.items():
        write_atomic(root / path, data)
    list_files(root, (*pictures, *lists))


def list_files(root: Path, names: Iterable[str], unless_listed: bool = False) -> None:
    """Write the digests of these files below `root`, by which their readers check them.

    unless_listed: for files that are there already, only where there is no listing.
    """
    if not (unless_listed and (root / digests.LISTING).is_file()):
        found = {name: digests.of_file(root / name) for name in names}
        digests.write_listing(root / digests.LISTING, found)


def each(
    function: Callable[[J], R], parts: Sequence[J], pictures: int, workers: int | None = None
) -> Iterator[tuple[J, R]]:
    """(part, function(part)) as they are done, in processes as `write` has them."""
    workers = workers or (parallel.cores() if pictures > MANY else 1)
    if workers == 1:
        return ((part, function(part)) for part in parts)
    return parallel.run(function, parts, workers)


def _complete(root: Path, pictures: Mapping[str, Any], lists: Mapping[str, bytes]) -> bool:
    try:
        same = all((root / path).read_bytes() == data for path, data in lists.items())
        listed = digests.read_listing(root / digests.LISTING, "it is written again").keys()
        same = same and (not listed or listed == {*pictures, *lists})
        return same and all((root / path).stat().st_size > 0 for path in pictures)
    except (OSError, digests.Damaged):
        return False


def _write_part(root: Path, draw: Draw, part: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
    for path, arguments in part:
        _save(root / path, draw(*arguments))


def _save(path: Path, pixels: np.ndarray) -> None:
    """Not synced, unlike the lists: thousands of times, that would take longer than drawing."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, "RGB", "444", False)
    write_atomic(path, data, sync=False)
