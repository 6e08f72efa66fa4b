"""What the attacks share: a server of commands and a small workspace where all was done once."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import children
import pytest
import small_workspace
from children import Child, Conditions, Server


@dataclass
class World:
    """Official files, models, and what the home was before and after each undisturbed command.

    Each command runs in the same folder, `home`.
    """

    server: Server
    data: Path
    conditions: Conditions
    home: Path
    states: Path  # a copy of the home after each command, by its name
    contents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)

    def start(self, command: str, **conditions: object) -> Child:
        words = children.words(command, self.home, self.data)
        return self.server.start(words, replace(self.conditions, **conditions))  # type: ignore[arg-type]

    def run(self, command: str, **conditions: object) -> tuple[int, str, str]:
        """Exit code, standard output and error."""
        child = self.start(command, **conditions)
        return child.end(), child.out, child.err

    def reset(self, after: str | None) -> None:
        """The home as it was after a command, or at the beginning."""
        shutil.rmtree(self.home, ignore_errors=True)
        if after is None:
            children.write_params(self.home)
        else:
            shutil.copytree(self.states / after, self.home)

    def reset_before(self, command: str) -> None:
        """The home as a command finds it: all stages before it are done."""
        stages = children.STAGES
        at = stages.index(command) if command in stages else len(stages)
        self.reset(stages[at - 1] if at else None)

    def undisturbed(self, command: str) -> None:
        """Run a command and keep what the home is then."""
        child = self.start(command)
        assert child.end() == 0, child.err
        self.events[command] = child.events
        self.contents[command] = children.contents(self.home)
        assert children.temporaries(self.home) == []

    def know(self, command: str) -> None:
        """Run an output's command undisturbed, once for all trials; the home is as before it."""
        if command not in self.contents:
            self.reset_before(command)
            self.undisturbed(command)
        self.reset_before(command)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Of the tests of this folder; `make test-long` runs them with more trials."""
    item.add_marker(pytest.mark.attack)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return Server(tmp_path_factory.mktemp("children"))


@pytest.fixture(scope="session")
def world(server: Server, models: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world where every stage was done once, undisturbed."""
    folder = tmp_path_factory.mktemp("world")
    data = small_workspace.write_data(folder / "data")
    home = folder / "home"
    conditions = Conditions(models=models, home=home)
    world = World(server, data, conditions, home, folder / "states")
    world.reset(None)
    for stage in children.STAGES:
        world.undisturbed(stage)
        shutil.copytree(home, world.states / stage)
    return world
