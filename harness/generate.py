"""The generator: hard samples in, their spectra out (paper: section 3.1, image-guided diffusion).

Any SDXL-shaped image-to-image pipeline that diffusers loads works, the embedded one and the SDXL
refiner alike. A constant number of slots is denoised together, each at its own step; a finished
slot is refilled at once. One seeded generator per image and a constant, padded batch keep an image
independent of its neighbours, its slot and the order of the requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from harness.attention import KeysValues, attend, keys_values
from harness.types import REAL, DataError, GeneratorSpec, UsageError, brief

DECODE_BATCH = 8


@dataclass(frozen=True)
class Request:
    """One image to make. `guidance` in hundredths, 0..99; `source` names the source picture."""

    key: str
    source: str
    guidance: int
    seed: int
    prompt: str


def denoising_steps(guidance: int, steps: int) -> int:
    """Steps left of the schedule at a guidance level: steps * strength, halves rounded up.

    The one place where strength = 1 - guidance. In integers, because 1 - 0.9 in floats loses a
    step; rounded, because with few steps levels that lie close would otherwise share a number.
    None are left close to the real image, which is then only encoded and decoded. Raises
    UsageError for a guidance outside 0..99.
    """
    if not 0 <= guidance < REAL:
        raise UsageError(f"guidance {guidance / 100:g} of a synthetic image; it is in [0, 1)")
    strength = REAL - guidance
    return (steps * strength + 50) // 100


def noise_seed(source: str, seed: int) -> int:
    """63-bit seed of an image's generator: one noise per (source, seed), shared by all levels."""
    digest = hashlib.sha256(f"{source}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def load_pipeline(model: str, dtype: torch.dtype, device: str) -> Any:
    """`StableDiffusionXLImg2ImgPipeline` from a folder or a hub name.

    Raises DataError when it is not there, damaged, or no such pipeline.
    """
    import diffusers
    import transformers
    from safetensors import SafetensorError

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        pipeline = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(model, dtype=dtype)
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"cannot load the generator {model}: {brief(error)}") from error
    if pipeline.text_encoder_2 is None or pipeline.tokenizer_2 is None:
        raise DataError(f"cannot load the generator {model}: it has no second text encoder")
    tokens, known = len(pipeline.tokenizer_2), pipeline.text_encoder_2.config.vocab_size
    if tokens != known:
        why = f"a tokenizer of {tokens} tokens for a text encoder of {known}"
        raise DataError(f"cannot load the generator {model}: {why}")
    if dtype == torch.float16 and pipeline.vae.config.force_upcast:
        pipeline.vae.to(torch.float32)  # it overflows in float16
    return pipeline.to(device)


@dataclass(frozen=True)
class Text:
    """What one prompt tells the UNet, each with a batch of one."""

    pooled: torch.Tensor  # (1, P)
    states: KeysValues


@dataclass
class _Slot:
    request: Request
    step: int  # index into the schedule


class Generator:
    """A loaded pipeline that turns requests into uint8 pictures (height, width, 3).

    `sources(key)` gives the source picture, uint8 (height, width, 3). The pipeline's UNet keeps the
    attention processors that it is given here; they serve the stock pipeline's calls too.
    """

    def __init__(
        self,
        pipeline: Any,
        spec: GeneratorSpec,
        sources: Callable[[str], np.ndarray],
        device: str = "cpu",
    ) -> None:
        self.spec, self.device, self.sources = spec, torch.device(device), sources
        if spec.approximate:
            raise UsageError(f"unknown short cut of the generator: {spec.approximate[0]!r}")
        self.unet, self.vae = pipeline.unet.eval(), pipeline.vae.eval()
        self.encoder, self.tokenizer = pipeline.text_encoder_2.eval(), pipeline.tokenizer_2
        for model in (self.unet, self.vae):
            model.to(memory_format=torch.channels_last)
        attend(self.unet)
        self.dtype = self.unet.dtype
        self.factor = self.vae.config.scaling_factor
        self._schedule(pipeline.scheduler.config)
        self._texts: dict[str, Text] = {}
        self._posteriors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.width, self.height = spec.size_px, spec.height_px or spec.size_px
        size = [self.height, self.width]
        self._ids = [[*size, 0, 0, a] for a in (spec.negative_aesthetic, spec.aesthetic)]

    def _schedule(self, config: Any) -> None:
        """DDIM's timesteps t_i and alpha-bar before (a) and after (p) each step."""
        from diffusers import DDIMScheduler

        ddim = DDIMScheduler.from_config(config, clip_sample=False)
        ddim.set_timesteps(self.spec.steps)
        self.t = ddim.timesteps
        after = self.t - ddim.config.num_train_timesteps // self.spec.steps
        bars = ddim.alphas_cumprod
        self.a = bars[self.t]
        self.p = torch.where(after >= 0, bars[after.clamp(min=0)], ddim.final_alpha_cumprod)

    @torch.inference_mode()
    def images(self, requests: Iterable[Request]) -> Iterator[tuple[Request, np.ndarray]]:
        """Yield every request with its picture, in the order they finish."""
        waiting, batch = iter(requests), self.spec.batch
        slots: list[_Slot | None] = [None] * batch
        done: list[tuple[Request, torch.Tensor]] = []
        state = _State(batch, self)
        exhausted = False
        while True:
            for i in range(batch):
                if slots[i] is None and not exhausted:
                    request = next(waiting, None)
                    exhausted = request is None
                    if request is not None:
                        slots[i] = state.fill(i, request)
            for i, slot in enumerate(slots):
                if slot is not None and slot.step == self.spec.steps:
                    done.append((slot.request, state.x[i].clone()))
                    slots[i] = None
            busy = any(slots)
            while len(done) >= DECODE_BATCH or (done and exhausted and not busy):
                now, done = done[:DECODE_BATCH], done[DECODE_BATCH:]
                yield from zip((r for r, _ in now), self._decode([z for _, z in now]), strict=True)
            if not busy and exhausted:
                return
            if busy and (exhausted or all(slots)):
                self._step(state, slots)

    def _step(self, state: _State, slots: list[_Slot | None]) -> None:
        """One DDIM step (eta 0) of every slot; empty ones compute what is thrown away."""
        at = torch.tensor([s.step if s else 0 for s in slots])
        x = state.x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        guess = self.unet(
            torch.cat([x, x]),
            self.t[at].repeat(2).to(self.device),
            encoder_hidden_states=state.unused,
            cross_attention_kwargs={"texts": state.states},
            added_cond_kwargs={"text_embeds": state.pooled, "time_ids": state.ids},
        ).sample.float()
        without, with_text = guess.chunk(2)
        e = without + self.spec.text_guidance * (with_text - without)
        a, p = (v[at].view(-1, 1, 1, 1).to(self.device) for v in (self.a, self.p))
        x0 = (state.x - (1 - a).sqrt() * e) / a.sqrt()
        state.x = p.sqrt() * x0 + (1 - p).sqrt() * e
        for slot in slots:
            if slot is not None:
                slot.step += 1

    def text(self, prompt: str) -> Text:
        """The projection, and the keys and values of the last but one layer, once per prompt."""
        if prompt not in self._texts:
            ids = self.tokenizer(
                prompt,
                padding="max_length",
                max_length=self.tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            said = self.encoder(ids.to(self.device), output_hidden_states=True)
            self._texts[prompt] = Text(said[0], keys_values(self.unet, said.hidden_states[-2]))
        return self._texts[prompt]

    def start(self, request: Request) -> torch.Tensor:
        """Noised source z_t at the request's first step, float32 (C, h, w).

        Draws as the stock pipeline does: first the posterior's noise, then the diffusion's.
        """
        mean, std = self._posterior(request.source)
        rng = torch.Generator().manual_seed(noise_seed(request.source, request.seed))
        shape = (1, *mean.shape)
        z = mean + std * torch.randn(shape, generator=rng)[0].to(mean)
        noise = torch.randn(shape, generator=rng)[0].to(mean)
        first = self.spec.steps - denoising_steps(request.guidance, self.spec.steps)
        if first == self.spec.steps:
            return z * self.factor
        a = self.a[first].to(mean)
        return a.sqrt() * z * self.factor + (1 - a).sqrt() * noise

    def _posterior(self, source: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation (C, h, w) of the source's latent, once per source."""
        if source not in self._posteriors:
            picture = torch.from_numpy(np.ascontiguousarray(self.sources(source)))
            x = picture.permute(2, 0, 1)[None].to(self.device, torch.float32) / 127.5 - 1
            x = x.to(self.vae.dtype).contiguous(memory_format=torch.channels_last)
            latent = self.vae.encode(x).latent_dist
            self._posteriors[source] = (latent.mean[0].float(), latent.std[0].float())
        return self._posteriors[source]

    def _decode(self, latents: list[torch.Tensor]) -> list[np.ndarray]:
        """uint8 pictures of at most DECODE_BATCH latents, decoded as a full, padded batch."""
        z = torch.stack(latents + latents[:1] * (DECODE_BATCH - len(latents))) / self.factor
        z = z.to(self.vae.dtype).contiguous(memory_format=torch.channels_last)
        x = self.vae.decode(z).sample.float()
        x = ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        return list(x.permute(0, 2, 3, 1)[: len(latents)].cpu().numpy())


class _State:
    """Tensors of all slots: latents x (B, C, h, w); texts and time ids, unguided half first."""

    def __init__(self, batch: int, owner: Generator) -> None:
        self.owner = owner
        empty = owner.text(owner.spec.negative_prompt)
        latent = owner.unet.config.in_channels, *_latent_size(owner)
        self.x = torch.zeros(batch, *latent, device=owner.device)
        self.states = {
            name: (k.repeat(2 * batch, 1, 1, 1), v.repeat(2 * batch, 1, 1, 1))
            for name, (k, v) in empty.states.items()
        }
        self.pooled = empty.pooled.repeat(2 * batch, 1)
        # the UNet wants a prompt's states even when no layer reads them
        self.unused = self.pooled.new_zeros(2 * batch, 1, 1)
        ids = torch.tensor(owner._ids, device=owner.device, dtype=owner.dtype)
        self.ids = ids.repeat_interleave(batch, 0)

    def fill(self, i: int, request: Request) -> _Slot:
        """Put a request into slot i."""
        self.x[i] = self.owner.start(request)
        text, row = self.owner.text(request.prompt), len(self.x) + i
        self.pooled[row] = text.pooled[0]
        for name, (k, v) in text.states.items():
            self.states[name][0][row], self.states[name][1][row] = k[0], v[0]
        steps = self.owner.spec.steps
        return _Slot(request, steps - denoising_steps(request.guidance, steps))


def _latent_size(owner: Generator) -> tuple[int, int]:
    """Height and width of the latents; UsageError for pictures that are no multiple of theirs."""
    scale = 2 ** (len(owner.vae.config.block_out_channels) - 1)
    for side in (owner.width, owner.height):
        if side % scale:
            raise UsageError(f"size {side} px; this generator needs a multiple of {scale} px")
    return owner.height // scale, owner.width // scale
