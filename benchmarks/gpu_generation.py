"""Generation with the whole SDXL refiner on a GPU: rates, shares of the limit, and what holds.

    python benchmarks/gpu_generation.py [--device cuda] [--limit 790] [--out FILE] [--tiny]

IT NEEDS A GPU of 24 GiB or more: without one it ends at once and says so.

The architecture is the refiner's, the weights are random: no file is fetched. It needs torch,
diffusers, transformers and the generator's own modules (run it where `import harness` works).
--tiny --device cpu runs everything with networks of a few channels, to see that it runs; its
figures are no rates of the refiner.

NOT RUN YET: there is no figure of a GPU from this script in the repository.

Measured in one run, in bfloat16: the engine compiled and eager, diffusers' pipeline in batches of
one level and one image at a time with CLIP embeddings of source and result; at 512x512 and 480x272
px, 50 steps, guidance 0, 0.1, 0.3, 0.5 and the mix of six levels. Then the largest difference of a
pixel when slots are shuffled, neighbours changed, and a batch of 1 instead of 16 is used. Last,
ResNet-10 at the shapes of CIFAR-100-LT with the data on the device, against a DataLoader's loop.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from refiner_networks import Words, build

from harness.core.specs import GeneratorSpec
from harness.generation.engine import Generator, Request, noise_seed, picture_of
from harness.generation.schedule import denoising_steps
from harness.planning.flops import REFINER, image_tflop

LEVELS, MIX = (0, 10, 30, 50), (0, 10, 30, 50, 70, 90)
SIZES = ((512, 512, 16), (480, 272, 32))  # width, height, slots
STEPS = 50
LIMIT = 790.0  # TFLOP/s, of one H200 in bfloat16 with random data


def requests(levels: Sequence[int], sources: int) -> list[Request]:
    """One image per level and source; level after level, as shards are."""
    return [
        Request(f"{s}/{level}", str(s), level, 0, f"a photo of thing {s} in a field at night")
        for level in levels
        for s in range(sources)
    ]


class Bench:
    """One size on one device."""

    def __init__(
        self, parts: SimpleNamespace, device: str, size: tuple[int, int, int], limit: float
    ) -> None:
        self.parts, self.device, self.limit = parts, device, limit
        self.width, self.height, self.slots = size
        rng = np.random.default_rng(0)
        shape = (self.height // 8, self.width // 8, 3)
        small = rng.integers(0, 256, (64, *shape), np.uint8)
        self.pictures = small.repeat(8, 1).repeat(8, 2)

    def source(self, name: str) -> np.ndarray:
        return self.pictures[int(name) % 64]

    def engine(self, compiled: bool = False, batch: int | None = None) -> Generator:
        spec = GeneratorSpec(
            "refiner, random weights", "", self.width, steps=STEPS, dtype="bfloat16",
            batch=batch or self.slots, codec="jpeg", height_px=self.height,
        )  # fmt: skip
        return Generator(self.parts, spec, self.source, self.device, compiled)

    def make(self, engine: Generator, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        return {r.key: picture_of(image) for r, image in engine.images(requests)}

    def rate(self, work: Callable[[], Any], levels: Sequence[int], n: int) -> dict[str, float]:
        """Images per second, useful TFLOP/s and the share of the limit, for n of each level."""
        self.wait()
        begun = time.perf_counter()
        work()
        self.wait()
        seconds = time.perf_counter() - begun
        each = [
            image_tflop(REFINER, self.width, denoising_steps(g, STEPS), self.height) for g in levels
        ]
        tflops = n * sum(t for t in each if t is not None) / seconds
        return {
            "images_per_s": n * len(levels) / seconds,
            "tflops": tflops,
            "share_of_limit": tflops / self.limit,
        }

    def wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    # ------------------------------------------------------------ the stock pipeline

    def pipeline(self) -> Any:
        p = self.parts
        unet = UNet2DConditionModel.from_config(p.unet.config)  # no engine has touched it
        unet.load_state_dict(p.unet.state_dict())
        stock = StableDiffusionXLImg2ImgPipeline(
            vae=p.vae, text_encoder=None, text_encoder_2=p.text_encoder_2, tokenizer=None,
            tokenizer_2=None, unet=unet.to(self.device, torch.bfloat16), scheduler=p.scheduler,
            requires_aesthetics_score=True, force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )  # fmt: skip
        stock.set_progress_bar_config(disable=True)
        return stock

    @torch.inference_mode()
    def embed(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor([Words()(prompt).input_ids for prompt in prompts], device=self.device)
        states = self.parts.text_encoder_2(ids, output_hidden_states=True)
        return states.hidden_states[-2], states[0]

    def stock(self, pipeline: Any, some: Sequence[Request]) -> list[Image.Image]:
        states, pooled = self.embed([r.prompt for r in some])
        empty, empty_pooled = self.embed([""] * len(some))
        left = denoising_steps(some[0].guidance, STEPS)
        images: list[Image.Image] = pipeline(
            prompt_embeds=states, pooled_prompt_embeds=pooled, negative_prompt_embeds=empty,
            negative_pooled_prompt_embeds=empty_pooled,
            image=[Image.fromarray(self.source(r.source)) for r in some],
            strength=min(1.0, (left + 0.5) / STEPS), num_inference_steps=STEPS,
            guidance_scale=10.0, original_size=(self.height, self.width),
            generator=[torch.Generator().manual_seed(noise_seed(r.source, r.seed)) for r in some],
        ).images  # fmt: skip
        return images

    def batched(self, pipeline: Any, requests: Sequence[Request], batch: int) -> None:
        for level in dict.fromkeys(r.guidance for r in requests):
            of_level = [r for r in requests if r.guidance == level]
            for i in range(0, len(of_level), batch):
                self.stock(pipeline, of_level[i : i + batch])

    @torch.inference_mode()
    def loop(self, pipeline: Any, requests: Sequence[Request]) -> None:
        for request in requests:
            image = self.stock(pipeline, [request])[0]
            for picture in (image, Image.fromarray(self.source(request.source))):
                x = torch.from_numpy(np.asarray(picture.resize((224, 224)), np.float32) / 255)
                x = x.permute(2, 0, 1)[None].to(self.device, torch.bfloat16)
                self.parts.clip(x).image_embeds.float().cpu()


def rates(bench: Bench, compiled: bool, n: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Every way, every set of levels; n sources for the engine, fewer for the slow ways."""
    four, mixed = requests(LEVELS, n), requests(MIX, n)
    kinds = {"engine, eager": False} | ({"engine, compiled": True} if compiled else {})
    for name, whether in kinds.items():
        engine = bench.engine(whether)
        bench.make(engine, requests((90,), bench.slots))  # warm up, compile
        for label, levels, some in (("four levels", LEVELS, four), ("six levels", MIX, mixed)):
            yield f"{name}, {label}", bench.rate(partial(bench.make, engine, some), levels, n)
    pipeline = bench.pipeline()
    bench.stock(pipeline, requests((90,), 2))
    for batch in (bench.slots // 2, bench.slots):
        fewer = min(n, batch)
        some = requests(MIX, fewer)
        yield (
            f"stock in batches of {batch}, six levels",
            bench.rate(partial(bench.batched, pipeline, some, batch), MIX, fewer),
        )
    yield (
        "one at a time with CLIP, six levels",
        bench.rate(lambda: bench.loop(pipeline, requests(MIX, 2)), MIX, 2),
    )


def differences(bench: Bench) -> dict[str, int]:
    """Largest difference of a pixel, grey levels, from one order, set of neighbours and batch."""
    some = requests((0, 50), bench.slots)
    engine = bench.engine()
    usual = bench.make(engine, some)

    def largest(images: dict[str, np.ndarray]) -> int:
        return max(int(np.abs(usual[k].astype(int) - images[k]).max()) for k in images)

    mixed = random.Random(0).sample(some, len(some))
    return {
        "slots shuffled": largest(bench.make(engine, mixed)),
        "neighbours changed": largest(bench.make(engine, some[::3])),
        "batch 1 instead of the usual": largest(bench.make(bench.engine(batch=1), some[:4])),
    }


def resnet(device: str, epochs: int = 3) -> dict[str, float]:
    """Epochs per second of ResNet-10 on 10,847 pictures of 32 px, two ways."""
    from harness.models.backbones import resnet10

    n, batch = 10_847, 128
    pixels = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, 100, (n,))

    def train(batches: Callable[[], Iterator[tuple[torch.Tensor, torch.Tensor]]]) -> float:
        model = resnet10(100, 64).to(device, memory_format=torch.channels_last).train()
        optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        begun = 0.0
        for epoch in range(epochs + 1):
            if epoch == 1:  # the first one warms up
                begun = time.perf_counter()
            for x, y in batches():
                with torch.autocast(torch.device(device).type, torch.bfloat16):
                    loss = torch.nn.functional.cross_entropy(model(x.float() / 255), y)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        loss.item()
        return epochs / (time.perf_counter() - begun)

    here, known = pixels.to(device), labels.to(device)

    def resident() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return ((here[ids], known[ids]) for ids in torch.randperm(n, device=device).split(batch))

    def loaded() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        data = torch.utils.data.TensorDataset(pixels, labels)
        loader = torch.utils.data.DataLoader(
            data, batch, shuffle=True, num_workers=4, pin_memory=device.startswith("cuda")
        )
        return ((x.to(device, non_blocking=True), y.to(device)) for x, y in loader)

    return {"data on the device, epochs/s": train(resident), "DataLoader, epochs/s": train(loaded)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--sources", type=int, default=32, help="per level (default 32)")
    parser.add_argument("--tiny", action="store_true", help="tiny networks; figures mean nothing")
    about_limit = f"TFLOP/s of the card in bfloat16 (default {LIMIT:g}, of an H200)"
    parser.add_argument("--limit", type=float, default=LIMIT, help=about_limit)
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(2, "this benchmark needs a GPU, and PyTorch sees none: --device cpu --tiny "
                       "only shows that it runs\n")  # fmt: skip
    cuda = args.device.startswith("cuda")
    diffusers_logging.set_verbosity_error()
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name(args.device) if cuda else args.device,
        "torch": torch.__version__,
        "tiny": args.tiny,
    }
    sizes = ((64, 64, 2), (64, 48, 2)) if args.tiny else SIZES
    sources = 2 if args.tiny else args.sources
    parts = build(args.device, args.tiny)
    for size in sizes:
        bench, name = Bench(parts, args.device, size, args.limit), f"{size[0]}x{size[1]}"
        results[name] = {}
        for way, rate in rates(bench, cuda, sources):
            results[name][way] = rate
            print(f"{name}, {way}: {rate['images_per_s']:.2f} images/s, {rate['tflops']:.0f} "
                  f"TFLOP/s, {100 * rate['share_of_limit']:.0f} % of {args.limit:.0f}")  # fmt: skip
        results[name]["largest difference of a pixel"] = differences(bench)
        print(
            f"{name}, largest difference of a pixel:",
            results[name]["largest difference of a pixel"],
        )
    results["resnet10"] = {} if args.tiny else resnet(args.device)
    print("ResNet-10:", results["resnet10"])
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
