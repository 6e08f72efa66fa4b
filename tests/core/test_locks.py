"""Locks that end with their process, and leave nothing behind."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core import locks
from harness.core.errors import DataError
from harness.core.locks import is_locked, locked

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from harness.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_at_a_time(tmp_path):
    path = tmp_path / "run"
    assert not is_locked(path)
    with locked(path) as ours:
        assert ours
        assert is_locked(path)
        with locked(path, wait=False) as again:
            assert not again
        with locked(path, shared=True, wait=False) as again:
            assert not again
    assert not is_locked(path)
    assert list(tmp_path.iterdir()) == []


def test_sharing(tmp_path):
    path = tmp_path / "pool"
    with locked(path, shared=True), locked(path, shared=True, wait=False) as second:
        assert second
        with locked(path, wait=False) as alone:
            assert not alone
        assert is_locked(path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_goes_with_a_killed_process(tmp_path):
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with locked(path, wait=False) as ours:
        assert not ours
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(path) as ours:
        assert ours
    assert list(tmp_path.iterdir()) == []


def test_where_locks_do_not_work_nobody_is_kept_out(tmp_path, monkeypatch):
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locked(tmp_path / "run") as ours, locked(tmp_path / "run") as again:
        assert ours
        assert again


def test_a_folder_that_another_removes_meanwhile(tmp_path, monkeypatch):
    """As the last of two that score does: between the folder's making and the lock's."""
    real, removed = locks._open, []

    def removing(lock):
        if len(removed) < 5:
            lock.parent.rmdir()
            removed.append(lock)
        return real(lock)

    monkeypatch.setattr(locks, "_open", removing)
    path = tmp_path / "scoring" / "part"
    with locked(path) as held:
        assert held
        assert is_locked(path)
    assert len(removed) == 5
    monkeypatch.setattr(locks, "_open", lambda lock: real(tmp_path / "gone" / lock.name))
    with pytest.raises(DataError, match=r"cannot lock .*part: No such file or directory"):
        locked(path).__enter__()


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="cannot lock"),
        locked(tmp_path / "file" / "run"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "alone"),
    [("nfs4 rw,local_lock=none", False), ("nfs rw,local_lock=all", True), ("ext4 rw", False)],
)
def test_locks_that_other_hosts_do_not_see(tmp_path, monkeypatch, options, alone):
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path} {options} 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    assert locks.local_only(tmp_path / "file") == alone
    assert not locks.local_only(Path("/etc"))
