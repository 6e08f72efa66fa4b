"""The generator: hard samples in, their spectra out (paper: section 3.1, image-guided diffusion).

Any SDXL-shaped image-to-image pipeline that diffusers loads works, the built-in one and the SDXL
refiner alike. A constant number of slots is denoised together, each at its own step; a finished
slot is refilled at once. One seeded generator per image and a constant, padded batch keep an image
independent of its neighbours, its slot and the order of the requests.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.errors import DataError, UsageError, brief
from harness.core.specs import GeneratorSpec
from harness.generation import schedule
from harness.generation.approximations import parse
from harness.generation.attention import KeysValues, attend, keys_values
from harness.generation.deepcache import Deep
from harness.generation.device_state import Kept, Memory, Slots, Text, bytes_of, to_host
from harness.generation.fp8 import eight_bit
from harness.generation.schedule import denoising_steps
from harness.models import model_folder
from harness.models.identity import named

DECODE_BATCH = 8
ENCODED = 2**32  # bytes of encoded prompts that stay in host memory
KEPT = 2**30  # bytes of texts, and of sources, that stay on the device


@dataclass(frozen=True)
class Request:
    """One image to make. `guidance` in hundredths, 0..99; `source` names the source picture."""

    key: str
    source: str
    guidance: int
    seed: int
    prompt: str


@dataclass(frozen=True)
class Failed:
    """Why a request has no picture."""

    reason: str


def picture_of(picture: np.ndarray | Failed) -> np.ndarray:
    """What a request gave; DataError when it has no picture."""
    if isinstance(picture, Failed):
        raise DataError(f"a picture could not be made: {picture.reason}")
    return picture


def noise_seed(source: str, seed: int) -> int:
    """63-bit seed of an image's generator: one noise per (source, seed), shared by all levels."""
    digest = hashlib.sha256(f"{source}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def load_pipeline(model: str, dtype: torch.dtype, device: str, scheduler: str = "ddim") -> Any:
    """`StableDiffusionXLImg2ImgPipeline` from a folder or a hub name (models.identity.Named).

    A folder may hold weights of a variant alone (*.fp16.safetensors). scheduler: that of the
    GeneratorSpec. Raises UsageError for one that the engine has not; DataError when the pipeline is
    not there, damaged, of another kind, or published with a sampler or a prediction that the engine
    does not compute.
    """
    if scheduler not in schedule.SCHEDULERS:
        known = " or ".join(map(repr, schedule.SCHEDULERS))
        raise UsageError(f"scheduler {scheduler!r}: the engine denoises by {known} only")
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    name, revision, variant = named(model)
    if Path(name).is_dir():
        model_folder.check(Path(name))
        variant = model_folder.variant(Path(name))
    try:
        pipeline = diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(
            name, dtype=dtype, revision=revision, variant=variant
        )
    except model_folder.library_errors() as error:
        why = brief(error, 150) + _hint(name, revision, variant)
        raise DataError(f"cannot load the generator {model}: {why}") from error
    if pipeline.text_encoder_2 is None or pipeline.tokenizer_2 is None:
        raise DataError(f"cannot load the generator {model}: it has no second text encoder")
    for name in ("unet", "vae", "text_encoder_2"):
        lost = [part for part, p in getattr(pipeline, name).named_parameters() if p.is_meta]
        if lost:
            why = f"the weights of its {name} lack {lost[0]}"
            raise DataError(f"cannot load the generator {model}: {why}")
    tokens, known = len(pipeline.tokenizer_2), pipeline.text_encoder_2.config.vocab_size
    if tokens != known:
        why = f"a tokenizer of {tokens} tokens for a text encoder of {known}"
        raise DataError(f"cannot load the generator {model}: {why}")
    try:
        schedule.check(pipeline.scheduler)
    except DataError as error:
        raise DataError(f"cannot load the generator {model}: {error}") from error
    if dtype == torch.float16 and pipeline.vae.config.force_upcast:
        pipeline.vae.to(torch.float32)  # it overflows in float16
    return pipeline.to(device)


def _hint(name: str, revision: str | None, variant: str | None) -> str:
    """What to name instead, where the hub's cache holds the model's weights as a variant alone."""
    import huggingface_hub

    if variant is not None or Path(name).is_dir():
        return ""
    try:
        there = huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True)
        held = model_folder.variant(Path(there))
    except (OSError, ValueError, DataError):
        return ""
    return "" if held is None else f"; the cache holds its variant {held}: name it {name}:{held}"


@dataclass
class _Slot:
    request: Request
    step: int  # index into the schedule


class Generator:
    """A loaded pipeline that turns requests into uint8 pictures (height, width, 3).

    `sources(key)` gives the source picture, uint8 (height, width, 3), or raises DataError. The
    pipeline's UNet keeps the attention processors that it is given here; they serve the stock
    pipeline's calls too. compiled: by torch.compile, for GPUs. phase(name): a context in which the
    work of that name is done, for who measures it.
    """

    def __init__(
        self,
        pipeline: Any,
        spec: GeneratorSpec,
        sources: Callable[[str], np.ndarray],
        device: str = "cpu",
        compiled: bool = False,
        phase: Callable[[str], AbstractContextManager[Any]] = lambda name: nullcontext(),
    ) -> None:
        self.spec, self.device, self.sources = spec, torch.device(device), sources
        self.phase, self.short_cuts = phase, parse(spec.approximate)
        self.unet, self.vae = pipeline.unet.eval(), pipeline.vae.eval()
        self.encoder, self.tokenizer = pipeline.text_encoder_2.eval(), pipeline.tokenizer_2
        for model in (self.unet, self.vae):
            model.to(memory_format=torch.channels_last)
        attend(self.unet)
        if self.short_cuts.fp8:
            self.unet = eight_bit(self.unet)
        self.deep = Deep(self.unet) if self.short_cuts.every > 1 else None
        self.dtype = self.unet.dtype
        self.factor = self.vae.config.scaling_factor
        self._schedule(pipeline.scheduler.config)
        # An encoded prompt takes a hundredth of what the UNet's keys and values of it take.
        self.encoded = Kept(self._encoded, bytes_of, ENCODED)
        self.text = Kept(self._text, lambda text: bytes_of(text.tensors), KEPT)
        self.posterior = Kept(self._posterior, bytes_of, KEPT)
        self.width, self.height = spec.size_px, spec.height_px or spec.size_px
        self._decoding = Memory("decoding", DECODE_BATCH)
        self._denoising = Memory("denoising", 2 * spec.batch)
        self._guess: Callable[..., torch.Tensor] = self._predict
        if compiled:
            mode = "max-autotune-no-cudagraphs"  # a step is long beside its launches
            whole = self.deep is None  # graphs end where features are put aside
            self._guess = torch.compile(self._predict, fullgraph=whole, dynamic=False, mode=mode)

    def _schedule(self, config: Any) -> None:
        """Timesteps t_i, alpha-bar before (a) and after (p) each step, what the UNet predicts."""
        values = schedule.SCHEDULERS[self.spec.scheduler](config, self.spec.steps)
        self.t, self.a, self.p = (value.to(self.device) for value in values)
        self.clean = schedule.PREDICTIONS[config.get("prediction_type", "epsilon")]

    @torch.inference_mode()
    def images(self, requests: Iterable[Request]) -> Iterator[tuple[Request, np.ndarray | Failed]]:
        """Yield every request with its picture, or why it has none, in the order they finish."""
        waiting, state = iter(requests), self.slots()
        slots: list[_Slot | None] = [None] * self.spec.batch
        done: list[tuple[Request, torch.Tensor]] = []
        decoded: deque[tuple[list[Request], Callable[[], Sequence[np.ndarray | Failed]]]] = deque()
        more, tick, every = True, 0, self.short_cuts.every
        while True:
            if more and tick % every == 0:  # so that all slots have their whole steps together
                refused, more = self._fill(state, slots, waiting)
                yield from refused
            for i, slot in enumerate(slots):
                if slot is not None and slot.step == self.spec.steps:
                    done.append((slot.request, state.x[i].clone()))
                    slots[i] = None
            busy = any(slots)
            while len(done) >= DECODE_BATCH or (done and not more and not busy):
                now, done = done[:DECODE_BATCH], done[DECODE_BATCH:]
                decoded.append(([r for r, _ in now], self._decode([z for _, z in now])))
            if busy and (not more or all(slots) or tick % every):
                self._step(state, slots, whole=tick % every == 0)
                tick += 1
            elif not busy:
                tick = 0
            while decoded:  # copied while the step above was under way
                ready, pictures = decoded.popleft()
                yield from zip(ready, pictures(), strict=True)
            if not busy and not more:
                return

    def slots(self) -> Slots:
        size, aesthetic = (
            [self.height, self.width],
            (self.spec.negative_aesthetic, self.spec.aesthetic),
        )
        ids = torch.tensor(
            [[*size, 0, 0, a] for a in aesthetic], device=self.device, dtype=self.dtype
        )
        latent = (self.unet.config.in_channels, *self._latent_size())
        return Slots(self.spec.batch, latent, self.text(self.spec.negative_prompt), ids)

    def _latent_size(self) -> tuple[int, int]:
        """Height and width; UsageError for pictures that are no multiple of the latents' scale."""
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        for side in (self.width, self.height):
            if side % scale:
                raise UsageError(f"size {side} px; this generator needs a multiple of {scale} px")
        return self.height // scale, self.width // scale

    def _fill(
        self, state: Slots, slots: list[_Slot | None], waiting: Iterator[Request]
    ) -> tuple[list[tuple[Request, Failed]], bool]:
        """Give empty slots requests; those that cannot be begun, and whether there may be more."""
        refused: list[tuple[Request, Failed]] = []
        for i in [i for i, slot in enumerate(slots) if slot is None]:
            while slots[i] is None:
                request = next(waiting, None)
                if request is None:
                    return refused, False
                left = denoising_steps(request.guidance, self.spec.steps)
                try:
                    state.fill(i, self.start(request), self.text(request.prompt))
                    slots[i] = _Slot(request, self.spec.steps - left)
                except DataError as error:
                    refused.append((request, Failed(brief(error))))
        return refused, True

    def _step(self, state: Slots, slots: list[_Slot | None], whole: bool) -> None:
        """One DDIM step (eta 0) of every slot; empty ones compute what is thrown away.

        Euler's steps are the same ones, between other values of alpha-bar.
        """
        with self.phase("denoise"):
            at = torch.tensor([s.step if s else 0 for s in slots]).to(self.device)
            predicted = self.noise(state, at, whole)
            a, p = (v[at].view(-1, 1, 1, 1) for v in (self.a, self.p))
            x0, e = self.clean(state.x, predicted, a)
            state.x = p.sqrt() * x0 + (1 - p).sqrt() * e
        for slot in slots:
            if slot is not None:
                slot.step += 1

    def noise(self, state: Slots, at: torch.Tensor, whole: bool = True) -> torch.Tensor:
        """Guided noise e (B, C, h, w), float32, of slots at steps `at` (B,).

        whole: by all of the UNet; otherwise with deep features of the last whole step.
        """
        batch = len(state.x)
        x, t = state.x.to(self.dtype), self.t[at]
        twice = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
        t = t.repeat(2)

        def guess(rows: slice) -> torch.Tensor:
            states = {name: (k[rows], v[rows]) for name, (k, v) in state.states.items()}
            about = (state.pooled[rows], state.ids[rows], state.unused[rows])
            unet = self.unet if self.deep is None else self.deep.view(whole, rows)
            e = self._guess(twice[rows], t[rows], states, *about, unet).float()
            if self.deep is not None and whole:
                self.deep.keep(rows, 2 * batch)
            return e

        w, interval = self.spec.text_guidance, self.short_cuts.interval
        if interval is None:
            without, with_text = self._denoising.work(guess, slice(0, 2 * batch)).chunk(2)
            return without + w * (with_text - without)
        # each half is a batch of its own: a slot's numbers must not depend on where others are
        with_text = self._denoising.work(guess, slice(batch, 2 * batch))
        share = at / self.spec.steps
        guided = (share >= interval[0]) & (share < interval[1])
        if not guided.any():
            return with_text
        without = self._denoising.work(guess, slice(0, batch))
        return torch.where(guided.view(-1, 1, 1, 1), without + w * (with_text - without), with_text)

    def _predict(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        states: KeysValues,
        pooled: torch.Tensor,
        ids: torch.Tensor,
        unused: torch.Tensor,
        unet: Any,
    ) -> torch.Tensor:
        """A UNet's noise for some rows."""
        noise: torch.Tensor = unet(
            x,
            t,
            encoder_hidden_states=unused,
            cross_attention_kwargs={"texts": states},
            added_cond_kwargs={"text_embeds": pooled, "time_ids": ids},
            return_dict=False,
        )[0]
        return noise

    def _text(self, prompt: str) -> Text:
        """The projection, and the keys and values of the last but one layer."""
        pooled, hidden = (part.to(self.device) for part in self.encoded(prompt))
        with self.phase("text"):
            return Text(pooled, keys_values(self.unet, hidden))

    def _encoded(self, prompt: str) -> list[torch.Tensor]:
        """Projection (1, P) and last but one layer (1, L, D) of the text encoder, on the host."""
        with self.phase("text"):
            limit = self.tokenizer.model_max_length
            ids = self.tokenizer(prompt, padding="max_length", max_length=limit).input_ids
            if len(ids) > limit:
                many = f"{len(ids)} tokens, and the generator reads {limit}"
                raise DataError(f"a prompt of {many}: {prompt!r}")
            encoded = self.encoder(torch.tensor([ids]).to(self.device), output_hidden_states=True)
            return [part.cpu() for part in (encoded[0], encoded.hidden_states[-2])]

    def start(self, request: Request) -> torch.Tensor:
        """Noised source z_t at the request's first step, float32 (C, h, w).

        Draws as the stock pipeline does: first the posterior's noise, then the diffusion's.
        """
        mean, std = self.posterior(request.source)
        rng = torch.Generator().manual_seed(noise_seed(request.source, request.seed))
        shape = (1, *mean.shape)
        z = mean + std * torch.randn(shape, generator=rng)[0].to(mean)
        noise = torch.randn(shape, generator=rng)[0].to(mean)
        first = self.spec.steps - denoising_steps(request.guidance, self.spec.steps)
        if first == self.spec.steps:
            return z * self.factor
        a = self.a[first].to(mean)
        return a.sqrt() * z * self.factor + (1 - a).sqrt() * noise

    def _posterior(self, source: str) -> list[torch.Tensor]:
        """Mean and standard deviation (C, h, w) of the source's latent."""
        with self.phase("source encode"):
            picture = torch.from_numpy(np.array(self.sources(source)))  # may be read-only
            x = picture.permute(2, 0, 1)[None].to(self.device, torch.float32) / 127.5 - 1
            x = x.to(self.vae.dtype).contiguous(memory_format=torch.channels_last)
            latent = self.vae.encode(x).latent_dist
            return [latent.mean[0].float().clone(), latent.std[0].float()]

    def _decode(self, latents: list[torch.Tensor]) -> Callable[[], Sequence[np.ndarray | Failed]]:
        """uint8 pictures of at most DECODE_BATCH latents, decoded as a full, padded batch.

        The function returned waits for them to be copied from the device.
        """
        with self.phase("decode"):
            z = torch.stack(latents + latents[:1] * (DECODE_BATCH - len(latents))) / self.factor
            z = z.to(self.vae.dtype).contiguous(memory_format=torch.channels_last)
            rows = slice(0, DECODE_BATCH)
            x = self._decoding.work(lambda rows: self.vae.decode(z[rows]).sample.float(), rows)
            whole = torch.stack([z.flatten(1).isfinite().all(1), x.flatten(1).isfinite().all(1)])
            x = ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
            pixels = to_host(x.permute(0, 2, 3, 1)[: len(latents)])
            finite = to_host(whole)

        def pictures() -> Sequence[np.ndarray | Failed]:
            latent, pixel = finite()
            return [
                picture
                if pixel[i]
                else Failed(f"{'pixels' if latent[i] else 'latents'} not finite")
                for i, picture in enumerate(pixels())
            ]

        return pictures
