"""One JSON file per training run: what was run, on what, with which result.

It holds the scores and, for statistics, the predictions for every test image
(harness.results.predictions): tables, comparisons and reports need nothing else.

results/records/<profile>/<dataset>/<method>-<backbone>-ir<imbalance>-s<seed>.json below the home
folder holds one's own; results/reference/records has those that the project publishes. The text
depends on the run and the machine alone: names sorted, no times, no paths.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.core import digests, documents, regular_files, shipped
from harness.core.errors import DataError, UsageError
from harness.core.files import write_atomic
from harness.core.specs import RunSpec, key, key_of_plain, plain
from harness.results import predictions
from harness.results.proof import contradiction

ROOT = Path("results/records")
VERSION = 4
AGAIN = "`harness verify --repair` removes it, `harness train` writes it again"
AGAIN_SHIPPED = "it came with the project: install it again, or `git checkout` it"
PACKAGES = ("numpy", "polars", "torch")
ABOUT = ("behaviour", "code", "machine")  # None where nobody wrote it down
SELECTIONS = ("last", "best_val", "oracle")  # rules by which a run's epoch is chosen

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "key": str,
    "spec": dict,
    "method": str,
    "dataset": str,
    "profile": str,
    "backbone": str,
    "imbalance": (int, type(None)),
    "seed": int,
    "selection": dict,
    "counts": list,
    "predictions": dict,
    "levels": (list, type(None)),
    "behaviour": (dict, type(None)),
    "code": (str, type(None)),
    "machine": (dict, type(None)),
    "n_test": int,
    "versions": dict,
}
_FROM_SPEC = ("method", "dataset", "imbalance", "seed")


def record(
    spec: RunSpec,
    selection: Mapping[str, Mapping[str, Any]],
    counts: Sequence[int],
    n_test: int,
    versions: Mapping[str, str] | None = None,
    packed: Mapping[str, Mapping[str, Any]] | None = None,
    levels: Sequence[Sequence[Any]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of one run.

    `selection`: metrics by the name of the epoch's selection rule ("last", "oracle"); `counts`:
    training images by label; `versions`: those installed when left out; `packed`: what
    `predictions.pack` makes of the predictions (nothing can be compared without); `levels`: of the
    curriculum, [guidance levels in hundredths, number of epochs in a row] in the order of epochs;
    `about`: behaviour (harness.training.behaviour), code (digest of the sources that trained it)
    and machine (cpu, system, arithmetic, device), where they are known.
    """
    return {
        "version": VERSION,
        "key": key(spec),
        "spec": plain(spec),
        "method": spec.method,
        "dataset": spec.dataset,
        "profile": spec.recipe.profile,
        "backbone": spec.recipe.backbone,
        "imbalance": spec.imbalance,
        "seed": spec.seed,
        "selection": {name: dict(metrics) for name, metrics in selection.items()},
        "counts": [int(n) for n in counts],
        "predictions": {split: dict(some) for split, some in (packed or {}).items()},
        "levels": None if levels is None else [list(some) for some in levels],
        **{name: (about or {}).get(name) for name in ABOUT},
        "n_test": int(n_test),
        "versions": dict(installed() if versions is None else versions),
    }


def installed(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of the packages that are installed, without importing them."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def slug(method: str) -> str:
    """A file name for an expression: `BS+DisCL` is bs+discl.

    Arguments are shortened to words, so six digits of a hash keep two such names apart.
    """
    if re.fullmatch(r"[A-Za-z0-9_+-]+", method):
        return method.lower()
    words = re.sub(r"[^a-z0-9.+_-]+", "-", method.lower()).strip("-")
    return f"{words[:80]}-{hashlib.sha256(method.encode()).hexdigest()[:6]}"


def path(record: Mapping[str, Any], root: Path = ROOT) -> Path:
    """Where a record lies."""
    imbalance = "" if record["imbalance"] is None else f"-ir{record['imbalance']}"
    name = f"{slug(record['method'])}-{slug(record['backbone'])}{imbalance}-s{record['seed']}.json"
    return Path(root, record["profile"], record["dataset"], name)


def write(record: Mapping[str, Any], root: Path = ROOT) -> Path:
    """Writes a record in one step (rename) and returns where; replaces an older one of that run.

    UsageError for a record that `read` would refuse; DataError when the place is not writable.
    """
    fault = _fault(record)
    if fault:
        raise UsageError(f"not a record: {fault}")
    target = path(record, root)
    try:
        sealed = digests.sealed(record)
        text = json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"not a record: {target.name} holds what JSON cannot say, {error}"
        ) from error
    write_atomic(target, (short_lists(text) + "\n").encode())
    return target


def short_lists(text: str) -> str:
    """Lists of numbers on one line: a record is read by people, too."""
    # a line break occurs between values only, so no string is touched
    return re.sub(r"\[\n[\d\s.,eE+-]*\]", lambda m: f"[{' '.join(m[0][1:-1].split())}]", text)


def read(file: Path) -> dict[str, Any]:
    """The record in a file; DataError, which names the file, for one of a newer version.

    Damaged for one that is not what was written, contradicts itself or is misplaced. One without a
    digest, of before, has to hold the figures that its predictions give.
    """
    came_along = regular_files.resolved(file).is_relative_to(shipped.REFERENCE.resolve())
    again = AGAIN_SHIPPED if came_along else AGAIN
    try:
        value = documents.json_value(file, "record")
    except DataError as error:
        raise digests.damaged_by(error, again) from None
    if isinstance(value, Mapping) and _newer(value.get("version")):
        raise DataError(f"{file}: {_fault(value)}")
    content, altered = digests.opened(value, _FIELDS)
    fault = _fault(content)
    if fault is None and (altered is not None or digests.FIELD not in value):
        fault = contradiction(content) or altered
    if fault is not None:
        raise digests.damaged(file, fault, again, "record")
    if path(content).name != file.name:
        why = f"holds the run that belongs into {path(content).name}"
        raise digests.damaged(file, why, again, "record")
    return dict(content)


def sealed(file: Path) -> bool:
    """Whether a sound record has a digest; those of before have none."""
    return digests.FIELD in documents.json_value(file, "record")


def _newer(version: Any) -> bool:
    return type(version) is int and version > VERSION


def is_of(file: Path, run: str) -> bool:
    """Whether a record of this version, and of the run with this key, lies there.

    False where nothing lies, or a record that is to be written again: of an older version, without
    a digest, or damaged, which is told. DataError for one of a newer version.
    """
    if not file.is_file():
        return False
    try:
        return bool(read(file)["key"] == run) and sealed(file)
    except digests.Damaged as error:
        digests.remade(error)
        return False


def read_all(profile: str, dataset: str, root: Path = ROOT) -> list[dict[str, Any]]:
    """All records of a profile and data set, by file name; none when nothing was run yet."""
    folder = Path(root) / profile / dataset
    runs = [read(file) for file in sorted(folder.glob("*.json"))]
    for r in runs:
        if (r["profile"], r["dataset"]) != (profile, dataset):
            name = path(r).name
            raise DataError(f"{folder / name}: holds a run of {r['profile']}, {r['dataset']}")
    return runs


def _fault(content: Any) -> str | None:
    """What is wrong with a record, in words; None for a sound one."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}, expected an object"
    version = content.get("version")
    if type(version) is int and version != VERSION:
        return f"version {version}, this code reads version {VERSION}"
    for name, kind in _FIELDS.items():
        if name not in content:
            return f"no field {name!r}"
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            return f"{name} is {content[name]!r:.60}"
    spec = content["spec"]
    for name in _FROM_SPEC:
        if name not in spec or spec[name] != content[name]:
            return f"{name} {content[name]!r} is not that of its spec, {spec.get(name)!r}"
    if not isinstance(spec.get("recipe"), Mapping):
        return "its spec has no recipe"
    if spec["recipe"].get("profile") != content["profile"]:
        return f"profile {content['profile']!r} is not that of its recipe"
    if content["key"] != key_of_plain(spec):  # two runs with one key: one of them was edited
        return f"key {content['key'][:16]!r} is not that of its spec, {key_of_plain(spec)[:16]!r}"
    return _fault_of_selection(content["selection"]) or predictions.fault(content["predictions"])


def _fault_of_selection(selection: Mapping[str, Any]) -> str | None:
    if not selection:
        return "selection is empty, expected metrics under 'last'"
    for name, scores in selection.items():
        if not isinstance(scores, Mapping) or not scores:
            return f"selection {name!r} holds no metrics"
    return None
