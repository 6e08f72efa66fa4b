"""Every reader of the project with a sound input: what fuzzing damages. Runs in a child process."""

import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar_files
import official_files

from harness.core import documents, regular_files
from harness.core.errors import DataError, UsageError
from harness.core.shipped import GOLDEN, PAPER, PARAMS, REFERENCE
from harness.mini import weights


@dataclass(frozen=True)
class Reader:
    """make: a sound input in an empty folder. read: given it. form: what the damaged file holds."""

    form: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    file: str = ""  # below what `make` returns; none: that itself
    slow: bool = False  # a second each


def copied(source: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copy(source, folder))


def text(content: str, name: str = "file") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def tree(source: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(source, folder / "tree"))


# ---------------------------------------------------------------- readers


def parameters(path: Path) -> object:
    from harness.datasets.cifar100_lt import RECIPES
    from harness.pipeline import config

    changes = config.overrides(path, path.parent, "paper", "cifar100-lt")
    return config.apply(RECIPES["paper"], changes)


def assignment(path: Path) -> object:
    from harness.datasets.cifar100_lt import RECIPES
    from harness.pipeline import config

    words = documents.text(path)
    return config.apply(RECIPES["mini"], config.assignments([words]))


def command(path: Path) -> object:
    """A whole command: nothing on its output when it fails, and one line about that."""
    from harness.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        words = ["plan", "--dataset", "cifar100-lt", "--home", str(path.parent)]
        code = main([*words, "--profile", "paper", "--params", str(path)])
    if code:
        assert code in (1, 2)
        assert not out.getvalue()
        assert err.getvalue().startswith("harness: ")
        raise DataError(err.getvalue()[:-1])
    return None


def published(path: Path) -> object:
    from harness.results import published

    return published.read(path)


def claims(path: Path) -> object:
    from harness.results import claims

    return claims.read(path)


def golden(path: Path) -> object:
    from harness.results import golden

    return golden.read(path, "smoke")


def record(path: Path) -> object:
    from harness.results import records

    return records.read(path)


def a_record(folder: Path) -> Path:
    source = min((REFERENCE / "records" / "mini" / "cifar100-lt").glob("ce-*.json"))
    return Path(shutil.copy(source, folder))


def prompts(path: Path) -> object:
    from harness.datasets import prompts

    return prompts.read(path, ["tench", "goldfish"], "d")


def some_prompts(folder: Path) -> Path:
    from harness.datasets import prompts

    prompts.write(folder / "p.json", prompts.grammar("d", ["tench", "goldfish"]))
    return folder / "p.json"


def journal(path: Path) -> object:
    from harness.datasets.prompts.journal import Journal

    source = {"kind": "endpoint", "endpoint": "http://a", "model": "m"}
    with Journal(path.with_suffix(""), "d", source) as some:
        return dict(some.of)


def a_journal(folder: Path) -> Path:
    source = {"kind": "endpoint", "endpoint": "http://a", "model": "m", "date": "2025-01-01"}
    head = {"version": 1, "dataset": "d", "source": source}
    lines = [
        head,
        *({"class": f"c{n}", "prompts": [f"text {i}" for i in range(9)]} for n in (1, 2)),
    ]
    path = folder / "p.json.part"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def history(path: Path) -> object:
    from harness.report.traces import trace

    return trace({"key": "0" * 16, "levels": None}, path.parents[1])


def a_history(folder: Path) -> Path:
    path = folder / ("0" * 16) / "epochs.jsonl"
    path.parent.mkdir()
    lines = ({"epoch": n, "loss": 0.5, "levels": [0.1, 0.5]} for n in range(4))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def profile(path: Path) -> object:
    from harness.report.throughput import throughput

    return throughput(path.parent)


def inaturalist(root: Path) -> object:
    from harness.datasets import inaturalist2018

    return inaturalist2018.load(root, None, inaturalist2018.RECIPES["mini"]).counts


def imagenet(root: Path) -> object:
    from harness.datasets import imagenet_lt

    return imagenet_lt.load(root, None, imagenet_lt.RECIPES["mini"]).counts


def iwildcam(root: Path) -> object:
    from harness.datasets import iwildcam

    return iwildcam.load(root, None, iwildcam.RECIPES["mini"]).counts


def cifar(root: Path) -> object:
    from harness.datasets import cifar

    folder = root / cifar.FOLDER
    return cifar.images(folder / "train", len(cifar.class_names(folder / "meta")))


def a_cifar(folder: Path) -> Path:
    cifar_files.write_world(folder, size=4)
    return folder


def marker(path: Path) -> object:
    from harness.datasets import unpacking

    return unpacking.check(path.parent, path.stem)


def archive(path: Path) -> object:
    from harness.datasets import unpacking

    return unpacking.unpack(path.parent, path.name)


def an_archive(folder: Path) -> Path:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        for name in ("train/a.txt", "train/b.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 100
            tar.addfile(entry, io.BytesIO(b"x" * 100))
    return folder / "a.tar.gz"


def picture(path: Path) -> object:
    from harness.datasets import pictures

    return pictures.size(path), pictures.read(path).shape, pictures.digest(path)


def a_picture(form: str, **settings: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        data = official_files.encoded(official_files.pixels(1, 40, 48), form, **settings)
        (folder / f"a.{form}").write_bytes(data)
        return folder / f"a.{form}"

    return make


def pool_image(path: Path) -> object:
    from harness.datasets import codec

    return codec.decode(regular_files.read(path, 64)).shape


def clip(folder: Path) -> object:
    from harness.models import clip

    return clip.load(f"local-dir:{folder}", 3).tokenise(["a dog"])


def scorer(folder: Path) -> object:
    from harness.generation.clip_scores import Scorer

    return Scorer(f"local-dir:{folder}").texts(["a dog"])


def generator(folder: Path) -> object:
    import torch

    from harness.generation.engine import load_pipeline

    return load_pipeline(str(folder), torch.float32, "cpu")


def exported(folder: Path) -> object:
    from harness.api.exports import open_export

    rows, images = open_export(folder)
    return [images[i].shape for i in range(len(rows))]


def an_export(form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import small_pools

        from harness.pool import exports

        index = small_pools.make(folder / "pool", small_pools.grid(2))
        images = small_pools.labelled(index)
        return exports.export(folder / "pool", images, folder / "out", form)

    return make


def expression(path: Path) -> object:
    from harness.methods.compose import compose

    return compose(documents.text(path), "cifar100-lt", "mini").expression


def answer(path: Path) -> object:
    from harness.datasets.prompts import chat_client, request_text

    try:
        return request_text.sentences(chat_client._content(regular_files.read(path, 4)))
    except chat_client._Unreadable as error:
        raise DataError(error.args[0]) from None


CLIP, GENERATOR = weights.MODELS / "clip", weights.built_in_generator()
COMPLETION = {"choices": [{"message": {"role": "assistant", "content": "a\nb"}}]}
MARKER = {"version": 1, "unpacked": {"train": [0, 0]}}

READERS = {
    "params": Reader("yaml", copied(PARAMS), parameters),
    "set": Reader("yaml", text("scratch.lr=0.05"), assignment),
    "plan --params": Reader("yaml", copied(PARAMS), command, slow=True),
    "published table": Reader("toml", copied(PAPER / "table2.toml"), published),
    "claims": Reader("toml", copied(PAPER / "findings.toml"), claims),
    "golden numbers": Reader("json", copied(GOLDEN / "smoke.json"), golden),
    "record": Reader("json", a_record, record),
    "prompts": Reader("json", some_prompts, prompts),
    "prompts so far": Reader("jsonl", a_journal, journal),
    "history": Reader("jsonl", a_history, history),
    "profile": Reader(
        "json", copied(REFERENCE / "profile" / "cifar100-lt-mini-reading.json"), profile
    ),
    "annotations": Reader(
        "json", official_files.write_inaturalist2018, inaturalist, "train2018.json"
    ),
    "categories": Reader(
        "json", official_files.write_inaturalist2018, inaturalist, "categories.json"
    ),
    "list": Reader("lines", official_files.write_imagenet_lt, imagenet, "ImageNet_LT_train.txt"),
    "metadata": Reader(
        "csv", official_files.write_iwildcam, iwildcam, "iwildcam_v2.0/metadata.csv"
    ),
    "labels": Reader(
        "csv", official_files.write_iwildcam, iwildcam, "iwildcam_v2.0/categories.csv"
    ),
    "pickle": Reader("bytes", a_cifar, cifar, "cifar-100-python/train"),
    "names in a pickle": Reader("bytes", a_cifar, cifar, "cifar-100-python/meta"),
    "marker": Reader("json", text(json.dumps(MARKER), "a.tar.unpacked"), marker),
    "archive": Reader("bytes", an_archive, archive),
    "JPEG": Reader("picture", a_picture("JPEG"), picture),
    "progressive JPEG": Reader("picture", a_picture("JPEG", progressive=True), picture),
    "PNG": Reader("picture", a_picture("PNG"), picture),
    "PNG with alpha": Reader("picture", a_picture("PNG", mode="RGBA"), picture),
    "WEBP": Reader("picture", a_picture("WEBP"), picture),
    "lossless WEBP": Reader("picture", a_picture("WEBP", lossless=True), picture),
    "GIF": Reader("picture", a_picture("GIF"), picture),
    "BMP": Reader("picture", a_picture("BMP"), picture),
    "image of a pool": Reader("picture", a_picture("WEBP", lossless=True), pool_image),
    "CLIP's configuration": Reader("json", tree(CLIP), clip, "open_clip_config.json"),
    "CLIP's tokenizer": Reader("json", tree(CLIP), clip, "tokenizer.json"),
    "CLIP's tokenizer's settings": Reader("json", tree(CLIP), scorer, "tokenizer_config.json"),
    "CLIP's weights": Reader("bytes", tree(CLIP), scorer, "open_clip_model.safetensors"),
    "pipeline": Reader("json", tree(GENERATOR), generator, "model_index.json"),
    "UNet": Reader("json", tree(GENERATOR), generator, "unet/config.json"),
    "VAE": Reader("json", tree(GENERATOR), generator, "vae/config.json"),
    "text encoder": Reader("json", tree(GENERATOR), generator, "text_encoder_2/config.json"),
    "scheduler": Reader("json", tree(GENERATOR), generator, "scheduler/scheduler_config.json"),
    "pipeline's tokenizer": Reader(
        "json", tree(GENERATOR), generator, "tokenizer_2/tokenizer.json"
    ),
    "UNet's weights": Reader(
        "bytes", tree(GENERATOR), generator, "unet/diffusion_pytorch_model.safetensors"
    ),
    "index of an export": Reader("csv", an_export("files"), exported, "metadata.csv"),
    "tar of an export": Reader("bytes", an_export("webdataset"), exported, "00000.tar"),
    "Parquet of an export": Reader(
        "bytes", an_export("hf"), exported, "data/train-00000-of-00001.parquet"
    ),
    "expression": Reader("expression", text("CE+DisCL(scale=3)"), expression),
    "answer of an endpoint": Reader("json", text(json.dumps(COMPLETION)), answer),
}


def outcome(name: str, path: Path) -> tuple[str, str]:
    """What reading gives: "read", or "refused" with the message; another error is a traceback."""
    import traceback

    try:
        READERS[name].read(path)
        return "read", ""
    except (DataError, UsageError) as error:
        return "refused", str(error)
    except BaseException:  # whatever it is, the parent is to know
        return "broken", traceback.format_exc()


def serve() -> None:
    """Read what lines of JSON [reader, path] on the standard input name; answer a line for each."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        name, path = json.loads(line)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _memory("VmRSS")
        kind, message = outcome(name, Path(path))
        peak = _memory("VmHWM") - before
        answers.write(json.dumps([kind, message, peak]) + "\n")
        answers.flush()


def _memory(name: str) -> float:
    """MiB of this process, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    serve()
