"""Walks the paper profile: every stage, every row of Tables 1 to 5, in a few steps each.

    python benchmarks/rehearsal.py [--tables table1 ...] [--folder FOLDER] [--device cpu] [--full]

The architectures, the views of 224 px, the lists and their sizes are the paper's; the weights are
random, and so are ImageNet-LT's class sizes within their sum. The lists are read and checked whole;
of their pictures, links to a few hundred, some of a few classes go on to the stages, which run in
this process. Methods that fit something of their own do so in a few steps.
--full builds the models at their full depth: the generator then takes 6 GB, its making 12.

FOLDER/rehearsal.md and .json say what ran, how long, and the most memory: a report to compare.
The first `train` of a table is of the rows that read no synthetic image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rehearsal_data
import rehearsal_models
from rehearsal_part import thinned
from tabulate import tabulate

from harness.api import steps
from harness.api.result import Result
from harness.core import parallel, registry
from harness.core.errors import DataError, UsageError, brief
from harness.core.files import write_atomic
from harness.core.machine import cpu_name, system_name
from harness.pipeline.request import Choices, Request, resolve
from harness.pool import failures
from harness.results import published

TABLES = ("table1", "table2", "table3", "table4", "table5")
CLIPS = {
    "scorer": "ViT-B-32-quickgelu", "ViT-B-16": "ViT-B-16-quickgelu",
    "ViT-L-14": "ViT-L-14-quickgelu",
}  # fmt: skip
FEW = {  # arguments of terms that fit something: as few steps as they take
    "LDMLR": "LDMLR(batch=8, epochs=1, timesteps=2, head_epochs=1, minimum=1)",
    "LP-FT": "LP-FT(grid=2, max_iter=2)",
    "CUDA": "CUDA(trials=1)",
    "ALIA": "ALIA(margin=-1, confidence=False)",
    "ALIA(control=True)": "ALIA(control=True, margin=-1, confidence=False)",
}
COMMON: dict[str, Any] = {
    "scratch.epochs": 2, "scratch.batch": 16, "scratch.warmup": 0, "scratch.milestones": [],
    "curriculum_epochs": 1, "pool_seeds": [10], "steps": 2, "size_px": 64, "height_px": 0,
    "run_seeds": [0], "threshold": -1.0, "probe_images": 2, "probe_train": 8,
    "scheduler": "euler", "generator_batch": 4,
}  # fmt: skip
LONG_TAIL: dict[str, Any] = {
    "onward.epochs": 2, "onward.batch": 16,
    "mixture.tail_fraction": 0.5,  # the share of tail classes, as the paper's 0.136 is
}  # fmt: skip
CAMERAS: dict[str, Any] = {"hard_images": 4, "scratch.warmup_steps": 1, "scratch.batch": 8}


def settings(table: Any, folder: Path) -> dict[str, Any]:
    """Of a published table: a few steps, the models in the folder."""
    named = COMMON | {"generator": str(folder / "generator")}
    named |= {"clip": f"local-dir:{folder / 'scorer'}"}
    if "iwildcam" not in table.datasets:
        return named | LONG_TAIL
    start = folder / (table.backbone or "ViT-B-16")
    return named | CAMERAS | {"pretrained": f"local-dir:{start}"}


def shortened(row: str) -> str:
    """A row with as few steps of its own as its terms take."""
    return "+".join(FEW.get(term, term) for term in row.split("+"))


def request_of(name: str, paper: Any, folder: Path, root: Path, device: str) -> Request:
    """All rows of a published table, with the folder's models and its home."""
    choices = Choices(
        rows=[shortened(row.method) for row in paper.rows], profile="paper", table=name,
        home=folder / "home", root=root, device=device, workers=1, seeds=[0],
        overrides=tuple(settings(paper, folder / "models").items()),
    )  # fmt: skip
    return resolve(choices, methods=True, table=True)


def here(
    function: Callable[..., Any],
    jobs: Sequence[Any],
    workers: int,
    start: Callable[..., Any] | None = None,
    arguments: tuple[Any, ...] = (),
    tolerant: bool = False,
) -> Iterator[tuple[Any, Any]]:
    """`parallel.run` in this process, where the part of the data set is known.

    Errors are raised, tolerant or not.
    """
    states = () if start is None or not jobs else (start(*arguments),)
    for job in jobs:
        yield job, function(*states, job)


class Walk:
    """One table after the other; `lines` is what was done."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder, device
        self.lines: list[dict[str, Any]] = []

    def table(self, name: str) -> None:
        paper = published.read(published.find(name))
        root = self.timed(name, "write lists", lambda: rehearsal_data.write(
            paper.datasets[0], self.folder / "data"))  # fmt: skip
        module = registry.find("harness.datasets", paper.datasets[0])
        if hasattr(module, "OFFICIAL_COUNTS"):
            module.OFFICIAL_COUNTS = rehearsal_data.digest_of_counts(module.NAME)
        with thinned() as read:
            self._rows(name, paper, root)
        self.lines[-1]["lists read"] = {str(ratio): sizes for ratio, sizes in read.items()}

    def _rows(self, name: str, paper: Any, root: Path) -> None:
        request = request_of(name, paper, self.folder, root, self.device)
        walk = steps.run(request)
        while (step := self.timed(name, None, lambda: next(walk, None))) is not None:
            self.lines[-1]["step"] = step.name
            refuse_failures(step)
        self.lines.pop()
        result = Result(request)
        done = {record["method"] for record in result.records}
        missing = [row for row in request.rows if row not in done]
        self.lines.append(
            {"table": name, "step": "rows", "rows": list(request.rows), "missing": missing}
        )

    def timed(self, table: str, step: str | None, work: Callable[[], Any]) -> Any:
        _reset_peak()
        begun, cpu = time.perf_counter(), time.process_time()
        result = work()
        line = {"table": table, "step": step, "wall_s": time.perf_counter() - begun}
        line |= {"cpu_s": time.process_time() - cpu, "peak_gib": _peak_gib()}
        line |= {"gpu_gib": _gpu_gib(self.device)}
        self.lines.append(line)
        return result


def refuse_failures(step: steps.Step) -> None:
    """DataError where images could not be made: a walk that lacks some has not seen every row."""
    if isinstance(step.result, steps.Generated):
        for kind, rows in step.result.failed.items():
            raise DataError(f"generate, {kind}: {failures.render(rows)}")


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    of = next((line for line in lines if line.startswith("VmHWM")), None)
    if of is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return int(of.split()[1]) / 2**20


def _gpu_gib(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    import torch

    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def report(lines: Sequence[dict[str, Any]], full: bool, device: str, failed: str | None) -> str:
    """Markdown: what ran, time, most memory."""
    timed = [line for line in lines if "wall_s" in line]
    cells = [
        [line["table"], line["step"], f"{line['wall_s']:.1f}", f"{line['cpu_s']:.1f}",
         f"{line['peak_gib']:.2f}", "" if line["gpu_gib"] is None else f"{line['gpu_gib']:.2f}"]
        for line in timed
    ]  # fmt: skip
    head = ["table", "step", "wall, s", "CPU, s", "memory, GiB", "GPU, GiB"]
    pieces = [
        "# Rehearsal of the paper profile",
        f"{cpu_name()}, {system_name()}, device {device}; models with random weights at "
        f"{'full' if full else 'reduced'} depth.",
        tabulate(cells, head, "github", disable_numparse=True),
    ]
    for line in lines:
        if line["step"] == "rows":
            state = f"missing: {', '.join(line['missing'])}" if line["missing"] else "all ran"
            own = [other for other in timed if other["table"] == line["table"]]
            wall, peak = sum(o["wall_s"] for o in own), max(o["peak_gib"] for o in own)
            text = f"{line['table']}: {len(line['rows'])} rows, {state}"
            pieces.append(f"{text}; {wall:.0f} s, at most {peak:.1f} GiB.")
    pieces.append(f"**Failed**: {failed}" if failed else "Every stage and row ran.")
    return "\n\n".join(pieces) + "\n"


def models(folder: Path, full: bool) -> None:
    rehearsal_models.write_generator(folder / "generator", full)
    for name, architecture in CLIPS.items():
        rehearsal_models.write_clip(folder / name, architecture, full)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="default: all")
    about_folder = "for models, lists, results and the report (default: rehearsal)"
    parser.add_argument("--folder", type=Path, default=Path("rehearsal"), help=about_folder)
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--full", action="store_true", help="models at their full depth")
    args = parser.parse_args(argv)
    folder = args.folder.absolute()
    build = f"build models, {'full' if args.full else 'reduced'} depth"
    walk, failed = Walk(folder, args.device), None
    parallel.run = here
    try:
        walk.timed("", build, lambda: models(folder / "models", args.full))
        for name in args.tables:
            walk.table(name)
        lacking = [row for line in walk.lines for row in line.get("missing", ())]
        failed = f"no record of {', '.join(lacking)}" if lacking else None
    except (DataError, UsageError) as error:
        failed = brief(error, 300)
    text = report(walk.lines, args.full, args.device, failed)
    write_atomic(folder / "rehearsal.md", text.encode())
    write_atomic(folder / "rehearsal.json", (json.dumps(walk.lines, indent=1) + "\n").encode())
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
