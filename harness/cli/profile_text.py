"""Profiles on disk and on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.files import write_atomic
from harness.core.guidance import fraction
from harness.pipeline.workspace import Workspace


def write(workspace: Workspace, found: Mapping[str, Any]) -> Path:
    """results/profile/<data set>-<profile>-<what>.json."""
    name = f"{workspace.module.NAME}-{workspace.profile}-{found['what']}.json"
    path = workspace.home / "results" / "profile" / name
    write_atomic(path, (json.dumps(_rounded(found), indent=1, sort_keys=True) + "\n").encode())
    return path


def _rounded(value: Any) -> Any:
    """Four figures: what follows is noise."""
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def render(found: Mapping[str, Any]) -> str:
    """For the terminal."""
    texts = {"generation": _generation, "reading": _reading, "training": _training}
    return texts[found["what"]](found)


def _reading(found: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    head = f"Reading the pool of {found['dataset']}, profile {found['profile']}: "
    head += f"{found['images']:,} images, batch {found['batch']}, on {_machine(found)}"
    rates = [[name, f"{rate:,.0f}"] for name, rate in found["images_per_s"].items()]
    table = tabulate(rates, ["way", "images/s"], tablefmt="simple", disable_numparse=True)
    load = found["load"]
    return f"{head}\n\n{table}\n\nseconds are wall-clock seconds, at a load of {load:.1f}"


def _training(found: Mapping[str, Any]) -> str:
    share = 100 * found["share_of_matrix_rate"]
    return (
        f"Training CE on {found['dataset']}, profile {found['profile']}: {found['backbone']}, "
        f"{found['images']:,} images, batch {found['batch']}, on {_machine(found)}\n\n"
        f"{found['images_per_s']:,.0f} images/s; {1000 * found['tflops']:.1f} GFLOP/s, "
        f"{share:.0f} % of the {1000 * found['matrix_tflops']:.1f} that a product of matrices "
        "reaches here; "
        f"{found['peak_gib']:.2f} GiB at most; wall clock, at a load of "
        f"{found['load']:.1f}"
    )


def _generation(found: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    form = {"tablefmt": "simple", "disable_numparse": True, "stralign": "right"}
    levels = [
        [
            f"{fraction(row['guidance']):.2f}",
            row["images"],
            row["steps"],
            f"{row['images_per_s']:.2f}",
        ]
        for row in found["levels"]
    ]
    levels.append(["all", found["images"], "", f"{found['images_per_s']:.2f}"])
    phases = [
        [name, f"{p['seconds']:.2f}", f"{100 * p['share']:.1f}"]
        for name, p in found["phases"].items()
    ]
    pieces = [
        f"Generation of {found['dataset']}, profile {found['profile']}: {found['sources']} "
        f"sources, batch {found['batch']}, on {_machine(found)}",
        tabulate(levels, ["guidance", "images", "steps", "images/s"], **form),
        tabulate(phases, ["phase", "s", "%"], **form),
        "\n".join(_facts(found)),
    ]
    return "\n\n".join(pieces)


def _facts(found: Mapping[str, Any]) -> list[str]:
    rate, share = found["tflops"], 100 * found["share_of_matrix_rate"]
    energy = found["joule_per_image"]
    lines = [
        f"useful FLOPs: {1000 * rate:.1f} GFLOP/s, {share:.0f} % of the "
        f"{1000 * found['matrix_tflops']:.1f} that a product of matrices reaches here",
        f"slots: {100 * found['slots_filled']:.0f} % of them had an image",
        f"memory: {found['peak_gib']:.2f} GiB at most; energy: "
        + ("not told by the driver" if energy is None else f"{energy:.1f} J per image"),
        f"pending: {found['pending']['images']:,} images, "
        f"{found['pending']['worker_h']:.2g} hours of one worker",
        f"seconds are {found['seconds_are']}; wall clock {found['wall_s']:.1f} s at a load of "
        f"{found['load']:.1f}",
    ]
    if found["failed"]:
        lines.insert(0, f"{found['failed']} images failed")
    for name, said in (("stock", "the stock pipeline, batch {batch}"), ("loop", "one at a time")):
        if name in found:
            peer = found[name]
            lines.append(
                f"{peer['ratio']:.2f} times {said.format(**peer)} ({peer['images_per_s']:.2f} "
                f"images/s on {peer['images']}); {peer['ratio_is']}"
            )
    for name, told in found.get("approximate", {}).items():
        lines.append(
            f"{name}: {told['ratio']:.2f} times the exact rate; pixels differ by "
            f"{told['mean_absolute_difference']:.1f} grey levels in the mean, CLIPScore by "
            f"{told['clip_score_difference']:+.4f} "
            f"(at most {told['clip_score_largest_difference']:.3f})"
        )
    return lines


def _machine(found: Mapping[str, Any]) -> str:
    return str(found["machine"].get("gpu", found["machine"]["cpu"]))
