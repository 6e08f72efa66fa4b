"""A page, and a browser for the tests that need one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import drawn_records
import pytest
import scored_pools

from harness import report
from harness.pipeline.workspace import Workspace

SET = "cifar100-lt"


@pytest.fixture(scope="session")
def open_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Opener]:
    """Opens a file at a size; skipped without a browser, or failed where one is required."""
    lacking = browser.missing()
    if lacking and browser.required():
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
    with browser.opener(tmp_path_factory.mktemp("profile")) as open_at:
        yield open_at


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of all four data sets, and a pool of one."""
    folder = tmp_path_factory.mktemp("home")
    drawn_records.all_sets(folder)
    workspace = Workspace(SET, "mini", folder)
    more = ("CE+DisCL(threshold=0.4)", "CE+DisCL(scale=2)", "CE+DisCL(scale=4)")
    drawn_records.write(
        folder, [drawn_records.run(workspace, m, s, 100) for m in more for s in range(3)]
    )
    scored_pools.pool(workspace)
    return folder


@pytest.fixture(scope="session")
def page(home: Path) -> str:
    return report.make(report.workspaces("mini", home, ()))


@pytest.fixture(scope="session")
def small_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, one with a pool."""
    home = tmp_path_factory.mktemp("home")
    settings = (("threshold", 0.55),)
    for name in (SET, "iwildcam"):
        made = Workspace(name, "mini", home, settings=settings)
        drawn_records.write(home, drawn_records.table(made))
    workspace = Workspace(SET, "mini", home, settings=settings)
    scored_pools.pool(workspace, sources=40)
    run = drawn_records.run(workspace, "CE+DisCL", 0, 100)
    scored_pools.levels_used(workspace.runs / run["key"][:16], [[0.0], [0.5], []])
    out = home / "report.html"
    report.write(out, report.make(report.workspaces("mini", home, (), settings)))
    return out


@pytest.fixture(scope="session")
def opened(small_page: Path, open_page: browser.Opener) -> Callable[..., Any]:
    """Opens that page."""
    return lambda *size, **scheme: open_page(small_page, *size, **scheme)
