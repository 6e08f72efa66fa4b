"""How the built-in models are made: what they see, and the whole recipe in miniature."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.specs import GeneratorSpec
from harness.generation.clip_scores import Scorer
from harness.generation.engine import Generator, Request, load_pipeline
from harness.mini import scene
from harness.mini.captions import NIGHT, caption
from harness.mini.weights import MODELS
from harness.pretrain import clip, loop, unet, vae, web

SOME = range(0, 123, 6)


@pytest.fixture(scope="module")
def scenes() -> list[tuple[int, int, scene.Scene]]:
    """Thirty web pictures each of every sixth concept."""
    return [(c, n, web.picture(c, n)) for c in SOME for n in range(30)]


# ---------------------------------------------------------------- the web at 64 px


def test_the_web_knows_every_concept(scenes):
    assert list(web.concepts()) == list(range(len(scene.atlas().names)))
    assert {drawn.concept for _, _, drawn in scenes} == set(SOME)
    assert {drawn.pixels.shape for _, _, drawn in scenes} == {(64, 64, 3)}


def test_a_few_pictures_are_infrared_and_the_rest_as_composed(scenes):
    infrared = [drawn for _, _, drawn in scenes if drawn.scene == scene.INFRARED]
    # 630 draws at 6 %: mean 37.8, standard deviation 6.0
    assert 20 < len(infrared) < 56
    for drawn in infrared:
        assert (drawn.pixels == drawn.pixels[:, :, :1]).all()  # no colour
    for concept, number, drawn in scenes[:60]:
        plain = scene.compose("web", concept, number, 64)
        same = (drawn.pixels == plain.pixels).all()
        assert same == (drawn.scene != scene.INFRARED)
        assert (drawn.concept, drawn.style, drawn.quality) == (concept, plain.style, plain.quality)


def test_infrared_light_falls_off_towards_the_edges():
    white = scene.Scene(np.full((64, 64, 3), 255, np.uint8), 0, 0, "snow", 1.0)
    for seed in range(8):
        lit = scene.infrared(white, np.random.default_rng(seed)).pixels[..., 0].astype(float)
        # The spot is at most a tenth off the centre: r^2 <= 0.02 + a bit there, >= 0.4^2 in corners
        assert lit[28:36, 28:36].min() > 1.2 * max(lit[0, 0], lit[0, -1], lit[-1, 0], lit[-1, -1])


def test_captions_of_infrared_pictures_say_so(scenes):
    rng = np.random.default_rng(0)
    for concept, _, drawn in scenes:
        text = caption(drawn, rng)
        name = scene.atlas().names[concept]
        assert name in text
        forms = {
            form.format(subject=subject)
            for form in NIGHT
            for subject in (name, *(f"{s['adjective']} {name}" for s in scene.atlas().styles))
        }
        assert (text in forms) == (drawn.scene == scene.INFRARED)


def test_pictures_hold_what_half_their_resolution_cannot(scenes):
    """Sprites are drawn from 64 px cells: at 64 px there is more than an enlarged 32 px picture."""

    def lost(pixels: np.ndarray) -> float:
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        half = torch.nn.functional.avg_pool2d(x, 2)
        return float((x - half.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().mean())

    at_64 = [lost(scene.compose("web", c, 0, 64).pixels) for c in SOME]
    doubled = [
        lost(scene.compose("web", c, 0, 32).pixels.repeat(2, axis=0).repeat(2, axis=1))
        for c in SOME
    ]
    assert max(doubled) == 0
    assert min(at_64) > 0.5
    assert np.mean(at_64) > 3  # grey levels


# ---------------------------------------------------------------- the loop


def descend(folder: Path, stop: int | None = None) -> torch.Tensor:
    """Weights of a small regression after 20 steps, or after those until `stop`."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        x = torch.randn(8, 3, generator=rng)
        return (model(x).float() - x.sum(1, keepdim=True)).pow(2).mean()

    average = loop.optimise(model, loss_of, 20, 0.1, folder, warmup=2, stop=stop)
    return torch.cat([p.detach().flatten() for p in (*model.parameters(), *average.parameters())])


def test_an_interrupted_training_goes_on(tmp_path):
    straight = descend(tmp_path / "straight")
    half = descend(tmp_path / "broken", stop=9)
    assert not torch.equal(half, straight)
    assert torch.equal(descend(tmp_path / "broken"), straight)
    assert torch.equal(descend(tmp_path / "broken"), straight)  # finished: nothing moves


def test_the_state_is_kept_while_it_trains(tmp_path, monkeypatch):
    """A process that dies loses what came after the last save only."""
    monkeypatch.setattr(loop, "SAVE_EVERY_S", 0)
    model = torch.nn.Linear(3, 1)

    def loss_of(step: int, rng: torch.Generator) -> torch.Tensor:
        if step == 5:
            raise KeyboardInterrupt
        return model(torch.ones(1, 3)).float().pow(2).sum()

    with pytest.raises(KeyboardInterrupt):
        loop.optimise(model, loss_of, 20, 0.1, tmp_path)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 5


# ---------------------------------------------------------------- the recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder after two steps of everything, on two concepts."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "concepts", lambda: range(8, 10))
        patch.setattr(web, "PER_CONCEPT", 100)
        web.render(out, workers=1)
    vae.train(out, steps=2, batch=2)
    for size in (clip.TEXT, clip.SCORERS[0]):
        small = clip.Size(size.name, size.width, size.image_layers, size.text_layers, steps=2)
        clip.train(small, out, batch=4)
    vae.latents(out)
    unet.train(out, steps=2, batch=2)
    unet.assemble(out, out / "generator")
    return out


def test_what_is_rendered(recipe):
    content = web.load(recipe)
    assert content["images"].shape == (200, 64, 64, 3)
    assert content["captions"].shape == (200, 2)
    assert (content["images"][101] == web.picture(9, 1).pixels).all()
    assert set(content["concept"]) == {8, 9}
    before = (recipe / "web.npz").stat().st_mtime_ns
    web.render(recipe)  # what is there is left alone
    assert (recipe / "web.npz").stat().st_mtime_ns == before


def test_the_generator_loads_and_draws(recipe):
    pipeline = load_pipeline(str(recipe / "generator"), torch.float32, "cpu")
    assert pipeline.vae_scale_factor == 8
    assert pipeline.unet.config.in_channels == pipeline.vae.config.latent_channels == 12
    spec = GeneratorSpec("mini", "", 64, steps=2, text_guidance=3.0, batch=2)
    grey = np.full((64, 64, 3), 128, np.uint8)
    request = Request("a", "grey", 0, 0, "a photo of a bear in the wild")
    images = dict(Generator(pipeline, spec, lambda _: grey).images([request]))
    assert images[request].shape == (64, 64, 3)


def test_training_goes_on_from_models_that_ship(recipe, tmp_path):
    """With their text encoder, whose states the denoiser knows, and their scale of the latents."""
    (tmp_path / "web.npz").symlink_to(recipe / "web.npz")
    vae.train(tmp_path, MODELS, steps=1, batch=2)
    vae.latents(tmp_path)
    unet.train(tmp_path, MODELS, steps=1, batch=2)
    unet.assemble(tmp_path, tmp_path / "generator", MODELS)
    ours, shipped = (
        load_pipeline(str(folder / "generator"), torch.float32, "cpu")
        for folder in (tmp_path, MODELS)
    )
    assert ours.vae.config.scaling_factor == shipped.vae.config.scaling_factor
    for part, near in (("text_encoder_2", 0.0), ("unet", 0.01), ("vae", 0.01)):
        pairs = zip(
            getattr(ours, part).parameters(), getattr(shipped, part).parameters(), strict=True
        )
        assert max(float((a - b).abs().max()) for a, b in pairs) <= near
    small = clip.Size("clip", 96, 3, 2, steps=1)
    clip.train(small, tmp_path, MODELS, batch=4)
    tokens = [f / "tokenizer.json" for f in (tmp_path / "clip" / "model", MODELS / "clip")]
    assert tokens[0].read_bytes() == tokens[1].read_bytes()


def test_the_latents_are_those_of_the_autoencoder(recipe):
    mean, std = vae.latents(recipe)
    assert mean.shape == std.shape == (200, 12, 8, 8)
    finished = vae.AutoencoderKL.from_pretrained(recipe / "vae" / "model").eval()
    again, _ = vae.encode(finished, torch.from_numpy(web.load(recipe)["images"][:4]))
    assert torch.allclose(mean[:4].float(), again, atol=2e-3, rtol=2e-3)
    assert finished.config.scaling_factor == pytest.approx(1 / float(mean.float().std()), rel=0.02)
    rng = torch.Generator().manual_seed(0)
    drawn = vae.draw(mean, std, torch.tensor([3, 3]), rng)
    assert drawn.dtype == torch.float32
    assert not torch.equal(drawn[0], drawn[1])


def test_the_scorer_loads(recipe):
    scorer = Scorer(f"local-dir:{recipe / 'clip' / 'model'}")
    assert scorer.side == 64
    assert scorer.texts(["a photo of a bear"]).shape == (1, 96)


def test_the_text_encoder_says_what_the_tower_says(recipe):
    """transformers' form of the weights against open_clip's own."""
    tower, tokenizer = clip.load(recipe / "text" / "model")
    ids = clip.tokenize(tokenizer, ["a photo of a bear", "an infrared photo of a beaver"])
    with torch.inference_mode():
        expected = tower.encode_text(ids)
        ours = clip.text_encoder(tower, tokenizer)(ids).text_embeds
    assert torch.allclose(ours, expected, atol=1e-4)


def test_augmented_pictures_keep_their_size():
    images = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    for seed in range(6):
        x = clip.augment(images, torch.Generator().manual_seed(seed))
        assert (x.shape, x.dtype) == ((3, 3, 64, 64), torch.float32)
        assert x.min() >= (0 - clip.MEAN[0]) / clip.STD[0]
        assert x.max() <= (1 - clip.MEAN[0]) / clip.STD[0]
