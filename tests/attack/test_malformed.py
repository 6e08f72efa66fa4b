"""Malformed inputs of every reader: one sentence, in little time and memory, or no effect.

ATTACK_TRIALS: damaged inputs of each reader (6); ATTACK_SEED: the first seed, which is printed.
A reader runs in a child process, which tells what it took.
"""

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import damage
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from readers import READERS

ROOT = Path(__file__).parents[2]
TRIALS = int(os.environ.get("ATTACK_TRIALS", "6"))
SEED = int(os.environ.get("ATTACK_SEED", random.randrange(2**32)))
MOST_S, MOST_MIB, LONGEST = 5.0, 300, 300
SLOW = 4  # times as long: another process may have the core


@dataclass
class Child:
    """A process that reads what it is told to, one input after the other."""

    process: subprocess.Popen[str] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def read(self, name: str, path: Path) -> tuple[str, str, float, float]:
        """Outcome, message, seconds of the processor and MiB; it is ended when it takes long."""
        if self.process is None:
            command = [sys.executable, "-W", "ignore", str(ROOT / "tests/builders/readers.py")]
            folders = os.pathsep.join(map(str, (ROOT, ROOT / "tests/builders")))
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                stderr=subprocess.DEVNULL, cwd=ROOT,
                env={**os.environ, "PYTHONPATH": folders, "HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
        process, began = self.process, self._seconds()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([name, str(path)]) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], 60)
        line = process.stdout.readline() if ready else ""
        if not line:
            process.kill()
            code = process.wait()
            self.process = None
            return ("hung" if not ready else f"died of {code}"), "", MOST_S, 0
        kind, message, mib = json.loads(line)
        return kind, message, self._seconds() - began, mib

    def _seconds(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def child():
    some = Child()
    yield some
    some.end()
    print(f"seed {SEED}:", dict(some.counts))


def refusal(child: Child, name: str, path: Path, usual: tuple[float, float], what: str) -> str:
    """The outcome, once it is sure that it is a good one."""
    kind, message, seconds, mib = child.read(name, path)
    where = f"{name}, {what}, seed {SEED}: {message[-2000:]}"
    assert kind in ("read", "refused"), f"{kind}: {where}"
    assert seconds <= usual[0] + MOST_S, f"{seconds:.1f} s: {where}"
    assert mib <= usual[1] + MOST_MIB, f"{mib:.0f} MiB: {where}"
    for line in message.split("\n"):
        assert len(line) <= LONGEST, where
        assert line.isprintable(), where
    child.counts[kind] += 1
    return kind


@pytest.fixture(params=READERS)
def sound(request, child, tmp_path):
    """Name of a reader, its sound input, the file to damage, and what reading took."""
    reader = READERS[request.param]
    given_path = reader.make(tmp_path)
    target = given_path / reader.file if reader.file else given_path
    kept = tmp_path / "kept"
    shutil.copyfile(target, kept)
    child.read(request.param, given_path)  # imports
    kind, message, seconds, mib = child.read(request.param, given_path)
    assert kind == "read", message
    return request.param, given_path, target, kept.read_bytes(), (seconds, mib)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def test_a_malformed_file_is_one_sentence(sound, child):
    name, path, target, content, usual = sound

    trials = max(1, TRIALS // 4) if READERS[name].slow else TRIALS

    @seed(SEED)
    @settings(
        max_examples=trials, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64))
    def attack(number):
        target.write_bytes(damage.damage(READERS[name].form, content, random.Random(number)))
        refusal(child, name, path, usual, f"damage {number}")
        target.write_bytes(content)

    attack()


@pytest.mark.parametrize("kind", damage.KINDS)
def test_what_is_no_file_is_one_sentence(child, tmp_path, kind):
    """Of readers in turn, all of them where more trials are wanted."""
    names = list(READERS) if TRIALS > 6 else list(READERS)[list(damage.KINDS).index(kind) :: 9]
    for nth, name in enumerate(names):
        reader = READERS[name]
        (tmp_path / str(nth)).mkdir()
        path = reader.make(tmp_path / str(nth))
        target = path / reader.file if reader.file else path
        child.read(name, path)  # imports
        target.unlink()
        damage.KINDS[kind](target)
        began = time.monotonic()
        refusal(child, name, path, (1.0, 50.0), kind)
        assert time.monotonic() - began < SLOW * MOST_S
        clear(target)


def test_the_bombs_are_refused(child, tmp_path):
    """What was found to take gigabytes or minutes once."""
    import official_files

    bomb = tmp_path / "bomb.yaml"
    bomb.write_text(damage.BOMB)
    assert refusal(child, "params", bomb, (0.5, 30), "aliases") == "refused"
    picture = official_files.encoded(official_files.pixels(1, 16, 16))
    at = picture.find(b"\xff\xc0")
    for side in (20_000, 65_000):
        claim = picture[: at + 5] + side.to_bytes(2, "big") * 2 + picture[at + 9 :]
        (tmp_path / "bomb.jpg").write_bytes(claim)
        assert refusal(child, "JPEG", tmp_path / "bomb.jpg", (0.5, 30), f"{side} px") == "refused"
    frame = (16_382 | 16_382 << 14).to_bytes(4, "little")
    webp = b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f" + frame + bytes(40)
    (tmp_path / "bomb.webp").write_bytes(webp)
    assert refusal(child, "WEBP", tmp_path / "bomb.webp", (0.5, 30), "WebP") == "refused"
