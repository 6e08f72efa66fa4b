"""The paper profile for who has one GPU, the weights and CIFAR-100: all stages, small.

    python benchmarks/paper_smoke.py --root /data/cifar100-lt [--folder FOLDER] [--device cuda]

Imbalance ratio 100, two guidance levels, one image of each of the 305 hard images and level, five
epochs per run, the recipe's models and sizes otherwise. FOLDER/paper-smoke.md is a report to send
back: the machine, what each stage took and what was planned, and the leaderboard. --set changes
fields of the recipe, such as generator=stabilityai/stable-diffusion-xl-refiner-1.0:fp16.

NOT RUN YET with the published weights: no machine with them was there. All stages ran on a CPU with
random weights and few pictures (tests/planning/test_paper_smoke.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.api import steps
from harness.api.plans import plan_of
from harness.api.result import Result
from harness.cli import doctor_text, plan_text
from harness.core.errors import DataError, UsageError, brief
from harness.core.files import write_atomic
from harness.pipeline.config import assignments
from harness.pipeline.request import Choices, Request, resolve
from harness.planning import doctor, measure
from harness.results import tables

ROWS = ("CE", "CE+CUDA", "CE(control=True)", "CE+DisCL", "BS", "BS+DisCL")
SETTINGS = {
    "imbalances": [100], "levels": [0.5, 0.9], "pool_seeds": [10], "run_seeds": [0],
    "scratch.epochs": 5, "scratch.warmup": 1, "scratch.milestones": [4], "onward.epochs": 5,
    "curriculum_epochs": 3,
}  # fmt: skip


def request_of(args: argparse.Namespace) -> Request:
    settings = SETTINGS | dict(assignments(args.set))
    choices = Choices(
        "cifar100-lt", ROWS, [0], profile="paper", table="table2", home=args.folder / "home",
        root=args.root, overrides=tuple(settings.items()), device=args.device, workers=1,
    )  # fmt: skip
    return resolve(choices, methods=True, table=True)


def walk(request: Request) -> list[list[str]]:
    """Every stage: what it returned, its seconds."""
    lines = []
    for step in steps.run(request):
        lines.append([step.name, outcome(step.result), f"{step.seconds:.1f}"])
        print(*lines[-1], flush=True)
    return lines


def outcome(result: Any) -> str:
    """What a stage returned, in words."""
    if isinstance(result, steps.Generated):
        failed = sum(map(len, result.failed.values()))
        return f"{result.images} images" + (f", {failed} failed" if failed else "")
    if isinstance(result, steps.Trained):
        return f"{result.trained} of {result.runs} runs trained"
    return f"{result} scores" if isinstance(result, int) else f"{len(result)} rows"


def report(request: Request, lines: list[list[str]], failed: str | None) -> str:
    """Markdown."""
    about = {**measure.machine(request.device), **measure.versions()}
    fence = "```"
    pieces = [
        "# Smoke test of the paper profile on CIFAR-100-LT",
        tabulate(sorted((k, str(v)) for k, v in about.items()), ["machine", ""], "github"),
        tabulate(lines, ["stage", "result", "wall, s"], "github", disable_numparse=True),
        f"**Failed**: {failed}" if failed else "Every stage ran.",
    ]
    if not failed:
        table = tables.render(Result(request).leaderboard, "markdown")
        pieces += ["## Leaderboard", table]
    pieces += ["## Planned", f"{fence}\n{plan_text.render(plan_of(request).plan)}{fence}"]
    workspace = request.workspace
    here = doctor_text.render(doctor.doctor(workspace.home, {request.dataset: workspace.data}))
    return "\n\n".join([*pieces, "## Doctor", f"{fence}\n{here}{fence}"]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    about_root = "folder with cifar-100-python (default: $HARNESS_DATA/cifar100-lt)"
    parser.add_argument("--root", type=Path, help=about_root)
    about_folder = "for results and the report (default: paper-smoke)"
    parser.add_argument("--folder", type=Path, default=Path("paper-smoke"), help=about_folder)
    parser.add_argument("--device", default="cuda", help="default: cuda")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE, of the recipe")
    args = parser.parse_args(argv)
    args.folder = args.folder.absolute()
    lines: list[list[str]] = []
    try:
        request = request_of(args)
    except (DataError, UsageError) as error:
        print(f"paper-smoke: {brief(error, 300)}", file=sys.stderr)
        return 1
    failed = None
    try:
        lines = walk(request)
    except (DataError, UsageError) as error:
        failed = brief(error, 300)
    out = args.folder / "paper-smoke.md"
    write_atomic(out, report(request, lines, failed).encode())
    print(f"the report: {out}{f'; failed: {failed}' if failed else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
