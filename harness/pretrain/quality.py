"""Quality of the built-in models: python -m harness.pretrain.quality --out DIR.

A judge that no foundation model had a part in, a ResNet-10 trained on field pictures of all
concepts, names text-only samples (guidance 0) made from a flat grey source and held-out captions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from harness.core.guidance import fraction
from harness.core.specs import GeneratorSpec
from harness.generation.clip_scores import Scorer
from harness.generation.engine import Generator, Request, load_pipeline, picture_of
from harness.mini import scene, weights
from harness.mini.captions import NIGHT, caption
from harness.models.backbones import resnet10
from harness.pretrain import clip, vae, web
from harness.pretrain.loop import optimise

DDIM_STEPS, TEXT_GUIDANCE = 12, 3.0
TRAIN_EACH, TEST_EACH = 80, 8  # field pictures per concept, for the judge
LEVELS = (100, 90, 70, 50, 30, 10, 0)
SPREAD_LEVELS = (0, 30, 50, 70)


def field(stream: str, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8 (concepts * each, 64, 64, 3) of a field stream, and their concepts."""
    labels = np.repeat(np.array(web.concepts()), each)
    numbers = np.tile(np.arange(each), len(web.concepts()))
    drawn = [
        scene.compose(stream, int(c), int(n), web.SIZE_PX).pixels
        for c, n in zip(labels, numbers, strict=True)
    ]
    return np.stack(drawn), labels


def judge(folder: Path, steps: int = 1600, batch: int = 64) -> nn.Module:
    """ResNet-10 of width 32, trained once on `train` pictures under `clip.augment`."""
    path = folder / "judge" / "judge.pt"
    model = resnet10(len(web.concepts()), 32, torch.Generator().manual_seed(0))
    if not path.exists():
        pictures, names = field("train", TRAIN_EACH)
        images, labels = torch.from_numpy(pictures), torch.from_numpy(names)

        def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
            pick = torch.randint(len(images), (batch,), generator=rng)
            logits = model(clip.augment(images[pick], rng)).float()
            return F.cross_entropy(logits, labels[pick])

        optimise(model, loss_of, steps, 2e-3, folder / "judge")
        torch.save(model.state_dict(), path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


@torch.inference_mode()
def recognised(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the judge names each picture right, bool (N,)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    x = (x - clip.MEAN[0]) / clip.STD[0]
    guess = torch.cat([model(part).argmax(1) for part in x.split(256)])
    return np.asarray(guess.numpy() == labels)


def draw(
    source: str, w: float, steps: int, requests: list[Request], sources: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The requested pictures by key."""
    spec = GeneratorSpec("mini", "", web.SIZE_PX, steps=steps, text_guidance=w)
    generator = Generator(load_pipeline(source, torch.float32, "cpu"), spec, sources.__getitem__)
    return {r.key: picture_of(image) for r, image in generator.images(requests)}


def text_only(
    source: str, w: float, steps: int, per_class: int, night: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 64, 64, 3) uint8 and concepts (N,) of text-only samples.

    Prompts are captions of web scenes that were never trained on, or else infrared ones.
    """
    grey = np.full((web.SIZE_PX, web.SIZE_PX, 3), 128, np.uint8)
    requests, sources = [], {}
    for concept in web.concepts():
        rng = np.random.Generator(np.random.PCG64([9, concept]))
        sources[f"grey-{concept}"] = grey
        for n in range(per_class):
            prompt = NIGHT[n % len(NIGHT)].format(subject=scene.atlas().names[concept])
            if not night:
                prompt = unseen_caption(concept, n, rng)
            requests.append(Request(f"{concept}/{n}", f"grey-{concept}", 0, n, prompt))
    images = draw(source, w, steps, requests, sources)
    return np.stack([images[r.key] for r in requests]), np.repeat(web.concepts(), per_class)


def unseen_caption(concept: int, number: int, rng: np.random.Generator) -> str:
    """Of a web scene that was never trained on."""
    return caption(scene.compose("web", concept, web.PER_CONCEPT + number, web.SIZE_PX), rng)


def diversity(source: str, named_by: nn.Module, w: float, steps: int) -> dict[str, float]:
    """By level, `spread` of four seeds of one field picture of every second concept.

    Each seed has a caption of its own, as in a pool.
    """
    pictures, labels = field("test", 1)
    sources = {str(c): pictures[c] for c in labels[::2]}
    requests = []
    for c in sources:
        rng = np.random.Generator(np.random.PCG64([10, int(c)]))
        for n in range(4):
            prompt = unseen_caption(int(c), n, rng)
            requests += [Request(f"{c}/{lv}/{n}", c, lv, n, prompt) for lv in SPREAD_LEVELS]
    images = draw(source, w, steps, requests, sources)
    results = {}
    for level in SPREAD_LEVELS:
        groups = [[images[f"{c}/{level}/{n}"] for n in range(4)] for c in sources]
        results[f"{fraction(level):g}"] = spread(named_by, np.array(groups))
    return results


@torch.inference_mode()
def spread(model: nn.Module, groups: np.ndarray) -> float:
    """How much the images of a group differ: mean cosine distance of the judge's features.

    groups: uint8 (G, n, 64, 64, 3), n at least 2. Mean over all pairs within a group, and groups.
    """
    x = torch.from_numpy(groups.reshape(-1, *groups.shape[2:])).permute(0, 3, 1, 2).float() / 255
    x = (x - clip.MEAN[0]) / clip.STD[0]
    encoder = model.get_submodule("encoder")
    z = torch.cat([encoder(part) for part in x.split(256)])
    z = F.normalize(z.float(), dim=1).reshape(*groups.shape[:2], -1)
    n = groups.shape[1]
    pairs = torch.einsum("gid,gjd->g", z, z) - n
    return float((1 - pairs / (n * (n - 1))).mean())


def psnr(source: str) -> dict[str, float]:
    """Of the autoencoder's reconstructions, in dB: of new web images and of the benchmark's."""
    from diffusers import AutoencoderKL

    coder = AutoencoderKL.from_pretrained(Path(source) / "vae").float().eval()
    new = [web.picture(c, web.PER_CONCEPT + 100 + n).pixels for c in web.concepts() for n in (0, 1)]
    results = {}
    for stream, pictures in (("web", np.stack(new)), ("train", field("train", 2)[0])):
        x = vae.pixels(torch.from_numpy(pictures))
        with torch.inference_mode():
            z = [coder.encode(part).latent_dist.mean for part in x.split(100)]
            y = torch.cat([coder.decode(part).sample for part in z])
        error = (y.clamp(-1, 1) - x).div(2).pow(2).mean((1, 2, 3))
        results[stream] = float(-10 * error.log10().mean())
    return results


def zero_shot(folder: Path, images: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of an built-in CLIP on field pictures with the prompt `a photo of a <concept>`."""
    scorer = Scorer(f"local-dir:{folder}")
    texts = scorer.texts([f"a photo of a {n}" for n in scene.atlas().names])
    return float(((scorer.images(images) @ texts.T).argmax(1) == labels).mean())


def sheet(images: np.ndarray, columns: int, path: Path, scale: int = 1) -> None:
    """Write pictures as a grid, the last row filled up with grey."""
    grey = np.full((-len(images) % columns, *images.shape[1:]), 128, np.uint8)
    grid = np.concatenate([images, grey]).reshape(-1, columns, *images.shape[1:])
    whole = Image.fromarray(np.concatenate([np.concatenate(list(r), 1) for r in grid], 0))
    whole.resize((whole.width * scale, whole.height * scale), Image.Resampling.NEAREST).save(path)


def spectra(
    models: Path, named_by: nn.Module, w: float, steps: int, out: Path
) -> list[dict[str, float]]:
    """Per level, one field picture of each concept: nearness to it and to its name, by CLIP."""
    names = scene.atlas().names
    labels = np.array(web.concepts())
    pictures, _ = field("test", 1)
    sources = {f"{c}": pictures[c] for c in labels}
    requests = [
        Request(f"{c}/{level}", f"{c}", level, 0, f"a photo of {names[c]} in the wild")
        for level in LEVELS[1:]
        for c in labels
    ]
    by_key = draw(str(models / "generator"), w, steps, requests, sources)
    by_key |= {f"{c}/100": sources[f"{c}"] for c in labels}
    scorer = Scorer(f"local-dir:{models / 'clip'}")
    text_vectors, real = scorer.texts([f"a photo of {n}" for n in names]), scorer.images(pictures)
    rows = []
    for level in LEVELS:
        images = np.stack([by_key[f"{c}/{level}"] for c in labels])
        vectors = scorer.images(images)
        row = {
            "guidance": fraction(level),
            "image_similarity": float((vectors * real).sum(1).mean()),
        }
        row |= {"text_score": float((vectors * text_vectors).sum(1).mean())}
        rows.append(row | {"recognised": float(recognised(named_by, images, labels).mean())})
    grid = np.stack([by_key[f"{c}/{level}"] for c in labels[1::10] for level in LEVELS])
    sheet(grid, len(LEVELS), out / "spectrum.png", scale=2)
    return rows


def main() -> None:
    """Print the figures as JSON; write samples, night samples and spectra as pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=weights.MODELS)
    parser.add_argument("--w", type=float, nargs="+", default=[TEXT_GUIDANCE])
    parser.add_argument("--ddim", type=int, default=DDIM_STEPS)
    parser.add_argument("--per-class", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    named_by = judge(args.out)
    images, labels = field("test", TEST_EACH)
    results: dict[str, Any] = {"judge on test": float(recognised(named_by, images, labels).mean())}
    for size in clip.SCORERS:
        if (args.models / size.name).is_dir():
            right = zero_shot(args.models / size.name, images, labels)
            results[f"{size.name} zero-shot on test"] = right
    source = str(args.models / "generator")
    results["reconstruction, dB"] = psnr(source)
    unseen = [
        [web.picture(c, web.PER_CONCEPT + n).pixels for n in range(4)] for c in web.concepts()
    ]
    results["spread of web images of a class"] = spread(named_by, np.array(unseen))
    for w in args.w:
        results[f"spread of a source's seeds by level, w={w:g}"] = diversity(
            source, named_by, w, args.ddim
        )
        images, labels = text_only(source, w, args.ddim, args.per_class)
        right_of = recognised(named_by, images, labels).reshape(-1, args.per_class).mean(1)
        results[f"text-only recognised, w={w:g}"] = float(right_of.mean())
        worst = np.argsort(right_of)[:12]
        results[f"worst, w={w:g}"] = {scene.atlas().names[i]: float(right_of[i]) for i in worst}
        sheet(images, 6 * args.per_class, args.out / f"samples-w{w:g}.png")
    sheet(text_only(source, args.w[0], args.ddim, 1, night=True)[0], 24, args.out / "night.png")
    if (args.models / "clip").is_dir():
        results["spectrum"] = spectra(args.models, named_by, args.w[0], args.ddim, args.out)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
