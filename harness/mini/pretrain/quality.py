"""Quality of the embedded models: python -m harness.mini.pretrain.quality --out DIR.

A judge that no foundation model had a part in, a ResNet-10 trained on all real-domain training
pictures, names text-only samples (guidance 0) made from a flat grey source and held-out captions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image

from harness import places
from harness.augment import none
from harness.compose import compose
from harness.datasets import cifar100_lt
from harness.generate import Generator, Request, load_pipeline
from harness.jobs import relevant
from harness.mini import scene, world
from harness.mini.captions import caption
from harness.mini.pretrain import web
from harness.predict import View, features, true_class
from harness.score import Scorer
from harness.train import fit
from harness.train_data import Split, TrainData
from harness.types import REAL, GeneratorSpec, Machine, Recipe, Schedule

RECIPE = cifar100_lt.RECIPES["mini"]


def judge(folder: Path) -> tuple[TrainData, dict[str, torch.Tensor]]:
    """The judge's data and weights, trained once: all classes balanced, 200 pictures each."""
    data = cifar100_lt.load(world.write_cifar100(folder / "data").parent, None, RECIPE)
    rows = data.train.select(
        "image",
        "label",
        pl.lit(REAL, pl.Int16).alias("guidance"),
        pl.lit(False).alias("hard"),
        "count",
        pl.lit(None, pl.Float32).alias("score"),
        pl.col("image").alias("parent"),
        pl.lit(0, pl.Int8).alias("caption"),
    )
    test = data.splits["test"]
    labels, ids = (test.table[name].to_numpy() for name in ("label", "id"))
    given = TrainData(
        rows=rows,
        images=data.train_images,
        counts=data.counts,
        splits={"test": Split(test.images, labels, ids)},
        mean=cifar100_lt.MEAN,
        std=cifar100_lt.STD,
    )
    recipe = judge_recipe()
    weights = fit(compose("CE"), given, recipe, 0, folder / "judge", Machine(threads=1))
    return given, weights


def judge_recipe() -> Recipe:
    """ResNet-10, width 32, 15 epochs of Adam."""
    from dataclasses import replace

    schedule = Schedule(optimiser="adam", lr=2e-3, batch=128, epochs=15, decay="cosine")
    return replace(relevant(RECIPE, compose("CE")), width=32, scratch=schedule)


def text_only(
    source: str, text_guidance: float, steps: int, per_class: int, held_out: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 32, 32, 3) uint8 and labels (N,) of text-only samples.

    Prompts are captions of web scenes that were never trained on, or else the data set's own.
    """
    spec = GeneratorSpec("mini", "", 32, steps=steps, text_guidance=text_guidance)
    grey = np.full((32, 32, 3), 128, np.uint8)
    generator = Generator(load_pipeline(source, torch.float32, "cpu"), spec, lambda _: grey)
    requests = []
    for label, concept in enumerate(world.rows_of_cifar100()):
        rng = np.random.Generator(np.random.PCG64([9, concept]))
        for n in range(per_class):
            name = scene.atlas().names[concept]
            prompt = cifar100_lt.prompt(name, n, RECIPE)
            if held_out:
                prompt = caption(scene.compose("web", concept, web.PER_CONCEPT + n), rng)
            requests.append(Request(f"{label}/{n}", f"grey-{label}", 0, n, prompt))
    made = {r.key: image for r, image in generator.images(requests)}
    labels = np.repeat(np.arange(len(world.CIFAR100)), per_class)
    return np.stack([made[r.key] for r in requests]), labels


def recognised(
    given: TrainData, weights: dict[str, torch.Tensor], images: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Whether the judge names each picture right, bool (N,)."""
    from harness.backbones import resnet10

    model = resnet10(len(given.counts), width=32, generator=torch.Generator())
    model.load_state_dict(weights)
    view = View(none, none, 32, torch.tensor(given.mean), torch.tensor(given.std))
    objective = compose("CE").objective
    guess, _ = true_class(
        model, objective, lambda: features(model, view, lambda p: images[p], len(images)), labels
    )
    return np.asarray(guess == labels)


def zero_shot(folder: str, given: TrainData) -> float:
    """Accuracy of the embedded CLIP on the test pictures with the prompt `a photo of a <class>`."""
    scorer = Scorer(f"local-dir:{folder}")
    names = [n.replace("_", " ") for n in world.CIFAR100]
    texts = scorer.texts([f"a photo of a {n}" for n in names])
    images, labels = tested(given)
    return float(((scorer.images(images) @ texts.T).argmax(1) == labels).mean())


def tested(given: TrainData) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and labels of the test split."""
    split = given.splits["test"]
    return np.asarray(split.images.take(np.arange(len(split.labels)))), split.labels


def sheet(images: np.ndarray, columns: int, path: Path, scale: int = 2) -> None:
    """Write pictures as a grid."""
    rows = [np.concatenate(list(r), 1) for r in images.reshape(-1, columns, *images.shape[1:])]
    whole = Image.fromarray(np.concatenate(rows, 0))
    whole.resize((whole.width * scale, whole.height * scale), Image.Resampling.NEAREST).save(path)


LEVELS = (100, 90, 70, 50, 30, 10, 0)


def spectra(
    models: Path, given: TrainData, weights: dict[str, torch.Tensor], out: Path, seeds: int = 2
) -> list[dict[str, float]]:
    """Figures by guidance over one hard-style source per class, and out/spectrum.png.

    CLIP similarity to the source, CLIPScore with the class name, share the judge recognises.
    """
    names = [n.replace("_", " ") for n in world.CIFAR100]
    sources = {
        n: scene.compose("train", c, 0).pixels
        for n, c in zip(names, world.rows_of_cifar100(), strict=True)
    }
    spec = GeneratorSpec("mini", "", 32, steps=RECIPE.steps, text_guidance=RECIPE.text_guidance)
    pipeline = load_pipeline(str(models / "generator"), torch.float32, "cpu")
    generator = Generator(pipeline, spec, sources.__getitem__)
    requests = [
        Request(f"{n}/{level}/{seed}", n, level, seed, cifar100_lt.prompt(n, seed, RECIPE))
        for level in LEVELS[1:]
        for n in names
        for seed in range(seeds)
    ]
    made = {r.key: image for r, image in generator.images(requests)}
    made |= {f"{n}/100/{seed}": sources[n] for n in names for seed in range(seeds)}
    scorer = Scorer(f"local-dir:{models / 'clip'}")
    said = scorer.texts([cifar100_lt.score_prompt(n) for n in names]).repeat(seeds, 0)
    real = scorer.images(np.stack(list(sources.values()))).repeat(seeds, 0)
    labels = np.arange(len(names)).repeat(seeds)
    rows = []
    for level in LEVELS:
        images = np.stack([made[f"{n}/{level}/{s}"] for n in names for s in range(seeds)])
        seen = scorer.images(images)
        right = recognised(given, weights, images, labels)
        row = {"guidance": level / 100, "image_similarity": float((seen * real).sum(1).mean())}
        row |= {"text_score": float((seen * said).sum(1).mean())}
        rows.append(row | {"recognised": float(right.mean())})
    shown = names[1::5]
    grid = np.stack([made[f"{n}/{level}/0"] for n in shown for level in LEVELS])
    sheet(grid, len(LEVELS), out / "spectrum.png", scale=3)
    return rows


def main() -> None:
    """Print the figures as JSON and write samples.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=places.MODELS)
    parser.add_argument("--w", type=float, nargs="+", default=[RECIPE.text_guidance])
    parser.add_argument("--ddim", type=int, default=RECIPE.steps)
    parser.add_argument("--per-class", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    given, weights = judge(args.out)
    on_test = recognised(given, weights, *tested(given)).mean()
    found: dict[str, Any] = {"judge on real test": float(on_test)}
    if (args.models / "clip").is_dir():
        found["clip zero-shot on test"] = zero_shot(str(args.models / "clip"), given)
    for w in args.w:
        images, labels = text_only(str(args.models / "generator"), w, args.ddim, args.per_class)
        right = recognised(given, weights, images, labels)
        found[f"text-only recognised, w={w:g}"] = float(right.mean())
        by_class = right.reshape(-1, args.per_class).mean(1)
        worst = np.argsort(by_class)[:8]
        found[f"worst, w={w:g}"] = {world.CIFAR100[i]: float(by_class[i]) for i in worst}
        chosen = images.reshape(-1, args.per_class, *images.shape[1:])[:, :4]
        sheet(chosen.reshape(-1, *images.shape[1:]), 24, args.out / f"samples-w{w:g}.png")
    if (args.models / "clip").is_dir():
        found["spectrum"] = spectra(args.models, given, weights, args.out)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
