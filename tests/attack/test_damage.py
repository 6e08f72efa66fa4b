"""Damage at random places of every kind of kept file: named with the way back, or without effect.

Each trial flips a bit, cuts the end off or zeroes a block. ATTACK_TRIALS: trials per kind;
ATTACK_SEED: that of an earlier call, which is printed with a failure (and by pytest -s).
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import random_records
import small_workspace
import torch
from safetensors.torch import load

from harness.api.exports import open_export, write_export
from harness.core import digests, package_files, parallel
from harness.core.errors import DataError
from harness.core.files import write_atomic
from harness.datasets import prompts
from harness.datasets.pictures import Files, listed
from harness.mini import writing
from harness.models import torch_files
from harness.pipeline import run_files, runs, stages, verification
from harness.pipeline.jobs import Job, plan
from harness.pipeline.stages import index_table
from harness.pipeline.workspace import Workspace
from harness.pool import cache, failures, scores
from harness.pool.reader import open_pool
from harness.results import golden, records

TRIALS = int(os.environ.get("ATTACK_TRIALS", "8"))
SEED = int(os.environ.get("ATTACK_SEED", int.from_bytes(os.urandom(4), "big")))
LONGEST = 300  # characters of a sentence
ROWS = ["CE", "CE+DisCL"]
OUTCOMES: Counter[str] = Counter()


@dataclass(frozen=True)
class Kind:
    """A kept file: what its readers make of it, and what makes it again."""

    path: Path
    read: Callable[[], Any]
    remake: Callable[[], object] | None = None  # None: see the test that is named beside it


class World:
    """A workspace whose stages are all done, and other files that the harness writes."""

    def __init__(self, top: Path, models: Path) -> None:
        self.top = top
        data = small_workspace.write_data(top / "data")
        changes: dict[str, Any] = {"levels": [0.5], "pool_seeds": [10], "imbalances": [50]}
        names = {"generator": f"{models / 'generator'}", "clip": f"local-dir:{models / 'clip'}"}
        self.workspace = small_workspace.workspace(
            top / "home", data, **changes, **names, backbone="resnet10"
        )
        folder = data / "cifar-100-python"
        writing.list_files(folder, ("train", "test", "meta"))
        self.write_prompts()
        self.repair()
        self.write_others()

    @property
    def jobs(self) -> list[Job]:
        return plan(self.workspace, ROWS, [50], [0])

    def repair(self) -> None:
        """`harness verify --repair`, then what `harness compare` does."""
        verification.repair(verification.verify(self.workspace))
        fresh()
        stages.index(self.workspace)
        stages.hard(self.workspace)
        stages.generate(self.workspace)
        stages.score(self.workspace)
        runs.run(self.jobs)

    def write_prompts(self) -> None:
        names = ("aquarium fish", "apple", "thing 2", "thing 3")
        of = {name: (f"a photo of {name}",) * prompts.PER_CLASS for name in names}
        prompts.write(self.workspace.prompts, prompts.Prompts("cifar100-lt", {"kind": "t"}, of))

    def write_others(self) -> None:
        for form in ("files", "webdataset", "hf"):
            shutil.rmtree(self.top / form, ignore_errors=True)
            write_export(self.workspace, self.top / form, form)
        runs_ = [random_records.run("CE", seed, 0.5) for seed in range(3)]
        known = golden.Golden("mini", golden.rows(runs_), reasons=("a test",))
        golden.write(known, self.top / "golden.json")
        self.write_pictures()
        content = {"name": "x", "weights": {"w": torch.arange(500.0)}}
        torch_files.write(self.top / "checkpoint.pt", content)
        index = cache.read_index(self.workspace.pool)
        shard = cache.plan_shards(index.select(list(cache.REQUEST)))[0]
        reasons = dict.fromkeys(shard.keys, "no reason")
        failures.write(self.top / "failing", shard, reasons, None, "g")

    def write_pictures(self) -> None:
        pictures = {f"pictures/{n}.jpg": (n,) for n in range(6)}
        writing.write(self.top / "world", pictures, drawn, {"list.txt": b"all\n"}, workers=1)


def drawn(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8)


def fresh() -> None:
    """As another process would find it."""
    index_table._load.cache_clear()
    package_files._listed.cache_clear()
    package_files._check.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "run", small_workspace.here)
        yield
    print(f"\ndamage: seed {SEED}, {dict(OUTCOMES)}")


@pytest.fixture(scope="module")
def world(models: Path, quick: None, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), models)


# ---------------------------------------------------------------- the kinds of files


def table_kind(name: str, remake: Callable[[Workspace], object]) -> Callable[[World], Kind]:
    def kind(world: World) -> Kind:
        path = world.workspace.work / f"{name}.parquet"
        maker = verification.TABLES[name]
        return Kind(path, lambda: stages.read(path, maker), lambda: remake(world.workspace))

    return kind


def run_kind(name: str, read: Callable[[Path], Any]) -> Callable[[World], Kind]:
    """A file of the run that the other one starts from."""

    def kind(world: World) -> Kind:
        folder = world.jobs[0].folder
        return Kind(folder / name, lambda: read(run_files.check(folder, name)), world.repair)

    return kind


def pool_index(world: World) -> Kind:
    pool = world.workspace.pool
    return Kind(pool / "index.parquet", lambda: cache.read_index(pool))


def score_table(world: World) -> Kind:
    path = scores.score_files(world.workspace.pool)[0]
    name = world.workspace.scorer
    return Kind(
        path,
        lambda: cache.read_scores(world.workspace.pool, name),
        lambda: stages.score(world.workspace),
    )


def shard(world: World) -> Kind:
    pool = world.workspace.pool

    def read() -> Any:
        (pool / "index.parquet").unlink(missing_ok=True)
        some = open_pool(pool, workers=1)
        return [some[i] for i in range(len(some))]

    return Kind(pool / cache.read_index(pool)["shard"][0], read, world.repair)


def decoded_pixels(world: World) -> Kind:
    pool = world.workspace.pool
    return Kind(
        next(pool.glob("pixels-*.u8")), lambda: np.array(cache.pixels(pool, cache.read_index(pool)))
    )


def done(world: World) -> Kind:
    folder = world.jobs[0].folder

    def read() -> Any:
        content = run_files.read(folder)
        assert content is not None
        return {name: of for name, of in content.files.items() if name != "run.json"}

    return Kind(folder / run_files.DONE, read, world.repair)


def record(world: World) -> Kind:
    path = world.jobs[0].record
    return Kind(path, lambda: records.read(path), lambda: runs.run(world.jobs))


def record_of_before(world: World) -> Kind:
    """Without a digest: what its figures follow from is protected by them, the rest is not."""
    path = world.top / "before" / world.jobs[0].record.name

    def figures() -> Any:
        return records.read(path)["selection"]

    if not path.is_file():
        content = records.read(world.jobs[0].record)
        write_atomic(path, json.dumps(content).encode())
    return Kind(path, figures, lambda: shutil.copy(world.jobs[0].record, path))


def golden_numbers(world: World) -> Kind:
    path = world.top / "golden.json"
    return Kind(path, lambda: golden.read(path, "mini"), world.write_others)


def prompt_file(world: World) -> Kind:
    path = world.workspace.prompts
    return Kind(path, lambda: prompts.read(path), world.write_prompts)


def checkpoint(world: World) -> Kind:
    path = world.top / "checkpoint.pt"

    def read() -> Any:
        names, content = torch_files.read(path, ("name",), "`harness train` makes it again")
        return [*names, content["weights"]["w"].numpy()]

    return Kind(path, read, world.write_others)


def failure_list(world: World) -> Kind:
    path = failures.files(world.top / "failing")[0]

    def remake() -> None:
        path.unlink()
        world.write_others()

    return Kind(path, lambda: failures._content(path), remake)


def export(form: str, pattern: str) -> Callable[[World], Kind]:
    def kind(world: World) -> Kind:
        folder = world.top / form

        def read() -> Any:
            table, images = open_export(folder)
            return [table, *(images[i] for i in range(len(table)))]

        return Kind(next(folder.glob(pattern)), read, world.write_others)

    return kind


def picture(world: World) -> Kind:
    root = world.top / "world"
    names = [f"pictures/{n}.jpg" for n in range(6)]

    def read() -> Any:
        return Files(root, names, workers=1, listing=listed(root)).take(np.arange(6))

    def remake() -> None:
        (root / names[2]).unlink()
        world.write_pictures()

    return Kind(root / names[2], read, remake)


def listing(world: World) -> Kind:
    root, some = world.top / "world", picture(world)
    path = root / digests.LISTING

    def remake() -> None:
        path.unlink()
        world.write_pictures()

    return Kind(path, some.read, remake)


def official_file(world: World) -> Kind:
    """Of CIFAR, with a listing; the built-in world's is made again by its writer."""
    path = world.workspace.data / "cifar-100-python" / "train"
    return Kind(path, lambda: stages.load(world.workspace, 50).index_hash)


def package_file(name: str) -> Callable[[World], Kind]:
    def kind(world: World) -> Kind:
        path = package_files.PACKAGE / name  # a copy: see `package`
        return Kind(path, lambda: package_files.check(path).read_bytes())

    return kind


KINDS: dict[str, Callable[[World], Kind]] = {
    "index": table_kind("index", stages.index),
    "hard": table_kind("hard", stages.hard),
    "spectrum": table_kind("spectrum", stages.score),
    "pool index": pool_index,
    "scores": score_table,
    "shard": shard,
    "pixels": decoded_pixels,
    "failures": failure_list,
    "weights": run_kind(run_files.WEIGHTS, lambda path: load(path.read_bytes())),
    "predictions": run_kind("predictions-last.parquet", pl.read_parquet),
    "history": run_kind("epochs.jsonl", Path.read_bytes),
    "about a run": run_kind("run.json", lambda path: json.loads(path.read_text())["machine"]),
    "done": done,
    "checkpoint": checkpoint,
    "record": record,
    "record of before": record_of_before,
    "golden": golden_numbers,
    "prompts": prompt_file,
    "export, index": export("files", "metadata.csv"),
    "export, image": export("files", "*/*.*"),
    "export, listing": export("files", ".files.sha256"),
    "export, tar": export("webdataset", "*.tar"),
    "export, Parquet": export("hf", "data/*.parquet"),
    "picture": picture,
    "listing": listing,
    "official file": official_file,
    "shipped UNet": package_file("mini/models/generator/unet/diffusion_pytorch_model.safetensors"),
    "shipped sprites": package_file("mini/sprites/atlas.webp"),
    "shipped counts": package_file("planning/network_counts.json"),
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the package's data files in the place of the package."""
    for path in (*package_files.files(), package_files.LISTING):
        copy = tmp_path / "package" / path.relative_to(package_files.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    monkeypatch.setattr(package_files, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(package_files, "LISTING", tmp_path / "package" / "package.sha256")


# ---------------------------------------------------------------- the attack


def damaged(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Data with one fault, and what was done to it."""
    content, place = bytearray(data), int(rng.integers(len(data)))
    if rng.random() < 0.3:  # where the footers and the digests are
        place = int(rng.integers(max(0, len(data) - 600), len(data)))
    what = rng.choice(["flip", "flip", "cut", "zeros"])
    if what == "flip":
        content[place] ^= 1 << int(rng.integers(8))
    elif what == "cut":
        del content[place:]
    else:
        size = min(int(rng.choice([1, 16, 512])), len(data) - place)
        content[place : place + size] = bytes(size)
    return f"{what} at {place} of {len(data)}", bytes(content)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pl.DataFrame):
        return isinstance(other, pl.DataFrame) and one.equals(other)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    result = one == other
    return bool(result if isinstance(result, bool) else result.all())


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_named_or_without_effect(world: World, package: None, name: str) -> None:
    fresh()
    kind, rng = KINDS[name](world), np.random.default_rng([SEED, *name.encode()])
    value, last = kind.read(), None
    for _ in range(TRIALS):
        sound = kind.path.read_bytes()
        what, content = damaged(sound, rng)
        if content == sound:
            continue
        about = f"{name}, seed {SEED}: {what}"
        kind.path.write_bytes(content)
        fresh()
        OUTCOMES[outcome := trial(kind, value, about)] += 1
        last = (content, about) if outcome == "named" else last
        kind.path.write_bytes(sound)
    if kind.remake is not None and last is not None:
        kind.path.write_bytes(last[0])
        fresh()
        kind.remake()
        fresh()
        assert same(value, kind.read()), f"the way back fails: {last[1]}"
        OUTCOMES["made again"] += 1


def trial(kind: Kind, value: Any, about: str) -> str:
    """What comes of a file that is damaged now, and gives the value when it is sound."""
    try:
        read = kind.read()
    except DataError as error:
        check_sentence(str(error), kind, about)
        return "named"
    assert same(value, read), f"used silently: {about}"
    return "without effect"


def check_sentence(text: str, kind: Kind, about: str) -> None:
    assert str(kind.path) in text, f"{about}: {text}"
    assert "`" in text, f"no way back, {about}: {text}"
    assert len(text) <= LONGEST + max(0, len(str(kind.path)) - 100), f"{about}: {text}"
    assert "\n" not in text, f"{about}: {text}"
