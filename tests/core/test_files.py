"""Files appear whole or not at all; what killed writers left goes, what is being written stays."""

import os
import time
from pathlib import Path

import pytest

from harness.core import files, locks
from harness.core.errors import DataError


def test_a_new_folder_appears_whole(tmp_path):
    with files.atomic_folder(tmp_path / "export") as folder:
        (folder / "a").write_text("a")
        assert files.sweep(tmp_path) == []
        assert not (tmp_path / "export").exists()
    assert (tmp_path / "export" / "a").read_text() == "a"
    with pytest.raises(ZeroDivisionError), files.atomic_folder(tmp_path / "other") as folder:
        (folder / "a").write_text(str(1 // 0))
    assert os.listdir(tmp_path) == ["export"]


def test_leftovers_of_files_and_folders_go(tmp_path):
    (tmp_path / "below" / ".export.0123abcd.tmp" / "deep").mkdir(parents=True)
    (tmp_path / "below" / ".run.lock.tmp").touch()
    (tmp_path / ".table.md.89abcdef.tmp").touch()
    (tmp_path / ".mine.tmp").touch()
    assert files.sweep(tmp_path, below=False) == [tmp_path / ".table.md.89abcdef.tmp"]
    assert len(files.leftovers(tmp_path)) == 2
    assert len(files.sweep(tmp_path)) == 2
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "below"]
    assert os.listdir(tmp_path / "below") == []


def test_where_locks_do_not_work_leftovers_go_after_a_day(tmp_path, monkeypatch):
    old, new = tmp_path / ".a.0123abcd.tmp", tmp_path / ".b.0123abcd.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, time.time() - 25 * 3600))
    monkeypatch.setattr(locks, "local_only", lambda _: True)
    assert files.sweep(tmp_path) == [old]
    monkeypatch.undo()
    assert files.sweep(tmp_path) == [new]


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("ä" * 127)
    files.write_atomic(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_pipe_is_written_into(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    files.write_atomic(fifo, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", ["/dev/null", "/dev/full", "/dev/stdout", "/proc/self/fd/1"])
def test_what_nothing_may_take_the_place_of(name):
    assert files._is_device(Path(name))


def test_what_is_an_ordinary_place(tmp_path):
    assert not files._is_device(tmp_path / "new")
    assert not files._is_device(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").touch()
    assert not files._is_device(tmp_path / "link")
    with pytest.raises(DataError, match="there is no such device"):
        files._is_device(Path("/dev/no-such-device"))


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_folders_are_not_written(name):
    with pytest.raises(DataError, match="it is a folder"):
        files.write_atomic(Path(name), b"")
