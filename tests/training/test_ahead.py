"""Batches prepared ahead by other processes: the same bits, in order, errors and all."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from training_world import MINI, SCRATCH, world

from harness.core.errors import DataError
from harness.core.specs import Machine
from harness.datasets.pictures import Files
from harness.methods.compose import compose
from harness.training.ahead import AHEAD, ahead
from harness.training.data import Split
from harness.training.numbered_images import Store
from harness.training.trainer import fit

SHORT = replace(MINI, scratch=replace(SCRATCH, epochs=2))


def squares(n):
    return torch.full((4,), n * n)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_come_in_order_whatever_the_number_of_processes(workers):
    assert [int(x[0]) for x in ahead(squares, range(20), workers)] == [n * n for n in range(20)]
    assert list(ahead(squares, [], workers)) == []


def test_the_run_s_random_numbers_are_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(ahead(squares, range(6), 2))
    assert torch.equal(torch.rand(4), expected)


def test_two_batches_of_each_process_are_made_while_the_first_is_used():
    begun = multiprocessing.get_context("fork").Value("i", 0)

    def noted(n):
        with begun.get_lock():
            begun.value += 1
        return n

    items = ahead(noted, range(50), 2)
    assert next(items) == 0
    end = time.monotonic() + 30
    while begun.value < 1 + 2 * AHEAD and time.monotonic() < end:
        time.sleep(0.01)
    assert begun.value == 1 + 2 * AHEAD  # and no more before the next one is asked for
    items.close()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_is_wrong_with_a_picture_is_said_as_in_the_run_s_own_process(workers):
    def broken(n):
        if n == 3:
            raise DataError("picture 3: cut off")
        return n

    items = ahead(broken, range(9), workers)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match=r"^picture 3: cut off$"):
        next(items)


def test_a_process_that_dies_is_told():
    def dying(n):
        if n == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    with pytest.raises(DataError, match="a process that prepares pictures died") as told:
        list(ahead(dying, range(9), 2))
    assert len(str(told.value)) <= 300


def test_sigterm_is_for_the_run_not_for_its_processes():
    def hit(n):
        os.kill(os.getpid(), signal.SIGTERM)
        return n

    assert list(ahead(hit, range(6), 2)) == list(range(6))


# ---------------------------------------------------------------- whole runs


def of_files(folder):
    """The noise world with pictures of several sizes in files."""
    data = world()
    rng = np.random.default_rng(0)

    def files(images, n, name):
        for i, picture in enumerate(images.take(np.arange(n))):
            side = int(rng.integers(32, 48))
            path = folder / f"{name}{i}.jpg"
            Image.fromarray(picture).resize((side, side + 3)).save(path, quality=95)
        return Files(folder, [f"{name}{i}.jpg" for i in range(n)], workers=2)

    test = data.splits["test"]
    images = files(data.images, 66, "train")
    split = Split(files(test.images, len(test.ids), "test"), test.labels, test.ids)
    return replace(data, images=Store(images), splits={"test": split}, pool=None)


@pytest.mark.parametrize("expression", ["CE", "CE+CUDA(probability=1)"])
def test_a_run_has_the_same_bits_with_any_number_of_input_workers(tmp_path, expression):
    (tmp_path / "pictures").mkdir()
    data = of_files(tmp_path / "pictures")
    recipe = replace(SHORT, augment="imagenet", test_view="centre")
    runs = {}
    for workers in (0, 1, 2, 8):
        folder, machine = tmp_path / str(workers), Machine(input_workers=workers)
        runs[workers] = fit(compose(expression), data, recipe, 0, folder, machine)
        for name, value in runs[0].items():
            assert torch.equal(runs[workers][name], value), (workers, name)
        for file in ("epochs.jsonl", "behaviour.json", "predictions-last.parquet"):
            assert (folder / file).read_bytes() == (tmp_path / "0" / file).read_bytes()
