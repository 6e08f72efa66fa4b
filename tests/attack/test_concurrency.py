"""Several commands on one home at once: all end well, and nothing is done twice or half."""

import os
import re
import subprocess
import sys
from pathlib import Path

import children
import pytest
from conftest import World

from harness.core import files

ROOT = Path(__file__).parents[2]
SWEEP = "import sys; from pathlib import Path; from harness.core.files import sweep; {}"
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def counted(text: str, pattern: str) -> int:
    match = re.search(pattern, text)
    assert match is not None, text
    return int(match[1])


def namespaces() -> bool:
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("apart", [False, True])
def test_a_sweep_leaves_the_files_of_a_live_writer(tmp_path, apart):
    """Also one in another PID namespace, where process ids say nothing."""
    if apart and not namespaces():
        pytest.skip("no right to make a PID namespace")
    code = SWEEP.format("print(*sweep(Path(sys.argv[1])))")
    command = [*(NAMESPACE if apart else []), sys.executable, "-c", code, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    (tmp_path / ".dead.0123abcd.tmp").touch()
    with files.atomic(tmp_path / "live") as file:
        file.write(b"half")
        swept = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert swept.stdout.split() == [str(tmp_path / ".dead.0123abcd.tmp")], swept.stderr
        file.write(b" and half")
    assert (tmp_path / "live").read_bytes() == b"half and half"


@pytest.mark.parametrize("seed", children.seeds(1))
@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("generate", r"generate: (\d+) images made"),
        ("score", r"score: (\d+) images scored"),
        ("train", r"train: (\d+) of"),
    ],
)
def test_two_at_once_do_the_work_once(world: World, command: str, work: str, seed: int):
    world.reset_before(command)
    both = [world.start(command), world.start(command)]
    codes = [child.end() for child in both]
    assert codes == [0, 0], [child.err for child in both]
    assert children.contents(world.home) == world.contents[command]
    assert children.temporaries(world.home) == []
    done = [counted(child.err, work) for child in both]
    print(command, seed, done)
    if command != "train":  # which says how many were not there when it began
        assert sum(done) == 18


@pytest.mark.parametrize(("command", "work"), [("generate", "made"), ("score", "scored")])
def test_ranks_divide_the_work(world: World, command: str, work: str):
    """Processes of `accelerate launch` or torchrun: none makes what another makes."""
    world.reset_before(command)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    ranks = [shared | {"RANK": number, "LOCAL_RANK": number} for number in "01"]
    both = [world.start(command, environment=r, before=children.as_rank) for r in ranks]
    assert [child.end() for child in both] == [0, 0], [child.err for child in both]
    assert children.contents(world.home) == world.contents[command]
    assert sum(counted(child.err, rf"{command}: (\d+) images {work}") for child in both) == 18


def test_two_at_once_train_each_run_once(world: World, tmp_path: Path):
    world.reset_before("train")
    notes = tmp_path / "runs"
    told = {"environment": {"NOTES": str(notes)}, "before": children.note_runs}
    both = [world.start("train", **told), world.start("train", **told)]
    assert [child.end() for child in both] == [0, 0], [child.err for child in both]
    names = notes.read_text().splitlines()
    assert len(names) == len(set(names)) == 2
    assert children.contents(world.home) == world.contents["train"]


def verify(world: World) -> None:
    code, out, err = world.run("verify")
    assert (code, err) == (0, "")
    assert all(line.endswith(": nothing wrong") for line in out.splitlines()), out


@pytest.mark.parametrize("seed", children.seeds(1))
@pytest.mark.parametrize("number", [9, 15])
def test_one_of_two_is_killed(world: World, number: int, seed: int):
    """The other makes what the killed one had begun."""
    world.reset_before("generate")
    event = children.chosen(seed, world.events["generate"])
    one = world.start("generate", signal_at=event, signal=number)
    two = world.start("generate")
    assert one.end() in (-9, 143, 0)
    assert two.end() == 0, two.err
    verify(world)
    assert children.contents(world.home) == world.contents["generate"]
    assert children.temporaries(world.home) == []


@pytest.mark.parametrize("seed", children.seeds(1))
@pytest.mark.parametrize("command", ["verify", "gc", "export"])
def test_beside_a_writer(world: World, command: str, seed: int):
    """Half of the images are there when the other half is made."""
    world.reset("score")
    for path in sorted((world.home / "pool").rglob("*.arrow"))[1:]:
        path.unlink()
    writer = world.start("generate")
    children.wait_until(lambda: list((world.home / "pool").rglob(".*.lock.tmp")), 60)
    while True:
        code, out, err = world.run(command)
        assert code == 0, (out, err)
        assert not re.search("problem|Traceback", out + err)
        if command == "export" or writer.process.exitcode is not None:
            break
    assert writer.end() == 0, writer.err
    verify(world)
    assert children.temporaries(world.home) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", children.seeds(1))
def test_two_comparisons_with_worker_processes(tmp_path, seed):
    """The smoke profile, as users run it."""
    rows = ["--rows", "CE", "CE+DisCL", "--imbalance", "100", "--seeds", "0"]
    words = ["compare", "--profile", "smoke", "--dataset", children.SET, *rows]
    command = [sys.executable, "-m", "harness", *words, "--home", str(tmp_path)]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in "ab"
    ]
    ends = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0]
    assert children.temporaries(tmp_path) == []


def test_the_ranks_of_a_launcher_divide_the_shards(world: World):
    """Each makes what no other has claimed, and both end well."""
    world.reset_before("generate")
    of_all = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    ranks = [
        world.start("generate", environment=of_all | {"RANK": n, "LOCAL_RANK": n}) for n in "01"
    ]
    assert [child.end() for child in ranks] == [0, 0], [child.err for child in ranks]
    assert sum(counted(child.err, r"generate: (\d+) images made") for child in ranks) == 18
    assert children.contents(world.home) == world.contents["generate"]
