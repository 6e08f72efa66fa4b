"""Profiles on disk and on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.files import write_atomic
from harness.core.guidance import fraction
from harness.pipeline.workspace import Workspace


def write(workspace: Workspace, profile: Mapping[str, Any]) -> Path:
    """results/profile/<data set>-<profile>-<what>.json."""
    name = f"{workspace.module.NAME}-{workspace.profile}-{profile['what']}.json"
    path = workspace.home / "results" / "profile" / name
    write_atomic(path, (json.dumps(_rounded(profile), indent=1, sort_keys=True) + "\n").encode())
    return path


def _rounded(value: Any) -> Any:
    """Four figures: what follows is noise."""
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def render(profile: Mapping[str, Any]) -> str:
    """For the terminal."""
    texts = {"generation": _generation, "reading": _reading, "training": _training}
    return texts[profile["what"]](profile)


def _reading(profile: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    head = f"Reading the pool of {profile['dataset']}, profile {profile['profile']}: "
    head += f"{profile['images']:,} images, batch {profile['batch']}, on {_machine(profile)}"
    rates = [[name, f"{rate:,.0f}"] for name, rate in profile["images_per_s"].items()]
    table = tabulate(rates, ["way", "images/s"], tablefmt="simple", disable_numparse=True)
    load = profile["load"]
    return f"{head}\n\n{table}\n\nseconds are wall-clock seconds, at a load of {load:.1f}"


def _training(profile: Mapping[str, Any]) -> str:
    share = 100 * profile["share_of_matrix_rate"]
    return (
        f"Training CE on {profile['dataset']}, profile {profile['profile']}: "
        f"{profile['backbone']}, "
        f"{profile['images']:,} images, batch {profile['batch']}, on {_machine(profile)}\n\n"
        f"{profile['images_per_s']:,.0f} images/s; {1000 * profile['tflops']:.1f} GFLOP/s, "
        f"{share:.0f} % of the {1000 * profile['matrix_tflops']:.1f} that a product of matrices "
        "reaches here; "
        f"{profile['peak_gib']:.2f} GiB at most; wall clock, at a load of "
        f"{profile['load']:.1f}"
    )


def _generation(profile: Mapping[str, Any]) -> str:
    from tabulate import tabulate

    form = {"tablefmt": "simple", "disable_numparse": True, "stralign": "right"}
    levels = [
        [
            f"{fraction(row['guidance']):.2f}",
            row["images"],
            row["steps"],
            f"{row['images_per_s']:.2f}",
        ]
        for row in profile["levels"]
    ]
    levels.append(["all", profile["images"], "", f"{profile['images_per_s']:.2f}"])
    phases = [
        [name, f"{p['seconds']:.2f}", f"{100 * p['share']:.1f}"]
        for name, p in profile["phases"].items()
    ]
    pieces = [
        f"Generation of {profile['dataset']}, profile {profile['profile']}: {profile['sources']} "
        f"sources, batch {profile['batch']}, on {_machine(profile)}",
        tabulate(levels, ["guidance", "images", "steps", "images/s"], **form),
        tabulate(phases, ["phase", "s", "%"], **form),
        "\n".join(_facts(profile)),
    ]
    return "\n\n".join(pieces)


def _facts(profile: Mapping[str, Any]) -> list[str]:
    rate, share = profile["tflops"], 100 * profile["share_of_matrix_rate"]
    energy = profile["joule_per_image"]
    lines = [
        f"useful FLOPs: {1000 * rate:.1f} GFLOP/s, {share:.0f} % of the "
        f"{1000 * profile['matrix_tflops']:.1f} that a product of matrices reaches here",
        f"slots: {100 * profile['slots_filled']:.0f} % of them had an image",
        f"memory: {profile['peak_gib']:.2f} GiB at most; energy: "
        + ("not told by the driver" if energy is None else f"{energy:.1f} J per image"),
        f"pending: {profile['pending']['images']:,} images, "
        f"{profile['pending']['worker_h']:.2g} hours of one worker",
        f"seconds are {profile['seconds_are']}; wall clock {profile['wall_s']:.1f} s at a load of "
        f"{profile['load']:.1f}",
    ]
    if profile["failed"]:
        lines.insert(0, f"{profile['failed']} images failed")
    for name, way in (("stock", "the stock pipeline, batch {batch}"), ("loop", "one at a time")):
        if name in profile:
            peer = profile[name]
            lines.append(
                f"{peer['ratio']:.2f} times {way.format(**peer)} ({peer['images_per_s']:.2f} "
                f"images/s on {peer['images']}); {peer['ratio_is']}"
            )
    for name, approximation in profile.get("approximate", {}).items():
        lines.append(
            f"{name}: {approximation['ratio']:.2f} times the exact rate; pixels differ by "
            f"{approximation['mean_absolute_difference']:.1f} grey levels in the mean, "
            f"CLIPScore by {approximation['clip_score_difference']:+.4f} "
            f"(at most {approximation['clip_score_largest_difference']:.3f})"
        )
    return lines


def _machine(profile: Mapping[str, Any]) -> str:
    return str(profile["machine"].get("gpu", profile["machine"]["cpu"]))
