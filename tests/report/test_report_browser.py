"""The page in a real browser: it opens silently, sorts, pages and filters, on screens of two sizes.

Needs Chromium with its driver (Debian: `apt-get install chromium chromium-driver`) and selenium
(`pip install -e .[browser]`); skipped without.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drawn_records
import pytest
import scored_pools

from harness import report
from harness.pipeline.workspace import Workspace

SET = "cifar100-lt"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="no chromium and chromedriver on this machine"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


@pytest.fixture(scope="module")
def opened(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Opens the page at a size; one browser for all tests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)

    def open_at(width: int = 1280, height: int = 900, dark: bool = False) -> Any:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get(page.as_uri())
        return driver

    yield open_at
    driver.quit()


def wait(driver: Any, script: str) -> Any:
    """Until a script gives something true; what it gave."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda d: d.execute_script(f"return {script}"))


def to(driver: Any, name: str) -> None:
    driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", name)


def texts(driver: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())"
    strings: list[str] = driver.execute_script(script, selector)
    return strings


def test_opens_without_a_word_and_without_the_network(opened: Any, page: Path) -> None:
    driver = opened()
    wait(driver, "document.documentElement.dataset.ready")
    for name in ("groups", "classes", "curricula", "scores", "gallery"):
        to(driver, f"{SET}-{name}")
        wait(driver, "document.readyState === 'complete'")
    assert [entry["message"] for entry in driver.get_log("browser")] == []
    requests = [
        e["message"] for e in driver.get_log("performance") if "requestWillBeSent" in e["message"]
    ]
    assert requests
    assert not any('"url":"http' in message for message in requests)
    assert driver.title.startswith("Does synthetic data help?")  # no class name ran


def test_every_chart_is_drawn(opened: Any) -> None:
    driver = opened()
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    charts = driver.execute_script("return document.querySelectorAll('[data-figure]').length")
    assert charts > 10
    wait(driver, f"document.querySelectorAll('[data-figure] .main-svg').length >= {charts}")
    assert driver.get_log("browser") == []


def test_sorting(opened: Any) -> None:
    driver = opened()
    table = f"#{SET}-leaderboards ~ .scroll table"
    rows = f"{table}:first-of-type tbody"

    def column(k: int) -> list[str]:
        script = (
            "return [...document.querySelector(arguments[0]).rows]"
            ".map((row) => row.cells[arguments[1]].textContent)"
        )
        strings: list[str] = driver.execute_script(script, rows, k)
        return strings

    def click(k: int) -> None:
        script = (
            "document.querySelector(arguments[0])"
            ".querySelectorAll('thead button')[arguments[1]].click()"
        )
        driver.execute_script(script, table, k)

    as_printed = column(0)
    # buttons: Method, Seeds, then ours and the paper's of each column
    for button, cell in ((2, 1), (3, 2), (8, 7)):
        click(button)
        shown = column(cell)
        known = [float(text.split("±")[0].strip("† ")) for text in shown if text[0] not in "·–"]
        assert known == sorted(known, reverse=True)
        assert all(text[0] in "·–" for text in shown[len(known) :])  # nothing there: at the end
        click(button)
        shown = column(cell)
        assert [float(t.split("±")[0].strip("† ")) for t in shown[: len(known)]] == sorted(known)
        click(button)
        assert column(0) == as_printed
    click(0)
    assert column(0) == sorted(as_printed, key=str.lower)
    sorted_by = "return document.querySelector('#main th[aria-sort]').textContent"
    assert "Method" in driver.execute_script(sorted_by)


def gallery(driver: Any) -> None:
    to(driver, f"{SET}-gallery")
    wait(driver, f"document.querySelector('[data-gallery={SET}]').shown")


def press(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_paging_and_seeds(opened: Any) -> None:
    driver = opened()
    gallery(driver)
    assert len(texts(driver, ".pictures .name")) == 12
    shown = "document.querySelectorAll('.pictures img').length"
    assert wait(driver, shown) == 12 * 4  # lazily: those of one page
    assert texts(driver, ".page") == ["Page 1 of 4"]
    first = texts(driver, ".pictures figcaption")
    press(driver, ".on")
    assert texts(driver, ".page") == ["Page 2 of 4"]
    press(driver, ".back")
    assert texts(driver, ".pictures figcaption") == first
    assert texts(driver, ".seed") == ["Seed 10 (1 of 2)"]
    press(driver, ".seed-on")
    assert texts(driver, ".seed") == ["Seed 20 (2 of 2)"]
    assert texts(driver, ".pictures figcaption") != first
    for _ in range(5):
        press(driver, ".on")
    assert texts(driver, ".page") == ["Page 4 of 4"]
    loaded = (
        "[...document.querySelectorAll('.pictures img')].every((i) => i.complete && i.naturalWidth)"
    )
    assert wait(driver, loaded)


def test_a_class_alone(opened: Any) -> None:
    driver = opened()
    gallery(driver)
    names = texts(driver, "select.class option")
    assert scored_pools.HOSTILE in names
    script = (
        "const s = document.querySelector('select.class'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('change'))"
    )
    driver.execute_script(script, str(sorted(scored_pools.CLASSES).index(scored_pools.HOSTILE)))
    assert set(texts(driver, ".pictures .name")) == {scored_pools.HOSTILE}
    assert texts(driver, ".page") == ["Page 1 of 1"]
    assert driver.title != "harmed"


def move(driver: Any, threshold: float) -> None:
    script = (
        "const s = document.querySelector('.threshold'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'))"
    )
    driver.execute_script(script, str(threshold))


def test_the_threshold_tells_live_what_it_keeps(opened: Any) -> None:
    """Scores are 0.50, 0.55, ..., 0.85 by level and seed, of 40 sources in 4 classes."""
    driver = opened()
    gallery(driver)
    total = ".kept tr.total td"
    assert texts(driver, total) == ["40 / 80", "80 / 80", "80 / 80", "80 / 80", "280 / 320"]
    out = "document.querySelectorAll('.picture.out').length"
    assert driver.execute_script(f"return {out}") == 12  # level 0 of seed 10: 0.50
    move(driver, 0.675)
    assert texts(driver, total) == ["0 / 80", "0 / 80", "80 / 80", "80 / 80", "160 / 320"]
    assert texts(driver, "output.at") == ["0.675"]
    assert driver.execute_script(f"return {out}") == 24
    assert "Guidance 0, text only; 0.3: nothing left" in texts(driver, ".warning")[0]
    assert texts(driver, ".kept tbody tr:nth-child(2) td") == ["0 / 20"] * 2 + ["20 / 20"] * 2 + [
        "40 / 80"
    ]
    move(driver, 0.4)
    assert driver.execute_script(f"return {out}") == 0
    assert texts(driver, total)[-1] == "320 / 320"
    assert texts(driver, ".warning") == [""]


def test_what_is_kept_can_be_searched(opened: Any) -> None:
    driver = opened()
    gallery(driver)
    assert len(texts(driver, ".kept tbody th")) == 5
    script = (
        "const s = document.querySelector('.filter'); s.value = 'OLF';"
        "s.dispatchEvent(new Event('input'))"
    )
    driver.execute_script(script)
    assert texts(driver, ".kept tbody th") == ["All classes", "wolf"]


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(opened: Any, dark: bool) -> None:
    driver = opened(390, 844, dark)
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    gallery(driver)
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390
    boxes = driver.execute_script(
        "return [...document.querySelectorAll('.pictures img')]"
        ".map((image) => image.getBoundingClientRect().width)"
    )
    assert min(boxes) > 40  # to be seen
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert driver.get_log("browser") == []


def test_colours_follow_the_scheme(opened: Any) -> None:
    driver = opened()
    to(driver, f"{SET}-groups")
    ink = "getComputedStyle(document.querySelector('[data-figure] .legendtext')).fill"
    light = wait(driver, f"document.querySelector('[data-figure] .legendtext') && {ink}")
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    assert wait(driver, f"{ink} !== '{light}' && {ink}") == "rgb(230, 234, 239)"
