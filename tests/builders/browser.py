"""Chromium for the browser tests: what of it is missing, and how to install it.

As a command it prints that, and fails where $BROWSER is "required".
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
Opener = Callable[..., Any]


def chromium() -> str | None:
    """Path of the browser."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def missing() -> str:
    """What is not installed, and how to install it; empty where everything is."""
    parts = {
        "Chromium": chromium(),
        "chromedriver": shutil.which("chromedriver"),
        "selenium": importlib.util.find_spec("selenium"),
    }
    lacking = [name for name, found in parts.items() if not found]
    if not lacking:
        return ""
    return (
        f"browser tests need {', '.join(lacking)}: `apt-get install chromium chromium-driver` "
        "(or another Chrome with its chromedriver), and `make` installs selenium"
    )


def required() -> bool:
    """Whether the tests fail without a browser, as in continuous integration."""
    return os.environ.get("BROWSER") == "required"


@contextmanager
def opener(profile: Path) -> Iterator[Opener]:
    """A function that opens a file at a size and a colour scheme; one browser for all."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium() or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(120)

    def open_at(page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Any:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(page.as_uri())
        return driver

    try:
        yield open_at
    finally:
        driver.quit()


def wait(driver: Any, script: str) -> Any:
    """Until a script gives something true; what it gave."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda d: d.execute_script(f"return {script}"))


def to(driver: Any, name: str) -> None:
    driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", name)


def unfold(driver: Any) -> None:
    """Everything is open and drawn."""
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")


def texts(driver: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
    strings: list[str] = driver.execute_script(script, selector)
    return strings


def press(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def to_gallery(driver: Any, dataset: str) -> None:
    """Unfolded and filled."""
    driver.execute_script(f"document.querySelector('#{dataset}-gallery > details').open = true")
    to(driver, f"{dataset}-gallery")
    wait(driver, f"document.querySelector('[data-gallery={dataset}]').shown")


if __name__ == "__main__":
    lacking = missing()
    if lacking and required():
        sys.exit(f"Error: {lacking}")
    if lacking:
        print(f"Skipped: {lacking}.")
