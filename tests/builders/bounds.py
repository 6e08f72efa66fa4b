"""A pytest plugin for suites that take long: a bound on their time, and an order that varies.

Which tests a bound leaves out depends on the order; over many calls every test gets its turn.
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
        help="skip the tests that would begin later; 0 (the default): no bound",
    )
    group.addoption(
        "--order",
        metavar="SEED",
        help="shuffle the files, and the tests of each; `random` draws a seed and prints it",
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if hasattr(config, "workerinput"):  # of pytest-xdist: see below
        option.order, option.last_begin = config.workerinput["bounds"]
        return
    option.last_begin = time.monotonic() + 60 * option.minutes if option.minutes > 0 else None
    if option.order == "random":
        option.order = str(random.randrange(10**6))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """The workers have one order and one end: a monotonic clock is the machine's."""
    option = node.config.option
    node.workerinput["bounds"] = (option.order, option.last_begin)


def pytest_sessionstart(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.config.option.order is not None:
        reporter.write_line(f"order of the tests: seed {session.config.option.order}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of a file stay together, so that its fixtures are set up once."""
    if config.option.order is None:
        return
    draws = random.Random(config.option.order)
    draws.shuffle(items)
    files = list(dict.fromkeys(item.path for item in items))
    items.sort(key=lambda item: files.index(item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Also skips what the fixtures of such a test would do."""
    option = item.config.option
    if option.last_begin is not None and time.monotonic() > option.last_begin:
        text = f"not begun within {option.minutes:g} minutes; `make test-long` has no such bound"
        item.add_marker(pytest.mark.skip(reason=text))
