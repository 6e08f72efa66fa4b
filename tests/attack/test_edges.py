"""Full disks, little memory, odd streams and folders: one sentence, and nothing half-written."""

import contextlib
import os
import resource
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import children
import pytest
from children import Server
from conftest import World

TABLE = ["table", "--dataset", children.SET, "--profile", "smoke"]
NOBODY = 65534


def refused(end: tuple[int, str, str], code: int, words: str) -> None:
    """One sentence with these words, and nothing on the standard output."""
    status, out, err = end
    assert (status, out) == (code, ""), err
    assert words in err
    assert err.startswith("harness")
    assert err.count("\n") == 1
    assert len(err) <= 400  # the paths of a test are long


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("stream", "why"), [("/dev/full", "No space left on device"), (None, "it is closed")]
)
@pytest.mark.parametrize("words", [["list"], ["--help"]])
def test_a_result_that_cannot_be_printed(server, words, stream, why):
    end = server.run(words, children.Conditions(streams={1: stream}))
    refused(end, 1, f"cannot write to the standard output: {why}")


@pytest.mark.parametrize("stream", ["/dev/full", None])
def test_messages_that_cannot_be_printed(server, stream):
    """The exit code says it still, and the result is there."""
    conditions = children.Conditions(streams={2: stream})
    assert server.run(["tabel"], conditions)[0] == 2
    code, out, _ = server.run(["list"], conditions)
    assert (code, "cifar100-lt" in out) == (0, True)


def test_no_file_takes_the_place_of_a_closed_stream(server, tmp_path):
    out = tmp_path / "table.md"
    conditions = children.Conditions(streams={1: None, 2: None})
    assert server.run([*TABLE, "--home", tmp_path, "--out", out], conditions)[0] == 0
    assert out.read_text().startswith("Table 2")
    assert sorted(tmp_path.iterdir()) == [out]


def test_a_reader_that_goes_away_ends_the_printing_only(server, tmp_path):
    """The command does its work, and its exit code is its own."""
    fifo, out = tmp_path / "fifo", tmp_path / "numbers.json"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    child = server.start(
        [*TABLE, "--home", tmp_path, "--metrics", out],
        children.Conditions(streams={1: str(fifo)}, before=children.pause),
    )
    children.wait_until(lambda: child.process.exitcode is not None or child.err)
    os.close(reader)
    assert child.end() == 0
    assert child.err == "begins\n"
    assert out.exists()


@pytest.mark.parametrize("words", [TABLE, ["findings", "--profile", "smoke"], ["--help"]])
def test_terminals_without_the_characters(server, words):
    code, out, err = server.run(words, children.Conditions(encoding="ascii"))
    assert (code, err) == (0, "")
    assert out.isascii()


# ---------------------------------------------------------------- what is no ordinary file


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a device")
def test_devices_stay_devices(server, tmp_path):
    """Devices of the test's own: the machine's would suffer from a mistake."""
    null, full = tmp_path / "null", tmp_path / "full"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except OSError as error:
        pytest.skip(f"devices cannot be made here: {error}")
    home = ["--home", tmp_path]
    refused(server.run([*TABLE, *home, "--out", full]), 1, f"{full}: No space left")
    assert server.run([*TABLE, *home, "--out", null]) == (0, "", "")
    assert full.is_char_device()
    assert null.is_char_device()


def test_a_table_for_a_pipe(server, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    child = server.start([*TABLE, "--home", tmp_path, "--out", fifo])
    assert fifo.read_text().startswith("Table 2")
    assert child.end() == 0
    assert fifo.is_fifo()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--out", ""], 2, "'' is no file or folder"),
        (["--out", "."], 1, "it is a folder"),
        (["--out", "/"], 1, "it is a folder"),
        (["--out", "$NO_SUCH/x"], 2, "$NO_SUCH is not set"),
        (["--home", "~no-such-user/x"], 2, "no home folder"),
    ],
)
def test_paths_that_cannot_be(server, words, code, message):
    refused(server.run([*TABLE, *words]), code, message)


def test_home_and_variables_in_paths(server, tmp_path):
    environment = {"HOME": str(tmp_path), "PLACE": "results"}
    end = server.run(
        [*TABLE, "--home=~", "--out=~/$PLACE/${PLACE}.md"],
        children.Conditions(environment=environment),
    )
    assert end == (0, "", "")
    assert (tmp_path / "results" / "results.md").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without a home")
def test_no_home_and_folders_that_may_not_be_read(server, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    locked = tmp_path / "locked"
    (locked / "results" / "records" / "smoke" / children.SET).mkdir(parents=True)
    locked.chmod(0)
    conditions = children.Conditions(environment={"HOME": None}, user=NOBODY)
    code, out, err = server.run([*TABLE, "--home", tmp_path], conditions)
    assert (code, out[:7], err) == (0, "Table 2", "")
    refused(server.run([*TABLE, "--home", locked], conditions), 1, "Permission denied")
    out = tmp_path / "table.md"
    end = server.run([*TABLE, "--home", tmp_path, "--out", out], conditions)
    refused(end, 1, "Permission denied")
    assert sorted(tmp_path.iterdir()) == [locked]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set"),
        ({"WORLD_SIZE": "two"}, "'two', expected a whole number from 1"),
        ({"WORLD_SIZE": "0"}, "'0', expected a whole number from 1"),
    ],
)
def test_a_size_of_the_world_that_no_launcher_set(server, changes, message):
    none = dict.fromkeys(["RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
    refused(server.run(TABLE, children.Conditions(environment=none | changes)), 2, message)


# ---------------------------------------------------------------- errors that nobody expects


def test_an_unknown_error_is_one_sentence_and_a_file(server: Server, tmp_path: Path):
    conditions = children.Conditions(
        environment={"TMPDIR": str(tmp_path)}, before=children.fail_oddly
    )
    refused(server.run(TABLE, conditions), 1, f"internal error, written to {tmp_path}")
    report = next(tmp_path.glob("harness-error-*.txt")).read_text()
    assert "Traceback" in report
    assert "PanicException: called" in report


# ---------------------------------------------------------------- disk and memory


@contextlib.contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[None]:
    options = ["-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


SIZES_KB = children.sampled([4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 200, 256, 300, 400], 2)
PLACES = {"work": "index", "pool": "generate", "runs": "train", "results": "train"}


@pytest.mark.parametrize("size_kb", SIZES_KB)
@pytest.mark.parametrize("place", children.sampled(list(PLACES), 2))
def test_a_disk_of_a_few_kilobytes(world: World, place: str, size_kb: int):
    """With room, the same command ends as it would have."""
    command = PLACES[place]
    world.reset_before(command)
    (world.home / place).mkdir()
    with small_disk(world.home / place, size_kb):
        code, _, err = world.run(command)
        assert code in (0, 1), err
        assert (code == 0) or "No space left on device" in err, err
        assert "Traceback" not in err
        assert children.temporaries(world.home) == []
    assert world.run(command)[0] == 0
    assert children.contents(world.home) == world.contents[command]


@pytest.mark.parametrize("command", children.sampled(["generate", "score", "train"], 1))
@pytest.mark.parametrize("limit", children.sampled([1 << n for n in range(8, 17)], 2))
def test_files_that_may_not_grow(world: World, command: str, limit: int):
    world.reset_before(command)
    limits = {resource.RLIMIT_FSIZE: limit}
    code, _, err = world.run(command, limits=limits, before=children.ignore_size_signal)
    assert code in (0, 1)
    assert "Traceback" not in err
    assert code == 0 or "File too large" in err
    assert children.temporaries(world.home) == []
    assert world.run(command)[0] == 0
    assert children.contents(world.home) == world.contents[command]


NO_TLS = "cannot allocate memory for thread-local data: ABORT"  # the end of glibc, code 127
MEMORY_MB = children.sampled([1, 8, 32, 64, 100, 150, 250, 400], 2)


@pytest.mark.parametrize("extra_mb", MEMORY_MB)
@pytest.mark.parametrize("command", children.sampled(["generate", "score", "verify", "train"], 2))
def test_little_memory(world: World, command: str, extra_mb: int):
    """One sentence, or the end of a native library; nothing sound is called damaged or removed."""
    world.reset_before("train") if command == "verify" else world.reset_before(command)
    before = children.contents(world.home)
    code, out, err = world.run(command, limits={resource.RLIMIT_AS: extra_mb << 20})
    print(command, extra_mb, code, err[-300:])
    assert "damaged" not in out + err
    assert "not a whole" not in out + err
    if code >= 0 and (code, NO_TLS in err) != (127, True):
        assert code in (0, 1)
        assert "Traceback" not in err
    after = children.contents(world.home)
    assert {name: after.get(name) for name in before} == before
    if command == "verify":
        return
    code, _, err = world.run(command)
    assert code == 0, err
    assert children.contents(world.home) == world.contents[command]
    assert children.temporaries(world.home) == []
