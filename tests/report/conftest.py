"""A browser for the tests that need one."""

from collections.abc import Iterator

import browser
import pytest


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
