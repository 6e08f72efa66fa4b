"""Train the foundation models of the built-in world: python -m harness.pretrain --out DIR."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.mini.weights import MODELS
from harness.pretrain import clip, unet, vae, web
from harness.pretrain.ranks import spread

STEPS = ("web", "vae", "clip", "unet", "assemble")


def main() -> None:
    """Run the named steps in order; each goes on where it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m harness.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="working folder")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--ranks", type=int, default=2, help="processes for the VAE and the UNet")
    parser.add_argument("--start", type=Path, help="folder of models to go on from")
    parser.add_argument("--into", type=Path, default=MODELS)
    args = parser.parse_args()
    if "web" in args.steps:
        web.render(args.out)
    if "vae" in args.steps:
        spread("vae", args.ranks, args.out, args.start)
    if "clip" in args.steps:
        for size in (clip.TEXT, *clip.SCORERS)[args.start is not None :]:
            clip.train(size, args.out, args.start)
    if "unet" in args.steps:
        vae.latents(args.out)  # once, for all ranks
        spread("unet", args.ranks, args.out, args.start)
    if "assemble" in args.steps:
        unet.assemble(args.out, args.into / "generator", args.start)
        for size in clip.SCORERS:
            model, tokenizer = clip.load(args.out / size.name / "model")
            tokenizer.save_pretrained(args.into / size.name)
            clip.save(model, clip.config(size, len(tokenizer)), args.into / size.name)


if __name__ == "__main__":
    main()
