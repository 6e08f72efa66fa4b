"""Commands killed at any file event: repeated, they end with the bytes of an undisturbed run."""

import signal
import zlib
from pathlib import Path

import children
import pytest
from conftest import World

from harness.cli.main import _parser

COMMANDS = ("generate", "score", "train", *children.OUTPUTS)
FEW = ("generate", "train", "export")  # unless more trials are wanted
ENDS = {
    signal.SIGTERM: (143, "harness: terminated; the same command goes on from here\n"),
    signal.SIGINT: (130, "harness: interrupted; the same command goes on from here\n"),
}


@pytest.mark.parametrize("command", [*children.STAGES, *children.OUTPUTS, "verify", "gc"])
def test_the_commands_have_these_options(command: str, tmp_path: Path):
    """Those that only more trials run, too."""
    _parser().parse_args(children.words(command, tmp_path, tmp_path))


@pytest.mark.parametrize("seed", children.seeds(1))
@pytest.mark.parametrize("command", COMMANDS if children.trials(1) > 1 else FEW)
def test_a_killed_command_ends_as_an_undisturbed_one(world: World, command: str, seed: int):
    world.know(command)
    event = children.chosen(zlib.crc32(f"{command} {seed}".encode()), world.events[command])
    print(f"{command}, seed {seed}: killed before file event {event} of {world.events[command]}")
    code, _, _ = world.run(command, signal_at=event)
    assert code == -signal.SIGKILL
    code, _, err = world.run(command)
    assert code == 0, err
    assert children.contents(world.home) == world.contents[command]
    assert children.temporaries(world.home) == []


@pytest.mark.parametrize("seed", children.seeds(1))
@pytest.mark.parametrize("number", ENDS)
def test_an_interruption_is_one_line_and_leaves_nothing_half_written(
    world: World, number: signal.Signals, seed: int
):
    command = FEW[children.chosen(seed, len(FEW)) - 1]
    world.know(command)
    event = children.chosen(seed, world.events[command])
    print(f"{command}, seed {seed}: {number.name} before file event {event}")
    code, _, err = world.run(command, signal_at=event, signal=number)
    expected, line = ENDS[number]
    assert code == expected, err
    assert err.endswith(line)
    assert "Traceback" not in err
    assert children.temporaries(world.home) == []
    assert world.run(command)[0] == 0
    assert children.contents(world.home) == world.contents[command]
