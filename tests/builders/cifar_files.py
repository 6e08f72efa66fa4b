"""Small files in the official format of CIFAR-100."""

import pickle
from pathlib import Path

import numpy as np


def write_world(root: Path, classes: int = 4, size: int = 30, test: int = 3, seed: int = 0) -> Path:
    """Files in the official format with `size` images per class, labels in random order."""
    rng = np.random.default_rng(seed)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train", size), ("test", test)):
        labels = rng.permutation(np.repeat(np.arange(classes), n))
        dump(folder / name, official(labels, rng))
    names = [b"aquarium_fish", b"apple", *(b"thing_%d" % i for i in range(2, classes))]
    dump(folder / "meta", {b"fine_label_names": names, b"coarse_label_names": [b"all"]})
    return root


def official(labels: np.ndarray, rng: np.random.Generator) -> dict[bytes, object]:
    return {
        b"filenames": [b"%d.png" % i for i in range(len(labels))],
        b"batch_label": b"",
        b"fine_labels": labels.tolist(),
        b"coarse_labels": [0] * len(labels),
        b"data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
    }


def dump(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))
