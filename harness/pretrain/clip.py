"""The small CLIP (open_clip's own architecture), its tokenizer, and its text tower as SDXL's second
text encoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from harness.mini.scene import atlas
from harness.pretrain import web
from harness.pretrain.loop import optimise

CONTEXT = 24
SHIFT_PX = 6
WIDTH, LAYERS, HEADS = 128, 3, 4  # of the generator's text tower
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(captions: list[str], folder: Path, merges: int = 900) -> CLIPTokenizer:
    """Learn a byte-level BPE with CLIP's conventions; END is the last id, also the padding."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=512 + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    pairs = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = alphabet + [a + "</w>" for a in alphabet] + ["".join(p) for p in pairs]
    vocab = {t: i for i, t in enumerate([*dict.fromkeys(tokens), START, END])}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=pairs, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


@dataclass(frozen=True)
class Size:
    """One CLIP to train: `steps` of the schedule, of which the first `stop` are run."""

    name: str
    width: int
    image_layers: int
    text_layers: int
    steps: int
    stop: int | None = None


# The generator reads text with the tower of one CLIP; others score images and are fine-tuned.
TEXT = Size("text", WIDTH, 3, LAYERS, steps=1200, stop=500)
SCORERS = (Size("clip", 96, 3, 2, steps=2800), Size("clip-large", 128, 4, 2, steps=1900))


def config(size: Size, vocab_size: int) -> dict[str, Any]:
    """open_clip model configuration."""
    vision = {"image_size": web.SIZE_PX, "layers": size.image_layers, "width": size.width}
    vision |= {"head_width": 32, "patch_size": 8}
    text: dict[str, Any] = {
        "context_length": CONTEXT,
        "vocab_size": vocab_size,
        "width": size.width,
    }
    text |= {"heads": size.width // 32, "layers": size.text_layers}
    text |= {"hf_tokenizer_name": "clip", "tokenizer_kwargs": {"clean": "lower"}}
    return {"embed_dim": size.width, "vision_cfg": vision, "text_cfg": text}


def train(size: Size, out: Path, start: Path | None = None, batch: int = 160) -> None:
    """Contrastive learning on web pictures and captions; writes out/<name>/model for open_clip.

    A caption of the batch that equals another one is no negative for it: targets are shared.
    start: models to go on from, with their tokenizer.
    """
    torch.manual_seed(0)
    content = web.load(out)
    texts = sorted(set(content["captions"].ravel().tolist()))
    folder = out / size.name / "model"
    if start is None:
        words = [*content["captions"].ravel().tolist(), *atlas().names * 200]
        tokenizer = make_tokenizer(words, folder)
    else:
        tokenizer = CLIPTokenizer.from_pretrained(start / size.name)
        tokenizer.save_pretrained(folder)
    cfg = config(size, len(tokenizer))
    model = CLIP(
        embed_dim=size.width,
        vision_cfg={**cfg["vision_cfg"], "patch_dropout": 0.4},
        text_cfg={k: v for k, v in cfg["text_cfg"].items() if k != "hf_tokenizer_name"},
    )
    if start is not None:
        model.load_state_dict(load(start / size.name)[0].state_dict())
    number = {t: i for i, t in enumerate(texts)}
    caption = torch.tensor([[number[c] for c in row] for row in content["captions"].tolist()])
    ids = tokenize(tokenizer, texts)
    images = torch.from_numpy(content["images"])

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        pick = torch.randint(len(images), (batch,), generator=rng)
        which = torch.randint(caption.shape[1], (batch,), generator=rng)
        text = caption[pick, which]
        x = augment(images[pick], rng)
        u, v, scale = model(x, ids[text])
        logits = scale.float() * u.float() @ v.float().T
        target = (text[:, None] == text[None, :]).float()
        target /= target.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    average = optimise(
        model,
        loss_of,
        size.steps,
        1e-3,
        out / size.name,
        ema=0.995,
        weight_decay=0.1,
        stop=size.stop,
    )
    save(average, cfg, folder)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """int64 (N, CONTEXT), padded with END."""
    return tokenizer(
        texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt"
    )["input_ids"]


def augment(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Shift, flip, soften, fade, light, noise: uint8 (B, S, S, 3) to float (B, 3, S, S).

    One batch in three at half the resolution, because small pictures are scored enlarged; one
    picture in seven without colour.
    """
    x = images.permute(0, 3, 1, 2).float() / 255
    if torch.rand((), generator=rng) < 1 / 3:
        x = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")
    grey = torch.rand(len(x), generator=rng) < 1 / 7
    x = torch.where(grey[:, None, None, None], x.mean(1, keepdim=True), x)
    flip = torch.rand(len(x), generator=rng) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    dy, dx = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,), generator=rng).tolist()
    x = F.pad(x, (SHIFT_PX,) * 4, mode="replicate").roll((dy, dx), (2, 3))
    x = x[:, :, SHIFT_PX:-SHIFT_PX, SHIFT_PX:-SHIFT_PX]
    gain = 1 + 0.25 * (2 * torch.rand(len(x), 3, 1, 1, generator=rng) - 1)
    noise = 0.04 * torch.rand(len(x), 1, 1, 1, generator=rng)
    x = (x * gain + noise * torch.randn(x.shape, generator=rng)).clamp(0, 1)
    return (x - MEAN[0]) / STD[0]


def save(model: CLIP, cfg: dict[str, Any], folder: Path) -> None:
    """Write open_clip_config.json and fp16 weights as `open_clip` reads a local directory."""
    folder.mkdir(parents=True, exist_ok=True)
    pre = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    text = json.dumps({"model_cfg": cfg, "preprocess_cfg": pre}, indent=1)
    (folder / "open_clip_config.json").write_text(text + "\n")
    state = {k: v.half().contiguous() for k, v in model.state_dict().items() if k != "attn_mask"}
    save_file(state, folder / "open_clip_model.safetensors")


def load(folder: Path) -> tuple[CLIP, CLIPTokenizer]:
    """The trained model in float32 and its tokenizer."""
    model = open_clip.create_model(f"local-dir:{folder}").eval().float()
    return model, CLIPTokenizer.from_pretrained(folder)


def text_encoder(model: CLIP, tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The text tower in transformers' form, as SDXL carries its OpenCLIP tower."""
    cfg = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModelWithProjection(cfg).eval()
    s, t = model.state_dict(), {}
    prefix = "text_model."
    t[prefix + "embeddings.token_embedding.weight"] = s["token_embedding.weight"]
    t[prefix + "embeddings.position_embedding.weight"] = s["positional_embedding"]
    for name in ("weight", "bias"):
        t[f"{prefix}final_layer_norm.{name}"] = s[f"ln_final.{name}"]
        for i in range(LAYERS):
            source, target = f"transformer.resblocks.{i}.", f"{prefix}encoder.layers.{i}."
            parts = s[f"{source}attn.in_proj_{name}"].chunk(3)
            for part, to in zip(parts, ("q_proj", "k_proj", "v_proj"), strict=True):
                t[f"{target}self_attn.{to}.{name}"] = part
            for a, b in (
                ("attn.out_proj", "self_attn.out_proj"),
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ):
                t[f"{target}{b}.{name}"] = s[f"{source}{a}.{name}"]
    t["text_projection.weight"] = s["text_projection"].T.contiguous()
    encoder.load_state_dict(t, strict=False)
    missing = set(encoder.state_dict()) - set(t) - {prefix + "embeddings.position_ids"}
    if missing:
        raise RuntimeError(f"weights left out of the text encoder: {sorted(missing)}")
    return encoder
