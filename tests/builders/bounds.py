"""A pytest plugin for a long test suite: a time limit for the whole of it, and a random order.

The order decides which tests such a limit leaves out, so that over many runs each of them is run.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bounds")
    group.addoption(
        "--minutes",
        type=float,
        default=0,
        help="skip tests that would start later than this; 0 (the default): no limit",
    )
    group.addoption(
        "--order",
        metavar="SEED",
        help="shuffle the files and the tests in each; `random` draws a seed and prints it",
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if hasattr(config, "workerinput"):  # of pytest-xdist: see below
        option.order, option.last_start = config.workerinput["bounds"]
        return
    option.last_start = time.monotonic() + 60 * option.minutes if option.minutes > 0 else None
    if option.order == "random":
        option.order = str(random.randrange(10**6))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """All workers have the same order and limit; the monotonic clock is the machine's."""
    option = node.config.option
    node.workerinput["bounds"] = (option.order, option.last_start)


def pytest_sessionstart(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.config.option.order is not None:
        reporter.write_line(f"order of the tests: seed {session.config.option.order}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a file stay together, so that its fixtures are set up once."""
    if config.option.order is None:
        return
    files = sorted({item.path for item in items})
    draws = random.Random(config.option.order)
    draws.shuffle(files)
    draws.shuffle(items)
    items.sort(key=lambda item: files.index(item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Before the fixtures of the test are set up."""
    option = item.config.option
    if option.last_start is not None and time.monotonic() > option.last_start:
        reason = f"not started within {option.minutes:g} minutes; `make test-long` runs all tests"
        item.add_marker(pytest.mark.skip(reason=reason))
