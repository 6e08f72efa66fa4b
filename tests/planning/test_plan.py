"""Plans of comparisons, from the sizes of the data sets alone."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.cli import plan_text
from harness.core import registry
from harness.core.errors import DataError, UsageError
from harness.methods.compose import compose
from harness.pipeline.workspace import Workspace
from harness.planning import dataset_sizes, doctor, dry_run, flops
from harness.planning import plan as plans
from harness.planning.flops import Shape
from harness.planning.unit_costs import UnitCosts
from harness.results import published

ROOT = Path(__file__).parents[2]
ADAPTIVE = 'FLYP+DisCL(curriculum="adaptive")'
SUBSETS = {100: (60, 40, 15, 4), 50: (60, 45, 22, 10)}
# The published sizes, in the form that harness.planning.dataset_sizes' docstring describes.
FACTS = {
    "imagenet-lt": {
        "train": 115_846,
        "classes": 1000,
        "hard": {"<20": 1643, "<=20": 1843},
        "hard_classes": {"<20": 136, "<=20": 146},
        "splits": {"val": 20_000, "test": 50_000},
    },
    "inaturalist2018": {
        "train": 437_513,
        "classes": 8142,
        "hard": {"<20": 44_956},
        "hard_classes": {"<20": 3224},
        "splits": {"test": 24_426},
    },
    "iwildcam": {
        "train": 129_809,
        "classes": 182,
        "hard": 8260,
        "hard_classes": None,
        "splits": {"val": 14_961, "test": 42_791, "id_val": 7314, "id_test": 8154},
    },
    # At ratio 50 the third class is too large to be hard.
    "cifar100-lt": {
        "counts": lambda imbalance, recipe: SUBSETS[imbalance],
        "splits": {"test": 30},
    },
}


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    """These sizes, whatever the modules say, and a machine that lacks a GPU and nothing else."""
    for name, told in FACTS.items():
        module = registry.find("harness.datasets", name)
        monkeypatch.setattr(module, "FACTS", {"paper": told}, raising=False)
    monkeypatch.setattr(doctor, "missing", lambda workspace: ("a GPU: none here",))


def paper(tmp_path, dataset, **changes):
    return Workspace(dataset, "paper", tmp_path, overrides=tuple(sorted(changes.items())))


def runs(told):
    return {run.method: run for run in told.runs}


# ---------------------------------------------------------------- synthetic images


def test_images_of_imagenet_lt(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE+DisCL"], tflops=100)
    assert told.sources == 1643
    assert [level.guidance for level in told.pool] == [0, 10, 30, 50]
    assert [level.images for level in told.pool] == [1643 * 8] * 4 == [13_144] * 4
    assert sum(level.images for level in told.pool) == 52_576
    assert [level.steps for level in told.pool] == [50, 45, 35, 25]  # 50 * (1 - guidance)
    # counted at 512 px: encode 1.117, decode 2.515, CLIP 0.009, two passes of 1.619 per step
    each = [1.117 + 2.515 + 0.009 + 2 * 1.6193 * steps for steps in (50, 45, 35, 25)]
    assert [level.tflop for level in told.pool] == pytest.approx(each, abs=0.01)
    pflop = 13.144 * sum(each)
    assert told.generation_pflop == pytest.approx(pflop, rel=1e-4)
    assert told.gpu_h(told.generation_pflop, False) == pytest.approx(pflop * 10 / 3600, rel=1e-4)


@pytest.mark.parametrize(
    ("size_px", "unet", "encode", "decode"),
    [(512, 1.6193, 1.1167, 2.5145), (256, 0.4067, 0.2727, 0.6222), (1024, 7.2860, 4.8790, 10.4704)],
)
def test_flops_of_an_image(size_px, unet, encode, decode):
    """Against PyTorch's count of the whole models at that size."""
    found = flops.image_tflop(flops.REFINER, size_px, 7)
    assert found == pytest.approx(encode + decode + 0.0088 + 14 * unet, rel=1e-4)


def test_flops_and_bytes_of_a_wide_image():
    """Against PyTorch's count at 480x272: UNet 0.826, encode 0.548, decode 1.244."""
    found = flops.image_tflop(flops.REFINER, 480, 50, 272)
    assert found == pytest.approx(0.548 + 1.244 + 0.0088 + 100 * 0.826, rel=0.04)
    square = flops.picture_kb("jpeg", 512)
    assert flops.picture_kb("jpeg", 1024, 256) == pytest.approx(square, rel=1e-6)
    assert flops.picture_kb("jpeg", 480, 272) < square / 1.7


def test_flops_of_an_unknown_generator_are_not_made_up(tmp_path):
    assert flops.image_tflop("someone/else", 512, 50) is None
    told = plans.plan(paper(tmp_path, "imagenet-lt", generator="someone/else"), ["CE+DisCL"])
    assert told.generation_pflop is None
    assert "Those of the generator someone/else are not known." in told.assumed
    sums = [line.split() for line in plan_text.render(told).splitlines() if line.startswith("all ")]
    assert ["all", "52,576", "-", "-"] in sums


def test_rows_without_synthetic_images_generate_none(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE"])
    assert (told.pool, told.disk_gb["synthetic images"]) == ((), 0)
    assert "generator, from the hub" not in told.disk_gb


def test_an_image_that_is_hard_at_two_ratios_is_made_once(tmp_path):
    told = plans.plan(paper(tmp_path, "cifar100-lt"), ["CE+DisCL"])
    assert [(f.imbalance, f.train, f.hard, f.hard_classes) for f in told.facts] == [
        (100, 119, 19, 2),  # 15 + 4
        (50, 137, 10, 1),  # 22 is not below 20
    ]
    assert told.sources == 15 + 10  # the 4 are among the 10
    only = plans.plan(paper(tmp_path, "cifar100-lt"), ["CE+DisCL"], imbalances=[50])
    assert (only.sources, len(only.facts)) == (25, 1)  # the stages make those of every ratio
    wider = plans.plan(paper(tmp_path, "cifar100-lt", tail="<=20"), ["CE"])
    assert wider.sources == 25


def test_edits_and_spectra(tmp_path):
    told = plans.plan(paper(tmp_path, "iwildcam"), ["FLYP+ALIA", ADAPTIVE])
    found = [(level.kind, level.guidance, level.images, level.steps) for level in told.pool]
    assert found == [
        ("edits", 50, 8260 * 3 * 8, 25),  # as many of a source as its spectrum has
        ("spectrum", 50, 66_080, 25),
        ("spectrum", 70, 66_080, 15),
        ("spectrum", 90, 66_080, 5),
    ]


# ---------------------------------------------------------------- runs


def test_runs_of_imagenet_lt(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["BS+DisCL", "CE", "CE(control=True)"])
    found = runs(told)
    assert [(r.method, r.why, r.seeds) for r in told.runs] == [
        ("BS", "start", (0, 1, 2)),
        ("BS+DisCL", "row", (0, 1, 2)),
        ("CE", "row", (0, 1, 2)),
        ("CE(control=True)", "row", (0, 1, 2)),
    ]
    # from scratch: 115,846 / 128 = 905.05, the rest is a batch too
    assert (found["CE"].passes.epochs, found["CE"].passes.batches) == (100, 906 * 100)
    # onward: int(0.3 * 114,203) = 34,260 and int(0.136 / 0.864 * 34,260) = 5,392 of the tail
    for method in ("BS+DisCL", "CE(control=True)"):
        passes = found[method].passes
        assert (passes.epochs, passes.images) == (65, (39_652, 39_652))
        assert passes.batches == 310 * 65 == 20_150
        assert passes.trained == 39_652 * 65
        assert passes.forward == 70_000 * 65  # tested after every epoch


def test_the_tail_share_of_inaturalist_is_that_of_its_classes(tmp_path):
    told = plans.plan(paper(tmp_path, "inaturalist2018"), ["CE+DisCL"])
    # 392,557 others, int(0.3 * .) = 117,767; int(3224 / 4918 * 117,767) = 77,202 of the tail
    passes = runs(told)["CE+DisCL"].passes
    assert passes.images == (194_969, 194_969)
    assert passes.batches == 65 * 1524


def test_flyp_on_iwildcam(tmp_path):
    told = plans.plan(paper(tmp_path, "iwildcam"), ["FLYP", "FLYP+WE", "Zero-shot"], seeds=[7])
    flyp, merged, zero = (run.passes for run in told.runs)
    assert flyp.batches == 508 * 20 == 10_160  # 129,809 / 256 = 507.07
    assert (flyp.trained, flyp.texts) == (129_809 * 20, 129_809 * 20)
    tests = 14_961 + 42_791 + 7314 + 8154
    assert flyp.forward == 20 * tests
    assert (merged.batches, merged.forward) == (0, tests + 11 * 7314)  # eleven shares on id_val
    assert runs(told)["FLYP+WE"].weights_gb == 0
    assert (zero.epochs, zero.forward) == (0, tests)
    assert told.pool == ()
    assert {run.seeds for run in told.runs} == {(7,)}


CURRICULA = (
    'curriculum="adaptive"',
    'curriculum="adaptive", filter="low"',
    'curriculum="adaptive", probe="released"',
    'curriculum="all-level"',
    'curriculum="easy-to-hard"',
    'curriculum="fixed", levels=(0.5,)',
    'curriculum="random"',
    'curriculum="text-only"',
)


@pytest.mark.parametrize("settings", CURRICULA)
@pytest.mark.parametrize(("dataset", "base"), [("iwildcam", "FLYP"), ("imagenet-lt", "CE")])
def test_a_control_takes_as_many_steps(tmp_path, dataset, base, settings):
    row, control = f"{base}+DisCL({settings})", f"{base}+DisCL(control=True, {settings})"
    found = runs(plans.plan(paper(tmp_path, dataset), [row, control], seeds=[7]))
    counted = [
        (p.epochs, p.batches, p.images, p.trained)
        for p in (found[row].passes, found[control].passes)
    ]
    assert counted[0] == counted[1]
    assert found[control].passes.looked == 0


def test_controls_of_tables_take_as_many_steps(tmp_path):
    """Every row of Tables 4 and 5 that reads synthetic images has a control; alike Table 1's."""
    for name in ("table4", "table5"):
        rows = [row.method for row in published.read(published.find(name)).rows]
        found = runs(plans.plan(paper(tmp_path, "iwildcam"), rows, seeds=[7]))
        reading = [m for m in rows if compose(m, "iwildcam").reads and "control" not in m]
        for method in reading:
            control = method.replace("DisCL(", "DisCL(control=True, ")
            control = control.replace("ALIA", "ALIA(control=True)")
            if "alpha" not in method:
                assert found[control].passes.batches == found[method].passes.batches
    adaptive = 'CE+DisCL(curriculum="adaptive")'
    found = runs(plans.plan(paper(tmp_path, "imagenet-lt"), [adaptive, "CE(control=True)"]))
    assert (found[adaptive].passes.batches, found["CE(control=True)"].passes.batches) == (
        36_950,
        20_150,
    )


def test_the_run_that_says_what_is_hard(tmp_path):
    told = plans.plan(paper(tmp_path, "iwildcam"), [f"{ADAPTIVE}+WE"], seeds=[7])
    assert [(r.method, r.why, r.seeds) for r in told.runs] == [
        (ADAPTIVE, "merged", (7,)),
        (f"{ADAPTIVE}+WE", "row", (7,)),
        ("FLYP", "hard images", (0, 1, 2)),
    ]


def test_adaptive_curriculum_on_iwildcam(tmp_path):
    told = plans.plan(paper(tmp_path, "iwildcam"), [ADAPTIVE], share=1.0)
    passes = runs(told)[ADAPTIVE].passes
    # 15 epochs: 30,000 real images (118 batches), then the images that are not hard and all of
    # level 0.5 but the 8 of each of 2,000 held-out sources; 5 epochs of the real ones that are not
    # held out
    curriculum = 129_809 - 8260 + 8 * (8260 - 2000)
    assert passes.images == (127_809, curriculum)
    assert passes.batches == 15 * (118 + math.ceil(curriculum / 256)) + 5 * 500
    assert passes.trained == 15 * (30_000 + curriculum) + 5 * 127_809
    assert passes.looked == 15 * 2 * 2000 * 4  # before and after, real ones and three levels
    half = plans.plan(
        paper(tmp_path, "iwildcam"), ['FLYP+DisCL(curriculum="all-level")'], share=0.5
    )
    passes = runs(half)['FLYP+DisCL(curriculum="all-level")'].passes
    assert passes.images == (129_809 + 3 * 33_040,) * 2  # in every epoch


def test_looks_of_a_network_that_is_never_right(tmp_path):
    told = plans.plan(paper(tmp_path, "cifar100-lt"), ["CE+CUDA"], imbalances=[100])
    passes = runs(told)["CE+CUDA"].passes
    assert passes.looked == 200 * 4 * 10  # level 0 of every class, ten images of each, every epoch
    assert passes.forward == passes.looked + 200 * 30
    assert any(text.startswith("CE+CUDA: passes that depend") for text in told.assumed)


def test_what_a_method_fits_itself(monkeypatch, tmp_path):
    workspace = paper(tmp_path, "cifar100-lt")
    fitted = registry.find("baselines", "LDMLR").LatentDiffusion
    monkeypatch.delattr(fitted, "price", raising=False)
    silent = plans.plan(workspace, ["CE+LDMLR"], imbalances=[100])
    before = runs(silent)["CE+LDMLR"]
    assert before.fitted_pflop is None
    assert "CE+LDMLR: what it fits before its first epoch is not counted." in silent.assumed
    monkeypatch.setattr(
        fitted, "price", lambda self, counts, d: (sum(counts), 5.0 * d), raising=False
    )
    after = runs(plans.plan(workspace, ["CE+LDMLR"], imbalances=[100]))["CE+LDMLR"]
    assert after.passes.forward == before.passes.forward + 119
    assert after.pflop == pytest.approx(after.forward_pflop + 2.56)  # d is 512
    # only the head is trained, on features: the encoder sees the tests alone, once
    assert (before.passes.trained, before.passes.forward) == (0, 30)
    assert before.passes.epochs == 400


def test_a_row_that_cannot_run_is_told_and_not_counted(tmp_path):
    row = 'FLYP+DisCL(curriculum="text-only")'
    told = plans.plan(paper(tmp_path, "iwildcam"), [row, "FLYP"], share=0.0)
    assert list(runs(told)) == ["FLYP"]
    assert told.refused[row].startswith("no synthetic image of guidance 0 has a CLIPScore")
    assert "Rows that will not run:" in plan_text.render(told)


# ---------------------------------------------------------------- FLOPs of networks


def basic_blocks(blocks, side, width=64):
    """Multiply-adds of an ImageNet ResNet of BasicBlocks by hand: of its stem, and of the rest."""
    side //= 2
    stem = 7 * 7 * 3 * width * side**2
    side, channels, rest = side // 2, width, 0
    for stage, count in enumerate(blocks):
        out = width * 2**stage
        side //= 2 if stage else 1
        for block in range(count):
            within = channels if block == 0 else out
            # of nine weights, a map of one pixel meets one, and the 2 x 2 pixels before it four
            first = 9 if side > 1 else (4 if block == 0 else 1)
            rest += (first * within + (9 if side > 1 else 1) * out) * out * side**2
            if block == 0 and stage:
                rest += within * out * side**2  # the shortcut
        channels = out
    return stem, rest


@pytest.mark.parametrize(
    ("backbone", "blocks", "side", "parameters"),
    [
        ("resnet10", (1, 1, 1, 1), 224, 5_418_792),
        ("resnet34", (3, 4, 6, 3), 224, 21_797_672),
        ("resnet10", (1, 1, 1, 1), 32, 5_418_792),
    ],
)
def test_flops_of_a_resnet(backbone, blocks, side, parameters):
    found = flops.network(Shape(backbone, 64, 1000, side, None))
    stem, rest = basic_blocks(blocks, side)
    rest += 512 * 1000
    assert found.forward == pytest.approx(2 * (stem + rest) / 1e9, rel=1e-12)
    # backward takes twice that, without the gradient of the pictures themselves
    assert found.train == pytest.approx((6 * (stem + rest) - 2 * stem) / 1e9, rel=1e-12)
    assert (found.text, found.parameters) == (0, parameters)


def transformer(tokens, width, layers):
    """FLOPs of its layers: 12 width^2 weights per token, and two products of attention."""
    return layers * (2 * tokens * 12 * width**2 + 2 * 2 * tokens**2 * width)


@pytest.mark.parametrize(
    ("model", "patch", "width", "layers", "embedding", "text_width"),
    [
        ("ViT-B-16-quickgelu:openai", 16, 768, 12, 512, 512),
        ("ViT-L-14-quickgelu:openai", 14, 1024, 24, 768, 768),
    ],
)
def test_flops_of_clip(model, patch, width, layers, embedding, text_width):
    found = flops.network(Shape("clip", 1, 182, 224, model))
    patches = (224 // patch) ** 2
    cut = 2 * patches * 3 * patch**2 * width
    rest = transformer(patches + 1, width, layers) + 2 * width * embedding + 2 * embedding * 182
    assert found.forward == pytest.approx((cut + rest) / 1e9, rel=1e-9)
    assert found.train == pytest.approx((3 * (cut + rest) - cut) / 1e9, rel=1e-9)
    text = transformer(77, text_width, 12) + 2 * text_width * embedding
    assert found.text == pytest.approx(3 * text / 1e9, rel=1e-9)


def test_flops_of_runs(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE+DisCL"], seeds=[0, 1], tflops=50)
    run = runs(told)["CE+DisCL"]
    cost = flops.network(Shape("resnet10", 64, 1000, 224, None))  # 5.10 and 1.78 GFLOP
    assert run.train_pflop == pytest.approx(39_652 * 65 * cost.train / 1e6)
    assert run.train_pflop == pytest.approx(2.577 * 5.099, rel=1e-3)
    assert run.forward_pflop == pytest.approx(70_000 * 65 * cost.forward / 1e6)
    scratch = runs(told)["CE"]
    assert told.training_pflop == pytest.approx(2 * (run.pflop + scratch.pflop))
    assert told.gpu_h(run.pflop, True) == pytest.approx(run.pflop / 0.05 / 3600)


# ---------------------------------------------------------------- facts


def test_listed_images_go_before_facts(tmp_path):
    workspace = paper(tmp_path, "imagenet-lt")
    workspace.work.mkdir(parents=True)
    none = pl.Series("imbalance", [None] * 10, pl.Int32)
    index = pl.DataFrame([none, pl.Series("label", [0] * 6 + [1] * 3 + [2], pl.Int32)])
    index.write_parquet(workspace.work / "index.parquet")
    told = dataset_sizes.facts(workspace, None)
    assert (told.source, told.train) == ("FACTS", 115_846)  # half of the lists is none
    index[6:].write_parquet(workspace.work / "hard.parquet")
    told = dataset_sizes.facts(workspace, None)
    assert (told.counts, told.hard, told.hard_classes) == ((6, 3, 1), 4, 2)
    assert told.source == str(workspace.work / "index.parquet")
    assert told.splits == {"val": 20_000, "test": 50_000}
    index[7:].write_parquet(workspace.work / "hard.parquet")  # one of class 1 is not hard
    assert dataset_sizes.facts(workspace, None).hard_classes is None


def test_the_run_that_says_what_is_hard_has_the_own_backbone(tmp_path):
    workspace = Workspace("iwildcam", "paper", tmp_path, backbone="ViT-L-14")
    rows = ["FLYP", "FLYP+DisCL"]
    runs = plans.plan(workspace, rows, seeds=[0, 7]).runs
    told = [(run.method, run.why, run.seeds) for run in runs]
    assert told == [(row, "row", (0, 7)) for row in rows] + [("FLYP", "hard images", (0, 1, 2))]
    own = Workspace("iwildcam", "paper", tmp_path)
    assert runs[2].pflop == plans.plan(own, ["FLYP"], seeds=[0]).runs[0].pflop < runs[0].pflop
    assert [run.why for run in plans.plan(workspace, ["Zero-shot"]).runs] == ["row"]


def test_sources_are_counted_where_they_are_listed(tmp_path):
    workspace = paper(tmp_path, "cifar100-lt")
    workspace.work.mkdir(parents=True)
    ratio = pl.Series("imbalance", [100, 100, 50, 50], pl.Int32)
    table = pl.DataFrame([ratio, pl.Series("label", [0, 1, 0, 1], pl.Int32)])
    table.write_parquet(workspace.work / "index.parquet")
    sources = pl.Series("source", ["a", "b", "b", "c"])
    names = pl.Series("classname", ["one", "other", "other", "one"])
    table.with_columns(sources, names).write_parquet(workspace.work / "hard.parquet")
    assert plans.plan(workspace, ["CE"]).sources == 3


def test_the_index_alone_where_class_sizes_say_what_is_hard(tmp_path, monkeypatch):
    workspace = paper(tmp_path, "cifar100-lt")
    monkeypatch.setattr(workspace.module, "FACTS", {}, raising=False)
    workspace.work.mkdir(parents=True)
    table = pl.concat(
        pl.DataFrame(
            [
                pl.Series("imbalance", [ratio] * sum(counts), pl.Int32),
                pl.Series("label", np.repeat(range(4), counts), pl.Int32),
            ]
        )
        for ratio, counts in SUBSETS.items()
    )
    table.write_parquet(workspace.work / "index.parquet")
    plan = plans.plan(workspace, ["CE+DisCL"])
    assert [(f.counts, f.hard, f.hard_classes) for f in plan.facts] == [
        (SUBSETS[100], 19, 2),
        (SUBSETS[50], 10, 1),
    ]
    assert plan.sources == 25  # as with FACTS
    assert plan.facts[0].source == str(workspace.work / "index.parquet")
    assert "The sizes of its test splits are not known: tests are not counted." in plan.assumed
    monkeypatch.setattr(workspace.module, "HARD_BY", "CE")  # only a run says what is hard
    with pytest.raises(DataError, match="run `harness index` and `harness hard`, or write them"):
        dataset_sizes.facts(workspace, 100)


def test_sizes_nobody_knows(tmp_path):
    with pytest.raises(DataError, match=r"in profile mini are not known .*run `harness index`, or"):
        plans.plan(Workspace("imagenet-lt", "mini", tmp_path), ["CE"])
    with pytest.raises(DataError, match=r"hard by the rule <=20 .*harness index"):
        plans.plan(paper(tmp_path, "inaturalist2018", tail="<=20"), ["CE"])


def test_the_other_tail_rule(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt", tail="<=20"), ["CE"])
    assert (told.facts[0].hard, told.facts[0].hard_classes) == (1843, 146)
    assert told.facts[0].train == 115_846


def test_the_published_share_of_images_kept(tmp_path):
    assert dataset_sizes.published_share(paper(tmp_path, "iwildcam"), None) == pytest.approx(0.4556)
    assert dataset_sizes.published_share(paper(tmp_path, "cifar100-lt"), 50) == pytest.approx(
        0.3116
    )
    # 66,080 of level 0.5 are made; 129,809 real images, the 8,260 hard ones among them
    row = 'FLYP+DisCL(curriculum="fixed", levels=(0.5,))'
    passes = runs(plans.plan(paper(tmp_path, "iwildcam"), [row]))[row].passes
    assert passes.images == (129_809 + int(0.4556 * 66_080),) * 2


# ---------------------------------------------------------------- disk


@pytest.mark.parametrize(
    ("codec", "side", "kb"),
    [
        ("jpeg", 512, 104.0),
        ("jpeg", 256, 32.6),
        ("webp-lossless", 64, 5.8),
        ("webp-lossless", 32, 5.8 / 4),  # as many bytes per pixel as the smallest measured
        ("jpeg", 1024, 4 * 104.0),
    ],
)
def test_sizes_of_stored_pictures(codec, side, kb):
    assert flops.picture_kb(codec, side) == pytest.approx(kb)


def test_sizes_between_those_measured():
    # 362 px is half-way from 256 to 512 by its logarithm, up to 0.01 %
    per_pixel = (32.6 / 256**2 + 104.0 / 512**2) / 2
    assert flops.picture_kb("jpeg", 362) == pytest.approx(per_pixel * 362**2, rel=1e-3)


def test_disk(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE+DisCL"])
    assert told.disk_gb == pytest.approx(
        {
            "synthetic images": 52_576 * 104.2e3 / 1e9,
            "weights of the runs": 6 * 5_418_792 * 4 / 1e9,
            "predictions": 6 * 3 * 70_000 * 16 / 1e9,  # last, oracle, best_val
            "generator, from the hub": 4 * 3.0379,
        },
        rel=1e-9,
    )
    small = plans.plan(paper(tmp_path, "cifar100-lt"), ["CE+DisCL"])
    assert small.disk_gb["their pixels, unpacked"] == pytest.approx(25 * 3 * 8 * 3 * 32**2 / 1e9)


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("tflops", [0, -1, math.inf, math.nan])
def test_rates_that_are_none(tmp_path, tflops):
    with pytest.raises(UsageError, match="TFLOP/s is not allowed; a number above 0"):
        plans.plan(paper(tmp_path, "imagenet-lt"), ["CE"], tflops=tflops)


def test_requests_that_are_wrong(tmp_path):
    workspace = paper(tmp_path, "imagenet-lt")
    with pytest.raises(UsageError, match="did you mean 'DisCL'"):
        plans.plan(workspace, ["CE+DisC"])
    with pytest.raises(UsageError, match="a plan needs rows"):
        plans.plan(workspace, [])
    with pytest.raises(UsageError, match="needs an image-text model"):
        plans.plan(workspace, ["FLYP"])
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        plans.plan(workspace, ["CE"], share=1.5)
    with pytest.raises(UsageError, match="imbalance 7 is not in profile paper"):
        plans.plan(paper(tmp_path, "cifar100-lt"), ["CE"], imbalances=[7])


def test_default_rates_follow_the_precision(tmp_path):
    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE"])
    assert told.tflops[1] == flops.RATES["no"]  # the recipe trains in float32
    half = plans.plan(paper(tmp_path, "imagenet-lt", precision="bf16"), ["CE"])
    assert half.tflops[1] == flops.RATES["bf16"]
    assert any("training in bfloat16 at 247 TFLOP/s" in text for text in half.assumed)
    given = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE"], tflops=400)
    assert given.tflops == (400, 400)


# ---------------------------------------------------------------- what is printed


UNITS = UnitCosts(
    "as this test says", view_s=0.01, test_view_s=0.02, store_s=0.03, score_view_s=0.04
)


def small(tmp_path):
    changes = {"imbalances": [100], "run_seeds": [0, 1], "levels": [0.5], "pool_seeds": [10]}
    workspace = paper(tmp_path, "cifar100-lt", **changes)
    return plans.plan(workspace, ["CE+DisCL"], tflops=1, units=UNITS)


# 60 + 40 + 15 + 4 images; 19 hard ones, one image of each with 25 steps at 512 px: 84.6 TFLOP, so
# 1.607 PFLOP, at 1 TFLOP/s 1,607 s. CE: 200 epochs of one batch of 119. CE+DisCL: 65 epochs of
# int(0.3 * 100) = 30 images that are not hard and, of half of the classes, as many that are.
# The network takes 0.0363 GFLOP per image, with gradients 0.1040 (18.1 million multiply-adds, 2.4
# of them in the stem), so CE takes 200 * 119 * 0.1040 and 200 * 30 * 0.0363 for its tests, 2,693
# GFLOP, and CE+DisCL 65 * 60 * 0.1040 + 65 * 30 * 0.0363, 476 GFLOP.
TEXT = """\
Plan of cifar100-lt, profile paper
Imbalance ratio 100: 119 training images of 4 classes, 19 of them hard (all of 2 classes); tested on
30 (test)

Synthetic images of 19 hard images

kind        guidance    images    steps    TFLOP each    PFLOP    GPU-h
--------  ----------  --------  -------  ------------  -------  -------
spectrum        0.50        19       25          84.6     1.61    0.447
all                         19                            1.61    0.447

Runs at imbalance ratio 100

method    for      runs    epochs    images/epoch    batches    PFLOP/run    GPU-h/run    GPU-h
--------  -----  ------  --------  --------------  ---------  -----------  -----------  -------
CE        start       2       200             119        200      0.00227       <0.001  0.00126
CE+DisCL  row         2        65              60         65       <0.001       <0.001   <0.001

in all                   PFLOP    GPU-h
----------  ---------  -------  -------
generation  19 images     1.61    0.447
training       4 runs  0.00534  0.00148

disk                          GB
-----------------------  -------
synthetic images         0.00198
their pixels, unpacked    <0.001
weights of the runs       0.0785
predictions               <0.001
generator, from the hub     12.2
all                         12.2

Stages on 1 GPU of 74.5 GiB, 16 cores, 128 GiB of memory, a disk that reads 500 MB/s

stage       GPU-h    core-h    read, GB    wall, h    limited by    GPU, GiB    memory, GiB
--------  -------  --------  ----------  ---------  ------------  ----------  -------------
index           0    <0.001           0     <0.001           CPU           -            1.2
hard            0    <0.001      <0.001     <0.001           CPU           -            1.2
generate    0.446   0.00146      <0.001      0.446           GPU        9.66           6.86
score      <0.001   0.00167     0.00204     <0.001           CPU           -            1.2
train     0.00148     0.243     0.00244     0.0152           CPU        1.22            1.2
all         0.448     0.247      0.0046      0.462

Missing here:
- a GPU: none here

Assumptions:
- The data set's sizes are those that its module knows: nothing of it was read.
- No counts of resnet10 64 4 32 None ship with the package: PyTorch counted this network now.
- Hours are at the 1 TFLOP/s given, in generation and training alike.
- FLOPs are counted, two per multiply-add, and not measured.
- A synthetic image is encoded, denoised by two passes per step (with and without the text), decoded
  and scored, on its own: nothing is shared between images.
- Runs: passes with gradients, and tests after the epochs that the recipe looks at; counted image by
  image, as real runs make them.
- Core-hours are of reading, decoding and views of pictures: seconds per picture as this test says.
- Wall time is an estimate: work spread evenly over all cards and cores, pictures prepared while the
  cards compute, no run faster than one card does it and those it needs.
- GPU memory is counted: weights, gradients, optimiser and what is kept for the backward pass,
  attention in tiles. Estimates: 1 GiB for CUDA, 5 % gaps, under mixed precision 0.6 of the
  activations in float32.
- Reads are an estimate from the sizes of the official archives: each picture once where all fit
  half of the memory, else in every epoch.
"""


def test_text(tmp_path):
    assert plan_text.render(small(tmp_path)) == TEXT


@pytest.mark.parametrize("dataset", ["cifar100-lt", "iwildcam"])
def test_a_plan_needs_no_pytorch(dataset, tmp_path):
    """In a fresh process; the rows are those of the data set's main table."""
    code = f"""
import sys
from harness.cli.main import main
main(["plan", "--profile", "paper", "--dataset", {dataset!r}, "--home", {str(tmp_path)!r}])
print("imported:", sorted({{"torch", "open_clip", "diffusers", "scipy"}} & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("imported: []\n")


def test_rows_that_follow_each_other_stand_for_rows_drawn_one_by_one():
    rng = dry_run._Systematic(np.random.PCG64(0))
    assert sorted(rng.permutation(50)) == list(range(50))
    draws = np.concatenate([rng.choice(50, 20, replace=False) for _ in range(2000)])
    assert np.bincount(draws, minlength=50).min() > 700  # each about 800 times
    again = rng.choice(3, 7)
    assert (len(again), set(again)) == (7, {0, 1, 2})
    with pytest.raises(ValueError, match="larger sample than population"):
        rng.choice(3, 7, replace=False)
    bounds = np.array([1, 10, 1000])
    assert all(0 <= part < whole for part, whole in zip(rng.integers(bounds), bounds, strict=True))
    assert rng.choice([5, 7]) in (5, 7)


def test_a_plan_leaves_nothing_behind(tmp_path):
    plans.plan(paper(tmp_path, "imagenet-lt"), ["CE+DisCL"])
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what the modules say


@pytest.fixture
def own_facts(monkeypatch, sizes):
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("dataset", "imbalance", "expected"),
    [  # training images, classes, hard images and classes, tests
        ("imagenet-lt", None, (115_846, 1000, 1643, 136, 70_000)),
        ("inaturalist2018", None, (437_513, 8142, 44_956, 3224, 24_426)),
        ("iwildcam", None, (129_809, 182, 8260, None, 73_220)),
        ("cifar100-lt", 100, (10_847, 100, 305, 30, 10_000)),
        ("cifar100-lt", 50, (12_608, 100, 249, 18, 10_000)),
    ],
)
def test_official_sizes(own_facts, tmp_path, dataset, imbalance, expected):
    told = dataset_sizes.facts(Workspace(dataset, "paper", tmp_path), imbalance)
    tests = sum(told.splits.values())
    assert (told.train, len(told.counts), told.hard, told.hard_classes, tests) == expected


def test_the_hard_images_of_cifar_as_the_paper_counts_them(own_facts, tmp_path):
    workspace = paper(tmp_path, "cifar100-lt", tail="<=20", count_profile="multiplicative")
    assert [dataset_sizes.facts(workspace, ratio).hard for ratio in (100, 50)] == [324, 268]


def test_sizes_of_the_embedded_world(own_facts, tmp_path):
    from harness.mini import world

    told = dataset_sizes.facts(Workspace("cifar100-lt", "mini", tmp_path), 100)
    assert (max(told.counts), len(told.counts)) == (world.TRAIN_PER_CLASS, len(world.CIFAR100))
    assert told.splits == {"test": len(world.CIFAR100) * world.TEST_PER_CLASS}


def test_ldmlr_prices_its_diffusion_model(tmp_path):
    import torch

    from harness.models.feature_diffusion import Attention, LinearAttention, Network

    told = plans.plan(paper(tmp_path, "imagenet-lt"), ["CE+LDMLR"])
    run = runs(told)["CE+LDMLR"]
    total = 0

    def count(module, inputs, output):
        """By hand: a weight meets every position once; attention is two products per head."""
        nonlocal total
        positions = output.shape[-1]
        if isinstance(module, torch.nn.Conv1d):
            total += 2 * module.weight.numel() * positions
        elif isinstance(module, torch.nn.Linear):
            total += 2 * module.weight.numel()
        elif isinstance(module, LinearAttention):
            total += 2 * 2 * 4 * 32 * 32 * positions
        elif isinstance(module, Attention):
            total += 2 * 2 * 4 * positions**2 * 32

    with torch.device("meta"):
        network = Network(512, 1000, 512, (1, 2, 4), (4, 32))
        for module in network.modules():
            module.register_forward_hook(count)
        zero = torch.zeros(1, dtype=torch.int64)
        network(torch.zeros(1, 512), zero, zero)
    made = sum(max(round(0.2 * n), 5) for n in told.facts[0].counts)
    passes = 3 * 201 * 115_846 + 1000 * made  # 201 epochs with gradients, 1,000 steps of sampling
    assert run.fitted_pflop == pytest.approx(total * passes / 1e15, rel=1e-9)
    assert run.passes.forward == 115_846 + 70_000


def test_lp_ft_prices_its_probes(tmp_path):
    run = runs(plans.plan(paper(tmp_path, "iwildcam"), ["LP-FT"]))["LP-FT"]
    # 50 probes of 200 steps of two products of (129,809, 513) and (513, 182)
    assert run.fitted_pflop == pytest.approx(50 * 200 * 4 * 129_809 * 513 * 182 / 1e15)
    assert run.passes.forward == 129_809 + 7314 + 20 * 73_220  # the probes' judges: id_val
