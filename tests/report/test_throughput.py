"""Throughput on the page: rates by guidance, batch and way, with the machine in words."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import DataError
from harness.core.shipped import REFERENCE
from harness.report.throughput import machine, throughput

XEON = {"cores": 2, "cpu": "Xeon", "device": "cpu", "system": "Linux", "threads": 1}


def write(folder: Path, name: str, **content: Any) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(content))
    return file


def test_generation_by_guidance_has_a_real_axis(tmp_path: Path) -> None:
    levels = [
        {"guidance": g, "images_per_s": rate, "steps": 12 - g // 10}
        for g, rate in ((0, 20.0), (10, 25.5), (50, 40.0))
    ]
    write(tmp_path, "a", what="generation", machine=XEON, images_per_s=28, levels=levels)
    rates = throughput(tmp_path)
    assert rates is not None
    (figure,) = rates.figures
    assert figure.columns[:3] == ("What", "guidance", "images per second")
    assert [row[1:3] for row in figure.rows] == [(0.0, 20.0), (0.1, 25.5), (0.5, 40.0)]
    assert figure.drawn["ticks"] == [0.0, 0.1, 0.5]
    assert figure.caption == (
        "On 2 cores of Xeon, 1 thread, Linux. Denoising steps by guidance: 0: 12; 0.1: 11; 0.5: 7."
    )


def test_ways_of_generating_and_batches_are_compared(tmp_path: Path) -> None:
    write(
        tmp_path, "a", what="generation", machine=XEON, images_per_s=26.0,
        approximate={"deep-cache=2": {"images_per_s": 34}},
        stock={"images_per_s": 24, "images_per_s_by_batch": {"16": 25, "8": 23}, "ratio": 1.1,
               "ratio_is": "of the two"},
        loop={"images_per_s": 7.5},
    )  # fmt: skip
    rates = throughput(tmp_path)
    assert rates is not None
    batches, ways = rates.figures
    assert [row[1:3] for row in batches.rows] == [(8, 23), (16, 25)]
    assert ways.rows == [
        ("the engine", 26.0),
        ("the engine, deep-cache 2", 34),
        ("stock pipeline", 24),
        ("stock pipeline, one image at a time", 7.5),
    ]
    assert "Engine to stock pipeline: 1.1, of the two." in ways.caption


def test_reading_and_training_are_there(tmp_path: Path) -> None:
    ways = {"decoded, threads: 1": 6000.0, "pixels, mapped": 720000.0}
    write(tmp_path, "b", what="reading", dataset="d", profile="mini", images_per_s=ways)
    about = {"backbone": "resnet10", "batch": 64, "machine": XEON}
    write(tmp_path, "c", what="training", dataset="d", profile="mini", images_per_s=7389, **about)
    rates = throughput(tmp_path)
    assert rates is not None
    nowhere = "a machine that the file does not name"
    assert rates.rows == (
        ("Reading", "6,000 to 720,000", "d, mini", nowhere),
        ("Training", "7,389", "d, mini, resnet10, batch 64", "2 cores of Xeon, 1 thread, Linux"),
    )
    (reading,) = rates.figures  # one number needs no chart
    assert reading.rows == list(ways.items())
    assert reading.drawn["log"]


def test_rates_wherever_they_stand(tmp_path: Path) -> None:
    levels = [{"name": "0.5", "images_per_s": 40}, {"images_per_s": 30.5, "other_s": 1}]
    file = write(
        tmp_path, "generate", machine={"cores": 2}, engine={"images_per_s": 20, "levels": levels}
    )
    write(tmp_path, "empty", machine="none")
    rates = throughput(tmp_path)
    assert rates is not None
    (figure,) = rates.figures
    assert figure.rows == [
        ("engine", 20),
        ("engine, levels, 0.5", 40),
        ("engine, levels, 2", 30.5),
    ]
    assert figure.caption == "On 2 cores."
    assert throughput(tmp_path / "none") is None
    file.write_text("{")
    with pytest.raises(DataError, match=r"generate\.json: damaged profile, not JSON"):
        throughput(tmp_path)


def test_the_machine_is_a_phrase() -> None:
    card = XEON | {"gpu": "H100", "device": "cuda:0", "cores": 1}
    assert machine({"machine": card}) == "H100 as cuda:0, 1 core of Xeon, 1 thread, Linux"
    assert machine({"machine": {"host": "a"}}) == "host a"
    assert machine([1]) == "a machine that the file does not name"


def test_the_projects_own_profiles(tmp_path: Path) -> None:
    folder = shutil.copytree(REFERENCE / "profile", tmp_path / "profile")
    rates = throughput(folder)
    assert rates is not None
    assert {row[0] for row in rates.rows} == {"Generation", "Reading", "Training"}
    assert all("cores of" in row[3] for row in rates.rows)
    labels = [figure.label for figure in rates.figures]
    assert len(set(labels)) == len(labels)
