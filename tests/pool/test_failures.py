"""What cannot be made is left out and told, and changes nothing about the rest."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_pools
import small_workspace
import torch

from harness.cli.main import main
from harness.core import parallel
from harness.core.errors import DataError, UsageError
from harness.core.specs import GeneratorSpec, key
from harness.datasets.pictures import Block
from harness.generation import approximations, fp8
from harness.generation.approximations import Approximations
from harness.generation.engine import Failed, Generator, Request, load_pipeline, picture_of
from harness.mini import scene, weights
from harness.pipeline import pool_statistics, stages
from harness.pipeline.workspace import Workspace
from harness.pool import cache, failures

SPEC = GeneratorSpec("tiny", "", 32, steps=4, text_guidance=4.0, batch=4)
SOURCES = [scene.compose("train", concept, 0).pixels for concept in range(4)]
REQUESTS = [
    Request(f"{s}/{level}", str(s), level, 0, f"a photo of a {name} on green grass")
    for s, name in enumerate(("apple", "bear", "bus", "lion"))
    for level in (0, 50)
]
LONG = "a photo of " + 40 * "apple "


@pytest.fixture(scope="module")
def pipeline(models: Path) -> Any:
    return load_pipeline(str(models / "generator"), torch.float32, "cpu")


def source(name: str) -> np.ndarray:
    if name == "gone":
        raise DataError("picture 7: a damaged picture")
    return SOURCES[int(name)]


def engine(pipeline: Any, **changes: Any) -> Generator:
    return Generator(pipeline, replace(SPEC, **changes), source)


def images_of(generator: Generator, requests: list[Request] = REQUESTS) -> dict[str, Any]:
    return {r.key: image for r, image in generator.images(requests)}


@pytest.fixture(scope="module")
def images(pipeline: Any) -> dict[str, np.ndarray]:
    return images_of(engine(pipeline))


def test_a_source_and_a_prompt_that_cannot_be_read_fail_alone(pipeline, images):
    bad = [Request("bad", "gone", 0, 0, "a bus"), Request("long", "0", 50, 0, LONG)]
    images_now = images_of(engine(pipeline), [bad[0], *REQUESTS[:3], bad[1], *REQUESTS[3:], bad[0]])
    assert images_now["bad"] == Failed("picture 7: a damaged picture")
    assert "tokens, and the generator reads 24" in images_now["long"].reason
    assert images_now.keys() - {"bad", "long"} == images.keys()
    assert all(images_now[k].tobytes() == image.tobytes() for k, image in images.items())
    with pytest.raises(DataError, match="could not be made: picture 7"):
        picture_of(images_now["bad"])
    assert picture_of(images_now["0/0"]) is images_now["0/0"]
    assert images_of(engine(pipeline), bad).keys() == {"bad", "long"}


def test_latents_and_pixels_that_are_not_finite_fail_alone(pipeline, images, monkeypatch):
    broken, decode = engine(pipeline), pipeline.vae.decode
    posterior = broken.posterior("2")
    posterior[0][0, 0, 0] = torch.nan
    images_now = images_of(broken)
    assert {k for k, image in images_now.items() if isinstance(image, Failed)} == {"2/0", "2/50"}
    assert images_now["2/0"] == Failed("latents not finite")
    good = [k for k in images if not k.startswith("2/")]
    assert all(images_now[k].tobytes() == images[k].tobytes() for k in good)

    def overflowing(z: torch.Tensor) -> Any:
        pixels = decode(z)
        pixels.sample[1, 0, 3, 3] = torch.inf
        return pixels

    monkeypatch.setattr(pipeline.vae, "decode", overflowing)
    images_now = images_of(engine(pipeline), REQUESTS[:4])
    assert [isinstance(i, Failed) for i in images_now.values()] == [False, True, False, False]
    reasons = [image.reason for image in images_now.values() if isinstance(image, Failed)]
    assert reasons == ["pixels not finite"]


def small_memory(function: Any, rows: int, error: type[BaseException]) -> Any:
    def work(x: torch.Tensor, *rest: Any) -> Any:
        if len(x) > rows:
            raise error("DefaultCPUAllocator: can't allocate memory")
        return function(x, *rest)

    return work


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_batches_are_halved_when_memory_does_not_suffice(pipeline, images, error, monkeypatch):
    tight = engine(pipeline)
    tight._guess = small_memory(tight._guess, 3, error)
    monkeypatch.setattr(pipeline.vae, "decode", small_memory(pipeline.vae.decode, 4, error))
    with pytest.warns(RuntimeWarning) as caught:
        images_now = images_of(tight)
    messages = [str(w.message) for w in caught]
    assert sum("denoising goes on with 4 pictures at once" in s for s in messages) == 1
    assert sum("denoising goes on with 2 pictures at once" in s for s in messages) == 1
    assert sum("decoding goes on with 4 pictures at once" in s for s in messages) == 1
    for k, image in images.items():
        assert np.abs(images_now[k].astype(int) - image).max() <= 1


def test_memory_that_does_not_hold_one_picture(pipeline):
    tight = engine(pipeline)
    tight._guess = small_memory(tight._guess, 0, MemoryError)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(DataError, match="denoising one picture needs more memory than there is"),
    ):
        images_of(tight)


def test_other_errors_are_not_taken_for_a_lack_of_memory(pipeline, monkeypatch):
    wrong = engine(pipeline)
    monkeypatch.setattr(wrong, "_guess", lambda *_: torch.zeros(2) + torch.zeros(3))
    with pytest.raises(RuntimeError, match="size of tensor"):
        images_of(wrong)


# ---------------------------------------------------------------- approximations


def test_short_cuts_are_named():
    assert approximations.parse(()) == Approximations()
    assert approximations.parse(["guidance-interval=0.2-0.8"]) == Approximations((0.2, 0.8))
    for wrong in ("guidance-intervall=0-1", "fp8", ""):
        with pytest.raises(UsageError, match="unknown approximation"):
            approximations.parse([wrong])
    for wrong in ("", "=0.8-0.2", "=0.2", "=-1-1", "=0-1.5", "=nan-1"):
        with pytest.raises(UsageError, match="expected shares of the steps"):
            approximations.parse([f"guidance-interval{wrong}"])
    assert approximations.parse(["deep-cache=3"]) == Approximations(every=3)
    for wrong in ("", "=1", "=11", "=2.5", "=-2", "=x"):
        with pytest.raises(UsageError, match="expected 2 to 10 steps, as deep-cache=2"):
            approximations.parse([f"deep-cache{wrong}"])
    with pytest.raises(UsageError, match="twice"):
        approximations.parse(["guidance-interval=0-1"] * 2)
    assert approximations.parse(["fp8-linears", "deep-cache=2"]) == Approximations(
        every=2, fp8=True
    )
    with pytest.raises(UsageError, match="takes no value"):
        approximations.parse(["fp8-linears=1"])
    with pytest.raises(UsageError, match="do not go together"):
        approximations.parse(["guidance-interval=0-1", "deep-cache=2"])


def test_guidance_interval(pipeline, images):
    """The whole interval is exact; a part of it takes fewer passes, whoever the neighbours are."""
    whole = images_of(engine(pipeline, approximate=("guidance-interval=0-1",)))
    assert max(np.abs(whole[k].astype(int) - images[k]).max() for k in images) <= 1
    part = engine(pipeline, approximate=("guidance-interval=0.5-1",))
    passes, guess = [], part._guess
    part._guess = lambda x, *rest: passes.append(len(x)) or guess(x, *rest)
    lockstep = images_of(part, [r for r in REQUESTS if r.guidance == 0])
    assert passes == [4] * (4 + 2)  # four steps, and without the text at two of them
    images_now = images_of(part, REQUESTS[::-1])
    assert all(images_now[k].tobytes() == image.tobytes() for k, image in lockstep.items())
    assert any((images_now[k] != images[k]).any() for k in lockstep)


def test_deep_cache(pipeline, images):
    """Whole at every second step of an image, whoever the neighbours are; whole always is exact."""
    fast = engine(pipeline, approximate=("deep-cache=2",))
    steps, view = [], fast.deep.view
    fast.deep.view = lambda whole, rows: steps.append(whole) or view(whole, rows)
    lockstep = images_of(fast, [r for r in REQUESTS if r.guidance == 0][: fast.spec.batch])
    assert steps == [True, False] * 2
    images_now = images_of(fast, REQUESTS[::-1])
    assert images_now.keys() == images.keys()
    assert all(images_now[k].tobytes() == image.tobytes() for k, image in lockstep.items())
    assert any((images_now[k] != images[k]).any() for k in lockstep)
    fast.deep.view = lambda whole, rows: view(True, rows)
    exact = images_of(fast)
    assert all(exact[k].tobytes() == images[k].tobytes() for k in images)


def test_eight_bits(pipeline, images):
    """Near the exact pictures, whoever the neighbours are; the pipeline's UNet stays as it is."""
    before = {name: w.clone() for name, w in pipeline.unet.state_dict().items()}
    small = engine(pipeline, approximate=("fp8-linears",))
    images_now = images_of(small)
    far = [np.abs(images_now[k].astype(int) - images[k]).mean() for k in images]
    assert 0 < np.mean(far) < 40  # random weights, whose pictures are far from each other anyhow
    again = images_of(small, REQUESTS[::-1])
    assert all(again[k].tobytes() == images_now[k].tobytes() for k in images)
    assert all(torch.equal(w, before[name]) for name, w in pipeline.unet.state_dict().items())


def test_a_linear_layer_in_eight_bits():
    """Weights by output channel, activations by row: a large row does not blur a small one."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32)
    x = torch.randn(2, 5, 64)
    x[0, 0] *= 1000
    with torch.inference_mode():
        exact, images_now = layer(x), fp8.Linear8(layer)(x)
        alone = fp8.Linear8(layer)(x[1:])
    assert torch.equal(images_now[1:], alone)
    error = (images_now - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert 0.005 < error.max() < 0.1


def test_the_shallow_pass_skips_what_it_says(pipeline):
    fast = engine(pipeline, approximate=("deep-cache=2",))
    names = dict(pipeline.unet.named_parameters())
    used = {id(p) for p in fast.deep.shallow.parameters()}
    skipped = {name for name, p in names.items() if id(p) not in used}
    assert skipped
    assert all(not n.startswith(("conv", "time", "add", "down_blocks.0.res")) for n in skipped)
    assert {n for n in names if n.startswith("mid_block")} <= skipped
    assert {n for n in names if n.startswith("up_blocks.")} - skipped  # the last one's


def test_the_forward_pass_is_one_graph(pipeline, images):
    """torch.compile with fullgraph: nothing of the engine's leaves the graph."""
    whole = engine(pipeline)
    whole._guess = torch.compile(whole._predict, backend="eager", fullgraph=True, dynamic=False)
    images_now = images_of(whole, REQUESTS[:2])
    assert all((images_now[k] == images[k]).all() for k in images_now)


# ---------------------------------------------------------------- through the stages


@pytest.fixture(scope="module")
def data(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "MODELS", models)
        patch.setattr(parallel, "run", small_workspace.here)
        yield small_workspace.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def workspace(data: Path, tmp_path: Path) -> Workspace:
    folder_space = small_workspace.workspace(tmp_path, data, steps=2)
    stages.index(folder_space)
    stages.hard(folder_space)
    return folder_space


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of training pictures that cannot be read, to begin with the last one."""
    gone, take = [], Block.take

    def damaged(self: Block, ids: np.ndarray) -> np.ndarray:
        for i in set(np.asarray(ids).tolist()) & set(gone):
            raise DataError(f"picture {i}: damaged")
        return take(self, ids)

    monkeypatch.setattr(Block, "take", damaged)
    return gone


def hard_picture(workspace: Workspace) -> tuple[int, str]:
    row = stages.read(workspace.work / "hard.parquet", "").filter(pl.col("imbalance") == 100)[0]
    images = stages.load(workspace, 100).train
    return int(images.filter(pl.col("id") == row["id"][0])["image"][0]), row["source"][0]


def test_what_is_outstanding_has_neither_image_nor_failure():
    requests = pl.DataFrame({"key": ["c", "a", "d", "b"], "guidance": [0, 50, 50, 0]})
    images, failed = pl.DataFrame({"key": ["a", "x"], "seed": 0}), pl.DataFrame({"key": ["b"]})
    left = failures.outstanding(requests, images, failed)
    assert left.rows() == [("c", 0), ("d", 50)]
    assert len(failures.outstanding(requests, requests, failed)) == 0


def test_a_source_that_cannot_be_read_is_left_out_and_counted(workspace, unreadable, monkeypatch):
    number, name = hard_picture(workspace)
    unreadable.append(number)
    failing = small_workspace.SPECTRUM * 2  # two levels
    requests = stages.requests(workspace)
    assert stages.generate(workspace) == len(requests) - failing
    failed = stages.failed(workspace)
    assert set(failed["source"]) == {name}
    assert failed["reason"].unique().to_list() == [f"picture {number}: damaged"]
    assert failures.render(failed) == f"{failing} images failed: picture {number}: damaged"
    assert cache.verify(workspace.pool) == []
    before = small_pools.files(workspace.pool)
    assert stages.generate(workspace) == 0  # tried again, in vain
    assert small_pools.files(workspace.pool) == before

    assert stages.score(workspace) == len(requests) - failing
    assert name not in set(stages.read(workspace.work / "spectrum.parquet", "")["source"])
    counts = {c.imbalance: c for c in pool_statistics.count(workspace)}
    assert (counts[100].failed, counts[100].generated) == (failing, len(requests.filter(
        pl.col("source").is_in(set(stages.read(workspace.work / "hard.parquet", "").filter(
            pl.col("imbalance") == 100)["source"])))) - failing)  # fmt: skip
    text = " ".join(pool_statistics.render(workspace, pool_statistics.count(workspace)).split())
    assert f"imbalance ratio 100: {failing} images could not be generated and are left out" in text

    unreadable.clear()
    assert stages.generate(workspace) == failing
    assert len(stages.failed(workspace)) == 0
    assert cache.verify(workspace.pool) == []
    assert stages.score(workspace) == failing
    assert failures.stale(workspace.pool, [key(workspace.generator)]) == sorted(
        (workspace.pool / "failed").iterdir()
    )


def test_a_run_that_is_cut_off_after_a_failure_makes_the_same_files(
    workspace, unreadable, monkeypatch
):
    monkeypatch.setattr(cache.pending, "__defaults__", (4,))
    monkeypatch.setattr(cache.plan_shards, "__defaults__", (4,))
    unreadable.append(hard_picture(workspace)[0])
    stages.generate(workspace)
    undisturbed = small_pools.files(workspace.pool)
    write, left = cache.write_shard, list(range(4))

    def cut_off(*about: Any) -> Path:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return write(*about)

    shutil.rmtree(workspace.pool)
    monkeypatch.setattr(cache, "write_shard", cut_off)
    with pytest.raises(KeyboardInterrupt):
        stages.generate(workspace)
    assert len(small_pools.files(workspace.pool)) < len(undisturbed)
    monkeypatch.setattr(cache, "write_shard", write)
    stages.generate(workspace)
    assert small_pools.files(workspace.pool) == undisturbed


def test_commands_tell_of_failures(workspace, unreadable, capsys):
    unreadable.append(hard_picture(workspace)[0])
    where = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", str(workspace.home)]
    where += ["--root", str(workspace.data), "--params", str(workspace.home / "params.yaml")]
    values = dict(workspace.overrides)
    (workspace.home / "params.yaml").write_text(json.dumps({"smoke": {"cifar100-lt": values}}))
    assert main(["generate", *where, "--rows", "CE+DisCL"]) == 0
    err = capsys.readouterr().err
    assert "6 images failed: picture" in err
    assert "they are left out; the next call tries them again" in err
    unreadable.clear()
    assert main(["generate", *where, "--rows", "CE+DisCL"]) == 0
    assert main(["cache", "gc", *where]) == 0
    assert not list((workspace.pool / "failed").iterdir())


def test_a_level_of_which_every_image_failed_ends_generation(workspace):
    """A run would otherwise find the gap, hours later, and not know why."""
    asked = stages.requests(workspace)
    reasons = ["pixels not finite", *["a prompt of 149 tokens"] * (len(asked) - 1)]
    lost = asked.with_columns(reason=pl.Series(reasons))
    all_levels = rf"of the {len(asked)} images of guidance 0, 0\.5 could be made: a prompt of 149"
    with pytest.raises(DataError, match=all_levels):
        stages.check_levels(workspace, stages.SPECTRUM, lost)
    half = lost.filter(pl.col("guidance") == 50)
    with pytest.raises(DataError, match=rf"none of the {len(half)} images of guidance 0\.5 could"):
        stages.check_levels(workspace, stages.SPECTRUM, half)
    for few in (half[1:], lost[:0]):
        stages.check_levels(workspace, stages.SPECTRUM, few)


def test_the_command_ends_where_no_image_of_a_level_could_be_made(workspace, capsys, monkeypatch):
    where = ["--dataset", "cifar100-lt", "--profile", "smoke", "--home", str(workspace.home)]
    where += ["--root", str(workspace.data), "--params", str(workspace.home / "params.yaml")]
    values = dict(workspace.overrides)
    (workspace.home / "params.yaml").write_text(json.dumps({"smoke": {"cifar100-lt": values}}))
    monkeypatch.setattr(workspace.module, "prompt", lambda *_: LONG)
    assert main(["generate", *where, "--rows", "CE+DisCL"]) == 1
    err = capsys.readouterr().err
    assert "of guidance 0, 0.5 could be made: a prompt of" in err
    assert main(["score", *where, "--rows", "CE+DisCL"]) == 0
    assert len(stages.read(workspace.work / "spectrum.parquet", "")) == 0


def test_a_damaged_list_of_failures(workspace, unreadable):
    unreadable.append(hard_picture(workspace)[0])
    stages.generate(workspace)
    path = next((workspace.pool / "failed").iterdir())
    for content in ("{", "[]", '{"generator": 1, "rest": null, "rows": [{}]}'):
        path.write_text(content)
        with pytest.raises(DataError, match="damaged"):
            stages.failed(workspace)
